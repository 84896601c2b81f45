"""The inner loop of calibration: one channel's neurons under many candidate settings at once, compiled."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Sequence

import numpy as np
from numba import prange

from snnrepro.compiling import kernel
from snnrepro.simd import add, fma, load, select_ge, splat, store, sub
from snnrepro.spiking.neurons import ChannelConstants
from snnrepro.spiking.step import population_state

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.spiking.neurons import IF
    from snnrepro.spiking.recipes import Recipe

COARSE = 512
"""Samples that the whole grid is tried on; the neighbourhood of its best is tried on all."""
_ROUNDS = 3
"""How often the neighbourhood is searched, each time at half the distance."""
_TURNS = 2
"""How often each neuron of an ensemble is fitted to what the others leave of the activation."""
_NUMBERS = 2**22
"""Inputs of the channels that are fitted together (16 MB)."""
_CHANNELS = 256
"""Channels that are fitted together at most: each has candidates of its own."""
_WORD = np.empty(0, np.uint32)
"""Says that a vector has 32 samples."""

_AMPLITUDES = tuple(0.15 + 0.1 * index for index in range(13))


class Grid(NamedTuple):
    """What is tried for each channel: every combination, then the neighbourhood of the best.

    An axis with one number is not searched. The amplitude is relative to the channel's largest activation, the others
    to the amplitude.
    """

    amplitude: tuple[float, ...] = _AMPLITUDES
    initial_potential: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    threshold: tuple[float, ...] = (0.7, 0.85, 1.0, 1.15, 1.3)
    subtracted: tuple[float, ...] = (0.8, 0.9, 1.0, 1.1, 1.2)


FINE = Grid()
ROUGH = Grid(tuple(0.2 + 0.2 * index for index in range(7)), (0.2, 0.5, 0.8), (0.75, 1.0, 1.25), (0.85, 1.0, 1.15))
"""A ninth of it, for a guess."""


def constants_of(
    recipe: Recipe,
    inputs: Callable[[int, int], FloatArray],
    targets: FloatArray,
    n_steps: int,
    neuron: IF,
    weights: AnyArray,
    grid: Grid = FINE,
    per_activation: int = 1,
) -> ChannelConstants:
    """Return the constants that a recipe gives each channel.

    The bias makes up for what leaks from a membrane half way to the amplitude.

    Parameters
    ----------
    recipe : Recipe
        How they are chosen.
    inputs : callable
        Returns those of the channels from one to before another, as of `fit_channels`.
    targets, weights : numpy.ndarray
        As of `fit_channels`.
    n_steps : int
        How many steps there are.
    neuron : IF
        The model of the neurons.
    grid : Grid
        What is tried, where constants are fitted.
    per_activation : int
        How many channels in turn are neurons of the same activation. If they are not fitted, they start evenly spread.
    """
    targets = targets[::per_activation]
    channels, n_samples = targets.shape
    retention = neuron.retention(recipe.dt)
    if recipe.threshold == "fitted":
        # A channel that is never active here must not fire at the first small input elsewhere.
        largest = np.maximum(targets.max(axis=1), max(0.05 * float(targets.max()), 1e-6)).astype(np.float32)
        parts = []

        def fitted(z: FloatArray, wanted: FloatArray, most: FloatArray) -> ChannelConstants:
            fit = partial(fit_channels, z, largest=most, retention=retention, weights=weights, grid=grid)
            return _in_turn(fit, partial(_mean_output, z, neuron, recipe.dt, weights), wanted, per_activation)

        if recipe.per_channel:
            size = max(1, min(_CHANNELS, _NUMBERS // (n_steps * n_samples)))
            for first in range(0, channels, size):
                some = slice(first, min(first + size, channels))
                z = inputs(per_activation * some.start, per_activation * some.stop)[::per_activation]
                parts.append(fitted(z, targets[some], largest[some]))
        else:  # one channel with the samples of all, as many as there is room for
            size = max(1, min(channels, _NUMBERS // (n_steps * n_samples)))
            z = inputs(0, per_activation * size)[::per_activation].transpose(1, 0, 2).reshape(1, n_steps, -1)
            parts.append(fitted(z, targets[:size].reshape(1, -1), largest.max(keepdims=True)))
        constants = ChannelConstants(*map(np.concatenate, zip(*parts)))
    else:
        percentile = 100.0 if recipe.threshold == "max" else recipe.percentile
        of_each = targets if recipe.per_channel else targets.reshape(1, -1)
        amplitude = np.maximum(np.percentile(of_each, percentile, axis=1), 1e-6 + 1e-3 * targets.max())
        same = np.repeat(amplitude[:, np.newaxis], per_activation, axis=1)
        starts = (np.arange(per_activation) + recipe.initial_potential) / per_activation
        constants = ChannelConstants(same, same, same, starts * same, _leak_compensation(retention) * same)
    return ChannelConstants(
        *(np.broadcast_to(values.astype(np.float32), (channels, per_activation)).reshape(-1) for values in constants)
    )


def _in_turn(
    fit: Callable[[FloatArray], ChannelConstants],
    mean_output: Callable[[ChannelConstants], FloatArray],
    targets: FloatArray,
    size: int,
) -> ChannelConstants:
    """Return the constants of several neurons for each channel, ``(n_channels, size)``, whose mean meets the targets.

    Each in turn is fitted to what the others leave.
    """
    outputs = [targets] * size
    fitted: dict[int, ChannelConstants] = {}
    for turn in range(_TURNS * size if size > 1 else 1):
        own = turn % size
        others = sum((output for place, output in enumerate(outputs) if place != own), np.zeros_like(targets))
        fitted[own] = fit(np.ascontiguousarray(size * targets - others))
        if size > 1:
            outputs[own] = mean_output(fitted[own])
    return ChannelConstants(*(np.stack(parts, axis=1) for parts in zip(*(fitted[own] for own in range(size)))))


def _mean_output(
    inputs: FloatArray, neuron: IF, dt: float, weights: AnyArray, constants: ChannelConstants
) -> FloatArray:
    """Return what each channel's neurons average for the inputs of `fit_channels`, ``(n_channels, n_samples)``."""
    state = population_state(constants.population(neuron, (len(inputs), 1)), dt, (len(inputs), inputs.shape[2]))
    total: FloatArray = np.zeros((len(inputs), inputs.shape[2]), np.float32)
    for step, share in enumerate((weights / weights.sum()).astype(np.float32)):
        total += share * state.step(inputs[:, step])
    return total


