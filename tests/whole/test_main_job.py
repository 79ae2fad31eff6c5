"""What the service is for, from end to end: 434 goals come in, are worked on, and nothing is forgotten."""

import json
import random
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.support.load import history, serving
from tests.support.serving import Served, wait_for

USER = "un"
GOALS = f"/v2/users/{USER}/goals"
LEVELS = (17, 169, 248)
LONGEST = 564
CHANGES = 60
WORDS = ("by", "2030", "end", "poverty", "in", "all", "its", "forms", "everywhere", "–", "l’égalité", "für", "水")

Goal = dict[str, Any]


def outline() -> list[Goal]:
    """Three levels, unevenly filled; every goal but each tenth has a description, one of them the longest."""
    chance = random.Random("outline")  # noqa: S311
    levels: list[list[Goal]] = []
    for depth, count in enumerate(LEVELS):
        above = levels[-1] if levels else []
        level = [new_goal(chance, depth, number) for number in range(count)]
        for number, goal in enumerate(level):
            if above:
                parent = above[number] if number < len(above) else chance.choice(above)
                parent["sub_goals"].append(goal)
        levels.append(level)
    levels[1][7]["description"] = ("x" * LONGEST)[:LONGEST]
    return levels[0]


def new_goal(chance: random.Random, depth: int, number: int) -> Goal:
    name = f"{('Goal', 'Target', 'Indicator')[depth]} {number + 1}"
    if number % 10 == 9:
        return {"name": name, "sub_goals": []}
    text = " ".join(chance.choice(WORDS) for _ in range(chance.randrange(1, 90)))
    return {"name": name, "description": text[:LONGEST].strip(), "sub_goals": []}


def flattened(goals: list[Goal], depth: int = 0) -> Iterator[tuple[int, str, str | None]]:
    """Depth, name and description, in pre-order."""
    for goal in goals:
        yield depth, goal["name"], goal.get("description")
        yield from flattened(goal["sub_goals"], depth + 1)


class Seen(NamedTuple):
    """What the tree was at a moment: the log's last position and time then, and the answer."""

    position: int
    time: str
    tree: Any


