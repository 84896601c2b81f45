"""Calibration in blocks of bounded memory: the same constants, however small the blocks are."""

from __future__ import annotations

from contextlib import contextmanager

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Add, Conv, Dense, MaxPool, ReLU, Reshape
from snnrepro.simulators.event import in_turn
from snnrepro.spiking import convert as module
from snnrepro.spiking import fit
from snnrepro.spiking.convert import convert
from snnrepro.spiking.prepare import prepare
from snnrepro.spiking.recipes import Recipe
from snnrepro.spiking.shelf import Shelf
from tests.helpers.event_cases import threads
from tests.helpers.spiking_strategies import image_networks

LARGEST = Recipe("largest", threshold="max", initial_potential=0.5)
"""Its constants are those of the dyadic activations, so that all sums are exact in whatever order."""


@contextmanager
def blocks_of(numbers, room):
    """Set how many numbers are computed together, and how many bytes lie in memory."""
    before = in_turn._NUMBERS, in_turn._NUMBERS_OF_A_BLOCK, in_turn._FEWEST_BLOCKS, module._ROOM
    in_turn._NUMBERS = in_turn._NUMBERS_OF_A_BLOCK = numbers
    in_turn._FEWEST_BLOCKS, module._ROOM = 1, room
    try:
        yield
    finally:
        in_turn._NUMBERS, in_turn._NUMBERS_OF_A_BLOCK, in_turn._FEWEST_BLOCKS, module._ROOM = before


def assert_same(network, x, recipe, n_steps, numbers=1):
    """Assert that a conversion in small blocks, all in files, gives what one without blocks does."""
    with blocks_of(2**30, 2**30):
        whole = convert(network, recipe, x, n_steps)
    with blocks_of(numbers, 0):
        pieces = convert(network, recipe, x, n_steps)
    assert whole.populations.keys() == pieces.populations.keys()
    for name, population in whole.populations.items():
        for constant in ("threshold", "amplitude", "initial_potential", "bias", "subtracted"):
            np.testing.assert_array_equal(
                getattr(population, constant), getattr(pieces.populations[name], constant), err_msg=f"{constant} {name}"
            )
    # Float64 sums over the images in another order.
    np.testing.assert_allclose(whole.correction, pieces.correction, rtol=1e-6, atol=1e-7)


@pytest.mark.filterwarnings("ignore::snnrepro.errors.DataWarning")
@settings(max_examples=30, deadline=None)
@given(image_networks(), st.integers(1, 3), st.integers(1, 9), st.integers(0, 1000))
def test_every_network_is_calibrated_the_same_in_blocks_of_one_image_and_step(network, n_images, n_steps, seed):
    x = np.random.RandomState(seed).randint(0, 4, (n_images, *network.input_shape)).astype(np.float32) / 4
    assert_same(network, x, LARGEST, n_steps)


@pytest.mark.filterwarnings("ignore::snnrepro.errors.DataWarning")
@pytest.mark.parametrize("recipe", ["balanced", "balanced-lif", Recipe("together", per_channel=False)])
def test_fitted_constants_are_the_same_in_blocks(recipe, monkeypatch):
    network, x = _residual()
    monkeypatch.setattr(fit, "_NUMBERS", 6 * 4096)  # a channel at a time
    # The compiled loops take four steps together: in pieces of four they add up in the same order.
    assert_same(network, x, recipe, 6, numbers=4 * in_turn._numbers_per_step(prepare(network)))


@pytest.mark.filterwarnings("ignore::snnrepro.errors.DataWarning")
@pytest.mark.parametrize("recipe", ["balanced", "balanced-lif"])
def test_another_number_of_cores_gives_the_same_network_and_spikes_to_the_bit(recipe):
    n_cores = numba.config.NUMBA_NUM_THREADS
    if n_cores == 1:
        pytest.skip("nothing to compare on one core")
    rng = np.random.RandomState(0)
    sizes = (37, 61, 23, 7)
    first, second, last = (
        Dense(rng.normal(size=pair) * np.sqrt(2 / pair[0]), rng.normal(size=pair[1]) / 10)
        for pair in zip(sizes, sizes[1:])
    )
    nodes = (
        Node("a", ("x",), first),
        Node("spikes a", ("a",), ReLU()),
        Node("b", ("spikes a",), second),
        Node("spikes b", ("b",), ReLU()),
        Node("y", ("spikes b",), last),
    )
    network, x = Network("x", (37,), nodes, {}), rng.rand(203, 37).astype(np.float32)
    with threads(n_cores):
        of_all = convert(network, recipe, x, 7)
        ran = of_all.run(x)
    for fewer in range(1, n_cores):
        with threads(fewer):
            of_some = convert(network, recipe, x, 7)
            again = of_all.run(x)
        for name, population in of_all.populations.items():
            np.testing.assert_array_equal(population.threshold, of_some.populations[name].threshold)
            np.testing.assert_array_equal(population.amplitude, of_some.populations[name].amplitude)
            np.testing.assert_array_equal(population.initial_potential, of_some.populations[name].initial_potential)
            np.testing.assert_array_equal(ran.spike_counts[name], again.spike_counts[name])
        np.testing.assert_array_equal(of_all.correction, of_some.correction)
        np.testing.assert_array_equal(ran.scores_by_step, again.scores_by_step)


