"""Keys that checkpoints are signed with: Ed25519, one a line, as C2SP's tools write them.

A line is `PRIVATE+KEY+<name>+<id>+<base64>`, the id in hexadecimal, the base64 of the byte 01 and the key's 32 bytes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from es_goals.proofs import HASH_BYTES, ProofRefused, Signature, Verifier, decoded, encoded, signed_note, verifier

if TYPE_CHECKING:  # imported with the first key, since it takes as long as all else of a short command
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_BEGIN = "PRIVATE+KEY+"
_ED25519 = b"\x01"


class BadKey(Exception):
    """What should be a signing key is none."""


class SigningKey(NamedTuple):
    """A private key, and what it is verified with."""

    private: "Ed25519PrivateKey"
    verifier: Verifier

    @property
    def line(self) -> str:
        """As a file of keys has it."""
        name, key_id, _ = self.verifier
        return f"{_BEGIN}{name}+{key_id.hex()}+{encoded(_ED25519 + self.private.private_bytes_raw())}"


class Signer(NamedTuple):
    """Signs with all of its keys, of which there may be none; `origin` is what its checkpoints call the log."""

    origin: str
    keys: Sequence[SigningKey] = ()

    def sign(self, text: str) -> str:
        """Return the text as a note with a signature of each key."""
        data = text.encode()
        signatures = (
            Signature(one.verifier.name, one.verifier.key_id, one.private.sign(data)) for one in self.keys
        )  # fmt: skip
        return signed_note(text, list(signatures))


def make_key(name: str) -> SigningKey:
    """Return a new key. Raises BadKey where it can have no such name."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return _key(name, Ed25519PrivateKey.generate())


def read_keys(text: str) -> list[SigningKey]:
    """Return the keys, a line each, all of one name. Raises BadKey, which shows nothing of them."""
    keys = [_read_key(line) for line in text.splitlines() if line.strip()]
    if len(names := {one.verifier.name for one in keys}) > 1:
        raise BadKey(f"expected signing keys of one name; found {', '.join(sorted(names))}")
    return keys


def _read_key(line: str) -> SigningKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    expected = f"expected a signing key, {_BEGIN}<name>+<id>+<base64>, as `es-goals key new` writes one"
    name, _, rest = line.strip().removeprefix(_BEGIN).partition("+")
    key_id, _, key = rest.partition("+")
    try:
        data = decoded(key)
    except ProofRefused:
        data = b""
    if not line.startswith(_BEGIN) or data[:1] != _ED25519 or len(data) != 1 + HASH_BYTES:
        raise BadKey(f"{expected}; found another form")
    found = _key(name, Ed25519PrivateKey.from_private_bytes(data[1:]))
    if key_id != found.verifier.key_id.hex():
        raise BadKey(f"{expected}; found one whose id belongs to another")
    return found


def _key(name: str, private: "Ed25519PrivateKey") -> SigningKey:
    try:
        return SigningKey(private, verifier(name, private.public_key().public_bytes_raw()))
    except ProofRefused as error:
        raise BadKey(str(error)) from error
