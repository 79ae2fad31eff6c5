"""The command line: goals in and out, and what holds for every command."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import apsw
import pytest
from click.testing import Result

from es_goals import __version__
from es_goals.cli import main
from es_goals.events import (
    TYPES,
    Event,
    GoalCompleted,
    GoalDeleted,
    GoalDescribed,
    GoalMoved,
    GoalRenamed,
    GoalReopened,
    GoalRestored,
    GoalScheduled,
    Instant,
    UserRegistered,
)
from es_goals.outlines import WRITTEN
from es_goals.storage.log import Cause
from es_goals.upkeep.verification import lines
from tests.support.commands import (
    DRAWN,
    OUTLINE,
    add_user,
    cli,
    done,
    head,
    make,
    misused,
    opened,
    outline,
    process,
    refused,
    sentence,
    spoil,
)
from tests.support.engines import HandClock
from tests.support.histories import ACCOUNT, START, created, many, record

pytestmark = pytest.mark.usefixtures("at_home")

CONTRACT = {
    "serve": {"--host", "--port", "--workers", "--open"},
    "import": {"--user", "--format", "--strict", "--dry-run"},
    "export": {"--user", "--format"},
    "tree": {"--as-of", "--find"},
    "blame": {"--as-of", "--below", "--json"},
    "diff": {"--from", "--to", "--goal", "--json"},
    "undo": {"--position", "--command", "--last", "--with-later", "--dry-run", "--reason"},
    "replay": {"--user", "--goal", "--type", "--after", "--until", "--json"},
    "rebuild": {"--user"},
    "rollback": set[str](),
    "verify": {"--expect", "--checkpoint", "--key"},
    "checkpoint": {"--accept-rollback", "--reason"},
    "evidence": set[str](),
    "check": {"--key"},
    "key": set[str](),
    "backup": set[str](),
    "restore": {"--keep-tokens"},
    "migrate": {"--service"},
    "copy": {"--from", "--to"},
    "user": set[str](),
    "token": {"--scope", "--expires", "--for", "--revoke"},
}
"""The commands and options that are promised; `user` and `key` have commands of their own."""
WITHOUT_A_LOG = ("user", "key", "check")

KINDS = ("json", *WRITTEN)
SECOND = 1_000_000
DEEP = 5_000


def test_commands_and_options_are_those_of_the_contract() -> None:
    found = {
        name: {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        for name, command in main.commands.items()
    }

    assert found == {
        name: options | ({"--db"} if name not in WITHOUT_A_LOG else set()) for name, options in CONTRACT.items()
    }


def test_a_log_can_be_named_before_the_command_and_behind_it(tmp_path: Path) -> None:
    db, other = str(tmp_path / "named.db"), str(tmp_path / "other.db")
    done(cli("user", "add", "zoe", "--db", db))
    done(cli("--db", other, "user", "add", "adam"))

    assert done(cli("tree", "zoe", "--db", db)) == done(cli("--db", db, "tree", "zoe"))
    assert done(cli("--db", db, "tree", "adam", "--db", other)).startswith("adam")
    assert refused(cli("tree", "adam", "--db", db)) == "expected a user's name or id; found 'adam'"


@pytest.mark.parametrize("command", sorted(CONTRACT))
def test_each_command_tells_what_it_and_its_options_are_for(command: str) -> None:
    text = done(cli(command, "--help"))

    assert (main.commands[command].help or "").partition(".")[0] in " ".join(text.split())
    assert all(re.search(rf"{option}\b.*\w", text) for option in CONTRACT[command])


def test_the_command_line_is_installed_as_es_goals() -> None:
    [script] = entry_points(group="console_scripts", name="es-goals")

    assert script.load() is main


def test_the_version_is_told() -> None:
    assert __version__ in done(cli("--version"))


def test_without_a_command_it_shows_them_all() -> None:
    result = cli()

    assert result.exit_code == 2
    assert all(f"  {name} " in result.stderr for name in CONTRACT)


@pytest.mark.parametrize(
    "arguments",
    [
        ["unknown"],
        ["--unknown"],
        ["tree"],
        ["tree", "alice", "bob"],
        ["tree", "alice", "--unknown"],
        ["import", "--user", "alice"],
        ["import", "goals.json"],
        ["import", "missing.json", "--user", "alice"],
        ["import", ".", "--user", "alice"],
        ["export", "--user", "alice", "--format", "yaml"],
        ["export"],
        ["export", "--format", "opml"],
        ["replay", "--after", "-1"],
        ["replay", "--after", "now"],
        ["replay", "--until", "yesterday"],
        ["rollback"],
        ["backup"],
        ["restore"],
        ["serve", "--port", "65536"],
        ["serve", "--port", "http"],
        ["serve", "--workers", "0"],
        ["serve", "--workers", "65"],
        ["verify", "--expect", "7"],
        ["verify", "--expect", f"x:{'0' * 64}"],
        ["verify", "--expect", f"7:{'0' * 63}"],
        ["verify", "--expect", f"7:{'G' * 64}"],
        ["tree", "alice", "--as-of", "2026-11-23"],
        ["tree", "alice", "--as-of", "2026-11-23T08:00:00"],
        ["tree", "alice", "--as-of", "-1"],
        ["migrate", "--service", "goals"],
        ["copy", "--from", "events.db"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_status_2_and_changes_nothing(arguments: list[str]) -> None:
    make(created("a"))
    before = head()

    misused(cli(*arguments))
    assert head() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["tree", "alice"],
        ["export", "--user", "alice"],
        ["export", "--format", "ndjson"],
        ["replay"],
        ["rebuild"],
        ["rollback", "goal_tree"],
        ["verify"],
        ["backup", "copy"],
    ],
    ids=" ".join,
)
def test_a_log_that_is_missing_is_named_and_not_made(tmp_path: Path, arguments: list[str]) -> None:
    assert "elsewhere.db" in refused(cli("--db", "elsewhere.db", *arguments))
    assert list(tmp_path.iterdir()) == []


def test_the_option_beats_the_variable_and_the_variable_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for place, name in (("events.db", "default"), ("variable.db", "variable"), ("option.db", "option")):
        make(created("a", name=f"of the {name}"), path=place)

    assert "of the default" in done(cli("tree", "alice"))
    monkeypatch.setenv("ES_GOALS_DB", "variable.db")
    assert "of the variable" in done(cli("tree", "alice"))
    assert "of the option" in done(cli("--db", "option.db", "tree", "alice"))


def test_the_read_models_lie_beside_the_log(tmp_path: Path) -> None:
    make(created("a"), path="other.db")
    done(cli("--db", "other.db", "tree", "alice"))

    assert {path.name for path in tmp_path.glob("*.db")} == {"other.db", "other-projections.db"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(b"not a database at all, only a text", "not a database", id="a text"),
        pytest.param(bytes(range(256)) * 40, "not a database", id="rubbish"),
    ],
)
def test_a_file_that_is_no_database_is_refused(content: bytes, told: str) -> None:
    Path("events.db").write_bytes(content)

    for command in (["tree", "alice"], ["verify"], ["replay"], ["import", outline(), "--user", "alice"]):
        assert told in refused(cli(*command))
    assert Path("events.db").read_bytes() == content


def test_a_database_of_something_else_is_refused() -> None:
    with closing(apsw.Connection("events.db")) as connection:
        connection.execute("CREATE TABLE cats (name)")

    assert "found a database of something else" in refused(cli("import", outline(), "--user", "alice"))


def test_a_log_of_a_newer_schema_is_refused() -> None:
    make(created("a"))
    spoil("UPDATE log SET schema = 99")

    assert "99: upgrade the service" in refused(cli("tree", "alice"))


@pytest.mark.parametrize(
    ("variable", "value"), [("ES_GOALS_WORKER", "3"), ("ES_GOALS_WORKERS", "many"), ("ES_GOALS_DB", "")]
)
def test_a_setting_that_is_wrong_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    make(created("a"))
    monkeypatch.setenv(variable, value)

    assert "xpected" in refused(cli("tree", "alice"))


def test_as_a_process_it_answers_by_its_exit_status_and_tells_errors_apart() -> None:
    make(created("a", name="Run"))

    good, missing, misused = (process("tree", name) for name in ("alice", "bob", "--bob"))

    assert (good.returncode, good.stdout, good.stderr) == (0, "alice\n└── · Run\n", "")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert sentence(missing.stderr) == "expected a user's name or id; found 'bob'"
    assert (misused.returncode, misused.stdout) == (2, "")
    assert "Traceback" not in misused.stderr


@pytest.mark.parametrize("position", ["9223372036854775808", "9" * 5_000], ids=["too large", "with 5,000 digits"])
@pytest.mark.parametrize(
    "arguments", [["replay", "--after"], ["replay", "--until"], ["tree", "alice", "--as-of"]], ids=" ".join
)
def test_a_position_that_no_log_can_have_is_wrong_usage(arguments: list[str], position: str) -> None:
    make(created("a"))

    assert position[:90] in misused(cli(*arguments, position))


@pytest.mark.parametrize("position", ["3", "9223372036854775807"])
@pytest.mark.parametrize(
    "arguments", [["replay", "--after"], ["replay", "--until"], ["tree", "alice", "--as-of"]], ids=" ".join
)
def test_a_position_beyond_the_logs_end_is_wrong_usage(arguments: list[str], position: str) -> None:
    make(created("a"))

    assert f"expected a position up to the head, 2; found {position}" in misused(cli(*arguments, position))
    assert cli(*arguments, "2").exit_code == 0


def test_whoever_stops_reading_is_told_nothing() -> None:
    make(*many(3_000))

    result = subprocess.run(  # noqa: S602
        f"{sys.executable} -m es_goals replay --json | head -n 1",
        shell=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert json.loads(result.stdout)["position"] == 1
    assert result.stderr == ""


def test_nested_JSON_becomes_goals() -> None:
    assert done(cli("import", outline(), "--user", "alice")) == "read as JSON: imported 5 goals for alice\n"
    assert done(cli("tree", "alice")) == DRAWN


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param(
            "goals.txt",
            "Run a marathon\n  - [x] Run 10 km\n  - Run 21 km\n      - Buy shoes\nRead <&\"'> „Ulysses“ 📚\n",
            id="a bulleted outline",
        ),
        pytest.param(
            "goals.txt",
            "Run a marathon\n\t[x] Run 10 km\n\tRun 21 km\n\t\tBuy shoes\nRead <&\"'> „Ulysses“ 📚\n".replace(
                "[x]", "* [x]"
            ),
            id="an indented outline",
        ),
        pytest.param(
            "goals.opml",
            '<opml version="2.0"><body><outline text="Run a marathon">'
            '<outline text="Run 10 km" _status="checked"/>'
            '<outline text="Run 21 km"><outline text="Buy shoes"/></outline></outline>'
            '<outline text="Read &lt;&amp;&quot;\'&gt; „Ulysses“ 📚"/></body></opml>',
            id="OPML",
        ),
    ],
)
def test_other_outlines_become_the_same(name: str, text: str) -> None:
    Path(name).write_text(text, "utf-8")

    assert "imported 5 goals for alice\n" in done(cli("import", name, "--user", "alice"))
    assert done(cli("tree", "alice")) == DRAWN


def test_a_dash_is_standard_input() -> None:
    assert "imported 5" in done(cli("import", "-", "--user", "alice", stdin=json.dumps(OUTLINE)))
    assert done(cli("tree", "alice")) == DRAWN


def test_as_a_process_it_reads_standard_input_and_makes_the_log() -> None:
    result = process("import", "-", "--user", "alice", stdin=json.dumps(OUTLINE), ES_GOALS_DB="new.db")

    said = "read as JSON: imported 5 goals for alice\n"
    assert (result.returncode, result.stdout, result.stderr) == (0, said, "")
    assert Path("new.db").exists()


def test_an_import_makes_the_user_and_says_that_the_command_line_did() -> None:
    done(cli("import", outline(), "--user", "  Alice "))

    with opened() as storage:
        recorded = list(lines(storage.log))
        user = storage.log.user_named("alice")
    assert user is not None
    assert user.name == "Alice"
    assert [line.type for line in recorded[:2]] == ["UserRegistered", "GoalCreated"]
    assert {line.actor for line in recorded} == {"cli"}
    assert {line.owner for line in recorded} == {user.id}
    assert len({line.command for line in recorded[1:]}) == 1


def test_a_user_who_is_there_gets_imported_goals_behind_their_own() -> None:
    make(created("a", name="First"))

    done(cli("import", outline(), "--user", "ALICE"))

    assert done(cli("tree", "alice")).startswith("alice\n├── · First\n├── · Run a marathon  1/2\n")
    with opened() as storage:
        assert [user.name for user in storage.log.users()] == ["alice"]


def test_an_import_keeps_descriptions() -> None:
    done(cli("import", outline(), "--user", "alice"))

    goals = json.loads(done(cli("export", "--user", "alice")))["goals"]
    assert [goal["description"] for goal in goals] == ["in Berlin,\nin the rain", None]


@pytest.mark.parametrize("known", [False, True], ids=["for a new user", "for a known one"])
def test_a_bad_file_is_refused_and_nothing_of_it_is_imported(known: bool) -> None:
    make(created("a"), user="alice" if known else "bob")
    before = head()
    rows = [{"name": f"goal {number}"} for number in range(20)]
    Path("bad.json").write_text(json.dumps({"goals": [*rows, {"name": "a", "colour": "red"}, *rows]}))

    refused(cli("import", "bad.json", "--user", "alice"))

    assert head() == before
    with opened() as storage:
        assert (storage.log.user_named("alice") is not None) == known


@pytest.mark.parametrize("known", [False, True], ids=["for a new user", "for a known one"])
@pytest.mark.parametrize("option", [[], ["--dry-run"]], ids=["imported", "tried"])
def test_the_goal_that_a_rule_refuses_is_named_and_nothing_is_imported(
    known: bool, option: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(user="alice" if known else "bob")
    before = head()
    monkeypatch.setenv("ES_GOALS_CHILDREN_LIMIT", "2")
    Path("many.md").write_text("# top\n- [x] a\n- b\n- c\n- d\n")

    assert refused(cli("import", "many.md", "--user", "alice", *option)) == (
        "goal 4, in line 4: expected at most 2 goals under one parent; found 3"
    )
    assert head() == before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(b'{"goals": [', "line 1, column 12: expected JSON", id="JSON that stops"),
        pytest.param(b'{"goals": {}}', "line 1: expected `array` as goals", id="JSON of another shape"),
        pytest.param(b"<opml><body>", "line 1: expected well-formed XML", id="OPML that stops"),
        pytest.param(b"%PDF-1.7", "this looks like a PDF; import takes JSON, OPML", id="a PDF"),
        pytest.param(b"a\xff", "line 1: expected UTF-8", id="no UTF-8"),
        pytest.param(b"- [ ]\n", "expected goals, reading it as markdown; found none", id="no goals"),
        pytest.param(b"", "expected goals, reading it as text; found none", id="nothing"),
    ],
)
@pytest.mark.parametrize("option", [[], ["--dry-run"], ["--strict"]], ids=["imported", "tried", "strictly"])
def test_what_is_no_outline_is_refused_before_the_log_is_made(
    text: bytes, told: str, option: list[str], tmp_path: Path
) -> None:
    assert told in refused(cli("import", "-", "--user", "alice", *option, stdin=text))
    assert list(tmp_path.iterdir()) == []


ODD = "- a\n-\n- b\tc\n- [x] d\n"
SAID = "goals for alice; left out 1 blank row; changed 1 name (line 3)"


def test_odd_rows_are_left_out_or_changed_and_that_is_said() -> None:
    assert done(cli("import", "-", "--user", "alice", stdin=ODD)) == f"read as Markdown: imported 3 {SAID}\n"
    assert done(cli("tree", "alice")) == "alice\n├── · a\n├── · b c\n└── ✔ d\n"


def test_strictly_they_are_refused(tmp_path: Path) -> None:
    assert refused(cli("import", "-", "--user", "alice", "--strict", stdin=ODD)) == (
        "expected a file that comes over as it is, by --strict; found: left out 1 blank row; changed 1 name (line 3)"
    )
    assert list(tmp_path.iterdir()) == []
    assert "imported 1 goal" in done(cli("import", "-", "--user", "alice", "--strict", stdin="- [x] a\n"))


def test_a_try_says_what_an_import_would_and_makes_no_log(tmp_path: Path) -> None:
    assert done(cli("import", "-", "--user", "alice", "--dry-run", stdin=ODD)) == (
        f"read as Markdown: would import 3 {SAID}\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_try_changes_no_log_that_is_there() -> None:
    make(created("a", name="b c"))
    before = head()

    assert done(cli("import", "-", "--user", "alice", "--dry-run", stdin=ODD)) == (
        f"read as Markdown: would import 3 {SAID}\ngoals of these names are there already: 'b c'\n"
    )
    assert "would import 3 goals for bob;" in done(cli("import", "-", "--user", "bob", "--dry-run", stdin=ODD))
    assert head() == before


def test_what_a_file_is_can_be_said() -> None:
    assert "read as Org: imported 1 goal" in done(
        cli("import", "-", "--user", "alice", "--format", "org", stdin="* a\n")
    )
    assert "column 1: expected JSON" in refused(
        cli("import", "-", "--user", "alice", "--format", "json", stdin="* a\n")
    )


def test_the_same_file_twice_is_imported_twice_and_that_is_said() -> None:
    done(cli("import", outline(), "--user", "alice"))

    assert done(cli("import", outline(), "--user", "alice")) == (
        "read as JSON: imported 5 goals for alice\n"
        "goals of these names are there already: 'Run a marathon', 'Read <&\"\\'> „Ulysses“ 📚'\n"
    )
    assert done(cli("tree", "alice")).count("Run a marathon") == 2


def test_of_goals_that_are_deleted_or_deeper_nothing_is_said() -> None:
    make(created("a", name="Run"), created("b", "a", name="Read"), created("c", name="Sleep"), GoalDeleted("c", "c"))

    assert "already" not in done(cli("import", "-", "--user", "alice", stdin="- Read\n- Sleep\n"))


def test_times_are_imported() -> None:
    goal = {"name": "a", "start": "2026-01-01T00:00:00Z", "due": "2026-03-01T12:00:00+02:00"}
    goal |= {"end": "2026-02-01T00:00:00Z"}

    done(cli("import", "-", "--user", "alice", stdin=json.dumps([goal, {"name": "b", "end": "2020-01-01T00:00:00Z"}])))

    [first, second] = json.loads(done(cli("export", "--user", "alice")))["goals"]
    assert (first["start"], first["due"], first["end"]) == (
        "2026-01-01T00:00:00Z",
        "2026-03-01T10:00:00Z",
        "2026-02-01T00:00:00Z",
    )
    assert (second["start"], second["end"]) == ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z")


@pytest.mark.parametrize("name", ["", "a/b", "..", "x" * 65, "a\nb"])
def test_a_name_that_no_user_may_have_is_refused(name: str) -> None:
    make(user="bob")
    before = head()

    refused(cli("import", outline(), "--user", name))
    assert head() == before


def test_a_folder_that_is_not_there_is_refused() -> None:
    assert "No such file or directory" in refused(cli("--db", "no/events.db", "import", outline(), "--user", "a"))


ALL = ("name", "description", "start", "due", "end", "status")
WITHOUT_TIMES = ("name", "description", "status")


def strip(goals: Sequence[dict[str, Any]], members: tuple[str, ...]) -> list[Any]:
    """What a format keeps of goals."""
    return [([goal[member] for member in members], strip(goal["sub_goals"], members)) for goal in goals]


@pytest.mark.parametrize(
    ("kind", "members"),
    [("json", ALL), ("opml", ALL), ("csv", ALL), ("ics", WITHOUT_TIMES), ("markdown", WITHOUT_TIMES)],
)
def test_what_is_exported_can_be_imported_and_is_the_same(kind: str, members: tuple[str, ...]) -> None:
    done(cli("import", outline(), "--user", "alice"))
    exported = done(cli("export", "--user", "alice", "--format", kind))

    done(cli("--db", "other.db", "import", "-", "--user", "alice", "--strict", stdin=exported))

    there, here = (json.loads(done(cli("--db", db, "export", "--user", "alice"))) for db in ("other.db", "events.db"))
    assert done(cli("--db", "other.db", "tree", "alice")) == DRAWN
    assert strip(there["goals"], members) == strip(here["goals"], members)


def test_an_export_is_JSON_by_default_and_is_the_tree_that_the_service_answers() -> None:
    make(created("a", name="Run"), created("b", "a", name="Shoes"))

    exported = done(cli("export", "--user", "ALICE"))
    tree = json.loads(exported)
    assert exported == done(cli("export", "--user", "id-of-alice", "--format", "json"))
    assert (tree["user"], tree["version"], tree["position"]) == ("alice", 2, 3)
    assert tree["goals"][0]["sub_goals"][0]["name"] == "Shoes"
    assert tree["goals"][0]["progress"] == {"completed": 0, "leaves": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_leaves_out_what_is_deleted(kind: str) -> None:
    make(created("a", name="Run"), created("b", name="Sleep", rank="V00001"), GoalDeleted("a", "a"))

    exported = done(cli("export", "--user", "alice", "--format", kind))
    assert "Sleep" in exported
    assert "Run" not in exported


@pytest.mark.parametrize("kind", KINDS)
def test_a_user_without_goals_has_an_empty_export_which_nobody_is_made_for(kind: str, tmp_path: Path) -> None:
    make()

    exported = done(cli("export", "--user", "alice", "--format", kind))
    assert "found none" in refused(cli("--db", "other.db", "import", "-", "--user", "bob", stdin=exported))
    assert not (tmp_path / "other.db").exists()


def test_NDJSON_is_the_whole_log() -> None:
    make(*many(1_500))
    with opened() as storage:
        record(storage.log, add_user(storage, "bob"), created("z"))

    exported = done(cli("export", "--format", "ndjson"))
    assert len(exported.splitlines()) == 1_503
    assert exported == done(cli("replay", "--json"))


def test_NDJSON_of_a_user_is_all_that_the_user_did() -> None:
    make(created("a"))
    with opened() as storage:
        record(storage.log, add_user(storage, "bob"), created("z"))

    exported = [json.loads(line) for line in done(cli("export", "--format", "ndjson", "--user", "bob")).splitlines()]
    assert [(line["position"], line["type"]) for line in exported] == [(3, "UserRegistered"), (4, "GoalCreated")]


def test_nobody_has_no_export() -> None:
    make()

    for kind in (*KINDS, "ndjson"):
        assert "'bob'" in refused(cli("export", "--user", "bob", "--format", kind))


@pytest.fixture
def history(at_home: None) -> None:
    """Alice's goals, an event a second; position 1 is her registration."""
    del at_home
    clock = HandClock()
    make(clock=clock)
    with opened(clock=clock) as storage:
        for event in (
            created("a", name="Run"),
            created("b", "a", name="Shoes"),
            GoalCompleted("b", START),
            created("c", name="Read", rank="V00001"),
            GoalMoved("b", "V00000", "c"),
            GoalDeleted("c", "c"),
            GoalDeleted("b", "c"),
        ):
            clock.now += SECOND
            record(storage.log, "id-of-alice", event)


