"""PostgreSQL's glance: all of it in one statement, so in one round trip."""

from collections.abc import Sequence

import msgspec

from es_goals.events import Recorded
from es_goals.storage.glance import Glance, bounds
from es_goals.storage.postgres.connections import Connections
from es_goals.storage.postgres.views import PostgresViews
from es_goals.storage.sessions import Session
from es_goals.storage.sql.log import COLUMNS
from es_goals.storage.sql.tables import code
from es_goals.storage.sql.views import GENERATION
from es_goals.storage.views import Generation, ReadModel

_NO_EVENT = ", ".join("NULL" for _ in Recorded.__struct_fields__)
_SQL = (
    f"(SELECT {COLUMNS}, NULL AS session, NULL AS generation FROM events WHERE position > $1"
    " ORDER BY position LIMIT $2)"
    f" UNION ALL SELECT {_NO_EVENT}, json_build_array({', '.join(Session.__struct_fields__)})::text, NULL"
    " FROM sessions WHERE hash = ANY($3::text[])"
    f" UNION ALL SELECT {_NO_EVENT}, NULL, json_build_array({GENERATION})::text"
    " FROM generations WHERE (name, revision, shape, state) = ($4, $5, $6, 'live')"
)

_decode = msgspec.json.Decoder().decode


class PostgresGlances:
    """Looks at the database of a log."""

    def __init__(self, connections: Connections, views: PostgresViews) -> None:
        self._connections, self._views = connections, views

    def __call__(self, position: int, hashes: Sequence[str], model: ReadModel) -> Glance:
        """Look, as storage.glance.Look says."""
        lines: list[Recorded] = []
        sessions: dict[str, Session] = {}
        generation: Generation | None = None
        for *event, session, row in self._connections.rows(_SQL, (*bounds(position), list(hashes), *code(model))):
            if session is not None:
                one = Session(*_decode(session))
                sessions[one.hash] = one
            elif row is not None:
                generation = Generation(*_decode(row))
            else:
                lines.append(Recorded(*event))
        return Glance(lines, sessions, generation or self._views.live(model))
