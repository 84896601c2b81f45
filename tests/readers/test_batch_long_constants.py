"""Constants as long as a free batch (zeros or ones like the input) are read as one row; onnxruntime is the oracle."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import snnrepro


def _model(nodes, constants, batch="n"):
    """Return a model of an input ``(n, 3, 4)``."""
    weights = [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (batch, 3, 4))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=7)


def _filled(kind, row):
    """Return nodes that make `long`, a constant of the input's length, and the constants that they read."""
    shape = helper.make_node("Shape", ["x"], ["shape"])
    first = helper.make_node("Slice", ["shape", "zero", "one"], ["batch"])
    sizes = helper.make_node("Concat", ["batch", "inner"], ["sizes"], axis=0)
    constants = {"zero": [0], "one": [1], "inner": row.shape if kind != "Tile" else [1, 1]}
    if kind == "ConstantOfShape":
        fill = helper.make_tensor("f", TensorProto.FLOAT, [1], row.reshape(-1)[:1])
        last = helper.make_node(kind, ["sizes"], ["long"], value=fill)
    else:
        constants["row"] = row[np.newaxis]
        last = helper.make_node(kind, ["row", "sizes"], ["long"])
    constants = {name: np.int64(values) if name != "row" else np.float32(values) for name, values in constants.items()}
    return [shape, first, sizes, last], constants


def _check(model, n_images):
    x = np.random.RandomState(n_images).normal(size=(n_images, 3, 4)).astype(np.float32)
    wanted = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        None, {"x": x}
    )
    network = snnrepro.load(model)
    np.testing.assert_allclose(network.forward(x), wanted[0], rtol=1e-5, atol=1e-6)
    assert np.ptp(wanted[0]) > 0.1, "every answer is the same"
    return network


@given(
    st.sampled_from(["ConstantOfShape", "Expand", "Tile"]),
    st.sampled_from(["Add", "Sub", "Mul", "Div"]),
    st.lists(st.sampled_from(["Add", "Mul", "Sub", "Neg", "Sigmoid"]), max_size=3),
    st.booleans(),
    st.integers(1, 5),
)
def test_a_constant_of_the_inputs_length_is_joined_image_by_image(kind, joined, between, swapped, n_images):
    row = np.random.RandomState(0).uniform(0.5, 2, (3, 4)).astype(np.float32)
    nodes, constants = _filled(kind, row)
    if set(between) - {"Neg", "Sigmoid"}:
        constants["factor"] = np.array([[[2.0], [0.5], [1.5]]], np.float32)
    value = "long"
    for index, op_type in enumerate(between):
        inputs = [value] if op_type in ("Neg", "Sigmoid") else [value, "factor"]
        nodes.append(helper.make_node(op_type, inputs, [f"v{index}"]))
        value = f"v{index}"
    ends = ["x", value] if joined == "Div" or not swapped else [value, "x"]
    nodes.append(helper.make_node(joined, ends, ["y"]))
    _check(_model(nodes, constants), n_images)


@given(
    st.permutations(["x", "long", "x", "row", "long"]), st.integers(2, 5), st.sampled_from([1, 2]), st.integers(1, 4)
)
def test_constants_stand_beside_values_in_any_order(parts, n_parts, axis, n_images):
    row = np.random.RandomState(1).normal(size=(3, 4)).astype(np.float32)
    nodes, constants = _filled("Expand", row)
    parts = parts[:n_parts] if "x" in parts[:n_parts] else ["x", *parts[:n_parts]]
    parts = [name for name in parts if name != "row" or n_images == 1]
    if set(parts) == {"x"}:
        parts.append("long")
    constants["w"] = np.random.RandomState(2).normal(size=(4 if axis == 1 else 4 * len(parts), 5)).astype(np.float32)
    nodes += [
        helper.make_node("Concat", parts, ["joined"], axis=axis),
        helper.make_node("MatMul", ["joined", "w"], ["y"]),
    ]
    _check(_model(nodes, constants, "n" if n_images > 1 else 1), n_images)


def test_a_long_constant_takes_no_memory_for_images_that_are_not_there():
    """400 numbers an image were 400,001,200 in all, and refused."""
    row = np.random.RandomState(0).normal(size=(3, 400)).astype(np.float32)
    nodes, constants = _filled("ConstantOfShape", row)
    constants["w"] = np.random.RandomState(1).normal(size=(404, 2)).astype(np.float32)
    nodes += [helper.make_node("Concat", ["x", "long"], ["joined"], axis=2)]
    nodes += [helper.make_node("MatMul", ["joined", "w"], ["y"])]
    _check(_model(nodes, constants), 3)


def _ones():
    return _filled("ConstantOfShape", np.ones((3, 4), np.float32))


def _node(text, **attributes):
    op_type, *names = text.split()
    return helper.make_node(op_type, names[:-1], names[-1:], **attributes)


