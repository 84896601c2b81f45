"""A population as the compiled loops read it, and its spikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.simulators.event import kernels
from snnrepro.spiking.neurons import IF, LIF

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray, IntArray
    from snnrepro.simulators.event.layout import Layout
    from snnrepro.spiking.neurons import Population

_BITS = np.array(
    [[bit for bit in range(8) if byte >> bit & 1] + [0] * (8 - bin(byte).count("1")) for byte in range(256)]
)
_PLACES = np.concatenate([_BITS.reshape(-1), [bin(byte).count("1") for byte in range(256)]]).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Neurons:
    """A population's neurons in a layout.

    Attributes
    ----------
    fire : callable
        The compiled loop that runs them on given currents: `kernels.fire` or `kernels.fire_lif`.
    arguments : tuple
        The loop's `neurons`; also those of the kernels of `gather` where the loop is `kernels.fire`.
    amplitude : numpy.ndarray
        Output of a spike, ``(n_places or 1, channels)``.
    initial : numpy.ndarray
        The state of an image's neurons before the first step, flat float32.
    """

    layout: Layout
    fire: Any
    arguments: tuple[Any, ...]
    amplitude: FloatArray
    initial: FloatArray

    def potentials(self, n: int) -> FloatArray:
        """Return the states of `n` images before the first step, ``(n, numbers)``, as the kernels change them."""
        return np.tile(self.initial, (n, 1))

    @property
    def is_uniform(self) -> bool:
        """Whether a channel's spikes have the same amplitude everywhere."""
        return len(self.amplitude) == 1


def is_compiled(population: Population) -> bool:
    """Whether there is a compiled loop for a population's neurons: with a spike a step at most."""
    return isinstance(population.neuron, LIF) or can_be_fused(population)


def can_be_fused(population: Population) -> bool:
    """Whether a population's neurons can run in the loop that adds up their currents, that of `gather`."""
    return isinstance(population.neuron, IF) and population.neuron.max_spikes == 1


