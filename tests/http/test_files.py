"""Files of goals over HTTP: imported as one command, all or nothing, and exported so that they come back the same."""

import json
import uuid
from typing import Any

import pytest

from tests.support.serving import Served, refused

Json = dict[str, Any]
OUTLINE = b"- Run a marathon\n  - [x] Run 10 km\n  - Run 21 km\n- \n- Learn Arabic\n"


def names(goals: list[Json]) -> Json:
    return {goal["name"]: names(goal["sub_goals"]) for goal in goals}


def tree(served: Served, user: str) -> list[Json]:
    goals: list[Json] = served.get(f"/v2/users/{user}/goals")["goals"]
    return goals


def test_a_file_becomes_goals_in_one_command(served: Served, user: str) -> None:
    answer = served.client.post(f"/v2/users/{user}/import", content=OUTLINE, headers={"Content-Type": "text/markdown"})

    assert answer.status_code == 200, answer.text
    read = answer.json()
    assert (read["goals"], read["left_out"]) == (4, [{"what": "blank rows", "lines": [4]}])
    assert "imported 4 goals" in read["summary"]
    assert read["position"] == int(answer.headers["Position"])
    assert names(tree(served, user)) == {"Run a marathon": {"Run 10 km": {}, "Run 21 km": {}}, "Learn Arabic": {}}
    commands = {event["command"] for event in served.events(f"/users/{user}") if event["goal_id"]}
    assert len(commands) == 1


def test_a_file_that_is_only_tried_makes_nothing(served: Served, user: str) -> None:
    answer = served.client.post(f"/v2/users/{user}/import?dry_run=true", content=OUTLINE)

    tried = answer.json()
    assert (tried["dry_run"], tried["events_count"], tried["result"]["goals"]) == (True, 5, 4)
    assert "Position" not in answer.headers
    assert "would import 4 goals" in tried["result"]["summary"]
    assert tree(served, user) == []


def test_the_same_file_twice_with_a_key_is_imported_once(served: Served, user: str) -> None:
    key = {"Idempotency-Key": "the file"}
    first = served.client.post(f"/v2/users/{user}/import", content=OUTLINE, headers=key)
    again = served.client.post(f"/v2/users/{user}/import", content=OUTLINE, headers=key)

    assert (first.status_code, again.status_code) == (200, 200), again.text
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Position"] == first.headers["Position"]
    assert len(tree(served, user)) == 2


