"""An ONNX model that cannot be converted is refused with one error that names every node in the way."""

from __future__ import annotations

import numpy as np
import pytest

import snnrepro
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Affine, Dense, ReLU, Reshape, Softmax
from snnrepro.readers import operators
from tests.helpers.comparison import error
from tests.helpers.strategies import model_proto


def _tensor(name, values):
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(values), name)


def _node(op_type, inputs, output, **attributes):
    from onnx import helper

    return helper.make_node(op_type, inputs, [output], name=f"the {op_type}", **attributes)


WEIGHTS = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_every_unsupported_node_is_named():
    nodes = [
        _node("Hardmax", ["input"], "a"),
        _node("MatMul", ["input", "w"], "b"),
        _node("Relu", ["b"], "c"),
        _node("Round", ["c"], "d"),
        _node("Relu", ["d"], "e"),
        _node("MatMul", ["e", "v"], "f"),
    ]
    with pytest.raises(snnrepro.ModelError) as refusal:
        snnrepro.load(model_proto(nodes, [_tensor("w", WEIGHTS), _tensor("v", WEIGHTS.T)], "input", (2,), "f"))
    message = str(refusal.value)
    assert "Hardmax 'the Hardmax'" in message
    assert "Round 'the Round'" in message
    assert "supported: Abs, Add, Atan, AveragePool" in message
    assert "the MatMul" not in message
    assert "the Relu" not in message


def test_an_unsupported_attribute_is_named():
    nodes = [_node("Softmax", ["input"], "y", temperature=2.0)]
    with pytest.raises(snnrepro.ModelError, match=r"the Softmax.*\['temperature'\]"):
        snnrepro.load(model_proto(nodes, [], "input", (3,), "y"))


UNUSABLE = {
    "matrix product of variables": ([_node("MatMul", ["input", "input"], "y")], "the right factor must be a constant"),
    "quotient of variables with unlike axes": (
        [_node("Unsqueeze", ["input"], "a", axes=[1]), _node("Div", ["input", "a"], "y")],
        "a quotient of two values of .* as many axes are needed",
    ),
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


@pytest.mark.parametrize("operator", ["InstanceNormalization", "BatchNormalization"])
def test_weights_that_are_standardised_in_the_graph_are_read(operator):
    """As PyTorch writes them: kernels normalised by an operator for values, between two reshapes."""
    rng = np.random.RandomState(0)
    kernels = rng.normal(3, 2, (4, 2, 3, 3)).astype(np.float32)
    scale, shift = rng.rand(4).astype(np.float32), rng.rand(4).astype(np.float32)
    moments = {"mean": rng.rand(4).astype(np.float32), "variance": 1 + rng.rand(4).astype(np.float32)}
    tensors = {
        "w": kernels,
        "scale": scale,
        "shift": shift,
        "flat": np.array([1, 4, 18]),
        "back": np.array([4, 2, 3, 3]),
    }
    names = ["rows", "scale", "shift"]
    if operator == "BatchNormalization":
        tensors.update(moments)
        names += list(moments)
    nodes = [
        _node("Reshape", ["w", "flat"], "rows"),
        _node(operator, names, "even"),
        _node("Reshape", ["even", "back"], "kernels"),
        _node("Conv", ["input", "kernels"], "y"),
    ]
    nodes[2].name = "the second Reshape"
    proto = model_proto(nodes, [_tensor(*one) for one in tensors.items()], "input", (2, 5, 6), "y")
    network, x = snnrepro.load(proto), rng.normal(size=(3, 2, 5, 6)).astype(np.float32)
    assert [type(node.layer).__name__ for node in network.nodes] == ["Conv"]
    assert error(network, x, proto) < 1e-5


def test_layers_that_share_a_weight_share_its_memory():
    nodes = [_node("MatMul", ["input", "w"], "a"), _node("Relu", ["a"], "b"), _node("MatMul", ["b", "w"], "y")]
    network = snnrepro.load(model_proto(nodes, [_tensor("w", np.eye(2, dtype=np.float32))], "input", (2,), "y"))
    assert np.shares_memory(network.nodes[0].layer.weights, network.nodes[2].layer.weights)


def test_a_weight_that_is_one_number_everywhere_is_written_once():
    import tracemalloc

    nodes = [_node("ConstantOfShape", ["shape"], "w"), _node("Gemm", ["input", "w"], "y", transB=1)]
    model = model_proto(nodes, [_tensor("shape", np.array([2000, 1000]))], "input", (1000,), "y")
    tracemalloc.start()
    try:
        weights = snnrepro.load(model).nodes[0].layer.weights
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert weights.nbytes <= peak < 1.5 * weights.nbytes


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


def _named(**values):
    return [_tensor(name, np.asarray(value)) for name, value in values.items()]


NUMBERS = _named(
    zero=np.float32(0),
    zeros=np.zeros((1, 2), np.float32),
    three=np.float32(3),
    five=np.full((2,), 5, np.float32),
    minus=np.float32(-1),
    uneven=np.array([3, 4], np.float32),
    wide=np.full((4, 1), 3, np.float32),
    square=np.array([[1, -2], [3, 4]], np.float32),
)


def _like_onnxruntime(model, *shape):
    """Return our network of the model, whose answers are those of onnxruntime."""
    import onnxruntime

    network = snnrepro.load(model)
    for node in model.graph.node:
        node.name = ""  # two of one name are too many for onnxruntime
    x = np.random.RandomState(0).normal(0, 4, (7, *shape)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"input": x})[0]
    assert np.ptp(expected, axis=0).all()
    np.testing.assert_allclose(network.forward(x), expected, rtol=1e-5, atol=1e-5)
    return network


