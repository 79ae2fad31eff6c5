"""Every setting: its default and its help, read from the environment once."""

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

PREFIX = "ES_GOALS_"

Network = IPv4Network | IPv6Network

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:\d{1,5})?")


LONGEST = 3_153_600_000
"""Seconds, a hundred years: later times may not be told any more."""


class InvalidSetting(Exception):
    """A variable is unknown, or its value is not of the kind it must be."""


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """A field `page_limit` is set by the variable `ES_GOALS_PAGE_LIMIT`."""

    db: Annotated[
        str, Meta(min_length=1, description="path of the log, or a `postgresql://` URL; made on first use")
    ] = "events.db"
    checkpoints: Annotated[
        str, Meta(description="path of the file that keeps the log's checkpoints; beside a log that is a file")
    ] = ""
    signing_key: Annotated[
        str, Meta(pattern=r"^(PRIVATE\+KEY\+\S+\s*)*\Z", description="the keys that sign checkpoints, one a line")
    ] = ""
    public_checkpoint: Annotated[
        bool, Meta(description="show checkpoints and proofs to everybody, also who is not signed in")
    ] = False
    replica: Annotated[
        str, Meta(pattern="^(postgres(ql)?://.+)?$", description="a `postgresql://` URL to read from, where not behind")
    ] = ""
    connections: Annotated[int, Meta(ge=8, le=1000, description="connections a worker may have to a server")] = 10
    host: Annotated[str, Meta(min_length=1, description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="port to listen on; `PORT` is honoured too")] = 8000
    workers: Annotated[int, Meta(ge=1, le=64, description="processes that serve")] = 2
    open: Annotated[bool, Meta(description="serve without accounts, on loopback only")] = False
    registration: Annotated[
        str, Meta(pattern=r"^(closed|open)\Z", description="who makes users: administrators, or with `open` anyone")
    ] = "closed"
    session_idle: Annotated[int, Meta(ge=600, le=LONGEST, description="seconds after which an unused session ends")] = (
        604_800
    )
    session_lifetime: Annotated[int, Meta(ge=60, le=LONGEST, description="seconds after which a session ends")] = (
        2_592_000
    )
    token_idle: Annotated[int, Meta(ge=600, le=LONGEST, description="seconds after which an unused API token ends")] = (
        7_776_000
    )
    token_lifetime: Annotated[
        int, Meta(ge=60, le=LONGEST, description="seconds after which an API token ends that names no end")
    ] = 7_776_000
    token_longest: Annotated[
        int, Meta(ge=60, le=LONGEST, description="seconds after which every API token ends, whatever it names")
    ] = LONGEST
    url: Annotated[
        str,
        Meta(pattern=r"^(https?://[^/?#@\s]+)?\Z", description="where browsers find the service, for OpenID Connect"),
    ] = ""
    oidc_issuer: Annotated[
        str, Meta(pattern=r"^(https?://\S+)?\Z", description="an OpenID provider that users may sign in with")
    ] = ""
    oidc_client: Annotated[str, Meta(description="the service's client id there")] = ""
    oidc_secret: Annotated[str, Meta(description="its client secret there; empty for a public client")] = ""
    deadline: Annotated[float, Meta(gt=0, le=600, description="seconds that a request may wait for storage")] = 5.0
    body_deadline: Annotated[
        float, Meta(gt=0, le=600, description="seconds for a head, a body, or more of an answer")
    ] = 10.0
    proxies: Annotated[
        str, Meta(description="addresses or networks of proxies, by commas, whose X-Forwarded-For and -Proto count")
    ] = ""
    origins: Annotated[str, Meta(description="origins, by commas, whose pages may use the API from a browser")] = ""
    deciding_cache: Annotated[int, Meta(ge=0, description="bytes of goals a worker keeps for deciding")] = 33_554_432
    reading_cache: Annotated[int, Meta(ge=0, description="bytes of trees and ready answers a worker keeps")] = (
        50_331_648
    )
    tick: Annotated[float, Meta(ge=0.01, le=10, description="seconds between looks at what others appended")] = 0.1
    threads: Annotated[int, Meta(ge=1, le=64, description="threads a worker has for what takes longer")] = 4
    body_limit: Annotated[int, Meta(ge=1_024, le=16_777_216, description="bytes of a body")] = 1_048_576
    line_limit: Annotated[int, Meta(ge=256, le=8_190, description="bytes of a request line")] = 4_094
    header_limit: Annotated[int, Meta(ge=1_024, le=65_536, description="bytes of a header field")] = 16_384
    headers_limit: Annotated[int, Meta(ge=16, le=1_000, description="header fields of a request")] = 100
    name_limit: Annotated[int, Meta(ge=1, le=1_000, description="characters of a goal's name")] = 200
    description_limit: Annotated[int, Meta(ge=1, le=262_144, description="characters of a goal's description")] = 16_384
    goals_limit: Annotated[int, Meta(ge=1, le=1_000_000, description="goals a user ever makes")] = 100_000
    children_limit: Annotated[int, Meta(ge=1, le=1_000_000, description="goals under one parent, or at the top")] = (
        20_000
    )
    text_limit: Annotated[
        int, Meta(ge=1, le=200_000_000, description="bytes of all names and descriptions of a user's goals")
    ] = 20_000_000
    batch_limit: Annotated[int, Meta(ge=1, le=1_000, description="commands of a batch")] = 1_000
    events_limit: Annotated[int, Meta(ge=1, le=1_000_000, description="events a request may cause")] = 100_000
    page_limit: Annotated[int, Meta(ge=1, le=1_000, description="events or users of a page")] = 1_000
    streams_limit: Annotated[int, Meta(ge=1, le=10_000, description="streams of events a worker serves")] = 100
    user_streams_limit: Annotated[
        int, Meta(ge=1, le=10_000, description="streams of events a worker serves a user")
    ] = 10
    history: Annotated[
        int, Meta(ge=0, description="bytes of history that a user may record, with what a row takes besides; 0: any")
    ] = 1_073_741_824
    unread_answers: Annotated[
        int, Meta(ge=1_048_576, description="bytes of large answers that a worker keeps to be read, a user half of it")
    ] = 134_217_728
    requests_limit: Annotated[
        int, Meta(ge=0, le=1_000_000, description="requests a second of a user, on one machine; 0: any")
    ] = 1_000
    log_level: Annotated[
        str, Meta(pattern="^(debug|info|warning|error)$", description="least level that is logged")
    ] = "info"

    def __repr__(self) -> str:
        shown = (name for name in self.__struct_fields__ if name not in SECRET)
        return f"Settings({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def __post_init__(self) -> None:
        networks(self.proxies)
        exact_origins(self.origins)


