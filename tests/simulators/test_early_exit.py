"""Images that stop before the last step: nothing else changes, "certain" never changes an answer, a margin may."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from snnrepro.errors import ModelError
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Add, Dense, ReLU, Sigmoid, Softmax
from snnrepro.simulators.event import early_exit
from snnrepro.simulators.event.plan import make_plan
from snnrepro.spiking.convert import convert
from snnrepro.spiking.network import SpikingNetwork
from snnrepro.spiking.neurons import IF, LIF, Population
from tests.helpers.event_cases import dyadic, limits, small, with_neurons
from tests.helpers.spiking_strategies import drawn_cases

STOPS = (early_exit, "checks")


@pytest.fixture
def every_step(monkeypatch):
    """Images may stop after each step."""
    monkeypatch.setattr(early_exit, "checks", lambda n_steps: tuple(range(1, n_steps + 1)))


def has_classes(spiking):
    """Whether a network gives a score for each class."""
    behind = () if spiking.tail is None else spiking.tail.nodes
    shape = spiking.network.shapes[spiking.readout]
    return len(shape) == 1 and shape[0] > 1 and all(isinstance(node.layer, Softmax) for node in behind)


def assert_ends(run, spiking, x, n_steps):
    """Assert that each image has what a run of the plain simulator gives that ends where it stopped."""
    used = run.steps_used
    assert used.dtype == np.int64
    assert run.mean_steps == used.mean()
    for step in sorted({*used.tolist()}):
        stopped = used == step
        plain = spiking.run(x[stopped], step, "plain")
        np.testing.assert_allclose(run.scores[stopped], plain.scores, rtol=1e-4, atol=1e-5)
        for name, counts in plain.spike_counts.items():
            np.testing.assert_array_equal(run.spike_counts[name][stopped], counts, err_msg=name)
        np.testing.assert_array_equal(run.synaptic_operations[stopped], plain.synaptic_operations)
        np.testing.assert_array_equal(run.macs[stopped], plain.macs)
    neurons = sum(run.n_neurons.values())
    fired = sum(int(counts.sum()) for counts in run.spike_counts.values())
    assert run.sparsity == pytest.approx(1 - fired / (neurons * used.sum()))
    assert used.min() >= 1
    assert used.max() <= n_steps


@settings(suppress_health_check=list(HealthCheck), max_examples=150)
@given(
    drawn_cases(max_images=6, max_steps=8, heads=["flat"]), st.sampled_from([0.125, 0.5, 1.0, 4.0]), st.integers(1, 6)
)
def test_an_image_that_stops_has_what_a_run_gives_that_ends_there(case, margin, size):
    spiking = case.spiking
    assume(has_classes(spiking))
    with limits(size), pytest.MonkeyPatch.context() as patch:
        patch.setattr(*STOPS, lambda n_steps: tuple(range(1, n_steps + 1)))
        run = spiking.run(case.x, case.n_steps, early_exit=margin)
    assert_ends(run, spiking, case.x, case.n_steps)


@settings(suppress_health_check=list(HealthCheck), max_examples=150)
@given(drawn_cases(max_blocks=3, max_images=6, max_steps=8, heads=["flat"]))
def test_a_certain_exit_never_changes_an_answer_of_any_network(case):
    spiking = case.spiking
    assume(has_classes(spiking) and set(make_plan(spiking).readout.inputs) <= set(spiking.populations))
    whole = spiking.run(case.x, case.n_steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*STOPS, lambda n_steps: tuple(range(1, n_steps + 1)))
        run = spiking.run(case.x, case.n_steps, early_exit="certain")
    np.testing.assert_array_equal(run.predictions, whole.predictions)
    assert_ends(run, spiking, case.x, case.n_steps)


def bumps(seed, n):
    """Return images of a blurred bump whose place is its class, with noise, and the classes."""
    rng = np.random.RandomState(seed)
    y = rng.randint(0, 4, n)
    place = np.arange(24)
    x = np.exp(-((place - (6 * y + 3)[:, np.newaxis]) ** 2) / 18) + 0.6 * rng.rand(n, 24)
    return x.astype(np.float32), y


@pytest.fixture(scope="module")
def fitted():
    """A dense network of random features whose last layer is fitted to labels, and so trained."""
    rng = np.random.RandomState(0)
    first, second = (rng.randn(24, 40) / 5).astype(np.float32), (rng.randn(40, 30) / 6).astype(np.float32)
    x, y = bumps(1, 600)
    features = np.maximum(np.maximum(x @ first, 0) @ second, 0)
    wanted = 4.0 * np.eye(4)[y]
    last = np.linalg.solve(features.T @ features + 10 * np.eye(30), features.T @ wanted)
    nodes = [
        Node("first", ("x",), Dense(first, np.zeros(40))),
        Node("a", ("first",), ReLU()),
        Node("second", ("a",), Dense(second, np.zeros(30))),
        Node("b", ("second",), ReLU()),
        Node("third", ("b",), Dense(last, np.zeros(4))),
        Node("y", ("third",), Softmax((0,))),
    ]
    return convert(Network("x", (24,), tuple(nodes), {}), "rate", x[:200], 60)


def test_a_certain_exit_stops_images_of_a_trained_network_early_with_the_same_answers(fitted):
    x, y = bumps(2, 2000)
    whole, run = fitted.run(x, 60), fitted.run(x, 60, early_exit="certain")
    assert (whole.predictions == y).mean() > 0.9  # or nothing is trained
    np.testing.assert_array_equal(run.predictions, whole.predictions)
    assert (run.steps_used < 60).mean() > 0.5
    assert run.mean_steps < 58
    np.testing.assert_array_equal(run.scores[run.steps_used == 60], whole.scores[run.steps_used == 60])


def test_a_smaller_margin_means_fewer_steps(fitted):
    x, y = bumps(2, 2000)
    runs = [fitted.run(x, 60, early_exit=margin) for margin in (8.0, 4.0, 2.0, 1.0, 0.5)]
    steps = [run.mean_steps for run in runs]
    assert steps == sorted(steps, reverse=True)
    assert steps[-1] < steps[1] < 60
    for before, after in zip(runs, runs[1:]):
        assert (after.steps_used <= before.steps_used).all()
    accuracies = [(run.predictions == y).mean() for run in runs]
    assert accuracies[-1] < accuracies[0]  # it is a trade, not a gift


def test_an_image_stops_where_its_mean_logits_lead_by_the_margin(fitted, every_step):
    x, _ = bumps(3, 50)
    logits = without_softmax(fitted).run(x, 60, "plain", list(range(1, 61))).scores_by_step
    ordered = np.sort(logits, axis=-1)
    ahead = ordered[..., -1] - ordered[..., -2]
    assert np.abs(ahead - 3.0).min() > 1e-5  # no lead that is a matter of rounding
    reached = ahead >= 3.0
    expected = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, 60)
    assert len({*expected.tolist()}) > 3
    np.testing.assert_array_equal(fitted.run(x, 60, early_exit=3.0).steps_used, expected)


def without_softmax(spiking):
    network = spiking.network
    nodes = tuple(node for node in network.nodes if not isinstance(node.layer, Softmax))
    return dataclasses.replace(spiking, network=Network(network.input_name, network.input_shape, nodes, {}))


def votes(weights, max_spikes=1, growth=1.0):
    """Return a network whose inputs are the currents of its neurons, which vote for classes by `weights`."""
    weights = np.asarray(weights, np.float32)
    n, n_classes = weights.shape
    nodes = [Node("a", ("x",), ReLU()), Node("y", ("a",), Dense(weights, np.zeros(n_classes)))]
    one = np.ones((), np.float32)
    population = Population(IF(None, growth, max_spikes=max_spikes), one, one, 0 * one, 0 * one)
    return SpikingNetwork(Network("x", (n,), tuple(nodes), {}), "y", {"a": population})


@pytest.mark.parametrize(("max_spikes", "growth"), [(1, 1.0), (2, 1.0), (1, 1.5)])
def test_an_image_stops_exactly_where_no_spikes_of_the_other_steps_change_its_answer(max_spikes, growth, every_step):
    """Control by trying every way in which the neurons can go on."""
    n_steps, rng = 4, np.random.RandomState(max_spikes)
    spiking = votes(dyadic(rng, 2, 3) * 3, max_spikes, growth)
    spiking = dataclasses.replace(spiking, correction=np.array([0.0, 0.3, -0.1], np.float32))
    x = rng.uniform(-0.5, 1.5, (60, 2)).astype(np.float32)
    by_step = spiking.run(x, n_steps, "plain", list(range(1, n_steps + 1)))
    weight = growth ** -np.arange(n_steps)
    expected = np.full(len(x), n_steps)
    layer = spiking.network.nodes[-1].layer
    ways = np.array(list(itertools.product(range(max_spikes + 1), repeat=2)))
    for image, step in itertools.product(range(len(x)), range(n_steps - 1, 0, -1)):
        answer = by_step.predictions_by_step[image, step - 1]
        so_far = (by_step.scores_by_step[image, step - 1] - spiking.correction) * weight[:step].sum()
        ends = [
            (so_far + sum(w * (spikes @ layer.weights) for w, spikes in zip(weight[step:], way))) / weight.sum()
            for way in itertools.product(ways, repeat=n_steps - step)
        ]
        if all((end + spiking.correction).argmax() == answer for end in ends):
            expected[image] = step
    found = spiking.run(x, n_steps, early_exit="certain")
    assert 0 < (expected < n_steps).mean() < 1
    np.testing.assert_array_equal(found.steps_used, expected)


def late_comer():
    """Return a network in which one neuron leads from the first step, and another wins from the seventh on."""
    spiking = votes([[1.0, 0.0], [0.0, 3.0]])
    start = np.array([0.0, -6.0], np.float32)
    population = dataclasses.replace(spiking.populations["a"], initial_potential=start)
    return dataclasses.replace(spiking, populations={"a": population}), np.ones((1, 2), np.float32)


def test_an_answer_that_changes_late_is_waited_for(every_step):
    spiking, x = late_comer()
    assert spiking.run(x, 8).predictions == 0
    run = spiking.run(x, 16, early_exit="certain")
    assert run.predictions == spiking.run(x, 16, "plain").predictions == 1
    assert run.steps_used > 7


@pytest.mark.parametrize("fault", ["too small a gain", "the steps left are miscounted", "no room for other spikes"])
def test_a_fault_in_the_bound_is_seen(fault, monkeypatch, every_step):
    if fault == "the steps left are miscounted":
        real_weights = early_exit.readout_weights

        def faulty(spiking, steps):
            found = real_weights(spiking, steps)
            fewer = np.where(np.arange(found.weights.shape[1]) < 4, found.weights, 0)
            return dataclasses.replace(found, weights=fewer) if steps == (16,) else found

        monkeypatch.setattr(early_exit, "readout_weights", faulty)
    else:
        real, share = early_exit.largest_gains, 0.1 if fault == "too small a gain" else 0.0
        monkeypatch.setattr(early_exit, "largest_gains", lambda spiking: share * real(spiking))
    with pytest.raises(AssertionError):
        test_an_answer_that_changes_late_is_waited_for(None)


@pytest.mark.parametrize("fault", ["potentials", "sums", "values"])
def test_a_fault_in_what_is_carried_is_seen(fault, monkeypatch, fitted, every_step):
    real = early_exit.Resumable.select

    def faulty(self, images):
        real(self, images)
        potentials = [array for state in self.states.values() for array in state]
        for array in potentials if fault == "potentials" else getattr(self, fault).values():
            array[:] = array[::-1].copy()

    monkeypatch.setattr(early_exit.Resumable, "select", faulty)
    x, _ = bumps(3, 50)
    with pytest.raises(AssertionError):
        assert_ends(fitted.run(x, 60, early_exit=3.0), fitted, x, 60)


def test_what_is_carried_is_right_without_a_fault(fitted, every_step):
    x, _ = bumps(3, 50)
    run = fitted.run(x, 60, early_exit=3.0)
    assert len({*run.steps_used.tolist()}) > 3
    assert_ends(run, fitted, x, 60)


def test_images_may_stop_until_the_last_step_and_not_behind_it():
    for n_steps in range(1, 130):
        steps = early_exit.checks(n_steps)
        assert steps[-1] == n_steps
        assert list(steps) == sorted({*steps})
        assert all(after <= max(before + 2, 1.25 * before) for before, after in zip(steps, steps[1:]))


def test_without_an_early_exit_every_image_has_all_steps():
    spiking, x = small()
    for simulator in ("event", "plain"):
        run = spiking.run(x, 7, simulator)
        assert run.stopped_after is None
        np.testing.assert_array_equal(run.steps_used, np.full(len(x), 7))
        assert run.mean_steps == 7
    none = spiking.run(x[:0], 7, early_exit=0.5)
    assert none.steps_used.shape == (0,)
    assert none.mean_steps == 7


REFUSED = {
    "another simulator": (lambda s, x: s.run(x, 4, "plain", early_exit=1.0), "an option of the simulator 'event'"),
    "kept steps": (lambda s, x: s.run(x, 4, keep_steps=[1, 4], early_exit=1.0), "leave out keep_steps"),
    "a word": (lambda s, x: s.run(x, 4, early_exit="soon"), "None, 'certain', or a margin above 0"),
    "no margin": (lambda s, x: s.run(x, 4, early_exit=0.0), "None, 'certain', or a margin above 0"),
    "a truth": (lambda s, x: s.run(x, 4, early_exit=True), "None, 'certain', or a margin above 0"),
    "not a number": (lambda s, x: s.run(x, 4, early_exit=float("nan")), "None, 'certain', or a margin above 0"),
    "a readout synapse": (
        lambda s, x: dataclasses.replace(s, readout_synapse=0.1).run(x, 4, early_exit=1.0),
        "no synapse and no readout synapse",
    ),
    "a synapse": (
        lambda s, x: dataclasses.replace(s, synapse=0.1).run(x, 4, early_exit=1.0),
        "no synapse and no readout synapse",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_permit_an_early_exit_is_refused_with_what_is_accepted(name):
    refused, message = REFUSED[name]
    with pytest.raises(ModelError, match=message):
        refused(*small())


def test_an_early_exit_is_refused_where_there_are_no_classes():
    rng = np.random.RandomState(0)
    first = Node("first", ("x",), Dense(dyadic(rng, 4, 6), np.zeros(6)))
    neurons = Node("a", ("first",), ReLU())
    last = Node("last", ("a",), Dense(dyadic(rng, 6, 3), np.zeros(3)))
    sigmoid = Node("y", ("last",), Sigmoid())
    x = rng.rand(2, 4).astype(np.float32)
    with pytest.raises(ModelError, match="scores of two or more classes"):
        with_neurons(Network("x", (4,), (first, neurons, last, sigmoid), {})).run(x, 4, early_exit=1.0)
    one = Node("last", ("a",), Dense(dyadic(rng, 6, 1), np.zeros(1)))
    with pytest.raises(ModelError, match=r"its readout is \(1,\)"):
        with_neurons(Network("x", (4,), (first, neurons, one), {})).run(x, 4, early_exit=1.0)
    with pytest.raises(ModelError, match=r"its readout is \(2, 3\)"):
        with_neurons(Network("x", (2, 4), (first, neurons, last), {})).run(x[np.newaxis], 4, early_exit=1.0)


def test_certainty_needs_a_readout_of_spikes_alone_and_a_margin_does_not():
    rng = np.random.RandomState(0)
    nodes = [
        Node("first", ("x",), Dense(dyadic(rng, 4, 4), np.zeros(4))),
        Node("a", ("first",), ReLU()),
        Node("y", ("a", "x"), Add()),
    ]
    spiking, x = with_neurons(Network("x", (4,), tuple(nodes), {})), rng.randint(0, 4, (9, 4)).astype(np.float32) / 4
    with pytest.raises(ModelError, match=r"reads \['x'\]; a margin is accepted"):
        spiking.run(x, 6, early_exit="certain")
    run = spiking.run(x, 6, early_exit=0.5)
    assert_ends(run, spiking, x, 6)
    assert run.mean_steps < 6


def test_neurons_without_a_compiled_loop_stop_too(every_step):
    """LIF neurons, and neurons that spike several times a step."""
    spiking, x = small()
    several = {
        name: dataclasses.replace(population, neuron=IF(max_spikes=2))
        for name, population in spiking.populations.items()
    }
    one = np.ones((), np.float32)
    lif = {name: Population(LIF(), one, 10 * one, 0 * one, one * LIF().bias) for name in spiking.populations}
    for populations in (several, lif):
        network = dataclasses.replace(spiking, populations=populations)
        run = network.run(x, 12, early_exit=1.0)
        assert len({*run.steps_used.tolist()}) > 1
        assert_ends(run, network, x, 12)
        whole = network.run(x, 12)
        np.testing.assert_array_equal(network.run(x, 12, early_exit="certain").predictions, whole.predictions)
