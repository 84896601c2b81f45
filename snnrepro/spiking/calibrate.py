"""Thresholds from data: each channel's neurons are fitted to what the trained network answers, layer after layer.

The layers are fitted in order, each on the spikes that the fitted layers before it give, so that a later layer makes up
for the errors of an earlier one. Only the neurons' constants and a constant at the readout are chosen; weights and
biases stay as trained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from snnrepro.network.convolve import convolve
from snnrepro.network.layers import ReLU
from snnrepro.spiking.neurons import IF, Population
from snnrepro.spiking.prepare import Prepared, is_maximum, tail_nodes

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.network.graph import Node

    Fit = Callable[[FloatArray, FloatArray, AnyArray], FloatArray]
    """Inputs, targets and step weights to ``(5, n_channels)``, as `snnrepro.spiking.fit.fit_channels`."""

_NUMBERS = 2**25
"""Numbers that the largest layer's steps should have, all images together (128 MB): more images take longer."""
_FEWEST_IMAGES = 256
_MOST_NUMBERS = 2**28
"""The same with the fewest images that make a calibration reliable (1 GB); beyond, fewer still are used."""
_SAMPLES = 4096
"""Image positions that a channel is fitted on."""


@dataclass(frozen=True, eq=False)
class Calibrated:
    """What calibration chose.

    Attributes
    ----------
    populations : dict of str to Population
        By rectifier.
    correction : numpy.ndarray
        The constant for the readout: the mean error without it.
    error : float
        Mean squared error of the readout with it.
    n_images : int
        How many images were used.
    """

    populations: dict[str, Population]
    correction: FloatArray
    error: float
    n_images: int


