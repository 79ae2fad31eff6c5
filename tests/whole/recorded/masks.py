"""What differs each time, in answers: ids, times and tokens that are made meanwhile, numbers of generations.

Each gets a name of the request whose answer brought it first: `<id shoes.1>` is the first id of the answer to `shoes`.
Where it comes again it has the same name, and a request may send it: how answers hang together is compared too.
"""

import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

_VOLATILE = re.compile(
    r"""(?P<secret>esg[st]_[0-9a-f]{64})
    | (?P<id>\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b)
    | (?P<time>\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?(?:Z|\+00:00))
    | (?P<log>(?<=\d@)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})
    | (?P<quoted>(?<="generation":)\d+)
    | (?P<generation>(?<=\.)g[1-9]\d*(?=\.)|(?<=generation\ )\d+)
    | (?P<version>(?<="version":)"[^"]*"|(?<=,\ version\ ).*)
    | (?P<rate>[\d,]+(?=\ a\ second))
    | (?P<size>(?<=backed\ up\ )\d+)
    """,
    re.VERBOSE,
)
_MASK = re.compile(r"<(?:id|time|secret|key|generation) [^<>]+>")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400_000_000
_NEAR = _DAY // 100  # a scenario takes no longer


class Masks:
    """Of one scenario. `keys`: tokens that are known before, by name."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._begun = _now() // 1000 * 1000
        self._masks: dict[str, str] = {}
        self._values: dict[str, str] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        for name, secret in keys.items():
            self._keep(secret, f"<key {name}>")

    def hide(self, text: str, name: str) -> str:
        """An answer's text, of the exchange of this name."""
        return _VOLATILE.sub(lambda found: self._hidden(found, name), text)

    def show(self, text: str) -> str:
        """A request's text as it is to be sent."""
        return _MASK.sub(lambda found: self._values.get(found[0], found[0]), text)

    def _hidden(self, found: re.Match[str], name: str) -> str:
        kind, value = str(found.lastgroup), found[0]
        match kind:
            case "version" | "rate" | "size" | "log":
                return f'"<{kind}>"' if value.startswith('"') else f"<{kind}>"
            case "quoted":
                return f'"{self._generation(value)}"'
            case "generation":
                return self._generation(value.removeprefix("g"))
            case "id" if int(value[:8] + value[9:13], 16) * 1000 < self._begun:
                return value
            case "time":
                return self._time(value, name)
            case _:
                return self._named(value, kind, name)

    def _generation(self, number: str) -> str:
        known = sum(mask.startswith("<generation") for mask in self._values)
        return self._masks.get(f"g{number}") or self._keep(f"g{number}", f"<generation {known + 1}>")

    def _time(self, value: str, name: str) -> str:
        try:
            when, now = _micros(datetime.fromisoformat(value)), _now()
        except ValueError:  # what a client sent, and is none
            return value
        if self._begun <= when <= now:
            return self._named(value, "time", name)
        ends = (days for days in (1, 30, 90) if abs(when - now - days * _DAY) < _NEAR)
        return next((f"<in {days} days>" for days in ends), value)

    def _named(self, value: str, kind: str, name: str) -> str:
        if value in self._masks:
            return self._masks[value]
        self._counts[kind, name] += 1
        return self._keep(value, f"<{kind} {name}.{self._counts[kind, name]}>")

    def _keep(self, value: str, mask: str) -> str:
        self._masks[value], self._values[mask] = mask, value
        return mask


def _micros(when: datetime) -> int:
    """Since 1970."""
    return (when - _EPOCH) // timedelta(microseconds=1)


def _now() -> int:
    return _micros(datetime.now(UTC))
