"""`snnrepro.verify` compares every hop, layer by layer, and names the first layer that differs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import snnrepro
from snnrepro import verification as verify_module
from snnrepro.network import archive
from snnrepro.network.layers import Dense
from snnrepro.readers import runtime
from snnrepro.verification import compare, verify
from tests.helpers.strategies import as_onnx, dense_networks, images_for


def _model(widths=(4, 5, 3)):
    from snnrepro.network.graph import Network, Node
    from snnrepro.network.layers import ReLU

    rng = np.random.RandomState(0)
    nodes, source, n_in = [], "input", 6
    for index, n_out in enumerate(widths):
        nodes.append(Node(f"dense/{index}", (source,), Dense(rng.normal(size=(n_in, n_out)), rng.normal(size=n_out))))
        nodes.append(Node(f"relu/{index}", (f"dense/{index}",), ReLU()))
        source, n_in = f"relu/{index}", n_out
    return as_onnx(Network("input", (6,), tuple(nodes), {}))


X = np.random.RandomState(1).rand(8, 6).astype(np.float32)


@settings(max_examples=25)
@given(st.data())
def test_a_network_that_was_read_right_agrees_at_every_layer(data):
    network = data.draw(dense_networks())
    x = data.draw(images_for(network))
    found = verify(as_onnx(network), None, x)
    assert found.passed, found.first_difference
    hops = [one.hop for one in found.comparisons]
    assert hops.count("onnxruntime = forward") == hops.count("forward = npz round trip") > 0


def test_every_layer_is_compared_with_onnxruntimes():
    found = verify(_model(), None, X)
    compared = [one.layer for one in found.comparisons if one.hop == "onnxruntime = forward"]
    assert compared == ["dense/0", "relu/0", "dense/1", "relu/1", "dense/2", "relu/2"]
    assert all(one.relative_error < 1e-6 and one.pearson > 0.999999 for one in found.comparisons)


def test_the_first_layer_that_differs_is_named(monkeypatch):
    original = Dense.__call__

    def faulty(layer, x):
        value = original(layer, x)
        return value * 1.001 if layer.weights.shape == (4, 5) else value

    assert verify(_model(), None, X).passed
    monkeypatch.setattr(Dense, "__call__", faulty)
    found = verify(_model(), None, X)
    assert not found.passed
    assert (found.first_difference.hop, found.first_difference.layer) == ("onnxruntime = forward", "dense/1")
    assert found.first_difference.relative_error == pytest.approx(0.001, rel=0.01)


def test_an_archive_that_loses_a_bit_is_noticed(monkeypatch):
    original = archive.read_array

    def rounded(file, name):
        array = original(file, name)
        return array if name == "header" else array.astype(np.float16).astype(np.float32)

    monkeypatch.setattr(archive, "read_array", rounded)
    monkeypatch.setattr(archive, "_digest", lambda array: "the same")
    found = verify(_model(), None, X)
    assert found.first_difference.hop == "forward = npz round trip"
    assert found.first_difference.layer == "dense/0"


def test_a_keras_model_is_compared_with_onnxruntime_first(tf):
    image = tf.keras.Input((3, 2))
    model = tf.keras.Model(image, tf.keras.layers.Dense(4, activation="relu")(tf.keras.layers.Flatten()(image)))
    x = np.random.RandomState(0).rand(5, 3, 2).astype(np.float32)
    found = verify(model, None, x)
    assert found.comparisons[0].hop == "Keras = onnxruntime"
    assert found.passed


@pytest.mark.parametrize("planted", [False, True])
def test_weights_that_lie_beside_the_model_are_those_of_the_model(planted, monkeypatch):
    """Large ones do; here all of them. The planted fault: another byte in the file."""
    sizes, original = [], runtime.session

    def opened(path, **options):
        weights = Path(path).with_name("weights")
        sizes.append(weights.stat().st_size)
        if planted:
            weights.write_bytes(b"\x00\x00\x80\x3f" + weights.read_bytes()[4:])
        return original(path, **options)

    monkeypatch.setattr(runtime, "_LARGE", 1)
    monkeypatch.setattr(runtime, "session", opened)
    found = verify(_model(), None, X)
    assert sizes[0] > 5 * runtime._PAGE  # each of six tensors begins a page
    assert found.passed is not planted
    assert not planted or found.first_difference.layer == "dense/0"


def test_a_network_alone_makes_the_round_trip():
    found = verify(snnrepro.load(_model()), None, X)
    assert {one.hop for one in found.comparisons} == {"forward = npz round trip"}
    assert found.passed


def test_errors_and_correlation_are_those_of_the_formula():
    rng = np.random.RandomState(0)
    first = rng.normal(size=(5, 7)).astype(np.float32)
    second = first + rng.normal(0, 0.1, size=(5, 7)).astype(np.float32)
    found = compare("a = b", "layer", first, second, 1e-5)
    assert found.max_error == pytest.approx(np.abs(first - second).max())
    assert found.relative_error == pytest.approx(np.abs(first - second).max() / np.abs(first).max())
    assert found.pearson == pytest.approx(np.corrcoef(first.ravel(), second.ravel())[0, 1])
    assert not found.agrees
    assert compare("a = b", "layer", first, first, 0.0).agrees


def test_constant_layers_have_a_correlation_that_says_so():
    zeros, ones = np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)
    assert compare("a = b", "layer", zeros, zeros, 0.0).pearson == 1.0
    assert np.isnan(compare("a = b", "layer", zeros, ones, 0.0).pearson)
    assert compare("a = b", "layer", zeros, ones, 0.0).relative_error == float("inf")


def test_shapes_that_differ_are_said():
    with pytest.raises(snnrepro.ModelError, match=r"'layer'.*\(2, 3\).*\(3, 2\)"):
        compare("a = b", "layer", np.zeros((2, 3)), np.zeros((3, 2)), 0.0)
    assert 0 < verify_module.TOLERANCE < 1e-4
