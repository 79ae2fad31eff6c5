"""Serves a peer as ours is served: gunicorn with two workers on a free loopback port."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from tests.support.serving import free_port, wait_for

ROOT = Path(__file__).parents[3]


@contextmanager
def serving(app: str, folder: Path, path: str, options: Sequence[str], env: Mapping[str, str] = {}) -> Iterator[str]:
    """An application, from when it answers at this path to the end of the `with`. Answers its URL."""
    url, output = f"http://127.0.0.1:{free_port()}", folder / f"{app.partition(':')[0]}.txt"
    command = [sys.executable, "-m", "gunicorn", app, "--bind", url.removeprefix("http://"), "--workers", "2"]
    command += ["--no-control-socket", "--log-level", "warning", *options]
    with output.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603
            command, stdout=file, stderr=file, env={**os.environ, **env}, cwd=ROOT, start_new_session=True
        )
    try:
        wait_for(lambda: process.poll() is not None or answers(url + path), f"{app} to answer")
        assert process.poll() is None, output.read_text()
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(url: str) -> bool:
    """Whether it does, with 200."""
    try:
        with urlopen(url, timeout=5) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False
