"""Measurements over HTTP: commands, reads, and what is big beside what is small."""

import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import mean, median
from tempfile import mkdtemp

import msgspec
from msgspec import Struct

from tests.bench import logs
from tests.bench.bench import Bench, Sample
from tests.bench.peers import ceiling, original
from tests.bench.serving import NEW, Connection, connections, folded, goals_of, repeated
from tests.bench.wrk import MARK, Run, request, wrk
from tests.support.serving import Served

PIECES = 4  # of the time that a load gets in a round
ORIGINAL_SECONDS = 0.4  # at least: sooner it may have answered nobody
NAME = f"Read chapter {MARK}"

Trees = Mapping[str, Sequence[str]]
"""Goals' ids by their users' names."""


class Load(Struct, frozen=True):
    """Requests to one side, any of them next."""

    name: str
    url: str
    requests: Sequence[str]
    status: int
    connections: int = 64
    threads: int = 2

    def put(self, seconds: float) -> Run:
        """For so long, on new connections."""
        return wrk(self.url, self.requests, self.status, seconds, self.threads, self.connections)


def commands(bench: Bench) -> Iterator[Sample]:
    """Creating goals: nothing is stored by the ceiling, a commit a goal is made by the original."""
    made, trees = made_trees(bench)
    new = {**NEW, "name": NAME}
    keyed = [request("POST", goals_of(user), new, Idempotency_Key=MARK) for user in trees]
    with ExitStack() as stack:
        nothing, posts = stack.enter_context(ceiling.ceiling(bench.folder)), [request("POST", "/", new)]
        # Each on a log of its own: what one adds must not make the next one slower.
        create, with_key, one = (stack.enter_context(_copied(bench, made)).url for _ in range(3))
        loads = [
            Load("ceiling.post", nothing, posts, 201),
            Load("commands.create", create, creations(trees), 201),
            Load("commands.create_keyed", with_key, keyed, 201),
            Load("ceiling.post_one", nothing, posts, 201, connections=1, threads=1),
            Load("commands.one", one, creations(trees), 201, connections=1, threads=1),
        ]
        yield from side_by_side(bench, loads)
    yield from _original(bench, "original.post", request("POST", original.PATH, {"user": original.USER, **new}))


def reads(bench: Bench) -> Iterator[Sample]:
    """Trees of 100 goals, as they are ready, as they are known, and with changes between."""
    made, trees = made_trees(bench)
    gets = [request("GET", goals_of(user)) for user in trees]
    with ceiling.ceiling(bench.folder) as nothing, _copied(bench, made) as served, _copied(bench, made) as changed:
        loads = [
            Load("ceiling.get", nothing, [request("GET", "/")], 200),
            Load("reads.tree", served.url, gets, 200),
            Load("reads.unchanged", served.url, _conditional(served, trees), 304),
            Load("reads.mix", changed.url, _mixed(trees), 200),
        ]
        yield from side_by_side(bench, loads)
    yield from _original(bench, "original.get", request("GET", original.PATH))


