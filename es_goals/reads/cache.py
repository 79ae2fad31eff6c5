"""What a worker knows of the log, so that a read asks the database nothing while nobody writes, or once for all who
read at the same time. A log of this machine and one of another are two implementations."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from es_goals.events import Recorded, goals_stream
from es_goals.ids import uuid_of
from es_goals.projector import healthy
from es_goals.reads.coalescer import Coalescer
from es_goals.storage import Storage
from es_goals.storage.deadlines import Deadline
from es_goals.storage.errors import StorageFailed
from es_goals.storage.glance import BEHIND
from es_goals.storage.log import Token, User
from es_goals.storage.sessions import Session
from es_goals.storage.views import Generation, ReadModel

PAGE = 1000
CACHED = 20_000  # of each kind: about 5 MB of owners, the largest

T = TypeVar("T")
V = TypeVar("V")


class LogCache(ABC):
    """How many events each user has, who is who, and whose goal is whose, as of the last look at the log's end. Its
    look-ups are for questions that `ask` puts, which alone look."""

    def __init__(self, storage: Storage) -> None:
        self._log, self._sessions = storage.log, storage.sessions
        self.position = storage.log.head().position
        """The log's last position, as of the last look."""
        self._versions: dict[str, int] = {}
        self._users: dict[str, User] = {}
        self._tokens: dict[str, Token] = {}
        self._owners: dict[str, str] = {}

    @abstractmethod
    async def ask(self, question: Callable[[], T], deadline: Deadline, session: str | None = None) -> T:
        """Look at the log's end, and return what the question does then. `session`: the hash of the one that it will
        ask for. Raises what the question raises, StorageError, and Interrupted at the deadline."""

    @abstractmethod
    async def refresh(self, deadline: Deadline) -> int:
        """Look, whether or not somebody is known to have written. Returns the log's last position."""

    @abstractmethod
    def session(self, hash: str) -> Session | None:
        """The session whose token has this SHA-256."""

    @abstractmethod
    def generation(self) -> int:
        """Which rows readers see. Raises ProjectionBehind."""

    @abstractmethod
    def close(self) -> None:
        """End its thread, if it has one."""

    def version(self, user_id: str) -> int:
        """The version of a user's goals."""
        version = self._versions.get(user_id)
        if version is None:
            version = self._log.stream_head(goals_stream(user_id)).version
            _keep(self._versions, user_id, version)
        return version

    def user(self, name_or_id: str) -> User | None:
        """The user of this name or id."""
        user = self._users.get(name_or_id)
        if user is None:
            user_id = uuid_of(name_or_id)
            user = (self._log.user(user_id) if user_id else None) or self._log.user_named(name_or_id)
            if user is not None:
                _keep(self._users, name_or_id, user)
        return user

    def token(self, hash: str) -> Token | None:
        """The API token of this SHA-256."""
        token = self._tokens.get(hash)
        if token is None and (token := self._log.token(hash)) is not None:
            _keep(self._tokens, hash, token)
        return token

    def owner(self, goal_id: str) -> User | None:
        """The user whose goal this is or was: that never changes."""
        owner = self._owners.get(goal_id)
        if owner is None:
            owner = self._log.owner(goal_id)
            if owner is None:
                return None
            _keep(self._owners, goal_id, owner)
        return self.user(owner)

    def _absorb(self, lines: Sequence[Recorded]) -> None:
        """What was appended behind the last look."""
        for line in lines:
            if line.stream.startswith("account:"):
                self._forget_accounts()  # a user's name may be the new one's id, which comes first
            elif line.owner in self._versions:
                self._versions[line.owner] = line.version
            self.position = line.position

    def _jump(self) -> None:
        """Far behind: what is asked for is looked up anew."""
        self.position = self._log.head().position
        self._versions.clear()
        self._forget_accounts()

    def _forget_accounts(self) -> None:
        self._users.clear()
        self._tokens.clear()


class LocalCache(LogCache):
    """Of a log on this machine, which answers a question in µs: the event loop asks."""

    def __init__(self, storage: Storage, model: ReadModel) -> None:
        super().__init__(storage)
        self._live, self._model = storage.views.live, model
        self._counter: int | None = None
        self._known: dict[str, Session] = {}
        self._sessions_counter: int | None = None

    async def ask(self, question: Callable[[], T], deadline: Deadline, session: str | None = None) -> T:
        del deadline, session
        counter = self._log.change_counter()
        if counter is None or counter != self._counter:
            self._look()
            self._counter = counter
        return question()

    async def refresh(self, deadline: Deadline) -> int:
        del deadline
        self._look()
        return self.position

    def _look(self) -> None:
        lines = self._log.read(self.position, PAGE)
        if len(lines) == PAGE:
            self._jump()
        else:
            self._absorb(lines)

    def session(self, hash: str) -> Session | None:
        counter = self._sessions.change_counter()
        if counter is None or counter != self._sessions_counter or len(self._known) > CACHED:
            self._known.clear()
        self._sessions_counter = counter
        session = self._known.get(hash)
        if session is None and (session := self._sessions.session(hash)) is not None:
            self._known[hash] = session
        return session

    def generation(self) -> int:
        return _healthy(self._live(self._model))

    def close(self) -> None:
        pass


class RemoteCache(LogCache):
    """Of a log on another machine: one thread asks, once for all whose questions came while it asked for others. `lost`
    is called where the log is no longer the one that was seen, as after a standby took over that had not all."""

    def __init__(self, storage: Storage, model: ReadModel, lost: Callable[[], None]) -> None:
        super().__init__(storage)
        self._glance, self._model, self._lost = storage.glance, model, lost
        self._command: str | None = None
        self._generation: Generation | None = None
        self._seen: Mapping[str, Session] = {}
        self._thread = ThreadPoolExecutor(1, "asker")
        self._coalescer = Coalescer(self._look, self._thread)

    async def ask(self, question: Callable[[], T], deadline: Deadline, session: str | None = None) -> T:
        return await deadline.wait(self._coalescer.ask(question, session))

    async def refresh(self, deadline: Deadline) -> int:
        return await self.ask(lambda: self.position, deadline)

    def _look(self, hashes: Sequence[str]) -> None:
        """Raises StorageFailed where what was seen last is gone."""
        glance = self._glance(self.position, hashes, self._model)
        lines = glance.lines
        if self.position:
            if not lines or lines[0].command != (self._command or lines[0].command):
                self._lost()
                raise StorageFailed("the service restarts after the log lost events")
            self._command, lines = lines[0].command, lines[1:]
        if len(lines) >= BEHIND:
            self._jump()
            self._command = None
        else:
            self._absorb(lines)
            self._command = lines[-1].command if lines else self._command
        self._generation = glance.generation
        self._seen = glance.sessions

    def session(self, hash: str) -> Session | None:
        return self._seen.get(hash)

    def generation(self) -> int:
        assert self._generation is not None
        return _healthy(self._generation)

    def close(self) -> None:
        self._thread.shutdown()


def _healthy(generation: Generation) -> int:
    return generation.id if generation.error is None else healthy(generation).id


def _keep(known: dict[str, V], key: str, value: V) -> None:
    if len(known) >= CACHED:
        known.clear()
    known[key] = value
