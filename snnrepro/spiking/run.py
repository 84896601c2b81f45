"""What a simulation gives, and the door to every simulator."""

from __future__ import annotations

import importlib
import itertools
import math
import operator
import pickle
from collections import deque
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, Sequence

import numpy as np

from snnrepro.errors import DataError, ModelError
from snnrepro.executors import in_order
from snnrepro.network.task import Task, task_of
from snnrepro.spiking.checks import is_count
from snnrepro.spiking.images import warn_of_unlike
from snnrepro.spiking.parts import in_parts, sample

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from snnrepro.arrays import AnyArray, FloatArray, IntArray
    from snnrepro.spiking.network import SpikingNetwork
    from snnrepro.spiking.parts import Part

Progress = Callable[[float], None]
"""Called with the fraction of the work that was done since the last call."""

SENT_NUMBERS = 2**20
"""Numbers of the images that are sent to a worker together (4 MB): many workers share 10,000 images."""

SIMULATORS = {
    "event": "snnrepro.simulators.event.run",
    "plain": "snnrepro.simulators.plain",
    "nengo": "snnrepro.simulators.nengo.core",
    "nengo-dl": "snnrepro.simulators.nengo.dl",
}
"""Name -> module with a function ``run(spiking, x, steps, progress) -> Run``, `steps` those kept, the last one last."""


@dataclass(frozen=True, eq=False)
class Run:
    """What the spiking network answered.

    Attributes
    ----------
    steps : tuple of int
        The steps (counted from 1) whose scores were kept, ascending.
    scores_by_step : numpy.ndarray
        float32, ``(n_images, len(steps), *output_shape)``.
    spike_counts : mapping of str to numpy.ndarray
        By population, int64, ``(n_images,)``: the spikes of all its neurons over all steps.
    n_neurons : mapping of str to int
        By population.
    synaptic_operations : numpy.ndarray
        int64, ``(n_images,)``: for every input of a linear layer that spikes reach and that is not 0 in a step, the
        weights it meets that are not 0 (NeuroBench's effective synaptic operations, Yik et al. 2023), over all steps.
    macs : numpy.ndarray
        int64, ``(n_images,)``: the same for the layers that read the image; they are computed once, not every step.
    stopped_after : numpy.ndarray or None
        int64, ``(n_images,)``: the step in which each image stopped early; None without early exit. Everything else is
        of the steps until then.
    task : Task or None
        What the scores mean; without one they are those of classes.
    """

    steps: tuple[int, ...]
    scores_by_step: FloatArray
    spike_counts: Mapping[str, IntArray]
    n_neurons: Mapping[str, int]
    synaptic_operations: IntArray
    macs: IntArray
    stopped_after: IntArray | None = None
    task: Task | None = None

    @staticmethod
    def joined(runs: Sequence[Run], n_images: int | None = None) -> Run:
        """Return the runs of several pieces of a batch as one; of its first `n_images` images only, if given."""
        if len(runs) == 1 and n_images is None:
            return runs[0]

        def join(values: Sequence[AnyArray]) -> AnyArray:
            return np.concatenate(values)[:n_images]

        return replace(
            runs[0],
            scores_by_step=join([run.scores_by_step for run in runs]),
            spike_counts={name: join([run.spike_counts[name] for run in runs]) for name in runs[0].spike_counts},
            synaptic_operations=join([run.synaptic_operations for run in runs]),
            macs=join([run.macs for run in runs]),
            stopped_after=None if runs[0].stopped_after is None else join([run.steps_used for run in runs]),
        )

    @property
    def n_steps(self) -> int:
        """How many steps were simulated, if no image stopped before."""
        return self.steps[-1]

    @property
    def steps_used(self) -> IntArray:
        """How many steps each image had, int64, ``(n_images,)``: all of them without early exit."""
        if self.stopped_after is None:
            return np.full(len(self.scores_by_step), self.n_steps, np.int64)
        return self.stopped_after

    @property
    def mean_steps(self) -> float:
        """The mean of `steps_used`."""
        return float(self.steps_used.mean()) if len(self.scores_by_step) else float(self.n_steps)

    @property
    def scores(self) -> FloatArray:
        """The scores after the last step, float32, ``(n_images, *output_shape)``."""
        scores: FloatArray = self.scores_by_step[:, -1]
        return scores

    @property
    def predictions(self) -> AnyArray:
        """The answers after the last step, ``(n_images, ...)``, as the task has them: see `Task.answers`.

        Of classes the one with the largest score, int64, ``(n_images,)``; of equal ones the lowest.
        """
        answers: AnyArray = self.predictions_by_step[:, -1]
        return answers

    @property
    def predictions_by_step(self) -> AnyArray:
        """The same after every kept step, ``(n_images, len(steps), ...)``."""
        task = self.task or Task("classes", self.scores_by_step.shape[2:])
        return task.answers(self.scores_by_step)

    @property
    def mean_spikes(self) -> float:
        """The spikes of all neurons over all steps, mean over the images."""
        return sum(float(counts.mean()) for counts in self.spike_counts.values())

    @property
    def sparsity(self) -> float:
        """The share of a neuron's steps without a spike, over all neurons, steps and images."""
        possible = sum(self.n_neurons.values()) * int(self.steps_used.sum())
        return 1.0 - sum(int(counts.sum()) for counts in self.spike_counts.values()) / possible if possible else 1.0


