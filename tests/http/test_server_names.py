"""What the server is built on and gunicorn does not promise to keep: each name that an upgrade changed fails here."""

import ast
import inspect
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from gunicorn.asgi import protocol
from gunicorn.asgi.parser import PythonProtocol
from gunicorn.asgi.protocol import ASGIProtocol, FlowControl
from gunicorn.workers import gasgi
from gunicorn.workers.gasgi import ASGIWorker

from tests.support.engines import ROOT

SERVER = ast.parse((ROOT / "es_goals/server.py").read_text("utf-8"))

# As they are overridden or called.
METHODS = {
    (ASGIProtocol, "__init__"): "(self, worker)",
    (ASGIProtocol, "_close_transport"): "(self)",
    (ASGIProtocol, "_feed_callback_parser"): "(self, data)",
    (ASGIProtocol, "_handle_http_request"): "(self, request, sockname, peername, complete=None)",
    (ASGIProtocol, "_handle_websocket"): "(self, request, sockname, peername)",
    (ASGIProtocol, "_is_buffer_full"): "(self)",
    (ASGIProtocol, "_keepalive_timeout"): "(self)",
    (ASGIProtocol, "_on_headers_complete"): "(self)",
    (ASGIProtocol, "_resume_reading"): "(self)",
    (ASGIProtocol, "_safe_write"): "(self, data)",
    (ASGIProtocol, "_send_error_response"): "(self, status, message, extra_headers=())",
    (ASGIProtocol, "_send_response_start"): "(self, status, headers, request, close=False)",
    (ASGIProtocol, "_serve_http_request"): "(self, request, sockname, peername)",
    (ASGIWorker, "_serve"): "(self)",
    (ASGIWorker, "handle_exit_signal"): "(self)",
    (ASGIWorker, "handle_quit_signal"): "(self)",
    (FlowControl, "drain"): "(self)",
    (FlowControl, "resume_writing"): "(self)",
    (protocol, "_get_cached_date_header"): "()",
}
MADE = ASGIProtocol(SimpleNamespace(cfg=SimpleNamespace(), log=None, asgi=None))
ATTRIBUTES = {
    MADE: (
        "_callback_parser", "_current_request", "_flow_control", "_keepalive_handle", "_response_buffer", "_task",
        "app", "transport", "worker",
    ),
    PythonProtocol(): ("_buffer", "headers", "http_version", "method"),
    FlowControl(None): ("write_paused",),
    protocol: ("_CACHED_SERVER_HEADER", "_NO_COPY_BODY_SIZE", "_REASON_PHRASES"),
    gasgi: ("ASGIProtocol",),
}  # fmt: skip
THEIRS = {name for _, name in METHODS} | {name for names in ATTRIBUTES.values() for name in names}


@pytest.mark.parametrize(("owner", "name"), METHODS, ids=lambda part: getattr(part, "__name__", part))
def test_gunicorn_has_the_function(owner: object, name: str) -> None:
    assert str(inspect.signature(getattr(owner, name))) == METHODS[owner, name]


@pytest.mark.parametrize(
    ("owner", "name"), [(owner, name) for owner, names in ATTRIBUTES.items() for name in names],
    ids=lambda part: part if isinstance(part, str) else getattr(part, "__name__", type(part).__name__),
)  # fmt: skip
def test_gunicorn_has_the_attribute(owner: object, name: str) -> None:
    assert hasattr(owner, name)


def test_gunicorns_worker_has_a_loop_and_the_application() -> None:
    assert "loop" in ASGIWorker.__init__.__code__.co_names
    assert "asgi" in ASGIWorker.load_wsgi.__code__.co_names


def private(node: ast.AST) -> Iterator[tuple[str, bool]]:
    """The private names below a node, and whether they are made there."""
    for one in ast.walk(node):
        match one:
            case ast.Attribute(attr=name, value=ast.Name(id="self"), ctx=ast.Store()):
                made = True
            case ast.Attribute(attr=name):
                made = False
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                made = True
            case _:
                continue
        if name.startswith("_") and not name.startswith("__"):
            yield name, made


def test_every_private_name_of_gunicorns_is_told_above() -> None:
    used, made = {name for name, _ in private(SERVER)}, {name for name, made in private(SERVER) if made}

    assert used - made <= THEIRS
    assert {name for name in THEIRS if name.startswith("_") and not name.startswith("__")} <= used


def test_no_private_name_of_ours_is_one_of_gunicorns() -> None:
    """It would be overridden without anybody having meant to."""
    classes = {node.name: node for node in SERVER.body if isinstance(node, ast.ClassDef)}
    taken = {"Protocol": {*dir(MADE)}, "Worker": {*dir(ASGIWorker)}}

    for name, node in classes.items():
        ours = {name for name, _ in private(node)} - THEIRS
        assert ours & taken.get(name, set()) == set()
