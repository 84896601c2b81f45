"""What of a model may stay as it is: what cannot be read before the first neurons, or behind the last ones.

Such a part is computed by onnxruntime, once for an image: see `snnrepro.network.layers.OnnxPart`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Collection

from snnrepro.readers.walk import reads

if TYPE_CHECKING:
    import onnx

WEIGHTED = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))
"""Operators that weigh what they read."""
_ACTIVATIONS = frozenset(
    ("Celu", "Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Relu", "Selu", "Sigmoid")
) | frozenset(("Softplus", "Softsign", "Swish", "Tanh", "ThresholdedRelu"))
_NONE, _WEIGHTS, _NEURONS = range(3)
"""What stands before a value: neither, weights, or neurons, i.e. an activation behind weights."""


@dataclass(frozen=True)
class Left:
    """The nodes that are not read, by their places in the graph.

    Attributes
    ----------
    head : frozenset of int
        Those that depend on no neuron.
    tail : frozenset of int
        Those that no neuron depends on, and all that depends on them.
    """

    head: frozenset[int] = frozenset()
    tail: frozenset[int] = frozenset()


def left(graph: onnx.GraphProto, unread: Collection[int], is_constant: Callable[[str], bool]) -> Left | None:
    """Return how the nodes that cannot be read are left as they are, or None where one stands between neurons.

    Parameters
    ----------
    graph : onnx.GraphProto
        The graph.
    unread : collection of int
        The places of the nodes that cannot be read.
    is_constant : callable
        Whether the value of a name is a constant.
    """
    ahead: dict[str, int] = {}  # of values that depend on no node of the tail: what stands before them
    behind: dict[str, int] = {}  # of those that do: what stands between
    head, tail = set(), set()
    for place, node in enumerate(graph.node):
        names = reads(node)
        after = [behind[name] for name in names if name in behind]
        before = max((ahead.get(name, _NONE) for name in names), default=_NONE)
        if place in unread and (not any(node.output) or (all(map(is_constant, node.input)) and not after)):
            return None  # nothing, or a constant that layers need
        if after or (place in unread and before == _NEURONS):
            state = max(after, default=_WEIGHTS)
            if state == _NEURONS and node.op_type in WEIGHTED:
                return None
            tail.add(place)
            behind.update(dict.fromkeys(filter(None, node.output), _NEURONS if node.op_type in _ACTIVATIONS else state))
            continue
        if place in unread:
            head.add(place)
        elif node.op_type in WEIGHTED:
            before = max(before, _WEIGHTS)
        elif node.op_type in _ACTIVATIONS and before == _WEIGHTS:
            before = _NEURONS
        ahead.update(dict.fromkeys(node.output, before))
    return Left(frozenset(head), frozenset(tail))
