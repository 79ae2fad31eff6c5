"""Every command on goals, once: a row of COMMANDS is its members on the wire, its route, and what it asks of the rules.

The body of a command's own route and its form in a batch are made from the same members, so that they cannot differ.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import or_
from types import MethodType
from typing import Annotated, Any

import msgspec
from falcon.asgi import Response
from msgspec import UNSET, Meta, Struct, UnsetType

from es_goals.goals import commands as domain
from es_goals.goals.outcome import Result
from es_goals.http import answers, requests
from es_goals.http.describe.operation import operation
from es_goals.http.exchange import Request
from es_goals.http.goals import queries
from es_goals.http.goals.overviews import CommandHistory
from es_goals.http.goals.queries import GOAL, USER
from es_goals.http.problems import Refusal
from es_goals.http.requests import DryRunQuery, Reason, Time
from es_goals.http.resource import Resource
from es_goals.reads import trees
from es_goals.reads.trees import GoalAnswer
from es_goals.service import Outcome
from es_goals.storage.log import User
from es_goals.worker import Worker

Name = Annotated[str, Meta(min_length=1, description="1 to 200 characters, unless set otherwise, trimmed and in NFC")]
OptionalId = uuid.UUID | None


class CompletedAnswer(GoalAnswer, kw_only=True):
    """A completed goal, and how many below it are still open."""

    open_sub_goals: int


class DeletedAnswer(Struct):
    """How many goals a deletion removed."""

    deleted: int


_RESULTS = [{"$ref": f"#/components/schemas/{kind.__name__}"} for kind in (CompletedAnswer, GoalAnswer, DeletedAnswer)]


class BatchAnswer(Struct):
    """The commands' goals, as they are after all of them."""

    position: int | UnsetType
    results: Annotated[
        list[Any],
        Meta(description="each as the call of its own answers it", extra_json_schema={"items": {"anyOf": _RESULTS}}),
    ]


class Creation(Struct, forbid_unknown_fields=True):
    """Members of CreateGoal."""

    name: Name
    parent_id: OptionalId = None
    description: str | None = None
    start: Time | None = None
    due: Time | None = None
    id: OptionalId = None
    before: OptionalId = None
    after: OptionalId = None

    def command(self, goal_id: str) -> domain.CreateGoal:
        """What it asks of the rules."""
        place = (_text(self.before), _text(self.after))
        given = (self.description, self.start, self.due)
        return domain.CreateGoal(goal_id, self.name, _text(self.parent_id), *given, *place, brought=self.id is not None)


class Change(Struct, forbid_unknown_fields=True):
    """Members of ChangeGoal."""

    name: Name | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
    start: Time | UnsetType = UNSET
    due: Time | None | UnsetType = UNSET

    def command(self, goal_id: str) -> domain.ChangeGoal:
        """What it asks of the rules."""
        return domain.ChangeGoal(goal_id, self.name, self.description, self.start, self.due)


class Completing(Struct, forbid_unknown_fields=True):
    """Members of CompleteGoal."""

    end: Time | None = None
    cascade: bool = False

    def command(self, goal_id: str) -> domain.CompleteGoal:
        """What it asks of the rules."""
        return domain.CompleteGoal(goal_id, self.end, self.cascade)


class Reopening(Struct, forbid_unknown_fields=True):
    """Members of ReopenGoal: none."""

    def command(self, goal_id: str) -> domain.ReopenGoal:
        """What it asks of the rules."""
        return domain.ReopenGoal(goal_id)


class Moving(Struct, forbid_unknown_fields=True):
    """Members of MoveGoal."""

    parent_id: uuid.UUID | None | UnsetType = UNSET
    before: OptionalId = None
    after: OptionalId = None

    def command(self, goal_id: str) -> domain.MoveGoal:
        """What it asks of the rules."""
        return domain.MoveGoal(goal_id, _parent(self.parent_id), _text(self.before), _text(self.after))


class Deleting(Struct, forbid_unknown_fields=True):
    """Members of DeleteGoal: none."""

    def command(self, goal_id: str) -> domain.DeleteGoal:
        """What it asks of the rules."""
        return domain.DeleteGoal(goal_id)


class Restoring(Struct, forbid_unknown_fields=True):
    """Members of RestoreGoal."""

    parent_id: uuid.UUID | None | UnsetType = UNSET
    only: Annotated[bool, Meta(description="this one out of a deleted tree, by itself and with what is below it")] = (
        False
    )

    def command(self, goal_id: str) -> domain.RestoreGoal:
        """What it asks of the rules."""
        return domain.RestoreGoal(goal_id, _parent(self.parent_id), self.only)


