"""Checkpoints, proofs, tiles and evidence over HTTP, on both engines, for all who may ask."""

import base64
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from es_goals.http.log.proofs import ConsistencyProof, InclusionProof
from es_goals.proofs import (
    HASH_BYTES,
    Checkpoint,
    leaf_hash,
    verify_checkpoint,
    verify_consistency,
    verify_inclusion,
)
from es_goals.proving.digest import event_bytes
from es_goals.proving.evidence import check
from es_goals.proving.keys import make_key
from es_goals.proving.tiles import Tree
from es_goals.storage.log import all_lines
from tests.support.commands import cli, done
from tests.support.engines import ENGINES, NEWEST
from tests.support.histories import many, record
from tests.support.people import behind, issue, register
from tests.support.serving import Served, fault, refused, wait_for

KEY = make_key("goals.example/log")
VKEY = KEY.verifier.vkey
EVENTS = 600
IMMUTABLE = "private, max-age=3600, immutable"


class World:
    """A service with accounts and a key, and clients of ann, of bob and of the auditor eve."""

    def __init__(self, served: Served, stack: ExitStack) -> None:
        self.served, self.ids = served, dict[str, str]()
        secrets = {}
        with behind(served) as storage:
            with storage.log.writing() as transaction:
                for name in ("ann", "bob", "eve"):
                    user = register(transaction, name, "auditor" if name == "eve" else "user")
                    self.ids[name], secrets[name] = user.id, issue(transaction, user)[0]
            record(storage.log, self.ids["bob"], *many(EVENTS))
        self.ann, self.bob, self.eve = (stack.enter_context(served.as_(secret)) for secret in secrets.values())
        self.nobody = stack.enter_context(httpx2.Client(base_url=served.url, timeout=30))
        for number in range(5):
            self.more(f"goal {number}")

    def more(self, name: str) -> None:
        """A goal of ann's."""
        assert self.ann.post("/v2/users/ann/goals", json={"name": name}).status_code == 201

    def checkpoint(self) -> Checkpoint:
        """The log's, signed with the key."""
        answer = self.ann.get("/v2/log/checkpoint")
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        return verify_checkpoint(answer.content, VKEY)


def served_at(folder: Path, db: str, **env: str) -> Served:
    """One that signs."""
    given = {"ES_GOALS_SIGNING_KEY": KEY.line, "ES_GOALS_CHECKPOINTS": str(folder / "kept.jsonl")}
    return Served(folder, db=db, workers=1, accounts=True, env={**given, "ES_GOALS_REQUESTS_LIMIT": "0", **env})


@pytest.fixture(scope="module", params=NEWEST)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("proofs")
    with ENGINES[request.param](folder) as db, ExitStack() as stack:
        served = stack.enter_context(served_at(folder, "events.db" if request.param == "sqlite" else db))
        yield World(served, stack)


def hashes(texts: list[str]) -> list[bytes]:
    return [base64.b64decode(text) for text in texts]


def test_a_checkpoint_is_of_all_that_was_acknowledged_before_it_was_asked_for(world: World) -> None:
    first = world.checkpoint()
    world.more("one more")
    second = world.checkpoint()

    assert first.origin == "goals.example/log"
    assert second.size == first.size + 1 == world.ann.get("/readyz").json()["position"]
    assert world.checkpoint() == second
    assert verify_checkpoint(world.eve.get("/log/checkpoint").content, VKEY) == second


def test_an_event_is_proved_to_be_in_the_log(world: World) -> None:
    said = world.checkpoint()
    with behind(world.served) as storage:
        lines = list(all_lines(storage.log, until=said.size))
    for position in (1, 2, 256, 257, 512, said.size):
        answer = world.ann.get("/v2/log/proofs/inclusion", params={"position": position, "size": said.size})
        proof = msgspec.json.decode(answer.content, type=InclusionProof)

        leaf = leaf_hash(event_bytes(lines[position - 1]))
        assert (proof.position, proof.size) == (position, said.size)
        assert hashes([proof.leaf, proof.root]) == [leaf, said.root]
        verify_inclusion(leaf, position - 1, said.size, hashes(proof.path), said.root)


