"""What answers tell browsers: what a page may load, and which other sites' pages may read an answer."""

from falcon.asgi import Request, Response

_DEVICES = (
    "accelerometer", "camera", "display-capture", "geolocation", "gyroscope", "hid", "magnetometer", "microphone",
    "midi", "payment", "serial", "usb",
)  # fmt: skip

SAFE = b"X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
"""Lines of every answer's head."""

POLICY = b"Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
"""The line of an answer that brings no policy of its own: whatever it is taken for, it may load and do nothing."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Of pages: their own files, the pictures in Swagger UI's style sheet, and questions to this service."""

APP_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
        " manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'; trusted-types lit-html"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{name}=()" for name in _DEVICES) + ", clipboard-write=(self)",
}
"""Of the web page: what Swagger UI cannot keep, markup that only lit-html makes, and no window, frame or device of
others."""

STRICT_TRANSPORT = "max-age=63072000; includeSubDomains"

_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
_SENT = (
    "Authorization, Access-Token, Content-Type, If-Match, If-None-Match, Idempotency-Key, X-Reason, X-Request-Id,"
    " Last-Event-ID"
)
_SHOWN = (
    "ETag, Position, Command, Log, Location, Link, X-Request-Id, Idempotent-Replayed, Retry-After, RateLimit,"
    " RateLimit-Policy"
)
_PREFLIGHT_SECONDS = "7200"  # no browser keeps it longer than that or a day


def share(resp: Response, origin: str | None, origins: frozenset[str]) -> None:
    """Let pages of these origins read an answer, which therefore differs by Origin even where nobody else asked."""
    resp.append_header("Vary", "Origin")
    if origin in origins:
        resp.set_header("Access-Control-Allow-Origin", str(origin))
        resp.set_header("Access-Control-Expose-Headers", _SHOWN)


def is_preflight(req: Request) -> bool:
    """Whether a browser asks if it may send what a page wants to."""
    return bool(req.method == "OPTIONS" and "access-control-request-method" in req.headers)


def permit(resp: Response) -> None:
    """Answer a preflight: what is said here is no secret, and each request is looked at when it comes."""
    resp.status = "204 No Content"
    resp.set_header("Access-Control-Allow-Methods", _METHODS)
    resp.set_header("Access-Control-Allow-Headers", _SENT)
    resp.set_header("Access-Control-Max-Age", _PREFLIGHT_SECONDS)
    resp.complete = True
