"""A product of two values, as a gate is one: its mean over the steps is the product of their means."""

from __future__ import annotations

import numpy as np
import pytest

import snnrepro
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Conv, Dense, Multiply, Reduce, ReLU, Reshape, Sigmoid, Softmax
from snnrepro.simulators.plain import Stepper

X = np.random.RandomState(3).rand(200, 2, 6, 5).astype(np.float32)


GATES = {"sigmoid": Sigmoid(), "softmax": Softmax((0,))}
"""What a channel is multiplied by: squeeze-and-excitation, or the shares of branches (SKNet, ResNeSt)."""


def _network(gate="sigmoid"):
    """Return a network with a gate between two convolutions."""
    rng = np.random.RandomState(9)

    def conv(n_in, n_out, size, spread=1):
        weights, bias = spread * rng.normal(size=(n_out, n_in, size, size)) / 2, rng.normal(size=n_out) / 4
        return Conv(weights, bias, (1, 1), (1, 1), ((0, 0), (0, 0)))

    nodes = [
        Node("conv", ("x",), conv(2, 5, 3)),
        Node("relu", ("conv",), ReLU()),
        Node("squeezed", ("relu",), Reduce("mean", (1, 2))),
        Node("kept", ("squeezed",), Reshape((5, 1, 1))),
        Node("narrow", ("kept",), conv(5, 3, 1)),
        Node("inner", ("narrow",), ReLU()),
        Node("wide", ("inner",), conv(3, 5, 1, 4)),
        Node("gate", ("wide",), GATES[gate]),
        Node("gated", ("relu", "gate"), Multiply()),
        Node("flat", ("gated",), Reshape((60,))),
        Node("hidden", ("flat",), Dense(rng.normal(size=(60, 8)) / 4, rng.normal(size=8) / 4)),
        Node("spikes", ("hidden",), ReLU()),
    ]
    last = rng.normal(size=(8, 4))
    mean = Network("x", (2, 6, 5), tuple(nodes), {}).forward(X).mean(axis=0) @ last
    nodes.append(Node("y", ("spikes",), Dense(last, -mean)))  # so that every class is an answer
    return Network("x", (2, 6, 5), tuple(nodes), {})


@pytest.fixture(scope="module", params=GATES)
def gate(request):
    return request.param


@pytest.fixture(scope="module")
def spiking(gate):
    return snnrepro.convert(_network(gate), calibration=X, n_steps=32)


def test_the_mean_of_a_product_is_the_product_of_the_means(spiking):
    stepper, growth = Stepper(spiking, X[:7]), spiking.growth
    sums = dict.fromkeys(("relu", "gate", "gated"), 0.0)
    weight = 0.0
    for _ in range(9):
        stepper.step()
        weight = growth * weight + 1
        for name in sums:
            sums[name] = growth * sums[name] + stepper.values[name].astype(np.float64)
        wanted = (sums["relu"] / weight) * (sums["gate"] / weight)
        np.testing.assert_allclose(sums["gated"] / weight, wanted, rtol=1e-4, atol=1e-5)
    assert wanted.std() > 0.01


def test_a_gated_network_answers_as_it_was_trained(spiking, gate):
    network = _network(gate)
    trained, scores = network.forward(X), spiking.run(X).scores
    assert np.corrcoef(scores.ravel(), trained.ravel())[0, 1] > 0.99
    ungated = [node if node.name != "flat" else Node("flat", ("relu",), node.layer) for node in network.nodes]
    without = Network("x", network.input_shape, tuple(ungated), {}).forward(X)
    assert np.corrcoef(without.ravel(), trained.ravel())[0, 1] < 0.98  # the gate matters


@pytest.fixture(scope="module", params=["balanced", "rate", "balanced-lif"])
def by_recipe(request, gate):
    return snnrepro.convert(_network(gate), request.param, X, n_steps=11)


