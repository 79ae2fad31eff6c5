"""The page's pure functions, run in the page: they agree with the service's."""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, Page

from es_goals.events import Recorded, micros
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
from es_goals.projector import View
from es_goals.reads.history import event_answer
from es_goals.reads.search import folded
from es_goals.reads.trees import TreeOptions, UserTree, whole
from es_goals.values import Rejected
from projections import goal_tree
from tests.page.site import Visit
from tests.support.histories import folded as rows_of
from tests.support.histories import recorded
from tests.support.limits import LIMITS
from tests.support.serving import Served

HISTORIES, COMMANDS, LOOKS = 200, 50, 5
BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
AS_THE_PAGE_LOADS_IT = TreeOptions(flat=True, deleted=True, ranks=True)

WORDS = [
    "Straße", "ZOË'S", "Łódź", "smørrebrød", "Ærø", "İstanbul", "ﬁne ﬂow", "Ñandú", "Việt Nam", "crème brûlée", "Þórr",
    "ΑΘΉΝΑ", "Москва", "ёлка", "שָׁלוֹם", "مُقَاس", "हिन्दी", "ภาษาไทย", "日本語", "ｶﾞｷﾞ", "한국어", "ქართული", "አማርኛ", "Ⅻ ①",
]  # fmt: skip


@pytest.fixture(scope="module")
def tab(browser: Browser, served: Served) -> Iterator[Page]:
    """A page of which only the modules are used."""
    visit = Visit(browser, served)
    page = visit.page()
    page.goto(served.url)
    yield page
    visit.close()


def run(tab: Page, module: str, body: str, given: Any = None) -> Any:
    """What an async function of the module's exports `it` and of `given` returns."""
    script = """async ([module, body, given]) => {
      const app = document.querySelector('script[type=module]').src;
      const it = await import(new URL(module, app).href);
      return await ({MAKE})(it, given);
    }""".replace("{MAKE}", body)
    return tab.evaluate(script, [module, body, given])


def any_command(draw: random.Random, goals: Goals) -> Command:
    """A command that may well be refused."""
    known = [*goals.known] or ["none"]
    goal, other = draw.choice(known), draw.choice([*known, *[None] * len(known)])
    beside = draw.choice([None] * 4 + [draw.choice(known)])
    moment = BEGIN + timedelta(hours=draw.randrange(2_000))
    make = CreateGoal(
        f"goal-{len(goals.known):03}", f"n{draw.randrange(99)}", other, before=draw.choice([None, None, *known])
    )
    anything: list[Command] = [
        make,
        make,
        ChangeGoal(goal, name=f"renamed {draw.randrange(99)}"),
        ChangeGoal(goal, description=draw.choice([None, "why", "how"]), due=draw.choice([None, moment])),
        CompleteGoal(goal, cascade=draw.random() < 0.4),
        ReopenGoal(goal),
        MoveGoal(goal, other, after=beside),
        DeleteGoal(goal),
        RestoreGoal(goal, only=draw.random() < 0.3),
        RestoreGoal(goal, None),
    ]
    return draw.choice(anything)


def history(seed: int) -> list[Recorded]:
    """What some commands recorded."""
    draw, goals, lines = random.Random(seed), Goals(), list[Recorded]()  # noqa: S311
    for number in range(COMMANDS):
        now = BEGIN + timedelta(minutes=number)
        try:
            events = decide(goals, any_command(draw, goals), now, LIMITS)
        except Rejected:
            continue
        for event in events:
            evolve(goals, event, micros(now))
            lines.append(recorded(event, micros(now), len(lines) + 1))
    return lines


def answer(lines: Sequence[Recorded]) -> dict[str, Any]:
    """The tree as the service answers it."""
    view = View(rows_of(goal_tree, lines), len(lines), len(lines), 1)
    found: dict[str, Any] = msgspec.json.decode(whole(UserTree(view, "ann"), AS_THE_PAGE_LOADS_IT))
    return found


