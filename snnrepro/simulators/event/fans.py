"""How many weights the numbers of a value meet: what a synaptic operation is counted by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snnrepro.simulators.event import kernels

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, IntArray
    from snnrepro.simulators.event.layout import Layout
    from snnrepro.simulators.event.neurons import Events, Spikes


class Fan:
    """The weights that each number of a value meets in the linear layers that read it.

    Parameters
    ----------
    met : numpy.ndarray
        int64, of the value's shape.
    """

    def __init__(self, met: IntArray) -> None:
        self._met = met
        lowest, highest = int(met.min()), int(met.max())
        self._every = lowest if lowest == highest else None
        self._runs: dict[Layout, tuple[IntArray, IntArray] | None] = {}

    def count_numbers(self, values: AnyArray, events: Events | None) -> IntArray:
        """Return the operations of values ``(n_images, n_steps, *shape)``, ``(n_images,)``; `events` if there are."""
        if self._every is not None and events is not None:
            return events.counts(len(values)) * self._every
        active: IntArray = np.count_nonzero(values, axis=1).reshape(len(values), -1)
        return active @ self._met.reshape(-1)

    def count_spikes(self, spikes: Spikes) -> IntArray:
        """Return the operations of the spikes of some images, ``(n_images,)``."""
        if self._every is not None:
            return spikes.counts * self._every
        layout, (n, n_steps, _, words) = spikes.neurons.layout, spikes.masks.shape
        if layout not in self._runs:
            self._runs[layout] = self._runs_of(layout)
        runs = self._runs[layout]
        if runs is None:
            n_spikes = spikes.sums(np.ones((1, n_steps), np.float32))[:, 0]
            counted: IntArray = np.einsum("npc,pc->n", n_spikes, layout.inwards(self._met), dtype=np.float64)
            return counted.astype(np.int64)
        out = np.empty(n, np.int64)
        kernels.operations(spikes.masks.reshape(-1), n_steps, words, *runs, out)
        return out

    def _runs_of(self, layout: Layout) -> tuple[IntArray, IntArray] | None:
        """Return where runs of places with the same number begin, and the number of each; None if channels differ."""
        channels = layout.inwards(self._met)[:, : layout.shape[layout.axis]].astype(np.int64)
        if not (channels == channels[:, :1]).all():
            return None
        starts = np.flatnonzero(np.diff(channels[:, 0], prepend=-1))
        return np.append(starts, layout.n_places), channels[starts, 0]
