"""Drafts over HTTP: made, read, compared, brought up to date and applied, on both engines, by all who may and some who
may not."""

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx2
import msgspec
import pytest

from es_goals.http.goals.drafts import DraftAnswer, DraftList
from es_goals.http.goals.queries import TreeAnswer
from es_goals.http.problems import ProblemAnswer
from es_goals.reads.whatif.tried import TriedDiff
from es_goals.storage.drafts import MOST_DRAFTS
from tests.support.engines import ENGINES, NEWEST
from tests.support.people import behind, issue, register
from tests.support.serving import Served, fault, refused

Json = dict[str, Any]

UNKNOWN = "01990000-0000-7000-8000-000000000000"
LIMITS = {"ES_GOALS_BATCH_LIMIT": "20", "ES_GOALS_BODY_LIMIT": "4096", "ES_GOALS_REQUESTS_LIMIT": "0"}


class Service:
    """A service with accounts, and clients of the administrator root and the auditor eve."""

    def __init__(self, served: Served, stack: ExitStack) -> None:
        self.served, self._stack, self._made = served, stack, 0
        self.root, self.eve = self.person("root", "administrator"), self.person("eve", "auditor")

    def person(self, name: str, role: str = "user") -> httpx2.Client:
        """A client of somebody new."""
        with behind(self.served) as storage, storage.log.writing() as transaction:
            secret = issue(transaction, register(transaction, name, role))[0]
        return self._stack.enter_context(self.served.as_(secret))

    def somebody(self) -> "Person":
        """A user whom no other test knows."""
        self._made += 1
        name = f"ann{self._made}"
        return Person(self, name, self.person(name))


class Person:
    """A user with goals: a tree of Run, under which is Shoes, and of Read."""

    def __init__(self, service: Service, name: str, client: httpx2.Client) -> None:
        self.service, self.name, self.client = service, name, client
        self.home = f"/v2/users/{name}"
        self.goals = {one: self.make(one)["id"] for one in ("Run", "Read")}
        self.goals["Shoes"] = self.make("Shoes", parent_id=self.goals["Run"])["id"]

    def make(self, name: str, **members: Any) -> Json:
        """A goal."""
        return taken(self.client.post(f"{self.home}/goals", json={"name": name, **members}), 201)

    def do(self, *commands: Json) -> Json:
        """Commands, outside of any draft."""
        return taken(self.client.post(f"{self.home}/commands", json={"commands": commands}))

    def draft(self, *commands: Json, **members: Any) -> Json:
        """A new one."""
        body = {"name": "a draft", "commands": commands, **members}
        return taken(self.client.post(f"{self.home}/drafts", json=body), 201)

    def post(self, draft: Json, what: str, body: Json | None = None, **details: Any) -> httpx2.Response:
        """To one of a draft's paths."""
        return self.client.post(f"{self.home}/drafts/{draft['id']}/{what}", json=body, **details)

    def get(self, draft: Json, what: str = "", client: httpx2.Client | None = None, **query: Any) -> httpx2.Response:
        """What is at a draft, or at one of its paths."""
        path = f"{self.home}/drafts/{draft['id']}"
        return (client or self.client).get(f"{path}/{what}" if what else path, params=query)

    def apply(self, draft: Json, **body: Any) -> httpx2.Response:
        """A draft."""
        return self.post(draft, "apply", body)

    def tree(self, **query: Any) -> list[Json]:
        """What readers see of the goals."""
        return seen(taken(self.client.get(f"{self.home}/goals", params=query)))

    def drafted(self, draft: Json) -> list[Json]:
        """The same of a draft."""
        answer = self.get(draft, "goals")
        assert msgspec.json.decode(answer.content, type=TreeAnswer)
        return seen(taken(answer))

    def goal_owner(self) -> str:
        """The user's id."""
        found: str = taken(self.client.get(self.home))["id"]
        return found

    def goal(self, name: str) -> Json:
        """A goal as it is."""
        return taken(self.client.get(f"/v2/goals/{self.goals[name]}"))

    def rename(self, name: str, new: str) -> Json:
        """A command."""
        return {"type": "ChangeGoal", "id": self.goals[name], "name": new}


