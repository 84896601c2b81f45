"""The compiled loops of linear layers: the weight rows of what is not 0 are added up, and neurons fire on the sums.

Four time steps are taken together. What a neuron that is read does in them is one of 15 patterns of spikes, and the
rows of all that an output place sees with the same pattern are added up once, whatever number of spikes it has: from
these 15 sums come those of the four steps. So a neuron costs a row, not a row for each of its spikes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from snnrepro.compiling import kernel
from snnrepro.simulators.event.simd import (
    at,
    choose,
    copy_32,
    fill,
    hidden,
    load,
    lowest_bit,
    minus,
    patterns,
    plus,
    population_count,
    put,
    reaches,
    store,
    times_plus,
)

_STEPS = 4
"""Steps taken together by `gather_spikes`: its patterns, and the sums that it keeps in registers."""
_PATTERNS = 2**_STEPS
_GROUP = 8
"""Steps whose lists `gather_numbers` makes before their sums: a block of weights serves all of them from the cache."""


@njit(inline="always", error_model="numpy")
def _rows(total: Any, lists: Any, begin: Any, end: Any, weights: Any, offset: Any, masks: Any) -> Any:
    """Return `total` and the rows of a list."""
    event = np.intp(begin)
    stop = np.intp(end)
    while event != stop:
        total = plus(total, load(weights, offset + np.intp(at(lists, event)), masks))
        event = hidden(event + 1)  # lists are short: an unrolled loop would only have more ends to predict
    return total


@njit(error_model="numpy")
def _copy(source: Any, first: Any, target: Any, place: Any, n: Any, masks: Any) -> None:
    """Write ``source[first : first + n]`` to `target` from `place` on."""
    for number in range(0, n, masks.itemsize * 8):
        store(target, place + number, load(source, first + number, masks))


@njit(error_model="numpy")
def _begin(
    potential: Any, potentials: Any, before: Any, place: Any, width: Any, initial: Any, per_place: Any, masks: Any
) -> None:
    """Write where the neurons of `width` places from `place` on begin: at `potentials`, or their initial ones if empty.

    `before` are the places of the images before this one.
    """
    channels = potential.size // width
    if potentials.size:
        _copy(potentials, (before + place) * channels, potential, 0, potential.size, masks)
        return
    for one in range(width):
        _copy(initial, (place + one) * per_place, potential, one * channels, channels, masks)


@kernel
def list_patterns(
    spikes: Any, first: Any, sizes: Any, rows: Any, bases: Any, scratch: Any, lists: Any, ends: Any
) -> None:
    """List the neurons that some input rows show, by their pattern of spikes in up to four steps.

    Parameters
    ----------
    spikes : words of the masks.
    first : the word where the first of the steps begins.
    sizes : steps, words of a step, places of an input row, words of a place, lanes of the weights.
    rows, bases : int32, segment: the input row, -1 for none, and the weight row of its first neuron.
    scratch : uint8, 64.
    lists : int32, result: for each pattern the weights' places of its neurons, by place, from ``ends[pattern]`` on.
    ends : int32, ``((places + 1) * 16,)``, result: for each place and pattern where its part of the list begins; those
        of the first place are given.
    """
    n_steps, frame, width, words, scale = sizes
    lanes = spikes.itemsize * 8
    sixteen = np.empty(0, np.uint16)
    silent = spikes.dtype.type(0)
    for place in range(width):
        store(ends, (place + 1) * _PATTERNS, load(ends, place * _PATTERNS, sixteen))
        for segment in range(rows.size):
            row = np.intp(at(rows, segment))
            if row < 0:
                continue
            for word in range(words):
                where = first + (row * width + place) * words + word
                a = at(spikes, where)
                b = at(spikes, where + frame) if n_steps > 1 else silent
                c = at(spikes, where + 2 * frame) if n_steps > 2 else silent
                d = at(spikes, where + 3 * frame) if n_steps > 3 else silent
                active = np.uint64(a | b | c | d)
                if active == 0:
                    continue
                patterns(a, b, c, d, scratch)
                base = np.intp(at(bases, segment)) + (place * words + word) * lanes
                while active != 0:
                    lane = lowest_bit(active)
                    active &= active - np.uint64(1)
                    counter = (place + 1) * _PATTERNS + np.intp(at(scratch, lane))
                    end = at(ends, counter)
                    put(lists, np.intp(end), np.int32((base + lane) * scale))
                    put(ends, counter, end + np.int32(1))


@kernel
def gather_spikes(
    spikes: Any,
    sizes: Any,
    geometry: Any,
    weights: Any,
    neurons: Any,
    fires: Any,
    potentials: Any,
    masks: Any,
    counts: Any,
    out: Any,
) -> None:
    """Sum the weight rows of the spikes that each output place sees; fire neurons on the sums, or give the sums.

    Parameters
    ----------
    spikes : words of the masks that are read: image, step, place, channels.
    sizes : images, steps, input places, those of a row, channels of one, output rows, places of one, channels of one;
        channels padded.
    geometry : see `Geometry`.
    weights : float32, block of channels, weight row, channel in the block.
    neurons : as in `kernels.fire`.
    fires : whether there are neurons; otherwise only their constant input is added.
    potentials : as in `kernels.fire`; empty where not `fires`.
    masks : words, result where `fires`: image, step, place, channels; else an empty array of the words.
    counts : int64, result: spikes of each image.
    out : float32, result where not `fires`: the sums, in the order of the masks.
    """
    n_images, n_steps, in_places, in_width, in_channels, out_rows, out_width, channels = sizes
    rows, bases, left, right, shift = geometry
    retention, to_zero, per_place, initial, threshold, subtracted, constant = neurons
    lanes = masks.itemsize * 8
    blocks = channels // lanes
    words = in_channels // (spikes.itemsize * 8)
    frame = in_places * words
    n_segments = bases.size
    keep = fill(retention, masks)
    nothing = fill(np.float32(0), masks)
    out_places = out_rows * out_width
    block_size = weights.size // blocks
    # Lists begin an odd number of lines of the cache apart, or all would want the same places in it.
    longest = (((n_segments * in_width * in_channels + 15) >> 4) | 1) << 4
    lists = np.empty(_PATTERNS * longest, np.int32)
    ends = np.empty((in_width + 1) * _PATTERNS, np.int32)
    scratch = np.empty(64, np.uint8)
    potential = np.empty(out_width * channels, np.float32)

    for image in range(n_images):
        fired = 0
        for row in range(out_rows):
            row_place = row * out_width
            if fires:
                _begin(potential, potentials, image * out_places, row_place, out_width, initial, per_place, masks)
            for first_step in range(0, n_steps, _STEPS):
                here = min(_STEPS, n_steps - first_step)
                for pattern in range(_PATTERNS):
                    ends[pattern] = pattern * longest
                first = (image * n_steps + first_step) * frame
                seen = rows[row * n_segments : (row + 1) * n_segments]
                list_patterns(spikes, first, (here, frame, in_width, words, lanes), seen, bases, scratch, lists, ends)
                for block in range(blocks):
                    channel = block * lanes
                    limit = load(threshold, channel, masks)
                    down = load(subtracted, channel, masks)
                    steady = load(constant, channel, masks)
                    for place in range(out_width):
                        offset = block * block_size + np.intp(at(shift, place)) * lanes
                        begin = np.intp(at(left, place)) * _PATTERNS
                        end = np.intp(at(right, place)) * _PATTERNS
                        sum_0 = sum_1 = sum_2 = sum_3 = nothing  # of the four steps
                        for late in range(0, _PATTERNS, 4):  # the spikes in the last two of them
                            p, q = begin + late, end + late
                            neither = _rows(nothing, lists, at(ends, p), at(ends, q), weights, offset, masks)
                            one = _rows(nothing, lists, at(ends, p + 1), at(ends, q + 1), weights, offset, masks)
                            two = _rows(nothing, lists, at(ends, p + 2), at(ends, q + 2), weights, offset, masks)
                            both = _rows(nothing, lists, at(ends, p + 3), at(ends, q + 3), weights, offset, masks)
                            one = plus(one, both)
                            sum_0 = plus(sum_0, one)
                            sum_1 = plus(sum_1, plus(two, both))
                            if late:
                                every = plus(plus(neither, two), one)
                                if late & 4:
                                    sum_2 = plus(sum_2, every)
                                if late & 8:
                                    sum_3 = plus(sum_3, every)
                        where = row_place + place
                        if per_place:
                            parameter = where * per_place + channel
                            limit = load(threshold, parameter, masks)
                            down = load(subtracted, parameter, masks)
                            steady = load(constant, parameter, masks)
                        result = (image * n_steps + first_step) * out_places + where
                        if fires:
                            v = load(potential, place * channels + channel, masks)
                            for step in range(here):
                                v = plus(times_plus(v, keep, steady), sum_0)
                                sum_0, sum_1, sum_2 = sum_1, sum_2, sum_3
                                fired_now = reaches(v, limit)
                                v = choose(fired_now, nothing if to_zero else minus(v, down), v)
                                put(masks, (result + step * out_places) * blocks + block, fired_now)
                                fired += population_count(fired_now)
                            store(potential, place * channels + channel, v)
                        else:
                            for step in range(here):
                                store(out, (result + step * out_places) * channels + channel, plus(steady, sum_0))
                                sum_0, sum_1, sum_2 = sum_1, sum_2, sum_3
            if potentials.size:
                _copy(
                    potential, 0, potentials, (image * out_places + row_place) * channels, out_width * channels, masks
                )
        counts[image] = fired


@kernel
def gather_numbers(
    events: Any,
    sizes: Any,
    geometry: Any,
    weights: Any,
    neurons: Any,
    fires: Any,
    potentials: Any,
    masks: Any,
    counts: Any,
    out: Any,
) -> None:
    """Sum the weight rows of numbers that each output place sees, times the numbers; the rest as `gather_spikes`.

    Parameters
    ----------
    events : indices (int32, 32 more than there are), values (float32), starts (int32): see `events_of_values`.
    """
    index, value, starts = events
    n_images, n_steps, in_places, in_width, in_channels, out_rows, out_width, channels = sizes
    rows, bases, left, right, shift = geometry
    retention, to_zero, per_place, initial, threshold, subtracted, constant = neurons
    lanes = masks.itemsize * 8
    blocks = channels // lanes
    n_segments = bases.size
    keep = fill(retention, masks)
    nothing = fill(np.float32(0), masks)
    out_places = out_rows * out_width
    block_size = weights.size // blocks
    longest = 0  # the lists of a row of output places
    for place in range(out_width):
        longest += n_segments * (right[place] - left[place]) * in_channels
    group = min(n_steps, _GROUP)
    lists = np.empty(group * longest + 32, np.int32)
    levels = np.empty(group * longest + 32, np.float32)
    begins = np.empty(group * out_width + 1, np.int64)
    potential = np.empty(out_width * channels, np.float32)

    for image in range(n_images):
        fired = 0
        for row in range(out_rows):
            row_place = row * out_width
            if fires:
                _begin(potential, potentials, image * out_places, row_place, out_width, initial, per_place, masks)
            for first_step in range(0, n_steps, group):
                last_step = min(first_step + group, n_steps)
                end = 0
                for step in range(first_step, last_step):
                    frame = (image * n_steps + step) * in_places
                    for place in range(out_width):
                        begins[(step - first_step) * out_width + place] = end
                        for segment in range(n_segments):
                            in_row = np.intp(at(rows, row * n_segments + segment))
                            if in_row < 0:
                                continue
                            base = frame + in_row * in_width
                            source, last = at(starts, base + at(left, place)), at(starts, base + at(right, place))
                            move = at(shift, place) + at(bases, segment)
                            for more in range(0, last - source, 32):
                                copy_32(index, source + more, lists, end + more, move, np.int32(lanes))
                            for entry in range(last - source):
                                levels[end + entry] = at(value, source + entry)
                            end += last - source
                begins[(last_step - first_step) * out_width] = end
                for block in range(blocks):
                    channel = block * lanes
                    limit = load(threshold, channel, masks)
                    down = load(subtracted, channel, masks)
                    steady = load(constant, channel, masks)
                    offset = block * block_size
                    for step in range(first_step, last_step):
                        for place in range(out_width):
                            where = row_place + place
                            if per_place:
                                parameter = where * per_place + channel
                                limit = load(threshold, parameter, masks)
                                down = load(subtracted, parameter, masks)
                                steady = load(constant, parameter, masks)
                            v = steady
                            if fires:
                                v = times_plus(load(potential, place * channels + channel, masks), keep, v)
                            begin = (step - first_step) * out_width + place
                            for entry in range(begins[begin], begins[begin + 1]):
                                weight = load(weights, offset + at(lists, entry), masks)
                                v = times_plus(weight, fill(at(levels, entry), masks), v)
                            result = (image * n_steps + step) * out_places + where
                            if fires:
                                fired_now = reaches(v, limit)
                                v = choose(fired_now, nothing if to_zero else minus(v, down), v)
                                store(potential, place * channels + channel, v)
                                put(masks, result * blocks + block, fired_now)
                                fired += population_count(fired_now)
                            else:
                                store(out, result * channels + channel, v)
            if potentials.size:
                _copy(
                    potential, 0, potentials, (image * out_places + row_place) * channels, out_width * channels, masks
                )
        counts[image] = fired
