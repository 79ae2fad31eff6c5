"""Signing in with an OpenID Connect provider: the authorization code flow of OpenID Connect Core 1.0, with PKCE.

Who signs in is an issuer and a subject, never an address or a name, which providers hand on to somebody else. Whatever
the provider says is taken as a stranger's: bounded in size and time, decoded into types, and no redirect followed."""

import asyncio
import base64
import hashlib
import hmac
import math
import re
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import quote_plus

import httpx2
import msgspec
from joserfc import jwk, jws
from joserfc.errors import JoseError
from msgspec import Meta, Struct

from es_goals.settings import PREFIX, InvalidSetting, Settings

KEPT = 3600  # seconds that discovery and keys are kept
AGAIN = 60  # seconds between looks for keys that are not among those kept
PAUSE = 5  # seconds after a failure in which the provider is not asked again for what it tells everybody
LEEWAY = 60  # seconds that the provider's clock may differ from ours
LARGEST = 1024 * 1024  # bytes of an answer
LONGEST_CODE = 4096  # characters

HOST = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*\.?|[0-9a-f]*:[0-9a-f:.]*", re.ASCII)  # a name, or an address

# What may sign an ID token, and the type of its key. Nothing symmetric: a client's secret is no proof of who signed.
ALGORITHMS = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    **dict.fromkeys(("EdDSA", "Ed25519"), "OKP"),
}
# Errors of the token endpoint (RFC 6749, 5.2) that are about this client's settings, not about the code.
OUR_FAULTS = {"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}

T = TypeVar("T")


class ProviderFailed(Exception):
    """The provider cannot be reached, is too slow, answers what none may, or does not know this client. Its words hold
    no secret."""


class SignInRefused(Exception):
    """The provider refuses the code, or its ID token does not hold. Its words hold no secret."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """`url` is where the browser goes. The rest, each 32 random bytes in base64url, is for the caller to keep, bound to
    that browser and used once, until it comes back with a code, and a `state` that must be this one."""

    url: str = field(repr=False)
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signed in: `subject` (1 to 255 printable ASCII characters) is unique, and never given to another, at its
    `issuer`. `name` is what the provider calls them, if anything: a hint, neither unique nor checked."""

    issuer: str
    subject: str
    name: str | None


class _Discovered(Struct, frozen=True):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class _KeySet(Struct, frozen=True):
    keys: list[msgspec.Raw]


class _Key(Struct, frozen=True):
    """A public key, as far as it is handed to the library: never what would make it a private or a shared one."""

    kty: str
    kid: str | None = None
    use: str | None = None
    alg: str | None = None
    n: str | None = None
    e: str | None = None
    crv: str | None = None
    x: str | None = None
    y: str | None = None

    def fits(self, header: "_Header") -> bool:
        """Whether it may have signed what has this header."""
        return (
            self.kty == ALGORITHMS[header.alg]
            and self.use in (None, "sig")
            and self.alg in (None, header.alg)
            and header.kid in (None, self.kid)
            and (self.kty != "RSA" or len(self.n or "") >= 342)  # 2048 bits
        )

    def material(self) -> dict[str, str | list[str]]:
        """The numbers alone."""
        numbers = {"kty": self.kty, "n": self.n, "e": self.e, "crv": self.crv, "x": self.x, "y": self.y}
        return {name: number for name, number in numbers.items() if number is not None}


class _Header(Struct, frozen=True):
    alg: str
    kid: str | None = None
    crit: None = None  # nothing critical is understood


class _TokenAnswer(Struct, frozen=True):
    id_token: str


class _TokenError(Struct, frozen=True):
    error: str


class _Claims(Struct, frozen=True):
    iss: str
    sub: Annotated[str, Meta(pattern=r"\A[\x20-\x7e]{1,255}\Z")]
    aud: str | list[str]
    exp: float
    iat: float
    nbf: float = -math.inf
    nonce: str | None = None
    azp: str | None = None
    preferred_username: object = None
    name: object = None

    def called(self) -> str | None:
        """The name that people know, where there is one."""
        names = (self.preferred_username, self.name)
        return next((name for name in names if isinstance(name, str) and name.strip()), None)


class _Algorithms(jws.JWSRegistry):
    """Those that a key has fitted, without the library's warning of `EdDSA`, which providers still call so."""

    def get_alg(self, name: str) -> Any:
        return self.algorithms[name]


_TRUSTS_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # as made, it knows no authority
_JWS = _Algorithms(strict_check_header=False)


class _Kept(Generic[T]):
    """What the provider tells everybody: fetched by one for all who wait."""

    def __init__(self, fetch: Callable[[], Awaitable[T]], clock: Callable[[], float]) -> None:
        self._fetch, self._clock = fetch, clock
        self._lock = asyncio.Lock()
        self._value: T | None = None
        self._fetched = self._failed = -math.inf

    async def get(self, oldest: float) -> T:
        """Not older than this many seconds. Raises ProviderFailed."""
        if (value := self._known(oldest)) is not None:
            return value
        async with self._lock:
            if (value := self._known(oldest)) is not None:
                return value
            now = self._clock()
            if 0 <= now - self._failed < PAUSE:
                raise ProviderFailed("the provider failed a moment ago, and is not asked again yet")
            try:
                self._value = await self._fetch()
            except ProviderFailed:
                self._failed = now
                raise
            self._fetched = now
            return self._value

    def _known(self, oldest: float) -> T | None:
        return self._value if 0 <= self._clock() - self._fetched < oldest else None


class Provider:
    """One provider, and this service as its client. For one event loop.

    `issuer` is exactly what the provider calls itself; `secret` is None for a public client; `clock` tells seconds
    since 1970; `timeout` is seconds for the whole of `begin` and of `finish`, whatever they have to ask. Addresses are
    https, or http on loopback; the provider's are http only where the issuer's is. Raises ValueError where `issuer` or
    `redirect_uri` is neither."""

    def __init__(
        self,
        issuer: str,
        client_id: str,
        secret: str | None,
        redirect_uri: str,
        clock: Callable[[], float],
        timeout: float,
    ) -> None:
        place = _address(issuer, on_loopback=True)
        if place.query or not client_id:
            raise ValueError("has a query, or a client without an id")
        _address(redirect_uri, on_loopback=True)
        self._issuer, self._client_id, self._secret, self._redirect_uri = issuer, client_id, secret, redirect_uri
        self._clock, self._timeout = clock, timeout
        self._on_loopback = place.scheme == "http"
        self._tls = _TRUSTS_NOBODY if self._on_loopback else httpx2.create_ssl_context()
        self._discovery = _Kept(self._discover, clock)
        self._keys = _Kept(self._fetch_keys, clock)

    async def begin(self) -> Beginning:
        """Where to send a browser, and what to keep until it comes back. Raises ProviderFailed."""
        async with self._deadline():
            discovered = await self._discovery.get(KEPT)
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        asked = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect_uri,
            "scope": "openid profile",
            "state": state,
            "nonce": nonce,
            "code_challenge": _challenge(verifier),
            "code_challenge_method": "S256",
        }
        url = httpx2.URL(discovered.authorization_endpoint).copy_merge_params(asked)
        return Beginning(str(url), state, nonce, verifier)

    async def finish(self, code: str, nonce: str, verifier: str) -> Identity:
        """Who came back with this code; the caller has compared the state. Raises SignInRefused, ProviderFailed."""
        if not re.fullmatch(rf"[\x20-\x7e]{{1,{LONGEST_CODE}}}", code):
            raise SignInRefused("what came back is no code")
        async with self._deadline():
            token = await self._redeem(code, verifier)
            claims = await self._signed(token)
        self._check(claims, nonce)
        return Identity(claims.iss, claims.sub, claims.called())

    async def _discover(self) -> _Discovered:
        url = f"{self._issuer.removesuffix('/')}/.well-known/openid-configuration"
        discovered = _decoded(await self._get(url, "the discovery document"), _Discovered, "the discovery document")
        if discovered.issuer != self._issuer:
            raise ProviderFailed("the discovery document is another issuer's")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            try:
                _address(getattr(discovered, name), self._on_loopback)
            except ValueError as error:
                raise ProviderFailed(f"the provider's {name}: {error}") from None
        return discovered

    async def _fetch_keys(self) -> list[_Key]:
        url = (await self._discovery.get(KEPT)).jwks_uri
        found = _decoded(await self._get(url, "the key set"), _KeySet, "the key set").keys
        return [key for key in map(_key, found) if key is not None]

    async def _redeem(self, code: str, verifier: str) -> str:
        """The ID token for a code."""
        discovered = await self._discovery.get(KEPT)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": verifier,
        }
        headers = self._authenticate(discovered.token_endpoint_auth_methods_supported, form)
        status, body = await self._ask("POST", discovered.token_endpoint, "the token endpoint", form, headers)
        if status == 200:
            return _decoded(body, _TokenAnswer, "the token endpoint").id_token
        if status not in (400, 401, 403):
            raise ProviderFailed(f"the token endpoint answered {status}")
        error = _decoded(body, _TokenError, "the token endpoint").error
        if error in OUR_FAULTS:
            raise ProviderFailed(f"the provider does not take this client: {error}")
        raise SignInRefused("the provider refused the code")

    def _authenticate(self, methods: Sequence[str], form: dict[str, str]) -> dict[str, str]:
        """Headers that say who asks, or else more of the form."""
        if self._secret is None:
            form["client_id"] = self._client_id
            return {}
        if "client_secret_basic" in methods:
            pair = f"{quote_plus(self._client_id)}:{quote_plus(self._secret)}"
            return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        if "client_secret_post" in methods:
            form |= {"client_id": self._client_id, "client_secret": self._secret}
            return {}
        raise ProviderFailed("the provider takes a client's secret in no way that is known here")

    async def _signed(self, token: str) -> _Claims:
        """What the provider says under its signature. Keys that do not verify it may be old ones."""
        signature, header = _parsed(token)
        for oldest in (KEPT, AGAIN):
            if _verifies(signature, header, await self._keys.get(oldest)):
                try:
                    return msgspec.json.decode(signature.payload, type=_Claims)
                except (ValueError, RecursionError):
                    raise SignInRefused("the ID token lacks what it must say, or says it in another form") from None
        raise SignInRefused("no key of the provider verifies the ID token")

    def _check(self, claims: _Claims, nonce: str) -> None:
        """OpenID Connect Core, 3.1.3.7, as far as the signature is not all."""
        now = self._clock()
        audience = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        authorized = claims.azp == self._client_id or (claims.azp is None and len(audience) == 1)
        held = {
            "is another issuer's": claims.iss == self._issuer,
            "is for another client": self._client_id in audience and authorized,
            "has expired": now < claims.exp + LEEWAY,
            "is from the future": max(claims.iat, claims.nbf) <= now + LEEWAY,
            "answers another request": claims.nonce is not None
            and hmac.compare_digest(claims.nonce.encode(), nonce.encode()),
        }
        for fault, holds in held.items():
            if not holds:
                raise SignInRefused(f"the ID token {fault}")

    async def _get(self, url: str, what: str) -> bytes:
        status, body = await self._ask("GET", url, what, None, {})
        if status != 200:
            raise ProviderFailed(f"{what}: the provider answered {status}")
        return body

    async def _ask(
        self, method: str, url: str, what: str, form: dict[str, str] | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """Status and body. A client each: kept connections may be dead, when a code can be sent but once, and cookies
        are kept for nobody. What passes over loopback goes through no proxy that the environment names."""
        wanted = {**headers, "Accept": "application/json", "Accept-Encoding": "identity"}
        client = httpx2.AsyncClient(verify=self._tls, trust_env=not self._on_loopback, timeout=None)
        try:
            async with client, client.stream(method, url, data=form, headers=wanted) as answer:
                return answer.status_code, await _bounded(answer, what)
        except httpx2.ConnectError as error:
            # Nothing was sent yet, so its words hold no secret.
            raise ProviderFailed(f"{what}: cannot connect to the provider: {error}") from None
        except httpx2.HTTPError as error:
            raise ProviderFailed(f"{what}: the exchange broke off: {type(error).__name__}") from None

    @asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError:
            raise ProviderFailed(f"the provider took longer than {self._timeout:g} s") from None


def provider_of(settings: Settings, clock: Callable[[], int]) -> Provider:
    """The one that the settings name; `clock` tells µs. Raises InvalidSetting."""
    if not settings.url or not settings.oidc_client:
        raise InvalidSetting(f"expected {PREFIX}URL and {PREFIX}OIDC_CLIENT beside {PREFIX}OIDC_ISSUER; found none")
    back, secret = f"{settings.url}/v2/sessions/oidc/callback", settings.oidc_secret or None
    try:
        return Provider(
            settings.oidc_issuer, settings.oidc_client, secret, back, lambda: clock() / 1e6, settings.deadline
        )
    except ValueError as error:
        expected = f"{PREFIX}OIDC_ISSUER and {PREFIX}URL to be addresses"
        raise InvalidSetting(f"expected {expected}; found one that {error}") from error


def _challenge(verifier: str) -> str:
    """RFC 7636, S256."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _address(text: str, on_loopback: bool) -> httpx2.URL:
    """An address that secrets may be sent to. Raises ValueError."""
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL:
        raise ValueError("is no URL") from None
    if not (url.scheme == "https" or (url.scheme == "http" and on_loopback and _is_loopback(url.host))):
        raise ValueError("is neither https nor, as the issuer, http on loopback")
    if not HOST.fullmatch(url.raw_host.decode()) or not 0 < (url.port or 443) < 65536:
        raise ValueError("has no host, or no port, that can be")
    if url.userinfo or url.fragment:
        raise ValueError("has a user or a fragment")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


async def _bounded(answer: httpx2.Response, what: str) -> bytes:
    """The body as it came: a small one that unpacks to a large one is not unpacked."""
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise ProviderFailed(f"{what} is compressed, which was not asked for")
    body = bytearray()
    async for piece in answer.aiter_raw():
        body += piece
        if len(body) > LARGEST:
            raise ProviderFailed(f"{what} is larger than {LARGEST} bytes")
    return bytes(body)


def _decoded(body: bytes, type: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(body, type=type)
    except (ValueError, RecursionError):
        raise ProviderFailed(f"{what}: the provider's answer is not what the standard says") from None


def _key(found: msgspec.Raw) -> _Key | None:
    """None for one that is not understood, which is no fault of the set (RFC 7517, 5)."""
    try:
        return msgspec.json.decode(found, type=_Key)
    except (ValueError, RecursionError):
        return None


def _parsed(token: str) -> tuple[jws.CompactSignature, _Header]:
    """An ID token and its header, of which nothing is verified yet."""
    try:
        signature = jws.extract_compact(token.encode(), registry=_JWS)
        header = msgspec.convert(signature.headers(), _Header)
    except (JoseError, ValueError, TypeError, RecursionError):
        raise SignInRefused("the ID token is no signed token") from None
    if header.alg not in ALGORITHMS:
        raise SignInRefused("the ID token is signed in no way that is taken here")
    return signature, header


def _verifies(signature: jws.CompactSignature, header: _Header, keys: Sequence[_Key]) -> bool:
    """Whether the one key that fits does: where several do, the header would have to say which."""
    fitting = [key for key in keys if key.fits(header)]
    if len(fitting) != 1:
        return False
    try:
        return jws.validate_compact(signature, jwk.import_key(fitting[0].material()), registry=_JWS)
    except (JoseError, ValueError, KeyError):
        return False
