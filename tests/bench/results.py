"""What the samples say: medians with their spread, and whether the targets are reached."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

from msgspec import Struct

from tests.bench.bench import Sample

Numbers = Mapping[str, float]
"""One round's values by their samples' names."""


class Figure(Struct, frozen=True):
    """A number over all rounds."""

    name: str
    unit: str
    median: float
    low: float
    high: float


class Target(Struct, frozen=True):
    """A number that must be at least or at most so large, computed of one round's values."""

    what: str
    number: Callable[[Numbers], float]
    unit: str = "x"
    least: float | None = None
    most: float | None = None

    def judged(self, rounds: Sequence[Numbers]) -> "Verdict":
        """Rounds that lack a value do not count."""
        found = []
        for numbers in rounds:
            try:
                found.append(self.number(numbers))
            except KeyError:
                continue
        figure = _figure(self.what, self.unit, found) if found else None
        return Verdict(self.what, self.least, self.most, figure)


class Verdict(Struct, frozen=True):
    """A target and what was found: nothing where it was not measured."""

    what: str
    least: float | None
    most: float | None
    found: Figure | None

    def __str__(self) -> str:
        if self.found is None:
            return "not measured"
        value = self.found.median
        enough = (self.least is None or value >= self.least) and (self.most is None or value <= self.most)
        return "reached" if enough else "not reached"

    @property
    def bounds(self) -> str:
        """What was asked for."""
        return f">= {_text(self.least)}" if self.least is not None else f"<= {_text(self.most or 0)}"


def value(name: str) -> Callable[[Numbers], float]:
    """The sample itself."""
    return lambda numbers: numbers[name]


def ratio(name: str, of: str) -> Callable[[Numbers], float]:
    """A sample over another one of the same round."""
    return lambda numbers: numbers[name] / numbers[of]


def _fsyncs(numbers: Numbers) -> float:
    """How many fsyncs last as long as the slowest commands are slower than the ceiling."""
    return (numbers["commands.one.p99"] - numbers["ceiling.post_one.p99"]) * numbers["limits.fsync"] / 1000


