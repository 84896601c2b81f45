"""A spiking network as data: exact pooling and branches, one run for every number of steps, an archive, its checks."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import snnrepro
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Conv, Dense, MaxPool, Reduce, ReLU, Reshape, Sigmoid
from snnrepro.simulators import plain
from snnrepro.simulators.plain import spike_trains
from snnrepro.spiking.archive import load_spiking
from snnrepro.spiking.network import SpikingNetwork, scores_of
from snnrepro.spiking.neurons import IF, LIF, Population
from snnrepro.spiking.prepare import prepare
from snnrepro.spiking.run import step_weights
from snnrepro.spiking.schedule import is_maximum
from snnrepro.spiking.step import Readout, RunningMaximum
from snnrepro.spiking.synops import fan_out
from tests.helpers.spiking_strategies import drawn_cases


def _weighted_mean(trains, growth):
    weights = step_weights(growth, trains.shape[1])
    return np.tensordot(weights / weights.sum(), trains.astype(np.float64), axes=(0, 1)).astype(np.float32)


def _scores_of_mean_outputs(case):
    """Return the scores of the trained network's own layers, each rectifier replaced by its neurons' mean output."""
    spiking = case.spiking
    trains = spike_trains(spiking, case.x, case.n_steps)
    values = {spiking.network.input_name: case.x}
    behind = () if spiking.tail is None else {node.name for node in spiking.tail.nodes}
    for node in spiking.network.nodes:
        if isinstance(node.layer, ReLU):
            values[node.name] = _weighted_mean(trains[node.name], spiking.growth)
        elif node.name not in behind:
            values[node.name] = node.layer(*(values[name] for name in node.inputs))
    assert any(train.any() for train in trains.values()), "no neuron fires"
    return scores_of(spiking, values[spiking.readout])


@settings(max_examples=60)
@given(drawn_cases())
def test_pooling_branches_and_readout_are_exact_in_the_rates(case):
    """The maxima of sums, the means of windows, sums and concatenations of branches with their own thresholds."""
    got = case.spiking.run(case.x, case.n_steps, simulator="plain").scores
    np.testing.assert_allclose(got, _scores_of_mean_outputs(case), rtol=1e-4, atol=1e-4)


def test_a_maximum_taken_anew_in_every_step_is_noticed(monkeypatch):
    """The mean of maxima is not the maximum of means: two neurons that take turns are not one without rest."""
    one = np.float32(1)
    network = Network(
        "x",
        (2,),
        (
            Node("relu", ("x",), ReLU()),
            Node("max", ("relu",), Reduce("max", (0,))),
            Node("out", ("max",), Dense(np.ones((1, 1)), np.zeros(1))),
        ),
        {},
    )
    population = Population(IF(), one, one, np.float32([0.0, 0.5]), np.float32(0))
    spiking = SpikingNetwork(network, "out", {"relu": population})
    x = np.float32([[0.5, 0.5]])
    assert spiking.run(x, 4, simulator="plain").scores == 0.5
    monkeypatch.setattr(RunningMaximum, "step", lambda self, value: self.layer(value))
    assert spiking.run(x, 4, simulator="plain").scores == 1.0


@settings(max_examples=40)
@given(drawn_cases(max_images=4))
def test_one_run_answers_for_every_smaller_number_of_steps(case):
    every = case.spiking.run(case.x, case.n_steps, "plain", keep_steps=range(1, case.n_steps + 1))
    assert every.steps == tuple(range(1, case.n_steps + 1))
    for n_steps in every.steps:
        alone = case.spiking.run(case.x, n_steps, "plain")
        np.testing.assert_array_equal(alone.scores, every.scores_by_step[:, n_steps - 1])
        np.testing.assert_array_equal(alone.predictions, every.predictions_by_step[:, n_steps - 1])


def test_images_are_simulated_in_pieces_without_a_difference(monkeypatch):
    spiking, x = _example(), np.random.RandomState(1).rand(11, 2, 6, 5)
    whole = spiking.run(x, 7, "plain")
    done = []
    monkeypatch.setattr(plain, "_NUMBERS", 4 * sum(np.prod(shape) for shape in spiking.network.shapes.values()))
    pieces = spiking.run(x, 7, "plain", progress=done.append)
    assert len(done) == 3
    assert sum(done) == pytest.approx(1)
    np.testing.assert_array_equal(pieces.scores, whole.scores)
    np.testing.assert_array_equal(pieces.synaptic_operations, whole.synaptic_operations)
    assert whole.spike_counts["relu"].min() > 0
    assert 0 < whole.sparsity < 1


def test_no_image_at_all_gives_an_empty_run():
    run = replace(_example(), task="classes").run(np.zeros((0, 2, 6, 5)), 3, "plain")
    assert run.scores.shape == (0, 4)
    assert run.predictions.shape == run.synaptic_operations.shape == (0,)


def _example(neuron=None, **constants):
    rng = np.random.RandomState(0)
    network = Network(
        "x",
        (2, 6, 5),
        (
            Node(
                "conv",
                ("x",),
                Conv(rng.normal(size=(3, 2, 3, 2)), rng.normal(size=3), (2, 1), (1, 1), ((1, 0), (0, 0))),
            ),
            Node("relu", ("conv",), ReLU()),
            Node("max", ("relu",), MaxPool((1, 2), (1, 2), (1, 1), ((0, 0), (0, 0)))),
            Node("flat", ("max",), Reshape((18,))),
            Node("dense", ("flat",), Dense(rng.normal(size=(18, 4)), rng.normal(size=4))),
            Node("sigmoid", ("dense",), Sigmoid()),
        ),
        {"file": "example"},
    )
    threshold = np.float32([0.5, 0.75, 1.0]).reshape(3, 1, 1)
    population = Population(neuron or IF(), threshold, threshold, threshold / 2, np.float32(0))
    return SpikingNetwork(network, "dense", {"relu": population}, n_steps=9, provenance={"recipe": "mine"}, **constants)


@settings(max_examples=60)
@given(st.data())
def test_synaptic_operations_are_counted_as_a_loop_over_the_weights_counts_them(data):
    """The oracle: every input that is 1 alone reaches some outputs through nonzero weights; those are counted."""
    rng = np.random.RandomState(data.draw(st.integers(0, 2**31)))
    kernel = (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3)))
    strides, dilations = (tuple(data.draw(st.integers(1, 2)) for _ in range(2)) for _ in range(2))
    pads = tuple((data.draw(st.integers(0, 2)), data.draw(st.integers(0, 1))) for _ in range(2))
    weights = (rng.rand(4, 1, *kernel) < 0.6).astype(np.float32)
    layer = Conv(weights, np.zeros(4), strides, dilations, pads, 2)
    space = (data.draw(st.integers(5, 7)), data.draw(st.integers(5, 7)))
    network = Network("x", (2, *space), (Node("conv", ("x",), layer),), {})
    found = fan_out(network.nodes[0], network.input_shape, network.output_shape)
    impulses = np.eye(2 * space[0] * space[1], dtype=np.float32).reshape(-1, 2, *space)
    expected = np.rint(layer(impulses)).reshape(len(impulses), -1).sum(axis=1).reshape(2, *space)
    assert weights.any() or not expected.any()
    np.testing.assert_array_equal(found, expected)


def test_synaptic_operations_are_neurobenchs():
    """Dense 3 to 2 with a weight of 0: spikes of neuron 0 meet 2 weights, of neuron 1 one, of neuron 2 none."""
    one = np.float32(1)
    weights = np.float32([[1, 2], [0, 3], [0, 0]])
    nodes = (
        Node("relu", ("x",), ReLU()),
        Node("out", ("relu",), Dense(weights, np.zeros(2))),
    )
    network = Network("x", (3,), nodes, {})
    spiking = SpikingNetwork(network, "out", {"relu": Population(IF(), one, one, np.float32(0), np.float32(0))})
    run = spiking.run([[1.0, 1.0, 1.0], [0.5, 0.0, 1.0]], 4, "plain")
    np.testing.assert_array_equal(run.synaptic_operations, [4 * 2 + 4 * 1, 2 * 2])
    np.testing.assert_array_equal(run.macs, [0, 0])
    np.testing.assert_array_equal(run.spike_counts["relu"], [12, 6])
    assert run.sparsity == pytest.approx(1 - 18 / 24)
    assert _example().run(np.ones((1, 2, 6, 5)), 1, "plain").macs > 0


def test_a_filtered_readout_is_nothing_at_the_first_step():
    """Why the thesis's column n = 1 has 9.80 %: equal scores answer class 0, which 980 of 10,000 test images are."""
    lif = LIF()
    one = np.float32(1)
    population = Population(lif, one, one * 10, one * 0.9, one * lif.bias)
    spiking = replace(_example(), populations={"relu": population}, readout_synapse=0.1, correction=None)
    spiking = replace(spiking, task="classes")
    run = spiking.run(np.random.RandomState(0).rand(5, 2, 6, 5), 30, "plain", keep_steps=[1, 30])
    assert len(np.unique(run.scores_by_step[:, 0])) == 1
    assert set(run.predictions_by_step[:, 0]) == {0}
    assert np.ptp(run.scores) > 0.01


