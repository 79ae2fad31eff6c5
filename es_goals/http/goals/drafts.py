"""Drafts: commands on goals as of a base, to look at, to bring up to date, and to apply whole or drop."""

import re
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from falcon.asgi import Response
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from es_goals.deciding import Changed, RejectedAt
from es_goals.drafting import Application, Content, DraftConflicts, DraftNotFound
from es_goals.events import moment
from es_goals.goals.commands import Command
from es_goals.http import answers, requests
from es_goals.http.describe.operation import UNSURE, operation
from es_goals.http.exchange import Request
from es_goals.http.goals.commands import (
    COMMANDS,
    IN_BATCH,
    BatchAnswer,
    Creation,
    answer_batch,
    asked,
    asked_before,
)
from es_goals.http.goals.past import PLAIN
from es_goals.http.goals.queries import ShownQuery, TreeAnswer
from es_goals.http.problems import Refusal
from es_goals.http.requests import DryRunQuery
from es_goals.http.resource import Resource
from es_goals.ids import uuid_of
from es_goals.reads import TreeQuestion, diff
from es_goals.reads.history import BeyondHead
from es_goals.reads.whatif.drafts import DraftQuestion
from es_goals.reads.whatif.tried import TriedDiff, without_events
from es_goals.service import Outcome
from es_goals.storage.drafts import Draft
from es_goals.storage.log import User
from es_goals.values import valid_name
from es_goals.worker import Worker

DRAFTS = "/v2/users/{user}/drafts"
DRAFT = f"{DRAFTS}/{{draft_id}}"
NAME = 200  # characters
EXAMPLE: Any = {"commands": [{"type": COMMANDS[0].tag, **COMMANDS[0].example}]}

_TAG = re.compile(r'"d(\d{1,18})\.b\d{1,19}"')
_RULES = tuple(dict.fromkeys(slug for one in COMMANDS for slug in one.problems))

Listed: Any = Annotated[list[IN_BATCH], Meta(max_length=1000)]
More: Any = Annotated[list[IN_BATCH], Meta(min_length=1, max_length=1000)]
Name = Annotated[str, Meta(min_length=1, description="1 to 200 characters, trimmed and in NFC")]


class NewDraft(Struct, forbid_unknown_fields=True):
    """A draft to make, on the goals as of a log position; without one, as they are."""

    name: Name
    base: requests.Position | None = None
    commands: Listed = []


class DraftCommands(Struct, forbid_unknown_fields=True):
    """Commands as in a batch, to come behind those that the draft has."""

    commands: More


class DraftChange(Struct, forbid_unknown_fields=True):
    """What is given takes the place of what the draft has."""

    name: Name | UnsetType = UNSET
    commands: Listed | UnsetType = UNSET


class DraftApplying(Struct, forbid_unknown_fields=True):
    """Why, and whether to overwrite what others changed since the base."""

    reason: str | None = None
    keep: Literal["mine"] | UnsetType = UNSET


class DraftHead(Struct, frozen=True):
    """A draft without its commands. `behind`: how many events of the user came since the base; `position`: of the last
    event of what it came to, once it was applied."""

    id: str
    name: str
    base: int
    behind: int
    state: Literal["open", "applied"]
    position: int | None
    revision: int
    created_at: datetime
    updated_at: datetime


class DraftAnswer(DraftHead, frozen=True, kw_only=True):
    """A draft."""

    commands: list[IN_BATCH]


class DraftList(Struct, frozen=True):
    """A user's drafts, in the order in which they were made."""

    drafts: list[DraftHead]


class RebasedDraft(Struct, frozen=True):
    """Where the draft's base is now; nothing was in its way."""

    base: int
    conflicts: list[None]


class DraftDiffQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """What the draft's tree is compared with: that at its base, or the present one."""

    against: Literal["base", "now"] = "base"


