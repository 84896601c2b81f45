"""What exporters spell out in several nodes, put back together: exactly the same function in fewer layers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Callable, Optional, Sequence, Tuple

import numpy as np

from snnrepro.network.graph import Node
from snnrepro.network.layers import Add, Affine, LeakyReLU, ReLU, Transpose

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray
    from snnrepro.network.geometry import Shape

    Before = Callable[[str], Optional[Node]]
    Fused = Optional[Tuple[Node, Sequence[Node]]]


def fuse_transposed_affines(nodes: Sequence[Node], shapes: dict[str, Shape]) -> list[Node]:
    """Put a transposition, an Affine and the transposition back together as one Affine.

    tf2onnx writes them where a constant of Keras has its channels last.

    Parameters
    ----------
    nodes : sequence of Node
        In topological order.
    shapes : dict
        Of every value by name, without the batch axis.

    Returns
    -------
    list of Node
        The same network; a fused node has the name of the last of the three.
    """
    return _fuse(nodes, lambda node, before: _transposed_affine(node, before, shapes))


def fuse_activations(nodes: Sequence[Node], shapes: dict[str, Shape]) -> list[Node]:
    """Put a ReLU of a ReLU together as one, and the sum of ReLU(x) and a multiple of ReLU(-x) as one LeakyReLU.

    The first is Keras's ``ReLU(max_value)``, the second its ``PReLU``, as tf2onnx writes them.

    Parameters
    ----------
    nodes : sequence of Node
        In topological order, Affines folded.
    shapes : dict
        Of every value by name, without the batch axis.

    Returns
    -------
    list of Node
        The same network; a fused node has the name of the last of its parts.
    """
    return _fuse(nodes, lambda node, before: _relu_of_relu(node, before) or _leaky_relu(node, before, shapes))


def _fuse(nodes: Sequence[Node], match: Callable[[Node, Before], Fused]) -> list[Node]:
    """Return the nodes, each that `match` knows replaced by the node it gives; the parts it names go."""
    readers = Counter(name for node in nodes for name in node.inputs)
    kept: dict[str, Node] = {}

    def before(name: str) -> Node | None:
        return kept.get(name) if readers[name] == 1 else None

    for node in nodes:
        fused = match(node, before)
        for part in fused[1] if fused else ():
            del kept[part.name]
        kept[node.name] = fused[0] if fused else node
    return list(kept.values())


def _transposed_affine(node: Node, before: Before, shapes: dict[str, Shape]) -> Fused:
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
    return Node(node.name, first.inputs, Affine(scale, offset)), [first, affine]


def _transposed(values: FloatArray, axes: Sequence[int]) -> FloatArray:
    """Return a constant that is broadcast against a value, for that value with its axes in another order."""
    if values.size == 1:
        return values
    return values.reshape([1] * (len(axes) - values.ndim) + list(values.shape)).transpose(axes)


def _relu_of_relu(node: Node, before: Before) -> Fused:
    first = before(node.inputs[0])
    if not (first and isinstance(node.layer, ReLU) and isinstance(first.layer, ReLU)):
        return None
    bounds = [bound for bound in (first.layer.maximum, node.layer.maximum) if bound is not None]
    return Node(node.name, first.inputs, ReLU(min(bounds, default=None))), [first]


def _leaky_relu(node: Node, before: Before, shapes: dict[str, Shape]) -> Fused:
    if not isinstance(node.layer, Add) or len(node.inputs) != 2:
        return None
    return _leaky_sum(node, *node.inputs, before, shapes) or _leaky_sum(node, *node.inputs[::-1], before, shapes)


def _leaky_sum(node: Node, upper: str, lower: str, before: Before, shapes: dict[str, Shape]) -> Fused:
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
    return Node(node.name, positive.inputs, LeakyReLU(-scaled.layer.scale)), parts
