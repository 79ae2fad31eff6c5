"""OPML: as outliners write it, what is refused and where, and how we write it."""

from xml.etree import ElementTree

import pytest

from es_goals.outlines import Item, write
from tests.outlines.reading import at, goals, names, notes, opml, refusal, tree


def test_goals_are_read_from_opml() -> None:
    text = """<?xml version="1.0" encoding="UTF-8"?>
    <!-- written by hand --><opml version="2.0"><head><title>outline</title></head><body>
      <outline text="Läufe &amp; &lt;mehr&gt;" _note="first&#10;second" created="now">
        <outline text="b" _status="checked"/><outline text="c" _status="unchecked"></outline>
      </outline>
    </body></opml>"""

    assert goals(text) == [Item(0, "Läufe & <mehr>", "first\nsecond"), Item(1, "b", done=True), Item(1, "c")]
    assert notes(text) == ""


DONE = ["_status", "_complete", "complete", "completed", "done", "checked", "_isComplete", "isComplete", "COMPLETE"]


@pytest.mark.parametrize("attribute", DONE)
@pytest.mark.parametrize("value", ["true", "True", "yes", "1", "checked", "2026-01-01T00:00:00Z", " true "])
def test_what_is_done_is_told_in_many_ways(attribute: str, value: str) -> None:
    assert [item.done for item in goals(opml(f'<outline text="a" {attribute}="{value}"/>'))] == [True]


@pytest.mark.parametrize("value", ["", "false", "no", "0", "unchecked", "indeterminate", "maybe"])
def test_and_what_is_not_done(value: str) -> None:
    assert goals(opml(f'<outline text="a" _status="{value}" complete="{value}"/>')) == [Item(0, "a")]


def test_when_it_was_done_is_kept() -> None:
    [item] = goals(opml('<outline text="a" _status="checked" completed="2026-01-01T10:00:00Z"/>'))

    assert (item.done, item.end) == (True, at("2026-01-01 10:00"))


@pytest.mark.parametrize("due", ["due", "DUE", "dueDate", "due_date", "_due"])
@pytest.mark.parametrize("start", ["start", "startDate", "start_date", "_start"])
def test_times_have_many_names(due: str, start: str) -> None:
    [item] = goals(opml(f'<outline text="a" {due}="2026-02-01" {start}="2026-01-01"/>'))

    assert (item.start, item.due) == (at("2026-01-01"), at("2026-02-01 23:59:59"))


@pytest.mark.parametrize(
    ("outline", "name", "note"),
    [
        ('<outline title="a"/>', "a", None),
        ('<outline text=" " title="a"/>', "a", None),
        ('<outline text="a" title="b"/>', "a", None),
        ('<OUTLINE TEXT="a"/>', "a", None),
        ('<outline text="a" _note="n"/>', "a", "n"),
        ('<outline text="a" note="n"/>', "a", "n"),
        ('<outline text="a" note="n" description="d" comment="c"/>', "a", "n\nd\nc"),
        ('<outline text="a"><note>n</note></outline>', "a", "n"),
        ('<outline text="a"><note><p>n &amp; <i>m</i></p></note></outline>', "a", "n & m"),
        ('<outline text="a" type="link" url="http://x.example"/>', "a", "http://x.example"),
        ('<outline text="a" _note=""/>', "a", ""),
        ('<outline text="a&nbsp;&eacute;&NotEqualTilde;"/>', "a\u00a0é≂̸", None),
        ('<outline text="Roof&#10;&#10;"/>', "Roof", None),
        ('<outline text="a"><note><![CDATA[caf&eacute; <br> b]]></note></outline>', "a", "café \n b"),
    ],
)
def test_names_and_notes_stand_in_many_places(outline: str, name: str, note: str | None) -> None:
    assert goals(opml(outline)) == [Item(0, name, note)]


def test_a_note_belongs_to_what_it_is_in() -> None:
    text = opml('<outline text="a"><outline text="b"><note>of b</note></outline><note>of a</note></outline>')

    assert goals(text) == [Item(0, "a", "of a"), Item(1, "b", "of b")]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("&lt;b&gt;bold&lt;/b&gt; &amp;amp; more", "bold & more"),
        ("&lt;a href=&quot;http://x.example&quot;&gt;here&lt;/a&gt;", "here (http://x.example)"),
        ("&lt;a href='http://x.example'&gt;http://x.example&lt;/a&gt;", "http://x.example"),
        ("&lt;span class='x'&gt;red&lt;/span&gt;", "red"),
        ("R&amp;amp;D", "R&D"),
        ("a &lt; b and c &gt; d", "a < b and c > d"),
        ("List&lt;String&gt;", "List<String>"),
        ("a &lt;b or c&gt;", "a <b or c>"),
        ("AT&amp;T", "AT&T"),
    ],
)
def test_workflowys_html_is_read_as_text_and_what_is_none_stays(text: str, plain: str) -> None:
    assert goals(opml(f'<outline text="{text}" _note="{text}"/>')) == [Item(0, plain, plain)]


