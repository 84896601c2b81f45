"""The readout at the kept steps, from weighted sums of spikes: everything behind the last neurons is linear."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnrepro.spiking.run import step_weights
from snnrepro.spiking.spiking_network import scores_of

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray
    from snnrepro.simulators.event.plan import Plan
    from snnrepro.spiking.spiking_network import SpikingNetwork

from snnrepro.simulators.event.plan import evaluate_nodes


@dataclass(frozen=True, eq=False)
class ReadoutWeights:
    """How much each step counts in the readout at each kept step.

    Attributes
    ----------
    weights : numpy.ndarray
        float32, ``(n_kept, n_steps)``.
    totals : numpy.ndarray
        float32, ``(n_kept,)``: what the weighted sum is divided by; 1 where the readout is filtered.
    """

    weights: FloatArray
    totals: FloatArray


def readout_weights(spiking: SpikingNetwork, steps: tuple[int, ...]) -> ReadoutWeights:
    """Return the weights of the readout, by the same float32 recursion as the plain simulator's."""
    n_steps = steps[-1]
    by_step = np.zeros(n_steps, np.float32)
    weights = np.zeros((len(steps), n_steps), np.float32)
    if spiking.readout_synapse is not None:  # a step of delay: the value given depends on the steps before alone
        decay = np.float32(math.exp(-spiking.dt / spiking.readout_synapse))
        for step in range(1, n_steps + 1):
            if step in steps:
                weights[steps.index(step)] = by_step
            by_step *= decay
            by_step[step - 1] = 1 - decay
        return ReadoutWeights(weights, np.ones(len(steps), np.float32))
    by_step[0], ratio = 1, np.float32(step_weights(spiking.growth, 2)[1])
    for step in range(1, n_steps):
        by_step[step] = by_step[step - 1] * ratio
    for row, step in enumerate(steps):
        weights[row, :step] = by_step[:step]
    return ReadoutWeights(weights, np.cumsum(by_step, dtype=np.float32)[np.array(steps) - 1])


def scores_at(spiking: SpikingNetwork, plan: Plan, readout: ReadoutWeights, sums: dict[str, FloatArray]) -> FloatArray:
    """Return the scores at the kept steps, ``(n_images, n_kept, *output_shape)``.

    Parameters
    ----------
    sums : dict of str to numpy.ndarray
        The weighted sums over the steps of every value of the frontier, ``(n_images, n_kept, *shape)``.
    """
    n, n_kept = next(iter(sums.values())).shape[:2]
    flat = {name: total.reshape(n * n_kept, *total.shape[2:]) for name, total in sums.items()}
    value = evaluate_nodes(plan.region, flat)[spiking.readout]
    shape = (1, n_kept, *[1] * (value.ndim - 1))
    value = value.reshape(n, n_kept, *value.shape[1:])
    value = value + readout.weights.sum(axis=1, dtype=np.float32).reshape(shape) * plan.constant[:, np.newaxis]
    value = value / readout.totals.reshape(shape)
    scores = scores_of(spiking, value.reshape(n * n_kept, *value.shape[2:]))
    return scores.reshape(n, n_kept, *scores.shape[1:])
