"""The cookie that signs a browser in, for the web page; and who may send something with it."""

import re
from functools import lru_cache

from falcon.asgi import Response

from es_goals.accounts.caller import SESSION
from es_goals.http import requests
from es_goals.http.exchange import Request
from es_goals.http.problems import Refusal
from es_goals.settings import Settings

NAME = "es-goals"
SECURE_NAME = f"__Host-{NAME}"
"""With this name browsers take it from this very host only, by TLS, for all of its paths."""

LOOPBACK = r"(localhost|[a-z0-9.-]+\.localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?"
"""A host that browsers take for this machine: what is sent there goes by no network."""
_LOOPBACK = re.compile(LOOPBACK, re.IGNORECASE)


def secret_of(req: Request, settings: Settings) -> str | None:
    """What signs the request in: its header's token, or else its cookie's, which `req.by_cookie` tells."""
    secret = requests.secret_of(req)
    if secret is not None or "cookie" not in req.headers:
        return secret
    secret = req.cookies.get(_name(req, settings), "")
    req.by_cookie = secret.startswith(SESSION)
    return secret if req.by_cookie else None


def expect_same_origin(req: Request, settings: Settings) -> None:
    """A page of the service itself has sent this, as browsers tell. Raises Refusal."""
    site = req.headers.get("sec-fetch-site")
    if site == "same-origin":
        return
    scheme = "https" if _is_secure(req, settings) else "http"
    here, origin = f"{scheme}://{req.headers.get('host', '')}", req.headers.get("origin")
    ours = {here, settings.url.rstrip("/")} - {""}
    if site is not None or origin not in ours:
        found = "no Origin" if origin is None else f"Origin: {origin[:100]}"
        if site is not None:
            found = f"Sec-Fetch-Site: {site[:20]}"
        raise Refusal("foreign-origin", f"expected a page of {here}, where a cookie signs in; found {found}")


def expect_private(req: Request, settings: Settings) -> None:
    """Nobody on the way can read a cookie. Raises Refusal."""
    if not _is_secure(req, settings) and not is_loopback(req.headers.get("host", "")):
        detail = (
            "expected https, which ES_GOALS_URL or a proxy tells, or this machine; found plain http, which is overheard"
        )
        raise Refusal("invalid-value", detail, pointer="/cookie")


def keep(req: Request, resp: Response, settings: Settings, secret: str, seconds: int) -> None:
    """Let the browser keep a session's token, for so many seconds; -1: forget it."""
    secure, name = _is_secure(req, settings), _name(req, settings)
    resp.set_cookie(name, secret, max_age=seconds, path="/", secure=secure, http_only=True, same_site="Strict")


def forget(req: Request, resp: Response, settings: Settings) -> None:
    """Sign the browser out, and let it keep nothing of who was signed in."""
    keep(req, resp, settings, "", -1)
    resp.set_header("Clear-Site-Data", '"cache", "storage"')


@lru_cache
def is_loopback(host: str) -> bool:
    """Whether a Host header names this machine."""
    return _LOOPBACK.fullmatch(host) is not None


def _name(req: Request, settings: Settings) -> str:
    return SECURE_NAME if _is_secure(req, settings) else NAME


def _is_secure(req: Request, settings: Settings) -> bool:
    return req.secure or settings.url.startswith("https:")
