"""A spiking network written with Nengo's own objects; NengoDL and Nengo core both run it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from snnrepro.network.indexing import PADDING
from snnrepro.network.layers import Pad, ReLU, Reshape, Select, Transpose
from snnrepro.simulators.nengo.counts import Counters
from snnrepro.simulators.nengo.layers import LayerWriter, layers_of
from snnrepro.simulators.nengo.views import View, maximum_windows, whole
from snnrepro.spiking.network import scores_of
from snnrepro.spiking.neurons import LIF
from snnrepro.spiking.run import Run
from snnrepro.spiking.schedule import is_graded, is_maximum
from snnrepro.spiking.step import Readout

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.network.graph import Node
    from snnrepro.spiking.network import SpikingNetwork
    from snnrepro.spiking.neurons import Population


@dataclass(frozen=True, eq=False)
class NengoNetwork:
    """The Nengo network and the handles needed to run it and to read its weights back.

    Attributes
    ----------
    spiking : SpikingNetwork
        What was written.
    network : nengo.Network
        Everything below stands in it.
    input : nengo.Node
        ``(n_in,)``, the image flattened in C order.
    scores, filtered_scores : nengo.Probe
        The readout's value in each step as it is, and through the readout synapse (the same probe without one);
        ``(n_out,)``.
    weights : dict of str to nengo.Connection
        By node: the connection of each Dense, in the axis order (out, in), and of each Conv and ConvTranspose that
        Nengo can express, (height, width, in, out). A transposed convolution is one over the image with zeros between
        its rows, its kernel turned round. Every other layer is a fixed sparse matrix or picks entries.
    biases : dict of str to nengo.Connection
        Their bias connections, ``(n_out, 1)``.
    ensembles : dict of str to nengo.Ensemble
        The neurons by population.
    counters : Counters or None
        What counts spikes and synaptic operations, if it was asked for.
    """

    spiking: SpikingNetwork
    network: Any
    input: Any
    scores: Any
    filtered_scores: Any
    weights: dict[str, Any]
    biases: dict[str, Any]
    ensembles: dict[str, Any]
    counters: Counters | None

    def layers(self, held: Callable[[Any], AnyArray]) -> dict[str, Any]:
        """Return the layers of `weights` by name, with the weights and biases that a simulator holds by connection."""
        return layers_of(self.spiking, self.weights, self.biases, held)

    def result(self, steps: tuple[int, ...], data: Callable[[Any], AnyArray]) -> Run:
        """Return what a simulation with counters gave.

        Parameters
        ----------
        steps : tuple of int
            The steps to keep.
        data : callable
            Gives the values of a probe, ``(n_images, n_steps, size)``.
        """
        if self.counters is None:
            raise ValueError("the Nengo network was built without counters")
        spiking, driven = self.spiking, self.spiking.schedule.driven
        spikes = {name: np.rint(data(probe)).astype(np.int64) for name, probe in self.counters.spikes.items()}
        met = {
            name: np.rint(data(probe)).astype(np.int64).sum(axis=-1) for name, probe in self.counters.operations.items()
        }
        scores = np.stack([scores_of(spiking, readout) for readout in self._readouts(steps, data)], axis=1)
        none = np.zeros(len(scores), np.int64)
        return Run(
            steps=steps,
            scores_by_step=scores,
            spike_counts={name: counts.sum(axis=(1, 2)) for name, counts in spikes.items()},
            n_neurons=spiking.n_neurons,
            synaptic_operations=sum((n.sum(axis=1) for name, n in met.items() if name in driven), none),
            # What the image alone decides is met in every step, and computed once.
            macs=sum((n[:, 0] for name, n in met.items() if name not in driven), none),
        )

    def _readouts(self, steps: tuple[int, ...], data: Callable[[Any], AnyArray]) -> list[FloatArray]:
        """Return what is read out after each kept step, ``(n_images, *shape)``."""
        values = data(self.filtered_scores).astype(np.float32)
        values = values.reshape(*values.shape[:2], *self.spiking.network.shapes[self.spiking.readout])
        if self.spiking.readout_synapse is not None:
            return [values[:, step - 1] for step in steps]
        readout, kept = Readout(self.spiking), []
        for step in range(1, steps[-1] + 1):
            readout.add(values[:, step - 1])
            if step in steps:
                kept.append(readout.value)
        return kept


def build(spiking: SpikingNetwork, counted: bool = False) -> NengoNetwork:
    """Write `spiking` with Nengo's objects.

    Parameters
    ----------
    spiking : SpikingNetwork
        What to write, up to its readout: what stands behind it is not simulated.
    counted : bool
        Whether spikes and synaptic operations are counted, which costs time in every step.

    Returns
    -------
    NengoNetwork
        Weights and biases as they are in `spiking`, bit for bit.
    """
    import nengo

    spiking = spiking.simulated
    with nengo.Network(seed=0) as network:
        builder = _Builder(spiking)
        for node in spiking.schedule.nodes:
            builder.write(node)
        readout = builder.values[spiking.readout]
        output = nengo.Node(size_in=readout.indices.size)
        builder.connect(builder.picked(readout), output)
        synapse = spiking.readout_synapse
        scores = nengo.Probe(output, synapse=None)
        filtered = scores if synapse is None else nengo.Probe(output, synapse=nengo.Lowpass(synapse))
        counters = Counters(spiking, builder.values, builder.ensembles) if counted else None
    return NengoNetwork(
        spiking=spiking,
        network=network,
        input=builder.input,
        scores=scores,
        filtered_scores=filtered,
        weights=builder.weights,
        biases=builder.biases,
        ensembles=builder.ensembles,
        counters=counters,
    )


class _Builder(LayerWriter):
    """Writes node after node into the Nengo network that is open."""

    def __init__(self, spiking: SpikingNetwork) -> None:
        super().__init__(spiking)
        self.ensembles: dict[str, Any] = {}

    def write(self, node: Node) -> None:
        """Write one node."""
        layer = node.layer
        if isinstance(layer, (Reshape, Transpose, Select)) or (isinstance(layer, Pad) and layer.value == 0):
            self.values[node.name] = self.values[node.inputs[0]].moved(layer)
        elif isinstance(layer, ReLU):
            self._fire(node)
        elif is_maximum(node):
            self._maximum(node)
        elif is_graded(node):
            self._running(node)
        else:
            target = self._target(node)
            self.values[node.name] = whole(target, self.shapes[node.name])
            self.write_layer(node, target)

    def _target(self, node: Node) -> Any:
        """Return what a node's value is summed up in: its neurons themselves where nothing else reads it."""
        readers = self.spiking.schedule.readers.get(node.name, ())
        if len(readers) == 1 and isinstance(readers[0].layer, ReLU) and node.name != self.spiking.readout:
            return self._neurons(readers[0].name)
        return self.nengo.Node(size_in=math.prod(self.shapes[node.name]), label=node.name)

    def _neurons(self, name: str) -> Any:
        from snnrepro.simulators.nengo.neurons import ensemble

        population, shape = self.spiking.populations[name], self.shapes[name]
        gain = population.neuron.gain if isinstance(population.neuron, LIF) else 1.0
        bias = np.broadcast_to(population.bias, shape).reshape(-1)
        neuron_type = _neuron_type(name, population, shape, self.spiking.dt)
        self.ensembles[name] = ensemble(neuron_type, bias.size, gain, bias, label=name)
        return self.ensembles[name].neurons

    def _fire(self, node: Node) -> None:
        if node.name not in self.ensembles:
            neurons = self._neurons(node.name)
            self.connect(self.picked(self.values[node.inputs[0]]), neurons)
        output = self.ensembles[node.name].neurons
        population, synapse = self.spiking.populations[node.name], self.spiking.synapse
        scale = None
        if isinstance(population.neuron, LIF) and np.ptp(population.amplitude) > 0:  # Nengo's has one for all neurons
            scale = np.broadcast_to(population.amplitude, self.shapes[node.name]).reshape(-1)
        if synapse is not None or scale is not None:
            after = self.nengo.Node(size_in=output.size_out)
            scaled = {} if scale is None else {"transform": scale}
            self.nengo.Connection(
                output, after, synapse=None if synapse is None else self.nengo.Lowpass(synapse), **scaled
            )
            output = after
        self.values[node.name] = whole(output, self.shapes[node.name])

    def _maximum(self, node: Node) -> None:
        from snnrepro.simulators.nengo.neurons import OUTSIDE, Maximum, ensemble

        layer: Any = node.layer
        view = self.values[node.inputs[0]]
        candidates = maximum_windows(layer, view.shape).T
        inside = candidates != PADDING
        indices = np.where(inside, view.indices.reshape(-1)[candidates], PADDING)
        neuron_type = Maximum(node.name, candidates.shape[1], self._growth(node))
        bias = np.where(inside, 0.0, OUTSIDE).reshape(-1)
        neurons = ensemble(neuron_type, candidates.size, bias=bias, label=node.name).neurons
        self.connect_entries(view.source, indices.reshape(-1), neurons)
        first = np.arange(candidates.shape[1]).reshape(self.shapes[node.name])
        self.values[node.name] = View(neurons, first)

    def _growth(self, node: Node) -> float:
        """Return the factor of a node's sums per step; 0 where the image alone decides: each step stands for itself."""
        return self.spiking.growth if node.name in self.spiking.schedule.driven else 0.0

    def _running(self, node: Node) -> None:
        from snnrepro.simulators.nengo.neurons import Running, ensemble

        shape, read = self.shapes[node.name], [self.values[name] for name in node.inputs]
        neuron_type = Running(node.name, node.layer, tuple(view.shape for view in read), self._growth(node))
        size = max(math.prod(shape), sum(view.indices.size for view in read))
        neurons = ensemble(neuron_type, size, label=node.name).neurons
        first = 0
        for view in read:
            positions = first + np.arange(view.indices.size)
            self.connect_entries(view.source, view.indices.reshape(-1), neurons, positions)
            first += view.indices.size
        self.values[node.name] = View(neurons, np.arange(math.prod(shape)).reshape(shape))


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
    retention, unit = neuron.retention(dt), None
    if population.unit is not None:
        unit = np.array(np.broadcast_to(population.unit, shape), np.float64).reshape(-1)
    return SignedIF(name, threshold, amplitude, subtracted, initial, retention, neuron.reset, neuron.max_spikes, unit)
