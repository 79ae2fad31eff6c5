"""Reads requests: bodies, queries and headers into types, in one pass each, refusing what does not fit."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from time import monotonic
from typing import Annotated, Any, Literal, TypeVar, cast
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from falcon.errors import InvalidMediaType
from falcon.util import mediatypes
from msgspec import UNSET, Meta, Struct, UnsetType

from es_goals.compression import CODINGS
from es_goals.deciding import Expected
from es_goals.events import instant
from es_goals.http import faults
from es_goals.http.exchange import Request
from es_goals.http.faults import Fault
from es_goals.http.problems import Refusal
from es_goals.ids import uuid_of
from es_goals.reads.history import LARGEST, point_of
from es_goals.storage.log import Cause
from es_goals.values import InvalidValue, refuse_controls, time_of

REASON_LENGTH = 1_000
PAGE = 100
TIME_FAULT = "Invalid RFC3339 time"

Position = Annotated[int, Meta(ge=0, le=LARGEST)]
Limit = Annotated[int, Meta(ge=1, le=1000)]

JSON = ("application/json",)
PATCH = ("application/merge-patch+json", "application/json")

_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CODED = re.compile(rf'-(?:{"|".join(CODINGS)})"$')
_TAG = re.compile(r'"r(\d{1,18})(?:\.v(\d{1,18})\.[^"]*)?"')
"""Of an answer; or a goal's revision alone, for who knows it from events."""

T = TypeVar("T")


