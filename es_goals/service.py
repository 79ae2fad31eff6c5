"""Takes commands: decides them on the user's cached Goals, appends what they cause, answers each command once."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol, TypeVar, cast

from msgspec import Struct

from es_goals.accounts import changes
from es_goals.events import (
    GoalCreated,
    GoalEvent,
    Recorded,
    goals_stream,
    moment,
)
from es_goals.goals.commands import (
    Command,
    CreateGoal,
    GoalExists,
    GoalNotFound,
    LimitReached,
    Limits,
    RestoreGoal,
)
from es_goals.goals.outcome import Result, _results
from es_goals.goals.rules import decide
from es_goals.goals.state import Goals, evolve
from es_goals.storage.deadlines import NEVER, Deadline
from es_goals.storage.errors import Interrupted, SubjectTaken
from es_goals.storage.log import Cause, Head, Log, StoredKey, Transaction, User, all_lines
from es_goals.storage.writer import Writer
from es_goals.values import Rejected

PAGE = 5_000  # events of a user read at once: finding where a page begins takes longer the more are behind it
REGISTRATIONS = "account:"
"""With the id of who is signed in, if somebody is: the stream under which keys of registrations are remembered."""
GOAL_BYTES = 500  # that Python takes for a goal without its texts; measured: 470
TEXT_BYTES = 8  # for a character at the most, as of emoji, whose UTF-8 stays with them once it was made
DECIDING = 0.5  # of the seconds that a request has left; who waits behind it has the rest of theirs
T = TypeVar("T")


class KeyReused(Exception):
    """The Idempotency-Key was used before, with another request."""


class Changed(Exception):
    """The goal, or the user's goals, are not at the revision that the client named."""


class RejectedAt(Exception):
    """One of several commands was refused, and with it all. `index` tells which, `error` why."""

    def __init__(self, index: int, error: Rejected) -> None:
        super().__init__(str(error))
        self.index, self.error = index, error


class Expected(Struct, frozen=True):
    """What the client last saw: any of these revisions of a goal, or versions of all the user's goals (`goal_id` None);
    `any_of` None: whichever. And which it must not be."""

    goal_id: str | None
    any_of: frozenset[int] | None
    none_of: frozenset[int] = frozenset()


class Request(Struct, frozen=True):
    """Commands of one user, recorded all or none under one command id. `key` and `digest` are the client's
    Idempotency-Key and the SHA-256 of its request. `batch`: a refusal tells which command it is about, also where there
    is one only. `shown`: the goals are answered."""

    user_id: str
    commands: Sequence[Command]
    cause: Cause
    key: str | None = None
    digest: bytes = b""
    expected: Expected | None = None
    batch: bool = False
    shown: bool = True

    @property
    def several(self) -> bool:
        """Whether it is a batch, or has more commands than one."""
        return self.batch or len(self.commands) > 1


class Outcome(Struct, frozen=True):
    """The answer to a request. `position` is that of its last event, of the user's last event where it
    recorded nothing; `version` the user's then; `events` counts those that this request recorded, and `command` is the
    id that they have, None where there are none.

    Of a dry run `tried` are those that it would have recorded, and `end` is where the log ended, at the time that they
    would have had; `instead`: JSON that is answered in place of the results."""

    position: int
    version: int
    results: Sequence[Result]
    replayed: bool = False
    events: int = 0
    command: str | None = None
    tried: Sequence[GoalEvent] | None = None
    end: Head = Head()
    instead: bytes | None = None


class Registered(Struct, frozen=True):
    """The answer to a registration."""

    user: User
    position: int
    replayed: bool = False


class Pool(Protocol):
    """Threads for what would hold the event loop up."""

    async def run(self, work: Callable[[], T], deadline: Deadline, user: str | None) -> T:
        """Return what the work returns. `user`: the id of who asks, in whose share it counts. Raises Interrupted at the
        deadline."""


class _Bounds(NamedTuple):
    limits: Limits
    events: int


class _Cached(Struct):
    goals: Goals
    position: int
    counted: int = 0


