"""Takes commands: decides them on the user's cached Goals, appends what they cause, answers each command once."""

from collections.abc import Callable, Container, Sequence
from functools import partial
from time import thread_time
from typing import Protocol, TypeVar, cast

import structlog
from msgspec import Struct

from es_goals.accounts import changes
from es_goals.charges import UNBOUNDED, Charge, HistoryBound, Work, free_of_charge
from es_goals.deciding import Bounds, Prepared, Request, decided, expect_seen, taken_again
from es_goals.events import GoalEvent, goals_stream
from es_goals.folded import Folded, GoalsCache, folded, shown_then
from es_goals.goals.commands import LimitReached, Limits
from es_goals.goals.outcome import Result, _results
from es_goals.goals.state import Goals, Trial, evolve
from es_goals.storage.deadlines import NEVER, Deadline, current
from es_goals.storage.errors import Interrupted, SubjectTaken
from es_goals.storage.log import Cause, Head, Log, Reader, StoredKey, Transaction, User, line_size
from es_goals.storage.writer import Ticket, Writer

REGISTRATIONS = "account:"
"""With the id of who is signed in, if somebody is: the stream under which keys of registrations are remembered."""
DECIDING = 0.5  # of the seconds that a request has left; the rest is for recording it
SLICE_SECONDS = 0.1  # of the writer for deciding one request, for which everybody waits
LONG = 1_000  # commands of one request, or goals of an undo, that the writer may decide itself
KEY_BYTES = 200  # that the row of a key takes besides its text
WARNED = 0.8
"""Of a user's history, from where on operators are warned."""
T = TypeVar("T")

logger = structlog.get_logger()


class KeyReused(Exception):
    """The Idempotency-Key was used before, with another request."""


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


class _Work(Struct):
    """A request for the writer. `cold`: the user's goals where they were folded ahead, to be used up; `prepared`: what
    was decided ahead."""

    request: Request
    stream: str
    cold: list[Folded]
    prepared: Prepared | None = None


class _Later(Struct, frozen=True):
    """It is to be decided outside of the writer, as of this time (µs), before it comes again."""

    at: int


