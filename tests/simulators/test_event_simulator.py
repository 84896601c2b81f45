"""The event-driven simulator gives the spikes of the plain one: every layer, every neuron, however the work is cut."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import snnrepro
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Add, AveragePool, Conv, Dense, ReLU, Reshape, Transpose
from snnrepro.simulators.event import run as event
from snnrepro.simulators.event.batch import Batch
from snnrepro.simulators.event.plan import make_plan
from snnrepro.simulators.event.readout import readout_weights
from snnrepro.simulators.event.stages import Filtered, FireOnNumbers, FireOnWeights, FirePlainly, Sums
from snnrepro.simulators.event.values import Spikes
from snnrepro.simulators.plain import spike_trains
from snnrepro.spiking.neurons import IF, LIF, Population
from tests.helpers.event_cases import dyadic, dyadic_conv, limits, small, threads, trains, windows, with_neurons
from tests.helpers.spiking_strategies import BLOCKS, drawn_cases

drawn = settings(suppress_health_check=list(HealthCheck), max_examples=150)


def assert_same(spiking, x, n_steps, keep_steps=None, exact=True):
    """Assert that both simulators give the same spikes, operations and scores; return the event simulator's run."""
    plain = spiking.run(x, n_steps, "plain", keep_steps)
    run = spiking.run(x, n_steps, "event", keep_steps)
    assert run.steps == plain.steps
    assert run.n_neurons == plain.n_neurons
    assert run.spike_counts.keys() == plain.spike_counts.keys()
    for name, counts in plain.spike_counts.items():
        np.testing.assert_array_equal(run.spike_counts[name], counts, err_msg=name)
        assert run.spike_counts[name].dtype == np.int64
    np.testing.assert_array_equal(run.synaptic_operations, plain.synaptic_operations)
    np.testing.assert_array_equal(run.macs, plain.macs)
    assert run.scores_by_step.shape == plain.scores_by_step.shape
    assert run.scores_by_step.dtype == np.float32
    if exact and spiking.tail is None and spiking.growth == 1:
        np.testing.assert_array_equal(run.scores_by_step, plain.scores_by_step)
    else:
        np.testing.assert_allclose(run.scores_by_step, plain.scores_by_step, rtol=1e-4, atol=1e-5)
    return run


def assert_close(found, wanted):
    """Assert equality up to the last bits: NumPy's own exp gives others in a longer array."""
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


@drawn
@given(drawn_cases())
def test_any_network_gives_the_spikes_operations_and_scores_of_the_plain_simulator(case):
    run = assert_same(case.spiking, case.x, case.n_steps, list(range(1, case.n_steps + 1)))
    assert sum(int(counts.sum()) for counts in run.spike_counts.values()) > 0


@drawn
@given(drawn_cases())
def test_every_neuron_fires_in_the_same_steps_as_in_the_plain_simulator(case):
    plain, found = spike_trains(case.spiking, case.x, case.n_steps), trains(case.spiking, case.x, case.n_steps)
    for name, train in plain.items():
        np.testing.assert_array_equal(found[name], train, err_msg=name)


@pytest.mark.parametrize("n_steps", range(1, 10))
def test_any_number_of_steps_agrees(n_steps):  # four of them are summed together
    spiking, x = small()
    run = assert_same(spiking, x, n_steps)
    assert n_steps < 3 or all(counts.sum() > 0 for counts in run.spike_counts.values())


@pytest.mark.parametrize("kind", BLOCKS)
def test_each_kind_of_layer_between_neurons_agrees(kind):
    @settings(suppress_health_check=list(HealthCheck), max_examples=25)
    @given(drawn_cases(blocks=[kind], max_blocks=2))
    def agrees(case):
        assert_same(case.spiking, case.x, case.n_steps)

    agrees()


@settings(suppress_health_check=list(HealthCheck), max_examples=60)
@given(drawn_cases(max_blocks=3), st.sampled_from([None, 0.001, 0.01]), st.sampled_from([None, 0.002, 0.1]))
def test_synapses_and_a_filtered_readout_agree(case, synapse, readout_synapse):
    spiking = dataclasses.replace(case.spiking, synapse=synapse, readout_synapse=readout_synapse)
    first = next(iter(spiking.populations))
    plain = spiking.run(case.x, case.n_steps, "plain", [1, case.n_steps])
    run = spiking.run(case.x, case.n_steps, "event", [1, case.n_steps])
    # Behind a filter numbers are no longer dyadic: a later spike may be a matter of rounding, the first layer's is not.
    np.testing.assert_array_equal(run.spike_counts[first], plain.spike_counts[first])
    if synapse is None:
        np.testing.assert_allclose(run.scores_by_step, plain.scores_by_step, rtol=1e-4, atol=1e-5)


