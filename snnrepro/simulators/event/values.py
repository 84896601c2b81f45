"""The forms in which the values of a batch of images are handed on: numbers, spikes as bits, events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Union

import numpy as np

from snnrepro.simulators.event import kernels
from snnrepro.simulators.event.kernels import Events

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray, IntArray, WordArray
    from snnrepro.simulators.event.layout import Layout
    from snnrepro.simulators.event.population import PackedPopulation

_BITS = np.array(
    [[bit for bit in range(8) if byte >> bit & 1] + [0] * (8 - bin(byte).count("1")) for byte in range(256)]
)
BITS_OF = np.concatenate([_BITS.reshape(-1), [bin(byte).count("1") for byte in range(256)]]).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Spikes:
    """The spikes of a batch of images.

    Attributes
    ----------
    masks : numpy.ndarray
        Words, ``(n_images, n_steps, n_positions, words per position)``.
    counts : numpy.ndarray
        int64, ``(n_images,)``.
    """

    population: PackedPopulation
    masks: WordArray
    counts: IntArray

    @property
    def words(self) -> WordArray:
        """The masks, flat, in words of 32 bits at most: there are fewer kinds of loops to compile."""
        words = self.masks.reshape(-1)
        return words.view(np.uint32) if words.dtype.itemsize > 4 else words

    def sums(self, weights: FloatArray, before: FloatArray | None = None) -> FloatArray:
        """Return the spikes added up by weights ``(n_sums, n_steps)``: ``(n_images, n_sums, n_positions, channels)``.

        They are added to the sums of the steps `before`, in place, where there are some.
        """
        n_images, _, n_positions, words = self.masks.shape
        shape = (n_images, len(weights), n_positions, self.population.layout.channels)
        total = np.zeros(shape, np.float32) if before is None else before
        flat = np.ascontiguousarray(weights).reshape(-1)
        kernels.weighted_sums(
            self.masks.reshape(-1), flat, n_images, n_positions * words, len(weights), total.reshape(-1)
        )
        return total

    def numbers(self) -> FloatArray:
        """Return the output in every step, in the layer's own shape, ``(n_images, n_steps, *shape)``."""
        layout, amplitude = self.population.layout, self.population.amplitude
        out = np.empty((*self.masks.shape[:3], layout.channels), np.float32)
        kernels.outputs(self.masks.reshape(-1), amplitude.reshape(-1), self.masks.size, out.reshape(-1))
        return layout.unpack(out)

    def outputs(self, sums: FloatArray) -> FloatArray:
        """Return what sums of spikes give, in the layer's own shape, ``(n_images, n_sums, *shape)``."""
        return self.population.layout.unpack(sums * self.population.amplitude)


class Outputs(NamedTuple):
    """What neurons give whose spikes are not kept as bits: their output in every step, and how many spikes it was.

    `output` is float32, ``(n_images, n_steps, *shape)``; `counts` int64, ``(n_images,)``.
    """

    output: FloatArray
    counts: IntArray

    def numbers(self) -> FloatArray:
        """Return the output in every step."""
        return self.output


Value = Union["FloatArray", Spikes, Outputs]
"""What a stage gives: of a population its spikes or outputs, else ``(n_images, n_steps or 1, *shape)``, float32."""


def numbers_of(value: Value) -> FloatArray:
    """Return a value as numbers, ``(n_images, n_steps or 1, *shape)``."""
    return value.numbers() if isinstance(value, (Spikes, Outputs)) else value


class EventForm(NamedTuple):
    """How events are listed: those of a value in `layout`, in rows of `width` positions."""

    layout: Layout
    width: int

    def of(self, numbers: FloatArray) -> Events:
        """Return the numbers that are not 0 of a value ``(n_images, n_steps, *shape)``."""
        layout, (n_images, n_steps) = self.layout, numbers.shape[:2]
        flat = np.ascontiguousarray(np.moveaxis(numbers, 2 + layout.axis, -1)).reshape(-1)
        n_positions = n_images * n_steps * layout.n_positions
        indices, values = np.empty(flat.size + 33, np.int32), np.empty(flat.size + 33, np.float32)
        starts = np.empty(n_positions + 1, np.int32)
        channels = layout.shape[layout.axis]
        n_rows = n_positions // self.width
        kernels.list_events(flat, n_rows, self.width, channels, layout.channels, BITS_OF, indices, values, starts)
        return Events(indices, values, starts, n_images, n_steps)


class Input(NamedTuple):
    """A value by name and the form in which it is read: "numbers", "spikes", or as events."""

    name: str
    form: str | EventForm
