"""Quotients, normalisations and algebraic functions: their mean over the steps is their value at the means."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import snnrepro
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import (
    Add,
    Affine,
    Conv,
    Dense,
    Divide,
    Function,
    Multiply,
    Normalize,
    Reduce,
    ReLU,
    Reshape,
    Softmax,
    Weighing,
)
from snnrepro.simulators.plain import Stepper
from snnrepro.spiking import step
from snnrepro.spiking.prepare import prepare
from snnrepro.spiking.schedule import curved_inside
from snnrepro.spiking.step import RunningFunction
from snnrepro.spiking.synops import graded
from tests.helpers.command_line import run_command
from tests.helpers.spiking_strategies import BLOCKS, drawn_cases

CLOSED = {
    "a product": (Multiply(), lambda a, b: a * b),
    "a quotient": (Divide(), lambda a, b: a / b),
    "a layer normalisation": (
        Normalize((0,), 0.125),
        lambda a: (a - a.mean(1, keepdims=True)) / np.sqrt(a.var(1, keepdims=True) + 0.125),
    ),
    "a root mean square": (
        Normalize((1,), 0.25, centred=False),
        lambda a: a / np.sqrt((a**2).mean(2, keepdims=True) + 0.25),
    ),
    "over all, by absolute values": (
        Normalize((0, 1), 0.0, centred=False, order=1),
        lambda a: a / np.abs(a).mean((1, 2), keepdims=True),
    ),
    "a softmax": (Weighing((1,)), lambda a: np.exp(a) / np.exp(a).sum(2, keepdims=True)),
    "a function": (Function("power(x + 1.0, -0.5) * x"), lambda a: a / np.sqrt(a + 1)),
}
"""Layers, and what they give in float64, by formulas written anew."""


@settings(max_examples=40)
@given(st.sampled_from(sorted(CLOSED)), st.sampled_from([1.0, 1.1, 1.25]), st.integers(1, 9), st.integers(0, 10**6))
def test_the_mean_of_the_gains_is_the_function_of_the_means(what, growth, n_steps, seed):
    layer, formula = CLOSED[what]
    x = np.random.RandomState(seed).uniform(0.2, 2, (n_steps, 2 if layer.reads_several else 1, 3, 4, 5))
    weights = growth ** -np.arange(n_steps) / np.sum(growth ** -np.arange(n_steps))
    running = RunningFunction(layer, growth)
    # The sums grow by `growth` a step, which a gain of the last step counts 1 of, of the first growth ** (n - 1).
    gains = np.stack([running.step(*one.astype(np.float32)) for one in x]).astype(np.float64)
    wanted = formula(*np.tensordot(weights, x, 1))
    np.testing.assert_allclose(np.tensordot(weights, gains, 1), wanted, rtol=2e-5, atol=2e-5)


@given(arrays(np.float32, (6, 1, 2), elements=st.sampled_from([0.0, 0.0, 1.0, 2.0])))
def test_what_is_divided_by_0_is_0_until_it_is_not(x):
    running = RunningFunction(Divide(), 1.0)
    total = sum(running.step(one[:, :1], one[:, 1:]) for one in x)
    assert np.isfinite(total).all()
    first, second = x[..., 0].sum(), x[..., 1].sum()
    np.testing.assert_allclose(total / 6, 0 if second == 0 else first / second, rtol=1e-5)


def test_a_planted_fault_is_noticed(monkeypatch):
    """A function of each step's own values is another."""
    monkeypatch.setattr(RunningFunction, "step", lambda self, *x: self.layer(*x))
    with pytest.raises(AssertionError):
        test_the_mean_of_the_gains_is_the_function_of_the_means.hypothesis.inner_test("a quotient", 1.0, 5, 1)


X = np.random.RandomState(3).rand(200, 2, 7, 6).astype(np.float32)


