"""Folds the log into read models: as it grows, for one reader, and as of the past.

It is given read models and knows none. A read needs no write: it takes the user's rows as they are stored and
folds the user's events behind their checkpoint in memory, so it sees every command acknowledged before it, however
far the stored rows are behind.
"""

import threading
from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from msgspec import Struct

from es_goals.events import Recorded, goals_stream
from es_goals.storage.errors import GenerationGone, RowRefused, StorageError
from es_goals.storage.log import Log, StreamHead, all_lines
from es_goals.storage.views import Generation, Key, ReadModel, Views

PAGE = 5_000  # events read at once into memory
CHUNK = 500  # events a transaction: about 5 ms, so that no other waits long for the lock

logger = structlog.get_logger()


class ProjectionBehind(Exception):
    """A read model's fold has failed, or it cannot keep up; nothing stale is returned instead."""


class NoSuchProjection(Exception):
    """There is no read model of this name."""


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


class Projector:
    """The read models of one storage. Any thread may use it."""

    def __init__(self, log: Log, views: Views, models: Iterable[ReadModel]) -> None:
        self.log, self.views = log, views
        self.models = {model.__name__.rpartition(".")[2]: model for model in models}
        self.stopping = threading.Event()
        for model in self.models.values():
            live, building = self.views.live(model), self.views.building(model)
            for generation in (live, building):
                if generation is not None:
                    self.reset_if_foreign(generation)

    def model(self, name: str) -> ReadModel:
        """Return the read model of this name. Raises NoSuchProjection."""
        if name not in self.models:
            raise NoSuchProjection(f"expected one of {', '.join(self.models)}; found {name!r}")
        return self.models[name]

    def read(self, name: str, user: str, known: View | None = None) -> View:
        """Return a user's rows as of now, folded on from what is known already, or from what is stored.

        Raises ProjectionBehind.
        """
        model, stream = self.model(name), goals_stream(user)
        if known is not None and known.generation == self.healthy_generation(name).id:
            rows = known.by_key.copy()
            last = self._fold(model, rows, known.position, stream)
            return View(rows, last.version or known.version, last.position or known.position, known.generation)
        generation, stored = self.views.snapshot(model, None, user)
        rows = {_key(model, row): row for row in stored}
        seen = healthy(generation).position
        while True:
            seen = max(seen, self._fold(model, rows, seen, stream).position)
            head = self.log.stream_head(stream)
            if head.position <= seen:
                return View(rows, head.version, head.position, generation.id)

    def read_all(self, name: str) -> list[Any]:
        """Return all users' rows as of now. Raises ProjectionBehind."""
        model = self.model(name)
        generation, stored = self.views.snapshot(model)
        rows = {_key(model, row): row for row in stored}
        self._fold(model, rows, healthy(generation).position)
        return list(rows.values())

    def view(self, name: str, user: str, until: int) -> View:
        """Return a user's rows as of a position, folded from the log alone. Raises ProjectionBehind."""
        rows: dict[Key, Any] = {}
        head = self._fold(self.model(name), rows, 0, goals_stream(user), until)
        return View(rows, head.version, head.position, self.generation(name).id)

    def _fold(
        self, model: ReadModel, rows: dict[Key, Any], after: int, stream: str | None = None, until: int | None = None
    ) -> StreamHead:
        """Fold what is behind `after` into the rows; return the last event's place."""
        last: Recorded | None = None
        try:
            for line in all_lines(self.log, after, PAGE, stream=stream, until=until):
                fold_into(model, rows, line)
                last = line
        except StorageError:
            raise
        except Exception as error:
            raise ProjectionBehind(f"expected every event to fold; found: {error}") from error
        return StreamHead(last.version, last.position) if last else StreamHead()

    def catch_up_all(self) -> None:
        """Bring every live generation to the log's end; a fold that fails stops only its own."""
        for model in self.models.values():
            self.catch_up(model)

    def tick(self) -> None:
        """Catch all up, unless another process is at it."""
        with self.views.lease(".tick") as mine:
            if mine:
                self.catch_up_all()

    def catch_up(self, model: ReadModel, until: int | None = None) -> Generation:
        """Bring the live generation to where the log ends now, or to `until`."""
        until = self.log.head().position if until is None else until
        generation = self.views.live(model)
        while generation.error is None and generation.position < until and not self.stopping.is_set():
            moved = self.step(model, generation, until)
            if moved is None:
                break
            generation = moved
        return generation

    def step(
        self, model: ReadModel, generation: Generation, until: int | None = None, most: int | None = None
    ) -> Generation | None:
        """Fold and store at most `most` events more, in one transaction. None at the log's end."""
        lines = self.log.read(generation.position, most or CHUNK, until=until)
        if not lines:
            return None
        try:
            changed, last, failure = self._changes(model, generation, lines)
        except GenerationGone:
            return self.reload(model, generation)
        moved = generation
        if last is not None:
            try:
                saved = self.views.save(model, generation, last.position, last.command, changed)
            except RowRefused as error:
                if len(lines) == 1:
                    return self._mark_failed(model, generation, lines, error)
                return self.step(model, generation, until, 1)  # one by one, to find the line at fault
            if saved is None:
                return self.reload(model, generation)
            moved = saved
        if failure is not None:
            return self._mark_failed(model, moved, lines, failure)
        return moved

    def reset_if_foreign(self, generation: Generation) -> None:
        """Empty a generation that was folded from another log: an older copy was put in this one's place."""
        if generation.position:
            lines = self.log.read(generation.position - 1, 1)
            if not lines or lines[0].command != generation.command:
                logger.warning("projection_reset", projection=generation.name, position=generation.position)
                self.views.reset(generation)

    def _changes(
        self, model: ReadModel, generation: Generation, lines: Sequence[Recorded]
    ) -> tuple[dict[Key, Any | None], Recorded | None, Exception | None]:
        """Return the rows that the lines change, the last line that folded, and why the one behind it did not."""
        changed: dict[Key, Any | None] = {}
        last: Recorded | None = None
        try:
            rows = self.views.load(model, generation, _keys(model, lines))
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

    def _mark_failed(
        self, model: ReadModel, generation: Generation, lines: Sequence[Recorded], error: Exception
    ) -> Generation:
        position = next(line.position for line in lines if line.position > generation.position)
        message = f"{type(error).__name__}: {error}"
        logger.error("projection_failed", projection=generation.name, position=position, error=message)
        self.views.mark_failed(generation, position, message)
        return self.reload(model, generation)

    def reload(self, model: ReadModel, generation: Generation) -> Generation:
        """Return the generation as it is stored now, after somebody else changed it. Raises GenerationGone."""
        found = self.views.building(model) if generation.state == "building" else self.views.live(model)
        if found is None:
            raise GenerationGone(f"generation {generation.id} of {generation.name} was replaced meanwhile")
        return found

    def generation(self, name: str) -> Generation:
        """Return the live generation of a read model."""
        return self.views.live(self.model(name))

    def healthy_generation(self, name: str) -> Generation:
        """Return the live generation, unless its fold has failed. Raises ProjectionBehind."""
        return healthy(self.generation(name))

    def status(self, name: str) -> Status:
        """Return how a read model stands. Raises NoSuchProjection."""
        model = self.model(name)
        live, building = self.views.live(model), self.views.building(model)
        head = max(self.log.head().position, live.position)
        state = "failed" if live.error is not None else "rebuilding" if building else "live"
        return Status(
            name,
            model.REVISION,
            live.id,
            live.position,
            head,
            head - live.position,
            self.views.count(live),
            state,
            building.done if building else None,
            head if building else None,
            live.failed_at,
            live.error,
        )

    def stop(self) -> None:
        """Let long work end soon."""
        self.stopping.set()


def fold_into(model: ReadModel, rows: dict[Key, Any], line: Recorded) -> Key | None:
    """Fold one event into the rows; return the key of the one it changed."""
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
            break  # the fold stops at this line, and its error says why
        if key is not None:
            keys.add(key)
    return keys


def healthy(generation: Generation) -> Generation:
    """Return the generation, unless its fold has failed. Raises ProjectionBehind."""
    if generation.error is None:
        return generation
    raise ProjectionBehind(f"the fold of {generation.name} failed at position {generation.failed_at}")


def _key(model: ReadModel, row: Any) -> Key:
    return tuple(getattr(row, column) for column in model.KEY)
