"""Neurons through all steps, and the way back: how their constants and inputs move a number that their output moves.

A spike is a jump, which has no slope; on the way back its slope is a triangle around the threshold (a surrogate
gradient: Neftci, Mostafa and Zenke, IEEE Signal Processing Magazine 36:51 (2019)). All else is differentiated as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import prange

from snnrepro.compiling import kernel

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.spiking.neurons import ChannelConstants

WIDTH = 0.5
"""Half of the triangle's base, over the threshold."""


def fire(z: FloatArray, constants: ChannelConstants, growth: float) -> tuple[FloatArray, FloatArray]:
    """Return what neurons give in every step, and their membrane potentials before each reset.

    Parameters
    ----------
    z : numpy.ndarray
        Input in every step, ``(n_steps, n_images, n_channels, n_positions)``.
    constants : ChannelConstants
        Of the neurons, float32.
    growth : float
        Factor per step by which the membrane grows.
    """
    outputs, membranes = np.empty_like(z), np.empty_like(z)
    _fired(z, *constants, np.float32(growth), outputs, membranes)
    return outputs, membranes


def differentiated(
    membranes: FloatArray, constants: ChannelConstants, gradient: FloatArray, growth: float
) -> tuple[FloatArray, tuple[AnyArray, ...]]:
    """Return the gradient by the inputs of every step, and by each of the constants, given that by the outputs.

    Parameters
    ----------
    membranes : numpy.ndarray
        What `fire` gave.
    constants, growth : ChannelConstants, float
        As of `fire`.
    gradient : numpy.ndarray
        By the output of every step, of the shape of `membranes`.
    """
    by_input = np.empty_like(membranes)
    sums = np.zeros((membranes.shape[1], membranes.shape[2], len(constants)))
    _differentiated(membranes, *constants, np.float32(growth), gradient, by_input, sums)
    return by_input, tuple(np.moveaxis(sums.sum(axis=0), -1, 0))


def _fire(
    z: Any, amplitude: Any, threshold: Any, subtracted: Any, initial: Any, bias: Any, growth: Any, out: Any, kept: Any
) -> None:
    n_steps, n_images, n_channels, n_positions = z.shape
    zero = np.float32(0)
    for row in prange(n_images * n_channels):
        image, channel = row // n_channels, row % n_channels
        a, theta, r, b = amplitude[channel], threshold[channel], subtracted[channel], bias[channel]
        potential = np.full(n_positions, initial[channel], np.float32)
        for step in range(n_steps):
            given, fired, before = z[step, image, channel], out[step, image, channel], kept[step, image, channel]
            for position in range(n_positions):
                v = growth * potential[position] + given[position] + b
                before[position] = v
                fired[position] = a if v >= theta else zero
                potential[position] = v - (r if v >= theta else zero)


def _differentiate(
    kept: Any,
    amplitude: Any,
    threshold: Any,
    subtracted: Any,
    initial: Any,
    bias: Any,
    growth: Any,
    gradient: Any,
    by_input: Any,
    sums: Any,
) -> None:
    n_steps, n_images, n_channels, n_positions = kept.shape
    zero, one, width = np.float32(0), np.float32(1), np.float32(WIDTH)
    for row in prange(n_images * n_channels):
        image, channel = row // n_channels, row % n_channels
        a, theta, r = amplitude[channel], threshold[channel], subtracted[channel]
        by_a, by_theta = np.zeros(n_positions, np.float32), np.zeros(n_positions, np.float32)
        by_r, by_b = np.zeros(n_positions, np.float32), np.zeros(n_positions, np.float32)
        after = np.zeros(n_positions, np.float32)  # by the membrane potential after a step's reset
        for back in range(n_steps):
            step = n_steps - 1 - back
            before, given = kept[step, image, channel], gradient[step, image, channel]
            own = by_input[step, image, channel]
            for position in range(n_positions):
                v, later = before[position] / theta, after[position]
                fires = before[position] >= theta
                by_a[position] += given[position] if fires else zero
                by_r[position] -= later if fires else zero
                slope = max(zero, one - abs(v - one) / width)
                by_spike = (given[position] * a - later * r) * slope / (width * theta)
                later += by_spike
                by_theta[position] -= by_spike * v
                by_b[position] += later
                own[position] = later
                after[position] = later * growth
        sums[image, channel, 0] = by_a.sum()
        sums[image, channel, 1] = by_theta.sum()
        sums[image, channel, 2] = by_r.sum()
        sums[image, channel, 3] = after.sum()
        sums[image, channel, 4] = by_b.sum()


_fired, _differentiated = kernel(_fire, parallel=True), kernel(_differentiate, parallel=True)