def _network(kind):
    """Return two convolutions, a normalisation of the spikes between the first and the second, and two dense layers."""
    rng = np.random.RandomState(9)

    def conv(n_in, n_out, size):
        return Conv(
            rng.normal(size=(n_out, n_in, size, size)) / size,
            rng.normal(size=n_out) / 4,
            (1, 1),
            (1, 1),
            ((0, 0), (0, 0)),
        )

    one, zero = np.ones(()), np.zeros(())
    first = [Node("conv", ("x",), conv(2, 6, 3)), Node("relu", ("conv",), ReLU())]
    normalized = {
        "layer": [Node("n", ("relu",), Normalize((0,), 0.01))],
        "group": [
            Node("rows", ("relu",), Reshape((3, 40))),
            Node("over", ("rows",), Normalize((1,), 0.01)),
            Node("n", ("over",), Reshape((6, 5, 4))),
        ],
        "spelt": [
            Node("mean", ("relu",), Reduce("mean", (1, 2))),
            Node("minus", ("mean",), Affine(-one, zero)),
            Node("d", ("relu", "minus"), Add()),
            Node("squares", ("d",), Function("power(x, 2.0)")),
            Node("variance", ("squares",), Reduce("mean", (1, 2))),
            Node("root", ("variance",), Function("sqrt(x + 0.01)")),
            Node("n", ("d", "root"), Divide()),
        ],
    }[kind]
    scale = Affine(rng.uniform(0.5, 1.5, (6, 1, 1)), rng.normal(size=(6, 1, 1)) / 3)
    nodes = [
        *first,
        *normalized,
        Node("scaled", ("n",), scale),
        Node("second", ("scaled",), conv(6, 5, 2)),
        Node("inner", ("second",), ReLU()),
        Node("flat", ("inner",), Reshape((60,))),
    ]
    last = rng.normal(size=(60, 4))
    mean = Network("x", X.shape[1:], tuple(nodes), {}).forward(X).mean(axis=0) @ last
    nodes += [Node("y", ("flat",), Dense(last, -mean)), Node("p", ("y",), Softmax((0,)))]
    return Network("x", X.shape[1:], tuple(nodes), {})


@pytest.fixture(scope="module", params=["layer", "group", "spelt"])
def case(request):
    network = _network(request.param)
    return network, snnrepro.convert(network, calibration=X, n_steps=16)


def test_a_normalised_network_answers_as_it_was_trained(case):
    network, spiking = case
    trained, scores = (np.log(one) for one in (network.forward(X), spiking.run(X).scores))
    assert np.corrcoef(scores.ravel(), trained.ravel())[0, 1] > 0.98
    assert spiking.functions == {}
    assert set(spiking.populations) == {"relu", "inner"}


def test_every_value_averages_to_the_functions_value_at_the_means(case):
    spiking = case[1]
    stepper, growth, sums, weight = Stepper(spiking, X[:5]), spiking.growth, {}, 0.0
    for _ in range(9):
        stepper.step()
        weight = growth * weight + 1
        for name, value in stepper.values.items():
            sums[name] = growth * sums.get(name, 0.0) + value.astype(np.float64)
    means = {"relu": (sums["relu"] / weight).astype(np.float32)}
    for node in spiking.network.nodes[2 : [node.name for node in spiking.network.nodes].index("scaled") + 1]:
        means[node.name] = node.layer(*(means[name] for name in node.inputs))
        np.testing.assert_allclose(sums[node.name] / weight, means[node.name], atol=2e-4)


@pytest.mark.parametrize("simulator", ["plain", "nengo"])
def test_every_simulator_gives_the_same_spikes(case, simulator):
    if simulator == "nengo":
        pytest.importorskip("nengo")
    _assert_same(case[1], simulator)


def test_nengo_dl_gives_the_same_spikes_and_refuses_to_train(nengo_dl):
    from snnrepro.simulators.nengo.dl import TrainingSettings, train

    spiking = snnrepro.convert(_network("spelt"), "rate", X, n_steps=10)
    _assert_same(spiking, "nengo-dl")
    with pytest.raises(snnrepro.UnsupportedError, match="Divide 'n': NengoDL runs it, and cannot train through it"):
        train(spiking, X, np.zeros(len(X), np.int64), TrainingSettings(), seed=0)


