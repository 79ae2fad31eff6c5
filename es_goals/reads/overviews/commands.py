"""A user's history grouped by command: what each did in one sentence, what it undid, and which command undid it."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import groupby, islice
from operator import attrgetter
from typing import cast

from msgspec import Struct, structs

from es_goals.events import (
    Event,
    GoalCreated,
    GoalEvent,
    GoalMoved,
    GoalRenamed,
    GoalRestored,
    Recorded,
    UndecodableEvent,
    goals_stream,
    moment,
)
from es_goals.goals.reversals import is_spacing, reversed_by
from es_goals.projector import PAGE, ProjectionBehind
from es_goals.reads.history import LARGEST, undone_by
from es_goals.reads.overviews.sentences import sentence
from es_goals.reads.overviews.subtree import Branch
from es_goals.storage.log import Reader, all_lines, in_chunks

_TELLING = {kind.__name__ for kind in (GoalCreated, GoalRenamed, GoalMoved, GoalRestored)}


class CommandAnswer(Struct, frozen=True):
    """A command on goals: positions of its `first` and `last` event, how many of each type it recorded, and what it did
    in a sentence; `goal_id` and `name`: the goal that it was foremost about, as it was called behind it.

    `undoes`: the commands whose effect it reversed, null where it reversed none; `undone_by`: the latest command that
    reversed this one and is not undone itself."""

    command: str
    first: int
    last: int
    at: datetime
    actor: str | None
    reason: str | None
    undoes: list[str] | None
    undone_by: str | None
    counts: dict[str, int]
    goal_id: str
    name: str
    say: str


class CommandPage(Struct, frozen=True):
    """Some of the commands; `next` is where the rest is."""

    commands: list[CommandAnswer]
    next: str | None


class Wanted(Struct, frozen=True):
    """Which commands: those of an actor, those that touched a goal or, with `subtree`, what was below it; wholly behind
    one position and before another; the `latest` first."""

    actor: str | None = None
    goal: str | None = None
    subtree: bool = False
    after: int = 0
    before: int | None = None
    latest: bool = False


class _Links:
    """Which commands undid which: few, of many commands."""

    def __init__(self) -> None:
        self.undoes: dict[str, dict[str, None]] = {}

    def note(self, line: Recorded) -> None:
        """The next event."""
        if b'"undoes"' in line.data and (undone := undone_by(line)) is not None:
            self.undoes.setdefault(line.command, {})[undone] = None

    def undone_by(self) -> dict[str, str]:
        """For each command that is undone, the latest one that undid it and is not undone itself."""
        return reversed_by(self.undoes)

    def origin(self, command: str) -> tuple[str, bool]:
        """What an undoing is about in the end, the first of several, and whether it is in effect again."""
        again = True
        while command in self.undoes:
            command, again = next(iter(self.undoes[command])), not again
        return command, again


class _Walk:
    """Along a user's commands, with what goals are called and where they are."""

    def __init__(self, log: Reader, owner: str) -> None:
        self.links = _Links()
        self._read = partial(all_lines, log, limit=PAGE, stream=goals_stream(owner))
        self._begun = ""
        self._names: dict[str, str] = {}
        self._parents: dict[str, str | None] = {}

    def skip(self, until: int) -> None:
        """Those up to a position, and the rest of the command that this is in."""
        for line in self._read(0, until=until):
            self.links.note(line)
            if line.type in _TELLING:
                self._follow(line.event)
            self._begun = line.command

    def entries(self, after: int, wanted: Callable[[list[Recorded]], bool]) -> Iterator[CommandAnswer]:
        """Those behind a position that are wanted, as if none had to do with undoing."""
        for command, group in groupby(self._read(after), attrgetter("command")):
            one = list(group)
            for line in one:
                self.links.note(line)
            if command != self._begun and wanted(one):
                yield self._entry(one)
            else:
                for line in one:
                    if line.type in _TELLING:
                        self._follow(line.event)

    def note_links(self, after: int) -> None:
        """Of all behind a position see only which undid which."""
        for line in self._read(after):
            self.links.note(line)

    def _follow(self, event: Event) -> None:
        if isinstance(event, GoalCreated | GoalRenamed):
            self._names[event.goal_id] = event.name
        if isinstance(event, GoalCreated | GoalMoved | GoalRestored):
            self._parents[event.goal_id] = event.parent_id

    def _entry(self, lines: Sequence[Recorded]) -> CommandAnswer:
        first, last = lines[0], lines[-1]
        events = [cast(GoalEvent, line.event) for line in lines]
        old = {one.goal_id: self._names[one.goal_id] for one in events if one.goal_id in self._names}
        for event in events:
            self._follow(event)
        main, say = sentence(events, first.at, lambda one: old.get(one) or self._names.get(one, one), self._parents)
        place = (first.command, first.position, last.position, moment(first.at), first.actor, first.reason)
        counts = dict(Counter(line.type for line in lines))
        return CommandAnswer(*place, None, None, counts, main, self._names.get(main, main), say)


