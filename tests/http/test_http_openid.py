"""Signing in at an OpenID provider over real HTTP: a browser, the service, and a provider on loopback."""

import asyncio
import base64
import re
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, quote, quote_plus, urlsplit

import apsw
import httpx2
import pytest

from es_goals.accounts import changes
from es_goals.http.accounts.openid import COOKIE, COOKIE_SECONDS, PATH
from es_goals.http.edge.body import BodyGuard
from es_goals.ids import Uuid7, wall_clock
from es_goals.settings import Settings
from es_goals.storage.log import Cause
from tests.support.commands import at_home, cli, on, sentence
from tests.support.commands import refused as not_served
from tests.support.engines import open_storage
from tests.support.inside import application
from tests.support.provider import CLIENT, SECRET, Fault, MockProvider, provider, serving
from tests.support.serving import Served, free_port, refused, wait_for

TRUSTS_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CALLBACK = f"{PATH}/callback"
PUBLIC = "https://goals.example"
OTHER_ISSUER = "https://provider.example"

new_id = Uuid7(wall_clock)


class Service(Served):
    """One whose users sign in at a provider, and whose address, where no other is given, is its own."""

    def __init__(self, folder: Path, mock: MockProvider, **env: str) -> None:
        self.mock, self.public = mock, env.get("ES_GOALS_URL", "")
        told = {"OIDC_ISSUER": mock.issuer, "OIDC_CLIENT": CLIENT, "OIDC_SECRET": SECRET}
        super().__init__(
            folder, accounts=True, env={**{f"ES_GOALS_{name}": value for name, value in told.items()}, **env}
        )

    def launch(self) -> None:
        """Begin to serve."""
        self.public = self._env["ES_GOALS_URL"] = self.public or self.url
        self.mock.redirect_uri = self.public + CALLBACK
        super().launch()

    def recorded(self) -> tuple[int, int]:
        """How many events there are, and how many sessions."""
        events, path = len(self.get("/v2/events", limit=1000)["events"]), self.folder / "sessions.db"
        if not path.exists():
            return events, 0  # it is made with the first one
        with closing(apsw.Connection(str(path), apsw.SQLITE_OPEN_READWRITE)) as connection:
            return events, int(connection.execute("SELECT count(*) FROM sessions").get)

    def users(self) -> dict[str, str]:
        """Names and ids."""
        return {user["name"]: user["id"] for user in self.get("/v2/users", limit=1000)["users"]}

    def link(self, user_id: str, issuer: str, subject: str) -> None:
        """As `es-goals user link` does."""
        with closing(open_storage(self.database, wall_clock)) as storage, storage.log.writing() as transaction:
            changes.link(transaction, user_id, changes.identity_of(issuer, subject), Cause(new_id()))

    def user_for(self, subject: str) -> str:
        """The name of a new user who may sign in so."""
        name = f"user-{uuid.uuid4().hex}"
        self.link(self.make_user(name), self.mock.issuer, subject)
        return name

    def is_token_of(self, token: str, name: str) -> bool:
        """Whether who shows the token sees the user, whom no other user sees."""
        with self.as_(token) as client:
            return client.get(f"/v2/users/{name}").status_code == 200


