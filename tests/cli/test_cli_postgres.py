"""The command line on PostgreSQL: migrate, copy, backup, restore, and all the rest as a role that may only serve."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from es_goals import __version__
from es_goals.events import GoalCompleted
from es_goals.storage.place import shown
from es_goals.storage.sql.log import SCHEMA
from tests.storage.test_postgres import PASSWORD, SERVICE, Roles, roles_on
from tests.support import postgres
from tests.support.commands import (
    DRAWN,
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
)
from tests.support.histories import START, created, record
from tests.support.serving import free_port, wait_for
from tests.whole.test_backup import TAMPERINGS

pytestmark = pytest.mark.usefixtures("at_home")

NEWEST = postgres.VERSIONS[-1]


@pytest.fixture
def url() -> Iterator[str]:
    """An empty database, with a password in its URL, which must never be seen."""
    with postgres.fresh(NEWEST) as url:
        yield url.replace("@", f":{PASSWORD}@")


@pytest.fixture
def there() -> Iterator[str]:
    """Another one, of the older version."""
    with postgres.fresh(postgres.VERSIONS[0]) as url:
        yield url


def fill(db: str = "events.db") -> None:
    """Alice's registration and three events, Bob's registration and goal."""
    make(created("a", name="Run"), created("b", "a", name="Shoes"), GoalCompleted("b", START), path=db)
    with opened(db) as storage:
        record(storage.log, add_user(storage, "bob"), created("z", name="Sleep"))


def empty(url: str) -> bool:
    """Whether nothing of ours is there."""
    with psycopg.connect(url) as connection:
        return not connection.execute("SELECT 1 FROM pg_namespace WHERE nspname LIKE 'es_goals%'").fetchall()


# migrate


def test_migrate_makes_a_log_of_either_engine_and_says_so_again(url: str) -> None:
    for db in ("events.db", url):
        for _ in range(2):
            assert done(cli("--db", db, "migrate")) == f"{shown(db)}: schema {SCHEMA}\n"
        assert done(cli("--db", db, "replay")) == ""


def test_migrate_is_for_a_service_role_too(url: str) -> None:
    roles = roles_on(url)
    told = f"{shown(roles.owner)}: schema {SCHEMA}; {SERVICE} may serve\n"

    assert [done(cli("--db", roles.owner, "migrate", "--service", SERVICE)) for _ in range(2)] == [told] * 2
    assert PASSWORD not in told


def test_a_file_has_no_roles() -> None:
    assert "a file has no roles" in misused(cli("migrate", "--service", SERVICE))
    assert not Path("events.db").exists()


def test_a_role_that_may_not_migrate_is_told_so_in_a_sentence(url: str) -> None:
    roles = roles_on(url)
    for command in (["migrate"], ["serve", "--open", "--port", "0"], ["import", outline(), "--user", "alice"]):
        assert "es-goals migrate" in refused(cli("--db", roles.service, *command))

    assert empty(url)


def test_a_database_without_a_log_is_named_without_the_password(url: str) -> None:
    assert refused(cli("--db", url, "tree", "alice")) == (
        f"expected a log at {shown(url)}; found none (--db or ES_GOALS_DB names another)"
    )
    assert empty(url)


def test_a_server_that_cannot_be_reached_is_named_without_the_password() -> None:
    result = process("--db", f"postgresql://ann:{PASSWORD}@127.0.0.1:{free_port()}/goals", "verify")

    assert result.returncode == 1
    assert result.stderr.startswith("Error: expected a PostgreSQL database at postgresql://ann@127.0.0.1:")
    assert len(result.stderr.splitlines()) == 1
    assert PASSWORD not in result.stderr + result.stdout


@pytest.mark.parametrize(
    "command",
    [
        ["tree", "\udcff"],
        ["replay", "--goal", "\udcff"],
        ["import", "-", "--user", "\udcff"],
        ["rebuild", "--user", "\udcff"],
    ],
    ids=lambda command: command[0],
)
def test_an_argument_that_is_no_text_is_refused_in_a_sentence_on_either_engine(url: str, command: list[str]) -> None:
    for db in ("events.db", url):
        fill(db)

        assert refused(cli("--db", db, *command, stdin='[{"name": "a"}]')).endswith("found '\\udcff'")


# copy


def test_a_log_goes_to_postgresql_and_back_and_both_digests_are_told(url: str) -> None:
    fill()
    anchor = head()
    there = done(cli("copy", "--from", "events.db", "--to", url))
    back = done(cli("copy", "--from", url, "--to", "back.db"))

    assert there == f"{anchor}  events.db\n{anchor}  {shown(url)}\n"
    assert back == f"{anchor}  {shown(url)}\n{anchor}  back.db\n"
    for db in (url, "back.db"):
        assert done(cli("--db", db, "verify", "--expect", anchor)) == done(cli("verify"))
        assert done(cli("--db", db, "tree", "alice")) == done(cli("tree", "alice"))
    assert PASSWORD not in there + back


def test_a_copy_goes_on_with_what_came_since(url: str, there: str) -> None:
    fill(url)
    first = done(cli("copy", "--from", url, "--to", there))
    with opened(url) as storage:
        record(storage.log, add_user(storage, "carol"), created("c", name="Read"))
    second = done(cli("copy", "--from", url, "--to", there))

    assert [line.partition(":")[0] for line in (first + second).splitlines()] == ["6", "6", "8", "8"]
    assert done(cli("copy", "--from", url, "--to", there)) == second
    assert done(cli("--db", there, "verify")).endswith(f"{head(there)}\n")


def test_a_copy_into_another_log_is_refused(url: str) -> None:
    fill()
    make(user="dora", path=url)

    assert refused(cli("copy", "--from", "events.db", "--to", url)) == (
        "expected the target to be empty or a copy's beginning; found another event at 1"
    )


def test_a_copy_of_nothing_or_into_itself_is_refused(url: str) -> None:
    fill()
    assert refused(cli("copy", "--from", "none.db", "--to", url)).startswith("expected a log at none.db; found none")
    assert refused(cli("copy", "--from", url, "--to", "events.db")).startswith(f"expected a log at {shown(url)}; found")
    assert empty(url)
    assert "found one in both places" in misused(cli("copy", "--from", "events.db", "--to", "./events.db"))


# backup, restore


def test_a_backup_is_the_same_folder_from_either_engine_and_goes_back_into_either(url: str, there: str) -> None:
    fill(url)
    anchor = head(url)
    told = done(cli("--db", url, "backup", "saved"))

    manifest = json.loads(Path("saved/manifest.json").read_text())
    assert told.splitlines()[-1] == anchor == f"{manifest['position']}:{manifest['digest']}"
    assert sorted(path.name for path in Path("saved").iterdir()) == ["events.db", "manifest.json"]
    for db in ("new.db", there):
        restored = done(cli("--db", db, "restore", "saved"))
        assert restored.splitlines()[-2:] == [anchor, f"restored {shown(db)} from saved"]
        assert done(cli("--db", db, "verify", "--expect", anchor)) == done(cli("--db", url, "verify"))
        assert done(cli("--db", db, "replay")) == done(cli("--db", url, "replay"))
    assert PASSWORD not in told


def test_a_backup_of_a_file_goes_into_postgresql_and_only_once(url: str) -> None:
    fill()
    done(cli("backup", "saved"))
    make(user="dora", path="other.db")
    done(cli("--db", "other.db", "backup", "other"))
    done(cli("--db", url, "restore", "saved"))
    done(cli("--db", url, "restore", "saved"))

    assert "found another event at 6" in refused(cli("--db", url, "restore", "other"))
    assert done(cli("--db", url, "verify")) == done(cli("verify"))


@pytest.mark.parametrize(
    "tamper", ["a changed letter", "a changed letter and its checksum", "a shorter log and its checksum", "no manifest"]
)
def test_a_backup_that_was_tampered_with_is_not_restored_and_nothing_is_made(url: str, tamper: str) -> None:
    with opened("events.db") as storage:
        record(storage.log, add_user(storage, "bob"), *(created(f"g{n}", name=f"goal {n}") for n in range(40)))
    done(cli("backup", "saved"))
    TAMPERINGS[tamper](Path("saved"))

    assert "expected" in refused(cli("--db", url, "restore", "saved")) or tamper == "a shorter log and its checksum"
    assert empty(url)


# As a role that may read and append, and no more.


@pytest.fixture
def roles(url: str) -> Roles:
    """A log that its owner made for a service role."""
    roles = roles_on(url)
    done(cli("--db", roles.owner, "migrate", "--service", SERVICE))
    return roles


def test_all_that_the_command_line_does_it_does_as_the_service_role(roles: Roles) -> None:
    db = roles.service
    assert done(cli("--db", db, "import", outline(), "--user", "alice")) == "read as JSON: imported 5 goals for alice\n"
    assert done(cli("--db", db, "tree", "alice")) == DRAWN
    assert len(done(cli("--db", db, "replay")).splitlines()) == 7
    assert len(done(cli("--db", db, "export", "--format", "ndjson")).splitlines()) == 7
    assert done(cli("--db", db, "rebuild")).count("equal to the old rows") == 2
    assert done(cli("--db", db, "rebuild")).count("equal to the old rows") == 2
    assert "serves again" in done(cli("--db", db, "rollback", "goal_tree"))
    assert done(cli("--db", db, "rebuild", "--user", "alice")).count("of alice anew") == 2
    assert "sound" in done(cli("--db", db, "verify"))
    done(cli("--db", db, "backup", "saved"))
    done(cli("copy", "--from", db, "--to", "copied.db"))


def test_what_the_owner_does_locks_the_service_out_of_nothing(roles: Roles) -> None:
    done(cli("--db", roles.owner, "import", outline(), "--user", "alice"))
    for one, other in ((roles.owner, roles.service), (roles.service, roles.owner)):
        for _ in range(2):
            assert done(cli("--db", one, "rebuild")).count("equal to the old rows") == 2
        assert done(cli("--db", other, "rebuild", "--user", "alice")).count("of alice anew") == 2
        assert "serves again" in done(cli("--db", other, "rollback", "goal_tree"))
        assert "sound" in done(cli("--db", other, "verify"))


def test_the_service_serves_as_the_service_role_and_tells_nobody_the_password(roles: Roles) -> None:
    assert PASSWORD in roles.service
    port = free_port()
    command = [sys.executable, "-m", "es_goals", "--db", roles.service]
    command += ["serve", "--open", "--port", str(port), "--workers", "1"]
    with Path("output.txt").open("wb") as output:
        serving = subprocess.Popen(command, stdout=output, stderr=output)  # noqa: S603
    try:
        wait_for(lambda: "The API: " in Path("output.txt").read_text(), "the service to greet")
        served(f"http://127.0.0.1:{port}", roles)
        workers = Path(f"/proc/{serving.pid}/task/{serving.pid}/children").read_text().split()
        titles = [title_of(pid) for pid in (str(serving.pid), *workers)]
    finally:
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(20) == 0
    told = Path("output.txt").read_text()

    assert f"Over Achiever {__version__} listens on " in told
    assert f"(log {shown(roles.service)}; 1 workers; no accounts, so this machine only)" in told
    assert PASSWORD not in told
    assert len(titles) == 2
    assert all("es-goals" in title and PASSWORD not in title for title in titles), titles


def title_of(pid: str) -> str:
    """What everybody sees of a process."""
    return "\n".join(Path(f"/proc/{pid}/{file}").read_text() for file in ("cmdline", "comm"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--db", "{}", "verify"],
        ["--db={}", "verify"],
        ["--db", "{}", "serve", "--open", "--port", "0"],
        ["copy", "--from", "{}", "--to", "copy.db"],
        ["copy", "--from={}", "--to=copy.db"],
        ["copy", "--to", "{}", "--from", "events.db"],
        ["copy", "--to={}", "--from=events.db"],
    ],
    ids=" ".join,
)
def test_a_password_among_the_arguments_is_nobodys_to_see_once_the_server_is_asked(arguments: list[str]) -> None:
    fill()
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"postgresql://ann:{PASSWORD}@127.0.0.1:{server.getsockname()[1]}/goals?password={PASSWORD}"
        command = [sys.executable, "-m", "es_goals", *(argument.format(url) for argument in arguments)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:  # noqa: S603
            server.settimeout(20)
            connection, _ = server.accept()
            title = title_of(str(process.pid))
            connection.close()
            process.kill()

    assert "postgresql://ann@127.0.0.1:" in title
    assert PASSWORD not in title


def served(url: str, roles: Roles) -> None:
    """Commands, reads, and a rebuild by the owner beside them."""
    import httpx2

    with httpx2.Client(base_url=url, timeout=20) as client:
        assert client.post("/v2/users", json={"name": "alice"}).status_code == 201
        goal = client.post("/v2/users/alice/goals", json={"name": "Run"}, headers={"Idempotency-Key": "k"})
        again = client.post("/v2/users/alice/goals", json={"name": "Run"}, headers={"Idempotency-Key": "k"})
        assert (goal.json(), again.headers["Idempotent-Replayed"]) == (again.json(), "true")
        assert "equal to the old rows" in done(cli("--db", roles.owner, "rebuild", "goal_tree"))
        assert client.post("/v2/users/alice/goals", json={"name": "Swim"}).status_code == 201
        tree = client.get("/v2/users/alice/goals").json()
        assert [one["name"] for one in tree["goals"]] == ["Run", "Swim"]
        assert client.get("/readyz").status_code == 200
        assert PASSWORD not in client.get("/metrics").text + client.get("/readyz").text


@pytest.mark.parametrize(
    "db",
    [
        "host=127.0.0.1 user=goals password=s3cret dbname=goals",
        "POSTGRESQL://goals:s3cret@db1/goals",
        "postgresql+psycopg://goals:s3cret@db1/goals",
        "postgresql:/goals:s3cret@db1/goals",
        "mysql://goals:s3cret@db1/goals",
    ],
)
@pytest.mark.parametrize("command", [["serve", "--open", "--port", "0"], ["tree", "ann"], ["migrate"]], ids=" ".join)
def test_a_database_of_another_form_is_no_path_and_its_password_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, db: str, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    why = refused(cli("--db", db, *command))

    assert why == "expected a path, or a URL that begins with postgresql://; found another form"
    assert list(tmp_path.iterdir()) == []
