"""A serving process: what it is made of, how it starts, its tick, its housekeeping, how it stops."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from time import monotonic
from typing import Any

import structlog

from es_goals import metrics
from es_goals.charges import Charge, HistoryBound, free_of_charge
from es_goals.configured import checkpoints_of, limits_of, options_of
from es_goals.drafting import Drafting
from es_goals.ids import Uuid7
from es_goals.projector import ProjectionBehind, Projector
from es_goals.proving.checkpoints import BadCheckpoints, Contradicted
from es_goals.proving.tree import HashTree
from es_goals.reads import TREE, Reads
from es_goals.reads.cache import LocalCache, LogCache, RemoteCache
from es_goals.reads.callers import Authenticator
from es_goals.reads.follower import Follower
from es_goals.reads.pool import FairPool
from es_goals.reads.replica import Replica, Source
from es_goals.reads.trees import TreeCache
from es_goals.reads.whatif.drafts import DraftReads
from es_goals.rebuild import Rebuilder
from es_goals.service import Service
from es_goals.settings import Settings
from es_goals.storage import open_storage
from es_goals.storage.deadlines import Deadline
from es_goals.storage.errors import StorageError, Unusable
from es_goals.storage.log import Clock
from es_goals.storage.views import ReadModel

HOUSEKEEPING_SECONDS = 600.0
"""Between two looks for sessions, uses and attempts that are of no use any more."""

GUESSES_SECONDS = 900
"""For so long passwords that failed count."""

logger = structlog.get_logger()


class Worker:
    """Made in the process that serves. `failed` is called when the process must end: after a commit whose outcome is
    unknown, or where the log has lost events; `charge` is told what users' work took. Raises Unusable."""

    def __init__(
        self,
        settings: Settings,
        models: Iterable[ReadModel],
        clock: Clock,
        failed: Callable[[], None],
        charge: Charge = free_of_charge,
    ) -> None:
        self.settings, self.clock, self.new_id = settings, clock, Uuid7(clock)
        self.storage = open_storage(settings.db, clock, options_of(settings))
        log = self.storage.log
        self.projector = Projector(log, self.storage.views, models)
        self.rebuilder = Rebuilder(self.projector)
        self.tree = HashTree(self.storage)
        self.checkpoints = checkpoints_of(settings, log, self.tree, clock)
        self.follower = Follower(settings.tick)
        pool = FairPool(settings.threads, charge)
        self.service = Service(
            log,
            pool,
            settings.deciding_cache,
            limits_of(settings),
            settings.events_limit,
            failed=failed,
            committed=self._committed,
            charge=charge,
            history=HistoryBound(settings.history, metrics.history_warned.inc, metrics.history_refused.inc),
        )
        trees = TreeCache(settings.reading_cache)
        self.reads = self._reads(pool, trees, failed)
        rules = (limits_of(settings), settings.events_limit)
        self.drafting = Drafting(log, self.service, pool, clock, *rules, settings.body_limit)
        self.drafts = DraftReads(self.reads, trees, *rules)
        self._background: set[asyncio.Future[None]] = set()
        self._at_close: list[Callable[[], None]] = []
        self._housekeeping_at = 0.0

    def _reads(self, pool: FairPool, trees: TreeCache, failed: Callable[[], None]) -> Reads:
        settings, storage, projector = self.settings, self.storage, self.projector
        cache: LogCache
        if storage.log.is_local:
            cache = LocalCache(storage, projector.model(TREE))
        else:
            cache = RemoteCache(storage, projector.model(TREE), failed)
        authenticator = Authenticator(cache, storage.sessions, self.clock, settings.session_idle, settings.token_idle)
        replica = (
            Replica(partial(self._open_replica, storage.log.id), metrics.replica_reads.inc)
            if settings.replica
            else None
        )
        return Reads(storage, projector, cache, authenticator, pool, trees, self.clock, self.in_background, replica)

    def _open_replica(self, log_id: str) -> Source:
        """Raises Unusable."""
        settings = self.settings
        storage = open_storage(settings.replica, self.clock, options_of(settings, standby=True))
        if storage.log.id != log_id:
            storage.close()
            raise Unusable(f"expected a replica of the log {log_id}; found {storage.log.id}")
        return Source(storage, Projector(storage.log, storage.views, self.projector.models.values()))

    def _committed(self, commands: int) -> None:
        metrics.batch_commands.observe(commands)
        self.follower.wake()

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Goes on after the answer; `stop` waits for it."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def start(self) -> None:
        """Begin the tick, and go on with rebuilds that were cut off."""
        self.in_background(self.follower.run(self._look, self._tick, self.reads.pool))
        self.storage.log.watch(self.follower.wake)
        self.in_background(asyncio.to_thread(self.rebuilder.resume))

    async def _look(self) -> int:
        """Also where nobody is known to have written."""
        if not self.settings.open and monotonic() >= self._housekeeping_at:
            self._housekeeping_at = monotonic() + HOUSEKEEPING_SECONDS
            self.in_background(asyncio.to_thread(self._purge_expired))
        return await self.reads.cache.refresh(Deadline.after(self.settings.deadline))

    def _tick(self) -> bool:
        """Whether it is done, until the log grows."""
        self.storage.log.checkpoint()
        self.projector.tick()
        return not self.tree.tick() or self._sign()

    def _sign(self) -> bool:
        """Sign a checkpoint, if it is time; whether nothing is left to sign. What contradicts those before is never
        signed."""
        try:
            return self.checkpoints.tick()
        except (Contradicted, BadCheckpoints) as error:
            logger.error("checkpoint_refused", detail=str(error))
            return True

    def _purge_expired(self) -> None:
        """Forget what is over: sessions, uses that are too old to matter, passwords that were tried long ago."""
        settings, now = self.settings, self.clock()
        idle = now - max(settings.session_idle, settings.token_idle) * 1_000_000
        try:
            self.storage.sessions.purge_expired(now, idle, now - GUESSES_SECONDS * 1_000_000)
        except StorageError as error:
            logger.warning("sessions_not_tidied", detail=str(error))

    async def stop(self) -> None:
        """Finish what was taken, and let the storage go."""
        self.follower.stop()
        self.projector.stop()
        self.tree.stop()
        await asyncio.to_thread(self.service.close)
        await asyncio.gather(*self._background, return_exceptions=True)
        await asyncio.to_thread(self._sign_last)
        self.close()

    def _sign_last(self) -> None:
        try:
            self.checkpoints.finish()
        except (StorageError, ProjectionBehind, Contradicted, BadCheckpoints) as error:  # the next start signs it
            logger.warning("checkpoint_not_signed", detail=str(error))

    def at_close(self, work: Callable[[], None]) -> None:
        """What else is to be ended with the worker's threads."""
        self._at_close.append(work)

    def close(self) -> None:
        """End the threads, and let the storage go; the service is closed."""
        for work in self._at_close:
            work()
        self.reads.close()
        self.storage.close()
