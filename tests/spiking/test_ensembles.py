"""Several neurons for each activation: the same network, a finer mean, and every count, archive and check with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

import snnrepro
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import AveragePool, Conv, Dense, MaxPool, ReLU, Reshape, Select, Transpose
from snnrepro.simulators.plain import mean_outputs, spike_trains
from snnrepro.spiking import ensembles
from snnrepro.spiking.ensembles import repeats, with_ensembles
from snnrepro.spiking.facts import layer_facts
from snnrepro.spiking.neurons import CONSTANTS
from snnrepro.spiking.prepare import prepare
from snnrepro.spiking.recipes import Recipe
from snnrepro.spiking.synops import fan_outs
from tests.helpers.spiking_strategies import drawn_cases, image_networks

# Few images, and answers that are not learnt, are enough here.
pytestmark = pytest.mark.filterwarnings("ignore::snnrepro.DataWarning")

RNG = np.random.RandomState(3)
X = RNG.uniform(0, 1, (200, 2, 5, 4)).astype(np.float32)


def _conv(n_out, n_in, groups=1, strides=(1, 1)):
    weights = RNG.normal(0, 1 / np.sqrt(9 * n_in / groups), (n_out, n_in // groups, 3, 3))
    return Conv(weights, RNG.uniform(-0.1, 0.2, n_out), strides, (1, 1), ((1, 1), (1, 1)), groups)


def _network(between=(), n_in=3 * 5 * 4):
    """Return two convolutions with rectifiers and a dense layer; `between` stands before the dense layer."""
    nodes = [
        Node("conv1", ("image",), _conv(4, 2)),
        Node("relu1", ("conv1",), ReLU()),
        Node("conv2", ("relu1",), _conv(3, 4)),
        Node("relu2", ("conv2",), ReLU()),
    ]
    for name, layer in between:
        nodes.append(Node(name, (nodes[-1].name,), layer))
    nodes.append(Node("flat", (nodes[-1].name,), Reshape((n_in,))))
    nodes.append(Node("scores", ("flat",), Dense(RNG.normal(0, 0.3, (n_in, 5)), RNG.normal(0, 0.1, 5))))
    return Network("image", (2, 5, 4), tuple(nodes), {})


NETWORK = _network()


def _means(network):
    return [node.name for node in network.nodes if node.name.endswith("/mean")]


@settings(max_examples=200)
@given(image_networks(), st.sampled_from([2, 3]), st.data())
def test_the_network_with_a_rectifier_for_each_neuron_gives_the_trained_values(network, size, data):
    schedule = prepare(network)
    wide = with_ensembles(schedule, size)
    rectifiers = {node.name for node in schedule.network.nodes if isinstance(node.layer, ReLU)}
    assert rectifiers, "no rectifier"
    x = np.random.RandomState(data.draw(st.integers(0, 2**32 - 1))).normal(0, 1, (3, *network.input_shape))
    trained, own = (dict(one.network.activations(x.astype(np.float32))) for one in (schedule, wide))
    assume(all(np.isfinite(value).all() for value in trained.values()))  # no maximum of padding alone
    for name in rectifiers:
        np.testing.assert_array_equal(own[name].shape[1:], (size * trained[name].shape[1], *trained[name].shape[2:]))
        np.testing.assert_allclose(own[name], np.repeat(trained[name], size, axis=1), rtol=1e-5, atol=1e-5)
    last, given_ = schedule.network.nodes[-1].name, wide.network.nodes[-1].name
    assert given_ == (f"{last}/mean" if last in rectifiers else last)
    np.testing.assert_allclose(own[given_], trained[last], rtol=1e-4, atol=1e-5)


def test_weights_that_are_not_divided_among_the_neurons_would_be_noticed(monkeypatch):
    wide, of_all = with_ensembles(prepare(NETWORK), 2), ensembles._of_all
    monkeypatch.setattr(ensembles, "_of_all", lambda node, *rest: _undivided(of_all(node, *rest)))
    wrong = with_ensembles(prepare(NETWORK), 2)
    np.testing.assert_allclose(wide.network.forward(X), NETWORK.forward(X), rtol=1e-4, atol=1e-5)
    assert np.abs(wrong.network.forward(X) - NETWORK.forward(X)).max() > 0.1


def _undivided(layer):
    return replace(layer, weights=2 * layer.weights) if hasattr(layer, "weights") else layer


@settings(max_examples=100)
@given(drawn_cases(per_activation=2))
def test_the_event_simulator_gives_the_plain_ones_spikes_with_several_neurons(case):
    assert _differing(case, "event") == []


@settings(max_examples=15)
@given(drawn_cases(per_activation=2))
def test_nengo_core_gives_the_plain_ones_spikes_with_several_neurons(nengo_dl, case):
    assert _differing(case, "nengo") == []


@settings(max_examples=3, phases=(Phase.explicit, Phase.generate))  # a graph is built for each
@given(drawn_cases(per_activation=2))
def test_nengo_dl_gives_the_plain_ones_spikes_with_several_neurons(nengo_dl, case):
    assert _differing(case, "nengo-dl") == []


def _differing(case, simulator):
    """Return the names of what is not the same in a simulator as in the plain one."""
    (wanted, scores), (got, others) = (_all_of(case, one) for one in ("plain", simulator))
    assert wanted.keys() == got.keys()
    assert any(counts.any() for name, counts in wanted.items() if name in case.spiking.populations), "no neuron fires"
    exact = case.spiking.growth == 1 and case.spiking.tail is None  # else weights of steps, or exp, are rounded
    np.testing.assert_allclose(others, scores, rtol=0 if exact else 1e-4, atol=0 if exact else 1e-5)
    return [name for name in wanted if not np.array_equal(wanted[name], got[name])]


def _all_of(case, simulator):
    run = case.spiking.run(case.x, case.n_steps, simulator, keep_steps=range(1, case.n_steps + 1))
    return {"operations": run.synaptic_operations, "macs": run.macs, **run.spike_counts}, run.scores_by_step


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("start", [0.0, 0.5, 0.75])
def test_neurons_that_start_evenly_spread_count_like_one_with_as_many_times_the_steps(size, start):
    """Hermite's identity: the sum over k < n of floor(x + k / n) is floor(n x)."""
    n_steps, most = 4, 1.0
    nodes = (Node("z", ("x",), Dense(np.eye(3), np.zeros(3))), Node("a", ("z",), ReLU()))
    network = Network("x", (3,), nodes, {})
    x = RNG.uniform(0, 0.98, (500, 3)).astype(np.float32)
    x[0] = most
    recipe = Recipe("spread", threshold="max", initial_potential=start, per_channel=False, corrects_readout=False)
    spiking = snnrepro.convert(network, recipe, x, n_steps, neurons_per_activation=size, most_as_is=1)
    total = size * n_steps
    wanted = np.floor(total * x.astype(np.float64) / most + start)
    near = np.abs(total * x / most + start - np.rint(total * x / most + start)) < 1e-4  # a matter of rounding
    assert near.mean() < 0.02
    assert len(np.unique(wanted)) > total
    np.testing.assert_allclose(spiking.run(x).scores[~near], wanted[~near] / total * most, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("recipe", ["rate", "balanced", "balanced-lif"])
def test_a_mean_of_several_fitted_neurons_errs_less_the_more_they_are(recipe):
    errors = []
    for size in (1, 2, 4):
        spiking = snnrepro.convert(NETWORK, recipe, X, 4, neurons_per_activation=size)
        trained = dict(NETWORK.activations(X))
        means = mean_outputs(spiking, X)
        assert all(means[name].shape == trained[name].shape for name in spiking.populations)
        errors.append([np.square(means[name] - trained[name]).mean() for name in (*spiking.populations, "scores")])
    one, two, four = errors
    assert all(after < 0.7 * before for before, after in zip([*one, *two], [*two, *four])), errors


def test_an_error_that_is_averaged_over_alike_neurons_would_be_noticed():
    """The planted fault: the neurons of an activation are the same, and their mean is no finer."""
    spiking = snnrepro.convert(NETWORK, "rate", X, 4, neurons_per_activation=2)
    alike = {
        name: replace(
            population,
            **{part: np.repeat(getattr(population, part)[::2], 2, axis=0) for part in CONSTANTS},
        )
        for name, population in spiking.populations.items()
    }
    found, wrong = (
        np.square(one.run(X).scores - NETWORK.forward(X)).mean()
        for one in (spiking, replace(spiking, populations=alike))
    )
    assert wrong > 2 * found


def test_a_spike_has_a_synapse_with_every_neuron_of_an_ensemble():
    spiking = snnrepro.convert(NETWORK, "rate", X, 4, neurons_per_activation=3)
    trains, run = spike_trains(spiking, X[:5], 4), spiking.run(X[:5])
    assert spiking.n_neurons == {"relu1": 3 * 4 * 20, "relu2": 3 * 3 * 20} == run.n_neurons
    spikes = {name: train != 0 for name, train in trains.items()}
    assert all((spikes[name].sum(axis=(1, 2, 3, 4)) == run.spike_counts[name]).all() for name in spikes)
    fans = fan_outs(replace(spiking, populations=_of_one(spiking), neurons_per_activation=1))
    behind = 3 * fans["relu1"], fans["flat"].reshape(3, 5, 4)  # each of three neurons; no neuron reads the scores
    counted = sum(
        (spikes[name].sum(axis=1).reshape(5, -1, 3, 5, 4).sum(axis=2) * fan).sum(axis=(1, 2, 3))
        for name, fan in zip(("relu1", "relu2"), behind)
    )
    np.testing.assert_array_equal(run.synaptic_operations, counted)
    np.testing.assert_array_equal(run.macs, snnrepro.convert(NETWORK, "rate", X, 4).run(X[:5]).macs)  # computed once


def _of_one(spiking):
    size = spiking.neurons_per_activation
    return {
        name: replace(population, **{part: getattr(population, part)[::size] for part in CONSTANTS})
        for name, population in spiking.populations.items()
    }


def test_the_archive_keeps_the_trained_weights_once_and_every_constant(tmp_path):
    spiking = snnrepro.convert(NETWORK, "rate", X, 4, neurons_per_activation=2)
    assert spiking.provenance["neurons_per_activation"] == 2
    spiking.save(tmp_path / "two.npz")
    again = snnrepro.load_spiking(tmp_path / "two.npz")
    assert again.neurons_per_activation == 2
    snnrepro.assert_weights_identical(again.network, NETWORK)
    snnrepro.assert_weights_identical(again, spiking)
    np.testing.assert_array_equal(again.run(X).scores, spiking.run(X).scores)
    one = snnrepro.convert(NETWORK, "rate", X, 4)
    one.save(tmp_path / "one.npz")
    assert (tmp_path / "two.npz").stat().st_size < 1.2 * (tmp_path / "one.npz").stat().st_size + 4000


@pytest.mark.parametrize(
    "between",
    [
        (),
        [("moved", Transpose((1, 2, 0)))],
        [("mean", AveragePool((1, 2), (1, 2), (1, 1), ((0, 0), (0, 0)), ((0, 0), (0, 0))))],
        [("some", Select((None, (3, 1), None))), ("moved", Transpose((2, 0, 1)))],
    ],
    ids=["flat", "transposed", "average", "selected"],
)
def test_what_leaves_channels_apart_hands_on_every_neuron(between):
    n_in = {0: 60, 1: 60, 2: 24}[len(between)] if not between or between[0][0] != "mean" else 30
    network = _network(between, n_in)
    wide = with_ensembles(prepare(network), 2).network
    assert _means(wide) == []
    np.testing.assert_allclose(wide.forward(X), network.forward(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "between",
    [
        [("largest", MaxPool((1, 2), (1, 2), (1, 1), ((0, 0), (0, 0))))],
        [("some", Select(((2, 0), None, None)))],
    ],
    ids=["maximum", "channels"],
)
def test_what_does_not_reads_their_mean(between):
    n_in = {"largest": 30, "some": 40}[between[0][0]]
    nodes = list(_network(between, n_in).nodes)
    if between[0][0] == "largest":  # a maximum of the mean, not a mean of maxima
        nodes = [*nodes[:4], Node("again", ("relu2",), _conv(3, 3)), *nodes[4:]]
    network = Network("image", (2, 5, 4), tuple(nodes), {})
    wide = with_ensembles(prepare(network), 2).network
    assert _means(wide) == ["relu2/mean"]
    np.testing.assert_allclose(wide.forward(X), network.forward(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [Select(((0, 0, 1, 1), None)), Select(((1, 1, 1),))])
def test_only_channels_that_are_given_in_turn_are_an_ensemble(layer):
    assert repeats(layer) == {4: 2, 3: 1}[len(layer.indices[0])]
    assert repeats(Select(((0, 1), (0, 0)))) == repeats(Select((None, (0, 0)))) == repeats(ReLU()) == 1
    assert repeats(Select(((0, 1, 0, 1),))) == repeats(Select(((0, 0, 1),))) == 1


def test_a_dense_layer_over_rows_reads_the_mean_of_ensembles():
    """Its channels are those of the last axis, those of an ensemble lie along the first."""
    nodes = (
        Node("rows", ("x",), Dense(RNG.normal(0, 0.5, (4, 6)), np.zeros(6))),
        Node("relu", ("rows",), ReLU()),
        Node("more", ("relu",), Dense(RNG.normal(0, 0.5, (6, 3)), np.zeros(3))),
        Node("again", ("more",), ReLU()),
        Node("y", ("again",), Dense(RNG.normal(0, 0.5, (3, 2)), np.zeros(2))),
    )
    network = Network("x", (5, 4), nodes, {})
    x = RNG.uniform(0, 1, (100, 5, 4)).astype(np.float32)
    spiking = snnrepro.convert(network, "rate", x, 6, neurons_per_activation=2)
    event, plain = (spiking.run(x[:20], simulator=one) for one in ("event", "plain"))
    assert event.mean_spikes > 0
    snnrepro.assert_same_spikes(event, plain, rounding=1e-3)
    assert np.corrcoef(event.scores.ravel(), network.forward(x[:20]).ravel())[0, 1] > 0.95


@pytest.mark.parametrize("weights", ["int8", "int16"])
def test_fixed_point_and_several_neurons_go_together(weights):
    spiking = snnrepro.convert(NETWORK, "rate", X, 4, weights=weights, neurons_per_activation=2)
    event, plain = (spiking.run(X[:50], simulator=one) for one in ("event", "plain"))
    assert event.mean_spikes > 0
    snnrepro.assert_same_spikes(event, plain)
    np.testing.assert_array_equal(event.scores, plain.scores)
    means, trained = mean_outputs(spiking, X), dict(NETWORK.activations(X))
    assert all(np.corrcoef(means[name].ravel(), trained[name].ravel())[0, 1] > 0.98 for name in spiking.populations)


def test_nengos_neurons_of_an_ensemble_start_where_they_are_drawn(nengo_dl):
    errors = []
    for size in (1, 8):
        spiking = snnrepro.convert(NETWORK, "thesis", n_steps=40, neurons_per_activation=size)
        starts = spiking.populations["relu1"].initial_potential
        assert starts.shape == (4 * size, 5, 4)
        assert len(np.unique(starts)) == starts.size
        means, trained = mean_outputs(spiking, X[:50]), dict(NETWORK.activations(X[:50]))
        errors.append(np.square(means["relu1"] - trained["relu1"]).mean())
        event, plain = (spiking.run(X[:10], simulator=one) for one in ("event", "plain"))
        snnrepro.assert_same_spikes(event, plain, rounding=1e-3)
    assert errors[1] < 0.8 * errors[0]


def test_verify_compares_activations_and_finds_wrong_neurons_of_one_layer():
    spiking = snnrepro.convert(NETWORK, "rate", X, 8, neurons_per_activation=2)
    found = snnrepro.verify(NETWORK, spiking, X)
    assert found.passed
    assert {"relu1", "relu2", "scores"} <= {one.layer for one in found.comparisons if "spikes" in one.hop}
    broken = replace(
        spiking.populations["relu2"], amplitude=RNG.permutation(spiking.populations["relu2"].amplitude) * 5
    )
    wrong = replace(spiking, populations={**spiking.populations, "relu2": broken})
    assert snnrepro.verify(NETWORK, wrong, X).first_difference.layer in ("relu2", "scores")


def test_tuning_moves_the_neurons_of_an_ensemble_together():
    tuned, begun = (
        snnrepro.convert(NETWORK, recipe, X, 2, neurons_per_activation=2) for recipe in ("tuned-rate", "rate")
    )
    apart = [tuned.populations["relu1"].amplitude[k::2] for k in (0, 1)]
    assert not np.array_equal(*apart)
    wanted = NETWORK.forward(X)
    after, before = (np.square(one.run(X).scores - wanted).mean() for one in (tuned, begun))
    assert after < before


def test_layer_facts_count_every_neuron():
    one, three = (layer_facts(NETWORK, None, size) for size in (1, 3))
    assert sum(fact.neurons for fact in one) == 7 * 20
    assert [3 * fact.neurons for fact in one] == [fact.neurons for fact in three]


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "two", None])
def test_a_number_of_neurons_that_is_none_is_refused(size):
    with pytest.raises(snnrepro.ModelError, match="neurons_per_activation must be at least 1"):
        snnrepro.convert(NETWORK, "rate", X, 4, neurons_per_activation=size)


def test_constants_of_too_few_neurons_are_refused():
    spiking = snnrepro.convert(NETWORK, "rate", X, 4)
    with pytest.raises(snnrepro.ModelError, match=r"does not fit a layer of \(8, 5, 4\)"):
        replace(spiking, neurons_per_activation=2)


def test_explain_refuses_several_neurons_in_words():
    spiking = snnrepro.convert(NETWORK, "rate", X, 4, neurons_per_activation=2)
    with pytest.raises(snnrepro.ModelError, match="explain a conversion with neurons_per_activation=1"):
        snnrepro.explain(spiking, X)
