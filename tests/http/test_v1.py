"""The original API over real HTTP: every case of its compatibility table that applies without accounts. Those that
apply with them as they stand are run again in test_v1_accounts."""

import re
import uuid
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.serving import Served, in_time, refused

GOALS, USERS = "/v1.0/goals", "/v1.0/users"
MISSING_USER = {"message": "Missing required parameter user in json or the post body or the query string"}
MISSING_NAME = {"message": "Missing required parameter name in json or the post body or the query string"}

Send = Callable[[Served, str, dict[str, str]], httpx2.Response]


def as_form(served: Served, method: str, parameters: dict[str, str]) -> httpx2.Response:
    return served.client.request(method, GOALS, data=parameters)


def as_json(served: Served, method: str, parameters: dict[str, str]) -> httpx2.Response:
    return served.client.request(method, GOALS, json=parameters)


def as_query(served: Served, method: str, parameters: dict[str, str]) -> httpx2.Response:
    return served.client.request(method, GOALS, params=parameters)


def as_multipart(served: Served, method: str, parameters: dict[str, str]) -> httpx2.Response:
    files = {name: (None, value) for name, value in parameters.items()}
    return served.client.request(method, GOALS, files=files)


EVERY_WAY = pytest.mark.parametrize("send", [as_form, as_json, as_query, as_multipart])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service of this file's own: its answers cover all users, so they had better not be too many."""
    with Served(tmp_path_factory.mktemp("v1")) as served:
        yield served


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Served]:
    """A service of one's own, where an answer is about all of its users."""
    with Served(tmp_path) as served:
        yield served


def post(served: Served, user: str, name: str, **more: str) -> None:
    answer = served.client.post(GOALS, data={"user": user, "name": name, **more})
    assert (answer.status_code, answer.json()) == (200, None), answer.text


def tree(served: Served, user: str) -> Any:
    """The user's goals as the original API shows them."""
    answer = served.client.get(GOALS)
    assert answer.status_code == 200, answer.text
    return answer.json()[user]


def goals(served: Served, user: str) -> dict[str, Any]:
    """The user's goals by name, as they are; each with its `depth`."""
    answer = served.client.get(f"/v2/users/{user}/goals", params={"view": "flat"})
    assert answer.status_code == 200, answer.text
    return {goal["name"]: goal for goal in answer.json()["goals"]}


def refusal(answer: httpx2.Response, status: int, slug: str) -> dict[str, Any]:
    """The body of a better answer: problem members together with the old `message`."""
    body = refused(answer, status, slug)
    assert body["message"] == body["detail"]
    return body


@pytest.fixture
def other(served: Served) -> str:
    """The name of one more user."""
    name = f"other-{uuid.uuid4().hex}"
    served.make_user(name)
    return name


def test_c01_a_user_without_goals_is_shown_with_none(own: Served) -> None:
    for name in ("u1", "u2"):
        own.make_user(name)

    answer = own.client.get(GOALS)

    assert (answer.status_code, answer.json()) == (200, {"u1": {}, "u2": {}})
    assert answer.headers["content-type"] == "application/json"


def test_c01_without_users_there_is_nothing(own: Served) -> None:
    assert own.client.get(GOALS).json() == {}


def article_fixture(served: Served) -> None:
    for user in ("user-1", "user-2", "user-3"):
        served.make_user(user)
    for name, parent in {
        "goal-0": None, "goal-1": None, "goal-2": "goal-1", "goal-3": "goal-1",
        "goal-4": "goal-3", "goal-5": "goal-3", "goal-6": "goal-3",
    }.items():  # fmt: skip
        post(served, "user-1", name, **({} if parent is None else {"parent_name": parent}))
    post(served, "user-2", "goal-7")


ARTICLE: dict[str, Any] = {
    "user-1": {"goal-0": {}, "goal-1": {"goal-2": {}, "goal-3": {"goal-4": {}, "goal-5": {}, "goal-6": {}}}},
    "user-2": {"goal-7": {}},
    "user-3": {},
}


def test_c02_the_articles_own_tests_pass(own: Served) -> None:
    article_fixture(own)
    assert own.client.get(GOALS).json() == ARTICLE

    # test_add_nested_goals
    assert own.client.post(GOALS, data={"user": "user-3", "name": "new-goal"}).status_code == 200
    nested = {"user": "user-3", "name": "child", "parent_name": "new-goal"}
    assert own.client.post(GOALS, data=nested).status_code == 200
    made = goals(own, "user-3")
    assert made["child"]["parent_id"] == made["new-goal"]["id"]

    # test_complete_goal
    assert own.client.put(GOALS, data={"user": "user-1", "name": "goal-0"}).status_code == 200
    assert goals(own, "user-1")["goal-0"]["end"] is not None
    assert own.client.get(GOALS).json() == {**ARTICLE, "user-3": {"new-goal": {"child": {}}}}


