"""The plain simulator: every node evaluated in every step, by the definition; slow, and the measure of the others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.arrays import frozen
from snnrepro.network.layers import Conv, ConvTranspose, Dense, ReLU
from snnrepro.spiking.neurons import IF, LIF, Population
from snnrepro.spiking.prepare import is_maximum
from snnrepro.spiking.run import Progress, Run, step_weights
from snnrepro.spiking.spiking_network import SpikingNetwork, scores_of

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray, IntArray
    from snnrepro.network.graph import Node

_NUMBERS = 2**25
"""Numbers that all values of the images simulated together have (128 MB)."""


def run(spiking: SpikingNetwork, x: FloatArray, steps: tuple[int, ...], progress: Progress) -> Run:
    """Simulate `x` in chunks of bounded memory; parameters and result as `snnrepro.spiking.run.simulate`."""
    network = spiking.network
    per_image = sum(math.prod(shape) for shape in network.shapes.values())
    size = max(1, min(1000, _NUMBERS // per_image))
    chunks = []
    for start in range(0, max(len(x), 1), size):
        chunk = x[start : start + size]
        chunks.append(_run_chunk(spiking, chunk, steps))
        progress(len(chunk) / max(len(x), 1))
    names = list(spiking.populations)
    return Run(
        steps=steps,
        scores_by_step=np.concatenate([chunk[0] for chunk in chunks]),
        spike_counts={name: np.concatenate([chunk[1][name] for chunk in chunks]) for name in names},
        n_neurons={name: math.prod(network.shapes[name]) for name in names},
        synaptic_operations=np.concatenate([chunk[2] for chunk in chunks]),
        macs=np.concatenate([chunk[3] for chunk in chunks]),
    )


def spike_trains(spiking: SpikingNetwork, x: FloatArray, n_steps: int) -> dict[str, FloatArray]:
    """Return the output of every population in every step, ``(n_images, n_steps, *shape)``; for few images only."""
    stepper = Stepper(spiking, x)
    trains: dict[str, list[FloatArray]] = {name: [] for name in spiking.populations}
    for _ in range(n_steps):
        stepper.step()
        for name, train in trains.items():
            train.append(stepper.outputs[name])
    return {name: np.stack(train, axis=1) for name, train in trains.items()}


def mean_outputs(spiking: SpikingNetwork, x: FloatArray) -> dict[str, FloatArray]:
    """Return what every population averages over its steps, and the scores, ``(n_images, *shape)`` by name.

    Steps count as in the readout: step t by ``growth ** -t``.
    """
    stepper, readout = Stepper(spiking, x), Readout(spiking)
    sums = {name: np.zeros((len(x), *spiking.network.shapes[name]), np.float64) for name in spiking.populations}
    weights = step_weights(spiking.growth, spiking.n_steps)
    for weight in weights:
        readout.add(stepper.step())
        for name, output in stepper.outputs.items():
            sums[name] += weight * output
    means = {name: (total / weights.sum()).astype(np.float32) for name, total in sums.items()}
    return {**means, spiking.network.nodes[-1].name: scores_of(spiking, readout.value)}


class Stepper:
    """A batch of images in the middle of its presentation.

    Parameters
    ----------
    spiking : SpikingNetwork
        What to simulate.
    x : numpy.ndarray
        float32, ``(n_images, *input_shape)``.

    Attributes
    ----------
    values : dict of str to numpy.ndarray
        Every value in the last step.
    outputs : dict of str to numpy.ndarray
        The output of each population in the last step, before its synapse.
    """

    def __init__(self, spiking: SpikingNetwork, x: FloatArray) -> None:
        self.spiking = spiking
        network = spiking.network
        self.values: dict[str, FloatArray] = {network.input_name: x}
        self.outputs: dict[str, FloatArray] = {}
        self._moving: list[Node] = []
        moving: set[str] = set()
        behind = set() if spiking.tail is None else {node.name for node in spiking.tail.nodes}
        for node in network.nodes:
            if node.name in behind:
                continue
            if isinstance(node.layer, ReLU) or moving.intersection(node.inputs):
                moving.add(node.name)
                self._moving.append(node)
            else:  # the image is there in every step: what depends on it alone is computed once
                self.values[node.name] = node.layer(*(self.values[name] for name in node.inputs))
        self.moving = frozenset(moving)
        self._populations = {
            name: population_state(population, spiking.dt, (len(x), *network.shapes[name]))
            for name, population in spiking.populations.items()
        }
        self._maxima: dict[str, tuple[Any, Any]] = {}
        self._filtered: dict[str, Any] = {name: np.float32(0) for name in spiking.populations}

    def step(self) -> FloatArray:
        """Advance by one time step and return the readout's value in it."""
        for node in self._moving:
            read = [self.values[name] for name in node.inputs]
            if isinstance(node.layer, ReLU):
                self.values[node.name] = self._fire(node.name, read[0])
            elif is_maximum(node):
                self.values[node.name] = self._gained(node, read[0])
            else:
                self.values[node.name] = node.layer(*read)
        return self.values[self.spiking.readout]

    def _fire(self, name: str, z: FloatArray) -> FloatArray:
        self.outputs[name] = output = self._populations[name].step(z)
        if self.spiking.synapse is None:
            return output
        # Nengo's lowpass has a step of delay: what it gives in a step depends on earlier steps alone.
        decay = np.float32(math.exp(-self.spiking.dt / self.spiking.synapse))
        given = self._filtered[name]
        self._filtered[name] = decay * given + (1 - decay) * output
        return np.broadcast_to(given, output.shape)

    def _gained(self, node: Node, x: FloatArray) -> FloatArray:
        """Return what the maximum of the inputs so far has gained in this step, so that the sums are its maximum."""
        growth = np.float32(self.spiking.growth)
        total, largest = self._maxima.get(node.name, (np.zeros_like(x), np.float32(0)))
        total = growth * total + x
        now = node.layer(total)
        self._maxima[node.name] = (total, now)
        gained: FloatArray = now - growth * largest
        return gained


