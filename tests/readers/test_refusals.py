"""A refusal names the node that is to blame, with the user's own numbers, and says what would help."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import snnrepro
from snnrepro.readers.constants import FREE_BATCH
from snnrepro.readers.stand_ins import CAN_INFER


def _model(nodes, constants, shape=("n", 3, 4)):
    """Return a model with a free batch axis."""
    weights = [numpy_helper.from_array(np.array(values, np.int64), name) for name, values in constants.items()]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)])


def _said(*model):
    with pytest.raises(snnrepro.ModelError) as refusal:
        snnrepro.load(_model(*model))
    return str(refusal.value)


@given(
    st.lists(st.sampled_from([-1, 0, 1, 2, 3, 5, 7, 12, 24]), min_size=1, max_size=4).filter(lambda s: s.count(-1) < 2)
)
def test_no_refusal_shows_a_number_that_is_not_in_the_model(sizes):
    """The number that stands for a free batch axis was shown as 1000003, and with others multiplied, as 12000036."""
    said = _result([helper.make_node("Reshape", ["x", "s"], ["y"], name="r")], {"s": sizes})
    assert not re.search(r"\d{4,}", said), said


def _result(*model):
    """Return what is said of a model, its output's shape if it is read."""
    try:
        return str(snnrepro.load(_model(*model)).output_shape)
    except snnrepro.ModelError as error:
        return str(error)


def test_multiples_of_the_batch_are_called_that():
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], name="s"),
        helper.make_node("Mul", ["s", "many"], ["t"], name="t"),
        helper.make_node("ConstantOfShape", ["t"], ["c"], name="c"),
        helper.make_node("Add", ["x", "c"], ["y"], name="a"),
    ]
    said = _said(nodes, {"many": [200, 1, 1]})
    assert "ConstantOfShape 'c': its declared result has up to 2400*batch numbers" in said
    assert str(FREE_BATCH) not in said


@pytest.mark.parametrize(
    ("nodes", "advice"),
    [
        ([("Scan", ["x"], "y")], r"recurrent layers \(Scan\) cannot be converted: train without"),
    ],
)
def test_a_refusal_says_what_would_help(nodes, advice):
    assert re.search(advice, _said([helper.make_node(kind, given, [made]) for kind, given, made in nodes], {}))


def test_a_free_axis_is_told_how_to_fix_it():
    with pytest.raises(snnrepro.ModelError, match=r"not fixed: axes \[2\]; say the sizes: --shape x=-1,3,SIZE"):
        snnrepro.load(_model([helper.make_node("Relu", ["x"], ["y"])], {}, ("n", 3, "w")))


def test_constants_whose_values_were_left_out_of_the_file_are_called_that():
    """Keras 3's own export writes an adapted Normalization's mean and variance as further inputs."""
    model = _model([helper.make_node("Sub", ["x", "model/normalization/Sub/y:0"], ["y"])], {})
    model.graph.input.append(helper.make_tensor_value_info("model/normalization/Sub/y:0", TensorProto.FLOAT, (1, 3, 4)))
    with pytest.raises(snnrepro.ModelError, match=r"one input is needed, the model has 2.*load the Keras model itself"):
        snnrepro.load(model)
    model.graph.input[1].name = model.graph.node[0].input[1] = "other"
    with pytest.raises(snnrepro.ModelError, match=r"has 2: 'x' \(FLOAT.*\), 'other' \(FLOAT \(1, 3, 4\)\); set"):
        snnrepro.load(model)


def test_an_operator_that_is_no_activation_is_not():
    said = _said([helper.make_node("NonZero", ["x"], ["y"], name="n")], {})
    assert "train with" not in said


def test_what_follows_a_refused_if_is_not_blamed():
    """What an If computes was taken for a constant, and so was what reads it."""

    def branch(name, kind):
        node = helper.make_node(kind, ["x"], [name])
        return helper.make_graph([node], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)])

    flag = helper.make_node("Round", ["x"], ["flag"])  # whatever is no constant
    choice = helper.make_node(
        "If", ["flag"], ["chosen"], name="choice", then_branch=branch("a", "Relu"), else_branch=branch("b", "Neg")
    )
    last = helper.make_node("Relu", ["chosen"], ["y"], name="innocent")
    said = _said([flag, choice, last], {})
    assert "If 'choice'" in said
    assert "innocent" not in said


_SOUND = {"Relu": {}, "Neg": {}, "Mul": {}, "Clip": {}, "AveragePool": {"kernel_shape": [2, 1]}, "Reshape": {}}
_UNSOUND = {
    "Round": {},
    "Floor": {},
    "LpPool": {"kernel_shape": [1, 2]},
    "MaxPool": {"kernel_shape": [9, 1]},
}


def _between_neurons(nodes, last):
    """Return the nodes with neurons before and behind them: none of them can be left as it is."""
    kernel = helper.make_node(
        "Constant", [], ["k"], value=numpy_helper.from_array(np.eye(3, dtype=np.float32)[..., None, None])
    )
    first = [helper.make_node("Conv", ["x", "k"], ["c"]), helper.make_node("Relu", ["c"], ["r"])]
    inner = []
    for node in nodes:
        inner.append(helper.make_node(node.op_type, [], list(node.output), name=node.name))
        inner[-1].attribute.extend(node.attribute)
        inner[-1].input.extend("r" if name == "x" else name for name in node.input)
    behind = [("Conv", [last, "k"], "d"), ("Relu", ["d"], "e"), ("Conv", ["e", "k"], "y")]
    return [kernel, *first, *inner, *(helper.make_node(kind, given, [made]) for kind, given, made in behind)]


@pytest.mark.skipif(not CAN_INFER, reason="this onnx cannot be asked for shapes: nothing stands in for a failed value")
@given(st.lists(st.sampled_from([*_SOUND, *_UNSOUND]), min_size=2, max_size=8).filter(set(_UNSOUND).intersection))
def test_every_node_in_the_way_is_named_and_no_other(kinds):
    """Behind a failed node only unknown operators were told: of 74 nodes that were in the way of a YOLOX, one."""
    nodes, before, in_the_way = [], "x", []
    for index, kind in enumerate(kinds):
        inputs = {"Mul": [before, before], "Reshape": [before, "s"]}.get(kind, [before])
        attributes = {**_SOUND, **_UNSOUND}[kind]
        before = f"v{index}"
        nodes.append(helper.make_node(kind, inputs, [before], name=f"n{index}", **attributes))
        if kind in _UNSOUND:
            in_the_way.append(f"n{index}")
        if kind == "MaxPool":  # larger than what it reads: nothing can be known of the rest
            break
    if kind == "MaxPool":
        nodes.append(helper.make_node("Relu", [before], ["y"], name="last"))
    else:
        nodes = _between_neurons(nodes, before)
    said = _said(nodes, {"s": [-1, 0, 0, 0]}, ("n", 3, 8, 20))
    assert re.findall(r"^  \w+ '(\w+)':", said, re.MULTILINE) == in_the_way


def test_what_stands_behind_a_moved_batch_axis_is_not_blamed():
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], name="turned", perm=[1, 0, 2]),
        helper.make_node("Softmax", ["t"], ["s"], name="innocent", axis=1),
        helper.make_node("Round", ["s"], ["y"], name="curved"),
    ]
    assert re.findall(r"^  \w+ '(\w+)':", _said(nodes, {}), re.MULTILINE) == ["turned", "curved"]
