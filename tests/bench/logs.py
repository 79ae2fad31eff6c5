"""Makes logs: long ones of many users, kept from run to run, and users of a given shape in any log."""

import gc
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import cast

import apsw
import click
from msgspec import Struct, field

import projections
from es_goals.events import (
    Event,
    GoalCreated,
    GoalDeleted,
    GoalEvent,
    UserRegistered,
    account_stream,
    goals_stream,
    moment,
)
from es_goals.goals.commands import ChangeGoal, Command, CompleteGoal, CreateGoal, DeleteGoal, MoveGoal, ReopenGoal
from es_goals.goals.rules import decide
from es_goals.goals.state import Goals, evolve
from es_goals.projector import Projector
from es_goals.service import REGISTRATIONS
from es_goals.storage import open_log
from es_goals.storage.log import Cause, Log, StoredKey, Transaction, User, all_lines, all_users
from es_goals.values import Rejected
from tests.bench.bench import Bench
from tests.support.engines import ROOT, open_storage
from tests.support.limits import LIMITS

USERS = 10_000
EVENTS_A_USER = 100
BRANCHING = 4
SEED = 1
BEGAN = 1_704_067_200_000_000  # 2024-01-01, µs
PAUSE = 9_876_543  # µs from one command to the next
A_COMMIT = 10_000  # commands
A_COMMAND = 1000  # goals, where many are made at once
TRIES = 8
SAMPLE = 1000  # events
MIX = {"create": 38, "complete": 26, "rename": 10, "describe": 5, "move": 10.5, "reopen": 5.5, "delete": 5}
"""What is tried. Some find nothing to do, and a goal is created instead: of 100 events 40 are creations, 25
completions, 15 new names and descriptions, 10 moves, 5 reopenings and 5 deletions."""

VERBS = [
    "Build", "Call", "Cook", "Find", "Finish", "Learn", "Mend", "Paint", "Plan", "Plant", "Practise", "Read", "Sell",
    "Translate", "Visit", "Write",
]  # fmt: skip
THINGS = [
    "Ulysses", "a birthday present", "a bookshelf", "a letter to the landlord", "a marathon", "a piece by Schubert",
    "a talk on event sourcing", "an evening course", "grandmother's recipes", "photographs from Lisbon",
    "Spanish verbs", "ten kilometres", "the cellar", "the first chapter", "the garden wall", "the kitchen ceiling",
    "the old bicycle", "the roof of the shed", "the tax return",
]  # fmt: skip
DETAILS = [
    "", " before breakfast", " by the end of March", " for the third time", " in Berlin", " on the train to work",
    " twice a week", " until it is good enough", " with Anna and Tom", " without the phone",
]  # fmt: skip


class Person(Struct):
    """A user while events are made; `alive` holds the ids of the goals that are not deleted."""

    name: str
    id: str = ""
    goals: Goals = field(default_factory=Goals)
    alive: list[str] = field(default_factory=list)

    def take(self, event: GoalEvent, at: int) -> None:
        """What happened."""
        evolve(self.goals, event, at)
        if isinstance(event, GoalCreated):
            self.alive.append(event.goal_id)
        elif isinstance(event, GoalDeleted):
            self.alive.remove(event.goal_id)


