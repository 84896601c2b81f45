"""Tuning moves constants alone, against the gradient that the definition gives, and errs less at the readout."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import snnrepro
from snnrepro import ModelError
from snnrepro.datasets import load_mnist, pixels
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Dense, Normalize, ReLU
from snnrepro.spiking import tune
from snnrepro.spiking.calibrate import Calibrated
from snnrepro.spiking.neurons import IF, Population
from snnrepro.spiking.prepare import prepare
from snnrepro.spiking.recipes import RECIPES, Recipe
from snnrepro.spiking.shelf import Shelf
from snnrepro.spiking.tune import Constants, differentiated, population_of, relative

N_STEPS = 4
TUNED = replace(RECIPES["tuned"], passes=3)
RECIPES_COMPARED = {"balanced": "balanced", "tuned": TUNED}


DENSE = Path(snnrepro.__file__).parent / "data" / "networks" / "dense-seed0-keras.npz"
SEEN, OTHERS = np.split(pixels(load_mnist().x_train[:700]), [400])


@functools.lru_cache(maxsize=None)
def network():
    """The thesis's dense network, without its softmax."""
    trained = snnrepro.load(DENSE)
    return Network(trained.input_name, trained.input_shape, trained.nodes[:-1], {})


@pytest.fixture(scope="module")
def converted():
    return {name: snnrepro.convert(network(), recipe, SEEN, N_STEPS) for name, recipe in RECIPES_COMPARED.items()}


@pytest.fixture(scope="module")
def spoilt(converted):
    """What calibration gave, but with membranes that begin too low and thresholds that are off."""
    rng = np.random.RandomState(2)
    populations = {
        name: replace(
            own,
            initial_potential=own.initial_potential - rng.uniform(0, 1, own.amplitude.shape) * own.amplitude,
            threshold=own.threshold * rng.uniform(0.67, 1.5, own.amplitude.shape),
        )
        for name, own in converted["balanced"].populations.items()
    }
    return replace(converted["balanced"], populations=populations)


def tuned(spiking, is_classes, passes=6):
    """Tune a spiking network of the dense network."""
    begun = Calibrated(dict(spiking.populations), spiking.correction, 0.0, len(SEEN))
    with Shelf(2**26) as shelf:
        tuning = tune.Tuning(prepare(network()), SEEN, begun, TUNED, N_STEPS, shelf, is_classes)
        made = tuning.run(passes, lambda _: None)
    return replace(spiking, populations=made.populations, correction=made.correction)


def error(spiking, x=OTHERS):
    """Mean square of what the scores are off on images that nothing was fitted to, over their variance."""
    trained = network().forward(x)
    return float(np.square(spiking.run(x).scores - trained).mean() / trained.var())


@pytest.mark.parametrize("is_classes", [True, False])
def test_constants_that_are_off_are_made_up_for_on_other_images_too(spoilt, converted, is_classes):
    before, after = error(spoilt), error(tuned(spoilt, is_classes))
    assert before > 2 * error(converted["balanced"]), "there is something to gain"
    assert after < 0.7 * before


def test_weights_stay_and_constants_are_one_per_channel_of_neurons_that_fire_once_a_step(converted):
    balanced, tuned = converted["balanced"], converted["tuned"]
    for before, after in zip(balanced.network.nodes, tuned.network.nodes):
        if hasattr(before.layer, "weights"):
            assert before.layer.weights.tobytes() == after.layer.weights.tobytes()
            assert before.layer.bias.tobytes() == after.layer.bias.tobytes()
    for name, population in tuned.populations.items():
        own = balanced.populations[name]
        assert population.neuron == own.neuron
        assert population.neuron.max_spikes == 1
        assert population.threshold.shape == own.threshold.shape == (len(own.threshold),)
        assert (population.threshold > 0).all()


def test_the_same_images_give_the_same_constants(converted):
    again = snnrepro.convert(network(), TUNED, SEEN, N_STEPS)
    for name, population in converted["tuned"].populations.items():
        np.testing.assert_array_equal(population.threshold, again.populations[name].threshold)


def test_a_tuned_network_survives_its_archive_and_runs_alike_by_definition(converted, tmp_path):
    converted["tuned"].save(tmp_path / "tuned.npz")
    again = snnrepro.load_spiking(tmp_path / "tuned.npz")
    by_definition = again.run(OTHERS[:40], simulator="plain")
    by_events = converted["tuned"].run(OTHERS[:40])
    np.testing.assert_allclose(by_events.scores, by_definition.scores, rtol=1e-3, atol=1e-3)
    assert again.provenance["recipe"] == "tuned"


def test_a_gradient_of_the_wrong_sign_is_noticed_and_nothing_of_it_kept(monkeypatch, spoilt):
    """On held-out images every pass is worse than the beginning, which is what is returned."""
    right = tune.Tuning.gradient

    def planted(self, images):
        return {name: tuple(-part for part in parts) for name, parts in right(self, images).items()}

    monkeypatch.setattr(tune.Tuning, "gradient", planted)
    kept = tuned(spoilt, is_classes=True, passes=2)
    for name, own in spoilt.populations.items():
        np.testing.assert_allclose(kept.populations[name].threshold, own.threshold, rtol=1e-5)


