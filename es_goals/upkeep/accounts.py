"""Who is who, beside the log: compared with what the events of accounts tell."""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from typing import assert_never

from msgspec import Struct, structs

from es_goals.events import (
    AccountEvent,
    IdentityLinked,
    Instant,
    PasswordChanged,
    Recorded,
    TokenIssued,
    TokenRevoked,
    UserDisabled,
    UserEnabled,
    UserRegistered,
    UserRenamed,
    account_stream,
    instant,
    moment,
)
from es_goals.storage.log import (
    C,
    Identity,
    Log,
    Password,
    Reader,
    Token,
    User,
    all_lines,
    all_tokens,
    all_users,
    pages,
)

TRIES = 5
"""To read a user's rows and events as of one moment, while others change them."""


class IssuedToken(Struct, frozen=True):
    """What events tell of a token, and what its row must say."""

    scope: str
    created_at: int
    expires: Instant
    revoked_at: int | None = None


class Account(Struct):
    """What events tell of a user, or rows. Of a password they tell when it was set; whether one came with the user they
    do not, so that there may be two times. `identities`: how many there are."""

    role: str | None = None
    created_at: int = 0
    disabled_at: int | None = None
    password_at: frozenset[int] = frozenset()
    identities: int = 0
    tokens: dict[str, IssuedToken] = {}


class ForgedAccount(Exception):
    """A user's rows do not follow from the events; the message names the user and what differs."""


def expect_accounts(log: Log) -> None:
    """Compare the rows of all users with their events, also while others change them. Raises ForgedAccount."""
    passwords = {row.user_id for row in _all(log, Password)}
    identities = Counter(row.user_id for row in _all(log, Identity))
    tokens: dict[str, dict[str, IssuedToken]] = {}
    for token in _all(log, Token):
        tokens.setdefault(token.user_id, {})[token.id] = _of_row(token)
    for user in all_users(log):
        rows = _of_rows(user, user.id in passwords, identities[user.id], tokens.get(user.id, {}))
        if _difference(_told(all_lines(log, stream=account_stream(user.id))), rows) is not None:
            _expect_account(log, user.id)


def _expect_account(log: Log, user_id: str) -> None:
    """Once more, as of one moment. Raises ForgedAccount."""
    stream = account_stream(user_id)
    for _ in range(TRIES):
        version = log.stream_head(stream).version
        user = log.user(user_id)
        assert user is not None
        identities = sum(row.user_id == user_id for row in _all(log, Identity))
        tokens = {token.id: _of_row(token) for token in all_tokens(log, user_id)}
        rows = _of_rows(user, log.password(user_id) is not None, identities, tokens)
        difference = _difference(_told(all_lines(log, stream=stream)), rows)
        if difference is None:
            return
        if log.stream_head(stream).version == version:
            raise ForgedAccount(f"{stream}: {difference}")


def _difference(told: Account, rows: Account) -> str | None:
    """The first thing that rows say otherwise, in words."""
    for name in ("role", "created_at", "disabled_at", "identities"):
        if (expected := getattr(told, name)) != (found := getattr(rows, name)):
            return f"expected {name} {expected}, as the events say; found {found}"
    if not rows.password_at <= told.password_at:
        times = " or ".join(map(str, sorted(told.password_at)))
        return f"expected a password of {times} (0: none), as the events say; found {sorted(rows.password_at)[0]}"
    for token in sorted(told.tokens.keys() | rows.tokens.keys()):
        if (issued := told.tokens.get(token)) != (kept := rows.tokens.get(token)):
            return f"expected token {token} to be {_shown(issued)}, as the events say; found {_shown(kept)}"
    return None


def _shown(token: IssuedToken | None) -> str:
    return "none" if token is None else str(structs.asdict(token))


def _of_rows(user: User, has_password: bool, identities: int, tokens: dict[str, IssuedToken]) -> Account:
    # A password without its time, or a time without a password, is no user's.
    password_at = user.password_at if has_password == (user.password_at != 0) else -1
    return Account(user.role, user.created_at, user.disabled_at, frozenset({password_at}), identities, tokens)


def _of_row(token: Token) -> IssuedToken:
    return IssuedToken(token.scope, token.created_at, instant(moment(token.expires_at)), token.revoked_at)


def _told(lines: Iterable[Recorded]) -> Account:
    account = Account(tokens={})
    for line in lines:
        event = line.event
        assert isinstance(event, AccountEvent)
        _fold(account, event, line.at)
    return account


def _fold(account: Account, event: AccountEvent, at: int) -> None:
    match event:
        case UserRegistered():
            account.role, account.created_at, account.password_at = event.role, at, frozenset({0, at})
        case PasswordChanged():
            account.password_at = frozenset(max(at, before + 1) for before in account.password_at)
        case IdentityLinked():
            account.identities += 1
        case TokenIssued():
            account.tokens[event.token_id] = IssuedToken(event.scope, at, event.expires)
        case TokenRevoked():
            if event.token_id not in account.tokens:
                stream = account_stream(event.user_id)
                raise ForgedAccount(f"{stream}: expected a token {event.token_id} to revoke; found none")
            account.tokens[event.token_id] = structs.replace(account.tokens[event.token_id], revoked_at=at)
        case UserDisabled():
            account.disabled_at = at
        case UserEnabled():
            account.disabled_at = None
        case UserRenamed():
            pass
        case _:
            assert_never(event)


def _all(log: Reader, kind: type[C]) -> Iterator[C]:
    return chain.from_iterable(pages(partial(log.credentials, kind), lambda row: str(structs.astuple(row)[0]), ""))
