"""What a client sends is heard or refused by name: keys, preconditions, positions, parameters, members, ids, times."""

import re
import uuid
from typing import Any

import httpx2
import pytest

from es_goals.ids import uuid_of
from tests.support.serving import Served, refused, wait_for
from tests.support.wire import exchange

Json = dict[str, Any]

STREAM, LINES = "text/event-stream", "application/x-ndjson"
FAR = 9_000_000_000


def head(served: Served) -> int:
    position: int = served.get("/v2/projections/goal_tree")["head"]
    return position


def at_fault(answer: httpx2.Response, slug: str = "invalid-value", status: int = 422) -> str:
    """The one parameter or pointer that a problem names."""
    (fault,) = refused(answer, status, slug)["errors"]
    found: str = fault.get("parameter", fault.get("pointer"))
    return found


# Keys.


def test_a_key_whose_command_recorded_nothing_is_remembered_all_the_same(served: Served, user: str) -> None:
    goal = served.make_goal(user, "x")
    path, first = f"/v2/goals/{goal['id']}", {"Idempotency-Key": "no effect"}
    kept = served.client.patch(path, json={"name": "x"}, headers=first)
    served.client.patch(path, json={"name": "y"})

    again = served.client.patch(path, json={"name": "x"}, headers=first)

    assert (again.headers["Idempotent-Replayed"], again.content) == ("true", kept.content)
    assert again.headers["Position"] == kept.headers["Position"]
    assert served.get(path)["name"] == "y"
    refused(served.client.patch(path, json={"name": "z"}, headers=first), 422, "key-reused")


def test_a_key_of_a_refused_command_is_not_kept(served: Served, user: str) -> None:
    goal = served.make_goal(user, "x")
    key = {"Idempotency-Key": "refused"}
    refused(served.client.patch(f"/v2/goals/{goal['id']}", json={"name": ""}, headers=key), 422, "invalid-value")

    assert served.client.patch(f"/v2/goals/{goal['id']}", json={"name": "y"}, headers=key).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/sessions"),
        ("POST", "/v2/tokens"),
        ("DELETE", "/v2/sessions/current"),
        ("PATCH", "/v2/users/{user}"),
        ("PUT", "/v2/users/{user}/password"),
        ("POST", "/v2/projections/activity/rebuild"),
        ("POST", "/v2/projections/activity/rollback"),
    ],
)
def test_a_key_that_would_not_be_kept_is_refused(served: Served, user: str, method: str, path: str) -> None:
    answer = served.client.request(method, path.format(user=user), json={}, headers={"Idempotency-Key": "k"})

    assert at_fault(answer) == "Idempotency-Key"


# Preconditions.


@pytest.mark.parametrize("path", ["/v2/users/{user}/goals", "/v2/users/{user}/commands", "/v2/goals/{goal}/complete"])
def test_a_command_that_asks_for_nothing_to_be_there_is_refused(served: Served, user: str, path: str) -> None:
    goal, before = served.make_goal(user, "x"), head(served)
    place = path.format(user=user, goal=goal["id"])

    refused(served.post(place, {}, **{"If-None-Match": "*"}), 412, "changed")

    assert head(served) == before


