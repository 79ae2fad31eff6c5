"""The wall clock, handed to whatever needs the time."""

import time


def wall_clock() -> int:
    """µs since 1970."""
    return time.time_ns() // 1000