def _constants(rng):
    shape = (3, 1, 1)
    return Constants(
        *(rng.uniform(low, high, shape) for low, high in ((-1, 1), (-0.3, 0.3), (-0.3, 0.3), (0, 1), (-0.2, 0.2)))
    )


def _by_definition(constants, z, growth):
    """Mean output of neurons by the formula, in float64, one constant at a time."""
    a, theta, r = (np.exp(part) for part in constants[:3])
    theta, r, v0, b = a * theta, a * r, a * constants[3], a * constants[4]
    weight = sum(growth**-step for step in range(N_STEPS)) * growth ** (N_STEPS - 1)
    return np.clip(a / r * (z + b + (growth**N_STEPS * v0 - theta + r / 2) / weight), 0, a)


@given(st.integers(0, 999), st.sampled_from([1.0, 1.1, 1.25]))
def test_the_gradient_of_neurons_is_that_of_their_mean_output(seed, growth):
    rng = np.random.RandomState(seed)
    constants, z = _constants(rng), rng.uniform(-1, 3, (5, 3, 2, 4))
    given_ = rng.standard_normal(z.shape)
    output, top = _by_definition(constants, z, growth), np.exp(constants.amplitude)
    given_[(output == 0) | (output == top)] = 0  # beyond its ends a neuron still learns for half a spike
    by_input, found = differentiated(constants, z.astype(np.float32), given_.astype(np.float32), growth, N_STEPS)
    assert np.count_nonzero(given_) > 5
    step = 1e-6
    slope = (_by_definition(constants, z + step, growth) - _by_definition(constants, z - step, growth)) / (2 * step)
    np.testing.assert_allclose(by_input, given_ * slope, rtol=1e-3, atol=1e-4)
    for index, own in enumerate(found):
        for channel in range(3):
            ends = []
            for sign in (-1, 1):
                moved = [part.copy() for part in constants]
                moved[index][channel] += sign * step
                ends.append(np.sum(given_ * _by_definition(Constants(*moved), z, growth)))
            wanted = (ends[1] - ends[0]) / (2 * step)
            assert own[channel].item() == pytest.approx(wanted, rel=5e-3, abs=5e-3), Constants._fields[index]


def test_the_line_that_is_differentiated_is_what_neurons_give_on_average():
    """Of many inputs drawn, the mean of IF's own spikes is the line, to a tenth of a spike."""
    rng = np.random.RandomState(3)
    constants = Constants(*(np.full((1,), value) for value in (0.0, 0.1, -0.1, 0.5, 0.05)))
    z = rng.uniform(0.1, 0.7, 20_000)
    population = population_of(constants, IF())
    v, spikes = np.full(z.shape, population.initial_potential[0]), 0
    for _ in range(N_STEPS):
        v = v + z + population.bias[0]
        fired = v >= population.threshold[0]
        v, spikes = v - fired * population.subtracted[0], spikes + fired
    rate = population.amplitude[0] * spikes / N_STEPS
    line = _by_definition(constants, z, 1.0)
    assert rate.std() > 0.1
    assert np.mean(rate - line) == pytest.approx(0, abs=0.1 / N_STEPS)


def test_constants_come_back_from_how_they_are_tuned():
    rng = np.random.RandomState(5)
    parts = {
        "threshold": rng.uniform(0.5, 2, (4, 1)),
        "amplitude": rng.uniform(0.5, 2, (4, 1)),
        "initial_potential": rng.uniform(-1, 1, (4, 1)),
        "bias": rng.uniform(-1, 1, (4, 1)),
        "subtracted": rng.uniform(0.5, 2, (4, 1)),
    }
    again = population_of(relative(Population(IF(growth=1.1), **parts)), IF(growth=1.1))
    for name, values in parts.items():
        np.testing.assert_allclose(getattr(again, name), values, rtol=1e-5, atol=1e-6)


def test_a_layer_without_a_gradient_is_refused_before_anything_is_fitted():
    ones = np.ones((4,), np.float32)
    nodes = (
        Node("c", ("x",), Dense(np.eye(4, dtype=np.float32), ones)),
        Node("r", ("c",), ReLU()),
        Node("norm", ("r",), Normalize((0,), 1e-5)),
        Node("d", ("norm",), Dense(np.eye(4, dtype=np.float32), ones)),
        Node("s", ("d",), ReLU()),
        Node("out", ("s",), Dense(np.ones((4, 2), np.float32), np.zeros(2, np.float32))),
    )
    with pytest.raises(ModelError, match=r"no gradient is known through Normalize 'norm'.*'balanced'"):
        snnrepro.convert(Network("x", (4,), nodes, {}), "tuned", SEEN[:, :4, 9, 0], N_STEPS)


@pytest.mark.parametrize("passes", [-1, 1.5, True])
def test_passes_are_counted(passes):
    with pytest.raises(ModelError, match="passes must be a whole number"):
        Recipe("mine", passes=passes)


def test_leaky_neurons_are_not_tuned():
    with pytest.raises(ModelError, match="0 for LIF and neurons that leak"):
        Recipe("mine", IF(tau=0.02), passes=1)
