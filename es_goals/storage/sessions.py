"""What a store of sessions promises: who is signed in, what was used, which passwords were tried."""

from typing import Protocol

from msgspec import Struct


class Session(Struct, frozen=True):
    """Somebody signed in. `hash` is the SHA-256 of its token in hexadecimal digits; `stamp` is the user's `password_at`
    when it began; `address`: where; times are µs."""

    hash: str
    user_id: str
    address: str
    stamp: int
    created_at: int
    expires_at: int


class Attempt(Struct, frozen=True):
    """A password that is tried at `at` (µs), on an account (a user's id, or what stands for a name that nobody has),
    from an address. `stamp`: the user's `password_at`, which sessions have that go on."""

    id: str
    account: str
    address: str
    at: int
    stamp: int = 0


USE_INTERVAL = 60_000_000
"""µs within which another use of a session or a token is not recorded."""


MOST_SESSIONS = 100
"""Of one user."""


class Sessions(Protocol):
    """Who is signed in, when what was last used, and which passwords were tried: what may be lost without harm."""

    def change_counter(self) -> int | None:
        """Return a number as Log.change_counter does, of these."""

    def session(self, hash: str) -> Session | None:
        """Return the session whose token has this SHA-256."""

    def begin(self, session: Session) -> None:
        """Store a new session; of more than MOST_SESSIONS of its user the oldest end."""

    def restamp(self, hash: str, stamp: int) -> None:
        """Let a session go on after its user's password was changed."""

    def end(self, hash: str) -> None:
        """Forget a session."""

    def of_user(self, user_id: str, most: int) -> list[Session]:
        """Return the user's sessions, those that are over among them, the newest first, at most so many."""

    def end_of_user(self, user_id: str, beginning: str) -> bool:
        """Forget the user's session whose token's hash begins so. Returns whether there was one."""

    def end_all(self, user_id: str) -> None:
        """Forget all of the user's sessions."""

    def clear(self) -> None:
        """Forget all sessions."""

    def used(self, id: str) -> int | None:
        """Return when a session or a token was last used, to the minute (µs), as far as is known."""

    def last_use(self, id: str, made_at: int) -> int:
        """Return when a session or a token, made at `made_at`, was last used (µs); where nobody can know, the latest
        that it may have been."""

    def record_use(self, id: str, at: int) -> None:
        """Store when a session or a token was used."""

    def attempt(self, attempt: Attempt, since: int, most: int) -> int | None:
        """Store that a password is tried, and return 0, unless `most` failed since then on its account, or from its
        address; then return the time (µs) of the one that must be past before the next. None: not yet, as others
        are being checked. From an address where the account is signed in, only its own attempts there count."""

    def forget(self, attempt: Attempt) -> None:
        """Forget an attempt whose password was not checked."""

    def failed(self, attempt: Attempt) -> None:
        """Store that the password was wrong."""

    def held(self, attempt: Attempt) -> None:
        """Forget an attempt whose password was right, and what failed before it on the account from this address."""

    def sign_in(self, attempt: Attempt, session: Session) -> None:
        """Do what `held` does, and store the new session; both or neither."""

    def purge_expired(self, now: int, idle: int, since: int) -> None:
        """Forget sessions that ended before `now`, uses before `idle`, and attempts before `since` (µs)."""
