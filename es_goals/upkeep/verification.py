"""Checks the log against its promises, and every read model against a fold from scratch."""

from collections.abc import Iterable, Iterator
from typing import Any, cast

from msgspec import Struct, structs

from es_goals.events import GoalEvent, Recorded, UndecodableEvent, goals_stream, subject_of
from es_goals.goals.state import Goals, evolve
from es_goals.projector import fold_into
from es_goals.proofs import HASH_BYTES, Checkpoint
from es_goals.proving.digest import TreeHash, event_hash
from es_goals.proving.tiles import WIDTH, GrowingTree, Tile
from es_goals.storage import Storage
from es_goals.storage.errors import StorageError
from es_goals.storage.log import PAGE, Log, Progress, all_lines, all_streams
from es_goals.storage.tiles import Tiles
from es_goals.storage.views import Key, ReadModel
from es_goals.upkeep.accounts import ForgedAccount, expect_accounts


class Mismatch(Exception):
    """Something is not as promised; the message names the first place."""


class Rewritten(Mismatch):
    """The log is not, or not any more, the one of a checkpoint that was kept."""


class Anchor(Struct, frozen=True):
    """What a log began with: its digest at a position. Written `<position>:<digest>`."""

    position: int
    digest: str

    def __str__(self) -> str:
        return f"{self.position}:{self.digest}"


class Checked(Struct, frozen=True):
    """A log that keeps its promises: where it ends, and how many users and goals it has."""

    head: Anchor
    users: int
    goals: int


def parse_anchor(text: str) -> Anchor:
    """Read an anchor as it is written. Raises ValueError."""
    position, _, digest = text.partition(":")
    if not (position.isascii() and position.isdigit()) or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise ValueError(f"expected <position>:<digest>, a number and 64 hexadecimal digits; found {text!r}")
    return Anchor(int(position), digest)


def lines(log: Log, until: int | None = None) -> Iterator[Recorded]:
    """Yield the whole log in order. Raises Mismatch where it cannot be read."""
    after = 0
    try:
        for line in all_lines(log, until=until):
            yield line
            after = line.position
    except StorageError as error:
        raise Mismatch(f"the log cannot be read behind position {after}: {error}") from error


class StoredTree:
    """The stored tree hashes, compared with those of the log as it is read. Where they are over less of it, so much.

    `fault` says which is the first one that is not the log's.
    """

    def __init__(self, tiles: Tiles) -> None:
        self._tiles, self._size = tiles, tiles.size()
        self._growing = GrowingTree()
        self.fault: str | None = None

    def add(self, leaf: bytes) -> None:
        """Compare the hash of the next event."""
        growing = self._growing
        if self.fault is not None or growing.size == self._size:
            return
        growing.add([leaf])
        for tile in growing.filled() if growing.size % WIDTH == 0 else ():
            self._compare(tile)
        for tile in growing.edge() if growing.size == self._size else ():
            self._compare(tile)

    def _compare(self, tile: Tile) -> None:
        stored = self._tiles.tile(tile.level, tile.number)
        if self.fault is not None or stored.startswith(tile.hashes):
            return
        places = range(0, len(tile.hashes), HASH_BYTES)
        sides = ([side[place : place + HASH_BYTES] for side in (tile.hashes, stored)] for place in places)
        place, (own, found) = next(one for one in enumerate(sides) if one[1][0] != one[1][1])
        below = WIDTH**tile.level
        first = (tile.number * WIDTH + place) * below + 1
        whose = (
            f"position {first}: its hash" if below == 1 else f"the hash over positions {first} to {first + below - 1}"
        )
        self.fault = f"{whose} is {own.hex()}; found {found.hex() or 'none'} in the stored tree"


class Beginnings:
    """What a log must begin with: `expect`, and what checkpoints that were kept say."""

    def __init__(self, expect: Anchor | None = None, kept: Iterable[Checkpoint] = ()) -> None:
        self._expect = expect
        self._kept: dict[int, str] = {}
        self.least = expect.position if expect else 0
        for one in kept:
            if self._kept.setdefault(one.size, one.root.hex()) != one.root.hex():
                raise Rewritten(f"two checkpoints contradict each other: at position {one.size} their digests differ")

    def expect(self, position: int, tree: TreeHash) -> None:
        """Raises Mismatch where the tree over the log up to this position is another one."""
        if self._expect is not None and self._expect.position == position and self._expect.digest != tree.root():
            raise Mismatch(f"the log does not begin as expected: at position {position} its digest is {tree.root()}")
        digest = self._kept.get(position)
        if digest is not None and digest != tree.root():
            raise Rewritten(f"at position {position} expected {digest}, as a checkpoint says; found {tree.root()}")

    def expect_reached(self, position: int) -> None:
        """Raises Rewritten where a checkpoint is of more than the log has."""
        most = max(self._kept, default=0)
        if position < most:
            raise Rewritten(f"the log ends at position {position}; expected {most}, as a checkpoint says")


