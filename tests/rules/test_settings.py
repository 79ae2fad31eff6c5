"""The settings: their defaults, their variables, and what is refused."""

from pathlib import Path

import msgspec.inspect
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from es_goals.settings import PREFIX, SECRET, InvalidSetting, Settings, from_env

DEFAULTS = {
    "db": "events.db",
    "checkpoints": "",
    "signing_key": "",
    "public_checkpoint": False,
    "replica": "",
    "connections": 10,
    "host": "127.0.0.1",
    "port": 8000,
    "workers": 2,
    "open": False,
    "registration": "closed",
    "session_idle": 604_800,
    "session_lifetime": 2_592_000,
    "token_idle": 7_776_000,
    "token_lifetime": 7_776_000,
    "url": "",
    "oidc_issuer": "",
    "oidc_client": "",
    "oidc_secret": "",
    "deadline": 5.0,
    "body_deadline": 10.0,
    "proxies": "",
    "origins": "",
    "deciding_cache": 33_554_432,
    "reading_cache": 50_331_648,
    "tick": 0.1,
    "threads": 4,
    "body_limit": 1_048_576,
    "line_limit": 4_094,
    "header_limit": 16_384,
    "headers_limit": 100,
    "name_limit": 200,
    "description_limit": 16_384,
    "goals_limit": 100_000,
    "children_limit": 20_000,
    "text_limit": 20_000_000,
    "batch_limit": 1_000,
    "events_limit": 100_000,
    "page_limit": 1_000,
    "streams_limit": 100,
    "user_streams_limit": 10,
    "unread_answers": 134_217_728,
    "history": 1_073_741_824,
    "token_longest": 3_153_600_000,
    "requests_limit": 1_000,
    "log_level": "info",
}

SIGNING_KEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"  # Go's example


def test_without_variables_every_setting_has_its_default() -> None:
    assert structs.asdict(from_env({})) == DEFAULTS


def test_variables_of_others_mean_nothing() -> None:
    env = {"HOME": "/root", "DB": "x", "GOALS_DB": "x", "XES_GOALS_DB": "x", "ES_GOALS": "x", "WORKERS": "9"}

    assert from_env(env) == Settings()


