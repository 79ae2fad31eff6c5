"""History as people read it: the latest first, of all below a goal, by command and over time; over HTTP, on both
engines, for all who may ask."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import httpx2
import msgspec
import pytest

from es_goals.events import GoalDeleted
from es_goals.reads.overviews.burnup import BurnupPoint
from es_goals.reads.overviews.commands import CommandPage
from es_goals.reads.overviews.timeline import Timeline
from tests.support.engines import ENGINES, NEWEST
from tests.support.histories import record
from tests.support.people import behind, issue, register
from tests.support.serving import Served, fault, refused

Json = dict[str, Any]

LINES, LIVE = {"Accept": "application/x-ndjson"}, {"Accept": "text/event-stream"}
UNKNOWN = "01990000-0000-7000-8000-000000000000"


class World:
    """A service with accounts, and clients of ann, of bob and of the auditor eve."""

    def __init__(self, served: Served, stack: ExitStack) -> None:
        self.served, self.ids, secrets = served, dict[str, str](), {}
        with behind(served) as storage, storage.log.writing() as transaction:
            for name in ("ann", "bob", "eve"):
                user = register(transaction, name, "auditor" if name == "eve" else "user")
                self.ids[name], secrets[name] = user.id, issue(transaction, user)[0]
        self.ann, self.bob, self.eve = (stack.enter_context(served.as_(secret)) for secret in secrets.values())
        self.goals = {name: self.make(name) for name in ("Run", "Read")}
        self.goals["Shoes"] = self.make("Shoes", parent_id=self.goals["Run"])
        self.do("move", "Shoes", parent_id=self.goals["Read"])
        self.do("complete", "Run", reason="a test")
        self.do("complete", "Shoes")
        self.theirs = self.bob.post("/v2/users/bob/goals", json={"name": "bob's"}).json()["id"]

    def make(self, name: str, **members: Any) -> str:
        """The id of a goal of ann's."""
        made: str = self.ann.post("/v2/users/ann/goals", json={"name": name, **members}).json()["id"]
        return made

    def do(self, what: str, name: str, **members: Any) -> None:
        """A command on a goal of ann's."""
        assert self.ann.post(f"/v2/goals/{self.goals[name]}/{what}", json=members).status_code == 200

    def get(self, path: str, client: httpx2.Client | None = None, **query: Any) -> Json:
        """What is answered."""
        answer = (client or self.ann).get(path, params=query)
        assert answer.status_code == 200, answer.text
        answered: Json = answer.json()
        return answered

    def history(self, name: str) -> str:
        """Where a goal's is."""
        return f"/v2/goals/{self.goals[name]}/history"

    def feeds(self) -> Iterator[tuple[httpx2.Client, str]]:
        """Every page of events, and who may ask for it."""
        yield self.ann, "/v2/users/ann/events"
        yield self.eve, "/v2/events"
        yield self.eve, "/v2/events?user=ann"
        yield self.ann, self.history("Shoes")
        yield self.ann, f"{self.history('Run')}?subtree=true"


@pytest.fixture(scope="module", params=NEWEST)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("history")
    with ENGINES[request.param](folder) as url, ExitStack() as stack:
        served = Served(folder, workers=1, db=url if "://" in url else "events.db", accounts=True)
        try:
            yield World(served, stack)
            served.verified()
        finally:
            served.stop()


def asked(path: str, query: str) -> str:
    return f"{path}{'&' if '?' in path else '?'}{query}"


def paged(client: httpx2.Client, path: str | None) -> list[Json]:
    """All pages, by `next`."""
    found: list[Json] = []
    while path is not None:
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert ("Link" in answer.headers) == (page["next"] is not None)
        found += page["events"]
        path = page["next"]
    return found


@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_the_latest_first_is_the_same_history_backwards(world: World, limit: int) -> None:
    for client, path in world.feeds():
        forwards = paged(client, asked(path, "limit=1000"))
        assert len(forwards) > 2
        assert paged(client, asked(path, f"order=desc&limit={limit}")) == forwards[::-1]
        assert paged(client, asked(path, "order=asc&limit=1000")) == forwards


