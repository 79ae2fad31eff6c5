"""Clients that are generated from what the service says of itself: it is valid, and they take the README's tour."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.needs import lacking
from tests.support.serving import Served

TOOLS = Path(sys.prefix) / "client" / "bin"

TOUR = """
import sys

from generated import Client
from generated.api.goals import (
    delete_v2_goals_goal_id, get_v2_users_user_goals, post_v2_goals_goal_id_complete, post_v2_goals_goal_id_restore,
    post_v2_users_user_goals,
)
from generated.api.users import post_v2_users, post_v2_users_user_commands
from generated.models import (
    Batch, Completion, CreateGoal, CreateGoalType, NewGoal, NewUser, Restoration,
)

client = Client(base_url=sys.argv[1], raise_on_unexpected_status=True)
post_v2_users.sync(client=client, body=NewUser(name="alice"))
top = post_v2_users_user_goals.sync("alice", client=client, body=NewGoal(name="Run a marathon"))
kind, names = CreateGoalType.CREATEGOAL, ["Run 10 km", "Run 21 km"]
commands = [CreateGoal(type_=kind, name=name, parent_id=top.id) for name in names]
batch = post_v2_users_user_commands.sync("alice", client=client, body=Batch(commands=commands), idempotency_key="k")
assert [one.name for one in batch.results] == names, batch
completed = post_v2_goals_goal_id_complete.sync(top.id, client=client, body=Completion(cascade=True))
assert completed.status == "done" and completed.end is not None, completed
assert delete_v2_goals_goal_id.sync(top.id, client=client).deleted == 3
assert get_v2_users_user_goals.sync("alice", client=client).goals == []
past = get_v2_users_user_goals.sync("alice", client=client, as_of="7", depth=0)
assert [(one.name, one.progress.completed) for one in past.goals] == [("Run a marathon", 2)], past
assert post_v2_goals_goal_id_restore.sync(top.id, client=client, body=Restoration()).status == "done"
assert post_v2_users.sync(client=client, body=NewUser(name="alice")).status == 409
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Served]:
    with Served(tmp_path) as served:
        yield served


@pytest.fixture
def description(own: Served, tmp_path: Path) -> Path:
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(own.get("/openapi.json")))
    return path


def run(tool: str, *arguments: object) -> str:
    """What a tool of an environment of its own tells."""
    if not (TOOLS / tool).exists():
        lacking("what generates clients: make .venv/client")
    done = subprocess.run([TOOLS / tool, *map(str, arguments)], capture_output=True, text=True, timeout=120)  # noqa: S603
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_the_service_says_of_itself_is_valid(description: Path) -> None:
    assert run("openapi-spec-validator", description).rstrip().endswith("OK")


def test_what_is_no_description_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "openapi.json"
    path.write_text('{"openapi": "3.1.0", "info": {}}')

    with pytest.raises(AssertionError):
        run("openapi-spec-validator", path)


def test_a_generated_client_takes_the_tour(own: Served, description: Path) -> None:
    client = description.parent / "generated"
    run("openapi-python-client", "generate", "--path", description, "--output-path", client, "--meta", "none")
    tour = description.parent / "tour.py"
    tour.write_text(TOUR)

    run("python", tour, own.url)
