"""Passwords that are tried, with an eye on who guesses; and sessions, which they begin."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, TypeVar

import structlog

from es_goals import metrics
from es_goals.accounts.caller import SESSION, Caller, fingerprint, new_secret
from es_goals.accounts.passwords import hashed, matches, outdated
from es_goals.http.edge.peers import address_key
from es_goals.http.exchange import Request
from es_goals.http.problems import Refusal
from es_goals.storage.deadlines import Deadline
from es_goals.storage.errors import StorageError
from es_goals.storage.log import LONGEST_NAME, Password, Transaction, User
from es_goals.storage.sessions import Attempt, Session
from es_goals.values import folded
from es_goals.worker import GUESSES_SECONDS, Worker

GUESSES = 5
HASHED_AT_ONCE = 4
"""Passwords of one address that are looked at, or wait for that, in a worker; fewer than the guesses that it has."""
HASHED_IN_ALL = 64
"""The same of all addresses: some 2 s of a core."""
_AGAIN_SECONDS = 0.02

T = TypeVar("T")

logger = structlog.get_logger()


class SignedIn(NamedTuple):
    """A session that began, and its token."""

    user: User
    secret: str
    session: Session


class Signing:
    """Looks at passwords, no more at once than there are cores for, and begins sessions."""

    def __init__(self, worker: Worker) -> None:
        self._worker, self._reads, self._sessions = worker, worker.reads, worker.storage.sessions
        self._waiting: Counter[str] = Counter()
        self._threads = ThreadPoolExecutor(max(1, _cores() // worker.settings.workers), "hasher")

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    async def hash(self, req: Request, password: str) -> str:
        """What is kept of a password. Raises Refusal, Interrupted."""
        with self.password_slot(req.address):
            return await self._in_hasher(lambda: hashed(password), req.deadline)

    async def _in_hasher(self, work: Callable[[], T], deadline: Deadline) -> T:
        """What takes a core and much memory. Raises Interrupted."""
        return await deadline.wait(asyncio.get_running_loop().run_in_executor(self._threads, work))

    @contextmanager
    def password_slot(self, address: str) -> Iterator[None]:
        """Among those whose passwords are looked at, or wait for that: who comes with many keeps nobody else waiting.
        Raises Refusal."""
        key = address_key(address)
        if self._waiting[key] >= HASHED_AT_ONCE or self._waiting.total() >= HASHED_IN_ALL:
            raise Refusal("too-many-requests", "expected few passwords to look at; found too many that wait already")
        self._waiting[key] += 1
        try:
            yield
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]

    async def expect_current(self, req: Request, user: User, password: str) -> None:
        """Raises Refusal where it is not the user's password, or too many were tried."""
        if not await self._holds(req, user.id, user, password, self._sessions.held):
            log_sign_in(req, "refused", user)
            raise Refusal("wrong-password", "expected the current password; found another one", pointer="/current")

    async def sign_in(self, req: Request, name: str, password: str) -> SignedIn:
        """A new session. Raises Refusal, the same whether there is no such user or the password is wrong."""
        found = await self._reads.user(name, req.deadline) if len(name) <= LONGEST_NAME else None
        account = found.id if found else fingerprint(folded(name[:LONGEST_NAME]))
        # No password holds for who is disabled: else the number of guesses that are looked at would tell the right one.
        user = found if found and found.disabled_at is None else None
        begun: list[SignedIn] = []

        def begin(attempt: Attempt) -> None:
            if user is not None:
                begun.append(self._new_session(req, user))
                self._sessions.sign_in(attempt, begun[0].session)

        if not await self._holds(req, account, user, password, begin) or not begun:
            log_sign_in(req, "refused", found)
            raise Refusal("sign-in-refused", "expected a user's name and password; found others")
        log_sign_in(req, "in", user)
        return begun[0]

    async def begin(self, req: Request, user: User) -> SignedIn:
        """A session of somebody who has shown who they are."""
        begun = self._new_session(req, user)
        await self._reads.in_thread(lambda: self._sessions.begin(begun.session), req.asker)
        log_sign_in(req, "in", user)
        return begun

    def _new_session(self, req: Request, user: User) -> SignedIn:
        secret, now = new_secret(SESSION), self._worker.clock()
        ends = now + self._worker.settings.session_lifetime * 1_000_000
        session = Session(fingerprint(secret), user.id, address_key(req.address), user.password_at, now, ends)
        return SignedIn(user, secret, session)

    async def _holds(
        self, req: Request, account: str, user: User | None, password: str, held: Callable[[Attempt], None]
    ) -> bool:
        """Whether the password is the user's; `held` ends an attempt that is right. Raises Refusal, Interrupted."""
        stamp = user.password_at if user else 0
        attempt = Attempt(self._worker.new_id(), account, address_key(req.address), self._worker.clock(), stamp)
        with self.password_slot(req.address):
            await self._expect_few(req, attempt, user)
            try:
                kept = await self._reads.in_thread(lambda: self._reads.log.password(user.id if user else ""), req.asker)
                holds = await self._in_hasher(lambda: matches(kept.hash if kept else None, password), req.deadline)
            except BaseException:
                # Nobody learnt whether it holds, so it is no failure.
                self._worker.in_background(asyncio.to_thread(self._forget, attempt))
                raise
            settle = held if holds else self._sessions.failed
            await self._reads.in_thread(lambda: settle(attempt), req.asker)
            if holds and kept is not None and outdated(kept.hash):
                anew = Password(kept.user_id, await self._in_hasher(lambda: hashed(password), req.deadline))
                await self._worker.service.change(partial(_rehash, kept, anew), req.deadline)
        return holds

    def _forget(self, attempt: Attempt) -> None:
        try:
            self._sessions.forget(attempt)
        except StorageError as error:  # then it counts as a failure
            logger.warning("attempt_not_forgotten", detail=str(error))

    async def _expect_few(self, req: Request, attempt: Attempt, user: User | None) -> None:
        """Counted before it is looked at, so that many at once get no further than one after the other."""
        since = attempt.at - GUESSES_SECONDS * 1_000_000
        tried = partial(self._sessions.attempt, attempt, since, GUESSES)
        while (found := await self._reads.in_thread(tried, req.asker)) is None:
            await req.deadline.wait(asyncio.sleep(_AGAIN_SECONDS))
        if found:
            log_sign_in(req, "limited", user)
            wait = -((since - found) // 1_000_000)
            detail = f"expected at most {GUESSES} passwords that fail in {GUESSES_SECONDS // 60} minutes; found more"
            raise Refusal("too-many-attempts", detail, retry_after=max(1, wait))


def expect_accounts(has: object) -> None:
    """Raises Refusal where there are none."""
    if not has:
        raise Refusal("no-accounts", "expected a service with accounts; this one is open, and nobody signs in")


def caller_of(req: Request) -> Caller:
    """Who is signed in, which is somebody where there are accounts. Raises Refusal where there are none."""
    expect_accounts(req.caller)
    assert req.caller is not None
    return req.caller


def log_sign_in(req: Request, outcome: str, user: User | None) -> None:
    """For auditors; never with what was shown."""
    metrics.sign_ins.labels(outcome).inc()
    who = user.id if user else None
    logger.info("sign_in", request_id=req.id, outcome=outcome, user=who, address=req.address)


def _rehash(old: Password, anew: Password, transaction: Transaction) -> None:
    if transaction.password(old.user_id) == old:
        transaction.add(anew)


def _cores() -> int:
    return len(os.sched_getaffinity(0))
