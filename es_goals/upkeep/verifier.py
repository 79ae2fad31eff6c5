"""Verifies everything while the service runs, one at a time over all of its processes, and says how far it is."""

from collections.abc import Callable
from contextlib import suppress
from time import monotonic

import structlog
from msgspec import structs

from es_goals.projector import ProjectionBehind, Projector
from es_goals.proving.tree import HashTree
from es_goals.storage import Storage
from es_goals.storage.errors import StorageError
from es_goals.storage.log import Clock, Progress
from es_goals.storage.views import Verification
from es_goals.upkeep.verification import Anchor, Mismatch, StoredTree, verify_log, verify_read_model

LEASE = ".verify"
TOLD_SECONDS = 0.5
"""Between two times that it stores how far it is."""

logger = structlog.get_logger()


class Stopped(Exception):
    """The process ends."""


class Verifier:
    """Of one storage. Any thread may use it."""

    def __init__(self, storage: Storage, projector: Projector, tree: HashTree, clock: Clock) -> None:
        self._storage, self._projector, self._tree, self._clock = storage, projector, tree, clock
        self._stored = storage.views.verifications

    def run(self, id: str, expect: Anchor | None, begun: Callable[[Verification | None], None]) -> None:
        """Verify, unless somebody is at it. `begun` is told which one is under way: this one, or that one, unless it
        only begins."""
        with self._storage.views.lease(LEASE) as mine:
            newest = self._stored.newest()
            if not mine:
                begun(newest if newest is not None and newest.state == "running" else None)
                return
            if newest is not None:
                self._cut_off(newest)
            one = Verification(id, "running", self._clock())
            self._stored.put(one)
            begun(one)
            ended = self._ended(one, expect)
            logger.info("verified", verification=id, state=ended.state, head=ended.head, finding=ended.finding)
            with suppress(StorageError):  # it is seen that nobody is at it any more
                self._stored.put(structs.replace(ended, ended_at=self._clock()))

    def find(self, id: str) -> Verification | None:
        """One that began lately. Where its process ended before it did, it failed."""
        one = self._stored.find(id)
        if one is None or one.state != "running":
            return one
        with self._storage.views.lease(LEASE) as nobody_is_at_it:
            one = self._stored.find(id)
            return self._cut_off(one) if nobody_is_at_it and one is not None else one

    def _cut_off(self, one: Verification) -> Verification:
        """What it is where nobody is at it."""
        if one.state == "running":
            one = structs.replace(one, state="failed", finding="the process that verified ended")
            self._stored.put(one)
        return one

    def _ended(self, one: Verification, expect: Anchor | None) -> Verification:
        try:
            one = self._check_log(one, expect)
            self._check_read_models(one)
            return structs.replace(one, state="sound")
        except Mismatch as mismatch:
            return structs.replace(one, state="unsound", finding=str(mismatch))
        except (StorageError, ProjectionBehind, Stopped) as error:
            return structs.replace(one, state="failed", finding=str(error))

    def _check_log(self, one: Verification, expect: Anchor | None) -> Verification:
        self._tree.catch_up()
        stored = StoredTree(self._storage.tiles)
        checked = verify_log(self._storage.log, expect, self._progress(one, "log"), stored=stored)
        return structs.replace(one, head=str(checked.head))

    def _check_read_models(self, one: Verification) -> None:
        for name, model in self._projector.models.items():
            self._projector.catch_up(model)
            verify_read_model(self._storage, model, self._progress(one, name))

    def _progress(self, one: Verification, step: str) -> Progress:
        told = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal told
            if self._projector.stopping.is_set():
                raise Stopped("the service stopped meanwhile")
            if monotonic() - told >= TOLD_SECONDS:
                told = monotonic()
                self._stored.put(structs.replace(one, step=step, done=done, total=total))

        return progress
