"""The audit: the log as pages, as a stream of lines, and live."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Annotated
from urllib.parse import quote, urlencode

import msgspec
import structlog
from falcon.asgi import Request, Response
from msgspec import Meta, Struct, structs

from es_goals.events import TYPES, Recorded, micros
from es_goals.http import requests
from es_goals.http.context import JSON, Context, Resource
from es_goals.http.describe.operation import operation
from es_goals.http.edge.access import expect_sees_all, secret_of
from es_goals.http.problems import Refusal
from es_goals.projector import ProjectionBehind
from es_goals.reads.history import EventPage, Filter, event_answer
from es_goals.reads.replica import Source, has_position
from es_goals.storage.errors import StorageError
from es_goals.storage.log import user_events

NDJSON = "application/x-ndjson"
EVENT_STREAM = "text/event-stream"
STREAM_PAGE = 1000
KEEP_ALIVE_SECONDS = 15.0
_CROWDED = ("too-many-streams", "too-many-own-streams", "took-too-long")
_encode = msgspec.json.Encoder().encode

Still = Callable[[], Awaitable[bool]]
log = structlog.get_logger()


class OwnEventsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which events of a user or a goal."""

    after: requests.Position = 0
    limit: requests.Limit = requests.PAGE
    type: Annotated[str, Meta(description="an event's type")] | None = None
    until: Annotated[str, Meta(description="an RFC 3339 time or a log position")] | None = None


class EventsQuery(OwnEventsQuery, frozen=True, forbid_unknown_fields=True):
    """Which events."""

    user: Annotated[str, Meta(description="a user's name or id")] | None = None
    goal: Annotated[str, Meta(description="a goal's id")] | None = None


class Events(Resource):
    """/v2/events"""

    @operation("The log, in order", {200: EventPage}, query=EventsQuery,
               problems=("user-not-found", "goal-not-found", *_CROWDED),
               produces=("application/json", NDJSON, EVENT_STREAM))  # fmt: skip
    async def on_get(self, req: Request, resp: Response) -> None:
        """A page; with Accept: application/x-ndjson all of it, with text/event-stream all of it and what comes."""
        query = requests.query(req, EventsQuery)
        if query.user is None and query.goal is None:
            expect_sees_all(req.context.caller)
        user = None if query.user is None else await self._context.user(req, query.user)
        goal = None if query.goal is None else (await self._context.owner(req, query.goal))[1]
        wanted = Filter(None if user is None else user.id, goal)
        await answer(self._context, req, resp, query, wanted)


class UserEvents(Resource):
    """/v2/users/{user}/events"""

    @operation("A user's history", {200: EventPage}, query=OwnEventsQuery, problems=("user-not-found", *_CROWDED),
               produces=("application/json", NDJSON, EVENT_STREAM))  # fmt: skip
    async def on_get(self, req: Request, resp: Response, user: str) -> None:
        """As /v2/events."""
        owner = await self._context.user(req, user)
        query = requests.query(req, OwnEventsQuery)
        await answer(self._context, req, resp, query, Filter(owner.id))


class GoalHistory(Resource):
    """/v2/goals/{goal_id}/history"""

    @operation("A goal's history", {200: EventPage}, query=OwnEventsQuery, problems=("goal-not-found", *_CROWDED),
               produces=("application/json", NDJSON, EVENT_STREAM))  # fmt: skip
    async def on_get(self, req: Request, resp: Response, goal_id: str) -> None:
        """A deleted goal's too."""
        _, known = await self._context.owner(req, goal_id)
        query = requests.query(req, OwnEventsQuery)
        await answer(self._context, req, resp, query, Filter(subject=known))


async def answer(context: Context, req: Request, resp: Response, query: OwnEventsQuery, wanted: Filter) -> None:
    """As the client prefers it."""
    wanted = structs.replace(wanted, type=_known(query.type), until=await _until(context, query.until))
    after, still = query.after, partial(_still_in, context, req)
    resp.set_header("Vary", "Accept, Authorization, Access-Token")
    resp.set_header("Cache-Control", "private, no-cache")
    match req.client_prefers(["application/json", NDJSON, EVENT_STREAM]):
        case "application/x-ndjson":
            head = await context.ask(context.recent.head)
            resp.stream = context.streams.open(_lines(context, still, wanted, after, head))
            resp.content_type = NDJSON
        case "text/event-stream":
            resp.stream = context.streams.open(_follow(context, still, wanted, _last_seen(req, after)))
            resp.content_type = EVENT_STREAM
            resp.set_header("X-Accel-Buffering", "no")  # proxies are to hand on each event at once
        case _:
            limit = requests.page_size(req, query.limit, context.settings.page_limit)
            await _page(context, req, resp, wanted, after, limit)


