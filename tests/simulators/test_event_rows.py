"""Rows of weights are added up alike in all three ways, whatever is seen: layer and machine decide which is taken."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from snnrepro.simd import store
from snnrepro.simulators.event import rows
from snnrepro.simulators.event.rows import (
    IN_STEPS,
    PATTERNS,
    STEPS,
    sort_active,
    sums_by_pattern,
    sums_in_registers,
    sums_of_lists,
)

LANES = 16


def stored(way):
    """Return a compiled function that writes the four sums, ``(4, 16)``, flat."""

    @njit
    def write(case, seen_rows, bases, sides, sizes, weights, out):
        active, starts, patterns = case
        masks = np.empty(0, np.uint16)
        room = np.full(PATTERNS * LANES, 55, weights.dtype)
        place = sides[0], sides[1], 0, sizes[0], sizes[1]
        sums = way(active, starts, patterns, seen_rows, bases, place, weights, room, masks)
        store(out, 0, sums[0])
        store(out, 16, sums[1])
        store(out, 32, sums[2])
        store(out, 48, sums[3])

    return write


@njit
def from_lists(active, starts, patterns, seen_rows, bases, place, weights, room, masks):
    left, right, first, width, channels = place
    longest = bases.size * width * channels
    lists = np.empty(PATTERNS * longest, np.int32)
    ends = np.empty((width + 1) * PATTERNS, np.int32)
    for pattern in range(PATTERNS):
        ends[pattern] = pattern * longest
    sort_active(active, starts, patterns, seen_rows, bases, width, channels, LANES, lists, ends)
    return sums_of_lists(lists, ends, left, right, weights, first, masks)


@njit
def in_registers(active, starts, patterns, seen_rows, bases, place, weights, room, masks):
    left, right, first, width, channels = place
    return sums_in_registers(
        active, starts, patterns, seen_rows, bases, left, right, first, width, channels, weights, IN_STEPS, masks
    )


@njit
def by_pattern(active, starts, patterns, seen_rows, bases, place, weights, room, masks):
    left, right, first, width, channels = place
    return sums_by_pattern(
        active, starts, patterns, seen_rows, bases, left, right, first, width, channels, weights, room, masks
    )


WAYS = {
    ("lists", np.float32): stored(from_lists),
    ("lists", np.int16): stored(from_lists),
    ("registers", np.float32): stored(in_registers),
    ("patterns", np.float32): stored(by_pattern),
    ("patterns", np.int16): stored(by_pattern),
}


@st.composite
def windows(draw):
    """Draw spikes ``(4, rows, width, channels)``, the rows that are seen (-1 for none), and from where to where."""
    n_rows, width, channels = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 9))
    seed, density = draw(st.integers(0, 2**16)), draw(st.sampled_from([0.05, 0.4, 0.9]))
    rng = np.random.RandomState(seed)
    spikes = rng.random_sample((STEPS, n_rows, width, channels)) < density
    seen = np.array(draw(st.lists(st.integers(-1, n_rows - 1), min_size=1, max_size=3)), np.int32)
    left = draw(st.integers(0, width))
    return spikes, seen, (left, draw(st.integers(left, width))), rng


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way[0]}-{way[1].__name__}")
@given(case=windows())
def test_the_sums_of_four_steps_are_those_of_the_rows_that_spiked(way, case):
    spikes, seen, (left, right), rng = case
    _, n_rows, width, channels = spikes.shape
    active = np.flatnonzero(spikes.any(axis=0).reshape(-1)).astype(np.int32)
    counts = spikes.any(axis=0).reshape(n_rows * width, channels).sum(axis=1)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    patterns = (spikes * (1 << np.arange(STEPS)).reshape(STEPS, 1, 1, 1)).sum(axis=0).astype(np.uint8).reshape(-1)
    weights = rng.randint(-99, 100, (len(seen), width, channels, LANES)).astype(way[1])
    bases = (np.arange(len(seen)) * width * channels).astype(np.int32)
    out = np.full(STEPS * LANES, 77, way[1])
    WAYS[way]((active, starts, patterns), seen, bases, (left, right), (width, channels), weights.reshape(-1), out)
    wanted = np.zeros((STEPS, LANES))
    for rows_of, row in zip(weights, seen):
        if row >= 0:
            window = spikes[:, row, left:right].astype(np.float64)
            wanted += np.einsum("twc,wcl->tl", window, rows_of[left:right].astype(np.float64))
    np.testing.assert_array_equal(out.reshape(STEPS, LANES), wanted)


def test_the_machine_decides_how_float32_rows_are_added_up(monkeypatch):
    monkeypatch.setattr(rows.config, "CPU_FEATURES", "+avx2,+fma")
    assert not rows.has_wide_registers()
    monkeypatch.setattr(rows.config, "CPU_FEATURES", "+avx2,+avx512f")
    assert rows.has_wide_registers()
