"""Answers reads of goals: from ready bytes where nothing has changed, else from a tree made in a thread."""

from functools import partial
from zlib import crc32

from falcon.asgi import Request, Response

from es_goals.events import goals_stream
from es_goals.goals.commands import GoalNotFound
from es_goals.http import requests
from es_goals.http.context import JSON, TREE, Context
from es_goals.reads import trees
from es_goals.reads.cache import LogCache
from es_goals.reads.replica import has_position, has_version
from es_goals.reads.trees import CachedAnswer, TreeOptions, UserTree
from es_goals.storage.log import User

_SMALL = 300  # goals and events that the event loop may handle itself, in about 1 ms; a thread costs as much


def private(resp: Response, *, settled: bool = False) -> None:
    """The caching headers of every answer about goals."""
    resp.set_header("Cache-Control", "private, max-age=3600, immutable" if settled else "private, no-cache")
    resp.set_header("Vary", "Authorization, Access-Token")


async def answer(
    context: Context,
    req: Request,
    resp: Response,
    owner: User,
    goal_id: str | None,
    shape: TreeOptions,
    as_of: str | None,
) -> None:
    """A user's tree (`goal_id` None) or one goal of it."""
    until, settled = (None, False) if as_of is None else await context.quickly(lambda: context.as_of(as_of))
    private(resp, settled=settled)
    # What was asked as of a position never changes; what is live is as new as the user's last event.
    version, generation = await context.ask(partial(_seen, context.recent, owner.id if until is None else None))
    view = f"{shape}.{crc32(owner.name.encode()):x}"  # the answer names its user, who may be renamed
    if until is not None:
        view += f"@{until}"
    if goal_id is None and until is None:
        tag = trees.etag(0, version, generation, view)
        if _unchanged(req, resp, tag):
            return
    key = (owner.id, goal_id, view)
    ready = context.answers.get(key)
    if ready is None or ready.generation != generation or (until is None and ready.version != version):
        made = partial(_made, context, owner, goal_id, shape, view, until, version, generation)
        known = context.forests.get(owner.id)
        unfolded, goals = (version - known.view.version, len(known.nodes)) if known else (version, 0)
        small = context.log.is_local and until is None and unfolded + goals <= _SMALL
        ready = made() if small else await context.in_thread(made)
        context.answers.put(key, ready)
    if not _unchanged(req, resp, ready.etag):
        resp.set_header("ETag", ready.etag)
        resp.content_type = JSON
        resp.data = ready.data


def _seen(recent: LogCache, user_id: str | None) -> tuple[int, int]:
    """A user's version and the generation to read; with no user, 0."""
    return (0 if user_id is None else recent.version_seen(user_id)), recent.generation()


def _unchanged(req: Request, resp: Response, tag: str) -> bool:
    if not requests.not_modified(req, tag):
        return False
    resp.status = "304 Not Modified"
    resp.set_header("ETag", tag)
    return True


def _made(
    context: Context,
    owner: User,
    goal_id: str | None,
    shape: TreeOptions,
    view: str,
    until: int | None,
    version: int,
    generation: int,
) -> CachedAnswer:
    forest = _forest(context, owner, until, version, generation)
    seen = forest.view
    if goal_id is None:
        tag = trees.etag(0, seen.version, seen.generation, view)
        return CachedAnswer(seen.version, seen.generation, tag, trees.whole(forest, shape))
    row = seen.by_key.get((owner.id, goal_id))
    if row is None or row.root is not None:
        raise GoalNotFound(goal_id)
    tag = trees.etag(row.revision, seen.version, seen.generation, view)
    return CachedAnswer(seen.version, seen.generation, tag, trees.one(forest, goal_id, shape))


def _forest(context: Context, owner: User, until: int | None, version: int, generation: int) -> UserTree:
    if until is not None:
        seen = context.read(has_position(until), lambda one: one.projector.view(TREE, owner.id, until))
        return trees.forest(seen, owner.name)
    known = context.forests.get(owner.id)
    if known and (known.view.version, known.view.generation, known.user) == (version, generation, owner.name):
        return known
    has, view = has_version(goals_stream(owner.id), version), known.view if known else None
    seen = context.read(has, lambda one: one.projector.read(TREE, owner.id, view))
    forest = trees.forest(seen, owner.name, known)
    context.forests.put(owner.id, forest)
    return forest
