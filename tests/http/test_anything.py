"""Whatever is made up: it is done, or refused as documented, and never a 5xx."""

import unicodedata
from typing import Any

import httpx2
import msgspec
import pytest
import regex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.serving import Served, fault, problem_of

pytestmark = pytest.mark.usefixtures("told_in_the_log")

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}
BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

MANY = settings(
    max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


UNSEEN = regex.compile(
    r"[\p{Default_Ignorable_Code_Point}\p{White_Space}\p{M}\ufff9-\ufffb\u2800\U0001d159\U00013430-\U0001343f"
    r"\U00013441\U00013442]*"
)


def kept(text: str) -> str | None:
    """The name as it is kept, or None if it must be refused: the contract's words, once more."""
    name = unicodedata.normalize("NFC", text).strip()
    hidden = any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or letter in BIDI for letter in name)
    unseen = UNSEEN.fullmatch(name) or regex.search(r"\p{Noncharacter_Code_Point}", name)
    return None if hidden or unseen or not 1 <= len(name) <= 200 else name


@MANY
@given(
    name=st.text(max_size=250)
    | st.text(alphabet="a \t\n\0\u202e\u0301\u00e9\u1100\u1161\u200b\u3164\ufe0f\u2800\uffff", max_size=8)
)
def test_any_name_is_kept_or_refused_at_its_pointer(served: Served, user: str, name: str) -> None:
    answer = served.post(f"/v2/users/{user}/goals", {"name": name})

    if (expected := kept(name)) is None:
        assert fault(answer)["pointer"] == "/name"
    else:
        assert (answer.status_code, answer.json()["name"]) == (201, expected)


MEMBERS = [
    "name",
    "email",
    "reason",
    "parent_id",
    "description",
    "start",
    "due",
    "end",
    "id",
    "before",
    "after",
    "cascade",
    "commands",
    "type",
    "user",
    "parent_name",
]

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.uuids().map(str)
    | st.datetimes().map(lambda moment: f"{moment.isoformat()}Z")
    | st.sampled_from(
        ["CreateGoal", "ChangeGoal", "DeleteGoal", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"]
    )
)

ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(MEMBERS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)

BODIES = st.fixed_dictionaries({}, optional=dict.fromkeys(MEMBERS, ANYTHING)) | ANYTHING

ROUTES = [
    ("POST", "/v2/users"),
    ("POST", "/v2/users/USER/goals"),
    ("POST", "/v2/users/USER/commands"),
    ("PATCH", "/v2/goals/GOAL"),
    ("DELETE", "/v2/goals/GOAL"),
    ("POST", "/v2/goals/GOAL/complete"),
    ("POST", "/v2/goals/GOAL/reopen"),
    ("POST", "/v2/goals/GOAL/move"),
    ("POST", "/v2/goals/GOAL/restore"),
    ("POST", "/v1.0/goals"),
    ("PUT", "/v1.0/goals"),
    ("DELETE", "/v1.0/goals"),
]


def answered(answer: httpx2.Response) -> None:
    """Done, or refused as documented."""
    if answer.status_code >= 300:
        if answer.headers["content-type"] == "application/problem+json":
            problem_of(answer, 400, 404, 409, 422)
        else:
            assert (answer.status_code, list(answer.json())) == (400, ["message"])


@settings(parent=MANY, max_examples=150)
@given(route=st.sampled_from(ROUTES), body=BODIES)
def test_any_json_is_answered(served: Served, user: str, goal: str, route: tuple[str, str], body: object) -> None:
    method, path = route[0], route[1].replace("USER", user).replace("GOAL", goal)

    answered(served.client.request(method, path, content=msgspec.json.encode(body), headers=JSON))


@MANY
@given(
    route=st.sampled_from(ROUTES),
    body=st.binary(max_size=60) | st.text(alphabet='{}[]",:\\u0dn1e-+. tfl', max_size=30).map(str.encode),
    kind=st.sampled_from([JSON, FORM, MULTIPART]),
)
def test_any_bytes_are_answered(
    served: Served, user: str, goal: str, route: tuple[str, str], body: bytes, kind: dict[str, str]
) -> None:
    method, path = route[0], route[1].replace("USER", user).replace("GOAL", goal)

    answer = served.client.request(method, path, content=body, headers=kind if "v1.0" in path else JSON)

    answered(answer)


HEADERS = [
    "X-Reason",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Accept",
    "X-Request-Id",
    "Last-Event-ID",
    "Content-Type",
]
VALUES = st.text(alphabet=[chr(code) for code in (*range(0x21, 0x7F), *range(0x80, 0x100))], min_size=1, max_size=40)
LIKELY = st.sampled_from(
    ['"r1.v1.g1.c"', '"r1.v1.g1.t", *', "W/", "%00", "%E2%82", "application/json", "text/event-stream;q=0", "*", "1"]
)


@MANY
@given(headers=st.dictionaries(st.sampled_from(HEADERS), VALUES | LIKELY, max_size=4), write=st.booleans())
def test_any_headers_are_answered(served: Served, goal: str, headers: dict[str, str], write: bool) -> None:
    raw: Any = {name: value.encode("latin-1") for name, value in {**JSON, **headers}.items()}
    path = f"/v2/goals/{goal}"

    if write:
        refusable = served.client.post(f"{path}/reopen", content=b"{}", headers=raw)
    else:
        refusable = served.client.get(path, headers=raw)

    if refusable.status_code >= 400:
        problem_of(refusable, 400, 406, 412, 415, 422)
