"""Thresholds from data: each channel's neurons are fitted to what the trained network answers, layer after layer.

The layers are fitted in order, each on the spikes that the fitted layers before it give, so that a later layer makes up
for the errors of an earlier one. Only the neurons' constants and a constant at the readout are chosen; weights and
biases stay as trained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.network.layers import ReLU
from snnrepro.spiking.fit import COARSE, constants_of
from snnrepro.spiking.neurons import IF, Population
from snnrepro.spiking.run import layers_in_turn, step_weights

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.network.graph import Node
    from snnrepro.spiking.recipes import Recipe
    from snnrepro.spiking.run import Progress
    from snnrepro.spiking.schedule import Schedule
    from snnrepro.spiking.shelf import Shelf

_NUMBERS = 2**25
"""Numbers that the largest layer's steps should have, all images together: more images take longer."""
_FEWEST_IMAGES = 256
_MOST_NUMBERS = 2**28
"""The same with the fewest images that make a calibration reliable; beyond, fewer still are used."""
_SAMPLES = 4096
"""Image positions that a channel is fitted on."""


@dataclass(frozen=True, eq=False)
class Calibrated:
    """What calibration chose, on so many images: populations by rectifier, and a constant for the readout.

    `correction` is the mean error of the readout without it, `error` the mean squared one with it.
    """

    populations: dict[str, Population]
    correction: FloatArray
    error: float
    n_images: int


class Calibration:
    """The trained network's activations on unlabelled images, to which neurons are fitted, once or several times.

    Parameters
    ----------
    schedule : Schedule
        The network, as `prepare` gives it.
    x : numpy.ndarray
        Calibration images, ``(n_images, *input_shape)``; the larger the layers and the more the steps, the fewer of
        them are used.
    n_steps : int
        How many steps the network will run.
    shelf : Shelf
        Where they lie.
    """

    def __init__(self, schedule: Schedule, x: FloatArray, n_steps: int, shelf: Shelf) -> None:
        network = schedule.network
        largest = max(math.prod(shape) for shape in network.shapes.values())
        fewest = min(_FEWEST_IMAGES, _MOST_NUMBERS // (largest * n_steps))
        self._x = x[: max(_NUMBERS // (largest * n_steps), fewest, 8)]
        self._schedule, self._n_steps, self._shelf = schedule, n_steps, shelf
        self._samples = {
            node.name: _Samples(network.shapes[node.name], len(self._x))
            for node in schedule.nodes
            if isinstance(node.layer, ReLU)
        }
        self._targets = {name: shelf.tray() for name in self._samples}
        self._answers = shelf.tray()
        self._blocks = layers_in_turn(schedule, self._x, n_steps, 1.0, shelf).blocks
        for images in self._blocks:
            for name, trained in network.activations(self._x[images]):
                if name in self._samples:
                    of_each = trained.reshape(*trained.shape[:2], -1)
                    self._targets[name].put(images.start, self._samples[name].of(of_each, images))
                if name == schedule.readout:
                    self._answers.put(images.start, trained)

    def fit(self, recipe: Recipe, neuron: IF, progress: Progress = lambda _: None) -> Calibrated:
        """Fit every population, in order.

        Parameters
        ----------
        recipe : Recipe
            How the constants of the neurons of each channel are chosen.
        neuron : IF
            The model of all neurons.
        progress : callable
            Called with the fraction of the work done since the last call.

        Returns
        -------
        Calibrated
            For each rectifier a population with one constant per channel (axis 0 of its shape).
        """
        layers = layers_in_turn(self._schedule, self._x, self._n_steps, recipe.dt, self._shelf)
        weights = step_weights(neuron.growth, self._n_steps)
        graded = set(layers.graded())
        share = 1 / (2 * len(self._samples) + len(graded) + 1)

        def done(fraction: float) -> None:
            progress(share * fraction)

        populations: dict[str, Population] = {}
        for node in self._schedule.nodes:
            if node.name in self._samples:
                populations[node.name] = self._population(layers, recipe, neuron, node, weights, done)
                layers.fire(node.name, populations[node.name], done)
            elif node.name in graded:
                layers.keep(node.name, done)
        return self._calibrated(layers, populations, weights.astype(np.float32), done)

    def _population(
        self, layers: Any, recipe: Recipe, neuron: IF, node: Node, weights: AnyArray, progress: Progress
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
        blocks = {images.start: samples.runs(images) for images in self._blocks}
        targets = np.empty((shape[0], samples.n), np.float32)
        for start, piece in self._targets[node.name].items():
            for place, own in blocks[start]:
                targets[:, place] = piece[:, own]

        def inputs(begin: int, end: int) -> FloatArray:
            z = np.empty((end - begin, self._n_steps, samples.n), np.float32)
            for (start, first), piece in tray.items():
                for place, own in blocks[start]:
                    z[:, first : first + piece.shape[1], place] = piece[begin:end, :, own]
            return z

        fitted = constants_of(recipe, inputs, targets, self._n_steps, neuron.retention(recipe.dt), weights)
        tray.clear()
        of_channel = (shape[0], *[1] * (len(shape) - 1))
        return Population(neuron, **{name: values.reshape(of_channel) for name, values in fitted._asdict().items()})

    def _calibrated(
        self, layers: Any, populations: dict[str, Population], weights: FloatArray, progress: Progress
    ) -> Calibrated:
        """Return the populations with the mean error of the readout, and its variance."""
        total, squares, lock = np.zeros(self._schedule.network.shapes[self._schedule.readout]), np.zeros(()), Lock()

        def compared(images: slice, mean: FloatArray) -> None:
            missing = (self._answers.get(images.start) - mean).astype(np.float64)
            with lock:
                np.add(total, missing.sum(axis=0), out=total)
                np.add(squares, np.square(missing).sum(), out=squares)

        layers.readout(weights, compared, progress)
        correction = total / len(self._x)
        error = float(squares) / (len(self._x) * total.size) - float(np.square(correction).mean())
        return Calibrated(populations, correction.astype(np.float32), error, len(self._x))


class _Samples:
    """The positions of images that a layer is fitted on, spread so that all images take part.

    On the first of them, spread likewise, everything is tried; among those and among the rest they are in order.
    """

    def __init__(self, shape: tuple[int, ...], n_images: int) -> None:
        n_positions = math.prod(shape[1:])
        total = n_images * n_positions
        chosen = np.arange(total) if total <= _SAMPLES else np.random.RandomState(0).choice(total, _SAMPLES, False)
        parts = np.sort(chosen[:COARSE]), np.sort(chosen[COARSE:])
        self.n = len(chosen)
        self._image, self._position = np.divmod(np.concatenate(parts), n_positions)

    def runs(self, images: slice) -> list[tuple[slice, slice]]:
        """Return where the samples of some images lie among all samples, and where among their own."""
        first, rest = self._image[:COARSE], self._image[COARSE:]
        edges = images.start, images.stop
        (a, b), (c, d) = np.searchsorted(first, edges), np.searchsorted(rest, edges) + len(first)
        return [(slice(a, b), slice(0, b - a)), (slice(c, d), slice(b - a, b - a + d - c))]

    def of(self, values: AnyArray, images: slice) -> AnyArray:
        """Return the samples of values ``(n_images, channels, ..., n_positions)`` of some images, on the last axis."""
        (first, _), (rest, _) = self.runs(images)
        where = np.r_[first, rest]
        samples = values[self._image[where] - images.start, ..., self._position[where]]
        return np.moveaxis(samples, 0, -1)
