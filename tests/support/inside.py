"""What serves, in this process and without its server."""

from collections.abc import Iterator
from contextlib import contextmanager

from es_goals.app import create_app
from es_goals.http.edge.body import BodyGuard
from es_goals.ids import wall_clock
from es_goals.settings import Settings
from es_goals.storage.log import Clock


@contextmanager
def application(settings: Settings, clock: Clock = wall_clock) -> Iterator[BodyGuard]:
    """An application, which is ended."""
    app = create_app(settings, clock)
    try:
        yield app
    finally:
        app.worker.service.close()
        app.worker.close()
