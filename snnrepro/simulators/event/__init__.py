"""The event-driven simulator: the spikes of the plain one, with work only where a neuron spiked."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numba import get_num_threads

from snnrepro.simulators.event.block import Block
from snnrepro.simulators.event.plan import make_plan
from snnrepro.simulators.event.readout import readout_weights
from snnrepro.spiking.run import Progress, Run

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray
    from snnrepro.spiking.spiking_network import SpikingNetwork

_NUMBERS = 2**22
"""Numbers that the values of a block of images have in all steps (16 MB)."""


def run(spiking: SpikingNetwork, x: FloatArray, steps: tuple[int, ...], progress: Progress) -> Run:
    """Simulate `x` in blocks of images; parameters and result as `snnrepro.spiking.run.simulate`."""
    network, plan = spiking.network, make_plan(spiking)
    readout = readout_weights(spiking, steps)
    per_image = steps[-1] * sum(math.prod(network.shapes[name]) for name in plan.actions)
    size = max(1, min(1024, _NUMBERS // max(per_image, 1)))
    blocks = [x[start : start + size] for start in range(0, max(len(x), 1), size)]
    results = []
    with ThreadPoolExecutor(get_num_threads()) as pool:
        for block, result in zip(blocks, pool.map(lambda one: Block(spiking, plan, readout, one).result(), blocks)):
            results.append(result)
            progress(len(block) / max(len(x), 1))
    return Run(
        steps=steps,
        scores_by_step=np.concatenate([result.scores for result in results]),
        spike_counts={
            name: np.concatenate([result.spike_counts[name] for result in results]) for name in spiking.populations
        },
        n_neurons={name: math.prod(network.shapes[name]) for name in spiking.populations},
        synaptic_operations=np.concatenate([result.synaptic_operations for result in results]),
        macs=np.concatenate([result.macs for result in results]),
    )
