"""The vocabulary: the facts that can be recorded, and how they are written down.

An event's `data` is the JSON of its Struct, its `type` the Struct's name. The schema only grows: a new
field has a default, a name is never reused. A change that no default can bridge gets an entry in
UPCASTS, which turns the old JSON into the new one as it is read; the log itself is never rewritten.

In the events of goals, `undoes` is the command whose effect an event reverses; None in those that reverse none.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NewType, get_args

import msgspec
from msgspec import Struct

Instant = NewType("Instant", str)
"""RFC 3339 in UTC, `2026-11-23T08:00:00Z`, six digits of fraction if there is one. It stays text from the
log to the answer, since only `goals.decide` ever compares two of them."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class GoalCreated(Struct, frozen=True, omit_defaults=True, gc=False):
    """A goal came to be, last among its siblings unless `rank` says otherwise."""

    goal_id: str
    name: str
    start: Instant
    rank: str
    parent_id: str | None = None
    description: str | None = None
    due: Instant | None = None
    undoes: str | None = None


class GoalRenamed(Struct, frozen=True, omit_defaults=True, gc=False):
    """A goal got another name."""

    goal_id: str
    name: str
    undoes: str | None = None


class GoalDescribed(Struct, frozen=True, omit_defaults=True, gc=False):
    """A goal's description was set, or removed (None)."""

    goal_id: str
    description: str | None = None
    undoes: str | None = None


class GoalScheduled(Struct, frozen=True, omit_defaults=True, gc=False):
    """A goal's start and due times are now these."""

    goal_id: str
    start: Instant
    due: Instant | None = None
    undoes: str | None = None


class GoalMoved(Struct, frozen=True, omit_defaults=True, gc=False):
    """A goal is now under `parent_id` (None: at the top), at `rank` among its siblings. `spaced`: it is where it was,
    and only got another rank, to make room beside it."""

    goal_id: str
    rank: str
    parent_id: str | None = None
    spaced: bool = False
    undoes: str | None = None


class GoalCompleted(Struct, frozen=True, omit_defaults=True, gc=False):
    """A goal was reached at `end`."""

    goal_id: str
    end: Instant
    undoes: str | None = None


class GoalReopened(Struct, frozen=True, omit_defaults=True, gc=False):
    """A completed goal is open again."""

    goal_id: str
    undoes: str | None = None


class GoalDeleted(Struct, frozen=True, omit_defaults=True, gc=False):
    """A goal was deleted, because `root` (itself, or a goal above it) was."""

    goal_id: str
    root: str
    undoes: str | None = None


class GoalRestored(Struct, frozen=True, omit_defaults=True, gc=False):
    """A deleted goal is back, under `parent_id` at `rank`."""

    goal_id: str
    rank: str
    parent_id: str | None = None
    undoes: str | None = None


class UserRegistered(Struct, frozen=True, omit_defaults=True, gc=False):
    """A user came to be. Names, addresses and secrets are kept beside the log, never in it."""

    user_id: str
    role: str = "user"


class UserRenamed(Struct, frozen=True, gc=False):
    """A user's name or address is another one."""

    user_id: str


class PasswordChanged(Struct, frozen=True, gc=False):
    """A password was set; sessions begun before it are over."""

    user_id: str


class IdentityLinked(Struct, frozen=True, gc=False):
    """An identity at a provider may sign in as the user."""

    user_id: str


class TokenIssued(Struct, frozen=True, gc=False):
    """An API token was made, good for reading, or for writing too, until a time."""

    user_id: str
    token_id: str
    scope: str
    expires: Instant


class TokenRevoked(Struct, frozen=True, gc=False):
    """An API token is good no more."""

    user_id: str
    token_id: str


class UserDisabled(Struct, frozen=True, gc=False):
    """A user may not sign in any more."""

    user_id: str


class UserEnabled(Struct, frozen=True, gc=False):
    """A disabled user may sign in again."""

    user_id: str


