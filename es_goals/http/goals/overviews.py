"""A user's history seen from further off: command by command."""

from typing import Annotated
from urllib.parse import quote, urlencode

from falcon.asgi import Response
from msgspec import UNSET, Meta, UnsetType

from es_goals.http import answers, requests
from es_goals.http.describe.operation import operation
from es_goals.http.exchange import Request
from es_goals.http.problems import Refusal
from es_goals.http.resource import Resource
from es_goals.ids import uuid_of
from es_goals.reads.overviews import commands
from es_goals.reads.overviews.commands import CommandPage, Wanted
from es_goals.storage.log import User


class CommandsQuery(requests.PageQuery, frozen=True, forbid_unknown_fields=True):
    """Which commands."""

    goal: Annotated[str, Meta(description="a goal's id: only those that touched it")] | UnsetType = UNSET
    subtree: Annotated[bool, Meta(description="with `goal`: or what was below it")] = False
    actor: Annotated[str, Meta(description="only this user's, by name or id")] | UnsetType = UNSET


class CommandHistory(Resource):
    """/v2/users/{user}/commands"""

    @operation("A user's history by command", {200: CommandPage}, query=CommandsQuery,
               problems=("user-not-found", "goal-not-found", "projection-behind", "took-too-long"))  # fmt: skip
    async def on_get(self, req: Request, resp: Response, user: User) -> None:
        """What each command on goals did, in a sentence; what it undid, and which one undid it."""
        query = requests.query(req, CommandsQuery)
        limit = requests.page_size(req, query.limit, self.settings.page_limit)
        wanted = await self._wanted(req, query, user)
        head = await self.reads.head(req.deadline)
        found = await self.reads.of_log(head, lambda log: commands.commands(log, user.id, wanted, limit + 1), req.asker)
        more = None
        if len(found) > limit:
            found = found[:limit]
            cursor = {"before": found[-1].first} if wanted.latest else {"after": found[-1].last}
            more = f"{quote(req.path)}?{urlencode({**requests.parameters(req), **cursor})}"
        answers.next_page(resp, more)
        answers.json(resp, CommandPage(found, more))

    async def _wanted(self, req: Request, query: CommandsQuery, user: User) -> Wanted:
        """Raises Refusal, GoalNotFound."""
        before = await self.span(req, query)
        goal = None if query.goal is UNSET else await self.goal_named(req, query.goal, user)
        if query.subtree and goal is None:
            raise Refusal("invalid-value", "expected `subtree` with `goal`; found it without", parameter="subtree")
        actor = None
        if query.actor is not UNSET:
            actor = uuid_of(query.actor) or (await self.user_named(req, query.actor)).id
        return Wanted(actor, goal, query.subtree, query.after, before, query.order == "desc")