def test_only_what_was_before_a_position_is_read_backwards(world: World) -> None:
    for client, path in world.feeds():
        events = paged(client, asked(path, "limit=1000"))
        before = asked(path, f"order=desc&before={events[-1]['position']}")
        assert paged(client, before) == events[-2::-1]
        assert paged(client, f"{before}&until={events[1]['position']}") == events[1::-1]
        assert paged(client, f"{before}&type=GoalMoved") == [
            one for one in events[-2::-1] if one["type"] == "GoalMoved"
        ]
        assert paged(client, asked(path, "order=desc&before=1")) == []


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("order=desc&after=1", "after"),
        ("before=5", "before"),
        ("order=asc&before=5", "before"),
        ("order=desc&before=0", "before"),
        ("order=desc&before=x", "before"),
        ("order=desc&before=null", "before"),
        ("order=desc&before=9999999", "before"),
        ("order=up", "order"),
    ],
)
def test_an_order_that_cannot_be_is_refused(world: World, query: str, parameter: str) -> None:
    for client, path in world.feeds():
        problem = refused(client.get(asked(path, query)), 422, "invalid-value")
        assert problem["errors"][0]["parameter"] == parameter


def test_streams_go_forwards_and_have_no_subtree(world: World) -> None:
    for headers in (LINES, LIVE):
        for client, path in world.feeds():
            subtree = "subtree" in path
            answer = client.get(asked(path, "order=desc"), headers=headers)
            assert refused(answer, 422, "invalid-value")["errors"][0]["parameter"] == "order"
            if subtree:
                answer = client.get(path, headers=headers)
                assert refused(answer, 422, "invalid-value")["errors"][0]["parameter"] == "subtree"


def test_the_history_of_a_subtree_tells_of_those_below_until_they_leave(world: World) -> None:
    events = world.get(world.history("Run"), subtree="true")["events"]

    assert [(event["type"], event["goal_id"]) for event in events] == [
        ("GoalCreated", world.goals["Run"]),
        ("GoalCreated", world.goals["Shoes"]),
        ("GoalMoved", world.goals["Shoes"]),
        ("GoalCompleted", world.goals["Run"]),
    ]
    assert world.get(world.history("Run"), world.eve, subtree="true")["events"] == events
    assert len(world.get(world.history("Read"), subtree="true")["events"]) == 3
    assert len(world.get(world.history("Run"), subtree="false")["events"]) == 2


def test_a_subtree_is_asked_of_goals_only_and_of_one_s_own(world: World) -> None:
    for client, goal in ((world.bob, world.goals["Run"]), (world.ann, world.theirs), (world.eve, UNKNOWN)):
        for query in ("subtree=true", "order=desc"):
            refused(client.get(f"/v2/goals/{goal}/history?{query}"), 404, "goal-not-found")
    refused(world.bob.get("/v2/users/ann/events?order=desc"), 404, "user-not-found")
    refused(world.ann.get("/v2/events?order=desc"), 403, "forbidden")
    for path in ("/v2/users/ann/events", "/v2/events?user=ann"):
        problem = refused(world.ann.get(asked(path, "subtree=true")), 422, "invalid-value")
        assert problem["errors"][0]["parameter"] == "subtree"


def test_commands_are_told_in_sentences(world: World) -> None:
    answer = world.ann.get("/v2/users/ann/commands")

    assert answer.headers["Cache-Control"] == "private, no-cache"
    page = msgspec.json.decode(answer.content, type=CommandPage)
    assert page.next is None
    assert [one.say for one in page.commands] == [
        "created “Run”", "created “Read”", "created “Shoes” under “Run”", "moved “Shoes” under “Read”",
        "completed “Run”", "completed “Shoes”",
    ]  # fmt: skip
    done = page.commands[4]
    assert (done.actor, done.reason, done.undoes, done.undone_by) == (world.ids["ann"], "a test", None, None)
    assert (done.goal_id, done.name, done.counts) == (world.goals["Run"], "Run", {"GoalCompleted": 1})
    event = world.get("/v2/events", world.eve, user="ann", type="GoalCompleted")["events"][0]
    assert (event["command"], event["position"]) == (done.command, done.first)
    assert world.get("/v2/users/ann/commands", world.eve) == answer.json()


def test_the_command_of_an_answer_is_the_one_in_the_history(world: World) -> None:
    batch = {"commands": [{"type": "CreateGoal", "name": name} for name in ("of bob's", "too")]}
    answer = world.bob.post("/v2/users/bob/commands", json=batch)

    last = world.get("/v2/users/bob/commands", world.bob, order="desc", limit=1)["commands"][0]

    assert last["command"] == answer.headers["Command"]
    assert (last["say"], last["counts"]) == ("created “of bob's” and 1 more", {"GoalCreated": 2})
    assert last["last"] == int(answer.headers["Position"]) == last["first"] + 1


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 4, 6])
def test_commands_are_paged_in_both_orders(world: World, order: str, limit: int) -> None:
    every = world.get("/v2/users/ann/commands")["commands"]
    path: str | None = f"/v2/users/ann/commands?order={order}&limit={limit}"
    found = list[Json]()

    while path is not None:
        page = world.ann.get(path).json()
        assert 0 < len(page["commands"]) <= limit
        found += page["commands"]
        path = page["next"]

    assert found == every[:: -1 if order == "desc" else 1]


