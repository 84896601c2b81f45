"""Which input positions each output position of a linear layer sees, in segments of rows, and with which weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from snnrepro.network.indexing import joined, windows_by_axis
from snnrepro.network.layers import Conv

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray, Int32Array, IntArray
    from snnrepro.network.layers import ConvTranspose
    from snnrepro.simulators.event.layout import Layout


class Segments(NamedTuple):
    """The segments of input rows that output positions see; arrays are flat."""

    rows: Int32Array  # output row, segment: the input row, `PADDING` where there is none
    bases: Int32Array  # segment: the row of weights of the first number of its input row
    left: Int32Array  # position of an output row: those seen of each input row are left <= position < right
    right: Int32Array
    shifts: Int32Array  # as `left`: what is added to all rows of weights
    width: int  # positions of an input row


def _segments(
    rows: IntArray, bases: IntArray, left: IntArray, right: IntArray, shift: IntArray, width: int
) -> Segments:
    def flat(array: IntArray) -> Int32Array:
        return np.ascontiguousarray(array, dtype=np.int32).reshape(-1)

    return Segments(flat(rows), flat(bases), flat(left), flat(right), flat(shift), width)


def window_segments(layer: Conv | ConvTranspose, source: Layout, target: Layout) -> Segments:
    """Return what the output positions of a convolution see, one segment for each position of the kernel.

    A convolution that is not dilated along its last axis takes a row of its kernel as one segment; of others each
    position is a row of its own. Weight rows are counted by kernel position in C order, then input channel.
    """
    axes = windows_by_axis(layer, source.shape, target.shape)
    whole_rows = isinstance(layer, Conv) and layer.dilations[-1] == 1
    rows = joined(axes[:-1] if whole_rows else axes, source.positions)
    segments, channels = np.arange(rows.shape[1]), source.channels
    if not whole_rows:
        zero = np.zeros(1, np.int64)
        return _segments(rows, segments * channels, zero, zero + 1, zero, 1)
    width, n_taps = source.positions[-1], axes[-1].shape[1]
    first = np.arange(target.positions[-1]) * layer.strides[-1] - layer.pads[-1][0]
    left = np.clip(first, 0, width)
    right = np.clip(first + n_taps, left, width)
    return _segments(rows, segments * n_taps * channels, left, right, -first * channels, width)


def window_weights(layer: Conv | ConvTranspose, source: Layout, target: Layout) -> FloatArray:
    """Return the rows of weights, ``(kernel positions * padded input channels, padded output channels)``."""
    weights = layer.weights if isinstance(layer, Conv) else layer.weights.swapaxes(0, 1)
    n_out, n_in = weights.shape[:2]
    rows = np.zeros((math.prod(weights.shape[2:]), source.channels, target.channels), np.float32)
    rows[:, :n_in, :n_out] = weights.reshape(n_out, n_in, -1).transpose(2, 1, 0)
    return rows.reshape(-1, target.channels)


def flat_segments(source: Layout) -> Segments:
    """Return what one output position sees that sees all: a segment for each input row."""
    rows, zero, width = np.arange(source.n_rows), np.zeros(1, np.int64), source.width
    return _segments(rows, rows * width * source.channels, zero, zero + width, zero, width)


def position_segments(source: Layout) -> Segments:
    """Return what output positions see that see the input position they stand at."""
    columns = np.arange(source.width)
    rows, base = np.arange(source.n_rows), np.zeros(1, np.int64)
    return _segments(rows, base, columns, columns + 1, -columns * source.channels, source.width)
