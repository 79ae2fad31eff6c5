"""Goals as clients see them: creating, reading as of now and of then, changing, and doing each thing once."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from tests.support.serving import Served, refused, wait_for

Json = dict[str, Any]

LIVE = "private, no-cache"
SETTLED = "private, max-age=3600, immutable"
UNKNOWN = "01990000-0000-7000-8000-000000000000"


@pytest.fixture
def stranger(served: Served) -> str:
    """The name of another user."""
    name = f"stranger-{uuid.uuid4().hex}"
    served.make_user(name)
    return name


def uuid7() -> str:
    return str(uuid.UUID(int=uuid.uuid4().int & ~(0xF << 76) | 7 << 76))


def head(served: Served) -> int:
    """The log's last position."""
    position: int = served.get("/v2/projections/goal_tree")["head"]
    return position


def goals_of(served: Served, user: str, **query: Any) -> list[Json]:
    goals: list[Json] = served.get(f"/v2/users/{user}/goals", **query)["goals"]
    return goals


def outline(goals: list[Json]) -> Json:
    """Names in names, in order; where a depth cuts, how many are below."""
    return {goal["name"]: goal.get("sub_goal_count", outline(goal.get("sub_goals", []))) for goal in goals}


def names(goals: list[Json]) -> list[str]:
    return [goal["name"] for goal in goals]


def make_outline(served: Served, user: str, wanted: Json, parent: str | None = None) -> dict[str, Json]:
    """Goals named so, nested so; answers them by name."""
    made = {}
    for name, below in wanted.items():
        made[name] = served.make_goal(user, name, parent_id=parent)
        made |= make_outline(served, user, below, made[name]["id"])
    return made


