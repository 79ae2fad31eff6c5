"""Every command on goals."""

import uuid
from datetime import datetime
from typing import Annotated, Any, assert_never

import msgspec
from falcon.asgi import Request, Response
from msgspec import UNSET, Meta, Struct, UnsetType

from es_goals.goals import commands as domain
from es_goals.goals.outcome import Result
from es_goals.http import reading, requests
from es_goals.http.context import JSON, Context, Resource
from es_goals.http.describe.operation import operation
from es_goals.http.goals.queries import GoalQuery, ShownGoal, TreeAnswer, TreeQuery
from es_goals.http.problems import Refusal
from es_goals.http.requests import Reason
from es_goals.reads import trees
from es_goals.reads.trees import GoalAnswer, TreeOptions
from es_goals.service import Outcome, RejectedAt
from es_goals.storage.log import User

Name = Annotated[str, Meta(min_length=1, description="1 to 200 characters, unless set otherwise, trimmed and in NFC")]
Time = Annotated[datetime, Meta(tz=True)]
OptionalId = uuid.UUID | None
_encode = msgspec.json.Encoder().encode


class NewGoal(Struct, forbid_unknown_fields=True):
    """A goal to create."""

    name: Name
    parent_id: OptionalId = None
    description: str | None = None
    start: Time | None = None
    due: Time | None = None
    id: OptionalId = None
    before: OptionalId = None
    after: OptionalId = None
    reason: str | None = None


class GoalChange(Struct, forbid_unknown_fields=True):
    """A merge patch (RFC 7396): what is absent stays; null removes."""

    name: Name | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
    start: Time | UnsetType = UNSET
    due: Time | None | UnsetType = UNSET
    reason: str | None = None


class Completion(Struct, forbid_unknown_fields=True):
    """How a goal was reached."""

    end: Time | None = None
    cascade: bool = False
    reason: str | None = None


class NewPlace(Struct, forbid_unknown_fields=True):
    """Where a goal goes."""

    parent_id: uuid.UUID | None | UnsetType = UNSET
    before: OptionalId = None
    after: OptionalId = None
    reason: str | None = None


class Restoration(Struct, forbid_unknown_fields=True):
    """Where a deleted goal goes, if not back."""

    parent_id: uuid.UUID | None | UnsetType = UNSET
    reason: str | None = None


class CreateGoal(Struct, forbid_unknown_fields=True, tag=True):
    """As POST …/goals."""

    name: Name
    parent_id: OptionalId = None
    description: str | None = None
    start: Time | None = None
    due: Time | None = None
    id: OptionalId = None
    before: OptionalId = None
    after: OptionalId = None


class ChangeGoal(Struct, forbid_unknown_fields=True, tag=True):
    """As PATCH …/goals/{id}."""

    id: uuid.UUID
    name: Name | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
    start: Time | UnsetType = UNSET
    due: Time | None | UnsetType = UNSET


class CompleteGoal(Struct, forbid_unknown_fields=True, tag=True):
    """As POST …/complete."""

    id: uuid.UUID
    end: Time | None = None
    cascade: bool = False


class ReopenGoal(Struct, forbid_unknown_fields=True, tag=True):
    """As POST …/reopen."""

    id: uuid.UUID


class MoveGoal(Struct, forbid_unknown_fields=True, tag=True):
    """As POST …/move."""

    id: uuid.UUID
    parent_id: uuid.UUID | None | UnsetType = UNSET
    before: OptionalId = None
    after: OptionalId = None


class DeleteGoal(Struct, forbid_unknown_fields=True, tag=True):
    """As DELETE …/goals/{id}."""

    id: uuid.UUID


class RestoreGoal(Struct, forbid_unknown_fields=True, tag=True):
    """As POST …/restore."""

    id: uuid.UUID
    parent_id: uuid.UUID | None | UnsetType = UNSET


AnyCommand = CreateGoal | ChangeGoal | CompleteGoal | ReopenGoal | MoveGoal | DeleteGoal | RestoreGoal


class Batch(Struct, forbid_unknown_fields=True):
    """Commands done all or none, in order; a later one may name a goal that an earlier one makes."""

    commands: Annotated[list[AnyCommand], Meta(min_length=1, max_length=1000)]
    reason: str | None = None


class CompletedAnswer(GoalAnswer, kw_only=True):
    """A completed goal, and how many below it are still open."""

    open_sub_goals: int


class DeletedAnswer(Struct):
    """How many goals a deletion removed."""

    deleted: int


class BatchAnswer(Struct):
    """The commands' goals, as they are after all of them."""

    position: int
    results: Annotated[list[Any], Meta(description="each as the call of its own answers it")]


