"""What was measured beside what the thesis printed, judged; and what conversions without retraining gave."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import mean, median
from typing import Mapping, Sequence

from snnrepro.thesis import tables
from snnrepro.thesis.cells import JUDGED_SYNAPSE, Measured
from snnrepro.thesis.judge import Grounds, Verdict, judge, judge_trend
from snnrepro.thesis.tables import PrintedFigure, Trend


@dataclass(frozen=True)
class Comparison:
    """One printed figure with what was measured.

    Attributes
    ----------
    printed : PrintedFigure
        As in the thesis.
    measured : float or None
        Median over seeds, the typical training: one of five in NengoDL may be stuck 14 points below. None if it was not
        measured.
    values : tuple of float
        One per seed.
    n_images : int
        Test images behind each value; 0 for seconds.
    verdict : Verdict
        Whether they agree.
    """

    printed: PrintedFigure
    measured: float | None
    values: tuple[float, ...]
    n_images: int
    verdict: Verdict


@dataclass(frozen=True)
class TrendComparison:
    """What must hold on any machine, with the statistic measured (None if too little was)."""

    trend: Trend
    statistic: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Converted:
    """What a conversion without retraining gave, over the seeds.

    Attributes
    ----------
    model, recipe : str
        Of which network, by which recipe.
    synapse : float or None
        Of the recipe "thesis", s.
    n_images : int
        Test images.
    accuracy, loss : dict of int to float
        By n_steps, the mean in %, and the mean of what Keras answers better on the same images, in points.
    range : dict of int to (float, float)
        The lowest and the highest accuracy.
    seconds : dict of int to float
        Median seconds of 10,000 images.
    """

    model: str
    recipe: str
    synapse: float | None
    n_images: int
    accuracy: Mapping[int, float]
    loss: Mapping[int, float]
    range: Mapping[int, tuple[float, float]]
    seconds: Mapping[int, float]


def compared(model: str, measured: Sequence[Measured], grounds: Grounds) -> list[Comparison]:
    """Return every printed figure of a model beside what its cells measured."""
    return [_comparison(printed, measured, grounds) for printed in tables.figures(model)]


def _comparison(printed: PrintedFigure, measured: Sequence[Measured], grounds: Grounds) -> Comparison:
    sources = [one for one in measured if _gives(one, printed)]
    values = tuple(_value(one, printed) for one in sources)
    is_time = printed.unit == "s"
    figure = median(values) if values else None
    n_images = 0 if is_time else min((one.n_images for one in sources), default=0)
    return Comparison(printed, figure, values, n_images, judge(printed, figure, replace(grounds, n_images=n_images)))


def _gives(one: Measured, printed: PrintedFigure) -> bool:
    """Return whether a cell holds a printed figure's value."""
    cell = one.cell
    if cell.system != printed.system:
        return False
    if printed.quantity == "accuracy_loss":
        return cell.recipe == "thesis" and cell.synapse == JUDGED_SYNAPSE and printed.n_steps in one.accuracy
    if printed.quantity == "accuracy":
        return printed.n_steps in one.accuracy
    if printed.quantity == "inference" and printed.n_steps in one.inference:
        return True
    return (cell.quantity, cell.n_steps) == (printed.quantity, printed.n_steps)


def _value(one: Measured, printed: PrintedFigure) -> float:
    if printed.unit == "s":
        return one.inference.get(printed.n_steps, one.seconds)
    accuracy = one.accuracy[printed.n_steps]
    return accuracy if printed.quantity == "accuracy" else one.accuracy[0] - accuracy


def compared_trends(model: str, measured: Sequence[Measured], converted: Sequence[Converted]) -> list[TrendComparison]:
    """Return what must hold of a model on any machine beside what its cells measured."""
    return [
        TrendComparison(trend, *judge_trend(trend, _series(trend, measured, converted), _spread(trend, measured)))
        for trend in tables.trends(model)
    ]


