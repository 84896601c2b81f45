"""The front of a study as a chart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Sequence

from snnrepro.errors import DataError
from snnrepro.report.figure import INK, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from snnrepro.report.figure import Plot
    from snnrepro.study.study import Point


def front_plot(front: Sequence[Point], name: str) -> Plot:
    """Return what conversions lose against the operations they take, their time steps written beside them.

    Raises
    ------
    DataError
        There is none.
    DependencyError
        matplotlib is missing.
    """
    if not front:
        raise DataError("the study has no finished trial: there is nothing to draw")

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        operations, losses = [point.operations for point in front], [point.loss for point in front]
        below = [point.loss - point.low for point in front]
        above = [point.high - point.loss for point in front]
        axes.errorbar(
            operations, losses, yerr=[below, above], fmt="o", color="#009270", ecolor="#00927055", markersize=4
        )
        for point in front:
            axes.annotate(
                str(point.choice.n_steps),
                (point.operations, point.loss),
                xytext=(4, 4),
                textcoords="offset points",
                fontsize=7,
            )
        axes.axhline(0, color=INK, linewidth=0.6)
        axes.set_xscale("log")
        axes.set_xlabel("synaptic operations per image")
        axes.set_ylabel("points lost (95 %)")
        axes.set_title(f"{name}: the front, with time steps")
        figure.tight_layout()

    alt = "; ".join(f"{point.choice.n_steps} steps {point.loss:.2f} points" for point in front)
    return draw("front", "study", 3.0, paint, alt, "Nothing that was tried is better by one and as good by the others.")