def _assert_same(spiking, simulator):
    event, other = (spiking.run(X[:5], 9, simulator=name) for name in ("event", simulator))
    assert event.spike_counts["inner"].sum() > 100
    for name, counts in event.spike_counts.items():
        differ = np.abs(counts.astype(int) - other.spike_counts[name]).sum()
        assert differ <= 0.005 * counts.sum() + 1, name  # sums in another order: a spike on the verge comes later
    np.testing.assert_allclose(event.scores, other.scores, atol=0.05)


@settings(max_examples=12)
@given(drawn_cases((*BLOCKS, "running"), growths=(1.0,), max_steps=2, max_images=2))
def test_exact_networks_give_the_same_numbers_in_all_simulators(case):
    """Halves are exact: in two steps the means are."""
    pytest.importorskip("nengo")
    plain, event, nengo = (case.spiking.run(case.x, case.n_steps, name) for name in ("plain", "event", "nengo"))
    for other in (event, nengo):
        np.testing.assert_array_equal(other.scores, plain.scores)
        for name, counts in plain.spike_counts.items():
            np.testing.assert_array_equal(other.spike_counts[name], counts)


def test_steps_and_early_exits_go_on_where_they_stopped(case):
    spiking = case[1]
    kept = spiking.run(X[:9], 12, keep_steps=[3, 12]).scores_by_step
    np.testing.assert_allclose(kept[:, 0], spiking.run(X[:9], 3).scores, atol=1e-5)
    exited = spiking.run(X, early_exit=1.0)
    assert len(set(exited.steps_used.tolist())) > 1
    alone = spiking.run(X[5:6], int(exited.steps_used[5]))
    np.testing.assert_allclose(exited.scores[5], alone.scores[0], atol=1e-4)


def test_what_is_graded_is_counted_and_said(tmp_path):
    network = _network("spelt")
    found = graded(prepare(network))
    assert found.layers == {"functions": 2, "quotients": 1}
    assert found.values == 120 + 6 + 120
    network.save(tmp_path / "net.npz")
    np.savez(tmp_path / "data.npz", x=X[:60])
    data, spiking = tmp_path / "data.npz", tmp_path / "s.npz"
    said = "graded values: 246 per image and step, computed from means and no spikes (functions: 2, quotients: 1)"
    for arguments in (
        ["inspect", tmp_path / "net.npz"],
        ["convert", tmp_path / "net.npz", "-o", spiking, "--calibration", data, "--n-steps", 4],
        ["run", spiking, data],
    ):
        assert said in run_command(*arguments).stdout
    held = json.loads(run_command("run", spiking, data, "--json").stdout)["graded"]
    assert held == {"values": 246, "layers": {"functions": 2, "quotients": 1}}
    np.testing.assert_array_equal(  # and the archive has kept it all
        snnrepro.load_spiking(spiking).run(X[:5]).scores,
        snnrepro.convert(network, calibration=X[:60], n_steps=4).run(X[:5]).scores,
    )


def test_nothing_is_graded_in_a_network_of_spikes_alone():
    nodes = [node for node in _network("layer").nodes if node.name != "n"]
    nodes = [Node("scaled", ("relu",), node.layer) if node.name == "scaled" else node for node in nodes]
    assert graded(prepare(Network("x", X.shape[1:], tuple(nodes), {}))).values == 0


def _mlp(*middle, last=()):
    rng = np.random.RandomState(0)
    nodes = [
        Node("a", ("x",), Dense(rng.normal(size=(5, 6)), np.zeros(6))),
        Node("relu", ("a",), ReLU()),
        *middle,
        Node("b", ((middle or [Node("relu", (), None)])[-1].name,), Dense(rng.normal(size=(6, 3)), np.ones(3))),
        *last,
    ]
    return Network("x", (5,), tuple(nodes), {})


ROWS = np.random.RandomState(1).rand(60, 5).astype(np.float32)


