"""Signed in by a cookie, as the web page is: what it looks like, whose it is, and that no other site sends with it."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs

from es_goals.accounts.passwords import hashed
from es_goals.app import routes
from es_goals.settings import Settings
from tests.support.inside import application
from tests.support.people import Answer, Inside

GOOD = "correct horse battery"
KEPT = hashed(GOOD)
OWN = {"Sec-Fetch-Site": "same-origin"}
BY_ORIGIN = {"Origin": "http://localhost"}
FOREIGN = [
    {"Origin": ""},
    {}, {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "https://localhost"},
    {"Origin": "http://localhost:3000"}, {"Origin": "http://localhost.evil.example"}, {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"},
]  # fmt: skip
THERE = {"Host": "goals.example"}


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[Inside]:
    """A service of this process, at http://localhost; ann has a password."""
    with closing(Inside(tmp_path, registration="open")) as inside:
        inside.person("ann", KEPT)
        yield inside


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Inside]:
    """The same at https://goals.example."""
    with closing(Inside(tmp_path, url="https://goals.example")) as inside:
        inside.person("ann", KEPT)
        yield inside


def sign_in(inside: Inside, headers: dict[str, str] = OWN, name: str = "ann") -> Answer:
    """As the page does."""
    body = {"user": name, "password": GOOD, "cookie": True}
    return inside("POST", "/v2/sessions", None, body, headers=headers)


def cookie_of(answer: Answer) -> str:
    """As the browser sends it back."""
    assert answer.status == 201, answer
    return set_cookie(answer).partition(";")[0]


def set_cookie(answer: Answer) -> str:
    """The only one that is set."""
    (only,) = (value for name, value in answer.headers if name == "set-cookie")
    return only


