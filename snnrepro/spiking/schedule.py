"""When each value of a network with neurons is computed: once for an image, in every step, or after the last one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterable, Mapping, Sequence

from snnrepro.errors import UnsupportedError
from snnrepro.network.formula import is_algebraic
from snnrepro.network.graph import Network
from snnrepro.network.indexing import moves_entries
from snnrepro.network.layers import (
    Conv,
    ConvTranspose,
    Dense,
    Divide,
    Function,
    LeakyReLU,
    MaxPool,
    Multiply,
    Normalize,
    OnnxPart,
    Pad,
    Reduce,
    ReLU,
    Reshape,
    Sigmoid,
    Softmax,
    Weighing,
)

if TYPE_CHECKING:
    from snnrepro.network.graph import Node


_MOVING = (Pad, Reshape)
"""Layers that give the numbers that they read elsewhere."""
_OF_NEURONS = (ReLU, LeakyReLU, Dense, Conv, ConvTranspose)
"""Layers that belong before the readout, where they are neurons or read their spikes."""
_OF_ONE = (Sigmoid, Function)
"""Functions of one number."""
_OF_MEANS = (Multiply, Divide, Normalize, Weighing)
"""Layers that are computed in each step from the means of what they read so far, wherever they stand."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """The nodes of a network by when they are computed.

    Attributes
    ----------
    network : Network
        The network; each ReLU is a population of neurons.
    readout : str
        The value that is read from the spikes.
    nodes : tuple of Node
        What is computed before or in the steps, in order.
    driven : frozenset of str
        The values that spikes reach, those of the neurons among them: computed in every step. The others of `nodes`
        depend on the image alone: computed once.
    readers : mapping of str to tuple of Node
        By value, the `nodes` that read it, in order.
    tail : Network or None
        What is computed once, from the readout: a softmax, a sigmoid, a part of the model left as it is; None where
        nothing stands behind it.
    """

    network: Network
    readout: str
    nodes: tuple[Node, ...]
    driven: frozenset[str]
    readers: Mapping[str, tuple[Node, ...]]
    tail: Network | None


def schedule_of(network: Network) -> Schedule:
    """Return when the values of `network` are computed.

    Raises
    ------
    UnsupportedError
        A softmax or a function stands before neurons or weights, or the readout is not one value; all such nodes are
        named.
    """
    behind = behind_readout(network)
    readout = _readout(network, behind)
    nodes = tuple(node for node in network.nodes if node.name not in behind)
    tail = tuple(node for node in network.nodes if node.name in behind and readout != network.nodes[-1].name)
    return Schedule(
        network=network,
        readout=readout,
        nodes=nodes,
        driven=frozenset(_depending_on(_with_layers((ReLU,), nodes), nodes)),
        readers=readers_of(nodes),
        tail=Network(readout, network.shapes[readout], tail, {}) if tail else None,
    )


def behind_readout(network: Network) -> set[str]:
    """Return the names of what is computed from the readout: what depends on a softmax, a function, a part left as is.

    A part that no rectifier stands before is none: it is computed from the image. Where several values would be read
    out, what only moves their numbers is computed behind the readout, too.
    """
    nodes = network.nodes
    driven = _depending_on(_with_layers((ReLU, LeakyReLU), nodes), nodes)
    parts = [node for node in _with_layers((OnnxPart,), nodes) if node.name in driven]
    functions = [node for node in _with_layers((Function,), nodes) if not _inside(node, nodes)]
    behind = _depending_on([*filter(_is_squashing, nodes), *functions, *parts], nodes)
    while len(read_by(behind, nodes)) > 1:
        read, readers = read_by(behind, nodes), readers_of(nodes)
        moving = [node.name for node in _with_layers(_MOVING, nodes) if node.name in read]
        moved = {name for name in moving if behind.issuperset(reader.name for reader in readers[name])}
        if not moved:
            break
        behind |= moved
    return behind


def curved_inside(network: Network) -> list[Node]:
    """Return the functions of one number that stand before neurons or weights.

    Those at the output, behind the readout, stay as they are.
    """
    return [node for node in network.nodes if _is_curved(node) and _inside(node, network.nodes)]


def graded_inside(network: Network) -> list[Node]:
    """Return what is computed in each step from means (see `is_graded`), but for functions behind the readout."""
    nodes = network.nodes
    return [
        node
        for node in nodes
        if is_graded(node) and not (isinstance(node.layer, Function) and not _inside(node, nodes))
    ]


def weighing_inside(network: Network) -> list[Node]:
    """Return the softmaxes that products alone read, before neurons or weights: what weighs branches, or places.

    Those at the output, behind the readout, stay as they are.
    """
    readers = readers_of(network.nodes)

    def is_multiplied(name: str) -> bool:
        return all(
            isinstance(node.layer, Multiply) or (moves_entries(node.layer) and is_multiplied(node.name))
            for node in readers.get(name, ())
        )

    return [
        node
        for node in network.nodes
        if isinstance(node.layer, Softmax) and _inside(node, network.nodes) and is_multiplied(node.name)
    ]


def is_maximum(node: Node) -> bool:
    """Whether a node takes a maximum, which is no linear map of spikes."""
    return isinstance(node.layer, MaxPool) or (isinstance(node.layer, Reduce) and node.layer.kind == "max")


def is_graded(node: Node) -> bool:
    """Whether a node's mean over the steps is a function of the means of what it reads: it gives no spikes.

    A product, a quotient, a normalisation, a softmax that weighs, or a function of one number that is algebraic; other
    functions become rectifiers.
    """
    layer = node.layer
    return isinstance(layer, _OF_MEANS) or (isinstance(layer, Function) and is_algebraic(layer.formula))


def is_running(node: Node) -> bool:
    """Whether what a node gives in a step depends on the sums of what it reads: a maximum, or what `is_graded`."""
    return is_maximum(node) or is_graded(node)


def readers_of(nodes: Iterable[Node]) -> dict[str, tuple[Node, ...]]:
    """Return the nodes that read each value, in order, by its name."""
    readers: dict[str, tuple[Node, ...]] = {}
    for node in nodes:
        for name in dict.fromkeys(node.inputs):
            readers[name] = (*readers.get(name, ()), node)
    return readers


def _is_curved(node: Node) -> bool:
    """Whether it is a function of one number that rectifiers are fitted to."""
    return isinstance(node.layer, Sigmoid) or (isinstance(node.layer, Function) and not is_graded(node))


def _is_squashing(node: Node) -> bool:
    """Whether it cannot be computed in steps."""
    return (isinstance(node.layer, Softmax) and not isinstance(node.layer, Weighing)) or _is_curved(node)


def _with_layers(layers: tuple[Any, ...], nodes: Iterable[Node]) -> list[Node]:
    return [node for node in nodes if isinstance(node.layer, layers)]


def _depending_on(sources: Iterable[Node], nodes: Iterable[Node]) -> set[str]:
    """Return the names of some nodes, and of all that depends on one."""
    names = {node.name for node in sources}
    for node in nodes:
        if names.intersection(node.inputs):
            names.add(node.name)
    return names


def read_by(names: set[str], nodes: Iterable[Node]) -> list[str]:
    """Return the values that the nodes of these names read, besides each other's."""
    return sorted({name for node in nodes if node.name in names for name in node.inputs} - names)


