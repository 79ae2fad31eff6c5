"""The laws of drafts, on whole services: what is shown is what is applied, and nothing else is ever changed by one."""

import asyncio
import json
import random
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings

from es_goals.deciding import Request
from es_goals.drafting import Content, DraftConflicts
from es_goals.events import GoalEvent, Recorded, encode, goals_stream, moment
from es_goals.goals.commands import Command
from es_goals.goals.rules import decide
from es_goals.goals.state import Goals, evolve
from es_goals.projector import View
from es_goals.reads import TREE, Asker, trees
from es_goals.reads.history import folded
from es_goals.reads.trees import TreeOptions, UserTree
from es_goals.reads.whatif import drafts as module
from es_goals.reads.whatif.drafts import DraftQuestion
from es_goals.settings import Settings
from es_goals.storage.deadlines import Deadline
from es_goals.storage.drafts import Draft
from es_goals.storage.errors import Interrupted
from es_goals.storage.log import Cause, User, all_lines
from es_goals.values import Rejected
from tests.support.engines import ENGINES, NEWEST, HandClock
from tests.support.inside import application
from tests.support.limits import LIMITS
from tests.support.lives import Step, asked, steps
from tests.support.load import opened, serving
from tests.support.serving import PATIENCE, Served
from tests.whole.test_crashes import kill_a_worker, wait_for_a_write

Json = dict[str, Any]

ALL = TreeOptions(flat=True, deleted=True)
TIMES = ("start", "end", "created_at", "updated_at")

law = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Bench:
    """A worker in this process, each of whose users is a new one."""

    def __init__(self, url: str) -> None:
        self._made = application(Settings(url, tick=10), HandClock())
        self.worker = self._made.__enter__().worker
        self._loop = asyncio.new_event_loop()
        self.asker = Asker(Deadline.after(3_600))

    def run(self, work: Any) -> Any:
        """What it comes to."""
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        """End it."""
        self._made.__exit__(None, None, None)
        self._loop.close()

    def user(self) -> "Life":
        """Somebody new."""
        user = User(self.worker.new_id(), f"user-{uuid.uuid4().hex}", None, 0)
        self.run(self.worker.service.register(user, Cause("registration")))
        return Life(self, user)


class Life:
    """A user, and what the rules make of what they do."""

    def __init__(self, bench: Bench, user: User) -> None:
        self._bench, self._run, self.user = bench, bench.run, user
        self.goals, self._number = Goals(), 0

    def live(self, goals: Goals, taken: Sequence[Step], at: int) -> list[Command]:
        """The commands of the steps that are accepted; the goals after them."""
        commands = []
        for step in taken:
            self._number += 1
            command = asked(goals, step, f"{self.user.id}-{self._number}")
            try:
                caused = decide(goals, command, moment(at), LIMITS)
            except Rejected:
                continue
            for event in caused:
                evolve(goals, event, at)
            commands.append(command)
        return commands

    def do(self, taken: Sequence[Step]) -> None:
        """Steps, recorded."""
        commands = self.live(self.present(), taken, self._bench.worker.clock())
        self._run(self._bench.worker.service.execute(Request(self.user.id, commands, Cause("life"), batch=True)))

    def lines(self, until: int | None = None) -> list[Recorded]:
        """What happened."""
        return list(all_lines(self._bench.worker.storage.log, stream=goals_stream(self.user.id), until=until))

    def present(self) -> Goals:
        """As they are now."""
        goals = Goals()
        for line in self.lines():
            evolve(goals, line.event, line.at)  # type: ignore[arg-type]
        return goals

    def draft(self, taken: Sequence[Step]) -> Content:
        """A new one, of the steps that are accepted now."""
        worker = self._bench.worker
        commands = self.live(self.present(), taken, worker.clock())
        draft = Draft(worker.new_id(), self.user.id, "x", worker.storage.log.head().position, 0, 0, 0, 0)
        content = Content(draft, commands)
        return Content(self._run(worker.drafting.create(content, self._bench.asker.deadline, None)), commands)

    def drafted(self, content: Content, options: TreeOptions = ALL) -> Json:
        """The tree of a draft, as it is answered."""
        worker = self._bench.worker
        generation = worker.projector.generation(TREE).id
        question = DraftQuestion(content.draft, content.commands, self.user.name)
        found = self._run(worker.drafts.tree(question, options, str(options), generation, self._bench.asker))
        return decoded(found.data)

    def folded(self, content: Content) -> Json:
        """What the tree of a draft must be: the events at its base, and those of its commands."""
        draft, lines = content.draft, self.lines(content.draft.base)
        goals, base = Goals(), (lines[-1].version, lines[-1].position) if lines else (0, 0)
        for line in lines:
            evolve(goals, line.event, line.at)  # type: ignore[arg-type]
        for command in content.commands:
            for event in decide(goals, command, moment(draft.updated_at), LIMITS):
                evolve(goals, event, draft.updated_at)
                lines.append(self._line(event, draft.updated_at))
        return self._tree(lines, *base)

    def at(self, position: int) -> Json:
        """The tree as of a position."""
        lines = self.lines(position)
        return self._tree(lines, *((lines[-1].version, lines[-1].position) if lines else (0, 0)))

    def _line(self, event: GoalEvent, at: int) -> Recorded:
        name = type(event).__name__
        return Recorded(0, goals_stream(self.user.id), 0, name, event.goal_id, at, None, "", None, encode(event))

    def _tree(self, lines: Sequence[Recorded], version: int, position: int) -> Json:
        rows: dict[Any, Any] = {}
        for line in lines:
            rows[self.user.id, line.subject] = folded(rows.get((self.user.id, line.subject)), line)
        return decoded(trees.whole(UserTree(View(rows, version, position, 0), self.user.name), ALL))

    def apply(self, content: Content) -> None:
        """A draft, on goals that nobody touched."""
        worker, deadline = self._bench.worker, self._bench.asker.deadline
        decider = self._run(worker.drafting.application(content, False, lambda _: None, deadline, None))
        request = Request(self.user.id, content.commands, Cause("apply"), batch=True, decider=decider)
        self._run(worker.service.execute(request, deadline))

    def rebase(self, content: Content) -> Content:
        """A draft, on the present."""
        worker, deadline = self._bench.worker, self._bench.asker.deadline
        return Content(self._run(worker.drafting.rebase(content, lambda _: None, deadline, None)), content.commands)