def taken(answer: httpx2.Response, status: int = 200) -> Json:
    assert answer.status_code == status, answer.text
    found: Json = answer.json()
    return found


def seen(tree: Json) -> list[Json]:
    """The goals, without what tells when they were changed."""
    waiting, goals = list(tree["goals"]), []
    while waiting:
        goal = dict(waiting.pop())
        waiting += goal["sub_goals"]
        below = [one["id"] for one in goal.pop("sub_goals")]
        goals.append({**goal, "sub_goals": below, "created_at": None, "updated_at": None})
    return sorted(goals, key=lambda goal: str(goal["id"]))


def conflicts(answer: httpx2.Response) -> list[Json]:
    problem = refused(answer, 409, "draft-conflicts")
    assert msgspec.json.decode(answer.content, type=ProblemAnswer)
    assert problem["conflicts_count"] == len(problem["conflicts"])
    found: list[Json] = problem["conflicts"]
    return found


@pytest.fixture(scope="module", params=NEWEST)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("drafts")
    with ENGINES[request.param](folder) as url, ExitStack() as stack:
        served = Served(folder, workers=2, env=LIMITS, db=url if "://" in url else "events.db", accounts=True)
        try:
            yield Service(served, stack)
            served.verified()
        finally:
            served.stop()


@pytest.fixture
def ann(service: Service) -> Person:
    return service.somebody()


def test_a_draft_shows_what_its_commands_would_make_of_the_goals_and_changes_nothing(ann: Person) -> None:
    before = ann.tree()

    draft = ann.draft(ann.rename("Run", "Run a marathon"), {"type": "DeleteGoal", "id": ann.goals["Read"]})

    assert {goal["name"] for goal in ann.drafted(draft)} == {"Run a marathon", "Shoes"}
    assert ann.tree() == before
    assert (draft["state"], draft["behind"], draft["position"], draft["revision"]) == ("open", 0, None, 1)


def test_an_empty_draft_is_the_tree_at_its_base(ann: Person) -> None:
    base = ann.client.get("/readyz").json()["position"]
    ann.do(ann.rename("Run", "Walk"))

    draft = ann.draft(base=base)

    here, then = ann.get(draft, "goals"), ann.client.get(f"{ann.home}/goals", params={"as_of": base})
    assert here.content == then.content
    assert (draft["base"], draft["behind"]) == (base, 1)


def test_a_draft_on_a_base_that_the_log_has_not_reached_is_refused(ann: Person) -> None:
    answer = ann.client.post(f"{ann.home}/drafts", json={"name": "x", "base": 10**9})

    assert fault(answer)["pointer"] == "/base"


def test_goals_without_an_id_get_one_that_later_commands_may_name(ann: Person) -> None:
    draft = ann.draft({"type": "CreateGoal", "name": "Swim"})
    made = draft["commands"][0]["id"]

    more = taken(
        ann.post(draft, "commands", {"commands": [{"type": "CreateGoal", "name": "Goggles", "parent_id": made}]})
    )

    assert (len(more["commands"]), more["revision"]) == (2, 2)
    assert next(goal for goal in ann.drafted(draft) if goal["name"] == "Goggles")["parent_id"] == made
    applied = taken(ann.apply(draft))
    assert [result["id"] for result in applied["results"]] == [one["id"] for one in more["commands"]]


def test_commands_are_added_all_or_none_and_a_refusal_names_the_one_at_fault(ann: Person) -> None:
    draft = ann.draft(ann.rename("Run", "Walk"))

    body = {"commands": [ann.rename("Read", "x"), {"type": "ReopenGoal", "id": UNKNOWN}]}
    problem = refused(ann.post(draft, "commands", body), 404, "goal-not-found")

    assert problem["index"] == 1
    assert ann.get(draft).json() == draft


