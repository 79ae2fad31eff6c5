"""Outlines: what is read from each format, what is refused and where, and that what was written is read back."""

import json
from collections.abc import Callable
from copy import deepcopy
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_goals.cli.outlines import BadOutline, Item, parse, to_json, to_opml, to_text

MANY = 20_000
WRITERS = [
    pytest.param(to_json, id="JSON"),
    pytest.param(lambda items: to_opml(items, "Goals"), id="OPML"),
    pytest.param(to_text, id="text"),
]
writers = pytest.mark.parametrize("write", WRITERS)
Writer = Callable[[list[Item]], str]

any_character = st.characters(exclude_categories=["Cs"])
in_a_line = st.characters(exclude_categories=["Cs"], exclude_characters="\r\n")
in_xml = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff") | st.sampled_from("\t\n\r")
like_a_mark = st.sampled_from(
    ["-", "- a", "* a", "1. a", "# a", "[x] a", "[x]", "[ ] a", "[1]", "{}", "<a>", "]]>&amp;"]
)


def outlines(characters: st.SearchStrategy[str], described: bool = True) -> st.SearchStrategy[list[Item]]:
    names = st.text(characters, min_size=1).map(str.strip).filter(bool) | like_a_mark
    descriptions = st.none() | st.text(characters) if described else st.none()
    return st.lists(st.builds(Item, st.integers(0, 4), names, descriptions, st.booleans())).map(nested)


def nested(items: list[Item]) -> list[Item]:
    deepest = 0
    for item in items:
        item.depth = min(item.depth, deepest)
        deepest = item.depth + 1
    return items


def tree(text: str | bytes) -> list[tuple[int, str]]:
    return [(item.depth, item.name) for item in parse(text)]


def opml(body: str) -> str:
    return f'<opml version="2.0"><head><title>Goals</title></head><body>{body}</body></opml>'


def refusal(text: str | bytes) -> str:
    with pytest.raises(BadOutline) as refused:
        parse(text)
    return str(refused.value)


# All formats.


@given(outlines(any_character))
def test_json_that_was_written_reads_back_the_same(items: list[Item]) -> None:
    assert parse(to_json(items)) == items


@given(outlines(in_xml), st.text(any_character))
def test_opml_that_was_written_reads_back_the_same(items: list[Item], title: str) -> None:
    assert parse(to_opml(items, title)) == items


@given(outlines(in_a_line, described=False))
def test_text_that_was_written_reads_back_the_same(items: list[Item]) -> None:
    assert parse(to_text(items)) == items


@writers
def test_goals_20_000_deep_are_written_and_read_back(write: Writer) -> None:
    chain = [Item(depth, f"goal {depth}", done=depth % 2 == 0) for depth in range(MANY)]

    assert parse(write(chain)) == chain


@writers
def test_20_000_goals_side_by_side_are_written_and_read_back(write: Writer) -> None:
    wide = [Item(0, "top"), *(Item(1, f"goal {number}") for number in range(MANY)), Item(0, "last")]

    assert parse(write(wide)) == wide


@writers
def test_no_goals_are_written_and_read_back(write: Writer) -> None:
    assert parse(write([])) == []


@writers
def test_a_byte_order_mark_and_utf_8_are_accepted(write: Writer) -> None:
    items = [Item(0, "走马拉松 🏃"), Item(1, "Über")]

    assert parse(write(items).encode()) == items
    assert parse(write(items).encode("utf-8-sig")) == items
    assert parse("\ufeff" + write(items)) == items


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
@writers
def test_other_encodings_are_refused_with_the_line(write: Writer, encoding: str) -> None:
    assert refusal(write([Item(0, "Über")]).encode(encoding)).partition(": ")[2].startswith("expected UTF-8")
    assert refusal(b"a\nb\n\xff").startswith("line 3: ")


@pytest.mark.parametrize("begin", ["", "{", "[", "<", '{"goals":[', opml("<outline")])
@given(st.text(st.sampled_from("""[]{}",:\\ \t\n\r-#x10<>&/="'a\ud800\ufeff""")))
def test_whatever_is_read_is_an_outline_or_refused(begin: str, text: str) -> None:
    try:
        items = parse(begin + text)
    except BadOutline:
        return
    assert [item.depth for item in nested(deepcopy(items))] == [item.depth for item in items]
    assert all(item.name.strip() for item in items)


# JSON.