class DraftResource(Resource):
    """What the resources of drafts share."""

    async def found(self, req: Request, draft_id: str) -> Content:
        """The draft of the path's user, with its commands. Raises DraftNotFound."""
        known = uuid_of(draft_id)
        if known is None:
            raise DraftNotFound(draft_id)
        return await self.worker.drafting.find(req.owner.id, known, _content, req.deadline, req.asker.user)

    async def question(self, req: Request, draft_id: str) -> DraftQuestion:
        """The same as what a tree is made of."""
        content = await self.found(req, draft_id)
        return DraftQuestion(content.draft, content.commands, req.owner.name)

    def asked(self, listed: Sequence[Any]) -> tuple[list[Command], str]:
        """What commands ask of the rules, and the JSON to keep; goals without an id get one now, so that later commands
        may name them. Raises Refusal, RejectedAt."""
        for one in listed:
            if isinstance(one, Creation) and one.id is None:
                one.id = uuid.UUID(self.worker.new_id())
        return asked(self, listed), requests.written(listed)

    async def told(self, req: Request, draft: Draft) -> tuple[str, DraftAnswer]:
        """A draft as it is answered, and its tag."""
        behind = (await self.worker.drafts.behind([draft], req.owner.id, req.asker))[0]
        commands: Any = msgspec.Raw(draft.commands.encode())
        return _tag(draft, behind), DraftAnswer(*structs.astuple(_head(draft, behind)), commands=commands)

    async def replace(self, req: Request, resp: Response, content: Content, first: int) -> None:
        """Store a draft as it is to be, and answer it. `first`: the place of the first command that is new."""
        await self.expect_still_in(req)
        drafting = self.worker.drafting
        draft = await drafting.replace(content, first, _match(req), req.deadline, req.asker.user)
        tag, told = await self.told(req, draft)
        answers.tag(resp, tag)
        answers.json(resp, told)


class UserDrafts(DraftResource):
    """/v2/users/{user}/drafts"""

    @operation("A user's drafts", {200: DraftList}, problems=("user-not-found",))
    async def on_get(self, req: Request, resp: Response, user: User) -> None:
        """All, of which there are 100 at most, without their commands."""
        requests.query(req, requests.NoQuery)
        drafts = await self.worker.drafts.of_user(user.id, req.asker)
        behind = await self.worker.drafts.behind(drafts, user.id, req.asker)
        answers.json(resp, DraftList([_head(*both) for both in zip(drafts, behind, strict=True)]))

    @operation("Make a draft", {201: DraftAnswer}, body=NewDraft,
               problems=("user-not-found", "too-many-drafts", "limit-reached", "took-too-long", *_RULES, *UNSURE),
               example={"name": "What if we moved it to May", **EXAMPLE})  # fmt: skip
    async def on_post(self, req: Request, resp: Response, user: User) -> None:
        """Its commands are decided on the goals as of its base, and kept; nothing of it is recorded."""
        new = await requests.body(req, NewDraft)
        name, base = valid_name(new.name, NAME), await self._base(req, new.base)
        commands, kept = self.asked(new.commands)
        await self.expect_still_in(req)
        draft = Draft(self.worker.new_id(), user.id, name, base, 0, 0, 0, 0, None, kept)
        made = await self.worker.drafting.create(Content(draft, commands), req.deadline, req.asker.user)
        tag, told = await self.told(req, made)
        answers.created(resp, f"/v2/users/{user.id}/drafts/{made.id}")
        answers.tag(resp, tag)
        answers.json(resp, told)

    async def _base(self, req: Request, given: int | None) -> int:
        """Raises Refusal."""
        if given is None:
            return await self.reads.head(req.deadline)
        try:
            return (await self.reads.settle(given, req.asker))[0]
        except BeyondHead as error:
            raise Refusal("invalid-value", str(error), pointer="/base") from None


class OneDraft(DraftResource):
    """/v2/users/{user}/drafts/{draft_id}"""

    @operation("A draft", {200: DraftAnswer}, conditional=True, problems=("user-not-found", "draft-not-found"))
    async def on_get(self, req: Request, resp: Response, user: User, draft_id: str) -> None:
        """With its commands, and how far it is behind."""
        del user
        requests.query(req, requests.NoQuery)
        tag, told = await self.told(req, (await self.found(req, draft_id)).draft)
        if not answers.tagged(req, resp, tag):
            answers.json(resp, told)

    @operation("Change a draft", {200: DraftAnswer}, body=DraftChange, tagged=True,
               problems=("user-not-found", "draft-not-found", "draft-applied", *_RULES), example=EXAMPLE)  # fmt: skip
    async def on_put(self, req: Request, resp: Response, user: User, draft_id: str) -> None:
        """Another name, or another list of commands, which are decided anew on its base."""
        del user
        change = await requests.body(req, DraftChange)
        content = await self.found(req, draft_id)
        if change.name is not UNSET:
            content = _with(content, name=valid_name(change.name, NAME))
        if change.commands is not UNSET:
            commands, kept = self.asked(change.commands)
            content = _with(content, commands, commands=kept)
        await self.replace(req, resp, content, 0)

    @operation("Drop a draft", {204: None}, tagged=True, problems=("user-not-found", "draft-not-found"))
    async def on_delete(self, req: Request, resp: Response, user: User, draft_id: str) -> None:
        """Also one that was applied; what it came to stays."""
        requests.query(req, requests.NoQuery)
        known = uuid_of(draft_id)
        if known is None:
            raise DraftNotFound(draft_id)
        await self.expect_still_in(req)
        await self.worker.drafting.remove(user.id, known, _match(req), req.deadline, req.asker.user)
        answers.nothing(resp)


