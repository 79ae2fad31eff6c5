"""Takes changes of drafts: decides their commands on the base, moves that, and applies them in one decision."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar, cast

from msgspec import Struct, structs

from es_goals.deciding import Changed, RejectedAt
from es_goals.events import GoalEvent, Recorded, goals_stream
from es_goals.folded import folded, top_up
from es_goals.goals.commands import Command, CreateGoal, LimitReached, Limits
from es_goals.goals.drafts import Judged, Overwrite, Refused, fields_of, judge
from es_goals.goals.state import Goal, Trial
from es_goals.service import Pool, Service
from es_goals.storage.deadlines import Deadline, current
from es_goals.storage.drafts import MOST_DRAFTS, Draft
from es_goals.storage.log import Clock, Log, Reader, Transaction, all_lines

SHOWN = 100
"""Conflicts that are told, of however many."""

T = TypeVar("T")
Match = Callable[[Draft], None]
"""Raises where the draft is not what the client takes it to be."""


class DraftNotFound(Exception):
    """The user has no draft of this id."""

    def __init__(self, draft_id: str) -> None:
        super().__init__(f"expected the id of a draft of this user; found {draft_id[:100]!r}")


class DraftApplied(Exception):
    """The draft was applied, and stays as it was."""

    def __init__(self, position: int) -> None:
        super().__init__(f"expected a draft that was not applied yet; found one that was, up to position {position}")


class TooManyDrafts(Exception):
    """The user has as many drafts as there may be."""

    def __init__(self, found: int) -> None:
        super().__init__(f"expected at most {MOST_DRAFTS} drafts of one user, applied ones too; found {found + 1}")


class DraftConflicts(Exception):
    """A draft and what others did since its base do not agree: nothing was recorded, and the draft is as it was.

    `position`: where the log ended; `by`: for each of `overwrites` that is told, the event that gave the field its
    present value, once it is looked up.
    """

    def __init__(self, draft: Draft, overwrites: Sequence[Overwrite], refused: Sequence[Refused], position: int):
        self.count = len(overwrites) + len(refused)
        found = "a conflict" if self.count == 1 else f"{self.count} conflicts"
        super().__init__(f"expected a draft that agrees with what was done since {draft.base}; found {found}")
        self.draft, self.position = draft, position
        self.refused = refused[:SHOWN]
        self.overwrites = overwrites[: SHOWN - len(self.refused)]
        self.by: Sequence[Recorded | None] = [None] * len(self.overwrites)


class Content(Struct, frozen=True):
    """A draft with its commands as the rules take them."""

    draft: Draft
    commands: Sequence[Command]


class Application:
    """Decides a draft's commands on the present goals, and marks it as applied with what they cause.

    `base`: all goals as the draft saw them; None: whatever it overwrites is meant.
    """

    def __init__(self, content: Content, base: Mapping[str, Goal] | None, match: Match, limits: Limits, most: int):
        self.content, self._base, self._match = content, base, match
        self._limits, self._most = limits, most

    def decide(self, log: Reader, trial: Trial, at: int, deadline: Deadline) -> list[GoalEvent]:
        """Raises DraftNotFound, DraftApplied, Changed, DraftConflicts, Interrupted."""
        draft = _current(log, self.content.draft, self._match)
        commands, limits, most = self.content.commands, self._limits, self._most
        placed = partial(_placed, log, draft.base)
        judged = judge(trial, commands, at, limits, most, self._base, placed, deadline.check, _taken(log, commands))
        _expect_agreement(draft, judged, log)
        return judged.events

    def recorded(self, transaction: Transaction, position: int) -> None:
        """In the append's transaction, so that whatever happens both are there or neither is. Raises DraftNotFound,
        DraftApplied, Changed: what was decided ahead may come too late."""
        draft = _current(transaction, self.content.draft, self._match)
        _put(transaction, structs.replace(draft, applied=position), draft.revision)


class Drafting:
    """Made in the process that serves. `limits`: what one user may have; `most`: events that applying may cause;
    `size`: bytes of a draft's commands."""

    def __init__(
        self, log: Log, service: Service, pool: Pool, clock: Clock, limits: Limits, most: int, size: int
    ) -> None:
        self._log, self._service, self._pool, self._clock = log, service, pool, clock
        self._limits, self._most, self._size = limits, most, size

    async def find(
        self, user_id: str, draft_id: str, read: Callable[[Draft], T], deadline: Deadline, actor: str | None
    ) -> T:
        """Return what is read of a user's draft. Raises DraftNotFound."""
        return await self._pool.run(lambda: read(_found(self._log, user_id, draft_id)), deadline, actor)

    async def create(self, content: Content, deadline: Deadline, actor: str | None) -> Draft:
        """Store a new draft, whose commands the rules must take. Raises RejectedAt, LimitReached, TooManyDrafts."""
        version = await self._pool.run(partial(self._expect_decided, content, 0), deadline, actor)

        def work(transaction: Transaction) -> Draft:
            draft = structs.replace(content.draft, version=version, created_at=transaction.at)
            if (found := len(transaction.drafts_of(draft.user_id))) >= MOST_DRAFTS:
                raise TooManyDrafts(found)
            return _put(transaction, draft, 0)

        return await self._service.change(work, deadline, actor)

    async def replace(self, content: Content, first: int, match: Match, deadline: Deadline, actor: str | None) -> Draft:
        """Store a draft as it is to be, unless it was changed since it was read. `first`: the place of the first
        command that is new. Raises RejectedAt, LimitReached, DraftNotFound, DraftApplied, Changed, what `match`
        raises."""
        draft = content.draft
        if draft.applied is not None:
            raise DraftApplied(draft.applied)
        await self._pool.run(partial(self._expect_decided, content, first), deadline, actor)

        def work(transaction: Transaction) -> Draft:
            _current(transaction, draft, match)
            return _put(transaction, draft, draft.revision)

        return await self._service.change(work, deadline, actor)

    async def rebase(self, content: Content, match: Match, deadline: Deadline, actor: str | None) -> Draft:
        """Move a draft's base to where the log ends, if nothing was done since that it does not agree with. Raises
        DraftNotFound, DraftApplied, Changed, DraftConflicts, what `match` raises."""
        moved = await self._pool.run(partial(self._moved, content, match), deadline, actor)
        if moved == content.draft:
            return moved

        def work(transaction: Transaction) -> Draft:
            _current(transaction, content.draft, match)
            return _put(transaction, moved, moved.revision)

        return await self._service.change(work, deadline, actor)

    async def remove(self, user_id: str, draft_id: str, match: Match, deadline: Deadline, actor: str | None) -> None:
        """Forget a draft. Raises DraftNotFound, what `match` raises."""

        def work(transaction: Transaction) -> None:
            match(_found(transaction, user_id, draft_id))
            transaction.remove_draft(draft_id)

        await self._service.change(work, deadline, actor)

    async def application(
        self, content: Content, overwriting: bool, match: Match, deadline: Deadline, actor: str | None
    ) -> Application:
        """Prepare what decides a draft. `overwriting`: it may overwrite what others did."""
        draft, base = content.draft, None
        if not overwriting and draft.applied is None:
            read = partial(folded, self._log, goals_stream(draft.user_id), draft.base)
            base = (await self._pool.run(read, deadline, actor)).goals.known
        return Application(content, base, match, self._limits, self._most)

    async def explained(self, error: DraftConflicts, deadline: Deadline, actor: str | None) -> DraftConflicts:
        """Look up which events are overwritten, outside of the log's lock: they stay what they are."""
        error.by = await self._pool.run(partial(_causes, self._log, error), deadline, actor)
        return error

    def taken(self, error: RejectedAt, content: Content) -> DraftConflicts:
        """A command that was refused only when its events came to the log: somebody else has the goal's id."""
        return DraftConflicts(content.draft, (), [Refused(error.index, error.error)], self._log.head().position)

    def _expect_decided(self, content: Content, first: int) -> int:
        """Return the user's version at the base, on which the rules must take the commands."""
        draft = content.draft
        if (size := len(draft.commands.encode())) > self._size:
            raise LimitReached(f"{self._size} bytes of a draft's commands as JSON", size)
        goals = folded(self._log, goals_stream(draft.user_id), draft.base).goals
        version = goals.version
        at = max(self._clock(), self._log.head().at)
        taken = _taken(self._log, content.commands)
        judged = judge(Trial(goals), content.commands, at, self._limits, self._most, check=current().check, taken=taken)
        for refused in judged.refused:
            raise RejectedAt(refused.index - first, refused.error) if refused.index >= first else refused.error
        return version

    def _moved(self, content: Content, match: Match) -> Draft:
        draft = _current(self._log, content.draft, match)
        stream = goals_stream(draft.user_id)
        known = folded(self._log, stream, draft.base)
        goals = known.goals
        base = {goal_id: structs.replace(goal) for goal_id, goal in goals.known.items()}
        head = self._log.head()
        top_up(self._log, stream, known, head.position)
        if (version := goals.version) == draft.version:
            return draft
        at, placed = max(self._clock(), head.at), partial(_placed, self._log, draft.base)
        check, taken = current().check, _taken(self._log, content.commands)
        judged = judge(Trial(goals), content.commands, at, self._limits, self._most, base, placed, check, taken)
        _expect_agreement(draft, judged, self._log)
        return structs.replace(draft, base=head.position, version=version)


