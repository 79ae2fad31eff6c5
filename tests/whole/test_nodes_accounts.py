"""Two nodes with accounts on one PostgreSQL: whom one lets in or not, the other one does too, from that moment on."""

import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from itertools import count
from typing import Any

import httpx2
import pytest

from es_goals.ids import wall_clock
from tests.support.commands import on
from tests.support.engines import open_storage
from tests.support.postgres import fresh, shared
from tests.support.serving import Served, refused, wait_for

VERSION = "18"
PASSWORD = "an apple a day"  # noqa: S105
WRONG = "a pear a day"
NODES = {"ES_GOALS_REQUESTS_LIMIT": "0", "ES_GOALS_PROXIES": "127.0.0.1", "ES_GOALS_DEADLINE": "30"}
_WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
_ADMINISTRATORS = "SELECT name FROM es_goals.users WHERE role = 'administrator'"

Nodes = tuple[Served, Served]
addresses = map("192.0.2.{}".format, count(1))
"""Of clients that no other test has."""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Both found a new log before either could write to it. Their clients are the administrator's."""
    folders = [tmp_path_factory.mktemp("node") for _ in range(2)]
    with fresh(VERSION) as url, ThreadPoolExecutor(2) as pool:
        with closing(open_storage(url, wall_clock)) as storage, storage.log.writing():
            begun = [pool.submit(Served, folder, workers=1, db=url, env=NODES, accounts=True) for folder in folders]
            wait_for(lambda: len(execute(url, _WAITING)) == 2, "both nodes to wait for the log's lock")
        one, other = (served.result() for served in begun)
        try:
            for node in (one, other):
                node.use(one.token or other.token)
            yield one, other
            one.verified()
        finally:
            for node in (one, other):
                node.client.close()
                with suppress(ProcessLookupError):
                    node.kill()


def execute(url: str, statement: str) -> list[tuple[Any, ...]]:
    return shared(VERSION).execute(statement, url.rpartition("/")[2])


both_ways = pytest.mark.parametrize("first", [0, 1], ids=["one-other", "other-one"])
"""Which node is the one."""


