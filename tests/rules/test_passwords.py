"""Passwords: which are taken, how they are kept, and what is told of them."""

import pytest
from argon2 import PasswordHasher, extract_parameters
from hypothesis import given, settings
from hypothesis import strategies as st

from es_goals.accounts.passwords import hashed, matches, outdated, valid_password
from es_goals.values import InvalidValue

OLD = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.mark.parametrize("text", ["eight888", "correct horse", "é" * 4, "x" * 1024, "  spaces  ", "\0" * 8])
def test_a_password_of_8_to_1024_bytes_is_taken_as_it_is(text: str) -> None:
    assert valid_password(text) == text


@pytest.mark.parametrize(
    ("text", "found"), [("", "0"), ("seven77", "7"), ("é" * 3, "6"), ("x" * 1025, "1025"), ("é" * 513, "1026")]
)
def test_a_shorter_or_longer_one_is_refused_by_its_bytes_and_not_shown(text: str, found: str) -> None:
    with pytest.raises(InvalidValue, match=f"8 to 1024 bytes in UTF-8; found {found}") as refusal:
        valid_password(text, "new")

    assert refusal.value.field == "new"
    assert not text or text not in str(refusal.value)


@pytest.mark.parametrize("text", ["password", "PassWord", "12345678", "qwertyuiop", "TRUSTNO1", "greyhoun"])
def test_one_of_the_most_used_is_refused_in_any_case_and_not_shown(text: str) -> None:
    with pytest.raises(InvalidValue, match="not among the 3,000 most used") as refusal:
        valid_password(text)

    assert text.lower() == "password" or text.lower() not in str(refusal.value).lower()


def test_what_is_kept_is_argon2id_with_these_parameters_and_a_salt_of_its_own() -> None:
    kept = [hashed("a password") for _ in range(2)]
    parameters = extract_parameters(kept[0])

    assert kept[0].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (parameters.salt_len, parameters.hash_len) == (16, 32)
    assert kept[0] != kept[1]
    assert "a password" not in kept[0]


@settings(max_examples=5, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=50), st.text(st.characters(codec="utf-8"), max_size=50))
def test_only_the_password_that_was_kept_matches(password: str, other: str) -> None:
    kept = OLD.hash(password)

    assert matches(kept, password)
    assert matches(kept, other) == (password == other)


@pytest.mark.parametrize("password", ["", "a password"])
@pytest.mark.parametrize("kept", [None, "", "no hash", "$argon2id$v=19$m=8,t=1,p=1$x$y"])
def test_nothing_matches_what_is_no_hash(kept: str | None, password: str) -> None:
    assert not matches(kept, password)


def test_what_was_kept_with_other_parameters_is_outdated() -> None:
    assert outdated(OLD.hash("a password"))
    assert not outdated(hashed("a password"))
