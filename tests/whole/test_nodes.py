"""Two nodes of two workers on one PostgreSQL: what one has acknowledged the other one shows; and they are killed."""

import os
import random
import signal
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import httpx2
import pytest

import projections.goal_tree
from es_goals.ids import wall_clock
from tests.support.commands import on
from tests.support.engines import open_storage
from tests.support.load import Follower, Load, fill, serving
from tests.support.postgres import fresh, recorded, shared
from tests.support.serving import Served, refused, wait_for

VERSION = "18"
ROUNDS = 8
SOON = 10.0
"""Seconds; less than after which a stream that has nothing to tell says so, and looks too."""


class Nodes:
    """Two of them, their database, and all clients that were ever at work on it."""

    def __init__(self, url: str, nodes: list[Served]) -> None:
        self.url, self.nodes = url, nodes
        self.loads: list[Load] = []

    def __iter__(self) -> Iterator[Served]:
        return iter(self.nodes)

    def __getitem__(self, number: int) -> Served:
        """One of the two, and round again."""
        return self.nodes[number % 2]

    def load(self, *, name: str, read_every: int = 10, may_be_cut_off: bool = False) -> Load:
        """Clients who send each command to the other node."""
        self.loads.append(Load(self.nodes, name=name, read_every=read_every, may_be_cut_off=may_be_cut_off))
        return self.loads[-1]

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """On their database."""
        return shared(VERSION).execute(statement, self.url.rpartition("/")[2])

    def head(self) -> int:
        """The log's last position."""
        return len(recorded(self.url))


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with fresh(VERSION) as url, ExitStack() as stack:
        nodes = [stack.enter_context(serving(tmp_path_factory.mktemp("node"), db=url)) for _ in range(2)]
        yield Nodes(url, nodes)


# What is acknowledged here is seen there.


class Hopper:
    """A user who sends a command to one node, and reads what came of it on the other one."""

    def __init__(self, nodes: Nodes, name: str) -> None:
        self.nodes, self.name = nodes, name
        self.version = 0
        self.tag = ""

    def run(self) -> None:
        for number in range(ROUNDS):
            here, there = self.nodes[number], self.nodes[number + 1]
            self.register(here, there, f"{self.name}-{number}")
            goal = self.create(here, there, f"goal {number}")
            self.rename(there, here, goal)
            if number % 2:
                self.delete(here, there, goal)

    def register(self, here: Served, there: Served, name: str) -> None:
        user_id = here.make_user(name)

        assert there.get(f"/v2/users/{name}")["id"] == user_id
        assert there.get(f"/v2/users/{user_id}")["name"] == name

    def create(self, here: Served, there: Served, name: str) -> dict[str, Any]:
        user = here.make_user(self.name) if self.version == 0 else self.name
        goal = here.make_goal(user, name)

        assert there.get(f"/v2/goals/{goal['id']}")["revision"] == 1
        assert goal["id"] in self.tree(there)
        return goal

    def rename(self, here: Served, there: Served, goal: dict[str, Any]) -> None:
        here.order(goal, "patch", name="renamed")

        assert [event["type"] for event in there.events(f"/goals/{goal['id']}")] == ["GoalCreated", "GoalRenamed"]
        assert there.get(f"/v2/goals/{goal['id']}")["name"] == "renamed"
        assert self.tree(there)[goal["id"]] == "renamed"

    def delete(self, here: Served, there: Served, goal: dict[str, Any]) -> None:
        here.order(goal, "delete")

        assert goal["id"] not in self.tree(there)
        assert there.client.get(f"/v2/goals/{goal['id']}").status_code == 404
        assert there.events(f"/users/{self.name}")[-1]["type"] == "GoalDeleted"

    def tree(self, node: Served) -> dict[str, str]:
        """Which has changed since the last time, and names the log's position as all nodes do."""
        self.version += 1
        path, query = f"/v2/users/{self.name}/goals", {"view": "flat"}
        answer = node.client.get(path, params=query, headers={"If-None-Match": self.tag} if self.tag else {})
        assert answer.status_code == 200
        self.tag, shown = answer.headers["ETag"], answer.json()
        assert shown["version"] == self.version
        assert node.get(path, as_of=shown["position"], **query)["goals"] == shown["goals"]
        return {goal["id"]: goal["name"] for goal in shown["goals"]}