def decoded(data: bytes) -> Json:
    found: Json = json.loads(data)
    return found


def timeless(tree: Json) -> Json:
    """Without times, of which some are when it was done, and without where it stands."""
    goals = [{**goal, **dict.fromkeys(TIMES)} for goal in tree["goals"]]
    return {**tree, "goals": goals, "version": None, "position": None}


@pytest.fixture(scope="module", params=NEWEST)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with ENGINES[request.param](tmp_path_factory.mktemp("drafts")) as url:
        bench = Bench(url)
        yield bench
        bench.close()


@law
@given(before=steps, mine=steps)
def test_the_tree_of_a_draft_is_the_fold_of_its_base_and_of_the_events_of_its_commands(
    bench: Bench, before: Sequence[Step], mine: Sequence[Step]
) -> None:
    life = bench.user()
    life.do(before)
    empty, draft = life.draft([]), life.draft(mine)
    life.do(before)

    assert life.drafted(draft) == life.folded(draft)
    assert life.drafted(empty) == life.at(empty.draft.base)


@law
@given(before=steps, mine=steps)
def test_a_draft_that_is_applied_on_a_base_that_nobody_moved_makes_the_tree_that_it_showed(
    bench: Bench, before: Sequence[Step], mine: Sequence[Step]
) -> None:
    life = bench.user()
    life.do(before)
    draft = life.draft(mine)
    shown = life.drafted(draft)

    life.apply(draft)

    assert timeless(life.at(2**40)) == timeless(shown)


@law
@given(before=steps, others=steps, mine=steps)
def test_bringing_a_draft_up_to_date_twice_is_bringing_it_up_to_date_once(
    bench: Bench, before: Sequence[Step], others: Sequence[Step], mine: Sequence[Step]
) -> None:
    life = bench.user()
    life.do(before)
    draft = life.draft(mine)
    life.do(others)
    head = bench.worker.storage.log.head()

    with suppress(DraftConflicts):
        once = life.rebase(draft)

        assert life.rebase(once) == once
        assert life.drafted(once) == life.folded(once)
        shown = life.drafted(once)
        assert bench.worker.storage.log.head() == head
        life.apply(once)
        assert timeless(life.at(2**40)) == timeless(shown)


def test_a_tree_is_folded_once_a_revision_and_what_is_kept_is_bounded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds = list[str]()

    class Counted(module._Base):
        def __init__(self, log: Any, draft: Draft) -> None:
            folds.append(draft.id)
            super().__init__(log, draft)

    monkeypatch.setattr(module, "_Base", Counted)
    life = bench.user()
    life.do([("create", number, 0, 0) for number in range(20)])
    drafts = [life.draft([("create", 1, 0, 0)]) for _ in range(3)]
    for options in (ALL, TreeOptions(), ALL, TreeOptions(), TreeOptions(depth=0)):
        for draft in drafts:
            life.drafted(draft, options)

    assert folds == [draft.draft.id for draft in drafts]
    cache = trees.TreeCache(40_000)
    monkeypatch.setattr(bench.worker.drafts, "_kept", cache)
    for draft in drafts:
        life.drafted(draft)
        assert 0 < cache._size <= 40_000
    life.drafted(drafts[0])
    assert folds[3:] == [draft.draft.id for draft in (*drafts, drafts[0])]


