"""Any commands, against a plain model of trees of goals; and at every position, however it was folded."""

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from msgspec import UNSET, Struct, field

from es_goals import projector as projecting
from es_goals import rebuild as rebuilding
from es_goals.events import goals_stream, moment
from es_goals.goals.commands import (
    ChangeGoal,
    Command,
    CompleteGoal,
    CreateGoal,
    DeleteGoal,
    MoveGoal,
    ReopenGoal,
    RestoreGoal,
)
from es_goals.goals.rules import decide
from es_goals.goals.state import Goals, evolve
from es_goals.projector import Projector, View
from es_goals.rebuild import Rebuilder
from es_goals.storage.errors import SubjectTaken
from es_goals.storage.log import Cause
from es_goals.storage.views import Key
from es_goals.values import Rejected
from projections import ALL, activity, goal_tree
from projections.goal_tree import Row, tree
from tests.support.engines import ENGINES, NEWEST, Engine, HandClock
from tests.support.histories import folded
from tests.support.limits import LIMITS

USERS = ("ann", "bob")


class Refused(Exception):
    """The model refuses a command."""


class BrokenOff(Exception):
    """A rebuild is left half-way."""


class Item(Struct):
    """A goal of the model; `gone` names the goal whose deletion took it."""

    id: str
    parent: str | None
    name: str
    description: str | None
    made: datetime
    start: datetime
    due: datetime | None
    end: datetime | None = None
    gone: str | None = None


class Plan(Struct):
    """One user's goals, as plainly as can be; under each goal its sub-goals in order, deleted ones too."""

    items: dict[str, Item] = field(default_factory=dict)
    below: dict[str | None, list[str]] = field(default_factory=lambda: {None: []})
    days: dict[str, Counter[str]] = field(default_factory=dict)

    def __call__(self, command: Command, now: datetime) -> None:
        """Do what is asked, or raise Refused and change nothing."""
        match command:
            case CreateGoal():
                if command.goal_id in self.items:
                    raise Refused
                assert command.parent is None or isinstance(command.parent, str)
                start = command.start or now
                texts = (command.name, command.description)
                item = Item(command.goal_id, command.parent, *texts, now, start, command.due)
                self._put(item, command.parent, command.before, command.after)
                self.items[item.id], self.below[item.id] = item, []
                self._count(now, "created")
            case ChangeGoal():
                self._change(self._find(command.goal), command)
            case CompleteGoal():
                self._complete(self._find(command.goal), command, now)
            case ReopenGoal():
                item = self._find(command.goal)
                self._count(now, "reopened", item.end is not None)
                item.end = None
            case MoveGoal():
                item = self._find(command.goal)
                parent = item.parent if command.parent_id is UNSET else command.parent_id
                if any(item.id == above.id for above in self._upwards(parent)):
                    raise Refused
                self._put(item, parent, command.before, command.after)
            case DeleteGoal():
                root = self._find(command.goal)
                removed = list(self._branch(root))
                for item in removed:
                    item.gone = root.id
                self._count(now, "deleted", len(removed))
            case RestoreGoal():
                self._restore(command)

    def _find(self, goal: Any) -> Item:
        if goal not in self.items or self.items[goal].gone:
            raise Refused
        return self.items[goal]

    def _upwards(self, goal: str | None) -> Iterator[Item]:
        while goal is not None:
            yield (item := self._find(goal))
            goal = item.parent

    def _branch(self, item: Item) -> Iterator[Item]:
        yield item
        for child in self.below[item.id]:
            if not self.items[child].gone:
                yield from self._branch(self.items[child])

    def _put(self, item: Item, parent: str | None, before: str | None, after: str | None) -> None:
        if parent is not None:
            self._find(parent)
        beside = before or after
        if (before and after) or beside == item.id or (beside and self._find(beside).parent != parent):
            raise Refused
        if item.id in self.below.get(item.parent, []):
            self.below[item.parent].remove(item.id)
        siblings = self.below[parent]
        index = siblings.index(before) if before else siblings.index(after) + 1 if after else len(siblings)
        siblings.insert(index, item.id)
        item.parent = parent

    def _change(self, item: Item, command: ChangeGoal) -> None:
        start = item.start if command.start is UNSET else command.start
        if start != item.start and item.end and item.end < start:
            raise Refused
        item.start = start
        item.name = item.name if command.name is UNSET else command.name
        item.description = item.description if command.description is UNSET else command.description
        item.due = item.due if command.due is UNSET else command.due

    def _complete(self, root: Item, command: CompleteGoal, now: datetime) -> None:
        reached = [item for item in (self._branch(root) if command.cascade else [root]) if not item.end]
        if command.end and any(command.end < item.start != item.made for item in reached):
            raise Refused
        for item in reached:
            item.start = min(item.start, command.end or item.start)
            item.end = command.end or max(now, item.start)
        self._count(now, "completed", len(reached))

    def _restore(self, command: RestoreGoal) -> None:
        top = self.items.get(str(command.goal))
        if top is None or not (top.gone in (None, top.id) or command.only):
            raise Refused
        if top.gone is None:
            return
        if command.parent_id is not UNSET and command.parent_id != top.parent:
            self._put(top, command.parent_id, None, None)
        elif top.parent:
            self._find(top.parent)
        gone = top.gone
        for item in self._all_below(top):
            item.gone = None if item.gone == gone else item.gone

    def _all_below(self, item: Item) -> Iterator[Item]:
        yield item
        for child in self.below[item.id]:
            yield from self._all_below(self.items[child])

    def _count(self, now: datetime, what: str, count: int = 1) -> None:
        if count:
            self.days.setdefault(f"{now:%Y-%m-%d}", Counter())[what] += count

    def listed(self, parent: str | None = None, depth: int = 0) -> list[tuple[Any, ...]]:
        """Every goal in its place: its depth, itself, how many it is with all below, and its progress."""
        lines: list[tuple[Any, ...]] = []
        for item in (self.items[child] for child in self.below[parent]):
            inner = self.listed(item.id, depth + 1)
            leaves = [other for other in self._branch(item) if all(self.items[i].gone for i in self.below[other.id])]
            done, count = sum(leaf.end is not None for leaf in leaves), len(leaves)
            lines += [(depth, item, 1 + len(inner), *((0, 0) if item.gone else (done, count))), *inner]
        return lines