async def body(req: Request, type: type[T], media_types: tuple[str, ...] = JSON, *, may_try: bool = False) -> T:
    """The body as a `type`; an empty one is `{}`. `may_try`: its query may ask for a dry run; else it has none. Raises
    Refusal."""
    if req.query_string:
        if may_try:
            read_dry_run(req, query(req, DryRunQuery))
        else:
            query(req, NoQuery)
    raw = await read(req)
    _check_media_type(req.content_type, media_types)
    _expect_plain(req)
    try:
        decoded: T = _decoder(cast(Any, type))(raw or b"{}")
    except msgspec.ValidationError as error:
        raise _refused(faults.of_value(error, _document(raw or b"{}"), type)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refusal("malformed-request", faults.of_json(raw)) from None
    if (fault := faults.twice(raw)) is not None:
        raise _refused(fault)
    return decoded


def read_dry_run(req: Request, given: "DryRunQuery") -> None:
    """Whether a request only asks what would happen, and how that is answered. Raises Refusal."""
    req.dry_run, req.answer = given.dry_run, None if given.answer is UNSET else given.answer
    if req.answer is not None and not req.dry_run:
        raise Refusal("invalid-value", "expected `answer` with dry_run=true; found it without", parameter="answer")


def _expect_plain(req: Request) -> None:
    if (coding := req.headers.get("content-encoding") or "identity").lower() != "identity":
        raise Refusal("media-type", f"expected a body that is not compressed; found {coding[:100]!r}")


def _document(raw: bytes) -> Any:
    """JSON that does not fit, to show what was found. Raises Refusal where behind the fault it is no JSON at all."""
    try:
        return msgspec.json.decode(raw)
    except msgspec.ValidationError:  # a number out of range, which is shown as it was written
        return json.loads(raw, parse_int=_as_written, parse_float=_as_written)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refusal("malformed-request", faults.of_json(raw)) from None


def _as_written(number: str) -> msgspec.Raw:
    return msgspec.Raw(number.encode())


def _refused(fault: Fault) -> Refusal:
    pointer = "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in fault.steps)
    return Refusal("invalid-value", fault.detail, pointer=pointer)


async def read_file(req: Request, media_types: tuple[str, ...]) -> bytes:
    """The body as a file, whatever it says that it is of these. Raises Refusal."""
    raw = await read(req)
    kind = (req.content_type or "").partition(";")[0].strip().lower()
    if kind and kind not in media_types:
        raise Refusal("media-type", f"expected {' or '.join(media_types)}; found {kind[:100]}")
    _expect_plain(req)
    return raw


async def read(req: Request) -> bytes:
    """The body as it came. What the client takes to send it is not counted as waiting for the storage."""
    began = monotonic()
    req.raw = await req.stream.read()
    req.deadline = req.deadline.later(monotonic() - began)
    return req.raw


def query(req: Request, type: type[T]) -> T:
    """The query string as a `type`. Raises Refusal, naming the parameter."""
    given = parameters(req) if req.query_string else {}
    try:
        return msgspec.convert(given, type, strict=False)
    except msgspec.ValidationError as error:
        steps, detail = faults.of_value(error, given, type, "parameter")
        raise Refusal("invalid-value", detail, parameter="".join(steps)) from None


def preferred(req: Request, media_types: Sequence[str]) -> str:
    """Which of these the client would rather have; empty where it takes none, or what it takes cannot be read. Names
    have no case (RFC 9110, section 8.3.1)."""
    try:
        return mediatypes.best_match(media_types, req.accept.lower())
    except InvalidMediaType:
        return ""


def page_size(req: Request, given: int, most: int) -> int:
    """How much a page may have: what was asked for, PAGE or `most` if nothing was. Raises Refusal."""
    if given <= most:
        return given
    if given == PAGE and "limit" not in parameters(req):
        return most
    raise Refusal("invalid-value", f"expected a limit of at most {most}; found {given}", parameter="limit")


def parameters(req: Request) -> dict[str, str]:
    """The query string's parameters, each given once. Raises Refusal."""
    given: dict[str, str] = {}
    try:
        pairs = parse_qsl(req.query_string, keep_blank_values=True, errors="strict", max_num_fields=100)
    except UnicodeDecodeError:
        raise Refusal("malformed-request", "expected a query of percent-encoded UTF-8; found other bytes") from None
    except ValueError:
        raise Refusal("malformed-request", "expected at most 100 parameters; found more") from None
    for name, value in pairs:
        if name in given:
            raise Refusal("invalid-value", f"expected `{name}` once; found it twice", parameter=name)
        given[name] = value
    return given


def moment_or_position(text: str, parameter: str) -> int | datetime:
    """A log position, or an RFC 3339 time. Raises Refusal."""
    try:
        return point_of(text, parameter)
    except InvalidValue as error:
        raise Refusal("invalid-value", str(error), parameter=parameter) from None


def cause(req: Request, command: str, reason: str | None = None) -> Cause:
    """What is recorded beside the events: the body's reason if it has one, or the header's. Raises Refusal."""
    if reason is None and (header := req.headers.get("x-reason")) is not None:
        try:
            reason = unquote_to_bytes(_percent_encoded(header)).decode()
        except UnicodeError:
            detail = f"expected percent-encoded UTF-8; found {header[:100]!r}"
            raise Refusal("invalid-value", detail, parameter="X-Reason") from None
        try:
            return Cause(command, actor(req), _valid_reason(reason))
        except InvalidValue as error:
            raise Refusal("invalid-value", str(error), parameter="X-Reason") from None
    return Cause(command, actor(req), None if reason is None else _valid_reason(reason))


def secret_of(req: Request) -> str | None:
    """What the client shows: `Authorization: Bearer …`, or `Access-Token: …`."""
    given = req.headers.get("authorization")
    if given is not None:
        scheme, _, secret = given.partition(" ")
        return secret.strip() if scheme.lower() == "bearer" else ""
    return req.headers.get("access-token")


def _percent_encoded(header: str) -> bytes:
    """Raises UnicodeError where something else stands behind a percent sign than two hexadecimal digits."""
    if _BAD_PERCENT.search(header):
        raise UnicodeError
    return header.encode("ascii")


def actor(req: Request) -> str | None:
    """The id of who is signed in, if somebody is."""
    return None if req.caller is None else req.caller.user.id


def _valid_reason(reason: str) -> str | None:
    """None where it is empty: nothing was said."""
    if len(reason) > REASON_LENGTH:
        raise InvalidValue("reason", f"at most {REASON_LENGTH} characters", str(len(reason)))
    refuse_controls("reason", reason)
    return reason or None


def idempotency(req: Request, reason: str | None, content: bytes) -> tuple[str | None, bytes]:
    """The client's key, if it sent one, and the digest of what makes its request the same, its body's content among it,
    which must tell no secret. Raises Refusal."""
    key = req.headers.get("idempotency-key")
    if key is None:
        return None, b""
    if not (1 <= len(key) <= 255 and key.isascii() and key.isprintable()):
        detail = f"expected 1 to 255 printable ASCII characters; found {len(key)}"
        raise Refusal("invalid-value", detail, parameter="Idempotency-Key")
    digest = hashlib.sha256()
    parts = (req.method, req.path, req.query_string, req.headers.get("if-match") or "", reason or "")
    for part in (*(part.encode() for part in parts), content):
        digest.update(len(part).to_bytes(4, "big") + part)
    return key, digest.digest()


def expect_no_key(req: Request) -> None:
    """Raises Refusal where there is one: it would not be kept, and a repeat be done twice."""
    if "idempotency-key" in req.headers:
        detail = "expected no Idempotency-Key, which this call does not keep; found one"
        raise Refusal("invalid-value", detail, parameter="Idempotency-Key")


def expected(req: Request, goal_id: str | None) -> Expected | None:
    """What If-Match and If-None-Match name: revisions of the goal, or versions of all the user's goals (`goal_id`
    None)."""
    header, other = req.headers.get("if-match"), req.headers.get("if-none-match")
    any_of = None if header is None or header.strip() == "*" else _numbers(header, goal_id)
    # Compared weakly (RFC 9110, section 13.1.2), which a strong comparison of the same tag is.
    none_of = frozenset[int]() if other is None else _numbers(other.replace("W/", ""), goal_id)
    return None if any_of is None and not none_of else Expected(goal_id, any_of, none_of)


def _numbers(header: str, goal_id: str | None) -> frozenset[int]:
    """Revisions or versions in tags. A weak one has none here (RFC 9110, section 13.1.1), nor has one of others."""
    tags = (_TAG.fullmatch(tag.strip()) for tag in header.split(","))
    numbers = (tag[2 if goal_id is None else 1] for tag in tags if tag)
    return frozenset(int(number) for number in numbers if number)


def unmodified_tag(req: Request, etag: str) -> str | None:
    """The tag in If-None-Match that is this one, compared weakly: the client has the answer, in a coding of its own
    tag perhaps. None: it has not."""
    header = req.headers.get("if-none-match")
    if header is None:
        return None
    return etag if header.strip() == "*" else _named(header.replace("W/", ""), etag)


def expect_match(req: Request, etag: str) -> None:
    """If-Match of a read names the tag, compared strongly (RFC 9110, section 13.1.1). Raises Refusal."""
    header = req.headers.get("if-match")
    if header is not None and header.strip() != "*" and _named(header, etag) is None:
        raise Refusal("changed", f"expected {etag} in If-Match; found {header[:100]}")


def expect_unmatched(req: Request) -> None:
    """If-None-Match of a command asks that there be nothing, or nothing of these tags (RFC 9110, section 13.1.2): its
    target is there, whatever its tag. Raises Refusal."""
    header = req.headers.get("if-none-match")
    if header is not None and header.strip() == "*":
        raise Refusal("changed", "expected nothing at this path, as If-None-Match: * asks; found something")


def again(raw: str, type: type[T]) -> T:
    """What `written` wrote, as a `type`."""
    decoded: T = _decoder(cast(Any, type))(raw.encode())
    return decoded


def written(value: Any) -> str:
    """What a body had, as JSON to be kept."""
    return msgspec.json.encode(value, enc_hook=instant).decode()


def expect_any(req: Request) -> None:
    """If-Match of what has no tags can ask only for something to be there. Raises Refusal."""
    header = req.headers.get("if-match")
    if header is not None and header.strip() != "*":
        raise Refusal("changed", f"expected If-Match: *, since what is at this path has no tag; found {header[:100]}")


def cursor(text: str) -> str:
    """Where a page begins: the id that ended the last one, or nothing. Raises Refusal."""
    if text and uuid_of(text) is None:
        detail = f"expected a cursor as `next` has it; found {text[:100]!r}"
        raise Refusal("invalid-value", detail, parameter="cursor")
    return text


def _named(header: str, etag: str) -> str | None:
    """The one of the tags that is this one, whichever coding either is of."""
    plain = _CODED.sub('"', etag)
    return next((tag for tag in map(str.strip, header.split(",")) if _CODED.sub('"', tag) == plain), None)


def _check_media_type(given: str | None, allowed: tuple[str, ...]) -> None:
    if given is None or given in allowed:
        return
    kind, *parameters = (part.strip().lower() for part in given.split(";"))
    charset = next((one.partition("=")[2].strip('"') for one in parameters if one.startswith("charset=")), "utf-8")
    if kind not in allowed or charset not in ("utf-8", "utf8"):
        raise Refusal("media-type", f"expected {' or '.join(allowed)} in UTF-8; found {given[:100]}")


@cache
def _decoder(type: Any) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(type, dec_hook=_time).decode


def _time(kind: type[Any], value: Any) -> Any:
    """Decodes Time, which msgspec would round. Raises ValueError, to which msgspec adds the place."""
    if kind is not Time:
        raise NotImplementedError
    if not isinstance(value, str):
        raise ValueError(TIME_FAULT)
    try:
        time = time_of(value, "")
    except InvalidValue:
        raise ValueError(TIME_FAULT) from None
    return Time(time.year, time.month, time.day, time.hour, time.minute, time.second, time.microsecond, UTC)


class Time(datetime):
    """An aware time in UTC, to the microsecond: finer fractions are cut."""


class Reason(Struct, forbid_unknown_fields=True):
    """A body that holds nothing but, if anything, why."""

    reason: str | None = None


class PageQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which page of a history."""

    after: Position = 0
    limit: Limit = PAGE
    order: Annotated[Literal["asc", "desc"], Meta(description="desc: the latest first, on pages")] = "asc"
    before: (
        Annotated[
            int,
            Meta(ge=1, le=LARGEST, description="only what was before this position; with order=desc", examples=[48]),
        ]
        | UnsetType
    ) = UNSET


class DryRunQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a command is only tried."""

    dry_run: Annotated[bool, Meta(description="answer what would happen, and record nothing")] = False
    answer: (
        Annotated[
            Literal["diff", "tree"],
            Meta(description="with `dry_run`: how the user's goals would differ, or all as they would be, flat"),
        ]
        | UnsetType
    ) = UNSET


class NoQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""
