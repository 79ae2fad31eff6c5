"""What an operator's tools ask: alive, able to serve, and how it is doing."""

from falcon.asgi import Response
from msgspec import Struct

from es_goals import __version__, metrics
from es_goals.http import answers
from es_goals.http.describe.operation import operation
from es_goals.http.exchange import Request
from es_goals.http.operating.gauges import measure
from es_goals.http.resource import Resource
from es_goals.metrics import Gauge
from es_goals.projector import ProjectionBehind
from es_goals.storage.errors import Interrupted


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
        answers.json(resp, Health("alive", __version__))


class Readyz(Resource):
    """/readyz"""

    @operation("Able to serve", {200: Readiness}, problems=("storage-unavailable", "storage-full", "projection-behind"),
               needs="nobody", uncounted=True)  # fmt: skip
    async def on_get(self, req: Request, resp: Response) -> None:
        """The log takes commands, and no read model has failed."""
        self.worker.service.writer.check()
        failed = await self.reads.in_thread(self._failed, req.asker)
        if failed:
            raise ProjectionBehind(f"expected every read model to be sound; found {', '.join(failed)} failed")
        answers.json(resp, Readiness("ready", await self.reads.head(req.deadline)))

    def _failed(self) -> list[str]:
        projector = self.worker.projector
        return [name for name in projector.models if projector.generation(name).error is not None]


class Metrics(Resource):
    """/metrics"""

    @operation("Metrics, as Prometheus text", {200: None}, produces=("text/plain",), needs="auditor")
    async def on_get(self, req: Request, resp: Response) -> None:
        """Over all workers."""
        try:
            text = await self.reads.in_thread(lambda: metrics.exposition(self._measured()), req.asker)
        except Interrupted:  # a storage that does not answer hides nothing of what was counted
            text = metrics.exposition(())
        answers.encoded(resp, text, "text/plain; version=0.0.4; charset=utf-8")

    def _measured(self) -> list[Gauge]:
        worker, projector = self.worker, self.worker.projector
        return measure(worker.storage.log, worker.clock, lambda: [projector.status(name) for name in projector.models])
