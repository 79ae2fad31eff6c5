"""What a log promises, whatever engine stores it: events, and beside them users and their credentials.

Engines are small and synchronous, and any thread may use them.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import Protocol, TypeVar

from msgspec import Struct

from es_goals.events import Event, Recorded, account_stream, goals_stream
from es_goals.storage.drafts import DraftReader, DraftWriter

Clock = Callable[[], int]
"""µs since 1970."""
Progress = Callable[[int, int], None]
"""Called now and then with how much is done, and of how much."""


class Head(Struct, frozen=True):
    """Where the log ends: its last position (0: empty), and that event's `at`."""

    position: int = 0
    at: int = 0


class StreamHead(Struct, frozen=True):
    """Where a stream ends: its last version, and that event's position; zeros where it does not exist."""

    version: int = 0
    position: int = 0


class Cause(Struct, frozen=True):
    """What is recorded beside each event of an append: our UUID of the command, who sent it, and why."""

    command: str
    actor: str | None = None
    reason: str | None = None


class StoredKey(Struct, frozen=True):
    """A command that came with a client's key. `digest` is the SHA-256 of its request, `first` and `last` the positions
    of its events, which hold its id; where it recorded none, `last` is that of its stream's last event and `first` the
    next one."""

    stream: str
    key: str
    digest: bytes
    first: int
    last: int


class User(Struct, frozen=True):
    """A user's row, beside the log. Times are µs; `password_at`: when the password was set, 0 for never."""

    id: str
    name: str
    email: str | None
    created_at: int
    role: str = "user"
    disabled_at: int | None = None
    password_at: int = 0


class UserRow(Struct, frozen=True):
    """A user, and what the name is compared by: the id where the name cannot be seen, or is an older user's too."""

    user: User
    folded: str


class Password(Struct, frozen=True):
    """What a user's password is checked against: argon2id, in the form of its reference implementation."""

    user_id: str
    hash: str


LONGEST_NAME = 64 * 18
"""A user's name has 64 characters, and NFKC makes at most 18 of one; folding a longer text could take minutes."""


class Token(Struct, frozen=True):
    """An API token. `hash` is its SHA-256 in hexadecimal digits; `scope` is read or write; times are µs."""

    id: str
    user_id: str
    name: str
    scope: str
    hash: str
    created_at: int
    expires_at: int
    revoked_at: int | None = None


class Identity(Struct, frozen=True):
    """Who may sign in as a user: a provider's issuer, a space, and its subject."""

    identity: str
    user_id: str


Credential = Password | Token | Identity
C = TypeVar("C", Password, Token, Identity)
R = TypeVar("R")
K = TypeVar("K")

PAGE = 1_000
"""Rows that are read at once, where all of many are wanted."""
FIRST_LINES, CHUNK_BYTES, LINE_BYTES = 200, 2**21, 200
"""Of events: how many are read first, how many bytes at once, and what one has besides its texts."""