def _found(log: Reader, user_id: str, draft_id: str) -> Draft:
    draft = log.draft(user_id, draft_id)
    if draft is None:
        raise DraftNotFound(draft_id)
    return draft


def _current(log: Reader, known: Draft, match: Match) -> Draft:
    """The draft, if it may be changed and is at the revision that was read."""
    draft = _found(log, known.user_id, known.id)
    match(draft)
    if draft.applied is not None:
        raise DraftApplied(draft.applied)
    if draft.revision != known.revision:
        raise Changed(f"expected the draft at revision {known.revision}; found it changed meanwhile")
    return draft


def _put(transaction: Transaction, draft: Draft, revision: int) -> Draft:
    """Store it as the one behind `revision`."""
    stored = structs.replace(draft, revision=revision + 1, updated_at=transaction.at)
    transaction.put_draft(stored)
    return stored


def _expect_agreement(draft: Draft, judged: Judged, log: Reader) -> None:
    if judged.overwrites or judged.refused:
        raise DraftConflicts(draft, judged.overwrites, judged.refused, log.head().position)


def _taken(log: Reader, commands: Sequence[Command]) -> frozenset[str]:
    """The ids of their new goals that some goal has."""
    return log.taken([one.goal_id for one in commands if isinstance(one, CreateGoal)])


def _placed(log: Reader, base: int, goal_id: str) -> bool:
    return _writer(log, base, None, Overwrite(goal_id, "place", None, None, None)) is not None


def _causes(log: Reader, error: DraftConflicts) -> list[Recorded | None]:
    return [_writer(log, error.draft.base, error.position, one) for one in error.overwrites]


def _writer(log: Reader, after: int, until: int | None, one: Overwrite) -> Recorded | None:
    """The last event that wrote the field."""
    last = None
    for line in all_lines(log, after, until=until, subject=one.goal_id):
        if one.field in fields_of(cast(GoalEvent, line.event)):
            last = line
    return last
