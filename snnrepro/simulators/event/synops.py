"""How many weights the numbers of a value meet: what a synaptic operation is counted by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snnrepro.simulators.event import kernels
from snnrepro.simulators.event.kernels import Events
from snnrepro.simulators.event.values import Input, Spikes
from snnrepro.spiking.exponents import EXACT

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray, IntArray
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
        self._runs: dict[Layout, tuple[IntArray, IntArray] | None] = {}

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
        layout, (n_images, n_steps, _, words) = spikes.population.layout, spikes.masks.shape
        if layout not in self._runs:
            self._runs[layout] = self._runs_of(layout)
        runs, out = self._runs[layout], np.empty(n_images, np.int64)
        if runs is None and layout.n_positions * words * int(self._fan_out.max()) < EXACT:
            fan_out = layout.pack(self._fan_out).reshape(-1)
            kernels.count_synops_of_each(spikes.masks.reshape(-1), n_steps, fan_out, out)
            return out
        if runs is None:
            n_spikes = spikes.sums(np.ones((1, n_steps), np.float32))[:, 0]
            counted: IntArray = np.einsum("npc,pc->n", n_spikes, layout.pack(self._fan_out), dtype=np.float64)
            return counted.astype(np.int64)
        kernels.count_synops(spikes.masks.reshape(-1), n_steps, words, *runs, out)
        return out

    def _runs_of(self, layout: Layout) -> tuple[IntArray, IntArray] | None:
        """Return where runs of positions with the same number begin, and each one's; None if channels differ."""
        channels = layout.pack(self._fan_out)[:, : layout.shape[layout.axis]].astype(np.int64)
        if not (channels == channels[:, :1]).all():
            return None
        starts = np.flatnonzero(np.diff(channels[:, 0], prepend=-1))
        return np.append(starts, layout.n_positions), channels[starts, 0]


def is_uniform(fan_out: IntArray) -> bool:
    """Whether all numbers of a value meet as many weights."""
    return int(fan_out.min()) == int(fan_out.max())
