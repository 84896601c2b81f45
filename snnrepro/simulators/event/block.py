"""A block of images through all layers, each over all time steps at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnrepro.network.forward import compute
from snnrepro.network.layers import ReLU
from snnrepro.simulators.event.plan import evaluate_nodes
from snnrepro.simulators.event.readout import scores_at
from snnrepro.simulators.plain import population_state
from snnrepro.spiking.prepare import is_maximum

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray, IntArray
    from snnrepro.network.graph import Node
    from snnrepro.simulators.event.plan import Plan
    from snnrepro.simulators.event.readout import ReadoutWeights
    from snnrepro.spiking.spiking_network import SpikingNetwork


@dataclass(frozen=True, eq=False)
class BlockResult:
    """What a block of images gives; as the fields of `Run`."""

    scores: FloatArray
    spike_counts: dict[str, IntArray]
    synaptic_operations: IntArray
    macs: IntArray


def run_block(spiking: SpikingNetwork, plan: Plan, readout: ReadoutWeights, x: FloatArray) -> BlockResult:
    """Simulate a block of images, ``(n_images, *input_shape)``."""
    return _Block(spiking, plan, readout, x).result()


class _Block:
    def __init__(self, spiking: SpikingNetwork, plan: Plan, readout: ReadoutWeights, x: FloatArray) -> None:
        self._spiking, self._plan, self._readout = spiking, plan, readout
        self._n, self._n_steps = len(x), readout.weights.shape[1]
        self._static = evaluate_nodes(plan.static, {spiking.network.input_name: x})
        self._moving: dict[str, FloatArray] = {}
        self._counts: dict[str, IntArray] = {}

    def result(self) -> BlockResult:
        operations, macs = np.zeros(self._n, np.int64), np.zeros(self._n, np.int64)
        for node in self._plan.moving:
            self._moving[node.name] = self._evaluate(node)
        for source, fan in self._plan.fans.items():
            if source in self._static:
                macs += (self._static[source] != 0).reshape(self._n, -1) @ fan.reshape(-1)
            else:
                active = np.count_nonzero(self._moving[source], axis=1).reshape(self._n, -1)
                operations += active @ fan.reshape(-1)
        sums = {name: self._weighted(name) for name in self._plan.frontier}
        scores = scores_at(self._spiking, self._plan, self._readout, sums)
        return BlockResult(scores, self._counts, operations, macs)

    def _weighted(self, name: str) -> FloatArray:
        """Return the weighted sums of a value over the steps, ``(n_images, n_kept, *shape)``."""
        weights = self._readout.weights
        if name in self._static:
            total = weights.sum(axis=1, dtype=np.float32)
            return np.multiply.outer(total, self._static[name]).swapaxes(0, 1)
        value = self._moving[name]
        return np.matmul(weights, value.reshape(*value.shape[:2], -1)).reshape(self._n, len(weights), *value.shape[2:])

    def _over_steps(self, name: str) -> FloatArray:
        """Return a value in all steps, ``(n_images, n_steps, *shape)``."""
        if name in self._moving:
            return self._moving[name]
        value = self._static[name][:, np.newaxis]
        return np.broadcast_to(value, (self._n, self._n_steps, *value.shape[2:]))

    def _evaluate(self, node: Node) -> FloatArray:
        read = [self._over_steps(name) for name in node.inputs]
        if isinstance(node.layer, ReLU):
            return self._fire(node.name, read[0])
        if is_maximum(node):
            return self._gained(node, read[0])
        value = compute(node.layer, *(one.reshape(-1, *one.shape[2:]) for one in read))
        return value.reshape(self._n, self._n_steps, *value.shape[1:])

    def _fire(self, name: str, z: FloatArray) -> FloatArray:
        population = self._spiking.populations[name]
        state = population_state(population, self._spiking.dt, (self._n, *z.shape[2:]))
        output = np.empty(z.shape, np.float32)
        for step in range(self._n_steps):
            output[:, step] = state.step(z[:, step])
        self._counts[name] = np.rint(output / population.amplitude).reshape(self._n, -1).sum(axis=1).astype(np.int64)
        if self._spiking.synapse is not None:
            return _filtered(output, math.exp(-self._spiking.dt / self._spiking.synapse))
        return output

    def _gained(self, node: Node, x: FloatArray) -> FloatArray:
        """Return what the maximum of the inputs so far gains in each step, as the plain simulator does."""
        growth = np.float32(self._spiking.growth)
        total, largest = np.zeros_like(x[:, 0]), np.float32(0)
        gains = []
        for step in range(self._n_steps):
            total = growth * total + x[:, step]
            now = compute(node.layer, total)
            gains.append(now - growth * largest)
            largest = now
        return np.stack(gains, axis=1)


def _filtered(output: FloatArray, decay: float) -> FloatArray:
    """Return spikes behind a synapse: Nengo's lowpass, whose value in a step depends on earlier steps alone."""
    keep = np.float32(decay)
    given = np.zeros_like(output)
    for step in range(1, output.shape[1]):
        given[:, step] = keep * given[:, step - 1] + (1 - keep) * output[:, step - 1]
    return given
