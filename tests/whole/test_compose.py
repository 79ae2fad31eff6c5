"""docker-compose.yml: valid, and as careful as it says."""

import ipaddress
import re
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pytest
from psycopg.conninfo import conninfo_to_dict
from ruamel.yaml import YAML

from es_goals.cli import main
from es_goals.server import GRACEFUL_SECONDS
from es_goals.settings import PREFIX, SECRET, Settings, from_env
from tests.support.engines import ROOT

FILE = ROOT / "docker-compose.yml"
GUIDE = (ROOT / "docs" / "many-machines.md").read_text("utf-8")
COMPOSE: Any = YAML(typ="safe", pure=True).load(FILE)
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "over-achiever"}
LASTING = {name: service for name, service in SERVICES.items() if service["restart"] == "unless-stopped"}
SERVING = {name: service for name, service in OURS.items() if name in LASTING}
FILES = {f"{PREFIX}{name.upper()}_FILE" for name in SECRET}
DATABASES = {name: service for name, service in SERVICES.items() if service["image"].startswith("postgres")}

MANY = {name: service for name, service in SERVICES.items() if "profiles" in service}
NODES = {name: service for name, service in SERVING.items() if name in MANY}

each = pytest.mark.parametrize("any_service", SERVICES.values(), ids=SERVICES.keys())
each_of_ours = pytest.mark.parametrize("our_service", OURS.values(), ids=OURS.keys())
each_of_many = pytest.mark.parametrize("one_of_many", MANY.values(), ids=MANY.keys())
each_that_lasts = pytest.mark.parametrize("lasting", LASTING.values(), ids=LASTING.keys())
each_that_serves = pytest.mark.parametrize("serving", SERVING.values(), ids=SERVING.keys())


@pytest.fixture(scope="module")
def service() -> Any:
    """The single node."""
    return SERVICES["es-goals"]


def settings_of(service: Any) -> Settings:
    """What the service in the container reads, but for what is in files."""
    return from_env({name: value for name, value in service["environment"].items() if name not in FILES})


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


def test_without_a_profile_only_the_single_node_starts() -> None:
    assert [name for name, one in SERVICES.items() if "profiles" not in one] == ["es-goals"]
    assert all(one["profiles"] == ["many"] for name, one in SERVICES.items() if name != "es-goals")
    assert "depends_on" not in SERVICES["es-goals"]


def test_nothing_in_it_is_filled_in_from_the_environment() -> None:
    """What is missing would be an error also for who starts the single node only."""
    assert "$" not in FILE.read_text("utf-8").replace("$$", "")


@each_of_ours
def test_every_variable_of_ours_is_a_setting(our_service: Any) -> None:
    known = {PREFIX + name.upper() for name in Settings.__struct_fields__}

    assert {name for name in our_service["environment"] if name.startswith(PREFIX)} <= known | FILES


@each_of_ours
def test_every_variable_is_text_that_the_settings_take(our_service: Any) -> None:
    assert all(isinstance(value, str) for value in our_service["environment"].values())
    assert settings_of(our_service).db


def test_the_single_node_is_published_on_loopback_only(service: Any) -> None:
    settings = settings_of(service)

    assert ipaddress.ip_address(settings.host).is_unspecified
    assert service["ports"] == [f"127.0.0.1:{settings.port}:{settings.port}"]
    assert not {"network_mode", "networks"} & set(service)


@each_of_many
def test_it_is_on_the_hosts_loopback(one_of_many: Any) -> None:
    assert one_of_many["network_mode"] == "host"
    assert "ports" not in one_of_many


@pytest.mark.parametrize("node", NODES.values(), ids=NODES.keys())
def test_a_node_listens_on_loopback_only(node: Any) -> None:
    assert ipaddress.ip_address(settings_of(node).host).is_loopback


@each_that_serves
def test_it_has_accounts(serving: Any) -> None:
    assert settings_of(serving).open is False
    assert "--open" not in FILE.read_text("utf-8")


def test_only_what_is_behind_the_proxy_believes_what_it_says(service: Any) -> None:
    assert [settings_of(node).proxies for node in NODES.values()] == ["127.0.0.1"] * 2
    assert settings_of(service).proxies == ""


def test_the_proxy_listens_on_loopback_only() -> None:
    assert re.findall(r"\blisten ([^;]+);", SERVICES["proxy"]["command"][0]) == ["127.0.0.1:8080"]


@pytest.mark.parametrize("database", DATABASES.values(), ids=DATABASES.keys())
def test_a_database_listens_on_loopback_only(database: Any) -> None:
    listening = re.findall(r"exec postgres .*listen_addresses=(\S+)", database["command"][0])

    assert listening == ["127.0.0.1"]
    assert database["command"] == SERVICES["primary"]["command"]


def test_all_ports_are_different() -> None:
    ports = [settings_of(one).port for one in SERVING.values()]
    ports += [int(one["environment"]["PGPORT"]) for one in DATABASES.values()]

    assert len({8080, *ports}) == len(SERVING) + len(DATABASES) + 1


def test_each_database_knows_the_other_one() -> None:
    ports = {one["environment"]["PGPORT"]: one["environment"]["OTHER_PORT"] for one in DATABASES.values()}

    assert [ports[ports[port]] for port in ports] == list(ports)
    assert all(one["environment"]["NAME"] == name for name, one in DATABASES.items())


