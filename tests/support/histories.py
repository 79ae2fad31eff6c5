"""Short ways to write down what happened, in memory or in a log, and read models to fold it into."""

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct, structs

from es_goals.events import (
    AccountEvent,
    Event,
    GoalCreated,
    GoalRenamed,
    IdentityLinked,
    Instant,
    PasswordChanged,
    Recorded,
    TokenIssued,
    TokenRevoked,
    UserDisabled,
    UserEnabled,
    UserRegistered,
    UserRenamed,
    account_stream,
    encode,
    goals_stream,
    subject_of,
)
from es_goals.proving.digest import TreeHash
from es_goals.storage.log import Cause, Log, User
from es_goals.storage.views import Key, ReadModel

START = Instant("2026-11-23T08:00:00Z")
RANK = "V00000"
ACCOUNT: list[AccountEvent] = [
    UserRegistered("ann", "auditor"),
    UserRenamed("ann"),
    PasswordChanged("ann"),
    IdentityLinked("ann"),
    TokenIssued("ann", "t", "read", START),
    TokenRevoked("ann", "t"),
    UserDisabled("ann"),
    UserEnabled("ann"),
]
"""Every fact about an account."""


def created(goal_id: str, parent_id: str | None = None, rank: str = RANK, name: str | None = None) -> GoalCreated:
    """A goal came to be, named as its id if not otherwise."""
    return GoalCreated(goal_id, name or goal_id, START, rank, parent_id)


def tree_hash(leaves: Iterable[bytes]) -> TreeHash:
    """The log's digest as of these events' bytes."""
    tree = TreeHash()
    for leaf in leaves:
        tree.add(leaf)
    return tree


def recorded(event: Event, at: int = 0, position: int = 1, user: str = "ann") -> Recorded:
    """A line as a log would answer it."""
    stream = account_stream(user) if isinstance(event, AccountEvent) else goals_stream(user)
    line = (stream, position, type(event).__name__, subject_of(event), at)
    return Recorded(position, *line, None, f"command-{position}", None, encode(event))


def record(log: Log, user: str, *events: Event) -> list[Recorded]:
    """Append events to the end of a user's stream, in one transaction."""
    stream = goals_stream(user)
    with log.writing() as transaction:
        version = transaction.stream_head(stream).version
        position = transaction.head().position
        return transaction.append(stream, version, events, Cause(f"{log.id} {position + 1}"))


def register(log: Log, user_id: str, name: str | None = None) -> User:
    """A user, named as the id if not otherwise, with the event that tells of it."""
    with log.writing() as transaction:
        user = User(user_id, name or user_id, None, transaction.at)
        transaction.add_user(user)
        transaction.append(account_stream(user_id), 0, [UserRegistered(user_id)], Cause(f"registration of {user_id}"))
    return user


def many(count: int, first: int = 1) -> Iterable[Event]:
    """As many events: each goal is created and renamed."""
    for number in range(first, first + (count + 1) // 2):
        yield created(f"goal-{number:06}")
        if (number - first) * 2 + 1 < count:
            yield GoalRenamed(f"goal-{number:06}", f"renamed {number}")


def folded(model: ReadModel, lines: Iterable[Recorded]) -> dict[Key, Any]:
    """The rows by their keys, folded from scratch with nothing but the read model."""
    rows: dict[Key, Any] = {}
    for line in lines:
        key = model.key(line)
        if key is None:
            continue
        row = model.fold(rows.get(key), line)
        if row is None:
            rows.pop(key, None)
        else:
            rows[key] = row
    return rows


class Tally(Struct, frozen=True):
    """How many events a goal had, and the last of them."""

    user: str
    goal: str
    events: int
    last: str | None = None


def tally_key(recorded: Recorded) -> tuple[str, str] | None:
    """The user and the goal."""
    return None if recorded.subject is None else (recorded.owner, recorded.subject)


def tally(row: Tally | None, recorded: Recorded) -> Tally:
    """One more."""
    if row is None:
        row = Tally(recorded.owner, str(recorded.subject), 0)
    return structs.replace(row, events=row.events + 1, last=recorded.type)


class Model:
    """A read model made on the spot, where `projections/` has modules."""

    def __init__(
        self,
        name: str = "tallies",
        revision: int = 1,
        row: type[Any] = Tally,
        keys: tuple[str, ...] = ("user", "goal"),
        indexes: tuple[tuple[str, ...], ...] = (),
        key: Callable[[Recorded], Key | None] = tally_key,
        fold: Callable[[Any, Recorded], Any] = tally,
    ) -> None:
        self.__name__ = name
        self.REVISION = revision
        self.Row = row
        self.KEY = keys
        self.INDEXES = indexes
        self.key = key
        self.fold = fold


def out_of_order(row: Callable[..., str]) -> dict[str, str]:
    """Lines that may not come next, by what is wrong with them: behind Ann's three and Bob's one. `row` writes
    what would come next, at position 5 and as version 4 of Ann's stream, but for what it is told."""
    return {
        "first line again": row(position="1", version="1"),
        "last line again": row(position="4", stream="'user:bob'", version="1"),
        "position taken": row(position="4"),
        "position after the next": row(position="6"),
        "position 0": row(position="0"),
        "position -1": row(position="-1"),
        "no position": row(position="NULL"),
        "first version again": row(version="1"),
        "version taken": row(version="3"),
        "version after the next": row(version="5"),
        "version 0": row(version="0"),
        "no version": row(version="NULL"),
        "version 2 of a new stream": row(stream="'user:new'", version="2"),
        "version 0 of a new stream": row(stream="'user:new'", version="0"),
        "at goes back": row(at="0"),
        "at before 1970": row(at="-1"),
        "goal created again": row(type="GoalCreated"),
        "another user's goal": row(stream="'user:new'", version="1", type="GoalCreated", subject="b1"),
    }
