"""Every error a client can see: one shape (RFC 9457), one table from exceptions to problems, a page for each type."""

from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

import falcon
import msgspec
import structlog
from falcon.asgi import Response
from msgspec import UNSET, Struct, UnsetType, structs

from es_goals import deciding, drafting, metrics, projector, rebuild, service, undoing
from es_goals.accounts import changes
from es_goals.drafting import DraftConflicts
from es_goals.goals.commands import (
    AmbiguousName,
    GoalExists,
    GoalNotFound,
    LimitReached,
    NameTaken,
    NotASibling,
    NotTheRoot,
    ParentDeleted,
    UnderItself,
)
from es_goals.http.exchange import Request
from es_goals.proving.checkpoints import BadCheckpoints, Contradicted
from es_goals.proving.tiles import HashesGone
from es_goals.reads.history import EventBrief, brief
from es_goals.storage.errors import (
    CredentialTaken,
    GenerationGone,
    Interrupted,
    OutcomeUnknown,
    StorageFull,
    Unavailable,
    UserNameTaken,
)
from es_goals.values import InvalidValue, Rejected

PROBLEM_JSON = "application/problem+json"
RETRY_AFTER = "1"

logger = structlog.get_logger()


class Problem(Struct, frozen=True):
    """A type of error. `text` tells a client's author what happened and what to do."""

    slug: str
    status: int
    title: str
    text: str


class Fault(Struct, frozen=True, omit_defaults=True):
    """One place at fault: a JSON Pointer into the body, or the name of a query parameter or header."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class BlockedAnswer(Struct, frozen=True):
    """What keeps a command from being undone: a field of a goal that is neither as it was before the command nor as the
    command left it, or `below`, goals that came under it, `parent`, where it would go back to, or `limit`. `by`: the
    event to blame."""

    goal_id: str
    name: str
    field: str
    before: Any
    after: Any
    now: Any
    by: EventBrief | None


class RuleProblem(Struct, frozen=True, omit_defaults=True):
    """What is wrong with a command of a draft, as its own call would answer it."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Fault] = []


class Conflict(Struct, frozen=True, tag_field="kind"):
    """Where a draft and the present goals do not agree."""


class RefusedConflict(Conflict, frozen=True, tag="refused"):
    """The rules refuse a command of the draft; `index` is its place there."""

    index: int
    command: msgspec.Raw
    problem: RuleProblem


class OverwriteConflict(Conflict, frozen=True, tag="overwrites"):
    """Since the base somebody gave a field the value `now`, by the event `by`, and the draft would set it to `mine`."""

    goal_id: str
    field: str
    base: Any
    now: Any
    mine: Any
    by: EventBrief | None


