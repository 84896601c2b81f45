"""An ONNX model that cannot be converted is refused with one error that names every node in the way."""

from __future__ import annotations

import numpy as np
import pytest

import snnrepro
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Affine, Dense, ReLU, Reshape, Softmax
from snnrepro.readers import operators
from tests.strategies import model_proto


def _tensor(name, values):
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(values), name)


def _node(op_type, inputs, output, **attributes):
    from onnx import helper

    return helper.make_node(op_type, inputs, [output], name=f"the {op_type}", **attributes)


WEIGHTS = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_every_unsupported_node_is_named():
    nodes = [
        _node("LRN", ["input"], "a", size=3),
        _node("MatMul", ["input", "w"], "b"),
        _node("Relu", ["b"], "c"),
        _node("Erf", ["c"], "d"),
        _node("Relu", ["d"], "e"),
    ]
    with pytest.raises(snnrepro.ModelError) as refusal:
        snnrepro.load(model_proto(nodes, [_tensor("w", WEIGHTS)], "input", (2,), "e"))
    message = str(refusal.value)
    assert "LRN 'the LRN'" in message
    assert "Erf 'the Erf'" in message
    assert "supported are Add, AveragePool" in message
    assert "the MatMul" not in message
    assert "the Relu" not in message


def test_an_unsupported_attribute_is_named():
    nodes = [_node("Softmax", ["input"], "y", temperature=2.0)]
    with pytest.raises(snnrepro.ModelError, match=r"the Softmax.*\['temperature'\]"):
        snnrepro.load(model_proto(nodes, [], "input", (3,), "y"))


UNUSABLE = {
    "matrix product of variables": ([_node("MatMul", ["input", "input"], "y")], "the right factor must be a constant"),
    "product of variables": ([_node("Mul", ["input", "input"], "y")], "not linear in spikes"),
    "softmax over the batch": ([_node("Softmax", ["input"], "y", axis=0)], "axis 0 is the batch axis"),
    "flattened batch": ([_node("Flatten", ["input"], "y", axis=0)], "axis 0 is the batch axis"),
    "bias too long": ([_node("Add", ["input", "long"], "y")], "cannot be broadcast"),
    "batch moved": ([_node("Reshape", ["input", "shape"], "y")], "batch axis must stay first"),
    "matrix too tall": ([_node("MatMul", ["input", "tall"], "y")], "the last axis must be 7"),
}


@pytest.mark.parametrize("fault", UNUSABLE)
def test_a_node_that_cannot_be_converted_says_why(fault):
    nodes, message = UNUSABLE[fault]
    tensors = [
        _tensor("long", np.zeros(5, np.float32)),
        _tensor("shape", np.array([2, -1], np.int64)),
        _tensor("tall", np.ones((7, 2), np.float32)),
    ]
    with pytest.raises(snnrepro.ModelError, match=message):
        snnrepro.load(model_proto(nodes, tensors, "input", (2,), "y"))


def test_gemm_is_read_with_all_its_attributes():
    nodes = [_node("Gemm", ["input", "w", "c"], "y", alpha=2.0, beta=3.0, transB=1)]
    tensors = [_tensor("w", WEIGHTS), _tensor("c", np.array([1.0, -1.0], np.float32))]
    network = snnrepro.load(model_proto(nodes, tensors, "input", (3,), "y"))
    x = np.array([[1.0, 10.0, 100.0]], np.float32)
    np.testing.assert_array_equal(network.forward(x), 2 * x @ WEIGHTS.T + 3 * np.array([1, -1]))


def test_a_constant_node_is_a_weight_like_any_other():
    nodes = [_node("Constant", [], "w", value=_tensor("v", WEIGHTS)), _node("MatMul", ["input", "w"], "y")]
    network = snnrepro.load(model_proto(nodes, [], "input", (2,), "y"))
    np.testing.assert_array_equal(network.nodes[0].layer.weights, WEIGHTS)


def test_a_bias_that_two_layers_share_is_folded_into_both():
    square = np.array([[1, 2], [3, 4]], np.float32)
    nodes = [
        _node("MatMul", ["input", "w"], "a"),
        _node("Add", ["a", "b"], "c"),
        _node("Relu", ["c"], "d"),
        _node("MatMul", ["d", "w"], "e"),
        _node("Add", ["b", "e"], "y"),
    ]
    network = snnrepro.load(
        model_proto(nodes, [_tensor("w", square), _tensor("b", np.array([5, -6], np.float32))], "input", (2,), "y")
    )
    assert [type(node.layer) for node in network.nodes] == [Dense, ReLU, Dense]
    for index in (0, 2):
        np.testing.assert_array_equal(network.nodes[index].layer.bias, [5, -6])


def test_a_bias_before_any_layer_stays_and_is_evaluated():
    nodes = [_node("Add", ["input", "b"], "y")]
    network = snnrepro.load(model_proto(nodes, [_tensor("b", np.array([1, 2], np.float32))], "input", (2,), "y"))
    assert [type(node.layer) for node in network.nodes] == [Affine]
    np.testing.assert_array_equal(network.forward([[10, 20]]), [[11, 22]])


def test_a_second_handler_for_an_operator_is_refused():
    with pytest.raises(ValueError, match="Relu"):
        operators.handles("Relu")(lambda x: x)


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"not a model"])
def test_a_file_that_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(snnrepro.ModelError, match=r"model\.onnx: not a"):
        snnrepro.load(path)


@pytest.mark.parametrize("thing", ["model.h5", 7, None])
def test_what_is_no_model_is_refused(thing):
    with pytest.raises(snnrepro.ModelError, match=r"an \.onnx file"):
        snnrepro.load(thing)


BROKEN = {
    "twice": ([("a", ("x",)), ("a", ("a",))], "assigned twice"),
    "unknown": ([("a", ("z",))], "no node before it gives"),
    "two inputs": ([("a", ("x", "x"))], "one input is needed, got 2"),
    "empty": ([], "no nodes"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_graph_that_is_none_is_refused(fault):
    nodes, message = BROKEN[fault]
    with pytest.raises(snnrepro.ModelError, match=message):
        Network("x", (2,), tuple(Node(name, inputs, ReLU()) for name, inputs in nodes), {})


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(snnrepro.ModelError, match="cannot become"):
        Network("x", (2, 3), (Node("y", ("x",), Reshape((5,))),), {})
    with pytest.raises(snnrepro.ModelError, match=r"Affine 'y'.*cannot be broadcast"):
        Network("x", (2, 3), (Node("y", ("x",), Affine(np.zeros(4), np.zeros(()))),), {})
    with pytest.raises(ValueError, match="Dense"):
        Dense(np.zeros((2, 3)), np.zeros(2))
    assert Network("x", (2, 3), (Node("y", ("x",), Softmax((1,))),), {}).output_shape == (2, 3)
