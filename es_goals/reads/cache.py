"""What this process remembers of the log, so that a read asks the database nothing while nobody writes, or once for all
who read at the same time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, NamedTuple, TypeVar

from es_goals.events import Recorded, goals_stream
from es_goals.ids import UUID_FORM
from es_goals.storage.errors import StorageFailed
from es_goals.storage.log import Log, Token, User

PAGE = 1000
CACHED = 20_000  # of each kind: about 5 MB of owners, the largest

V = TypeVar("V")


class LogCache:
    """How many events each user has, who is who, and whose goal is whose. For one thread only, but for `known_user`
    and `known_owner`. `generation` tells which rows readers see, or raises. `lost` is called where the log is no longer
    the one that is remembered."""

    def __init__(
        self, log: Log, generation: Callable[[], int] = lambda: 0, lost: Callable[[], None] = lambda: None
    ) -> None:
        self._log, self._ask_generation, self._lost = log, generation, lost
        self._writes: int | None = None
        self._position = log.head().position
        self._command: str | None = None
        self._generation: int | None = None
        self._versions: dict[str, int] = {}
        self._users: dict[str, User] = {}
        self._tokens: dict[str, Token] = {}
        self._owners: dict[str, str] = {}

    def known_user(self, name_or_id: str) -> User | None:
        """As `user`, where that asks nothing."""
        return self._users.get(name_or_id)

    def known_owner(self, goal_id: str) -> User | None:
        """As `owner`, where that asks nothing."""
        return self._users.get(self._owners.get(goal_id, ""))

    def head(self) -> int:
        """The log's last position, as of the last look."""
        return self._position

    def generation(self) -> int:
        """Which rows readers see: as of now where that costs nothing, else as of the last look."""
        if self._log.is_local:
            return self._ask_generation()
        if self._generation is None:
            self._generation = self._ask_generation()
        return self._generation

    def version(self, user_id: str) -> int:
        """The version of a user's goals, as of now."""
        self.follow()
        return self.version_seen(user_id)

    def version_seen(self, user_id: str) -> int:
        """The version of a user's goals, as of the last look."""
        stream = goals_stream(user_id)
        version = self._versions.get(stream)
        if version is None:
            version = self._log.stream_head(stream).version
            _remember(self._versions, stream, version)
        return version

    def user(self, name_or_id: str) -> User | None:
        """The user of this name or id, as it was a tick ago."""
        user = self._users.get(name_or_id)
        if user is None:
            user_id = uuid_of(name_or_id)
            user = (self._log.user(user_id) if user_id else None) or self._log.user_named(name_or_id)
            if user is not None:
                _remember(self._users, name_or_id, user)
        return user

    def token(self, hash: str) -> Token | None:
        """The API token of this SHA-256, as of the last look."""
        token = self._tokens.get(hash)
        if token is None and (token := self._log.token(hash)) is not None:
            _remember(self._tokens, hash, token)
        return token

    def owner(self, goal_id: str) -> User | None:
        """The user whose goal this is or was: that never changes."""
        owner = self._owners.get(goal_id)
        if owner is None:
            owner = self._log.owner(goal_id)
            if owner is None:
                return None
            _remember(self._owners, goal_id, owner)
        return self.user(owner)

    def follow(self) -> None:
        """See what was appended since the last look; costs nothing where nobody wrote."""
        writes = self._log.change_counter()
        if writes is None or writes != self._writes:
            self.look()
            self._writes = writes

    def look(self) -> int:
        """The same, whether or not somebody is known to have written. Answers the log's last position.

        Raises StorageFailed where what was seen last is gone, as after a standby took over that had not all.
        """
        self._generation = None
        lines = self._log.read(self._position, PAGE) if self._log.is_local else self._behind_the_last()
        if len(lines) == PAGE:
            # Far behind: what is asked for is looked up anew.
            self._position, self._command = self._log.head().position, None
            self._versions.clear()
            self._forget_accounts()
            return self._position
        for line in lines:
            if line.stream in self._versions:
                self._versions[line.stream] = line.version
            elif line.stream.startswith("account:"):
                self._forget_accounts()  # a user's name may be the new one's id, which comes first
            self._position, self._command = line.position, line.command
        return self._position

    def _forget_accounts(self) -> None:
        self._users.clear()
        self._tokens.clear()

    def _behind_the_last(self) -> list[Recorded]:
        """What is new, in one question with what was seen last."""
        if not self._position:
            return self._log.read(0, PAGE)
        lines = self._log.read(self._position - 1, PAGE + 1)
        if not lines or lines[0].command != (self._command or lines[0].command):
            self._lost()
            raise StorageFailed("the service restarts after the log lost events")
        self._command = lines[0].command
        return lines[1:]


class _Question(NamedTuple):
    ask: Callable[[], Any]
    answer: asyncio.Future[Any]


class Coalescer:
    """Asks a log that is on another machine. Questions that come while others are being answered wait, and are answered
    together behind one new look at the log's end: each answer is as of a moment after its question. To be used on the
    event loop; `thread` has one thread, which alone uses `recent` then."""

    def __init__(self, recent: LogCache, thread: Executor) -> None:
        self._recent, self._thread = recent, thread
        self._waiting: list[_Question] = []
        self._busy = False

    async def ask(self, question: Callable[[], V]) -> V:
        """Its answer. Raises what it raises, and StorageError."""
        answer: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Question(question, answer))
        if not self._busy:
            self._go_on()
        return await answer

    def _go_on(self) -> None:
        taken, self._waiting = [one for one in self._waiting if not one.answer.done()], []
        self._busy = bool(taken)
        if taken:
            asyncio.get_running_loop().run_in_executor(self._thread, self._answered, taken).add_done_callback(
                lambda done: self._settle(taken, done.result())
            )

    def _answered(self, taken: list[_Question]) -> list[Any]:
        try:
            self._recent.look()
        except Exception as error:
            return [error] * len(taken)
        return [_outcome(one.ask) for one in taken]

    def _settle(self, taken: list[_Question], outcomes: list[Any]) -> None:
        for one, outcome in zip(taken, outcomes, strict=True):
            if one.answer.done():
                continue
            if isinstance(outcome, Exception):
                one.answer.set_exception(outcome)
            else:
                one.answer.set_result(outcome)
        self._go_on()


def _outcome(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception as error:
        return error


def uuid_of(text: str) -> str | None:
    """The id as the log writes it; None if the text is none."""
    return text.lower() if UUID_FORM.fullmatch(text) else None


def _remember(known: dict[str, V], key: str, value: V) -> None:
    if len(known) >= CACHED:
        known.clear()
    known[key] = value