DRAWN_NOW = "alice\n└── · Run\n"
DRAWN_AT = {
    0: "alice\n",
    1: "alice\n",
    2: "alice\n└── · Run\n",
    3: "alice\n└── · Run  0/1\n    └── · Shoes\n",
    4: "alice\n└── · Run  1/1\n    └── ✔ Shoes\n",
    5: "alice\n├── · Run  1/1\n│   └── ✔ Shoes\n└── · Read\n",
    6: "alice\n├── · Run\n└── · Read  1/1\n    └── ✔ Shoes\n",
    8: DRAWN_NOW,
}


@pytest.mark.usefixtures("history")
def test_a_tree_is_drawn_without_what_is_deleted() -> None:
    assert done(cli("tree", "alice")) == DRAWN_NOW


@pytest.mark.usefixtures("history")
def test_a_user_can_be_named_in_another_case_or_by_the_id() -> None:
    assert done(cli("tree", "ALICE")) == done(cli("tree", "id-of-alice")) == DRAWN_NOW


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("position", DRAWN_AT)
def test_a_tree_is_drawn_as_of_a_position(position: int) -> None:
    assert done(cli("tree", "alice", "--as-of", str(position))) == DRAWN_AT[position]


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("time", "position"),
    [
        pytest.param("2026-11-23T08:00:04Z", 5, id="of an event"),
        pytest.param("2026-11-23T08:00:04.999999Z", 5, id="between two"),
        pytest.param("2026-11-23T10:30:03.500+02:30", 4, id="with an offset"),
        pytest.param("2026-11-23T07:59:59Z", 0, id="before all"),
        pytest.param("1969-12-31T00:00:00Z", 0, id="before 1970"),
        pytest.param("2100-01-01T00:00:00Z", 8, id="in the future"),
    ],
)
def test_a_tree_is_drawn_as_of_a_time(time: str, position: int) -> None:
    assert done(cli("tree", "alice", "--as-of", time)) == DRAWN_AT[position]


