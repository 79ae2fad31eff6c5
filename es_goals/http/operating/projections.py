"""The read models: how they stand, and rebuilding them while they serve."""

import asyncio

import msgspec
import structlog
from falcon.asgi import Request, Response
from msgspec import Struct

from es_goals.http import requests
from es_goals.http.context import JSON, Resource
from es_goals.http.describe.operation import operation
from es_goals.projector import ProjectionBehind, Status
from es_goals.rebuild import AlreadyRebuilding, Rebuilder, Stopped
from es_goals.storage.errors import StorageError

log = structlog.get_logger()

_encode = msgspec.json.Encoder().encode


class ProjectionList(Struct, frozen=True):
    """All read models."""

    projections: list[Status]


class Projections(Resource):
    """/v2/projections"""

    @operation("The read models", {200: ProjectionList}, needs="auditor")
    async def on_get(self, req: Request, resp: Response) -> None:
        """And how they stand."""
        requests.query(req, requests.NoQuery)
        projector = self._context.projector
        statuses = await self._context.in_thread(lambda: [projector.status(name) for name in projector.models])
        resp.data = _encode(ProjectionList(statuses))
        resp.content_type = JSON


class OneProjection(Resource):
    """/v2/projections/{name}"""

    @operation("A read model", {200: Status}, problems=("projection-not-found",), needs="auditor")
    async def on_get(self, req: Request, resp: Response, name: str) -> None:
        """And how it stands; a rebuild's progress too."""
        requests.query(req, requests.NoQuery)
        resp.data = _encode(await self._context.in_thread(lambda: self._context.projector.status(name)))
        resp.content_type = JSON


class Rebuild(Resource):
    """/v2/projections/{name}/rebuild"""

    @operation("Rebuild a read model", {202: Status}, problems=("projection-not-found",), needs="administrator")
    async def on_post(self, req: Request, resp: Response, name: str) -> None:
        """While the old rows go on serving. Where a rebuild is under way already, that one is answered."""
        requests.query(req, requests.NoQuery)
        projector = self._context.projector
        await self._context.in_thread(lambda: Rebuilder(projector).announce(name))
        self._context.in_background(asyncio.to_thread(self._rebuild, name))
        resp.status = "202 Accepted"
        resp.set_header("Location", f"/v2/projections/{name}")
        resp.data = _encode(await self._context.in_thread(lambda: projector.status(name)))
        resp.content_type = JSON

    def _rebuild(self, name: str) -> None:
        try:
            Rebuilder(self._context.projector).rebuild(name)
        except AlreadyRebuilding:
            pass
        except (ProjectionBehind, Stopped, StorageError) as error:
            log.error("rebuild_failed", projection=name, detail=str(error))


class Rollback(Resource):
    """/v2/projections/{name}/rollback"""

    @operation("Undo a rebuild", {200: Status}, problems=("projection-not-found", "nothing-to-roll-back-to"),
               needs="administrator")  # fmt: skip
    async def on_post(self, req: Request, resp: Response, name: str) -> None:
        """The generation before it serves again."""
        requests.query(req, requests.NoQuery)
        projector = self._context.projector
        await self._context.in_thread(lambda: Rebuilder(projector).roll_back(name))
        resp.data = _encode(await self._context.in_thread(lambda: projector.status(name)))
        resp.content_type = JSON