class Outside(httpx2.BaseTransport):
    """The world, where PUBLIC is the service: the proxy that would end TLS is left out."""

    def __init__(self, service: Service) -> None:
        self._service = httpx2.URL(service.url)
        self._inner = httpx2.HTTPTransport(verify=TRUSTS_NOBODY, trust_env=False)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Bring it there."""
        if request.url.host == httpx2.URL(PUBLIC).host:
            url = request.url.copy_with(scheme="http", host=self._service.host, port=self._service.port)
            request = httpx2.Request(request.method, url, headers=request.headers)
        return self._inner.handle_request(request)

    def close(self) -> None:
        """Hang up."""
        self._inner.close()


class Browser:
    """With cookies of its own, and an address that a proxy tells of."""

    def __init__(self, service: Service) -> None:
        address = f"203.0.113.{next(NUMBERS)}"
        self.client = httpx2.Client(
            base_url=service.public, transport=Outside(service), headers={"X-Forwarded-For": address}, timeout=30
        )

    def leave(self) -> str:
        """Begin; answers where at the provider to go."""
        answer = self.client.get(PATH)
        assert (answer.status_code, answer.content) == (302, b""), answer.text
        return str(answer.headers["Location"])

    def away(self) -> str:
        """Begin, and be at the provider; answers where to come back."""
        answer = self.client.get(self.leave())
        assert answer.status_code == 302, answer.text
        return str(answer.headers["Location"])

    def sign_in(self) -> httpx2.Response:
        """There and back."""
        return self.client.get(self.away())

    def token(self) -> str:
        """Of a new session."""
        answer = self.sign_in()
        assert (answer.status_code, set(answer.json())) == (200, {"token", "expires_at"}), answer.text
        return str(answer.json()["token"])

    def cookie(self) -> str | None:
        """What the browser keeps."""
        return next((cookie.value for cookie in self.client.cookies.jar if cookie.name.endswith(COOKIE)), None)


NUMBERS = iter(range(1, 255))
Opens = Callable[[Service], Browser]


@contextmanager
def service_of(folder: Path, **env: str) -> Iterator[Service]:
    with serving() as server, provider(server, time.time, "") as mock, Service(folder, mock, **env) as service:
        yield service


@pytest.fixture(scope="module")
def closed_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("closed")
    with service_of(folder, ES_GOALS_DEADLINE="3", ES_GOALS_REQUESTS_LIMIT="0") as service:
        yield service


@pytest.fixture(scope="module")
def open_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Behind TLS; it tells whatever it may tell in its log, and counts requests."""
    env = {
        "ES_GOALS_REGISTRATION": "open",
        "ES_GOALS_URL": PUBLIC,
        "ES_GOALS_PROXIES": "127.0.0.1",
        "ES_GOALS_REQUESTS_LIMIT": "50",
        "ES_GOALS_LOG_LEVEL": "debug",
    }
    with service_of(tmp_path_factory.mktemp("open"), **env) as service:
        yield service


def behaving(service: Service) -> Service:
    """The provider names somebody whom no other test knows, and is not told to do anything wrong."""
    mock = service.mock
    mock.fault, mock.together, mock.claims = None, None, {"sub": uuid.uuid4().hex, "preferred_username": "alice"}
    return service


@pytest.fixture
def closed(closed_service: Service) -> Service:
    return behaving(closed_service)


@pytest.fixture
def opened(open_service: Service) -> Service:
    return behaving(open_service)


@pytest.fixture
def browser_of() -> Iterator[Opens]:
    browsers: list[Browser] = []

    def browser_of(service: Service) -> Browser:
        browsers.append(Browser(service))
        return browsers[-1]

    yield browser_of
    for browser in browsers:
        browser.client.close()


# Who is linked.


def test_who_is_linked_to_a_user_signs_in_as_that_one(closed: Service, browser_of: Opens) -> None:
    name = closed.user_for(closed.mock.claims["sub"])
    other = closed.user_for("another subject")
    tokens = {browser_of(closed).token() for _ in range(2)}

    assert len(tokens) == 2
    for token in tokens:
        assert re.fullmatch("esgs_[0-9a-f]{64}", token)
        assert closed.is_token_of(token, name)
        assert not closed.is_token_of(token, other)


def test_who_comes_from_the_page_comes_back_to_it_signed_in_by_a_cookie(opened: Service, browser_of: Opens) -> None:
    name, browser = opened.user_for(opened.mock.claims["sub"]), browser_of(opened)
    left = browser.client.get(PATH, params={"page": "1"}, headers={"X-Forwarded-Proto": "https"})
    returned = browser.client.get(browser.client.get(left.headers["Location"]).headers["Location"])

    assert (returned.status_code, returned.headers["Location"], returned.content) == (302, "/", b"")
    assert returned.headers["Cache-Control"] == "no-store"
    kept = next(one for one in returned.headers.get_list("Set-Cookie") if one.startswith("__Host-es-goals="))
    assert {"HttpOnly", "Path=/", "SameSite=Strict", "Secure"} <= set(kept.split("; "))
    assert browser.client.get("/v2/sessions/current").json()["user"]["name"] == name
    assert browser.client.get(f"/v2/users/{name}/goals").status_code == 200


