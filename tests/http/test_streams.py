"""How many streams of events a user, and a worker, may have at once; each place comes back."""

import asyncio
import gc
from collections.abc import AsyncGenerator
from pathlib import Path
from time import monotonic

import pytest
from falcon.asgi import Response
from falcon.testing import create_scope

import projections
from es_goals.http.edge.middleware import Middleware
from es_goals.http.edge.streams import Stream, Streams
from es_goals.http.exchange import Request
from es_goals.http.log import audit as module
from es_goals.http.log.audit import Events
from es_goals.http.problems import Refusal
from es_goals.ids import wall_clock
from es_goals.settings import Settings
from es_goals.worker import Worker
from tests.support.histories import created, record
from tests.support.inside import application
from tests.support.people import issue, register


async def parts() -> AsyncGenerator[bytes, None]:
    """As many as are wanted."""
    while True:
        yield b"part"


def opened(streams: Streams, user: str | None = None) -> Stream:
    return streams.open(parts(), user)


def refusal(streams: Streams, user: str | None = None) -> str:
    with pytest.raises(Refusal, match=r"expected at most [0-9]+ .*; found one more") as refused:
        opened(streams, user)
    return refused.value.slug


def test_there_are_as_many_streams_as_the_limit_and_no_more() -> None:
    streams = Streams(3, 3)
    held = [opened(streams, user) for user in (None, "ann", "bob")]

    assert [refusal(streams, user) for user in (None, "ann", "cid")] == ["too-many-streams"] * 3
    assert len(held) == 3


def test_a_user_has_as_many_streams_as_the_users_limit_and_others_do_not_count() -> None:
    streams = Streams(10, 2)
    held = [opened(streams, user) for user in ("ann", None, None, None, "bob", "ann")]

    assert refusal(streams, "ann") == "too-many-own-streams"
    held += [opened(streams, "bob"), opened(streams)]
    assert refusal(streams, "bob") == "too-many-own-streams"


async def read_some(stream: Stream) -> list[bytes]:
    read = []
    async for part in stream:
        read.append(part)
        if len(read) == 3:
            break
    await stream.close()
    return read


def test_a_stream_that_is_closed_frees_its_place_once() -> None:
    streams = Streams(2, 2)
    stream, _other = opened(streams, "ann"), opened(streams)

    assert asyncio.run(read_some(stream)) == [b"part"] * 3
    asyncio.run(stream.close())
    del stream
    _again = opened(streams)
    assert refusal(streams) == "too-many-streams"


def test_a_stream_that_was_never_begun_frees_its_place_once_it_is_forgotten() -> None:
    streams = Streams(1, 1)

    held = opened(streams, "ann")
    assert refusal(streams, "ann") == "too-many-own-streams"
    del held
    gc.collect()
    assert opened(streams, "ann")


async def follow(worker: Worker, streams: Streams, token: str | None, query: str = "") -> Response:
    """A request for a stream; its answer holds that."""
    headers = {"Accept": "text/event-stream"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    scope = create_scope(host="localhost", headers=headers, query_string=query)
    req, resp = Request(scope, None), Response()  # type: ignore[arg-type]
    middleware, resource = Middleware(worker, None), Events(worker, streams)
    await middleware.process_request(req, resp)
    await middleware.process_resource(req, resp, resource, {})
    await resource.on_get(req, resp)
    return resp


@pytest.mark.parametrize("open_to_all", [False, True], ids=["with accounts", "open"])
def test_a_stream_counts_for_who_asks_for_it_where_somebody_is_signed_in(tmp_path: Path, open_to_all: bool) -> None:
    held, answers, streams = list[Response](), list[str](), Streams(4, 1)

    async def requests(worker: Worker, tokens: list[str | None]) -> None:
        for token in tokens:
            try:
                held.append(await follow(worker, streams, token))
                answers.append("open")
            except Refusal as refused:
                answers.append(refused.slug)

    with application(Settings(str(tmp_path / "events.db"), open=open_to_all)) as app:
        with app.worker.storage.log.writing() as transaction:
            ann, bob = (issue(transaction, register(transaction, name, "auditor"))[0] for name in ("ann", "bob"))
        asyncio.run(requests(app.worker, [None] * 5 if open_to_all else [ann, ann, bob, ann, bob]))

    own = "too-many-own-streams"
    assert answers == (["open"] * 4 + ["too-many-streams"] if open_to_all else ["open", own, "open", own, own])


def test_a_comment_keeps_a_quiet_stream_open_though_something_happens_that_is_not_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module.KEEP_ALIVE_SECONDS == 15
    monkeypatch.setattr(module, "KEEP_ALIVE_SECONDS", 1.0)

    async def listen(worker: Worker) -> tuple[list[bytes], float]:
        stream = (await follow(worker, Streams(1, 1), None, "type=GoalDeleted")).stream
        assert isinstance(stream, Stream)
        parts, begun = [await anext(stream)], monotonic()
        asyncio.get_running_loop().call_later(0.5, record, worker.storage.log, "ann", created("a"))
        parts.append(await anext(stream))
        return parts, monotonic() - begun

    async def serve() -> tuple[list[bytes], float]:
        worker = Worker(Settings(str(tmp_path / "events.db"), open=True), projections.ALL, wall_clock, lambda: None)
        await worker.start()
        try:
            return await listen(worker)
        finally:
            await worker.stop()

    parts, seconds = asyncio.run(serve())
    assert parts == [b": the log, live\n\n", b": still here\n\n"]
    assert 0.9 < seconds < 1.4
