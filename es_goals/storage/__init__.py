"""What a log and a store of read models promise, whatever engine keeps them.

Engines are small and synchronous, and any thread may use them. `open_log` and `open_storage` are the only places
that know which engines there are.
"""

import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from es_goals.events import Event, Recorded, account_stream, goals_stream

Clock = Callable[[], int]
"""µs since 1970."""

Progress = Callable[[int, int], None]
"""Told now and then how much is done, and of how much."""

Key = tuple[str | int, ...]
"""A read model row's key: the values of its KEY columns."""


class StorageError(Exception):
    """The storage cannot do what was asked; the message says why in one sentence."""


class Unavailable(StorageError):
    """The database itself fails: the transaction, if there is one, is over."""


class Unusable(Unavailable):
    """The database cannot be opened: of another kind, damaged, too new, or its engine too old."""


class StorageFull(Unavailable):
    """No space is left. Nothing of the transaction was kept."""


class StorageFailed(Unavailable):
    """Reading or writing failed before the commit. Nothing of the transaction was kept."""


class OutcomeUnknown(Unavailable):
    """The commit itself failed: what it held may or may not be on disk. A repeat with the same key settles it."""


class Interrupted(StorageError):
    """The work had a deadline, and was stopped there; it recorded nothing."""


class Conflict(StorageError):
    """The stream is not at the version that the append expected."""


class SubjectTaken(StorageError):
    """A goal was created under this id before. `subject` is the id."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"expected an id that no goal ever had; found {subject}")
        self.subject = subject


class GenerationGone(StorageError):
    """The generation was replaced meanwhile; who looks again finds the one that serves."""


class RowRefused(StorageError):
    """A read model's row does not fit its table."""


class Clash(StorageError):
    """One of several appends written together does not fit; one by one, they tell which."""


class UserNameTaken(StorageError):
    """A user has this name already, compared without case."""


class CredentialTaken(StorageError):
    """There is such a credential already, nobody has the user's id, or it is no text that can be kept."""


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


class Remembered(Struct, frozen=True):
    """A command recorded under a client's key. `digest` is the SHA-256 of its request, `first` and `last`
    the positions of its events, which hold its id."""

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


class Password(Struct, frozen=True):
    """What a user's password is checked against: argon2id, in the form of its reference implementation."""

    user_id: str
    hash: str


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


class Reader(Protocol):
    """Reads the log, and the users beside it."""

    def head(self) -> Head:
        """Where the log ends."""

    def stream_head(self, stream: str) -> StreamHead:
        """Where a stream ends."""

    def read(
        self,
        after: int = 0,
        limit: int = 1000,
        *,
        until: int | None = None,
        stream: str | None = None,
        subject: str | None = None,
        type: str | None = None,
    ) -> list[Recorded]:
        """At most `limit` events with `after` < position <= `until`, in order."""

    def owner(self, goal_id: str) -> str | None:
        """The id of the user whose goal this is or was; None where no goal ever had the id."""

    def position_at(self, at: int) -> int:
        """The position of the last event recorded at or before `at` (µs); 0 where there is none."""

    def remembered(self, stream: str, key: str) -> Remembered | None:
        """The command that was recorded under this key."""

    def commands(self, after: tuple[str, str] = ("", ""), limit: int = 1000) -> list[Remembered]:
        """Commands with a key in the order of streams and keys, from the one behind `after`."""

    def user(self, user_id: str) -> User | None:
        """The user of this id."""

    def user_named(self, name: str) -> User | None:
        """The user of this name, compared by NFKC case-folding."""

    def users(self, after: str = "", limit: int = 1000) -> list[User]:
        """Users in the order of their ids, from the one behind `after`."""

    def credentials(self, kind: type[C], after: str = "", limit: int = 1000) -> list[C]:
        """Rows of a kind in the order of their first field, from the one behind `after`."""

    def password(self, user_id: str) -> Password | None:
        """A user's."""

    def token(self, hash: str) -> Token | None:
        """The one of this SHA-256."""

    def token_of(self, id: str) -> Token | None:
        """The one of this id."""

    def tokens(self, user_id: str, after: str = "", limit: int = 1000) -> list[Token]:
        """A user's, in the order of their ids, from the one behind `after`."""

    def identity(self, identity: str) -> Identity | None:
        """Whose it is."""

    def streams(self, after: str = "", limit: int = 1000) -> list[str]:
        """The streams' names in order, from the one behind `after`."""


