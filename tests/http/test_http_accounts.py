"""Accounts over HTTP: who makes them, signing in and out, guessing, passwords, tokens, renaming, and what is told of it
all to auditors, and to nobody."""

import base64
import hashlib
import http.client
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from es_goals.accounts import passwords
from es_goals.accounts.caller import fingerprint
from es_goals.accounts.changes import revoke, set_disabled
from es_goals.accounts.passwords import hashed
from es_goals.http.accounts import tokens
from es_goals.storage.errors import Interrupted
from es_goals.storage.sessions import Attempt
from tests.support.commands import on
from tests.support.people import Answer, Inside, Wire, behind, cause, issue, new_id, register
from tests.support.serving import Served, wait_for
from tests.support.wire import connect, listen

Json = dict[str, Any]

GOOD, OTHER = "correct horse battery", "staple horse battery"
KEPT = hashed(GOOD)
PLANTED = {"ES_GOALS_OIDC_SECRET": "planted-client-secret-7f3a"}
SESSION, TOKEN = r"esgs_[0-9a-f]{64}", r"esgt_[0-9a-f]{64}"
REFUSED = (401, "sign-in-refused")
LIMITED = (429, "too-many-attempts")

addresses = (f"127.0.{number // 200 + 1}.{number % 200 + 2}" for number in count())
"""Each is somebody else's."""


class Two:
    """A service of two workers, and a connection to each of them; `person` makes somebody who has a password."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.served = Served(folder, env=env, accounts=True)
        self.root = self.served.token
        self.wires: list[Wire] = []
        self._names = count()

    def connect(self) -> None:
        """Anew, since the service ends connections that nobody uses."""
        self.disconnect()
        self.wires = [self.to(worker) for worker in self.served.workers()]

    def disconnect(self) -> None:
        """Ends both connections."""
        for wire in self.wires:
            wire.close()

    def to(self, worker: int, address: str = "127.0.0.1") -> Wire:
        """A connection to this worker."""
        wire, others = Wire(self.served, address), [pid for pid in self.served.workers() if pid != worker]
        try:
            for pid in others:
                os.kill(pid, signal.SIGSTOP)
            wire("GET", "/healthz")
        finally:
            for pid in others:
                os.kill(pid, signal.SIGCONT)
        return wire

    def __call__(self, method: str, path: str, token: str | None = None, body: Any = None, **headers: str) -> Answer:
        """Of the first worker; header names with _ for -."""
        return self.wires[0](method, path, token, body, {name.replace("_", "-"): headers[name] for name in headers})

    def both(self, path: str, token: str, method: str = "GET") -> list[int]:
        """The statuses of both workers."""
        if any(wire.closed for wire in self.wires):
            self.connect()
        return [wire(method, path, token).status for wire in self.wires]

    def person(self, role: str = "user", password: str | None = KEPT) -> tuple[str, str]:
        """Somebody new, with a token: name and token. `password` as it is kept."""
        name = f"person-{next(self._names)}"
        with behind(self.served) as storage, storage.log.writing() as transaction:
            return name, issue(transaction, register(transaction, name, role, password))[0]

    def sign_in(self, name: str, password: str = GOOD, address: str | None = None) -> Answer:
        """From an address, or one that nobody had before."""
        with closing(Wire(self.served, address or next(addresses))) as wire:
            return wire("POST", "/v2/sessions", None, {"user": name, "password": password})

    def session(self, name: str, password: str = GOOD) -> str:
        """A new session's token."""
        answer = self.sign_in(name, password)
        assert answer.status == 201, answer
        token: str = answer.json["token"]
        return token

    def events(self, name: str) -> list[Json]:
        """All of a user's."""
        events: list[Json] = self("GET", f"/v2/users/{name}/events?limit=1000", self.root).json["events"]
        return events


@pytest.fixture(scope="module")
def _two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    env = {"ES_GOALS_LOG_LEVEL": "debug", "ES_GOALS_URL": "http://127.0.0.1:1", "ES_GOALS_OIDC_CLIENT": "goals"}
    two = Two(tmp_path_factory.mktemp("accounts"), **env, **PLANTED, ES_GOALS_OIDC_ISSUER="https://127.0.0.1:1")
    with two.served:
        yield two


@pytest.fixture
def two(_two: Two) -> Iterator[Two]:
    """Connected."""
    _two.connect()
    yield _two
    _two.disconnect()


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[Inside]:
    """A service of this process, whose clock stands still; anyone may register."""
    with closing(Inside(tmp_path, registration="open")) as inside:
        yield inside


