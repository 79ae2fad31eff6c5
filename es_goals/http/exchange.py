"""A request, with what the edge knows of it before a handler runs."""

from collections.abc import Callable

import falcon.asgi

from es_goals.accounts.caller import Caller
from es_goals.http.describe.operation import Operation
from es_goals.reads import Asker, Look
from es_goals.storage.deadlines import NEVER, Deadline
from es_goals.storage.log import User

NOBODY = Look()


class Request(falcon.asgi.Request):
    """Falcon's, with members for what its `context` would keep without types.

    `id`: told in the answer and in logs; `started`: when, by `perf_counter`; `address`: the client's; `secure`: whether
    it came by TLS; `deadline`: until when it may wait for the storage; `look`: who is asking, and whose data the path
    names; `named_by_id`: whether it names the user by id; `operation`: what
    answers; `charge`: counts more requests for the caller, where they are counted; `raw`: the
    body as it came.
    """

    __slots__ = ("address", "charge", "deadline", "id", "look", "named_by_id", "operation", "raw", "secure", "started")

    id: str
    started: float
    address: str
    secure: bool
    deadline: Deadline
    look: Look
    operation: Operation | None
    charge: Callable[[float], None] | None
    raw: bytes
    named_by_id: bool

    @property
    def caller(self) -> Caller | None:
        """Who is signed in; None where nobody is."""
        return self.look.caller

    @property
    def owner(self) -> User:
        """The user whom the path names, or whose goal it names; the edge refuses where there is none."""
        assert self.look.owner is not None
        return self.look.owner

    @property
    def asker(self) -> Asker:
        """Who waits for an answer, and until when."""
        caller = self.look.caller
        return Asker(self.deadline, None if caller is None else caller.user.id)


def begin(req: Request) -> None:
    """What is so before anything is known."""
    req.look, req.named_by_id, req.operation, req.charge = NOBODY, False, None, None
    req.raw, req.deadline = b"", NEVER
