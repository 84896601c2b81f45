"""Float evaluation of a trained network, layer by layer: the answer that the spiking network has to keep."""

from __future__ import annotations

import math
from collections import deque
from functools import singledispatch
from typing import TYPE_CHECKING, Any, Iterator, Sequence

import numpy as np

from snnrepro.errors import DataError
from snnrepro.network import layers
from snnrepro.network.geometry import window

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray
    from snnrepro.network.graph import Network
    from snnrepro.network.layers import Pads

_COLUMNS = 2**24
"""Numbers of the largest matrix of windows that is laid out at once (64 MB); a larger batch goes in pieces."""


def evaluate(network: Network, x: Any) -> FloatArray:
    """Return the network's scores for `x`, float32, ``(n_images, *output_shape)``."""
    return deque(activations(network, x), maxlen=1)[0][1]


def activations(network: Network, x: Any) -> Iterator[tuple[str, FloatArray]]:
    """Yield ``(name, value)`` of every node in order; values are float32, ``(n_images, *shape)``.

    Parameters
    ----------
    network : Network
        The trained network.
    x : array_like
        ``(n_images, *input_shape)``.

    Raises
    ------
    DataError
        `x` has another shape.
    """
    x = np.asarray(x, dtype=np.float32)
    if x.shape[1:] != tuple(network.input_shape):
        raise DataError(
            f"the network's input is (n_images, {', '.join(map(str, network.input_shape))}), got {tuple(x.shape)}"
        )
    values: dict[str, FloatArray] = {network.input_name: x}
    last_use = {name: index for index, node in enumerate(network.nodes) for name in node.inputs}
    for index, node in enumerate(network.nodes):
        value = compute(node.layer, *(values[name] for name in node.inputs))
        for name in node.inputs:
            if last_use[name] == index:  # free what nothing later reads
                values.pop(name, None)
        values[node.name] = value
        yield node.name, value


@singledispatch
def compute(layer: Any, *x: FloatArray) -> FloatArray:
    """Return what one layer gives for the values it reads, each ``(n_images, ...)``, float32."""
    raise NotImplementedError(f"forward: no evaluation for {type(layer).__name__}")


@compute.register(layers.Dense)
def _(layer: layers.Dense, x: FloatArray) -> FloatArray:
    return x @ layer.weights + layer.bias


