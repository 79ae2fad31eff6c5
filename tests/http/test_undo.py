"""Undo over HTTP: what it answers and records, who may, what is refused, and what a repeat is answered."""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest

from tests.http.test_http_goals import at_once, names
from tests.support.people import behind, issue, register
from tests.support.serving import Served, refused

Json = dict[str, Any]


def undo(
    served: Served, user: str, query: str = "", headers: dict[str, str] | None = None, **body: Any
) -> httpx2.Response:
    """What undoing is answered."""
    return served.client.post(f"/v2/users/{user}/undo{query}", json=body, headers=headers or {})


def rename(served: Served, goal: Json, name: str) -> httpx2.Response:
    """A command, which names itself in its answer."""
    answer = served.client.patch(f"/v2/goals/{goal['id']}", json={"name": name})
    assert answer.status_code == 200, answer.text
    return answer


def tree(served: Served, user: str) -> list[Json]:
    goals: list[Json] = served.get(f"/v2/users/{user}/goals")["goals"]
    return goals


def events(served: Served, user: str) -> list[Json]:
    """All of goals."""
    return [event for event in served.events(f"/users/{user}") if event["goal_id"]]


def test_an_undo_is_a_command_that_says_what_it_undid(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    renamed = rename(served, goal, "b")

    answer = undo(served, user, command=renamed.headers["Command"], reason="a typo")

    event = events(served, user)[-1]
    body = answer.json()
    assert answer.status_code == 200
    assert (event["data"]["name"], event["data"]["undoes"], event["reason"]) == (
        "a",
        renamed.headers["Command"],
        "a typo",
    )
    assert answer.headers["Command"] == body["command"] == event["command"] != renamed.headers["Command"]
    assert answer.headers["Position"] == str(body["position"]) == str(event["position"])
    assert "ETag" not in answer.headers
    assert (body["undoes"], body["version"], body["events"], body["changed"]) == ([event["data"]["undoes"]], 3, 1, 1)
    assert [(one["id"], one["name"], one["revision"]) for one in body["goals"]] == [(goal["id"], "a", 3)]
    assert names(tree(served, user)) == ["a"]

    redone = undo(served, user, command=body["command"]).json()
    assert redone["undoes"] == [body["command"]]
    assert names(tree(served, user)) == ["b"]


def test_any_position_of_a_command_names_it(served: Served, user: str) -> None:
    served.make_goal(user, "first")
    batch = {"commands": [{"type": "CreateGoal", "name": str(number)} for number in range(40)]}
    last = served.post(f"/v2/users/{user}/commands", batch).json()["position"]
    served.make_goal(user, "last")

    for position in (last - 39, last - 20, last):
        tried = undo(served, user, "?dry_run=true", position=position).json()
        assert (tried["events_count"], tried["result"]["changed"]) == (40, 40)

    assert undo(served, user, position=last - 7).json()["changed"] == 40
    assert names(tree(served, user)) == ["first", "last"]


def test_an_import_goes_into_the_trash_as_one_and_comes_back(served: Served, user: str) -> None:
    outline = "# A\n## B\n## C\n# D\n"
    headers = {"Content-Type": "text/markdown"}
    imported = served.client.post(f"/v2/users/{user}/import", content=outline, headers=headers)
    before = tree(served, user)

    undone = undo(served, user, command=imported.headers["Command"])

    assert [one["status"] for one in undone.json()["goals"]] == ["deleted"] * 4
    assert tree(served, user) == []
    undo(served, user, command=undone.headers["Command"])
    assert names(tree(served, user)) == names(before)
    assert names(tree(served, user)[0]["sub_goals"]) == ["B", "C"]


def test_what_came_later_is_named_with_what_to_send_instead(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    first, second = rename(served, goal, "b"), rename(served, goal, "c")
    before = events(served, user)

    problem = refused(undo(served, user, position=int(first.headers["Position"])), 409, "undo-in-the-way")

    commands = [second.headers["Command"], first.headers["Command"]]
    position = int(second.headers["Position"])
    assert (
        problem["detail"] == f"expected “b” to be named “b” as this command left it; found “c”, by position {position}"
    )
    assert (problem["title"], problem["blocked_count"], problem["commands"]) == (
        "Later changes are in the way", 1, commands
    )  # fmt: skip
    [blocked] = problem["blocked"]
    assert blocked.pop("by") == {
        "position": position, "type": "GoalRenamed", "at": before[-1]["at"], "actor": None, "command": commands[0],
        "reason": None, "undoes": None,
    }  # fmt: skip
    assert blocked == {
        "goal_id": goal["id"], "name": "c", "field": "name", "before": "a", "after": "b", "now": "c",
    }  # fmt: skip
    assert "index" not in problem
    assert events(served, user) == before

    both = undo(served, user, commands=problem["commands"][::-1]).json()
    assert (both["undoes"], both["events"], both["changed"]) == (commands, 2, 1)
    assert [event["data"]["undoes"] for event in events(served, user)[-2:]] == commands
    assert len({event["command"] for event in events(served, user)[-2:]}) == 1
    assert names(tree(served, user)) == ["a"]


def test_of_several_commands_the_one_that_is_refused_is_told_and_none_is_undone(served: Served, user: str) -> None:
    one, other = served.make_goal(user, "a"), served.make_goal(user, "x")
    free, bound = rename(served, other, "y"), rename(served, one, "b")
    rename(served, one, "c")
    before = events(served, user)

    chosen = [free.headers["Command"], bound.headers["Command"]]
    problem = refused(undo(served, user, commands=chosen), 409, "undo-in-the-way")

    assert problem["index"] == 1
    assert len(problem["commands"]) == 3
    assert events(served, user) == before


def test_a_deletion_of_a_goal_that_was_restored_and_deleted_again_is_undone_with_that(
    served: Served, user: str
) -> None:
    goal = served.make_goal(user, "a")
    path = f"/v2/goals/{goal['id']}"
    gone = served.client.delete(path).headers["Command"]
    served.post(f"{path}/restore", {})
    again = served.client.delete(path).headers["Command"]

    problem = refused(undo(served, user, command=gone), 409, "undo-in-the-way")

    assert (problem["blocked"][0]["field"], problem["blocked"][0]["by"]["command"]) == ("living", again)
    assert problem["commands"] == [again, gone]
    assert undo(served, user, commands=problem["commands"]).json()["changed"] == 1
    assert names(tree(served, user)) == ["a"]


def test_what_is_undone_already_leaves_nothing_and_that_is_no_error(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    renamed = rename(served, goal, "b").headers["Command"]
    first = undo(served, user, command=renamed)

    again = undo(served, user, command=renamed)

    assert again.status_code == 200
    assert again.json() == {
        "command": None, "undoes": [renamed], "position": first.json()["position"], "version": 3, "events": 0,
        "changed": 0, "goals": [],
    }  # fmt: skip
    assert again.headers["Position"] == first.headers["Position"]
    assert "Command" not in again.headers


def test_of_many_that_undo_the_same_at_once_one_records(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    renamed = rename(served, goal, "b").headers["Command"]

    def once(client: httpx2.Client) -> httpx2.Response:
        return client.post(f"/v2/users/{user}/undo", json={"command": renamed})

    answers = at_once([once] * 5, served)

    assert [answer.status_code for answer in answers] == [200] * 5
    assert sorted(answer.json()["events"] for answer in answers) == [0, 0, 0, 0, 1]


def test_a_repeat_is_answered_as_the_first_was_also_where_it_would_be_refused(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    renamed = rename(served, goal, "b").headers["Command"]
    key = {"Idempotency-Key": "undo"}
    first = undo(served, user, headers=key, command=renamed)
    undo(served, user, command=first.headers["Command"])
    rename(served, goal, "c")
    before = events(served, user)
    refused(undo(served, user, command=renamed), 409, "undo-in-the-way")

    again = undo(served, user, headers=key, command=renamed)

    assert (again.json(), again.headers["Idempotent-Replayed"]) == (first.json(), "true")
    assert again.headers["Command"] == first.headers["Command"]
    refused(undo(served, user, headers=key, command=renamed, reason="another"), 422, "key-reused")
    assert events(served, user) == before


def test_a_repeat_of_nothing_is_nothing_also_where_there_is_something_by_then(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    renamed = rename(served, goal, "b").headers["Command"]
    undone = undo(served, user, command=renamed).headers["Command"]
    key = {"Idempotency-Key": "nothing"}
    first = undo(served, user, headers=key, command=renamed)
    undo(served, user, command=undone)

    again = undo(served, user, headers=key, command=renamed)

    assert (again.json(), again.headers["Idempotent-Replayed"]) == (first.json(), "true")
    assert names(tree(served, user)) == ["b"]


def test_a_version_that_the_user_is_not_at_any_more_is_refused(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    renamed = rename(served, goal, "b").headers["Command"]
    tag = served.client.get(f"/v2/users/{user}/goals").headers["ETag"]
    served.make_goal(user, "another")

    refused(undo(served, user, headers={"If-Match": tag}, command=renamed), 412, "changed")

    tag = served.client.get(f"/v2/users/{user}/goals").headers["ETag"]
    assert undo(served, user, headers={"If-Match": tag}, command=renamed).status_code == 200


def test_a_goals_tag_of_before_the_undo_is_no_good_after_it(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    tag = served.client.get(f"/v2/goals/{goal['id']}").headers["ETag"]
    renamed = rename(served, goal, "b").headers["Command"]
    undo(served, user, command=renamed)

    answer = served.client.patch(f"/v2/goals/{goal['id']}", json={"name": "c"}, headers={"If-Match": tag})

    refused(answer, 412, "changed")


def test_trying_says_what_would_be_and_records_nothing(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    renamed = rename(served, goal, "b")
    before = events(served, user)

    tried = undo(served, user, "?dry_run=true", command=renamed.headers["Command"])

    assert not {"Command", "Position", "ETag"} & {name.title() for name in tried.headers}
    body = tried.json()
    assert (body["dry_run"], body["events_count"], body["events"][0]["type"]) == (True, 1, "GoalRenamed")
    assert body["events"][0]["data"]["undoes"] == renamed.headers["Command"]
    result = body["result"]
    assert (result["command"], result["events"], result["changed"]) == (None, 1, 1)
    assert "position" not in result
    assert events(served, user) == before

    rename(served, goal, "c")
    problem = refused(undo(served, user, "?dry_run=true", command=renamed.headers["Command"]), 409, "undo-in-the-way")
    assert problem["dry_run"] is True
    assert problem["commands"]


def test_commands_of_the_first_api_are_undone_too(served: Served, user: str) -> None:
    made = served.client.post("/v1.0/goals", data={"user": user, "name": "old"})
    assert made.status_code == 200, made.text

    assert undo(served, user, position=int(made.headers["Position"])).json()["changed"] == 1
    assert tree(served, user) == []


def test_a_command_that_is_none_of_the_users_is_not_found(served: Served, user: str) -> None:
    stranger = f"stranger-{uuid.uuid4().hex}"
    served.make_user(stranger)
    theirs = served.client.post(f"/v2/users/{stranger}/goals", json={"name": "theirs"})
    registered = served.events(f"/users/{user}")[0]
    served.make_goal(user, "a")
    others = [
        theirs.headers["Command"],
        registered["command"],
        str(uuid.uuid4()),
        "01990000-0000-7000-8000-000000000000",
    ]

    for command in others:
        refused(undo(served, user, command=command), 404, "command-not-found")
        refused(undo(served, user, commands=[command]), 404, "command-not-found")
    for position in (theirs.headers["Position"], registered["position"]):
        refused(undo(served, user, position=int(position)), 404, "command-not-found")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"position": 1, "command": str(uuid.uuid4())}, "/command"),
        ({"position": 0}, "/position"),
        ({"position": -1}, "/position"),
        ({"position": 2**63}, "/position"),
        ({"position": "1"}, "/position"),
        ({"position": 10**9}, "/position"),
        ({"command": "1"}, "/command"),
        ({"command": None}, "/command"),
        ({"commands": []}, "/commands"),
        ({"commands": [str(uuid.uuid4())] * 101}, "/commands"),
        ({"commands": ["x"]}, "/commands/0"),
        ({"position": 1, "why": "x"}, "/why"),
        ({"position": 1, "reason": 1}, "/reason"),
    ],
)
def test_a_body_that_names_nothing_or_too_much_is_refused(served: Served, user: str, body: Json, pointer: str) -> None:
    answer = served.client.post(f"/v2/users/{user}/undo", json=body)

    [fault] = refused(answer, 422, "invalid-value")["errors"]
    assert fault["pointer"] == pointer


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, httpx2.Client]]:
    """Clients by name, of a service with accounts."""
    with ExitStack() as stack:
        served = stack.enter_context(Served(tmp_path_factory.mktemp("people"), accounts=True))
        secrets = {}
        roles = {"ann": "user", "bob": "user", "eve": "auditor", "root": "administrator"}
        with behind(served) as storage, storage.log.writing() as transaction:
            for name, role in roles.items():
                user = register(transaction, name, role)
                secrets[name] = issue(transaction, user)[0]
                secrets[f"{name} reading"] = issue(transaction, user, "read")[0]
        yield {name: stack.enter_context(served.as_(secret)) for name, secret in secrets.items()}


def test_who_may_command_a_users_goals_may_undo_and_is_told_as_the_actor(people: dict[str, httpx2.Client]) -> None:
    made = people["ann"].post("/v2/users/ann/goals", json={"name": "hers"})
    body = {"command": made.headers["Command"]}

    assert people["bob"].post("/v2/users/ann/undo", json=body).status_code == 404
    assert people["bob"].post("/v2/users/bob/undo", json=body).status_code == 404
    assert people["eve"].post("/v2/users/ann/undo", json=body).status_code == 403
    assert people["ann reading"].post("/v2/users/ann/undo", json=body).status_code == 403
    undone = people["root"].post("/v2/users/ann/undo", json=body)
    assert undone.status_code == 200

    [event] = (
        people["ann"]
        .get("/v2/users/ann/events", params={"after": int(undone.headers["Position"]) - 1})
        .json()["events"]
    )
    assert event["actor"] != made.json()["user"]
    assert people["ann"].post("/v2/users/ann/undo", json={"command": undone.headers["Command"]}).status_code == 200
