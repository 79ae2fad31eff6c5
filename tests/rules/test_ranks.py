"""Ranks: between any two there is room, and they stay short."""

import string
from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_goals.goals.ranks import LONGEST, between, spaced

BASE_62 = frozenset(string.digits + string.ascii_letters)
MANY = 20_000

# Drawn from a few places, the insertions pile up between the same neighbours, where fractions grow.
anywhere = st.lists(st.integers(0, 1_000), max_size=200)
crowded = st.lists(st.integers(0, 3), max_size=200)


def inserted(ranks: list[str], place: int) -> str:
    low = ranks[place - 1] if place > 0 else None
    high = ranks[place] if place < len(ranks) else None
    rank = between(low, high)
    assert rank is not None
    ranks.insert(place, rank)
    return rank


def next_to(low: str | None, high: str | None) -> str:
    rank = between(low, high)
    assert rank is not None
    return rank


@given(anywhere | crowded)
def test_any_insertions_keep_ranks_in_strict_order(places: list[int]) -> None:
    ranks: list[str] = []

    for place in places:
        inserted(ranks, place % (len(ranks) + 1))

    assert all(low < high for low, high in pairwise(ranks))


@given(anywhere | crowded)
def test_a_rank_is_six_digits_and_a_fraction_that_never_ends_in_zero(places: list[int]) -> None:
    ranks: list[str] = []

    for place in places:
        rank = inserted(ranks, place % (len(ranks) + 1))

        assert len(rank) >= 6
        assert set(rank) <= BASE_62
        assert len(rank) == 6 or rank[-1] != "0"


@given(crowded)
def test_a_place_that_became_free_again_can_be_taken(places: list[int]) -> None:
    ranks: list[str] = []
    for place in places:
        inserted(ranks, place % (len(ranks) + 1))

    for low, high in pairwise(ranks[::2]):
        assert low < next_to(low, high) < high


def test_coming_last_20_000_times_takes_six_characters() -> None:
    ranks = [next_to(None, None)]

    for _ in range(MANY):
        ranks.append(next_to(ranks[-1], None))

    assert {len(rank) for rank in ranks} == {6}
    assert ranks == sorted(set(ranks))


def test_coming_first_20_000_times_takes_six_characters() -> None:
    ranks = [next_to(None, None)]

    for _ in range(MANY):
        ranks.append(next_to(None, ranks[-1]))

    assert {len(rank) for rank in ranks} == {6}
    assert ranks[::-1] == sorted(set(ranks))


@pytest.mark.parametrize(
    "keeps_low",
    [
        pytest.param(lambda _: True, id="always right after one goal"),
        pytest.param(lambda _: False, id="always right before one goal"),
        pytest.param(lambda n: n % 2 == 0, id="closing in from both sides"),
    ],
)
def test_inserting_at_one_spot_adds_a_digit_for_about_every_six(keeps_low: Callable[[int], bool]) -> None:
    low = next_to(None, None)
    high = next_to(low, None)

    for n in range(250):
        middle = next_to(low, high)
        assert low < middle < high
        low, high = (low, middle) if keeps_low(n) else (middle, high)

    assert 250 / 8 <= len(middle) - 6 <= 250 / 5


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (None, None, "V00000"),
        ("V00000", None, "V00001"),
        ("V0000z", None, "V00010"),
        ("V00000V", None, "V00001"),
        (None, "V00000", "Uzzzzz"),
        (None, "V00000V", "Uzzzzz"),
        # Ends of what six digits can count, which only another program's log reaches.
        ("zzzzzz", None, "zzzzzzV"),
        (None, "000000V", "000000"),
        ("V00000", "V00002", "V00001"),
        ("V00000", "V00005", "V00002"),
        ("V00000", "V00001", "V00000V"),
        ("V00000", "V00001V", "V00001"),
        ("V00000z", "V00001", "V00000zV"),
        ("V00000", "V00000V", "V00000F"),
        ("V00000", "V000001", "V000000V"),
        ("V00000", "V0000001", "V0000000V"),
        ("V000001", "V000003", "V000002"),
        ("V00000V", "V00000W", "V00000VV"),
        ("V00000Vz", "V00000W", "V00000VzV"),
        ("V00000V", "V00000W1", "V00000W"),
    ],
)
def test_ranks_stay_as_they_were_written(low: str | None, high: str | None, expected: str) -> None:
    assert between(low, high) == expected


