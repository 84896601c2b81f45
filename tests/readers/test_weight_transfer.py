"""Keras -> ONNX -> graph walk -> npz -> NengoDL: every weight arrives bit for bit, in its place."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import snnrepro
from snnrepro.readers import operators
from snnrepro.simulators.nengo.dl import NengoDLSimulator
from snnrepro.spiking.convert import convert

# A square layer in the middle: swapped axes fit there, and only the numbers can tell.
WIDTHS = (5, 5, 3)

# Every example exports a model and builds a simulator.
NO_SHRINKING = (Phase.explicit, Phase.generate)


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


@functools.lru_cache(maxsize=1)
def _exported(model):
    """Return a model as ONNX; the road is often gone twice, once with a fault on its way."""
    from snnrepro.readers.keras import to_onnx

    return to_onnx(model)


def _road(model, folder):
    """Return the weights as NengoDL holds them after the whole road, through both files."""
    import onnx

    onnx.save(_exported(model), str(folder / "model.onnx"))
    snnrepro.load(folder / "model.onnx").save(folder / "model.npz")
    with NengoDLSimulator(convert(snnrepro.load(folder / "model.npz"), "thesis"), minibatch_size=1) as simulator:
        return simulator.weights()


def _differing(model, arrived):
    """Return the places where a weight did not arrive bit for bit, the axes of kernels being ONNX's."""
    wanted = [
        weight.transpose(3, 2, 0, 1) if weight.ndim == 4 else weight
        for layer in model.layers
        for weight in layer.get_weights()
    ]
    assert len(wanted) == len(arrived) > 0
    return [
        place
        for place, (one, other) in enumerate(zip(wanted, arrived))
        if one.shape != other.shape or np.ascontiguousarray(one).tobytes() != np.ascontiguousarray(other).tobytes()
    ]


@settings(max_examples=4, phases=NO_SHRINKING)
@given(
    widths=st.lists(st.integers(2, 7), min_size=2, max_size=4),
    seed=st.integers(0, 1000),
    zero_bias=st.booleans(),
)
def test_the_weights_in_nengo_dl_are_bit_identical_to_kerass(tf, tmp_path_factory, widths, seed, zero_bias):
    model = _keras(tf, widths, seed, zero_bias)
    assert any(weight.any() for weight in model.get_weights())
    assert _differing(model, _road(model, tmp_path_factory.mktemp("road"))) == []


def _keras_images(tf, seed, kernel, stride, transpose):
    """Return a convolutional model with random weights; with `transpose`, an autoencoder's half of one."""
    rng = np.random.RandomState(seed)
    layers = tf.keras.layers
    x = image = tf.keras.Input((6, 5, 2), name="image")
    x = layers.Conv2D(3, kernel, strides=stride, padding="same", activation="relu")(x)
    x = layers.Conv2D(3, (3, 3), padding="valid", activation="relu")(x) if stride == 1 else x
    if transpose:
        # Square, so that swapped axes fit.
        x = layers.Conv2DTranspose(3, kernel, strides=2, padding="same", activation="relu")(x)
        x = layers.Conv2DTranspose(3, (3, 3), padding="same")(x)
    else:
        x = layers.Dense(4, activation="softmax")(layers.Flatten()(x))
    model = tf.keras.Model(image, x)
    model.set_weights([rng.normal(size=weight.shape).astype(np.float32) for weight in model.get_weights()])
    return model


@settings(max_examples=5, phases=NO_SHRINKING)
@given(
    seed=st.integers(0, 1000),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 2),
    transpose=st.booleans(),
)
def test_kernels_in_nengo_dl_are_bit_identical_to_kerass(tf, tmp_path_factory, seed, kernel, stride, transpose):
    model = _keras_images(tf, seed, kernel, stride, transpose)
    assert any(weight.any() for weight in model.get_weights())
    assert _differing(model, _road(model, tmp_path_factory.mktemp("road"))) == []


@pytest.mark.parametrize("transpose", [False, True])
def test_swapped_channels_of_kernels_are_noticed(tf, tmp_path, monkeypatch, transpose):
    model = _keras_images(tf, 3, (3, 3), 1, transpose)
    assert _differing(model, _road(model, tmp_path)) == []
    op_type = "ConvTranspose" if transpose else "Conv"
    original = operators.HANDLERS[op_type]

    @functools.wraps(original)
    def swapped(call, x, weights, *rest, **attributes):
        square = weights.shape[0] == weights.shape[1]
        return original(call, x, weights.transpose(1, 0, 2, 3) if square else weights, *rest, **attributes)

    monkeypatch.setitem(operators.HANDLERS, op_type, swapped)
    assert _differing(model, _road(model, tmp_path)) == ([4, 6] if transpose else [2])


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
    return _exported(model).graph.node


def test_a_dropped_bias_is_noticed(tf, tmp_path, monkeypatch):
    model = _keras(tf, WIDTHS, seed=2)
    original = operators.HANDLERS["Add"]
    monkeypatch.setitem(operators.HANDLERS, "Add", lambda call, a, b: original(call, a, np.zeros_like(b)))
    assert _differing(model, _road(model, tmp_path)) == [1, 3, 5]


def test_every_hop_answers_as_keras_does(tf, tmp_path):
    import onnxruntime

    model = _keras(tf, (7, 7, 4), seed=4)
    x = np.random.RandomState(0).uniform(-2, 2, (40, 3, 2, 1)).astype(np.float32)
    wanted = model.predict(x, verbose=0)
    assert np.ptp(wanted.argmax(axis=1)) > 0, "every image has the same answer"
    proto = _exported(model)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    by_onnxruntime = session.run(None, {session.get_inputs()[0].name: x})[0]
    np.testing.assert_allclose(by_onnxruntime, wanted, atol=1e-6)
    np.testing.assert_allclose(snnrepro.load(model).forward(x), wanted, atol=1e-6)
    np.testing.assert_allclose(snnrepro.load(proto).forward(x), wanted, atol=1e-6)
