"""The benchmark runs, and judges as it says. No number is looked at here."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from tests.bench import machine
from tests.bench.bench import Sample
from tests.bench.results import Figure, Target, figures, ratio, value, verdicts, verdicts_table
from tests.bench.wrk import MARK, WrongAnswers, request, wrk
from tests.support.engines import ROOT
from tests.support.needs import lacking, needs

GROUPS = {
    "limits",
    "ceiling",
    "original",
    "commands",
    "reads",
    "big",
    "growth",
    "rebuild",
    "proofs",
    "operating",
    "postgres",
}


def bench(*arguments: str | Path, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    """The benchmark's command line, whose services nobody counts the coverage of: that would take most of the time."""
    env = {name: text for name, text in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-m", "tests.bench", *map(str, arguments)]
    return subprocess.run(  # noqa: S603
        command, cwd=ROOT, env={**env, "PATH": path}, capture_output=True, text=True, timeout=300
    )


def test_everything_is_measured_and_drawn_and_nothing_of_a_small_run_is_judged(tmp_path: Path) -> None:
    if absent := machine.missing():
        lacking(absent)

    ended = bench("--small", "--out", tmp_path)

    assert ended.returncode == 0, ended.stderr
    report = msgspec.json.decode((tmp_path / "results.json").read_bytes())
    names = {sample["name"] for sample in report["samples"]}
    assert {name.partition(".")[0] for name in names} == GROUPS
    assert len(list(tmp_path.glob("*.svg"))) == 3
    assert all(name in ended.stdout for name in names)
    # No number of a small run is judged.
    assert "reached" not in ended.stdout


def test_without_wrk_it_says_so_in_one_line(tmp_path: Path) -> None:
    ended = bench("--small", "--out", tmp_path, path=str(tmp_path))

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        "Error: expected the program wrk, which loads the services; found none (apt-get install wrk)\n"
    )


def test_without_a_peer_it_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "program", lambda: "wrk")
    monkeypatch.setattr(machine, "MODULES", ("os", "flusk", "metplotlib"))

    assert machine.missing() == "expected flusk, metplotlib; found none (pip install -e '.[bench]')"


class Answers(BaseHTTPRequestHandler):
    """Answers with the status that the path names, and a body."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """No body where the status has none."""
        status = int(self.path[1:4])
        body = b"" if status == 304 else b"[]" * 1000
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def answers() -> Iterator[str]:
    """The url of such a service."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_wrk_tells_rates_and_latencies(answers: str) -> None:
    needs("wrk")

    run = wrk(answers, [request("GET", "/200"), request("GET", f"/200?{MARK}")], 200, 0.2, threads=1, connections=2)

    assert run.requests / run.seconds == run.rate > 0
    assert 0 < run.p50 <= run.p90 <= run.p99 <= run.slowest


@pytest.mark.parametrize("requests", [["/503"], ["/200", "/503"], ["/201"]])
def test_answers_of_another_status_end_the_benchmark(answers: str, requests: list[str]) -> None:
    needs("wrk")

    with pytest.raises(WrongAnswers, match="status 200"):
        wrk(answers, [request("GET", path) for path in requests], 200, 0.2, threads=1, connections=2)


def test_an_answer_that_should_have_had_no_body_ends_the_benchmark(answers: str) -> None:
    needs("wrk")

    with pytest.raises(WrongAnswers, match="status 304"):
        wrk(answers, [request("GET", path) for path in ("/304", "/200")], 304, 0.2, threads=1, connections=2)


def of(name: str, *values: float) -> list[Sample]:
    """A number's samples, one for each round."""
    return [Sample(name, number, "/s", round) for round, number in enumerate(values, start=1)]


def test_a_figure_is_the_median_of_all_rounds_with_its_spread() -> None:
    samples = [*of("a", 3, 1, 10), *of("b", 4, 2)]

    assert figures(samples) == [Figure("a", "/s", 3, 1, 10), Figure("b", "/s", 3, 2, 4)]


def test_a_ratio_is_taken_in_each_round_and_then_the_median() -> None:
    target = Target("a, of b", ratio("a", "b"), least=2)

    (verdict,) = verdicts([*of("a", 10, 40, 30), *of("b", 5, 10, 30)], [target])

    assert verdict.found == Figure("a, of b", "x", 2, 1, 4)
    assert str(verdict) == "reached"


@pytest.mark.parametrize(
    ("least", "most", "said"),
    [
        (2.0, None, "reached"),
        (2.01, None, "not reached"),
        (None, 2.0, "reached"),
        (None, 1.99, "not reached"),
    ],
)
def test_a_bound_itself_is_reached_and_what_is_beyond_it_is_not(
    least: float | None, most: float | None, said: str
) -> None:
    (verdict,) = verdicts(of("a", 1, 2, 3), [Target("a", value("a"), "ms", least, most)])

    assert str(verdict) == said
    assert said in verdicts_table([verdict])


def test_what_was_not_measured_is_not_called_reached() -> None:
    (verdict,) = verdicts(of("a", 1), [Target("a, of b", ratio("a", "b"), most=1)])

    assert (verdict.found, str(verdict)) == (None, "not measured")
    assert "not measured" in verdicts_table([verdict])


def test_a_round_that_lacks_a_number_does_not_count() -> None:
    (verdict,) = verdicts([*of("a", 9, 1), *of("b", 3)], [Target("a, of b", ratio("a", "b"), most=3)])

    assert verdict.found == Figure("a, of b", "x", 3, 3, 3)
