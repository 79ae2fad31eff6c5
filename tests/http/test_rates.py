"""Requests a second: what conforms, what is left, and that all processes count together."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from math import floor
from pathlib import Path
from typing import Any

import pytest
from falcon.asgi import Response
from hypothesis import given
from hypothesis import strategies as st

from es_goals.charges import Work
from es_goals.http.edge.rates import WAYS, Rates, set_headers
from tests.support.engines import hear, start
from tests.support.people import Answer, Inside
from tests.support.serving import Served


class Seconds:
    """Stands at `now` until it is put elsewhere."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def taken(rates: Rates, count: int, key: str = "ann") -> int:
    """How many of so many requests conform."""
    return sum(rates.take(key).allowed for _ in range(count))


@pytest.mark.parametrize("quota", [1, 3, 100, 1_000_000])
def test_a_seconds_worth_comes_at_once_and_one_more_does_not(quota: int) -> None:
    rates = Rates(quota, Seconds(), sets=1)

    if quota > 100:
        rates.charge("ann", quota - 100)
    assert taken(rates, min(quota, 100)) == min(quota, 100)
    refused = rates.take("ann")
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert refused.retry_after == pytest.approx(1 / quota)
    assert refused.reset == pytest.approx(1)


def test_what_is_left_is_told_and_comes_back_evenly() -> None:
    clock = Seconds()
    rates = Rates(10, clock)

    assert [rates.take("ann").remaining for _ in range(10)] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    clock.now += 0.25
    assert [rates.take("ann").allowed for _ in range(3)] == [True, True, False]
    clock.now += 60
    assert rates.take("ann")[:3] == (True, 9, 0.0)


def test_a_request_conforms_once_it_has_waited_as_long_as_it_was_told_and_not_before() -> None:
    clock = Seconds()
    rates = Rates(7, clock)
    taken(rates, 7)
    wait = rates.take("ann").retry_after

    clock.now += wait * 0.99
    assert not rates.take("ann").allowed
    clock.now += wait * 0.01
    assert rates.take("ann").allowed


def test_refusals_cost_nothing() -> None:
    clock = Seconds()
    rates = Rates(2, clock)
    taken(rates, 1000)

    clock.now += 0.5
    assert rates.take("ann").allowed


def test_keys_are_counted_apart() -> None:
    rates = Rates(2, Seconds())

    assert [taken(rates, 3, key) for key in ("ann", "bob", "\N{RUNNER}", "")] == [2] * 4


def test_what_is_charged_later_is_waited_for() -> None:
    clock = Seconds()
    rates = Rates(10, clock)
    rates.charge("ann", 35)

    refused = rates.take("ann")
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert refused.retry_after == pytest.approx(2.6)
    clock.now += 2.6
    assert rates.take("ann").allowed


def test_a_request_that_costs_more_than_a_second_conforms_where_nothing_was_counted_and_leaves_a_debt() -> None:
    clock = Seconds()
    rates = Rates(10, clock)

    assert rates.take("ann", 25).allowed
    assert rates.take("ann").retry_after == pytest.approx(1.6)
    clock.now += 2.4
    assert not rates.take("ann", 25).allowed
    clock.now += 0.1
    assert rates.take("ann", 25).allowed


@given(
    st.integers(1, 50),
    st.lists(st.tuples(st.floats(0, 0.5), st.sampled_from(["ann", "bob"])), min_size=1, max_size=200),
)
def test_in_no_stretch_of_time_does_more_conform_than_its_share_and_one_burst(
    quota: int, requests: list[tuple[float, str]]
) -> None:
    clock = Seconds(0.0)
    rates = Rates(quota, clock)
    conforming: dict[str, list[float]] = {"ann": [], "bob": []}

    for pause, key in requests:
        clock.now += pause
        answer = rates.take(key)
        assert answer.allowed == (answer.retry_after == 0)
        assert 0 <= answer.remaining < quota
        if answer.allowed:
            conforming[key].append(clock.now)

    for times in conforming.values():
        for first, begun in enumerate(times):
            for last in range(first, len(times)):
                assert last - first + 1 <= floor(quota * (times[last] - begun) + quota + 1e-3)


