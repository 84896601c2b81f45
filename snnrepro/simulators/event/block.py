"""A block of images through all layers, each over all time steps at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.simulators.event.neurons import Events, Spikes, events_of
from snnrepro.simulators.event.readout import readout_of

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray, IntArray
    from snnrepro.simulators.event.fans import Fan
    from snnrepro.simulators.event.layout import Layout
    from snnrepro.simulators.event.linear import Linear
    from snnrepro.simulators.event.plan import Plan
    from snnrepro.simulators.event.readout import ReadoutWeights
    from snnrepro.spiking.spiking_network import SpikingNetwork


@dataclass(frozen=True, eq=False)
class BlockResult:
    """What a block of images gives: the readout at the kept steps, ``(n_images, n_kept, *shape)``; fields of `Run`."""

    readout: FloatArray
    spike_counts: dict[str, IntArray]
    synaptic_operations: IntArray
    macs: IntArray


class Block:
    """A block of images on its way through the network.

    Parameters
    ----------
    x : numpy.ndarray
        float32, ``(n_images, *input_shape)``.

    Attributes
    ----------
    n, n_steps : int
        Images and steps.
    counts : dict of str to numpy.ndarray
        Spikes of each population so far, int64, ``(n_images,)``.
    """

    def __init__(self, spiking: SpikingNetwork, plan: Plan, readout: ReadoutWeights, x: FloatArray) -> None:
        self.n, self.n_steps = len(x), readout.weights.shape[1]
        self.counts: dict[str, IntArray] = {}
        self._spiking, self._plan, self._readout = spiking, plan, readout
        self._values: dict[str, Any] = {spiking.network.input_name: x[:, np.newaxis]}
        self._events: dict[tuple[str, Layout], Events] = {}
        self._lists: dict[str, Events] = {}

    def result(self) -> BlockResult:
        """Compute everything."""
        for name, action in self._plan.actions.items():
            self._values[name] = value = action.run(self)
            if isinstance(value, Spikes):
                self.counts[name] = value.counts
        operations, macs = np.zeros(self.n, np.int64), np.zeros(self.n, np.int64)
        for name, fan in self._plan.fans.items():
            counted = macs if name in self._plan.static else operations
            counted += self._count(name, fan)
        sums = {name: self._weighted(name) for name in self._plan.frontier}
        sums.update((name, self._direct(*found)) for name, found in self._plan.direct.items())
        return BlockResult(
            readout_of(self._spiking.readout, self._plan, self._readout, sums), self.counts, operations, macs
        )

    def numbers(self, name: str) -> FloatArray:
        """Return a value as numbers, ``(n_images, n_steps or 1, *shape)``."""
        value = self._values[name]
        return value.numbers() if isinstance(value, Spikes) else value

    def events(self, name: str, linear: Linear) -> tuple[Events, int]:
        """Return a value as the events that a linear layer reads, and of how many steps."""
        value = self._values[name]
        if linear.reads_spikes:
            return self._spikes(name), self.n_steps
        key = name, linear.source
        if key not in self._events:
            frames = self.numbers(name)
            self._events[key] = events_of(frames.reshape(-1, *frames.shape[2:]), linear.source)
        return self._events[key], self.n_steps if isinstance(value, Spikes) else value.shape[1]

    def _spikes(self, name: str) -> Events:
        """Return a population's spikes as events, in the order of its neurons."""
        if name not in self._lists:
            self._lists[name] = self._values[name].events()
        return self._lists[name]

    def _count(self, name: str, fan: Fan) -> IntArray:
        """Return how many weights the numbers of a value that are not 0 meet, over all steps, ``(n_images,)``."""
        value = self._values[name]
        if isinstance(value, Spikes):
            counted = fan.count_spikes(value.counts)
            if counted is not None:
                return counted
            return fan.count_events(self._spikes(name), value.neurons.layout, self.n, self.n_steps)
        for (key, layout), events in self._events.items():
            if key == name:
                return fan.count_events(events, layout, self.n, value.shape[1])
        return fan.count_numbers(value)

    def _direct(self, layer: Linear, source: str) -> FloatArray:
        """Return what a dense layer gives, without bias, for the sums of spikes, ``(n_images, n_kept, *shape)``."""
        sums = self._values[source].sums(self._readout.weights)
        n_kept = len(self._readout.weights)
        return layer.sums(events_of(sums.reshape(self.n * n_kept, -1), layer.source), self.n, n_kept)

    def _weighted(self, name: str) -> FloatArray:
        """Return the weighted sums of a value over the steps, ``(n_images, n_kept, *shape)``."""
        weights, value = self._readout.weights, self._values[name]
        if isinstance(value, Spikes):
            return value.outputs(weights)
        if value.shape[1] == 1 and name in self._plan.static:
            weights = weights.sum(axis=1, keepdims=True, dtype=np.float32)
        flat = value.reshape(*value.shape[:2], -1)
        sums: FloatArray = np.matmul(weights, flat).reshape(self.n, len(weights), *value.shape[2:])
        return sums
