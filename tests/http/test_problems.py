"""Errors as clients see them: one shape, the first fault by its place, and a page for each type."""

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

import projections
from es_goals.goals.commands import AmbiguousName, NameTaken
from es_goals.http.problems import PROBLEMS, slug_of
from es_goals.rebuild import AlreadyRebuilding
from es_goals.storage.errors import CredentialTaken, Interrupted, OutcomeUnknown, StorageFailed, StorageFull
from tests.support.serving import Served, fault, refused

Json = dict[str, Any]

UNKNOWN = "01990000-0000-7000-8000-000000000000"
MIB = 1_048_576


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with accounts."""
    with Served(tmp_path_factory.mktemp("closed"), workers=1, accounts=True) as served:
        yield served


# Each type of error, and how a client meets it.

Provoke = Callable[[Served, str], httpx2.Response]


def _goal(served: Served, user: str, **members: Any) -> str:
    goal_id: str = served.make_goal(user, "a goal", **members)["id"]
    return goal_id


def _deleted_with_its_parent(served: Served, user: str) -> tuple[str, str]:
    parent = _goal(served, user)
    child = _goal(served, user, parent_id=parent)
    served.order({"id": parent}, "delete")
    return parent, child


def _malformed_request(served: Served, user: str) -> httpx2.Response:
    return served.client.post(f"/v2/users/{user}/goals", content=b'{"name": ')


def _foreign_origin(served: Served, user: str) -> httpx2.Response:
    return served.client.get(f"/v2/users/{user}", headers={"Origin": "https://evil.example"})


def _not_found(served: Served, user: str) -> httpx2.Response:
    return served.client.get(f"/v2/users/{user}/gaols")


def _user_not_found(served: Served, user: str) -> httpx2.Response:
    return served.client.get(f"/v2/users/no-{user}/goals")


def _goal_not_found(served: Served, user: str) -> httpx2.Response:
    del user
    return served.client.get(f"/v2/goals/{UNKNOWN}")


def _projection_not_found(served: Served, user: str) -> httpx2.Response:
    return served.client.get(f"/v2/projections/{user}")


def _method_not_allowed(served: Served, user: str) -> httpx2.Response:
    return served.client.put(f"/v2/users/{user}/goals", json={})


def _goal_exists(served: Served, user: str) -> httpx2.Response:
    return served.post(f"/v2/users/{user}/goals", {"name": "x", "id": _goal(served, user)})


def _user_name_taken(served: Served, user: str) -> httpx2.Response:
    return served.post("/v2/users", {"name": user.upper()})


def _under_itself(served: Served, user: str) -> httpx2.Response:
    goal = _goal(served, user)
    return served.post(f"/v2/goals/{goal}/move", {"parent_id": goal})


def _not_the_root(served: Served, user: str) -> httpx2.Response:
    return served.post(f"/v2/goals/{_deleted_with_its_parent(served, user)[1]}/restore")


def _parent_deleted(served: Served, user: str) -> httpx2.Response:
    parent = _goal(served, user)
    child = _goal(served, user, parent_id=parent)
    for goal in (child, parent):
        served.order({"id": goal}, "delete")
    return served.post(f"/v2/goals/{child}/restore")


def _changed(served: Served, user: str) -> httpx2.Response:
    return served.post(f"/v2/goals/{_goal(served, user)}/complete", {}, If_Match='"r0"')


def _body_too_large(served: Served, user: str) -> httpx2.Response:
    return served.client.post(f"/v2/users/{user}/goals", content=b" " * (MIB + 1))


def _target_too_long(served: Served, user: str) -> httpx2.Response:
    return served.client.get(f"/v2/users/{user}", params={"x": "y" * 9000})


def _head_too_large(served: Served, user: str) -> httpx2.Response:
    return served.client.get(f"/v2/users/{user}", headers={"X-Long": "y" * 17_000})


def _media_type(served: Served, user: str) -> httpx2.Response:
    headers = {"Content-Type": "application/xml"}
    return served.client.post(f"/v2/users/{user}/goals", content=b"<goal/>", headers=headers)


def _misdirected(served: Served, user: str) -> httpx2.Response:
    return served.client.get(f"/v2/users/{user}", headers={"Host": "evil.example"})


def _no_accounts(served: Served, user: str) -> httpx2.Response:
    return served.post("/v2/sessions", {"user": user, "password": "made up, too"})


def _invalid_value(served: Served, user: str) -> httpx2.Response:
    return served.post(f"/v2/users/{user}/goals", {"name": ""})


def _draft(served: Served, user: str, goal: str) -> str:
    """The path of a new draft, which renames the goal."""
    commands = [{"type": "ChangeGoal", "id": goal, "name": "as drafted"}]
    made = served.post(f"/v2/users/{user}/drafts", {"name": "x", "commands": commands})
    return f"/v2/users/{user}/drafts/{made.json()['id']}"


def _draft_not_found(served: Served, user: str) -> httpx2.Response:
    return served.client.get(f"/v2/users/{user}/drafts/{UNKNOWN}")


def _draft_applied(served: Served, user: str) -> httpx2.Response:
    draft = _draft(served, user, _goal(served, user))
    return [served.client.post(f"{draft}/apply") for _ in range(2)][-1]


def _draft_conflicts(served: Served, user: str) -> httpx2.Response:
    goal = _goal(served, user)
    draft = _draft(served, user, goal)
    assert served.client.patch(f"/v2/goals/{goal}", json={"name": "by somebody else"}).status_code == 200
    return served.client.post(f"{draft}/rebase")


def _not_a_sibling(served: Served, user: str) -> httpx2.Response:
    return served.post(f"/v2/users/{user}/goals", {"name": "x", "before": UNKNOWN})


def _key_reused(served: Served, user: str) -> httpx2.Response:
    for name in ("a", "b"):
        answer = served.post(f"/v2/users/{user}/goals", {"name": name}, Idempotency_Key="key")
    return answer


def _projection_behind(served: Served, user: str) -> httpx2.Response:
    with served.failed(projections.goal_tree):
        return served.client.get(f"/v2/users/{user}/goals")


def _bad_file(served: Served, user: str) -> httpx2.Response:
    return served.client.post(
        f"/v2/users/{user}/import", content=b"%PDF-1.7", headers={"Content-Type": "application/octet-stream"}
    )


def _command_not_found(served: Served, user: str) -> httpx2.Response:
    return served.post(f"/v2/users/{user}/undo", {"command": UNKNOWN})


def _undo_in_the_way(served: Served, user: str) -> httpx2.Response:
    goal = f"/v2/goals/{_goal(served, user)}"
    first, _ = (served.client.patch(goal, json={"name": name}) for name in ("b", "c"))
    return served.post(f"/v2/users/{user}/undo", {"command": first.headers["Command"]})


PROVOKED: dict[str, Provoke] = {
    provoke.__name__.removeprefix("_").replace("_", "-"): provoke
    for provoke in (
        _malformed_request, _foreign_origin, _not_found, _user_not_found, _goal_not_found, _projection_not_found,
        _method_not_allowed, _goal_exists, _user_name_taken, _under_itself, _not_the_root, _parent_deleted, _changed,
        _body_too_large, _target_too_long, _head_too_large, _media_type, _misdirected, _invalid_value, _not_a_sibling,
        _key_reused, _projection_behind, _no_accounts, _bad_file, _draft_not_found, _draft_applied, _draft_conflicts,
        _command_not_found, _undo_in_the_way,
    )
}  # fmt: skip


def _unauthenticated(served: Served) -> httpx2.Response:
    return served.client.get("/v2/users", headers={"Authorization": "Bearer esgt_made_up"})


def _sign_in_refused(served: Served) -> httpx2.Response:
    return served.post("/v2/sessions", {"user": "nobody", "password": "made up, too"})


def _forbidden(served: Served) -> httpx2.Response:
    secret = served.post("/v2/tokens", {"name": "x", "scope": "read"}).json()["token"]
    return served.client.post("/v2/users", json={}, headers={"Authorization": f"Bearer {secret}"})


def _wrong_password(served: Served) -> httpx2.Response:
    name = f"user-{uuid.uuid4().hex}"
    assert served.post("/v2/users", {"name": name, "password": "made up, too"}).status_code == 201
    body = {"current": "another one", "new": "the next one"}
    return served.client.put(f"/v2/users/{name}/password", json=body)


def _token_not_found(served: Served) -> httpx2.Response:
    return served.client.delete(f"/v2/tokens/{UNKNOWN}")


def _session_not_found(served: Served) -> httpx2.Response:
    return served.client.delete("/v2/sessions/current")


def _too_many_attempts(served: Served) -> httpx2.Response:
    body = {"user": uuid.uuid4().hex, "password": "made up, too"}
    elsewhere = httpx2.HTTPTransport(local_address="127.0.9.9")  # the others go on from where they are
    with httpx2.Client(base_url=served.url, timeout=30, transport=elsewhere) as client:
        return [client.post("/v2/sessions", json=body) for _ in range(6)][-1]


GUARDED: dict[str, Callable[[Served], httpx2.Response]] = {
    provoke.__name__.removeprefix("_").replace("_", "-"): provoke
    for provoke in (
        _unauthenticated, _sign_in_refused, _forbidden, _wrong_password, _token_not_found, _session_not_found,
        _too_many_attempts,
    )
}  # fmt: skip
"""Those that only a service with accounts answers."""

MAPPED: dict[str, type[Exception]] = {
    "name-taken": NameTaken,
    "ambiguous-name": AmbiguousName,
    "already-rebuilding": AlreadyRebuilding,
    "identity-taken": CredentialTaken,
    "outcome-unknown": OutcomeUnknown,
    "storage-unavailable": StorageFailed,
    "storage-full": StorageFull,
    "took-too-long": Interrupted,
    "internal-error": ZeroDivisionError,
}
"""Those that /v2 cannot be brought to answer from outside: the original API's own, and those of a failing disk."""

