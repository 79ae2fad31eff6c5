"""Ranks: short strings that order siblings, with room for one more between any two.

A rank is a whole number in six base-62 digits, then a fraction in base 62 that never ends in `0`, so plain string
comparison orders ranks. Coming last or first costs one step of the number; only a place between two neighbouring
numbers needs a fraction, one digit longer for about every six insertions at the same spot. Where it would be longer
than LONGEST, neighbours get new ranks: about one for each insertion at the worst spot, few elsewhere.
After David Greenspan, "Implementing Fractional Indexing" (Observable, 2020), and Bender, Cole, Demaine, Farach-Colton
and Zito, "Two Simplified Algorithms for Maintaining Order in a List" (ESA 2002).
"""

from collections.abc import Sequence
from itertools import pairwise

LONGEST = 64
"""Characters that a rank has at most. Logs of versions before 2 have longer ones: those are only read."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BASE = len(_DIGITS)
_VALUE = {digit: value for value, digit in enumerate(_DIGITS)}
_NEXT = dict(pairwise(_DIGITS))
_WHOLE = 6
_MIDDLE = _BASE**_WHOLE // 2
_FREE = 2
"""Digits that new ranks of neighbours leave free, for each time that their number doubles, so that the more they are,
the longer until they are next. With fewer there is too little room too soon, with more too many are needed."""


def between(low: str | None, high: str | None) -> str | None:
    """A rank above `low` and below `high`; None stands for no bound, and as the answer for no rank of LONGEST."""
    if high is None and low is not None and (last := low[_WHOLE - 1 : _WHOLE]) in _NEXT:
        return low[: _WHOLE - 1] + _NEXT[last]  # the next number, quickly
    ranks = _spread(low, high, 1, LONGEST)
    return ranks[0] if ranks else None


def spaced(ranks: Sequence[str], place: int) -> tuple[int, list[str]]:
    """Room for one more at `place` among `ranks`: where the first rank is that changes, and new ones from there on,
    the new one's among them, for as few as are needed, to a factor of two."""
    reach = 0
    while True:
        left, right = max(0, place - reach), min(len(ranks), place + reach)
        for first, behind in ((left, place), (place, right), (left, right)):
            low = ranks[first - 1] if first > 0 else None
            high = ranks[behind] if behind < len(ranks) else None
            neighbours = behind - first
            longest = LONGEST - _FREE * neighbours.bit_length()
            if fresh := _spread(low, high, neighbours + 1, longest):
                return first, fresh
        reach = 2 * reach or 1


def _spread(low: str | None, high: str | None, many: int, longest: int) -> list[str] | None:
    """So many ranks above `low` and below `high`, evenly and as short as can be; None if they would be longer."""
    if low is None or high is None:
        first = _number(low) + 1 if low is not None else _MIDDLE if high is None else _number(high) - many
        if 0 <= first <= _BASE**_WHOLE - many:
            return [_rank(first + step, _WHOLE) for step in range(many)]
    below, lows = (-1, "z" * longest) if low is None else (0, low[:longest].ljust(longest, "0"))
    above, highs = (1, "0" * longest) if high is None else (0, high[:longest].ljust(longest, "0"))
    for digits, (lower, upper) in enumerate(zip(lows, highs, strict=True), 1):
        below, above = below * _BASE + _VALUE[lower], above * _BASE + _VALUE[upper]
        gap = above + (len(high or "") > digits) - below
        if digits >= _WHOLE and gap > many:
            return [_rank(below + gap * step // (many + 1), digits) for step in range(1, many + 1)]
    return None


def _number(rank: str) -> int:
    value = 0
    for digit in rank[:_WHOLE].ljust(_WHOLE, "0"):
        value = value * _BASE + _VALUE[digit]
    return value


def _rank(value: int, digits: int) -> str:
    text = ""
    for _ in range(digits):
        value, digit = divmod(value, _BASE)
        text = _DIGITS[digit] + text
    return text[:_WHOLE] + text[_WHOLE:].rstrip("0")
