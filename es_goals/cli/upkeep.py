"""The command line's part of upkeep: rebuild, verify, backup and their kin."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import click

from es_goals.cli import terminal
from es_goals.cli.accounts import end_all_tokens
from es_goals.cli.database import expect_log, opened, read_models, storage_at, user_of
from es_goals.configured import checkpoints_of, options_of
from es_goals.ids import wall_clock
from es_goals.proofs import Checkpoint
from es_goals.proving.checkpoints import ADVICE, Contradicted, read_signed
from es_goals.proving.tree import HashTree
from es_goals.rebuild import Rebuilder
from es_goals.settings import Settings
from es_goals.storage import Storage, copying, open_storage
from es_goals.storage import migrate as migrate_storage
from es_goals.storage.log import Log
from es_goals.storage.place import is_file, shown
from es_goals.upkeep import backup, verification

HASHES = "hashes"
"""What `rebuild` calls the tree over the log."""

NICENESS = 10  # how nice long work is to a service beside it: readers' 99th percentile was 41 ms during a rebuild


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--user", "name", help="Only this user's rows.")
@click.pass_obj
def rebuild(settings: Settings, names: tuple[str, ...], name: str | None) -> None:
    """Fold read models anew from the log, all of them and the tree's hashes if none is named, as the service runs."""
    os.nice(max(0, NICENESS - os.nice(0)))
    with opened(settings) as storage:
        projector = read_models(storage)
        rebuilder = Rebuilder(projector)
        for model in names or (*projector.models, HASHES):
            if model == HASHES:
                _rebuild_hashes(storage, always=bool(names) and name is None)
                continue
            if name is not None:
                rows = rebuilder.rebuild_user(model, user_of(storage.log, name).id)
                click.echo(f"{model}: folded {rows} rows of {name} anew")
                continue
            began = perf_counter()
            with terminal.progress(f"rebuilding {model}") as progress:
                done = rebuilder.rebuild(model, progress)
            rate = done.events / max(perf_counter() - began, 1e-6)
            click.echo(f"{model}: {done.events} events, {rate:,.0f} a second, {done.rows} rows; {_changed(done)}")


def _rebuild_hashes(storage: Storage, *, always: bool) -> None:
    """Told where it was asked for by name, or where the hashes were wrong: they are nobody's read model."""
    with terminal.progress(f"rebuilding {HASHES}") as progress:
        events, wrong = HashTree(storage).rebuild(progress)
    if wrong:
        click.echo(f"{HASHES}: {events} events; {wrong} tiles were not those of the log")
    elif always:
        click.echo(f"{HASHES}: {events} events; equal to the old ones")


def _changed(done: Any) -> str:
    if done.gone is None:
        return "not compared with the old rows, which had failed or were far behind"
    if not done.gone and not done.came:
        return "equal to the old rows"
    keys = ", ".join("/".join(str(part) for part in key) for key in done.keys)
    return f"{done.gone} old rows gone, {done.came} new ones: {keys}"


@click.command()
@click.argument("name")
@click.pass_obj
def rollback(settings: Settings, name: str) -> None:
    """Undo the last rebuild of a read model."""
    with opened(settings) as storage:
        generation = Rebuilder(read_models(storage)).roll_back(name)
    click.echo(f"{name}: generation {generation.id} serves again, at position {generation.position}")


@click.command()
@click.option("--service", metavar="ROLE", help="PostgreSQL: let this role serve; it may read and append, no more.")
@click.pass_obj
def migrate(settings: Settings, service: str | None) -> None:
    """Make the log, or bring one of an older schema to this version's; as PostgreSQL's owner of it."""
    if service is not None and is_file(settings.db):
        raise click.UsageError("expected a postgresql:// URL with --service; a file has no roles")
    schema = migrate_storage(settings.db, wall_clock, options_of(settings), service)
    click.echo(f"{shown(settings.db)}: schema {schema}" + (f"; {service} may serve" if service else ""))


@click.command()
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