@pytest.mark.parametrize("simulator", ["plain", "nengo"])
def test_every_simulator_gives_the_same_spikes(by_recipe, simulator):
    if simulator == "nengo":
        pytest.importorskip("nengo")
    _assert_same(by_recipe, simulator)


def test_nengo_dl_gives_the_same_spikes(nengo_dl, spiking):
    _assert_same(spiking, "nengo-dl")


def _assert_same(spiking, simulator, n_steps=11):
    event, other = (spiking.run(X[:5], n_steps, simulator=name) for name in ("event", simulator))
    assert event.spike_counts["spikes"].sum() > 10
    for name, counts in event.spike_counts.items():
        differ = np.abs(counts.astype(int) - other.spike_counts[name]).sum()
        assert differ <= 0.005 * counts.sum() + 1, name  # sums in another order: a spike on the verge comes later
    np.testing.assert_allclose(event.scores, other.scores, atol=0.2)


def test_a_planted_fault_is_noticed(spiking, monkeypatch):
    """A product of each step's own values is another network."""
    from snnrepro.spiking import step

    right = spiking.run(X[:20], simulator="plain").scores
    monkeypatch.setattr(step.RunningFunction, "step", lambda self, *x: self.layer(*x))
    assert np.abs(spiking.run(X[:20], simulator="plain").scores - right).max() > 0.2


def test_a_product_may_be_read_out():
    nodes = _network().nodes[:9]
    spiking = snnrepro.convert(Network("x", (2, 6, 5), nodes, {}), calibration=X, n_steps=16)
    scores, trained = spiking.run(X).scores, Network("x", (2, 6, 5), nodes, {}).forward(X)
    assert spiking.readout == "gated"
    assert np.corrcoef(scores.ravel(), trained.ravel())[0, 1] > 0.99
    np.testing.assert_allclose(spiking.run(X[:9], simulator="plain").scores, scores[:9], atol=1e-3)


def test_the_steps_kept_are_those_of_runs_that_end_there(spiking):
    kept = spiking.run(X[:9], 12, keep_steps=[3, 12]).scores_by_step
    np.testing.assert_allclose(kept[:, 0], spiking.run(X[:9], 3).scores, atol=1e-5)
    np.testing.assert_allclose(kept[:, 1], spiking.run(X[:9], 12).scores, atol=1e-5)


def test_an_early_exit_by_a_margin_goes_on_where_it_stopped(spiking):
    exited = spiking.run(X, early_exit=0.5)
    assert len(set(exited.steps_used.tolist())) > 1
    for image in (0, 5, 9):
        alone = spiking.run(X[image : image + 1], int(exited.steps_used[image]))
        np.testing.assert_allclose(exited.scores[image], alone.scores[0], atol=1e-4)


def test_an_archive_keeps_a_product(spiking, tmp_path):
    spiking.save(tmp_path / "s.npz")
    again = snnrepro.load_spiking(tmp_path / "s.npz")
    np.testing.assert_array_equal(again.run(X[:5]).scores, spiking.run(X[:5]).scores)


def test_a_product_of_what_the_image_alone_decides_is_computed_once():
    rng = np.random.RandomState(1)
    nodes = (
        Node("squared", ("x", "x"), Multiply()),
        Node("flat", ("squared",), Reshape((60,))),
        Node("hidden", ("flat",), Dense(rng.normal(size=(60, 8)), np.zeros(8))),
        Node("relu", ("hidden",), ReLU()),
        Node("y", ("relu",), Dense(rng.normal(size=(8, 3)), np.zeros(3))),
        Node("p", ("y",), Softmax((0,))),
    )
    network = Network("x", (2, 6, 5), nodes, {})
    spiking = snnrepro.convert(network, calibration=X, n_steps=32)
    np.testing.assert_allclose(spiking.run(X).scores, network.forward(X), atol=0.25)
    np.testing.assert_allclose(spiking.run(X[:5], simulator="plain").scores, spiking.run(X[:5]).scores, atol=1e-3)
