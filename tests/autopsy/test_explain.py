"""An autopsy finds layer and cause of a planted loss, its parts sum to the whole, and it says what would cure it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import snnrepro as snn
from snnrepro.autopsy.costs import CAUSES
from snnrepro.autopsy.replay import replayed, with_even_input
from snnrepro.errors import DataError
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Add, Dense, MaxPool, Multiply, ReLU, Reshape, Sigmoid, Softmax
from snnrepro.spiking.neurons import IF, Population
from snnrepro.spiking.prepare import prepare
from tests.helpers import model_files
from tests.helpers.command_line import run_command

N_STEPS = 16
WIDTH = 24


def _dense(rng, n_in, n_out):
    return Dense((rng.normal(size=(n_in, n_out)) * np.sqrt(2 / n_in)).astype(np.float32), 0.1 * rng.rand(n_out))


def _network(n_hidden=3, seed=0, tail=None):
    rng = np.random.RandomState(seed)
    nodes, read, width = [], "x", 10
    for index in range(n_hidden):
        nodes += [Node(f"z{index}", (read,), _dense(rng, width, WIDTH)), Node(f"a{index}", (f"z{index}",), ReLU())]
        read, width = f"a{index}", WIDTH
    nodes.append(Node("y", (read,), _dense(rng, width, 5)))
    if tail is not None:
        nodes.append(Node("p", ("y",), tail))
    return Network("x", (10,), tuple(nodes), {})


def _evened(network, last="y"):
    """Return a network whose classes are answered about equally often: its scores have one mean and one spread."""
    scores = dict(network.activations(X))[last]
    mean, std = scores.mean(axis=0), scores.std(axis=0)
    nodes = [
        replace(node, layer=Dense(node.layer.weights / std, (node.layer.bias - mean) / std))
        if node.name == last
        else node
        for node in network.nodes
    ]
    return Network(network.input_name, network.input_shape, tuple(nodes), {})


X = np.random.RandomState(1).normal(size=(700, 10)).astype(np.float32)
TRAINED = _evened(_network())


@pytest.fixture(scope="module")
def sound():
    """A conversion that loses next to nothing."""
    spiking = snn.convert(TRAINED, "rate", X[:400], 128)
    assert snn.explain(spiking, X[400:]).total.points < 2
    return spiking


def _with(spiking, name, **changes):
    population = spiking.populations[name]
    changed = replace(population, **{field: change(getattr(population, field)) for field, change in changes.items()})
    return replace(spiking, populations={**spiking.populations, name: changed})


def _clipped(spiking, name):
    """Neurons that can fire a quarter of what they should."""
    return _with(
        spiking, name, **dict.fromkeys(("threshold", "amplitude", "subtracted", "initial_potential"), lambda v: v / 8)
    )


def _coarse(spiking, name):
    """Neurons that tell few values apart."""
    return _with(
        spiking, name, **dict.fromkeys(("threshold", "amplitude", "subtracted", "initial_potential"), lambda v: 50 * v)
    )


@pytest.mark.parametrize("name", ["a0", "a1", "a2"])
@pytest.mark.parametrize(("plant", "cause"), [(_clipped, "clipping"), (_coarse, "quantisation")])
def test_the_planted_layer_and_cause_come_out_first(sound, name, plant, cause):
    autopsy = snn.explain(plant(sound, name), X[400:])
    assert autopsy.total.points > 10, "nothing was planted"
    assert (autopsy.worst.name, autopsy.worst.worst.cause) == (name, cause)
    assert autopsy.first_flip.name == name or autopsy.first_flip.flips < autopsy.worst.flips / 5
    assert autopsy.worst.if_exact.points < -0.8 * autopsy.total.points, "exact, it would cost nothing"


def test_uneven_spikes_are_found_as_timing():
    """Two inputs of the same mean, one early and one late: their difference is 0, but what comes early is fired out."""
    nodes = [
        Node("z0", ("x",), Dense(np.eye(2), np.zeros(2))),
        Node("a0", ("z0",), ReLU()),
        Node("z1", ("a0",), Dense(np.array([[1.0], [-1.0]]), np.zeros(1))),
        Node("a1", ("z1",), ReLU()),
        Node("y", ("a1",), Dense(np.array([[0.0, 1.0]]), np.array([0.1, 0.0]))),
    ]
    prepared = prepare(Network("x", (2,), tuple(nodes), {}))
    one = np.ones(1)
    early_and_late = Population(IF(), one, one, np.array([2.0, -2.0]), np.array([-0.25, 0.25]))
    spiking = snn.SpikingNetwork(
        prepared.network,
        prepared.readout,
        {"a0": early_and_late, "a1": Population(IF(), one, one, one / 2, 0 * one)},
        n_steps=8,
    )
    autopsy = snn.explain(spiking, np.full((40, 2), 0.5))
    assert autopsy.total.points == 100.0
    assert (autopsy.worst.name, autopsy.worst.worst.cause, autopsy.worst.worst.loss.points) == ("a1", "timing", 100.0)
    assert autopsy.layers[0].loss.points == 0.0
    assert autopsy.first_flip.name == "a1"


@pytest.mark.parametrize(("name", "channel"), [("a0", 3), ("a1", 17), ("a2", 8)])
def test_the_channel_that_flips_answers_is_named(sound, name, channel):
    factor = np.ones(WIDTH, np.float32)
    factor[channel] = 12
    autopsy = snn.explain(_with(sound, name, amplitude=lambda v: v * factor), X[400:])
    assert autopsy.worst.name == name
    first = autopsy.worst.channels[0]
    assert first.number == channel
    assert first.share > 0.5
    assert first.flips > 10


@pytest.mark.parametrize("recipe", ["balanced", "rate", "thesis", "balanced-lif"])
@pytest.mark.parametrize("n_steps", [3, 9])
@pytest.mark.parametrize("labelled", [True, False])
def test_parts_sum_to_the_whole(recipe, n_steps, labelled):
    spiking = snn.convert(TRAINED, recipe, X[:400], n_steps)
    labels = None
    if labelled:
        labels = TRAINED.forward(X[400:]).argmax(axis=1)
        labels[::7] = (labels[::7] + 1) % 5
    autopsy = snn.explain(spiking, X[400:], labels)
    assert autopsy.figure == ("accuracy" if labelled else "answers")
    oracle = spiking.run(X[400:]).predictions
    trained = TRAINED.forward(X[400:]).argmax(axis=1)
    wanted = trained if labels is None else labels
    assert autopsy.total.points == pytest.approx(100 * (np.mean(trained == wanted) - np.mean(oracle == wanted)))
    assert sum(layer.loss.points for layer in autopsy.layers) == pytest.approx(autopsy.total.points)
    for layer in autopsy.layers:
        assert sum(part.loss.points for part in layer.parts) == pytest.approx(layer.loss.points)
        assert layer.loss.low <= layer.loss.points <= layer.loss.high
    assert sum(layer.flips for layer in autopsy.layers) == np.sum(oracle != trained)
    before = np.cumsum([0.0] + [layer.loss.points for layer in autopsy.layers])
    assert [layer.inherited for layer in autopsy.layers] == pytest.approx(list(before[:-1]))


def test_margins_sum_to_what_the_answers_lead_loses():
    spiking = snn.convert(TRAINED, "balanced", X[:400], 4)
    autopsy = snn.explain(spiking, X[400:])

    def lead(scores):
        trained = TRAINED.forward(X[400:]).argmax(axis=1)
        others = scores.copy()
        others[np.arange(len(scores)), trained] = -np.inf
        return np.mean(scores[np.arange(len(scores)), trained] - others.max(axis=1))

    lost = lead(TRAINED.forward(X[400:])) - lead(spiking.run(X[400:]).scores)
    assert lost > 0.01
    assert sum(layer.margin for layer in autopsy.layers) == pytest.approx(lost, abs=1e-3)


def _branching():
    rng = np.random.RandomState(3)
    nodes = [
        Node("z0", ("x",), _dense(rng, 10, WIDTH)),
        Node("a0", ("z0",), ReLU()),
        Node("z1", ("a0",), _dense(rng, WIDTH, WIDTH)),
        Node("a1", ("z1",), ReLU()),
        Node("sum", ("a0", "a1"), Add()),
        Node("image", ("sum",), Reshape((2, 4, 3))),
        Node("most", ("image",), MaxPool((2, 1), (2, 1), (1, 1), ((0, 0), (0, 0)))),
        Node("flat", ("most",), Reshape((12,))),
        Node("gate", ("flat",), _dense(rng, 12, 12)),
        Node("open", ("gate",), Sigmoid()),
        Node("gated", ("flat", "open"), Multiply()),
        Node("z2", ("gated",), _dense(rng, 12, WIDTH)),
        Node("a2", ("z2",), ReLU()),
        Node("y", ("a2",), _dense(rng, WIDTH, 5)),
        Node("p", ("y",), Softmax((0,))),
    ]
    return _evened(Network("x", (10,), tuple(nodes), {}))


def test_sums_maxima_gates_and_functions_are_explained_too():
    network = _branching()
    spiking = snn.convert(network, "rate", X[:400], 12)
    assert spiking.functions, "the gate's sigmoid is fitted"
    autopsy = snn.explain(spiking, X[400:])
    assert autopsy.layers[0].name == "fits of functions"
    assert autopsy.layers[-1].name == "readout"
    assert sum(layer.loss.points for layer in autopsy.layers) == pytest.approx(autopsy.total.points)
    last = autopsy.layers[-1]
    assert abs(last.margin) < 1, "the mean outputs give, through sums, maxima and products, what was read out"


def test_what_is_read_out_is_what_the_mean_outputs_give():
    """That stages hold together: with the last layer's mean outputs, all behind as trained gives the readout."""
    spiking = replace(snn.convert(_branching(), "rate", X[:400], 12), correction=None)
    found = replayed(spiking, X[400:450])
    np.testing.assert_allclose(found.scores, spiking.run(X[400:450], simulator="plain").scores, rtol=1e-5, atol=1e-6)
    values = {**dict(spiking.network.activations(X[400:450])), **found.outputs}
    for node in spiking.network.nodes:
        if node.name not in spiking.populations:
            values[node.name] = node.layer(*(X[400:450] if name == "x" else values[name] for name in node.inputs))
    np.testing.assert_allclose(values[spiking.readout], found.readout, rtol=1e-4, atol=1e-4)


