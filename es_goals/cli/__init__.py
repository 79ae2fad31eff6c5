"""The command line. It works on the database directly, also while the service runs."""

import os
import re
import sys
from functools import partial
from typing import Any

import click
from msgspec import structs

from es_goals import __version__
from es_goals.accounts.changes import NoSuchToken
from es_goals.cli import goals, proofs, upkeep
from es_goals.cli.accounts import token, user_group
from es_goals.cli.serve import serve
from es_goals.cli.undo import undo
from es_goals.deciding import RejectedAt
from es_goals.events import UndecodableEvent
from es_goals.logs import configure
from es_goals.outlines import BadOutline, CannotWrite
from es_goals.projector import NoSuchProjection, ProjectionBehind
from es_goals.proofs import ProofRefused
from es_goals.proving.checkpoints import BadCheckpoints, Contradicted
from es_goals.proving.keys import BadKey
from es_goals.rebuild import AlreadyRebuilding, NothingToRollBackTo
from es_goals.settings import InvalidSetting, from_env
from es_goals.storage.errors import StorageError
from es_goals.storage.place import shown
from es_goals.undoing import CommandNotFound
from es_goals.upkeep.backup import Refused
from es_goals.upkeep.verification import Mismatch
from es_goals.values import Rejected

_EXPECTED = (
    StorageError,
    Rejected,
    RejectedAt,
    InvalidSetting,
    NoSuchProjection,
    NoSuchToken,
    AlreadyRebuilding,
    NothingToRollBackTo,
    ProjectionBehind,
    BadOutline,
    CannotWrite,
    Refused,
    Mismatch,
    UndecodableEvent,
    CommandNotFound,
    BadKey,
    BadCheckpoints,
    Contradicted,
    ProofRefused,
)


DB_HELP = "The log: a path or postgresql:// URL; ES_GOALS_DB too.  [default: events.db]"


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
        except OSError as error:
            raise click.ClickException(_of_system(error)) from error
        except _EXPECTED as error:
            raise click.ClickException(str(error)) from error


def _of_system(error: OSError) -> str:
    """What the system says, as a sentence without its numbers."""
    place = f" {error.filename}" if error.filename else ""
    return f"expected to read and write{place}; found: {error.strerror or error}"


@click.group(cls=Group)
@click.version_option(__version__)
@click.option("--db", metavar="DB", help=DB_HELP)
@click.pass_context
def main(context: click.Context, db: str | None) -> None:
    """Over Achiever: an event-sourced goal service."""
    os.umask(0o077)  # what is made here holds hashes, addresses, people's goals
    _hide_passwords(sys.argv)
    settings = from_env(os.environ, partial(click.echo, err=True))
    context.obj = structs.replace(settings, db=db) if db else settings
    configure("warning" if context.invoked_subcommand != "serve" else context.obj.log_level)


def _hide_passwords(arguments: list[str]) -> None:
    """Everybody on a machine can read what its processes were started with."""
    shown_arguments = [
        re.sub(r"postgres(ql)?://.*", lambda url: shown(url[0]), one, flags=re.DOTALL) for one in arguments
    ]
    if shown_arguments != arguments:
        from setproctitle import setproctitle

        setproctitle(" ".join(shown_arguments))


def _take_db(command: click.Command) -> None:
    """Let a command, and those in it, take `--db` as those before it do."""
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        _take_db(inner)
    if not isinstance(command, click.Group):
        command.params.append(click.Option(["--db"], metavar="DB", help=DB_HELP, expose_value=False, callback=_use_db))


def _use_db(context: click.Context, _: click.Parameter, db: str | None) -> None:
    if db:
        context.obj = structs.replace(context.obj, db=db)


for command in (
    serve,
    user_group,
    token,
    goals.import_,
    goals.export,
    goals.tree,
    goals.replay,
    goals.diff,
    goals.blame,
    undo,
    upkeep.rebuild,
    upkeep.rollback,
    upkeep.migrate,
    upkeep.copy,
    upkeep.verify,
    proofs.checkpoint,
    proofs.evidence,
    proofs.key_group,
    upkeep.backup_,
    upkeep.restore_,
):
    _take_db(command)
    main.add_command(command)
main.add_command(proofs.check_)  # which has no use for a log
