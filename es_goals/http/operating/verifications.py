"""Verifying the log and every read model while they serve."""

import asyncio
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from typing import Annotated, Literal, cast

import structlog
from falcon.asgi import Response
from msgspec import Meta, Struct

from es_goals.events import moment
from es_goals.http import answers, requests
from es_goals.http.describe.operation import UNSURE, operation
from es_goals.http.exchange import Request
from es_goals.http.problems import Refusal
from es_goals.http.resource import Resource
from es_goals.ids import uuid_of
from es_goals.storage.errors import StorageError, Unavailable
from es_goals.storage.views import Verification
from es_goals.upkeep.verification import Anchor, parse_anchor
from es_goals.upkeep.verifier import Verifier
from es_goals.worker import Worker

PATH = "/v2/verifications"

State = Literal["running", "sound", "unsound", "failed"]

logger = structlog.get_logger()


class NewVerification(Struct, forbid_unknown_fields=True):
    """What is to be verified."""

    expect: (
        Annotated[str, Meta(max_length=100, description="what the log must begin with: a position and its digest")]
        | None
    ) = None


class VerificationAnswer(Struct, frozen=True):
    """How far a verification is: `done` of `total` of the `step`, the log or a read model. At its end `head` is where
    the log ended, `<position>:<digest>`, and `finding` the first thing that is not as promised, or why it failed."""

    id: str
    state: State
    began_at: datetime
    ended_at: datetime | None
    step: str
    done: int
    total: int
    head: str | None
    finding: str | None


class Verifying(Resource):
    """A resource that verifies."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker)
        self._verifier = Verifier(worker.storage, worker.projector, worker.tree, worker.clock)


class Verifications(Verifying):
    """/v2/verifications"""

    @operation("Verify the log and the read models", {202: VerificationAnswer}, body=NewVerification,
               needs="administrator", problems=UNSURE,
               example={"expect": "13:a2f1f23025196a47f7260785a842218b8b55f5c80fd4e3e61de58c504d260cb8"})  # fmt: skip
    async def on_post(self, req: Request, resp: Response) -> None:
        """As `es-goals verify` does, while everything serves. Where one is under way already, that one is answered."""
        given = await requests.body(req, NewVerification)
        expect = None if given.expect is None else _anchor(given.expect)
        await self.expect_still_in(req)
        begun: Future[Verification | None] = Future()
        self.worker.in_background(asyncio.to_thread(self._run, expect, begun))
        one = await req.deadline.wait(asyncio.wrap_future(begun))
        if one is None:
            raise Unavailable("another verification begins at this moment")
        resp.status = "202 Accepted"
        resp.set_header("Location", f"{PATH}/{one.id}")
        answers.json(resp, _answer(one))

    def _run(self, expect: Anchor | None, begun: "Future[Verification | None]") -> None:
        try:
            self._verifier.run(self.worker.new_id(), expect, begun.set_result)
        except StorageError as error:
            if begun.done():
                logger.error("verification_failed", detail=str(error))
            else:
                begun.set_exception(error)


class OneVerification(Verifying):
    """/v2/verifications/{verification_id}"""

    @operation("A verification", {200: VerificationAnswer}, problems=("verification-not-found",), needs="auditor")
    async def on_get(self, req: Request, resp: Response, verification_id: str) -> None:
        """How far it is, or what it found. The newest twenty are kept."""
        requests.query(req, requests.NoQuery)
        known = uuid_of(verification_id)
        found = None if known is None else partial(self._verifier.find, known)
        one = None if found is None else await self.reads.in_thread(found, req.asker)
        if one is None:
            detail = f"expected the id of a verification that began lately; found {verification_id[:100]!r}"
            raise Refusal("verification-not-found", detail)
        answers.json(resp, _answer(one))


def _anchor(text: str) -> Anchor:
    try:
        return parse_anchor(text)
    except ValueError as error:
        raise Refusal("invalid-value", str(error), pointer="/expect") from None


def _answer(one: Verification) -> VerificationAnswer:
    ended = None if one.ended_at is None else moment(one.ended_at)
    began, state = moment(one.began_at), cast(State, one.state)
    return VerificationAnswer(one.id, state, began, ended, one.step, one.done, one.total, one.head, one.finding)
