"""What the settings say, in the types of the layers that they are for: each default is in `settings.py` alone."""

from pathlib import Path

from es_goals.goals.commands import Limits
from es_goals.proving.checkpoints import CheckpointFile, Checkpoints, Keeper
from es_goals.proving.keys import Signer, read_keys
from es_goals.proving.tree import HashTree
from es_goals.settings import Settings
from es_goals.storage import Options
from es_goals.storage.log import Clock, Log
from es_goals.storage.place import is_file


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


def checkpoints_file(settings: Settings) -> str:
    """The file that keeps checkpoints: the one that is set, or one beside a log that is a file; else none."""
    if settings.checkpoints or not is_file(settings.db):
        return settings.checkpoints
    log = Path(settings.db)
    return str(log.with_name("checkpoints.jsonl" if log.name == "events.db" else f"{log.stem}-checkpoints.jsonl"))


def checkpoints_of(settings: Settings, log: Log, tree: HashTree, clock: Clock) -> Checkpoints:
    """What signs the checkpoints of a log and keeps them. Raises BadKey."""
    keys = read_keys(settings.signing_key)
    signer = Signer(keys[0].verifier.name if keys else log.id, keys)
    path = checkpoints_file(settings)
    return Checkpoints(log, tree, signer, CheckpointFile(path) if path else Keeper(), clock)