def test_the_nodes_use_both_databases_and_the_proxy_all_nodes() -> None:
    urls = re.findall(r"^\$ echo \"(.+)\" >secrets/", GUIDE, re.MULTILINE)
    [at] = re.findall(r"^\$ at='(.+)'$", GUIDE, re.MULTILINE)
    ports = ",".join(one["environment"]["PGPORT"] for one in DATABASES.values())
    behind = re.findall(r"\bserver 127.0.0.1:(\d+)", SERVICES["proxy"]["command"][0])

    assert len(urls) == 2
    for url in urls:
        database = conninfo_to_dict(re.sub(r"\$\(.*\)", "password", url).replace("$at", at))
        assert (database["host"], database["port"]) == ("127.0.0.1,127.0.0.1", ports)
        assert database["target_session_attrs"] == "read-write"
    assert behind == [str(settings_of(node).port) for node in NODES.values()]


def test_no_secret_is_in_it() -> None:
    named = {name: Path(secret["file"]) for name, secret in COMPOSE["secrets"].items()}

    assert named == {name: Path("secrets", name) for name in named}
    assert all(set(one.get("secrets", [])) <= set(named) for one in SERVICES.values())
    assert not re.search(r"://[^@/\s]*:[^@/\s]*@|\bpassword=|PASSWORD '", FILE.read_text("utf-8"))


@pytest.mark.parametrize("file", [".dockerignore", ".gitignore"])
def test_no_secret_is_in_the_image_or_in_git(file: str) -> None:
    assert "secrets" in [line.rstrip("/") for line in (ROOT / file).read_text("utf-8").splitlines()]


def test_the_nodes_do_not_have_the_owners_password() -> None:
    secrets = {name: SERVICES[name]["secrets"] for name in ("migrate", *NODES)}

    assert secrets == {"migrate": ["owner-db"], **{name: ["service-db"] for name in NODES}}
    for name, has in secrets.items():
        files = {value for variable, value in SERVICES[name]["environment"].items() if variable in FILES}
        assert files == {f"/run/secrets/{secret}" for secret in has}


@each
def test_it_is_not_root_in_its_container(any_service: Any) -> None:
    assert str(any_service["user"]).partition(":")[0] not in ("", "0", "root")


def test_the_image_has_the_user_that_our_services_run_as(service: Any) -> None:
    [in_image] = [words[1] for words in image_steps(service) if words[0] == "USER"]

    assert in_image not in ("0", "root")
    for one in OURS.values():
        assert f"--uid {one['user']} " in service["build"]["dockerfile_inline"]


def test_the_image_is_built_once_and_never_fetched(service: Any) -> None:
    assert [name for name, one in SERVICES.items() if "build" in one] == ["es-goals"]
    assert all(one["pull_policy"] == "never" for one in OURS.values() if one is not service)


@each
def test_it_writes_nothing_but_volumes_and_tmp(any_service: Any) -> None:
    assert any_service["read_only"] is True
    assert [place.partition(":")[0] for place in any_service["tmpfs"]] == ["/tmp"]  # noqa: S108
    assert {entry.split(":")[0] for entry in any_service.get("volumes", [])} <= set(COMPOSE["volumes"])
    assert "configs" not in any_service, "compose refuses them where the container is read-only"


@pytest.mark.parametrize("database", DATABASES.values(), ids=DATABASES.keys())
def test_a_databases_data_is_on_its_own_volume(database: Any) -> None:
    [(volume, place)] = [entry.split(":") for entry in database["volumes"]]

    assert volume == database["environment"]["NAME"]
    assert PurePosixPath(database["environment"]["PGDATA"]).parent == PurePosixPath(place)


def test_the_single_nodes_log_is_on_its_volume(service: Any) -> None:
    [(_, place)] = [entry.split(":") for entry in service["volumes"]]

    assert PurePosixPath(settings_of(service).db).parent == PurePosixPath(place)
    assert f"install -d -o goals {place}" in service["build"]["dockerfile_inline"]


@each
def test_it_has_no_powers(any_service: Any) -> None:
    assert list(any_service["cap_drop"]) == ["ALL"]
    assert "no-new-privileges:true" in any_service["security_opt"]
    assert not {"privileged", "cap_add", "devices", "pid", "ipc"} & set(any_service)


@each
def test_it_has_a_limit_of_memory(any_service: Any) -> None:
    assert re.fullmatch(r"\d+[mg]", any_service["mem_limit"])


@each_that_lasts
def test_its_health_is_checked(lasting: Any) -> None:
    assert lasting["healthcheck"]["test"][0] == "CMD"
    assert {"interval", "timeout", "retries"} <= set(lasting["healthcheck"])


@each_that_serves
def test_its_health_is_checked_where_it_listens(serving: Any) -> None:
    settings = settings_of(serving)
    kind, *command = serving["healthcheck"]["test"]
    [url] = re.findall(r"http://[^']+", " ".join(command))

    assert kind == "CMD"
    assert urlsplit(url).netloc == f"127.0.0.1:{settings.port}"
    assert urlsplit(url).path in ("/readyz", "/healthz")
    compile(command[-1], "healthcheck", "exec")


@each_that_lasts
def test_it_has_the_time_to_end_in_good_order(lasting: Any) -> None:
    assert int(lasting["stop_grace_period"].removesuffix("s")) > GRACEFUL_SECONDS


def test_all_but_the_migration_last() -> None:
    assert set(SERVICES) - set(LASTING) == {"migrate"}
    assert all(
        waits["condition"] == ("service_healthy" if name in LASTING else "service_completed_successfully")
        for one in SERVICES.values()
        for name, waits in one.get("depends_on", {}).items()
    )


@each_of_ours
def test_it_runs_a_command_that_there_is(service: Any, our_service: Any) -> None:
    steps = {words[0]: words[1] for words in image_steps(service)}
    [program] = re.findall(r'"([^"]+)"', steps["ENTRYPOINT"])
    command, *options = our_service.get("command") or re.findall(r'"([^"]+)"', steps["CMD"])
    known = {option for parameter in main.commands[command].params for option in parameter.opts}

    assert program in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert {option for option in options if option.startswith("-")} <= known


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
