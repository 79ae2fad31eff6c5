"""Text outlines: Markdown's bullets, headings and indentation, plain lines, and what is no goal."""

import pytest

from es_goals.outlines import CannotWrite, Item, write
from tests.outlines.reading import goals, names, notes, outline, tree


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a\n\tb\n\t\tc\n\td\ne", id="tabs"),
        pytest.param("a\n  b\n    c\n  d\ne\n", id="two spaces"),
        pytest.param("a\n b\n  c\n d\ne\n", id="one space"),
        pytest.param("  a\n   b\n        c\n   d\n  e", id="any spaces"),
        pytest.param("a\n\tb\n\t  c\n\td\ne", id="tabs, then spaces"),
        pytest.param("- a\n\t- b\n        - c\n    - d\n- e", id="a tab is four spaces"),
        pytest.param("- a\n  - b\n\t- c\n  - d\n- e", id="a tab goes to the next multiple of four"),
        pytest.param("- a\n    - b\n      - c\n  - d\n- e", id="back to no level goes to the nearest above"),
        pytest.param("a\n\u00a0b\n\u3000\u3000c\n\u00a0d\ne", id="other spaces"),
        pytest.param("\n\na\n\n  b\n \t \n    c\n  d\ne\n\n", id="blank lines"),
        pytest.param("a\r\n  b\r\n    c\r\n  d\r\ne\r\n", id="the line ends of Windows"),
        pytest.param("a\r\tb\r\t\tc\r\td\re", id="the line ends of old"),
        pytest.param("- a\n  - b\n    - c\n  - d\n- e", id="dashes"),
        pytest.param("* a\n  + b\n    • c\n  + d\n* e", id="other bullets"),
        pytest.param("• a\n  ◦ b\n    ▪ c\n  – d\n— e", id="typographic bullets"),
        pytest.param("1. a\n   1. b\n      1) c\n   2. d\n10. e", id="numbers"),
        pytest.param("-   a   \n  -\tb\n    -  c\n  - d \n- e", id="space around names"),
        pytest.param("# a\n## b\n### c ##\n## d #\n# e", id="headings"),
        pytest.param("# a\n- b\n  - c\n- d\n\n# e", id="bullets below headings"),
        pytest.param("# a\n### b\n  c\n## d\n# e", id="headings that leave a level out"),
        pytest.param("a\n===\n\nb\n---\n- c\n\n## d\n# e", id="underlined headings"),
        pytest.param("- [ ] a\n  - [x] b\n    - [-] c\n  - ☑ d\n- ✓ e", id="boxes"),
        pytest.param("[ ] a\n  [x] b\n    ☐ c\n  ✅ d\n✔ e", id="boxes for bullets"),
        pytest.param("a\n  - b\n    - c\n  - d\ne", id="bullets below plain lines"),
    ],
)
def test_a_text_outline_nests_by_its_indentation(text: str) -> None:
    assert tree(text) == [(0, "a"), (1, "b"), (2, "c"), (1, "d"), (0, "e")]


@pytest.mark.parametrize(
    ("line", "name", "done"),
    [
        ("- [x] a", "a", True),
        ("* [X]  a", "a", True),
        ("1. [x] a", "a", True),
        ("- [ ] a", "a", False),
        ("- [✓] a", "a", True),
        ("- [✔] a", "a", True),
        ("- ☐ a", "a", False),
        ("- ☑ a", "a", True),
        ("☒ a", "a", True),
        ("- [ ] [x] a", "[x] a", False),
        ("- [x]a", "[x]a", False),
        ("- [/] a", "[/] a", False),
        ("- - a", "- a", False),
        ("-a", "-a", False),
        ("1.5 km", "1.5 km", False),
        ("#a", "#a", False),
        ("- # a", "# a", False),
        ("- > a", "> a", False),
        ("# C#", "C#", False),
        ("✓a", "✓a", False),
    ],
)
def test_bullets_and_boxes_are_no_part_of_a_name_and_all_else_is(line: str, name: str, done: bool) -> None:
    assert goals(line, "markdown") == [Item(0, name, done=done)]


def test_what_was_cancelled_is_done_and_that_is_said() -> None:
    assert goals("- a\n- [-] b") == [Item(0, "a"), Item(0, "b", done=True)]
    assert notes("- a\n- [-] b") == "took 1 cancelled goal as done (line 2)"


