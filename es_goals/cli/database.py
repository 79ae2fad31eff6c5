"""How the commands come to a log and its users."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

import projections
from es_goals.configured import options_of
from es_goals.ids import uuid_of, wall_clock
from es_goals.projector import Projector
from es_goals.settings import PREFIX, Settings
from es_goals.storage import Storage, exists, open_storage
from es_goals.storage.log import Log, User
from es_goals.storage.place import shown

ACTOR = "cli"
"""Of what the command line does."""


@contextmanager
def opened(settings: Settings) -> Iterator[Storage]:
    """An existing log, or where there is something to put into it a new one."""
    command = click.get_current_context().command.name
    if command not in ("import", "add"):
        expect_log(settings.db, settings)
    with storage_at(settings, settings.db) as storage:
        yield storage


@contextmanager
def storage_at(settings: Settings, db: str) -> Iterator[Storage]:
    """The storage there, made where there is none."""
    storage = open_storage(db, wall_clock, options_of(settings))
    try:
        yield storage
    finally:
        storage.close()


def expect_log(db: str, settings: Settings) -> None:
    """Raises ClickException where there is none."""
    if not exists(db, options_of(settings)):
        raise click.ClickException(f"expected a log at {shown(db)}; found none (--db or {PREFIX}DB names another)")


def read_models(storage: Storage) -> Projector:
    """The read models of a storage."""
    return Projector(storage.log, storage.views, projections.ALL)


def user_of(log: Log, name: str) -> User:
    """The user of this name or id. Raises ClickException."""
    return log.user(uuid_of(name) or name.lower()) or log.user_named(name) or _no_such_user(name)


def _no_such_user(name: str) -> NoReturn:
    raise click.ClickException(f"expected a user's name or id; found {name!r}")
