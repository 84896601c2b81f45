"""The plain simulator: every node evaluated in every step, by the definition; slow, and the measure of the others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Mapping

import numpy as np

from snnrepro.arrays import pieces
from snnrepro.network.layers import ReLU
from snnrepro.spiking.network import SpikingNetwork, scores_of
from snnrepro.spiking.run import Progress, Run, step_weights
from snnrepro.spiking.schedule import is_graded, is_maximum, is_running
from snnrepro.spiking.step import Lowpass, Readout, RunningFunction, RunningMaximum, of_sums, population_state
from snnrepro.spiking.synops import fan_outs

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray, IntArray

_NUMBERS = 2**25
"""Numbers that all values of the images simulated together have (128 MB)."""
_NONE: Mapping[str, FloatArray] = {}


def run(spiking: SpikingNetwork, x: FloatArray, steps: tuple[int, ...], progress: Progress) -> Run:
    """Simulate `x` in pieces of bounded memory; parameters and result as `SpikingNetwork.run`."""
    per_image = sum(math.prod(shape) for shape in spiking.network.shapes.values())
    runs = []
    for piece in pieces(x, per_image, _NUMBERS, 1000):
        runs.append(_run(spiking, piece, steps))
        progress(len(piece) / len(x))
    return Run.joined(runs)


def _run(spiking: SpikingNetwork, x: FloatArray, steps: tuple[int, ...]) -> Run:
    """Simulate images all at once, step by step."""
    stepper, readout, driven = Stepper(spiking, x), Readout(spiking), spiking.schedule.driven
    spike_counts = {name: np.zeros(len(x), np.int64) for name in spiking.populations}
    operations, macs = np.zeros(len(x), np.int64), np.zeros(len(x), np.int64)
    fans = fan_outs(spiking)
    for source in fans.keys() - driven:
        macs += _met(stepper.values[source], fans[source])
    scores = []
    for step in range(1, steps[-1] + 1):
        readout.add(stepper.step())
        for name, output in stepper.outputs.items():
            spikes = (output / spiking.populations[name].amplitude).reshape(len(x), -1).sum(axis=1)
            spike_counts[name] += np.rint(spikes).astype(np.int64)
        for source in fans.keys() & driven:
            operations += _met(stepper.values[source], fans[source])
        if step in steps:
            scores.append(scores_of(spiking, readout.value))
    return Run(steps, np.stack(scores, axis=1), spike_counts, spiking.n_neurons, operations, macs)


def _met(values: FloatArray, fan_out: IntArray) -> IntArray:
    met: IntArray = (values != 0).reshape(len(values), -1) @ fan_out.reshape(-1)
    return met


def spike_trains(spiking: SpikingNetwork, x: FloatArray, n_steps: int) -> dict[str, FloatArray]:
    """Return the output of every neuron in every step, ``(n_images, n_steps, *shape)``; for few images only."""
    if spiking.simulated is not spiking:
        return spiking.in_trained_units(spike_trains(spiking.simulated, x, n_steps))
    stepper = Stepper(spiking, x)
    trains: dict[str, list[FloatArray]] = {name: [] for name in spiking.populations}
    for _ in range(n_steps):
        stepper.step()
        for name, train in trains.items():
            train.append(stepper.outputs[name])
    return {name: np.stack(train, axis=1) for name, train in trains.items()}


def mean_outputs(spiking: SpikingNetwork, x: FloatArray) -> dict[str, FloatArray]:
    """Return what every population averages over its steps, and the scores, ``(n_images, *shape)`` by name.

    Of several neurons for an activation it is their mean. Steps count as in the readout: step t by ``growth ** -t``. In
    fixed point, too, they are in the units of the trained network.
    """
    if spiking.simulated is not spiking:
        return spiking.of_activations(mean_outputs(spiking.simulated, x))
    stepper, readout = Stepper(spiking, x, keep=False), Readout(spiking)
    sums = {name: np.zeros((len(x), *spiking.network.shapes[name]), np.float64) for name in spiking.populations}
    weights = step_weights(spiking.growth, spiking.n_steps)
    for weight in weights:
        readout.add(stepper.step())
        for name, output in stepper.outputs.items():
            sums[name] += weight * output
    del stepper
    means = {name: (sums.pop(name) / weights.sum()).astype(np.float32) for name in list(sums)}
    return {**means, spiking.network.nodes[-1].name: scores_of(spiking, readout.value)}


class Stepper:
    """A batch of images in the middle of its presentation.

    Parameters
    ----------
    spiking : SpikingNetwork
        What to simulate.
    x : numpy.ndarray
        float32, ``(n_images, *input_shape)``.
    keep : bool
        Whether all values of the last step can be read; otherwise each is forgotten once nothing later reads it.
    exact : mapping of str to numpy.ndarray
        Populations that give the same numbers in every step, ``(n_images, *shape)``, instead of spikes.

    Attributes
    ----------
    values : dict of str to numpy.ndarray
        Every value in the last step.
    outputs : dict of str to numpy.ndarray
        The output of each population in the last step, before its synapse.
    """

    def __init__(
        self, spiking: SpikingNetwork, x: FloatArray, keep: bool = True, exact: Mapping[str, FloatArray] = _NONE
    ) -> None:
        self.spiking, self._exact = spiking, exact
        network, schedule = spiking.network, spiking.schedule
        self.values: dict[str, FloatArray] = {network.input_name: x}
        self.outputs: dict[str, FloatArray] = {}
        for node in schedule.nodes:  # the image is there in every step: what depends on it alone is computed once
            if node.name not in schedule.driven:
                read = [self.values[name] for name in node.inputs]
                self.values[node.name] = (
                    of_sums(node.layer, np.float32(1), *read) if is_graded(node) else node.layer(*read)
                )
        self._nodes = [node for node in schedule.nodes if node.name in schedule.driven]
        stays = {spiking.readout, *self.values}
        last = {} if keep else {name: node.name for node in self._nodes for name in node.inputs if name not in stays}
        self._done: dict[str, list[str]] = {}  # by node, the values of a step that it is the last to read
        for name, reader in last.items():
            self._done.setdefault(reader, []).append(name)
        self._populations = {
            name: population_state(population, spiking.dt, (len(x), *network.shapes[name]))
            for name, population in spiking.populations.items()
        }
        self._running: dict[str, RunningMaximum | RunningFunction] = {}
        for node in filter(is_running, self._nodes):
            kind = RunningMaximum if is_maximum(node) else RunningFunction
            self._running[node.name] = kind(node.layer, spiking.growth)
        synapse = spiking.synapse
        self._synapses = {} if synapse is None else {name: Lowpass(synapse, spiking.dt) for name in self._populations}

    def step(self) -> FloatArray:
        """Advance by one time step and return the readout's value in it."""
        for node in self._nodes:
            read = [self.values[name] for name in node.inputs]
            if node.name in self._exact:
                value = self._exact[node.name]
            elif isinstance(node.layer, ReLU):
                self.outputs[node.name] = value = self._populations[node.name].step(read[0])
                if self._synapses:
                    value = self._synapses[node.name].step(value)
            elif node.name in self._running:
                value = self._running[node.name].step(*read)
            else:
                value = node.layer(*read)
            self.values[node.name] = value
            for name in self._done.get(node.name, ()):
                del self.values[name]
        return self.values[self.spiking.readout]