def test_a_replay_with_every_layer_exact_is_the_trained_network(sound):
    exact = dict(TRAINED.activations(X[:50]))
    found = replayed(replace(sound, correction=None), X[:50], {name: exact[name] for name in sound.populations})
    np.testing.assert_allclose(found.scores, TRAINED.forward(X[:50]), rtol=1e-4, atol=1e-5)


def test_even_input_is_answered_by_the_closed_formula():
    one = np.ones(1)
    population = Population(IF(), one, one, one / 2, 0 * one)
    node = Node("a", ("x",), ReLU())
    prepared = prepare(Network("x", (3,), (node, Node("y", ("a",), Dense(np.ones((3, 2)), np.zeros(2)))), {}))
    spiking = snn.SpikingNetwork(prepared.network, prepared.readout, {"a": population}, n_steps=8)
    z = np.float32([[0.3, 0.99, -2.0]])
    np.testing.assert_array_equal(with_even_input(spiking, "a", z), np.clip(np.floor(8 * z + 0.5), 0, 8) / 8)


def test_cures_are_tried_and_the_cheapest_that_helps_is_named(sound):
    broken = _coarse(sound, "a1")
    autopsy = snn.explain(broken, X[400:], calibration=X[:400])
    tried = {cure.what: cure for cure in autopsy.cures}
    assert {"recipe balanced", "thresholds of 'a1' x 0.4"} <= tried.keys()
    assert autopsy.cheapest_cure is not None
    helping = [cure for cure in autopsy.cures if cure.loss.points <= autopsy.total.points / 2]
    assert autopsy.cheapest_cure.operations == min(cure.operations for cure in helping)
    assert snn.explain(broken, X[400:]).cures == ()
    few = snn.convert(TRAINED, "balanced", X[:400], 2)
    more = snn.explain(few, X[400:], calibration=X[:400])
    steps = {cure.what: cure.loss.points for cure in more.cures if cure.what.endswith("steps")}
    assert list(steps) == ["3 steps", "4 steps", "8 steps"]
    assert steps["8 steps"] < more.total.points
    (neurons,) = (cure for cure in more.cures if cure.what == "2 neurons for each activation")
    assert neurons.loss.points < more.total.points
    assert neurons.n_steps == 2


