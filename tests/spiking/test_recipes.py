"""Recipes make a spiking network that answers as the trained one, from unlabelled images, weights untouched."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

import snnrepro
from snnrepro.datasets import INSIDE, load_mnist, pixels
from snnrepro.errors import DataWarning
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Concat, Conv, Dense, LeakyReLU, MaxPool, ReLU, Reshape, Sigmoid, Softmax
from snnrepro.spiking.budget import STEPS_TRIED
from snnrepro.spiking.convert import MOST_IMAGES, convert
from snnrepro.spiking.neurons import IF, LIF
from snnrepro.spiking.recipes import RECIPES, Recipe
from snnrepro.spiking.schedule import schedule_of


@pytest.fixture(scope="module")
def digits():
    """The first 4,000 training images of MNIST, and the next 1,000 to judge by: test images choose nothing."""
    mnist = load_mnist(INSIDE)
    x, y = mnist.x_train, mnist.y_train
    return replace(mnist, x_train=x[:4000], y_train=y[:4000], x_test=x[4000:5000], y_test=y[4000:5000])


@pytest.fixture(scope="module")
def trained(tf, digits):
    """The thesis's dense network, trained on 4,000 digits."""
    from snnrepro.thesis.models import keras_dense

    model = keras_dense(0)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(pixels(digits.x_train), digits.y_train, batch_size=64, epochs=8, verbose=0)
    return snnrepro.load(model)


@pytest.fixture(scope="module")
def calibration(digits):
    return pixels(digits.x_train[:500])


@pytest.fixture(scope="module")
def converted(trained, calibration):
    """The network converted by a recipe for so many steps, once."""
    return functools.lru_cache(maxsize=None)(lambda recipe, n: convert(trained, recipe, calibration, n))


def _loss(spiking, trained, digits, simulator="plain"):
    """Return the points of accuracy lost on the 1,000 images held out."""
    x, y = pixels(digits.x_test), digits.y_test
    before = np.mean(trained.forward(x).argmax(axis=1) == y)
    return 100 * float(before - np.mean(spiking.run(x, simulator=simulator).predictions == y))


# Points of 1,000 images: one binomial standard error of a difference of some per cent of answers is 0.3 to 0.5 points.
@pytest.mark.parametrize(
    ("recipe", "n_steps", "most"),
    [
        ("balanced", 4, 2.5),
        ("balanced", 8, 1.2),
        ("balanced", 30, 0.6),
        ("rate", 8, 1.5),
        ("rate", 30, 0.6),
        ("balanced-lif", 8, 2.0),
        ("balanced-lif", 30, 0.8),
    ],
)
def test_a_recipe_keeps_the_accuracy(trained, digits, converted, recipe, n_steps, most):
    assert np.mean(trained.forward(pixels(digits.x_test)).argmax(axis=1) == digits.y_test) > 0.9, "nothing was learnt"
    assert _loss(converted(recipe, n_steps), trained, digits) <= most


def test_the_thesis_recipe_loses_what_the_others_keep(trained, digits, calibration):
    assert _loss(convert(trained, "thesis", n_steps=15), trained, digits) > 5.0


@pytest.mark.parametrize("recipe", ["balanced", "rate", "balanced-lif"])
def test_the_error_of_the_scores_shrinks_with_the_steps(trained, digits, calibration, recipe):
    x = pixels(digits.x_test[:300])
    wanted = trained.forward(x)
    errors = []
    for n_steps in (4, 8, 16, 32):
        scores = convert(trained, recipe, calibration[:300], n_steps).run(x, simulator="plain").scores
        errors.append(np.sqrt(np.mean((scores - wanted) ** 2)))
    assert errors[0] > 1.2 * errors[1] > 1.4 * errors[2]
    assert errors[3] < 0.35 * errors[0]


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_weights_and_biases_stay_as_trained_bit_for_bit(trained, converted, recipe):
    spiking = converted(recipe, 8)
    before = {node.name: node.layer for node in trained.nodes}
    linear = [node for node in spiking.network.nodes if isinstance(node.layer, Dense)]
    assert len(linear) == 4
    for node in linear:
        assert np.array_equal(node.layer.weights, before[node.name].weights)
        assert np.array_equal(node.layer.bias, before[node.name].bias)


def test_the_same_images_give_the_same_bytes(trained, calibration, tmp_path):
    for name in ("one.npz", "other.npz"):
        convert(trained, "balanced", calibration[:200], 6).save(tmp_path / name)
    convert(trained, "balanced", calibration[200:400], 6).save(tmp_path / "third.npz")
    first, second, third = ((tmp_path / name).read_bytes() for name in ("one.npz", "other.npz", "third.npz"))
    assert first == second != third