def test_nobody_has_no_tree() -> None:
    make()

    assert refused(cli("tree", "bob")) == "expected a user's name or id; found 'bob'"


def test_lines_lead_from_each_goal_to_its_siblings() -> None:
    outline = "A\n  B\n    C\n      D\n    E\n  F\nG\n  H\n    I\n"

    done(cli("import", "-", "--user", "bob", stdin=outline))

    assert done(cli("tree", "bob")) == (
        "bob\n"
        "├── · A  0/3\n"
        "│   ├── · B  0/2\n"
        "│   │   ├── · C  0/1\n"
        "│   │   │   └── · D\n"
        "│   │   └── · E\n"
        "│   └── · F\n"
        "└── · G  0/1\n"
        "    └── · H  0/1\n"
        "        └── · I\n"
    )


def test_a_tree_of_5000_levels_is_imported_drawn_exported_and_verified() -> None:
    nested = '{"goals":[' + '{"name":"deeper","sub_goals":[' * DEEP + "]}" * DEEP + "]}"

    assert f"imported {DEEP} goals for alice\n" in done(cli("import", "-", "--user", "alice", stdin=nested))

    drawn = done(cli("tree", "alice")).splitlines()
    assert len(drawn) == DEEP + 1
    assert drawn[-1] == "    " * (DEEP - 1) + "└── · deeper"
    assert len(done(cli("tree", "alice", "--as-of", "3002")).splitlines()) == 3_002
    for kind in KINDS:
        exported = done(cli("export", "--user", "alice", "--format", kind))
        assert f"imported {DEEP} " in done(cli("--db", f"{kind}.db", "import", "-", "--user", "alice", stdin=exported))
    assert f"{DEEP} goals: sound" in done(cli("verify"))


