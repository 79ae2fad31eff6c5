"""A request, with what the edge knows of it before a handler runs."""

from typing import Literal

import falcon.asgi

from es_goals.accounts.caller import Caller
from es_goals.http.describe.operation import Operation
from es_goals.reads import Asker, Look
from es_goals.storage.deadlines import Deadline
from es_goals.storage.log import User


class Request(falcon.asgi.Request):
    """Falcon's, with members for what its `context` would keep without types; the edge sets them.

    `id`: in the answer and in logs; `started`: when, by `perf_counter`; `address`: the client's; `secure`: whether it
    came by TLS; `deadline`: until when it may wait for the storage; `caller`: who is signed in, if somebody is; `look`:
    what one look at the log showed; `owner`: the user whom the path names, or whose goal it names; `named_by_id`:
    whether it names the user by id; `operation`: what answers; `raw`: the body as it came; `dry_run`: whether it only
    asks what would happen, and `answer` in which form; `secret`: what signs it in; `by_cookie`: whether that came in a
    cookie.
    """

    __slots__ = (
        "address", "answer", "by_cookie", "caller", "deadline", "dry_run", "id", "look", "named_by_id", "operation",
        "owner", "raw", "secret", "secure", "started",
    )  # fmt: skip

    id: str
    started: float
    address: str
    secure: bool
    deadline: Deadline
    dry_run: bool
    answer: Literal["diff", "tree"] | None
    caller: Caller | None
    look: Look
    owner: User
    named_by_id: bool
    operation: Operation | None
    raw: bytes
    secret: str | None
    by_cookie: bool

    @property
    def asker(self) -> Asker:
        """Who waits for an answer, and until when."""
        return Asker(self.deadline, None if self.caller is None else self.caller.user.id)
