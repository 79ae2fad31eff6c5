"""Users."""

import asyncio
from datetime import datetime
from functools import partial
from typing import Annotated

import msgspec
import structlog
from falcon.asgi import Request, Response
from msgspec import UNSET, Meta, Struct, UnsetType

from es_goals.accounts import changes
from es_goals.accounts.names import valid_email, valid_user_name
from es_goals.accounts.passwords import hashed, valid_password
from es_goals.events import moment
from es_goals.http import requests
from es_goals.http.accounts import signing
from es_goals.http.context import JSON, Context, Resource
from es_goals.http.describe.operation import UNSURE, operation
from es_goals.http.problems import Refusal
from es_goals.storage.errors import StorageError, UserNameTaken
from es_goals.storage.log import Cause, Transaction, User

log = structlog.get_logger()

_encode = msgspec.json.Encoder().encode


class NewUser(Struct, forbid_unknown_fields=True):
    """A user to make."""

    name: Annotated[str, Meta(min_length=1, description="1 to 64 characters, no control characters, no /")]
    email: str | None = None
    password: Annotated[str, Meta(description="8 to 1,024 bytes, none of the 3,000 most used")] | None = None
    reason: str | None = None


class UserChange(Struct, forbid_unknown_fields=True):
    """A merge patch (RFC 7396): what is absent stays; null removes."""

    name: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET
    email: str | None | UnsetType = UNSET
    reason: str | None = None


class NewPassword(Struct, forbid_unknown_fields=True):
    """A password in place of the current one, if there is one."""

    new: Annotated[str, Meta(description="8 to 1,024 bytes, none of the 3,000 most used")]
    current: str | None = None
    reason: str | None = None


class UserAnswer(Struct, frozen=True):
    """A user."""

    id: str
    name: str
    email: str | None
    created_at: datetime


class UserPage(Struct, frozen=True):
    """Some of the users; `next` is where the rest is."""

    users: list[UserAnswer]
    next: str | None


class PageQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which page of a list."""

    limit: requests.Limit = requests.PAGE
    cursor: str = ""


class Users(Resource):
    """/v2/users"""

    @operation("The users", {200: UserPage}, query=PageQuery, needs="auditor")
    async def on_get(self, req: Request, resp: Response) -> None:
        """In the order in which they were made."""
        page = requests.query(req, PageQuery)
        limit = requests.page_size(req, page.limit, self._context.settings.page_limit)
        found = await self._context.quickly(lambda: self._context.log.users(page.cursor, limit + 1))
        more = f"/v2/users?cursor={found[limit - 1].id}&limit={limit}" if len(found) > limit else None
        if more:
            resp.set_header("Link", f'<{more}>; rel="next"')
        resp.data = _encode(UserPage([_answer(user) for user in found[:limit]], more))
        resp.content_type = JSON

    @operation("Make a user", {201: UserAnswer}, body=NewUser, command=True, problems=("user-name-taken",),
               needs="registration")  # fmt: skip
    async def on_post(self, req: Request, resp: Response) -> None:
        """Names that differ only in case are the same."""
        context = self._context
        new = await requests.body(req, NewUser)
        user = User(context.new_id(), valid_user_name(new.name), valid_email(new.email), 0)
        kept = await self._kept(req, new, user.name)
        # What makes a request the same is kept with the log, so it must tell nothing of the password.
        req.context.body = _encode((new.name, new.email))
        registered = await context.register(req, resp, user, new.reason, kept)
        resp.status = "201 Created"
        resp.set_header("Location", f"/v2/users/{registered.id}")
        resp.data = _encode(_answer(registered))
        resp.content_type = JSON

    async def _kept(self, req: Request, new: NewUser, name: str) -> str | None:
        if new.password is None:
            if not self._context.settings.open and req.context.caller is None:
                raise Refusal("invalid-value", "expected a password, to sign in with; found none", pointer="/password")
            return None
        password = valid_password(new.password)
        # A name that is taken need not cost what a password does; but a repeat is answered again.
        may_repeat = "idempotency-key" in req.headers and (req.context.caller or self._context.settings.open)
        if not may_repeat and await self._context.ask(lambda: self._context.recent.user(name)) is not None:
            raise UserNameTaken(f"expected a name that no user has; found {name!r}, which is taken")
        with self._context.password_slot(req.context.address):
            return await self._context.hashing(lambda: hashed(password))


class OneUser(Resource):
    """/v2/users/{user}"""

    @operation("A user", {200: UserAnswer}, problems=("user-not-found",))
    async def on_get(self, req: Request, resp: Response, user: str) -> None:
        """By name or id."""
        requests.query(req, requests.NoQuery)
        resp.data = _encode(_answer(await self._context.user(req, user)))
        resp.content_type = JSON

    @operation("Rename a user", {200: UserAnswer}, body=UserChange, media_types=requests.PATCH,
               problems=("user-not-found", "user-name-taken", *UNSURE))  # fmt: skip
    async def on_patch(self, req: Request, resp: Response, user: str) -> None:
        """A merge patch of its name and email."""
        owner = await self._context.user(req, user)
        change = await requests.body(req, UserChange, requests.PATCH)
        name = None if change.name is UNSET else valid_user_name(change.name)
        email = UNSET if change.email is UNSET else valid_email(change.email)

        def work(transaction: Transaction, cause: Cause) -> tuple[User, int]:
            return changes.rename(transaction, owner.id, cause, name, email)

        renamed, position = await self._context.change(req, work, change.reason)
        resp.set_header("Position", str(position))
        resp.data = _encode(_answer(renamed))
        resp.content_type = JSON


class UserPassword(Resource):
    """/v2/users/{user}/password"""

    @operation("Change a password", {204: None}, body=NewPassword, needs="credentials",
               problems=("user-not-found", "wrong-password", "too-many-attempts", "no-accounts", *UNSURE))  # fmt: skip
    async def on_put(self, req: Request, resp: Response, user: str) -> None:
        """And every other session ends. Who has a password must know it; administrators need not, of others."""
        context = self._context
        caller = signing.caller_of(context, req)
        owner = await context.user(req, user)
        change = await requests.body(req, NewPassword)
        if owner.id != caller.user.id and caller.user.role != "administrator":
            raise Refusal("forbidden", "expected one's own password, or an administrator")
        new = valid_password(change.new, "new")
        own = owner.id == caller.user.id
        if change.current is not None or (own and owner.password_at):
            await signing.expect_current(context, req, owner, change.current or "")
        with context.password_slot(req.context.address):
            kept = await context.hashing(lambda: hashed(new))
        since = owner.password_at if own or change.current is not None else None
        work = partial(_set_password, user_id=owner.id, kept=kept, since=since)
        changed, position = await context.change(req, work, change.reason)
        if caller.session and own:
            await asyncio.to_thread(_restamp, context, caller.credential, changed.password_at)
        resp.set_header("Position", str(position))
        resp.set_header("Cache-Control", "no-store")
        resp.status = "204 No Content"


def _set_password(
    transaction: Transaction, cause: Cause, user_id: str, kept: str, since: int | None
) -> tuple[User, int]:
    return changes.set_password(transaction, user_id, kept, cause, since)


def _restamp(context: Context, hash: str, stamp: int) -> None:
    """Whatever becomes of it, and however long it takes: the password is changed."""
    try:
        context.sessions.restamp(hash, stamp)
    except StorageError as error:
        log.warning("session_ended", detail=str(error))


def _answer(user: User) -> UserAnswer:
    return UserAnswer(user.id, user.name, user.email, moment(user.created_at))
