"""Every look-up is by user: each route, with each kind of caller and each kind of id. What is another's answers as what
is not there does, and nothing that is refused changes anything."""

import uuid
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from es_goals.accounts.changes import set_disabled
from es_goals.accounts.passwords import hashed
from es_goals.app import routes
from es_goals.settings import Settings
from tests.support.inside import application
from tests.support.people import Answer, Wire, behind, cause, issue, new_id, register
from tests.support.serving import Served

Json = dict[str, Any]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW")
READING = ("GET", "HEAD")
HERS = "a password of ann's"


class Caller(NamedTuple):
    """`owner`: whose things are their own; role None: nobody who may come in."""

    role: str | None
    scope: str = "write"
    owner: str | None = None


CALLERS = {
    "nobody": Caller(None),
    "garbage": Caller(None),
    "unknown token": Caller(None),
    "expired token": Caller(None),
    "revoked token": Caller(None),
    "token of a disabled user": Caller(None),
    "session that is over": Caller(None),
    "user": Caller("user", owner="ann"),
    "user's session": Caller("user", owner="ann"),
    "user's read token": Caller("user", "read", "ann"),
    "another user": Caller("user", owner="bob"),
    "auditor": Caller("auditor"),
    "auditor's read token": Caller("auditor", "read"),
    "administrator": Caller("administrator"),
    "administrator's read token": Caller("administrator", "read"),
}

MAY_READ: dict[str, set[str | None]] = {
    "nobody": {None, "user", "auditor", "administrator"},
    "user": {"user", "auditor", "administrator"},
    "auditor": {"auditor", "administrator"},
}
MAY_WRITE: dict[str, set[str | None]] = {
    "nobody": {None, "user", "auditor", "administrator"},
    "user": {"user", "administrator"},
    "credentials": {"user", "auditor", "administrator"},
    "administrator": {"administrator"},
}
"""What a call needs, and the roles that have it; but for `nobody`, writing takes the scope write."""

SEE_ALL = {"auditor", "administrator"}


class Call(NamedTuple):
    """What a call needs, and what is answered to those who may; `fresh`: it uses up what it is about; `auditor`: what
    is answered to one about somebody else's; `looks`: whether it looks the id up."""

    needs: str
    status: int
    body: Any = None
    fresh: bool = False
    auditor: int | None = None
    looks: bool = True


NOT_TAKEN = Call("user", 405, looks=False)
OPTIONS = Call("nobody", 200, looks=False)
PROVIDER = {
    "ES_GOALS_URL": "http://127.0.0.1:1",
    "ES_GOALS_OIDC_ISSUER": "http://127.0.0.1:1",
    "ES_GOALS_OIDC_CLIENT": "goals",
}
"""One that is not there."""

NOBODYS = {"*": Call("nobody", 405)}
PUBLIC = {"GET": Call("nobody", 200), **NOBODYS}