def test_goals_are_read_from_nested_json() -> None:
    text = """{"title": "Sustainable Development Goals", "goals": [
      {"sub_goals": [{"name": "Target 1.1", "sub_goals": []}, {"name": "Target 1.2"}],
       "name": "Goal 1", "description": "End poverty [in all its forms] {everywhere}"},
      {"name": "Goal 2", "description": null}]}"""

    assert parse(text) == [
        Item(0, "Goal 1", "End poverty [in all its forms] {everywhere}"),
        Item(1, "Target 1.1"),
        Item(1, "Target 1.2"),
        Item(0, "Goal 2"),
    ]


def test_goals_are_read_from_a_bare_list() -> None:
    assert tree('\n [{"name": "a", "sub_goals": [{"name": "b"}]}, {"name": "\\u00e9\\"]"}]') == [
        (0, "a"),
        (1, "b"),
        (0, 'é"]'),
    ]


def test_goals_are_read_as_the_service_answers_them() -> None:
    goal = {
        "id": "0199",
        "user": "alice",
        "parent_id": None,
        "name": "Run a marathon",
        "description": None,
        "start": "2026-11-23T08:00:00Z",
        "due": None,
        "end": None,
        "status": "open",
        "created_at": "2026-11-23T08:00:00Z",
        "updated_at": "2026-11-23T08:00:00Z",
        "revision": 3,
        "progress": {"completed": 1, "leaves": 4},
        "depth": 0,
        "open_sub_goals": 2,
        "sub_goal_count": 3,
    }
    document = {"user": "alice", "version": 3, "position": 9, "goals": [goal, goal | {"end": "2026-12-01T08:00:00Z"}]}

    assert parse(json.dumps(document)) == [Item(0, "Run a marathon"), Item(0, "Run a marathon", done=True)]


@pytest.mark.parametrize(
    ("members", "done"),
    [
        ('"status": "done"', True),
        ('"status": "done", "end": null', True),
        ('"end": "2026-12-01T08:00:00Z"', True),
        ('"status": "open", "end": null', False),
        ('"description": "done"', False),
    ],
)
def test_a_goal_is_done_by_its_status_or_its_end(members: str, done: bool) -> None:
    assert [item.done for item in parse(f'[{{"name": "a", {members}}}]')] == [done]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"title": "x"}', "goals: "),
        ('{"goals": {}}', "goals: "),
        ('{"goals": null}', "goals: "),
        ('{"goals": [3]}', "goals[0]: "),
        ('{"goals": [{"name": "a"}, null]}', "goals[1]: "),
        ('{"goals": [{"name": "a"}, {}]}', "goals[1]: "),
        ('{"goals": [{"name": 3}]}', "goals[0].name: "),
        ('{"goals": [{"name": null}]}', "goals[0].name: "),
        ('{"goals": [{"name": " \\n"}]}', "goals[0].name: "),
        ('{"goals": [{"name": "a", "description": []}]}', "goals[0].description: "),
        ('{"goals": [{"name": "a", "sub_goals": {}}]}', "goals[0].sub_goals: "),
        ('{"goals": [{"name": "a", "sub_goals": null}]}', "goals[0].sub_goals: "),
        ('{"goals": [{"name": "a", "sub_goals": ["b"]}]}', "goals[0].sub_goals[0]: "),
        ('[{"name": "a"}, {"name": "b", "sub_goals": [{"name": "c"}, {"name": []}]}]', "[1].sub_goals[1].name: "),
        ('[{"name": "a", "sub_goals": [{"name": "b"}]}, {"name": 3}]', "[1].name: "),
        ('[{"name": "a", "status": "deleted"}]', "[0].status: "),
        ('[{"name": "a", "end": 3}]', "[0].end: "),
        ('[{"name": "a", "end": false}]', "[0].end: "),
        ('[{"name": "a", "subgoals": []}]', "[0].subgoals: "),
    ],
)
def test_what_is_wrong_in_json_is_refused_with_its_path(text: str, path: str) -> None:
    assert refusal(text).startswith(path)


def test_a_flat_list_of_nested_goals_is_refused_since_their_places_would_be_lost() -> None:
    assert refusal('[{"name": "a", "depth": 0}, {"name": "b", "depth": 1}]').startswith("[1].depth: Expected 0")