class OnWire(Struct, frozen=True, kw_only=True):
    """A command on the wire.

    `tag`: its name in a batch, where it stands `like` its own call; `members`: what both forms hold, and what is asked
    of the rules by them; `body`: the name of the call's body, and what that says of itself; `method` and `path`: where
    the call is; `example`: a body; `answer`: what the call returns; `problems`: slugs that it may be refused with.
    """

    tag: str
    like: str
    members: type[Any]
    body: tuple[str, str]
    method: str
    path: str
    summary: str
    text: str
    example: Mapping[str, Any]
    answer: type[Any] = GoalAnswer
    status: int = 200
    problems: tuple[str, ...] = ("goal-not-found",)
    media_types: tuple[str, ...] = requests.JSON

    @property
    def creates(self) -> bool:
        """Whether its goal is a new one."""
        return self.members is Creation


COMMANDS = (
    OnWire(
        tag="CreateGoal", like="POST …/goals", members=Creation, body=("NewGoal", "A goal to create."),
        example={"name": "Run a marathon", "due": "2027-04-25T08:00:00Z"},
        method="post", path=USER, summary="Create a goal",
        text="Create it, last among its siblings unless a place is named.", status=201,
        problems=("user-not-found", "goal-not-found", "goal-exists", "not-a-sibling"),
    ),
    OnWire(
        tag="ChangeGoal", like="PATCH …/goals/{id}", members=Change,
        example={"name": "Run 10 km", "due": None},
        body=("GoalChange", "A merge patch (RFC 7396): what is absent stays; null removes."),
        method="patch", path=GOAL, summary="Change a goal",
        text="A merge patch of its name, description, start and due.", media_types=requests.PATCH,
    ),
    OnWire(
        tag="CompleteGoal", like="POST …/complete", members=Completing, body=("Completion", "How a goal was reached."),
        example={"cascade": True, "reason": "Berlin, in the rain"},
        method="post", path=f"{GOAL}/complete", summary="Complete a goal",
        text="With `cascade`, every open one below it too.", answer=CompletedAnswer,
    ),
    OnWire(
        tag="ReopenGoal", like="POST …/reopen", members=Reopening, body=("Reason", ""),
        example={"reason": "counted twice"},
        method="post", path=f"{GOAL}/reopen", summary="Reopen a goal", text="Those above it stay as they are.",
    ),
    OnWire(
        tag="MoveGoal", like="POST …/move", members=Moving, body=("NewPlace", "Where a goal goes."),
        example={"parent_id": None},
        method="post", path=f"{GOAL}/move", summary="Move a goal",
        text="Under another one, to the top, or among its siblings.",
        problems=("goal-not-found", "under-itself", "not-a-sibling"),
    ),
    OnWire(
        tag="DeleteGoal", like="DELETE …/goals/{id}", members=Deleting, body=("Reason", ""),
        example={"reason": "no time"},
        method="delete", path=GOAL, summary="Delete a goal and all below it", text="It can be restored.",
        answer=DeletedAnswer,
    ),
    OnWire(
        tag="RestoreGoal", like="POST …/restore", members=Restoring,
        example={"parent_id": None},
        body=("Restoration", "Where a deleted goal goes, if not back."),
        method="post", path=f"{GOAL}/restore", summary="Restore a deleted goal",
        text="With all that its deletion removed; with `only`, by itself and with what was deleted below it.",
        problems=("goal-not-found", "not-the-root", "parent-deleted"),
    ),
)  # fmt: skip
"""Adding a command to the API is a row here."""


def _body(one: OnWire) -> type[Any]:
    """The body of the command's own call: its members, and why."""
    name, text = one.body
    if name == Reason.__name__:
        return Reason
    why = [("reason", str | None, None)]
    return msgspec.defstruct(
        name, why, bases=(one.members,), namespace={"__doc__": text}, module=__name__, forbid_unknown_fields=True
    )


def _batch_form(one: OnWire) -> type[Any]:
    """The command in a batch: its members, and the goal's id where it is not a new one."""
    named: list[Any] = [] if one.creates else [("id", uuid.UUID)]
    return msgspec.defstruct(
        one.tag, named, bases=(one.members,), namespace={"__doc__": f"As {one.like}."}, module=__name__,
        forbid_unknown_fields=True, tag=True, kw_only=True,
    )  # fmt: skip


BODIES: Mapping[str, type[Any]] = {one.tag: _body(one) for one in COMMANDS}
BATCH_FORMS: Mapping[str, type[Any]] = {one.tag: _batch_form(one) for one in COMMANDS}
IN_BATCH: Any = reduce(or_, BATCH_FORMS.values())
_LISTED: Any = Annotated[list[IN_BATCH], Meta(min_length=1, max_length=1000)]


class Batch(Struct, forbid_unknown_fields=True):
    """Commands done all or none, in order; a later one may name a goal that an earlier one makes."""

    commands: _LISTED
    reason: str | None = None