def calibrate(prepared: Prepared, neuron: IF, dt: float, x: FloatArray, n_steps: int, fit: Fit) -> Calibrated:
    """Fit every population to the trained network's activations on unlabelled images.

    Parameters
    ----------
    prepared : Prepared
        The network.
    neuron : IF
        The model of all neurons.
    dt : float
        Length of a time step, s.
    x : numpy.ndarray
        Calibration images, ``(n_images, *input_shape)``; as many of them are used as half a gigabyte holds.
    n_steps : int
        How many steps the network will run.
    fit : callable
        Chooses the constants of the neurons of each channel.

    Returns
    -------
    Calibrated
        For each rectifier a population with one constant a channel (axis 0 of its shape).
    """
    network = prepared.network
    largest = max(math.prod(shape) for shape in network.shapes.values())
    fewest = min(_FEWEST_IMAGES, _MOST_NUMBERS // (largest * n_steps))
    x = x[: max(_NUMBERS // (largest * n_steps), fewest, 8)]
    weights = neuron.growth ** -np.arange(n_steps, dtype=np.float64)
    behind = {node.name for node in tail_nodes(prepared)}
    steps = Unrolled(network.input_name, x, n_steps, weights)
    populations: dict[str, Population] = {}
    last_use = {name: index for index, node in enumerate(network.nodes) for name in node.inputs}
    for index, (node, (_, wanted)) in enumerate(zip(network.nodes, network.activations(x))):
        if node.name == prepared.readout:
            answer = wanted
        if node.name in behind:
            continue
        if isinstance(node.layer, ReLU):
            z = steps.of(node.inputs[0])
            populations[node.name] = population = _population(neuron, dt, z, wanted, weights, fit)
            steps.put(node.name, _spikes(population, z, neuron.retention(dt)))
        else:
            steps.evaluate(node)
        for name in node.inputs:
            if last_use[name] == index and name != prepared.readout:
                steps.forget(name)
    missing = answer - steps.mean(prepared.readout)
    correction = missing.mean(axis=0)
    return Calibrated(populations, correction, float(np.mean((missing - correction) ** 2)), len(x))


class Unrolled:
    """Values of all time steps at once, ``(n_steps, n_images, *shape)``; one step where they are the same in each.

    Parameters
    ----------
    input_name : str
        The network's input.
    x : numpy.ndarray
        Its value, ``(n_images, *input_shape)``.
    n_steps : int
        How many steps.
    weights : numpy.ndarray
        How much each step counts in a mean, ``(n_steps,)``.
    """

    def __init__(self, input_name: str, x: FloatArray, n_steps: int, weights: AnyArray) -> None:
        self._n_steps, self._weights = n_steps, weights
        self._values: dict[str, FloatArray] = {input_name: x[np.newaxis]}

    def of(self, name: str) -> FloatArray:
        """Return a value in every step."""
        value = self._values[name]
        return np.broadcast_to(value, (self._n_steps, *value.shape[1:]))

    def put(self, name: str, value: FloatArray) -> None:
        """Keep a value of every step."""
        self._values[name] = value

    def forget(self, name: str) -> None:
        """Free a value that nothing reads any more."""
        self._values.pop(name, None)

    def mean(self, name: str) -> FloatArray:
        """Return the weighted mean over the steps, ``(n_images, *shape)``."""
        mean: FloatArray = np.average(self.of(name), axis=0, weights=self._weights).astype(np.float32)
        return mean

    def evaluate(self, node: Node) -> None:
        """Compute a node that has no neurons, in every step."""
        read = [self._values[name] for name in node.inputs]
        n_steps = max(len(value) for value in read)
        read = [np.broadcast_to(value, (n_steps, *value.shape[1:])) for value in read]
        if is_maximum(node) and n_steps > 1:  # what the maximum of the sums so far gains in each step
            weights = self._weights.astype(np.float32).reshape(-1, *[1] * (read[0].ndim - 1))
            largest = _over_steps(node, [np.cumsum(read[0] * weights, axis=0, dtype=np.float32)])
            self._values[node.name] = np.diff(largest, axis=0, prepend=np.zeros_like(largest[:1])) / weights
        else:
            self._values[node.name] = _over_steps(node, read)


def _over_steps(node: Node, read: list[FloatArray]) -> FloatArray:
    n_steps, n_images = read[0].shape[:2]
    given = [np.ascontiguousarray(one).reshape(-1, *one.shape[2:]) for one in read]
    value = convolve(node.layer, *given)
    return value.reshape(n_steps, n_images, *value.shape[1:])


def _population(neuron: IF, dt: float, z: FloatArray, wanted: FloatArray, weights: AnyArray, fit: Fit) -> Population:
    channels, n_places = wanted.shape[1], math.prod(wanted.shape[2:])
    image, place = np.divmod(_positions(len(wanted) * n_places), n_places)
    inputs = z.reshape(*z.shape[:3], n_places)[:, image, :, place]  # (samples, steps, channels): the picked axes first
    targets = wanted.reshape(*wanted.shape[:2], n_places)[image, :, place]
    fitted = fit(np.ascontiguousarray(inputs.transpose(2, 1, 0)), np.ascontiguousarray(targets.T), weights)
    shape = (channels, *[1] * (wanted.ndim - 2))
    amplitude, potential, threshold, subtracted, bias = (numbers.reshape(shape) for numbers in fitted)
    return Population(neuron, threshold, amplitude, potential, bias, subtracted)


def _positions(total: int) -> Any:
    """Return which of the images' positions are used, evenly spread so that all images and places take part."""
    if total <= _SAMPLES:
        return np.arange(total)
    return np.random.RandomState(0).choice(total, _SAMPLES, replace=False)


def _spikes(population: Population, z: FloatArray, retention: float) -> FloatArray:
    """Return the output of `IF` neurons with at most one spike a step, ``(n_steps, n_images, *shape)``."""
    potential = np.array(np.broadcast_to(population.initial_potential, z.shape[1:]), np.float32)
    output = np.empty(z.shape, np.float32)
    for step, current in enumerate(z):
        potential *= np.float32(retention)
        potential += current + population.bias
        fires = potential >= population.threshold
        potential -= fires * population.subtracted
        output[step] = fires * population.amplitude
    return output
