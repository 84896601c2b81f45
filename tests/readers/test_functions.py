"""A function of one number is read as that, however it is spelt, and gives the numbers of onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from scipy import special

import snnrepro
from snnrepro.network.layers import Conv, Divide, Function, MaxPool, Multiply
from tests.helpers.strategies import model_proto
from tests.readers.test_onnx_reader import _like_onnxruntime, _named, _node

CONSTANTS = _named(
    half=np.float32(0.5),
    one=np.float32(1),
    root=np.float32(np.sqrt(2)),
    three=np.float32(3),
    six=np.float32(6),
    zero=np.float32(0),
    small=np.float32(0.044715),
    narrow=np.float32(np.sqrt(2 / np.pi)),
    whole=np.int64(3),
)
SPELT = {
    "SiLU": [_node("Sigmoid", ["v"], "a"), _node("Mul", ["v", "a"], "y")],
    "SiLU the other way round": [_node("Sigmoid", ["v"], "a"), _node("Mul", ["a", "v"], "y")],
    "GELU by erf": [
        _node("Div", ["v", "root"], "a"),
        _node("Erf", ["a"], "b"),
        _node("Add", ["b", "one"], "c"),
        _node("Mul", ["v", "c"], "d"),
        _node("Mul", ["d", "half"], "y"),
    ],
    "GELU by tanh": [
        _node("Pow", ["v", "three"], "a"),
        _node("Mul", ["a", "small"], "b"),
        _node("Add", ["v", "b"], "c"),
        _node("Mul", ["c", "narrow"], "d"),
        _node("Tanh", ["d"], "e"),
        _node("Add", ["e", "one"], "f"),
        _node("Mul", ["v", "f"], "g"),
        _node("Mul", ["g", "half"], "y"),
    ],
    "hard swish": [
        _node("Add", ["v", "three"], "a"),
        _node("Clip", ["a", "zero", "six"], "b"),
        _node("Mul", ["v", "b"], "c"),
        _node("Div", ["c", "six"], "y"),
    ],
    "Mish": [_node("Softplus", ["v"], "a"), _node("Tanh", ["a"], "b"), _node("Mul", ["v", "b"], "y")],
    "softsign": [
        _node("Abs", ["v"], "a"),
        _node("Add", ["a", "one"], "b"),
        _node("Div", ["v", "b"], "y"),
    ],
    "one over": [_node("Exp", ["v"], "a"), _node("Add", ["a", "one"], "b"), _node("Div", ["half", "b"], "y")],
    "a square": [_node("Mul", ["v", "v"], "y")],
    "a cube": [_node("Pow", ["v", "whole"], "y")],
    "of a sum of three": [
        _node("Sigmoid", ["v"], "a"),
        _node("Tanh", ["v"], "b"),
        _node("Sum", ["a", "v", "b"], "c"),
        _node("Mul", ["v", "c"], "y"),
    ],
    "of the larger of three": [
        _node("Sigmoid", ["v"], "a"),
        _node("Tanh", ["v"], "b"),
        _node("Max", ["a", "v", "b"], "c"),
        _node("Mul", ["c", "v"], "y"),
    ],
    "softplus with a choice, as PyTorch's dynamo writes it": [
        _node("Exp", ["v"], "a"),
        _node("Add", ["a", "one"], "b"),
        _node("Log", ["b"], "c"),
        _node("Greater", ["v", "half"], "d"),
        _node("Where", ["d", "v", "c"], "y"),
    ],
    "a choice by the other comparisons": [
        _node("LessOrEqual", ["v", "half"], "a"),
        _node("Less", ["zero", "v"], "b"),
        _node("Not", ["b"], "c"),
        _node("Where", ["c", "zero", "v"], "d"),
        _node("Where", ["a", "d", "v"], "y"),
    ],
    "a sign": [_node("Sign", ["v"], "a"), _node("Abs", ["v"], "b"), _node("Mul", ["a", "b"], "y")],
    "of a leaky rectifier": [
        _node("LeakyRelu", ["v"], "a", alpha=0.25),
        _node("Tanh", ["v"], "b"),
        _node("Mul", ["a", "b"], "y"),
    ],
}
"""What exporters write; v is a convolution's value, of 3 x 4 x 5."""

ALONE = {
    "Atan": {},
    "Celu": {"alpha": 0.7},
    "Cos": {},
    "Elu": {"alpha": 1.3},
    "Erf": {},
    "Exp": {},
    "HardSwish": {},
    "Mish": {},
    "Selu": {},
    "Sin": {},
    "Softplus": {},
    "Softsign": {},
    "Tanh": {},
}
SINCE = {"HardSwish": 14, "Mish": 18}


def _convolution():
    weights = np.random.RandomState(0).normal(size=(3, 2, 2, 1)).astype(np.float32)
    return _node("Conv", ["input", "w"], "v"), _named(w=weights)


@pytest.mark.parametrize("spelt", SPELT)
def test_it_is_one_function_however_it_is_spelt(spelt):
    first, weights = _convolution()
    model = model_proto([first, *SPELT[spelt]], CONSTANTS + weights, "input", (2, 5, 5), "y")
    network = _like_onnxruntime(model, 2, 5, 5)
    kinds = [type(node.layer) for node in network.nodes if type(node.layer).__name__ != "Affine"]
    assert kinds == [Conv, Function]


