"""Measured points of the charts: accuracy with its interval, and seconds, by n_steps."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any, Mapping

from snnrepro.metrics import interval
from snnrepro.report.figure import COLOURS
from snnrepro.report.wording import system_name


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
    def place(self) -> tuple[int, bool, float]:
        """Where it stands in a legend or table: trained networks first, then the thesis's recipe, then ours."""
        known = list(COLOURS)
        place = known.index(self.colour) if self.colour in known else len(known)
        return place, self.synapse is None, self.synapse or 0.0

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


def accuracy_series(document: Mapping[str, Any], model: str) -> dict[System, list[Point]]:
    """Return every system's accuracy by n_steps, over all images of all seeds, with Wilson's 95 % interval."""
    answers: dict[System, dict[int, dict[int, tuple[float, int]]]] = {}
    for one in document["measured"]:
        cell = one["cell"]
        if cell["model"] == model and one["n_images"]:
            system = System(cell["system"], cell["recipe"], cell["synapse"])
            for n_steps, percent in one["accuracy"].items():
                if int(n_steps) == 0 and cell["system"] != "keras":
                    continue  # Keras's answers on the images of this cell
                # One value a seed: a training that was judged, too, must not count twice.
                by_seed = answers.setdefault(system, {}).setdefault(int(n_steps), {})
                by_seed[cell["seed"]] = (percent, one["n_images"])
    return {
        system: [_point(n_steps, list(by_n[n_steps].values())) for n_steps in sorted(by_n)]
        for system, by_n in sorted(answers.items(), key=lambda item: item[0].place)
    }


def _point(n_steps: int, seeds: list[tuple[float, int]]) -> Point:
    n_answers = sum(n_images for _, n_images in seeds)
    percent = sum(share * n_images for share, n_images in seeds) / n_answers
    return Point(n_steps, percent, *interval(percent, n_answers), n_answers)


def seconds_series(document: Mapping[str, Any], model: str) -> dict[System, list[tuple[int, float]]]:
    """Return the seconds of 10,000 images by n_steps (0 for Keras): medians over seeds."""
    found: dict[System, dict[int, list[float]]] = {}
    for one in document["measured"]:
        cell = one["cell"]
        if cell["model"] == model and cell["quantity"] == "inference" and cell["system"] != "converted":
            by_n = found.setdefault(System(cell["system"]), {})
            by_n.setdefault(cell["n_steps"], []).append(one["seconds"])
    series = {system: [(n_steps, median(by_n[n_steps])) for n_steps in sorted(by_n)] for system, by_n in found.items()}
    for one in document["converted"]:
        if one["model"] == model and one["recipe"] == "balanced":
            points = sorted((int(n_steps), value) for n_steps, value in one["seconds"].items())
            series[System("converted", "balanced")] = points
    return {system: points for system, points in series.items() if points}


def printed_series(document: Mapping[str, Any], model: str, quantity: str, system: str) -> list[tuple[int, float]]:
    """Return the thesis's printed values of a quantity by n_steps (0 for Keras)."""
    rows = (line["row"] for line in document["lines"])
    return [
        (row["n_steps"], row["value"])
        for row in rows
        if (row["model"], row["quantity"], row["system"]) == (model, quantity, system)
    ]