@drawn
@given(drawn_cases(max_blocks=3), st.integers(1, 5), st.integers(1, 3))
def test_the_answer_does_not_depend_on_how_images_are_cut_into_blocks(case, size, n_threads):
    x = np.concatenate([case.x, case.x[::-1], case.x])
    whole = case.spiking.run(x, case.n_steps, "event")
    with limits(size), threads(n_threads):
        parts = case.spiking.run(x, case.n_steps, "event")
    assert_close(parts.scores_by_step, whole.scores_by_step)
    np.testing.assert_array_equal(whole.synaptic_operations, parts.synaptic_operations)
    np.testing.assert_array_equal(whole.macs, parts.macs)
    for name, counts in whole.spike_counts.items():
        np.testing.assert_array_equal(counts, parts.spike_counts[name])


@drawn
@given(drawn_cases(max_blocks=3))
def test_each_image_gives_alone_what_it_gives_in_a_batch_and_none_gives_nothing(case):
    batch = case.spiking.run(case.x, case.n_steps, "event")
    for index in range(len(case.x)):
        alone = case.spiking.run(case.x[index : index + 1], case.n_steps, "event")
        assert_close(alone.scores_by_step[0], batch.scores_by_step[index])
        assert alone.synaptic_operations[0] == batch.synaptic_operations[index]
    none = case.spiking.run(case.x[:0], case.n_steps, "event")
    assert none.scores_by_step.shape == (0, *batch.scores_by_step.shape[1:])
    assert all(len(counts) == 0 for counts in none.spike_counts.values())


@drawn
@given(drawn_cases(max_blocks=3))
def test_the_scores_kept_at_a_step_are_those_of_a_run_that_ends_there(case):
    steps = list(range(1, case.n_steps + 1))
    whole = case.spiking.run(case.x, case.n_steps, "event", steps)
    for step in steps:
        short = case.spiking.run(case.x, step, "event")
        assert_close(short.scores, whole.scores_by_step[:, step - 1])


@pytest.mark.parametrize("channels", [1, 15, 16, 17, 32, 33, 64, 65, 100, 128])
def test_any_number_of_channels_agrees(channels):
    rng = np.random.RandomState(channels)
    nodes = [
        Node("first", ("x",), dyadic_conv(rng, channels, 2, 2)),
        Node("a", ("first",), ReLU()),
        Node("second", ("a",), dyadic_conv(rng, channels + 1, channels, 3)),
        Node("b", ("second",), ReLU()),
        Node("last", ("b",), Transpose((1, 2, 0))),
        Node("flat", ("last",), Reshape((2 * 2 * (channels + 1),))),
        Node("y", ("flat",), Dense(dyadic(rng, 2 * 2 * (channels + 1), 3), np.zeros(3))),
    ]
    spiking = with_neurons(Network("x", (2, 5, 5), tuple(nodes), {}))
    x = rng.randint(0, 4, (5, 2, 5, 5)).astype(np.float32) / 4
    run = assert_same(spiking, x, 19, [1, 2, 8, 9, 16, 19])
    assert 0 < run.sparsity < 1
    assert min(counts.max() for counts in run.spike_counts.values()) > 0


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 7)])
def test_dense_layers_over_the_last_axis_agree(shape):
    rng = np.random.RandomState(len(shape))
    nodes = [
        Node("first", ("x",), Dense(dyadic(rng, 7, 20), dyadic(rng, 20))),
        Node("a", ("first",), ReLU()),
        Node("second", ("a",), Dense(dyadic(rng, 20, 40), dyadic(rng, 40))),
        Node("b", ("second",), ReLU()),
        Node("y", ("b",), Dense(dyadic(rng, 40, 3), dyadic(rng, 3))),
    ]
    spiking = with_neurons(Network("x", shape, tuple(nodes), {}))
    run = assert_same(spiking, rng.randint(0, 4, (9, *shape)).astype(np.float32) / 4, 11)
    assert min(counts.min() for counts in run.spike_counts.values()) > 0
    assert isinstance(make_plan(spiking).stages["b"], FireOnWeights)


