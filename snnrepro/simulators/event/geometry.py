"""Which input places each output place of a linear layer sees, and with which rows of weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from snnrepro.network.indexing import joined, reduced, windows, windows_by_axis
from snnrepro.network.layers import Conv, ConvTranspose, MaxPool, Reduce

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.simulators.event.layout import Layout


@dataclass(frozen=True, eq=False)
class Geometry:
    """The segments of input rows that output places see.

    Attributes
    ----------
    rows : numpy.ndarray
        int32, ``(output rows, segments)``: the input row, -1 where there is none.
    bases : numpy.ndarray
        int32, ``(segments,)``: the row of weights of the first number of the segment's input row.
    left, right : numpy.ndarray
        int32, ``(places of an output row,)``: the input places seen of each row are ``left <= place < right``.
    shift : numpy.ndarray
        int32, as `left`: what is added to all rows of weights.
    width : int
        Places of an input row.
    """

    rows: AnyArray
    bases: AnyArray
    left: AnyArray
    right: AnyArray
    shift: AnyArray
    width: int

    @cached_property
    def arguments(self) -> tuple[AnyArray, ...]:
        """For the kernels: flat int32."""
        fields = (self.rows, self.bases, self.left, self.right, self.shift)
        return tuple(np.ascontiguousarray(field, dtype=np.int32).reshape(-1) for field in fields)


def window_geometry(layer: Conv | ConvTranspose, source: Layout, target: Layout) -> Geometry:
    """Return what the output places of a convolution see, one segment for each position of the kernel.

    A convolution that is not dilated along its last axis takes a row of its kernel as one segment; of others each
    place is a row of its own. Weight rows are counted by kernel position in C order, then input channel.
    """
    seen = windows_by_axis(layer, (1, *source.places), (1, *target.places))
    whole_rows = isinstance(layer, Conv) and layer.dilations[-1] == 1
    rows = joined(seen[:-1] if whole_rows else seen, source.places)
    segments, channels = np.arange(rows.shape[1]), source.channels
    if not whole_rows:
        none = np.zeros(1, np.int64)
        return Geometry(rows, segments * channels, none, none + 1, none, 1)
    width, n_taps = source.places[-1], seen[-1].shape[1]
    first = np.arange(target.places[-1]) * layer.strides[-1] - layer.pads[-1][0]
    left = np.clip(first, 0, width)
    right = np.clip(first + n_taps, left, width)
    return Geometry(rows, segments * n_taps * channels, left, right, -first * channels, width)


def pool_windows(layer: MaxPool | Reduce, source: Layout, target: Layout) -> AnyArray:
    """Return the input places of which each output place is the maximum, int32 ``(output places, largest number)``.

    Missing ones are -1. For a `Reduce` every axis of its input is one of places.
    """
    if isinstance(layer, Reduce):
        return np.ascontiguousarray(reduced(layer.axes, source.places), np.int32)
    return windows(layer, (1, *source.places), (1, *target.places)).astype(np.int32)


def window_weights(layer: Conv | ConvTranspose, source: Layout, target: Layout) -> FloatArray:
    """Return the rows of weights, ``(kernel positions * padded input channels, padded output channels)``."""
    weights = layer.weights if isinstance(layer, Conv) else layer.weights.swapaxes(0, 1)
    n_out, n_in = weights.shape[:2]
    rows = np.zeros((int(np.prod(weights.shape[2:])), source.channels, target.channels), np.float32)
    rows[:, :n_in, :n_out] = weights.reshape(n_out, n_in, -1).transpose(2, 1, 0)
    return rows.reshape(-1, target.channels)


def flat_geometry(source: Layout) -> Geometry:
    """Return what one output place sees that sees all: a segment for each input row."""
    rows, none = np.arange(source.n_rows), np.zeros(1, np.int64)
    return Geometry(
        rows[np.newaxis], rows * source.width * source.channels, none, none + source.width, none, source.width
    )


def place_geometry(source: Layout) -> Geometry:
    """Return what output places see that see the input place they stand at."""
    places = np.arange(source.width)
    return Geometry(
        np.arange(source.n_rows)[:, np.newaxis],
        np.zeros(1, np.int64),
        places,
        places + 1,
        -places * source.channels,
        source.width,
    )
