"""Files of goals over HTTP: read into one command, and written in the formats that others read."""

from collections.abc import Mapping
from typing import Annotated

from falcon.asgi import Response
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from es_goals import outlines
from es_goals.configured import limits_of
from es_goals.deciding import RejectedAt
from es_goals.files import commands_of, items_of, outline_of, place_of
from es_goals.http import answers, requests
from es_goals.http.describe.operation import operation
from es_goals.http.exchange import Request
from es_goals.http.problems import Refusal
from es_goals.http.requests import DryRunQuery
from es_goals.http.resource import Resource
from es_goals.outlines import FORMATS, WRITTEN, BadOutline, CannotWrite, Outline
from es_goals.reads import TREE
from es_goals.reads.trees import TreeOptions, UserTree, whole
from es_goals.service import Outcome
from es_goals.storage.log import User
from es_goals.worker import Worker

SUFFIXES = {"markdown": "md"}
BINARY = "application/octet-stream"
TAKEN = tuple(dict.fromkeys([BINARY, *(one.media_type for one in FORMATS.values())]))


class ImportQuery(DryRunQuery, frozen=True, forbid_unknown_fields=True):
    """What the file is, where that is not to be recognised; and what is to become of it."""

    format: Annotated[str, Meta(description=f"one of {', '.join(FORMATS)}")] | None = None
    strict: Annotated[bool, Meta(description="refuse what would be left out, shortened or changed")] = False


class ExportQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """In which format."""

    format: Annotated[str, Meta(description=f"one of json, {', '.join(WRITTEN)}")] = "json"


class Note(Struct, frozen=True):
    """A kind of thing that did not come over as it was, in the plural, and the lines that it stood in."""

    what: str
    lines: list[int]


class ImportAnswer(Struct, frozen=True):
    """What was read. `summary`: the same as a sentence."""

    format: str
    goals: int
    left_out: list[Note]
    shortened: list[Note]
    changed: list[Note]
    taken: list[Note]
    summary: str
    position: int | UnsetType


class UserImport(Resource):
    """/v2/users/{user}/import"""

    @operation("Import goals from a file", {200: (ImportAnswer, answers.DryRun)}, query=ImportQuery, command=True,
               body=bytes, media_types=TAKEN, problems=("user-not-found", "bad-file"))  # fmt: skip
    async def on_post(self, req: Request, resp: Response, user: User) -> None:
        """The body is the file: of outliners, task lists or calendars. All or nothing, in one command."""
        query = requests.query(req, ImportQuery)
        requests.read_dry_run(req, query)
        data = await requests.read_file(req, TAKEN)
        format = _known(query.format, tuple(FORMATS))
        outline, there = await self.reads.in_thread(lambda: self._outline(data, format, user), req.asker)
        if query.strict and outline.notes.is_loss:
            raise Refusal("bad-file", f"expected a file that comes over as it is; found: {outline.notes}")
        commands = list(commands_of(outline, self.worker.new_id))
        try:
            outcome = await self.command(req, user, commands, batch=True, shown=False)
        except RejectedAt as error:
            raise Refusal("bad-file", f"{place_of(outline, commands, error.index)}: {error}") from error
        answers.command(resp, outcome, _answer(outline, outcome, there))

    def _outline(self, data: bytes, format: str | None, user: User) -> tuple[Outline, list[str]]:
        """In a thread: what was read, and the names at the user's top. Raises Refusal."""
        try:
            outline = outline_of(data, format, limits_of(self.settings))
        except BadOutline as error:
            raise Refusal("bad-file", str(error)) from error
        rows = self.worker.projector.read(TREE, user.id).rows
        return outline, [row.name for row in rows if row.parent_id is None and row.root is None]


class UserExport(Resource):
    """/v2/users/{user}/export"""

    @operation("Export goals to a file", {200: None}, query=ExportQuery, problems=("user-not-found", "bad-file"),
               produces=tuple(FORMATS[name].media_type for name in ("json", *WRITTEN)))  # fmt: skip
    async def on_get(self, req: Request, resp: Response, user: User) -> None:
        """The tree, without what is deleted."""
        query = requests.query(req, ExportQuery)
        format = _known(query.format, ("json", *WRITTEN)) or "json"
        data = await self.reads.in_thread(lambda: self._file(format, user), req.asker)
        media_type = answers.JSON if format == "json" else f"{FORMATS[format].media_type}; charset=utf-8"
        answers.encoded(resp, data, media_type)
        resp.set_header("Content-Disposition", f'attachment; filename="goals.{SUFFIXES.get(format, format)}"')

    def _file(self, format: str, user: User) -> bytes:
        """In a thread. Raises Refusal."""
        tree = UserTree(self.worker.projector.read(TREE, user.id), user.name)
        if format == "json":
            return whole(tree, TreeOptions())
        try:
            return outlines.write(items_of(tree.nodes), format, f"{user.name}'s goals")
        except CannotWrite as error:
            raise Refusal("bad-file", str(error)) from error


def _known(format: str | None, known: tuple[str, ...]) -> str | None:
    if format is not None and format not in known:
        detail = f"expected one of {', '.join(known)}; found {format[:100]!r}"
        raise Refusal("invalid-value", detail, parameter="format")
    return format


def _answer(outline: Outline, outcome: Outcome, there: list[str]) -> ImportAnswer:
    left_out, shortened, changed, taken = map(_notes, structs.astuple(outline.notes))
    summary = outlines.summary(outline, "imported" if outcome.tried is None else "would import")
    if again := outlines.repeated(outline, there):
        summary = f"{summary}; {again}"
    position = outcome.position if outcome.tried is None else UNSET
    return ImportAnswer(outline.format, len(outline.items), left_out, shortened, changed, taken, summary, position)


def _notes(lines: Mapping[str, list[int]]) -> list[Note]:
    return [Note(what, found) for what, found in lines.items()]


def routes(worker: Worker) -> list[tuple[str, Resource]]:
    """Every path of files and what answers there."""
    return [("/v2/users/{user}/import", UserImport(worker)), ("/v2/users/{user}/export", UserExport(worker))]
