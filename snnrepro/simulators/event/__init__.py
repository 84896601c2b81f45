"""The event-driven simulator: the spikes of the plain one, with work only where a neuron spiked."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numba import get_num_threads

from snnrepro.simulators.event.block import Block
from snnrepro.simulators.event.early_exit import early_exit_of
from snnrepro.simulators.event.plan import make_plan
from snnrepro.simulators.event.readout import readout_weights, scores_at
from snnrepro.spiking.run import Progress, Run

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray, IntArray
    from snnrepro.simulators.event.block import BlockResult
    from snnrepro.simulators.event.plan import Plan
    from snnrepro.spiking.network import SpikingNetwork

_NUMBERS = 2**23
"""Numbers that the values of a block of images have in all steps (32 MB)."""
_LARGEST_BLOCK = 1024
"""Images of a block: enough that little time passes between the compiled loops."""

_plans: WeakKeyDictionary[SpikingNetwork, Plan] = WeakKeyDictionary()


def run(
    spiking: SpikingNetwork, x: FloatArray, steps: tuple[int, ...], progress: Progress, early_exit: Any = None
) -> Run:
    """Simulate `x` in blocks of images on all cores; parameters and result as `snnrepro.spiking.run.simulate`.

    Numba's thread mask says how many cores (``numba.set_num_threads``, NUMBA_NUM_THREADS).
    """
    if spiking not in _plans:
        _plans[spiking] = make_plan(spiking)
    plan, readout = _plans[spiking], readout_weights(spiking, steps)
    stopping = None if early_exit is None else early_exit_of(spiking, plan, steps, early_exit)

    def simulated(block: FloatArray) -> tuple[BlockResult, IntArray]:
        if stopping is not None:
            return stopping.result(spiking, plan, block)
        return Block(spiking, plan, readout, block).result(), np.full(len(block), steps[-1], np.int64)

    n_threads = get_num_threads()
    blocks = _blocks(x, plan.numbers[0] + plan.numbers[1] * steps[-1], n_threads)
    results, steps_used = [], []
    with ThreadPoolExecutor(n_threads) as pool:
        for block, (result, used) in zip(blocks, pool.map(simulated, blocks)):
            results.append(result)
            steps_used.append(used)
            progress(len(block) / max(len(x), 1))
    return Run(
        steps=steps,
        scores_by_step=scores_at(spiking, np.concatenate([result.readout for result in results])),
        spike_counts={
            name: np.concatenate([result.spike_counts[name] for result in results]) for name in spiking.populations
        },
        n_neurons={name: math.prod(spiking.network.shapes[name]) for name in spiking.populations},
        synaptic_operations=np.concatenate([result.synaptic_operations for result in results]),
        macs=np.concatenate([result.macs for result in results]),
        stopped_after=None if stopping is None else np.concatenate(steps_used),
    )


def _blocks(x: FloatArray, per_image: int, n_threads: int) -> list[FloatArray]:
    """Cut images into blocks of bounded memory, small enough that all cores have work until the end."""
    fair = -(-len(x) // (4 * n_threads))
    size = max(1, min(_LARGEST_BLOCK, _NUMBERS // max(per_image, 1), fair))
    return [x[start : start + size] for start in range(0, max(len(x), 1), size)]
