"""What the settings say, in the types of the layers that they are for: each default is in `settings.py` alone."""

from es_goals.goals.commands import Limits
from es_goals.settings import Settings
from es_goals.storage import Options


def limits_of(settings: Settings) -> Limits:
    """What one user may have."""
    return Limits(
        name=settings.name_limit,
        description=settings.description_limit,
        goals=settings.goals_limit,
        children=settings.children_limit,
        text=settings.text_limit,
    )


def options_of(settings: Settings, *, standby: bool = False) -> Options:
    """What a server of a database is asked with."""
    return Options(deadline=settings.deadline, connections=settings.connections, standby=standby)
