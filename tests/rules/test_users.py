"""The rules for users' names and addresses, and by what names are compared."""

import unicodedata
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_goals.accounts.names import EMAIL_LENGTH, NAME_LENGTH, valid_email, valid_user_name
from es_goals.values import InvalidValue


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        pytest.param("alice", "alice", id="plain"),
        pytest.param("a", "a", id="the shortest"),
        pytest.param("x" * NAME_LENGTH, "x" * NAME_LENGTH, id="the longest"),
        pytest.param("🏃" * NAME_LENGTH, "🏃" * NAME_LENGTH, id="the longest, counted in characters"),
        pytest.param("e\u0301" * NAME_LENGTH, "é" * NAME_LENGTH, id="the longest, counted after NFC"),
        pytest.param("  Alice B.\u3000", "Alice B.", id="with space around"),
        pytest.param("Zoe\u0308", "Zoë", id="with a combining accent"),
        pytest.param("李小龙", "李小龙", id="Chinese"),
        pytest.param("אליס", "אליס", id="from right to left"),
        pytest.param("o'neil & sons <b> 50% ?a=1#x", "o'neil & sons <b> 50% ?a=1#x", id="with characters of URLs"),
        pytest.param("a\\b", "a\\b", id="with a backslash"),
        pytest.param("...", "...", id="three dots, no step in a path"),
        pytest.param(".a", ".a", id="with a dot before it"),
        pytest.param("12345", "12345", id="digits"),
        pytest.param("me", "me", id="no reserved word"),
        pytest.param("01a20714-02b1-76f2-be9c", "01a20714-02b1-76f2-be9c", id="a part of a UUID"),
    ],
)
def test_a_name_is_kept_as_NFC_and_trimmed(given: str, kept: str) -> None:
    assert valid_user_name(given) == kept


@pytest.mark.parametrize(
    ("given", "found"),
    [
        pytest.param("", "found 0", id="empty"),
        pytest.param(" \t\u3000 ", "found 0", id="nothing but space"),
        pytest.param("x" * 65, "found 65", id="too long"),
        pytest.param("a/b", "'a/b'", id="a slash"),
        pytest.param("/", "'/'", id="only a slash"),
        pytest.param(".", "'.'", id="a dot"),
        pytest.param("..", "'..'", id="two dots"),
        pytest.param("a\nb", "U+000A at index 1", id="a line break"),
        pytest.param("a\tb", "U+0009 at index 1", id="a tab"),
        pytest.param("a\x00", "U+0000 at index 1", id="NUL"),
        pytest.param("\x7fa", "U+007F at index 0", id="delete"),
        pytest.param("a\x9b31m", "U+009B at index 1", id="a terminal's control sequence"),
        pytest.param("a\u2028b", "U+2028 at index 1", id="a line separator"),
        pytest.param("a\u202eb", "U+202E at index 1", id="a bidirectional override"),
        pytest.param("a\u2066b", "U+2066 at index 1", id="a bidirectional isolate"),
        pytest.param("a\ud800", "U+D800 at index 1", id="a lone surrogate"),
        pytest.param("01a20714-02b1-76f2-be9c-531f776c3e8f", "01a20714", id="a UUID, which would be an id"),
        pytest.param("01A20714-02B1-76F2-BE9C-531F776C3E8F", "01A20714", id="a UUID in capitals"),
        pytest.param("00000000-0000-0000-0000-000000000000", "00000000", id="the nil UUID"),
    ],
)
def test_a_name_that_breaks_a_rule_is_refused_with_what_was_found(given: str, found: str) -> None:
    with pytest.raises(InvalidValue) as refusal:
        valid_user_name(given)

    assert refusal.value.field == "name"
    assert str(refusal.value).startswith("expected ")
    assert found in str(refusal.value)


@given(st.text(max_size=80))
def test_a_kept_name_is_stable_and_one_step_of_a_path(text: str) -> None:
    try:
        name = valid_user_name(text)
    except InvalidValue:
        return

    assert valid_user_name(name) == name
    assert 1 <= len(name) <= NAME_LENGTH
    assert unicodedata.is_normalized("NFC", name)
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
    assert "/" not in name
    assert unquote(quote(name, safe="")) == name


@pytest.mark.parametrize(
    "email",
    [
        pytest.param(None, id="none"),
        pytest.param("a@b", id="the shortest"),
        pytest.param("alice+goals@example.com", id="with a tag"),
        pytest.param("用户@例え.jp", id="in other letters"),
        pytest.param("x" * (EMAIL_LENGTH - 4) + "@a.b", id="the longest"),
    ],
)
def test_an_address_is_kept_as_it_is(email: str | None) -> None:
    assert valid_email(email) == email


@pytest.mark.parametrize(
    "email",
    [
        pytest.param("", id="empty"),
        pytest.param("alice", id="no @"),
        pytest.param("@example.com", id="nothing before it"),
        pytest.param("alice@", id="nothing behind it"),
        pytest.param("a@b@c", id="two of them"),
        pytest.param("a b@c", id="a space"),
        pytest.param(" a@b", id="a space before it"),
        pytest.param("a@b\n", id="a line break behind it"),
        pytest.param("a@b\r\nBcc: c@d", id="a header"),
        pytest.param("\u202ea@b", id="a bidirectional override"),
        pytest.param("a@b\ud800", id="a lone surrogate"),
        pytest.param("x" * (EMAIL_LENGTH - 3) + "@a.b", id="too long"),
    ],
)
def test_an_address_that_is_none_is_refused(email: str) -> None:
    with pytest.raises(InvalidValue) as refusal:
        valid_email(email)

    assert refusal.value.field == "email"
