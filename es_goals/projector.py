"""Folds the log into read models: as it grows, for one reader, as of the past, and all over again.

It is given read models and knows none. A read needs no write: it takes the user's rows as they are stored and
folds the user's events behind their checkpoint in memory, so it sees every command acknowledged before it, however
far the stored rows are behind.
"""

import threading
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any

import structlog
from msgspec import Struct, structs

from es_goals.events import Recorded, goals_stream
from es_goals.storage.errors import GenerationGone, RowRefused, StorageError
from es_goals.storage.log import Log, Progress, StreamHead
from es_goals.storage.views import Generation, Key, ReadModel, Views

PAGE = 5_000  # events read at once into memory
CHUNK = 500  # events a transaction: about 5 ms, so that no other waits long for the lock
FAR = 100_000  # events behind: catching the old rows up, to compare, would take ten times what the rebuild took
ROWS_FILLED = 5_000  # rows that a rebuild writes in a transaction: some 30 ms

log = structlog.get_logger()


class ProjectionBehind(Exception):
    """A read model's fold has failed, or it cannot keep up; nothing stale is answered instead."""


class AlreadyRebuilding(Exception):
    """Another thread or process is rebuilding this read model."""


class NoSuchProjection(Exception):
    """There is no read model of this name."""


class NothingToRollBackTo(Exception):
    """No earlier generation of this code's revision is kept."""


class Stopped(Exception):
    """The process ends; a rebuild goes on from its checkpoint when it is asked for again."""


class Status(Struct, frozen=True):
    """How a read model stands. `state` is live, rebuilding (`done` of `total` events) or failed (`failed_at`,
    `error`)."""

    name: str
    revision: int
    generation: int
    position: int
    head: int
    lag: int
    rows: int
    state: str
    done: int | None = None
    total: int | None = None
    failed_at: int | None = None
    error: str | None = None


class View(Struct, frozen=True):
    """A user's rows by key, as of the user's event at this version and position (zeros: none yet)."""

    by_key: dict[Key, Any]
    version: int
    position: int
    generation: int

    @property
    def rows(self) -> list[Any]:
        """The rows, in no order."""
        return list(self.by_key.values())


class Rebuilt(Struct, frozen=True):
    """A rebuild's end: rows that only the old or only the new generation has, and up to 10 keys of
    them. None: they had no common checkpoint, or the old one was far behind."""

    name: str
    events: int
    rows: int
    gone: int | None
    came: int | None
    keys: Sequence[Key]


