"""Group commit: many commands, one lock, one transaction, one fsync; one deciding thread a process."""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from operator import attrgetter
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Generic, NamedTuple, TypeVar

from msgspec import Struct

from es_goals.events import Recorded
from es_goals.storage.deadlines import NEVER, Deadline
from es_goals.storage.errors import BatchConflict, OutcomeUnknown, StorageError, StorageFailed, StorageFull, Unavailable
from es_goals.storage.log import Log, Transaction, pages

Work = Callable[[Transaction], Any]
"""Decides one command: returns its result, or raises and leaves nothing written. It may be called twice."""

Follow = Callable[[Sequence[Recorded]], None]
"""Called, before a batch is decided, with what other processes appended since the last one."""

Forget = Callable[[Collection[str] | None], None]
"""Called where what was decided on these streams (None: on all) did not come to be."""

PAGE = 1000
BATCH_SECONDS = 0.05  # of deciding, then the others get the lock
PROBE_SECONDS = 1.0

T = TypeVar("T")


class Ticket(Struct, frozen=True):
    """What is known of a work before it runs: in whose turn it comes (None: nobody is signed in), the stream that it
    decides on, the key that it will ask for on a stream, and the ids that its client gave to new goals."""

    user: str | None = None
    stream: str | None = None
    place: tuple[str, str] | None = None
    made: Sequence[str] = ()


NOBODYS = Ticket()
"""Of what no user asks for."""


