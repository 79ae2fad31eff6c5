"""The command line's part of undo."""

import asyncio
from collections.abc import Sequence
from functools import partial

import click

from es_goals import undoing
from es_goals.cli.database import ACTOR, opened, user_of
from es_goals.configured import limits_of
from es_goals.deciding import Request
from es_goals.goals.commands import Limits, Undo
from es_goals.ids import Uuid7, uuid_of, wall_clock
from es_goals.reads.history import LARGEST
from es_goals.reads.pool import FairPool
from es_goals.service import Outcome, Service
from es_goals.settings import Settings
from es_goals.storage.deadlines import NEVER
from es_goals.storage.log import Cause, Log, User
from es_goals.undoing import Blocked, Chosen


@click.command()
@click.argument("user")
@click.option("--position", type=click.IntRange(1, LARGEST), help="The command that recorded this position.")
@click.option("--command", "command_id", metavar="ID", help="The command of this id.")
@click.option("--last", is_flag=True, help="The latest that undoes nothing and is not undone.")
@click.option("--with-later", is_flag=True, help="Also later commands that are in the way.")
@click.option("--dry-run", is_flag=True, help="Say what would be undone, and do nothing.")
@click.option("--reason", help="Why, for the log.")
@click.pass_obj
def undo(
    settings: Settings,
    user: str,
    position: int | None,
    command_id: str | None,
    last: bool,
    with_later: bool,
    dry_run: bool,
    reason: str | None,
) -> None:
    """Set back what a command did, by a new one: all of it, or nothing where later changes are in the way."""
    if (position is not None) + (command_id is not None) + last != 1:
        raise click.UsageError("expected one of --position, --command and --last")
    with opened(settings) as storage:
        log = storage.log
        found = user_of(log, user)
        chosen = _latest(log, found) if last else Chosen(position, [] if command_id is None else [_id(command_id)])
        undoer = _Undoer(log, limits_of(settings), found, reason, dry_run)
        try:
            click.echo(asyncio.run(undoer.undo(chosen, with_later)))
        except Blocked as refusal:
            raise click.ClickException(_told(refusal)) from refusal


def _id(text: str) -> str:
    return uuid_of(text) or text


def _latest(log: Log, user: User) -> Chosen:
    command = undoing.latest(log, user.id)
    if command is None:
        raise click.ClickException(f"expected a command of {user.name} that is not undone; found none")
    return Chosen(commands=[command])


def _told(refusal: Blocked) -> str:
    """A line for each blocker, and what to do."""
    lines = [undoing.sentence(one) for one in refusal.blockers]
    if (more := refusal.count - len(lines)) > 0:
        lines.append(f"and {more} more")
    if refusal.commands is not None:
        lines.append(f"--with-later undoes {len(refusal.commands)} commands, with which it can be undone")
    return "\n".join(lines)


class _Undoer:
    def __init__(self, log: Log, limits: Limits, user: User, reason: str | None, dry_run: bool) -> None:
        self._log, self._limits, self._user, self._reason, self._dry_run = log, limits, user, reason, dry_run

    async def undo(self, chosen: Chosen, with_later: bool) -> str:
        """Undo it, and return a sentence. Raises Blocked."""
        with FairPool(1) as pool:
            service = Service(self._log, pool, 0, self._limits, events=2 * self._limits.goals)
            run = partial(undoing.undo, self._log, pool, self._limits, self._user.id)
            try:
                try:
                    undos, outcome = await run(chosen, partial(self._send, service), NEVER)
                except Blocked as refusal:
                    if not with_later or refusal.commands is None:
                        raise
                    chosen = Chosen(commands=refusal.commands)
                    undos, outcome = await run(chosen, partial(self._send, service), NEVER)
            finally:
                service.close()
        return self._sentence(len(undos), outcome)

    async def _send(self, service: Service, undos: Sequence[Undo]) -> Outcome:
        cause = Cause(Uuid7(wall_clock)(), ACTOR, self._reason)
        request = Request(self._user.id, undos, cause, batch=len(undos) > 1)
        if self._dry_run:
            return await service.dry_run(request, wall_clock(), NEVER)
        return await service.execute(request)

    def _sentence(self, undone: int, outcome: Outcome) -> str:
        goals = len(outcome.results)
        if not goals:
            return f"nothing is left to undo for {self._user.name}"
        done = f"{undone} command{'s' * (undone > 1)} of {self._user.name}: {goals} goal{'s' * (goals > 1)} changed"
        if self._dry_run:
            return f"would undo {done}"
        return f"undid {done}, at position {outcome.position}, by the command {outcome.command}"