def test_c02_siblings_keep_the_order_in_which_they_were_made(served: Served, user: str) -> None:
    for name in ("zeta", "alpha", "mu"):
        post(served, user, name)

    assert list(tree(served, user)) == ["zeta", "alpha", "mu"]


@EVERY_WAY
def test_c04_a_goal_is_made(served: Served, user: str, send: Send) -> None:
    answer = send(served, "POST", {"user": user, "name": "new-goal", "description": "what & why = ☃"})

    assert (answer.status_code, answer.json()) == (200, None)
    assert answer.headers["content-type"] == "application/json"
    goal = goals(served, user)["new-goal"]
    assert goal["start"] is not None
    assert goal["end"] is None
    assert goal["description"] == "what & why = ☃"


@EVERY_WAY
def test_c05_a_goal_is_made_under_the_named_parent(served: Served, user: str, send: Send) -> None:
    post(served, user, "above")

    answer = send(served, "POST", {"user": user, "name": "below", "parent_name": "above"})

    assert (answer.status_code, answer.json()) == (200, None)
    assert tree(served, user) == {"above": {"below": {}}}


def test_c05_an_empty_parent_name_is_none(served: Served, user: str) -> None:
    post(served, user, "top", parent_name="")

    assert tree(served, user) == {"top": {}}


@pytest.mark.parametrize(
    "body", [{"json": {"name": "body"}}, {"data": {"name": "body"}}, {"files": {"name": (None, "body")}}]
)
def test_c06_json_beats_the_query_and_the_query_beats_a_form(served: Served, user: str, body: dict[str, Any]) -> None:
    answer = served.client.post(GOALS, params={"user": user, "name": "query"}, **body)

    assert (answer.status_code, answer.json()) == (200, None)
    assert tree(served, user) == ({"body": {}} if "json" in body else {"query": {}})


def test_c06_what_the_stronger_place_lacks_comes_from_the_weaker(served: Served, user: str) -> None:
    served.client.post(GOALS, params={"user": user, "name": "query"}, json={"description": "from json"})
    served.client.post(GOALS, params={"user": user}, data={"name": "form"})

    assert goals(served, user)["query"]["description"] == "from json"
    assert "form" in goals(served, user)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_c08_a_missing_name_is_told_in_the_originals_words(served: Served, user: str, method: str) -> None:
    answer = served.client.request(method, GOALS, data={"user": user})

    assert (answer.status_code, answer.json()) == (400, MISSING_NAME)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("parameters", [{}, {"name": "a goal"}, {"description": "no user"}])
def test_c08_of_several_missing_parameters_the_user_is_told_first(served: Served, parameters: dict[str, str]) -> None:
    for answer in (served.client.post(GOALS, data=parameters), served.client.post(GOALS, json=parameters)):
        assert (answer.status_code, answer.json()) == (400, MISSING_USER)


@EVERY_WAY
@pytest.mark.parametrize("with_user", [False, True])
def test_c09_a_goal_is_completed(served: Served, user: str, send: Send, with_user: bool) -> None:
    name = f"goal-{uuid.uuid4().hex}"
    post(served, user, name)

    answer = send(served, "PUT", {"name": name, **({"user": user} if with_user else {})})

    assert (answer.status_code, answer.json()) == (200, None)
    assert goals(served, user)[name]["end"] is not None
    assert tree(served, user) == {name: {}}


def test_c10_completed_twice_the_first_end_stays(served: Served, user: str) -> None:
    post(served, user, "once")
    parameters = {"user": user, "name": "once"}
    assert served.client.put(GOALS, data=parameters).status_code == 200
    first = goals(served, user)["once"]["end"]

    again = served.client.put(GOALS, data=parameters)

    assert (again.status_code, again.json()) == (200, None)
    assert goals(served, user)["once"]["end"] == first


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_c12_users_are_a_stub(served: Served, method: str) -> None:
    answer = served.client.request(method, USERS)

    assert (answer.status_code, answer.json()) == (200, None)


