"""How many weights the numbers of a value meet: what a synaptic operation is counted by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snnrepro.simulators.event import kernels

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, IntArray
    from snnrepro.simulators.event.layout import Layout
    from snnrepro.simulators.event.neurons import Spikes


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
        self._by_place: dict[Layout, IntArray | None] = {}

    def count_numbers(self, values: AnyArray) -> IntArray:
        """Return the operations of values ``(n_images, n_steps, *shape)``, ``(n_images,)``."""
        active: IntArray = np.count_nonzero(values, axis=1).reshape(len(values), -1)
        return active @ self._met.reshape(-1)

    def count_spikes(self, spikes: Spikes) -> IntArray:
        """Return the operations of the spikes of some images, ``(n_images,)``."""
        if self._every is not None:
            return spikes.counts * self._every
        layout = spikes.neurons.layout
        if layout not in self._by_place:
            self._by_place[layout] = self._of_places(layout)
        n, n_steps, _, words = spikes.masks.shape
        fan = self._by_place[layout]
        if fan is None:
            n_spikes = spikes.sums(np.ones((1, n_steps), np.float32))[:, 0]
            counted: IntArray = np.einsum("npc,pc->n", n_spikes, layout.inwards(self._met), dtype=np.float64)
            return counted.astype(np.int64)
        out = np.empty(n, np.int64)
        kernels.operations(spikes.masks.reshape(-1), fan, n, n_steps, words, out)
        return out

    def _of_places(self, layout: Layout) -> IntArray | None:
        """Return the number that all channels of a place have, for each place; None where they differ."""
        channels = layout.inwards(self._met)[:, : layout.shape[layout.axis]].astype(np.int64)
        return channels[:, 0].copy() if bool((channels == channels[:, :1]).all()) else None
