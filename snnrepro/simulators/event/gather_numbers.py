"""The compiled loop of linear layers on numbers: the rows of weights that they meet are added up, times the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snnrepro.compiling import kernel
from snnrepro.simd import add, at, copy_32, fma, load, splat, store
from snnrepro.simulators.event.kernels import begin_at, fire_lanes, keep_lanes, load_constants

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray, Int32Array, IntArray, WordArray

_GROUP = 8
"""Steps whose lists `gather_numbers` makes before their sums: a block of weights serves all of them from the cache."""


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
    layer = out_positions * channels
    scratch = np.empty(layer if fires and potentials.size == 0 else 0, np.float32)

    for image in range(n_images):
        fired = 0
        potential = scratch
        if potentials.size:
            potential = potentials[image * layer : (image + 1) * layer]
        elif fires:
            begin_at(potential, initial, masks)
        for row in range(out_rows):
            first_position = row * out_width
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
                                v = load(potential, position * channels + channel, masks)
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
                                store(potential, position * channels + channel, v)
                                fired += spiked
                            else:
                                store(out, result * channels + channel, v)
        counts[image] = fired
