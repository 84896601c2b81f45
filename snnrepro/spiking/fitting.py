"""The neurons of a network, fitted on calibration images for one number of steps after the other."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.spiking.ensembles import with_ensembles
from snnrepro.spiking.fixed_point import FLOAT
from snnrepro.spiking.images import described
from snnrepro.spiking.neurons import IF
from snnrepro.spiking.run import within
from snnrepro.spiking.schedule import is_maximum

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray
    from snnrepro.spiking.calibrate import Calibrated
    from snnrepro.spiking.fit import Grid
    from snnrepro.spiking.recipes import Recipe
    from snnrepro.spiking.run import Progress
    from snnrepro.spiking.schedule import Schedule
    from snnrepro.spiking.shelf import Shelf
    from snnrepro.spiking.targets import Targets

_TELLING = 1024
"""Samples of a channel that tell which growth errs least."""
_OF_CHOICE, _OF_TUNING = 0.5, 0.7
"""Of the progress that is left, for choosing a growth and for tuning all constants."""
_LARGEST_GROWTH = 1.25
"""Beyond, an early error of a spike cannot be made up for any more (held-out training images, T = 4)."""


class Fitting:
    """The neurons of one network, fitted on the same images for whatever numbers of steps.

    Parameters
    ----------
    schedule : Schedule
        The network, a rectifier for each activation.
    x : numpy.ndarray
        Calibration images, ``(n_images, *input_shape)``.
    shelf : Shelf
        Where activations and spikes lie.
    is_classes : bool
        Whether what is read out are the scores of classes.
    weights : str
        What weights are rounded to, of `snnrepro.spiking.fixed_point.WEIGHTS`.
    neurons_per_activation : int
        How many neurons stand for each activation.

    Attributes
    ----------
    images : dict
        What the images are like.
    """

    def __init__(
        self,
        schedule: Schedule,
        x: FloatArray,
        shelf: Shelf,
        is_classes: bool,
        weights: str,
        neurons_per_activation: int = 1,
    ) -> None:
        from snnrepro.spiking.targets import Activations  # loads Numba, which reading a network need not wait for

        schedule = with_ensembles(schedule, neurons_per_activation)
        self._per_activation = neurons_per_activation

        self._activations, self._shelf = Activations(schedule, x, shelf), shelf
        self._schedule, self._x, self._is_classes = schedule, x, is_classes
        self._weights = weights
        self._made: dict[Any, Calibrated] = {}
        self.images = described(x)

    def fitted(self, recipe: Recipe, n_steps: int, progress: Progress, guess: str) -> Calibrated:
        """Return the calibration with the smallest error at the readout, of one for each growth that may be tried.

        Which growth that is, a few samples of few images tell. A near guess is fitted with the largest growth alone,
        and on no more images than give all samples; a rough one also on few images whatever they give, and on a rough
        grid.
        """
        from snnrepro.spiking.fit import FINE, ROUGH
        from snnrepro.spiking.targets import FEWEST_IMAGES

        neuron = recipe.neuron if isinstance(recipe.neuron, IF) else IF()  # another is one that `recipe.fit` leaves out
        growths = sorted({min(_LARGEST_GROWTH, ratio ** (1 / n_steps)) for ratio in recipe.outweigh})
        if recipe.threshold != "fitted" or recipe.fit is not None or self._keeps_its_growth():
            growths = [neuron.growth]
        elif guess:
            growths = growths[-1:]
        of = self._activations
        targets = of.for_steps(n_steps, {"": None, "near": of.enough(), "rough": FEWEST_IMAGES}[guess])
        fit = partial(self._fit, recipe, neuron, n_steps)
        few = max(len(targets.x) // 4, of.enough(1, _TELLING))
        if len(growths) > 1 and 2 * few <= len(targets.x):  # or choosing would take longer than fitting all
            telling, share = of.for_steps(n_steps, few, _TELLING), within(progress, _OF_CHOICE / len(growths))
            errors = [fit(telling, growth, FINE, share).error for growth in growths]
            growths, progress = [growths[int(np.argmin(errors))]], within(progress, 1 - _OF_CHOICE)
        tunes = recipe.passes > 0 and not guess
        if tunes:
            progress, left = within(progress, 1 - _OF_TUNING), within(progress, _OF_TUNING)
        grid, share = ROUGH if guess == "rough" else FINE, within(progress, 1 / len(growths))
        best = min((fit(targets, growth, grid, share) for growth in growths), key=lambda made: made.error)
        return self._tuned(best, recipe, targets, n_steps, left) if tunes else best

    def _keeps_its_growth(self) -> bool:
        """Whether a growing membrane is not tried: a maximum of what grows is not exact in fixed point."""
        driven = self._schedule.driven
        return self._weights != FLOAT and any(is_maximum(node) and node.name in driven for node in self._schedule.nodes)

    def _tuned(
        self, calibrated: Calibrated, recipe: Recipe, targets: Targets, n_steps: int, progress: Progress
    ) -> Calibrated:
        from snnrepro.spiking.calibrate import Calibration
        from snnrepro.spiking.tune import Tuning

        tuning = Tuning(self._schedule, self._x, calibrated, recipe, n_steps, self._is_classes, self._per_activation)
        tuned = tuning.run(recipe.passes, progress)
        if self._weights == FLOAT:
            return tuned
        neuron = next(population.neuron for population in tuned.populations.values())
        assert isinstance(neuron, IF)
        rounding = Calibration(targets, n_steps, self._shelf, self._per_activation)
        rounded = rounding.fit(recipe, neuron, weights=self._weights, given=tuned.populations)
        return replace(rounded, correction=tuned.correction)

    def _fit(
        self, recipe: Recipe, neuron: IF, n_steps: int, targets: Targets, growth: float, grid: Grid, progress: Progress
    ) -> Calibrated:
        from snnrepro.spiking.calibrate import Calibration

        key = n_steps, growth, targets, grid
        weights = FLOAT if recipe.passes else self._weights  # what is tuned is rounded afterwards
        if key in self._made:
            progress(1.0)
        else:
            calibration = Calibration(targets, n_steps, self._shelf, self._per_activation)
            self._made[key] = calibration.fit(recipe, replace(neuron, growth=growth), progress, grid, weights)
        return self._made[key]
