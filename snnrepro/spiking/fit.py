"""The inner loop of calibration: one channel's neurons under many candidate settings at once, compiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np
from numba import prange

from snnrepro.compiling import kernel

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray

_COARSE = 512
"""Samples that the whole grid is tried on; the neighbourhood of its best is tried on all."""
_ROUNDS = 3
"""How often the neighbourhood is searched, each time at half the distance."""


@dataclass(frozen=True)
class Grid:
    """What is tried for each channel: every combination, then the neighbourhood of the best.

    An axis with one number is not searched. All but the first are relative to the amplitude.

    Attributes
    ----------
    amplitude : tuple of float
        Output of a spike, relative to the channel's largest activation.
    initial_potential : tuple of float
        Membrane potential before the first step.
    threshold : tuple of float
        Firing threshold.
    subtracted : tuple of float
        What a spike takes from the membrane potential.
    """

    amplitude: tuple[float, ...] = tuple(0.15 + 0.1 * index for index in range(13))
    initial_potential: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    threshold: tuple[float, ...] = (0.7, 0.85, 1.0, 1.15, 1.3)
    subtracted: tuple[float, ...] = (0.8, 0.9, 1.0, 1.1, 1.2)

    @property
    def axes(self) -> tuple[tuple[float, ...], ...]:
        """The four axes in order."""
        return (self.amplitude, self.initial_potential, self.threshold, self.subtracted)


def fit_channels(
    inputs: FloatArray, targets: FloatArray, retention: float, weights: AnyArray, grid: Grid
) -> FloatArray:
    """Return the settings of each channel's neurons whose mean output meets the targets best (least squares).

    Parameters
    ----------
    inputs : numpy.ndarray
        Input in every step, float32, ``(n_channels, n_steps, n_samples)``.
    targets : numpy.ndarray
        The activation to be met, float32, ``(n_channels, n_samples)``.
    retention : float
        Factor of the membrane potential a step.
    weights : numpy.ndarray
        How much each step counts in the mean, ``(n_steps,)``.
    grid : Grid
        What is tried.

    Returns
    -------
    numpy.ndarray
        ``(5, n_channels)``: amplitude, initial potential, threshold, what is subtracted, and the constant input that
        makes up for what leaks from a membrane half way to the amplitude, in the units of the targets.
    """
    # A channel that is never active here must not fire at the first small input elsewhere.
    largest = np.maximum(targets.max(axis=1), max(0.05 * float(targets.max()), 1e-6)).astype(np.float32)
    share = (weights / weights.sum()).astype(np.float32)
    candidates = np.tile(_combinations(grid.axes), (len(targets), 1, 1))
    best = _best(inputs[..., :_COARSE], targets[:, :_COARSE], largest, candidates, retention, share)
    for round_ in range(_ROUNDS):
        around = _combinations([_neighbours(axis, 0.5 ** (round_ + 1)) for axis in grid.axes])
        best = _best(inputs, targets, largest, best[:, np.newaxis] + around, retention, share)
    amplitude = best[:, 0] * largest
    relative = (best[:, index] * amplitude for index in range(1, 4))
    return np.stack([amplitude, *relative, leak_compensation(retention) * amplitude]).astype(np.float32)


def leak_compensation(retention: float) -> float:
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