class DraftMore(DraftResource):
    """/v2/users/{user}/drafts/{draft_id}/commands"""

    @operation("More commands of a draft", {200: DraftAnswer}, body=DraftCommands, tagged=True,
               problems=("user-not-found", "draft-not-found", "draft-applied", *_RULES), example=EXAMPLE)  # fmt: skip
    async def on_post(self, req: Request, resp: Response, user: User, draft_id: str) -> None:
        """Decided on its base behind those that it has, and added all or none."""
        del user
        more = await requests.body(req, DraftCommands)
        commands, _ = self.asked(more.commands)
        while True:
            try:
                return await self._add(req, resp, draft_id, more, commands)
            except Changed:
                # What others add meanwhile comes before this, unless the draft was to be as it was.
                if (req.headers.get("if-match") or "*").strip() != "*":
                    raise

    async def _add(
        self, req: Request, resp: Response, draft_id: str, more: DraftCommands, commands: Sequence[Command]
    ) -> None:
        content = await self.found(req, draft_id)
        listed = [*_listed(content.draft), *more.commands]
        if len(listed) > (most := self.settings.batch_limit):
            raise Refusal(
                "invalid-value", f"expected at most {most} commands; found {len(listed)}", pointer="/commands"
            )
        first = len(content.commands)
        content = _with(content, [*content.commands, *commands], commands=requests.written(listed))
        await self.replace(req, resp, content, first)


class DraftGoals(DraftResource):
    """/v2/users/{user}/drafts/{draft_id}/goals"""

    @operation("The tree of a draft", {200: TreeAnswer}, query=ShownQuery, conditional=True,
               problems=("user-not-found", "draft-not-found", "projection-behind", "took-too-long"))  # fmt: skip
    async def on_get(self, req: Request, resp: Response, user: User, draft_id: str) -> None:
        """The goals as of its base, after its commands; `version` and `position` are those of the base."""
        options = requests.query(req, ShownQuery).options
        question = await self.question(req, draft_id)
        view, generation = TreeQuestion.of(user, None, options).view, req.look.generation
        if answers.tagged(req, resp, f'"d{question.draft.revision}.g{generation}.{view}"'):
            return
        found = await self.worker.drafts.tree(question, options, view, generation, req.asker)
        answers.encoded(resp, found.data)


class DraftDiff(DraftResource):
    """/v2/users/{user}/drafts/{draft_id}/diff"""

    @operation("What a draft changes", {200: TriedDiff}, query=DraftDiffQuery, produces=("application/json", PLAIN),
               problems=("user-not-found", "draft-not-found", "limit-reached", "projection-behind",
                         "took-too-long"))  # fmt: skip
    async def on_get(self, req: Request, resp: Response, user: User, draft_id: str) -> None:
        """How its tree differs from that at its base or from the present one, in which goals that came since the base
        count as deleted. With Accept: text/plain a line for each goal."""
        query = requests.query(req, DraftDiffQuery)
        question = await self.question(req, draft_id)
        resp.append_header("Vary", "Accept")
        as_text = requests.preferred(req, ["application/json", PLAIN]) == PLAIN

        def written(found: diff.Diff) -> bytes:
            return diff.text(found, user.name) if as_text else diff.encoded(found, user.name, without_events)

        data = await self.worker.drafts.diff(question, query.against, written, req.asker)
        answers.encoded(resp, data, f"{PLAIN}; charset=utf-8" if as_text else answers.JSON)


