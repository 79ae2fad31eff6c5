"""The command line's part of proofs: keys, checkpoints, evidence, and checking it apart from the log."""

import os
import secrets
from pathlib import Path
from typing import BinaryIO

import click

from es_goals.cli.database import opened, user_of
from es_goals.configured import checkpoints_file, checkpoints_of
from es_goals.ids import wall_clock
from es_goals.proving.checkpoints import LONGEST_REASON
from es_goals.proving.evidence import Evidence, check
from es_goals.proving.keys import make_key, read_keys
from es_goals.proving.tree import HashTree
from es_goals.settings import PREFIX, Settings
from es_goals.storage.log import PAGE, user_events


@click.group("key")
def key_group() -> None:
    """Keys that sign the log's checkpoints."""


@key_group.command("new")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--name", help="What the log is called in its checkpoints, such as goals.example/log.  [default: made up]"
)
@click.option("--rotate", is_flag=True, help="Add one of the same name to a file that has one; both sign from then on.")
def new_key(file: Path, name: str | None, rotate: bool) -> None:
    """Make a signing key in a new file that nobody else may read, and print what it is verified with."""
    before = read_keys(file.read_text("utf-8")) if rotate else []
    if rotate and name is not None:
        raise click.UsageError("expected --name or --rotate, which keeps the name; found both")
    if rotate and not before:
        raise click.ClickException(f"expected a key in {file}; found none")
    key = make_key(before[0].verifier.name if before else name or f"over-achiever-{secrets.token_hex(4)}")
    _write(file, "".join(f"{one.line}\n" for one in [*before, key]), anew=not rotate)
    click.echo(key.verifier.vkey)


def _write(file: Path, text: str, *, anew: bool) -> None:
    """All of it or nothing, and on disk."""
    if anew and file.exists():
        raise click.ClickException(f"expected a file that is not there yet; found {file} (--rotate adds a key to it)")
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(descriptor)
    part.replace(file)


@click.command()
@click.option("--accept-rollback", is_flag=True, help="Go on from a log that contradicts the newest checkpoint.")
@click.option("--reason", metavar="TEXT", help="Why, which is noted.")
@click.pass_obj
def checkpoint(settings: Settings, accept_rollback: bool, reason: str | None) -> None:
    """Sign a checkpoint of the log as it is now, keep it, and print it."""
    if accept_rollback != bool(reason):
        raise click.UsageError("expected --accept-rollback with --reason; found one without the other")
    if reason is not None and len(reason) > LONGEST_REASON:
        raise click.UsageError(f"expected a reason of at most {LONGEST_REASON} characters; found {len(reason)}")
    if accept_rollback and not checkpoints_file(settings):
        raise click.ClickException(f"expected a file of checkpoints, which {PREFIX}CHECKPOINTS names; found none")
    with opened(settings) as storage:
        tree = HashTree(storage)
        tree.catch_up()
        checkpoints = checkpoints_of(settings, storage.log, tree, wall_clock)
        click.echo(checkpoints.accept(reason) if reason else checkpoints.current(), nl=False)


@click.command()
@click.argument("user")
@click.pass_obj
def evidence(settings: Settings, user: str) -> None:
    """Write a user's events with proofs that they are in the log, for `check` to read without it."""
    with opened(settings) as storage:
        tree = HashTree(storage)
        tree.catch_up()
        note = checkpoints_of(settings, storage.log, tree, wall_clock).current()
        found = Evidence(tree, storage.log.id, user_of(storage.log, user).id, note)
        after = 0
        click.echo(found.begin(), nl=False)
        while lines := user_events(storage.log, found.user, after, PAGE, until=found.size):
            click.echo(found.add(lines), nl=False)
            after = lines[-1].position
        click.echo(found.end(), nl=False)


@click.command("check")
@click.argument("file", type=click.File("rb"))
@click.option("--key", "vkey", metavar="VKEY", help="What its checkpoint must be signed with.")
def check_(file: BinaryIO, vkey: str | None) -> None:
    """Check evidence, as `evidence` and the service write it, with nothing but the file."""
    shown = check(file, vkey)
    said = shown.checkpoint
    click.echo(
        f"{len(shown.events)} events of {shown.user} are in the log {said.origin}, in their order, none left out"
    )
    click.echo(f"as of {said.size}:{said.root.hex()}")
    if shown.signed:
        click.echo("which is signed with the key")
    else:
        click.echo("whose signature was not checked: compare this digest with one you kept, or give --key", err=True)