@pytest.mark.parametrize(
    ("low", "high"),
    [
        pytest.param("V00000", "V00000", id="equal"),
        pytest.param("V00000", "V000000", id="nothing but a zero between them"),
        pytest.param("V00000" + "z" * 58, "V00001", id="as long as can be"),
        pytest.param("V00000" + "z" * 3_334, "V00001", id="longer than can be"),
        pytest.param("V00000" + "z" * 58 + "1", "V00000" + "z" * 58 + "2", id="both longer"),
    ],
)
def test_where_no_rank_is_short_enough_there_is_none(low: str, high: str) -> None:
    assert between(low, high) is None


def test_a_rank_is_found_between_longer_ones_that_differ_early() -> None:
    assert between("V00000" + "z" * 100, "V00001" + "z" * 100) == "V00001"


class Row:
    """Ranks in order, and how many got another one to make room."""

    def __init__(self, many: int) -> None:
        self.ranks = [next_to(None, None)]
        for _ in range(many - 1):
            self.ranks.append(next_to(self.ranks[-1], None))
        self.moved = self.most = 0

    def insert(self, place: int) -> None:
        low = self.ranks[place - 1] if place > 0 else None
        high = self.ranks[place] if place < len(self.ranks) else None
        rank = between(low, high)
        if rank is not None:
            self.ranks.insert(place, rank)
            return
        first, fresh = spaced(self.ranks, place)
        assert first <= place < first + len(fresh)
        self.ranks[first : first + len(fresh) - 1] = fresh
        assert all(low < high for low, high in pairwise(self.ranks[max(0, first - 1) : first + len(fresh) + 1]))
        assert max(map(len, fresh)) <= LONGEST
        self.moved += len(fresh) - 1
        self.most = max(self.most, len(fresh) - 1)


@pytest.mark.parametrize(
    ("place", "moved", "most"),
    [
        pytest.param(lambda _: 500, 100, 2, id="before the one before"),
        pytest.param(lambda n: 500 + n, 100, 2, id="before one goal"),
        pytest.param(lambda n: 500 + n // 2, 15_000, 2_048, id="closing in from both sides"),
        pytest.param(lambda n: 500 + n // 2 + n % 7 - 3, 15_000, 2_048, id="closing in, not quite"),
    ],
)
def test_10_000_insertions_at_one_spot_keep_ranks_short_and_move_few(
    place: Callable[[int], int], moved: int, most: int
) -> None:
    row = Row(1_000)

    for n in range(10_000):
        row.insert(place(n))

    assert len(row.ranks) == 11_000
    assert row.moved <= moved
    assert row.most <= most


def test_always_in_the_narrowest_place_few_are_moved_for_each() -> None:
    row, chance, place = Row(100), Random(7), 50  # noqa: S311

    for _ in range(1_000):
        near = range(max(1, place - 20), min(len(row.ranks), place + 20))
        place = max(near, key=lambda one: (len(row.ranks[one - 1]) + len(row.ranks[one]), chance.random()))
        row.insert(place)

    assert row.moved <= 2_000
    assert row.most <= 512


@given(st.lists(st.text(string.digits + string.ascii_letters, min_size=6, max_size=90), max_size=30), st.data())
def test_among_any_ranks_of_other_programs_room_is_made_in_order(ranks: list[str], data: st.DataObject) -> None:
    ranks.sort()
    place = data.draw(st.integers(0, len(ranks)))

    first, fresh = spaced(ranks, place)

    after = [*ranks[:first], *fresh, *ranks[first + len(fresh) - 1 :]]
    assert max(map(len, fresh)) <= LONGEST
    assert all(low < high for low, high in pairwise(fresh))
    assert after == sorted(after)
    assert first <= place < first + len(fresh)


def test_one_neighbour_is_enough_where_there_is_room_beyond_it() -> None:
    ranks = ["V00000", "V00001", "V00001" + "z" * 58, "V00002", "V00003"]

    assert spaced(ranks, 3) == (2, ["V00001K", "V00001f"])


def test_an_equal_neighbour_gets_another_rank() -> None:
    assert spaced(["V00000"] * 5, 2) == (0, ["Uzzzzx", "Uzzzzy", "Uzzzzz"])