BOUNDED = {
    "Max": ([_node("Max", ["input", "zero"], "y")], None),
    "Max the other way round": ([_node("Max", ["zeros", "input"], "y")], None),
    "Relu, Min": ([_node("Relu", ["input"], "a"), _node("Min", ["a", "three"], "y")], 3.0),
    "Max, Min": ([_node("Max", ["input", "zero"], "a"), _node("Min", ["five", "a"], "y")], 5.0),
    "Min, Max": ([_node("Min", ["input", "three"], "a"), _node("Max", ["a", "zero"], "y")], 3.0),
    "Relu, Min, Max": (
        [_node("Relu", ["input"], "a"), _node("Min", ["a", "three"], "b"), _node("Max", ["zero", "b"], "y")],
        3.0,
    ),
    "Relu, Min, Min": (
        [_node("Relu", ["input"], "a"), _node("Min", ["a", "five"], "b"), _node("Min", ["b", "three"], "y")],
        3.0,
    ),
    "Relu, Clip from above": ([_node("Relu", ["input"], "a"), _node("Clip", ["a", "", "three"], "y")], 3.0),
    "Clip, Relu": ([_node("Clip", ["input", "zero", "three"], "a"), _node("Relu", ["a"], "y")], 3.0),
}


@pytest.mark.parametrize("what", BOUNDED)
def test_a_minimum_and_a_maximum_that_are_a_relu_become_one(what):
    nodes, maximum = BOUNDED[what]
    network = _like_onnxruntime(model_proto(nodes, NUMBERS, "input", (2,), "y"), 2)
    assert [type(node.layer) for node in network.nodes] == [ReLU]
    assert network.nodes[0].layer.maximum == maximum


def test_a_relu_that_something_else_reads_too_is_not_fused():
    nodes = [_node("Relu", ["input"], "a"), _node("Min", ["a", "three"], "b"), _node("Add", ["a", "b"], "y")]
    network = _like_onnxruntime(model_proto(nodes, NUMBERS, "input", (2,), "y"), 2)
    assert [type(node.layer).__name__ for node in network.nodes] == ["ReLU", "ReLU", "Add"]


