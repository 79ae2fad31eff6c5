"""The service against its own description: schemathesis makes requests out of /openapi.json, sensible and not."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.serving import Served

PHASES = {"examples": "success", "coverage": "success", "fuzzing": "success", "stateful": "success"}
"""How each ends."""

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
    "ignored_auth",
)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service of one's own, with accounts: its projections are rebuilt and rolled back at random."""
    folder = tmp_path_factory.mktemp("described")
    with Served(folder, accounts=True, env={"ES_GOALS_REQUESTS_LIMIT": "0"}) as served:
        served.make_goal(served.make_user("alice"), "Run a marathon")
        yield served


def run(served: Served, report: Path, *options: str, phases: Mapping[str, str] = PHASES) -> dict[str, Any]:
    """The report of schemathesis, which must have found nothing."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{served.url}/openapi.json",
        "--phases", ",".join(phases), "--checks", ",".join(CHECKS), "--seed", "1",
        "--continue-on-failure", "--request-timeout", "10", "--generation-database", "none", "--no-color",
        # With text/event-stream, which the description names too, an answer would have no end.
        "--header", "Accept: application/json",
        "--report", "json", "--report-json-path", str(report), *options,
    ]  # fmt: skip
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, cwd=report.parent, timeout=300
    )
    found: dict[str, Any] = msgspec.json.decode(report.read_bytes())
    said = done.stdout + done.stderr
    assert found["failures"] == [], said
    assert found["errors"] == [], said
    assert found["complete"], said
    assert found["operations"]["tested"] == found["operations"]["selected"] == len(operations(served)), said
    assert {name: phase["status"] for name, phase in found["phases"].items()} == {
        **dict.fromkeys(PHASES, "skip"), **phases,
    }, said  # fmt: skip
    told = [msgspec.json.decode(line) for line in served.output.read_text().split("\n") if line.startswith("{")]
    assert [line for line in told if line["level"] not in ("info", "debug")] == []
    return found


def operations(served: Served) -> dict[str, dict[str, Any]]:
    """All that is described, by method and path."""
    paths = served.client.get("/openapi.json").json()["paths"]
    return {f"{method.upper()} {path}": one for path, item in paths.items() for method, one in item.items()}


def test_nobody_is_answered_otherwise_than_described_nor_let_in(own: Served, tmp_path: Path) -> None:
    # No value is wrong for somebody who is not let in, so none is made that is.
    options = ("--max-examples", "1", "--mode", "positive", "--generation-with-security-parameters", "true")
    before = own.get("/readyz")["position"]

    report = run(own, tmp_path / "report.json", *options, phases={"fuzzing": "success"})

    asking = {name for name, one in operations(own).items() if one["security"]}
    assert set(report["warnings"]["missing_auth"]) - {"POST /v2/sessions"} == asking
    assert own.get("/readyz")["position"] == before


def test_no_request_made_from_the_description_is_answered_otherwise_than_described(own: Served, tmp_path: Path) -> None:
    token = f"Authorization: Bearer {own.token}"

    report = run(own, tmp_path / "report.json", "--max-examples", "2", "--header", token)

    assert report["test_cases"]["generated"] > 1000
    assert set(report["warnings"]["missing_auth"]) <= {"POST /v2/sessions"}, "which refuses passwords that are made up"
    assert own.client.get("/v2/users").status_code == 200, "expected a token that is good to the end"


@pytest.mark.parametrize("token", [None, "made up"])
@pytest.mark.parametrize(
    "path", ["/openapi.json", "/docs", "/docs/docs.js", "/docs/swagger-ui.css", "/problems/unauthenticated", "/"]
)
def test_what_describes_the_service_is_for_everybody(own: Served, path: str, token: str | None) -> None:
    with own.as_(token) as client:
        for method in ("GET", "HEAD"):
            assert client.request(method, path).status_code == 200
        assert client.post(path).status_code == 405


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_method_that_a_path_for_everybody_does_not_take_is_told_to_everybody(own: Served, path: str) -> None:
    with own.as_(None) as client:
        assert client.patch(path).status_code == 405
        assert client.patch("/v2/users").status_code == 401
