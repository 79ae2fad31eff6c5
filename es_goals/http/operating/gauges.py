"""What is measured when an operator's tools ask: the log's sizes, its clock, and how the read models stand."""

from collections.abc import Callable, Iterable, Iterator

from es_goals.metrics import Gauge
from es_goals.projector import Status
from es_goals.storage.errors import StorageError
from es_goals.storage.log import Clock, Log


def measure(log: Log, clock: Clock, statuses: Callable[[], Iterable[Status]]) -> list[Gauge]:
    """Return all gauges as they stand now; none of a storage that fails."""
    try:
        return [*_of_log(log, clock), *_of_projections(list(statuses()))]
    except (StorageError, OSError):
        return []


def _of_log(log: Log, clock: Clock) -> Iterator[Gauge]:
    sizes, head = log.sizes(), log.head()
    yield Gauge.single("es_goals_log_position", "The log's last position", head.position)
    yield Gauge.single("es_goals_log_bytes", "Size of the log's database", sizes["database"])
    if "wal" in sizes:  # and not where the files are of another machine
        yield Gauge.single("es_goals_wal_bytes", "Size of its write-ahead log", sizes["wal"])
        yield Gauge.single("es_goals_disk_free_bytes", "Space left on its disk", sizes["free"])
    ahead = max(0, head.at - clock()) / 1e6
    yield Gauge.single("es_goals_at_ahead_seconds", "How far the last event's time is ahead of the clock", ahead)


def _of_projections(statuses: list[Status]) -> Iterator[Gauge]:
    lag = {status.name: status.lag for status in statuses}
    failed = {status.name: float(status.state == "failed") for status in statuses}
    yield Gauge("es_goals_projection_lag", "Events not folded and stored yet", lag, "projection")
    yield Gauge("es_goals_projection_failed", "1 where a fold has failed", failed, "projection")
