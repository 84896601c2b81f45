"""Images that stop before the last step: when their answer is certain, or far enough ahead."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Callable

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.network.convolve import evaluate_nodes
from snnrepro.network.layers import Softmax
from snnrepro.network.task import task_of
from snnrepro.simulators.event.batch import Batch, BatchResult, Resumable
from snnrepro.simulators.event.builder import readout_nodes
from snnrepro.simulators.event.readout import ReadoutWeights, readout_weights, without_constant

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray, IntArray
    from snnrepro.simulators.event.plan import Plan
    from snnrepro.spiking.network import SpikingNetwork

Rule = Callable[["FloatArray", int], "AnyArray"]
"""Says for the readouts ``(n_images, n_classes)`` after so many steps which images stop, bool ``(n_images,)``."""

_ROUNDING = 1e-5
"""How far a lead may be off through rounding, as a share of the largest score."""
_SMALLEST_LEAD = 1e-6
"""A softmax gives less the same score."""
_UNITS = 256
"""Neurons whose share in the readout is computed together."""


def checks(n_steps: int) -> tuple[int, ...]:
    """Return the steps after which images may stop: every other one, from the eighth on every quarter more; the last.

    Each of them costs as much as a step of a small network: what the loops keep at hand is left and read again.
    """
    steps = [min(2, n_steps)]
    while steps[-1] < n_steps:
        steps.append(min(n_steps, steps[-1] + max(2, steps[-1] // 4)))
    return tuple(steps)


@dataclass(frozen=True, eq=False)
class EarlyExit:
    """After which steps images may stop, and which of them do."""

    readouts: tuple[tuple[int, ReadoutWeights], ...]
    rule: Rule

    def result(self, spiking: SpikingNetwork, plan: Plan, x: FloatArray) -> tuple[BatchResult, IntArray]:
        """Simulate a batch of images, each until it stops, and return in which step it did, int64, ``(n_images,)``."""
        resumable, left = Resumable(len(x)), np.arange(len(x))
        whole: BatchResult | None = None
        steps = np.zeros(len(x), np.int64)
        for step, readout in self.readouts:
            part = Batch(spiking, plan, readout, x if whole is None else None, resumable).result()
            if whole is None:
                whole = part
            else:
                _join(whole, part, left)
            steps[left] = step
            goes_on = ~self.rule(part.readout[:, 0], step)
            if not goes_on.any():
                break
            if not goes_on.all():
                left = left[goes_on]
                resumable.select(goes_on)
        if whole is None:
            raise ValueError("there are no steps")
        return whole, steps


def _join(whole: BatchResult, part: BatchResult, images: IntArray) -> None:
    """Write the readout of more steps of some images, and add what was counted in them."""
    whole.readout[images] = part.readout
    for name, counts in part.spike_counts.items():
        whole.spike_counts[name][images] += counts
    whole.synaptic_operations[images] += part.synaptic_operations


def early_exit_of(spiking: SpikingNetwork, plan: Plan, steps: tuple[int, ...], early_exit: str | float) -> EarlyExit:
    """Return the early exit that `SpikingNetwork.run` describes, or refuse it.

    Raises
    ------
    ModelError
        The network, the kept steps or `early_exit` do not permit it; what is accepted is named.
    """
    problem = _problem(spiking, plan, steps, early_exit)
    if problem:
        raise ModelError(f"early_exit={early_exit!r}: {problem}")
    readouts = tuple((step, readout_weights(spiking, (step,))) for step in checks(steps[-1]))
    rule = _certain(spiking, plan, steps[-1]) if early_exit == "certain" else _margin(spiking, float(early_exit))
    return EarlyExit(readouts, rule)


def _problem(spiking: SpikingNetwork, plan: Plan, steps: tuple[int, ...], early_exit: str | float) -> str:
    """Return what does not permit an early exit, or nothing."""
    number = isinstance(early_exit, (int, float)) and not isinstance(early_exit, bool) and 0 < early_exit < math.inf
    if not number and not (isinstance(early_exit, str) and early_exit == "certain"):
        return "it is None, 'certain', or a margin above 0"
    if len(steps) > 1:
        return f"it keeps the scores of the last step alone, not those of {list(steps)}: leave out keep_steps"
    if spiking.synapse is not None or spiking.readout_synapse is not None:
        return "the network must have no synapse and no readout synapse"
    shape = spiking.network.shapes[spiking.readout]
    behind = () if spiking.tail is None else spiking.tail.nodes
    task = task_of(spiking.network, spiking.task).name
    if task != "classes" or len(shape) != 1 or any(not isinstance(node.layer, Softmax) for node in behind):
        return (
            f"the network must give scores of two or more classes, or their softmax; its readout is {shape}, its task "
            f"{task!r}"
        )
    if early_exit == "certain" and not set(plan.readout.inputs) <= set(spiking.populations):
        others = sorted(set(plan.readout.inputs) - set(spiking.populations))
        return f"the readout must be a linear function of spikes alone, and reads {others}; a margin is accepted"
    return ""


def _margin(spiking: SpikingNetwork, margin: float) -> Rule:
    correction = _by_class(spiking.correction)

    def stops(readout: FloatArray, step: int) -> AnyArray:
        scores = _by_class(readout) + correction
        best = scores.max(axis=0)
        scores[scores.argmax(axis=0), np.arange(len(readout))] = -np.inf
        ahead: AnyArray = best - scores.max(axis=0) >= margin
        return ahead

    return stops


def _certain(spiking: SpikingNetwork, plan: Plan, n_steps: int) -> Rule:
    """Return which images have a class whose lead no spikes of the steps that remain can make up for.

    In every step that remains each neuron spikes or not, as often as it may. What that gives class c over class b is
    most where those neurons spike whose weight to c is larger.
    """
    gains = largest_gains(spiking).T
    silent = _by_class(plan.readout.constant)  # the readout in a step without spikes
    weights = readout_weights(spiking, (n_steps,)).weights[0].astype(np.float64)
    correction = _by_class(spiking.correction)

    def stops(readout: FloatArray, step: int) -> AnyArray:
        rest = weights[step:].sum() / weights.sum()
        mean = _by_class(readout)
        final = (1 - rest) * mean + rest * silent + correction  # if no neuron spikes any more
        images, leader = np.arange(len(readout)), final.argmax(axis=0)
        needed = _ROUNDING * np.abs(final).max(axis=0) + _SMALLEST_LEAD
        others = final + rest * gains[:, leader]
        others[leader, images] = -np.inf
        certain: AnyArray = final[leader, images] - others.max(axis=0) > needed
        certain &= (mean + correction).argmax(axis=0) == leader
        return certain

    return stops


def _by_class(scores: FloatArray | None) -> AnyArray:
    """Return scores ``(..., n_classes)`` as ``(n_classes, n_images)``, float64: NumPy compares rows faster; or 0."""
    return np.zeros((1, 1)) if scores is None else np.array(np.atleast_2d(scores).T, np.float64, order="C")


def largest_gains(spiking: SpikingNetwork) -> AnyArray:
    """Return by how much spikes can raise the readout of class c over that of class b in a step, ``[b, c]``, float64.

    ``(n_classes, n_classes)``; the constants of the readout are left out.
    """
    shapes = spiking.network.shapes
    nodes = [replace(node, layer=without_constant(node.layer)) for node in readout_nodes(spiking.schedule)]
    read = {name for node in nodes for name in node.inputs} & set(spiking.populations) or {spiking.readout}
    gains = np.zeros((shapes[spiking.readout][0],) * 2)
    for name in read:
        population = spiking.populations[name]
        amplitude = np.broadcast_to(population.amplitude, shapes[name]).reshape(-1)
        most = amplitude * getattr(population.neuron, "max_spikes", 1)
        for first in range(0, len(most), _UNITS):
            part = most[first : first + _UNITS]
            spikes = np.zeros((len(part), len(most)), np.float32)
            spikes[np.arange(len(part)), first + np.arange(len(part))] = part
            frames = {other: np.zeros((len(part), *shapes[other]), np.float32) for other in read}
            frames[name] = spikes.reshape(-1, *shapes[name])
            raised = evaluate_nodes(nodes, frames)[spiking.readout].astype(np.float64)
            for leader in range(raised.shape[1]):
                gains[leader] += np.maximum(raised - raised[:, leader : leader + 1], 0).sum(axis=0)
    return gains
