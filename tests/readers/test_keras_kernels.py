"""Kernels of Keras models go around tf2onnx, which copies what it is given; what cannot go around it goes through."""

from __future__ import annotations

import numpy as np
import pytest

import snnrepro
from snnrepro.network.layers import Conv, Dense
from snnrepro.readers import keras as keras_reader


def _model(keras, *more):
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 5, 2)),
            layers.Conv2D(3, (3, 2), activation="relu"),
            layers.DepthwiseConv2D((2, 3), activation="relu"),
            layers.Flatten(),
            *more,
            layers.Dense(4, activation="softmax"),
        ]
    )
    rng = np.random.RandomState(0)
    model.set_weights([rng.normal(size=weight.shape).astype(np.float32) for weight in model.get_weights()])
    return model


X = np.random.RandomState(1).uniform(-1, 1, (7, 6, 5, 2)).astype(np.float32)


def _error(model, x=X):
    wanted = np.asarray(model(x))
    assert np.ptp(wanted, axis=0).max() > 0.01
    return np.abs(snnrepro.load(model).forward(x) - wanted).max()


@pytest.fixture
def given(monkeypatch):
    """What is given to tf2onnx: the graphs without kernels, and how often the whole function."""
    from tf2onnx import convert

    graphs, whole = [], []
    light, heavy = convert.from_graph_def, convert.from_function

    def from_graph_def(graph, **options):
        graphs.append(graph)
        return light(graph, **options)

    def from_function(*args, **options):
        whole.append(args)
        return heavy(*args, **options)

    monkeypatch.setattr(convert, "from_graph_def", from_graph_def)
    monkeypatch.setattr(convert, "from_function", from_function)
    return graphs, whole


def _constants(graph):
    return [node for node in graph.node if node.op == "Const" and len(node.attr["value"].tensor.tensor_shape.dim) > 1]


def test_tf2onnx_is_given_no_kernel(keras, given):
    model = _model(keras)
    network = snnrepro.load(model)
    (graph,), whole = given
    assert whole == []
    assert len(graph.node) > 5
    assert max((node.ByteSize() for node in _constants(graph)), default=0) < 200  # axes and the like
    kernels = [weight for weight in model.get_weights() if weight.ndim > 1]
    arrived = [node.layer.weights for node in network.nodes if isinstance(node.layer, (Conv, Dense))]
    assert sorted(weight.size for weight in kernels) == sorted(weights.size for weights in arrived)


def test_onnx_of_a_keras_model_holds_its_kernels_as_its_operators_read_them(keras):
    """No node is left that reorders a kernel, and nothing is an input but the image."""
    import onnxruntime

    model = _model(keras)
    proto = keras_reader.to_onnx(model)
    held = {tensor.name for tensor in proto.graph.initializer}
    assert [value.name for value in proto.graph.input if value.name not in held] == [model.inputs[0].name.split(":")[0]]
    reordered = [
        node for node in proto.graph.node if node.op_type in ("Transpose", "Reshape") and node.input[0] in held
    ]
    assert reordered == []
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (answers,) = session.run(None, {session.get_inputs()[0].name: X})
    np.testing.assert_allclose(answers, np.asarray(model(X)), atol=1e-5)


def test_a_network_keeps_its_weights_when_the_model_is_trained_on(keras):
    model = _model(keras)
    network = snnrepro.load(model)
    before = network.forward(X)
    for weight in model.weights:
        weight.assign(2 * weight + 1)
    np.testing.assert_array_equal(network.forward(X), before)
    assert np.abs(snnrepro.load(model).forward(X) - before).max() > 0.01


def test_one_kernel_that_two_layers_share_arrives_twice(keras, given):
    image = keras.Input((4,))
    twice = keras.layers.Dense(4, activation="relu")
    model = keras.Model(image, keras.layers.Dense(3)(twice(twice(image))))
    assert _error(model, np.random.RandomState(1).uniform(-1, 1, (7, 4)).astype(np.float32)) < 1e-5
    assert given[1] == []
    dense = [node.layer for node in snnrepro.load(model).nodes if isinstance(node.layer, Dense)]
    np.testing.assert_array_equal(dense[0].weights, dense[1].weights)


def test_a_weight_that_is_read_in_parts_goes_through_tf2onnx(keras, given):
    """An embedding reads rows: its weight is no kernel that stands beside the graph."""
    import tensorflow as tf

    table = tf.Variable(np.random.RandomState(2).normal(size=(9, 3)).astype(np.float32))
    rows = [7, 1, 1, 4]

    class Rows(keras.layers.Layer):
        def call(self, x):
            return x * tf.reshape(tf.gather(table, rows), (12,))  # a gather from the variable itself

    model = keras.Sequential([keras.Input((12,)), keras.layers.Dense(12, activation="relu"), Rows()])
    x = np.random.RandomState(1).uniform(-1, 1, (7, 12)).astype(np.float32)
    assert _error(model, x) < 1e-5
    assert len(given[1]) == 1, "the weight is read as a whole"


def test_where_tf2onnx_asks_for_the_numbers_of_a_kernel_it_gets_them(keras, given, monkeypatch):
    def asks(*args, **options):
        raise ValueError("this is no constant")

    from tf2onnx import convert

    monkeypatch.setattr(convert, "from_graph_def", asks)
    assert _error(_model(keras)) < 1e-5
    assert len(given[1]) == 1


def test_a_model_of_mixed_precision_is_read_with_kernels_as_it_rounds_them(keras, given):
    """Its weights are float32, and what it computes with are their float16: those arrive."""
    set_policy = keras.mixed_precision.set_global_policy
    set_policy("mixed_float16")
    try:
        layers = [keras.layers.Dense(5, activation="relu"), keras.layers.Dense(3, dtype="float32")]
        model = keras.Sequential([keras.Input((4,)), *layers])
    finally:
        set_policy("float32")
    kernel = model.get_weights()[0]
    rounded = kernel.astype(np.float16).astype(np.float32)
    assert np.any(rounded != kernel)
    dense = [node.layer for node in snnrepro.load(model).nodes if isinstance(node.layer, Dense)]
    np.testing.assert_array_equal(dense[0].weights, rounded)
    np.testing.assert_array_equal(dense[1].weights, model.get_weights()[2])
    assert given[1] == []


def test_swapped_kernels_are_noticed(keras, monkeypatch):
    """The planted fault: two kernels of one shape change places beside the graph."""
    model = _model(keras, keras.layers.Dense(4), keras.layers.Dense(4))
    assert _error(model) < 1e-5
    original = keras_reader.folded

    def swapped(proto, arrays):
        square = [name for name, array in arrays.items() if array.shape == (4, 4)]
        assert len(square) == 2
        first, second = square
        arrays[first], arrays[second] = arrays[second], arrays[first]
        return original(proto, arrays)

    monkeypatch.setattr(keras_reader, "folded", swapped)
    assert _error(model) > 0.01
