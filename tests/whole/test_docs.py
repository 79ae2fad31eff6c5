"""What is public is documented, and what the documents say is so."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import get_args

import click
import msgspec
import pytest
from msgspec import Struct
from packaging.requirements import Requirement

import projections
from es_goals.cli import main
from es_goals.events import TYPES, Event, Recorded
from es_goals.http.operating.gauges import measure
from es_goals.ids import wall_clock
from es_goals.metrics import exposition
from es_goals.projector import Projector
from es_goals.proving.digest import event_bytes
from es_goals.settings import PREFIX, RENAMED, SECRET, Settings
from es_goals.storage.postgres.connections import SCHEMAS
from tests.support.commands import at_home, cli, done
from tests.support.engines import ROOT, open_storage
from tests.support.histories import tree_hash

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
TEXT = "\n".join(page.read_text("utf-8") for page in PAGES)
README = PAGES[0].read_text("utf-8")
SECURITY = (ROOT / "SECURITY.md").read_text("utf-8")
SETTINGS = (DOCS / "settings.md").read_text("utf-8")
COMMAND_LINE = (DOCS / "command-line.md").read_text("utf-8")
LOG_FORMAT = (DOCS / "log-format.md").read_text("utf-8")

VARIABLES = [PREFIX + name.upper() for name in (*Settings.__struct_fields__, *(f"{name}_file" for name in SECRET))]
FOLDERS = sorted(
    path.relative_to(ROOT)
    for folders in ("es_goals", "es_goals/**/*", "projections", "tests", "tests/*")
    for path in ROOT.glob(folders)
    if path.is_dir() and path.name != "__pycache__"
)


def mentions(word: str, text: str) -> bool:
    """Whether a text has the word, not only as a part of another."""
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


def fences(text: str) -> list[tuple[str, str]]:
    """The fenced blocks: tag and content."""
    return re.findall(r"^```(\w*)[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def table_rows(text: str) -> list[list[str]]:
    """The cells of every row of every table."""
    lines = re.findall(r"^\|(.+)\|$", text, re.MULTILINE)
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines]


def first_cells(text: str) -> list[str]:
    """What the rows of all tables are about, in order."""
    return [cells[0] for cells in table_rows(text)]


@pytest.mark.parametrize("variable", VARIABLES)
def test_every_setting_has_its_row(variable: str) -> None:
    assert f"`{variable}`" in first_cells(SETTINGS)


@pytest.mark.parametrize("name", Settings.__struct_fields__)
def test_the_documented_default_of_a_setting_is_its_default(name: str) -> None:
    rows = {cells[0].strip("`"): cells[1].strip("`") for cells in table_rows(SETTINGS)}

    assert rows[PREFIX + name.upper()] == msgspec.json.encode(getattr(Settings(), name)).decode().strip('"')


@pytest.mark.parametrize(("old", "to"), RENAMED.items())
def test_the_other_name_of_a_setting_is_documented(old: str, to: tuple[str, int]) -> None:
    new, size = to
    row = next(cells for cells in table_rows(SETTINGS) if cells[0] == f"`{PREFIX}{old.upper()}`")

    assert row[1] == f"`{PREFIX}{new.upper()}`"
    assert f"{size:,} byte" in row[2]


def test_no_setting_is_documented_that_is_none() -> None:
    named = set(re.findall(rf"{PREFIX}[A-Z_]+", TEXT))

    assert named <= {*VARIABLES, *(PREFIX + name.upper() for name in RENAMED)}


def every_command(group: click.Group = main, above: str = "") -> Iterator[tuple[str, click.Command]]:
    """Each command by what is typed."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every_command(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


@pytest.mark.parametrize(("typed", "command"), list(every_command()), ids=str)
def test_every_command_is_documented_with_its_options(typed: str, command: click.Command) -> None:
    synopses = re.findall(rf"`({typed}\b[^`]*)`", "\n".join(first_cells(COMMAND_LINE)))
    options = [one.opts[0] for one in command.params if isinstance(one, click.Option) and one.opts[0] != "--db"]

    assert synopses
    assert [option for option in options if not mentions(option, " ".join(synopses))] == []


def test_the_readme_can_be_read_at_once() -> None:
    assert len(README.splitlines()) <= 250


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_every_folder_has_its_line_in_the_readme(folder: Path) -> None:
    layout = next(block for _, block in fences(README) if block.startswith("es_goals/ "))

    assert mentions(f"{folder.name}/", layout)


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"(?<![\w*.-])(?!todo\.)[\w/-]+\.(?:py|sql|txt)\b", TEXT + SECURITY)))
)
def test_a_file_of_ours_that_is_named_is_there(name: str) -> None:
    """By its path, or by the end of that."""
    inside = (path for top in ("es_goals", "projections", "tests") for path in (ROOT / top).rglob(name))

    assert (ROOT / name).is_file() or any(inside)


@pytest.mark.parametrize("kind", get_args(Event))
def test_every_event_is_documented_with_its_fields(kind: type[Struct]) -> None:
    row = next(cells for cells in table_rows(LOG_FORMAT) if cells[0] == f"`{kind.__name__}`")

    assert row[1] == ", ".join(f"`{name}`" for name in kind.__struct_fields__)


