"""Undo: finds commands in the log, makes of the histories of their goals what undoes them, has that decided, and tells
of a refusal what is in the way. All of it is read outside the writer's lock: the past does not change."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import cast
from uuid import UUID

from msgspec import Struct

from es_goals.deciding import RejectedAt
from es_goals.events import GoalCreated, GoalEvent, GoalScheduled, Recorded, goals_stream
from es_goals.folded import PAGE, folded
from es_goals.goals.commands import Block, InTheWay, Limits, Outdated, Undo
from es_goals.goals.drafts import fields_of
from es_goals.goals.reversals import Life, is_spacing, reversed_by, rooms, touched, undos
from es_goals.goals.state import Goals, Trial
from es_goals.goals.undo import undone as decided
from es_goals.ids import UUID_FORM
from es_goals.service import Outcome, Pool
from es_goals.storage.deadlines import Deadline, current
from es_goals.storage.errors import Interrupted
from es_goals.storage.log import Log, all_lines, pages
from es_goals.values import InvalidValue

MOST = 100
"""Commands that are undone together."""
NAMED = 20
"""Of what is in the way, so much is told."""
ROUNDS = 20
"""Of looking for what else would have to be undone."""
SEARCHED = 100_000
"""Events in which a command is looked for by its id."""
EARLIER = (1_000_000, 300_000_000)
"""µs before an id's time from which on its command is looked for, at first and then: clocks of machines differ."""
LOOK_UP = 8
"""Events that are read one behind the other in the time in which one goal's are looked up."""

_WRITTEN: Mapping[str, tuple[str, ...]] = {"below": ("place",), "parent": ("living", "place")}
"""What writes these fields of a goal is to blame for what is in the way and is none of its fields."""


class CommandNotFound(Exception):
    """The user gave no such command on goals."""


class Chosen(Struct, frozen=True):
    """The commands that are to be undone: one by a position of its events, or some by their ids."""

    position: int | None = None
    commands: Sequence[str] = ()


class Blocker(Struct, frozen=True):
    """What is in the way, and the event to blame for it, if it is one."""

    block: Block
    by: Recorded | None


class Blocked(Exception):
    """An undo is refused. `blockers`: the first of `count`; `commands`: what could be undone instead, the latest first,
    if anything was found; `index`: which of several that were chosen cannot be undone."""

    def __init__(
        self, blockers: Sequence[Blocker], count: int, commands: Sequence[str] | None, index: int | None
    ) -> None:
        super().__init__(sentence(blockers[0]))
        self.blockers, self.count, self.commands, self.index = blockers, count, commands, index


def sentence(blocker: Blocker) -> str:
    """What was expected, what was found, and by which event."""
    by = "" if blocker.by is None else f", by position {blocker.by.position}"
    return f"expected {blocker.block.expected}; found {blocker.block.found}{by}"


async def undo(
    log: Log,
    pool: Pool,
    limits: Limits,
    user_id: str,
    chosen: Chosen,
    send: Callable[[Sequence[Undo]], Awaitable[Outcome]],
    deadline: Deadline,
    actor: str | None = None,
) -> tuple[Sequence[Undo], Outcome]:
    """Undo commands; `send` has it decided and recorded. Returns what was sent at last, and the outcome. Raises
    CommandNotFound, Blocked, what `send` raises, Interrupted."""
    while True:
        commands, undos = await pool.run(partial(_read, log, user_id, chosen), deadline, actor)
        try:
            return undos, await send(undos)
        except Outdated:
            continue  # somebody else was first, so it comes to an end; and the pool looks at the deadline
        except InTheWay as refusal:
            refused, blocked = undos[0], refusal.blocked
        except RejectedAt as refusal:
            if not isinstance(refusal.error, InTheWay):
                raise
            refused, blocked = undos[refusal.index], refusal.error.blocked
        index = chosen.commands.index(refused.command) if len(chosen.commands) > 1 else None
        half = Deadline.after(deadline.left() / 2)
        explained = partial(_explained, log, user_id, limits, commands, index, blocked, half)
        raise await pool.run(explained, deadline, actor)


