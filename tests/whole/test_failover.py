"""The database fails under the nodes: cut off in mid-commit, silent, killed; and a standby takes over."""

import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from es_goals.events import GoalCreated, Recorded
from tests.support.load import Follower, Load, serving
from tests.support.postgres import Fault, Proxy, Server, is_synchronous, own, pair, recorded
from tests.support.serving import Served, refused, wait_for

VERSION = "18"
DEADLINE = 1.5
PATIENT = 8 * DEADLINE
"""Seconds after which a client takes it that nobody will answer."""
RECOVERED = 10.0
"""Seconds until a node serves again, once there is a database."""
ENV = {"ES_GOALS_DEADLINE": str(DEADLINE)}


class Cut:
    """A node with a proxy between it and its server, where a user has a goal."""

    def __init__(self, node: Served, proxy: Proxy, server: Server, url: str) -> None:
        self.node, self.proxy, self.url = node, proxy, url
        self._server = server
        self.loads: list[Load] = []
        self.user = "alice"
        node.make_user(self.user)
        self.goal: str = node.make_goal(self.user, "Run a marathon")["id"]

    @contextmanager
    def silent(self) -> Iterator[None]:
        """While nothing is forwarded to the server, or from it."""
        self.proxy.fall_silent()
        yield
        self.proxy.talk()

    @contextmanager
    def killed(self) -> Iterator[None]:
        """While the server is away. What it was told is kept, since the machine lives on."""
        self._server.stop()
        yield
        self._server.start()


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cut]:
    with own(VERSION) as server, server.database("goals") as url, ExitStack() as stack:
        proxy = Proxy(server.port)
        stack.callback(proxy.close)
        through = url.replace(str(server.port), str(proxy.port))
        node = stack.enter_context(serving(tmp_path_factory.mktemp("node"), db=through, env=ENV))
        yield Cut(node, proxy, server, url)


class Cluster:
    """Two nodes on a primary and the standby that it waits for."""

    def __init__(self, primary: Server, standby: Server, nodes: list[Served]) -> None:
        self.primary, self.standby, self.nodes = primary, standby, nodes

    def recorded(self) -> list[Recorded]:
        """The primary's log."""
        return recorded(self.primary.url("goals"))


