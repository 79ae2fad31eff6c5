"""Signing in and out."""

from datetime import datetime

from falcon.asgi import Response
from msgspec import Struct

from es_goals.events import moment
from es_goals.http import answers, requests
from es_goals.http.accounts.signing import Signing, caller_of, expect_accounts
from es_goals.http.describe.operation import operation
from es_goals.http.exchange import Request
from es_goals.http.problems import Refusal
from es_goals.http.resource import Resource
from es_goals.storage.sessions import Session
from es_goals.worker import Worker


class Credentials(Struct, forbid_unknown_fields=True):
    """Who, and what only they know."""

    user: str
    password: str


class SessionAnswer(Struct, frozen=True):
    """A session's token, told once."""

    token: str
    expires_at: datetime


class Sessions(Resource):
    """/v2/sessions"""

    def __init__(self, worker: Worker, signing: Signing) -> None:
        super().__init__(worker)
        self._signing = signing

    @operation("Sign in", {201: SessionAnswer}, body=Credentials, needs="nobody",
               example={"user": "alice", "password": "an apple a day"},
               problems=("sign-in-refused", "too-many-attempts", "no-accounts"))  # fmt: skip
    async def on_post(self, req: Request, resp: Response) -> None:
        """By name or id, and password."""
        given = await requests.body(req, Credentials)
        expect_accounts(not self.settings.open)
        secret, session = await self._signing.sign_in(req, given.user, given.password)
        resp.status = "201 Created"
        answer(resp, secret, session)


class CurrentSession(Resource):
    """/v2/sessions/current"""

    @operation("Sign out", {204: None}, needs="credentials", problems=("session-not-found", "no-accounts"))
    async def on_delete(self, req: Request, resp: Response) -> None:
        """The session whose token this is."""
        requests.query(req, requests.NoQuery)
        caller = caller_of(req)
        if not caller.session:
            raise Refusal("session-not-found", "expected a session's token; found an API token, which can be revoked")
        await self.reads.in_thread(lambda: self.worker.storage.sessions.end(caller.credential), req.asker)
        answers.secret(resp)
        answers.nothing(resp)


def answer(resp: Response, secret: str, session: Session) -> None:
    """The token, this once."""
    answers.json(resp, SessionAnswer(secret, moment(session.expires_at)))
    answers.secret(resp)
