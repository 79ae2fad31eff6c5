"""What a file is taken for, and what is said of one that is none of ours."""

import zipfile
from contextlib import suppress
from io import BytesIO
from itertools import pairwise
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_goals.outlines import FORMATS, WRITTEN, BadOutline, read, recognise, summary
from tests.outlines.reading import ics, names, opml, refusal
from tests.support.engines import ROOT

TODOIST = "TYPE,CONTENT,DESCRIPTION,PRIORITY,INDENT\ntask,a,,4,1\n"
TASK = '{"uuid": "1", "description": "a", "status": "pending"}'
FILES = [
    ("json", '{"goals": [{"name": "a"}]}'),
    ("json", '\n [{"sub_goals": [], "name": "a"}]'),
    ("json", '{"name": "a"}'),
    ("json", '{"user": "alice", "version": 1, "position": 1, "goals": []}'),
    ("opml", opml("")),
    ("opml", "<OPML/>"),
    ("opml", "\n\n<?xml version='1.0'?>\n<!-- by - hand --><!----><opml/>"),
    ("opml", "<!DOCTYPE opml SYSTEM 'opml.dtd'><opml/>"),
    ("markdown", "- a\n- b"),
    ("markdown", "# a\nb"),
    ("markdown", "• a"),
    ("markdown", "[ ] a\n[x] b"),
    ("markdown", "a\n\n1. b"),
    ("markdown", "# Plan\n\nLater:\n\t- a @due(2026-01-01)"),
    ("markdown", "- [ ] a @done"),
    ("markdown", "- a due:2026-01-01"),
    ("markdown", "[docs](http://x.example)\n- a"),
    ("markdown", "<!-- written by hand -->\n- a"),
    ("markdown", "* a\n* b"),
    ("text", "a\n\tb\n"),
    ("text", "Buy milk, eggs, bread\nCall Ann"),
    ("text", "Ask for name, phone, mail\n"),
    ("text", ""),
    ("csv", "depth,name\n0,a\n"),
    ("csv", '"depth";"name";"description"\n0;a;\n'),
    ("todoist", TODOIST),
    ("todoist", "type;content;date\ntask;a;\n"),
    ("ics", ics("SUMMARY:a")),
    ("ics", "begin:vcalendar\nend:vcalendar"),
    ("org", "* TODO a\n"),
    ("org", "* a\n** b\n"),
    ("org", "#+TITLE: a\n* b\n"),
    ("taskpaper", "House:\n\t- Roof\n"),
    ("taskpaper", "- Roof @due(2026-01-01)\n- Wall"),
    ("taskpaper", "- Roof @done\n"),
    ("todotxt", "(A) Roof +House\nWall\n"),
    ("todotxt", "Wall\nx 2026-01-01 Roof\n"),
    ("todotxt", "Roof due:2026-01-01\n"),
    ("taskwarrior", f"[\n{TASK}\n]"),
    ("taskwarrior", f"{TASK}\n{TASK}\n"),
    ("googletasks", '{"kind": "tasks#taskLists", "items": []}'),
    ("vikunja", '[{"id": 1, "title": "a", "description": "", "tasks": null}]'),
]


@pytest.mark.parametrize(("format", "text"), FILES)
def test_a_file_is_recognised_by_what_it_begins_with(format: str, text: str) -> None:
    assert recognise(text.encode()) == format
    assert recognise(text.encode("utf-8-sig")) == format
    assert recognise(text.encode("utf-16")) == format
    assert recognise(text.replace("\n", "\r\n").encode()) == format


def test_every_format_is_recognised() -> None:
    assert {format for format, _ in FILES} == set(FORMATS)


def archive() -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        written.writestr("data.json", "[]")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "looks"),
    [
        pytest.param(b"%PDF-1.7\n%\xe2\xe3", "a PDF", id="PDF"),
        pytest.param(archive(), "a ZIP archive or office document; unpack it and import the file in it", id="ZIP"),
        pytest.param(b"\x1f\x8b\x08\0", "a gzip archive", id="gzip"),
        pytest.param(b"\x89PNG\r\n\x1a\n", "a PNG image", id="PNG"),
        pytest.param(b"SQLite format 3\0", "a SQLite database", id="SQLite"),
        pytest.param(b"{\\rtf1 a}", "an RTF document", id="RTF"),
        pytest.param(b"a\nb\0c", "no text: line 2 has a NUL", id="NUL"),
        pytest.param(b"<!DOCTYPE html>\n<ul><li>a</ul>", "a web page (HTML)", id="HTML by its type"),
        pytest.param(b"<html></html>", "a web page (HTML)", id="HTML"),
        pytest.param(b"<?xml version='1.0'?><rss/>", "XML other than OPML, with <rss>", id="other XML"),
        pytest.param(b"BEGIN:VCARD\nEND:VCARD\n", "contacts (vCard)", id="vCard"),
        pytest.param(b'{"lists": [], "cards": []}', "JSON of another program, with cards, lists", id="other JSON"),
        pytest.param(
            b'{"title": "goals", "x": {"name": "a"}}', "JSON of another program", id="JSON with a name inside"
        ),
        pytest.param(b'{"position":1,"user":"a","type":"GoalCreated","data":{}}', "events", id="an export of events"),
        pytest.param(
            b"Task,Notes,Due Date\na,b,c\n", "a table of another program, with the columns due", id="other CSV"
        ),
        pytest.param(b"Title\tStatus\tPriority\na\tb\tc\n", "a table of another program", id="a table with tabs"),
    ],
)
def test_what_is_none_of_the_formats_is_refused_by_name(data: bytes, looks: str) -> None:
    assert refusal(data).startswith(f"this looks like {looks}")
    assert "; import takes JSON, OPML, Markdown" in refusal(data)
    with pytest.raises(BadOutline):
        recognise(data)


