"""What is kept of drafts, beside the accounts: a draft is no fact about goals, so it is not in the log."""

from typing import Protocol

from msgspec import Struct

MOST_DRAFTS = 100
"""Of one user, applied ones too."""
PAGE = 16
"""Drafts that are read at once with their commands, each of which may be as long as a body."""


class Draft(Struct, frozen=True):
    """Commands on top of a user's goals as of a position, `base`, where the user was at `version`. Times are µs;
    `revision` counts from 1; `applied`: the position up to which the log has what it came to, once it was applied;
    `commands`: JSON of a list, as the API takes them."""

    id: str
    user_id: str
    name: str
    base: int
    version: int
    revision: int
    created_at: int
    updated_at: int
    applied: int | None = None
    commands: str = "[]"


class DraftReader(Protocol):
    """Reads drafts."""

    def draft(self, user_id: str, draft_id: str) -> Draft | None:
        """Return a user's draft."""

    def drafts_of(self, user_id: str) -> list[Draft]:
        """Return a user's drafts in the order of their ids, without their commands."""

    def drafts(self, after: str = "", limit: int = PAGE) -> list[Draft]:
        """Return all users' drafts in the order of their ids, from the one behind `after`."""


class DraftWriter(Protocol):
    """Writes drafts, in a transaction."""

    def put_draft(self, draft: Draft) -> None:
        """Store a draft, in place of the one of its id."""

    def remove_draft(self, draft_id: str) -> None:
        """Forget a draft."""
