"""Signing in with an OpenID Connect provider: what holds, and everything that does not."""

import asyncio
import base64
import hashlib
import ssl
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from joserfc.jwk import RSAKey

from es_goals.accounts.provider import LARGEST, Beginning, Identity, Provider, ProviderFailed, SignInRefused
from tests.support.provider import CLIENT, RSA, SECRET, Fault, MockProvider, Server, key_of, provider, serving
from tests.support.serving import free_port

TRUSTS_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
REDIRECT = "http://127.0.0.1:8000/v2/sessions/oidc/callback"


class Clock:
    """Seconds, which pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def mock(server: Server, clock: Clock) -> Iterator[MockProvider]:
    with provider(server, clock, REDIRECT) as mock:
        yield mock


def client_of(mock: MockProvider, timeout: float = 10) -> Provider:
    return Provider(mock.issuer, CLIENT, mock.secret, REDIRECT, mock.clock, timeout)


def browse(beginning: Beginning) -> str:
    """The code with which the provider sends the browser back."""
    tls = httpx2.create_ssl_context() if beginning.url.startswith("https") else TRUSTS_NOBODY
    with httpx2.Client(verify=tls, trust_env=False) as browser:
        answer = browser.get(beginning.url)
    back = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert (answer.status_code, back["state"]) == (302, [beginning.state])
    return back["code"][0]


async def signing_in(client: Provider) -> Identity:
    beginning = await client.begin()
    return await client.finish(browse(beginning), beginning.nonce, beginning.verifier)


def sign_in(client: Provider) -> Identity:
    return asyncio.run(signing_in(client))


def begin(client: Provider) -> Beginning:
    return asyncio.run(client.begin())


def test_who_signs_in_is_an_issuer_and_a_subject(mock: MockProvider) -> None:
    assert sign_in(client_of(mock)) == Identity(mock.issuer, "248289761001", "alice")


def test_the_browser_is_sent_to_the_provider_with_a_challenge_and_without_the_verifier(mock: MockProvider) -> None:
    beginning = begin(client_of(mock))
    query = {name: values[0] for name, values in parse_qs(urlsplit(beginning.url).query).items()}

    digest = hashlib.sha256(beginning.verifier.encode()).digest()
    assert beginning.url.startswith(f"{mock.issuer}/authorize?")
    assert query == {
        "prompt": "login",
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": REDIRECT,
        "scope": "openid profile",
        "state": beginning.state,
        "nonce": beginning.nonce,
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
    }


def test_every_beginning_is_its_own(mock: MockProvider) -> None:
    client = client_of(mock)

    async def twice() -> list[Beginning]:
        return [await client.begin(), await client.begin()]

    secrets = [secret for one in asyncio.run(twice()) for secret in (one.state, one.nonce, one.verifier)]

    assert len(set(secrets)) == 6
    assert [len(base64.urlsafe_b64decode(secret + "=")) for secret in secrets] == [32] * 6


def test_a_beginning_shown_tells_no_secret(mock: MockProvider) -> None:
    assert repr(begin(client_of(mock))) == "Beginning()"


@pytest.mark.parametrize(
    "algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
)
def test_every_asymmetric_algorithm_is_taken(mock: MockProvider, algorithm: str) -> None:
    mock.algorithm = algorithm
    mock.keys = [RSA if algorithm[1:2] == "S" and algorithm[0] != "E" else key_of(algorithm, "its")]

    assert sign_in(client_of(mock)).subject == "248289761001"


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_a_key_needs_no_name_where_only_one_fits(mock: MockProvider, algorithm: str) -> None:
    mock.algorithm, mock.names_the_key = algorithm, False

    assert sign_in(client_of(mock)).subject == "248289761001"


def test_a_token_names_its_key_where_several_fit(mock: MockProvider) -> None:
    mock.keys = [key_of("ES256", "this"), key_of("ES256", "that")]

    assert sign_in(client_of(mock)).subject == "248289761001"


def test_keys_that_nobody_understands_do_no_harm(mock: MockProvider) -> None:
    mock.more_keys = [
        {},
        5,
        {"kty": 5},
        {"kty": "AKP", "kid": "ec"},
        {"kty": "oct", "k": "AAAA"},
        {"kty": "EC", "n": 1},
    ]

    assert sign_in(client_of(mock)).subject == "248289761001"


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "EC"},
        {"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "P-256", "x": "", "y": "="},
        {"kty": "EC", "crv": "P-384", "x": "é", "y": "AA"},
    ],
)
def test_a_key_that_is_none_verifies_nothing(mock: MockProvider, key: dict[str, str]) -> None:
    mock.more_keys, mock.keys = [{**key, "kid": "hidden"}], [key_of("ES256", "hidden")]
    mock.fault = Fault.KEY_FOR_ENCRYPTION  # those that the mock knows

    with pytest.raises(SignInRefused):
        sign_in(client_of(mock))


def test_a_short_rsa_key_verifies_nothing(mock: MockProvider) -> None:
    raw = rsa.generate_private_key(65537, 1024)  # noqa: S505
    mock.algorithm, mock.keys = "RS256", [RSAKey(raw, raw, {"kid": "short"})]

    with pytest.raises(SignInRefused, match="no key"):
        sign_in(client_of(mock))


@pytest.mark.parametrize(
    ("secret", "methods"),
    [
        (SECRET, None),
        (SECRET, ["client_secret_post", "client_secret_basic"]),
        (SECRET, ["private_key_jwt", "client_secret_post"]),
        (None, ["none"]),
        (None, None),
    ],
)
def test_the_client_says_who_it_is_as_the_provider_wants_it(
    mock: MockProvider, secret: str | None, methods: list[str] | None
) -> None:
    mock.secret, mock.methods = secret, methods

    assert sign_in(client_of(mock)).subject == "248289761001"


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"preferred_username": "alice", "name": "Alice A."}, "alice"),
        ({"preferred_username": None, "name": "Alice A."}, "Alice A."),
        ({"preferred_username": " ", "name": "Alice A."}, "Alice A."),
        ({"preferred_username": 5, "name": ["Alice"]}, None),
        ({"email": "alice@example.org"}, None),
    ],
)
def test_a_name_is_a_hint(mock: MockProvider, claims: dict[str, Any], name: str | None) -> None:
    mock.claims = {"sub": "x" * 255, **claims}

    assert sign_in(client_of(mock)) == Identity(mock.issuer, "x" * 255, name)


@pytest.mark.parametrize(
    "claims",
    [{"aud": [CLIENT]}, {"azp": CLIENT}, {"aud": ["another", CLIENT], "azp": CLIENT}, {"aud": [CLIENT], "azp": None}],
)
def test_a_token_may_be_for_several_where_it_was_asked_for_by_this_client(
    mock: MockProvider, claims: dict[str, Any]
) -> None:
    mock.claims |= claims

    assert sign_in(client_of(mock)).subject == "248289761001"


def test_clocks_may_differ_by_a_minute(mock: MockProvider, clock: Clock) -> None:
    mock.claims |= {"exp": clock.now - 59, "iat": clock.now + 60, "nbf": clock.now + 60}

    assert sign_in(client_of(mock)).subject == "248289761001"


@pytest.mark.parametrize("path", ["/realms/goals", "/realms/goals/"])
def test_an_issuer_may_have_a_path(clock: Clock, path: str) -> None:
    with serving(path) as server, provider(server, clock, REDIRECT) as mock:
        begin(client_of(mock))

        assert mock.asked == ["/realms/goals/.well-known/openid-configuration"]


IN_THE_TOKEN = {
    Fault.ANOTHER_ISSUER: "is another issuer's",
    Fault.ANOTHER_AUDIENCE: "is for another client",
    Fault.SEVERAL_AUDIENCES_WITHOUT_AZP: "is for another client",
    Fault.ANOTHER_AZP: "is for another client",
    Fault.EXPIRED: "has expired",
    Fault.FROM_THE_FUTURE: "is from the future",
    Fault.NOT_VALID_YET: "is from the future",
    Fault.ANOTHER_NONCE: "answers another request",
    Fault.NO_NONCE: "answers another request",
    Fault.NO_SUBJECT: "lacks what it must say",
    Fault.EMPTY_SUBJECT: "lacks what it must say",
    Fault.LONG_SUBJECT: "lacks what it must say",
    Fault.SUBJECT_WITH_NUL: "lacks what it must say",
    Fault.NUMBER_AS_SUBJECT: "lacks what it must say",
    Fault.NO_EXPIRY: "lacks what it must say",
    Fault.ENDLESS_EXPIRY: "lacks what it must say",
    Fault.CLAIMS_ARE_NO_OBJECT: "lacks what it must say",
    Fault.ALG_NONE: "in no way that is taken",
    Fault.HS256_WITH_THE_PUBLIC_KEY: "in no way that is taken",
    Fault.HS256_WITH_THE_SECRET: "in no way that is taken",
    Fault.ANOTHERS_KEY: "no key",
    Fault.KEY_THAT_IS_NOT_IN_THE_SET: "no key",
    Fault.KEY_IN_THE_HEADER: "no key",
    Fault.NO_KID_AND_TWO_KEYS: "no key",
    Fault.KEY_FOR_ENCRYPTION: "no key",
    Fault.KEY_FOR_ANOTHER_ALGORITHM: "no key",
    Fault.PAYLOAD_CHANGED: "no key",
    Fault.CRITICAL_HEADER: "no signed token",
    Fault.NO_TOKEN_AT_ALL: "no signed token",
    Fault.DEEP_HEADER: "no signed token",
    Fault.CODE_REFUSED: "refused the code",
}
OF_THE_PROVIDER = {
    Fault.CLIENT_REFUSED: "does not take this client: invalid_client",
    Fault.ERROR_WITHOUT_WORDS: "not what the standard says",
    Fault.BROKEN: "answered 500",
    Fault.REDIRECT: "answered 307",
    Fault.ENDLESS: "larger than 1048576 bytes",
    Fault.COMPRESSED: "is compressed",
    Fault.GARBAGE: "not what the standard says",
    Fault.DEEP_JSON: "not what the standard says",
    Fault.NO_ID_TOKEN: "not what the standard says",
    Fault.HANGS_UP: "broke off",
    Fault.KEYS_ARE_GARBAGE: "key set: the provider's answer is not",
    Fault.KEYS_ARE_MISSING: "key set: the provider answered 404",
    Fault.DISCOVERS_NO_WAY_FOR_THE_SECRET: "in no way that is known",
}
AT_ONCE = {
    Fault.DISCOVERS_ANOTHER_ISSUER: "another issuer's",
    Fault.DISCOVERS_HTTP_ELSEWHERE: "token_endpoint: is neither https",
    Fault.DISCOVERS_A_FILE: "jwks_uri: is neither https",
    Fault.DISCOVERS_NO_URL: "authorization_endpoint: is no URL",
    Fault.DISCOVERS_NO_HOST: "jwks_uri: has no host",
    Fault.DISCOVERS_NO_PORT: "jwks_uri: has no host, or no port",
    Fault.DISCOVERS_A_USER_IN_AN_ADDRESS: "token_endpoint: has a user",
    Fault.DISCOVERS_GARBAGE: "not what the standard says",
    Fault.DISCOVERS_NOTHING: "not what the standard says",
    Fault.DISCOVERS_ELSEWHERE: "answered 302",
}
TOO_SLOW = [Fault.NEVER_ANSWERS, Fault.DRIPS]
ELSEWHERE = [Fault.DISCOVERS_HTTP_ON_LOOPBACK]


def test_every_fault_of_a_provider_is_tried() -> None:
    assert {*IN_THE_TOKEN, *OF_THE_PROVIDER, *AT_ONCE, *TOO_SLOW, *ELSEWHERE} == set(Fault)


@pytest.mark.parametrize("fault", IN_THE_TOKEN)
def test_a_token_that_does_not_hold_lets_nobody_in(mock: MockProvider, fault: Fault) -> None:
    mock.fault = fault

    with pytest.raises(SignInRefused, match=IN_THE_TOKEN[fault]):
        sign_in(client_of(mock))


@pytest.mark.parametrize("fault", OF_THE_PROVIDER)
def test_a_provider_that_answers_nonsense_lets_nobody_in(mock: MockProvider, fault: Fault) -> None:
    mock.fault = fault

    with pytest.raises(ProviderFailed, match=OF_THE_PROVIDER[fault]):
        sign_in(client_of(mock))
    assert not [path for path in mock.asked if path.endswith("elsewhere")]


@pytest.mark.parametrize("fault", AT_ONCE)
def test_a_provider_that_introduces_itself_wrongly_is_sent_nobody(mock: MockProvider, fault: Fault) -> None:
    mock.fault = fault

    with pytest.raises(ProviderFailed, match=AT_ONCE[fault]):
        begin(client_of(mock))
    assert mock.asked == ["/.well-known/openid-configuration"]


@pytest.mark.parametrize("fault", TOO_SLOW)
def test_a_provider_has_a_deadline_for_all_of_an_answer(mock: MockProvider, fault: Fault) -> None:
    mock.fault = fault

    with pytest.raises(ProviderFailed, match=r"took longer than 0\.2 s"):
        sign_in(client_of(mock, timeout=0.2))


def test_an_endless_answer_is_not_read_to_its_end(mock: MockProvider) -> None:
    mock.fault = Fault.ENDLESS

    with pytest.raises(ProviderFailed):
        sign_in(client_of(mock))
    assert mock.sent < 64 * LARGEST


@pytest.mark.parametrize("fault", [None, *IN_THE_TOKEN, *OF_THE_PROVIDER, *TOO_SLOW])
def test_no_error_and_no_log_tells_a_secret(
    mock: MockProvider, fault: Fault | None, caplog: pytest.LogCaptureFixture
) -> None:
    mock.fault = fault
    caplog.set_level("INFO")
    beginning, told = Beginning("", "", "", ""), ""

    async def attempt(client: Provider) -> None:
        nonlocal beginning
        beginning = await client.begin()
        await client.finish(browse(beginning), beginning.nonce, beginning.verifier)

    try:
        asyncio.run(attempt(client_of(mock, timeout=0.2 if fault in TOO_SLOW else 10)))
    except (ProviderFailed, SignInRefused) as error:
        told = "".join(traceback.format_exception(error))
    told += "\n".join(line for line in caplog.text.splitlines() if "/authorize?" not in line)  # the browser's own

    secrets = [SECRET, beginning.verifier, beginning.nonce, beginning.state, *(form["code"] for form in mock.forms)]
    assert (told != "", mock.forms != []) == (True, fault is not Fault.DISCOVERS_NO_WAY_FOR_THE_SECRET)
    assert [secret for secret in [*secrets, *mock.issued] if secret in told] == []


def test_a_code_is_good_once_and_for_its_own_beginning_only(mock: MockProvider) -> None:
    client = client_of(mock)

    async def attempts() -> tuple[object, ...]:
        one, other = await client.begin(), await client.begin()
        code = browse(one)
        return await asyncio.gather(
            client.finish(browse(one), one.nonce, other.verifier),
            client.finish(browse(one), other.nonce, one.verifier),
            client.finish(code, one.nonce, one.verifier),
            client.finish(code, one.nonce, one.verifier),
            return_exceptions=True,
        )

    wrong_verifier, wrong_nonce, *same = asyncio.run(attempts())
    assert isinstance(wrong_verifier, SignInRefused)
    assert isinstance(wrong_nonce, SignInRefused)
    assert {type(outcome) for outcome in same} == {Identity, SignInRefused}


@pytest.mark.parametrize("code", ["", "x" * 4097, "a\nb", "\0", "é", "\ud800"])
def test_what_is_no_code_is_not_sent_to_the_provider(mock: MockProvider, code: str) -> None:
    with pytest.raises(SignInRefused, match="no code"):
        asyncio.run(client_of(mock).finish(code, "nonce", "verifier"))
    assert mock.asked == []


def test_a_code_that_nobody_gave_is_refused(mock: MockProvider) -> None:
    with pytest.raises(SignInRefused, match="refused the code"):
        asyncio.run(client_of(mock).finish("x" * 4096, "nonce", "verifier"))


def test_a_wrong_secret_is_the_services_fault_not_the_users(mock: MockProvider) -> None:
    client = Provider(mock.issuer, CLIENT, "wrong", REDIRECT, mock.clock, 10)

    with pytest.raises(ProviderFailed, match="invalid_client"):
        sign_in(client)


def test_a_provider_that_is_not_there_failed_and_is_not_asked_again_at_once(clock: Clock) -> None:
    client = Provider(f"http://127.0.0.1:{free_port()}", CLIENT, SECRET, REDIRECT, clock, 10)

    async def attempts() -> None:
        with pytest.raises(ProviderFailed, match="cannot connect"):
            await client.begin()
        with pytest.raises(ProviderFailed, match="a moment ago"):
            await client.begin()
        clock.now += 5
        with pytest.raises(ProviderFailed, match="cannot connect"):
            await client.begin()

    asyncio.run(attempts())


def test_a_provider_that_recovers_is_found_again(mock: MockProvider, clock: Clock) -> None:
    client = client_of(mock)

    async def attempts() -> Identity:
        mock.fault = Fault.DISCOVERS_GARBAGE
        with pytest.raises(ProviderFailed):
            await client.begin()
        mock.fault = None
        clock.now += 5
        return await signing_in(client)

    assert asyncio.run(attempts()).subject == "248289761001"


def test_what_the_provider_tells_everybody_is_asked_for_once_an_hour(mock: MockProvider, clock: Clock) -> None:
    client = client_of(mock)

    async def attempts() -> list[int]:
        counts = []
        for seconds in (0, 3599, 1, -1):
            clock.now += seconds
            await signing_in(client)
            counts.append(sum(path not in ("/authorize", "/token") for path in mock.asked))
        return counts

    assert asyncio.run(attempts()) == [2, 2, 4, 6]


def test_many_who_come_together_ask_for_it_once(mock: MockProvider) -> None:
    client = client_of(mock)

    async def together() -> None:
        await asyncio.gather(*(client.begin() for _ in range(20)))

    asyncio.run(together())
    assert mock.asked == ["/.well-known/openid-configuration"]


def test_who_gives_up_waiting_spoils_it_for_nobody(mock: MockProvider) -> None:
    client = client_of(mock)

    async def together() -> list[object]:
        tasks = [asyncio.create_task(client.begin()) for _ in range(2)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second = asyncio.run(together())
    assert (type(first), type(second)) == (asyncio.CancelledError, Beginning)


def test_new_keys_are_fetched_when_they_are_met_but_once_a_minute(mock: MockProvider, clock: Clock) -> None:
    client = client_of(mock)

    async def attempts() -> None:
        await signing_in(client)
        mock.keys = [key_of("ES256", "rotated")]
        with pytest.raises(SignInRefused, match="no key"):
            await signing_in(client)
        assert mock.asked.count("/keys") == 1
        clock.now += 60
        await signing_in(client)
        await signing_in(client)
        assert mock.asked.count("/keys") == 2
        mock.fault = Fault.KEY_THAT_IS_NOT_IN_THE_SET
        clock.now += 60
        for _ in range(3):
            with pytest.raises(SignInRefused, match="no key"):
                await signing_in(client)
        assert mock.asked.count("/keys") == 3

    asyncio.run(attempts())


def test_a_key_without_a_name_may_be_exchanged_too(mock: MockProvider, clock: Clock) -> None:
    mock.names_the_key = False
    client = client_of(mock)

    async def attempts() -> Identity:
        await signing_in(client)
        mock.keys = [key_of("ES256", "rotated")]
        clock.now += 60
        return await signing_in(client)

    assert asyncio.run(attempts()).subject == "248289761001"


@pytest.mark.parametrize(
    "address",
    [
        "", "provider.example", "http://provider.example", "http://127.0.0.1.provider.example", "http://10.0.0.1",
        "ftp://127.0.0.1", "file:///etc/passwd", "https://", "https://user@provider.example", "https://a.example#b",
        "http://[::ffff:127.0.0.1]", "http://0.0.0.0", "https://a:b", "https://[",
        "https://a..b", "https://a:65536",
    ],
)  # fmt: skip
def test_an_address_that_is_open_to_others_is_refused_at_the_start(clock: Clock, address: str) -> None:
    with pytest.raises(ValueError, match=REFUSED):
        Provider(address, CLIENT, SECRET, REDIRECT, clock, 10)
    with pytest.raises(ValueError, match=REFUSED):
        Provider("https://provider.example", CLIENT, SECRET, address, clock, 10)


@pytest.mark.parametrize(
    "address", ["https://provider.example/x", "http://localhost:1", "http://127.3.2.1", "http://[::1]:1"]
)
def test_an_address_is_https_or_on_loopback(clock: Clock, address: str) -> None:
    Provider(address, CLIENT, SECRET, address, clock, 10)


@pytest.mark.parametrize(("issuer", "client"), [("https://provider.example?a=b", CLIENT), ("https://a.example", "")])
def test_an_issuer_has_no_query_and_a_client_an_id(clock: Clock, issuer: str, client: str) -> None:
    with pytest.raises(ValueError, match="has a query, or a client without an id"):
        Provider(issuer, client, SECRET, REDIRECT, clock, 10)


REFUSED = "is neither https|is no URL|has no host|has a user"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1, with its key, that only it vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    before, after = (datetime.now(UTC) + timedelta(days) for days in (-1, 1))
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), before, after)
    signed = made.add_extension(names, critical=False).sign(key, hashes.SHA256())
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(*form) + signed.public_bytes(serialization.Encoding.PEM))
    return path


def test_a_provider_that_nobody_vouches_for_is_not_talked_to(clock: Clock, certificate: Path) -> None:
    with serving(certificate=certificate) as server, provider(server, clock, REDIRECT) as mock:
        with pytest.raises(ProviderFailed, match=r"cannot connect.*CERTIFICATE_VERIFY_FAILED"):
            begin(client_of(mock))

        assert mock.asked == []


def test_who_vouches_for_a_provider_can_be_named(
    clock: Clock, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving(certificate=certificate) as server, provider(server, clock, REDIRECT) as mock:
        assert sign_in(client_of(mock)).issuer == mock.issuer


def test_a_provider_elsewhere_cannot_send_secrets_to_a_service_on_our_machine(
    clock: Clock, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving(certificate=certificate) as server, provider(server, clock, REDIRECT) as mock:
        mock.fault = Fault.DISCOVERS_HTTP_ON_LOOPBACK

        with pytest.raises(ProviderFailed, match="token_endpoint: is neither https"):
            begin(client_of(mock))


def test_loopback_needs_no_proxy(mock: MockProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(mock)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")

    assert isinstance(begin(client), Beginning)