def test_the_middle_of_a_long_path_is_left_out() -> None:
    chain = [Item(depth, "a") for depth in range(1_000)]

    message = refusal(to_json(chain).replace('{"name": "a"}', '{"name": 3}'))

    assert message.startswith("goals[0]" + ".sub_goals[0]" * 5 + ".…" + ".sub_goals[0]" * 4 + ".name: ")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{", "line 1, column 2: "),
        ('[{"name": "a"}', "line 1, column 15: "),
        ('[{"name": "a"}]]', "line 1, column 16: "),
        ('[{"name": "a"}] []', "line 1, column 17: "),
        ('[\n{"name": "a"}\n{"name": "b"}]', "line 3, column 1: "),
        ('[\n{"name": "a",\n"sub_goals": [{"name": "b"}] "end": null}]', "line 3, column 30: "),
        ('[{"name": "a"},]', "line 1, column 16: "),
        ('{"goals": [}]', "line 1, column 12: "),
        ("[\n{'name': \"a\"}]", "line 2, column 2: "),
        ('[{"name": "a\nb"}]', "line 1, column 13: "),
        ('[{"name": "\\x"}]', "line 1, column 12: "),
        ('[{"name": "a}]', "line 1, column 11: "),
        ('[{"name": "a\\', "line 1, column 11: "),
        ('[// goals\n{"name": "a"}]', "line 1, column 2: "),
        ('[{"name": tru}]', "line 1, column 11: "),
        ('\n[{"name": ' + "9" * 5_000 + "}]", "line 2, column 2: "),
        ("[" * MANY, f"line 1, column {MANY + 1}: "),
    ],
)
def test_malformed_json_is_refused_with_its_line_and_column(text: str, place: str) -> None:
    assert refusal(text).startswith(place + "expected JSON")


def test_json_nested_too_deeply_for_decoders_is_read_where_it_means_nothing_too() -> None:
    deep = "[" * MANY + "]" * MANY

    assert tree(f'{{"title": {deep}, "goals": [{{"name": "a", "progress": {deep}}}]}}') == [(0, "a")]


@given(st.text(st.sampled_from('[]{}",:\\ 1a')))
def test_what_json_refuses_is_refused(middle: str) -> None:
    text = f'{{"title": {middle}, "goals": [{{"name": "a", "progress": {middle}}}]}}'

    try:
        json.loads(text)
    except ValueError:
        assert refusal(text)
    else:
        assert parse(text)


def test_json_is_written_with_a_line_for_each_goal() -> None:
    items = [Item(0, "Läufe", "a\nb", done=True), Item(1, "b"), Item(2, "c"), Item(0, "d")]

    assert to_json(items).splitlines() == [
        '{"goals": [',
        '{"name": "Läufe", "description": "a\\nb", "status": "done", "sub_goals": [',
        '{"name": "b", "sub_goals": [',
        '{"name": "c"}]}]},',
        '{"name": "d"}',
        "]}",
    ]


# Text.


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a\n\tb\n\t\tc\n\td\ne", id="tabs"),
        pytest.param("a\n  b\n    c\n  d\ne\n", id="two spaces"),
        pytest.param("  a\n   b\n        c\n   d\n  e", id="any spaces"),
        pytest.param("a\n\tb\n\t  c\n\td\ne", id="tabs, then spaces"),
        pytest.param("\n\na\n\n  b\n \t \n    c\n  d\ne\n\n", id="blank lines"),
        pytest.param("a\r\n  b\r\n    c\r\n  d\r\ne\r\n", id="the line ends of Windows"),
        pytest.param("a\r\tb\r\t\tc\r\td\re", id="the line ends of old"),
        pytest.param("- a\n  - b\n    - c\n  - d\n- e", id="dashes"),
        pytest.param("* a\n  + b\n    • c\n  + d\n* e", id="other bullets"),
        pytest.param("1. a\n   1. b\n      1) c\n   2. d\n10. e", id="numbers"),
        pytest.param("-   a   \n  -\tb\n    -  c\n  - d \n- e", id="space around names"),
        pytest.param("# a\n## b\n### c\n## d\n# e", id="headings"),
        pytest.param("# a\n- b\n  - c\n- d\n\n# e", id="bullets below headings"),
        pytest.param("# a\n### b\n  c\n## d\n# e", id="headings that leave a level out"),
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
        ("- [ ] [x] a", "[x] a", False),
        ("- [x]a", "[x]a", False),
        ("- [y] a", "[y] a", False),
        ("- - a", "- a", False),
        ("-a", "-a", False),
        ("1.5 km", "1.5 km", False),
        ("#a", "#a", False),
        ("- # a", "# a", False),
        ("---", "---", False),
    ],
)
def test_bullets_and_checkboxes_are_no_part_of_a_name_and_all_else_is(line: str, name: str, done: bool) -> None:
    assert parse(line) == [Item(0, name, done=done)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n    b\n  c", 3),
        ("  a\n\nb", 3),
        ("# a\n  b\nc", 3),
        ("a\n\tb\n    c", 3),
        ("a\n  b\n\t\t\tc", 3),
        ("a\n\u00a0b\n c", 3),
        ("a\r\n- ", 2),
        ("a\n- [x]\n", 2),
        ("a\n1.", 2),
        ("# \n", 1),
    ],
)
def test_text_that_fits_no_level_or_lacks_a_name_is_refused_with_its_line(text: str, line: int) -> None:
    assert refusal(text).startswith(f"line {line}: expected ")