def outcome(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.problem


def told(answer: Answer) -> tuple[object, ...]:
    """All of it, but for what is of each request."""
    headers = [header for header in answer.headers if header[0] not in ("date", "x-request-id")]
    return answer.status, headers, {**answer.json, "request_id": None}


# Who makes users.


def test_the_first_administrator_is_made_with_a_token_that_is_told_once(two: Two) -> None:
    found = two("GET", "/v2/users/admin", two.root).json

    assert found["name"] == "admin"
    assert len(re.findall(TOKEN, two.served.output.read_text())) == 1
    first, second = two.events("admin")[:2]
    assert (first["type"], first["data"]["role"], second["type"]) == ("UserRegistered", "administrator", "TokenIssued")
    assert {first["actor"], second["actor"]} == {"cli"}


def test_an_administrator_makes_users_who_sign_in_where_they_have_a_password(two: Two) -> None:
    body = {"name": "Zoë", "email": "zoe@example.org", "password": GOOD}
    made = two("POST", "/v2/users", two.root, body)
    bare = two("POST", "/v2/users", two.root, {"name": "bare"})

    assert (made.status, bare.status) == (201, 201)
    assert set(made.json) == {"id", "name", "email", "created_at"}
    assert (made.json["name"], made.json["email"], bare.json["email"]) == ("Zoë", "zoe@example.org", None)
    assert made.header("Location") == f"/v2/users/{made.json['id']}"
    assert made.header("Position") == str(two.events(made.json["id"])[0]["position"])
    assert outcome(two.sign_in("zoë")) == outcome(two.sign_in(made.json["id"])) == (201, None)
    assert [outcome(two.sign_in("bare", password)) for password in ("", GOOD)] == [REFUSED] * 2


def test_nobody_makes_users_where_registration_is_closed(two: Two) -> None:
    answer = two("POST", "/v2/users", None, {"name": "mallory", "password": GOOD})

    assert outcome(answer) == (401, "unauthenticated")
    assert two("GET", "/v2/users/mallory", two.root).status == 404


def test_where_it_is_open_anyone_registers_with_a_password(inside: Inside) -> None:
    bare = inside("POST", "/v2/users", None, {"name": "ann"})
    bad = inside("POST", "/v2/users", "esgt_x", {"name": "ann", "password": GOOD})
    made = inside("POST", "/v2/users", None, {"name": "ann", "password": GOOD})
    taken = inside("POST", "/v2/users", None, {"name": "ANN", "password": OTHER})

    assert [fault["pointer"] for fault in bare.json["errors"]] == ["/password"]
    assert [outcome(one) for one in (bare, bad, made, taken)] == [
        (422, "invalid-value"), (401, "unauthenticated"), (201, None), (409, "user-name-taken"),
    ]  # fmt: skip
    session = inside.session("ann", GOOD)
    (event,) = inside("GET", "/v2/users/ann/events", session).json["events"]
    assert (event["type"], event["actor"], event["data"]) == ("UserRegistered", None, {"user_id": made.json["id"]})
    assert outcome(inside("GET", "/v2/users", session)) == (403, "forbidden")


@pytest.mark.parametrize(
    "password",
    [
        "",
        "1234567",
        "\u00e9\u00e9\u00e9x",
        "\U0001f3c3x",
        "x" * 1025,
        "\u00e9" * 513,
        "password",
        "PassWord",
        "12345678",
    ],
)
def test_a_password_that_none_may_be_is_refused_and_not_shown(inside: Inside, password: str) -> None:
    ann = inside.person("ann")
    made = inside("POST", "/v2/users", None, {"name": "bob", "password": password})
    put = inside("PUT", "/v2/users/ann/password", ann, {"new": password})

    for answer, pointer in ((made, "/password"), (put, "/new")):
        assert outcome(answer) == (422, "invalid-value")
        assert [fault["pointer"] for fault in answer.json["errors"]] == [pointer]
        assert not password or password.encode() not in answer.body.replace(b"password", b"")
    assert inside("GET", "/v2/users/bob", inside.root).status == 404


@pytest.mark.parametrize(
    "password", ["8 bytes!", "\u00e9\u00e9\u00e9\u00e9", "x" * 1024, "\u00e9" * 512, " " * 8, "\0" * 8]
)
def test_any_other_password_of_8_to_1024_bytes_is_taken(inside: Inside, password: str) -> None:
    assert inside("POST", "/v2/users", None, {"name": "bob", "password": password}).status == 201
    assert inside.session("bob", password)
    assert outcome(inside.sign_in("bob", password[:-1])) == REFUSED


def test_a_registration_s_repeat_gives_the_first_answer_whatever_its_password(inside: Inside) -> None:
    """It is compared with what is kept in the log, which holds nothing of a password."""
    key = {"Idempotency-Key": "a-key"}
    first, again = (
        inside("POST", "/v2/users", inside.root, {"name": "ann", "password": password}, headers=key)
        for password in (GOOD, OTHER)
    )
    other = inside("POST", "/v2/users", inside.root, {"name": "bob", "password": GOOD}, headers=key)

    assert (first.status, first.header("Idempotent-Replayed")) == (201, None)
    assert (again.status, again.json, again.header("Idempotent-Replayed")) == (201, first.json, "true")
    assert outcome(other) == (422, "key-reused")
    assert inside.session("ann", GOOD)
    assert outcome(inside.sign_in("ann", OTHER)) == REFUSED


def test_a_stranger_can_have_no_key(inside: Inside) -> None:
    """Who registers has nothing yet by which a repeat could be told from somebody else's request."""
    body = {"name": "ann", "password": GOOD}
    answer = inside("POST", "/v2/users", None, body, headers={"Idempotency-Key": "1"})

    assert outcome(answer) == (422, "invalid-value")
    assert outcome(inside.sign_in("ann", GOOD)) == REFUSED
    assert inside("POST", "/v2/users", None, body).status == 201


# Signing in and out.


def test_a_session_is_begun_used_and_ended(inside: Inside) -> None:
    inside.person("ann", KEPT)
    answer = inside.sign_in("ann", GOOD)

    secret = answer.json["token"]
    assert (answer.status, set(answer.json)) == (201, {"token", "expires_at"})
    assert re.fullmatch(SESSION, secret)
    assert answer.json["expires_at"] == inside.later(2_592_000)
    assert answer.header("Cache-Control") == "no-store"
    for headers in (
        {"Authorization": f"Bearer {secret}"}, {"Authorization": f"bearer  {secret}"}, {"Access-Token": secret},
        {"Authorization": f"Bearer {secret}", "Access-Token": "esgt_bad"},
    ):  # fmt: skip
        assert inside("GET", "/v2/users/ann", None, headers=headers).status == 200
    for headers in (
        {"Authorization": f"Basic {secret}"}, {"Authorization": secret}, {"Authorization": "Bearer"},
        {"Authorization": "", "Access-Token": secret}, {"Access-Token": ""}, {"Access-Token": secret.upper()},
        {"Cookie": f"token={secret}"},
    ):  # fmt: skip
        assert outcome(inside("GET", "/v2/users/ann", None, headers=headers)) == (401, "unauthenticated")
    assert outcome(inside("GET", f"/v2/users/ann?access_token={secret}")) == (401, "unauthenticated")
    out = inside("DELETE", "/v2/sessions/current", secret)
    assert (out.status, out.body, out.header("Cache-Control")) == (204, b"", "no-store")
    assert outcome(inside("GET", "/v2/users/ann", secret)) == (401, "unauthenticated")
    assert outcome(inside("DELETE", "/v2/sessions/current", secret)) == (401, "unauthenticated")


def test_only_a_session_is_logged_out_and_on_both_workers_at_once(two: Two) -> None:
    name, token = two.person()
    one, another = two.session(name), two.session(name)
    assert two.both(f"/v2/users/{name}", one) == [200, 200]

    assert outcome(two("DELETE", "/v2/sessions/current", token)) == (404, "session-not-found")
    assert two("DELETE", "/v2/sessions/current", one).status == 204

    assert two.both(f"/v2/users/{name}", one) == [401, 401]
    assert two.both(f"/v2/users/{name}", another) == two.both(f"/v2/users/{name}", token) == [200, 200]


def test_an_unknown_user_and_a_wrong_password_are_told_the_same(two: Two) -> None:
    known, _ = two.person()
    bare, _ = two.person(password=None)
    off, _ = two.person()
    assert on(two.served.database, "user", "disable", off).exit_code == 0
    cases = [(known, OTHER), ("nobody-of-this-name", GOOD), (bare, ""), (off, GOOD), ("x" * 5000, GOOD), ("\0", GOOD)]

    answers = [two.sign_in(*case) for case in cases]

    assert outcome(answers[0]) == REFUSED
    assert answers[0].header("WWW-Authenticate") is not None
    assert [told(answer) for answer in answers] == [told(answers[0])] * len(answers)


def test_who_is_disabled_is_let_in_nowhere_at_once_until_enabled(two: Two) -> None:
    name, token = two.person()
    session = two.session(name)
    places = ("/v2/users/" + name, "/v2/tokens", "/v1.0/goals", f"/v2/users/{name}/goals")
    assert {status for place in places for one in (token, session) for status in two.both(place, one)} == {200}

    with behind(two.served) as storage, storage.log.writing() as transaction:
        user = storage.log.user_named(name)
        assert user is not None
        set_disabled(transaction, user.id, True, cause())

    assert {status for place in places for one in (token, session) for status in two.both(place, one)} == {401}
    assert outcome(two.sign_in(name)) == REFUSED
    assert two("GET", places[0], two.root).status == 200
    with behind(two.served) as storage, storage.log.writing() as transaction:
        set_disabled(transaction, user.id, False, cause())
    assert two.both(places[0], token) == [200, 200]


def test_a_session_ends_unused_and_at_its_end(inside: Inside) -> None:
    inside.person("ann", KEPT)
    idle, used = inside.session("ann", GOOD), inside.session("ann", GOOD)
    for _ in range(4):  # of 604,800 s, each used within; the end comes at 2,592,000
        inside.pass_(604_000)
        assert inside("GET", "/v2/users/ann", used).status == 200
    assert outcome(inside("GET", "/v2/users/ann", idle)) == (401, "unauthenticated")
    inside.pass_(2_592_000 - 4 * 604_000 - 1)
    assert inside("GET", "/v2/users/ann", used).status == 200
    inside.pass_(1)
    assert outcome(inside("GET", "/v2/users/ann", used)) == (401, "unauthenticated")


# Guessing.


def test_after_five_failures_on_an_account_nobody_guesses_on_for_a_quarter_of_an_hour(inside: Inside) -> None:
    inside.person("ann", KEPT)
    inside.person("bob", KEPT)
    for _ in range(5):
        assert outcome(inside.sign_in("ann", OTHER, next(addresses))) == REFUSED
        inside.pass_(10)
    for name in ("ann", "ANN"):
        limited = inside.sign_in(name, GOOD, next(addresses))
        assert (*outcome(limited), limited.header("Retry-After")) == (*LIMITED, "850")
        assert limited.header("Cache-Control") == "no-store"

    assert inside.sign_in("bob", GOOD, next(addresses)).status == 201
    inside.pass_(850)
    assert outcome(inside.sign_in("ann", GOOD, next(addresses))) == LIMITED
    inside.pass_(1)
    assert inside.sign_in("ann", GOOD, next(addresses)).status == 201


def test_after_five_failures_from_an_address_it_tries_nobody_more(inside: Inside) -> None:
    inside.person("ann", KEPT)
    address = next(addresses)
    for number in range(5):
        assert outcome(inside.sign_in(f"somebody-{number}", OTHER, address)) == REFUSED

    limited = inside.sign_in("ann", GOOD, address)

    assert (*outcome(limited), limited.header("Retry-After")) == (*LIMITED, "900")
    assert inside.sign_in("ann", GOOD, next(addresses)).status == 201


def test_a_name_that_nobody_has_is_limited_as_any_other(inside: Inside) -> None:
    found = [inside.sign_in("nobody", GOOD, next(addresses)) for _ in range(6)]

    assert [outcome(answer) for answer in found] == [REFUSED] * 5 + [LIMITED]


def test_the_right_password_of_who_is_disabled_is_counted_as_a_wrong_one(inside: Inside) -> None:
    """Else the sixth answer would tell that it is right."""
    inside.person("ann", KEPT)
    inside.set_disabled("ann")

    found = [inside.sign_in("ann", GOOD, next(addresses)) for _ in range(6)]

    assert [outcome(answer) for answer in found] == [REFUSED] * 5 + [LIMITED]


def test_a_password_that_holds_forgets_those_before_it_from_there_and_no_others(inside: Inside) -> None:
    inside.person("ann", KEPT)
    here, there = next(addresses), next(addresses)
    for _ in range(2):
        assert outcome(inside.sign_in("ann", OTHER, here)) == REFUSED
        assert outcome(inside.sign_in("ann", OTHER, there)) == REFUSED
    assert inside.sign_in("ann", GOOD, here).status == 201

    again = [inside.sign_in("ann", OTHER, there) for _ in range(4)]
    own = [inside.sign_in("ann", OTHER, here) for _ in range(6)]

    assert [outcome(answer) for answer in again] == [REFUSED] * 3 + [LIMITED]
    assert [outcome(answer) for answer in own] == [REFUSED] * 5 + [LIMITED]


def test_who_guesses_resets_nothing_by_signing_in_to_an_account_of_their_own(inside: Inside) -> None:
    inside.person("mallory", KEPT)
    inside.person("ann", KEPT)
    address, found = next(addresses), []
    for _ in range(7):
        found.append(outcome(inside.sign_in("ann", OTHER, address)))
        inside.sign_in("mallory", GOOD, address)

    assert found == [REFUSED] * 5 + [LIMITED] * 2


def test_the_owner_is_not_locked_out_where_they_are_signed_in(two: Two) -> None:
    name, _ = two.person()
    home = next(addresses)
    assert two.sign_in(name, address=home).status == 201
    for number in range(5):
        assert outcome(two.sign_in(name, OTHER)) == REFUSED
        assert outcome(two.sign_in(f"somebody-{number}", OTHER, home)) == REFUSED

    assert outcome(two.sign_in(name)) == LIMITED
    assert outcome(two.sign_in("somebody-6", OTHER, home)) == LIMITED
    assert two.sign_in(name, address=home).status == 201
    assert [outcome(two.sign_in(name, OTHER, home)) for _ in range(6)] == [REFUSED] * 5 + [LIMITED]


def test_many_guesses_at_once_get_no_further_than_one_after_the_other(two: Two) -> None:
    name, _ = two.person()
    with ThreadPoolExecutor(20) as pool:
        of_account = list(pool.map(lambda _: outcome(two.sign_in(name, OTHER)), range(20)))
    address = next(addresses)
    with ThreadPoolExecutor(20) as pool:
        of_address = list(pool.map(lambda one: outcome(two.sign_in(f"x-{one}", OTHER, address)), range(20)))

    assert sorted(of_account) == [REFUSED] * 5 + [LIMITED] * 15
    assert 1 <= of_address.count(REFUSED) <= 5
    assert {status for status, _ in of_address} == {401, 429}  # too many at once, or too many in all


def test_failures_count_over_workers_and_over_a_restart(tmp_path: Path) -> None:
    two = Two(tmp_path)
    try:
        name, token = two.person()
        address = next(addresses)
        for worker in (*two.served.workers(), *two.served.workers()):
            with closing(two.to(worker, address)) as wire:
                answer = wire("POST", "/v2/sessions", None, {"user": name, "password": OTHER})
                assert outcome(answer) == REFUSED
        two.served.kill()
        old = Attempt(new_id(), "old", "192.0.2.1", 1)
        with behind(two.served) as storage:
            assert storage.sessions.attempt(old, 0, 5) == 0
            storage.sessions.failed(old)
            assert storage.sessions.attempt(old, 0, 1) == 1
        two.served.start()

        assert outcome(two.sign_in(name, OTHER, address)) == REFUSED
        limited = two.sign_in(name)
        assert outcome(limited) == outcome(two.sign_in("ann", OTHER, address)) == LIMITED
        assert 0 < int(limited.header("Retry-After") or 0) <= 900
        assert len(re.findall(TOKEN, two.served.output.read_text())) == 1
        with closing(Wire(two.served)) as wire:
            assert wire("GET", f"/v2/users/{name}", token).status == 200
        with behind(two.served) as storage:  # what is of no use any more is forgotten
            again = Attempt(new_id(), "old", "192.0.2.1", 1)
            wait_for(lambda: not storage.sessions.attempt(again, 0, 1), "the old attempt to be forgotten")
    finally:
        two.served.end()


def test_a_guess_waits_for_others_no_longer_than_its_deadline(tmp_path: Path) -> None:
    """As where a worker was killed that looked at five."""
    with closing(Inside(tmp_path, deadline=0.2)) as inside:
        inside.person("ann", KEPT)
        for number in range(5):
            assert inside.sessions.attempt(Attempt(str(number), "x", "192.0.2.1", inside.clock()), 0, 5) == 0

        assert outcome(inside.sign_in("ann", GOOD, "192.0.2.1")) == (503, "took-too-long")
        inside.pass_(31)
        assert outcome(inside.sign_in("ann", GOOD, "192.0.2.1")) == LIMITED


def test_a_guess_that_nobody_looked_at_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_long(*_: object) -> bool:
        raise Interrupted("expected an answer before the deadline; found none")

    with closing(Inside(tmp_path)) as inside:
        inside.person("ann", KEPT)
        with monkeypatch.context() as patch:
            patch.setattr("es_goals.http.accounts.signing.matches", too_long)
            assert {outcome(inside.sign_in("ann", GOOD)) for _ in range(6)} == {(503, "took-too-long")}

        inside.pass_(31)
        assert inside.session("ann", GOOD)


def test_whoever_is_unknown_costs_as_many_looks_as_who_is_not(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    class Spy:
        def __getattr__(self, name: str) -> Any:
            return getattr(hasher, name)

        def verify(self, kept: str, password: str) -> bool:
            looked.append(kept)
            return bool(hasher.verify(kept, password))

    hasher = passwords._HASHER
    monkeypatch.setattr(passwords, "_HASHER", Spy())
    inside.person("ann", KEPT)
    inside.person("no password")
    inside.person("gone", KEPT)
    inside.set_disabled("gone")

    for name in ("ann", "no password", "gone", "unknown"):
        assert outcome(inside.sign_in(name, OTHER)) == REFUSED
    assert len(looked) == 4
    assert {kept.split("$")[3] for kept in looked} == {"m=19456,t=2,p=1"}


def test_a_page_of_tokens_has_no_more_than_any_page(tmp_path: Path) -> None:
    with closing(Inside(tmp_path, page_limit=1)) as inside:
        assert inside("POST", "/v2/tokens", inside.root, {"name": "another", "scope": "read"}).status == 201

        page = inside("GET", "/v2/tokens", inside.root).json
        assert (len(page["tokens"]), page["next"].endswith("&limit=1")) == (1, True)
        assert inside("GET", "/v2/tokens?limit=1", inside.root).status == 200
        assert outcome(inside("GET", "/v2/tokens?limit=2", inside.root)) == (422, "invalid-value")


# Passwords.


def test_who_knows_the_old_password_does_not_undo_a_reset_that_came_meanwhile(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside.person("ann", KEPT)
    thief, path = inside.session("ann", GOOD), "/v2/users/ann/password"
    reset = hashed("a reset of the password")

    def slowly(password: str) -> str:
        inside.set_password("ann", reset)
        return hashed(password)

    monkeypatch.setattr("es_goals.http.accounts.signing.hashed", slowly)
    found = inside("PUT", path, thief, {"current": GOOD, "new": OTHER})

    assert outcome(found) in ((401, "unauthenticated"), (403, "wrong-password"))
    assert outcome(inside.sign_in("ann", OTHER)) == REFUSED
    assert inside.session("ann", "a reset of the password")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v2/tokens", {"name": "another", "scope": "write"}),
        ("PATCH", "/v2/users/{}", {"email": "thief@example.org"}),
        ("PUT", "/v2/users/{}/password", {"new": OTHER}),
        ("POST", "/v2/users/{}/goals", {"name": "Run"}),
        ("POST", "/v2/users/{}/commands", {"commands": [{"type": "CreateGoal", "name": "Run"}]}),
        ("POST", "/v1.0/goals", {"name": "Run"}),
    ],
)
def test_what_ended_while_a_body_was_on_its_way_is_refused(two: Two, method: str, path: str, body: Json) -> None:
    name, token = two.person(password=None)
    sent = json.dumps(body).encode()
    head = f"{method} {path.format(name)} HTTP/1.1\r\nHost: x\r\nAccess-Token: {token}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n"
    with behind(two.served) as storage, closing(connect(two.served.port)) as connection:
        connection.sendall(head.encode() + sent[:3])
        # It is let in, which is noted, before the token ends.
        kept = storage.log.token(fingerprint(token))
        assert kept is not None
        wait_for(lambda: storage.sessions.used(kept.id) is not None, "the request to be let in")
        with storage.log.writing() as transaction:
            revoke(transaction, kept, cause())
        before = storage.log.head().position
        connection.sendall(sent[3:])

        assert b" 401 " in listen(connection, 5.0).raw.partition(b"\r\n")[0]
        assert storage.log.head().position == before


def test_a_password_is_changed_and_every_other_session_ends(two: Two) -> None:
    name, token = two.person()
    path = f"/v2/users/{name}/password"
    mine, other = two.session(name), two.session(name)
    assert two.both(f"/v2/users/{name}", other) == [200, 200]

    answer = two("PUT", path, mine, {"current": GOOD, "new": OTHER, "reason": "it was seen"})

    assert (answer.status, answer.body, answer.header("Cache-Control")) == (204, b"", "no-store")
    assert two.both(f"/v2/users/{name}", other) == [401, 401]
    assert two.both(f"/v2/users/{name}", mine) == two.both(f"/v2/users/{name}", token) == [200, 200]
    assert outcome(two.sign_in(name, GOOD)) == REFUSED
    assert two.sign_in(name, OTHER).status == 201
    event = two.events(name)[-1]
    assert (event["type"], event["reason"], answer.header("Position")) == (
        "PasswordChanged", "it was seen", str(event["position"]),
    )  # fmt: skip
    assert event["actor"] == event["user"] == event["data"]["user_id"]
    assert set(event["data"]) == {"user_id"}


def test_a_wrong_current_password_is_refused_and_counted(inside: Inside) -> None:
    ann = inside.person("ann", KEPT)
    path, address = "/v2/users/ann/password", next(addresses)
    for body in ({"new": OTHER}, {"current": "", "new": OTHER}, *[{"current": OTHER, "new": OTHER}] * 3):
        answer = inside("PUT", path, ann, body, address)
        assert outcome(answer) == (403, "wrong-password")
        assert answer.json["errors"][0]["pointer"] == "/current"

    assert outcome(inside("PUT", path, ann, {"current": GOOD, "new": OTHER}, address)) == LIMITED
    assert outcome(inside.sign_in("ann", GOOD, next(addresses))) == LIMITED
    inside.pass_(901)
    assert inside.sign_in("ann", GOOD, next(addresses)).status == 201


def test_who_has_no_password_sets_one(inside: Inside) -> None:
    ann = inside.person("ann")

    assert outcome(inside("PUT", "/v2/users/ann/password", ann, {"current": GOOD, "new": OTHER})) == (
        403, "wrong-password",
    )  # fmt: skip
    assert inside("PUT", "/v2/users/ann/password", ann, {"new": GOOD}).status == 204
    assert inside.sign_in("ann", GOOD).status == 201
    assert outcome(inside("PUT", "/v2/users/ann/password", ann, {"new": OTHER})) == (403, "wrong-password")


def test_an_administrator_sets_anybody_s_but_must_know_their_own(inside: Inside) -> None:
    inside.person("ann", KEPT)
    session = inside.session("ann", GOOD)
    bob, eve = inside.person("bob"), inside.person("eve", role="auditor")
    boss = inside.person("boss", KEPT, role="administrator")
    path = "/v2/users/ann/password"

    assert outcome(inside("PUT", path, bob, {"new": OTHER})) == (404, "user-not-found")
    assert outcome(inside("PUT", path, eve, {"new": OTHER})) == (403, "forbidden")
    assert inside("GET", "/v2/users/ann", session).status == 200
    assert inside("PUT", path, boss, {"new": OTHER}).status == 204
    assert outcome(inside("GET", "/v2/users/ann", session)) == (401, "unauthenticated")
    assert inside.sign_in("ann", OTHER).status == 201
    assert outcome(inside("PUT", "/v2/users/boss/password", boss, {"new": OTHER})) == (403, "wrong-password")
    assert inside("PUT", "/v2/users/boss/password", boss, {"current": GOOD, "new": OTHER}).status == 204


# API tokens.


def test_a_token_is_told_once_listed_and_revoked(inside: Inside) -> None:
    ann = inside.person("ann")
    made = inside("POST", "/v2/tokens", ann, {"name": "  laptop ", "scope": "read"})
    bounded = inside("POST", "/v2/tokens", ann, {"name": "x", "scope": "write", "expires_at": inside.later(60)})

    secret = made.json["token"]
    assert (made.status, bounded.status) == (201, 201)
    assert re.fullmatch(TOKEN, secret)
    kept = {name: value for name, value in made.json.items() if name != "token"}
    assert kept == {
        "id": kept["id"], "name": "laptop", "scope": "read", "created_at": inside.later(0),
        "expires_at": inside.later(7_776_000), "last_used_at": None,
    }  # fmt: skip
    assert bounded.json["expires_at"] == inside.later(60)
    assert made.header("Location") == f"/v2/tokens/{kept['id']}"
    assert made.header("Cache-Control") == "no-store"
    listed = inside("GET", "/v2/tokens", ann)
    assert listed.header("Cache-Control") == "no-store"
    assert kept in listed.json["tokens"]
    assert secret.encode() not in listed.body
    assert inside("GET", "/v2/users/ann", secret).status == 200
    gone = inside("DELETE", f"/v2/tokens/{kept['id'].upper()}", ann)
    assert (gone.status, gone.body, gone.header("Cache-Control")) == (204, b"", "no-store")
    assert outcome(inside("GET", "/v2/users/ann", secret)) == (401, "unauthenticated")
    assert outcome(inside("DELETE", f"/v2/tokens/{kept['id']}", ann)) == (404, "token-not-found")
    assert len(inside("GET", "/v2/tokens", ann).json["tokens"]) == 2


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"scope": "read"}, "/name"),
        ({"name": "", "scope": "read"}, "/name"),
        ({"name": "  ", "scope": "read"}, "/name"),
        ({"name": "x" * 101, "scope": "read"}, "/name"),
        ({"name": "a\nb", "scope": "read"}, "/name"),
        ({"name": "x"}, "/scope"),
        ({"name": "x", "scope": "admin"}, "/scope"),
        ({"name": "x", "scope": "read", "expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"name": "x", "scope": "read", "expires_at": "2099-01-01T00:00:00"}, "/expires_at"),
        ({"name": "x", "scope": "read", "expires_at": "9999-12-31T23:59:59-23:59"}, "/expires_at"),
        ({"name": "x", "scope": "read", "expires_at": 60}, "/expires_at"),
        ({"name": "x", "scope": "read", "user": "bob"}, "/user"),
        ({"name": "x", "scope": "read", "token": "mine"}, "/token"),
    ],
)
def test_a_token_that_cannot_be_is_refused(two: Two, body: Json, pointer: str) -> None:
    answer = two("POST", "/v2/tokens", two.root, body)

    assert outcome(answer) == (422, "invalid-value")
    assert [fault["pointer"] for fault in answer.json["errors"]] == [pointer]


