"""A dense layer or a convolution that works on events: where it finds its weights, and its bias."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from snnrepro.network.channels import LinearLayer, channel_axis
from snnrepro.network.layers import Conv, ConvTranspose, Dense
from snnrepro.simulators.event.gather import Sizes, gather_spikes
from snnrepro.simulators.event.gather_numbers import gather_numbers
from snnrepro.simulators.event.gather_windows import gather_windows
from snnrepro.simulators.event.kernels import Events, Firing, IFConstants, LIFConstants
from snnrepro.simulators.event.layout import Layout, layout_of
from snnrepro.simulators.event.rows import IN_STEPS, PATTERNS, has_wide_registers
from snnrepro.simulators.event.segments import (
    Segments,
    flat_segments,
    position_segments,
    window_segments,
    window_weights,
)
from snnrepro.simulators.event.values import BITS_OF, EventForm, Spikes

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray, Int32Array, IntArray
    from snnrepro.network.layers import Layer
    from snnrepro.simulators.event.population import PackedPopulation

_NO_NUMBERS = np.empty(0, np.float32)
_LARGEST_SUM = 32767
"""Of int16."""
_FEW_CHANNELS = 4
"""Of a position, as an image has them."""


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear layer.

    Attributes
    ----------
    source, target : Layout
        Of what it reads and what it gives.
    segments : Segments
        Which input positions an output position sees.
    weights : numpy.ndarray
        float32, flat: word of output channels, row, channel in the word; int16 where they are whole numbers times one
        unit for each output channel, and no sum of them leaves int16.
    scales : numpy.ndarray
        That unit, of each channel, float32; empty where weights are float32.
    bias : numpy.ndarray
        Of the output, broadcast to its shape.
    reads_spikes : bool
        Whether it reads spikes, whose amplitude is in the weights; events otherwise.
    """

    source: Layout
    target: Layout
    segments: Segments
    weights: AnyArray
    scales: FloatArray
    bias: FloatArray
    reads_spikes: bool

    @property
    def form(self) -> str | EventForm:
        """The form of what it reads."""
        if self.reads_spikes:
            return "spikes"
        return "numbers" if is_read_whole(self.source) else EventForm(self.source, self.segments.width)

    def fire(
        self, read: Spikes | Events | FloatArray, n_steps: int, population: PackedPopulation, potentials: FloatArray
    ) -> Spikes:
        """Return the spikes of neurons that read this layer's output; their bias holds the layer's.

        They go on from `potentials`, ``(n_images, neurons)``, and leave them there, or begin at their initial ones if
        it is empty.
        """
        n_images = _images_and_steps(read)[0]
        masks, counts = self.target.masks(n_images, n_steps), np.empty(n_images, np.int64)
        firing = Firing(potentials.reshape(-1), masks.reshape(-1), counts)
        self._gather(read, n_steps, population.constants, firing, _NO_NUMBERS, fires=True)
        return Spikes(population, masks, counts)

    def sums(self, read: Spikes | Events | FloatArray) -> FloatArray:
        """Return the output, ``(n_images, n_steps, *shape)``."""
        layout, (n_images, n_steps) = self.target, _images_and_steps(read)
        out = np.empty((n_images, n_steps, layout.n_positions, layout.channels), np.float32)
        firing = Firing(_NO_NUMBERS, np.empty(0, layout.word), np.empty(n_images, np.int64))
        self._gather(read, n_steps, self._bias_alone, firing, out.reshape(-1), fires=False)
        return layout.unpack(out)

    def _lists(self) -> Int32Array | None:
        """Return room for lists by pattern, or None where they do not pay.

        They do where they are read often, and the sooner the more time a row takes: those of float32.
        """
        target = self.target
        if target.n_positions == 1 or (self.scales.size and target.channels == target.lanes):
            return None
        longest = len(self.segments.bases) * self.segments.width * self.source.channels
        lines = (longest + 15) // 16 | 1  # of the cache; were they even, all lists would want the same lines of it
        return np.empty(PATTERNS * 16 * lines, np.int32)

    @cached_property
    def _bias_alone(self) -> IFConstants:
        bias = self.target.pack(np.broadcast_to(self.bias, self.target.shape))[0]
        zeros = np.zeros_like(bias)
        return IFConstants(np.float32(0), False, 0, zeros, zeros, zeros, bias, _NO_NUMBERS)

    def _gather(
        self,
        read: Spikes | Events | FloatArray,
        n_steps: int,
        neurons: IFConstants | LIFConstants,
        firing: Firing,
        out: FloatArray,
        *,
        fires: bool,
    ) -> None:
        source, (n_images, n_frames) = self.source, _images_and_steps(read)
        sizes = Sizes(n_images, n_steps, source.n_positions, source.channels, self.target.channels)
        named = {**sizes._asdict(), **self.segments._asdict(), **neurons._asdict(), **firing._asdict()}
        named.update(weights=self.weights, fires=fires, out=out)
        if isinstance(read, Spikes):
            lists = self._lists()
            in_registers = lists is None and not self.scales.size and has_wide_registers()
            named.update(lists=lists, in_steps=IN_STEPS if in_registers else None)
            gather_spikes(spikes=read.words, bits_of=BITS_OF, scales=self.scales, **named)
        elif isinstance(read, Events):
            gather_numbers(indices=read.indices, values=read.values, starts=read.starts, **named)
        else:
            gather_windows(x=source.pack(read).reshape(-1), n_frames=n_frames, **named)


