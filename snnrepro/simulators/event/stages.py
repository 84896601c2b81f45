"""How each value is computed for a batch of images, over all its steps at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Tuple

import numpy as np

from snnrepro.network.convolve import convolve
from snnrepro.simulators.event import kernels
from snnrepro.simulators.event.kernels import FireSizes, Firing
from snnrepro.simulators.event.values import Outputs, Spikes
from snnrepro.spiking.step import RunningFunction, of_sums, population_state

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray, Int32Array
    from snnrepro.network.layers import Layer
    from snnrepro.simulators.event.kernels import Events
    from snnrepro.simulators.event.layout import Layout
    from snnrepro.simulators.event.population import PackedPopulation
    from snnrepro.simulators.event.values import Input, Value
    from snnrepro.simulators.event.weights import Linear
    from snnrepro.spiking.neurons import Population

State = Tuple["FloatArray", ...]
"""What a stage hands on to the steps after its own: arrays ``(n_images, ...)``."""

_NO_NUMBERS = np.empty(0, np.float32)


@dataclass(frozen=True, eq=False)
class Stage:
    """How a value is computed: a function of other values and a state.

    Attributes
    ----------
    inputs : tuple of Input
        The values that it reads, each in the form it is read in.
    """

    inputs: tuple[Input, ...]

    def begin(self, n_images: int) -> State:
        """Return the state before the first step."""
        return ()

    def run(self, *arguments: Any, **more: Any) -> tuple[Value, State]:
        """Return the value and the state after the steps, for the inputs, the state before, and how many steps.

        An empty state stands for that before the first step, where that after the steps is not wanted.
        """
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Compute(Stage):
    """A layer without neurons, evaluated on all frames."""

    layer: Layer

    def run(self, inputs: tuple[FloatArray, ...], state: State, n_steps: int) -> tuple[FloatArray, State]:
        """Return the value, ``(n_images, n_steps or 1, *shape)``."""
        n_images, n_steps = len(inputs[0]), max(numbers.shape[1] for numbers in inputs)
        frames = [np.broadcast_to(x, (n_images, n_steps, *x.shape[2:])).reshape(-1, *x.shape[2:]) for x in inputs]
        value = convolve(self.layer, *frames)
        return value.reshape(n_images, n_steps, *value.shape[1:]), state


@dataclass(frozen=True, eq=False)
class Maximum(Stage):
    """A maximum: what that of the inputs so far gains in each step. Its state: the sums of them, and their maxima.

    Attributes
    ----------
    growth : float
        Factor of sums and maxima per step.
    shape : tuple of int
        Of what it gives.
    source, target : Layout
        Of what it reads and what it gives; with one channel, before the other axes, where channels are positions too.
    windows : numpy.ndarray
        int32, ``(output positions, n)``: the positions of which each is the maximum; `PADDING` for none.
    """

    growth: float
    shape: tuple[int, ...]
    source: Layout
    target: Layout
    windows: Int32Array

    def begin(self, n_images: int) -> State:
        """Return zeros."""
        return tuple(np.zeros((n_images, layout.size), np.float32) for layout in (self.source, self.target))

    def run(self, inputs: tuple[FloatArray], state: State, n_steps: int) -> tuple[FloatArray, State]:
        """Return the gains, ``(n_images, n_steps, *shape)``, by the same recursion as the plain simulator's."""
        source, target, numbers = self.source, self.target, inputs[0]
        n_images, n_steps = numbers.shape[:2]
        x = source.pack(numbers.reshape(n_images, n_steps, *source.shape))
        total, largest = state = state or self.begin(n_images)
        out = np.empty((n_images, n_steps, target.n_positions, target.channels), np.float32)
        sizes = FireSizes(n_images, n_steps, source.n_positions, source.channels)
        growth, flat = np.float32(self.growth), out.reshape(-1)
        kernels.gains(
            x=x.reshape(-1),
            windows=self.windows,
            growth=growth,
            totals=total.reshape(-1),
            largest=largest.reshape(-1),
            out=flat,
            **sizes._asdict(),
        )
        return target.unpack(out).reshape(n_images, n_steps, *self.shape), state


@dataclass(frozen=True, eq=False)
class OfMeans(Stage):
    """A function of what the image alone decides, which in the steps would be a `Running`: it is computed once."""

    layer: Layer

    def run(self, inputs: tuple[FloatArray, ...], state: State, n_steps: int) -> tuple[FloatArray, State]:
        """Return the value, ``(n_images, 1, *shape)``."""
        return of_sums(self.layer, np.float32(1), *(numbers[:, 0] for numbers in inputs))[:, np.newaxis], state


