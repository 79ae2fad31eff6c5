"""The embedded engine: a log, its read models and its sessions in SQLite files beside each other."""

from pathlib import Path

from es_goals.storage import Options, Storage
from es_goals.storage.log import Clock
from es_goals.storage.sql.log import SCHEMA
from es_goals.storage.sqlite.log import SqliteLog
from es_goals.storage.sqlite.sessions import SqliteSessions
from es_goals.storage.sqlite.views import SqliteViews, views_path


def open(url: str, clock: Clock, options: Options) -> Storage:
    """As storage.Engine; a file has no use for the options."""
    del options
    log = SqliteLog(url, clock)
    views = SqliteViews(views_path(url), log.id)
    sessions = SqliteSessions(url, log.id, clock)

    def close() -> None:
        sessions.close()
        views.close()
        log.close()

    return Storage(log, views, sessions, close)


def exists(url: str, options: Options) -> bool:
    """As storage.Engine."""
    del options
    return Path(url).exists()


def migrate(url: str, clock: Clock, options: Options, service: str | None) -> int:
    """As storage.Engine; a file has no roles."""
    assert service is None
    open(url, clock, options).close()
    return SCHEMA
