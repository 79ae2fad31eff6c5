"""Users."""

import asyncio
from datetime import datetime
from functools import partial
from typing import Annotated

import msgspec
import structlog
from falcon.asgi import Response
from msgspec import UNSET, Meta, Struct, UnsetType

from es_goals.accounts import changes
from es_goals.accounts.names import valid_email, valid_user_name
from es_goals.accounts.passwords import valid_password
from es_goals.events import moment
from es_goals.http import answers, requests
from es_goals.http.accounts.signing import Signing, caller_of
from es_goals.http.describe.operation import UNSURE, operation
from es_goals.http.exchange import Request
from es_goals.http.problems import Refusal
from es_goals.http.resource import Resource
from es_goals.storage.errors import StorageError, UserNameTaken
from es_goals.storage.log import Cause, Transaction, User
from es_goals.worker import Worker

logger = structlog.get_logger()

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


class KnownUser(UserAnswer, frozen=True):
    """A user, for who sees all of them. `disabled`: let in no more."""

    role: str
    disabled: bool


class UserPage(Struct, frozen=True):
    """Some of the users; `next` is where the rest is."""

    users: list[KnownUser]
    next: str | None


class PageQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which page of a list."""

    limit: requests.Limit = requests.PAGE
    cursor: str = ""


class Signer(Resource):
    """A resource that looks at passwords."""

    def __init__(self, worker: Worker, signing: Signing) -> None:
        super().__init__(worker)
        self._signing = signing


class Users(Signer):
    """/v2/users"""

    @operation("The users", {200: UserPage}, query=PageQuery, needs="auditor")
    async def on_get(self, req: Request, resp: Response) -> None:
        """In the order in which they were made."""
        page = requests.query(req, PageQuery)
        limit = requests.page_size(req, page.limit, self.settings.page_limit)
        after = requests.cursor(page.cursor)
        found = await self.reads.in_thread(lambda: self.reads.log.users(after, limit + 1), req.asker)
        more = f"/v2/users?cursor={found[limit - 1].id}&limit={limit}" if len(found) > limit else None
        answers.next_page(resp, more)
        answers.json(resp, UserPage([_known(user) for user in found[:limit]], more))

    @operation("Make a user", {201: UserAnswer}, body=NewUser, command=True,
               example={"name": "alice", "password": "an apple a day"}, problems=("user-name-taken",),
               needs="registration")  # fmt: skip
    async def on_post(self, req: Request, resp: Response) -> None:
        """Names that differ only in case are the same."""
        if req.caller is None and not self.settings.open:
            requests.expect_no_key(req)  # it would be nobody's: another stranger could come with the same
        new = await requests.body(req, NewUser)
        user = User(self.worker.new_id(), valid_user_name(new.name), valid_email(new.email), 0)
        kept = await self._kept(req, new, user.name)
        await self.expect_still_in(req)
        cause = requests.cause(req, self.worker.new_id(), new.reason)
        # What makes a request the same is kept with the log, so it must tell nothing of the password.
        key, digest = requests.idempotency(req, cause.reason, _encode((new.name, new.email)))
        registered = await self.worker.service.register(user, cause, key, digest, req.deadline, kept)
        made = registered.user
        answers.created(resp, f"/v2/users/{made.id}")
        answers.recorded(resp, registered.position, replayed=registered.replayed)
        answers.json(resp, _answer(made))

    async def _kept(self, req: Request, new: NewUser, name: str) -> str | None:
        if new.password is None:
            if not self.settings.open and req.caller is None:
                raise Refusal("invalid-value", "expected a password, to sign in with; found none", pointer="/password")
            return None
        password = valid_password(new.password)
        # A name that is taken need not cost what a password does; but a repeat is answered again.
        may_repeat = "idempotency-key" in req.headers and (req.caller or self.settings.open)
        if not may_repeat and await self.reads.user(name, req.deadline) is not None:
            raise UserNameTaken(f"expected a name that no user has; found {name!r}, which is taken")
        return await self._signing.hash(req, password)


class OneUser(Resource):
    """/v2/users/{user}"""

    @operation("A user", {200: UserAnswer}, problems=("user-not-found",))
    async def on_get(self, req: Request, resp: Response, user: User) -> None:
        """By name or id."""
        requests.query(req, requests.NoQuery)
        answers.json(resp, _answer(user))

    @operation("Rename a user", {200: UserAnswer}, body=UserChange, media_types=requests.PATCH,
               example={"name": "alicia"}, problems=("user-not-found", "user-name-taken", *UNSURE))  # fmt: skip
    async def on_patch(self, req: Request, resp: Response, user: User) -> None:
        """A merge patch of its name and email."""
        change = await requests.body(req, UserChange, requests.PATCH)
        name = None if change.name is UNSET else valid_user_name(change.name)
        email = UNSET if change.email is UNSET else valid_email(change.email)

        def work(transaction: Transaction, cause: Cause) -> tuple[User, int]:
            return changes.rename(transaction, user.id, cause, name, email)

        renamed, position = await self.change(req, work, change.reason)
        answers.recorded(resp, position)
        answers.json(resp, _answer(renamed))


class Admission(Resource):
    """/v2/users/{user}/disable and /v2/users/{user}/enable"""

    def __init__(self, worker: Worker, disabled: bool) -> None:
        super().__init__(worker)
        self._disabled = disabled

    @operation("Let a user in no more, or again", {200: KnownUser}, body=requests.Reason, needs="administrator",
               example={"reason": "left the company"}, problems=("user-not-found", "no-accounts", *UNSURE))  # fmt: skip
    async def on_post(self, req: Request, resp: Response, user: User) -> None:
        """Who is disabled is let in nowhere, at once. Their sessions end for good; their API tokens are good again once
        they are enabled."""
        caller = caller_of(req)
        given = await requests.body(req, requests.Reason)
        if user.id == caller.user.id:
            raise Refusal(
                "forbidden", "expected another user than yourself, so that somebody is left who lets others in"
            )
        if not self._disabled:
            sessions = self.worker.storage.sessions
            await self.reads.in_thread(lambda: sessions.end_all(user.id), req.asker)
        work = partial(_set_disabled, user_id=user.id, disabled=self._disabled)
        changed, position = await self.change(req, work, given.reason)
        answers.recorded(resp, position)
        answers.json(resp, _known(changed))


class UserPassword(Signer):
    """/v2/users/{user}/password"""

    @operation("Change a password", {204: None}, body=NewPassword, needs="credentials",
               example={"current": "an apple a day", "new": "a pear a day"},
               problems=("user-not-found", "wrong-password", "too-many-attempts", "no-accounts", *UNSURE))  # fmt: skip
    async def on_put(self, req: Request, resp: Response, user: User) -> None:
        """And every other session ends. Who has a password must know it; administrators need not, of others."""
        caller = caller_of(req)
        change = await requests.body(req, NewPassword)
        if user.id != caller.user.id and caller.user.role != "administrator":
            raise Refusal("forbidden", "expected one's own password, or an administrator")
        new = valid_password(change.new, "new")
        own = user.id == caller.user.id
        if change.current is not None or (own and user.password_at):
            await self._signing.expect_current(req, user, change.current or "")
        kept = await self._signing.hash(req, new)
        since = user.password_at if own or change.current is not None else None
        work = partial(_set_password, user_id=user.id, kept=kept, since=since)
        changed, position = await self.change(req, work, change.reason)
        if caller.session and own:
            await asyncio.to_thread(self._restamp, caller.credential, changed.password_at)
        answers.recorded(resp, position)
        answers.secret(resp)
        answers.nothing(resp)

    def _restamp(self, hash: str, stamp: int) -> None:
        """Whatever becomes of it, and however long it takes: the password is changed."""
        try:
            self.worker.storage.sessions.restamp(hash, stamp)
        except StorageError as error:
            logger.warning("session_ended", detail=str(error))


def _set_password(
    transaction: Transaction, cause: Cause, user_id: str, kept: str, since: int | None
) -> tuple[User, int]:
    return changes.set_password(transaction, user_id, kept, cause, since)


def _set_disabled(transaction: Transaction, cause: Cause, user_id: str, disabled: bool) -> tuple[User, int]:
    return changes.set_disabled(transaction, user_id, disabled, cause)


def _known(user: User) -> KnownUser:
    created, disabled = moment(user.created_at), user.disabled_at is not None
    return KnownUser(user.id, user.name, user.email, created, user.role, disabled)


def _answer(user: User) -> UserAnswer:
    return UserAnswer(user.id, user.name, user.email, moment(user.created_at))
