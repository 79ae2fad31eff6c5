"""What a store of read models promises, on every engine."""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, cast

import apsw
import pytest
from msgspec import Struct, structs

from es_goals.ids import wall_clock
from es_goals.storage.errors import GenerationGone, RowRefused
from es_goals.storage.views import VERIFICATIONS, Generation, Key, ReadModel, Verification, Views
from tests.support.engines import Engine, hear, open_storage, say, start, tell, wait_until
from tests.support.histories import Model, Tally

THREADS = 8
COMMAND = "a command"

T = TypeVar("T")


@pytest.fixture
def views(engine: Engine) -> Views:
    return engine.open().views


class Wider(Struct, frozen=True):
    user: str
    goal: str
    events: int
    last: str | None = None
    first: str | None = None


class Sums(Struct, frozen=True):
    """Fields named as SQL's own words."""

    user: str
    order: int
    group: str | None


class Texts(Struct, frozen=True):
    user: str
    number: int
    text: str
    note: str | None
    count: int | None


MODEL = Model()


def rows_by_key(*rows: Tally) -> dict[Key, Any | None]:
    return {(row.user, row.goal): row for row in rows}


def saved(views: Views, generation: Generation, position: int, *rows: Tally, model: Model = MODEL) -> Generation:
    after = views.save(model, generation, position, COMMAND, rows_by_key(*rows))
    assert after is not None
    return after


def rows_of(views: Views, generation: Generation | None = None, model: Model = MODEL) -> list[Tally]:
    return views.snapshot(model, generation)[1]


def at_once(work: Callable[[int], T]) -> list[T]:
    """What each of some threads answers, all let go at one moment."""
    barrier = threading.Barrier(THREADS)

    def one(number: int) -> T:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(one, range(THREADS)))


ONE, TWO, THREE = Tally("ann", "a", 1), Tally("ann", "b", 2), Tally("bob", "c", 3)
UNFIT = Tally("ann", "unfit", cast(int, None))
"""A row that no table takes."""


def several(count: int, user: str = "ann") -> list[Tally]:
    return [Tally(user, f"goal-{number:03}", number) for number in range(count)]


def test_the_live_generation_is_made_empty_and_stays_the_same(views: Views) -> None:
    made = views.live(MODEL)

    assert made == Generation(made.id, "tallies", "live", 0, None, None, None)
    assert views.live(MODEL) == made
    assert views.count(made) == 0


def test_a_read_model_is_named_by_its_file_whatever_package_it_is_in(views: Views) -> None:
    assert views.live(Model("projections.tallies")) == views.live(MODEL)


def test_threads_that_ask_first_at_once_get_one_generation(views: Views) -> None:
    models, first = [Model(f"model_{number}") for number in range(20)], threading.Barrier(THREADS)

    def ask(_: int) -> list[int]:
        views.live(MODEL)
        found: list[int] = []
        for model in models:
            first.wait()
            live = views.live(model)
            first.wait()
            building = views.building(model, make=True)
            assert building is not None
            found += [live.id, building.id]
        return found

    found = at_once(ask)

    assert found == [found[0]] * THREADS
    assert len(set(found[0])) == 2 * len(models)


def test_nothing_is_being_built_until_a_rebuild_asks(views: Views) -> None:
    live = views.live(MODEL)

    assert views.building(MODEL) is None
    building = views.building(MODEL, make=True)
    assert building is not None
    assert building.state == "building"
    assert building.id != live.id
    assert views.building(MODEL) == views.building(MODEL, make=True) == building
    assert views.live(MODEL) == live


def test_saved_rows_and_their_checkpoint_are_found_again(views: Views) -> None:
    after = saved(views, views.live(MODEL), 7, ONE, THREE)

    assert (after.position, after.command) == (7, COMMAND)
    assert views.live(MODEL) == after
    assert rows_of(views) == [ONE, THREE]


