"""The verdict on a measured figure, and on what must hold on any machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

import numpy as np

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.thesis.tables import PrintedFigure, Trend

PASS, FAIL, NOT_JUDGED = "pass", "fail", "not judged"
_NOT_MEASURED = "not measured in this profile"


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
        Test images behind the figure, those of one seed; 0 for seconds.
    gpu : bool
        Whether TensorFlow saw a GPU.
    """

    full_data: bool = True
    trained_in_full: bool = True
    n_images: int = 10_000
    gpu: bool = False


def judge(printed: PrintedFigure, measured: float | None, grounds: Grounds) -> Verdict:
    """Compare a measured value with a printed one.

    Parameters
    ----------
    printed : PrintedFigure
        As in the thesis.
    measured : float or None
        In the printed figure's unit; None if it was not measured.
    grounds : Grounds
        On what it was measured.

    Returns
    -------
    Verdict
        Two-sided; a figure that cannot be judged here says why.
    """
    if measured is None:
        return Verdict(NOT_JUDGED, _NOT_MEASURED)
    if printed.judged_on == "GPU":
        if not grounds.gpu:
            return Verdict(NOT_JUDGED, "seconds of a GPU, and there was none: their ratios are judged instead")
        low, high = (factor * printed.value for factor in printed.factors or (1.0, 1.0))
        return Verdict(PASS if low <= measured <= high else FAIL, f"{low:.2f} to {high:.2f} {printed.unit}")
    if not grounds.full_data:
        return Verdict(NOT_JUDGED, "the thesis's tolerance holds for the full MNIST only")
    if printed.judged_on == "training" and not grounds.trained_in_full:
        return Verdict(NOT_JUDGED, "trained on fewer images or for fewer epochs than in the thesis")
    tolerance = (printed.tolerance or 0.0) + binomial_error(printed, grounds.n_images)
    # 1e-9: a tolerance of 0 means the printed figure itself, not its last binary digit.
    inside = abs(measured - printed.value) <= tolerance + 1e-9
    return Verdict(PASS if inside else FAIL, f"±{tolerance:.3g} {printed.unit}")


def binomial_error(printed: PrintedFigure, n_images: int) -> float:
    """Return how far the accuracy of some of the 10,000 test images lies from that of all, in points (95 %).

    1.96 standard errors of a share drawn from a finite population of 10,000: 0 where all of them were tested.
    """
    n_all = 10_000
    if not n_images or n_images >= n_all or printed.unit not in ("%", "points"):
        return 0.0
    share = printed.value / 100
    finite = (n_all - n_images) / (n_all - 1)
    return float(100 * 1.96 * np.sqrt(share * (1 - share) / n_images * finite))


def judge_trend(
    trend: Trend, measured: Sequence[tuple[int, float]], spread: float = 0.0
) -> tuple[float | None, Verdict]:
    """Compute a trend's statistic and judge it.

    Parameters
    ----------
    trend : Trend
        What must hold.
    measured : sequence of (int, float)
        ``(n_steps, value)``.
    spread : float
        How far repeats of the same measurement lie apart, over the smallest of them.

    Returns
    -------
    float or None
        The statistic; None where too few values were measured.
    Verdict
        Against the trend's bounds.
    """
    if not measured:
        return None, Verdict(NOT_JUDGED, _NOT_MEASURED)
    if len(measured) < trend.needed_values:
        return None, Verdict(
            NOT_JUDGED, f"{trend.needed_values} values are needed, {len(measured)} measured in this profile"
        )
    n_steps, values = (np.array(column, dtype=float) for column in zip(*measured))
    if values.max() < trend.needed_seconds:
        return None, Verdict(NOT_JUDGED, f"times under {trend.needed_seconds:g} s are too short to show a trend")
    statistic = _statistic(trend, n_steps, values)
    # Other work can only lengthen times: if the longest is short enough, it is so on any machine.
    stands = trend.statistic == "largest" and trend.maximum is not None and statistic <= trend.maximum
    if trend.max_spread is not None and spread > trend.max_spread and not stands:
        apart = f"spread {100 * spread:.3g}%, at most {100 * trend.max_spread:.3g}% can be judged"
        return statistic, Verdict(NOT_JUDGED, f"this machine was busy ({apart})")
    too_low = trend.minimum is not None and not statistic >= trend.minimum
    too_high = trend.maximum is not None and not statistic <= trend.maximum
    return statistic, Verdict(FAIL if too_low or too_high else PASS, _bounds(trend))


def _bounds(trend: Trend) -> str:
    if trend.printed is not None:
        return f"{trend.minimum:.2f} to {trend.maximum:.2f}, thesis {trend.printed:.2f}"
    return f"at least {trend.minimum:g}" if trend.minimum is not None else f"at most {trend.maximum:g}"


def _statistic(trend: Trend, n_steps: AnyArray, values: AnyArray) -> float:
    name = trend.statistic
    if name == "ratio":
        over, under = (float(values[n_steps == n][0]) for n in trend.ratio)
        return over / under
    if name == "median":
        return float(np.median(values))
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