class _Wish:
    """Whether commands are wanted, asked one by one."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._branch = Branch(wanted.goal) if wanted.goal is not None and wanted.subtree else None

    def __call__(self, lines: Sequence[Recorded]) -> bool:
        wanted, touched = self._wanted, self._touches(lines)
        if not touched or wanted.actor not in (None, lines[0].actor) or lines[0].position <= wanted.after:
            return False
        return wanted.before is None or lines[-1].position < wanted.before

    def _touches(self, lines: Sequence[Recorded]) -> bool:
        if self._wanted.goal is None:
            return True
        moving = [line for line in lines if not is_spacing(line)]
        if self._branch is not None:
            return sum(map(self._branch.takes, moving)) > 0  # it is to see all of them
        return any(line.subject == self._wanted.goal for line in moving)


def commands(log: Reader, owner: str, wanted: Wanted, limit: int) -> list[CommandAnswer]:
    """So many of a user's commands at most. One pass over the user's events, and another one where some of the commands
    undid others. Raises ProjectionBehind."""
    try:
        return _commands(log, owner, wanted, limit)
    except UndecodableEvent as error:
        raise ProjectionBehind(f"expected every event to fold; found: {error}") from error


def _commands(log: Reader, owner: str, wanted: Wanted, limit: int) -> list[CommandAnswer]:
    walk, start = _Walk(log, owner), _start(log, owner, wanted, limit)
    walk.skip(start)
    entries = walk.entries(start, _Wish(wanted))
    found = list(deque(entries, limit) if wanted.latest else islice(entries, limit))
    if found and not wanted.latest:
        walk.note_links(found[-1].last)
    undone, said = walk.links.undone_by(), _said(log, owner, walk.links, [one.command for one in found])
    whole = [_linked(one, walk.links, undone.get(one.command), said.get(one.command)) for one in found]
    return whole[::-1] if wanted.latest else whole


def _linked(one: CommandAnswer, links: _Links, undone_by: str | None, said: str | None) -> CommandAnswer:
    undoes = links.undoes.get(one.command)
    return structs.replace(one, undoes=undoes and list(undoes), undone_by=undone_by, say=said or one.say)


def _start(log: Reader, owner: str, wanted: Wanted, limit: int) -> int:
    """A position that no command is wanted before, if one is known without looking at all of them."""
    if not wanted.latest:
        return 0 if wanted.subtree else wanted.after
    if wanted.goal is not None:
        return 0

    def before(position: int, count: int) -> list[Recorded]:
        return log.read(0, count, until=position - 1, stream=goals_stream(owner), latest=True)

    found = set[str]()
    for line in in_chunks(before, attrgetter("position"), LARGEST if wanted.before is None else wanted.before, PAGE):
        if wanted.actor in (None, line.actor):
            found.add(line.command)
        if len(found) > limit + 1:  # of one it may not be all that is before the end
            return line.position
    return 0


def undoings(log: Reader, owner: str) -> Mapping[str, str]:
    """What each command of a user that undid another one did, in a sentence."""
    walk = _Walk(log, owner)
    walk.note_links(0)
    return _said(log, owner, walk.links, walk.links.undoes)


def _said(log: Reader, owner: str, links: _Links, commands: Iterable[str]) -> dict[str, str]:
    """Of those of the commands that undid others."""
    origins = {command: links.origin(command) for command in commands if command in links.undoes}
    wanted = {origin for origin, _ in origins.values()}
    entries = _Walk(log, owner).entries(0, lambda lines: lines[0].command in wanted) if wanted else ()
    says = {one.command: one.say for one in entries}
    said: dict[str, str] = {}
    for command, (origin, again) in origins.items():
        others = len(links.undoes[command]) - 1
        verb, more = "redid" if again else "undid", f" and {others} more" if others else ""
        said[command] = f"{verb} “{says.get(origin, origin)}”{more}"
    return said