def test_no_event_is_documented_that_is_none() -> None:
    named = re.findall(r"\b(?:Goal|User|Password|Token)[A-Z]\w+ed\b", TEXT)

    assert set(named) <= set(TYPES)


def test_every_metric_is_documented_and_no_other(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "events.db"), wall_clock)
    projector = Projector(storage.log, storage.views, projections.ALL)
    gauges = measure(storage.log, wall_clock, lambda: [projector.status(name) for name in projector.models])
    text = exposition(gauges).decode()
    storage.close()

    metrics = set(re.findall(r"^# TYPE (es_goals_\w+) ", text, re.MULTILINE))
    metrics -= {name for name in metrics if name.endswith("_created")}
    assert len(metrics) > 5
    assert set(re.findall(r"\bes_goals_\w+", TEXT)) - set(SCHEMAS.split(", ")) == metrics


def anchors(page: Path) -> set[str]:
    """The fragments that a page's headings have."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    """Where a page's links lead, those out of the repository left out."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"\]\(<?([^)\s>]+)", text) + re.findall(r"^\[[^]]+\]: +(\S+)", text, re.MULTILINE)
    return [target for target in found if not re.match(r"[a-z][a-z0-9+.-]*:", target)]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md", ROOT / "SECURITY.md"], ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, fragment = link.partition("#")
        target = page.parent / path if path else page

        assert target.exists(), link
        assert not fragment or fragment in anchors(target), link


def test_the_documents_are_found_from_the_readme() -> None:
    assert {f"docs/{page.name}" for page in PAGES[1:]} <= set(links(PAGES[0]))


def test_the_commands_on_accounts_do_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a first start, which makes the administrator and a token."""
    at_home(tmp_path, monkeypatch)
    shown = "".join(block for _, block in fences((DOCS / "accounts.md").read_text("utf-8")))
    commands = re.findall(r"^\$ es-goals (.*)\n((?:(?![$]|ES_).*\n)*)", shown, re.MULTILINE)
    done(cli("user", "add", "admin", "--role", "administrator"))
    done(cli("token", "admin"))

    assert len(commands) > 10
    for command, output in commands:
        if command != "serve":
            arguments, _, password = command.partition(" <<<")
            told = done(cli(*shlex.split(arguments), stdin="correct horse" if password else None))
            assert not output or re.sub("(?<=esgt_)[0-9a-f]{64}", "…", told) == re.sub("[0-9a-f]{4}…", "…", output)


def declared() -> list[str]:
    """Every package that pyproject.toml or package.json asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"].values()
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    wanted += [one for extra in extras for one in extra]
    of_npm: dict[str, str] = json.loads((ROOT / "package.json").read_text("utf-8"))["devDependencies"]
    return [*(Requirement(one).name for one in wanted), *of_npm]


@pytest.mark.parametrize("package", declared())
def test_every_dependency_has_its_line(package: str) -> None:
    text = (DOCS / "dependencies.md").read_text("utf-8")

    assert any(f"`{package}`" in line for line in text.splitlines())


def test_every_documented_dependency_is_one() -> None:
    rows = table_rows((DOCS / "dependencies.md").read_text("utf-8"))
    named = {name for cells in rows for name in re.findall(r"`([\w.-]+)`", cells[0])}

    assert named <= set(declared())


def test_the_image_is_built_from_versions_that_the_ranges_allow() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = [Requirement(one) for one in project["project"]["dependencies"]]
    text = (ROOT / "constraints.txt").read_text("utf-8").replace("\\\n", " ")
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)[^\n]*--hash=sha256:", text, re.MULTILINE))

    assert [one for one in wanted if one.name not in pins or pins[one.name] not in one.specifier] == []
    assert len(pins) == len(text.strip().splitlines())


def worked_examples() -> list[tuple[str, str, str]]:
    """An event as JSON, its bytes in hexadecimal, its digest: three blocks, one behind the other."""
    blocks = fences(LOG_FORMAT)
    return [
        (one[1], two[1], three[1])
        for (one, two), (_, three) in zip(pairwise(blocks), pairwise(blocks[1:]), strict=False)
        if (one[0], two[0], three[0]) == ("json", "hex", "digest")
    ]


def test_the_log_format_has_a_worked_example() -> None:
    assert worked_examples()


@pytest.mark.parametrize(("event", "written", "digest"), worked_examples())
def test_a_worked_example_is_right(event: str, written: str, digest: str) -> None:
    columns = json.loads(event)
    assert list(columns) == list(Recorded.__struct_fields__)
    line = msgspec.convert({**columns, "data": b""}, Recorded)
    data = columns["data"] if isinstance(columns["data"], str) else msgspec.json.encode(columns["data"]).decode()
    line = msgspec.structs.replace(line, data=data.encode())

    assert line.event
    assert event_bytes(line).hex() == "".join(written.split())
    assert tree_hash([event_bytes(line)]).root() == digest.strip().rpartition(":")[2]


@pytest.mark.parametrize("column", Recorded.__struct_fields__)
def test_every_column_of_the_log_is_documented(column: str) -> None:
    assert f"`{column}`" in LOG_FORMAT