ELSEWHERE = {
    "request-timeout", "nothing-to-roll-back-to", "limit-reached", "too-many-streams", "too-many-own-streams",
    "too-many-requests", "too-many-drafts", "not-linked", "provider-failed", "checkpoint-refused",
    "verification-not-found",
}  # fmt: skip
"""Those that have tests of their own, on services of their own."""


@pytest.mark.parametrize("slug", PROVOKED)
def test_every_type_of_error_has_the_one_shape(served: Served, user: str, slug: str) -> None:
    problem = refused(PROVOKED[slug](served, user), PROBLEMS[slug].status, slug)

    assert problem["title"] == PROBLEMS[slug].title
    assert "Traceback" not in problem["detail"]


@pytest.mark.parametrize("slug", GUARDED)
def test_so_has_every_one_that_accounts_bring(closed: Served, slug: str) -> None:
    problem = refused(GUARDED[slug](closed), PROBLEMS[slug].status, slug)

    assert problem["title"] == PROBLEMS[slug].title


@pytest.mark.parametrize("slug", MAPPED)
def test_what_cannot_be_provoked_is_mapped(slug: str) -> None:
    assert slug_of(MAPPED[slug].__new__(MAPPED[slug])) == slug


def test_every_type_of_error_is_provoked_or_mapped() -> None:
    assert {*PROVOKED, *GUARDED, *MAPPED, *ELSEWHERE} == set(PROBLEMS)