class Transaction(Reader, Protocol):
    """A write transaction; its reads see what it wrote. `at` is the time of every event it appends, `position` that of
    its last one, or of the log's; `changes` is another number after whatever it wrote."""

    at: int
    position: int
    changes: int

    def append(self, stream: str, expected: int, events: Sequence[Event], cause: Cause) -> list[Recorded]:
        """Add events to a stream at version `expected` (0: it must not exist). All or none of them.

        Raises Conflict, SubjectTaken.
        """

    def remember(self, command: Remembered) -> None:
        """Keep a command's key, with its events."""

    def recall(self, places: Sequence[tuple[str, str]]) -> None:
        """Look at once for the keys, each of a stream, that `remembered` will be asked for."""

    def copy(self, lines: Sequence[Recorded], commands: Sequence[Remembered]) -> None:
        """Add what another log recorded, as it is. Raises Conflict where it does not follow what is there."""

    def add_user(self, user: User) -> None:
        """Keep a user. Raises UserNameTaken."""

    def change_user(self, user: User) -> None:
        """Set what may change: name, address, `disabled_at` and `password_at`. Raises UserNameTaken."""

    def add(self, credential: Credential) -> None:
        """Keep it; a password in place of the user's old one. Raises CredentialTaken."""

    def revoke(self, token_id: str, at: int) -> None:
        """Note that a token is good no more."""

    def together(self) -> AbstractContextManager[None]:
        """Inside, appends and keys are kept and written in one go at the end, or when something is read.

        Where one does not fit, Clash is raised instead of Conflict and SubjectTaken, and the transaction is of no use.
        """

    def attempt(self) -> AbstractContextManager[None]:
        """Inside, what was written is undone if an exception leaves it; the transaction goes on."""


class Log(Reader, Protocol):
    """The append-only log. `id` is its own UUID. `near`: it is of this machine, and answers a question in µs.
    `resumes`: a process may go on after a commit whose outcome is unknown."""

    id: str
    near: bool
    resumes: bool

    def writing(self) -> AbstractContextManager[Transaction]:
        """The lock and one transaction, committed to disk at the end, rolled back on an exception.

        Raises StorageFull, StorageFailed, OutcomeUnknown.
        """

    def by_stream(self, after: str, until: int) -> Generator[Recorded, None, None]:
        """The events up to position `until` of all users' goals, stream by stream, in order, from the stream behind
        `after`. To be closed: until then this thread sees the log as it was."""

    def writes(self) -> int | None:
        """A number that is another one after each transaction of anybody, from before others can see it; None while
        one is being committed, and always where nobody can know without asking. In less than a microsecond."""

    def watch(self, wake: Callable[[], None]) -> None:
        """Call `wake` from a thread, soon after somebody has appended, as far as that is told; until it is closed."""

    def tidy(self) -> None:
        """Upkeep that no command should wait for, to be called now and then by whoever serves."""

    def probe(self) -> None:
        """Commit a row of no meaning, to see that commits work. Raises as `writing` does."""

    def close(self) -> None:
        """Close its files; nobody may be using it."""

    def integrity(self) -> list[str]:
        """What the engine finds wrong with its files, a sentence each."""

    def backup_into(self, target: str, progress: Progress) -> Head:
        """A consistent copy into a new SQLite file while others write. Answers the copy's head."""

    def sizes(self) -> dict[str, int]:
        """Bytes: `database`, and where its files are of this machine `wal` and `free` (left on the disk)."""


