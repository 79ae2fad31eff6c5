"""A command more takes what the README's recipe names, and nothing else: here one is added to a copy and served."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import ROOT
from tests.support.serving import Served

# For each file of the recipe: before what, and which text is added there.
STAR: dict[str, list[tuple[str, str]]] = {
    "es_goals/events.py": [
        (
            "GoalEvent = (",
            '''class GoalStarred(Struct, frozen=True, gc=False):
    """A goal got so many stars."""

    goal_id: str
    stars: int
    undoes: str | None = None


''',
        ),
        (")\nAccountEvent = (", "    | GoalStarred\n"),
    ],
    "es_goals/goals/commands.py": [
        (
            "Command = ",
            '''class StarGoal(Struct, frozen=True):
    """Give a goal stars."""

    goal: Ref
    stars: int


''',
        ),
        ("CreateGoal | ChangeGoal", "StarGoal | "),
    ],
    "es_goals/goals/rules.py": [
        (
            "from es_goals.values import",
            "from es_goals.events import GoalStarred\nfrom es_goals.goals.commands import StarGoal\n",
        ),
        (
            "        case _:\n            assert_never(command)",
            """        case StarGoal():
            goal = goals.find(command.goal, length=limits.name)
            if command.stars > 5:
                raise InvalidValue("stars", "at most 5 stars", f"{command.stars}")
            return () if goal.stars == command.stars else (GoalStarred(goal.id, command.stars),)
""",
        ),
    ],
    "es_goals/goals/state.py": [
        ("from es_goals.values import", "from es_goals.events import GoalStarred\n"),
        ("\n\nclass Goals(", "    stars: int = 0\n"),
        (
            "        case _:\n            assert_never(event)",
            """        case GoalStarred():
            goal.stars = event.stars
""",
        ),
    ],
    "es_goals/http/goals/commands.py": [
        (
            "class OnWire(",
            '''class Starring(Struct, forbid_unknown_fields=True):
    """Members of StarGoal."""

    stars: int

    def command(self, goal_id: str) -> domain.StarGoal:
        """What it asks of the rules."""
        return domain.StarGoal(goal_id, self.stars)


''',
        ),
        (
            ')  # fmt: skip\n"""Adding a command',
            """    OnWire(
        tag="StarGoal", like="POST …/star", members=Starring, body=("Stars", "How many stars a goal gets."),
        example={"stars": 5},
        method="post", path=f"{GOAL}/star", summary="Star a goal", text="What was given before is replaced.",
    ),
""",
        ),
    ],
    "es_goals/goals/reversals.py": [
        ("from es_goals.goals.commands import", "from es_goals.events import GoalStarred\n"),
        ("        case _:\n            assert_never(event)", "        case GoalStarred():\n            return was\n"),
    ],
    "es_goals/goals/drafts.py": [
        ("from es_goals.goals.commands import", "from es_goals.events import GoalStarred\n"),
        ("        case _:\n            assert_never(event)", "        case GoalStarred():\n            return ()\n"),
    ],
    "es_goals/reads/overviews/sentences.py": [
        ("\nNames = Callable", "from es_goals.events import GoalStarred\n"),
        ('    GoalMoved: "moved",', '    GoalStarred: "gave stars to",\n'),
        (
            "        case _:\n            assert_never(event)",
            """        case GoalStarred():
            return f"gave “{old}” {event.stars} stars"
""",
        ),
    ],
    "projections/goal_tree.py": [
        ("REVISION = ", "from es_goals.events import GoalStarred\n\n"),
        (
            "        case _:\n            if isinstance(event, AccountEvent)",
            """        case GoalStarred():
            return structs.replace(row, updated_at=at, revision=seen)
""",
        ),
    ],
}


def insert(file: Path, before: str, text: str) -> None:
    """Add a text before the one place where another one stands."""
    source = file.read_text("utf-8")
    assert source.count(before) == 1, f"expected {before!r} once in {file}; found it {source.count(before)} times"
    file.write_text(source.replace(before, text + before), "utf-8")


@pytest.fixture(scope="module")
def starred(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that runs from a copy of the packages, in which goals can be given stars."""
    code, data = tmp_path_factory.mktemp("code"), tmp_path_factory.mktemp("data")
    for package in ("es_goals", "projections"):
        shutil.copytree(ROOT / package, code / package)
    for path, insertions in STAR.items():
        for before, text in insertions:
            insert(code / path, before, text)
    served = Served(data, workers=1, env={"PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"})
    try:
        yield served
    finally:
        served.end()


def test_a_new_command_has_its_route_its_form_in_a_batch_its_event_and_its_sentence(starred: Served) -> None:
    starred.make_user("alice")
    goal = starred.make_goal("alice", "Run")

    own = starred.order(goal, "star", stars=3, reason="a good one")
    in_batch = starred.post(
        "/v2/users/alice/commands", {"commands": [{"type": "StarGoal", "id": goal["id"], "stars": 5}]}
    )
    again = starred.order(goal, "star", stars=5)
    refused = starred.post(f"/v2/goals/{goal['id']}/star", {"stars": 6})

    assert own["revision"] == 2
    assert in_batch.json()["results"] == [again]
    assert refused.json()["errors"] == [{"detail": "expected at most 5 stars; found 6", "pointer": "/stars"}]
    assert starred.get(f"/v2/goals/{goal['id']}")["revision"] == 3
    assert [(event["type"], event["data"].get("stars")) for event in starred.events(f"/goals/{goal['id']}")] == [
        ("GoalCreated", None), ("GoalStarred", 3), ("GoalStarred", 5),
    ]  # fmt: skip
    assert "alice  gave “Run” 3 stars  (a good one)\n" in starred.run("replay").stdout
    assert starred.run("verify").returncode == 0


def test_a_new_command_describes_itself(starred: Served) -> None:
    document = starred.get("/openapi.json")

    schemas = document["components"]["schemas"]
    assert document["paths"]["/v2/goals/{goal_id}/star"]["post"]["summary"] == "Star a goal"
    assert schemas["Stars"]["required"] == ["stars"]
    assert {"type", "id", "stars"} == set(schemas["StarGoal"]["required"])
    assert "#/components/schemas/StarGoal" in str(schemas["Batch"])


def test_the_recipe_names_the_files_that_a_new_command_takes() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    recipe = readme[readme.index("**A new command**") :].partition("\n\n")[0]

    assert set(re.findall(r"`((?:es_goals|projections)/[\w/]+\.py)`", recipe)) == set(STAR)
