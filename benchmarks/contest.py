"""Several ways to compute the same, timed in turn, so that other work on the machine meets all of them alike."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable

import numpy as np


@dataclass(frozen=True)
class Contestant:
    """What is timed: on how many images, in how many rounds, after one call that is not."""

    run: Callable[[], object]
    n_images: int
    rounds: int


def contest(contestants: dict[str, Contestant], n_images: int) -> dict[str, np.ndarray]:
    """Return each contestant's seconds in each of its rounds, as if for `n_images`."""
    for one in contestants.values():
        one.run()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(max(one.rounds for one in contestants.values())):
        for name, one in contestants.items():
            if number < one.rounds:
                start = time.perf_counter()
                one.run()
                seconds[name].append((time.perf_counter() - start) * n_images / one.n_images)
    return {name: np.array(times) for name, times in seconds.items()}


def ratio(over: np.ndarray, under: np.ndarray) -> float:
    """Return the median of the ratios of the rounds that both had."""
    rounds = min(len(over), len(under))
    return float(np.median(over[:rounds] / under[:rounds]))


def slope(x: list[float], seconds: list[float]) -> float:
    """Return the slope of a straight line through the logarithms."""
    return float(np.polyfit(np.log(x), np.log(seconds), 1)[0])
