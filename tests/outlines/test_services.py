"""What other programs export: Todoist, Taskwarrior, Google Tasks, Vikunja and calendars; and our own table."""

import json
from typing import Any

import pytest

from es_goals.outlines import Item, write
from tests.outlines.reading import at, goals, ics, notes, outline, refusal, tree

# Todoist.

HEADER = (
    "TYPE,CONTENT,DESCRIPTION,PRIORITY,INDENT,AUTHOR,RESPONSIBLE,DATE,DATE_LANG,TIMEZONE,DURATION,DURATION_UNIT,"
    "DEADLINE,DEADLINE_LANG\r\n"
)


def test_tasks_sections_and_comments_are_read_from_todoist() -> None:
    text = (
        f"\ufeff{HEADER}"
        "meta,view_style=list,,,,,,,,,,,,\r\n"
        "task,Inbox @home,,4,1,Ann (1),,,en,Europe/Berlin,,,,\r\n"
        ",,,,,,,,,,,,,\r\n"
        "section,Trip,,,,,,,,,,,,\r\n"
        'task,"Hotel, two rooms","by the ""sea""\r\nquiet",1,1,Ann (1),Bob (2),2026-02-01,en,,30,minute,,\r\n'
        "task,* Ask Ann,,4,2,Ann (1),,2026-01-15 18:00,en,Europe/Berlin,,None,,\r\n"
        "note,by phone,,,,Ann (1),,,,,,,,\r\n"
        "task,Water plants,,4,1,Ann (1),,every monday,en,,,,Oct 9 2026,en\r\n"
    )

    assert goals(text) == [
        Item(0, "Inbox @home"),
        Item(0, "Trip"),
        Item(1, "Hotel, two rooms", 'by the "sea"\r\nquiet', due=at("2026-02-01 23:59:59")),
        Item(2, "Ask Ann", "by phone", due=at("2026-01-15 17:00")),
        Item(1, "Water plants", "Date: every monday", due=at("2026-10-09 23:59:59")),
    ]
    assert notes(text) == (
        "left out 1 setting (line 2); left out 1 assignee (line 6); left out 1 duration (line 6); "
        "left out 1 priority (line 6); took 2 dates as the end of the day in UTC (lines 6, 10)"
    )
    assert [item.line for item in outline(text).items] == [3, 5, 6, 8, 10]


def test_of_two_dates_of_todoist_the_deadline_is_when_it_is_due() -> None:
    text = "TYPE,CONTENT,DATE,DEADLINE\ntask,a,2026-01-01,2026-02-01\n"

    assert goals(text) == [Item(0, "a", "Date: 2026-01-01", due=at("2026-02-01 23:59:59"))]


@pytest.mark.parametrize("line", ['task,"a', 'task,"a"b,c', f'task,"{"a" * 200_000}"'])
def test_a_damaged_table_is_refused_with_its_line(line: str) -> None:
    assert refusal(f"TYPE,CONTENT\ntask,a\n{line}\n").startswith("line 3: expected a row of a table; found ")


# Our own table.


def test_a_table_is_read_as_it_is_written() -> None:
    text = "depth;name;status;due\n0;a;done;\n1;b;;2026-02-01\n0;c\n"

    assert goals(text) == [Item(0, "a", done=True), Item(1, "b", due=at("2026-02-01 23:59:59")), Item(0, "c")]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("x,a,,,,,", "line 3: expected how deep a goal is, 0 at the top; found 'x'"),
        ("-1,a,,,,,", "line 3: expected how deep a goal is, 0 at the top; found '-1'"),
        (",a,,,,,", "line 3: expected how deep a goal is, 0 at the top; found ''"),
        ("0,a,,maybe,,,", "line 3: expected open or done as status; found 'maybe'"),
        ("0,a,,,soon,,", "line 3: expected an RFC 3339 time with an offset as start; found 'soon'"),
    ],
)
def test_what_is_wrong_in_a_table_is_refused_with_its_line(row: str, said: str) -> None:
    assert refusal(f"depth,name,description,status,start,due,end\n0,a,,,,,\n{row}\n") == said


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@a", "'=1", "''@a", "'a", "a=b"])
def test_a_spreadsheet_takes_no_name_for_a_formula(name: str) -> None:
    written = write([Item(0, name, f"{name}!")], "csv", "Goals")

    assert goals(written) == [Item(0, name, f"{name}!")]
    assert all(cell[:1] not in "=+-@" for line in written.decode().splitlines()[1:] for cell in line.split(",") if cell)


# Taskwarrior.


def task(uuid: str, **members: Any) -> dict[str, Any]:
    return {"uuid": uuid, "description": uuid.upper(), "status": "pending"} | members