def at_once(calls: list[Callable[[httpx2.Client], httpx2.Response]], served: Served) -> list[httpx2.Response]:
    """All of them at the same moment, each on a connection of its own."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[httpx2.Client], httpx2.Response]) -> httpx2.Response:
        with httpx2.Client(base_url=served.url, timeout=30) as client:
            client.get("/healthz")
            barrier.wait()
            return call(client)

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


# Creating.


def test_a_goal_is_created_with_all_that_is_given(served: Served, user: str) -> None:
    parent = served.make_goal(user, "Fitness")
    given = {
        "name": "Run a marathon",
        "parent_id": parent["id"],
        "description": "All of\n42.195 km",
        "start": "2026-11-23T10:00:00+02:00",
        "due": "2027-05-01T00:00:00.25Z",
    }

    answer = served.post(f"/v2/users/{user}/goals", given)

    goal = answer.json()
    event = served.events(f"/goals/{goal['id']}")[0]
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v2/goals/{goal['id']}"
    assert answer.headers["Position"] == str(event["position"])
    assert answer.headers["Command"] == event["command"]
    assert answer.headers["ETag"]
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["Cache-Control"] == LIVE
    assert uuid.UUID(goal["id"]).version == 7
    assert goal == {
        **given,
        "id": goal["id"],
        "user": user,
        "start": "2026-11-23T08:00:00Z",
        "due": "2027-05-01T00:00:00.250000Z",
        "end": None,
        "status": "open",
        "created_at": event["at"],
        "updated_at": event["at"],
        "revision": 1,
    }
    assert served.get(answer.headers["Location"]) == {
        **goal, "progress": {"completed": 0, "leaves": 1}, "sub_goals": []
    }  # fmt: skip


def test_a_name_is_all_that_a_goal_needs(served: Served, user: str) -> None:
    goal = served.make_goal(user, "  Rest\u0065\u0301  ")

    assert goal["name"] == "Rest\u00e9"
    assert (goal["parent_id"], goal["description"], goal["due"]) == (None, None, None)
    assert goal["start"] == goal["created_at"]


@pytest.mark.parametrize("make_id", [uuid7, lambda: str(uuid.uuid4()).upper()], ids=["version 7", "version 4"])
def test_a_client_may_bring_the_id(served: Served, user: str, make_id: Callable[[], str]) -> None:
    goal_id = make_id()

    assert served.make_goal(user, "made offline", id=goal_id)["id"] == goal_id.lower()
    assert served.get(f"/v2/goals/{goal_id}")["name"] == "made offline"


def test_an_id_that_anybody_has_or_had_is_refused(served: Served, user: str, stranger: str) -> None:
    mine, theirs, gone = (served.make_goal(owner, "first")["id"] for owner in (user, stranger, user))
    served.order({"id": gone}, "delete")

    for taken in (mine, theirs, gone):
        problem = refused(served.post(f"/v2/users/{user}/goals", {"name": "x", "id": taken}), 409, "goal-exists")
        assert problem["errors"][0]["pointer"] == "/id"
    assert names(goals_of(served, user)) == ["first"]
    assert served.get(f"/v2/goals/{theirs}")["user"] == stranger


@pytest.mark.parametrize(
    "bad",
    [
        "c232ab00-9414-11ec-b3c8-9f6bdeced846",
        str(uuid.uuid5(uuid.NAMESPACE_URL, "x")),
        str(uuid.UUID(int=0)),
        str(uuid.UUID(int=2**128 - 1)),
        "01990000-0000-4000-c000-000000000000",
        "no id",
        "0199",
        7,
    ],
)
def test_an_id_of_another_kind_is_refused(served: Served, user: str, bad: object) -> None:
    problem = refused(served.post(f"/v2/users/{user}/goals", {"name": "x", "id": bad}), 422, "invalid-value")

    assert problem["errors"][0]["pointer"] == "/id"


def test_a_parent_must_be_a_goal_of_this_user(served: Served, user: str, stranger: str) -> None:
    gone = served.make_goal(user, "gone")
    served.order(gone, "delete")

    for parent in (UNKNOWN, gone["id"], served.make_goal(stranger, "theirs")["id"]):
        answer = served.post(f"/v2/users/{user}/goals", {"name": "x", "parent_id": parent})
        problem = refused(answer, 404, "goal-not-found")
        assert problem["errors"][0]["pointer"] == "/parent_id"
        assert problem["detail"].replace(parent, "…").endswith("found none with the id …")
    assert goals_of(served, user) == []


def test_a_new_goal_comes_last_or_where_it_is_put(served: Served, user: str) -> None:
    made = make_outline(served, user, {"a": {"a1": {}}, "b": {}})

    served.make_goal(user, "c")
    served.make_goal(user, "before a", before=made["a"]["id"])
    served.make_goal(user, "after a", after=made["a"]["id"])
    served.make_goal(user, "a0", parent_id=made["a"]["id"], before=made["a1"]["id"])

    assert outline(goals_of(served, user)) == {
        "before a": {},
        "a": {"a0": {}, "a1": {}},
        "after a": {},
        "b": {},
        "c": {},
    }


def test_values_at_their_bounds_are_taken(served: Served, user: str) -> None:
    members = {
        "description": "\t" + "y" * 16_383,
        "start": "1900-01-01T00:00:00Z",
        "due": "9999-12-31T23:59:59.999999Z",
    }

    goal = served.make_goal(user, "ß" * 200, **members, reason="z" * 1_000)

    assert {member: goal[member] for member in members} == members
    assert served.events(f"/goals/{goal['id']}")[0]["reason"] == "z" * 1_000


# Reading.


def test_a_new_user_has_an_empty_tree(served: Served, user: str) -> None:
    assert served.get(f"/v2/users/{user}/goals") == {"user": user, "version": 0, "position": 0, "goals": []}


def test_a_tree_names_the_last_event_it_shows(served: Served, user: str, stranger: str) -> None:
    make_outline(served, user, {"a": {}, "b": {}})
    last = served.events(f"/users/{user}")[-1]
    served.make_goal(stranger, "later")

    tree = served.get(f"/v2/users/{user}/goals")

    assert (tree["user"], tree["version"], tree["position"]) == (user, 2, last["position"])


def test_a_user_is_named_by_name_or_id(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    user_id = served.get(f"/v2/users/{user}")["id"]

    assert goals_of(served, user_id) == goals_of(served, user.upper()) == [served.get(f"/v2/goals/{goal['id']}")]
    refused(served.client.get("/v2/users/nobody-of-this-name/goals"), 404, "user-not-found")


def test_a_tree_nests_goals_in_order_with_their_progress(served: Served, user: str) -> None:
    made = make_outline(served, user, {"a": {"b": {"c": {}, "d": {}}, "e": {}}, "f": {}})
    served.order(made["c"], "complete")
    served.order(made["f"], "complete")

    goals = goals_of(served, user)

    assert outline(goals) == {"a": {"b": {"c": {}, "d": {}}, "e": {}}, "f": {}}
    a, f = goals
    assert a["progress"] == {"completed": 1, "leaves": 3}
    assert a["sub_goals"][0]["progress"] == {"completed": 1, "leaves": 2}
    assert a["sub_goals"][1]["progress"] == {"completed": 0, "leaves": 1}
    assert (f["progress"], f["status"]) == ({"completed": 1, "leaves": 1}, "done")
    assert {goal["parent_id"] for goal in a["sub_goals"]} == {a["id"]}


def test_depth_says_how_many_levels_are_below(served: Served, user: str) -> None:
    made = make_outline(served, user, {"a": {"b": {"c": {}, "d": {}}, "e": {}}, "f": {}})
    path = f"/v2/goals/{made['a']['id']}"

    assert outline(goals_of(served, user, depth=0)) == {"a": 2, "f": 0}
    assert outline(goals_of(served, user, depth=1)) == {"a": {"b": 2, "e": 0}, "f": {}}
    assert outline([served.get(path, depth=0)]) == {"a": 2}
    assert outline([served.get(path, depth=1)]) == {"a": {"b": 2, "e": 0}}
    assert outline([served.get(path, depth=9)]) == {"a": {"b": {"c": {}, "d": {}}, "e": {}}}
    for cut in (goals_of(served, user, depth=0)[0], served.get(path, depth=0)):
        assert "sub_goals" not in cut
        assert cut["progress"] == {"completed": 0, "leaves": 3}
    assert "sub_goal_count" not in served.get(path)


def test_a_flat_view_is_in_pre_order_with_depths(served: Served, user: str) -> None:
    made = make_outline(served, user, {"a": {"b": {"c": {}}, "d": {}}, "e": {}})
    order = {"a": 0, "b": 1, "c": 2, "d": 1, "e": 0}

    flat = goals_of(served, user, view="flat")
    of_one = served.get(f"/v2/goals/{made['b']['id']}", view="flat")

    assert {goal["name"]: goal["depth"] for goal in flat} == order
    assert names(flat) == list(order)
    assert all("sub_goals" not in goal and "sub_goal_count" not in goal for goal in flat)
    assert flat[0]["progress"] == {"completed": 0, "leaves": 2}
    assert {goal["name"]: goal["depth"] for goal in of_one["goals"]} == {"b": 0, "c": 1}
    assert (of_one["user"], of_one["version"]) == (user, 5)
    assert names(goals_of(served, user, view="flat", depth=1)) == ["a", "b", "d", "e"]


def test_a_status_keeps_those_above_what_it_finds(served: Served, user: str) -> None:
    made = make_outline(served, user, {"a": {"b": {"c": {}}, "d": {}}, "e": {}, "f": {}})
    for name in ("c", "e"):
        served.order(made[name], "complete")
    everything = goals_of(served, user)

    assert outline(goals_of(served, user, status="done")) == {"a": {"b": {"c": {}}}, "e": {}}
    assert outline(goals_of(served, user, status="open")) == {"a": {"b": {}, "d": {}}, "f": {}}
    assert goals_of(served, user, status="all") == everything
    assert names(goals_of(served, user, status="done", view="flat")) == ["c", "e"]
    assert names(goals_of(served, user, status="open", view="flat")) == ["a", "b", "d", "f"]
    assert goals_of(served, user, status="done")[0]["progress"] == {"completed": 1, "leaves": 2}


def test_deleted_goals_are_shown_in_their_places_where_they_are_asked_for(served: Served, user: str) -> None:
    made = make_outline(served, user, {"a": {"b": {"c": {}}, "d": {}}, "e": {}})
    served.order(made["b"], "delete")

    live, all_of_them = goals_of(served, user), goals_of(served, user, deleted="true")

    assert outline(live) == {"a": {"d": {}}, "e": {}}
    assert outline(all_of_them) == {"a": {"b": {"c": {}}, "d": {}}, "e": {}}
    deleted = all_of_them[0]["sub_goals"][0]
    assert (deleted["status"], deleted["sub_goals"][0]["status"], all_of_them[0]["status"]) == (
        "deleted",
        "deleted",
        "open",
    )
    assert live[0]["progress"] == all_of_them[0]["progress"] == {"completed": 0, "leaves": 1}
    assert names(goals_of(served, user, deleted="true", view="flat")) == ["a", "b", "c", "d", "e"]


def test_a_goal_that_is_deleted_or_never_was_is_not_found(served: Served, user: str) -> None:
    made = make_outline(served, user, {"a": {"b": {}}})
    served.order(made["a"], "delete")

    for goal_id in (made["a"]["id"], made["b"]["id"], UNKNOWN, "x", user):
        refused(served.client.get(f"/v2/goals/{goal_id}"), 404, "goal-not-found")


def test_a_worker_answers_at_once_what_another_one_recorded(served: Served, user: str) -> None:
    goal = served.make_goal(user, "0")
    one, other = served.workers()
    with served.client_of(one) as first, served.client_of(other) as second:
        for turn, (writer, reader) in enumerate([(first, second), (second, first)] * 5):
            writer.patch(f"/v2/goals/{goal['id']}", json={"name": f"turn {turn}"})
            assert names(reader.get(f"/v2/users/{user}/goals").json()["goals"]) == [f"turn {turn}"]
            assert reader.get(f"/v2/goals/{goal['id']}").json()["name"] == f"turn {turn}"


# As of then.


class Past:
    """A user's history, and every answer that was given while it came to be."""

    VIEWS = ("", "view=flat", "deleted=true", "depth=0", "status=done")

    def __init__(self, served: Served, user: str) -> None:
        self.path = f"/v2/users/{user}/goals"
        self.answers: list[tuple[Json, list[Json]]] = []
        self.goals: list[httpx2.Response] = []
        made: dict[str, Json] = {}
        for _ in self._history(served, user, made):
            event = served.events(f"/users/{user}")[-1]
            self.answers.append((event, [served.get(f"{self.path}?{view}") for view in self.VIEWS]))
            self.goals.append(
                served.client.get(f"/v2/goals/{made['b']['id']}") if "b" in made else httpx2.Response(404)
            )
        self.goal_path = f"/v2/goals/{made['b']['id']}"

    def _history(self, served: Served, user: str, made: dict[str, Json]) -> Iterator[None]:
        for name, parent in (("a", None), ("b", "a"), ("c", "b"), ("d", None)):
            made[name] = served.make_goal(user, name, parent_id=parent and made[parent]["id"])
            yield
        orders: list[tuple[str, str, Json]] = [
            ("b", "patch", {"name": "B", "description": "renamed"}),
            ("c", "complete", {}),
            ("b", "move", {"parent_id": made["d"]["id"]}),
            ("a", "complete", {"end": "2099-01-01T00:00:00Z"}),
            ("a", "reopen", {}),
            ("b", "delete", {}),
            ("b", "restore", {"parent_id": None}),
            ("d", "move", {"before": made["a"]["id"]}),
        ]
        for name, order, members in orders:
            served.order(made[name], order, **members)
            yield


