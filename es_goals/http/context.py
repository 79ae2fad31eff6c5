"""What the doors share: the rooms behind them, the caches, the threads, and the watch on the log's end."""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any, TypeVar

import structlog
from falcon.asgi import Request, Response

from es_goals import metrics
from es_goals.accounts.caller import Caller
from es_goals.events import micros
from es_goals.goals.commands import Command, GoalNotFound
from es_goals.http import requests
from es_goals.http.edge.access import secret_of
from es_goals.http.edge.peers import address_key
from es_goals.http.edge.rates import Rates
from es_goals.http.edge.streams import Streams
from es_goals.http.problems import Refusal
from es_goals.projector import Projector
from es_goals.reads.cache import Coalescer, LogCache, uuid_of
from es_goals.reads.callers import Authenticator
from es_goals.reads.follower import Follower
from es_goals.reads.replica import Replica, Source
from es_goals.reads.trees import CachedAnswer, Lru, UserTree
from es_goals.service import Outcome, Service
from es_goals.service import Request as Commands
from es_goals.settings import Settings
from es_goals.storage import Storage
from es_goals.storage.deadlines import Deadline
from es_goals.storage.errors import Interrupted, StorageError
from es_goals.storage.log import Cause, Clock, Transaction, User

log = structlog.get_logger()
HASHED_AT_ONCE = 4
"""Passwords of one address that are looked at, or wait for that, in a worker; fewer than the guesses that it has."""
HASHED_IN_ALL = 64
"""The same of all addresses: some 2 s of a core."""
EVENTS_A_REQUEST = 10
"""What records more counts as so many requests more: the writer's time is everybody's."""
TREE = "goal_tree"
"""The read model that the doors answer from."""
JSON = "application/json; charset=utf-8"
T = TypeVar("T")
_left: ContextVar[float] = ContextVar("left")
"""Seconds that the request at hand may still wait for the storage."""