PLACES: dict[str, dict[str, Call]] = {
    "/v2/users": {"GET": Call("auditor", 200), "POST": Call("administrator", 422, {})},
    "/v2/users/{user}": {"GET": Call("user", 200), "PATCH": Call("user", 200, {})},
    "/v2/users/{user}/disable?surprise=1": {"POST": Call("administrator", 422)},
    "/v2/users/{user}/enable?surprise=1": {"POST": Call("administrator", 422)},
    "/v2/users/{user}/password": {"PUT": Call("credentials", 422, {"new": "short"}, auditor=403)},
    "/v2/sessions": {"GET": Call("user", 200), "POST": Call("nobody", 422, {})},
    "/v2/sessions/current?surprise=1": {"GET": Call("nobody", 422), "DELETE": Call("credentials", 422)},
    "/v2/sessions/{session_id}": {"DELETE": Call("credentials", 404, looks=False)},
    "/v2/sessions/oidc": {"GET": Call("nobody", 502), **NOBODYS},
    "/v2/sessions/oidc/callback": {"GET": Call("nobody", 401), **NOBODYS},
    "/v2/tokens": {"GET": Call("user", 200), "POST": Call("credentials", 422, {"name": "x"})},
    "/v2/tokens?user={user}": {"GET": Call("user", 200), "POST": Call("credentials", 422, {}, looks=False)},
    "/v2/tokens/{token_id}": {"GET": Call("user", 200), "DELETE": Call("credentials", 204, fresh=True, auditor=404)},
    "/v2/users/{user}/goals": {"GET": Call("user", 200), "POST": Call("user", 201, {"name": "made"})},
    "/v2/users/{user}/commands": {
        "GET": Call("user", 200),
        "POST": Call("user", 200, {"commands": [{"type": "CreateGoal", "name": "made"}]}),
    },
    "/v2/users/{user}/undo": {"POST": Call("user", 422, {})},
    "/v2/users/{user}/events": {"GET": Call("user", 200)},
    "/v2/users/{user}/import": {"POST": Call("user", 200, [{"name": "imported"}])},
    "/v2/users/{user}/export": {"GET": Call("user", 200)},
    "/v2/users/{user}/diff?from=0": {"GET": Call("user", 200)},
    "/v2/users/{user}/drafts": {"GET": Call("user", 200), "POST": Call("user", 201, {"name": "made"})},
    "/v2/users/{user}/drafts/{draft_id}": {
        "GET": Call("user", 200),
        "PUT": Call("user", 200, {"name": "changed"}),
        "DELETE": Call("user", 204, fresh=True),
    },
    "/v2/users/{user}/drafts/{draft_id}/commands": {
        "POST": Call("user", 200, {"commands": [{"type": "CreateGoal", "name": "made"}]})
    },
    "/v2/users/{user}/drafts/{draft_id}/goals": {"GET": Call("user", 200)},
    "/v2/users/{user}/drafts/{draft_id}/diff": {"GET": Call("user", 200)},
    "/v2/users/{user}/drafts/{draft_id}/rebase": {"POST": Call("user", 200)},
    "/v2/users/{user}/drafts/{draft_id}/apply": {"POST": Call("user", 200, fresh=True)},
    "/v2/users/{user}/timeline": {"GET": Call("user", 200)},
    "/v2/users/{user}/activity": {"GET": Call("user", 200)},
    "/v2/users/{user}/burnup": {"GET": Call("user", 200)},
    "/v2/users/{user}/burnup?goal={goal_id}": {"GET": Call("user", 200)},
    "/v2/goals/{goal_id}": {
        "GET": Call("user", 200),
        "PATCH": Call("user", 200, {"name": "changed"}),
        "DELETE": Call("user", 200, fresh=True),
    },
    "/v2/goals/{goal_id}/complete": {"POST": Call("user", 200)},
    "/v2/goals/{goal_id}/reopen": {"POST": Call("user", 200)},
    "/v2/goals/{goal_id}/move": {"POST": Call("user", 200, {"parent_id": None})},
    "/v2/goals/{goal_id}/restore": {"POST": Call("user", 200)},
    "/v2/goals/{goal_id}/history": {"GET": Call("user", 200)},
    "/v2/goals/{goal_id}/blame": {"GET": Call("user", 200)},
    "/v2/users/{user}/evidence": {"GET": Call("user", 200)},
    "/v2/log/checkpoint": {"GET": Call("user", 200)},
    "/v2/log/proofs/inclusion?position=1": {"GET": Call("user", 200)},
    "/v2/log/proofs/consistency?from=1": {"GET": Call("user", 200)},
    "/log/checkpoint": {"GET": Call("user", 200)},
    "/log/tile/{level}/{number:path}": {"GET": Call("user", 200)},
    "/v2/events": {"GET": Call("auditor", 200)},
    "/v2/events?user={user}": {"GET": Call("user", 200)},
    "/v2/events?goal={goal_id}": {"GET": Call("user", 200)},
    "/v2/projections": {"GET": Call("auditor", 200)},
    "/v2/projections/{name}": {"GET": Call("auditor", 200)},
    "/v2/projections/{name}/rebuild": {"POST": Call("administrator", 202)},
    "/v2/projections/{name}/rollback?surprise=1": {"POST": Call("administrator", 422)},
    "/v2/verifications": {"POST": Call("administrator", 422, {"expect": "x"})},
    "/v2/verifications/{verification_id}": {"GET": Call("auditor", 404)},
    "/v1.0/goals": {
        "GET": Call("user", 200),
        **{method: Call("user", 400, {}) for method in ("POST", "PUT", "DELETE")},
    },
    "/v1.0/users": {"GET": Call("user", 200), "POST": Call("user", 200)},
    "/healthz": PUBLIC,
    "/readyz": PUBLIC,
    "/metrics": {"GET": Call("auditor", 200)},
    "/openapi.json": PUBLIC,
    "/docs": PUBLIC,
    "/docs/{file}": PUBLIC,
    "/problems/{slug}": PUBLIC,
    "/": PUBLIC,
    "/page/{digest}/{file}": {**PUBLIC, "GET": Call("nobody", 404)},
    "/page/{digest}/vendor/{file}": {**PUBLIC, "GET": Call("nobody", 404)},
}
"""Every route, also with ids in its query."""