def test_commands_are_filtered_by_goal_subtree_and_actor(world: World) -> None:
    def said(**query: Any) -> list[str]:
        return [one["say"] for one in world.get("/v2/users/ann/commands", **query)["commands"]]

    assert said(goal=world.goals["Run"].upper()) == ["created “Run”", "completed “Run”"]
    assert said(goal=world.goals["Run"], subtree="true") == [
        "created “Run”", "created “Shoes” under “Run”", "moved “Shoes” under “Read”", "completed “Run”",
    ]  # fmt: skip
    assert len(said(actor="ann")) == len(said(actor=world.ids["ann"])) == 6
    assert said(actor=UNKNOWN) == said(actor=world.ids["bob"]) == []


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("subtree=true", "subtree"),
        ("before=5", "before"),
        ("order=desc&after=1", "after"),
        ("after=9999999", "after"),
        ("order=desc&before=9999999", "before"),
        ("order=relevance", "order"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("type=GoalCreated", "type"),
    ],
)
def test_commands_that_cannot_be_asked_for_are_refused(world: World, query: str, parameter: str) -> None:
    problem = refused(world.ann.get(f"/v2/users/ann/commands?{query}"), 422, "invalid-value")

    assert problem["errors"][0]["parameter"] == parameter


def test_commands_are_for_the_owner_and_the_auditor(world: World) -> None:
    for name in ("ann", world.ids["ann"], "nobody", UNKNOWN):
        refused(world.bob.get(f"/v2/users/{name}/commands"), 404, "user-not-found")
    for client, goal in ((world.ann, world.theirs), (world.ann, UNKNOWN), (world.ann, "x"), (world.eve, world.theirs)):
        refused(client.get("/v2/users/ann/commands", params={"goal": goal}), 404, "goal-not-found")
    refused(world.ann.get("/v2/users/ann/commands?actor=bob"), 404, "user-not-found")
    refused(world.eve.post("/v2/users/ann/commands", json={"commands": []}), 403, "forbidden")


def test_what_is_undone_names_the_command_that_undid_it(world: World) -> None:
    goal = world.bob.post("/v2/users/bob/goals", json={"name": "Swim"})
    undone, goal_id = goal.headers["Command"], goal.json()["id"]
    with behind(world.served) as storage:
        lines = record(storage.log, world.ids["bob"], GoalDeleted(goal_id, goal_id, undoes=undone))

    undo, made = world.get("/v2/users/bob/commands", world.bob, order="desc", limit=2)["commands"]

    assert (made["command"], made["undone_by"]) == (undone, lines[0].command)
    assert (undo["undoes"], undo["undone_by"], undo["say"]) == ([undone], None, "undid “created “Swim””")


def test_the_timeline_holds_all_that_happened(world: World) -> None:
    answer = world.ann.get("/v2/users/ann/timeline", params={"buckets": 7})

    told = msgspec.json.decode(answer.content, type=Timeline)
    events = [one for one in world.get("/v2/users/ann/events", limit=1000)["events"] if one["goal_id"]]
    assert (told.first, told.last) == (events[0]["position"], events[-1]["position"])
    assert (len(told.buckets), sum(one.events for one in told.buckets)) == (7, len(events))
    assert told.buckets[-1].position == told.last
    assert answer.json()["buckets"][0]["from"] == events[0]["at"]
    assert answer.json()["buckets"][-1]["to"] == events[-1]["at"]
    since = world.get("/v2/users/ann/timeline", **{"from": events[3]["position"], "to": events[4]["at"]})
    assert (since["first"], since["last"]) == (events[3]["position"], events[4]["position"])
    assert len(since["buckets"]) == 100
    assert world.get("/v2/users/ann/timeline", world.eve, buckets=7) == answer.json()
    assert world.get("/v2/users/eve/timeline", world.eve) == {"first": None, "last": None, "buckets": []}


