"""Accounts at the command line, which works on the database directly and needs no token."""

import re
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result

from es_goals.accounts.caller import fingerprint
from es_goals.accounts.passwords import matches
from es_goals.cli import main
from es_goals.events import (
    TYPES,
    AccountEvent,
    IdentityLinked,
    PasswordChanged,
    TokenIssued,
    TokenRevoked,
    UserDisabled,
    UserEnabled,
    UserRegistered,
    UserRenamed,
    account_stream,
)
from es_goals.storage.log import Cause, Token, User
from es_goals.upkeep.verification import lines
from tests.support.commands import cli, done, head, make, misused, opened, refused
from tests.support.histories import START, created

pytestmark = pytest.mark.usefixtures("at_home")

CONTRACT = {
    "add": {"--role", "--password-stdin"},
    "password": set[str](),
    "disable": set[str](),
    "enable": set[str](),
    "link": {"--issuer", "--subject"},
}
"""The commands of `user`, and their options."""

GOOD, OTHER = "correct horse battery", "staple horse battery"
PRINTED = r"esgt_[0-9a-f]{64}"
DAY = 86_400_000_000


def user_of(name: str) -> User:
    with opened() as storage:
        user = storage.log.user_named(name)
    assert user is not None
    return user


def holds(name: str, password: str) -> bool:
    """Whether it is the user's password."""
    with opened() as storage:
        kept = storage.log.password(user_of(name).id)
    return matches(kept.hash if kept else None, password)


def tokens_of(name: str) -> list[Token]:
    with opened() as storage:
        return storage.log.tokens(user_of(name).id)


def events_of(name: str) -> list[tuple[str, str | None]]:
    """Types and actors of what happened to an account."""
    stream = account_stream(user_of(name).id)
    with opened() as storage:
        return [(line.type, line.actor) for line in lines(storage.log) if line.stream == stream]


