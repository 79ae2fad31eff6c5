"""What is wrong with a body or a query, in our words: where it is, what was expected there, and what was found.

The decoder finds the first fault; its sentence is taken apart here, and none of it is answered as it came.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

SHOWN = 100  # characters of what was found
SECRET = frozenset({"password", "current", "new"})
"""Members that no answer repeats."""

TIME = "an RFC 3339 time with an offset, such as 2026-11-23T08:00:00Z"
_KINDS: Mapping[str, str] = {
    "str": "a text",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
    "datetime": TIME,
    "uuid": "a UUID",
}
_ITEMS: Mapping[str, str] = {"str": "characters", "array": "items"}
_BOUNDS: Mapping[str, str] = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}

_AT = re.compile(r"(.*) - at `\$([^`]*)`", re.DOTALL)
_STEP = re.compile(r"\[(\d+|\.\.\.)\]|\.([^.\[]+)")
_SIZE = re.compile(r"Expected `(str|array)` of length (>=|<=) (\d+)")
_BOUND = re.compile(r"Expected `(int|float)` (>=|<=|>|<) (-?[\d.]+)")
_KIND = re.compile(r"Expected `([^`]*)`(?:, got `[^`]*`)?")
_BOM = b"\xef\xbb\xbf"
_SURROGATE = re.compile("[\ud800-\udfff]")


class Fault(NamedTuple):
    """`steps`: member names and indexes from the top to what is at fault."""

    steps: Sequence[str]
    detail: str


class NotOnce(Exception):
    """A member stands twice in an object."""


def of_value(error: msgspec.ValidationError, document: Any, kind: Any, member: str = "member") -> Fault:
    """Say what is wrong with a document that is no `kind`. `member`: what a part of it is called."""
    found = _AT.fullmatch(str(error))
    sentence, path = (found[1], found[2]) if found else (str(error), "")
    steps = [index or name for index, name in _STEP.findall(path)]
    if missing := re.fullmatch(r"Object missing required field `(.*)`", sentence, re.DOTALL):
        return Fault([*steps, missing[1]], f"expected the {member} {missing[1]!r}; found none")
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", sentence, re.DOTALL):
        known = ", ".join(_members(kind, steps)) or f"no {member}"
        return Fault([*steps, unknown[1]], f"expected {known}; found {unknown[1][:SHOWN]!r}")
    return Fault(steps, f"expected {_expected(sentence, kind, steps)}; found {_shown(document, steps)}")


def of_json(raw: bytes) -> str:
    """Say what is wrong with bytes that are no JSON."""
    if raw.startswith(_BOM):
        return "expected JSON in UTF-8 without a byte order mark; found one (U+FEFF) at its beginning"
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        return f"expected JSON in UTF-8; found the byte 0x{raw[error.start]:02X} at byte {error.start}"
    try:
        half = _SURROGATE.search(json.dumps(json.loads(text), ensure_ascii=False))
    except json.JSONDecodeError as error:
        place = "its end" if error.pos >= len(text.rstrip()) else repr(text[error.pos])
        return f"expected JSON; found {place} at line {error.lineno}, column {error.colno}"
    except (RecursionError, ValueError):
        return "expected JSON that is nested less deeply, with shorter numbers; found more"
    if half:
        return f"expected whole characters; found half of a surrogate pair, \\u{ord(half[0]):04x}, alone"
    return "expected JSON as RFC 8259 has it; found something else"


def twice(raw: bytes) -> Fault | None:
    """The first member that an object has twice, where decoders keep the last one. `raw` is known to be JSON."""
    if raw.count(b":") < 2:
        return None
    try:
        json.loads(raw, object_pairs_hook=_once)
    except NotOnce:
        return _place_of_twice(json.loads(raw, object_pairs_hook=_Pairs))
    return None


class _Pairs(list[tuple[str, Any]]):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise NotOnce
    return made


def _place_of_twice(document: Any) -> Fault:
    waiting: list[tuple[list[str], Any]] = [([], document)]
    for steps, value in waiting:
        if isinstance(value, _Pairs):
            seen: set[str] = set()
            for name, inner in value:
                if name in seen:
                    return Fault([*steps, name], f"expected the member {name!r} once; found it twice")
                seen.add(name)
                waiting.append(([*steps, name], inner))
        elif isinstance(value, list):
            waiting += [([*steps, str(index)], inner) for index, inner in enumerate(value)]
    raise AssertionError("expected a member that stands twice")


def _expected(sentence: str, kind: Any, steps: Sequence[str]) -> str:
    """What the decoder's sentence says that it expected."""
    if found := _SIZE.fullmatch(sentence):
        return f"{_KINDS[found[1]]} of {_BOUNDS[found[2]]} {found[3]} {_ITEMS[found[1]]}"
    if found := _BOUND.fullmatch(sentence):
        return f"{_KINDS[found[1]]} of {_BOUNDS[found[2]]} {found[3]}"
    if sentence == "Number out of range":
        return "a number from -1.7e308 to 1.7e308"
    if sentence == "Invalid RFC3339 encoded date":
        return "a day such as 2026-11-23"
    if "RFC3339" in sentence or "timezone" in sentence:
        return TIME
    if found := _KIND.fullmatch(sentence):
        return " or ".join(_KINDS.get(name, name) for name in found[1].split(" | "))
    if sentence == "Invalid UUID":
        return _KINDS["uuid"]
    return " or ".join(repr(choice) for choice in _choices(kind, steps)) or "another value"


def _inner(kind: Any, steps: Sequence[str]) -> Sequence[inspect.Type]:
    """The types that may stand at the end of the steps."""
    kinds: Sequence[inspect.Type] = _alternatives(inspect.type_info(kind))
    for step in steps:
        inner: list[inspect.Type] = []
        for one in kinds:
            if isinstance(one, inspect.StructType):
                inner += [field.type for field in one.fields if field.encode_name == step]
            elif isinstance(one, inspect.ListType):
                inner.append(one.item_type)
        kinds = [alternative for one in inner for alternative in _alternatives(one)]
    return kinds


def _alternatives(kind: inspect.Type) -> list[inspect.Type]:
    kind = kind.type if isinstance(kind, inspect.Metadata) else kind
    return list(kind.types) if isinstance(kind, inspect.UnionType) else [kind]


def _members(kind: Any, steps: Sequence[str]) -> list[str]:
    structs = [one for one in _inner(kind, steps) if isinstance(one, inspect.StructType)]
    return list(dict.fromkeys(field.encode_name for one in structs for field in one.fields))


def _choices(kind: Any, steps: Sequence[str]) -> list[Any]:
    """What a literal may be; of a tag, the names of the structs that it tells apart."""
    literals = [one for one in _inner(kind, steps) if isinstance(one, inspect.LiteralType)]
    if literals:
        return [choice for one in literals for choice in one.values]
    return [one.tag for one in _inner(kind, steps[:-1]) if isinstance(one, inspect.StructType) and one.tag is not None]


def _shown(document: Any, steps: Sequence[str]) -> str:
    value = document
    for step in steps:
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (KeyError, IndexError, TypeError, ValueError):
            return "none"
        if step in SECRET:
            return "another value, which is not shown"
    if isinstance(value, list | dict):  # whatever it holds may be a secret
        return "a list" if isinstance(value, list) else "an object"
    shown = msgspec.json.encode(value).decode()
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"