STORY: list[tuple[Event, str]] = [
    (UserRegistered("id-of-alice"), "registered"),
    (created("a", name="Run"), "created “Run”"),
    (created("b", "a", name="Shoes"), "created “Shoes” under “Run”"),
    (GoalRenamed("a", "Run far"), "renamed “Run” to “Run far”"),
    (GoalDescribed("a", "in Berlin"), "described “Run far”"),
    (GoalDescribed("a"), "described “Run far”"),
    (GoalScheduled("a", START), "scheduled “Run far” from 2026-11-23T08:00:00Z"),
    (
        GoalScheduled("a", START, Instant("2027-04-25T08:00:00Z")),
        "scheduled “Run far” from 2026-11-23T08:00:00Z, due 2027-04-25T08:00:00Z",
    ),
    (GoalCompleted("b", START), "completed “Shoes” at 2026-11-23T08:00:00Z"),
    (GoalReopened("b"), "reopened “Shoes”"),
    (GoalMoved("b", "V00001"), "moved “Shoes” to the top"),
    (GoalMoved("b", "V00001", "a"), "moved “Shoes” under “Run far”"),
    (GoalDeleted("b", "b"), "deleted “Shoes”"),
    (GoalRestored("b", "V00001", "a"), "restored “Shoes” under “Run far”"),
    (GoalMoved("b", "V00001"), "moved “Shoes” to the top"),
    (GoalDeleted("b", "b"), "deleted “Shoes”"),
    (GoalRestored("b", "V00001"), "restored “Shoes”"),
    (GoalCompleted("b", Instant("2026-11-23T08:00:17Z")), "completed “Shoes”"),
]

