"""A trained network rewritten: every nonlinearity before the readout is a rectifier or a maximum; values stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnrepro.errors import UnsupportedError
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Add, Affine, LeakyReLU, MaxPool, Reduce, ReLU, Sigmoid, Softmax

_TAIL = (Sigmoid, Softmax)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A network ready for neurons.

    Attributes
    ----------
    network : Network
        The same values under the same names; each ReLU will be a population of neurons.
    readout : str
        The value that is read from the spikes; what comes behind it (a softmax, a sigmoid) is computed once, from the
        readout.
    """

    network: Network
    readout: str


def prepare(network: Network) -> Prepared:
    """Rewrite `network` for neurons, exactly in real numbers.

    A leaky rectifier becomes two rectifiers, ``relu(x) - slope * relu(-x)``. A maximum right before a rectifier goes
    behind it, where it sees spikes.

    Raises
    ------
    UnsupportedError
        A sigmoid or a softmax stands before neurons, or the readout is not one value; all such nodes are named.
    """
    nodes = _maxima_behind_rectifiers([new for node in network.nodes for new in _split_leaky(node)])
    rewritten = Network(network.input_name, network.input_shape, tuple(nodes), network.sources)
    return Prepared(rewritten, _readout(rewritten))


def tail(prepared: Prepared) -> Network | None:
    """Return what stands behind the readout as a network of its own, or None."""
    nodes, readout = tail_nodes(prepared), prepared.readout
    return Network(readout, prepared.network.shapes[readout], nodes, {}) if nodes else None


def tail_nodes(prepared: Prepared) -> tuple[Node, ...]:
    """Return the nodes that stand behind the readout."""
    behind = _behind_tail(prepared.network)
    return tuple(node for node in prepared.network.nodes if node.name in behind)


def is_maximum(node: Node) -> bool:
    """Whether a node takes a maximum, which is no linear map of spikes."""
    return isinstance(node.layer, MaxPool) or (isinstance(node.layer, Reduce) and node.layer.kind == "max")


def _split_leaky(node: Node) -> list[Node]:
    if not isinstance(node.layer, LeakyReLU):
        return [node]
    name, zero = node.name, np.zeros((), np.float32)
    positive, negated, negative, scaled = (f"{name}/{part}" for part in ("positive", "negated", "negative", "scaled"))
    return [
        Node(positive, node.inputs, ReLU()),
        Node(negated, node.inputs, Affine(np.full((), -1, np.float32), zero)),
        Node(negative, (negated,), ReLU()),
        Node(scaled, (negative,), Affine(-node.layer.slope, zero)),
        Node(name, (positive, scaled), Add()),
    ]


def _maxima_behind_rectifiers(nodes: list[Node]) -> list[Node]:
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    swapped: dict[str, Node] = {}
    for node in nodes:
        behind = readers.get(node.name, [])
        if is_maximum(node) and len(behind) == 1 and isinstance(behind[0].layer, ReLU):
            rectifier = behind[0]
            swapped[node.name] = Node(f"{rectifier.name}/neurons", node.inputs, rectifier.layer)
            swapped[rectifier.name] = Node(rectifier.name, (f"{rectifier.name}/neurons",), node.layer)
    return [swapped.get(node.name, node) for node in nodes]


def _behind_tail(network: Network) -> set[str]:
    """Return the names of every sigmoid and softmax, and of what depends on one."""
    found: set[str] = set()
    for node in network.nodes:
        if isinstance(node.layer, _TAIL) or found.intersection(node.inputs):
            found.add(node.name)
    return found


def _readout(network: Network) -> str:
    behind = _behind_tail(network)
    output = network.nodes[-1].name
    if output not in behind:
        return output
    problems = [
        f"{type(node.layer).__name__} {node.name!r}: it stands behind a sigmoid or softmax, which a spiking network "
        "has only after its readout"
        for node in network.nodes
        if node.name in behind and (isinstance(node.layer, ReLU) or is_maximum(node))
    ]
    read = sorted({name for node in network.nodes if node.name in behind for name in node.inputs if name not in behind})
    if len(read) > 1 and not problems:
        problems = [
            f"{type(node.layer).__name__} {node.name!r}: it reads {sorted(set(node.inputs) & set(read))}, and only one "
            f"value may be read out"
            for node in network.nodes
            if node.name in behind and set(node.inputs) & set(read)
        ]
    if problems:
        raise UnsupportedError(problems)
    return read[0]