def user(node: Served) -> str:
    """The name of a new one, who has the password."""
    name = f"user-{uuid.uuid4().hex}"
    answer = node.post("/v2/users", {"name": name, "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    return name


def sign_in(node: Served, name: str, password: str, address: str) -> httpx2.Response:
    """Tried, from an address behind the proxy."""
    return node.post("/v2/sessions", {"user": name, "password": password}, X_Forwarded_For=address)


def session(node: Served, name: str) -> str:
    """The token of a new one."""
    answer = sign_in(node, name, PASSWORD, next(addresses))
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["token"]
    return token


def ask(node: Served, method: str, path: str, token: str, body: Any = None) -> httpx2.Response:
    """As who has the token."""
    return node.client.request(method, path, json=body, headers={"Authorization": f"Bearer {token}"})


def let_in(node: Served, name: str, token: str) -> bool:
    """Whether it is; if not, as anybody whose token is no good."""
    answer = ask(node, "GET", f"/v2/users/{name}", token)
    if answer.status_code != 200:
        refused(answer, 401, "unauthenticated")
    return answer.status_code == 200


def limited(answer: httpx2.Response) -> bool:
    """Whether there were too many guesses; if not, this one was wrong."""
    if answer.status_code != 429:
        refused(answer, 401, "sign-in-refused")
        return False
    refused(answer, 429, "too-many-attempts")
    return 0 < int(answer.headers["Retry-After"]) <= 900


def test_of_two_nodes_that_find_a_new_log_one_makes_the_administrator_and_tells_a_token(nodes: Nodes) -> None:
    told = re.findall("made the administrator admin.*esgt_", "".join(node.output.read_text() for node in nodes))

    assert len(told) == 1
    assert execute(nodes[0].database, _ADMINISTRATORS) == [("admin",)]
    assert [node.client.get("/v2/users").status_code for node in nodes] == [200, 200]


@both_ways
def test_guesses_on_an_account_count_over_both_nodes(nodes: Nodes, first: int) -> None:
    one, other = nodes[first], nodes[1 - first]
    name, bystander = user(one), user(one)

    guesses = [sign_in(node, name, WRONG, next(addresses)) for node in (one, one, one, other, other)]

    assert not any(map(limited, guesses))
    assert all(limited(sign_in(node, name, PASSWORD, next(addresses))) for node in nodes)
    assert sign_in(other, bystander, PASSWORD, next(addresses)).status_code == 201


def test_guesses_from_an_address_count_over_both_nodes(nodes: Nodes) -> None:
    one, other = nodes
    address, name = next(addresses), user(one)

    guesses = [sign_in(node, f"nobody-{uuid.uuid4().hex}", WRONG, address) for node in (one, one, one, other, other)]

    assert not any(map(limited, guesses))
    assert all(limited(sign_in(node, name, PASSWORD, address)) for node in nodes)
    assert sign_in(one, name, PASSWORD, next(addresses)).status_code == 201


def test_a_fifth_guess_on_the_other_node_may_be_the_right_one(nodes: Nodes) -> None:
    one, other = nodes
    address, name = next(addresses), user(one)

    guesses = [sign_in(node, name, WRONG, address) for node in (one, one, other, other)]

    assert not any(map(limited, guesses))
    assert sign_in(one, name, PASSWORD, address).status_code == 201


def test_guessers_do_not_lock_out_who_is_signed_in_on_the_other_node(nodes: Nodes) -> None:
    one, other = nodes
    home, name = next(addresses), user(one)
    assert sign_in(one, name, PASSWORD, home).status_code == 201

    guesses = [sign_in(node, name, WRONG, next(addresses)) for node in (one, one, one, other, other)]

    assert not any(map(limited, guesses))
    assert limited(sign_in(other, name, PASSWORD, next(addresses)))
    assert sign_in(other, name, PASSWORD, home).status_code == 201


@both_ways
def test_a_token_that_one_node_revoked_is_refused_by_the_other_one_at_once(nodes: Nodes, first: int) -> None:
    one, other = nodes[first], nodes[1 - first]
    name = user(one)
    mine = session(one, name)
    for _ in range(3):
        gone, stays = (ask(one, "POST", "/v2/tokens", mine, {"name": "t", "scope": "read"}).json() for _ in range(2))
        assert let_in(other, name, gone["token"])

        assert ask(one, "DELETE", f"/v2/tokens/{gone['id']}", mine).status_code == 204

        assert not let_in(other, name, gone["token"])
        assert not let_in(one, name, gone["token"])
        assert let_in(other, name, stays["token"])


@both_ways
def test_a_password_that_is_changed_on_one_node_ends_the_sessions_on_the_other_one(nodes: Nodes, first: int) -> None:
    one, other = nodes[first], nodes[1 - first]
    name = user(one)
    mine, stolen = session(one, name), session(other, name)
    assert all(let_in(node, name, token) for node in nodes for token in (mine, stolen))

    change = {"current": PASSWORD, "new": WRONG}
    assert ask(one, "PUT", f"/v2/users/{name}/password", mine, change).status_code == 204

    assert [let_in(node, name, stolen) for node in (other, one)] == [False, False]
    assert [let_in(node, name, mine) for node in (other, one)] == [True, True]
    assert not limited(sign_in(other, name, PASSWORD, next(addresses)))
    assert sign_in(other, name, WRONG, next(addresses)).status_code == 201


@both_ways
def test_who_signs_out_on_one_node_is_signed_out_on_the_other_one(nodes: Nodes, first: int) -> None:
    one, other = nodes[first], nodes[1 - first]
    name = user(one)
    mine, elsewhere = session(one, name), session(other, name)
    assert all(let_in(node, name, token) for node in nodes for token in (mine, elsewhere))

    assert ask(one, "DELETE", "/v2/sessions/current", mine).status_code == 204

    assert [let_in(node, name, mine) for node in (other, one)] == [False, False]
    assert [let_in(node, name, elsewhere) for node in (other, one)] == [True, True]


def test_a_user_whom_the_command_line_disables_is_refused_by_both_nodes_at_once(nodes: Nodes) -> None:
    name = user(nodes[0])
    token, bystander = session(nodes[0], name), session(nodes[1], user(nodes[1]))
    assert all(let_in(node, name, token) for node in nodes)

    assert on(nodes[0].database, "user", "disable", name).exit_code == 0

    assert not any(let_in(node, name, token) for node in nodes)
    assert not any(limited(sign_in(node, name, PASSWORD, next(addresses))) for node in nodes)
    assert all(ask(node, "GET", "/v2/tokens", bystander).status_code == 200 for node in nodes)