ACCOUNT_STORY = [
    "registered as auditor",
    "changed name or address",
    "got a new password",
    "was linked to an identity",
    "got a token to read, t, until 2026-11-23T08:00:00Z",
    "lost the token t",
    "was disabled",
    "was enabled again",
]
"""What is told of each of ACCOUNT."""


@pytest.fixture
def story(at_home: None) -> None:
    """Alice's story, an event a second, one for a reason, and then one goal of Bob's."""
    del at_home
    clock = HandClock()
    make(clock=clock)
    with opened(clock=clock) as storage:
        for number, (event, _) in enumerate(STORY[1:], start=1):
            clock.now += SECOND
            with storage.log.writing() as transaction:
                reason = "in the rain" if number == 2 else None
                transaction.append("user:id-of-alice", number - 1, [event], Cause(f"command-{number}", None, reason))
        record(storage.log, add_user(storage, "bob"), created("z", name="Sleep"))


def test_the_story_has_every_event() -> None:
    """But for those of accounts, which test_cli_accounts tells."""
    told = {type(event).__name__ for event, _ in STORY}
    assert told == {"UserRegistered", *(type for type in TYPES if type.startswith("Goal"))}


@pytest.mark.usefixtures("story")
def test_the_history_tells_when_who_what_and_why() -> None:
    told = done(cli("replay")).splitlines()

    for number, (line, (_, what)) in enumerate(zip(told, STORY, strict=False), start=1):
        why = "  (in the rain)" if number == 3 else ""
        assert line == f"{number:>7}  2026-11-23 08:00:{number - 1:02}  alice  {what}{why}"
    assert [line.split("  ")[-2:] for line in told[len(STORY) :]] == [
        ["bob", "registered"],
        ["bob", "created “Sleep”"],
    ]


