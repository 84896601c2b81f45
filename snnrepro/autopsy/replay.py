"""A spiking network simulated again, with some of its layers exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Mapping

import numpy as np

from snnrepro.network.layers import ReLU
from snnrepro.simulators.plain import Stepper
from snnrepro.spiking.network import SpikingNetwork, scores_of
from snnrepro.spiking.neurons import Population
from snnrepro.spiking.run import step_weights
from snnrepro.spiking.step import Readout, population_state

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray

_BEYOND = 1e6
"""An input so many times a neuron's threshold fires it as often as it can."""


@dataclass(frozen=True, eq=False)
class Replay:
    """What a simulation gave.

    Attributes
    ----------
    readout : numpy.ndarray
        What is read out, the correction added, ``(n_images, *shape)``.
    scores : numpy.ndarray
        ``(n_images, *output_shape)``.
    inputs, outputs : dict of str to numpy.ndarray
        By population the mean over the steps of its input, and of what it sends on, ``(n_images, *shape)``; steps count
        as in the readout.
    """

    readout: FloatArray
    scores: FloatArray
    inputs: dict[str, FloatArray]
    outputs: dict[str, FloatArray]


def replayed(spiking: SpikingNetwork, x: FloatArray, exact: Mapping[str, FloatArray] | None = None) -> Replay:
    """Return a simulation in which some populations give the same numbers in every step.

    Parameters
    ----------
    spiking : SpikingNetwork
        What is simulated, for the steps that it was made for.
    x : numpy.ndarray
        Images, ``(n_images, *input_shape)``.
    exact : mapping of str to numpy.ndarray, optional
        By population, what it gives in every step, ``(n_images, *shape)``.
    """
    network = spiking.network
    stepper, readout = Stepper(spiking, x, exact=exact or {}), Readout(spiking)
    weights = step_weights(spiking.growth, spiking.n_steps)
    reads = {node.name: node.inputs[0] for node in network.nodes if isinstance(node.layer, ReLU)}
    reads = {name: source for name, source in reads.items() if name in spiking.populations}
    inputs = {name: np.zeros((len(x), *network.shapes[name]), np.float64) for name in reads}
    outputs = {name: np.zeros_like(one) for name, one in inputs.items()}
    for weight in weights / weights.sum():
        readout.add(stepper.step())
        for name, source in reads.items():
            inputs[name] += weight * stepper.values[source]
            outputs[name] += weight * stepper.values[name]
    read = readout.value if spiking.correction is None else readout.value + spiking.correction
    means = ({name: one.astype(np.float32) for name, one in side.items()} for side in (inputs, outputs))
    return Replay(read, scores_of(spiking, readout.value), *means)


def with_even_input(spiking: SpikingNetwork, name: str, z: FloatArray) -> FloatArray:
    """Return the mean output of a population whose input is `z` in every step, of the shape of `z`."""
    state = population_state(spiking.populations[name], spiking.dt, z.shape)
    weights = step_weights(spiking.growth, spiking.n_steps)
    total = np.zeros(z.shape, np.float64)
    for weight in weights / weights.sum():
        total += weight * state.step(z)
    return total.astype(np.float32)


def most_output(population: Population, dt: float) -> FloatArray:
    """Return the largest mean output that a population's neurons can have, broadcast against the layer's shape."""
    return population.mean_output(_BEYOND * population.threshold, dt)