class Worker:
    """Changes the tree over REST, one change after the other, and remembers what it saw before each."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._chance = random.Random("changes")  # noqa: S311
        self._deleted: list[str] = []
        self.seen: list[Seen] = []
        self.made: Counter[str] = Counter()

    def look(self) -> None:
        """Note what there is."""
        last = self._served.get("/v2/events", user=USER, limit=1000, after=max(0, self.head() - 1))["events"][-1]
        self.seen.append(Seen(last["position"], last["at"], self._served.get(GOALS)))

    def head(self) -> int:
        position: int = self._served.get("/readyz")["position"]
        return position

    def work(self, changes: int) -> None:
        """As many changes, of every kind."""
        for _ in range(changes):
            self.look()
            self._change()
        self.look()

    def _change(self) -> None:
        goals = {goal["id"]: goal for goal in self._served.get(GOALS, view="flat")["goals"]}
        goal = goals[self._chance.choice(sorted(goals))]
        kind = self._chance.choice(["rename", "describe", "complete", "cascade", "move", "delete", "restore", "create"])
        number = sum(self.made.values())
        why = f"change {number}: {kind}, “as agreed”"
        match kind:
            case "rename":
                self._served.order(goal, "patch", name=f"{goal['name']}, renamed", reason=why)
            case "describe":
                self._served.order(goal, "patch", description=None if number % 2 else f"new {number}", reason=why)
            case "complete" | "cascade":
                done = self._served.order(goal, "complete", cascade=kind == "cascade", reason=why)
                assert done["status"] == "done"
            case "move":
                kind = self._move(goal, goals, why)
            case "delete":
                assert self._served.order(goal, "delete", reason=why)["deleted"] >= 1
                self._deleted.append(goal["id"])
            case "restore":
                kind = self._restore(why)
            case "create":
                parent = self._chance.choice([None, goal["id"]])
                self._served.make_goal(USER, f"new goal {number}", parent_id=parent, reason=why)
        self.made[kind] += 1

    def _move(self, goal: Goal, goals: dict[str, Goal], why: str) -> str:
        """Anywhere; under itself it is refused."""
        target = self._chance.choice([None, *sorted(goals)])
        above, at = [], target
        while at is not None:
            above.append(at)
            at = goals[at]["parent_id"]
        if goal["id"] in above:
            answer = self._served.post(f"/v2/goals/{goal['id']}/move", {"parent_id": target, "reason": why})
            assert (answer.status_code, answer.json()["type"]) == (409, "/problems/under-itself")
            return "refused"
        self._served.order(goal, "move", parent_id=target, reason=why)
        return "move"

    def _restore(self, why: str) -> str:
        """What was deleted last, at the top if its place is gone."""
        if not self._deleted:
            return "nothing"
        goal = {"id": self._deleted.pop()}
        answer = self._served.post(f"/v2/goals/{goal['id']}/restore", {"reason": why})
        if answer.status_code == 409:
            self._served.order(goal, "restore", parent_id=None, reason=why)
        return "restore"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as served:
        path = tmp_path / "outline.json"
        path.write_text(json.dumps({"goals": outline()}), "utf-8")
        result = served.run("import", str(path), "--user", USER)
        said = f"read as JSON: imported {sum(LEVELS)} goals for {USER}\n"
        assert (result.returncode, result.stdout) == (0, said), result.stderr
        yield served


def same_as_then(served: Served, seen: list[Seen]) -> None:
    """The tree as of each position and each time is what was answered then."""
    for then in seen:
        for as_of in (then.position, then.time):
            answer = served.client.get(GOALS, params={"as_of": as_of})
            assert answer.json() == then.tree, as_of


def test_an_outline_of_434_goals_is_imported_worked_on_and_looked_at_as_of_any_moment(served: Served) -> None:
    wanted = list(flattened(outline()))
    assert Counter(depth for depth, _, _ in wanted) == dict(enumerate(LEVELS))
    assert max(len(text or "") for _, _, text in wanted) == LONGEST
    assert list(flattened(served.get(GOALS)["goals"])) == wanted
    drawn = served.run("tree", USER).stdout.splitlines()
    assert (drawn[0], len(drawn)) == (USER, 1 + sum(LEVELS))

    worker = Worker(served)
    worker.work(CHANGES // 2)
    rebuild_every_projection(served, worker)
    worker.work(CHANGES // 2)

    assert set(worker.made) >= {"rename", "describe", "complete", "cascade", "move", "delete", "restore", "create"}
    same_as_then(served, worker.seen)
    told_in_full(served)
    served.verified()


def rebuild_every_projection(served: Served, worker: Worker) -> None:
    """While the work goes on."""
    before = generations(served)
    assert before.keys() == {"goal_tree", "activity"}
    for name in before:
        assert served.post(f"/v2/projections/{name}/rebuild").status_code == 202
        worker.work(2)
    wait_for(lambda: all(generations(served)[name] > old for name, old in before.items()), "the rebuilds")


def generations(served: Served) -> dict[str, int]:
    """That every projection serves."""
    return {one["name"]: one["generation"] for one in served.get("/v2/projections")["projections"]}


def told_in_full(served: Served) -> None:
    """`replay` tells every event, for people and for machines, as the API does."""
    log = history(served.db)
    lines = served.run("replay", "--user", USER).stdout.splitlines()
    as_json = served.run("replay", "--user", USER, "--json").stdout.splitlines()
    stream = served.client.get("/v2/events", headers={"Accept": "application/x-ndjson"}).text.splitlines()

    assert [int(line.split()[0]) for line in lines] == [line.position for line in log]
    assert all(re.match(rf" *\d+  \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d  {USER}  \w+", line) for line in lines)
    assert sum(" created “" in line for line in lines) == sum(line.type == "GoalCreated" for line in log)
    assert {line.reason for line in log if line.reason} == {
        match[1] for line in lines if (match := re.search(r"  \((change .*)\)$", line))
    }
    assert as_json == stream
    assert [json.loads(line)["data"] for line in stream] == [json.loads(line.data) for line in log]


@pytest.mark.parametrize("moment", ["sent", "being written"])
def test_a_kill_9_in_the_middle_of_the_work_changes_nothing_that_was_seen_and_does_nothing_twice(
    served: Served, moment: str
) -> None:
    worker = Worker(served)
    worker.work(5)
    wal = served.db.with_name("events.db-wal")
    size = wal.stat().st_size
    goals = served.get(GOALS, view="flat")["goals"]
    renames = [{"type": "ChangeGoal", "id": goal["id"], "name": f"{goal['name']} (renamed)"} for goal in goals]
    sent = threading.Event()

    def rename_all() -> httpx2.Response:
        sent.set()
        return served.client.post(
            f"/v2/users/{USER}/commands", json={"commands": renames}, headers={"Idempotency-Key": "all"}
        )

    def rename_until_killed() -> None:
        with suppress(httpx2.TransportError):
            rename_all()

    renaming = threading.Thread(target=rename_until_killed)
    renaming.start()
    sent.wait()
    while moment == "being written" and renaming.is_alive() and wal.stat().st_size == size:
        pass
    served.kill()
    renaming.join()
    served.start()
    served.verified()
    in_the_log = sum(line.type == "GoalRenamed" and b"(renamed)" in line.data for line in history(served.db))
    answer = rename_all()

    assert in_the_log in (0, len(goals))
    assert ("Idempotent-Replayed" in answer.headers) == bool(in_the_log)
    assert answer.status_code == 200, answer.text
    assert [goal["name"] for goal in answer.json()["results"]] == [rename["name"] for rename in renames]
    renamed = [line for line in history(served.db) if line.type == "GoalRenamed" and b"(renamed)" in line.data]
    assert len(renamed) == len(goals)
    assert {line.command for line in renamed} == {renamed[0].command}
    worker.work(3)
    same_as_then(served, worker.seen)
    served.verified()