def test_neurons_are_fitted_on_at_most_1000_images(trained, digits):
    x = pixels(digits.x_train[: MOST_IMAGES + 500])
    limited, more = (convert(trained, "rate", images, 4) for images in (x[:MOST_IMAGES], x))
    assert limited.provenance["calibration_images"] == more.provenance["calibration_images"] == MOST_IMAGES
    for name, population in limited.populations.items():
        assert np.array_equal(population.threshold, more.populations[name].threshold)


def test_max_loss_finds_the_fewest_steps_that_keep_it(trained, digits):
    x, y = pixels(digits.x_train[:1500]), digits.y_train[:1500]
    with pytest.warns(DataWarning, match="1,500 images cannot resolve 0.4 points"):
        spiking = convert(trained, "rate", (x, y), max_loss=0.4)
    right = np.mean(trained.forward(x).argmax(axis=1) == y)
    lost = 100 * (right - np.mean(spiking.run(x).predictions == y))
    assert lost <= 0.4 + 0.3  # one standard error
    assert spiking.provenance["points of accuracy"] == pytest.approx(lost, abs=1e-3)
    fewer = STEPS_TRIED[STEPS_TRIED.index(spiking.n_steps) - 1]
    assert 100 * (right - np.mean(convert(trained, "rate", x, fewer).run(x).predictions == y)) > 0.4
    assert convert(trained, "rate", (x, y), max_loss=3.0).n_steps < spiking.n_steps


def test_max_loss_without_labels_counts_answers_that_differ(trained, digits):
    calibration = pixels(digits.x_train[:1000])
    spiking = convert(trained, "rate", calibration, max_loss=2.0)
    differ = 100 * np.mean(spiking.run(calibration).predictions != trained.forward(calibration).argmax(axis=1))
    assert 0 < differ <= 2.0 + 0.5  # one standard error
    assert spiking.provenance["points of answers that differ"] == pytest.approx(differ, abs=1e-3)


def test_a_loss_that_no_number_of_steps_keeps_is_said(trained, calibration):
    crude = Recipe("crude", IF(), threshold="max", initial_potential=0.0, per_channel=False)
    with pytest.raises(snnrepro.ModelError, match="no number of steps up to 128 keeps the loss within 0 points"):
        convert(trained, replace(crude, threshold="percentile", percentile=60.0), calibration, max_loss=0.0)


def _small(rng=None, *behind):
    """Return a network with a convolution of 3 channels, on 5 x 4 images of 2."""
    rng = rng or np.random.RandomState(0)
    nodes = [
        Node(
            "conv",
            ("x",),
            Conv(rng.normal(0, 0.5, (3, 2, 3, 2)), rng.normal(0, 0.2, 3), (1, 1), (1, 1), ((1, 0), (0, 1))),
        ),
        Node("relu", ("conv",), ReLU()),
        Node("flat", ("relu",), Reshape((3 * 4 * 4,))),
        Node("dense", ("flat",), Dense(rng.normal(0, 0.3, (48, 4)), rng.normal(0, 0.2, 4))),
    ]
    return Network("x", (2, 5, 4), (*nodes, *behind), {})


X = np.random.RandomState(1).rand(60, 2, 5, 4).astype(np.float32)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(("threshold", "percentile"), [("max", 100.0), ("percentile", 97.0)])
def test_thresholds_by_rule_are_those_of_the_activations(threshold, percentile, per_channel):
    """The oracle: NumPy's percentile of the activations of each channel, or of all."""
    network = _small()
    relu = dict(network.activations(X))["relu"]
    recipe = Recipe("rule", threshold=threshold, percentile=97.0, per_channel=per_channel, initial_potential=0.25)
    population = convert(network, recipe, X, 6).populations["relu"]
    axes = (0, 2, 3) if per_channel else None
    expected = np.broadcast_to(np.percentile(relu, percentile, axis=axes), 3)
    np.testing.assert_allclose(population.threshold.ravel(), expected, rtol=1e-5)
    assert population.threshold.shape == (3, 1, 1)
    assert (len(np.unique(population.threshold)) == 3) == per_channel
    np.testing.assert_array_equal(population.amplitude, population.threshold)
    np.testing.assert_allclose(population.initial_potential, 0.25 * population.threshold)


