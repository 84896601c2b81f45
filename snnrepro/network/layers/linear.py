"""Products with weights: dense layers and convolutions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.network.layers.base import Layer
from snnrepro.network.padding import Pads, Shape, padded, window, windows

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray

_COLUMNS = 2**22
"""Numbers of the largest matrix of windows that is laid out at once (16 MB); a larger batch goes in pieces."""


@dataclass(frozen=True, eq=False)
class Dense(Layer):
    """Fully connected layer over the last axis: ``y = x @ weights + bias``.

    Attributes
    ----------
    weights : numpy.ndarray
        float32, ``(n_in, n_out)``: Keras's and ONNX MatMul's axis order.
    bias : numpy.ndarray
        float32, ``(n_out,)``; zeros where the model has none.
    """

    weights: FloatArray
    bias: FloatArray

    def __post_init__(self) -> None:
        self._check_array("weights", "an array of shape (n_in, n_out)", lambda shape: len(shape) == 2)
        self._check_bias(self.weights.shape[1])

    def _shape(self, shape: Shape) -> Shape:
        n_in, n_out = self.weights.shape
        if not shape or shape[-1] != n_in:
            raise ModelError(f"the last axis must be {n_in} (weights {n_in}x{n_out}), got {shape}")
        return (*shape[:-1], n_out)

    def __call__(self, x: FloatArray) -> FloatArray:
        return x @ self.weights + self.bias


@dataclass(frozen=True, eq=False)
class _Convolution(Layer):
    """What `Conv` and its adjoint have in common: fields and their checks."""

    weights: FloatArray
    bias: FloatArray
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads
    groups: int = 1

    def __post_init__(self) -> None:
        accepted = "an array with an axis of outputs, one of inputs and at least one in space, none of them 0"
        self._check_array("weights", accepted, lambda shape: len(shape) >= 3)
        first, second, *kernel = self.weights.shape
        self._check_integer("groups", 1)
        if first % self.groups:
            self._refuse("groups", f"a number that divides the first axis of the weights {self.weights.shape}")
        self._check_bias(first if isinstance(self, Conv) else second * self.groups)
        self._check_whole("strides", 1, len(kernel))
        self._check_whole("dilations", 1, len(kernel))
        self._check_pads("pads", len(kernel))

    def _with_bias(self, x: FloatArray) -> FloatArray:
        biased: FloatArray = x + self.bias.reshape(-1, *[1] * len(self.strides))
        return biased


@dataclass(frozen=True, eq=False)
class Conv(_Convolution):
    """Convolution (cross-correlation, as in every framework) over one, two or three spatial axes.

    Attributes
    ----------
    weights : numpy.ndarray
        float32, ``(out, in / groups, *kernel)``: ONNX's OIHW.
    bias : numpy.ndarray
        float32, ``(out,)``.
    strides, dilations : tuple of int
        One per spatial axis.
    pads : tuple of (int, int)
        Zeros before and after, one pair per spatial axis; below 0 crops.
    groups : int
        Groups of channels that are convolved separately; depthwise where it equals the number of channels.
    """

    def _shape(self, shape: Shape) -> Shape:
        out, per_group, *kernel = self.weights.shape
        if len(shape) != len(kernel) + 1 or shape[0] != per_group * self.groups:
            raise ModelError(
                f"weights {self.weights.shape} with {self.groups} groups take ({per_group * self.groups} channels, "
                f"{len(kernel)} spatial axes), got {shape}"
            )
        return (out, *map(window, shape[1:], kernel, self.strides, self.dilations, self.pads))

    def __call__(self, x: FloatArray) -> FloatArray:
        per_image = self.weights[0].size * self.groups * math.prod(self._shape(x.shape[1:])[1:])
        size = max(1, _COLUMNS // max(per_image, 1))
        if len(x) <= size:
            return self._convolved(x)
        return np.concatenate([self._convolved(x[start : start + size]) for start in range(0, len(x), size)])

    def _convolved(self, x: FloatArray) -> FloatArray:
        out, per_group, *kernel = self.weights.shape
        groups = self.groups
        seen = windows(padded(x, self.pads, 0.0), kernel, self.strides, self.dilations)
        n, _, *space = seen.shape[: len(kernel) + 2]
        # (n, groups, per_group, *space, *kernel) -> (groups, per_group * kernel, n * space)
        columns = seen.reshape(n, groups, per_group, math.prod(space), math.prod(kernel))
        columns = columns.transpose(1, 2, 4, 0, 3).reshape(groups, per_group * math.prod(kernel), -1)
        result: Any = np.matmul(self.weights.reshape(groups, out // groups, -1), columns).reshape(out, n, *space)
        return self._with_bias(np.moveaxis(result, 0, 1))


@dataclass(frozen=True, eq=False)
class ConvTranspose(_Convolution):
    """Transposed convolution, the adjoint of `Conv`, with the same fields but for two.

    Attributes
    ----------
    weights : numpy.ndarray
        float32, ``(in, out / groups, *kernel)``: ONNX's order, not flipped.
    pads : tuple of (int, int)
        Rows cropped from the full result, one pair per spatial axis; below 0 where rows of bias alone are added.
    """

    def _full(self, space: Shape) -> Shape:
        """Return the spatial shape of the result before it is cropped."""
        sizes = zip(space, self.weights.shape[2:], self.strides, self.dilations)
        return tuple((size - 1) * stride + dilation * (k - 1) + 1 for size, k, stride, dilation in sizes)

    def _shape(self, shape: Shape) -> Shape:
        n_in, per_group, *kernel = self.weights.shape
        if len(shape) != len(kernel) + 1 or shape[0] != n_in:
            raise ModelError(
                f"weights {self.weights.shape} take ({n_in} channels, {len(kernel)} spatial axes), got {shape}"
            )
        space = (size - before - after for size, (before, after) in zip(self._full(shape[1:]), self.pads))
        return (per_group * self.groups, *space)

    def __call__(self, x: FloatArray) -> FloatArray:
        n_in, per_group, *kernel = self.weights.shape
        n, _, *space = x.shape
        groups, spread = self.groups, self._full(x.shape[2:])
        full = np.zeros((n, groups, per_group, *spread), np.float32)
        weights = self.weights.reshape(groups, n_in // groups, per_group, *kernel)
        images = x.reshape(n, groups, n_in // groups, math.prod(space))
        for position in np.ndindex(*kernel):
            part = np.matmul(weights[(..., *position)].transpose(0, 2, 1), images)  # (n, groups, per_group, space)
            met = tuple(
                slice(p * dilation, p * dilation + (size - 1) * stride + 1, stride)
                for p, dilation, size, stride in zip(position, self.dilations, space, self.strides)
            )
            full[(slice(None), slice(None), slice(None), *met)] += part.reshape(n, groups, per_group, *space)
        crops = tuple((-before, -after) for before, after in self.pads)
        return self._with_bias(padded(full.reshape(n, groups * per_group, *spread), crops, 0.0))
