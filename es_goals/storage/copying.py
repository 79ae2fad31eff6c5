"""Copies a log into another one, of the same engine or another, as it is; goes on where it was cut off."""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import TypeVar, get_args

from msgspec import structs

from es_goals.events import AccountEvent, account_stream
from es_goals.storage.drafts import PAGE as DRAFTS
from es_goals.storage.errors import Conflict
from es_goals.storage.log import (
    C,
    Credential,
    Head,
    Identity,
    Log,
    Password,
    Progress,
    StoredKey,
    Token,
    User,
    UserRow,
    all_lines,
    all_streams,
    pages,
)

PAGE = 1000
ROUNDS = 10
"""Of copying what came meanwhile, at most, while accounts are changed all the time."""

Row = TypeVar("Row", UserRow, StoredKey, Password, Token, Identity)
K = TypeVar("K", str, tuple[str, str])


def copy(source: Log, target: Log, progress: Progress) -> Head:
    """Copy all that is recorded up to now, the accounts, the drafts and the commands with it. Returns the head that was
    copied.

    Raises Conflict where the target holds something else than the source's beginning.
    """
    for _ in range(ROUNDS):
        head, known = _copy_once(source, target, progress)
        # What was copied of accounts must not be newer than the events that tell of it.
        later = (line.stream for line in all_lines(source, head.position) if isinstance(line.event, AccountEvent))
        if known.isdisjoint(later):
            break
    return head


def _copy_once(source: Log, target: Log, progress: Progress) -> tuple[Head, frozenset[str]]:
    """Returns the head, and the streams that were there."""
    done = target.head().position
    _expect_beginning(source, target, done)
    _copy_drafts(source, target)
    head = source.head()  # behind whatever the drafts are based on, and what they came to
    for lines in pages(partial(source.read, until=head.position), attrgetter("position"), done, PAGE):
        with target.writing() as transaction:
            transaction.copy(lines, ())
        progress(lines[-1].position, head.position)
    known = frozenset(all_streams(target))
    _copy_users(source, target, known)
    for kind in get_args(Credential):
        _copy_credentials(kind, source, target, known)
    for commands in _differing(source.commands, target.commands, lambda one: (one.stream, one.key), ("", "")):
        for command, found in commands:
            _expect_none([] if found is None else [(command.stream, command.key)])
        with target.writing() as transaction:
            transaction.copy((), [one for one, _ in commands if one.last <= head.position])
    return head, known


def _copy_users(source: Log, target: Log, known: Container[str]) -> None:
    def differing() -> Iterator[Sequence[tuple[UserRow, UserRow | None]]]:
        return _differing(source.user_rows, target.user_rows, lambda row: row.user.id, "")

    both = [(row, old) for rows in differing() for row, old in rows if old is not None]
    _expect_none(new.user.id for new, old in both if _for_good(new.user) != _for_good(old.user))
    # Somebody else may have a name by now; an id is nobody's.
    if renamed := [old.user for new, old in both if old.folded not in (new.folded, old.user.id)]:
        with target.writing() as transaction:
            for user in renamed:
                transaction.copy_user(UserRow(structs.replace(user, name=user.id), user.id))
    for rows in differing():
        with target.writing() as transaction:
            for row, old in rows:
                if old is not None or account_stream(row.user.id) in known:  # else registered since we began
                    transaction.copy_user(row)


def _for_good(user: User) -> tuple[object, ...]:
    return user.created_at, user.role


def _copy_credentials(kind: type[C], source: Log, target: Log, known: Container[str]) -> None:
    def place(row: C) -> str:
        return str(structs.astuple(row)[0])

    for rows in _differing(partial(source.credentials, kind), partial(target.credentials, kind), place, ""):
        with target.writing() as transaction:
            for row, old in rows:
                revoked_at = row.revoked_at if isinstance(row, Token) else None
                if revoked_at is not None and old == structs.replace(row, revoked_at=None):
                    transaction.revoke(place(row), revoked_at)
                elif old is not None and not isinstance(row, Password):
                    _expect_none([place(row)])
                elif account_stream(row.user_id) in known:
                    transaction.add(row)


def _copy_drafts(source: Log, target: Log) -> None:
    """A draft may be changed or dropped, so what the target has of them goes."""
    for stale in pages(target.drafts, attrgetter("id"), "", DRAFTS):
        with target.writing() as transaction:
            for draft in stale:
                transaction.remove_draft(draft.id)
    for drafts in pages(source.drafts, attrgetter("id"), "", DRAFTS):
        with target.writing() as transaction:
            for draft in drafts:
                transaction.put_draft(draft)


def _expect_beginning(source: Log, target: Log, position: int) -> None:
    if position and source.read(position - 1, 1) != target.read(position - 1, 1):
        raise Conflict(f"expected the target to be empty or a copy's beginning; found another event at {position}")


def _differing(
    ask: Callable[[K, int], list[Row]], ask_target: Callable[[K, int], list[Row]], place: Callable[[Row], K], after: K
) -> Iterator[Sequence[tuple[Row, Row | None]]]:
    """Yield what the source has and the target has not, or otherwise, with what that has instead; page by page. Raises
    Conflict where the target has more."""
    for page in pages(ask, place, after, PAGE):
        last = place(page[-1])
        there = {place(row): row for row in ask_target(after, PAGE) if place(row) <= last}
        _expect_none(there.keys() - {place(row) for row in page})
        if news := [(row, there.get(place(row))) for row in page if there.get(place(row)) != row]:
            yield news
        after = last
    _expect_none([place(row) for row in ask_target(after, 1)])


def _expect_none(others: Iterable[object]) -> None:
    for other in others:
        raise Conflict(f"expected nothing in the target but what the source has; found {other}")
