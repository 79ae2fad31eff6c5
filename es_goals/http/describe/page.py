"""The web page at /: its beginning, which says what service this is, and its files, which never change under their
address."""

import re
from hashlib import sha256
from html import escape
from importlib import resources
from pathlib import Path, PurePosixPath
from string import Template
from urllib.parse import urlsplit

import msgspec
from falcon.asgi import Response
from msgspec import Struct

from es_goals import __version__
from es_goals.http import answers
from es_goals.http.describe import docs
from es_goals.http.describe.operation import NOBODY
from es_goals.http.edge.headers import APP_HEADERS
from es_goals.http.exchange import Request
from es_goals.http.problems import Refusal
from es_goals.settings import Settings

_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}
_DOCUMENTATION = re.compile(rb"/\*\*.*?\*/", re.DOTALL)  # no text of ours has this in it
_FOR_EVER = "public, max-age=31536000, immutable"


class Facts(Struct, frozen=True):
    """What the page is told of the service. `oidc`: what to press to sign in at the provider, where there is one."""

    version: str
    accounts: bool
    oidc: str | None
    registration: str


def facts(settings: Settings) -> Facts:
    """What the settings amount to, for who is not signed in."""
    accounts = not settings.open
    provider = urlsplit(settings.oidc_issuer).hostname if accounts and settings.oidc_issuer else None
    oidc = f"Sign in with {provider}" if provider else None
    return Facts(__version__, accounts, oidc, settings.registration)


class Files:
    """The page's files by name, and the digest of them all."""

    def __init__(self) -> None:
        folder = Path(str(resources.files("es_goals").joinpath("page")))
        found = sorted(path for path in (*folder.iterdir(), *(folder / "vendor").iterdir()) if _is_served(path))
        self.known = {path.relative_to(folder).as_posix(): _read(path) for path in found}
        whole = sha256()
        for name, data in self.known.items():
            whole.update(f"{name} {len(data)} ".encode() + data)
        self.digest = whole.hexdigest()[:16]


def _read(path: Path) -> bytes:
    data = path.read_bytes()
    return without_comments(data) if path.suffix == ".js" and path.parent.name == "page" else data


def without_comments(source: bytes) -> bytes:
    """Our own JavaScript without its documentation, a third of what browsers would load; lines keep their numbers."""
    return _DOCUMENTATION.sub(lambda found: b"\n" * found[0].count(b"\n"), source)


def _is_served(path: Path) -> bool:
    return path.suffix in _KINDS and path.name.partition(".")[0] not in docs.OWN


class Index:
    """/"""

    operation = NOBODY

    def __init__(self, settings: Settings, files: Files) -> None:
        told = msgspec.json.encode(facts(settings)).decode()
        page = Template(docs.own("index.html").decode())
        self._page = page.substitute(facts=escape(told), files=f"/page/{files.digest}").encode()
        self._tag = f'"{sha256(self._page).hexdigest()[:16]}"'

    async def on_get(self, req: Request, resp: Response) -> None:
        """The same for everybody, and asked for each time: it names the present files."""
        resp.set_header("Cache-Control", "no-cache")
        resp.set_headers(APP_HEADERS)
        if not answers.tagged(req, resp, self._tag):
            answers.encoded(resp, self._page, docs.HTML)


class File:
    """/page/{digest}/{file}, or a file of a folder there"""

    operation = NOBODY

    def __init__(self, files: Files, folder: str = "") -> None:
        self._files, self._folder = files, folder

    async def on_get(self, req: Request, resp: Response, digest: str, file: str) -> None:
        """As it is in this version of the service."""
        del req
        name = self._folder + file
        if digest != self._files.digest or name not in self._files.known:
            raise Refusal("not-found", f"expected a file of the page as / names them; found {file[:100]!r}")
        resp.set_header("Cache-Control", _FOR_EVER)
        resp.set_header("Cross-Origin-Resource-Policy", "same-origin")
        answers.encoded(resp, self._files.known[name], _KINDS[PurePosixPath(file).suffix])
