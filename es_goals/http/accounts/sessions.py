"""Signing in and out."""

from datetime import datetime

import msgspec
from falcon.asgi import Request, Response
from msgspec import Struct

from es_goals.events import moment
from es_goals.http import requests
from es_goals.http.accounts import signing
from es_goals.http.context import JSON, Resource
from es_goals.http.describe.operation import operation
from es_goals.http.problems import Refusal
from es_goals.storage.sessions import Session

_encode = msgspec.json.Encoder().encode


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

    @operation("Sign in", {201: SessionAnswer}, body=Credentials, needs="nobody",
               problems=("sign-in-refused", "too-many-attempts", "no-accounts"))  # fmt: skip
    async def on_post(self, req: Request, resp: Response) -> None:
        """By name or id, and password."""
        given = await requests.body(req, Credentials)
        signing.expect_accounts(self._context)
        secret, session = await signing.sign_in(self._context, req, given.user, given.password)
        resp.status = "201 Created"
        answer(resp, secret, session)


class CurrentSession(Resource):
    """/v2/sessions/current"""

    @operation("Sign out", {204: None}, needs="credentials", problems=("session-not-found", "no-accounts"))
    async def on_delete(self, req: Request, resp: Response) -> None:
        """The session whose token this is."""
        requests.query(req, requests.NoQuery)
        caller = signing.caller_of(self._context, req)
        if not caller.session:
            raise Refusal("session-not-found", "expected a session's token; found an API token, which can be revoked")
        await self._context.in_thread(lambda: self._context.sessions.end(caller.credential))
        resp.set_header("Cache-Control", "no-store")
        resp.status = "204 No Content"


def answer(resp: Response, secret: str, session: Session) -> None:
    """The token, this once."""
    resp.data = _encode(SessionAnswer(secret, moment(session.expires_at)))
    resp.content_type = JSON
    resp.set_header("Cache-Control", "no-store")
