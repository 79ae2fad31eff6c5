"""Users who are let in no more, and again, over HTTP; and who sees that they are."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from es_goals.accounts.passwords import hashed
from tests.support.commands import on
from tests.support.people import Answer, Inside

GOOD = "correct horse battery"
KEPT = hashed(GOOD)


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[Inside]:
    with closing(Inside(tmp_path)) as inside:
        inside.person("ann", KEPT)
        yield inside


def outcome(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.problem


def listed(inside: Inside) -> dict[str, tuple[str, bool]]:
    """Each user's role, and whether they are disabled."""
    users: list[dict[str, Any]] = inside("GET", "/v2/users", inside.root).json["users"]
    return {user["name"]: (user["role"], user["disabled"]) for user in users}


def test_an_administrator_disables_and_enables(inside: Inside) -> None:
    session, token = inside.session("ann", GOOD), inside.person("bob")

    disabled = inside("POST", "/v2/users/ann/disable", inside.root, {"reason": "left"})

    assert (disabled.status, disabled.json["disabled"], disabled.json["role"]) == (200, True, "user")
    assert outcome(inside("GET", "/v2/users/ann", session)) == (401, "unauthenticated")
    assert outcome(inside.sign_in("ann", GOOD)) == (401, "sign-in-refused")
    assert listed(inside) == {"root": ("administrator", False), "ann": ("user", True), "bob": ("user", False)}
    assert inside("GET", "/v2/users/bob", token).status == 200
    enabled = inside("POST", "/v2/users/ann/enable", inside.root)
    assert (enabled.status, enabled.json["disabled"]) == (200, False)
    assert inside.sign_in("ann", GOOD).status == 201
    event = inside("GET", "/v2/users/ann/events?type=UserDisabled", inside.root).json["events"][0]
    assert (event["reason"], event["position"]) == ("left", int(disabled.header("Position") or 0))


def test_a_session_of_who_was_disabled_is_never_good_again_and_a_token_is(inside: Inside, tmp_path: Path) -> None:
    for enable in ("over HTTP", "from the command line"):
        session, other = inside.session("ann", GOOD), inside.session("ann", GOOD)
        token = inside("POST", "/v2/tokens", session, {"name": "x", "scope": "write"}).json["token"]
        assert inside("POST", "/v2/users/ann/disable", inside.root).status == 200
        assert outcome(inside("GET", "/v2/users/ann", token)) == (401, "unauthenticated")

        if enable == "over HTTP":
            assert inside("POST", "/v2/users/ann/enable", inside.root).status == 200
        else:
            assert on(str(tmp_path / "events.db"), "user", "enable", "ann").exit_code == 0

        assert [outcome(inside("GET", "/v2/users/ann", one))[0] for one in (session, other, token)] == [401, 401, 200]


def test_to_disable_twice_records_nothing_more(inside: Inside) -> None:
    for action in ("disable", "enable"):
        first = inside("POST", f"/v2/users/ann/{action}", inside.root)
        again = inside("POST", f"/v2/users/ann/{action}", inside.root)

        assert first.header("Position") == again.header("Position")
        assert first.json == again.json


def test_nobody_locks_themselves_out(inside: Inside) -> None:
    for action in ("disable", "enable"):
        assert outcome(inside("POST", f"/v2/users/root/{action}", inside.root)) == (403, "forbidden")
    assert listed(inside)["root"] == ("administrator", False)


@pytest.mark.parametrize("role", ["user", "auditor"])
def test_nobody_else_disables(inside: Inside, role: str) -> None:
    token = inside.person("eve", role=role)

    for name in ("ann", "eve"):
        for action in ("disable", "enable"):
            assert outcome(inside("POST", f"/v2/users/{name}/{action}", token)) == (403, "forbidden")
    assert not any(disabled for _, disabled in listed(inside).values())


def test_where_nobody_signs_in_nobody_is_disabled(tmp_path: Path) -> None:
    with closing(Inside(tmp_path, open=True)) as inside:
        inside.person("ann")

        assert outcome(inside("POST", "/v2/users/ann/disable")) == (404, "no-accounts")
        assert listed(inside)["ann"] == ("user", False)


@pytest.mark.parametrize("body", [{"reason": 7}, {"reason": "x" * 1_001}, {"surprise": 1}, [], {"disabled": False}])
def test_what_is_no_reason_is_refused(inside: Inside, body: Any) -> None:
    assert inside("POST", "/v2/users/ann/disable", inside.root, body).status == 422
    assert listed(inside)["ann"] == ("user", False)