class ProblemAnswer(Struct, frozen=True, omit_defaults=True):
    """An error's body. `index` tells which command of several was refused; of `conflicts_count` conflicts the first 100
    are told. Where an undo is refused, `blocked` is what is in the way, the first 20 of `blocked_count`, and `commands`
    what can be undone instead, the latest first, if that was found."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[Fault] = []
    index: int | None = None
    message: str | None = None
    dry_run: bool = False
    conflicts: list[RefusedConflict | OverwriteConflict] = []
    conflicts_count: int | None = None
    blocked: list[BlockedAnswer] = []
    blocked_count: int = 0
    commands: list[str] | None | UnsetType = UNSET


class Refusal(Exception):
    """A request that the edge itself refuses."""

    def __init__(
        self,
        slug: str,
        detail: str,
        *,
        pointer: str | None = None,
        parameter: str | None = None,
        index: int | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.slug, self.detail, self.index, self.retry_after = slug, detail, index, retry_after
        self.faults = [Fault(detail, pointer, parameter)] if pointer is not None or parameter is not None else []


def _problems() -> dict[str, Problem]:
    table = resources.files("es_goals.http").joinpath("problems.md").read_text("utf-8").partition("|---|\n")[2]
    rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
    return {slug: Problem(slug, int(status), title, text) for slug, status, title, text in rows}


PROBLEMS: Mapping[str, Problem] = _problems()

_SLUGS: Mapping[type[Exception], str] = {
    InvalidValue: "invalid-value",
    NotASibling: "not-a-sibling",
    GoalNotFound: "goal-not-found",
    GoalExists: "goal-exists",
    NameTaken: "name-taken",
    AmbiguousName: "ambiguous-name",
    UnderItself: "under-itself",
    NotTheRoot: "not-the-root",
    LimitReached: "limit-reached",
    ParentDeleted: "parent-deleted",
    undoing.CommandNotFound: "command-not-found",
    undoing.Blocked: "undo-in-the-way",
    service.KeyReused: "key-reused",
    deciding.Changed: "changed",
    UserNameTaken: "user-name-taken",
    CredentialTaken: "identity-taken",
    changes.NoSuchToken: "token-not-found",
    changes.PasswordChangedSince: "wrong-password",
    StorageFull: "storage-full",
    OutcomeUnknown: "outcome-unknown",
    Unavailable: "storage-unavailable",
    Interrupted: "took-too-long",
    projector.ProjectionBehind: "projection-behind",
    HashesGone: "projection-behind",
    Contradicted: "checkpoint-refused",
    BadCheckpoints: "checkpoint-refused",
    GenerationGone: "projection-behind",
    rebuild.AlreadyRebuilding: "already-rebuilding",
    projector.NoSuchProjection: "projection-not-found",
    rebuild.NothingToRollBackTo: "nothing-to-roll-back-to",
    TimeoutError: "outcome-unknown",
    drafting.DraftNotFound: "draft-not-found",
    drafting.DraftApplied: "draft-applied",
    drafting.TooManyDrafts: "too-many-drafts",
    DraftConflicts: "draft-conflicts",
}

_FALCON: Mapping[int, str] = {404: "not-found", 405: "method-not-allowed", 413: "body-too-large", 415: "media-type"}

_UNREADABLE: Mapping[int, str] = {
    408: "request-timeout",
    414: "target-too-long",
    431: "head-too-large",
    500: "internal-error",
}

_encode = msgspec.json.Encoder().encode


def slug_of(error: Exception) -> str:
    """The problem that an exception stands for; its nearest class in the table decides."""
    if isinstance(error, Refusal):
        return error.slug
    if isinstance(error, falcon.HTTPError):
        return _FALCON.get(error.status_code, "malformed-request")
    return next((_SLUGS[kind] for kind in type(error).__mro__ if kind in _SLUGS), "internal-error")


def answer(error: Exception, request_id: str, *, message: bool = False) -> ProblemAnswer:
    """The body for an exception; with `message`, as the original API's clients read it."""
    index = error.index if isinstance(error, Refusal) else None
    inner = error
    if isinstance(error, deciding.RejectedAt):
        index, inner = error.index, error.error
    problem = PROBLEMS[slug_of(inner)]
    detail = str(inner) or problem.title
    if problem.status == 500:
        detail = "the service made a mistake, which is logged under this request_id"
    if isinstance(inner, falcon.HTTPError):
        detail = _of_falcon(inner, problem)
    if isinstance(inner, TimeoutError):
        detail = "expected the storage to answer before the deadline; found it still busy"
    told = ProblemAnswer(
        f"/problems/{problem.slug}",
        problem.title,
        problem.status,
        detail,
        request_id,
        _faults(inner, detail, index),
        index,
        detail if message else None,
    )
    if isinstance(error, DraftConflicts):
        told = structs.replace(told, conflicts=list(_conflicts(error)), conflicts_count=error.count)
    return _in_the_way(told, inner) if isinstance(inner, undoing.Blocked) else told