@given(st.integers(1, 50), st.integers(1, 60))
def test_who_keeps_to_the_rate_is_never_refused(quota: int, count: int) -> None:
    clock = Seconds()
    rates = Rates(quota, clock)

    for _ in range(count):
        assert rates.take("ann").allowed
        clock.now += 1 / quota


def test_where_the_table_is_full_who_was_not_heard_of_for_longest_is_forgotten() -> None:
    clock = Seconds()
    rates = Rates(1, clock, sets=1)
    for number in range(WAYS):
        assert rates.take(f"user {number}").allowed
        clock.now += 0.001

    assert rates.take("one more").allowed
    assert not any(rates.take(f"user {number}").allowed for number in range(1, WAYS))
    assert not rates.take("one more").allowed


def count_on_both_sides_of_a_fork() -> None:
    rates = Rates(4, Seconds())
    counted = [taken(rates, 1)]
    if os.fork() == 0:
        counted.append(taken(rates, 2))
        print(counted, flush=True)
        os._exit(0)
    os.wait()
    print([*counted, taken(rates, 2)])


def test_processes_that_were_forked_count_together() -> None:
    with start(count_on_both_sides_of_a_fork) as process:
        assert [hear(process), hear(process)] == ["[1, 2]", "[1, 1]"]


def test_the_headers_tell_the_quota_and_what_is_left_of_it_and_when_to_come_again() -> None:
    rates = Rates(2, Seconds())
    told = []
    for _ in range(3):
        resp = Response()
        set_headers(resp, rates.quota, rates.take("ann"))
        told.append([resp.get_header(name) for name in ("RateLimit-Policy", "RateLimit", "Retry-After")])
    rates.charge("ann", 10)
    resp = Response()
    set_headers(resp, rates.quota, rates.take("ann"))

    assert told == [
        ['"user";q=2;w=1', '"user";r=1;t=1', None],
        ['"user";q=2;w=1', '"user";r=0;t=1', None],
        ['"user";q=2;w=1', '"user";r=0;t=1', "1"],
    ]
    assert (resp.get_header("RateLimit"), resp.get_header("Retry-After")) == ('"user";r=0;t=6', "6")


@pytest.mark.parametrize(
    ("work", "cost"),
    [
        (Work(0.0001, 1, 500), 1), (Work(0.05), 100), (Work(0.002, 100), 10), (Work(0.002, 10, 81_920), 10),
        (Work(0.02, 100, 40_000), 40),
    ],
)  # fmt: skip
def test_a_request_costs_by_the_time_or_the_events_or_the_bytes_that_it_took_most_of(work: Work, cost: int) -> None:
    rates = Rates(1_000, Seconds())

    assert rates.take("ann").remaining == 999
    rates.charge_work("ann", work)

    assert rates.take("ann").remaining == 999 - cost


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def inside(tmp_path: Path, seconds: Seconds) -> Iterator[Inside]:
    """A service that takes three requests a second of one user."""
    with closing(Inside(tmp_path, Rates(3, seconds))) as inside:
        yield inside


def statuses(inside: Inside, path: str, token: str | None, count: int, address: str = "192.0.2.1") -> list[int]:
    return [inside("GET", path, token, address=address).status for _ in range(count)]


