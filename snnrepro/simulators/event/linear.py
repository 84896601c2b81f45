"""A dense layer or a convolution that works on events: where it finds its weights, and its bias."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.network.layers import Conv, ConvTranspose, Dense
from snnrepro.simulators.event.gather import gather_numbers, gather_spikes
from snnrepro.simulators.event.geometry import (
    Geometry,
    flat_geometry,
    place_geometry,
    window_geometry,
    window_weights,
)
from snnrepro.simulators.event.layout import Layout, layout_of
from snnrepro.simulators.event.neurons import Spikes

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray, IntArray
    from snnrepro.network.graph import Node
    from snnrepro.simulators.event.neurons import Events, Neurons

_NO_MASKS = {lanes: np.empty(0, f"uint{lanes}") for lanes in (16, 32, 64)}


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear layer.

    Attributes
    ----------
    source, target : Layout
        Of what it reads and what it gives.
    geometry : Geometry
        Which input places an output place sees.
    weights : numpy.ndarray
        float32, flat: word of output channels, row, channel in the word.
    bias : numpy.ndarray
        Of the output, broadcast to its shape.
    reads_spikes : bool
        Whether it reads spikes, whose amplitude is in the weights; numbers otherwise.
    """

    source: Layout
    target: Layout
    geometry: Geometry
    weights: FloatArray
    bias: FloatArray
    reads_spikes: bool

    def fire(
        self, read: Spikes | Events, n: int, n_steps: int, neurons: Neurons, potentials: FloatArray
    ) -> tuple[AnyArray, IntArray]:
        """Return the masks and counts of neurons that read this layer's output; their constant holds its bias.

        They go on from `potentials`, ``(n, neurons)``, and leave them there, or begin at their initial ones if empty.
        """
        layout = self.target
        masks, counts = layout.masks(n, n_steps), np.empty(n, np.int64)
        words, none = masks.reshape(-1), np.empty(0, np.float32)
        self._gather(read, n, n_steps, neurons.arguments, True, potentials.reshape(-1), words, counts, none)
        return masks, counts

    def sums(self, read: Spikes | Events, n: int, n_steps: int) -> FloatArray:
        """Return the output, ``(n, n_steps, *shape)``."""
        layout = self.target
        out = np.empty((n, n_steps, layout.n_places, layout.channels), np.float32)
        masks, none = _NO_MASKS[layout.lanes], np.empty(0, np.float32)
        self._gather(read, n, n_steps, self._constants, False, none, masks, np.empty(n, np.int64), out.reshape(-1))
        return layout.outwards(out)

    @cached_property
    def _constants(self) -> tuple[Any, ...]:
        """No neurons: the bias alone."""
        bias = self.target.inwards(np.broadcast_to(self.bias, self.target.shape))[0]
        none = np.zeros_like(bias)
        return np.float32(0), False, 0, none, none, none, bias

    def _gather(self, read: Spikes | Events, n: int, n_steps: int, *others: Any) -> None:
        """Call the kernel; `others` are its arguments from `neurons` on."""
        source, geometry = self.source, self.geometry
        read_sizes = (source.n_places, geometry.width, source.channels)
        sizes = (n, n_steps, *read_sizes, len(geometry.rows), len(geometry.left), self.target.channels)
        if isinstance(read, Spikes):
            gather_spikes(read.words, sizes, geometry.arguments, self.weights, *others)
        else:
            gather_numbers(read.arguments, sizes, geometry.arguments, self.weights, *others)


def is_linear(node: Node) -> bool:
    """Whether a node is a linear layer that works on events: grouped convolutions do not."""
    layer = node.layer
    return isinstance(layer, Dense) or (isinstance(layer, (Conv, ConvTranspose)) and layer.groups == 1)


def channel_axis(node: Node) -> int:
    """Return which axis counts channels in what a linear layer reads and gives."""
    return -1 if isinstance(node.layer, Dense) else 0


def linear(node: Node, shape: tuple[int, ...], after: tuple[int, ...], neurons: Neurons | None = None) -> Linear:
    """Return a linear layer that reads numbers, or the spikes of `neurons` in its own order."""
    source, target = layout_of(shape, channel_axis(node), neurons is not None), layout_of(after, channel_axis(node))
    layer: Any = node.layer
    if isinstance(layer, Dense):
        rows = np.zeros((source.channels, target.channels), np.float32)
        rows[: layer.weights.shape[0], : layer.weights.shape[1]] = layer.weights
        geometry, bias = place_geometry(source), layer.bias
    else:
        rows = window_weights(layer, source, target)
        geometry, bias = window_geometry(layer, source, target), layer.bias.reshape(-1, *[1] * (len(after) - 1))
    if neurons is not None:
        rows *= np.tile(neurons.amplitude[0], len(rows) // source.channels)[:, np.newaxis]
    return Linear(source, target, geometry, _by_words(rows, target), bias, neurons is not None)


def linear_of_sums(layer: Linear) -> Linear:
    """Return a layer from `linear_of_all` for numbers instead of spikes, in the order of the neurons, without bias."""
    flat = Layout((layer.source.size,), 0, padded=False)
    return replace(layer, source=flat, geometry=flat_geometry(flat), bias=np.zeros_like(layer.bias), reads_spikes=False)


def linear_of_all(node: Node, after: tuple[int, ...], neurons: Neurons, places: IntArray) -> Linear:
    """Return a dense layer with one output place that reads spikes in another order than theirs.

    Parameters
    ----------
    places : numpy.ndarray
        For each number that the layer reads the neuron it is the output of, counted in the order of the population's
        shape; -1 for a 0.
    """
    source, target = neurons.layout, layout_of(after, -1)
    layer: Any = node.layer
    by_neuron = np.zeros((math.prod(source.shape), target.channels), np.float32)
    there = places >= 0
    np.add.at(by_neuron[:, : layer.weights.shape[1]], places[there], layer.weights[there])
    # The channels move last: the rows of weights take the place of the batch.
    rows = source.inwards(by_neuron.T.reshape(target.channels, *source.shape)).reshape(target.channels, -1).T
    amplitude = np.broadcast_to(neurons.amplitude, (source.n_places, source.channels)).reshape(-1, 1)
    return Linear(source, target, flat_geometry(source), _by_words(rows * amplitude, target), layer.bias, True)


def _by_words(rows: FloatArray, target: Layout) -> FloatArray:
    """Return rows of weights by words of output channels, flat; none lies across two lines of the cache."""
    words = rows.reshape(len(rows), -1, target.lanes).transpose(1, 0, 2)
    memory = np.empty(words.size + 16, np.float32)
    start = -memory.ctypes.data % 64 // 4
    aligned = memory[start : start + words.size]
    aligned.reshape(words.shape)[...] = words
    return aligned
