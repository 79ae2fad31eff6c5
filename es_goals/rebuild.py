"""Folds read models all over again while they serve: a new generation beside the live one, compared, and then live."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any

import structlog
from msgspec import Struct, structs

from es_goals.events import Recorded
from es_goals.projector import ProjectionBehind, Projector, healthy
from es_goals.storage.errors import RowRefused, StorageError
from es_goals.storage.log import Progress
from es_goals.storage.views import Generation, Key, ReadModel

FAR = 100_000  # events behind: catching the old rows up, to compare, would take ten times what the rebuild took
ROWS_FILLED = 5_000  # rows that a rebuild writes in a transaction: some 30 ms

logger = structlog.get_logger()


class AlreadyRebuilding(Exception):
    """Another thread or process is rebuilding this read model."""


class NothingToRollBackTo(Exception):
    """No earlier generation of this code's revision is stored."""


class Stopped(Exception):
    """The process ends; a rebuild goes on from its checkpoint when it is asked for again."""


class Rebuilt(Struct, frozen=True):
    """A rebuild's end: rows that only the old or only the new generation has, and up to 10 keys of
    them. None: they had no common checkpoint, or the old one was far behind."""

    name: str
    events: int
    rows: int
    gone: int | None
    came: int | None
    keys: Sequence[Key]


class Rebuilder:
    """Makes and exchanges generations of a projector's read models. Any thread may use it."""

    def __init__(self, projector: Projector) -> None:
        self._projector, self._log, self._views = projector, projector.log, projector.views

    def rebuild(self, name: str, progress: Progress = lambda _done, _total: None) -> Rebuilt:
        """Fold the log into a new generation beside the live one, compare, and flip. A killed rebuild goes on.

        Raises NoSuchProjection, AlreadyRebuilding, ProjectionBehind (the fold failed), Stopped.
        """
        model = self._projector.model(name)
        with self._views.lease(name) as mine:
            if not mine:
                raise AlreadyRebuilding(f"{name} is being rebuilt")
            building = self._views.building(model, make=True)
            assert building is not None
            try:
                building = self._fill(model, building, progress)
                gone, came, keys = self._compare(model, building)
                self._flip(model, building)
            except ProjectionBehind:
                self._views.discard(building)
                raise
            logger.info("projection_rebuilt", projection=name, events=building.position, gone=gone, came=came)
            return Rebuilt(name, building.position, self._views.count(building), gone, came, keys)

    def announce(self, name: str) -> None:
        """Make the generation that a rebuild will fill, so that the status shows it. Raises NoSuchProjection."""
        model = self._projector.model(name)
        with self._views.lease(name) as mine:
            if mine:
                self._views.building(model, make=True)

    def _fill(self, model: ReadModel, building: Generation, progress: Progress) -> Generation:
        building = self._fill_by_stream(model, building, progress)
        while moved := self._projector.step(model, building):
            building = healthy(moved)
            self._report_progress(building, building.position, progress)
        return building

    def _fill_by_stream(self, model: ReadModel, building: Generation, progress: Progress) -> Generation:
        """Fold up to where the log ends now, stream by stream: each row is written once, and behind the one before it,
        which is ten times as fast as by position. Where a killed rebuild left off, it goes on."""
        if building.position == 0 and (head := self._log.head().position):
            command = self._log.read(head - 1, 1)[0].command
            building = structs.replace(building, position=head, command=command, filled="")
        while building.filled is not None:
            with closing(self._log.by_stream(building.filled, building.position)) as lines:
                building = self._fill_streams(model, building, lines, progress)
        return building

    def _fill_streams(
        self, model: ReadModel, building: Generation, lines: Iterable[Recorded], progress: Progress
    ) -> Generation:
        """Fold in transactions of whole streams. Where somebody emptied the generation meanwhile, start from that."""
        rows: dict[Key, Any] = {}
        stream, folded = building.filled, building.folded
        key_of, fold = model.key, model.fold
        for line in lines:
            if line.stream != stream and len(rows) >= ROWS_FILLED:
                saved = self._save_filled(model, structs.replace(building, filled=stream, folded=folded), rows)
                if saved is None:
                    return self._projector.reload(model, building)
                building = saved
                rows.clear()
                self._report_progress(building, folded, progress)
            stream = line.stream
            try:
                key = key_of(line)
                if key is not None:
                    rows[key] = fold(rows.get(key), line)
            except Exception as error:
                logger.error("projection_failed", projection=building.name, position=line.position, error=str(error))
                raise ProjectionBehind(f"the fold of {building.name} failed at position {line.position}") from error
            folded += 1
        full = structs.replace(building, filled=None, folded=folded)
        building = self._save_filled(model, full, rows) or self._projector.reload(model, building)
        self._report_progress(building, building.done, progress)
        return building

    def _save_filled(self, model: ReadModel, filled: Generation, rows: dict[Key, Any]) -> Generation | None:
        try:
            return self._views.fill(model, filled, (row for row in rows.values() if row is not None))
        except RowRefused as error:
            raise ProjectionBehind(str(error)) from error

    def _report_progress(self, building: Generation, done: int, progress: Progress) -> None:
        if self._projector.stopping.is_set():
            raise Stopped(f"the rebuild of {building.name} stopped after {done} events")
        progress(done, max(self._log.head().position, done))

    def _compare(self, model: ReadModel, building: Generation) -> tuple[int | None, int | None, Sequence[Key]]:
        """Compare old and new at one checkpoint in one snapshot. The live one moves meanwhile, so it takes some
        tries."""
        if building.position - self._views.live(model).position > FAR:
            return None, None, ()
        for _ in range(20):
            live = self._projector.catch_up(model)
            building = self._catch_up_to(model, building, live.position)
            if live.error is not None:
                break
            found = self._views.differences(model, live, building)
            if found is not None:
                return found
        return None, None, ()

    def _flip(self, model: ReadModel, building: Generation) -> None:
        while True:
            building = self._catch_up_to(model, building, self._views.live(model).position)
            if self._views.flip(model, building):
                return

    def _catch_up_to(self, model: ReadModel, building: Generation, until: int) -> Generation:
        """Return the new generation, no further behind than `until`."""
        building = self._projector.reload(model, building)
        while building.position < until and (moved := self._projector.step(model, building, until)):
            building = healthy(moved)
        return building

    def resume(self) -> None:
        """Try failed folds again, whose code may be mended, and go on with rebuilds that a killed process left
        behind."""
        for name, model in self._projector.models.items():
            try:
                live = self._projector.generation(name)
                if live.error is not None:
                    self._views.clear_failed(live)
                    self._projector.catch_up(model)
                if self._views.building(model) is not None:
                    self.rebuild(name)
            except (AlreadyRebuilding, Stopped, ProjectionBehind, StorageError) as error:
                logger.warning("not_resumed", projection=name, error=str(error))

    def rebuild_user(self, name: str, user: str) -> int:
        """Fold one user's rows anew into the live generation. Returns how many there are."""
        model = self._projector.model(name)
        while True:
            generation = self._projector.catch_up(model)
            rows = self._projector.view(name, user, generation.position).rows
            if self._views.replace_user(model, generation, user, rows):
                return len(rows)

    def roll_back(self, name: str) -> Generation:
        """Make the generation before the last rebuild live again. Raises NothingToRollBackTo."""
        generation = self._views.roll_back(self._projector.model(name))
        if generation is None:
            raise NothingToRollBackTo(f"expected an earlier generation of {name}; found none")
        self._projector.reset_if_foreign(generation)
        return self._projector.catch_up(self._projector.model(name))
