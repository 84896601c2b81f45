"""What the numbers of a spiking network may be; whoever gives them, a caller or an archive, gets the same answer."""

from __future__ import annotations

import reprlib
from typing import Any, Mapping

import numpy as np

from snnrepro.errors import ModelError

_LARGEST = float(np.finfo(np.float32).max)


def is_number(
    value: Any, at_least: float = -_LARGEST, at_most: float = _LARGEST, above: float = -np.inf, below: float = np.inf
) -> bool:
    """Whether a value is a number that float32 holds, in a range; NaN, infinity and booleans are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return False
    return bool(at_least <= value <= at_most and above < value < below)


def is_count(value: Any) -> bool:
    """Whether a value is a whole number of at least 1."""
    return type(value) is int and is_number(value, at_least=1)


def is_time_or_none(value: Any) -> bool:
    """Whether a value is a time constant above 0 s, or None."""
    return value is None or is_number(value, above=0)


def require(owner: Any, rules: Mapping[str, bool]) -> None:
    """Raise a ModelError with the first rule that is broken; its first word is the field of `owner` it is about."""
    for rule, holds in rules.items():
        if not holds:
            given = reprlib.repr(getattr(owner, rule.split()[0].rstrip(":")))
            raise ModelError(f"{type(owner).__name__}: {rule}, got {given}")