@pytest.mark.parametrize("query", ["page=2", "page=", "page=1&page=1", "surprise=1"])
def test_one_goes_to_the_provider_for_the_page_or_a_token(opened: Service, browser_of: Opens, query: str) -> None:
    refused(browser_of(opened).client.get(f"{PATH}?{query}"), 422, "invalid-value")


def test_the_session_can_be_ended_as_any_other(closed: Service, browser_of: Opens) -> None:
    name = closed.user_for(closed.mock.claims["sub"])
    token = browser_of(closed).token()
    with closed.as_(token) as client:
        ended = client.delete("/v2/sessions/current")

    assert ended.status_code == 204
    assert not closed.is_token_of(token, name)


def test_an_administrator_links_by_the_command_line_what_a_refusal_tells(closed: Service, browser_of: Opens) -> None:
    closed.make_user("linked")
    subject = closed.mock.claims["sub"] = "auth0|5f7c8ec7 'x'"
    problem = refused(browser_of(closed).sign_in(), 403, "not-linked")
    linked = on(closed.database, "user", "link", "linked", "--issuer", closed.mock.issuer, "--subject", subject)
    again = on(closed.database, "user", "link", "admin", "--issuer", closed.mock.issuer, "--subject", subject)

    assert repr(subject) in problem["detail"]
    assert closed.mock.issuer in problem["detail"]
    assert (linked.exit_code, linked.stdout) == (0, f"linked may sign in as {subject} at {closed.mock.issuer}\n")
    assert (again.exit_code, "taken" in sentence(again.stderr)) == (1, True)
    assert closed.is_token_of(browser_of(closed).token(), "linked")


def test_nobody_is_made_where_registration_is_closed(closed: Service, browser_of: Opens) -> None:
    closed.mock.claims |= {"preferred_username": "newcomer", "email": "admin@goals.example", "role": "administrator"}
    before = closed.recorded()

    refused(browser_of(closed).sign_in(), 403, "not-linked")
    assert closed.recorded() == before
    assert "newcomer" not in closed.users()


@pytest.mark.parametrize("name", ["admin", "same"])
def test_a_name_or_an_address_is_nobody(closed: Service, browser_of: Opens, name: str) -> None:
    """The same words of another subject."""
    if name not in closed.users():
        closed.make_user(name)
    closed.mock.claims |= {"preferred_username": name, "name": name, "email": f"{name}@goals.example"}

    refused(browser_of(closed).sign_in(), 403, "not-linked")


def test_the_same_subject_of_another_issuer_is_another_person(closed: Service, browser_of: Opens) -> None:
    subject = closed.mock.claims["sub"]
    theirs = f"user-{subject}"
    closed.link(closed.make_user(theirs), OTHER_ISSUER, subject)
    refused(browser_of(closed).sign_in(), 403, "not-linked")
    name = closed.user_for(subject)
    token = browser_of(closed).token()

    assert (closed.is_token_of(token, name), closed.is_token_of(token, theirs)) == (True, False)


@pytest.mark.parametrize(
    ("subject", "linked"), [("a b", "b"), ("ABC", "abc"), ("abc ", "abc"), ("1", "01"), ("a%20b", "a b")]
)
def test_subjects_are_the_same_letter_by_letter_only(
    closed: Service, browser_of: Opens, subject: str, linked: str
) -> None:
    with closing(open_storage(closed.database, wall_clock)) as storage:
        known = storage.log.identity(changes.identity_of(closed.mock.issuer, linked))
    if known is None:
        closed.user_for(linked)
    closed.mock.claims["sub"] = subject

    refused(browser_of(closed).sign_in(), 403, "not-linked")


