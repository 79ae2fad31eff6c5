"""Copies a log into another one, of the same engine or another, as it is; goes on where it was cut off."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from es_goals.events import account_stream
from es_goals.storage import Conflict, Head, Log, Progress, Remembered, User, all_streams

PAGE = 1000

Row = TypeVar("Row", User, Remembered)
K = TypeVar("K", str, tuple[str, str])


def copy(source: Log, target: Log, progress: Progress) -> Head:
    """All that is recorded up to now, the users and the commands with it. Answers the head that was copied.

    Raises Conflict where the target holds something else than the source's beginning.
    """
    head, done = source.head(), target.head().position
    _expect_beginning(source, target, done)
    while done < head.position:
        lines = source.read(done, PAGE, until=head.position)
        with target.writing() as transaction:
            transaction.copy(lines, ())
        done = lines[-1].position
        progress(done, head.position)
    known = frozenset(all_streams(target))
    for users in _pages(source.users, target.users, lambda user: user.id, ""):
        with target.writing() as transaction:
            for user in users:
                if account_stream(user.id) in known:  # else registered since we began
                    transaction.add_user(user)
    for commands in _pages(source.commands, target.commands, lambda one: (one.stream, one.key), ("", "")):
        with target.writing() as transaction:
            transaction.copy((), [one for one in commands if one.last <= head.position])
    return head


def _expect_beginning(source: Log, target: Log, position: int) -> None:
    if position and source.read(position - 1, 1) != target.read(position - 1, 1):
        raise Conflict(f"expected the target to be empty or a copy's beginning; found another event at {position}")


def _pages(
    ask: Callable[[K, int], list[Row]], ask_target: Callable[[K, int], list[Row]], place: Callable[[Row], K], after: K
) -> Iterator[Sequence[Row]]:
    """What the source has and the target has not, page by page. Raises Conflict where the target has another row."""
    while page := ask(after, PAGE):
        last = place(page[-1])
        here, there = set(page), {row for row in ask_target(after, PAGE) if place(row) <= last}
        _expect_none(there - here)
        if missing := [row for row in page if row not in there]:
            yield missing
        after = last
    _expect_none(ask_target(after, 1))


def _expect_none(others: Iterable[Row]) -> None:
    for other in others:
        raise Conflict(f"expected nothing in the target but what the source has; found {other}")
