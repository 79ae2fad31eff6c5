"""/v1.0, the original API, so that its clients go on working; what it got wrong is answered better.

Names are resolved inside the decision, among one user's goals.
"""

from collections.abc import Sequence
from functools import partial
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from falcon.asgi import Response
from falcon.media import MultipartFormHandler

from es_goals.accounts.caller import Caller
from es_goals.goals.commands import (
    MATCHES_NAMED,
    AmbiguousName,
    CompleteGoal,
    CreateGoal,
    DeleteGoal,
    GoalNotFound,
    Named,
)
from es_goals.http import answers, faults, requests
from es_goals.http.describe.operation import operation
from es_goals.http.exchange import Request
from es_goals.http.problems import Refusal
from es_goals.http.resource import Resource
from es_goals.projector import Projector
from es_goals.reads import TREE
from es_goals.service import Outcome
from es_goals.storage.log import Log, User
from es_goals.values import Rejected, valid_name
from projections.goal_tree import Node, Row, tree

PATH_NAMES = 12
PLAIN = "application/json"
PARAMETERS = ("user", "name", "parent_name", "description")

_FORMS = MultipartFormHandler()
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Goals(Resource):
    """/v1.0/goals"""

    @operation("All goals by user, as names", {200: None}, original=True)
    async def on_get(self, req: Request, resp: Response) -> None:
        """Nested: {user: {goal: {sub-goal: {}}}}."""
        projector, log = self.worker.projector, self.reads.log
        made = partial(_everything, projector, log) if req.caller is None else partial(_own, projector, req.caller.user)
        answers.encoded(resp, await self.reads.in_thread(made, req.asker), PLAIN)

    async def on_head(self, req: Request, resp: Response) -> None:
        """Nothing, with success."""
        del req
        _empty(resp)

    async def on_options(self, req: Request, resp: Response) -> None:
        """Nothing, with success."""
        del req
        resp.set_header("Allow", "GET, HEAD, POST, PUT, DELETE, OPTIONS")
        _empty(resp)

    @operation(
        "Create a goal",
        {200: None},
        command=True,
        original=True,
        problems=("user-not-found", "goal-not-found", "name-taken"),
    )
    async def on_post(self, req: Request, resp: Response) -> None:
        """By the names of its user and its parent."""
        given = await _parameters(req)
        caller = req.caller
        user = await self._user(req, _required(given, "user")) if caller is None else caller.user
        name, parent = _required(given, "name", caller), given.get("parent_name")
        new_id = self.worker.new_id()
        made = CreateGoal(new_id, name, Named(parent) if parent else None, given.get("description"), unique=True)
        try:
            _recorded(resp, await self.command(req, user, [made]))
        except Rejected as error:
            if error.field == "parent_id":
                error.field = "parent_name"
            raise
        _null(resp)

    @operation(
        "Complete a goal", {200: None}, command=True, original=True, problems=("goal-not-found", "ambiguous-name")
    )
    async def on_put(self, req: Request, resp: Response) -> None:
        """By its name."""
        given = await _parameters(req)
        name = _required(given, "name", req.caller)
        user = await self._owner(req, given, name)
        _recorded(resp, await self.command(req, user, [CompleteGoal(Named(name))]))
        _null(resp)

    @operation("Delete a goal", {200: None}, command=True, original=True, problems=("goal-not-found", "ambiguous-name"))
    async def on_delete(self, req: Request, resp: Response) -> None:
        """And all below it, by its name."""
        given = await _parameters(req)
        name = _required(given, "name", req.caller)
        user = await self._owner(req, given, name)
        _recorded(resp, await self.command(req, user, [DeleteGoal(Named(name))]))
        _null(resp)

    async def _user(self, req: Request, name: str) -> User:
        found = await self.reads.in_thread(lambda: self.reads.log.user_named(name), req.asker)
        if found is None:
            raise Refusal("user-not-found", f"expected a user's name; found {name[:100]!r}")
        return found

    async def _owner(self, req: Request, given: dict[str, str], name: str) -> User:
        """Whose goal is meant: who is signed in; else the named user's, or that of the only user who has one of this
        name."""
        if req.caller is not None:
            return req.caller.user
        if "user" in given:
            return await self._user(req, given["user"])
        wanted = valid_name(name, self.settings.name_limit)
        rows: list[Row] = await self.reads.in_thread(lambda: self.worker.projector.read_all(TREE), req.asker)
        matches = [row for row in rows if row.name == wanted and row.root is None]
        owners = {row.user for row in matches}
        if not owners:
            raise GoalNotFound(Named(wanted))
        user = await self.reads.in_thread(partial(self.reads.log.user, owners.pop()), req.asker)
        if owners or user is None:
            known = {row.id: row for row in rows}
            paths = {row.id: _path(row, known) for row in matches[:MATCHES_NAMED]}
            raise AmbiguousName(wanted, len(matches), paths)
        return user


def _path(row: Row, known: dict[str, Row]) -> str:
    names = [row.name]
    while row.parent_id is not None and len(names) < PATH_NAMES:
        row = known[row.parent_id]
        names.append(row.name)
    return " / ".join(reversed(names))


class Users(Resource):
    """/v1.0/users"""

    @operation("Nothing: the original was a stub", {200: None}, original=True)
    async def on_get(self, req: Request, resp: Response) -> None:
        """null"""
        del req
        _null(resp)

    @operation("Nothing: the original was a stub", {200: None}, original=True)
    async def on_post(self, req: Request, resp: Response) -> None:
        """null"""
        del req
        _null(resp)

    async def on_head(self, req: Request, resp: Response) -> None:
        """Nothing, with success."""
        del req
        _empty(resp)

    async def on_options(self, req: Request, resp: Response) -> None:
        """Nothing, with success."""
        del req
        resp.set_header("Allow", "GET, HEAD, POST, OPTIONS")
        _empty(resp)


