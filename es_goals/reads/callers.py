"""Who holds a token, as of the last look at the log."""

from es_goals.accounts.caller import TOKEN, Caller, fingerprint
from es_goals.reads.cache import CACHED, LogCache
from es_goals.settings import Settings
from es_goals.storage.log import Clock
from es_goals.storage.sessions import USE_INTERVAL, Session, Sessions


class Authenticator:
    """Tells who holds a token, as of the last look at the log. For the thread that uses `recent`."""

    def __init__(self, recent: LogCache, sessions: Sessions, clock: Clock, settings: Settings) -> None:
        self._recent, self._sessions, self._clock, self._settings = recent, sessions, clock, settings
        self._known: dict[str, Session] = {}
        self._writes: int | None = None
        self._used: dict[str, int] = {}

    def caller(self, secret: str) -> tuple[Caller, bool] | None:
        """Who it is, and whether this use is to be noted; None where it is no good, or no more."""
        hash, now = fingerprint(secret), self._clock()
        if secret.startswith(TOKEN):
            token = self._recent.token(hash)
            if token is None or token.revoked_at is not None or token.expires_at <= now:
                return None
            user, scope, credential = self._recent.user(token.user_id), token.scope, token.id
            stays, due = self._use(token.id, token.created_at, self._settings.token_idle, now)
        else:
            session = self._session(hash)
            if session is None or session.expires_at <= now:
                return None
            user, scope, credential = self._recent.user(session.user_id), "write", hash
            if user is None or user.password_at != session.stamp:
                return None
            stays, due = self._use(hash, session.created_at, self._settings.session_idle, now)
        if user is None or user.disabled_at is not None or not stays:
            return None
        return Caller(user, scope, credential, credential == hash), due

    def _session(self, hash: str) -> Session | None:
        writes = self._sessions.change_counter()
        if writes is None or writes != self._writes or len(self._known) > CACHED:
            self._known.clear()
        self._writes = writes
        session = self._known.get(hash)
        if session is None and (session := self._sessions.session(hash)) is not None:
            self._known[hash] = session
        return session

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
