"""Number by number: scales, activations, sums."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.network import formula
from snnrepro.network.layers.base import Layer, OverAxes
from snnrepro.network.padding import Shape, broadcast

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class Affine(Layer):
    """Scale and offset: ``y = x * scale + offset``: a constant added or multiplied, a batch normalisation.

    Attributes
    ----------
    scale, offset : numpy.ndarray
        float32, broadcast against the value without its batch axis.
    """

    scale: FloatArray
    offset: FloatArray

    def __post_init__(self) -> None:
        self._check_array("scale", _CONSTANT)
        self._check_array("offset", _CONSTANT)

    def _shape(self, shape: Shape) -> Shape:
        return _widened(shape, self.scale.shape, self.offset.shape)

    def __call__(self, x: FloatArray) -> FloatArray:
        return x * self.scale + self.offset


@dataclass(frozen=True, eq=False)
class Round(Layer):
    """The nearest multiple of a unit (of two as near, the even one), within bounds: a number that few bits can hold.

    A spiking network in fixed point has it before and behind what the image alone decides.

    Attributes
    ----------
    unit : numpy.ndarray
        float32 above 0, broadcast against the value without its batch axis; with powers of two, rounding is exact.
    most : float
        The largest size of a result.

    Examples
    --------
    >>> import numpy as np
    >>> from snnrepro.network.layers import Round
    >>> Round(np.float32(0.25), 1.0)(np.float32([[0.3, -0.4, 7]]))
    array([[ 0.25, -0.5 ,  1.  ]], dtype=float32)
    """

    unit: FloatArray
    most: float

    def __post_init__(self) -> None:
        self._check_array("unit", _CONSTANT)
        if not (self.unit > 0).all():
            self._refuse("unit", "numbers above 0")
        self._check_number("most", above=0)

    def _shape(self, shape: Shape) -> Shape:
        return _widened(shape, self.unit.shape)

    def __call__(self, x: FloatArray) -> FloatArray:
        most = np.float32(self.most)
        rounded: FloatArray = x / self.unit
        np.rint(rounded, out=rounded)  # no more copies: images are large
        rounded *= self.unit
        np.clip(rounded, -most, most, out=rounded)
        return rounded


@dataclass(frozen=True, eq=False)
class ReLU(Layer):
    """Rectifier: ``y = min(max(x, 0), maximum)``; in the spiking network, a layer of neurons.

    Attributes
    ----------
    maximum : float or None
        Upper bound, as in ReLU6; None for none.
    """

    maximum: float | None = None

    def __post_init__(self) -> None:
        if self.maximum is not None:
            self._check_number("maximum", above=0)

    def __call__(self, x: FloatArray) -> FloatArray:
        rectified = np.maximum(x, np.float32(0))
        return rectified if self.maximum is None else np.minimum(rectified, np.float32(self.maximum))


@dataclass(frozen=True, eq=False)
class LeakyReLU(Layer):
    """``y = x`` above 0 and ``slope * x`` below.

    Attributes
    ----------
    slope : numpy.ndarray
        float32, broadcast against the value without its batch axis.
    """

    slope: FloatArray

    def __post_init__(self) -> None:
        self._check_array("slope", _CONSTANT)

    def _shape(self, shape: Shape) -> Shape:
        return _widened(shape, self.slope.shape)

    def __call__(self, x: FloatArray) -> FloatArray:
        return np.where(x < 0, x * self.slope, x)


@dataclass(frozen=True, eq=False)
class Sigmoid(Layer):
    """``y = 1 / (1 + exp(-x))``."""

    def __call__(self, x: FloatArray) -> FloatArray:
        value: FloatArray = formula.sigmoid(x)
        return value


@dataclass(frozen=True, eq=False)
class Function(Layer):
    """A function of one number, whatever its formula: ``y = tanh(x)``, ``y = x * sigmoid(x)``.

    Attributes
    ----------
    formula : str
        As `snnrepro.network.formula.parsed` reads it, with ``x`` in it.
    """

    formula: str

    def __post_init__(self) -> None:
        try:
            names = {getattr(part, "id", None) for part in ast.walk(formula.parsed(self.formula))}
        except ModelError as error:
            self._refuse("formula", f"one that can be read: {error}")
        if "x" not in names:
            self._refuse("formula", "one with x in it")

    def __call__(self, x: FloatArray) -> FloatArray:
        return formula.evaluate(self.formula, x)


@dataclass(frozen=True, eq=False)
class Softmax(OverAxes):
    """``y = exp(x) / sum(exp(x))``; at the output, after the spiking network's readout.

    Attributes
    ----------
    axes : tuple of int
        Axes over which the scores sum to 1; several where ONNX before opset 13 flattens them.
    log : bool
        Whether the logarithm is given.
    """

    axes: tuple[int, ...]
    log: bool = False

    def __post_init__(self) -> None:
        self._check_axes()
        if not isinstance(self.log, bool):
            self._refuse("log", "True or False")

    def _shape(self, shape: Shape) -> Shape:
        self._check_within(shape)
        return shape

    def __call__(self, x: FloatArray) -> FloatArray:
        axes = tuple(axis + 1 for axis in self.axes)
        shifted = x - x.max(axis=axes, keepdims=True)
        powers = np.exp(shifted)
        total = powers.sum(axis=axes, keepdims=True)
        scores: FloatArray = shifted - np.log(total) if self.log else powers / total
        return scores


@dataclass(frozen=True, eq=False)
class Weighing(Softmax):
    """A softmax inside a spiking network, before neurons or weights, that products alone read; fields as `Softmax`.

    It is computed in each step from means, as the products are.
    """


@dataclass(frozen=True, eq=False)
class Add(Layer):
    """Sum of two or more values, broadcast against each other: a residual connection."""

    reads_several = True

    def _shape(self, *shapes: Shape) -> Shape:
        if len({len(shape) for shape in shapes}) > 1:
            # With the batch axis in front, ONNX would align the shorter shape's batch with an inner axis.
            raise ModelError(f"values with different numbers of axes cannot be added: {list(shapes)}")
        return broadcast(*shapes)

    def __call__(self, *x: FloatArray) -> FloatArray:
        total = x[0]
        for value in x[1:]:
            total = total + value
        return total


@dataclass(frozen=True, eq=False)
class _OfTwo(Layer):
    """What two values give number by number, broadcast against each other."""

    reads_several = True

    def _shape(self, *shapes: Shape) -> Shape:
        if len(shapes) != 2 or len(shapes[0]) != len(shapes[1]):
            raise ModelError(f"two values with as many axes are needed, got {list(shapes)}")
        return broadcast(*shapes)


@dataclass(frozen=True, eq=False)
class Multiply(_OfTwo):
    """Product of two values, broadcast against each other: a gate.

    In the spiking network its sum over the steps is the product of the two sums, over the number of steps: it gives in
    each step what that gains.
    """

    def __call__(self, *x: FloatArray) -> FloatArray:
        return x[0] * x[1]


@dataclass(frozen=True, eq=False)
class Divide(_OfTwo):
    """Quotient of two values, broadcast against each other; not a finite number where it is divided by 0.

    In the spiking network its mean over the steps is the quotient of the two means, and 0 while that is not finite.
    """

    def __call__(self, *x: FloatArray) -> FloatArray:
        with np.errstate(all="ignore"):
            return x[0] / x[1]


_CONSTANT = "an array of numbers, not empty, that is broadcast against the value"


def _widened(shape: Shape, *constants: Shape) -> Shape:
    """Return the shape of a value that constants without more axes are broadcast against."""
    result = broadcast(shape, *constants)
    if len(result) > len(shape):
        raise ModelError(f"a constant of shape {max(constants, key=len)} has more axes than the value {shape}")
    return result