def big(bench: Bench) -> Iterator[Sample]:
    """A tree of 10,000 goals and a history of 10,000 events, and what others notice of them."""
    made, trees = made_trees(bench)
    log, size = made / "events.db", 500 if bench.small else 10_000
    whole = logs.trees(log, 1, size, "big")["big-0"]
    positions = logs.history(log, "old", size)
    deepest = logs.trees(log, 1, size // 10, "deep", branching=1)["deep-0"][-1]
    long = logs.history(log, "long", 10 * size)
    gets = [request("GET", goals_of(user)) for user in trees]
    with folded(made) as served, connections(served) as (client,):
        yield from _past(bench, client, deepest, long)
        yield from _undone(bench, client, size)
        anew, ready = zip(*(_renamed_and_read(client, goal) for goal in whole[-20:]), strict=True)
        yield bench.sample("big.anew", median(anew), "ms")
        yield bench.sample("big.ready", median(ready), "ms")
        asked = [f"{goals_of('old')}?as_of={position}" for position in positions[:-500:-25]]
        first, again = zip(*(_read_twice(client, path) for path in asked), strict=True)
        yield bench.sample("big.as_of", median(first), "ms")
        yield bench.sample("big.as_of_again", median(again), "ms")
        others = Load("others", served.url, gets, 200, connections=8, threads=1)
        others.put(bench.seconds / PIECES)
        yield bench.sample("big.others.p99", others.put(bench.seconds).p99, "ms")
        # On a new connection, since the service has closed the one that was idle.
        with connections(served) as (client,), repeated(lambda: _renamed_and_read(client, whole[-1])):
            yield bench.sample("big.others_meanwhile.p99", others.put(bench.seconds).p99, "ms")


def _past(bench: Bench, client: Connection, deepest: str, long: range) -> Iterator[Sample]:
    """The time machine: what differs over a long history, all of it and the last hundredth, its last commands, and it
    over time; who made the last goal of a chain what it is; a search of a big tree, whose texts are folded already."""
    asked = {
        "diff": f"/v2/users/long/diff?from={long[-len(long) // 100]}",
        "diff_all": f"/v2/users/long/diff?from={long[0] - 1}",
        "commands": "/v2/users/long/commands?order=desc",
        "timeline": "/v2/users/long/timeline?buckets=500",
        "burnup": "/v2/users/long/burnup?points=500",
        "blame": f"/v2/goals/{deepest}/blame",
        "search": f"{goals_of('big-0')}?view=flat&order=relevance&limit=20&q=berlin+-anna",
    }
    for name, path in asked.items():
        client.timed("GET", path)
        yield bench.sample(f"big.{name}", median(client.timed("GET", path)[0] for _ in range(5)), "ms")


def _undone(bench: Bench, client: Connection, size: int) -> Iterator[Sample]:
    """Renaming a goal of a long history, and importing many goals, set back; the latter done again too."""
    goal = msgspec.json.decode(client.timed("POST", "/v2/users/long/goals", {"name": "Run"})[1])["id"]
    undone = []
    for number in range(5):
        client.timed("PATCH", f"/v2/goals/{goal}", {"name": f"Run {number}"})
        undone.append(_undo_latest(client, "long"))
    yield bench.sample("big.undo", median(undone), "ms")
    client.timed("POST", "/v2/users", {"name": "undone"})
    imported = {"goals": [{"name": f"Read book {number}"} for number in range(size)]}
    client.timed("POST", "/v2/users/undone/import?format=json", imported)
    yield bench.sample("big.undo_import", _undo_latest(client, "undone"), "ms")
    yield bench.sample("big.redo_import", _undo_latest(client, "undone"), "ms")


def _undo_latest(client: Connection, user: str) -> float:
    """ms that it took."""
    page = msgspec.json.decode(client.timed("GET", f"/v2/users/{user}/events?order=desc&limit=1")[1])
    ms, answer = client.timed("POST", f"/v2/users/{user}/undo", {"position": page["events"][0]["position"]})
    assert msgspec.json.decode(answer)["changed"] > 0
    return ms


def side_by_side(bench: Bench, loads: Sequence[Load]) -> Iterator[Sample]:
    """In turns, lest what else the machine does, or how the workers share the connections, befalls one of them only."""
    pieces = 1 if bench.small else PIECES
    found: list[list[Run]] = [[] for _ in loads]
    for piece in range(pieces + (not bench.small)):
        for load, runs in zip(loads, found, strict=True):
            run = load.put(bench.seconds / pieces)
            if piece or bench.small:  # at first they get warm
                runs.append(run)
    for load, runs in zip(loads, found, strict=True):
        yield from _told(bench, load.name, runs)


def _told(bench: Bench, name: str, runs: Sequence[Run]) -> Iterator[Sample]:
    yield bench.sample(name, sum(run.requests for run in runs) / sum(run.seconds for run in runs), "/s")
    yield bench.sample(f"{name}.p50", mean(run.p50 for run in runs), "ms")
    yield bench.sample(f"{name}.p99", mean(run.p99 for run in runs), "ms")


def _original(bench: Bench, name: str, asked: str) -> Iterator[Sample]:
    """By itself and in one go: it works on for seconds for those who are gone, which would hold the next up."""
    with original.original(bench.folder, 5 if bench.small else 100) as url:
        load = Load(name, url, [asked], 200)
        if not bench.small:
            msgspec.structs.replace(load, connections=2).put(bench.seconds / PIECES)
        yield from _told(bench, name, [load.put(max(bench.seconds, ORIGINAL_SECONDS))])


@contextmanager
def _copied(bench: Bench, made: Path) -> Iterator[Served]:
    """Serves a copy of a log."""
    folder = Path(mkdtemp(dir=bench.folder)) / "copy"
    shutil.copytree(made, folder)
    with folded(folder) as served:
        yield served


def made_trees(bench: Bench) -> tuple[Path, Trees]:
    """A folder with a log of 200 users' trees of 100 goals."""
    folder = bench.folder / "made"
    users, goals = (5, 20) if bench.small else (200, 100)
    folder.mkdir()
    return folder, logs.trees(folder / "events.db", users, goals)


def creations(trees: Trees) -> list[str]:
    """A new goal for any of the users."""
    return [request("POST", goals_of(user), {**NEW, "name": NAME}) for user in trees]


def _conditional(served: Served, trees: Trees) -> list[str]:
    """Reads of those who know the tree already."""
    requests = []
    with connections(served) as (client,):
        for user in trees:
            client.timed("GET", goals_of(user))
            requests.append(request("GET", goals_of(user), If_None_Match=client.etag))
    return requests


def _mixed(trees: Trees) -> list[str]:
    """Nine reads of a user's tree for each change of one of its goals."""
    chance = random.Random("mixed")  # noqa: S311
    requests = []
    for user, goals in trees.items():
        for goal in chance.sample(goals, min(10, len(goals))):
            requests += [request("GET", goals_of(user))] * 9
            requests.append(request("PATCH", f"/v2/goals/{goal}", {"name": NAME}))
    return requests


def _renamed_and_read(client: Connection, goal: str) -> tuple[float, float]:
    """ms of the reads of the big tree after a change."""
    client.timed("PATCH", f"/v2/goals/{goal}", {"name": f"Read chapter {random.getrandbits(40)}"})
    return _read_twice(client, goals_of("big-0"))


def _read_twice(client: Connection, path: str) -> tuple[float, float]:
    return client.timed("GET", path)[0], client.timed("GET", path)[0]
