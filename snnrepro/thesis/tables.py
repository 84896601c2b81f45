"""The thesis's figures, read from ``tables.toml``, and the verdict on a measured one."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Sequence

import numpy as np

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PASS, FAIL, NOT_JUDGED = "pass", "fail", "not judged"


@dataclass(frozen=True)
class Row:
    """One printed figure.

    Attributes
    ----------
    model, system, quantity : str
        Which network, trained how, and what was measured.
    n_steps : int
        Time steps; 0 for Keras.
    value : float
        As printed.
    unit : str
        "%", "s" or "points".
    reason : str
        Why the tolerance is what it is.
    judged_on : str
        "full-mnist" or "thesis-hardware".
    tolerance : float, optional
        Two-sided, in the same unit.
    """

    model: str
    system: str
    quantity: str
    n_steps: int
    value: float
    unit: str
    reason: str
    judged_on: str
    tolerance: float | None = None


@dataclass(frozen=True)
class Trend:
    """What must hold on any machine, however fast.

    Attributes
    ----------
    model, name, quantity : str
        Of which network, in words, and of which measured quantity.
    statistic : str
        "r_squared" of a straight line in n_steps, or "spread" (largest distance from the median, over the median).
    needed_seconds : float
        The longest measured time must be at least this, or the trend is not judged.
    reason : str
        Why it must hold.
    minimum, maximum : float, optional
        Bounds of the statistic.
    """

    model: str
    name: str
    quantity: str
    statistic: str
    needed_seconds: float
    reason: str
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether a measured value agrees with the thesis.

    Attributes
    ----------
    outcome : str
        "pass", "fail" or "not judged".
    why : str
        The tolerance applied, or why none is.
    """

    outcome: str
    why: str


@lru_cache(maxsize=None)
def _document() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("tables.toml").read_text(encoding="utf-8"))


def settings() -> dict[str, Any]:
    """Return the thesis's settings (optimizer, batch size, epochs, n_steps, hardware, libraries)."""
    return dict(_document()["settings"])


def model_settings(model: str) -> dict[str, Any]:
    """Return the layer sizes of one of the thesis's models."""
    return dict(_document()["models"][model])


def models() -> tuple[str, ...]:
    """Return the names of the thesis's models that can be reproduced."""
    return tuple(_document()["models"])


def rows(model: str) -> tuple[Row, ...]:
    """Return every printed figure of a model, in the thesis's order."""
    return tuple(Row(**entry) for entry in _document()["rows"] if entry["model"] == model)


def trends(model: str) -> tuple[Trend, ...]:
    """Return what must hold of a model on any machine."""
    return tuple(Trend(**entry) for entry in _document()["trends"] if entry["model"] == model)


def judge(row: Row, measured: float | None, full_data: bool) -> Verdict:
    """Compare a measured value with a printed one.

    Parameters
    ----------
    row : Row
        The printed figure.
    measured : float or None
        In the row's unit; None if it was not measured.
    full_data : bool
        Whether it was measured on the full MNIST.

    Returns
    -------
    Verdict
        Two-sided; a row that cannot be judged here says so.
    """
    if measured is None:
        return Verdict(NOT_JUDGED, "not measured in this profile")
    if row.judged_on == "thesis-hardware" or row.tolerance is None:
        return Verdict(NOT_JUDGED, "seconds depend on the machine; see the trends")
    if not full_data:
        return Verdict(NOT_JUDGED, "the thesis's tolerance holds for the full MNIST only")
    # 1e-9: a tolerance of 0 means the printed figure itself, not its last binary digit.
    inside = abs(measured - row.value) <= row.tolerance + 1e-9
    return Verdict(PASS if inside else FAIL, f"±{row.tolerance:g} {row.unit}")


def judge_trend(trend: Trend, measured: Sequence[tuple[int, float]]) -> tuple[float | None, Verdict]:
    """Compute a trend's statistic and judge it.

    Parameters
    ----------
    trend : Trend
        What must hold.
    measured : sequence of (int, float)
        ``(n_steps, seconds)``, at least three of them.

    Returns
    -------
    float or None
        The statistic; None where too few values were measured.
    Verdict
        Against the trend's bounds.
    """
    if len(measured) < 3:
        return None, Verdict(NOT_JUDGED, f"three values are needed, {len(measured)} measured in this profile")
    longest = max(seconds for _, seconds in measured)
    if longest < trend.needed_seconds:
        return None, Verdict(NOT_JUDGED, f"times under {trend.needed_seconds:g} s are too short to show a trend")
    n_steps, seconds = (np.array(column, dtype=float) for column in zip(*measured))
    if trend.statistic == "r_squared":
        statistic = float(np.corrcoef(n_steps, seconds)[0, 1] ** 2)
        if np.polyfit(n_steps, seconds, 1)[0] <= 0:  # a falling line is not growth, however straight
            statistic = 0.0
    elif trend.statistic == "spread":
        statistic = float(np.abs(seconds / np.median(seconds) - 1).max())
    else:
        raise ValueError(f"tables.toml: unknown statistic {trend.statistic!r}")
    too_low = trend.minimum is not None and not statistic >= trend.minimum
    too_high = trend.maximum is not None and not statistic <= trend.maximum
    bound = f"at least {trend.minimum:g}" if trend.minimum is not None else f"at most {trend.maximum:g}"
    return statistic, Verdict(FAIL if too_low or too_high else PASS, bound)