def _conflicts(error: DraftConflicts) -> Iterator[RefusedConflict | OverwriteConflict]:
    """Those that are refused first: nothing makes up for them."""
    commands = msgspec.json.decode(error.draft.commands, type=list[msgspec.Raw])
    for one in error.refused:
        inner = answer(deciding.RejectedAt(one.index, one.error), "")
        problem = RuleProblem(inner.type, inner.title, inner.status, inner.detail, inner.errors)
        yield RefusedConflict(one.index, commands[one.index], problem)
    for overwrite, line in zip(error.overwrites, error.by, strict=True):
        values = (overwrite.base, overwrite.now, overwrite.mine)
        by = None if line is None else brief(line)
        yield OverwriteConflict(overwrite.goal_id, overwrite.field, *values, by)


def _in_the_way(body: ProblemAnswer, error: undoing.Blocked) -> ProblemAnswer:
    blocked = []
    for one in error.blockers:
        block = one.block
        values = (block.goal_id, block.name, block.field, block.before, block.after, block.now)
        blocked.append(BlockedAnswer(*values, None if one.by is None else brief(one.by)))
    commands = None if error.commands is None else list(error.commands)
    return structs.replace(body, blocked=blocked, blocked_count=error.count, commands=commands, index=error.index)


def _of_falcon(error: falcon.HTTPError, problem: Problem) -> str:
    """In our words, not the framework's."""
    if isinstance(error, falcon.HTTPMethodNotAllowed) and error.headers:
        return f"expected one of the methods {dict(error.headers)['Allow']}; found another one"
    return problem.text


def refused(status: int, detail: str, request_id: str) -> tuple[int, bytes]:
    """Status and body for what the server could not read as a request, or could not answer."""
    body = answer(Refusal(_UNREADABLE.get(status, "malformed-request"), detail), request_id)
    return body.status, _encode(body)


def _faults(error: Exception, detail: str, index: int | None) -> list[Fault]:
    if isinstance(error, Refusal):
        return error.faults
    if not isinstance(error, Rejected) or error.field is None:
        return []
    named_in_path = index is None and error.field == "id" and not isinstance(error, GoalExists)
    place = "" if index is None else f"/commands/{index}"
    return [] if named_in_path else [Fault(detail, f"{place}/{error.field}")]


async def handle(req: Request, resp: Response, error: Exception, params: dict[str, Any]) -> None:
    """Falcon's error handler for every exception."""
    del params
    request_id = req.id
    body = structs.replace(answer(error, request_id, message=req.path.startswith("/v1.0/")), dry_run=req.dry_run)
    if body.status >= 500:
        fault, detail = (error if body.status == 500 else None), str(error) or type(error).__name__
        logger.error("failed", request_id=request_id, method=req.method, path=req.path, detail=detail, exc_info=fault)
    if isinstance(error, falcon.HTTPError) and error.headers:
        resp.set_headers(dict(error.headers))
    resp.set_header("Cache-Control", "no-store")
    if body.status in (429, 503) and resp.get_header("Retry-After") is None:
        resp.set_header("Retry-After", RETRY_AFTER)
    if isinstance(error, Refusal) and error.retry_after is not None:
        resp.set_header("Retry-After", str(error.retry_after))
    if body.status in (401, 403, 421, 429):
        _note_refusal(req, body)
    resp.status = falcon.code_to_http_status(body.status)
    resp.content_type = PROBLEM_JSON
    resp.data = _encode(body)
    if body.status == 401:
        # RFC 6750, section 3.1: a token that is no good is told from none.
        shown = "authorization" in req.headers or "access-token" in req.headers
        why = ', error="invalid_token"' if shown else ""
        resp.set_header("WWW-Authenticate", f'Bearer realm="over-achiever"{why}')
        if body.message is not None:
            resp.content_type, resp.data = "application/json", b'{"message": "Access Denied!"}'


def _note_refusal(req: Request, body: ProblemAnswer) -> None:
    """For auditors: what was refused to whom, and never what they showed."""
    slug = body.type.rpartition("/")[2]
    metrics.refusals.labels(slug).inc()
    who = None if req.caller is None else req.caller.user.id
    logger.info("refused", request_id=body.request_id, problem=slug, user=who, address=req.address)
