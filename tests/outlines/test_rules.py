"""What every format has in common: which texts and times goals may have, what is left out, and how that is said."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_goals.goals.commands import CompleteGoal, CreateGoal
from es_goals.goals.rules import decide
from es_goals.goals.state import Goals, evolve
from es_goals.outlines import BadOutline, Item, Limits, Outline, read, repeated, summary
from tests.outlines.reading import at, goals, ics, notes, opml, outline, refusal, tree
from tests.support.engines import NOW
from tests.support.limits import LIMITS


def named(*names: str) -> str:
    return '{"goals": [' + ", ".join(f'{{"name": "{name}"}}' for name in names) + "]}"


def long_name(length: int) -> str:
    return ("word " * length)[:length].strip()


def test_rows_without_anything_to_be_seen_are_left_out_and_what_is_below_them_moves_up() -> None:
    blank = '<outline text=" "><outline text="c"><outline text="d"/></outline></outline>'
    text = opml(f'<outline text="a"><outline text="b"/>{blank}<outline text="e"/></outline><outline text="\u200b"/>')

    assert tree(text) == [(0, "a"), (1, "b"), (1, "c"), (2, "d"), (1, "e")]
    assert notes(text) == "left out 2 blank rows"


UNSEEN = ["", " ", "\u00a0", "\u200b", "\u200d", "\ufeff", "\u2060", "\u3164", "\uffa0", "\u2800", "\u180e"]
UNSEEN += ["\u00ad", "\ufe0f", "\u0301", "\u2028", "\u202e", "&#9;", "\u115f\u1160"]


@pytest.mark.parametrize("unseen", UNSEEN)
def test_a_name_that_cannot_be_seen_is_none(unseen: str) -> None:
    assert tree(opml(f'<outline text="a"/><outline text="{unseen}"/>')) == [(0, "a")]


def test_a_row_with_nothing_but_a_note_is_named_by_its_first_line() -> None:
    text = opml('<outline text="" _note=" &#10; call Ann&#10;at nine&#10;or ten"/>')

    assert goals(text) == [Item(0, "call Ann", "at nine\nor ten")]
    assert notes(text) == "changed 1 name (line 1)"


@pytest.mark.parametrize(
    ("name", "becomes"),
    [
        pytest.param("House\\tgarden", "House garden", id="a tab"),
        pytest.param("House\\u2028garden", "House garden", id="a line separator"),
        pytest.param("House\\u2029garden", "House garden", id="a paragraph separator"),
        pytest.param("House\\u202egarden", "House garden", id="an override of direction"),
        pytest.param("House\\u2066garden\\u2069!", "House garden !", id="an isolate"),
        pytest.param("House\\u000cgarden\\u0000", "House garden", id="controls"),
        pytest.param("House\\ud800", "House\ufffd", id="half a character"),
        pytest.param("House\\ufffe\\ufdd0", "House\ufffd\ufffd", id="no characters"),
    ],
)
def test_what_a_name_cannot_have_becomes_a_space_or_the_replacement_character_and_is_said(
    name: str, becomes: str
) -> None:
    assert tree(named(name)) == [(0, becomes)]
    assert notes(named("first", name)) == "changed 1 name (line 1)"


@pytest.mark.parametrize("name", [" House ", "\\tHouse\\n", "House"])
def test_space_around_a_name_is_not_worth_saying(name: str) -> None:
    assert tree(named(name)) == [(0, "House")]
    assert notes(named(name)) == ""


def test_joined_emoji_and_marks_of_other_scripts_stay() -> None:
    assert tree(named("👩‍🚀 می‌خواهم")) == [(0, "👩‍🚀 می‌خواهم")]
    assert tree(named("Cafe\u0301")) == [(0, "Café")]
    assert notes(named("👩‍🚀", "Cafe\u0301")) == ""


def test_of_several_lines_the_first_is_the_name_and_the_others_begin_the_description() -> None:
    text = '[{"name": "House\\r\\nand garden\\nsoon", "description": "by June"}]'

    assert goals(text) == [Item(0, "House", "and garden\nsoon\nby June")]
    assert notes(text) == "changed 1 name (line 1)"


def test_a_name_that_is_too_long_is_cut_at_a_word_with_all_of_it_in_front_of_the_description() -> None:
    name = long_name(300)
    text = f'[\n{{"name": "fits"}},\n{{"name": "{name}", "description": "and more"}},\n{{"name": "{name}"}}]'

    assert goals(text) == [
        Item(0, "fits"),
        Item(0, long_name(199), f"{name}\n\nand more"),
        Item(0, long_name(199), name),
    ]
    assert notes(text) == "shortened 2 names (lines 3, 4)"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        pytest.param("x" * 200, "x" * 200, id="just long enough"),
        pytest.param("x" * 201, "x" * 200, id="one word"),
        pytest.param("a " + "x" * 250, "a " + "x" * 198, id="a first word that is short"),
        pytest.param("x" * 150 + " " + "y" * 100, "x" * 150, id="two words"),
        pytest.param("x" * 200 + " y", "x" * 200, id="a word that ends there"),
        pytest.param("é" * 201, "é" * 200, id="characters that are composed of two"),
        pytest.param("a" + "\u0327\u0301" * 1_000, None, id="a character of 2,001"),
    ],
)
def test_a_name_has_at_most_200_characters(name: str, kept: str | None) -> None:
    [item] = goals(opml(f'<outline text="{unicodedata.normalize("NFD", name)}"/>'))

    assert kept is None or item.name == kept
    assert len(item.name) <= 200
    assert unicodedata.is_normalized("NFC", item.name)


def test_a_description_that_is_too_long_is_cut_and_that_is_said() -> None:
    text = f'[{{"name": "a", "description": "{"x" * 16_385}"}}]'

    assert goals(text) == [Item(0, "a", "x" * 16_384)]
    assert notes(text) == "shortened 1 description (line 1)"


def test_a_description_keeps_tabs_and_lines_and_nothing_else_that_controls() -> None:
    text = '[{"name": "a", "description": "\\tb\\r\\nc\\n\\u2028d\\u0007\\u202ee"}]'

    assert goals(text) == [Item(0, "a", "\tb\r\nc\n\nd  e")]
    assert notes(text) == "changed 1 description (line 1)"


@pytest.mark.parametrize(
    ("text", "time", "said"),
    [
        ("2026-02-01T10:00:00Z", "2026-02-01 10:00", ""),
        ("2026-02-01T10:00:00+02:00", "2026-02-01 08:00", ""),
        ("2026-11-30T23:59:59.9999999Z", "2026-11-30 23:59:59.999999", ""),
        ("20260201T100000Z", "2026-02-01 10:00", ""),
        ("2026-02-01T10:00", "2026-02-01 10:00", "took 1 time as UTC (line 1)"),
        ("2026-02-01 10:00:30", "2026-02-01 10:00:30", "took 1 time as UTC (line 1)"),
        ("2026-02-01", "2026-02-01 23:59:59", "took 1 date as the end of the day in UTC (line 1)"),
        ("20260201", "2026-02-01 23:59:59", "took 1 date as the end of the day in UTC (line 1)"),
        ("Feb 1 2026", "2026-02-01 23:59:59", "took 1 date as the end of the day in UTC (line 1)"),
        ("1 Feb 2026", "2026-02-01 23:59:59", "took 1 date as the end of the day in UTC (line 1)"),
    ],
)
def test_times_are_read_and_what_they_do_not_tell_is_said(text: str, time: str, said: str) -> None:
    file = opml(f'<outline text="a" due="{text}"/>')

    assert [item.due for item in goals(file)] == [at(time)]
    assert notes(file) == said


@pytest.mark.parametrize("text", ["soon", "2026-13-01", "2026-02-01T25:00", "x" * 1_000, "0"])
def test_a_time_that_cannot_be_read_is_left_out_and_said(text: str) -> None:
    file = opml(f'<outline text="a" due="{text}"/>')

    assert goals(file) == [Item(0, "a")]
    assert notes(file) == "left out 1 unreadable time (line 1)"


@pytest.mark.parametrize("text", ["1899-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-00:01"])
def test_a_time_that_no_goal_can_have_is_left_out_and_said(text: str) -> None:
    file = opml(f'<outline text="a" start="{text}"/>')

    assert goals(file) == [Item(0, "a")]
    assert notes(file) == "left out 1 impossible time (line 1)"


def test_a_start_behind_the_end_moves_back_to_it_and_that_is_said() -> None:
    file = '[{"name": "a", "start": "2026-03-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}]'

    assert goals(file) == [Item(0, "a", None, True, at("2026-02-01"), None, at("2026-02-01"))]
    assert notes(file) == "changed 1 start (line 1)"


def test_an_end_without_a_start_gives_one() -> None:
    file = '[{"name": "a", "end": "2026-02-01T00:00:00Z"}]'

    assert goals(file) == [Item(0, "a", None, True, at("2026-02-01"), None, at("2026-02-01"))]
    assert notes(file) == ""


@pytest.mark.parametrize(
    "text",
    ["", "\n \n", "- [ ]\n-\n", opml(""), opml('<outline text=""/>'), "[]", '{"goals": []}', ics(), "TYPE,CONTENT\n"],
)
def test_a_file_without_goals_is_refused(text: str) -> None:
    assert "found none" in refusal(text)


def test_more_goals_than_there_may_be_are_refused_with_the_line() -> None:
    with pytest.raises(BadOutline, match="line 4: expected at most 3 goals; found more"):
        read(b"a\nb\nc\nd\ne\n", limits=Limits(goals=3))


def test_the_summary_says_what_was_read_how_many_goals_and_what_became_of_the_rest() -> None:
    lines = [f"- {long_name(300)}" if number in (12, 80) else "- a" for number in range(1, 435)]
    lines[100:100] = ["-"] * 6

    assert summary(outline("\n".join(lines)), "imported", "alice") == (
        "read as Markdown: imported 434 goals for alice; left out 6 blank rows; shortened 2 names (lines 12, 80)"
    )


def test_one_goal_is_one_and_a_clean_file_has_nothing_to_be_said_of() -> None:
    assert summary(outline("a")) == "read as a text outline: imported 1 goal"


def test_of_many_lines_the_first_ten_are_named() -> None:
    said = notes("\n".join(f"a\tb{number}" for number in range(25)))

    assert said == "changed 25 names (lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 15 more)"


def test_a_line_is_named_once() -> None:
    assert notes(named("a\\tb", "c\\td")) == "changed 2 names (line 1)"


@pytest.mark.parametrize(
    ("text", "loses"),
    [("- a", False), ("- a\n-", True), ("- a\tb", True), (opml('<outline text="a" due="2026-01-01"/>'), False)],
)
def test_whether_anything_was_lost_can_be_asked(text: str, loses: bool) -> None:
    assert outline(text).notes.is_loss == loses


def test_which_goals_are_there_already_is_said_by_their_names() -> None:
    read_twice = outline("House\n  Roof\nGarden\nHouse\n")

    assert repeated(read_twice, ["House", "Roof", "Boat"]) == "goals of these names are there already: 'House'"
    assert repeated(read_twice, ["Roof"]) is None


hostile = st.text(st.characters() | st.sampled_from("a \t\n\r\u2028\u202e\u200b\ud800\ufffe\0é\u0301"), max_size=30)
times = st.sampled_from([None, "2026-01-01T00:00:00Z", "1800-01-01", "9999-12-31T23:59:59-12:00"])


@given(st.lists(hostile | hostile.map(lambda text: text * 30), max_size=5), times, times)
def test_what_was_read_is_refused_by_no_rule(texts: list[str], start: str | None, end: str | None) -> None:
    file = json.dumps([{"name": text, "description": text, "start": start, "end": end} for text in texts])
    try:
        read_anyway = outline(file)
    except BadOutline:
        return
    obey(read_anyway)


def obey(outline: Outline) -> None:
    kept = Goals()
    for number, item in enumerate(outline.items):
        for command in (
            CreateGoal(str(number), item.name, None, item.description, item.start, item.due),
            CompleteGoal(str(number), item.end),
        ):
            for event in decide(kept, command, at("2026-11-23 08:00"), LIMITS):
                evolve(kept, event, NOW)
    assert [goal.name for goal in kept.known.values()] == [item.name for item in outline.items]
