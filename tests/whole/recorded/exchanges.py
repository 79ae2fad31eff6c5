"""Scenarios: requests and the answers to them, as they are kept, a line each."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

FOLDER = Path(__file__).parent
DIFFERENCES = FOLDER / "differences.jsonl"

RESAID = frozenset({"cache-control", "log", "vary"})
"""Headers that every answer has since, in other words than some had in 1.3.0, and which log it was: each has tests of
its own."""
ADDED = frozenset({"accept-encoding", "accept-patch", "accept-post", "command", "etag"})
"""Headers that answers have had since 1.3.0: not compared where it sent none."""

encode = msgspec.json.Encoder().encode


class Answer(Struct, frozen=True, omit_defaults=True):
    """Of a service: `headers` but the usual ones (None: one that is missing), and `body` where it is compact JSON, else
    `text`. Of the command line: its exit status, `text` and `errors` as they were printed."""

    status: int
    headers: dict[str, str | None] = {}
    body: Any = UNSET
    text: str = ""
    errors: str = ""


class Exchange(Struct, omit_defaults=True):
    """What is asked, and the answer to it.

    Of a service: `method`, `path`, `headers` (None: not even Host), `body` as JSON or `text` as it is; `by`: whose
    token is sent. Or `raw`: whatever is to be sent, in Latin-1. Of the command line: `arguments`, `text` as its input.

    `until`: ask again until the body has these members. `blocks`: hang up after so many blocks of a stream; `hold`:
    only at the end. `pick`: a JSON Pointer to what is compared of the body; `names`: only its members' names.
    `lines`: a pattern of the lines that are compared.
    """

    id: str
    arguments: list[str] = []
    method: str = ""
    path: str = ""
    by: str = ""
    headers: dict[str, str | None] = {}
    body: Any = UNSET
    text: str = ""
    raw: str = ""
    until: dict[str, Any] = {}
    blocks: int = 0
    hold: bool = False
    pick: str = ""
    names: bool = False
    lines: str = ""
    answer: Answer | UnsetType = UNSET

    def __str__(self) -> str:
        asked = " ".join(["es-goals", *self.arguments]) if self.arguments else f"{self.method} {self.path}"
        return f"{self.id}: {self.raw[:100]!r}" if self.raw else f"{self.id}: {asked}"


class Scenario(Struct, omit_defaults=True):
    """What is asked of one service, in order; a file's first line is how it serves. Without `workers` none does."""

    about: str
    workers: int = 0
    accounts: bool = False
    env: dict[str, str] = {}


class Difference(Struct):
    """An answer that is another one on purpose since 1.3.0."""

    id: str
    why: str
    answer: Answer


def names() -> list[str]:
    """Of all scenarios."""
    return sorted(path.stem for path in FOLDER.glob("*.jsonl") if path != DIFFERENCES)


def read(name: str) -> tuple[Scenario, list[Exchange]]:
    """A scenario."""
    first, *rest = (FOLDER / f"{name}.jsonl").read_bytes().splitlines()
    return msgspec.json.decode(first, type=Scenario), [msgspec.json.decode(line, type=Exchange) for line in rest]


def write(name: str, scenario: Scenario, exchanges: list[Exchange]) -> None:
    """Keep it."""
    lines = [encode(one) + b"\n" for one in (scenario, *exchanges)]
    (FOLDER / f"{name}.jsonl").write_bytes(b"".join(lines))


def differences() -> dict[str, Difference]:
    """All of them, by the exchange's id."""
    lines = DIFFERENCES.read_bytes().splitlines()
    return {one.id: one for one in (msgspec.json.decode(line, type=Difference) for line in lines)}


def keep_differences(found: dict[str, Difference]) -> None:
    """All of them."""
    DIFFERENCES.write_bytes(b"".join(encode(one) + b"\n" for one in found.values()))


def compared(exchange: Exchange, expected: Answer | UnsetType, found: Answer) -> str:
    """Which request it was, and what is expected and found, line by line; empty where both are the same."""
    if expected is UNSET:
        before, after = [], list(_lines(found))
    else:
        first = expected if exchange.answer is UNSET else exchange.answer
        before, after = list(_lines(_heeded(expected, first))), list(_lines(_heeded(found, first)))
    if before == after:
        return ""
    return "\n".join([str(exchange), *difflib.unified_diff(before, after, "expected", "found", n=2, lineterm="")])


def _heeded(answer: Answer, first: Answer) -> Answer:
    """What is compared of it, where 1.3.0 answered as the first."""
    left_out = RESAID | (ADDED - first.headers.keys())
    return replace(answer, headers={name: it for name, it in answer.headers.items() if name not in left_out})


def _lines(answer: Answer) -> Iterator[str]:
    yield f"status {answer.status}"
    for name, value in answer.headers.items():
        yield f"{name}: {value}"
    if answer.body is not UNSET:
        yield from msgspec.json.format(encode(answer.body), indent=1).decode().split("\n")
    yield from answer.text.split("\n")
    yield from (f"error: {line}" for line in answer.errors.split("\n") if line)