def test_a_regression_has_points_and_no_margins():
    rng = np.random.RandomState(5)
    nodes = [
        Node("z", ("x",), _dense(rng, 10, WIDTH)),
        Node("a", ("z",), ReLU()),
        Node("y", ("a",), _dense(rng, WIDTH, 1)),
    ]
    network = Network("x", (10,), tuple(nodes), {})
    y = network.forward(X)
    spiking = snn.convert(network, "rate", (X[:400], y[:400]), 3)
    autopsy = snn.explain(spiking, X[400:], y[400:])
    assert autopsy.figure == "R²"
    assert all(np.isnan(layer.margin) for layer in autopsy.layers)
    assert sum(layer.loss.points for layer in autopsy.layers) == pytest.approx(autopsy.total.points)
    assert autopsy.worst.name == "a"


def test_what_cannot_be_explained_is_refused(sound):
    with pytest.raises(DataError, match="at least one image"):
        snn.explain(sound, X[:0])
    with pytest.raises(DataError, match=r"\(n_images, 10\), got \(5, 3\)"):
        snn.explain(sound, X[:5, :3])


def test_the_command_explains_and_writes_a_page(tmp_path):
    trained = model_files.network()
    model, data = model_files.write(tmp_path)
    done = run_command("verify", model, data, "--explain", "--n-steps", "2", "-o", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    told = " ".join(done.stdout.split())
    assert "lost to the trained network at 2 steps, on 100 images" in told
    assert "most is lost in" in told
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2
    assert all(cause in page for cause in CAUSES)
    snn.convert(trained, calibration=model_files.images(trained)[0], n_steps=2).save(tmp_path / "spiking.npz")
    found = json.loads(run_command("verify", tmp_path / "spiking.npz", data, "--explain", "--json").stdout)
    assert found["n_images"] == 100
    assert [layer["name"] for layer in found["layers"]] == ["a", "b", "readout"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--explain", "-o", "page.pdf"], "must end in .html"),
        (["-o", "page.html"], "add --explain"),
    ],
)
def test_the_command_refuses_what_it_would_not_heed(tmp_path, arguments, told):
    model, data = model_files.write(tmp_path)
    done = run_command("verify", model, data, *arguments)
    assert done.exit_code == 2
    assert told in done.stderr
