"""How each value is computed for a block of images, over all its steps at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from snnrepro.network.convolve import convolve
from snnrepro.simulators.event import kernels
from snnrepro.simulators.event.neurons import Spikes
from snnrepro.spiking.step import population_state

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.network.graph import Node
    from snnrepro.simulators.event.block import Block
    from snnrepro.simulators.event.layout import Layout
    from snnrepro.simulators.event.linear import Linear
    from snnrepro.simulators.event.neurons import Neurons
    from snnrepro.spiking.neurons import Population


@dataclass(frozen=True, eq=False)
class Compute:
    """A layer without neurons, evaluated on all frames."""

    node: Node

    @property
    def reads(self) -> tuple[str, ...]:
        """The values it needs."""
        return self.node.inputs

    def run(self, block: Block) -> FloatArray:
        """Return the value, ``(n_images, n_steps or 1, *shape)``."""
        read = [block.numbers(name) for name in self.reads]
        n, n_steps = len(read[0]), max(one.shape[1] for one in read)
        frames = [np.broadcast_to(one, (n, n_steps, *one.shape[2:])).reshape(-1, *one.shape[2:]) for one in read]
        value = convolve(self.node.layer, *frames)
        return value.reshape(n, n_steps, *value.shape[1:])


@dataclass(frozen=True, eq=False)
class Maximum:
    """A maximum: what that of the inputs so far gains in each step.

    Attributes
    ----------
    source, target : Layout
        Of what it reads and what it gives; with one channel, before the other axes, where channels are places too.
    windows : numpy.ndarray
        See `geometry.pool_windows`.
    shape : tuple of int
        Of what it gives.
    """

    node: Node
    growth: float
    shape: tuple[int, ...]
    source: Layout
    target: Layout
    windows: AnyArray

    @property
    def reads(self) -> tuple[str, ...]:
        """The values it needs."""
        return self.node.inputs

    def run(self, block: Block) -> FloatArray:
        """Return the gains, ``(n_images, n_steps, *shape)``, by the same recursion as the plain simulator's."""
        source, target = self.source, self.target
        read = block.numbers(self.reads[0])
        n, n_steps = read.shape[:2]
        x = source.inwards(read.reshape(n, n_steps, *source.shape))
        empty = Gained(np.zeros((n, source.size), np.float32), np.zeros((n, target.size), np.float32))
        total, largest = state = block.state(self.node.name) or empty
        out = np.empty((n, n_steps, target.n_places, target.channels), np.float32)
        sizes = (n, n_steps, source.n_places, source.channels)
        growth, flat = np.float32(self.growth), out.reshape(-1)
        kernels.gains(x.reshape(-1), self.windows, sizes, growth, total.reshape(-1), largest.reshape(-1), flat)
        block.leave(self.node.name, state)
        return target.outwards(out).reshape(n, n_steps, *self.shape)


class Gained(NamedTuple):
    """What a maximum has seen so far: the sum of its inputs, and the maximum of that."""

    total: FloatArray
    largest: FloatArray

    def keep(self, rows: AnyArray) -> Gained:
        """Return the same of some images."""
        return Gained(self.total[rows], self.largest[rows])


@dataclass(frozen=True, eq=False)
class Sums:
    """A linear layer on events."""

    linear: Linear
    source: str

    @property
    def reads(self) -> tuple[str, ...]:
        """The values it needs."""
        return (self.source,)

    def run(self, block: Block) -> FloatArray:
        """Return the value, ``(n_images, n_steps or 1, *shape)``."""
        read, n_steps = block.read(self.source, self.linear)
        return self.linear.sums(read, block.n, n_steps)


@dataclass(frozen=True, eq=False)
class FireOnEvents:
    """Neurons behind a linear layer on events, in one loop."""

    linear: Linear
    source: str
    neurons: Neurons

    @property
    def reads(self) -> tuple[str, ...]:
        """The values it needs."""
        return (self.source,)

    def run(self, block: Block) -> Spikes:
        """Return the spikes."""
        read, n_steps = block.read(self.source, self.linear)
        potentials = block.potentials(self.neurons)
        return Spikes(self.neurons, *self.linear.fire(read, block.n, n_steps, self.neurons, potentials))


@dataclass(frozen=True, eq=False)
class FireOnNumbers:
    """Neurons whose input currents are given, for each step or once."""

    source: str
    neurons: Neurons

    @property
    def reads(self) -> tuple[str, ...]:
        """The values it needs."""
        return (self.source,)

    def run(self, block: Block) -> Spikes:
        """Return the spikes."""
        layout, n_steps = self.neurons.layout, block.n_steps
        z = layout.inwards(block.numbers(self.source))
        masks, counts = layout.masks(block.n, n_steps), np.empty(block.n, np.int64)
        sizes = (block.n, n_steps, layout.n_places, layout.channels)
        moving = z.shape[1] == n_steps > 1
        potentials = block.potentials(self.neurons).reshape(-1)
        self.neurons.fire(z.reshape(-1), moving, sizes, self.neurons.arguments, potentials, masks.reshape(-1), counts)
        return Spikes(self.neurons, masks, counts)


@dataclass(frozen=True, eq=False)
class FirePlainly:
    """Neurons that have no compiled loop: as the plain simulator does it."""

    population: Population
    dt: float
    name: str
    source: str

    @property
    def reads(self) -> tuple[str, ...]:
        """The values it needs."""
        return (self.source,)

    def run(self, block: Block) -> FloatArray:
        """Return the output in every step, ``(n_images, n_steps, *shape)``, and leave the counts with the block."""
        z = block.numbers(self.source)
        state = block.state(self.name) or population_state(self.population, self.dt, (block.n, *z.shape[2:]))
        output = np.empty((block.n, block.n_steps, *z.shape[2:]), np.float32)
        for step in range(block.n_steps):
            output[:, step] = state.step(z[:, step if z.shape[1] > 1 else 0])
        block.leave(self.name, state)
        spikes = np.rint(output / self.population.amplitude).reshape(block.n, -1)
        block.counts[self.name] = spikes.sum(axis=1, dtype=np.float64).astype(np.int64)
        return output


@dataclass(frozen=True, eq=False)
class Filtered:
    """Neurons whose spikes go through a synapse: Nengo's lowpass, which has a step of delay.

    Attributes
    ----------
    fire : FireOnNumbers or FirePlainly
        The neurons.
    decay : float
        What is left of the output after a step.
    """

    name: str
    fire: FireOnNumbers | FirePlainly
    decay: float

    @property
    def reads(self) -> tuple[str, ...]:
        """The values it needs."""
        return self.fire.reads

    def run(self, block: Block) -> FloatArray:
        """Return the filtered output in every step, ``(n_images, n_steps, *shape)``, and leave the counts."""
        output = self.fire.run(block)
        if isinstance(output, Spikes):
            block.counts[self.name] = output.counts
            output = output.numbers()
        decay = np.float32(self.decay)
        given = np.zeros_like(output)
        for step in range(1, block.n_steps):  # what it gives in a step depends on earlier steps alone
            given[:, step] = decay * given[:, step - 1] + (1 - decay) * output[:, step - 1]
        return given


Action = Any
"""One of the above: ``reads``, the names of the values it needs, and ``run(block)``, which returns its own."""
