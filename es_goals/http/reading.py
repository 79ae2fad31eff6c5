"""Answers reads of goals: from ready bytes where nothing has changed, else from a tree made in a thread."""

from functools import partial

from falcon.asgi import Request, Response

from es_goals.goals import GoalNotFound
from es_goals.http import requests, trees
from es_goals.http.context import JSON, Context
from es_goals.http.trees import Forest, Ready, Shape
from es_goals.storage import User

_GOAL_TREE = "goal_tree"
_SMALL = 300  # goals and events that the event loop may handle itself, in about 1 ms; a thread costs as much


def private(resp: Response, *, settled: bool = False) -> None:
    """The caching headers of every answer about goals."""
    resp.set_header("Cache-Control", "private, max-age=3600, immutable" if settled else "private, no-cache")
    resp.set_header("Vary", "Authorization, Access-Token")


async def answer(
    context: Context, req: Request, resp: Response, owner: User, goal_id: str | None, shape: Shape, as_of: str | None
) -> None:
    """A user's tree (`goal_id` None) or one goal of it."""
    until, settled = (None, False) if as_of is None else context.as_of(as_of)
    private(resp, settled=settled)
    generation = context.projector.sound_generation(_GOAL_TREE).id
    # What was asked as of a position never changes; what is live is as new as the user's last event.
    version = context.recent.version(owner.id) if until is None else 0
    view = str(shape) if until is None else f"{shape}@{until}"
    if goal_id is None and until is None:
        tag = trees.etag(0, version, generation, view)
        if _unchanged(req, resp, tag):
            return
    key = (owner.id, goal_id, view)
    ready = context.answers.get(key)
    if ready is None or ready.generation != generation or (until is None and ready.version != version):
        made = partial(_made, context, owner, goal_id, shape, view, until, version)
        known = context.forests.get(owner.id)
        unfolded, goals = (version - known.view.version, len(known.nodes)) if known else (version, 0)
        small = until is None and unfolded + goals <= _SMALL
        ready = made() if small else await context.in_thread(made)
        context.answers.put(key, ready)
    if not _unchanged(req, resp, ready.etag):
        resp.set_header("ETag", ready.etag)
        resp.content_type = JSON
        resp.data = ready.data


def _unchanged(req: Request, resp: Response, tag: str) -> bool:
    if not requests.not_modified(req, tag):
        return False
    resp.status = "304 Not Modified"
    resp.set_header("ETag", tag)
    return True


def _made(
    context: Context, owner: User, goal_id: str | None, shape: Shape, view: str, until: int | None, version: int
) -> Ready:
    forest = _forest(context, owner, until, version)
    seen = forest.view
    if goal_id is None:
        tag = trees.etag(0, seen.version, seen.generation, view)
        return Ready(seen.version, seen.generation, tag, trees.whole(forest, shape))
    row = seen.by_key.get((owner.id, goal_id))
    if row is None or row.root is not None:
        raise GoalNotFound(goal_id)
    tag = trees.etag(row.revision, seen.version, seen.generation, view)
    return Ready(seen.version, seen.generation, tag, trees.one(forest, goal_id, shape))


def _forest(context: Context, owner: User, until: int | None, version: int) -> Forest:
    if until is not None:
        return trees.forest(context.projector.view(_GOAL_TREE, owner.id, until), owner.name)
    known = context.forests.get(owner.id)
    generation = context.projector.generation(_GOAL_TREE).id
    if known is not None and (known.view.version, known.view.generation) == (version, generation):
        return known
    seen = context.projector.read(_GOAL_TREE, owner.id, known.view if known else None)
    forest = trees.forest(seen, owner.name, known)
    context.forests.put(owner.id, forest)
    return forest
