"""The embedded engine: a log, its read models and its sessions in SQLite files beside each other."""

from collections.abc import Sequence
from pathlib import Path

from es_goals.storage import Options, Storage
from es_goals.storage.glance import Glance, bounds
from es_goals.storage.log import Clock
from es_goals.storage.sql.log import SCHEMA
from es_goals.storage.sqlite.log import SqliteLog
from es_goals.storage.sqlite.sessions import SqliteSessions
from es_goals.storage.sqlite.views import SqliteViews, views_path
from es_goals.storage.views import ReadModel


def open(url: str, clock: Clock, options: Options) -> Storage:
    """Do as storage.Engine says; a file has no use for the options."""
    del options
    log = SqliteLog(url, clock)
    views = SqliteViews(views_path(url), log.id)
    sessions = SqliteSessions(url, log.id, clock)

    def close() -> None:
        sessions.close()
        views.close()
        log.close()

    def glance(position: int, hashes: Sequence[str], model: ReadModel) -> Glance:
        after, limit = bounds(position)
        found = {one.hash: one for one in map(sessions.session, hashes) if one is not None}
        return Glance(log.read(after, limit), found, views.live(model))

    return Storage(log, views, views.tiles(), sessions, glance, close)


def exists(url: str, options: Options) -> bool:
    """Do as storage.Engine says."""
    del options
    return Path(url).exists()


def migrate(url: str, clock: Clock, options: Options, service: str | None) -> int:
    """Do as storage.Engine says; a file has no roles."""
    assert service is None
    open(url, clock, options).close()
    return SCHEMA
