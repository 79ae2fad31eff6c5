"""The command line's part of goals: import, export, tree, replay."""

import asyncio
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import Any, cast

import click
import msgspec

from es_goals import outlines
from es_goals.accounts.names import valid_user_name
from es_goals.cli import terminal
from es_goals.cli.database import ACTOR, opened, read_models, user_of
from es_goals.configured import limits_of, options_of
from es_goals.deciding import RejectedAt, Request
from es_goals.events import TYPES, GoalEvent, goals_stream, moment
from es_goals.files import commands_of, items_of, names_at_the_top, outline_of, place_of
from es_goals.goals.commands import Command, Limits
from es_goals.goals.rules import decide
from es_goals.goals.state import Goals, evolve
from es_goals.ids import Uuid7, uuid_of, wall_clock
from es_goals.outlines import Outline
from es_goals.reads import TREE, history
from es_goals.reads import blame as blames
from es_goals.reads import diff as diffs
from es_goals.reads.history import LARGEST, BeyondHead, event_answer, point_of, settle
from es_goals.reads.pool import FairPool
from es_goals.reads.search import Query, parse
from es_goals.reads.trees import TreeOptions, UserTree, shown, whole
from es_goals.service import Service
from es_goals.settings import Settings
from es_goals.storage import Storage, exists
from es_goals.storage.log import Cause, Log, User, all_lines, pages, user_events
from es_goals.upkeep import verification
from es_goals.values import InvalidValue, Rejected


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--user", "name", required=True, help="Whose goals they become; made if there is none.")
@click.option("--format", "kind", type=click.Choice([*outlines.FORMATS]), help="What the file is, if not recognised.")
@click.option("--strict", is_flag=True, help="Refuse a file of which anything would be left out or changed.")
@click.option("--dry-run", is_flag=True, help="Say what would become of the file, and do nothing.")
@click.pass_obj
def import_(settings: Settings, file: Any, name: str, kind: str | None, strict: bool, dry_run: bool) -> None:
    """Goals from the files of outliners, task lists and calendars; - is standard input. All or nothing."""
    limits = limits_of(settings)
    outline = outline_of(file.read(), kind, limits)
    if strict and outline.notes.is_loss:
        raise click.ClickException(f"expected a file that comes over as it is, by --strict; found: {outline.notes}")
    if dry_run:
        names = _try_import(settings, outline, name, limits)
    else:
        with opened(settings) as storage:
            names = asyncio.run(_import(storage, outline, name, limits))
    click.echo(outlines.summary(outline, "would import" if dry_run else "imported", name))
    if again := outlines.repeated(outline, names):
        click.echo(again)


async def _import(storage: Storage, outline: Outline, name: str, limits: Limits) -> list[str]:
    """Import it, and return the names that were at the top before."""
    new_id = Uuid7(wall_clock)
    commands = list(commands_of(outline, new_id))
    user = storage.log.user_named(name) or User(new_id(), valid_user_name(name), None, 0)
    names = names_at_the_top(_goals_of(storage.log, user.id))
    with FairPool(1) as pool:
        # At most two events a goal, and nobody waits for it but who called it.
        service = Service(storage.log, pool, 0, limits, events=2 * limits.goals)
        try:
            if not user.created_at:
                _would_pass(outline, commands, Goals(), limits)
                user = (await service.register(user, Cause(new_id(), ACTOR))).user
            await service.execute(Request(user.id, commands, Cause(new_id(), ACTOR), batch=True))
        except RejectedAt as error:
            raise click.ClickException(f"{place_of(outline, commands, error.index)}: {error}") from error
        finally:
            service.close()
    return names


def _try_import(settings: Settings, outline: Outline, name: str, limits: Limits) -> list[str]:
    """Judge it as an import would, and return the names that are at the top. Makes no log where there is none."""
    known = Goals()
    if exists(settings.db, options_of(settings)):
        with opened(settings) as storage:
            user = storage.log.user_named(name)
            known = known if user is None else _goals_of(storage.log, user.id)
    valid_user_name(name)
    names = names_at_the_top(known)
    _would_pass(outline, list(commands_of(outline, Uuid7(wall_clock))), known, limits)
    return names


def _goals_of(log: Log, owner: str) -> Goals:
    known = Goals()
    for line in all_lines(log, stream=goals_stream(owner)):
        evolve(known, cast(GoalEvent, line.event), line.at)
    return known


def _would_pass(outline: Outline, commands: list[Command], known: Goals, limits: Limits) -> None:
    """Refuse before the user is made: nothing of a bad outline is kept, not even that. Changes `known`."""
    at = wall_clock()
    for index, command in enumerate(commands):
        try:
            events = decide(known, command, moment(at), limits)
        except Rejected as error:
            raise click.ClickException(f"{place_of(outline, commands, index)}: {error}") from error
        for event in events:
            evolve(known, event, at)


@click.command()
@click.option("--user", "name", help="Whose tree, or only whose events.")
@click.option(
    "--format", "kind", type=click.Choice(["json", *outlines.WRITTEN, "ndjson"]), default="json", show_default=True
)
@click.pass_obj
def export(settings: Settings, name: str | None, kind: str) -> None:
    """A user's tree in a format that others read, or the whole log as NDJSON."""
    with opened(settings) as storage:
        if kind == "ndjson":
            _print_events(storage.log, user_of(storage.log, name) if name else None)
            return
        if name is None:
            raise click.UsageError(f"expected --user: {kind} holds one user's tree")
        user = user_of(storage.log, name)
        tree = UserTree(read_models(storage).read(TREE, user.id), user.name)
        if kind == "json":
            click.echo(whole(tree, TreeOptions()))
        else:
            click.echo(outlines.write(items_of(tree.nodes), kind, f"{user.name}'s goals"), nl=False)