def fit_channels(
    inputs: FloatArray,
    targets: FloatArray,
    largest: FloatArray,
    retention: float,
    weights: AnyArray,
    grid: Grid,
) -> ChannelConstants:
    """Return the constants of each channel's neurons whose mean output meets the targets best (least squares).

    Parameters
    ----------
    inputs : numpy.ndarray
        Input in every step, float32, ``(n_channels, n_steps, n_samples)``.
    targets : numpy.ndarray
        The activation to be met, float32, ``(n_channels, n_samples)``.
    largest : numpy.ndarray
        What the amplitudes tried are relative to, float32, ``(n_channels,)``: the largest activation, or somewhat more.
    retention : float
        Factor of the membrane potential per step.
    weights : numpy.ndarray
        How much each step counts in the mean, ``(n_steps,)``.
    grid : Grid
        What is tried.
    """
    share = (weights / weights.sum()).astype(np.float32)
    candidates = np.tile(_combinations(grid), (len(targets), 1, 1))
    inputs = _in_vectors(inputs)
    best = _best(inputs, targets[:, :COARSE], largest, candidates, retention, share)
    for round_ in range(_ROUNDS):
        around = _combinations([_neighbours(axis, 0.5 ** (round_ + 1)) for axis in grid])
        best = _best(inputs, targets, largest, best[:, np.newaxis] + around, retention, share)
    amplitude = best[:, 0] * largest
    potential, threshold, subtracted = (best[:, index] * amplitude for index in range(1, 4))
    bias = _leak_compensation(retention) * amplitude
    return ChannelConstants(amplitude, threshold, subtracted, potential, bias)


