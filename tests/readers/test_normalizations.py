"""Normalisations at run time, as operators or as exporters spell them, give the numbers of onnxruntime and Keras."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import snnrepro
from snnrepro.network.layers import Divide, Function, Normalize, ReLU
from snnrepro.readers.operators import HANDLERS
from snnrepro.spiking.prepare import prepare
from snnrepro.spiking.schedule import curved_inside, graded_inside


def _node(text, **attributes):
    op_type, *names = text.split()
    return helper.make_node(op_type, names[:-1], names[-1:], **attributes)


def _model(nodes, constants, shape, opset=13):
    held = [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", *shape))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7 if opset < 18 else 8)


def _checked(model, shape, seed=0):
    """Return our network of the model, after its numbers were found to be those of onnxruntime."""
    x = np.random.RandomState(seed).normal(0.5, 2, (5, *shape)).astype(np.float32)
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:
        said = str(error).lower()
        if "opset" not in said and "not a registered" not in said and "not implemented" not in said:
            raise
        pytest.skip(f"this onnxruntime is older than the operator: {error}")
    wanted = session.run(None, {"x": x})[0]
    network = snnrepro.load(model)
    assert wanted.std() > 0.05
    np.testing.assert_allclose(network.forward(x), wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
    return network


def _random(*shape):
    return np.random.RandomState(sum(shape) + 7).normal(0.3, 1, shape).astype(np.float32)


_SIZES = st.lists(st.integers(2, 5), min_size=2, max_size=3)


@settings(max_examples=15)
@given(_SIZES, st.data())
def test_a_layer_normalisation_runs_over_its_axes(sizes, data):
    axis = data.draw(st.integers(1, len(sizes)))
    axis -= (len(sizes) + 1) * data.draw(st.booleans())
    own = sizes[axis - 1 if axis > 0 else axis :]
    constants = {"scale": _random(*own), **({"offset": _random(*own)} if data.draw(st.booleans()) else {})}
    node = _node(
        f"LayerNormalization x {' '.join(constants)} y", axis=axis, epsilon=data.draw(st.sampled_from([1e-5, 0.1]))
    )
    network = _checked(_model([node], constants, sizes, 17), sizes)
    assert isinstance(network.nodes[0].layer, Normalize)


@pytest.mark.parametrize(("opset", "n_scales"), [(18, 3), (21, 6)])
def test_a_group_normalisation_has_factors_by_group_or_by_channel(opset, n_scales):
    shape, constants = (6, 5, 4), {"scale": _random(n_scales), "offset": _random(n_scales + 1)[1:]}
    node = _node("GroupNormalization x scale offset y", num_groups=3, epsilon=0.02)
    _checked(_model([node], constants, shape, opset), shape)


OPERATORS = {
    "InstanceNormalization": (_node("InstanceNormalization x scale offset y", epsilon=0.02), 13),
    "RMSNormalization": (_node("RMSNormalization x last y", epsilon=0.1), 23),
    "LpNormalization, 1": (_node("LpNormalization x y", axis=1, p=1), 13),
    "LpNormalization, 2": (_node("LpNormalization x y", axis=-1), 13),
    "LRN": (_node("LRN x y", size=3, alpha=0.3, beta=0.6, bias=0.7), 13),
    "LRN, more than there are": (_node("LRN x y", size=5, alpha=0.5), 13),
    "ReduceL2": (_node("ReduceL2 x y", axes=[1, 3], keepdims=0), 13),
    "ReduceSumSquare": (_node("ReduceSumSquare x y", axes=[-2]), 13),
    "Div, one number by all": (_node("Div one x y"), 13),
    "Div, a number a channel by all": (_node("Div column x y"), 13),
}


@pytest.mark.parametrize("what", OPERATORS)
def test_an_operator_gives_the_numbers_of_onnxruntime(what):
    shape, (node, opset) = (4, 5, 3), OPERATORS[what]
    constants = {"scale": _random(4), "offset": _random(5)[1:], "last": _random(3), "one": np.float32(0.7)}
    constants["column"] = _random(4, 1, 1)
    used = {name: values for name, values in constants.items() if name in node.input}
    _checked(_model([node], used, shape, opset), shape)


def test_a_mean_variance_normalisation_runs_over_its_axes():
    """The oracle is the formula: onnxruntime's kernels of some versions know other axes only."""
    network = snnrepro.load(_model([_node("MeanVarianceNormalization x y", axes=[1, -1])], {}, (4, 5, 3)))
    x = np.random.RandomState(0).normal(0.5, 2, (5, 4, 5, 3))
    wanted = (x - x.mean((1, 3), keepdims=True)) / x.std((1, 3), keepdims=True)
    np.testing.assert_allclose(network.forward(x), wanted, atol=1e-5)


