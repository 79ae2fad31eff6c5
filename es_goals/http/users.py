"""Users."""

from datetime import datetime
from typing import Annotated

import msgspec
from falcon.asgi import Request, Response
from msgspec import Meta, Struct

from es_goals.events import moment
from es_goals.http import requests
from es_goals.http.context import JSON, Door
from es_goals.http.operation import operation
from es_goals.storage import User
from es_goals.users import valid_email, valid_user_name

_encode = msgspec.json.Encoder().encode


class NewUser(Struct, forbid_unknown_fields=True):
    """A user to make."""

    name: Annotated[str, Meta(min_length=1, description="1 to 64 characters, no control characters, no /")]
    email: str | None = None
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


class Users(Door):
    """/v2/users"""

    @operation("The users", {200: UserPage}, query=PageQuery)
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

    @operation("Make a user", {201: UserAnswer}, body=NewUser, command=True, problems=("user-name-taken",))
    async def on_post(self, req: Request, resp: Response) -> None:
        """Names that differ only in case are the same."""
        context = self._context
        new = await requests.body(req, NewUser)
        user = User(context.new_id(), valid_user_name(new.name), valid_email(new.email), 0)
        registered = await context.register(req, resp, user, new.reason)
        resp.status = "201 Created"
        resp.set_header("Location", f"/v2/users/{registered.id}")
        resp.data = _encode(_answer(registered))
        resp.content_type = JSON


class OneUser(Door):
    """/v2/users/{user}"""

    @operation("A user", {200: UserAnswer}, problems=("user-not-found",))
    async def on_get(self, req: Request, resp: Response, user: str) -> None:
        """By name or id."""
        requests.query(req, requests.NoQuery)
        resp.data = _encode(_answer(await self._context.user(user)))
        resp.content_type = JSON


def _answer(user: User) -> UserAnswer:
    return UserAnswer(user.id, user.name, user.email, moment(user.created_at))
