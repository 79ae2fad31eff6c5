"""How much happened when: a user's events on a line of time, in equal spans."""

from datetime import datetime

from msgspec import Struct

from es_goals.events import Recorded, goals_stream, micros, moment
from es_goals.projector import PAGE
from es_goals.reads.history import NoSpan, Span, span
from es_goals.storage.log import Reader, all_lines


class Bucket(Struct, frozen=True, rename={"begin": "from", "end": "to"}):
    """A span of time, without its end unless it is the last one: how many events and commands there were, and the
    position of the user's last event in it or before it (0: there was none)."""

    begin: datetime
    end: datetime
    events: int
    commands: int
    position: int


class Timeline(Struct, frozen=True):
    """Positions of the `first` and `last` event on it, null where there is none, and equal spans of time."""

    first: int | None
    last: int | None
    buckets: list[Bucket]


Point = int | datetime


def timeline(log: Reader, owner: str, now: int, count: int, first: Point | None, last: Point | None) -> Timeline:
    """A user's events on goals between two positions or times, in so many buckets; without those between the user's
    first and last one. Raises NoSpan."""
    whole = span(log, now, 0 if first is None else first, last)
    begin, end = _at(log, owner, whole, first, latest=False), _at(log, owner, whole, last, latest=True)
    if begin is None or end is None:
        return Timeline(None, None, [])
    if begin > end:
        raise NoSpan("from", f"expected a time not later than to, {moment(end)}; found {moment(begin)}")
    return _filled(log, owner, begin, end, count)


def _at(log: Reader, owner: str, whole: Span, point: Point | None, *, latest: bool) -> int | None:
    """The time (µs) of a point; of the user's first or last event where there is none."""
    if isinstance(point, datetime):
        return micros(point)
    if point:
        return log.read(point - 1, 1)[0].at
    lines = log.read(0, 1, until=whole.last, stream=goals_stream(owner), latest=latest)
    return lines[0].at if lines else None


def _filled(log: Reader, owner: str, begin: int, end: int, count: int) -> Timeline:
    stream, length = goals_stream(owner), end - begin + 1
    before = log.position_at(begin - 1)
    earlier = log.read(0, 1, until=before, stream=stream, latest=True)
    events, commands, positions = [0] * count, [0] * count, [0] * count
    first: Recorded | None = None
    line: Recorded | None = None
    command = ""
    for line in all_lines(log, before, PAGE, stream=stream, until=log.position_at(end)):
        place = (line.at - begin) * count // length
        events[place] += 1
        commands[place] += line.command != command
        positions[place] = line.position
        first, command = first or line, line.command
    buckets, position = list[Bucket](), earlier[0].position if earlier else 0
    for place in range(count):
        position = positions[place] or position
        edges = (begin - -length * at // count for at in (place, place + 1))
        begins, ends = (moment(min(edge, end)) for edge in edges)
        buckets.append(Bucket(begins, ends, events[place], commands[place], position))
    return Timeline(first.position if first else None, line.position if line else None, buckets)
