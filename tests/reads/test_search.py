"""Finding goals by words: what is found is what a plain search of every goal finds, and nobody need spell as the text
does."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import structs

from es_goals.projector import View
from es_goals.reads.search import Query, folded, parse
from es_goals.reads.trees import TreeCache, TreeOptions, UserTree, shown, whole
from es_goals.storage.deadlines import Deadline
from es_goals.storage.errors import Interrupted
from es_goals.values import InvalidValue
from projections import goal_tree
from projections.goal_tree import Row, tree
from tests.reads.test_goal_tree import hardly_any_stack
from tests.support.histories import START
from tests.support.histories import folded as rows_of
from tests.support.lives import lived, parts, position_of, steps

Json = dict[str, Any]

STREET = "Zoë's Straße"
MANY = 20_000

law = settings(deadline=None)
words = st.sampled_from(["run", "ZOE", "zoë's", "strasse", "walk", "走", "a", "łódź", "lodz", "mile", "rain", "w"])
queries = st.lists(st.tuples(st.sampled_from(["", "", "-"]), words | st.just('"swim a"')), min_size=1, max_size=3)


def plainly(text: str) -> str:
    """As folding is specified, character by character."""
    spread = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    kept = "".join(one for one in spread if not unicodedata.combining(one))
    for letter, plain in {"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "ħ": "h", "ŧ": "t", "ı": "i", "ŋ": "n",
                          "ð": "d", "þ": "th", "ƶ": "z", "ƀ": "b", "ɨ": "i"}.items():  # fmt: skip
        kept = kept.replace(letter, plain)
    return kept


def found_in(row: Row, asked: Sequence[tuple[str, str]]) -> str | None:
    """Where, by brute force."""
    name, description = plainly(row.name), plainly(row.description or "")
    wanted = [plainly(word.strip('"')) for sign, word in asked if not sign]
    unwanted = [plainly(word.strip('"')) for sign, word in asked if sign]
    if any(word in name or word in description for word in unwanted):
        return None
    if not all(word in name or word in description for word in wanted):
        return None
    in_name, in_description = (any(word in text for word in wanted) for text in (name, description))
    return "both" if in_name and in_description else "name" if in_name else "description"


def answer(rows: dict[Any, Row], **options: Any) -> Json:
    answered: Json = msgspec.json.decode(whole(UserTree(View(rows, 1, 1, 1), "ann"), TreeOptions(**options)))
    return answered


def flattened(goals: list[Json]) -> list[Json]:
    """Pre-order."""
    found, waiting = [], goals[::-1]
    while waiting:
        goal = waiting.pop()
        found.append(goal)
        waiting += goal["sub_goals"][::-1]
    return found


def rows_at(taken: Any, part: int) -> dict[Any, Row]:
    lines = lived(taken)
    return rows_of(goal_tree, [line for line in lines if line.position <= position_of(lines, part)])


def row(goal_id: str, name: str, description: str | None = None, parent_id: str | None = None, rank: str = "V") -> Row:
    return Row("ann", goal_id, parent_id, name, description, START, None, None, rank, 1, 1, 1, None)


def of(*rows: Row) -> dict[Any, Row]:
    return {("ann", one.id): one for one in rows}


@law
@given(steps, parts, queries, st.sampled_from(["all", "open", "done"]), st.booleans())
def test_what_is_found_is_what_a_search_of_every_goal_finds(
    taken: Any, part: int, asked: list[tuple[str, str]], status: str, deleted: bool
) -> None:
    rows = rows_at(taken, part)
    if all(sign for sign, _ in asked):
        asked = [*asked, ("", "r")]
    query = parse(" ".join(map("".join, asked)))
    everything = answer(rows, flat=True, status=status, deleted=deleted)["goals"]
    wanted = {
        goal["id"]: match for goal in everything if (match := found_in(rows["ann", goal["id"]], asked)) is not None
    }

    flat = answer(rows, flat=True, status=status, deleted=deleted, find=query)
    nested = answer(rows, status=status, deleted=deleted, find=query)

    assert [(goal["id"], goal["match"]) for goal in flat["goals"]] == list(wanted.items())
    assert flat["matches"] == nested["matches"] == len(wanted)
    above = {one for goal in wanted for one in lineage(rows, goal)}
    in_tree = flattened(nested["goals"])
    assert [goal["id"] for goal in in_tree] == [
        node.row.id for node in tree(rows.values()) if node.row.id in wanted.keys() | above
    ]
    assert {goal["id"]: goal["match"] for goal in in_tree if "match" in goal} == wanted
    unfiltered = {goal["id"]: goal["progress"] for goal in answer(rows, flat=True, deleted=True)["goals"]}
    assert all(goal["progress"] == unfiltered[goal["id"]] for goal in in_tree)


def lineage(rows: dict[Any, Row], goal_id: str) -> list[str]:
    """The goals above one."""
    found, parent = [], rows["ann", goal_id].parent_id
    while parent is not None:
        found.append(parent)
        parent = rows["ann", parent].parent_id
    return found


@law
@given(steps, queries, words, st.sampled_from(["", "-"]))
def test_another_word_never_finds_more(taken: Any, asked: list[tuple[str, str]], word: str, sign: str) -> None:
    rows = rows_at(taken, 100)
    fewer = " ".join(["w", *map("".join, asked)])

    before = {goal["id"] for goal in answer(rows, flat=True, find=parse(fewer))["goals"]}
    after = {goal["id"] for goal in answer(rows, flat=True, find=parse(f"{fewer} {sign}{word}"))["goals"]}

    assert after <= before


@law
@given(steps, words)
def test_the_best_finds_come_first_and_equal_ones_in_pre_order(taken: Any, word: str) -> None:
    rows, query = rows_at(taken, 100), parse(word)

    found = answer(rows, flat=True, find=query)["goals"]
    ranked = answer(rows, flat=True, find=query, ranked=True)["goals"]
    first = answer(rows, flat=True, find=query, ranked=True, limit=2)

    assert ranked == sorted(found, key=lambda goal: query.rank(folded(goal["name"])))
    assert first["goals"] == ranked[:2]
    assert first["matches"] == len(found)


@law
@given(st.text())
@example("İSTANBUL ŁÓDŹ Æther Ǽ ﬁ ½ ① 각 ガ Ⅷ ﷺ ẞ ß ſ ŉ ΐ ς Ω ı")
@example("a" + "".join(map(chr, range(0x300, 0x320))))
def test_folding_is_as_specified_and_folding_again_changes_nothing(text: str) -> None:
    assert folded(text) == plainly(text)
    assert folded(folded(text)) == folded(text)


@pytest.mark.parametrize(
    ("text", "asked"),
    [("Zoë", "zoe"), ("Straße", "STRASSE"), ("跑走", "走"), ("Łódź", "lodz"), ("Smørrebrød", "smorrebrod"),
     ("Æther", "aether"), ("İstanbul", "istanbul"), ("Đorđe", "dorde"), ("ﬁnal", "final"), ("Οδός", "ΟΔΟΣ")],
)  # fmt: skip
def test_nobody_need_spell_as_the_text_does(text: str, asked: str) -> None:
    assert parse(asked).match(folded(text), "") == "name"


@pytest.mark.parametrize("asked", ["zoe strasse", '"ZOE\'S STRASSE"', "ße", "-walk zoe", '"s st', "  ZOË  "])
def test_a_street_is_found(asked: str) -> None:
    assert parse(asked).match(folded(STREET), "") == "name"


@pytest.mark.parametrize("asked", ["zoe -strasse", "zoey", '"zoe strasse"', '-"s strasse" zoe', '"strasse zoe"'])
def test_a_street_is_not_found(asked: str) -> None:
    assert parse(asked).match(folded(STREET), "") is None


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("run", Query(("run",))),
        ("Run  -10\tkm", Query(("run", "km"), ("10",))),
        ('"ten  km" -"in rain"', Query(("ten  km",), ("in rain",))),
        ('5" pipe', Query(('5"', "pipe"))),
        ("- --x a", Query(("-", "a"), ("-x",))),
        ('"" a', Query(("a",))),
        ("a \u0301", Query(("a",))),
        ("a" * 200, Query(("a" * 200,))),
        (" ".join("abcdefghijklmnop"), Query(tuple("abcdefghijklmnop"))),
    ],
)
def test_a_query_is_read(text: str, query: Query) -> None:
    assert parse(text) == query


@pytest.mark.parametrize(
    "text", ["", "   ", '""', "-a", '-"a b" -c', "\u0301", "a" * 201, f"{'a' * 100} {'b' * 101}", "a " * 17]
)
def test_what_asks_for_nothing_or_too_much_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue) as refusal:
        parse(text)
    assert refusal.value.field == "q"


@pytest.mark.parametrize(
    ("name", "rank"),
    [("run", 0), ("run far", 1), ("runner", 1), ("to run", 2), ("outrun (run)", 2), ("outrun", 3), ("walk", 4)],
)
def test_a_find_is_the_better_the_nearer_it_is_to_the_whole_name(name: str, rank: int) -> None:
    assert parse("run").rank(name) == rank


def test_of_several_words_the_worst_counts_or_all_as_they_stand() -> None:
    assert [parse("ten km").rank(name) for name in ("ten km", "ten km run", "km ten", "km often", "ten")] == [
        0, 1, 2, 3, 4,
    ]  # fmt: skip


def test_a_match_deep_down_brings_those_above_it_along() -> None:
    rows = of(
        row("a", "top"), row("b", "second", parent_id="a"), row("c", "third", "with shoes", "b"),
        row("d", "shoes", "Buy SHOES", "c"), row("x", "other", parent_id="a", rank="W"),
    )  # fmt: skip

    (top,) = answer(rows, find=parse("shoes"))["goals"]

    assert [(goal["name"], goal.get("match")) for goal in flattened([top])] == [
        ("top", None), ("second", None), ("third", "description"), ("shoes", "both"),
    ]  # fmt: skip


def test_what_depth_leaves_out_is_counted() -> None:
    rows = of(row("a", "top"), row("b", "second", parent_id="a"), row("c", "shoes", parent_id="b"))

    tree_ = answer(rows, find=parse("shoes"), depth=0)
    flat = answer(rows, flat=True, find=parse("shoes"), depth=1)

    assert (tree_["matches"], tree_["goals"][0]["sub_goal_count"]) == (1, 1)
    assert (flat["matches"], flat["goals"]) == (1, [])


def test_each_question_has_a_name_of_its_own() -> None:
    views = {
        str(TreeOptions(flat=True, find=parse(text), ranked=ranked, limit=limit))
        for text in ("a b", "b a", '"a b"', "a -b")
        for ranked, limit in ((False, None), (True, None), (True, 3))
    }

    assert len(views) == 12
    assert all(view.isascii() and '"' not in view for view in views)
    assert str(TreeOptions(find=parse("ZOË"))) == str(TreeOptions(find=parse("zoe")))


def test_texts_are_folded_once_a_change_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def noted(text: str) -> str:
        done.append(text)
        return folded(text)

    monkeypatch.setattr("es_goals.reads.trees.folded", noted)
    rows = of(*(row(f"g{number}", f"Zoë {number}", "д" * 1000) for number in range(10)))
    before = UserTree(View(rows, 1, 1, 1), "ann")
    bare = before.size

    whole(before, TreeOptions(find=parse("nothing")))  # so that nothing is encoded
    once, with_folded = len(done), before.size
    whole(before, TreeOptions(find=parse("zoe 3")))
    changed = {**rows, ("ann", "g3"): structs.replace(rows["ann", "g3"], name="Run", description=None)}
    after = UserTree(View(changed, 2, 2, 1), "ann", before)
    found = answer(changed, flat=True, find=parse("run"))
    whole(after, TreeOptions(find=parse("run")))

    assert once == 20
    assert with_folded > bare + 10 * 2 * 1000
    assert len(done) == 20 + 2 + 20  # of the answer from scratch 20
    assert found["matches"] == 1
    cache = TreeCache(bare + 10_000)
    cache.put("ann", before)
    assert cache.get("ann") is None


def test_folding_stops_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("es_goals.reads.trees.current", lambda: Deadline.after(-1))

    with pytest.raises(Interrupted):
        whole(UserTree(View(of(row("a", "x")), 1, 1, 1), "ann"), TreeOptions(find=parse("x")))


def test_a_chain_and_a_row_of_20000_goals_are_searched_without_recursion() -> None:
    deep = of(*(row(f"g{depth}", f"no. {depth}", None, f"g{depth - 1}" if depth else None) for depth in range(MANY)))
    wide = of(*(row(f"g{number}", f"no. {number}", rank=f"{number:05}") for number in range(MANY)))

    with hardly_any_stack():
        chain = shown(UserTree(View(deep, 1, 1, 1), "ann"), TreeOptions(find=parse(f'"no. {MANY - 1}"')))
        answered = whole(UserTree(View(deep, 1, 1, 1), "ann"), TreeOptions(find=parse(f'"no. {MANY - 1}"')))
        beside = shown(UserTree(View(wide, 1, 1, 1), "ann"), TreeOptions(find=parse(str(MANY - 1))))

    assert len(chain) == answered.count(b'"progress"') == MANY
    assert answered.count(b'"match"') == 1
    assert [node.row.id for node in beside] == [f"g{MANY - 1}"]
