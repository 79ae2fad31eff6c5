"""Folding the log into read models: as it grows, as of the past, all over again, and when it fails."""

import importlib.util
import os
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
from msgspec import Struct, structs
from structlog.testing import capture_logs

from es_goals import projector as module
from es_goals import rebuild as rebuilding
from es_goals.events import Event, GoalCompleted, GoalDeleted, GoalRenamed, Recorded
from es_goals.ids import wall_clock
from es_goals.projector import NoSuchProjection, ProjectionBehind, Projector
from es_goals.rebuild import AlreadyRebuilding, NothingToRollBackTo, Rebuilder, Stopped
from es_goals.storage import Storage
from es_goals.storage.errors import StorageFailed
from es_goals.storage.log import Log
from es_goals.storage.views import Generation, Key, ReadModel
from projections import ALL, activity, goal_tree
from tests.support.engines import Engine, hear, open_storage, say, start, wait_until
from tests.support.histories import START, Model, Tally, created, folded, many, record, register, tally, tally_key

MODEL = Model()


@pytest.fixture
def storage(engine: Engine) -> Storage:
    return engine.open()


def projecting(storage: Storage, *models: ReadModel) -> Projector:
    return Projector(storage.log, storage.views, models or (MODEL,))


def stored(storage: Storage, model: ReadModel = MODEL) -> dict[Key, Any]:
    return by_key(model, storage.views.snapshot(model)[1])


def by_key(model: ReadModel, rows: Sequence[Any]) -> dict[Key, Any]:
    return {tuple(getattr(row, column) for column in model.KEY): row for row in rows}


def lines(log: Log) -> list[Recorded]:
    return log.read(limit=1_000_000)


def plant(storage: Storage, *rows: Any, model: ReadModel = MODEL) -> None:
    """Rows that no replay makes, at the live checkpoint."""
    live = storage.views.live(model)
    assert storage.views.save(model, live, live.position, str(live.command), cast(Any, by_key(model, rows)))


class Poisoned:
    """A fold that raises at one position until it is mended, and notes which positions it folded."""

    def __init__(self, position: int) -> None:
        self.position: int | None = position
        self.seen: list[int] = []

    def __call__(self, row: Tally | None, recorded: Recorded) -> Tally:
        """Raises at the position."""
        if recorded.position == self.position:
            raise ValueError("odd")
        self.seen.append(recorded.position)
        return tally(row, recorded)


# Catching up


def test_catching_up_folds_the_whole_log(storage: Storage) -> None:
    record(storage.log, "ann", *many(30))
    record(storage.log, "bob", created("b"), GoalDeleted("b", "b"))
    projector = projecting(storage, *ALL)

    projector.catch_up_all()

    for model in ALL:
        assert stored(storage, model) == folded(model, lines(storage.log))
        assert storage.views.live(model).position == 32


