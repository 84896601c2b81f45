"""What the images are like that neurons were fitted on, and whether others are like them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Callable, Mapping

import numpy as np

from snnrepro.errors import DataWarning

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.network.task import Task

FEW = 20
"""Fewer calibration images than this are a handful: a channel that none of them excites is fitted to nothing."""

_LOOKED_AT = 1000
"""Images of a run that are compared with the calibration images."""

_BEYOND, _AT_LEAST, _ASIDE = 0.5, 0.25, 1.5
"""How far images may reach beyond the calibration images' range, which share of it they fill at least (both over the
range), and how far the mean of a channel may lie aside (in standard deviations)."""

_OF_A_CLASS = 15
"""Images a class that the trained network is asked about, if there are twice as many."""

_SEEN = 0.1
"""Share of its fair share of the images from which on a class is among them."""


def looked_at(n_images: int, most: int = _LOOKED_AT) -> range:
    """Return which of many images are looked at, evenly spread, at most so many; of a run's if left out."""
    return range(0, n_images, max(1, -(-n_images // most)))


def described(x: FloatArray) -> dict[str, Any]:
    """Return range, and mean and standard deviation of each channel, of images ``(n_images, *input_shape)``.

    The channels are the axis of at most four numbers, if the images have three axes and one of their ends is as short.
    """
    std = x.std(axis=_but_channels(x.shape), dtype=np.float64)
    return {
        "low": float(x.min()),
        "high": float(x.max()),
        "mean": [round(value, 6) for value in _means(x)],
        "std": [round(float(value), 6) for value in np.atleast_1d(std)],
    }


def warn_of_unlike(x: FloatArray, fitted_on: Mapping[str, Any] | None) -> None:
    """Warn where images leave or hardly fill the range of those that neurons were fitted on, or lie aside of it.

    A thousand of them are looked at, evenly spread: this stands before every run, and a few show how they are scaled.

    Parameters
    ----------
    x : numpy.ndarray
        ``(n_images, *input_shape)``.
    fitted_on : mapping or None
        What `described` gave of the calibration images; None if there were none.

    Warns
    -----
    DataWarning
        In one sentence with both ranges.
    """
    if not fitted_on or not x.size:
        return
    x = x[:: looked_at(len(x)).step]
    low, high = fitted_on["low"], fitted_on["high"]
    with np.errstate(invalid="ignore"):
        span, own_low, own_high = high - low, float(x.min()), float(x.max())
    if span <= 0 or not np.isfinite(own_high - own_low):  # it will be refused, with the place of the first
        return
    enough = len(x) >= FEW
    problem = ""
    if own_low < low - _BEYOND * span or own_high > high + _BEYOND * span:
        problem = "leave"
    elif enough and own_high - own_low < _AT_LEAST * span:
        problem = "hardly fill"
    elif enough and _lies_aside(x, fitted_on):
        problem = "are not centred in"
    if problem:
        warnings.warn(
            f"the images, {own_low:.4g} to {own_high:.4g}, {problem} the range of those that the neurons were fitted "
            f"on, {low:.4g} to {high:.4g} (mean {_listed(fitted_on['mean'])}): are both scaled alike?",
            DataWarning,
            stacklevel=4,
        )


def warn_of_poor_calibration(x: FloatArray, answers_of: Callable[[FloatArray], AnyArray], task: Task) -> None:
    """Warn where calibration images say little: a handful, all the same, or of few of the classes.

    Parameters
    ----------
    x : numpy.ndarray
        The images that neurons are fitted on.
    answers_of : callable
        Returns the trained network's answers to images; asked about 15 images a class, or a few more, evenly spread.
    task : Task
        What they mean.

    Warns
    -----
    DataWarning
        In one sentence with what would help.
    """
    problem = ""
    wanted = _OF_A_CLASS * task.n_classes if task.name == "classes" else 0
    if len(x) > 1 and not np.ptp(x, axis=0).any():
        problem = f"all {len(x)} calibration images are the same; images like those it was trained on are needed"
    elif len(x) < FEW:
        problem = (
            f"the neurons are fitted on only {len(x)} calibration images; a few hundred are needed to rely on them"
        )
    elif wanted and len(x) >= 2 * wanted:
        some = x[:: len(x) // wanted]
        counts = np.unique(answers_of(some), return_counts=True)[1]
        # A few wrong answers are no sign of a class.
        n_given = int(np.sum(counts >= _SEEN * len(some) / task.n_classes))
        if 2 * n_given < task.n_classes:
            problem = (
                f"nearly all of the {len(some):,} calibration images that are looked at are of {n_given} of the "
                f"network's {task.n_classes} classes: are they sorted by class? shuffle them"
            )
    if problem:
        warnings.warn(problem, DataWarning, stacklevel=4)


def _lies_aside(x: FloatArray, fitted_on: Mapping[str, Any]) -> bool:
    own = _means(x)
    return len(own) == len(fitted_on["mean"]) and any(
        abs(mean - wanted) > _ASIDE * std
        for mean, wanted, std in zip(own, fitted_on["mean"], fitted_on["std"])
        if std > 0
    )


def _means(x: FloatArray) -> list[float]:
    return [float(mean) for mean in np.atleast_1d(x.mean(axis=_but_channels(x.shape), dtype=np.float64))]


def _but_channels(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return all axes but that of the channels."""
    return tuple(axis for axis in range(len(shape)) if axis != _channels(shape))


def _channels(shape: tuple[int, ...]) -> int | None:
    """Return the axis of the channels of images ``(n_images, ...)``, or None."""
    if len(shape) != 4:
        return None
    return next((axis for axis in (1, 3) if shape[axis] <= 4), None)


def _listed(numbers: list[float]) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers)