def test_a_quotient_is_broadcast():
    nodes = [_node("ReduceMax x m", axes=[2]), _node("Div x m y")]
    network = _checked(_model(nodes, {}, (4, 5, 3)), (4, 5, 3))
    assert isinstance(network.nodes[-1].layer, Divide)


_MEAN = [_node("ReduceMean x m", axes=[-1]), _node("Sub x m d")]
_VARIANCE = [_node("ReduceMean q v", axes=[-1]), _node("Add v eps w")]
SPELT = {
    "PyTorch: the root of a power": [
        *_MEAN,
        _node("Pow d two q"),
        *_VARIANCE,
        _node("Sqrt w r"),
        _node("Div d r z"),
        _node("Mul z scale s"),
        _node("Add s offset y"),
    ],
    "a square as a product, a reciprocal root": [
        *_MEAN,
        _node("Mul d d q"),
        *_VARIANCE,
        _node("Sqrt w r"),
        _node("Reciprocal r i"),
        _node("Mul d i y"),
    ],
    "a power of minus a half": [
        *_MEAN,
        _node("Mul d d q"),
        *_VARIANCE,
        _node("Pow w minus_half i"),
        _node("Mul d i y"),
    ],
    "TensorFlow: the factor first, the mean last": [
        *_MEAN,
        _node("Mul d d q"),
        *_VARIANCE,
        _node("Sqrt w r"),
        _node("Reciprocal r i"),
        _node("Mul i scale a"),
        _node("Mul x a b"),
        _node("Mul m a c"),
        _node("Sub offset c e"),
        _node("Add b e y"),
    ],
    "a root mean square": [
        _node("Pow x two q"),
        *_VARIANCE,
        _node("Sqrt w r"),
        _node("Div x r y"),
    ],
    "PyTorch: normalize": [
        _node("ReduceL2 x v", axes=[-1]),
        _node("Clip v tiny w"),
        _node("Shape x all"),
        _node("Expand w all r"),
        _node("Div x r y"),
    ],
    "Keras: a reciprocal root that is bounded": [
        _node("Mul x x q"),
        _node("ReduceSum q last v"),
        _node("Sqrt v r"),
        _node("Reciprocal r i"),
        _node("Min i huge w"),
        _node("Mul x w y"),
    ],
    "TensorFlow: l2_normalize": [
        _node("Mul x x q"),
        _node("ReduceSum q last v"),
        _node("Max v tiny w"),
        _node("Sqrt w r"),
        _node("Reciprocal r i"),
        _node("Mul x i y"),
    ],
}


def _spelt(spelt):
    constants = {"two": np.float32(2), "eps": np.float32(1e-3), "minus_half": np.float32(-0.5), "scale": _random(3)}
    constants.update(offset=_random(4)[1:], tiny=np.float32(1e-12), huge=np.float32(1e6), last=np.int64([-1]))
    used = {name for node in SPELT[spelt] for name in node.input}
    return _model(SPELT[spelt], {name: values for name, values in constants.items() if name in used}, (4, 3))


@pytest.mark.parametrize("spelt", SPELT)
def test_what_exporters_spell_out_is_computed_from_means_and_nothing_of_it_is_fitted(spelt):
    network = _checked(_spelt(spelt), (4, 3))
    assert not any(isinstance(node.layer, ReLU) for node in network.nodes)
    assert curved_inside(network) == []
    assert {type(node.layer) for node in graded_inside(network)} >= {Function}


