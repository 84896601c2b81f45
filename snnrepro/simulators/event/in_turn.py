"""The layers of a network in turn, each for all images and steps before the next: what calibration asks for.

Between two layers of neurons only the spikes are kept, as bits; everything else is computed anew from them, for as many
images and steps at once as a bounded memory holds.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Callable, Iterator, Mapping

import numpy as np
from numba import get_num_threads

from snnrepro.network.channels import LINEAR
from snnrepro.network.layers import ReLU
from snnrepro.simulators.event.batch import Values
from snnrepro.simulators.event.builder import Builder
from snnrepro.simulators.event.readout import ReadoutWeights, sum_over_steps
from snnrepro.simulators.event.values import Spikes, numbers_of

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray
    from snnrepro.simulators.event.stages import Stage, State
    from snnrepro.simulators.event.values import Value
    from snnrepro.spiking.neurons import Population
    from snnrepro.spiking.run import Progress
    from snnrepro.spiking.schedule import Schedule
    from snnrepro.spiking.shelf import Shelf, Tray

_NUMBERS = 2**25
"""Numbers that the values of the images and steps computed together have, on all cores (128 MB)."""
_NUMBERS_OF_A_BLOCK = 2**23
"""Numbers that those of one block have (32 MB), more where a few steps of one image have more.

How images are cut must not depend on the number of cores: matrix products and sums of another size are rounded
otherwise, and the network would be another one.
"""
_FEWEST_BLOCKS = 8
"""Blocks that a few images of a small network are cut into, so that several cores have work."""
_LARGEST_DENSE = 2**22
"""Weights of a dense layer beyond which it is not copied for events, but multiplied (16 MB)."""
_FEW_STEPS = 4
"""Steps that the compiled loops take together."""

Use = Callable[[slice, int, "Value"], None]
"""What is done with a value: given the images, the first of the steps, and the value in these steps."""


class LayersInTurn:
    """All images on their way through a network whose neurons are known layer by layer.

    Parameters
    ----------
    schedule : Schedule
        The network.
    x : numpy.ndarray
        float32, ``(n_images, *input_shape)``.
    n_steps : int
        How many steps it runs.
    dt : float
        Length of a step, s.
    shelf : Shelf
        Where the spikes lie.

    Attributes
    ----------
    blocks : list of slice
        The images that are computed together.
    """

    def __init__(self, schedule: Schedule, x: FloatArray, n_steps: int, dt: float, shelf: Shelf) -> None:
        self._schedule, self._x, self._n_steps, self._shelf = schedule, x, n_steps, shelf
        self._populations: dict[str, Population] = {}
        self._builder = Builder(schedule, self._populations, dt, largest=_LARGEST_DENSE)
        self._kept: dict[str, Tray] = {}
        self._nodes = {node.name: node for node in schedule.nodes}
        self._reads = _reads(schedule)
        self.blocks, self._steps, self._n_threads = _blocks(schedule, len(x), n_steps)

    def go_on(self, schedule: Schedule) -> None:
        """Go on with a network that is the same up to the values kept so far, and behind them computes the same."""
        self._schedule, self._nodes = schedule, {node.name: node for node in schedule.nodes}
        self._builder.go_on(schedule)

    def inputs(self, name: str, use: Callable[[slice, int, FloatArray], None], progress: Progress) -> None:
        """Hand on the numbers that the neurons called `name` read, ``(n_images, n_steps, *shape)``, in pieces."""
        source = self._nodes[name].inputs[0]

        def with_steps(images: slice, first: int, value: Value) -> None:
            numbers = numbers_of(value)
            n_steps = min(self._steps, self._n_steps - first)
            use(images, first, np.broadcast_to(numbers, (len(numbers), n_steps, *numbers.shape[2:])))

        self._each(source, with_steps, progress)

    def fire(self, name: str, population: Population, progress: Progress) -> None:
        """Let neurons fire, and keep their spikes."""
        self._populations[name] = population
        self.keep(name, progress)

    def keep(self, name: str, progress: Progress) -> None:
        """Compute a value, and keep it for those that read it; let go of those that nothing reads any more."""
        tray = self._shelf.tray()

        def kept(images: slice, first: int, value: Value) -> None:
            tray.put((images.start, first), value.masks if isinstance(value, Spikes) else numbers_of(value))

        self._each(name, kept, progress)
        self._kept[name] = tray
        del self._reads[name]
        needed = set().union(*self._reads.values())
        for other in [other for other in self._kept if other not in needed]:
            self._kept.pop(other).clear()
        self._builder.forget(but=self._kept)

    def graded(self) -> Iterator[str]:
        """Return the values besides spikes that `keep` is asked for: those that several later layers read."""
        return (name for name in self._reads if name and not isinstance(self._nodes[name].layer, ReLU))

    def readout(self, weights: FloatArray, use: Callable[[slice, FloatArray], None], progress: Progress) -> None:
        """Hand on the readout's mean by weights of the steps, ``(n_images, *shape)``, in pieces."""
        readout = self._builder.readout()
        by_step = ReadoutWeights(weights[np.newaxis], weights.sum(keepdims=True))
        static = readout.summed - self._schedule.driven
        sums: dict[int, dict[str, FloatArray]] = {block.start: {} for block in self.blocks}
        last = (self._n_steps - 1) // self._steps * self._steps

        def added(images: slice, first: int, values: Mapping[str, Value]) -> None:
            own = sums[images.start]
            for name in readout.summed:
                if name in static:
                    own[name] = sum_over_steps(values[name], weights.sum(keepdims=True)[np.newaxis], None)
                else:
                    part = weights[np.newaxis, first : first + self._steps]
                    own[name] = sum_over_steps(values[name], part, own.get(name))
            if first == last:
                use(images, readout.value(values, sums.pop(images.start), by_step)[:, 0])

        self._each_of(readout.summed, added, progress)
        self._builder.forget()
        for tray in self._kept.values():
            tray.clear()

    def _each(self, name: str, use: Use, progress: Progress) -> None:
        self._each_of({name}, lambda images, first, values: use(images, first, values[name]), progress)

    def _each_of(
        self,
        names: frozenset[str] | set[str],
        use: Callable[[slice, int, Mapping[str, Value]], None],
        progress: Progress,
    ) -> None:
        """Compute values for all images and steps, blocks of images side by side, and use them."""
        stages = self._builder.stages(names, known=self._kept)
        read = {source.name for stage in stages.values() for source in stage.inputs} | names

        def work(images: slice) -> None:
            states: dict[str, State] = {}
            static: dict[str, Value] = {self._schedule.network.input_name: self._x[images, np.newaxis]}
            for first in range(0, self._n_steps, self._steps):
                n_steps = min(self._steps, self._n_steps - first)
                known = {name: self._laid_aside(name, images, first) for name in self._kept if name in read}
                values = Values({**static, **known})
                for name, stage in stages.items():
                    if name not in static:
                        states[name] = values.compute(name, stage, self._state(states, name, stage, images), n_steps)
                static.update({name: values.known[name] for name in stages if name not in self._schedule.driven})
                use(images, first, values.known)

        with ThreadPoolExecutor(self._n_threads) as pool:
            for images, _ in zip(self.blocks, pool.map(work, self.blocks)):
                progress((images.stop - images.start) / len(self._x))

    def _state(self, states: dict[str, State], name: str, stage: Stage, images: slice) -> State:
        """Return the state that a stage goes on from; an empty one where all steps are computed at once."""
        if self._steps >= self._n_steps:
            return ()
        return states.get(name) or stage.begin(images.stop - images.start)

    def _laid_aside(self, name: str, images: slice, first: int) -> Value:
        array = self._kept[name].get((images.start, first))
        population = self._builder.packed(name)
        if population is None or array.dtype.kind == "f":
            return array
        return Spikes(population, array, np.zeros(len(array), np.int64))


