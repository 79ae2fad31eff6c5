"""Draws what was found: three plots in SVG, on white."""

import re
from collections.abc import Iterable, Mapping
from math import floor, log10
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure as Drawing

from tests.bench.results import Figure

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "the same every time",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
OURS, CEILING, ORIGINAL = "#0072b2", "#8c8c8c", "#d55e00"
PEERS = (
    ("the ceiling: POST, nothing is stored", "ceiling.post", CEILING),
    ("create a goal", "commands.create", OURS),
    ("create a goal, under a key", "commands.create_keyed", OURS),
    ("create a goal, on PostgreSQL", "postgres.create", OURS),
    ("the original: create a goal", "original.post", ORIGINAL),
    ("the ceiling: GET, nothing is read", "ceiling.get", CEILING),
    ("a tree of 100 goals, not modified", "reads.unchanged", OURS),
    ("a tree of 100 goals", "reads.tree", OURS),
    ("9 such reads for each change", "reads.mix", OURS),
    ("the original: a tree of 100 goals", "original.get", ORIGINAL),
)
"""From top to bottom."""

Found = Mapping[str, Figure]


def draw(figures: Iterable[Figure], out: Path) -> None:
    """Those plots for which there are numbers: medians over the rounds, with their spread."""
    found = {figure.name: figure for figure in figures}
    with matplotlib.rc_context(STYLE):
        if any(name in found for _, name, _ in PEERS):
            _save(_peers(found), out / "peers.svg")
        if _lengths(found, "growth", "command"):
            _save(_growth(found), out / "growth.svg")
        if _lengths(found, "rebuild", "wall"):
            _save(_rebuild(found), out / "rebuild.svg")


def _save(drawing: Any, path: Path) -> None:
    drawing.savefig(path, facecolor="white", metadata={"Date": None})


def _peers(found: Found) -> Any:
    """Requests a second as bars; latency as a line from the median to the 99th percentile."""
    shown = [(label, name, colour) for label, name, colour in reversed(PEERS) if name in found]
    drawing = Drawing(figsize=(9, 0.6 + 0.32 * len(shown)), layout="constrained")
    rates, latencies = drawing.subplots(1, 2, sharey=True)
    for row, (_, name, colour) in enumerate(shown):
        rate, p50, p99 = found[name], found[f"{name}.p50"], found[f"{name}.p99"]
        rates.barh(row, rate.median, color=colour, height=0.6, xerr=_spread(rate), error_kw={"lw": 1})
        rates.text(rate.high * 1.15, row, _number(rate), va="center")
        latencies.plot([p50.median, p99.median], [row, row], color=colour, marker="o", markersize=4)
        latencies.text(p99.median * 1.2, row, f"{_number(p50)} · {_number(p99)}", va="center")
    rates.set_yticks(range(len(shown)), [label for label, _, _ in shown])
    rates.tick_params(axis="y", length=0)
    _logarithmic(rates, "requests a second", 3)
    _logarithmic(latencies, "ms: median · 99th percentile", 8)
    return drawing


def _logarithmic(axes: Any, label: str, room: float) -> None:
    axes.set(xscale="log", xlabel=label)
    low, high = axes.get_xlim()
    axes.set_xlim(10 ** floor(log10(low)), high * room)
    axes.xaxis.set_major_formatter("{x:,g}")


def _growth(found: Found) -> Any:
    """One panel an operation, the lengths on a logarithmic axis."""
    drawing = Drawing(figsize=(9, 3), layout="constrained")
    panels = (
        ("command", "create a goal"),
        ("read", "the tree after it, made anew"),
        ("ready", "the tree again, ready"),
    )
    for axes, (what, title) in zip(drawing.subplots(1, 3), panels, strict=True):
        lengths = _lengths(found, "growth", what)
        for suffix, label, style in (("", "median", "-"), (".p99", "99th percentile", ":")):
            values = [found[f"growth.{length}.{what}{suffix}"] for length in lengths]
            _line(axes, lengths, values, label, OURS, style)
        axes.set(title=title, ylabel="ms" if what == "command" else "", ylim=(0, axes.get_ylim()[1] * 1.1))
        axes.legend(loc="lower right")
    return drawing


def _rebuild(found: Found) -> Any:
    """The rate, below what reading and decoding the log allow."""
    drawing = Drawing(figsize=(6, 3.2), layout="constrained")
    axes, lengths = drawing.subplots(), _lengths(found, "rebuild", "wall")
    limits = (("limits.scan_decode", "a scan with decoding", "--"), ("limits.replay", "replay", ":"))
    for name, label, style in limits:
        if name in found:
            axes.axhline(found[name].median, color=CEILING, ls=style, label=label)
    _line(axes, lengths, [found[f"rebuild.{length}"] for length in lengths], "rebuild", OURS, "-")
    walls = [found[f"rebuild.{length}.wall"] for length in lengths]
    _line(axes, lengths, walls, "with the start of the process", OURS, ":")
    axes.set(ylabel="events a second", ylim=(0, axes.get_ylim()[1] * 1.1))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.legend(loc="best")
    return drawing


def _line(axes: Any, lengths: list[int], values: list[Figure], label: str, colour: str, style: str) -> None:
    medians = [value.median for value in values]
    spreads = [[value.median - value.low for value in values], [value.high - value.median for value in values]]
    axes.errorbar(lengths, medians, spreads, label=label, color=colour, ls=style, marker="o", markersize=4, capsize=2)
    axes.set(xscale="log", xlabel="events in the log")
    axes.minorticks_off()
    axes.set_xticks(lengths, [f"{length:,}".replace(",000,000", "M").replace(",000", "k") for length in lengths])


def _number(figure: Figure) -> str:
    return f"{figure.median:,.0f}" if figure.median >= 100 else f"{figure.median:.3g}"


def _spread(figure: Figure) -> list[list[float]]:
    return [[figure.median - figure.low], [figure.high - figure.median]]


def _lengths(found: Found, group: str, what: str) -> list[int]:
    """The lengths of logs at which something was measured."""
    names = (re.fullmatch(rf"{group}\.(\d+)\.{what}", name) for name in found)
    return sorted(int(name[1]) for name in names if name)
