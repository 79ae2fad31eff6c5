"""Logs are JSON, a line an event, on standard error: whatever text a client sends stays inside its string."""

import json
import logging
import sys

import structlog


def configure(level: str) -> None:
    """From this level on."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_render),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )


def _render(event: object, **_: object) -> bytes:
    # In ASCII: nothing that a client sent can move a terminal's cursor, or fail to be written.
    return json.dumps(event, default=repr).encode()