@pytest.mark.parametrize("neuron", [IF(), IF(tau=0.02), IF(reset="zero"), IF(max_spikes=3)])
def test_the_readout_is_corrected_by_the_mean_error_of_the_neurons_that_are_run(neuron):
    network = _small()
    spiking = convert(network, Recipe("rule", neuron, threshold="percentile", percentile=60.0), X, 7)
    assert spiking.provenance["calibration_images"] == len(X)
    missing = network.forward(X) - spiking.run(X, simulator="plain").scores
    assert np.abs(missing).max() > 0.01
    np.testing.assert_allclose(missing.mean(axis=0), 0, atol=1e-5)


def _squared_errors(network, population, n_steps):
    """Return each channel's squared error of the first layer, by a loop of its own over the equation of `IF`."""
    values = dict(network.activations(X))
    v = np.zeros_like(values["relu"]) + population.initial_potential
    total = np.zeros_like(v)
    for _ in range(n_steps):
        v = v + values["conv"]
        fires = v >= population.threshold
        v = v - fires * population.subtracted
        total = total + fires * population.amplitude
    return ((total / n_steps - values["relu"]) ** 2).mean(axis=(0, 2, 3))


@pytest.mark.parametrize("n_steps", [3, 8])
def test_fitted_neurons_err_less_than_any_rule_in_every_channel(n_steps):
    network = _small()
    fitted = _squared_errors(network, convert(network, "rate", X, n_steps).populations["relu"], n_steps)
    for threshold, percentile in (("max", 100.0), ("percentile", 99.0), ("percentile", 90.0)):
        recipe = Recipe("rule", threshold=threshold, percentile=percentile)
        ruled = _squared_errors(network, convert(network, recipe, X, n_steps).populations["relu"], n_steps)
        assert np.all(fitted <= ruled * 1.001)
        assert fitted.sum() < 0.97 * ruled.sum()


def test_a_channel_that_is_never_active_stays_silent():
    network = _small()
    conv = network.nodes[0].layer
    bias = conv.bias.copy()
    bias[1] = -50.0
    silenced = Node("conv", ("x",), replace(conv, bias=bias))
    network = Network("x", (2, 5, 4), (silenced, *network.nodes[1:]), {})
    spiking = convert(network, "balanced", X, 5)
    assert all(np.isfinite(getattr(spiking.populations["relu"], field)).all() for field in ("threshold", "amplitude"))
    assert np.all(spiking.populations["relu"].amplitude > 0)
    np.testing.assert_allclose(spiking.run(X, simulator="plain").scores, network.forward(X), atol=0.6)


def test_leaky_recipes_have_leaky_neurons_whose_leak_is_made_up_for():
    leaky, plain = (convert(_small(), recipe, X, 12).populations["relu"] for recipe in ("balanced-lif", "rate"))
    assert leaky.neuron.retention(0.001) == pytest.approx(np.exp(-1 / 20))
    np.testing.assert_allclose(leaky.bias, (1 - np.exp(-1 / 20)) / 2 * leaky.amplitude, rtol=1e-5)
    assert plain.neuron.retention(0.001) == 1.0
    assert not plain.bias.any()


def test_the_thesis_recipe_is_nengos_lif_with_drawn_potentials():
    first, second, other = (convert(_small(), "thesis", seed=seed).populations["relu"] for seed in (3, 3, 4))
    assert first.neuron == LIF()
    assert first.initial_potential.shape == (3, 4, 4)
    assert np.ptp(first.initial_potential) > 0.5
    assert np.array_equal(first.initial_potential, second.initial_potential)
    assert not np.array_equal(first.initial_potential, other.initial_potential)


def test_a_sigmoid_is_applied_to_the_mean_not_averaged():
    network = _small(None, Node("sigmoid", ("dense",), Sigmoid()))
    spiking = convert(network, "rate", X, 3)
    logits = convert(_small(), "rate", X, 3).run(X, simulator="plain").scores
    np.testing.assert_allclose(spiking.run(X, simulator="plain").scores, 1 / (1 + np.exp(-logits)), atol=1e-6)


def test_a_leaky_rectifier_becomes_two_populations_and_keeps_its_value():
    network = _small(None, Node("leaky", ("dense",), LeakyReLU(np.float32(0.25))))
    spiking = convert(network, "rate", X, 64)
    assert set(spiking.populations) == {"relu", "leaky/positive", "leaky/negative"}
    np.testing.assert_allclose(spiking.network.forward(X), network.forward(X), atol=1e-6)
    assert np.min(network.forward(X)) < -0.05, "nothing is negative"
    np.testing.assert_allclose(spiking.run(X, simulator="plain").scores, network.forward(X), atol=0.1)