@pytest.mark.parametrize("name", Settings.__struct_fields__)
def test_every_setting_says_what_it_is(name: str) -> None:
    info = msgspec.inspect.type_info(Settings)
    assert isinstance(info, msgspec.inspect.StructType)
    kind = {field.name: field.type for field in info.fields}[name]

    assert isinstance(kind, msgspec.inspect.Metadata)
    assert (kind.extra_json_schema or {}).get("description")


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("ES_GOALS_DB", "/var/lib/goals.db", "/var/lib/goals.db"),
        ("ES_GOALS_DB", "postgresql://goals@db1,db2/goals", "postgresql://goals@db1,db2/goals"),
        ("ES_GOALS_REPLICA", "postgresql://goals@db2/goals", "postgresql://goals@db2/goals"),
        ("ES_GOALS_REPLICA", "", ""),
        ("ES_GOALS_CHECKPOINTS", "/mnt/elsewhere/checkpoints", "/mnt/elsewhere/checkpoints"),
        ("ES_GOALS_SIGNING_KEY", f"{SIGNING_KEY}\n", f"{SIGNING_KEY}\n"),
        ("ES_GOALS_SIGNING_KEY", "", ""),
        ("ES_GOALS_PUBLIC_CHECKPOINT", "true", True),
        ("ES_GOALS_CONNECTIONS", "8", 8),
        ("ES_GOALS_HOST", "::1", "::1"),
        ("ES_GOALS_PORT", "0", 0),
        ("ES_GOALS_PORT", "65535", 65535),
        ("ES_GOALS_WORKERS", "1", 1),
        ("ES_GOALS_WORKERS", "64", 64),
        ("ES_GOALS_OPEN", "true", True),
        ("ES_GOALS_OPEN", "1", True),
        ("ES_GOALS_OPEN", "false", False),
        ("ES_GOALS_OPEN", "0", False),
        ("ES_GOALS_REGISTRATION", "open", "open"),
        ("ES_GOALS_SESSION_IDLE", "600", 600),
        ("ES_GOALS_SESSION_LIFETIME", "60", 60),
        ("ES_GOALS_TOKEN_IDLE", "600", 600),
        ("ES_GOALS_TOKEN_LIFETIME", "60", 60),
        ("ES_GOALS_URL", "https://goals.example:8443", "https://goals.example:8443"),
        ("ES_GOALS_URL", "http://[::1]:8000", "http://[::1]:8000"),
        ("ES_GOALS_URL", "", ""),
        ("ES_GOALS_OIDC_ISSUER", "https://login.example/realms/goals/", "https://login.example/realms/goals/"),
        ("ES_GOALS_OIDC_ISSUER", "", ""),
        ("ES_GOALS_OIDC_CLIENT", "goals", "goals"),
        ("ES_GOALS_OIDC_SECRET", " s3cret\n", " s3cret\n"),
        ("ES_GOALS_DEADLINE", "0.25", 0.25),
        ("ES_GOALS_DEADLINE", "600", 600.0),
        ("ES_GOALS_BODY_DEADLINE", "30", 30.0),
        ("ES_GOALS_PROXIES", "10.0.0.1, 192.168.0.0/16,fd00::/8", "10.0.0.1, 192.168.0.0/16,fd00::/8"),
        ("ES_GOALS_ORIGINS", "https://a.example,http://[::1]:3000", "https://a.example,http://[::1]:3000"),
        ("ES_GOALS_DECIDING_CACHE", "0", 0),
        ("ES_GOALS_READING_CACHE", "1000000000", 1_000_000_000),
        ("ES_GOALS_TICK", "0.01", 0.01),
        ("ES_GOALS_TICK", "10", 10.0),
        ("ES_GOALS_THREADS", "64", 64),
        ("ES_GOALS_LOG_LEVEL", "warning", "warning"),
    ],
)
def test_a_variable_sets_its_setting_and_no_other(variable: str, text: str, value: object) -> None:
    name = variable.removeprefix(PREFIX).lower()

    assert structs.asdict(from_env({variable: text})) == {**DEFAULTS, name: value}


def test_PORT_is_honoured_and_our_own_variable_comes_first() -> None:
    assert from_env({"PORT": "9001"}).port == 9001
    assert from_env({"PORT": "9001", "ES_GOALS_PORT": "9002"}).port == 9002
    assert from_env({"PORT": "rubbish", "ES_GOALS_PORT": "9002"}).port == 9002


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"CACHED_GOALS": "50000"}, {"DECIDING_CACHE": "35000000"}),
        ({"CACHED_TREES": "20000"}, {"READING_CACHE": "40000000"}),
        ({"CACHED_TREES": "20000", "CACHED_ANSWERS": "12582912"}, {"READING_CACHE": "52582912"}),
        ({"CACHED_GOALS": "0", "READING_CACHE": "7"}, {"DECIDING_CACHE": "0", "READING_CACHE": "7"}),
    ],
)
def test_caches_that_were_counted_otherwise_are_taken_in_bytes_and_told_of(
    given: dict[str, str], taken: dict[str, str]
) -> None:
    told: list[str] = []
    settings = from_env({PREFIX + name: text for name, text in given.items()}, told.append)

    assert settings == from_env({PREFIX + name: text for name, text in taken.items()})
    assert len(told) == 1
    assert all(f"{PREFIX}{name}" in told[0] for name in given if name.startswith("CACHED_"))
    assert all(f"{PREFIX}{name}={text}" in told[0] for name, text in taken.items() if name not in given)