def verify_log(
    log: Log,
    expect: Anchor | None,
    progress: Progress,
    kept: Iterable[Checkpoint] = (),
    stored: StoredTree | None = None,
) -> Checked:
    """Check that the log is contiguous, decodable, in order, begins as expected, and ends with goals that form trees;
    and that the stored tree hashes are its own.

    Raises Mismatch.
    """
    faults = log.integrity()
    if faults:
        raise Mismatch(f"the database is damaged: {faults[0]}")
    beginnings, tree = Beginnings(expect, kept), TreeHash()
    least = max(log.head().position, beginnings.least)
    versions: dict[str, int] = {}
    last: Recorded | None = None
    beginnings.expect(0, tree)
    for line in lines(log):
        _check_line(line, last, versions)
        versions[line.stream] = line.version
        tree.add_hash(leaf := event_hash(line))
        beginnings.expect(line.position, tree)
        if stored is not None:
            stored.add(leaf)
        last = line
        if line.position % PAGE == 0:
            progress(line.position, max(least, line.position))
    found = last.position if last else 0
    if found < least:
        raise Mismatch(f"the log ends at position {found}; expected {least}")
    beginnings.expect_reached(found)
    users, goals = _check_streams(log, versions)
    try:
        expect_accounts(log)
    except ForgedAccount as error:
        raise Mismatch(str(error)) from error
    if stored is not None and stored.fault is not None:  # behind what says more
        raise Mismatch(stored.fault)
    if faults := log.schema_faults():
        raise Mismatch(f"the database does not defend the log as it must: {faults[0]}")
    return Checked(Anchor(found, tree.root()), users, goals)


def _check_streams(log: Log, streams: Iterable[str]) -> tuple[int, int]:
    """Check that each stream's user is there, and that goals form trees. Returns how many users and goals there are."""
    for stream in streams:
        if log.user(stream.partition(":")[2]) is None:
            raise Mismatch(f"{stream}: expected a row for this user beside the log")
    goals = sum(_check_goals(log, stream) for stream in streams if stream.startswith("user:"))
    return sum(stream.startswith("account:") for stream in streams), goals


def anchor(log: Log, until: int, progress: Progress) -> Anchor:
    """Return what the log begins with, up to a position. Raises Mismatch where it cannot be read so far."""
    tree, position = TreeHash(), 0
    for line in lines(log, until):
        tree.add_hash(event_hash(line))
        position = line.position
        if position % PAGE == 0:
            progress(position, until)
    return Anchor(position, tree.root())


def _check_line(line: Recorded, last: Recorded | None, versions: dict[str, int]) -> None:
    place = f"position {line.position}"
    expected = (last.position if last else 0) + 1
    if line.position != expected:
        raise Mismatch(f"{place}: expected position {expected}")
    if line.version != versions.get(line.stream, 0) + 1:
        raise Mismatch(f"{place}: expected version {versions.get(line.stream, 0) + 1} of {line.stream}")
    if last and line.at < last.at:
        raise Mismatch(f"{place}: its time goes back")
    try:
        event = line.event
    except UndecodableEvent as error:
        raise Mismatch(str(error)) from error
    if subject_of(event) != line.subject:
        raise Mismatch(f"{place}: its subject is {line.subject}, its data's {subject_of(event)}")


def _check_goals(log: Log, stream: str) -> int:
    """Check that one user's goals at the head form trees. Returns how many there are."""
    goals = Goals()
    for line in all_lines(log, stream=stream):
        try:
            evolve(goals, cast(GoalEvent, line.event), line.at)
        except (KeyError, IndexError, ValueError) as error:
            raise Mismatch(f"position {line.position}: does not follow from what is before it") from error
    _check_trees(goals, stream)
    return len(goals.known)


def _check_trees(goals: Goals, stream: str) -> None:
    reached: set[str] = set()
    waiting: list[str | None] = [None]
    while waiting:
        for _, goal_id in goals.siblings.get(waiting.pop(), ()):
            reached.add(goal_id)
            waiting.append(goal_id)
    if len(reached) != len(goals.known):
        lost = sorted(set(goals.known) - reached)[0]
        raise Mismatch(f"{stream}: goal {lost} hangs under itself or under nothing")
    for goal in goals.known.values():
        above = None if goal.parent_id is None else goals.known[goal.parent_id].root
        if goal.root is None and above is not None:
            raise Mismatch(f"{stream}: goal {goal.id} is not deleted, but its parent is")
        if goal.root not in (None, goal.id, above):
            raise Mismatch(f"{stream}: goal {goal.id} was deleted along with {goal.root}, but its parent was not")


def verify_read_model(storage: Storage, model: ReadModel, progress: Progress) -> int:
    """Check that each user's rows equal a fold of the user's events up to their checkpoint. Returns how many there are.

    Raises Mismatch.
    """
    owners = set(storage.views.owners(model)) | {
        stream.partition(":")[2] for stream in all_streams(storage.log) if stream.startswith("user:")
    }
    rows = 0
    for number, owner in enumerate(sorted(owners), start=1):
        rows += _check_rows(storage, model, owner)
        progress(number, len(owners))
    return rows


def _check_rows(storage: Storage, model: ReadModel, owner: str) -> int:
    generation, stored = storage.views.snapshot(model, None, owner)
    if generation.error is not None:
        raise Mismatch(f"{generation.name}: its fold failed at position {generation.failed_at}: {generation.error}")
    folded: dict[Key, Any] = {}
    for line in all_lines(storage.log, stream=goals_stream(owner), until=generation.position):
        fold_into(model, folded, line)
    found = {tuple(getattr(row, column) for column in model.KEY): row for row in stored}
    for key in sorted(found.keys() | folded.keys()):
        if found.get(key) != folded.get(key):
            raise Mismatch(
                f"{generation.name} at position {generation.position}, row {key}:"
                f" expected {_shown(folded.get(key))}; found {_shown(found.get(key))}"
            )
    return len(found)


def _shown(row: Any) -> str:
    return "no row" if row is None else str(structs.asdict(row))
