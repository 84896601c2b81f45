"""The rounded network, written node after node: what a spike stands for goes into the weights that it meets."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from snnrepro.arrays import nearest_multiple
from snnrepro.errors import ModelError
from snnrepro.network.channels import (
    LINEAR,
    along,
    by_input,
    by_output,
    channel_axis,
    collapsed,
    filled,
    is_per_channel,
    per_axis,
)
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import (
    Add,
    Affine,
    AveragePool,
    Conv,
    Dense,
    MaxPool,
    Reduce,
    ReLU,
    Reshape,
    Round,
    Transpose,
)
from snnrepro.spiking.exponents import EXACT, FACTOR, FACTOR_BEFORE_WEIGHTS, Exponents, Value, in_sizes, of_one
from snnrepro.spiking.neurons import CONSTANTS, Population, growth_of
from snnrepro.spiking.schedule import is_maximum, schedule_of

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.spiking.fixed_point import FixedPoint
    from snnrepro.spiking.schedule import Schedule

_MOST_SPARE = 12
"""Powers of two by which the sums of layers are made smaller at most, where values meet that are sums themselves."""
_SCALED = "/scaled/"
"""Stands in the name of what gives a value in the units of the trained network, before the name of what reads it."""
_EVERY_SIZE = float(np.finfo(np.float32).max)


def in_fixed_point(
    schedule: Schedule, populations: Mapping[str, Population], fixed: FixedPoint, dt: float
) -> tuple[Network, dict[str, Population]]:
    """Return the network and the neurons that are simulated.

    Parameters
    ----------
    schedule : Schedule
        The trained network.
    populations : mapping of str to Population
        Its neurons, in the units of the trained network.
    fixed : FixedPoint
        How it is rounded.
    dt : float
        Length of a step, s.
    """
    writer = Writer(schedule, fixed)
    simulated = {}
    for node in schedule.nodes:
        writer.write(node)
        if node.name in populations:
            simulated[node.name] = writer.fired(node.name, populations[node.name], dt)[1]
    return writer.network(), simulated


class Writer:
    """Writes a network in fixed point, node after node, in order.

    Parameters
    ----------
    schedule : Schedule
        The trained network.
    fixed : FixedPoint
        How it is rounded; of what is to be chosen, `exponents` may be empty.
    total : float, optional
        As of `Exponents`; if left out, all exponents are given.
    """

    def __init__(self, schedule: Schedule, fixed: FixedPoint, total: float | None = None) -> None:
        self._schedule, self._fixed, self._next = schedule, fixed, 0
        self._exponents = Exponents(fixed, total)
        self._nodes: dict[str, Node] = {}
        self._values: dict[str, Value] = {}
        self._called: dict[str, str] = {}
        image, ones = schedule.network.input_name, np.ones(schedule.network.input_shape)
        self._called[image] = f"{image}/rounded"
        rounded = Value(ones, -np.log2(fixed.unit) * ones, None if total is None else fixed.most * ones)
        self._keep(self._called[image], (image,), Round(np.asarray(fixed.unit, np.float32), fixed.most), rounded)

    def write_until(self, name: str) -> None:
        """Write all nodes up to this one, such that what it sums up is exact; choose the exponents.

        Raises
        ------
        ModelError
            It cannot be exact.
        """
        names = [node.name for node in self._schedule.nodes]
        nodes = self._schedule.nodes[self._next : names.index(name) + 1]
        choice = self._exponents
        before = self._nodes, self._values, self._called, choice.chosen
        choice.limits.clear()
        sums = [node.name for node in nodes if isinstance(node.layer, Add)]
        for choice.spare in (1, 1, *range(1, _MOST_SPARE)):
            self._nodes, self._values = dict(before[0]), dict(before[1])
            self._called, choice.chosen = dict(before[2]), dict(before[3])
            choice.problems.clear()
            for node in nodes:
                self.write(node)
            inexact = self._inexact([*sums, name])
            if not inexact and (choice.limits or not sums):
                self._next += len(nodes)
                break
            if not choice.limits:
                self._limit_factors(sums, before[0].keys())
            self._limit(inexact, before[0].keys())
        else:
            choice.problems.append(f"{name!r}: the sums of what meets there leave the whole numbers that float32 holds")
        if choice.problems:
            raise ModelError(f"{choice.problems[0]} ({self._fixed.weights}): take fewer steps, or weights='float32'")

    def write(self, node: Node) -> None:
        """Write a node; of a rectifier only what it reads, its neurons come with `fired`."""
        layer, name = node.layer, node.name
        inputs = tuple(self._read(source, node) for source in node.inputs)
        if not self._takes_scales(layer, inputs):
            inputs = tuple(self._in_trained_units(source, node) for source in inputs)
        values = [self._values[source] for source in inputs]
        if isinstance(layer, ReLU):
            self._nodes[name] = Node(name, inputs, ReLU())
            return
        if isinstance(layer, Add):
            self._keep(name, inputs, layer, _sum(values))
        elif isinstance(layer, LINEAR):
            self._linear(node, inputs[0])
        elif isinstance(layer, Affine):
            self._affine(name, inputs[0], layer, name in self._schedule.driven)
        elif isinstance(layer, (AveragePool, Reduce)) and not is_maximum(node):
            self._mean(node, inputs[0])
        else:  # it moves numbers, or picks the largest
            scales, grains, bounds = zip(*values)
            self._keep(name, inputs, layer, Value(*(of_one(layer, *parts) for parts in (scales, grains, bounds))))
        if name == self._schedule.readout:
            self._called[name] = self._in_trained_units(name, node)

    def fired(self, name: str, population: Population, dt: float) -> tuple[Population, Population]:
        """Return neurons with their constants rounded, and how they are simulated; what they read is written."""
        node = self._nodes[name]
        unit = np.exp2(-collapsed(self._values[node.inputs[0]].grain))
        constants = {constant: np.asarray(getattr(population, constant), np.float64) for constant in CONSTANTS}
        for constant, value in constants.items():
            if constant != "amplitude":
                least = unit if constant in ("threshold", "subtracted") else -np.inf
                constants[constant] = np.maximum(nearest_multiple(value, unit), least)
        rounded = Population(population.neuron, **constants)  # type: ignore[arg-type]  # which keeps float32
        neuron: Any = population.neuron
        changes = neuron.retention(dt) != 1
        simulated = replace(rounded, amplitude=np.ones((), np.float32), unit=unit if changes else None)
        shape = self._schedule.network.shapes[name]
        bound = None if self._exponents.total is None else np.full(shape, float(neuron.max_spikes))
        amplitude = np.broadcast_to(rounded.amplitude.astype(np.float64), shape)
        self._values[name] = Value(amplitude, np.zeros(shape), bound)
        if name == self._schedule.readout:
            self._called[name] = self._in_trained_units(name, node)
        return rounded, simulated

    def network(self) -> Network:
        """Return the network; of what is not written yet, as it is."""
        network = self._schedule.network
        rest = [
            replace(node, inputs=tuple(self._called.get(name, name) for name in node.inputs))
            for node in network.nodes
            if node.name not in self._nodes
        ]
        return Network(network.input_name, network.input_shape, (*self._nodes.values(), *rest), network.sources)

    def schedule(self) -> Schedule:
        """Return when the values of `network` are computed."""
        return schedule_of(self.network())

    def fixed(self, populations: Mapping[str, Population], n_steps: int) -> FixedPoint:
        """Return how the network was rounded, when all of it is written; it is made for so many steps.

        Raises
        ------
        ModelError
            Its sums are not exact for so many steps.
        """
        steps = [self._summed(self._schedule.readout).steps()]
        for name, population in populations.items():
            once = sum(np.abs(getattr(population, one)) for one in ("initial_potential", "threshold", "subtracted"))
            steps.append(self._summed(name).steps(once, np.abs(population.bias)))
        grows = growth_of(populations) != 1
        total = self._exponents.total or n_steps
        certain = n_steps if grows and min(steps) >= total else int(min(*steps, EXACT))
        if certain < n_steps:
            raise ModelError(
                f"with {self._fixed.weights} weights, the sums leave the whole numbers that float32 holds after "
                f"{certain} of {n_steps} steps: take fewer steps, or weights='float32'"
            )
        return replace(self._fixed, exponents=self._exponents.chosen, most_steps=certain)

    def _summed(self, name: str) -> Value:
        """Return what adds up over the steps: what neurons read, or the value itself."""
        node = self._nodes[name]
        return self._values[node.inputs[0] if isinstance(node.layer, ReLU) else self._called.get(name, name)]

    def _inexact(self, names: list[str]) -> dict[str, AnyArray]:
        """Return the values of these names whose sums are not exact, with the largest grains with which they are."""
        finest = {name: self._exponents.finest(self._summed(name), name in self._schedule.driven) for name in names}
        return {name: one for name, one in finest.items() if (self._summed(name).grain > one).any()}

    def _limit(self, inexact: Mapping[str, AnyArray], before: Any) -> None:
        """Limit the grains of what is added up to sums that are not exact: to what the whole sum permits."""
        for name, finest in inexact.items():
            node = self._nodes[name]
            added = [node.inputs[0] if isinstance(node.layer, ReLU) else name]
            while added:
                node = self._nodes[added.pop()]
                if isinstance(node.layer, Add):
                    added.extend(source for source in node.inputs if source not in before)
                else:
                    self._limit_value(node.name, finest - 1)

    def _limit_factors(self, sums: list[str], before: Any) -> None:
        """Limit the grains of factors that are added to much larger values: finer than those they need not be."""
        for name in sums:
            bound = self._values[name].bound
            assert bound is not None
            for source in self._nodes[name].inputs:
                if source not in before:
                    is_factor = isinstance(self._nodes[source].layer, Affine)
                    finest = np.floor(np.log2(FACTOR / np.maximum(bound, 1 / EXACT)))
                    self._limit_value(source, finest if is_factor else np.full(bound.shape, np.inf))

    def _limit_value(self, name: str, finest: AnyArray) -> None:
        """Limit the grains of a value, which may be smaller than those it is added to."""
        sizes = zip(self._values[name].scale.shape, finest.shape)
        spread = tuple(axis for axis, (own, size) in enumerate(sizes) if own < size)
        own_finest, limits = finest.min(axis=spread, keepdims=True), self._exponents.limits
        limits[name] = np.minimum(limits.get(name, np.inf), own_finest)

    def _read(self, name: str, node: Node) -> str:
        """Return what a node reads: of what the image alone decides, neurons and their readers read it rounded."""
        name = self._called.get(name, name)
        driven = self._schedule.driven
        if node.name not in driven or name in driven:
            return name
        called = f"{name}/rounded"
        if called not in self._values:
            value = self._values[name]
            exponents = self._exponents.of_rounded(called, value)
            grain = np.broadcast_to(exponents, value.grain.shape)
            if (grain >= value.grain).all():
                return name
            self._keep(called, (name,), Round(np.exp2(-exponents), _EVERY_SIZE), value._replace(grain=grain))
        return called

    def _takes_scales(self, layer: Any, inputs: tuple[str, ...]) -> bool:
        """Whether a layer can read values that are not in the units of the trained network."""
        if isinstance(layer, (ReLU, Add)):
            return False
        scale = self._values[inputs[0]].scale
        if isinstance(layer, Reduce):
            return 0 not in layer.axes and is_per_channel(scale, 0)
        if isinstance(layer, (*LINEAR, MaxPool, AveragePool)):
            return is_per_channel(scale, channel_axis(layer))
        return True

    def _keep(self, name: str, inputs: tuple[str, ...], layer: Any, value: Value) -> None:
        self._nodes[name] = Node(name, inputs, layer)
        self._values[name] = value

    def _in_trained_units(self, name: str, reader: Node) -> str:
        """Return a value in the units of the trained network: itself, or what gives it times its scale."""
        scale = self._values[name].scale
        if ((scale == 1) | (scale == 0)).all():
            return name
        called = f"{name}{_SCALED}{reader.name}"
        one, zero = np.ones((), np.float32), np.zeros((), np.float32)
        sums = isinstance(reader.layer, (ReLU, Add)) or reader.name == self._schedule.readout
        largest = FACTOR if sums else FACTOR_BEFORE_WEIGHTS
        self._affine(called, name, Affine(one, zero), name in self._schedule.driven, largest)
        return called

    def _affine(self, called: str, name: str, layer: Affine, driven: bool, largest: int = FACTOR) -> None:
        """Write a scale and an offset: constants of channels, whole numbers times a power of two."""
        value = self._values[name]
        scale = collapsed(filled(value.scale) * layer.scale)
        shape = np.broadcast(value.scale, layer.scale, layer.offset).shape
        unit = np.exp2(-self._exponents.of_factor(called, scale, layer.offset, value, driven, largest))
        offset_unit = unit * np.exp2(-value.grain)
        rounded, offset = nearest_multiple(scale, unit), nearest_multiple(layer.offset, offset_unit)
        grain = -np.log2(offset_unit) if offset.any() else value.grain - np.log2(unit)
        bound = None
        if value.bound is not None:
            bound = np.broadcast_to(np.abs(rounded) * value.bound + np.abs(offset), shape)
        new: Any = Affine(rounded, offset)
        self._keep(called, (name,), new, Value(np.ones(shape), np.broadcast_to(grain, shape), bound))

    def _linear(self, node: Node, name: str) -> None:
        layer, value = node.layer, self._values[name]
        assert isinstance(layer, LINEAR)
        axis, shape = channel_axis(layer), self._schedule.network.shapes[node.name]
        of_input = per_axis(value.scale, axis, np.max).reshape(-1)
        weights = layer.weights * by_input(layer, np.where(of_input == 0, 1, of_input))
        exponents = self._exponents.of_weights(node, weights, value, node.name in self._schedule.driven)
        unit, bias_unit = by_output(layer, np.exp2(-exponents)), np.exp2(-exponents - value.finest)
        bias = nearest_multiple(layer.bias, bias_unit)
        new: Any = replace(layer, weights=nearest_multiple(weights, unit), bias=bias)
        grain = np.broadcast_to(along(exponents + value.finest, shape, axis), shape)
        self._keep(node.name, (name,), new, Value(np.ones(shape), grain, of_one(in_sizes(new), value.bound)))

    def _mean(self, node: Node, name: str) -> None:
        """Write a mean: as it is where it is over powers of two, else as a sum, whose scale is smaller."""
        layer: Any = node.layer
        value, shape = self._values[name], self._schedule.network.shapes[node.name]
        size = value.scale.shape
        if isinstance(layer, Reduce):
            n = np.float64(math.prod(size[axis] for axis in layer.axes))
            largest: Any = Reduce("max", layer.axes)
        else:
            n = layer.counts(size[1:])[0].astype(np.float64)
            largest = MaxPool(layer.kernel, layer.strides, layer.dilations, layer.pads)
        scale, grain, bound = of_one(largest, value.scale), of_one(largest, value.grain), of_one(layer, value.bound)
        if (np.log2(n) % 1 == 0).all():
            self._keep(node.name, (name,), layer, Value(scale, grain + np.log2(n), bound))
            return
        new = Value(np.broadcast_to(scale / n, shape), grain, None if bound is None else bound * n)
        if isinstance(layer, AveragePool):
            ones: Any = np.ones((size[0], 1, *layer.kernel), np.float32)
            no_bias = np.zeros(size[0], np.float32)
            summed = Conv(ones, no_bias, layer.strides, layer.dilations, layer.pads, size[0])
            self._keep(node.name, (name,), summed, new)
            return
        kept = [axis for axis in range(len(size)) if axis not in layer.axes]
        steps = (
            Transpose((*kept, *layer.axes)),
            Reshape((math.prod(size[axis] for axis in kept), int(n))),
            Dense(np.ones((int(n), 1), np.float32), np.zeros(1, np.float32)),
        )
        for index, step in enumerate(steps):
            called = f"{node.name}/sum/{index}"
            self._nodes[called] = Node(called, (name,), step)
            name = called
        self._keep(node.name, (name,), Reshape(shape), new)


def _sum(values: list[Value]) -> Value:
    """Return what is known of a sum of values in the units of the trained network."""
    scales, grains, bounds = zip(*values)
    shape = np.broadcast(*scales).shape
    grain = np.max([np.broadcast_to(one, shape) for one in grains], axis=0)
    bound = None if bounds[0] is None else np.sum([np.broadcast_to(one, shape) for one in bounds], axis=0)
    return Value(np.ones(shape), grain, bound)