def test_another_list_of_commands_takes_the_place_of_the_first(ann: Person) -> None:
    draft = ann.draft(ann.rename("Run", "Walk"), ann.rename("Read", "Write"))
    path = f"{ann.home}/drafts/{draft['id']}"
    tag = ann.client.get(path).headers["ETag"]

    body = {"name": "another", "commands": [ann.rename("Read", "Sing")]}
    changed = taken(ann.client.put(path, json=body, headers={"If-Match": tag}))

    assert (changed["name"], len(changed["commands"])) == ("another", 1)
    assert {goal["name"] for goal in ann.drafted(draft)} == {"Run", "Sing", "Shoes"}
    refused(ann.client.put(path, json={"name": "late"}, headers={"If-Match": tag}), 412, "changed")
    refused(ann.client.delete(path, headers={"If-Match": tag}), 412, "changed")
    for what, more in (("commands", body), ("rebase", None), ("apply", {})):
        refused(ann.post(draft, what, {"commands": body["commands"]} if what == "commands" else more,
                         headers={"If-Match": tag}), 412, "changed")  # fmt: skip
    assert ann.get(draft).json() == changed


def test_what_others_do_meanwhile_does_not_make_a_tag_another_draft_s(ann: Person) -> None:
    draft = ann.draft(ann.rename("Run", "Walk"))
    path = f"{ann.home}/drafts/{draft['id']}"
    tag = ann.client.get(path).headers["ETag"]
    assert ann.client.get(path, headers={"If-None-Match": tag}).status_code == 304
    ann.do(ann.rename("Read", "Sing"))

    answer = ann.client.get(path, headers={"If-None-Match": tag})

    assert taken(answer)["behind"] == 1
    assert ann.client.put(path, json={"name": "x"}, headers={"If-Match": tag}).status_code == 200


def test_drafts_are_listed_without_their_commands(ann: Person) -> None:
    drafts = [ann.draft(name=name) for name in ("one", "two")]
    ann.do(ann.rename("Run", "Walk"))

    answer = ann.client.get(f"{ann.home}/drafts")

    assert msgspec.json.decode(answer.content, type=DraftList)
    assert [(one["name"], one["behind"]) for one in answer.json()["drafts"]] == [("one", 1), ("two", 1)]
    assert "commands" not in answer.json()["drafts"][0]
    assert [one["id"] for one in answer.json()["drafts"]] == [draft["id"] for draft in drafts]


def test_there_are_a_hundred_drafts_of_a_user_at_most(ann: Person) -> None:
    made = [ann.draft() for _ in range(MOST_DRAFTS)]

    refused(ann.client.post(f"{ann.home}/drafts", json={"name": "one more"}), 422, "too-many-drafts")

    assert ann.client.delete(f"{ann.home}/drafts/{made[0]['id']}").status_code == 204
    ann.draft()


def test_a_draft_has_no_more_commands_and_bytes_than_the_service_is_set_to(ann: Person) -> None:
    draft = ann.draft(*[ann.rename("Run", f"Run {number}") for number in range(18)])
    three = [ann.rename("Read", "x")] * 3
    long = {"type": "ChangeGoal", "id": ann.goals["Run"], "description": "é" * 1_000}

    assert fault(ann.post(draft, "commands", {"commands": three}))["pointer"] == "/commands"
    taken(ann.post(draft, "commands", {"commands": three[:2]}))
    other = ann.draft(long)
    assert (
        "4096 bytes of a draft"
        in refused(ann.post(other, "commands", {"commands": [long]}), 422, "limit-reached")["detail"]
    )


