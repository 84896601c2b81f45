"""A batch of images through all stages, each over many time steps at once: values fetched, kept and counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Union

import numpy as np

from snnrepro.simulators.event.kernels import Events
from snnrepro.simulators.event.readout import sum_over_steps
from snnrepro.simulators.event.values import EventForm, Outputs, Spikes, numbers_of

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray, IntArray
    from snnrepro.simulators.event.plan import Plan
    from snnrepro.simulators.event.readout import ReadoutWeights
    from snnrepro.simulators.event.stages import Stage, State
    from snnrepro.simulators.event.values import Input, Value
    from snnrepro.spiking.network import SpikingNetwork

Read = Union["FloatArray", Spikes, Events]
"""A value in the form it is read in."""


@dataclass(frozen=True, eq=False)
class BatchResult:
    """What a batch of images gives: the readout at the kept steps, ``(n_images, n_kept, *shape)``; fields of `Run`."""

    readout: FloatArray
    spike_counts: dict[str, IntArray]
    synaptic_operations: IntArray
    macs: IntArray


@dataclass(eq=False)
class Resumable:
    """What a batch leaves for the steps after its own.

    Attributes
    ----------
    n : int
        Images.
    n_steps : int
        The steps so far.
    values : dict of str to numpy.ndarray
        The values that depend on the image alone and are read in later steps too.
    sums : dict of str to numpy.ndarray
        The weighted sums over the steps so far, of all that the readout is computed from.
    states : dict of str to tuple of numpy.ndarray
        Those of the stages.
    """

    n: int
    n_steps: int = 0
    values: dict[str, Value] = field(default_factory=dict)
    sums: dict[str, FloatArray] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)

    def select(self, images: AnyArray) -> None:
        """Go on with some of the images only, those where the mask `images` is true."""
        self.n = int(np.count_nonzero(images))
        self.values = {name: numbers_of(value)[images] for name, value in self.values.items()}
        self.sums = {name: array[images] for name, array in self.sums.items()}
        self.states = {name: tuple(array[images] for array in state) for name, state in self.states.items()}


class Values:
    """The values of a batch of images over some steps, by name, in all the forms they are read in.

    Attributes
    ----------
    known : dict of str to Value
        Those given or computed so far.
    """

    def __init__(self, known: dict[str, Value]) -> None:
        self.known = known
        self._events: dict[Input, Events] = {}

    def compute(self, name: str, stage: Stage, state: State, n_steps: int) -> State:
        """Compute a value by its stage, from those known; return the state of the stage after the steps."""
        self.known[name], after = stage.run(tuple(self.fetch(source) for source in stage.inputs), state, n_steps)
        return after

    def fetch(self, source: Input) -> Read:
        """Return a value in the form it is read in."""
        value = self.known[source.name]
        if isinstance(value, Spikes) and source.form == "spikes":
            return value
        if not isinstance(source.form, EventForm):
            return numbers_of(value)
        if source not in self._events:
            self._events[source] = source.form.of(numbers_of(value))
        return self._events[source]


class Batch:
    """A batch of images on its way through the network.

    Parameters
    ----------
    x : numpy.ndarray or None
        float32, ``(n_images, *input_shape)``; None where `resumable` has steps.
    resumable : Resumable, optional
        Where the batch goes on from, and what it leaves. If left out, the batch has all steps.

    Attributes
    ----------
    n, n_steps : int
        Images, and steps of this batch.
    """

    def __init__(
        self,
        spiking: SpikingNetwork,
        plan: Plan,
        readout: ReadoutWeights,
        x: FloatArray | None,
        resumable: Resumable | None = None,
    ) -> None:
        self._populations, self._plan, self._readout, self._resumable = spiking.populations, plan, readout, resumable
        self._weights = readout.weights if resumable is None else readout.weights[:, resumable.n_steps :]
        self.n_steps = self._weights.shape[1]
        self._values = Values({} if resumable is None else dict(resumable.values))
        if x is not None:
            self._values.known[spiking.network.input_name] = x[:, np.newaxis]
        self.n = resumable.n if x is None and resumable is not None else len(self.numbers(spiking.network.input_name))

    def result(self) -> BatchResult:
        """Compute everything."""
        plan, begins = self._plan, self._resumable is None or self._resumable.n_steps == 0
        for name, stage in plan.stages.items():
            if begins or name not in plan.static:
                state = self._values.compute(name, stage, self._state(name), self.n_steps)
                if self._resumable is not None:
                    self._resumable.states[name] = state
        operations, macs = np.zeros(self.n, np.int64), np.zeros(self.n, np.int64)
        for name, synops in plan.synops.items():
            if name not in plan.static:
                operations += synops.count(self._values.fetch(synops.source))
            elif begins:
                macs += synops.count(self._values.fetch(synops.source))
        sums = {name: self._sum(name) for name in plan.readout.summed}
        if self._resumable is not None:
            self._resumable.n_steps += self.n_steps
            self._resumable.values = {name: self._values.known[name] for name in plan.kept_static}
            self._resumable.sums = sums
        return BatchResult(
            plan.readout.value(self._values.known, sums, self._readout), self._counts(), operations, macs
        )

    def numbers(self, name: str) -> FloatArray:
        """Return a value as numbers, ``(n_images, n_steps or 1, *shape)``."""
        return numbers_of(self._values.known[name])

    def _state(self, name: str) -> State:
        """Return the state that a stage goes on from; an empty one where there are no steps after these."""
        if self._resumable is None:
            return ()
        return self._resumable.states.get(name) or self._plan.stages[name].begin(self.n)

    def _counts(self) -> dict[str, IntArray]:
        values = ((name, self._values.known[name]) for name in self._populations)
        return {name: value.counts for name, value in values if isinstance(value, (Spikes, Outputs))}

    def _sum(self, name: str) -> FloatArray:
        """Return the weighted sums over the steps so far; see `sum_over_steps`."""
        value = self._values.known[name]
        if name in self._plan.static:  # the same in every step
            return sum_over_steps(value, self._readout.weights.sum(axis=1, keepdims=True, dtype=np.float32), None)
        before = None if self._resumable is None else self._resumable.sums.get(name)
        return sum_over_steps(value, self._weights, before)
