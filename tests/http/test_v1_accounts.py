"""The original API over real HTTP, with accounts: every case of its compatibility table that applies then.

`served` and `user` are here the service as one user sees it, with a token in `Access-Token`, and that user's name.
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import pytest

from es_goals.accounts import changes
from es_goals.accounts.caller import fingerprint, new_secret
from es_goals.ids import Uuid7, wall_clock
from es_goals.storage.log import Cause, Token, User
from tests.http import test_v1
from tests.http.test_v1 import EVERY_WAY, GOALS, USERS, Send, chain, goals, levels, refusal
from tests.support.engines import open_storage
from tests.support.serving import Served

MISSING_NAME = {"message": {"name": "Missing required parameter in the JSON body or the post body or the query string"}}
DENIED = {"message": "Access Denied!"}
OPEN, DONE = {"status": "In progress"}, {"status": "Done"}
HOUR = 3_600_000_000  # µs
CHANGES = pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])

test_c02_siblings_keep_their_order = test_v1.test_c02_siblings_keep_the_order_in_which_they_were_made
test_c06_what_the_stronger_place_lacks = test_v1.test_c06_what_the_stronger_place_lacks_comes_from_the_weaker
test_c10_completed_twice_the_first_end_stays = test_v1.test_c10_completed_twice_the_first_end_stays
test_c12_users_are_a_stub = test_v1.test_c12_users_are_a_stub
test_c13_options_and_head_answer_nothing = test_v1.test_c13_options_and_head_answer_nothing
test_c13_options_tell_which_methods_there_are = test_v1.test_c13_options_tell_which_methods_there_are
test_c14_malformed_json_is_told = test_v1.test_c14_malformed_json_is_told
test_c14_a_form_that_is_not_utf8_is_told = test_v1.test_c14_a_form_that_is_not_utf8_is_told
test_c15_a_name_that_is_no_text_is_refused = test_v1.test_c15_a_name_that_is_no_text_is_refused
test_c15_an_empty_name_is_refused = test_v1.test_c15_an_empty_name_is_refused_however_it_comes
test_c15_a_body_that_is_no_object_is_refused = test_v1.test_c15_a_body_that_is_no_object_is_refused
test_c17_an_unknown_parent_is_told = test_v1.test_c17_an_unknown_parent_is_told_and_nothing_is_made
test_c17_the_fault_is_at_parent_name = test_v1.test_c17_the_fault_of_an_unknown_parent_is_found_at_parent_name
test_c18_an_unknown_goal_is_told = test_v1.test_c18_an_unknown_goal_is_told
test_c20_a_shared_name_is_told = test_v1.test_c20_a_name_that_two_goals_share_is_told_with_their_ids_and_paths
test_c20_a_shared_parent_name_is_told = test_v1.test_c20_a_parent_name_that_two_goals_share_is_told_too
test_c20_the_number_is_the_next_free_one = test_v1.test_c20_the_number_is_the_next_free_one
test_c20_no_goal_is_hidden_by_a_number = test_v1.test_c20_no_goal_is_hidden_by_a_number_given_before
test_c20_deleted_goals_take_no_number = test_v1.test_c20_deleted_goals_take_no_number
test_c22_a_name_may_hold_any_letters = test_v1.test_c22_a_name_may_hold_any_letters
test_c22_letters_are_the_same_composed_or_not = test_v1.test_c22_letters_are_the_same_composed_or_not


class Person(NamedTuple):
    """A user, and the headers of a client that has a token of theirs."""

    name: str
    headers: dict[str, str]


Enrol = Callable[..., Person]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with accounts whose client is nobody's."""
    folder = tmp_path_factory.mktemp("v1")
    with Served(folder, accounts=True, env={"ES_GOALS_REQUESTS_LIMIT": "0"}) as served:
        del served.client.headers["Authorization"]
        yield served


@pytest.fixture(scope="module")
def enrol(service: Served) -> Iterator[Enrol]:
    """Makes a new user with a token; in the database, since no password need be hashed there."""
    new_id = Uuid7(wall_clock)
    with closing(open_storage(service.database, wall_clock)) as storage:

        def enrol(role: str = "user", scope: str = "write", seconds: int = 3600, revoked: bool = False) -> Person:
            user, secret = User(new_id(), f"user-{uuid.uuid4().hex}", None, 0, role), new_secret("esgt_")
            with storage.log.writing() as transaction:
                changes.register(transaction, user, Cause(new_id(), "test"))
                ends = transaction.at + seconds * 1_000_000
                token = Token(new_id(), user.id, "test", scope, fingerprint(secret), 0, ends)
                changes.issue(transaction, token, Cause(new_id(), "test"))
                if revoked:
                    changes.revoke(transaction, token, Cause(new_id(), "test"))
            return Person(user.name, {"Access-Token": secret})

        yield enrol