class Reader(DraftReader, Protocol):
    """Reads the log, and the users and drafts beside it."""

    def head(self) -> Head:
        """Return where the log ends."""

    def stream_head(self, stream: str) -> StreamHead:
        """Return where a stream ends."""

    def read(
        self,
        after: int = 0,
        limit: int = 1000,
        *,
        until: int | None = None,
        stream: str | None = None,
        subject: str | None = None,
        type: str | None = None,
        latest: bool = False,
    ) -> list[Recorded]:
        """Return at most `limit` events with `after` < position <= `until`, in order; the `latest`: from the last one
        back."""

    def owner(self, goal_id: str) -> str | None:
        """Return the id of the user who owns or owned this goal; None where no goal ever had the id."""

    def taken(self, goal_ids: Sequence[str]) -> frozenset[str]:
        """Return those of the ids that some goal has or had."""

    def position_at(self, at: int) -> int:
        """Return the position of the last event recorded at or before `at` (µs); 0 where there is none."""

    def stored_key(self, stream: str, key: str) -> StoredKey | None:
        """Return the command that was recorded under this key."""

    def commands(self, after: tuple[str, str] = ("", ""), limit: int = 1000) -> list[StoredKey]:
        """Return commands with a key in the order of streams and keys, from the one behind `after`."""

    def user(self, user_id: str) -> User | None:
        """Return the user of this id."""

    def user_named(self, name: str) -> User | None:
        """Return the user of this name, compared by NFKC case-folding; of users who shared one when that rule came, the
        oldest."""

    def users(self, after: str = "", limit: int = 1000) -> list[User]:
        """Return users in the order of their ids, from the one behind `after`."""

    def user_rows(self, after: str = "", limit: int = 1000) -> list[UserRow]:
        """Return the same, each with what the name is compared by."""

    def credentials(self, kind: type[C], after: str = "", limit: int = 1000) -> list[C]:
        """Return rows of a kind in the order of their first field, from the one behind `after`."""

    def password(self, user_id: str) -> Password | None:
        """Return a user's password."""

    def token(self, hash: str) -> Token | None:
        """Return the token of this SHA-256."""

    def token_of(self, id: str) -> Token | None:
        """Return the token of this id."""

    def tokens(self, user_id: str, after: str = "", limit: int = 1000) -> list[Token]:
        """Return a user's tokens in the order of their ids, from the one behind `after`."""

    def identity(self, identity: str) -> Identity | None:
        """Return who may sign in so."""

    def streams(self, after: str = "", limit: int = 1000) -> list[str]:
        """Return the streams' names in order, from the one behind `after`."""


class Transaction(Reader, DraftWriter, Protocol):
    """A write transaction; its reads see what it wrote. `at` is the time of every event it appends, `position` that of
    its last one, or of the log's; `changes` is another number after whatever it wrote."""

    at: int
    position: int
    changes: int

    def append(self, stream: str, expected: int, events: Sequence[Event], cause: Cause) -> list[Recorded]:
        """Add events to a stream at version `expected` (0: it must not exist). All or none of them.

        Raises Conflict, SubjectTaken.
        """

    def store_key(self, command: StoredKey) -> None:
        """Store a command's key, with its events."""

    def prefetch(self, places: Sequence[tuple[str, str]], goal_ids: Sequence[str]) -> None:
        """Look at once for the keys, each of a stream, and for the ids that `stored_key` and `taken` will be asked
        for."""

    def copy(self, lines: Sequence[Recorded], commands: Sequence[StoredKey]) -> None:
        """Add what another log recorded, as it is. Raises Conflict where it does not follow what is there."""

    def add_user(self, user: User) -> None:
        """Store a user. Raises UserNameTaken."""

    def change_user(self, user: User) -> None:
        """Set what may change: name, address, `disabled_at` and `password_at`. Raises UserNameTaken."""

    def copy_user(self, row: UserRow) -> None:
        """Store a user as another log has it, or what may change of one that is there. Raises UserNameTaken."""

    def add(self, credential: Credential) -> None:
        """Store a credential; a password in place of the user's old one. Raises CredentialTaken."""

    def revoke(self, token_id: str, at: int) -> None:
        """End a token."""

    def batch(self) -> AbstractContextManager[None]:
        """Collect appends and keys inside, and write them in one go at the end, or when something is read.

        Where one does not fit, BatchConflict is raised instead of Conflict and SubjectTaken, and the transaction is of
        no use.
        """

    def savepoint(self) -> AbstractContextManager[None]:
        """Undo what was written inside if an exception leaves it; the transaction goes on."""