OTHERS = {
    "level": "0", "number": "000.p/1", "digest": "0", "verification_id": "0", "session_id": "0" * 32,
    "name": "goal_tree", "file": "docs.js", "slug": "forbidden",
}  # fmt: skip
IDS = ("user", "goal_id", "token_id", "draft_id")
KINDS = ("ann", "bob", "unknown", "no id")


class World:
    """A service, who calls it, and what they have: by kind, the value of each id in a path."""

    def __init__(self, served: Served) -> None:
        self.served, self.wire = served, Wire(served)
        self.secrets: dict[str, str | None] = {
            "nobody": None,
            "garbage": "\xfc; DROP",
            "unknown token": f"esgt_{7:064}",
        }
        self.ids: dict[str, dict[str, str]] = {
            "unknown": dict.fromkeys(IDS, new_id()),
            "no id": dict.fromkeys(IDS, "~" * 36),
        }
        self._make_people()
        for name in ("ann", "bob"):
            self.ids[name] |= {"goal_id": self.goal(name), "draft_id": self.draft(name)}
        self.secrets["user's session"] = self.session()
        self.secrets["session that is over"] = over = self.session()
        assert self.wire("DELETE", "/v2/sessions/current", over).status == 204

    def _make_people(self) -> None:
        kept = hashed(HERS)
        with behind(self.served) as storage, storage.log.writing() as transaction:
            self.users = {name: register(transaction, name, password=kept) for name in ("ann", "bob", "off", "old")}
            self.users["eve"] = register(transaction, "eve", "auditor")
            self.users["root"] = register(transaction, "root", "administrator")
            callers = {"user": "ann", "another user": "bob", "auditor": "eve", "administrator": "root"}
            for caller, name in {**callers, "token of a disabled user": "off"}.items():
                self.secrets[caller] = issue(transaction, self.users[name])[0]
                self.secrets[f"{caller}'s read token"] = issue(transaction, self.users[name], "read")[0]
            self.secrets["expired token"] = issue(transaction, self.users["old"], lasting=-1)[0]
            set_disabled(transaction, self.users["off"].id, True, cause())
            for name in ("ann", "bob"):
                user = self.users[name]
                self.ids[name] = {"user": user.id, "token_id": issue(transaction, user)[1].id}
            secret, token = issue(transaction, self.users["old"])
        self.secrets["revoked token"] = secret
        assert self.wire("DELETE", f"/v2/tokens/{token.id}", self.secrets["administrator"]).status == 204

    def session(self) -> str:
        """A new session's token, of ann's."""
        answer = self.wire("POST", "/v2/sessions", None, {"user": "ann", "password": HERS})
        assert answer.status == 201, answer
        token: str = answer.json["token"]
        return token

    def goal(self, owner: str, **members: Any) -> str:
        """A new goal's id."""
        path = f"/v2/users/{owner}/goals"
        answer = self.wire("POST", path, self.secrets["administrator"], {"name": "of theirs", **members})
        assert answer.status == 201, answer
        goal_id: str = answer.json["id"]
        return goal_id

    def draft(self, owner: str) -> str:
        """A new draft's id."""
        path = f"/v2/users/{owner}/drafts"
        answer = self.wire("POST", path, self.secrets["administrator"], {"name": "of theirs"})
        assert answer.status == 201, answer
        draft_id: str = answer.json["id"]
        return draft_id

    def token(self, owner: str) -> str:
        """A new token's id."""
        with behind(self.served) as storage, storage.log.writing() as transaction:
            return issue(transaction, self.users[owner])[1].id

    def head(self) -> int:
        """Where the log ends."""
        position: int = self.wire("GET", "/readyz").json["position"]
        return position

    def ask(
        self, caller: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """With a request id, which is answered, that is always the same."""
        return self.wire(method, path, self.secrets[caller], body, {"X-Request-Id": "the-same", **(headers or {})})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    env = {"ES_GOALS_REQUESTS_LIMIT": "0", **PROVIDER}
    with Served(tmp_path_factory.mktemp("access"), workers=1, env=env, accounts=True) as served:
        world = World(served)
        yield world
        world.wire.close()


def call_of(place: str, method: str) -> Call:
    """What the table says of it."""
    calls = PLACES[place]
    if method == "OPTIONS":
        return OPTIONS
    return calls.get("GET" if method == "HEAD" and "GET" in calls else method, calls.get("*", NOT_TAKEN))


def expected(call: Call, method: str, caller: Caller, kind: str) -> int:
    """The status, by the rules."""
    if caller.role is None and call.needs != "nobody":
        return 401
    if call.needs != "nobody":
        allowed = MAY_READ if method in READING else MAY_WRITE
        if caller.role not in allowed[call.needs] or (method not in READING and caller.scope != "write"):
            return 403
    if not call.looks or kind in ("", caller.owner):
        return call.status
    if kind not in ("ann", "bob") or caller.role not in SEE_ALL:
        return 404
    return call.auditor if caller.role == "auditor" and call.auditor else call.status


def without_ids(answer: Answer, *ids: str) -> tuple[object, ...]:
    """What may be compared: but for the ids that were asked for, and the date."""
    body = answer.body
    for one in ids:
        body = body.replace(one.encode(), b"ID")
    return answer.status, [header for header in answer.headers if header[0] != "date"], body


class Tried(NamedTuple):
    caller: str
    method: str
    kind: str


def tries(place: str) -> dict[Tried, int]:
    """Everything that is tried at a place, and the status that must be answered. Those who are let in nowhere try one
    kind of ids."""
    has_id = any(f"{{{name}}}" in place for name in IDS)
    found = {}
    for (name, caller), method, kind in product(CALLERS.items(), METHODS, KINDS if has_id else ("",)):
        if caller.role is not None or kind in ("", "ann"):
            found[Tried(name, method, kind)] = expected(call_of(place, method), method, caller, kind)
    return found


def test_every_route_is_in_the_table(tmp_path: Path) -> None:
    settings = {name.removeprefix("ES_GOALS_").lower(): value for name, value in PROVIDER.items()}
    with application(msgspec.convert({"db": str(tmp_path / "events.db"), **settings}, Settings)) as app:
        found = dict(routes(app.worker))

    known: dict[str, set[str]] = {}
    for place, calls in PLACES.items():
        known.setdefault(place.partition("?")[0], set()).update(calls.keys() - {"*"})
    taken = {
        path: {
            method for method in METHODS if method not in ("HEAD", "OPTIONS") and hasattr(one, f"on_{method.lower()}")
        }
        for path, one in found.items()
    }
    assert taken == known


@pytest.mark.parametrize("place", PLACES)
def test_every_caller_gets_what_the_rules_say_and_refusals_change_nothing(world: World, place: str) -> None:
    wanted = tries(place)
    answers: dict[Tried, Answer] = {}

    def path(method: str, kind: str, *, renew: bool) -> str:
        ids = {**OTHERS, **world.ids.get(kind, {})}
        if renew and call_of(place, method).fresh:
            made: dict[str, Callable[[str], str]] = {
                "goal_id": world.goal, "token_id": world.token, "draft_id": world.draft,
            }  # fmt: skip
            ids |= {name: make(kind) for name, make in made.items() if f"{{{name}}}" in place}
        return place.replace(":path", "").format(**ids)

    def ask(tried: Tried, *, renew: bool) -> None:
        caller, method, kind = tried
        body = call_of(place, method).body
        answers[tried] = world.ask(caller, method, path(method, kind, renew=renew), body)

    before = world.head()
    for tried, status in wanted.items():
        if status >= 400:
            ask(tried, renew=False)
    after = world.head()
    for tried, status in wanted.items():
        if status < 400:
            ask(tried, renew=True)

    found = {tried: answer.status for tried, answer in answers.items()}
    assert {tried: found[tried] for tried in wanted if found[tried] != wanted[tried]} == {}
    assert after == before
    for (caller, method, kind), answer in answers.items():
        assert_well_refused(answer, place, method)
        if kind not in ("", "unknown") and answer.status == 404:
            unknown = answers[Tried(caller, method, "unknown")]
            ids = {*world.ids[kind].values(), *world.ids["unknown"].values()}
            assert without_ids(answer, *ids) == without_ids(unknown, *ids), (caller, method, kind)


def assert_well_refused(answer: Answer, place: str, method: str) -> None:
    """Who is not let in is told how, and no cache keeps what was refused, nor what depends on who asks."""
    kept, differs = answer.header("Cache-Control"), answer.header("Vary") or ""
    if call_of(place, method).needs == "nobody":
        assert kept in ("no-store", "no-cache", "public, max-age=3600")
    else:
        assert kept in ("no-store", "private, no-cache", "private, max-age=3600, immutable")
        assert "Authorization, Access-Token, Cookie" in differs
    assert (answer.status == 401) == (answer.header("WWW-Authenticate") is not None)
    if answer.status in (401, 403, 404):
        assert answer.header("Cache-Control") == "no-store"
    if answer.status == 401 and answer.body:
        refused = "sign-in-refused" if "/oidc/" in place else "unauthenticated"
        assert answer.problem == refused or (place.startswith("/v1.0") and b"Access Denied!" in answer.body)


# Ids elsewhere than in the path.


def batch(*commands: Json) -> Json:
    return {"commands": [{"type": "CreateGoal", "name": "first"}, *commands]}


ID = "the id that is asked for"
COMMANDS: dict[str, Json] = {
    "ChangeGoal": {"name": "mine now"},
    "CompleteGoal": {"cascade": True},
    "ReopenGoal": {},
    "MoveGoal": {"parent_id": None},
    "DeleteGoal": {},
    "RestoreGoal": {},
}
ELSEWHERE: dict[str, tuple[int, str, str, Any]] = {
    "the parent of a new goal": (404, "POST", "/v2/users/ann/goals", {"name": "x", "parent_id": ID}),
    "before a new goal": (422, "POST", "/v2/users/ann/goals", {"name": "x", "before": ID}),
    "behind a new goal": (422, "POST", "/v2/users/ann/goals", {"name": "x", "after": ID}),
    "a new parent": (404, "POST", "/v2/goals/{mine}/move", {"parent_id": ID}),
    "a new place before": (422, "POST", "/v2/goals/{mine}/move", {"before": ID}),
    "a new place behind": (422, "POST", "/v2/goals/{mine}/move", {"after": ID}),
    "where to restore to": (404, "POST", "/v2/goals/{deleted}/restore", {"parent_id": ID}),
    "a filter of events": (404, "GET", f"/v2/events?goal={ID}", None),
    "a filter of one's own events": (404, "GET", f"/v2/events?user=ann&goal={ID}", None),
    **{
        f"{kind} in a batch": (404, "POST", "/v2/users/ann/commands", batch({"type": kind, "id": ID, **more}))
        for kind, more in COMMANDS.items()
    },
    **{
        f"{member} of {kind} in a batch": (
            404 if member == "parent_id" else 422, "POST", "/v2/users/ann/commands",
            batch({"type": kind, member: ID, **({"name": "x"} if kind == "CreateGoal" else {"id": "{mine}"})}),
        )
        for kind, member in product(("CreateGoal", "MoveGoal"), ("parent_id", "before", "after"))
    },
    "where a batch restores to": (
        404, "POST", "/v2/users/ann/commands", batch({"type": "RestoreGoal", "id": "{deleted}", "parent_id": ID})
    ),
}  # fmt: skip


def put_in(value: Any, texts: dict[str, str]) -> Any:
    """The value, with these texts in place of those."""
    if isinstance(value, dict):
        return {key: put_in(one, texts) for key, one in value.items()}
    if isinstance(value, list):
        return [put_in(one, texts) for one in value]
    for old, new in texts.items() if isinstance(value, str) else ():
        value = value.replace(old, new)
    return value


@pytest.fixture(scope="module")
def goals(world: World) -> dict[str, str]:
    """Ids of goals of each kind; those that are deleted answer to the administrator only how they were."""
    found = {kind: world.goal(owner) for kind, owner in (("mine", "ann"), ("deleted", "ann"), ("another's", "bob"))}
    found["another's deleted"] = world.goal("bob")
    for kind in ("deleted", "another's deleted"):
        assert world.ask("administrator", "DELETE", f"/v2/goals/{found[kind]}").status == 200
    return found | {"unknown": new_id()}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_an_id_in_a_body_or_query_is_looked_up_by_user_too(world: World, goals: dict[str, str], case: str) -> None:
    status, method, path, body = ELSEWHERE[case]
    before, answers = world.head(), {}
    for kind in ("another's", "another's deleted", "unknown"):
        texts = {ID: goals[kind], "{mine}": goals["mine"], "{deleted}": goals["deleted"]}
        answers[kind] = world.ask("user", method, put_in(path, texts), put_in(body, texts))

    told = [without_ids(answer, *goals.values()) for answer in answers.values()]
    assert answers["unknown"].status == status, answers["unknown"]
    assert told == [told[0]] * 3
    assert world.head() == before


HOW: dict[str, tuple[str, str, Any, dict[str, str]]] = {
    "with If-Match": ("PATCH", "", {"name": "x"}, {"If-Match": '"r1.v1.x"'}),
    "with any If-Match": ("PATCH", "", {"name": "x"}, {"If-Match": "*"}),
    "with If-None-Match": ("GET", "", None, {"If-None-Match": "*"}),
    "as of then": ("GET", "?as_of=1", None, {}),
    "as of what is to come": ("GET", "?as_of=999999999", None, {}),
    "with a query that is wrong": ("GET", "?surprise=1", None, {}),
    "with a body that is wrong": ("PATCH", "", {"surprise": 1}, {}),
    "with a body that is none": ("PATCH", "", b"{", {}),
    "with a body of another type": ("PATCH", "", {}, {"Content-Type": "text/plain"}),
    "with a key": ("PATCH", "", {"name": "x"}, {"Idempotency-Key": "a-key"}),
    "with a bad reason": ("PATCH", "", {"name": "x"}, {"X-Reason": "%ff"}),
    "live": ("GET", "/history", None, {"Accept": "text/event-stream"}),
    "as lines": ("GET", "/history", None, {"Accept": "application/x-ndjson"}),
    "with a bad position": ("GET", "/history", None, {"Accept": "text/event-stream", "Last-Event-ID": "x"}),
}


@pytest.mark.parametrize("how", HOW)
def test_no_header_and_no_fault_tells_another_s_goal_from_none(world: World, goals: dict[str, str], how: str) -> None:
    method, rest, body, headers = HOW[how]
    before, kinds = world.head(), ("another's", "another's deleted", "unknown")
    answers = [world.ask("user", method, f"/v2/goals/{goals[kind]}{rest}", body, headers) for kind in kinds]

    told = [without_ids(answer, *goals.values()) for answer in answers]
    assert {answer.problem for answer in answers} == {"goal-not-found"}
    assert told == [told[0]] * 3
    assert world.head() == before


@pytest.mark.parametrize("name", ["bob", "BOB", "ｂｏｂ", "eve", "off"])
def test_another_s_name_answers_as_one_that_nobody_has(world: World, name: str) -> None:
    nobody = "x" * len(name) if name.isascii() else "ｘ" * len(name)
    calls: list[tuple[str, str, Any]] = [
        ("GET", "", None), ("GET", "/goals", None), ("GET", "/events", None), ("POST", "/goals", {"name": "x"}),
        ("POST", "/commands", batch()), ("PATCH", "", {"name": "y"}), ("PUT", "/password", {"new": "a new password"}),
    ]  # fmt: skip
    before = world.head()
    for method, rest, body in calls:
        paths = [f"/v2/users/{quoted(one)}{rest}" for one in (name, nobody)]
        theirs, unknown = (world.ask("user", method, path, body) for path in paths)
        assert unknown.problem == "user-not-found"
        assert without_ids(theirs, name) == without_ids(unknown, nobody)
    assert world.head() == before


def quoted(name: str) -> str:
    return "".join(f"%{byte:02X}" for byte in name.encode())


def test_an_id_that_is_taken_cannot_be_given_again_whoever_has_it(world: World, goals: dict[str, str]) -> None:
    before = world.head()
    path, told = "/v2/users/ann/goals", []
    for kind in ("mine", "deleted", "another's", "another's deleted"):
        answer = world.ask("user", "POST", path, {"name": "x", "id": goals[kind]})
        taken = batch({"type": "CreateGoal", "name": "x", "id": goals[kind]})
        several = world.ask("user", "POST", "/v2/users/ann/commands", taken)
        assert (answer.status, several.status, several.json["index"]) == (409, 409, 1)
        told.append([without_ids(one, *goals.values()) for one in (answer, several)])

    assert told == [told[0]] * 4
    assert world.head() == before


def test_a_batch_is_about_the_goals_of_the_user_of_the_path(world: World, goals: dict[str, str]) -> None:
    """Also for an administrator, who may change both."""
    command = {"type": "ChangeGoal", "id": goals["another's"], "name": "x"}
    before = world.head()

    answer = world.ask("administrator", "POST", "/v2/users/ann/commands", batch(command))

    assert (answer.problem, answer.json["index"]) == ("goal-not-found", 1)
    assert world.head() == before


def test_names_of_the_original_API_are_looked_up_by_user(world: World) -> None:
    theirs, unknown = (f"goal-{uuid.uuid4().hex}" for _ in range(2))
    world.goal("bob", name=theirs)
    cases: list[tuple[str, Json]] = [
        ("POST", {"name": "x", "parent_name": ID}), ("PUT", {"name": ID}), ("PUT", {"name": ID, "user": "bob"}),
        ("DELETE", {"name": ID}), ("DELETE", {"name": ID, "user": "bob"}),
    ]  # fmt: skip
    before = world.head()
    for method, body in cases:
        for caller in ("user", "administrator"):
            found, none = (
                world.ask(caller, method, "/v1.0/goals", put_in(body, {ID: name})) for name in (theirs, unknown)
            )
            assert (none.status, none.problem) == (404, "goal-not-found")
            assert without_ids(found, theirs) == without_ids(none, unknown)
    assert world.head() == before
    for caller in ("user", "auditor", "administrator"):
        assert theirs.encode() not in world.ask(caller, "GET", "/v1.0/goals").body
    assert theirs.encode() in world.ask("another user", "GET", "/v1.0/goals").body


def test_a_key_of_another_s_does_not_answer_with_theirs(world: World) -> None:
    key = {"Idempotency-Key": "one-for-both"}
    first = world.ask("another user", "POST", "/v2/users/bob/goals", {"name": "of bob"}, key)
    second = world.ask("user", "POST", "/v2/users/ann/goals", {"name": "of ann"}, key)

    assert (first.status, second.status) == (201, 201)
    assert (first.json["user"], second.json["user"]) == ("bob", "ann")
    assert second.header("Idempotent-Replayed") is None


def test_lists_hold_one_s_own(world: World) -> None:
    ann = world.users["ann"].id
    for path in ("/v2/events?user=ann&limit=1000", "/v2/users/ann/events?limit=1000"):
        assert {event["user"] for event in world.ask("user", "GET", path).json["events"]} == {ann}
    tokens = world.ask("user", "GET", "/v2/tokens?limit=1000").json["tokens"]
    with behind(world.served) as storage:
        assert {one["id"] for one in tokens} <= {token.id for token in storage.log.tokens(ann)}