async def _single(resource: Resource, req: Request, resp: Response, one: OnWire, goal_id: str | None) -> None:
    """One command by its own call. `goal_id`: of its goal; None: of a new one."""
    given = await requests.body(req, BODIES[one.tag], one.media_types, may_try=True)
    if goal_id is None:
        command = _creation(resource, given)
    else:
        members = given if isinstance(given, one.members) else one.members()
        command = members.command(goal_id)
    outcome = await resource.command(req, req.owner, [command], goal_id, given.reason)
    goal = outcome.results[0].goal
    place = f"/v2/goals/{goal.id}" if one.creates else None
    # The tag names no generation, since a command asks nothing of a read model.
    tag = trees.etag(goal.revision, outcome.version, 0, "c")
    answers.command(resp, outcome, _answer(outcome.results[0], req.owner), place, tag)


def _creation(resource: Resource, new: Creation, index: int | None = None) -> domain.CreateGoal:
    """The command to create a goal. Raises Refusal for an id of another version than 4 or 7."""
    if new.id is None:
        return new.command(resource.worker.new_id())
    if new.id.variant != uuid.RFC_4122 or new.id.version not in (4, 7):
        pointer = "/id" if index is None else f"/commands/{index}/id"
        detail = f"expected a UUID of version 4 or 7; found {new.id}"
        raise Refusal("invalid-value", detail, pointer=pointer, index=index)
    return new.command(str(new.id))


def _handler(one: OnWire) -> Callable[..., Any]:
    """What answers a command's own call, described."""

    async def create(resource: Resource, req: Request, resp: Response, user: User) -> None:
        del user
        await _single(resource, req, resp, one, None)

    async def change(resource: Resource, req: Request, resp: Response, goal_id: str) -> None:
        await _single(resource, req, resp, one, goal_id)

    handler = create if one.creates else change
    handler.__doc__ = one.text
    described = operation(
        one.summary, _answers(one), body=BODIES[one.tag], query=DryRunQuery, media_types=one.media_types, command=True,
        problems=one.problems, example=one.example,
    )  # fmt: skip
    return described(handler)


def _answers(one: OnWire) -> Mapping[int, Any]:
    """By status; a dry run is always 200."""
    if one.status == 200:
        return {200: (one.answer, answers.DryRun)}
    return {one.status: one.answer, 200: answers.DryRun}


class UserCommands(CommandHistory):
    """/v2/users/{user}/commands"""

    @operation("Several commands, all or none", {200: (BatchAnswer, answers.DryRun)}, body=Batch, query=DryRunQuery,
               command=True,
               example={"commands": [{"type": one.tag, **one.example} for one in COMMANDS[:1]]},
               problems=tuple(dict.fromkeys(slug for one in COMMANDS for slug in one.problems)))  # fmt: skip
    async def on_post(self, req: Request, resp: Response, user: User) -> None:
        """At most 1,000, or what the service is set to, recorded under one command id."""
        batch = await requests.body(req, Batch, may_try=True)
        commands = asked(self, batch.commands)
        outcome = await self.command(req, user, commands, reason=batch.reason, batch=True)
        answer_batch(req, resp, outcome)


def asked(resource: Resource, listed: Sequence[Any]) -> list[domain.Command]:
    """What the commands of a batch ask of the rules. Raises Refusal, RejectedAt."""
    if len(listed) > (most := resource.settings.batch_limit):
        detail = f"expected at most {most} commands; found {len(listed)}"
        raise Refusal("invalid-value", detail, pointer="/commands")
    return [
        _creation(resource, one, index) if isinstance(one, Creation) else one.command(str(one.id))
        for index, one in enumerate(listed)
    ]


def asked_before(listed: Sequence[Any]) -> list[domain.Command]:
    """The same of commands that were taken, and have all their ids."""
    return [one.command(str(one.id)) for one in listed]


def answer_batch(req: Request, resp: Response, outcome: Outcome) -> None:
    """What each of several commands came to, or would."""
    results = [_answer(result, req.owner) for result in outcome.results]
    answers.command(resp, outcome, BatchAnswer(UNSET if req.dry_run else outcome.position, results))


def routes(worker: Worker) -> list[tuple[str, Resource]]:
    """Every path of goals and what answers there."""
    found: dict[str, Resource] = {queries.USER: queries.UserGoals(worker), queries.GOAL: queries.OneGoal(worker)}
    for one in COMMANDS:
        resource = found.setdefault(one.path, Resource(worker))
        setattr(resource, f"on_{one.method}", MethodType(_handler(one), resource))
    return [*found.items(), ("/v2/users/{user}/commands", UserCommands(worker))]


def _answer(result: Result, owner: User) -> GoalAnswer | CompletedAnswer | DeletedAnswer:
    if result.deleted is not None:
        return DeletedAnswer(result.deleted)
    answer = trees.goal_answer(result.goal, owner.name)
    if result.open_sub_goals is None:
        return answer
    return CompletedAnswer(*msgspec.structs.astuple(answer), open_sub_goals=result.open_sub_goals)


def _text(goal_id: uuid.UUID | None) -> str | None:
    return None if goal_id is None else str(goal_id)


def _parent(parent_id: uuid.UUID | UnsetType | None) -> str | UnsetType | None:
    return parent_id if parent_id is None or parent_id is UNSET else str(parent_id)
