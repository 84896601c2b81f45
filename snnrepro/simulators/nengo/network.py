"""A spiking network written with Nengo's own objects; NengoDL and Nengo core both run it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.network.layers import Pad, ReLU, Reshape, Select, Transpose
from snnrepro.simulators.nengo.counts import Counters
from snnrepro.simulators.nengo.layers import LayerWriter, connect_entries
from snnrepro.simulators.nengo.views import PADDING, View, maximum_windows, whole
from snnrepro.spiking.neurons import LIF
from snnrepro.spiking.prepare import is_maximum

if TYPE_CHECKING:
    from snnrepro.network.graph import Node
    from snnrepro.spiking.neurons import Population
    from snnrepro.spiking.spiking_network import SpikingNetwork


@dataclass(frozen=True, eq=False)
class NengoNetwork:
    """The Nengo network and the handles needed to run it and to read its weights back.

    Attributes
    ----------
    network : nengo.Network
        Everything below stands in it.
    input : nengo.Node
        ``(n_in,)``, the image flattened in C order.
    scores, filtered_scores : nengo.Probe
        The readout's value in each step as it is, and through the readout synapse (if there is one); ``(n_out,)``.
    weights : dict of str to nengo.Connection
        By node: the connection of each Dense, in the axis order (out, in), and of each Conv and ConvTranspose that
        Nengo can express, (height, width, in, out). A transposed convolution is one over the image with zeros between
        its rows, its kernel turned round. Every other layer is a fixed sparse matrix or picks entries.
    biases : dict of str to nengo.Connection
        Their bias connections, ``(n_out, 1)``.
    ensembles : dict of str to nengo.Ensemble
        The neurons by population.
    moving : frozenset of str
        The values that spikes reach.
    counters : Counters or None
        What counts spikes and synaptic operations, if it was asked for.
    """

    network: Any
    input: Any
    scores: Any
    filtered_scores: Any
    weights: dict[str, Any]
    biases: dict[str, Any]
    ensembles: dict[str, Any]
    moving: frozenset[str]
    counters: Counters | None


def build(spiking: SpikingNetwork, counted: bool = False) -> NengoNetwork:
    """Write `spiking` with Nengo's objects.

    Parameters
    ----------
    spiking : SpikingNetwork
        What to write, up to its readout; what stands behind that is no matter of spikes.
    counted : bool
        Whether spikes and synaptic operations are counted, which costs time in every step.

    Returns
    -------
    NengoNetwork
        Weights and biases as they are in `spiking`, bit for bit.
    """
    import nengo

    with nengo.Network(seed=0) as network:
        builder = _Builder(spiking)
        for node in builder.nodes:
            builder.write(node)
        readout = builder.values[spiking.readout]
        output = nengo.Node(size_in=readout.indices.size)
        nengo.Connection(builder.picked(readout), output, synapse=None)
        synapse = spiking.readout_synapse
        scores = nengo.Probe(output, synapse=None)
        filtered = scores if synapse is None else nengo.Probe(output, synapse=nengo.Lowpass(synapse))
        counters = Counters(spiking, builder.values, builder.ensembles) if counted else None
    return NengoNetwork(
        network=network,
        input=builder.input,
        scores=scores,
        filtered_scores=filtered,
        weights=builder.weights,
        biases=builder.biases,
        ensembles=builder.ensembles,
        moving=builder.moving,
        counters=counters,
    )


class _Builder(LayerWriter):
    """Writes node after node into the Nengo network that is open."""

    def __init__(self, spiking: SpikingNetwork) -> None:
        super().__init__(spiking)
        behind = set() if spiking.tail is None else {node.name for node in spiking.tail.nodes}
        self.nodes = [node for node in spiking.network.nodes if node.name not in behind]
        self.readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.inputs:
                self.readers.setdefault(name, []).append(node)
        self.ensembles: dict[str, Any] = {}
        self.moving = moving(spiking)

    def write(self, node: Node) -> None:
        """Write one node."""
        layer = node.layer
        if isinstance(layer, (Reshape, Transpose, Select)) or (isinstance(layer, Pad) and layer.value == 0):
            self.values[node.name] = self.values[node.inputs[0]].moved(layer)
        elif isinstance(layer, ReLU):
            self._fire(node)
        elif is_maximum(node):
            self._maximum(node)
        else:
            target = self._target(node)
            self.values[node.name] = whole(target, self.shapes[node.name])
            self.write_layer(node, target)

    def _target(self, node: Node) -> Any:
        """Return what a node's value is summed up in: its neurons themselves where nothing else reads it."""
        import nengo

        readers = self.readers.get(node.name, [])
        if len(readers) == 1 and isinstance(readers[0].layer, ReLU) and node.name != self.spiking.readout:
            return self._neurons(readers[0].name)
        return nengo.Node(size_in=math.prod(self.shapes[node.name]), label=node.name)

    def _neurons(self, name: str) -> Any:
        from snnrepro.simulators.nengo.neurons import ensemble

        population, shape = self.spiking.populations[name], self.shapes[name]
        gain = population.neuron.gain if isinstance(population.neuron, LIF) else 1.0
        bias = np.broadcast_to(population.bias, shape).reshape(-1)
        neuron_type = _neuron_type(name, population, shape, self.spiking.dt)
        self.ensembles[name] = ensemble(neuron_type, bias.size, gain, bias, label=name)
        return self.ensembles[name].neurons

    def _fire(self, node: Node) -> None:
        import nengo

        if node.name not in self.ensembles:
            neurons = self._neurons(node.name)
            nengo.Connection(self.picked(self.values[node.inputs[0]]), neurons, synapse=None)
        output = self.ensembles[node.name].neurons
        population, synapse = self.spiking.populations[node.name], self.spiking.synapse
        scale = None
        if isinstance(population.neuron, LIF) and np.ptp(population.amplitude) > 0:  # Nengo's has one for all neurons
            scale = np.broadcast_to(population.amplitude, self.shapes[node.name]).reshape(-1)
        if synapse is not None or scale is not None:
            after = nengo.Node(size_in=output.size_out)
            scaled = {} if scale is None else {"transform": scale}
            nengo.Connection(output, after, synapse=None if synapse is None else nengo.Lowpass(synapse), **scaled)
            output = after
        self.values[node.name] = whole(output, self.shapes[node.name])

    def _maximum(self, node: Node) -> None:
        from snnrepro.simulators.nengo.neurons import OUTSIDE, Maximum, ensemble

        layer: Any = node.layer
        view = self.values[node.inputs[0]]
        candidates = maximum_windows(layer, view.shape).T
        inside = candidates != PADDING
        indices = np.where(inside, view.indices.reshape(-1)[candidates], PADDING)
        growth = self.spiking.growth if node.name in self.moving else 0.0
        neuron_type = Maximum(node.name, candidates.shape[1], growth)
        bias = np.where(inside, 0.0, OUTSIDE).reshape(-1)
        neurons = ensemble(neuron_type, candidates.size, bias=bias, label=node.name).neurons
        connect_entries(view.source, indices.reshape(-1), neurons)
        first = np.arange(candidates.shape[1]).reshape(self.shapes[node.name])
        self.values[node.name] = View(neurons, first)


def moving(spiking: SpikingNetwork) -> frozenset[str]:
    """Return the names of the values that spikes reach; every other one is the same in each step."""
    found: set[str] = set()
    for node in spiking.network.nodes:
        if isinstance(node.layer, ReLU) or found.intersection(node.inputs):
            found.add(node.name)
    return frozenset(found)


def _neuron_type(name: str, population: Population, shape: tuple[int, ...], dt: float) -> Any:
    import nengo

    from snnrepro.simulators.nengo.neurons import SignedIF

    neuron = population.neuron
    threshold, amplitude, subtracted, initial = (
        np.array(np.broadcast_to(values, shape), np.float64).reshape(-1)
        for values in (population.threshold, population.amplitude, population.subtracted, population.initial_potential)
    )
    if isinstance(neuron, LIF):
        return nengo.LIF(
            tau_rc=neuron.tau_rc,
            tau_ref=neuron.tau_ref,
            min_voltage=neuron.min_voltage,
            amplitude=dt * (float(amplitude[0]) if np.ptp(amplitude) == 0 else 1.0),
            initial_state={"voltage": initial},
        )
    retention = neuron.retention(dt)
    return SignedIF(name, threshold, amplitude, subtracted, initial, retention, neuron.reset, neuron.max_spikes)
