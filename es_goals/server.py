"""Runs the application on gunicorn's asgi worker."""

import sys
from collections.abc import Callable
from functools import partial
from time import sleep
from typing import Any, cast

import structlog
from gunicorn.app.base import BaseApplication
from gunicorn.asgi.parser import ParseError, UnsupportedTransferCoding
from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers import gasgi
from gunicorn.workers.gasgi import ASGIWorker
from prometheus_client import multiprocess

from es_goals.app import create_app
from es_goals.http.edge import Bodies
from es_goals.logs import configure
from es_goals.settings import Settings
from es_goals.storage import StorageError

GRACEFUL_SECONDS = 10
REOPEN_SECONDS = 1.0

log = structlog.get_logger()


class Protocol(ASGIProtocol):  # type: ignore[misc]
    """Gunicorn's own, stricter with heads: they must come in time, name a Host, and no transfer coding but chunked,
    whose body gunicorn would hand on as it is."""

    def connection_made(self, transport: Any) -> None:
        """Until the head is there, which cancels it as it does the keep-alive timer."""
        super().connection_made(transport)
        self._keepalive_handle = self.worker.loop.call_later(
            self.worker.asgi.context.settings.body_deadline, self._keepalive_timeout
        )

    def _on_headers_complete(self) -> bool:
        fields = dict(self._callback_parser.headers)
        if fields.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            raise UnsupportedTransferCoding("expected no transfer coding but chunked")
        if b"host" not in fields and self._callback_parser.http_version >= (1, 1):
            raise ParseError("expected a Host header (RFC 9112, section 3.2)")
        return bool(super()._on_headers_complete())

    def data_received(self, data: bytes) -> None:
        """Python refuses to read numbers of more than 4,300 digits."""
        try:
            super().data_received(data)
        except ValueError as error:
            self._send_error_response(400, str(error))
            self._close_transport()


class Worker(ASGIWorker):  # type: ignore[misc]
    """Gunicorn's own, told to the application when it must stop: open event streams would hold that up."""

    async def _serve(self) -> None:
        gasgi.ASGIProtocol = Protocol  # gunicorn has no setting for it
        # Gunicorn asks for a queue of 2,048 connections; the loop would make it 100, and the 101st wait for a second.
        self.loop.create_server = partial(self.loop.create_server, backlog=self.cfg.backlog)
        await super()._serve()

    def handle_exit_signal(self) -> None:
        """SIGTERM."""
        super().handle_exit_signal()
        cast(Bodies, self.asgi).context.tail.stop()

    def handle_quit_signal(self) -> None:
        """SIGINT, SIGQUIT."""
        super().handle_quit_signal()
        cast(Bodies, self.asgi).context.tail.stop()


class Server(BaseApplication):  # type: ignore[misc]
    """The application and gunicorn's settings for it."""

    def __init__(self, settings: Settings, listener: int, ready: Callable[[], None]) -> None:
        self._settings, self._listener, self._ready = settings, listener, ready
        super().__init__()

    def load_config(self) -> None:
        """What is not gunicorn's default, and why."""
        settings = {
            "bind": [f"fd://{self._listener}"],
            "workers": self._settings.workers,
            "worker_class": Worker,
            "asgi_loop": "uvloop",
            "http_parser": "python",
            "graceful_timeout": GRACEFUL_SECONDS,
            "keepalive": 5,
            "limit_request_field_size": 16_384,  # a reason of 1,000 characters, percent-encoded, has up to 12,000
            "proc_name": "es-goals",
            "loglevel": "warning",
            "control_socket_disable": True,  # a second instance would take its path over
            "child_exit": _forget_worker,
            "when_ready": lambda _arbiter: self._ready(),
            "post_fork": lambda _arbiter, _worker: configure(self._settings.log_level),
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Bodies:
        """In each worker, after the fork."""
        try:
            return create_app(self._settings)
        except StorageError as error:
            # The log could be opened when the service started: gunicorn is to try again, not to give up as it does
            # with a worker that cannot boot.
            log.error("not_opened", detail=str(error))
            sleep(REOPEN_SECONDS)
            sys.exit(1)


def serve(settings: Settings, listener: int, ready: Callable[[], None]) -> None:
    """Serve on a socket that is bound until a signal says stop; ends the process. `ready` is called once it listens."""
    Server(settings, listener, ready).run()


def _forget_worker(arbiter: Any, worker: Any) -> None:
    del arbiter
    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
