"""Large answers that clients have yet to read: bounded in bytes, and sent in pieces."""

from collections.abc import Awaitable, Callable
from typing import Any

from es_goals.http.problems import Refusal

LARGE = 262_144
"""Bytes of an answer that is sent in pieces; one piece of it waits at a time for each who reads."""

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]


class _Answer:
    def __init__(self, data: bytes, user: str | None) -> None:
        self.data, self.users = data, [user]


class Place:
    """What holds an answer's place; it is free once this is forgotten."""

    def __init__(self, free: Callable[[], None]) -> None:
        self._free = free

    def __del__(self) -> None:
        self._free()


class Unread:
    """At most `most` bytes of large answers at once, half of them of one user, or a single answer. Bytes that several
    read at once are there once, and count once, for each user who reads them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._answers: dict[int, _Answer] = {}  # by the identity of the bytes, which are held here

    def place(self, data: bytes, user: str | None) -> Place:
        """A place for an answer until it is read; `user`: the id of who asks, if somebody is signed in. Raises
        Refusal."""
        known = self._answers.get(id(data))
        if known is None or user not in known.users:
            self._expect_room(len(data), user, new=known is None)
        if known is None:
            self._answers[id(data)] = _Answer(data, user)
        else:
            known.users.append(user)
        return Place(lambda: self._free(id(data), user))

    def _expect_room(self, size: int, user: str | None, *, new: bool) -> None:
        waiting = list(self._answers.values())
        theirs = sum(len(one.data) for one in waiting if user in one.users)
        if theirs and user is not None and theirs + size > self._most // 2:
            detail = f"expected at most {self._most // 2} bytes of your answers to wait to be read; found more"
            raise Refusal("too-many-own-streams", detail)
        whole = sum(len(one.data) for one in waiting)
        if whole and new and whole + size > self._most:
            detail = f"expected at most {self._most} bytes of answers to wait to be read; found more"
            raise Refusal("too-many-streams", detail)

    def _free(self, key: int, user: str | None) -> None:
        answer = self._answers[key]
        answer.users.remove(user)
        if not answer.users:
            del self._answers[key]


def in_pieces(send: Send) -> Send:
    """Send a large body piece by piece, each when the client has taken the one before it: what is written at once is
    copied for each who reads."""

    async def sent(message: Message) -> None:
        body = message.get("body", b"")
        if len(body) < LARGE:
            await send(message)
            return
        for begin in range(0, len(body), LARGE):
            more = message.get("more_body", False) or begin + LARGE < len(body)
            await send({"type": message["type"], "body": body[begin : begin + LARGE], "more_body": more})

    return sent
