"""Several neurons for each activation: an ensemble, whose mean output takes more values than that of one neuron.

Neurons of an ensemble read the same and differ in their constants, so that they fire at different times. In a step at
most one binary spike comes from each of them, as from any other neuron.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Mapping, NamedTuple

import numpy as np

from snnrepro.network.channels import LINEAR
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import AveragePool, Conv, Dense, Pad, Reduce, ReLU, Reshape, Select, Transpose
from snnrepro.spiking.schedule import readers_of, schedule_of

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.network.channels import LinearLayer
    from snnrepro.network.layers import Layer
    from snnrepro.spiking.schedule import Schedule


def with_ensembles(schedule: Schedule, size: int) -> Schedule:
    """Return the network in which every rectifier is `size` rectifiers that read the same, side by side.

    Those of channel c are the channels from ``c * size`` on, under the name of the rectifier. Linear layers read all of
    them, each with its weight over `size`, right behind them or behind what leaves channels apart; whatever else reads
    the activation reads their mean.

    Parameters
    ----------
    schedule : Schedule
        As `snnrepro.spiking.prepare.prepare` gives it.
    size : int
        Neurons for each activation.
    """
    if size == 1:
        return schedule
    network = schedule.network
    rectifiers = {node.name for node in network.nodes if isinstance(node.layer, ReLU)}
    readers, places = readers_of(network.nodes), _places(network)
    takes = _taking_all(network, places, readers)
    nodes: list[Node] = []
    for node in network.nodes:
        if node.name in takes:
            nodes.append(replace(node, layer=_of_all(node, network, places[node.inputs[0]], size)))
            continue
        node = replace(node, inputs=tuple(_mean(name) if name in rectifiers else name for name in node.inputs))
        if node.name not in rectifiers:
            nodes.append(node)
            continue
        behind = [reader.name for reader in readers.get(node.name, ())]
        nodes += _rectifiers(node, network.shapes[node.name], size)
        if not behind or not takes.issuperset(behind):
            nodes += _mean_of(node.name, network.shapes[node.name], size)
    return schedule_of(Network(network.input_name, network.input_shape, tuple(nodes), network.sources))


def repeats(layer: Layer) -> int:
    """Return how many times in turn a layer gives each channel that it reads: 1 for one that does something else.

    Examples
    --------
    >>> repeats(Select(((0, 0, 1, 1), None))), repeats(Select(((0, 1, 1), None)))
    (2, 1)
    """
    if not isinstance(layer, Select) or layer.indices[0] is None or any(layer.indices[1:]):
        return 1
    indices = np.array(layer.indices[0])
    size = int(np.count_nonzero(indices == 0))
    in_turn = size > 1 and len(indices) % size == 0 and np.array_equal(indices, np.arange(len(indices)) // size)
    return size if in_turn else 1


def repeated(layer: LinearLayer, size: int) -> LinearLayer:
    """Return a linear layer that gives each of its channels `size` times in turn."""
    axis = 0 if isinstance(layer, Conv) else 1
    return replace(layer, weights=np.repeat(layer.weights, size, axis), bias=np.repeat(layer.bias, size))


def neurons_reached(schedule: Schedule) -> dict[str, int]:
    """Return, for every value that spikes reach, by how many neurons of an ensemble it is read; 1 where it is by none.

    What linear layers add up for them comes to each: a spike has a synapse with every one of them.
    """
    reached: dict[str, int] = {}
    for node in reversed(schedule.nodes):
        own = 1 if isinstance(node.layer, ReLU) else reached.get(node.name, 1) * repeats(node.layer)
        for name in schedule.driven.intersection(node.inputs):
            reached[name] = max(reached.get(name, 1), own)
    return reached


def mean_of_each(values: AnyArray, size: int) -> AnyArray:
    """Return the mean over the neurons of each ensemble, ``(n_images, channels, ...)``."""
    return Reduce("mean", (1,))(values.reshape(len(values), -1, size, *values.shape[2:]))[:, :, 0]


class _Place(NamedTuple):
    """Where the channels of a rectifier are in a value: their axis, None where all numbers are in a row.

    Before them, of them and behind them it has so many numbers, in C order.
    """

    axis: int | None
    before: int
    n_channels: int
    behind: int


def _places(network: Network) -> dict[str, _Place]:
    """Return where channels are in every value that shows a rectifier's, each apart, moved or averaged."""
    places: dict[str, _Place] = {}
    for node in network.nodes:
        before, layer, shape = places.get(node.inputs[0]), node.layer, network.shapes[node.name]
        axis = None if before is None else before.axis
        if isinstance(layer, ReLU):
            axis = 0
        elif before is None or axis is None:
            continue
        elif isinstance(layer, Reshape) and len(shape) == 1:
            places[node.name] = before._replace(axis=None)
            continue
        elif not _leaves_apart(layer, axis, network.shapes[node.inputs[0]], shape):
            continue
        elif isinstance(layer, Transpose):
            axis = layer.axes.index(axis)
        places[node.name] = _Place(axis, math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))
    return places