UNBOUNDED = {
    "from 3": [_node("Max", ["input", "three"], "y")],
    "one bound a unit": [_node("Max", ["input", "uneven"], "y")],
    "two values": [_node("Relu", ["input"], "a"), _node("Max", ["input", "a"], "y")],
    "one value": [_node("Max", ["input"], "y")],
    "no lower bound": [_node("Min", ["input", "three"], "y")],
    "another lower bound": [_node("Min", ["input", "three"], "a"), _node("Max", ["a", "minus"], "y")],
    "read twice": [
        _node("Min", ["input", "three"], "a"),
        _node("Max", ["a", "zero"], "b"),
        _node("Add", ["a", "b"], "y"),
    ],
    "read and given": [_node("Min", ["input", "three"], "y"), _node("Max", ["y", "zero"], "b")],
}


@pytest.mark.parametrize("what", UNBOUNDED)
def test_another_minimum_or_maximum_is_read_too(what):
    _like_onnxruntime(model_proto(UNBOUNDED[what], NUMBERS, "input", (2,), "y"), 2)


@pytest.mark.parametrize(
    ("bound", "message"),
    [("wide", "a bound of shape"), ("minus", "leaves one number only"), ("zero", "leaves one number only")],
)
def test_a_minimum_that_widens_or_leaves_one_number_is_refused(bound, message):
    nodes = [
        _node("MatMul", ["input", "eye"], "a"),
        _node("Relu", ["a"], "b"),
        _node("Min", ["b", bound], "c"),
        _node("Relu", ["c"], "d"),
        _node("MatMul", ["d", "eye"], "y"),
    ]
    tensors = [*NUMBERS, _tensor("eye", np.eye(2, dtype=np.float32))]
    with pytest.raises(snnrepro.ModelError, match=f"the Min': .*{message}"):
        snnrepro.load(model_proto(nodes, tensors, "input", (2,), "y"))


@pytest.mark.parametrize("op_types", [["Identity"], ["Dropout"], ["Identity", "Dropout"], ["Reshape"]])
def test_a_model_that_only_hands_on_its_input_returns_it(op_types):
    names = ["input", *(f"n{index}" for index in range(len(op_types)))]
    nodes = [
        _node(op_type, [before, "same"] if op_type == "Reshape" else [before], name)
        for op_type, before, name in zip(op_types, names, names[1:])
    ]
    network = snnrepro.load(model_proto(nodes, _named(same=np.array([-1, 2, 3])), "input", (2, 3), names[-1]))
    x = np.random.RandomState(0).normal(0, 1, (4, 2, 3)).astype(np.float32)
    assert network.forward(x).tobytes() == x.tobytes()
    assert network.nodes[-1].name == names[-1]


def test_behind_an_unsupported_node_only_what_cannot_be_converted_either_is_named():
    nodes = [
        _node("Hardmax", ["input"], "a"),
        _node("Shape", ["a"], "shape"),
        _node("Gather", ["shape", "first"], "batch", axis=0),  # computed on constants, never at run time
        _node("Concat", ["batch", "rest"], "sizes", axis=0),
        _node("Reshape", ["a", "sizes"], "b"),
        _node("Round", ["b"], "c"),
        _node("Det", ["sizes"], "d"),
        _node("Floor", ["c"], "y"),
    ]
    tensors = _named(first=np.array([0]), rest=np.array([3, 2]))
    with pytest.raises(snnrepro.ModelError) as refusal:
        snnrepro.load(model_proto(nodes, tensors, "input", (2, 3), "y"))
    named = [line.split("'")[1] for line in str(refusal.value).splitlines() if line.startswith("  ")]
    assert named == ["the Hardmax", "the Round", "the Det", "the Floor"]


def test_behind_a_value_that_nothing_gives_no_node_is_named():
    nodes = [
        _node("Neg", ["nowhere"], "a"),
        _node("BatchNormalization", ["a", "five", "five", "five", "five"], "b"),
        _node("Dropout", ["b"], "y"),
    ]
    with pytest.raises(snnrepro.ModelError) as refusal:
        snnrepro.load(model_proto(nodes, NUMBERS, "input", (2,), "y"))
    assert [line.split("'")[1] for line in str(refusal.value).splitlines()[1:]] == ["the Neg"]


