"""How many streams of events a user, and a worker, may have at once; each place comes back."""

import asyncio
import gc
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from falcon.asgi import Response
from falcon.testing import create_scope

from es_goals.http.audit import Events
from es_goals.http.edge.middleware import Middleware
from es_goals.http.edge.streams import Stream, Streams
from es_goals.http.exchange import Request
from es_goals.http.problems import Refusal
from es_goals.settings import Settings
from es_goals.worker import Worker
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


async def follow(worker: Worker, streams: Streams, token: str | None) -> Response:
    """A request for a stream; its answer holds that."""
    headers = {"Accept": "text/event-stream"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    req, resp = Request(create_scope(host="localhost", headers=headers), None), Response()  # type: ignore[arg-type]
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