def _leak_compensation(retention: float) -> float:
    """Return the constant input, relative to the amplitude, that keeps a membrane half way to it where it is."""
    return max(0.0, 1.0 - retention) / 2


def _combinations(axes: Sequence[Sequence[float]]) -> FloatArray:
    combined: FloatArray = (
        np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes)).astype(np.float32)
    )
    return combined


def _neighbours(axis: Sequence[float], distance: float) -> Sequence[float]:
    """Return offsets of a part of an axis's step; none where it has but one number."""
    step = (axis[1] - axis[0]) * distance if len(axis) > 1 else 0.0
    return (-step, 0.0, step) if step else (0.0,)


def _best(
    inputs: FloatArray,
    targets: FloatArray,
    largest: FloatArray,
    candidates: FloatArray,
    retention: float,
    share: FloatArray,
) -> FloatArray:
    targets = np.ascontiguousarray(targets)
    errors = _squared_errors(inputs, targets, largest, candidates, np.float32(retention), share, _WORD)
    best: FloatArray = candidates[np.arange(len(candidates)), errors.argmin(axis=1)]
    return best


def _in_vectors(inputs: FloatArray) -> FloatArray:
    """Return inputs in the order they are run through, ``(n_channels, vectors, n_steps, samples of a vector)``."""
    channels, steps, samples = inputs.shape
    lanes = 8 * _WORD.itemsize
    if samples % lanes:
        inputs = np.pad(inputs, ((0, 0), (0, 0), (0, -samples % lanes)))
    return np.ascontiguousarray(inputs.reshape(channels, steps, -1, lanes).transpose(0, 2, 1, 3))


def _errors(inputs: Any, targets: Any, largest: Any, candidates: Any, retention: Any, share: Any, word: Any) -> Any:
    """Return the squared error of every channel under every candidate, ``(n_channels, n_candidates)``.

    As many samples as `word` has bits go through all steps at once, in registers. A candidate is given up, and its
    error infinite, as soon as it is worse than one tried before; the first tried is the one in the middle.
    """
    n_channels, n_vectors, n_steps, lanes = inputs.shape
    n_samples, n_candidates = targets.shape[1], candidates.shape[1]
    flat = inputs.reshape(-1)
    errors = np.full((n_channels, n_candidates), np.inf)
    leaked = max(np.float32(0), np.float32(1) - retention) / np.float32(2)
    zero, kept = splat(np.float32(0), word), splat(retention, word)
    for channel in prange(n_channels):
        lowest = np.inf
        outputs = np.empty(lanes, np.float32)
        for turn in range(n_candidates):
            candidate = (turn + n_candidates // 2) % n_candidates
            chosen = candidates[channel, candidate]
            amplitude = chosen[0] * largest[channel]
            if not amplitude > 0:
                continue
            initial = splat(chosen[1] * amplitude, word)
            threshold, subtracted = splat(chosen[2] * amplitude, word), splat(chosen[3] * amplitude, word)
            bias = splat(leaked * amplitude, word)
            total = 0.0
            first = 0
            while first < n_samples and total <= lowest:
                v, output = initial, zero
                start = (channel * n_vectors * lanes + first) * n_steps
                for step in range(n_steps):
                    z = load(flat, start + step * lanes, word)
                    v = add(add(fma(v, kept, zero), z), bias)
                    output = add(output, select_ge(v, threshold, splat(amplitude * share[step], word), zero))
                    v = select_ge(v, threshold, sub(v, subtracted), v)
                store(outputs, 0, output)
                for sample in range(first, min(first + lanes, n_samples)):
                    error = outputs[sample - first] - targets[channel, sample]
                    total += error * error
                first += lanes
            if total <= lowest:
                errors[channel, candidate] = lowest = total
    return errors


_squared_errors = kernel(_errors, parallel=True)