def test_what_one_node_acknowledged_is_seen_by_every_read_on_the_other_one_that_begins_later(nodes: Nodes) -> None:
    hoppers = [Hopper(nodes, f"hopper-{number}") for number in range(4)]

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(hopper.run) for hopper in hoppers]:
            done.result()

    assert [hopper.version for hopper in hoppers] == [ROUNDS * 2 + ROUNDS // 2] * 4


def test_what_was_seen_on_one_node_does_not_go_back_on_the_other_one(nodes: Nodes) -> None:
    enough = threading.Event()

    def look(user: str) -> int:
        seen = looks = 0
        while not enough.is_set():
            for node in nodes:
                found = node.get(f"/v2/users/{user}/goals")["version"]
                assert found >= seen
                seen, looks = found, looks + 1
        return looks

    with nodes.load(name="forward") as load, ThreadPoolExecutor(2) as pool:
        looking = [pool.submit(look, f"forward-{number}") for number in range(2)]
        load.wait_for_more(150)
        enough.set()

    assert all(one.result() > 5 for one in looking)


# Followers.


def followed_whole(nodes: Nodes, follower: Follower) -> bool:
    """Whether it has each event of the log once, in order, as it was recorded."""
    return [(event["position"], event["user"], event["version"], event["command"]) for event in follower.events] == [
        (line.position, line.owner, line.version, line.command) for line in recorded(nodes.url)
    ]


def test_live_streams_on_each_node_carry_every_event_once_and_in_order_while_clients_write_through_both(
    nodes: Nodes,
) -> None:
    with Follower(nodes[0].url) as one, Follower(nodes[1].url) as other:
        with nodes.load(name="followed") as load:
            load.wait_for_more(150)
        head = nodes.head()
        wait_for(lambda: one.has(head) and other.has(head), "the followers to have all events")

    assert followed_whole(nodes, one)
    assert followed_whole(nodes, other)


_LISTENERS = "SELECT pid FROM pg_stat_activity WHERE query = 'LISTEN es_goals' AND datname = current_database()"
_KILL = f"SELECT pg_terminate_backend(pid) FROM ({_LISTENERS}) AS listener"


def unheard(nodes: Nodes, follower: Follower, position: int) -> bool:
    """Whether it has come so far, though whoever listens is killed."""
    nodes.execute(_KILL)
    return follower.has(position)


def test_followers_go_on_while_nobody_can_listen_and_a_new_listener_comes_by_itself(nodes: Nodes) -> None:
    wait_for(lambda: len(nodes.execute(_LISTENERS)) == 4, "a listener for each worker")

    with Follower(nodes[0].url) as one, Follower(nodes[1].url) as other:
        for follower, writer in ((one, nodes[1]), (other, nodes[0])):
            nodes.execute(_KILL)
            writer.make_user(f"unheard-{uuid.uuid4().hex}")
            wait_for(partial(unheard, nodes, follower, nodes.head()), "an event that nobody told of", SOON)

    assert followed_whole(nodes, other)
    wait_for(lambda: len(nodes.execute(_LISTENERS)) == 4, "new listeners")


# Conflicts.


def at_once(*commands: Callable[[], httpx2.Response]) -> list[httpx2.Response]:
    """The answers to commands that are sent together."""
    together = threading.Barrier(len(commands))

    def send(command: Callable[[], httpx2.Response]) -> httpx2.Response:
        together.wait()
        return command()

    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(send, commands))


def create(node: Served, user: str, **members: Any) -> Callable[[], httpx2.Response]:
    return lambda: node.post(f"/v2/users/{user}/goals", {"name": "a goal", **members}, Idempotency_Key=f"{members}")


def delete(node: Served, goal: str) -> Callable[[], httpx2.Response]:
    return lambda: node.client.delete(f"/v2/goals/{goal}")


def move(node: Served, goal: str, under: str) -> Callable[[], httpx2.Response]:
    return lambda: node.post(f"/v2/goals/{goal}/move", {"parent_id": under})


def test_of_two_moves_that_cross_through_two_nodes_one_is_refused(nodes: Nodes) -> None:
    nodes[0].make_user("crossing")
    for number in range(ROUNDS):
        a, b = (nodes[0].make_goal("crossing", name)["id"] for name in "ab")

        moved, refusal = sorted(
            at_once(move(nodes[number], a, b), move(nodes[number + 1], b, a)), key=lambda answer: answer.status_code
        )

        assert moved.status_code == 200
        assert refused(refusal, 409, "under-itself")


def test_three_moves_through_two_nodes_never_make_a_ring(nodes: Nodes) -> None:
    nodes[0].make_user("ring")
    for number in range(ROUNDS):
        a, b, c = (nodes[0].make_goal("ring", name)["id"] for name in "abc")

        answers = at_once(move(nodes[number], a, b), move(nodes[number + 1], b, c), move(nodes[number], c, a))

        assert sorted(answer.status_code for answer in answers) == [200, 200, 409]


def test_a_goal_is_not_added_below_one_that_the_other_node_has_deleted(nodes: Nodes) -> None:
    nodes[0].make_user("orphan")
    for number in range(ROUNDS):
        parent = nodes[0].make_goal("orphan", "parent")["id"]

        deleted, added = at_once(delete(nodes[number], parent), create(nodes[number + 1], "orphan", parent_id=parent))

        assert deleted.status_code == 200
        assert deleted.json()["deleted"] == (2 if added.status_code == 201 else 1)
        assert added.status_code in (201, 404)
    assert [node.get("/v2/users/orphan/goals")["goals"] for node in nodes] == [[], []]