def test_tasks_are_read_from_taskwarrior() -> None:
    tasks = [
        task("a", entry="20260101T120000Z", due="20260201T120000Z", annotations=[{"description": "n"}, {"entry": "x"}]),
        task("b", status="completed", entry="20260101T120000Z", end="20260102T120000Z", scheduled="20260101T130000Z"),
        task("c", status="deleted"),
        task("d", status="recurring", recur="weekly"),
        task("e", status="waiting", tags=["x"], priority="H"),
    ]
    expected = [
        Item(0, "A", "n", start=at("2026-01-01 12:00"), due=at("2026-02-01 12:00")),
        Item(0, "B", None, True, at("2026-01-01 13:00"), None, at("2026-01-02 12:00")),
        Item(0, "E"),
    ]

    assert goals(json.dumps(tasks)) == goals("\n".join(map(json.dumps, tasks))) == expected
    assert notes("\n".join(map(json.dumps, tasks))) == (
        "left out 1 tag (line 5); left out 1 priority (line 5); left out 1 deleted task (line 3); "
        "left out 1 recurring template (line 4)"
    )


def test_what_one_task_depends_on_is_below_it_and_the_rest_below_its_project() -> None:
    tasks = [
        task("a", project="Home.Garden"),
        task("b", project="Home", depends=["c", "d"]),
        task("c", project="Home"),
        task("d", depends="e,f"),
        task("e", project="Boat"),
        task("f"),
        task("g", depends=["f", "unknown"]),
    ]

    assert tree(json.dumps(tasks)) == [
        (0, "Home"),
        (1, "Garden"),
        (2, "A"),
        (1, "B"),
        (2, "C"),
        (2, "D"),
        (3, "E"),
        (0, "F"),
        (0, "G"),
    ]
    assert (
        notes("\n".join(map(json.dumps, tasks)))
        == "left out 2 dependencies (lines 7, 6); left out 2 projects (lines 4, 5)"
    )


def test_tasks_that_depend_on_each_other_are_all_there() -> None:
    tasks = [task("a", depends=["b"]), task("b", depends=["c"]), task("c", depends=["a"]), task("d", depends=["d"])]

    assert tree(json.dumps(tasks)) == [(0, "A"), (1, "B"), (2, "C"), (0, "D")]


def test_what_is_wrong_in_taskwarriors_lines_is_refused_with_its_line() -> None:
    assert refusal(f"{json.dumps(task('a'))}\n\n{{").startswith("line 3, column 2: expected JSON; ")
    assert refusal(f"{json.dumps(task('a'))}\n{json.dumps(task('b', due=3))}") == (
        "line 2: expected `str | null` as due; found `int`"
    )


# Google Tasks.


def test_lists_and_tasks_are_read_from_google_tasks() -> None:
    text = """{"kind": "tasks#taskLists", "items": [
      {"kind": "tasks#tasks", "title": "My Tasks", "items": [
        {"id": "c", "parent": "p", "title": "Hotel", "status": "completed", "completed": "2026-01-02T00:00:00Z"},
        {"id": "p", "title": "Trip", "status": "needsAction", "due": "2026-02-01T00:00:00Z", "notes": "n",
         "links": [{"description": "mail", "link": "http://x.example"}], "created": "2026-01-01T00:00:00Z"},
        {"id": "q", "title": "", "status": "needsAction"},
        {"id": "r", "title": "Old", "status": "needsAction", "deleted": true}]},
      {"title": "Empty"}]}"""

    assert goals(text) == [
        Item(0, "My Tasks"),
        Item(1, "Trip", "n\nmail http://x.example", start=at("2026-01-01"), due=at("2026-02-01 23:59:59")),
        Item(2, "Hotel", None, True, at("2026-01-02"), None, at("2026-01-02")),
        Item(0, "Empty"),
    ]
    assert "left out 1 blank row; left out 1 deleted task (line 7)" in notes(text)


def test_one_list_of_google_tasks_is_read_too() -> None:
    text = '{"kind": "tasks#tasks", "items": [{"id": "a", "title": "a"}, {"id": "b", "parent": "a", "title": "b"}]}'

    assert tree(text) == [(0, "a"), (1, "b")]


# Vikunja.


def test_projects_and_tasks_are_read_from_vikunja() -> None:
    never = "0001-01-01T00:00:00Z"
    related = {"subtask": [{"id": 2, "title": "Compare"}, {"id": 3, "title": "Book"}], "blocking": [{"id": 4}]}
    text = json.dumps(
        [
            {"id": 7, "title": "Hotels", "parent_project_id": 8, "tasks": [
                {"id": 1, "title": "Hotel", "description": "<p>by the sea</p>", "due_date": "2026-02-01T12:00:00+02:00",
                 "start_date": never, "done_at": never, "created": "2026-01-01T00:00:00Z", "related_tasks": related,
                 "labels": [{"title": "x"}], "comments": [{"comment": "<b>ask</b>"}]},
                {"id": 2, "title": "Compare", "done": True, "done_at": "2026-01-02T00:00:00Z"}]},
            {"id": 8, "title": "Trip", "description": "", "tasks": None},
            {"id": -1, "title": "Favorites", "tasks": [{"id": 1, "title": "Hotel"}]},
        ]
    )  # fmt: skip

    assert goals(text) == [
        Item(0, "Trip"),
        Item(1, "Hotels"),
        Item(2, "Hotel", "by the sea\n\nask", start=at("2026-01-01"), due=at("2026-02-01 10:00")),
        Item(3, "Compare", None, True, at("2026-01-02"), None, at("2026-01-02")),
        Item(3, "Book"),
    ]
    assert "left out 1 filter" in notes(text)
    assert "left out 1 tag" in notes(text)
    assert "left out 1 relation" in notes(text)