DEPENDENT = {
    "divided by the number of images": [
        _node("Slice shape zero one b"),
        _node("Cast b f", to=TensorProto.FLOAT),
        _node("Div x f y"),
    ],
    "times the number of numbers": [
        _node("ReduceProd shape p", keepdims=0),
        _node("Cast p f", to=TensorProto.FLOAT),
        _node("Mul x f y"),
    ],
    "times a sum over images": [_node("ReduceSum long t", keepdims=0), _node("Mul x t y")],
    "times one less than the images": [
        _node("Cast batch f", to=TensorProto.FLOAT),
        _node("Sub f unit g"),
        _node("Mul x g y"),
    ],
    "plus a row that holds their number": [
        _node("Cast batch f", to=TensorProto.FLOAT),
        _node("Mul long f g"),
        _node("Add x g y"),
    ],
}


@pytest.mark.parametrize("kind", DEPENDENT)
def test_what_computes_with_the_size_of_the_batch_is_refused(kind):
    """A prime stands for the size while a model is read: x / batch was loaded as x / 1000003, without a word."""
    nodes, constants = _ones()
    constants["unit"] = np.ones(1, np.float32)
    with pytest.raises(snnrepro.UnsupportedError, match="depends on how many images there are in the batch"):
        snnrepro.load(_model(nodes + DEPENDENT[kind], constants))


@given(st.sampled_from([1, 2]), st.sampled_from(["Mul", "Div"]), st.integers(1, 4))
def test_what_computes_with_the_size_of_an_image_is_read(axis, joined, n_images):
    nodes = [
        _node("Shape x shape"),
        _node("Gather shape axis size"),
        _node("Cast size f", to=TensorProto.FLOAT),
        _node(f"{joined} x f y"),
    ]
    _check(_model(nodes, {"axis": np.int64(axis)}), n_images)


@pytest.mark.parametrize("mixed", [["Transpose long turned", "Add x turned y"], ["MatMul x long y"]], ids=str)
def test_what_mixes_images_is_refused(mixed):
    nodes, constants = _filled("Expand", np.ones((3, 4), np.float32))
    with pytest.raises(snnrepro.UnsupportedError, match=r"as long as the batch|depends on how many images"):
        snnrepro.load(_model(nodes + list(map(_node, mixed)), constants))


def test_a_constant_that_differs_from_image_to_image_is_not_taken_for_one_row():
    """The number of an image in its batch, 0, 1, 2, ..., must be refused: it is not in the image."""
    made, constants = _filled("ConstantOfShape", np.ones((3, 4), np.float32))
    constants.update(from_=np.int64(0), by=np.int64(1), gathered=np.int64(0))
    made += [
        helper.make_node("Gather", ["shape", "gathered"], ["n_images"]),
        helper.make_node("Range", ["from_", "n_images", "by"], ["numbers"]),
        helper.make_node("Cast", ["numbers"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["floats"], ["column"], axes=[1, 2]),
        helper.make_node("Add", ["x", "column"], ["y"], name="add"),
    ]
    with pytest.raises(snnrepro.UnsupportedError, match=r"Add 'add': .*depends on how many images"):
        snnrepro.load(_model(made, constants))


@given(st.sampled_from([0, -1, "batch"]), st.sampled_from([1, 2, 3]), st.booleans(), st.integers(1, 4))
def test_a_weighted_mean_whose_weights_are_as_long_as_the_batch_is_read(first, groups, keepdims, n_images):
    """As Keras 2 has it in a group normalisation: the sum of the values by that of ones, 0 where there are none."""
    axis = {1: 3, 2: 2, 3: 2}[groups]
    inner = {1: [3, 1, 4], 2: [3, 2, 2], 3: [3, 2, 2]}[groups]
    row = np.full((3, 4), 0.5, np.float32)
    nodes, constants = _filled("ConstantOfShape", row)
    constants.update(parts=np.int64(inner), nothing=np.float32(0), ten=np.float32(10))
    if first != "batch":
        constants["head"] = np.int64([first])
    nodes += [
        helper.make_node("Concat", ["batch" if first == "batch" else "head", "parts"], ["apart"], axis=0),
        _node("Reshape long apart weights"),
        _node("Reshape x apart values"),
        _node("Mul weights values weighted"),
        _node("ReduceSum weighted sum", axes=[axis], keepdims=int(keepdims)),
        _node("ReduceSum weights all", axes=[axis], keepdims=int(keepdims)),
        _node("Equal all nothing none"),
        _node("Div sum all mean"),
        _node("Where none nothing mean chosen"),
        _node("Mul chosen ten y"),
    ]
    _check(_model(nodes, constants), n_images)


@pytest.mark.parametrize(
    "nodes",
    [
        [_node("Reshape long one_long row"), _node("Add x row y")],
        [_node("Reshape long swapped turned"), _node("Add x turned y")],
        [_node("ReduceSum long total", axes=[0], keepdims=1), _node("Add x total y")],
        [_node("ReduceMax long total", keepdims=1), _node("ReduceSum long n", axes=[0, 1, 2]), _node("Mul x n y")],
    ],
    ids=["all in a row", "the batch last", "a sum over images", "a sum of all"],
)
def test_what_does_not_leave_the_rows_of_a_constant_apart_is_refused(nodes):
    made, constants = _ones()
    constants.update(one_long=np.int64([1, -1, 4]), swapped=np.int64([3, -1, 4]))
    with pytest.raises(snnrepro.UnsupportedError):
        snnrepro.load(_model(made + nodes, constants))