class ReadModel(Protocol):
    """A module of `projections/`; see there."""

    # A module's constants are read only, which a protocol says with properties.

    @property
    def __name__(self) -> str: ...
    @property
    def REVISION(self) -> int: ...
    @property
    def Row(self) -> type[Any]: ...
    @property
    def KEY(self) -> tuple[str, ...]: ...
    @property
    def INDEXES(self) -> tuple[tuple[str, ...], ...]: ...
    @property
    def key(self) -> Callable[[Recorded], Key | None]: ...
    @property
    def fold(self) -> Callable[[Any, Recorded], Any]: ...
    def __hash__(self) -> int: ...


class Generation(Struct, frozen=True):
    """One folding of a read model. `state` is live, building or previous; `position` and `command` are its
    checkpoint; `failed_at` and `error` say where and why its fold stopped, if it did; `writes` counts what changed its
    rows, and is compared by whoever wants to change them next. While it is filled stream by stream, `filled` is the
    last one whose rows are there, and `folded` counts their events."""

    id: int
    name: str
    state: str
    position: int
    command: str | None
    failed_at: int | None
    error: str | None
    writes: int = 0
    filled: str | None = None
    folded: int = 0


class Views(Protocol):
    """Keeps the rows of read models, by generation. A process sees only generations of its own code's
    REVISION and fields."""

    def live(self, model: ReadModel) -> Generation:
        """The generation that readers see; made, empty, where there is none."""

    def building(self, model: ReadModel, *, make: bool = False) -> Generation | None:
        """The generation that a rebuild fills; made, empty, if `make` and there is none."""

    def snapshot(
        self, model: ReadModel, generation: Generation | None = None, user: str | None = None
    ) -> tuple[Generation, list[Any]]:
        """A generation (None: the live one) as it is now, and its rows, or one user's, in key order.

        Raises GenerationGone.
        """

    def load(self, model: ReadModel, generation: Generation, keys: Iterable[Key]) -> dict[Key, Any]:
        """The rows that exist under these keys. Raises GenerationGone."""

    def save(
        self, model: ReadModel, generation: Generation, position: int, command: str, rows: dict[Key, Any | None]
    ) -> Generation | None:
        """Rows (None: gone) and the new checkpoint, if nobody wrote since `generation` was read; else None.

        Raises RowRefused.
        """

    def fill(self, model: ReadModel, generation: Generation, rows: Iterable[Any]) -> Generation | None:
        """Add rows, of users who have none yet, and set `position`, `command`, `filled` and `folded` to what they are
        in `generation`, if nobody wrote since it was read; else None. Raises RowRefused."""

    def replace_user(self, model: ReadModel, generation: Generation, user: str, rows: Iterable[Any]) -> bool:
        """Set all of a user's rows, if it is the live one and nobody wrote since it was read."""

    def mark_failed(self, generation: Generation, position: int, error: str) -> None:
        """Keep where and why the fold stopped, if the checkpoint is still `generation.position`."""

    def clear_failed(self, generation: Generation) -> None:
        """Forget a failure, so that it is tried again."""

    def discard(self, generation: Generation) -> None:
        """Remove a generation that nobody reads."""

    def reset(self, generation: Generation) -> None:
        """Empty a generation and set its checkpoint to 0."""

    def differences(self, model: ReadModel, old: Generation, new: Generation) -> tuple[int, int, list[Key]] | None:
        """Rows only in `old`, rows only in `new`, and up to 10 keys of them; None if their checkpoints differ."""

    def flip(self, model: ReadModel, building: Generation) -> bool:
        """Make it live and keep the live one as the previous one; False if it is further behind than that one."""

    def roll_back(self, model: ReadModel) -> Generation | None:
        """Exchange the live and the previous generation; None where there is no previous one."""

    def count(self, generation: Generation) -> int:
        """How many rows it has."""

    def owners(self, model: ReadModel) -> list[str]:
        """The users who have rows in the live generation."""

    def lease(self, name: str) -> AbstractContextManager[bool]:
        """True inside if the caller alone may rebuild the read model of this name."""