def _leaves_apart(layer: Layer, axis: int, before: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether a linear layer does the same to each channel."""
    if isinstance(layer, Reshape):
        return axis == 0 and shape[0] == before[0]
    if isinstance(layer, Select):
        return layer.indices[axis] is None
    if isinstance(layer, Pad):
        return not any(layer.pads[axis])
    if isinstance(layer, Reduce):
        return layer.kind == "mean" and axis not in layer.axes
    return isinstance(layer, Transpose) or (isinstance(layer, AveragePool) and axis == 0)


def _taking_all(network: Network, places: Mapping[str, _Place], readers: Mapping[str, tuple[Node, ...]]) -> set[str]:
    """Return the nodes that read all neurons of an activation: linear layers, and what only those read behind it."""
    takes: set[str] = set()
    for node in reversed(network.nodes):
        place, behind = places.get(node.inputs[0]), readers.get(node.name, ())
        if place is None or isinstance(node.layer, ReLU):
            continue
        if isinstance(node.layer, Dense):
            is_taking = len(network.shapes[node.inputs[0]]) == 1
        elif isinstance(node.layer, LINEAR):
            is_taking = place.axis == 0
        else:
            is_taking = node.name in places and bool(behind) and takes.issuperset(one.name for one in behind)
        if is_taking:
            takes.add(node.name)
    handed_on = {node.name for node in network.nodes if isinstance(node.layer, ReLU)}
    for node in network.nodes:
        if node.name in takes and node.inputs[0] in handed_on:
            handed_on.add(node.name)
    return takes & handed_on


def _of_all(node: Node, network: Network, place: _Place, size: int) -> Layer:
    """Return what reads `size` neurons for each number of what `node` reads."""
    layer: Any = node.layer
    if isinstance(layer, Reshape):
        shape = network.shapes[node.name]
        return Reshape((size * shape[0], *shape[1:]))
    if not isinstance(layer, LINEAR):
        return node.layer
    if isinstance(layer, Dense):
        by_channel = layer.weights.reshape(place.before, place.n_channels, place.behind, -1)
        weights = np.repeat(by_channel, size, axis=1).reshape(-1, layer.weights.shape[1])
    else:
        weights = np.repeat(layer.weights, size, axis=1 if isinstance(layer, Conv) else 0)
    found: Layer = replace(layer, weights=weights / np.float32(size))
    return found


def _mean(name: str) -> str:
    return f"{name}/mean"


def _rectifiers(node: Node, shape: tuple[int, ...], size: int) -> list[Node]:
    """Return the rectifiers in the place of one."""
    each = Select((tuple(np.repeat(np.arange(shape[0]), size).tolist()), *[None] * (len(shape) - 1)))
    return [Node(f"{node.name}/each", node.inputs, each), replace(node, inputs=(f"{node.name}/each",))]


def _mean_of(name: str, shape: tuple[int, ...], size: int) -> list[Node]:
    """Return the nodes that give the mean of a rectifier's neurons."""
    return [
        Node(f"{name}/by neuron", (name,), Reshape((shape[0], size, *shape[1:]))),
        Node(f"{name}/over neurons", (f"{name}/by neuron",), Reduce("mean", (1,))),
        Node(_mean(name), (f"{name}/over neurons",), Reshape(shape)),
    ]