def test_the_log_is_proved_to_have_grown_only(world: World) -> None:
    old = world.checkpoint()
    world.more("one more")
    new = world.checkpoint()

    answer = world.ann.get("/v2/log/proofs/consistency", params={"from": old.size, "to": new.size})
    proof = msgspec.json.decode(answer.content, type=ConsistencyProof)

    assert hashes([proof.first_root, proof.last_root]) == [old.root, new.root]
    verify_consistency(old.size, old.root, new.size, new.root, hashes(proof.path))
    same = world.ann.get("/v2/log/proofs/consistency", params={"from": new.size, "to": new.size}).json()
    assert (same["from"], same["to"], same["path"]) == (new.size, new.size, [])


def test_without_a_size_a_proof_is_for_the_whole_log(world: World) -> None:
    said = world.checkpoint()

    assert world.ann.get("/v2/log/proofs/inclusion?position=1").json()["size"] == said.size
    assert world.ann.get("/v2/log/proofs/consistency?from=1").json()["to"] == said.size


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("inclusion", "position"),
        ("inclusion?position=0", "position"),
        ("inclusion?position=-1", "position"),
        ("inclusion?position=x", "position"),
        ("inclusion?position=1&size=999999", "size"),
        ("inclusion?position=1&size=9223372036854775808", "size"),
        ("inclusion?position=3&size=2", "position"),
        ("inclusion?position=1&size=0", "position"),
        ("inclusion?position=1&of=2", "of"),
        ("consistency", "from"),
        ("consistency?from=0", "from"),
        ("consistency?from=1&to=999999", "to"),
        ("consistency?from=3&to=2", "from"),
        ("consistency?from=999999", "from"),
    ],
)
def test_what_is_not_in_the_log_cannot_be_proved(world: World, query: str, parameter: str) -> None:
    assert fault(world.ann.get(f"/v2/log/proofs/{query}"))["parameter"] == parameter


def tile(client: httpx2.Client, level: int, number: int, width: int = 256) -> httpx2.Response:
    return client.get(f"/log/tile/{level}/{number:03}" + (f".p/{width}" if width < 256 else ""))


def test_a_monitor_makes_the_root_from_tiles_alone(world: World) -> None:
    said = world.checkpoint()

    def fetch(level: int, number: int) -> bytes:
        width = min(256, (said.size >> 8 * level) - 256 * number)
        answer = tile(world.ann, level, number, width)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Cache-Control"] == IMMUTABLE
        assert len(answer.content) == width * HASH_BYTES
        return answer.content

    assert Tree(said.size, fetch).root() == said.root


def test_a_tile_that_grew_since_is_still_there_as_it_was(world: World) -> None:
    whole = tile(world.ann, 0, 0).content

    assert tile(world.ann, 0, 0, 3).content == whole[: 3 * HASH_BYTES]
    assert tile(world.ann, 0, 0, 255).content == whole[: 255 * HASH_BYTES]


@pytest.mark.parametrize(
    "path",
    [
        "0/900", "0/x001/000", "1/000", "0/002.p/255", "7/000.p/1", "63/000", "64/000", "00/000", "x/000", "-1/000",
        "0/0", "0/00", "0/0000", "0/001/000", "0/x01/000", "0/000.p/0", "0/000.p/256", "0/000.p/01", "0/000.p/",
        "0/000.p", "0/000/1", "0/٠٠٠", "entries/000", "0/" + "x000/" * 6 + "900", "0/" + "x000/" * 7 + "000",
    ],
)  # fmt: skip
def test_a_tile_that_there_is_not_is_not_found(world: World, path: str) -> None:
    refused(world.ann.get(f"/log/tile/{path}"), 404, "not-found")


def test_evidence_is_a_file_that_is_checked_apart_from_the_service(world: World, tmp_path: Path) -> None:
    answer = world.bob.get("/v2/users/bob/evidence")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="evidence.ndjson"'

    shown = check(answer.content.splitlines(keepends=True), VKEY)

    with behind(world.served) as storage:
        own = [line for line in all_lines(storage.log) if line.owner == world.ids["bob"]]
    assert shown.signed
    assert shown.user == world.ids["bob"]
    assert shown.events == own
    (tmp_path / "evidence").write_bytes(answer.content)
    told = done(cli("check", str(tmp_path / "evidence"), "--key", VKEY))
    assert told.startswith(f"{len(own)} events of {shown.user} are in the log goals.example/log")