def test_who_is_disabled_does_not_get_in(closed: Service, browser_of: Opens) -> None:
    name = closed.user_for(closed.mock.claims["sub"])
    token = browser_of(closed).token()
    with closing(open_storage(closed.database, wall_clock)) as storage, storage.log.writing() as transaction:
        changes.set_disabled(transaction, closed.users()[name], True, Cause(new_id()))
    before = closed.recorded()

    assert "disabled" in refused(browser_of(closed).sign_in(), 401, "sign-in-refused")["detail"]
    assert not closed.is_token_of(token, name)
    assert closed.recorded() == before


# What the browser must come back with.


def test_the_cookie_is_for_this_alone_and_is_gone_afterwards(closed: Service, browser_of: Opens) -> None:
    closed.user_for(closed.mock.claims["sub"])
    browser = browser_of(closed)
    begun = browser.client.get(PATH)
    kept = browser.cookie()
    back = browser.client.get(browser.client.get(begun.headers["Location"]).headers["Location"])
    value, *attributes = begun.headers["Set-Cookie"].split("; ")
    gone, *_ = back.headers.get_list("Set-Cookie")

    assert value == f"{COOKIE}={kept}"
    assert {one.lower() for one in attributes} == {
        "httponly", "samesite=lax", f"path={PATH}", f"max-age={COOKIE_SECONDS}",
    }  # fmt: skip
    assert [answer.headers["Cache-Control"] for answer in (begun, back)] == ["no-store"] * 2
    assert f"Path={PATH}" in gone
    assert "Max-Age=-1" in gone
    assert (back.status_code, browser.cookie()) == (200, None)


def test_with_tls_the_cookie_is_secure_and_no_neighbour_can_set_it(opened: Service, browser_of: Opens) -> None:
    browser = browser_of(opened)
    begun = browser.client.get(PATH)
    value, *attributes = begun.headers["Set-Cookie"].split("; ")

    assert value.startswith(f"__Host-{COOKIE}=")
    assert {one.lower() for one in attributes} == {
        "httponly", "samesite=lax", "path=/", f"max-age={COOKIE_SECONDS}", "secure",
    }  # fmt: skip
    assert opened.mock.issuer in begun.headers["Location"]


def test_the_cookie_tells_the_provider_nothing_and_the_address_no_verifier(closed: Service, browser_of: Opens) -> None:
    browser = browser_of(closed)
    query = {name: values[0] for name, values in parse_qs(urlsplit(browser.leave()).query).items()}
    state, nonce, verifier = (browser.cookie() or "").split(".")

    assert (query["state"], query["nonce"], query["redirect_uri"]) == (state, nonce, closed.public + CALLBACK)
    assert verifier not in str(query)


def with_state(url: str, state: str) -> str:
    return re.sub(r"state=[^&]*", f"state={state}", url)


@pytest.mark.parametrize("state", ["", "x", "é", "%00", "a" * 43, None], ids=repr)
def test_another_state_than_the_browser_was_sent_away_with_is_refused(
    closed: Service, browser_of: Opens, state: str | None
) -> None:
    closed.user_for(closed.mock.claims["sub"])
    browser = browser_of(closed)
    back = browser.away()
    asked = len(closed.mock.forms)

    answer = browser.client.get(back.partition("&state")[0] if state is None else with_state(back, quote(state, "%")))
    assert "state" in refused(answer, 401, "sign-in-refused")["detail"]
    assert len(closed.mock.forms) == asked
    refused(browser.client.get(back), 401, "sign-in-refused")  # the cookie is used up


def test_a_callback_of_another_browser_is_refused(closed: Service, browser_of: Opens) -> None:
    """Or somebody would be made to sign in as who sent the link."""
    closed.user_for(closed.mock.claims["sub"])
    mallory, victim, visitor = (browser_of(closed) for _ in range(3))
    victim.away()
    back, asked = mallory.away(), len(closed.mock.forms)

    assert "state" in refused(victim.client.get(back), 401, "sign-in-refused")["detail"]
    assert "cookie" in refused(visitor.client.get(back), 401, "sign-in-refused")["detail"]
    assert len(closed.mock.forms) == asked


def test_a_stolen_code_is_worth_nothing_without_its_browsers_cookie(closed: Service, browser_of: Opens) -> None:
    closed.user_for(closed.mock.claims["sub"])
    victim, thief = browser_of(closed), browser_of(closed)
    stolen, own = victim.away(), thief.away()
    state = parse_qs(urlsplit(own).query)["state"][0]

    refused(thief.client.get(with_state(stolen, state)), 401, "sign-in-refused")