def test_a_save_changes_adds_and_removes_only_the_rows_it_names(views: Views) -> None:
    generation = saved(views, views.live(MODEL), 1, ONE, TWO)
    changed = structs.replace(ONE, events=9)

    views.save(MODEL, generation, 2, COMMAND, {**rows_by_key(changed, THREE), ("ann", "b"): None, ("x", "y"): None})

    assert rows_of(views) == [changed, THREE]


def test_a_save_from_a_checkpoint_that_has_moved_is_refused_and_changes_nothing(views: Views) -> None:
    stale = views.live(MODEL)
    after = saved(views, stale, 5, ONE)

    assert views.save(MODEL, stale, 9, "another", {**rows_by_key(TWO), ("ann", "a"): None}) is None
    assert views.live(MODEL) == after
    assert rows_of(views) == [ONE]


def test_a_save_after_the_generation_was_started_over_is_refused(views: Views) -> None:
    stale = saved(views, views.live(MODEL), 5, ONE)
    views.reset(stale)

    assert views.save(MODEL, stale, 9, COMMAND, rows_by_key(TWO)) is None
    assert views.live(MODEL).position == 0
    assert rows_of(views) == []


def test_of_saves_from_one_checkpoint_exactly_one_is_kept(views: Views) -> None:
    for position in range(1, 11):
        before = views.live(MODEL)

        def save(number: int, before: Generation = before, position: int = position) -> Generation | None:
            return views.save(MODEL, before, position, COMMAND, rows_by_key(Tally("ann", f"{position}", number)))

        kept = [number for number, after in enumerate(at_once(save)) if after is not None]

        assert len(kept) == 1
        assert views.load(MODEL, before, [("ann", f"{position}")])["ann", f"{position}"].events == kept[0]
    assert views.count(views.live(MODEL)) == 10


@pytest.mark.parametrize("earlier", [0, 1, 63, 64, 100])
def test_a_save_that_fails_in_the_middle_changes_neither_rows_nor_checkpoint(views: Views, earlier: int) -> None:
    before = saved(views, views.live(MODEL), 5, ONE)
    changed = structs.replace(ONE, events=100)

    with pytest.raises(RowRefused, match=r"(?i)not.null constraint"):
        views.save(MODEL, before, 9, COMMAND, rows_by_key(changed, TWO, *several(earlier), UNFIT, THREE))

    assert views.live(MODEL) == before
    assert rows_of(views) == [ONE]


def test_a_reader_sees_rows_and_checkpoint_of_one_moment(views: Views) -> None:
    last = 150
    saved(views, views.live(MODEL), 1, Tally("ann", "a", 1), Tally("bob", "b", 1))

    def write() -> None:
        generation = views.live(MODEL)
        for position in range(2, last + 1):
            generation = saved(views, generation, position, Tally("ann", "a", position), Tally("bob", "b", position))

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        while not writer.done():
            generation, rows = views.snapshot(MODEL)
            assert {row.events for row in rows} == {generation.position}
        writer.result()


def test_load_answers_the_rows_that_exist_under_the_keys(views: Views) -> None:
    generation = saved(views, views.live(MODEL), 1, ONE, TWO, THREE)

    found = views.load(MODEL, generation, [("ann", "b"), ("bob", "c"), ("bob", "a"), ("eve", "a")])

    assert found == {("ann", "b"): TWO, ("bob", "c"): THREE}
    assert views.load(MODEL, generation, []) == {}


def test_load_takes_thousands_of_keys(views: Views) -> None:
    rows = [Tally("ann", f"{number:05}", number) for number in range(3000)]
    generation = saved(views, views.live(MODEL), 1, *rows)

    assert views.load(MODEL, generation, ((row.user, row.goal) for row in rows)) == rows_by_key(*rows)


