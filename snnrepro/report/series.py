"""Measured points of the charts: accuracy with its interval, and seconds, by n_steps."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from snnrepro.metrics import interval
from snnrepro.report.figure import COLOURS
from snnrepro.report.names import system_name

if TYPE_CHECKING:
    from snnrepro.thesis.results import Results


@dataclass(frozen=True)
class System:
    """What a curve belongs to; `recipe` and `synapse` say how it was converted."""

    system: str
    recipe: str = ""
    synapse: float | None = None

    @property
    def colour(self) -> str:
        """Which of the report's colours and markers is its own."""
        return self.recipe or self.system

    @property
    def rank(self) -> tuple[int, bool, float]:
        """Where it stands in a legend or table: trained networks first, then the thesis's recipe, then ours."""
        known = list(COLOURS)
        rank = known.index(self.colour) if self.colour in known else len(known)
        return rank, self.synapse is None, self.synapse or 0.0

    @property
    def label(self) -> str:
        """Its name in a legend."""
        return "NengoDL, trained there" if self.system == "nengo-dl" else self.short_label

    @property
    def short_label(self) -> str:
        """Its name beside a number."""
        return system_name(self.system, self.recipe, self.synapse)


@dataclass(frozen=True)
class Point:
    """An accuracy in % with the ends of its 95 % interval, and of how many answers it is the share."""

    n_steps: int
    percent: float
    low: float
    high: float
    n_answers: int


def accuracy_series(results: Results, model: str) -> dict[System, list[Point]]:
    """Return every system's accuracy by n_steps, over all images of all seeds, with Wilson's 95 % interval."""
    # (percent, n_images) by system, n_steps and seed: a training that was judged, too, must not count twice.
    answers: dict[System, dict[int, dict[int, tuple[float, int]]]] = defaultdict(lambda: defaultdict(dict))
    for one in results.measured:
        cell = one.cell
        if cell.model == model and one.n_images:
            for n_steps, percent in one.accuracy.items():
                if n_steps or cell.system == "keras":  # others have at 0 what Keras answers to their images
                    system = System(cell.system, cell.recipe, cell.synapse)
                    answers[system][n_steps][cell.seed] = percent, one.n_images
    return {
        system: [_point(n_steps, list(by_n[n_steps].values())) for n_steps in sorted(by_n)]
        for system, by_n in sorted(answers.items(), key=lambda item: item[0].rank)
    }


def _point(n_steps: int, seeds: list[tuple[float, int]]) -> Point:
    n_answers = sum(n_images for _, n_images in seeds)
    percent = sum(share * n_images for share, n_images in seeds) / n_answers
    return Point(n_steps, percent, *interval(percent, n_answers), n_answers)


def seconds_series(results: Results, model: str) -> dict[System, list[tuple[int, float]]]:
    """Return the seconds of 10,000 images by n_steps (0 for Keras): medians over seeds."""
    times: dict[System, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in results.measured:
        cell = one.cell
        if (cell.model, cell.quantity) == (model, "inference") and cell.system != "converted":
            times[System(cell.system)][cell.n_steps].append(one.seconds)
    series = {system: [(n, median(by_n[n])) for n in sorted(by_n)] for system, by_n in times.items()}
    for converted in results.converted:
        if (converted.model, converted.recipe) == (model, "balanced") and converted.seconds:
            series[System("converted", "balanced")] = sorted(converted.seconds.items())
    return series


def printed_series(results: Results, model: str, quantity: str, system: str) -> list[tuple[int, float]]:
    """Return the thesis's printed values of a quantity by n_steps (0 for Keras)."""
    figures = (comparison.printed for comparison in results.comparisons)
    return [
        (figure.n_steps, figure.value)
        for figure in figures
        if (figure.model, figure.quantity, figure.system) == (model, quantity, system)
    ]