def _reads(schedule: Schedule) -> dict[str, set[str]]:
    """Return the values that are kept, in order, and of each which other ones are read for it; "" is the readout.

    They are the spikes, and the driven values that several nodes read.
    """
    kept = {
        node.name
        for node in schedule.nodes
        if isinstance(node.layer, ReLU)
        or (node.name in schedule.driven and len(schedule.readers.get(node.name, ())) > 1)
    }
    seen: dict[str, set[str]] = {schedule.network.input_name: set()}
    reads: dict[str, set[str]] = {}
    for node in schedule.nodes:
        found = set().union(*(seen[name] for name in node.inputs))
        if node.name in kept:
            reads[node.name] = found
        seen[node.name] = {node.name} if node.name in kept else found
    reads[""] = seen[schedule.readout]
    return reads


def _blocks(schedule: Schedule, n_images: int, n_steps: int) -> tuple[list[slice], int, int]:
    """Return the images, how many steps of them, and on how many cores, are computed together in bounded memory."""
    per_step = _numbers_per_step(schedule)
    most = max(1, min(_NUMBERS, max(_NUMBERS_OF_A_BLOCK, _FEW_STEPS * per_step)) // per_step)
    size = max(1, min(most // n_steps, -(-n_images // _FEWEST_BLOCKS)))
    steps = n_steps if most >= n_steps else most // _FEW_STEPS * _FEW_STEPS or most
    n_threads = max(1, min(get_num_threads(), _NUMBERS // (min(most, size * n_steps) * per_step)))
    return [slice(start, min(start + size, n_images)) for start in range(0, n_images, size)], steps, n_threads


def _numbers_per_step(schedule: Schedule) -> int:
    """Return how many numbers the values computed for one that is kept have, for an image and a step, at most."""
    reads, own, largest = _reads(schedule), {schedule.network.input_name: 0}, 0
    sizes = {name: math.prod(shape) for name, shape in schedule.network.shapes.items()}
    spikes = {node.name for node in schedule.nodes if isinstance(node.layer, ReLU)}
    for node in schedule.nodes:
        own[node.name] = sizes[node.name]
        for name in node.inputs:
            if isinstance(node.layer, LINEAR) and name in spikes:
                own[node.name] += sizes[name] // 4  # bits, and lists of them
            elif name in reads or name not in schedule.driven:
                own[node.name] += 3 * sizes[name]  # numbers, and lists of those that are not 0
            else:  # computed for it
                own[node.name] += own[name]
        largest = max(largest, own[node.name] + sizes[node.name])  # and its copy in another order
    return largest
