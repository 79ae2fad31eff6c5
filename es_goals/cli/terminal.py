"""What the command line shows: trees, history, progress."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from time import monotonic
from typing import assert_never

from es_goals.events import (
    AccountEvent,
    GoalCreated,
    GoalRenamed,
    IdentityLinked,
    PasswordChanged,
    Recorded,
    TokenIssued,
    TokenRevoked,
    UserDisabled,
    UserEnabled,
    UserRegistered,
    UserRenamed,
    moment,
)
from es_goals.reads.blame import By, GoalBlame
from es_goals.reads.history import EventBrief
from es_goals.reads.overviews.commands import undoings
from es_goals.reads.overviews.sentences import sentence
from es_goals.storage.log import Progress, Reader
from projections.goal_tree import Node

LINES_EVERY_SECONDS = 2.0

WIDEST = 32  # characters of a value in a line

DIFF_COLOURS = {"+ ": "green", "- ": "red", "→ ": "yellow", "↕ ": "yellow", "✔ ": "green", "· ": "blue", "~ ": "cyan"}
"""Of the lines of a diff, by what they begin with; on a terminal only."""


def drawing(title: str, nodes: Sequence[Node]) -> Iterator[str]:
    """The tree, a line a goal that is not deleted: done or not, its name, and how far it is."""
    yield title
    shown = [node for node in nodes if node.row.root is None]
    last: list[bool] = []
    for node, is_last in zip(shown, _lasts(shown), strict=True):
        last[node.depth :] = [is_last]
        bars = "".join("    " if one else "│   " for one in last[:-1])
        done = "✔" if node.row.end else "·"
        progress = f"  {node.completed}/{node.leaves}" if node.size > 1 else ""
        yield f"{bars}{'└── ' if is_last else '├── '}{done} {node.row.name}{progress}"


def _lasts(nodes: Sequence[Node]) -> list[bool]:
    """Whether each node is the last of its siblings."""
    lasts: list[bool] = []
    later: set[int] = set()
    for node in reversed(nodes):
        later = {depth for depth in later if depth <= node.depth}
        lasts.append(node.depth not in later)
        later.add(node.depth)
    return lasts[::-1]


class HistoryFormatter:
    """Tells events in a line each: when, who, what, why. `gaps`: some that change names may be left out."""

    def __init__(self, log: Reader, gaps: bool) -> None:
        self._log, self._gaps = log, gaps
        self._users: dict[str, str] = {}
        self._undoings: dict[str, Mapping[str, str]] = {}
        self._goals: dict[str, tuple[int, str]] = {}  # the name, and up to which position it is known

    def line(self, recorded: Recorded) -> str:
        """Names are those of the time."""
        when = moment(recorded.at).strftime("%Y-%m-%d %H:%M:%S")
        why = f"  ({recorded.reason})" if recorded.reason else ""
        return f"{recorded.position:>7}  {when}  {self._user(recorded.owner)}  {self._what(recorded)}{why}"

    def _what(self, recorded: Recorded) -> str:
        event = recorded.event
        if isinstance(event, AccountEvent):
            return _account(event)
        said = sentence([event], recorded.at, lambda goal_id: self._goal(goal_id, recorded.position), {})[1]
        if isinstance(event, GoalCreated | GoalRenamed):
            self._goals[event.goal_id] = (recorded.position, event.name)
        return said if event.undoes is None else f"{said}, {self._undoing(recorded)}"

    def _undoing(self, recorded: Recorded) -> str:
        """What the event's command undid or did again."""
        owner, command = recorded.owner, recorded.command
        if command not in self._undoings.get(owner, ()):
            self._undoings[owner] = undoings(self._log, owner)
        return self._undoings[owner][command]

    def _user(self, user_id: str) -> str:
        if user_id not in self._users:
            user = self._log.user(user_id)
            self._users[user_id] = user.name if user else user_id
        return self._users[user_id]

    def _goal(self, goal_id: str, position: int) -> str:
        """The goal's name before a position; from the log where the events formatted so far do not say."""
        seen, name = self._goals.get(goal_id, (0, goal_id))
        if seen and not self._gaps:
            return name
        for kind in ("GoalCreated", "GoalRenamed"):
            after = seen
            while page := self._log.read(after, until=position - 1, subject=goal_id, type=kind):
                event = page[-1].event
                assert isinstance(event, GoalCreated | GoalRenamed)
                after, name = page[-1].position, event.name
        self._goals[goal_id] = (max(seen, position - 1), name)
        return name


def blamed(log: Reader, goals: Iterable[GoalBlame]) -> Iterator[str]:
    """Each field of goals in a line, with the event that made it what it is; behind them the path, if it is told."""
    users: dict[str, str] = {}
    for goal in goals:
        yield f"{goal.fields.name.value}  {goal.id}"
        for name in goal.fields.__struct_fields__:
            field = getattr(goal.fields, name)
            value = "" if isinstance(field, By) else "none" if field.value is None else _short(field.value)
            yield f"  {name:<11}  {value:<{WIDEST}}  {_by(log, field.by, users)}"
        for above in goal.path or ():
            yield f"  {'named':<11}  {_short(above.name):<{WIDEST}}  {_by(log, above.named, users)}"
            yield f"  {'placed':<11}  {'':<{WIDEST}}  {_by(log, above.placed, users)}"


def _short(value: str | datetime) -> str:
    """What fits into a column of a line."""
    text = f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else value
    line = text.partition("\n")[0]
    return line if len(line) <= WIDEST and line == text else f"{line[: WIDEST - 1]}…"


def _by(log: Reader, event: EventBrief, users: dict[str, str]) -> str:
    actor = event.actor
    if actor is not None and actor not in users:
        user = log.user(actor)
        users[actor] = user.name if user else actor
    who = f"  {users[actor]}" if actor is not None else ""
    why = f"  ({event.reason})" if event.reason else ""
    return f"{event.position:>7}  {event.at:%Y-%m-%d %H:%M:%S}{who}  {event.type}{why}"


def _account(event: AccountEvent) -> str:
    match event:
        case UserRegistered():
            return "registered" if event.role == "user" else f"registered as {event.role}"
        case UserRenamed():
            return "changed name or address"
        case PasswordChanged():
            return "got a new password"
        case IdentityLinked():
            return "was linked to an identity"
        case TokenIssued():
            return f"got a token to {event.scope}, {event.token_id}, until {event.expires}"
        case TokenRevoked():
            return f"lost the token {event.token_id}"
        case UserDisabled():
            return "was disabled"
        case UserEnabled():
            return "was enabled again"
        case _:
            assert_never(event)


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """A bar on a terminal, plain lines elsewhere, both on standard error."""
    if not sys.stderr.isatty():
        yield _plain(title)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _plain(title: str, clock: Callable[[], float] = monotonic) -> Progress:
    last = clock()

    def report(done: int, total: int) -> None:
        nonlocal last
        if clock() - last >= LINES_EVERY_SECONDS:
            last = clock()
            print(f"{title}: {done} of {total}", file=sys.stderr)

    return report
