"""The same numbers elsewhere: shapes, axes, padding, selection."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.network.layers.base import Layer, whole_numbers
from snnrepro.network.padding import Pads, Shape, padded

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class Concat(Layer):
    """Values side by side.

    Attributes
    ----------
    axis : int
        Without the batch axis.
    """

    axis: int

    reads_several = True

    def __post_init__(self) -> None:
        self._check_integer("axis", 0)

    def _shape(self, *shapes: Shape) -> Shape:
        axis, first = self.axis, shapes[0]
        others = {shape[:axis] + shape[axis + 1 :] for shape in shapes}
        if axis >= len(first) or len({len(shape) for shape in shapes}) > 1 or len(others) > 1:
            raise ModelError(f"{list(shapes)} cannot be put side by side along axis {axis}")
        return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])

    def __call__(self, *x: FloatArray) -> FloatArray:
        return np.concatenate(x, axis=self.axis + 1)


@dataclass(frozen=True, eq=False)
class Reshape(Layer):
    """The same numbers in C order under another shape.

    Attributes
    ----------
    shape : tuple of int
        The new shape, without the batch axis.
    """

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        self._check_whole("shape", 1)

    def _shape(self, shape: Shape) -> Shape:
        if math.prod(self.shape) != math.prod(shape):
            raise ModelError(f"{shape} cannot become {self.shape}; the sizes differ")
        return self.shape

    def __call__(self, x: FloatArray) -> FloatArray:
        return x.reshape((len(x), *self.shape))


@dataclass(frozen=True, eq=False)
class Transpose(Layer):
    """Axes in another order.

    Attributes
    ----------
    axes : tuple of int
        Axis i of the result is axis ``axes[i]`` of the value, without the batch axis.
    """

    axes: tuple[int, ...]

    def __post_init__(self) -> None:
        self._check_whole("axes", 0)
        if sorted(self.axes) != list(range(len(self.axes))):
            self._refuse("axes", "every axis of the value once, the first of them being 0")

    def _shape(self, shape: Shape) -> Shape:
        if len(self.axes) != len(shape):
            raise ModelError(f"the axes {self.axes} are not a permutation of those of {shape}")
        return tuple(shape[axis] for axis in self.axes)

    def __call__(self, x: FloatArray) -> FloatArray:
        return np.transpose(x, (0, *(axis + 1 for axis in self.axes)))


@dataclass(frozen=True, eq=False)
class Pad(Layer):
    """A constant around the value.

    Attributes
    ----------
    pads : tuple of (int, int)
        Before and after, one pair for every axis but the batch; below 0 crops.
    value : float
        What is put there.
    """

    pads: Pads
    value: float = 0.0

    def __post_init__(self) -> None:
        self._check_pads("pads")
        self._check_number("value")

    def _shape(self, shape: Shape) -> Shape:
        if len(self.pads) != len(shape):
            raise ModelError(f"{len(self.pads)} pairs of pads for {shape}")
        return tuple(size + before + after for size, (before, after) in zip(shape, self.pads))

    def __call__(self, x: FloatArray) -> FloatArray:
        return padded(x, self.pads, self.value)


@dataclass(frozen=True, eq=False)
class Select(Layer):
    """Entries picked by index: a slice, one part of a split, a nearest-neighbour resize.

    Attributes
    ----------
    indices : tuple of (tuple of int or None)
        For every axis but the batch the indices taken, repeated where entries are; None takes the axis as it is.
    """

    indices: tuple[tuple[int, ...] | None, ...]

    def __post_init__(self) -> None:
        given: Any = self.indices if isinstance(self.indices, (tuple, list)) else ["none"]
        indices = tuple(None if entries is None else whole_numbers(entries, 0) for entries in given)
        if any(kept is None and entries is not None for kept, entries in zip(indices, given)):
            self._refuse("indices", "for every axis either None or a tuple of indices from 0 on")
        self._keep("indices", indices)

    def _shape(self, shape: Shape) -> Shape:
        if len(self.indices) != len(shape):
            raise ModelError(f"indices for {len(self.indices)} axes, the value is {shape}")
        for size, indices in zip(shape, self.indices):
            if indices and max(indices) >= size:
                raise ModelError(f"indices from {min(indices)} to {max(indices)} for an axis of {size}")
        return tuple(size if indices is None else len(indices) for size, indices in zip(shape, self.indices))

    def __call__(self, x: FloatArray) -> FloatArray:
        for axis, indices in enumerate(self.indices, start=1):
            if indices is not None:
                x = np.take(x, np.array(indices, np.intp), axis=axis)
        return x