def test_convolutions_over_one_and_three_axes_agree():
    rng = np.random.RandomState(0)
    for n_axes in (1, 3):
        space = (5, 4, 6)[:n_axes]
        layers = [Conv(dyadic(rng, 4, c, *[3] * n_axes), dyadic(rng, 4), *windows(n_axes, 1)) for c in (2, 4)]
        nodes = [
            Node("first", ("x",), layers[0]),
            Node("a", ("first",), ReLU()),
            Node("second", ("a",), layers[1]),
            Node("b", ("second",), ReLU()),
            Node("y", ("b",), Add()),
        ]
        spiking = with_neurons(Network("x", (2, *space), tuple(nodes), {}))
        run = assert_same(spiking, rng.randint(0, 4, (4, 2, *space)).astype(np.float32) / 4, 10)
        assert min(counts.min() for counts in run.spike_counts.values()) > 0


@pytest.mark.parametrize("channels", [1, 3, 4, 5, 7])
def test_few_channels_are_read_whole_and_many_as_events(channels):
    rng, no_pads = np.random.RandomState(channels), ((0, 0), (0, 0))
    nodes = [
        Node("first", ("x",), dyadic_conv(rng, channels, channels, 3)),
        Node("a", ("first",), ReLU()),
        Node("means", ("a",), AveragePool((2, 2), (1, 1), (1, 1), no_pads, no_pads)),
        Node("second", ("means",), dyadic_conv(rng, 6, channels, 2)),
        Node("b", ("second",), ReLU()),
        Node("y", ("b",), Add()),
    ]
    spiking = with_neurons(Network("x", (channels, 7, 6), tuple(nodes), {}))
    stages = make_plan(spiking).stages
    read = {name: stages[name].inputs[0] for name in ("first" if "first" in stages else "a", "b")}
    assert [source.form == "numbers" for source in read.values()] == [channels <= 4] * 2
    assert ("first" in stages) == (channels > 4)  # else its output is never written
    run = assert_same(spiking, rng.randint(0, 4, (5, channels, 7, 6)).astype(np.float32) / 4, 11, [1, 4, 6, 11])
    assert min(counts.min() for counts in run.spike_counts.values()) > 0


def test_linear_layers_that_read_spikes_work_on_events():
    """Controls that the fast way is taken: neurons fire in the loops of what they read, of the image too."""
    rng = np.random.RandomState(0)
    nodes = [
        Node("first", ("x",), dyadic_conv(rng, 4, 1, 3)),
        Node("a", ("first",), ReLU()),
        Node("second", ("a",), dyadic_conv(rng, 4, 4, 3)),
        Node("b", ("second",), ReLU()),
        Node("flat", ("b",), Reshape((4 * 4,))),
        Node("third", ("flat",), Dense(dyadic(rng, 16, 5), np.zeros(5))),
        Node("c", ("third",), ReLU()),
        Node("y", ("c",), Dense(dyadic(rng, 5, 2), np.zeros(2))),
    ]
    spiking = with_neurons(Network("x", (1, 6, 6), tuple(nodes), {}))
    plan = make_plan(spiking)
    kinds = {name: type(action) for name, action in plan.stages.items()}
    assert kinds == dict.fromkeys("abc", FireOnWeights)
    assert set(plan.readout.dense) == {"y"}
    filtered = make_plan(dataclasses.replace(spiking, synapse=0.01))
    assert all(isinstance(filtered.stages[name], Filtered) for name in "abc")
    one = np.ones((), np.float32)
    lif = {name: Population(LIF(), one, one, one, one) for name in spiking.populations}
    kinds = {
        name: type(action) for name, action in make_plan(dataclasses.replace(spiking, populations=lif)).stages.items()
    }
    assert kinds == {**dict.fromkeys(("first", "second", "third"), Sums), **dict.fromkeys("abc", FireOnNumbers)}
    several = dict(spiking.populations)
    several["b"] = dataclasses.replace(several["b"], neuron=IF(max_spikes=2))
    assert isinstance(make_plan(dataclasses.replace(spiking, populations=several)).stages["b"], FirePlainly)


