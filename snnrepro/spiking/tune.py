"""All constants of all neurons together, by gradient descent on what errs at the readout; weights stay as trained.

Calibration fits one layer after the other to its own activations. What then is left at the readout of a deep network is
brought down here: the calibration images pass some times in small batches, and after each batch every constant moves
against the gradient of the error, through all layers and steps (`snnrepro.spiking.backward`). The error is that of the
readout and, or a thousand images would be learnt by heart, that of every layer's mean output.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.network.adjoint import adjoint, back_to_largest, is_linear
from snnrepro.network.convolve import convolve, evaluate_nodes
from snnrepro.network.graph import last_reads
from snnrepro.network.layers import MaxPool, Reduce, ReLU
from snnrepro.spiking.backward import differentiated, fire
from snnrepro.spiking.calibrate import Calibrated
from snnrepro.spiking.ensembles import mean_of_each
from snnrepro.spiking.neurons import ChannelConstants, growth_of
from snnrepro.spiking.run import step_weights
from snnrepro.spiking.schedule import is_maximum
from snnrepro.spiking.step import RunningMaximum

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.network.layers import Layer
    from snnrepro.spiking.neurons import Population
    from snnrepro.spiking.recipes import Recipe
    from snnrepro.spiking.run import Progress
    from snnrepro.spiking.schedule import Schedule

_BATCH = 50
"""Images after which the constants move."""
_NUMBERS = 2**24
"""Numbers that the values of images have that are differentiated together (64 MB)."""
_RATE = 0.02
"""How far a constant moves after a batch at most, relative to the amplitude (of the readout: to its spread)."""
_OF_ALL_STEPS = 4
"""So many times as far, over the number of steps, moves a constant that counts in every step and not once."""
_WARM_UP = 0.15
"""Share of the batches in which the rate rises; then it falls as a cosine."""
_HELD_OUT = 8
"""One image of so many is not learnt from: on them the best of the passes is found."""
_DECAYS = 0.9, 0.99
"""Of the mean gradient and of its mean square (Adam: Kingma and Ba, ICLR 2015)."""
_OF_LAYERS = 1.0
"""Weight of the layers' mean error beside that of the readout: squares, relative to those of the activations."""
_CORRECTION = "correction of the readout"
"""Stands among the names of populations."""


def relative(constants: ChannelConstants) -> tuple[AnyArray, ...]:
    """Return constants as they are tuned, float64: relative to the amplitude, the positive ones as logarithms."""
    amplitude, threshold, subtracted, potential, bias = (part.astype(np.float64) for part in constants)
    logarithms = np.log(amplitude), np.log(threshold / amplitude), np.log(subtracted / amplitude)
    return (*logarithms, potential / amplitude, bias / amplitude)


def absolute(tuned: tuple[AnyArray, ...]) -> ChannelConstants:
    """Return constants from how they are tuned."""
    amplitude = np.exp(tuned[0])
    ratios = (1.0, np.exp(tuned[1]), np.exp(tuned[2]), tuned[3], tuned[4])
    return ChannelConstants(*((amplitude * ratio).astype(np.float32) for ratio in ratios))


def by_relative(constants: ChannelConstants, gradient: tuple[AnyArray, ...]) -> tuple[AnyArray, ...]:
    """Return the gradient by constants as they are tuned, given that by the constants themselves."""
    amplitude = constants.amplitude.astype(np.float64)
    together = sum(part * own for part, own in zip(constants, gradient))
    scales = constants.threshold, constants.subtracted, amplitude, amplitude
    return (np.asarray(together), *(scale * own for scale, own in zip(scales, gradient[1:])))