def test_commands_and_options_are_those_of_the_contract() -> None:
    group = main.commands["user"]
    assert isinstance(group, click.Group)
    found = {
        name: {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        for name, command in group.commands.items()
    }

    assert found == {name: options | {"--db"} for name, options in CONTRACT.items()}
    for command in CONTRACT:
        text = done(cli("user", command, "--help"))
        assert all(re.search(rf"{option}\b.*\w", text) for option in CONTRACT[command])


@pytest.mark.parametrize("role", ["user", "auditor", "administrator"])
def test_a_user_is_made_with_a_role(role: str) -> None:
    assert done(cli("user", "add", " Ann ", "--role", role)) == f"made the {role} Ann\n"

    ann = user_of("ann")
    assert (ann.name, ann.role, ann.password_at, ann.disabled_at) == ("Ann", role, 0, None)
    assert events_of("ann") == [("UserRegistered", "cli")]
    assert not holds("ann", "")


def test_without_a_role_it_is_a_user_s() -> None:
    assert done(cli("user", "add", "ann")) == "made the user ann\n"
    assert user_of("ann").role == "user"


@pytest.mark.parametrize("end", ["\n", "\r\n", "", "\nthe next line\n"], ids=repr)
def test_a_password_is_a_line_of_standard_input(end: str) -> None:
    done(cli("user", "add", "ann", "--password-stdin", stdin=f" {GOOD} {end}"))

    assert holds("ann", f" {GOOD} ")
    assert not holds("ann", GOOD)
    assert events_of("ann") == [("UserRegistered", "cli")]


@pytest.mark.parametrize("bad", ["", "\n", "1234567\n", "x" * 1025, "PassWord\n", b"\xff\xfe secret"], ids=repr)
@pytest.mark.parametrize("command", [["add", "ann", "--password-stdin"], ["password", "bob"]], ids=" ".join)
def test_a_password_that_none_may_be_is_refused_and_not_shown(bad: Any, command: list[str]) -> None:
    done(cli("user", "add", "bob"))
    before = head()

    told = refused(cli("user", *command, stdin=bad))

    assert told.startswith("expected ")
    assert not any(text in told for text in ("1234567", "PassWord", "xx", "secret", "\\xff", "udcff"))
    assert head() == before
    with opened() as storage:
        assert storage.log.user_named("ann") is None


@pytest.mark.parametrize("name", ["", "a/b", "x" * 65, "a\nb"])
def test_a_name_that_no_user_may_have_is_refused(name: str) -> None:
    make()
    before = head()

    refused(cli("user", "add", name))
    assert head() == before


def test_a_name_that_is_taken_is_refused() -> None:
    done(cli("user", "add", "ann"))

    assert "ANN" in refused(cli("user", "add", "ANN")) or "taken" in refused(cli("user", "add", "ANN"))
    assert events_of("ann") == [("UserRegistered", "cli")]


def test_a_password_is_set_and_set_anew() -> None:
    done(cli("user", "add", "ann"))
    for password in (GOOD, OTHER):
        assert done(cli("user", "password", "ANN", stdin=password + "\n")) == "ann has a new password\n"
        assert holds("ann", password)

    assert not holds("ann", GOOD)
    assert events_of("ann") == [("UserRegistered", "cli"), *[("PasswordChanged", "cli")] * 2]


def test_a_user_is_disabled_and_enabled_and_told_where_that_is_nothing_new() -> None:
    done(cli("user", "add", "ann"))

    for order, state in (("disable", "disabled"), ("enable", "enabled")):
        assert done(cli("user", order, "ann")) == f"ann is {state}\n"
        assert (user_of("ann").disabled_at is not None) == (order == "disable")
        assert done(cli("user", order, user_of("ann").id)) == f"ann was {state} already\n"
    assert events_of("ann") == [("UserRegistered", "cli"), ("UserDisabled", "cli"), ("UserEnabled", "cli")]


def test_an_identity_is_one_user_s() -> None:
    done(cli("user", "add", "ann"))
    done(cli("user", "add", "bob"))
    identity = ("--issuer", "https://provider.example", "--subject", "1234")

    assert done(cli("user", "link", "ann", *identity)) == "ann may sign in as 1234 at https://provider.example\n"
    for name in ("ann", "bob"):
        assert "expected an identity that no user has" in refused(cli("user", "link", name, *identity))
    with opened() as storage:
        identified = storage.log.identity("https://provider.example 1234")
    assert identified is not None
    assert identified.user_id == user_of("ann").id
    assert events_of("ann") == [("UserRegistered", "cli"), ("IdentityLinked", "cli")]


def test_a_token_is_all_that_is_printed_and_kept_as_its_digest() -> None:
    done(cli("user", "add", "ann"))
    printed = [
        done(cli("token", "ann", *options)).rstrip("\n")
        for options in ([], ["--scope", "read", "--expires", "12h", "--for", "the laptop"])
    ]

    assert all(re.fullmatch(PRINTED, secret) for secret in printed)
    first, second = tokens_of("ann")
    assert [first.hash, second.hash] == [fingerprint(secret) for secret in printed]
    assert (first.name, first.scope, first.expires_at - first.created_at) == ("command line", "write", 90 * DAY)
    assert (second.name, second.scope, second.expires_at - second.created_at) == ("the laptop", "read", DAY // 2)
    assert events_of("ann") == [("UserRegistered", "cli"), *[("TokenIssued", "cli")] * 2]
    assert not any(secret.encode() in path.read_bytes() for secret in printed for path in Path().glob("*.db*"))


@pytest.mark.parametrize(("text", "seconds"), [("1s", 1), ("30m", 1_800), ("24h", 86_400), ("999999d", 86_399_913_600)])
def test_a_token_is_good_for_so_long(text: str, seconds: int) -> None:
    done(cli("user", "add", "ann"))
    done(cli("token", "ann", "--expires", text))

    (token,) = tokens_of("ann")
    assert token.expires_at - token.created_at == seconds * 1_000_000


@pytest.mark.parametrize("text", ["", "0d", "90", "d", "1w", "-1d", "1.5h", "1000000d", " 1d", "1d ", "1D", "٣d"])
def test_a_time_that_is_none_is_wrong_usage(text: str) -> None:
    done(cli("user", "add", "ann"))

    assert "expected a number and d, h, m or s" in misused(cli("token", "ann", "--expires", text))
    assert tokens_of("ann") == []


@pytest.mark.parametrize("purpose", ["", "  ", "x" * 101, "a\nb"])
def test_a_token_s_name_that_cannot_be_is_refused(purpose: str) -> None:
    done(cli("user", "add", "ann"))

    refused(cli("token", "ann", "--for", purpose))
    assert tokens_of("ann") == []


def test_tokens_are_revoked_one_or_all() -> None:
    for name in ("ann", "bob"):
        done(cli("user", "add", name))
        for _ in range(3):
            done(cli("token", name))
    first, *_ = tokens_of("ann")
    theirs, *_ = tokens_of("bob")

    assert done(cli("token", "ann", "--revoke", first.id.upper())) == "revoked 1 tokens of ann\n"
    assert [token.revoked_at is None for token in tokens_of("ann")] == [False, True, True]
    for which in (first.id, theirs.id, "no id", ""):
        assert refused(cli("token", "ann", "--revoke", which)) == (
            f"expected the id of a token of ann, or all; found {which!r}"
        )
    assert done(cli("token", "ann", "--revoke", "all")) == "revoked 2 tokens of ann\n"
    assert done(cli("token", "ann", "--revoke", "all")) == "revoked 0 tokens of ann\n"
    assert [token.revoked_at is None for token in (*tokens_of("ann"), *tokens_of("bob"))] == [False] * 3 + [True] * 3
    assert events_of("ann").count(("TokenRevoked", "cli")) == 3


UNKNOWN = [
    ["user", "password", "eve"],
    ["user", "disable", "eve"],
    ["user", "enable", "eve"],
    ["user", "link", "eve", "--issuer", "https://provider.example", "--subject", "1"],
    ["token", "eve"],
    ["token", "eve", "--revoke", "all"],
]


@pytest.mark.parametrize("arguments", UNKNOWN, ids=" ".join)
def test_a_user_who_is_not_there_is_named(arguments: list[str]) -> None:
    make()
    before = head()

    assert refused(cli(*arguments, stdin=GOOD)) == "expected a user's name or id; found 'eve'"
    assert head() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["user"],
        ["user", "unknown"],
        ["user", "add"],
        ["user", "add", "ann", GOOD],
        ["user", "add", "ann", "--password", GOOD],
        ["user", "add", "ann", "--role", "root"],
        ["user", "password", "ann", GOOD],
        ["user", "link", "ann", "--issuer", "https://provider.example"],
        ["token"],
        ["token", "ann", "--scope", "admin"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_status_2_and_changes_nothing(arguments: list[str]) -> None:
    """A password among the arguments too: everybody on the machine sees those."""
    make()
    before = head()

    result = cli(*arguments, stdin=GOOD)
    assert (result.exit_code, result.stdout) == (2, "")
    assert head() == before


@pytest.mark.parametrize("arguments", UNKNOWN, ids=" ".join)
def test_where_there_is_no_log_none_is_made_for_who_must_be_there_already(arguments: list[str], tmp_path: Path) -> None:
    refused(cli(*arguments, stdin=GOOD))

    assert list(tmp_path.glob("*.db")) == []


STORY: list[tuple[AccountEvent, str]] = [
    (UserRegistered("id-of-alice"), "registered"),
    (UserRenamed("id-of-alice"), "changed name or address"),
    (PasswordChanged("id-of-alice"), "got a new password"),
    (IdentityLinked("id-of-alice"), "was linked to an identity"),
    (
        TokenIssued("id-of-alice", "a-token", "read", START),
        "got a token to read, a-token, until 2026-11-23T08:00:00Z",
    ),
    (TokenRevoked("id-of-alice", "a-token"), "lost the token a-token"),
    (UserDisabled("id-of-alice"), "was disabled"),
    (UserEnabled("id-of-alice"), "was enabled again"),
]


def test_the_history_tells_all_that_happens_to_accounts() -> None:
    make()
    with opened() as storage, storage.log.writing() as transaction:
        events = [event for event, _ in STORY[1:]]
        transaction.append(account_stream("id-of-alice"), 1, events, Cause("a-command"))

    told = done(cli("replay")).splitlines()

    assert {type(event).__name__ for event, _ in STORY} == {type for type in TYPES if not type.startswith("Goal")}
    assert [line.partition("  alice  ")[2] for line in told] == [what for _, what in STORY]


# Serving with accounts.


def serve(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    """`serve` up to where it would begin to listen to clients."""

    def run(_settings: object, listener: int, greet: Any) -> None:
        del greet
        with open(listener, "rb", closefd=True):
            pass

    monkeypatch.setattr("es_goals.server.serve", run)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")  # which is set by `serve`, and not to stay
    return cli("serve", "--port", "0", *arguments)


def test_the_first_administrator_is_made_on_an_empty_log_only_and_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = done(serve(monkeypatch)), done(serve(monkeypatch))

    told = re.fullmatch(rf"made the administrator admin; this token is shown this once: ({PRINTED})\n", first)
    assert told is not None
    assert second == ""
    (token,) = tokens_of("admin")
    assert (token.hash, token.scope, token.name) == (fingerprint(told[1]), "write", "first")
    assert token.expires_at - token.created_at == 7_776_000 * 1_000_000
    assert user_of("admin").role == "administrator"
    assert events_of("admin") == [("UserRegistered", "cli"), ("TokenIssued", "cli")]


def test_an_open_service_makes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    assert done(serve(monkeypatch, "--open")) == ""
    with opened() as storage:
        assert storage.log.users() == []


def test_where_there_is_no_administrator_it_is_told_how_to_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    make(created("a"))
    hint = "there is no administrator: es-goals user add NAME --role administrator, then es-goals token NAME\n"

    assert done(serve(monkeypatch)) == hint
    done(cli("user", "add", "root", "--role", "administrator"))
    assert done(serve(monkeypatch)) == ""
    assert done(cli("user", "disable", "root")) == "root is disabled; no administrator is left\n"
    assert done(serve(monkeypatch)) == hint
    assert done(serve(monkeypatch, "--open")) == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104
def test_an_address_that_others_can_reach_is_served_with_accounts_and_refused_without(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    assert "made the administrator" in done(serve(monkeypatch, "--host", host))
    assert "expected a loopback address" in misused(serve(monkeypatch, "--host", host, "--open"))
    monkeypatch.setenv("ES_GOALS_OPEN", "true")
    assert "expected a loopback address" in misused(serve(monkeypatch, "--host", host))
