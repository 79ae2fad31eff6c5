"""The stored tree over a log, on each engine: kept up, derived anew, read where it is behind or gone."""

from contextlib import closing
from pathlib import Path

import apsw
import pytest
from structlog.testing import capture_logs

from es_goals.ids import wall_clock
from es_goals.projector import ProjectionBehind
from es_goals.proofs import HASH_BYTES, verify_consistency, verify_inclusion
from es_goals.proving import tree as module
from es_goals.proving.digest import event_hash
from es_goals.proving.tree import HashTree
from es_goals.storage import Storage
from es_goals.storage.log import all_lines
from es_goals.storage.sqlite.views import views_path
from es_goals.upkeep.verification import Mismatch, StoredTree, anchor, verify_log
from tests.support.engines import Engine, open_storage
from tests.support.histories import many, record, register


def unheard(_done: int, _total: int) -> None:
    """Nobody."""


def log_of(storage: Storage, events: int, user: str = "ann") -> None:
    """So many events, the registration among them."""
    register(storage.log, user)
    record(storage.log, user, *many(events - 1))


def root(storage: Storage, size: int) -> str:
    """By reading the log."""
    return anchor(storage.log, size, unheard).digest


def test_the_tick_brings_the_tree_to_the_logs_end(engine: Engine) -> None:
    storage = engine.open()
    tree = HashTree(storage)
    log_of(storage, 300)

    tree.tick()
    record(storage.log, "ann", *many(301, 1_000))
    tree.tick()

    assert storage.tiles.size() == 601
    assert len(storage.tiles.tile(0, 1)) == 256 * HASH_BYTES
    assert len(storage.tiles.tile(1, 0)) == 2 * HASH_BYTES
    assert storage.tiles.tile(0, 99) == b""
    for size in (0, 1, 255, 256, 300, 513, 601):
        assert tree.at(size).root().hex() == root(storage, size)


def test_what_is_not_stored_yet_is_taken_from_the_log_and_nothing_is_written(engine: Engine) -> None:
    storage = engine.open()
    tree = HashTree(storage)
    log_of(storage, 250)
    tree.tick()
    record(storage.log, "ann", *many(50, 1_000))

    whole = tree.at(300)

    assert whole.root().hex() == root(storage, 300)
    for index, line in enumerate(all_lines(storage.log)):
        verify_inclusion(event_hash(line), index, 300, whole.inclusion(index), whole.root())
    for size in (1, 250, 256, 299):
        verify_consistency(size, tree.at(size).root(), 300, whole.root(), whole.consistency(size))
    assert storage.tiles.size() == 250