@pytest.mark.parametrize("text", ["- a\n-\n- b", "- a\n- [ ]\n- b", "- a\n-  \n- b", "- a\n*\n1.\n- b", "# a\n#\n# b"])
def test_empty_items_are_left_out(text: str) -> None:
    assert names(text) == ["a", "b"]
    assert notes(text).startswith("left out ")
    assert "blank row" in notes(text)


def test_a_deeper_line_right_below_a_bullet_continues_its_name() -> None:
    assert names("- a\n  that goes\n   on\n- b") == ["a that goes on", "b"]
    assert tree("- a\n  - b\n    goes on\n  - c") == [(0, "a"), (1, "b goes on"), (1, "c")]


def test_a_line_that_is_not_deeper_does_not() -> None:
    assert tree("- a\nb\n- c") == [(0, "a"), (0, "b"), (0, "c")]
    assert tree("- a\n  - b\n  c") == [(0, "a"), (1, "b"), (1, "c")]


def test_a_paragraph_below_a_bullet_is_its_description() -> None:
    text = "- a\n\n  more of a\n\n  and more\n  to say\n  - b\n\n    of b\n\n  of a again\n- c"

    assert goals(text) == [
        Item(0, "a", "more of a\n\nand more\nto say\n\nof a again"),
        Item(1, "b", "of b"),
        Item(0, "c"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("---\ntitle: Plan\ntags: [x]\n---\n- a", "left out 1 front matter (line 1)", id="front matter"),
        pytest.param("+++\ntitle = 'Plan'\n+++\n- a", "left out 1 front matter (line 1)", id="front matter in TOML"),
        pytest.param("- a\n\n---\n***\n- - -\n", "", id="rules"),
        pytest.param("- a\n\n```sh\n- b\n\n# c\n```\n", "left out 1 code block (line 3)", id="a code block"),
        pytest.param("- a\n\n~~~\n```\n- b", "left out 1 code block (line 3)", id="a code block without an end"),
        pytest.param(
            "- a\n\n````\n```\n- b\n````", "left out 1 code block (line 3)", id="a code block with another's end"
        ),
        pytest.param("> b\n> - c\n\n- a\n> d", "left out 2 quotes (lines 1, 5)", id="quotes"),
        pytest.param("- a\n\n| b | c |\n|---|---|\n", "left out 2 table rows (lines 3, 4)", id="a table"),
        pytest.param("<!-- b -->\n- a", "left out 1 comment (line 1)", id="a comment"),
    ],
)
def test_what_is_no_goal_is_left_out_and_said(text: str, said: str) -> None:
    assert goals(text, "markdown") == [Item(0, "a")]
    assert notes(text, "markdown") == said


def test_goals_between_rules_are_no_front_matter() -> None:
    assert names("---\n- a\n---\n- b") == ["a", "b"]


def test_quotes_and_code_below_a_goal_are_its_description() -> None:
    text = "# a\n> of a\n>  indented\n\n- b\n  > of b\n  ```\n  - c\n  ```\n- d"

    assert goals(text) == [
        Item(0, "a", "of a\n indented"),
        Item(1, "b", "of b\n```\n- c\n```"),
        Item(1, "d"),
    ]
    assert notes(text) == ""


def test_code_keeps_its_own_indentation() -> None:
    assert goals("- a\n  ```\n  if b:\n      c\n ```\n") == [Item(0, "a", "```\nif b:\n    c\n```")]


def test_a_rule_ends_what_is_above_it() -> None:
    assert tree("- a\n***\n  b\n") == [(0, "a"), (1, "b")]


def test_lines_are_those_of_the_file() -> None:
    assert [item.line for item in outline("# a\n\n- b\n  goes on\n\n\n- c").items] == [1, 3, 7]


def test_text_is_written_as_a_task_list_with_descriptions_as_quotes() -> None:
    items = [Item(0, "a", "of a\r\n\r\nmore"), Item(1, "b", done=True), Item(2, "[x] c"), Item(0, "- d")]

    assert write(items, "markdown", "Goals").decode().splitlines() == [
        "- [ ] a",
        "\t> of a",
        "\t> ",
        "\t> more",
        "\t- [x] b",
        "\t\t- [ ] [x] c",
        "- [ ] - d",
    ]


def test_a_tree_so_deep_that_its_indentation_would_fill_the_disk_is_not_written() -> None:
    with pytest.raises(CannotWrite, match="take JSON, OPML or CSV"):
        write([Item(depth, "a") for depth in range(20_000)], "markdown", "Goals")