def test_a_rectifier_behind_a_maximum_sees_spikes_of_its_own():
    rng = np.random.RandomState(2)
    conv = Conv(rng.normal(size=(3, 2, 2, 2)), rng.normal(size=3), (1, 1), (1, 1), ((0, 0), (0, 0)))
    nodes = (
        Node("conv", ("x",), conv),
        Node("max", ("conv",), MaxPool((2, 2), (2, 1), (1, 1), ((0, 0), (0, 0)))),
        Node("relu", ("max",), ReLU()),
    )
    network = Network("x", (2, 5, 4), nodes, {})
    spiking = convert(network, "rate", X, 6)
    assert spiking.network.shapes["relu/neurons"] == (3, 4, 3)
    np.testing.assert_array_equal(spiking.network.forward(X), network.forward(X))


def test_what_a_spiking_network_cannot_have_is_named():
    early = Node("early", ("dense",), Softmax((0,)))
    behind = Node("late", ("early",), ReLU())
    with pytest.raises(snnrepro.UnsupportedError, match="Softmax 'early': ReLU 'late' stands behind it") as refusal:
        convert(_small(None, early, behind), "thesis")
    assert len(refusal.value.problems) == 1
    two = _small(None, early, Node("two", ("early", "flat"), Concat(0)))
    with pytest.raises(snnrepro.UnsupportedError, match="only one value may be read out"):
        schedule_of(two)


def test_several_values_that_are_read_out_are_read_as_one():
    """A softmax and what it reads nothing of, side by side at the output."""
    early = Node("early", ("dense",), Softmax((0,)))
    network = _small(None, early, Node("two", ("early", "flat"), Concat(0)))
    spiking = convert(network, "balanced", X, 64)
    n_read = sum(network.shapes[name][0] for name in ("dense", "flat"))
    assert spiking.network.shapes[spiking.readout] == (n_read,)
    wanted = network.forward(X)
    runs = [spiking.run(X, simulator=simulator) for simulator in ("event", "plain")]
    close = np.isclose(runs[0].scores, runs[1].scores, atol=1e-5)
    assert close.mean() > 0.99, "a potential at the threshold may be rounded across it, not alike on every processor"
    np.testing.assert_allclose(runs[0].scores, runs[1].scores, atol=0.05)
    assert np.corrcoef(runs[0].scores.ravel(), wanted.ravel())[0, 1] > 0.95
    np.testing.assert_allclose(spiking.network.forward(X), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"recipe": "best"}, snnrepro.ModelError, "'best' is none of thesis, balanced"),
        ({}, snnrepro.DataError, "needs calibration images"),
        ({"calibration": X[:, :1]}, snnrepro.DataError, r"input is \(n_images, 2, 5, 4\), got \(60, 1, 5, 4\)"),
        ({"calibration": X[:0]}, snnrepro.DataError, r"got \(0, 2, 5, 4\)"),
        ({"calibration": (X, np.zeros(5))}, snnrepro.DataError, r"labels must be whole numbers \(60,\)"),
        ({"calibration": X * np.nan}, snnrepro.DataError, "NaN"),
        ({"calibration": X, "n_steps": 0}, snnrepro.ModelError, "n_steps must be at least 1"),
        ({"calibration": X, "n_steps": 4, "max_loss": 1.0}, snnrepro.ModelError, "not both"),
        ({"recipe": "thesis", "max_loss": 1.0}, snnrepro.DataError, "max_loss needs calibration images"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        convert(_small(), **arguments)


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"threshold": "best"}, "'fitted', 'max' or 'percentile'"),
        ({"neuron": IF(reset="zero")}, "only neurons with reset by subtraction"),
        ({"percentile": 0.0}, "percentile in"),
        ({"outweigh": ()}, "outweigh"),
        ({"dt": 0.0}, "dt above 0 s"),
    ],
)
def test_recipes_that_cannot_be_are_refused(constants, message):
    with pytest.raises(snnrepro.ModelError, match=message):
        Recipe("mine", **constants)


@pytest.mark.parametrize(
    "field",
    ["percentile", "initial_potential", "outweigh", "synapse", "readout_synapse", "dt", "per_channel", "neuron"],
)
def test_what_is_no_number_of_a_recipe_is_refused(field):
    for value in (np.nan, np.inf, "abc", 10**400, *([] if field == "per_channel" else [True])):
        with pytest.raises(snnrepro.ModelError, match=f"Recipe: {field}.*, got "):
            Recipe("mine", **{field: (value,) if field == "outweigh" else value})
