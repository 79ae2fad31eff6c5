"""The vocabulary: what was ever written to the log can be read, and reads as it was meant."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from types import NoneType
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from es_goals.events import (
    EPOCH,
    TYPES,
    UPCASTS,
    Event,
    GoalCompleted,
    GoalCreated,
    GoalDeleted,
    GoalDescribed,
    GoalMoved,
    GoalRenamed,
    GoalReopened,
    GoalRestored,
    GoalScheduled,
    IdentityLinked,
    Instant,
    PasswordChanged,
    Recorded,
    TokenIssued,
    TokenRevoked,
    UndecodableEvent,
    UserDisabled,
    UserEnabled,
    UserRegistered,
    UserRenamed,
    account_stream,
    decode,
    decoders,
    encode,
    goals_stream,
    instant,
    micros,
    moment,
    subject_of,
)

ID = "019ab001-0000-7000-8000-000000000001"
PARENT = "019ab001-0000-7000-8000-000000000002"
USER, TOKEN = "019ab001-0000-7000-8000-000000000009", "019ab001-0000-7000-8000-00000000000a"
UNDONE = "019ab001-0000-7000-8000-00000000000b"
START, DUE = Instant("2026-11-23T08:00:00Z"), Instant("2026-12-24T17:30:00.250000Z")

# What is written today. Never change a line, only add: logs out there hold them.
GOLDEN: Sequence[tuple[str, bytes, Event]] = [
    (
        "GoalCreated",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","name":"Learn \xc3\x89o","start":"2026-11-23T08:00:00Z",'
        b'"rank":"V00000","parent_id":"019ab001-0000-7000-8000-000000000002","description":"a\\n\\"b\\"",'
        b'"due":"2026-12-24T17:30:00.250000Z"}',
        GoalCreated(ID, "Learn Éo", START, "V00000", PARENT, 'a\n"b"', DUE),
    ),
    (
        "GoalCreated",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","name":"Run","start":"2026-11-23T08:00:00Z",'
        b'"rank":"V00000"}',
        GoalCreated(ID, "Run", START, "V00000"),
    ),
    (
        "GoalRenamed",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","name":"Walk"}',
        GoalRenamed(ID, "Walk"),
    ),
    (
        "GoalDescribed",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","description":"daily"}',
        GoalDescribed(ID, "daily"),
    ),
    (
        "GoalDescribed",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","description":""}',
        GoalDescribed(ID, ""),
    ),
    ("GoalDescribed", b'{"goal_id":"019ab001-0000-7000-8000-000000000001"}', GoalDescribed(ID)),
    (
        "GoalScheduled",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","start":"2026-11-23T08:00:00Z",'
        b'"due":"2026-12-24T17:30:00.250000Z"}',
        GoalScheduled(ID, START, DUE),
    ),
    (
        "GoalScheduled",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","start":"2026-11-23T08:00:00Z"}',
        GoalScheduled(ID, START),
    ),
    (
        "GoalMoved",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","rank":"V00000V",'
        b'"parent_id":"019ab001-0000-7000-8000-000000000002"}',
        GoalMoved(ID, "V00000V", PARENT),
    ),
    (
        "GoalMoved",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","rank":"V00001"}',
        GoalMoved(ID, "V00001"),
    ),
    (
        "GoalMoved",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","rank":"V00001","spaced":true}',
        GoalMoved(ID, "V00001", spaced=True),
    ),
    (
        "GoalMoved",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","rank":"V00001",'
        b'"parent_id":"019ab001-0000-7000-8000-000000000002","spaced":true}',
        GoalMoved(ID, "V00001", PARENT, True),
    ),
    (
        "GoalCompleted",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","end":"2026-12-24T17:30:00.250000Z"}',
        GoalCompleted(ID, DUE),
    ),
    ("GoalReopened", b'{"goal_id":"019ab001-0000-7000-8000-000000000001"}', GoalReopened(ID)),
    (
        "GoalDeleted",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","root":"019ab001-0000-7000-8000-000000000002"}',
        GoalDeleted(ID, PARENT),
    ),
    (
        "GoalRestored",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","rank":"V00000",'
        b'"parent_id":"019ab001-0000-7000-8000-000000000002"}',
        GoalRestored(ID, "V00000", PARENT),
    ),
    (
        "GoalRestored",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","rank":"V00000"}',
        GoalRestored(ID, "V00000"),
    ),
    ("UserRegistered", b'{"user_id":"019ab001-0000-7000-8000-000000000009"}', UserRegistered(USER)),
    (
        "UserRegistered",
        b'{"user_id":"019ab001-0000-7000-8000-000000000009","role":"auditor"}',
        UserRegistered(USER, "auditor"),
    ),
    ("UserRenamed", b'{"user_id":"019ab001-0000-7000-8000-000000000009"}', UserRenamed(USER)),
    ("PasswordChanged", b'{"user_id":"019ab001-0000-7000-8000-000000000009"}', PasswordChanged(USER)),
    ("IdentityLinked", b'{"user_id":"019ab001-0000-7000-8000-000000000009"}', IdentityLinked(USER)),
    (
        "TokenIssued",
        b'{"user_id":"019ab001-0000-7000-8000-000000000009","token_id":"019ab001-0000-7000-8000-00000000000a",'
        b'"scope":"read","expires":"2026-12-24T17:30:00.250000Z"}',
        TokenIssued(USER, TOKEN, "read", DUE),
    ),
    (
        "TokenRevoked",
        b'{"user_id":"019ab001-0000-7000-8000-000000000009","token_id":"019ab001-0000-7000-8000-00000000000a"}',
        TokenRevoked(USER, TOKEN),
    ),
    ("UserDisabled", b'{"user_id":"019ab001-0000-7000-8000-000000000009"}', UserDisabled(USER)),
    ("UserEnabled", b'{"user_id":"019ab001-0000-7000-8000-000000000009"}', UserEnabled(USER)),
    (
        "GoalCreated",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","name":"Run","start":"2026-11-23T08:00:00Z","rank":"V00000",'
        b'"undoes":"019ab001-0000-7000-8000-00000000000b"}',
        GoalCreated(ID, "Run", START, "V00000", undoes=UNDONE),
    ),
    (
        "GoalRenamed",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","name":"Walk",'
        b'"undoes":"019ab001-0000-7000-8000-00000000000b"}',
        GoalRenamed(ID, "Walk", UNDONE),
    ),
    (
        "GoalDescribed",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","undoes":"019ab001-0000-7000-8000-00000000000b"}',
        GoalDescribed(ID, undoes=UNDONE),
    ),
    (
        "GoalScheduled",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","start":"2026-11-23T08:00:00Z",'
        b'"undoes":"019ab001-0000-7000-8000-00000000000b"}',
        GoalScheduled(ID, START, undoes=UNDONE),
    ),
    (
        "GoalMoved",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","rank":"V00001",'
        b'"undoes":"019ab001-0000-7000-8000-00000000000b"}',
        GoalMoved(ID, "V00001", undoes=UNDONE),
    ),
    (
        "GoalCompleted",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","end":"2026-12-24T17:30:00.250000Z",'
        b'"undoes":"019ab001-0000-7000-8000-00000000000b"}',
        GoalCompleted(ID, DUE, UNDONE),
    ),
    (
        "GoalReopened",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","undoes":"019ab001-0000-7000-8000-00000000000b"}',
        GoalReopened(ID, UNDONE),
    ),
    (
        "GoalDeleted",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","root":"019ab001-0000-7000-8000-000000000002",'
        b'"undoes":"019ab001-0000-7000-8000-00000000000b"}',
        GoalDeleted(ID, PARENT, UNDONE),
    ),
    (
        "GoalRestored",
        b'{"goal_id":"019ab001-0000-7000-8000-000000000001","rank":"V00000",'
        b'"undoes":"019ab001-0000-7000-8000-00000000000b"}',
        GoalRestored(ID, "V00000", undoes=UNDONE),
    ),
]

# The least that a first version wrote. A field that is added later may not be needed to read these.
OLDEST: Sequence[tuple[str, bytes, Event]] = [
    (
        "GoalCreated",
        b'{"goal_id": "g", "name": "n", "start": "2026-11-23T08:00:00Z", "rank": "V00000"}',
        GoalCreated("g", "n", START, "V00000", None, None, None),
    ),
    ("GoalRenamed", b'{"goal_id": "g", "name": "n"}', GoalRenamed("g", "n")),
    ("GoalDescribed", b'{"goal_id": "g"}', GoalDescribed("g", None)),
    ("GoalScheduled", b'{"goal_id": "g", "start": "2026-11-23T08:00:00Z"}', GoalScheduled("g", START, None)),
    ("GoalMoved", b'{"goal_id": "g", "rank": "V00000"}', GoalMoved("g", "V00000", None, False)),
    ("GoalCompleted", b'{"goal_id": "g", "end": "2026-11-23T08:00:00Z"}', GoalCompleted("g", START)),
    ("GoalReopened", b'{"goal_id": "g"}', GoalReopened("g")),
    ("GoalDeleted", b'{"goal_id": "g", "root": "r"}', GoalDeleted("g", "r")),
    ("GoalRestored", b'{"goal_id": "g", "rank": "V00000"}', GoalRestored("g", "V00000", None)),
    ("UserRegistered", b'{"user_id": "u"}', UserRegistered("u", "user")),
    ("UserRenamed", b'{"user_id": "u"}', UserRenamed("u")),
    ("PasswordChanged", b'{"user_id": "u"}', PasswordChanged("u")),
    ("IdentityLinked", b'{"user_id": "u"}', IdentityLinked("u")),
    (
        "TokenIssued",
        b'{"user_id": "u", "token_id": "t", "scope": "write", "expires": "2026-11-23T08:00:00Z"}',
        TokenIssued("u", "t", "write", START),
    ),
    ("TokenRevoked", b'{"user_id": "u", "token_id": "t"}', TokenRevoked("u", "t")),
    ("UserDisabled", b'{"user_id": "u"}', UserDisabled("u")),
    ("UserEnabled", b'{"user_id": "u"}', UserEnabled("u")),
]

TEXT = st.text(st.characters(codec="utf-8"))


def any_of(kind: Any) -> st.SearchStrategy[Event]:
    """Instances with every field drawn, the optional ones None at times."""
    return st.builds(kind, **{field.name: value_of(field.type) for field in structs.fields(kind)})


def value_of(type: Any) -> st.SearchStrategy[Any]:
    if type is bool:
        return st.booleans()
    return st.none() | TEXT if NoneType in get_args(type) else TEXT


def recorded(type: str, data: bytes) -> Recorded:
    return Recorded(7, goals_stream("u1"), 3, type, "g", 0, None, "c", None, data)


@pytest.mark.parametrize(("type", "line", "event"), GOLDEN)
def test_an_event_is_written_as_its_golden_line(type: str, line: bytes, event: Event) -> None:
    assert event.__class__.__name__ == type
    assert encode(event) == line


@pytest.mark.parametrize(("type", "line", "event"), [*GOLDEN, *OLDEST])
def test_a_golden_line_is_read_as_its_event(type: str, line: bytes, event: Event) -> None:
    assert decode(type, line) == event


@pytest.mark.parametrize("lines", [GOLDEN, OLDEST], ids=["golden", "oldest"])
def test_every_type_has_a_line(lines: Sequence[tuple[str, bytes, Event]]) -> None:
    assert list(dict.fromkeys(type for type, _, _ in lines)) == list(TYPES)


@pytest.mark.parametrize("kind", get_args(Event))
def test_every_field_is_in_a_golden_line(kind: type[Event]) -> None:
    written = {field for type, line, _ in GOLDEN if type == kind.__name__ for field in msgspec.json.decode(line)}

    assert written == {field.name for field in structs.fields(kind)}


@given(st.one_of([any_of(kind) for kind in get_args(Event)]))
def test_what_was_encoded_decodes_to_the_same_event(event: Event) -> None:
    assert decode(event.__class__.__name__, encode(event)) == event


def test_a_field_of_a_newer_version_is_passed_over() -> None:
    line = b'{"goal_id": "g", "name": "n", "colour": {"r": [1, 2]}}'

    assert decode("GoalRenamed", line) == GoalRenamed("g", "n")


@pytest.mark.parametrize("type", ["", "GoalPainted", "goalcreated", "GoalEvent", "Recorded"])
def test_an_unknown_type_is_refused_with_those_that_are_known(type: str) -> None:
    with pytest.raises(UndecodableEvent) as refusal:
        decode(type, b"{}")

    assert str(refusal.value) == f"expected one of {', '.join(TYPES)}; found {type!r}"


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b'{"goal_id": "g", "na', id="cut short"),
        pytest.param(b'{"goal_id": "g", "name": "n"} {}', id="more than one"),
        pytest.param(b"not json", id="no json"),
        pytest.param(b"null", id="null"),
        pytest.param(b'["g", "n"]', id="an array"),
        pytest.param(b'{"goal_id": "g"}', id="a field is missing"),
        pytest.param(b'{"goal_id": "g", "name": 1}', id="a number for a text"),
        pytest.param(b'{"goal_id": "g", "name": null}', id="null for a text"),
        pytest.param(b'{"goal_id": "g", "name": "\xff"}', id="invalid UTF-8"),
        pytest.param(b'{"goal_id": "g", "name": "\\ud800"}', id="half a surrogate pair"),
        pytest.param(b'{"goal_id": "g", "name": "n", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="too deep"),
    ],
)
def test_data_that_does_not_fit_is_refused_with_what_was_expected(line: bytes) -> None:
    with pytest.raises(UndecodableEvent, match=r"^expected the JSON of a GoalRenamed: "):
        decode("GoalRenamed", line)


def scheduled_from(json: dict[str, Any]) -> dict[str, Any]:
    """An upcast for a time when GoalScheduled said `begin` for `start`; a newer line passes through."""
    return json if "start" in json else {"goal_id": json["goal_id"], "start": json["begin"], "due": json.get("due")}


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b'{"goal_id":"g","begin":"2026-11-23T08:00:00Z"}', GoalScheduled("g", START)),
        (b'{"goal_id":"g","start":"2026-11-23T08:00:00Z"}', GoalScheduled("g", START)),
    ],
    ids=["old", "new"],
)
def test_an_upcast_turns_an_old_line_into_the_event_of_today(line: bytes, event: Event) -> None:
    assert decode("GoalScheduled", line, decoders({"GoalScheduled": scheduled_from})) == event


def test_without_its_upcast_the_old_line_is_refused() -> None:
    with pytest.raises(UndecodableEvent, match="missing required field `start`"):
        decode("GoalScheduled", b'{"goal_id":"g","begin":"2026-11-23T08:00:00Z"}')


def test_an_upcast_leaves_other_types_alone() -> None:
    assert decode("GoalReopened", b'{"goal_id":"g"}', decoders({"GoalScheduled": scheduled_from})) == GoalReopened("g")


def test_upcasts_are_for_known_types() -> None:
    assert set(UPCASTS) <= set(TYPES)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"goal_id":"g","begin":"2026-1', id="cut short"),
        pytest.param(b'{"goal_id":"\xff"}', id="invalid UTF-8"),
        pytest.param(b'{"goal_id":"g","begin":1}', id="a number for a text"),
        pytest.param(b'{"goal_id":"g"}', id="what the upcast needs is missing"),
        pytest.param(b"[]", id="an array"),
        pytest.param(b"null", id="null"),
    ],
)
def test_data_that_an_upcast_cannot_mend_is_refused_with_what_was_expected(line: bytes) -> None:
    with pytest.raises(UndecodableEvent, match=r"^expected the JSON of a GoalScheduled: "):
        decode("GoalScheduled", line, decoders({"GoalScheduled": scheduled_from}))


def test_a_recorded_line_gives_its_event_and_its_owner() -> None:
    line = recorded("GoalReopened", b'{"goal_id":"g"}')

    assert line.event == GoalReopened("g")
    assert line.owner == "u1"


@pytest.mark.parametrize(("type", "data"), [("GoalPainted", b"{}"), ("GoalReopened", b"{")])
def test_a_recorded_line_that_cannot_be_read_names_its_position(type: str, data: bytes) -> None:
    with pytest.raises(UndecodableEvent, match=r"^position 7: expected "):
        _ = recorded(type, data).event


def test_goals_and_accounts_have_streams_of_their_own() -> None:
    assert goals_stream("u1") == "user:u1"
    assert account_stream("u1") == "account:u1"


@pytest.mark.parametrize(("type", "event"), [(type, event) for type, _, event in OLDEST])
def test_the_subject_is_the_goal_and_an_accounts_fact_has_none(type: str, event: Event) -> None:
    assert subject_of(event) == ("g" if type.startswith("Goal") else None)


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (EPOCH, "1970-01-01T00:00:00Z"),
        (datetime(2026, 11, 23, 8, tzinfo=UTC), "2026-11-23T08:00:00Z"),
        (datetime(2026, 11, 23, 8, 0, 0, 1, tzinfo=UTC), "2026-11-23T08:00:00.000001Z"),
        (datetime(2026, 11, 23, 8, 0, 0, 250_000, tzinfo=UTC), "2026-11-23T08:00:00.250000Z"),
        (datetime(2026, 11, 23, 1, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))), "2026-11-22T20:00:00Z"),
        (datetime(2026, 11, 23, 8, tzinfo=timezone.max), "2026-11-22T08:01:00Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
        (datetime.max.replace(tzinfo=UTC), "9999-12-31T23:59:59.999999Z"),
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (2**31 * 1_000_000, "2038-01-19T03:14:08Z"),
    ],
)
def test_an_instant_is_in_utc_with_six_digits_of_fraction_or_none(time: datetime | int, text: str) -> None:
    assert instant(time) == text


@pytest.mark.parametrize(
    "time",
    [
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
        2**63,
        -(2**63),
    ],
)
def test_an_instant_outside_of_the_years_1_to_9999_is_refused(time: datetime | int) -> None:
    with pytest.raises(OverflowError):
        instant(time)


@given(
    st.datetimes(
        min_value=datetime(2, 1, 1),
        max_value=datetime(9998, 1, 1),
        timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
    )
)
def test_a_time_survives_microseconds_and_text_exactly(time: datetime) -> None:
    assert moment(micros(time)) == time
    assert datetime.fromisoformat(instant(time)) == time
    assert instant(micros(time)) == instant(time)