# Calendars.


def test_tasks_are_read_from_a_calendar() -> None:
    text = ics(
        "UID:c|SUMMARY:Compare\\, then\\nbook|RELATED-TO:p|STATUS:COMPLETED|COMPLETED:20260102T000000Z",
        "UID:p|SUMMARY:Trip|DESCRIPTION:by\\n train\\; se|\tcond class|DUE;VALUE=DATE:20260201|LOCATION:Rome|"
        "CREATED:20260101T000000Z",
        "UID:q|SUMMARY;LANGUAGE=en:House|DTSTART;TZID=Europe/Berlin:20260301T120000|DUE:20260401T120000",
        "UID:r|SUMMARY:Roof|RELATED-TO;RELTYPE=PARENT:q|PERCENT-COMPLETE:100",
        "SUMMARY:Wall|RELATED-TO;RELTYPE=CHILD:r|STATUS:CANCELLED",
        "SUMMARY:Door|RELATED-TO:unknown|DUE;TZID=Somewhere:20260401T120000",
    )

    assert goals(text) == [
        Item(
            0, "Trip", "by\n train; second class\nLocation: Rome", start=at("2026-01-01"), due=at("2026-02-01 23:59:59")
        ),
        Item(1, "Compare, then", "book", True, at("2026-01-02"), None, at("2026-01-02")),
        Item(0, "House", start=at("2026-03-01 11:00"), due=at("2026-04-01 12:00")),
        Item(1, "Roof", done=True),
        Item(0, "Wall", done=True),
        Item(0, "Door", due=at("2026-04-01 12:00")),
    ]


def test_what_else_is_in_a_calendar_is_left_out_and_said() -> None:
    text = (
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:Party\nEND:VEVENT\nBEGIN:VTODO\nSUMMARY:a\nno property\nPRIORITY:1\n"
        "PRIORITY:0\nRRULE:FREQ=DAILY\nCATEGORIES:x,y\nRELATED-TO;RELTYPE=SIBLING:b\nBEGIN:VALARM\nSUMMARY:wake\n"
        "END:VALARM\nEND:VTODO\nEND:VCALENDAR\n"
    )

    assert goals(text) == [Item(0, "a")]
    assert notes(text).split("; ") == [
        "left out 1 event (line 2)",
        "left out 1 unreadable line (line 7)",
        "left out 1 priority (line 8)",
        "left out 1 repetition (line 10)",
        "left out 1 tag (line 11)",
        "left out 1 relation (line 12)",
        "left out 1 alarm (line 13)",
    ]


def test_of_two_parents_the_first_one_counts_and_that_is_said() -> None:
    text = ics("UID:a|SUMMARY:a", "UID:b|SUMMARY:b", "SUMMARY:c|RELATED-TO:a|RELATED-TO:b")

    assert tree(text) == [(0, "a"), (1, "c"), (0, "b")]
    assert notes(text) == "left out 1 relation (line 14)"


def test_the_time_zones_of_windows_are_known() -> None:
    assert goals(ics("SUMMARY:a|DUE;TZID=W. Europe Standard Time:20260301T120000")) == [
        Item(0, "a", due=at("2026-03-01 11:00"))
    ]


@pytest.mark.parametrize(
    "zone", ["../../etc/passwd", "/etc/passwd", "Europe", "a" * 5_000, "[1/2]" * 5_000, "a/" * 5_000]
)
def test_a_time_zone_is_no_path(zone: str) -> None:
    assert goals(ics(f"SUMMARY:a|DUE;TZID={zone}:20260301T120000")) == [Item(0, "a", due=at("2026-03-01 12:00"))]


def test_tasks_are_written_as_calendars_read_them() -> None:
    items = [
        Item(0, "Trip; soon", "by train,\nsecond", start=at("2026-01-01"), due=at("2026-02-01"), id="id-1",
             updated_at=at("2026-01-05")),
        Item(1, "Tickets " + "x" * 100, None, True, at("2026-01-01"), None, at("2026-01-02"), id="id-2"),
    ]  # fmt: skip

    assert write(items, "ics", "alice's goals").decode().split("\r\n") == [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Over Achiever//Goals//EN",
        "X-WR-CALNAME:alice's goals",
        "BEGIN:VTODO",
        "UID:id-1",
        "DTSTAMP:20260105T000000Z",
        "SUMMARY:Trip\\; soon",
        "DESCRIPTION:by train\\,\\nsecond",
        "DTSTART:20260101T000000Z",
        "DUE:20260201T000000Z",
        "STATUS:NEEDS-ACTION",
        "END:VTODO",
        "BEGIN:VTODO",
        "UID:id-2",
        "DTSTAMP:20260101T000000Z",
        "SUMMARY:Tickets xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        " xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "RELATED-TO:id-1",
        "DTSTART:20260101T000000Z",
        "COMPLETED:20260102T000000Z",
        "STATUS:COMPLETED",
        "END:VTODO",
        "END:VCALENDAR",
        "",
    ]