@click.command()
@click.option("--expect", metavar="POSITION:DIGEST", help="What the log must begin with.")
@click.option(
    "--checkpoint",
    "kept",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A checkpoint that was kept elsewhere, or a file of them: what the log must begin with.",
)
@click.option("--key", "vkey", metavar="VKEY", help="What --checkpoint must be signed with.")
@click.pass_obj
def verify(settings: Settings, expect: str | None, kept: Path | None, vkey: str | None) -> None:
    """Check the log and every read model against a fold from scratch; names the first difference."""
    if (kept is None) != (vkey is None):
        raise click.UsageError("expected --checkpoint with --key; found one without the other")
    signed = read_signed(kept.read_bytes(), vkey, str(kept)) if kept is not None and vkey is not None else []
    try:
        anchor = None if expect is None else verification.parse_anchor(expect)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--expect") from error
    with opened(settings) as storage:
        newest = checkpoints_of(settings, storage.log, HashTree(storage), wall_clock).newest()
        try:
            _verify(storage, anchor, [*signed, *([] if newest is None else [newest])])
        except verification.Rewritten as error:
            raise click.ClickException(f"{error}{'' if signed else f' ({ADVICE})'}") from error
    for one in signed[-1:]:
        click.echo(f"the log begins as the checkpoint of {one.origin} at {one.size} says", err=True)


def _verify(storage: Storage, anchor: verification.Anchor | None, kept: Sequence[Checkpoint] = ()) -> None:
    with terminal.progress("hashing the log") as progress:
        HashTree(storage).catch_up(progress)
    stored = verification.StoredTree(storage.tiles)
    with terminal.progress("reading the log") as progress:
        checked = verification.verify_log(storage.log, anchor, progress, kept, stored)
    click.echo(f"log: {checked.head.position} events, {checked.users} users, {checked.goals} goals: sound")
    projector = read_models(storage)
    for name, model in projector.models.items():
        projector.catch_up(model)
        with terminal.progress(f"folding {name}") as progress:
            rows = verification.verify_read_model(storage, model, progress)
        click.echo(f"{name}: {rows} rows equal a fold from scratch")
    click.echo(str(checked.head))


@click.command("backup")
@click.argument("dest", type=click.Path(path_type=Path))
@click.pass_obj
def backup_(settings: Settings, dest: Path) -> None:
    """Copy the log into a new folder while the service runs, with a manifest of checksums."""
    with opened(settings) as storage, terminal.progress("copying") as progress:
        manifest = backup.back_up(storage.log, dest, wall_clock, progress)
    click.echo(f"backed up {manifest.bytes} bytes to {dest}\n{manifest.position}:{manifest.digest}")


@click.command("restore")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--keep-tokens", is_flag=True, help="Leave API tokens as good as they were.")
@click.pass_obj
def restore_(settings: Settings, source: Path, keep_tokens: bool) -> None:
    """Check a backup, put it where no log is yet, fold the read models, and verify. Ends all sessions and tokens."""

    def prepare(log: Log) -> None:
        if not keep_tokens and (revoked := end_all_tokens(log)):
            click.echo(f"revoked {revoked} API tokens (--keep-tokens keeps them)")

    open_target = partial(open_storage, settings.db, wall_clock, options_of(settings))
    if not is_file(settings.db):
        with terminal.progress("copying") as progress:
            storage, manifest = backup.restore_into(source, open_target, wall_clock, progress, prepare)
    else:
        manifest = backup.restore(source, Path(settings.db), wall_clock, prepare)
        storage = open_target()
    try:
        _verify(storage, verification.Anchor(manifest.position, manifest.digest))
        _warn_of_rollback(settings, storage)
    finally:
        storage.close()
    click.echo(f"restored {shown(settings.db)} from {source}")


def _warn_of_rollback(settings: Settings, storage: Storage) -> None:
    """What checkpoints know beyond a backup is gone on purpose, which `serve` wants to be told."""
    try:
        checkpoints_of(settings, storage.log, HashTree(storage), wall_clock).expect_continued()
    except Contradicted as error:
        click.echo(f"before it is served: {error}", err=True)
