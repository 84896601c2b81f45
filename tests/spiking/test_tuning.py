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
from snnrepro import DataWarning, ModelError
from snnrepro.datasets import load_mnist, pixels
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Conv, Dense, MaxPool, Normalize, Reduce, ReLU, Reshape
from snnrepro.simulators.plain import mean_outputs
from snnrepro.spiking import tune
from snnrepro.spiking.backward import WIDTH, differentiated, fire
from snnrepro.spiking.calibrate import Calibrated
from snnrepro.spiking.neurons import IF, ChannelConstants
from snnrepro.spiking.prepare import prepare
from snnrepro.spiking.recipes import RECIPES, Recipe
from snnrepro.spiking.tune import absolute, by_relative, relative

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
    tuning = tune.Tuning(prepare(network()), SEEN, begun, TUNED, N_STEPS, is_classes)
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
    numbers = (rng.uniform(*ends, 3) for ends in ((0.5, 2), (0.6, 1.5), (0.6, 1.5), (-0.2, 1), (-0.2, 0.2)))
    return ChannelConstants(*(part.astype(np.float32) for part in numbers))


def _by_definition(constants, z, growth, jump):
    """Outputs by the equation of `IF` in float64, a spike as `jump` gives it of the potential over the threshold."""
    a, theta, r, v, b = (part.astype(np.float64)[np.newaxis, :, np.newaxis] for part in constants)
    outputs = []
    for now in z:
        v = growth * v + now + b
        spike = jump(v / theta - 1)
        outputs.append(a * spike)
        v = v - r * spike
    return np.stack(outputs)


def _ramp(u):
    """A jump that is none: the integral of the triangle that stands for its slope."""
    near = np.clip(u / WIDTH, -1, 1)
    return 0.5 + near - np.sign(near) * near**2 / 2


@given(st.integers(0, 999), st.sampled_from([1.0, 1.1, 1.25]))
def test_neurons_fire_as_the_equation_says(seed, growth):
    rng = np.random.RandomState(seed)
    constants, z = _constants(rng), rng.uniform(-0.5, 1.5, (N_STEPS, 5, 3, 4)).astype(np.float32)
    outputs, membranes = fire(z, constants, growth)
    wanted = _by_definition(constants, z, growth, lambda u: (u >= 0).astype(float))
    assert outputs.shape == membranes.shape == z.shape
    assert 0 < np.count_nonzero(outputs) < z.size
    assert np.mean(np.abs(outputs - wanted) < 1e-6) > 0.99, "a potential at the threshold may be rounded across it"


@given(st.integers(0, 999), st.sampled_from([1.0, 1.1, 1.25]))
def test_the_gradient_is_that_of_the_equation_with_ramps_for_jumps(seed, growth):
    """In one step; over several, ramps give other potentials than jumps."""
    rng = np.random.RandomState(seed)
    constants, z = _constants(rng), rng.uniform(0.2, 1.5, (1, 5, 3, 4)).astype(np.float32)
    given_ = rng.standard_normal(z.shape).astype(np.float32)
    _, membranes = fire(z, constants, growth)
    by_input, found = differentiated(membranes, constants, given_, growth)
    step = 1e-5
    low, high = (_by_definition(constants, np.float64(z) + sign * step, growth, _ramp) for sign in (-1, 1))
    np.testing.assert_allclose(by_input, given_ * (high - low) / (2 * step), rtol=1e-3, atol=1e-3)
    for name in ("threshold", "initial_potential", "bias"):
        for channel in range(3):
            ends = []
            for sign in (-1, 1):
                moved = {part: values.astype(np.float64) for part, values in constants._asdict().items()}
                moved[name][channel] += sign * step
                ends.append(np.sum(given_ * _by_definition(ChannelConstants(**moved), z, growth, _ramp)))
            own = found[ChannelConstants._fields.index(name)]
            assert own[channel] == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=2e-3, abs=2e-3), name
    spikes = _by_definition(constants, z, growth, lambda u: (u >= 0).astype(float)) / constants.amplitude[:, np.newaxis]
    np.testing.assert_allclose(found[0], (given_ * spikes).sum(axis=(0, 1, 3)), rtol=1e-3, atol=1e-3)


