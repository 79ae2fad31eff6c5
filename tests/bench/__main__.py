"""The command line: python -m tests.bench."""

import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from msgspec import Struct

from tests.bench import machine
from tests.bench.bench import Bench, Sample
from tests.bench.results import Figure, Verdict, figures, figures_table, verdicts, verdicts_table

Measure = Callable[[Bench], Iterable[Sample]]

GROUPS = ("limits", "commands", "reads", "big", "growth", "rebuild", "proofs", "operating", "postgres")
SMALL_SECONDS = 0.1


class Report(Struct, frozen=True):
    """What is written to results.json."""

    began: datetime
    small: bool
    seconds: float
    machine: machine.Machine
    targets: list[Verdict]
    figures: list[Figure]
    samples: list[Sample]


def measures() -> dict[str, Measure]:
    """How each group is measured. Imported when nothing is missing."""
    from tests.bench import growth, http, limits, operating, postgres, proofs, rebuild

    doors, others = (http.commands, http.reads, http.big), (growth, rebuild, proofs, operating, postgres)
    return dict(zip(GROUPS, (limits.measure, *doors, *(part.measure for part in others)), strict=True))


@click.command()
@click.option("--small", is_flag=True, help="Try everything on tiny logs, once and untimed.")
@click.option("--rounds", default=3, show_default=True, help="How often everything is measured.")
@click.option("--seconds", default=4.0, show_default=True, help="How long wrk runs each time.")
@click.option("--only", multiple=True, type=click.Choice(GROUPS), help="Only this group of measurements; repeatable.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/bench"), show_default=True)
def main(small: bool, rounds: int, seconds: float, only: tuple[str, ...], out: Path) -> None:
    """Measure the service, its peers and the machine's limits side by side."""
    if lacking := machine.missing():
        raise click.ClickException(lacking)
    # As an interruption does: the services that it started must not stay behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    rounds, seconds = (1, SMALL_SECONDS) if small else (rounds, seconds)
    out.mkdir(parents=True, exist_ok=True)
    began = datetime.now(UTC)
    samples: list[Sample] = []
    for round in range(1, rounds + 1):
        for group in only or GROUPS:
            samples += measured(group, Bench(round, small, seconds, out / "files", out / "logs"))
    report(Report(began, small, seconds, machine.described(out), verdicts(samples), figures(samples), samples), out)


def measured(group: str, bench: Bench) -> list[Sample]:
    """One round of a group, in a folder that is removed behind it."""
    began = time.monotonic()
    shutil.rmtree(bench.folder, ignore_errors=True)
    bench.folder.mkdir()
    try:
        samples = list(measures()[group](bench))
    except BrokenPipeError as error:
        # Click would take it for the end of its own output, and say nothing.
        raise RuntimeError("a service closed its connection") from error
    finally:
        shutil.rmtree(bench.folder)
    click.echo(f"round {bench.round}: {group}, {time.monotonic() - began:.1f} s", err=True)
    return samples


def report(report: Report, out: Path) -> None:
    """The tables, results.json and the plots."""
    from tests.bench import plots

    (out / "results.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    plots.draw(report.figures, out)
    click.echo(f"{report.machine}\n\n{figures_table(report.figures)}")
    if not report.small:
        click.echo(f"\n{verdicts_table(report.targets)}")


if __name__ == "__main__":
    main()