def test_a_function_that_is_not_algebraic_is_fitted_all_the_same():
    nodes = [_node("ReduceMean x m", axes=[-1]), _node("Exp m e"), _node("Div x e y")]
    network = _checked(_model(nodes, {}, (4, 3)), (4, 3))
    assert [node.layer.formula for node in curved_inside(network)] == ["exp(x)"]


def test_where_all_is_0_nothing_is_divided():
    """As ONNX has it for LpNormalization."""
    for p in (1, 2):
        network = snnrepro.load(_model([_node("LpNormalization x y", axis=1, p=p)], {}, (4, 3)))
        assert not network.forward(np.zeros((2, 4, 3))).any()


REFUSED = {
    "over the batch": (_node("MeanVarianceNormalization x y"), 13, "axis 0 is the batch axis"),
    "a power that is not known": (_node("LpNormalization x y", p=3), 22, "p is 3; 1 and 2 are accepted"),
    "groups that do not fit": (_node("GroupNormalization x s s y", num_groups=3), 21, "3 groups of the channels of"),
    "too few factors": (_node("GroupNormalization x s s y", num_groups=2), 21, "must be 4 numbers each"),
    "no window": (_node("LRN x y", size=0), 13, "a window of 0 channels"),
    "factors computed at run time": (_node("LayerNormalization x x y"), 17, "the factor must be a constant"),
    "no axes": (_node("ReduceL2 x y", noop_with_empty_axes=1), 18, "there is nothing to sum over"),
    "no space": (_node("InstanceNormalization f s s y"), 13, "a value with spatial axes is needed"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_read_is_refused_with_the_reason(what):
    node, opset, reason = REFUSED[what]
    constants = {"s": _random(3)} if "s" in node.input else {}
    nodes = [_node("Flatten x f"), node] if "f" in node.input else [node]
    with pytest.raises(snnrepro.UnsupportedError, match=reason):
        snnrepro.load(_model(nodes, constants, (4, 5, 3), opset))


def test_a_planted_fault_is_noticed(monkeypatch):
    """A window of channels that begins one later."""
    original = HANDLERS["LRN"]

    def turned(call, x, *, size, alpha=1e-4, beta=0.75, bias=1.0):
        return original(call, x, size=size + 1, alpha=alpha * (size + 1) / size, beta=beta, bias=bias)

    monkeypatch.setitem(HANDLERS, "LRN", turned)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        test_an_operator_gives_the_numbers_of_onnxruntime("LRN")


KERAS = {
    "LayerNormalization": {"epsilon": 0.01},
    "UnitNormalization": {},
    "RMSNormalization": {},
}


@pytest.mark.parametrize("kind", KERAS)
def test_a_normalisation_of_keras_loads_equal_and_nothing_of_it_is_fitted(tf, kind):
    pytest.importorskip("tf2onnx")
    layers = tf.keras.layers
    if not hasattr(layers, kind):
        pytest.skip(f"this Keras has no {kind}")
    first, layer, last = layers.Conv2D(4, 3, activation="relu"), getattr(layers, kind)(**KERAS[kind]), layers.Dense(3)
    model = tf.keras.Sequential([layers.Input((7, 6, 2)), first, layer, layers.Flatten(), last])
    random = np.random.RandomState(0)
    layer.set_weights([random.uniform(0.5, 1.5, values.shape) for values in layer.get_weights()])
    x = random.rand(9, 7, 6, 2).astype(np.float32)
    network = snnrepro.load(model)
    wanted = np.asarray(model(x))
    assert wanted.std() > 0.1
    np.testing.assert_allclose(network.forward(x), wanted, rtol=1e-4, atol=1e-5)
    assert curved_inside(network) == []
    assert graded_inside(network)
    assert sum(isinstance(node.layer, ReLU) for node in prepare(network).nodes) == 1
