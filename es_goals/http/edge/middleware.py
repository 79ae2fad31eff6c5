"""Around every request: where it comes from, whether it is let in, what is logged and counted."""

import asyncio
import re
import secrets
import sys
from functools import lru_cache
from itertools import count
from time import monotonic, perf_counter

import falcon
import structlog
from falcon.asgi import Request, Response

from es_goals import metrics
from es_goals.accounts.passwords import warm
from es_goals.http.accounts import signing
from es_goals.http.context import Context
from es_goals.http.describe.operation import Operation
from es_goals.http.edge import headers, peers
from es_goals.http.edge.access import expect_allowed, operation_of, secret_of
from es_goals.http.edge.body import Message
from es_goals.http.edge.rates import tell
from es_goals.http.problems import Refusal
from es_goals.logs import RequestLog
from es_goals.reads.pool import set_request_user
from es_goals.rebuild import Rebuilder
from es_goals.settings import exact_origins, networks
from es_goals.storage.errors import StorageError

log = structlog.get_logger()
TIDY_SECONDS = 600.0
"""Between two looks for sessions, uses and attempts that are of no use any more."""
_HOST = r"(localhost|[a-z0-9.-]+\.localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?"
_LOOPBACK = re.compile(_HOST, re.IGNORECASE)
_ORIGIN = re.compile(rf"[a-z][a-z0-9+.-]*://{_HOST}", re.IGNORECASE)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_METHODS = frozenset(falcon.COMBINED_METHODS)


class Middleware:
    """Falcon's middleware: where a request comes from, whether it is let in, and what is told of it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._ids = map(f"{secrets.token_hex(4)}-{{:08x}}".format, count())
        self._log = RequestLog(sys.stderr.buffer) if context.settings.log_level in ("debug", "info") else None
        self._locate = peers.locator(networks(context.settings.proxies))
        self._origins = exact_origins(context.settings.origins)
        self._open, self._tidies_at = context.settings.open, 0.0

    async def process_request(self, req: Request, resp: Response) -> None:
        """Give the request its id and its origin; refuse what a page on the web could send."""
        req.context.started = perf_counter()
        req.context.caller = None
        self._context.begin()
        set_request_user(None)
        given = req.headers.get("x-request-id")
        req.context.request_id = given if given and _REQUEST_ID.fullmatch(given) else next(self._ids)
        resp.set_header("X-Request-Id", req.context.request_id)
        req.context.address, req.context.secure = self._locate(req.scope, req.headers)
        if req.context.secure:
            resp.set_header("Strict-Transport-Security", headers.STRICT_TRANSPORT)
        if self._open:
            self._expect_local(req.headers.get("host"), req.headers.get("origin"))
        if (req.content_length or 0) > (limit := self._context.settings.body_limit):
            raise Refusal("body-too-large", f"expected at most {limit} bytes; found {req.content_length}")
        if self._origins and headers.is_preflight(req) and req.headers.get("origin") in self._origins:
            headers.permit(resp)

    def _expect_local(self, host: str | None, origin: str | None) -> None:
        """Where nobody signs in, a page on the web must not get in through the browser of somebody here."""
        if host is not None and not _is_loopback(host):
            raise Refusal("misdirected", f"expected a loopback name as Host; found {host[:100]!r}")
        if origin is not None and origin not in self._origins and not _ORIGIN.fullmatch(origin):
            raise Refusal("foreign-origin", f"expected an origin on this machine; found {origin[:100]!r}")

    async def process_resource(self, req: Request, resp: Response, resource: object, params: Message) -> None:
        """Let in who may be. Falcon answers 400 to a method that HTTP does not know; the path does not take it."""
        del params
        if not self._open:
            await self._admit(req, resp, operation_of(resource, req.method))
        if req.method not in _METHODS:
            taken = [method for method in falcon.HTTP_METHODS if hasattr(resource, f"on_{method.lower()}")]
            raise falcon.HTTPMethodNotAllowed([*taken, "OPTIONS"])

    async def _admit(self, req: Request, resp: Response, one: Operation) -> None:
        registration = self._context.settings.registration
        secret = None if one.needs == "nobody" else secret_of(req)
        caller = None if secret is None else await self._context.admitted(secret)
        if caller is None:
            if not one.uncounted:
                self._count(resp, peers.address_key(req.context.address))
            if secret is not None:
                raise Refusal("unauthenticated", "expected a token that is good; found one that is not, or no more")
            if one.needs == "nobody" or (one.needs == "registration" and registration == "open"):
                return
            raise Refusal("unauthenticated", "expected Authorization: Bearer <token>; found none")
        req.context.caller = caller
        set_request_user(caller.user.id)
        self._count(resp, caller.user.id)
        expect_allowed(one, req.method, caller, registration)

    def _count(self, resp: Response, whose: str) -> None:
        if (rates := self._context.rates) is None:
            return
        taken = rates.take(whose)
        tell(resp, rates.quota, taken)
        if not taken.allowed:
            raise Refusal("too-many-requests", f"expected at most {rates.quota} requests a second; found more")

    async def process_response(self, req: Request, resp: Response, resource: object, succeeded: bool) -> None:
        """Count it and log it."""
        del resource, succeeded
        if self._origins:
            headers.share(resp, req.headers.get("origin"), self._origins)
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
        context.in_background(asyncio.to_thread(Rebuilder(context.projector).resume))
        if not self._open:
            context.in_background(asyncio.to_thread(warm))

    async def _look(self) -> int:
        """Also where nobody is known to have written."""
        context = self._context
        context.begin()
        if not self._open and monotonic() >= self._tidies_at:
            self._tidies_at = monotonic() + TIDY_SECONDS
            context.in_background(asyncio.to_thread(self._tidy))
        return context.recent.look() if context.log.is_local else await context.ask(context.recent.head)

    def _tidy(self) -> None:
        try:
            signing.tidy(self._context)
        except StorageError as error:
            log.warning("sessions_not_tidied", detail=str(error))

    def _tick(self) -> None:
        self._context.log.checkpoint()
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


@lru_cache
def _is_loopback(host: str) -> bool:
    return _LOOPBACK.fullmatch(host) is not None
