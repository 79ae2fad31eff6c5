"""The service against its own description: schemathesis makes requests out of /openapi.json, sensible and not."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.serving import Served

PHASES = ("examples", "coverage", "fuzzing", "stateful")

# Not among them is positive_data_acceptance: a schema cannot tell which goals there are, nor which keys were used.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ensure_resource_availability",
)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Served]:
    """A service of one's own: its projections are rebuilt and rolled back at random."""
    served = Served(tmp_path)
    try:
        served.make_goal(served.make_user("alice"), "Run a marathon")
        yield served
        served.verified()
    finally:
        served.kill()
        served.client.close()


def run(served: Served, report: Path) -> tuple[str, dict[str, Any]]:
    """What schemathesis says, in words and as a report."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{served.url}/openapi.json",
        "--phases", ",".join(PHASES), "--checks", ",".join(CHECKS), "--max-examples", "10", "--seed", "1",
        "--continue-on-failure", "--request-timeout", "10", "--generation-database", "none", "--no-color",
        # With text/event-stream, which the description names too, an answer would have no end.
        "--header", "Accept: application/json",
        "--report", "json", "--report-json-path", str(report),
    ]  # fmt: skip
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, cwd=report.parent, timeout=120
    )
    return done.stdout + done.stderr, msgspec.json.decode(report.read_bytes())


def test_no_request_made_from_the_description_is_answered_otherwise_than_described(own: Served, tmp_path: Path) -> None:
    described = own.client.get("/openapi.json").json()["paths"]

    said, report = run(own, tmp_path / "report.json")

    assert report["failures"] == [], said
    assert report["errors"] == [], said
    assert report["complete"], said
    operations = sum(len(methods) for methods in described.values())
    assert report["operations"]["tested"] == report["operations"]["selected"] == operations
    # The description holds no examples.
    assert {name: phase["status"] for name, phase in report["phases"].items()} == {
        "examples": "skip", "coverage": "success", "fuzzing": "success", "stateful": "success",
    }  # fmt: skip
    assert report["test_cases"]["generated"] > 1000
    told = [msgspec.json.decode(line) for line in own.output.read_text().split("\n") if line.startswith("{")]
    assert [line for line in told if line["level"] not in ("info", "debug")] == []