def test_an_algebraic_function_is_fitted_nowhere_and_one_at_the_output_is_computed_from_the_readout():
    square = Node("square", ("relu",), Function("x * x"))
    spiking = snnrepro.convert(
        _mlp(square, last=[Node("root", ("b",), Function("x * x"))]), calibration=ROWS, n_steps=16
    )
    assert (spiking.functions, spiking.readout, set(spiking.populations)) == ({}, "b", {"relu"})
    assert [node.name for node in spiking.tail.nodes] == ["root"]
    assert graded(spiking.schedule).layers == {"functions": 1}
    scores, trained = spiking.run(ROWS).scores, spiking.trained.forward(ROWS)
    assert np.corrcoef(scores.ravel(), trained.ravel())[0, 1] > 0.99


def test_a_curved_function_before_a_quotient_is_fitted_and_a_softmax_there_is_computed_from_the_readout():
    exponential = Node("e", ("relu",), Function("exp(x)"))
    total = Node("t", ("e",), Reduce("mean", (0,)))
    network = _mlp(exponential, total, Node("q", ("e", "t"), Divide()))
    assert [node.name for node in curved_inside(network)] == ["e"]
    soft = _mlp(Node("s", ("relu",), Softmax((0,))), Node("q", ("s", "relu"), Divide()))
    with pytest.raises(snnrepro.UnsupportedError, match="Softmax 's': Dense 'b' stands behind it"):
        prepare(soft)
    before = [node for node in soft.nodes[:-1] if node.name != "q"]
    weighted = Network("x", soft.input_shape, (*before, Node("p", ("s", "relu"), Multiply())), {})
    assert [node.name for node in prepare(weighted).tail.nodes][-2:] == ["s", "p"]
    scores = snnrepro.convert(weighted, calibration=ROWS, n_steps=64).run(ROWS).scores
    assert np.corrcoef(scores.ravel(), weighted.forward(ROWS).ravel())[0, 1] > 0.9


def test_what_the_image_alone_decides_is_computed_once_and_never_nan():
    """A blank image, whose own mean it is divided by, was 0 / 0."""
    rng = np.random.RandomState(1)
    nodes = (
        Node("mean", ("x",), Reduce("mean", (0,))),
        Node("q", ("x", "mean"), Divide()),
        Node("a", ("q",), Dense(rng.normal(size=(5, 6)), np.ones(6))),
        Node("relu", ("a",), ReLU()),
        Node("y", ("relu",), Dense(rng.normal(size=(6, 3)), np.zeros(3))),
    )
    network = Network("x", (5,), nodes, {})
    spiking = snnrepro.convert(network, calibration=ROWS, n_steps=16)
    assert graded(spiking.schedule).values == 0
    x = np.concatenate([ROWS[:3], np.zeros((1, 5), np.float32)])
    event, plain = (spiking.run(x, simulator=name).scores for name in ("event", "plain"))
    np.testing.assert_allclose(event, plain, atol=1e-5)
    assert np.isfinite(event).all()
    np.testing.assert_allclose(event[:3], network.forward(ROWS[:3]), atol=0.3)


def test_a_quotient_that_calibration_images_have_no_value_of_is_refused():
    network = _mlp(Node("q", ("relu", "relu"), Divide()))
    with pytest.raises(snnrepro.DataError, match=r"Divide 'q': what it gives is no finite number for .* an epsilon"):
        snnrepro.convert(network, calibration=ROWS)


def test_a_value_that_is_not_finite_is_0_and_no_more(monkeypatch):
    """The planted fault: without that, one silent neuron at the first step makes all that is behind it NaN."""
    wanted = step.of_sums(Divide(), np.float32(2), np.ones((1, 2), np.float32), np.float32([[0, 4]]))
    np.testing.assert_array_equal(wanted, [[0, 0.5]])
    monkeypatch.setattr(np, "isfinite", np.ones_like)
    assert not (
        step.of_sums(Divide(), np.float32(2), np.ones((1, 2), np.float32), np.float32([[0, 4]])) == wanted
    ).all()
