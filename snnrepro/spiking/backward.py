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
    for row in prange(n_images * n_channels):
        image, channel = row // n_channels, row % n_channels
        for position in range(n_positions):
            v = initial[channel]
            for step in range(n_steps):
                v = growth * v + z[step, image, channel, position] + bias[channel]
                kept[step, image, channel, position] = v
                out[step, image, channel, position] = np.float32(0)
                if v >= threshold[channel]:
                    out[step, image, channel, position] = amplitude[channel]
                    v -= subtracted[channel]


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
    for row in prange(n_images * n_channels):
        image, channel = row // n_channels, row % n_channels
        a, theta, r = amplitude[channel], threshold[channel], subtracted[channel]
        by_a: Any = 0.0
        by_theta: Any = 0.0
        by_r: Any = 0.0
        by_v: Any = 0.0
        by_b: Any = 0.0
        for position in range(n_positions):
            after: Any = np.float32(0)  # by the membrane potential after this step's reset
            for back in range(n_steps):
                step = n_steps - 1 - back
                v, given = kept[step, image, channel, position], gradient[step, image, channel, position]
                if v >= theta:
                    by_a += given
                    by_r -= after
                slope = max(np.float32(0), np.float32(1) - abs(v / theta - np.float32(1)) / np.float32(WIDTH))
                by_spike = (given * a - after * r) * slope / (np.float32(WIDTH) * theta)
                after += by_spike
                by_theta -= by_spike * v / theta
                by_b += after
                by_input[step, image, channel, position] = after
                after *= growth
            by_v += after
        sums[image, channel, 0] = by_a
        sums[image, channel, 1] = by_theta
        sums[image, channel, 2] = by_r
        sums[image, channel, 3] = by_v
        sums[image, channel, 4] = by_b


_fired, _differentiated = kernel(_fire, parallel=True), kernel(_differentiate, parallel=True)
