"""Around every request: where it comes from, whether it is let in, whose data it names, what is logged of it."""

import asyncio
import re
import secrets
import sys
from functools import cache
from itertools import count
from time import monotonic, perf_counter
from typing import Any

import falcon
from falcon.asgi import Response

from es_goals import metrics
from es_goals.accounts.passwords import warm
from es_goals.goals.commands import GoalNotFound
from es_goals.http import answers, problems, requests
from es_goals.http.describe.operation import Operation
from es_goals.http.edge import codings, cookies, headers, peers
from es_goals.http.edge.access import READING, expect_allowed, needs_of, operation_of
from es_goals.http.edge.body import Message
from es_goals.http.edge.rates import Rates, set_headers
from es_goals.http.edge.unread import LARGE, Unread
from es_goals.http.exchange import Request
from es_goals.http.problems import Refusal
from es_goals.http.resource import no_such_user
from es_goals.ids import uuid_of
from es_goals.logs import RequestLog
from es_goals.reads import Look, Opening
from es_goals.settings import exact_origins, networks
from es_goals.storage.deadlines import Deadline
from es_goals.worker import Worker

_ORIGIN = re.compile(rf"[a-z][a-z0-9+.-]*://{cookies.LOOPBACK}", re.IGNORECASE)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
HTTP_OK = 200
NOTHING = Look()
_UNLIMITED = ("administrator", "write")
"""Of a caller who may do whatever there is."""
_METHODS = frozenset(falcon.COMBINED_METHODS)


class Middleware:
    """Falcon's middleware. `rates` counts requests, for all processes that serve on this machine; None: nobody does."""

    def __init__(self, worker: Worker, rates: Rates | None) -> None:
        settings = worker.settings
        self._worker, self._settings, self._rates = worker, settings, rates
        self._ids = map(f"{secrets.token_hex(4)}-{{:08x}}".format, count())
        self._log = RequestLog(sys.stderr.buffer) if settings.log_level in ("debug", "info") else None
        self._locate = peers.locator(networks(settings.proxies))
        self._origins = exact_origins(settings.origins)
        self._operations = cache(operation_of)
        self._unread = Unread(settings.unread_answers)

    async def process_request(self, req: Request, resp: Response) -> None:
        """Give the request its id and its origin; refuse what a page on the web could send."""
        req.started = perf_counter()
        req.deadline = Deadline(monotonic() + self._settings.deadline)
        req.caller = req.operation = req.answer = req.secret = None
        req.look, req.named_by_id, req.dry_run, req.by_cookie, req.raw = NOTHING, False, False, False, b""
        given = req.headers.get("x-request-id")
        req.id = given if given and _REQUEST_ID.fullmatch(given) else next(self._ids)
        resp.set_header("X-Request-Id", req.id)
        req.address, req.secure = self._locate(req.scope, req.headers)
        if req.secure:
            resp.set_header("Strict-Transport-Security", headers.STRICT_TRANSPORT)
        if self._settings.open:
            self._expect_local(req.headers.get("host"), req.headers.get("origin"))
        if b"%2f" in req.scope.get("raw_path", b"").lower():
            raise Refusal("not-found", "expected a path whose parts have no slash in them; found %2F")
        if (req.content_length or 0) > (limit := self._settings.body_limit):
            raise Refusal("body-too-large", f"expected at most {limit} bytes; found {req.content_length}")
        if self._origins and headers.is_preflight(req) and req.headers.get("origin") in self._origins:
            headers.permit(resp)

    def _expect_local(self, host: str | None, origin: str | None) -> None:
        """Where nobody signs in, a page on the web must not get in through the browser of somebody here."""
        if host is not None and not cookies.is_loopback(host):
            raise Refusal("misdirected", f"expected a loopback name as Host; found {host[:100]!r}")
        if origin is not None and origin not in self._origins and not _ORIGIN.fullmatch(origin):
            raise Refusal("foreign-origin", f"expected an origin on this machine; found {origin[:100]!r}")

    async def process_resource(self, req: Request, resp: Response, resource: object, params: dict[str, Any]) -> None:
        """Let in who may be, and resolve whose data the path names: a handler is given the user, or the id of a goal
        whose owner is known, and is not run where there is none that the caller may see."""
        one, handled = self._operations(resource, req.method if req.method in _METHODS else "unknown")
        req.operation = one
        secret = None if self._settings.open or one.needs == "nobody" else cookies.secret_of(req, self._settings)
        req.secret = secret
        named = params if handled else {}
        if secret is not None or "user" in named or "goal_id" in named:
            opening = Opening(secret, named.get("user"), named.get("goal_id"), one.conditional)
            req.look = await self._worker.reads.begin(opening, req.deadline)
            req.caller = req.look.caller
        if not self._settings.open:
            self._admit(req, resp, one)
        if req.method not in _METHODS:  # Falcon would say 400; but it is the path that does not take it
            taken = [method for method in falcon.HTTP_METHODS if hasattr(resource, f"on_{method.lower()}")]
            raise falcon.HTTPMethodNotAllowed([*taken, "OPTIONS"])
        if not (self._settings.open and one.needs == "credentials"):  # of which there are none
            _resolve(req, named)
        if handled and req.method not in READING:
            requests.expect_unmatched(req)
            if not one.command:
                requests.expect_no_key(req)
            if not (one.command or one.tagged):
                requests.expect_any(req)

    def _admit(self, req: Request, resp: Response, one: Operation) -> None:
        needs, caller = needs_of(one, self._settings), req.caller
        if caller is None:
            if not one.uncounted:
                self._count(resp, peers.address_key(req.address))
            if req.secret is not None and not req.by_cookie:
                raise Refusal("unauthenticated", "expected a token that is good; found one that is not, or no more")
            if needs == "nobody":
                return
            raise Refusal("unauthenticated", "expected Authorization: Bearer <token>; found none")
        self._count(resp, caller.user.id)
        if req.by_cookie and req.method not in READING:
            cookies.expect_same_origin(req, self._settings)
        if (caller.user.role, caller.scope) != _UNLIMITED:
            expect_allowed(one, req.method, caller, needs)

    def _count(self, resp: Response, key: str) -> None:
        rates = self._rates
        if rates is None:
            return
        taken = rates.take(key)
        set_headers(resp, rates.quota, taken)
        if not taken.allowed:
            raise Refusal("too-many-requests", f"expected at most {rates.quota} requests a second; found more")

    async def process_response(self, req: Request, resp: Response, resource: object, succeeded: bool) -> None:
        """Say what may keep the answer, count it and log it."""
        if succeeded and req.method in READING and resp.status_code == HTTP_OK and resp.get_header("ETag") is None:
            await answers.judge_untagged(req, resp)
        if resp.data is not None and len(resp.data) >= LARGE:
            await self._hold(req, resp, resp.data)
        of_path = req.method == "OPTIONS"  # of all its operations, each of which may be for others
        answers.mark(resp, None if of_path else req.operation)
        await codings.encode(req, resp, self._worker.reads)
        if of_path or resp.status_code in (405, 415):
            answers.accepted(resp, resource)
        if self._origins:
            headers.share(resp, req.headers.get("origin"), self._origins)
        seconds = perf_counter() - req.started
        # Free text from a client would make a series of its own each time.
        route, method = req.uri_template or "none", req.method if req.method in _METHODS else "other"
        metrics.count_request(method, route, resp.status_code, seconds)
        if self._log:
            self._log.add(req.id, method, req.path, resp.status_code, seconds)

    async def _hold(self, req: Request, resp: Response, data: bytes) -> None:
        """A place for an answer that takes a while to be read."""
        try:
            resp.context.place = self._unread.place(data, None if req.caller is None else req.caller.user.id)
        except Refusal as refusal:
            resp.delete_header("ETag")
            resp.delete_header("Content-Encoding")
            await problems.handle(req, resp, refusal, {})

    async def process_startup(self, scope: Message, event: Message) -> None:
        """Begin the background work."""
        del scope, event
        await self._worker.start()
        if not self._settings.open:
            self._worker.in_background(asyncio.to_thread(warm))

    async def process_shutdown(self, scope: Message, event: Message) -> None:
        """Finish what was taken."""
        del scope, event
        await self._worker.stop()


def _resolve(req: Request, named: dict[str, Any]) -> None:
    """Raises Refusal, GoalNotFound."""
    owner = req.look.owner
    if owner is not None:
        req.owner = owner
    if "user" in named:
        if owner is None:
            no_such_user(named["user"])
        req.named_by_id = uuid_of(named["user"]) == owner.id
        named["user"] = owner
    if "goal_id" in named:
        known = uuid_of(named["goal_id"])
        if owner is None or known is None:
            raise GoalNotFound(named["goal_id"][:100])
        named["goal_id"] = known
