"""How many weights the numbers of a value meet: what a synaptic operation is counted by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snnrepro.simulators.event import kernels

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, IntArray
    from snnrepro.simulators.event.layout import Layout
    from snnrepro.simulators.event.neurons import Events


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
        self._ordered: dict[Layout, tuple[IntArray, bool]] = {}

    def count_spikes(self, counts: IntArray) -> IntArray | None:
        """Return the operations of so many spikes, where all meet the same number of weights; otherwise None."""
        return None if self._every is None else counts * self._every

    def count_numbers(self, values: AnyArray) -> IntArray:
        """Return the operations of values ``(n_images, n_steps, *shape)``, ``(n_images,)``."""
        active: IntArray = np.count_nonzero(values, axis=1).reshape(len(values), -1)
        return active @ self._met.reshape(-1)

    def count_events(self, events: Events, layout: Layout, n: int, n_steps: int) -> IntArray:
        """Return the operations of the events of `n` images in `n_steps` steps, ``(n,)``."""
        if layout not in self._ordered:
            self._ordered[layout] = self._in_order(layout)
        fan, by_place = self._ordered[layout]
        out = np.zeros(n, np.int64)
        if by_place:
            kernels.operations(events.starts, fan, n, n_steps, out)
        else:
            sizes = (n, n_steps, layout.n_rows, layout.width, layout.channels)
            kernels.operations_of_each(events.index, events.starts, fan, sizes, out)
        return out

    def _in_order(self, layout: Layout) -> tuple[IntArray, bool]:
        """Return the numbers in the order of a layout, one a place where its channels all have the same."""
        channels = layout.inwards(self._met).astype(np.int64)
        real = channels[:, : layout.shape[layout.axis]]
        by_place = bool((real == real[:, :1]).all())
        return (real[:, 0].copy() if by_place else channels.reshape(-1)), by_place
