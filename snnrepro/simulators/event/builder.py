"""How each value is computed: once for an image, in every step, or at the kept steps only; on spikes or on numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Container, Iterable, Mapping

import numpy as np

from snnrepro.network.channels import channel_axis
from snnrepro.network.convolve import evaluate_nodes
from snnrepro.network.indexing import moved, moves_entries, reduced, windows
from snnrepro.network.layers import Dense, MaxPool, Reduce, ReLU
from snnrepro.simulators.event.layout import Layout, layout_of
from snnrepro.simulators.event.population import PackedPopulation, can_be_fused, is_compiled, pack_population
from snnrepro.simulators.event.readout import Readout, without_constant
from snnrepro.simulators.event.stages import (
    Compute,
    Filtered,
    FireOnNumbers,
    FireOnWeights,
    FirePlainly,
    Maximum,
    OfMeans,
    Running,
    Stage,
    Sums,
)
from snnrepro.simulators.event.values import Input
from snnrepro.simulators.event.weights import (
    bias_of,
    is_read_whole,
    linear,
    linear_layer,
    linear_of_all,
    linear_of_sums,
)
from snnrepro.spiking.ensembles import repeated, repeats
from snnrepro.spiking.neurons import growth_of
from snnrepro.spiking.schedule import is_graded, is_maximum, is_running
from snnrepro.spiking.synops import fan_outs

if TYPE_CHECKING:
    from snnrepro.arrays import IntArray
    from snnrepro.network.channels import LinearLayer
    from snnrepro.network.graph import Node
    from snnrepro.simulators.event.weights import Linear
    from snnrepro.spiking.network import SpikingNetwork
    from snnrepro.spiking.neurons import Population
    from snnrepro.spiking.schedule import Schedule


def readout_nodes(schedule: Schedule) -> list[Node]:
    """Return the linear nodes between the readout and the last spikes, running or static values, in order."""
    nodes: list[Node] = []
    needed = {schedule.readout}
    for node in reversed(schedule.nodes):
        if node.name in needed & schedule.driven and not isinstance(node.layer, ReLU) and not is_running(node):
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


def inputs_of(name: str, nodes: list[Node]) -> set[str]:
    """Return what `nodes` read of others to compute the value called `name`: itself where it is not of theirs."""
    return _needed_for(name, nodes) - {node.name for node in nodes}


class Builder:
    """Chooses the stage of each value, when it is asked for.

    Parameters
    ----------
    schedule : Schedule
        Of the network.
    populations : mapping of str to Population
        Its neurons; those of layers that are not asked for may be missing, and be added later.
    dt : float
        Length of a step, s.
    synapse : float or None
        Time constant of the filter on every spike train, s.
    largest : int or None
        Most weights of a dense layer that is computed on events, for which they are copied; None for any number.
    """

    def __init__(
        self,
        schedule: Schedule,
        populations: Mapping[str, Population],
        dt: float,
        synapse: float | None = None,
        largest: int | None = None,
    ) -> None:
        self.schedule = schedule
        self._populations, self._dt, self._synapse, self._largest = populations, dt, synapse, largest
        self._shapes = schedule.network.shapes
        self._nodes = {node.name: node for node in schedule.nodes}
        self._packed: dict[str, PackedPopulation] = {}
        self._linears: dict[str, tuple[Linear, Input]] = {}
        self._repeated: dict[str, LinearLayer] = {}

    def packed(self, name: str) -> PackedPopulation | None:
        """Return a population that has a compiled loop, with the bias of the linear layer it is fused with, or None."""
        population = self._populations.get(name)
        if population is None or not is_compiled(population):
            return None
        if name not in self._packed:
            fused = self._fused(self._nodes[name])
            current = np.zeros((), np.float32) if fused is None else bias_of(fused)
            layout = layout_of(self._shapes[name], self._axis(self._nodes[name]))
            self._packed[name] = pack_population(population, self._dt, layout, current)
        return self._packed[name]

    def go_on(self, schedule: Schedule) -> None:
        """Go on with a network of which what was packed so far is the same."""
        self.schedule, self._shapes = schedule, schedule.network.shapes
        self._nodes = {node.name: node for node in schedule.nodes}
        self._linears.clear()
        self._repeated.clear()

    def forget(self, but: Container[str] = ()) -> None:
        """Let go of the weights copied so far, and of the populations packed, but for some of these."""
        self._linears.clear()
        self._repeated.clear()
        self._packed = {name: packed for name, packed in self._packed.items() if name in but}

    def _events_of(self, node: Node) -> tuple[Linear, Input] | None:
        """Return a linear layer on events or spikes, and what it reads; None where a node is something else."""
        found = self._linear_layer(node)
        if found is None:
            return None
        if node.name not in self._linears:
            built, name = self._linear(*found, self._shapes[node.name])
            self._linears[node.name] = built, Input(name, built.form)
        return self._linears[node.name]

    def _linear_layer(self, node: Node) -> tuple[LinearLayer, str] | None:
        """Return a linear layer, and what it reads: the node's, or one whose channels it gives several times."""
        size = repeats(node.layer)
        inner = node if size == 1 else self._nodes.get(node.inputs[0])
        layer = None if inner is None else linear_layer(inner.layer)
        if inner is None or layer is None:
            return None
        if isinstance(layer, Dense) and self._largest is not None and size * layer.weights.size > self._largest:
            return None
        if size == 1:
            return layer, inner.inputs[0]
        if len(self.schedule.readers[inner.name]) > 1:
            return None
        if isinstance(layer, Dense) and len(self._shapes[inner.name]) > 1:
            return None  # what is repeated are no outputs of it
        if node.name not in self._repeated:
            self._repeated[node.name] = repeated(layer, size)
        return self._repeated[node.name], inner.inputs[0]

    def fan_outs(self, spiking: SpikingNetwork) -> dict[str, IntArray]:
        """Return how many weights each number meets, counted at the spikes where what is read are spikes."""
        fans: dict[str, IntArray] = {}
        for name, fan_out in fan_outs(spiking).items():
            seen = self._seen(name)
            if seen is not None:
                name, neurons = seen
                met = np.zeros(self._shapes[name], np.int64)
                np.add.at(met.reshape(-1), neurons[neurons >= 0], fan_out[neurons >= 0])
                fan_out = met
            fans[name] = fans[name] + fan_out if name in fans else fan_out
        return fans

    def stages(self, names: Iterable[str], known: Container[str] = ()) -> dict[str, Stage]:
        """Return the stages of the values called `names`, and of what they read, but for values that are `known`."""
        needed, stages = set(names), {}
        for node in reversed(self.schedule.nodes):
            if node.name in needed and node.name not in known:
                stages[node.name] = self._stage(node)
                needed.update(source.name for source in stages[node.name].inputs)
        return dict(reversed(list(stages.items())))

    def readout(self) -> Readout:
        """Return how the readout is computed: dense layers that read a population, from the sums of its spikes."""
        name, nodes = self.schedule.readout, readout_nodes(self.schedule)
        dense = {}
        for node in nodes:
            on_events = self._events_of(node) if isinstance(node.layer, Dense) else None
            if on_events is not None and len(self._shapes[node.inputs[0]]) == 1:
                layer, source = on_events
                if layer.reads_spikes:
                    dense[node.name] = linear_of_sums(layer), source.name
        inputs = inputs_of(name, nodes)
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
        if is_graded(node):
            if node.name not in self.schedule.driven:
                return OfMeans(numbers, node.layer)
            shapes = tuple(self._shapes[name] for name in (*node.inputs, node.name))
            return Running(numbers, node.layer, growth_of(self._populations), shapes)
        on_events = self._events_of(node)
        if on_events is not None:
            return Sums((on_events[1],), on_events[0])
        return Compute(numbers, node.layer)

    def _maximum(self, layer: MaxPool | Reduce, node: Node, numbers: tuple[Input, ...]) -> Maximum:
        shape, after = self._shapes[node.inputs[0]], self._shapes[node.name]
        if isinstance(layer, Reduce):  # its axes may be those of channels
            source, target = (Layout((1, *size), 0, padded=False) for size in (shape, after))
            seen = reduced(layer.axes, shape)
        else:
            source, target = (Layout(size, 0, padded=False) for size in (shape, after))
            seen = windows(layer, shape, after)
        return Maximum(numbers, growth_of(self._populations), after, source, target, seen.astype(np.int32, order="C"))

    def _fire(self, node: Node) -> Stage:
        synapse, dt, packed = self._synapse, self._dt, self.packed(node.name)
        on_events = self._events_of(self._nodes[node.inputs[0]]) if self._fused(node) is not None else None
        if on_events is not None and packed is not None:
            return FireOnWeights((on_events[1],), packed, on_events[0])
        numbers = (Input(node.inputs[0], "numbers"),)
        fire: FireOnNumbers | FirePlainly = (
            FirePlainly(numbers, self._populations[node.name], dt) if packed is None else FireOnNumbers(numbers, packed)
        )
        return fire if synapse is None else Filtered(numbers, fire, math.exp(-dt / synapse))

    def _fused(self, node: Node) -> LinearLayer | None:
        """Return the linear layer before neurons if they fire in its loop.

        One that the image alone decides is computed once instead, and kept, but where it reads an image itself: its
        output is many times as large, and it would be written and read for nothing.
        """
        before = self._nodes.get(node.inputs[0])
        if before is None or self._synapse is not None or not can_be_fused(self._populations[node.name]):
            return None
        found = self._linear_layer(before)
        if found is None:
            return None
        layer, read = found
        is_whole = is_read_whole(layout_of(self._shapes[read], channel_axis(layer), padded=False))
        return layer if is_whole or before.name in self.schedule.driven else None

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
        if self._synapse is None and self.packed(name) is not None:
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
            population = self.packed(name)
            assert population is not None  # `_seen` has seen to it
            if isinstance(layer, Dense) and len(shape) == 1:
                return linear_of_all(layer, after, population, neurons), name
            same_order = bool(np.array_equal(neurons.reshape(-1), np.arange(neurons.size)))
            same_layout = population.layout == layout_of(shape, channel_axis(layer))
            if same_order and same_layout and population.is_uniform:
                return linear(layer, shape, after, population), name
        return linear(layer, shape, after), source