def _print_events(log: Log, user: User | None) -> None:
    for line in verification.lines(log):
        if user is None or line.owner == user.id:
            click.echo(msgspec.json.encode(event_answer(line)))


@click.command()
@click.argument("user")
@click.option("--as-of", metavar="T", help="An RFC 3339 time or a log position.")
@click.option("--find", metavar="WORDS", help="Only goals in which all these words occur, and those above them.")
@click.pass_obj
def tree(settings: Settings, user: str, as_of: str | None, find: str | None) -> None:
    """A user's goals, drawn."""
    options = TreeOptions(find=None if find is None else _query(find))
    with opened(settings) as storage:
        found = user_of(storage.log, user)
        projector = read_models(storage)
        if as_of is None:
            view = projector.read(TREE, found.id)
        else:
            view = projector.view(TREE, found.id, _position(storage.log, as_of, "--as-of"))
        for line in terminal.drawing(found.name, shown(UserTree(view, found.name), options)):
            click.echo(line)


def _query(words: str) -> Query:
    """Raises BadParameter."""
    try:
        return parse(words)
    except InvalidValue as error:
        raise click.BadParameter(str(error), param_hint="--find") from error


@click.command()
@click.argument("user")
@click.option("--from", "first", metavar="T", required=True, help="An RFC 3339 time or a log position.")
@click.option("--to", "last", metavar="T", help="An RFC 3339 time or a log position; now if not given.")
@click.option("--goal", metavar="ID", help="Only this goal, and what is or was below it.")
@click.option("--json", "as_json", is_flag=True, help="For machines: as GET /v2/users/{user}/diff answers it.")
@click.pass_obj
def diff(settings: Settings, user: str, first: str, last: str | None, goal: str | None, as_json: bool) -> None:
    """What differs between a user's goals at two points, a line a goal."""
    with opened(settings) as storage:
        found, log = user_of(storage.log, user), storage.log
        span = _span(log, first, last)
        goal_id = goal and (uuid_of(goal) or goal)
        differing = diffs.between(log, found.id, span, goal_id)
        if as_json:
            click.echo(diffs.encoded(differing, found.name))
            return
        for line in diffs.text(differing, found.name).decode().splitlines():
            click.secho(line, fg=terminal.DIFF_COLOURS.get(line[:2]))


@click.command()
@click.argument("goal")
@click.option("--as-of", metavar="T", help="An RFC 3339 time or a log position.")
@click.option("--below", is_flag=True, help="Also of all goals below.")
@click.option("--json", "as_json", is_flag=True, help="For machines: as GET /v2/goals/{goal_id}/blame answers it.")
@click.pass_obj
def blame(settings: Settings, goal: str, as_of: str | None, below: bool, as_json: bool) -> None:
    """Which event made each field of a goal what it is: when, who, why."""
    goal_id = uuid_of(goal) or goal
    with opened(settings) as storage:
        log = storage.log
        owner = log.owner(goal_id)
        if owner is None:
            raise click.ClickException(f"expected the id of a goal; found {goal!r}")
        until = log.head().position if as_of is None else _position(log, as_of, "--as-of")
        if below:
            goals = blames.of_branch(log, owner, goal_id, until)
            data = blames.encoded_branch(goals, goal_id, until) if as_json else None
        else:
            goals = iter([one := blames.of_goal(log, goal_id, until)])
            data = blames.encoded(one, until) if as_json else None
        for line in terminal.blamed(log, goals) if data is None else [data]:
            click.echo(line)


def _span(log: Log, first: str, last: str | None) -> history.Span:
    """Raises BadParameter."""
    try:
        points = (point_of(first, "from"), None if last is None else point_of(last, "to"))
        return history.span(log, wall_clock(), *points)
    except (history.NoSpan, InvalidValue) as error:
        raise click.BadParameter(str(error), param_hint=f"--{error.field}") from error


@click.command()
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
    goal = goal and (uuid_of(goal) or goal)
    with opened(settings) as storage:
        owner = user_of(storage.log, name).id if name else None
        end = None if until is None else _position(storage.log, until, "--until")
        _position(storage.log, str(after), "--after")
        teller = terminal.HistoryFormatter(storage.log, gaps=goal is not None or kind is not None)
        if goal is not None and storage.log.owner(goal) is None:
            raise click.ClickException(f"expected the id of a goal; found {goal!r}")
        read = partial(user_events, storage.log, owner, until=end, subject=goal, type=kind)
        for line in chain.from_iterable(pages(read, attrgetter("position"), after)):
            click.echo(msgspec.json.encode(event_answer(line)) if as_json else teller.line(line))


def _position(log: Log, text: str, option: str) -> int:
    """The log position that a position or an RFC 3339 time names. Raises BadParameter."""
    try:
        return settle(log, point_of(text, option))[0]
    except (BeyondHead, InvalidValue) as error:
        raise click.BadParameter(str(error), param_hint=option) from error