class UserGoals(Resource):
    """/v2/users/{user}/goals"""

    @operation("A user's tree of goals", {200: TreeAnswer}, query=TreeQuery, conditional=True,
               problems=("user-not-found", "projection-behind"))  # fmt: skip
    async def on_get(self, req: Request, resp: Response, user: str) -> None:
        """The whole tree, as it is or as it was."""
        owner = await self._context.user(req, user)
        query = requests.query(req, TreeQuery)
        shape = TreeOptions(query.view == "flat", query.status, _levels(query.depth), query.deleted)
        await reading.answer(self._context, req, resp, owner, None, shape, query.as_of)

    @operation("Create a goal", {201: GoalAnswer}, body=NewGoal, command=True,
               problems=("user-not-found", "goal-not-found", "goal-exists", "not-a-sibling"))  # fmt: skip
    async def on_post(self, req: Request, resp: Response, user: str) -> None:
        """Create it, last among its siblings unless a place is named."""
        context = self._context
        owner = await context.user(req, user)
        new = await requests.body(req, NewGoal)
        outcome = await context.command(req, resp, owner, [await creation(context, owner, new)], reason=new.reason)
        goal = answer_goal(resp, outcome, owner)
        resp.status = "201 Created"
        resp.set_header("Location", f"/v2/goals/{goal.id}")


class UserCommands(Resource):
    """/v2/users/{user}/commands"""

    @operation("Several commands, all or none", {200: BatchAnswer}, body=Batch, command=True,
               problems=("user-not-found", "goal-not-found", "goal-exists", "not-a-sibling", "under-itself",
                         "not-the-root", "parent-deleted"))  # fmt: skip
    async def on_post(self, req: Request, resp: Response, user: str) -> None:
        """At most 1,000, or what the service is set to, recorded under one command id."""
        context = self._context
        owner = await context.user(req, user)
        batch = await requests.body(req, Batch)
        if len(batch.commands) > (most := context.settings.batch_limit):
            detail = f"expected at most {most} commands; found {len(batch.commands)}"
            raise Refusal("invalid-value", detail, pointer="/commands")
        commands = [await command(context, owner, one, index) for index, one in enumerate(batch.commands)]
        outcome = await context.command(req, resp, owner, commands, reason=batch.reason, batch=True)
        results = [_result(result, owner) for result in outcome.results]
        resp.data = _encode(BatchAnswer(outcome.position, results))
        resp.content_type = JSON


class OneGoal(Resource):
    """/v2/goals/{goal_id}"""

    @operation("A goal with its sub-goals", {200: (ShownGoal, TreeAnswer)}, query=GoalQuery, conditional=True,
               problems=("goal-not-found", "projection-behind"))  # fmt: skip
    async def on_get(self, req: Request, resp: Response, goal_id: str) -> None:
        """As it is or as it was; flat, a list."""
        owner, known = await self._context.owner(req, goal_id)
        query = requests.query(req, GoalQuery)
        shape = TreeOptions(query.view == "flat", "all", _levels(query.depth))
        await reading.answer(self._context, req, resp, owner, known, shape, query.as_of)

    @operation("Change a goal", {200: GoalAnswer}, body=GoalChange, media_types=requests.PATCH, command=True,
               problems=("goal-not-found",))  # fmt: skip
    async def on_patch(self, req: Request, resp: Response, goal_id: str) -> None:
        """A merge patch of its name, description, start and due."""
        owner, known = await self._context.owner(req, goal_id)
        change = await requests.body(req, GoalChange, requests.PATCH)
        changed = domain.ChangeGoal(known, change.name, change.description, change.start, change.due)
        outcome = await self._context.command(req, resp, owner, [changed], known, change.reason)
        answer_goal(resp, outcome, owner)

    @operation("Delete a goal and all below it", {200: DeletedAnswer}, body=Reason, command=True,
               problems=("goal-not-found",))  # fmt: skip
    async def on_delete(self, req: Request, resp: Response, goal_id: str) -> None:
        """It can be restored."""
        owner, known = await self._context.owner(req, goal_id)
        why = await requests.body(req, Reason)
        outcome = await self._context.command(req, resp, owner, [domain.DeleteGoal(known)], known, why.reason)
        resp.data = _encode(DeletedAnswer(outcome.results[0].deleted or 0))
        resp.content_type = JSON
        _tag(resp, outcome)


class GoalCompletion(Resource):
    """/v2/goals/{goal_id}/complete"""

    @operation("Complete a goal", {200: CompletedAnswer}, body=Completion, command=True,
               problems=("goal-not-found",))  # fmt: skip
    async def on_post(self, req: Request, resp: Response, goal_id: str) -> None:
        """With `cascade`, every open one below it too."""
        owner, known = await self._context.owner(req, goal_id)
        done = await requests.body(req, Completion)
        completion = domain.CompleteGoal(known, done.end, done.cascade)
        outcome = await self._context.command(req, resp, owner, [completion], known, done.reason)
        answer_goal(resp, outcome, owner)


class GoalReopening(Resource):
    """/v2/goals/{goal_id}/reopen"""

    @operation("Reopen a goal", {200: GoalAnswer}, body=Reason, command=True, problems=("goal-not-found",))
    async def on_post(self, req: Request, resp: Response, goal_id: str) -> None:
        """Those above it stay as they are."""
        owner, known = await self._context.owner(req, goal_id)
        why = await requests.body(req, Reason)
        outcome = await self._context.command(req, resp, owner, [domain.ReopenGoal(known)], known, why.reason)
        answer_goal(resp, outcome, owner)


