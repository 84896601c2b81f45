"""The rows of weights that an output position sees, added up for four time steps at once: loops inside `gather`.

A neuron that spiked in any of the steps costs one row. There are three ways, each the fastest somewhere:

- a list for each pattern of spikes that a neuron can have, 15, of whose rows the sum stays in a register; where many
  output positions read the same lists, which take time to make;
- one list, from which a row is added to the sums of those steps in which the neuron spiked, all in registers; float32
  with AVX-512, which has room for them;
- one list, from which a row is added to the sum of its pattern, in memory; the rest.

The walk over segments stands in each of them: a function of its own for it took up to twice the time of a layer.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from llvmlite.binding import get_host_cpu_features
from numba import config, njit

from snnrepro.simd import add, at, fma, load, nothing, opaque, put, splat, store

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, ByteArray, FloatArray, Int32Array, WordArray
    from snnrepro.simd import Vector

    Sums = tuple[Vector, Vector, Vector, Vector]

STEPS = 4
"""Steps taken together."""
PATTERNS = 2**STEPS
"""What a neuron may do in them."""
IN_STEPS = np.array([pattern >> step & 1 for pattern in range(PATTERNS) for step in range(STEPS)], np.float32)
"""For each pattern, whether there is a spike in each of the steps."""


@njit(error_model="numpy")
def sort_active(
    active: Int32Array,
    starts: Int32Array,
    patterns: ByteArray,
    rows: Int32Array,
    bases: Int32Array,
    width: int,
    channels: int,
    lanes: int,
    lists: Int32Array,
    ends: Int32Array,
) -> None:
    """List the neurons that an output row sees by their pattern of spikes.

    Parameters that are not below are those of `sums_in_registers`.

    Parameters
    ----------
    lanes : channels of a block of weights.
    lists : result: for each pattern where the weights of its neurons begin, by position, from ``ends[pattern]`` on.
    ends : ``((width + 1) * 16,)``, result: for each position and pattern where its part of the list begins; those of
        the first position are given.
    """
    sixteen = np.empty(0, np.uint16)
    for position in range(width):
        counters = (position + 1) * PATTERNS
        store(ends, counters, load(ends, position * PATTERNS, sixteen))
        for segment in range(rows.size):
            row = np.intp(at(rows, segment))
            if row < 0:
                continue
            base = np.intp(at(bases, segment)) - row * width * channels
            event = np.intp(at(starts, row * width + position))
            stop = np.intp(at(starts, row * width + position + 1))
            while event != stop:
                neuron = np.intp(at(active, event))
                counter = counters + np.intp(at(patterns, neuron))
                end = at(ends, counter)
                put(lists, np.intp(end), np.int32((base + neuron) * lanes))
                put(ends, counter, end + np.int32(1))
                event = opaque(event + 1)


@njit(inline="always", error_model="numpy")
def _sum_of_list(lists: Int32Array, begin: int, end: int, weights: AnyArray, first: int, masks: WordArray) -> Vector:
    """Return the sum of the rows of a list."""
    total = nothing(weights, masks)
    event = np.intp(begin)
    stop = np.intp(end)
    while event != stop:
        total = add(total, load(weights, first + np.intp(at(lists, event)), masks))
        event = opaque(event + 1)  # lists are short: an unrolled loop would only have more ends to predict
    return total


@njit(inline="always", error_model="numpy")
def _with_patterns(
    sum_0: Vector,
    sum_1: Vector,
    sum_2: Vector,
    sum_3: Vector,
    late: int,
    neither: Vector,
    first_only: Vector,
    second_only: Vector,
    both: Vector,
) -> Sums:
    """Return the sums of the steps with those of four patterns: alike in the last two steps, as `late` has them."""
    in_first = add(first_only, both)
    sum_0 = add(sum_0, in_first)
    sum_1 = add(sum_1, add(second_only, both))
    if late:
        late_sum = add(add(neither, second_only), in_first)
        if late & 4:
            sum_2 = add(sum_2, late_sum)
        if late & 8:
            sum_3 = add(sum_3, late_sum)
    return sum_0, sum_1, sum_2, sum_3


@njit(inline="always", error_model="numpy")
def sums_of_lists(
    lists: Int32Array, ends: Int32Array, left: int, right: int, weights: AnyArray, first: int, masks: WordArray
) -> Sums:
    """Return the sums of the rows that an output position sees in four steps, from what `sort_active` leaves.

    The others are as in `sums_in_registers`.
    """
    begin, end = left * PATTERNS, right * PATTERNS
    zero = nothing(weights, masks)
    sum_0 = sum_1 = sum_2 = sum_3 = zero
    for late in range(0, PATTERNS, 4):  # the spikes in the last two of them
        p, q = begin + late, end + late
        neither = _sum_of_list(lists, at(ends, p), at(ends, q), weights, first, masks) if late else zero
        first_only = _sum_of_list(lists, at(ends, p + 1), at(ends, q + 1), weights, first, masks)
        second_only = _sum_of_list(lists, at(ends, p + 2), at(ends, q + 2), weights, first, masks)
        both = _sum_of_list(lists, at(ends, p + 3), at(ends, q + 3), weights, first, masks)
        sum_0, sum_1, sum_2, sum_3 = _with_patterns(
            sum_0, sum_1, sum_2, sum_3, late, neither, first_only, second_only, both
        )
    return sum_0, sum_1, sum_2, sum_3


@njit(inline="always", error_model="numpy")
def sums_in_registers(
    active: Int32Array,
    starts: Int32Array,
    patterns: ByteArray,
    rows: Int32Array,
    bases: Int32Array,
    left: int,
    right: int,
    first: int,
    width: int,
    channels: int,
    weights: FloatArray,
    spikes: FloatArray,
    masks: WordArray,
) -> Sums:
    """Return the sums of the rows that an output position sees in four steps: each is added where its neuron spiked.

    Parameters
    ----------
    active, starts, patterns : what `gather.list_active` leaves.
    rows, bases : the segments of the output row, as in `Segments`.
    left, right : of the column, as in `Segments`.
    first : where the weights begin: those of its block of channels, moved by the shift of the column.
    width, channels : positions of an input row, channels of a position.
    spikes : `IN_STEPS`.
    masks : words of as many bits as a block has channels.
    """
    lanes = masks.itemsize * 8
    sum_0 = sum_1 = sum_2 = sum_3 = nothing(weights, masks)
    for segment in range(bases.size):
        row = np.intp(at(rows, segment))
        if row < 0:
            continue
        event = np.intp(at(starts, row * width + left))
        stop = np.intp(at(starts, row * width + right))
        base = first + (np.intp(at(bases, segment)) - row * width * channels) * lanes
        while event != stop:
            neuron = np.intp(at(active, event))
            pattern = np.intp(at(patterns, neuron)) * STEPS
            weight = load(weights, base + neuron * lanes, masks)
            sum_0 = fma(weight, splat(at(spikes, pattern), masks), sum_0)
            sum_1 = fma(weight, splat(at(spikes, pattern + 1), masks), sum_1)
            sum_2 = fma(weight, splat(at(spikes, pattern + 2), masks), sum_2)
            sum_3 = fma(weight, splat(at(spikes, pattern + 3), masks), sum_3)
            event = opaque(event + 1)
    return sum_0, sum_1, sum_2, sum_3


@njit(inline="always", error_model="numpy")
def sums_by_pattern(
    active: Int32Array,
    starts: Int32Array,
    patterns: ByteArray,
    rows: Int32Array,
    bases: Int32Array,
    left: int,
    right: int,
    first: int,
    width: int,
    channels: int,
    weights: AnyArray,
    room: AnyArray,
    masks: WordArray,
) -> Sums:
    """Return the sums of the rows that an output position sees in four steps: each is added to that of its pattern.

    The others are as in `sums_in_registers`.

    Parameters
    ----------
    weights : float32 or int16.
    room : for the sums of all patterns, of the type of the weights, from a line of the cache on.
    """
    lanes = masks.itemsize * 8
    zero = nothing(weights, masks)
    for pattern in range(1, PATTERNS):
        store(room, pattern * lanes, zero)
    for segment in range(bases.size):
        row = np.intp(at(rows, segment))
        if row < 0:
            continue
        event = np.intp(at(starts, row * width + left))
        stop = np.intp(at(starts, row * width + right))
        base = first + (np.intp(at(bases, segment)) - row * width * channels) * lanes
        while event != stop:
            neuron = np.intp(at(active, event))
            total = np.intp(at(patterns, neuron)) * lanes
            store(room, total, add(load(room, total, masks), load(weights, base + neuron * lanes, masks)))
            event = opaque(event + 1)
    sum_0 = sum_1 = sum_2 = sum_3 = zero
    for late in range(0, PATTERNS, 4):  # the spikes in the last two of them
        neither = load(room, late * lanes, masks) if late else zero
        first_only = load(room, (late + 1) * lanes, masks)
        second_only = load(room, (late + 2) * lanes, masks)
        both = load(room, (late + 3) * lanes, masks)
        sum_0, sum_1, sum_2, sum_3 = _with_patterns(
            sum_0, sum_1, sum_2, sum_3, late, neither, first_only, second_only, both
        )
    return sum_0, sum_1, sum_2, sum_3


def has_wide_registers() -> bool:
    """Whether the sums of four steps stay in registers: with AVX-512, which has 32 of 64 bytes."""
    features = _features_of_the_host() if config.CPU_FEATURES is None else config.CPU_FEATURES
    return "+avx512f" in features


@lru_cache(maxsize=None)  # it takes a millisecond
def _features_of_the_host() -> str:
    try:
        features: str = get_host_cpu_features().flatten()
    except RuntimeError:  # none are known of this machine
        return ""
    return features