def _read(log: Log, user_id: str, chosen: Chosen) -> tuple[list[list[Recorded]], list[Undo]]:
    """The commands' events, and what undoes them."""
    commands = _found(log, user_id, chosen)
    return commands, _prepared(log, user_id, commands)


def _prepared(log: Log, user_id: str, commands: Sequence[Sequence[Recorded]]) -> list[Undo]:
    """What undoes commands, given as their events."""
    latest = sorted(commands, key=lambda lines: lines[0].position, reverse=True)
    stream, first = goals_stream(user_id), latest[-1][0]
    goals = {goal_id for lines in latest for goal_id in touched(lines)}
    made = {line.subject for lines in latest for line in lines if line.type == "GoalCreated"}
    lives = _lives(log, stream, goals, first if goals <= made else None)
    spaced: list[Recorded] = []
    if any(lines[0].command in lives[goal_id].moved for lines in latest for goal_id in touched(lines)):
        read = partial(log.read, stream=stream, type="GoalMoved")
        moves = pages(read, attrgetter("position"), first.position - 1, PAGE)
        spaced = [line for page in moves for line in page if is_spacing(line)]
        lives |= _lives(log, stream, {line.subject or "" for line in spaced} - lives.keys())
    return list(undos(latest, lives, list(rooms(spaced, lives))))


def _lives(log: Log, stream: str, goals: set[str], made: Recorded | None = None) -> dict[str, Life]:
    """The histories of goals, by the fewer reads. `made`: the event from which on all of them were made."""
    behind = log.stream_head(stream).version - (made.version - 1 if made else 0)
    if len(goals) * LOOK_UP < behind:
        return {goal_id: Life(all_lines(log, subject=goal_id)) for goal_id in goals}
    found: dict[str, list[Recorded]] = {goal_id: [] for goal_id in goals}
    for line in all_lines(log, made.position - 1 if made else 0, PAGE, stream=stream):
        if line.subject in found:
            found[line.subject].append(line)
    return {goal_id: Life(lines) for goal_id, lines in found.items()}


def _found(log: Log, user_id: str, chosen: Chosen) -> list[list[Recorded]]:
    """The events of each command. Raises CommandNotFound, InvalidValue."""
    stream = goals_stream(user_id)
    if chosen.position is not None:
        return [_around(log, stream, chosen.position)]
    found: dict[str, list[Recorded]] = {}
    for command in sorted(set(chosen.commands)):
        if command not in found:
            found |= _named(log, stream, command)
    return [found[command] for command in set(chosen.commands)]


def _around(log: Log, stream: str, position: int) -> list[Recorded]:
    """The events of the command that one of them is of: all events of an append lie together."""
    head = log.head().position
    if position > head:
        raise InvalidValue("position", f"a position up to the head, {head}", str(position))
    size = 2
    while True:
        start = max(0, position - size)
        lines = log.read(start, position - start, until=position)
        last = lines[-1]
        if last.stream != stream:
            raise CommandNotFound(f"expected the position of a command on goals of this user; found {position}")
        if start == 0 or not _same(lines[0], last):
            break
        size *= 2
    behind = all_lines(log, position, max(100, size))
    return [*(line for line in lines if _same(line, last)), *_while_same(behind, last)]


def _while_same(lines: Iterable[Recorded], one: Recorded) -> Iterator[Recorded]:
    for line in lines:
        if not _same(line, one):
            return
        yield line


def _same(one: Recorded, other: Recorded) -> bool:
    return (one.stream, one.command) == (other.stream, other.command)


def _named(log: Log, stream: str, command: str) -> dict[str, list[Recorded]]:
    """The events of a command, which is of about the time that its id tells, and of those before it on the way. Raises
    CommandNotFound."""
    uuid = UUID(command) if UUID_FORM.fullmatch(command) else None
    if uuid is not None and uuid.version == 7:
        for earlier in EARLIER:
            found = _searched(log, stream, command, max(0, (uuid.int >> 80) * 1_000 - earlier))
            if command in found:
                return found
    raise CommandNotFound(f"expected the id of a command on goals of this user; found {command!r}")