@pytest.mark.parametrize("kind", ALONE)
def test_an_operator_of_one_number_is_a_function(kind):
    first, weights = _convolution()
    node = helper.make_node(kind, ["v"], ["y"], name="act", **ALONE[kind])
    model = model_proto([first, node], weights, "input", (2, 5, 5), "y")
    if model.opset_import[0].version < SINCE.get(kind, 1):
        try:
            model.opset_import[0].version = SINCE[kind]
            network = _like_onnxruntime(model, 2, 5, 5)
        except Exception as error:  # this onnxruntime may be older than the operator
            if "opset" not in str(error).lower() and "not implemented" not in str(error).lower():
                raise
            pytest.skip(f"{kind} came with operator set {SINCE[kind]}: {error}")
    else:
        network = _like_onnxruntime(model, 2, 5, 5)
    assert [type(node.layer) for node in network.nodes] == [Conv, Function]


def _of_two(kind):
    first, weights = _convolution()
    nodes = [first, _node("MaxPool", ["v"], "a", kernel_shape=[3, 1], pads=[1, 0, 1, 0]), _node(kind, ["v", "a"], "y")]
    return model_proto(nodes, weights, "input", (2, 5, 5), "y")


def test_what_two_values_give_is_no_function_of_one():
    for kind, layer in (("Mul", Multiply), ("Div", Divide)):
        network = _like_onnxruntime(_of_two(kind), 2, 5, 5)
        assert [type(node.layer) for node in network.nodes] == [Conv, MaxPool, layer]


def test_a_gate_is_broadcast_over_what_it_gates():
    first, weights = _convolution()
    nodes = [first, _node("GlobalAveragePool", ["v"], "a"), _node("Sigmoid", ["a"], "b"), _node("Mul", ["b", "v"], "y")]
    network = _like_onnxruntime(model_proto(nodes, weights, "input", (2, 5, 5), "y"), 2, 5, 5)
    assert network.output_shape == (3, 4, 5)


def test_values_with_unlike_axes_are_not_multiplied():
    """ONNX would align the batch of one with an inner axis of the other."""
    first, weights = _convolution()
    nodes = [first, _node("Flatten", ["v"], "a"), _node("Mul", ["v", "a"], "y")]
    with pytest.raises(snnrepro.UnsupportedError, match=r"of \(3, 4, 5\) and \(60,\) .*as many axes are needed"):
        snnrepro.load(model_proto(nodes, weights, "input", (2, 5, 5), "y"))


def test_a_constant_for_each_channel_is_part_of_no_formula():
    first, weights = _convolution()
    slopes = _named(slopes=np.array([1, 2, 3], np.float32).reshape(3, 1, 1))
    nodes = [first, _node("Mul", ["v", "slopes"], "a"), _node("Sigmoid", ["a"], "b"), _node("Mul", ["v", "b"], "y")]
    network = _like_onnxruntime(model_proto(nodes, weights + slopes, "input", (2, 5, 5), "y"), 2, 5, 5)
    assert [type(node.layer) for node in network.nodes][-1] == Multiply


def test_a_chain_of_functions_does_not_grow_without_end():
    nodes, before = [], "input"
    for index in range(40):
        nodes += [_node("Sigmoid", [before], f"s{index}"), _node("Mul", [before, f"s{index}"], f"m{index}")]
        before = f"m{index}"
    network = snnrepro.load(model_proto(nodes, [], "input", (3, 2), before))
    assert 1 < len(network.nodes) < 40
    _like_onnxruntime(model_proto(nodes, [], "input", (3, 2), before), 3, 2)


def test_rows_in_the_batch_axis_stay_rows_in_a_function_of_what_was_before():
    """The function reads the value before the Reshape, whose rows are in no batch axis yet."""
    weights = _named(w=np.random.RandomState(0).normal(size=(4, 3)).astype(np.float32))
    sizes = _named(rows=np.array([-1, 4]), back=np.array([-1, 5, 3]))
    nodes = [
        _node("Tanh", ["input"], "v"),
        _node("Reshape", ["v", "rows"], "r"),
        _node("Sigmoid", ["r"], "a"),
        _node("Mul", ["r", "a"], "b"),
        _node("MatMul", ["b", "w"], "c"),
        _node("Reshape", ["c", "back"], "y"),
    ]
    network = _like_onnxruntime(model_proto(nodes, weights + sizes, "input", (5, 4), "y"), 5, 4)
    assert [type(node.layer).__name__ for node in network.nodes] == ["Function", "Dense"]


@pytest.mark.parametrize("activation", ["elu", "gelu", "selu", "softplus", "softsign", "swish", "tanh"])
def test_an_activation_of_keras_is_one_function(tf, activation):
    pytest.importorskip("tf2onnx")
    first, last = tf.keras.layers.Dense(12, activation=activation), tf.keras.layers.Dense(4)
    model = tf.keras.Sequential([tf.keras.layers.Input((9,)), first, last])
    x = np.random.RandomState(0).normal(0, 3, (50, 9)).astype(np.float32)
    network = snnrepro.load(model)
    wanted = np.asarray(model(x))
    assert wanted.std() > 0.1
    np.testing.assert_allclose(network.forward(x), wanted, rtol=1e-5, atol=1e-5)
    assert sum(isinstance(node.layer, Function) for node in network.nodes) == 1


@pytest.mark.parametrize(("kind", "wanted"), [("Erfc", special.erfc), ("Expm1", np.expm1)])
def test_what_tf2onnx_leaves_of_tensorflow_is_read(kind, wanted):
    """Keras 3 writes GELU by erfc and CELU by expm1; ONNX has neither, and onnxruntime no answer."""
    network = snnrepro.load(model_proto([_node(kind, ["input"], "y")], [], "input", (3, 5), "y"))
    x = np.random.RandomState(0).normal(0, 2, (20, 3, 5)).astype(np.float32)
    np.testing.assert_allclose(network.forward(x), wanted(x.astype(np.float64)), rtol=1e-5, atol=1e-6)
