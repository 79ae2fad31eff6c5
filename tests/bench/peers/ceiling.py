"""An application that does nothing, on the server that ours runs on: the most that one can hope for."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from falcon import HTTP_201
from falcon.asgi import App, Request, Response

from tests.bench.peers import gunicorn

ANSWER = b'{"id":"7b1f6a3e-5f0c-4b5e-9d52-0a4f5f0f1c11","name":"Run a marathon","status":"open","revision":1}'


class Nothing:
    """The same answer to everything."""

    async def on_get(self, _: Request, resp: Response) -> None:
        """As if it were read."""
        resp.data = ANSWER

    async def on_post(self, req: Request, resp: Response) -> None:
        """As if it were recorded."""
        await req.stream.read()
        resp.status = HTTP_201
        resp.data = ANSWER


def create_app() -> App[Request, Response]:
    """For gunicorn."""
    app: App[Request, Response] = App()
    app.add_route("/", Nothing())
    return app


@contextmanager
def ceiling(folder: Path) -> Iterator[str]:
    """Serves it with the settings of our server; answers its URL."""
    options = ["--worker-class", "asgi", "--asgi-loop", "uvloop", "--http-parser", "python", "--keep-alive", "5"]
    with gunicorn.serving(f"{__name__}:create_app()", folder, "/", options) as url:
        yield url