def test_the_history_does_not_say_that_a_goal_moved_which_only_made_room() -> None:
    make(created("a", name="Run"), GoalMoved("a", "V00000V", spaced=True))

    assert done(cli("replay")).splitlines()[-1].endswith("alice  made room beside “Run”, which stays in its place")


def test_the_history_tells_what_became_of_an_account() -> None:
    with opened() as storage, storage.log.writing() as transaction:
        transaction.append("account:ann", 0, ACCOUNT, Cause("command"))

    assert [line.split("  ")[-2:] for line in done(cli("replay")).splitlines()] == [
        ["ann", what] for what in ACCOUNT_STORY
    ]


def numbers(result: Result) -> list[int]:
    """The positions of the lines told."""
    return [int(line.split()[0]) for line in done(result).splitlines()]


@pytest.mark.usefixtures("story")
@pytest.mark.parametrize(
    ("filters", "positions"),
    [
        pytest.param(["--user", "bob"], [19, 20], id="a user, the registration too"),
        pytest.param(["--user", "id-of-bob", "--type", "UserRegistered"], [19], id="a user's registration"),
        pytest.param(["--user", "Bob", "--type", "GoalCreated"], [20], id="a user by the name in another case"),
        pytest.param(["--goal", "b"], [3, *range(9, 19)], id="a goal"),
        pytest.param(["--goal", "b", "--user", "bob"], [], id="a goal of somebody else"),
        pytest.param(["--type", "GoalCreated"], [2, 3, 20], id="a type"),
        pytest.param(["--type", "UserRegistered"], [1, 19], id="registrations"),
        pytest.param(["--goal", "b", "--type", "GoalMoved"], [11, 12, 15], id="a goal and a type"),
        pytest.param(["--after", "18"], [19, 20], id="behind a position"),
        pytest.param(["--after", "20"], [], id="behind the last"),
        pytest.param(["--until", "2"], [1, 2], id="up to a position"),
        pytest.param(["--until", "2026-11-23T08:00:01.5Z"], [1, 2], id="up to a time"),
        pytest.param(["--after", "3", "--until", "5"], [4, 5], id="between two"),
        pytest.param(["--after", "5", "--until", "3"], [], id="between none"),
        pytest.param(["--until", "0"], [], id="up to the beginning"),
    ],
)
def test_filters_leave_the_rest_out(filters: list[str], positions: list[int]) -> None:
    assert numbers(cli("replay", *filters)) == positions
    assert [json.loads(line)["position"] for line in done(cli("replay", "--json", *filters)).splitlines()] == positions


