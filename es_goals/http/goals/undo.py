"""Undo: what commands did is set back by another command, and redo, which is to undo that."""

import uuid
from collections.abc import Sequence
from typing import Annotated

from falcon.asgi import Response
from msgspec import UNSET, Meta, Struct, UnsetType

from es_goals import undoing
from es_goals.configured import limits_of
from es_goals.goals.commands import Undo
from es_goals.http import answers, requests
from es_goals.http.describe.operation import operation
from es_goals.http.exchange import Request
from es_goals.http.problems import Refusal
from es_goals.http.requests import DryRunQuery
from es_goals.http.resource import Resource
from es_goals.reads import trees
from es_goals.reads.history import LARGEST
from es_goals.reads.trees import GoalAnswer
from es_goals.service import Outcome
from es_goals.storage.log import User
from es_goals.undoing import MOST, Chosen

PATH = "/v2/users/{user}/undo"
SHOWN = 100


class NewUndo(Struct, forbid_unknown_fields=True):
    """What is to be undone: one of these. Several commands are undone together, the latest first, all or none."""

    position: Annotated[int, Meta(ge=1, le=LARGEST, description="of any event of the command")] | UnsetType = UNSET
    command: uuid.UUID | UnsetType = UNSET
    commands: Annotated[list[uuid.UUID], Meta(min_length=1, max_length=MOST)] | UnsetType = UNSET
    reason: str | None = None


class UndoAnswer(Struct, frozen=True):
    """What was done. `command`: the undo's own id, null where nothing was left to undo; `undoes`: those that it undoes,
    the latest first; `position` and `version` of the user's last event; `events`: how many it recorded; `changed`: how
    many goals it changed, of which `goals` has the first 100."""

    command: str | None
    undoes: list[str]
    position: int | UnsetType
    version: int
    events: int
    changed: int
    goals: list[GoalAnswer]


class UserUndo(Resource):
    """/v2/users/{user}/undo"""

    @operation("Undo what commands did", {200: (UndoAnswer, answers.DryRun)}, body=NewUndo, query=DryRunQuery,
               command=True, example={"position": 57, "reason": "the wrong goal"},
               problems=("user-not-found", "command-not-found", "undo-in-the-way"))  # fmt: skip
    async def on_post(self, req: Request, resp: Response, user: User) -> None:
        """However old they are, by a new command: whole, or refused where later changes are in the way. To redo is to
        undo the undo."""
        new = await requests.body(req, NewUndo, may_try=True)
        chosen = _chosen(new)

        async def send(undos: Sequence[Undo]) -> Outcome:
            return await self.command(req, user, undos, reason=new.reason, batch=len(undos) > 1)

        log, limits, actor = self.worker.storage.log, limits_of(self.settings), requests.actor(req)
        undos, outcome = await undoing.undo(log, self.reads.pool, limits, user.id, chosen, send, req.deadline, actor)
        answers.command(resp, outcome, _answer(undos, outcome, user))


def _chosen(new: NewUndo) -> Chosen:
    """Raises Refusal."""
    given = [name for name in ("position", "command", "commands") if getattr(new, name) is not UNSET]
    if len(given) != 1:
        detail = f"expected one of position, command and commands; found {' and '.join(given) or 'none'}"
        raise Refusal("invalid-value", detail, pointer=f"/{given[1]}" if given else "")
    if new.position is not UNSET:
        return Chosen(new.position)
    commands = [new.command] if new.commands is UNSET else new.commands
    return Chosen(commands=[str(one) for one in commands])


def _answer(undos: Sequence[Undo], outcome: Outcome, owner: User) -> UndoAnswer:
    tried = outcome.tried
    goals = [trees.goal_answer(one.goal, owner.name) for one in outcome.results[:SHOWN]]
    return UndoAnswer(
        outcome.command,
        [one.command for one in undos],
        outcome.position if tried is None else UNSET,
        outcome.version,
        outcome.events if tried is None else len(tried),
        len(outcome.results),
        goals,
    )
