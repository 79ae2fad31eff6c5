"""What an operator's tools ask: alive, able to serve, and how it is doing."""

import msgspec
from falcon.asgi import Request, Response
from msgspec import Struct

from es_goals import __version__, metrics
from es_goals.http.context import JSON, Context, Resource
from es_goals.http.describe.operation import operation
from es_goals.http.operating.gauges import measure
from es_goals.metrics import Gauge
from es_goals.projector import ProjectionBehind
from es_goals.storage.errors import Interrupted

_encode = msgspec.json.Encoder().encode


class Health(Struct, frozen=True):
    """The process answers."""

    status: str
    version: str


class Readiness(Struct, frozen=True):
    """The log is writable, and no fold has failed."""

    status: str
    position: int


class Healthz(Resource):
    """/healthz"""

    @operation("Alive", {200: Health}, needs="nobody", uncounted=True)
    async def on_get(self, req: Request, resp: Response) -> None:
        """Asks nothing of the storage."""
        del req
        resp.data = _encode(Health("alive", __version__))
        resp.content_type = JSON


class Readyz(Resource):
    """/readyz"""

    @operation("Able to serve", {200: Readiness}, problems=("storage-unavailable", "storage-full", "projection-behind"),
               needs="nobody", uncounted=True)  # fmt: skip
    async def on_get(self, req: Request, resp: Response) -> None:
        """The log takes commands, and no read model has failed."""
        del req
        context = self._context
        context.service.writer.check()
        failed = await context.in_thread(lambda: _failed(context))
        if failed:
            raise ProjectionBehind(f"expected every read model to be sound; found {', '.join(failed)} failed")
        resp.data = _encode(Readiness("ready", await context.ask(context.recent.head)))
        resp.content_type = JSON


class Metrics(Resource):
    """/metrics"""

    @operation("Metrics, as Prometheus text", {200: None}, produces=("text/plain",), needs="auditor")
    async def on_get(self, req: Request, resp: Response) -> None:
        """Over all workers."""
        del req
        try:
            resp.data = await self._context.in_thread(lambda: metrics.exposition(self._measured()))
        except Interrupted:  # a storage that does not answer hides nothing of what was counted
            resp.data = metrics.exposition(())
        resp.content_type = "text/plain; version=0.0.4; charset=utf-8"

    def _measured(self) -> list[Gauge]:
        context, projector = self._context, self._context.projector
        return measure(context.log, context.clock, lambda: [projector.status(name) for name in projector.models])


def _failed(context: Context) -> list[str]:
    return [name for name in context.projector.models if context.projector.generation(name).error is not None]
