"""The audit: the log as pages, as a stream of lines, and live."""

from collections.abc import AsyncGenerator
from datetime import datetime
from time import monotonic
from typing import Annotated
from urllib.parse import quote, urlencode

import msgspec
import structlog
from falcon.asgi import Response
from msgspec import Meta, structs

from es_goals.events import TYPES, Recorded, micros
from es_goals.http import answers, requests
from es_goals.http.describe.operation import operation
from es_goals.http.edge.access import expect_sees_all
from es_goals.http.edge.streams import Streams
from es_goals.http.exchange import Request
from es_goals.http.problems import Refusal
from es_goals.http.resource import Resource
from es_goals.ids import uuid_of
from es_goals.projector import ProjectionBehind
from es_goals.reads.history import STREAM_PAGE, EventPage, Filter, event_answer
from es_goals.storage.deadlines import Deadline
from es_goals.storage.errors import StorageError
from es_goals.storage.log import User
from es_goals.worker import Worker

NDJSON = "application/x-ndjson"
EVENT_STREAM = "text/event-stream"
KEEP_ALIVE_SECONDS = 15.0
CROWDED = ("too-many-streams", "too-many-own-streams", "took-too-long")
_encode = msgspec.json.Encoder().encode

logger = structlog.get_logger()


class OwnEventsQuery(requests.PageQuery, frozen=True, forbid_unknown_fields=True):
    """Which events of a user or a goal."""

    type: Annotated[str, Meta(description="an event's type")] | None = None
    until: Annotated[str, Meta(description="an RFC 3339 time or a log position")] | None = None


class HistoryQuery(OwnEventsQuery, frozen=True, forbid_unknown_fields=True):
    """Which events of a goal."""

    subtree: Annotated[
        bool, Meta(description="those too of goals that were below it just before or just behind the event; no streams")
    ] = False


class EventsQuery(OwnEventsQuery, frozen=True, forbid_unknown_fields=True):
    """Which events."""

    user: Annotated[str, Meta(description="a user's name or id")] | None = None
    goal: Annotated[str, Meta(description="a goal's id")] | None = None


class Feed(Resource):
    """A resource that shows events, as the client prefers it; `streams`: how many may be open at once."""

    def __init__(self, worker: Worker, streams: Streams) -> None:
        super().__init__(worker)
        self._streams = streams

    async def answer(self, req: Request, resp: Response, query: OwnEventsQuery, wanted: Filter) -> None:
        """A page, a stream of lines, or a live one."""
        wanted = structs.replace(wanted, type=_known(query.type), until=await self._until(req, query.until))
        after, user = query.after, req.asker.user
        wanted = await self._ordered(req, query, wanted)
        resp.set_header("Vary", "Accept")
        resp.set_header("Log", self.reads.log.id)
        match requests.preferred(req, ("application/json", NDJSON, EVENT_STREAM)):
            case "application/x-ndjson":
                _expect_whole(req, wanted)
                head = await self.reads.head(req.deadline)
                resp.stream = self._streams.open(self._lines(req, wanted, after, head), user)
                resp.content_type = NDJSON
            case "text/event-stream":
                _expect_whole(req, wanted)
                if (seen := _last_seen(req, self.reads.log.id)) is not None:
                    await self.expect_reached(req, after := seen, "Last-Event-ID")
                resp.stream = self._streams.open(self._follow(req, wanted, after), user)
                resp.content_type = EVENT_STREAM
                resp.set_header("X-Accel-Buffering", "no")  # proxies are to hand on each event at once
            case _:
                await self._page(
                    req, resp, wanted, after, requests.page_size(req, query.limit, self.settings.page_limit)
                )

    async def _until(self, req: Request, text: str | None) -> int | None:
        if text is None:
            return None
        point = requests.moment_or_position(text, "until")
        if isinstance(point, datetime):
            at = micros(point)
            return await self.reads.in_thread(lambda: self.reads.log.position_at(at), req.asker)
        await self.expect_reached(req, point, "until")
        return point

    async def _ordered(self, req: Request, query: OwnEventsQuery, wanted: Filter) -> Filter:
        """Raises Refusal."""
        before = await self.span(req, query)
        ends = [end for end in (wanted.until, None if before is None else before - 1) if end is not None]
        return structs.replace(wanted, latest=query.order == "desc", until=min(ends, default=None))

    async def _page(self, req: Request, resp: Response, wanted: Filter, after: int, limit: int) -> None:
        head = await self.reads.head(req.deadline)
        lines, behind = await self.reads.events(wanted, after, head, limit, req.asker)
        more = None
        if behind:
            cursor = "before" if wanted.latest else "after"
            rest = {**requests.parameters(req), cursor: str(lines[-1].position)}
            more = f"{quote(req.path)}?{urlencode(rest)}"
        answers.next_page(resp, more)
        answers.json(resp, EventPage([event_answer(line) for line in lines], more))

    async def _still_in(self, req: Request) -> bool:
        """Whether who began to read may go on, with all of the deadline before them: a token may end before what is
        read with it."""
        req.deadline = Deadline.after(self.settings.deadline)
        if req.caller is None:
            return True
        return await self.reads.still_authenticated(req.secret or "", req.deadline)

    async def _lines(self, req: Request, wanted: Filter, after: int, head: int) -> AsyncGenerator[bytes, None]:
        while await self._still_in(req):
            lines, _ = await self.reads.events(wanted, after, head, STREAM_PAGE, req.asker)
            if not lines:
                return
            yield b"".join(map(_as_line, lines))
            after = lines[-1].position

    async def _follow(self, req: Request, wanted: Filter, after: int) -> AsyncGenerator[bytes, None]:
        """Every event behind `after`, once, in order; polling promises it, being woken only makes it sooner."""
        follower = self.worker.follower
        yield b": the log, live\n\n"
        comment_at = monotonic() + KEEP_ALIVE_SECONDS
        log_id = self.reads.log.id
        while not follower.stopped:
            mark = follower.mark()
            if not await self._still_in(req):
                return
            head, lines = await self._news(req, wanted, after)
            if lines:
                yield b"".join(_as_event(line, log_id) for line in lines)
                after, comment_at = lines[-1].position, monotonic() + KEEP_ALIVE_SECONDS
                continue
            # Nothing up to the head was wanted: it need not be looked through again.
            after = max(after, head)
            if wanted.until is not None and after >= wanted.until:
                return
            await follower.wait(mark, comment_at - monotonic())
            if monotonic() >= comment_at - 0.01:  # the loop's clock may wake it a moment early
                yield b": still here\n\n"
                comment_at = monotonic() + KEEP_ALIVE_SECONDS

    async def _news(self, req: Request, wanted: Filter, after: int) -> tuple[int, list[Recorded]]:
        """Where the log ends, and what is wanted of it; nothing while the storage fails: the stream goes on then."""
        try:
            head = await self.reads.head(req.deadline)
            if head <= after:
                return head, []
            return head, (await self.reads.events(wanted, after, head, STREAM_PAGE, req.asker)).lines
        except (StorageError, ProjectionBehind) as error:
            logger.warning("not_followed", detail=str(error))
            return after, []


