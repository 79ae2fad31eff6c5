"""The tree over a log in tiles: as RFC 9162 and C2SP's tlog-tiles define it, at every size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_goals.proofs import HASH_BYTES, leaf_hash
from es_goals.proving.digest import TreeHash
from es_goals.proving.tiles import WIDTH, GrowingTree, Tree, edge, width
from tests.support.trees import tree_of

LEAVES = [leaf_hash(str(number).encode()) for number in range(70_000)]
TREE = tree_of(len(LEAVES))


def digest(size: int) -> str:
    """By the other implementation."""
    tree = TreeHash()
    for leaf in LEAVES[:size]:
        tree.add_hash(leaf)
    return tree.root()


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 70_000])
def test_the_root_is_the_logs_digest(size: int) -> None:
    assert TREE(size).root().hex() == digest(size)


def test_a_tree_of_70000_has_the_tiles_of_the_specifications_example() -> None:
    assert [width(70_000, 0, number) for number in (0, 272, 273, 274)] == [256, 256, 112, 0]
    assert [width(70_000, 1, number) for number in (0, 1, 2)] == [256, 17, 0]
    assert [width(70_000, 2, number) for number in (0, 1)] == [1, 0]
    assert edge(70_000) == [(0, 273), (1, 1), (2, 0)]
    assert edge(256) == [(1, 0)]
    assert edge(0) == edge(0) == []


@pytest.mark.parametrize(("level", "number"), [(0, 0), (0, 273), (1, 0), (1, 1), (2, 0)])
def test_a_tiles_hashes_are_those_of_the_definition(level: int, number: int) -> None:
    below, place = WIDTH**level, number * WIDTH
    hashes = TREE(70_000).tile(level, number)

    assert len(hashes) == HASH_BYTES * width(70_000, level, number)
    for at in {0, len(hashes) // HASH_BYTES - 1}:
        part = GrowingTree()
        part.add(LEAVES[(place + at) * below : (place + at + 1) * below])
        found = {(one.level, one.number): one.hashes for one in (*part.filled(), *part.edge())}
        root = Tree(below, lambda level, number, found=found: found[level, number]).root()  # type: ignore[misc]
        assert hashes[HASH_BYTES * at :][:HASH_BYTES] == root


def test_an_older_tree_has_no_more_hashes_than_it_had() -> None:
    assert len(TREE(300).tile(0, 1)) == 44 * HASH_BYTES
    assert TREE(300).tile(1, 0) == TREE(70_000).tile(1, 0)[:HASH_BYTES]


@given(st.lists(st.integers(0, 700), max_size=6))
def test_a_tree_grows_by_whatever_steps_into_the_same_tiles(steps: list[int]) -> None:
    stored: dict[tuple[int, int], bytes] = {}
    size = 0
    for step in steps:
        growing = GrowingTree(size, lambda level, number: stored[level, number])
        growing.add(LEAVES[size : size + step])
        stored.update({(one.level, one.number): one.hashes for one in (*growing.filled(), *growing.edge())})
        size += step

    whole = TREE(size)
    assert Tree(size, lambda level, number: stored[level, number]).root() == whole.root()
    assert all(hashes == whole.tile(*place) for place, hashes in stored.items())


def test_a_leaf_is_the_hash_that_was_added() -> None:
    assert [TREE(70_000).leaf(index) for index in (0, 255, 256, 69_999)] == [
        LEAVES[index] for index in (0, 255, 256, 69_999)
    ]
