"""What of a spiking network has to be known in every step, what once for an image, and what at the kept steps only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Iterable

import numpy as np

from snnrepro.network.forward import compute
from snnrepro.network.layers import Affine, Conv, ConvTranspose, Dense, Pad, ReLU
from snnrepro.simulators.plain import fan_outs
from snnrepro.spiking.prepare import is_maximum

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray, IntArray
    from snnrepro.network.graph import Node
    from snnrepro.network.layers import Layer
    from snnrepro.spiking.spiking_network import SpikingNetwork


@dataclass(frozen=True, eq=False)
class Plan:
    """The work on a spiking network, sorted by how often it has to be done.

    Attributes
    ----------
    static : tuple of Node
        Depend on the image alone: computed once for each.
    moving : tuple of Node
        Computed in every step: what populations and maxima read, and what linear layers read, whose operations count.
    region : tuple of Node
        The linear nodes from the last spikes to the readout: computed once for each kept step, from weighted sums.
    frontier : tuple of str
        What the region reads: populations, maxima and static values.
    constant : numpy.ndarray
        What the region gives where all it reads is 0: its biases; ``(1, *shape of the readout)``.
    fans : dict of str to numpy.ndarray
        For every value that linear layers read, the weights each of its numbers meets, int64, of its shape.
    """

    static: tuple[Node, ...]
    moving: tuple[Node, ...]
    region: tuple[Node, ...]
    frontier: tuple[str, ...]
    constant: FloatArray
    fans: dict[str, IntArray]

    @property
    def moving_names(self) -> frozenset[str]:
        """The names of `moving`."""
        return frozenset(node.name for node in self.moving)


def make_plan(spiking: SpikingNetwork) -> Plan:
    """Sort the nodes of `spiking` by how often they have to be computed."""
    network = spiking.network
    behind = set() if spiking.tail is None else {node.name for node in spiking.tail.nodes}
    nodes = [node for node in network.nodes if node.name not in behind]
    changing: set[str] = set()
    for node in nodes:
        if isinstance(node.layer, ReLU) or changing.intersection(node.inputs):
            changing.add(node.name)
    region = _linear_before(spiking.readout, nodes, changing)
    inside = {node.name for node in region}
    frontier = {name for node in region for name in node.inputs if name not in inside} or {spiking.readout}
    fans = fan_outs(spiking)
    needed = _closure({*frontier, *spiking.populations, *fans}, nodes)
    zeros = {name: np.zeros((1, *network.shapes[name]), np.float32) for name in frontier}
    return Plan(
        static=tuple(node for node in nodes if node.name not in changing),
        moving=tuple(node for node in nodes if node.name in changing & needed),
        region=tuple(replace(node, layer=without_constant(node.layer)) for node in region),
        frontier=tuple(sorted(frontier)),
        constant=evaluate_nodes(region, zeros)[spiking.readout],
        fans=fans,
    )


def evaluate_nodes(nodes: Iterable[Node], values: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """Return `values` and those of `nodes`, computed from them in order."""
    values = dict(values)
    for node in nodes:
        values[node.name] = compute(node.layer, *(values[name] for name in node.inputs))
    return values


def without_constant(layer: Layer) -> Layer:
    """Return the linear part of a layer: without its bias."""
    if isinstance(layer, (Dense, Conv, ConvTranspose)):
        return replace(layer, bias=np.zeros_like(layer.bias))
    if isinstance(layer, Affine):
        return replace(layer, offset=np.zeros_like(layer.offset))
    return replace(layer, value=0.0) if isinstance(layer, Pad) else layer


def _linear_before(readout: str, nodes: list[Node], changing: set[str]) -> list[Node]:
    """Return the nodes between the readout and the last spikes, maxima or static values, in order."""
    found: list[Node] = []
    wanted: set[Any] = {readout}
    for node in reversed(nodes):
        if node.name in wanted & changing and not isinstance(node.layer, ReLU) and not is_maximum(node):
            found.append(node)
            wanted.update(node.inputs)
    return found[::-1]


def _closure(names: set[str], nodes: list[Node]) -> set[str]:
    """Return `names` and all they depend on."""
    needed = set(names)
    for node in reversed(nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return needed
