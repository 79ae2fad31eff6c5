"""Task lists in plain text: TaskPaper, todo.txt and Org."""

import pytest

from es_goals.outlines import Item
from tests.outlines.reading import at, goals, names, notes, outline, tree

# TaskPaper.


def test_projects_tasks_and_notes_are_read_from_taskpaper() -> None:
    text = (
        "Trip:\n\tby train\n\t- Tickets @done(2026-01-02)\n\t- Hotel @due(2026-02-01 18:00) @home\n"
        "\t\task Ann\n\n\t\twho knows\n\tLater: @start(2026-03-01)\n\t\t- Packing @done\n- House @due(soon)\n"
    )

    assert goals(text) == [
        Item(0, "Trip", "by train"),
        Item(1, "Tickets", None, True, at("2026-01-02 23:59:59"), None, at("2026-01-02 23:59:59")),
        Item(1, "Hotel @home", "ask Ann\nwho knows", due=at("2026-02-01 18:00")),
        Item(1, "Later", start=at("2026-03-01")),
        Item(2, "Packing", done=True),
        Item(0, "House @due(soon)"),
    ]


def test_what_was_cancelled_in_taskpaper_is_done_and_that_is_said() -> None:
    assert goals("- a @cancelled(2026-01-02)\n", "taskpaper")[0].done
    assert "took 1 cancelled goal as done (line 1)" in notes("- a @cancelled\n", "taskpaper")


@pytest.mark.parametrize("name", ["a@done", "mail a@due.example", "see @done/all", "at 10:30 sharp"])
def test_what_only_looks_like_a_tag_or_project_stays(name: str) -> None:
    assert goals(f"- {name}\n", "taskpaper") == [Item(0, name)]


def test_a_note_above_everything_is_a_goal() -> None:
    assert tree("for the summer\nTrip:\n\t- a\n", "taskpaper") == [(0, "for the summer"), (0, "Trip"), (1, "a")]


# todo.txt.


def test_tasks_are_read_from_todo_txt() -> None:
    text = (
        "x 2026-01-02 2026-01-01 Tickets +Trip @home\n(B) 2026-01-05 Hotel due:2026-02-01 +Trip\n\n"
        "plain\nx also done\nWalk t:2026-03-01 due:soon\n2026-13-45 no day\n"
    )

    assert goals(text) == [
        Item(0, "Tickets +Trip @home", None, True, at("2026-01-01"), None, at("2026-01-02 23:59:59")),
        Item(0, "Hotel +Trip", start=at("2026-01-05"), due=at("2026-02-01 23:59:59")),
        Item(0, "plain"),
        Item(0, "also done", done=True),
        Item(0, "Walk due:soon", start=at("2026-03-01")),
        Item(0, "2026-13-45 no day"),
    ]
    assert notes(text).startswith("left out 1 priority (line 2); took ")
    assert [item.line for item in outline(text).items] == [1, 2, 4, 5, 6, 7]


# Org.

ORG = """\
#+TITLE: Plan
# a comment
some words
* TODO Trip [1/2] :travel:summer:
  DEADLINE: <2026-12-01 Tue 18:00 +1w> SCHEDULED: <2026-11-01 Sun>
  :PROPERTIES:
  :ID: 1
  :END:
  by train
  - no checkbox
** DONE [#A] Tickets
   CLOSED: [2026-01-01 Thu 10:15]
** TODO Hotel
- [X] compare
  the prices
  - [ ] two of them
- [-] book
*** NEXT Ask
**** CANCELLED Write
* Garden
:LOGBOOK:
- [ ] not closed
*bold* words
"""


def test_headings_and_checkboxes_are_read_from_org() -> None:
    assert goals(ORG) == [
        Item(0, "Trip", "by train\n- no checkbox", start=at("2026-11-01"), due=at("2026-12-01 18:00")),
        Item(1, "Tickets", None, True, at("2026-01-01 10:15"), None, at("2026-01-01 10:15")),
        Item(1, "Hotel"),
        Item(2, "compare", "the prices", done=True),
        Item(3, "two of them"),
        Item(2, "book"),
        Item(2, "Ask"),
        Item(3, "Write", done=True),
        Item(0, "Garden", ":LOGBOOK:\n*bold* words"),
        Item(1, "not closed"),
    ]


def test_what_org_has_besides_is_left_out_and_said() -> None:
    assert notes(ORG).split("; ") == [
        "left out 1 setting (line 1)",
        "left out 1 comment (line 2)",
        "left out 1 preamble line (line 3)",
        "left out 1 tag (line 4)",
        "left out 1 repetition (line 5)",
        "left out 1 drawer (line 6)",
        "left out 1 priority (line 11)",
        "took 2 times as UTC (lines 5, 12)",
        "took 1 date as the start of the day in UTC (line 5)",
        "took 1 cancelled goal as done (line 19)",
    ]


def test_the_words_for_what_is_done_are_those_that_the_file_sets() -> None:
    text = "#+TODO: IDEA(i) PLAN | BUILT(b) DROPPED\n#+SEQ_TODO: ASKED ANSWERED\n"
    lines = ["IDEA a", "PLAN b", "BUILT c", "DROPPED d", "ASKED e", "ANSWERED f", "TODO g", "DONE h", "IDEAS i"]

    read = goals(text + "".join(f"* {line}\n" for line in lines))
    assert [item.name for item in read] == ["a", "b", "c", "d", "e", "f", "g", "h", "IDEAS i"]
    assert [item.name for item in read if item.done] == ["c", "d", "f", "h"]


def test_a_drawer_ends_before_the_next_heading_or_is_none() -> None:
    text = "* a\n:NOTES:\nmore of a\n* b\n:ID:\n1\n:END:\n"

    assert goals(text, "org") == [Item(0, "a", ":NOTES:\nmore of a"), Item(0, "b")]


def test_what_was_closed_and_is_open_again_is_open() -> None:
    assert goals("* TODO a\n  CLOSED: [2026-01-01 Thu 10:15]\n") == [Item(0, "a")]


def test_headings_that_leave_a_level_out_are_nested_all_the_same() -> None:
    assert tree("** a\n***** b\n*** c\n* d\n") == [(0, "a"), (1, "b"), (1, "c"), (0, "d")]


def test_headings_without_words_are_left_out() -> None:
    assert names("* a\n** TODO\n** \n** b\n") == ["a", "b"]