SIZES = _named(
    rows=np.array([-1, 2]),
    cells=np.array([-1, 1]),
    numbers=np.array([-1]),
    image=np.array([-1, 3, 4, 2]),
    kept=np.array([0, 2]),
    flat=np.array([-1, 24]),
    narrow=np.array([-1, 3, 4, 1]),
    bias=np.array([1, -2], np.float32),
    column=np.array([[2], [-1]], np.float32),
)
ROWS = {
    "one product": ([_node("MatMul", ["r", "square"], "b"), _node("Reshape", ["b", "image"], "y")], ["Dense"]),
    "several layers": (
        [
            _node("Gemm", ["r", "square", "bias"], "a"),
            _node("Relu", ["a"], "b"),
            _node("MatMul", ["b", "square"], "c"),
            _node("Add", ["bias", "c"], "d"),
            _node("Reshape", ["d", "kept"], "e"),
            _node("Reshape", ["e", "image"], "y"),
        ],
        ["Dense", "ReLU", "Dense"],
    ),
    "another number of columns": (
        [_node("MatMul", ["r", "column"], "b"), _node("Reshape", ["b", "narrow"], "y")],
        ["Dense"],
    ),
    "flat behind them": (
        [_node("MatMul", ["r", "square"], "b"), _node("Reshape", ["b", "flat"], "y")],
        ["Dense", "Reshape"],
    ),
    "other rows than there were": (
        [_node("Reshape", ["r", "cells"], "b"), _node("Sigmoid", ["b"], "c"), _node("Reshape", ["c", "image"], "y")],
        ["Reshape", "Sigmoid", "Reshape"],
    ),
    "a softmax of every row": (
        [_node("Softmax", ["r"], "b", axis=1), _node("Reshape", ["b", "image"], "y")],
        ["Softmax"],
    ),
    "added to each other": (
        [_node("Relu", ["r"], "b"), _node("Add", ["r", "b"], "c"), _node("Reshape", ["c", "image"], "y")],
        ["ReLU", "Add"],
    ),
    "times its own sigmoid, behind what was there before": (
        [
            _node("Sigmoid", ["r"], "b"),
            _node("Mul", ["r", "b"], "c"),
            _node("MatMul", ["c", "square"], "d"),
            _node("Reshape", ["d", "image"], "y"),
        ],
        ["Function", "Dense"],
    ),
    "times its own sigmoid": (
        [_node("Sigmoid", ["r"], "b"), _node("Mul", ["r", "b"], "c"), _node("Reshape", ["c", "image"], "y")],
        ["Function"],
    ),
}


@pytest.mark.parametrize("batch", ["batch", 7])
@pytest.mark.parametrize("what", ROWS)
def test_a_matrix_product_with_every_row_is_one_over_the_last_axis(what, batch):
    nodes, kinds = ROWS[what]
    model = model_proto([_node("Reshape", ["input", "rows"], "r"), *nodes], NUMBERS + SIZES, "input", (3, 4, 2), "y")
    if batch == 7:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 7
    network = _like_onnxruntime(model, 3, 4, 2)
    assert [type(node.layer).__name__ for node in network.nodes] == kinds


MIXED = {
    "given as they are": ([_node("Relu", ["r"], "y")], "output 'y': the batch axis must stay first"),
    "all numbers in the batch": ([_node("Reshape", ["r", "numbers"], "y")], "the Reshape.*batch axis must stay first"),
    "transposed": ([_node("Transpose", ["r"], "y")], "the Transpose.*only these can follow.*MatMul"),
    "their number read": ([_node("Shape", ["r"], "y")], "the Shape.*only these can follow"),
    "a constant for each": ([_node("Add", ["r", "ones"], "y")], "the Add.*not the same for every image"),
}