@pytest.fixture
def past(served: Served, user: str) -> Past:
    return Past(served, user)


def test_every_answer_of_the_past_is_given_again_as_of_its_position(served: Served, past: Past) -> None:
    for event, answers in past.answers:
        for view, then in zip(past.VIEWS, answers, strict=True):
            answer = served.client.get(f"{past.path}?{view}", params={"as_of": event["position"]})
            assert answer.json() == then
            assert answer.headers["Cache-Control"] == LIVE


def test_every_answer_of_the_past_is_given_again_as_of_its_time(served: Served, user: str, past: Past) -> None:
    served.make_goal(user, "so that all of the past is settled")
    for event, answers in past.answers:
        answer = served.client.get(past.path, params={"as_of": event["at"]})
        assert answer.json() == answers[0]
        assert answer.headers["Cache-Control"] == LIVE
        before = datetime.fromisoformat(event["at"]) - timedelta(microseconds=1)
        then = served.get(past.path, as_of=before.isoformat())
        assert then["position"] < event["position"]


def test_a_goal_is_answered_as_it_was(served: Served, past: Past) -> None:
    for (event, _), then in zip(past.answers, past.goals, strict=True):
        answer = served.client.get(past.goal_path, params={"as_of": event["position"]})
        assert answer.status_code == then.status_code
        if then.status_code == 200:
            assert answer.json() == then.json()
            assert answer.headers["Cache-Control"] == LIVE
        else:
            refused(answer, 404, "goal-not-found")


def test_as_of_the_beginning_there_was_nothing(served: Served, user: str, past: Past) -> None:
    for beginning in (0, "1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z"):
        tree = served.get(past.path, as_of=beginning)
        assert tree == {"user": user, "version": 0, "position": 0, "goals": []}


def test_an_answer_of_the_past_never_changes(served: Served, user: str, past: Past) -> None:
    position = past.answers[4][0]["position"]
    before = served.client.get(past.path, params={"as_of": position})
    served.make_goal(user, "later")

    after = served.client.get(past.path, params={"as_of": position})
    unchanged = served.client.get(
        past.path, params={"as_of": position}, headers={"If-None-Match": before.headers["ETag"]}
    )

    assert (after.content, after.headers["ETag"]) == (before.content, before.headers["ETag"])
    assert (unchanged.status_code, unchanged.content, unchanged.headers["Cache-Control"]) == (304, b"", LIVE)


def test_an_answer_of_the_past_that_is_asked_for_by_the_users_id_is_settled_and_holds_no_name(
    served: Served, user: str, past: Past
) -> None:
    user_id = served.get(f"/v2/users/{user}")["id"]
    position = past.answers[4][0]["position"]
    by_id = f"/v2/users/{user_id}/goals"

    before = served.client.get(by_id, params={"as_of": position})
    renamed = served.client.patch(f"/v2/users/{user}", json={"name": f"{user}-renamed"})
    after = served.client.get(by_id, params={"as_of": position}, headers={"If-None-Match": before.headers["ETag"]})

    assert (before.headers["Cache-Control"], after.status_code, renamed.status_code) == (SETTLED, 304, 200)
    assert user not in before.text
    assert {before.json()["user"], *(goal["user"] for goal in before.json()["goals"])} == {user_id}
    later = served.client.get(by_id, params={"as_of": "2999-01-01T00:00:00Z"})
    assert later.headers["Cache-Control"] == LIVE


def test_a_position_beyond_the_head_is_refused(served: Served, user: str) -> None:
    for position in (head(served) + 1, 2**63 - 1, 2**63, 10**30):
        answer = served.client.get(f"/v2/users/{user}/goals", params={"as_of": position})
        assert refused(answer, 422, "invalid-value")["errors"][0]["parameter"] == "as_of"


