"""The only padding and shape arithmetic; shapes and axes leave the batch axis out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Callable, Sequence, Tuple

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.network import layers

if TYPE_CHECKING:
    from snnrepro.network.layers import Layer, Pads

Shape = Tuple[int, ...]

LARGEST = 2**31
"""Values of more numbers than this for one image are refused: a declared size must not exhaust the memory."""


def output_shape(name: str, layer: Layer, inputs: Sequence[Shape]) -> Shape:
    """Return the output shape of `layer` for the given input shapes.

    Parameters
    ----------
    name : str
        The node's name, for the message.
    layer : Layer
        What the node computes.
    inputs : sequence of tuple of int
        The shapes it reads, without the batch axis.

    Returns
    -------
    tuple of int
        Without the batch axis.

    Raises
    ------
    ModelError
        The layer cannot take these shapes.
    """
    try:
        many = isinstance(layer, (layers.Add, layers.Concat))
        if (len(inputs) < 1) if many else (len(inputs) != 1):
            raise ModelError(f"{'at least ' if many else ''}one input is needed, got {len(inputs)}")
        shape = _several(layer, inputs) if many else _RULES[type(layer)](layer, inputs[0])
        if any(size < 1 for size in shape):
            raise ModelError(f"{inputs[0]} leaves nothing: the result would be {shape}")
        if math.prod(shape) > LARGEST:
            raise ModelError(f"the result {shape} has more than {LARGEST} numbers for one image")
    except ModelError as error:
        raise ModelError(f"{type(layer).__name__} {name!r}: {error}") from error
    return shape


def _several(layer: Layer, inputs: Sequence[Shape]) -> Shape:
    if isinstance(layer, layers.Concat):
        axis, first = layer.axis, inputs[0]
        others = {shape[:axis] + shape[axis + 1 :] for shape in inputs}
        if not 0 <= axis < len(first) or len({len(shape) for shape in inputs}) > 1 or len(others) > 1:
            raise ModelError(f"{list(inputs)} cannot be put side by side along axis {axis}")
        return (*first[:axis], sum(shape[axis] for shape in inputs), *first[axis + 1 :])
    if len({len(shape) for shape in inputs}) > 1:
        # With the batch axis in front, ONNX would align the shorter shape's batch with an inner axis.
        raise ModelError(f"values with different numbers of axes cannot be added: {list(inputs)}")
    return broadcast(*inputs)


def broadcast(*shapes: Shape) -> Shape:
    """Return the shape of values broadcast against each other, or raise a ModelError."""
    try:
        return (
            tuple(int(size) for size in np.broadcast_shapes(*shapes))
            if hasattr(np, "broadcast_shapes")
            else tuple(np.broadcast(*(np.empty(shape, np.bool_) for shape in shapes)).shape)
        )
    except ValueError as error:
        raise ModelError(f"{list(shapes)} cannot be broadcast against each other") from error


def window(size: int, kernel: int, stride: int, dilation: int, pad: tuple[int, int], ceil: bool = False) -> int:
    """Return how many windows fit along one axis.

    ``floor((size + pads - reach) / stride) + 1`` with ``reach = dilation * (kernel - 1) + 1``; with `ceil` rounded up,
    without a window that would begin behind the value and its padding in front (ONNX, AveragePool).
    """
    span = size + pad[0] + pad[1] - (dilation * (kernel - 1) + 1)
    if span < 0:
        return 0
    count = (-(-span // stride) if ceil else span // stride) + 1
    if ceil and (count - 1) * stride >= size + pad[0]:
        count -= 1
    return count


def same_pads(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], upper: bool
) -> Pads:
    """Return the pads of ONNX's auto_pad: ``ceil(size / stride)`` windows, the odd row last (upper) or first."""
    pads = []
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations):
        total = max((-(-size // stride) - 1) * stride + dilation * (k - 1) + 1 - size, 0)
        less, more = total // 2, total - total // 2
        pads.append((less, more) if upper else (more, less))
    return tuple(pads)


def _conv(layer: layers.Conv, shape: Shape) -> Shape:
    out, per_group, *kernel = layer.weights.shape
    if len(shape) != len(kernel) + 1 or shape[0] != per_group * layer.groups or out % layer.groups:
        raise ModelError(
            f"weights {layer.weights.shape} with {layer.groups} groups take ({per_group * layer.groups} channels, "
            f"{len(kernel)} spatial axes), got {shape}"
        )
    return (out, *_windows(shape[1:], tuple(kernel), layer.strides, layer.dilations, layer.pads))


def _windows(space: Shape, kernel: Shape, strides: Shape, dilations: Shape, pads: Pads) -> Shape:
    if not len(space) == len(kernel) == len(strides) == len(dilations) == len(pads):
        raise ModelError(
            f"kernel {kernel}, strides {strides}, dilations {dilations} and pads {pads} do not fit {space}"
        )
    return tuple(window(*axis) for axis in zip(space, kernel, strides, dilations, pads))


def _conv_transpose(layer: layers.ConvTranspose, shape: Shape) -> Shape:
    n_in, per_group, *kernel = layer.weights.shape
    if len(shape) != len(kernel) + 1 or shape[0] != n_in or n_in % layer.groups:
        raise ModelError(
            f"weights {layer.weights.shape} take ({n_in} channels, {len(kernel)} spatial axes), got {shape}"
        )
    space = (
        (size - 1) * stride + dilation * (k - 1) + 1 - before - after
        for size, k, stride, dilation, (before, after) in zip(
            shape[1:], kernel, layer.strides, layer.dilations, layer.pads
        )
    )
    return (per_group * layer.groups, *space)


def _dense(layer: layers.Dense, shape: Shape) -> Shape:
    n_in, n_out = layer.weights.shape
    if not shape or shape[-1] != n_in:
        raise ModelError(f"the last axis must be {n_in} (weights {n_in}x{n_out}), got {shape}")
    return (*shape[:-1], n_out)


def _broadcast_into(shape: Shape, *constants: Shape) -> Shape:
    result = broadcast(shape, *constants)
    if len(result) > len(shape):
        raise ModelError(f"a constant of shape {max(constants, key=len)} has more axes than the value {shape}")
    return result


def _pool(layer: layers.AveragePool | layers.MaxPool, shape: Shape) -> Shape:
    return (*shape[:1], *_windows(shape[1:], layer.kernel, layer.strides, layer.dilations, layer.pads))


def _reshape(layer: layers.Reshape, shape: Shape) -> Shape:
    if math.prod(layer.shape) != math.prod(shape):
        raise ModelError(f"{shape} cannot become {layer.shape}; the sizes differ")
    return layer.shape


def _transpose(layer: layers.Transpose, shape: Shape) -> Shape:
    if sorted(layer.axes) != list(range(len(shape))):
        raise ModelError(f"the axes {layer.axes} are not a permutation of those of {shape}")
    return tuple(shape[axis] for axis in layer.axes)


def _pad(layer: layers.Pad, shape: Shape) -> Shape:
    if len(layer.pads) != len(shape):
        raise ModelError(f"{len(layer.pads)} pairs of pads for {shape}")
    return tuple(size + before + after for size, (before, after) in zip(shape, layer.pads))


def _select(layer: layers.Select, shape: Shape) -> Shape:
    if len(layer.indices) != len(shape):
        raise ModelError(f"indices for {len(layer.indices)} axes, the value is {shape}")
    for size, indices in zip(shape, layer.indices):
        if indices is not None and indices and not (min(indices) >= 0 and max(indices) < size):
            raise ModelError(f"indices from {min(indices)} to {max(indices)} for an axis of {size}")
    return tuple(size if indices is None else len(indices) for size, indices in zip(shape, layer.indices))


def _over_axes(layer: layers.Reduce | layers.Softmax, shape: Shape) -> Shape:
    if not layer.axes or not all(0 <= axis < len(shape) for axis in layer.axes):
        raise ModelError(f"axes {layer.axes} of {shape}")
    if isinstance(layer, layers.Softmax):
        return shape
    return tuple(1 if axis in layer.axes else size for axis, size in enumerate(shape))


_Rule = Callable[..., Shape]
_RULES: dict[type[object], _Rule] = {
    layers.Dense: _dense,
    layers.Conv: _conv,
    layers.ConvTranspose: _conv_transpose,
    layers.Affine: lambda layer, shape: _broadcast_into(shape, layer.scale.shape, layer.offset.shape),
    layers.ReLU: lambda layer, shape: shape,
    layers.LeakyReLU: lambda layer, shape: _broadcast_into(shape, layer.slope.shape),
    layers.Sigmoid: lambda layer, shape: shape,
    layers.Softmax: _over_axes,
    layers.AveragePool: _pool,
    layers.MaxPool: _pool,
    layers.Reduce: _over_axes,
    layers.Reshape: _reshape,
    layers.Transpose: _transpose,
    layers.Pad: _pad,
    layers.Select: _select,
}


def spatial_pads(pads: Sequence[int] | None, n_axes: int) -> Pads:
    """Return ONNX's flat pads (all befores, then all afters) as pairs; zeros where there are none."""
    flat = [0] * (2 * n_axes) if pads is None else [int(pad) for pad in pads]
    if len(flat) != 2 * n_axes:
        raise ModelError(f"{2 * n_axes} pads are needed for {n_axes} axes, got {flat}")
    return tuple(zip(flat[:n_axes], flat[n_axes:]))
