"""Signing in at an OpenID provider: there, and back with a session."""

import hmac
import secrets
from functools import partial
from typing import Annotated

from falcon.asgi import Response
from msgspec import Meta, Struct

from es_goals.accounts import changes
from es_goals.accounts.names import NAME_LENGTH, valid_user_name
from es_goals.accounts.provider import Identity, Provider, ProviderFailed, SignInRefused
from es_goals.http import answers, requests
from es_goals.http.accounts.sessions import SessionAnswer, answer, keep
from es_goals.http.accounts.signing import Signing, log_sign_in
from es_goals.http.describe.operation import UNSURE, operation
from es_goals.http.edge import cookies
from es_goals.http.exchange import Request
from es_goals.http.problems import Refusal
from es_goals.http.resource import Resource
from es_goals.settings import Settings
from es_goals.storage.errors import CredentialTaken, UserNameTaken
from es_goals.storage.log import Cause, Transaction, User
from es_goals.values import InvalidValue
from es_goals.worker import Worker

PATH = "/v2/sessions/oidc"
COOKIE = "es-goals-sign-in"
COOKIE_SECONDS = 600
_FOR_PAGE = ".page"
"""Behind what a browser is to come back with, where it comes from the page."""


class SignInQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """What for."""

    page: Annotated[bool, Meta(description="come back to the web page, signed in by a cookie")] = False


class ReturnQuery(Struct, frozen=True):
    """What a provider sends the browser back with; whatever else it sends means nothing here."""

    code: Annotated[str, Meta(description="what the provider tells for, once, who this is")] = ""
    state: Annotated[str, Meta(description="what the browser was sent there with")] = ""
    error: Annotated[str, Meta(description="in place of a code: why there is none")] = ""


class AtProvider(Resource):
    """A resource that a browser comes to on its way to a provider and back."""

    def __init__(self, worker: Worker, signing: Signing, provider: Provider) -> None:
        super().__init__(worker)
        self._signing, self._provider = signing, provider


class SignIn(AtProvider):
    """/v2/sessions/oidc"""

    @operation("Sign in at the OpenID provider", {302: None}, query=SignInQuery, needs="nobody",
               problems=("provider-failed",))  # fmt: skip
    async def on_get(self, req: Request, resp: Response) -> None:
        """Sends the browser there. What it must come back with is in its cookie: nobody else can bring it."""
        page = requests.query(req, SignInQuery).page
        if page:
            cookies.expect_private(req, self.settings)
        try:
            begun = await self._provider.begin()
        except ProviderFailed as error:
            raise Refusal("provider-failed", str(error)) from error
        _keep(
            self.settings,
            resp,
            f"{begun.state}.{begun.nonce}.{begun.verifier}{_FOR_PAGE if page else ''}",
            COOKIE_SECONDS,
        )
        answers.secret(resp)
        resp.set_header("Location", begun.url)
        resp.status = "302 Found"


class Return(AtProvider):
    """/v2/sessions/oidc/callback"""

    @operation("Come back from the OpenID provider", {200: SessionAnswer, 302: None}, query=ReturnQuery, needs="nobody",
               problems=("sign-in-refused", "not-linked", "user-name-taken", "provider-failed", *UNSURE))  # fmt: skip
    async def on_get(self, req: Request, resp: Response) -> None:
        """With a code, which is good once, as the cookie is. To the web page, where one came from there."""
        _keep(self.settings, resp, "", -1)  # gone; Falcon would leave a 0 out
        try:
            begun, for_page = _kept(self.settings, req)
            user = await self._user(req, await self._finished(req, *begun))
        except Refusal as refusal:
            log_sign_in(req, "failed" if refusal.slug == "provider-failed" else "refused", None)
            raise
        signed_in = await self._signing.begin(req, user)
        if for_page:
            keep(req, resp, self.settings, signed_in)
            resp.set_header("Location", "/")
            resp.status = "302 Found"
        else:
            answer(resp, signed_in)

    async def _finished(self, req: Request, state: str, nonce: str, verifier: str) -> Identity:
        given = requests.query(req, ReturnQuery)
        if not hmac.compare_digest(given.state.encode(), state.encode()):
            raise Refusal("sign-in-refused", "expected the state that this browser was sent away with; found another")
        if not given.code:
            raise Refusal("sign-in-refused", f"expected a code; found the error {given.error[:100]!r}")
        try:
            return await self._provider.finish(given.code, nonce, verifier)
        except SignInRefused as error:
            raise Refusal("sign-in-refused", str(error)) from error
        except ProviderFailed as error:
            raise Refusal("provider-failed", str(error)) from error

    async def _user(self, req: Request, identity: Identity) -> User:
        log = self.reads.log
        known = changes.identity_of(identity.issuer, identity.subject)
        linked = await self.reads.in_thread(lambda: log.identity(known), req.asker)
        if linked is None and self.settings.registration == "open":
            return await self._registered(req, identity, known)
        user = await self.reads.in_thread(lambda: log.user(linked.user_id), req.asker) if linked else None
        if user is None:
            detail = f"expected an account linked to subject {identity.subject!r} of {identity.issuer}; found none"
            raise Refusal("not-linked", detail)
        if user.disabled_at is not None:
            raise Refusal("sign-in-refused", "expected a user who may sign in; found one who is disabled")
        return user

    async def _registered(self, req: Request, identity: Identity, known: str) -> User:
        """A new user, called as at the provider where nobody is called so here."""
        for name in _names(identity.name):
            user = User(self.worker.new_id(), name, None, 0)
            try:
                work = partial(_register, user=user, identity=known)
                return await self.change(req, work)
            except UserNameTaken:
                continue
            except CredentialTaken:  # by another tab of the same person
                return await self._user(req, identity)
        raise Refusal("user-name-taken", f"expected a free name like {name!r}; found none")


def _register(transaction: Transaction, cause: Cause, user: User, identity: str) -> User:
    return changes.register(transaction, user, cause, identity=identity)[0]


def _names(hint: str | None) -> tuple[str, ...]:
    """What a new user may be called: as the hint says, or nearly so, or at last as nobody else can be."""
    numbers = ("", " 2", " 3", f" {secrets.token_hex(4)}")
    try:
        name = valid_user_name((hint or "")[: NAME_LENGTH - len(numbers[-1])])
    except InvalidValue:
        name = "somebody"
    return tuple(name + number for number in numbers)


def _keep(settings: Settings, resp: Response, value: str, seconds: int) -> None:
    name, path = _cookie(settings)
    secure = path == "/"
    resp.set_cookie(name, value, max_age=seconds, path=path, secure=secure, http_only=True, same_site="Lax")


def _cookie(settings: Settings) -> tuple[str, str]:
    """Its name and path. With TLS the name keeps neighbours in the same domain from bringing one of their own."""
    return (f"__Host-{COOKIE}", "/") if settings.url.startswith("https:") else (COOKIE, PATH)


def _kept(settings: Settings, req: Request) -> tuple[list[str], bool]:
    cookie = req.cookies.get(_cookie(settings)[0], "")
    parts = cookie.removesuffix(_FOR_PAGE).split(".")
    if len(parts) != 3 or not all(parts):
        raise Refusal(
            "sign-in-refused", f"expected the cookie that {PATH} set; found none, so sign in again from there"
        )
    return parts, cookie.endswith(_FOR_PAGE)
