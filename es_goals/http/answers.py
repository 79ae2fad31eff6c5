"""Writes answers: their bodies, tags and places, and what may keep them. All headers of an answer are set here."""

from typing import Any

import msgspec
from falcon.asgi import Response

from es_goals.http import requests
from es_goals.http.describe.operation import Operation
from es_goals.http.exchange import Request

JSON = "application/json; charset=utf-8"
PERSONAL = "private, no-cache"
WHO_ASKS = "Authorization, Access-Token"

UNMARKED = frozenset({
    "/v1.0/goals", "/v1.0/users", "/v2/users", "/v2/users/{user}", "/v2/users/{user}/commands", "/v2/projections",
    "/v2/projections/{name}", "/v2/projections/{name}/rebuild", "/v2/projections/{name}/rollback", "/metrics",
})  # fmt: skip
"""Routes whose personal answers do not say that they are."""

_encode = msgspec.json.Encoder().encode


def json(resp: Response, value: Any) -> None:
    """A value as JSON."""
    encoded(resp, _encode(value))


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


def recorded(resp: Response, position: int, *, replayed: bool = False) -> None:
    """Where the log tells of it; `replayed`: the answer is that of an earlier request with the same key."""
    resp.set_header("Position", str(position))
    if replayed:
        resp.set_header("Idempotent-Replayed", "true")


def next_page(resp: Response, place: str | None) -> None:
    """Where the rest of a list is, if there is one."""
    if place is not None:
        resp.set_header("Link", f'<{place}>; rel="next"')


def secret(resp: Response) -> None:
    """An answer that nobody may keep."""
    resp.set_header("Cache-Control", "no-store")


def settled(resp: Response) -> None:
    """A personal answer that will never change."""
    resp.set_header("Cache-Control", "private, max-age=3600, immutable")
    resp.set_header("Vary", WHO_ASKS)


def tagged(req: Request, resp: Response, tag: str) -> bool:
    """Set the tag; whether the client has this answer already, which is then told without a body."""
    resp.set_header("ETag", tag)
    if not requests.not_modified(req, tag):
        return False
    resp.status = "304 Not Modified"
    return True


def mark_personal(req: Request, resp: Response, one: Operation) -> None:
    """Whatever depends on who asks says so, unless a handler has said more."""
    if one.needs != "nobody" and req.uri_template not in UNMARKED and resp.get_header("Cache-Control") is None:
        resp.set_header("Cache-Control", PERSONAL)
        resp.append_header("Vary", WHO_ASKS)