def test_too_much_that_is_not_stored_is_for_the_tick(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_UNSTORED", 10)
    storage = engine.open()
    log_of(storage, 11)

    with pytest.raises(ProjectionBehind, match="expected the hashes of 11 events; found 0"):
        HashTree(storage).at(11)


def test_two_that_catch_up_at_once_store_one_tree(engine: Engine) -> None:
    storage, other = engine.open(), engine.open()
    log_of(storage, 300)
    HashTree(other).catch_up()

    assert not storage.tiles.save(0, 100, [(0, 0, b"x" * HASH_BYTES)])
    assert HashTree(storage).at(300).root().hex() == root(storage, 300)


def test_a_tree_that_another_has_the_lease_of_is_left_to_it(engine: Engine) -> None:
    storage = engine.open()
    log_of(storage, 3)

    with storage.views.lease(".tree"):
        HashTree(storage).tick()

    assert storage.tiles.size() == 0


def test_deriving_it_anew_mends_what_is_wrong_and_counts_it(engine: Engine) -> None:
    storage = engine.open()
    tree = HashTree(storage)
    log_of(storage, 700)
    tree.tick()
    assert tree.rebuild() == (700, 0)
    good = storage.tiles.tile(0, 0)

    storage.tiles.save(700, 700, [(0, 0, b"\0" * HASH_BYTES + good[HASH_BYTES:]), (1, 0, b"short")])

    assert tree.rebuild() == (700, 2)
    assert storage.tiles.tile(0, 0) == good
    assert tree.at(700).root().hex() == root(storage, 700)


def test_deriving_it_anew_begins_where_there_is_none(engine: Engine) -> None:
    storage = engine.open()
    assert HashTree(storage).rebuild() == (0, 0)
    log_of(storage, 300)

    assert HashTree(storage).rebuild() == (300, 0)


def test_a_tree_of_another_log_is_forgotten(engine: Engine) -> None:
    storage = engine.open()
    log_of(storage, 5)
    storage.tiles.save(0, 300, [(0, 0, b"x" * 256 * HASH_BYTES), (0, 1, b"y" * 44 * HASH_BYTES)])

    with capture_logs() as told:
        HashTree(storage).tick()

    assert told[0]["event"] == "tree_reset"
    assert HashTree(storage).at(5).root().hex() == root(storage, 5)
    assert storage.tiles.size() == 5


def test_stopping_ends_it_before_the_next_page(engine: Engine) -> None:
    storage = engine.open()
    tree = HashTree(storage)
    log_of(storage, 5)

    tree.stop()
    tree.tick()

    assert storage.tiles.size() == 0


@pytest.mark.parametrize(
    ("place", "named"),
    [
        ((0, 0), "position 2: its hash is "),
        ((0, 2), "position 514: its hash is "),
        ((1, 0), "the hash over positions 257 to 512 is "),
    ],
    ids=str,
)
def test_verifying_names_the_first_hash_that_is_not_the_logs(
    engine: Engine, place: tuple[int, int], named: str
) -> None:
    storage = engine.open()
    log_of(storage, 700)
    HashTree(storage).tick()
    hashes = bytearray(storage.tiles.tile(*place))
    hashes[HASH_BYTES + 3] ^= 1
    storage.tiles.save(700, 700, [(*place, bytes(hashes))])

    with pytest.raises(Mismatch, match=named):
        verify_log(storage.log, None, unheard, stored=StoredTree(storage.tiles))


def test_verifying_names_a_tile_that_is_too_short(engine: Engine) -> None:
    storage = engine.open()
    log_of(storage, 20)
    HashTree(storage).tick()
    storage.tiles.save(20, 20, [(0, 0, storage.tiles.tile(0, 0)[:-HASH_BYTES])])

    with pytest.raises(Mismatch, match=r"position 20: its hash is .*; found none"):
        verify_log(storage.log, None, unheard, stored=StoredTree(storage.tiles))


def test_a_tree_that_is_behind_is_compared_as_far_as_it_goes(engine: Engine) -> None:
    storage = engine.open()
    log_of(storage, 20)
    HashTree(storage).tick()
    record(storage.log, "ann", *many(10, 100))

    assert verify_log(storage.log, None, unheard, stored=StoredTree(storage.tiles)).head.position == 30


def test_with_the_read_models_thrown_away_it_is_all_there_again(tmp_path: Path) -> None:
    path = str(tmp_path / "events.db")
    with closing(open_storage(path, wall_clock)) as storage:
        log_of(storage, 300)
        HashTree(storage).tick()
    for file in tmp_path.glob("projections.db*"):
        file.unlink()

    with closing(open_storage(path, wall_clock)) as storage:
        assert storage.tiles.size() == 0
        assert HashTree(storage).at(300).root().hex() == root(storage, 300)


def test_another_log_in_its_place_takes_no_tree_over(tmp_path: Path) -> None:
    path = str(tmp_path / "events.db")
    with closing(open_storage(path, wall_clock)) as storage:
        log_of(storage, 300)
        HashTree(storage).tick()
    for file in tmp_path.glob("events.db*"):
        file.unlink()

    with closing(open_storage(path, wall_clock)) as storage:
        assert storage.tiles.size() == 0
    with closing(apsw.Connection(views_path(path))) as views:
        assert views.execute("SELECT count(*) FROM tiles").get == 0