class Events(Feed):
    """/v2/events"""

    @operation("The log, in order", {200: EventPage}, query=EventsQuery,
               problems=("user-not-found", "goal-not-found", *CROWDED),
               produces=("application/json", NDJSON, EVENT_STREAM))  # fmt: skip
    async def on_get(self, req: Request, resp: Response) -> None:
        """A page; with Accept: application/x-ndjson all of it, with text/event-stream all of it and what comes."""
        query = requests.query(req, EventsQuery)
        if query.user is None and query.goal is None:
            expect_sees_all(req.caller)
        owner = None if query.user is None else (await self.user_named(req, query.user)).id
        goal = None if query.goal is None else await self.goal_named(req, query.goal)
        await self.answer(req, resp, query, Filter(owner, goal))


class UserEvents(Feed):
    """/v2/users/{user}/events"""

    @operation("A user's history", {200: EventPage}, query=OwnEventsQuery, problems=("user-not-found", *CROWDED),
               produces=("application/json", NDJSON, EVENT_STREAM))  # fmt: skip
    async def on_get(self, req: Request, resp: Response, user: User) -> None:
        """As /v2/events."""
        await self.answer(req, resp, requests.query(req, OwnEventsQuery), Filter(user.id))


class GoalHistory(Feed):
    """/v2/goals/{goal_id}/history"""

    @operation("A goal's history", {200: EventPage}, query=HistoryQuery,
               problems=("goal-not-found", "projection-behind", *CROWDED),
               produces=("application/json", NDJSON, EVENT_STREAM))  # fmt: skip
    async def on_get(self, req: Request, resp: Response, goal_id: str) -> None:
        """A deleted goal's too; with `subtree` also that of what was below it."""
        query = requests.query(req, HistoryQuery)
        owner = req.owner.id if query.subtree else None
        await self.answer(req, resp, query, Filter(owner, goal_id, subtree=query.subtree))


def _as_line(line: Recorded) -> bytes:
    return _encode(event_answer(line)) + b"\n"


def _as_event(line: Recorded, log_id: str) -> bytes:
    return b"id: %d@%b\ndata: %b\n\n" % (line.position, log_id.encode(), _encode(event_answer(line)))


def _known(type: str | None) -> str | None:
    if type is not None and type not in TYPES:
        detail = f"expected one of {', '.join(TYPES)}; found {type[:100]!r}"
        raise Refusal("invalid-value", detail, parameter="type")
    return type


def _expect_whole(req: Request, wanted: Filter) -> None:
    """Raises Refusal: a stream has all that there is, in order."""
    if "limit" in requests.parameters(req):
        detail = "expected no limit with a stream of lines or events, which has all of them; found one"
        raise Refusal("invalid-value", detail, parameter="limit")
    for parameter, given in {"order": wanted.latest, "subtree": wanted.subtree}.items():
        if given:
            detail = f"expected `{parameter}` with a page; found it with a stream of lines or events"
            raise Refusal("invalid-value", detail, parameter=parameter)


def _last_seen(req: Request, log_id: str) -> int | None:
    """The position in `Last-Event-ID`, if there is one: as every `id:` has it, with the log's own id, or bare. Raises
    Refusal."""
    header = req.headers.get("last-event-id")
    if header is None:
        return None
    number, named, of_log = header.strip().partition("@")
    if named and uuid_of(of_log) != log_id:
        detail = f"expected a position of the log {log_id}; found one of {of_log[:100]!r}"
        raise Refusal("invalid-value", detail, parameter="Last-Event-ID")
    try:
        position: int = msgspec.convert(number, requests.Position, strict=False)
    except msgspec.ValidationError:
        detail = f"expected a log position; found {header[:100]!r}"
        raise Refusal("invalid-value", detail, parameter="Last-Event-ID") from None
    return position
