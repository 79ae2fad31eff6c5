"""Ranks: between any two there is room, and they stay short."""

import string
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_goals.goals.ranks import between

BASE_62 = frozenset(string.digits + string.ascii_letters)
MANY = 20_000

# Drawn from a few places, the insertions pile up between the same neighbours, where fractions grow.
anywhere = st.lists(st.integers(0, 1_000), max_size=200)
crowded = st.lists(st.integers(0, 3), max_size=200)


def inserted(ranks: list[str], place: int) -> str:
    low = ranks[place - 1] if place > 0 else None
    high = ranks[place] if place < len(ranks) else None
    rank = between(low, high)
    ranks.insert(place, rank)
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
        assert low < between(low, high) < high


def test_coming_last_20_000_times_takes_six_characters() -> None:
    ranks = [between(None, None)]

    for _ in range(MANY):
        ranks.append(between(ranks[-1], None))

    assert {len(rank) for rank in ranks} == {6}
    assert ranks == sorted(set(ranks))


def test_coming_first_20_000_times_takes_six_characters() -> None:
    ranks = [between(None, None)]

    for _ in range(MANY):
        ranks.append(between(None, ranks[-1]))

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
    low = between(None, None)
    high = between(low, None)

    for n in range(600):
        middle = between(low, high)
        assert low < middle < high
        low, high = (low, middle) if keeps_low(n) else (middle, high)

    assert 600 / 8 <= len(middle) - 6 <= 600 / 5


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (None, None, "V00000"),
        ("V00000", None, "V00001"),
        ("V0000z", None, "V00010"),
        ("V00000V", None, "V00001"),
        (None, "V00000", "Uzzzzz"),
        (None, "V00000V", "Uzzzzz"),
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
