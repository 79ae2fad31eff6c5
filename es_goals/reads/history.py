"""The log as history: filters, pages, and how an event is shown everywhere."""

import re
from datetime import datetime

import msgspec
from msgspec import Struct

from es_goals.events import EPOCH, Recorded, micros, moment
from es_goals.storage.log import Reader, user_events
from es_goals.values import InvalidValue, time_of

STREAM_PAGE = 1000


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


class EventPage(Struct, frozen=True):
    """Some of the events; `next` is where the rest is."""

    events: list[EventAnswer]
    next: str | None


class Filter(Struct, frozen=True):
    """What the log is asked for."""

    owner: str | None = None
    subject: str | None = None
    type: str | None = None
    until: int | None = None


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


def events(log: Reader, wanted: Filter, after: int, limit: int = STREAM_PAGE) -> list[Recorded]:
    """Those behind a position, in order."""
    return user_events(log, wanted.owner, after, limit, until=wanted.until, subject=wanted.subject, type=wanted.type)