@pytest.mark.parametrize("cookie", ["", ".", "..", "a.b", "a.b.", "a.b.c.d", "é.é.é", "x" * 8000, '"a.b.c'], ids=ascii)
def test_a_cookie_of_another_form_is_none(closed: Service, cookie: str) -> None:
    answer = httpx2.get(
        f"{closed.url}{CALLBACK}?code=c&state=a", headers=[(b"Cookie", f"{COOKIE}={cookie}".encode())], timeout=30
    )

    refused(answer, 401, "sign-in-refused")


def test_a_callback_works_once(closed: Service, browser_of: Opens) -> None:
    closed.user_for(closed.mock.claims["sub"])
    browser = browser_of(closed)
    back, kept = browser.away(), browser.cookie()
    first = browser.client.get(back)
    again = browser.client.get(back)
    before = closed.recorded()
    replayed = httpx2.get(back, headers={"Cookie": f"{COOKIE}={kept}"}, timeout=30)

    assert first.status_code == 200
    assert "cookie" in refused(again, 401, "sign-in-refused")["detail"]
    assert "code" in refused(replayed, 401, "sign-in-refused")["detail"]
    assert closed.recorded() == before


def test_an_error_of_the_provider_is_told_shortened_and_as_text(closed: Service, browser_of: Opens) -> None:
    browser = browser_of(closed)
    for error, told in (("access_denied", "'access_denied'"), ("<b>\n" + "x" * 500, r"'<b>\n" + "x" * 96 + "'")):
        state = parse_qs(urlsplit(browser.leave()).query)["state"][0]
        answer = browser.client.get(CALLBACK, params={"error": error, "error_description": "?", "state": state})

        detail = refused(answer, 401, "sign-in-refused")["detail"]
        assert detail == f"expected a code; found the error {told}"


@pytest.mark.parametrize("more", ["&code=another", "&state=another", "&code=", "&session_state=1&session_state=2"])
def test_what_comes_twice_is_refused(closed: Service, browser_of: Opens, more: str) -> None:
    closed.user_for(closed.mock.claims["sub"])
    browser = browser_of(closed)
    back, asked = browser.away(), len(closed.mock.forms)

    refused(browser.client.get(back + more), 422, "invalid-value")
    assert len(closed.mock.forms) == asked


def test_what_else_a_provider_sends_means_nothing(closed: Service, browser_of: Opens) -> None:
    name = closed.user_for(closed.mock.claims["sub"])
    browser = browser_of(closed)
    more = "&session_state=1&iss=https%3A%2F%2Felsewhere.example&user=admin&next=https%3A%2F%2Fevil.example&scope="
    answer = browser.client.get(browser.away() + more)

    assert answer.status_code == 200
    assert "Location" not in answer.headers
    assert closed.is_token_of(answer.json()["token"], name)


def test_nothing_can_be_asked_of_the_beginning(closed: Service) -> None:
    answer = httpx2.get(f"{closed.url}{PATH}?redirect_uri=https%3A%2F%2Fevil.example", timeout=30)

    assert refused(answer, 422, "invalid-value")["errors"][0]["parameter"] == "redirect_uri"


@pytest.mark.parametrize("code", ["é", "%00", "a" * 3500 + "é", "%0d%0aX: y"], ids=lambda code: ascii(code[:5]))
def test_a_code_that_is_none_is_refused(closed: Service, browser_of: Opens, code: str) -> None:
    browser = browser_of(closed)
    state = parse_qs(urlsplit(browser.leave()).query)["state"][0]
    asked = len(closed.mock.forms)

    refused(browser.client.get(f"{CALLBACK}?code={quote(code, '%')}&state={state}"), 401, "sign-in-refused")
    assert len(closed.mock.forms) == asked


@pytest.mark.parametrize("path", [PATH, CALLBACK])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_only_browsers_that_go_there_are_expected(closed: Service, path: str, method: str) -> None:
    refused(httpx2.request(method, closed.url + path, timeout=30), 405, "method-not-allowed")