def test_every_type_of_error_has_a_page_that_explains_it(served: Served) -> None:
    for slug, problem in PROBLEMS.items():
        page = served.client.get(f"/problems/{slug}")
        assert page.status_code == 200
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert all(text in page.text for text in (slug, problem.title, str(problem.status)))
    refused(served.client.get("/problems/made-up"), 404, "not-found")


# The first fault, by its place.


def _commands(*commands: Any) -> Json:
    good = [{"type": "CreateGoal", "name": "x"}] * 3
    return {"commands": [*good, *commands]}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (_commands({"type": "CreateGoal", "name": 7}), "/commands/3/name"),
        (_commands({"type": "CreateGoal"}), "/commands/3/name"),
        (_commands({"type": "CreateGoal", "name": " "}), "/commands/3/name"),
        (_commands({"type": "CreateGoal", "name": "x", "colour": 1}), "/commands/3/colour"),
        (_commands({"type": "CreateGoal", "name": "x", "reason": "not here"}), "/commands/3/reason"),
        (_commands({"type": "EatGoal", "id": UNKNOWN}), "/commands/3/type"),
        (_commands({"name": "x"}), "/commands/3/type"),
        (_commands({"type": "ReopenGoal", "id": "x"}), "/commands/3/id"),
        (_commands({"type": "CompleteGoal", "id": UNKNOWN, "cascade": "yes"}), "/commands/3/cascade"),
        (_commands(None), "/commands/3"),
        (_commands({"type": 1}, {"type": 2}), "/commands/3/type"),
        ({"commands": {}}, "/commands"),
        ({"commands": None}, "/commands"),
        ({}, "/commands"),
        ({**_commands(), "user": "x"}, "/user"),
        ([], ""),
        ("text", ""),
        (None, ""),
    ],
)
def test_a_fault_in_a_batch_is_named_by_its_pointer(served: Served, user: str, body: Any, pointer: str) -> None:
    answer = served.client.post(f"/v2/users/{user}/commands", content=json.dumps(body))

    assert fault(answer)["pointer"] == pointer
    assert served.get(f"/v2/users/{user}/goals")["goals"] == []


