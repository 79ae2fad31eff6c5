"""Merkle trees of known leaves, and logs long enough to have several tiles."""

from collections.abc import Callable

from es_goals.proofs import leaf_hash
from es_goals.proving.tiles import GrowingTree, Tree


def tree_of(most: int) -> Callable[[int], Tree]:
    """Return what makes the tree over the first of so many leaves, which are numbers from 0 in decimal digits."""
    growing = GrowingTree()
    growing.add(leaf_hash(str(number).encode()) for number in range(most))
    tiles = {(one.level, one.number): one.hashes for one in (*growing.filled(), *growing.edge())}
    return lambda size: Tree(size, lambda level, number: tiles[level, number])