def test_settings_by_their_own_names_are_told_of_to_nobody() -> None:
    told: list[str] = []
    from_env({PREFIX + name.upper(): str(value) for name, value in DEFAULTS.items()}, told.append)

    assert told == []


@pytest.mark.parametrize(("old", "new"), [("CACHED_GOALS", "DECIDING_CACHE"), ("CACHED_ANSWERS", "READING_CACHE")])
def test_a_setting_by_its_old_and_its_new_name_is_refused(old: str, new: str) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        from_env({PREFIX + old: "1", PREFIX + new: "1"})

    assert str(refusal.value) == f"expected {PREFIX}{new} alone; found {PREFIX}{old}, its old name, too"


LIMITS = {
    "body": (1_024, 16_777_216),
    "line": (256, 8_190),
    "header": (1_024, 65_536),
    "headers": (16, 1_000),
    "name": (1, 1_000),
    "description": (1, 262_144),
    "goals": (1, 1_000_000),
    "children": (1, 1_000_000),
    "text": (1, 200_000_000),
    "batch": (1, 1_000),
    "events": (1, 1_000_000),
    "page": (1, 1_000),
    "streams": (1, 10_000),
    "user_streams": (1, 10_000),
    "requests": (0, 1_000_000),
}


@pytest.mark.parametrize(("limit", "least", "most"), [(limit, *bounds) for limit, bounds in LIMITS.items()])
def test_a_limit_has_limits_of_its_own(limit: str, least: int, most: int) -> None:
    variable = f"ES_GOALS_{limit.upper()}_LIMIT"

    assert [getattr(from_env({variable: str(one)}), f"{limit}_limit") for one in (least, most)] == [least, most]
    for one in (least - 1, most + 1):
        with pytest.raises(InvalidSetting, match=variable):
            from_env({variable: str(one)})


def test_every_limit_is_tried_at_its_limits() -> None:
    assert {f"{limit}_limit" for limit in LIMITS} == {one for one in DEFAULTS if one.endswith("_limit")}


@pytest.mark.parametrize("variable", ["ES_GOALS_DBS", "ES_GOALS_", "ES_GOALS_WORKER", "ES_GOALS_DB_", "ES_GOALS__DB"])
def test_an_unknown_variable_is_refused_by_its_name(variable: str) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        from_env({"ES_GOALS_WORKERS": "3", variable: "1"})

    expected, found = str(refusal.value).split("; found ")
    assert found == variable
    assert all(PREFIX + name.upper() in expected for name in Settings.__struct_fields__)


@pytest.mark.parametrize("variable", ["ES_GOALS_db", "ES_GOALS_Workers"])
def test_a_variable_in_another_case_is_unknown_too(variable: str) -> None:
    """Two spellings of one setting would hide one of two values."""
    with pytest.raises(InvalidSetting) as refusal:
        from_env({variable: "1"})

    assert str(refusal.value).endswith(f"; found {variable}")