@pytest.mark.parametrize("time", ["2999-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_later_time_is_as_now_and_may_still_change(served: Served, user: str, time: str) -> None:
    served.make_goal(user, "first")
    path = f"/v2/users/{user}/goals"

    answer = served.client.get(path, params={"as_of": time})

    assert answer.json() == served.get(path)
    assert answer.headers["Cache-Control"] == LIVE
    served.make_goal(user, "second")
    assert names(goals_of(served, user, as_of=time)) == ["first", "second"]


def test_the_time_of_the_last_event_is_not_settled_yet(served: Served, user: str) -> None:
    goal = served.make_goal(user, "last")

    answer = served.client.get(f"/v2/users/{user}/goals", params={"as_of": goal["created_at"]})

    assert (names(answer.json()["goals"]), answer.headers["Cache-Control"]) == (["last"], LIVE)


@pytest.mark.parametrize("bad", ["", "-1", "1.5", "yesterday", "2026-11-23", "2026-11-23T08:00:00", "٣"])
def test_an_as_of_that_is_neither_time_nor_position_is_refused(served: Served, user: str, bad: str) -> None:
    goal = served.make_goal(user, "a")
    for path in (f"/v2/users/{user}/goals", f"/v2/goals/{goal['id']}"):
        answer = served.client.get(path, params={"as_of": bad})
        assert refused(answer, 422, "invalid-value")["errors"][0]["parameter"] == "as_of"


# Tags.


def test_what_has_not_changed_is_not_sent_again(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    for path in (f"/v2/users/{user}/goals", f"/v2/users/{user}/goals?view=flat", f"/v2/goals/{goal['id']}"):
        tag = served.client.get(path).headers["ETag"]

        for named in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            answer = served.client.get(path, headers={"If-None-Match": named})
            assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", tag)
            assert answer.headers["Cache-Control"] == LIVE
            assert answer.headers["Vary"] == "Authorization, Access-Token, Cookie, Accept-Encoding"
        assert served.client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_tag_changes_with_what_is_shown(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    tree, one = f"/v2/users/{user}/goals", f"/v2/goals/{goal['id']}"
    seen = [served.client.get(path).headers["ETag"] for path in (tree, one)]

    served.make_goal(user, "below", parent_id=goal["id"])

    for path, tag in zip((tree, one), seen, strict=True):
        answer = served.client.get(path, headers={"If-None-Match": tag})
        assert answer.status_code == 200
        assert answer.headers["ETag"] != tag


def test_every_view_has_a_tag_of_its_own(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    views = ["", "view=flat", "depth=0", "depth=1", "view=flat&depth=0"]
    of_trees = ["status=open", "status=done", "deleted=true", f"as_of={head(served)}"]

    tags = [served.client.get(f"/v2/users/{user}/goals?{view}").headers["ETag"] for view in views + of_trees]
    tags += [served.client.get(f"/v2/goals/{goal['id']}?{view}").headers["ETag"] for view in views]

    assert len(set(tags)) == len(tags)


def test_a_revision_alone_is_a_goals_tag_for_commands(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    path = f"/v2/goals/{goal['id']}"

    first = served.client.patch(path, json={"name": "first"}, headers={"If-Match": '"r1"'})
    stale = served.client.patch(path, json={"name": "second"}, headers={"If-Match": '"r1"'})

    assert (first.status_code, first.json()["revision"]) == (200, 2)
    refused(stale, 412, "changed")
    for tag in ('W/"r2"', "r2", '"r2.v"', '"r2."', '"2"', '"r02x"', '"r"', '""', '"r-2"', '"r2", "'):
        answer = served.client.patch(path, json={"name": "x"}, headers={"If-Match": tag})
        assert answer.status_code == (200 if tag.startswith('"r2", ') else 412), tag
    several = served.client.patch(path, json={"name": "third"}, headers={"If-Match": '"r1", "r3"'})
    assert several.status_code == 200
    # A batch asks for the version of all the user's goals, which a revision does not tell.
    batch = {"commands": [{"type": "ReopenGoal", "id": goal["id"]}]}
    refused(served.client.post(f"/v2/users/{user}/commands", json=batch, headers={"If-Match": '"r4"'}), 412, "changed")


def test_if_match_refuses_only_when_this_goal_has_changed(served: Served, user: str) -> None:
    goal, other = served.make_goal(user, "a"), served.make_goal(user, "b")
    path = f"/v2/goals/{goal['id']}"
    seen = served.client.get(path).headers["ETag"]
    served.order(other, "patch", name="changed")
    served.make_goal(user, "below", parent_id=goal["id"])

    first = served.client.patch(path, json={"name": "first"}, headers={"If-Match": seen})
    second = served.client.patch(path, json={"name": "second"}, headers={"If-Match": seen})
    third = served.client.patch(path, json={"name": "third"}, headers={"If-Match": first.headers["ETag"]})

    assert first.status_code == third.status_code == 200
    refused(second, 412, "changed")
    assert served.get(path)["name"] == "third"


def test_if_match_holds_for_every_command_on_a_goal(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    path = f"/v2/goals/{goal['id']}"
    stale = {"If-Match": served.client.get(path).headers["ETag"]}
    served.order(goal, "patch", name="b")
    before = len(served.events(f"/goals/{goal['id']}"))

    for method, command in (
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/complete"),
        ("POST", "/restore"),
        ("POST", "/reopen"),
        ("POST", "/move"),
    ):
        refused(served.client.request(method, path + command, json={}, headers=stale), 412, "changed")
    refused(served.client.patch(path, json={}, headers={"If-Match": f"W/{stale['If-Match']}"}), 412, "changed")
    for made_up in ('"made up"', "made up", '""', "", ",", f'"r{"9" * 5_000}.v1.g1.c"'):
        refused(served.client.patch(path, json={}, headers={"If-Match": made_up}), 412, "changed")
    assert served.client.patch(path, json={}, headers={"If-Match": "*"}).status_code == 200
    assert len(served.events(f"/goals/{goal['id']}")) == before


def test_a_deleted_goal_is_restored_under_the_tag_of_its_deletion(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    first = served.client.get(f"/v2/goals/{goal['id']}").headers["ETag"]
    deleted = served.client.delete(f"/v2/goals/{goal['id']}").headers["ETag"]
    path = f"/v2/goals/{goal['id']}/restore"

    refused(served.post(path, {}, If_Match=first), 412, "changed")
    assert served.post(path, {}, If_Match=deleted).status_code == 200


def test_of_five_with_the_same_tag_one_comes_first(served: Served, user: str) -> None:
    path = f"/v2/goals/{served.make_goal(user, 'a')['id']}"
    seen = {"If-Match": served.client.get(path).headers["ETag"]}

    def rename(number: int) -> Callable[[httpx2.Client], httpx2.Response]:
        return lambda client: client.patch(path, json={"name": f"{number}"}, headers=seen)

    answers = at_once([rename(number) for number in range(5)], served)

    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412]


def test_a_goal_is_created_only_in_the_tree_that_was_seen(served: Served, user: str) -> None:
    path = f"/v2/users/{user}/goals"
    seen = served.client.get(path).headers["ETag"]

    assert served.post(path, {"name": "a"}, If_Match=seen).status_code == 201
    refused(served.post(path, {"name": "b"}, If_Match=seen), 412, "changed")


# Changing.


@pytest.mark.parametrize("media_type", ["application/merge-patch+json", "application/json; charset=utf-8"])
def test_a_patch_sets_what_is_given_and_removes_what_is_null(served: Served, user: str, media_type: str) -> None:
    members = {"description": "d", "start": "2026-01-01T00:00:00Z", "due": "2027-01-01T00:00:00Z"}
    goal = served.make_goal(user, "a", **members)
    patch = b'{"name": "b", "description": null, "due": null}'

    answer = served.client.patch(f"/v2/goals/{goal['id']}", content=patch, headers={"Content-Type": media_type})

    events = served.events(f"/goals/{goal['id']}")
    assert [event["type"] for event in events] == ["GoalCreated", "GoalRenamed", "GoalDescribed", "GoalScheduled"]
    assert len({event["command"] for event in events[1:]}) == 1
    assert answer.headers["Position"] == str(events[-1]["position"])
    assert answer.json() == {
        **goal, "name": "b", "description": None, "due": None, "revision": 4, "updated_at": events[-1]["at"]
    }  # fmt: skip


@pytest.mark.parametrize("patch", [{}, {"name": " a "}, {"description": None, "start": "2026-01-01T02:00:00+02:00"}])
def test_a_patch_without_effect_records_nothing(served: Served, user: str, patch: Json) -> None:
    goal = served.make_goal(user, "a", start="2026-01-01T00:00:00Z")
    last = served.make_goal(user, "b")

    answer = served.client.patch(f"/v2/goals/{goal['id']}", json=patch)

    assert (answer.status_code, answer.json()) == (200, goal)
    assert answer.headers["Position"] == str(served.events(f"/goals/{last['id']}")[-1]["position"])
    assert len(served.events(f"/goals/{goal['id']}")) == 1


@pytest.mark.parametrize("member", ["id", "user", "parent_id", "end", "status", "revision"])
def test_a_patch_sets_nothing_else(served: Served, user: str, member: str) -> None:
    goal = served.make_goal(user, "a")

    answer = served.client.patch(f"/v2/goals/{goal['id']}", json={"name": "b", member: goal[member]})

    assert refused(answer, 422, "invalid-value")["errors"][0]["pointer"] == f"/{member}"
    assert served.get(f"/v2/goals/{goal['id']}")["name"] == "a"


def test_a_goal_is_complete_from_now_or_from_a_given_end(served: Served, user: str) -> None:
    made = make_outline(served, user, {"a": {"below": {}}, "b": {}})
    future = served.make_goal(user, "future", start="2099-01-01T00:00:00Z")

    a = served.order(made["a"], "complete")
    b = served.order(made["b"], "complete", end="2099-02-01T00:00:00+01:00")
    later = served.order(future, "complete")

    assert (a["status"], a["end"], a["open_sub_goals"]) == ("done", a["updated_at"], 1)
    assert (b["end"], b["open_sub_goals"]) == ("2099-01-31T23:00:00Z", 0)
    assert later["end"] == "2099-01-01T00:00:00Z"
    assert "progress" not in a
    assert "sub_goals" not in a


def test_a_cascade_completes_what_is_open_below(served: Served, user: str) -> None:
    made = make_outline(served, user, {"a": {"b": {"c": {}}, "d": {}, "e": {}}})
    done = served.order(made["d"], "complete")
    served.order(made["e"], "delete")

    plain = served.order(made["a"], "complete")
    served.order(made["a"], "reopen")
    whole = served.order(made["a"], "complete", cascade=True)

    events = served.events(f"/users/{user}")
    assert (plain["open_sub_goals"], whole["open_sub_goals"]) == (2, 0)
    assert {event["goal_id"] for event in events if event["command"] == events[-1]["command"]} == {
        made[name]["id"] for name in ("a", "b", "c")
    }
    assert {goal["end"] is not None for goal in goals_of(served, user, view="flat")} == {True}
    assert served.get(f"/v2/goals/{made['d']['id']}")["end"] == done["end"]


def test_a_goal_is_reopened_and_those_above_stay_as_they_are(served: Served, user: str) -> None:
    made = make_outline(served, user, {"a": {"b": {}}})
    served.order(made["a"], "complete", cascade=True)

    b = served.order(made["b"], "reopen")
    again = served.order(made["b"], "reopen")

    assert (b["status"], b["end"], b["revision"], again) == ("open", None, 3, b)
    assert [goal["status"] for goal in goals_of(served, user, view="flat")] == ["done", "open"]


# Moving.


def test_a_goal_moves_under_another_one_to_the_top_and_among_its_siblings(served: Served, user: str) -> None:
    made = make_outline(served, user, {"a": {"b": {"c": {}}, "d": {}}, "e": {}})
    a, b, d, e = (made[name]["id"] for name in "abde")

    under = served.order(made["b"], "move", parent_id=e)
    assert under == {**made["b"], "parent_id": e, "revision": 2, "updated_at": under["updated_at"]}
    assert outline(goals_of(served, user)) == {"a": {"d": {}}, "e": {"b": {"c": {}}}}
    served.order(made["b"], "move", parent_id=None)
    assert outline(goals_of(served, user)) == {"a": {"d": {}}, "e": {}, "b": {"c": {}}}
    served.order(made["b"], "move", before=a)
    assert outline(goals_of(served, user)) == {"b": {"c": {}}, "a": {"d": {}}, "e": {}}
    served.order(made["b"], "move", after=a)
    assert outline(goals_of(served, user)) == {"a": {"d": {}}, "b": {"c": {}}, "e": {}}
    served.order(made["e"], "move", parent_id=a, before=d)
    assert outline(goals_of(served, user)) == {"a": {"e": {}, "d": {}}, "b": {"c": {}}}
    served.order(made["e"], "move")
    assert outline(goals_of(served, user)) == {"a": {"d": {}, "e": {}}, "b": {"c": {}}}
    assert [event["type"] for event in served.events(f"/goals/{b}")] == ["GoalCreated", *["GoalMoved"] * 4]


# Deleting and restoring.


def test_a_deletion_removes_all_below_and_counts_it(served: Served, user: str) -> None:
    made = make_outline(served, user, {"a": {"b": {"c": {}}, "d": {}}, "e": {}})
    served.order(made["d"], "delete")

    answer = served.client.delete(f"/v2/goals/{made['a']['id']}")

    events = served.events(f"/users/{user}")[-3:]
    assert answer.json() == {"deleted": 3}
    assert answer.headers["Position"] == str(events[-1]["position"])
    assert [(event["type"], event["goal_id"]) for event in events] == [
        ("GoalDeleted", made[name]["id"]) for name in ("c", "b", "a")
    ]
    assert names(goals_of(served, user)) == ["e"]
    for name in "abcd":
        refused(served.client.delete(f"/v2/goals/{made[name]['id']}"), 404, "goal-not-found")


def test_a_restoration_brings_back_what_the_deletion_removed(served: Served, user: str) -> None:
    made = make_outline(served, user, {"x": {}, "a": {"b": {"c": {}}, "d": {}}, "y": {}})
    served.order(made["d"], "delete")
    served.order(made["a"], "delete")

    restored = served.order(made["a"], "restore")

    assert restored == {**made["a"], "revision": 3, "updated_at": restored["updated_at"]}
    assert outline(goals_of(served, user)) == {"x": {}, "a": {"b": {"c": {}}}, "y": {}}
    served.order(made["d"], "restore", parent_id=made["y"]["id"])
    assert outline(goals_of(served, user)) == {"x": {}, "a": {"b": {"c": {}}}, "y": {"d": {}}}


# What the rules refuse, and what no value may be.

CALLS = {
    "CreateGoal": ("POST", "/v2/users/{user}/goals"),
    "ChangeGoal": ("PATCH", "/v2/goals/{goal}"),
    "CompleteGoal": ("POST", "/v2/goals/{goal}/complete"),
    "ReopenGoal": ("POST", "/v2/goals/{goal}/reopen"),
    "MoveGoal": ("POST", "/v2/goals/{goal}/move"),
    "DeleteGoal": ("DELETE", "/v2/goals/{goal}"),
    "RestoreGoal": ("POST", "/v2/goals/{goal}/restore"),
}
NOT_FOUND, INVALID, NO_SIBLING = (404, "goal-not-found"), (422, "invalid-value"), (422, "not-a-sibling")
REFUSED: list[tuple[str, str, Json, tuple[int, str], str]] = [
    # A command, the goal that it is on, its members (names stand for ids), what it is refused with, and its place.
    ("CreateGoal", "", {"name": "x", "parent_id": "unknown"}, NOT_FOUND, "parent_id"),
    ("CreateGoal", "", {"name": "x", "parent_id": "gone"}, NOT_FOUND, "parent_id"),
    ("CreateGoal", "", {"name": "x", "parent_id": "theirs"}, NOT_FOUND, "parent_id"),
    ("CreateGoal", "", {"name": "x", "id": "a"}, (409, "goal-exists"), "id"),
    ("CreateGoal", "", {"name": "x", "id": "theirs"}, (409, "goal-exists"), "id"),
    ("CreateGoal", "", {"name": "x", "id": "version 1"}, INVALID, "id"),
    ("CreateGoal", "", {"name": "x", "before": "below a"}, NO_SIBLING, "before"),
    ("CreateGoal", "", {"name": "x", "after": "theirs"}, NO_SIBLING, "after"),
    ("CreateGoal", "", {"name": "x", "before": "a", "after": "done"}, INVALID, "after"),
    ("CreateGoal", "", {"name": ""}, INVALID, "name"),
    ("CreateGoal", "", {"name": None}, INVALID, "name"),
    ("CreateGoal", "", {"name": "x" * 201}, INVALID, "name"),
    ("CreateGoal", "", {"name": "x", "description": "x" * 16_385}, INVALID, "description"),
    ("CreateGoal", "", {"name": "x", "start": "2026-11-23"}, INVALID, "start"),
    ("CreateGoal", "", {"name": "x", "start": "2026-11-23T08:00:00"}, INVALID, "start"),
    ("CreateGoal", "", {"name": "x", "start": "1899-12-31T23:59:59Z"}, INVALID, "start"),
    ("CreateGoal", "", {"name": "x", "due": "9999-12-31T23:59:59-01:00"}, INVALID, "due"),
    ("CreateGoal", "", {"name": "x", "due": 1795420800}, INVALID, "due"),
    ("CreateGoal", "", {"name": "x", "before": "no id"}, INVALID, "before"),
    ("CreateGoal", "", {"name": "x", "owner": "me"}, INVALID, "owner"),
    ("ChangeGoal", "gone", {"name": "x"}, NOT_FOUND, "id"),
    ("ChangeGoal", "theirs", {"name": "x"}, NOT_FOUND, "id"),
    ("ChangeGoal", "a", {"name": " "}, INVALID, "name"),
    ("ChangeGoal", "a", {"name": None}, INVALID, "name"),
    ("ChangeGoal", "a", {"start": None}, INVALID, "start"),
    ("ChangeGoal", "done", {"start": "2099-01-01T00:00:00Z"}, INVALID, "start"),
    *(("ChangeGoal", "a", {member: None}, INVALID, member) for member in ("user", "parent_id", "end", "revision")),
    ("CompleteGoal", "gone", {}, NOT_FOUND, "id"),
    ("CompleteGoal", "a", {"end": "1899-01-01T00:00:00Z"}, INVALID, "end"),
    ("ReopenGoal", "gone", {}, NOT_FOUND, "id"),
    ("MoveGoal", "gone", {}, NOT_FOUND, "id"),
    ("MoveGoal", "a", {"parent_id": "below a"}, (409, "under-itself"), "parent_id"),
    ("MoveGoal", "a", {"parent_id": "theirs"}, NOT_FOUND, "parent_id"),
    ("MoveGoal", "below a", {"before": "a"}, NO_SIBLING, "before"),
    ("DeleteGoal", "gone", {}, NOT_FOUND, "id"),
    ("DeleteGoal", "unknown", {}, NOT_FOUND, "id"),
    ("DeleteGoal", "theirs", {}, NOT_FOUND, "id"),
    ("RestoreGoal", "below gone", {}, (409, "not-the-root"), ""),
    ("RestoreGoal", "orphan", {}, (409, "parent-deleted"), "parent_id"),
    ("RestoreGoal", "orphan", {"parent_id": "unknown"}, NOT_FOUND, "parent_id"),
]


@pytest.fixture(scope="module")
def world(served: Served) -> tuple[str, dict[str, str]]:
    """A user whom no test changes, and ids by name."""
    user, stranger = (f"{name}-{uuid.uuid4().hex}" for name in ("user", "stranger"))
    for name in (user, stranger):
        served.make_user(name)
    wanted: Json = {"a": {"below a": {}}, "done": {}, "gone": {"below gone": {}}, "above": {"orphan": {}}}
    made = make_outline(served, user, wanted)
    served.order(made["done"], "complete")
    for name in ("gone", "orphan", "above"):
        served.order(made[name], "delete")
    ids = {name: str(goal["id"]) for name, goal in made.items()}
    theirs: str = served.make_goal(stranger, "theirs")["id"]
    return user, {**ids, "theirs": theirs, "unknown": UNKNOWN, "version 1": str(uuid.uuid1())}


def pointers(problem: Json) -> list[str]:
    return [fault["pointer"] for fault in problem.get("errors", [])]


@pytest.mark.parametrize(("type", "on", "members", "problem", "member"), REFUSED, ids=str)
def test_what_is_refused_is_told_with_its_place_alone_and_among_several_and_nothing_is_recorded(
    served: Served,
    world: tuple[str, dict[str, str]],
    type: str,
    on: str,
    members: Json,
    problem: tuple[int, str],
    member: str,
) -> None:
    user, ids = world
    body = {name: ids.get(value, value) if isinstance(value, str) else value for name, value in members.items()}
    method, path = CALLS[type]
    command = {"type": type, **({"id": ids[on]} if on else {}), **body}
    good = {"type": "CreateGoal", "name": "new"}
    before = head(served)

    if on != "theirs":  # whose owner the path would name
        alone = served.client.request(method, path.format(user=user, goal=ids.get(on)), json=body)
        assert pointers(refused(alone, *problem)) == ([] if on and member in ("", "id") else [f"/{member}"])
    several = served.post(f"/v2/users/{user}/commands", {"commands": [good, command]})
    told = refused(several, *problem)
    assert pointers(told) == ([f"/commands/1/{member}"] if member else [])
    assert told.get("index", 1) == 1
    assert head(served) == before


# Several commands.


def test_several_commands_are_done_in_order_under_one_command_id(served: Served, user: str) -> None:
    a, b, c = uuid7(), uuid7(), uuid7()
    commands: list[Json] = [
        {"type": "CreateGoal", "name": "a", "id": a},
        {"type": "CreateGoal", "name": "b", "id": b, "parent_id": a},
        {"type": "CreateGoal", "name": "c", "id": c, "parent_id": a, "before": b},
        {"type": "CreateGoal", "name": "nameless"},
        {"type": "ChangeGoal", "id": a, "name": "A", "description": "d"},
        {"type": "CompleteGoal", "id": a, "cascade": True},
        {"type": "ReopenGoal", "id": c},
        {"type": "MoveGoal", "id": b, "parent_id": None},
        {"type": "DeleteGoal", "id": a},
        {"type": "RestoreGoal", "id": a},
    ]

    answer = served.post(f"/v2/users/{user}/commands", {"commands": commands, "reason": "all at once"})

    events = served.events(f"/users/{user}")[1:]
    results = answer.json()["results"]
    now = {goal["id"]: goal for goal in goals_of(served, user, view="flat")}
    assert answer.status_code == 200
    assert answer.json()["position"] == int(answer.headers["Position"]) == events[-1]["position"]
    assert {(event["command"], event["reason"]) for event in events} == {(events[0]["command"], "all at once")}
    assert results[8] == {"deleted": 2}
    for index, result in enumerate(results):
        if index != 8:
            assert {**now[result["id"]], **result} == {**now[result["id"]], "open_sub_goals": 1} or index != 5
            assert result["name"] == now[result["id"]]["name"]
            assert result["revision"] == now[result["id"]]["revision"]
    assert [result.get("name") for result in results] == ["A", "b", "c", "nameless", "A", "A", "c", "b", None, "A"]
    assert outline(goals_of(served, user)) == {"A": {"c": {}}, "nameless": {}, "b": {}}


def test_each_result_counts_only_what_its_own_command_deleted(served: Served, user: str) -> None:
    made = make_outline(served, user, {"a": {"b": {}}})
    a, b = made["a"]["id"], made["b"]["id"]
    commands = [
        {"type": "DeleteGoal", "id": a},
        {"type": "RestoreGoal", "id": a},
        {"type": "DeleteGoal", "id": b},
        {"type": "DeleteGoal", "id": a},
    ]

    answer = served.post(f"/v2/users/{user}/commands", {"commands": commands})

    results = answer.json()["results"]
    assert [results[index] for index in (0, 2, 3)] == [{"deleted": 2}, {"deleted": 1}, {"deleted": 1}]


def test_a_thousand_commands_are_taken_and_one_more_is_not(served: Served, user: str) -> None:
    ids = [uuid7() for _ in range(1001)]
    chain: list[Json] = [
        {"type": "CreateGoal", "name": f"{number}", "id": ids[number], "parent_id": ids[number - 1] if number else None}
        for number in range(1001)
    ]
    path = f"/v2/users/{user}/commands"

    problem = refused(served.post(path, {"commands": chain}), 422, "invalid-value")
    answer = served.post(path, {"commands": chain[:1000]})

    assert problem["errors"][0]["pointer"] == "/commands"
    assert refused(served.post(path, {"commands": []}), 422, "invalid-value")["errors"][0]["pointer"] == "/commands"
    assert [goal["id"] for goal in answer.json()["results"]] == ids[:1000]
    flat = goals_of(served, user, view="flat")
    assert [(goal["id"], goal["depth"]) for goal in flat] == list(zip(ids[:1000], range(1000), strict=True))
    assert len(served.events(f"/goals/{ids[999]}")) == 1


def test_a_batch_is_refused_when_the_tree_has_changed(served: Served, user: str) -> None:
    seen = served.client.get(f"/v2/users/{user}/goals").headers["ETag"]
    served.make_goal(user, "a")
    body = {"commands": [{"type": "CreateGoal", "name": "b"}]}

    refused(served.post(f"/v2/users/{user}/commands", body, If_Match=seen), 412, "changed")


# Once and no more.


def test_a_repeat_with_the_same_key_gives_the_first_answer(served: Served, user: str) -> None:
    path, body = f"/v2/users/{user}/goals", {"name": "a"}

    first = served.post(path, body, Idempotency_Key="key")
    served.order(first.json(), "patch", name="changed since")
    served.order(first.json(), "delete")
    repeat = served.post(path, body, Idempotency_Key="key")

    assert "Idempotent-Replayed" not in first.headers
    assert repeat.headers["Idempotent-Replayed"] == "true"
    assert (repeat.status_code, repeat.json()) == (first.status_code, first.json())
    for header in ("Location", "Position", "ETag"):
        assert repeat.headers[header] == first.headers[header]
    assert len(served.events(f"/users/{user}")) == 4


def test_every_command_is_done_once_under_its_key(served: Served, user: str) -> None:
    goal, other = served.make_goal(user, "a"), served.make_goal(user, "b")
    path = f"/v2/goals/{goal['id']}"
    create = {"type": "CreateGoal", "name": "c", "parent_id": goal["id"]}
    requests: list[tuple[str, str, Json]] = [
        ("PATCH", path, {"name": "A"}),
        ("POST", f"{path}/complete", {"end": "2099-01-01T00:00:00Z"}),
        ("POST", f"{path}/reopen", {}),
        ("POST", f"{path}/move", {"parent_id": other["id"]}),
        ("POST", f"/v2/users/{user}/commands", {"commands": [create, create]}),
        ("DELETE", path, {}),
        ("POST", f"{path}/restore", {}),
    ]

    def send() -> list[tuple[int, Any, str, str, str | None]]:
        answers = []
        for number, (method, place, body) in enumerate(requests):
            answers.append(served.client.request(method, place, json=body, headers={"Idempotency-Key": f"{number}"}))
        heads = [[a.headers["Position"], a.headers["Command"], a.headers.get("Idempotent-Replayed")] for a in answers]
        return [(a.status_code, a.json(), *head) for a, head in zip(answers, heads, strict=True)]

    first = send()
    events = served.events(f"/users/{user}")
    again = send()

    assert [answer[4] for answer in first] == [None] * 7
    assert again == [(*answer[:4], "true") for answer in first]
    assert served.events(f"/users/{user}") == events


def test_a_command_that_changes_nothing_names_none_that_was_recorded(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")

    body = {"commands": [{"type": "ChangeGoal", "id": goal["id"], "name": "a"}]}
    path = f"/v2/users/{user}/commands"
    first, again = (served.post(path, body, Idempotency_Key="key") for _ in range(2))

    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Command" not in {**first.headers, **again.headers}


def test_a_key_with_another_request_is_refused(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    path, key = f"/v2/users/{user}/goals", {"Idempotency-Key": "key"}
    served.client.post(path, json={"name": "b"}, headers=key)

    for another in (
        served.client.post(path, json={"name": "c"}, headers=key),
        served.client.post(path, json={"name": "b"}, headers={**key, "X-Reason": "another"}),
        served.client.post(path, json={"name": "b"}, headers={**key, "If-Match": "*"}),
        served.client.patch(f"/v2/goals/{goal['id']}", json={"name": "b"}, headers=key),
    ):
        refused(another, 422, "key-reused")
    assert len(goals_of(served, user)) == 2


def test_keys_of_different_users_do_not_meet(served: Served, user: str, stranger: str) -> None:
    for owner in (user, stranger):
        answer = served.post(f"/v2/users/{owner}/goals", {"name": owner}, Idempotency_Key="key")
        assert (answer.status_code, answer.json()["name"]) == (201, owner)
        assert "Idempotent-Replayed" not in answer.headers


@pytest.mark.parametrize("key", ["", "x" * 256, "é"])
def test_a_key_that_is_no_key_is_refused(served: Served, user: str, key: str) -> None:
    answer = served.client.post(
        f"/v2/users/{user}/goals", json={"name": "a"}, headers=[(b"Idempotency-Key", key.encode())]
    )

    assert refused(answer, 422, "invalid-value")["errors"][0]["parameter"] == "Idempotency-Key"


def test_of_five_with_the_same_key_at_once_one_is_recorded(served: Served, user: str) -> None:
    def create(client: httpx2.Client) -> httpx2.Response:
        return client.post(f"/v2/users/{user}/goals", json={"name": "once"}, headers={"Idempotency-Key": "key"})

    answers = at_once([create] * 5, served)

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sorted(answer.headers.get("Idempotent-Replayed", "") for answer in answers) == ["", *["true"] * 4]
    assert names(goals_of(served, user)) == ["once"]


def test_a_key_is_looked_up_before_the_tag_and_the_rules(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    path = f"/v2/goals/{goal['id']}"
    headers = {"If-Match": served.client.get(path).headers["ETag"], "Idempotency-Key": "key"}

    answers = [served.client.delete(path, headers=headers) for _ in range(2)]

    assert [answer.json() for answer in answers] == [{"deleted": 1}] * 2


def test_what_was_acknowledged_is_there_after_a_kill_and_is_not_done_again(tmp_path: Path) -> None:
    with Served(tmp_path) as served:
        served.make_user("ann")
        goal = served.make_goal("ann", "a")
        path, body = "/v2/users/ann/goals", {"name": "b", "parent_id": goal["id"]}
        first = served.post(path, body, Idempotency_Key="key")
        events = served.events("/users/ann")
        served.kill()
        served.start()

        repeat = served.post(path, body, Idempotency_Key="key")

        assert repeat.headers["Idempotent-Replayed"] == "true"
        assert (repeat.status_code, repeat.json()) == (201, first.json())
        assert served.events("/users/ann") == events
        refused(served.post(path, {"name": "c"}, Idempotency_Key="key"), 422, "key-reused")


# Why, and which request.


def test_a_reason_is_recorded_with_the_events(served: Served, user: str) -> None:
    why = "because: 100 % of “üs”\u2028"[:-1]
    path = f"/v2/users/{user}/goals"

    by_header = served.post(path, {"name": "a"}, X_Reason=quote(why)).json()
    by_body = served.post(path, {"name": "a", "reason": why}, X_Reason="unheard").json()
    plain = served.post(path, {"name": "a"}, X_Reason="spring cleaning").json()
    none = served.post(path, {"name": "a"}).json()

    reasons = [served.events(f"/goals/{goal['id']}")[0]["reason"] for goal in (by_header, by_body, plain, none)]
    assert reasons == [why, why, "spring cleaning", None]


def test_every_command_takes_a_reason(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a", reason="0")
    other = served.make_goal(user, "b")
    orders: list[tuple[str, Json]] = [
        ("patch", {"name": "A"}), ("complete", {}), ("reopen", {}),
        ("move", {"parent_id": other["id"]}), ("delete", {}), ("restore", {}),
    ]  # fmt: skip
    for number, (order, members) in enumerate(orders, 1):
        served.order(goal, order, **members, reason=f"{number}")

    assert [event["reason"] for event in served.events(f"/goals/{goal['id']}")] == list("0123456")


@pytest.mark.parametrize("letter", ["a", "ü", "\u8dd1", "\U0001f3c3"])
def test_a_reason_may_have_a_thousand_characters_in_the_header(served: Served, user: str, letter: str) -> None:
    goal = served.post(f"/v2/users/{user}/goals", {"name": "a"}, X_Reason=quote(letter * 1_000)).json()

    assert served.events(f"/goals/{goal['id']}")[0]["reason"] == letter * 1_000


def test_a_request_id_is_taken_or_made_answered_and_logged(served: Served, user: str) -> None:
    mine, path = f"mine-{uuid.uuid4()}", f"/v2/users/{user}/goals"

    taken = served.client.get(path, headers={"X-Request-Id": mine})
    made, another = served.client.get(path), served.client.get(path)
    replaced = served.client.get(path, headers={"X-Request-Id": 'not "one"'})

    assert taken.headers["X-Request-Id"] == mine
    assert made.headers["X-Request-Id"] != another.headers["X-Request-Id"]
    assert replaced.headers["X-Request-Id"] != 'not "one"'
    ids = [f'"{answer.headers["X-Request-Id"]}"' for answer in (taken, made, another, replaced)]
    wait_for(lambda: all(one in served.output.read_text() for one in ids), "the requests to be logged")


def test_times_are_in_utc(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")

    created = datetime.fromisoformat(goal["created_at"])

    assert goal["created_at"].endswith("Z")
    assert abs(datetime.now(UTC) - created) < timedelta(minutes=1)
