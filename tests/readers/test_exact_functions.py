"""Piecewise linear functions and moves of numbers are read exactly; onnxruntime is the oracle, and they spike alike."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import snnrepro
from snnrepro.network.layers import ReLU
from snnrepro.readers.operators import HANDLERS

SHAPE = (4, 5, 3)
DENSE = np.random.RandomState(1).normal(0, 0.5, (3, 3)).astype(np.float32)


def _node(text, **attributes):
    op_type, *names = text.split()
    return helper.make_node(op_type, names[:-1], names[-1:], **attributes)


def _model(nodes, constants, opset=12, shape=SHAPE):
    held = [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", *shape))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)


def _wanted(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (answers,) = session.run(None, {"x": x})
    assert np.ptp(answers) > 0.1, "every number is the same"
    return answers


def _checked(model, shape=SHAPE):
    """Return the network, having the answers of onnxruntime."""
    x = np.random.RandomState(0).normal(0, 2, (7, *shape)).astype(np.float32)
    network = snnrepro.load(model)
    np.testing.assert_allclose(network.forward(x), _wanted(model, x), rtol=1e-5, atol=1e-5)
    return network


_BOUND = st.sampled_from([-2.5, -1.0, 0.0, 0.5, 1.0, 2.5]).map(np.float32)


@given(st.tuples(_BOUND, _BOUND).map(sorted), st.sampled_from(["both", "low", "high"]), st.booleans())
def test_a_clip_between_any_two_numbers_is_read(bounds, given_bounds, rectified):
    low, high = bounds
    high = high + np.float32(0.25)
    names = {"both": "low high", "low": "low", "high": "low high"}[given_bounds]
    constants = {"low": low if given_bounds != "high" else np.float32(np.finfo(np.float32).min), "high": high}
    if rectified and high <= 0:
        high = constants["high"] = np.float32(1.5)
    nodes = [_node("Relu x r")] if rectified else []
    _checked(_model([*nodes, _node(f"Clip {'r' if rectified else 'x'} {names} y")], constants))


@pytest.mark.parametrize(("low", "high"), [(-65504.0, 65504.0), (-65504.0, 1.5), (-1.5, 65504.0)])
@pytest.mark.parametrize("kind", ["Clip x low high y", "Max x low y", "Min x high y"])
def test_a_bound_that_nothing_reaches_costs_no_digits(kind, low, high):
    """As ``65504 - relu(65504 - x)`` a value had four digits left, and its neurons had to fire 65504."""
    model = _model([_node(kind)], {"low": np.float32(low), "high": np.float32(high)})
    x = np.random.RandomState(0).normal(0, 2, (7, *SHAPE)).astype(np.float32)
    x[0, 0, 0] = -1e6, 0.1, 1e6
    assert np.abs(snnrepro.load(model).forward(x) - _wanted(model, x))[1:].max() < 1e-6
    np.testing.assert_allclose(snnrepro.load(model).forward(x), _wanted(model, x), rtol=1e-6, atol=1e-6)


@given(st.sampled_from(["Max", "Min"]), st.integers(1, 3), st.integers(0, 2), st.randoms(use_true_random=False))
def test_the_larger_and_the_smaller_of_values_and_constants_are_read(kind, n_values, n_constants, random):
    nodes = [_node(f"MatMul x w{index} v{index}") for index in range(n_values)]
    constants = {f"w{i}": np.random.RandomState(i).normal(size=(3, 3)).astype(np.float32) for i in range(n_values)}
    terms = [f"v{index}" for index in range(n_values)]
    for index in range(n_constants):
        shape = random.choice([(), (3,), (5, 1), (1, 4, 1, 1)])
        constants[f"c{index}"] = np.random.RandomState(9 + index).normal(size=shape).astype(np.float32)
        terms.append(f"c{index}")
    random.shuffle(terms)
    _checked(_model([*nodes, _node(f"{kind} {' '.join(terms)} y")], constants))


@pytest.mark.parametrize("text", ["Where c x k y", "Where c k x y", "Where c x r y", "Where c k r y"])
@pytest.mark.parametrize("shape", [(3,), (5, 1), (1, 4, 1, 3), (1, 4, 5, 1)])
def test_a_choice_by_a_constant_is_read(text, shape):
    constants = {"c": np.random.RandomState(4).uniform(size=shape) > 0.5}
    constants["k"] = np.random.RandomState(5).normal(size=(4, 1, 3)).astype(np.float32)
    _checked(_model([_node("Relu x r"), _node(text)], constants))


@pytest.mark.parametrize("text", ["Abs x y", "HardSigmoid x y", "Relu x y"])
def test_other_piecewise_linear_functions_are_read(text):
    network = _checked(_model([_node(text)], {}))
    assert any(isinstance(node.layer, ReLU) for node in network.nodes)


def test_what_min_leaves_to_max_is_one_bounded_rectifier():
    network = _checked(
        _model([_node("Min x six m"), _node("Max m low y")], {"six": np.float32(6), "low": np.float32(0)})
    )
    assert [node.layer.maximum for node in network.nodes if isinstance(node.layer, ReLU)] == [6.0]


MOVES = {
    "Gather, one place": ([_node("Gather x i y", axis=2)], {"i": np.int64(-2)}),
    "Gather, twice and in another order": ([_node("Gather x i y", axis=1)], {"i": np.int64([3, 0, 0])}),
    "Gather, a table of places": ([_node("Gather x i y", axis=3)], {"i": np.int64([[2, 1], [0, 2]])}),
    "GatherND, as PyTorch takes windows of one length from a small image": (
        [
            _node("Transpose x t", perm=[2, 3, 0, 1]),
            _node("GatherND t places e"),
            _node("Transpose e u", perm=[3, 4, 0, 1, 2]),
            _node("ReduceMean u y", axes=[4], keepdims=0),
        ],
        {"places": np.random.RandomState(0).randint(-3, 3, (6, 2, 4, 2))},
    ),
    "GatherND, places of one axis": (
        [
            _node("Transpose x t", perm=[3, 2, 0, 1]),
            _node("GatherND t places e"),
            _node("Transpose e y", perm=[2, 0, 1, 3]),
        ],
        {"places": np.int64([[2], [-3]])},
    ),
    "ReduceSum": ([_node("ReduceSum x y", axes=[1, 3], keepdims=0)], {}),
    "DepthToSpace, depth first": ([_node("DepthToSpace x y", blocksize=2, mode="DCR")], {}, (8, 3, 5)),
    "DepthToSpace, columns first": ([_node("DepthToSpace x y", blocksize=2, mode="CRD")], {}, (8, 3, 5)),
    "SpaceToDepth": ([_node("SpaceToDepth x y", blocksize=3)], {}, (2, 6, 9)),
    "Expand": ([_node("ReduceMean x m", axes=[2]), _node("Expand m s y")], {"s": np.int64([1, 1, 6, 1])}),
    **{
        f"Pad, {mode}": ([_node("Pad x p y", mode=mode)], {"p": np.int64([0, 2, 1, 0, 0, 1, 3, 2])})
        for mode in ("edge", "reflect")
    },
    **{
        f"Resize, {coordinates}": (
            [_node("Resize x roi scales y", mode="linear", coordinate_transformation_mode=coordinates)],
            {"roi": np.float32([]), "scales": np.float32([1, 1, factor, 2])},
        )
        for coordinates, factor in (
            ("half_pixel", 1.7),
            ("pytorch_half_pixel", 0.6),
            ("asymmetric", 2.2),
            ("align_corners", 1.4),
        )
    },
}


@pytest.mark.parametrize("what", MOVES)
def test_what_only_moves_and_mixes_numbers_is_read(what):
    nodes, constants, *shape = MOVES[what]
    network = _checked(_model(nodes, constants, 11, *shape), *shape)
    assert not any(isinstance(node.layer, ReLU) for node in network.nodes)


@given(st.lists(st.permutations(range(4)), min_size=1, max_size=3))
def test_the_batch_axis_may_move_until_it_comes_back(orders):
    places = list(range(4))
    for order in orders:
        places = [places[axis] for axis in order]
    last = [places.index(0), *(axis for axis in range(4) if places[axis] != 0)]
    names = ["x", *(f"v{index}" for index in range(len(orders))), "y"]
    steps = zip(names, names[1:], [*orders, last])
    _checked(_model([_node(f"Transpose {source} {name}", perm=order) for source, name, order in steps], {}))


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([_node("Transpose x y", perm=[1, 0, 2, 3])], "Transpose.*the batch axis must stay first"),
        (
            [_node("Transpose x t", perm=[1, 0, 2, 3]), _node("Relu t r"), _node("Transpose r y", perm=[1, 0, 2, 3])],
            "Transpose.*the batch axis must stay first",
        ),
        ([_node("Transpose x t", perm=[1, 2, 3, 3]), _node("Transpose t y")], "does not name each of 4 axes once"),
        (
            [_node("Transpose x t", perm=[1, 2, 0, 3]), _node("GatherND t places y")],
            "GatherND.*the batch axis must stay first, got it as axis 1",
        ),
        ([_node("GatherND x places y")], "GatherND.*got 2 of 0 such axes"),
        (
            [_node("Transpose x t", perm=[1, 0, 2, 3]), _node("GatherND t places u"), _node("Transpose u y")],
            "GatherND.*got 2 of 1 such axes",
        ),
        (
            [_node("Transpose x t", perm=[1, 2, 3, 0]), _node("GatherND t far u"), _node("Transpose u y")],
            "indices into axes of .4, 5. are needed",
        ),
    ],
)
def test_a_batch_axis_that_does_not_come_back_is_refused_and_places_that_are_not_there(nodes, said):
    constants = {"places": np.int64([[1, 2], [0, 0]]), "far": np.int64([[1, 5]])}
    used = {name for node in nodes for name in node.input}
    model = _model(nodes, {name: value for name, value in constants.items() if name in used})
    with pytest.raises(snnrepro.ModelError, match=said):
        snnrepro.load(model)


def test_a_planted_fault_is_noticed(monkeypatch):
    """The smaller instead of the larger of two values."""
    monkeypatch.setitem(HANDLERS, "Max", HANDLERS["Min"])
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        _checked(_model([_node("Neg x v"), _node("Max x v y")], {}))


SPIKING = {
    "clip": [_node("MatMul x w a"), _node("Clip a low high b"), _node("MatMul b w y")],
    "hard sigmoid": [_node("MatMul x w a"), _node("HardSigmoid a b"), _node("MatMul b w y")],
    "larger of two": [_node("MatMul x w a"), _node("Max x a b"), _node("MatMul b w y")],
    "absolute value": [_node("MatMul x w a"), _node("Abs a b"), _node("MatMul b w y")],
    "resized": [
        _node("MatMul x w a"),
        _node("Relu a b"),
        _node("Resize b roi scales c", mode="linear"),
        _node("MatMul c w y"),
    ],
    "beside a constant": [
        _node("MatMul x w a"),
        _node("Relu a b"),
        _node("Shape x shape"),
        _node("Slice shape zero one n"),
        _node("Concat n rest sizes", axis=0),
        _node("Expand row sizes long"),
        _node("Concat b long c", axis=2),
        _node("MatMul c w y"),
    ],
}


@pytest.mark.parametrize("what", SPIKING)
def test_they_spike_alike_in_all_simulators_and_near_the_trained_network(what):
    constants = {
        "w": DENSE,
        "low": np.float32(-0.5),
        "high": np.float32(1.5),
        "roi": np.float32([]),
        "scales": np.float32([1, 1, 2, 1]),
        "row": np.random.RandomState(3).normal(size=(1, 4, 2, 3)).astype(np.float32),
        "zero": np.int64([0]),
        "one": np.int64([1]),
        "rest": np.int64([4, 2, 3]),
    }
    used = {name for node in SPIKING[what] for name in node.input}
    model = _model(SPIKING[what], {name: value for name, value in constants.items() if name in used}, 11)
    network = _checked(model)
    x = np.random.RandomState(2).normal(0, 2, (200, *SHAPE)).astype(np.float32)
    spiking = snnrepro.convert(network, calibration=x, n_steps=32)
    event, plain = (spiking.run(x[:20], simulator=name) for name in ("event", "plain"))
    for name, counts in plain.spike_counts.items():
        np.testing.assert_array_equal(event.spike_counts[name], counts)
        assert counts.sum() > 100, "hardly a spike"
    wanted = network.forward(x[:20]).reshape(-1)
    assert np.corrcoef(event.scores.reshape(-1), wanted)[0, 1] > 0.99