@contextmanager
def two_nodes(folder: Path) -> Iterator[Cluster]:
    """Which know both servers by their URL."""
    with pair(VERSION) as (primary, standby), ExitStack() as stack:
        primary.execute("CREATE DATABASE goals")
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
        url, nodes = f"postgresql://postgres@{hosts}/goals?target_session_attrs=read-write", []
        for number in range(2):
            (home := folder / f"node-{number}").mkdir()
            nodes.append(stack.enter_context(serving(home, db=url, env=ENV)))
        yield Cluster(primary, standby, nodes)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with two_nodes(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


def new_id() -> str:
    return str(uuid.uuid4())


def create(node: Served, user: str, goal: str, key: str) -> httpx2.Response:
    """A command that is answered, whatever the database does."""
    path, headers = f"/v2/users/{user}/goals", {"Idempotency-Key": key}
    return node.client.post(path, json={"name": "a goal", "id": goal}, headers=headers, timeout=PATIENT)


def settled(node: Served, user: str, goal: str, key: str) -> httpx2.Response:
    """The first answer to it that says what became of it, soon after the database is back."""
    answers: list[httpx2.Response] = []

    def answered() -> bool:
        answers.append(create(node, user, goal, key))
        return answers[-1].status_code != 503

    wait_for(answered, "the node to take commands", RECOVERED)
    assert all(put_off(answer) for answer in answers[:-1])
    assert answers[-1].status_code == 201, answers[-1].text
    return answers[-1]


def put_off(answer: httpx2.Response) -> bool:
    """Whether the client is told to come again."""
    return answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0


def made(log: list[Recorded], goal: str) -> list[int]:
    """The positions of what created a goal."""
    return [line.position for line in log if line.subject == goal and line.type == GoalCreated.__name__]


def everything(user: str, goal: str) -> list[tuple[str, str, Any]]:
    """A request of each kind that needs the database."""
    body = {"name": "one more"}
    return [
        ("POST", "/v2/users", {"name": f"bob-{new_id()}"}),
        ("POST", f"/v2/users/{user}/goals", body),
        ("POST", f"/v2/users/{user}/commands", {"commands": [{"type": "CreateGoal", **body}]}),
        ("PATCH", f"/v2/goals/{goal}", body),
        ("POST", f"/v2/goals/{new_id()}/complete", {}),
        ("POST", "/v2/projections/goal_tree/rebuild", {}),
        ("POST", "/v1.0/goals", {"user": user, **body}),
        ("GET", "/v2/users", None),
        ("GET", "/v2/users/nobody", None),
        ("GET", f"/v2/users/{user}/goals", None),
        ("GET", f"/v2/users/{user}/goals?as_of=1", None),
        ("GET", f"/v2/users/{user}/events", None),
        ("GET", f"/v2/goals/{goal}", None),
        ("GET", f"/v2/goals/{goal}/history", None),
        ("GET", "/v2/events", None),
        ("GET", "/v2/projections", None),
        ("GET", f"/v1.0/goals?user={user}", None),
        ("GET", "/readyz", None),
    ]


def answers_without_a_database(node: Served, user: str, goal: str) -> None:
    """Whoever needs it is put off, and in time; who asks how the process is doing is told so."""

    def ask(method: str, path: str, body: Any) -> httpx2.Response:
        return node.client.request(method, path, json=body, timeout=PATIENT)

    requests = everything(user, goal)
    with ThreadPoolExecutor(len(requests) + 1) as pool:
        metrics = pool.submit(ask, "GET", "/metrics", None)
        answers = list(pool.map(lambda one: ask(*one), requests))
        healths = [node.client.get("/healthz").status_code for _ in range(4)]

    found = [(*one[:2], answer.status_code) for one, answer in zip(requests, answers, strict=True)]
    assert found == [(*one[:2], 503) for one in requests]
    assert all(map(put_off, answers))
    assert healths == [200] * 4
    assert "es_goals_requests_total" in metrics.result().text


@pytest.mark.parametrize("fault", Fault)
def test_a_command_whose_commit_was_cut_off_is_of_unknown_outcome_and_a_repeat_settles_it(
    cut: Cut, fault: Fault
) -> None:
    goal, key, workers = new_id(), new_id(), cut.node.workers()
    with cut.proxy.striking('"GoalCreated"', fault):  # as the event is written, which is sent with the commit
        answer = create(cut.node, cut.user, goal, key)

    refused(answer, 503, "outcome-unknown")
    assert put_off(answer)
    first = settled(cut.node, cut.user, goal, key)
    assert made(recorded(cut.url), goal) == [int(first.headers["Position"])]
    assert ("Idempotent-Replayed" in first.headers) == (fault in (Fault.CUT_AFTER, Fault.SILENT_AFTER))
    assert settled(cut.node, cut.user, goal, key).content == first.content
    assert cut.node.workers() == workers


@pytest.mark.parametrize("outage", ["silent", "killed"])
def test_without_a_database_clients_are_put_off_in_time_and_the_node_goes_on_by_itself_when_it_is_back(
    cut: Cut, outage: str
) -> None:
    workers = cut.node.workers()
    cut.loads.append(Load(cut.node, name=outage, may_be_put_off=True, patience=PATIENT))
    with cut.loads[-1] as load:
        load.wait_for_more(20)
        with cut.silent() if outage == "silent" else cut.killed():
            answers_without_a_database(cut.node, cut.user, cut.goal)
        settled(cut.node, cut.user, new_id(), new_id())
        load.wait_for_more(20, RECOVERED)

    assert set(load.statuses()) <= {200, 201, 409, 503}
    assert load.cut_off() == 0
    load.check(recorded(cut.url), *cut.loads[:-1])
    assert cut.node.client.get("/readyz").status_code == 200
    assert cut.node.workers() == workers
    cut.node.verified()


def test_no_acknowledged_command_is_lost_when_the_primary_is_killed_and_its_standby_takes_over(tmp_path: Path) -> None:
    with two_nodes(tmp_path) as cluster:
        nodes, workers = cluster.nodes, [node.workers() for node in cluster.nodes]
        user, goal = nodes[0].make_user("alice"), nodes[0].make_goal("alice", "Run a marathon")["id"]
        with (
            Load(nodes, 6, may_be_put_off=True, patience=PATIENT) as load,
            Follower(nodes[0].url, may_be_cut_off=True) as one,
            Follower(nodes[1].url, may_be_cut_off=True) as other,
            ThreadPoolExecutor(2) as pool,
        ):
            load.wait_for_more(100)
            cluster.primary.stop(signal.SIGKILL)
            list(pool.map(lambda node: answers_without_a_database(node, user, goal), nodes))
            cluster.standby.promote()
            for node in nodes:
                settled(node, "alice", new_id(), new_id())
            load.wait_for_more(100, RECOVERED)
            reached = load.told()[-1].position
            wait_for(lambda: one.has(reached) and other.has(reached), "the followers to go on")

        assert set(load.statuses()) <= {200, 201, 409, 503}
        assert load.cut_off() == 0
        log = recorded(cluster.standby.url("goals"))
        load.check(log)
        for follower in (one, other):
            commands = [event["command"] for event in follower.events]
            assert commands == [line.command for line in log[: len(commands)]]
        assert [node.workers() for node in nodes] == workers
        assert [node.client.get("/readyz").status_code for node in nodes] == [200, 200]
        nodes[1].verified()


_CANCEL = """
    SELECT pg_cancel_backend(pid) FROM pg_stat_activity
     WHERE wait_event = 'SyncRep' AND application_name = 'es-goals'
"""


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_command_that_the_standby_did_not_confirm_is_of_unknown_outcome_until_it_does(
    cluster: Cluster, cancelled: bool
) -> None:
    primary, nodes = cluster.primary, cluster.nodes
    user, goal, key = f"user-{cancelled}", new_id(), new_id()
    nodes[0].make_user(user)

    def is_recorded_after_a_cancel() -> bool:
        primary.execute(_CANCEL)
        return len(made(cluster.recorded(), goal)) == 1

    cluster.standby.stop()
    with ThreadPoolExecutor(1) as pool:
        command = pool.submit(create, nodes[0], user, goal, key)
        if cancelled:
            wait_for(is_recorded_after_a_cancel, "the commit to give its wait up")

    problem = refused(command.result(), 503, "outcome-unknown")
    assert ("may not be on the standby" in problem["detail"]) == cancelled
    assert len(made(cluster.recorded(), goal)) == cancelled
    # Where it is recorded, it is so nowhere else: also a node that was never in trouble may not say so yet.
    assert [put_off(create(node, user, goal, key)) for node in nodes] == [True, True]
    assert [node.client.get(f"/v2/users/{user}/goals").status_code for node in nodes] == [200, 200]

    cluster.standby.start()
    wait_for(lambda: is_synchronous(primary), "the standby to be back")
    answers = [settled(node, user, goal, key) for node in nodes]
    assert answers[0].content == answers[1].content
    assert made(cluster.recorded(), goal) == [int(answers[0].headers["Position"])]
    nodes[0].verified()
