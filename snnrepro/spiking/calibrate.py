"""Thresholds from data: each channel's neurons are fitted to what the trained network answers, layer after layer.

The layers are fitted in order, each on the spikes that the fitted layers before it give, so that a later layer makes up
for the errors of an earlier one. Only the neurons' constants and a constant at the readout are chosen; weights and
biases stay as trained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.spiking.fit import FINE, constants_of
from snnrepro.spiking.fixed_point import FLOAT, FixedPoint, image_range
from snnrepro.spiking.neurons import IF, Population, growth_of
from snnrepro.spiking.rounding import Writer
from snnrepro.spiking.run import layers_in_turn, step_weights

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.network.graph import Node
    from snnrepro.spiking.fit import Grid
    from snnrepro.spiking.recipes import Recipe
    from snnrepro.spiking.run import Progress
    from snnrepro.spiking.shelf import Shelf
    from snnrepro.spiking.targets import Targets


@dataclass(frozen=True, eq=False)
class Calibrated:
    """What calibration chose, on so many images: populations by rectifier, and a constant for the readout.

    `correction` is the mean error of the readout without it, `error` the mean squared one with it; after tuning, what
    lowered the error that `Tuning` names, and that error. `fixed` is how weights were rounded; None for float32.
    """

    populations: dict[str, Population]
    correction: FloatArray
    error: float
    n_images: int
    fixed: FixedPoint | None = None


class Calibration:
    """A network for one number of steps, whose neurons are fitted, once or several times.

    Parameters
    ----------
    targets : Targets
        What they are fitted to, and on which images.
    n_steps : int
        How many steps the network will run.
    shelf : Shelf
        Where their spikes lie.
    neurons_per_activation : int
        How many channels in turn are neurons of the same activation, whose mean is fitted to it.
    """

    def __init__(self, targets: Targets, n_steps: int, shelf: Shelf, neurons_per_activation: int = 1) -> None:
        self._targets, self._n_steps, self._shelf = targets, n_steps, shelf
        self._per_activation = neurons_per_activation
        self._schedule, self._x, self._samples = targets.schedule, targets.x, targets.samples

    def fit(
        self,
        recipe: Recipe,
        neuron: IF,
        progress: Progress = lambda _: None,
        grid: Grid = FINE,
        weights: str = FLOAT,
        given: Mapping[str, Population] | None = None,
    ) -> Calibrated:
        """Fit every population, in order.

        Parameters
        ----------
        recipe : Recipe
            How the constants of the neurons of each channel are chosen.
        neuron : IF
            The model of all neurons.
        progress : callable
            Called with the fraction of the work done since the last call.
        grid : Grid
            What is tried, where constants are fitted.
        weights : str
            What weights are rounded to, of `snnrepro.spiking.fixed_point.WEIGHTS`: each layer's before the neurons that
            read it are fitted, so that their constants make up for it.
        given : mapping of str to Population, optional
            Neurons that are fitted already; their constants are rounded.

        Raises
        ------
        ModelError
            What the recipe's own fit gives are not the populations of the rectifiers.

        Returns
        -------
        Calibrated
            For each rectifier a population with one constant per channel (axis 0 of its shape).
        """
        if given is None and recipe.fit is not None:
            given = self._given(recipe)
        layers = layers_in_turn(self._schedule, self._x, self._n_steps, recipe.dt, self._shelf)
        of_steps = step_weights(neuron.growth if given is None else growth_of(given), self._n_steps)
        writer = None if weights == FLOAT else self._writer(weights, neuron.retention(recipe.dt))
        graded = set(layers.graded())
        share = 1 / (2 * len(self._samples) + len(graded) + 1)

        def done(fraction: float) -> None:
            progress(share * fraction)

        def written(name: str) -> None:
            if writer is not None:
                writer.write_until(name)
                layers.go_on(writer.schedule())

        populations: dict[str, Population] = {}
        for node in self._schedule.nodes:
            if node.name in self._samples:
                written(node.name)
                if given is None:
                    simulated = self._population(layers, recipe, neuron, node, of_steps, done, grid)
                else:
                    simulated = given[node.name]
                    done(1.0)
                populations[node.name] = simulated
                if writer is not None:
                    populations[node.name], simulated = writer.fired(node.name, simulated, recipe.dt)
                layers.fire(node.name, simulated, done)
            elif node.name in graded:
                written(node.name)
                layers.keep(node.name, done)
        if self._schedule.readout not in {*self._samples, *graded}:
            written(self._schedule.readout)
        elif writer is not None:
            layers.go_on(writer.schedule())
        calibrated = self._calibrated(layers, populations, of_steps.astype(np.float32), done)
        return calibrated if writer is None else replace(calibrated, fixed=writer.fixed(populations, self._n_steps))

    def _writer(self, weights: str, retention: float) -> Writer:
        total = float(np.sum(max(1.0, retention) ** np.arange(self._n_steps)))
        unit, most = image_range(self._x)
        return Writer(self._schedule, FixedPoint(weights, unit, most, {}, self._n_steps), total)

    def _given(self, recipe: Recipe) -> dict[str, Population]:
        """Return the populations that a recipe fits by itself."""
        assert recipe.fit is not None
        found = recipe.fit(self._schedule, self._x, self._n_steps)
        needed = list(self._samples)
        right = isinstance(found, Mapping) and all(isinstance(found.get(name), Population) for name in needed)
        if not right:
            raise ModelError(
                f"the recipe {recipe.name!r}: its fit must give a Population for each of {', '.join(needed)}; got "
                f"{sorted(map(str, found)) if isinstance(found, Mapping) else type(found).__name__}"
            )
        return {name: found[name] for name in needed}

    def _population(
        self, layers: Any, recipe: Recipe, neuron: IF, node: Node, weights: AnyArray, progress: Progress, grid: Grid
    ) -> Population:
        """Return a layer's neurons, fitted per channel to samples of what they read and what they should give."""
        samples, shape = self._samples[node.name], self._schedule.network.shapes[node.name]
        tray = self._shelf.tray()

        def sampled(images: slice, first: int, numbers: FloatArray) -> None:
            of_each = numbers.reshape(*numbers.shape[:3], -1)
            tray.put((images.start, first), samples.of(of_each.swapaxes(1, 2), images))

        if recipe.threshold == "fitted":
            layers.inputs(node.name, sampled, progress)
        else:
            progress(1.0)
        blocks = {images.start: samples.runs(images) for images in layers.blocks}

        def inputs(begin: int, end: int) -> FloatArray:
            z = np.empty((end - begin, self._n_steps, samples.n), np.float32)
            for (start, first), piece in tray.items():
                for place, own in blocks[start]:
                    z[:, first : first + piece.shape[1], place] = piece[begin:end, :, own]
            return z

        targets, size = self._targets.of(node.name), self._per_activation
        fitted = constants_of(recipe, inputs, targets, self._n_steps, neuron, weights, grid, size)
        tray.clear()
        of_channel = (shape[0], *[1] * (len(shape) - 1))
        return fitted.population(neuron, of_channel)

    def _calibrated(
        self, layers: Any, populations: dict[str, Population], weights: FloatArray, progress: Progress
    ) -> Calibrated:
        """Return the populations with the mean error of the readout, and its variance."""
        total, squares, lock = np.zeros(self._schedule.network.shapes[self._schedule.readout]), np.zeros(()), Lock()

        def compared(images: slice, mean: FloatArray) -> None:
            missing = (self._targets.answers(images) - mean).astype(np.float64)
            with lock:
                np.add(total, missing.sum(axis=0), out=total)
                np.add(squares, np.square(missing).sum(), out=squares)

        layers.readout(weights, compared, progress)
        correction = total / len(self._x)
        error = float(squares) / (len(self._x) * total.size) - float(np.square(correction).mean())
        return Calibrated(populations, correction.astype(np.float32), error, len(self._x))