WRONG = [
    ("ES_GOALS_DB", ""),
    ("ES_GOALS_CONNECTIONS", "7"),
    ("ES_GOALS_CONNECTIONS", "1001"),
    ("ES_GOALS_HOST", ""),
    ("ES_GOALS_PORT", "-1"),
    ("ES_GOALS_PORT", "65536"),
    ("ES_GOALS_PORT", "http"),
    ("ES_GOALS_PORT", ""),
    ("ES_GOALS_WORKERS", "0"),
    ("ES_GOALS_WORKERS", "65"),
    ("ES_GOALS_WORKERS", "two"),
    ("ES_GOALS_WORKERS", "2.5"),
    ("ES_GOALS_WORKERS", "null"),
    ("ES_GOALS_OPEN", "maybe"),
    ("ES_GOALS_OPEN", ""),
    *(("ES_GOALS_REGISTRATION", wrong) for wrong in ("", "Open", "open\n", "opened", "true")),
    *(
        (f"ES_GOALS_{name}", wrong)
        for name in ("SESSION_IDLE", "SESSION_LIFETIME", "TOKEN_IDLE", "TOKEN_LIFETIME")
        for wrong in ("59", "", "90d")
    ),
    *(
        ("ES_GOALS_URL", wrong)
        for wrong in (
            "goals.example",
            "https://",
            "ftp://goals.example",
            "HTTPS://goals.example",
            "https://goals.example/",
            "https://goals.example/goals",
            "https://goals.example?x",
            "https://goals.example#x",
            "https://ann@goals.example",
            "https://goals.example ",
            "https://goals.example\n",
        )
    ),
    *(
        ("ES_GOALS_OIDC_ISSUER", wrong)
        for wrong in ("login.example", "https://", "file:///etc/passwd", "https://login.example\n", "https://a b")
    ),
    ("ES_GOALS_DEADLINE", "0"),
    ("ES_GOALS_DEADLINE", "-1"),
    ("ES_GOALS_DEADLINE", "nan"),
    ("ES_GOALS_DEADLINE", "inf"),
    ("ES_GOALS_DEADLINE", "601"),
    ("ES_GOALS_BODY_DEADLINE", "5s"),
    *(("ES_GOALS_PROXIES", wrong) for wrong in ("*", "proxy.example", "10.0.0.1/8", "10.0.0.256", "127.0.0.1;::1")),
    *(
        ("ES_GOALS_ORIGINS", wrong)
        for wrong in (
            "*",
            "null",
            "a.example",
            "https://",
            "https://a.example/",
            "https://a.example/x",
            "https://*.example",
            "https://A.example",
            "https://a.example:port",
            "https://u@a.example",
            "https://a.example https://b.example",
        )
    ),
    ("ES_GOALS_DECIDING_CACHE", "-1"),
    ("ES_GOALS_READING_CACHE", "16 MiB"),
    *((f"ES_GOALS_{name}", wrong) for name in ("CACHED_GOALS", "CACHED_ANSWERS") for wrong in ("-1", "", "many", "²")),
    ("ES_GOALS_TICK", "0"),
    ("ES_GOALS_TICK", "11"),
    ("ES_GOALS_THREADS", "0"),
    ("ES_GOALS_LOG_LEVEL", "loud"),
    ("ES_GOALS_LOG_LEVEL", "INFO"),
]


@pytest.mark.parametrize(("variable", "text"), WRONG)
def test_a_wrong_value_is_refused(variable: str, text: str) -> None:
    with pytest.raises(InvalidSetting, match=r"[Ee]xpected"):
        from_env({variable: text})


@pytest.mark.parametrize(
    ("variable", "text"), [("ES_GOALS_WORKERS", "two"), ("ES_GOALS_LOG_LEVEL", "loud"), ("PORT", "http")]
)
def test_a_refusal_names_the_variable_and_what_was_found(variable: str, text: str) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        from_env({variable: text})

    assert variable in str(refusal.value)
    assert text in str(refusal.value)


def settings() -> st.SearchStrategy[Settings]:
    """Any that could have been read."""
    text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
    seconds = st.floats(0.01, 600, exclude_min=True)
    return st.builds(
        Settings,
        db=text,
        host=text,
        port=st.integers(0, 65535),
        workers=st.integers(1, 64),
        open=st.booleans(),
        deadline=seconds,
        body_deadline=seconds,
        deciding_cache=st.integers(0, 2**63 - 1),
        reading_cache=st.integers(0, 2**63 - 1),
        tick=st.floats(0.01, 10),
        threads=st.integers(1, 64),
        log_level=st.sampled_from(["debug", "info", "warning", "error"]),
    )


@given(settings())
def test_settings_written_into_the_environment_are_read_as_they_were(given: Settings) -> None:
    env = {PREFIX + name.upper(): str(value) for name, value in structs.asdict(given).items()}

    assert from_env(env) == given


