"""What is computed how: once for an image, in every step, or at the kept steps only; on spikes or on numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Mapping

import numpy as np

from snnrepro.network.indexing import moved, moves_entries, reduced, windows
from snnrepro.network.layers import Dense, MaxPool, Reduce, ReLU
from snnrepro.simulators.event.layout import Layout, layout_of
from snnrepro.simulators.event.population import PackedPopulation, can_be_fused, is_compiled, pack_population
from snnrepro.simulators.event.readout import Readout, evaluate_nodes, without_constant
from snnrepro.simulators.event.stages import (
    Compute,
    Filtered,
    Fire,
    FireOnEvents,
    FireOnNumbers,
    FirePlainly,
    Maximum,
    Stage,
    Sums,
)
from snnrepro.simulators.event.synops import Synops, is_uniform
from snnrepro.simulators.event.values import EventForm, Input
from snnrepro.simulators.event.weights import (
    bias_of,
    channel_axis,
    linear,
    linear_layer,
    linear_of_all,
    linear_of_sums,
)
from snnrepro.spiking.schedule import is_maximum
from snnrepro.spiking.synops import fan_outs

if TYPE_CHECKING:
    from snnrepro.arrays import IntArray
    from snnrepro.network.graph import Node
    from snnrepro.simulators.event.weights import Linear, LinearLayer
    from snnrepro.spiking.network import SpikingNetwork

_SHARE_OF_SPIKES = 0.2
"""Memory of a neuron's step, in numbers: its bit, and an event where it fires."""


@dataclass(frozen=True, eq=False)
class Plan:
    """The work on a spiking network.

    Attributes
    ----------
    stages : mapping of str to Stage
        How every value that is needed is computed, in order.
    static : frozenset of str
        The values that depend on the image alone.
    kept_static : frozenset of str
        Those of them that are read in every step.
    readout : Readout
        What is computed once for each kept step.
    synops : mapping of str to Synops
        How many weights the numbers of a value meet, for each that linear layers read.
    n_numbers, n_numbers_per_step : int
        How many numbers an image has once, and how many more in each step, roughly.
    """

    stages: Mapping[str, Stage]
    static: frozenset[str]
    kept_static: frozenset[str]
    readout: Readout
    synops: Mapping[str, Synops]
    n_numbers: int
    n_numbers_per_step: int


def make_plan(spiking: SpikingNetwork) -> Plan:
    """Choose how to compute every value of `spiking`."""
    network, builder = spiking.network, _Builder(spiking)
    fans, driven = builder.fan_outs(), builder.schedule.driven
    inputs = _inputs_of(spiking.readout, readout_nodes(spiking))
    stages = builder.stages({*inputs, *spiking.populations, *fans})
    static = frozenset({network.input_name, *(node.name for node in builder.schedule.nodes)} - driven)
    read = {source.name for name, stage in stages.items() if name in driven for source in stage.inputs}
    share = {name: _SHARE_OF_SPIKES if _gives_spikes(stage) else 1.0 for name, stage in stages.items()}
    numbers = {name: share[name] * math.prod(network.shapes[name]) for name in stages}
    return Plan(
        stages=stages,
        static=static,
        kept_static=static & (inputs | read),
        readout=builder.readout(),
        synops={name: Synops(fan_out, _counted(name, fan_out, stages)) for name, fan_out in fans.items()},
        n_numbers=round(sum(numbers[name] for name in stages if name in static)),
        n_numbers_per_step=math.ceil(sum(numbers[name] for name in stages if name in driven)),
    )


def readout_nodes(spiking: SpikingNetwork) -> list[Node]:
    """Return the linear nodes between the readout and the last spikes, maxima or static values, in order."""
    schedule = spiking.schedule
    nodes: list[Node] = []
    needed = {spiking.readout}
    for node in reversed(schedule.nodes):
        if node.name in needed & schedule.driven and not isinstance(node.layer, ReLU) and not is_maximum(node):
            nodes.append(node)
            needed.update(node.inputs)
    return nodes[::-1]


