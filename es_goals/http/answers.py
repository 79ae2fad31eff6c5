"""Writes answers: their bodies, tags and places, and what may keep them. All headers of an answer are set here."""

from hashlib import sha256
from typing import Annotated, Any

import msgspec
from falcon.asgi import Response
from msgspec import Meta, Struct

from es_goals.http import problems, requests
from es_goals.http.describe.operation import Operation
from es_goals.http.edge.streams import Stream
from es_goals.http.exchange import Request
from es_goals.http.problems import Refusal
from es_goals.service import Outcome

JSON = "application/json; charset=utf-8"
PERSONAL = "private, no-cache"
WHO_ASKS = "Authorization, Access-Token, Cookie"

EVENTS_SHOWN = 1_000
PUBLIC = "public, max-age=3600"

_encode = msgspec.json.Encoder().encode


def json(resp: Response, value: Any) -> None:
    """A value as JSON."""
    encoded(resp, _encode(value))


class TriedEvent(Struct, frozen=True):
    """An event that would be recorded. `data` is what the log would hold."""

    type: str
    goal_id: str
    data: msgspec.Raw


_RESULT = "what it would answer, without a position; with `answer` a TriedDiff, or a TreeAnswer of a flat view"


class DryRun(Struct, frozen=True):
    """What a command would do. `version` and `position`: those of the user's last event, on which it was tried;
    `events`: the first 1,000 of those that it would record."""

    dry_run: bool
    version: int
    position: int
    events_count: int
    events: list[TriedEvent]
    result: Annotated[Any, Meta(description=_RESULT)]


def command(resp: Response, outcome: Outcome, value: Any, place: str | None = None, tag: str | None = None) -> None:
    """What a command came to, or would. `place`: where what it made is; `tag`: of its goal."""
    if outcome.tried is not None:
        events = [
            TriedEvent(type(one).__name__, one.goal_id, msgspec.Raw(_encode(one)))
            for one in outcome.tried[:EVENTS_SHOWN]
        ]
        result = value if outcome.instead is None else msgspec.Raw(outcome.instead)
        json(resp, DryRun(True, outcome.version, outcome.position, len(outcome.tried), events, result))
        return
    recorded(resp, outcome.position, outcome.command, replayed=outcome.replayed)
    json(resp, value)
    if tag is not None:
        resp.set_header("ETag", tag)
    if place is not None:
        created(resp, place)


def encoded(resp: Response, data: bytes, content_type: str = JSON) -> None:
    """What is bytes already."""
    resp.data = data
    resp.content_type = content_type


def created(resp: Response, place: str) -> None:
    """Something was made, which is at this place."""
    resp.status = "201 Created"
    resp.set_header("Location", place)


def nothing(resp: Response) -> None:
    """It is done, and there is nothing to tell."""
    resp.status = "204 No Content"


def recorded(resp: Response, position: int, command: str | None = None, *, replayed: bool = False) -> None:
    """Where the log tells of it, and as which command on goals, if it is one and recorded anything; `replayed`: the
    answer is that of an earlier request with the same key."""
    resp.set_header("Position", str(position))
    if command is not None:
        resp.set_header("Command", command)
    if replayed:
        resp.set_header("Idempotent-Replayed", "true")


def next_page(resp: Response, place: str | None) -> None:
    """Where the rest of a list is, if there is one."""
    if place is not None:
        resp.set_header("Link", f'<{place}>; rel="next"')


def secret(resp: Response) -> None:
    """An answer that nobody may keep."""
    resp.set_header("Cache-Control", "no-store")


def personal(resp: Response) -> None:
    """An answer that depends on who asks, of a path that is for everybody, and that nobody may keep."""
    secret(resp)
    resp.append_header("Vary", WHO_ASKS)


def settled(resp: Response) -> None:
    """A personal answer that will never change."""
    resp.set_header("Cache-Control", "private, max-age=3600, immutable")


def tag(resp: Response, tag: str) -> None:
    """What the client may name in If-Match from now on."""
    resp.set_header("ETag", tag)


def tagged(req: Request, resp: Response, tag: str) -> bool:
    """Set the tag; whether the client has this answer already, which then comes without a body. Raises Refusal where
    If-Match names other tags."""
    requests.expect_match(req, tag)
    theirs = requests.unmodified_tag(req, tag)
    resp.set_header("ETag", theirs or tag)
    if theirs is None:
        return False
    resp.status = "304 Not Modified"
    return True


def public(req: Request, resp: Response, data: bytes, content_type: str) -> None:
    """What is the same for everybody until the service is another version."""
    resp.set_header("Cache-Control", PUBLIC)
    if not tagged(req, resp, f'"{sha256(data).hexdigest()[:16]}"'):
        encoded(resp, data, content_type)


def accepted(resp: Response, resource: object) -> None:
    """What a path takes (RFC 9110, section 10.2.1, and RFC 5789, section 3.1): methods, OPTIONS among them, and media
    types of bodies, none of them compressed."""
    allowed = resp.get_header("Allow")
    if allowed is not None and "OPTIONS" not in allowed:
        resp.set_header("Allow", f"{allowed}, OPTIONS")
    for name in ("post", "patch"):
        one = getattr(getattr(resource, f"on_{name}", None), "operation", None)
        if one is not None and one.body is not None:
            resp.set_header(f"Accept-{name.title()}", ", ".join(one.media_types))
            resp.set_header("Accept-Encoding", "identity")


async def judge_untagged(req: Request, resp: Response) -> None:
    """The preconditions of a read that succeeded and has no tag (RFC 9110, section 13.1): something is there."""
    try:
        requests.expect_any(req)
        if req.headers.get("if-none-match", "").strip() != "*":
            return
        resp.status = "304 Not Modified"
    except Refusal as refusal:
        await problems.handle(req, resp, refusal, {})
    else:
        resp.data = None
    if isinstance(resp.stream, Stream):
        await resp.stream.close()
        resp.stream = None


def mark(resp: Response, one: Operation | None) -> None:
    """Say what may keep an answer, unless a handler has said more: what depends on who asks is theirs alone, and of the
    rest nothing is kept."""
    if resp.get_header("Cache-Control") is None:
        resp.set_header("Cache-Control", "no-store" if one is None or one.needs == "nobody" else PERSONAL)
    if one is None or one.needs != "nobody":
        resp.append_header("Vary", WHO_ASKS)
