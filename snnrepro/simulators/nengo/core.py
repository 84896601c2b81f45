"""Nengo's own simulator: slow, one image at a time, in float64; the second opinion on every other one."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.errors import DependencyError
from snnrepro.simulators.nengo.network import build
from snnrepro.spiking.run import Progress, Run

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray
    from snnrepro.spiking.network import SpikingNetwork


def run(spiking: SpikingNetwork, x: FloatArray, steps: tuple[int, ...], progress: Progress) -> Run:
    """Simulate `x` image by image; parameters and result as `SpikingNetwork.run`.

    Raises
    ------
    DependencyError
        Nengo is not installed.
    """
    if importlib.util.find_spec("nengo") is None:
        raise DependencyError("nengo is not installed; run: pip install nengo")
    import nengo

    written = build(spiking, counted=True)
    shown: dict[str, Any] = {}
    written.input.output = lambda t: shown["image"]
    runs = []
    # Not optimized: it would cost more than it saves, and merges operators of neurons that only look alike.
    with nengo.Simulator(written.network, dt=spiking.dt, progress_bar=False, optimize=False) as simulator:
        for image in x:
            shown["image"] = image.reshape(-1).astype(np.float64)
            simulator.reset()
            simulator.run_steps(steps[-1])
            runs.append(written.result(steps, lambda probe: np.asarray(simulator.data[probe])[np.newaxis]))
            progress(1 / len(x))
    return Run.joined(runs)