def test_the_fold_equals_the_services_tree_at_any_position(tab: Page) -> None:
    """From nothing, from any earlier tree, and back again by the inverses."""
    histories = []
    for seed in range(HISTORIES):
        lines = history(seed)
        draw = random.Random(seed)  # noqa: S311
        looks = sorted(draw.choices(range(len(lines) + 1), k=LOOKS))
        facts = msgspec.json.decode(msgspec.json.encode([event_answer(line) for line in lines]))
        histories.append({"facts": facts, "looks": looks, "answers": [answer(lines[:look]) for look in looks]})

    wrong = run(
        tab, "./fold.js",
        """(fold, histories) => {
      const flat = (tree) => {
        const out = [], waiting = [...(tree.children.get(null) ?? [])].reverse();
        for (let id; (id = waiting.pop());) {
          out.push(tree.goals.get(id));
          waiting.push(...[...(tree.children.get(id) ?? [])].reverse());
        }
        return JSON.stringify([tree.version, tree.position, out]);
      };
      const wrong = [];
      histories.forEach(({facts, looks, answers}, seed) => {
        const expected = answers.map((answer) => flat(fold.fromFlat(answer)));
        const tape = fold.tape(facts);
        for (const i of [0, 3, 1, 4, 2, 0]) {
          tape.seek(looks[i]);
          if (flat(tape.tree) !== expected[i]) wrong.push([seed, looks[i], 'tape', flat(tape.tree), expected[i]]);
        }
        for (let from = 0; from < looks.length; from++) {
          const tree = fold.fromFlat(answers[from]);
          const last = looks.length - 1;
          const inverse = fold.foldAll(tree, facts.slice(looks[from], looks[last]));
          if (flat(tree) !== expected[last]) wrong.push([seed, looks[from], 'on', flat(tree), expected[last]]);
          inverse();
          if (flat(tree) !== expected[from]) wrong.push([seed, looks[from], 'off', flat(tree), expected[from]]);
        }
      });
      return wrong.slice(0, 3);
    }""",
        histories,
    )  # fmt: skip

    assert sum(len(one["facts"]) for one in histories) > HISTORIES * 15
    assert wrong == []


def test_progress_and_filtered_rows_equal_the_services(tab: Page) -> None:
    cases = []
    for seed in range(50):
        lines = history(seed)
        view = View(rows_of(goal_tree, lines), len(lines), len(lines), 1)
        user_tree = UserTree(view, "ann")
        shapes = {status: TreeOptions(status=status) for status in ("all", "open", "done")}
        flat = msgspec.json.decode(whole(user_tree, TreeOptions(flat=True)))["goals"]
        nested = {status: msgspec.json.decode(whole(user_tree, shape))["goals"] for status, shape in shapes.items()}
        cases.append(
            {"answer": answer(lines), "flat": flat, "ids": {name: _ids(goals) for name, goals in nested.items()}}
        )

    wrong = run(
        tab, "./tree.js",
        """async (tree, cases) => {
      const {fromFlat} = await import(document.querySelector('script[type=module]').src.replace('app.js', 'fold.js'));
      const wrong = [];
      cases.forEach(({answer, flat, ids}, seed) => {
        const nodes = tree.inOrder(fromFlat(answer));
        const mine = nodes.map(({goal, depth, leaves, completed}) => [goal.id, depth, leaves, completed]);
        const theirs = flat.map(({id, depth, progress}) => [id, depth, progress.leaves, progress.completed]);
        if (JSON.stringify(mine) !== JSON.stringify(theirs)) wrong.push([seed, mine, theirs]);
        for (const status of ['all', 'open', 'done']) {
          const keep = tree.keeping({...tree.NO_FILTER, status}, '', '2026-11-01T00:00:00Z');
          const rows = tree.visible(nodes, {closed: new Set(), keep}).map((row) => row.goal.id);
          if (JSON.stringify(rows) !== JSON.stringify(ids[status])) wrong.push([seed, status, rows, ids[status]]);
        }
        const closed = new Set(nodes.filter((_, i) => i % 3 === 0).map(({goal}) => goal.id));
        const rows = tree.visible(nodes, {closed}).map((row) => row.goal.id);
        const open = nodes.filter(({goal}) => !tree.pathTo(fromFlat(answer), goal.id).some(({id}) => closed.has(id)));
        if (JSON.stringify(rows) !== JSON.stringify(open.map(({goal}) => goal.id))) wrong.push([seed, 'closed']);
      });
      return wrong.slice(0, 3);
    }""",
        cases,
    )  # fmt: skip

    assert wrong == []


def _ids(goals: Sequence[dict[str, Any]]) -> list[str]:
    found, waiting = [], [*reversed(goals)]
    while waiting:
        goal = waiting.pop()
        found.append(goal["id"])
        waiting += reversed(goal["sub_goals"])
    return found


def test_words_are_folded_as_the_service_folds_them(tab: Page) -> None:
    assert run(tab, "./tree.js", "({folded}, words) => words.map(folded)", WORDS) == [folded(word) for word in WORDS]


def test_a_search_finds_all_of_the_words_and_marks_them(tab: Page) -> None:
    found = run(
        tab, "./tree.js",
        """({keeping, marked, NO_FILTER}, queries) => queries.map((words) => {
      const keep = keeping(NO_FILTER, words, '2026-11-01T00:00:00Z');
      return keep?.({name: "Zoë's Straße", description: 'by night'});
    }).concat([marked("Zoë's Straße", 'zoe strasse')])""",
        ["zoe strasse", '"ZOE\'S STRASSE"', "ße", "night zoe", "zoe -strasse", "zoey", "-zoe"],
    )  # fmt: skip

    assert found == [True, True, True, True, False, False, None, ["", "Zoë", "'s ", "Straße"]]