def test_a_snapshot_is_in_the_order_of_the_keys(views: Views) -> None:
    generation = saved(views, views.live(MODEL), 3, THREE, TWO, ONE)

    assert views.snapshot(MODEL) == (generation, [ONE, TWO, THREE])


def test_a_snapshot_of_one_user_holds_only_their_rows(views: Views) -> None:
    saved(views, views.live(MODEL), 3, ONE, TWO, THREE)

    assert views.snapshot(MODEL, user="ann")[1] == [ONE, TWO]
    assert views.snapshot(MODEL, user="bob")[1] == [THREE]
    assert views.snapshot(MODEL, user="an")[1] == []


def test_a_snapshot_of_a_generation_shows_it_as_it_is_now(views: Views) -> None:
    before = views.building(MODEL, make=True)
    assert before is not None
    after = saved(views, before, 3, ONE)

    assert views.snapshot(MODEL, before) == (after, [ONE])
    assert views.snapshot(MODEL) == (views.live(MODEL), [])


def test_a_snapshot_before_anything_was_made_is_empty(views: Views) -> None:
    generation, rows = views.snapshot(MODEL)

    assert rows == []
    assert generation == views.live(MODEL)


def test_a_snapshot_of_a_generation_that_was_replaced_is_refused(views: Views) -> None:
    oldest = views.live(MODEL)
    for _ in range(2):
        building = views.building(MODEL, make=True)
        assert building is not None
        views.flip(MODEL, saved(views, building, 3, ONE))

    with pytest.raises(GenerationGone):
        views.snapshot(MODEL, oldest)


