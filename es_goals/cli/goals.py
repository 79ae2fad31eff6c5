"""The command line's part of goals: import, export, tree, replay."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import Any

import click
import msgspec

from es_goals.accounts.names import valid_user_name
from es_goals.cli import outlines, terminal
from es_goals.cli.database import ACTOR, opened, read_models, user_of
from es_goals.configured import limits_of
from es_goals.events import TYPES, micros, moment
from es_goals.goals.commands import Command, CompleteGoal, CreateGoal, Limits
from es_goals.goals.rules import decide
from es_goals.goals.state import Goals, evolve
from es_goals.ids import Uuid7, uuid_of, wall_clock
from es_goals.reads import TREE, history
from es_goals.reads import blame as blames
from es_goals.reads import diff as diffs
from es_goals.reads.history import event_answer
from es_goals.reads.pool import FairPool
from es_goals.reads.search import Query, parse
from es_goals.reads.trees import TreeOptions, UserTree, shown, whole
from es_goals.service import RejectedAt, Request, Service
from es_goals.settings import Settings
from es_goals.storage import Storage
from es_goals.storage.log import Cause, Log, User, pages, user_events
from es_goals.upkeep import verification
from es_goals.values import InvalidValue, Rejected

LARGEST = 2**63 - 1


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--user", "name", required=True, help="Whose goals they become; made if there is none.")
@click.pass_obj
def import_(settings: Settings, file: Any, name: str) -> None:
    """Goals from nested JSON, a text outline or OPML; - is standard input. All or nothing."""
    items = outlines.parse(file.read())
    with opened(settings) as storage:
        count = asyncio.run(_import(storage, items, name, limits_of(settings)))
    click.echo(f"imported {count} goals for {name}")


async def _import(storage: Storage, items: list[outlines.Item], name: str, limits: Limits) -> int:
    new_id = Uuid7(wall_clock)
    commands = list(_commands(items, new_id))
    user = storage.log.user_named(name) or User(new_id(), valid_user_name(name), None, 0)
    with FairPool(1) as pool:
        # At most two events a goal, and nobody waits for it but who called it.
        service = Service(storage.log, pool, 0, limits=limits, events=2 * limits.goals)
        try:
            if not user.created_at:
                _would_pass(commands, limits)
                user = (await service.register(user, Cause(new_id(), ACTOR))).user
            if commands:
                await service.execute(Request(user.id, commands, Cause(new_id(), ACTOR), batch=True))
        except RejectedAt as error:
            number = sum(isinstance(one, CreateGoal) for one in commands[: error.index + 1])
            raise click.ClickException(f"goal {number} of the outline: {error}") from error
        finally:
            service.close()
    return len(items)


def _commands(items: list[outlines.Item], new_id: Uuid7) -> Iterator[Command]:
    above: list[str] = []
    for item in items:
        goal_id = new_id()
        del above[item.depth :]
        yield CreateGoal(goal_id, item.name, above[-1] if above else None, item.description)
        above.append(goal_id)
        if item.done:
            yield CompleteGoal(goal_id)


def _would_pass(commands: list[Command], limits: Limits) -> None:
    """Refuse before the user is made: nothing of a bad outline is kept, not even that."""
    scratch, at = Goals(), wall_clock()
    for index, command in enumerate(commands):
        try:
            events = decide(scratch, command, moment(at), limits)
        except Rejected as error:
            raise RejectedAt(index, error) from error
        for event in events:
            evolve(scratch, event, at)


@click.command()
@click.option("--user", "name", help="Whose tree, or only whose events.")
@click.option("--format", "kind", type=click.Choice(["json", "opml", "ndjson"]), default="json", show_default=True)
@click.pass_obj
def export(settings: Settings, name: str | None, kind: str) -> None:
    """A user's tree as JSON or OPML, or the whole log as NDJSON."""
    with opened(settings) as storage:
        if kind == "ndjson":
            _print_events(storage.log, user_of(storage.log, name) if name else None)
            return
        if name is None:
            raise click.UsageError(f"expected --user: {kind} holds one user's tree")
        user = user_of(storage.log, name)
        view = read_models(storage).read(TREE, user.id)
        trees = UserTree(view, user.name)
        if kind == "json":
            click.echo(whole(trees, TreeOptions()))
            return
        items = [
            outlines.Item(node.depth, node.row.name, node.row.description, node.row.end is not None)
            for node in trees.nodes
            if node.row.root is None
        ]
        click.echo(outlines.to_opml(items, f"{user.name}'s goals"), nl=False)


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
            view = projector.view(TREE, found.id, _reached(storage.log, as_of, "--as-of"))
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
        until = log.head().position if as_of is None else _reached(log, as_of, "--as-of")
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
        points = (_point(first, "--from"), None if last is None else _point(last, "--to"))
        return history.span(log, wall_clock(), *points)
    except history.NoSpan as error:
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
    goal = goal and goal.lower()
    with opened(settings) as storage:
        owner = user_of(storage.log, name).id if name else None
        end = None if until is None else _position(storage.log, until, "--until")
        teller = terminal.HistoryFormatter(storage.log, gaps=goal is not None or kind is not None)
        if goal is not None and storage.log.owner(goal) is None:
            raise click.ClickException(f"expected the id of a goal; found {goal!r}")
        read = partial(user_events, storage.log, owner, until=end, subject=goal, type=kind)
        for line in chain.from_iterable(pages(read, attrgetter("position"), after)):
            click.echo(msgspec.json.encode(event_answer(line)) if as_json else teller.line(line))


def _reached(log: Log, text: str, option: str) -> int:
    """As `_position`, of what the log has got to. Raises BadParameter."""
    until, head = _position(log, text, option), log.head().position
    if until > head:
        raise click.BadParameter(f"expected a position up to {head}; found {until}", param_hint=option)
    return until


def _position(log: Log, text: str, option: str) -> int:
    """The log position that a position or an RFC 3339 time names."""
    point = _point(text, option)
    return log.position_at(micros(point)) if isinstance(point, datetime) else point


def _point(text: str, option: str) -> int | datetime:
    """A log position or a time. Raises BadParameter."""
    if text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= LARGEST:
        return int(text)
    try:
        time = msgspec.convert(text, datetime)
        if time.tzinfo is None:
            raise ValueError
    except ValueError as error:
        raise click.BadParameter(f"expected an RFC 3339 time with an offset or a position; found {text!r}",
                                 param_hint=option) from error  # fmt: skip
    return time