def _residual():
    """Return a network with a maximum and a residual connection that both matter, and images."""
    rng = np.random.RandomState(0)

    def conv(n_in, n_out):
        weights = rng.randint(-2, 3, (n_out, n_in, 3, 3)) / 4
        return Conv(weights, rng.randint(-1, 2, n_out) / 4, (1, 1), (1, 1), ((1, 1), (1, 1)))

    nodes = (
        Node("a", ("x",), conv(2, 5)),
        Node("spikes a", ("a",), ReLU()),
        Node("pool", ("spikes a",), MaxPool((2, 2), (1, 2), (1, 1), ((0, 0), (0, 0)))),
        Node("b", ("pool",), conv(5, 5)),
        Node("sum", ("pool", "b"), Add()),
        Node("spikes b", ("sum",), ReLU()),
        Node("flat", ("spikes b",), Reshape((60,))),
        Node("y", ("flat",), Dense(rng.randint(-2, 3, (60, 3)) / 4, np.zeros(3))),
    )
    return Network("x", (2, 5, 6), nodes, {}), rng.randint(0, 5, (9, 2, 5, 6)).astype(np.float32) / 4


def test_a_state_that_is_not_handed_on_is_seen(monkeypatch):
    def forgetful(self, states, name, stage, images):
        return stage.begin(images.stop - images.start)

    monkeypatch.setattr(in_turn.LayersInTurn, "_state", forgetful)
    with pytest.raises(AssertionError, match=r"(N|n)ot equal"), pytest.warns(match="9 calibration images"):
        assert_same(*_residual(), LARGEST, 8)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(0, 400))
def test_arrays_come_back_as_they_were_and_no_more_than_there_is_room_for_are_held(sizes, room):
    with Shelf(room) as shelf:
        trays = [shelf.tray(), shelf.tray()]
        arrays = {(i, n): np.arange(n, dtype=np.float32).reshape(1, n) + i for i, n in enumerate(sizes)}
        for (i, n), array in arrays.items():
            trays[i % 2].put((i, n), array)
        assert room - shelf.room == sum(a.nbytes for tray in trays for a in tray._held.values())
        assert shelf.room >= 0
        found = {key: array for tray in trays for key, array in tray.items()}
        assert found.keys() == arrays.keys()
        for key, array in arrays.items():
            np.testing.assert_array_equal(found[key], array)
        trays[0].clear()
        assert list(trays[0].items()) == []
        assert all(trays[i % 2].get((i, n)).shape == (1, n) for i, n in arrays if i % 2)
    assert shelf.room == room


def test_no_candidate_given_up_is_better_than_the_one_chosen():
    rng = np.random.RandomState(3)
    targets = np.maximum(rng.normal(size=(3, 77)), 0).astype(np.float32)
    inputs = (targets[:, None] + 0.4 * rng.normal(size=(3, 5, 77))).astype(np.float32)
    candidates = np.tile(fit._combinations(fit.Grid()), (3, 1, 1))
    share = np.full(5, 0.2, np.float32)
    packed = fit._in_vectors(inputs)
    found = fit._squared_errors(packed, targets, targets.max(axis=1), candidates, np.float32(1), share, fit._WORD)
    amplitude = candidates[..., 0] * targets.max(axis=1)[:, None]
    potential, threshold, subtracted = (candidates[..., i] * amplitude for i in (1, 2, 3))
    v, total = np.repeat(potential[..., None], 77, axis=2), 0
    for step in range(5):
        v = v + inputs[:, None, step]
        fires = v >= threshold[..., None]
        v = v - fires * subtracted[..., None]
        total = total + fires * (amplitude * share[step])[..., None]
    wanted = ((total - targets[:, None]) ** 2).sum(axis=2, dtype=np.float64)
    kept = np.isfinite(found)
    assert 0.001 < kept.mean() < 0.5
    np.testing.assert_allclose(found[kept], wanted[kept], rtol=1e-5)
    np.testing.assert_array_equal(found.argmin(axis=1), wanted.argmin(axis=1))
