"""Who holds a token, as of the last look at the log."""

from es_goals.accounts.caller import TOKEN, Caller, fingerprint
from es_goals.reads.cache import CACHED, LogCache
from es_goals.storage.log import Clock
from es_goals.storage.sessions import USE_INTERVAL, Sessions


class Authenticator:
    """Tells who holds a token. `session_idle`, `token_idle`: seconds after which one that is not used ends. To be asked
    within a question to the cache."""

    def __init__(self, cache: LogCache, sessions: Sessions, clock: Clock, session_idle: int, token_idle: int) -> None:
        self._cache, self._sessions, self._clock = cache, sessions, clock
        self._session_idle, self._token_idle = session_idle, token_idle
        self._used: dict[str, int] = {}

    def caller(self, secret: str, hash: str) -> tuple[Caller, bool] | None:
        """Who it is, and whether this use is to be noted; None where it is no good, or no more. `hash`: the secret's
        fingerprint."""
        now = self._clock()
        if secret.startswith(TOKEN):
            token = self._cache.token(hash)
            if token is None or token.revoked_at is not None or token.expires_at <= now:
                return None
            user, scope, credential, ends = self._cache.user(token.user_id), token.scope, token.id, token.expires_at
            stays, due = self._use(token.id, token.created_at, self._token_idle, now)
        else:
            session = self._cache.session(hash)
            if session is None or session.expires_at <= now:
                return None
            user, scope, credential, ends = self._cache.user(session.user_id), "write", hash, session.expires_at
            if user is None or user.password_at != session.stamp:
                return None
            stays, due = self._use(hash, session.created_at, self._session_idle, now)
        if user is None or user.disabled_at is not None or not stays:
            return None
        return Caller(user, scope, credential, credential == hash, ends), due

    def _use(self, id: str, made_at: int, idle: int, now: int) -> tuple[bool, bool]:
        """Whether it is in use, and whether to note that."""
        if now - self._used.get(id, 0) < USE_INTERVAL:
            return True, False
        if now - self._sessions.last_use(id, made_at) > idle * 1_000_000:
            return False, False
        if len(self._used) > CACHED:
            self._used.clear()
        self._used[id] = now
        return True, True


def session_hash(secret: str) -> tuple[str, str | None]:
    """The fingerprint of a secret, and again where it is a session's."""
    hash = fingerprint(secret)
    return hash, None if secret.startswith(TOKEN) else hash
