"""Request targets that are no path (RFC 9112, section 3.2): a whole URL, as clients of proxies send it, and `*`."""

import re
from typing import Any
from urllib.parse import unquote

_ABSOLUTE = re.compile(rb"https?://([^/?#]+)(/[^?#]*)?", re.IGNORECASE)


def in_origin_form(scope: dict[str, Any]) -> dict[str, Any]:
    """The same request with a path; what a URL names as its authority counts as Host, whatever Host says. What is
    neither stays as it is, and is found nowhere."""
    if scope["path"].startswith("/"):
        return scope
    if scope["path"] == "*" and scope["method"] == "OPTIONS":  # asked of the service as a whole
        return {**scope, "path": "/", "raw_path": b"/"}
    found = _ABSOLUTE.fullmatch(scope["raw_path"])
    if found is None:
        return scope
    path = found[2] or b"/"
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    return {
        **scope,
        "path": unquote(path.decode("ascii", "replace")),
        "raw_path": path,
        "headers": [(b"host", found[1]), *headers],
    }
