"""A trained network rewritten: every nonlinearity before the readout is a rectifier or a maximum; values stay."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Mapping, Sequence

import numpy as np

from snnrepro.network.graph import Network, Node
from snnrepro.network.joined import joined
from snnrepro.network.layers import Add, Affine, LeakyReLU, Pad, ReLU, Reshape, Softmax, Weighing
from snnrepro.spiking.functions import UNKNOWN, with_rectifiers
from snnrepro.spiking.piecewise import Fit
from snnrepro.spiking.schedule import (
    Schedule,
    behind_readout,
    curved_inside,
    is_maximum,
    read_by,
    readers_of,
    schedule_of,
    weighing_inside,
)


def prepare(network: Network, fitted: Mapping[str, Fit] | None = None) -> Schedule:
    """Rewrite `network` for neurons: the same values under the same names, exactly in real numbers but for functions.

    A function that neurons or weights stand behind becomes the rectifiers that are fitted to it (see
    `snnrepro.spiking.functions.fits`; without fits one stands for them, which shows no more than their place). A leaky
    rectifier becomes two rectifiers, ``relu(x) - slope * relu(-x)``. A maximum right before a rectifier goes behind it,
    where it sees spikes. Several values that are read out become one, side by side.

    Raises
    ------
    UnsupportedError
        A softmax stands before neurons and no product reads it; all such nodes are named.
    """
    if fitted is None:
        fitted = {node.name: UNKNOWN for node in curved_inside(network)}
    network = _with_weighing(with_rectifiers(network, fitted))
    nodes = _maxima_behind_rectifiers([new for node in network.nodes for new in _split_leaky(node)])
    return schedule_of(_with_one_readout(Network(network.input_name, network.input_shape, nodes, network.sources)))


def _with_weighing(network: Network) -> Network:
    """Mark the softmaxes that are computed in each step."""
    weighing = {
        node.name: replace(node, layer=Weighing(node.layer.axes, node.layer.log))
        for node in weighing_inside(network)
        if isinstance(node.layer, Softmax)
    }
    nodes = tuple(weighing.get(node.name, node) for node in network.nodes)
    return Network(network.input_name, network.input_shape, nodes, network.sources) if weighing else network


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


def _maxima_behind_rectifiers(nodes: Sequence[Node]) -> tuple[Node, ...]:
    readers = readers_of(nodes)
    swapped: dict[str, Node] = {}
    for node in nodes:
        behind = readers.get(node.name, ())
        if is_maximum(node) and len(behind) == 1 and isinstance(behind[0].layer, ReLU):
            rectifier = behind[0]
            swapped[node.name] = Node(f"{rectifier.name}/neurons", node.inputs, rectifier.layer)
            swapped[rectifier.name] = Node(rectifier.name, (f"{rectifier.name}/neurons",), node.layer)
    return tuple(swapped.get(node.name, node) for node in nodes)


def _with_one_readout(network: Network) -> Network:
    """Put the values that are read out side by side, where there are several; behind them they are taken apart."""
    behind = behind_readout(network)
    of_behind = read_by(behind, network.nodes)
    read = [name for name in network.shapes if name in of_behind]
    if len(read) < 2:
        return network
    sizes = [math.prod(network.shapes[name]) for name in read]
    together = joined(
        {f"{name}/readout": network.shapes[name] for name in read}, {f"{name}/readout": name for name in read}
    )
    nodes = [*(node for node in network.nodes if node.name not in behind), *together]
    start = 0
    for name, size in zip(read, sizes):
        nodes.append(Node(f"{name}/cut", (together[-1].name,), Pad(((-start, start + size - sum(sizes)),))))
        nodes.append(Node(f"{name}/read", (f"{name}/cut",), Reshape(network.shapes[name])))
        start += size
    for node in network.nodes:
        if node.name in behind:
            inputs = tuple(f"{name}/read" if name in read else name for name in node.inputs)
            nodes.append(Node(node.name, inputs, node.layer))
    return Network(network.input_name, network.input_shape, tuple(nodes), network.sources)
