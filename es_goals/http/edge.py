"""Around every request: bodies that end too late, too early or never; ids, hosts and origins; logs and metrics."""

import asyncio
import re
import secrets
import sys
from collections.abc import Awaitable, Callable
from functools import lru_cache
from itertools import count
from time import monotonic, perf_counter
from typing import Any

import falcon
import structlog
from falcon.asgi import Request, Response

from es_goals import metrics
from es_goals.http.access import expect_allowed, operation_of, secret_of
from es_goals.http.context import Context
from es_goals.http.operation import Operation
from es_goals.http.problems import Refusal
from es_goals.http.requests import BODY_LIMIT
from es_goals.http.signing import GUESSES_SECONDS
from es_goals.logs import RequestLog
from es_goals.storage import StorageError

log = structlog.get_logger()

_HOST = r"(localhost|[a-z0-9.-]+\.localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?"
_LOOPBACK = re.compile(_HOST, re.IGNORECASE)
_ORIGIN = re.compile(rf"[a-z][a-z0-9+.-]*://{_HOST}", re.IGNORECASE)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
TIDY_SECONDS = 600.0
"""Between two looks for sessions, uses and attempts that are of no use any more."""
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_METHODS = frozenset(falcon.COMBINED_METHODS)

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Message, Receive, Any], Awaitable[None]]


class Bodies:
    """An ASGI application around another one. A body that stops half-way looks to Falcon as if it had ended, so
    it is refused here; so is one that is too large, before it is in memory, or not there in time."""

    def __init__(self, app: App, context: Context) -> None:
        self._app, self._seconds = app, context.settings.body_deadline
        self.context = context

    async def __call__(self, scope: Message, receive: Receive, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        if scope["type"] == "http" and any(name in _FRAMING and value != b"0" for name, value in scope["headers"]):
            body = _Body(receive, asyncio.get_running_loop().time() + self._seconds)
            await self._app(scope, body.receive, body.closing(send))
        else:
            await self._app(scope, receive, send)


class _Body:
    def __init__(self, receive: Receive, deadline: float) -> None:
        self._receive, self._deadline = receive, deadline
        self._size = 0
        self._begun = self._ended = False

    async def receive(self) -> Message:
        if self._ended:
            return await self._receive()
        if not self._begun:
            # Falcon wants a first message before it can answer; what is wrong with the head is told without waiting.
            self._begun = True
            return {"type": "http.request", "body": b"", "more_body": True}
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise Refusal("request-timeout", "expected the body in time; found part of it") from None
        if message["type"] == "http.disconnect":
            raise Refusal("malformed-request", "expected the whole body; found it cut short")
        self._size += len(message.get("body", b""))
        if self._size > BODY_LIMIT:
            raise Refusal("body-too-large", f"expected at most {BODY_LIMIT} bytes; found more")
        self._ended = not message.get("more_body", False)
        return message

    def closing(self, send: Any) -> Any:
        """Tell the client that the connection ends, where the rest of its body will not be read."""

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start" and not self._ended:
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        return told


class Gate:
    """Falcon's middleware: who is let in while the service is open, and what is told of every request."""

    def __init__(self, context: Context) -> None:
        self._context, self._tidy_at = context, 0.0
        self._ids = map(f"{secrets.token_hex(4)}-{{:08x}}".format, count())
        self._log = RequestLog(sys.stderr.buffer) if context.settings.log_level in ("debug", "info") else None

    async def process_request(self, req: Request, resp: Response) -> None:
        """Give the request its id; refuse what a page on the web could send."""
        req.context.started = perf_counter()
        req.context.caller = None
        req.context.address = req.remote_addr or ""
        self._context.begin()
        given = req.headers.get("x-request-id")
        req.context.request_id = given if given and _REQUEST_ID.fullmatch(given) else next(self._ids)
        resp.set_header("X-Request-Id", req.context.request_id)
        host, origin = req.headers.get("host"), req.headers.get("origin")
        if self._context.settings.open:
            _expect_this_machine(host, origin)
        if (req.content_length or 0) > BODY_LIMIT:
            raise Refusal("body-too-large", f"expected at most {BODY_LIMIT} bytes; found {req.content_length}")

    async def process_resource(self, req: Request, resp: Response, resource: object, params: Message) -> None:
        """Falcon answers 400 to a method that HTTP does not know; it is one that the path does not take."""
        del resp, params
        if not self._context.settings.open:
            await self._admit(req, operation_of(resource, req.method))
        if req.method not in _METHODS:
            taken = [method for method in falcon.HTTP_METHODS if hasattr(resource, f"on_{method.lower()}")]
            raise falcon.HTTPMethodNotAllowed([*taken, "OPTIONS"])

    async def _admit(self, req: Request, one: Operation) -> None:
        registration = self._context.settings.registration
        secret = None if one.needs == "nobody" else secret_of(req)
        if secret is None:
            if one.needs == "nobody" or (one.needs == "registration" and registration == "open"):
                return
            raise Refusal("unauthenticated", "expected Authorization: Bearer <token>; found none")
        req.context.caller = caller = await self._context.admitted(secret)
        if caller is None:
            raise Refusal("unauthenticated", "expected a token that is good; found one that is unknown or no more so")
        expect_allowed(one, req.method, caller, registration)

    async def process_response(self, req: Request, resp: Response, resource: object, succeeded: bool) -> None:
        """Count it and log it."""
        del resource, succeeded
        seconds = perf_counter() - req.context.started
        # Free text from a client would make a series of its own each time.
        route, method = req.uri_template or "none", req.method if req.method in _METHODS else "other"
        metrics.count_request(method, route, resp.status_code, seconds)
        if self._log:
            self._log.add(req.context.request_id, method, req.path, resp.status_code, seconds)

    async def process_startup(self, scope: Message, event: Message) -> None:
        """Begin the background tick, and go on with rebuilds that were cut off."""
        del scope, event
        context = self._context
        context.in_background(context.tail.run(self._look, self._tick, context.pool))
        context.log.watch(context.tail.wake)
        context.in_background(asyncio.to_thread(context.projector.resume))

    async def _look(self) -> int:
        """Also where nobody is known to have written."""
        context = self._context
        context.begin()
        if not context.settings.open and monotonic() >= self._tidy_at:
            self._tidy_at = monotonic() + TIDY_SECONDS
            context.in_background(asyncio.to_thread(self._tidy))
        return context.recent.look() if context.log.near else await context.ask(context.recent.head)

    def _tidy(self) -> None:
        context, now = self._context, self._context.clock()
        idle = max(context.settings.session_idle, context.settings.token_idle)
        try:
            context.sessions.tidy(now, now - idle * 1_000_000, now - GUESSES_SECONDS * 1_000_000)
        except StorageError as error:
            log.warning("sessions_not_tidied", detail=str(error))

    def _tick(self) -> None:
        self._context.log.tidy()
        self._context.projector.tick()

    async def process_shutdown(self, scope: Message, event: Message) -> None:
        """Finish what was taken."""
        del scope, event
        context = self._context
        context.tail.stop()
        context.projector.stop()
        await asyncio.to_thread(context.service.close)
        await context.drain()
        context.close()


def _expect_this_machine(host: str | None, origin: str | None) -> None:
    if host is not None and not _is_loopback(host):
        raise Refusal("misdirected", f"expected a loopback name as Host; found {host[:100]!r}")
    if origin is not None and not _ORIGIN.fullmatch(origin):
        raise Refusal("foreign-origin", f"expected an origin on this machine; found {origin[:100]!r}")


@lru_cache
def _is_loopback(host: str) -> bool:
    return _LOOPBACK.fullmatch(host) is not None
