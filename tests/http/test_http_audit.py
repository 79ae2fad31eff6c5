"""The audit as auditors see it: the log in pages, as lines, and live, each event once and in order."""

import json
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from es_goals.events import GoalCreated, Instant, goals_stream
from es_goals.ids import wall_clock
from es_goals.storage.log import Cause
from tests.support.commands import on
from tests.support.engines import open_storage
from tests.support.serving import Served, refused, wait_for

Json = dict[str, Any]

LIVE = {"Accept": "text/event-stream"}
LINES = {"Accept": "application/x-ndjson"}
UNKNOWN = "01990000-0000-7000-8000-000000000000"


def last_position(served: Served) -> int:
    position: int = served.get("/v2/projections/goal_tree")["head"]
    return position


def pages(served: Served, url: str | None) -> Iterator[list[Json]]:
    """Every page from this one on, as `next` leads to them."""
    while url:
        answer = served.client.get(url)
        assert answer.status_code == 200, answer.text
        url = answer.json()["next"]
        assert answer.headers.get("Link") == (f'<{url}>; rel="next"' if url else None)
        yield answer.json()["events"]


def positions(events: list[Json]) -> list[int]:
    return [event["position"] for event in events]


class Follower:
    """An open event stream."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self._lines = answer.iter_lines()
        assert answer.status_code == 200
        assert next(self._lines).startswith(":")

    def __iter__(self) -> Iterator[Json]:
        """Its events, as long as it lasts."""
        position = None
        for line in self._lines:
            name, _, value = line.partition(": ")
            if name == "id":
                position = int(value.partition("@")[0])
            elif name == "data":
                event: Json = json.loads(value)
                assert event["position"] == position
                yield event
            else:
                assert not name

    def take(self, count: int) -> list[Json]:
        """So many events."""
        events = iter(self)
        return [next(events) for _ in range(count)]


@contextmanager
def following(
    served: Served, path: str, last: int | None = None, client: httpx2.Client | None = None
) -> Iterator[Follower]:
    """An event stream; with `last` as if it had been there before."""
    headers = LIVE if last is None else {**LIVE, "Last-Event-ID": f"{last}"}
    with (client or served.client).stream("GET", path, headers=headers) as answer:
        yield Follower(answer)


# Pages.


def test_an_event_tells_where_when_who_why_and_what(served: Served, user: str) -> None:
    user_id = served.get(f"/v2/users/{user}")["id"]
    goal = served.make_goal(user, "a", reason="why not")

    (event,) = served.events(f"/goals/{goal['id']}")

    assert list(event) == [
        "position", "user", "version", "type", "goal_id", "at", "actor", "command", "reason", "data",
    ]  # fmt: skip
    assert (event["user"], event["version"], event["type"]) == (user_id, 1, "GoalCreated")
    assert (event["goal_id"], event["at"], event["actor"]) == (goal["id"], goal["created_at"], None)
    assert (uuid.UUID(event["command"]).version, event["reason"]) == (7, "why not")
    data = event["data"]
    assert data == {"goal_id": goal["id"], "name": "a", "start": goal["start"], "rank": data["rank"]}


def test_the_log_is_paged_without_gaps(served: Served, user: str) -> None:
    for number in range(5):
        served.make_goal(user, f"{number}")
    last = last_position(served)

    paged = list(pages(served, f"/v2/events?after={last - 5}&limit=2"))

    assert [positions(page) for page in paged] == [[last - 4, last - 3], [last - 2, last - 1], [last]]


def test_the_log_begins_at_position_one_with_a_hundred_events(served: Served, user: str) -> None:
    served.post(f"/v2/users/{user}/commands", {"commands": [{"type": "CreateGoal", "name": "a"}] * 100})

    page = served.get("/v2/events")

    assert positions(page["events"]) == list(range(1, 101))
    assert page["next"] is not None


def test_a_page_at_the_end_is_empty_and_the_last(served: Served) -> None:
    last = last_position(served)

    assert served.get("/v2/events", after=last) == {"events": [], "next": None}


def test_filters_choose_and_the_next_page_keeps_them(served: Served, user: str) -> None:
    goal, other = served.make_goal(user, "a"), served.make_goal(user, "b")
    for turn in range(3):
        served.order(goal, "patch", name=f"a{turn}")
        served.order(other, "patch", name=f"b{turn}")
        served.order(goal, "complete")
        served.order(goal, "reopen")
    everything = served.events(f"/users/{user}")
    of_goal = [event for event in everything if event["goal_id"] == goal["id"]]
    renamed = [event for event in everything if event["type"] == "GoalRenamed"]
    both = [event for event in of_goal if event["type"] == "GoalRenamed"]
    limit = "limit=2"

    for url, wanted in (
        (f"/v2/users/{user}/events?{limit}", everything),
        (f"/v2/events?user={user}&{limit}", everything),
        (f"/v2/goals/{goal['id']}/history?{limit}", of_goal),
        (f"/v2/events?goal={goal['id']}&{limit}", of_goal),
        (f"/v2/users/{user}/events?type=GoalRenamed&{limit}", renamed),
        (f"/v2/events?user={user}&type=GoalRenamed&{limit}", renamed),
        (f"/v2/events?{limit}&type=GoalRenamed&goal={goal['id']}", both),
        (f"/v2/events?user={user}&goal={goal['id']}&type=GoalRenamed&{limit}", both),
    ):
        found = list(pages(served, url))
        assert [event for page in found for event in page] == wanted
        assert len(found) == (len(wanted) + 1) // 2


def test_a_users_events_begin_with_the_registration(served: Served, user: str) -> None:
    served.make_goal(user, "a")

    assert [event["type"] for event in served.events(f"/users/{user}")] == ["UserRegistered", "GoalCreated"]
    assert served.get("/v2/events", user=user, type="UserRegistered")["events"][0]["version"] == 1


def test_a_user_and_a_strangers_goal_have_no_events_in_common(served: Served, user: str) -> None:
    stranger = f"stranger-{uuid.uuid4().hex}"
    served.make_user(stranger)
    theirs = served.make_goal(stranger, "theirs")

    assert served.get("/v2/events", user=user, goal=theirs["id"]) == {"events": [], "next": None}


def test_until_ends_at_a_position_or_a_time(served: Served, user: str) -> None:
    for number in range(4):
        served.make_goal(user, f"{number}")
    events = served.events(f"/users/{user}")
    middle = events[2]
    before = (datetime.fromisoformat(middle["at"]) - timedelta(microseconds=1)).isoformat()
    path = f"/v2/users/{user}/events"

    assert served.get(path, until=middle["position"])["events"] == events[:3]
    assert served.get(path, until=middle["at"])["events"] == events[:3]
    assert served.get(path, until=before)["events"] == events[:2]
    assert served.get(path, until="2999-01-01T00:00:00Z")["events"] == events
    assert served.get(path, until=0)["events"] == []
    assert [event for page in pages(served, f"{path}?until={middle['position']}&limit=2") for event in page] == events[
        :3
    ]


@pytest.mark.parametrize("start", ["Zoë", "日本", "a b", "100%", "what?", "c#", "%2F", "semi;colon"])
def test_the_next_page_is_an_address_whatever_the_users_name(served: Served, start: str) -> None:
    name = f"{start}-{uuid.uuid4().hex}"
    served.make_user(name)
    path = f"/v2/users/{quote(name, safe='')}"
    for number in range(3):
        served.post(f"{path}/goals", {"name": f"{number}"})

    by_path = list(pages(served, f"{path}/events?limit=3"))
    by_filter = list(pages(served, f"/v2/events?user={quote(name, safe='')}&limit=3"))

    assert [len(page) for page in by_path] == [len(page) for page in by_filter] == [3, 1]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("after=-1", "after"),
        ("after=x", "after"),
        (f"after={2**63}", "after"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("type=GoalEaten", "type"),
        ("until=yesterday", "until"),
        (f"until={2**63}", "until"),
        ("sort=at", "sort"),
    ],
)
def test_a_query_out_of_bounds_is_refused(served: Served, user: str, query: str, parameter: str) -> None:
    goal = served.make_goal(user, "a")
    for path in ("/v2/events", f"/v2/users/{user}/events", f"/v2/goals/{goal['id']}/history"):
        for headers in ({}, LINES, LIVE):
            problem = refused(served.client.get(f"{path}?{query}", headers=headers), 422, "invalid-value")
            assert problem["errors"][0]["parameter"] == parameter


def test_events_of_nobody_and_of_nothing_are_not_found(served: Served) -> None:
    for path in ("/v2/events?user=nobody-of-this-name", "/v2/users/nobody-of-this-name/events"):
        refused(served.client.get(path), 404, "user-not-found")
    for path in (f"/v2/events?goal={UNKNOWN}", f"/v2/goals/{UNKNOWN}/history", "/v2/goals/x/history"):
        refused(served.client.get(path), 404, "goal-not-found")


def test_the_history_of_a_deleted_goal_stays_readable(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    below = served.make_goal(user, "b", parent_id=goal["id"])
    served.order(goal, "delete")

    for one in (goal, below):
        refused(served.client.get(f"/v2/goals/{one['id']}"), 404, "goal-not-found")
        events = served.events(f"/goals/{one['id']}")
        assert [event["type"] for event in events] == ["GoalCreated", "GoalDeleted"]
        assert events[-1]["data"] == {"goal_id": one["id"], "root": goal["id"]}


# Lines.


def test_lines_are_all_events_as_in_the_pages(served: Served, user: str) -> None:
    batch = [{"type": "CreateGoal", "name": f"{number}"} for number in range(1000)]
    served.post(f"/v2/users/{user}/commands", {"commands": batch})
    path = f"/v2/users/{user}/events"

    answer = served.client.get(path, headers=LINES)

    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.text.endswith("}\n")
    assert lines == [event for page in pages(served, f"{path}?limit=1000") for event in page]
    assert len(lines) == 1001


def test_lines_take_the_same_filters(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    served.order(goal, "complete")
    last = served.order(goal, "reopen")
    events = served.events(f"/users/{user}")
    query = {"after": events[0]["position"], "until": events[2]["position"], "user": user}

    answer = served.client.get("/v2/events", params=query, headers=LINES)

    assert [json.loads(line) for line in answer.text.splitlines()] == events[1:3]
    assert last["revision"] == 3


def test_the_whole_log_is_one_line_an_event(served: Served) -> None:
    last = last_position(served)

    answer = served.client.get("/v2/events", headers=LINES)

    assert [json.loads(line)["position"] for line in answer.text.splitlines()] == list(range(1, last + 1))


def test_a_client_that_takes_anything_gets_a_page(served: Served, user: str) -> None:
    path = f"/v2/users/{user}/events"
    for accept in ("*/*", "application/json", "application/json, text/event-stream;q=0.5", "text/html, */*;q=0.1"):
        answer = served.client.get(path, headers={"Accept": accept})
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        assert "Accept" in answer.headers["Vary"]
        assert answer.headers["Cache-Control"] == "private, no-cache"


# Live.


def test_a_stream_is_ids_and_data_and_no_more(served: Served, user: str) -> None:
    served.make_goal(user, "a")
    events = served.events(f"/users/{user}")

    with served.client.stream("GET", f"/v2/users/{user}/events", headers=LIVE) as answer:
        lines = answer.iter_lines()
        seen = [next(lines) for _ in range(8)]

    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert seen[0].startswith(":")
    assert seen[1] == seen[4] == seen[7] == ""
    for event, (place, data) in zip(events, (seen[2:4], seen[5:7]), strict=True):
        assert place == f"id: {event['position']}@{answer.headers['Log']}"
        assert data.startswith("data: {")
        assert json.loads(data.removeprefix("data: ")) == event


def test_a_stream_goes_on_with_what_happens_next(served: Served, user: str) -> None:
    with following(served, f"/v2/events?after={last_position(served)}") as live:
        for number in range(3):
            goal = served.make_goal(user, f"{number}")
            (event,) = live.take(1)
            assert (event["goal_id"], event["data"]["name"]) == (goal["id"], f"{number}")


def test_a_stream_takes_filters(served: Served, user: str) -> None:
    stranger = f"stranger-{uuid.uuid4().hex}"
    served.make_user(stranger)
    goal = served.make_goal(user, "a")
    after = last_position(served)

    with (
        following(served, f"/v2/users/{user}/events?after={after}&type=GoalCompleted") as completed,
        following(served, f"/v2/goals/{goal['id']}/history?after={after}") as history,
        following(served, f"/v2/events?user={user}&after={after}") as own,
    ):
        served.order(goal, "patch", name="b")
        served.order(served.make_goal(stranger, "theirs"), "complete")
        served.order(goal, "complete")

        assert [event["type"] for event in completed.take(1)] == ["GoalCompleted"]
        assert [event["type"] for event in history.take(2)] == ["GoalRenamed", "GoalCompleted"]
        assert [event["goal_id"] for event in own.take(2)] == [goal["id"]] * 2


def test_events_of_the_other_worker_arrive(served: Served, user: str) -> None:
    first, second = served.workers()
    for reading, writing in ((first, second), (second, first)):
        with (
            served.client_of(reading) as reader,
            served.client_of(writing) as writer,
            following(served, f"/v2/events?after={last_position(served)}", client=reader) as live,
        ):
            for number in range(3):
                made = writer.post(f"/v2/users/{user}/goals", json={"name": f"{number}"}).json()
                (event,) = live.take(1)
                assert event["goal_id"] == made["id"]


def test_events_of_another_process_arrive_within_a_quarter_of_a_second(served: Served, user: str) -> None:
    stream = goals_stream(served.get(f"/v2/users/{user}")["id"])
    waited = []
    with (
        closing(open_storage(str(served.db), wall_clock)) as storage,
        following(served, f"/v2/events?after={last_position(served)}") as live,
    ):
        for number in range(7):
            goal_id = str(uuid.uuid4())
            with storage.log.writing() as transaction:
                event = GoalCreated(goal_id, f"{number}", Instant("2026-11-23T08:00:00Z"), f"V0000{number + 1}")
                transaction.append(stream, number, [event], Cause(str(uuid.uuid4())))
            committed = time.monotonic()
            assert [line["goal_id"] for line in live.take(1)] == [goal_id]
            waited.append(time.monotonic() - committed)

    assert median(waited) < 0.25


def test_what_is_imported_from_the_command_line_arrives(served: Served) -> None:
    with following(served, f"/v2/events?after={last_position(served)}") as live:
        result = on(served.database, "import", "-", "--user", f"importer-{uuid.uuid4().hex}", stdin="- a\n  - b\n")

        assert result.exit_code == 0, result.stderr
        assert [event["type"] for event in live.take(3)] == ["UserRegistered", "GoalCreated", "GoalCreated"]


def test_the_last_event_id_beats_after(served: Served, user: str) -> None:
    for number in range(4):
        served.make_goal(user, f"{number}")
    last = last_position(served)

    with following(served, "/v2/events?after=0", last=last - 2) as live:
        assert positions(live.take(2)) == [last - 1, last]
    with following(served, f"/v2/events?after={last}", last=last - 1) as live:
        assert positions(live.take(1)) == [last]


@pytest.mark.parametrize("bad", ["x", "-1", "", "1.5", f"{2**63}"])
def test_a_last_event_id_that_is_no_position_is_refused(served: Served, bad: str) -> None:
    answer = served.client.get("/v2/events", headers={**LIVE, "Last-Event-ID": bad})

    assert refused(answer, 422, "invalid-value")["errors"][0]["parameter"] == "Last-Event-ID"


def test_a_follower_who_is_cut_off_again_and_again_sees_each_event_once(served: Served) -> None:
    clients, goals = 4, 40
    first = last_position(served)

    def append(number: int) -> None:
        with httpx2.Client(base_url=served.url, timeout=30) as client:
            name = client.post("/v2/users", json={"name": f"writer-{number}-{uuid.uuid4().hex}"}).json()["id"]
            for goal in range(goals):
                answer = client.post(f"/v2/users/{name}/goals", json={"name": f"{goal}"})
                assert answer.status_code == 201

    seen: list[int] = []
    with ThreadPoolExecutor(clients) as threads:
        writers = [threads.submit(append, number) for number in range(clients)]
        while len(seen) < clients * (goals + 1):
            last = seen[-1] if seen else first
            with (
                httpx2.Client(base_url=served.url, timeout=30) as client,
                following(served, "/v2/events", last=last, client=client) as live,
            ):
                seen += positions(live.take(min(17, clients * (goals + 1) - len(seen))))
        for writer in writers:
            writer.result()

    assert seen == list(range(first + 1, first + clients * (goals + 1) + 1))
    assert last_position(served) == seen[-1]


def test_many_follow_at_once_and_all_see_the_same(served: Served, user: str) -> None:
    after, goals = last_position(served), 20

    def follow(_: int) -> list[int]:
        with (
            httpx2.Client(base_url=served.url, timeout=30) as client,
            following(served, f"/v2/events?after={after}", client=client) as live,
        ):
            return positions(live.take(goals))

    with ThreadPoolExecutor(10) as threads:
        followers = [threads.submit(follow, number) for number in range(10)]
        for number in range(goals):
            served.make_goal(user, f"{number}")
        seen = [follower.result() for follower in followers]

    assert seen == [list(range(after + 1, after + goals + 1))] * 10


def test_streams_end_when_the_service_stops(tmp_path: Path) -> None:
    with Served(tmp_path) as served:
        served.make_user("ann")
        with ExitStack() as opened:
            live = [
                opened.enter_context(following(served, "/v2/events", client=client))
                for worker in served.workers() * 2
                for client in (opened.enter_context(served.client_of(worker)),)
            ]
            assert [positions(follower.take(1)) for follower in live] == [[1]] * 4
            served.client.close()
            stopped = time.monotonic()
            served.process.terminate()

            assert [list(follower) for follower in live] == [[]] * 4
            assert time.monotonic() - stopped < 3
        wait_for(lambda: served.process.poll() is not None, "the service to end", 8)
        assert served.process.returncode == 0


def test_the_head_of_a_stream_is_answered_at_once(served: Served) -> None:
    answer = served.client.head("/v2/events", headers=LIVE)

    assert (answer.status_code, answer.content) == (200, b"")
