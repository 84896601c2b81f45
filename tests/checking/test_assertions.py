"""What a test asserts of networks and runs holds where it should; a planted fault is named, with a cure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import snnrepro as snn
from snnrepro.errors import DataError, DataWarning, ModelError
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Dense
from tests.helpers import model_files
from tests.helpers.event_cases import small

TRAINED = model_files.network()
X, Y = model_files.images(TRAINED, 600)


@pytest.fixture(scope="module")
def spiking():
    return snn.convert(TRAINED, calibration=X[:300], n_steps=20)


def _with(network, name, **fields):
    """Return a network in which a layer's fields are others."""
    nodes = [
        Node(node.name, node.inputs, replace(node.layer, **fields) if node.name == name else node.layer)
        for node in network.nodes
    ]
    return Network(network.input_name, network.input_shape, tuple(nodes), {})


def test_a_loss_within_the_budget_is_returned_with_its_interval(spiking):
    evaluation = snn.assert_loss_within(spiking, X[300:], Y[300:], 5.0)
    assert evaluation.loss.low <= evaluation.loss.points <= evaluation.loss.high
    assert evaluation.trained.percent > 80
    run = spiking.run(X[300:])
    assert snn.assert_loss_within(spiking, X[300:], Y[300:], 5.0, run) == evaluation


def test_a_loss_beyond_it_fails_with_the_layer_and_a_cure(spiking):
    population = spiking.populations["b"]
    unlike = np.where(np.arange(11) % 2, 3.0, 0.1)
    broken = replace(
        spiking,
        populations={**spiking.populations, "b": replace(population, amplitude=unlike * population.amplitude)},
        correction=None,
    )
    with pytest.raises(AssertionError) as failure:
        snn.assert_loss_within(broken, X[300:], Y[300:], 5.0)
    told = str(failure.value)
    assert "the budget is 5 points of accuracy (recipe balanced, 20 steps)" in told
    assert "the layer that adds most: 'b'" in told, told
    assert "To try: more steps" in told


def test_images_that_cannot_tell_bring_a_warning(spiking):
    with pytest.warns(DataWarning, match=r"300 images cannot resolve 1 points") as caught:
        snn.assert_loss_within(spiking, X[300:], None, 1.0)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("points", [-1, float("nan")])
def test_a_budget_that_is_none_is_refused(spiking, points):
    with pytest.raises(DataError, match="at least 0, got"):
        snn.assert_loss_within(spiking, X[300:], None, points)


def test_two_simulators_have_the_same_spikes():
    exact, x = small()
    snn.assert_same_spikes(exact.run(x, 9, "event"), exact.run(x, 9, "plain"))


@given(name=st.sampled_from(["a", "b"]), image=st.integers(0, 5))
def test_one_spike_more_fails_and_is_named(name, image):
    exact, x = small()
    run = exact.run(x, 9)
    counts = run.spike_counts[name].copy()
    counts[image] += 1
    other = replace(run, spike_counts={**run.spike_counts, name: counts})
    with pytest.raises(AssertionError, match=rf"on image {image} population '{name}' fires {counts[image] - 1:,} .*"):
        snn.assert_same_spikes(run, other)
    snn.assert_same_spikes(run, other, rounding=0.5)


def test_other_operations_fail_too():
    exact, x = small()
    run = exact.run(x, 9)
    with pytest.raises(AssertionError, match="its synaptic operations are"):
        snn.assert_same_spikes(run, replace(run, synaptic_operations=run.synaptic_operations + 1))
    with pytest.raises(ModelError, match=r"6 images, 9 steps and .* 6 images, 8 steps"):
        snn.assert_same_spikes(run, exact.run(x, 8))


def test_weights_are_identical_through_both_archives(spiking, tmp_path):
    TRAINED.save(tmp_path / "network.npz")
    spiking.save(tmp_path / "spiking.npz")
    snn.assert_weights_identical(TRAINED, tmp_path / "network.npz")
    snn.assert_weights_identical(str(tmp_path / "spiking.npz"), spiking)
    with pytest.raises(AssertionError, match="one is a Network, the other a SpikingNetwork"):
        snn.assert_weights_identical(tmp_path / "network.npz", tmp_path / "spiking.npz")
    with pytest.raises(ModelError, match="a path is needed, got int"):
        snn.assert_weights_identical(TRAINED, 3)


@given(data=st.data())
def test_one_bit_of_one_weight_is_noticed_and_named(data):
    name = data.draw(st.sampled_from(["first", "second", "y"]))
    layer = next(node.layer for node in TRAINED.nodes if node.name == name)
    weights = layer.weights.copy()
    place = tuple(data.draw(st.integers(0, size - 1)) for size in weights.shape)
    bits = weights.view(np.uint32)
    bits[place] ^= np.uint32(1 << data.draw(st.integers(0, 22)))
    planted = _with(TRAINED, name, weights=weights)
    with pytest.raises(AssertionError) as failure:
        snn.assert_weights_identical(TRAINED, planted)
    assert f"layer '{name}' (Dense), weights: at {list(place)} it is" in str(failure.value)
    assert "1 of " in str(failure.value)


def test_minus_zero_is_not_zero():
    zero, minus = (_with(TRAINED, "y", bias=np.float32([sign, 1, 2])) for sign in (0.0, -0.0))
    with pytest.raises(AssertionError, match=r"layer 'y' \(Dense\), bias: at \[0\] it is 0.0 on one side and -0.0"):
        snn.assert_weights_identical(zero, minus)


def test_other_layers_and_neurons_are_noticed(spiking):
    more = Network("x", (6,), (*TRAINED.nodes, Node("z", ("y",), Dense(np.ones((3, 2)), np.zeros(2)))), {})
    with pytest.raises(AssertionError, match="one network has 5 layers, the other 6"):
        snn.assert_weights_identical(TRAINED, more)
    renamed = Network(
        "x", (6,), tuple(replace(node, name="w") if node.name == "y" else node for node in TRAINED.nodes), {}
    )
    with pytest.raises(AssertionError, match=r"'y' \(Dense of 'b'\) on one side, 'w' \(Dense of 'b'\)"):
        snn.assert_weights_identical(TRAINED, renamed)
    population = replace(spiking.populations["a"], bias=spiking.populations["a"].bias + np.float32(1))
    with pytest.raises(AssertionError, match="population 'a', bias: at"):
        snn.assert_weights_identical(spiking, replace(spiking, populations={**spiking.populations, "a": population}))
    with pytest.raises(AssertionError, match="correction of the readout"):
        snn.assert_weights_identical(spiking, replace(spiking, correction=None))


def test_a_verification_that_failed_names_the_first_layer(spiking):
    snn.assert_verified(snn.verify(TRAINED, spiking, X[:50]))
    other = snn.verify(_with(TRAINED, "second", bias=np.ones(11)), spiking, X[:50])
    with pytest.raises(
        AssertionError, match=r"layer 'second' differs at the hop 'forward = converted': by .*\d+ of the"
    ):
        snn.assert_verified(other)
    snn.assert_verified(other, ["forward = npz round trip"])