class DraftRebase(DraftResource):
    """/v2/users/{user}/drafts/{draft_id}/rebase"""

    @operation("Bring a draft up to date", {200: RebasedDraft}, tagged=True,
               problems=("user-not-found", "draft-not-found", "draft-applied", "draft-conflicts"))  # fmt: skip
    async def on_post(self, req: Request, resp: Response, user: User, draft_id: str) -> None:
        """Its base is the present then; where it does not agree with what was done meanwhile, nothing changes."""
        del user
        requests.query(req, requests.NoQuery)
        content = await self.found(req, draft_id)
        await self.expect_still_in(req)
        try:
            moved = await self.worker.drafting.rebase(content, _match(req), req.deadline, req.asker.user)
        except DraftConflicts as error:
            raise await self.worker.drafting.explained(error, req.deadline, req.asker.user) from None
        answers.json(resp, RebasedDraft(moved.base, []))


class DraftApply(DraftResource):
    """/v2/users/{user}/drafts/{draft_id}/apply"""

    @operation("Apply a draft", {200: (BatchAnswer, answers.DryRun)}, body=DraftApplying, query=DryRunQuery,
               command=True, example={"reason": "as we said on Monday", "keep": "mine"},
               problems=("user-not-found", "draft-not-found", "draft-applied", "draft-conflicts"))  # fmt: skip
    async def on_post(self, req: Request, resp: Response, user: User, draft_id: str) -> None:
        """All of it under one command id, on the goals as they are, or nothing. If-Match names the draft's tag."""
        given = await requests.body(req, DraftApplying, may_try=True)
        content = await self.found(req, draft_id)
        overwriting, drafting = given.keep == "mine", self.worker.drafting
        application = await drafting.application(content, overwriting, _match(req), req.deadline, req.asker.user)
        outcome = await self._applied(req, user, application, given.reason)
        answer_batch(req, resp, outcome)

    async def _applied(self, req: Request, user: User, application: Application, reason: str | None) -> Outcome:
        """Raises DraftConflicts."""
        content, drafting = application.content, self.worker.drafting
        try:
            return await self.command(req, user, content.commands, reason=reason, batch=True, decider=application)
        except RejectedAt as error:
            conflicts = drafting.taken(error, content)
        except DraftConflicts as error:
            conflicts = error
        raise await drafting.explained(conflicts, req.deadline, req.asker.user)


def routes(worker: Worker) -> list[tuple[str, Resource]]:
    """Every path of drafts and what answers there."""
    return [
        (DRAFTS, UserDrafts(worker)),
        (DRAFT, OneDraft(worker)),
        (f"{DRAFT}/commands", DraftMore(worker)),
        (f"{DRAFT}/goals", DraftGoals(worker)),
        (f"{DRAFT}/diff", DraftDiff(worker)),
        (f"{DRAFT}/rebase", DraftRebase(worker)),
        (f"{DRAFT}/apply", DraftApply(worker)),
    ]


def _with(content: Content, listed: Sequence[Command] | None = None, **changes: Any) -> Content:
    commands = content.commands if listed is None else listed
    return Content(structs.replace(content.draft, **changes), commands)


def _content(draft: Draft) -> Content:
    return Content(draft, asked_before(_listed(draft)))


def _listed(draft: Draft) -> list[Any]:
    found: list[Any] = requests.again(draft.commands, Listed)
    return found


def _head(draft: Draft, behind: int) -> DraftHead:
    state: Literal["open", "applied"] = "open" if draft.applied is None else "applied"
    about = (draft.id, draft.name, draft.base, behind, state, draft.applied, draft.revision)
    return DraftHead(*about, moment(draft.created_at), moment(draft.updated_at))


def _tag(draft: Draft, behind: int) -> str:
    """Of which If-Match reads the revision: how far the draft is behind is no change of it."""
    return f'"d{draft.revision}.b{behind}"'


def _match(req: Request) -> Callable[[Draft], None]:
    """What If-Match asks of the draft that is to be changed."""
    header = req.headers.get("if-match")
    if header is None or header.strip() == "*":
        return lambda _: None
    tags = (_TAG.fullmatch(tag.strip()) for tag in header.split(","))
    revisions = {int(tag[1]) for tag in tags if tag}

    def match(draft: Draft) -> None:
        if draft.revision not in revisions:
            named = " or ".join(map(str, sorted(revisions))) or "one that was never answered"
            raise Changed(f"expected the draft at revision {named}; found {draft.revision}")

    return match
