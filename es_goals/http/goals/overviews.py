"""A user's history seen from further off: command by command, over time, day by day."""

from datetime import date
from operator import attrgetter
from typing import Annotated
from urllib.parse import quote, urlencode

from falcon.asgi import Response
from msgspec import UNSET, Meta, Struct, UnsetType

from es_goals.events import moment
from es_goals.http import answers, requests
from es_goals.http.describe.operation import operation
from es_goals.http.exchange import Request
from es_goals.http.goals.past import Point
from es_goals.http.problems import Refusal
from es_goals.http.resource import Resource
from es_goals.ids import uuid_of
from es_goals.reads.history import NoSpan
from es_goals.reads.overviews import burnup, commands, timeline
from es_goals.reads.overviews.burnup import BurnupPoint
from es_goals.reads.overviews.commands import CommandPage, Wanted
from es_goals.reads.overviews.timeline import Timeline
from es_goals.storage.log import User
from es_goals.worker import Worker

ACTIVITY = "activity"
"""The read model that days are told from."""


class CommandsQuery(requests.PageQuery, frozen=True, forbid_unknown_fields=True):
    """Which commands."""

    goal: Annotated[str, Meta(description="a goal's id: only those that touched it")] | UnsetType = UNSET
    subtree: Annotated[bool, Meta(description="with `goal`: or what was below it")] = False
    actor: Annotated[str, Meta(description="only this user's, by name or id", examples=["alice"])] | UnsetType = UNSET


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


class TimelineQuery(Struct, frozen=True, forbid_unknown_fields=True, rename={"first": "from", "last": "to"}):
    """Between which points, and in how many spans."""

    buckets: Annotated[int, Meta(ge=1, le=500, description="how many spans of time", examples=[200])] = 100
    first: Annotated[Point, Meta(description="without it: the user's first event on goals")] | None = None
    last: Annotated[Point, Meta(description="without it: the user's last event on goals")] | None = None


class ActivityQuery(Struct, frozen=True, forbid_unknown_fields=True, rename={"first": "from", "last": "to"}):
    """Which days, in UTC; without `to` up to today, without `from` 365 of them."""

    first: Annotated[date, Meta(description="YYYY-MM-DD", examples=["2026-01-01"])] | UnsetType = UNSET
    last: Annotated[date, Meta(description="YYYY-MM-DD", examples=["2026-12-31"])] | UnsetType = UNSET


class BurnupQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """At how many points of time, and of which goal."""

    points: Annotated[int, Meta(ge=1, le=500, description="how many points of time", examples=[200])] = 100
    goal: Annotated[str, Meta(description="a goal's id: only it, and what is below it")] | UnsetType = UNSET


class ActivityDay(Struct, frozen=True):
    """A day, YYYY-MM-DD, on which the user's goals were changed: how many events of each kind there were. `moved` is
    without what only made room among siblings; `events` are all."""

    user: str
    day: str
    created: int
    completed: int
    reopened: int
    deleted: int
    renamed: int
    described: int
    scheduled: int
    moved: int
    restored: int
    events: int


class UserTimeline(Resource):
    """/v2/users/{user}/timeline"""

    @operation("How much happened when", {200: Timeline}, query=TimelineQuery,
               problems=("user-not-found", "took-too-long"))  # fmt: skip
    async def on_get(self, req: Request, resp: Response, user: User) -> None:
        """Events on goals in equal spans of time, from the user's first to the last one."""
        query = requests.query(req, TimelineQuery)
        first = None if query.first is None else requests.moment_or_position(query.first, "from")
        last = None if query.last is None else requests.moment_or_position(query.last, "to")
        now, head = self.worker.clock(), await self.reads.head(req.deadline)
        try:
            found = await self.reads.of_log(
                head, lambda log: timeline.timeline(log, user.id, now, query.buckets, first, last), req.asker
            )
        except NoSpan as error:
            raise Refusal("invalid-value", str(error), parameter=error.field) from None
        answers.json(resp, found)


class UserActivity(Resource):
    """/v2/users/{user}/activity"""

    @operation("What happened on each day", {200: list[ActivityDay]}, query=ActivityQuery,
               problems=("user-not-found", "projection-behind", "took-too-long"))  # fmt: skip
    async def on_get(self, req: Request, resp: Response, user: User) -> None:
        """Days on which nothing happened are left out."""
        query = requests.query(req, ActivityQuery)
        last = moment(self.worker.clock()).date() if query.last is UNSET else query.last
        first = date.fromordinal(max(1, last.toordinal() - 364)) if query.first is UNSET else query.first
        if first > last:
            raise Refusal("invalid-value", f"expected a day not later than {last}; found {first}", parameter="from")
        seen = await self.reads.in_thread(lambda: self.worker.projector.read(ACTIVITY, user.id), req.asker)
        days = [row for row in seen.rows if str(first) <= row.day <= str(last)]
        answers.json(resp, sorted(days, key=attrgetter("day")))


class UserBurnup(Resource):
    """/v2/users/{user}/burnup"""

    @operation("How far the goals came over time", {200: list[BurnupPoint]}, query=BurnupQuery,
               problems=("user-not-found", "goal-not-found", "projection-behind", "took-too-long"))  # fmt: skip
    async def on_get(self, req: Request, resp: Response, user: User) -> None:
        """Goals that are not deleted, those of them with none below, and how many of those are completed, at points of
        equal distance up to the user's last event on goals: the last one is the progress of the tree."""
        query = requests.query(req, BurnupQuery)
        goal = None if query.goal is UNSET else await self.goal_named(req, query.goal, user)
        head = await self.reads.head(req.deadline)
        found = await self.reads.of_log(head, lambda log: burnup.burnup(log, user.id, query.points, goal), req.asker)
        answers.json(resp, found)


def routes(worker: Worker) -> list[tuple[str, Resource]]:
    """Every path of a history seen from further off, but the one that takes commands too."""
    return [
        ("/v2/users/{user}/timeline", UserTimeline(worker)),
        ("/v2/users/{user}/activity", UserActivity(worker)),
        ("/v2/users/{user}/burnup", UserBurnup(worker)),
    ]
