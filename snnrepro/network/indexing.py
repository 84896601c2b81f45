"""Which numbers of its input each number of a layer's output sees, or is: indices in C order, `PADDING` for none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Sequence, Union

import numpy as np

from snnrepro.network.layers import AveragePool, Conv, ConvTranspose, MaxPool, Pad, Reshape, Select, Transpose

if TYPE_CHECKING:
    from snnrepro.arrays import IntArray
    from snnrepro.network.layers import Layer

Windowed = Union[Conv, ConvTranspose, AveragePool, MaxPool]

PADDING = -1
"""The index of an entry that is always 0, or outside."""


def moves_entries(layer: Layer) -> bool:
    """Whether a layer only picks and moves entries, and puts zeros between or around them."""
    return isinstance(layer, (Reshape, Transpose, Select)) or (isinstance(layer, Pad) and layer.value == 0)


def moved(layer: Layer, indices: IntArray) -> IntArray:
    """Return what a layer that `moves_entries` makes of the indices of its input's entries."""
    if isinstance(layer, Pad):
        layer = Pad(layer.pads, float(PADDING))
    return np.asarray(layer(indices[np.newaxis])[0], np.int64)  # it moves any numbers


def windows(layer: Windowed, shape: Sequence[int], after: Sequence[int]) -> IntArray:
    """Return the positions that each window of an image sees, ``(n_windows, kernel)``, the same in every channel.

    Parameters
    ----------
    shape, after : sequence of int
        Of the layer's input and output, ``(channels, *space)``.
    """
    return joined(windows_by_axis(layer, shape, after), shape[1:])


def windows_by_axis(layer: Windowed, shape: Sequence[int], after: Sequence[int]) -> list[IntArray]:
    """Return the same along each spatial axis alone, each ``(size after, size of the kernel)``."""
    kernel = layer.weights.shape[2:] if isinstance(layer, (Conv, ConvTranspose)) else layer.kernel
    axes = []
    for n_taps, stride, dilation, pad, size, n_windows in zip(
        kernel, layer.strides, layer.dilations, layer.pads, shape[1:], after[1:]
    ):
        output, tap = np.arange(n_windows)[:, np.newaxis], np.arange(n_taps) * dilation
        if isinstance(layer, ConvTranspose):
            position, rest = np.divmod(output + pad[0] - tap, stride)
        else:
            position, rest = output * stride - pad[0] + tap, np.zeros((), np.int64)
        axes.append(np.where((position >= 0) & (position < size) & (rest == 0), position, PADDING))
    return axes


def joined(axes: Sequence[IntArray], sizes: Sequence[int]) -> IntArray:
    """Return the windows of several axes of `sizes` as those of one axis in C order."""
    windows: IntArray = np.zeros((1, 1), np.int64)
    for size, axis in zip(sizes, axes):
        outer, inner = windows[:, np.newaxis, :, np.newaxis], axis[np.newaxis, :, np.newaxis, :]
        both = np.where((outer == PADDING) | (inner == PADDING), PADDING, outer * size + inner)
        windows = both.reshape(len(windows) * len(axis), -1)
    return windows


def of_channels(positions: IntArray, shape: Sequence[int]) -> IntArray:
    """Return the indices in an image of `shape` of what `windows` see, ``(channels, n_windows, kernel)``."""
    first = np.arange(shape[0])[:, np.newaxis, np.newaxis] * math.prod(shape[1:])
    return np.where(positions == PADDING, PADDING, first + positions)


def reduced(axes: Sequence[int], shape: Sequence[int]) -> IntArray:
    """Return the indices that each number of a reduction over `axes` sees, ``(n_outputs, numbers of the axes)``."""
    indices = np.arange(math.prod(shape)).reshape(tuple(shape))
    last = np.moveaxis(indices, tuple(axes), tuple(range(-len(axes), 0)))
    return last.reshape(-1, math.prod(shape[axis] for axis in axes))