class Tuning:
    """A network for one number of steps, whose constants move against the gradient.

    Parameters
    ----------
    schedule : Schedule
        The network.
    x : numpy.ndarray
        Calibration images, ``(n_images, *input_shape)``.
    calibrated : Calibrated
        Where the constants begin.
    recipe : Recipe
        Says whether the readout is corrected.
    n_steps : int
        How many steps the network will run.
    is_classes : bool
        Whether what is read out are the scores of classes: then its error is the divergence (Kullback-Leibler) of their
        softmax from the trained network's, else the square of what it is off.
    neurons_per_activation : int
        How many channels in turn are neurons of the same activation.
    """

    def __init__(
        self,
        schedule: Schedule,
        x: FloatArray,
        calibrated: Calibrated,
        recipe: Recipe,
        n_steps: int,
        is_classes: bool,
        neurons_per_activation: int = 1,
    ) -> None:
        self._per_activation = neurons_per_activation
        self._schedule, self._x, self._n_steps, self._is_classes = schedule, x, n_steps, is_classes
        self._begun, self._growth = calibrated.populations, growth_of(calibrated.populations)
        per_image = n_steps * sum(math.prod(schedule.network.shapes[node.name]) for node in schedule.nodes)
        self._together = max(1, _NUMBERS // per_image)
        answers, squares = [], dict.fromkeys(self._begun, 0.0)
        for part in self._parts(np.arange(len(x))):
            values = self._trained(part)
            answers.append(values[schedule.readout])
            for name in squares:
                squares[name] += float(np.square(values[name], dtype=np.float64).sum())
        self._answers = np.concatenate(answers)
        self._spread = float(self._answers.std()) or 1.0
        self._squares = {name: total / len(x) or 1.0 for name, total in squares.items()}
        weights = step_weights(self._growth, n_steps)
        self._weights = (weights / weights.sum()).astype(np.float32)
        self.constants: dict[str, tuple[AnyArray, ...]] = {
            name: relative(ChannelConstants.of(population)) for name, population in self._begun.items()
        }
        if recipe.corrects_readout:
            self.constants[_CORRECTION] = (calibrated.correction.astype(np.float64) / self._spread,)

    def _trained(self, images: AnyArray) -> dict[str, FloatArray]:
        """Return the values of the trained network on some images."""
        return evaluate_nodes(self._schedule.nodes, {self._schedule.network.input_name: self._x[images]})

    def populations(self) -> dict[str, Population]:
        """Return the populations as they are now."""
        return {
            name: absolute(self.constants[name]).population(begun.neuron, begun.amplitude.shape)
            for name, begun in self._begun.items()
        }

    def correction(self) -> FloatArray:
        """Return what is added to the readout as it is now."""
        (values,) = self.constants.get(_CORRECTION, (np.zeros(self._answers.shape[1:]),))
        return np.asarray(values * self._spread, np.float32)

    def run(self, passes: int, progress: Progress) -> Calibrated:
        """Let all images pass so many times, and return the constants that err least on held-out images."""
        rng = np.random.RandomState(0)
        order = rng.permutation(len(self._x))
        held_out, seen = order[::_HELD_OUT], np.delete(order, slice(None, None, _HELD_OUT))
        n_batches = -(-len(seen) // _BATCH)
        often = _OF_ALL_STEPS / self._n_steps
        reaches = {"amplitude": often, "subtracted": often, "bias": often}
        adam = _Adam(passes * n_batches, tuple(reaches.get(name, 1.0) for name in ChannelConstants._fields))
        least, best = self.error(held_out), self.constants
        for _ in range(passes):
            for batch in np.array_split(rng.permutation(seen), n_batches) if n_batches else ():  # of one image, none
                self.constants = adam.moved(self.constants, self.gradient(batch))
                progress(1 / (passes * (n_batches + 1)))
            error = self.error(held_out)
            if error < least:
                least, best = error, self.constants
            progress(1 / (passes * (n_batches + 1)))
        self.constants = best
        return Calibrated(self.populations(), self.correction(), least, len(self._x))

    def error(self, images: AnyArray) -> float:
        """Return the error of the readout on some images."""
        errors = [len(part) * self._judged(self._forward(part).readout, part)[0] for part in self._parts(images)]
        return sum(errors) / len(images)

    def gradient(self, images: AnyArray) -> dict[str, tuple[AnyArray, ...]]:
        """Return the gradient of the error on some images, by every constant as it is tuned."""
        total: dict[str, tuple[AnyArray, ...]] = {}
        for part in self._parts(images):
            share = np.float64(len(part) / len(images))
            for name, own in self._gradient(part).items():
                shares = tuple(share * one for one in own)
                total[name] = tuple(map(np.add, total[name], shares)) if name in total else shares
        return total

    def _parts(self, images: AnyArray) -> list[AnyArray]:
        return np.array_split(images, -(-len(images) // self._together))

    def _gradient(self, images: AnyArray) -> dict[str, tuple[AnyArray, ...]]:
        """Return the gradient of the mean error on a few images."""
        schedule, shapes = self._schedule, self._schedule.network.shapes
        readout, membranes, outputs, totals = self._forward(images)
        _, at_readout = self._judged(readout, images)
        activations = self._trained(images)
        found: dict[str, tuple[AnyArray, ...]] = {
            _CORRECTION: (at_readout.sum(axis=0, dtype=np.float64) * self._spread,)
        }
        known = {schedule.readout: self._in_steps(at_readout)}
        for node in reversed(schedule.nodes):
            gradient = known.pop(node.name, None)
            if gradient is None:
                continue
            if node.name in membranes:
                kept = membranes.pop(node.name)
                off = self._of_each(outputs.pop(node.name) - activations.pop(node.name))
                share = 2 * _OF_LAYERS / (len(self._begun) * len(images) * self._squares[node.name])
                gradient = gradient + self._in_steps(np.float32(share) * off)
                constants = absolute(self.constants[node.name])
                own, by_constants = differentiated(
                    kept, constants, np.ascontiguousarray(gradient).reshape(kept.shape), self._growth
                )
                found[node.name] = by_relative(constants, by_constants)
                parts: tuple[FloatArray, ...] = (own.reshape(gradient.shape),)
            elif node.name in totals:
                assert isinstance(node.layer, (MaxPool, Reduce))
                parts = (self._before_maximum(node.layer, totals.pop(node.name), gradient),)
            else:
                parts = adjoint(node.layer, tuple(shapes[name] for name in node.inputs), gradient)
            for name, part in zip(node.inputs, parts):
                if name in schedule.driven:
                    known[name] = known[name] + part if name in known else part
        return found

    def _of_each(self, off: FloatArray) -> FloatArray:
        """Return what the mean of an activation's neurons is off, for each of them."""
        size = self._per_activation
        return off if size == 1 else np.repeat(mean_of_each(off, size), size, axis=1)

    def _in_steps(self, by_mean: FloatArray) -> FloatArray:
        """Return the gradient by the values of every step, given that by their mean."""
        by_step: FloatArray = self._weights.reshape(-1, *[1] * by_mean.ndim) * by_mean
        return by_step.reshape(-1, *by_mean.shape[1:])

    def _mean(self, by_step: FloatArray, n_images: int) -> FloatArray:
        """Return the mean over the steps, as they count."""
        mean: FloatArray = np.tensordot(self._weights, by_step.reshape(self._n_steps, -1), axes=1)
        return mean.reshape(n_images, *by_step.shape[1:])

    def _forward(self, images: AnyArray) -> _Forward:
        """Return what a run gives.

        Values that spikes reach are ``(n_steps * n_images, *shape)``, those of a step side by side.
        """
        schedule, n_steps, x = self._schedule, self._n_steps, self._x[images]
        values, membranes, means, totals = {schedule.network.input_name: x}, {}, {}, {}
        for node, done in zip(schedule.nodes, last_reads(schedule.nodes)):
            inputs = [values[name] for name in node.inputs]
            if node.name in schedule.driven:
                inputs = [
                    one if name in schedule.driven else np.tile(one, (n_steps, *[1] * (one.ndim - 1)))
                    for name, one in zip(node.inputs, inputs)
                ]
            if node.name in self._begun:
                z = np.ascontiguousarray(inputs[0])
                in_steps = z.reshape(n_steps, len(x), z.shape[1], -1)
                outputs, membranes[node.name] = fire(in_steps, absolute(self.constants[node.name]), self._growth)
                values[node.name] = outputs.reshape(z.shape)
                means[node.name] = self._mean(values[node.name], len(x))
            elif node.name in schedule.driven and is_maximum(node):
                totals[node.name], values[node.name] = self._maximum(node.layer, inputs[0])
            else:
                values[node.name] = convolve(node.layer, *inputs)
            for name in done:
                if name != schedule.readout:
                    del values[name]
        return _Forward(self._mean(values[schedule.readout], len(x)) + self.correction(), membranes, means, totals)

    def _maximum(self, layer: Layer, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the sums of the inputs so far in every step, and what their maximum gains in it."""
        maximum, totals, gains = RunningMaximum(layer, self._growth), [], []
        for of_step in np.split(x, self._n_steps):
            gains.append(maximum.step(of_step))
            totals.append(maximum.total)
        return np.concatenate(totals), np.concatenate(gains)

    def _before_maximum(self, layer: MaxPool | Reduce, totals: FloatArray, gradient: FloatArray) -> FloatArray:
        """Return the gradient by what a running maximum reads, given that by what it gains."""
        growth, by_largest = np.float32(self._growth), gradient.reshape(self._n_steps, -1).copy()
        by_largest[:-1] -= growth * gradient.reshape(by_largest.shape)[1:]
        found = back_to_largest(layer, totals, by_largest.reshape(gradient.shape)).reshape(self._n_steps, -1)
        for step in reversed(range(self._n_steps - 1)):
            found[step] += growth * found[step + 1]
        return found.reshape(totals.shape)

    def _judged(self, given: FloatArray, images: AnyArray) -> tuple[float, FloatArray]:
        """Return the mean error of what is read out, and its gradient."""
        wanted = self._answers[images]
        if not self._is_classes:
            missing = (given - wanted) / self._spread
            return float(np.square(missing).mean()) / 2, missing / np.float32(missing.size * self._spread)
        flat = (len(given), -1)
        p, q = (_softmax(numbers.reshape(flat).astype(np.float64)) for numbers in (wanted, given))
        with np.errstate(divide="ignore", invalid="ignore"):
            divergence = np.where(p > 0, p * (np.log(p) - np.log(np.maximum(q, 1e-300))), 0.0).sum(axis=1)
        gradient: FloatArray = ((q - p) / len(p)).astype(np.float32).reshape(given.shape)
        return float(divergence.mean()), gradient


class _Forward(NamedTuple):
    """What a run gives.

    `membranes` are the potentials of all neurons in every step, `means` their mean outputs, `totals` the sums of what
    each maximum read until every step.
    """

    readout: FloatArray
    membranes: dict[str, FloatArray]
    means: dict[str, FloatArray]
    totals: dict[str, FloatArray]


class _Adam:
    """Steps of Adam whose rate rises and falls once; a constant's rate is in proportion to its reach."""

    def __init__(self, n_steps: int, reaches: tuple[float, ...]) -> None:
        self._n_steps, self._step, self._reaches = n_steps, 0, reaches
        self._means: dict[str, tuple[AnyArray, ...]] = {}
        self._squares: dict[str, tuple[AnyArray, ...]] = {}

    def moved(
        self, constants: dict[str, tuple[AnyArray, ...]], gradient: dict[str, tuple[AnyArray, ...]]
    ) -> dict[str, tuple[AnyArray, ...]]:
        """Return the constants after a step against the gradient."""
        self._step += 1
        progress = self._step / self._n_steps
        falling = (1 + math.cos(math.pi * (progress - _WARM_UP) / (1 - _WARM_UP))) / 2
        rate = _RATE * (progress / _WARM_UP if progress < _WARM_UP else falling)
        first, second = _DECAYS
        moved = {}
        for name, parts in constants.items():
            if name not in gradient:  # nothing that is read out depends on it
                moved[name] = parts
                continue
            zeros = tuple(np.zeros_like(part) for part in parts)
            means = self._means.get(name, zeros)
            squares = self._squares.get(name, zeros)
            self._means[name] = tuple(first * m + (1 - first) * g for m, g in zip(means, gradient[name]))
            self._squares[name] = tuple(second * s + (1 - second) * g * g for s, g in zip(squares, gradient[name]))
            unbiased = 1 - first**self._step, 1 - second**self._step
            moved[name] = tuple(
                part - rate * reach * (m / unbiased[0]) / (np.sqrt(s / unbiased[1]) + 1e-12)
                for part, m, s, reach in zip(parts, self._means[name], self._squares[name], self._reaches)
            )
        return moved


def require_differentiable(schedule: Schedule) -> None:
    """Refuse a network in which a layer stands between neurons that is neither linear nor a maximum.

    Raises
    ------
    ModelError
        With all such nodes.
    """
    problems = [
        f"{type(node.layer).__name__} {node.name!r}"
        for node in schedule.nodes
        if node.name in schedule.driven
        and not (isinstance(node.layer, ReLU) or is_linear(node.layer) or is_maximum(node))
    ]
    if problems:
        raise ModelError(
            f"constants are tuned together through linear layers and maxima only, not through {', '.join(problems)}: "
            "take the recipe 'balanced', which fits one layer after the other"
        )


def _softmax(scores: AnyArray) -> AnyArray:
    powers: AnyArray = np.exp(scores - scores.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers
