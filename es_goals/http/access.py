"""Who is let in, and what for: tokens to callers, and what each route asks of one."""

from collections.abc import Mapping

import falcon
from falcon.asgi import Request

from es_goals import accounts
from es_goals.accounts import Caller
from es_goals.http.operation import NOBODY, Operation
from es_goals.http.problems import Refusal
from es_goals.http.recent import REMEMBERED, Recent
from es_goals.settings import Settings
from es_goals.storage import USE_NOTED, Clock, Session, Sessions

READING = frozenset({"GET", "HEAD"})
_ROLES: Mapping[str, frozenset[str]] = {
    "user": frozenset({"user", "auditor", "administrator"}),
    "auditor": frozenset({"auditor", "administrator"}),
    "administrator": frozenset({"administrator"}),
}


class Callers:
    """Tells who holds a token, as of the last look at the log. For the thread that uses `recent`."""

    def __init__(self, recent: Recent, sessions: Sessions, clock: Clock, settings: Settings) -> None:
        self._recent, self._sessions, self._clock, self._settings = recent, sessions, clock, settings
        self._known: dict[str, Session] = {}
        self._writes: int | None = None
        self._used: dict[str, int] = {}

    def caller(self, secret: str) -> tuple[Caller, bool] | None:
        """Who it is, and whether this use is to be noted; None where it is no good, or no more."""
        hash, now = accounts.fingerprint(secret), self._clock()
        if secret.startswith(accounts.TOKEN):
            token = self._recent.token(hash)
            if token is None or token.revoked_at is not None or token.expires_at <= now:
                return None
            user, scope, credential = self._recent.user(token.user_id), token.scope, token.id
            stays, due = self._use(token.id, token.created_at, self._settings.token_idle, now)
        else:
            session = self._session(hash)
            if session is None or session.expires_at <= now:
                return None
            user, scope, credential = self._recent.user(session.user_id), "write", hash
            if user is None or user.password_at != session.stamp:
                return None
            stays, due = self._use(hash, session.created_at, self._settings.session_idle, now)
        if user is None or user.disabled_at is not None or not stays:
            return None
        return Caller(user, scope, credential, credential == hash), due

    def _session(self, hash: str) -> Session | None:
        writes = self._sessions.writes()
        if writes is None or writes != self._writes or len(self._known) > REMEMBERED:
            self._known.clear()
        self._writes = writes
        session = self._known.get(hash)
        if session is None and (session := self._sessions.session(hash)) is not None:
            self._known[hash] = session
        return session

    def _use(self, id: str, made_at: int, idle: int, now: int) -> tuple[bool, bool]:
        """Whether it is in use, and whether to note that."""
        if now - self._used.get(id, 0) < USE_NOTED:
            return True, False
        if now - self._sessions.last_use(id, made_at) > idle * 1_000_000:
            return False, False
        if len(self._used) > REMEMBERED:
            self._used.clear()
        self._used[id] = now
        return True, True


def secret_of(req: Request) -> str | None:
    """What the client shows: `Authorization: Bearer …`, or `Access-Token: …`."""
    given = req.headers.get("authorization")
    if given is not None:
        scheme, _, secret = given.partition(" ")
        return secret.strip() if scheme.lower() == "bearer" else ""
    return req.headers.get("access-token")


def operation_of(resource: object, method: str) -> Operation:
    """What answers there. Where nothing says what it is, signing in is asked for all the same; but that a path for
    everybody does not take a method is for everybody to know."""
    if method == "OPTIONS":
        return NOBODY
    handler = getattr(resource, f"on_{method.lower()}", None)
    if method == "HEAD" and not hasattr(handler, "operation"):
        handler = getattr(resource, "on_get", None)
    found: Operation | None = getattr(handler, "operation", None) or getattr(resource, "operation", None)
    if found is None:
        found = NOBODY if handler is None and _is_for_everybody(resource) else Operation("", {})
    return found


def _is_for_everybody(resource: object) -> bool:
    handlers = (getattr(resource, f"on_{method.lower()}", None) for method in falcon.HTTP_METHODS)
    needs = {handler.operation.needs for handler in handlers if handler and hasattr(handler, "operation")}
    return needs == {"nobody"}


def expect_allowed(one: Operation, method: str, caller: Caller, registration: str) -> None:
    """Raises Refusal: forbidden, where the caller's role or scope does not reach."""
    writing = method not in READING
    if writing and caller.scope != "write" and one.needs != "nobody":
        raise Refusal("forbidden", "expected a token with the scope write; found one with read")
    needs = one.needs
    if needs == "registration":
        needs = "nobody" if registration == "open" else "administrator"
    if needs in ("nobody", "credentials"):
        return
    role = caller.user.role
    if role not in _ROLES[needs] or (writing and role == "auditor"):
        wanted = "administrator" if needs == "administrator" else "user" if writing else needs
        raise Refusal("forbidden", f"expected the role {wanted}; found {role}")


def expect_sees_all(caller: Caller | None) -> None:
    """Raises Refusal: what is asked for is about everybody."""
    if caller is not None and caller.user.role == "user":
        raise Refusal("forbidden", "expected the role auditor, or one's own user or goal to ask for; found role user")
