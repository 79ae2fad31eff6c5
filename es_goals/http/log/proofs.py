"""Checkpoints of the log and proofs about it; its tiles, as C2SP's tools read them; what a user may take along."""

import re
from collections.abc import AsyncGenerator
from typing import Annotated

from falcon.asgi import Response
from msgspec import Meta, Struct

from es_goals.http import answers, requests
from es_goals.http.describe.operation import operation
from es_goals.http.exchange import Request
from es_goals.http.log.audit import CROWDED, Feed
from es_goals.http.problems import Refusal
from es_goals.http.resource import Resource
from es_goals.proofs import HASH_BYTES, encoded
from es_goals.proving.evidence import EVIDENCE, Evidence
from es_goals.proving.tiles import WIDTH
from es_goals.reads.history import BeyondHead, Filter
from es_goals.storage.log import User

PLAIN = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"
PAGE = 200  # events of evidence at once: the hashes of each proof take as long as reading it
MOST_LEVEL = 63  # of a tile, in C2SP's tlog-tiles

_LEVEL = re.compile(r"0|[1-9][0-9]?", re.ASCII)
_NUMBER = re.compile(r"((?:x[0-9]{3}/){0,6})([0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)
_UNSIGNED = ("checkpoint-refused", "projection-behind", "storage-unavailable", "storage-full")
_UNPROVEN = ("projection-behind", "took-too-long")

Size = Annotated[requests.Position, Meta(description="of how many events the tree is; absent: of all", examples=[48])]
Hash = Annotated[str, Meta(description="32 bytes in base64")]


class InclusionQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which event, of the tree of which size."""

    position: Annotated[int, Meta(ge=1, le=requests.LARGEST, description="of an event", examples=[7])]
    size: Size | None = None


class ConsistencyQuery(Struct, frozen=True, forbid_unknown_fields=True, rename={"first": "from", "last": "to"}):
    """From the tree of which size to that of which."""

    first: Annotated[int, Meta(ge=1, le=requests.LARGEST, description="the size of the smaller tree", examples=[30])]
    last: Size | None = None


class InclusionProof(Struct, frozen=True):
    """That the event at `position`, whose hash is `leaf`, is in the tree over the first `size` events, whose hash is
    `root`: RFC 9162, section 2.1.3, with the index `position` - 1."""

    position: int
    size: int
    leaf: Hash
    path: list[Hash]
    root: Hash


class ConsistencyProof(Struct, frozen=True, rename={"first": "from", "last": "to"}):
    """That the tree over the first `to` events begins with that over the first `from`: RFC 9162, section 2.1.4."""

    first: int
    last: int
    first_root: Hash
    last_root: Hash
    path: list[Hash]


class Checkpoint(Resource):
    """/v2/log/checkpoint"""

    @operation("A checkpoint of the log", {200: None}, produces=("text/plain",), needs="checkpoint", problems=_UNSIGNED)
    async def on_get(self, req: Request, resp: Response) -> None:
        """As the log is now: a signed note (C2SP tlog-checkpoint); unsigned where the service has no key."""
        requests.query(req, requests.NoQuery)
        note = await self.reads.in_thread(self.worker.checkpoints.current, req.asker)
        answers.encoded(resp, note.encode(), PLAIN)


class Proofs(Resource):
    """A resource that proves something about the log."""

    async def size(self, req: Request, size: int | None, parameter: str) -> int:
        """The size that is asked for, or that of the log. Raises Refusal where it is beyond the log."""
        if size is None:
            return await self.reads.head(req.deadline)
        try:
            await self.reads.expect_reached(size, req.asker)
        except BeyondHead as error:
            raise Refusal("invalid-value", str(error), parameter=parameter) from None
        return size


class Inclusion(Proofs):
    """/v2/log/proofs/inclusion"""

    @operation("That an event is in the log", {200: InclusionProof}, query=InclusionQuery, needs="checkpoint",
               problems=_UNPROVEN)  # fmt: skip
    async def on_get(self, req: Request, resp: Response) -> None:
        """A proof for the checkpoint of this size. It says nothing of the event but the hash of its bytes."""
        query = requests.query(req, InclusionQuery)
        size = await self.size(req, query.size, "size")
        if query.position > size:
            detail = f"expected a position up to the size, {size}; found {query.position}"
            raise Refusal("invalid-value", detail, parameter="position")
        answers.json(resp, await self.reads.in_thread(lambda: self._proof(query.position, size), req.asker))

    def _proof(self, position: int, size: int) -> InclusionProof:
        tree = self.worker.tree.at(size)
        path = [encoded(one) for one in tree.inclusion(position - 1)]
        return InclusionProof(position, size, encoded(tree.leaf(position - 1)), path, encoded(tree.root()))


class Consistency(Proofs):
    """/v2/log/proofs/consistency"""

    @operation("That the log only grew", {200: ConsistencyProof}, query=ConsistencyQuery, needs="checkpoint",
               problems=_UNPROVEN)  # fmt: skip
    async def on_get(self, req: Request, resp: Response) -> None:
        """A proof between the checkpoints of these sizes."""
        query = requests.query(req, ConsistencyQuery)
        last = await self.size(req, query.last, "to")
        if query.first > last:
            detail = f"expected a size up to the larger one, {last}; found {query.first}"
            raise Refusal("invalid-value", detail, parameter="from")
        answers.json(resp, await self.reads.in_thread(lambda: self._proof(query.first, last), req.asker))

    def _proof(self, first: int, last: int) -> ConsistencyProof:
        tree = self.worker.tree.at(last)
        roots = encoded(tree.before(first).root()), encoded(tree.root())
        return ConsistencyProof(first, last, *roots, [encoded(one) for one in tree.consistency(first)])


class HashTile(Resource):
    """/log/tile/{level}/{number}: as C2SP's tlog-tiles has it, `x001/x234/067` or `x001/x234/067.p/8`."""

    @operation("A tile of the tree over the log", {200: None}, produces=(BYTES,), needs="checkpoint",
               problems=("not-found", *_UNPROVEN))  # fmt: skip
    async def on_get(self, req: Request, resp: Response, level: str, number: str) -> None:
        """256 hashes, or the first of them, one behind the other."""
        requests.query(req, requests.NoQuery)
        found = _NUMBER.fullmatch(number)
        if not _LEVEL.fullmatch(level) or int(level) > MOST_LEVEL or found is None:
            raise Refusal("not-found", "expected a level, and a number as C2SP's tlog-tiles has it; found other ones")
        at, width = int(re.sub("[x/]", "", found[1]) + found[2]), int(found[3] or WIDTH)
        most = WIDTH - 1 if found[3] else WIDTH
        head = await self.reads.head(req.deadline)
        hashes = await self.reads.in_thread(lambda: self.worker.tree.at(head).tile(int(level), at), req.asker)
        if width > most or len(hashes) < width * HASH_BYTES:
            raise Refusal("not-found", f"expected a tile that the log has filled so far; found {level}/{number}"[:200])
        answers.settled(resp)
        answers.encoded(resp, hashes[: width * HASH_BYTES], BYTES)


class UserEvidence(Feed):
    """/v2/users/{user}/evidence"""

    @operation("A user's events, with proofs that they are in the log", {200: None}, produces=(EVIDENCE,),
               problems=("user-not-found", *CROWDED, *_UNSIGNED))  # fmt: skip
    async def on_get(self, req: Request, resp: Response, user: User) -> None:
        """A file that `es-goals check` reads without the log: JSON, a line each, the events' exact bytes, and a proof
        (C2SP tlog-proof) of each."""
        requests.query(req, requests.NoQuery)
        note = await self.reads.in_thread(self.worker.checkpoints.current, req.asker)
        evidence = Evidence(self.worker.tree, self.reads.log.id, user.id, note)
        resp.stream = self._streams.open(self._evidence(req, evidence), req.asker.user)
        resp.content_type = EVIDENCE
        resp.set_header("Content-Disposition", 'attachment; filename="evidence.ndjson"')

    async def _evidence(self, req: Request, evidence: Evidence) -> AsyncGenerator[bytes, None]:
        yield evidence.begin()
        wanted, after = Filter(evidence.user, until=evidence.size), 0
        while await self._still_in(req):
            lines, _ = await self.reads.events(wanted, after, evidence.size, PAGE, req.asker)
            if not lines:
                yield evidence.end()
                return
            yield await self.reads.in_thread(lambda lines=lines: evidence.add(lines), req.asker)  # type: ignore[misc]
            after = lines[-1].position