def test_what_it_is_can_be_said() -> None:
    assert names("* a\n* b") == names("* a\n* b", "org")
    assert names("- a\n> b", "markdown") == ["a"]
    assert names("- a\n> b", "todotxt") == ["- a", "> b"]
    assert summary(read(b"* TODO a", "markdown")) == "read as Markdown: imported 1 goal"
    assert names("* TODO a", "markdown") == ["TODO a"]


@pytest.mark.parametrize("format", sorted(set(FORMATS) - {"markdown", "text", "org", "taskpaper", "todotxt"}))
def test_what_it_is_said_to_be_and_is_not_is_refused(format: str) -> None:
    with pytest.raises(BadOutline):
        read(b"- a\n", format)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("text", ["Größe\n\tWeite", '[{"name": "Größe", "sub_goals": [{"name": "Weite"}]}]'])
def test_other_encodings_of_unicode_are_told_by_the_byte_order_mark(text: str, encoding: str) -> None:
    data = (
        text.encode(encoding) if "-le" not in encoding and "-be" not in encoding else f"\ufeff{text}".encode(encoding)
    )

    assert names(data) == ["Größe", "Weite"]


@pytest.mark.parametrize("text", ["- a\n- Größe", '[{"name": "a"},\n{"name": "Größe"}]'])
def test_what_is_in_no_known_encoding_is_refused_with_the_line(text: str) -> None:
    assert refusal(text.encode("latin-1")).startswith("line 2: expected UTF-8; found otherwise: ")
    assert refusal(b"\xff\xfe" + text.encode("utf-16-le") + b"\n\0\0\xd8").startswith("line 3: expected UTF-16-LE; ")


def test_a_lone_surrogate_is_no_UTF_8() -> None:
    assert refusal(b"a\n- \xed\xa0\x80\n").startswith("line 2: expected UTF-8; ")


def test_a_MiB_of_brackets_is_refused() -> None:
    for text in ("[", "{", '{"goals":[', "]"):
        assert "line 1" in refusal(text * (2**20 // len(text)), "json")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "piece",
    ["[", ":a", "a:", "<", "@a(", "- ", "\t", " ", "* ", "```\n", "&", '"', "'", "a=b;", "\n", "[1/", ":A:\n", "1."],
)
def test_a_long_line_of_marks_takes_time_as_its_length_does(format: str, piece: str) -> None:
    heads = {"org": "* ", "opml": "<opml><body><outline text='", "json": '[{"name":"', "ics": "BEGIN:VTODO\nSUMMARY:"}
    data = heads.get(format, "") + piece * (100_000 // len(piece))
    began = process_time()

    with suppress(BadOutline):
        read(data.encode(), format)

    assert process_time() - began < 3


PIECES = [
    "a", " ", "\t", "\n", "\r", "- ", "* ", "** ", "# ", "1. ", "> ", "```", "---", "[x] ", "[-] ", "☐", "|", ":",
    ":END:", "TODO ", "#+TODO:", "DEADLINE: <2026-01-01>", "@done(", ")", "x ", "(A) ", "due:2026-01-01", "{", "}",
    "[", "]", '"', ",", "name", "title", '"name":"a"', '"goals":', '"uuid":"1"', '"status":"pending"',
    '"description":"b"', '"items":', '"kind":"tasks#tasks"', '"tasks":', '"depends":["1"]', '"sub_goals":', "null",
    "1", "<outline text='a'>", "</outline>", "<opml><body>", "</body></opml>", "<note>", "</note>", "&", "<",
    "BEGIN:VTODO\n", "END:VTODO\n", "SUMMARY:", "UID:1\n", "RELATED-TO:1\n", "DUE;TZID=", "RELATED-TO;RELTYPE=CHILD:",
    "TYPE,CONTENT,INDENT,DATE\n", "task,a,", "note,", "depth,name,due\n", "0,", "2026-01-01", "\x00", "\ud800",
    "\u202e", "\u2028", "\ufeff",
]  # fmt: skip


@given(st.none() | st.sampled_from([*FORMATS]), st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_whatever_is_read_is_an_outline_or_refused(format: str | None, text: str) -> None:
    try:
        items = read(text.encode(errors="surrogatepass"), format).items
    except BadOutline:
        return

    assert items[0].depth == 0
    assert all(0 <= below.depth <= above.depth + 1 for above, below in pairwise(items))
    assert all(item.name.strip() for item in items)


@given(st.none() | st.sampled_from([*FORMATS]), st.binary(max_size=60))
def test_so_are_any_bytes(format: str | None, data: bytes) -> None:
    with suppress(BadOutline):
        read(data, format)


def test_every_format_is_documented() -> None:
    page = (ROOT / "docs" / "formats.md").read_text("utf-8")

    assert all(f"`{format}`" in page for format in (*FORMATS, *WRITTEN))


def test_every_format_has_a_label_and_a_media_type() -> None:
    assert all(format.label and "/" in format.media_type for format in FORMATS.values())
