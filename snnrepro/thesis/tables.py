"""The thesis's figures, read from ``tables.toml``, and the verdict on a measured one."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray

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
    measured_on : str
        The thesis's hardware or data.
    judged_on : str
        "training" (the full MNIST and the thesis's epochs), "test images" (MNIST's own test images) or "GPU".
    tolerance : float, optional
        Two-sided, in the same unit.
    factors : tuple of float, optional
        Instead of a tolerance: the smallest and the largest multiple of the value.
    """

    model: str
    system: str
    quantity: str
    n_steps: int
    value: float
    unit: str
    reason: str
    measured_on: str
    judged_on: str
    tolerance: float | None = None
    factors: tuple[float, float] | None = None


@dataclass(frozen=True)
class Trend:
    """What must hold on any machine, however fast.

    Attributes
    ----------
    model, name, quantity : str
        Of which network, in words, and of which measured quantity.
    statistic : str
        "r_squared" of a straight line in n_steps, "spread" (largest distance from the median, over the median),
        "largest" or "smallest".
    reason : str
        Why it must hold.
    needed_seconds : float
        The longest measured time must be at least this, or the trend is not judged.
    needed_values : int
        The same for the number of values.
    minimum, maximum : float, optional
        Bounds of the statistic.
    """

    model: str
    name: str
    quantity: str
    statistic: str
    reason: str
    needed_seconds: float = 0.0
    needed_values: int = 1
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


@dataclass(frozen=True)
class Grounds:
    """On what a figure was measured, as far as its verdict depends on it.

    Attributes
    ----------
    full_data : bool
        Whether the data are the full MNIST.
    trained_in_full : bool
        Whether the networks were trained on all of it for the thesis's epochs.
    n_images : int
        Test images behind the figure, those of one seed; 0 where the figure is not about images.
    gpu : bool
        Whether TensorFlow saw a GPU.
    """

    full_data: bool = True
    trained_in_full: bool = True
    n_images: int = 10_000
    gpu: bool = False


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
    return tuple(
        _row(table, entry) for table in _document()["tables"] if table["model"] == model for entry in table["rows"]
    )


def _row(table: dict[str, Any], entry: dict[str, Any]) -> Row:
    fields = {name: value for name, value in table.items() if name != "rows"}
    fields.update(entry)
    fields["reason"] = _document()["reasons"][fields["reason"]]
    if "factors" in fields:
        fields["factors"] = tuple(fields["factors"])
    return Row(**fields)


def trends(model: str) -> tuple[Trend, ...]:
    """Return what must hold of a model on any machine."""
    found = []
    for entry in _document()["trends"]:
        if model in entry["models"]:
            found.append(Trend(model, **{name: value for name, value in entry.items() if name != "models"}))
    return tuple(found)


def judge(row: Row, measured: float | None, grounds: Grounds) -> Verdict:
    """Compare a measured value with a printed one.

    Parameters
    ----------
    row : Row
        The printed figure.
    measured : float or None
        In the row's unit; None if it was not measured.
    grounds : Grounds
        On what it was measured.

    Returns
    -------
    Verdict
        Two-sided; a row that cannot be judged here says so.
    """
    if measured is None:
        return Verdict(NOT_JUDGED, "not measured in this profile")
    if row.judged_on == "GPU":
        if not grounds.gpu:
            return Verdict(NOT_JUDGED, "seconds of a GPU, and there was none; see what must hold on any machine")
        low, high = (factor * row.value for factor in row.factors or (1.0, 1.0))
        return Verdict(PASS if low <= measured <= high else FAIL, f"{low:.2f} to {high:.2f} {row.unit}")
    if not grounds.full_data:
        return Verdict(NOT_JUDGED, "the thesis's tolerance holds for the full MNIST only")
    if row.judged_on == "training" and not grounds.trained_in_full:
        return Verdict(NOT_JUDGED, "trained on fewer images or for fewer epochs than in the thesis")
    tolerance = (row.tolerance or 0.0) + binomial_error(row, grounds.n_images)
    # 1e-9: a tolerance of 0 means the printed figure itself, not its last binary digit.
    inside = abs(measured - row.value) <= tolerance + 1e-9
    return Verdict(PASS if inside else FAIL, f"±{tolerance:.3g} {row.unit}")


def binomial_error(row: Row, n_images: int) -> float:
    """Return how far the accuracy of some of the 10,000 test images lies from that of all, in points (95 %).

    1.96 standard errors of a share drawn from a finite population of 10,000: 0 where all of them were tested.
    """
    n_all = 10_000
    if not n_images or n_images >= n_all or row.unit not in ("%", "points"):
        return 0.0
    share = row.value / 100
    finite = (n_all - n_images) / (n_all - 1)
    return float(100 * 1.96 * np.sqrt(share * (1 - share) / n_images * finite))


def judge_trend(trend: Trend, measured: Sequence[tuple[int, float]]) -> tuple[float | None, Verdict]:
    """Compute a trend's statistic and judge it.

    Parameters
    ----------
    trend : Trend
        What must hold.
    measured : sequence of (int, float)
        ``(n_steps, value)``.

    Returns
    -------
    float or None
        The statistic; None where too few values were measured.
    Verdict
        Against the trend's bounds.
    """
    if len(measured) < max(1, trend.needed_values):
        return None, Verdict(
            NOT_JUDGED, f"{trend.needed_values} values are needed, {len(measured)} measured in this profile"
        )
    n_steps, values = (np.array(column, dtype=float) for column in zip(*measured))
    if values.max() < trend.needed_seconds:
        return None, Verdict(NOT_JUDGED, f"times under {trend.needed_seconds:g} s are too short to show a trend")
    statistic = _statistic(trend.statistic, n_steps, values)
    too_low = trend.minimum is not None and not statistic >= trend.minimum
    too_high = trend.maximum is not None and not statistic <= trend.maximum
    bound = f"at least {trend.minimum:g}" if trend.minimum is not None else f"at most {trend.maximum:g}"
    return statistic, Verdict(FAIL if too_low or too_high else PASS, bound)


def _statistic(name: str, n_steps: AnyArray, values: AnyArray) -> float:
    if name == "r_squared":
        if np.polyfit(n_steps, values, 1)[0] <= 0:  # a falling line is not growth, however straight
            return 0.0
        return float(np.corrcoef(n_steps, values)[0, 1] ** 2)
    if name == "spread":
        return float(np.abs(values / np.median(values) - 1).max())
    if name == "largest":
        return float(values.max())
    if name == "smallest":
        return float(values.min())
    raise ValueError(f"tables.toml: unknown statistic {name!r}")
