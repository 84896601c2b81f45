"""Results beside earlier ones: what changed, and whether more than it may."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

from snnrepro.errors import DataError

if TYPE_CHECKING:
    from snnrepro.checking.results import Result, Results

FIGURES = {
    "accuracy": ("spiking", True),
    "loss": ("loss", False),
    "n_steps": ("n_steps", False),
    "spikes": ("spikes", False),
    "operations": ("operations", False),
    "seconds": ("seconds", False),
}
"""What is compared -> its name in `Result.figures`, and whether more of it is better. Accuracy stands for whatever the
task's figure of merit is, in %."""


def decimals(figure: str) -> int:
    """Return how many decimals a figure is told with: counts have none."""
    return 2 if figure in ("accuracy", "loss", "seconds") else 0


@dataclass(frozen=True)
class Limit:
    """How much worse a figure may get.

    Attributes
    ----------
    figure : str
        One of `FIGURES`.
    most : float
        In the figure's own unit, or in % of what it was.
    is_relative : bool
        Whether it is in %.
    """

    figure: str
    most: float
    is_relative: bool

    def __str__(self) -> str:
        return f"{self.figure}:{self.most:g}{'%' if self.is_relative else ''}"


@dataclass(frozen=True)
class Change:
    """One figure of one model before and now.

    Attributes
    ----------
    model, figure : str
        The model's name, and one of `FIGURES`.
    before, now : float or None
        The figures; None where one was not measured.
    interval : (float, float) or None
        Of an accuracy on the same images, the 95 % interval of the change, in points, image by image.
    limit : Limit or None
        How much worse it may get.
    """

    model: str
    figure: str
    before: float | None
    now: float | None
    interval: tuple[float, float] | None = None
    limit: Limit | None = None

    @property
    def change(self) -> float:
        """By how much it changed; nan where one side was not measured."""
        return math.nan if self.before is None or self.now is None else self.now - self.before

    @property
    def is_too_much(self) -> bool:
        """Whether it got worse than it may, or cannot be known to have not."""
        if self.limit is None:
            return False
        worse = -self.change if FIGURES[self.figure][1] else self.change
        if math.isnan(worse):
            return True
        most = self.limit.most * abs(self.before or 0.0) / 100 if self.limit.is_relative else self.limit.most
        return worse > most + _ROUNDING * abs(self.before or 0.0)


_ROUNDING = 1e-9
"""Share of a figure that sums in another order may change: 0.2 points lost of 10,000 images are not more than 0.2."""


def limit(text: str) -> Limit:
    """Return what FIGURE:0.2 or FIGURE:5% says.

    Raises
    ------
    DataError
        It says neither.

    Examples
    --------
    >>> limit("operations:5%")
    Limit(figure='operations', most=5.0, is_relative=True)
    """
    figure, _, amount = text.partition(":")
    is_relative = amount.endswith("%")
    try:
        most = float(amount[:-1] if is_relative else amount)
    except ValueError:
        most = math.nan
    if figure not in FIGURES or not 0 <= most < math.inf:
        raise DataError(
            f"{text!r}: a figure and how much worse it may get are needed, as accuracy:0.2 (points) or operations:5%; "
            f"figures are {', '.join(FIGURES)}"
        )
    return Limit(figure, most, is_relative)


def changes(before: Results, now: Results, limits: Sequence[Limit] = ()) -> list[Change]:
    """Return every figure of every model that both have, or that a limit asks for.

    Raises
    ------
    DataError
        They have no model in common.
    """
    common = [name for name in now.models if name in before.models]
    if not common:
        sides = [", ".join(sorted(side.models)) or "none" for side in (now, before)]
        raise DataError(f"no model is in both: measured now {sides[0]}, in the reference {sides[1]}")
    by_figure = {one.figure: one for one in limits}
    found = []
    for name in common:
        old, new = before.models[name], now.models[name]
        for figure, (key, _) in FIGURES.items():
            pair = old.figures.get(key), new.figures.get(key)
            if figure in by_figure or None not in pair:
                interval = _paired(old, new) if figure == "accuracy" else None
                found.append(Change(name, figure, *pair, interval, by_figure.get(figure)))
    return found


def _paired(before: Result, now: Result) -> tuple[float, float] | None:
    """Return the interval of the change of the figure of merit, where both were judged on the same images."""
    if before.counts is None or now.counts is None or now.task is None or before.task != now.task:
        return None
    if before.images != now.images or before.counts.shape != now.counts.shape:
        return None
    loss = now.task.loss_of_counts(before.counts, now.counts)
    return -loss.high, -loss.low
