"""What differs between two points, who made a goal what it is, and finding goals by words, as they are and were: over
HTTP, on both engines, for all who may ask."""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import msgspec
import pytest

from es_goals.http.goals.queries import TreeAnswer
from es_goals.reads.blame import BlameAnswer, BranchBlame
from es_goals.reads.changes import DiffAnswer
from tests.support.engines import ENGINES, NEWEST
from tests.support.people import behind, issue, register
from tests.support.serving import Served, refused

Json = dict[str, Any]

SETTLED = "private, max-age=3600, immutable"
LIVE = "private, no-cache"
UNKNOWN = "01990000-0000-7000-8000-000000000000"


class World:
    """A service with accounts, and clients of ann, of bob and of the auditor eve."""

    def __init__(self, served: Served, stack: ExitStack) -> None:
        self.served, self.ids = served, dict[str, str]()
        secrets = {}
        with behind(served) as storage, storage.log.writing() as transaction:
            for name in ("ann", "bob", "eve"):
                user = register(transaction, name, "auditor" if name == "eve" else "user")
                self.ids[name], secrets[name] = user.id, issue(transaction, user)[0]
        self.ann, self.bob, self.eve = (stack.enter_context(served.as_(secret)) for secret in secrets.values())
        self.goals = {name: self.make(name)["id"] for name in ("Run", "Read")}
        self.goals["Shoes"] = self.make("Shoes", parent_id=self.goals["Run"])["id"]
        self.start = self.head()
        self.do("move", "Shoes", parent_id=self.goals["Read"])
        self.do("complete", "Run", reason="a test")
        self.end = self.head()
        self.theirs = self.bob.post("/v2/users/bob/goals", json={"name": "bob's"}).json()["id"]

    def make(self, name: str, **members: Any) -> Json:
        """A goal of ann's."""
        made: Json = self.ann.post("/v2/users/ann/goals", json={"name": name, **members}).json()
        return made

    def do(self, what: str, name: str, **members: Any) -> None:
        """A command on a goal of ann's."""
        assert self.ann.post(f"/v2/goals/{self.goals[name]}/{what}", json=members).status_code == 200

    def head(self) -> int:
        """The log's last position."""
        position: int = self.ann.get("/readyz").json()["position"]
        return position

    def diff(self, client: httpx2.Client | None = None, user: str = "ann", **query: Any) -> httpx2.Response:
        """`from_`, `to` and `goal`."""
        named = {name.rstrip("_"): value for name, value in query.items()}
        return (client or self.ann).get(f"/v2/users/{user}/diff", params=named)


@pytest.fixture(scope="module", params=NEWEST)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("past")
    with ENGINES[request.param](folder) as url, ExitStack() as stack:
        served = Served(folder, workers=1, db=url if "://" in url else "events.db", accounts=True)
        try:
            yield World(served, stack)
            served.verified()
        finally:
            served.stop()


def test_what_differs_is_told_goal_by_goal(world: World) -> None:
    answer = world.diff(from_=world.start, to=world.end)

    assert answer.status_code == 200, answer.text
    assert msgspec.json.decode(answer.content, type=DiffAnswer)
    told = answer.json()
    assert (told["user"], told["from"]["position"], told["to"]["position"]) == ("ann", world.start, world.end)
    assert {goal["name"]: [change["kind"] for change in goal["changes"]] for goal in told["goals"]} == {
        "Run": ["completed"], "Shoes": ["moved"],
    }  # fmt: skip
    assert told["goals"][0]["events"][0]["reason"] == "a test"
    assert told["goals"][0]["events"][0]["actor"] == world.ids["ann"]
    assert told["summary"]["goals"] == 2
    assert told["progress"] == {"from": {"completed": 0, "leaves": 2}, "to": {"completed": 1, "leaves": 2}}


def test_what_differs_of_one_goal_leaves_the_others_out(world: World) -> None:
    answer = world.diff(from_=world.start, to=world.end, goal=world.goals["Read"].upper())

    assert [goal["name"] for goal in answer.json()["goals"]] == ["Shoes"]


def test_what_differs_is_told_as_text_to_who_prefers_it(world: World) -> None:
    answer = world.ann.get(
        "/v2/users/ann/diff", params={"from": world.start, "to": world.end}, headers={"Accept": "text/plain"}
    )

    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "Accept" in answer.headers["Vary"]
    assert answer.text.splitlines()[0].startswith("ann, ")
    assert answer.text.splitlines()[2] == "→ Shoes  from “Run” to “Read”"