def as_listed(rows: list[Row]) -> list[tuple[Any, ...]]:
    """The rows as the model lists its own."""
    return [(node.depth, as_item(node.row), node.size, node.completed, node.leaves) for node in tree(rows)]


def as_item(row: Row) -> Item:
    start, due, end = (time and datetime.fromisoformat(time) for time in (row.start, row.due, row.end))
    assert start
    made = moment(row.created_at)
    return Item(row.id, row.parent_id, row.name, row.description, made, start, due or None, end or None, row.root)


def as_days(rows: list[activity.Row]) -> dict[str, Counter[str]]:
    kinds = ("created", "completed", "reopened", "deleted")
    days = {row.day: Counter({kind: getattr(row, kind) for kind in kinds if getattr(row, kind)}) for row in rows}
    return {day: counts for day, counts in days.items() if counts}


def assert_forest(rows: dict[Key, Row]) -> None:
    """Every goal's parent is a goal of the same user, and the way up ends."""
    for row in rows.values():
        above, seen = row, {row.id}
        while above.parent_id is not None:
            above = rows[row.user, above.parent_id]
            assert above.id not in seen
            seen.add(above.id)


NAMES = st.sampled_from(["Swim", "Row", "Learn to sail"])
TEXTS = st.none() | st.sampled_from(["", "daily", "in the sea\nat dawn"])
HOURS = st.integers(-30, 30).map(lambda hours: timedelta(hours=hours))
PICKS = st.integers(0, 99)
UNSAID = st.just(UNSET)
NOWHERE = st.none()
CHUNKS = (1, 7, 1_000)
FORMS: tuple[Any, ...] = (DeleteGoal, ReopenGoal, CompleteGoal, RestoreGoal, MoveGoal, ChangeGoal)


