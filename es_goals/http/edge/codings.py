"""Which content coding a client takes, and answers in it (RFC 9110, sections 8.4, 12.5.3 and 8.8.3.3)."""

from collections.abc import AsyncGenerator
from functools import lru_cache, partial

from falcon.asgi import Response

from es_goals.compression import CODINGS, LARGE_BYTES, LEAST_BYTES, Coding, coded_tag, packed, packed_once, packer
from es_goals.http.edge.streams import Stream
from es_goals.http.exchange import Request
from es_goals.reads import Reads
from es_goals.storage.errors import Interrupted

_LONGEST_HEADER = 500


def wanted(req: Request) -> Coding | None:
    """Return what the client likes best of what we make, None where it likes nothing of it better than plain bytes."""
    header = req.headers.get("accept-encoding")
    return None if header is None else best(header)


@lru_cache(maxsize=256)
def best(header: str) -> Coding | None:
    """Return which of our codings an Accept-Encoding ranks highest; None where plain bytes are."""
    if len(header) > _LONGEST_HEADER:
        return None
    weights: dict[str, float] = {}
    for part in header.lower().split(","):
        name, *parameters = (one.strip() for one in part.split(";"))
        weights[{"x-gzip": "gzip"}.get(name, name)] = _weight(parameters)
    others = weights.get("*", 0.0)
    best = max(CODINGS, key=lambda coding: weights.get(coding, others))  # the first of equals
    weight = weights.get(best, others)
    return best if weight > 0 and weight >= weights.get("identity", 0.0) else None


def _weight(parameters: list[str]) -> float:
    for one in parameters:
        name, _, value = one.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def mark(resp: Response, coding: Coding) -> None:
    """Say how the answer is coded."""
    resp.set_header("Content-Encoding", coding)


async def encode(req: Request, resp: Response, reads: Reads) -> None:
    """Code an answer that is ready, unless that is done or it is so short that it does not pay. What may never be kept
    may hold a secret, whose length would tell of it beside what a stranger chose: it stays plain."""
    kept = resp.get_header("Cache-Control") or ""
    if "no-store" in kept:
        return
    resp.append_header("Vary", "Accept-Encoding")
    data, coding = resp.data, wanted(req)
    if coding is None or resp.get_header("Content-Encoding") is not None:
        return
    if isinstance(resp.stream, Stream):
        resp.stream.send_through(partial(stream, coding=coding))
        mark(resp, coding)
    elif data is not None and len(data) >= LEAST_BYTES:
        try:
            resp.data = await _coded(req, data, coding, reads, public=kept.startswith("public"))
        except Interrupted:  # the answer is there, and a client takes it plain as well
            return
        mark(resp, coding)
        if (etag := resp.get_header("ETag")) is not None:
            resp.set_header("ETag", coded_tag(etag, coding))


async def _coded(req: Request, data: bytes, coding: Coding, reads: Reads, *, public: bool) -> bytes:
    """Raises Interrupted."""
    if public:
        return packed_once(data, coding)
    if len(data) < LARGE_BYTES:
        return packed(data, coding)
    return await reads.in_thread(lambda: packed(data, coding), req.asker)


async def stream(parts: AsyncGenerator[bytes, None], coding: Coding) -> AsyncGenerator[bytes, None]:
    """Yield each part coded, so that a client can read it as soon as it is there."""
    made = packer(coding)
    try:
        async for part in parts:
            yield made.flushed(part)
        yield made.end()
    finally:
        await parts.aclose()