def test_evidence_is_for_whoever_may_see_the_user(world: World) -> None:
    seen = world.eve.get("/v2/users/ann/evidence")

    assert check(seen.content.splitlines(keepends=True), VKEY).user == world.ids["ann"]
    refused(world.bob.get("/v2/users/ann/evidence"), 404, "user-not-found")
    refused(world.nobody.get("/v2/users/ann/evidence"), 401, "unauthenticated")


@pytest.mark.parametrize(
    "path", ["/v2/log/checkpoint", "/log/checkpoint", "/log/tile/0/000", "/v2/log/proofs/inclusion?position=1",
             "/v2/log/proofs/consistency?from=1"],
)  # fmt: skip
def test_who_is_not_signed_in_is_shown_nothing(world: World, path: str) -> None:
    refused(world.nobody.get(path), 401, "unauthenticated")
    assert world.bob.get(path).status_code == 200


def test_each_checkpoint_that_was_shown_is_kept(world: World) -> None:
    said = world.checkpoint()

    lines = (world.served.folder / "kept.jsonl").read_bytes().splitlines()
    assert said in [verify_checkpoint(msgspec.json.decode(line)["note"], VKEY) for line in lines]


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One that shows checkpoints to everybody."""
    with served_at(tmp_path_factory.mktemp("public"), "events.db", ES_GOALS_PUBLIC_CHECKPOINT="true") as served:
        served.make_goal(served.make_user("alice"), "Run")
        yield served


def test_where_that_is_set_checkpoints_and_proofs_are_for_everybody_and_evidence_is_not(public: Served) -> None:
    with httpx2.Client(base_url=public.url) as nobody:
        said = verify_checkpoint(nobody.get("/log/checkpoint").content, VKEY)
        leaf = tile(nobody, 0, 0, 1).content
        proof: dict[str, Any] = nobody.get("/v2/log/proofs/inclusion?position=1").json()
        nobody.get("/v2/log/proofs/consistency?from=1").raise_for_status()

        verify_inclusion(leaf, 0, said.size, hashes(proof["path"]), said.root)
        refused(nobody.get("/v2/users/alice/evidence"), 401, "unauthenticated")
        refused(nobody.get("/log/checkpoint", headers={"Authorization": "Bearer x"}), 401, "unauthenticated")


def test_the_service_signs_what_is_appended_by_itself_and_what_is_left_when_it_stops(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"

    def sizes() -> list[int]:
        lines = kept.read_bytes().splitlines() if kept.exists() else []
        return [verify_checkpoint(msgspec.json.decode(line)["note"], VKEY).size for line in lines]

    with served_at(tmp_path, "events.db") as served:
        user = served.make_user("alice")
        served.make_goal(user, "Run")
        head = served.get("/readyz")["position"]
        wait_for(lambda: sizes()[-1:] == [head], "a checkpoint of all")
        for number in range(5):
            served.make_goal(user, f"goal {number}")
        last = served.get("/readyz")["position"]
        assert served.stop() == 0

    assert sizes()[-1] == last == head + 5
    assert sizes() == sorted(set(sizes()))


def test_a_log_that_is_shorter_than_its_checkpoint_is_answered_503_and_signed_no_more(tmp_path: Path) -> None:
    with served_at(tmp_path, "events.db") as served:
        served.make_goal(served.make_user("alice"), "Run")
        served.client.get("/v2/log/checkpoint").raise_for_status()
        kept = served.folder / "kept.jsonl"
        line = msgspec.json.decode(kept.read_bytes().splitlines()[-1])
        line["note"] = line["note"].replace("\n3\n", "\n900\n").replace("\n4\n", "\n900\n").replace("\n5\n", "\n900\n")
        kept.write_bytes(msgspec.json.encode(line) + b"\n")

        assert "900" in refused(served.client.get("/v2/log/checkpoint"), 503, "checkpoint-refused")["detail"]
        assert served.client.get("/v2/users/alice/goals").status_code == 200
    assert len(kept.read_bytes().splitlines()) == 1