def outcome(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.problem


def test_the_cookie_is_for_this_machine_alone_where_there_is_no_tls(inside: Inside) -> None:
    answer = sign_in(inside)

    name_and_token, *flags = set_cookie(answer).split("; ")
    assert re.fullmatch(r"es-goals=esgs_[0-9a-f]{64}", name_and_token)
    assert sorted(flags) == ["HttpOnly", "Max-Age=2592000", "Path=/", "SameSite=Strict"]
    assert answer.header("Cache-Control") == "no-store"
    assert b"esgs_" not in answer.body
    assert answer.json["user"]["name"] == "ann"
    assert answer.json["expires_at"] == inside.later(2_592_000)


def test_the_cookie_goes_by_tls_only_to_this_very_host(secure: Inside) -> None:
    name_and_token, *flags = set_cookie(sign_in(secure, OWN | THERE)).split("; ")

    assert name_and_token.startswith("__Host-es-goals=esgs_")
    assert sorted(flags) == ["HttpOnly", "Max-Age=2592000", "Path=/", "SameSite=Strict", "Secure"]
    shown = {"Cookie": name_and_token, **THERE}
    assert secure("GET", "/v2/users/ann", headers=shown).status == 200
    planted = {"Cookie": name_and_token.removeprefix("__Host-"), **THERE}
    assert outcome(secure("GET", "/v2/users/ann", headers=planted)) == (401, "unauthenticated")


def test_a_proxy_tells_of_tls(tmp_path: Path) -> None:
    with closing(Inside(tmp_path, proxies="127.0.0.1")) as inside:
        inside.person("ann", KEPT)
        by_tls = OWN | THERE | {"X-Forwarded-Proto": "https"}

        assert set_cookie(sign_in(inside, by_tls)).startswith("__Host-es-goals=")
        assert outcome(sign_in(inside, OWN | THERE)) == (422, "invalid-value")


def test_a_cookie_that_could_be_overheard_is_not_made(inside: Inside) -> None:
    for host in ("goals.example", "192.0.2.1:8000", "localhost.evil.example"):
        answer = sign_in(inside, OWN | {"Host": host})

        assert outcome(answer) == (422, "invalid-value")
        assert answer.json["errors"][0]["pointer"] == "/cookie"
        assert "set-cookie" not in dict(answer.headers)
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
        assert sign_in(inside, OWN | {"Host": host}).status == 201


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_no_other_site_signs_a_browser_in(inside: Inside, headers: dict[str, str]) -> None:
    answer = sign_in(inside, headers)

    assert outcome(answer) == (403, "foreign-origin")
    assert "set-cookie" not in dict(answer.headers)


def test_a_wrong_password_brings_no_cookie(inside: Inside) -> None:
    answer = inside("POST", "/v2/sessions", None, {"user": "ann", "password": "x", "cookie": True}, headers=OWN)

    assert outcome(answer) == (401, "sign-in-refused")
    assert "set-cookie" not in dict(answer.headers)


@pytest.mark.parametrize("headers", [OWN, BY_ORIGIN, OWN | {"Origin": "https://whatever"}], ids=str)
def test_the_services_own_page_may_read_and_write(inside: Inside, headers: dict[str, str]) -> None:
    shown = {"Cookie": cookie_of(sign_in(inside, headers))}

    assert inside("GET", "/v2/users/ann/goals", headers=shown).status == 200
    assert inside("POST", "/v2/users/ann/goals", None, {"name": "a"}, headers=shown | headers).status == 201


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_no_other_site_sends_with_the_cookie(inside: Inside, headers: dict[str, str]) -> None:
    shown = {"Cookie": cookie_of(sign_in(inside))}

    answer = inside("POST", "/v2/users/ann/goals", None, {"name": "a"}, headers=shown | headers)

    assert outcome(answer) == (403, "foreign-origin")
    assert inside("GET", "/v2/users/ann/goals", headers=shown).json["goals"] == []


def unsafe(folder: Path) -> list[tuple[str, str]]:
    """Each method and path that changes something of who is signed in, by the routes themselves."""
    folder.mkdir()
    with application(Settings(db=str(folder / "events.db"))) as app:
        found = routes(app.worker)
    return [
        (method, path)
        for path, resource in found
        for method in ("POST", "PUT", "PATCH", "DELETE")
        if (handler := getattr(resource, f"on_{method.lower()}", None)) is not None
        and getattr(getattr(handler, "operation", None), "needs", "user") != "nobody"
    ]


def test_no_other_site_changes_anything_by_any_route(inside: Inside, tmp_path: Path) -> None:
    """Also where nothing is there: what is refused comes before what is asked for."""
    shown = {"Cookie": cookie_of(sign_in(inside))}
    asked = [(method, re.sub(r"\{\w+\}", "0" * 32, path)) for method, path in unsafe(tmp_path / "elsewhere")]

    assert len(asked) > 20
    for method, path in asked:
        answer = inside(method, path, None, {}, headers=shown | {"Origin": "https://evil.example"})
        assert outcome(answer) == (403, "foreign-origin"), (method, path)
        own = inside(method, f"{path}?surprise=1", None, {}, headers=shown | OWN)
        assert own.problem != "foreign-origin", (method, path)
    assert inside("GET", "/v2/users/ann", headers=shown).status == 200


def test_a_token_in_a_header_counts_before_the_cookie_and_from_everywhere(inside: Inside) -> None:
    bob = inside.person("bob")
    shown = {"Cookie": cookie_of(sign_in(inside)), "Origin": "https://evil.example"}

    assert inside("POST", "/v2/users/bob/goals", bob, {"name": "a"}, headers=shown).status == 201
    assert outcome(inside("GET", "/v2/users/ann", bob, headers=shown)) == (404, "user-not-found")
    for header in ("Bearer esgs_bad", "", "Basic eDp5"):
        bad = shown | {"Authorization": header}
        assert outcome(inside("GET", "/v2/users/ann", headers=bad)) == (401, "unauthenticated")


@pytest.mark.parametrize("value", ["", "x", "esgs_", "esgs_" + "0" * 64, "esgt_TOKEN", '"', "a=b; es-goals=c"])
def test_a_cookie_that_is_no_good_signs_nobody_in(inside: Inside, value: str) -> None:
    if value == "esgt_TOKEN":  # an API token is for programs
        value = inside.person("bob")
    shown = {"Cookie": f"es-goals={value}"}

    assert outcome(inside("GET", "/v2/users/ann", headers=shown)) == (401, "unauthenticated")
    assert inside("GET", "/v2/sessions/current", headers=shown).json == {"user": None}
    # It is sent along, whether or not one wants to; who registers is nobody yet.
    body = {"name": "newcomer", "password": GOOD}
    assert inside("POST", "/v2/users", None, body, headers=shown).status == 201


def test_who_is_signed_in_is_told(inside: Inside) -> None:
    shown = {"Cookie": cookie_of(sign_in(inside))}
    token = inside.session("ann", GOOD)

    answer = inside("GET", "/v2/sessions/current", headers=shown)

    assert answer.json == inside("GET", "/v2/sessions/current", token).json
    assert set(answer.json["user"]) == {"id", "name", "role"}
    assert (answer.json["user"]["name"], answer.json["user"]["role"]) == ("ann", "user")
    assert answer.json["expires_at"] == inside.later(2_592_000)
    assert inside("GET", "/v2/sessions/current", inside.root).json["user"]["role"] == "administrator"
    nobody = inside("GET", "/v2/sessions/current")
    assert (nobody.status, nobody.json) == (200, {"user": None})
    assert inside("GET", "/v2/sessions/current", "esgs_bad").json == {"user": None}
    for one in (answer, nobody):
        assert one.header("Cache-Control") == "no-store"
        assert one.header("Vary") == "Authorization, Access-Token, Cookie"


def test_where_nobody_signs_in_nobody_is_signed_in(tmp_path: Path) -> None:
    with closing(Inside(tmp_path, open=True)) as inside:
        shown = {"Cookie": "es-goals=esgs_" + "0" * 64}

        assert inside("GET", "/v2/sessions/current", headers=shown).json == {"user": None}
        assert outcome(sign_in(inside)) == (404, "no-accounts")
        assert outcome(inside("GET", "/v2/sessions")) == (404, "no-accounts")


def test_who_signs_out_leaves_nothing_in_the_browser(inside: Inside) -> None:
    shown = {"Cookie": cookie_of(sign_in(inside))}

    out = inside("DELETE", "/v2/sessions/current", headers=shown | OWN)

    assert (out.status, out.header("Clear-Site-Data")) == (204, '"cache", "storage"')
    assert re.match(r"es-goals=(\"\")?; (.*; )?Max-Age=-1", set_cookie(out))
    assert outcome(inside("GET", "/v2/users/ann", headers=shown)) == (401, "unauthenticated")
    assert inside("GET", "/v2/sessions/current", headers=shown).json == {"user": None}


def test_a_program_that_signs_out_is_told_of_no_browser(inside: Inside) -> None:
    out = inside("DELETE", "/v2/sessions/current", inside.session("ann", GOOD))

    assert out.status == 204
    assert not {"set-cookie", "clear-site-data"} & {name for name, _ in out.headers}


def test_one_sees_ones_own_sessions_and_ends_them(inside: Inside) -> None:
    inside.person("bob", KEPT)
    bobs, first = inside.session("bob", GOOD), inside.session("ann", GOOD)
    inside.pass_(60)
    shown = {"Cookie": cookie_of(sign_in(inside))}

    listed = inside("GET", "/v2/sessions", headers=shown)
    newest, oldest = listed.json["sessions"]

    assert (newest["current"], oldest["current"]) == (True, False)
    assert oldest["created_at"] < newest["created_at"]
    assert set(newest) == {"id", "created_at", "expires_at", "last_used_at", "address", "current"}
    assert newest["address"] == "127.0.0.1"
    assert listed.header("Cache-Control") == "no-store"
    ended = inside("DELETE", f"/v2/sessions/{oldest['id']}", headers=shown | OWN)
    assert (ended.status, "set-cookie" in dict(ended.headers)) == (204, False)
    assert outcome(inside("GET", "/v2/users/ann", first)) == (401, "unauthenticated")
    assert [one["id"] for one in inside("GET", "/v2/sessions", headers=shown).json["sessions"]] == [newest["id"]]
    again = inside("DELETE", f"/v2/sessions/{oldest['id']}", headers=shown | OWN)
    assert outcome(again) == (404, "session-not-found")
    (of_bob,) = inside("GET", "/v2/sessions", bobs).json["sessions"]
    assert outcome(inside("DELETE", f"/v2/sessions/{of_bob['id']}", headers=shown | OWN)) == (404, "session-not-found")
    assert outcome(inside("DELETE", f"/v2/sessions/{of_bob['id']}", inside.root)) == (404, "session-not-found")
    assert inside("GET", "/v2/users/bob", bobs).status == 200
    own = inside("DELETE", f"/v2/sessions/{newest['id']}", headers=shown | OWN)
    assert (own.status, own.header("Clear-Site-Data")) == (204, '"cache", "storage"')


@pytest.mark.parametrize("id", ["", "0", "e", "0" * 31, "0" * 33, "0" * 64, "g" * 32, "oidc", "%00" * 32, "'" * 32])
def test_what_is_no_id_ends_no_session(inside: Inside, id: str) -> None:
    token = inside.session("ann", GOOD)

    answer = inside("DELETE", f"/v2/sessions/{id}", token)

    assert (answer.status, answer.problem) in ((404, "session-not-found"), (404, "not-found"))
    assert inside("GET", "/v2/users/ann", token).status == 200


def test_sessions_that_are_over_are_not_listed(inside: Inside) -> None:
    inside.session("ann", GOOD)
    inside.pass_(604_801)  # unused for so long
    now = inside.session("ann", GOOD)
    assert len(inside("GET", "/v2/sessions", now).json["sessions"]) == 1

    inside.set_password("ann", KEPT)

    token = inside.session("ann", GOOD)
    assert len(inside("GET", "/v2/sessions", token).json["sessions"]) == 1


def test_a_list_of_sessions_has_an_end(inside: Inside) -> None:
    user_id = inside("GET", "/v2/users/ann", inside.root).json["id"]
    token = inside.session("ann", GOOD)
    (one,) = inside.sessions.of_user(user_id, 2)
    for number in range(150):
        hash = f"{number:064x}"
        inside.sessions.begin(structs.replace(one, hash=hash, created_at=one.created_at - 1 - number))

    assert len(inside("GET", "/v2/sessions", token).json["sessions"]) == 100


@pytest.mark.parametrize("path", ["/v2/users/ann", "/v2/users/ann/goals", "/v2/users/ann/events", "/v2/sessions"])
def test_caches_tell_cookies_apart(inside: Inside, path: str) -> None:
    shown = {"Cookie": cookie_of(sign_in(inside))}

    for answer in (inside("GET", path, headers=shown), inside("GET", path)):
        assert "Cookie" in (answer.header("Vary") or "").split(", ")
        assert (answer.header("Cache-Control") or "").startswith(("private", "no-store"))


def test_a_page_of_another_origin_is_never_lent_the_cookie(tmp_path: Path) -> None:
    other = "http://localhost:3000"
    with closing(Inside(tmp_path, origins=other)) as inside:
        inside.person("ann", KEPT)
        shown = {"Cookie": cookie_of(sign_in(inside)), "Origin": other}

        for method, more in (("GET", {}), ("OPTIONS", {"Access-Control-Request-Method": "POST"}), ("POST", {})):
            answer = inside(method, "/v2/users/ann/goals", None, {"name": "a"}, headers=shown | more)
            assert answer.header("Access-Control-Allow-Origin") == other
            assert "access-control-allow-credentials" not in dict(answer.headers)
        assert outcome(answer) == (403, "foreign-origin")
