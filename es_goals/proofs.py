"""Checks proofs about a log that somebody else keeps: RFC 9162's Merkle tree, and C2SP's signed checkpoints.

It is pure and needs nothing else of this software, so that it can be read, kept and used apart from it. A root does not
tell the size of its tree: sizes, like roots, are to be taken from checkpoints whose signatures were verified.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

HASH_BYTES = 32
MOST_NOTE_BYTES = 262_144
"""Of a signed note: 16 signatures of any kind fit."""

_KEY_NAME = re.compile(r"[^\s+]+")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_ED25519 = b"\x01"
_SIGNED_BY = "\N{EM DASH} "


class ProofRefused(Exception):
    """A proof, or a checkpoint, does not show what it should; the message says what was expected."""


class Signature(NamedTuple):
    """A line below a note: a key's name, and the first four bytes of a hash that tell its keys apart."""

    name: str
    key_id: bytes
    signature: bytes


class Checkpoint(NamedTuple):
    """What a log says it is: its name, how many entries it has, and the hash of the tree over them."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What is signed."""
        return "".join(f"{line}\n" for line in (self.origin, self.size, encoded(self.root), *self.extensions))


class Verifier(NamedTuple):
    """Who signs: a key's name, its id, and the 32 bytes of an Ed25519 public key."""

    name: str
    key_id: bytes
    public: bytes

    @property
    def vkey(self) -> str:
        """The verifier key, as C2SP's tools take it."""
        return f"{self.name}+{self.key_id.hex()}+{encoded(_ED25519 + self.public)}"


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry of the log: 32 bytes (RFC 9162, section 2.1.1)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash above two others: 32 bytes (RFC 9162, section 2.1.1)."""
    return sha256(b"\x01" + left + right).digest()


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Check that the entry with this leaf hash is at `index`, from 0, of the tree of this size and root (RFC 9162,
    section 2.1.3.2). Raises ProofRefused."""
    _expect_numbers(index, size)
    _expect_hashes(leaf, root, *path)
    if index >= size:
        raise ProofRefused(f"expected an index below the size, {size}; found {index}")
    found = leaf
    for beside, is_left in _sides(index, size - 1, path):
        found = node_hash(beside, found) if is_left else node_hash(found, beside)
    _expect_same("root", root, found)


def verify_consistency(size_1: int, root_1: bytes, size_2: int, root_2: bytes, path: Sequence[bytes]) -> None:
    """Check that the tree of the second size and root begins with all of the first one (RFC 9162, section 2.1.4.2).
    Raises ProofRefused, also of an empty tree, with which every tree begins."""
    _expect_numbers(size_1, size_2)
    _expect_hashes(root_1, root_2, *path)
    if not 0 < size_1 <= size_2:
        raise ProofRefused(f"expected a first size from 1 to the second, {size_2}; found {size_1}")
    if size_1 == size_2:
        if path:
            raise ProofRefused(f"expected no path between equal sizes; found {len(path)} hashes")
        _expect_same("root", root_1, root_2)
        return
    if not path:
        raise ProofRefused("expected a path between two sizes; found none")
    at, last = size_1 - 1, size_2 - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    # Where the first tree is full, its own root is where both begin.
    begin, *others = path if at else (root_1, *path)
    first = second = begin
    for beside, is_left in _sides(at, last, others):
        if is_left:
            first = node_hash(beside, first)
        second = node_hash(beside, second) if is_left else node_hash(second, beside)
    _expect_same("first root", root_1, first)
    _expect_same("second root", root_2, second)


def verify_checkpoint(note: bytes | str, vkey: str) -> Checkpoint:
    """Check that a checkpoint was signed with the key, and return what it says (C2SP signed-note, tlog-checkpoint).

    Raises ProofRefused. Signatures of other keys are passed over. That `origin` is the log that was meant is for the
    caller to see.
    """
    text, signatures = read_note(note)
    key = read_vkey(vkey)
    own = [one for one in signatures if (one.name, one.key_id) == (key.name, key.key_id)]
    if not own:
        raise ProofRefused(f"expected a signature of {key.name} ({key.key_id.hex()}); found none")
    for one in own:
        _verify_signature(text, one, key)
    return read_checkpoint(text)


def read_note(note: bytes | str) -> tuple[str, list[Signature]]:
    """Return a note's text, and the signatures below it, of which none was looked at. Raises ProofRefused."""
    whole = _as_text(note)
    text, gap, below = whole.rpartition("\n\n")
    if not gap or not whole.endswith("\n"):
        raise ProofRefused("expected a text, an empty line and signatures; found no empty line, or no end of a line")
    return f"{text}\n", [_read_signature(line) for line in below.split("\n")[:-1]]


