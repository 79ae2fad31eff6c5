"""The architecture: who may import whom, what is documented, and what importing does. The design's table, kept."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tokenize import COMMENT, generate_tokens

import pytest

from tests.support.engines import ROOT

FILES = sorted([*(ROOT / "es_goals").rglob("*.py"), *(ROOT / "projections").rglob("*.py")])


def name_of(path: Path) -> str:
    """The module's dotted name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {name_of(path): ast.parse(path.read_text("utf-8")) for path in FILES}
MODULES = set(TREES)

# Each module or folder, and what it may import of ours; the modules of a folder may import each other. Names are those
# of modules, folders, or single things in them. What may be imported by all: events, values, charges, metrics,
# logs.
EVERYTHING = {"es_goals", "projections"}
BY_ALL = {
    "es_goals.events", "es_goals.values", "es_goals.charges", "es_goals.metrics", "es_goals.logs",
    "es_goals.__version__",
}  # fmt: skip
BELOW_STORAGE = {"es_goals.storage.errors", "es_goals.storage.deadlines"}
PROMISES = BELOW_STORAGE | {
    f"es_goals.storage.{name}" for name in ("log", "drafts", "views", "tiles", "sessions", "place", "glance")
}
HTTP = {
    "es_goals.goals",
    "es_goals.accounts",
    "es_goals.storage",
    "es_goals.deciding",
    "es_goals.service",
    "es_goals.drafting",
    "es_goals.undoing",
    "es_goals.projector",
    "es_goals.rebuild",
    "es_goals.reads",
    "es_goals.worker",
    "es_goals.proofs",
    "es_goals.proving",
    "es_goals.compression",
    "es_goals.settings",
    "es_goals.ids",
    "es_goals.http.exchange",
    "es_goals.http.requests",
    "es_goals.http.answers",
    "es_goals.http.problems",
    "es_goals.http.resource",
    "es_goals.http.describe.operation",
    "es_goals.http.edge",
    "es_goals.http.faults",
}
MAY_IMPORT: dict[str, set[str]] = {
    "es_goals": set(),
    "es_goals.events": set(),
    "es_goals.values": set(),
    "es_goals.charges": set(),
    "es_goals.settings": set(),
    "es_goals.ids": set(),
    "es_goals.logs": set(),
    "es_goals.metrics": set(),
    "es_goals.goals": set(),
    "es_goals.accounts": {"es_goals.storage", "es_goals.ids"},
    "es_goals.storage.errors": set(),
    "es_goals.storage.deadlines": {"es_goals.storage.errors"},
    "es_goals.storage.place": BELOW_STORAGE,
    "es_goals.storage.drafts": set(),
    "es_goals.storage.log": BELOW_STORAGE | {"es_goals.storage.drafts"},
    "es_goals.storage.views": BELOW_STORAGE | {"es_goals.storage.log"},
    "es_goals.storage.tiles": BELOW_STORAGE,
    "es_goals.storage.sessions": BELOW_STORAGE,
    "es_goals.storage.glance": BELOW_STORAGE | {"es_goals.storage.views", "es_goals.storage.sessions"},
    "es_goals.storage.writer": PROMISES,
    "es_goals.storage.copying": PROMISES,
    "es_goals.storage.sql": PROMISES,
    "es_goals.storage.sqlite": PROMISES | {"es_goals.storage.sql", "es_goals.storage.copying"},
    "es_goals.storage.postgres": PROMISES | {"es_goals.storage.sql", "es_goals.storage.copying"},
    "es_goals.storage": PROMISES | {"es_goals.storage.sqlite", "es_goals.storage.postgres"},
    "es_goals.proofs": set(),
    "es_goals.compression": set(),
    "es_goals.proving": {"es_goals.proofs", "es_goals.storage", "es_goals.projector"},
    "es_goals.configured": {"es_goals.settings", "es_goals.goals", "es_goals.storage", "es_goals.proving"},
    "es_goals.deciding": {"es_goals.goals", "es_goals.storage"},
    "es_goals.folded": {"es_goals.deciding", "es_goals.goals", "es_goals.storage"},
    "es_goals.service": {
        "es_goals.deciding", "es_goals.folded", "es_goals.goals", "es_goals.accounts", "es_goals.storage",
    },
    "es_goals.drafting": {
        "es_goals.service", "es_goals.deciding", "es_goals.folded", "es_goals.goals", "es_goals.storage",
    },
    "es_goals.undoing": {
        "es_goals.service", "es_goals.deciding", "es_goals.folded", "es_goals.goals", "es_goals.ids",
        "es_goals.storage",
    },
    "es_goals.projector": {"es_goals.storage"},
    "es_goals.rebuild": {"es_goals.storage", "es_goals.projector"},
    "es_goals.reads": {
        "es_goals.goals",
        "es_goals.accounts.caller",
        "es_goals.compression",
        "es_goals.ids",
        "es_goals.storage",
        "es_goals.projector",
        "projections.goal_tree.Row",
        "projections.goal_tree.Node",  # what `tree` returns
        "projections.goal_tree.tree",
        "projections.goal_tree.renewed",
    },
    "es_goals.worker": {
        "es_goals.service", "es_goals.drafting", "es_goals.reads", "es_goals.projector", "es_goals.rebuild",
        "es_goals.storage", "es_goals.settings", "es_goals.configured", "es_goals.ids", "es_goals.proving",
    },
    "es_goals.outlines": set(),
    "es_goals.files": {"es_goals.goals", "es_goals.outlines", "projections.goal_tree.Node"},
    "es_goals.upkeep": {
        "es_goals.goals", "es_goals.storage", "es_goals.projector", "es_goals.proofs", "es_goals.proving",
    },
    "es_goals.http": HTTP,
    "es_goals.http.edge": HTTP,
    "es_goals.http.goals": HTTP,
    "es_goals.http.accounts": HTTP,
    "es_goals.http.log": HTTP,
    "es_goals.http.operating": HTTP,
    "es_goals.http.describe": HTTP,
    "es_goals.app": EVERYTHING,
    "es_goals.server": EVERYTHING,
    "es_goals.cli": EVERYTHING,
    "es_goals.__main__": {"es_goals.cli"},
    "projections": {"projections"},
    "projections.activity": {"es_goals.events"},
    "projections.goal_tree": {"es_goals.events"},
}  # fmt: skip
FOLDERS = {
    place for place in MAY_IMPORT
    if place not in ("es_goals", "projections", "es_goals.storage", "es_goals.http")
    and (ROOT / place.replace(".", "/")).is_dir()
}  # fmt: skip
# What one module of a folder may import besides.
BESIDES = {
    "es_goals.accounts.provider": {"es_goals.settings"},
    "es_goals.http.goals.files": {"es_goals.outlines", "es_goals.files", "es_goals.configured"},
    "es_goals.http.operating.verifications": {"es_goals.upkeep"},
    "es_goals.http.goals.undo": {"es_goals.configured"},
    "es_goals.http.v1": {"projections.goal_tree"},
    "es_goals.reads.history": {"projections.goal_tree.fold"},
    "es_goals.storage.sqlite": {"es_goals.storage.Options", "es_goals.storage.Storage"},
    "es_goals.storage.postgres": {
        "es_goals.storage.Options",
        "es_goals.storage.Storage",
        "es_goals.storage.sqlite.log.SqliteLog",
    },
    "es_goals.storage.postgres.log": {"es_goals.storage.sqlite.log.SqliteLog"},  # a backup is a file
}