def networks(text: str) -> tuple[Network, ...]:
    """Of `proxies`; a single address is a network of one. Raises ValueError."""
    try:
        return tuple(ip_network(item) for item in _items(text))
    except ValueError as error:
        raise ValueError(f"Expected addresses or networks such as 10.0.0.0/8: {error}") from None


def exact_origins(text: str) -> frozenset[str]:
    """Of `origins`, as browsers send them. Raises ValueError."""
    origins = frozenset(_items(text))
    if wrong := next((origin for origin in origins if not _ORIGIN.fullmatch(origin)), None):
        raise ValueError(f"Expected origins such as https://goals.example:8443, without a path: {wrong!r} is none")
    return origins


def _items(text: str) -> list[str]:
    return [item for item in (item.strip() for item in text.split(",")) if item]


SECRET = ("db", "signing_key", "replica", "oidc_secret")
"""Settings that hold a secret, or may: `ES_GOALS_DB_FILE` names a file that holds it."""


RENAMED: Mapping[str, tuple[str, int]] = {
    "cached_goals": ("deciding_cache", 700),
    "cached_trees": ("reading_cache", 2_000),
    "cached_answers": ("reading_cache", 1),
}
"""Settings of 1.3.0 that counted goals, or bytes of answers alone: what is named so now, and bytes for each."""


def from_env(env: Mapping[str, str], warn: Callable[[str], None] = lambda _: None) -> Settings:
    """The settings that the environment names. `warn` is told what has another name now. Raises InvalidSetting."""
    known = {PREFIX + name.upper(): name for name in Settings.__struct_fields__}
    given = _with_new_names(_read({name: value for name, value in env.items() if name.startswith(PREFIX)}), warn)
    if "PORT" in env and f"{PREFIX}PORT" not in env:
        known, given = {**known, "PORT": "port"}, {**given, "PORT": env["PORT"]}
    values: dict[str, str] = {}
    for variable, value in given.items():
        if variable not in known:
            raise InvalidSetting(f"expected one of {', '.join(known)}; found {variable}")
        try:
            msgspec.convert({known[variable]: value}, Settings, strict=False)
        except msgspec.ValidationError as error:
            expected = str(error).partition(" - at ")[0]
            found = "another form" if known[variable] in SECRET else repr(value)
            raise InvalidSetting(f"{variable}: {expected}; found {found}") from None
        values[known[variable]] = value
    return msgspec.convert(values, Settings, strict=False)


def _with_new_names(given: Mapping[str, str], warn: Callable[[str], None]) -> dict[str, str]:
    """What 1.3.0 called otherwise is taken under its new name; of several that became one, the sum."""
    old = {f"{PREFIX}{name.upper()}": (f"{PREFIX}{new.upper()}", size) for name, (new, size) in RENAMED.items()}
    values = {name: value for name, value in given.items() if name not in old}
    sums: dict[str, int] = {}
    for variable in old.keys() & given.keys():
        new, size = old[variable]
        if new in values:
            raise InvalidSetting(f"expected {new} alone; found {variable}, its old name, too")
        if not (given[variable].isascii() and given[variable].isdigit()):
            raise InvalidSetting(f"{variable}: expected a number; found {given[variable]!r}")
        sums[new] = sums.get(new, 0) + int(given[variable]) * size
    if sums:
        renamed = ", ".join(f"{new}={value}" for new, value in sorted(sums.items()))
        warn(f"{', '.join(sorted(old.keys() & given.keys()))}: counted in bytes now; taken as {renamed}")
    return values | {new: str(value) for new, value in sums.items()}


def _read(given: Mapping[str, str]) -> dict[str, str]:
    """With what is in files in place of their names."""
    files = {f"{PREFIX}{name.upper()}_FILE": f"{PREFIX}{name.upper()}" for name in SECRET}
    read = {name: value for name, value in given.items() if name not in files}
    for variable in files.keys() & given.keys():
        if files[variable] in read:
            raise InvalidSetting(f"expected {variable} or {files[variable]}; found both")
        try:
            read[files[variable]] = Path(given[variable]).read_text("utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidSetting(f"{variable}: expected a file that can be read; found {given[variable]!r}") from error
    return read