@pytest.mark.usefixtures("story")
def test_a_history_of_an_unknown_user_is_refused() -> None:
    assert "'carol'" in refused(cli("replay", "--user", "carol"))


@pytest.mark.usefixtures("story")
def test_a_history_of_an_unknown_type_is_refused_since_telling_nothing_would_say_that_nothing_happened() -> None:
    result = cli("replay", "--type", "GoalCreate")

    assert result.exit_code in (1, 2)
    assert all(type in result.stderr for type in TYPES)


@pytest.mark.usefixtures("story")
def test_a_history_of_an_unknown_goal_is_refused_since_telling_nothing_would_say_that_nothing_happened() -> None:
    assert "'y'" in refused(cli("replay", "--goal", "y"))


@pytest.mark.usefixtures("story")
def test_for_machines_a_line_of_the_history_is_what_the_audit_answers() -> None:
    third = done(cli("replay", "--json")).splitlines()[2]

    assert third == (
        '{"position":3,"user":"id-of-alice","version":2,"type":"GoalCreated","goal_id":"b",'
        '"at":"2026-11-23T08:00:02Z","actor":null,"command":"command-2","reason":"in the rain",'
        '"data":{"goal_id":"b","name":"Shoes","start":"2026-11-23T08:00:00Z","rank":"V00000","parent_id":"a"}}'
    )