def read_checkpoint(text: str) -> Checkpoint:
    """Return what a checkpoint's text says. Raises ProofRefused."""
    *lines, end = text.split("\n")
    if end or len(lines) < 3 or not all(lines) or not _SIZE.fullmatch(lines[1]):
        raise ProofRefused("expected lines with an origin, a size and a root; found other ones")
    origin, size, root, *extensions = lines
    found = Checkpoint(origin, int(size), decoded(root), tuple(extensions))
    _expect_hashes(found.root)
    return found


def read_vkey(vkey: str) -> Verifier:
    """Return the key that a verifier key is, `<name>+<id>+<base64>`. Raises ProofRefused."""
    parts = vkey.split("+", 2)
    if len(parts) != 3 or not _KEY_NAME.fullmatch(parts[0]):
        raise ProofRefused(f"expected a verifier key, <name>+<id>+<base64>; found {vkey[:100]!r}")
    name, key_id, key = parts[0], parts[1], decoded(parts[2])
    if key[:1] != _ED25519 or len(key) != 1 + HASH_BYTES:
        raise ProofRefused(f"expected an Ed25519 key; found another kind of {name}")
    found = verifier(name, key[1:])
    if key_id != found.key_id.hex():
        raise ProofRefused(f"expected the id {found.key_id.hex()} of the key of {name}; found {key_id[:100]!r}")
    return found


def verifier(name: str, public: bytes) -> Verifier:
    """Return the key of this name and these 32 bytes, with its id. Raises ProofRefused where it can have no such
    name."""
    if not _KEY_NAME.fullmatch(name) or not name.isprintable():
        raise ProofRefused(f"expected a name without spaces and +; found {name[:100]!r}")
    return Verifier(name, sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4], public)


def signed_note(text: str, signatures: Sequence[Signature]) -> str:
    """Write a note down."""
    lines = (f"{_SIGNED_BY}{one.name} {encoded(one.key_id + one.signature)}\n" for one in signatures)
    return f"{text}\n{''.join(lines)}"


def encoded(data: bytes) -> str:
    """Return it in base64, as everything is in notes."""
    return base64.b64encode(data).decode()


def decoded(text: str) -> bytes:
    """Return what is written in base64. Raises ProofRefused, also where it could be written in another way."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProofRefused(f"expected base64; found {text[:100]!r}") from error
    if encoded(data) != text:  # bits that count for nothing, by which one text could have several signatures
        raise ProofRefused(f"expected base64 as it is written; found {text[:100]!r}")
    return data


def _as_text(note: bytes | str) -> str:
    try:
        data = note if isinstance(note, bytes) else note.encode()
        if len(data) > MOST_NOTE_BYTES:
            raise ProofRefused(f"expected a note of at most {MOST_NOTE_BYTES} bytes; found {len(data)}")
        text = data.decode()
    except UnicodeError as error:
        raise ProofRefused("expected a note in UTF-8; found other bytes") from error
    if found := next((character for character in text if character < " " and character != "\n"), None):
        raise ProofRefused(f"expected no control characters but ends of lines; found {found!r}")
    return text


def _read_signature(line: str) -> Signature:
    name, _, signature = line.removeprefix(_SIGNED_BY).partition(" ")
    data = decoded(signature)
    if not line.startswith(_SIGNED_BY) or not _KEY_NAME.fullmatch(name) or len(data) < 5:
        raise ProofRefused(f"expected a signature's line; found {line[:100]!r}")
    return Signature(name, data[:4], data[4:])


def _verify_signature(text: str, one: Signature, key: Verifier) -> None:
    # Imported with the first signature: it takes as long as all else of a short command.
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(one.signature, text.encode())
    except (InvalidSignature, ValueError) as error:
        raise ProofRefused(f"expected the signature of {key.name}; found one that is not") from error


def _sides(at: int, last: int, path: Sequence[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Go up from node `at` of a level whose last one is `last`: yield each hash of the path, and whether it is on the
    left. Raises ProofRefused where the path does not end at the root."""
    for beside in path:
        if last == 0:
            raise ProofRefused(f"expected a shorter path; found {len(path)} hashes")
        is_left = bool(at & 1) or at == last
        if is_left:
            while at and not at & 1:  # up while nothing is on its right
                at, last = at >> 1, last >> 1
        yield beside, is_left
        at, last = at >> 1, last >> 1
    if last:
        raise ProofRefused(f"expected a longer path; found {len(path)} hashes")


def _expect_numbers(*numbers: int) -> None:
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise ProofRefused(f"expected a number from 0; found {number!r}")


def _expect_hashes(*hashes: bytes) -> None:
    for one in hashes:
        if not isinstance(one, bytes) or len(one) != HASH_BYTES:
            raise ProofRefused(f"expected hashes of {HASH_BYTES} bytes; found {one!r:.100}")


def _expect_same(what: str, expected: bytes, found: bytes) -> None:
    if expected != found:
        raise ProofRefused(f"expected the {what} {expected.hex()}; found {found.hex()}")
