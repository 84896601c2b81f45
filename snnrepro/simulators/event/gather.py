"""The compiled loop of linear layers on spikes: the weight rows of what spiked are added up, and neurons fire."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from snnrepro.compiling import kernel
from snnrepro.simd import add, at, copy_8_bytes, fma, in_units, load, patterns, splat, store
from snnrepro.simulators.event.kernels import begin_at, fire_lanes, keep_lanes, load_constants
from snnrepro.simulators.event.rows import (
    PATTERNS,
    STEPS,
    sort_active,
    sums_by_pattern,
    sums_in_registers,
    sums_of_lists,
)

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, ByteArray, FloatArray, Int32Array, IntArray, WordArray


class Sizes(NamedTuple):
    """What a linear layer reads and gives: positions, and channels of a position (padded where they are bits)."""

    n_images: int
    n_steps: int
    in_positions: int
    in_channels: int
    out_channels: int


@kernel
def list_active(
    spikes: WordArray,
    first: int,
    n_steps: int,
    n_positions: int,
    words: int,
    bits_of: ByteArray,
    active: Int32Array,
    starts: Int32Array,
    seen: ByteArray,
) -> None:
    """List the neurons that spike in any of up to four steps, and write the pattern of their spikes.

    Parameters
    ----------
    spikes : words of the masks.
    first : the word where the first of the steps begins.
    n_steps, n_positions, words : how many steps, positions, and words of a position.
    bits_of : as in `kernels.list_events`.
    active : result: the neurons; has room for eight more than there are.
    starts : ``(n_positions + 1,)``, result: where those of each position begin.
    seen : ``(neurons,)``, result: for those that spike, bit k is set where they do in step k.
    """
    lanes = spikes.itemsize * 8
    frame = n_positions * words
    silent = spikes.dtype.type(0)
    end = np.intp(0)
    for position in range(n_positions):
        starts[position] = end
        for word in range(position * words, (position + 1) * words):
            a = at(spikes, first + word)
            b = at(spikes, first + word + frame) if n_steps > 1 else silent
            c = at(spikes, first + word + 2 * frame) if n_steps > 2 else silent
            d = at(spikes, first + word + 3 * frame) if n_steps > 3 else silent
            spiked = np.intp(a | b | c | d)
            if spiked == 0:
                continue
            patterns(a, b, c, d, seen, word * lanes)
            for number in range(0, lanes, 8):
                byte = (spiked >> number) & 255
                copy_8_bytes(bits_of, byte * 8, active, end, np.int32(word * lanes + number))
                end += np.intp(at(bits_of, 2048 + byte))
    starts[n_positions] = end


@njit(error_model="numpy")
def _aligned(n: int, like: AnyArray) -> AnyArray:
    """Return room for `n` numbers of the type of `like`'s, from a line of the cache on."""
    room = np.empty(n + 64, like.dtype)
    start = (-room.ctypes.data % 64) // room.itemsize
    return room[start : start + n]


@kernel
def gather_spikes(
    spikes: WordArray,
    bits_of: ByteArray,
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
    lists: Int32Array | None,
    in_steps: FloatArray | None,
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
    bits_of : as in `kernels.list_events`.
    weights : block of channels, weight row, channel in the block; float32, or int16 where no sum of rows leaves it.
    scales : by channel, what a weight of 1 is, if they are int16.
    lists : room for lists of neurons by their pattern of spikes, for each of 16; None where no such lists are made.
    in_steps : `rows.IN_STEPS` where sums of float32 rows stay in registers; None elsewhere. With each of the two
        given or not, another loop is compiled: in one, no way would have the registers to itself.
    fires : whether there are neurons; otherwise only their bias is added.
    potentials, masks : where not `fires`, empty; words are those of the target's layout.
    out : result where not `fires`: the sums, in the order of the masks.
    """
    channels, out_width = out_channels, left.size
    lanes = masks.itemsize * 8
    blocks = channels // lanes
    words = in_channels // (spikes.itemsize * 8)
    n_segments = bases.size
    kept = splat(retention, masks)
    out_rows = rows.size // n_segments
    out_positions = out_rows * out_width
    block_size = weights.size // blocks
    active = np.empty(in_positions * in_channels + 8, np.int32)
    starts = np.empty(in_positions + 1, np.int32)
    seen = np.empty(in_positions * in_channels, np.uint8)
    room = _aligned(PATTERNS * lanes, weights)
    ends = np.empty((width + 1) * PATTERNS, np.int32)
    layer = out_positions * channels
    scratch = _aligned(layer if fires and potentials.size == 0 else 0, initial)

    for image in range(n_images):
        fired = 0
        potential = scratch
        if potentials.size:
            potential = potentials[image * layer : (image + 1) * layer]
        elif fires:
            begin_at(potential, initial, masks)
        for first_step in range(0, n_steps, STEPS):
            steps = min(STEPS, n_steps - first_step)
            first_word = (image * n_steps + first_step) * in_positions * words
            list_active(spikes, first_word, steps, in_positions, words, bits_of, active, starts, seen)
            for row in range(out_rows):
                segments = rows[row * n_segments : (row + 1) * n_segments]
                if lists is not None:
                    for pattern in range(PATTERNS):
                        ends[pattern] = pattern * (lists.size // PATTERNS)
                    sort_active(active, starts, seen, segments, bases, width, in_channels, lanes, lists, ends)
                for block in range(blocks):
                    channel = block * lanes
                    threshold, reset, bias = load_constants(thresholds, resets, biases, channel, masks)
                    for column in range(out_width):
                        begin, end = np.intp(at(left, column)), np.intp(at(right, column))
                        first = block * block_size + np.intp(at(shifts, column)) * lanes
                        if lists is not None:
                            sum_0, sum_1, sum_2, sum_3 = sums_of_lists(lists, ends, begin, end, weights, first, masks)
                        elif in_steps is not None:
                            sum_0, sum_1, sum_2, sum_3 = sums_in_registers(
                                active,
                                starts,
                                seen,
                                segments,
                                bases,
                                begin,
                                end,
                                first,
                                width,
                                in_channels,
                                weights,
                                in_steps,
                                masks,
                            )
                        else:
                            sum_0, sum_1, sum_2, sum_3 = sums_by_pattern(
                                active,
                                starts,
                                seen,
                                segments,
                                bases,
                                begin,
                                end,
                                first,
                                width,
                                in_channels,
                                weights,
                                room,
                                masks,
                            )
                        position = row * out_width + column
                        if stride:
                            threshold, reset, bias = load_constants(
                                thresholds, resets, biases, position * stride + channel, masks
                            )
                        result = (image * n_steps + first_step) * out_positions + position
                        if fires:
                            v = load(potential, position * channels + channel, masks)
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
                            store(potential, position * channels + channel, v)
                        else:
                            for step in range(steps):
                                current = add(bias, in_units(sum_0, scales, channel))
                                store(out, (result + step * out_positions) * channels + channel, current)
                                sum_0, sum_1, sum_2 = sum_1, sum_2, sum_3
        counts[image] = fired
