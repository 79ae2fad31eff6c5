"""The log as history: filters, pages, and how an event is shown everywhere."""

from datetime import datetime

import msgspec
from msgspec import Struct

from es_goals.events import Recorded, micros, moment
from es_goals.storage.log import Reader, user_events

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
