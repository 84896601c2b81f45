"""How a layer's inputs move a number that its output moves: reverse differentiation, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from snnrepro.network.convolve import convolve
from snnrepro.network.layers import (
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Divide,
    MaxPool,
    Multiply,
    Pad,
    Reduce,
    Reshape,
    Select,
    Transpose,
)
from snnrepro.network.padding import padded

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray
    from snnrepro.network.layers import Layer
    from snnrepro.network.padding import Pads, Shape

DIFFERENTIATED = (
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Divide,
    MaxPool,
    Multiply,
    Pad,
    Reduce,
    Reshape,
    Select,
    Transpose,
)
"""The layers that `gradients` knows."""

_adjoints: WeakKeyDictionary[Conv | ConvTranspose, dict[Shape, tuple[Conv | ConvTranspose, Pads]]] = WeakKeyDictionary()


def gradients(layer: Layer, inputs: tuple[FloatArray, ...], gradient: FloatArray) -> tuple[FloatArray, ...]:
    """Return the gradient by each input of a layer, given that by its output.

    Parameters
    ----------
    layer : Layer
        One of `DIFFERENTIATED`.
    inputs : tuple of numpy.ndarray
        What it reads, each ``(n_images, *shape)``.
    gradient : numpy.ndarray
        By its output, of the output's shape.

    Examples
    --------
    >>> import numpy as np
    >>> from snnrepro.network.layers import Multiply
    >>> gradients(Multiply(), (np.float32([[2, 3]]), np.float32([[5, 7]])), np.float32([[1, 10]]))
    (array([[ 5., 70.]], dtype=float32), array([[ 2., 30.]], dtype=float32))
    """
    x = inputs[0]
    if isinstance(layer, Add):
        return tuple(_summed_to(one.shape, gradient) for one in inputs)
    if isinstance(layer, Multiply):
        first, second = inputs
        return _summed_to(first.shape, gradient * second), _summed_to(second.shape, gradient * first)
    if isinstance(layer, Divide):
        first, second = inputs
        with np.errstate(divide="ignore", invalid="ignore"):
            of_first, of_second = gradient / second, -gradient * first / np.square(second)
        finite = [np.where(np.isfinite(one), one, np.float32(0)) for one in (of_first, of_second)]
        return _summed_to(first.shape, finite[0]), _summed_to(second.shape, finite[1])
    if isinstance(layer, Concat):
        axis = layer.axis + 1
        return tuple(np.split(gradient, np.cumsum([one.shape[axis] for one in inputs])[:-1], axis))
    return (_of_one(layer, x, gradient),)


def _of_one(layer: Layer, x: FloatArray, gradient: FloatArray) -> FloatArray:
    """Return the gradient by the one input of a layer."""
    if isinstance(layer, Dense):
        product: FloatArray = gradient @ layer.weights.T
        return product
    if isinstance(layer, (Conv, ConvTranspose)):
        adjoint, missing = _adjoint(layer, x.shape[1:], gradient.shape[1:])
        return padded(convolve(adjoint, gradient), missing, 0.0)
    if isinstance(layer, Affine):
        return _summed_to(x.shape, gradient * layer.scale)
    if isinstance(layer, Reshape):
        return gradient.reshape(x.shape)
    if isinstance(layer, Transpose):
        return np.transpose(gradient, (0, *(int(axis) + 1 for axis in np.argsort(layer.axes))))
    if isinstance(layer, Pad):
        return padded(gradient, tuple((-before, -after) for before, after in layer.pads), 0.0)
    if isinstance(layer, Select):
        return _unselected(layer, x.shape, gradient)
    if isinstance(layer, Reduce):
        shares = np.ones(x.shape, np.float32) if layer.kind == "mean" else np.float32(x == layer(x))
        shares /= shares.sum(axis=tuple(axis + 1 for axis in layer.axes), keepdims=True)
        spread: FloatArray = gradient * shares
        return spread
    assert isinstance(layer, (MaxPool, AveragePool))
    return _unpooled(layer, x, gradient)


def _adjoint(layer: Conv | ConvTranspose, shape: Shape, seen: Shape) -> tuple[Conv | ConvTranspose, Pads]:
    """Return the convolution from values of the shape `seen` back to `shape`, and the zeros that follow behind it.

    It is made once for as long as the layer lives. A convolution may leave out the last rows that its pads brought, and
    some of the value itself: those have no gradient.
    """
    known = _adjoints.setdefault(layer, {})
    if shape not in known:
        is_forward = isinstance(layer, Conv)
        bias = np.zeros(layer.weights.shape[1] * layer.groups if is_forward else len(layer.weights), np.float32)
        cropped, missing = [], []
        for size, own, k, stride, dilation, (before, after) in zip(
            shape[1:], seen[1:], layer.weights.shape[2:], layer.strides, layer.dilations, layer.pads
        ):
            if is_forward:
                after = (own - 1) * stride + dilation * (k - 1) + 1 - before - size
            cropped.append((before, max(after, 0)))
            missing.append((0, max(-after, 0) if is_forward else 0))
        kind = ConvTranspose if is_forward else Conv
        pads = tuple(cropped) if is_forward else layer.pads
        adjoint = kind(layer.weights, bias, layer.strides, layer.dilations, pads, layer.groups)
        known[shape] = adjoint, tuple(missing)
    return known[shape]


def _summed_to(shape: Shape, values: FloatArray) -> FloatArray:
    """Return values summed over the axes along which what has this shape was repeated."""
    repeated = tuple(axis for axis, size in enumerate(shape) if size == 1 and values.shape[axis] > 1)
    return values.sum(axis=repeated, keepdims=True) if repeated else values


def _unselected(layer: Select, shape: Shape, gradient: FloatArray) -> FloatArray:
    for axis, indices in enumerate(layer.indices, start=1):
        if indices is not None:
            whole = np.zeros((*gradient.shape[:axis], shape[axis], *gradient.shape[axis + 1 :]), np.float32)
            place: Any = (*[slice(None)] * axis, np.array(indices, np.intp))
            np.add.at(whole, place, gradient)
            gradient = whole
    return gradient


def _unpooled(layer: MaxPool | AveragePool, x: FloatArray, gradient: FloatArray) -> FloatArray:
    """Spread a gradient over its windows: evenly, or to the first of the largest numbers."""
    largest = layer(x) if isinstance(layer, MaxPool) else None
    share = gradient / layer.counts(x.shape[2:]) if isinstance(layer, AveragePool) else gradient
    seen = padded(x, layer.pads, -np.inf)
    result, is_open = np.zeros(seen.shape, np.float32), np.ones(gradient.shape, np.bool_)
    for position in np.ndindex(*layer.kernel):
        met = (
            slice(None),
            slice(None),
            *(
                slice(p * dilation, p * dilation + (size - 1) * stride + 1, stride)
                for p, dilation, size, stride in zip(position, layer.dilations, gradient.shape[2:], layer.strides)
            ),
        )
        if largest is None:
            result[met] += share
        else:
            is_first = is_open & (seen[met] == largest)
            is_open &= ~is_first
            result[met] += share * is_first
    return padded(result, tuple((-before, -after) for before, after in ((0, 0), *layer.pads)), 0.0)