def test_days_are_told_with_what_was_done_on_each(world: World) -> None:
    (day,) = world.ann.get("/v2/users/ann/activity").json()

    assert day == {
        "user": world.ids["ann"], "day": f"{datetime.now(UTC):%Y-%m-%d}", "created": 3, "completed": 2, "reopened": 0,
        "deleted": 0, "renamed": 0, "described": 0, "scheduled": 0, "moved": 1, "restored": 0, "events": 6,
    }  # fmt: skip
    for query in ({"from": day["day"]}, {"to": day["day"]}, {"from": day["day"], "to": day["day"]}):
        assert world.eve.get("/v2/users/ann/activity", params=query).json() == [day]
    assert world.ann.get("/v2/users/ann/activity?to=2026-01-01").json() == []
    assert world.ann.get("/v2/users/ann/activity?from=9999-12-31&to=9999-12-31").json() == []
    assert world.ann.get("/v2/users/ann/activity?to=0001-01-01").json() == []
    told = fault(world.ann.get("/v2/users/ann/activity?from=2026-11-30T00:00:00Z"))
    assert told["detail"] == 'expected a day such as 2026-11-23; found "2026-11-30T00:00:00Z"'


def test_the_last_point_of_the_burn_up_is_the_progress_now(world: World) -> None:
    answer = world.ann.get("/v2/users/ann/burnup", params={"points": 5})

    points = msgspec.json.decode(answer.content, type=list[BurnupPoint])
    assert (len(points), points[0].goals, points[-1].goals) == (5, 1, 3)
    tree = world.get("/v2/users/ann/goals")["goals"]
    leaves = [sum(goal["progress"][what] for goal in tree) for what in ("leaves", "completed")]
    assert [points[-1].leaves, points[-1].completed] == leaves
    read = world.ann.get("/v2/users/ann/burnup", params={"goal": world.goals["Read"]}).json()
    assert (len(read), read[-1]["goals"], read[-1]["leaves"], read[-1]["completed"]) == (100, 2, 1, 1)
    assert world.eve.get("/v2/users/ann/burnup?points=5").json() == answer.json()
    assert world.eve.get("/v2/users/eve/burnup").json() == []


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("timeline?buckets=0", "buckets"),
        ("timeline?buckets=501", "buckets"),
        ("timeline?from=x", "from"),
        ("timeline?from=9999999", "from"),
        ("timeline?to=9999999", "to"),
        ("timeline?from=11&to=10", "from"),
        ("timeline?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from"),
        ("activity?from=2026-01-02&to=2026-01-01", "from"),
        ("activity?from=1", "from"),
        ("activity?to=2026-02-30", "to"),
        ("activity?days=1", "days"),
        ("burnup?points=0", "points"),
        ("burnup?points=501", "points"),
    ],
)
def test_what_is_no_span_or_too_fine_is_refused(world: World, query: str, parameter: str) -> None:
    problem = refused(world.ann.get(f"/v2/users/ann/{query}"), 422, "invalid-value")

    assert problem["errors"][0]["parameter"] == parameter


def test_what_happened_over_time_is_for_the_owner_and_the_auditor(world: World) -> None:
    for what in ("timeline", "activity", "burnup"):
        for name in ("ann", world.ids["ann"], "nobody"):
            refused(world.bob.get(f"/v2/users/{name}/{what}"), 404, "user-not-found")
        refused(world.eve.post(f"/v2/users/ann/{what}"), 403, "forbidden")
    for client, goal in ((world.ann, world.theirs), (world.eve, world.theirs), (world.ann, UNKNOWN)):
        refused(client.get("/v2/users/ann/burnup", params={"goal": goal}), 404, "goal-not-found")


def test_undo_and_redo_are_read_from_the_history(world: World) -> None:
    made = world.bob.post("/v2/users/bob/goals", json={"name": "Row"})
    path, renamed = f"/v2/goals/{made.json()['id']}", "renamed “Row” to “Sail”"
    command = world.bob.patch(path, json={"name": "Sail"}).headers["Command"]

    def undo(undone: str, query: str = "") -> httpx2.Response:
        answer = world.bob.post(f"/v2/users/bob/undo{query}", json={"command": undone})
        assert answer.status_code == 200, answer.text
        return answer

    def latest(count: int) -> list[Json]:
        found: list[Json] = world.get("/v2/users/bob/commands", world.bob, order="desc", limit=count)["commands"]
        return found

    tried = undo(command, "?dry_run=true&answer=diff").json()["result"]["goals"][0]
    assert (tried["name"], tried["changes"]) == ("Row", [{"kind": "renamed", "from": "Sail", "to": "Row"}])
    assert latest(1)[0]["say"] == renamed

    first = undo(command).headers["Command"]
    assert [(one["say"], one["undoes"], one["undone_by"]) for one in latest(2)] == [
        (f"undid “{renamed}”", [command], None), (renamed, None, first),
    ]  # fmt: skip

    again = undo(first).headers["Command"]
    assert [(one["say"], one["undoes"], one["undone_by"]) for one in latest(3)] == [
        (f"redid “{renamed}”", [first], None), (f"undid “{renamed}”", [command], again), (renamed, None, None),
    ]  # fmt: skip
