"""Large answers that clients do not read: what they may take of memory, and who may have them."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from es_goals.events import Event, GoalDescribed
from es_goals.http.edge.unread import LARGE, Place, Unread, in_pieces
from es_goals.http.problems import Refusal
from es_goals.reads import trees
from tests.support.attacks import goal_id, person
from tests.support.histories import created
from tests.support.people import Inside, Wire
from tests.support.serving import Served

MIB = 2**20


def refusal(unread: Unread, data: bytes, user: str | None) -> str:
    with pytest.raises(Refusal, match=r"expected at most [0-9]+ bytes of .*answers to wait") as refused:
        unread.place(data, user)
    return refused.value.slug


def test_a_user_has_half_of_the_bytes_and_all_have_the_whole() -> None:
    unread = Unread(100)
    held = [unread.place(bytes(20), "ann"), unread.place(bytes(30), "ann")]

    assert refusal(unread, bytes(1), "ann") == "too-many-own-streams"
    held += [unread.place(bytes(40), "bob"), unread.place(bytes(10), None)]
    assert refusal(unread, bytes(1), "eve") == "too-many-streams"
    assert refusal(unread, bytes(1), None) == "too-many-streams"
    held.pop(0)
    held.append(unread.place(bytes(20), "eve"))


def test_a_single_answer_is_never_too_large() -> None:
    unread = Unread(10)
    held: list[Place] = [unread.place(bytes(50), "ann")]

    assert refusal(unread, bytes(1), "ann") == "too-many-own-streams"
    assert refusal(unread, bytes(1), "bob") == "too-many-streams"
    held.clear()
    assert unread.place(bytes(60), "bob")


def test_what_several_read_counts_once_until_the_last_of_them_has_it() -> None:
    unread, data = Unread(100), bytes(50)
    held = [unread.place(data, "ann") for _ in range(10)] + [unread.place(data, "bob")]

    assert refusal(unread, bytes(1), "ann") == "too-many-own-streams"
    del held[1:]
    assert refusal(unread, bytes(1), "ann") == "too-many-own-streams"
    held.clear()
    assert unread.place(bytes(50), "ann")


@pytest.mark.parametrize("size", [0, 1, LARGE - 1, LARGE, LARGE + 1, 3 * LARGE])
def test_a_body_is_the_same_in_pieces_of_which_none_is_large(size: int) -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def send_all() -> None:
        await in_pieces(send)({"type": "http.response.body", "body": body})

    body = bytes(number % 251 for number in range(size))
    asyncio.run(send_all())

    assert b"".join(message["body"] for message in sent) == body
    assert all(len(message["body"]) <= LARGE for message in sent)
    assert [message.get("more_body", False) for message in sent] == [True] * (len(sent) - 1) + [False]


# In a worker.


def memory(served: Served) -> int:
    """Bytes of all workers that are not shared."""
    kib = 0
    for worker in served.workers():
        lines = Path(f"/proc/{worker}/smaps_rollup").read_text().splitlines()
        kib += sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
    return kib * 1024


def large(goals: int, size: int) -> list[Event]:
    """So many goals with descriptions of so many bytes."""
    events: list[Event] = []
    for number in range(goals):
        events += [created(goal_id(number)), GoalDescribed(goal_id(number), "🎯" * (size // 4))]
    return events


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that counts no requests, so that what is felt is how they share."""
    env = {"ES_GOALS_REQUESTS_LIMIT": "0"}
    with Served(tmp_path_factory.mktemp("unread"), workers=1, accounts=True, env=env) as served:
        yield served


@pytest.fixture(scope="module")
def eve(served: Served) -> tuple[str, str]:
    """Somebody with a tree of 17 MB; the id and a token."""
    user, token = person(served, "eve", large(285, 60_000))
    return user.id, token


class Deaf:
    """Somebody who asks and does not read."""

    def __init__(self, served: Served, path: str, token: str, accept: str) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self._socket.connect(("127.0.0.1", served.port))
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nAccept: {accept}\r\n\r\n"
        self._socket.sendall(head.encode())

    def begun(self) -> bytes:
        """The first bytes of the answer."""
        self._socket.settimeout(20)
        return self._socket.recv(12)

    def close(self) -> None:
        """Go away."""
        self._socket.close()


@pytest.mark.parametrize(
    ("path", "accept", "most"),
    [("goals", "application/json", 75 * MIB), ("events", "application/x-ndjson", 75 * MIB)],
)
def test_what_nobody_reads_takes_little_memory_for_each_who_asked_for_it(
    served: Served, eve: tuple[str, str], path: str, accept: str, most: int
) -> None:
    user, token = eve
    with closing(Wire(served)) as wire:  # what one reader costs is there before
        assert wire("GET", f"/v2/users/{user}/{path}", token, headers={"Accept": accept}).status == 200
    before = memory(served)
    with ExitStack() as stack:
        readers = [
            stack.enter_context(closing(Deaf(served, f"/v2/users/{user}/{path}", token, accept))) for _ in range(10)
        ]
        for reader in readers:
            assert reader.begun().endswith(b"200")
        grown = memory(served) - before

    assert grown < most  # ten times 17 MB, as lines ten times 17 more for each page of a thousand


def test_a_page_of_events_ends_at_a_mebibyte_and_the_next_one_goes_on(served: Served, eve: tuple[str, str]) -> None:
    user, token = eve
    seen: list[int] = []
    path: str | None = f"/v2/users/{user}/events?limit=1000"
    with closing(Wire(served)) as wire:
        for _ in range(5):
            assert path is not None
            answer = wire("GET", path, token)
            assert len(answer.body) < 1.2 * MIB
            seen += [event["position"] for event in answer.json["events"]]
            path = answer.json["next"]

    assert path is not None
    assert seen == list(range(seen[0], seen[0] + len(seen)))
    assert 80 < len(seen) < 200


@pytest.mark.parametrize(("size", "thread"), [(10, "MainThread"), (8_000, "reader")])
def test_what_takes_many_bytes_is_made_beside_the_event_loop_however_few_goals_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, thread: str
) -> None:
    threads: list[str] = []
    made = trees.whole

    def noted(*values: Any) -> bytes:
        threads.append(threading.current_thread().name.partition("_")[0])
        return made(*values)

    monkeypatch.setattr(trees, "whole", noted)
    with closing(Inside(tmp_path)) as inside:
        ann = inside.person("ann")
        for number in range(40):
            goal = {"name": f"{number}", "description": "x" * size}
            assert inside("POST", "/v2/users/ann/goals", ann, goal).status == 201
        for depth in range(3):
            assert inside("HEAD", f"/v2/users/ann/goals?depth={depth}", ann).status == 200

    assert threads == ["reader", thread, thread]