def test_tokens_come_in_pages_and_auditors_and_administrators_see_anybody_s(inside: Inside) -> None:
    ann, eve = inside.person("ann"), inside.person("eve", role="auditor")
    for number in range(4):
        assert inside("POST", "/v2/tokens", ann, {"name": f"t{number}", "scope": "read"}).status == 201
    pages, path = [], "/v2/tokens?limit=2"
    while path:
        page = inside("GET", path, ann)
        pages.append([one["name"] for one in page.json["tokens"]])
        path = page.json["next"]
        assert page.header("Link") == (f'<{path}>; rel="next"' if path else None)

    listed = [name for page in pages for name in page]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert sorted(listed) == ["a test", "t0", "t1", "t2", "t3"]
    for token in (eve, inside.root):
        names = [one["name"] for one in inside("GET", "/v2/tokens?user=ann", token).json["tokens"]]
        assert names == listed
        assert len(inside("GET", "/v2/tokens", token).json["tokens"]) == 1


def test_the_last_use_is_noted_at_most_once_a_minute(inside: Inside) -> None:
    ann = inside.person("ann")

    def used() -> str | None:
        last: str | None = inside("GET", "/v2/tokens?user=ann", inside.root).json["tokens"][0]["last_used_at"]
        return last

    assert used() is None
    inside("GET", "/v2/users/ann", ann)
    first = inside.later(0)
    assert used() == first
    inside.pass_(59)
    inside("GET", "/v2/users/ann", ann)
    assert used() == first
    inside.pass_(1)
    inside("GET", "/v2/users/ann", ann)
    assert used() == inside.later(0)