# Packages that only these may import.
KEPT_IN = {
    "apsw": {"es_goals.storage.sqlite"},
    "sqlite3": set[str](),
    "argon2": {"es_goals.accounts"},
    "psycopg": {"es_goals.storage.postgres"},
    "psycopg_pool": {"es_goals.storage.postgres"},
    "falcon": {"es_goals.http", "es_goals.http.accounts", "es_goals.http.describe", "es_goals.http.edge",
               "es_goals.http.goals", "es_goals.http.log", "es_goals.http.operating", "es_goals.app"},
    "gunicorn": {"es_goals.server"},
    "uvloop": set[str](),
    "click": {"es_goals.cli"},
    "rich": {"es_goals.cli"},
    "setproctitle": {"es_goals.cli"},
    "prometheus_client": {"es_goals.metrics", "es_goals.server"},
    "httpx2": {"es_goals.accounts"},
    "joserfc": {"es_goals.accounts"},
    "cryptography": {"es_goals.proofs", "es_goals.proving"},
}  # fmt: skip
IMPURE = {
    "apsw", "asyncio", "falcon", "http", "io", "os", "pathlib", "psycopg", "psycopg_pool", "random", "secrets",
    "socket", "sqlite3", "subprocess", "threading", "time", "urllib", "uuid",
}  # fmt: skip
PURE = ["es_goals.events", "es_goals.values", "es_goals.goals", "es_goals.accounts.names", "es_goals.proving.digest",
        "es_goals.proving.tiles", "es_goals.proofs", "projections"]  # fmt: skip