def _images_and_steps(read: Spikes | Events | FloatArray) -> tuple[int, int]:
    if isinstance(read, Events):
        return read.n_images, read.n_steps
    shape = read.shape if isinstance(read, np.ndarray) else read.masks.shape
    return shape[0], shape[1]


def is_read_whole(source: Layout) -> bool:
    """Whether a linear layer on numbers reads the zeros too: in an image there is little to be left out."""
    return source.channels <= _FEW_CHANNELS


def linear_layer(layer: Layer) -> LinearLayer | None:
    """Return a layer if it is linear and works on events: grouped convolutions do not."""
    if isinstance(layer, Dense) or (isinstance(layer, (Conv, ConvTranspose)) and layer.groups == 1):
        return layer
    return None


def bias_of(layer: LinearLayer) -> FloatArray:
    """Return a layer's bias, to be broadcast to the shape of its output."""
    return layer.bias if isinstance(layer, Dense) else layer.bias.reshape(-1, *[1] * (layer.weights.ndim - 2))


def linear(
    layer: LinearLayer, shape: tuple[int, ...], after: tuple[int, ...], population: PackedPopulation | None = None
) -> Linear:
    """Return a linear layer that reads events, or the spikes of a population in its own order."""
    axis = channel_axis(layer)
    source, target = layout_of(shape, axis, population is not None), layout_of(after, axis)
    if isinstance(layer, Dense):
        rows = np.zeros((source.channels, target.channels), np.float32)
        rows[: layer.weights.shape[0], : layer.weights.shape[1]] = layer.weights
        segments = position_segments(source)
    else:
        rows, segments = window_weights(layer, source, target), window_segments(layer, source, target)
    if population is not None:
        rows *= np.tile(population.amplitude[0], len(rows) // source.channels)[:, np.newaxis]
    weights, scales = _whole(rows) if population is not None else (rows, _NO_NUMBERS)
    return Linear(source, target, segments, _by_words(weights, target), scales, bias_of(layer), population is not None)


def linear_of_sums(layer: Linear) -> Linear:
    """Return a layer from `linear_of_all` for numbers instead of spikes, in the order of the neurons, without bias."""
    flat, target = Layout((layer.source.size,), 0, padded=False), layer.target
    weights = layer.weights
    if layer.scales.size:
        by_word = layer.scales.reshape(-1, 1, target.lanes)
        weights = (weights.reshape(len(by_word), -1, target.lanes) * by_word).reshape(-1)
    no_bias = np.zeros_like(layer.bias)
    return Linear(flat, target, flat_segments(flat), weights, _NO_NUMBERS, no_bias, reads_spikes=False)


def linear_of_all(layer: Dense, after: tuple[int, ...], population: PackedPopulation, neurons: IntArray) -> Linear:
    """Return a dense layer with one output position that reads spikes in another order than theirs.

    Parameters
    ----------
    neurons : numpy.ndarray
        For each number that the layer reads the neuron it is the output of, counted in the order of the population's
        shape; `PADDING` for a 0.
    """
    source, target = population.layout, layout_of(after, -1)
    by_neuron = np.zeros((math.prod(source.shape), target.channels), np.float32)
    fires = neurons >= 0
    np.add.at(by_neuron[:, : layer.weights.shape[1]], neurons[fires], layer.weights[fires])
    # The channels move last: the rows of weights take the place of the batch.
    rows = source.pack(by_neuron.T.reshape(target.channels, *source.shape)).reshape(target.channels, -1).T
    amplitude = np.broadcast_to(population.amplitude, (source.n_positions, source.channels)).reshape(-1, 1)
    weights, scales = _whole(rows * amplitude)
    return Linear(source, target, flat_segments(source), _by_words(weights, target), scales, layer.bias, True)


def _whole(rows: FloatArray) -> tuple[AnyArray, FloatArray]:
    """Return weights as int16 with what 1 is for each output channel, or as they are.

    The first where they are multiples of a power of two, as in fixed point, and no sum of any of a channel's rows
    leaves int16.
    """
    sums = np.abs(rows).sum(axis=0, dtype=np.float64)
    scales = np.exp2(np.ceil(np.log2(np.maximum(sums, 1e-30) / _LARGEST_SUM))).astype(np.float32)
    scales[sums == 0] = 1
    for some in (rows[:1], rows):  # those of a float32 network are seen at the first row
        whole = some / scales
        if not (whole == np.rint(whole)).all():
            return rows, _NO_NUMBERS
    return whole.astype(np.int16), scales


def _by_words(rows: AnyArray, target: Layout) -> AnyArray:
    """Return rows of weights by words of output channels, flat; none lies across two lines of the cache."""
    words = rows.reshape(len(rows), -1, target.lanes).transpose(1, 0, 2)
    size = rows.itemsize
    memory = np.empty(words.size + 64 // size, rows.dtype)
    start = -memory.ctypes.data % 64 // size
    aligned = memory[start : start + words.size]
    aligned.reshape(words.shape)[...] = words
    return aligned
