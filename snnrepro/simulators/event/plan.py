"""What is computed how: once for an image, in every step, or at the kept steps only; on spikes or on numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Iterable, Mapping

import numpy as np

from snnrepro.network.convolve import convolve
from snnrepro.network.layers import Affine, Conv, ConvTranspose, Dense, Pad, Reduce, ReLU
from snnrepro.simulators.event.actions import (
    Compute,
    Filtered,
    FireOnEvents,
    FireOnNumbers,
    FirePlainly,
    Maximum,
    Sums,
)
from snnrepro.simulators.event.fans import Fan
from snnrepro.simulators.event.geometry import pool_windows
from snnrepro.simulators.event.layout import Layout, layout_of
from snnrepro.simulators.event.linear import Linear, channel_axis, is_linear, linear, linear_of_all, linear_of_sums
from snnrepro.simulators.event.neurons import Neurons, can_be_fused, is_compiled, neurons_of
from snnrepro.simulators.event.views import view
from snnrepro.spiking.schedule import is_maximum
from snnrepro.spiking.synops import fan_outs

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray, IntArray
    from snnrepro.network.graph import Node
    from snnrepro.network.layers import Layer
    from snnrepro.simulators.event.actions import Action
    from snnrepro.spiking.network import SpikingNetwork

_SHARE_OF_SPIKES = 0.2
"""Memory of a neuron's step, in numbers: its bit, and an event where it fires."""


@dataclass(frozen=True, eq=False)
class Plan:
    """The work on a spiking network.

    Attributes
    ----------
    actions : dict of str to Action
        How every value that is needed is computed, in order.
    static : frozenset of str
        The values that depend on the image alone.
    lasting : frozenset of str
        Those of them that are read in every step.
    region : tuple of Node
        The linear nodes from the last spikes to the readout, without their constants: computed once for each kept
        step, from weighted sums.
    frontier : tuple of str
        What the region reads: populations, maxima and static values.
    direct : dict of str to (Linear, str)
        Dense layers of the region, by name, that can be computed from the sums of a population's spikes.
    constant : numpy.ndarray
        What the constants of the region give, ``(1, *shape of the readout)``.
    fans : dict of str to Fan
        How many weights the numbers of a value meet, for each that linear layers read.
    numbers : (int, int)
        How many numbers an image has once, and how many more in each step, roughly.
    """

    actions: Mapping[str, Action]
    static: frozenset[str]
    lasting: frozenset[str]
    region: tuple[Node, ...]
    frontier: tuple[str, ...]
    direct: Mapping[str, tuple[Linear, str]]
    constant: FloatArray
    fans: Mapping[str, Fan]
    numbers: tuple[int, int]


def make_plan(spiking: SpikingNetwork) -> Plan:
    """Choose how to compute every value of `spiking`."""
    network = spiking.network
    nodes, changing = _nodes_and_changing(spiking)
    region = _linear_before(spiking.readout, nodes, changing)
    inside = {node.name for node in region}
    frontier = {name for node in region for name in node.inputs if name not in inside} or {spiking.readout}
    zeros = {name: np.zeros((1, *network.shapes[name]), np.float32) for name in frontier}
    builder = _Builder(spiking, nodes)
    fans = builder.fans()
    actions = builder.actions({*frontier, *spiking.populations, *fans})
    direct = builder.direct(region)
    static = frozenset({network.input_name, *(node.name for node in nodes)} - changing)
    kept = needed_of(spiking.readout, [node for node in region if node.name not in direct])
    return Plan(
        actions=actions,
        static=static,
        lasting=static & frontier.union(*(action.reads for name, action in actions.items() if name in changing)),
        region=tuple(
            replace(node, layer=without_constant(node.layer)) for node in region if node.name in kept - set(direct)
        ),
        frontier=tuple(sorted(frontier & kept)),
        direct={name: found for name, found in direct.items() if name in kept},
        constant=evaluate_nodes(region, zeros)[spiking.readout],
        fans={name: Fan(met) for name, met in fans.items()},
        numbers=(
            sum(math.prod(network.shapes[name]) for name in actions if name not in changing),
            math.ceil(
                sum(_share(actions[name]) * math.prod(network.shapes[name]) for name in actions if name in changing)
            ),
        ),
    )


