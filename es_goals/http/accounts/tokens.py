"""API tokens."""

from datetime import datetime
from functools import partial
from typing import Annotated, cast

from falcon.asgi import Response
from msgspec import Meta, Struct, structs

from es_goals.accounts import changes
from es_goals.accounts.caller import TOKEN, Caller, Scope, fingerprint, new_secret
from es_goals.accounts.changes import NoSuchToken
from es_goals.accounts.names import valid_token_name
from es_goals.events import micros, moment
from es_goals.goals.commands import LimitReached
from es_goals.http import answers, requests
from es_goals.http.accounts.signing import caller_of
from es_goals.http.describe.operation import UNSURE, operation
from es_goals.http.exchange import Request
from es_goals.http.resource import Resource
from es_goals.ids import uuid_of
from es_goals.storage.log import Cause, Token, Transaction, User, all_tokens
from es_goals.values import InvalidValue

MOST_TOKENS = 100
"""Of one user, that are good."""


class NewToken(Struct, forbid_unknown_fields=True):
    """A token to make, good until a time, or as long as the service's settings say."""

    name: Annotated[str, Meta(min_length=1, description="what it is for: 1 to 100 characters")]
    scope: Scope
    expires_at: requests.Time | None = None
    reason: str | None = None


class TokenAnswer(Struct, frozen=True):
    """A token, as far as it is told later. `last_used_at` is kept to the minute."""

    id: str
    name: str
    scope: Scope
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


class IssuedToken(TokenAnswer, frozen=True, kw_only=True):
    """And this once, itself."""

    token: str


class TokenPage(Struct, frozen=True):
    """Some of the tokens; `next` is where the rest is."""

    tokens: list[TokenAnswer]
    next: str | None


class TokensQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose tokens, and which page of them."""

    user: Annotated[str, Meta(description="a user's name or id; one's own where there is none")] | None = None
    limit: requests.Limit = 100
    cursor: str = ""


class Tokens(Resource):
    """/v2/tokens"""

    @operation("API tokens", {200: TokenPage}, query=TokensQuery, problems=("user-not-found", "no-accounts"))
    async def on_get(self, req: Request, resp: Response) -> None:
        """Those that are not revoked, in the order in which they were made."""
        caller = caller_of(req)
        query = requests.query(req, TokensQuery)
        user = caller.user if query.user is None else await self.user_named(req, query.user)
        limit = requests.page_size(req, query.limit, self.settings.page_limit)
        after = requests.cursor(query.cursor)
        tokens, more = await self.reads.in_thread(lambda: self._page(user, after, limit), req.asker)
        answers.next_page(resp, more)
        answers.json(resp, TokenPage(tokens, more))
        answers.secret(resp)

    def _page(self, user: User, cursor: str, limit: int) -> tuple[list[TokenAnswer], str | None]:
        found = self.reads.log.tokens(user.id, cursor, limit + 1)
        page, more = found[:limit], None
        if len(found) > limit:
            more = f"/v2/tokens?user={user.id}&cursor={page[-1].id}&limit={limit}"
        used = self.worker.storage.sessions.used
        return [_shown(token, used(token.id)) for token in page if token.revoked_at is None], more

    @operation("Make an API token", {201: IssuedToken}, body=NewToken, needs="credentials",
               example={"name": "backup script", "scope": "read"},
               problems=("no-accounts", *UNSURE))  # fmt: skip
    async def on_post(self, req: Request, resp: Response) -> None:
        """It is told this once, and kept as its SHA-256."""
        caller = caller_of(req)
        new = await requests.body(req, NewToken)
        secret = new_secret(TOKEN)
        name, ends = valid_token_name(new.name), self._end(new.expires_at, caller)
        token = Token(self.worker.new_id(), caller.user.id, name, new.scope, fingerprint(secret), 0, ends)
        made, position = await self.change(req, partial(_issue, token), new.reason)
        answers.created(resp, f"/v2/tokens/{made.id}")
        answers.recorded(resp, position)
        answers.json(resp, IssuedToken(*structs.astuple(_shown(made, None)), token=secret))
        answers.secret(resp)

    def _end(self, given: datetime | None, caller: Caller) -> int:
        """A token that makes another one ends with it at the latest. Raises InvalidValue."""
        now = self.worker.clock()
        most = now + self.settings.token_longest * 1_000_000
        if not caller.session:
            most = min(most, caller.expires_at)
        if given is None:
            return min(now + self.settings.token_lifetime * 1_000_000, most)
        try:
            ends = micros(given)
            moment(ends)  # in UTC it may be a year too far
        except OverflowError:
            ends = 0
        if ends <= now:
            raise InvalidValue("expires_at", "a time to come, in UTC up to the year 9999", given.isoformat())
        if ends > most:
            raise InvalidValue("expires_at", f"a time up to {moment(most).isoformat()}", given.isoformat())
        return ends


class OneToken(Resource):
    """/v2/tokens/{token_id}"""

    @operation("An API token", {200: TokenAnswer}, problems=("token-not-found", "no-accounts"))
    async def on_get(self, req: Request, resp: Response, token_id: str) -> None:
        """As the list of tokens has it, unless it is revoked."""
        requests.query(req, requests.NoQuery)
        caller = caller_of(req)
        token = await self._token(req, token_id)
        if token is None or token.revoked_at is not None or not caller.may_see(token.user_id):
            raise _no_such_token(token_id)
        used = await self.reads.in_thread(lambda: self.worker.storage.sessions.used(token.id), req.asker)
        answers.json(resp, _shown(token, used))
        answers.secret(resp)

    @operation("Revoke an API token", {204: None}, needs="credentials",
               problems=("token-not-found", "no-accounts", *UNSURE))  # fmt: skip
    async def on_delete(self, req: Request, resp: Response, token_id: str) -> None:
        """One's own, or as an administrator anybody's."""
        requests.query(req, requests.NoQuery)
        caller = caller_of(req)
        token = await self._token(req, token_id)
        if token is None or (token.user_id != caller.user.id and caller.user.role != "administrator"):
            raise _no_such_token(token_id)
        position = await self.change(req, lambda transaction, cause: changes.revoke(transaction, token, cause))
        answers.recorded(resp, position)
        answers.secret(resp)
        answers.nothing(resp)

    async def _token(self, req: Request, token_id: str) -> Token | None:
        known = uuid_of(token_id)
        return await self.reads.in_thread(lambda: self.reads.log.token_of(known), req.asker) if known else None


def _issue(token: Token, transaction: Transaction, cause: Cause) -> tuple[Token, int]:
    """Raises LimitReached."""
    there = all_tokens(transaction, token.user_id)
    good = sum(one.revoked_at is None and one.expires_at > transaction.at for one in there)
    if good >= MOST_TOKENS:
        raise LimitReached(f"{MOST_TOKENS} good tokens of one user; revoke some", good + 1)
    return changes.issue(transaction, token, cause)


def _no_such_token(token_id: str) -> NoSuchToken:
    return NoSuchToken(f"expected the id of a token; found {token_id[:100]!r}")


def _shown(token: Token, used: int | None) -> TokenAnswer:
    scope = cast(Scope, token.scope)
    times = (moment(token.created_at), moment(token.expires_at), None if used is None else moment(used))
    return TokenAnswer(token.id, token.name, scope, *times)