def neurons_of(population: Population, dt: float, layout: Layout, current: AnyArray) -> Neurons:
    """Return a population's neurons in `layout`.

    `current` is a constant input besides their own bias, as a layer's: broadcast to its shape, for `IF` neurons only.
    """
    neuron = population.neuron
    amplitude = layout.inwards(np.broadcast_to(population.amplitude, layout.shape))
    if np.array_equal(amplitude, np.broadcast_to(amplitude[:1], amplitude.shape)):
        amplitude = amplitude[:1]
    if isinstance(neuron, LIF):
        per_place, (initial, bias) = _constants(layout, ((population.initial_potential, 0.0), (population.bias, 0.0)))
        times = (np.float32(dt), np.float32(neuron.tau_rc), np.float32(neuron.tau_ref))
        arguments: tuple[Any, ...] = (
            np.float32(neuron.gain),
            *times,
            np.float32(neuron.min_voltage),
            per_place,
            initial,
            bias,
        )
        potentials = np.tile(initial, layout.size // initial.size)
        state = np.concatenate(
            [potentials, np.zeros_like(potentials)]
        )  # behind them what is left of refractory periods
        return Neurons(layout, kernels.fire_lif, arguments, amplitude, state)
    per_place, constants = _constants(
        layout,
        (
            (population.initial_potential, 0.0),
            (population.threshold, np.inf),  # the padding never fires
            (population.subtracted, 0.0),
            (population.bias + current, 0.0),
        ),
    )
    arguments = (np.float32(neuron.retention(dt)), neuron.reset == "zero", per_place, *constants)
    return Neurons(layout, kernels.fire, arguments, amplitude, np.tile(constants[0], layout.size // constants[0].size))


def _constants(layout: Layout, padded: tuple[tuple[AnyArray, float], ...]) -> tuple[int, list[FloatArray]]:
    """Return constants flat in a layout, and how far those of one place lie from those of the next: 0 if all the same.

    `padded` are their values, and that of the padding.
    """
    wide = [layout.inwards(np.broadcast_to(values, layout.shape), padding) for values, padding in padded]
    same = all(np.array_equal(values, np.broadcast_to(values[:1], values.shape)) for values in wide)
    flat = [np.ascontiguousarray(values[:1] if same else values).reshape(-1) for values in wide]
    return 0 if same else layout.channels, flat


@dataclass(frozen=True, eq=False)
class Events:
    """The numbers of a value that are not 0; fields as the kernel `gather_numbers` reads them."""

    index: AnyArray
    value: FloatArray
    starts: AnyArray

    @property
    def arguments(self) -> tuple[Any, ...]:
        """For the kernel."""
        return (self.index, self.value, self.starts)

    def counts(self, n: int) -> IntArray:
        """Return how many there are in each of `n` images, int64."""
        bounds = self.starts[:: (len(self.starts) - 1) // n] if n else self.starts[:1]
        return np.diff(bounds).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Spikes:
    """The spikes of a block of images.

    Attributes
    ----------
    masks : numpy.ndarray
        Words, ``(n_images, n_steps, n_places, words a place)``.
    counts : numpy.ndarray
        int64, ``(n_images,)``.
    """

    neurons: Neurons
    masks: AnyArray
    counts: IntArray

    @property
    def n_steps(self) -> int:
        """How many steps."""
        return int(self.masks.shape[1])

    @property
    def words(self) -> AnyArray:
        """The masks, flat, in words of 32 bits at most: there are fewer kinds of loops to compile."""
        words: AnyArray = self.masks.reshape(-1)
        return words.view(np.uint32) if words.dtype.itemsize > 4 else words

    def sums(self, weights: FloatArray, before: FloatArray | None = None) -> FloatArray:
        """Return the spikes added up by weights ``(n_sums, n_steps)``: ``(n_images, n_sums, n_places, channels)``.

        They are added to the sums of the steps `before`, in place, where there are some.
        """
        n_images, n_steps, n_places, words = self.masks.shape
        shape = (n_images, len(weights), n_places, words * self.neurons.layout.lanes)
        total = np.zeros(shape, np.float32) if before is None else before
        sizes = (n_images, n_steps, n_places * words, len(weights))
        kernels.weighted_sums(
            self.masks.reshape(-1), np.ascontiguousarray(weights).reshape(-1), sizes, total.reshape(-1)
        )
        return total

    def numbers(self) -> FloatArray:
        """Return the output in every step, in the layer's own shape, ``(n_images, n_steps, *shape)``."""
        n_images, n_steps, n_places, words = self.masks.shape
        out = np.empty((n_images, n_steps, n_places, words * self.neurons.layout.lanes), np.float32)
        kernels.outputs(self.masks.reshape(-1), self.neurons.amplitude.reshape(-1), self.masks.size, out.reshape(-1))
        return self.neurons.layout.outwards(out)

    def outputs(self, sums: FloatArray) -> FloatArray:
        """Return what sums of spikes give, in the layer's own shape, ``(n_images, n_sums, *shape)``."""
        return self.neurons.layout.outwards(sums * self.neurons.amplitude)


def events_of(values: FloatArray, layout: Layout, width: int) -> Events:
    """Return the numbers that are not 0 of values ``(n_frames, *shape)``, in rows of `width` places."""
    last = np.moveaxis(values, 1 + layout.axis, -1)
    flat = np.ascontiguousarray(last).reshape(-1)
    n_rows = len(values) * layout.n_places // width
    index, value = np.empty(flat.size + 33, np.int32), np.empty(flat.size + 33, np.float32)
    starts = np.empty(n_rows * width + 1, np.int32)
    channels = layout.shape[layout.axis]
    kernels.events_of_values(flat, n_rows, width, channels, layout.channels, _PLACES, index, value, starts)
    return Events(index, value, starts)
