"""All constants of all neurons together, by gradient descent on what errs at the readout; weights stay as trained.

Calibration fits one layer after the other to its own activations. What then is left at the readout of a deep network is
brought down here: the calibration images pass a few times in small batches, and after each batch every constant moves
against the gradient of the readout's error. The gradient is that of the means over the steps: a spiking layer's mean
output is, but for rounding to whole spikes, a clipped line in the mean of its input, and everything between neurons
acts on means as it does on values. So one pass back through the network is enough, however many steps it runs (Wu et
al., IEEE TPAMI 45:6249 (2023); Yu et al., NeurIPS 2024).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.network.convolve import convolve
from snnrepro.network.gradients import DIFFERENTIATED, gradients
from snnrepro.network.layers import ReLU
from snnrepro.spiking.calibrate import Calibrated
from snnrepro.spiking.neurons import IF, Population, growth_of
from snnrepro.spiking.run import layers_in_turn, step_weights

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.spiking.recipes import Recipe
    from snnrepro.spiking.run import Progress
    from snnrepro.spiking.schedule import Schedule
    from snnrepro.spiking.shelf import Shelf

_BATCH = 50
"""Images after which the constants move."""
_RATE = 0.01
"""How far a constant moves after a batch at most, relative to the amplitude (of the readout: to its spread)."""
_OF_ALL_STEPS = 4
"""So many times as far, over the number of steps, moves a constant that counts in every step and not once."""
_WARM_UP = 0.1
"""Share of the steps in which the rate rises; then it falls as a cosine."""
_MARGIN = 0.5
"""How far beyond its smallest and largest output a neuron still learns, in spikes."""
_HELD_OUT = 8
"""One image of so many is not learnt from: on them the best of the passes is found."""
_DECAYS = 0.9, 0.99
"""Of the mean gradient and of its mean square (Adam: Kingma and Ba, ICLR 2015)."""


_CORRECTION = "correction of the readout"
"""Stands among the names of populations."""


class Constants(NamedTuple):
    """What is tuned of a population: all relative to the amplitude, the positive ones as logarithms."""

    amplitude: AnyArray
    threshold: AnyArray
    subtracted: AnyArray
    initial_potential: AnyArray
    bias: AnyArray


def relative(population: Population) -> Constants:
    """Return the constants of a population of `IF` as they are tuned, float64."""
    amplitude = population.amplitude.astype(np.float64)
    ratios = (population.threshold, population.subtracted, population.initial_potential, population.bias)
    threshold, subtracted, potential, bias = (values / amplitude for values in ratios)
    return Constants(np.log(amplitude), np.log(threshold), np.log(subtracted), potential, bias)


def population_of(constants: Constants, neuron: IF) -> Population:
    """Return the population that has these constants."""
    amplitude = np.exp(constants.amplitude)
    return Population(
        neuron,
        threshold=(amplitude * np.exp(constants.threshold)).astype(np.float32),
        amplitude=amplitude.astype(np.float32),
        initial_potential=(amplitude * constants.initial_potential).astype(np.float32),
        bias=(amplitude * constants.bias).astype(np.float32),
        subtracted=(amplitude * np.exp(constants.subtracted)).astype(np.float32),
    )


def differentiated(
    constants: Constants, z: FloatArray, gradient: FloatArray, growth: float, n_steps: int
) -> tuple[FloatArray, Constants]:
    r"""Return the gradient by the mean input of neurons and by their constants, given that by their mean output.

    With amplitude A, subtracted R, threshold :math:`\vartheta`, initial potential :math:`v_0`, bias b, n steps of
    growth g, and W the sum of their weights, the mean output is taken as
    :math:`(A / R) (z + b + (g^n v_0 - \vartheta + R / 2) / W)`, clipped at 0 and at A: what is left in the membrane
    after the last step lies, on average, half of what a spike takes below the threshold.

    Parameters
    ----------
    constants : Constants
        Of the neurons, broadcast against ``z`` without its images.
    z, gradient : numpy.ndarray
        Mean input, and gradient by the mean output, ``(n_images, *shape)``.
    growth : float
        Factor per step by which the membrane grows.
    n_steps : int
        How many steps there are.
    """
    numbers: list[FloatArray] = [part.astype(np.float32) for part in constants]
    amplitude, threshold, subtracted = (np.exp(part) for part in numbers[:3])
    potential, bias = numbers[3:]
    weights = step_weights(growth, n_steps)
    weight, start = np.float32(weights.sum() / weights[-1]), np.float32(growth**n_steps)
    given = amplitude * (bias + (start * potential - threshold + subtracted / 2) / weight)
    output = (z + given) / subtracted
    margin = np.float32(_MARGIN / n_steps) * amplitude
    is_full = output > amplitude + margin
    learns: FloatArray = gradient * ((output > -margin) & ~is_full)
    axes = tuple(axis + 1 for axis, size in enumerate(amplitude.shape) if size == 1)

    def summed(values: AnyArray) -> AnyArray:
        total: AnyArray = values.sum(axis=(0, *axes), dtype=np.float64).reshape(amplitude.shape)
        return total

    learnt, reach = summed(learns), amplitude / subtracted
    by_input: FloatArray = np.asarray(learns / subtracted, np.float32)
    return by_input, Constants(
        amplitude=learnt * given / subtracted + summed(gradient * is_full) * amplitude,
        threshold=-learnt * reach * threshold / weight,
        subtracted=learnt * amplitude / (2 * weight) - summed(learns * output),
        initial_potential=learnt * reach * start / weight,
        bias=learnt * reach,
    )


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
        Says how long a step is, and whether the readout is corrected.
    n_steps : int
        How many steps the network will run.
    shelf : Shelf
        Where spikes lie.
    is_classes : bool
        Whether what is read out are the scores of classes: then its error is the divergence (Kullback-Leibler) of their
        softmax from the trained network's, else the square of what it is off.
    """

    def __init__(
        self,
        schedule: Schedule,
        x: FloatArray,
        calibrated: Calibrated,
        recipe: Recipe,
        n_steps: int,
        shelf: Shelf,
        is_classes: bool,
    ) -> None:
        self._schedule, self._x, self._n_steps, self._dt = schedule, x, n_steps, recipe.dt
        self._shelf, self._is_classes = shelf, is_classes
        self._answers = np.concatenate([_answers(schedule, x[at : at + _BATCH]) for at in range(0, len(x), _BATCH)])
        self._spread = float(self._answers.std()) or 1.0
        self._neurons = {name: population.neuron for name, population in calibrated.populations.items()}
        self._growth = growth_of(calibrated.populations)
        self.constants: dict[str, tuple[AnyArray, ...]] = {
            name: relative(population) for name, population in calibrated.populations.items()
        }
        if recipe.corrects_readout:
            self.constants[_CORRECTION] = (calibrated.correction.astype(np.float64) / self._spread,)

    def populations(self) -> dict[str, Population]:
        """Return the populations as they are now."""
        return {
            name: population_of(Constants(*self.constants[name]), neuron)
            for name, neuron in self._neurons.items()
            if isinstance(neuron, IF)
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
        adam = _Adam(passes * n_batches, tuple(reaches.get(name, 1.0) for name in Constants._fields))
        least, best = self.error(held_out), self.constants
        for _ in range(passes):
            for batch in np.array_split(rng.permutation(seen), n_batches):
                self.constants = adam.moved(self.constants, self.gradient(batch))
                progress(1 / (passes * (n_batches + 1)))
            error = self.error(held_out)
            if error < least:
                least, best = error, self.constants
            progress(1 / (passes * (n_batches + 1)))
        self.constants = best
        missing = self._answers[np.sort(held_out)] - self._readout(held_out)
        return Calibrated(self.populations(), self.correction(), float(np.square(missing).mean()), len(self._x))

    def error(self, images: AnyArray) -> float:
        """Return the error of the readout on some images."""
        return self._judged(self._readout(images), images)[0]

    def gradient(self, images: AnyArray) -> dict[str, tuple[AnyArray, ...]]:
        """Return the gradient of the error on some images, by every constant."""
        schedule = self._schedule
        values, populations = self._values(images)
        _, at_readout = self._judged(values[schedule.readout] + self.correction(), images)
        found: dict[str, tuple[AnyArray, ...]] = {
            _CORRECTION: (at_readout.sum(axis=0, dtype=np.float64) * self._spread,)
        }
        known = {schedule.readout: at_readout}
        for node in reversed(schedule.nodes):
            gradient = known.pop(node.name, None)
            if gradient is None:
                continue
            inputs = tuple(values[name] for name in node.inputs)
            if node.name in populations:
                constants = Constants(*self.constants[node.name])
                own, found[node.name] = differentiated(constants, inputs[0], gradient, self._growth, self._n_steps)
                parts: tuple[FloatArray, ...] = (own,)
            else:
                parts = gradients(node.layer, inputs, gradient)
            for name, part in zip(node.inputs, parts):
                if name in schedule.driven:
                    known[name] = known[name] + part if name in known else part
        return found

    def _values(self, images: AnyArray) -> tuple[dict[str, FloatArray], dict[str, Population]]:
        """Return the means of all values over the steps: of the neurons as they fire, of the rest as they follow."""
        schedule, populations = self._schedule, self.populations()
        x = np.ascontiguousarray(self._x[np.sort(images)])
        layers = layers_in_turn(schedule, x, self._n_steps, self._dt, self._shelf)
        weights = step_weights(self._growth, self._n_steps).astype(np.float32)
        graded = set(layers.graded())
        values = {schedule.network.input_name: x}
        for node in schedule.nodes:
            if node.name in populations:
                values[node.name] = layers.mean_of(node.name, populations[node.name], weights)
            else:
                if node.name in graded:
                    layers.keep(node.name, lambda _: None)
                values[node.name] = convolve(node.layer, *(values[name] for name in node.inputs))
        layers.end()
        return values, populations

    def _readout(self, images: AnyArray) -> FloatArray:
        values, _ = self._values(images)
        return values[self._schedule.readout] + self.correction()

    def _judged(self, given: FloatArray, images: AnyArray) -> tuple[float, FloatArray]:
        """Return the error of what is read out, and its gradient."""
        wanted = self._answers[np.sort(images)]
        if not self._is_classes:
            missing = (given - wanted) / self._spread
            return float(np.square(missing).mean()) / 2, missing / (missing.size * self._spread)
        flat = (len(given), -1)
        p, q = (_softmax(numbers.reshape(flat).astype(np.float64)) for numbers in (wanted, given))
        with np.errstate(divide="ignore", invalid="ignore"):
            divergence = np.where(p > 0, p * (np.log(p) - np.log(np.maximum(q, 1e-300))), 0.0).sum(axis=1)
        gradient: FloatArray = ((q - p) / len(p)).astype(np.float32).reshape(given.shape)
        return float(divergence.mean()), gradient


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


def _answers(schedule: Schedule, x: FloatArray) -> FloatArray:
    """Return what the trained network reads out."""
    values = {schedule.network.input_name: x}
    for node in schedule.nodes:
        values[node.name] = convolve(node.layer, *(values[name] for name in node.inputs))
    return values[schedule.readout]


def require_differentiable(schedule: Schedule) -> None:
    """Refuse a network in which a layer stands between neurons through which no gradient is known.

    Raises
    ------
    ModelError
        With all such nodes.
    """
    problems = [
        f"{type(node.layer).__name__} {node.name!r}"
        for node in schedule.nodes
        if node.name in schedule.driven and not isinstance(node.layer, (ReLU, *DIFFERENTIATED))
    ]
    if problems:
        raise ModelError(
            f"no gradient is known through {', '.join(problems)}, so that constants cannot be tuned together: take the "
            "recipe 'balanced', which fits one layer after the other"
        )


def _softmax(scores: AnyArray) -> AnyArray:
    powers: AnyArray = np.exp(scores - scores.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers
