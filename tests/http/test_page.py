"""The web page as it is served: what may keep it, what it may do, and that nothing else of the package is told."""

import gzip
import json
import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import brotli
import pytest

from es_goals.http.describe.page import facts, without_comments
from es_goals.settings import Settings
from tests.support.engines import ROOT
from tests.support.people import Answer, Wire
from tests.support.serving import Served

PAGE = ROOT / "es_goals" / "page"
POLICY = {
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'",
    "manifest-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
    "require-trusted-types-for 'script'", "trusted-types lit-html",
}  # fmt: skip


@pytest.fixture
def wire(served: Served) -> Iterator[Wire]:
    """A connection, whose answers are as they came."""
    wire = Wire(served)
    yield wire
    wire.close()


def header(answer: Answer, name: str) -> str:
    """The only one of its name."""
    (only,) = (value for known, value in answer.headers if known == name.lower())
    return only


def folder(wire: Wire) -> str:
    """Where the page says that its files are."""
    found = re.findall(r"/page/[0-9a-f]{16}(?=/)", wire("GET", "/").body.decode())
    assert len(set(found)) == 1
    return str(found[0])


def told(answer: Answer) -> Any:
    """What the page says of the service."""
    (content,) = re.findall(r'<meta name="es-goals" content="([^"]*)">', answer.body.decode())
    return json.loads(unescape(content))


def test_the_page_is_small_and_asked_for_each_time(wire: Wire) -> None:
    answer = wire("GET", "/")
    again = wire("GET", "/", headers={"If-None-Match": header(answer, "ETag")})
    other = wire("GET", "/", headers={"If-None-Match": '"other"'})

    assert (answer.status, header(answer, "Content-Type")) == (200, "text/html; charset=utf-8")
    assert len(answer.body) <= 4_096
    assert header(answer, "Cache-Control") == header(again, "Cache-Control") == "no-cache"
    assert (again.status, again.body, other.status) == (304, b"", 200)


def test_the_page_is_the_same_for_everybody(wire: Wire) -> None:
    mine = wire("GET", "/", "esgs_" + "0" * 64, headers={"Cookie": "es-goals=x"})

    assert mine.body == wire("GET", "/").body
    assert header(mine, "Vary") == "Accept-Encoding"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_page_may_do_what_it_needs_and_nothing_else(wire: Wire, method: str) -> None:
    answer = wire(method, "/")

    assert set(header(answer, "Content-Security-Policy").split("; ")) == POLICY
    assert header(answer, "Cross-Origin-Opener-Policy") == "same-origin"
    assert header(answer, "Cross-Origin-Resource-Policy") == "same-origin"
    permissions = header(answer, "Permissions-Policy").split(", ")
    assert [one for one in permissions if not one.endswith("=()")] == ["clipboard-write=(self)"]
    assert "camera=()" in permissions
    assert "<script>" not in answer.body.decode()
    assert " style=" not in answer.body.decode()


def test_the_page_knows_how_one_signs_in() -> None:
    provider = Settings(oidc_issuer="https://login.example/tenant", oidc_client="goals", registration="open")
    opened = Settings(oidc_issuer="https://login.example/tenant", open=True)

    assert (facts(Settings()).accounts, facts(Settings()).oidc, facts(Settings()).registration) == (
        True,
        None,
        "closed",
    )
    assert (facts(provider).oidc, facts(provider).registration) == ("Sign in with login.example", "open")
    assert (facts(opened).accounts, facts(opened).oidc) == (False, None)


def test_the_page_tells_what_service_it_is_of(wire: Wire) -> None:
    assert told(wire("GET", "/")) == {"version": told(wire("GET", "/"))["version"], "accounts": False, "oidc": None,
                                      "registration": "closed"}  # fmt: skip


FILES = [
    path.relative_to(PAGE).as_posix()
    for path in sorted(PAGE.rglob("*"))
    if path.suffix in (".js", ".css", ".svg", ".txt") and not path.name.startswith(("docs", "swagger"))
]


def test_documentation_is_not_sent_and_lines_keep_their_numbers() -> None:
    source = b"/**\n * What it is.\n */\nlet a = /** @type {any} */ (b); // not /* this */\n"

    assert without_comments(source) == b"\n\n\nlet a =  (b); // not /* this */\n"


@pytest.mark.parametrize("file", FILES)
def test_a_file_is_kept_for_ever(wire: Wire, file: str) -> None:
    answer = wire("GET", f"{folder(wire)}/{file}")

    assert answer.status == 200
    written = (PAGE / file).read_bytes()
    assert answer.body == (without_comments(written) if "/" not in file and file.endswith(".js") else written)
    assert header(answer, "Cache-Control") == "public, max-age=31536000, immutable"
    assert header(answer, "Cross-Origin-Resource-Policy") == "same-origin"
    assert header(answer, "X-Content-Type-Options") == "nosniff"
    assert header(answer, "Vary") == "Accept-Encoding"
    kind = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "txt": "text/plain"}
    assert header(answer, "Content-Type").startswith(kind[file.rpartition(".")[2]])


def test_a_file_is_sent_as_small_as_the_client_reads_it(wire: Wire) -> None:
    path, plain = f"{folder(wire)}/vendor/lit.js", (PAGE / "vendor" / "lit.js").read_bytes()
    ways = {"br": brotli.decompress, "gzip": gzip.decompress}

    for asked, coding in (("gzip, deflate, br", "br"), ("gzip", "gzip")):
        answer = wire("GET", path, headers={"Accept-Encoding": asked})
        assert (header(answer, "Content-Encoding"), header(answer, "Vary")) == (coding, "Accept-Encoding")
        assert len(answer.body) < len(plain) / 2
        assert ways[coding](answer.body) == plain
    answer = wire("GET", path, headers={"Accept-Encoding": "br;q=0, identity"})
    assert answer.body == plain
    assert "content-encoding" not in dict(answer.headers)


@pytest.mark.parametrize(
    "file",
    [
        "index.html", "docs.html", "docs.js", "problem.html", "vendor.sha256", "vendor", "vendor/swagger-ui.css",
        "vendor/swagger-ui-bundle.js", "vendor/none.js", "none.js", "..%2Fapp.py", "%2e%2e", "vendor/..",
        "vendor/%2e%2e", "vendor/vendor/lit.js", "a" * 3_000,
    ],
)  # fmt: skip
def test_nothing_but_the_pages_files_is_told(wire: Wire, file: str) -> None:
    answer = wire("GET", f"{folder(wire)}/{file}", headers={"Accept-Encoding": "br"})

    assert (answer.status, answer.problem) == (404, "not-found")
    assert header(answer, "Cache-Control") == "no-store"
    assert "content-encoding" not in dict(answer.headers)


def test_files_of_another_version_are_not_mixed_with_these(wire: Wire) -> None:
    digest = folder(wire).rpartition("/")[2]
    other = digest[::-1]
    assert other != digest

    assert wire("GET", f"/page/{other}/vendor/lit.js").problem == "not-found"
    assert wire("GET", f"/page/{digest.upper()}x/vendor/lit.js").problem == "not-found"