def test_the_tree_of_a_draft_takes_what_a_tree_takes(ann: Person) -> None:
    draft = ann.draft(ann.rename("Run", "Läufer"), {"type": "CompleteGoal", "id": ann.goals["Read"]})
    asked: dict[str, Any] = {
        "view": "flat", "status": "done", "q": "laufer", "depth": 0, "deleted": "true",
    }  # fmt: skip
    names = {
        parameter: [goal["name"] for goal in taken(ann.get(draft, "goals", **{parameter: value}))["goals"]]
        for parameter, value in asked.items()
    }

    assert names == {
        "view": ["Läufer", "Shoes", "Read"], "status": ["Read"], "q": ["Läufer"], "depth": ["Läufer", "Read"],
        "deleted": ["Läufer", "Read"],
    }  # fmt: skip
    assert fault(ann.get(draft, "goals", as_of=1))["parameter"] == "as_of"
    tag = ann.get(draft, "goals").headers["ETag"]
    path = f"{ann.home}/drafts/{draft['id']}/goals"
    assert ann.client.get(path, headers={"If-None-Match": tag}).status_code == 304
    ann.do(ann.rename("Shoes", "Boots"))
    assert ann.client.get(path, headers={"If-None-Match": tag}).status_code == 304
    taken(ann.post(draft, "commands", {"commands": [ann.rename("Shoes", "Hats")]}))
    assert {goal["name"] for goal in seen(taken(ann.client.get(path, headers={"If-None-Match": tag})))} == {
        "Läufer", "Read", "Hats",
    }  # fmt: skip


def test_what_a_draft_changes_is_told_against_its_base_and_against_the_present(ann: Person) -> None:
    draft = ann.draft(ann.rename("Run", "Walk"), {"type": "MoveGoal", "id": ann.goals["Shoes"], "parent_id": None})
    sung = ann.make("Sing")["id"]
    ann.make("a song", parent_id=sung)
    ann.do(ann.rename("Read", "Write"))

    base, now = (ann.get(draft, "diff", against=against) for against in ("base", "now"))

    assert msgspec.json.decode(base.content, type=TriedDiff)
    assert changes(base) == {"Walk": ["renamed"], "Shoes": ["moved"]}
    assert changes(now) == {"Walk": ["renamed"], "Shoes": ["moved"], "Read": ["renamed"], "Sing": ["deleted"]}
    assert next(goal for goal in now.json()["goals"] if goal["name"] == "Sing")["under"] == 1
    assert now.json()["progress"] == {"from": {"completed": 0, "leaves": 3}, "to": {"completed": 0, "leaves": 3}}
    text = ann.client.get(f"{ann.home}/drafts/{draft['id']}/diff", headers={"Accept": "text/plain"}).text
    assert text.splitlines()[1] == "~ Walk   was “Run”"


def changes(answer: httpx2.Response) -> dict[str, list[str]]:
    return {goal["name"]: [one["kind"] for one in goal["changes"]] for goal in taken(answer)["goals"]}


def test_an_applied_draft_makes_the_tree_that_it_showed_under_one_command(ann: Person) -> None:
    draft = ann.draft(
        {"type": "CreateGoal", "name": "Swim", "start": "2026-11-23T08:00:00.123456Z"},
        {"type": "CompleteGoal", "id": ann.goals["Run"], "cascade": True, "end": "2030-01-01T00:00:00Z"},
        {"type": "DeleteGoal", "id": ann.goals["Read"]},
    )
    promised = ann.drafted(draft)

    answer = ann.apply(draft, reason="as said")

    applied = taken(answer)
    events = ann.client.get(f"{ann.home}/events", params={"after": draft["base"]}).json()["events"]
    assert ann.tree() == promised
    assert {(event["command"], event["reason"]) for event in events} == {(events[0]["command"], "as said")}
    assert applied["position"] == int(answer.headers["Position"]) == events[-1]["position"]
    assert len(applied["results"]) == 3
    found = ann.get(draft).json()
    assert (found["state"], found["position"]) == ("applied", applied["position"])
    assert ann.drafted(draft) == promised