def _series(trend: Trend, measured: Sequence[Measured], converted: Sequence[Converted]) -> list[tuple[int, float]]:
    """Return what a trend is judged on: ``(n_steps, value)``."""
    if trend.quantity == "pace":
        return [pair for one in measured for pair in one.pace.items()]
    if trend.quantity == "training":
        return [(one.cell.n_steps, _work(one)) for one in _trainings(measured, "nengo-dl")]
    if trend.quantity == "training_ratio":
        of_keras = {one.cell.seed: _work(one) for one in _trainings(measured, "keras")}
        own = [one for one in _trainings(measured, "nengo-dl") if one.cell.seed in of_keras]
        return [(one.cell.n_steps, _work(one) / of_keras[one.cell.seed]) for one in own]
    if trend.quantity == "agreement":
        return [(one.cell.n_steps, one.agreement) for one in measured if one.agreement is not None]
    if trend.quantity == "balanced_ssim":
        return [(one.cell.n_steps, one.ssim["keras~snn"]) for one in measured if one.cell.recipe == "balanced"]
    balanced = [one for one in converted if one.recipe == "balanced"]
    if trend.quantity == "balanced_loss":
        return [(n, loss) for one in balanced for n, loss in one.loss.items() if n >= _ENOUGH_STEPS]
    if trend.quantity == "of_thesis_seconds":
        printed = {
            figure.n_steps: figure.value
            for figure in tables.figures(trend.model)
            if (figure.quantity, figure.system) == ("inference", "nengo-dl")
        }
        return [(n, seconds / printed[n]) for one in balanced for n, seconds in one.seconds.items() if n in printed]
    raise ValueError(f"tables.toml: unknown quantity {trend.quantity!r} of a trend")


def _trainings(measured: Sequence[Measured], system: str) -> list[Measured]:
    return [one for one in measured if (one.cell.quantity, one.cell.system) == ("training", system)]


def _work(training: Measured) -> float:
    """Return the CPU seconds of a training, or, where they were not taken, the seconds it lasted."""
    return training.seconds if training.cpu_seconds is None else training.cpu_seconds


def _spread(trend: Trend, measured: Sequence[Measured]) -> float:
    """Return how far repeats lie apart of what a trend is judged on; 0 where that is not known."""
    if trend.quantity == "pace":
        return max((one.spread for one in measured if one.pace and one.spread), default=0.0)
    if trend.quantity == "of_thesis_seconds":
        return max((one.spread for one in measured if one.cell.recipe == "balanced" and one.spread), default=0.0)
    if trend.quantity == "training":
        # A training that lasts longer than others for the same CPU time had to wait for other processes.
        waits = [one.seconds / one.cpu_seconds for one in _trainings(measured, "nengo-dl") if one.cpu_seconds]
        return max(waits) / min(waits) - 1 if waits else 0.0
    return 0.0


_ENOUGH_STEPS = 15
"""The smallest n_steps, beside 1, of the thesis."""


def conversions(model: str, measured: Sequence[Measured]) -> list[Converted]:
    """Return what each recipe gave for a model, over the seeds."""
    kinds = dict.fromkeys((one.cell.recipe, one.cell.synapse) for one in measured if one.cell.system == "converted")
    converted = []
    for recipe, synapse in kinds:
        own = [one for one in measured if (one.cell.recipe, one.cell.synapse) == (recipe, synapse) and one.accuracy]
        if not own:
            continue
        by_n = sorted({n for one in own for n in one.accuracy if n})
        accuracies = {n: [one.accuracy[n] for one in own if n in one.accuracy] for n in by_n}
        losses = {n: [one.accuracy[0] - one.accuracy[n] for one in own if n in one.accuracy] for n in by_n}
        timed = [one for one in own if one.cell.quantity == "inference"]
        seconds = {n: [one.seconds for one in timed if one.cell.n_steps == n] for n in by_n}
        converted.append(
            Converted(
                model=model,
                recipe=recipe,
                synapse=synapse,
                n_images=min(one.n_images for one in own),
                accuracy={n: mean(values) for n, values in accuracies.items()},
                loss={n: mean(values) for n, values in losses.items()},
                range={n: (min(values), max(values)) for n, values in accuracies.items()},
                seconds={n: median(values) for n, values in seconds.items() if values},
            )
        )
    return converted