class Commands(RuleBasedStateMachine):
    """Sends commands to the rules and a real log, and asks the read models what became of them."""

    kind: str

    def __init__(self) -> None:
        super().__init__()
        self.opened, self.clock = ExitStack(), HandClock()
        folder = Path(self.opened.enter_context(TemporaryDirectory()))
        url = self.opened.enter_context(ENGINES[self.kind](folder))
        self.storage = self.opened.enter_context(Engine(url)).open(self.clock)
        self.projector = Projector(self.storage.log, self.storage.views, ALL)
        self.states = {user: Goals() for user in USERS}
        self.plans = {user: Plan() for user in USERS}
        self.owners: dict[str, str] = {}
        self.known: dict[tuple[str, str], View] = {}

    def picked(self, pick: Any, of: str | None = None) -> Any:
        """A goal, of a user if one is named, that is seldom deleted; what is no number stays."""
        if not isinstance(pick, int):
            return pick
        known = [goal for goal, owner in self.owners.items() if of in (None, owner)]
        there = [goal for goal in known if self.plans[self.owners[goal]].items[goal].gone is None]
        among = known if pick % 5 == 0 or not there else there
        return among[pick // 5 % len(among)] if among else "unknown"

    def parent(self, goal: str) -> str | None:
        return self.plans[self.owners[goal]].items[goal].parent

    def time(self, hours: Any) -> Any:
        return moment(self.clock.now) + hours if isinstance(hours, timedelta) else hours

    def send(self, user: str, command: Command) -> bool:
        """To both; they must agree whether it is refused, and whether it changes anything."""
        self.clock.now += 1_000_000
        plan, refused = copy.deepcopy(self.plans[user]), False
        try:
            plan(command, moment(self.clock.now))
        except Refused:
            refused = True
        if isinstance(command, CreateGoal) and command.goal_id in self.owners:
            refused = True
        try:
            events = self.record(user, command)
        except (Rejected, SubjectTaken):
            assert refused
            return False
        assert not refused
        assert bool(events) == (plan != self.plans[user])
        self.plans[user] = plan
        return True

    def record(self, user: str, command: Command) -> int:
        state, stream = self.states[user], goals_stream(user)
        with self.storage.log.writing() as transaction:
            events = decide(state, command, moment(transaction.at), LIMITS)
            if events:
                transaction.append(stream, state.version, events, Cause(f"command-{transaction.head().position}"))
        for event in events:
            evolve(state, event, transaction.at)
        return len(events)

    def make(self, user: str, **values: Any) -> None:
        goal_id = f"g{len(self.owners)}"
        if self.send(user, CreateGoal(goal_id, **values)):
            self.owners[goal_id] = user

    @initialize(parents=st.lists(PICKS, min_size=3, max_size=6))
    def begin(self, parents: list[int]) -> None:
        self.make("ann", name="Swim")
        self.make("bob", name="Swim")
        for parent in parents:
            self.make("ann", name="Row", parent=self.picked(parent, "ann"))

    @rule(
        user=st.sampled_from(["ann", "ann", "ann", "bob"]),
        parent=NOWHERE | PICKS,
        name=NAMES,
        description=TEXTS,
        start=NOWHERE | HOURS,
        due=NOWHERE | HOURS,
    )
    def create(self, user: str, parent: int | None, start: Any, due: Any, **texts: Any) -> None:
        self.make(user, parent=self.picked(parent, user), start=self.time(start), due=self.time(due), **texts)

    @rule(sibling=PICKS, side=st.sampled_from(["before", "after"]))
    def create_beside(self, sibling: int, side: str) -> None:
        goal = self.picked(sibling)
        self.make(self.owners[goal], name="Row", parent=self.parent(goal), **{side: goal})

    @rule(pick=PICKS, name=UNSAID | NAMES, text=UNSAID | TEXTS, start=UNSAID | HOURS, due=UNSAID | NOWHERE | HOURS)
    def change(self, pick: int, name: Any, text: Any, start: Any, due: Any) -> None:
        goal = self.picked(pick)
        self.send(self.owners[goal], ChangeGoal(goal, name, text, self.time(start), self.time(due)))

    @rule(pick=PICKS, end=NOWHERE | HOURS, cascade=st.booleans())
    def complete(self, pick: int, end: Any, cascade: bool) -> None:
        goal = self.picked(pick)
        self.send(self.owners[goal], CompleteGoal(goal, self.time(end), cascade))

    @rule(pick=PICKS)
    def reopen(self, pick: int) -> None:
        goal = self.picked(pick)
        self.send(self.owners[goal], ReopenGoal(goal))

    @rule(pick=PICKS, parent=NOWHERE | UNSAID | PICKS)
    def move(self, pick: int, parent: Any) -> None:
        goal = self.picked(pick)
        self.send(self.owners[goal], MoveGoal(goal, self.picked(parent, self.owners[goal])))

    @rule(pick=PICKS, beside=PICKS, side=st.sampled_from(["before", "after"]), there=st.integers(0, 4))
    def move_beside(self, pick: int, beside: int, side: str, there: int) -> None:
        goal = self.picked(pick)
        sibling = self.picked(beside, self.owners[goal])
        parent = self.parent(sibling) if there else UNSET
        self.send(self.owners[goal], MoveGoal(goal, parent, **{side: sibling}))

    @rule(pick=PICKS, step=st.sampled_from([-1, 1, -2, 2]), side=st.sampled_from(["before", "after"]))
    def move_among_siblings(self, pick: int, step: int, side: str) -> None:
        goal = self.picked(pick)
        siblings = self.plans[self.owners[goal]].below[self.parent(goal)]
        sibling = siblings[(siblings.index(goal) + step) % len(siblings)]
        self.send(self.owners[goal], MoveGoal(goal, **{side: sibling}))

    @rule(pick=PICKS)
    def delete(self, pick: int) -> None:
        goal = self.picked(pick)
        self.send(self.owners[goal], DeleteGoal(goal))

    @rule(pick=PICKS, parent=UNSAID | NOWHERE | PICKS, only=st.booleans())
    def restore(self, pick: int, parent: Any, only: bool) -> None:
        gone = [item for user in USERS for item in self.plans[user].items.values() if item.gone]
        roots = [item for item in gone if item.gone == item.id]
        among = (roots, roots, gone, [])[pick % 4]
        goal = among[pick // 4 % len(among)].id if among else self.picked(pick)
        self.send(self.owners[goal], RestoreGoal(goal, self.picked(parent, self.owners[goal]), only))

    @rule(pick=PICKS, other=PICKS, form=st.sampled_from(FORMS))
    def meddle_with_what_is_another_users(self, pick: int, other: int, form: Any) -> None:
        goal = self.picked(pick)
        stranger = next(user for user in USERS if user != self.owners[goal])

        assert not self.send(stranger, form(goal))
        assert not self.send(stranger, CreateGoal(goal, "Swim"))
        assert not self.send(stranger, CreateGoal("new", "Swim", parent=goal))
        assert not self.send(stranger, MoveGoal(self.picked(other, stranger), goal))

    @rule(hours=st.integers(0, 30))
    def wait(self, hours: int) -> None:
        self.clock.now += hours * 3_600_000_000

    @rule(chunk=st.sampled_from(CHUNKS), short=st.integers(0, 5))
    def catch_up(self, chunk: int, short: int) -> None:
        with in_chunks_of(chunk):
            for model in ALL:
                self.projector.catch_up(model, until=max(0, self.storage.log.head().position - short))

    @rule(name=st.sampled_from(["goal_tree", "activity"]))
    def rebuild(self, name: str) -> None:
        rebuilt = Rebuilder(self.projector).rebuild(name)

        assert (rebuilt.gone, rebuilt.came) == (0, 0)

    @invariant()
    def what_is_read_is_as_the_model_has_it(self) -> None:
        for user, plan in self.plans.items():
            assert as_listed(self.projector.read("goal_tree", user).rows) == plan.listed()
            assert as_days(self.projector.read("activity", user).rows) == plan.days

    @rule(user=st.sampled_from(USERS), name=st.sampled_from(["goal_tree", "activity"]))
    def read_on_from_what_is_known(self, user: str, name: str) -> None:
        known = self.known.get((user, name))
        before = copy.copy(known.by_key) if known else {}

        view = self.known[user, name] = self.projector.read(name, user, known)

        assert view == self.projector.read(name, user)
        assert known is None or known.by_key == before

    def teardown(self) -> None:
        with self.opened:
            for model in ALL:
                self.assert_every_position_is_the_same_however_it_is_folded(model)

    def assert_every_position_is_the_same_however_it_is_folded(self, model: Any) -> None:
        name, lines = model.__name__.rpartition(".")[2], self.storage.log.read(limit=10_000)
        rows: dict[Key, Any] = {}
        as_of = [dict(rows)]
        for line in lines:
            key = model.key(line)
            if key is not None:
                rows[key] = model.fold(rows.get(key), line)
            as_of.append(dict(rows))
        for position, then in enumerate(as_of):
            views = [self.projector.view(name, user, position).rows for user in USERS]
            assert by_key(model, [row for view in views for row in view]) == then
            if model is goal_tree:
                assert_forest(then)
        assert folded(model, lines) == rows
        for chunk in CHUNKS:
            with in_chunks_of(chunk):
                self.assert_a_rebuild_passes_through(model, name, rows)

    def assert_a_rebuild_passes_through(self, model: Any, name: str, rows: dict[Key, Any]) -> None:
        """Broken off behind the first of two users, and gone on with."""
        lines = sorted(self.storage.log.read(limit=10_000), key=lambda line: (line.stream, line.version))
        passed: list[int] = []

        def progress(done: int, _total: int) -> None:
            building = self.storage.views.building(model)
            assert by_key(model, self.storage.views.snapshot(model, building)[1]) == folded(model, lines[:done])
            passed.append(done)
            if len(passed) == 1:
                raise BrokenOff

        with pytest.raises(BrokenOff):
            Rebuilder(self.projector).rebuild(name, progress)
        rebuilt = Rebuilder(self.projector).rebuild(name, progress)
        assert passed == sorted(passed)
        assert passed[-1] == len(lines)
        assert (rebuilt.gone, rebuilt.came) == (0, 0)
        assert by_key(model, self.storage.views.snapshot(model)[1]) == rows


def by_key(model: Any, rows: list[Any]) -> dict[Key, Any]:
    return {tuple(getattr(row, column) for column in model.KEY): row for row in rows}


@contextmanager
def in_chunks_of(size: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(projecting, "CHUNK", size)
        patch.setattr(rebuilding, "ROWS_FILLED", size)
        yield


@pytest.mark.parametrize("kind", NEWEST)
def test_any_commands_give_what_a_plain_model_gives_at_every_position(kind: str) -> None:
    class OnThisEngine(Commands):
        pass

    OnThisEngine.kind = kind
    run_state_machine_as_test(
        OnThisEngine,
        settings=settings(
            deadline=None,
            max_examples=30 if kind == "sqlite" else 4,  # ten times as slow
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )
