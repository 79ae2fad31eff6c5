"""Times as clients write them: all that RFC 3339 allows is read as it was meant, the rest is refused in a sentence."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_goals.values import InvalidValue, time_of


def utc(year: int, month: int, day: int, *time: int) -> datetime:
    hour, minute, second, microsecond = (*time, 0, 0, 0, 0)[:4]
    return datetime(year, month, day, hour, minute, second, microsecond, UTC)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-23T08:00:00Z", utc(2026, 11, 23, 8)),
        ("2026-11-23t08:00:00z", utc(2026, 11, 23, 8)),
        ("2026-11-23 08:00:00Z", utc(2026, 11, 23, 8)),
        ("2026-11-23T08:00:00+00:00", utc(2026, 11, 23, 8)),
        ("2026-11-23T08:00:00-00:00", utc(2026, 11, 23, 8)),
        ("2026-11-23T08:00:00+05:30", utc(2026, 11, 23, 2, 30)),
        ("2026-11-23T08:00:00-08:00", utc(2026, 11, 23, 16)),
        ("2026-11-23T00:00:00+23:59", utc(2026, 11, 22, 0, 1)),
        ("2026-11-23T23:59:00-23:59", utc(2026, 11, 24, 23, 58)),
        ("2026-11-23T08:00:00.5Z", utc(2026, 11, 23, 8, 0, 0, 500_000)),
        ("2026-11-23T08:00:00.000001Z", utc(2026, 11, 23, 8, 0, 0, 1)),
        ("2026-11-23T08:00:00.0000009Z", utc(2026, 11, 23, 8)),
        ("2026-11-30T23:59:59.9999999Z", utc(2026, 11, 30, 23, 59, 59, 999_999)),
        ("2026-11-30T23:59:59.9999999+01:00", utc(2026, 11, 30, 22, 59, 59, 999_999)),
        (f"2026-11-30T23:59:59.{'9' * 100}Z", utc(2026, 11, 30, 23, 59, 59, 999_999)),
        ("1969-12-31T23:59:59.9999999Z", utc(1969, 12, 31, 23, 59, 59, 999_999)),
        ("9999-12-31T23:59:59.9999999Z", utc(9999, 12, 31, 23, 59, 59, 999_999)),
        ("0001-01-01T00:00:00Z", utc(1, 1, 1)),
        ("2024-02-29T12:00:00Z", utc(2024, 2, 29, 12)),
        ("2016-12-31T23:59:60Z", utc(2017, 1, 1)),
        ("2016-12-31T23:59:60.25Z", utc(2017, 1, 1, 0, 0, 0, 250_000)),
        ("1990-12-31T15:59:60-08:00", utc(1991, 1, 1)),
        ("2017-01-01T05:29:60+05:30", utc(2017, 1, 1)),
        # The examples of RFC 3339, section 5.8.
        ("1985-04-12T23:20:50.52Z", utc(1985, 4, 12, 23, 20, 50, 520_000)),
        ("1996-12-19T16:39:57-08:00", utc(1996, 12, 20, 0, 39, 57)),
        ("1937-01-01T12:00:27.87+00:20", utc(1937, 1, 1, 11, 40, 27, 870_000)),
    ],
)
def test_a_time_is_read_in_utc_and_cut_to_the_microsecond(text: str, time: datetime) -> None:
    read = time_of(text, "due")

    assert read == time
    assert read.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("tomorrow", id="a word"),
        pytest.param("2026-11-23", id="a date"),
        pytest.param("2026-11-23T08:00:00", id="no offset"),
        pytest.param("2026-11-23T08:00:00+0100", id="no colon in the offset"),
        pytest.param("2026-11-23T08:00:00+01", id="no minutes in the offset"),
        pytest.param("2026-11-23T08:00:00+24:00", id="an offset of a day"),
        pytest.param("2026-11-23T08:00:00+01:60", id="an offset with 60 minutes"),
        pytest.param("2026-11-23T08:00:00 01:00", id="a space for the plus, as in a query string"),
        pytest.param("2026-11-23T08:00Z", id="no seconds"),
        pytest.param("2026-11-23T24:00:00Z", id="24:00"),
        pytest.param("2026-11-23T08:60:00Z", id="60 minutes"),
        pytest.param("2026-11-23T08:00:61Z", id="61 seconds"),
        pytest.param("2026-11-23T08:00:60Z", id="a leap second that is none"),
        pytest.param("2026-11-23T23:59:60+01:00", id="a leap second in another offset"),
        pytest.param("9999-12-31T23:59:60Z", id="a leap second before the year 10000"),
        pytest.param("2026-11-23T08:00:00.Z", id="no fraction behind the dot"),
        pytest.param("2026-11-23T08:00:00,5Z", id="a comma"),
        pytest.param(f"2026-11-23T08:00:00.{'0' * 101}Z", id="a fraction without end"),
        pytest.param("2026-02-29T08:00:00Z", id="29 February"),
        pytest.param("2026-13-01T08:00:00Z", id="13 months"),
        pytest.param("2026-00-01T08:00:00Z", id="no month"),
        pytest.param("0000-01-01T08:00:00Z", id="the year 0"),
        pytest.param("0001-01-01T00:00:00+01:00", id="before the year 1 in UTC"),
        pytest.param("9999-12-31T23:59:59-01:00", id="behind the year 9999 in UTC"),
        pytest.param("12026-11-23T08:00:00Z", id="a year of five digits"),
        pytest.param("20261123T080000Z", id="ISO 8601 without signs"),
        pytest.param("2026-W48-1T08:00:00Z", id="a week"),
        pytest.param(" 2026-11-23T08:00:00Z", id="space before it"),
        pytest.param("2026-11-23T08:00:00Z\n", id="a line's end"),
        pytest.param("２０２６-11-23T08:00:00Z", id="full-width digits"),
        pytest.param("2026-11-23T08:00:00\u221201:00", id="a minus sign"),
        pytest.param("1795420800", id="seconds since 1970"),
        pytest.param("\ud800", id="half a surrogate pair"),
        pytest.param("9" * 1_000_000, id="a million digits"),
    ],
)
def test_what_is_no_time_is_refused_with_one_as_an_example(text: str) -> None:
    with pytest.raises(InvalidValue) as refusal:
        time_of(text, "as_of")

    assert refusal.value.field == "as_of"
    expected = "expected an RFC 3339 time with an offset such as 2026-11-23T08:00:00Z; found "
    assert str(refusal.value) == f"{expected}{text[:100]!r}"


times = st.datetimes(
    min_value=datetime(2, 1, 1),
    max_value=datetime(9998, 12, 31),
    timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


@given(times, st.text("0123456789", max_size=30))
def test_every_time_is_read_as_written_and_what_is_finer_is_cut(time: datetime, finer: str) -> None:
    text = time.isoformat(timespec="microseconds")
    zone = text[-6:]

    assert time_of(text, "due") == time
    assert time_of(f"{text[:-6]}{finer}{zone}", "due") == time


@given(
    st.text(max_size=40)
    | st.from_regex(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d*)?([Zz]|[+-]\d\d:\d\d)", fullmatch=True)
)
def test_any_text_is_a_time_or_refused(text: str) -> None:
    try:
        time = time_of(text, "due")
    except InvalidValue:
        return

    assert time.tzinfo is UTC
    assert 1 <= time.year <= 9999
