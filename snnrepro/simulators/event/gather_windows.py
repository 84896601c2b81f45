"""The compiled loop of linear layers on images: all numbers of a window are summed, zeros too, and neurons fire."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from snnrepro.compiling import kernel
from snnrepro.simd import add, at, fma, load, opaque, splat, store
from snnrepro.simulators.event.kernels import fire_lanes, keep_lanes, load_constants

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray, Int32Array, IntArray, WordArray
    from snnrepro.simd import Vector


@njit(inline="always", error_model="numpy")
def _window(
    total: Vector,
    x: FloatArray,
    frame: int,
    rows: Int32Array,
    bases: Int32Array,
    left: int,
    right: int,
    first: int,
    width: int,
    channels: int,
    weights: FloatArray,
    masks: WordArray,
) -> Vector:
    """Return `total` and all that an output position sees.

    `frame` is where the numbers of the frame begin, `first` where the weights do: those of the block of channels, moved
    by the shift of the column. The others are as in `rows.sums_in_registers`.
    """
    lanes = masks.itemsize * 8
    for segment in range(bases.size):
        row = np.intp(at(rows, segment))
        if row < 0:
            continue
        source = frame + row * width * channels
        base = first + np.intp(at(bases, segment)) * lanes
        number, stop = left * channels, right * channels
        while number < stop:
            total = fma(load(weights, base + number * lanes, masks), splat(at(x, source + number), masks), total)
            number = opaque(number + 1)  # there are few: an unrolled loop would have more to decide
    return total


@kernel
def gather_windows(
    x: FloatArray,
    n_frames: int,
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
    """Sum what each output position sees; parameters as `gather_spikes`, but for two.

    Parameters
    ----------
    x : image, frame, position, channel.
    n_frames : of an image, as many as steps, or one that is the same in all of them.
    """
    channels, out_width = out_channels, left.size
    lanes = masks.itemsize * 8
    blocks = channels // lanes
    n_segments = bases.size
    kept = splat(retention, masks)
    out_rows = rows.size // n_segments
    out_positions = out_rows * out_width
    block_size = weights.size // blocks
    numbers = in_positions * in_channels

    for image in range(n_images):
        fired = 0
        for row in range(out_rows):
            segments = rows[row * n_segments : (row + 1) * n_segments]
            for block in range(blocks):
                channel = block * lanes
                for column in range(out_width):
                    position = row * out_width + column
                    begin, end = np.intp(at(left, column)), np.intp(at(right, column))
                    first = block * block_size + np.intp(at(shifts, column)) * lanes
                    constant = position * stride + channel
                    threshold, reset, bias = load_constants(thresholds, resets, biases, constant, masks)
                    neuron = (image * out_positions + position) * channels + channel
                    v = current = bias
                    if fires:
                        v = load(initial, constant, masks)
                        if potentials.size:
                            v = load(potentials, neuron, masks)
                    for step in range(n_steps):
                        if step < n_frames:
                            frame = (image * n_frames + step) * numbers
                            current = _window(
                                bias, x, frame, segments, bases, begin, end, first, width, in_channels, weights, masks
                            )
                        result = (image * n_steps + step) * out_positions + position
                        if not fires:
                            store(out, result * channels + channel, current)
                            continue
                        if units.size:
                            v = add(keep_lanes(v, kept, units, constant, masks), current)
                        else:
                            v = fma(v, kept, current)
                        v, spiked = fire_lanes(v, threshold, reset, to_zero, masks, result * blocks + block)
                        fired += spiked
                    if potentials.size:
                        store(potentials, neuron, v)
        counts[image] = fired