class Service:
    """Commands in, outcomes out. `cache` bounds the bytes of goals kept in memory over all users; `pool` runs what
    would hold the event loop up; `limits`: what one user may have; `events`: how many a request may cause; `charge` is
    told what each request took of the writer's time, whatever came of it; `history`: how much a user
    may record."""

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
        charge: Charge = free_of_charge,
        history: HistoryBound = UNBOUNDED,
    ) -> None:
        self._bounds, self._charge, self._history = Bounds(limits, events), charge, history
        self._log, self._pool, self._cache = log, pool, GoalsCache(cache)
        self.writer = Writer(log, self._cache.follow, self._cache.forget, failed, committed)

    async def execute(self, request: Request, deadline: Deadline = NEVER) -> Outcome:
        """Decide and record a request. Raises Rejected, RejectedAt, Outdated, KeyReused, Changed, StorageError; at the
        deadline Interrupted, or TimeoutError where nobody knows whether it was recorded."""
        # Also what could be answered from the log: until a commit works, what failed before may not be on disk.
        self.writer.check()
        stream = goals_stream(request.user_id)
        actor = request.cause.actor
        cold = (
            [] if stream in self._cache else [await self._pool.run(partial(folded, self._log, stream), deadline, actor)]
        )
        place = None if request.key is None else (stream, request.key)
        ticket = Ticket(actor or request.user_id, stream, place, request.brought)
        work = _Work(request, stream, cold)
        while isinstance(found := await self.writer.submit(partial(self._timed, work=work), deadline, ticket), _Later):
            work = await self._pool.run(partial(self._prepare, request, stream, found.at), deadline, actor)
        if found is None:
            return await self._pool.run(partial(self._repeat, request, stream), deadline, actor)
        return found

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

        place = None if key is None else (stream, key)
        return await self.writer.submit(work, deadline, Ticket(cause.actor, place=place))

    async def change(self, work: Callable[[Transaction], T], deadline: Deadline = NEVER, actor: str | None = None) -> T:
        """What changes an account, in a transaction, in the turn of who asks. Raises what it raises, StorageError,
        TimeoutError."""
        return await self.writer.submit(work, deadline, Ticket(actor))

    def close(self) -> None:
        """Finish what was taken."""
        self.writer.close()

    async def dry_run(self, request: Request, now: int, deadline: Deadline) -> Outcome:
        """What a request would come to, at the time `now` (µs): decided on a fold of its own, nothing recorded and no
        key looked up or kept. Raises as `execute` does, but never TimeoutError."""
        return await self._pool.run(partial(self._try, request, now, deadline), deadline, request.cause.actor)

    def _try(self, request: Request, now: int, deadline: Deadline) -> Outcome:
        known = folded(self._log, goals_stream(request.user_id))
        goals, version = known.goals, known.goals.version
        expect_seen(goals, request)
        head = self._log.head()
        at = max(now, head.at)
        events = self._caused(self._log, Trial(goals), request, at, self._log.taken(request.brought), deadline)
        if not request.several:
            for event in events:
                evolve(goals, event, at)
        results = _shown(goals, request, events)
        return Outcome(known.position, version, results, tried=events, end=Head(head.position, at))

    def _repeat(self, request: Request, stream: str) -> Outcome:
        """The first answer again, from what was recorded."""
        assert request.key is not None
        remembered = self._log.stored_key(stream, request.key)
        assert remembered is not None
        done = _same_request(remembered, request.digest)
        lines = self._log.read(done.first - 1, done.last - done.first + 1, until=done.last)
        events = [cast(GoalEvent, line.event) for line in lines]
        newest = lines or self._log.read(done.last - 1, 1, until=done.last)
        then = shown_then(self._log, stream, request, events, done.last)
        version = newest[-1].version if newest else 0
        command = lines[0].command if lines else None
        return Outcome(done.last, version, _shown(then, request, events), True, len(events), command)

    def _timed(self, transaction: Transaction, work: _Work) -> Outcome | _Later | None:
        """In the writer: decide, and charge what it took, also where it is refused."""
        begun, position, size = thread_time(), transaction.position, 0
        try:
            found, size = self._decide(transaction, work)
            return found
        finally:
            if (actor := work.request.cause.actor) is not None:
                took = thread_time() - begun
                self._charge(actor, Work(took, max(0, transaction.position - position), size))

    def _decide(self, transaction: Transaction, work: _Work) -> tuple[Outcome | _Later | None, int]:
        """The events are decided, or were, then appended and evolved, or nothing is. None: it is a repeat. And how many
        bytes were recorded."""
        request, stream = work.request, work.stream
        if request.key is not None and transaction.stored_key(stream, request.key):
            return None, 0
        cached = self._cache.current(transaction, stream, work.cold)
        goals, version = cached.goals, cached.goals.version
        self._expect_room(cached)
        trial = Trial(goals)
        try:
            events = self._events(transaction, work, trial)
            if isinstance(events, _Later):
                return events, 0
            last, size = self._append(transaction, request, stream, version, events)
            last = last or cached.position
            self._store_key(transaction, request, stream, last, len(events))
            if request.decider is not None:
                request.decider.recorded(transaction, last)
            if goals.version == version:  # several were evolved while they were decided
                for event in events:
                    evolve(goals, event, transaction.at)
            results = _shown(goals, request, events)
        except BaseException:
            trial.take_back()
            if goals.version != version:
                self._cache.drop(stream)
            raise
        cached.position = last
        self._grow(cached, stream, size)
        self._cache.changed(stream)
        command = request.cause.command if events else None
        return Outcome(last, goals.version, results, events=len(events), command=command), size

    def _expect_room(self, cached: Folded) -> None:
        """Raises LimitReached: the user's history is as long as it may be."""
        if 0 < self._history.most <= cached.history:
            self._history.refused()
            raise LimitReached(f"{self._history.most} bytes of history of one user", cached.history)

    def _grow(self, cached: Folded, stream: str, size: int) -> None:
        before, warned_at = cached.history, self._history.most * WARNED
        cached.history += size
        if before < warned_at <= cached.history:
            self._history.warned()
            logger.warning("history_nearly_full", stream=stream, bytes=cached.history, most=self._history.most)

    def _events(self, transaction: Transaction, work: _Work, trial: Trial) -> list[GoalEvent] | _Later:
        """What is to be recorded. What takes longer than others should wait is decided outside of the writer."""
        request, prepared = work.request, work.prepared
        taken = transaction.taken(request.brought) if request.brought else frozenset[str]()
        if prepared is not None:
            events = prepared.at_time(transaction.at) if trial.goals.version == prepared.version else None
            if events is None:
                return _Later(transaction.at)
            if taken:
                raise taken_again(request, next(one for one in request.brought if one in taken))
            return events
        if request.size > LONG:
            return _Later(transaction.at)
        expect_seen(trial.goals, request)
        try:
            return self._caused(transaction, trial, request, transaction.at, taken, Deadline.after(SLICE_SECONDS))
        except Interrupted:
            return _Later(transaction.at)

    def _prepare(self, request: Request, stream: str, at: int) -> _Work:
        """In a thread of the pool: decide at the time `at` (µs) on a fold of its own, which is left as it was."""
        known = folded(self._log, stream)
        expect_seen(known.goals, request)
        deadline = Deadline.after(current().left() * DECIDING)
        version, trial = known.goals.version, Trial(known.goals)
        events = self._caused(self._log, trial, request, at, self._log.taken(request.brought), deadline)
        trial.take_back()
        return _Work(request, stream, [known], Prepared(events, version, at))

    def _caused(
        self, log: Reader, trial: Trial, request: Request, at: int, taken: Container[str], deadline: Deadline
    ) -> list[GoalEvent]:
        if request.decider is not None:
            return request.decider.decide(log, trial, at, deadline)
        return decided(trial, request, at, self._bounds, taken, deadline)

    def _append(
        self, transaction: Transaction, request: Request, stream: str, version: int, events: list[GoalEvent]
    ) -> tuple[int, int]:
        """Returns the last event's position, 0 where there is none, and the bytes of all that is recorded."""
        key = 0 if request.key is None else KEY_BYTES + len(request.key)
        if not events:
            return 0, key
        try:
            lines = transaction.append(stream, version, events, request.cause)
        except SubjectTaken as taken:
            raise taken_again(request, taken.subject) from taken
        return lines[-1].position, key + sum(map(line_size, lines))

    def _store_key(self, transaction: Transaction, request: Request, stream: str, last: int, events: int) -> None:
        """Also where nothing was recorded, which is an empty range behind the user's last event: a repeat must not be
        decided anew."""
        if request.key is not None:
            transaction.store_key(StoredKey(stream, request.key, request.digest, last - events + 1, last))


def _shown(goals: Goals, request: Request, events: Sequence[GoalEvent]) -> Sequence[Result]:
    return _results(goals, request.commands, events) if request.shown else ()


def _same_request(done: StoredKey, digest: bytes) -> StoredKey:
    if done.digest != digest:
        raise KeyReused(f"expected the request that was first sent with the key {done.key!r}; found another one")
    return done


def _user_made_by(transaction: Transaction, done: StoredKey) -> User:
    user = transaction.user(transaction.read(done.first - 1, 1)[0].owner)
    assert user is not None
    return user