def test_an_earlier_step_moves_a_later_spike_through_the_membrane():
    """Two steps by hand: amplitude 1, threshold 1, reset 1, growth 1.25, the first far below, the second near it."""
    one = np.ones(1, np.float32)
    constants = ChannelConstants(one, one, one, 0 * one, 0 * one)
    z = np.array([0.2, 0.7], np.float32).reshape(2, 1, 1, 1)
    outputs, membranes = fire(z, constants, 1.25)
    np.testing.assert_allclose(membranes.reshape(-1), [0.2, 0.95], rtol=1e-6)
    assert not outputs.any()
    by_input, found = differentiated(membranes, constants, np.ones_like(z), 1.25)
    slope = (1 - 0.05 / WIDTH) / WIDTH
    np.testing.assert_allclose(by_input.reshape(-1), [1.25 * slope, slope], rtol=1e-4)
    np.testing.assert_allclose(found[3], 1.25 * 1.25 * slope, rtol=1e-4)
    np.testing.assert_allclose(found[4], 2.25 * slope, rtol=1e-4)
    np.testing.assert_allclose(found[1], -0.95 * slope, rtol=1e-4)


@given(st.integers(0, 999))
def test_constants_come_back_from_how_they_are_tuned(seed):
    constants = _constants(np.random.RandomState(seed))
    for before, after in zip(constants, absolute(relative(constants))):
        np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)


def test_the_gradient_by_how_they_are_tuned_follows_the_chain_rule():
    rng = np.random.RandomState(4)
    constants, gradient = _constants(rng), tuple(rng.standard_normal((5, 3)))
    found, at, step = by_relative(constants, gradient), relative(constants), 1e-3
    for index, own in enumerate(found):
        ends = []
        for sign in (-1, 1):
            moved = [part.copy() for part in at]
            moved[index] += sign * step
            ends.append(sum(part.astype(np.float64) * g for part, g in zip(absolute(tuple(moved)), gradient)))
        np.testing.assert_allclose(own, (ends[1] - ends[0]) / (2 * step), rtol=1e-2, atol=1e-3)


def _blind():
    """A network whose readout does not see the second of three neurons, and neurons that fire too little."""
    rng = np.random.RandomState(3)
    first, last = (rng.uniform(0.2, 1, shape).astype(np.float32) for shape in ((4, 3), (3, 2)))
    last[1] = 0
    nodes = (
        Node("d", ("x",), Dense(first, np.zeros(3, np.float32))),
        Node("r", ("d",), ReLU()),
        Node("out", ("r",), Dense(last, np.zeros(2, np.float32))),
    )
    too_high = ChannelConstants(*(np.full(3, number, np.float32) for number in (1.0, 3.0, 3.0, 0.0, 0.0)))
    return Network("x", (4,), nodes, {}), {"r": too_high.population(IF(), (3,))}


def _pooled():
    """A small convolutional network with a maximum over windows and one over all that is left."""
    rng = np.random.RandomState(6)

    def conv(n_out, n_in):
        weights = rng.normal(0, np.sqrt(2 / (9 * n_in)), (n_out, n_in, 3, 3)).astype(np.float32)
        return Conv(weights, np.zeros(n_out, np.float32), (1, 1), (1, 1), ((1, 1), (1, 1)))

    layers = {
        "c": conv(6, 1),
        "r": ReLU(),
        "p": MaxPool((2, 2), (2, 2), (1, 1), ((0, 0), (0, 0))),
        "d": conv(7, 6),
        "s": ReLU(),
        "m": Reduce("max", (1, 2)),
        "f": Reshape((7,)),
        "out": Dense(rng.normal(0, 1, (7, 4)).astype(np.float32), np.zeros(4, np.float32)),
    }
    sources = ["x", *layers]
    nodes = tuple(Node(name, (source,), layer) for source, (name, layer) in zip(sources, layers.items()))
    return Network("x", (1, 14, 14), nodes, {})


@pytest.mark.parametrize("growth", [1.0, 1.2])
def test_what_a_network_with_maxima_reads_out_while_it_is_tuned_is_what_it_runs(growth):
    trained, x = _pooled(), SEEN[:60, ::2, ::2, 0].reshape(60, 1, 14, 14)
    spiking = snnrepro.convert(trained, Recipe("mine", outweigh=(growth**N_STEPS,)), x, N_STEPS)
    begun = Calibrated(dict(spiking.populations), spiking.correction, 0.0, len(x))
    tuning = tune.Tuning(spiking.schedule, x, begun, TUNED, N_STEPS, is_classes=False)
    scores = tuning._forward(np.arange(20)).readout
    wanted = spiking.run(x[:20], simulator="plain").scores
    assert np.ptp(wanted) > 0.1
    close = np.abs(scores.reshape(wanted.shape) - wanted) < 1e-4
    assert close.mean() > 0.95, "a potential at the threshold may be rounded across it"