class Session(Struct, frozen=True):
    """Somebody signed in. `hash` is the SHA-256 of its token in hexadecimal digits; `stamp` is the user's `password_at`
    when it began; `address`: where; times are µs."""

    hash: str
    user_id: str
    address: str
    stamp: int
    created_at: int
    expires_at: int


class Attempt(Struct, frozen=True):
    """A password that is tried at `at` (µs), on an account (a user's id, or what stands for a name that nobody has),
    from an address. `stamp`: the user's `password_at`, which sessions have that go on."""

    id: str
    account: str
    address: str
    at: int
    stamp: int = 0


USE_NOTED = 60_000_000
"""µs within which another use of a session or a token is not noted."""


class Sessions(Protocol):
    """Who is signed in, when what was last used, and which passwords were tried: what may be lost without harm."""

    def writes(self) -> int | None:
        """As Log.writes, of these."""

    def session(self, hash: str) -> Session | None:
        """The one whose token has this SHA-256."""

    def begin(self, session: Session) -> None:
        """Keep it."""

    def restamp(self, hash: str, stamp: int) -> None:
        """A session goes on after its user's password was changed."""

    def end(self, hash: str) -> None:
        """Forget it."""

    def clear(self) -> None:
        """Forget all sessions."""

    def used(self, id: str) -> int | None:
        """When a session or a token was last used, to the minute (µs), as far as is known."""

    def last_use(self, id: str, made_at: int) -> int:
        """When a session or a token, made at `made_at`, was last used (µs); where nobody can know, the latest that it
        may have been."""

    def note_use(self, id: str, at: int) -> None:
        """Keep that it was used."""

    def attempt(self, attempt: Attempt, since: int, most: int) -> int | None:
        """Keep that a password is tried, and answer 0, unless `most` failed since then on its account, or from its
        address; then answers the time (µs) of the one that must be past before the next. None: not yet, as others
        are being looked at. From an address where the account is signed in, only its own attempts there count."""

    def forget(self, attempt: Attempt) -> None:
        """Nobody looked at the password."""

    def failed(self, attempt: Attempt) -> None:
        """The password did not hold."""

    def held(self, attempt: Attempt) -> None:
        """The password held: what failed before it on the account, from this address, is forgotten."""

    def tidy(self, now: int, idle: int, since: int) -> None:
        """Forget sessions that ended before `now`, uses before `idle`, and attempts before `since` (µs)."""


class Options(Struct, frozen=True):
    """What a server is asked with: `deadline` seconds for one statement, at most so many `connections` a process;
    `standby`: it need not take writes."""

    deadline: float = 5.0
    connections: int = 10
    standby: bool = False


DEFAULTS = Options()

# Kind, user, @, hosts with ports, and database: divided where libpq does, which takes ? and # in a password as such.
_HOST = r"(?:[^@/?:,\[\]]*|\[[^@/?\[\]]*\])(?::\d*)?"
_URL = re.compile(rf"(postgres(?:ql)?://)(?:([^:@/?]*)[^/]*(@))?({_HOST}(?:,{_HOST})*)(/[^@?]*)?(?:\?.*)?", re.DOTALL)


class Storage(Struct, frozen=True):
    """A log, the read models folded from it, and who is signed in."""

    log: Log
    views: Views
    sessions: Sessions
    close: Callable[[], None]


def user_events(
    log: Reader,
    owner: str | None,
    after: int,
    limit: int = 1000,
    *,
    until: int | None = None,
    subject: str | None = None,
    type: str | None = None,
) -> list[Recorded]:
    """As Reader.read, of both streams of one user; of everybody where `owner` is None."""
    if owner is None:
        return log.read(after, limit, until=until, subject=subject, type=type)
    # Both reads end at one position: an event of the second one must not hide an earlier one of the first.
    head = log.head().position
    read = partial(log.read, after, limit, until=head if until is None else min(head, until))
    read = partial(read, subject=subject, type=type)
    lines = [*read(stream=goals_stream(owner)), *read(stream=account_stream(owner))]
    return sorted(lines, key=lambda line: line.position)[:limit]


