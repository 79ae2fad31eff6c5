"""Ranks: short strings that order siblings, with room for one more between any two.

A rank is a whole number in six base-62 digits, then a fraction in base 62 that never ends in `0`, so plain
string comparison orders ranks. Coming last or first costs one step of the number; only a place between two
neighbouring numbers needs a fraction, one digit longer for about every six insertions at the same spot.
After David Greenspan, "Implementing Fractional Indexing" (Observable, 2020).
"""

from itertools import pairwise

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUE = {digit: value for value, digit in enumerate(_DIGITS)}
_NEXT = dict(pairwise(_DIGITS))
_WHOLE = 6
_MIDDLE = len(_DIGITS) ** _WHOLE // 2


def between(low: str | None, high: str | None) -> str:
    """A rank above `low` and below `high`; None stands for no bound. Expects low < high."""
    if low is None:
        return _whole(_MIDDLE if high is None else _number(high) - 1)
    if high is None:
        # The next number: mostly its last digit is the next one.
        return low[: _WHOLE - 1] + _NEXT[low[_WHOLE - 1]] if low[_WHOLE - 1] in _NEXT else _whole(_number(low) + 1)
    gap = _number(high) - _number(low)
    if gap > 1:
        return _whole(_number(low) + gap // 2)
    if gap == 0:
        return low[:_WHOLE] + _fraction_between(low[_WHOLE:], high[_WHOLE:])
    return high[:_WHOLE] if len(high) > _WHOLE else low[:_WHOLE] + _fraction_above(low[_WHOLE:])


def _number(rank: str) -> int:
    value = 0
    for digit in rank[:_WHOLE]:
        value = value * len(_DIGITS) + _VALUE[digit]
    return value


def _whole(number: int) -> str:
    digits = ""
    for _ in range(_WHOLE):
        number, value = divmod(number, len(_DIGITS))
        digits = _DIGITS[value] + digits
    return digits


def _fraction_above(low: str) -> str:
    full = len(low) - len(low.lstrip("z"))
    value = _VALUE[low[full]] if full < len(low) else 0
    return low[:full] + _DIGITS[(value + len(_DIGITS)) // 2]


def _fraction_between(low: str, high: str) -> str:
    same = 0
    while (same < len(low) and low[same] == high[same]) or (same >= len(low) and high[same] == "0"):
        same += 1
    below = _VALUE[low[same]] if same < len(low) else 0
    above = _VALUE[high[same]]
    if above - below > 1:
        return high[:same] + _DIGITS[(below + above) // 2]
    if len(high) > same + 1:
        return high[: same + 1]
    return high[:same] + _DIGITS[below] + _fraction_above(low[same + 1 :])