def test_a_draft_is_applied_once_and_can_be_changed_no_more(ann: Person) -> None:
    draft = ann.draft(ann.rename("Run", "Walk"))
    taken(ann.apply(draft))

    for answer in (
        ann.apply(draft), ann.apply(draft, keep="mine"), ann.post(draft, "rebase"),
        ann.post(draft, "commands", {"commands": [ann.rename("Run", "x")]}),
        ann.client.put(f"{ann.home}/drafts/{draft['id']}", json={"name": "x"}),
    ):  # fmt: skip
        refused(answer, 409, "draft-applied")
    assert ann.client.delete(f"{ann.home}/drafts/{draft['id']}").status_code == 204
    assert ann.goal("Run")["name"] == "Walk"


def test_of_two_that_apply_a_draft_at_once_one_is_told_that_it_was_applied(ann: Person) -> None:
    for number in range(5):
        draft = ann.draft(ann.rename("Run", f"Walk {number}"), {"type": "CreateGoal", "name": "once"})
        together = threading.Barrier(2)

        def apply(client: httpx2.Client, draft: Json = draft, together: threading.Barrier = together) -> int:
            together.wait()
            return client.post(f"{ann.home}/drafts/{draft['id']}/apply").status_code

        with ThreadPoolExecutor(2) as pool:
            statuses = sorted(pool.map(apply, (ann.client, ann.service.root)))
        assert statuses == [200, 409]
    assert len([goal for goal in ann.tree() if goal["name"] == "once"]) == 5


def test_of_several_that_add_to_a_draft_at_once_each_is_in_it(ann: Person) -> None:
    draft = ann.draft()

    def add(name: str) -> int:
        return ann.post(draft, "commands", {"commands": [{"type": "CreateGoal", "name": name}]}).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(add, "abcdef"))

    assert statuses == [200] * 6
    assert sorted(one["name"] for one in ann.get(draft).json()["commands"]) == list("abcdef")


def test_what_is_asked_of_a_draft_that_was_applied_says_so(ann: Person) -> None:
    draft = ann.draft({"type": "CreateGoal", "name": "Swim"})
    assert ann.apply(draft).status_code == 200

    refused(ann.post(draft, "commands", {"commands": [{"type": "CreateGoal", "name": "a"}]}), 409, "draft-applied")
    changed = ann.client.put(f"{ann.home}/drafts/{draft['id']}", json={"name": "b"})
    refused(changed, 409, "draft-applied")


def test_a_repeat_with_the_same_key_gives_the_first_answer(ann: Person) -> None:
    draft = ann.draft({"type": "CreateGoal", "name": "Swim"})
    key = {"Idempotency-Key": "apply"}

    first, again = (ann.post(draft, "apply", {}, headers=key) for _ in range(2))

    assert again.content == first.content
    assert again.headers["Idempotent-Replayed"] == "true"
    refused(ann.post(draft, "apply", {"reason": "another"}, headers=key), 422, "key-reused")
    assert "Idempotency-Key" in fault(ann.post(draft, "rebase", headers=key))["parameter"]


def test_a_field_that_somebody_changed_since_is_not_overwritten_unless_that_is_meant(ann: Person) -> None:
    draft = ann.draft(ann.rename("Run", "X"))
    ann.do({**ann.rename("Run", "Y")})
    at = ann.client.get("/readyz").json()["position"]

    (conflict,) = conflicts(ann.apply(draft))

    assert conflict["by"].pop("at")
    assert uuid.UUID(conflict["by"].pop("command"))
    by = {"position": at, "type": "GoalRenamed", "actor": ann.goal_owner(), "reason": None, "undoes": None}
    assert conflict == {
        "kind": "overwrites", "goal_id": ann.goals["Run"], "field": "name", "base": "Run", "now": "Y", "mine": "X",
        "by": by,
    }  # fmt: skip
    assert ann.client.get("/readyz").json()["position"] == at
    assert conflicts(ann.post(draft, "rebase"))[0]["field"] == "name"
    assert ann.get(draft).json()["behind"] == 1
    taken(ann.apply(draft, keep="mine"))
    assert ann.goal("Run")["name"] == "X"


