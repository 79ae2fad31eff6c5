"""Ranks among siblings: for goals that come back to old places, and other ones where room must be made."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Container, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from es_goals.events import GoalMoved
from es_goals.goals.ranks import LONGEST, between, spaced


class Spot(NamedTuple):
    """Where a goal goes: at the rank if that is free, else right behind it, or right `ahead` of it. `order`: of those
    that go to the same spot."""

    parent_id: str | None
    rank: str
    ahead: bool
    order: str


def spacing(
    parent_id: str | None, siblings: Sequence[tuple[str, str]], ranks: Sequence[str], but: Container[str] = ()
) -> tuple[GoalMoved, ...]:
    """The siblings, `but` some, get these ranks, in an order in which none of them passes another."""
    rising: list[GoalMoved] = []
    falling: list[GoalMoved] = []
    for (old, goal_id), rank in zip(siblings, ranks, strict=True):
        if rank != old and goal_id not in but:
            (rising if rank > old else falling).append(GoalMoved(goal_id, rank, parent_id, spaced=True))
    return *reversed(rising), *falling


def seated(
    parent_id: str | None, siblings: Sequence[tuple[str, str]], coming: Mapping[str, Spot]
) -> tuple[dict[str, str], tuple[GoalMoved, ...]]:
    """The ranks of goals that come among these siblings, no two alike, and what makes room for them."""
    seats, taken = list(siblings), {rank for rank, _ in siblings}
    late: list[tuple[Spot, str]] = []
    for goal_id, spot in coming.items():
        if spot.rank in taken or len(spot.rank) > LONGEST:
            late.append((spot, goal_id))
        else:
            taken.add(spot.rank)
            insort(seats, (spot.rank, goal_id))
    late.sort()
    # Each goes next to the rank itself, so those that are to be nearest to it come last.
    for spot, goal_id in (*(one for one in late if one[0].ahead), *(one for one in late[::-1] if not one[0].ahead)):
        side = bisect_left if spot.ahead else bisect_right
        _squeeze(seats, side(seats, spot.rank, key=itemgetter(0)), goal_id)
    ranks = {goal_id: rank for rank, goal_id in seats}
    room = spacing(parent_id, siblings, [ranks[goal_id] for _, goal_id in siblings])
    return {goal_id: ranks[goal_id] for goal_id in coming}, room


def _squeeze(seats: list[tuple[str, str]], place: int, goal_id: str) -> None:
    low = seats[place - 1][0] if place > 0 else None
    high = seats[place][0] if place < len(seats) else None
    rank = between(low, high)
    if rank is None:
        first, ranks = spaced([rank for rank, _ in seats], place)
        rank = ranks.pop(place - first)
        for index, other in enumerate(ranks, first):
            seats[index] = (other, seats[index][1])
    seats.insert(place, (rank, goal_id))


def shifted(rank: str, ahead: bool, others: Iterable[tuple[str, str]]) -> tuple[str, bool]:
    """Where a rank that nobody has lies among siblings that got other ranks, given as (old, new) in order."""
    before = [new for old, new in others if old < rank or (old == rank and not ahead)]
    behind = [new for old, new in others if old > rank or (old == rank and ahead)]
    if before and before[-1] >= rank:
        return before[-1], False
    if behind and behind[0] <= rank:
        return behind[0], True
    return rank, ahead
