"""Whatever bytes or nodes come, a model is read or refused with a ModelError: three kinds of fuzzing, counted."""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, helper, numpy_helper

import snnrepro
from tests.helpers.strategies import model_proto

RNG = np.random.RandomState(0)
QUIET = settings(max_examples=500, suppress_health_check=list(HealthCheck), database=None)


def _node(op_type, inputs, output, **attributes):
    return helper.make_node(op_type, inputs, [output], name=op_type, **attributes)


def _floats(name, *shape):
    return numpy_helper.from_array(RNG.rand(*shape).astype(np.float32), name)


def _ints(name, *values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def _convolutional():
    nodes = [
        _node("Conv", ["x", "k", "b"], "c", pads=[1, 0, 1, 0], strides=[1, 2], kernel_shape=[3, 2]),
        _node("Relu", ["c"], "r"),
        _node("MaxPool", ["r"], "p", kernel_shape=[2, 2], strides=[2, 1]),
        _node("ConvTranspose", ["p", "t"], "u", strides=[2, 2], group=2),
        _node("GlobalAveragePool", ["u"], "g"),
        _node("Flatten", ["g"], "f", axis=1),
        _node("Gemm", ["f", "w", "d"], "y", transB=1, alpha=0.5),
    ]
    tensors = [
        _floats("k", 4, 2, 3, 2),
        _floats("b", 4),
        _floats("t", 4, 3, 2, 2),
        _floats("w", 5, 6),
        _floats("d", 5),
    ]
    return model_proto(nodes, tensors, "x", (2, 6, 5), "y")


def _shapes():
    nodes = [
        _node("Shape", ["x"], "s"),
        _node("Gather", ["s", "first"], "n", axis=0),
        _node("Concat", ["n", "rest"], "sizes", axis=0),
        _node("Reshape", ["x", "sizes"], "a"),
        _node("Transpose", ["a"], "t", perm=[0, 2, 1]),
        _node("Pad", ["t", "pads"], "p"),
        _node("Slice", ["p", "from", "to"], "l"),
        _node("MatMul", ["l", "w"], "m"),
        _node("ConstantOfShape", ["four"], "o"),
        _node("Add", ["m", "o"], "y"),
    ]
    tensors = [
        _ints("first", 0),
        _ints("rest", 6, -1),
        _ints("pads", 0, 0, 1, 0, 1, 0),
        _ints("from", 0, 0),
        _ints("to", 2**31, 3),
        _floats("w", 7, 4),
        _ints("four", 4),
    ]
    return model_proto(nodes, tensors, "x", (3, 4), "y")


def _residual():
    nodes = [
        _node("BatchNormalization", ["x", "s", "b", "m", "v"], "n"),
        _node("AveragePool", ["n"], "a", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
        _node("Add", ["a", "x"], "r"),
        _node("Clip", ["r", "zero", "six"], "c"),
        _node("Resize", ["c", "", "scales"], "u"),
        _node("ReduceMean", ["u"], "h", axes=[2, 3], keepdims=0),
        _node("Softmax", ["h"], "y", axis=1),
    ]
    tensors = [_floats(name, 3) for name in "sbmv"]
    tensors += [
        numpy_helper.from_array(np.array(value, np.float32), name)
        for name, value in (("zero", 0), ("six", 6), ("scales", [1, 1, 2, 3]))
    ]
    model = model_proto(nodes, tensors, "x", (3, 4, 5), "y")
    model.opset_import[0].version = 11
    return model


MODELS = {one.__name__: one() for one in (_convolutional, _shapes, _residual)}
BYTES = {name: model.SerializeToString() for name, model in MODELS.items()}
INTEGERS = st.one_of(st.integers(-3, 8), st.sampled_from([2**31, 2**31 - 1, 2**62, 2**63 - 1, -(2**63), 2**20]))


@pytest.fixture(scope="module")
def outcomes():
    """How many inputs of each kind were read and refused; printed when the last test of the file is done."""
    counts = Counter()
    yield counts
    print("\nfuzzed:", ", ".join(f"{kind} {answer} {number}" for (kind, answer), number in sorted(counts.items())))


def _try(kind, outcomes, model):
    try:
        snnrepro.load(model)
        outcomes[kind, "read"] += 1
    except snnrepro.ModelError:
        outcomes[kind, "refused"] += 1


@pytest.mark.parametrize("name", MODELS)
def test_the_models_that_are_fuzzed_are_read(name):
    network = snnrepro.load(MODELS[name])
    assert np.isfinite(network.forward(np.ones((2, *network.input_shape)))).all()


@QUIET
@given(content=st.binary(max_size=300))
def test_random_bytes_are_refused(outcomes, tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzzed.onnx"
    path.write_bytes(content)
    _try("bytes", outcomes, path)


@QUIET
@given(data=st.data())
def test_a_model_with_changed_bytes_is_read_or_refused(outcomes, tmp_path_factory, data):
    content = bytearray(BYTES[data.draw(st.sampled_from(sorted(BYTES)))])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        change = data.draw(st.sampled_from(["flip", "set", "insert", "delete"]))
        if change == "flip":
            content[place] ^= 1 << data.draw(st.integers(0, 7))
        elif change == "set":
            content[place] = data.draw(st.integers(0, 255))
        elif change == "insert":
            content[place:place] = data.draw(st.binary(min_size=1, max_size=4))
        else:
            del content[place : place + data.draw(st.integers(1, 4))]
    path = tmp_path_factory.getbasetemp() / "flipped.onnx"
    path.write_bytes(bytes(content))
    _try("changed bytes", outcomes, path)


def _mutate(model, data):
    graph = model.graph
    change = data.draw(st.sampled_from(["attribute", "type", "order", "delete", "dims", "constant", "wire", "input"]))
    node = graph.node[data.draw(st.integers(0, len(graph.node) - 1))]
    tensor = graph.initializer[data.draw(st.integers(0, len(graph.initializer) - 1))]
    if change == "attribute" and node.attribute:
        attribute = node.attribute[data.draw(st.integers(0, len(node.attribute) - 1))]
        attribute.i = data.draw(INTEGERS)
        if attribute.ints:
            attribute.ints[data.draw(st.integers(0, len(attribute.ints) - 1))] = data.draw(INTEGERS)
    elif change == "type" and node.attribute:
        value = data.draw(st.sampled_from([b"SAME_UPPER", 1.5, 1, [1.0, 2.0], [1, 1], [b"a"], tensor]))
        attribute = helper.make_attribute(node.attribute[0].name, value)
        node.attribute[0].CopyFrom(attribute)
    elif change == "order":
        order = data.draw(st.permutations(range(len(graph.node))))
        nodes = [graph.node[index] for index in order]
        copies = [type(one).FromString(one.SerializeToString()) for one in nodes]
        del graph.node[:]
        graph.node.extend(copies)
    elif change == "delete":
        del graph.node[data.draw(st.integers(0, len(graph.node) - 1))]
    elif change == "dims":
        tensor.dims[:] = data.draw(st.lists(INTEGERS, max_size=5))
    elif change == "constant":
        dtype = data.draw(st.sampled_from([np.float32, np.int64, np.float16]))
        shape = data.draw(st.lists(st.integers(0, 4), max_size=4))
        filling = data.draw(INTEGERS if dtype == np.int64 else st.sampled_from([0.0, -1.0, 1e4, np.nan, np.inf]))
        tensor.CopyFrom(numpy_helper.from_array(np.full(shape, filling, dtype), tensor.name))
    elif change == "wire" and node.input:
        names = [value for one in graph.node for value in (*one.input, *one.output)]
        node.input[data.draw(st.integers(0, len(node.input) - 1))] = data.draw(st.sampled_from(names))
    else:
        dims = graph.input[0].type.tensor_type.shape.dim
        dims[data.draw(st.integers(0, len(dims) - 1))].dim_value = data.draw(INTEGERS)


@QUIET
@given(data=st.data())
def test_a_model_with_changed_nodes_is_read_or_refused(outcomes, data):
    model = ModelProto.FromString(BYTES[data.draw(st.sampled_from(sorted(BYTES)))])
    for _ in range(data.draw(st.integers(1, 2))):
        if model.graph.node:
            _mutate(model, data)
    _try("changed nodes", outcomes, model)


def test_enough_of_both_answers_came(outcomes, request):
    if not sum(outcomes.values()):
        pytest.skip("the fuzzing above did not run")
    if "PYTEST_XDIST_WORKER" in os.environ and len({kind for kind, _ in outcomes}) < 3:
        pytest.skip("a part of the fuzzing above ran in another process")
    assert sum(outcomes.values()) >= 1400
    assert outcomes["bytes", "refused"] >= 400
    assert min(outcomes["changed bytes", "refused"], outcomes["changed nodes", "refused"]) >= 50
    assert min(outcomes["changed bytes", "read"], outcomes["changed nodes", "read"]) >= 20
