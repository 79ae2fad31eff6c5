"""One look at what the query side must know before it answers: what is new in the log, whose sessions are good, and
which rows serve."""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from es_goals.events import Recorded
from es_goals.storage.sessions import Session
from es_goals.storage.views import Generation, ReadModel

BEHIND = 1_000
"""How many events of those that are new a glance has at most."""


class Glance(Struct, frozen=True):
    """`lines`: the events behind a position, at most BEHIND of them, and before them the one at the position, if there
    is one: where its command is another one, the log is no longer the one that was seen. `sessions`: those that there
    are of the hashes asked for, by hash. `generation`: the read model's live one."""

    lines: Sequence[Recorded]
    sessions: Mapping[str, Session]
    generation: Generation


Look = Callable[[int, Sequence[str], ReadModel], Glance]
"""Asked with the last position that was seen (0: none), hashes of sessions' tokens, and a read model. On another
machine it takes one round trip."""


def bounds(position: int) -> tuple[int, int]:
    """Return behind which position the lines of a glance begin, and how many they are at most."""
    return (position - 1, BEHIND + 1) if position else (0, BEHIND)