# What the provider does wrong.

REFUSED = [Fault.ANOTHER_ISSUER, Fault.ANOTHER_AUDIENCE, Fault.EXPIRED, Fault.ANOTHER_NONCE, Fault.ALG_NONE,
           Fault.HS256_WITH_THE_SECRET, Fault.ANOTHERS_KEY, Fault.PAYLOAD_CHANGED, Fault.CODE_REFUSED]  # fmt: skip
FAILED = [Fault.CLIENT_REFUSED, Fault.BROKEN, Fault.REDIRECT, Fault.GARBAGE, Fault.HANGS_UP, Fault.NEVER_ANSWERS]


@pytest.mark.parametrize(
    ("service", "fault", "status", "slug"),
    [
        *(("closed", fault, 401, "sign-in-refused") for fault in REFUSED),
        *(("closed", fault, 502, "provider-failed") for fault in FAILED),
        ("opened", Fault.ANOTHERS_KEY, 401, "sign-in-refused"),
        ("opened", Fault.BROKEN, 502, "provider-failed"),
    ],
)
def test_nobody_gets_in_and_nothing_is_recorded_where_the_provider_errs(
    request: pytest.FixtureRequest, browser_of: Opens, service: str, fault: Fault, status: int, slug: str
) -> None:
    served: Service = request.getfixturevalue(service)
    if service == "closed":
        served.user_for(served.mock.claims["sub"])
    served.mock.fault = fault
    before = served.recorded()
    answer = browser_of(served).sign_in()

    problem = refused(answer, status, slug)
    assert served.recorded() == before
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Max-Age=-1" in answer.headers["Set-Cookie"]
    assert not any(form["code_verifier"] in str(problem) or form["code"] in str(problem) for form in served.mock.forms)


# Registration.


def newcomers(service: Service, before: dict[str, str]) -> list[str]:
    return [name for name in service.users() if name not in before]


def test_where_registration_is_open_a_stranger_becomes_a_user_once(opened: Service, browser_of: Opens) -> None:
    name = f"Zoë {uuid.uuid4().hex[:8]}"
    opened.mock.claims |= {"preferred_username": name, "role": "administrator", "email": "zoe@goals.example"}
    before = opened.users()
    tokens = [browser_of(opened).token() for _ in range(3)]

    assert newcomers(opened, before) == [name]
    assert all(opened.is_token_of(token, name) for token in tokens)
    events = opened.events(f"/users/{name}")
    assert [event["type"] for event in events] == ["UserRegistered", "IdentityLinked"]
    assert not any(told in str(events) for told in (name, opened.mock.claims["sub"], opened.mock.issuer))
    with opened.as_(tokens[0]) as client:
        assert client.get(f"/v2/users/{name}").json()["email"] is None
        refused(client.get("/v2/users"), 403, "forbidden")


def test_who_is_called_as_another_is_another_and_gets_a_name_of_their_own(opened: Service, browser_of: Opens) -> None:
    name, subjects = f"bob {uuid.uuid4().hex[:8]}", [uuid.uuid4().hex for _ in range(6)]
    opened.make_user(name)
    before, tokens = opened.users(), []
    for subject in subjects:
        opened.mock.claims |= {"sub": subject, "preferred_username": name.upper(), "email": "bob@goals.example"}
        tokens.append(browser_of(opened).token())
    names = newcomers(opened, before)

    assert names[:2] == [f"{name.upper()} 2", f"{name.upper()} 3"]
    assert all(re.fullmatch(f"{name.upper()} [0-9a-f]{{8}}", one) for one in names[2:])
    assert len(names) == 6
    assert [opened.is_token_of(token, name) for token, name in zip(tokens, names, strict=True)] == [True] * 6
    assert not any(opened.is_token_of(token, name) for token in tokens)


