"""An OpenID Connect provider on loopback that can be told to misbehave, in one way at a time."""

import base64
import contextlib
import gzip
import hashlib
import hmac
import json
import secrets
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

from joserfc import jwk, jws

CLIENT, SECRET = "over:achiever", "s3cret: with/what+needs&escaping %é"
Form = dict[str, str]
Claims = dict[str, Any]


class Fault(Enum):
    """What the provider does wrong."""

    # in the ID token
    ANOTHER_ISSUER = auto()
    ANOTHER_AUDIENCE = auto()
    SEVERAL_AUDIENCES_WITHOUT_AZP = auto()
    ANOTHER_AZP = auto()
    EXPIRED = auto()
    FROM_THE_FUTURE = auto()
    NOT_VALID_YET = auto()
    ANOTHER_NONCE = auto()
    NO_NONCE = auto()
    NO_SUBJECT = auto()
    EMPTY_SUBJECT = auto()
    LONG_SUBJECT = auto()
    SUBJECT_WITH_NUL = auto()
    NUMBER_AS_SUBJECT = auto()
    NO_EXPIRY = auto()
    ENDLESS_EXPIRY = auto()
    CLAIMS_ARE_NO_OBJECT = auto()
    # in how it is signed
    ALG_NONE = auto()
    HS256_WITH_THE_PUBLIC_KEY = auto()
    HS256_WITH_THE_SECRET = auto()
    ANOTHERS_KEY = auto()
    KEY_THAT_IS_NOT_IN_THE_SET = auto()
    KEY_IN_THE_HEADER = auto()
    NO_KID_AND_TWO_KEYS = auto()
    KEY_FOR_ENCRYPTION = auto()
    KEY_FOR_ANOTHER_ALGORITHM = auto()
    CRITICAL_HEADER = auto()
    PAYLOAD_CHANGED = auto()
    NO_TOKEN_AT_ALL = auto()
    DEEP_HEADER = auto()
    # at the token endpoint
    CODE_REFUSED = auto()
    CLIENT_REFUSED = auto()
    ERROR_WITHOUT_WORDS = auto()
    BROKEN = auto()
    REDIRECT = auto()
    NEVER_ANSWERS = auto()
    DRIPS = auto()
    ENDLESS = auto()
    COMPRESSED = auto()
    GARBAGE = auto()
    DEEP_JSON = auto()
    NO_ID_TOKEN = auto()
    HANGS_UP = auto()
    # in the discovery document
    DISCOVERS_ANOTHER_ISSUER = auto()
    DISCOVERS_HTTP_ELSEWHERE = auto()
    DISCOVERS_HTTP_ON_LOOPBACK = auto()  # a fault of those who are elsewhere
    DISCOVERS_A_FILE = auto()
    DISCOVERS_NO_URL = auto()
    DISCOVERS_NO_HOST = auto()
    DISCOVERS_NO_PORT = auto()
    DISCOVERS_A_USER_IN_AN_ADDRESS = auto()
    DISCOVERS_GARBAGE = auto()
    DISCOVERS_NOTHING = auto()
    DISCOVERS_ELSEWHERE = auto()
    DISCOVERS_NO_WAY_FOR_THE_SECRET = auto()
    # in the key set
    KEYS_ARE_GARBAGE = auto()
    KEYS_ARE_MISSING = auto()