def test_catching_up_goes_chunk_by_chunk(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    record(storage.log, "ann", *many(20))
    projector, saved, save = projecting(storage), list[int](), storage.views.save

    def noted(model: ReadModel, generation: Generation, position: int, *rest: Any) -> Generation | None:
        saved.append(position)
        return save(model, generation, position, *rest)

    monkeypatch.setattr(module, "CHUNK", 7)
    monkeypatch.setattr(storage.views, "save", noted)
    projector.catch_up(MODEL)
    projector.catch_up(MODEL)

    assert saved == [7, 14, 20]


def test_catching_up_can_end_at_a_position(storage: Storage) -> None:
    record(storage.log, "ann", *many(20))

    generation = projecting(storage).catch_up(MODEL, until=13)

    assert generation.position == 13
    assert generation.command == lines(storage.log)[12].command
    assert stored(storage) == folded(MODEL, lines(storage.log)[:13])


def test_catching_up_with_an_empty_log_changes_nothing(storage: Storage) -> None:
    assert projecting(storage).catch_up(MODEL).position == 0
    assert stored(storage) == {}


def test_a_fold_that_answers_no_row_removes_it(storage: Storage) -> None:
    def until_deleted(row: Tally | None, recorded: Recorded) -> Tally | None:
        return None if recorded.type == "GoalDeleted" else tally(row, recorded)

    model = Model("undeleted", fold=until_deleted)
    projector = projecting(storage, model)
    record(storage.log, "ann", created("a"), created("b"), created("c"), GoalDeleted("c", "c"))
    projector.catch_up(model)
    record(storage.log, "ann", GoalDeleted("a", "a"), GoalDeleted("b", "b"), GoalRenamed("b", "again"))
    projector.catch_up(model)

    assert stored(storage, model) == {("ann", "b"): Tally("ann", "b", 1, "GoalRenamed")}


def test_a_tick_catches_up_unless_another_process_is_at_it(engine: Engine) -> None:
    storage, another = engine.open(), engine.open()
    record(storage.log, "ann", *many(5))
    projector = projecting(storage)

    with another.views.lease(".tick"):
        projector.tick()
        assert projector.generation("tallies").position == 0
    projector.tick()
    assert projector.generation("tallies").position == 5


def follow(url: str, until: str) -> None:
    """In a process of its own: catch up until a position is reached."""
    module.CHUNK = 7
    projector = projecting(open_storage(url, wall_clock), MODEL, activity)
    say("ready")
    while min(projector.catch_up(model).position for model in projector.models.values()) < int(until):
        pass


def test_however_many_catch_up_at_once_each_event_is_folded_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, until = engine.open(), 600
    monkeypatch.setattr(module, "CHUNK", 7)
    with start(follow, engine.url, f"{until}") as one, start(follow, engine.url, f"{until}") as two:
        assert hear(one) == hear(two) == "ready"

        def follow_here(_: int) -> None:
            projector = projecting(storage, MODEL, activity)
            while min(projector.catch_up(model).position for model in projector.models.values()) < until:
                pass

        with ThreadPoolExecutor(3) as pool:
            followers = pool.map(follow_here, range(3))
            for number in range(until // 15):
                record(storage.log, f"user-{number % 4}", *many(15, first=number * 100))
            list(followers)
        assert one.wait() == two.wait() == 0

    assert stored(storage) == folded(MODEL, lines(storage.log))
    assert stored(storage, activity) == folded(activity, lines(storage.log))
    assert sum(row.events for row in stored(storage).values()) == until


# Reading


def test_a_read_sees_what_was_recorded_though_nothing_is_stored_yet(storage: Storage) -> None:
    projector = projecting(storage)
    record(storage.log, "ann", created("a"), created("b"), GoalRenamed("a", "swim"))

    view = projector.read("tallies", "ann")

    assert by_key(MODEL, view.rows) == folded(MODEL, lines(storage.log))
    assert (view.version, view.position) == (3, 3)
    assert stored(storage) == {}
    assert projector.generation("tallies").position == 0


def test_a_read_adds_what_came_after_the_stored_rows(storage: Storage) -> None:
    projector = projecting(storage)
    record(storage.log, "ann", created("a"), created("b"))
    projector.catch_up_all()
    record(storage.log, "bob", created("c"))
    record(storage.log, "ann", GoalRenamed("a", "swim"))

    view = projector.read("tallies", "ann")

    assert by_key(MODEL, view.rows) == {
        ("ann", "a"): Tally("ann", "a", 2, "GoalRenamed"),
        ("ann", "b"): Tally("ann", "b", 1, "GoalCreated"),
    }
    assert (view.version, view.position, view.generation) == (3, 4, projector.generation("tallies").id)


def test_a_read_of_a_user_who_did_nothing_is_empty(storage: Storage) -> None:
    record(storage.log, "ann", created("a"))
    projector = projecting(storage)
    projector.catch_up_all()

    view = projector.read("tallies", "bob")

    assert (view.rows, view.version, view.position) == ([], 0, 0)


def test_a_read_goes_on_from_what_is_known_and_leaves_that_as_it_was(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(storage.log, "ann", *many(5))
    projector, read, asked = projecting(storage), storage.log.read, list[int]()
    known = projector.read("tallies", "ann")
    before = structs.replace(known, by_key=dict(known.by_key))
    record(storage.log, "bob", *many(3, first=50))
    record(storage.log, "ann", GoalRenamed("goal-000001", "x"), created("new"))

    def noted(after: int = 0, *rest: Any, **filters: Any) -> list[Recorded]:
        asked.append(after)
        return read(after, *rest, **filters)

    monkeypatch.setattr(storage.log, "read", noted)
    view = projector.read("tallies", "ann", known)
    same = projector.read("tallies", "ann", view)

    assert asked == [5, 10]
    assert view == same == projector.read("tallies", "ann")
    assert (len(view.rows), view.version, view.position) == (4, 7, 10)
    assert known == before


def test_what_is_known_of_a_user_who_did_nothing_is_gone_on_from_too(storage: Storage) -> None:
    projector = projecting(storage)
    nothing = projector.read("tallies", "ann")
    record(storage.log, "bob", *many(3))
    still = projector.read("tallies", "ann", nothing)
    record(storage.log, "ann", created("first"))

    assert still == nothing
    assert projector.read("tallies", "ann", still) == projector.read("tallies", "ann")


def test_what_was_known_of_another_generation_is_not_gone_on_from(storage: Storage) -> None:
    record(storage.log, "ann", *many(5))
    projector = projecting(storage)
    projector.catch_up_all()
    plant(storage, Tally("ann", "planted", 1))
    known = projector.read("tallies", "ann")

    Rebuilder(projector).rebuild("tallies")
    rebuilt = projector.read("tallies", "ann", known)
    Rebuilder(projector).roll_back("tallies")
    rolled_back = projector.read("tallies", "ann", rebuilt)

    assert ("ann", "planted") in known.by_key
    assert rebuilt.by_key == folded(MODEL, lines(storage.log))
    assert rolled_back == known


def test_what_is_known_is_no_way_around_a_fold_that_failed(storage: Storage) -> None:
    record(storage.log, "ann", *many(2))
    projector = projecting(storage, Model(fold=Poisoned(3)))
    known = projector.read("tallies", "ann")
    record(storage.log, "ann", GoalRenamed("goal-000001", "x"))

    with pytest.raises(ProjectionBehind, match="odd"):
        projector.read("tallies", "ann", known)
    projector.catch_up_all()
    with pytest.raises(ProjectionBehind, match="tallies failed at position 3"):
        projector.read("tallies", "ann", known)


@pytest.mark.parametrize("caught_up", [0, 5, 12])
def test_a_read_of_all_users_sees_everything(storage: Storage, caught_up: int) -> None:
    projector = projecting(storage)
    record(storage.log, "ann", *many(6))
    record(storage.log, "bob", *many(6, first=9))
    projector.catch_up(MODEL, until=caught_up)

    assert by_key(MODEL, projector.read_all("tallies")) == folded(MODEL, lines(storage.log))


def test_a_view_shows_a_users_rows_as_of_any_position(storage: Storage) -> None:
    projector = projecting(storage, *ALL)
    for number in range(6):
        record(storage.log, "ann", *many(5, first=number * 10))
        record(storage.log, "bob", *many(2, first=number * 10 + 5))
    everything = lines(storage.log)
    projector.catch_up(goal_tree, until=20)

    for model in ALL:
        for until in range(len(everything) + 2):
            mine = [line for line in everything[:until] if line.owner == "ann"]
            view = projector.view(model.__name__.rpartition(".")[2], "ann", until)
            assert by_key(model, view.rows) == folded(model, mine)
            assert (view.version, view.position) == ((mine[-1].version, mine[-1].position) if mine else (0, 0))


def test_a_read_model_that_there_is_not_is_named_with_those_that_there_are(storage: Storage) -> None:
    projector = projecting(storage, *ALL)

    for ask in (
        Rebuilder(projector).rebuild,
        projector.status,
        projector.read_all,
        Rebuilder(projector).roll_back,
        projector.generation,
    ):
        with pytest.raises(NoSuchProjection, match="expected one of goal_tree, activity; found 'dreams'"):
            ask("dreams")


# A fold that fails


@pytest.mark.parametrize("position", [1, 2, 10, 11, 13, 20])
def test_a_fold_that_raises_stops_at_that_position_and_keeps_the_rows_before_it(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, position: int
) -> None:
    monkeypatch.setattr(module, "CHUNK", 5)
    record(storage.log, "ann", *many(20))
    projector = projecting(storage, Model(fold=Poisoned(position)))

    projector.catch_up_all()
    projector.catch_up_all()

    status = projector.status("tallies")
    assert (status.state, status.failed_at, status.error) == ("failed", position, "ValueError: odd")
    assert (status.position, status.head, status.lag) == (position - 1, 20, 20 - position + 1)
    assert stored(storage) == folded(MODEL, lines(storage.log)[: position - 1])


@pytest.mark.parametrize("position", [1, 3, 7])
def test_a_key_that_raises_stops_at_that_position_and_keeps_the_rows_before_it(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, position: int
) -> None:
    def key(recorded: Recorded) -> Key | None:
        if recorded.position == position:
            raise ValueError("odd")
        return tally_key(recorded)

    monkeypatch.setattr(module, "CHUNK", 5)
    record(storage.log, "ann", *many(10))
    projector = projecting(storage, Model(key=key))

    projector.catch_up_all()

    status = projector.status("tallies")
    assert (status.state, status.failed_at, status.position) == ("failed", position, position - 1)
    assert stored(storage) == folded(MODEL, lines(storage.log)[: position - 1])


@pytest.mark.parametrize("wrong", ["many", 2**63, None])
def test_a_row_that_does_not_fit_its_table_stops_only_its_read_model_at_that_position(
    storage: Storage, wrong: Any
) -> None:
    def fold(row: Tally | None, recorded: Recorded) -> Tally:
        row = tally(row, recorded)
        return structs.replace(row, events=wrong) if recorded.position == 3 else row

    record(storage.log, "ann", *many(5))
    model = Model("wrong", fold=fold)
    projector = projecting(storage, model, MODEL)

    projector.catch_up_all()

    status = projector.status("wrong")
    assert (status.state, status.failed_at, status.position) == ("failed", 3, 2)
    assert stored(storage, model) == folded(MODEL, lines(storage.log)[:2])
    assert projector.status("tallies").position == 5


def test_a_failure_stops_no_other_read_model_and_no_command(storage: Storage) -> None:
    projector = projecting(storage, Model("poisoned", fold=Poisoned(3)), MODEL, goal_tree)
    record(storage.log, "ann", *many(6))
    projector.catch_up_all()
    record(storage.log, "ann", created("after"))

    projector.catch_up_all()

    assert [projector.status(name).position for name in projector.models] == [2, 7, 7]
    assert [projector.status(name).state for name in projector.models] == ["failed", "live", "live"]
    assert len(projector.read("goal_tree", "ann").rows) == 4


def test_a_failure_is_logged_with_its_place(storage: Storage) -> None:
    record(storage.log, "ann", *many(6))
    projector = projecting(storage, Model(fold=Poisoned(3)))

    with capture_logs() as logged:
        projector.catch_up_all()
        projector.catch_up_all()

    failure = {"event": "projection_failed", "log_level": "error", "projection": "tallies"}
    assert logged == [{**failure, "position": 3, "error": "ValueError: odd"}]


def test_reads_of_a_failed_read_model_are_refused_and_those_of_before_the_failure_are_answered(
    storage: Storage,
) -> None:
    record(storage.log, "ann", *many(6))
    record(storage.log, "bob", created("b"))
    projector = projecting(storage, Model(fold=Poisoned(3)))

    projector.catch_up_all()

    for read in (
        lambda: projector.read("tallies", "ann"),
        lambda: projector.read("tallies", "bob"),
        lambda: projector.read_all("tallies"),
        lambda: projector.view("tallies", "ann", 3),
        lambda: projector.healthy_generation("tallies"),
    ):
        with pytest.raises(ProjectionBehind):
            read()
    assert by_key(MODEL, projector.view("tallies", "ann", 2).rows) == folded(MODEL, lines(storage.log)[:2])


def test_a_read_that_meets_the_failure_before_any_catching_up_is_refused_too(storage: Storage) -> None:
    record(storage.log, "ann", *many(6))
    projector = projecting(storage, Model(fold=Poisoned(3)))

    with pytest.raises(ProjectionBehind, match="odd"):
        projector.read("tallies", "ann")
    with pytest.raises(ProjectionBehind, match="odd"):
        projector.read_all("tallies")


def test_a_failed_read_model_is_refused_until_one_that_begins_to_serve_tries_again(storage: Storage) -> None:
    record(storage.log, "ann", *many(6))
    fold = Poisoned(3)
    projector = projecting(storage, Model(fold=fold))
    projector.catch_up_all()
    fold.position = None

    with pytest.raises(ProjectionBehind, match="tallies failed at position 3"):
        projector.read("tallies", "ann")
    with pytest.raises(ProjectionBehind, match="tallies failed at position 3"):
        projector.read_all("tallies")
    assert projecting(storage).status("tallies").state == "failed"
    again = projecting(storage)
    Rebuilder(again).resume()
    assert len(again.read("tallies", "ann").rows) == 3


def test_a_mended_fold_goes_on_where_it_stopped(storage: Storage) -> None:
    record(storage.log, "ann", *many(8))
    fold = Poisoned(5)
    projecting(storage, Model(fold=fold)).catch_up_all()
    fold.position, fold.seen = None, []

    projector = projecting(storage, Model(fold=fold))
    Rebuilder(projector).resume()

    assert fold.seen == [5, 6, 7, 8]
    assert projector.status("tallies").state == "live"
    assert (projector.status("tallies").failed_at, projector.status("tallies").error) == (None, None)
    assert by_key(MODEL, projector.read("tallies", "ann").rows) == folded(MODEL, lines(storage.log))


def test_old_code_that_fails_late_does_not_stop_mended_code_that_went_past_it(engine: Engine) -> None:
    storage = engine.open()
    record(storage.log, "ann", *many(4))
    mended = projecting(engine.open())

    def old(row: Tally | None, recorded: Recorded) -> Tally:
        if recorded.position == 3:
            mended.catch_up_all()
            raise ValueError("odd")
        return tally(row, recorded)

    projecting(storage, Model(fold=old)).catch_up_all()

    assert mended.status("tallies").state == "live"
    assert by_key(MODEL, mended.read("tallies", "ann").rows) == folded(MODEL, lines(storage.log))


def test_a_failing_log_is_no_failure_of_the_fold(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise StorageFailed("no disk")

    record(storage.log, "ann", *many(4))
    projector = projecting(storage)
    with monkeypatch.context() as patch:
        patch.setattr(storage.log, "read", broken)
        for work in (projector.catch_up_all, lambda: projector.read("tallies", "ann")):
            with pytest.raises(StorageFailed):
                work()
    with monkeypatch.context() as patch:
        patch.setattr(storage.views, "load", broken)
        with pytest.raises(StorageFailed):
            projector.catch_up_all()

    projector.catch_up_all()
    assert projector.status("tallies").state == "live"
    assert stored(storage) == folded(MODEL, lines(storage.log))


class GoalPainted(Struct, frozen=True):
    """An event that only newer code knows."""

    goal_id: str


def test_an_event_of_newer_code_stops_only_read_models_that_have_to_read_it(storage: Storage) -> None:
    painted = cast(Event, GoalPainted("a"))
    record(storage.log, "ann", created("a"), painted, created("b"))
    projector = projecting(storage, *ALL)

    projector.catch_up_all()

    assert projector.status("goal_tree").failed_at == 2
    assert "position 2: expected one of GoalCreated" in str(projector.status("goal_tree").error)
    assert projector.status("activity").position == 3


# Another read model

LENGTHS = '''"""How long the names of a user's goals are."""

from msgspec import Struct

from es_goals.events import GoalCreated, GoalDeleted, GoalRenamed, Recorded

REVISION = 1
KEY = ("user", "goal")
INDEXES = (("length",), ("user", "length"))


class Row(Struct, frozen=True):
    user: str
    goal: str
    length: int
    before: int | None = None


def key(recorded: Recorded) -> tuple[str, str] | None:
    named = recorded.type in ("GoalCreated", "GoalRenamed", "GoalDeleted")
    return (recorded.owner, recorded.subject or "") if named else None


def fold(row: Row | None, recorded: Recorded) -> Row | None:
    event = recorded.event
    if isinstance(event, GoalDeleted):
        return None
    assert isinstance(event, GoalCreated | GoalRenamed)
    return Row(recorded.owner, event.goal_id, len(event.name), row and row.length)
'''


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"projections.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_a_module_with_a_fold_is_a_read_model_without_any_more(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "lengths.py").write_text(LENGTHS)
    record(storage.log, "ann", created("a", name="Swim"), created("b", name="Row"), GoalRenamed("a", "Dive deep"))
    lengths = imported(tmp_path / "lengths.py")

    projector = projecting(storage, *ALL, cast(ReadModel, lengths))
    projector.catch_up_all()
    record(storage.log, "ann", GoalDeleted("b", "b"), GoalCompleted("a", START))
    rows = [lengths.Row("ann", "a", 9, 4)]

    assert projector.read("lengths", "ann").rows == rows
    assert len(projector.view("lengths", "ann", 3).rows) == 2
    rebuilt = Rebuilder(projector).rebuild("lengths")
    assert (rebuilt.events, rebuilt.rows, rebuilt.gone, rebuilt.came) == (5, 1, 0, 0)
    assert storage.views.snapshot(cast(ReadModel, lengths))[1] == rows
    assert projector.status("lengths").position == 5


def test_a_raised_revision_folds_the_log_anew_beside_the_old_rows(storage: Storage) -> None:
    record(storage.log, "ann", *many(10))
    older = projecting(storage)
    older.catch_up_all()

    def ten_times(row: Tally | None, recorded: Recorded) -> Tally:
        row = tally(row, recorded)
        return structs.replace(row, events=row.events + 9)

    revised = Model(revision=2, fold=ten_times)
    newer = projecting(storage, revised)
    newer.catch_up_all()

    assert {row.events for row in older.read_all("tallies")} == {2}
    assert {row.events for row in newer.read_all("tallies")} == {20}


def test_older_code_folds_anew_when_newer_code_has_rebuilt(storage: Storage) -> None:
    record(storage.log, "ann", *many(10))
    older, newer = projecting(storage), projecting(storage, Model(revision=2))
    older.catch_up_all()
    Rebuilder(newer).rebuild("tallies")

    older.catch_up_all()

    assert stored(storage) == folded(MODEL, lines(storage.log))
    assert older.status("tallies").state == "live"


def test_rows_that_newer_code_drops_in_the_middle_of_a_step_are_no_failure_of_the_fold(engine: Engine) -> None:
    storage = engine.open()
    record(storage.log, "ann", *many(10))
    newer = projecting(engine.open(), Model(revision=2))
    waiting = [True]

    def key(recorded: Recorded) -> Key | None:
        if waiting:
            waiting.clear()
            Rebuilder(newer).rebuild("tallies")
        return tally_key(recorded)

    with capture_logs() as logged:
        projecting(storage, Model(key=key)).catch_up_all()

    assert stored(storage) == folded(MODEL, lines(storage.log))
    assert "projection_failed" not in {line["event"] for line in logged}


# Rebuilding


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_a_rebuild_gives_the_same_rows_and_the_log_has_the_last_word(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    monkeypatch.setattr(rebuilding, "ROWS_FILLED", chunk)
    for number, user in enumerate(["ann", "bob", "eve", "ann", "bob"]):
        record(storage.log, user, *many(5 + number, first=number * 10))
    projector = projecting(storage, *ALL)
    projector.catch_up(goal_tree, until=20)
    before = {name: projector.generation(name).id for name in projector.models}

    for name, model in projector.models.items():
        rebuilt = Rebuilder(projector).rebuild(name)
        rows = folded(model, lines(storage.log))

        assert (rebuilt.name, rebuilt.events, rebuilt.rows) == (name, 35, len(rows))
        assert (rebuilt.gone, rebuilt.came, list(rebuilt.keys)) == (0, 0, [])
        assert stored(storage, model) == rows
        assert projector.generation(name).id > before[name]


def test_a_rebuild_of_an_empty_log_is_an_empty_generation(storage: Storage) -> None:
    projector = projecting(storage)

    rebuilt = Rebuilder(projector).rebuild("tallies")

    assert (rebuilt.events, rebuilt.rows, rebuilt.gone, rebuilt.came) == (0, 0, 0, 0)
    assert projector.status("tallies").state == "live"


def test_a_rebuild_reports_its_progress(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuilding, "ROWS_FILLED", 4)
    register(storage.log, "ann")
    for user, events, first in (("eve", 6, 10), ("ann", 8, 20), ("bob", 6, 30)):
        record(storage.log, user, *many(events, first))
    projector = projecting(storage)
    heard, states = [], []

    def progress(done: int, total: int) -> None:
        heard.append((done, total))
        status = projector.status("tallies")
        states.append((status.state, status.done, status.total))

    Rebuilder(projector).rebuild("tallies", progress)

    assert heard == [(8, 21), (21, 21)]
    assert states == [("rebuilding", done, total) for done, total in heard]
    assert (projector.status("tallies").done, projector.status("tallies").total) == (None, None)


def test_an_announced_rebuild_is_in_the_status_before_it_begins(storage: Storage) -> None:
    record(storage.log, "ann", *many(20))
    projector = projecting(storage)

    with storage.views.lease("tallies"):
        Rebuilder(projector).announce("tallies")
        assert projector.status("tallies").state == "live"
    Rebuilder(projector).announce("tallies")

    status = projector.status("tallies")
    assert (status.state, status.done, status.total) == ("rebuilding", 0, 20)
    Rebuilder(projector).rebuild("tallies")
    assert projector.status("tallies").state == "live"


def test_a_rebuild_reports_wrong_rows_and_they_are_gone(storage: Storage) -> None:
    record(storage.log, "ann", *many(8))
    projector = projecting(storage)
    projector.catch_up_all()
    right = stored(storage)
    wrong = structs.replace(right["ann", "goal-000002"], events=99)
    plant(storage, wrong, Tally("eve", "planted", 1))

    rebuilt = Rebuilder(projector).rebuild("tallies")

    assert (rebuilt.gone, rebuilt.came) == (2, 1)
    assert list(rebuilt.keys) == [("ann", "goal-000002"), ("eve", "planted")]
    assert stored(storage) == right


def test_a_rebuild_finds_rows_that_were_lost(storage: Storage) -> None:
    record(storage.log, "ann", *many(8))
    projector = projecting(storage)
    live = projector.catch_up(MODEL)
    right = stored(storage)
    storage.views.save(MODEL, live, live.position, str(live.command), {("ann", "goal-000003"): None})

    rebuilt = Rebuilder(projector).rebuild("tallies")

    assert (rebuilt.gone, rebuilt.came, list(rebuilt.keys)) == (0, 1, [("ann", "goal-000003")])
    assert stored(storage) == right


def test_rolling_back_brings_the_generation_before_the_rebuild_up_to_now(storage: Storage) -> None:
    record(storage.log, "ann", *many(8))
    projector = projecting(storage)
    projector.catch_up_all()
    planted = Tally("eve", "planted", 1)
    plant(storage, planted)
    Rebuilder(projector).rebuild("tallies")
    record(storage.log, "ann", created("later"))

    generation = Rebuilder(projector).roll_back("tallies")

    assert (generation.state, generation.position) == ("live", 9)
    assert stored(storage) == {**folded(MODEL, lines(storage.log)), ("eve", "planted"): planted}
    Rebuilder(projector).roll_back("tallies")
    assert stored(storage) == folded(MODEL, lines(storage.log))


def test_there_is_nothing_to_roll_back_to_before_the_first_rebuild(storage: Storage) -> None:
    with pytest.raises(NothingToRollBackTo, match="expected an earlier generation of tallies"):
        Rebuilder(projecting(storage)).roll_back("tallies")


def test_a_read_model_is_rebuilt_by_one_at_a_time(storage: Storage) -> None:
    record(storage.log, "ann", *many(8))
    projector, another = projecting(storage, MODEL, activity), projecting(storage, MODEL)
    refused: list[AlreadyRebuilding] = []

    def progress(_done: int, _total: int) -> None:
        with pytest.raises(AlreadyRebuilding) as refusal, ThreadPoolExecutor(1) as pool:
            pool.submit(Rebuilder(another).rebuild, "tallies").result()
        refused.append(refusal.value)
        Rebuilder(projector).rebuild("activity")

    Rebuilder(projector).rebuild("tallies", progress)

    assert len(refused) == 1
    Rebuilder(another).rebuild("tallies")


def die_rebuilding(url: str, events: str, where: str) -> None:
    """In a process of its own: rebuild, and be killed after so many events, in its fold or behind its transaction."""

    def die(here: str, reached: int) -> None:
        if here == where and reached >= int(events):
            os.kill(os.getpid(), signal.SIGKILL)

    folded_events = count(1)

    def fold(row: Tally | None, recorded: Recorded) -> Tally:
        die("fold", next(folded_events))
        return tally(row, recorded)

    rebuilding.ROWS_FILLED, module.CHUNK = 10, 10
    storage = open_storage(url, wall_clock)
    Rebuilder(projecting(storage, Model(fold=fold))).rebuild("tallies", lambda done, _: die("progress", done))


def of_ten_users(log: Log) -> None:
    """100 events, of ten users in turn; each comes to 10 events and 6 goals."""
    for number in range(20):
        record(log, f"user-{number % 10}", *many(5, first=number * 10))


@pytest.mark.parametrize(
    ("where", "events", "kept"), [("progress", 40, 40), ("fold", 35, 20), ("fold", 3, 0), ("progress", 100, 100)]
)
def test_a_killed_rebuild_goes_on_where_it_was(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, where: str, events: int, kept: int
) -> None:
    monkeypatch.setattr(rebuilding, "ROWS_FILLED", 10)
    storage = engine.open()
    of_ten_users(storage.log)
    projecting(storage).catch_up_all()
    with start(die_rebuilding, engine.url, f"{events}", where) as child:
        assert child.wait() == -signal.SIGKILL
    record(storage.log, "user-3", *many(5, first=200))
    fold, heard = Poisoned(0), list[tuple[int, int]]()
    projector = projecting(storage, Model(fold=fold))
    assert projector.status("tallies").state == "rebuilding"
    assert projector.status("tallies").done == kept
    projector.catch_up_all()
    fold.seen.clear()

    rebuilt = Rebuilder(projector).rebuild("tallies", lambda done, total: heard.append((done, total)))

    # The end was settled when the first rows were kept; what came later is folded by position.
    later = 101 if kept else 106
    order = sorted(lines(storage.log), key=lambda line: (line.position >= later, line.owner, line.version))
    assert fold.seen == [line.position for line in order[kept:]]
    assert heard == sorted(set(heard))
    assert (heard[0][0] > kept, heard[-1]) == (True, (105, 105))
    assert (rebuilt.gone, rebuilt.came) == (0, 0)
    assert stored(storage) == folded(MODEL, lines(storage.log))


def test_a_rebuild_that_was_left_behind_is_resumed(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuilding, "ROWS_FILLED", 5)
    of_ten_users(storage.log)
    projector = projecting(storage, MODEL, activity)
    with pytest.raises(Stopped):
        Rebuilder(projector).rebuild("tallies", lambda _done, _total: projector.stop())
    left = storage.views.building(MODEL)
    assert left is not None
    assert (left.position, left.filled, left.folded) == (100, "user:user-1", 20)

    Rebuilder(projecting(storage, MODEL, activity)).resume()

    assert storage.views.building(MODEL) is None
    assert storage.views.live(MODEL).id == left.id
    assert stored(storage) == folded(MODEL, lines(storage.log))


def test_resuming_survives_a_rebuild_that_fails_and_leaves_one_that_another_is_at(storage: Storage) -> None:
    record(storage.log, "ann", *many(40))
    projector = projecting(storage, Model(fold=Poisoned(7)), Model("others"))
    Rebuilder(projector).announce("tallies")
    Rebuilder(projector).announce("others")
    others = storage.views.building(Model("others"))

    with storage.views.lease("others"), capture_logs() as logged:
        Rebuilder(projector).resume()

    assert [line["event"] for line in logged].count("not_resumed") == 2
    assert storage.views.building(Model("others")) == others is not None
    assert storage.views.building(MODEL) is None


def test_a_rebuild_whose_fold_fails_leaves_the_live_rows_alone_and_nothing_behind(storage: Storage) -> None:
    record(storage.log, "ann", *many(10))
    projector = projecting(storage)
    projector.catch_up_all()
    live, fold = projector.generation("tallies"), Poisoned(5)

    with pytest.raises(ProjectionBehind, match="the fold of tallies failed at position 5"):
        Rebuilder(projecting(storage, Model(fold=fold))).rebuild("tallies")

    assert projector.generation("tallies") == live
    assert len(projector.read("tallies", "ann").rows) == 5
    assert projector.status("tallies").state == "live"
    fold.position = None
    Rebuilder(projecting(storage, Model(fold=fold))).rebuild("tallies")
    assert stored(storage) == folded(MODEL, lines(storage.log))


def test_a_rebuild_whose_row_does_not_fit_leaves_the_live_rows_alone_and_nothing_behind(storage: Storage) -> None:
    record(storage.log, "ann", *many(10))
    projector = projecting(storage)
    projector.catch_up_all()

    def fold(row: Tally | None, recorded: Recorded) -> Tally:
        row = tally(row, recorded)
        return structs.replace(row, events=cast(int, "many")) if recorded.position == 10 else row

    with pytest.raises(ProjectionBehind, match="expected rows that fit"):
        Rebuilder(projecting(storage, Model(fold=fold))).rebuild("tallies")

    assert storage.views.building(MODEL) is None
    assert stored(storage) == folded(MODEL, lines(storage.log))


def test_what_others_append_during_a_rebuild_is_folded_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuilding, "ROWS_FILLED", 5)
    storage, other = engine.open(), engine.open().log
    of_ten_users(storage.log)

    def progress(done: int, _total: int) -> None:
        if done <= 100:
            for user in ("user-0", "user-9", "new"):
                record(other, user, created(f"{user}'s goal at {done}"))

    rebuilt = Rebuilder(projecting(storage)).rebuild("tallies", progress)

    assert (rebuilt.events, rebuilt.rows, rebuilt.gone, rebuilt.came) == (130, 90, 0, 0)
    projecting(storage).catch_up_all()
    assert stored(storage) == folded(MODEL, lines(storage.log))


def test_a_rebuild_mends_a_read_model_that_has_failed(storage: Storage) -> None:
    record(storage.log, "ann", *many(10))
    fold = Poisoned(5)
    projector = projecting(storage, Model(fold=fold))
    projector.catch_up_all()
    fold.position = None

    rebuilt = Rebuilder(projector).rebuild("tallies")

    assert (rebuilt.gone, rebuilt.came) == (None, None)
    assert projector.status("tallies").state == "live"
    assert by_key(MODEL, projector.read("tallies", "ann").rows) == folded(MODEL, lines(storage.log))


def test_what_is_known_of_a_users_rows_is_not_folded_on_once_they_were_rebuilt(storage: Storage) -> None:
    record(storage.log, "ann", *many(3))
    projector = projecting(storage)
    known = projector.read("tallies", "ann")
    Rebuilder(projector).rebuild_user("tallies", "ann")
    record(storage.log, "ann", created("later"))

    now = projector.read("tallies", "ann", known)

    assert now.generation != known.generation
    assert by_key(MODEL, now.rows) == folded(MODEL, lines(storage.log))


def test_a_rebuild_does_not_wait_for_old_rows_that_are_far_behind(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "FAR", 9)
    record(storage.log, "ann", *many(10))

    rebuilt = Rebuilder(projecting(storage)).rebuild("tallies")

    assert (rebuilt.gone, rebuilt.came) == (None, None)
    assert stored(storage) == folded(MODEL, lines(storage.log))


def test_a_rebuild_is_compared_at_the_live_rows_checkpoint_though_that_has_moved(storage: Storage) -> None:
    record(storage.log, "ann", *many(10))
    folds: list[int] = []

    def fold(row: Tally | None, recorded: Recorded) -> Tally:
        folds.append(recorded.position)
        if folds.count(1) == 2 and folds[-1] == 1:  # the live rows are brought up, to be compared with the new ones
            record(storage.log, "ann", created("meanwhile"))
            projecting(storage).catch_up_all()
        return tally(row, recorded)

    rebuilt = Rebuilder(projecting(storage, Model(fold=fold))).rebuild("tallies")

    assert (rebuilt.gone, rebuilt.came) == (0, 0)
    assert stored(storage) == folded(MODEL, lines(storage.log))


def test_a_rebuild_catches_up_with_what_the_live_rows_got_after_they_were_compared(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, another = engine.open(), projecting(engine.open())
    record(storage.log, "ann", *many(10))
    projector, compared = projecting(storage), storage.views.differences
    before = projector.generation("tallies")

    def differences(*arguments: Any) -> Any:
        found = compared(*arguments)
        record(storage.log, "ann", created("later"))
        another.catch_up_all()
        return found

    monkeypatch.setattr(storage.views, "differences", differences)
    Rebuilder(projector).rebuild("tallies")

    after = projector.generation("tallies")
    assert after.id > before.id
    assert after.position == 11
    assert stored(storage) == folded(MODEL, lines(storage.log))


@pytest.mark.parametrize("started_over", [1, 9, 10])
def test_a_rebuild_that_another_process_started_over_begins_again(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, started_over: int
) -> None:
    monkeypatch.setattr(rebuilding, "ROWS_FILLED", 5)
    of_ten_users(storage.log)
    heard: list[int] = []

    def progress(done: int, _total: int) -> None:
        heard.append(done)
        if len(heard) == started_over:
            building = storage.views.building(MODEL)
            assert building is not None
            storage.views.reset(building)

    rebuilt = Rebuilder(projecting(storage)).rebuild("tallies", progress)

    assert len(heard) >= started_over
    assert heard[-1] == 100
    assert (rebuilt.events, rebuilt.rows, rebuilt.gone, rebuilt.came) == (100, 60, 0, 0)
    assert stored(storage) == folded(MODEL, lines(storage.log))


def test_one_users_rows_are_rebuilt_and_no_one_elses(storage: Storage) -> None:
    record(storage.log, "ann", *many(8))
    record(storage.log, "bob", created("b"))
    projector = projecting(storage)
    projector.catch_up_all()
    right = stored(storage)
    bobs = Tally("bob", "planted", 1)
    plant(storage, Tally("ann", "planted", 1), structs.replace(right["ann", "goal-000001"], events=99), bobs)
    record(storage.log, "ann", created("later"))

    assert Rebuilder(projector).rebuild_user("tallies", "ann") == 5
    assert stored(storage) == {**folded(MODEL, lines(storage.log)), ("bob", "planted"): bobs}
    assert Rebuilder(projector).rebuild_user("tallies", "eve") == 0


def test_a_users_rebuild_waits_for_no_moment_without_commands(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, another = engine.open(), projecting(engine.open())
    record(storage.log, "ann", *many(8))
    projector, replace = projecting(storage), storage.views.replace_user
    projector.catch_up_all()
    plant(storage, Tally("ann", "planted", 1))
    answers: list[bool] = []

    def late(*arguments: Any) -> bool:
        if not answers:
            record(storage.log, "ann", created("meanwhile"))
            another.catch_up_all()
        answers.append(replace(*arguments))
        return answers[-1]

    monkeypatch.setattr(storage.views, "replace_user", late)

    assert Rebuilder(projector).rebuild_user("tallies", "ann") == 5
    assert answers == [False, True]
    assert stored(storage) == folded(MODEL, lines(storage.log))


def test_readers_see_every_command_while_read_models_are_rebuilt_at_full_rate(storage: Storage) -> None:
    record(storage.log, "ann", *many(400))
    record(storage.log, "bob", *many(400, first=1000))
    projector = projecting(storage, goal_tree)
    projector.catch_up_all()
    planted = structs.replace(storage.views.snapshot(goal_tree, None, "bob")[1][0], id="planted", name="planted")
    plant(storage, planted, model=goal_tree)
    finished, acknowledged = threading.Event(), [400]

    def until_finished(work: Callable[[], None]) -> None:
        while not finished.is_set():
            work()

    def command() -> None:
        line = record(storage.log, "ann", GoalRenamed("goal-000007", f"renamed {acknowledged[0]}"))[0]
        acknowledged[0] = line.version

    seen = [0, 0]

    def read(reader: int) -> None:
        least = max(acknowledged[0], seen[reader])
        view = projector.read("goal_tree", "ann")
        seen[reader] = view.version
        assert len(view.rows) == 200
        assert view.version >= least
        revision = next(row.revision for row in view.rows if row.id == "goal-000007")
        assert revision - 2 == view.version - 400

    with ThreadPoolExecutor(4) as pool:
        work = (command, projector.catch_up_all, partial(read, 0), partial(read, 1))
        workers = [pool.submit(until_finished, one) for one in work]
        try:
            rebuilds = [Rebuilder(projector).rebuild("goal_tree") for _ in range(4)]
            wait_until(lambda: min(seen) > 400)
        finally:
            finished.set()
        for worker in workers:
            worker.result()

    assert rebuilds[0].gone in (1, None)
    assert {rebuilt.gone for rebuilt in rebuilds[1:]} <= {0, None}
    assert all(earlier.events <= later.events for earlier, later in pairwise(rebuilds))
    projector.catch_up_all()
    assert stored(storage, goal_tree) == folded(goal_tree, lines(storage.log))


# Another log under the same rows


def test_read_models_start_over_where_the_log_is_shorter_than_what_was_folded(storage: Storage, tmp_path: Path) -> None:
    with Engine(str(tmp_path / "older.db")) as elsewhere:
        older = elsewhere.open().log
        record(storage.log, "ann", *many(12))
        projecting(storage).catch_up_all()
        record(older, "ann", *many(5))

        with capture_logs() as logged:
            projector = Projector(older, storage.views, [MODEL])

        assert projector.generation("tallies").position == 0
        assert [line["event"] for line in logged] == ["projection_reset"]
        projector.catch_up_all()
        assert stored(storage) == folded(MODEL, lines(older))


def test_read_models_start_over_where_the_log_went_another_way(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "ROWS_FILLED", 2)
    with Engine(str(tmp_path / "other.db")) as elsewhere:
        other = elsewhere.open().log
        for number, user in enumerate(("ann", "bob", "eve")):
            record(storage.log, user, *many(4, first=number * 10))
        projector = projecting(storage)
        with pytest.raises(Stopped):
            Rebuilder(projector).rebuild("tallies", lambda _done, _total: projector.stop())
        projecting(storage).catch_up_all()
        record(other, "ann", *many(20, first=100))
        left = storage.views.building(MODEL)
        assert left is not None
        assert (left.position, left.filled) == (12, "user:bob")

        projector = Projector(other, storage.views, [MODEL])

        building = storage.views.building(MODEL)
        assert building is not None
        assert building.position == projector.generation("tallies").position == 0
        assert (building.filled, building.folded) == (None, 0)
        Rebuilder(projector).rebuild("tallies")
        assert stored(storage) == folded(MODEL, lines(other))


def test_a_generation_of_another_log_starts_over_when_it_is_rolled_back_to(storage: Storage, tmp_path: Path) -> None:
    with Engine(str(tmp_path / "other.db")) as elsewhere:
        other = elsewhere.open().log
        record(storage.log, "ann", *many(12))
        Rebuilder(projecting(storage)).rebuild("tallies")
        record(other, "ann", *many(20, first=100))
        projector = Projector(other, storage.views, [MODEL])

        Rebuilder(projector).roll_back("tallies")

        assert stored(storage) == folded(MODEL, lines(other))


def test_read_models_start_over_when_an_older_copy_of_the_log_is_put_back(tmp_path: Path) -> None:
    path, copy = tmp_path / "events.db", tmp_path / "copy"
    with Engine(str(path)) as engine:
        record(engine.open().log, "ann", *many(5))
    shutil.copy(path, copy)
    with Engine(str(path)) as engine:
        storage = engine.open()
        record(storage.log, "ann", *many(10, first=50))
        projecting(storage).catch_up_all()
    shutil.copy(copy, path)

    with Engine(str(path)) as engine:
        storage = engine.open()
        record(storage.log, "ann", *many(3, first=100))
        projector = projecting(storage)
        projector.catch_up_all()

        assert projector.generation("tallies").position == 8
        assert stored(storage) == folded(MODEL, lines(storage.log))


def test_an_unchanged_log_is_recognised_and_nothing_is_folded_again(engine: Engine) -> None:
    storage = engine.open()
    record(storage.log, "ann", *many(12))
    projecting(storage).catch_up_all()
    storage.close()

    fold = Poisoned(0)
    projecting(engine.open(), Model(fold=fold)).catch_up_all()

    assert fold.seen == []
