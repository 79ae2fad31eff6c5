"""Passwords that are looked at: no more at once than there are cores, and few for who comes with many."""

import asyncio
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import repeat
from pathlib import Path

import pytest
from falcon.testing import create_scope

from es_goals.accounts.passwords import hashed
from es_goals.http.accounts import signing as module
from es_goals.http.accounts.signing import HASHED_AT_ONCE, HASHED_IN_ALL, Signing
from es_goals.http.exchange import Request
from es_goals.http.problems import Refusal
from es_goals.settings import Settings
from es_goals.storage.deadlines import Deadline
from tests.support.engines import DEADLINE
from tests.support.inside import application


@contextmanager
def signing(folder: Path, workers: int = 1) -> Iterator[Signing]:
    with application(Settings(str(folder / "events.db"), workers=workers)) as app:
        made = Signing(app.worker)
        try:
            yield made
        finally:
            made.close()


def asked_from(address: str) -> Request:
    """A request with a password, as the edge hands it on."""
    req = Request(create_scope(), None)  # type: ignore[arg-type]
    req.caller = None
    req.address, req.deadline = address, Deadline.after(DEADLINE)
    return req


@pytest.mark.parametrize(("workers", "share"), [(1, 1.0), (2, 0.5), (100, 0.0)])
def test_all_workers_look_at_no_more_passwords_at_once_than_there_are_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, share: float
) -> None:
    cores, counting = len(os.sched_getaffinity(0)), threading.Lock()
    running, most = 0, 0

    def counted(password: str) -> str:
        nonlocal running, most
        with counting:
            running += 1
            most = max(most, running)
        kept = hashed(password)
        with counting:
            running -= 1
        return kept

    monkeypatch.setattr(module, "hashed", counted)

    async def all_at_once(signing: Signing) -> list[str]:
        asked = [asked_from(f"192.0.2.{number}") for number in range(3 * cores)]
        return await asyncio.gather(*(signing.hash(req, "a password") for req in asked))

    with signing(tmp_path, workers) as made:
        assert len(set(asyncio.run(all_at_once(made)))) == 3 * cores

    assert 1 <= most <= max(1, cores * share)


def test_who_comes_with_many_passwords_at_once_has_few_places_and_leaves_them_to_the_next(tmp_path: Path) -> None:
    def taken(signing: Signing, addresses: Iterable[str]) -> int:
        """How many get a place before one does not; all are left again."""
        with ExitStack() as places:
            for count, address in enumerate(addresses):
                try:
                    places.enter_context(signing.password_slot(address))
                except Refusal:
                    return count
        return -1

    with signing(tmp_path) as made:
        for _ in range(2):
            assert taken(made, repeat("192.0.2.1")) == HASHED_AT_ONCE
            assert taken(made, (f"2001:db8::{number}" for number in range(9))) == HASHED_AT_ONCE
            assert taken(made, (f"198.51.100.{number}" for number in range(99))) == HASHED_IN_ALL
