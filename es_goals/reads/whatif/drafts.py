"""What a draft would make of goals: its tree, and how that differs from others."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, cast

from msgspec import Struct, structs

from es_goals.events import GoalEvent, Recorded, encode, goals_stream
from es_goals.goals.commands import Command, Limits
from es_goals.goals.drafts import judge
from es_goals.goals.state import Goals, Trial, evolve
from es_goals.projector import View
from es_goals.reads import Asker, Reads, diff, trees
from es_goals.reads.diff import Diff, Side
from es_goals.reads.history import folded
from es_goals.reads.trees import CachedAnswer, TreeCache, TreeOptions, UserTree
from es_goals.storage.deadlines import current
from es_goals.storage.drafts import Draft
from es_goals.storage.log import Reader, all_lines
from es_goals.storage.views import Key
from projections.goal_tree import Row

PAGE = 5_000  # events read at once


class DraftQuestion(Struct, frozen=True):
    """Which draft, with its commands as the rules take them; `name`: what its user is called in the answer."""

    draft: Draft
    commands: Sequence[Command]
    name: str


class DraftReads:
    """`trees`: keeps trees of drafts by revision; `limits` and `most`: what the rules are asked with."""

    def __init__(self, reads: Reads, kept: TreeCache, limits: Limits, most: int) -> None:
        self._reads, self._kept, self._limits, self._most = reads, kept, limits, most

    async def behind(self, drafts: Sequence[Draft], user_id: str, asker: Asker) -> list[int]:
        """How many events of the user came since each one's base."""
        stream = goals_stream(user_id)
        version = await self._reads.in_thread(lambda: self._reads.log.stream_head(stream).version, asker)
        return [version - draft.version for draft in drafts]

    async def of_user(self, user_id: str, asker: Asker) -> list[Draft]:
        """A user's drafts, without their commands."""
        return await self._reads.in_thread(lambda: self._reads.log.drafts_of(user_id), asker)

    async def tree(
        self, question: DraftQuestion, options: TreeOptions, view: str, generation: int, asker: Asker
    ) -> CachedAnswer:
        """The tree of a draft; its version and position are those of the base. Raises Rejected where the rules do not
        take its commands any more, ProjectionBehind, Interrupted."""
        draft = question.draft
        key = f"{draft.id}.{draft.revision}"
        known = self._kept.get(key)
        if known is None or (known.name, known.view.generation) != (question.name, generation):
            known = None
        elif (ready := known.answer((None, view, None))) is not None:
            return ready

        def work(log: Reader) -> CachedAnswer:
            tree = known or self._tree(log, question, generation)
            answer = CachedAnswer("", trees.whole(tree, options), None, generation)
            if options.find is None:
                tree.put_answer((None, view, None), answer)
            self._kept.put(key, tree)
            return answer

        return await self._reads.of_log(draft.base, work, asker)

    async def diff(
        self, question: DraftQuestion, against: Literal["base", "now"], written: Callable[[Diff], bytes], asker: Asker
    ) -> bytes:
        """How the draft's tree differs from that at its base, or from the present one: what came since the base is not
        in the draft, and counts as deleted. Raises as `tree` does, and LimitReached."""
        until = question.draft.base if against == "base" else await self._reads.head(asker.deadline)
        return await self._reads.of_log(until, lambda log: written(self._diff(log, question, until)), asker)

    def _tree(self, log: Reader, question: DraftQuestion, generation: int) -> UserTree:
        draft = question.draft
        base = _Base(log, draft)
        drafted = self._drafted(base, question)
        rows: dict[Key, Any] = {(draft.user_id, goal_id): row for goal_id, row in drafted.items()}
        version, position = (base.last.version, base.last.position) if base.last else (0, 0)
        return UserTree(View(rows, version, position, generation), question.name)

    def _diff(self, log: Reader, question: DraftQuestion, until: int) -> Diff:
        base = _Base(log, question.draft)
        rows = self._drafted(base, question)
        at, present, last = diff.point(base.last), base.rows, base.last
        if until > question.draft.base:
            present = base.rows.copy()
            for line in _lines(log, question.draft, question.draft.base, until):
                present[line.subject or ""] = folded(present.get(line.subject or ""), line)
                last = line
        for goal_id in present.keys() - rows.keys():
            rows[goal_id] = structs.replace(present[goal_id], root=goal_id)
        return Diff.of(Side(present, diff.point(last)), Side(rows, at))

    def _drafted(self, base: "_Base", question: DraftQuestion) -> dict[str, Row]:
        """The rows that the draft's commands make of those of its base."""
        draft, rows = question.draft, base.rows.copy()
        at, check = draft.updated_at, current().check
        judged = judge(Trial(base.goals), question.commands, at, self._limits, self._most, check=check)
        for refused in judged.refused:
            raise refused.error
        for event in judged.events:
            rows[event.goal_id] = folded(rows.get(event.goal_id), _as_recorded(event, draft))
        return rows


class _Base:
    """A user's goals as of a draft's base, as readers and as the rules see them."""

    def __init__(self, log: Reader, draft: Draft) -> None:
        self.rows: dict[str, Row] = {}
        self.goals, self.last = Goals(), cast(Recorded | None, None)
        for line in _lines(log, draft, 0, draft.base):
            goal_id = line.subject or ""
            self.rows[goal_id] = folded(self.rows.get(goal_id), line)
            evolve(self.goals, cast(GoalEvent, line.event), line.at)
            self.last = line


def _lines(log: Reader, draft: Draft, after: int, until: int) -> Iterator[Recorded]:
    return all_lines(log, after, PAGE, stream=goals_stream(draft.user_id), until=until)


def _as_recorded(event: GoalEvent, draft: Draft) -> Recorded:
    """What no log has: an event of the draft, at the time at which that was changed last."""
    line = (goals_stream(draft.user_id), 0, type(event).__name__, event.goal_id, draft.updated_at)
    return Recorded(0, *line, None, draft.id, None, encode(event))
