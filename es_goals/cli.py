"""The command line. It works on the database directly, also while the service runs."""

import asyncio
import errno
import ipaddress
import math
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter, sleep
from typing import Any

import click
import msgspec
from msgspec import structs

import projections
from es_goals import __version__, backup, goals, outlines, terminal, verification
from es_goals.accounts import NoSuchToken
from es_goals.cli_accounts import end_all_tokens, expect_administrator, token, user_group
from es_goals.cli_storage import ACTOR, expect_log, opened, options, storage_at, user_of
from es_goals.clock import wall_clock
from es_goals.events import TYPES, UndecodableEvent, micros, moment
from es_goals.ids import Uuid7
from es_goals.logs import configure
from es_goals.projector import AlreadyRebuilding, NoSuchProjection, NothingToRollBackTo, ProjectionBehind, Projector
from es_goals.service import RejectedAt, Request, Service
from es_goals.settings import PREFIX, InvalidSetting, Settings, from_env
from es_goals.storage import (
    Cause,
    Log,
    Storage,
    StorageError,
    User,
    copying,
    exists,
    is_postgres,
    open_storage,
    shown,
    user_events,
)
from es_goals.storage import migrate as migrate_storage
from es_goals.users import valid_user_name
from projections.goal_tree import tree as in_order

LARGEST = 2**63 - 1
PORT_SECONDS = 3.0
RELUCTANT = 10  # how nice long work is to a service beside it: readers' 99th percentile was 41 ms during a rebuild

_EXPECTED = (
    StorageError,
    goals.Rejected,
    RejectedAt,
    InvalidSetting,
    NoSuchProjection,
    NoSuchToken,
    AlreadyRebuilding,
    NothingToRollBackTo,
    ProjectionBehind,
    outlines.BadOutline,
    backup.Refused,
    verification.Mismatch,
    UndecodableEvent,
    OSError,
)