def test_a_token_ends_unused_and_at_its_end(inside: Inside) -> None:
    idle, _ = inside.person("ann"), inside.person("bob")
    long, never = (inside.token_of("bob", 20_000_000) for _ in range(2))
    assert inside("GET", "/v2/users/ann", idle).status == 200
    for _ in range(2):
        inside.pass_(7_776_000)
        assert inside("GET", "/v2/users/bob", long).status == 200
    for token in (idle, never):
        assert outcome(inside("GET", "/v2/users/bob", token)) == (401, "unauthenticated")
    inside.pass_(20_000_000 - 2 * 7_776_000 - 1)
    assert inside("GET", "/v2/users/bob", long).status == 200
    inside.pass_(1)
    assert outcome(inside("GET", "/v2/users/bob", long)) == (401, "unauthenticated")


def test_a_token_ends_no_later_than_the_longest_and_than_the_one_that_makes_it(inside: Inside) -> None:
    inside.person("ann", KEPT)
    session, short = inside.session("ann", GOOD), inside.token_of("ann", 3_600)

    def made(maker: str, seconds: int | None) -> Answer:
        given = {} if seconds is None else {"expires_at": inside.later(seconds)}
        return inside("POST", "/v2/tokens", maker, {"name": "x", "scope": "read", **given})

    for maker, most, default in ((session, 3_153_600_000, 7_776_000), (short, 3_600, 3_600)):
        assert made(maker, most).json["expires_at"] == inside.later(most)
        assert made(maker, None).json["expires_at"] == inside.later(default)
        beyond = made(maker, most + 1)
        assert (beyond.status, beyond.problem) == (422, "invalid-value")
        assert "expected a time up to" in str(beyond.json)