TARGETS = (
    Target("create a goal, of the ceiling's POST", ratio("commands.create", "ceiling.post"), least=0.35),
    Target("create a goal, of the original's", ratio("commands.create", "original.post"), least=40),
    Target("create a goal: p99, of the ceiling's", ratio("commands.create.p99", "ceiling.post.p99"), most=5),
    Target("one connection: p99 over the ceiling's", _fsyncs, "fsyncs", most=4),
    Target("read a tree of 100 goals, of the ceiling's GET", ratio("reads.tree", "ceiling.get"), least=0.60),
    Target("read a tree of 100 goals, of the original's", ratio("reads.tree", "original.get"), least=200),
    Target("304 Not Modified, of the ceiling's GET", ratio("reads.unchanged", "ceiling.get"), least=0.80),
    Target("90 % reads, 10 % commands, of the ceiling's GET", ratio("reads.mix", "ceiling.get"), least=0.45),
    Target("a tree of 10,000 goals made anew", value("big.anew"), "ms", most=40),
    Target("others' p99 while it is made", value("big.others_meanwhile.p99"), "ms", most=25),
    Target("an old position of 10,000 events", value("big.as_of"), "ms", most=60),
    Target("the same again", value("big.as_of_again"), "ms", most=5),
    Target("what differs over 100,000 events", value("big.diff"), "ms", most=1000),
    Target("the same, where all of it differs", value("big.diff_all"), "ms", most=1000),
    Target("the last 100 commands of as many events", value("big.commands"), "ms", most=1000),
    Target("how much of them happened when", value("big.timeline"), "ms", most=1000),
    Target("how far the goals came meanwhile", value("big.burnup"), "ms", most=1000),
    Target("who made a goal 1,000 levels deep so", value("big.blame"), "ms", most=50),
    Target("undoing a rename of 100,001 events", value("big.undo"), "ms", most=10),
    Target("undoing an import of 10,000 goals", value("big.undo_import"), "ms", most=1000),
    Target("redoing it", value("big.redo_import"), "ms", most=1000),
    Target("a search of 10,000 goals", value("big.search"), "ms", most=20),
    Target("replay, of a scan with decoding", ratio("limits.replay", "limits.scan_decode"), least=0.70),
    Target("replay, of eventsourcing's", ratio("limits.replay", "limits.eventsourcing_read"), least=5),
    Target("rebuild of 1,000,000 events", value("rebuild.1000000"), "/s", least=100_000),
    Target("the same, of a scan with decoding", ratio("rebuild.1000000", "limits.scan_decode"), least=0.20),
    Target("its memory", value("rebuild.1000000.rss"), "MiB", most=300),
    Target("readers' p99 during it, of before", ratio("rebuild.readers_during.p99", "rebuild.readers.p99"), most=2),
    Target("hashes of the tree over 2,000,000 events", value("proofs.build"), "/s", least=100_000),
    # Of both workers' time, a twentieth.
    Target("the same, of goals created", ratio("proofs.build", "commands.create"), least=10),
    Target("a proof that an event is in the log", value("proofs.inclusion"), "ms", most=5),
    Target("a proof that the log only grew", value("proofs.consistency"), "ms", most=5),
    Target("checking the one", value("proofs.check_inclusion"), "ms", most=1),
    Target("checking the other", value("proofs.check_consistency"), "ms", most=1),
    Target("command at 2,000,000 events, of 10,000", ratio("growth.2000000.command", "growth.10000.command"), most=1.2),
    Target("read at 2,000,000 events, of 10,000", ratio("growth.2000000.read", "growth.10000.read"), most=1.2),
    Target("command of a user of 50,000 goals, of 10", ratio("growth.user_50000", "growth.user_10"), most=1.5),
    Target("the first command of a user of 50,000 goals", value("growth.cold_50000"), "ms", most=500),
    Target("a worker's memory after all of 10,000 users", value("operating.rss"), "MiB", most=150),
    Target("start on 1,000,000 events", value("operating.start"), "s", most=1.5),
    Target("events.db, of its events' data and ids", value("operating.size"), most=2.2),
    Target("PostgreSQL: create, of the bare loop", ratio("postgres.create", "postgres.create.executemany"), least=0.6),
    Target("the same, of one that uses COPY", ratio("postgres.create", "postgres.create.copy"), least=0.6),
    Target("PostgreSQL: append, of the bare loop", ratio("postgres.writer", "postgres.writer.executemany"), least=0.6),
    Target("the same, of one that uses COPY", ratio("postgres.writer", "postgres.writer.copy"), least=0.6),
    Target("PostgreSQL: create, of eventsourcing's", ratio("postgres.create", "postgres.eventsourcing"), least=5),
    Target("PostgreSQL: append, of eventsourcing's", ratio("postgres.writer", "postgres.eventsourcing"), least=5),
    Target("PostgreSQL: a page, of the bare loop's", ratio("postgres.page", "postgres.page.text"), least=0.7),
    Target("the same, of one that asks for binary", ratio("postgres.page", "postgres.page.binary"), least=0.7),
)


def figures(samples: Iterable[Sample]) -> list[Figure]:
    """Each number over all rounds, in the order of the first one."""
    values: dict[tuple[str, str], list[float]] = {}
    for sample in samples:
        values.setdefault((sample.name, sample.unit), []).append(sample.value)
    return [_figure(name, unit, found) for (name, unit), found in values.items()]


def verdicts(samples: Iterable[Sample], targets: Iterable[Target] = TARGETS) -> list[Verdict]:
    """Numbers of one round are compared with each other only; the median of the comparisons counts."""
    rounds: dict[int, dict[str, float]] = {}
    for sample in samples:
        rounds.setdefault(sample.round, {})[sample.name] = sample.value
    return [target.judged(list(rounds.values())) for target in targets]


def figures_table(found: Iterable[Figure]) -> str:
    """For people."""
    rows = [(one.name, _text(one.median), one.unit, _spread(one)) for one in found]
    return _table([("", "median", "unit", "min .. max"), *rows])


def verdicts_table(found: Iterable[Verdict]) -> str:
    """For people."""
    rows = [("target", "asked", "found", "unit", "min .. max", "")]
    for one in found:
        cells = ("", "", "")
        if one.found is not None:
            cells = (_text(one.found.median), one.found.unit, _spread(one.found))
        rows.append((one.what, one.bounds, *cells, str(one)))
    return _table(rows)


def _figure(name: str, unit: str, found: Sequence[float]) -> Figure:
    return Figure(name, unit, median(found), min(found), max(found))


def _spread(figure: Figure) -> str:
    return f"{_text(figure.low)} .. {_text(figure.high)}"


def _text(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