@pytest.fixture
def other(enrol: Enrol) -> Person:
    """One more user."""
    return enrol()


@pytest.fixture
def user(service: Served, enrol: Enrol) -> Iterator[str]:
    """The name of a user whom no other test knows, and who is signed in."""
    person = enrol()
    service.client.headers.update(person.headers)
    yield person.name
    del service.client.headers["Access-Token"]


@pytest.fixture
def served(service: Served, user: str) -> Served:
    """The service, as the user sees it."""
    del user
    return service


def post(served: Served, name: str, **more: str) -> None:
    answer = served.client.post(GOALS, data={"name": name, **more})
    assert (answer.status_code, answer.json()) == (200, None), answer.text


def shown(served: Served, headers: dict[str, str] | None = None) -> Any:
    """What GET answers, whole."""
    answer = served.client.get(GOALS, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
    return answer.json()


def test_c01_a_user_without_goals_is_shown_with_none_and_nobody_else(served: Served, user: str, other: Person) -> None:
    assert shown(served) == {user: {}}
    assert shown(served, other.headers) == {other.name: {}}


def test_c03_the_articles_fixture_is_shown_with_each_goals_status(served: Served, user: str, other: Person) -> None:
    for name, parent in {
        "goal-0": "", "goal-1": "", "goal-2": "goal-1", "goal-3": "goal-1",
        "goal-4": "goal-3", "goal-5": "goal-3", "goal-6": "goal-3",
    }.items():  # fmt: skip
        post(served, name, parent_name=parent)
    served.client.post(GOALS, data={"name": "goal-7"}, headers=other.headers)
    for name in ("goal-0", "goal-4"):
        served.client.put(GOALS, data={"name": name})

    below = {**OPEN, "goal-4": DONE, "goal-5": OPEN, "goal-6": OPEN}
    assert shown(served) == {user: {"goal-0": DONE, "goal-1": {**OPEN, "goal-2": OPEN, "goal-3": below}}}
    assert shown(served, other.headers) == {other.name: {"goal-7": OPEN}}


@EVERY_WAY
def test_c04_a_goal_is_made(served: Served, user: str, send: Send) -> None:
    answer = send(served, "POST", {"name": "new-goal", "description": "what & why = ☃"})

    assert (answer.status_code, answer.json()) == (200, None)
    assert answer.headers["content-type"] == "application/json"
    goal = goals(served, user)["new-goal"]
    assert goal["start"] is not None
    assert goal["end"] is None
    assert goal["description"] == "what & why = ☃"


@EVERY_WAY
def test_c05_a_goal_is_made_under_the_named_parent(served: Served, user: str, send: Send) -> None:
    post(served, "above")

    answer = send(served, "POST", {"name": "below", "parent_name": "above"})

    assert (answer.status_code, answer.json()) == (200, None)
    assert shown(served) == {user: {"above": {**OPEN, "below": OPEN}}}


@pytest.mark.parametrize(
    ("body", "stronger"),
    [({"json": {"name": "body"}}, "body"), ({"data": {"name": "body"}}, "query"),
     ({"files": {"name": (None, "body")}}, "query")],
)  # fmt: skip
def test_c06_json_beats_the_query_and_the_query_beats_a_form(
    served: Served, user: str, body: dict[str, Any], stronger: str
) -> None:
    answer = served.client.post(GOALS, params={"name": "query"}, **body)

    assert (answer.status_code, answer.json()) == (200, None)
    assert shown(served) == {user: {stronger: OPEN}}


@EVERY_WAY
@CHANGES
def test_c07_a_missing_name_is_told_in_the_originals_words(served: Served, user: str, method: str, send: Send) -> None:
    answer = send(served, method, {"user": user, "description": "no name"})

    assert (answer.status_code, answer.json()) == (400, MISSING_NAME)
    assert answer.headers["content-type"] == "application/json"


@EVERY_WAY
def test_c09_a_goal_is_completed_and_shown_as_done(served: Served, user: str, send: Send) -> None:
    post(served, "a goal")

    answer = send(served, "PUT", {"name": "a goal"})

    assert (answer.status_code, answer.json()) == (200, None)
    assert goals(served, user)["a goal"]["end"] is not None
    assert shown(served) == {user: {"a goal": DONE}}


@pytest.mark.parametrize("path", [GOALS, USERS])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize(("query", "body"), [("", b""), ("?name=%ff", b""), ("", b"{"), ("", b'{"name": 7}')])
def test_c11_nobody_is_denied_before_anything_is_read(
    service: Served, path: str, method: str, query: str, body: bytes
) -> None:
    as_json = {"Content-Type": "application/json"}

    answer = service.client.request(method, path + query, content=body, headers=as_json)

    assert (answer.status_code, answer.json()) == (401, DENIED)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "headers",
    [
        {"Access-Token": ""}, {"Access-Token": "made up"}, {"Access-Token": "esgt_" + "0" * 64},
        {"Authorization": "Bearer"}, {"Authorization": "Bearer esgs_" + "0" * 64}, {"Authorization": "Basic YTpi"},
    ],
)  # fmt: skip
def test_c11_a_bad_token_is_denied(service: Served, headers: dict[str, str]) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        answer = service.client.request(method, GOALS, headers=headers)

        assert (answer.status_code, answer.json()) == (401, DENIED)


