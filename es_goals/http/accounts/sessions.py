"""Signing in and out, and where one is signed in."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from falcon.asgi import Response
from msgspec import Meta, Struct

from es_goals.accounts.caller import Caller
from es_goals.events import moment
from es_goals.http import answers, requests
from es_goals.http.accounts.signing import SignedIn, Signing, caller_of, expect_accounts
from es_goals.http.describe.operation import operation
from es_goals.http.edge import cookies
from es_goals.http.exchange import Request
from es_goals.http.problems import Refusal
from es_goals.http.resource import Resource
from es_goals.reads import Opening
from es_goals.settings import Settings
from es_goals.storage.log import User
from es_goals.storage.sessions import Session
from es_goals.worker import Worker

_MOST = 100
"""Sessions that are looked at for a list."""


class Credentials(Struct, forbid_unknown_fields=True):
    """Who, and what only they know."""

    user: str
    password: str
    cookie: Annotated[bool, Meta(description="a browser keeps the token, where no script reads it")] = False


class SessionAnswer(Struct, frozen=True):
    """A session's token, told once."""

    token: str
    expires_at: datetime


class SignedInUser(Struct, frozen=True):
    """Who is signed in."""

    id: str
    name: str
    role: str


class CurrentAnswer(Struct, frozen=True, omit_defaults=True):
    """Who asks, and until when at most they are signed in; null where nobody is."""

    user: SignedInUser | None
    expires_at: datetime | None = None


class OneSession(Struct, frozen=True):
    """Where one is signed in. `address`: where it began; `last_used_at` is kept to the minute; `current`: this asks."""

    id: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    address: str
    current: bool


class SessionList(Struct, frozen=True):
    """The newest first."""

    sessions: list[OneSession]


class Sessions(Resource):
    """/v2/sessions"""

    def __init__(self, worker: Worker, signing: Signing) -> None:
        super().__init__(worker)
        self._signing = signing

    @operation("Sign in", {201: (SessionAnswer, CurrentAnswer)}, body=Credentials, needs="nobody",
               example={"user": "alice", "password": "an apple a day"},
               problems=("sign-in-refused", "too-many-attempts", "no-accounts"))  # fmt: skip
    async def on_post(self, req: Request, resp: Response) -> None:
        """By name or id, and password. With `cookie` the token is in a cookie of the service's own pages, and not
        told."""
        given = await requests.body(req, Credentials)
        expect_accounts(not self.settings.open)
        if given.cookie:
            cookies.expect_same_origin(req, self.settings)
            cookies.expect_private(req, self.settings)
        signed_in = await self._signing.sign_in(req, given.user, given.password)
        resp.status = "201 Created"
        if given.cookie:
            keep(req, resp, self.settings, signed_in)
            answers.json(resp, _current(signed_in.user, signed_in.session.expires_at))
        else:
            answer(resp, signed_in)

    @operation("Your sessions", {200: SessionList}, problems=("no-accounts",))
    async def on_get(self, req: Request, resp: Response) -> None:
        """Where you are signed in: the newest hundred."""
        requests.query(req, requests.NoQuery)
        caller = caller_of(req)
        found = await self.reads.in_thread(lambda: self._of(caller), req.asker)
        answers.json(resp, SessionList(found))
        answers.secret(resp)

    def _of(self, caller: Caller) -> list[OneSession]:
        stored = self.worker.storage.sessions
        return [
            _shown(one, stored.used(one.hash), caller)
            for one in stored.of_user(caller.user.id, _MOST)
            if self._is_good(one, caller.user)
        ]

    def _is_good(self, one: Session, user: User) -> bool:
        now = self.worker.clock()
        if one.expires_at <= now or one.stamp != user.password_at:
            return False
        idle = now - self.settings.session_idle * 1_000_000
        return self.worker.storage.sessions.last_use(one.hash, one.created_at) >= idle


class AnySession(Resource):
    """/v2/sessions/{session_id}"""

    @operation("End a session", {204: None}, needs="credentials", problems=("session-not-found", "no-accounts"))
    async def on_delete(self, req: Request, resp: Response, session_id: UUID) -> None:
        """One of your own, by its id."""
        requests.query(req, requests.NoQuery)
        caller, sessions = caller_of(req), self.worker.storage.sessions
        ended = await self.reads.in_thread(lambda: sessions.end_of_user(caller.user.id, session_id.hex), req.asker)
        if not ended:
            raise Refusal("session-not-found", f"expected the id of a session of yours; found {str(session_id)!r}")
        if req.by_cookie and _id(caller.credential) == session_id:
            cookies.forget(req, resp, self.settings)
        answers.secret(resp)
        answers.nothing(resp)


class CurrentSession(Resource):
    """/v2/sessions/current"""

    @operation("Who is signed in", {200: CurrentAnswer}, needs="nobody")
    async def on_get(self, req: Request, resp: Response) -> None:
        """By the cookie or token that this brings; where it is no good, or the service is open, nobody is."""
        requests.query(req, requests.NoQuery)
        secret = None if self.settings.open else cookies.secret_of(req, self.settings)
        look = await self.reads.begin(Opening(secret), req.deadline)
        caller = look.caller
        answers.json(resp, CurrentAnswer(None) if caller is None else _current(caller.user, caller.expires_at))
        answers.personal(resp)

    @operation("Sign out", {204: None}, needs="credentials", problems=("session-not-found", "no-accounts"))
    async def on_delete(self, req: Request, resp: Response) -> None:
        """The session whose token this is. A browser forgets its cookie, and what it kept."""
        requests.query(req, requests.NoQuery)
        caller = caller_of(req)
        if not caller.session:
            raise Refusal("session-not-found", "expected a session's token; found an API token, which can be revoked")
        await self.reads.in_thread(lambda: self.worker.storage.sessions.end(caller.credential), req.asker)
        if req.by_cookie:
            cookies.forget(req, resp, self.settings)
        answers.secret(resp)
        answers.nothing(resp)


def answer(resp: Response, signed_in: SignedIn) -> None:
    """The token, this once."""
    answers.json(resp, SessionAnswer(signed_in.secret, moment(signed_in.session.expires_at)))
    answers.secret(resp)


def keep(req: Request, resp: Response, settings: Settings, signed_in: SignedIn) -> None:
    """Leave the token with the browser."""
    cookies.keep(req, resp, settings, signed_in.secret, settings.session_lifetime)
    answers.secret(resp)


def _current(user: User, expires_at: int) -> CurrentAnswer:
    return CurrentAnswer(SignedInUser(user.id, user.name, user.role), moment(expires_at))


def _shown(one: Session, used: int | None, caller: Caller) -> OneSession:
    last = None if used is None else moment(used)
    begun, ends = moment(one.created_at), moment(one.expires_at)
    return OneSession(str(_id(one.hash)), begun, ends, last, one.address, one.hash == caller.credential)


def _id(hash: str) -> UUID:
    """Half of a session's hash, which tells it from all others."""
    return UUID(hash[:32])