class Service:
    """Commands in, outcomes out. `cache` bounds the bytes of goals kept in memory over all users; `pool` runs what
    would hold the event loop up; `limits`: what one user may have; `events`: how many a request may cause."""

    def __init__(
        self,
        log: Log,
        pool: Pool,
        cache: int,
        limits: Limits,
        events: int,
        *,
        failed: Callable[[], None] = lambda: None,
        committed: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._bounds = _Bounds(limits, events)
        self._log, self._pool, self._bound = log, pool, cache
        self._cache: OrderedDict[str, _Cached] = OrderedDict()
        self._size = 0
        self.writer = Writer(log, self._follow, self._forget, failed, committed)

    async def execute(self, request: Request, deadline: Deadline = NEVER) -> Outcome:
        """Decide and record a request. Raises Rejected, RejectedAt, KeyReused, Changed, StorageError; at the deadline
        Interrupted, or TimeoutError where nobody knows whether it was recorded."""
        # Also what could be answered from the log: until a commit works, what failed before may not be on disk.
        self.writer.check()
        seconds = deadline.left() * DECIDING
        stream = goals_stream(request.user_id)
        actor = request.cause.actor
        cold = (
            []
            if stream in self._cache
            else [await self._pool.run(partial(_folded, self._log, stream), deadline, actor)]
        )
        place = None if request.key is None else (stream, request.key)
        decide = partial(self._decide, request=request, stream=stream, cold=cold, seconds=seconds)
        outcome = await self.writer.submit(decide, deadline, place)
        if outcome is None:
            return await self._pool.run(partial(self._repeat, request, stream), deadline, actor)
        return outcome

    async def register(
        self,
        user: User,
        cause: Cause,
        key: str | None = None,
        digest: bytes = b"",
        deadline: Deadline = NEVER,
        password: str | None = None,
    ) -> Registered:
        """Make a user; `password` as it is kept. Raises UserNameTaken, KeyReused, StorageError, TimeoutError."""
        stream = f"{REGISTRATIONS}{cause.actor or ''}"

        def work(transaction: Transaction) -> Registered:
            if key is not None and (done := transaction.stored_key(stream, key)):
                return Registered(_user_made_by(transaction, _same_request(done, digest)), done.last, True)
            made, position = changes.register(transaction, user, cause, password)
            if key is not None:
                transaction.store_key(StoredKey(stream, key, digest, position, position))
            return Registered(made, position)

        return await self.writer.submit(work, deadline, None if key is None else (stream, key))

    async def change(self, work: Callable[[Transaction], T], deadline: Deadline = NEVER) -> T:
        """What changes an account, in a transaction. Raises what it raises, StorageError, TimeoutError."""
        return await self.writer.submit(work, deadline)

    def close(self) -> None:
        """Finish what was taken."""
        self.writer.close()

    async def dry_run(self, request: Request, now: int, deadline: Deadline) -> Outcome:
        """What a request would come to, at the time `now` (µs): decided on a fold of its own, nothing recorded and no
        key looked up or kept. Raises as `execute` does, but never TimeoutError."""
        return await self._pool.run(partial(self._try, request, now, deadline), deadline, request.cause.actor)

    def _try(self, request: Request, now: int, deadline: Deadline) -> Outcome:
        folded = _folded(self._log, goals_stream(request.user_id))
        goals, version = folded.goals, folded.goals.version
        _check(goals, request)
        head = self._log.head()
        at = max(now, head.at)
        events = _decided(goals, request, at, self._bounds, deadline)
        for event in events:
            if isinstance(event, GoalCreated) and self._log.owner(event.goal_id) is not None:
                raise _taken(request, event.goal_id)
        if not request.several:
            for event in events:
                evolve(goals, event, at)
        results = _shown(goals, request, events)
        return Outcome(folded.position, version, results, tried=events, end=Head(head.position, at))

    def _repeat(self, request: Request, stream: str) -> Outcome:
        """The first answer again, from what was recorded."""
        assert request.key is not None
        remembered = self._log.stored_key(stream, request.key)
        assert remembered is not None
        done = _same_request(remembered, request.digest)
        then = _folded(self._log, stream, done.last)
        lines = self._log.read(done.first - 1, done.last - done.first + 1, until=done.last)
        events = [cast(GoalEvent, line.event) for line in lines]
        command = lines[0].command if lines else None
        return Outcome(done.last, then.goals.version, _shown(then.goals, request, events), True, len(events), command)

    def _decide(
        self, transaction: Transaction, request: Request, stream: str, cold: list[_Cached], seconds: float
    ) -> Outcome | None:
        """In the writer: the events are decided, appended and evolved, or nothing is. None: it is a repeat."""
        if request.key is not None and transaction.stored_key(stream, request.key):
            return None
        cached = self._cached(transaction, stream, cold)
        goals, version = cached.goals, cached.goals.version
        try:
            _check(goals, request)
            events = _decided(goals, request, transaction.at, self._bounds, Deadline.after(seconds))
            if events:
                cached.position = self._append(transaction, request, stream, version, events)
            self._store_key(transaction, request, stream, cached.position, len(events))
            if not request.several:  # several were evolved while they were decided
                for event in events:
                    evolve(goals, event, transaction.at)
            results = _shown(goals, request, events)
        except BaseException:
            if goals.version != version:
                self._drop(stream)
            raise
        self._count(cached)
        self._shrink(stream)
        command = request.cause.command if events else None
        return Outcome(cached.position, goals.version, results, events=len(events), command=command)

    def _append(
        self, transaction: Transaction, request: Request, stream: str, version: int, events: list[GoalEvent]
    ) -> int:
        """Returns the last event's position."""
        try:
            lines = transaction.append(stream, version, events, request.cause)
        except SubjectTaken as taken:
            raise _taken(request, taken.subject) from taken
        return lines[-1].position

    def _store_key(self, transaction: Transaction, request: Request, stream: str, last: int, events: int) -> None:
        """Also where nothing was recorded, which is an empty range behind the user's last event: a repeat must not be
        decided anew."""
        if request.key is not None:
            transaction.store_key(StoredKey(stream, request.key, request.digest, last - events + 1, last))

    def _cached(self, transaction: Transaction, stream: str, cold: list[_Cached]) -> _Cached:
        """The user's Goals at the log's end. What was folded ahead is used up, since deciding changes it."""
        cached = self._cache.get(stream)
        if cached is None:
            cached = cold.pop() if cold else _Cached(Goals(), 0)
            _top_up(transaction, stream, cached)
            self._cache[stream] = cached
            self._count(cached)
            self._shrink(stream)
        self._cache.move_to_end(stream)
        return cached

    def _follow(self, lines: Sequence[Recorded]) -> None:
        for line in lines:
            cached = self._cache.get(line.stream)
            if cached is not None and line.version == cached.goals.version + 1:
                _evolve(cached, line)
                self._count(cached)

    def _shrink(self, keep: str) -> None:
        """Forget who was not heard of for the longest time, except the one just served."""
        while self._size > self._bound and (oldest := next(iter(self._cache))) != keep:
            self._drop(oldest)

    def _drop(self, stream: str) -> None:
        self._size -= self._cache.pop(stream).counted

    def _count(self, cached: _Cached) -> None:
        size = GOAL_BYTES * (len(cached.goals.known) + 1) + TEXT_BYTES * cached.goals.text
        self._size += size - cached.counted
        cached.counted = size

    def _forget(self) -> None:
        self._cache.clear()
        self._size = 0


def _decided(goals: Goals, request: Request, at: int, bounds: _Bounds, deadline: Deadline) -> list[GoalEvent]:
    """What all commands cause. Of several, each is decided on what those before it left behind, until time is up."""
    now = moment(at)
    if not request.several:
        caused = decide(goals, request.commands[0], now, bounds.limits)
        _expect_few(len(caused), bounds.events)
        return list(caused)
    events: list[GoalEvent] = []
    for index, command in enumerate(request.commands):
        if deadline.expired():
            raise Interrupted(f"expected all commands to be decided in time; found {index} decided, and recorded none")
        try:
            caused = decide(goals, command, now, bounds.limits)
            _expect_few(len(events) + len(caused), bounds.events)
        except Rejected as error:
            raise RejectedAt(index, error) from error
        for event in caused:
            evolve(goals, event, at)
        events += caused
    return events


def _shown(goals: Goals, request: Request, events: Sequence[GoalEvent]) -> Sequence[Result]:
    return _results(goals, request.commands, events) if request.shown else ()


def _taken(request: Request, goal_id: str) -> GoalExists | RejectedAt:
    """The refusal of a goal whose id somebody had before."""
    error = GoalExists(goal_id)
    if not request.several:
        return error
    made = [one.goal_id if isinstance(one, CreateGoal) else None for one in request.commands]
    return RejectedAt(made.index(goal_id), error)


def _expect_few(events: int, most: int) -> None:
    if events > most:
        raise LimitReached(f"{most} events of one request", events)


def _check(goals: Goals, request: Request) -> None:
    expected = request.expected
    if expected is None:
        return
    found = goals.version
    if expected.goal_id is not None:
        goal = goals.known.get(expected.goal_id)
        restored = isinstance(request.commands[0], RestoreGoal)
        if goal is None or (goal.root is not None and not restored):
            raise GoalNotFound(expected.goal_id)
        found = goal.revision
    what = "the user's goals at version" if expected.goal_id is None else "the goal at revision"
    if found in expected.none_of:
        raise Changed(f"expected {what} other than {found}; found that")
    if expected.any_of is not None and found not in expected.any_of:
        named = " or ".join(str(one) for one in sorted(expected.any_of)) or "one that was never answered"
        raise Changed(f"expected {what} {named}; found {found}")


def _same_request(done: StoredKey, digest: bytes) -> StoredKey:
    if done.digest != digest:
        raise KeyReused(f"expected the request that was first sent with the key {done.key!r}; found another one")
    return done


def _user_made_by(transaction: Transaction, done: StoredKey) -> User:
    user = transaction.user(transaction.read(done.first - 1, 1)[0].owner)
    assert user is not None
    return user


def _folded(log: Log, stream: str, until: int | None = None) -> _Cached:
    cached = _Cached(Goals(), 0)
    _top_up(log, stream, cached, until)
    return cached


def _top_up(log: Log | Transaction, stream: str, cached: _Cached, until: int | None = None) -> None:
    for line in all_lines(log, cached.position, PAGE, stream=stream, until=until):
        _evolve(cached, line)


def _evolve(cached: _Cached, line: Recorded) -> None:
    evolve(cached.goals, cast(GoalEvent, line.event), line.at)
    cached.position = line.position
