"""What this process remembers of the log, so that a read asks the database nothing while nobody writes."""

from typing import TypeVar

from es_goals.events import goals_stream
from es_goals.storage import Log, User
from es_goals.users import UUID_FORM

PAGE = 1000
REMEMBERED = 20_000  # of each kind: about 5 MB of owners, the largest

V = TypeVar("V")


class Recent:
    """How many events each user has, who is who, and whose goal is whose. For one thread only."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._writes: int | None = None
        self._position = log.head().position
        self._versions: dict[str, int] = {}
        self._users: dict[str, User] = {}
        self._owners: dict[str, str] = {}

    def version(self, user_id: str) -> int:
        """The version of a user's goals, as of now."""
        self.follow()
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
        writes = self._log.writes()
        if writes is None or writes != self._writes:
            self.look()
            self._writes = writes

    def look(self) -> int:
        """The same, whether or not somebody is known to have written. Answers the log's last position."""
        lines = self._log.read(self._position, PAGE)
        if len(lines) == PAGE:
            # Far behind: what is asked for is looked up anew.
            self._position = self._log.head().position
            self._versions.clear()
            self._users.clear()
            return self._position
        for line in lines:
            if line.stream in self._versions:
                self._versions[line.stream] = line.version
            elif line.stream.startswith("account:"):
                self._users.clear()  # whose name may be the new user's id, which comes first
            self._position = line.position
        return self._position


def uuid_of(text: str) -> str | None:
    """The id as the log writes it; None if the text is none."""
    return text.lower() if UUID_FORM.fullmatch(text) else None


def _remember(known: dict[str, V], key: str, value: V) -> None:
    if len(known) >= REMEMBERED:
        known.clear()
    known[key] = value
