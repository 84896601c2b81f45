"""The compiled loops over the neurons of a layer; those over its weights are in `gather`.

Arrays are flat. Spikes are bits: a word of the mask holds as many neighbouring channels as it has bits. Events are the
numbers that are not 0: their index inside their row (place times padded channels, plus channel) and their value;
``starts[k]`` says where those of place k begin, k counting images, steps, rows and places.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from snnrepro.compiling import kernel
from snnrepro.simulators.event.simd import (
    at,
    choose,
    copy_8_bytes,
    differs,
    fill,
    load,
    lowest_bit,
    minus,
    plus,
    population_count,
    reaches,
    store,
    times_plus,
)


@kernel
def fire(z: Any, moving: Any, sizes: Any, neurons: Any, potentials: Any, masks: Any, counts: Any) -> None:
    """Run integrate-and-fire neurons on given currents.

    Parameters
    ----------
    z : float32, one for each neuron in each image, and in each step where `moving`.
    moving : whether the currents change.
    sizes : images, steps, places, padded channels.
    neurons : factor of the potential a step, whether it is reset to zero, how far the constants of one place lie from
        those of the next (0: all places have the same), then the constants, flat float32: initial potential,
        threshold, what a spike subtracts, constant current.
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
def fire_lif(z: Any, moving: Any, sizes: Any, neurons: Any, potentials: Any, masks: Any, counts: Any) -> None:
    """Run leaky integrate-and-fire neurons on given inputs; parameters as `fire`, but for the following.

    Parameters
    ----------
    neurons : gain; step, membrane time constant and refractory period, s; lowest potential; how far the constants of
        one place lie from those of the next (0: the same); initial potential and constant current, flat float32.
    potentials : float32, image, potentials and then what is left of the refractory periods, s; or empty.

    Notes
    -----
    The equation of `LIF`, as the plain simulator has it. Most neurons spend a step outside their refractory period or
    inside it; those that leave it, and those that fire, are looked at one by one.
    """
    n_images, n_steps, n_places, channels = sizes
    gain, dt, tau_rc, tau_ref, lowest, per_place, initial, constant = neurons
    lanes = masks.itemsize * 8
    blocks = channels // lanes
    nothing, one = fill(np.float32(0), masks), fill(np.float32(1), masks)
    times, length, floor = fill(gain, masks), fill(dt, masks), fill(lowest, masks)
    decay = fill(np.float32(np.expm1(np.float64(-dt / tau_rc))), masks)
    every = np.uint64(reaches(nothing, nothing))
    levels, currents, waits = np.empty(64, np.float32), np.empty(64, np.float32), np.empty(64, np.float32)
    layer = n_places * channels
    for image in range(n_images):
        fired = 0
        for place in range(n_places):
            for channel in range(0, channels, lanes):
                neuron = place * channels + channel
                v, wait = load(initial, place * per_place + channel, masks), nothing
                if potentials.size:
                    v = load(potentials, 2 * image * layer + neuron, masks)
                    wait = load(potentials, (2 * image + 1) * layer + neuron, masks)
                base = load(constant, place * per_place + channel, masks)
                first = image * (n_steps if moving else 1) * layer + neuron
                word = (image * n_steps * n_places + place) * blocks + channel // lanes
                for step in range(n_steps):
                    given = load(z, first + (step * layer if moving else 0), masks)
                    current = plus(times_plus(given, times, nothing), base)
                    wait = minus(wait, length)
                    active = reaches(nothing, wait)
                    change = times_plus(minus(current, v), decay, nothing)
                    v = choose(active, minus(v, change), v)
                    leaving = every ^ (np.uint64(active) | np.uint64(reaches(wait, length)))
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
                    spikes = every ^ np.uint64(reaches(one, v))
                    masks[word + step * n_places * blocks] = spikes
                    v = choose(reaches(v, floor), v, floor)
                    if spikes == 0:
                        continue
                    fired += population_count(spikes)
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
def events_of_values(
    x: Any, n_rows: Any, width: Any, channels: Any, padded: Any, places: Any, index: Any, value: Any, starts: Any
) -> None:
    """List the numbers of `x` that are not 0: float32, row, place, channel; `padded` channels have the indices.

    `places` is uint8, ``(256 * 9,)``: for each byte which of its bits are set (8), then how many are (256); `index` and
    `value` have 32 numbers more than `x`.
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
def operations(masks: Any, n_steps: Any, words: Any, starts: Any, fan: Any, out: Any) -> None:
    """Write to `out` how many weights the spikes of each image meet.

    Those of the places from ``starts[k]`` to the next, of `words` words each, meet ``fan[k]``.
    """
    frame = starts[-1] * words
    for image in range(out.size):
        total = 0
        for step in range(n_steps):
            first = (image * n_steps + step) * frame
            for run in range(fan.size):
                spikes = 0
                for word in range(first + starts[run] * words, first + starts[run + 1] * words):
                    spikes += population_count(at(masks, word))
                total += spikes * fan[run]
        out[image] = total


@kernel
def gains(x: Any, windows: Any, sizes: Any, growth: Any, totals: Any, largest: Any, out: Any) -> None:
    """Write to `out` what the maxima of sums gain in each step: float32, image, step, output place, channel.

    Parameters
    ----------
    x : float32, image, step, place, channel: what is added to the sums.
    windows : int32, ``(output places, n)``: the places of which the maximum is taken; -1 for none.
    sizes : images, steps, places, channels.
    growth : factor of sums and maxima a step, float32.
    totals, largest : float32, image, place, channel: the sums and maxima so far; changed.
    """
    n_images, n_steps, n_places, channels = sizes
    n_outputs, n_taps = windows.shape
    maxima = np.empty(channels, np.float32)
    for image in range(n_images):
        total = totals[image * n_places * channels : (image + 1) * n_places * channels]
        for step in range(n_steps):
            first = (image * n_steps + step) * n_places * channels
            for number in range(n_places * channels):
                total[number] = growth * total[number] + x[first + number]
            for output in range(n_outputs):
                maxima[:] = -np.inf
                for tap in range(n_taps):
                    place = windows[output, tap]
                    if place >= 0:
                        for channel in range(channels):
                            value = total[place * channels + channel]
                            maxima[channel] = value if value > maxima[channel] else maxima[channel]
                before = (image * n_outputs + output) * channels
                result = ((image * n_steps + step) * n_outputs + output) * channels
                for channel in range(channels):
                    out[result + channel] = maxima[channel] - growth * largest[before + channel]
                    largest[before + channel] = maxima[channel]
