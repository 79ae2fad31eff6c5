"""One rule for every name: it can be seen, and hides nothing; and when two users' names are the same."""

import subprocess
import sys
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_goals.accounts.names import valid_token_name, valid_user_name
from es_goals.values import InvalidValue, Refolded, folded, refolded, valid_name

UNSEEN = {
    "zero width space": "\u200b",
    "zero width joiner": "\u200d",
    "zero width non-joiner": "\u200c",
    "byte order mark": "\ufeff",
    "word joiner": "\u2060",
    "Hangul filler": "\u3164",
    "half-width Hangul filler": "\uffa0",
    "Hangul fillers": "\u115f\u1160",
    "Mongolian vowel separator": "\u180e",
    "soft hyphen": "\u00ad",
    "variation selector": "\ufe0f",
    "variation selector of the supplement": "\U000e0100",
    "tags": "\U000e0041\U000e007f",
    "not assigned, and to be ignored": "\U000e0fff",
    "combining grapheme joiner": "\u034f",
    "left-to-right mark": "\u200e",
    "Arabic letter mark": "\u061c",
    "Khmer inherent vowel": "\u17b4",
    "invisible times": "\u2062",
    "interlinear annotation": "\ufff9\ufffa\ufffb",
    "hieroglyph joiner": "\U00013430",
    "Braille without dots": "\u2800",
    "a note without a head": "\U0001d159",
    "a blank hieroglyph": "\U00013441",
    "an accent alone": "\u0301",
    "a circle around nothing": "\u20dd",
    "a vowel sign alone": "\u093f",
    "several": "\u200b \u2800\ufe0f",
}
SEEN = {
    "a family": "👨\u200d👩\u200d👧\u200d👦",
    "a heart": "❤\ufe0f",
    "a key": "#\ufe0f\u20e3",
    "a flag": "🇪🇺",
    "a flag of tags": "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "a skin": "👍🏽",
    "Persian": "می\u200cخواهم",
    "Hebrew with marks": "\u200fשלום\u200e",
    "Arabic number sign": "\u0600",
    "Devanagari": "हिन्दी",
    "Thai": "วิ่ง",
    "Old Hangul": "\u1100\u1160\u11a8",
    "Mongolian": "ᠮᠣᠩᠭᠣᠯ\u180eᠠ",
    "Braille": "\u2801\u2800\u2802",
    "an emoji of a later Unicode": "\U0001fadf",
    "private use": "\uf8ff",
    "a replacement character": "\ufffd",
    "one letter between unseen ones": "\u200ba\u200b",
    "ASCII": "!",
}
NO_CHARACTERS = ["\uffff", "\ufffe", "\ufdd0", "\ufdef", "\U0001fffe", "\U0010ffff"]

every_name = pytest.mark.parametrize(
    "valid",
    [
        pytest.param(lambda text: valid_name(text, 200), id="a goal's"),
        pytest.param(valid_user_name, id="a user's"),
        pytest.param(valid_token_name, id="a token's"),
    ],
)
Valid = Callable[[str], str]


@every_name
@pytest.mark.parametrize("text", UNSEEN.values(), ids=UNSEEN)
def test_a_name_of_which_nothing_is_seen_is_refused(valid: Valid, text: str) -> None:
    with pytest.raises(InvalidValue, match="expected a name that can be seen; found ") as refusal:
        valid(text)

    assert refusal.value.field == "name"
    assert str(refusal.value).isascii()


@every_name
@pytest.mark.parametrize("text", SEEN.values(), ids=SEEN)
def test_a_name_that_people_write_is_kept(valid: Valid, text: str) -> None:
    assert valid(f" {text} ") == unicodedata.normalize("NFC", text)


@every_name
@pytest.mark.parametrize("character", NO_CHARACTERS, ids=ascii)
def test_a_name_with_what_never_is_a_character_is_refused(valid: Valid, character: str) -> None:
    found = rf"found U\+{ord(character):04X} at index 1$"

    with pytest.raises(InvalidValue, match=found):
        valid(f"a{character}b")


@every_name
@pytest.mark.parametrize("character", "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069", ids=ascii)
def test_a_name_with_an_override_or_an_isolate_is_refused(valid: Valid, character: str) -> None:
    with pytest.raises(InvalidValue, match=rf"found U\+{ord(character):04X} at index 1$"):
        valid(f"a{character}b")


@every_name
@given(st.text(max_size=20))
def test_a_name_that_is_kept_stays_so(valid: Valid, text: str) -> None:
    try:
        name = valid(text)
    except InvalidValue:
        return

    assert valid(name) == name
    assert name == name.strip()
    assert unicodedata.is_normalized("NFC", name)