@pytest.mark.parametrize("over", [{"seconds": -1}, {"revoked": True}])
def test_c11_a_token_that_is_no_more_good_is_denied(service: Served, enrol: Enrol, over: dict[str, Any]) -> None:
    answer = service.client.get(GOALS, headers=enrol(**over).headers)

    assert (answer.status_code, answer.json()) == (401, DENIED)


def test_c11_a_token_is_taken_from_either_header(served: Served, user: str, other: Person) -> None:
    bearer = {"Authorization": f"Bearer {other.headers['Access-Token']}"}
    for method in ("POST", "PUT"):
        answer = served.client.request(method, GOALS, data={"name": "theirs"}, headers={**bearer, "Access-Token": ""})
        assert (answer.status_code, answer.json()) == (200, None)

    assert shown(served, bearer) == {other.name: {"theirs": DONE}}
    assert shown(served) == {user: {}}


@pytest.mark.parametrize("path", [GOALS, USERS])
def test_c13_options_tell_nobody_the_methods_but_head_is_denied(service: Served, path: str) -> None:
    options, head = service.client.options(path), service.client.head(path)

    assert (options.status_code, options.content) == (200, b"")
    assert (head.status_code, head.content) == (401, b"")


@pytest.mark.parametrize("member", ["parent_name", "description"])
@pytest.mark.parametrize("value", [[], {}, 7, False])
def test_c15_the_same_holds_for_the_other_parameters(served: Served, user: str, member: str, value: object) -> None:
    answer = served.client.post(GOALS, json={"name": "a goal", member: value})

    assert refusal(answer, 422, "invalid-value")["errors"][0]["pointer"] == f"/{member}"
    assert shown(served) == {user: {}}


@pytest.mark.parametrize("meant", [None, "", [], 7, "nobody at all", "other"])
def test_who_is_signed_in_is_the_user_whatever_is_said(served: Served, user: str, other: Person, meant: object) -> None:
    parameters = {"name": "mine", "user": other.name if meant == "other" else meant}

    for method, after in (("POST", {"mine": OPEN}), ("PUT", {"mine": DONE}), ("DELETE", {})):
        answer = served.client.request(method, GOALS, json=parameters)
        assert (answer.status_code, answer.json()) == (200, None)
        assert shown(served) == {user: after}
    assert shown(served, other.headers) == {other.name: {}}


@EVERY_WAY
def test_c16_a_name_that_the_user_has_is_refused(served: Served, user: str, send: Send) -> None:
    post(served, "twice")

    answer = send(served, "POST", {"name": "twice"})

    assert "twice" in refusal(answer, 409, "name-taken")["message"]
    assert shown(served) == {user: {"twice": OPEN}}
    post(served, "the service goes on")


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("named", [False, True])
def test_c19_another_users_goal_is_as_good_as_unknown(
    served: Served, user: str, other: Person, method: str, named: bool
) -> None:
    served.client.post(GOALS, data={"name": "theirs"}, headers=other.headers)
    parameters = {"name": "theirs", **({"user": other.name} if named else {})}

    answer = served.client.request(method, GOALS, data=parameters)

    found = refusal(answer, 404, "goal-not-found")
    unknown = served.client.request(method, GOALS, data={"name": "unknown"}).json()
    assert found["message"].replace("theirs", "unknown") == unknown["message"]
    assert shown(served, other.headers) == {other.name: {"theirs": OPEN}}
    assert shown(served) == {user: {}}


