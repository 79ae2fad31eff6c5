"""Requests a second of each user, over all workers of a machine, counted as ITU-T I.371 does cells (its generic cell
rate algorithm, GCRA, the leaky bucket as a meter): each request moves the time at which the next one would be due by
its share of a second, and what is due too far ahead of now does not conform."""

import mmap
import secrets
from collections.abc import Callable
from hashlib import blake2b
from math import ceil
from time import monotonic
from typing import NamedTuple

from falcon.asgi import Response

from es_goals.charges import Work

WAYS = 8
SETS = 8_192
BURST_SECONDS = 1.0
WORK_A_SECOND = 0.5
"""Seconds of threads' time that all of a second's requests are worth: half of a core, whoever asks for what."""
EVENTS_A_REQUEST = 10
BYTES_A_REQUEST = 8_192
"""What takes more counts as so many requests more: the writer's time and the log's disk are everybody's."""


class Taken(NamedTuple):
    """Whether a request conforms; how many would still do so at once; seconds until this one would (0.0: it does), and
    until all would."""

    allowed: bool
    remaining: int
    retry_after: float
    reset: float


class Rates:
    """`quota` requests a second for each key, all of a second's at once if none came before.

    To be made before the workers are forked, which share its memory of SETS times WAYS keys, 16 bytes each; where that
    is full, who was not heard of for the longest time is forgotten. No lock: of two workers that count a request of one
    key at the same moment, one may go uncounted. `clock`: seconds, the same in all workers.
    """

    def __init__(self, quota: int, clock: Callable[[], float] = monotonic, sets: int = SETS) -> None:
        self.quota = quota
        self._share, self._clock, self._sets = 1 / quota, clock, sets
        self._secret = secrets.token_bytes(16)
        # Of each set its keys' hashes, and behind them the times at which their next requests are due.
        shared = memoryview(mmap.mmap(-1, sets * WAYS * 16))
        self._hashes, self._due = shared.cast("Q"), shared.cast("d")

    def take(self, key: str, cost: float = 1.0) -> Taken:
        """Count a request that costs as much as so many, if it conforms. One that costs more than a whole burst does
        where nothing was counted lately, and leaves a debt."""
        place, due, now = self._found(key)
        share = cost * self._share
        wait = due - now + min(share, BURST_SECONDS) - BURST_SECONDS
        if wait > 1e-9:  # less is the arithmetic's
            return Taken(False, self._left(due - now), wait, due - now)
        self._due[place] = due + share
        return Taken(True, self._left(due + share - now), 0.0, due + share - now)

    def charge(self, key: str, cost: float) -> None:
        """Count what turned out to cost as much as so many requests more, whether or not it conforms."""
        place, due, _ = self._found(key)
        self._due[place] = due + cost * self._share

    def charge_work(self, key: str, work: Work) -> None:
        """Count what a request of a user took beyond its own place: it is worth its share of WORK_A_SECOND,
        EVENTS_A_REQUEST events or BYTES_A_REQUEST bytes of the log, whichever it took most of."""
        recorded = max(work.events / EVENTS_A_REQUEST, work.size / BYTES_A_REQUEST)
        if (cost := max(recorded, work.seconds / WORK_A_SECOND * self.quota)) > 1:
            self.charge(key, cost - 1)

    def _left(self, ahead: float) -> int:
        return max(0, int((BURST_SECONDS - ahead) / self._share + 1e-6))

    def _found(self, key: str) -> tuple[int, float, float]:
        """Where the key's time is, from now on; the time, now at the earliest; and now."""
        now = self._clock()
        hashed = int.from_bytes(blake2b(key.encode(), digest_size=8, key=self._secret).digest(), "little") or 1
        first = hashed % self._sets * WAYS * 2
        hashes = self._hashes[first : first + WAYS].tolist()
        if hashed in hashes:
            place = first + WAYS + hashes.index(hashed)
            return place, max(self._due[place], now), now
        times = self._due[first + WAYS : first + 2 * WAYS].tolist()
        way = times.index(min(times))
        self._hashes[first + way], self._due[first + WAYS + way] = hashed, now
        return first + WAYS + way, now, now


def set_headers(resp: Response, quota: int, taken: Taken) -> None:
    """The headers of draft-ietf-httpapi-ratelimit-headers: `q` requests in `w` seconds, `r` of them left, for `t`
    seconds; and Retry-After where the request was refused."""
    seconds = ceil(taken.reset if taken.allowed else taken.retry_after)
    resp.set_header("RateLimit-Policy", f'"user";q={quota};w={ceil(BURST_SECONDS)}')
    resp.set_header("RateLimit", f'"user";r={taken.remaining};t={seconds}')
    if not taken.allowed:
        resp.set_header("Retry-After", str(seconds))
