"""Users as clients see them: making them, finding them, and paging through all of them."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from tests.support.serving import Served, refused


def unique(start: str = "name") -> str:
    return f"{start}-{uuid.uuid4().hex}"


def all_users(served: Served) -> list[dict[str, Any]]:
    page = served.get("/v2/users", limit=1000)
    assert page["next"] is None
    users: list[dict[str, Any]] = page["users"]
    return users


def test_a_user_is_made_with_a_name_and_an_address(served: Served) -> None:
    name = unique()

    answer = served.post("/v2/users", {"name": name, "email": "ann@example.org"})

    user = answer.json()
    registered = served.events(f"/users/{user['id']}")
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v2/users/{user['id']}"
    assert answer.headers["Position"] == str(registered[0]["position"])
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert user == {"id": user["id"], "name": name, "email": "ann@example.org", "created_at": registered[0]["at"]}
    assert uuid.UUID(user["id"]).version == 7
    assert served.get(answer.headers["Location"]) == served.get(f"/v2/users/{name}") == user


def test_a_name_is_all_that_a_user_needs(served: Served) -> None:
    answer = served.post("/v2/users", {"name": unique()})

    assert (answer.status_code, answer.json()["email"]) == (201, None)


def test_the_log_holds_neither_name_nor_address(served: Served) -> None:
    name = unique()
    user = served.post("/v2/users", {"name": name, "email": "ann@example.org", "reason": "a friend"}).json()

    (event,) = served.events(f"/users/{user['id']}")

    assert (event["type"], event["version"], event["goal_id"]) == ("UserRegistered", 1, None)
    assert event["data"] == {"user_id": user["id"]}
    assert (event["user"], event["actor"], event["reason"]) == (user["id"], None, "a friend")


@pytest.mark.parametrize("bad", ["", "x" * 65, "a/b", "0199aaaa-0000-7000-8000-000000000000", None, 7])
def test_a_name_that_breaks_a_rule_is_refused(served: Served, bad: object) -> None:
    before = len(all_users(served))

    problem = refused(served.post("/v2/users", {"name": bad}), 422, "invalid-value")

    assert problem["errors"][0]["pointer"] == "/name"
    assert len(all_users(served)) == before


@pytest.mark.parametrize("bad", ["nobody", "x" * 250 + "@x.org", 7])
def test_an_address_that_is_none_is_refused(served: Served, bad: object) -> None:
    problem = refused(served.post("/v2/users", {"name": unique(), "email": bad}), 422, "invalid-value")

    assert problem["errors"][0]["pointer"] == "/email"


def test_a_name_is_kept_trimmed_and_composed(served: Served) -> None:
    end = uuid.uuid4().hex

    assert served.post("/v2/users", {"name": f"  Zoe\u0308 {end} "}).json()["name"] == f"Zo\u00eb {end}"


def test_a_name_may_have_sixty_four_characters(served: Served) -> None:
    name = "ü" * 32 + uuid.uuid4().hex

    assert served.post("/v2/users", {"name": name}).status_code == 201
    assert served.get(f"/v2/users/{quote(name)}")["name"] == name


@pytest.mark.parametrize(("first", "second"), [("Straße", "STRASSE"), ("ｆｕｌｌ", "full")])
def test_names_that_differ_only_in_case_or_width_are_the_same(served: Served, first: str, second: str) -> None:
    end = uuid.uuid4().hex
    user = served.post("/v2/users", {"name": first + end}).json()

    problem = refused(served.post("/v2/users", {"name": second + end}), 409, "user-name-taken")

    assert problem["title"] == "User name taken"
    assert served.get(f"/v2/users/{quote(second + end)}") == user


def test_of_five_who_want_a_name_at_once_one_gets_it(served: Served) -> None:
    name = unique()

    def register(_: int) -> int:
        with httpx2.Client(base_url=served.url, timeout=30) as client:
            return client.post("/v2/users", json={"name": name}).status_code

    with ThreadPoolExecutor(5) as threads:
        statuses = list(threads.map(register, range(5)))

    assert sorted(statuses) == [201, 409, 409, 409, 409]
    assert [user["name"] for user in all_users(served)].count(name) == 1


@pytest.mark.parametrize("start", ["Zoë", "日本", "a b", "100%", "what?", "c#", "a+b", "%2F", "semi;colon", "‘quoted’"])
def test_a_name_is_percent_encoded_in_a_path(served: Served, start: str) -> None:
    name = unique(start)
    user = served.post("/v2/users", {"name": name}).json()
    path = f"/v2/users/{quote(name, safe='')}"

    goal = served.post(f"{path}/goals", {"name": "first"})

    assert served.get(path) == user
    assert goal.json()["user"] == name
    assert served.get(f"{path}/goals")["user"] == name


def test_nobody_is_found_by_a_name_or_id_that_nobody_has(served: Served) -> None:
    for unknown in ("nobody-of-this-name", "01990000-0000-7000-8000-000000000000", "%FF", "%00", "x" * 2_000):
        refused(served.client.get(f"/v2/users/{unknown}"), 404, "user-not-found")


def test_the_users_are_paged_in_order_each_once(served: Served) -> None:
    for _ in range(8):
        served.make_user(unique())
    wanted = all_users(served)
    found, page, url = [], 0, "/v2/users?limit=7"

    while url:
        answer = served.client.get(url)
        assert answer.status_code == 200
        page += 1
        found += answer.json()["users"]
        url = answer.json()["next"]
        assert answer.headers.get("Link") == (f'<{url}>; rel="next"' if url else None)

    assert found == wanted
    assert page == (len(wanted) + 6) // 7


def test_a_page_that_is_just_full_is_the_last(served: Served) -> None:
    for _ in range(2):
        served.make_user(unique())
    count = len(all_users(served))

    assert served.get("/v2/users", limit=count)["next"] is None
    assert served.get("/v2/users", limit=count - 1)["next"] is not None


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=-1", "limit=x", "limit=1.5", "limit=", "offset=1"])
def test_a_page_out_of_bounds_is_refused(served: Served, query: str) -> None:
    problem = refused(served.client.get(f"/v2/users?{query}"), 422, "invalid-value")

    assert problem["errors"][0]["parameter"] == query.partition("=")[0]


def test_a_registration_is_done_once_under_its_key(served: Served) -> None:
    name, key = unique(), unique("key")

    answers = [served.post("/v2/users", {"name": name}, Idempotency_Key=key) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    for header in ("Location", "Position"):
        assert answers[0].headers[header] == answers[1].headers[header]
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers] == [None, "true"]
    refused(served.post("/v2/users", {"name": unique()}, Idempotency_Key=key), 422, "key-reused")


def test_a_refused_registration_leaves_nothing_behind(served: Served) -> None:
    name, key = unique(), unique("key")
    served.make_user(name)
    before = served.get("/v2/projections/activity")["head"]

    refused(served.post("/v2/users", {"name": name}, Idempotency_Key=key), 409, "user-name-taken")

    assert served.get("/v2/projections/activity")["head"] == before
    assert served.post("/v2/users", {"name": unique()}, Idempotency_Key=key).status_code == 201