class Log(Reader, Protocol):
    """The append-only log. `id` is its own UUID. `is_local`: it is on this machine, and is asked in µs.
    `survives_unknown_commit`: a process may go on after a commit whose outcome is unknown."""

    id: str
    is_local: bool
    survives_unknown_commit: bool

    def writing(self) -> AbstractContextManager[Transaction]:
        """Take the lock and begin a transaction, committed to disk at the end, rolled back on an exception.

        Raises StorageFull, StorageFailed, OutcomeUnknown.
        """

    def by_stream(self, after: str, until: int) -> Generator[Recorded, None, None]:
        """Yield the events up to position `until` of all users' goals, stream by stream, in order, from the stream
        behind `after`. To be closed: until then this thread sees the log as it was."""

    def change_counter(self) -> int | None:
        """Return a number that is another one after each transaction of anybody, from before others can see it; None
        while one is being committed, and always where nobody can know without asking. In less than a microsecond."""

    def watch(self, wake: Callable[[], None]) -> None:
        """Call `wake` from a thread soon after somebody has appended, where the engine notifies, until it is closed."""

    def checkpoint(self) -> None:
        """Move what was committed to where it stays: upkeep that no command should wait for, to be called now and then
        by whoever serves."""

    def probe(self) -> None:
        """Commit a row of no meaning, to see that commits work. Raises as `writing` does."""

    def close(self) -> None:
        """Close its files; nobody may be using it."""

    def integrity(self) -> list[str]:
        """Return what the engine finds wrong with its files, a sentence each."""

    def schema_faults(self) -> list[str]:
        """Return what of the tables' defences is not as it was made, a sentence each: triggers that are gone, others
        than there were, or more of them."""

    def backup_into(self, target: str, progress: Progress) -> Head:
        """Make a consistent copy in a new SQLite file while others write. Returns the copy's head."""

    def sizes(self) -> dict[str, int]:
        """Return bytes: `database`, and where its files are of this machine `wal` and `free` (left on the disk)."""


def user_events(
    log: Reader,
    owner: str | None,
    after: int,
    limit: int = 1000,
    *,
    until: int | None = None,
    subject: str | None = None,
    type: str | None = None,
    latest: bool = False,
) -> list[Recorded]:
    """Read as Reader.read does, both streams of one user; those of everybody where `owner` is None."""
    if owner is None:
        return log.read(after, limit, until=until, subject=subject, type=type, latest=latest)
    # Both reads end at one position: an event of the second one must not hide an earlier one of the first.
    head = log.head().position
    read = partial(log.read, after, limit, until=head if until is None else min(head, until))
    read = partial(read, subject=subject, type=type, latest=latest)
    lines = [*read(stream=goals_stream(owner)), *read(stream=account_stream(owner))]
    return sorted(lines, key=attrgetter("position"), reverse=latest)[:limit]


def pages(ask: Callable[[K, int], list[R]], place: Callable[[R], K], after: K, limit: int = PAGE) -> Iterator[list[R]]:
    """Yield all rows behind a place, `limit` at a time; each page is asked for when the one before it is done with."""
    full = True
    while full and (page := ask(after, limit)):
        yield page
        after, full = place(page[-1]), len(page) == limit


def in_chunks(
    ask: Callable[[int, int], list[Recorded]], place: Callable[[Recorded], int], cursor: int, most: int = PAGE
) -> Iterator[Recorded]:
    """Yield all events from a cursor on: some at first, then as many at a time as have about CHUNK_BYTES if they are
    like those before, and `most` at most. Who wrote them chose how large they are."""
    limit = min(most, FIRST_LINES)
    while lines := ask(cursor, limit):
        yield from lines
        if len(lines) < limit:
            return
        cursor, size = place(lines[-1]), sum(map(line_size, lines))
        limit = max(1, min(most, 4 * limit, CHUNK_BYTES * len(lines) // size))


def line_size(line: Recorded) -> int:
    """Bytes of an event's texts, about."""
    return LINE_BYTES + len(line.data) + len(line.reason or "")


def all_lines(
    log: Reader,
    after: int = 0,
    limit: int = PAGE,
    *,
    until: int | None = None,
    stream: str | None = None,
    subject: str | None = None,
) -> Iterator[Recorded]:
    """Yield all that `log.read` finds, read `limit` events at a time at most, and about CHUNK_BYTES."""
    read = partial(log.read, until=until, stream=stream, subject=subject)
    return in_chunks(read, attrgetter("position"), after, limit)


def all_streams(log: Reader) -> Iterator[str]:
    """Yield the names of all streams, in order."""
    return chain.from_iterable(pages(log.streams, str, ""))


def all_tokens(log: Reader, user_id: str) -> Iterator[Token]:
    """Yield a user's tokens, in the order of their ids."""
    return chain.from_iterable(pages(partial(log.tokens, user_id), attrgetter("id"), ""))


def all_users(log: Reader) -> Iterator[User]:
    """Yield all users, in the order of their ids."""
    return chain.from_iterable(pages(log.users, attrgetter("id"), ""))
