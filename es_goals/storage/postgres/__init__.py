"""The engine for many machines: a log, its read models and its sessions in a PostgreSQL database."""

from es_goals.storage import Options, Storage
from es_goals.storage.log import Clock
from es_goals.storage.postgres import schema
from es_goals.storage.postgres.connections import Connections
from es_goals.storage.postgres.glance import PostgresGlances
from es_goals.storage.postgres.log import PostgresLog
from es_goals.storage.postgres.sessions import PostgresSessions
from es_goals.storage.postgres.views import PostgresViews
from es_goals.storage.sql.log import SCHEMA


def open(url: str, clock: Clock, options: Options) -> Storage:
    """Do as storage.Engine says."""
    connections = Connections(url, options.deadline, options.connections, standby=options.standby)
    log = PostgresLog(connections, clock)
    views = PostgresViews(connections)
    glance = PostgresGlances(connections, views)
    return Storage(log, views, views.tiles(), PostgresSessions(connections), glance, log.close)


def exists(url: str, options: Options) -> bool:
    """Do as storage.Engine says."""
    return schema.exists(url, options.deadline)


def migrate(url: str, clock: Clock, options: Options, service: str | None) -> int:
    """Do as storage.Engine says."""
    del clock
    schema.migrate(url, options.deadline, service)
    return SCHEMA
