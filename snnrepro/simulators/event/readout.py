"""The readout at the kept steps, from weighted sums of spikes: everything behind the last neurons is linear."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnrepro.simulators.event.plan import evaluate_nodes
from snnrepro.spiking.network import scores_of
from snnrepro.spiking.run import step_weights

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray
    from snnrepro.simulators.event.plan import Plan
    from snnrepro.spiking.network import SpikingNetwork

_NUMBERS = 2**22
"""Numbers of the readout whose scores are computed together (16 MB)."""


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


def readout_of(name: str, plan: Plan, readout: ReadoutWeights, sums: dict[str, FloatArray]) -> FloatArray:
    """Return the value called `name`, what is read out, at the kept steps, ``(n_images, n_kept, *shape)``.

    Parameters
    ----------
    sums : dict of str to numpy.ndarray
        The weighted sums over the steps of all that the region's nodes read, ``(n_images, n_kept, *shape)``.
    """
    n, n_kept = next(iter(sums.values())).shape[:2]
    value = sums.get(name)
    if value is None:
        flat = {known: total.reshape(n * n_kept, *total.shape[2:]) for known, total in sums.items()}
        computed = evaluate_nodes(plan.region, flat)[name]
        value = computed.reshape(n, n_kept, *computed.shape[1:])
    shape = (1, n_kept, *[1] * (value.ndim - 2))
    totals = readout.weights.sum(axis=1, dtype=np.float32)
    mean: FloatArray = (value + totals.reshape(shape) * plan.constant[:, np.newaxis]) / readout.totals.reshape(shape)
    return mean


def scores_at(spiking: SpikingNetwork, readout: FloatArray) -> FloatArray:
    """Return the scores for what was read out, both ``(n_images, n_kept, ...)``; images in pieces of bounded memory."""
    n_kept = readout.shape[1]
    size = max(1, _NUMBERS // max(1, math.prod(readout.shape[1:])))
    pieces = []
    for start in range(0, max(len(readout), 1), size):
        piece = readout[start : start + size]
        scores = scores_of(spiking, piece.reshape(len(piece) * n_kept, *piece.shape[2:]))
        pieces.append(scores.reshape(len(piece), n_kept, *scores.shape[1:]))
    return np.concatenate(pieces)