@compute.register(layers.Conv)
def _(layer: layers.Conv, x: FloatArray) -> FloatArray:
    out, per_group, *kernel = layer.weights.shape
    groups, weights = layer.groups, layer.weights.reshape(layer.groups, out // layer.groups, -1)
    n_columns = math.prod(kernel) * per_group * groups

    def convolve(images: FloatArray) -> Any:
        windows = _windows(_padded(images, layer.pads, 0.0), kernel, layer.strides, layer.dilations)
        n, _, *space = windows.shape[: len(kernel) + 2]
        # (n, groups, per_group, *space, *kernel) -> (groups, per_group * kernel, n * space)
        columns = windows.reshape(n, groups, per_group, math.prod(space), math.prod(kernel))
        columns = columns.transpose(1, 2, 4, 0, 3).reshape(groups, per_group * math.prod(kernel), -1)
        result = np.matmul(weights, columns).reshape(out, n, *space)
        return np.moveaxis(result, 0, 1) + _per_channel(layer.bias, len(kernel))

    space = _space_after(x, layer.pads, kernel, layer.strides, layer.dilations)
    return _in_pieces(convolve, x, n_columns * math.prod(space))


@compute.register(layers.ConvTranspose)
def _(layer: layers.ConvTranspose, x: FloatArray) -> FloatArray:
    n_in, per_group, *kernel = layer.weights.shape
    groups = layer.groups
    n, _, *space = x.shape
    spread = [
        (size - 1) * stride + dilation * (k - 1) + 1
        for size, k, stride, dilation in zip(space, kernel, layer.strides, layer.dilations)
    ]
    full = np.zeros((n, groups, per_group, *spread), np.float32)
    weights = layer.weights.reshape(groups, n_in // groups, per_group, *kernel)
    images = x.reshape(n, groups, n_in // groups, math.prod(space))
    for position in np.ndindex(*kernel):
        part = np.matmul(weights[(..., *position)].transpose(0, 2, 1), images)  # (n, groups, per_group, space)
        places = tuple(
            slice(p * dilation, p * dilation + (size - 1) * stride + 1, stride)
            for p, dilation, size, stride in zip(position, layer.dilations, space, layer.strides)
        )
        full[(slice(None), slice(None), slice(None), *places)] += part.reshape(n, groups, per_group, *space)
    cropped = _padded(
        full.reshape(n, groups * per_group, *spread), tuple((-before, -after) for before, after in layer.pads), 0.0
    )
    result: FloatArray = cropped + _per_channel(layer.bias, len(kernel))
    return result


@compute.register(layers.Affine)
def _(layer: layers.Affine, x: FloatArray) -> FloatArray:
    return x * layer.scale + layer.offset


@compute.register(layers.ReLU)
def _(layer: layers.ReLU, x: FloatArray) -> FloatArray:
    rectified = np.maximum(x, np.float32(0))
    return rectified if layer.maximum is None else np.minimum(rectified, np.float32(layer.maximum))


@compute.register(layers.LeakyReLU)
def _(layer: layers.LeakyReLU, x: FloatArray) -> FloatArray:
    return np.where(x < 0, x * layer.slope, x)


@compute.register(layers.Sigmoid)
def _(layer: layers.Sigmoid, x: FloatArray) -> FloatArray:
    power = np.exp(-np.abs(x))  # never overflows
    sigmoid: FloatArray = np.where(x < 0, power, np.float32(1)) / (1 + power)
    return sigmoid


@compute.register(layers.Softmax)
def _(layer: layers.Softmax, x: FloatArray) -> FloatArray:
    axes = tuple(axis + 1 for axis in layer.axes)
    shifted = x - x.max(axis=axes, keepdims=True)
    powers = np.exp(shifted)
    total = powers.sum(axis=axes, keepdims=True)
    scores: FloatArray = shifted - np.log(total) if layer.log else powers / total
    return scores


@compute.register(layers.AveragePool)
def _(layer: layers.AveragePool, x: FloatArray) -> FloatArray:
    inside = np.ones((1, 1, *x.shape[2:]), np.float32)
    counted = _padded(inside, layer.counted, 1.0)
    rest: Pads = tuple((b - c, a - d) for (b, a), (c, d) in zip(layer.pads, layer.counted))
    axes = tuple(range(-len(layer.kernel), 0))
    counts = _windows(_padded(counted, rest, 0.0), layer.kernel, layer.strides, layer.dilations).sum(axis=axes)
    windows = _windows(_padded(x, layer.pads, 0.0), layer.kernel, layer.strides, layer.dilations)
    mean: FloatArray = windows.sum(axis=axes) / counts
    return mean


@compute.register(layers.MaxPool)
def _(layer: layers.MaxPool, x: FloatArray) -> FloatArray:
    padded = _padded(x, layer.pads, -np.inf)
    windows = _windows(padded, layer.kernel, layer.strides, layer.dilations)
    largest: FloatArray = windows.max(axis=tuple(range(-len(layer.kernel), 0)))
    return largest


@compute.register(layers.Reduce)
def _(layer: layers.Reduce, x: FloatArray) -> FloatArray:
    axes = tuple(axis + 1 for axis in layer.axes)
    reduced: FloatArray = x.mean(axis=axes, keepdims=True) if layer.kind == "mean" else x.max(axis=axes, keepdims=True)
    return reduced


@compute.register(layers.Add)
def _(layer: layers.Add, *x: FloatArray) -> FloatArray:
    total = x[0]
    for value in x[1:]:
        total = total + value
    return total


@compute.register(layers.Concat)
def _(layer: layers.Concat, *x: FloatArray) -> FloatArray:
    return np.concatenate(x, axis=layer.axis + 1)


@compute.register(layers.Reshape)
def _(layer: layers.Reshape, x: FloatArray) -> FloatArray:
    return x.reshape((len(x), *layer.shape))


@compute.register(layers.Transpose)
def _(layer: layers.Transpose, x: FloatArray) -> FloatArray:
    return np.transpose(x, (0, *(axis + 1 for axis in layer.axes)))


@compute.register(layers.Pad)
def _(layer: layers.Pad, x: FloatArray) -> FloatArray:
    return _padded(x, layer.pads, layer.value)


@compute.register(layers.Select)
def _(layer: layers.Select, x: FloatArray) -> FloatArray:
    for axis, indices in enumerate(layer.indices, start=1):
        if indices is not None:
            x = np.take(x, np.array(indices, np.intp), axis=axis)
    return x


def _per_channel(values: FloatArray, n_axes: int) -> FloatArray:
    return values.reshape(-1, *[1] * n_axes)


def _padded(x: FloatArray, pads: Pads, value: float) -> FloatArray:
    """Return `x` with a constant around its last axes; pads below 0 crop."""
    first = x.ndim - len(pads)
    widths = [(0, 0)] * first + [(max(before, 0), max(after, 0)) for before, after in pads]
    if any(before or after for before, after in widths):
        x = np.pad(x, widths, constant_values=np.float32(value))
    # Padded before it is cropped: a crop may reach into what was added on the other side.
    ends = zip(pads, x.shape[first:])
    crops = [slice(max(-before, 0), size - max(-after, 0)) for (before, after), size in ends]
    return x[tuple([slice(None)] * first + crops)]


def _windows(x: FloatArray, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> FloatArray:
    """Return a read-only view ``(n, channels, *windows, *kernel)`` of all windows of padded images."""
    x = np.ascontiguousarray(x)
    n_axes = len(kernel)
    space = [
        (size - dilation * (k - 1) - 1) // stride + 1
        for size, k, stride, dilation in zip(x.shape[2:], kernel, strides, dilations)
    ]
    steps = x.strides[2:]
    return np.lib.stride_tricks.as_strided(
        x,
        shape=(*x.shape[:2], *space, *kernel),
        strides=(
            *x.strides[:2],
            *(steps[axis] * strides[axis] for axis in range(n_axes)),
            *(steps[axis] * dilations[axis] for axis in range(n_axes)),
        ),
        writeable=False,
    )


def _space_after(
    x: FloatArray, pads: Pads, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[int]:
    return [window(*axis) for axis in zip(x.shape[2:], kernel, strides, dilations, pads)]


def _in_pieces(function: Any, x: FloatArray, numbers_per_image: int) -> FloatArray:
    """Apply `function` to pieces of the batch, so that what it lays out stays within `_COLUMNS` numbers."""
    size = max(1, _COLUMNS // max(numbers_per_image, 1))
    if len(x) <= size:
        whole: FloatArray = function(x)
        return whole
    return np.concatenate([function(x[start : start + size]) for start in range(0, len(x), size)])
