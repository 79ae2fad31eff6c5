"""Reading trees of goals as they are and as they were."""

from typing import Annotated, Any, Literal, NoReturn

from falcon.asgi import Response
from msgspec import UNSET, Meta, Struct, UnsetType, defstruct, structs

from es_goals.http import answers, requests
from es_goals.http.describe.operation import operation
from es_goals.http.edge import codings
from es_goals.http.exchange import Request
from es_goals.http.problems import Refusal
from es_goals.http.resource import Resource
from es_goals.reads import Reads, TreeQuestion, search, trees
from es_goals.reads.history import BeyondHead
from es_goals.reads.trees import TreeOptions
from es_goals.storage.log import User
from es_goals.values import InvalidValue

USER, GOAL = "/v2/users/{user}/goals", "/v2/goals/{goal_id}"

AsOf = Annotated[str, Meta(description="an RFC 3339 time or a log position")]


FINDING = (
    "words, of which each must occur in a goal's name or description, whatever their case and accents; those in quotes"
    " together, and none of those behind a -"
)

RANKS = (
    "each goal with its `rank` and, a deleted one, its `root`: with `deleted`, all that is needed to fold the user's"
    " later events on the tree"
)


class TreeQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which part of a user's tree, how, and as of when."""

    as_of: AsOf | None = None
    status: Literal["open", "done", "all"] = "all"
    depth: Annotated[int, Meta(ge=0, le=1_000_000, description="levels below the answered goals")] | UnsetType = UNSET
    view: Literal["tree", "flat"] = "tree"
    deleted: bool = False
    q: Annotated[str, Meta(description=FINDING, examples=["berlin -marathon"])] | UnsetType = UNSET
    order: (
        Annotated[Literal["relevance"], Meta(description="the best finds first; with `q` and a flat view")] | UnsetType
    ) = UNSET
    limit: Annotated[int, Meta(ge=1, le=100, description="so many goals at most; with `order`")] | UnsetType = UNSET
    ranks: Annotated[bool, Meta(description=RANKS)] = False

    @property
    def options(self) -> TreeOptions:
        """How the tree is shown. Raises Refusal."""
        flat = self.view == "flat"
        if self.order is not UNSET and (self.q is UNSET or not flat):
            _lacking("order", "`q` and view=flat")
        if self.limit is not UNSET and self.order is UNSET:
            _lacking("limit", "`order`")
        find = None if self.q is UNSET else _parsed(self.q)
        shown = (flat, self.status, _given(self.depth), self.deleted)
        return TreeOptions(*shown, find, self.order is not UNSET, _given(self.limit), self.ranks)


ShownQuery: Any = defstruct(
    "ShownQuery",
    [(one.name, one.type, one.default) for one in structs.fields(TreeQuery) if one.name != "as_of"],
    namespace={"__doc__": "The same of what has no past.", "options": TreeQuery.options},
    module=__name__,
    frozen=True,
    forbid_unknown_fields=True,
)


class GoalQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """How much of a goal's sub-goals, how, and as of when."""

    as_of: AsOf | None = None
    depth: Annotated[int, Meta(ge=0, le=1_000_000, description="levels below the goal")] | UnsetType = UNSET
    view: Literal["tree", "flat"] = "tree"

    @property
    def options(self) -> TreeOptions:
        """How the tree is shown."""
        return TreeOptions(self.view == "flat", "all", _given(self.depth))


class ShownGoal(trees.TreeGoalAnswer, kw_only=True):
    """A goal with its sub-goals. Where `depth` cuts, `sub_goal_count` stands in place of `sub_goals`; a flat view has
    `depth` instead of both. `match`: where it was found; goals above those that were have none. `rank`: what orders
    siblings, compared as text; `root`: the goal whose deletion removed this one."""

    sub_goals: "list[ShownGoal] | UnsetType" = UNSET
    sub_goal_count: int | UnsetType = UNSET
    depth: int | UnsetType = UNSET
    match: Literal["name", "description", "both"] | UnsetType = UNSET
    rank: str | UnsetType = UNSET
    root: str | UnsetType = UNSET


class TreeAnswer(Struct):
    """A user's goals as of their event at this version and position (0: none yet). `matches`: how many goals `q`
    finds, those too that `depth` or `limit` leave out."""

    user: str
    version: int
    position: int
    goals: list[ShownGoal]
    matches: int | UnsetType = UNSET


class UserGoals(Resource):
    """/v2/users/{user}/goals"""

    @operation("A user's tree of goals", {200: TreeAnswer}, query=TreeQuery, conditional=True,
               problems=("user-not-found", "projection-behind"))  # fmt: skip
    async def on_get(self, req: Request, resp: Response, user: User) -> None:
        """The whole tree, as it is or as it was."""
        del user
        await _answer(self, req, resp, requests.query(req, TreeQuery), None)


class OneGoal(Resource):
    """/v2/goals/{goal_id}"""

    @operation("A goal with its sub-goals", {200: (ShownGoal, TreeAnswer)}, query=GoalQuery, conditional=True,
               problems=("goal-not-found", "projection-behind"))  # fmt: skip
    async def on_get(self, req: Request, resp: Response, goal_id: str) -> None:
        """As it is or as it was; flat, a list."""
        await _answer(self, req, resp, requests.query(req, GoalQuery), goal_id)


async def _answer(
    resource: Resource, req: Request, resp: Response, query: TreeQuery | GoalQuery, goal_id: str | None
) -> None:
    """The owner's tree (`goal_id` None) or one goal of it."""
    reads, look = resource.reads, req.look
    until, settled = (None, False) if query.as_of is None else await settle(reads, req, query.as_of)
    # By a name, or by a goal whose owner is named in the answer, it may be another one tomorrow.
    if settled := settled and req.named_by_id:
        answers.settled(resp)
    question = TreeQuestion.of(req.owner, goal_id, query.options, until, settled=settled, coding=codings.wanted(req))
    tag = reads.tag(question, look)
    if tag is not None and answers.tagged(req, resp, tag):
        return
    found = await reads.tree(question, look, req.asker)
    if not answers.tagged(req, resp, found.etag):
        answers.encoded(resp, found.data)
        resp.context.shared = found  # as long as it is sent, whoever reads the same has it from here
        if found.coding is not None:
            codings.mark(resp, found.coding)


async def settle(reads: Reads, req: Request, as_of: str) -> tuple[int, bool]:
    """The position that `as_of` names, and whether what was then is settled. Raises Refusal."""
    point = requests.moment_or_position(as_of, "as_of")
    try:
        return await reads.settle(point, req.asker)
    except BeyondHead as error:
        raise Refusal("invalid-value", str(error), parameter="as_of") from None


def _lacking(parameter: str, needed: str) -> NoReturn:
    """Raises Refusal."""
    raise Refusal("invalid-value", f"expected `{parameter}` with {needed}; found it without", parameter=parameter)


def _parsed(text: str) -> search.Query:
    """Raises Refusal."""
    try:
        return search.parse(text)
    except InvalidValue as error:
        raise Refusal("invalid-value", str(error), parameter="q") from None


def _given(number: int | UnsetType) -> int | None:
    return None if number is UNSET else number
