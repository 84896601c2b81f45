"""A population as the compiled loops read it, and its spikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.simulators.event import kernels
from snnrepro.spiking.neurons import IF

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
    """Integrate-and-fire neurons in a layout.

    Attributes
    ----------
    arguments : tuple
        For the kernels: factor of the potential a step, whether it is reset to zero, how far the constants of one
        place lie from those of the next (0: all places have the same), then the constants, flat float32: initial
        potential, threshold, what a spike subtracts, constant current.
    amplitude : numpy.ndarray
        Output of a spike, ``(n_places or 1, channels)``.
    """

    layout: Layout
    arguments: tuple[Any, ...]
    amplitude: FloatArray

    def potentials(self, n: int) -> FloatArray:
        """Return the potentials of `n` images before the first step, ``(n, neurons)``, as the kernels change them."""
        initial = self.arguments[3]
        return np.tile(initial, (n, self.layout.size // initial.size))

    @property
    def is_uniform(self) -> bool:
        """Whether a channel's spikes have the same amplitude everywhere."""
        return len(self.amplitude) == 1


def is_compiled(population: Population) -> bool:
    """Whether the compiled loops know a population's neurons: integrate-and-fire ones with a spike a step at most."""
    return isinstance(population.neuron, IF) and population.neuron.max_spikes == 1


def neurons_of(population: Population, dt: float, layout: Layout, current: AnyArray) -> Neurons:
    """Return a population's neurons in `layout`, with a constant current (a layer's bias, broadcast to its shape)."""
    neuron = population.neuron
    if not isinstance(neuron, IF):
        raise TypeError(f"no compiled loop for {neuron}")
    wide = [
        layout.inwards(np.broadcast_to(values, layout.shape), padding)
        for values, padding in (
            (population.initial_potential, 0.0),
            (population.threshold, np.inf),  # the padding never fires
            (population.subtracted, 0.0),
            (population.bias + current, 0.0),
        )
    ]
    same = all(np.array_equal(values, np.broadcast_to(values[:1], values.shape)) for values in wide)
    constants = [np.ascontiguousarray(values[:1] if same else values).reshape(-1) for values in wide]
    amplitude = layout.inwards(np.broadcast_to(population.amplitude, layout.shape))
    if np.array_equal(amplitude, np.broadcast_to(amplitude[:1], amplitude.shape)):
        amplitude = amplitude[:1]
    to_zero, per_place = neuron.reset == "zero", 0 if same else layout.channels
    return Neurons(layout, (np.float32(neuron.retention(dt)), to_zero, per_place, *constants), amplitude)


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