@pytest.mark.parametrize(
    "name",
    ["colour", "Name", "__proto__", "constructor", "\0", "a.b", "a/b~c", "a`b", "[0]", "", " ", "$", "ü", "\u202e"],
)
def test_an_unknown_member_is_named_by_its_pointer(served: Served, user: str, name: str) -> None:
    goal, pointer = _goal(served, user), "/" + name.replace("~", "~0").replace("/", "~1")
    bodies: dict[str, Json] = {
        "/v2/users": {"name": "a"},
        f"/v2/users/{user}/goals": {"name": "a"},
        f"/v2/goals/{goal}/complete": {},
        f"/v2/users/{user}/commands": {"commands": [{"type": "ReopenGoal", "id": goal}]},
    }

    for path, body in bodies.items():
        assert fault(served.post(path, {**body, name: 1}))["pointer"] == pointer
    batch = {"commands": [{"type": "ReopenGoal", "id": goal, name: 1}]}
    assert fault(served.post(f"/v2/users/{user}/commands", batch))["pointer"] == f"/commands/0{pointer}"


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("depth=x", "depth"),
        ("depth=", "depth"),
        ("depth=1&depth=1", "depth"),
        ("status=new", "status"),
        ("view=list", "view"),
        ("deleted=maybe", "deleted"),
        ("as_of=x", "as_of"),
        ("surprise", "surprise"),
    ],
)
def test_a_fault_in_a_query_is_named_by_its_parameter(served: Served, user: str, query: str, parameter: str) -> None:
    assert fault(served.client.get(f"/v2/users/{user}/goals?{query}"))["parameter"] == parameter


@pytest.mark.parametrize(
    "name", ["surprise", "NAME", "__proto__", "\0", "\r\n", "a.b", "a/b", "/view", "~", "a`b", "[0]", "", " ", "\u202e"]
)
def test_an_unknown_parameter_is_named(served: Served, user: str, name: str) -> None:
    for path in ("/v2/users", "/v2/events", f"/v2/users/{user}/goals", f"/v2/users/{user}"):
        assert fault(served.client.get(f"{path}?{quote(name, safe='')}=1"))["parameter"] == name