class GoalMove(Resource):
    """/v2/goals/{goal_id}/move"""

    @operation("Move a goal", {200: GoalAnswer}, body=NewPlace, command=True,
               problems=("goal-not-found", "under-itself", "not-a-sibling"))  # fmt: skip
    async def on_post(self, req: Request, resp: Response, goal_id: str) -> None:
        """Under another one, to the top, or among its siblings."""
        owner, known = await self._context.owner(req, goal_id)
        place = await requests.body(req, NewPlace)
        move = domain.MoveGoal(known, _parent(place.parent_id), _text(place.before), _text(place.after))
        outcome = await self._context.command(req, resp, owner, [move], known, place.reason)
        answer_goal(resp, outcome, owner)


class GoalRestoration(Resource):
    """/v2/goals/{goal_id}/restore"""

    @operation("Restore a deleted goal", {200: GoalAnswer}, body=Restoration, command=True,
               problems=("goal-not-found", "not-the-root", "parent-deleted"))  # fmt: skip
    async def on_post(self, req: Request, resp: Response, goal_id: str) -> None:
        """With all that its deletion removed."""
        owner, known = await self._context.owner(req, goal_id)
        place = await requests.body(req, Restoration)
        restoration = domain.RestoreGoal(known, _parent(place.parent_id))
        outcome = await self._context.command(req, resp, owner, [restoration], known, place.reason)
        answer_goal(resp, outcome, owner)


async def creation(
    context: Context, owner: User, new: NewGoal | CreateGoal, index: int | None = None
) -> domain.CreateGoal:
    """The command to create a goal. Raises Refusal for an id of another version than 4 or 7, and GoalExists for one of
    another user's goal: in the writer it would make a whole batch begin anew."""
    if new.id is not None and (new.id.variant != uuid.RFC_4122 or new.id.version not in (4, 7)):
        pointer = "/id" if index is None else f"/commands/{index}/id"
        detail = f"expected a UUID of version 4 or 7; found {new.id}"
        raise Refusal("invalid-value", detail, pointer=pointer, index=index)
    goal_id = context.new_id() if new.id is None else str(new.id)
    if new.id is not None and (other := await context.owner_of(goal_id)) is not None and other.id != owner.id:
        taken = domain.GoalExists(goal_id)
        raise taken if index is None else RejectedAt(index, taken)
    place = (_text(new.before), _text(new.after))
    return domain.CreateGoal(goal_id, new.name, _text(new.parent_id), new.description, new.start, new.due, *place)


async def command(context: Context, owner: User, one: AnyCommand, index: int) -> domain.Command:
    """One command of several."""
    match one:
        case CreateGoal():
            return await creation(context, owner, one, index)
        case ChangeGoal():
            return domain.ChangeGoal(str(one.id), one.name, one.description, one.start, one.due)
        case CompleteGoal():
            return domain.CompleteGoal(str(one.id), one.end, one.cascade)
        case ReopenGoal():
            return domain.ReopenGoal(str(one.id))
        case MoveGoal():
            return domain.MoveGoal(str(one.id), _parent(one.parent_id), _text(one.before), _text(one.after))
        case DeleteGoal():
            return domain.DeleteGoal(str(one.id))
        case RestoreGoal():
            return domain.RestoreGoal(str(one.id), _parent(one.parent_id))
        case _:
            assert_never(one)


def answer_goal(resp: Response, outcome: Outcome, owner: User) -> GoalAnswer:
    """The only command's goal, with its tag."""
    answer = _result(outcome.results[0], owner)
    resp.data = _encode(answer)
    resp.content_type = JSON
    _tag(resp, outcome)
    assert isinstance(answer, GoalAnswer)
    return answer


def _tag(resp: Response, outcome: Outcome) -> None:
    """For If-Match. It names no generation, since a command asks nothing of a read model."""
    reading.private(resp)
    resp.set_header("ETag", trees.etag(outcome.results[0].goal.revision, outcome.version, 0, "c"))


def _result(result: Result, owner: User) -> GoalAnswer | CompletedAnswer | DeletedAnswer:
    if result.deleted is not None:
        return DeletedAnswer(result.deleted)
    answer = trees.goal_answer(result.goal, owner.name)
    if result.open_sub_goals is None:
        return answer
    return CompletedAnswer(*msgspec.structs.astuple(answer), open_sub_goals=result.open_sub_goals)


def _levels(depth: int | UnsetType) -> int | None:
    return None if depth is UNSET else depth


def _text(goal_id: uuid.UUID | None) -> str | None:
    return None if goal_id is None else str(goal_id)


def _parent(parent_id: uuid.UUID | UnsetType | None) -> str | UnsetType | None:
    return parent_id if parent_id is None or parent_id is UNSET else str(parent_id)
