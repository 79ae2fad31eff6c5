"""Changes of drafts on both engines: each on what it was read as, applied once and with its events, or not at all."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from msgspec import structs

from es_goals.deciding import Changed, RejectedAt, Request
from es_goals.drafting import (
    Application,
    Content,
    DraftApplied,
    DraftConflicts,
    Drafting,
    DraftNotFound,
    TooManyDrafts,
)
from es_goals.goals.commands import ChangeGoal, Command, CreateGoal, DeleteGoal, GoalExists, LimitReached
from es_goals.goals.state import Goals, Trial
from es_goals.reads.pool import FairPool
from es_goals.service import LONG, Outcome, Service
from es_goals.storage.deadlines import Deadline
from es_goals.storage.drafts import MOST_DRAFTS, Draft
from es_goals.storage.errors import Interrupted, OutcomeUnknown, StorageFailed, StorageFull
from es_goals.storage.log import Cause, Log
from tests.support.engines import NOW, Engine, FaultyLog, HandClock
from tests.support.limits import EVENTS_LIMIT, LIMITS

T = TypeVar("T")

CAUSE = Cause("command-1", "ann")
SIZE = 1_000
SOON = 20.0


class Desk:
    """One process's drafting, of drafts of ann's."""

    def __init__(self, log: Log, pool: FairPool, most: int = EVENTS_LIMIT) -> None:
        self.log, self.service = log, Service(log, pool, 2**30, LIMITS, most)
        self.drafting = Drafting(log, self.service, pool, HandClock(), LIMITS, most, SIZE)

    def create(self, *commands: Command, kept: str = "[]", base: int | None = None) -> Content:
        """A new draft."""
        there = self.log.head().position if base is None else base
        draft = Draft(f"draft-{len(self.log.drafts_of('ann'))}", "ann", "a plan", there, 0, 0, 0, 0, None, kept)
        return Content(run(self.drafting.create(Content(draft, commands), soon(), None)), commands)

    def replace(self, content: Content, *commands: Command, first: int = 0, kept: str = "[]") -> Content:
        """The draft, with these commands."""
        changed = Content(structs.replace(content.draft, commands=kept), commands)
        return Content(run(self.drafting.replace(changed, first, whatever, soon(), None)), commands)

    def rebase(self, content: Content) -> Content:
        """The draft, on the present."""
        return Content(run(self.drafting.rebase(content, whatever, soon(), None)), content.commands)

    def prepare(self, content: Content, overwriting: bool = False) -> Application:
        """What decides the draft."""
        return run(self.drafting.application(content, overwriting, whatever, soon(), None))

    def apply(self, content: Content, *, key: str | None = None, overwriting: bool = False) -> Outcome:
        """The draft."""
        return run(self.applying(self.prepare(content, overwriting), key))

    async def applying(self, application: Application, key: str | None = None) -> Outcome:
        """What was prepared."""
        commands = application.content.commands
        asked = Request("ann", commands, CAUSE, key, bytes(32), batch=True, decider=application)
        return await self.service.execute(asked, soon())

    def do(self, *commands: Command, user: str = "ann") -> None:
        """Commands that are no draft's."""
        run(self.service.execute(Request(user, commands, CAUSE, batch=True)))

    def stored(self, content: Content) -> Draft:
        """The draft as it is kept."""
        found = self.log.draft("ann", content.draft.id)
        assert found is not None
        return found

    def name(self, goal_id: str = "run") -> str:
        """What a goal is called in the log."""
        lines = self.log.read(subject=goal_id)
        return next(event.name for event in (line.event for line in lines[::-1]) if hasattr(event, "name"))


def whatever(_: Draft) -> None:
    """No precondition."""


def soon() -> Deadline:
    return Deadline.after(SOON)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@contextmanager
def serving(log: Log, most: int = EVENTS_LIMIT) -> Iterator[Desk]:
    with FairPool(4) as pool:
        desk = Desk(log, pool, most)
        try:
            yield desk
        finally:
            desk.service.close()


@pytest.fixture
def log(engine: Engine) -> FaultyLog:
    return FaultyLog(engine.open().log)


@pytest.fixture
def desk(log: FaultyLog) -> Iterator[Desk]:
    """With a goal, run."""
    with serving(log.log) as desk:
        desk.do(CreateGoal("run", "Run"))
        yield desk


@pytest.fixture
def other(desk: Desk, engine: Engine) -> Iterator[Desk]:
    """Another process's."""
    del desk
    with serving(engine.open().log) as other:
        yield other


def rename(name: str, goal_id: str = "run") -> ChangeGoal:
    return ChangeGoal(goal_id, name=name)


def test_a_draft_is_stored_with_where_it_stands_and_nothing_is_recorded(desk: Desk) -> None:
    made = desk.create(rename("Walk"))

    assert (made.draft.base, made.draft.version, made.draft.revision, made.draft.applied) == (1, 1, 1, None)
    assert NOW <= made.draft.created_at == made.draft.updated_at
    assert desk.stored(made) == made.draft
    assert desk.log.head().position == 1


