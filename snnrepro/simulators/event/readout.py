"""The readout at the kept steps, from weighted sums over the steps: everything behind the last neurons is linear."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Mapping

import numpy as np

from snnrepro.network.convolve import evaluate_nodes
from snnrepro.network.layers import Affine, Conv, ConvTranspose, Dense, Pad
from snnrepro.simulators.event.values import EventForm, Spikes, numbers_of
from snnrepro.spiking.network import scores_of
from snnrepro.spiking.run import step_weights

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray
    from snnrepro.network.graph import Node
    from snnrepro.network.layers import Layer
    from snnrepro.simulators.event.values import Value
    from snnrepro.simulators.event.weights import Linear
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


@dataclass(frozen=True, eq=False)
class Readout:
    """What is read out, as a linear function of sums over the steps.

    Attributes
    ----------
    name : str
        The value that is read out.
    inputs : tuple of str
        What it is computed from: populations, maxima and values of the image alone.
    nodes : tuple of Node
        The linear nodes from there to the readout, without their constants, but for those of `dense`.
    dense : mapping of str to (Linear, str)
        The dense layers among them, by name, that can be computed from the sums of the spikes of a population.
    constant : numpy.ndarray
        What the constants of all of them give, ``(1, *shape)``.
    """

    name: str
    inputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    dense: Mapping[str, tuple[Linear, str]]
    constant: FloatArray

    @property
    def summed(self) -> frozenset[str]:
        """The values whose sums over the steps are needed."""
        return frozenset({*self.inputs, *(source for _, source in self.dense.values())})

    def value(self, values: Mapping[str, Value], sums: Mapping[str, FloatArray], weights: ReadoutWeights) -> FloatArray:
        """Return what is read out at the kept steps, ``(n_images, n_kept, *shape)``.

        Parameters
        ----------
        values : mapping of str to Value
            What is `summed`, over some steps.
        sums : mapping of str to numpy.ndarray
            See `sum_over_steps`.
        """
        known = {name: _in_shape(values[name], sums[name]) for name in self.inputs}
        for name, (layer, source) in self.dense.items():
            flat_sums = sums[source].reshape(*sums[source].shape[:2], -1)
            known[name] = layer.sums(EventForm(layer.source, layer.segments.width).of(flat_sums))
        n, n_kept = next(iter(known.values())).shape[:2]
        value = known.get(self.name)
        if value is None:
            flat = {name: total.reshape(n * n_kept, *total.shape[2:]) for name, total in known.items()}
            computed = evaluate_nodes(self.nodes, flat)[self.name]
            value = computed.reshape(n, n_kept, *computed.shape[1:])
        shape = (1, n_kept, *[1] * (value.ndim - 2))
        totals = weights.weights.sum(axis=1, dtype=np.float32)
        total = value + totals.reshape(shape) * self.constant[:, np.newaxis]
        mean: FloatArray = total / weights.totals.reshape(shape)
        return mean


def sum_over_steps(value: Value, weights: FloatArray, before: FloatArray | None) -> FloatArray:
    """Return a value's sums by weights ``(n_kept, n_steps)``, added to those of the steps `before`.

    They are ``(n_images, n_kept, *shape)``, for spikes how many there are, in the order of their layout.
    """
    if isinstance(value, Spikes):
        return value.sums(weights, before)
    numbers = numbers_of(value)
    sums: FloatArray = np.matmul(weights, numbers.reshape(*numbers.shape[:2], -1))
    sums = sums.reshape(len(numbers), len(weights), *numbers.shape[2:])
    return sums if before is None else before + sums


def _in_shape(value: Value, sums: FloatArray) -> FloatArray:
    return value.outputs(sums) if isinstance(value, Spikes) else sums


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


def without_constant(layer: Layer) -> Layer:
    """Return the linear part of a layer: without its bias."""
    if isinstance(layer, (Dense, Conv, ConvTranspose)):
        return replace(layer, bias=np.zeros_like(layer.bias))
    if isinstance(layer, Affine):
        return replace(layer, offset=np.zeros_like(layer.offset))
    return replace(layer, value=0.0) if isinstance(layer, Pad) else layer
