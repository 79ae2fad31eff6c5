"""What commands made of goals, told from the log: the histories of the goals that they touched, folded."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import assert_never

from msgspec import Struct, structs

from es_goals.events import (
    AccountEvent,
    GoalCompleted,
    GoalCreated,
    GoalDeleted,
    GoalDescribed,
    GoalEvent,
    GoalMoved,
    GoalRenamed,
    GoalReopened,
    GoalRestored,
    GoalScheduled,
    Recorded,
)
from es_goals.goals.commands import Reversal, Undo, Was
from es_goals.goals.spacing import shifted


class State(Struct, frozen=True, gc=False):
    """A goal at one time. `placed` and `removed`: which event put it where it is, and which deleted it (0: none); an
    undo brings back those of before, so that a goal is where it was also where its rank had to be another one."""

    was: Was | None = None
    revision: int = 0
    placed: int = 0
    removed: int = 0


class Life:
    """A goal's whole history: how it was before and after each command, and its `latest` state; `moved`: the commands
    that gave it another place; `spaced`: its ranks before the events that only gave it other ones, by positions;
    `undoes`: what reversed what, each as a position, the command that has it, and the command that it reverses."""

    def __init__(self, lines: Iterable[Recorded]) -> None:
        self.latest = State()
        self.before: dict[str, State] = {}
        self.after: dict[str, State] = {}
        self.moved: set[str] = set()
        self.spaced: dict[int, str] = {}
        self.undoes: list[tuple[int, str, str]] = []
        for line in lines:
            self.before.setdefault(line.command, self.latest)
            self.latest = self.after[line.command] = self._next(line)

    def _next(self, line: Recorded) -> State:
        state, event = self.latest, line.event
        assert not isinstance(event, AccountEvent)
        old = state.was
        was = _folded(old, event)
        moved, spaced = isinstance(event, GoalMoved), is_spacing(line)
        if spaced and old is not None:
            self.spaced[line.position] = old.rank
        placed, removed = state.placed, 0 if was.root is None else state.removed
        undone = None
        if event.undoes is not None:
            undone = self.before.get(event.undoes)
            self.undoes.append((line.position, line.command, event.undoes))
        # Of a goal that moves to the rank that it has, others have passed it.
        if not spaced and (moved or old is None or _place(old) != _place(was)):
            placed = (undone and undone.placed) or line.position
            if old is not None:
                self.moved.add(line.command)
        if isinstance(event, GoalDeleted):
            # A goal that one command restores and deletes again is as deleted as it was.
            begun = self.before[line.command]
            same = begun.was is not None and begun.was.root == event.root
            removed = (undone and undone.removed) or (begun.removed if same else line.position)
        return State(was, state.revision + (not spaced), placed, removed)


def _folded(was: Was | None, event: GoalEvent) -> Was:
    if isinstance(event, GoalCreated):
        place = (event.parent_id, event.rank)
        return Was(event.name, event.description, event.start, event.due, None, *place, None)
    assert was is not None
    match event:
        case GoalRenamed():
            return structs.replace(was, name=event.name)
        case GoalDescribed():
            return structs.replace(was, description=event.description)
        case GoalScheduled():
            return structs.replace(was, start=event.start, due=event.due)
        case GoalMoved(spaced=True):
            return structs.replace(was, rank=event.rank)
        case GoalMoved():
            return structs.replace(was, parent_id=event.parent_id, rank=event.rank)
        case GoalCompleted():
            return structs.replace(was, end=event.end)
        case GoalReopened():
            return structs.replace(was, end=None)
        case GoalDeleted():
            return structs.replace(was, root=event.root)
        case GoalRestored():
            return structs.replace(was, parent_id=event.parent_id, rank=event.rank, root=None)
        case _:
            assert_never(event)


class Room(Struct, frozen=True):
    """Siblings that got other ranks, old and new ones by goal, in order, from a position on."""

    position: int
    parent_id: str | None
    ranks: Mapping[str, tuple[str, str]]

    def without(self, goals: Container[str]) -> "Room":
        """The same without some goals, as those that an undo moves itself."""
        return Room(self.position, self.parent_id, {one: it for one, it in self.ranks.items() if one not in goals})


def is_spacing(line: Recorded) -> bool:
    """Whether an event only made room beside its goal."""
    return line.type == "GoalMoved" and b'"spaced"' in line.data


def rooms(lines: Iterable[Recorded], lives: Mapping[str, Life]) -> Iterator[Room]:
    """What made room among siblings, of the events that did, in order: those that lie together did it at once."""
    for _, run in groupby(enumerate(lines), lambda place: place[1].position - place[0]):
        events = [line for _, line in run]
        found: dict[str | None, dict[str, tuple[str, str]]] = {}
        for line in events:
            event = line.event
            assert isinstance(event, GoalMoved)
            ranks = found.setdefault(event.parent_id, {})
            old, _ = ranks.get(event.goal_id) or (lives[event.goal_id].spaced[line.position], "")
            ranks[event.goal_id] = (old, event.rank)
        for parent_id, ranks in found.items():
            yield Room(events[0].position, parent_id, dict(sorted(ranks.items(), key=itemgetter(1))))


def touched(lines: Iterable[Recorded]) -> list[str]:
    """The goals that a command changed, in order."""
    return list(dict.fromkeys(line.subject for line in lines if line.subject is not None and not is_spacing(line)))


def reversed_by(undoes: Mapping[str, Iterable[str]], besides: Container[str] = ()) -> dict[str, str]:
    """For each command that is undone, the latest one that undid it and is not undone itself. `undoes`: what commands
    undid, in their order; `besides`: those that are undone besides."""
    found: dict[str, str] = {}
    for undoing, undone in reversed(list(undoes.items())):  # who undoes a command came behind it
        if undoing not in found and undoing not in besides:
            for command in undone:
                found.setdefault(command, undoing)
    return found


def undos(
    commands: Sequence[Sequence[Recorded]], lives: Mapping[str, Life], spaced: Sequence[Room] = ()
) -> Iterator[Undo]:
    """What undoes each of some commands, given as their events, the latest first, on what undoing those before left. Of
    one that is undone already nothing is left to undo, whatever its goals are by now."""
    current: dict[str, State] = {}
    gone = _gone(commands, lives)
    for lines in commands:
        command = lines[0].command
        goals = touched(lines)
        movers = {goal_id for goal_id in goals if command in lives[goal_id].moved}
        since = [room.without(movers) for room in spaced if room.position >= lines[0].position]
        reversals = []
        for goal_id in goals:
            life = lives[goal_id]
            after, now = life.after[command], current.get(goal_id, life.latest)
            before = after if command in gone else life.before[command]
            revision = None if goal_id in current else now.revision
            one = _reversal(goal_id, before, after, now, since, revision)
            reversals.append(one)
            placed = before.placed if one.moved else now.placed
            removed = now.removed if before.removed == after.removed else before.removed
            current[goal_id] = structs.replace(now, placed=placed, removed=removed)
        yield Undo(command, reversals)


def _gone(commands: Sequence[Sequence[Recorded]], lives: Mapping[str, Life]) -> Container[str]:
    """What is undone already, as the commands' goals tell, when its turn comes: what one of them undid is not."""
    goals = {goal_id for lines in commands for goal_id in touched(lines)}
    undoes: dict[str, list[str]] = {}
    for _, undoing, undone in sorted(link for goal_id in goals for link in lives[goal_id].undoes):
        undoes.setdefault(undoing, []).append(undone)
    return reversed_by(undoes, {lines[0].command for lines in commands})


def _place(was: Was) -> tuple[str | None, str]:
    return was.parent_id, was.rank


def _old_place(before: State, after: State, since: Iterable[Room]) -> tuple[str, int]:
    """Where the place that a goal had before is among today's ranks."""
    assert before.was is not None
    assert after.was is not None
    if before.placed == after.placed:
        return after.was.rank, 0
    rank, side = before.was.rank, 0
    for room in since:
        if room.parent_id == before.was.parent_id:
            rank, side = shifted(rank, side, list(room.ranks.values()))
    return rank, side


def _reversal(
    goal_id: str, before: State, after: State, now: State, since: Iterable[Room], revision: int | None
) -> Reversal:
    assert after.was is not None
    place = ("", 0) if before.was is None else _old_place(before, after, since)
    flags = (now.placed == after.placed, now.placed == before.placed, now.removed == after.removed)
    return Reversal(goal_id, before.was, after.was, *flags, *place, revision)