class Group(click.Group):
    """Errors that can be expected are told in one sentence on standard error, with exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # whoever read the output has seen enough; click ends quietly
        except UnicodeEncodeError as error:  # an argument's bytes that are no text come as lone surrogates
            raise click.ClickException(f"expected text in UTF-8; found {error.object!r}") from error
        except _EXPECTED as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Group)
@click.version_option(__version__)
@click.option("--db", metavar="DB", help="The log: a path or postgresql:// URL; ES_GOALS_DB too.  [default: events.db]")
@click.pass_context
def main(context: click.Context, db: str | None) -> None:
    """Over Achiever: an event-sourced goal service."""
    os.umask(0o077)  # what is made here holds hashes, addresses, people's goals
    _hide_passwords(sys.argv)
    settings = from_env(os.environ)
    context.obj = structs.replace(settings, db=db) if db else settings
    configure("warning" if context.invoked_subcommand != "serve" else context.obj.log_level)


def _hide_passwords(arguments: list[str]) -> None:
    """Everybody on a machine can read what its processes were started with."""
    told = [re.sub(r"postgres(ql)?://.*", lambda url: shown(url[0]), one, flags=re.DOTALL) for one in arguments]
    if told != arguments:
        from setproctitle import setproctitle

        setproctitle(" ".join(told))


@main.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; PORT too.  [default: 8000]")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes that serve.  [default: 2]")
@click.option("--open", "is_open", is_flag=True, help="Serve without accounts, on loopback only.")
@click.pass_obj
def serve(settings: Settings, host: str | None, port: int | None, workers: int | None, is_open: bool) -> None:
    """Serve the API, and make the log on first use."""
    given = {"host": host, "port": port, "workers": workers, "open": is_open or None}
    settings = structs.replace(settings, **{name: value for name, value in given.items() if value is not None})
    if settings.open and not _loopback(settings.host):
        raise click.UsageError(
            f"expected a loopback address such as 127.0.0.1 with --open, without accounts; found {settings.host}"
        )
    if settings.replica and not is_postgres(settings.db):
        raise click.UsageError(
            f"expected a postgresql:// URL as {PREFIX}DB beside {PREFIX}REPLICA; found {settings.db}"
        )
    if settings.oidc_issuer and not settings.open:
        from es_goals.oidc import provider_of

        provider_of(settings, wall_clock)  # what it refuses is told before a log is made
    existed = exists(settings.db, options(settings))
    with _listen(settings) as listener, storage_at(settings, settings.db) as storage:
        if not settings.open:
            expect_administrator(settings, storage.log)
        settings = structs.replace(settings, port=listener.getsockname()[1])
        descriptor = listener.detach()
    # In memory where that can be: on a full disk these files, which are mapped, would kill whoever writes to them.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
    metrics, master = tempfile.mkdtemp(prefix="es-goals-metrics-", dir=memory), os.getpid()
    # Read when the metrics are imported, with the server.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics
    from es_goals.server import serve as run

    try:
        run(settings, descriptor, lambda: _greet(settings, existed))
    finally:
        # A worker that ends comes through here too, and leaves the folder to the others.
        if os.getpid() == master:
            shutil.rmtree(metrics, ignore_errors=True)


def _listen(settings: Settings) -> socket.socket:
    """Bound before gunicorn is, which would not tell the port that it was given for 0.

    The workers of a killed master hold the port until they notice, so a port that is taken is tried again for a while.
    """
    host, until = settings.host, monotonic() + PORT_SECONDS
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        try:
            return socket.create_server((host, settings.port), family=family, backlog=2048)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or monotonic() > until:
                found = os.strerror(error.errno or 0)
                message = f"expected to listen on {host} port {settings.port}; found: {found}"
                raise click.ClickException(message) from error
            sleep(0.1)


def _greet(settings: Settings, existed: bool) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{settings.port}"
    log = "log" if existed else "new log"
    click.echo(f"Over Achiever {__version__} listens on {url}")
    whose = "no accounts, so this machine only" if settings.open else "with accounts"
    token = "" if settings.open else " -H 'Authorization: Bearer TOKEN'"
    click.echo(f"({log} {shown(settings.db)}; {settings.workers} workers; {whose})")
    click.echo("Try first:")
    click.echo(f"""  curl{token} {url}/v2/users --json '{{"name": "alice"}}'""")
    click.echo(f"""  curl{token} {url}/v2/users/alice/goals --json '{{"name": "Run a marathon"}}'""")
    click.echo(f"  curl{token} {url}/v2/users/alice/goals")
    click.echo(f"The API: {url}/docs")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


main.add_command(user_group)
main.add_command(token)


@main.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--user", "name", required=True, help="Whose goals they become; made if there is none.")
@click.pass_obj
def import_(settings: Settings, file: Any, name: str) -> None:
    """Goals from nested JSON, a text outline or OPML; - is standard input. All or nothing."""
    items = outlines.parse(file.read())
    with opened(settings) as storage:
        count = asyncio.run(_import(storage, items, name, goals.Limits.of(settings)))
    click.echo(f"imported {count} goals for {name}")


async def _import(storage: Storage, items: list[outlines.Item], name: str, limits: goals.Limits) -> int:
    new_id = Uuid7(wall_clock)
    commands = list(_commands(items, new_id))
    user = storage.log.user_named(name) or User(new_id(), valid_user_name(name), None, 0)
    with ThreadPoolExecutor(1) as pool:
        # At most two events a goal, and nobody waits for it but who called it.
        service = Service(storage.log, pool, 0, deadline=math.inf, limits=limits, events=2 * limits.goals)
        try:
            if not user.created_at:
                _would_pass(commands, limits)
                user = (await service.register(user, Cause(new_id(), ACTOR))).user
            if commands:
                await service.execute(Request(user.id, commands, Cause(new_id(), ACTOR), batch=True))
        except RejectedAt as error:
            number = sum(isinstance(one, goals.CreateGoal) for one in commands[: error.index + 1])
            raise click.ClickException(f"goal {number} of the outline: {error}") from error
        finally:
            service.close()
    return len(items)


def _commands(items: list[outlines.Item], new_id: Uuid7) -> Iterator[goals.Command]:
    above: list[str] = []
    for item in items:
        goal_id = new_id()
        del above[item.depth :]
        yield goals.CreateGoal(goal_id, item.name, above[-1] if above else None, item.description)
        above.append(goal_id)
        if item.done:
            yield goals.CompleteGoal(goal_id)


def _would_pass(commands: list[goals.Command], limits: goals.Limits) -> None:
    """Refuse before the user is made: nothing of a bad outline is kept, not even that."""
    scratch, at = goals.Goals(), wall_clock()
    for index, command in enumerate(commands):
        try:
            events = goals.decide(scratch, command, moment(at), limits)
        except goals.Rejected as error:
            raise RejectedAt(index, error) from error
        for event in events:
            goals.evolve(scratch, event, at)


@main.command()
@click.option("--user", "name", help="Whose tree, or only whose events.")
@click.option("--format", "kind", type=click.Choice(["json", "opml", "ndjson"]), default="json", show_default=True)
@click.pass_obj
def export(settings: Settings, name: str | None, kind: str) -> None:
    """A user's tree as JSON or OPML, or the whole log as NDJSON."""
    from es_goals.http.trees import Shape, forest, whole

    with opened(settings) as storage:
        if kind == "ndjson":
            _print_events(storage.log, user_of(storage.log, name) if name else None)
            return
        if name is None:
            raise click.UsageError(f"expected --user: {kind} holds one user's tree")
        user = user_of(storage.log, name)
        trees = forest(Projector(storage.log, storage.views, projections.ALL).read("goal_tree", user.id), user.name)
        if kind == "json":
            click.echo(whole(trees, Shape()))
            return
        items = [
            outlines.Item(node.depth, node.row.name, node.row.description, node.row.end is not None)
            for node in trees.nodes
            if node.row.root is None
        ]
        click.echo(outlines.to_opml(items, f"{user.name}'s goals"), nl=False)


