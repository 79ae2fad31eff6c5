"""Proofs about a log: the known answers of others, and that nothing passes which is not so."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_goals.proofs import (
    Checkpoint,
    ProofRefused,
    leaf_hash,
    node_hash,
    read_vkey,
    verify_checkpoint,
    verify_consistency,
    verify_inclusion,
)
from es_goals.proving.keys import Signer, read_keys
from tests.rules.test_digest import LEAVES, ROOTS
from tests.support.trees import tree_of

MOST = 600
KNOWN_ROOTS = [bytes.fromhex(root) for root in ROOTS]

# The proofs that the certificate-transparency reference implementation is tested with: index and size, or two sizes.
INCLUSIONS: dict[tuple[int, int], list[str]] = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCIES: dict[tuple[int, int], list[str]] = {
    (1, 1): [],
    (1, 8): INCLUSIONS[0, 8],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
# The keys and the note that Go's golang.org/x/mod/sumdb/note is tested with.
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
OTHER_VKEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
PRIVATE = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNATURE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
SIGNER = Signer("PeterNeumann", read_keys(PRIVATE))
CHECKPOINT = Checkpoint("PeterNeumann", 5, bytes.fromhex(ROOTS[5]))
NOTE = SIGNER.sign(CHECKPOINT.text)

TREE = tree_of(MOST)
LEAF_HASHES = [leaf_hash(str(number).encode()) for number in range(MOST)]
TREES = [TREE(size) for size in range(MOST + 1)]
OTHER_ROOT = leaf_hash(b"of another tree")


def flipped(data: bytes, bit: int) -> bytes:
    """The same but for one bit."""
    number = int.from_bytes(data, "big") ^ (1 << bit % (8 * len(data)))
    return number.to_bytes(len(data), "big")


def others(path: Sequence[bytes], place: int, bit: int) -> list[list[bytes]]:
    """Paths that are like this one but for a bit, an order, or a hash too many or too few."""
    path = list(path)
    found = [[*path, OTHER_ROOT], [OTHER_ROOT, *path], path[:-1] if path else [OTHER_ROOT] * 2]
    if path:
        place %= len(path)
        found.append([*path[:place], flipped(path[place], bit), *path[place + 1 :]])
        found.append([*path[:place], *path[place + 1 :]])
    if len(path) > 1:
        found.append([*path[:-2], path[-1], path[-2]])
    return found


def refused(verify: Any, *values: Any) -> bool:
    """Whether it is."""
    try:
        verify(*values)
    except ProofRefused:
        return True
    return False


@pytest.mark.parametrize(("place", "path"), INCLUSIONS.items(), ids=str)
def test_the_known_proofs_of_inclusion_pass(place: tuple[int, int], path: list[str]) -> None:
    index, size = place
    leaf = leaf_hash(bytes.fromhex(LEAVES[index]))

    verify_inclusion(leaf, index, size, [bytes.fromhex(one) for one in path], KNOWN_ROOTS[size])


@pytest.mark.parametrize(("sizes", "path"), CONSISTENCIES.items(), ids=str)
def test_the_known_proofs_of_consistency_pass(sizes: tuple[int, int], path: list[str]) -> None:
    old, new = sizes

    verify_consistency(old, KNOWN_ROOTS[old], new, KNOWN_ROOTS[new], [bytes.fromhex(one) for one in path])


@given(st.integers(1, MOST), st.data())
def test_every_proof_of_inclusion_passes_and_no_other(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    bit, place = data.draw(st.integers(0, 255)), data.draw(st.integers(0, 20))
    leaf, path, root = LEAF_HASHES[index], TREES[size].inclusion(index), TREES[size].root()

    verify_inclusion(leaf, index, size, path, root)

    other_size = data.draw(st.integers(1, MOST).filter(lambda one: one != size))
    other_index = data.draw(st.integers(0, MOST).filter(lambda one: one != index))
    assert refused(verify_inclusion, flipped(leaf, bit), index, size, path, root)
    assert refused(verify_inclusion, leaf, index, size, path, flipped(root, bit))
    assert refused(verify_inclusion, leaf, other_index, size, path, root)
    assert refused(verify_inclusion, leaf, index, other_size, path, TREES[other_size].root())
    assert [
        one for one in others(path, place, bit) if not refused(verify_inclusion, leaf, index, size, one, root)
    ] == []


@given(st.integers(1, MOST), st.data())
def test_every_proof_of_consistency_passes_and_no_other(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new))
    bit, place = data.draw(st.integers(0, 255)), data.draw(st.integers(0, 20))
    path, first, second = TREES[new].consistency(old), TREES[old].root(), TREES[new].root()

    verify_consistency(old, first, new, second, path)

    other = data.draw(st.integers(1, MOST).filter(lambda one: one not in (old, new)))
    assert refused(verify_consistency, old, flipped(first, bit), new, second, path)
    assert refused(verify_consistency, old, first, new, flipped(second, bit), path)
    assert refused(verify_consistency, other, TREES[other].root(), new, second, path)
    assert refused(verify_consistency, old, first, other, TREES[other].root(), path)
    assert old == new or refused(verify_consistency, new, second, old, first, path)
    wrong = [one for one in others(path, place, bit) if not refused(verify_consistency, old, first, new, second, one)]
    assert wrong == []


def test_every_index_of_small_trees_is_seen_to_be_another() -> None:
    for size in range(1, 34):
        for index in range(size):
            path, root = TREES[size].inclusion(index), TREES[size].root()
            passing = [
                at for at in range(40) if not refused(verify_inclusion, LEAF_HASHES[index], at, size, path, root)
            ]
            assert passing == [index]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param((LEAF_HASHES[0], 0, 0, [], KNOWN_ROOTS[0]), id="a tree of nothing"),
        pytest.param((LEAF_HASHES[0], 1, 1, [], LEAF_HASHES[0]), id="an index at the size"),
        pytest.param((LEAF_HASHES[0], -1, 1, [], LEAF_HASHES[0]), id="an index below 0"),
        pytest.param((LEAF_HASHES[0], False, 1, [], LEAF_HASHES[0]), id="no number"),
        pytest.param((LEAF_HASHES[0], 0, 1.0, [], LEAF_HASHES[0]), id="a number with a fraction"),
        pytest.param((LEAF_HASHES[0][:31], 0, 1, [], LEAF_HASHES[0][:31]), id="short hashes"),
        pytest.param((LEAF_HASHES[0].hex(), 0, 1, [], LEAF_HASHES[0].hex()), id="hashes as text"),
        pytest.param((LEAF_HASHES[0], 0, 2, [b""], node_hash(LEAF_HASHES[0], b"")), id="an empty hash in the path"),
    ],
)
def test_what_is_no_proof_of_inclusion_is_refused(values: tuple[Any, ...]) -> None:
    assert refused(verify_inclusion, *values)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param((0, KNOWN_ROOTS[0], 1, KNOWN_ROOTS[1], []), id="from nothing"),
        pytest.param((0, KNOWN_ROOTS[0], 0, KNOWN_ROOTS[0], []), id="from nothing to nothing"),
        pytest.param((2, KNOWN_ROOTS[2], 2, KNOWN_ROOTS[2], [KNOWN_ROOTS[2]]), id="equal sizes with a path"),
        pytest.param((2, KNOWN_ROOTS[2], 2, KNOWN_ROOTS[3], []), id="equal sizes of other trees"),
        pytest.param((2, KNOWN_ROOTS[2], 3, KNOWN_ROOTS[3], []), id="other sizes without a path"),
        pytest.param((3, KNOWN_ROOTS[3], 2, KNOWN_ROOTS[2], INCLUSIONS[2, 3]), id="backwards"),
        pytest.param((1, KNOWN_ROOTS[1][:31], 1, KNOWN_ROOTS[1][:31], []), id="short hashes"),
        pytest.param((True, KNOWN_ROOTS[1], True, KNOWN_ROOTS[1], []), id="no numbers"),
    ],
)
def test_what_is_no_proof_of_consistency_is_refused(values: tuple[Any, ...]) -> None:
    assert refused(verify_consistency, *values)


def test_a_note_is_signed_and_verified_as_go_does_it() -> None:
    assert SIGNER.sign(TEXT) == f"{TEXT}\n{SIGNATURE}"
    assert SIGNER.keys[0].verifier == read_vkey(VKEY)
    assert read_vkey(VKEY).vkey == VKEY
    assert read_vkey(OTHER_VKEY).name == "EnochRoot"
    with pytest.raises(ProofRefused, match="origin"):  # it is signed, but no checkpoint
        verify_checkpoint(f"{TEXT}\n{SIGNATURE}", VKEY)


def test_a_checkpoint_says_which_log_how_large_and_what_root() -> None:
    extended = Checkpoint("go.sum database tree", 2**63, OTHER_ROOT, ("more", "lines"))

    assert verify_checkpoint(NOTE, VKEY) == verify_checkpoint(NOTE.encode(), VKEY) == CHECKPOINT
    assert verify_checkpoint(SIGNER.sign(extended.text), VKEY) == extended


def test_signatures_of_other_keys_are_passed_over() -> None:
    another = "— witness.example/w 0123" + "A" * 88 + "\n"
    same_name = "— PeterNeumann AAAA" + "A" * 88 + "\n"

    assert verify_checkpoint(NOTE + another + same_name, VKEY) == CHECKPOINT
    with pytest.raises(ProofRefused, match="expected a signature of EnochRoot"):
        verify_checkpoint(NOTE, OTHER_VKEY)


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_a_checkpoint_with_any_bit_flipped_is_refused(place: int, bit: int) -> None:
    data = bytearray(NOTE.encode())
    data[place % len(data)] ^= 1 << bit

    assert refused(verify_checkpoint, bytes(data), VKEY)


@given(st.integers(0, len(VKEY) - 1), st.integers(0, 6))
def test_a_key_with_any_bit_flipped_is_refused(place: int, bit: int) -> None:
    changed = f"{VKEY[:place]}{chr(ord(VKEY[place]) ^ (1 << bit))}{VKEY[place + 1 :]}"

    assert refused(verify_checkpoint, NOTE, changed)


SIGNED = NOTE.partition("\n\n")[2]


@pytest.mark.parametrize(
    "note",
    [
        pytest.param("", id="nothing"),
        pytest.param(CHECKPOINT.text, id="unsigned"),
        pytest.param(f"{CHECKPOINT.text}\n", id="without signatures"),
        pytest.param(NOTE.removesuffix("\n"), id="cut off"),
        pytest.param(NOTE + SIGNED.replace("o5eq", "o5er"), id="with a bad signature too"),
        pytest.param(NOTE.replace("\n\n", "\n"), id="without the empty line"),
        pytest.param(f"{NOTE}\n{SIGNED}", id="with two empty lines"),
        pytest.param(NOTE.replace("—", "-"), id="with another dash"),
        pytest.param(NOTE.replace("\n", "\r\n"), id="with other ends of lines"),
        pytest.param(NOTE + "— x AAAA\n", id="with a signature that is too short"),
        pytest.param(NOTE + "— a b AAAAAAAA\n", id="with a name in two words"),
        pytest.param(NOTE + "— a+b AAAAAAAA\n", id="with a + in a name"),
        pytest.param(NOTE.encode().replace(b"P", b"\xff", 1), id="not UTF-8"),
        pytest.param("\ud800" + NOTE, id="half of a pair"),
        pytest.param(NOTE + "— x AAAAAAAA\n" * 30_000, id="without end"),
        pytest.param(SIGNER.sign("PeterNeumann\n05\n" + "A" * 43 + "=\n"), id="a size with a zero before it"),
        pytest.param(SIGNER.sign("PeterNeumann\n5\nAAAA\n"), id="a short root"),
        pytest.param(SIGNER.sign("PeterNeumann\n5\n" + "A" * 42 + "B=\n"), id="a root with bits too many"),
        pytest.param(SIGNER.sign("PeterNeumann\n5\n"), id="no root"),
        pytest.param(SIGNER.sign(f"\n{CHECKPOINT.text}"), id="no origin"),
        pytest.param(SIGNER.sign(f"{CHECKPOINT.text}a\n\nb\n"), id="an empty extension"),
    ],
)
def test_what_is_no_signed_checkpoint_is_refused(note: Any) -> None:
    assert refused(verify_checkpoint, note, VKEY)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "PeterNeumann",
        VKEY.replace("c74f20a3", "c74f20a4"),
        VKEY.replace("c74f20a3", "C74F20A3"),
        VKEY.replace("+AR", "+BR"),
        VKEY.replace("PeterNeumann", "Peter Neumann"),
        VKEY.removesuffix("TW"),
        VKEY + "\n",
        PRIVATE,
    ],
)
def test_what_is_no_verifier_key_is_refused(vkey: str) -> None:
    assert refused(verify_checkpoint, NOTE, vkey)
