"""The compiled loops of linear layers: the weight rows of what is not 0 are added up, and neurons fire on the sums.

Four time steps are taken together. What a neuron that is read does in them is one of 15 patterns of spikes, and the
rows of all that an output position sees with the same pattern are added up once, whatever number of spikes it has: from
these 15 sums come those of the four steps. So a neuron costs a row, not a row for each of its spikes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from snnrepro.compiling import kernel
from snnrepro.simd import (
    add,
    at,
    copy_32,
    fma,
    in_units,
    load,
    lowest_bit,
    nothing,
    opaque,
    patterns,
    put,
    splat,
    store,
)
from snnrepro.simulators.event.kernels import fire_lanes, keep_lanes, load_constants

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, ByteArray, FloatArray, Int32Array, IntArray, WordArray
    from snnrepro.simd import Vector

_STEPS = 4
"""Steps taken together by `gather_spikes`: its patterns, and the sums that it keeps in registers."""
_PATTERNS = 2**_STEPS
_GROUP = 8
"""Steps whose lists `gather_numbers` makes before their sums: a block of weights serves all of them from the cache."""


class Sizes(NamedTuple):
    """What a linear layer reads and gives: positions, and channels of a position (padded where they are bits)."""

    n_images: int
    n_steps: int
    in_positions: int
    in_channels: int
    out_channels: int


@njit(inline="always", error_model="numpy")
def _rows(
    total: Vector, lists: Int32Array, begin: int, end: int, weights: AnyArray, offset: int, masks: WordArray
) -> Vector:
    """Return `total` and the rows of a list."""
    event = np.intp(begin)
    stop = np.intp(end)
    while event != stop:
        total = add(total, load(weights, offset + np.intp(at(lists, event)), masks))
        event = opaque(event + 1)  # lists are short: an unrolled loop would only have more ends to predict
    return total


@njit(error_model="numpy")
def _copy(source: FloatArray, first: int, target: FloatArray, start: int, n: int, masks: WordArray) -> None:
    """Write ``source[first : first + n]`` to `target` from `start` on."""
    for number in range(0, n, masks.itemsize * 8):
        store(target, start + number, load(source, first + number, masks))


@njit(error_model="numpy")
def _begin(
    potential: FloatArray,
    potentials: FloatArray,
    before: int,
    position: int,
    width: int,
    initial: FloatArray,
    stride: int,
    masks: WordArray,
) -> None:
    """Write where the neurons of `width` positions from `position` on begin: at `potentials`, or initially if empty.

    `before` are the positions of the images before this one.
    """
    channels = potential.size // width
    if potentials.size:
        _copy(potentials, (before + position) * channels, potential, 0, potential.size, masks)
        return
    for offset in range(width):
        _copy(initial, (position + offset) * stride, potential, offset * channels, channels, masks)


@kernel
def list_patterns(
    spikes: WordArray,
    first: int,
    n_steps: int,
    frame: int,
    width: int,
    words: int,
    scale: int,
    rows: Int32Array,
    bases: Int32Array,
    scratch: ByteArray,
    lists: Int32Array,
    ends: Int32Array,
) -> None:
    """List the neurons that some input rows show, by their pattern of spikes in up to four steps.

    Parameters
    ----------
    spikes : words of the masks.
    first : the word where the first of the steps begins.
    n_steps, frame : how many steps, and words of a step.
    width, words, scale : positions of an input row, words of a position, lanes of the weights.
    rows, bases : by segment: the input row, -1 for none, and the weight row of its first neuron.
    scratch : ``(64,)``.
    lists : result: for each pattern where the weights of its neurons begin, by position, from ``ends[pattern]`` on.
    ends : ``((positions + 1) * 16,)``, result: for each position and pattern where its part of the list begins; those
        of the first position are given.
    """
    lanes = spikes.itemsize * 8
    sixteen = np.empty(0, np.uint16)
    silent = spikes.dtype.type(0)
    for position in range(width):
        store(ends, (position + 1) * _PATTERNS, load(ends, position * _PATTERNS, sixteen))
        for segment in range(rows.size):
            row = np.intp(at(rows, segment))
            if row < 0:
                continue
            for word in range(words):
                where = first + (row * width + position) * words + word
                a = at(spikes, where)
                b = at(spikes, where + frame) if n_steps > 1 else silent
                c = at(spikes, where + 2 * frame) if n_steps > 2 else silent
                d = at(spikes, where + 3 * frame) if n_steps > 3 else silent
                active = np.uint64(a | b | c | d)
                if active == 0:
                    continue
                patterns(a, b, c, d, scratch)
                base = np.intp(at(bases, segment)) + (position * words + word) * lanes
                while active != 0:
                    lane = lowest_bit(active)
                    active &= active - np.uint64(1)
                    counter = (position + 1) * _PATTERNS + np.intp(at(scratch, lane))
                    end = at(ends, counter)
                    put(lists, np.intp(end), np.int32((base + lane) * scale))
                    put(ends, counter, end + np.int32(1))


@kernel
def gather_spikes(
    spikes: WordArray,
    n_images: int,
    n_steps: int,
    in_positions: int,
    in_channels: int,
    out_channels: int,
    rows: Int32Array,
    bases: Int32Array,
    left: Int32Array,
    right: Int32Array,
    shifts: Int32Array,
    width: int,
    weights: AnyArray,
    scales: FloatArray,
    retention: np.float32,
    to_zero: bool,
    stride: int,
    initial: FloatArray,
    thresholds: FloatArray,
    resets: FloatArray,
    biases: FloatArray,
    units: FloatArray,
    fires: bool,
    potentials: FloatArray,
    masks: WordArray,
    counts: IntArray,
    out: FloatArray,
) -> None:
    """Sum the weight rows of the spikes that each output position sees; fire neurons on the sums, or give the sums.

    Parameters that are not below are the members of `Sizes`, `Segments`, `IFConstants` and `Firing`.

    Parameters
    ----------
    spikes : words of the masks that are read: image, step, position, channels.
    weights : block of channels, weight row, channel in the block; float32, or int16 where no sum of rows leaves it.
    scales : by channel, what a weight of 1 is, if they are int16.
    fires : whether there are neurons; otherwise only their bias is added.
    potentials, masks : where not `fires`, empty; words are those of the target's layout.
    out : result where not `fires`: the sums, in the order of the masks.
    """
    channels, out_width = out_channels, left.size
    lanes = masks.itemsize * 8
    blocks = channels // lanes
    words = in_channels // (spikes.itemsize * 8)
    frame = in_positions * words
    n_segments = bases.size
    kept = splat(retention, masks)
    zero = nothing(weights, masks)
    out_rows = rows.size // n_segments
    out_positions = out_rows * out_width
    block_size = weights.size // blocks
    # Lists begin an odd number of lines of the cache apart, or all would want the same lines of it.
    longest = (((n_segments * width * in_channels + 15) >> 4) | 1) << 4
    lists = np.empty(_PATTERNS * longest, np.int32)
    ends = np.empty((width + 1) * _PATTERNS, np.int32)
    scratch = np.empty(64, np.uint8)
    potential = np.empty(out_width * channels, np.float32)

    for image in range(n_images):
        fired = 0
        for row in range(out_rows):
            first_position = row * out_width
            if fires:
                before = image * out_positions
                _begin(potential, potentials, before, first_position, out_width, initial, stride, masks)
            for first_step in range(0, n_steps, _STEPS):
                steps = min(_STEPS, n_steps - first_step)
                for pattern in range(_PATTERNS):
                    ends[pattern] = pattern * longest
                first = (image * n_steps + first_step) * frame
                seen = rows[row * n_segments : (row + 1) * n_segments]
                list_patterns(spikes, first, steps, frame, width, words, lanes, seen, bases, scratch, lists, ends)
                for block in range(blocks):
                    channel = block * lanes
                    threshold, reset, bias = load_constants(thresholds, resets, biases, channel, masks)
                    for column in range(out_width):
                        offset = block * block_size + np.intp(at(shifts, column)) * lanes
                        begin = np.intp(at(left, column)) * _PATTERNS
                        end = np.intp(at(right, column)) * _PATTERNS
                        sum_0 = sum_1 = sum_2 = sum_3 = zero  # of the four steps
                        for late in range(0, _PATTERNS, 4):  # the spikes in the last two of them
                            p, q = begin + late, end + late
                            neither = _rows(zero, lists, at(ends, p), at(ends, q), weights, offset, masks)
                            first_only = _rows(zero, lists, at(ends, p + 1), at(ends, q + 1), weights, offset, masks)
                            second_only = _rows(zero, lists, at(ends, p + 2), at(ends, q + 2), weights, offset, masks)
                            both = _rows(zero, lists, at(ends, p + 3), at(ends, q + 3), weights, offset, masks)
                            in_first = add(first_only, both)
                            sum_0 = add(sum_0, in_first)
                            sum_1 = add(sum_1, add(second_only, both))
                            if late:
                                total = add(add(neither, second_only), in_first)
                                if late & 4:
                                    sum_2 = add(sum_2, total)
                                if late & 8:
                                    sum_3 = add(sum_3, total)
                        position = first_position + column
                        if stride:
                            threshold, reset, bias = load_constants(
                                thresholds, resets, biases, position * stride + channel, masks
                            )
                        result = (image * n_steps + first_step) * out_positions + position
                        if fires:
                            v = load(potential, column * channels + channel, masks)
                            for step in range(steps):
                                if units.size:
                                    v = keep_lanes(v, kept, units, position * stride + channel, masks)
                                    v = add(v, bias)
                                else:
                                    v = fma(v, kept, bias)
                                v = add(v, in_units(sum_0, scales, channel))
                                sum_0, sum_1, sum_2 = sum_1, sum_2, sum_3
                                word = (result + step * out_positions) * blocks + block
                                v, spiked = fire_lanes(v, threshold, reset, to_zero, masks, word)
                                fired += spiked
                            store(potential, column * channels + channel, v)
                        else:
                            for step in range(steps):
                                current = add(bias, in_units(sum_0, scales, channel))
                                store(out, (result + step * out_positions) * channels + channel, current)
                                sum_0, sum_1, sum_2 = sum_1, sum_2, sum_3
            if potentials.size:
                start = (image * out_positions + first_position) * channels
                _copy(potential, 0, potentials, start, out_width * channels, masks)
        counts[image] = fired


@kernel
def gather_numbers(
    indices: Int32Array,
    values: FloatArray,
    starts: Int32Array,
    n_images: int,
    n_steps: int,
    in_positions: int,
    in_channels: int,
    out_channels: int,
    rows: Int32Array,
    bases: Int32Array,
    left: Int32Array,
    right: Int32Array,
    shifts: Int32Array,
    width: int,
    weights: FloatArray,
    retention: np.float32,
    to_zero: bool,
    stride: int,
    initial: FloatArray,
    thresholds: FloatArray,
    resets: FloatArray,
    biases: FloatArray,
    units: FloatArray,
    fires: bool,
    potentials: FloatArray,
    masks: WordArray,
    counts: IntArray,
    out: FloatArray,
) -> None:
    """Sum the weight rows of numbers that each output position sees, times the numbers; the rest as `gather_spikes`."""
    channels, out_width = out_channels, left.size
    lanes = masks.itemsize * 8
    blocks = channels // lanes
    n_segments = bases.size
    kept = splat(retention, masks)
    out_rows = rows.size // n_segments
    out_positions = out_rows * out_width
    block_size = weights.size // blocks
    longest = 0  # the lists of a row of output positions
    for column in range(out_width):
        longest += n_segments * (right[column] - left[column]) * in_channels
    group = min(n_steps, _GROUP)
    lists = np.empty(group * longest + 32, np.int32)
    factors = np.empty(group * longest + 32, np.float32)
    begins = np.empty(group * out_width + 1, np.int64)
    potential = np.empty(out_width * channels, np.float32)

    for image in range(n_images):
        fired = 0
        for row in range(out_rows):
            first_position = row * out_width
            if fires:
                before = image * out_positions
                _begin(potential, potentials, before, first_position, out_width, initial, stride, masks)
            for first_step in range(0, n_steps, group):
                last_step = min(first_step + group, n_steps)
                end = 0
                for step in range(first_step, last_step):
                    frame = (image * n_steps + step) * in_positions
                    for column in range(out_width):
                        begins[(step - first_step) * out_width + column] = end
                        for segment in range(n_segments):
                            in_row = np.intp(at(rows, row * n_segments + segment))
                            if in_row < 0:
                                continue
                            base = frame + in_row * width
                            source = at(starts, base + at(left, column))
                            n_seen = at(starts, base + at(right, column)) - source
                            shift = at(shifts, column) + at(bases, segment)
                            for more in range(0, n_seen, 32):
                                copy_32(indices, source + more, lists, end + more, shift, np.int32(lanes))
                            for entry in range(n_seen):
                                factors[end + entry] = at(values, source + entry)
                            end += n_seen
                begins[(last_step - first_step) * out_width] = end
                for block in range(blocks):
                    channel = block * lanes
                    threshold, reset, bias = load_constants(thresholds, resets, biases, channel, masks)
                    offset = block * block_size
                    for step in range(first_step, last_step):
                        for column in range(out_width):
                            position = first_position + column
                            if stride:
                                first = position * stride + channel
                                threshold, reset, bias = load_constants(thresholds, resets, biases, first, masks)
                            v = bias
                            if fires:
                                v = load(potential, column * channels + channel, masks)
                                if units.size:
                                    v = add(keep_lanes(v, kept, units, position * stride + channel, masks), bias)
                                else:
                                    v = fma(v, kept, bias)
                            begin = (step - first_step) * out_width + column
                            for entry in range(begins[begin], begins[begin + 1]):
                                weight = load(weights, offset + at(lists, entry), masks)
                                v = fma(weight, splat(at(factors, entry), masks), v)
                            result = (image * n_steps + step) * out_positions + position
                            if fires:
                                v, spiked = fire_lanes(v, threshold, reset, to_zero, masks, result * blocks + block)
                                store(potential, column * channels + channel, v)
                                fired += spiked
                            else:
                                store(out, result * channels + channel, v)
            if potentials.size:
                start = (image * out_positions + first_position) * channels
                _copy(potential, 0, potentials, start, out_width * channels, masks)
        counts[image] = fired