class Author:
    """Makes up what people do, always the same for a seed, and records it as the service does: what the rules permit,
    each command under a client's key and an id of its own."""

    def __init__(self, seed: str) -> None:
        self.chance = random.Random(seed)  # noqa: S311
        self._kinds, self._weights = list(MIX), list(MIX.values())

    def register(self, transaction: Transaction, person: Person) -> None:
        """Make the user."""
        transaction.at += PAUSE
        person.id = self._new_id(transaction)
        stream, event = account_stream(person.id), UserRegistered(person.id)
        self._record(transaction, stream, REGISTRATIONS, 0, [event])
        transaction.add_user(User(person.id, person.name, None, transaction.at))

    def turn(self, transaction: Transaction, person: Person) -> None:
        """One command of the mix."""
        transaction.at += PAUSE
        events = self._decided(transaction, person)
        for event in events:
            person.take(event, transaction.at)
        self._keep(transaction, person, events)

    def plant(self, transaction: Transaction, person: Person, goals: int, branching: int = BRANCHING) -> None:
        """One command that adds so many goals to the user's only tree, in which a goal has so many sub-goals."""
        transaction.at += PAUSE
        planted: list[GoalEvent] = []
        for number in range(len(person.alive), len(person.alive) + goals):
            parent = person.alive[(number - 1) // branching] if number else None
            (event,) = decide(person.goals, self._creation(transaction, parent), moment(transaction.at), LIMITS)
            person.take(event, transaction.at)
            planted.append(event)
        self._keep(transaction, person, planted)

    def name(self) -> str:
        """A goal's, of 10 to 60 characters."""
        choice = self.chance.choice
        return f"{choice(VERBS)} {choice(THINGS)}{choice(DETAILS)}"

    def _decided(self, transaction: Transaction, person: Person) -> Sequence[GoalEvent]:
        """What a command of the mix causes; where none of its kind would change anything, a goal is created."""
        (kind,) = self.chance.choices(self._kinds, self._weights)
        now = moment(transaction.at)
        for _ in range(TRIES if person.alive else 0):
            with suppress(Rejected):
                if events := decide(person.goals, self._command(transaction, person, kind), now, LIMITS):
                    return events
        return decide(person.goals, self._creation(transaction, None), now, LIMITS)

    def _command(self, transaction: Transaction, person: Person, kind: str) -> Command:
        goal = self.chance.choice(person.alive)
        match kind:
            case "complete":
                return CompleteGoal(goal)
            case "rename":
                return ChangeGoal(goal, name=self.name())
            case "describe":
                return ChangeGoal(goal, description=self._description())
            case "move":
                return MoveGoal(goal, self._parent(person))
            case "reopen":
                return ReopenGoal(goal)
            case "delete":
                return DeleteGoal(self._leaf(person.goals, goal))
            case _:
                return self._creation(transaction, self._parent(person))

    def _creation(self, transaction: Transaction, parent: str | None) -> CreateGoal:
        description = self._description() if self.chance.random() < 0.25 else None
        return CreateGoal(self._new_id(transaction), self.name(), parent, description)

    def _description(self) -> str:
        return " ".join(f"{self.name()}." for _ in range(self.chance.randint(1, 4)))

    def _parent(self, person: Person) -> str | None:
        return None if self.chance.random() < 0.2 else self.chance.choice(person.alive)

    def _leaf(self, goals: Goals, goal: str) -> str:
        """The goal or one below it, whose deletion is one event."""
        while below := [child for _, child in goals.siblings.get(goal, ()) if goals.known[child].root is None]:
            goal = self.chance.choice(below)
        return goal

    def _keep(self, transaction: Transaction, person: Person, events: Sequence[GoalEvent]) -> None:
        stream = goals_stream(person.id)
        self._record(transaction, stream, stream, person.goals.version - len(events), events)

    def _record(
        self, transaction: Transaction, stream: str, scope: str, expected: int, events: Sequence[Event]
    ) -> None:
        command = self._new_id(transaction)
        lines = transaction.append(stream, expected, events, Cause(command))
        key = _uuid(4, self.chance.getrandbits(48), self.chance.getrandbits(74))
        place = (lines[0].position, lines[-1].position)
        transaction.store_key(StoredKey(scope, key, self.chance.randbytes(32), *place))

    def _new_id(self, transaction: Transaction) -> str:
        """As es_goals.ids makes them, but for the chance."""
        return _uuid(7, transaction.at // 1000, self.chance.getrandbits(74))


def _uuid(version: int, first: int, rest: int) -> str:
    value = first << 80 | version << 76 | rest >> 62 << 64 | 0b10 << 62 | rest & ((1 << 62) - 1)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@contextmanager
def _opened(path: Path) -> Iterator[Log]:
    """Closed at the end, which leaves all of it in the one file."""
    with closing(open_log(str(path), lambda: BEGAN)) as log:
        yield log


def make_log(path: Path, events: int, users: int, seed: int = SEED) -> None:
    """A log of so many events, evenly of `user-0`, `user-1` …, each of whom registers at first; the one at this path
    goes on where there is one. Expects two new events at least for each new user."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _opened(path) as log:
        people, head = _people(log), log.head().position
        people += [Person(f"user-{number}") for number in range(len(people), users)]
        author = Author(f"{seed} {head}")
        commands = events - head - sum(not person.id for person in people)
        turns = [people[number % len(people)] for number in range(commands)]
        author.chance.shuffle(turns)
        for first in range(0, commands, A_COMMIT):
            with log.writing() as transaction:
                for person in turns[first : first + A_COMMIT]:
                    if not person.id:
                        author.register(transaction, person)
                    author.turn(transaction, person)


def _people(log: Log) -> list[Person]:
    """Those of a log that was made here, with their goals."""
    people = {user.id: Person(user.name, user.id) for user in all_users(log)}
    for line in all_lines(log):
        if line.subject is not None:
            people[line.owner].take(cast(GoalEvent, line.event), line.at)
    return list(people.values())


def trees(
    path: Path, users: int, goals: int, prefix: str = "reader", branching: int = BRANCHING
) -> dict[str, list[str]]:
    """New users with a tree of so many goals each, also in a new log; with `branching` 1 it is a chain. Answers the
    goals' ids, parents first, by the users' names: `<prefix>-0`, `<prefix>-1` …"""
    author = Author(prefix)
    planted: dict[str, list[str]] = {}
    with _opened(path) as log:
        for number in range(users):
            person = Person(f"{prefix}-{number}")
            with log.writing() as transaction:
                author.register(transaction, person)
                for first in range(0, goals, A_COMMAND):
                    author.plant(transaction, person, min(A_COMMAND, goals - first), branching)
            planted[person.name] = person.alive
    fold(path)
    return planted


def history(path: Path, name: str, events: int) -> range:
    """A new user to whose goals so much happened, by the mix. Answers the events' positions."""
    author, person = Author(name), Person(name)
    with _opened(path) as log, log.writing() as transaction:
        author.register(transaction, person)
        first = transaction.head().position + 1
        for _ in range(events):
            author.turn(transaction, person)
    fold(path)
    return range(first, first + events)


def fold(path: Path) -> None:
    """Bring the read models beside a log to its end."""
    storage = open_storage(str(path), lambda: BEGAN)
    Projector(storage.log, storage.views, projections.ALL).catch_up_all()
    storage.close()


def made_log(bench: Bench, events: int, users: int = USERS) -> Path:
    """A private copy of a log of so many events and its read models, which are at its end. It has a user, of `user-0`,
    `user-1` …, for each 100 events, but no more than `users`."""
    kept = kept_log(bench.logs, events, users)
    folder = Path(tempfile.mkdtemp(prefix=f"log-{events}-", dir=bench.folder))
    copy(kept / "events.db", folder / "events.db")
    copy(next(kept.glob("projections-*.db")), folder / "projections.db")
    return folder / "events.db"


def kept_log(logs: Path, events: int, users: int = USERS) -> Path:
    """The folder of a log that is made once and only read: `events.db`, and the read models under a name of their
    own. A log of more than 100 events a user goes on from one that has so many."""
    users = max(1, min(users, events // EVENTS_A_USER))
    log_digest, views_digest = _digests()
    folder = logs.absolute() / f"{events}-events-{users}-users-{log_digest}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        for old in folder.parent.glob(f"{events}-events-{users}-users-*"):
            shutil.rmtree(old)
        with tempfile.TemporaryDirectory(prefix="making-", dir=folder.parent) as making:
            made = Path(making, "made")
            made.mkdir()
            if users * EVENTS_A_USER < events:
                copy(kept_log(logs, users * EVENTS_A_USER, users) / "events.db", made / "events.db")
            _run("make", made / "events.db", events, users)
            made.rename(folder)
    views = folder / f"projections-{views_digest}.db"
    if not views.exists():
        for old in folder.glob("projections*"):
            old.unlink()
        _run("fold", folder / "events.db")
        (folder / "projections.db").rename(views)
    return folder


@cache
def _digests() -> tuple[str, str]:
    """Of a short log and its read models: what is kept is made anew when the code makes something else."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "events.db")
        make_log(log, SAMPLE, SAMPLE // EVENTS_A_USER)
        fold(log)
        return _digest(log), _digest(log.with_name("projections.db"))


def _digest(path: Path) -> str:
    """Of all tables and their rows, but for the log's own id, which is another one each time."""
    with closing(apsw.Connection(str(path))) as connection:
        schema: list[tuple[str, str, str]] = list(
            connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name")
        )
        tables = [name for kind, name, _ in schema if kind == "table" and name not in ("log", "source")]
        rows = [connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in tables]
    return hashlib.sha256(repr((schema, rows)).encode()).hexdigest()[:12]


def copy(source: Path, target: Path) -> None:
    """A copy that is on disk, so that writing it back disturbs no measurement."""
    shutil.copyfile(source, target)
    with target.open("rb") as copied:
        os.fsync(copied.fileno())


def _run(*arguments: object) -> None:
    """In a process of its own, which takes the memory with it."""
    command = [sys.executable, "-m", "tests.bench.logs", *map(str, arguments)]
    subprocess.run(command, check=True, cwd=ROOT)  # noqa: S603


@click.group()
def main() -> None:
    """Make a log, or bring the read models beside one to its end."""
    gc.disable()
    apsw.connection_hooks.append(_hurry)


def _hurry(connection: apsw.Connection) -> None:
    """More memory and fewer checkpoints than a service wants."""
    connection.pragma("cache_size", -1_000_000)
    connection.pragma("wal_autocheckpoint", 50_000)


@main.command("make")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("events", type=int)
@click.argument("users", type=int)
def make(path: Path, events: int, users: int) -> None:
    """A log, or more of it."""
    make_log(path, events, users)


@main.command("fold")
@click.argument("path", type=click.Path(path_type=Path))
def fold_(path: Path) -> None:
    """The read models."""
    fold(path)


if __name__ == "__main__":
    main()