class Turns(Generic[T]):
    """What waits, first come first served among one user's, and users in turn: whoever sends much waits behind
    himself. For one thread."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str | None, deque[T]] = OrderedDict()

    def put(self, user: str | None, item: T) -> None:
        """Add what a user waits for; None: all that nobody is signed in for has one turn."""
        self._waiting.setdefault(user, deque()).append(item)

    def take(self) -> T | None:
        """Remove and return what is next; None where nothing waits."""
        if not self._waiting:
            return None
        user, items = self._waiting.popitem(last=False)
        item = items.popleft()
        if items:
            self._waiting[user] = items
        return item

    def __iter__(self) -> Iterator[T]:
        """All that waits, user by user."""
        for items in self._waiting.values():
            yield from items


class _Item(NamedTuple):
    work: Work
    future: asyncio.Future[Any]
    ticket: Ticket


class _Result(NamedTuple):
    item: _Item
    value: Any
    error: Exception | None


class Writer:
    """Decides what it is given, users in turn, on the log's newest state, and commits it in batches.

    `follow` is called with what others appended; `forget` where a commit failed, or a batch is decided anew, so that no
    state in memory outlives it; `failed` when this process must end: after an outcome became unknown, unless the log
    says that it may go on, or where the log has lost events; `committed` with how many commands a batch had.
    """

    def __init__(
        self,
        log: Log,
        follow: Follow,
        forget: Forget,
        failed: Callable[[], None],
        committed: Callable[[int], None],
    ) -> None:
        self._log, self._follow, self._forget = log, follow, forget
        self._failed, self._committed = failed, committed
        self._gathered: list[_Item] = []
        self._waiting: SimpleQueue[_Item | None] = SimpleQueue()
        self._turns: Turns[_Item] = Turns()
        self._ending = False
        self._stopped = threading.Event()
        self._position = log.head().position
        self._others_wrote = True
        self.trouble: StorageError | None = None
        """Why no command is taken at the moment; None in good times."""
        self._lost = False
        self._probe()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise the trouble, if there is any."""
        if self.trouble is not None:
            # A new one each time: an exception keeps the frames of all who ever raised it.
            raise type(self.trouble)(*self.trouble.args)

    async def submit(self, work: Callable[[Transaction], T], deadline: Deadline = NEVER, ticket: Ticket = NOBODYS) -> T:
        """Return the work's result once its transaction is on disk. Raises what the work raised, a StorageError, or
        TimeoutError at the deadline; what is not begun by then is left undone."""
        self.check()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if deadline != NEVER:
            timer = loop.call_later(deadline.left(), _give_up, future)
            future.add_done_callback(lambda _: timer.cancel())
        # What comes in one turn of the event loop is handed over at its end: the thread wakes up to a batch.
        if not self._gathered:
            loop.call_soon(self._hand_over)
        self._gathered.append(_Item(work, future, ticket))
        return await future

    def _hand_over(self) -> None:
        items, self._gathered = self._gathered, []
        for item in items:
            self._waiting.put(item)
        if (trouble := self.trouble) is not None:  # the thread may have ended without these
            left = self._handed_over()
            if None in left:
                self._waiting.put(None)
            _deliver(_refusals(left, trouble))

    def close(self) -> None:
        """Finish what was submitted, then end the thread."""
        self._stopped.set()
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._lost:
                if self.trouble is not None:
                    if self._stopped.wait(PROBE_SECONDS):
                        break
                    self._probe()
                elif (item := self._next(self._waiting.get)) is not None:
                    self._batch(item)
                else:
                    break
        except BaseException:
            self._lost = True  # whatever it was, a process that decides nothing must not go on
            raise
        finally:
            self.trouble = self.trouble or StorageFailed("the service is stopping; nothing was recorded")
            if self._lost:
                self._failed()
            _deliver(self._refuse_waiting(self.trouble))

    def _probe(self) -> None:
        """See that a commit works before taking any command: an outcome may be unknown, perhaps of the process before
        this one."""
        try:
            self._log.probe()
            self._expect_all(self._log.head().position)
        except StorageError as error:
            self.trouble = error
        else:
            self.trouble = None

    def _expect_all(self, position: int) -> None:
        if position < self._position:
            self._lost = True  # a standby took over that had not all: what is in memory is of another log
            raise StorageFailed("the service restarts after the log lost events; nothing was recorded")

    def _batch(self, first: _Item) -> None:
        items: list[_Item] = []
        try:
            # What others appended is better read before they wait for us; alone, it would be a question for nothing.
            if self._others_wrote:
                self._catch_up(self._log)
            results = self._decide(first, items)
        except Exception as error:
            # Nothing was stored, or nobody knows; whoever waits gets the error, also where the fault is ours.
            self._forget(None)
            if self._lost:
                self.trouble = StorageFailed(str(error))
            elif (
                isinstance(error, Unavailable)
                and self._log.survives_unknown_commit
                and not isinstance(error, StorageFull)
            ):
                self.trouble = StorageFailed(f"commands are refused until the database takes them again: {error}")
            elif isinstance(error, OutcomeUnknown):
                self._lost = True
                self.trouble = StorageFailed("the service restarts after a commit failed; nothing was recorded")
            _deliver([_Result(item, None, error) for item in items or [first]])
            if self.trouble is not None:
                _deliver(self._refuse_waiting(self.trouble))
            return
        try:
            self._committed(len(items))
        finally:
            _deliver(results)

    def _decide(self, first: _Item, taken: list[_Item]) -> list[_Result]:
        """Decide all that wait, together; where something does not fit, one by one, at three times the cost."""
        coming = self._take(first, taken)
        try:
            with self._writing() as transaction, transaction.batch():
                self._line_up()
                tickets = [item.ticket for item in (first, *self._turns)]
                transaction.prefetch(
                    [one.place for one in tickets if one.place], [made for one in tickets for made in one.made]
                )
                return [_run_item(transaction, item) for item in coming]
        except BatchConflict:
            self._forget({item.ticket.stream for item in taken if item.ticket.stream})
        with self._writing() as transaction:
            return [_run_in_savepoint(transaction, item) for item in (*taken, *coming)]

    @contextmanager
    def _writing(self) -> Iterator[Transaction]:
        with self._log.writing() as transaction:
            if transaction.position != self._position:
                self._expect_all(transaction.position)
                self._catch_up(transaction)
            yield transaction
        self._position = transaction.position

    def _catch_up(self, log: Log | Transaction) -> None:
        self._others_wrote = False
        for lines in pages(log.read, attrgetter("position"), self._position, PAGE):
            self._others_wrote = True
            self._follow(lines)
            self._position = lines[-1].position

    def _take(self, first: _Item, taken: list[_Item]) -> Iterator[_Item]:
        """Yield the first and what waits behind it, also what comes while they are decided, until the time is up."""
        until = monotonic() + BATCH_SECONDS
        item: _Item | None = first
        while item is not None:
            if not item.future.done():
                taken.append(item)
                yield item
            if monotonic() > until:
                return
            item = self._next()

    def _next(self, wait: Callable[[], _Item | None] | None = None) -> _Item | None:
        """Return what is next, if need be after a wait; None where nothing waits, with a wait only at the end."""
        self._line_up()
        if (item := self._turns.take()) is not None or wait is None or self._ending:
            return item
        return wait()

    def _line_up(self) -> None:
        for item in self._handed_over():
            if item is None:
                self._ending = True
            else:
                self._turns.put(item.ticket.user, item)

    def _handed_over(self) -> list[_Item | None]:
        """Take all that was handed over. Any thread may, where `_turns` are the writer's own."""
        gathered: list[_Item | None] = []
        with suppress(Empty):
            while True:
                gathered.append(self._waiting.get_nowait())
        return gathered

    def _refuse_waiting(self, error: StorageError) -> list[_Result]:
        self._line_up()
        items = [*self._turns]
        self._turns = Turns()
        return _refusals(items, error)


def _refusals(items: Sequence[_Item | None], error: StorageError) -> list[_Result]:
    return [_Result(item, None, error) for item in items if item is not None]


def _run_item(transaction: Transaction, item: _Item) -> _Result:
    changes = transaction.changes
    try:
        return _Result(item, item.work(transaction), None)
    except (Unavailable, BatchConflict):
        raise
    except Exception as error:
        if transaction.changes != changes:
            raise BatchConflict("what was written before the refusal must not stay") from error
        return _Result(item, None, error)


def _run_in_savepoint(transaction: Transaction, item: _Item) -> _Result:
    try:
        with transaction.savepoint():
            return _Result(item, item.work(transaction), None)
    except Unavailable:
        raise
    except Exception as error:
        return _Result(item, None, error)


def _give_up(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())


def _deliver(results: list[_Result]) -> None:
    """Hand results to the event loop that waits, in one call for all."""
    if results:
        results[0].item.future.get_loop().call_soon_threadsafe(_settle, results)


def _settle(results: list[_Result]) -> None:
    for item, value, error in results:
        future = item.future
        if future.done():
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