def test_what_takes_too_long_is_stopped(bench: Bench) -> None:
    life = bench.user()
    life.do([("create", number, 0, 0) for number in range(20)])
    draft = life.draft([("create", 1, 0, 0)])
    question = DraftQuestion(draft.draft, draft.commands, "x")
    late = Asker(Deadline.after(-1))

    for work in (
        bench.worker.drafts.tree(question, ALL, "x", 1, late),
        bench.worker.drafts.diff(question, "base", lambda _: b"", late),
        bench.worker.drafts.diff(question, "now", lambda _: b"", late),
    ):
        with pytest.raises(Interrupted):
            bench.run(work)


# Over HTTP.

ASKED = ["goals", "goals?view=flat&deleted=true", "goals?as_of=2", "events", "diff?from=0", "export?format=json"]


def test_a_draft_changes_no_other_answer(tmp_path: Path) -> None:
    with Served(tmp_path, workers=1) as served:
        client, home = served.client, "/v2/users/ann"
        served.make_user("ann")
        goal, other = (served.make_goal("ann", name)["id"] for name in ("Run", "Read"))
        paths = [
            *(f"{home}/{one}" for one in ASKED), "/v2/events", f"/v2/goals/{goal}", f"/v2/goals/{goal}/history",
            f"/v2/goals/{goal}/blame",
        ]  # fmt: skip

        def everything() -> list[tuple[bytes, str | None]]:
            answers = [client.get(path) for path in paths]
            assert {answer.status_code for answer in answers} == {200}
            return [(answer.content, answer.headers.get("ETag")) for answer in answers]

        before = everything()
        commands = [
            {"type": "ChangeGoal", "id": goal, "name": "Walk"},
            {"type": "CreateGoal", "name": "Swim", "parent_id": goal},
            {"type": "DeleteGoal", "id": other}, {"type": "CompleteGoal", "id": goal, "cascade": True},
        ]  # fmt: skip
        place = client.post(f"{home}/drafts", json={"name": "x", "commands": commands[:2]}).headers["Location"]
        for method, what, body in (
            ("POST", "/commands", {"commands": commands[2:]}), ("GET", "/goals", None), ("GET", "/diff", None),
            ("GET", "/diff?against=now", None), ("PUT", "", {"name": "y"}), ("POST", "/rebase", None),
            ("GET", "", None), ("POST", "/apply?dry_run=true", {}),
        ):  # fmt: skip
            assert client.request(method, f"{place}{what}", json=body).status_code == 200
            assert everything() == before
        assert client.delete(place).status_code == 204
        assert everything() == before


DRAFTS, GOALS = 40, 100
KILLS = 10


def test_a_draft_and_its_events_survive_kill_9_together_or_not_at_all(tmp_path: Path) -> None:
    chance = random.Random("drafts")  # noqa: S311
    with serving(tmp_path) as served:
        user = served.make_user("ann")
        drafts = [make(served, f"goal {number}") for number in range(DRAFTS)]
        waiting = [draft["id"] for draft in drafts] * 2
        chance.shuffle(waiting)
        answers = list[tuple[str, int]]()
        with ThreadPoolExecutor(4) as pool:
            work = [pool.submit(apply, served, waiting[number::4], answers) for number in range(4)]
            for _ in range(KILLS):
                wait_for_a_write(served, chance.uniform(0, 0.01))
                kill_a_worker(served, chance)
            for one in work:
                one.result(PATIENCE * 3)

        assert {status for _, status in answers} <= {CUT_OFF, 200, 409, 503}
        assert CUT_OFF in {status for _, status in answers}
        with opened(served.db) as storage:
            log = storage.log
            for draft in drafts:
                found = log.draft(user, draft["id"])
                made = [bool(log.read(subject=command["id"])) for command in draft["commands"]]
                told = [status for draft_id, status in answers if draft_id == draft["id"]]
                assert found is not None
                assert set(made) == {found.applied is not None}
                assert log.read(subject=draft["commands"][-1]["id"])[0].position == found.applied if all(made) else True
                assert told.count(200) <= 1
                assert found.applied is not None or not {200, 409} & set(told)
        served.verified()


CUT_OFF = 0
"""Instead of a status, where nothing was answered."""


def make(served: Served, name: str) -> Json:
    body = {"name": name, "commands": [{"type": "CreateGoal", "name": name}] * GOALS}
    answer = served.post("/v2/users/ann/drafts", body)
    assert answer.status_code == 201, answer.text
    made: Json = answer.json()
    return made


def apply(served: Served, draft_ids: Sequence[str], answers: list[tuple[str, int]]) -> None:
    """Try each once."""
    with httpx2.Client(base_url=served.url, timeout=PATIENCE) as client:
        for draft_id in draft_ids:
            status = CUT_OFF
            with suppress(httpx2.TransportError):
                status = client.post(f"/v2/users/ann/drafts/{draft_id}/apply").status_code
            answers.append((draft_id, status))