@pytest.mark.parametrize("path", [GOALS, USERS])
@pytest.mark.parametrize("method", ["OPTIONS", "HEAD"])
def test_c13_options_and_head_answer_nothing(served: Served, path: str, method: str) -> None:
    answer = served.client.request(method, path)

    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("path", [GOALS, USERS])
def test_c13_options_tell_which_methods_there_are(served: Served, path: str) -> None:
    allowed = set(served.client.options(path).headers["allow"].split(", "))

    tried = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
    answered = {method for method in tried if served.client.request(method, path).status_code != 405}
    assert allowed == answered


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("body", [b"{", b'{"name": }', b"\xff", b'{"name": "\xff"}', b"name=form", b"{} {}", b"\x00"])
def test_c14_malformed_json_is_told(served: Served, method: str, body: bytes) -> None:
    answer = served.client.request(method, GOALS, content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
    assert isinstance(answer.json()["message"], str)


@pytest.mark.parametrize("body", [b"name=%ff&user=u", b"name=\xff&user=u"])
def test_c14_a_form_that_is_not_utf8_is_told(served: Served, body: bytes) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    answer = served.client.post(GOALS, content=body, headers=form)

    assert answer.status_code == 400
    assert isinstance(answer.json()["message"], str)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("name", [None, "", [], ["a"], {}, {"a": 1}, 7, 7.5, True, 10**400])
def test_c15_a_name_that_is_no_text_is_refused(served: Served, user: str, method: str, name: object) -> None:
    answer = served.client.request(method, GOALS, json={"user": user, "name": name})

    assert refusal(answer, 422, "invalid-value")["errors"][0]["pointer"] == "/name"
    assert tree(served, user) == {}


@pytest.mark.parametrize("send", [as_form, as_query, as_multipart])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_c15_an_empty_name_is_refused_however_it_comes(served: Served, user: str, method: str, send: Send) -> None:
    refusal(send(served, method, {"user": user, "name": ""}), 422, "invalid-value")


@pytest.mark.parametrize("member", ["user", "parent_name", "description"])
@pytest.mark.parametrize("value", [[], {}, 7, False])
def test_c15_the_same_holds_for_the_other_parameters(served: Served, user: str, member: str, value: object) -> None:
    answer = served.client.post(GOALS, json={"user": user, "name": "a goal", member: value})

    assert refusal(answer, 422, "invalid-value")["errors"][0]["pointer"] == f"/{member}"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("body", ["[]", '["name"]', '"name"', "7", "null"])
def test_c15_a_body_that_is_no_object_is_refused(served: Served, method: str, body: str) -> None:
    answer = served.client.request(method, GOALS, content=body, headers={"Content-Type": "application/json"})

    refusal(answer, 422, "invalid-value")


@EVERY_WAY
def test_c16_a_name_that_the_user_has_is_refused(served: Served, user: str, send: Send) -> None:
    post(served, user, "twice")

    answer = send(served, "POST", {"user": user, "name": "twice"})

    assert "twice" in refusal(answer, 409, "name-taken")["message"]
    assert tree(served, user) == {"twice": {}}
    post(served, user, "the service goes on")


def test_c16_another_user_may_have_the_same_name(served: Served, user: str, other: str) -> None:
    for owner in (user, other):
        post(served, owner, "shared")

    assert tree(served, user) == tree(served, other) == {"shared": {}}


def test_c16_a_deleted_goals_name_is_free_again(served: Served, user: str) -> None:
    post(served, user, "again")
    served.client.delete(GOALS, params={"user": user, "name": "again"})

    post(served, user, "again")

    assert tree(served, user) == {"again": {}}


def test_c17_an_unknown_parent_is_told_and_nothing_is_made(served: Served, user: str) -> None:
    answer = served.client.post(GOALS, data={"user": user, "name": "orphan", "parent_name": "nobody"})

    assert "nobody" in refusal(answer, 404, "goal-not-found")["message"]
    assert tree(served, user) == {}


def test_c17_the_fault_of_an_unknown_parent_is_found_at_parent_name(served: Served, user: str) -> None:
    answer = served.client.post(GOALS, json={"user": user, "name": "orphan", "parent_name": "nobody"})

    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/parent_name"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_c18_an_unknown_user_is_told(served: Served, method: str) -> None:
    answer = served.client.request(method, GOALS, data={"user": "nobody at all", "name": "a goal"})

    assert "nobody at all" in refusal(answer, 404, "user-not-found")["message"]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("with_user", [False, True])
def test_c18_an_unknown_goal_is_told(served: Served, user: str, method: str, with_user: bool) -> None:
    parameters = {"name": "never made by anyone", **({"user": user} if with_user else {})}

    answer = served.client.request(method, GOALS, data=parameters)

    assert "never made by anyone" in refusal(answer, 404, "goal-not-found")["message"]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_c19_another_users_goal_is_as_good_as_unknown(served: Served, user: str, other: str, method: str) -> None:
    post(served, other, "theirs")

    answer = served.client.request(method, GOALS, data={"user": user, "name": "theirs"})

    refusal(answer, 404, "goal-not-found")
    assert goals(served, other)["theirs"]["end"] is None


def test_c19_a_goal_is_never_made_under_another_users(served: Served, user: str, other: str) -> None:
    post(served, other, "theirs")

    answer = served.client.post(GOALS, data={"user": user, "name": "mine", "parent_name": "theirs"})

    refusal(answer, 404, "goal-not-found")
    assert tree(served, user) == {}
    assert tree(served, other) == {"theirs": {}}


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_c20_a_name_that_two_goals_share_is_told_with_their_ids_and_paths(
    served: Served, user: str, method: str
) -> None:
    work, home = (served.make_goal(user, name)["id"] for name in ("work", "home"))
    ids = [served.make_goal(user, "tidy up", parent_id=parent)["id"] for parent in (work, home)]

    for parameters in ({"user": user, "name": "tidy up"}, {"name": "tidy up"}):
        answer = served.client.request(method, GOALS, data=parameters)
        message = refusal(answer, 409, "ambiguous-name")["message"]
        assert all(goal_id in message for goal_id in ids)
        if "user" in parameters:
            assert "work / tidy up" in message
            assert "home / tidy up" in message
    assert [goal["end"] for goal in goals(served, user).values()] == [None, None, None]
    served.client.request("DELETE", f"/v2/goals/{ids[0]}")
    served.client.request("DELETE", f"/v2/goals/{ids[1]}")


def test_c20_a_parent_name_that_two_goals_share_is_told_too(served: Served, user: str) -> None:
    ids = [served.make_goal(user, "shared")["id"] for _ in range(2)]

    answer = served.client.post(GOALS, data={"user": user, "name": "child", "parent_name": "shared"})

    body = refusal(answer, 409, "ambiguous-name")
    assert all(goal_id in body["message"] for goal_id in ids)
    assert [fault["pointer"] for fault in body["errors"]] == ["/parent_name"]


def test_c20_a_name_that_several_users_share_is_told_unless_the_user_is_named(
    served: Served, user: str, other: str
) -> None:
    name = f"goal-{uuid.uuid4().hex}"
    ids = [served.make_goal(owner, name)["id"] for owner in (user, other)]

    message = refusal(served.client.put(GOALS, data={"name": name}), 409, "ambiguous-name")["message"]
    named = served.client.put(GOALS, data={"name": name, "user": other})

    assert all(goal_id in message for goal_id in ids)
    assert (named.status_code, named.json()) == (200, None)
    assert goals(served, user)[name]["end"] is None
    assert goals(served, other)[name]["end"] is not None


def test_c20_later_siblings_of_a_name_are_shown_with_a_number(served: Served, user: str) -> None:
    parent = served.make_goal(user, "run")["id"]
    for _ in range(3):
        served.make_goal(user, "run")
        served.make_goal(user, "run", parent_id=parent)

    assert tree(served, user) == {
        "run": {"run": {}, "run (2)": {}, "run (3)": {}},
        "run (2)": {},
        "run (3)": {},
        "run (4)": {},
    }


def test_c20_the_number_is_the_next_free_one(served: Served, user: str) -> None:
    for name in ("run", "run (2)", "run", "run"):
        served.make_goal(user, name)

    assert list(tree(served, user)) == ["run", "run (2)", "run (3)", "run (4)"]


def test_c20_no_goal_is_hidden_by_a_number_given_before(served: Served, user: str) -> None:
    for name in ("run", "run", "run (2)", "run (2)"):
        served.make_goal(user, name)

    shown = list(tree(served, user))

    assert shown == ["run", "run (3)", "run (2)", "run (2) (2)"]


def test_c20_deleted_goals_take_no_number(served: Served, user: str) -> None:
    first, _, _ = (served.make_goal(user, "run")["id"] for _ in range(3))
    served.client.delete(f"/v2/goals/{first}")

    assert list(tree(served, user)) == ["run", "run (2)"]


@EVERY_WAY
@pytest.mark.parametrize("with_user", [False, True])
def test_c21_a_goal_is_deleted_with_what_is_below_it(served: Served, user: str, send: Send, with_user: bool) -> None:
    name = f"goal-{uuid.uuid4().hex}"
    post(served, user, name)
    post(served, user, "below", parent_name=name)
    post(served, user, "beside")
    parameters = {"name": name, **({"user": user} if with_user else {})}

    answer = send(served, "DELETE", parameters)

    assert (answer.status_code, answer.json()) == (200, None)
    assert tree(served, user) == {"beside": {}}
    refusal(send(served, "DELETE", parameters), 404, "goal-not-found")


@EVERY_WAY
@pytest.mark.parametrize("name", ["Vögel füttern", "跑步", "🏃", "a+b & c=d%20", "'; DROP TABLE goals; --", "<b>"])
def test_c22_a_name_may_hold_any_letters(served: Served, user: str, send: Send, name: str) -> None:
    for method in ("POST", "PUT", "DELETE"):
        answer = send(served, method, {"user": user, "name": name})

        assert (answer.status_code, answer.json()) == (200, None), answer.text
        assert list(tree(served, user)) == ([] if method == "DELETE" else [name])


def test_c22_letters_are_the_same_composed_or_not(served: Served, user: str) -> None:
    post(served, user, "Vo\u0308gel")

    assert list(tree(served, user)) == ["V\u00f6gel"]
    assert served.client.put(GOALS, data={"user": user, "name": " Vo\u0308gel "}).status_code == 200


def chain(served: Served, user: str, length: int, name: Callable[[int], str]) -> None:
    """Each goal under the one before, a thousand a batch."""
    ids = [None, *(str(uuid.uuid4()) for _ in range(length))]
    commands = [
        {"type": "CreateGoal", "id": goal_id, "parent_id": parent_id, "name": name(index)}
        for index, (parent_id, goal_id) in enumerate(pairwise(ids))
    ]
    for begin in range(0, length, 1000):
        answer = served.post(f"/v2/users/{user}/commands", {"commands": commands[begin : begin + 1000]})
        assert answer.status_code == 200, answer.text


def levels(text: str) -> list[list[str]]:
    """The member names at each depth of nested objects; never recurses."""
    found: list[list[str]] = []
    depth = 0
    for piece in re.findall(r'"(?:[^"\\]|\\.)*"|[{}]', text):
        if piece == "{":
            depth += 1
        elif piece == "}":
            depth -= 1
        else:
            found += [[] for _ in range(depth - len(found))]
            found[depth - 1].append(piece[1:-1])
    assert depth == 0
    return found


def test_c23_a_long_chain_is_shown_extended_completed_and_deleted(own: Served) -> None:
    length = 20_000
    own.make_user("deep")
    chain(own, "deep", length, lambda index: f"g{index}")

    answer = own.client.get(GOALS)

    assert answer.status_code == 200, answer.text
    assert levels(answer.text) == [["deep"], *([f"g{index}"] for index in range(length))]
    post(own, "deep", "the last", parent_name=f"g{length - 1}")
    assert levels(own.client.get(GOALS).text)[length + 1] == ["the last"]
    assert own.client.put(GOALS, data={"name": "the last"}).json() is None
    assert own.client.delete(GOALS, params={"user": "deep", "name": "g0"}).json() is None
    assert own.client.get(GOALS).json() == {"deep": {}}


def test_c20_many_siblings_of_one_name_are_shown_in_time(own: Served) -> None:
    own.make_user("wide")
    for _ in range(5):
        batch = {"commands": [{"type": "CreateGoal", "name": "run"}] * 1000}
        assert own.post("/v2/users/wide/commands", batch).status_code == 200

    answer = in_time(own.client.get(GOALS))

    assert answer.status_code == 200, answer.text
    assert set(answer.json()["wide"]) == {"run", *(f"run ({number})" for number in range(2, 5_001))}


def test_c20_a_name_that_many_goals_share_holds_nobody_up(own: Served) -> None:
    own.make_user("deep")
    chain(own, "deep", 5_000, lambda _: "run")

    for method, key in (("PUT", "name"), ("DELETE", "name"), ("POST", "parent_name")):
        answer = own.client.request(method, GOALS, data={"user": "deep", "name": "new", key: "run"})

        refusal(in_time(answer), 409, "ambiguous-name")
        assert len(answer.content) < 100_000