def _print_events(log: Log, user: User | None) -> None:
    from es_goals.http.events import event_answer

    for line in verification.lines(log):
        if user is None or line.owner == user.id:
            click.echo(msgspec.json.encode(event_answer(line)))


@main.command()
@click.argument("user")
@click.option("--as-of", metavar="T", help="An RFC 3339 time or a log position.")
@click.pass_obj
def tree(settings: Settings, user: str, as_of: str | None) -> None:
    """A user's goals, drawn."""
    with opened(settings) as storage:
        found = user_of(storage.log, user)
        projector = Projector(storage.log, storage.views, projections.ALL)
        if as_of is None:
            view = projector.read("goal_tree", found.id)
        else:
            until, head = _position(storage.log, as_of, "--as-of"), storage.log.head().position
            if until > head:
                raise click.BadParameter(f"expected a position up to {head}; found {until}", param_hint="--as-of")
            view = projector.view("goal_tree", found.id, until)
        for line in terminal.drawing(found.name, in_order(view.rows)):
            click.echo(line)


@main.command()
@click.option("--user", "name", help="Only this user's.")
@click.option("--goal", metavar="ID", help="Only this goal's.")
@click.option("--type", "kind", type=click.Choice(TYPES), metavar="T", help="Only events of this type.")
@click.option("--after", type=click.IntRange(0, LARGEST), default=0, help="Only behind this position.")
@click.option("--until", metavar="T", help="Up to an RFC 3339 time or a log position.")
@click.option("--json", "as_json", is_flag=True, help="For machines: as GET /v2/events answers them, a line each.")
@click.pass_obj
def replay(
    settings: Settings,
    name: str | None,
    goal: str | None,
    kind: str | None,
    after: int,
    until: str | None,
    as_json: bool,
) -> None:
    """The history: when, who, what, why."""
    from es_goals.http.events import event_answer

    goal = goal and goal.lower()
    with opened(settings) as storage:
        owner = user_of(storage.log, name).id if name else None
        end = None if until is None else _position(storage.log, until, "--until")
        teller = terminal.Storyteller(storage.log, gaps=goal is not None or kind is not None)
        if goal is not None and storage.log.owner(goal) is None:
            raise click.ClickException(f"expected the id of a goal; found {goal!r}")
        while page := user_events(storage.log, owner, after, until=end, subject=goal, type=kind):
            for line in page:
                click.echo(msgspec.json.encode(event_answer(line)) if as_json else teller.line(line))
            after = page[-1].position


@main.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--user", "name", help="Only this user's rows.")
@click.pass_obj
def rebuild(settings: Settings, names: tuple[str, ...], name: str | None) -> None:
    """Fold read models anew from the log, all of them if none is named, while the service runs."""
    os.nice(max(0, RELUCTANT - os.nice(0)))
    with opened(settings) as storage:
        projector = Projector(storage.log, storage.views, projections.ALL)
        for model in names or projector.models:
            if name is not None:
                rows = projector.rebuild_user(model, user_of(storage.log, name).id)
                click.echo(f"{model}: folded {rows} rows of {name} anew")
                continue
            began = perf_counter()
            with terminal.progress(f"rebuilding {model}") as progress:
                done = projector.rebuild(model, progress)
            rate = done.events / max(perf_counter() - began, 1e-6)
            click.echo(f"{model}: {done.events} events, {rate:,.0f} a second, {done.rows} rows; {_changed(done)}")


def _changed(done: Any) -> str:
    if done.gone is None:
        return "not compared with the old rows, which had failed or were far behind"
    if not done.gone and not done.came:
        return "equal to the old rows"
    keys = ", ".join("/".join(str(part) for part in key) for key in done.keys)
    return f"{done.gone} old rows gone, {done.came} new ones: {keys}"


@main.command()
@click.argument("name")
@click.pass_obj
def rollback(settings: Settings, name: str) -> None:
    """Undo the last rebuild of a read model."""
    with opened(settings) as storage:
        generation = Projector(storage.log, storage.views, projections.ALL).roll_back(name)
    click.echo(f"{name}: generation {generation.id} serves again, at position {generation.position}")


