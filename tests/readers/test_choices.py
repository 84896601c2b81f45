"""Foreign models: free axes are given their sizes, one output is chosen, inputs become constants.

The oracle is onnxruntime on the model as it stands, asked for the same output.
"""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import snnrepro
from snnrepro.frameworks.onnxruntime import session
from snnrepro.network.task import task_of
from snnrepro.readers.onnx import read_onnx

TOLERANCE = 1e-5  # of the largest number: float32 sums in another order
FLOAT, UINT8, INT64 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT64


def _random(*shape, seed=0):
    return np.random.RandomState(seed).normal(0.1, 1, shape).astype(np.float32)


def _value(name, shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def _model(nodes, inputs, outputs, **weights):
    """Return a model at the operator set and IR version that every stack of the matrix reads."""
    tensors = [numpy_helper.from_array(np.array(values), name) for name, values in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, [_value(name, None) for name in outputs], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)])
    model.ir_version = 7
    return model


def _answer(model, output, **feeds):
    """Return what onnxruntime computes for an output or inner value; it must not be the same everywhere."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if output not in {value.name for value in copy.graph.output}:
        copy.graph.output.extend([onnx.ValueInfoProto(name=output)])
    wanted = session(copy, as_written=True).run([output], feeds)[0]
    assert np.ptp(wanted, axis=0).max() > 0.1 * np.abs(wanted).max() > 0, "every image has the same answer"
    return wanted


def _assert_same(found, wanted, tolerance=TOLERANCE):
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


def _convolved(shape=("n", 2, "height", "width")):
    """Return convolutions over images of any size, with three outputs that no other needs.

    Two of them can be read, one has an operator that cannot; "hidden" is an inner value, "sizes" needs no weights, and
    "fixed" no input.
    """
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["hidden"], name="first"),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("Conv", ["active", "v"], ["wide"], name="second", strides=[2, 1]),
        helper.make_node("Hardmax", ["active"], ["odd"], name="unsupported"),
        helper.make_node("Hardmax", ["odd"], ["strange"], name="unsupported too"),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Neg", ["w"], ["fixed"]),
    ]
    outputs = ["wide", "strange", "pooled", "fixed"]
    return _model(nodes, [_value("x", shape)], outputs, w=_random(3, 2, 3, 2), v=_random(4, 3, 2, 1, seed=1))


def _said(model, **chosen):
    with pytest.raises(snnrepro.ModelError) as refusal:
        snnrepro.load(model, **chosen)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


SHAPES = [
    {"x": (-1, 2, 7, 12)},
    {"x": [None, 2, 7, 12]},
    (-1, 2, 7, 12),
    (-1, -1, 7, 12),
    (5, 2, 7, 12),
    {"x": tuple(map(np.int64, (5, 2, 7, 12)))},
]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_a_free_axis_is_given_its_size(shapes):
    model, x = _convolved(), _random(5, 2, 7, 12, seed=2)
    network = snnrepro.load(model, shapes=shapes, outputs="wide")
    assert network.input_shape == (2, 7, 12)
    _assert_same(network.forward(x), _answer(model, "wide", x=x))


def test_a_size_is_not_guessed_from_another_axis():
    model, x = _convolved(), _random(3, 2, 12, 7, seed=2)
    network = snnrepro.load(model, shapes=(-1, 2, 12, 7), outputs="wide")
    _assert_same(network.forward(x), _answer(model, "wide", x=x))


def test_an_input_of_no_declared_shape_is_given_one():
    model, x = _convolved(None), _random(5, 2, 7, 12, seed=2)
    assert "not fixed: axes all; say the sizes: --shape x=-1,SIZE,..." in _said(model, outputs="wide")
    _assert_same(snnrepro.load(model, (-1, 2, 7, 12), "wide").forward(x), _answer(model, "wide", x=x))


def test_a_free_axis_without_a_size_is_told_how_to_give_it():
    said = _said(_convolved(), outputs="wide")
    assert "not fixed: axes [2, 3]; say the sizes: --shape x=-1,2,SIZE,SIZE, in Python shapes={'x': (-1, 2," in said
    assert "not fixed: axes [3];" in _said(_convolved(), shapes=(-1, 2, 7, -1), outputs="wide")


@pytest.mark.parametrize("shapes", [(-1, 3, 7, 12), (-1, 2, 7), (-1, 2, 7, 12, 1)])
def test_a_shape_that_contradicts_the_model_is_refused_with_both(shapes):
    given = ", ".join("?" if size == -1 else str(size) for size in shapes)
    said = _said(_convolved(), shapes=shapes, outputs="wide")
    assert said == f"input 'x': the shape ({given}) is chosen, the model declares (?, 2, ?, ?)"


def test_a_shape_for_another_name_is_refused_with_names_that_are_near():
    said = _said(_convolved(), shapes={"xx": (-1, 2, 7, 12)}, outputs="wide")
    assert said == "no input 'xx' needs a shape; near: 'x'"


@pytest.mark.parametrize("shapes", ["1,2,7,12", 5, (), (1, 2, 0, 12), (1, 2, 7.5, 12), (True, 2, 7, 12), {"x": 5}])
def test_what_is_no_shape_is_refused_in_words(shapes):
    assert "a shape is one whole number from 1 on for each axis" in _said(_convolved(), shapes=shapes, outputs="wide")


@pytest.mark.parametrize("output", ["wide", "pooled", "hidden", "active"])
@pytest.mark.parametrize("as_list", [False, True])
def test_a_chosen_output_is_read_and_what_it_does_not_need_is_not_looked_at(output, as_list):
    model, x = _convolved(("n", 2, 7, 12)), _random(5, 2, 7, 12, seed=2)
    network = snnrepro.load(model, outputs=[output] if as_list else output)
    _assert_same(network.forward(x), _answer(model, output, x=x))


def test_several_chosen_outputs_stand_side_by_side_in_their_order():
    model, x = _convolved(("n", 2, 7, 12)), _random(5, 2, 7, 12, seed=2)
    names = ["pooled", "wide", "hidden"]
    network = snnrepro.load(model, outputs=names)
    wanted = [_answer(model, name, x=x) for name in names]
    _assert_same(network.forward(x), np.concatenate([value.reshape(5, -1) for value in wanted], axis=1))
    assert [network.shapes[name] for name in names] == [value.shape[1:] for value in wanted]
    assert snnrepro.verify(model, None, x, outputs=names).passed
    assert task_of(network).name == "values"  # the largest of the scores of several outputs answers nothing


def test_the_weights_of_another_output_may_be_missing(tmp_path):
    model, x = _convolved(("n", 2, 7, 12)), _random(5, 2, 7, 12, seed=2)
    wanted = _answer(model, "hidden", x=x)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "v")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="nowhere.bin")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    _assert_same(snnrepro.load(tmp_path / "m.onnx", outputs="hidden").forward(x), wanted)
    assert snnrepro.verify(tmp_path / "m.onnx", None, x, outputs="hidden").passed
    assert "tensor 'v': its data file 'nowhere.bin' is missing" in _said(tmp_path / "m.onnx", outputs="wide")


def test_a_chosen_output_that_needs_the_node_in_the_way_names_it():
    model = _convolved(("n", 2, 7, 12))
    behind = ("Conv", ["strange", "v"], "a"), ("Relu", ["a"], "b"), ("Conv", ["b", "again"], "c")
    model.graph.node.extend(helper.make_node(kind, given, [made]) for kind, given, made in behind)
    model.graph.initializer.append(numpy_helper.from_array(_random(1, 4, 1, 1), "again"))
    with pytest.raises(snnrepro.UnsupportedError) as refusal:
        snnrepro.load(model, outputs="c")
    assert "Hardmax 'unsupported'" in refusal.value.problems[0]


def test_several_outputs_without_a_choice_are_listed_that_depend_on_the_input():
    said = _said(_convolved(("n", 2, 7, 12)))
    assert "choose one that depends on the input ('wide', 'strange', 'pooled'): --output-name NAME, in Python" in said


def test_an_output_that_depends_on_no_input_is_refused_with_those_that_do():
    said = _said(_convolved(("n", 2, 7, 12)), outputs="fixed")
    assert said == "output 'fixed' depends on no input; those that do: 'wide', 'strange', 'pooled'"


def test_an_unknown_output_is_refused_with_names_that_are_near():
    said = _said(_convolved(("n", 2, 7, 12)), outputs="hiden")
    assert said == (
        "the model has no value 'hiden'; near: 'hidden', 'wide'; its outputs: 'wide', 'strange', 'pooled', 'fixed'"
    )
    assert "there are: 'active', 'fixed'" in _said(_convolved(), outputs="")


def test_the_input_itself_is_no_output():
    assert "one output, computed from the input, is needed" in _said(_convolved(("n", 2, 7, 12)), outputs="x")


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (["wide", "wide"], "outputs are chosen by name, each once; got 'wide', 'wide'"),
        ([], "outputs are chosen by name, each once; got none"),
        (5, "an output is chosen by its name, got int"),
        ([5], "an output is chosen by its name, got list"),
    ],
)
def test_an_output_named_twice_or_what_is_no_name_is_refused(outputs, message):
    assert _said(_convolved(), outputs=outputs) == message


def test_what_an_if_reads_inside_is_needed_too():
    """Cut away, the If would be refused for what nothing gives, not for what it is."""
    branch = helper.make_graph([helper.make_node("Neg", ["inner"], ["z"])], "b", [], [_value("z", None)])
    nodes = [
        helper.make_node("Relu", ["x"], ["inner"]),
        helper.make_node("If", ["flag"], ["y"], name="choice", then_branch=branch, else_branch=branch),
    ]
    model, x = _model(nodes, [_value("x", ["n", 3])], ["y"], flag=np.array(True)), _random(5, 3)
    np.testing.assert_array_equal(snnrepro.load(model, outputs="y").forward(x), -np.maximum(x, 0))


def _several_inputs():
    """Return y = (x W + shift) * scale, cut to `count` columns by a slice whose end is an input."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("Add", ["product", "shift"], ["shifted"]),
        helper.make_node("Mul", ["shifted", "scale"], ["scaled"]),
        helper.make_node("Relu", ["scaled"], ["active"]),
        helper.make_node("Slice", ["active", "zero", "count", "axis"], ["y"]),
    ]
    inputs = [_value("shift", ["n", 5]), _value("x", ["n", 4]), _value("scale", []), _value("count", [1], INT64)]
    return _model(nodes, inputs, ["y"], w=_random(4, 5), zero=np.array([0]), axis=np.array([1]))


