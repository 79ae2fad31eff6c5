"""What one user may have, for tests: as the settings have it when nobody sets anything, or less."""

from msgspec import structs

from es_goals.configured import limits_of
from es_goals.goals.commands import Limits
from es_goals.settings import Settings

LIMITS = limits_of(Settings())

EVENTS_LIMIT = Settings().events_limit


def limited(**fewer: int) -> Limits:
    return structs.replace(LIMITS, **fewer)
