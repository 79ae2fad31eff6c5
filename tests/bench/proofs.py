"""The tree over the log: how fast it is derived, and how long a proof takes to make and to check."""

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from time import perf_counter

from es_goals.ids import wall_clock
from es_goals.proofs import verify_consistency, verify_inclusion
from es_goals.proving.tree import HashTree
from tests.bench import logs
from tests.bench.bench import Bench, Sample
from tests.support.engines import open_storage

PROOFS = 500
SEED = 1


def measure(bench: Bench) -> Iterator[Sample]:
    """On a log of 2,000,000 events: the whole tree, and proofs of any of them."""
    events = 1_000 if bench.small else 2_000_000
    log = logs.made_log(bench, events)
    with closing(open_storage(str(log), wall_clock)) as storage:
        storage.tiles.clear()
        tree, began = HashTree(storage), perf_counter()
        tree.catch_up()
        size = storage.tiles.size()
        yield bench.sample("proofs.build", size / (perf_counter() - began), "/s")
        yield from _proofs(bench, tree, size)


def _proofs(bench: Bench, tree: HashTree, size: int) -> Iterator[Sample]:
    chosen = random.Random(SEED)  # noqa: S311
    indices = [chosen.randrange(size) for _ in range(PROOFS)]
    whole = tree.at(size)
    root, leaves = whole.root(), [whole.leaf(index) for index in indices]
    included = [tree.at(size).inclusion(index) for index in indices]
    roots = [tree.at(index + 1).root() for index in indices]
    grown = [tree.at(size).consistency(index + 1) for index in indices]
    measured: dict[str, Callable[[int], object]] = {
        "inclusion": lambda at: tree.at(size).inclusion(indices[at]),
        "consistency": lambda at: tree.at(size).consistency(indices[at] + 1),
        "check_inclusion": lambda at: verify_inclusion(leaves[at], indices[at], size, included[at], root),
        "check_consistency": lambda at: verify_consistency(indices[at] + 1, roots[at], size, root, grown[at]),
    }
    for name, work in measured.items():
        began = perf_counter()
        for at in range(PROOFS):
            work(at)
        yield bench.sample(f"proofs.{name}", (perf_counter() - began) / PROOFS * 1_000, "ms")
