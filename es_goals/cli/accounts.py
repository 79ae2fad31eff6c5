"""The command line's part of accounts: users, tokens, the first administrator. It works on the database directly."""

import re
import sys
from contextlib import suppress
from functools import partial
from operator import attrgetter

import click

from es_goals.accounts import changes
from es_goals.accounts.caller import ADMINISTRATOR, ROLES, TOKEN, fingerprint, new_secret
from es_goals.accounts.changes import NoSuchToken, register
from es_goals.accounts.names import valid_token_name, valid_user_name
from es_goals.cli.database import ACTOR, opened, user_of
from es_goals.ids import Uuid7, uuid_of, wall_clock
from es_goals.settings import Settings
from es_goals.storage.errors import UserNameTaken
from es_goals.storage.log import Cause, Log, Token, Transaction, User, all_tokens, all_users, pages
from es_goals.values import InvalidValue


@click.group("user")
def user_group() -> None:
    """Accounts: make them, let them sign in, or not."""


@user_group.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="user", show_default=True, help="What they may do.")
@click.option("--password-stdin", is_flag=True, help="Read a password to sign in with, a line, from standard input.")
@click.pass_obj
def user_add(settings: Settings, name: str, role: str, password_stdin: bool) -> None:
    """Make a user."""
    user = _new_user(name, role)
    kept = _hashed_line() if password_stdin else None
    with opened(settings) as storage, storage.log.writing() as transaction:
        register(transaction, user, _cause(), kept)
    click.echo(f"made the {role} {user.name}")


@user_group.command("password")
@click.argument("name")
@click.pass_obj
def user_password(settings: Settings, name: str) -> None:
    """Set a password, read as a line from standard input; all of the user's sessions end."""
    with opened(settings) as storage:
        user, kept = user_of(storage.log, name), _hashed_line()
        with storage.log.writing() as transaction:
            changes.set_password(transaction, user.id, kept, _cause())
    click.echo(f"{user.name} has a new password")


def _hashed_line() -> str:
    from es_goals.accounts.passwords import hashed, valid_password

    try:  # by hand: what Python says of other bytes would show them
        password = sys.stdin.buffer.readline().decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise InvalidValue("password", "text in UTF-8", "other bytes") from None
    return hashed(valid_password(password))


@user_group.command("disable")
@click.argument("name")
@click.pass_obj
def user_disable(settings: Settings, name: str) -> None:
    """Let a user in no more: sessions and tokens are good for nothing from now on."""
    _set_disabled(settings, name, disabled=True)


@user_group.command("enable")
@click.argument("name")
@click.pass_obj
def user_enable(settings: Settings, name: str) -> None:
    """Let a disabled user in again."""
    _set_disabled(settings, name, disabled=False)


def _set_disabled(settings: Settings, name: str, *, disabled: bool) -> None:
    with opened(settings) as storage:
        user = user_of(storage.log, name)
        new = (user.disabled_at is not None) != disabled
        if not disabled:
            storage.sessions.end_all(user.id)
        with storage.log.writing() as transaction:
            changes.set_disabled(transaction, user.id, disabled, _cause())
        last = disabled and user.role == "administrator" and not _has_administrator(storage.log)
    state = "disabled" if disabled else "enabled"
    sentence = f"{user.name} is {state}" if new else f"{user.name} was {state} already"
    click.echo(f"{sentence}; no administrator is left" if last else sentence)


@user_group.command("link")
@click.argument("name")
@click.option("--issuer", required=True, help="The OpenID provider.")
@click.option("--subject", required=True, help="The user's id there.")
@click.pass_obj
def user_link(settings: Settings, name: str, issuer: str, subject: str) -> None:
    """Let an identity at an OpenID provider sign in as the user."""
    with opened(settings) as storage:
        user = user_of(storage.log, name)
        with storage.log.writing() as transaction:
            changes.link(transaction, user.id, changes.identity_of(issuer, subject), _cause())
    click.echo(f"{user.name} may sign in as {subject} at {issuer}")


@click.command()
@click.argument("name")
@click.option("--scope", type=click.Choice(["read", "write"]), default="write", show_default=True, help="For what.")
@click.option("--expires", metavar="TIME", default="90d", show_default=True, help="After so many d, h, m or s.")
@click.option("--for", "purpose", default="command line", show_default=True, help="What it is called.")
@click.option("--revoke", metavar="ID", help="End a token instead; `all` ends all of the user's.")
@click.pass_obj
def token(settings: Settings, name: str, scope: str, expires: str, purpose: str, revoke: str | None) -> None:
    """An API token for a user, printed this once."""
    seconds, purpose = _seconds(expires), valid_token_name(purpose)
    with opened(settings) as storage:
        user = user_of(storage.log, name)
        if revoke is not None:
            click.echo(f"revoked {end_tokens(storage.log, user, revoke)} tokens of {user.name}")
            return
        with storage.log.writing() as transaction:
            secret = _issued(transaction, user, purpose, scope, seconds)
    click.echo(secret)


def _seconds(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,6})([dhms])", text)
    if found is None or not int(found[1]):
        raise click.BadParameter(
            f"expected a number and d, h, m or s, as in 90d; found {text!r}", param_hint="--expires"
        )
    return int(found[1]) * {"d": 86_400, "h": 3_600, "m": 60, "s": 1}[found[2]]


def end_tokens(log: Log, user: User, which: str) -> int:
    """End one of a user's API tokens, by its id, or `all`; returns how many. Raises NoSuchToken."""
    with log.writing() as transaction:
        live = [one for one in all_tokens(transaction, user.id) if one.revoked_at is None]
        chosen = live if which == "all" else [one for one in live if one.id == uuid_of(which)]
        if which != "all" and not chosen:
            raise NoSuchToken(f"expected the id of a token of {user.name}, or all; found {which!r}")
        for one in chosen:
            changes.revoke(transaction, one, _cause())
    return len(chosen)


def end_all_tokens(log: Log) -> int:
    """Of all users, together or not at all; answers how many."""
    every = pages(partial(log.credentials, Token), attrgetter("id"), "")
    live = [one for page in every for one in page if one.revoked_at is None]
    with log.writing() as transaction:
        for one in live:
            changes.revoke(transaction, one, _cause())
    return len(live)


def expect_administrator(settings: Settings, log: Log) -> None:
    """Of a new log, made here. Its token is told this once, before anything else can go wrong."""
    if log.head().position == 0:
        with suppress(UserNameTaken), log.writing() as transaction:  # another node's
            user, _ = register(transaction, _new_user(ADMINISTRATOR, "administrator"), _cause())
            secret = _issued(transaction, user, "first", "write", settings.token_lifetime)
            click.echo(f"made the administrator {user.name}; this token is shown this once: {secret}")
    elif not _has_administrator(log):
        click.echo("there is no administrator: es-goals user add NAME --role administrator, then es-goals token NAME")


def _has_administrator(log: Log) -> bool:
    return any(user.role == "administrator" and user.disabled_at is None for user in all_users(log))


def _new_user(name: str, role: str) -> User:
    return User(Uuid7(wall_clock)(), valid_user_name(name), None, 0, role)


def _cause() -> Cause:
    return Cause(Uuid7(wall_clock)(), ACTOR)


def _issued(transaction: Transaction, user: User, name: str, scope: str, seconds: int) -> str:
    secret = new_secret(TOKEN)
    ends, new_id = transaction.at + seconds * 1_000_000, Uuid7(wall_clock)()
    token = Token(new_id, user.id, name, scope, fingerprint(secret), 0, ends)
    changes.issue(transaction, token, _cause())
    return secret
