"""NengoDL runs our networks by the thesis's protocol: no image dropped, one run for every n_steps, Nengo's neurons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import snnrepro
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Dense, ReLU, Reshape, Softmax
from snnrepro.simulators.nengo.dl import NengoDLSimulator, TrainingSettings, train
from snnrepro.simulators.nengo.network import build
from snnrepro.spiking.convert import convert
from snnrepro.spiking.neurons import LIF

N_STEPS = 20


@pytest.fixture(scope="module", autouse=True)
def _needs(nengo_dl):
    """Every test here simulates with NengoDL."""


def _network(seed=0, sizes=(6, 9, 5, 4)):
    rng = np.random.RandomState(seed)
    nodes = [Node("flatten", ("image",), Reshape((sizes[0],)))]
    for index, (n_in, n_out) in enumerate(zip(sizes, sizes[1:])):
        weights, bias = rng.normal(0, 1.5 / np.sqrt(n_in), (n_in, n_out)), rng.uniform(0, 0.5, n_out)
        nodes.append(Node(f"dense{index}", (nodes[-1].name,), Dense(weights, bias)))
        if index < len(sizes) - 2:
            nodes.append(Node(f"relu{index}", (nodes[-1].name,), ReLU()))
    nodes.append(Node("softmax", (nodes[-1].name,), Softmax((0,))))
    return Network("image", (3, 2, 1), tuple(nodes), {})


@pytest.fixture(scope="module")
def spiking():
    return replace(convert(_network(), "thesis", seed=3), synapse=0.001)


@pytest.fixture(scope="module")
def x():
    return np.random.RandomState(1).rand(7, 3, 2, 1).astype(np.float32)


@pytest.fixture(scope="module")
def scores(spiking, x):
    """Every step of every image, one image a minibatch."""
    with NengoDLSimulator(spiking, minibatch_size=1) as simulator:
        every_step = simulator.run(x, N_STEPS, keep_steps=range(1, N_STEPS + 1))
    assert np.ptp(every_step[:, -1], axis=0).min() > 0, "the images do not differ at the output"
    return every_step


@pytest.mark.parametrize("minibatch_size", [3, 7, 10])
def test_no_image_is_dropped_or_changed_by_the_minibatch(spiking, x, scores, minibatch_size):
    done = []
    with NengoDLSimulator(spiking, minibatch_size=minibatch_size) as simulator:
        got = simulator.run(x, N_STEPS, progress=done.append)
    assert got.shape == (7, 1, 4)
    np.testing.assert_allclose(got[:, 0], scores[:, -1], atol=1e-6)
    assert sum(done) == pytest.approx(1)


def test_one_run_answers_for_every_smaller_n_steps(spiking, x, scores):
    with NengoDLSimulator(spiking, minibatch_size=7) as simulator:
        for n_steps in (1, 5, 13):
            np.testing.assert_allclose(simulator.run(x, n_steps)[:, 0], scores[:, n_steps - 1], atol=1e-6)


def test_a_second_run_starts_from_the_same_state(spiking, x, scores):
    with NengoDLSimulator(spiking, minibatch_size=7) as simulator:
        simulator.run(x[::-1], N_STEPS)
        np.testing.assert_allclose(simulator.run(x, N_STEPS)[:, 0], scores[:, -1], atol=1e-6)


def test_at_step_1_every_score_is_0_and_the_answer_is_class_0(scores):
    assert not scores[:, 0].any()
    assert scores[:, -1].any()
    assert set(scores[:, 0].argmax(axis=1)) == {0}


def test_another_seed_starts_from_other_membrane_potentials(spiking, x, scores):
    other = replace(convert(_network(), "thesis", seed=4), synapse=0.001)
    with NengoDLSimulator(other, minibatch_size=7) as simulator:
        assert np.abs(simulator.run(x, N_STEPS)[:, 0] - scores[:, -1]).max() > 1e-4


def test_nengo_core_gives_the_same_scores(spiking, x, scores):
    """The same Nengo objects on the other simulator, one image at a time, with the image in the input node."""
    import nengo

    written = build(spiking)
    for image in (0, 6):
        written.input.output = x[image].reshape(-1)
        with nengo.Simulator(written.network, progress_bar=False, optimize=False) as core:
            core.run_steps(N_STEPS)
        np.testing.assert_allclose(core.data[written.filtered_scores], scores[image], atol=1e-5)


def test_the_gain_and_bias_are_nengos_own():
    import nengo

    for neuron in (LIF(), LIF(max_rate=250.0, intercept=-0.3), LIF(tau_rc=0.05, tau_ref=0.001, intercept=0.4)):
        model = nengo.LIF(tau_rc=neuron.tau_rc, tau_ref=neuron.tau_ref)
        gain, bias = model.gain_bias(np.array([neuron.max_rate]), np.array([neuron.intercept]))
        assert neuron.gain == pytest.approx(float(gain[0]), rel=1e-9)
        assert neuron.bias == pytest.approx(float(bias[0]), rel=1e-9)


def test_a_trained_network_learns_and_keeps_its_shape():
    rng = np.random.RandomState(0)
    y = rng.randint(0, 4, 600)
    x = np.zeros((600, 3, 2, 1), np.float32)
    x[np.arange(600), y % 3, y // 3] = 1  # the label is where the one bright pixel stands
    before = convert(_network(seed=5, sizes=(6, 40, 4)), "thesis")
    settings = TrainingSettings(learning_rate=0.01, batch_size=64, epochs=25)
    epochs = []
    after = train(before, x, y, settings, seed=0, progress=epochs.append)
    assert sum(epochs) == pytest.approx(1)
    assert [(n.name, n.inputs) for n in after.network.nodes] == [(n.name, n.inputs) for n in before.network.nodes]
    accuracy = []
    for spiking in (before, after):
        with NengoDLSimulator(spiking, minibatch_size=100) as simulator:
            accuracy.append(np.mean(simulator.run(x[:100], 60)[:, 0].argmax(axis=1) == y[:100]))
    assert accuracy[1] > max(accuracy[0], 0.9)


def test_training_is_repeatable():
    rng = np.random.RandomState(0)
    x, y = rng.rand(130, 3, 2, 1).astype(np.float32), rng.randint(0, 4, 130)
    settings = TrainingSettings(batch_size=64, epochs=2)
    before = convert(_network(sizes=(6, 9, 4)), "thesis")
    first, second, other = (train(before, x, y, settings, seed=seed) for seed in (7, 7, 8))

    def weights(spiking):
        return np.concatenate([n.layer.weights.ravel() for n in spiking.network.nodes if isinstance(n.layer, Dense)])

    np.testing.assert_allclose(weights(first), weights(second), atol=1e-6)
    assert np.abs(weights(first) - weights(other)).max() > 1e-5


def test_steps_and_shapes_that_cannot_be_are_refused(spiking, x):
    with NengoDLSimulator(spiking, minibatch_size=7) as simulator:
        with pytest.raises(snnrepro.DataError, match=r"1 to n_steps=5, .*got \[6\]"):
            simulator.run(x, 5, keep_steps=[6])
        with pytest.raises(snnrepro.DataError, match=r"\(n_images, 3, 2, 1\)"):
            simulator.run(x[..., 0], 5)


def test_what_was_trained_answers_as_it_did_in_training(monkeypatch):
    """The rates of the network that is read back are those of the network that NengoDL trained, biases included."""
    from snnrepro.simulators.nengo import dl as nengo_dl

    rng = np.random.RandomState(0)
    x, y = rng.rand(64, 3, 2, 1).astype(np.float32), rng.randint(0, 4, 64)
    before = convert(_network(), "thesis")
    losses = []

    def callback(tf, epochs, progress):
        return tf.keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: losses.append(logs["loss"]))

    monkeypatch.setattr(nengo_dl, "epoch_callback", callback)
    settings = TrainingSettings(learning_rate=0.05, batch_size=64, epochs=1)
    after = train(before, x, y, settings, seed=0)
    train(before, x, y, replace(settings, epochs=2), seed=0)  # its second loss is that after the first step
    assert losses[0] == pytest.approx(_rate_loss(before, x, y), rel=1e-4)
    assert losses[2] < losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert _rate_loss(after, x, y) == pytest.approx(losses[2], rel=1e-4)
    assert abs(_rate_loss(replace(after, populations=before.populations), x, y) - losses[2]) > 1e-3


def _rate_loss(spiking, x, y):
    """Return the cross-entropy of the neurons' rates, by the formula of the LIF neuron."""
    value, values = None, {"image": x}
    for node in spiking.network.nodes[:-1]:
        value = values[node.inputs[0]]
        if isinstance(node.layer, ReLU):
            neuron, population = spiking.populations[node.name].neuron, spiking.populations[node.name]
            current = neuron.gain * value + population.bias
            value = neuron.amplitude * np.vectorize(neuron.rate)(current)
        else:
            value = node.layer(value)
        values[node.name] = value
    return -np.mean(value[np.arange(len(y)), y] - np.log(np.exp(value).sum(axis=1)))
