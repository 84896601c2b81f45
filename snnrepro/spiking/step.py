"""What happens in a time step, by the definition: to neurons, maxima, synapses, the readout; images are vectorised."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.spiking.neurons import IF, LIF, Population
from snnrepro.spiking.run import step_weights

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.network.layers import Layer
    from snnrepro.spiking.network import SpikingNetwork


def population_state(population: Population, dt: float, shape: tuple[int, ...]) -> IFState | LIFState:
    """Return the neurons of a population before the first step, for ``(n_images, *shape)``."""
    if isinstance(population.neuron, LIF):
        return LIFState(population.neuron, population, dt, shape)
    return IFState(population.neuron, population, dt, shape)


class IFState:
    """The equation of `IF`, vectorised."""

    def __init__(self, neuron: IF, population: Population, dt: float, shape: tuple[int, ...]) -> None:
        self._neuron, self._population = neuron, population
        self._retention = np.float32(neuron.retention(dt))
        self.potential = np.array(np.broadcast_to(population.initial_potential, shape), np.float32)

    def keep(self, rows: AnyArray) -> IFState:
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


class LIFState:
    """The equation of `LIF`, vectorised: the exact solution within a step, with the spike's time inside it."""

    def __init__(self, neuron: LIF, population: Population, dt: float, shape: tuple[int, ...]) -> None:
        self._neuron, self._population, self._dt = neuron, population, dt
        self.potential = np.array(np.broadcast_to(population.initial_potential, shape), np.float32)
        self._refractory = np.zeros(shape, np.float32)

    def keep(self, rows: AnyArray) -> LIFState:
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


class RunningMaximum:
    """What the maximum of the inputs so far gains in each step, so that the sum of its gains is the sums' maximum."""

    def __init__(self, layer: Layer, growth: float) -> None:
        self.layer = layer
        self._growth = np.float32(growth)
        self._total: Any = np.float32(0)
        self._largest: Any = np.float32(0)

    def step(self, x: FloatArray) -> FloatArray:
        """Take the inputs of the next step and return the gain."""
        self._total = self._growth * self._total + x
        before, self._largest = self._largest, self.layer(self._total)
        gain: FloatArray = self._largest - self._growth * before
        return gain


class RunningProduct:
    """What the product of the means so far gains in each step, so that the mean of its gains is the means' product.

    Attributes
    ----------
    state : tuple of numpy.ndarray
        The sums of the two, their product, and the sum of the steps' weights, after the steps so far.
    """

    def __init__(self, growth: float, state: tuple[Any, ...] = (np.float32(0),) * 4) -> None:
        self._growth = np.float32(growth)
        self.state = state

    def step(self, a: FloatArray, b: FloatArray) -> FloatArray:
        """Take the inputs of the next step and return the gain."""
        growth, (first, second, before, weight) = self._growth, self.state
        first, second, weight = growth * first + a, growth * second + b, growth * weight + np.float32(1)
        product = first * second / weight
        self.state = first, second, product, weight
        gain: FloatArray = product - growth * before
        return gain


class Lowpass:
    """Nengo's lowpass filter. It has a step of delay: what it gives in a step depends on earlier steps alone."""

    def __init__(self, synapse: float, dt: float) -> None:
        self._decay = np.float32(math.exp(-dt / synapse))
        self._filtered: Any = np.float32(0)

    def step(self, value: FloatArray) -> FloatArray:
        """Take the value of the next step and return the filter's output in it."""
        before = self._filtered
        self._filtered = self._decay * before + (1 - self._decay) * value
        return np.broadcast_to(before, value.shape)


class Readout:
    """The readout over the steps: its weighted mean, or the value of a lowpass filter."""

    def __init__(self, spiking: SpikingNetwork) -> None:
        self._weight = np.float32(1)
        self._ratio = np.float32(step_weights(spiking.growth, 2)[1])
        self._total_weight = np.float32(0)
        self._total: Any = np.float32(0)
        synapse = spiking.readout_synapse
        self._filter = None if synapse is None else Lowpass(synapse, spiking.dt)

    def add(self, value: FloatArray) -> None:
        """Take the value of the next step."""
        if self._filter is not None:
            self._total = self._filter.step(value)
            return
        self._total = self._total + self._weight * value
        self._total_weight = self._total_weight + self._weight
        self._weight = self._weight * self._ratio

    @property
    def value(self) -> FloatArray:
        """What is read out after the steps so far."""
        return np.asarray(self._total if self._filter is not None else self._total / self._total_weight)