def test_a_user_has_so_many_good_tokens_and_no_more(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MOST_TOKENS", 3)
    ann, bob = inside.person("ann"), inside.person("bob")

    def made(maker: str, seconds: int = 60) -> Answer:
        given = {"name": "x", "scope": "read", "expires_at": inside.later(seconds)}
        return inside("POST", "/v2/tokens", maker, given)

    first, _second = made(ann), made(ann, 120)
    refused = made(ann)
    assert (refused.status, refused.problem) == (422, "limit-reached")
    assert made(bob).status == 201
    assert inside("DELETE", f"/v2/tokens/{first.json['id']}", ann).status == 204
    assert [made(ann).status, made(ann).status] == [201, 422]
    inside.pass_(60)
    assert [made(ann).status, made(ann).status] == [201, 422]


def test_one_revokes_one_s_own_and_administrators_anybody_s_on_both_workers_at_once(two: Two) -> None:
    ann, token = two.person()
    _, other = two.person()
    _, eve = two.person("auditor")

    def made() -> tuple[str, str]:
        found = two("POST", "/v2/tokens", token, {"name": "x", "scope": "write"}).json
        assert two.both(f"/v2/users/{ann}", found["token"]) == [200, 200]
        return found["id"], found["token"]

    (first, first_secret), (second, second_secret) = made(), made()
    for caller in (other, eve):
        assert outcome(two("DELETE", f"/v2/tokens/{first}", caller)) == (404, "token-not-found")
    assert two("DELETE", f"/v2/tokens/{first}", first_secret).status == 204
    assert two("DELETE", f"/v2/tokens/{second}", two.root).status == 204

    for secret in (first_secret, second_secret):
        assert two.both(f"/v2/users/{ann}", secret) == [401, 401]
    assert two.both(f"/v2/users/{ann}", token) == [200, 200]


def test_a_token_to_read_changes_nothing(two: Two) -> None:
    name, token = two.person()
    read = two("POST", "/v2/tokens", token, {"name": "x", "scope": "read"}).json["token"]
    goal = two("POST", f"/v2/users/{name}/goals", token, {"name": "Run"}).json["id"]
    before = len(two.events(name))
    changes = [
        ("POST", f"/v2/users/{name}/goals"), ("POST", f"/v2/users/{name}/commands"), ("PATCH", f"/v2/goals/{goal}"),
        ("DELETE", f"/v2/goals/{goal}"), ("POST", f"/v2/goals/{goal}/complete"), ("PATCH", f"/v2/users/{name}"),
        ("PUT", f"/v2/users/{name}/password"), ("POST", "/v2/tokens"), ("DELETE", "/v2/sessions/current"),
        ("POST", "/v1.0/goals"), ("PUT", "/v1.0/goals"), ("DELETE", "/v1.0/goals"),
    ]  # fmt: skip

    assert {outcome(two(method, path, read, {"name": "x"}))[0] for method, path in changes} == {403}
    assert len(two.events(name)) == before
    assert two.both(f"/v2/goals/{goal}", read) == [200, 200]


# Renaming.


def test_a_new_name_shows_everywhere_at_once_though_nothing_else_changed(two: Two) -> None:
    name, token = two.person()
    user_id = two("GET", f"/v2/users/{name}", token).json["id"]
    goal = two("POST", f"/v2/users/{name}/goals", token, {"name": "Run"}).json["id"]
    places = (f"/v2/users/{user_id}/goals", f"/v2/users/{user_id}/goals?view=flat", f"/v2/goals/{goal}")
    tags = {(wire, place): wire("GET", place, token).header("ETag") or "" for wire in two.wires for place in places}

    answer = two("PATCH", f"/v2/users/{name}", token, {"name": f"new-{name}"})

    assert (answer.status, answer.json["name"], answer.json["id"]) == (200, f"new-{name}", user_id)
    for (wire, place), tag in tags.items():
        found = wire("GET", place, token, headers={"If-None-Match": tag})
        assert (found.status, f'"user":"new-{name}"'.encode() in found.body) == (200, True)
        assert wire("GET", place, token, headers={"If-None-Match": found.header("ETag") or ""}).status == 304
        assert wire("GET", f"/v2/users/{name}", token).status == 404
        assert wire("GET", f"/v2/users/new-{name}", two.root).json == answer.json
    assert outcome(two.sign_in(name)) == REFUSED
    assert two.sign_in(f"NEW-{name}").status == 201


def test_a_rename_is_a_merge_patch(two: Two) -> None:
    name, token = two.person()
    path = f"/v2/users/{two('GET', f'/v2/users/{name}', token).json['id']}"
    other, _ = two.person()
    before = len(two.events(name))

    mailed = two("PATCH", path, token, {"email": "a@example.org"}, Content_Type="application/merge-patch+json")
    same = two("PATCH", path, token, {"email": "a@example.org", "name": name})
    cased = two("PATCH", path, token, {"name": name.upper()})
    bare = two("PATCH", path, token, {"email": None, "reason": "spam"})
    refused = [
        two("PATCH", path, token, body)
        for body in (
            {"name": other.upper()},
            {"name": None},
            {"name": "a/b"},
            {"email": "x"},
            {"role": "administrator"},
        )
    ]

    assert [one.json["email"] for one in (mailed, same, cased, bare)] == ["a@example.org"] * 3 + [None]
    assert [one.json["name"] for one in (mailed, same, cased, bare)] == [name] * 2 + [name.upper()] * 2
    assert [one.status for one in refused] == [409, 422, 422, 422, 422]
    events = two.events(name)[before:]
    assert [(event["type"], set(event["data"])) for event in events] == [("UserRenamed", {"user_id"})] * 3
    assert same.header("Position") == mailed.header("Position") == str(events[0]["position"])
    assert events[-1]["reason"] == "spam"


# What auditors are told.


def test_every_change_of_an_account_is_in_the_feed_with_its_actor_and_without_secrets_or_names(two: Two) -> None:
    name, token = two.person()
    user = two("GET", f"/v2/users/{name}", token).json
    root = two("GET", "/v2/users/admin", two.root).json["id"]
    made = two("POST", "/v2/tokens", token, {"name": "a laptop's", "scope": "read"}).json
    two("DELETE", f"/v2/tokens/{made['id']}", two.root)
    two("PUT", f"/v2/users/{name}/password", two.root, {"new": OTHER})
    two("PATCH", f"/v2/users/{name}", two.root, {"email": "secret@example.org"})
    assert on(two.served.database, "user", "disable", name).exit_code == 0

    _, auditor = two.person("auditor")
    events = two("GET", f"/v2/users/{name}/events", auditor).json["events"]
    assert [(event["type"], event["actor"]) for event in events] == [
        ("UserRegistered", "test"), ("TokenIssued", "test"), ("TokenIssued", user["id"]),
        ("TokenRevoked", root), ("PasswordChanged", root), ("UserRenamed", root), ("UserDisabled", "cli"),
    ]  # fmt: skip
    assert events[3]["data"] == {"user_id": user["id"], "token_id": made["id"]}
    first = events[0]["position"] - 1
    feed = two("GET", f"/v2/events?after={first}&limit=1000", auditor).json["events"]
    assert [event for event in feed if event["user"] == user["id"]] == events
    for secret in (name, "secret@example.org", "laptop", made["token"], OTHER, "argon2"):
        assert secret not in json.dumps(events)


def test_the_whole_feed_is_for_auditors_and_one_s_own_for_everybody(two: Two) -> None:
    name, token = two.person()
    _, auditor = two.person("auditor")
    goal = two("POST", f"/v2/users/{name}/goals", token, {"name": "Run"}).json["id"]

    for query in ("", "?after=1", "?type=UserRegistered"):
        for accept in ("application/json", "application/x-ndjson", "text/event-stream"):
            assert outcome(two("GET", f"/v2/events{query}", token, Accept=accept)) == (403, "forbidden")
    for query in (f"?user={name}", f"?goal={goal}", f"?user={name}&goal={goal}"):
        assert two("GET", f"/v2/events{query}", token).status == 200
    assert two.both("/v2/events", auditor) == two.both("/v2/events", two.root) == [200, 200]


@contextmanager
def stream(two: Two, path: str, token: str) -> Iterator[http.client.HTTPResponse]:
    """A live one, whose first line was read."""
    with closing(http.client.HTTPConnection("127.0.0.1", two.served.port, 20)) as connection:
        connection.request("GET", path, headers={"Accept": "text/event-stream", "Authorization": f"Bearer {token}"})
        with closing(connection.getresponse()) as answer:
            assert answer.status == 200
            assert answer.readline().startswith(b":")
            yield answer


def test_a_stream_ends_with_the_token_that_it_was_asked_for_with(two: Two) -> None:
    name, token = two.person()
    own = two("POST", "/v2/tokens", token, {"name": "x", "scope": "read"}).json
    with stream(two, f"/v2/users/{name}/events", own["token"]) as mine, stream(two, "/v2/events", two.root) as all_:
        assert two("DELETE", f"/v2/tokens/{own['id']}", two.root).status == 204
        rest = mine.read()

        assert b"TokenIssued" in rest
        assert b"TokenRevoked" not in rest
        lines = iter(all_.readline, b"")
        assert any(own["id"].encode() in line and b"TokenRevoked" in line for line in lines)


def samples(two: Two, name: str) -> dict[str, float]:
    """By their labels."""
    text = two("GET", "/metrics", two.root).body.decode()
    return {labels: float(value) for labels, value in re.findall(rf"^{name}\{{(.*)\}} (\S+)$", text, re.MULTILINE)}


def test_sign_ins_and_refusals_are_counted_and_logged(two: Two) -> None:
    name, token = two.person()
    user_id = two("GET", f"/v2/users/{name}", token).json["id"]
    sign_ins, refusals = (samples(two, f"es_goals_{one}_total") for one in ("sign_ins", "refusals"))
    address = next(addresses)
    found = [two.sign_in(name, password, address) for password in (GOOD, *[OTHER] * 6)]
    found += [two("GET", "/v2/users", token), two("GET", "/v2/users", "esgt_bad")]

    new_sign_ins, new_refusals = (samples(two, f"es_goals_{one}_total") for one in ("sign_ins", "refusals"))
    counted = {labels: value - sign_ins.get(labels, 0) for labels, value in new_sign_ins.items()}
    assert counted == {'outcome="in"': 1, 'outcome="refused"': 5, 'outcome="limited"': 1}
    counted = {labels: value - refusals.get(labels, 0) for labels, value in new_refusals.items()}
    assert {labels: value for labels, value in counted.items() if value} == {
        'problem="sign-in-refused"': 5, 'problem="too-many-attempts"': 1, 'problem="forbidden"': 1,
        'problem="unauthenticated"': 1,
    }  # fmt: skip
    logged = [line for line in lines_of(two) if line["event"] in ("sign_in", "refused")]
    ids = [answer.header("X-Request-Id") for answer in found]
    by_id = {one: [line for line in logged if line["request_id"] == one] for one in ids}
    assert [line["outcome"] for one in ids for line in by_id[one] if line["event"] == "sign_in"] == [
        "in", *["refused"] * 5, "limited",
    ]  # fmt: skip
    signed = [line for one in ids[:7] for line in by_id[one] if line["event"] == "sign_in"]
    assert {(line["user"], line["address"]) for line in signed} == {(user_id, address)}
    refused = [line for one in ids for line in by_id[one] if line["event"] == "refused"]
    assert [line["problem"] for line in refused] == [answer.problem for answer in found[1:]]
    assert [line["user"] for line in refused[-2:]] == [user_id, None]


def lines_of(two: Two) -> list[Json]:
    """What the service logged."""
    lines = two.served.output.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


# Secrets.


def spellings(secret: str) -> set[bytes]:
    """A secret as it is, and as it may have come in or be written."""
    plain = secret.encode()
    inner = {base64.b64encode(b"\0" * skipped + plain)[4:-4] for skipped in (0, 1, 2)}
    spelt = {quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1], plain.hex()}
    return {plain, *inner, *(one.encode() for one in spelt)}


