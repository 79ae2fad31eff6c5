"""What is counted and measured, in Prometheus' terms. Over all workers where PROMETHEUS_MULTIPROC_DIR is set."""

import os
from collections.abc import Callable, Iterable, Iterator
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from es_goals.projector import Status
from es_goals.storage.errors import StorageError
from es_goals.storage.log import Log

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

REGISTRY = CollectorRegistry()
requests = Counter("es_goals_requests_total", "Requests answered", ["method", "route", "status"], registry=REGISTRY)
request_seconds = Histogram(
    "es_goals_request_seconds", "Time to answer", ["method", "route"], buckets=_SECONDS, registry=REGISTRY
)
batch_commands = Histogram(
    "es_goals_batch_commands",
    "Commands committed together",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
    registry=REGISTRY,
)
replica_reads = Counter("es_goals_replica_reads_total", "Reads that a replica served", registry=REGISTRY)
sign_ins = Counter("es_goals_sign_ins_total", "Sign-ins tried, by how they ended", ["outcome"], registry=REGISTRY)
refusals = Counter(
    "es_goals_refusals_total", "Requests refused for who or where they came from", ["problem"], registry=REGISTRY
)


def count_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request that was answered, and how long it took."""
    counted, timed = _of_request(method, route, status)
    counted.inc()
    timed.observe(seconds)


@cache  # looking the labels up takes prometheus-client 5 µs each time
def _of_request(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return requests.labels(method, route, status), request_seconds.labels(method, route)


class Gauges(Collector):
    """Measured when asked: the log's sizes, how far `at` runs ahead of the clock, how far read models are behind."""

    def __init__(self, log: Log, clock: Callable[[], int], statuses: Callable[[], Iterable[Status]]) -> None:
        self._log, self._clock, self._statuses = log, clock, statuses

    def collect(self) -> Iterator[Metric]:
        """One gauge after the other; those of a storage that fails are left out."""
        try:
            sizes, head, statuses = self._log.sizes(), self._log.head(), list(self._statuses())
        except (StorageError, OSError):
            return
        yield _gauge("es_goals_log_position", "The log's last position", head.position)
        yield _gauge("es_goals_log_bytes", "Size of the log's database", sizes["database"])
        if "wal" in sizes:  # and not where the files are of another machine
            yield _gauge("es_goals_wal_bytes", "Size of its write-ahead log", sizes["wal"])
            yield _gauge("es_goals_disk_free_bytes", "Space left on its disk", sizes["free"])
        ahead = max(0, head.at - self._clock()) / 1e6
        yield _gauge("es_goals_at_ahead_seconds", "How far the last event's time is ahead of the clock", ahead)
        lag = GaugeMetricFamily("es_goals_projection_lag", "Events not folded and stored yet", labels=["projection"])
        failed = GaugeMetricFamily("es_goals_projection_failed", "1 where a fold has failed", labels=["projection"])
        for status in statuses:
            lag.add_metric([status.name], status.lag)
            failed.add_metric([status.name], status.state == "failed")
        yield lag
        yield failed


def exposition(gauges: Gauges | None) -> bytes:
    """All metrics as Prometheus text; without gauges, what was counted."""
    counted = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        counted = CollectorRegistry()
        multiprocess.MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
    measured = CollectorRegistry()
    if gauges is not None:
        measured.register(gauges)
    return generate_latest(counted) + generate_latest(measured)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