def test_commands_are_decided_on_the_base_and_not_on_what_came_since(desk: Desk) -> None:
    desk.do(CreateGoal("swim", "Swim"))
    desk.do(DeleteGoal("run"))

    made = desk.create(rename("Walk"), base=1)

    assert (made.draft.base, made.draft.version) == (1, 1)
    with pytest.raises(RejectedAt) as refused:
        desk.create(rename("Walk"), rename("x", "swim"), base=1)
    assert refused.value.index == 1


def test_a_refusal_of_more_commands_counts_from_the_first_new_one(desk: Desk) -> None:
    made = desk.create(rename("Walk"))

    with pytest.raises(RejectedAt) as refused:
        desk.replace(made, rename("Walk"), rename("x"), rename("x", "never"), first=1)

    assert refused.value.index == 1
    assert desk.stored(made) == made.draft


def test_a_draft_has_so_many_bytes_of_commands_and_no_more(desk: Desk) -> None:
    made = desk.create(kept=f'["{"x" * (SIZE - 4)}"]')

    with pytest.raises(LimitReached, match=f"at most {SIZE} bytes of a draft's commands as JSON; found {SIZE + 1}"):
        desk.replace(made, kept=f'["{"x" * (SIZE - 5)}é"]')


def test_a_user_has_so_many_drafts_and_no_more(desk: Desk) -> None:
    made = [desk.create() for _ in range(MOST_DRAFTS)]
    with pytest.raises(TooManyDrafts):
        desk.create()

    run(desk.drafting.remove("ann", made[-1].draft.id, whatever, soon(), None))
    desk.create()


def test_who_changes_a_draft_that_was_changed_since_it_was_read_is_told(desk: Desk, other: Desk) -> None:
    made = desk.create(rename("Walk"))
    changed = other.replace(made, rename("Swim"))
    desk.do(CreateGoal("sing", "Sing"))

    ways: list[Callable[[Content], object]] = [desk.replace, desk.rebase, desk.apply]
    for way in ways:
        with pytest.raises(Changed, match="expected the draft at revision 1; found it changed meanwhile"):
            way(made)
    assert desk.stored(made) == changed.draft
    assert desk.name() == "Run"


def test_a_draft_that_is_gone_is_not_found(desk: Desk) -> None:
    made = desk.create(rename("Walk"))
    prepared = desk.prepare(made)
    run(desk.drafting.remove("ann", made.draft.id, whatever, soon(), None))

    ways: list[Callable[[Content], object]] = [desk.replace, desk.rebase, desk.apply]
    for way in ways:
        with pytest.raises(DraftNotFound):
            way(made)
    with pytest.raises(DraftNotFound):
        run(desk.applying(prepared))
    with pytest.raises(DraftNotFound):
        run(desk.drafting.remove("ann", made.draft.id, whatever, soon(), None))
    assert desk.name() == "Run"


@pytest.mark.parametrize("commands", [1, LONG + 1])
def test_of_two_processes_that_apply_a_draft_at_once_one_does(desk: Desk, other: Desk, commands: int) -> None:
    for number in range(10 if commands == 1 else 3):
        made = desk.create(*(rename(f"Walk {number} {one}") for one in range(commands)))
        both = [(one, one.prepare(made)) for one in (desk, other, desk)]

        async def at_once(both: Sequence[tuple[Desk, Application]] = both) -> list[Outcome | BaseException]:
            return await asyncio.gather(*(one.applying(what) for one, what in both), return_exceptions=True)

        answers = run(at_once())
        assert sorted(type(answer).__name__ for answer in answers) == ["DraftApplied", "DraftApplied", "Outcome"]
        (done,) = (answer for answer in answers if isinstance(answer, Outcome))
        assert desk.stored(made).applied == done.position == desk.log.head().position


def test_a_long_draft_that_is_decided_ahead_is_decided_on_what_came_meanwhile(desk: Desk, other: Desk) -> None:
    made = desk.create(*(CreateGoal(f"goal-{number}", "x", "run") for number in range(LONG)), rename("Walk"))
    prepared = desk.prepare(made)

    async def at_once() -> Outcome:
        applying = asyncio.ensure_future(desk.applying(prepared))
        asked = [Request("ann", [CreateGoal(f"other-{number}", "y")], CAUSE, batch=True) for number in range(20)]
        await asyncio.gather(*(other.service.execute(one) for one in asked))
        return await applying

    outcome = run(at_once())

    assert (outcome.events, len(outcome.results)) == (LONG + 1, LONG + 1)
    assert (desk.stored(made).applied, desk.name()) == (outcome.position, "Walk")
    assert desk.log.head().position == 1 + 20 + LONG + 1


def test_what_came_between_preparing_and_deciding_counts(desk: Desk, other: Desk) -> None:
    made = desk.create(rename("Walk"))
    prepared = desk.prepare(made)
    other.do(rename("Swim"))

    with pytest.raises(DraftConflicts) as conflict:
        run(desk.applying(prepared))

    told = run(desk.drafting.explained(conflict.value, soon(), None))
    (by,) = told.by
    assert by is not None
    assert (by.position, by.type) == (2, "GoalRenamed")
    assert desk.stored(made) == made.draft
    assert desk.name() == "Swim"
    desk.do(rename("and goes on"))


