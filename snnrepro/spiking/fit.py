"""The inner loop of calibration: one channel's neurons under many candidate settings at once, compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Sequence

import numpy as np
from numba import prange

from snnrepro.compiling import kernel

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.spiking.recipes import Recipe

_COARSE = 512
"""Samples that the whole grid is tried on; the neighbourhood of its best is tried on all."""
_ROUNDS = 3
"""How often the neighbourhood is searched, each time at half the distance."""


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


class ChannelConstants(NamedTuple):
    """The constants of each channel's neurons, each ``(n_channels,)``, in the units of the activations.

    `bias` makes up for what leaks from a membrane half way to the amplitude; the others are as those of `Population`.
    """

    amplitude: AnyArray
    initial_potential: AnyArray
    threshold: AnyArray
    subtracted: AnyArray
    bias: AnyArray


def constants_of(
    recipe: Recipe, inputs: FloatArray, targets: FloatArray, retention: float, weights: AnyArray
) -> ChannelConstants:
    """Return the constants that a recipe gives each channel; parameters as of `fit_channels`."""
    channels = len(targets)
    if not recipe.per_channel:  # one channel with the samples of all
        inputs = np.ascontiguousarray(inputs.transpose(1, 0, 2).reshape(1, inputs.shape[1], -1))
        targets = targets.reshape(1, -1)
    if recipe.threshold == "fitted":
        constants = fit_channels(inputs, targets, retention, weights, Grid())
    else:
        percentile = 100.0 if recipe.threshold == "max" else recipe.percentile
        amplitude = np.maximum(np.percentile(targets, percentile, axis=1), 1e-6 + 1e-3 * targets.max())
        potential, bias = recipe.initial_potential * amplitude, _leak_compensation(retention) * amplitude
        constants = ChannelConstants(amplitude, potential, amplitude, amplitude, bias)
    return ChannelConstants(*(np.broadcast_to(values.astype(np.float32), (channels,)) for values in constants))


def fit_channels(
    inputs: FloatArray, targets: FloatArray, retention: float, weights: AnyArray, grid: Grid
) -> ChannelConstants:
    """Return the constants of each channel's neurons whose mean output meets the targets best (least squares).

    Parameters
    ----------
    inputs : numpy.ndarray
        Input in every step, float32, ``(n_channels, n_steps, n_samples)``.
    targets : numpy.ndarray
        The activation to be met, float32, ``(n_channels, n_samples)``.
    retention : float
        Factor of the membrane potential per step.
    weights : numpy.ndarray
        How much each step counts in the mean, ``(n_steps,)``.
    grid : Grid
        What is tried.
    """
    # A channel that is never active here must not fire at the first small input elsewhere.
    largest = np.maximum(targets.max(axis=1), max(0.05 * float(targets.max()), 1e-6)).astype(np.float32)
    share = (weights / weights.sum()).astype(np.float32)
    candidates = np.tile(_combinations(grid), (len(targets), 1, 1))
    best = _best(inputs[..., :_COARSE], targets[:, :_COARSE], largest, candidates, retention, share)
    for round_ in range(_ROUNDS):
        around = _combinations([_neighbours(axis, 0.5 ** (round_ + 1)) for axis in grid])
        best = _best(inputs, targets, largest, best[:, np.newaxis] + around, retention, share)
    amplitude = best[:, 0] * largest
    potential, threshold, subtracted = (best[:, index] * amplitude for index in range(1, 4))
    return ChannelConstants(amplitude, potential, threshold, subtracted, _leak_compensation(retention) * amplitude)


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
    errors = _squared_errors(
        np.ascontiguousarray(inputs), np.ascontiguousarray(targets), largest, candidates, np.float32(retention), share
    )
    best: FloatArray = candidates[np.arange(len(candidates)), errors.argmin(axis=1)]
    return best


def _step(
    z: Any, potential: Any, output: Any, retention: Any, bias: Any, threshold: Any, subtracted: Any, weighted: Any
) -> None:
    """Let the neurons of one candidate, one a sample, do one step; apart, so that an older Numba vectorises it."""
    for sample in range(len(z)):
        v = retention * potential[sample] + z[sample] + bias
        fires = v >= threshold
        potential[sample] = v - subtracted if fires else v
        output[sample] += weighted if fires else np.float32(0)


_advance = kernel(_step)


def _errors(inputs: Any, targets: Any, largest: Any, candidates: Any, retention: Any, share: Any) -> Any:
    """Return the squared error of every channel under every candidate, ``(n_channels, n_candidates)``."""
    n_channels, n_steps, n_samples = inputs.shape
    n_candidates = candidates.shape[1]
    errors = np.full((n_channels, n_candidates), np.inf)
    leaked = max(np.float32(0), np.float32(1) - retention) / np.float32(2)
    for job in prange(n_channels * n_candidates):
        channel, candidate = job // n_candidates, job % n_candidates
        chosen = candidates[channel, candidate]
        amplitude = chosen[0] * largest[channel]
        threshold, subtracted = chosen[2] * amplitude, chosen[3] * amplitude
        bias = leaked * amplitude
        potential = np.full(n_samples, chosen[1] * amplitude, np.float32)
        output = np.zeros(n_samples, np.float32)
        for step in range(n_steps):
            weighted = amplitude * share[step]
            _advance(inputs[channel, step], potential, output, retention, bias, threshold, subtracted, weighted)
        if amplitude > 0:
            total = 0.0
            for sample in range(n_samples):
                error = output[sample] - targets[channel, sample]
                total += error * error
            errors[channel, candidate] = total
    return errors


_squared_errors = kernel(_errors, parallel=True)
