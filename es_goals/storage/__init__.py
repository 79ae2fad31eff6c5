"""A log, its read models and its sessions; one table knows which engines there are, by the scheme of a URL."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Protocol, cast

from msgspec import Struct

from es_goals.storage.glance import Look
from es_goals.storage.log import Clock, Log
from es_goals.storage.place import expect_place, scheme
from es_goals.storage.sessions import Sessions
from es_goals.storage.tiles import Tiles
from es_goals.storage.views import Views


class Options(Struct, frozen=True):
    """What a server is asked with: `deadline` seconds for one statement, at most so many `connections` a process;
    `standby`: it need not take writes."""

    deadline: float
    connections: int
    standby: bool = False


class Storage(Struct, frozen=True):
    """A log, the read models folded from it and the hashes of the tree over it, who is signed in, and one glance at all
    of them."""

    log: Log
    views: Views
    tiles: Tiles
    sessions: Sessions
    glance: Look
    close: Callable[[], None]


class Engine(Protocol):
    """What the package of an engine has. `url` is a path, or begins with the engine's scheme."""

    def open(self, url: str, clock: Clock, options: Options) -> Storage:
        """Open, and make where it does not exist, a log with its read models and sessions. Raises Unusable."""

    def exists(self, url: str, options: Options) -> bool:
        """Whether there is a log. Raises Unusable."""

    def migrate(self, url: str, clock: Clock, options: Options, service: str | None) -> int:
        """Make the log or bring it to this software's schema, and let the role `service`, if any, serve. Returns the
        schema's version. Raises Unusable."""


_ENGINES: Mapping[str, str] = {"": "sqlite", "postgresql": "postgres", "postgres": "postgres"}


def _engine(url: str) -> Engine:
    # Imported when it is asked for: who stays on SQLite loads no driver of PostgreSQL.
    expect_place(url)
    return cast(Engine, import_module(f"es_goals.storage.{_ENGINES[scheme(url)]}"))


def open_storage(url: str, clock: Clock, options: Options) -> Storage:
    """Open, and make where it does not exist, the log at a path or a PostgreSQL URL, and its read models.

    Raises Unusable.
    """
    return _engine(url).open(url, clock, options)


def exists(url: str, options: Options) -> bool:
    """Whether there is a log. Raises Unusable."""
    return _engine(url).exists(url, options)


def migrate(url: str, clock: Clock, options: Options, service: str | None = None) -> int:
    """Make the log or bring it to this software's schema; on PostgreSQL, let the role `service` serve besides.

    Returns the schema's version. Raises Unusable.
    """
    return _engine(url).migrate(url, clock, options, service)


def open_log(path: str, clock: Clock) -> Log:
    """Open, and make where it does not exist, the log in a file, without read models. Raises Unusable."""
    from es_goals.storage.sqlite.log import SqliteLog

    return SqliteLog(path, clock)


def end_sessions(path: str, log_id: str, clock: Clock) -> None:
    """Forget who is signed in, where the log in a file had sessions. Raises Unusable."""
    from es_goals.storage.sqlite.sessions import end_all

    end_all(path, log_id, clock)
