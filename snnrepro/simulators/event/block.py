"""A block of images through all layers, each over many time steps at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.simulators.event.neurons import Events, Spikes, events_of
from snnrepro.simulators.event.readout import readout_of

_NONE = np.empty(0, np.float32)

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray, IntArray
    from snnrepro.simulators.event.fans import Fan
    from snnrepro.simulators.event.layout import Layout
    from snnrepro.simulators.event.linear import Linear
    from snnrepro.simulators.event.neurons import Neurons
    from snnrepro.simulators.event.plan import Plan
    from snnrepro.simulators.event.readout import ReadoutWeights
    from snnrepro.spiking.network import SpikingNetwork


@dataclass(frozen=True, eq=False)
class BlockResult:
    """What a block of images gives: the readout at the kept steps, ``(n_images, n_kept, *shape)``; fields of `Run`."""

    readout: FloatArray
    spike_counts: dict[str, IntArray]
    synaptic_operations: IntArray
    macs: IntArray


@dataclass(eq=False)
class Carried:
    """What a block leaves for the steps behind its own.

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
    potentials : dict of Neurons to numpy.ndarray
        Of the neurons with compiled loops, ``(n_images, neurons)``.
    states : dict of str to object
        Of the maxima and the other neurons.
    """

    n: int
    n_steps: int = 0
    values: dict[str, FloatArray] = field(default_factory=dict)
    sums: dict[str, FloatArray] = field(default_factory=dict)
    potentials: dict[Neurons, FloatArray] = field(default_factory=dict)
    states: dict[str, Any] = field(default_factory=dict)

    def keep(self, rows: AnyArray) -> None:
        """Go on with some of the images only, those where `rows` is true."""
        self.n = int(np.count_nonzero(rows))
        self.values = {name: array[rows] for name, array in self.values.items()}
        self.sums = {name: array[rows] for name, array in self.sums.items()}
        self.potentials = {neurons: array[rows] for neurons, array in self.potentials.items()}
        self.states = {name: state.keep(rows) for name, state in self.states.items()}


class Block:
    """A block of images on its way through the network.

    Parameters
    ----------
    x : numpy.ndarray or None
        float32, ``(n_images, *input_shape)``; None where `carried` has steps.
    carried : Carried, optional
        Where the block goes on from, and what it leaves. If left out, the block has all steps.

    Attributes
    ----------
    n, n_steps : int
        Images, and steps of this block.
    counts : dict of str to numpy.ndarray
        Spikes of each population so far, int64, ``(n_images,)``.
    """

    def __init__(
        self,
        spiking: SpikingNetwork,
        plan: Plan,
        readout: ReadoutWeights,
        x: FloatArray | None,
        carried: Carried | None = None,
    ) -> None:
        self._carried = carried
        self._weights = readout.weights if carried is None else readout.weights[:, carried.n_steps :]
        self.n_steps = self._weights.shape[1]
        self.counts: dict[str, IntArray] = {}
        self._spiking, self._plan, self._readout = spiking, plan, readout
        self._values: dict[str, Any] = {} if carried is None else dict(carried.values)
        if x is not None:
            self._values[spiking.network.input_name] = x[:, np.newaxis]
        self.n = carried.n if x is None and carried is not None else len(self._values[spiking.network.input_name])
        self._sums: dict[str, FloatArray] = {}
        self._events: dict[tuple[str, Layout, int], Events] = {}

    def result(self) -> BlockResult:
        """Compute everything."""
        first = self._carried is None or self._carried.n_steps == 0
        for name, action in self._plan.actions.items():
            if name in self._plan.static and not first:
                continue
            self._values[name] = value = action.run(self)
            if isinstance(value, Spikes):
                self.counts[name] = value.counts
        operations, macs = np.zeros(self.n, np.int64), np.zeros(self.n, np.int64)
        for name, fan in self._plan.fans.items():
            if name not in self._plan.static:
                operations += self._count(name, fan)
            elif first:
                macs += self._count(name, fan)
        sums = {name: self._weighted(name) for name in self._plan.frontier}
        sums.update((name, self._direct(*found)) for name, found in self._plan.direct.items())
        if self._carried is not None:
            self._carried.n_steps += self.n_steps
            self._carried.values = {name: self._values[name] for name in self._plan.lasting}
            self._carried.sums = self._sums
        return BlockResult(
            readout_of(self._spiking.readout, self._plan, self._readout, sums), self.counts, operations, macs
        )

    def numbers(self, name: str) -> FloatArray:
        """Return a value as numbers, ``(n_images, n_steps or 1, *shape)``."""
        value = self._values[name]
        return value.numbers() if isinstance(value, Spikes) else value

    def potentials(self, neurons: Neurons) -> FloatArray:
        """Return where neurons begin, and leave their potentials, ``(n_images, neurons)``; empty if not to be left."""
        if self._carried is None:
            return _NONE
        if neurons not in self._carried.potentials:
            self._carried.potentials[neurons] = neurons.potentials(self.n)
        return self._carried.potentials[neurons]

    def state(self, name: str) -> Any:
        """Return what an action left in the steps before; None where there are none."""
        return None if self._carried is None else self._carried.states.get(name)

    def leave(self, name: str, state: Any) -> None:
        """Leave what an action needs in the steps behind; it has ``keep(rows)``."""
        if self._carried is not None:
            self._carried.states[name] = state

    def read(self, name: str, linear: Linear) -> tuple[Spikes | Events, int]:
        """Return a value as a linear layer reads it, and of how many steps."""
        value = self._values[name]
        if linear.reads_spikes:
            return value, self.n_steps
        key = name, linear.source, linear.geometry.width
        if key not in self._events:
            frames = self.numbers(name)
            self._events[key] = events_of(frames.reshape(-1, *frames.shape[2:]), *key[1:])
        return self._events[key], self.n_steps if isinstance(value, Spikes) else value.shape[1]

    def _count(self, name: str, fan: Fan) -> IntArray:
        """Return how many weights the numbers of a value that are not 0 meet, over all steps, ``(n_images,)``."""
        value = self._values[name]
        if isinstance(value, Spikes):
            return fan.count_spikes(value)
        return fan.count_numbers(value, next((found for key, found in self._events.items() if key[0] == name), None))

    def _direct(self, layer: Linear, source: str) -> FloatArray:
        """Return what a dense layer gives, without bias, for the sums of spikes, ``(n_images, n_kept, *shape)``."""
        sums, n_kept = self._summed(source), len(self._weights)
        return layer.sums(
            events_of(sums.reshape(self.n * n_kept, -1), layer.source, layer.geometry.width), self.n, n_kept
        )

    def _weighted(self, name: str) -> FloatArray:
        """Return the weighted sums of a value over the steps so far, ``(n_images, n_kept, *shape)``."""
        value = self._values[name]
        return value.outputs(self._summed(name)) if isinstance(value, Spikes) else self._summed(name)

    def _summed(self, name: str) -> FloatArray:
        """Return the same, of a population those of its spikes, in their own order."""
        if name not in self._sums:
            self._sums[name] = self._add_up(name, None if self._carried is None else self._carried.sums.get(name))
        return self._sums[name]

    def _add_up(self, name: str, before: FloatArray | None) -> FloatArray:
        weights, value = self._weights, self._values[name]
        if isinstance(value, Spikes):
            return value.sums(weights, before)
        if value.shape[1] == 1 and name in self._plan.static:
            weights, before = self._readout.weights.sum(axis=1, keepdims=True, dtype=np.float32), None
        sums: FloatArray = np.matmul(weights, value.reshape(*value.shape[:2], -1))
        sums = sums.reshape(self.n, len(weights), *value.shape[2:])
        return sums if before is None else before + sums
