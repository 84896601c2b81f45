"""The layers of a trained network: immutable data, one small class each; what they compute stands in `forward`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

from snnrepro.arrays import frozen

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class Dense:
    """Fully connected layer: ``y = x @ weights + bias``.

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
        object.__setattr__(self, "weights", frozen(self.weights))
        object.__setattr__(self, "bias", frozen(self.bias))
        if self.weights.ndim != 2 or self.bias.shape != self.weights.shape[1:]:
            raise ValueError(
                f"Dense: weights (n_in, n_out) and bias (n_out,) are needed, "
                f"got {self.weights.shape} and {self.bias.shape}"
            )


@dataclass(frozen=True, eq=False)
class Bias:
    """A constant added: ``y = x + values``; readers fold it into the Dense before it where there is one.

    Attributes
    ----------
    values : numpy.ndarray
        float32, ``(n,)``, over the last axis.
    """

    values: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", frozen(self.values))


@dataclass(frozen=True, eq=False)
class ReLU:
    """Rectifier: ``y = max(x, 0)``; in the spiking network, a layer of neurons."""


@dataclass(frozen=True, eq=False)
class Softmax:
    """``y = exp(x) / sum(exp(x))`` over the last axis; only at the output, after the spiking network's readout."""


@dataclass(frozen=True, eq=False)
class Reshape:
    """The same numbers in C order under another shape.

    Attributes
    ----------
    shape : tuple of int
        The new shape, without the batch axis.
    """

    shape: tuple[int, ...]


Layer = Union[Dense, Bias, ReLU, Softmax, Reshape]

LAYER_TYPES = (Dense, Bias, ReLU, Softmax, Reshape)