SHIFT = _random(5, seed=3)


@pytest.mark.parametrize(
    "constants",
    [
        {"shift": SHIFT, "scale": 0.75, "count": 3},
        {"shift": SHIFT.tolist(), "scale": np.float64(0.75), "count": [3]},
        {"shift": SHIFT[np.newaxis], "scale": [0.75], "count": np.array([3], np.uint8)},
    ],
)
def test_inputs_become_constants(constants):
    model, x = _several_inputs(), _random(6, 4, seed=4)
    feeds = {
        "shift": np.repeat(SHIFT[np.newaxis], 6, axis=0),
        "scale": np.array(0.75, np.float32),
        "count": np.array([3]),
    }
    network = snnrepro.load(model, constants=constants)
    assert network.output_shape == (3,)
    _assert_same(network.forward(x), _answer(model, "y", x=x, **feeds))


def test_one_number_fills_the_declared_shape():
    model, x = _several_inputs(), _random(6, 4, seed=4)
    network = snnrepro.load(model, constants={"shift": 0.5, "scale": 2, "count": 4})
    feeds = {"shift": np.full((6, 5), 0.5, np.float32), "scale": np.array(2, np.float32), "count": np.array([4])}
    _assert_same(network.forward(x), _answer(model, "y", x=x, **feeds))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    _assert_same(
        snnrepro.load(model, constants={"shift": 0.5, "scale": 2, "count": 4}).forward(x), network.forward(x), 0
    )


