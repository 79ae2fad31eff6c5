"""Makes ids: UUID version 7 (RFC 9562, section 5.7), rising within a process even inside one millisecond."""

import secrets
import threading
import uuid
from collections.abc import Callable

_TAIL_BITS = 74


class Uuid7:
    """Called, answers a new id as text. `clock` gives µs since 1970; where it stands still or goes back, the
    74 bits behind the milliseconds count up by random steps instead."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._last = 0
        self._lock = threading.Lock()

    def __call__(self) -> str:
        fresh = (self._clock() // 1000 << _TAIL_BITS) | secrets.randbits(_TAIL_BITS - 1)
        with self._lock:
            if fresh >> _TAIL_BITS <= self._last >> _TAIL_BITS:
                fresh = self._last + 1 + (fresh & 0xFFFF_FFFF)
            self._last = value = fresh
        milliseconds, tail = value >> _TAIL_BITS, value & ((1 << _TAIL_BITS) - 1)
        high = milliseconds << 16 | 0x7000 | tail >> 62
        low = 0b10 << 62 | tail & ((1 << 62) - 1)
        return str(uuid.UUID(int=(high << 64) | low))
