"""How many weights the numbers of a value meet: what a synaptic operation is counted by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snnrepro.simulators.event import kernels
from snnrepro.simulators.event.kernels import Events
from snnrepro.simulators.event.values import Input, Spikes

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray, IntArray, WordArray
    from snnrepro.simulators.event.layout import Layout


class Synops:
    """The weights that each number of a value meets in the linear layers that read it.

    Parameters
    ----------
    fan_out : numpy.ndarray
        int64, of the value's shape.
    source : Input
        The value, in the form that is counted: events only where all numbers meet as many weights.
    """

    def __init__(self, fan_out: IntArray, source: Input) -> None:
        self.source = source
        self._fan_out = fan_out
        self._uniform, self._first = is_uniform(fan_out), int(fan_out.flat[0])
        self._unit = max(1, int(np.gcd.reduce(fan_out, axis=None)))  # often many, the channels of a layer, say
        self._digits: dict[Layout, WordArray] = {}

    def count(self, read: FloatArray | Spikes | Events) -> IntArray:
        """Return the operations over all steps, ``(n_images,)``."""
        if isinstance(read, Events):
            return read.counts() * self._first
        if isinstance(read, Spikes):
            return read.counts * self._first if self._uniform else self._count_spikes(read)
        out = np.empty(len(read), np.int64)
        if len(read):
            kernels.count_met(np.ascontiguousarray(read).reshape(-1), self._fan_out.reshape(-1), out)
        return out

    def _count_spikes(self, spikes: Spikes) -> IntArray:
        layout, (n_images, n_steps) = spikes.population.layout, spikes.masks.shape[:2]
        if layout not in self._digits:
            self._digits[layout] = self._digits_in(layout)
        masks, digits = spikes.masks.reshape(-1), self._digits[layout]
        frame = layout.size // 8  # bytes of a step
        if frame % 8 == 0:  # more bits are counted at once
            masks, digits = masks.view(np.uint64), digits.view(np.uint64)
        out = np.empty(n_images, np.int64)
        kernels.count_synops(masks, n_steps, digits, frame // masks.itemsize, out)
        return out * self._unit

    def _digits_in(self, layout: Layout) -> WordArray:
        """Return the binary digits of how many units a neuron's spike meets, as words of the masks of a layout."""
        units = self._fan_out // self._unit
        digits = np.stack([units >> digit & 1 for digit in range(int(units.max()).bit_length())])
        bits = layout.pack(digits).astype(np.uint8)
        return np.packbits(bits, axis=-1, bitorder="little").view(layout.word).reshape(-1)


def is_uniform(fan_out: IntArray) -> bool:
    """Whether all numbers of a value meet as many weights."""
    return int(fan_out.min()) == int(fan_out.max())
