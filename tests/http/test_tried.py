"""A dry run that answers how goals would differ, or the tree as it would be: of commands, batches and imports."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.serving import Served, refused

Json = dict[str, Any]
Tries = tuple[str, str, Json]

OUTLINE = b"- Run a marathon\n  - [x] Run 10 km\n"


def shown(goals: list[Json]) -> list[Json]:
    """Without ids that the service makes, and times that are now if nobody names others."""
    now = {"id", "parent_id", "start", "end", "created_at", "updated_at"}
    return [{name: value for name, value in goal.items() if name not in now} for goal in goals]


def summary(answer: Json) -> Json:
    """What of a diff can be known beforehand."""
    goals = [
        (goal["name"], goal["path"], goal["under"], [one["kind"] for one in goal["changes"]])
        for goal in answer["goals"]
    ]
    return {"goals": goals, **{name: answer[name] for name in ("user", "from", "summary", "progress")}}


@pytest.fixture(params=["command", "batch", "creation", "import", "nothing"])
def sent(request: pytest.FixtureRequest, served: Served, user: str) -> Callable[[str], Json]:
    """Sends one request, with a query."""
    top = served.make_goal(user, "top")
    below = served.make_goal(user, "below", parent_id=top["id"])
    batch = [{"type": "ChangeGoal", "id": below["id"], "name": "b"}, {"type": "CreateGoal", "name": "c"}]
    method, path, body = {
        "command": ("POST", f"/v2/goals/{top['id']}/complete", {"json": {"cascade": True}}),
        "batch": ("POST", f"/v2/users/{user}/commands", {"json": {"commands": batch}}),
        "creation": ("POST", f"/v2/users/{user}/goals", {"json": {"name": "c", "parent_id": top["id"]}}),
        "import": ("POST", f"/v2/users/{user}/import", {"content": OUTLINE}),
        "nothing": ("PATCH", f"/v2/goals/{top['id']}", {"json": {"name": "top"}}),
    }[request.param]

    def send(query: str) -> Json:
        answer = served.client.request(method, f"{path}{query}", **body)  # type: ignore[arg-type]
        assert answer.is_success, answer.text
        assert "Position" not in answer.headers or not query
        answered: Json = answer.json()
        return answered

    return send


def test_how_goals_would_differ_is_how_they_differ_when_it_is_done(
    served: Served, user: str, sent: Callable[[str], Json]
) -> None:
    before = served.events(f"/users/{user}")[-1]["position"]

    tried = sent("?dry_run=true&answer=diff")
    sent("")

    done = served.get(f"/v2/users/{user}/diff", **{"from": before})
    assert (tried["dry_run"], tried["events_count"]) == (True, sum(len(goal["events"]) for goal in done["goals"]))
    assert summary(tried["result"]) == summary(done)
    assert tried["result"]["to"]["position"] == done["to"]["position"]
    assert not any("events" in goal for goal in tried["result"]["goals"])


def test_the_tree_as_it_would_be_is_the_tree_when_it_is_done(
    served: Served, user: str, sent: Callable[[str], Json]
) -> None:
    before = served.get(f"/v2/users/{user}/goals", view="flat")

    tried = sent("?dry_run=true&answer=tree")["result"]

    assert served.get(f"/v2/users/{user}/goals", view="flat") == before
    sent("")
    done = served.get(f"/v2/users/{user}/goals", view="flat")
    assert shown(tried.pop("goals")) == shown(done.pop("goals"))
    assert tried == done


@pytest.mark.parametrize("query", ["answer=diff", "dry_run=false&answer=tree", "dry_run=true&answer=goals",
                                   "dry_run=true&answer=null", "dry_run=true&answer="])  # fmt: skip
def test_an_answer_without_a_dry_run_or_of_another_kind_is_refused(served: Served, user: str, query: str) -> None:
    goal = served.make_goal(user, "top")
    sending = {
        f"/v2/goals/{goal['id']}/complete": {},
        f"/v2/users/{user}/commands": {"json": {"commands": [{"type": "CreateGoal", "name": "c"}]}},
        f"/v2/users/{user}/import": {"content": OUTLINE},
    }

    for path, body in sending.items():
        answer = served.client.post(f"{path}?{query}", **body)  # type: ignore[arg-type]
        assert refused(answer, 422, "invalid-value")["errors"][0]["parameter"] == "answer"
    assert len(served.events(f"/users/{user}")) == 2


def test_a_refusal_is_the_same_whatever_is_to_be_answered(served: Served, user: str) -> None:
    goal = served.make_goal(user, "top")
    path = f"/v2/goals/{goal['id']}/move?dry_run=true"

    answer = served.client.post(f"{path}&answer=diff", json={"parent_id": goal["id"]})

    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/under-itself")
    assert answer.json()["dry_run"] is True
