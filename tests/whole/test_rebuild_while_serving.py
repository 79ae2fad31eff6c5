"""Rebuilding while clients append and read at full rate: nobody notices, and what no event made is gone."""

import re
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import pytest

from es_goals.storage.sqlite.locks import FileLock
from tests.support.commands import on
from tests.support.load import Load, command_line, fill, history, opened, serving
from tests.support.serving import Served, wait_for

NAMES = ("goal_tree", "activity")
DIFFERENCE = r'2 old rows gone, 1 new ones|"gone": ?2, ?"came": ?1'


@contextmanager
def read_models(served: Served) -> Iterator[apsw.Connection]:
    """Their database, past all of our own code but its lock."""
    path = str(served.db.with_name("projections.db"))
    lock = FileLock(path)
    with lock, closing(apsw.Connection(path)) as connection:
        connection.set_busy_timeout(5_000)
        yield connection


def generation(connection: apsw.Connection, name: str) -> tuple[int, int] | None:
    """The live one's id and its checkpoint."""
    sql = "SELECT id, position FROM generations WHERE name = ? AND state = 'live'"
    found: tuple[int, int] | None = connection.execute(sql, (name,)).fetchone()
    return found


def rows(connection: apsw.Connection, name: str, user: str) -> list[Any]:
    """A user's rows in the live generation."""
    live = generation(connection, name)
    assert live
    return connection.execute(f'SELECT * FROM "{name}_{live[0]}" WHERE user = ? ORDER BY 1, 2', (user,)).fetchall()


class Planted(NamedTuple):
    """Rows of a user that are not what the events say: a goal of another name, and one that there never was; a day
    with too much on it, and one that never came."""

    changed: str
    phantom: str


def plant(served: Served, user: str) -> Planted:
    planted = Planted("", str(uuid.uuid4()))
    with read_models(served) as connection, connection:
        tree, activity = (f'"{name}_{(generation(connection, name) or (0,))[0]}"' for name in NAMES)
        planted = planted._replace(
            changed=connection.execute(f"SELECT min(id) FROM {tree} WHERE user = ?", (user,)).get
        )
        connection.execute(f"UPDATE {tree} SET name = 'planted' WHERE user = ? AND id = ?", (user, planted.changed))
        connection.execute(
            f"INSERT INTO {tree} SELECT user, ?, NULL, 'phantom', description, start, due, end, rank, created_at,"
            f" updated_at, revision, root FROM {tree} WHERE user = ? AND id = ?",
            (planted.phantom, user, planted.changed),
        )
        connection.execute(f"UPDATE {activity} SET created = created + 1000 WHERE user = ?", (user,))
        connection.execute(f"INSERT INTO {activity} VALUES (?, '1999-12-31', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)", (user,))
        assert connection.total_changes() >= 4
    return planted


def shown(served: Served, user: str, **query: Any) -> list[dict[str, Any]]:
    """A user's goals; whose they are is the user's id where that is settled, else the name."""
    goals: list[dict[str, Any]] = served.get(f"/v2/users/{user}/goals", view="flat", **query)["goals"]
    return [{name: value for name, value in goal.items() if name != "user"} for goal in goals]


def planted_in(goals: list[dict[str, Any]], planted: Planted) -> set[str]:
    """The ids of those that are wrong."""
    return {goal["id"] for goal in goals if goal["name"] == "planted" or goal["id"] == planted.phantom}


def status(served: Served, name: str) -> dict[str, Any]:
    found: dict[str, Any] = served.get(f"/v2/projections/{name}")
    return found


def rebuild_over_http(served: Served) -> str:
    """Every read model at once. Answers what the service told of it."""
    before = {name: status(served, name)["generation"] for name in NAMES}
    for name in NAMES:
        answer = served.post(f"/v2/projections/{name}/rebuild")
        assert (answer.status_code, answer.headers["Location"]) == (202, f"/v2/projections/{name}")
    wait_for(lambda: all(status(served, name)["generation"] > before[name] for name in NAMES), "the rebuilds")
    return served.output.read_text()


def rebuild_on_the_command_line(served: Served) -> str:
    """Every read model, one after the other. Answers what was told."""
    result = on(served.database, "rebuild")
    assert result.exit_code == 0, result.stderr
    assert [line.partition(":")[0] for line in result.stdout.splitlines()] == list(NAMES)
    return result.stdout


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """With two users who do nothing any more, and some thousand events."""
    with opened(tmp_path / "events.db") as storage:
        fill(storage, 4_000, users=2)
    with serving(tmp_path) as served:
        wait_for(lambda: not any(status(served, name)["lag"] for name in NAMES), "the events to be folded")
        yield served


