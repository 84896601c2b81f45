"""The event-driven simulator: the spikes of the plain one, with work only where a neuron spiked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from numba import get_num_threads

from snnrepro.arrays import pieces
from snnrepro.simulators.event.batch import Batch
from snnrepro.simulators.event.early_exit import early_exit_of
from snnrepro.simulators.event.plan import make_plan
from snnrepro.simulators.event.readout import readout_weights, scores_at
from snnrepro.spiking.run import Progress, Run

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray, IntArray
    from snnrepro.simulators.event.batch import BatchResult
    from snnrepro.simulators.event.plan import Plan
    from snnrepro.spiking.network import SpikingNetwork

_NUMBERS = 2**23
"""Numbers that the values of a batch of images have in all steps (32 MB)."""
_LARGEST_BATCH = 1024
"""Images of a batch: enough that little time passes between the compiled loops."""
_FEWEST_BATCHES = 8
"""Batches that a few images of a small network are cut into, so that several cores have work.

It is not the number of cores: a matrix product of another size is rounded otherwise, and a spike could come or go.
"""

_plans: WeakKeyDictionary[SpikingNetwork, Plan] = WeakKeyDictionary()


def run(
    spiking: SpikingNetwork,
    x: FloatArray,
    steps: tuple[int, ...],
    progress: Progress,
    early_exit: str | float | None = None,
) -> Run:
    """Simulate `x` in batches on all cores; parameters and result as `SpikingNetwork.run`.

    Numba's thread mask says how many cores (``numba.set_num_threads``, NUMBA_NUM_THREADS).
    """
    if spiking not in _plans:
        _plans[spiking] = make_plan(spiking)
    plan, readout = _plans[spiking], readout_weights(spiking, steps)
    stopping = None if early_exit is None else early_exit_of(spiking, plan, steps, early_exit)

    def simulated(batch: FloatArray) -> tuple[BatchResult, IntArray]:
        if stopping is not None:
            return stopping.result(spiking, plan, batch)
        return Batch(spiking, plan, readout, batch).result(), np.full(len(batch), steps[-1], np.int64)

    batches = _batches(x, plan.n_numbers + plan.n_numbers_per_step * steps[-1])
    results, steps_used = [], []
    with ThreadPoolExecutor(get_num_threads()) as pool:
        for batch, (result, used) in zip(batches, pool.map(simulated, batches)):
            results.append(result)
            steps_used.append(used)
            progress(len(batch) / max(len(x), 1))
    return Run(
        steps=steps,
        scores_by_step=scores_at(spiking, np.concatenate([result.readout for result in results])),
        spike_counts={
            name: np.concatenate([result.spike_counts[name] for result in results]) for name in spiking.populations
        },
        n_neurons=spiking.n_neurons,
        synaptic_operations=np.concatenate([result.synaptic_operations for result in results]),
        macs=np.concatenate([result.macs for result in results]),
        stopped_after=None if stopping is None else np.concatenate(steps_used),
    )


def _batches(x: FloatArray, per_image: int) -> list[FloatArray]:
    """Cut images into batches of bounded memory."""
    return pieces(x, per_image, _NUMBERS, min(_LARGEST_BATCH, -(-len(x) // _FEWEST_BATCHES)))
