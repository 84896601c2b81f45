"""Scales and offsets folded into the linear layer before or behind them, where that is exact in real numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Sequence

import numpy as np

from snnrepro.network.geometry import Shape
from snnrepro.network.graph import Node
from snnrepro.network.layers import Affine, Conv, ConvTranspose, Dense

if TYPE_CHECKING:
    from typing import Union

    from snnrepro.arrays import FloatArray
    from snnrepro.network.layers import Layer

    Linear = Union[Dense, Conv, ConvTranspose]


def fold_affines(nodes: Sequence[Node], shapes: dict[str, Shape]) -> list[Node]:
    """Put every Affine into the Affine or linear layer before it, or into the linear one behind it.

    A bias that meets none keeps every bit, as does a weight whose scale is 1.

    Parameters
    ----------
    nodes : sequence of Node
        In topological order; the last one is the output.
    shapes : dict
        Of every value by name, without the batch axis.

    Returns
    -------
    list of Node
        The same network with fewer nodes; a folded node has the name of the later of the two.
    """
    readers: dict[str, int] = {}
    for node in nodes:
        for name in node.inputs:
            readers[name] = readers.get(name, 0) + 1
    folded: list[Node] = []
    place: dict[str, int] = {}
    for node in nodes:
        source = node.inputs[0]
        before = folded[place[source]] if source in place and len(node.inputs) == 1 else None
        layer: Layer | None = None
        if before is not None and readers[source] == 1:
            if isinstance(node.layer, Affine) and isinstance(before.layer, (Dense, Conv, ConvTranspose)):
                layer = _into_layer_before(before.layer, node.layer, len(shapes[node.name]))
            elif isinstance(before.layer, Affine) and isinstance(node.layer, Affine):
                first, second = before.layer, node.layer
                layer = Affine(first.scale * second.scale, first.offset * second.scale + second.offset)
            elif (
                isinstance(before.layer, Affine)
                and isinstance(node.layer, (Dense, Conv))
                and shapes[before.inputs[0]] == shapes[source]  # it does not broadcast its value to a larger one
            ):
                layer = _into_layer_behind(before.layer, node.layer, len(shapes[source]))
            if layer is not None and _keeps_shape(shapes, before, node):
                index = place.pop(source)
                folded[index] = Node(node.name, before.inputs, layer)
                place[node.name] = index
                continue
        place[node.name] = len(folded)
        folded.append(node)
    return folded


def _keeps_shape(shapes: dict[str, Shape], before: Node, node: Node) -> bool:
    """Whether the Affine does not broadcast its value to a larger one, which no linear layer can."""
    return not isinstance(node.layer, Affine) or shapes[before.name] == shapes[node.name]


def _per_channel(values: FloatArray, axis_from_end: int, n: int) -> FloatArray | None:
    """Return a constant as one number for each of the `n` channels, or None if it differs within a channel."""
    if values.size == 1:
        return np.broadcast_to(values.reshape(()), (n,))
    if values.ndim >= axis_from_end and values.shape[-axis_from_end] == n and values.size == n:
        return values.reshape(n)
    return None


def _into_layer_before(linear: Linear, affine: Affine, rank: int) -> Layer | None:
    channel_axis = 1 if isinstance(linear, Dense) else rank
    n_out = len(linear.bias)
    scale = _per_channel(affine.scale, channel_axis, n_out)
    offset = _per_channel(affine.offset, channel_axis, n_out)
    if scale is None or offset is None:
        return None
    weights, bias = linear.weights, linear.bias
    if np.any(scale != 1):
        if isinstance(linear, Dense):
            weights = weights * scale
        elif isinstance(linear, Conv):
            weights = weights * scale.reshape(-1, *[1] * (weights.ndim - 1))
        else:  # (in, out / groups, *kernel): the scale of an output depends on the input's group
            n_in, per_group = weights.shape[:2]
            by_group = scale.reshape(linear.groups, 1, per_group)
            spread = np.broadcast_to(by_group, (linear.groups, n_in // linear.groups, per_group))
            weights = weights * spread.reshape(n_in, per_group, *[1] * (weights.ndim - 2))
        bias = bias * scale
    bias = np.array(offset) if not bias.any() else bias + offset
    return replace(linear, weights=weights, bias=bias)


def _into_layer_behind(affine: Affine, linear: Dense | Conv, rank: int) -> Layer | None:
    if isinstance(linear, Dense):
        n_in, axis = linear.weights.shape[0], 1
    else:
        n_in, axis = linear.weights.shape[1] * linear.groups, rank
        if np.any(affine.offset) and any(pad for pair in linear.pads for pad in pair):
            return None  # the zeros of the padding would have to be offset too
    scale, offset = _per_channel(affine.scale, axis, n_in), _per_channel(affine.offset, axis, n_in)
    if scale is None or offset is None:
        return None
    if isinstance(linear, Dense):
        return replace(linear, weights=linear.weights * scale[:, None], bias=linear.bias + offset @ linear.weights)
    out, per_group = linear.weights.shape[:2]
    # Output o reads the input channels of its group: (groups, out / groups, per_group, *kernel).
    grouped = linear.weights.reshape(linear.groups, out // linear.groups, per_group, -1)
    scaled = grouped * scale.reshape(linear.groups, 1, per_group, 1)
    shift = np.einsum("gopk,gp->go", grouped, offset.reshape(linear.groups, per_group)).reshape(out)
    return replace(linear, weights=scaled.reshape(linear.weights.shape), bias=linear.bias + shift)