def test_a_command_is_refused_where_the_goal_still_is_what_it_must_not_be(served: Served, user: str) -> None:
    goal = served.make_goal(user, "x")
    path = f"/v2/goals/{goal['id']}"
    tag = served.client.get(path).headers["ETag"]

    for tags in (tag, f"W/{tag}", f'"other", {tag}'):
        refused(served.client.patch(path, json={"name": "y"}, headers={"If-None-Match": tags}), 412, "changed")

    assert served.client.patch(path, json={"name": "y"}, headers={"If-None-Match": '"other"'}).status_code == 200
    assert served.client.patch(path, json={"name": "z"}, headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize("path", ["/v2/goals/{goal}", "/v2/users/{user}/goals", "/v2/users/{user}/goals?as_of=1"])
def test_a_read_of_what_has_a_tag_is_refused_for_another_one(served: Served, user: str, path: str) -> None:
    goal = served.make_goal(user, "x")
    place = path.format(user=user, goal=goal["id"])
    tag = served.client.get(place).headers["ETag"]

    for tags in ('"nope"', f"W/{tag}", ""):
        refused(served.client.get(place, headers={"If-Match": tags}), 412, "changed")
    for tags in ("*", tag, f'"nope", {tag}'):
        assert served.client.get(place, headers={"If-Match": tags}).status_code == 200


@pytest.mark.parametrize("path", ["/v2/users", "/v2/users/{user}", "/v2/events", "/v2/projections", "/healthz"])
def test_a_read_of_what_has_no_tag_can_ask_only_that_it_is_there(served: Served, user: str, path: str) -> None:
    place = path.format(user=user)

    refused(served.client.get(place, headers={"If-Match": '"r1"'}), 412, "changed")
    assert served.client.get(place, headers={"If-Match": "*"}).status_code == 200
    nothing = served.client.get(place, headers={"If-None-Match": "*"})
    assert (nothing.status_code, nothing.content) == (304, b"")
    assert served.client.get(place, headers={"If-None-Match": '"r1"'}).status_code == 200


# Positions.


@pytest.mark.parametrize("accept", ["application/json", LINES, STREAM])
@pytest.mark.parametrize("parameter", ["after", "until"])
def test_a_position_beyond_the_logs_end_is_refused(served: Served, user: str, accept: str, parameter: str) -> None:
    for beyond in (head(served) + 1, FAR):
        answer = served.client.get(f"/v2/users/{user}/events", params={parameter: beyond}, headers={"Accept": accept})

        assert at_fault(answer) == parameter


def test_a_follower_that_saw_more_than_there_is_is_told_so(served: Served) -> None:
    answer = served.client.get("/v2/events", headers={"Accept": STREAM, "Last-Event-ID": str(head(served) + 3)})

    assert at_fault(answer) == "Last-Event-ID"


def test_every_event_names_its_log_and_one_of_another_log_is_refused(served: Served, user: str) -> None:
    served.make_goal(user, "x")
    pages = served.client.get(f"/v2/users/{user}/events")
    log = pages.headers["Log"]
    ids = []
    with served.client.stream("GET", f"/v2/users/{user}/events", headers={"Accept": STREAM}) as stream:
        assert stream.headers["Log"] == log
        for line in stream.iter_lines():
            if line.startswith("id: "):
                ids.append(line.removeprefix("id: "))
            if len(ids) == 2:
                break

    assert uuid_of(log) == log
    assert ids == [f"{event['position']}@{log}" for event in pages.json()["events"]]
    with served.client.stream(
        "GET", f"/v2/users/{user}/events", headers={"Accept": STREAM, "Last-Event-ID": ids[0]}
    ) as stream:
        assert next(line for line in stream.iter_lines() if line.startswith("id: ")) == f"id: {ids[1]}"
    other = {"Accept": STREAM, "Last-Event-ID": f"1@{uuid.uuid4()}"}
    assert at_fault(served.client.get("/v2/events", headers=other)) == "Last-Event-ID"


@pytest.mark.parametrize("accept", [LINES, STREAM])
def test_a_limit_of_a_stream_is_refused(served: Served, accept: str) -> None:
    assert at_fault(served.client.get("/v2/events?limit=1", headers={"Accept": accept})) == "limit"


@pytest.mark.parametrize("path", ["/v2/users", "/v2/tokens"])
def test_a_cursor_that_no_page_had_is_refused(served: Served, path: str) -> None:
    if path == "/v2/users":
        assert at_fault(served.client.get(path, params={"cursor": "zzz"})) == "cursor"


# Reasons.


def test_an_empty_reason_is_none_and_a_malformed_one_is_refused(served: Served, user: str) -> None:
    goal = served.make_goal(user, "x")
    path = f"/v2/goals/{goal['id']}"

    assert served.client.patch(path, json={"name": "y"}, headers={"X-Reason": ""}).status_code == 200
    assert served.client.patch(path, json={"name": "z", "reason": ""}).status_code == 200
    for malformed in ("100%", "%zz", "%e4"):
        answer = served.client.patch(path, json={"name": "q"}, headers={"X-Reason": malformed})
        assert at_fault(answer) == "X-Reason"

    assert [event["reason"] for event in served.get(f"{path}/history")["events"]] == [None, None, None]


# Members.


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ('{"name": "first", "name": "second"}', "/name"),
        ('{"name": "x", "description": null, "description": null}', "/description"),
    ],
)
def test_a_member_that_stands_twice_is_refused(served: Served, user: str, body: str, pointer: str) -> None:
    json = {"Content-Type": "application/json"}
    answer = served.client.post(f"/v2/users/{user}/goals", content=body, headers=json)

    assert at_fault(answer) == pointer
    commands = f'{{"commands": [{{"type": "CreateGoal", "name": "a"}}, {{"type": "CreateGoal", {body[1:]}]}}'
    answer = served.client.post(f"/v2/users/{user}/commands", content=commands, headers=json)
    assert at_fault(answer) == f"/commands/1{pointer}"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'\xef\xbb\xbf{"name": "x"}', "byte order mark"),
        (b'{"name": "\\ud800x"}', "surrogate"),
        (b'{"name": "\xff"}', "0xFF at byte 10"),
        (b'{"name": tru}', "line 1, column 10"),
        (b'{"name": "x"', "its end"),
        (b"[" * 100_000, "nested"),
    ],
)
def test_what_is_no_json_is_said_in_words_that_help(served: Served, user: str, body: bytes, said: str) -> None:
    json = {"Content-Type": "application/json"}
    problem = refused(
        served.client.post(f"/v2/users/{user}/goals", content=body, headers=json), 400, "malformed-request"
    )

    assert said in problem["detail"]