GoalEvent = (
    GoalCreated
    | GoalRenamed
    | GoalDescribed
    | GoalScheduled
    | GoalMoved
    | GoalCompleted
    | GoalReopened
    | GoalDeleted
    | GoalRestored
)
AccountEvent = (
    UserRegistered
    | UserRenamed
    | PasswordChanged
    | IdentityLinked
    | TokenIssued
    | TokenRevoked
    | UserDisabled
    | UserEnabled
)
Event = GoalEvent | AccountEvent

Json = dict[str, Any]
Upcast = Callable[[Json], Json]

UPCASTS: Mapping[str, Upcast] = {}
"""For each type whose old lines no longer fit its Struct: old or new JSON in, JSON of today out."""

TYPES = tuple(kind.__name__ for kind in get_args(Event))
encode = msgspec.json.Encoder().encode

Decode = Callable[[bytes], Event]


def decoders(upcasts: Mapping[str, Upcast]) -> Mapping[str, Decode]:
    """For each type what makes an event of its data, old or new."""
    found: dict[str, Decode] = {kind.__name__: msgspec.json.Decoder(kind).decode for kind in get_args(Event)}
    return found | {kind: _upcasting(upcast, found[kind]) for kind, upcast in upcasts.items()}


def _upcasting(upcast: Upcast, decode: Decode) -> Decode:
    return lambda data: decode(encode(upcast(msgspec.json.decode(data, type=Json))))


_DECODERS = decoders(UPCASTS)


class UndecodableEvent(Exception):
    """A line of the log is of no known type, or its data does not fit that type."""


def decode(type: str, data: bytes, by_type: Mapping[str, Decode] = _DECODERS) -> Event:
    """The event that was written as `type` and `data`. Raises UndecodableEvent."""
    decoder = by_type.get(type)
    if decoder is None:
        raise UndecodableEvent(f"expected one of {', '.join(TYPES)}; found {type!r}")
    try:
        return decoder(data)
    except KeyError as error:
        raise UndecodableEvent(f"expected the JSON of a {type}: its upcast found no {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UndecodableEvent(f"expected the JSON of a {type}: {error}") from error


class Recorded(Struct, frozen=True, gc=False):
    """One line of the log: an event with its place, its time and who caused it.

    `position` counts from 1 through the log, `version` from 1 through the `stream`; `at` is µs since 1970
    in UTC and never decreases along positions; `data` is exactly the bytes written.
    """

    position: int
    stream: str
    version: int
    type: str
    subject: str | None
    at: int
    actor: str | None
    command: str
    reason: str | None
    data: bytes

    @property
    def event(self) -> Event:
        """Decoded anew at each call. Raises UndecodableEvent, naming the position."""
        try:
            return decode(self.type, self.data)
        except UndecodableEvent as error:
            raise UndecodableEvent(f"position {self.position}: {error}") from error

    @property
    def owner(self) -> str:
        """The id of the user whose stream this is."""
        return self.stream[self.stream.index(":") + 1 :]


def goals_stream(user_id: str) -> str:
    """The stream of a user's goals."""
    return f"user:{user_id}"


def account_stream(user_id: str) -> str:
    """The stream of an account's facts."""
    return f"account:{user_id}"


def subject_of(event: Event) -> str | None:
    """The goal an event is about; None for an account's fact."""
    return getattr(event, "goal_id", None)


def micros(time: datetime) -> int:
    """µs since 1970 of an aware time."""
    return (time - EPOCH) // _MICROSECOND


def moment(at: int) -> datetime:
    """The aware UTC time of µs since 1970."""
    return EPOCH + timedelta(microseconds=at)


@lru_cache(maxsize=256)  # all commands of a batch have one time
def instant(time: datetime | int) -> Instant:
    """An aware time, or µs since 1970, as text. Raises OverflowError outside of the years 1 to 9999 in UTC."""
    utc = moment(time) if isinstance(time, int) else time.astimezone(UTC)
    return Instant(utc.isoformat().replace("+00:00", "Z"))