def test_two_who_change_different_fields_of_a_goal_do_not_conflict(ann: Person) -> None:
    draft = ann.draft(
        ann.rename("Run", "X"), {"type": "ChangeGoal", "id": ann.goals["Read"], "start": "2026-01-01T00:00:00Z"}
    )
    due = "2030-01-01T00:00:00Z"
    ann.do(*({"type": "ChangeGoal", "id": ann.goals[name], "due": due} for name in ("Run", "Read")))

    taken(ann.apply(draft))

    assert (ann.goal("Run")["name"], ann.goal("Run")["due"]) == ("X", due)
    assert (ann.goal("Read")["start"], ann.goal("Read")["due"]) == ("2026-01-01T00:00:00Z", due)


def test_who_set_the_same_value_meanwhile_is_in_nobody_s_way(ann: Person) -> None:
    draft = ann.draft(ann.rename("Run", "X"))
    ann.do(ann.rename("Run", "X"))

    taken(ann.apply(draft))

    assert ann.goal("Run")["revision"] == 2


def test_a_command_that_the_rules_refuse_now_is_named_and_cannot_be_forced(ann: Person) -> None:
    move = {"type": "MoveGoal", "id": ann.goals["Shoes"], "parent_id": ann.goals["Read"]}
    draft = ann.draft(ann.rename("Run", "X"), move)
    ann.do({"type": "DeleteGoal", "id": ann.goals["Read"]})
    before = ann.client.get("/readyz").json()["position"]

    for answer in (ann.apply(draft), ann.apply(draft, keep="mine"), ann.post(draft, "rebase")):
        (conflict,) = conflicts(answer)
        assert (conflict["kind"], conflict["index"]) == ("refused", 1)
        assert conflict["command"]["parent_id"] == ann.goals["Read"]
        problem = conflict["problem"]
        assert (problem["type"], problem["status"]) == ("/problems/goal-not-found", 404)
        assert problem["errors"][0]["pointer"] == "/commands/1/parent_id"
    assert ann.client.get("/readyz").json()["position"] == before
    assert ann.get(draft).json() == {**draft, "behind": 1}


def test_a_goal_that_somebody_put_below_meanwhile_is_not_deleted_unseen(ann: Person) -> None:
    draft = ann.draft({"type": "DeleteGoal", "id": ann.goals["Run"]})
    laces = ann.make("Laces", parent_id=ann.goals["Shoes"])["id"]

    (conflict,) = conflicts(ann.apply(draft))

    assert (conflict["goal_id"], conflict["field"], conflict["by"]["type"]) == (laces, "living", "GoalCreated")
    assert (conflict["base"], conflict["now"], conflict["mine"]) == (False, True, False)


def test_a_goal_of_an_id_that_somebody_else_took_meanwhile_is_a_conflict(service: Service, ann: Person) -> None:
    goal_id, bob = str(uuid.uuid4()), service.somebody()
    draft = ann.draft({"type": "CreateGoal", "name": "mine", "id": goal_id})
    bob.make("bob's", id=goal_id)

    for query in ({}, {"dry_run": "true"}):
        (conflict,) = conflicts(ann.post(draft, "apply", {}, params=query))
        assert (conflict["index"], conflict["problem"]["type"]) == (0, "/problems/goal-exists")


def test_a_draft_that_was_brought_up_to_date_stands_on_the_present(ann: Person) -> None:
    draft = ann.draft(ann.rename("Run", "X"))
    ann.do(ann.rename("Read", "Y"))
    at = ann.client.get("/readyz").json()["position"]

    once, twice = (taken(ann.post(draft, "rebase")) for _ in range(2))

    assert once == twice == {"base": at, "conflicts": []}
    found = ann.get(draft).json()
    assert (found["base"], found["behind"], found["revision"]) == (at, 0, 2)
    assert {goal["name"] for goal in ann.drafted(draft)} == {"X", "Y", "Shoes"}


