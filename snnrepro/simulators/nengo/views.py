"""Index arithmetic for Nengo, whose values are flat: picked and moved entries, windows, layers as sparse matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from snnrepro.network.indexing import PADDING, moved, of_channels, reduced, windows
from snnrepro.network.layers import AveragePool, Conv, ConvTranspose, MaxPool

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray, IntArray
    from snnrepro.network.layers import Layer, Reduce


@dataclass(frozen=True, eq=False)
class View:
    """A value as entries of a Nengo object.

    Attributes
    ----------
    source : nengo.Node or nengo.ensemble.Neurons
        Where the entries stand.
    indices : numpy.ndarray
        int64, of the value's shape: the position of each entry in `source`; `PADDING` where it is 0.
    """

    source: Any
    indices: IntArray

    @property
    def shape(self) -> tuple[int, ...]:
        """The value's shape, without the batch axis."""
        return tuple(self.indices.shape)

    def moved(self, layer: Layer) -> View:
        """Return what a layer that only picks and moves entries gives (Reshape, Transpose, Select, Pad with 0)."""
        return View(self.source, moved(layer, self.indices))

    def broadcast(self, shape: Sequence[int]) -> View:
        """Return the value broadcast to a shape."""
        return View(self.source, np.broadcast_to(self.indices, tuple(shape)))

    def spread(self, strides: Sequence[int]) -> View:
        """Return an image with zeros between its rows, so that they lie `strides` apart."""
        space = [(size - 1) * stride + 1 for size, stride in zip(self.shape[1:], strides)]
        indices = np.full((self.shape[0], *space), PADDING, np.int64)
        indices[(slice(None), *(slice(None, None, stride) for stride in strides))] = self.indices
        return View(self.source, indices)


def whole(source: Any, shape: Sequence[int]) -> View:
    """Return the view of all of a Nengo object."""
    return View(source, np.arange(math.prod(shape)).reshape(tuple(shape)))


@dataclass(frozen=True, eq=False)
class Matrix:
    """A linear layer without its constant, ``(n_out, n_in)``: positions and values of the entries that are not 0."""

    shape: tuple[int, int]
    rows: IntArray
    columns: IntArray
    values: FloatArray

    @property
    def transposed(self) -> Matrix:
        """The adjoint."""
        return Matrix(self.shape[::-1], self.columns, self.rows, self.values)

    def of(self, view: View, size: int) -> Matrix:
        """Return the matrix that takes a view's source of `size` numbers in place of the view."""
        columns = view.indices.reshape(-1)[self.columns]
        kept = columns != PADDING
        return Matrix((self.shape[0], size), self.rows[kept], columns[kept], self.values[kept])


def maximum_windows(layer: MaxPool | Reduce, shape: Sequence[int]) -> IntArray:
    """Return the indices among which each number of a maximum is the largest, ``(n_out, n_candidates)``."""
    if isinstance(layer, MaxPool):
        seen = _seen(layer, shape, layer.output_shape(tuple(shape)))
        return seen.reshape(-1, seen.shape[-1])
    return reduced(layer.axes, shape)


def _seen(layer: Conv | AveragePool | MaxPool, shape: Sequence[int], after: Sequence[int]) -> IntArray:
    """Return the indices of what each window of an image sees, ``(channels, n_windows, kernel)``."""
    return of_channels(windows(layer, shape, after), shape)


def matrix(layer: Conv | ConvTranspose | AveragePool | Reduce, shape: Sequence[int], after: Sequence[int]) -> Matrix:
    """Return a linear layer as a sparse matrix from a value of `shape` to one of `after`."""
    if isinstance(layer, Conv):
        return _convolution(layer, shape, after)
    if isinstance(layer, ConvTranspose):  # the adjoint of the convolution with the same weights, read the other way
        bias = np.zeros(len(layer.weights), np.float32)
        adjoint = Conv(layer.weights, bias, layer.strides, layer.dilations, layer.pads, layer.groups)
        return _convolution(adjoint, after, shape).transposed
    if isinstance(layer, AveragePool):
        return _average(layer, shape, after)
    sizes = math.prod(after), math.prod(shape)
    rows = np.broadcast_to(np.arange(sizes[0]).reshape(tuple(after)), tuple(shape)).reshape(-1)
    return Matrix(sizes, rows, np.arange(sizes[1]), np.full(sizes[1], sizes[0] / sizes[1], np.float32))


def _convolution(layer: Conv, shape: Sequence[int], after: Sequence[int]) -> Matrix:
    out, per_group = layer.weights.shape[:2]
    groups = layer.groups
    seen = _seen(layer, shape, after)
    n_windows, n_kernel = seen.shape[1:]
    # Axes: groups, out, in, windows, kernel.
    columns = seen.reshape(groups, 1, per_group, n_windows, n_kernel)
    weights = layer.weights.reshape(groups, out // groups, per_group, 1, n_kernel)
    rows = (np.arange(out)[:, np.newaxis] * n_windows + np.arange(n_windows)).reshape(groups, -1, 1, n_windows, 1)
    rows, columns, values = np.broadcast_arrays(rows, columns, weights)
    kept = (columns != PADDING) & (values != 0)
    return Matrix((math.prod(after), math.prod(shape)), rows[kept], columns[kept], values[kept])


def _average(layer: AveragePool, shape: Sequence[int], after: Sequence[int]) -> Matrix:
    seen = _seen(layer, shape, after)
    inside = (seen != PADDING).sum(axis=-1, keepdims=True)
    # What the layer gives for ones is the share of a window that lies inside: it tells the denominator.
    shares = layer(np.ones((1, *shape), np.float32))[0].reshape(*seen.shape[:2], 1)
    values: AnyArray = np.where(inside > 0, shares / np.maximum(inside, 1), 0).astype(np.float32)
    rows = np.arange(seen.shape[0] * seen.shape[1]).reshape(*seen.shape[:2], 1)
    rows, columns, values = np.broadcast_arrays(rows, seen, values)
    kept = columns != PADDING
    return Matrix((rows.size // rows.shape[-1], math.prod(shape)), rows[kept], columns[kept], values[kept])