def all_streams(log: Reader) -> Iterator[str]:
    """The names of all streams, in order."""
    after = ""
    while page := log.streams(after):
        yield from page
        after = page[-1]


# A URL of another kind, or libpq's other form. As a path it would make a file, and its password would be in the name.
_NEITHER = re.compile(r"[a-z][a-z0-9+.-]*://|postgres[a-z0-9+.-]*:|.*\b(host|dbname|user|password)\s*=", re.IGNORECASE)


def _expect_place(url: str) -> None:
    if not is_postgres(url) and _NEITHER.match(url):
        raise Unusable("expected a path, or a URL that begins with postgresql://; found another form")


def is_postgres(url: str) -> bool:
    """Whether it is PostgreSQL's; else it is the path of a file."""
    return url.startswith(("postgresql://", "postgres://"))


def shown(url: str) -> str:
    """A path, or a PostgreSQL URL without its password and options; no more than its kind where it is not clear which
    part of it is the password."""
    if not is_postgres(url):
        return "another form" if _NEITHER.match(url) else url
    found = _URL.fullmatch(url)
    return "".join(part or "" for part in found.groups()) if found else url.partition("://")[0] + "://"


def exists(url: str, options: Options = DEFAULTS) -> bool:
    """Whether there is a log. Raises Unusable."""
    _expect_place(url)
    if is_postgres(url):
        from es_goals.storage import postgres

        return postgres.exists(url, options.deadline)
    return Path(url).exists()


def open_log(path: str, clock: Clock) -> Log:
    """Open, and make where it does not exist, the log at a path, without read models. Raises Unusable."""
    from es_goals.storage.sqlite import SqliteLog

    return SqliteLog(path, clock)


def end_sessions(path: str, log_id: str, clock: Clock) -> None:
    """Forget who is signed in, where a log at this path had sessions. Raises Unusable."""
    from es_goals.storage.sqlite_sessions import SqliteSessions

    sessions = SqliteSessions(path, log_id, clock)
    if Path(sessions.path).exists():
        sessions.clear()
    sessions.close()


def open_storage(url: str, clock: Clock, options: Options = DEFAULTS) -> Storage:
    """Open, and make where it does not exist, the log at a path or a PostgreSQL URL, and its read models.

    Raises Unusable.
    """
    _expect_place(url)
    if is_postgres(url):
        return _on_postgres(url, clock, options)
    from es_goals.storage.sqlite_sessions import SqliteSessions
    from es_goals.storage.sqlite_views import SqliteViews, views_path

    log = open_log(url, clock)
    views = SqliteViews(views_path(url), log.id)
    sessions = SqliteSessions(url, log.id, clock)

    def close() -> None:
        sessions.close()
        views.close()
        log.close()

    return Storage(log, views, sessions, close)


def _on_postgres(url: str, clock: Clock, options: Options) -> Storage:
    from es_goals.storage.postgres import PostgresLog
    from es_goals.storage.postgres_connections import Connections
    from es_goals.storage.postgres_sessions import PostgresSessions
    from es_goals.storage.postgres_views import PostgresViews

    connections = Connections(url, options.deadline, options.connections, standby=options.standby)
    log = PostgresLog(connections, clock)
    return Storage(log, PostgresViews(connections), PostgresSessions(connections), log.close)


def migrate(url: str, clock: Clock, options: Options = DEFAULTS, service: str | None = None) -> int:
    """Make the log or bring it to this software's schema; on PostgreSQL, let the role `service` serve besides.

    Answers the schema's version. Raises Unusable.
    """
    from es_goals.storage.sql import SCHEMA

    if is_postgres(url):
        from es_goals.storage import postgres

        postgres.migrate(url, options.deadline, service)
    else:
        open_storage(url, clock).close()
    return SCHEMA