def simulate(
    spiking: SpikingNetwork,
    x: Any,
    n_steps: int,
    simulator: str = "event",
    keep_steps: Sequence[int] | None = None,
    progress: Progress | None = None,
    early_exit: Any = None,
    executor: Executor | None = None,
) -> Iterator[Run]:
    """Return the runs of the parts of the images, each made when it is asked for; otherwise as `SpikingNetwork.run`.

    What can be refused before anything is run is refused at once.
    """
    if not isinstance(simulator, str) or simulator not in SIMULATORS:
        raise ModelError(f"simulator {simulator!r} is none of {', '.join(SIMULATORS)}")
    steps = checked_steps(n_steps, keep_steps)
    options = {} if early_exit is None else {"early_exit": early_exit}
    if options and simulator != "event":
        raise ModelError(f"early_exit is an option of the simulator 'event' alone, not of {simulator!r}")
    if spiking.fixed is not None and n_steps > spiking.fixed.most_steps:
        raise DataError(
            f"n_steps={n_steps}: the sums of its {spiking.weights} weights are certainly exact for "
            f"{spiking.fixed.most_steps} steps; convert it for more of them"
        )
    spiking = spiking.simulated
    parts = in_parts(x, spiking.network.input_shape, None if executor is None else SENT_NUMBERS)
    first = next(parts)
    warn_of_unlike(sample(x, first), spiking.provenance.get("images"))
    parts = itertools.chain([first], parts)
    done = progress or (lambda _: None)
    if executor is None:
        runs: Iterator[Run] = (
            _run(spiking, part.images, simulator, steps, options, within(done, part.share)) for part in parts
        )
    else:
        runs = _elsewhere(executor, spiking, parts, simulator, steps, options, done)
    task = task_of(spiking.network, spiking.task)
    return (replace(run, task=task) for run in runs)


def layers_in_turn(*arguments: Any) -> Any:
    """Return a `snnrepro.simulators.event.in_turn.LayersInTurn`: a simulator, and so called by name."""
    return importlib.import_module("snnrepro.simulators.event.in_turn").LayersInTurn(*arguments)


def within(progress: Progress, share: float) -> Progress:
    """Return what is called with fractions of a part that is such a share of the whole."""
    return lambda fraction: progress(share * fraction)


def _run(
    spiking: SpikingNetwork,
    images: FloatArray,
    simulator: str,
    steps: tuple[int, ...],
    options: Mapping[str, Any],
    progress: Progress,
) -> Run:
    module = importlib.import_module(SIMULATORS[simulator])
    if len(images):
        run: Run = module.run(spiking, images, steps, progress, **options)
        return run
    blank = np.zeros((1, *images.shape[1:]), np.float32)  # it has everything but the images
    return Run.joined([module.run(spiking, blank, steps, lambda _: None, **options)], n_images=0)


def _elsewhere(
    executor: Executor,
    spiking: SpikingNetwork,
    parts: Iterator[Part],
    simulator: str,
    steps: tuple[int, ...],
    options: Mapping[str, Any],
    progress: Progress,
) -> Iterator[Run]:
    """Yield the runs of the parts as an executor's workers give them; the network is sent with each of them."""
    sent = pickle.dumps(spiking)
    shares: deque[float] = deque()

    def tasks() -> Iterator[tuple[Any, ...]]:
        for part in parts:
            shares.append(part.share)
            yield sent, part.images, simulator, steps, options

    per_task = len(sent) + 4 * max(SENT_NUMBERS, math.prod(spiking.network.input_shape))
    for run in in_order(executor, _run_sent, tasks(), per_task):
        progress(shares.popleft())
        yield run


def _run_sent(
    sent: bytes, images: FloatArray, simulator: str, steps: tuple[int, ...], options: Mapping[str, Any]
) -> Run:
    return _run(_received(sent), images, simulator, steps, options, lambda _: None)


@lru_cache(maxsize=2)
def _received(sent: bytes) -> SpikingNetwork:
    """Return the network that was sent: one object for all its parts, for which a simulator plans once."""
    spiking: SpikingNetwork = pickle.loads(sent)
    return spiking


def checked_steps(n_steps: int, keep_steps: Sequence[int] | None) -> tuple[int, ...]:
    """Return the steps to keep, the last one being `n_steps`, or refuse them."""
    if not is_count(n_steps):
        raise DataError(f"n_steps must be a whole number of at least 1, got {n_steps!r}")
    try:
        steps = tuple(operator.index(step) for step in ([n_steps] if keep_steps is None else keep_steps))
    except TypeError as error:
        raise DataError(f"keep_steps must be whole numbers from 1 to n_steps={n_steps}, got {keep_steps!r}") from error
    if list(steps) != sorted({*steps}) or not steps or steps[0] < 1 or steps[-1] > n_steps:
        raise DataError(f"steps to keep lie from 1 to n_steps={n_steps}, each once and ascending, got {list(steps)}")
    return steps if steps[-1] == n_steps else (*steps, n_steps)


def step_weights(growth: float, n_steps: int) -> AnyArray:
    """Return how much each step counts in the readout, float64, ``(n_steps,)``: ``growth ** -t``, the first one 1."""
    return np.asarray(float(growth) ** -np.arange(n_steps, dtype=np.float64))
