"""Ids: UUIDs of version 7 (RFC 9562, section 5.7), how an id looks, and the wall clock."""

import re
import secrets
import threading
import time
from collections.abc import Callable


def wall_clock() -> int:
    """µs since 1970."""
    return time.time_ns() // 1000


_TAIL_BITS = 74
_TAIL_BYTES = 10
_DRAWN = 400  # tails at once: each draw gives the interpreter's lock away, which costs a busy process 15 µs


class Uuid7:
    """Called, returns a new id as text. `clock` gives µs since 1970; where it stands still or goes back, the
    74 bits behind the milliseconds count up by random steps instead."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._last = 0
        self._drawn: list[int] = []
        self._lock = threading.Lock()

    def __call__(self) -> str:
        milliseconds = self._clock() // 1000
        with self._lock:
            if not self._drawn:
                self._drawn = _draw()
            fresh = milliseconds << _TAIL_BITS | self._drawn.pop()
            if fresh >> _TAIL_BITS <= self._last >> _TAIL_BITS:
                fresh = self._last + 1 + (fresh & 0xFFFF_FFFF)
            self._last = fresh
        milliseconds, tail = fresh >> _TAIL_BITS, fresh & ((1 << _TAIL_BITS) - 1)
        high = milliseconds << 16 | 0x7000 | tail >> 62
        low = 0b10 << 62 | tail & ((1 << 62) - 1)
        text = f"{high:016x}{low:016x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _draw() -> list[int]:
    # One bit less than the tail has, so that there is room to count up.
    data = secrets.token_bytes(_TAIL_BYTES * _DRAWN)
    parts = (data[start : start + _TAIL_BYTES] for start in range(0, len(data), _TAIL_BYTES))
    return [int.from_bytes(part) >> (8 * _TAIL_BYTES - _TAIL_BITS + 1) for part in parts]


UUID_FORM = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32}")
"""With dashes or without, in any case."""


def uuid_of(text: str) -> str | None:
    """The id in its usual form, as the log writes it; None where the text is none."""
    if UUID_FORM.fullmatch(text) is None:
        return None
    digits = text.lower()
    if len(digits) == 32:
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    return digits
