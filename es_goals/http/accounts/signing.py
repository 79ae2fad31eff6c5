"""Passwords that are tried, with an eye on who guesses; and sessions, which they begin."""

import asyncio
from functools import partial

import structlog
from falcon.asgi import Request

from es_goals import metrics
from es_goals.accounts.caller import SESSION, Caller, fingerprint, new_secret
from es_goals.accounts.passwords import hashed, matches, outdated
from es_goals.http.context import Context
from es_goals.http.edge.peers import address_key
from es_goals.http.problems import Refusal
from es_goals.storage.deadlines import Deadline
from es_goals.storage.errors import StorageError
from es_goals.storage.log import Password, Transaction, User
from es_goals.storage.sessions import Attempt, Session
from es_goals.storage.sql.log import LONGEST_NAME
from es_goals.values import folded

GUESSES = 5
GUESSES_SECONDS = 900
_AGAIN_SECONDS = 0.02

log = structlog.get_logger()


def expect_accounts(context: Context) -> None:
    """Raises Refusal where there are none."""
    if context.settings.open:
        raise Refusal("no-accounts", "expected a service with accounts; this one is open, and nobody signs in")


def caller_of(context: Context, req: Request) -> Caller:
    """Who is signed in. Raises Refusal where there are no accounts."""
    expect_accounts(context)
    caller: Caller | None = req.context.caller
    assert caller is not None
    return caller


async def expect_current(context: Context, req: Request, user: User, password: str) -> None:
    """Raises Refusal where it is not the user's password, or too many were tried."""
    if not await _holds(context, req, user.id, user, password):
        note(req, "refused", user)
        raise Refusal("wrong-password", "expected the current password; found another one", pointer="/current")


async def sign_in(context: Context, req: Request, name: str, password: str) -> tuple[str, Session]:
    """A new session and its token. Raises Refusal, the same whether there is no such user or the password is wrong."""
    found = await context.ask(lambda: context.recent.user(name)) if len(name) <= LONGEST_NAME else None
    account = found.id if found else fingerprint(folded(name[:LONGEST_NAME]))
    # No password holds for who is disabled: else the number of guesses that are looked at would tell the right one.
    user = found if found and found.disabled_at is None else None
    if not await _holds(context, req, account, user, password) or user is None:
        note(req, "refused", found)
        raise Refusal("sign-in-refused", "expected a user's name and password; found others")
    return await begin(context, req, user)


async def begin(context: Context, req: Request, user: User) -> tuple[str, Session]:
    """A session of somebody who has shown who they are, and its token."""
    secret, now = new_secret(SESSION), context.clock()
    ends = now + context.settings.session_lifetime * 1_000_000
    session = Session(fingerprint(secret), user.id, address_key(req.context.address), user.password_at, now, ends)
    await context.in_thread(lambda: context.sessions.begin(session))
    note(req, "in", user)
    return secret, session


async def _holds(context: Context, req: Request, account: str, user: User | None, password: str) -> bool:
    stamp = user.password_at if user else 0
    attempt = Attempt(context.new_id(), account, address_key(req.context.address), context.clock(), stamp)
    with context.password_slot(req.context.address):
        await _expect_few(context, req, attempt, user)
        try:
            kept = await context.quickly(lambda: context.log.password(user.id if user else ""))
            holds = await context.hashing(lambda: matches(kept.hash if kept else None, password))
        except BaseException:
            # Nobody learnt whether it holds, so it is no failure.
            context.in_background(asyncio.to_thread(_forget, context, attempt))
            raise
        settle = context.sessions.held if holds else context.sessions.failed
        await context.in_thread(lambda: settle(attempt))
        if holds and kept is not None and outdated(kept.hash):
            anew = Password(kept.user_id, await context.hashing(lambda: hashed(password)))
            await context.service.change(partial(_rehash, kept, anew), Deadline.after(context.settings.deadline))
    return holds


def _forget(context: Context, attempt: Attempt) -> None:
    try:
        context.sessions.forget(attempt)
    except StorageError as error:  # then it counts as a failure
        log.warning("attempt_not_forgotten", detail=str(error))


async def _expect_few(context: Context, req: Request, attempt: Attempt, user: User | None) -> None:
    """Counted before it is looked at, so that many at once get no further than one after the other."""
    since = attempt.at - GUESSES_SECONDS * 1_000_000
    while (found := await context.in_thread(lambda: context.sessions.attempt(attempt, since, GUESSES))) is None:
        await context.pause(_AGAIN_SECONDS)
    if found:
        note(req, "limited", user)
        wait = -((since - found) // 1_000_000)
        detail = f"expected at most {GUESSES} passwords that fail in {GUESSES_SECONDS // 60} minutes; found more"
        raise Refusal("too-many-attempts", detail, retry_after=max(1, wait))


def _rehash(old: Password, anew: Password, transaction: Transaction) -> None:
    if transaction.password(old.user_id) == old:
        transaction.add(anew)


def note(req: Request, outcome: str, user: User | None) -> None:
    """For auditors; never with what was shown."""
    metrics.sign_ins.labels(outcome).inc()
    who = user.id if user else None
    log.info("sign_in", request_id=req.context.request_id, outcome=outcome, user=who, address=req.context.address)


def tidy(context: Context) -> None:
    """Forget what is over: sessions, uses that are too old to matter, passwords that were tried long ago."""
    settings, now = context.settings, context.clock()
    idle = now - max(settings.session_idle, settings.token_idle) * 1_000_000
    context.sessions.purge_expired(now, idle, now - GUESSES_SECONDS * 1_000_000)
