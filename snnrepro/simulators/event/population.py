"""A population's neurons as the compiled loops read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable

import numpy as np

from snnrepro.simulators.event import kernels
from snnrepro.simulators.event.kernels import IFConstants, LIFConstants
from snnrepro.spiking.neurons import IF, LIF

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.simulators.event.layout import Layout
    from snnrepro.spiking.neurons import Population


@dataclass(frozen=True, eq=False)
class PackedPopulation:
    """A population's neurons in a layout.

    Attributes
    ----------
    loop : callable
        The compiled loop that runs them on given currents: `kernels.fire` or `kernels.fire_lif`.
    constants : IFConstants or LIFConstants
        What the loop is given of them; also the kernels of `gather` where the loop is `kernels.fire`.
    amplitude : numpy.ndarray
        Output of a spike, ``(n_positions or 1, channels)``.
    initial : numpy.ndarray
        The state of an image's neurons before the first step, flat float32.
    """

    layout: Layout
    loop: Callable[..., None]
    constants: IFConstants | LIFConstants
    amplitude: FloatArray
    initial: FloatArray

    @property
    def is_uniform(self) -> bool:
        """Whether a channel's spikes have the same amplitude everywhere."""
        return len(self.amplitude) == 1


def is_compiled(population: Population) -> bool:
    """Whether there is a compiled loop for a population's neurons: with one spike per step at most."""
    return isinstance(population.neuron, LIF) or can_be_fused(population)


def can_be_fused(population: Population) -> bool:
    """Whether a population's neurons can run in the loop that adds up their currents, that of `gather`."""
    return isinstance(population.neuron, IF) and population.neuron.max_spikes == 1


def pack_population(population: Population, dt: float, layout: Layout, current: AnyArray) -> PackedPopulation:
    """Return a population's neurons in `layout`.

    `current` is a constant input besides their own bias, as a layer's: broadcast to its shape, for `IF` neurons only.
    """
    neuron = population.neuron
    amplitude = layout.pack(np.broadcast_to(population.amplitude, layout.shape))
    if np.array_equal(amplitude, np.broadcast_to(amplitude[:1], amplitude.shape)):
        amplitude = amplitude[:1]
    if isinstance(neuron, LIF):
        stride, (initial, bias) = _constants(layout, ((population.initial_potential, 0.0), (population.bias, 0.0)))
        times = (np.float32(dt), np.float32(neuron.tau_rc), np.float32(neuron.tau_ref))
        lif = LIFConstants(np.float32(neuron.gain), *times, np.float32(neuron.min_voltage), stride, initial, bias)
        potentials = np.tile(initial, layout.size // initial.size)
        state = np.concatenate([potentials, np.zeros_like(potentials)])  # and what is left of refractory periods
        return PackedPopulation(layout, kernels.fire_lif, lif, amplitude, state)
    padded = (
        (population.initial_potential, 0.0),
        (population.threshold, np.inf),  # the padding never fires
        (population.subtracted, 0.0),
        (population.bias + current, 0.0),
        *(() if population.unit is None else ((population.unit, 1.0),)),
    )
    stride, flat = _constants(layout, padded)
    retention = np.float32(neuron.retention(dt))
    units = flat[4] if len(flat) > 4 and retention != 1 else np.empty(0, np.float32)
    initial, thresholds, resets, biases = flat[:4]
    to_zero = neuron.reset == "zero"
    constants = IFConstants(retention, to_zero, stride, initial, thresholds, resets, biases, units)
    state = np.tile(constants.initial, layout.size // constants.initial.size)
    return PackedPopulation(layout, kernels.fire, constants, amplitude, state)


def _constants(layout: Layout, padded: tuple[tuple[AnyArray, float], ...]) -> tuple[int, list[FloatArray]]:
    """Return the kernels' `stride` of constants, and each of them flat in a layout.

    `padded` are their values, and that of the padding.
    """
    wide = [layout.pack(np.broadcast_to(values, layout.shape), padding) for values, padding in padded]
    same = all(np.array_equal(values, np.broadcast_to(values[:1], values.shape)) for values in wide)
    flat = [np.ascontiguousarray(values[:1] if same else values).reshape(-1) for values in wide]
    return 0 if same else layout.channels, flat
