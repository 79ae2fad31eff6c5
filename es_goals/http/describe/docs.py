"""The API's description, a page of it that works offline, and a page for each type of error."""

from functools import cache
from html import escape
from importlib import resources
from string import Template

import msgspec
from falcon.asgi import Response

from es_goals.http import answers
from es_goals.http.describe.openapi import Json
from es_goals.http.describe.operation import NOBODY
from es_goals.http.edge.headers import PAGE_POLICY
from es_goals.http.exchange import Request
from es_goals.http.problems import PROBLEMS, Refusal

_FILES = {
    "docs.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
}
OWN = ("docs", "swagger-ui", "swagger-ui-bundle")
"""How the names of files begin that are these pages' alone."""
HTML = "text/html; charset=utf-8"


class Description:
    """/openapi.json"""

    operation = NOBODY

    def __init__(self, document: Json) -> None:
        self._bytes = msgspec.json.encode(document)

    async def on_get(self, req: Request, resp: Response) -> None:
        """OpenAPI 3.1."""
        answers.public(req, resp, self._bytes, answers.JSON)


class Page:
    """/docs"""

    operation = NOBODY

    async def on_get(self, req: Request, resp: Response) -> None:
        """Swagger UI over /openapi.json."""
        _page(req, resp, own("docs.html"))


class File:
    """/docs/{file}"""

    operation = NOBODY

    async def on_get(self, req: Request, resp: Response, file: str) -> None:
        """What the page loads."""
        if file not in _FILES:
            raise Refusal("not-found", f"expected one of {', '.join(_FILES)}; found {file[:100]!r}")
        answers.public(req, resp, own(file if file == "docs.js" else f"vendor/{file}"), _FILES[file])


class ProblemPage:
    """/problems/{slug}"""

    operation = NOBODY

    async def on_get(self, req: Request, resp: Response, slug: str) -> None:
        """What happened, and what to do."""
        if slug not in PROBLEMS:
            raise Refusal("not-found", f"expected the name of a problem; found {slug[:100]!r}")
        problem = PROBLEMS[slug]
        page = Template(own("problem.html").decode())
        values = {"slug": slug, "status": problem.status, "title": problem.title, "text": escape(problem.text)}
        _page(req, resp, page.substitute(values).encode())


def _page(req: Request, resp: Response, data: bytes) -> None:
    answers.public(req, resp, data, HTML)
    resp.set_header("Content-Security-Policy", PAGE_POLICY)


@cache
def own(file: str) -> bytes:
    """A file of es_goals/page."""
    return resources.files("es_goals").joinpath("page", file).read_bytes()
