"""Times that a busy machine does not spoil unnoticed: taken in turn, and with how far repeats lie apart."""

from __future__ import annotations

import math
import time
from typing import Callable, Mapping, Sequence

_COUNTS_FROM = 0.1
"""Share of the longest time from which on the repeats of a time matter to a trend."""


def timed_in_turn(
    work: Callable[[int], object],
    sizes: Sequence[int],
    n_rounds: int,
    clock: Callable[[], float] = time.process_time,
    round_done: Callable[[], None] = lambda: None,
) -> dict[int, list[float]]:
    """Time `work` for each size in turn, round by round, so that what else the machine does meets all of them.

    Parameters
    ----------
    work : callable
        Called with a size.
    sizes : sequence of int
        Of the work, such as numbers of time steps.
    n_rounds : int
        Rounds that count; one more before them does not: it traces graphs and fills caches.
    clock : callable
        In seconds: the CPU time of this process, which other processes hardly change, if left out.
    round_done : callable
        Called after each round.

    Returns
    -------
    dict of int to list of float
        Seconds by size, one per round.

    Examples
    --------
    >>> from snnrepro.thesis.timing import timed_in_turn
    >>> {size: len(times) for size, times in timed_in_turn(range, [1, 60], n_rounds=3).items()}
    {1: 3, 60: 3}
    """
    times: dict[int, list[float]] = {size: [] for size in sizes}
    for round_ in range(-1, n_rounds):
        for size in sizes:
            start = clock()
            work(size)
            if round_ >= 0:
                times[size].append(clock() - start)
        round_done()
    return times


def spread_of(times: Mapping[int, Sequence[float]]) -> float:
    """Return how far the fastest third of the repeats lies apart, over the fastest of them, at the worst size.

    Other work on the machine can only add time, so it is the fastest that counts, if others come near it. Sizes that
    take less than a tenth of the longest say nothing about a trend. Infinite where nothing was repeated.
    """
    longest = max(min(repeats) for repeats in times.values())
    return max(_spread(repeats) for repeats in times.values() if min(repeats) >= _COUNTS_FROM * longest)


def _spread(repeats: Sequence[float]) -> float:
    if len(repeats) < 2 or min(repeats) <= 0:
        return math.inf
    ordered = sorted(repeats)
    return ordered[max(math.ceil(len(repeats) / 3), 2) - 1] / ordered[0] - 1