def test_only_what_is_settled_and_asked_for_by_id_may_be_kept(world: World) -> None:
    user = world.ids["ann"]

    by_id = world.diff(user=user, from_=world.start, to=world.end)
    by_name, until_now = world.diff(from_=world.start, to=world.end), world.diff(user=user, from_=world.start)

    assert (by_id.headers["Cache-Control"], by_id.json()["user"]) == (SETTLED, user)
    assert (by_name.headers["Cache-Control"], by_name.json()["user"]) == (LIVE, "ann")
    assert (until_now.headers["Cache-Control"], until_now.json()["user"]) == (LIVE, "ann")
    assert {**by_id.json(), "user": "ann"} == by_name.json()
    assert until_now.json()["goals"] == by_name.json()["goals"]


def test_a_later_time_is_now_and_only_as_the_end(world: World) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()

    until = world.diff(user=world.ids["ann"], from_=world.start, to=tomorrow)

    assert until.json()["to"] == world.diff(from_=world.start).json()["to"]
    assert until.headers["Cache-Control"] == LIVE
    queries: list[dict[str, str | int]] = [
        {"from": tomorrow},
        {"from": tomorrow, "to": world.end},
        {"from": tomorrow, "to": tomorrow},
    ]
    for query in queries:
        answer = world.ann.get("/v2/users/ann/diff", params=query)
        assert refused(answer, 422, "invalid-value")["errors"][0]["parameter"] == "from"
    refused(world.diff(from_=tomorrow), 422, "invalid-value")


def test_times_name_what_was_then(world: World) -> None:
    whole = world.diff(from_=world.start, to=world.end).json()

    by_time = world.diff(from_=whole["from"]["at"], to=whole["to"]["at"]).json()

    assert by_time == whole


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({}, "from"),
        ({"from": "x"}, "from"),
        ({"from": "1", "to": "x"}, "to"),
        ({"from": "9999999"}, "from"),
        ({"from": "1", "to": "9999999"}, "to"),
        ({"from": "2", "to": "1"}, "from"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2025-12-31T23:59:59Z"}, "from"),
        ({"from": "1", "as_of": "1"}, "as_of"),
    ],
)
def test_what_is_no_span_is_refused(world: World, query: dict[str, str], parameter: str) -> None:
    answer = world.ann.get("/v2/users/ann/diff", params=query)

    assert refused(answer, 422, "invalid-value")["errors"][0]["parameter"] == parameter


def test_one_s_own_and_the_auditor_s_only(world: World) -> None:
    assert world.diff(world.eve, from_=0).json()["goals"] == world.diff(from_=0).json()["goals"]
    for name in ("ann", world.ids["ann"], "nobody", str(uuid.uuid4())):
        refused(world.diff(world.bob, name, from_=0), 404, "user-not-found")
    for goal in (world.theirs, UNKNOWN, "no id"):
        refused(world.diff(from_=0, goal=goal), 404, "goal-not-found")
    refused(world.diff(world.eve, "bob", from_=0, goal=world.goals["Run"]), 404, "goal-not-found")
    refused(world.eve.post("/v2/users/ann/diff?from=0", json={}), 403, "forbidden")


def test_from_the_beginning_all_that_is_was_made(world: World) -> None:
    told = world.diff(from_=0).json()

    assert told["from"] == {"position": 0, "version": 0, "at": None}
    assert [goal["changes"][0]["kind"] for goal in told["goals"]] == ["created"] * 3


def test_each_field_is_told_with_the_event_that_made_it(world: World) -> None:
    answer = world.ann.get(f"/v2/goals/{world.goals['Shoes']}/blame")

    assert answer.headers["Cache-Control"] == LIVE
    told = answer.json()
    assert msgspec.json.decode(answer.content, type=BlameAnswer)
    assert told["fields"]["name"]["value"] == "Shoes"
    assert told["fields"]["parent_id"]["value"] == world.goals["Read"]
    assert told["fields"]["parent_id"]["by"]["type"] == "GoalMoved"
    assert [above["name"] for above in told["path"]] == ["Read"]
    run = world.ann.get(f"/v2/goals/{world.goals['Run']}/blame").json()["fields"]
    assert (run["status"]["value"], run["status"]["by"]["reason"]) == ("done", "a test")


def test_blame_of_what_is_settled_may_be_kept(world: World) -> None:
    path = f"/v2/goals/{world.goals['Shoes']}/blame"

    then = world.ann.get(path, params={"as_of": world.start})

    assert then.headers["Cache-Control"] == SETTLED
    assert then.json()["position"] == world.start
    assert then.json()["path"][0]["name"] == "Run"
    for as_of in ("9999999", "x", "-1"):
        problem = refused(world.ann.get(path, params={"as_of": as_of}), 422, "invalid-value")
        assert problem["errors"][0]["parameter"] == "as_of"
    refused(world.ann.get(path, params={"as_of": 1}), 404, "goal-not-found")


def test_blame_tells_all_below_where_it_is_asked_to(world: World) -> None:
    answer = world.ann.get(f"/v2/goals/{world.goals['Read']}/blame", params={"below": "true"})

    told = msgspec.json.decode(answer.content, type=BranchBlame)
    assert [goal.fields.name.value for goal in told.goals] == ["Read", "Shoes"]