@pytest.mark.parametrize("tau", [0.005, 0.1])
def test_the_lowpass_is_nengos(tau):
    """The oracle: nengo.Lowpass with the step of delay that a synapse on a connection has."""
    nengo = pytest.importorskip("nengo", reason="Nengo is not installed (extra: nengo)")
    values = np.random.RandomState(0).rand(40, 3).astype(np.float32)
    expected = nengo.Lowpass(tau).filt(values, dt=0.001, y0=0)
    readout = Readout(replace(_example(), readout_synapse=tau))
    for step, value in enumerate(values):
        readout.add(value[np.newaxis])
        if step:
            np.testing.assert_allclose(readout.value[0], expected[step - 1], rtol=1e-4, atol=1e-6)
    assert expected[-1].min() > 0.01


@settings(max_examples=25)
@given(drawn_cases())
def test_an_archive_gives_the_same_network_bit_for_bit(tmp_path_factory, case):
    path = tmp_path_factory.mktemp("spiking") / "network.npz"
    case.spiking.save(path)
    again = load_spiking(path)
    assert again.populations.keys() == case.spiking.populations.keys()
    for name, population in again.populations.items():
        assert population.neuron == case.spiking.populations[name].neuron
    first, second = (one.run(case.x, case.n_steps, "plain") for one in (case.spiking, again))
    assert sum(int(counts.sum()) for counts in first.spike_counts.values())
    assert np.array_equal(first.scores, second.scores)
    again.save(path.with_name("again.npz"))
    assert path.read_bytes() == path.with_name("again.npz").read_bytes()