@pytest.mark.parametrize(
    ("claims", "called"),
    [
        ({"preferred_username": "x" * 500}, "x" * 55),
        ({"preferred_username": "e\u0301" * 500}, "é" * 27 + "e"),
        ({"preferred_username": " \u00a0 ", "name": "Eve Moneypenny"}, "Eve Moneypenny"),
        ({"preferred_username": "  Trimmed \n"}, "Trimmed"),
        *(
            ({"preferred_username": hint}, "somebody")
            for hint in (
                "", " ", "a\nb", "\x1b[31mred", "a\0b", "\u202eevil", "a/b", "..", 5, None, ["x"], {"x": "y"},
                "0191b4a7-0000-7000-8000-000000000000",
            )
        ),
    ],
    ids=lambda value: ascii(value)[:40],
)  # fmt: skip
def test_a_hint_that_is_no_name_is_not_taken_as_it_is(
    opened: Service, browser_of: Opens, claims: dict[str, Any], called: str
) -> None:
    del opened.mock.claims["preferred_username"]
    opened.mock.claims |= claims
    before = opened.users()
    token = browser_of(opened).token()
    (name,) = newcomers(opened, before)

    assert re.fullmatch(f"{called}( 2| 3| [0-9a-f]{{8}})?", name)
    assert opened.is_token_of(token, name)


def test_who_comes_back_in_several_tabs_at_once_is_one_user(opened: Service, browser_of: Opens) -> None:
    before = opened.users()
    opened.mock.claims["preferred_username"] = f"tabs {uuid.uuid4().hex[:8]}"
    tabs = [browser_of(opened) for _ in range(6)]
    backs = [tab.away() for tab in tabs]
    opened.mock.together = threading.Barrier(len(tabs))
    with ThreadPoolExecutor(len(tabs)) as pool:
        answers = list(pool.map(lambda tab, back: tab.client.get(back), tabs, backs))

    assert [answer.status_code for answer in answers] == [200] * len(tabs)
    assert newcomers(opened, before) == [opened.mock.claims["preferred_username"]]
    assert len({answer.json()["token"] for answer in answers}) == len(tabs)


def test_a_linked_user_signs_in_where_registration_is_open_too(opened: Service, browser_of: Opens) -> None:
    name = opened.user_for(opened.mock.claims["sub"])
    before = opened.users()

    assert opened.is_token_of(browser_of(opened).token(), name)
    assert newcomers(opened, before) == []


# What guards it, and what is told of it.


def test_callbacks_are_counted_since_each_costs_the_provider_a_question(opened: Service, browser_of: Opens) -> None:
    browser, other = browser_of(opened), browser_of(opened)
    cookie = {"Cookie": f"__Host-{COOKIE}=a.b.c"}

    def asked_too_often() -> bool:
        answer = browser.client.get(f"{CALLBACK}?code=c&state=a", headers=cookie)
        if answer.status_code == 401:
            return False
        refused(answer, 429, "too-many-requests")
        return int(answer.headers["Retry-After"]) > 0

    assert any(asked_too_often() for _ in range(5000))
    assert other.sign_in().status_code == 200


def test_the_log_tells_who_signed_in_and_none_of_the_secrets(opened: Service, browser_of: Opens) -> None:
    mock, secrets = opened.mock, set[str]()
    for fault in (None, Fault.ANOTHER_NONCE, Fault.CODE_REFUSED, Fault.CLIENT_REFUSED, Fault.BROKEN, Fault.HANGS_UP):
        browser = browser_of(opened)
        mock.fault, back = fault, browser.away()
        secrets |= {*(browser.cookie() or "").split("."), parse_qs(urlsplit(back).query)["code"][0]}
        answer = browser.client.get(back)
        secrets |= {answer.json().get("token", SECRET)}
    wait_for(lambda: answer.headers["X-Request-Id"] in opened.output.read_text(), "the last request's line")
    told = opened.output.read_text()
    secrets |= {*mock.issued, *(form["code_verifier"] for form in mock.forms), *(form["code"] for form in mock.forms)}
    secrets |= {SECRET, quote(SECRET), quote_plus(SECRET)}
    secrets |= {base64.b64encode(f"{quote_plus(CLIENT)}:{quote_plus(SECRET)}".encode()).decode()}

    assert '"outcome": "in"' in told
    assert '"outcome": "refused"' in told
    assert "the provider does not take this client: invalid_client" in told
    assert len(secrets) > 20
    assert [secret for secret in secrets if len(secret) > 5 and secret in told] == []


