"""One look at the log's end, at sessions and at the generation that serves, on every engine."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from es_goals.ids import wall_clock
from es_goals.storage import Options, Storage
from es_goals.storage import glance as module
from es_goals.storage.glance import Glance
from es_goals.storage.sessions import Session
from tests.support import postgres
from tests.support.engines import DEADLINE, NOW, Engine, open_storage
from tests.support.histories import Model, created, many, record

MODEL = Model()
ANN = Session("hash of ann", "ann", "203.0.113.7", 0, NOW, NOW + 1)
BOB = Session("hash of 'bob'", "bob", "2001:db8::7", 5, NOW + 2, NOW + 3)


@pytest.fixture
def storage(engine: Engine) -> Storage:
    return engine.open()


def test_a_glance_has_what_is_behind_a_position_and_first_what_is_there(storage: Storage) -> None:
    record(storage.log, "ann", *many(5))
    everything = storage.log.read()

    for position in range(7):
        assert list(storage.glance(position, (), MODEL).lines) == everything[max(0, position - 1) :]


def test_a_glance_has_so_many_events_and_no_more(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEHIND", 3)
    record(storage.log, "ann", *many(9))

    assert [line.position for line in storage.glance(0, (), MODEL).lines] == [1, 2, 3]
    assert [line.position for line in storage.glance(4, (), MODEL).lines] == [4, 5, 6, 7]


def test_a_glance_has_the_sessions_that_it_is_asked_for(storage: Storage) -> None:
    for session in (ANN, BOB):
        storage.sessions.begin(session)

    assert storage.glance(0, (), MODEL).sessions == {}
    assert storage.glance(0, [ANN.hash, "unknown"], MODEL).sessions == {ANN.hash: ANN}
    assert storage.glance(0, [ANN.hash, BOB.hash], MODEL).sessions == {ANN.hash: ANN, BOB.hash: BOB}
    storage.sessions.end(ANN.hash)
    assert storage.glance(0, [ANN.hash, BOB.hash], MODEL).sessions == {BOB.hash: BOB}


def test_a_glance_at_an_empty_storage_has_a_generation(storage: Storage) -> None:
    glance = storage.glance(0, ["unknown"], MODEL)

    assert glance == Glance([], {}, storage.views.live(MODEL))


def test_a_glance_has_the_generation_that_serves(storage: Storage) -> None:
    first = storage.views.live(MODEL)
    building = storage.views.building(MODEL, make=True)
    assert building is not None
    storage.views.live(Model(revision=2))
    assert storage.glance(0, (), MODEL).generation == first
    storage.views.mark_failed(first, 0, 'an "odd" error')
    assert storage.glance(0, (), MODEL).generation.error == 'an "odd" error'

    storage.views.flip(MODEL, building)

    assert storage.glance(0, (), MODEL).generation == storage.views.live(MODEL)
    assert storage.glance(0, (), MODEL).generation.id == building.id


def test_who_looks_at_another_log_than_before_can_tell(engine: Engine, storage: Storage) -> None:
    seen = record(storage.log, "ann", created("a"), created("b"))[-1]
    glance = engine.open().glance(seen.position, (), MODEL)
    assert [line.command for line in glance.lines] == [seen.command]

    assert list(storage.glance(seen.position + 2, (), MODEL).lines) == []


@pytest.fixture(params=postgres.VERSIONS)
def proxy(request: pytest.FixtureRequest) -> Iterator[tuple[str, postgres.Proxy]]:
    """The URL of a database through a proxy, and that."""
    with postgres.fresh(request.param) as url, closing(postgres.Proxy(postgres.shared(request.param).port)) as proxy:
        yield url.replace(f":{postgres.shared(request.param).port}/", f":{proxy.port}/"), proxy


def test_a_glance_takes_one_round_trip_to_postgresql(proxy: tuple[str, postgres.Proxy]) -> None:
    url, through = proxy
    with closing(open_storage(url, wall_clock, Options(deadline=DEADLINE, connections=1))) as storage:
        record(storage.log, "ann", *many(5))
        for session in (ANN, BOB):
            storage.sessions.begin(session)
        for _ in range(10):  # a statement that comes again and again is prepared, which takes one more, once
            storage.glance(2, [ANN.hash, BOB.hash], MODEL)
        before = through.round_trips

        glance = storage.glance(2, [ANN.hash, BOB.hash], MODEL)

        assert through.round_trips == before + 1
        assert (len(glance.lines), len(glance.sessions)) == (4, 2)
        storage.sessions.session(ANN.hash)
        storage.log.head()
        assert through.round_trips == before + 3
