"""Keras -> ONNX -> graph walk -> npz -> NengoDL: every weight arrives bit for bit, in its place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import snnrepro
from snnrepro.readers import operators
from snnrepro.simulators.nengo_dl import NengoDLSimulator
from snnrepro.spiking.spiking_network import SpikingNetwork

# A square layer in the middle: swapped axes fit there, and only the numbers can tell.
WIDTHS = (5, 5, 3)


@pytest.fixture(scope="module", autouse=True)
def _needs(nengo_dl):
    """Every test here runs the whole road."""


def _keras(tf, widths, seed, zero_bias=False):
    rng = np.random.RandomState(seed)
    x = image = tf.keras.Input((3, 2, 1), name="image")
    x = tf.keras.layers.Flatten()(x)
    for index, n_out in enumerate(widths):
        last = index == len(widths) - 1
        x = tf.keras.layers.Dense(n_out, activation="softmax" if last else "relu")(x)
    model = tf.keras.Model(image, x)
    weights = [rng.normal(size=weight.shape).astype(np.float32) for weight in model.get_weights()]
    model.set_weights([np.zeros_like(w) if zero_bias and w.ndim == 1 else w for w in weights])
    return model


def _road(model, folder):
    """Return the weights as NengoDL holds them after the whole road, through both files."""
    import onnx

    from snnrepro.readers.keras import to_onnx

    onnx.save(to_onnx(model), str(folder / "model.onnx"))
    snnrepro.load(folder / "model.onnx").save(folder / "model.npz")
    with NengoDLSimulator(SpikingNetwork(snnrepro.load(folder / "model.npz")), seed=0, minibatch_size=1) as simulator:
        return simulator.weights()


def _differing(model, arrived):
    """Return the places where a weight did not arrive bit for bit."""
    wanted = model.get_weights()
    assert len(wanted) == len(arrived) > 0
    return [
        place
        for place, (one, other) in enumerate(zip(wanted, arrived))
        if one.shape != other.shape or one.tobytes() != np.ascontiguousarray(other).tobytes()
    ]


@settings(max_examples=4)
@given(
    widths=st.lists(st.integers(2, 7), min_size=2, max_size=4),
    seed=st.integers(0, 1000),
    zero_bias=st.booleans(),
)
def test_the_weights_in_nengo_dl_are_bit_identical_to_kerass(tf, tmp_path_factory, widths, seed, zero_bias):
    model = _keras(tf, widths, seed, zero_bias)
    assert any(weight.any() for weight in model.get_weights())
    assert _differing(model, _road(model, tmp_path_factory.mktemp("road"))) == []


@pytest.mark.parametrize("op_type", ["MatMul", "Gemm"])
def test_two_swapped_axes_are_noticed(tf, tmp_path, monkeypatch, op_type):
    model = _keras(tf, WIDTHS, seed=1)
    assert _differing(model, _road(model, tmp_path)) == []
    original = operators.HANDLERS[op_type]

    def swapped(call, a, b, *rest, **attributes):
        return original(call, a, b.T if b.shape[0] == b.shape[1] else b, *rest, **attributes)

    for name in ("MatMul", "Gemm"):  # which of the two tf2onnx writes depends on its version
        monkeypatch.setitem(operators.HANDLERS, name, swapped if name == op_type else operators.HANDLERS[name])
    used = {node.op_type for node in _nodes(model)}
    assert (_differing(model, _road(model, tmp_path)) == [2]) == (op_type in used)
    assert used & {"MatMul", "Gemm"}


def _nodes(model):
    from snnrepro.readers.keras import to_onnx

    return to_onnx(model).graph.node


def test_a_dropped_bias_is_noticed(tf, tmp_path, monkeypatch):
    model = _keras(tf, WIDTHS, seed=2)
    original = operators.HANDLERS["Add"]
    monkeypatch.setitem(operators.HANDLERS, "Add", lambda call, a, b: original(call, a, np.zeros_like(b)))
    assert _differing(model, _road(model, tmp_path)) == [1, 3, 5]


def test_every_hop_answers_as_keras_does(tf, tmp_path):
    import onnxruntime

    from snnrepro.readers.keras import to_onnx

    model = _keras(tf, (7, 7, 4), seed=4)
    x = np.random.RandomState(0).uniform(-2, 2, (40, 3, 2, 1)).astype(np.float32)
    wanted = model.predict(x, verbose=0)
    assert np.ptp(wanted.argmax(axis=1)) > 0, "every image has the same answer"
    proto = to_onnx(model)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    by_onnxruntime = session.run(None, {session.get_inputs()[0].name: x})[0]
    np.testing.assert_allclose(by_onnxruntime, wanted, atol=1e-6)
    np.testing.assert_allclose(snnrepro.load(model).forward(x), wanted, atol=1e-6)
    np.testing.assert_allclose(snnrepro.load(proto).forward(x), wanted, atol=1e-6)