def _needed_for(name: str, nodes: list[Node]) -> set[str]:
    """Return the name and those of all that `nodes` read to compute it."""
    needed = {name}
    for node in reversed(nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return needed


def _inputs_of(name: str, nodes: list[Node]) -> set[str]:
    """Return what `nodes` read of others to compute the value called `name`: itself where it is not of theirs."""
    return _needed_for(name, nodes) - {node.name for node in nodes}


def _gives_spikes(stage: Stage | None) -> bool:
    return isinstance(stage, Fire)


def _counted(name: str, fan_out: IntArray, stages: Mapping[str, Stage]) -> Input:
    """Return the form in which a value's operations are counted: events only where a stage reads them anyway."""
    if _gives_spikes(stages.get(name)):
        return Input(name, "spikes")
    read = [source for stage in stages.values() for source in stage.inputs if source.name == name]
    events = [source for source in read if isinstance(source.form, EventForm) and is_uniform(fan_out)]
    return events[0] if events else Input(name, "numbers")


class _Builder:
    """Chooses the stage of each value; what one choice needs of others is a property computed once, in any order."""

    def __init__(self, spiking: SpikingNetwork) -> None:
        self._spiking, self._shapes = spiking, spiking.network.shapes
        self.schedule = spiking.schedule
        self._nodes = {node.name: node for node in self.schedule.nodes}

    @cached_property
    def _populations(self) -> dict[str, PackedPopulation]:
        """The populations that have a compiled loop, with the bias of the linear layer they are fused with."""
        packed = {}
        for name, population in self._spiking.populations.items():
            if is_compiled(population):
                layer = self._fused(self._nodes[name])
                current = np.zeros((), np.float32) if layer is None else bias_of(layer)
                layout = layout_of(self._shapes[name], self._axis(self._nodes[name]))
                packed[name] = pack_population(population, self._spiking.dt, layout, current)
        return packed

    @cached_property
    def _linears(self) -> dict[str, tuple[Linear, Input]]:
        """The linear layers on events or spikes, with what they read."""
        linears = {}
        for node in self.schedule.nodes:
            layer = linear_layer(node.layer)
            if layer is not None:
                built, name = self._linear(layer, node.inputs[0], self._shapes[node.name])
                linears[node.name] = built, Input(name, built.form)
        return linears

    def fan_outs(self) -> dict[str, IntArray]:
        """Return how many weights each number meets, counted at the spikes where what is read are spikes."""
        fans: dict[str, IntArray] = {}
        for name, fan_out in fan_outs(self._spiking).items():
            seen = self._seen(name)
            if seen is not None:
                name, neurons = seen
                met = np.zeros(self._shapes[name], np.int64)
                np.add.at(met.reshape(-1), neurons[neurons >= 0], fan_out[neurons >= 0])
                fan_out = met
            fans[name] = fans[name] + fan_out if name in fans else fan_out
        return fans

    def stages(self, names: set[str]) -> dict[str, Stage]:
        """Return the stages of the values called `names`, and of what they read."""
        stages = {node.name: self._stage(node) for node in self.schedule.nodes}
        needed = set(names)
        for name, stage in reversed(list(stages.items())):
            if name in needed:
                needed.update(source.name for source in stage.inputs)
        return {name: stage for name, stage in stages.items() if name in needed}

    def readout(self) -> Readout:
        """Return how the readout is computed: dense layers that read a population, from the sums of its spikes."""
        name, nodes = self._spiking.readout, readout_nodes(self._spiking)
        dense = {}
        for node in nodes:
            if isinstance(node.layer, Dense) and len(self._shapes[node.inputs[0]]) == 1:
                layer, source = self._linears[node.name]
                if layer.reads_spikes:
                    dense[node.name] = linear_of_sums(layer), source.name
        inputs = _inputs_of(name, nodes)
        needed = _needed_for(name, [node for node in nodes if node.name not in dense])
        zeros = {source: np.zeros((1, *self._shapes[source]), np.float32) for source in inputs}
        others = [node for node in nodes if node.name in needed and node.name not in dense]
        return Readout(
            name=name,
            inputs=tuple(sorted(inputs & needed)),
            nodes=tuple(replace(node, layer=without_constant(node.layer)) for node in others),
            dense={node: found for node, found in dense.items() if node in needed},
            constant=evaluate_nodes(nodes, zeros)[name],
        )

    def _stage(self, node: Node) -> Stage:
        numbers = tuple(Input(name, "numbers") for name in node.inputs)
        if isinstance(node.layer, ReLU):
            return self._fire(node)
        if isinstance(node.layer, (MaxPool, Reduce)) and is_maximum(node) and node.name in self.schedule.driven:
            return self._maximum(node.layer, node, numbers)
        if node.name in self._linears:
            layer, source = self._linears[node.name]
            return Sums((source,), layer)
        return Compute(numbers, node.layer)

    def _maximum(self, layer: MaxPool | Reduce, node: Node, numbers: tuple[Input, ...]) -> Maximum:
        shape, after = self._shapes[node.inputs[0]], self._shapes[node.name]
        if isinstance(layer, Reduce):  # its axes may be those of channels
            source, target = (Layout((1, *size), 0, padded=False) for size in (shape, after))
            seen = reduced(layer.axes, shape)
        else:
            source, target = (Layout(size, 0, padded=False) for size in (shape, after))
            seen = windows(layer, shape, after)
        return Maximum(numbers, self._spiking.growth, after, source, target, seen.astype(np.int32, order="C"))

    def _fire(self, node: Node) -> Stage:
        synapse, dt = self._spiking.synapse, self._spiking.dt
        if self._fused(node) is not None:
            layer, source = self._linears[node.inputs[0]]
            return FireOnEvents((source,), self._populations[node.name], layer)
        numbers = (Input(node.inputs[0], "numbers"),)
        fire: FireOnNumbers | FirePlainly = (
            FireOnNumbers(numbers, self._populations[node.name])
            if node.name in self._populations
            else FirePlainly(numbers, self._spiking.populations[node.name], dt)
        )
        return fire if synapse is None else Filtered(numbers, fire, math.exp(-dt / synapse))

    def _fused(self, node: Node) -> LinearLayer | None:
        """Return the linear layer before neurons if it is computed on the events that spikes are, in their own loop."""
        before = self._nodes.get(node.inputs[0])
        if before is None or self._spiking.synapse is not None or before.name not in self.schedule.driven:
            return None
        return linear_layer(before.layer) if can_be_fused(self._spiking.populations[node.name]) else None

    def _axis(self, node: Node) -> int:
        """Return which axis counts the channels of a population: as what it reads has it, or what reads it."""
        before = self._nodes.get(node.inputs[0])
        neighbours = (*(() if before is None else (before,)), *self.schedule.readers.get(node.name, ()))
        layers = (linear_layer(neighbour.layer) for neighbour in neighbours)
        return next((channel_axis(layer) for layer in layers if layer is not None), 0)

    def _seen(self, name: str) -> tuple[str, IntArray] | None:
        """Return the population whose spikes a value shows, and which of its neurons each number is the output of.

        Neurons are counted in the order of their layer's shape, `PADDING` is a number that is always 0. None where the
        value is anything else.
        """
        if name in self._populations and self._spiking.synapse is None:
            return name, np.arange(math.prod(self._shapes[name])).reshape(self._shapes[name])
        node = self._nodes.get(name)
        if node is None or not moves_entries(node.layer):
            return None
        seen = self._seen(node.inputs[0])
        return None if seen is None else (seen[0], moved(node.layer, seen[1]))

    def _linear(self, layer: LinearLayer, source: str, after: tuple[int, ...]) -> tuple[Linear, str]:
        """Return a linear layer on events, and the name of the value whose events or spikes it reads."""
        shape, seen = self._shapes[source], self._seen(source)
        if seen is not None:
            name, neurons = seen
            population = self._populations[name]
            if isinstance(layer, Dense) and len(shape) == 1:
                return linear_of_all(layer, after, population, neurons), name
            same_order = bool(np.array_equal(neurons.reshape(-1), np.arange(neurons.size)))
            same_layout = population.layout == layout_of(shape, channel_axis(layer))
            if same_order and same_layout and population.is_uniform:
                return linear(layer, shape, after, population), name
        return linear(layer, shape, after), source
