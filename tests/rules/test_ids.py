"""Ids: UUIDs of version 7 that rise, whatever the clock does and however many threads ask."""

import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from itertools import pairwise
from operator import or_

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_goals.ids import Uuid7, uuid_of

NOW = 1_795_420_800_123_456
LAST_MILLISECOND = (1 << 48) - 1
ANN = "01990000-0000-7000-8000-00000000000a"


def maker(times: Iterable[int]) -> Callable[[], str]:
    clock = iter(times)
    return Uuid7(lambda: next(clock))


@given(st.integers(0, LAST_MILLISECOND * 1000 + 999))
def test_an_id_is_a_uuid_of_version_7_that_begins_with_the_milliseconds(now: int) -> None:
    text = maker([now])()

    made = uuid.UUID(text)
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == now // 1000
    assert text == str(made)


@pytest.mark.parametrize(
    "times",
    [
        pytest.param([NOW] * 5_000, id="a clock that stands still"),
        pytest.param(range(NOW, NOW - 5_000_000, -1_000), id="a clock that goes back"),
        pytest.param([NOW, *[NOW - 3_600_000_000] * 5_000], id="a clock that was set back an hour"),
        pytest.param([NOW, 0, NOW, NOW + 1_000, 0] * 1_000, id="a clock that jumps"),
        pytest.param(range(NOW, NOW + 5_000_000, 100), id="a clock that goes on"),
    ],
)
def test_ids_rise_strictly_and_keep_their_version(times: list[int] | range) -> None:
    make = maker(times)

    made = [make() for _ in times]

    assert all(earlier < later for earlier, later in pairwise(made))
    assert {(uuid.UUID(one).version, uuid.UUID(one).variant) for one in made} == {(7, uuid.RFC_4122)}


def test_an_id_after_the_clock_went_on_begins_with_the_new_time() -> None:
    make = maker([NOW, NOW - 1_000, NOW + 1_000])

    _, _, latest = make(), make(), make()

    assert uuid.UUID(latest).int >> 80 == NOW // 1000 + 1


def test_73_bits_of_an_id_are_random() -> None:
    made = [uuid.UUID(maker([NOW])()).int for _ in range(200)]

    varying = reduce(or_, (one ^ made[0] for one in made))
    assert varying == ((1 << 11) - 1) << 64 | (1 << 62) - 1


def test_ids_cannot_be_guessed_from_those_before_them() -> None:
    made = [maker([NOW])() for _ in range(1_000)]
    make = maker([NOW] * 1_000)
    counted = [uuid.UUID(make()).int for _ in range(1_000)]

    steps = {later - earlier for earlier, later in pairwise(counted)}
    assert len(set(made)) == 1_000
    assert len(steps) > 990


def test_threads_never_get_the_same_id_and_each_sees_them_rise() -> None:
    make = Uuid7(lambda: NOW)

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: [make() for _ in range(2_000)], range(8)))

    assert len({one for ids in taken for one in ids}) == 16_000
    assert all(ids == sorted(ids) for ids in taken)


@pytest.mark.parametrize(
    ("text", "known"),
    [(ANN, ANN), (ANN.upper(), ANN), ("Ann", None), ("", None), (f" {ANN}", None), (f"{ANN}\n", None), (ANN[1:], None)],
)
def test_an_id_is_told_from_a_name_by_its_form(text: str, known: str | None) -> None:
    assert uuid_of(text) == known