def test_that_a_text_was_taken_as_html_is_said() -> None:
    assert notes(opml('<outline text="the &lt;p&gt; tag"/>')) == "took 1 text as HTML (line 1)"


def test_a_line_break_of_html_is_one() -> None:
    assert goals(opml('<outline text="a" _note="b&lt;br&gt;c"/>')) == [Item(0, "a", "b\nc")]


def test_mirrors_are_left_out_and_said() -> None:
    text = opml('<outline text="House"/>\n<outline text="" _mirror="61111c3a"/>')

    assert tree(text) == [(0, "House")]
    assert notes(text) == "left out 1 mirror (line 2)"


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "windows-1252", "utf8", "UTF-16", "Shift_JIS", "ISO-2022-JP"])
def test_the_encoding_that_is_declared_is_used(encoding: str) -> None:
    name = "Läufe" if encoding[:3] in ("ISO", "win", "utf", "UTF") and encoding[-2:] != "JP" else "走る"
    text = f'<?xml version="1.0" encoding="{encoding}"?>' + opml(f'<outline text="{name}"/>')

    assert names(text.encode(encoding)) == [name]


def test_what_can_be_nothing_but_utf_8_is_read_so_whatever_is_declared() -> None:
    text = '<?xml version="1.0" encoding="ISO-8859-1"?>' + opml('<outline text="Läufe"/>')

    assert names(text.encode()) == ["Läufe"]


@pytest.mark.parametrize("encoding", ["idna", "unicode_escape", "punycode", "rot13", "utf-7", "UTF-16"])
def test_what_cannot_be_the_encoding_of_its_own_declaration_is_none(encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?>' + opml('<outline text="\\u0041"/>')

    assert names(text) == ["\\u0041"]


def test_an_encoding_that_nobody_knows_is_refused() -> None:
    assert refusal('<?xml version="1.0" encoding="cp999"?><opml/>') == (
        "line 1: expected an encoding that is known; found cp999"
    )


def test_blank_lines_may_stand_before_the_declaration_and_count() -> None:
    assert names('\n\n<?xml version="1.0"?>' + opml('<outline text="a"/>')) == ["a"]
    assert refusal('\n\n<?xml version="1.0"?>\n<opml><body>\n<outline></body>').startswith("line 5: ")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("<opml>\n<outline text='a'/></opml>", 2),
        ("<opml><head>\n<outline text='a'/></head></opml>", 2),
        ("<opml><body>\n<body><outline text='a'/></body></body></opml>", 2),
        ("<opml><body><outline text='a'>\n<x><outline text='b'/></x></outline></body></opml>", 2),
        ("<opml><body><outline text='a'>\n<note><outline text='b'/></note></outline></body></opml>", 2),
        (opml("\n<outline text='a'></body>"), 2),
        (opml("\n<outline text='a' text='b'/>"), 2),
        (opml("\n<outline text='&a;'/>"), 2),
        (opml("\n<outline text='&#1;'/>"), 2),
        (opml("\n<outline text='R&D'/>"), 2),
        (opml("<outline text='a'/>") + "\n<opml/>", 2),
        ("<opml>\n<body>", 2),
    ],
)
def test_malformed_opml_is_refused_with_its_line(text: str, line: int) -> None:
    assert refusal(text, "opml").startswith(f"line {line}: expected ")


def test_another_document_said_to_be_opml_is_refused() -> None:
    assert refusal("<html/>", "opml") == "line 1: expected <opml>; found <html>"


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
    times = (at("2026-01-01"), at("2026-03-01 12:00"), at("2026-02-01"))
    items = [Item(0, "a < b & \"c\" 'd'", "1\n2\t3", True, *times), Item(1, "e"), Item(0, "<b>f</b>")]

    root = ElementTree.fromstring(write(items, "opml", "A & B"))  # noqa: S314

    assert (root.tag, root.attrib, root.findtext("head/title")) == ("opml", {"version": "2.0"}, "A & B")
    assert [outline.attrib for outline in root.iter("outline")] == [
        {
            "text": "a < b & \"c\" 'd'",
            "_note": "1\n2\t3",
            "_status": "checked",
            "start": "2026-01-01T00:00:00+00:00",
            "due": "2026-03-01T12:00:00+00:00",
            "completed": "2026-02-01T00:00:00+00:00",
        },
        {"text": "e"},
        {"text": "&lt;b&gt;f&lt;/b&gt;"},
    ]
    assert len(root.findall("body/outline")) == 2


def test_what_xml_cannot_hold_is_replaced() -> None:
    written = write([Item(0, "a\0b\x1bc\ufffe", "\ud800")], "opml", "\x01")

    assert goals(written) == [Item(0, "a\ufffdb\ufffdc\ufffd", "\ufffd")]
    assert b"<title>\xef\xbf\xbd</title>" in written