def place_of(module: str) -> str:
    """The table's row for a module: its own, or its folder's."""
    while module not in MAY_IMPORT:
        module = module.rpartition(".")[0]
    return module


def imports(module: str) -> Iterator[str]:
    """What a module imports, inside functions too: `module` or `module.name`."""
    for node in ast.walk(TREES[module]):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(module=str(source), level=0):
                yield from (f"{source}.{alias.name}" for alias in node.names)
            case ast.ImportFrom():
                yield f"(relative) {ast.unparse(node)}"


def within(name: str, allowed: str) -> bool:
    """Whether an import is of `allowed` or of something in it."""
    return name == allowed or name.startswith(f"{allowed}.")


def may_import(module: str, name: str) -> bool:
    """Whether the table permits it."""
    place = place_of(module)
    if place in FOLDERS and within(name, place):
        return True
    return any(within(name, allowed) for allowed in MAY_IMPORT[place] | BY_ALL | BESIDES.get(module, set()))


def ours(name: str) -> bool:
    return within(name, "es_goals") or within(name, "projections")


def test_every_module_has_its_place_in_the_table() -> None:
    assert {place_of(module) for module in MODULES} == set(MAY_IMPORT)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_what_the_design_permits(module: str) -> None:
    assert [name for name in imports(module) if ours(name) and not may_import(module, name)] == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_another_by_its_full_name(module: str) -> None:
    assert [name for name in imports(module) if name.startswith("(relative)")] == []


def test_the_table_tells_what_is_forbidden() -> None:
    assert not may_import("es_goals.goals.rules", "es_goals.storage.log.Log")
    assert not may_import("es_goals.storage.writer", "es_goals.goals.rules.decide")
    assert not may_import("es_goals.storage.log", "es_goals.storage.sqlite.log.SqliteLog")
    assert not may_import("es_goals.storage.sql.log", "es_goals.storage.sqlite.connections.connect")
    assert not may_import("es_goals.storage.sqlite.log", "es_goals.storage.postgres.log.PostgresLog")
    assert not may_import("es_goals.projector", "es_goals.goals.rules.decide")
    assert not may_import("es_goals.projector", "projections.goal_tree")
    assert not may_import("es_goals.reads.trees", "es_goals.http.requests.body")
    assert not may_import("es_goals.reads.trees", "projections.goal_tree.fold")
    assert not may_import("es_goals.http.goals.commands", "es_goals.app.create_app")
    assert not may_import("es_goals.http.goals.commands", "es_goals.http.accounts.users.Users")
    assert not may_import("es_goals.http.goals.commands", "es_goals.http.log.audit.Events")
    assert not may_import("es_goals.http.goals.queries", "projections.ALL")
    assert not may_import("es_goals.http.log.audit", "es_goals.http.v1.Goals")
    assert not may_import("projections.activity", "es_goals.storage.log.Log")
    assert not may_import("projections.activity", "projections.goal_tree.Row")
    assert may_import("es_goals.http.goals.commands", "es_goals.http.goals.queries.ShownGoal")
    assert may_import("es_goals.cli.goals", "es_goals.reads.trees.TreeOptions")


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}))
def test_a_folder_has_few_entries(folder: Path) -> None:
    entries = [path.name for path in folder.iterdir() if path.name not in ("__init__.py", "__pycache__")]

    most = {ROOT / "es_goals": 34, ROOT / "es_goals" / "page": 60}.get(folder, 14)
    assert len(entries) <= most, entries


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_file_is_short_enough_to_be_read_at_once(module: str) -> None:
    path = next(path for path in FILES if name_of(path) == module)
    classes = [node for node in ast.walk(TREES[module]) if isinstance(node, ast.ClassDef)]

    assert len(path.read_text("utf-8").splitlines()) <= 450
    assert {node.name for node in classes if (node.end_lineno or 0) - node.lineno >= 220} == set()