def test_blame_is_for_the_owner_and_the_auditor(world: World) -> None:
    path = f"/v2/goals/{world.goals['Run']}/blame"

    assert world.eve.get(path).json()["fields"] == world.ann.get(path).json()["fields"]
    for client, goal in ((world.bob, world.goals["Run"]), (world.ann, world.theirs), (world.eve, UNKNOWN)):
        refused(client.get(f"/v2/goals/{goal}/blame"), 404, "goal-not-found")
    refused(world.eve.post(path), 403, "forbidden")


def test_blame_of_a_deleted_goal_goes_on(world: World) -> None:
    gone = world.make("gone")["id"]
    assert world.ann.delete(f"/v2/goals/{gone}").status_code == 200

    fields = world.ann.get(f"/v2/goals/{gone}/blame").json()["fields"]

    assert (fields["status"]["value"], fields["status"]["by"]["type"]) == ("deleted", "GoalDeleted")


def found(world: World, client: httpx2.Client | None = None, **query: Any) -> Json:
    """What is answered to a search of ann's goals."""
    answer = (client or world.ann).get("/v2/users/ann/goals", params=query)
    assert answer.status_code == 200, answer.text
    assert msgspec.json.decode(answer.content, type=TreeAnswer)
    answered: Json = answer.json()
    return answered


def test_goals_are_found_by_words_with_those_above_them(world: World) -> None:
    answer = found(world, q="SHÖES")

    assert answer["matches"] == 1
    assert [(goal["name"], "match" in goal) for goal in answer["goals"]] == [("Read", False)]
    assert [(goal["name"], goal["match"]) for goal in answer["goals"][0]["sub_goals"]] == [("Shoes", "name")]
    assert [goal["name"] for goal in found(world, q="-shoes r", view="flat")["goals"]] == ["Run", "Read"]
    assert found(world, q="shoes", status="done") == {**answer, "matches": 0, "goals": []}
    assert found(world, world.eve, q="shoes") == answer


def test_the_best_finds_come_first(world: World) -> None:
    for name in ("shoe", "a horseshoe", "my shoebox"):
        world.make(name)

    answer = found(world, q="shoe", view="flat", order="relevance", limit=3)

    assert answer["matches"] == 4
    assert [goal["name"] for goal in answer["goals"]] == ["shoe", "Shoes", "my shoebox"]


def test_a_name_that_changed_is_found_where_it_was(world: World) -> None:
    goal = world.make("Zoë's Straße")
    before = world.head()
    assert world.ann.patch(f"/v2/goals/{goal['id']}", json={"name": "Allee"}).status_code == 200

    for words in ("zoe strasse", '"ZOE\'S STRASSE"', "ße"):
        then, now = found(world, q=words, as_of=before), found(world, q=words)
        assert ([goal["name"] for goal in then["goals"]], now["goals"]) == (["Zoë's Straße"], [])
    assert [goal["name"] for goal in found(world, q="allee")["goals"]] == ["Allee"]


def test_a_search_that_is_asked_again_is_not_sent_again(world: World) -> None:
    path, query = "/v2/users/ann/goals", {"q": "shoes"}
    tag = world.ann.get(path, params=query).headers["ETag"]

    assert world.ann.get(path, params=query, headers={"If-None-Match": tag}).status_code == 304
    assert world.ann.get(path, params={"q": "run"}, headers={"If-None-Match": tag}).status_code == 200
    assert world.ann.get(path, headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"q": ""}, "q"),
        ({"q": "-a"}, "q"),
        ({"q": "a" * 201}, "q"),
        ({"q": "a " * 17}, "q"),
        ({"q": "a", "order": "relevance"}, "order"),
        ({"view": "flat", "order": "relevance"}, "order"),
        ({"q": "a", "view": "flat", "order": "name"}, "order"),
        ({"order": "null"}, "order"),
        ({"q": "a", "view": "flat", "limit": "5"}, "limit"),
        ({"q": "a", "view": "flat", "order": "relevance", "limit": "101"}, "limit"),
        ({"q": "a", "view": "flat", "order": "relevance", "limit": "0"}, "limit"),
    ],
)
def test_a_search_that_asks_for_nothing_or_too_much_is_refused(
    world: World, query: dict[str, str], parameter: str
) -> None:
    answer = world.ann.get("/v2/users/ann/goals", params=query)

    assert refused(answer, 422, "invalid-value")["errors"][0]["parameter"] == parameter


def test_nobody_finds_what_is_another_s(world: World) -> None:
    refused(world.bob.get("/v2/users/ann/goals", params={"q": "shoes"}), 404, "user-not-found")
    assert found(world, q="bob")["goals"] == []
