"""What each route asks of who calls it."""

from collections.abc import Mapping

import falcon

from es_goals.accounts.caller import Caller
from es_goals.http.describe.operation import NOBODY, Operation
from es_goals.http.problems import Refusal
from es_goals.settings import Settings

READING = frozenset({"GET", "HEAD"})
_ROLES: Mapping[str, frozenset[str]] = {
    "user": frozenset({"user", "auditor", "administrator"}),
    "auditor": frozenset({"auditor", "administrator"}),
    "administrator": frozenset({"administrator"}),
}


def operation_of(resource: object, method: str) -> tuple[Operation, bool]:
    """What answers there, and whether it is a handler of the resource's own. Where nothing says what it is, signing in
    is asked for all the same; but that a path for everybody does not take a method is for everybody to know."""
    if method == "OPTIONS":
        return NOBODY, False
    handler = getattr(resource, f"on_{method.lower()}", None)
    if method == "HEAD" and not hasattr(handler, "operation"):
        handler = getattr(resource, "on_get", None)
    found: Operation | None = getattr(handler, "operation", None) or getattr(resource, "operation", None)
    if found is None:
        found = NOBODY if handler is None and _is_for_everybody(resource) else Operation("", {})
    return found, handler is not None


def _is_for_everybody(resource: object) -> bool:
    handlers = (getattr(resource, f"on_{method.lower()}", None) for method in falcon.HTTP_METHODS)
    needs = {handler.operation.needs for handler in handlers if handler and hasattr(handler, "operation")}
    return needs == {"nobody"}


def needs_of(one: Operation, settings: Settings) -> str:
    """Who is needed, as it is set: an operation's `needs`, of which some are for nobody where a setting says so."""
    match one.needs:
        case "registration":
            return "nobody" if settings.registration == "open" else "administrator"
        case "checkpoint":
            return "nobody" if settings.public_checkpoint else "user"
        case needs:
            return needs


def expect_allowed(one: Operation, method: str, caller: Caller, needs: str) -> None:
    """Raises Refusal: forbidden, where the caller's role or scope does not reach."""
    writing = method not in READING
    if writing and caller.scope != "write" and one.needs != "nobody":
        raise Refusal("forbidden", "expected a token with the scope write; found one with read")
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