def test_functions_are_short() -> None:
    """Lines of their bodies, docstrings too."""
    functions = {
        f"{module}.{node.name}": (node.end_lineno or 0) - node.body[0].lineno + 1
        for module in MODULES
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert sorted(functions.values())[len(functions) * 9 // 10] <= 15
    assert len({name for name, lines in functions.items() if lines > 40}) <= 2


def test_app_server_and_command_line_are_known_to_none_but_the_next() -> None:
    users = {
        above: {
            module
            for module in MODULES
            for name in imports(module)
            if within(name, f"es_goals.{above}") and not within(module, f"es_goals.{above}")
        }
        for above in ("app", "server", "cli")
    }

    assert users == {"app": {"es_goals.server"}, "server": {"es_goals.cli.serve"}, "cli": {"es_goals.__main__"}}


def test_only_the_table_of_storage_knows_which_engines_there_are() -> None:
    engines = ("es_goals.storage.sqlite", "es_goals.storage.postgres")
    knowing = {
        module
        for module in MODULES
        if not within(module, "es_goals.storage") and any(name.startswith(engines) for name in imports(module))
    }

    assert knowing == set()


@pytest.mark.parametrize("package", sorted(KEPT_IN))
def test_a_package_stays_in_its_room(package: str) -> None:
    importing = {place_of(module) for module in MODULES for name in imports(module) if within(name, package)}

    assert importing <= KEPT_IN[package]


@pytest.mark.parametrize("module", sorted(module for module in MODULES if module.startswith(tuple(PURE))))
def test_the_rules_and_the_read_models_read_no_clock_and_touch_nothing(module: str) -> None:
    impure = {name for name in imports(module) if name.partition(".")[0] in IMPURE}
    clocks = {
        ast.unparse(node)
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Attribute) and node.attr in ("now", "today", "utcnow")
    }

    assert impure | clocks == set()


def run(program: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-B", "-X", "utf8", "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_es_goals_imports_nothing_else() -> None:
    program = "import sys; before = set(sys.modules); import es_goals; print(*sorted(set(sys.modules) - before))"

    assert run(program).split() == ["es_goals"]


def test_the_command_line_imports_no_web_server_before_it_must() -> None:
    modules = run("import sys; import es_goals.cli; print(*sys.modules)").split()

    assert {"falcon", "gunicorn", "httpx2", "joserfc", "prometheus_client", "uvloop"} & set(modules) == set()


def test_who_stays_on_sqlite_imports_nothing_of_postgresql(tmp_path: Path) -> None:
    opening = f"open_storage({str(tmp_path / 'events.db')!r}, wall_clock, Options(5.0, 1)).close()"
    imported = (
        "import sys, es_goals.cli; from es_goals.ids import wall_clock;"
        " from es_goals.storage import Options, open_storage"
    )

    assert not re.search("psycopg|storage.postgres", run(f"{imported}; {opening}; print(*sys.modules)"))


def test_the_rules_can_be_used_without_anything_else() -> None:
    program = "import sys; import es_goals.goals.rules, projections; print(*sys.modules)"

    assert {"apsw", "asyncio", "falcon", "click", "psycopg", "structlog"} & set(run(program).split()) == set()


def test_importing_anything_does_nothing() -> None:
    """No file is written, no thread or process started, no socket opened, no variable set."""
    names = sorted(MODULES - {"es_goals.__main__"})
    program = f"""
import importlib, os, sys, threading
done = []
def hook(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        done.append((event, arguments))
    if event.startswith((
        "socket.bind", "socket.connect", "subprocess", "os.fork", "os.posix_spawn", "os.putenv", "os.unsetenv",
        "os.mkdir", "os.remove", "os.rename", "os.chdir", "os.kill", "signal", "sqlite3", "_thread.start",
    )):
        done.append((event, arguments))
sys.addaudithook(hook)
for name in {names}:
    importlib.import_module(name)
assert threading.active_count() == 1
print(done)
"""

    assert run(program) == "[]\n"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_says_what_it_is_for(module: str) -> None:
    assert ast.get_docstring(TREES[module])


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def public(body: list[ast.stmt], above: str = "") -> Iterator[tuple[str, Definition]]:
    """Functions and classes that others may use, with their methods."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield f"{above}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{node.name}.")


def is_only_a_type(node: Definition) -> bool:
    """A protocol's attribute, written as a property without a body."""
    return ast.unparse(ast.Module(node.body, [])) == "..."


PROMISED = {
    name.partition(".")[2]
    for promises in (
        *(f"storage.{name}" for name in ("log", "drafts", "views", "tiles", "sessions")),
        "reads.cache",
    )
    for name, node in public(TREES[f"es_goals.{promises}"].body)
    if "." in name and ast.get_docstring(node)
}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_what_is_public_says_what_it_does(module: str) -> None:
    """A method that keeps a promise of `storage`, or of LogCache, has its words there."""
    assert [
        name
        for name, node in public(TREES[module].body)
        if not ast.get_docstring(node)
        and not is_only_a_type(node)
        and not (
            within(module, "es_goals.storage") | within(module, "es_goals.reads.cache")
            and name.partition(".")[2] in PROMISED
        )
    ] == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_comment_is_a_banner_and_nothing_is_left_to_do(module: str) -> None:
    path = next(path for path in FILES if name_of(path) == module)
    with path.open(encoding="utf-8") as file:
        comments = [token.string for token in generate_tokens(file.readline) if token.type == COMMENT]

    assert re.findall(r"#\s*[-=#*]{3,}.*|\b(?:TODO|FIXME|XXX|HACK)\b.*", "\n".join(comments)) == []


MADE = {".git", ".venv", ".hypothesis", ".mypy_cache", ".ruff_cache", ".pytest_cache", "dist", "build"}


def kept_files() -> list[Path]:
    """What belongs to the repository: all but what .gitignore names."""
    paths = [path for top in ROOT.iterdir() if top.name not in MADE for path in (top, *top.rglob("*"))]
    return [
        path
        for path in sorted(paths)
        if path.is_file()
        and "__pycache__" not in path.parts
        and not re.fullmatch(r".*\.db(-.*)?|\.coverage.*", path.name)
    ]


def test_no_file_names_the_machine_it_was_written_on_or_a_registry() -> None:
    # Written so that this file does not.
    places = [r"(?<![\w.])/" + r"work\b", r"(?<![\w.])" + "shared" + "/"]
    hosts = ["pypi" + r"\.org", "python" + r"hosted", "npm" + r"js\.org", "crates" + r"\.io", "ghcr" + r"\.io"]
    hosts += ["docker" + r"\.io", "proxy" + r"\.golang", r"--(?:extra-)?index" + r"-url[ =]", "index" + r"_url"]
    forbidden = re.compile("|".join(places + hosts))

    found = {
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in kept_files()
        for match in forbidden.finditer(path.read_text("utf-8", errors="replace"))
    }

    assert found == set()


def test_the_top_level_is_the_designs() -> None:
    tops = {path.relative_to(ROOT).parts[0] for path in kept_files()}

    assert tops == {
        "es_goals", "projections", "tests", "docs", ".ci", "pyproject.toml", "docker-compose.yml", "README.md",
        "CHANGELOG.md", "SECURITY.md", "LICENSE", "Makefile", ".gitignore", ".dockerignore", "constraints.txt",
        "package.json", "package-lock.json", "hatch_build.py",
    }  # fmt: skip


def test_every_folder_of_modules_is_a_package() -> None:
    assert {path.parent for path in FILES} == {path.parent for path in FILES if path.name == "__init__.py"}
