"""Numbers of channels: how they lie in a value and in the weights of a linear layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union

import numpy as np

from snnrepro.network.layers import Conv, ConvTranspose, Dense

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.network.layers import Layer

LinearLayer = Union[Dense, Conv, ConvTranspose]
LINEAR = (Dense, Conv, ConvTranspose)
"""Layers with weights from input to output channels."""


def channel_axis(layer: Layer) -> int:
    """Return which axis counts channels in what a layer reads and gives."""
    return -1 if isinstance(layer, Dense) else 0


def per_axis(values: AnyArray, axis: int, of: Any) -> AnyArray:
    """Return the largest (or what `of` gives) of each entry along an axis; the others have size 1."""
    others = tuple(other for other in range(values.ndim) if other != axis % values.ndim)
    return np.asarray(of(values, axis=others, keepdims=True))


def along(values: AnyArray, shape: tuple[int, ...], axis: int) -> AnyArray:
    """Return one number for each entry along an axis as an array to be broadcast to `shape`."""
    sizes = [1] * len(shape)
    sizes[axis] = len(values)
    return values.reshape(sizes)


def is_per_channel(scale: AnyArray, axis: int) -> bool:
    """Whether a scale is the same along all other axes, but for values that are always 0."""
    return bool(((scale == 0) | (scale == per_axis(scale, axis, np.max))).all())


def filled(scale: AnyArray) -> AnyArray:
    """Return a scale with that of its channel where the value is always 0."""
    of_channel = per_axis(scale, 0, np.max)
    return np.where(scale == 0, np.where(of_channel == 0, 1, of_channel), scale)


def collapsed(values: AnyArray) -> AnyArray:
    """Return an array with size 1 along the axes along which it is the same, to be broadcast."""
    for axis in range(values.ndim):
        first = values.take([0], axis=axis)
        if values.shape[axis] > 1 and (values == first).all():
            values = first
    return values


def by_input(layer: LinearLayer, of_channel: AnyArray) -> AnyArray:
    """Return one number for each input channel as an array to be broadcast to the layer's weights."""
    if isinstance(layer, Dense):
        return of_channel[:, np.newaxis]
    return _over_kernels(layer, of_channel, is_first=isinstance(layer, ConvTranspose))


def by_output(layer: LinearLayer, of_channel: AnyArray) -> AnyArray:
    """Return one number for each output channel as an array to be broadcast to the layer's weights."""
    if isinstance(layer, Dense):
        return of_channel
    return _over_kernels(layer, of_channel, is_first=isinstance(layer, Conv))


def _over_kernels(layer: Conv | ConvTranspose, of_channel: AnyArray, is_first: bool) -> AnyArray:
    """Return one number for each channel, which the first axis of the weights counts, or the second in each group."""
    if is_first:
        spread = of_channel.reshape(-1, 1)
    else:
        spread = of_channel.reshape(layer.groups, -1).repeat(len(layer.weights) // layer.groups, axis=0)
    return spread.reshape(*spread.shape, *[1] * len(layer.strides))


def largest_of_outputs(layer: Any, sizes: AnyArray) -> AnyArray:
    """Return the largest of the weights of each output channel."""
    if isinstance(layer, Dense):
        return np.asarray(sizes.max(axis=0))
    if isinstance(layer, Conv):
        return np.asarray(sizes.reshape(len(sizes), -1).max(axis=1))
    grouped = sizes.reshape(layer.groups, len(sizes) // layer.groups, sizes.shape[1], -1)
    return np.asarray(grouped.max(axis=(1, 3)).reshape(-1))