def test_readers_never_notice_a_rebuild_and_what_was_planted_is_gone_after_it(served: Served) -> None:
    folded = status(served, "goal_tree")["position"]
    users = [served.get(f"/v2/users/user-{number}")["id"] for number in range(2)]
    truth = [shown(served, user, as_of=folded) for user in users]
    with read_models(served) as connection:
        days = [rows(connection, "activity", user) for user in users]

    with Load(served, read_every=2) as load:
        load.wait_for_more(20)
        for user, rebuild in zip(users, (rebuild_over_http, rebuild_on_the_command_line), strict=True):
            planted = plant(served, user)
            assert planted_in(shown(served, user), planted) == set(planted)
            assert re.search(DIFFERENCE, rebuild(served))
            assert shown(served, user) == truth[users.index(user)]
            load.wait_for_more(20)
        with read_models(served) as connection:
            assert [rows(connection, "activity", user) for user in users] == days

        rolled_back = [served.post(f"/v2/projections/{name}/rollback").status_code for name in NAMES]
        assert rolled_back == [200, 200]
        assert planted_in(shown(served, users[1]), planted) == set(planted)
        load.wait_for_more(20)
        assert served.post("/v2/projections/goal_tree/rollback").status_code == 200
        assert shown(served, users[1]) == truth[1]
        rebuild_over_http(served)
        load.wait_for_more(20)

    assert load.reads() > 50
    assert set(load.statuses()) == {200, 201, 409}
    assert load.cut_off() == 0
    load.check(history(served.db))
    served.verified()


def test_a_rebuild_that_was_killed_half_way_goes_on_after_the_start(tmp_path: Path) -> None:
    with opened(tmp_path / "events.db") as storage:
        first = min(fill(storage, 20_000))
        head = storage.log.head().position
    with serving(tmp_path) as served:
        wait_for(lambda: status(served, "goal_tree")["lag"] == 0, "the events to be folded")
        truth = shown(served, first, as_of=head)
        assert served.post("/v2/projections/goal_tree/rebuild").status_code == 202
        wait_for(lambda: (status(served, "goal_tree")["done"] or 0) > 0, "the rebuild to be under way")
        served.kill()
        half_way = filled(served)
        phantom = plant_in(served, half_way, first)
        served.start()
        wait_for(lambda: status(served, "goal_tree")["generation"] == half_way[0], "the rebuild to go on")

        assert 0 < half_way[1] < head
        # What had been folded into it before the kill is still there.
        assert {goal["id"] for goal in shown(served, first)} == {phantom, *(goal["id"] for goal in truth)}
        kill_a_rebuild_of_the_command_line(served)
        half_way = filled(served)
        assert 0 < half_way[1] < head
        result = on(served.database, "rebuild", "goal_tree")
        assert result.exit_code == 0, result.stderr
        assert "1 old rows gone, 0 new ones" in result.stdout
        with read_models(served) as connection:
            assert generation(connection, "goal_tree") == (half_way[0], head)
        assert shown(served, first) == truth
        served.verified()


def filled(served: Served) -> tuple[int, int]:
    """The generation of goal_tree that was not filled to the end, and how many events it kept."""
    with read_models(served) as connection:
        found = being_filled(connection)
    assert found is not None
    return found


def being_filled(connection: apsw.Connection) -> tuple[int, int] | None:
    """The same, if there is one that kept any."""
    sql = "SELECT id, folded FROM generations WHERE name = 'goal_tree' AND state = 'building' AND filled > ''"
    found: tuple[int, int] | None = connection.execute(sql).fetchone()
    return found


def plant_in(served: Served, building: tuple[int, int], user: str) -> str:
    """A goal of the user's that there never was, in the generation that a rebuild has not finished."""
    phantom = str(uuid.uuid4())
    with read_models(served) as connection:
        table = f'"goal_tree_{building[0]}"'
        connection.execute(
            f"INSERT INTO {table} SELECT user, ?, NULL, 'phantom', description, start, due, end, rank, created_at,"
            f" updated_at, revision, root FROM {table} WHERE user = ? LIMIT 1",
            (phantom, user),
        )
        assert connection.changes() == 1
    return phantom


def kill_a_rebuild_of_the_command_line(served: Served) -> None:
    path = str(served.db.with_name("projections.db"))
    command = command_line(served.db, "rebuild", "goal_tree")
    with closing(apsw.Connection(path)) as connection, subprocess.Popen(command) as rebuilding:  # noqa: S603
        wait_for(lambda: being_filled(connection) is not None, "the rebuild to be under way")
        rebuilding.kill()