class Projector:
    """The read models of one storage. Any thread may use it."""

    def __init__(self, log: Log, views: Views, models: Iterable[ReadModel]) -> None:
        self._log, self._views = log, views
        self.models = {model.__name__.rpartition(".")[2]: model for model in models}
        self._stopping = threading.Event()
        for model in self.models.values():
            live, building = self._views.live(model), self._views.building(model)
            for generation in (live, building):
                if generation is not None:
                    self._recognise(generation)

    def model(self, name: str) -> ReadModel:
        """The read model of this name. Raises NoSuchProjection."""
        if name not in self.models:
            raise NoSuchProjection(f"expected one of {', '.join(self.models)}; found {name!r}")
        return self.models[name]

    def read(self, name: str, user: str, known: View | None = None) -> View:
        """A user's rows as of now, folded on from what is known already, or from what is stored.

        Raises ProjectionBehind.
        """
        model, stream = self.model(name), goals_stream(user)
        if known is not None and known.generation == self.sound_generation(name).id:
            rows = known.by_key.copy()
            last = self._fold(model, rows, known.position, stream)
            return View(rows, last.version or known.version, last.position or known.position, known.generation)
        generation, stored = self._views.snapshot(model, None, user)
        rows = {_key(model, row): row for row in stored}
        seen = _sound(generation).position
        while True:
            seen = max(seen, self._fold(model, rows, seen, stream).position)
            head = self._log.stream_head(stream)
            if head.position <= seen:
                return View(rows, head.version, head.position, generation.id)

    def read_all(self, name: str) -> list[Any]:
        """All users' rows as of now. Raises ProjectionBehind."""
        model = self.model(name)
        generation, stored = self._views.snapshot(model)
        rows = {_key(model, row): row for row in stored}
        self._fold(model, rows, _sound(generation).position)
        return list(rows.values())

    def view(self, name: str, user: str, until: int) -> View:
        """A user's rows as of a position, folded from the log alone. Raises ProjectionBehind."""
        rows: dict[Key, Any] = {}
        head = self._fold(self.model(name), rows, 0, goals_stream(user), until)
        return View(rows, head.version, head.position, self.generation(name).id)

    def _fold(
        self, model: ReadModel, rows: dict[Key, Any], after: int, stream: str | None = None, until: int | None = None
    ) -> StreamHead:
        """Fold what is behind `after` into the rows; answers the last event's place."""
        last = StreamHead()
        more = True
        try:
            while more:
                lines = self._log.read(max(after, last.position), PAGE, stream=stream, until=until)
                for line in lines:
                    fold_into(model, rows, line)
                if lines:
                    last = StreamHead(lines[-1].version, lines[-1].position)
                more = len(lines) == PAGE
        except StorageError:
            raise
        except Exception as error:
            raise ProjectionBehind(f"expected every event to fold; found: {error}") from error
        return last

    def catch_up_all(self) -> None:
        """Bring every live generation to the log's end; a fold that fails stops only its own."""
        for model in self.models.values():
            self.catch_up(model)

    def tick(self) -> None:
        """As `catch_up_all`, unless another process is at it."""
        with self._views.lease(".tick") as mine:
            if mine:
                self.catch_up_all()

    def catch_up(self, model: ReadModel, until: int | None = None) -> Generation:
        """Bring the live generation to where the log ends now, or to `until`."""
        until = self._log.head().position if until is None else until
        generation = self._views.live(model)
        while generation.error is None and generation.position < until and not self._stopping.is_set():
            moved = self._step(model, generation, until)
            if moved is None:
                break
            generation = moved
        return generation

    def _step(
        self, model: ReadModel, generation: Generation, until: int | None = None, most: int | None = None
    ) -> Generation | None:
        """One transaction on. None at the log's end."""
        lines = self._log.read(generation.position, most or CHUNK, until=until)
        if not lines:
            return None
        try:
            changed, last, failure = self._changes(model, generation, lines)
        except GenerationGone:
            return self._again(model, generation)
        moved = generation
        if last is not None:
            try:
                saved = self._views.save(model, generation, last.position, last.command, changed)
            except RowRefused as error:
                if len(lines) == 1:
                    return self._failed(model, generation, lines, error)
                return self._step(model, generation, until, 1)  # one by one, to find the line at fault
            if saved is None:
                return self._again(model, generation)
            moved = saved
        if failure is not None:
            return self._failed(model, moved, lines, failure)
        return moved

    def _recognise(self, generation: Generation) -> None:
        """Start over where the log is another one than was folded: an older copy was put in its place."""
        if generation.position:
            lines = self._log.read(generation.position - 1, 1)
            if not lines or lines[0].command != generation.command:
                log.warning("projection_reset", projection=generation.name, position=generation.position)
                self._views.reset(generation)

    def _changes(
        self, model: ReadModel, generation: Generation, lines: Sequence[Recorded]
    ) -> tuple[dict[Key, Any | None], Recorded | None, Exception | None]:
        """The rows that the lines change, the last line that folded, and why the one behind it did not."""
        changed: dict[Key, Any | None] = {}
        last: Recorded | None = None
        try:
            rows = self._views.load(model, generation, _keys(model, lines))
            for line in lines:
                key = fold_into(model, rows, line)
                if key is not None:
                    changed[key] = rows.get(key)
                last = line
        except StorageError:
            raise
        except Exception as error:
            return changed, last, error
        return changed, last, None

    def _failed(
        self, model: ReadModel, generation: Generation, lines: Sequence[Recorded], error: Exception
    ) -> Generation:
        position = next(line.position for line in lines if line.position > generation.position)
        message = f"{type(error).__name__}: {error}"
        log.error("projection_failed", projection=generation.name, position=position, error=message)
        self._views.mark_failed(generation, position, message)
        return self._again(model, generation)

    def _again(self, model: ReadModel, generation: Generation) -> Generation:
        """The generation as it is stored now, after somebody else changed it."""
        found = self._views.building(model) if generation.state == "building" else self._views.live(model)
        if found is None:
            raise GenerationGone(f"generation {generation.id} of {generation.name} was replaced meanwhile")
        return found

    def rebuild(self, name: str, progress: Progress = lambda _done, _total: None) -> Rebuilt:
        """Fold the log into a new generation beside the live one, compare, and flip. A killed rebuild goes on.

        Raises NoSuchProjection, AlreadyRebuilding, ProjectionBehind (the fold failed), Stopped.
        """
        model = self.model(name)
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
            log.info("projection_rebuilt", projection=name, events=building.position, gone=gone, came=came)
            return Rebuilt(name, building.position, self._views.count(building), gone, came, keys)

    def announce(self, name: str) -> None:
        """Make the generation that a rebuild will fill, so that the status shows it. Raises NoSuchProjection."""
        model = self.model(name)
        with self._views.lease(name) as mine:
            if mine:
                self._views.building(model, make=True)

    def _fill(self, model: ReadModel, building: Generation, progress: Progress) -> Generation:
        building = self._fill_by_stream(model, building, progress)
        while moved := self._step(model, building):
            building = _sound(moved)
            self._go_on(building, building.position, progress)
        return building

    def _fill_by_stream(self, model: ReadModel, building: Generation, progress: Progress) -> Generation:
        """Up to where the log ends now, stream by stream: each row is written once, and behind the one before it, which
        is ten times as fast as by position. Where a killed rebuild left off, it goes on."""
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
        """In transactions of whole streams. Somebody who empties the generation meanwhile is heeded."""
        rows: dict[Key, Any] = {}
        stream, folded = building.filled, building.folded
        key_of, fold = model.key, model.fold
        for line in lines:
            if line.stream != stream and len(rows) >= ROWS_FILLED:
                saved = self._save_filled(model, structs.replace(building, filled=stream, folded=folded), rows)
                if saved is None:
                    return self._again(model, building)
                building = saved
                rows.clear()
                self._go_on(building, folded, progress)
            stream = line.stream
            try:
                key = key_of(line)
                if key is not None:
                    rows[key] = fold(rows.get(key), line)
            except Exception as error:
                log.error("projection_failed", projection=building.name, position=line.position, error=str(error))
                raise ProjectionBehind(f"the fold of {building.name} failed at position {line.position}") from error
            folded += 1
        full = structs.replace(building, filled=None, folded=folded)
        building = self._save_filled(model, full, rows) or self._again(model, building)
        self._go_on(building, _done(building), progress)
        return building

    def _save_filled(self, model: ReadModel, filled: Generation, rows: dict[Key, Any]) -> Generation | None:
        try:
            return self._views.fill(model, filled, (row for row in rows.values() if row is not None))
        except RowRefused as error:
            raise ProjectionBehind(str(error)) from error

    def _go_on(self, building: Generation, done: int, progress: Progress) -> None:
        if self._stopping.is_set():
            raise Stopped(f"the rebuild of {building.name} stopped after {done} events")
        progress(done, max(self._log.head().position, done))

    def _compare(self, model: ReadModel, building: Generation) -> tuple[int | None, int | None, Sequence[Key]]:
        """Old and new at one checkpoint in one snapshot. The live one moves meanwhile, so it takes some tries."""
        if building.position - self._views.live(model).position > FAR:
            return None, None, ()
        for _ in range(20):
            live = self.catch_up(model)
            building = self._level(model, building, live.position)
            if live.error is not None:
                break
            found = self._views.differences(model, live, building)
            if found is not None:
                return found
        return None, None, ()

    def _flip(self, model: ReadModel, building: Generation) -> None:
        while True:
            building = self._level(model, building, self._views.live(model).position)
            if self._views.flip(model, building):
                return

    def _level(self, model: ReadModel, building: Generation, until: int) -> Generation:
        """The new generation, no further behind than `until`."""
        building = self._again(model, building)
        while building.position < until and (moved := self._step(model, building, until)):
            building = _sound(moved)
        return building

    def resume(self) -> None:
        """Where a process begins to serve: try failed folds again, whose code may be mended, and go on with rebuilds
        that a killed process left behind."""
        for name, model in self.models.items():
            try:
                live = self.generation(name)
                if live.error is not None:
                    self._views.clear_failed(live)
                    self.catch_up(model)
                if self._views.building(model) is not None:
                    self.rebuild(name)
            except (AlreadyRebuilding, Stopped, ProjectionBehind, StorageError) as error:
                log.warning("not_resumed", projection=name, error=str(error))

    def rebuild_user(self, name: str, user: str) -> int:
        """Fold one user's rows anew into the live generation. Answers how many there are."""
        model = self.model(name)
        while True:
            generation = self.catch_up(model)
            rows = self.view(name, user, generation.position).rows
            if self._views.replace_user(model, generation, user, rows):
                return len(rows)

    def roll_back(self, name: str) -> Generation:
        """Make the generation before the last rebuild live again. Raises NothingToRollBackTo."""
        generation = self._views.roll_back(self.model(name))
        if generation is None:
            raise NothingToRollBackTo(f"expected an earlier generation of {name}; found none")
        self._recognise(generation)
        return self.catch_up(self.model(name))

    def generation(self, name: str) -> Generation:
        """The live generation of a read model."""
        return self._views.live(self.model(name))

    def sound_generation(self, name: str) -> Generation:
        """The live generation, unless its fold has failed. Raises ProjectionBehind."""
        return _sound(self.generation(name))

    def status(self, name: str) -> Status:
        """How a read model stands. Raises NoSuchProjection."""
        model = self.model(name)
        live, building = self._views.live(model), self._views.building(model)
        head = max(self._log.head().position, live.position)
        state = "failed" if live.error is not None else "rebuilding" if building else "live"
        return Status(
            name,
            model.REVISION,
            live.id,
            live.position,
            head,
            head - live.position,
            self._views.count(live),
            state,
            _done(building) if building else None,
            head if building else None,
            live.failed_at,
            live.error,
        )

    def stop(self) -> None:
        """Let long work end soon."""
        self._stopping.set()


def fold_into(model: ReadModel, rows: dict[Key, Any], line: Recorded) -> Key | None:
    """Fold one event into the rows; answers the key of the one it changed."""
    key = model.key(line)
    if key is not None:
        row = model.fold(rows.get(key), line)
        if row is None:
            rows.pop(key, None)
        else:
            rows[key] = row
    return key


def _keys(model: ReadModel, lines: Iterable[Recorded]) -> set[Key]:
    keys: set[Key] = set()
    for line in lines:
        try:
            key = model.key(line)
        except Exception:
            break  # the fold stops at this line, and tells why
        if key is not None:
            keys.add(key)
    return keys


def _done(building: Generation) -> int:
    return building.position if building.filled is None else building.folded


def _sound(generation: Generation) -> Generation:
    if generation.error is None:
        return generation
    raise ProjectionBehind(f"the fold of {generation.name} failed at position {generation.failed_at}")


def _key(model: ReadModel, row: Any) -> Key:
    return tuple(getattr(row, column) for column in model.KEY)