def base64url(data: bytes) -> str:
    """Without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def key_of(algorithm: str, kid: str) -> jwk.Key:
    """A new private key that signs so."""
    kinds: dict[str, tuple[str, str | int]] = {
        "ES256": ("EC", "P-256"), "ES384": ("EC", "P-384"), "ES512": ("EC", "P-521"),
        "EdDSA": ("OKP", "Ed25519"), "Ed25519": ("OKP", "Ed25519"),
    }  # fmt: skip
    kind, size = kinds.get(algorithm, ("RSA", 2048))
    return jwk.generate_key(kind, size, {"kid": kid, "use": "sig"})  # type: ignore[call-overload,no-any-return]


RSA = key_of("RS256", "rsa")  # the slowest to make: one for all


@dataclass
class MockProvider:
    """Made by `provider`. Everything but the issuer may be changed while it serves."""

    issuer: str
    clock: Callable[[], float]
    redirect_uri: str
    secret: str | None = SECRET
    methods: list[str] | None = None  # how it takes the secret; None: it does not say, and takes the default
    algorithm: str = "ES256"
    keys: list[jwk.Key] = field(default_factory=lambda: [key_of("ES256", "ec"), RSA])
    more_keys: list[object] = field(default_factory=list)  # what else stands in the key set, as it is
    claims: Claims = field(default_factory=lambda: {"sub": "248289761001", "preferred_username": "alice"})
    names_the_key: bool = True
    fault: Fault | None = None
    asked: list[str] = field(default_factory=list)  # the paths of the requests
    forms: list[Form] = field(default_factory=list)  # what the token endpoint was sent
    issued: list[str] = field(default_factory=list)  # ID tokens
    sent: int = 0  # bytes of an endless answer
    together: threading.Barrier | None = None  # who redeems a code waits for others who do
    closing: threading.Event = field(default_factory=threading.Event)
    codes: dict[str, Form] = field(default_factory=dict)  # what each code, not yet used, was asked for with

    def discovery(self) -> dict[str, Any]:
        """The discovery document."""
        found: dict[str, Any] = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize?prompt=login",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.algorithm],
        }
        if self.methods is not None:
            found["token_endpoint_auth_methods_supported"] = self.methods
        return found | DISCOVERED.get(self.fault, {})

    def authorize(self, query: Form) -> str:
        """Where the browser goes next: straight back with a code. Asserts that it was sent here as it should."""
        assert query["client_id"] == CLIENT
        assert query["redirect_uri"] == self.redirect_uri
        assert query["response_type"] == "code"
        assert "openid" in query["scope"].split()
        assert query["code_challenge_method"] == "S256"
        assert all(len(query[name]) == 43 for name in ("state", "nonce", "code_challenge"))
        assert query["prompt"] == "login"  # what the endpoint's own address said
        code = f"code-{secrets.token_hex(8)}"
        self.codes[code] = query
        return f"{self.redirect_uri}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, form: Form, authorization: str | None) -> tuple[int, dict[str, Any]]:
        """Status and answer of the token endpoint."""
        if not self.knows(form, authorization) or self.fault is Fault.CLIENT_REFUSED:
            return 401, {"error": "invalid_client"}
        begun = self.codes.pop(form["code"], None)
        challenge = base64url(hashlib.sha256(form["code_verifier"].encode()).digest())
        if (
            begun is None
            or begun["code_challenge"] != challenge
            or form["redirect_uri"] != begun["redirect_uri"]
            or form["grant_type"] != "authorization_code"
            or self.fault is Fault.CODE_REFUSED
        ):
            return 400, {"error": "invalid_grant", "error_description": f"{form}"}
        self.issued.append(self.id_token(begun["nonce"]))
        return 200, {"access_token": "a", "token_type": "Bearer", "expires_in": 60, "id_token": self.issued[-1]}

    def knows(self, form: Form, authorization: str | None) -> bool:
        """Whether the client said who it is, in the one way that is right."""
        if self.secret is None:
            return authorization is None and form["client_id"] == CLIENT and "client_secret" not in form
        if self.methods is None or "client_secret_basic" in self.methods:
            kind, _, pair = (authorization or "").partition(" ")
            told = tuple(map(unquote_plus, base64.b64decode(pair).decode().split(":")))
            return kind == "Basic" and told == (CLIENT, self.secret) and "client_secret" not in form
        return authorization is None and (form.get("client_id"), form.get("client_secret")) == (CLIENT, self.secret)

    def id_token(self, nonce: str) -> str:
        """A token, as the fault wants it."""
        now = self.clock()
        claims: Any = {"iss": self.issuer, "aud": CLIENT, "exp": now + 300, "iat": now, "nonce": nonce} | self.claims
        match self.fault:
            case Fault.NO_NONCE | Fault.NO_SUBJECT | Fault.NO_EXPIRY as lacking:
                del claims[{Fault.NO_NONCE: "nonce", Fault.NO_SUBJECT: "sub", Fault.NO_EXPIRY: "exp"}[lacking]]
            case Fault.EXPIRED:
                claims |= {"exp": now - 60}
            case Fault.FROM_THE_FUTURE:
                claims |= {"iat": now + 61}
            case Fault.NOT_VALID_YET:
                claims |= {"nbf": now + 61}
            case Fault.CLAIMS_ARE_NO_OBJECT:
                claims = [claims]
            case _:
                claims |= CLAIMED.get(self.fault, {})
        payload = json.dumps(claims)
        if self.fault is Fault.ENDLESS_EXPIRY:
            payload = payload.replace(json.dumps(claims["exp"]), "1e999")
        return self.signed(payload)

    def signed(self, payload: str) -> str:
        """The compact form, signed as the fault wants it."""
        key = next(key for key in self.keys if key.key_type == kind_of(self.algorithm))
        header: dict[str, Any] = {"alg": self.algorithm, "typ": "JWT", "x-unknown": "is ignored"}
        header |= {"kid": key.kid} if self.names_the_key else {}
        match self.fault:
            case Fault.ALG_NONE:
                return f"{segment({'alg': 'none'})}.{base64url(payload.encode())}."
            case Fault.HS256_WITH_THE_PUBLIC_KEY:
                assert isinstance(key, jwk.ECKey)
                return by_hmac({**header, "alg": "HS256"}, payload, key.as_pem())
            case Fault.HS256_WITH_THE_SECRET:
                return by_hmac({**header, "alg": "HS256"}, payload, SECRET.encode())
            case Fault.NO_TOKEN_AT_ALL:
                return "no.token"
            case Fault.DEEP_HEADER:
                return f"{base64url(b'[' * 380)}.{base64url(payload.encode())}.AAAA"
            case Fault.ANOTHERS_KEY:
                key = key_of(self.algorithm, "ec")
            case Fault.KEY_THAT_IS_NOT_IN_THE_SET:
                key = key_of(self.algorithm, "new")
                header |= {"kid": "new"}
            case Fault.KEY_IN_THE_HEADER:
                key = key_of(self.algorithm, "new")
                header |= {"jwk": key.as_dict(private=False)}
                del header["kid"], header["x-unknown"]
            case Fault.NO_KID_AND_TWO_KEYS:
                del header["kid"]
            case Fault.CRITICAL_HEADER:
                header |= {"crit": ["typ"]}
        signed = jws.serialize_compact(header, payload, key, registry=Anything(strict_check_header=False))
        if self.fault is Fault.PAYLOAD_CHANGED:
            head, _, signature = signed.split(".")
            return f"{head}.{base64url(payload.replace('alice', 'mallory').encode())}.{signature}"
        return signed

    def key_set(self) -> dict[str, Any]:
        """The public keys."""
        if self.fault is Fault.KEYS_ARE_GARBAGE:
            return {"keys": "none"}
        more = [key_of("ES256", "second")] if self.fault is Fault.NO_KID_AND_TWO_KEYS else []
        found = [dict(key.as_dict(private=False)) for key in self.keys + more]
        if self.fault is Fault.KEY_FOR_ENCRYPTION:
            found = [{**key, "use": "enc"} for key in found]
        if self.fault is Fault.KEY_FOR_ANOTHER_ALGORITHM:
            found = [{**key, "alg": "ES384"} for key in found]
        return {"keys": [*found, *self.more_keys]}


DISCOVERED: dict[Fault | None, dict[str, Any]] = {
    Fault.DISCOVERS_ANOTHER_ISSUER: {"issuer": "http://127.0.0.1:1"},
    Fault.DISCOVERS_HTTP_ELSEWHERE: {"token_endpoint": "http://192.0.2.1/token"},
    Fault.DISCOVERS_HTTP_ON_LOOPBACK: {"token_endpoint": "http://127.0.0.1:1/token"},
    Fault.DISCOVERS_A_FILE: {"jwks_uri": "file:///etc/passwd"},
    Fault.DISCOVERS_NO_URL: {"authorization_endpoint": "https://provider.example:port/authorize"},
    Fault.DISCOVERS_NO_HOST: {"jwks_uri": f"https://{'x' * 64}.example/keys"},
    Fault.DISCOVERS_NO_PORT: {"jwks_uri": "https://localhost:65536/keys"},
    Fault.DISCOVERS_A_USER_IN_AN_ADDRESS: {"token_endpoint": "https://user:password@provider.example/token"},
    Fault.DISCOVERS_NOTHING: {"token_endpoint": None},
    Fault.DISCOVERS_NO_WAY_FOR_THE_SECRET: {"token_endpoint_auth_methods_supported": ["private_key_jwt"]},
}
CLAIMED: dict[Fault | None, Claims] = {
    Fault.ANOTHER_ISSUER: {"iss": "http://127.0.0.1:1"},
    Fault.ANOTHER_AUDIENCE: {"aud": "another-client"},
    Fault.SEVERAL_AUDIENCES_WITHOUT_AZP: {"aud": [CLIENT, "another-client"]},
    Fault.ANOTHER_AZP: {"azp": "another-client"},
    Fault.ANOTHER_NONCE: {"nonce": "another"},
    Fault.EMPTY_SUBJECT: {"sub": ""},
    Fault.LONG_SUBJECT: {"sub": "x" * 256},
    Fault.SUBJECT_WITH_NUL: {"sub": "a\0b"},
    Fault.NUMBER_AS_SUBJECT: {"sub": 248289761001},
}


class Anything(jws.JWSRegistry):
    """Signs by every algorithm, without a warning of any."""

    def get_alg(self, name: str) -> Any:
        """The algorithm of this name."""
        return self.algorithms[name]


def kind_of(algorithm: str) -> str:
    """The type of key that signs so."""
    return {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}[algorithm[:2]]


def segment(value: object) -> str:
    """A part of a compact token."""
    return base64url(json.dumps(value).encode())


def by_hmac(header: dict[str, Any], payload: str, key: bytes) -> str:
    """A token signed by HS256."""
    told = f"{segment(header)}.{base64url(payload.encode())}"
    return f"{told}.{base64url(hmac.digest(key, told.encode(), 'sha256'))}"


class Handler(BaseHTTPRequestHandler):
    """Answers for the provider that its server holds."""

    server: "Server"

    def do_GET(self) -> None:
        """Discovery, keys, and where the browser goes."""
        mock, place = self.server.mock, urlsplit(self.path)
        mock.asked.append(place.path)
        match place.path.removeprefix(urlsplit(mock.issuer).path.removesuffix("/")):
            case "/.well-known/openid-configuration" if mock.fault is Fault.DISCOVERS_ELSEWHERE:
                self.answer(302, b"", Location=f"{mock.issuer}/keys")
            case "/.well-known/openid-configuration" if mock.fault is Fault.DISCOVERS_GARBAGE:
                self.answer(200, b"<html>Welcome</html>")
            case "/.well-known/openid-configuration":
                self.answer(200, json.dumps(mock.discovery()).encode())
            case "/keys" if mock.fault is not Fault.KEYS_ARE_MISSING:
                self.answer(200, json.dumps(mock.key_set()).encode())
            case "/authorize":
                self.answer(302, b"", Location=mock.authorize(only(place.query)))
            case _:
                self.answer(404, b"{}")

    def do_POST(self) -> None:
        """The token endpoint."""
        mock = self.server.mock
        mock.asked.append(self.path)
        form = only(self.rfile.read(int(self.headers["Content-Length"])).decode())
        mock.forms.append(form)
        if mock.together:
            mock.together.wait(10)
        match mock.fault:
            case Fault.REDIRECT:
                self.answer(307, b"", Location=f"{mock.issuer}/elsewhere")
            case Fault.BROKEN | Fault.ERROR_WITHOUT_WORDS as fault:
                self.answer(500 if fault is Fault.BROKEN else 400, str(form).encode())
            case Fault.GARBAGE | Fault.DEEP_JSON | Fault.NO_ID_TOKEN as fault:
                bodies = {Fault.GARBAGE: b"{", Fault.DEEP_JSON: b'{"x":' + b"[" * 100_000, Fault.NO_ID_TOKEN: b"{}"}
                self.answer(200, bodies[fault])
            case Fault.COMPRESSED:
                self.answer(200, b"\x1f\x8b", **{"Content-Encoding": "gzip"})
            case Fault.HANGS_UP:
                self.close_connection = True
            case Fault.NEVER_ANSWERS:
                mock.closing.wait()
            case Fault.DRIPS:
                self.pour(b" ", 0.01)
            case Fault.ENDLESS:
                self.pour(b" " * 65536, 0)
            case _:
                status, told = mock.token(form, self.headers["Authorization"])
                self.answer(status, json.dumps(told).encode())

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        """A whole answer, compressed for who takes that."""
        if body and "gzip" in self.headers.get("Accept-Encoding", ""):
            body, headers = gzip.compress(body), {**headers, "Content-Encoding": "gzip"}
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Set-Cookie": "who=knows", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def pour(self, piece: bytes, pause: float) -> None:
        """A gigabyte, unless somebody hangs up."""
        self.send_response(200)
        self.send_header("Content-Length", str(1 << 30))
        self.end_headers()
        mock = self.server.mock
        with contextlib.suppress(OSError):
            while mock.sent < 1 << 30 and not mock.closing.wait(pause):
                mock.sent += self.wfile.write(piece)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""


class Server(ThreadingHTTPServer):
    """A thread a connection."""

    daemon_threads = True
    block_on_close = False
    issuer: str
    mock: MockProvider


def only(query: str) -> Form:
    """A form in which each name comes once."""
    found = parse_qs(query, strict_parsing=True, keep_blank_values=True)
    assert all(len(values) == 1 for values in found.values()), found
    return {name: values[0] for name, values in found.items()}


@contextmanager
def serving(path: str = "", certificate: Path | None = None) -> Iterator[Server]:
    """A server for one provider after another; `path` is the issuer's, `certificate` holds its key too and is for
    localhost."""
    with Server(("127.0.0.1", 0), Handler) as server:
        server.issuer = f"http://127.0.0.1:{server.server_port}{path}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.issuer = f"https://localhost:{server.server_port}{path}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def provider(server: Server, clock: Callable[[], float], redirect_uri: str) -> Iterator[MockProvider]:
    """A new provider at a server, until the end of the block."""
    server.mock = MockProvider(server.issuer, clock, redirect_uri)
    try:
        yield server.mock
    finally:
        server.mock.closing.set()