def test_a_dry_run_tells_what_applying_would_do_and_does_nothing(ann: Person) -> None:
    draft = ann.draft(ann.rename("Run", "X"))

    told = taken(ann.post(draft, "apply", {}, params={"dry_run": "true"}))

    assert [event["type"] for event in told["events"]] == ["GoalRenamed"]
    assert told["result"]["results"][0]["name"] == "X"
    told = taken(ann.post(draft, "apply", {}, params={"dry_run": "true", "answer": "diff"}))
    assert [goal["name"] for goal in told["result"]["goals"]] == ["X"]
    assert ann.get(draft).json() == draft
    assert ann.goal("Run")["name"] == "Run"
    ann.do(ann.rename("Run", "Y"))
    assert refused(ann.post(draft, "apply", {}, params={"dry_run": "true"}), 409, "draft-conflicts")["dry_run"] is True


def test_a_draft_that_does_nothing_any_more_is_applied_all_the_same(ann: Person) -> None:
    draft = ann.draft()

    applied = taken(ann.apply(draft))

    assert (applied["results"], ann.get(draft).json()["state"]) == ([], "applied")
    assert applied["position"] == draft["base"]


def test_another_s_draft_is_not_there_and_auditors_only_read(service: Service, ann: Person) -> None:
    bob, draft = service.somebody(), ann.draft(ann.rename("Run", "X"))
    one = f"drafts/{draft['id']}"
    reads = ["", "/goals", "/diff"]

    for what in reads:
        assert service.eve.get(f"{ann.home}/{one}{what}").status_code == 200
        refused(bob.client.get(f"{ann.home}/{one}{what}"), 404, "user-not-found")
        for nobody in (f"{bob.home}/{one}{what}", f"{bob.home}/drafts/{UNKNOWN}{what}", f"{bob.home}/drafts/x{what}"):
            refused(bob.client.get(nobody), 404, "draft-not-found")
            refused(service.eve.get(nobody), 404, "draft-not-found")
    changing = [
        ("PUT", "", {"name": "x"}), ("DELETE", "", None), ("POST", "/commands", {"commands": [ann.rename("Run", "x")]}),
        ("POST", "/rebase", None), ("POST", "/apply", {}),
    ]  # fmt: skip
    for method, what, body in changing:
        refused(bob.client.request(method, f"{ann.home}/{one}{what}", json=body), 404, "user-not-found")
        refused(service.eve.request(method, f"{ann.home}/{one}{what}", json=body), 403, "forbidden")
        for place in (f"{bob.home}/{one}{what}", f"{bob.home}/drafts/x{what}"):
            refused(bob.client.request(method, place, json=body), 404, "draft-not-found")
    refused(service.eve.post(f"{ann.home}/drafts", json={"name": "x"}), 403, "forbidden")
    assert ann.get(draft).json() == draft


def test_names_of_drafts_are_held_to_the_rule_for_names(ann: Person) -> None:
    assert ann.draft(name="  a name  ")["name"] == "a name"
    for name in ("\u200b", "x" * 201, "a\nb"):
        assert fault(ann.client.post(f"{ann.home}/drafts", json={"name": name}))["pointer"] == "/name"


def test_what_is_answered_is_what_is_described(ann: Person) -> None:
    draft = ann.draft(
        ann.rename("Run", "X"), {"type": "CompleteGoal", "id": ann.goals["Read"], "end": "2030-01-01T00:00:00Z"}
    )

    assert ann.get(draft).status_code == 200
    assert draft["commands"][1] == {
        "type": "CompleteGoal", "id": ann.goals["Read"], "end": "2030-01-01T00:00:00Z", "cascade": False,
    }  # fmt: skip
    assert msgspec.convert({**draft, "commands": []}, DraftAnswer)
