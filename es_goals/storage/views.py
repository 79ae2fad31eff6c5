"""What a store of read models promises, whatever engine it is on."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from msgspec import Struct

from es_goals.events import Recorded

Key = tuple[str | int, ...]
"""A read model row's key: the values of its KEY columns."""


class ReadModel(Protocol):
    """A module of `projections/`; see there."""

    # A module's constants are read only, which a protocol says with properties.

    @property
    def __name__(self) -> str: ...
    @property
    def REVISION(self) -> int: ...
    @property
    def Row(self) -> type[Any]: ...
    @property
    def KEY(self) -> tuple[str, ...]: ...
    @property
    def INDEXES(self) -> tuple[tuple[str, ...], ...]: ...
    @property
    def key(self) -> Callable[[Recorded], Key | None]: ...
    @property
    def fold(self) -> Callable[[Any, Recorded], Any]: ...
    def __hash__(self) -> int: ...


class Generation(Struct, frozen=True):
    """One folding of a read model. `state` is live, building or previous; `position` and `command` are its
    checkpoint; `failed_at` and `error` say where and why its fold stopped, if it did; `writes` counts what changed its
    rows, and is compared by whoever wants to change them next. While it is filled stream by stream, `filled` is the
    last one whose rows are there, and `folded` counts their events."""

    id: int
    name: str
    state: str
    position: int
    command: str | None
    failed_at: int | None
    error: str | None
    writes: int = 0
    filled: str | None = None
    folded: int = 0

    @property
    def done(self) -> int:
        """How many events are folded into it."""
        return self.position if self.filled is None else self.folded


class Verification(Struct, frozen=True):
    """A check of the log and of every read model. `state` is running, sound, unsound or failed; times are µs; `step`:
    what is being checked, `done` of `total` of it; `head`: where the log ended, with its digest; `finding`: the first
    thing that is not as promised, or why it could not be known."""

    id: str
    state: str
    began_at: int
    ended_at: int | None = None
    step: str = ""
    done: int = 0
    total: int = 0
    head: str | None = None
    finding: str | None = None


VERIFICATIONS = 20
"""How many are kept, the newest ones."""


class Verifications(Protocol):
    """Stores how verifications go, and how they ended."""

    def find(self, id: str) -> Verification | None:
        """Return one of those that are kept."""

    def newest(self) -> Verification | None:
        """Return the one that began last."""

    def put(self, one: Verification) -> None:
        """Store one, in place of what it was, and forget those that are too old."""


class Views(Protocol):
    """Stores the rows of read models, by generation. A process sees only generations of its own code's
    REVISION and fields."""

    def live(self, model: ReadModel) -> Generation:
        """Return the generation that readers see; made, empty, where there is none."""

    def building(self, model: ReadModel, *, make: bool = False) -> Generation | None:
        """Return the generation that a rebuild fills; made, empty, if `make` and there is none."""

    def snapshot(
        self, model: ReadModel, generation: Generation | None = None, user: str | None = None
    ) -> tuple[Generation, list[Any]]:
        """Return a generation (None: the live one) as it is now, and its rows, or one user's, in key order.

        Raises GenerationGone.
        """

    def load(self, model: ReadModel, generation: Generation, keys: Iterable[Key]) -> dict[Key, Any]:
        """Return the rows that exist under these keys. Raises GenerationGone."""

    def save(
        self, model: ReadModel, generation: Generation, position: int, command: str, rows: dict[Key, Any | None]
    ) -> Generation | None:
        """Store rows (None: gone) and the new checkpoint, if nobody wrote since `generation` was read; else None.

        Raises RowRefused.
        """

    def fill(self, model: ReadModel, generation: Generation, rows: Iterable[Any]) -> Generation | None:
        """Add rows, of users who have none yet, and set `position`, `command`, `filled` and `folded` to what they are
        in `generation`, if nobody wrote since it was read; else None. Raises RowRefused."""

    def replace_user(self, model: ReadModel, generation: Generation, user: str, rows: Iterable[Any]) -> bool:
        """Set all of a user's rows, if it is the live one and nobody wrote since it was read."""

    def mark_failed(self, generation: Generation, position: int, error: str) -> None:
        """Store where and why the fold stopped, if the checkpoint is still `generation.position`."""

    def clear_failed(self, generation: Generation) -> None:
        """Forget a failure, so that it is tried again."""

    def discard(self, generation: Generation) -> None:
        """Remove a generation that nobody reads."""

    def reset(self, generation: Generation) -> None:
        """Empty a generation and set its checkpoint to 0."""

    def differences(self, model: ReadModel, old: Generation, new: Generation) -> tuple[int, int, list[Key]] | None:
        """Count rows only in `old` and only in `new`, and find up to 10 of their keys; None if checkpoints differ."""

    def flip(self, model: ReadModel, building: Generation) -> bool:
        """Make it live, and the live one the previous one; False if it is further behind than that one."""

    def roll_back(self, model: ReadModel) -> Generation | None:
        """Exchange the live and the previous generation; None where there is no previous one."""

    def count(self, generation: Generation) -> int:
        """Return how many rows a generation has."""

    def owners(self, model: ReadModel) -> list[str]:
        """Return the users who have rows in the live generation."""

    @property
    def verifications(self) -> Verifications:
        """What was verified, which is stored beside the read models."""

    def lease(self, name: str) -> AbstractContextManager[bool]:
        """Take a lease; true inside if the caller alone may rebuild the read model of this name."""