def test_a_rank_lies_between_its_neighbours(tab: Page) -> None:
    draw = random.Random(7)  # noqa: S311
    ranks = ["V00000", "V00001", "V0000V", "V00001V", "z00000", "0V0000", "V00000V"]
    pairs = [sorted(draw.sample(ranks, 2)) for _ in range(60)]
    pairs += [["V00000", "V00001"], ["V00001", "V000011"]]
    between = run(tab, "./fold.js", "({rankBetween}, pairs) => pairs.map(([a, b]) => rankBetween(a, b))", pairs)
    last = run(tab, "./fold.js", "({rankBetween}, ranks) => ranks.map((rank) => rankBetween(rank, null))", ranks)

    assert all(low < rank < high for (low, high), rank in zip(pairs, between, strict=True))
    assert all(rank > low for low, rank in zip(ranks, last, strict=True))


def test_an_outline_is_read_by_its_indentation(tab: Page) -> None:
    text = "Run\n  - [x] Shoes\n  - Train\r\n\t\t1. 10 km\n        * deeper still\n• Read\n\n   ☑ Ulysses   \n- [ ]\n"

    lines = run(tab, "./outline.js", "({linesOf}, text) => linesOf(text)", text)

    assert [(line["depth"], line["name"], line["done"]) for line in lines] == [
        (0, "Run", False), (1, "Shoes", True), (1, "Train", False), (2, "10 km", False), (2, "deeper still", False),
        (0, "Read", False), (1, "Ulysses", True),
    ]  # fmt: skip


def test_what_is_dropped_lands_where_the_line_is(tab: Page) -> None:
    """A over B, C (open, with D), E under A; each zone of each row."""
    found = run(
        tab, "./drop.js",
        """async ({landing, modeOf}) => {
      const base = document.querySelector('script[type=module]').src;
      const load = (name) => import(base.replace('app.js', name));
      const {empty, fold} = await load('fold.js');
      const {inOrder, visible} = await load('tree.js');
      const tree = empty();
      const add = (goal_id, parent_id, rank) =>
        fold(tree, {type: 'GoalCreated', goal_id, at: '', data: {goal_id, name: goal_id, start: '', rank, parent_id}});
      add('a', null, '1'); add('b', 'a', '1'); add('c', 'a', '2');
      add('d', 'c', '1'); add('e', 'a', '3'); add('f', null, '2');
      const rows = Object.fromEntries(visible(inOrder(tree), {closed: new Set()}).map((row) => [row.goal.id, row]));
      const at = (id, instruction, moving = ['f']) => landing(tree, rows[id], instruction, moving);
      return {
        modes: Object.values(rows).map(modeOf),
        above: at('b', {type: 'reorder-above'}), below: at('b', {type: 'reorder-below'}),
        child: at('b', {type: 'make-child'}), first: at('a', {type: 'make-child'}),
        out: at('e', {type: 'reparent', desiredLevel: 0}), deep: at('d', {type: 'reparent', desiredLevel: 1}),
        top: at('d', {type: 'reparent', desiredLevel: 0}),
        itself: at('d', {type: 'make-child'}, ['c']), own: at('c', {type: 'reorder-above'}, ['c']),
      };
    }""",
    )  # fmt: skip

    assert found["modes"] == ["expanded", "standard", "expanded", "last-in-group", "last-in-group", "standard"]
    assert found["above"] == {"place": {"parent": "a", "before": "b"}, "level": 1}
    assert found["below"] == {"place": {"parent": "a", "after": "b"}, "level": 1}
    assert found["child"]["place"]["parent"] == "b"
    assert found["first"] == {"place": {"parent": "a", "before": "b"}, "level": 1}
    assert found["out"] == {"place": {"parent": None, "after": "a"}, "level": 0}
    assert found["deep"] == {"place": {"parent": "a", "after": "c"}, "level": 1}
    assert found["top"] == {"place": {"parent": None, "after": "a"}, "level": 0}
    assert found["itself"] is None
    assert found["own"] is None


def test_no_key_means_two_things(tab: Page) -> None:
    """In one place at once: keys of the page work in the tree, and in the time machine, too."""
    table = run(tab, "./keys.js", "({KEYS}) => KEYS")
    for together in (("tree", "page"), ("time", "page"), ("edit",)):
        keys = [key for row in table if row["group"] in together for key in row["keys"]]
        assert len(keys) == len(set(keys)), together