def test_inputs_that_the_chosen_output_does_not_need_are_not_asked_for():
    model, x = _several_inputs(), _random(6, 4, seed=4)
    _assert_same(snnrepro.load(model, outputs="product").forward(x), x @ _random(4, 5))
    said = _said(model, outputs="shifted")
    assert said.startswith("one input is needed, the model has 2: 'shift' (FLOAT (?, 5)), 'x' (FLOAT (?, 4));")


def test_several_inputs_are_named_with_type_and_shape_and_the_ways_out():
    said = _said(_several_inputs(), constants={"shift": 1})
    assert said == (
        "one input is needed, the model has 3: 'x' (FLOAT (?, 4)), 'scale' (FLOAT ()), 'count' (INT64 (1)); set all "
        "but the image to constants: --set NAME=VALUE, in Python constants={NAME: VALUE}, or choose an output that "
        "needs only one of them: --output-name NAME, outputs=NAME"
    )


def test_a_shape_without_a_name_is_for_the_only_input():
    said = _said(_several_inputs(), shapes=(-1, 4))
    assert said.startswith("a shape without a name is for a model with one input, this one has 4: 'shift'")


def test_the_default_of_an_input_can_be_replaced():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Add", ["a", "b"], ["y"])]
    inputs = [_value("x", ["n", 4]), _value("b", [5])]
    model = _model(nodes, inputs, ["y"], w=_random(4, 5), b=np.zeros(5, np.float32))
    x = _random(6, 4, seed=4)
    network = snnrepro.load(model, constants={"b": SHIFT})
    _assert_same(network.forward(x), _answer(model, "y", x=x, b=SHIFT))
    _assert_same(snnrepro.load(model).forward(x), _answer(model, "y", x=x))


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"count": 2.5}, r"the constant 'count': the model declares int64, which does not hold \[2.5\]"),
        ({"count": [1, 2]}, r"the constant 'count' has the shape \(2,\), the model declares \(1\)"),
        ({"shift": np.ones((5, 1))}, r"the constant 'shift' has the shape \(5, 1\), the model declares \(\?, 5\)"),
        ({"shifts": 1}, "no input 'shifts' can be set to a constant; near: 'shift'"),
        ({"w": 1}, "no input 'w' can be set to a constant; there are: 'count', 'scale', 'shift', 'x'"),
        ([1], "constants are numbers or arrays by the name of an input, got list"),
        ({5: 1}, "an input is named by a str, got int"),
    ],
)
def test_a_constant_that_does_not_fit_is_refused(constants, message):
    assert re.fullmatch(message, _said(_several_inputs(), constants=constants))


