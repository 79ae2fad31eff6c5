"""es-goals serve."""

import errno
import ipaddress
import os
import shutil
import socket
import tempfile
from time import monotonic, sleep

import click
from msgspec import structs

from es_goals import __version__
from es_goals.cli.accounts import expect_administrator
from es_goals.cli.database import storage_at
from es_goals.configured import checkpoints_of, options_of
from es_goals.ids import wall_clock
from es_goals.proving.tree import HashTree
from es_goals.settings import PREFIX, Settings
from es_goals.storage import exists
from es_goals.storage.place import is_file, shown

PORT_SECONDS = 3.0


@click.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; PORT too.  [default: 8000]")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes that serve.  [default: 2]")
@click.option("--open", "is_open", is_flag=True, help="Serve without accounts, on loopback only.")
@click.pass_obj
def serve(settings: Settings, host: str | None, port: int | None, workers: int | None, is_open: bool) -> None:
    """Serve the API, and make the log on first use."""
    given = {"host": host, "port": port, "workers": workers, "open": is_open or None}
    settings = structs.replace(settings, **{name: value for name, value in given.items() if value is not None})
    if settings.open and not _loopback(settings.host):
        raise click.UsageError(
            f"expected a loopback address such as 127.0.0.1 with --open, without accounts; found {settings.host}"
        )
    if settings.replica and is_file(settings.db):
        raise click.UsageError(
            f"expected a postgresql:// URL as {PREFIX}DB beside {PREFIX}REPLICA; found {settings.db}"
        )
    if settings.oidc_issuer and not settings.open:
        from es_goals.accounts.provider import provider_of

        provider_of(settings, wall_clock)  # what it refuses is told before a log is made
    existed = exists(settings.db, options_of(settings))
    with _listen(settings) as listener, storage_at(settings, settings.db) as storage:
        checkpoints_of(settings, storage.log, HashTree(storage), wall_clock).expect_continued()
        if not settings.open:
            expect_administrator(settings, storage.log)
        settings = structs.replace(settings, port=listener.getsockname()[1])
        descriptor = listener.detach()
    # In memory where that can be: on a full disk these files, which are mapped, would kill whoever writes to them.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
    metrics, master = tempfile.mkdtemp(prefix="es-goals-metrics-", dir=memory), os.getpid()
    # Read when the metrics are imported, with the server.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics
    from es_goals.server import serve as run

    try:
        run(settings, descriptor, lambda: _greet(settings, existed))
    finally:
        # A worker that ends comes through here too, and leaves the folder to the others.
        if os.getpid() == master:
            shutil.rmtree(metrics, ignore_errors=True)


def _listen(settings: Settings) -> socket.socket:
    """Bound before gunicorn is, which would not tell the port that it was given for 0.

    The workers of a killed master hold the port until they notice, so a port that is taken is tried again for a while.
    """
    host, until = settings.host, monotonic() + PORT_SECONDS
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        try:
            return socket.create_server((host, settings.port), family=family, backlog=2048)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or monotonic() > until:
                found = os.strerror(error.errno or 0)
                message = f"expected to listen on {host} port {settings.port}; found: {found}"
                raise click.ClickException(message) from error
            sleep(0.1)


def _greet(settings: Settings, existed: bool) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{settings.port}"
    log = "log" if existed else "new log"
    click.echo(f"Open {url}/ in a browser")
    click.echo(f"Over Achiever {__version__} listens on {url}")
    accounts = "no accounts, so this machine only" if settings.open else "with accounts"
    token = "" if settings.open else " -H 'Authorization: Bearer TOKEN'"
    click.echo(f"({log} {shown(settings.db)}; {settings.workers} workers; {accounts})")
    click.echo("Try first:")
    click.echo(f"""  curl{token} {url}/v2/users --json '{{"name": "alice"}}'""")
    click.echo(f"""  curl{token} {url}/v2/users/alice/goals --json '{{"name": "Run a marathon"}}'""")
    click.echo(f"  curl{token} {url}/v2/users/alice/goals")
    click.echo(f"The API: {url}/docs")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
