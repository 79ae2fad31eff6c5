"""What each change of an account does in a transaction.

A change writes nothing before it has refused whatever it may refuse: a batch goes on after a refusal.
"""

import re

from msgspec import UNSET, UnsetType, structs

from es_goals.events import (
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
    instant,
)
from es_goals.storage.errors import CredentialTaken
from es_goals.storage.log import Cause, Identity, Password, Token, Transaction, User
from es_goals.values import InvalidValue


class PasswordChangedSince(Exception):
    """The password that was shown is the current one no more."""


class NoSuchToken(Exception):
    """The user has no such token, or it is revoked."""


def identity_of(issuer: str, subject: str) -> str:
    """As it is kept: an issuer is a URL, which has no space. Raises InvalidValue."""
    if not re.fullmatch(r"https?://[!-~]+", issuer):
        raise InvalidValue("issuer", "a URL as the provider writes it", repr(issuer))
    if not re.fullmatch(r"[ -~]{1,255}", subject):
        raise InvalidValue("subject", "1 to 255 printable ASCII characters", repr(subject[:100]))
    return f"{issuer} {subject}"


def register(
    transaction: Transaction, user: User, cause: Cause, password: str | None = None, identity: str | None = None
) -> tuple[User, int]:
    """Make a user, as of now; `password` as it is kept. Returns the event's position too.

    Raises UserNameTaken, CredentialTaken.
    """
    if identity is not None and transaction.identity(identity) is not None:
        raise CredentialTaken("expected an identity that no user has; found one that is taken")
    at = transaction.at
    made = structs.replace(user, created_at=at, password_at=0 if password is None else at)
    transaction.add_user(made)
    events: list[AccountEvent] = [UserRegistered(user.id, user.role)]
    if password is not None:
        transaction.add(Password(user.id, password))
    if identity is not None:
        transaction.add(Identity(identity, user.id))
        events.append(IdentityLinked(user.id))
    return made, transaction.append(account_stream(user.id), 0, events, cause)[-1].position


def rename(
    transaction: Transaction, user_id: str, cause: Cause, name: str | None, email: str | None | UnsetType
) -> tuple[User, int]:
    """Give a user another name (None: as it is) and address (UNSET: as it is). Raises UserNameTaken."""
    user = _user(transaction, user_id)
    renamed = structs.replace(user, name=name or user.name, email=user.email if email is UNSET else email)
    if renamed == user:
        return user, transaction.stream_head(account_stream(user_id)).position
    transaction.change_user(renamed)
    return renamed, _append(transaction, UserRenamed(user_id), cause)


def set_password(
    transaction: Transaction, user_id: str, kept: str, cause: Cause, since: int | None = None
) -> tuple[User, int]:
    """Keep a password; sessions begun before are over. `since`: the `password_at` of the one that was shown, if one had
    to be. Raises PasswordChangedSince."""
    user = _user(transaction, user_id)
    if since is not None and user.password_at != since:
        raise PasswordChangedSince("expected the current password; found one that was changed meanwhile")
    # Another one than before also where the clock stands still.
    changed = structs.replace(user, password_at=max(transaction.at, user.password_at + 1))
    transaction.change_user(changed)
    transaction.add(Password(user_id, kept))
    return changed, _append(transaction, PasswordChanged(user_id), cause)


def link(transaction: Transaction, user_id: str, identity: str, cause: Cause) -> int:
    """Let an identity sign in as the user. Raises CredentialTaken."""
    if transaction.identity(identity) is not None:
        raise CredentialTaken("expected an identity that no user has; found one that is taken")
    transaction.add(Identity(identity, user_id))
    return _append(transaction, IdentityLinked(user_id), cause)


def issue(transaction: Transaction, token: Token, cause: Cause) -> tuple[Token, int]:
    """Keep a token, as of now."""
    made = structs.replace(token, created_at=transaction.at)
    transaction.add(made)
    event = TokenIssued(made.user_id, made.id, made.scope, instant(made.expires_at))
    return made, _append(transaction, event, cause)


def revoke(transaction: Transaction, token: Token, cause: Cause) -> int:
    """End a token. Raises NoSuchToken."""
    found = transaction.token(token.hash)
    if found is None or found.revoked_at is not None:
        raise NoSuchToken(f"expected the id of a token; found {token.id!r}")
    transaction.revoke(token.id, transaction.at)
    return _append(transaction, TokenRevoked(token.user_id, token.id), cause)


def set_disabled(transaction: Transaction, user_id: str, disabled: bool, cause: Cause) -> tuple[User, int]:
    """Let a user sign in no more, or again. Before they are enabled their sessions must be ended, which would be good
    again."""
    user = _user(transaction, user_id)
    if (user.disabled_at is not None) == disabled:
        return user, transaction.stream_head(account_stream(user_id)).position
    changed = structs.replace(user, disabled_at=transaction.at if disabled else None)
    transaction.change_user(changed)
    return changed, _append(transaction, UserDisabled(user_id) if disabled else UserEnabled(user_id), cause)


def _user(transaction: Transaction, user_id: str) -> User:
    user = transaction.user(user_id)
    assert user is not None
    return user


def _append(transaction: Transaction, event: AccountEvent, cause: Cause) -> int:
    stream = account_stream(event.user_id)
    return transaction.append(stream, transaction.stream_head(stream).version, [event], cause)[-1].position