def test_a_network_with_maxima_errs_less_when_it_is_tuned():
    trained, x = _pooled(), np.concatenate([SEEN, OTHERS])[:, ::2, ::2, 0].reshape(-1, 1, 14, 14)
    spiking = snnrepro.convert(trained, "rate", x[:400], N_STEPS, task="values")
    populations = {
        name: replace(own, initial_potential=own.initial_potential - own.amplitude * np.float32(0.5))
        for name, own in spiking.populations.items()
    }
    begun = Calibrated(populations, spiking.correction, 0.0, 400)
    made = tune.Tuning(spiking.schedule, x[:400], begun, TUNED, N_STEPS, is_classes=False).run(4, lambda _: None)
    after = replace(spiking, populations=made.populations, correction=made.correction)
    wanted = trained.forward(x[400:])
    errors = [
        float(np.square(one.run(x[400:]).scores - wanted).mean() / wanted.var())
        for one in (replace(spiking, populations=populations), after)
    ]
    assert errors[0] > 0.05, "there is something to gain"
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize("growth", [1.0, 1.2])
def test_a_running_maximum_is_differentiated_through_all_steps(growth):
    """Differences of the gains themselves; the numbers read are apart by more than the step."""
    trained, x = _pooled(), SEEN[:20, ::2, ::2, 0].reshape(20, 1, 14, 14)
    spiking = snnrepro.convert(trained, Recipe("mine", outweigh=(growth**N_STEPS,)), x, N_STEPS, task="values")
    begun = Calibrated(dict(spiking.populations), spiking.correction, 0.0, len(x))
    tuning = tune.Tuning(spiking.schedule, x, begun, TUNED, N_STEPS, is_classes=False)
    rng = np.random.RandomState(8)
    layer = MaxPool((2, 2), (2, 1), (1, 1), ((0, 0), (1, 0)))
    z = (rng.permutation(N_STEPS * 2 * 3 * 4 * 5) / 10).reshape(N_STEPS * 2, 3, 4, 5).astype(np.float32)
    totals, gains = tuning._maximum(layer, z)
    given_ = rng.standard_normal(gains.shape).astype(np.float32)
    found = tuning._before_maximum(layer, totals, given_)
    wanted = np.empty(z.shape)
    for place in np.ndindex(*z.shape):
        ends = []
        for sign in (-1, 1):
            moved = z.copy()
            moved[place] += sign * 0.01
            ends.append(np.sum(given_ * tuning._maximum(layer, moved)[1].astype(np.float64)))
        wanted[place] = (ends[1] - ends[0]) / 0.02
    assert 0 < np.count_nonzero(np.abs(wanted) > 0.1) < wanted.size
    assert np.mean(np.abs(found - wanted) < 0.02) > 0.97, "sums that are nearly alike may change places"


@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_a_layers_own_error_falls_where_the_readout_does_not_see_it(monkeypatch, weight):
    """Planted: without the weight of the layers' error, the neuron that is not seen stays as it is."""
    monkeypatch.setattr(tune, "_OF_LAYERS", weight)
    trained, populations = _blind()
    x = np.random.RandomState(5).uniform(0, 1, (200, 4)).astype(np.float32)
    begun = Calibrated(populations, np.zeros(2, np.float32), 0.0, len(x))
    tuning = tune.Tuning(prepare(trained), x, begun, TUNED, N_STEPS, is_classes=False)

    def off(made):
        spiking = replace(snnrepro.convert(trained, "rate", x, N_STEPS), populations=made)
        activation = dict(trained.activations(x))["r"][:, 1]
        rates = mean_outputs(spiking, x)["r"][:, 1]
        return float(np.square(rates - activation).mean() / np.square(activation).mean())

    before, after = off(populations), off(tuning.run(20, lambda _: None).populations)
    assert before > 0.3, "there is something to gain"
    assert after == pytest.approx(before) if weight == 0 else after < 0.7 * before


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
    with pytest.raises(
        ModelError, match=r"through linear layers and maxima only, not through Normalize 'norm'.*'balanced'"
    ):
        snnrepro.convert(Network("x", (4,), nodes, {}), "tuned", SEEN[:, :4, 9, 0], N_STEPS)


def test_one_image_is_none_to_learn_from_and_leaves_what_was_fitted():
    with pytest.warns(DataWarning, match="only 1 calibration images"):
        balanced, tuned_ = (snnrepro.convert(network(), recipe, SEEN[:1], N_STEPS) for recipe in ("balanced", TUNED))
    for name, own in balanced.populations.items():
        np.testing.assert_allclose(tuned_.populations[name].threshold, own.threshold, rtol=1e-5)


@pytest.mark.parametrize("passes", [-1, 1.5, True])
def test_passes_are_counted(passes):
    with pytest.raises(ModelError, match="passes must be a whole number"):
        Recipe("mine", passes=passes)


def test_leaky_neurons_are_not_tuned():
    with pytest.raises(ModelError, match="0 for LIF, a leak or an own fit"):
        Recipe("mine", IF(tau=0.02), passes=1)
