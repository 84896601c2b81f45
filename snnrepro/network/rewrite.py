"""The same function in fewer layers: scales and offsets folded, what exporters spell out in several nodes put together.

Everything here is exact in real numbers; what would not be is left as it is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Callable, Optional, Sequence, Tuple, Union

import numpy as np

from snnrepro.arrays import constant
from snnrepro.errors import ModelError
from snnrepro.network.graph import Node
from snnrepro.network.layers import Add, Affine, Conv, ConvTranspose, Dense, LeakyReLU, ReLU, Transpose

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray
    from snnrepro.network.layers import Layer
    from snnrepro.network.padding import Shape

    Shapes = dict[str, Shape]
    Linear = Union[Dense, Conv, ConvTranspose]
    Before = Callable[[str], Optional[Node]]
    Rewritten = Optional[Tuple[Node, Sequence[Node]]]


def rewrite(nodes: Sequence[Node], match: Callable[[Node, Before], Rewritten]) -> list[Node]:
    """Replace nodes by fewer that compute the same.

    Parameters
    ----------
    nodes : sequence of Node
        In topological order; the last one is the output.
    match : callable
        Gets a node and a function that returns the node of a given name, as it is by now, or None where that is read
        more than once. It returns None, or a node of the same name and all nodes that this one replaces; it stands
        where the last one of that list stood.

    Raises
    ------
    ModelError
        A number of the new layer exceeds float32.
    """
    readers = Counter(name for node in nodes for name in node.inputs)
    kept: list[Node | None] = []
    index_of: dict[str, int] = {}

    def before(name: str) -> Node | None:
        return kept[index_of[name]] if name in index_of and readers[name] == 1 else None

    for node in nodes:
        index_of[node.name] = len(kept)
        kept.append(node)
        try:
            with np.errstate(all="ignore"):  # a layer refuses what is not finite
                rewritten = match(node, before)
        except ModelError as error:
            raise ModelError(f"node {node.name!r}: with its factors, its numbers exceed float32 ({error})") from error
        if rewritten:
            new, replaced = rewritten
            index = index_of[replaced[-1].name]
            for part in replaced:
                kept[index_of.pop(part.name)] = None
            kept[index], index_of[new.name] = new, index
    return [node for node in kept if node is not None]


def fold_affines(nodes: Sequence[Node], shapes: Shapes) -> list[Node]:
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

    def match(node: Node, before: Before) -> Rewritten:
        first = before(node.inputs[0]) if len(node.inputs) == 1 else None
        layer = _folded(first, node, shapes) if first else None
        return (Node(node.name, first.inputs, layer), [node, first]) if first and layer else None

    return rewrite(nodes, match)


def fuse_transposed_affines(nodes: Sequence[Node], shapes: Shapes) -> list[Node]:
    """Put a transposition, an Affine and the transposition back together as one Affine.

    tf2onnx writes them where a constant of Keras has its channels last. Arguments and result as `fold_affines`.
    """
    return rewrite(nodes, lambda node, before: _transposed_affine(node, before, shapes))


def fuse_activations(nodes: Sequence[Node], shapes: Shapes) -> list[Node]:
    """Put a ReLU of a ReLU together as one, and the sum of ReLU(x) and a multiple of ReLU(-x) as one LeakyReLU.

    The first is Keras's ``ReLU(max_value)``, the second its ``PReLU``, as tf2onnx writes them. Arguments and result as
    `fold_affines`; Affines are folded already.
    """
    return rewrite(nodes, lambda node, before: _relu_of_relu(node, before) or _leaky_relu(node, before, shapes))


def _folded(first: Node, node: Node, shapes: Shapes) -> Layer | None:
    """Return the layer that does what two do one behind the other, at least one of them an Affine; or None."""
    before, behind, rank = first.layer, node.layer, len(shapes[first.name])
    # An Affine may broadcast its value to a larger one, which no linear layer can.
    if isinstance(behind, Affine) and shapes[first.name] == shapes[node.name]:
        if isinstance(before, (Dense, Conv, ConvTranspose)):
            return _into_layer_before(before, behind, rank)
        if isinstance(before, Affine):
            return Affine(before.scale * behind.scale, before.offset * behind.scale + behind.offset)
    if isinstance(before, Affine) and isinstance(behind, (Dense, Conv)):
        return _into_layer_behind(before, behind, rank) if shapes[first.inputs[0]] == shapes[first.name] else None
    return None


def _per_channel(values: FloatArray, axis_from_end: int, n: int) -> FloatArray | None:
    """Return a constant as one number for each of the `n` channels, or None if it differs within a channel."""
    if values.size == 1:
        return np.broadcast_to(values.reshape(()), (n,))
    if values.ndim >= axis_from_end and values.shape[-axis_from_end] == n and values.size == n:
        return values.reshape(n)
    return None


def _into_layer_before(linear: Linear, affine: Affine, rank: int) -> Layer | None:
    """Return the linear layer with the affine behind it folded in, or None where that is not per channel."""
    channel_axis = 1 if isinstance(linear, Dense) else rank
    n_out = len(linear.bias)
    scale = _per_channel(affine.scale, channel_axis, n_out)
    offset = _per_channel(affine.offset, channel_axis, n_out)
    if scale is None or offset is None:
        return None
    weights, bias = linear.weights, linear.bias
    if np.any(scale != 1):
        if isinstance(linear, Dense):
            weights = constant(weights * scale)
        elif isinstance(linear, Conv):
            weights = constant(weights * scale.reshape(-1, *[1] * (weights.ndim - 1)))
        else:  # (in, out / groups, *kernel): the scale of an output depends on the input's group
            n_in, per_group = weights.shape[:2]
            by_group = scale.reshape(linear.groups, 1, per_group)
            spread = np.broadcast_to(by_group, (linear.groups, n_in // linear.groups, per_group))
            weights = constant(weights * spread.reshape(n_in, per_group, *[1] * (weights.ndim - 2)))
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


def _transposed_affine(node: Node, before: Before, shapes: Shapes) -> Rewritten:
    affine = before(node.inputs[0])
    first = before(affine.inputs[0]) if affine else None
    if not (affine and first and isinstance(node.layer, Transpose)):
        return None
    if not (isinstance(affine.layer, Affine) and isinstance(first.layer, Transpose)):
        return None
    back = node.layer.axes
    if [first.layer.axes[axis] for axis in back] != list(range(len(back))):
        return None
    if shapes[affine.name] != shapes[first.name]:  # it broadcasts its value to a larger one
        return None
    scale, offset = (_transposed(values, back) for values in (affine.layer.scale, affine.layer.offset))
    return Node(node.name, first.inputs, Affine(scale, offset)), [first, affine, node]


def _transposed(values: FloatArray, axes: Sequence[int]) -> FloatArray:
    """Return a constant that is broadcast against a value, for that value with its axes in another order."""
    if values.size == 1:
        return values
    return values.reshape([1] * (len(axes) - values.ndim) + list(values.shape)).transpose(axes)


def _relu_of_relu(node: Node, before: Before) -> Rewritten:
    first = before(node.inputs[0])
    if not (first and isinstance(node.layer, ReLU) and isinstance(first.layer, ReLU)):
        return None
    bounds = [bound for bound in (first.layer.maximum, node.layer.maximum) if bound is not None]
    return Node(node.name, first.inputs, ReLU(min(bounds, default=None))), [first, node]


def _leaky_relu(node: Node, before: Before, shapes: Shapes) -> Rewritten:
    if not isinstance(node.layer, Add) or len(node.inputs) != 2:
        return None
    return _leaky_sum(node, *node.inputs, before, shapes) or _leaky_sum(node, *node.inputs[::-1], before, shapes)


def _leaky_sum(node: Node, upper: str, lower: str, before: Before, shapes: Shapes) -> Rewritten:
    """Return LeakyReLU(x) if `upper` is ReLU(x) and `lower` a multiple of ReLU(-x)."""
    positive, scaled = before(upper), before(lower)
    negative = before(scaled.inputs[0]) if scaled else None
    negated = before(negative.inputs[0]) if negative else None
    if not (positive and scaled and negative and negated) or positive.inputs != negated.inputs:
        return None
    if not all(isinstance(one.layer, ReLU) and one.layer.maximum is None for one in (positive, negative)):
        return None
    if not (isinstance(scaled.layer, Affine) and isinstance(negated.layer, Affine)):
        return None
    if np.any(scaled.layer.offset) or np.any(negated.layer.offset) or np.any(negated.layer.scale != -1):
        return None
    parts = [positive, negated, negative, scaled]
    if len({shapes[part.name] for part in parts}) > 1:  # a constant broadcasts its value to a larger one
        return None
    return Node(node.name, positive.inputs, LeakyReLU(-scaled.layer.scale)), [*parts, node]