@pytest.mark.parametrize("what", MIXED)
def test_rows_in_the_batch_axis_are_refused_where_they_would_be_taken_for_images(what):
    nodes, message = MIXED[what]
    tensors = NUMBERS + SIZES + _named(ones=np.ones((12, 2), np.float32))
    model = model_proto([_node("Reshape", ["input", "rows"], "r"), *nodes], tensors, "input", (3, 4, 2), "y")
    with pytest.raises(snnrepro.ModelError, match=message):
        snnrepro.load(model)


# An operator's attributes and, in later operator sets, the same as inputs (in their order; None: left out).
EITHER = {
    "Reshape": ({"shape": [0, 8]}, {"shape": [0, 8]}, 8),
    "Squeeze": ({"axes": [1]}, {"axes": [1]}, 8),
    "Unsqueeze": ({"axes": [2]}, {"axes": [2]}, 5),
    "Pad": ({"pads": [0, 0, 1, 0, 0, 2], "value": 0.5}, {"pads": [0, 0, 1, 0, 0, 2], "value": np.float32(0.5)}, 10),
    "Slice": (
        {"starts": [1], "ends": [3], "axes": [2]},
        {"starts": [1], "ends": [3], "axes": [2]},
        9,
    ),
    "Split": ({"split": [3, 1], "axis": 2}, {"split": [3, 1]}, 12),
    "Upsample": ({"scales": [1.0, 1.0, 2.0]}, {"scales": np.float32([1, 1, 2])}, 7),
    "Clip": ({"min": 0.0, "max": 0.25}, {"min": np.float32(0), "max": np.float32(0.25)}, 10),
    "Dropout": ({"ratio": 0.25}, {"ratio": np.float32(0.25)}, 11),
    "ReduceMean": ({"axes": [2]}, {"axes": [2]}, 17),
    "ReduceMax": ({"axes": [2]}, {"axes": [2]}, 17),
    "ReduceSum": ({"axes": [2]}, {"axes": [2]}, 12),
    "ReduceL2": ({"axes": [2]}, {"axes": [2]}, 17),
    "ReduceSumSquare": ({"axes": [2]}, {"axes": [2]}, 17),
}


def _either(op_type, attributes, inputs, opset):
    import onnx

    outputs = ["y", "z"] if op_type == "Split" else ["y"]
    node = onnx.helper.make_node(op_type, ["input", *inputs], outputs, name=f"the {op_type}", **attributes)
    tensors = [_tensor(name, values) for name, values in inputs.items()]
    model = model_proto([node], tensors, "input", (1, 4) if op_type == "Squeeze" else (2, 4), "y")
    model.opset_import[0].version = opset
    return snnrepro.load(model)


@pytest.mark.parametrize("op_type", EITHER)
def test_what_is_an_attribute_or_an_input_is_read_either_way(op_type):
    attributes, inputs, last = EITHER[op_type]
    others = {name: value for name, value in attributes.items() if name not in inputs}
    one = _either(op_type, attributes, {}, last)
    other = _either(op_type, others, {name: np.asarray(value) for name, value in inputs.items()}, 18)
    x = np.linspace(-1, 1, 3 * int(np.prod(one.input_shape)), dtype=np.float32).reshape(3, *one.input_shape)
    assert one.forward(x).tobytes() == other.forward(x).tobytes()
    assert [type(node.layer) for node in one.nodes] == [type(node.layer) for node in other.nodes]
    if op_type not in ("Dropout", "Clip"):  # without them they are something else, and not refused
        with pytest.raises(snnrepro.ModelError, match=f"the {op_type}"):
            _either(op_type, {}, {}, last)


def test_every_operator_that_takes_either_is_tried_above():
    from snnrepro.readers.operators import registry

    declared = {op_type: set(names) for op_type, names in registry.EITHER.items() if names}
    assert declared == {op_type: set(inputs) for op_type, (_, inputs, _) in EITHER.items()}


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