FAULTS = {
    "a threshold": lambda constants: {"thresholds": constants.thresholds * np.float32(1.25)},
    "what a spike subtracts": lambda constants: {"resets": constants.resets * np.float32(0.5)},
    "an initial potential": lambda constants: {"initial": constants.initial * np.float32(0.0)},
    "the retention": lambda constants: {"retention": np.float32(0.5)},
    "the reset": lambda constants: {"to_zero": True},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_neurons_is_seen(fault, monkeypatch):
    from snnrepro.simulators.event import builder

    real = builder.pack_population

    def faulty(*arguments):
        neurons = real(*arguments)
        return dataclasses.replace(neurons, constants=neurons.constants._replace(**FAULTS[fault](neurons.constants)))

    monkeypatch.setattr(builder, "pack_population", faulty)
    assert_seen()


@pytest.mark.parametrize("fault", ["weights", "shifts", "right", "amplitude", "fans", "readout"])
def test_a_fault_in_the_linear_layers_or_the_readout_is_seen(fault, monkeypatch):
    from snnrepro.simulators.event import builder

    def wrong(name, change):
        real = getattr(builder, name)
        monkeypatch.setattr(builder, name, lambda *arguments: change(real(*arguments)))

    def in_segments(layer):
        moved = getattr(layer.segments, fault) - (1 if fault == "right" else layer.source.channels)
        moved = np.maximum(moved, layer.segments.left if fault == "right" else 0)
        return dataclasses.replace(layer, segments=layer.segments._replace(**{fault: moved}))

    if fault in ("weights",):
        wrong("linear", lambda layer: dataclasses.replace(layer, weights=layer.weights + (layer.weights == 0.25)))
    elif fault in ("shifts", "right"):
        wrong("linear", in_segments)
    elif fault == "amplitude":
        wrong("pack_population", lambda neurons: dataclasses.replace(neurons, amplitude=neurons.amplitude * 2))
    elif fault == "fans":
        wrong("fan_outs", lambda fans: {name: np.where(fan == fan.max(), fan + 1, fan) for name, fan in fans.items()})
    else:
        real = event.readout_weights
        monkeypatch.setattr(
            event, "readout_weights", lambda *a: dataclasses.replace(real(*a), totals=real(*a).totals + 1)
        )
    assert_seen()


def assert_seen():
    """Assert that the comparison with the plain simulator fails now, and that it is the comparison that does."""
    with pytest.raises(AssertionError, match=r"Arrays are not equal|Not equal to tolerance"):
        assert_same(*small(seed=3), 12)


def test_the_networks_of_the_faults_agree_without_a_fault():
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        assert_seen()


def test_memory_of_a_block_does_not_grow_with_the_batch(monkeypatch):
    rng = np.random.RandomState(0)
    nodes = [Node("first", ("x",), dyadic_conv(rng, 8, 1, 3)), Node("a", ("first",), ReLU()), Node("y", ("a",), Add())]
    spiking = with_neurons(Network("x", (1, 30, 30), tuple(nodes), {}))
    sizes = []
    real = Batch.result
    monkeypatch.setattr(Batch, "result", lambda self: sizes.append(self.n) or real(self))
    spiking.run(rng.rand(3000, 1, 30, 30), 50, "event")
    assert sum(sizes) == 3000
    assert max(sizes) * 50 * 8 * 28 * 28 <= 2 * event._NUMBERS / 0.2


def test_progress_is_reported_for_every_image_once():
    spiking, x = small()
    done = []
    spiking.run(np.repeat(x, 20, axis=0), 3, "event", progress=done.append)
    assert len(done) > 1
    assert abs(sum(done) - 1) < 1e-9


def test_spikes_know_their_counts():
    spiking, x = small()
    block = Batch(spiking, make_plan(spiking), readout_weights(spiking, (6,)), x)
    result = block.result()
    for name, counts in result.spike_counts.items():
        spikes = block._values.known[name]
        assert isinstance(spikes, Spikes)
        bits = np.unpackbits(spikes.masks.reshape(len(x), -1).view(np.uint8), axis=1).sum(axis=1)
        np.testing.assert_array_equal(bits, counts)


def test_the_package_runs_event_by_default():
    spiking, x = small()
    assert isinstance(spiking, snnrepro.spiking.network.SpikingNetwork)
    np.testing.assert_array_equal(spiking.run(x).scores, spiking.run(x, simulator="event").scores)
