"""How many synaptic operations a second this machine could do at most, as a measured limit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit

from snnrepro.simd import add, at, load, splat, store

LANES = 64
ROWS = 288
"""Rows of weights that lie in cache: those of a convolution of 3 x 3 on 32 channels, 74 kB."""
ADDED = 3_000_000
"""Rows that each thread adds in a call."""


@njit(nogil=True)
def _add_rows(weights, index, out, word):
    """Add the rows of `weights` that begin at `index`, as often as the second number of `out` says, in registers."""
    first, second = splat(np.float32(0), word), splat(np.float32(0), word)
    for _ in range(int(out[1])):
        event = 0
        while event < index.size:
            first = add(first, load(weights, at(index, event), word))
            second = add(second, load(weights, at(index, event + 1), word))
            event += 2
    store(out, 0, add(first, second))


class RowAdder:
    """Threads that do nothing but add rows of weights in cache to accumulators in registers."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self.operations = ADDED * LANES * n_threads
        rng = np.random.RandomState(0)
        self._weights = rng.rand(ROWS * LANES).astype(np.float32)
        self._index = (rng.randint(0, ROWS, 1000) * LANES).astype(np.int32)
        self._word = np.empty(0, np.uint64)

    def run(self) -> np.ndarray:
        """Add `operations` weights on all threads, and return the sums of the first."""
        outs = [np.full(LANES, ADDED // len(self._index), np.float32) for _ in range(self.n_threads)]
        with ThreadPoolExecutor(self.n_threads) as pool:
            list(pool.map(lambda out: _add_rows(self._weights, self._index, out, self._word), outs))
        return outs[0]

    def expected(self) -> np.ndarray:
        """Return what `run` must give."""
        rows = self._weights.reshape(ROWS, LANES)[self._index // LANES]
        return rows.sum(axis=0, dtype=np.float64) * (ADDED // len(self._index))