async def _page(context: Context, req: Request, resp: Response, wanted: Filter, after: int, limit: int) -> None:
    head = await context.ask(context.recent.head)
    lines = await context.in_thread(lambda: _read(context, wanted, after, head, limit + 1))
    more = None
    if len(lines) > limit:
        lines = lines[:limit]
        rest = {**requests.parameters(req), "after": str(lines[-1].position)}
        more = f"{quote(req.path)}?{urlencode(rest)}"
        resp.set_header("Link", f'<{more}>; rel="next"')
    resp.content_type = JSON
    resp.data = _encode(EventPage([event_answer(line) for line in lines], more))


async def _still_in(context: Context, req: Request) -> bool:
    """Whether who began to read may go on: a token may end before what is read with it."""
    if req.context.caller is None:
        return True
    return await context.admitted(secret_of(req) or "") is not None


async def _lines(context: Context, still: Still, wanted: Filter, after: int, head: int) -> AsyncGenerator[bytes, None]:
    while await still() and (lines := await context.in_thread(partial(_read, context, wanted, after, head))):
        yield b"".join(_encode(event_answer(line)) + b"\n" for line in lines)
        after = lines[-1].position
        context.begin()


async def _follow(context: Context, still: Still, wanted: Filter, after: int) -> AsyncGenerator[bytes, None]:
    """Every event behind `after`, once, in order; polling promises it, being woken only makes it sooner."""
    yield b": the log, live\n\n"
    comment_at = monotonic() + KEEP_ALIVE_SECONDS
    while not context.tail.stopped:
        context.begin()
        mark = context.tail.mark()
        if not await still():
            return
        head, lines = await _news(context, wanted, after)
        if lines:
            yield b"".join(b"id: %d\ndata: %b\n\n" % (line.position, _encode(event_answer(line))) for line in lines)
            after, comment_at = lines[-1].position, monotonic() + KEEP_ALIVE_SECONDS
            continue
        # Nothing up to the head was wanted: it need not be looked through again.
        after = max(after, head)
        if wanted.until is not None and after >= wanted.until:
            return
        await context.tail.wait(mark, comment_at - monotonic())
        if monotonic() >= comment_at - 0.01:  # the loop's clock may wake it a moment early
            yield b": still here\n\n"
            comment_at = monotonic() + KEEP_ALIVE_SECONDS


async def _news(context: Context, wanted: Filter, after: int) -> tuple[int, list[Recorded]]:
    """Where the log ends, and what is wanted of it; nothing while the storage fails, since the stream goes on then."""
    try:
        head = await context.ask(context.recent.head)
        return head, await context.in_thread(partial(_read, context, wanted, after, head)) if head > after else []
    except (StorageError, ProjectionBehind) as error:
        log.warning("not_followed", detail=str(error))
        return after, []


def _read(context: Context, wanted: Filter, after: int, head: int, limit: int = STREAM_PAGE) -> list[Recorded]:
    """From a log that has all up to `head` at least."""

    def events(reading: Source) -> list[Recorded]:
        source, owner = reading.storage.log, wanted.owner
        return user_events(source, owner, after, limit, until=wanted.until, subject=wanted.subject, type=wanted.type)

    return context.read(has_position(head), events)


def _known(type: str | None) -> str | None:
    if type is not None and type not in TYPES:
        detail = f"expected one of {', '.join(TYPES)}; found {type[:100]!r}"
        raise Refusal("invalid-value", detail, parameter="type")
    return type


async def _until(context: Context, text: str | None) -> int | None:
    if text is None:
        return None
    point = requests.moment_or_position(text, "until")
    if isinstance(point, datetime):
        at = micros(point)
        return await context.quickly(lambda: context.log.position_at(at))
    return point


def _last_seen(req: Request, after: int) -> int:
    header = req.headers.get("last-event-id")
    if header is None:
        return after
    try:
        position: int = msgspec.convert(header.strip(), requests.Position, strict=False)
    except msgspec.ValidationError:
        detail = f"expected a log position; found {header[:100]!r}"
        raise Refusal("invalid-value", detail, parameter="Last-Event-ID") from None
    return position