def readout_nodes(spiking: SpikingNetwork) -> list[Node]:
    """Return the linear nodes between the readout and the last spikes, maxima or static values, in order."""
    return _linear_before(spiking.readout, *_nodes_and_changing(spiking))


def _nodes_and_changing(spiking: SpikingNetwork) -> tuple[list[Node], set[str]]:
    """Return the nodes up to the readout, and the names of those that spikes reach."""
    behind = set() if spiking.tail is None else {node.name for node in spiking.tail.nodes}
    nodes = [node for node in spiking.network.nodes if node.name not in behind]
    changing: set[str] = set()
    for node in nodes:
        if isinstance(node.layer, ReLU) or changing.intersection(node.inputs):
            changing.add(node.name)
    return nodes, changing


def needed_of(name: str, nodes: list[Node]) -> set[str]:
    """Return the name and those of all that `nodes` read to compute it."""
    needed = {name}
    for node in reversed(nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return needed


def _share(action: Action) -> float:
    return _SHARE_OF_SPIKES if isinstance(action, (FireOnEvents, FireOnNumbers)) else 1.0


def evaluate_nodes(nodes: Iterable[Node], values: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Return `values` and those of `nodes`, computed from them in order."""
    every = dict(values)
    for node in nodes:
        every[node.name] = convolve(node.layer, *(every[name] for name in node.inputs))
    return every


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
    wanted = {readout}
    for node in reversed(nodes):
        if node.name in wanted & changing and not isinstance(node.layer, ReLU) and not is_maximum(node):
            found.append(node)
            wanted.update(node.inputs)
    return found[::-1]


class _Builder:
    """Chooses the action of each value; populations are settled in order, for their readers need their layouts."""

    def __init__(self, spiking: SpikingNetwork, nodes: list[Node]) -> None:
        self._spiking, self._nodes = spiking, nodes
        self._shapes = spiking.network.shapes
        self._by_name = {node.name: node for node in nodes}
        compiled = spiking.populations if spiking.synapse is None else {}
        self._compiled = {name for name, population in compiled.items() if is_compiled(population)}
        self._readers: dict[str, list[Node]] = {}
        for node in nodes:
            for name in node.inputs:
                self._readers.setdefault(name, []).append(node)
        self._neurons: dict[str, Neurons] = {}
        self._linears: dict[str, tuple[Linear, str]] = {}

    def fans(self) -> dict[str, IntArray]:
        """Return how many weights each number meets, counted at the spikes where what is read are spikes."""
        fans: dict[str, IntArray] = {}
        for name, fan in fan_outs(self._spiking).items():
            seen = view(name, self._by_name, self._compiled, self._shapes)
            if seen is not None:
                name, places = seen
                met = np.zeros(self._shapes[name], np.int64)
                np.add.at(met.reshape(-1), places[places >= 0], fan[places >= 0])
                fan = met
            fans[name] = fans[name] + fan if name in fans else fan
        return fans

    def actions(self, wanted: set[str]) -> dict[str, Action]:
        """Return the actions of what is wanted and of what they read."""
        every = {node.name: self._action(node) for node in self._nodes}
        needed = set(wanted)
        for name, action in reversed(list(every.items())):
            if name in needed:
                needed.update(action.reads)
        return {name: action for name, action in every.items() if name in needed}

    def direct(self, region: list[Node]) -> dict[str, tuple[Linear, str]]:
        """Return the dense layers of the region that read a population, each as a layer on sums of its spikes."""
        found = {}
        for node in region:
            if isinstance(node.layer, Dense) and len(self._shapes[node.inputs[0]]) == 1:
                layer, source = self._linear(node)
                if layer.reads_spikes:
                    found[node.name] = linear_of_sums(layer), source
        return found

    def _action(self, node: Node) -> Action:
        if isinstance(node.layer, ReLU):
            return self._fire(node)
        if is_maximum(node):
            moving = any(isinstance(before.layer, ReLU) for before in self._before(node))
            return self._maximum(node) if moving else Compute(node)
        return Sums(*self._linear(node)) if is_linear(node) else Compute(node)

    def _maximum(self, node: Node) -> Maximum:
        layer: Any = node.layer
        after = self._shapes[node.name]
        shapes = [self._shapes[node.inputs[0]], after]
        if isinstance(layer, Reduce):  # its axes may be those of channels
            shapes = [(1, *shape) for shape in shapes]
        source, target = (Layout(shape, 0, padded=False) for shape in shapes)
        return Maximum(node, self._spiking.growth, after, source, target, pool_windows(layer, source, target))

    def _before(self, node: Node) -> list[Node]:
        """Return all nodes that a node depends on."""
        found: list[Node] = []
        wanted = set(node.inputs)
        for before in reversed(self._nodes):
            if before.name in wanted:
                found.append(before)
                wanted.update(before.inputs)
        return found

    def _fire(self, node: Node) -> Action:
        synapse, dt = self._spiking.synapse, self._spiking.dt
        if synapse is not None:
            return Filtered(node.name, self._fire_on_numbers(node), math.exp(-dt / synapse))
        before = self._by_name.get(node.inputs[0])
        moving = before is not None and any(isinstance(one.layer, ReLU) for one in self._before(before))
        population = self._spiking.populations[node.name]
        if before is not None and is_linear(before) and moving and can_be_fused(population):
            layer, read = self._linear(before)
            if layer.target.shape == self._shapes[node.name]:
                self._neurons[node.name] = neurons = neurons_of(population, dt, layer.target, layer.bias)
                return FireOnEvents(layer, read, neurons)
        return self._fire_on_numbers(node)

    def _fire_on_numbers(self, node: Node) -> FireOnNumbers | FirePlainly:
        """Return the action of neurons on currents that other actions compute."""
        source, dt = node.inputs[0], self._spiking.dt
        population = self._spiking.populations[node.name]
        if not is_compiled(population):
            return FirePlainly(population, dt, node.name, source)
        layout = layout_of(self._shapes[node.name], self._axis(node, self._by_name.get(source)))
        self._neurons[node.name] = neurons = neurons_of(population, dt, layout, np.zeros((), np.float32))
        return FireOnNumbers(source, neurons)

    def _axis(self, node: Node, before: Node | None) -> int:
        """Return which axis counts the channels of a population: as what it reads has it, or what reads it."""
        for one in [before, *self._readers.get(node.name, [])]:
            if one is not None and is_linear(one):
                return channel_axis(one)
        return 0

    def _linear(self, node: Node) -> tuple[Linear, str]:
        """Return a linear layer on events and the name of the value whose events it reads; built once."""
        if node.name not in self._linears:
            self._linears[node.name] = self._new_linear(node)
        return self._linears[node.name]

    def _new_linear(self, node: Node) -> tuple[Linear, str]:
        source = node.inputs[0]
        shape, after = self._shapes[source], self._shapes[node.name]
        seen = view(source, self._by_name, self._compiled, self._shapes)
        if seen is not None:
            name, places = seen
            neurons = self._neurons[name]
            if isinstance(node.layer, Dense) and len(shape) == 1:
                return linear_of_all(node, after, neurons, places), name
            same_order: Any = np.array_equal(places.reshape(-1), np.arange(places.size))
            if same_order and neurons.layout == layout_of(shape, channel_axis(node)) and neurons.is_uniform:
                return linear(node, shape, after, neurons), name
        return linear(node, shape, after), source
