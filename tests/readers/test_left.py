"""What cannot be read before the first neurons or behind the last ones stays as it is: onnxruntime computes it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

import snnrepro
from snnrepro.frameworks.onnxruntime import session
from snnrepro.network.layers import OnnxPart, ReLU
from snnrepro.network.task import task_of
from snnrepro.readers.stand_ins import CAN_INFER
from snnrepro.spiking.prepare import prepare
from snnrepro.spiking.synops import shares
from tests.helpers.command_line import run_command

pytestmark = pytest.mark.skipif(not CAN_INFER, reason="without the inference of onnx 1.17 nothing is left as it is")

HIDDEN, CLASSES = 9, 6


def _weights(name, *shape, seed=0):
    values = np.random.RandomState(seed).normal(size=shape) / np.sqrt(shape[0])
    return numpy_helper.from_array(values.astype(np.float32), name)


def _ints(name, *values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def _model(nodes, constants, shape, batch="n", kind=TensorProto.FLOAT):
    x = helper.make_tensor_value_info("x", kind, (batch, *shape))
    made = [helper.make_node(op, given, [output], **attributes) for op, given, output, attributes in nodes]
    graph = helper.make_graph(made, "g", [x], [ValueInfoProto(name="y")], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 7
    return model


def _dense(source, output):
    """Return two layers of weights with neurons between them, and their weights."""
    nodes = [("MatMul", [source, "w"], "h", {}), ("Relu", ["h"], "r", {}), ("MatMul", ["r", "v"], output, {})]
    return nodes, [_weights("w", 12, HIDDEN), _weights("v", HIDDEN, CLASSES, seed=1)]


def _case(name):
    """Return a model, the shape of an image, and the operators that are left."""
    one = numpy_helper.from_array(np.array(1, np.int64), "one")
    if name == "head":
        nodes, constants = _dense("a", "y")
        return _model([("CumSum", ["x", "one"], "a", {}), *nodes], [*constants, one], (12,)), ("CumSum",)
    if name == "answer":
        nodes, constants = _dense("x", "b")
        return _model([*nodes, ("ArgMax", ["b"], "y", {"axis": 1, "keepdims": 0})], constants, (12,)), ("ArgMax",)
    if name == "both":
        nodes, constants = _dense("a", "b")
        ends = [("CumSum", ["x", "one"], "a", {})], [("CumSum", ["b", "one"], "c", {}), ("Softmax", ["c"], "y", {})]
        return _model([*ends[0], *nodes, *ends[1]], [*constants, one], (12,)), ("CumSum", "CumSum", "Softmax")
    if name == "two readouts":
        nodes, constants = _dense("x", "b")
        nodes += [("MatMul", ["r", "u"], "c", {}), ("Mod", ["b", "c"], "y", {"fmod": 1})]
        return _model(nodes, [*constants, _weights("u", HIDDEN, CLASSES, seed=2)], (12,)), ("Mod",)
    if name == "shape of a readout":
        nodes, constants = _dense("x", "b")
        nodes += [("CumSum", ["b", "one"], "c", {}), ("Shape", ["r"], "s", {}), ("Gather", ["s", "zero"], "t", {})]
        nodes += [("Concat", ["t", "rest"], "z", {"axis": 0}), ("Reshape", ["c", "z"], "y", {})]
        return _model(nodes, [*constants, one, _ints("zero", 0), _ints("rest", 2, 3)], (12,)), ("CumSum",)
    if name == "words":
        nodes = [("Gather", ["t", "x"], "e", {}), ("Transpose", ["e"], "u", {"perm": [0, 2, 1]})]
        nodes += [("Conv", ["u", "k"], "c", {}), ("Relu", ["c"], "r", {}), ("Conv", ["r", "l"], "d", {})]
        nodes += [("Relu", ["d"], "s", {}), ("GlobalMaxPool", ["s"], "y", {})]
        constants = [_weights("t", 30, 4), _weights("k", 5, 4, 3), _weights("l", 6, 5, 2)]
        return _model(nodes, constants, (9,), kind=TensorProto.INT64), ("Gather",)
    nodes = [  # "recurrent": the sequence comes first, behind it the batch
        ("Conv", ["x", "k"], "c", {"pads": [1, 1]}),
        ("Relu", ["c"], "r", {}),
        ("Conv", ["r", "l"], "d", {"pads": [1, 1]}),
        ("Relu", ["d"], "e", {}),
        ("Transpose", ["e"], "t", {"perm": [2, 0, 1]}),
        ("LSTM", ["t", "W", "R"], "seq", {"hidden_size": 2}),
        ("Squeeze", ["seq", "ones"], "q", {}),
        ("Transpose", ["q"], "u", {"perm": [1, 0, 2]}),
        ("ReduceMean", ["u"], "y", {"axes": [1], "keepdims": 0}),
    ]
    constants = [_weights("k", 5, 3, 3), _weights("l", 4, 5, 3), _weights("W", 1, 8, 4), _weights("R", 1, 8, 2)]
    left = ("Transpose", "LSTM", "Squeeze", "Transpose", "ReduceMean")
    return _model(nodes, [*constants, _ints("ones", 1)], (3, 11)), left


CASES = ["head", "answer", "both", "two readouts", "shape of a readout", "words", "recurrent"]


def _images(model, n=20):
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim][1:]
    if model.graph.input[0].type.tensor_type.elem_type == TensorProto.INT64:
        return np.random.RandomState(3).randint(30, size=(n, *shape))
    return np.random.RandomState(3).uniform(size=(n, *shape)).astype(np.float32)


def _answers(model, x):
    return session(model).run(None, {"x": x})[0]


@pytest.mark.parametrize("case", CASES)
def test_a_network_with_parts_left_answers_as_onnxruntime_does(case):
    model, left = _case(case)
    x = _images(model)
    network = snnrepro.load(model)
    parts = [node.layer for node in network.nodes if isinstance(node.layer, OnnxPart)]
    assert set(left) <= {operator for part in parts for operator in part.operators}
    assert any(isinstance(node.layer, ReLU) for node in network.nodes)
    wanted = _answers(model, x)
    np.testing.assert_allclose(network.forward(x), wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
    assert len(np.unique(wanted)) > 1
    np.testing.assert_allclose(network.forward(x[7:8]), network.forward(x)[7:8], rtol=1e-4, atol=1e-6)  # in every batch
    assert snnrepro.verify(model, None, x).passed


@pytest.mark.parametrize("case", CASES)
def test_its_spiking_network_is_the_same_in_every_simulator_and_archive(case, tmp_path):
    model, _ = _case(case)
    x = _images(model)
    spiking = snnrepro.convert(model, calibration=x, n_steps=8)
    spiking.save(tmp_path / "s.npz")
    run = spiking.run(x[:5])
    assert sum(counts.sum() for counts in run.spike_counts.values()) > 0
    np.testing.assert_array_equal(snnrepro.load_spiking(tmp_path / "s.npz").run(x[:5]).scores, run.scores)
    for simulator in ("plain", "nengo"):
        pytest.importorskip("nengo") if simulator == "nengo" else None
        other = spiking.run(x[:5], simulator=simulator)
        for name, counts in run.spike_counts.items():
            np.testing.assert_array_equal(other.spike_counts[name], counts)
        np.testing.assert_allclose(other.scores, run.scores, atol=1e-5)
    if case != "answer":
        assert np.corrcoef(spiking.run(x, 32).scores.ravel(), _answers(model, x).ravel())[0, 1] > 0.9


def test_what_is_left_is_neither_hidden_nor_more_than_half(tmp_path):
    """A network that is nothing but an LSTM behind one small convolution is no spiking network."""
    nodes = [("Conv", ["x", "k"], "c", {}), ("Relu", ["c"], "r", {}), ("Transpose", ["r"], "t", {"perm": [2, 0, 1]})]
    nodes += [("LSTM", ["t", "W", "R"], "q", {"hidden_size": 4}), ("Squeeze", ["q", "ones"], "u", {})]
    nodes += [("Transpose", ["u"], "y", {"perm": [1, 0, 2]})]
    constants = [_weights("k", 2, 3, 2), _weights("W", 1, 16, 2), _weights("R", 1, 16, 4), _ints("ones", 1)]
    model = _model(nodes, constants, (3, 11))
    steps, x = 10, _images(model)
    counted = shares(prepare(snnrepro.load(model)))
    assert (counted.spiking, counted.image, counted.as_is) == (0, steps * 2 * 3 * 2, steps * (16 * 2 + 16 * 4))
    with pytest.raises(
        snnrepro.ModelError, match=r"88\.9 % of the .*Transpose, LSTM, Squeeze.*at most 50 %.*most_as_is=1"
    ):
        snnrepro.convert(model, calibration=x)
    assert snnrepro.convert(model, calibration=x, most_as_is=0.9).run(x).scores.shape == (20, steps, 4)
    with pytest.raises(snnrepro.ModelError, match="a share from 0 to 1, got 2"):
        snnrepro.convert(model, calibration=x, most_as_is=2)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    np.savez(tmp_path / "x.npz", x=x)
    said = run_command("inspect", tmp_path / "m.onnx").stdout
    assert "88.9 % in parts that stay as they are" in said
    assert "every node can be converted or stays as it is" in said
    part = json.loads(run_command("inspect", tmp_path / "m.onnx", "--json").stdout)["layers"][-1]
    assert (part["operators"], part["role"]) == (["Transpose", "LSTM", "Squeeze"], "readout")
    assert part["parameters"] == 16 * 2 + 16 * 4 + 1  # and where it is squeezed
    command = ["convert", tmp_path / "m.onnx", "-o", tmp_path / "s.npz", "--calibration", tmp_path / "x.npz"]
    assert "--most-as-is 1" in run_command(*command).stderr
    assert run_command(*command, "--most-as-is", "1").exit_code == 0


def test_the_number_of_a_class_is_judged_as_that():
    model, _ = _case("answer")
    x, network = _images(model), snnrepro.load(_case("answer")[0])
    task, wanted = task_of(network), _answers(model, x)
    assert (task.name, task.figure, task.n_classes) == ("labels", "accuracy", CLASSES)
    assert task.merit(task.answers(network.forward(x)), task.labels(wanted, len(x))).percent == 100
    with pytest.raises(snnrepro.DataError, match=r"label .* is 6"):
        task.labels(np.full(len(x), CLASSES), len(x))


def _inside():
    nodes, constants = _dense("x", "b")
    nodes += [("CumSum", ["b", "one"], "c", {}), ("MatMul", ["c", "u"], "d", {}), ("Relu", ["d"], "e", {})]
    nodes += [("MatMul", ["e", "u"], "y", {})]
    one = numpy_helper.from_array(np.array(1, np.int64), "one")
    return _model(nodes, [*constants, one, _weights("u", CLASSES, CLASSES)], (12,))


def _alone():
    one = numpy_helper.from_array(np.array(1, np.int64), "one")
    return _model([("CumSum", ["x", "one"], "y", {})], [one], (12,))


def _damaged():
    model, _ = _case("answer")
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.full((HIDDEN, CLASSES), np.nan, np.float32), "v"))
    return model


def _of_a_fixed_batch():
    nodes, constants = _dense("x", "b")
    return _model([*nodes, ("ArgMax", ["b"], "y", {"axis": 1})], constants, (12,), batch=3)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (_inside, "CumSum '#3': this operator is not supported"),
        (_alone, "CumSum '#0': this operator is not supported"),
        (_damaged, "MatMul '#2'.*NaN"),
        (_of_a_fixed_batch, "ArgMax '#3': this operator is not supported"),
    ],
)
def test_what_cannot_be_left_is_refused_by_its_name(model, message):
    """Between neurons; with nothing that spikes; numbers that are none; several images at once."""
    with pytest.raises(snnrepro.UnsupportedError, match=message):
        snnrepro.load(model())


def test_a_part_whose_shape_nobody_knows_before_it_is_computed_says_so():
    nodes, constants = _dense("x", "b")
    model = _model([*nodes, ("NonZero", ["b"], "y", {})], constants, (12,))
    with pytest.raises(
        snnrepro.UnsupportedError, match=r"NonZero '#3': .*not supported; it cannot be left .*the shape of"
    ):
        snnrepro.load(model)


def test_the_batch_axis_of_an_output_may_stand_elsewhere():
    """As a recurrent layer of PyTorch gives it: the sequence, then the batch."""
    nodes = [("Conv", ["x", "k"], "c", {"pads": [1, 1]}), ("Relu", ["c"], "r", {})]
    nodes += [("Transpose", ["r"], "t", {"perm": [2, 0, 1]}), ("LSTM", ["t", "W", "R"], "q", {"hidden_size": 2})]
    nodes += [("Squeeze", ["q", "ones"], "y", {})]
    constants = [_weights("k", 4, 3, 3), _weights("W", 1, 8, 4), _weights("R", 1, 8, 2), _ints("ones", 1)]
    model = _model(nodes, constants, (3, 11))
    x, network = _images(model), snnrepro.load(model)
    wanted = _answers(model, x)
    assert wanted.shape == (11, 20, 2)
    np.testing.assert_allclose(network.forward(x), wanted.transpose(1, 0, 2), rtol=1e-5, atol=1e-6)
    assert snnrepro.verify(model, None, x).passed


@pytest.mark.parametrize("declared", [4, 5])
def test_a_shape_that_the_model_alone_knows_is_believed_until_it_is_computed(declared):
    nodes, constants = _dense("x", "b")
    kept = numpy_helper.from_array(np.array([1, 0, 1, 1, 0, 1], bool), "kept")
    model = _model([*nodes, ("Compress", ["b", "kept"], "y", {"axis": 1})], [*constants, kept], (12,))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", declared)))
    x, network = _images(model), snnrepro.load(model)
    if declared == 4:
        np.testing.assert_allclose(network.forward(x), _answers(model, x), rtol=1e-5, atol=1e-6)
    else:
        with pytest.raises(snnrepro.ModelError, match="onnxruntime cannot compute a part of the model"):
            network.forward(x)


@pytest.mark.parametrize("condition", [True, False])
def test_the_branch_of_an_if_with_a_constant_condition_is_read(condition):
    """As PyTorch's older exporter writes a squeeze: nested, with names that both branches have, and some of outside."""

    def branch(name, nodes, constants=()):
        made = [helper.make_node(op, given, [output], **attributes) for op, given, output, attributes in nodes]
        return helper.make_graph(made, name, [], [ValueInfoProto(name=made[-1].output[0])], constants)

    inner = {
        "then_branch": branch("a", [("Relu", ["b"], "i", {})]),
        "else_branch": branch("b", [("Neg", ["b"], "i", {})]),
    }
    double = numpy_helper.from_array(np.float32(2), "two")
    branches = {
        "then_branch": branch("c", [("Mul", ["h", "two"], "b", {}), ("If", ["flag"], "i", inner)], [double]),
        "else_branch": branch("d", [("Neg", ["h"], "b", {}), ("If", ["flag"], "i", inner)]),
    }
    flag = numpy_helper.from_array(np.array(condition), "flag")
    nodes = [("MatMul", ["x", "w"], "h", {}), ("If", ["flag"], "r", branches), ("MatMul", ["r", "v"], "y", {})]
    model = _model(nodes, [_weights("w", 12, HIDDEN), _weights("v", HIDDEN, CLASSES, seed=1), flag], (12,))
    before, x = model.SerializeToString(), _images(model)
    network = snnrepro.load(model)
    np.testing.assert_allclose(network.forward(x), _answers(model, x), rtol=1e-5, atol=1e-6)
    assert not any(isinstance(node.layer, OnnxPart) for node in network.nodes)
    assert model.SerializeToString() == before


def test_a_part_that_is_no_model_is_refused_when_it_is_computed():
    part = OnnxPart(np.arange(40, dtype=np.uint8), ((12,),), (12,))
    with pytest.raises(snnrepro.ModelError, match="onnxruntime cannot compute a part of the model"):
        part(np.ones((2, 12), np.float32))