def test_a_constant_that_is_no_number_is_refused():
    with pytest.raises(snnrepro.DataError, match="the constant 'scale' must be numbers, got an array of <U1"):
        snnrepro.load(_several_inputs(), constants={"scale": "a"})


def _bytes(kind, nodes_before=(), name="x"):
    """Return images of a type, cast, scaled and convolved."""
    nodes = [
        *nodes_before,
        helper.make_node("Cast", [name], ["cast"], to=FLOAT),
        helper.make_node("Div", ["cast", "range"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "w"], ["y"]),
    ]
    return _model(
        nodes, [_value("x", ["n", 2, 5, 8], kind)], ["y"], w=_random(3, 2, 3, 2), range=np.array(255, np.float32)
    )


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64", "float16", "float64"])
def test_images_that_are_cast_to_float32_first_are_read_as_these_numbers(dtype):
    kind = numpy_helper.from_array(np.zeros(1, dtype)).data_type
    model, x = _bytes(kind), np.random.RandomState(0).randint(0, 100, (4, 2, 5, 8))
    wanted = _answer(model, "y", x=x.astype(dtype))
    _assert_same(snnrepro.load(model).forward(x), wanted)
    assert snnrepro.verify(model, None, x).passed


def test_images_may_be_moved_before_they_are_cast():
    model = _bytes(UINT8, [helper.make_node("Transpose", ["x"], ["moved"], perm=[0, 3, 1, 2])], "moved")
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim[1:], (5, 8, 2)):
        dim.dim_value = size
    x = np.random.RandomState(0).randint(0, 256, (4, 5, 8, 2)).astype(np.uint8)
    _assert_same(snnrepro.load(model).forward(x), _answer(model, "y", x=x))