def test_a_users_requests_are_counted_whichever_token_they_come_with_and_no_other_users(
    inside: Inside, seconds: Seconds
) -> None:
    ann, bob = inside.person("ann"), inside.person("bob")
    other = inside("POST", "/v2/tokens", ann, {"name": "another", "scope": "read"}).json["token"]

    assert statuses(inside, "/v2/users/ann", ann, 2) == [200, 200]
    refused = inside("GET", "/v2/users/ann", other)
    assert (refused.status, refused.problem) == (429, "too-many-requests")
    assert refused.header("Retry-After") == "1"
    assert refused.header("RateLimit-Policy") == '"user";q=3;w=1'
    assert refused.header("RateLimit") == '"user";r=0;t=1'
    assert statuses(inside, "/v2/users/bob", bob, 4) == [200, 200, 200, 429]
    seconds.now += 1
    assert inside("GET", "/v2/users/ann", ann).header("RateLimit") == '"user";r=2;t=1'


def test_where_nobody_is_signed_in_the_address_is_counted_and_an_ipv6_one_by_its_network(inside: Inside) -> None:
    assert statuses(inside, "/v2/users", "esgt_bad", 4) == [401, 401, 401, 429]
    assert statuses(inside, "/openapi.json", None, 1) == [429]
    assert statuses(inside, "/openapi.json", None, 1, "192.0.2.2") == [200]
    places = [f"2001:db8:0:1::{number}" for number in range(4)]
    assert [statuses(inside, "/docs", None, 1, one)[0] for one in places] == [200, 200, 200, 429]


def test_what_watches_the_service_is_not_counted(inside: Inside) -> None:
    assert statuses(inside, "/healthz", None, 5) == [200] * 5
    assert statuses(inside, "/readyz", None, 5) == [200] * 5


def test_a_command_that_recorded_many_events_counts_as_one_for_each_ten(inside: Inside, seconds: Seconds) -> None:
    ann = inside.person("ann")
    commands = [{"type": "CreateGoal", "name": str(number)} for number in range(100)]
    seconds.now += 1

    assert inside("POST", "/v2/users/ann/commands", ann, {"commands": commands}).status == 200
    assert statuses(inside, "/v2/users/ann", ann, 1) == [429]
    seconds.now += 8 / 3
    assert statuses(inside, "/v2/users/ann", ann, 2) == [200, 429]


def test_a_read_that_takes_long_counts_by_its_time_and_so_does_a_batch_that_is_refused(
    tmp_path: Path, seconds: Seconds
) -> None:
    with closing(Inside(tmp_path, Rates(100_000, seconds))) as inside:
        ann = inside.person("ann")
        commands: list[Any] = [{"type": "CreateGoal", "name": "x" * 100} for _ in range(500)]

        def cost(ask: Callable[[], Answer]) -> int:
            seconds.now += 60
            ask()
            left = str(inside("GET", "/v2/users/ann", ann).header("RateLimit"))
            return 100_000 - int(left.partition("r=")[2].partition(";")[0])

        ordinary = cost(lambda: inside("GET", "/v2/users/ann", ann))
        cost(lambda: inside("POST", "/v2/users/ann/commands", ann, {"commands": commands}))
        wrong = [*commands, {"type": "DeleteGoal", "id": "00000000-0000-4000-8000-000000000000"}]
        refused = cost(lambda: inside("POST", "/v2/users/ann/commands", ann, {"commands": wrong}))
        then = cost(lambda: inside("GET", "/v2/users/ann/goals?as_of=400", ann))

    assert ordinary == 2
    assert refused > 100  # a millisecond of the writer is two hundred requests here
    assert then > 100


def test_all_workers_of_a_service_count_together(tmp_path: Path) -> None:
    many = {"commands": [{"type": "CreateGoal", "name": "one"}] * 1_000}
    with Served(tmp_path, accounts=True, env={"ES_GOALS_REQUESTS_LIMIT": "1"}) as served:
        headers = {"Authorization": f"Bearer {served.token}"}
        first, second = served.workers()
        with served.client_of(first) as client:  # worth 100 seconds
            assert client.post("/v2/users/admin/commands", json=many, headers=headers).status_code == 200
        with served.client_of(second) as client:
            answer = client.get("/v2/users/admin", headers=headers)

    assert answer.status_code == 429
    assert 60 < int(answer.headers["Retry-After"]) <= 100