def test_a_repeat_with_a_key_is_answered_although_the_draft_is_applied(desk: Desk) -> None:
    made = desk.create(rename("Walk"))
    first = desk.apply(made, key="k")

    again = desk.apply(Content(desk.stored(made), made.commands), key="k")

    assert (again.replayed, again.position, again.command) == (True, first.position, first.command)
    with pytest.raises(DraftApplied):
        desk.apply(made, key="another")


@pytest.mark.parametrize("trouble", [StorageFull("full"), StorageFailed("failed")])
def test_where_the_commit_fails_neither_the_events_are_there_nor_the_mark(
    desk: Desk, log: FaultyLog, trouble: StorageFailed
) -> None:
    made = desk.create(rename("Walk"))
    log.trouble = trouble
    with pytest.raises(type(trouble)):
        desk.apply(made)
    log.trouble = None

    assert (desk.stored(made), desk.name()) == (made.draft, "Run")
    with serving(log.log) as later:
        later.apply(made)
        assert (later.stored(made).applied, later.name()) == (2, "Walk")


def test_where_nobody_knows_what_a_commit_came_to_both_are_there_or_neither(desk: Desk, log: FaultyLog) -> None:
    made = desk.create(rename("Walk"))
    log.trouble, log.kept = OutcomeUnknown("unknown"), True
    with pytest.raises(OutcomeUnknown):
        desk.apply(made)
    log.trouble = None

    assert (desk.stored(made).applied, desk.name()) == (2, "Walk")
    with serving(log.log) as later, pytest.raises(DraftApplied):
        later.apply(made)


def test_a_draft_without_effect_is_applied_up_to_the_last_event_of_the_user(desk: Desk) -> None:
    made = desk.create(rename("Run"))
    desk.do(CreateGoal("theirs", "theirs"), user="bob")

    assert (desk.apply(made).events, desk.stored(made).applied) == (0, 1)


def test_a_rebase_moves_the_base_once(desk: Desk) -> None:
    made = desk.create(rename("Walk"))
    desk.do(CreateGoal("swim", "Swim"))
    moved = desk.rebase(made)
    desk.do(CreateGoal("theirs", "theirs"), user="bob")

    assert (moved.draft.base, moved.draft.version, moved.draft.revision) == (2, 2, 2)
    assert desk.rebase(moved) == moved
    assert desk.stored(made) == moved.draft


def test_a_rebase_that_finds_conflicts_changes_nothing(desk: Desk) -> None:
    made = desk.create(rename("Walk"), rename("Stroll"))
    desk.do(rename("Swim"))

    with pytest.raises(
        DraftConflicts, match="expected a draft that agrees with what was done since 1; found a conflict"
    ):
        desk.rebase(made)

    assert desk.stored(made) == made.draft


def test_a_goal_s_id_that_somebody_else_took_is_a_conflict_of_its_command(desk: Desk) -> None:
    made = desk.create(rename("Walk"), CreateGoal("swim", "Swim"))
    desk.do(CreateGoal("swim", "theirs"), user="bob")
    prepared = desk.prepare(made)

    with pytest.raises(DraftConflicts) as conflict:
        run(desk.applying(prepared))

    late = desk.drafting.taken(RejectedAt(1, GoalExists("swim")), made)
    for found in (conflict.value, late):
        (one,) = found.refused
        assert (one.index, type(one.error), found.count, found.position) == (1, GoalExists, 1, 2)
    assert (desk.stored(made), desk.name()) == (made.draft, "Run")


def test_a_draft_causes_no_more_events_than_a_request_may(log: FaultyLog) -> None:
    with serving(log.log, most=2) as desk:
        made = desk.create(CreateGoal("a", "A"), CreateGoal("b", "B", "a"))
        with pytest.raises(RejectedAt) as refused:
            desk.create(*made.commands, CreateGoal("c", "C"))
        assert refused.value.index == 2
        desk.apply(made)


def test_what_takes_too_long_is_stopped_and_changes_nothing(desk: Desk) -> None:
    made = desk.create(rename("Walk"))
    late = Deadline.after(-1)
    drafting = desk.drafting
    works: list[Callable[[], Coroutine[Any, Any, object]]] = [
        lambda: drafting.find("ann", made.draft.id, str, late, None),
        lambda: drafting.create(made, late, None),
        lambda: drafting.replace(made, 0, whatever, late, None),
        lambda: drafting.rebase(made, whatever, late, None),
        lambda: drafting.application(made, False, whatever, late, None),
    ]
    for work in works:
        with pytest.raises(Interrupted):
            run(work())
    with pytest.raises(Interrupted):
        desk.prepare(made).decide(desk.log, Trial(Goals()), NOW, late)

    assert desk.log.drafts() == [made.draft]
