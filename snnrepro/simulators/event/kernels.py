"""The compiled loops: images outside, then rows of the layer, then time steps, then places in the row.

Arrays are flat. Spikes are bits: a word of the mask holds as many neighbouring channels as it has bits. Events are the
channels that are not 0, as the index inside their row (place times padded channels, plus channel), with a value where
they are no spikes; ``starts[k]`` says where those of place k begin, k counting images, steps, rows and places.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from snnrepro.compiling import kernel
from snnrepro.simulators.event.simd import (
    at,
    choose,
    copy_8_bytes,
    copy_32,
    differs,
    fill,
    load,
    minus,
    plus,
    population_count,
    reaches,
    store,
    times_plus,
)

_GROUP = 8
"""Steps whose lists are made before their sums: a block of weights is used for all of them while it is at hand."""


@kernel
def fire(z: Any, moving: Any, sizes: Any, neurons: Any, potentials: Any, masks: Any, counts: Any) -> None:
    """Run integrate-and-fire neurons on given currents.

    Parameters
    ----------
    z : float32, one for each neuron in each image, and in each step where `moving`.
    moving : whether the currents change.
    sizes : images, steps, places, padded channels.
    neurons : see `Neurons.arguments`.
    potentials : float32, image, place, channel: where the neurons begin, and result: where they end; or empty.
    masks : words, result: image, step, place, channels.
    counts : int64, result: spikes of each image.
    """
    n_images, n_steps, n_places, channels = sizes
    retention, to_zero, per_place, initial, threshold, subtracted, constant = neurons
    lanes = masks.itemsize * 8
    blocks = channels // lanes
    keep = fill(retention, masks)
    nothing = fill(np.float32(0), masks)
    layer = n_places * channels
    for image in range(n_images):
        fired = 0
        for place in range(n_places):
            for block in range(blocks):
                channel = block * lanes
                parameter = place * per_place + channel
                v = load(initial, parameter, masks)
                if potentials.size:
                    v = load(potentials, image * layer + place * channels + channel, masks)
                limit = load(threshold, parameter, masks)
                down = load(subtracted, parameter, masks)
                base = load(constant, parameter, masks)
                first = image * (n_steps if moving else 1) * layer + place * channels + channel
                current = plus(load(z, first, masks), base)
                word = (image * n_steps * n_places + place) * blocks + block
                for step in range(n_steps):
                    if moving:
                        current = plus(load(z, first + step * layer, masks), base)
                    v = times_plus(v, keep, current)
                    spikes = reaches(v, limit)
                    v = choose(spikes, nothing if to_zero else minus(v, down), v)
                    masks[word + step * n_places * blocks] = spikes
                    fired += population_count(spikes)
                if potentials.size:
                    store(potentials, image * layer + place * channels + channel, v)
        counts[image] = fired


@kernel
def gather(
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
    """Sum the weight rows of the events that each output place sees; fire neurons on the sums, or give the sums.

    Parameters
    ----------
    events : indices (int32, 32 more than there are), values (float32), whether the values are used, starts (int32).
    sizes : images, steps, input rows, places in one, channels of one, output rows, places in one, channels of one;
        channels padded.
    geometry : rows (int32, output row and segment; -1 for none), left, right, shift (int32, segment and output place):
        a segment of an output place is the input places ``left <= place < right`` of a row, the weight row of an event
        there its index plus ``shift``.
    weights : float32, block of channels, weight row, channel in the block; the last row of a block is 0.
    neurons : see `Neurons.arguments`.
    fires : whether there are neurons; otherwise only their constant input is added.
    potentials : as in `fire`; empty where not `fires`.
    masks : words, result where `fires`: image, step, place, channels; else an empty array of the words.
    counts : int64, result: spikes of each image.
    out : float32, result where not `fires`: the sums, in the order of the masks.
    """
    index, value, graded, starts = events
    n_images, n_steps, in_rows, in_width, in_channels, out_rows, out_width, channels = sizes
    rows, left, right, shift = geometry
    retention, to_zero, per_place, initial, threshold, subtracted, constant = neurons
    lanes = masks.itemsize * 8
    blocks = channels // lanes
    n_segments = rows.size // out_rows
    keep = fill(retention, masks)
    nothing = fill(np.float32(0), masks)
    in_places, out_places = in_rows * in_width, out_rows * out_width
    block_size = weights.size // blocks
    longest = 0  # the lists of a row of output places
    for column in range(n_segments * out_width):
        longest += (right[column] - left[column]) * in_channels
    longest += out_width
    group = min(n_steps, _GROUP)
    lists = np.empty(group * longest + 32, np.int32)
    levels = np.empty(group * longest + 32 if graded else 1, np.float32)
    begins = np.empty(group * out_width + 1, np.int64)
    bases = np.empty(n_segments, np.int64)
    columns = np.empty(n_segments, np.int64)
    potential = np.empty(out_width * channels, np.float32)

    for image in range(n_images):
        fired = 0
        for row in range(out_rows):
            n_seen = 0  # segments that lie in the image
            for segment in range(n_segments):
                in_row = at(rows, row * n_segments + segment)
                bases[n_seen] = in_row * in_width
                columns[n_seen] = segment * out_width
                n_seen += in_row >= 0
            for place in range(out_width):
                for channel in range(0, channels, lanes):
                    parameter = (row * out_width + place) * per_place + channel
                    v = load(initial, parameter, masks)
                    if potentials.size:
                        before = (image * out_places + row * out_width + place) * channels + channel
                        v = load(potentials, before, masks)
                    store(potential, place * channels + channel, v)
            for first_step in range(0, n_steps, group):
                last_step = min(first_step + group, n_steps)
                end = 0
                for step in range(first_step, last_step):
                    frame = (image * n_steps + step) * in_places
                    for place in range(out_width):
                        begins[(step - first_step) * out_width + place] = end
                        for segment in range(n_seen):
                            column = at(columns, segment) + place
                            base = frame + at(bases, segment)
                            source, last = at(starts, base + at(left, column)), at(starts, base + at(right, column))
                            move = at(shift, column)
                            copy_32(index, source, lists, end, move, np.int32(lanes))
                            if graded:
                                for entry in range(last - source):
                                    levels[end + entry] = at(value, source + entry)
                            if last - source > 32:
                                for more in range(32, last - source, 32):
                                    copy_32(index, source + more, lists, end + more, move, np.int32(lanes))
                            end += last - source
                        if not graded:  # an even number of them, by the row of zeros
                            lists[end] = np.int32(block_size - lanes)
                            end += (end - begins[(step - first_step) * out_width + place]) & 1
                begins[(last_step - first_step) * out_width] = end
                for block in range(blocks):
                    channel = block * lanes
                    limit = load(threshold, channel, masks)
                    down = load(subtracted, channel, masks)
                    steady = load(constant, channel, masks)
                    offset = block * block_size
                    for step in range(first_step, last_step):
                        for place in range(out_width):
                            where = row * out_width + place
                            if per_place:
                                parameter = where * per_place + channel
                                limit = load(threshold, parameter, masks)
                                down = load(subtracted, parameter, masks)
                                steady = load(constant, parameter, masks)
                            v = steady
                            if fires:
                                v = times_plus(load(potential, place * channels + channel, masks), keep, v)
                            begin = (step - first_step) * out_width + place
                            if graded:
                                for entry in range(begins[begin], begins[begin + 1]):
                                    weight = load(weights, offset + at(lists, entry), masks)
                                    v = times_plus(weight, fill(at(levels, entry), masks), v)
                            else:
                                event: Any = np.intp(at(begins, begin))
                                stop = np.intp(at(begins, begin + 1))
                                others = nothing  # two sums under way at a time
                                while event != stop:
                                    v = plus(v, load(weights, offset + at(lists, event), masks))
                                    others = plus(others, load(weights, offset + at(lists, event + 1), masks))
                                    event += 2
                                v = plus(v, others)
                            result = (image * n_steps + step) * out_places + where
                            if fires:
                                spikes = reaches(v, limit)
                                v = choose(spikes, nothing if to_zero else minus(v, down), v)
                                store(potential, place * channels + channel, v)
                                masks[result * blocks + block] = spikes
                                fired += population_count(spikes)
                            else:
                                store(out, result * channels + channel, v)
            if potentials.size:
                first = (image * out_places + row * out_width) * channels
                for channel in range(0, out_width * channels, lanes):
                    store(potentials, first + channel, load(potential, channel, masks))
        counts[image] = fired


@kernel
def events_of_masks(masks: Any, n_rows: Any, width: Any, words: Any, places: Any, index: Any, starts: Any) -> None:
    """List the spikes of masks.

    Parameters
    ----------
    masks : words, rows of all images and steps.
    width, words : places of a row, words of a place.
    places : uint8, ``(256 * 9,)``: for each byte which of its bits are set (8), then how many are (256).
    index, starts : int32, result.
    """
    n_bytes = masks.itemsize
    end: Any = 0
    for row in range(n_rows):
        for place in range(width):
            starts[row * width + place] = end
            first = (row * width + place) * words
            for word in range(words):
                bits = at(masks, first + word)
                if bits == 0:
                    continue
                channel = (place * words + word) * n_bytes * 8
                for byte in range(n_bytes):
                    part = np.intp((bits >> (byte * 8)) & 255)
                    copy_8_bytes(places, part * 8, index, end, np.int32(channel + byte * 8))
                    end += np.intp(at(places, 2048 + part))
    starts[n_rows * width] = end


@kernel
def events_of_values(
    x: Any, n_rows: Any, width: Any, channels: Any, padded: Any, places: Any, index: Any, value: Any, starts: Any
) -> None:
    """List the numbers of `x` that are not 0: float32, row, place, channel; `padded` channels have the indices.

    `places` as in `events_of_masks`; `index` and `value` have 32 numbers more than `x`.
    """
    word = np.empty(0, np.uint16)
    nothing = fill(np.float32(0), word)
    end: Any = 0
    for row in range(n_rows):
        for place in range(width):
            begin = end
            starts[row * width + place] = begin
            first = (row * width + place) * channels
            channel = 0
            while channel + 16 <= channels:
                bits = np.intp(differs(load(x, first + channel, word), nothing))
                if bits != 0:
                    for half in range(2):
                        byte = (bits >> (8 * half)) & 255
                        copy_8_bytes(places, byte * 8, index, end, np.int32(place * padded + channel + 8 * half))
                        end += np.intp(at(places, 2048 + byte))
                channel += 16
            while channel < channels:
                index[end] = place * padded + channel
                end += at(x, first + channel) != 0
                channel += 1
            for event in range(begin, end):
                value[event] = at(x, first - place * padded + np.intp(at(index, event)))
    starts[n_rows * width] = end


@kernel
def outputs(masks: Any, amplitude: Any, n_words: Any, out: Any) -> None:
    """Write what spikes give as numbers: `amplitude`, for one frame or one place, where there is a spike, else 0."""
    lanes = masks.itemsize * 8
    nothing = fill(np.float32(0), masks)
    for word in range(n_words):
        given = load(amplitude, word * lanes % amplitude.size, masks)
        store(out, word * lanes, choose(at(masks, word), given, nothing))


@kernel
def weighted_sums(masks: Any, weights: Any, sizes: Any, out: Any) -> None:
    """Add the spikes of each neuron to `out` (image, kept step, neuron), step t by ``weights[kept, t]``."""
    n_images, n_steps, n_words, n_kept = sizes
    lanes = masks.itemsize * 8
    nothing = fill(np.float32(0), masks)
    for image in range(n_images):
        for kept in range(n_kept):
            for word in range(n_words):
                first = ((image * n_kept + kept) * n_words + word) * lanes
                total = load(out, first, masks)
                for step in range(n_steps):
                    weight = fill(weights[kept * n_steps + step], masks)
                    spikes = at(masks, (image * n_steps + step) * n_words + word)
                    total = plus(total, choose(spikes, weight, nothing))
                store(out, first, total)


@kernel
def operations(starts: Any, fan: Any, n_images: Any, n_steps: Any, out: Any) -> None:
    """Add to `out` how many weights the events of each image meet, `fan` of them at each place."""
    n_places = fan.size
    for image in range(n_images):
        total = 0
        for step in range(n_steps):
            first = (image * n_steps + step) * n_places
            for place in range(n_places):
                total += np.int64(at(starts, first + place + 1) - at(starts, first + place)) * fan[place]
        out[image] += total


@kernel
def operations_of_each(index: Any, starts: Any, fan: Any, sizes: Any, out: Any) -> None:
    """Add to `out` how many weights the events of each image meet, `fan` of them for each channel of each place.

    `sizes` are images, steps, rows, places in one, padded channels.
    """
    n_images, n_steps, n_rows, width, channels = sizes
    for image in range(n_images):
        total = 0
        for step in range(n_steps):
            for row in range(n_rows):
                first = ((image * n_steps + step) * n_rows + row) * width
                for event in range(at(starts, first), at(starts, first + width)):
                    total += fan[row * width * channels + at(index, event)]
        out[image] += total
