"""The way back through linear layers and maxima: how their inputs move a number that their output moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator
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
    MaxPool,
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

LINEAR = (Add, Affine, AveragePool, Concat, Conv, ConvTranspose, Dense, Pad, Reshape, Select, Transpose)

_adjoints: WeakKeyDictionary[Conv | ConvTranspose, dict[Shape, tuple[Conv | ConvTranspose, Pads]]] = WeakKeyDictionary()


def is_linear(layer: Layer) -> bool:
    """Whether a layer is linear but for a constant, so that it has an adjoint."""
    return isinstance(layer, LINEAR) or (isinstance(layer, Reduce) and layer.kind == "mean")


def adjoint(layer: Layer, shapes: tuple[Shape, ...], gradient: FloatArray) -> tuple[FloatArray, ...]:
    """Return the gradient by each input of a linear layer, given that by its output.

    Parameters
    ----------
    layer : Layer
        What `is_linear` says yes to.
    shapes : tuple of tuple of int
        Of what it reads, without the images.
    gradient : numpy.ndarray
        By its output, ``(n_images, *shape)``.

    Examples
    --------
    >>> import numpy as np
    >>> from snnrepro.network.layers import Reduce
    >>> adjoint(Reduce("mean", (0,)), ((4,),), np.float32([[8]]))
    (array([[2., 2., 2., 2.]], dtype=float32),)
    """
    if isinstance(layer, Add):
        return tuple(_summed_to(shape, gradient) for shape in shapes)
    if isinstance(layer, Concat):
        ends = np.cumsum([shape[layer.axis] for shape in shapes])[:-1]
        return tuple(np.split(gradient, ends, layer.axis + 1))
    return (_of_one(layer, shapes[0], gradient),)


def back_to_largest(layer: MaxPool | Reduce, x: FloatArray, gradient: FloatArray) -> FloatArray:
    """Return the gradient by the input of a maximum, given that by its output; what is equally large shares it.

    Parameters
    ----------
    layer : MaxPool or Reduce
        A maximum over windows or whole axes.
    x, gradient : numpy.ndarray
        What it read, and the gradient by its output, both with the images first.

    Examples
    --------
    >>> import numpy as np
    >>> from snnrepro.network.layers import Reduce
    >>> back_to_largest(Reduce("max", (0,)), np.float32([[1, 3, 3]]), np.float32([[8]]))
    array([[0., 4., 4.]], dtype=float32)
    """
    largest = layer(x)
    if isinstance(layer, Reduce):
        is_largest = x == largest
        shares = gradient / is_largest.sum(axis=tuple(axis + 1 for axis in layer.axes), keepdims=True)
        return np.where(is_largest, shares, 0).astype(np.float32)
    outer = padded(x, layer.pads, -np.inf)
    result = np.zeros_like(outer)
    met = list(_met(layer, largest.shape[2:]))
    shares = gradient / sum((outer[places] == largest).astype(np.float32) for places in met)
    for places in met:
        result[places] += np.where(outer[places] == largest, shares, 0)
    return _cropped(result, layer.pads)


def _of_one(layer: Layer, shape: Shape, gradient: FloatArray) -> FloatArray:
    """Return the gradient by the one input of a layer."""
    if isinstance(layer, Dense):
        product: FloatArray = gradient @ layer.weights.T
        return product
    if isinstance(layer, (Conv, ConvTranspose)):
        backwards, missing = _backwards(layer, shape, gradient.shape[1:])
        return padded(convolve(backwards, gradient), missing, 0.0)
    if isinstance(layer, Affine):
        return _summed_to(shape, gradient * layer.scale)
    if isinstance(layer, Reshape):
        return gradient.reshape(len(gradient), *shape)
    if isinstance(layer, Transpose):
        return np.transpose(gradient, (0, *(int(axis) + 1 for axis in np.argsort(layer.axes))))
    if isinstance(layer, Pad):
        return _cropped(gradient, layer.pads)
    if isinstance(layer, Select):
        return _unselected(layer, shape, gradient)
    if isinstance(layer, Reduce):
        share = np.float32(gradient[0].size / np.prod(shape))
        return np.array(np.broadcast_to(gradient * share, (len(gradient), *shape)))
    assert isinstance(layer, AveragePool)
    return _unpooled(layer, shape, gradient)


def _backwards(layer: Conv | ConvTranspose, shape: Shape, seen: Shape) -> tuple[Conv | ConvTranspose, Pads]:
    """Return the convolution from values of the shape `seen` back to `shape`, and the zeros that follow behind it.

    It is made once for as long as the layer lives. A convolution may leave out the last rows that its pads brought, and
    some of the value itself: those have no gradient.
    """
    known = _adjoints.setdefault(layer, {})
    if shape not in known:
        turned = _turned(layer, shape, seen) if isinstance(layer, Conv) else None
        if turned is not None:
            known[shape] = turned, ((0, 0),) * len(layer.strides)
            return known[shape]
        is_forward = isinstance(layer, Conv)
        bias = np.zeros(layer.weights.shape[1] * layer.groups if is_forward else len(layer.weights), np.float32)
        cropped, missing = [], []
        for size, own, k, stride, dilation, (before, _) in zip(
            shape[1:], seen[1:], layer.weights.shape[2:], layer.strides, layer.dilations, layer.pads
        ):
            behind = (own - 1) * stride + dilation * (k - 1) + 1 - before - size
            cropped.append((before, max(behind, 0)))
            missing.append((0, max(-behind, 0) if is_forward else 0))
        kind = ConvTranspose if is_forward else Conv
        pads = tuple(cropped) if is_forward else layer.pads
        made = kind(layer.weights, bias, layer.strides, layer.dilations, pads, layer.groups)
        known[shape] = made, tuple(missing)
    return known[shape]


def _turned(layer: Conv, shape: Shape, seen: Shape) -> Conv | None:
    """Return a convolution that is its own way back, kernels turned round: in onnxruntime two to four times as fast.

    None where strides or wide pads stand in the way.
    """
    pads = []
    for size, own, k, stride, dilation, (before, _) in zip(
        shape[1:], seen[1:], layer.weights.shape[2:], layer.strides, layer.dilations, layer.pads
    ):
        reach = dilation * (k - 1)
        pads.append((reach - before, size - own + before))
        if stride > 1 or min(pads[-1]) < 0:
            return None
    n_out, per_group, *kernel = layer.weights.shape
    grouped = layer.weights.reshape(layer.groups, n_out // layer.groups, per_group, *kernel).swapaxes(1, 2)
    turned = np.flip(grouped, tuple(range(3, grouped.ndim))).reshape(layer.groups * per_group, -1, *kernel)
    bias = np.zeros(len(turned), np.float32)
    return Conv(np.ascontiguousarray(turned), bias, layer.strides, layer.dilations, tuple(pads), layer.groups)


def _summed_to(shape: Shape, values: FloatArray) -> FloatArray:
    """Return values summed over the axes along which what has this shape was repeated."""
    repeated = tuple(axis for axis, size in enumerate(shape, 1) if size == 1 and values.shape[axis] > 1)
    return values.sum(axis=repeated, keepdims=True) if repeated else values


def _unselected(layer: Select, shape: Shape, gradient: FloatArray) -> FloatArray:
    for axis, indices in enumerate(layer.indices, start=1):
        if indices is not None:
            whole = np.zeros((*gradient.shape[:axis], shape[axis - 1], *gradient.shape[axis + 1 :]), np.float32)
            place: Any = (*[slice(None)] * axis, np.array(indices, np.intp))
            np.add.at(whole, place, gradient)
            gradient = whole
    return gradient


def _unpooled(layer: AveragePool, shape: Shape, gradient: FloatArray) -> FloatArray:
    """Spread a gradient over its windows."""
    share = gradient / layer.counts(shape[1:])
    result = padded(np.zeros((len(gradient), *shape), np.float32), layer.pads, 0.0)
    for places in _met(layer, gradient.shape[2:]):
        result[places] += share
    return _cropped(result, layer.pads)


def _met(layer: AveragePool | MaxPool, windows: Shape) -> Iterator[tuple[slice, ...]]:
    """Yield for each place within a window where all windows have it, of an input with its pads."""
    for position in np.ndindex(*layer.kernel):
        ends = zip(position, layer.dilations, windows, layer.strides)
        places = (slice(p * step, p * step + (size - 1) * stride + 1, stride) for p, step, size, stride in ends)
        yield (slice(None), slice(None), *places)


def _cropped(values: FloatArray, pads: Pads) -> FloatArray:
    """Return values without the rows that pads brought."""
    return padded(values, tuple((-before, -after) for before, after in pads), 0.0)
