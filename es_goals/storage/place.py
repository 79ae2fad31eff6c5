"""Where a log is: a path, or the URL of a server; and how that is shown without its password."""

import re

from es_goals.storage.errors import Unusable

_SERVERS = ("postgresql", "postgres")
# Kind, user, @, hosts with ports, and database: divided where libpq does, which takes ? and # in a password as such.
_HOST = r"(?:[^@/?:,\[\]]*|\[[^@/?\[\]]*\])(?::\d*)?"
_URL = re.compile(rf"(postgres(?:ql)?://)(?:([^:@/?]*)[^/]*(@))?({_HOST}(?:,{_HOST})*)(/[^@?]*)?(?:\?.*)?", re.DOTALL)
# A URL of another kind, or libpq's other form. As a path it would make a file, and its password would be in the name.
_NEITHER = re.compile(r"[a-z][a-z0-9+.-]*://|postgres[a-z0-9+.-]*:|.*\b(host|dbname|user|password)\s*=", re.IGNORECASE)


def scheme(url: str) -> str:
    """Return `postgresql` or `postgres` of a server's URL, and nothing where it is the path of a file."""
    kind, found, _ = url.partition("://")
    return kind if found and kind in _SERVERS else ""


def is_file(url: str) -> bool:
    """Whether it is the path of a file, and not the URL of a server."""
    return not scheme(url)


def expect_place(url: str) -> None:
    """Raise Unusable where it is neither a path nor the URL of a server that we know."""
    if is_file(url) and _NEITHER.match(url):
        raise Unusable("expected a path, or a URL that begins with postgresql://; found another form")


def shown(url: str) -> str:
    """Return a path, or a PostgreSQL URL without its password and options; no more than its kind where it is not clear
    which part of it is the password."""
    if is_file(url):
        return "another form" if _NEITHER.match(url) else url
    found = _URL.fullmatch(url)
    return "".join(part or "" for part in found.groups()) if found else url.partition("://")[0] + "://"