def test_an_archive_keeps_every_setting(tmp_path):
    spiking = replace(
        _example(IF(tau=0.02)), synapse=0.003, readout_synapse=0.05, dt=0.002, correction=np.float32([1, 2, 3, 4])
    )
    spiking.save(tmp_path / "s.npz")
    again = load_spiking(tmp_path / "s.npz")
    for name in ("readout", "synapse", "readout_synapse", "dt", "n_steps", "provenance"):
        assert getattr(again, name) == getattr(spiking, name)
    assert np.array_equal(again.correction, spiking.correction)
    lif = replace(spiking, populations={"relu": replace(spiking.populations["relu"], neuron=LIF(tau_ref=0.003))})
    lif.save(tmp_path / "lif.npz")
    assert load_spiking(tmp_path / "lif.npz").populations["relu"].neuron == LIF(tau_ref=0.003)


def _with_header(path, change):
    """Rewrite an archive with a changed header."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    header = json.loads(arrays["header"].tobytes().decode())
    change(header)
    np.savez(path, **{**arrays, "header": np.frombuffer(json.dumps(header).encode(), np.uint8)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(version=99), "pip install --upgrade snnrepro"),
        (lambda h: h.update(format="other"), "format 'other', expected 'snnrepro-spiking-network'"),
        (lambda h: h.update(dt=-1.0), "times must be above 0 s"),
        (lambda h: h.update(n_steps=0), "n_steps must be a whole number"),
        (lambda h: h.update(readout="relu"), "the readout must be 'dense'"),
        (lambda h: h["populations"].clear(), r"rectifiers without neurons: \['relu'\]"),
        (lambda h: h["populations"]["relu"]["neuron"].update(model="Izhikevich"), "unknown model"),
        (lambda h: h["populations"]["relu"]["neuron"].update(growth=9.0), "growth must lie from 1 to 2"),
        (lambda h: h["populations"]["relu"]["neuron"].update(hidden=1), "the archive is damaged"),
        (lambda h: h["populations"]["relu"]["arrays"].pop("bias"), "other arrays than"),
        (lambda h: h["populations"]["relu"]["arrays"]["bias"].update(sha256="0"), "differs from its SHA-256"),
        (lambda h: h.pop("correction"), "the archive is damaged"),
    ],
)
def test_a_damaged_archive_is_refused_with_its_reason(tmp_path, change, message):
    path = tmp_path / "s.npz"
    _example().save(path)
    _with_header(path, change)
    with pytest.raises(snnrepro.ArchiveError, match=message) as refusal:
        load_spiking(path)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("tau_rc", "abc"), ("tau_rc", -1), ("tau_rc", float("nan")), ("tau_ref", -0.5), ("amplitude", None)],
)
def test_an_archive_with_a_constant_that_a_lif_neuron_cannot_have_is_refused(tmp_path, field, value):
    _example(LIF()).save(tmp_path / "s.npz")
    assert load_spiking(tmp_path / "s.npz").populations["relu"].neuron == LIF()
    _with_header(tmp_path / "s.npz", lambda h: h["populations"]["relu"]["neuron"].update({field: value}))
    with pytest.raises(snnrepro.ModelError, match=rf"s\.npz: LIF: {field} must be .*, got {value!r}"):
        load_spiking(tmp_path / "s.npz")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("dt", [0.0, None]),
        ("synapse", [0.0]),
        ("readout_synapse", [-1.0]),
        ("n_steps", [0, 1.5, None]),
        ("correction", [np.zeros(3), np.zeros((1, 4))]),
    ],
)
def test_numbers_that_a_spiking_network_cannot_have_are_refused(field, values):
    of_an_array = [[np.nan] * 4, [np.inf] * 4]
    for value in [*values, *(of_an_array if field == "correction" else [np.nan, np.inf, "abc", True, 10**400])]:
        with pytest.raises(snnrepro.ModelError, match=f"SpikingNetwork: .*{field}"):
            replace(_example(), **{field: value})


def test_a_trained_network_and_a_spiking_one_are_not_taken_for_each_other(tmp_path):
    spiking = _example()
    spiking.save(tmp_path / "spiking.npz")
    spiking.network.save(tmp_path / "trained.npz")
    with pytest.raises(snnrepro.ArchiveError, match="snnrepro convert"):
        load_spiking(tmp_path / "trained.npz")
    with pytest.raises(snnrepro.ArchiveError, match="load_spiking"):
        snnrepro.load(tmp_path / "spiking.npz")


def test_what_does_not_fit_together_is_refused():
    spiking = _example()
    population = spiking.populations["relu"]
    wrong = replace(population, threshold=np.ones((2, 1, 1), np.float32))
    with pytest.raises(snnrepro.ModelError, match=r"'relu': threshold \(2, 1, 1\) does not fit a layer of \(3, 3, 4\)"):
        replace(spiking, populations={"relu": wrong})
    with pytest.raises(snnrepro.ModelError, match=r"neurons without a rectifier: \['other'\]"):
        replace(spiking, populations={"relu": population, "other": population})
    with pytest.raises(snnrepro.ModelError, match="'fast' is none of event, plain, nengo, nengo-dl"):
        spiking.run(np.zeros((1, 2, 6, 5)), simulator="fast")
    with pytest.raises(snnrepro.DataError, match=r"\(n_images, 2, 6, 5\), got \(1, 6, 5\)"):
        spiking.run(np.zeros((1, 6, 5)))
    for keep in ([3, 2], [0], [5], []):
        with pytest.raises(snnrepro.DataError, match="from 1 to n_steps=4"):
            spiking.run(np.zeros((1, 2, 6, 5)), 4, "plain", keep_steps=keep)


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow], max_examples=40)
@given(drawn_cases(blocks=["maximum", "conv", "affine"]))
def test_what_is_rewritten_for_neurons_keeps_every_value(case):
    """Nothing changes in the trained network's answer: leaky rectifiers are split, maxima see spikes."""
    network = case.spiking.network
    assume(any(is_maximum(node) for node in network.nodes))
    again = prepare(network).network
    np.testing.assert_array_equal(again.forward(case.x), network.forward(case.x))
