"""The log's digest: RFC 6962's known answers, and an event's bytes, in which every column counts."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from es_goals.events import Recorded
from es_goals.proving.digest import TreeHash, event_bytes
from tests.support.histories import tree_hash

# The leaves and roots that the certificate-transparency reference implementation is tested with.
LEAVES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

LINE = Recorded(7, "user:ann", 3, "GoalRenamed", "a1", 1_795_420_800_000_000, "bob", "c1", "why", b'{"name":"x"}')
COLUMNS = Recorded.__struct_fields__
OTHERS = Recorded(8, "user:Ann", 4, "GoalMoved", "a2", 1_795_420_800_000_001, "Bob", "c2", "Why", b'{"name":"y"}')


def naive(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + naive(leaves[:k]) + naive(leaves[k:])).digest()


@pytest.mark.parametrize("size", range(len(ROOTS)))
def test_the_root_is_the_known_one(size: int) -> None:
    leaves = [bytes.fromhex(leaf) for leaf in LEAVES[:size]]

    assert tree_hash(leaves).root() == ROOTS[size]
    assert naive(leaves).hex() == ROOTS[size]


@given(st.lists(st.binary(max_size=40), max_size=40))
def test_the_root_is_that_of_the_definition(leaves: list[bytes]) -> None:
    assert tree_hash(leaves).root() == naive(leaves).hex()


def test_it_grows_leaf_by_leaf_and_can_be_asked_at_each() -> None:
    leaves = [str(number).encode() for number in range(70)]
    tree = TreeHash()

    assert tree.root() == naive([]).hex()
    for size, leaf in enumerate(leaves, start=1):
        tree.add(leaf)
        assert tree.root() == tree.root() == naive(leaves[:size]).hex()


def test_it_keeps_one_hash_for_each_power_of_two() -> None:
    tree = tree_hash(str(number).encode() for number in range(100_000))

    assert [size for size, _ in tree._full] == [65_536, 32_768, 1_024, 512, 128, 32]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param([b"a", b"b"], [b"b", b"a"], id="in another order"),
        pytest.param([b"a", b"b", b"c"], [b"a", b"b", b"c", b"c"], id="with the last one twice"),
        pytest.param([b"a", b"b"], [b"ab"], id="joined"),
        pytest.param([], [b""], id="none and an empty one"),
        pytest.param(
            [sha256(b"\x00a").digest() + sha256(b"\x00b").digest()], [b"a", b"b"], id="a node passed off as a leaf"
        ),
    ],
)
def test_other_leaves_have_another_root(one: list[bytes], other: list[bytes]) -> None:
    assert tree_hash(one).root() != tree_hash(other).root()


def test_an_events_bytes_are_its_columns_each_after_its_length() -> None:
    line = Recorded(1, "user:é", 12, "GoalMoved", None, 0, "", "c", None, b"\x00\xff")

    assert event_bytes(line) == (
        b"\x00\x00\x00\x011"
        b"\x00\x00\x00\x07user:\xc3\xa9"
        b"\x00\x00\x00\x0212"
        b"\x00\x00\x00\x09GoalMoved"
        b"\xff\xff\xff\xff"
        b"\x00\x00\x00\x010"
        b"\x00\x00\x00\x00"
        b"\x00\x00\x00\x01c"
        b"\xff\xff\xff\xff"
        b"\x00\x00\x00\x02\x00\xff"
    )


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_counts(column: str) -> None:
    changed = structs.replace(LINE, **{column: getattr(OTHERS, column)})

    assert tree_hash([event_bytes(changed)]).root() != tree_hash([event_bytes(LINE)]).root()


@pytest.mark.parametrize("column", ["subject", "actor", "reason"])
def test_an_absent_column_is_not_an_empty_one(column: str) -> None:
    absent, empty = (structs.replace(LINE, **{column: value}) for value in (None, ""))

    assert event_bytes(absent) != event_bytes(empty)


@given(st.tuples(*[st.text("abc", max_size=3)] * 4), st.tuples(*[st.text("abc", max_size=3)] * 4))
def test_no_text_can_pass_from_one_column_into_the_next(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    names = ("stream", "type", "command", "reason")
    lines = [structs.replace(LINE, **dict(zip(names, texts, strict=True))) for texts in (one, other)]

    assert (event_bytes(lines[0]) == event_bytes(lines[1])) == (one == other)


def test_long_columns_have_their_lengths_too() -> None:
    line = structs.replace(LINE, data=b"x" * 70_000)

    assert event_bytes(line).endswith((70_000).to_bytes(4, "big") + line.data)