def test_no_secret_is_anywhere_in_clear(two: Two) -> None:
    password, wrong, new = (f"p<{number}>ssw\u00f6rd-{new_id()}" for number in range(3))
    secrets = [password, wrong, new, *PLANTED.values(), two.root]
    answers = [two("POST", "/v2/users", two.root, {"name": "keeper", "password": password}, Idempotency_Key="k")]
    session = two.session("keeper", password)
    token = two("POST", "/v2/tokens", session, {"name": "x", "scope": "write"}).json["token"]
    secrets += [session, token]
    bad = f"esgt_{7:064x}"
    secrets.append(bad)
    wires: list[tuple[str, str, str | None, Any]] = [
        ("PUT", "/v2/users/keeper/password", token, {"current": wrong, "new": new}),
        ("PUT", "/v2/users/keeper/password", token, {"current": password, "new": new}),
        ("PUT", "/v2/users/keeper/password", token, {"current": password, "new": new, "surprise": 1}),
        ("PUT", "/v2/users/keeper/password", token, {"current": [password], "new": new}),
        ("PUT", "/v2/users/keeper/password", token, f'{{"current": "{password}'.encode()),
        ("POST", "/v2/sessions", None, {"user": "keeper", "password": wrong}),
        ("POST", "/v2/sessions", None, {"user": "keeper", "password": {"x": wrong}}),
        ("GET", "/v2/users/keeper", bad, None),
        ("GET", "/v2/users", token, None),
        ("GET", "/v1.0/goals", bad, None),
    ]
    answers += [two(*wire) for wire in wires]
    answers += [two("GET", "/v2/users/keeper", None, Access_Token=one) for one in (token, session, bad)]
    answers += [two("GET", "/metrics", two.root), two("GET", "/openapi.json"), two("GET", "/v2/tokens", token)]
    answers += [two("GET", "/v2/events?limit=1000", two.root)]

    assert {answer.status for answer in answers} == {200, 201, 204, 400, 401, 403, 422}
    places = {f"answer {number}": answer.body for number, answer in enumerate(answers)}
    places |= {file.name: file.read_bytes() for file in two.served.folder.iterdir() if file.is_file()}
    for pid in (two.served.process.pid, *two.served.workers()):
        places |= {f"{what} of {pid}": Path(f"/proc/{pid}/{what}").read_bytes() for what in ("cmdline", "comm", "stat")}
    # The administrator's first token is printed, once, and nowhere else.
    places["output.txt"] = places["output.txt"].replace(two.root.encode(), b"", 1)
    assert {"events.db", "events.db-wal", "sessions.db", "projections.db", "output.txt"} <= places.keys()
    found = [(place, one) for place, held in places.items() for s in secrets for one in spellings(s) if one in held]
    assert found == []
    for one in (password, wrong, new):
        digest = hashlib.sha256(one.encode())
        assert not any(
            kept in held for held in places.values() for kept in (digest.digest(), digest.hexdigest().encode())
        )
    assert any(b"$argon2id$v=19$m=19456,t=2,p=1$" in held for held in places.values())


def test_the_address_of_a_client_is_its_own(two: Two) -> None:
    """No header makes it another one, to be counted for."""
    name, _ = two.person()
    with closing(Wire(two.served, address := next(addresses))) as wire:
        headers = {"X-Forwarded-For": "192.0.2.7", "Forwarded": "for=192.0.2.7", "X-Real-IP": "192.0.2.7"}
        answer = wire("POST", "/v2/sessions", None, {"user": name, "password": OTHER}, headers)

    (line,) = [line for line in lines_of(two) if line.get("request_id") == answer.header("X-Request-Id")
               and line["event"] == "sign_in"]  # fmt: skip
    assert line["address"] == address


def test_whatever_is_sent_in_place_of_a_token_is_refused(two: Two) -> None:
    for raw in (b"Bearer \xff\xfe", b"Bearer " + b"x" * 6_000, b"Bearer esgt_\xc3\xa9", b"\xff", b"Bearer \x00"):
        with socket.create_connection(("127.0.0.1", two.served.port), 20) as connection:
            connection.sendall(b"GET /v2/users HTTP/1.1\r\nHost: x\r\nAuthorization: " + raw + b"\r\n\r\n")
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert answer.status in (400, 401)
            answer.read()
