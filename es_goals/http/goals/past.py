"""What happened to goals: what differs between two points, and which event made a goal what it is."""

from typing import Annotated

from falcon.asgi import Response
from msgspec import Meta, Struct

from es_goals.http import answers, requests
from es_goals.http.describe.operation import operation
from es_goals.http.exchange import Request
from es_goals.http.goals.queries import settle
from es_goals.http.problems import Refusal
from es_goals.http.resource import Resource
from es_goals.ids import uuid_of
from es_goals.reads import blame, diff, history
from es_goals.reads.blame import BlameAnswer, BranchBlame
from es_goals.reads.changes import DiffAnswer
from es_goals.reads.history import NoSpan, Span
from es_goals.storage.log import Reader, User

DIFF, BLAME = "/v2/users/{user}/diff", "/v2/goals/{goal_id}/blame"
PLAIN = "text/plain"

Point = Annotated[
    str, Meta(description="an RFC 3339 time or a log position", examples=["2026-11-23T08:00:00Z", "48"])
]  # fmt: skip


class DiffQuery(Struct, frozen=True, forbid_unknown_fields=True, rename={"first": "from", "last": "to"}):
    """From when to when (without `to`: now), and of which goal."""

    first: Point
    last: Point | None = None
    goal: Annotated[str, Meta(description="the id of a goal: only it, and what is or was below it")] | None = None


class BlameQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """As of when (without it: now), and whether with all below."""

    as_of: Point | None = None
    below: Annotated[bool, Meta(description="also of all goals below, which are told in pre-order")] = False


class Diff(Resource):
    """/v2/users/{user}/diff"""

    @operation("What differs between two points", {200: DiffAnswer}, query=DiffQuery,
               problems=("user-not-found", "goal-not-found", "limit-reached", "projection-behind", "took-too-long"),
               produces=("application/json", PLAIN))  # fmt: skip
    async def on_get(self, req: Request, resp: Response, user: User) -> None:
        """The net change of each goal. With Accept: text/plain a line for each."""
        query = requests.query(req, DiffQuery)
        goal_id = None if query.goal is None else uuid_of(query.goal) or query.goal[:100]
        span = await self._span(req, query)
        name = user.name
        if span.settled and req.named_by_id:
            name = user.id
            answers.settled(resp)
        resp.append_header("Vary", "Accept")
        as_text = requests.preferred(req, ["application/json", PLAIN]) == PLAIN

        def work(log: Reader) -> bytes:
            found = diff.between(log, user.id, span, goal_id)
            return (diff.text if as_text else diff.encoded)(found, name)

        kind = f"{PLAIN}; charset=utf-8" if as_text else answers.JSON
        answers.encoded(resp, await self.reads.of_log(span.last, work, req.asker), kind)

    async def _span(self, req: Request, query: DiffQuery) -> Span:
        """Raises Refusal."""
        first = requests.moment_or_position(query.first, "from")
        last = None if query.last is None else requests.moment_or_position(query.last, "to")
        now = self.worker.clock()
        try:
            return await self.reads.in_thread(lambda: history.span(self.reads.log, now, first, last), req.asker)
        except NoSpan as error:
            raise Refusal("invalid-value", str(error), parameter=error.field) from None


class Blame(Resource):
    """/v2/goals/{goal_id}/blame"""

    @operation("Which event made each field what it is", {200: (BlameAnswer, BranchBlame)}, query=BlameQuery,
               problems=("goal-not-found", "limit-reached", "projection-behind", "took-too-long"))  # fmt: skip
    async def on_get(self, req: Request, resp: Response, goal_id: str) -> None:
        """Of a deleted goal too; and why it is where it is: who named and who placed each goal above."""
        query, owner = requests.query(req, BlameQuery), req.owner.id
        if query.as_of is None:
            until = await self.reads.head(req.deadline)
        else:
            until, is_settled = await settle(self.reads, req, query.as_of)
            if is_settled:  # it names nobody but by id, so it never changes, although it is asked for by goal
                answers.settled(resp)

        def work(log: Reader) -> bytes:
            if query.below:
                return blame.encoded_branch(blame.of_branch(log, owner, goal_id, until), goal_id, until)
            return blame.encoded(blame.of_goal(log, goal_id, until), until)

        answers.encoded(resp, await self.reads.of_log(until, work, req.asker))
