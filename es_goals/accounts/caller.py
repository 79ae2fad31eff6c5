"""Who is asking: roles, scopes, and the secrets that callers hold."""

import hashlib
import secrets
from typing import Literal

from msgspec import Struct

from es_goals.storage.log import User

ROLES = ("user", "auditor", "administrator")
ADMINISTRATOR = "admin"
"""The name of the first one."""
SESSION, TOKEN = "esgs_", "esgt_"
"""What secrets begin with, so that scanners find those that were published: `esg[st]_[0-9a-f]{64}`."""
Scope = Literal["read", "write"]


class Caller(Struct, frozen=True):
    """Who is asking, and with what: `credential` is a token's id or a session's hash, `session` says which; it ends at
    `expires_at` (µs), if not before."""

    user: User
    scope: str
    credential: str
    session: bool
    expires_at: int

    def may_see(self, user_id: str) -> bool:
        """Whether what this user has is the caller's to read."""
        return self.user.role != "user" or self.user.id == user_id


def new_secret(prefix: str) -> str:
    """A token that is told once: 32 random bytes in hexadecimal digits behind the prefix."""
    return prefix + secrets.token_hex(32)


def fingerprint(secret: str) -> str:
    """What is kept of it: SHA-256 is enough for what cannot be guessed."""
    return hashlib.sha256(secret.encode()).hexdigest()
