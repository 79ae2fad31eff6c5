"""The query side: questions in, answers out. No HTTP: the command line uses its parts too."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Self, TypeVar
from weakref import WeakValueDictionary
from zlib import crc32

import structlog
from msgspec import Struct

from es_goals.accounts.caller import Caller
from es_goals.compression import Coding
from es_goals.events import goals_stream
from es_goals.goals.commands import GoalNotFound
from es_goals.ids import uuid_of
from es_goals.projector import ProjectionBehind, Projector
from es_goals.reads import history, trees
from es_goals.reads.cache import LogCache
from es_goals.reads.callers import Authenticator, session_hash
from es_goals.reads.history import Filter, Page
from es_goals.reads.overviews import subtree
from es_goals.reads.pool import FairPool
from es_goals.reads.replica import Replica, Source, has_position, has_version
from es_goals.reads.trees import AnswerKey, CachedAnswer, TreeCache, TreeOptions, UserTree
from es_goals.storage import Storage
from es_goals.storage.deadlines import Deadline, current
from es_goals.storage.errors import Interrupted, StorageError
from es_goals.storage.log import Clock, Reader, User

TREE = "goal_tree"
"""The read model that trees are made from."""

SMALL, SMALL_BYTES, FEW = 300, 262_144, 16
"""Of goals, of what they take in memory, and of events since: what the event loop may handle itself, in about 1 ms; a
thread costs as much. Of goals that it does not know it cannot tell."""
SHARED_BYTES = 262_144
"""Answers from here on are shared by all who read them at once, also where they are too large to be kept."""

T = TypeVar("T")

logger = structlog.get_logger()


class Opening(Struct, frozen=True):
    """What a request shows of itself before anything is read: the secret that its client holds, the user or the goal
    that its path names, and whether it will ask for a tree."""

    secret: str | None = None
    user: str | None = None
    goal: str | None = None
    tree: bool = False


class Look(Struct, frozen=True):
    """What one look at the log shows: who is asking, whose data the path names (None: nobody's that the caller may
    see), and what a tree of it is made from: the version of the owner's goals and the generation of rows. `use_due`:
    this use of the credential is to be noted."""

    caller: Caller | None = None
    owner: User | None = None
    version: int = 0
    rows: int | ProjectionBehind = 0
    use_due: bool = False

    @property
    def generation(self) -> int:
        """Which rows readers see. Raises ProjectionBehind."""
        if isinstance(self.rows, ProjectionBehind):
            raise self.rows
        return self.rows


class Asker(Struct, frozen=True):
    """Who waits for an answer, and until when. `user`: an id, of whose share of the threads it takes."""

    deadline: Deadline
    user: str | None = None


class TreeQuestion(Struct, frozen=True):
    """Which tree, or which goal of it, in which form. `until`: as of this position; None: as of now. `name`: what
    its user is called in it; `view` tells this form of the answer from others; `coding`: how its bytes are to be
    coded."""

    owner: User
    goal_id: str | None
    options: TreeOptions
    until: int | None
    name: str
    view: str
    coding: Coding | None

    @property
    def key(self) -> AnswerKey:
        """Under which its answer is kept."""
        return self.goal_id, self.view, self.coding

    @classmethod
    def of(
        cls,
        owner: User,
        goal_id: str | None,
        options: TreeOptions,
        until: int | None = None,
        *,
        settled: bool = False,
        coding: Coding | None = None,
    ) -> Self:
        """Make one. Its answer names its user, who may be renamed; a settled one, which is never to change, by id."""
        name, past = owner.id if settled else owner.name, "" if until is None else f"@{until}"
        return cls(owner, goal_id, options, until, name, f"{options}.{crc32(name.encode()):x}{past}", coding)


class Reads:
    """Made in the process that serves. `pool`: the threads of what takes longer than the event loop should wait."""

    def __init__(
        self,
        storage: Storage,
        projector: Projector,
        cache: LogCache,
        authenticator: Authenticator,
        pool: FairPool,
        trees: TreeCache,
        clock: Clock,
        in_background: Callable[[Coroutine[Any, Any, None]], None],
        replica: Replica | None = None,
    ) -> None:
        self.log, self._sessions, self._projector = storage.log, storage.sessions, projector
        self._primary, self._replica = Source(storage, projector), replica
        self.cache, self._authenticator, self.pool, self._trees = cache, authenticator, pool, trees
        self._clock, self._in_background = clock, in_background
        self._making: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._shared: WeakValueDictionary[tuple[str, AnswerKey], CachedAnswer] = WeakValueDictionary()

    async def begin(self, opening: Opening, deadline: Deadline) -> Look:
        """One look for all that a request needs to know before it is let in. Raises Interrupted, StorageError."""
        hash, session = session_hash(opening.secret) if opening.secret is not None else ("", None)
        look = await self.cache.ask(lambda: self._look(opening, hash), deadline, session)
        if look.use_due and look.caller is not None:
            self._in_background(asyncio.to_thread(self._note_use, look.caller.credential))
        return look

    def _look(self, opening: Opening, hash: str) -> Look:
        caller, due = None, False
        if opening.secret is not None:
            found = self._authenticator.caller(opening.secret, hash)
            if found is None:
                return Look()
            caller, due = found
        owner = self._owner(opening)
        if owner is not None and caller is not None and not caller.may_see(owner.id):
            owner = None
        if owner is None or not opening.tree:
            return Look(caller, owner, use_due=due)
        return Look(caller, owner, self.cache.version(owner.id), self._rows(), due)

    def _owner(self, opening: Opening) -> User | None:
        if opening.user is not None:
            return self.cache.user(opening.user)
        known = None if opening.goal is None else uuid_of(opening.goal)
        return None if known is None else self.cache.owner(known)

    def _rows(self) -> int | ProjectionBehind:
        try:
            return self.cache.generation()
        except ProjectionBehind as error:
            return error

    def _note_use(self, credential: str) -> None:
        try:
            self._sessions.record_use(credential, self._clock())
        except StorageError as error:  # it is no more than a note
            logger.warning("use_not_noted", detail=str(error))

    async def still_authenticated(self, secret: str, deadline: Deadline) -> bool:
        """Whether who was let in may go on: a token may end, and a user be disabled, meanwhile."""
        return (await self.begin(Opening(secret), deadline)).caller is not None

    async def user(self, name_or_id: str, deadline: Deadline) -> User | None:
        """The user of this name or id."""
        return await self.cache.ask(lambda: self.cache.user(name_or_id), deadline)

    async def owner(self, goal_id: str, deadline: Deadline) -> User | None:
        """The user whose goal this is or was; None where no goal ever had the id."""
        return await self.cache.ask(lambda: self.cache.owner(goal_id), deadline)

    async def head(self, deadline: Deadline) -> int:
        """The log's last position."""
        return await self.cache.ask(lambda: self.cache.position, deadline)

    async def in_thread(self, work: Callable[[], T], asker: Asker) -> T:
        """A read that may take longer than the event loop should wait. Raises Interrupted at the deadline."""
        return await self.pool.run(work, asker.deadline, asker.user)

    async def settle(self, point: int | datetime, asker: Asker) -> tuple[int, bool]:
        """The position that a position or a time names, and whether what was then is settled. Raises BeyondHead."""
        return await self.in_thread(lambda: history.settle(self.log, point), asker)

    async def expect_reached(self, position: int, asker: Asker) -> None:
        """Raises BeyondHead where the log itself, not a look or a replica of it, has not got so far."""
        if position > self.cache.position:
            await self.in_thread(lambda: history.settle(self.log, position), asker)

    async def events(self, wanted: Filter, after: int, head: int, limit: int, asker: Asker) -> Page:
        """Those behind a position, in order, so many or a page's bytes of them, from a log that has all up to `head` at
        least."""
        read = subtree.events if wanted.subtree else history.events
        return await self.of_log(head, lambda log: read(log, wanted, after, limit), asker)

    async def of_log(self, position: int, work: Callable[[Reader], T], asker: Asker) -> T:
        """What the work makes of a log that has all up to a position at least. Raises what the work raises."""
        has = has_position(position)
        return await self.in_thread(lambda: self._read(has, lambda source: work(source.storage.log)), asker)

    def tag(self, question: TreeQuestion, look: Look) -> str | None:
        """The tag of an answer that need not be made to know it: that of a whole tree as of now."""
        if question.goal_id is not None or question.until is not None:
            return None
        return trees.etag(0, look.version, look.generation, question.view)

    async def tree(self, question: TreeQuestion, look: Look, asker: Asker) -> CachedAnswer:
        """A user's tree, or one goal of it. Raises GoalNotFound, ProjectionBehind, Interrupted, StorageError."""
        if (ready := self._ready(question, look)) is not None:
            return ready
        if self._is_small(question, look):
            return self._make(question, look)
        return await self.in_thread(lambda: self._make_alone(question, look), asker)

    def _ready(self, question: TreeQuestion, look: Look) -> CachedAnswer | None:
        """The answer, where it is kept, or on its way to somebody."""
        owner, generation = question.owner, look.generation
        known, key = self._trees.get(owner.id), question.key
        if known is not None and (question.until is not None or known.is_of(look.version, generation, owner.name)):
            ready = known.answer(key)
            if ready is not None and ready.generation == generation:
                return ready
        shared = self._shared.get((owner.id, key))
        if shared is not None and shared.generation == generation and shared.version in (None, look.version):
            return shared
        return None

    def _is_small(self, question: TreeQuestion, look: Look) -> bool:
        known = self._trees.get(question.owner.id)
        if known is None or question.until is not None or question.options.find is not None or not self.log.is_local:
            return False
        new = look.version - known.view.version
        return new <= FEW and new + len(known.nodes) <= SMALL and known.size <= SMALL_BYTES

    def _make_alone(self, question: TreeQuestion, look: Look) -> CachedAnswer:
        """In a thread: of one user one answer is made at a time, so that those who wait for the same have it from the
        first of them, and none takes its memory twice. Raises as `tree` does."""
        making = self._making.setdefault(question.owner.id, threading.Lock())
        if not making.acquire(timeout=min(max(0.0, current().left()), threading.TIMEOUT_MAX)):
            raise Interrupted("expected an answer before the deadline; found another one being made")
        try:
            return self._ready(question, look) or self._make(question, look)
        finally:
            making.release()

    def _make(self, question: TreeQuestion, look: Look) -> CachedAnswer:
        owner, until = question.owner, question.until
        tree = self._current(owner, look) if until is None else self._past(question, until)
        answer = _answer(question, tree).coded(question.coding)
        if len(answer.data) >= SHARED_BYTES:
            self._shared[owner.id, question.key] = answer
        kept = tree if until is None else self._trees.get(owner.id)
        if kept is not None:
            if question.options.find is None:  # what is typed is seldom typed twice
                kept.put_answer(question.key, answer)
            self._trees.put(owner.id, kept)
        return answer

    def _current(self, owner: User, look: Look) -> UserTree:
        known = self._trees.get(owner.id)
        if known is not None and known.is_of(look.version, look.generation, owner.name):
            return known
        has, view = has_version(goals_stream(owner.id), look.version), known.view if known else None
        seen = self._read(has, lambda source: source.projector.read(TREE, owner.id, view))
        return UserTree(seen, owner.name, known)

    def _past(self, question: TreeQuestion, until: int) -> UserTree:
        user_id = question.owner.id
        seen = self._read(has_position(until), lambda source: source.projector.view(TREE, user_id, until))
        return UserTree(seen, question.name)

    def _read(self, has: Callable[[Source], bool], work: Callable[[Source], T]) -> T:
        """In a thread: work that only reads, on the replica if there is one that has what must be seen."""
        if self._replica is not None:
            try:
                if (source := self._replica.with_all(has)) is not None:
                    done = work(source)
                    self._replica.served()
                    return done
            except Interrupted:
                raise
            except StorageError as error:
                self._replica.back_off(str(error))
        return work(self._primary)

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown()
        self.cache.close()
        if self._replica is not None:
            self._replica.close()


def _answer(question: TreeQuestion, tree: UserTree) -> CachedAnswer:
    seen, goal_id = tree.view, question.goal_id
    version = seen.version if question.until is None else None
    if goal_id is None:
        revision, data = 0, trees.whole(tree, question.options)
    else:
        row = seen.by_key.get((question.owner.id, goal_id))
        if row is None or row.root is not None:
            raise GoalNotFound(goal_id)
        revision, data = row.revision, trees.one(tree, goal_id, question.options)
    return CachedAnswer(
        trees.etag(revision, seen.version, seen.generation, question.view), data, version, seen.generation
    )