def test_the_rules_are_imported_without_what_only_other_scripts_need() -> None:
    code = "import es_goals.goals.rules as rules, sys; rules.valid_name('Run a marathon', 200); print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()  # noqa: S603

    assert "es_goals.values" in loaded
    assert "regex" not in loaded


@pytest.mark.parametrize(
    ("name", "same"),
    [
        pytest.param("Alice", "alice", id="case"),
        pytest.param("STRASSE", "straße", id="a sharp s"),
        pytest.param("Ａｌｉｃｅ", "alice", id="full width"),
        pytest.param("ﬁn", "fin", id="a ligature"),
        pytest.param("al\u200bice", "alice", id="zero width space"),
        pytest.param("al\u3164ice", "alice", id="Hangul filler"),
        pytest.param("al\uffa0ice", "alice", id="half-width Hangul filler"),
        pytest.param("alice\ufe0f", "alice", id="variation selector"),
        pytest.param("a\u034flice", "alice", id="grapheme joiner"),
        pytest.param("al\ufff9ice", "alice", id="annotation"),
        pytest.param("alice \u200b", "alice", id="space before what is not seen"),
        pytest.param("e\u034f\u0301", "é", id="an accent behind a joiner"),
        pytest.param("می\u200cخواهم", "میخواهم", id="with and without the joiner of Persian"),
        pytest.param("Alice\u00a0B", "alice b", id="a space that does not break"),
        pytest.param("ΌΣΟΣ", "όσος", id="a final sigma"),
        pytest.param("ꭰ", "Ꭰ", id="Cherokee, folded to capitals"),
    ],
)
def test_names_that_look_the_same_are_compared_as_the_same(name: str, same: str) -> None:
    assert folded(name) == folded(same)


@pytest.mark.parametrize(("name", "other"), [("alice", "alicia"), ("a b", "ab"), ("é", "e"), ("1", "2"), ("aé", "ae")])
def test_names_that_differ_to_the_eye_are_compared_as_different(name: str, other: str) -> None:
    assert folded(name) != folded(other)


@given(st.text(max_size=20))
def test_what_names_are_compared_by_is_its_own(text: str) -> None:
    assert folded(folded(text)) == folded(text)
    assert folded(text.upper().lower().upper()) == folded(text.upper())


OLD = [
    ("ann", "Ann", 3, "ann"),
    ("filled", "An\u3164n", 5, "an\u1160n"),
    ("younger", "bob", 4, "bob"),
    ("older", "b\ufe0fob", 1, "b\ufe0fob"),
    ("nobody", "\u3164", 2, "\u1160"),
    ("also", "\u115f", 6, "\u115f"),
    ("lone", "Zo\u034fe", 7, "zo\u034fe"),
]
CHANGED = [
    Refolded("older", "bob", None),
    Refolded("nobody", "nobody", None),
    Refolded("younger", "younger", "older"),
    Refolded("filled", "filled", "ann"),
    Refolded("also", "also", None),
    Refolded("lone", "zoe", None),
]


def test_of_names_that_now_meet_the_oldest_is_kept_and_the_others_are_reached_by_their_ids() -> None:
    assert refolded(OLD) == CHANGED
    assert refolded(reversed(OLD)) == refolded(OLD)


def test_users_of_one_time_are_ordered_by_their_ids() -> None:
    users = [("2", "ab\u3164", 1, "x"), ("1", "a\u3164b", 1, "y")]

    assert refolded(users) == [Refolded("1", "ab", None), Refolded("2", "2", "1")]


def test_an_id_is_its_users_own_and_nobodys_name() -> None:
    users = [("1", "2\u3164", 1, "x"), ("2", "Bob", 2, "bob"), ("3", "3", 3, "3")]

    assert refolded(users) == [Refolded("1", "1", "2")]


@given(st.lists(st.tuples(st.text("aB\u3164é ", min_size=1, max_size=3), st.integers(0, 3)), max_size=8))
def test_after_it_changed_everybody_is_reached_and_nothing_is_left_to_change(drawn: list[tuple[str, int]]) -> None:
    users = [((number + 1) * "b", name, at, f"old-{number}") for number, (name, at) in enumerate(drawn)]

    after = {user_id: same for user_id, _, _, same in users} | {one.user_id: one.folded for one in refolded(users)}

    assert len(set(after.values())) == len(users)
    assert refolded((user_id, name, at, after[user_id]) for user_id, name, at, _ in users) == []
    for user_id, name, *_ in users:
        keepers = [one for one in users if folded(one[1]) == folded(name)]
        oldest = min(keepers, key=lambda one: (one[2], one[0]))[0]
        oldest = folded(name) if folded(name) in after else oldest
        assert after[user_id] == (folded(name) if oldest == user_id and folded(name) else user_id)