SECRETS = {
    "ES_GOALS_DB": "postgresql://goals:s3cret@db1/goals",
    "ES_GOALS_SIGNING_KEY": SIGNING_KEY,
    "ES_GOALS_REPLICA": "postgresql://goals:s3cret@db2/goals",
    "ES_GOALS_OIDC_SECRET": "s3cret: é",
}


def test_every_secret_is_tried_in_a_file() -> None:
    assert [PREFIX + name.upper() for name in SECRET] == list(SECRETS)


@pytest.mark.parametrize("variable", SECRETS)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=ascii)
def test_a_secret_may_be_in_a_file_and_the_end_of_its_line_is_none_of_it(
    tmp_path: Path, variable: str, end: str
) -> None:
    file = tmp_path / "secret"
    file.write_bytes((SECRETS[variable] + end).encode())

    assert from_env({f"{variable}_FILE": str(file)}) == from_env({variable: SECRETS[variable]})


def test_the_spaces_of_a_secret_are_its_own(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(" s3\ncret \n")

    given = from_env({"ES_GOALS_OIDC_SECRET_FILE": str(tmp_path / "secret")})
    assert given == from_env({"ES_GOALS_OIDC_SECRET": " s3\ncret "})


@pytest.mark.parametrize("variable", SECRETS)
@pytest.mark.parametrize("value", ["", "x"])
def test_a_secret_in_both_places_is_refused(tmp_path: Path, variable: str, value: str) -> None:
    (tmp_path / "secret").write_text(SECRETS[variable])
    with pytest.raises(InvalidSetting) as refusal:
        from_env({variable: value, f"{variable}_FILE": str(tmp_path / "secret")})

    assert str(refusal.value) == f"expected {variable}_FILE or {variable}; found both"


@pytest.mark.parametrize("variable", SECRETS)
@pytest.mark.parametrize("kind", ["missing", "a folder", "not UTF-8", "no name"])
def test_a_file_that_cannot_be_read_is_named_and_what_is_in_it_not_shown(
    tmp_path: Path, variable: str, kind: str
) -> None:
    file = {"missing": tmp_path / "none", "a folder": tmp_path, "not UTF-8": tmp_path / "latin", "no name": ""}[kind]
    (tmp_path / "latin").write_bytes(b"s3cret: \xe9")
    with pytest.raises(InvalidSetting) as refusal:
        from_env({f"{variable}_FILE": str(file)})

    assert str(refusal.value) == f"{variable}_FILE: expected a file that can be read; found {str(file)!r}"


@pytest.mark.parametrize("variable", ["ES_GOALS_DB", "ES_GOALS_REPLICA"])
def test_what_is_in_a_file_is_checked_as_a_variable_is_and_not_shown(tmp_path: Path, variable: str) -> None:
    (tmp_path / "secret").write_text("" if variable == "ES_GOALS_DB" else "s3cret")
    with pytest.raises(InvalidSetting) as refusal:
        from_env({f"{variable}_FILE": str(tmp_path / "secret")})

    assert str(refusal.value).startswith(f"{variable}: ")
    assert str(refusal.value).endswith("; found another form")
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize("variable", ["ES_GOALS_HOST_FILE", "ES_GOALS_FILE", "ES_GOALS_DB_FILE_FILE"])
def test_only_secrets_come_in_files(tmp_path: Path, variable: str) -> None:
    (tmp_path / "file").write_text("::1")

    with pytest.raises(InvalidSetting, match=f"found {variable}$"):
        from_env({variable: str(tmp_path / "file")})


def test_a_replicas_url_of_another_form_is_refused_and_not_repeated_since_it_may_hold_a_password() -> None:
    with pytest.raises(InvalidSetting) as refusal:
        from_env({"ES_GOALS_REPLICA": "postgre://goals:s3cret@db2/goals"})

    assert str(refusal.value).startswith("ES_GOALS_REPLICA: ")
    assert "s3cret" not in str(refusal.value)
