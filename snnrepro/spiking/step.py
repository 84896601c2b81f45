"""What happens in a time step, by the definition: to neurons, maxima, synapses, the readout; images are vectorised."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.arrays import nearest_multiple
from snnrepro.network.layers import Multiply
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
            if population.unit is not None:
                v[...] = nearest_multiple(v, population.unit)
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
    """What the maximum of the inputs so far gains in each step, so that the sum of its gains is the sums' maximum.

    `total` is the sum of the inputs so far, a new array in each step.
    """

    def __init__(self, layer: Layer, growth: float) -> None:
        self.layer = layer
        self._growth = np.float32(growth)
        self.total: Any = np.float32(0)
        self._largest: Any = np.float32(0)

    def step(self, x: FloatArray) -> FloatArray:
        """Take the inputs of the next step and return the gain."""
        self.total = self._growth * self.total + x
        before, self._largest = self._largest, self.layer(self.total)
        gain: FloatArray = self._largest - self._growth * before
        return gain


def of_sums(layer: Layer, weight: Any, *sums: FloatArray) -> FloatArray:
    """Return ``weight * layer(sums / weight)``: a function of the means, as a sum; 0 where that is no finite number.

    Parameters
    ----------
    layer : Layer
        What `snnrepro.spiking.schedule.is_graded` says yes to.
    weight : numpy.ndarray
        The sum of the steps' weights, broadcast against the sums.
    *sums : numpy.ndarray
        ``(n_images, *shape)``, the sums over the steps of what it reads.

    Examples
    --------
    >>> import numpy as np
    >>> from snnrepro.network.layers import Divide
    >>> from snnrepro.spiking.step import of_sums
    >>> of_sums(Divide(), np.float32(4), np.float32([[3, 3]]), np.float32([[6, 0]]))
    array([[2., 0.]], dtype=float32)
    """
    if isinstance(layer, Multiply):
        product: FloatArray = sums[0] * sums[1] / weight
        return product
    with np.errstate(all="ignore"):
        total = weight * layer(*(one / weight for one in sums))
    return np.where(np.isfinite(total), total, np.zeros((), total.dtype))


class RunningFunction:
    """What a function of the means so far gains in each step, so that the mean of its gains is that of the means.

    In step t it gives ``W(t) F(S(t) / W(t)) - growth W(t-1) F(S(t-1) / W(t-1))``, S being the sums of what it reads and
    W that of the steps' weights: a product, a quotient, a normalisation.

    Attributes
    ----------
    state : tuple of numpy.ndarray
        The sums of what it reads, what `of_sums` makes of them, and the sum of the steps' weights, after the steps so
        far.

    Examples
    --------
    >>> import numpy as np
    >>> from snnrepro.network.layers import Function
    >>> running = RunningFunction(Function("x * x"), growth=1.0)
    >>> gains = [running.step(np.float32([[x]])).item() for x in (1, 0, 1)]      # of a mean of 2 / 3 after 3 steps
    >>> round(sum(gains) / 3, 3)
    0.444
    """

    def __init__(self, layer: Layer, growth: float, state: tuple[Any, ...] = ()) -> None:
        self.layer, self.state = layer, state
        self._growth = np.float32(growth)

    def step(self, *x: FloatArray) -> FloatArray:
        """Take the inputs of the next step and return the gain."""
        growth = self._growth
        *earlier, before, weight = self.state or (np.float32(0),) * (len(x) + 2)
        sums = [growth * one + new for one, new in zip(earlier, x)]
        weight = growth * weight + np.float32(1)
        total: Any = of_sums(self.layer, weight, *sums)
        self.state = (*sums, total, weight)
        gain: FloatArray = total - growth * before
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
