"""docker-compose.yml: valid, and as careful as it says."""

import ipaddress
import re
import subprocess
import sys
import tomllib
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pytest
from ruamel.yaml import YAML

from es_goals.cli import main
from es_goals.server import GRACEFUL_SECONDS
from es_goals.settings import PREFIX, Settings, from_env
from tests.engines import ROOT

FILE = ROOT / "docker-compose.yml"


@pytest.fixture(scope="module")
def compose() -> Any:
    """The file, read."""
    return YAML(typ="safe", pure=True).load(FILE)


@pytest.fixture(scope="module")
def service(compose: Any) -> Any:
    """Its only service."""
    [service] = compose["services"].values()
    return service


@pytest.fixture(scope="module")
def settings(service: Any) -> Settings:
    """What the service in the container reads."""
    return from_env(service["environment"])


def image_steps(service: Any) -> list[list[str]]:
    """The instructions of the image, each as its words."""
    text = service["build"]["dockerfile_inline"].replace("\\\n", " ")
    return [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]


def test_it_is_valid_by_the_schema_of_the_compose_specification() -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_variable_of_ours_is_a_setting(service: Any) -> None:
    known = {PREFIX + name.upper() for name in Settings.__struct_fields__}

    assert {name for name in service["environment"] if name.startswith(PREFIX)} <= known


def test_every_variable_is_text_that_the_settings_take(service: Any, settings: Settings) -> None:
    assert all(isinstance(value, str) for value in service["environment"].values())
    assert settings.db


def test_it_listens_on_loopback_only(service: Any, settings: Settings) -> None:
    assert ipaddress.ip_address(settings.host).is_loopback
    assert service["network_mode"] == "host"
    assert "ports" not in service


def test_it_is_not_root_in_the_container(service: Any) -> None:
    user = str(service["user"])
    [in_image] = [words[1] for words in image_steps(service) if words[0] == "USER"]

    assert user.partition(":")[0] not in ("", "0", "root")
    assert in_image not in ("0", "root")
    assert f"--uid {user}" in service["build"]["dockerfile_inline"]


def test_it_can_write_nothing_but_its_volume_and_tmp(service: Any, settings: Settings, compose: Any) -> None:
    [(volume, place)] = [entry.split(":") for entry in service["volumes"]]

    assert service["read_only"] is True
    assert list(service["tmpfs"]) == ["/tmp"]  # noqa: S108
    assert volume in compose["volumes"]
    assert PurePosixPath(settings.db).parent == PurePosixPath(place)
    assert f"install -d -o goals {place}" in service["build"]["dockerfile_inline"]


def test_it_has_no_powers(service: Any) -> None:
    assert list(service["cap_drop"]) == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not {"privileged", "cap_add", "devices", "pid", "ipc"} & set(service)


def test_its_health_is_checked_where_it_listens(service: Any, settings: Settings) -> None:
    kind, *command = service["healthcheck"]["test"]
    [url] = re.findall(r"http://[^']+", " ".join(command))

    assert kind == "CMD"
    assert urlsplit(url).netloc == f"{settings.host}:{settings.port}"
    assert urlsplit(url).path in ("/readyz", "/healthz")
    compile(command[-1], "healthcheck", "exec")


def test_it_has_the_time_to_end_in_good_order(service: Any) -> None:
    assert int(service["stop_grace_period"].removesuffix("s")) > GRACEFUL_SECONDS


def test_the_image_runs_a_command_that_there_is(service: Any) -> None:
    steps = {words[0]: words[1] for words in image_steps(service)}
    [program] = re.findall(r'"([^"]+)"', steps["ENTRYPOINT"])
    command, *options = service.get("command") or re.findall(r'"([^"]+)"', steps["CMD"])
    known = {option for parameter in main.commands[command].params for option in parameter.opts}

    assert program in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert set(options) <= known


def test_the_image_is_built_from_what_is_there_with_a_python_that_is_new_enough(service: Any) -> None:
    steps = image_steps(service)
    [base] = [words[1] for words in steps if words[0] == "FROM"]
    version = tuple(int(part) for part in base.removeprefix("python:").partition("-")[0].split("."))
    [install] = [words[1] for words in steps if words[0] == "RUN"]
    [constraints] = re.findall(r"/src/(\S+\.txt)", install)
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()

    assert version >= (3, 11)
    assert (ROOT / constraints).is_file()
    assert not {"constraints.txt", "pyproject.toml", "README.md", "LICENSE", "es_goals", "projections"} & set(ignored)
    assert {".git", ".venv", "*.db", "*.db-*"} <= set(ignored)
