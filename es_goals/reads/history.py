"""The log as history: filters, pages, and how an event is shown everywhere."""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import NamedTuple

import msgspec
from msgspec import Struct

from es_goals.events import EPOCH, GoalEvent, Recorded, UndecodableEvent, micros, moment
from es_goals.goals.commands import LimitReached
from es_goals.projector import ProjectionBehind
from es_goals.storage.deadlines import current
from es_goals.storage.log import Reader, in_chunks, line_size, user_events
from es_goals.values import InvalidValue, time_of
from projections.goal_tree import Row, fold

STREAM_PAGE = 1000
PAGE_BYTES = 2**20
"""Of events that are answered at once."""

MOST_BYTES = 128 * 2**20
"""Of an answer that repeats texts: a user's limits on goals and texts do not bound how often it repeats them."""


class EventAnswer(Struct, frozen=True):
    """One event. `user` and `actor` are ids, `data` is exactly what the log holds."""

    position: int
    user: str
    version: int
    type: str
    goal_id: str | None
    at: datetime
    actor: str | None
    command: str
    reason: str | None
    data: msgspec.Raw


class EventBrief(Struct, frozen=True, gc=False):
    """An event where it only explains something. `undoes`: the command whose effect it reverses."""

    position: int
    type: str
    at: datetime
    actor: str | None
    command: str
    reason: str | None
    undoes: str | None


class EventPage(Struct, frozen=True):
    """Some of the events; `next` is where the rest is."""

    events: list[EventAnswer]
    next: str | None


class Filter(Struct, frozen=True):
    """What the log is asked for. `subtree`: all that was about the goals below the subject too; `latest`: from the last
    one back."""

    owner: str | None = None
    subject: str | None = None
    type: str | None = None
    until: int | None = None
    subtree: bool = False
    latest: bool = False


def event_answer(line: Recorded) -> EventAnswer:
    """An event as it is answered everywhere."""
    place = (line.position, line.owner, line.version, line.type, line.subject)
    return EventAnswer(*place, moment(line.at), line.actor, line.command, line.reason, msgspec.Raw(line.data))


LARGEST = 2**63 - 1
_NUMBER = re.compile(r"\d{1,19}", re.ASCII)


def point_of(text: str, field: str) -> int | datetime:
    """The log position that a text is, or the time. Raises InvalidValue."""
    if _NUMBER.fullmatch(text) and int(text) <= LARGEST:
        return int(text)
    try:
        time = time_of(text, field)
    except InvalidValue:
        expected = "a log position, or an RFC 3339 time with an offset such as 2026-11-23T08:00:00Z"
        raise InvalidValue(field, expected, repr(text[:100])) from None
    return max(time, EPOCH)


def brief(line: Recorded) -> EventBrief:
    """An event as it explains something."""
    undoes = undone_by(line)
    return EventBrief(line.position, line.type, moment(line.at), line.actor, line.command, line.reason, undoes)


def undone_by(line: Recorded) -> str | None:
    """The command whose effect the event reverses. Decodes only what may name one."""
    return line.event.undoes if b'"undoes"' in line.data and isinstance(line.event, GoalEvent) else None


def folded(goal: Row | None, line: Recorded) -> Row:
    """The goal after the event. Raises ProjectionBehind where the read model's fold does not take it."""
    try:
        return fold(goal, line)
    except (UndecodableEvent, ValueError, TypeError) as error:
        raise ProjectionBehind(f"expected every event to fold; found: {error}") from error


class BeyondHead(Exception):
    """A position that the log has not reached."""

    def __init__(self, position: int, head: int) -> None:
        super().__init__(f"expected a position up to the head, {head}; found {position}")


def settle(log: Reader, point: int | datetime) -> tuple[int, bool]:
    """The position that a position or a time names, and whether what was then is settled. Raises BeyondHead."""
    head = log.head()
    if isinstance(point, datetime):
        at = micros(point)
        return log.position_at(at), at < head.at
    if point > head.position:
        raise BeyondHead(point, head.position)
    return point, True


class Span(Struct, frozen=True):
    """From one position to another. `settled`: what was at both will never be otherwise."""

    first: int
    last: int
    settled: bool


class NoSpan(Exception):
    """Two points that have nothing between them; `field`, from or to, is at fault."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field


def span(log: Reader, now: int, first: int | datetime, last: int | datetime | None) -> Span:
    """What lies between two positions or times; without `last` up to now (µs), which a later time means too. Raises
    NoSpan."""
    begin, begin_settled = _settled(log, first, "from")
    end, end_settled = (log.head().position, False) if last is None else _settled(log, last, "to")
    if isinstance(first, datetime):
        now = max(now, log.head().at)  # a clock may have been set back
        latest = min(now, micros(last)) if isinstance(last, datetime) else now
        if micros(first) > latest:
            raise NoSpan("from", f"expected a time not later than to, {moment(latest)}; found {first}")
    if begin > end:
        raise NoSpan("from", f"expected what is not later than to, position {end}; found position {begin}")
    return Span(begin, end, begin_settled and end_settled)


def _settled(log: Reader, point: int | datetime, field: str) -> tuple[int, bool]:
    try:
        return settle(log, point)
    except BeyondHead as error:
        raise NoSpan(field, str(error)) from None


class Page(NamedTuple):
    """Events in order, and whether there are more behind them."""

    lines: list[Recorded]
    more: bool


def events(log: Reader, wanted: Filter, after: int, limit: int = STREAM_PAGE) -> Page:
    """Those behind a position, in order: so many, or PAGE_BYTES of them, but one at least."""
    read = partial(user_events, log, wanted.owner, subject=wanted.subject, type=wanted.type, latest=wanted.latest)
    if not wanted.latest:
        return first_of(in_chunks(partial(read, until=wanted.until), attrgetter("position"), after, limit + 1), limit)

    def before(position: int, count: int) -> list[Recorded]:
        return read(after, count, until=position - 1)

    last = LARGEST if wanted.until is None else wanted.until + 1
    return first_of(in_chunks(before, attrgetter("position"), last, limit + 1), limit)


def first_of(lines: Iterable[Recorded], limit: int) -> Page:
    """The first events, so many or PAGE_BYTES of them, but one at least."""
    found, size = list[Recorded](), 0
    for line in lines:
        size += line_size(line)
        if found and (len(found) == limit or size > PAGE_BYTES):
            return Page(found, True)
        found.append(line)
    return Page(found, False)


def bounded(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The parts of an answer, made before the deadline, and not too many bytes. Raises LimitReached, Interrupted."""
    deadline, size = current(), 0
    for part in parts:
        deadline.check()
        size += len(part)
        if size > MOST_BYTES:
            raise LimitReached(f"{MOST_BYTES} bytes of an answer; name a goal, or a shorter span", size)
        yield part