# Ids.


def forms(goal_id: str) -> list[str]:
    return [goal_id, goal_id.upper(), goal_id.replace("-", ""), goal_id.replace("-", "").upper()]


def test_an_id_is_taken_in_any_form_wherever_one_is_and_answered_in_the_usual_one(served: Served, user: str) -> None:
    parent = served.make_goal(user, "parent")
    for number, form in enumerate(forms(parent["id"])):
        child = served.make_goal(user, f"child {number}", parent_id=form, id=forms(str(uuid.uuid4()))[number])
        assert child["parent_id"] == parent["id"]
        assert uuid_of(child["id"]) == child["id"]
        assert served.get(f"/v2/goals/{form}")["id"] == parent["id"]
        assert served.get("/v2/events", goal=form)["events"][0]["goal_id"] == parent["id"]
        assert served.post(f"/v2/goals/{form}/complete", {}).json()["id"] == parent["id"]


def test_a_user_is_found_by_an_id_in_any_form(served: Served, user: str) -> None:
    known = served.get(f"/v2/users/{user}")

    assert [served.get(f"/v2/users/{form}") for form in forms(known["id"])] == [known] * 4


# Our own words.

LIBRARIES = re.compile(
    r"Expected `|Invalid|Object (missing|contains)|RFC3339|Input data|malformed:|Traceback|codec|\bgot\b"
)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("name", 1), ("name", None), ("name", ""), ("parent_id", "x"), ("parent_id", 5), ("start", "tomorrow"),
        ("start", 5), ("due", "2026-11-23"), ("due", "2026-11-23T08:00:00"), ("due", "2026-11-23T08:00:00+0100"),
        ("description", ["x"]), ("id", "x"), ("before", {}), ("unknown", 1), ("reason", 5),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_told_in_our_words(served: Served, user: str, member: str, value: Any) -> None:
    body = {"name": "x", member: value}
    alone = refused(served.post(f"/v2/users/{user}/goals", body), 422, "invalid-value")

    assert alone["errors"] == [{"pointer": f"/{member}", "detail": alone["detail"]}]
    assert re.fullmatch(r"expected .+; found .+", alone["detail"])
    assert not LIBRARIES.search(alone["detail"])
    if member != "reason":
        batch = {"commands": [{"type": "CreateGoal", **body}]}
        several = refused(served.post(f"/v2/users/{user}/commands", batch), 422, "invalid-value")
        assert several["errors"][0]["pointer"] == f"/commands/0/{member}"
        assert not LIBRARIES.search(several["detail"])


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/v2/users/{user}/goals?depth=x", "depth"), ("/v2/users/{user}/goals?depth=-1", "depth"),
        ("/v2/users/{user}/goals?status=some", "status"), ("/v2/users/{user}/goals?view=round", "view"),
        ("/v2/users/{user}/goals?deleted=perhaps", "deleted"), ("/v2/users/{user}/goals?as_of=noon", "as_of"),
        ("/v2/users/{user}/goals?when=now", "when"), ("/v2/events?limit=0", "limit"), ("/v2/events?limit=x", "limit"),
        ("/v2/events?after=-1", "after"), ("/v2/events?type=GoalEaten", "type"), ("/v2/events?until=x", "until"),
        ("/v2/users?limit=1001", "limit"), ("/v2/users?cursor=zzz", "cursor"), ("/v2/projections?x=1", "x"),
    ],
)  # fmt: skip
def test_a_parameter_that_does_not_fit_is_told_in_our_words(
    served: Served, user: str, path: str, parameter: str
) -> None:
    problem = refused(served.client.get(path.format(user=user)), 422, "invalid-value")

    assert problem["errors"] == [{"parameter": parameter, "detail": problem["detail"]}]
    assert re.fullmatch(r"expected .+; found .+", problem["detail"], re.DOTALL)
    assert not LIBRARIES.search(problem["detail"])