def test_text_is_written_with_bullets_and_tabs() -> None:
    items = [Item(0, "a", "left out"), Item(1, "b\r\nc", done=True), Item(2, "[x] d"), Item(0, "- e")]

    assert to_text(items) == "- a\n\t- [x] b c\n\t\t- [ ] [x] d\n- - e\n"


# OPML.


def test_goals_are_read_from_opml() -> None:
    text = """<?xml version="1.0" encoding="ISO-8859-1"?>
    <!-- written by hand --><opml version="2.0"><head><title>outline</title></head><body>
      <outline text="Läufe &amp; &lt;mehr&gt;" _note="first&#10;second" created="now">
        <outline text="b" _status="checked"/><outline text="c" _status="unchecked"></outline>
      </outline>
      <outline text="d" _complete="true"/><outline text="e" complete="true"/>
      <outline text="f" _status="done"/>
    </body></opml>"""

    assert parse(text) == [
        Item(0, "Läufe & <mehr>", "first\nsecond"),
        Item(1, "b", done=True),
        Item(1, "c"),
        Item(0, "d", done=True),
        Item(0, "e", done=True),
        Item(0, "f", done=True),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("<html></html>", 1),
        ("<opml>\n<outline text='a'/></opml>", 2),
        ("<opml><head>\n<outline text='a'/></head></opml>", 2),
        ("<opml><body>\n<body><outline text='a'/></body></body></opml>", 2),
        ("<opml><body><outline text='a'>\n<x><outline text='b'/></x></outline></body></opml>", 2),
        (opml("\n<outline/>"), 2),
        (opml("\n<outline text=' '/>"), 2),
        (opml("\n<outline title='a'/>"), 2),
        (opml("\n<outline text='a'></body>"), 2),
        (opml("\n<outline text='a' text='b'/>"), 2),
        (opml("\n<outline text='&a;'/>"), 2),
        (opml("\n<outline text='&#1;'/>"), 2),
        (opml("\n<outline text='a\ud800'/>"), 2),
        (opml("<outline text='a'/>") + "\n<opml/>", 2),
        ("<opml>\n<body>", 2),
        ("<", 1),
    ],
)
def test_malformed_opml_is_refused_with_its_line(text: str, line: int) -> None:
    assert refusal(text).startswith(f"line {line}: expected ")


@pytest.mark.parametrize(
    "declared",
    [
        pytest.param(
            '[<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(20)) + "]",
            id="a billion laughs",
        ),
        pytest.param(f'[<!ENTITY a20 "{"ha" * 100_000}">]', id="one long entity"),
        pytest.param('[<!ENTITY a20 SYSTEM "file:///etc/passwd">]', id="a file of this machine"),
        pytest.param('SYSTEM "http://127.0.0.1:9/opml.dtd"', id="an address"),
        pytest.param("", id="nothing"),
    ],
)
def test_opml_that_declares_entities_is_refused_before_they_are_read(declared: str) -> None:
    text = f"<?xml version='1.0'?><!DOCTYPE opml {declared}>" + opml("<outline text='&a20;'/>")

    assert refusal(text) == "line 1: expected no document type declaration; found one"


def test_opml_is_written_as_other_parsers_read_it() -> None:
    items = [Item(0, "a < b & \"c\" 'd'", "1\n2\t3", done=True), Item(1, "e"), Item(0, "f")]

    root = ElementTree.fromstring(to_opml(items, "A & B"))  # noqa: S314

    assert (root.tag, root.attrib, root.findtext("head/title")) == ("opml", {"version": "2.0"}, "A & B")
    assert [outline.attrib for outline in root.iter("outline")] == [
        {"text": "a < b & \"c\" 'd'", "_note": "1\n2\t3", "_status": "checked"},
        {"text": "e"},
        {"text": "f"},
    ]
    assert [outline.get("text") for outline in root.findall("body/outline")] == ["a < b & \"c\" 'd'", "f"]


def test_what_xml_cannot_hold_is_replaced() -> None:
    written = to_opml([Item(0, "a\0b\x1bc\ufffe", "\ud800")], "\x01")

    assert parse(written.encode()) == [Item(0, "a\ufffdb\ufffdc\ufffd", "\ufffd")]
    assert "<title>\ufffd</title>" in written
