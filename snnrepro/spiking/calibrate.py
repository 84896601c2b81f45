"""Thresholds from data: each channel's neurons are fitted to what the trained network answers, layer after layer.

The layers are fitted in order, each on the spikes that the fitted layers before it give, so that a later layer makes up
for the errors of an earlier one. Only the neurons' constants and a constant at the readout are chosen; weights and
biases stay as trained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.network.convolve import convolve
from snnrepro.network.layers import ReLU
from snnrepro.spiking.neurons import IF, Population
from snnrepro.spiking.run import step_weights
from snnrepro.spiking.schedule import is_maximum
from snnrepro.spiking.step import population_state

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.network.graph import Node
    from snnrepro.spiking.recipes import Recipe
    from snnrepro.spiking.run import Progress
    from snnrepro.spiking.schedule import Schedule

_NUMBERS = 2**25
"""Numbers that the largest layer's steps should have, all images together (128 MB): more images take longer."""
_FEWEST_IMAGES = 256
_MOST_NUMBERS = 2**28
"""The same with the fewest images that make a calibration reliable (1 GB); beyond, fewer still are used."""
_SAMPLES = 4096
"""Image positions that a channel is fitted on."""


@dataclass(frozen=True, eq=False)
class Calibrated:
    """What calibration chose, on so many images: populations by rectifier, and a constant for the readout.

    `correction` is the mean error of the readout without it, `error` the mean squared one with it.
    """

    populations: dict[str, Population]
    correction: FloatArray
    error: float
    n_images: int


def calibrate(
    schedule: Schedule,
    recipe: Recipe,
    neuron: IF,
    x: FloatArray,
    n_steps: int,
    progress: Progress = lambda _: None,
) -> Calibrated:
    """Fit every population to the trained network's activations on unlabelled images.

    Parameters
    ----------
    schedule : Schedule
        The network, as `prepare` gives it.
    recipe : Recipe
        How the constants of the neurons of each channel are chosen.
    neuron : IF
        The model of all neurons.
    x : numpy.ndarray
        Calibration images, ``(n_images, *input_shape)``; as many of them are used as half a gigabyte holds.
    n_steps : int
        How many steps the network will run.
    progress : callable
        Called with the fraction of the work done since the last call.

    Returns
    -------
    Calibrated
        For each rectifier a population with one constant per channel (axis 0 of its shape).
    """
    network, readout = schedule.network, schedule.readout
    largest = max(math.prod(shape) for shape in network.shapes.values())
    fewest = min(_FEWEST_IMAGES, _MOST_NUMBERS // (largest * n_steps))
    x = x[: max(_NUMBERS // (largest * n_steps), fewest, 8)]
    weights = step_weights(neuron.growth, n_steps)
    before_tail = {node.name for node in schedule.nodes}
    populations: dict[str, Population] = {}
    # In all steps at once, (n_steps, n_images, *shape); one step of what is the same in each.
    values: dict[str, FloatArray] = {network.input_name: x[np.newaxis]}
    for node, (_, trained) in zip(network.nodes, network.activations(x)):
        progress(1 / len(network.nodes))
        if node.name == readout:
            answer = trained
        if node.name not in before_tail:
            continue
        read = [values[name] for name in node.inputs]
        if isinstance(node.layer, ReLU):
            z = _in_steps(read[0], n_steps)
            populations[node.name] = _population(recipe, neuron, z, trained, weights)
            values[node.name] = _spikes(populations[node.name], z, recipe.dt)
        else:
            values[node.name] = _evaluated(node, read, weights)
        for name in node.inputs:
            if schedule.readers[name][-1] is node and name != readout:
                values.pop(name, None)
    mean = np.average(_in_steps(values[readout], n_steps), axis=0, weights=weights).astype(np.float32)
    missing = answer - mean
    correction = missing.mean(axis=0)
    return Calibrated(populations, correction, float(np.mean((missing - correction) ** 2)), len(x))


def _in_steps(value: FloatArray, n_steps: int) -> FloatArray:
    """Return a value in every step."""
    return np.broadcast_to(value, (n_steps, *value.shape[1:]))


def _evaluated(node: Node, read: list[FloatArray], weights: AnyArray) -> FloatArray:
    """Return the value of a node that has no neurons."""
    n_steps = max(len(value) for value in read)
    read = [_in_steps(value, n_steps) for value in read]
    if not is_maximum(node) or n_steps == 1:
        return _over_steps(node, read)
    # What the maximum of the sums so far gains in each step: as `RunningMaximum`, in all steps at once.
    by_step = weights.astype(np.float32).reshape(-1, *[1] * (read[0].ndim - 1))
    largest = _over_steps(node, [np.cumsum(read[0] * by_step, axis=0, dtype=np.float32)])
    return np.diff(largest, axis=0, prepend=np.zeros_like(largest[:1])) / by_step


def _over_steps(node: Node, read: list[FloatArray]) -> FloatArray:
    n_steps, n_images = read[0].shape[:2]
    value = convolve(node.layer, *(np.ascontiguousarray(x).reshape(-1, *x.shape[2:]) for x in read))
    return value.reshape(n_steps, n_images, *value.shape[1:])


def _population(recipe: Recipe, neuron: IF, z: FloatArray, trained: FloatArray, weights: AnyArray) -> Population:
    """Return a layer's neurons, fitted per channel to samples of what they read and what they should give.

    `z` are the input currents, ``(n_steps, n_images, n_channels, ...)``; `trained` the activations, without the steps.
    """
    from snnrepro.spiking.fit import constants_of

    channels, n_positions = trained.shape[1], math.prod(trained.shape[2:])
    image, position = np.divmod(_samples(len(trained) * n_positions), n_positions)
    inputs = z.reshape(*z.shape[:3], n_positions)[:, image, :, position]  # (samples, steps, channels)
    targets = trained.reshape(*trained.shape[:2], n_positions)[image, :, position]
    fitted = constants_of(
        recipe,
        np.ascontiguousarray(inputs.transpose(2, 1, 0)),
        np.ascontiguousarray(targets.T),
        neuron.retention(recipe.dt),
        weights,
    )
    shape = (channels, *[1] * (trained.ndim - 2))
    return Population(neuron, **{name: values.reshape(shape) for name, values in fitted._asdict().items()})


def _samples(total: int) -> Any:
    """Return which of all images' positions are used, evenly spread so that all of them take part."""
    if total <= _SAMPLES:
        return np.arange(total)
    return np.random.RandomState(0).choice(total, _SAMPLES, replace=False)


def _spikes(population: Population, z: FloatArray, dt: float) -> FloatArray:
    """Return the output in every step, ``(n_steps, n_images, *shape)``."""
    # The bias is added to the inputs, not to the potential: sums in another order would round otherwise.
    state = population_state(replace(population, bias=np.zeros((), np.float32)), dt, z.shape[1:])
    output = np.empty(z.shape, np.float32)
    for step, current in enumerate(z):
        output[step] = state.step(current + population.bias)
    return output