class Context:
    """Made in the process that serves."""

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        service: Service,
        projector: Projector,
        pool: ThreadPoolExecutor,
        clock: Clock,
        new_id: Callable[[], str],
        replica: Replica | None = None,
        failed: Callable[[], None] = lambda: None,
        rates: Rates | None = None,
    ) -> None:
        self.settings, self.storage, self.log = settings, storage, storage.log
        self.service, self.projector, self.pool = service, projector, pool
        self.clock, self.new_id, self.rates = clock, new_id, rates
        self._primary, self._replica = Source(storage, projector), replica
        self.recent = LogCache(storage.log, lambda: projector.healthy_generation(TREE).id, failed)
        self.sessions = storage.sessions
        self.callers = Authenticator(self.recent, storage.sessions, clock, settings)
        self._hashed: Counter[str] = Counter()
        self._hashing = ThreadPoolExecutor(max(1, _cores() // settings.workers), "hasher")
        self._asking = None if storage.log.is_local else ThreadPoolExecutor(1, "asker")
        self._asker = Coalescer(self.recent, self._asking) if self._asking else None
        self.forests: Lru[str, UserTree] = Lru(settings.cached_trees, lambda forest: len(forest.nodes) + 1)
        self.answers: Lru[tuple[str, str | None, str], CachedAnswer] = Lru(
            settings.cached_answers, lambda ready: len(ready.data) + 300
        )
        self.streams = Streams(settings.streams_limit, settings.user_streams_limit)
        self.tail = Follower(settings.tick)
        self._background: set[asyncio.Future[None]] = set()

    def begin(self) -> None:
        """A request, or a stream's next part, has all of the deadline before it."""
        _left.set(self.settings.deadline)

    def deadline(self) -> Deadline:
        """When the request at hand must be done."""
        return Deadline.after(_left.get(self.settings.deadline))

    async def _waited(self, work: Awaitable[T]) -> T:
        """What a request waits for counts, however often it waits. Raises Interrupted at the deadline."""
        loop, left = asyncio.get_running_loop(), _left.get(self.settings.deadline)
        began = loop.time()
        try:
            async with asyncio.timeout(left):
                return await work
        except TimeoutError:
            raise Interrupted("expected an answer before the deadline; found the storage still busy") from None
        finally:
            _left.set(left + began - loop.time())

    async def in_thread(self, work: Callable[[], T]) -> T:
        """A read that may take longer than the event loop should wait, and ends at the deadline too. Raises
        Interrupted."""
        return await self._waited(asyncio.get_running_loop().run_in_executor(self.pool, self.deadline().run, work))

    async def ask(self, question: Callable[[], T]) -> T:
        """What `recent` knows after a look at the log's end. Where the log is near, the event loop asks, in some µs;
        else one thread does for all. Raises Interrupted at the deadline."""
        if self._asker is None:
            self.recent.follow()
            return question()
        return await self._waited(self._asker.ask(question))

    async def quickly(self, work: Callable[[], T]) -> T:
        """A few questions to the log: on the event loop where it is near, else in a thread."""
        return work() if self._asker is None else await self.in_thread(work)

    def read(self, has: Callable[[Source], bool], work: Callable[[Source], T]) -> T:
        """In a thread: work that only reads, on the replica if there is one that has what must be seen."""
        if self._replica is not None:
            try:
                if (reading := self._replica.with_all(has)) is not None:
                    done = work(reading)
                    metrics.replica_reads.inc()
                    return done
            except Interrupted:
                raise
            except StorageError as error:
                self._replica.back_off(str(error))
        return work(self._primary)

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Goes on after the answer."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def drain(self) -> None:
        """Wait for what goes on in the background."""
        await asyncio.gather(*self._background, return_exceptions=True)

    def close(self) -> None:
        """End the threads, and let the storage go."""
        for pool in (self.pool, self._hashing, self._asking):
            if pool is not None:
                pool.shutdown()
        if self._replica is not None:
            self._replica.close()
        self.storage.close()

    async def user(self, req: Request, name_or_id: str) -> User:
        """The user of a path, if the caller may see that one. Raises Refusal."""
        known = None if self.log.is_local else self.recent.known_user(name_or_id)
        found = known or await self.ask(lambda: self.recent.user(name_or_id))
        if found is None or not _may_see(req, found):
            raise Refusal("user-not-found", f"expected a user's name or id; found {name_or_id[:100]!r}")
        return found

    async def owner(self, req: Request, goal_id: str) -> tuple[User, str]:
        """The user whose goal this is or was, if the caller may see that one, and the id as it is written in the log.
        Raises GoalNotFound."""
        known = uuid_of(goal_id)
        user = await self.owner_of(known) if known else None
        if user is None or known is None or not _may_see(req, user):
            raise GoalNotFound(goal_id[:100])
        return user, known

    async def owner_of(self, goal_id: str) -> User | None:
        """The user whose goal this is or was; None where no goal ever had the id."""
        known = None if self.log.is_local else self.recent.known_owner(goal_id)
        return known or await self.ask(lambda: self.recent.owner(goal_id))

    def as_of(self, text: str) -> tuple[int, bool]:
        """The position that `as_of` names, and whether the answer is settled. Raises Refusal."""
        point = requests.moment_or_position(text, "as_of")
        head = self.log.head()
        if isinstance(point, datetime):
            at = micros(point)
            return self.log.position_at(at), at < head.at
        if point > head.position:
            detail = f"expected a position up to the head, {head.position}; found {point}"
            raise Refusal("invalid-value", detail, parameter="as_of")
        return point, True

    async def command(
        self,
        req: Request,
        resp: Response,
        user: User,
        commands: list[Command],
        goal_id: str | None = None,
        reason: str | None = None,
        *,
        batch: bool = False,
    ) -> Outcome:
        """Execute a request's commands, and answer the headers that every command answers."""
        await self._expect_still_in(req)
        cause = requests.cause(req, self.new_id(), reason)
        key, digest = requests.idempotency(req, cause.reason)
        expected = requests.expected(req, goal_id)
        request = Commands(user.id, commands, cause, key, digest, expected, batch)
        outcome = await self.service.execute(request, self.deadline())
        if self.rates is not None and cause.actor is not None and outcome.events > EVENTS_A_REQUEST:
            self.rates.charge(cause.actor, outcome.events / EVENTS_A_REQUEST - 1)
        resp.set_header("Position", str(outcome.position))
        if outcome.replayed:
            resp.set_header("Idempotent-Replayed", "true")
        return outcome

    async def register(
        self, req: Request, resp: Response, user: User, reason: str | None, password: str | None
    ) -> User:
        """Make a user, and answer the headers that every command answers."""
        await self._expect_still_in(req)
        cause = requests.cause(req, self.new_id(), reason)
        key, digest = requests.idempotency(req, cause.reason)
        if req.context.caller is None and not self.settings.open:
            key = None  # of nobody: another stranger could come with the same
        registered = await self.service.register(user, cause, key, digest, self.deadline(), password)
        resp.set_header("Position", str(registered.position))
        if registered.replayed:
            resp.set_header("Idempotent-Replayed", "true")
        return registered.user

    async def change(self, req: Request, work: Callable[[Transaction, Cause], T], reason: str | None = None) -> T:
        """Do what changes an account, in a transaction; what it raises is raised."""
        await self._expect_still_in(req)
        cause = requests.cause(req, self.new_id(), reason)
        return await self.service.change(lambda transaction: work(transaction, cause), self.deadline())

    async def pause(self, seconds: float) -> None:
        """Wait for something else to end. Raises Interrupted at the deadline."""
        await self._waited(asyncio.sleep(seconds))

    async def admitted(self, secret: str) -> Caller | None:
        """Who holds this token, as of now, and that it is used."""
        found = await self.ask(lambda: self.callers.caller(secret))
        if found is None:
            return None
        caller, due = found
        if due:
            self.in_background(asyncio.to_thread(self._note_use, caller.credential))
        return caller

    async def _expect_still_in(self, req: Request) -> None:
        """Who was let in may have been thrown out since, while the body was on its way. Raises Refusal."""
        if req.context.caller is not None and await self.admitted(secret_of(req) or "") is None:
            raise Refusal("unauthenticated", "expected a token that is good; found one that ended meanwhile")

    def _note_use(self, credential: str) -> None:
        try:
            self.sessions.record_use(credential, self.clock())
        except StorageError as error:  # it is no more than a note
            log.warning("use_not_noted", detail=str(error))

    async def hashing(self, work: Callable[[], T]) -> T:
        """What takes a core and much memory, for no more at once than there are cores; in a `password_slot`. Raises
        Interrupted."""
        return await self._waited(asyncio.get_running_loop().run_in_executor(self._hashing, work))

    @contextmanager
    def password_slot(self, address: str) -> Iterator[None]:
        """Among those whose passwords are looked at, or wait for that: who comes with many keeps nobody else waiting.
        Raises Refusal."""
        whose = address_key(address)
        if self._hashed[whose] >= HASHED_AT_ONCE or self._hashed.total() >= HASHED_IN_ALL:
            raise Refusal("too-many-requests", "expected few passwords to look at; found too many that wait already")
        self._hashed[whose] += 1
        try:
            yield
        finally:
            self._hashed[whose] -= 1
            if not self._hashed[whose]:
                del self._hashed[whose]


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _may_see(req: Request, user: User) -> bool:
    caller: Caller | None = req.context.caller
    return caller is None or caller.may_see(user.id)


class Resource:
    """A resource: what answers at one path."""

    def __init__(self, context: Context) -> None:
        self._context = context
