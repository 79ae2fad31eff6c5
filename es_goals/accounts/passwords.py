"""Passwords: which are taken, and how they are kept: argon2id (RFC 9106), with the OWASP cheat sheet's parameters."""

from functools import cache
from importlib import resources

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from es_goals.values import InvalidValue

LEAST_BYTES, MOST_BYTES = 8, 1024

_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


def valid_password(text: str, field: str = "password") -> str:
    """The password, if it may be one. Raises InvalidValue, which does not show it."""
    size = len(text.encode())
    if not LEAST_BYTES <= size <= MOST_BYTES:
        raise InvalidValue(field, f"{LEAST_BYTES} to {MOST_BYTES} bytes in UTF-8", f"{size} bytes")
    if text.casefold() in _most_used():
        raise InvalidValue(field, "a password that is not among the 3,000 most used", "one of them")
    return text


def hashed(password: str) -> str:
    """What is kept of it, with a salt of its own. Takes some 40 ms and 19 MiB."""
    return _HASHER.hash(password)


def matches(kept: str | None, password: str) -> bool:
    """Whether this is the password that was kept. Where none was, it takes as long to say no."""
    try:
        return _HASHER.verify(_of_nobody() if kept is None else kept, password) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


def warm() -> None:
    """Make what `matches` compares with where nothing is kept, or the first such answer would take longer."""
    _of_nobody()


def outdated(kept: str) -> bool:
    """Whether it was made with other parameters than these."""
    return _HASHER.check_needs_rehash(kept)


@cache
def _of_nobody() -> str:
    return _HASHER.hash("")


@cache
def _most_used() -> frozenset[str]:
    return frozenset(resources.files("es_goals.accounts").joinpath("common-passwords.txt").read_text("utf-8").split())