# Where there is none, or none that answers.


def get(settings: Settings, *paths: str) -> list[httpx2.Response]:
    """From an application of this process."""

    async def ask(app: BodyGuard) -> list[httpx2.Response]:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(cast(Any, app)), base_url=PUBLIC) as client:
            return [await client.get(path) for path in paths]

    with application(settings) as app:
        return asyncio.run(ask(app))


def configured(tmp_path: Path, **settings: Any) -> Settings:
    issuer = f"http://127.0.0.1:{free_port()}"
    return Settings(str(tmp_path / "events.db"), oidc_issuer=issuer, oidc_client="c", url=PUBLIC, **settings)


def test_where_the_provider_does_not_answer_nobody_is_sent_there(tmp_path: Path) -> None:
    for answer in get(configured(tmp_path), PATH, PATH):
        refused(answer, 502, "provider-failed")
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("kind", ["open", "without an issuer"])
def test_without_accounts_or_a_provider_there_is_nothing_there(tmp_path: Path, kind: str) -> None:
    db = str(tmp_path / "events.db")
    settings = Settings(db, url=PUBLIC, oidc_client="c") if kind != "open" else configured(tmp_path, open=True)
    if kind == "open":
        answers = get(
            settings, f"http://localhost{PATH}", f"http://localhost{CALLBACK}", "http://localhost/openapi.json"
        )
    else:
        answers = get(settings, PATH, CALLBACK, "/openapi.json")

    for answer in answers[:2]:
        refused(answer, 404, "not-found")
    assert not {PATH, CALLBACK} & set(answers[2].json()["paths"])


def test_the_description_has_both_for_who_is_not_signed_in(closed: Service) -> None:
    document = closed.get("/openapi.json")
    there, back = (document["paths"][path]["get"] for path in (PATH, CALLBACK))

    assert there["security"] == back["security"] == []
    assert set(there["responses"]["302"]) == {"description"}
    assert {"302", "429", "502"} <= set(there["responses"])
    assert {"200", "400", "401", "403", "409", "422", "429", "502", "503", "507"} <= set(back["responses"])
    assert {one["name"]: one["in"] for one in back["parameters"]} == dict.fromkeys(["code", "state", "error"], "query")


GOOD = {"ES_GOALS_OIDC_ISSUER": OTHER_ISSUER, "ES_GOALS_OIDC_CLIENT": "c", "ES_GOALS_URL": PUBLIC}


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"ES_GOALS_URL": ""}, "ES_GOALS_URL and ES_GOALS_OIDC_CLIENT"),
        ({"ES_GOALS_OIDC_CLIENT": ""}, "ES_GOALS_URL and ES_GOALS_OIDC_CLIENT"),
        ({"ES_GOALS_OIDC_ISSUER": "http://provider.example"}, "neither https nor"),
        ({"ES_GOALS_URL": "http://goals.example"}, "neither https nor"),
        ({"ES_GOALS_OIDC_ISSUER": "https://"}, "ES_GOALS_OIDC_ISSUER"),
        ({"ES_GOALS_OIDC_ISSUER": "https://provider.example?x=y"}, "a query"),
        ({"ES_GOALS_OIDC_ISSUER": "https://ann:s3cret@provider.example"}, "a user"),
        ({"ES_GOALS_OIDC_ISSUER": "provider.example"}, "ES_GOALS_OIDC_ISSUER"),
        ({"ES_GOALS_URL": "https://goals.example/"}, "ES_GOALS_URL"),
        ({"ES_GOALS_URL": "https://goals.example:port"}, "no URL"),
    ],
)
def test_settings_that_cannot_be_are_told_in_a_sentence_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env: dict[str, str], named: str
) -> None:
    at_home(tmp_path, monkeypatch)
    for name, value in {**GOOD, **env}.items():
        monkeypatch.setenv(name, value)

    why = not_served(cli("serve", "--port", "0"))
    assert named in why
    assert "s3cret" not in why
    assert list(tmp_path.iterdir()) == []
