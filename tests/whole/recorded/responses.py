"""HTTP responses, as they are recorded."""

import re
from http.client import HTTPResponse
from typing import Any

import msgspec
from msgspec import UNSET

from tests.whole.recorded.exchanges import Answer, Exchange, encode
from tests.whole.recorded.masks import Masks

USUAL = {
    "content-length": "<length>",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "date": "<date>",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-request-id": "<request>",
}
"""Headers that most answers have: recorded are those that are others, or missing."""


def answer(response: HTTPResponse, exchange: Exchange, masks: Masks) -> Answer:
    """Read it, and mask what differs each time."""
    data = _blocks(response, exchange.blocks) if exchange.blocks else response.read()
    headers, text = _headers(response), data.decode("utf-8", "backslashreplace")
    request_id = headers.get("x-request-id")
    if request_id and request_id != exchange.headers.get("X-Request-Id"):
        headers["x-request-id"], text = "<request>", text.replace(request_id, "<request>")
    if headers.get("content-length") == str(len(data)):
        headers["content-length"] = "<length>"
    if "command" in headers:  # not in 1.3.0, where the id is first seen in the command's events
        headers["command"] = "<command>"
    shown: dict[str, str | None] = {
        name: masks.hide(value, exchange.id) for name, value in headers.items() if value != USUAL.get(name)
    }
    shown |= dict.fromkeys(USUAL.keys() - headers.keys())
    text = masks.hide(picked(text, exchange), exchange.id)
    body = _compact(text)
    return Answer(response.status, dict(sorted(shown.items())), body, text if body is UNSET else "")


def _blocks(response: HTTPResponse, count: int) -> bytes:
    """The first ones of a stream; an empty line ends each."""
    read: list[bytes] = []
    while read.count(b"\n") < count and (line := response.readline()):
        read.append(line)
    return b"".join(read)


def _headers(response: HTTPResponse) -> dict[str, str]:
    """By name, without what the clock has a part in."""
    headers: dict[str, str] = {}
    for name, value in sorted((name.lower(), value) for name, value in response.getheaders()):
        headers[name] = f"{headers[name]} | {value}" if name in headers else value
    if "date" in headers:
        headers["date"] = USUAL["date"]
    if "ratelimit" in headers:
        headers["ratelimit"] = re.sub(r"r=\d+;t=\d+", "r=<left>;t=<seconds>", headers["ratelimit"])
    if headers.get("retry-after", "1") != "1":
        headers["retry-after"] = "<seconds>"
    return headers


def picked(text: str, exchange: Exchange) -> str:
    """What is compared of a body, or all of it where that is not there."""
    if exchange.lines:
        return "\n".join(line for line in text.split("\n") if re.search(exchange.lines, line))
    if not exchange.pick:
        return text
    try:
        body = msgspec.json.decode(text)
        for step in exchange.pick.split("/")[1:]:
            body = body[int(step) if isinstance(body, list) else step.replace("~1", "/").replace("~0", "~")]
        return encode(list(body) if exchange.names else body).decode()
    except (msgspec.DecodeError, LookupError, TypeError, ValueError):
        return text


def _compact(text: str) -> Any:
    """JSON as it is, if it is written without a space; UNSET if not."""
    try:
        body = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return UNSET
    return body if encode(body).decode() == text else UNSET
