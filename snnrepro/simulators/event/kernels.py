"""The compiled loops over the neurons of a layer; those over its weights are in `gather`.

Arrays are flat. Spikes are bits: a word of the mask holds as many neighbouring channels as it has bits.

What belongs together is kept in named tuples, and a loop takes their members by name: ``fire(..., **sizes._asdict())``.
It does not take the tuples: Numba 0.55 and 0.56 confuse long tuples that hold unlike arrays, and run the wrong loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from snnrepro.compiling import kernel
from snnrepro.simd import (
    add,
    at,
    copy_8_bytes,
    fma,
    ge,
    load,
    lowest_bit,
    ne,
    popcount,
    put,
    select,
    splat,
    store,
    sub,
    to_multiple,
)

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, ByteArray, FloatArray, Int32Array, IntArray, WordArray
    from snnrepro.simd import Vector


class IFConstants(NamedTuple):
    """The constants of integrate-and-fire neurons; arrays are flat."""

    retention: np.float32  # factor of the potential per step
    to_zero: bool  # whether a spike resets the potential to zero
    stride: int  # how far the constants of one position lie from those of the next; 0: all positions have the same
    initial: FloatArray  # potential before the first step
    thresholds: FloatArray
    resets: FloatArray  # what a spike subtracts
    biases: FloatArray  # current of every step
    units: FloatArray  # what the potential is rounded to a multiple of, when it grew or leaked; empty: it is not


class LIFConstants(NamedTuple):
    """The constants of leaky integrate-and-fire neurons; the last three as `IFConstants` has them."""

    gain: np.float32  # current per input
    dt: np.float32  # s, as the next two
    tau_rc: np.float32
    tau_ref: np.float32
    min_voltage: np.float32  # lowest potential
    stride: int
    initial: FloatArray
    biases: FloatArray


class FireSizes(NamedTuple):
    """What the loops over neurons run through; channels padded to whole words."""

    n_images: int
    n_steps: int
    n_positions: int
    channels: int


class Firing(NamedTuple):
    """Where the loops over neurons leave what they do; arrays are flat."""

    potentials: FloatArray  # image, position, channel: where neurons begin, then where they end; empty: initially
    masks: WordArray  # image, step, position, channels: the spikes
    counts: IntArray  # of each image


class Events(NamedTuple):
    """The numbers of a value that are not 0."""

    indices: Int32Array  # in their row: position times padded channels, plus channel; 32 more than there are
    values: FloatArray
    starts: Int32Array  # where those of each position begin, counted over images, steps, rows and positions
    n_images: int
    n_steps: int

    def counts(self) -> IntArray:
        """Return how many there are in each image, int64, ``(n_images,)``."""
        bounds: AnyArray = self.starts[:: (len(self.starts) - 1) // self.n_images] if self.n_images else self.starts[:1]
        return np.diff(bounds).astype(np.int64)


@njit(inline="always", error_model="numpy")
def load_constants(
    thresholds: FloatArray, resets: FloatArray, biases: FloatArray, index: int, masks: WordArray
) -> tuple[Vector, Vector, Vector]:
    """Return threshold, reset and bias of the lanes from `index` on."""
    return load(thresholds, index, masks), load(resets, index, masks), load(biases, index, masks)


@njit(error_model="numpy")
def begin_at(potential: FloatArray, initial: FloatArray, masks: WordArray) -> None:
    """Write where the neurons of an image begin: at `initial`, that of all of them or of the channels of a position."""
    for number in range(0, potential.size, masks.itemsize * 8):
        store(potential, number, load(initial, number % initial.size, masks))


@njit(inline="always", error_model="numpy")
def keep_lanes(v: Vector, kept: Vector, units: FloatArray, index: int, masks: WordArray) -> Vector:
    """Return what is left in a step of the potentials `v` of the lanes from `index` on, rounded if there are units."""
    zero = splat(np.float32(0), masks)
    return to_multiple(fma(v, kept, zero), load(units, index, masks))


@njit(inline="always", error_model="numpy")
def fire_lanes(
    v: Vector, threshold: Vector, reset: Vector, to_zero: bool, masks: WordArray, word: int
) -> tuple[Vector, int]:
    """Write which lanes fire at the potentials `v` to a word of the masks; return the potentials after and how many."""
    spikes = ge(v, threshold)
    put(masks, word, spikes)
    return select(spikes, splat(np.float32(0), masks) if to_zero else sub(v, reset), v), popcount(spikes)


@kernel
def fire(
    z: FloatArray,
    varies: bool,
    n_images: int,
    n_steps: int,
    n_positions: int,
    channels: int,
    retention: np.float32,
    to_zero: bool,
    stride: int,
    initial: FloatArray,
    thresholds: FloatArray,
    resets: FloatArray,
    biases: FloatArray,
    units: FloatArray,
    potentials: FloatArray,
    masks: WordArray,
    counts: IntArray,
) -> None:
    """Run integrate-and-fire neurons on given currents; the others are members of `FireSizes`, `IFConstants`, `Firing`.

    Parameters
    ----------
    z : one for each neuron in each image, and in each step where `varies`.
    varies : whether the currents change from step to step.
    """
    lanes = masks.itemsize * 8
    blocks = channels // lanes
    kept = splat(retention, masks)
    layer = n_positions * channels
    for image in range(n_images):
        fired = 0
        for position in range(n_positions):
            for block in range(blocks):
                channel = block * lanes
                parameter = position * stride + channel
                v = load(initial, parameter, masks)
                if potentials.size:
                    v = load(potentials, image * layer + position * channels + channel, masks)
                threshold, reset, bias = load_constants(thresholds, resets, biases, parameter, masks)
                first = image * (n_steps if varies else 1) * layer + position * channels + channel
                current = add(load(z, first, masks), bias)
                word = (image * n_steps * n_positions + position) * blocks + block
                for step in range(n_steps):
                    if varies:
                        current = add(load(z, first + step * layer, masks), bias)
                    if units.size:
                        v = add(keep_lanes(v, kept, units, parameter, masks), current)
                    else:
                        v = fma(v, kept, current)
                    v, spiked = fire_lanes(v, threshold, reset, to_zero, masks, word + step * n_positions * blocks)
                    fired += spiked
                if potentials.size:
                    store(potentials, image * layer + position * channels + channel, v)
        counts[image] = fired


@kernel
def fire_lif(
    z: FloatArray,
    varies: bool,
    n_images: int,
    n_steps: int,
    n_positions: int,
    channels: int,
    gain: np.float32,
    dt: np.float32,
    tau_rc: np.float32,
    tau_ref: np.float32,
    min_voltage: np.float32,
    stride: int,
    initial: FloatArray,
    biases: FloatArray,
    potentials: FloatArray,
    masks: WordArray,
    counts: IntArray,
) -> None:
    """Run leaky integrate-and-fire neurons on given inputs; parameters as `fire`, with the members of `LIFConstants`.

    The potentials of each image are followed by what is left of the refractory periods, s.

    The equation of `LIF`, as the plain simulator has it. Most neurons spend a step outside their refractory period or
    inside it; those that leave it, and those that fire, are looked at one by one.
    """
    lanes = masks.itemsize * 8
    blocks = channels // lanes
    zero, one = splat(np.float32(0), masks), splat(np.float32(1), masks)
    factor, length, lowest = splat(gain, masks), splat(dt, masks), splat(min_voltage, masks)
    charge = splat(np.float32(np.expm1(np.float64(-dt / tau_rc))), masks)
    all_lanes = np.uint64(ge(zero, zero))
    levels, currents, waits = np.empty(64, np.float32), np.empty(64, np.float32), np.empty(64, np.float32)
    layer = n_positions * channels
    for image in range(n_images):
        fired = 0
        for position in range(n_positions):
            for channel in range(0, channels, lanes):
                neuron = position * channels + channel
                v, wait = load(initial, position * stride + channel, masks), zero
                if potentials.size:
                    v = load(potentials, 2 * image * layer + neuron, masks)
                    wait = load(potentials, (2 * image + 1) * layer + neuron, masks)
                bias = load(biases, position * stride + channel, masks)
                first = image * (n_steps if varies else 1) * layer + neuron
                word = (image * n_steps * n_positions + position) * blocks + channel // lanes
                for step in range(n_steps):
                    inputs = load(z, first + (step * layer if varies else 0), masks)
                    current = add(fma(inputs, factor, zero), bias)
                    wait = sub(wait, length)
                    active = ge(zero, wait)
                    change = fma(sub(current, v), charge, zero)
                    v = select(active, sub(v, change), v)
                    leaving = all_lanes ^ (np.uint64(active) | np.uint64(ge(wait, length)))
                    if leaving != 0:
                        store(levels, 0, v)
                        store(currents, 0, current)
                        store(waits, 0, wait)
                        while leaving != 0:
                            lane = lowest_bit(leaving)
                            leaving &= leaving - np.uint64(1)
                            left = np.float64(-(dt - waits[lane]) / tau_rc)
                            levels[lane] -= (currents[lane] - levels[lane]) * np.float32(np.expm1(left))
                        v = load(levels, 0, masks)
                    spikes = all_lanes ^ np.uint64(ge(one, v))
                    masks[word + step * n_positions * blocks] = spikes
                    v = select(ge(v, lowest), v, lowest)
                    if spikes == 0:
                        continue
                    fired += popcount(spikes)
                    store(levels, 0, v)
                    store(currents, 0, current)
                    store(waits, 0, wait)
                    while spikes != 0:
                        lane = lowest_bit(spikes)
                        spikes &= spikes - np.uint64(1)
                        over = (levels[lane] - np.float32(1)) / (currents[lane] - np.float32(1))
                        crossing = dt + tau_rc * np.float32(np.log1p(np.float64(-over)))  # s since the step began
                        levels[lane] = np.float32(0)
                        waits[lane] = tau_ref + crossing
                    v, wait = load(levels, 0, masks), load(waits, 0, masks)
                if potentials.size:
                    store(potentials, 2 * image * layer + neuron, v)
                    store(potentials, (2 * image + 1) * layer + neuron, wait)
        counts[image] = fired


@kernel
def list_events(
    x: FloatArray,
    n_rows: int,
    width: int,
    channels: int,
    padded: int,
    bits_of: ByteArray,
    indices: Int32Array,
    values: FloatArray,
    starts: Int32Array,
) -> None:
    """List the numbers of `x` that are not 0: row, position, channel; see `Events`.

    `bits_of` is ``(256 * 9,)``: for each byte which of its bits are set (8), then how many are (256); `indices` and
    `values` have 32 numbers more than `x`; `padded` is how many channels a position has in `indices`.
    """
    word = np.empty(0, np.uint16)
    zero = splat(np.float32(0), word)
    end = 0
    for row in range(n_rows):
        for position in range(width):
            begin = end
            starts[row * width + position] = begin
            first = (row * width + position) * channels
            channel = 0
            while channel + 16 <= channels:
                bits = np.intp(ne(load(x, first + channel, word), zero))
                if bits != 0:
                    for half in range(2):
                        byte = (bits >> (8 * half)) & 255
                        copy_8_bytes(bits_of, byte * 8, indices, end, np.int32(position * padded + channel + 8 * half))
                        end += int(at(bits_of, 2048 + byte))
                channel += 16
            while channel < channels:
                indices[end] = position * padded + channel
                end += at(x, first + channel) != 0
                channel += 1
            for event in range(begin, end):
                values[event] = at(x, first - position * padded + np.intp(at(indices, event)))
    starts[n_rows * width] = end


@kernel
def outputs(masks: WordArray, amplitude: FloatArray, n_words: int, out: FloatArray) -> None:
    """Write what spikes give as numbers: `amplitude`, for one frame or one position, where there is a spike, else 0."""
    lanes = masks.itemsize * 8
    zero = splat(np.float32(0), masks)
    for word in range(n_words):
        output = load(amplitude, word * lanes % amplitude.size, masks)
        store(out, word * lanes, select(at(masks, word), output, zero))


@kernel
def weighted_sums(
    masks: WordArray, weights: FloatArray, n_images: int, n_words: int, n_kept: int, out: FloatArray
) -> None:
    """Add the spikes of each neuron to `out` (image, kept step, neuron), step t by ``weights[kept, t]``.

    `n_words` are the words of a step.
    """
    lanes = masks.itemsize * 8
    n_steps = weights.size // n_kept
    zero = splat(np.float32(0), masks)
    for image in range(n_images):
        for kept in range(n_kept):
            for word in range(n_words):
                first = ((image * n_kept + kept) * n_words + word) * lanes
                total = load(out, first, masks)
                for step in range(n_steps):
                    weight = splat(weights[kept * n_steps + step], masks)
                    spikes = at(masks, (image * n_steps + step) * n_words + word)
                    total = add(total, select(spikes, weight, zero))
                store(out, first, total)


@kernel
def count_synops(masks: WordArray, n_steps: int, digits: WordArray, frame: int, out: IntArray) -> None:
    """Write to `out` how many weights the spikes of each image meet.

    `digits` are as many times the `frame` words of a step as the numbers of weights that a neuron's spike meets have
    binary digits: the bits that are set there are those of neurons where this digit is 1, the lowest first.
    """
    for image in range(out.size):
        total = 0
        for digit in range(digits.size // frame):
            spikes = 0
            for step in range(n_steps):
                first = (image * n_steps + step) * frame
                for word in range(frame):
                    spikes += popcount(at(masks, first + word) & at(digits, digit * frame + word))
            total += spikes << digit
        out[image] = total


@kernel
def count_met(x: FloatArray, fan_out: IntArray, out: IntArray) -> None:
    """Write to `out` how many weights the numbers of each image that are not 0 meet: image, step, number."""
    per_image = x.size // out.size
    for image in range(out.size):
        total = 0
        for first in range(image * per_image, (image + 1) * per_image, fan_out.size):
            for number in range(fan_out.size):
                total += at(fan_out, number) if at(x, first + number) != 0 else 0
        out[image] = total


@kernel
def gains(
    x: FloatArray,
    windows: Int32Array,
    n_images: int,
    n_steps: int,
    n_positions: int,
    channels: int,
    growth: float,
    totals: FloatArray,
    largest: FloatArray,
    out: FloatArray,
) -> None:
    """Write to `out` what the maxima of sums gain in each step: image, step, output position, channel.

    Parameters
    ----------
    x : image, step, position, channel: what is added to the sums.
    windows : ``(output positions, n)``: the positions of which the maximum is taken; -1 for none.
    growth : factor of sums and maxima per step, float32.
    totals, largest : image, position, channel: the sums and maxima so far; changed.
    """
    n_outputs, n_taps = windows.shape
    maxima = np.empty(channels, np.float32)
    for image in range(n_images):
        total = totals[image * n_positions * channels : (image + 1) * n_positions * channels]
        for step in range(n_steps):
            first = (image * n_steps + step) * n_positions * channels
            for number in range(n_positions * channels):
                total[number] = growth * total[number] + x[first + number]
            for output in range(n_outputs):
                maxima[:] = -np.inf
                for tap in range(n_taps):
                    position = windows[output, tap]
                    if position >= 0:
                        for channel in range(channels):
                            value = total[position * channels + channel]
                            maxima[channel] = value if value > maxima[channel] else maxima[channel]
                before = (image * n_outputs + output) * channels
                result = ((image * n_steps + step) * n_outputs + output) * channels
                for channel in range(channels):
                    out[result + channel] = maxima[channel] - growth * largest[before + channel]
                    largest[before + channel] = maxima[channel]