@dataclass(frozen=True, eq=False)
class Running(Stage):
    """A function of means: what that of the means so far gains in each step. Its state: that of `RunningFunction`.

    Attributes
    ----------
    layer : Layer
        The function.
    growth : float
        Factor of the sums per step.
    shapes : tuple of (tuple of int)
        Of what it reads, and of what it gives.
    """

    layer: Layer
    growth: float
    shapes: tuple[tuple[int, ...], ...]

    def begin(self, n_images: int) -> State:
        """Return zeros."""
        weight = np.zeros((n_images, *[1] * len(self.shapes[0])), np.float32)
        return (*(np.zeros((n_images, *shape), np.float32) for shape in self.shapes), weight)

    def run(self, inputs: tuple[FloatArray, ...], state: State, n_steps: int) -> tuple[FloatArray, State]:
        """Return the gains, ``(n_images, n_steps, *shape)``."""
        n_images = len(inputs[0])
        running = RunningFunction(self.layer, self.growth, state or self.begin(n_images))
        out = np.empty((n_images, n_steps, *self.shapes[-1]), np.float32)
        for step in range(n_steps):
            out[:, step] = running.step(*(numbers[:, step if numbers.shape[1] > 1 else 0] for numbers in inputs))
        return out, running.state


@dataclass(frozen=True, eq=False)
class Sums(Stage):
    """A linear layer on events."""

    linear: Linear

    def run(self, inputs: tuple[Spikes | Events | FloatArray], state: State, n_steps: int) -> tuple[FloatArray, State]:
        """Return the value, ``(n_images, n_steps or 1, *shape)``."""
        return self.linear.sums(inputs[0]), state


@dataclass(frozen=True, eq=False)
class Fire(Stage):
    """Neurons in a compiled loop. Their state: as the loop has it."""

    population: PackedPopulation

    def begin(self, n_images: int) -> State:
        """Return the initial potentials."""
        return (np.tile(self.population.initial, (n_images, 1)),)


@dataclass(frozen=True, eq=False)
class FireOnWeights(Fire):
    """Neurons behind a linear layer, in one loop."""

    linear: Linear

    def run(self, inputs: tuple[Spikes | Events | FloatArray], state: State, n_steps: int) -> tuple[Spikes, State]:
        """Return the spikes."""
        return self.linear.fire(inputs[0], n_steps, self.population, state[0] if state else _NO_NUMBERS), state


@dataclass(frozen=True, eq=False)
class FireOnNumbers(Fire):
    """Neurons whose input currents are given, for each step or once."""

    def run(self, inputs: tuple[FloatArray], state: State, n_steps: int) -> tuple[Spikes, State]:
        """Return the spikes."""
        population, layout = self.population, self.population.layout
        currents = layout.pack(inputs[0])
        n_images, varies = len(currents), currents.shape[1] == n_steps > 1
        masks, counts = layout.masks(n_images, n_steps), np.empty(n_images, np.int64)
        sizes = FireSizes(n_images, n_steps, layout.n_positions, layout.channels)
        firing = Firing((state[0] if state else _NO_NUMBERS).reshape(-1), masks.reshape(-1), counts)
        named = {**sizes._asdict(), **population.constants._asdict(), **firing._asdict()}
        population.loop(z=currents.reshape(-1), varies=varies, **named)
        return Spikes(population, masks, counts), state


@dataclass(frozen=True, eq=False)
class FirePlainly(Stage):
    """Neurons that have no compiled loop: as the plain simulator does it. Their state: their potentials."""

    population: Population
    dt: float

    def run(self, inputs: tuple[FloatArray], state: State, n_steps: int) -> tuple[Outputs, State]:
        """Return the outputs."""
        currents = inputs[0]
        neurons = population_state(self.population, self.dt, (len(currents), *currents.shape[2:]))
        if state:
            neurons.potential = state[0]
        output = np.empty((len(currents), n_steps, *currents.shape[2:]), np.float32)
        for step in range(n_steps):
            output[:, step] = neurons.step(currents[:, step if currents.shape[1] > 1 else 0])
        spikes = np.rint(output / self.population.amplitude).reshape(len(output), -1)
        counts = spikes.sum(axis=1, dtype=np.float64).astype(np.int64)
        return Outputs(output, counts), (neurons.potential,)


@dataclass(frozen=True, eq=False)
class Filtered(Stage):
    """Neurons whose spikes go through a synapse: Nengo's lowpass, which has a step of delay.

    Its state: what it gives in the next step, and that of the neurons.

    Attributes
    ----------
    fire : FireOnNumbers or FirePlainly
        The neurons.
    decay : float
        What is left of the output after a step.
    """

    fire: FireOnNumbers | FirePlainly
    decay: float

    def run(self, inputs: tuple[FloatArray], state: State, n_steps: int) -> tuple[Outputs, State]:
        """Return the filtered outputs."""
        value, after = self.fire.run(inputs, state[1:] or self.fire.begin(len(inputs[0])), n_steps)
        output, decay = value.numbers(), np.float32(self.decay)
        filtered = np.empty_like(output)
        last = state[0] if state else np.zeros_like(output[:, 0])
        for step in range(n_steps):  # what it gives in a step depends on earlier steps alone
            filtered[:, step] = last
            last = decay * last + (1 - decay) * output[:, step]
        return Outputs(filtered, value.counts), (last, *after)