class MissingParameter(Exception):
    """A required parameter is nowhere. `caller`: who is signed in; the original had other words for them."""

    def __init__(self, name: str, caller: Caller | None) -> None:
        super().__init__(name)
        self.name, self.caller = name, caller


async def handle_missing(req: Request, resp: Response, error: MissingParameter, params: dict[str, Any]) -> None:
    """In the original's own words."""
    del req, params
    message: object = f"Missing required parameter {error.name} in json or the post body or the query string"
    if error.caller is not None:
        message = {error.name: "Missing required parameter in the JSON body or the post body or the query string"}
    resp.status = "400 Bad Request"
    answers.encoded(resp, _encode({"message": message}), PLAIN)


def _everything(projector: Projector, log: Log) -> bytes:
    trees: dict[str, list[Row]] = {}
    for row in projector.read_all(TREE):
        if row.root is None:
            trees.setdefault(row.user, []).append(row)
    users: list[User] = []
    while page := log.users(users[-1].id if users else ""):
        users += page
    return b"{%b}" % b",".join(_encode(user.name) + b":" + _names(tree(trees.get(user.id, ()))) for user in users)


def _own(projector: Projector, user: User) -> bytes:
    rows = [row for row in projector.read(TREE, user.id).rows if row.root is None]
    return b"{%b:%b}" % (_encode(user.name), _names(tree(rows), with_status=True))


def _names(nodes: Sequence[Node], *, with_status: bool = False) -> bytes:
    """Nested objects of names, made in pieces: a chain of 20,000 is no deeper than any other. With their status, none
    below is shown as `status`."""
    siblings: dict[str | None, dict[str, int]] = {}
    for node in nodes:
        taken = {"status": 1} if with_status and node.row.parent_id is not None else {}
        siblings.setdefault(node.row.parent_id, taken).setdefault(node.row.name, 0)
    out = bytearray(b"{")
    lists = 1
    for node in nodes:
        level = node.depth + 1
        out += b"}" * (lists - level)
        if out[-1:] != b"{":
            out += b","
        out += _encode(_shown_name(node.row.name, siblings[node.row.parent_id])) + b":{"
        if with_status:
            out += b'"status":"Done"' if node.row.end else b'"status":"In progress"'
        lists = level + 1
    return bytes(out + b"}" * lists)


def _shown_name(name: str, taken: dict[str, int]) -> str:
    """The name, or where a sibling was shown under it the next `name (2)`, `name (3)` that none of them has.

    `taken`: all names of the siblings, each with the number that was shown last (0: none yet).
    """
    number, shown = taken[name] + 1, name
    if number > 1:
        while (shown := f"{name} ({number})") in taken:
            number += 1
    taken[name] = number
    return shown


async def _parameters(req: Request) -> dict[str, str]:
    """What the client gave: JSON beats the query string beats a form. Who is signed in is the user, whatever is said.
    Raises Refusal."""
    raw = await requests.read(req)
    kind = (req.content_type or "").partition(";")[0].strip().lower()
    merged: dict[str, Any] = {}
    if kind == "multipart/form-data":
        merged.update(_multipart(req.content_type or "", raw))
    elif kind != "application/json":
        merged.update(_form(raw))
    merged.update(requests.parameters(req))
    if kind == "application/json" and raw:
        merged.update(_json(raw))
    if req.caller is not None:
        merged.pop("user", None)
    given = {name: merged[name] for name in PARAMETERS if name in merged}
    absent = [name for name in ("parent_name", "description") if given.get(name, "") is None]
    return {name: _text(name, value) for name, value in given.items() if name not in absent}


def _json(raw: bytes) -> dict[str, Any]:
    try:
        decoded = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refusal("malformed-request", faults.of_json(raw)) from None
    if (fault := faults.twice(raw)) is not None:
        raise Refusal("invalid-value", fault.detail, pointer="/" + "/".join(fault.steps))
    if not isinstance(decoded, dict):
        raise Refusal("invalid-value", f"expected an object; found {type(decoded).__name__}", pointer="")
    return decoded


def _form(raw: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=100))
    except ValueError:
        raise Refusal("malformed-request", "expected a form in UTF-8 of at most 100 fields; found another") from None


def _multipart(content_type: str, raw: bytes) -> dict[str, str]:
    form = _FORMS.deserialize(BytesIO(raw), content_type, len(raw))  # Falcon's errors are answered with 400
    try:
        return {part.name: part.get_data().decode() for part in form if part.name}
    except UnicodeDecodeError:
        raise Refusal("malformed-request", "expected a form in UTF-8; found other bytes") from None


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or (not value and name in ("name", "user")):
        found = msgspec.json.encode(value).decode()[:100]
        raise Refusal("invalid-value", f"expected {name} to be a text; found {found}", pointer=f"/{name}")
    return value


def _required(given: dict[str, str], name: str, caller: Caller | None = None) -> str:
    if name not in given:
        raise MissingParameter(name, caller)
    return given[name]


def _recorded(resp: Response, outcome: Outcome) -> None:
    answers.recorded(resp, outcome.position, outcome.command, replayed=outcome.replayed)


def _null(resp: Response) -> None:
    answers.encoded(resp, b"null", PLAIN)


def _empty(resp: Response) -> None:
    answers.encoded(resp, b"", PLAIN)