@main.command()
@click.option("--service", metavar="ROLE", help="PostgreSQL: let this role serve; it may read and append, no more.")
@click.pass_obj
def migrate(settings: Settings, service: str | None) -> None:
    """Make the log, or bring one of an older schema to this version's; as PostgreSQL's owner of it."""
    if service is not None and not is_postgres(settings.db):
        raise click.UsageError("expected a postgresql:// URL with --service; a file has no roles")
    schema = migrate_storage(settings.db, wall_clock, options(settings), service)
    click.echo(f"{shown(settings.db)}: schema {schema}" + (f"; {service} may serve" if service else ""))


@main.command()
@click.option("--from", "source", metavar="DB", required=True, help="The log that is copied.")
@click.option("--to", "target", metavar="DB", required=True, help="Where it is copied to; made if there is none.")
@click.pass_obj
def copy(settings: Settings, source: str, target: str) -> None:
    """A log to another place or engine, as it is; goes on where it was cut off."""
    expect_log(source, settings)
    with storage_at(settings, source) as old, storage_at(settings, target) as new:
        if old.log.id == new.log.id:
            raise click.UsageError("expected two logs; found one in both places")
        with terminal.progress("copying") as progress:
            head = copying.copy(old.log, new.log, progress)
        anchors = []
        for log in (old.log, new.log):
            with terminal.progress("comparing") as progress:
                anchors.append(verification.anchor(log, head.position, progress))
    for db, anchor in zip((source, target), anchors, strict=True):
        click.echo(f"{anchor}  {shown(db)}")
    if anchors[0] != anchors[1]:
        raise verification.Mismatch("expected both logs to be the same up to here; found two")


@main.command()
@click.option("--expect", metavar="POSITION:DIGEST", help="What the log must begin with.")
@click.pass_obj
def verify(settings: Settings, expect: str | None) -> None:
    """Check the log and every read model against a fold from scratch; names the first difference."""
    try:
        anchor = None if expect is None else verification.parse_anchor(expect)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--expect") from error
    with opened(settings) as storage:
        _verify(storage, anchor)


def _verify(storage: Storage, anchor: verification.Anchor | None) -> None:
    with terminal.progress("reading the log") as progress:
        checked = verification.verify_log(storage.log, anchor, progress)
    click.echo(f"log: {checked.head.position} events, {checked.users} users, {checked.goals} goals: sound")
    projector = Projector(storage.log, storage.views, projections.ALL)
    for name, model in projector.models.items():
        projector.catch_up(model)
        with terminal.progress(f"folding {name}") as progress:
            rows = verification.verify_read_model(storage, model, progress)
        click.echo(f"{name}: {rows} rows equal a fold from scratch")
    click.echo(str(checked.head))


@main.command("backup")
@click.argument("dest", type=click.Path(path_type=Path))
@click.pass_obj
def backup_(settings: Settings, dest: Path) -> None:
    """Copy the log into a new folder while the service runs, with a manifest of checksums."""
    with opened(settings) as storage, terminal.progress("copying") as progress:
        manifest = backup.back_up(storage.log, dest, wall_clock, progress)
    click.echo(f"backed up {manifest.bytes} bytes to {dest}\n{manifest.position}:{manifest.digest}")


@main.command("restore")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--keep-tokens", is_flag=True, help="Leave API tokens as good as they were.")
@click.pass_obj
def restore_(settings: Settings, source: Path, keep_tokens: bool) -> None:
    """Check a backup, put it where no log is yet, fold the read models, and verify. Ends all sessions and tokens."""

    def prepare(log: Log) -> None:
        if not keep_tokens and (revoked := end_all_tokens(log)):
            click.echo(f"revoked {revoked} API tokens (--keep-tokens keeps them)")

    if is_postgres(settings.db):
        open_target = partial(open_storage, settings.db, wall_clock, options(settings))
        with terminal.progress("copying") as progress:
            storage, manifest = backup.restore_into(source, open_target, wall_clock, progress, prepare)
    else:
        storage, manifest = backup.restore(source, Path(settings.db), wall_clock, prepare)
    try:
        _verify(storage, verification.Anchor(manifest.position, manifest.digest))
    finally:
        storage.close()
    click.echo(f"restored {shown(settings.db)} from {source}")


def _position(log: Log, text: str, option: str) -> int:
    """The log position that a position or an RFC 3339 time names."""
    if text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= LARGEST:
        return int(text)
    try:
        time = msgspec.convert(text, datetime)
        if time.tzinfo is None:
            raise ValueError
    except ValueError as error:
        raise click.BadParameter(f"expected an RFC 3339 time with an offset or a position; found {text!r}",
                                 param_hint=option) from error  # fmt: skip
    return log.position_at(micros(time))