def _searched(log: Log, stream: str, command: str, since: int) -> dict[str, list[Recorded]]:
    """The events of commands behind a time (µs), to the end of this one, if it is among the first."""
    found: dict[str, list[Recorded]] = {}
    for count, line in enumerate(all_lines(log, log.position_at(since), PAGE, stream=stream)):
        if line.command != command and (command in found or count >= SEARCHED):
            break
        found.setdefault(line.command, []).append(line)
    return found


def _explained(
    log: Log,
    user_id: str,
    limits: Limits,
    undone: Sequence[list[Recorded]],
    index: int | None,
    blocked: Sequence[Block],
    deadline: Deadline,
) -> Blocked:
    blockers = _blamed(log, goals_stream(user_id), blocked[:NAMED])
    try:
        commands = deadline.run(lambda: _widened(log, user_id, limits, undone, blockers))
    except Interrupted:
        current().check()
        commands = None
    return Blocked(blockers, len(blocked), commands, index)


def _blamed(log: Log, stream: str, blocked: Sequence[Block]) -> list[Blocker]:
    return [Blocker(block, _culprit(log, stream, block)) for block in blocked]


def _culprit(log: Log, stream: str, block: Block) -> Recorded | None:
    """The last event that made what is in the way what it is."""
    if len(block.subjects) > MOST:
        return _last(all_lines(log, 0, PAGE, stream=stream), block.field, set(block.subjects))
    lines = (_last(all_lines(log, subject=one), block.field, {one}) for one in block.subjects)
    return max((line for line in lines if line is not None), key=attrgetter("position"), default=None)


def _last(lines: Iterable[Recorded], field: str, subjects: set[str]) -> Recorded | None:
    found, value, fields = None, None, _WRITTEN.get(field, (field,))
    for line in lines:
        if line.subject not in subjects:
            continue
        event = cast(GoalEvent, line.event)
        if set(fields).isdisjoint(fields_of(event)):
            continue
        if isinstance(event, GoalCreated | GoalScheduled) and field in ("start", "due"):
            if found is not None and getattr(event, field) == value:
                continue
            value = getattr(event, field)
        found = line
    return found


def _widened(
    log: Log, user_id: str, limits: Limits, undone: Sequence[list[Recorded]], blockers: Sequence[Blocker]
) -> list[str] | None:
    """The commands, and those that are in the way, until all can be undone together."""
    stream = goals_stream(user_id)
    goals, found = folded(log, stream).goals, {lines[0].command: lines for lines in undone}
    for _ in range(ROUNDS):
        if not _widen(log, stream, found, blockers):
            return None
        undos = _prepared(log, user_id, list(found.values()))
        try:
            _try(goals, undos, limits)
        except Outdated:
            goals, blockers = folded(log, stream).goals, []
        except InTheWay as refusal:
            blockers = _blamed(log, stream, refusal.blocked[:NAMED])
        else:
            return [one.command for one in undos]
    return None


def _widen(log: Log, stream: str, found: dict[str, list[Recorded]], blockers: Sequence[Blocker]) -> bool:
    """Whether the commands that are in the way could be added to those that are found."""
    known = len(found)
    for one in blockers:
        if one.by is None:
            return False
        if one.by.command not in found:
            found[one.by.command] = _around(log, stream, one.by.position)
    return len(found) <= MOST and (len(found) > known or not blockers)


def _try(goals: Goals, undos: Sequence[Undo], limits: Limits) -> None:
    """Leave the goals as they are. Raises InTheWay, Outdated."""
    trial = Trial(goals)
    try:
        for one in undos:
            current().check()
            for event in decided(goals, one, limits):
                trial.evolve(event, 0)
    finally:
        trial.take_back()


def latest(log: Log, user_id: str) -> str | None:
    """The id of the user's latest command that undoes nothing and is not undone."""
    undoes: dict[str, set[str]] = {}
    for line in all_lines(log, 0, PAGE, stream=goals_stream(user_id)):
        done = undoes.setdefault(line.command, set())
        event = line.event
        if isinstance(event, GoalEvent) and event.undoes is not None:
            done.add(event.undoes)
    gone = reversed_by(undoes)
    return next((command for command in reversed(undoes) if not undoes[command] and command not in gone), None)