# Keys.


def test_a_command_that_is_sent_five_times_at_once_through_both_nodes_is_done_once_also_after_they_restarted(
    nodes: Nodes,
) -> None:
    nodes[0].make_user("five")

    first = at_once(*(create(nodes[number], "five") for number in range(5)))
    for node in nodes:
        node.kill()
    for node in nodes:
        node.launch()
    again = at_once(*(create(nodes[number], "five") for number in range(5)))

    assert {answer.status_code for answer in (*first, *again)} == {201}
    assert len({answer.content for answer in (*first, *again)}) == 1
    assert len({answer.headers["Position"] for answer in (*first, *again)}) == 1
    assert Counter("Idempotent-Replayed" in answer.headers for answer in first) == {False: 1, True: 4}
    assert all("Idempotent-Replayed" in answer.headers for answer in again)
    assert [event["type"] for event in nodes[0].events("/users/five")] == ["UserRegistered", "GoalCreated"]


# Rebuilds.


def status(node: Served) -> dict[str, Any]:
    found: dict[str, Any] = node.get("/v2/projections/goal_tree")
    return found


def rebuild(node: Served) -> httpx2.Response:
    return node.post("/v2/projections/goal_tree/rebuild")


def rebuilds(nodes: Nodes) -> int:
    """How many were done so far."""
    return sum(node.output.read_text().count("projection_rebuilt") for node in nodes)


def test_a_rebuild_that_another_node_is_at_is_answered_with_its_progress_and_not_begun_twice(nodes: Nodes) -> None:
    before, done = status(nodes[0])["generation"], rebuilds(nodes)
    storage = open_storage(nodes.url, wall_clock)
    try:
        with storage.views.lease("goal_tree") as mine:
            assert mine
            storage.views.building(projections.goal_tree, make=True)
            answers = [rebuild(node) for node in nodes]
            failed = on(nodes.url, "rebuild", "goal_tree")
    finally:
        storage.close()

    assert [answer.status_code for answer in answers] == [202, 202]
    assert [answer.json()["state"] for answer in answers] == ["rebuilding", "rebuilding"]
    assert [answer.json()["done"] for answer in answers] == [0, 0]
    assert (failed.exit_code, failed.stderr) == (1, "Error: goal_tree is being rebuilt\n")
    assert (status(nodes[0])["generation"], rebuilds(nodes)) == (before, done)
    assert rebuild(nodes[1]).status_code == 202
    wait_for(lambda: status(nodes[0])["generation"] > before, "the rebuild that was begun")


def test_readers_and_writers_on_both_nodes_never_notice_rebuilds(nodes: Nodes) -> None:
    storage = open_storage(nodes.url, wall_clock)
    try:
        fill(storage, nodes.head() + 3_000)
    finally:
        storage.close()
    before, done = status(nodes[0])["generation"], rebuilds(nodes)

    with nodes.load(name="rebuilt", read_every=2) as load:
        load.wait_for_more(20)
        answers = at_once(*(partial(rebuild, nodes[number]) for number in range(4)))
        wait_for(lambda: status(nodes[0])["generation"] > before, "a rebuild")
        wait_for(lambda: {status(node)["state"] for node in nodes} == {"live"}, "the rebuilds to end")
        load.wait_for_more(20)

    assert {answer.status_code for answer in answers} == {202}
    assert set(load.statuses()) == {200, 201, 409}
    assert load.reads() > 20
    assert 1 <= rebuilds(nodes) - done <= 4
    assert {status(node)["generation"] for node in nodes} == {status(nodes[0])["generation"]}


# Deaths.


def kill_a_worker(node: Served, chance: random.Random) -> None:
    os.kill(chance.choice(node.workers()), signal.SIGKILL)


def kill_a_node(node: Served, load: Load) -> None:
    """While it is away, clients go on at the other one."""
    node.kill()
    load.wait_for_more(20)
    node.launch()


def test_what_was_acknowledged_survives_kill_9_of_workers_and_nodes_under_load(nodes: Nodes) -> None:
    chance = random.Random("D1")  # noqa: S311
    with nodes.load(name="killed", may_be_cut_off=True) as load:
        for number in range(ROUNDS):
            load.wait_for_more(chance.randrange(1, 40))
            if number % 4:
                kill_a_worker(nodes[chance.randrange(2)], chance)
            else:
                kill_a_node(nodes[number // 4], load)
        load.wait_for_more(20)

    assert load.cut_off() > 0
    assert set(load.statuses()) <= {200, 201, 409, 503}
    last, *others = reversed(nodes.loads)
    last.check(recorded(nodes.url), *others)
    nodes[0].verified()
