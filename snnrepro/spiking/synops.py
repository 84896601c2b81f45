"""How many weights the numbers of a network meet: synaptic operations of spikes, multiply-accumulates of an image."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.arrays import frozen
from snnrepro.network.channels import LINEAR
from snnrepro.network.layers import Conv, ConvTranspose, Dense, Divide, Multiply, Normalize, OnnxPart, Weighing
from snnrepro.spiking.ensembles import neurons_reached
from snnrepro.spiking.schedule import is_graded

if TYPE_CHECKING:
    from snnrepro.arrays import IntArray
    from snnrepro.network.graph import Network, Node
    from snnrepro.spiking.network import SpikingNetwork
    from snnrepro.spiking.schedule import Schedule


def fan_outs(spiking: SpikingNetwork) -> dict[str, IntArray]:
    """Return, for every value that linear layers read, how many nonzero weights each number of one image meets.

    Where several neurons stand for an activation, a weight of a spike is one for each of them.
    """
    shapes, reached = spiking.network.shapes, neurons_reached(spiking.schedule)
    fans: dict[str, IntArray] = {}
    for node in spiking.schedule.nodes:
        if isinstance(node.layer, LINEAR):
            source = node.inputs[0]
            met = fan_out(node, shapes[source], shapes[node.name])
            if source in reached:
                met = met * reached.get(node.name, 1)
            fans[source] = fans[source] + met if source in fans else met
    return fans


def fan_out(node: Node, shape: tuple[int, ...], after: tuple[int, ...]) -> IntArray:
    """Return how many nonzero weights of a linear layer each number of its input meets, int64, of the input's shape."""
    layer: Any = node.layer
    if isinstance(layer, Dense):
        return np.broadcast_to(np.count_nonzero(layer.weights, axis=1), shape).astype(np.int64)
    # What an input number meets does not depend on the output channel: each group has one for all of its own.
    met_at = (layer.weights != 0).astype(np.float32)
    if isinstance(layer, Conv):
        mask = frozen(met_at.reshape(layer.groups, -1, *met_at.shape[1:]).sum(axis=1))
    else:
        mask = frozen(met_at.sum(axis=1, keepdims=True))
    ones = np.ones((1, layer.groups, *after[1:]), np.float32)
    strides, dilations, groups = layer.strides, layer.dilations, layer.groups
    if isinstance(layer, Conv):  # its adjoint has the same weights; rows that no window reaches are added behind
        reach = [
            (size - 1) * stride + dilation * (k - 1) + 1 - before
            for size, stride, dilation, k, (before, _) in zip(after[1:], strides, dilations, mask.shape[2:], layer.pads)
        ]
        pads = tuple((pad[0], end - size) for pad, end, size in zip(layer.pads, reach, shape[1:]))
        adjoint: Any = ConvTranspose(mask, np.zeros(shape[0], np.float32), strides, dilations, pads, groups)
    else:
        adjoint = Conv(mask, np.zeros(shape[0], np.float32), strides, dilations, layer.pads, groups)
    met: IntArray = np.rint(adjoint(ones)[0]).astype(np.int64)
    return met


@dataclass(frozen=True)
class Shares:
    """The multiply-accumulate operations of the trained network by what becomes of them.

    Attributes
    ----------
    spiking : int
        Of layers that spikes reach: additions, one for each spike and weight.
    image : int
        Of layers that read the image: computed once, as trained.
    as_is : int
        Of parts before the first neurons or behind the last ones that stay as they are: computed once, by onnxruntime.
    """

    spiking: int
    image: int
    as_is: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.spiking + self.image + self.as_is

    def __str__(self) -> str:
        def percent(part: int) -> str:
            return f"{100 * part / max(1, self.total):.1f} %"

        as_is = f", {percent(self.as_is)} in parts that stay as they are, computed once" if self.as_is else ""
        return (
            f"{self.total:,} multiply-adds per image: {percent(self.spiking)} in layers that read spikes, "
            f"{percent(self.image)} in layers that read the image, computed once as trained{as_is}"
        )


def shares(schedule: Schedule) -> Shares:
    """Return which of a network's multiply-accumulate operations spikes take over."""
    parts = [node for node in schedule.network.nodes if isinstance(node.layer, OnnxPart)]
    layers = [node for node in schedule.network.nodes if node not in parts]
    driven = [node for node in layers if schedule.driven.intersection(node.inputs)]
    spiking, all_layers, as_is = (
        sum(macs_of(node, schedule.network) for node in some) for some in (driven, layers, parts)
    )
    return Shares(spiking, all_layers - spiking, as_is)


@dataclass(frozen=True)
class Graded:
    """What is computed in every step from means, and is no spike: a number from an arithmetic unit, not from a neuron.

    Attributes
    ----------
    values : int
        How many numbers an image has of them in a step.
    layers : dict of str to int
        How many layers give them, by what they are.
    """

    values: int
    layers: dict[str, int]

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind}: {number}" for kind, number in self.layers.items())
        return f"graded values: {self.values:,} per image and step, computed from means and no spikes ({kinds})"


_KINDS = {Multiply: "products", Divide: "quotients", Normalize: "normalisations", Weighing: "softmaxes"}


def graded(schedule: Schedule) -> Graded:
    """Return what spikes reach and is computed from means: see `snnrepro.spiking.schedule.is_graded`."""
    nodes = [node for node in schedule.nodes if is_graded(node) and node.name in schedule.driven]
    kinds = Counter(_KINDS.get(type(node.layer), "functions") for node in nodes)
    shapes = schedule.network.shapes
    return Graded(sum(math.prod(shapes[node.name]) for node in nodes), dict(sorted(kinds.items())))


def counted(schedule: Schedule) -> list[Shares | Graded]:
    """Return what a network costs, each a line to print: graded values only where there are some."""
    found = graded(schedule)
    return [shares(schedule), *([found] if found.values else [])]


def macs(network: Network) -> int:
    """Return the multiply-accumulate operations of an image: every weight, once for each position where it is applied.

    Parameters
    ----------
    network : Network
        Padding counts like the pixels beside it, as is the custom.
    """
    return sum(macs_of(node, network) for node in network.nodes)


def macs_of(node: Node, network: Network) -> int:
    """Return the multiply-accumulate operations of one layer for an image; 0 for a layer that is none of products."""
    layer = node.layer
    if isinstance(layer, Dense):
        return int(layer.weights.size * math.prod(network.shapes[node.name][:-1]))
    if isinstance(layer, Conv):
        return int(layer.weights.size * math.prod(network.shapes[node.name][1:]))
    if isinstance(layer, ConvTranspose):
        return int(layer.weights.size * math.prod(network.shapes[node.inputs[0]][1:]))
    return layer.multiply_adds if isinstance(layer, OnnxPart) else 0