@pytest.mark.parametrize("node", ["Neg", "Relu"])
def test_images_that_are_computed_with_before_they_are_cast_are_refused(node):
    said = _said(_bytes(TensorProto.INT32, [helper.make_node(node, ["x"], ["computed"])], "computed"))
    assert said == (
        "input 'x': float32 is needed, got type INT32 (float16, float64 and whole numbers are accepted where nothing "
        "but a Cast to float32 reads them, or before the first neurons)"
    )


def test_verify_refuses_images_that_the_models_type_does_not_hold():
    with pytest.raises(snnrepro.DataError, match="the model reads uint8, which does not hold every number"):
        snnrepro.verify(_bytes(UINT8), None, _random(4, 2, 5, 8))


def _in(kind, dtype):
    """Return a network of one type throughout, constants of nodes too."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(_random(3, 1, 1, seed=5).astype(dtype))),
        helper.make_node("Mul", ["c", "s"], ["cs"]),
        helper.make_node("Add", ["a", "cs"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    weights = {"w": _random(3, 2, 3, 2).astype(dtype), "s": np.array([2], dtype)}
    model = _model(nodes, [_value("x", ["n", 2, "h", 8], kind)], ["y"], **weights)
    model.graph.value_info.extend([_value("a", None, kind)])
    return model


def test_a_model_in_float16_is_read_as_the_same_in_float32():
    """The oracle is onnxruntime on the model written in float32 with the same numbers."""
    half, x = _in(TensorProto.FLOAT16, np.float16), _random(4, 2, 5, 8, seed=2)
    whole = _in(FLOAT, np.float32)
    for one, other in zip(whole.graph.initializer, half.graph.initializer):
        one.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(other).astype(np.float32), one.name))
    constant = whole.graph.node[1].attribute[0].t
    constant.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(constant).astype(np.float16).astype(np.float32)))
    before = half.SerializeToString()
    network = snnrepro.load(half, shapes=(-1, 2, 5, 8))
    _assert_same(network.forward(x), _answer(whole, "y", x=x))
    assert snnrepro.verify(half, None, x, shapes=(-1, 2, 5, 8)).passed
    assert half.SerializeToString() == before


def test_a_model_that_is_float16_between_its_casts_is_read():
    half = _in(TensorProto.FLOAT16, np.float16)
    x = _random(4, 2, 5, 8, seed=2)
    wanted = snnrepro.load(half, shapes=(-1, 2, 5, 8)).forward(x)
    graph = half.graph
    nodes = [helper.make_node("Cast", ["given"], ["x"], to=TensorProto.FLOAT16), *graph.node]
    nodes.append(helper.make_node("Cast", ["y"], ["z"], to=FLOAT))
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    graph.input.extend([_value("given", ["n", 2, 5, 8])])
    graph.output.extend([_value("z", None)])
    _assert_same(snnrepro.load(half).forward(x), wanted, 0)


def test_a_cast_to_float16_without_weights_rounds_on_purpose_and_is_refused():
    nodes = [helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16), helper.make_node("Relu", ["h"], ["y"])]
    for weights in ({}, {"unread": np.ones(3, np.float16)}):
        with pytest.raises(snnrepro.UnsupportedError, match="a value computed at run time stays float32"):
            snnrepro.load(_model(nodes, [_value("x", ["n", 3])], ["y"], **weights))


def test_a_file_is_read_as_the_model_in_memory_which_stays_as_it_is(tmp_path):
    model, x = _convolved(), _random(5, 2, 7, 12, seed=2)
    before = model.SerializeToString()
    onnx.save(model, str(tmp_path / "m.onnx"))
    chosen = {"shapes": (-1, 2, 7, 12), "outputs": "wide"}
    _assert_same(snnrepro.load(tmp_path / "m.onnx", **chosen).forward(x), snnrepro.load(model, **chosen).forward(x), 0)
    assert model.SerializeToString() == before
    with pytest.raises(snnrepro.ModelError, match=r"m\.onnx: the model has no value 'deep'"):
        snnrepro.load(tmp_path / "m.onnx", outputs="deep")


@pytest.mark.parametrize("as_file", [False, True])
def test_verify_compares_what_is_chosen(as_file, tmp_path):
    models = [
        (_convolved(), _random(5, 2, 7, 12, seed=2), {"shapes": (-1, 2, 7, 12), "outputs": "wide"}),
        (_several_inputs(), _random(6, 4, seed=4), {"constants": {"shift": SHIFT, "scale": 0.75, "count": 3}}),
    ]
    for model, x, chosen in models:
        given = tmp_path / "m.onnx" if as_file else model
        onnx.save(model, str(tmp_path / "m.onnx"))
        verification = snnrepro.verify(given, None, x, **chosen)
        compared = [one.layer for one in verification.comparisons if one.hop == "onnxruntime = forward"]
        assert compared[-1] == chosen.get("outputs", "y")
        assert verification.passed


def test_an_archive_takes_no_choices(tmp_path):
    network = snnrepro.load(_convolved(("n", 2, 7, 12)), outputs="wide")
    network.save(tmp_path / "n.npz")
    for chosen in ({"shapes": (-1, 2, 7, 12)}, {"outputs": "wide"}, {"constants": {"x": 1}}):
        assert "n.npz: an archive takes no shapes, outputs or constants" in _said(tmp_path / "n.npz", **chosen)
        with pytest.raises(snnrepro.ModelError, match="a network that was read takes no shapes, outputs or constants"):
            snnrepro.verify(network, None, _random(5, 2, 7, 12), **chosen)
    assert snnrepro.load(tmp_path / "n.npz").output_shape == network.output_shape


def test_free_axes_of_a_keras_model_are_given_their_sizes(keras):
    image = keras.Input((None, None, 2), name="image")
    layers = keras.layers
    hidden = layers.Conv2D(3, (3, 2), activation="relu", bias_initializer="glorot_normal")(image)
    model = keras.Model(image, layers.Dense(4)(layers.GlobalAveragePooling2D()(hidden)))
    x = _random(5, 9, 6, 2)
    for shapes in ((-1, 9, 6, 2), {"image": (None, 9, 6, None)}):
        network = snnrepro.load(model, shapes=shapes)
        _assert_same(network.forward(x), np.asarray(model(x)))
    assert snnrepro.verify(model, None, x, shapes=(-1, 9, 6, 2)).passed
    assert "say the sizes: --shape image=-1,SIZE,SIZE,2" in _said(model)
    said = _said(model, shapes=(-1, 9, 6, 3))
    assert said == "input 'image': the shape (?, 9, 6, 3) is chosen, the model declares (?, ?, ?, 2)"
    assert "no input 'picture' needs a shape" in _said(model, shapes={"picture": (-1, 9, 6, 2)})


def test_read_onnx_chooses_nothing_by_itself():
    model = _model([helper.make_node("Relu", ["x"], ["y"])], [_value("x", ["n", 3])], ["y"])
    assert read_onnx(model).output_shape == snnrepro.load(model).output_shape == (3,)