def _run_chunk(
    spiking: SpikingNetwork, x: FloatArray, steps: tuple[int, ...]
) -> tuple[FloatArray, dict[str, IntArray], IntArray, IntArray]:
    stepper = Stepper(spiking, x)
    n = len(x)
    amplitudes = {name: population.amplitude for name, population in spiking.populations.items()}
    counts = {name: np.zeros(n, np.int64) for name in spiking.populations}
    fans = fan_outs(spiking)
    operations, macs = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for source, fan_out in fans.items():
        if source not in stepper.moving:
            macs += _met(stepper.values[source], fan_out)
    readout = Readout(spiking)
    kept = []
    for step in range(1, steps[-1] + 1):
        readout.add(stepper.step())
        for name, output in stepper.outputs.items():
            counts[name] += np.rint((output / amplitudes[name]).reshape(n, -1).sum(axis=1)).astype(np.int64)
        for source, fan_out in fans.items():
            if source in stepper.moving:
                operations += _met(stepper.values[source], fan_out)
        if step in steps:
            kept.append(scores_of(spiking, readout.value))
    return np.stack(kept, axis=1), counts, operations, macs


class Readout:
    """The readout over the steps: its weighted mean, or the value of a lowpass filter."""

    def __init__(self, spiking: SpikingNetwork) -> None:
        self._weight = np.float32(1)
        self._ratio = np.float32(step_weights(spiking.growth, 2)[1])
        self._total_weight = np.float32(0)
        self._total: Any = np.float32(0)
        synapse = spiking.readout_synapse
        self._decay = None if synapse is None else np.float32(math.exp(-spiking.dt / synapse))
        self._filtered: Any = np.float32(0)
        self._given: Any = np.float32(0)

    def add(self, value: FloatArray) -> None:
        """Take the value of the next step."""
        if self._decay is not None:
            self._given = self._filtered + 0 * value
            self._filtered = self._decay * self._filtered + (1 - self._decay) * value
            return
        self._total = self._total + self._weight * value
        self._total_weight = self._total_weight + self._weight
        self._weight = self._weight * self._ratio

    @property
    def value(self) -> FloatArray:
        """What is read out after the steps so far."""
        return np.asarray(self._given if self._decay is not None else self._total / self._total_weight)


def _met(values: FloatArray, fan_out: IntArray) -> IntArray:
    met: IntArray = (values != 0).reshape(len(values), -1) @ fan_out.reshape(-1)
    return met


def fan_outs(spiking: SpikingNetwork) -> dict[str, IntArray]:
    """Return, for every value that linear layers read, how many nonzero weights each number of one image meets."""
    network = spiking.network
    behind = set() if spiking.tail is None else {node.name for node in spiking.tail.nodes}
    fans: dict[str, IntArray] = {}
    for node in network.nodes:
        if node.name in behind or not isinstance(node.layer, (Dense, Conv, ConvTranspose)):
            continue
        source = node.inputs[0]
        met = fan_out(node, network.shapes[source], network.shapes[node.name])
        fans[source] = fans[source] + met if source in fans else met
    return fans


