"""What is counted and measured, in Prometheus' terms. Over all workers where PROMETHEUS_MULTIPROC_DIR is set."""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

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


history_warned = Counter(
    "es_goals_history_warned_total", "Users whose history became nearly as long as it may be", registry=REGISTRY
)
history_refused = Counter(
    "es_goals_history_refused_total",
    "Commands refused since a user's history is full",
    registry=REGISTRY,
)


def count_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request, and how long it took."""
    counted, timed = _of_request(method, route, status)
    counted.inc()
    timed.observe(seconds)


@cache  # looking the labels up takes prometheus-client 5 µs each time
def _of_request(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return requests.labels(method, route, status), request_seconds.labels(method, route)


class Gauge(NamedTuple):
    """What stands so now. `by`: the label that its values are of; without one it has the only value of ""."""

    name: str
    text: str
    values: Mapping[str, float]
    by: str | None = None

    @classmethod
    def single(cls, name: str, text: str, value: float) -> "Gauge":
        """Return one without labels."""
        return cls(name, text, {"": value})


class _Gauges(Collector):
    def __init__(self, gauges: Sequence[Gauge]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        for gauge in self._gauges:
            family = GaugeMetricFamily(gauge.name, gauge.text, labels=[gauge.by] if gauge.by else [])
            for label, value in gauge.values.items():
                family.add_metric([label] if gauge.by else [], value)
            yield family


def exposition(gauges: Sequence[Gauge]) -> bytes:
    """Return what was counted, over all workers, and these gauges, as Prometheus text."""
    counted = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        counted = CollectorRegistry()
        multiprocess.MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
    measured = CollectorRegistry()
    measured.register(_Gauges(gauges))
    return generate_latest(counted) + generate_latest(measured)
