"""A user's events with proofs, in a file that is checked without the log.

It is JSON, a line each: what it is about, then each event with its bytes and its proof (C2SP tlog-proof), in the order
of the log, at last how many there are of each stream. `docs/proofs.md` writes it down.
"""

import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct

from es_goals.events import Recorded, account_stream, goals_stream
from es_goals.proofs import (
    Checkpoint,
    ProofRefused,
    decoded,
    encoded,
    leaf_hash,
    read_checkpoint,
    read_note,
    verify_checkpoint,
    verify_inclusion,
)
from es_goals.proving.digest import event_bytes, read_event
from es_goals.proving.tree import HashTree

EVIDENCE = "application/x-ndjson"
FORMAT = "over-achiever-evidence@v1"
PROOF = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})", re.ASCII)

S = TypeVar("S", bound=Struct)


class About(Struct, frozen=True, forbid_unknown_fields=True):
    """The first line: whose events these are, of which log, as of which checkpoint."""

    format: str
    log: str
    user: str
    checkpoint: str


class Event(Struct, frozen=True, forbid_unknown_fields=True):
    """One event: its bytes in base64, and the proof that they are in the log."""

    entry: str
    proof: str


class End(Struct, frozen=True, forbid_unknown_fields=True):
    """The last line: how many events of each stream there were."""

    streams: dict[str, int]


class Shown(Struct, frozen=True):
    """Events of a user that are in the log of a checkpoint. `signed`: whether its signature was checked."""

    user: str
    checkpoint: Checkpoint
    signed: bool
    events: list[Recorded]


_encode = msgspec.json.Encoder().encode


class Evidence:
    """Writes evidence for a checkpoint's note, part by part. Raises ProjectionBehind."""

    def __init__(self, tree: HashTree, log_id: str, user: str, note: str) -> None:
        self._about = About(FORMAT, log_id, user, note)
        self.user, self.size = user, read_checkpoint(read_note(note)[0]).size
        self._tree = tree.at(self.size)
        self._streams: dict[str, int] = {}

    def begin(self) -> bytes:
        """Return the first line."""
        return _encode(self._about) + b"\n"

    def add(self, lines: Sequence[Recorded]) -> bytes:
        """Return the lines of the user's next events."""
        for line in lines:
            self._streams[line.stream] = line.version
        return b"".join(_encode(self._event(line)) + b"\n" for line in lines)

    def _event(self, line: Recorded) -> Event:
        index = line.position - 1
        path = "".join(f"{encoded(one)}\n" for one in self._tree.inclusion(index))
        return Event(encoded(event_bytes(line)), f"{PROOF}\nindex {index}\n{path}\n{self._about.checkpoint}")

    def end(self) -> bytes:
        """Return the last line."""
        return _encode(End(self._streams)) + b"\n"


def check(lines: Iterable[bytes], vkey: str | None) -> Shown:
    """Check evidence, and that its checkpoint is signed with the key, if one is given. Raises ProofRefused.

    Versions without a gap show that none of the events between the first and the last one is missing.
    """
    numbered = iter(enumerate(lines, start=1))
    about = _read(next(numbered, (1, b"")), About)
    if about.format != FORMAT:
        raise ProofRefused(f"line 1: expected evidence of the format {FORMAT}; found {about.format[:100]!r}")
    if vkey is None:
        said = read_checkpoint(read_note(about.checkpoint)[0])
    else:
        said = verify_checkpoint(about.checkpoint, vkey)
        if said.origin != vkey.partition("+")[0]:
            raise ProofRefused(
                f"expected a checkpoint of the log that the key is of; found one of {said.origin[:100]!r}"
            )
    streams = {goals_stream(about.user): 0, account_stream(about.user): 0}
    events: list[Recorded] = []
    for number, line in numbered:
        if line.startswith(b'{"streams"'):
            _expect_end(number, line, streams, numbered)
            return Shown(about.user, said, vkey is not None, events)
        events.append(_checked((number, line), about, said, streams, events[-1].position if events else 0))
    raise ProofRefused("expected evidence with its last line; found it cut off")


def _checked(line: tuple[int, bytes], about: About, said: Checkpoint, streams: dict[str, int], after: int) -> Recorded:
    number, event = line[0], _read(line, Event)
    try:
        entry = decoded(event.entry)
        found = read_event(entry)
        index, path, note = _read_proof(event.proof)
        if note != about.checkpoint:
            raise ProofRefused("expected a proof for the checkpoint of the first line; found one for another")
        verify_inclusion(leaf_hash(entry), index, said.size, path, said.root)
        _expect_place(found, index, streams, after)
    except (ProofRefused, ValueError) as error:
        raise ProofRefused(f"line {number}: {error}") from error
    streams[found.stream] = found.version
    return found


def _expect_place(found: Recorded, index: int, streams: dict[str, int], after: int) -> None:
    if found.position <= after:
        raise ProofRefused(f"expected a position behind {after}; found {found.position}")
    if found.position != index + 1:
        raise ProofRefused(f"expected position {index + 1}, one above the proof's index; found {found.position}")
    if found.stream not in streams:
        raise ProofRefused(f"expected an event of the user; found one of {found.stream[:100]!r}")
    if found.version != streams[found.stream] + 1:
        raise ProofRefused(f"expected version {streams[found.stream] + 1} of {found.stream}; found {found.version}")


def _read_proof(text: str) -> tuple[int, list[bytes], str]:
    above, gap, note = text.partition("\n\n")
    first, *others = above.split("\n")
    index = _INDEX.fullmatch(others[0]) if others else None
    if first != PROOF or not gap or index is None:
        raise ProofRefused(f"expected a proof that begins with {PROOF} and an index; found another form")
    return int(index[1]), [decoded(one) for one in others[1:]], note


def _expect_end(number: int, line: bytes, streams: dict[str, int], rest: Iterable[object]) -> None:
    end = _read((number, line), End)
    if end.streams != {stream: version for stream, version in streams.items() if version}:
        raise ProofRefused(f"line {number}: expected as many events as it says; found other numbers of them")
    if next(iter(rest), None) is not None:
        raise ProofRefused(f"line {number + 1}: expected the end; found more")


def _read(line: tuple[int, bytes], kind: type[S]) -> S:
    try:
        return msgspec.json.decode(line[1], type=kind)
    except msgspec.DecodeError as error:
        wanted = "JSON as `es-goals evidence` writes it"
        raise ProofRefused(f"line {line[0]}: expected {wanted}; found another: {error}") from error
