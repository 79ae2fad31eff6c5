"""Bodies that end too late, too early or never."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from es_goals.http.edge.targets import in_origin_form
from es_goals.http.edge.unread import in_pieces
from es_goals.http.problems import Refusal
from es_goals.worker import Worker

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Message, Receive, Any], Awaitable[None]]


class BodyGuard:
    """An ASGI application around another one. A body that stops half-way looks to Falcon as if it had ended, so
    it is refused here; so is one that is too large, before it is in memory, or not there in time."""

    def __init__(self, app: App, worker: Worker) -> None:
        self._app, self._seconds, self._limit = app, worker.settings.body_deadline, worker.settings.body_limit
        self.worker = worker

    async def __call__(self, scope: Message, receive: Receive, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = in_origin_form(scope)
        if any(name in _FRAMING and value != b"0" for name, value in scope["headers"]):
            body = _Body(receive, asyncio.get_running_loop().time() + self._seconds, self._limit)
            await self._app(scope, body.receive, body.closing(in_pieces(send)))
        else:
            await self._app(scope, receive, in_pieces(send))


class _Body:
    def __init__(self, receive: Receive, deadline: float, limit: int) -> None:
        self._receive, self._deadline, self._limit = receive, deadline, limit
        self._size = 0
        self._begun = self._ended = False

    async def receive(self) -> Message:
        if self._ended:
            return await self._receive()
        if not self._begun:
            # Falcon wants a first message before it can answer; what is wrong with the head is told without waiting.
            self._begun = True
            return {"type": "http.request", "body": b"", "more_body": True}
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise Refusal("request-timeout", "expected the body in time; found part of it") from None
        if message["type"] == "http.disconnect":
            raise Refusal("malformed-request", "expected the whole body; found it cut short")
        self._size += len(message.get("body", b""))
        if self._size > self._limit:
            raise Refusal("body-too-large", f"expected at most {self._limit} bytes; found more")
        self._ended = not message.get("more_body", False)
        return message

    def closing(self, send: Any) -> Any:
        """Tell the client that the connection ends, where the rest of its body will not be read."""

        async def closed(message: Message) -> None:
            if message["type"] == "http.response.start" and not self._ended:
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        return closed
