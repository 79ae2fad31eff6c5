"""Reads off the primary: as new as if they were of it, or made by it."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import pytest

from tests.support.postgres import Server
from tests.support.serving import Served, wait_for

READS = "es_goals_replica_reads_total"


class Pair:
    """A primary, a server that follows it, and a service that may read from either."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        folder.chmod(0o755)
        self.primary = self._started(Server("18", folder / "primary", "fsync = off", "max_connections = 100"), stack)
        self.primary.execute("CREATE DATABASE goals")
        self.standby = self._started(Server("18", folder / "standby", copy_of=self.primary), stack)
        env = {"ES_GOALS_REPLICA": self.standby.url("goals")}
        self.served = Served(folder, db=self.primary.url("goals"), env=env)
        stack.callback(self.served.end)

    def _started(self, server: Server, stack: ExitStack) -> Server:
        server.start()
        stack.callback(server.stop)
        return server

    def replica_reads(self) -> float:
        """How many there were."""
        metrics = self.served.client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in metrics if line.startswith(READS))


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with TemporaryDirectory(prefix="es-goals-pair-") as folder, ExitStack() as stack:
        yield Pair(Path(folder), stack)


def write_and_read(pair: Pair, user: str, goals: int) -> None:
    """Each goal is in every kind of read that starts after it was acknowledged."""
    served = pair.served
    for number in range(goals):
        made = served.post(f"/v2/users/{user}/goals", {"name": f"goal {number}"})
        position, goal = int(made.headers["Position"]), made.json()["id"]
        tree = served.get(f"/v2/users/{user}/goals")
        assert (tree["version"], tree["position"]) == (number + 1, position)
        assert served.get(f"/v2/goals/{goal}")["name"] == f"goal {number}"
        assert served.get(f"/v2/users/{user}/events", after=position - 1)["events"][0]["position"] == position
        assert len(served.get(f"/v2/users/{user}/goals", as_of=str(position))["goals"]) == number + 1


def test_what_was_acknowledged_is_read_from_the_replica_at_once(pair: Pair) -> None:
    pair.served.make_user("ann")
    before = pair.replica_reads()

    write_and_read(pair, "ann", 30)

    assert pair.replica_reads() > before


def test_where_the_replica_is_behind_the_primary_answers(pair: Pair) -> None:
    pair.standby.execute("SELECT pg_wal_replay_pause()")
    try:
        pair.served.make_user("bob")
        write_and_read(pair, "bob", 10)
    finally:
        pair.standby.execute("SELECT pg_wal_replay_resume()")


def test_a_replica_that_is_gone_is_missed_by_nobody_and_used_again_when_it_is_back(pair: Pair) -> None:
    pair.served.make_user("eve")
    wait_until_used(pair, "eve")
    pair.standby.stop()

    try:
        write_and_read(pair, "eve", 10)
    finally:
        pair.standby.start()
    wait_until_used(pair, "eve")


def wait_until_used(pair: Pair, user: str) -> None:
    """By both workers: what is asked of it while it rests says nothing of it."""
    before = pair.replica_reads()
    wait_for(lambda: bool(look(pair, user)) and pair.replica_reads() > before + 10, "the replica to be used again")


def look(pair: Pair, user: str) -> httpx2.Response:
    """A read that no answer is kept of."""
    answer = pair.served.client.get(f"/v2/users/{user}/events")
    assert answer.status_code == 200
    return answer


def test_a_server_that_follows_another_log_is_never_read(tmp_path: Path, pair: Pair) -> None:
    pair.primary.execute("CREATE DATABASE other")
    with ExitStack() as stack:
        stranger = Served(tmp_path, db=pair.primary.url("other"), env={"ES_GOALS_REPLICA": pair.standby.url("goals")})
        stack.callback(stranger.end)
        stranger.make_user("ann")
        assert stranger.get("/v2/users/ann/events")["events"][0]["position"] == 1

    assert "expected a replica of the log" in stranger.output.read_text()