def fan_out(node: Node, shape: tuple[int, ...], after: tuple[int, ...]) -> IntArray:
    """Return how many nonzero weights of a linear layer each number of its input meets, int64, of the input's shape."""
    layer: Any = node.layer
    if isinstance(layer, Dense):
        return np.broadcast_to(np.count_nonzero(layer.weights, axis=1), shape).astype(np.int64)
    # What an input number meets does not depend on the output channel: each group has one for all of its own.
    met_at = (layer.weights != 0).astype(np.float32)
    if isinstance(layer, Conv):
        mask = frozen(met_at.reshape(layer.groups, -1, *met_at.shape[1:]).sum(axis=1))
    else:
        mask = frozen(met_at.sum(axis=1, keepdims=True))
    ones = np.ones((1, layer.groups, *after[1:]), np.float32)
    strides, dilations, groups = layer.strides, layer.dilations, layer.groups
    if isinstance(layer, Conv):  # its adjoint has the same weights; rows that no window reaches are added behind
        reach = [
            (size - 1) * stride + dilation * (k - 1) + 1 - before
            for size, stride, dilation, k, (before, _) in zip(after[1:], strides, dilations, mask.shape[2:], layer.pads)
        ]
        pads = tuple((pad[0], end - size) for pad, end, size in zip(layer.pads, reach, shape[1:]))
        adjoint: Any = ConvTranspose(mask, np.zeros(shape[0], np.float32), strides, dilations, pads, groups)
    else:
        adjoint = Conv(mask, np.zeros(shape[0], np.float32), strides, dilations, layer.pads, groups)
    met: IntArray = np.rint(adjoint(ones)[0]).astype(np.int64)
    return met


def population_state(population: Population, dt: float, shape: tuple[int, ...]) -> _IFState | _LIFState:
    """Return the neurons of a population before the first step, for ``(n_images, *shape)``."""
    if isinstance(population.neuron, LIF):
        return _LIFState(population.neuron, population, dt, shape)
    return _IFState(population.neuron, population, dt, shape)


class _IFState:
    """The equation of `IF`, vectorised."""

    def __init__(self, neuron: IF, population: Population, dt: float, shape: tuple[int, ...]) -> None:
        self._neuron, self._population = neuron, population
        self._retention = np.float32(neuron.retention(dt))
        self.potential = np.array(np.broadcast_to(population.initial_potential, shape), np.float32)

    def keep(self, rows: AnyArray) -> _IFState:
        """Go on with some of the images only."""
        self.potential = self.potential[rows]
        return self

    def step(self, z: FloatArray) -> FloatArray:
        """Advance by one step with the input `z` and return the output."""
        neuron, population, v = self._neuron, self._population, self.potential
        if self._retention != 1:
            v *= self._retention
        v += z
        v += population.bias
        if neuron.max_spikes == 1:
            spikes = (v >= population.threshold).astype(np.float32)
        else:  # as many as bring it under the threshold
            above = np.floor((v - population.threshold) / population.subtracted) + 1
            spikes = np.clip(above, 0, neuron.max_spikes).astype(np.float32)
        output: FloatArray = spikes * population.amplitude
        if neuron.reset == "subtract":
            v -= spikes * population.subtracted
        else:
            v[spikes > 0] = 0
        return output


class _LIFState:
    """The equation of `LIF`, vectorised: the exact solution within a step, with the spike's time inside it."""

    def __init__(self, neuron: LIF, population: Population, dt: float, shape: tuple[int, ...]) -> None:
        self._neuron, self._population, self._dt = neuron, population, dt
        self.potential = np.array(np.broadcast_to(population.initial_potential, shape), np.float32)
        self._refractory = np.zeros(shape, np.float32)

    def keep(self, rows: AnyArray) -> _LIFState:
        """Go on with some of the images only."""
        self.potential, self._refractory = self.potential[rows], self._refractory[rows]
        return self

    def step(self, z: FloatArray) -> FloatArray:
        """Advance by one step with the input `z` and return the output."""
        neuron, dt, v = self._neuron, np.float32(self._dt), self.potential
        tau = np.float32(neuron.tau_rc)
        current = np.float32(neuron.gain) * z + self._population.bias
        self._refractory -= dt
        active = np.clip(dt - self._refractory, 0, dt)  # of the step, s
        v -= (current - v) * np.expm1(-active / tau)
        fired = v > 1
        over, drive = v[fired] - 1, current[fired] - 1
        crossing = dt + tau * np.log1p(-over / drive)  # s since the step began
        np.maximum(v, np.float32(neuron.min_voltage), out=v)
        v[fired] = 0
        self._refractory[fired] = np.float32(neuron.tau_ref) + crossing
        return fired * self._population.amplitude
