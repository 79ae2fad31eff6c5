"""What is written and read back: which formats keep what, of any tree, at any depth."""

import json
import unicodedata
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from es_goals.events import instant
from es_goals.outlines import WRITTEN, Item, read, write
from es_goals.projector import View
from es_goals.reads.trees import TreeOptions, UserTree, whole
from es_goals.values import InvalidValue, valid_name
from projections.goal_tree import Row
from tests.outlines.reading import MANY, at
from tests.support.engines import NOW

Writer = Callable[[list[Item]], bytes]

LIKE_MARKS = ["-", "- a", "* a", "1. a", "# a", "[x] a", "[x]", "[ ] a", "[1]", "{}", "<a>", "]]>&amp;", "<b>a</b>"]
LIKE_MARKS += [
    "AT&T",
    "&lt;",
    "<br>",
    "=a",
    "'=a",
    "\\n",
    "a;b,c",
    "---",
    "> a",
    "```",
    "☐ a",
    "a\\",
    "END:VTODO",
    "x" * 200,
]
like_marks = st.sampled_from(LIKE_MARKS)


def is_valid(name: str) -> bool:
    try:
        return valid_name(name, 200) == name and any(unicodedata.category(one)[0] in "LNPS" for one in name)
    except InvalidValue:
        return False


characters = st.characters(exclude_categories=["Cc", "Cs", "Cn", "Co", "Zl", "Zp"], exclude_characters="\u3164\u2800")
valid_names = (st.text(characters, min_size=1).map(str.strip) | like_marks).filter(is_valid)
lines = st.text(characters.filter(lambda one: not "\u202a" <= one <= "\u202e" and not "\u2066" <= one <= "\u2069"))
descriptions = st.lists(lines | like_marks, min_size=1, max_size=4).map("\n".join) | st.sampled_from(["", "\t\r\n \r"])
times = st.datetimes(datetime(1900, 1, 2), datetime(9999, 12, 20)).map(lambda time: at(str(time)))


@st.composite
def goals(draw: st.DrawFn) -> Item:
    """Such as there can be: an end is no earlier than the start, and done is what has one."""
    start, due, length = (
        draw(times),
        draw(st.none() | times),
        draw(st.none() | st.timedeltas(timedelta(), timedelta(9))),
    )
    end = None if length is None else start + length
    return Item(
        draw(st.integers(0, 4)), draw(valid_names), draw(st.none() | descriptions), end is not None, start, due, end
    )


def nested(items: list[Item]) -> list[Item]:
    deepest = 0
    for number, item in enumerate(items):
        item.depth = min(item.depth, deepest)
        item.id = f"0199{number:04}-0000-7000-8000-000000000000"
        deepest = item.depth + 1
    return items


trees = st.lists(goals(), min_size=1, max_size=8).map(nested)


def kept(items: list[Item]) -> list[Item]:
    """Without what is never read."""
    return [structs.replace(item, line=0, id=None) for item in items]


def written(format: str) -> Writer:
    return lambda items: write(items, format, "Alice's goals")


def answered(items: list[Item]) -> bytes:
    """The tree as the service answers it."""
    rows: dict[tuple[str | int, ...], Row] = {}
    above: list[str] = []
    for number, item in enumerate(items):
        del above[item.depth :]
        goal_id, parent_id = str(item.id), above[-1] if above else None
        start, due, end = (None if time is None else instant(time) for time in (item.start, item.due, item.end))
        goal = (goal_id, parent_id, item.name, item.description, start or instant(NOW), due, end, f"V{number:06}")
        rows["alice", goal_id] = Row("alice", *goal, NOW, NOW, 1, None)
        above.append(goal_id)
    return whole(UserTree(View(rows, 1, 1, 1), "alice"), TreeOptions())


@given(trees)
def test_json_keeps_all_of_a_goal_but_its_id(items: list[Item]) -> None:
    outline = read(answered(items))

    assert kept(outline.items) == kept(items)
    assert str(outline.notes) == ""


@given(trees)
def test_opml_keeps_all_of_a_goal_but_its_id(items: list[Item]) -> None:
    outline = read(write(items, "opml", "Alice's goals"))

    assert kept(outline.items) == kept(items)
    assert not outline.notes.is_loss


@given(trees)
def test_a_table_keeps_all_of_a_goal_but_that_an_empty_description_is_none(items: list[Item]) -> None:
    outline = read(write(items, "csv", "Alice's goals"))

    assert kept(outline.items) == [structs.replace(item, description=item.description or None) for item in kept(items)]
    assert str(outline.notes) == ""


@given(trees)
def test_a_calendar_keeps_all_of_a_goal_but_fractions_of_seconds(items: list[Item]) -> None:
    def whole_second(time: datetime | None) -> datetime | None:
        return time and time.replace(microsecond=0)

    outline = read(write(items, "ics", "Alice's goals"))

    assert kept(outline.items) == [
        structs.replace(
            item,
            description="\n".join(item.description.replace("\r\n", "\n").split("\r")) if item.description else None,
            start=whole_second(item.start),
            due=whole_second(item.due),
            end=whole_second(item.end),
        )
        for item in kept(items)
    ]


@given(trees)
def test_markdown_keeps_names_nesting_descriptions_and_what_is_done(items: list[Item]) -> None:
    outline = read(write(items, "markdown", "Alice's goals"))

    assert [(item.depth, item.name, item.description, item.done) for item in outline.items] == [
        (
            item.depth,
            item.name,
            "\n".join((item.description or "").replace("\r\n", "\n").split("\r")) or None,
            item.done,
        )
        for item in items
    ]
    assert {(item.start, item.due, item.end) for item in outline.items} == {(None, None, None)}


WRITERS = [pytest.param(answered, id="json"), *(pytest.param(written(format), id=format) for format in WRITTEN)]


@pytest.mark.parametrize("writer", WRITERS)
def test_goals_side_by_side_are_written_and_read_back(writer: Writer) -> None:
    wide = nested([Item(0, "top"), *(Item(1, f"goal {number}") for number in range(MANY)), Item(0, "last")])
    for item in wide:
        item.start = at("2026-01-01")

    assert [(item.depth, item.name) for item in read(writer(wide)).items] == [(item.depth, item.name) for item in wide]


@pytest.mark.parametrize("writer", [writer for writer in WRITERS if writer.id != "markdown"])
def test_goals_20_000_deep_are_written_and_read_back(writer: Writer) -> None:
    chain = [Item(depth, f"goal {depth}", start=at("2026-01-01")) for depth in range(MANY)]

    assert [item.depth for item in read(writer(nested(chain))).items] == list(range(MANY))


def test_markdown_which_grows_as_the_square_of_the_depth_is_read_back_at_2_000_levels() -> None:
    chain = [Item(depth, f"goal {depth}") for depth in range(2_000)]

    assert [item.depth for item in read(write(chain, "markdown", "")).items] == list(range(2_000))


@pytest.mark.parametrize("format", WRITTEN)
def test_no_goals_are_a_file_too(format: str) -> None:
    write([], format, "Alice's goals")


def test_json_as_others_write_it_is_read_at_any_indentation() -> None:
    items = nested([Item(0, "a", start=at("2026-01-01")), Item(1, "b", start=at("2026-01-01"))])

    assert kept(read(json.dumps(json.loads(answered(items)), indent=2).encode()).items) == kept(items)
