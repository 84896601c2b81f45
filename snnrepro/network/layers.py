"""The layers of a trained network: immutable data, one small class each; what they compute stands in `forward`.

Images are channels first everywhere inside the package, as in ONNX: ``(n_images, channels, *space)``. A model that
keeps them otherwise has Transpose layers where it changes them. Shapes and axes leave the batch axis out, unless said.
Pads are ``((before, after), ...)``, one pair a spatial axis.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Tuple, Union, get_args

import numpy as np

from snnrepro.arrays import frozen

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray

Pads = Tuple[Tuple[int, int], ...]


class ArrayFields:
    """Makes every array of a layer read-only float32 in C order."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, field.name)
            if isinstance(value, (np.ndarray, np.generic, list)):
                object.__setattr__(self, field.name, frozen(value))


@dataclass(frozen=True, eq=False)
class Dense(ArrayFields):
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
        super().__post_init__()
        if self.weights.ndim != 2 or self.bias.shape != self.weights.shape[1:]:
            raise ValueError(
                f"Dense: weights (n_in, n_out) and bias (n_out,) are needed, "
                f"got {self.weights.shape} and {self.bias.shape}"
            )


@dataclass(frozen=True, eq=False)
class Conv(ArrayFields):
    """Convolution (cross-correlation, as in every framework) over one, two or three spatial axes.

    Attributes
    ----------
    weights : numpy.ndarray
        float32, ``(out, in / groups, *kernel)``: ONNX's OIHW.
    bias : numpy.ndarray
        float32, ``(out,)``.
    strides, dilations : tuple of int
        One a spatial axis.
    pads : tuple of (int, int)
        Zeros before and after, one pair a spatial axis.
    groups : int
        Groups of channels that are convolved separately; depthwise where it equals the number of channels.
    """

    weights: FloatArray
    bias: FloatArray
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads
    groups: int = 1


@dataclass(frozen=True, eq=False)
class ConvTranspose(ArrayFields):
    """Transposed convolution, the adjoint of `Conv`.

    Attributes
    ----------
    weights : numpy.ndarray
        float32, ``(in, out / groups, *kernel)``: ONNX's order, not flipped.
    bias : numpy.ndarray
        float32, ``(out,)``.
    strides, dilations : tuple of int
        One a spatial axis.
    pads : tuple of (int, int)
        Rows cropped from the full result, one pair a spatial axis; below 0 where rows of bias alone are added.
    groups : int
        Groups of channels.
    """

    weights: FloatArray
    bias: FloatArray
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads
    groups: int = 1


@dataclass(frozen=True, eq=False)
class Affine(ArrayFields):
    """Scale and offset: ``y = x * scale + offset``: a constant added or multiplied, a batch normalisation.

    Attributes
    ----------
    scale, offset : numpy.ndarray
        float32, broadcast against the value without its batch axis.
    """

    scale: FloatArray
    offset: FloatArray


@dataclass(frozen=True, eq=False)
class ReLU:
    """Rectifier: ``y = min(max(x, 0), maximum)``; in the spiking network, a layer of neurons.

    Attributes
    ----------
    maximum : float or None
        Upper bound, as in ReLU6; None for none.
    """

    maximum: float | None = None


@dataclass(frozen=True, eq=False)
class LeakyReLU(ArrayFields):
    """``y = x`` above 0 and ``slope * x`` below.

    Attributes
    ----------
    slope : numpy.ndarray
        float32, broadcast against the value without its batch axis.
    """

    slope: FloatArray


@dataclass(frozen=True, eq=False)
class Sigmoid:
    """``y = 1 / (1 + exp(-x))``."""


@dataclass(frozen=True, eq=False)
class Softmax:
    """``y = exp(x) / sum(exp(x))``; only at the output, after the spiking network's readout.

    Attributes
    ----------
    axes : tuple of int
        Axes over which the scores sum to 1; several where ONNX before opset 13 flattens them.
    log : bool
        Whether the logarithm is given.
    """

    axes: tuple[int, ...]
    log: bool = False


@dataclass(frozen=True, eq=False)
class AveragePool:
    """Mean over windows.

    Attributes
    ----------
    kernel, strides, dilations : tuple of int
        One a spatial axis.
    pads : tuple of (int, int)
        Zeros before and after.
    counted : tuple of (int, int)
        How many of those zeros count in the mean's denominator: all, none, or (with ONNX's ceil_mode, whose extra rows
        never count) the declared ones.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads
    counted: Pads


@dataclass(frozen=True, eq=False)
class MaxPool:
    """Maximum over windows; padding never wins.

    Attributes
    ----------
    kernel, strides, dilations : tuple of int
        One a spatial axis.
    pads : tuple of (int, int)
        Rows before and after.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads


@dataclass(frozen=True, eq=False)
class Reduce:
    """Mean or maximum over whole axes, which stay as axes of size 1.

    Attributes
    ----------
    kind : str
        "mean" or "max".
    axes : tuple of int
        Without the batch axis.
    """

    kind: str
    axes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Add:
    """Sum of two or more values, broadcast against each other: a residual connection."""


@dataclass(frozen=True, eq=False)
class Concat:
    """Values side by side.

    Attributes
    ----------
    axis : int
        Without the batch axis.
    """

    axis: int


@dataclass(frozen=True, eq=False)
class Reshape:
    """The same numbers in C order under another shape.

    Attributes
    ----------
    shape : tuple of int
        The new shape, without the batch axis.
    """

    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Transpose:
    """Axes in another order.

    Attributes
    ----------
    axes : tuple of int
        Axis i of the result is axis ``axes[i]`` of the value, without the batch axis.
    """

    axes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Pad:
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


@dataclass(frozen=True, eq=False)
class Select:
    """Entries picked by index: a slice, one part of a split, a nearest-neighbour resize.

    Attributes
    ----------
    indices : tuple of (tuple of int or None)
        For every axis but the batch the indices taken, repeated where entries are; None takes the axis as it is.
    """

    indices: tuple[tuple[int, ...] | None, ...]


Layer = Union[
    Dense,
    Conv,
    ConvTranspose,
    Affine,
    ReLU,
    LeakyReLU,
    Sigmoid,
    Softmax,
    AveragePool,
    MaxPool,
    Reduce,
    Add,
    Concat,
    Reshape,
    Transpose,
    Pad,
    Select,
]

LAYER_TYPES: tuple[type, ...] = get_args(Layer)