RENAMED = (
    created("a", name="Old"),
    GoalCompleted("a", START),
    GoalReopened("a"),
    GoalRenamed("a", "New"),
    GoalCompleted("a", START),
    created("b", "a", name="Shoes"),
    GoalRenamed("a", "Newer"),
    GoalMoved("b", "V00000"),
    GoalMoved("b", "V00000", "a"),
)


@pytest.mark.parametrize(
    ("filters", "told"),
    [
        pytest.param([], ["“Old”", "“Old”", "“Old”", "“New”", "“New”", "“New”", "“Newer”", "top", "“Newer”"], id="all"),
        pytest.param(["--after", "7"], ["top", "“Newer”"], id="the end"),
        pytest.param(["--type", "GoalCompleted"], ["“Old”", "“New”"], id="a type"),
        pytest.param(["--goal", "b"], ["“New”", "top", "“Newer”"], id="a goal below"),
    ],
)
def test_the_history_names_goals_as_they_were_called_then_whatever_is_left_out(
    filters: list[str], told: list[str]
) -> None:
    with opened() as storage:
        record(storage.log, "alice", *RENAMED)

    names = [re.sub(r" at 2026.*", "", line).split()[-1] for line in done(cli("replay", *filters)).splitlines()]
    assert names == told


def test_the_history_knows_a_name_however_often_it_changed() -> None:
    with opened() as storage:
        record(storage.log, "alice", created("a"), *(GoalRenamed("a", f"name {n}") for n in range(1_200)))
        record(storage.log, "alice", GoalReopened("a"))

    assert "reopened “name 1199”" in done(cli("replay", "--after", "1201"))


def test_a_long_log_is_told_to_its_end() -> None:
    with opened() as storage:
        record(storage.log, "alice", *many(2_500))

    assert numbers(cli("replay")) == list(range(1, 2_501))


def test_a_user_whose_row_is_gone_is_told_by_the_id() -> None:
    with opened() as storage:
        record(storage.log, "ghost", created("a"))

    assert "  ghost  created “a”" in done(cli("replay"))