def _readout(network: Network, behind: set[str]) -> str:
    """Return what the scores are computed from: the output, or the one value that the softmax or function reads."""
    output = network.nodes[-1].name
    if output not in behind:
        return output
    tail = [node for node in network.nodes if node.name in behind]
    ends = [node for node in tail if _is_squashing(node) or isinstance(node.layer, OnnxPart)]
    problems = [problem for node in ends for problem in _inside(node, tail)]
    read = read_by(behind, network.nodes)
    if len(read) > 1 and not problems:
        problems = [
            f"{type(node.layer).__name__} {node.name!r}: it reads {sorted(set(node.inputs) & set(read))}, and only one "
            f"value may be read out"
            for node in tail
            if set(node.inputs) & set(read)
        ]
    if problems:
        raise UnsupportedError(problems)
    return read[0]


def _inside(squashing: Node, tail: Sequence[Node]) -> list[str]:
    """Return why a softmax or function is no output, or nothing: the first layer that does not belong behind it.

    Rectifiers are fitted to a function that a product or a maximum reads; behind a softmax both are computed once.
    """
    reached = {squashing.name}
    for node in tail:
        if reached.isdisjoint(node.inputs):
            continue
        reached.add(node.name)
        in_steps = isinstance(node.layer, _OF_MEANS) or is_maximum(node)
        if isinstance(node.layer, _OF_NEURONS) or (in_steps and isinstance(squashing.layer, _OF_ONE)):
            kind = type(squashing.layer).__name__
            return [
                f"{kind} {squashing.name!r}: {type(node.layer).__name__} {node.name!r} stands behind it, and a spiking "
                f"network has a {kind.lower()} only at its output; train with ReLU, LeakyReLU or ReLU6 in its place"
            ]
    return []