# Times.


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2026-11-30T23:59:59.9999999Z", "2026-11-30T23:59:59.999999Z"),
        ("9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.999999Z"),
        ("2026-11-30t08:00:00.1234567891+01:00", "2026-11-30T07:00:00.123456Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
    ],
)
def test_a_time_is_cut_to_the_microsecond_and_never_rounded_up(
    served: Served, user: str, given: str, kept: str
) -> None:
    assert served.make_goal(user, "x", due=given)["due"] == kept


def test_a_read_as_of_a_nanosecond_before_an_event_does_not_show_it(served: Served, user: str) -> None:
    goal = served.make_goal(user, "x")
    at = goal["created_at"]
    wait_for(lambda: served.get(f"/v2/users/{user}/goals", as_of=at)["goals"] != [], "the goal as of its time")
    before = re.sub(r"(\.\d+)?Z$", "", at)
    micro = int(at.removeprefix(before).strip(".Z").ljust(6, "0") or 0)

    if micro:
        shown = served.get(f"/v2/users/{user}/goals", as_of=f"{before}.{micro - 1:06}999Z")
        assert shown["goals"] == []


# Paths, media types, methods.


def test_a_slash_in_a_part_of_a_path_is_none_between_parts(served: Served, user: str) -> None:
    refused(served.client.get(f"/v2/users/{user}%2Fgoals"), 404, "not-found")
    refused(served.client.get(f"/v2%2fusers/{user}"), 404, "not-found")


@pytest.mark.parametrize(("accept", "given"), [("Text/Event-Stream", STREAM), ("APPLICATION/X-NDJSON", LINES)])
def test_media_types_have_no_case(served: Served, user: str, accept: str, given: str) -> None:
    with served.client.stream("GET", f"/v2/users/{user}/events", headers={"Accept": accept}) as answer:
        assert answer.headers["Content-Type"] == given


@pytest.mark.parametrize("accept", [";;;", "x", "*", "a/b;q=x", "/", ","])
def test_who_takes_what_cannot_be_read_is_given_json(served: Served, user: str, accept: str) -> None:
    answer = served.client.get(f"/v2/users/{user}/events", headers={"Accept": accept})

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json; charset=utf-8")


@pytest.mark.parametrize("header", ["Idempotency-Key", "If-None-Match", "If-Match"])
@pytest.mark.parametrize("method", ["TRACE", "PUT"])
def test_a_method_that_a_path_does_not_take_is_told_whatever_else_is_sent(
    served: Served, method: str, header: str
) -> None:
    refused(served.client.request(method, "/v2/events", headers={header: '"x"'}), 405, "method-not-allowed")


def test_a_path_says_what_it_takes(served: Served, user: str) -> None:
    goal = served.make_goal(user, "x")
    options = served.client.options(f"/v2/goals/{goal['id']}").headers
    wrong = served.client.patch(f"/v2/goals/{goal['id']}", content=b"x", headers={"Content-Type": "text/plain"})
    other = served.client.put(f"/v2/goals/{goal['id']}")

    patch = "application/merge-patch+json, application/json"
    assert set(options["Allow"].split(", ")) == {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}
    assert (options["Accept-Patch"], options["Accept-Encoding"]) == (patch, "identity")
    assert (wrong.status_code, wrong.headers["Accept-Patch"]) == (415, patch)
    assert (other.status_code, other.headers["Allow"]) == (405, options["Allow"])
    assert served.client.options(f"/v2/users/{user}/goals").headers["Accept-Post"] == "application/json"


def target(served: Served, line: str, host: str = "localhost") -> tuple[int, bytes]:
    """The status of a request with this target, and its body."""
    answer = exchange(served.port, f"{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    return answer.statuses[0], answer.body


def test_a_whole_url_is_a_target_as_good_as_a_path(served: Served, user: str) -> None:
    for url in (f"http://localhost:{served.port}/v2/users/{user}", f"HTTP://127.0.0.1/v2/users/{user}"):
        status, body = target(served, f"GET {url}", host="whatever.localhost")
        assert (status, f'"name":"{user}"'.encode() in body) == (200, True)


def test_the_authority_of_a_url_counts_as_the_host(served: Served) -> None:
    assert target(served, "GET http://evil.example/healthz")[0] == 421
    assert target(served, "GET http://localhost/healthz", host="evil.example")[0] == 200
    assert target(served, "OPTIONS *")[0] == 200
    assert target(served, "GET *")[0] in (400, 404)
    assert target(served, "GET ftp://localhost/healthz")[0] in (400, 404)
