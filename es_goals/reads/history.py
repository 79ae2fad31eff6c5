"""The log as history: filters, pages, and how an event is shown everywhere."""

from datetime import datetime

import msgspec
from msgspec import Struct

from es_goals.events import Recorded, moment

_encode = msgspec.json.Encoder().encode


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