def test_the_same_file_twice_says_so_and_goes_on(served: Served, user: str) -> None:
    served.client.post(f"/v2/users/{user}/import", content=OUTLINE)
    again = served.client.post(f"/v2/users/{user}/import", content=OUTLINE).json()

    assert "goals of these names are there already: 'Run a marathon', 'Learn Arabic'" in again["summary"]
    assert len(tree(served, user)) == 4


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "expected"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (b"<opml><body><outline text='a'></body></opml>", "line 1"),
        (b'{"goals": [{"name": 1}]}', "line 1"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_and_nothing_recorded(
    served: Served, user: str, body: bytes, said: str
) -> None:
    problem = refused(served.client.post(f"/v2/users/{user}/import", content=body), 422, "bad-file")

    assert said in problem["detail"]
    assert tree(served, user) == []


def test_a_format_or_a_media_type_that_is_none_is_refused(served: Served, user: str) -> None:
    path = f"/v2/users/{user}/import"

    wrong = refused(served.client.post(f"{path}?format=docx", content=OUTLINE), 422, "invalid-value")
    assert wrong["errors"][0]["parameter"] == "format"
    refused(served.client.post(path, content=OUTLINE, headers={"Content-Type": "image/png"}), 415, "media-type")
    refused(served.client.post(path, content=b"x" * 1_048_577), 413, "body-too-large")
    strict = refused(served.client.post(f"{path}?strict=true", content=OUTLINE), 422, "bad-file")
    assert "1 blank row" in strict["detail"]


@pytest.mark.parametrize("format", ["json", "opml", "csv"])
def test_what_is_exported_comes_back_the_same(served: Served, user: str, format: str) -> None:
    top = served.make_goal(user, "Run a marathon", due="2027-04-25T08:00:00Z", description="Berlin\n\nin the rain")
    served.make_goal(user, "Run “10” km & more", parent_id=top["id"], start="2026-11-01T08:00:00Z")
    served.order(served.make_goal(user, "Buy shoes", parent_id=top["id"]), "complete")
    other = f"{user}-{format}"
    served.make_user(other)

    file = served.client.get(f"/v2/users/{user}/export", params={"format": format})
    answer = served.client.post(f"/v2/users/{other}/import", params={"format": format}, content=file.content)

    assert answer.status_code == 200, answer.text
    kept = ("name", "description", "start", "due", "end", "status", "sub_goals")

    def shown(goals: list[Json]) -> list[Json]:
        return [{name: shown(goal[name]) if name == "sub_goals" else goal[name] for name in kept} for goal in goals]

    assert shown(tree(served, other)) == shown(tree(served, user))
    assert file.headers["Content-Disposition"].startswith("attachment")


def test_a_command_that_is_only_tried_records_nothing_and_answers_what_it_would(served: Served, user: str) -> None:
    top = served.make_goal(user, "top")
    for number in range(3):
        served.make_goal(user, f"below {number}", parent_id=top["id"])
    before = served.client.get(f"/v2/users/{user}/goals").content

    answer = served.client.post(f"/v2/goals/{top['id']}/complete?dry_run=true", json={"cascade": True})

    tried = answer.json()
    assert answer.status_code == 200
    assert not {"ETag", "Position", "Location"} & set(answer.headers)
    assert [event["type"] for event in tried["events"]] == ["GoalCompleted"] * 4
    assert (tried["dry_run"], tried["events_count"], tried["version"]) == (True, 4, 4)
    assert (tried["result"]["status"], tried["result"]["open_sub_goals"]) == ("done", 0)
    assert served.client.get(f"/v2/users/{user}/goals").content == before


def test_what_was_tried_is_what_is_done(served: Served, user: str) -> None:
    goal_id = str(uuid.uuid4())
    create = {"type": "CreateGoal", "name": "a", "id": goal_id, "start": "2026-11-23T08:00:00Z"}
    commands = {"commands": [create, {"type": "ChangeGoal", "id": goal_id, "name": "b"}]}
    path = f"/v2/users/{user}/commands"

    tried = served.client.post(f"{path}?dry_run=true", json=commands).json()
    done = served.client.post(path, json=commands).json()

    recorded = [event for event in served.events(f"/users/{user}") if event["goal_id"]]
    assert [event["data"] for event in tried["events"]] == [event["data"] for event in recorded]
    for answer in (tried["result"]["results"], done["results"]):
        for goal in answer:
            del goal["created_at"], goal["updated_at"]
    assert tried["result"]["results"] == done["results"]


def test_a_refusal_of_a_trial_is_that_of_the_command(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    reopen = {"type": "ReopenGoal", "id": goal["id"]}
    body = {"commands": [reopen, {"type": "MoveGoal", "id": goal["id"], "parent_id": goal["id"]}]}
    path = f"/v2/users/{user}/commands"

    really = served.client.post(path, json=body).json()
    tried = served.client.post(f"{path}?dry_run=true", json=body).json()

    assert tried.pop("dry_run") is True
    del really["request_id"], tried["request_id"]
    assert tried == really
    assert really["index"] == 1
    other = served.client.patch(f"/v2/users/{user}?dry_run=true", json={"name": "x"})
    assert refused(other, 422, "invalid-value")["errors"][0]["parameter"] == "dry_run"


def test_a_trial_hears_preconditions_and_keeps_no_key(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    path, key = f"/v2/goals/{goal['id']}", {"Idempotency-Key": "tried"}

    refused_ = served.client.patch(f"{path}?dry_run=true", json={"name": "b"}, headers={"If-Match": '"r9.v9.x"'})
    assert (refused_.status_code, refused_.json()["dry_run"]) == (412, True)
    assert served.client.patch(f"{path}?dry_run=true", json={"name": "b"}, headers=key).status_code == 200
    done = served.client.patch(path, json={"name": "c"}, headers=key)
    assert (done.status_code, "Idempotent-Replayed" in done.headers) == (200, False)
    assert json.loads(done.content)["name"] == "c"