def test_c19_a_goal_is_never_made_under_another_users(served: Served, user: str, other: Person) -> None:
    served.client.post(GOALS, data={"name": "theirs"}, headers=other.headers)

    answer = served.client.post(GOALS, data={"name": "mine", "parent_name": "theirs"})

    refusal(answer, 404, "goal-not-found")
    assert shown(served) == {user: {}}
    assert shown(served, other.headers) == {other.name: {"theirs": OPEN}}


def test_c19_two_users_goals_of_one_name_are_not_confused(served: Served, user: str, other: Person) -> None:
    for headers in (None, other.headers):
        served.client.post(GOALS, data={"name": "shared"}, headers=headers)

    done = served.client.put(GOALS, data={"name": "shared"})

    assert (done.status_code, done.json()) == (200, None)
    assert shown(served) == {user: {"shared": DONE}}
    assert shown(served, other.headers) == {other.name: {"shared": OPEN}}


def test_c20_later_siblings_of_a_name_are_shown_with_a_number(served: Served, user: str) -> None:
    parent = served.make_goal(user, "run")["id"]
    for _ in range(2):
        served.make_goal(user, "run")
        served.make_goal(user, "run", parent_id=parent)

    assert shown(served) == {user: {"run": {**OPEN, "run": OPEN, "run (2)": OPEN}, "run (2)": OPEN, "run (3)": OPEN}}


def test_c20_a_sub_goal_named_status_does_not_hide_its_parents(served: Served, user: str) -> None:
    top = served.make_goal(user, "status")["id"]
    for name in ("status", "status (2)", "status"):
        served.make_goal(user, name, parent_id=top)
    alone = served.make_goal(user, "alone")["id"]
    served.order(served.make_goal(user, "status", parent_id=alone), "complete")

    assert shown(served) == {
        user: {
            "status": {**OPEN, "status (3)": OPEN, "status (2)": OPEN, "status (4)": OPEN},
            "alone": {**OPEN, "status (2)": DONE},
        }
    }


@EVERY_WAY
def test_c21_a_goal_is_deleted_with_what_is_below_it(served: Served, user: str, send: Send) -> None:
    post(served, "above")
    post(served, "below", parent_name="above")
    post(served, "beside")

    answer = send(served, "DELETE", {"name": "above"})

    assert (answer.status_code, answer.json()) == (200, None)
    assert shown(served) == {user: {"beside": OPEN}}
    refusal(send(served, "DELETE", {"name": "above"}), 404, "goal-not-found")


def test_c23_a_long_chain_is_shown_extended_completed_and_deleted(served: Served, user: str) -> None:
    length = 3_000
    chain(served, user, length, lambda index: f"g{index}")

    post(served, "the last", parent_name=f"g{length - 1}")
    assert served.client.put(GOALS, data={"name": "the last"}).json() is None

    answer = served.client.get(GOALS)
    assert answer.status_code == 200
    assert answer.text.count('"status":"In progress"') == length
    names = answer.text.replace('"status":"In progress",', "").replace('"status":"Done"', "")
    assert levels(names) == [[user], *([f"g{index}"] for index in range(length)), ["the last"]]
    assert served.client.delete(GOALS, params={"name": "g0"}).json() is None
    assert shown(served) == {user: {}}


@pytest.mark.parametrize(("role", "scope"), [("auditor", "write"), ("user", "read"), ("administrator", "read")])
def test_who_may_only_read_sees_their_own_goals_and_changes_none(
    service: Served, enrol: Enrol, role: str, scope: str
) -> None:
    reader = enrol(role, scope)

    for method in ("POST", "PUT", "DELETE"):
        answer = service.client.request(method, GOALS, data={"name": "a goal"}, headers=reader.headers)
        refusal(answer, 403, "forbidden")

    assert shown(service, reader.headers) == {reader.name: {}}
    assert service.client.get(USERS, headers=reader.headers).json() is None


def test_an_administrator_sees_their_own_goals_only(served: Served, user: str, enrol: Enrol) -> None:
    administrator = enrol("administrator")
    post(served, "mine")

    served.client.post(GOALS, data={"name": "theirs", "user": user}, headers=administrator.headers)

    assert shown(served) == {user: {"mine": OPEN}}
    assert shown(served, administrator.headers) == {administrator.name: {"theirs": OPEN}}
