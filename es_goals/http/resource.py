"""What the resources of the API share: the worker behind them, and how they change something."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NoReturn, TypeVar

from msgspec import UNSET, structs

from es_goals.deciding import Decider
from es_goals.deciding import Request as Commands
from es_goals.goals.commands import Command, GoalNotFound, Undo
from es_goals.http import requests
from es_goals.http.exchange import Request
from es_goals.http.problems import Refusal
from es_goals.ids import uuid_of
from es_goals.reads.history import BeyondHead
from es_goals.reads.whatif.tried import Tried
from es_goals.service import Outcome
from es_goals.storage.log import Cause, Transaction, User
from es_goals.worker import Worker

T = TypeVar("T")


class Resource:
    """What answers at one path."""

    def __init__(self, worker: Worker) -> None:
        self.worker, self.reads, self.settings = worker, worker.reads, worker.settings

    async def command(
        self,
        req: Request,
        owner: User,
        commands: Sequence[Command | Undo],
        goal_id: str | None = None,
        reason: str | None = None,
        *,
        batch: bool = False,
        shown: bool = True,
        decider: Decider | None = None,
    ) -> Outcome:
        """Execute a request's commands, or try them. `goal_id`: the one whose revision If-Match names; None: it names
        the version of all the user's goals, or what the `decider` says."""
        await self.expect_still_in(req)
        cause = requests.cause(req, self.worker.new_id(), reason)
        key, digest = requests.idempotency(req, cause.reason, req.raw)
        expected = None if decider is not None else requests.expected(req, goal_id)
        asked = Commands(owner.id, commands, cause, key, digest, expected, batch, shown, decider)
        if req.dry_run:
            tried = await self.worker.service.dry_run(asked, self.worker.clock(), req.deadline)
            return tried if req.answer is None else await self._told(req, owner, tried, req.answer)
        return await self.worker.service.execute(asked, req.deadline)

    async def _told(self, req: Request, owner: User, tried: Outcome, form: Literal["diff", "tree"]) -> Outcome:
        events = Tried(owner, tried.version, tried.position, tried.end, tried.tried or ())
        make = events.diff if form == "diff" else events.tree
        return structs.replace(tried, instead=await self.reads.of_log(tried.position, make, req.asker))

    async def change(self, req: Request, work: Callable[[Transaction, Cause], T], reason: str | None = None) -> T:
        """Do what changes an account, in a transaction; what it raises is raised."""
        await self.expect_still_in(req)
        cause = requests.cause(req, self.worker.new_id(), reason)
        return await self.worker.service.change(partial(_caused, work, cause), req.deadline, cause.actor)

    async def user_named(self, req: Request, name_or_id: str) -> User:
        """A user whom a query names, if the caller may see that one. Raises Refusal."""
        return seen(req, await self.reads.user(name_or_id, req.deadline)) or no_such_user(name_or_id)

    async def goal_named(self, req: Request, goal_id: str, user: User | None = None) -> str:
        """The id of a goal that a query names, as it is written in the log, if the caller may see its owner; that is to
        be `user`, if one is given. Raises GoalNotFound."""
        known = uuid_of(goal_id)
        owner = None if known is None else seen(req, await self.reads.owner(known, req.deadline))
        if known is None or owner is None or (user is not None and owner.id != user.id):
            raise GoalNotFound(goal_id[:100])
        return known

    async def span(self, req: Request, query: requests.PageQuery) -> int | None:
        """Before which position a page ends, if before any; and where it begins is a position of the log too. Raises
        Refusal."""
        latest = query.order == "desc"
        if latest and query.after:
            raise Refusal("invalid-value", "expected `before` with order=desc; found `after`", parameter="after")
        await self.expect_reached(req, query.after, "after")
        if query.before is UNSET:
            return None
        if not latest:
            raise Refusal("invalid-value", "expected `before` with order=desc; found it without", parameter="before")
        await self.expect_reached(req, query.before - 1, "before")
        return query.before

    async def expect_reached(self, req: Request, position: int, parameter: str) -> None:
        """Raises Refusal: what was recorded up to such a position would be missed."""
        try:
            await self.reads.expect_reached(position, req.asker)
        except BeyondHead as error:
            raise Refusal("invalid-value", str(error), parameter=parameter) from None

    async def expect_still_in(self, req: Request) -> None:
        """Who was let in may have been thrown out since, while the body was on its way. Raises Refusal."""
        if req.caller is None:
            return
        if not await self.reads.still_authenticated(req.secret or "", req.deadline):
            raise Refusal("unauthenticated", "expected a token that is good; found one that ended meanwhile")


def seen(req: Request, user: User | None) -> User | None:
    """The user, if the caller may see that one."""
    if user is None or req.caller is None or req.caller.may_see(user.id):
        return user
    return None


def no_such_user(name_or_id: str) -> NoReturn:
    """Raises Refusal."""
    raise Refusal("user-not-found", f"expected a user's name or id; found {name_or_id[:100]!r}")


def _caused(work: Callable[[Transaction, Cause], T], cause: Cause, transaction: Transaction) -> T:
    return work(transaction, cause)