NUMBERS = ["1" + "0" * 400, "9" * 3000, "-1", "1e400", "1.5", "NaN", "", " ", "\u0661", "0x1", "null"]


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/v2/users", "limit"), ("/v2/events", "limit"), ("/v2/events", "after"), ("/v2/events", "until"),
        ("/v2/users/USER/goals", "depth"), ("/v2/users/USER/goals", "as_of"), ("/v2/users/USER/goals", "deleted"),
        ("/v2/users/USER/events", "after"), ("/v2/goals/GOAL", "depth"), ("/v2/goals/GOAL", "as_of"),
        ("/v2/goals/GOAL/history", "limit"),
    ],
)  # fmt: skip
def test_a_number_in_a_query_that_is_none_or_too_large_is_named(
    served: Served, user: str, path: str, parameter: str
) -> None:
    named = path.replace("USER", user).replace("GOAL", _goal(served, user))

    for number in NUMBERS:
        assert fault(served.client.get(named, params={parameter: number}))["parameter"] == parameter


@pytest.mark.parametrize("path", ["/v2/users", "/v2/events", "/v2/users/USER/goals", "/v2/goals/GOAL"])
def test_a_query_that_cannot_be_read_is_malformed(served: Served, user: str, path: str) -> None:
    named = path.replace("USER", user).replace("GOAL", _goal(served, user))

    for query in ("%ff", "a=%ff", "%ed%a0%80=1", "limit=%c0%80", "a=%e2%82", "&".join(f"p{n}=1" for n in range(101))):
        refused(served.client.get(f"{named}?{query}"), 400, "malformed-request")


def test_no_call_ignores_a_parameter_it_does_not_know(served: Served, user: str) -> None:
    goal = f"/v2/goals/{_goal(served, user)}"
    calls: list[tuple[str, str, Json | None]] = [
        ("GET", "/v2/users", None),
        ("GET", f"/v2/users/{user}", None),
        ("GET", goal, None),
        ("GET", f"{goal}/history", None),
        ("GET", "/v2/projections", None),
        ("GET", "/v2/projections/activity", None),
        ("POST", "/v2/projections/activity/rollback", None),
        ("POST", "/v2/users", {"name": f"{user}-2"}),
        ("POST", f"/v2/users/{user}/goals", {"name": "x"}),
        ("POST", f"/v2/users/{user}/commands", _commands()),
        ("PATCH", goal, {"name": "x"}),
        ("POST", f"{goal}/complete", {}),
        ("POST", f"{goal}/reopen", {}),
        ("POST", f"{goal}/move", {}),
        ("DELETE", goal, {}),
        ("POST", f"{goal}/restore", {}),
    ]

    answers = [served.client.request(method, path, json=body, params={"surprise": 1}) for method, path, body in calls]

    ignored = [call[:2] for call, answer in zip(calls, answers, strict=True) if answer.status_code != 422]
    assert ignored == []
    for answer in answers:
        assert refused(answer, 422, "invalid-value")["errors"][0]["parameter"] == "surprise"


# When the service itself has trouble.


def test_a_failed_fold_stops_reads_and_no_command(served: Served, user: str) -> None:
    goal = _goal(served, user)
    tag = served.client.get(f"/v2/users/{user}/goals").headers["ETag"]
    with served.failed(projections.goal_tree):
        for path in (f"/v2/users/{user}/goals", f"/v2/goals/{goal}", f"/v2/users/{user}/goals?as_of=1"):
            answer = served.client.get(path, headers={"If-None-Match": tag})
            refused(answer, 503, "projection-behind")
            assert int(answer.headers["Retry-After"]) > 0
            assert "max-age" not in answer.headers.get("Cache-Control", "")
        assert served.order({"id": goal}, "complete")["status"] == "done"
        assert len(served.events(f"/goals/{goal}")) == 2

    assert served.get(f"/v2/goals/{goal}")["status"] == "done"