def test_a_first_snapshot_shows_all_rows_of_the_checkpoint_it_names_though_another_was_faster(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    views, faster = engine.open().views, engine.open().views
    live = views.live

    def late(model: ReadModel) -> Generation:
        saved(faster, faster.live(MODEL), 3, ONE)
        return live(model)

    monkeypatch.setattr(views, "live", late)
    generation, rows = views.snapshot(MODEL)

    assert rows == rows_of(faster, generation)[: generation.position]


def test_every_value_that_fits_a_field_comes_back_as_it_was(views: Views) -> None:
    model = Model(row=Texts, keys=("user", "number"), indexes=(("text",), ("note", "count")))
    rows = [
        Texts("ann", -(2**63), "", None, None),
        Texts("ann", 0, "a\x01b\n\ud7ff\U0010ffff", "", 0),
        Texts("ann", 2**63 - 1, "NULL", "null", -1),
        Texts("Ann", 0, "'; DROP TABLE generations; --", '"', 2**53 + 1),
    ]

    views.save(model, views.live(model), 1, COMMAND, {(row.user, row.number): row for row in rows})

    assert views.snapshot(model)[1] == sorted(rows, key=lambda row: (row.user, row.number))
    assert set(views.load(model, views.live(model), [(row.user, row.number) for row in rows]).values()) == set(rows)


def test_fields_may_be_named_as_words_of_sql(views: Views) -> None:
    model = Model(row=Sums, keys=("user", "order"), indexes=(("group",),))
    row = Sums("ann", 1, "by")

    generation = views.save(model, views.live(model), 1, COMMAND, {("ann", 1): row})

    assert generation is not None
    assert views.load(model, generation, [("ann", 1)]) == {("ann", 1): row}
    assert views.snapshot(model, user="ann")[1] == [row]
    assert views.differences(model, generation, generation) == (0, 0, [])


def test_the_fields_are_the_columns_of_a_table_with_its_key_and_its_indexes(tmp_path: Path) -> None:
    model = Model(row=Texts, keys=("user", "number"), indexes=(("text",), ("note", "count")))
    with Engine(str(tmp_path / "events.db")) as engine:
        generation = engine.open().views.live(model)

    database = apsw.Connection(str(tmp_path / "projections.db"))
    table = f"tallies_{generation.id}"
    columns = database.execute('SELECT name, type, "notnull", pk FROM pragma_table_info(?)', (table,)).fetchall()
    indexes = database.execute("SELECT name FROM pragma_index_list(?) WHERE origin = 'c'", (table,)).fetchall()
    indexed = [database.execute("SELECT name FROM pragma_index_info(?)", index).fetchall() for index in indexes]
    database.close()

    assert columns == [
        ("user", "TEXT", 1, 1),
        ("number", "INTEGER", 1, 2),
        ("text", "TEXT", 1, 0),
        ("note", "TEXT", 0, 0),
        ("count", "INTEGER", 0, 0),
    ]
    assert sorted(indexed) == [[("note",), ("count",)], [("text",)]]


@pytest.mark.parametrize("kind", [bool, float, bytes, list[str], str | int, Any], ids=str)
def test_a_field_that_is_neither_text_nor_a_whole_number_is_refused(views: Views, kind: Any) -> None:
    row = type("Row", (Struct,), {"__annotations__": {"user": str, "odd": kind}})

    with pytest.raises(TypeError, match="expected str or int"):
        views.live(Model("odd", row=row, keys=("user",)))

    assert views.live(Model("odd")).position == 0


def test_a_users_rows_are_replaced_and_no_one_elses(views: Views) -> None:
    generation = saved(views, views.live(MODEL), 5, ONE, TWO, THREE)
    right = Tally("ann", "z", 26)

    assert views.replace_user(MODEL, generation, "ann", [right])
    assert rows_of(views) == [right, THREE]
    after = views.live(MODEL)
    assert after == structs.replace(generation, id=after.id, writes=generation.writes + 1)
    assert after.id > generation.id, "what was made of the old rows must not be taken for these"
    building = views.building(MODEL, make=True)
    assert building is not None
    assert building.id > after.id
    assert views.save(MODEL, generation, 6, COMMAND, {}) is None


def test_a_users_rows_are_not_replaced_once_the_checkpoint_has_moved(views: Views) -> None:
    stale = saved(views, views.live(MODEL), 5, ONE)
    after = saved(views, stale, 6, TWO)

    assert not views.replace_user(MODEL, stale, "ann", [])
    assert views.live(MODEL) == after
    assert rows_of(views) == [ONE, TWO]


@pytest.mark.parametrize("earlier", [0, 1, 64, 100])
def test_replacing_that_fails_in_the_middle_keeps_the_old_rows(views: Views, earlier: int) -> None:
    generation = saved(views, views.live(MODEL), 5, ONE, TWO)

    with pytest.raises(RowRefused, match=r"(?i)not.null constraint"):
        views.replace_user(MODEL, generation, "ann", [*several(earlier), UNFIT, Tally("ann", "zz", 1)])

    assert rows_of(views) == [ONE, TWO]


def test_a_reset_empties_one_generation_and_starts_it_over(views: Views) -> None:
    live = saved(views, views.live(MODEL), 5, ONE, TWO)
    building = views.building(MODEL, make=True)
    assert building is not None
    building = saved(views, building, 5, THREE)

    views.reset(live)

    assert views.live(MODEL) == structs.replace(live, position=0, command=None, writes=live.writes + 1)
    assert rows_of(views) == []
    assert views.snapshot(MODEL, building) == (building, [THREE])


def test_a_discarded_generation_is_gone_and_the_live_one_stays(views: Views) -> None:
    live = saved(views, views.live(MODEL), 5, ONE)
    discarded = built(views, 3, TWO)

    views.discard(discarded)

    assert views.building(MODEL) is None
    assert views.snapshot(MODEL) == (live, [ONE])
    again = views.building(MODEL, make=True)
    assert again is not None
    assert again.id > discarded.id
    assert (again.position, views.count(again)) == (0, 0)


def test_a_failure_is_kept_with_its_place_until_it_is_cleared(views: Views) -> None:
    generation = saved(views, views.live(MODEL), 5, ONE)

    views.mark_failed(generation, 6, "ValueError: odd")

    assert views.live(MODEL) == structs.replace(generation, failed_at=6, error="ValueError: odd")
    assert rows_of(views) == [ONE]
    views.clear_failed(views.live(MODEL))
    assert views.live(MODEL) == generation


def test_a_save_that_gets_past_a_failure_clears_it(views: Views) -> None:
    generation = views.live(MODEL)
    views.mark_failed(generation, 1, "ValueError: odd")

    after = saved(views, generation, 1, ONE)

    assert after.error is None
    assert views.live(MODEL) == after


def test_a_failure_at_an_event_that_another_has_folded_is_not_kept(views: Views) -> None:
    stale = saved(views, views.live(MODEL), 5, ONE)
    after = saved(views, stale, 6, TWO)

    views.mark_failed(stale, 6, "ValueError: odd, to code that has been mended since")

    assert views.live(MODEL) == after


@pytest.mark.parametrize(
    "other",
    [
        Model(revision=2),
        Model(row=Wider),
        Model(keys=("user", "goal", "events")),
        Model(indexes=(("last",),)),
        Model("others"),
    ],
    ids=["revision", "fields", "key", "indexes", "name"],
)
def test_each_code_sees_only_generations_of_its_own(views: Views, other: Model) -> None:
    mine = saved(views, views.live(MODEL), 5, ONE)
    theirs = views.live(other)

    assert theirs.id != mine.id
    assert theirs.position == 0
    building = views.building(other, make=True)
    row = other.Row("ann", "a", 7)
    key = tuple(getattr(row, column) for column in other.KEY)
    theirs_after = views.save(other, theirs, 2, COMMAND, {key: row})
    assert views.snapshot(MODEL) == (mine, [ONE])
    assert views.building(MODEL) is None
    assert views.snapshot(other) == (theirs_after, [row])
    assert views.building(other) == building


def filling(views: Views, *rows: Tally, filled: str | None = "user:ann", folded: int = 7) -> Generation:
    """A generation that was filled so far."""
    building = views.building(MODEL, make=True)
    assert building is not None
    place = structs.replace(building, position=9, command=COMMAND, filled=filled, folded=folded)
    after = views.fill(MODEL, place, rows)
    assert after is not None
    return after


def test_filling_adds_rows_and_keeps_how_far_it_is(engine: Engine) -> None:
    views = engine.open().views
    one = filling(views, *several(100))
    two = views.fill(MODEL, structs.replace(one, filled="user:bob", folded=12), iter(several(64, "bob")))
    assert two is not None
    three = views.fill(MODEL, structs.replace(two, filled=None, folded=13), [])

    assert (one.state, one.position, one.command, one.filled, one.folded) == ("building", 9, COMMAND, "user:ann", 7)
    assert (two.filled, two.folded, two.position) == ("user:bob", 12, 9)
    assert three == structs.replace(two, filled=None, folded=13, writes=two.writes + 1)
    again = engine.open().views
    assert again.building(MODEL) == three
    assert rows_of(again, three) == [*several(100), *several(64, "bob")]
    assert rows_of(again) == []


def test_filling_from_where_somebody_else_went_on_is_refused_and_changes_nothing(views: Views) -> None:
    stale = filling(views, ONE, TWO)
    after = views.fill(MODEL, structs.replace(stale, filled="user:bob"), [THREE])

    assert views.fill(MODEL, structs.replace(stale, filled="user:eve"), [Tally("eve", "e", 1)]) is None
    assert views.building(MODEL) == after
    assert rows_of(views, after) == [ONE, TWO, THREE]


def test_filling_after_the_generation_was_started_over_is_refused(views: Views) -> None:
    stale = filling(views, ONE)
    views.reset(stale)

    assert views.fill(MODEL, structs.replace(stale, filled="user:bob"), [THREE]) is None
    building = views.building(MODEL)
    assert building is not None
    assert (building.position, building.command, building.filled, building.folded) == (0, None, None, 0)
    assert rows_of(views, building) == []


@pytest.mark.parametrize("earlier", [0, 64, 100])
def test_filling_that_fails_in_the_middle_keeps_what_was_there(views: Views, earlier: int) -> None:
    before = filling(views, ONE)
    place = structs.replace(before, filled="user:bob", folded=12)

    with pytest.raises(RowRefused, match=r"(?i)not.null constraint"):
        views.fill(MODEL, place, [*several(earlier, "bob"), UNFIT, Tally("bob", "last", 1)])

    assert views.building(MODEL) == before
    assert rows_of(views, before) == [ONE]


CHANGES: dict[str, Callable[[Views], object]] = {
    "save": lambda views: saved(views, views.live(MODEL), 6, TWO),
    "failure": lambda views: views.mark_failed(views.live(MODEL), 6, "ValueError: odd"),
    "cleared failure": lambda views: views.clear_failed(views.live(MODEL)),
    "flip": lambda views: views.flip(MODEL, built(views, 7, THREE)),
    "roll back": lambda views: views.roll_back(MODEL),
    "a user's rows": lambda views: views.replace_user(MODEL, views.live(MODEL), "ann", [ONE]),
    "reset": lambda views: views.reset(views.live(MODEL)),
    "discard": lambda views: views.discard(views.live(MODEL)),
}


def test_the_live_generation_is_as_others_left_it_whatever_they_did(engine: Engine) -> None:
    mine, theirs = engine.open().views, engine.open().views
    seen = [saved(mine, mine.live(MODEL), 5, ONE)]

    for change in CHANGES.values():
        assert mine.live(MODEL) == seen[-1]
        change(theirs)
        seen.append(mine.live(MODEL))
        assert theirs.live(MODEL) == engine.open().views.live(MODEL) == seen[-1]

    assert all(before != after for before, after in pairwise(seen))


def flip_when_told(url: str) -> None:
    """In a process of its own: a new live generation each time."""
    views = open_storage(url, wall_clock).views
    while input() == "flip":
        views.flip(MODEL, built(views, 5, ONE))
        say(views.live(MODEL).id)


def test_a_flip_in_another_process_is_seen_when_it_is_told(engine: Engine) -> None:
    views = engine.open().views
    with start(flip_when_told, engine.url) as child:
        for _ in range(20):
            before = views.live(MODEL).id
            tell(child, "flip")
            assert int(hear(child)) == views.live(MODEL).id > before
        tell(child, "end")


def built(views: Views, position: int, *rows: Tally, model: Model = MODEL) -> Generation:
    building = views.building(model, make=True)
    assert building is not None
    return saved(views, building, position, *rows, model=model)


def test_a_flip_makes_the_new_generation_live_and_keeps_the_one_before_it(views: Views) -> None:
    old = saved(views, views.live(MODEL), 5, ONE)
    new = built(views, 5, TWO)

    assert views.flip(MODEL, new)
    assert views.snapshot(MODEL) == (structs.replace(new, state="live"), [TWO])
    assert views.snapshot(MODEL, old) == (structs.replace(old, state="previous"), [ONE])
    assert views.building(MODEL) is None


def test_a_flip_to_a_generation_that_is_behind_is_refused_and_changes_nothing(views: Views) -> None:
    live = saved(views, views.live(MODEL), 5, ONE)
    behind = built(views, 4, TWO)

    assert not views.flip(MODEL, behind)
    assert views.snapshot(MODEL) == (live, [ONE])
    assert views.building(MODEL) == behind
    ahead = saved(views, behind, 6)
    assert views.flip(MODEL, ahead)


def test_a_flip_is_judged_by_what_is_stored_not_by_what_the_caller_saw(views: Views) -> None:
    seen = saved(views, views.live(MODEL), 5, ONE)
    new = built(views, 5, ONE)
    saved(views, seen, 6, TWO)

    assert not views.flip(MODEL, new)


def test_a_second_flip_lets_the_oldest_generation_go(views: Views) -> None:
    first = saved(views, views.live(MODEL), 5, ONE)
    second, third = built(views, 5, TWO), None
    views.flip(MODEL, second)
    third = built(views, 5, THREE)
    views.flip(MODEL, third)

    assert rows_of(views) == [THREE]
    back = views.roll_back(MODEL)
    assert back is not None
    assert back.id == second.id
    assert rows_of(views) == [TWO]
    assert len({first.id, second.id, third.id}) == 3
    assert built(views, 5).id > third.id


def test_there_is_nothing_to_roll_back_to_before_the_first_flip(views: Views) -> None:
    live = views.live(MODEL)

    assert views.roll_back(MODEL) is None
    assert views.live(MODEL) == live


def test_rolling_back_exchanges_the_live_and_the_previous_generation(views: Views) -> None:
    saved(views, views.live(MODEL), 5, ONE)
    views.flip(MODEL, built(views, 8, TWO))

    back = views.roll_back(MODEL)

    assert back == views.live(MODEL)
    assert back is not None
    assert (back.state, back.position) == ("live", 5)
    assert rows_of(views) == [ONE]
    views.roll_back(MODEL)
    assert rows_of(views) == [TWO]


def test_a_flip_by_newer_code_leaves_older_code_a_generation_of_its_own(views: Views) -> None:
    newer = Model(revision=2)
    stale = saved(views, views.live(MODEL), 5, ONE)

    views.flip(newer, built(views, 5, TWO, model=newer))

    assert rows_of(views, model=newer) == [TWO]
    assert views.save(MODEL, stale, 6, COMMAND, {}) is None
    assert not views.replace_user(MODEL, stale, "ann", [])
    assert views.snapshot(MODEL) == (views.live(MODEL), [])
    assert views.live(MODEL).position == 0


def test_a_generation_that_was_replaced_meanwhile_has_no_rows_to_load_or_count(views: Views) -> None:
    gone = saved(views, views.live(MODEL), 5, ONE)
    newer = Model(revision=2)
    views.flip(newer, built(views, 5, TWO, model=newer))

    with pytest.raises(GenerationGone, match="replaced meanwhile"):
        views.load(MODEL, gone, [("ann", "a")])
    with pytest.raises(GenerationGone, match="replaced meanwhile"):
        views.count(gone)


def test_equal_generations_have_no_differences(views: Views) -> None:
    live = saved(views, views.live(MODEL), 5, ONE, TWO, Tally("ann", "x", 1, None))
    new = built(views, 5, ONE, TWO, Tally("ann", "x", 1, None))

    assert views.differences(MODEL, live, new) == (0, 0, [])


def test_differences_count_rows_that_only_one_generation_has_and_name_their_keys(views: Views) -> None:
    live = saved(views, views.live(MODEL), 5, ONE, TWO, THREE)
    new = built(views, 5, ONE, structs.replace(TWO, last="odd"), Tally("ann", "x", 1), Tally("eve", "y", 2))

    found = views.differences(MODEL, live, new)

    assert found == (2, 3, [("ann", "b"), ("ann", "x"), ("bob", "c"), ("eve", "y")])


def test_differences_name_ten_keys_at_most(views: Views) -> None:
    live = views.live(MODEL)
    live = saved(views, live, 5, *(Tally("ann", f"{number:02}", 1) for number in range(30)))

    found = views.differences(MODEL, live, built(views, 5))

    assert found == (30, 0, [("ann", f"{number:02}") for number in range(10)])


def test_generations_at_different_checkpoints_are_not_compared(views: Views) -> None:
    live = saved(views, views.live(MODEL), 5, ONE)
    new = built(views, 5, ONE)
    saved(views, live, 6)

    assert views.differences(MODEL, live, new) is None


def test_generations_and_their_rows_outlive_the_process(engine: Engine) -> None:
    storage = engine.open()
    live = saved(storage.views, storage.views.live(MODEL), 5, ONE)
    building = built(storage.views, 3, TWO)
    storage.close()

    again = engine.open().views

    assert again.snapshot(MODEL) == (live, [ONE])
    assert again.building(MODEL) == building
    assert rows_of(again, building) == [TWO]


def test_read_models_of_another_log_are_not_taken_over(tmp_path: Path) -> None:
    with Engine(str(tmp_path / "events.db")) as engine:
        views = engine.open().views
        saved(views, views.live(MODEL), 1, ONE)
        last = built(views, 1, TWO)
    for path in tmp_path.glob("events.db*"):
        path.unlink()

    with Engine(str(tmp_path / "events.db")) as engine:
        views = engine.open().views

        assert views.building(MODEL) is None
        assert views.snapshot(MODEL) == (views.live(MODEL), [])
        assert views.live(MODEL).position == 0
        assert views.live(MODEL).id > last.id


def test_one_lease_excludes_every_other_of_that_name(views: Views) -> None:
    with views.lease("tallies") as mine, views.lease("tallies") as second, views.lease("others") as other:
        elsewhere = at_once(lambda _: leased(views))

    assert (mine, second, other) == (True, False, True)
    assert elsewhere == [False] * THREADS


def test_a_lease_that_was_refused_takes_nothing_away_and_one_that_ends_lets_go(views: Views) -> None:
    with views.lease("tallies"):
        leased(views)

        assert not leased(views)
    assert leased(views)


def test_a_lease_ends_with_an_exception_too(views: Views) -> None:
    with pytest.raises(ZeroDivisionError), views.lease("tallies"):
        raise ZeroDivisionError

    assert leased(views)


def test_of_threads_that_want_a_lease_at_once_one_gets_it(views: Views) -> None:
    decided = threading.Barrier(THREADS)

    def take(_: int) -> bool:
        with views.lease("tallies") as mine:
            decided.wait()
            return mine

    assert sorted(at_once(take)) == [False] * (THREADS - 1) + [True]


def leased(views: Views) -> bool:
    with views.lease("tallies") as mine:
        return mine


def hold_a_lease(url: str) -> None:
    """In a process of its own: until it is killed."""
    with open_storage(url, wall_clock).views.lease("tallies") as mine:
        say(mine)
        sys.stdin.readline()


def test_a_lease_excludes_other_processes_and_a_killed_holder_lets_go(engine: Engine) -> None:
    views = engine.open().views
    with start(hold_a_lease, engine.url) as holder:
        assert hear(holder) == "True"

        assert not leased(views)
        holder.kill()
    wait_until(lambda: leased(views))


# Verifications.


def test_a_verification_is_found_as_it_was_stored_last_by_everybody(views: Views, engine: Engine) -> None:
    other = engine.open().views
    one, two = Verification("one", "running", 1), Verification("two", "sound", 2, 3, "log", 4, 2**40, "9:ab", None)
    for stored in (one, two):
        views.verifications.put(stored)
    assert [other.verifications.find(id) for id in ("one", "two", "three")] == [one, two, None]
    assert other.verifications.newest() == two

    ended = structs.replace(one, state="unsound", ended_at=5, finding="position 3: its time goes back")
    views.verifications.put(ended)

    assert other.verifications.find("one") == ended
    assert other.verifications.newest() == two


def test_only_the_newest_verifications_are_kept(views: Views) -> None:
    assert views.verifications.newest() is None
    for number in range(VERIFICATIONS + 3):
        views.verifications.put(Verification(f"{number}", "sound", number))

    kept = [views.verifications.find(f"{number}") is not None for number in range(VERIFICATIONS + 3)]
    assert kept == [False] * 3 + [True] * VERIFICATIONS
