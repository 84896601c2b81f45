"""A fault planted in the reader makes the comparison with onnxruntime fail: the comparison can tell."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import snnrepro
from snnrepro.network.layers import Transpose
from snnrepro.readers.operators import HANDLERS
from tests.helpers.comparison import error
from tests.helpers.strategies import model_proto


def _model():
    """Return a model and images without any symmetry, in which each of the faults below fits by its shapes."""
    from onnx import helper, numpy_helper

    rng, tensors = np.random.RandomState(3), []

    def tensor(name, low, high, *shape):
        tensors.append(numpy_helper.from_array(rng.uniform(low, high, shape).astype(np.float32), name))
        return name

    def statistics(place):
        return [
            tensor(f"{place}/{name}", *bounds, 4)
            for name, bounds in {"scale": (0.5, 2), "b": (0, 1), "mean": (-1, 1), "var": (0.2, 3)}.items()
        ]

    node = helper.make_node
    nodes = [
        node("Conv", ["input", tensor("w", -1, 1, 4, 2, 3, 3), tensor("b", 0.2, 1, 4)], ["conv"], pads=[1, 0, 2, 1]),
        node("BatchNormalization", ["conv", *statistics("first")], ["first"]),
        node("PRelu", ["first", tensor("slope", 0.1, 0.9, 4, 1, 1)], ["rectified"]),
        node("Conv", ["rectified", tensor("gw", -1, 1, 4, 2, 3, 3)], ["grouped"], group=2, dilations=[1, 2]),
        node("BatchNormalization", ["grouped", *statistics("second")], ["second"]),
        node("ConvTranspose", ["second", tensor("tw", -1, 1, 4, 2, 2, 2), tensor("tb", 0.2, 1, 2)], ["up"]),
        node("AveragePool", ["up"], ["pooled"], kernel_shape=[2, 2], pads=[1, 0, 0, 1], count_include_pad=1),
        node("Flatten", ["pooled"], ["flat"]),
        node("Gemm", ["flat", tensor("m", -1, 1, 5, 72), tensor("c", 1, 3, 5)], ["y"], transB=1),
    ]
    return model_proto(nodes, tensors, "input", (2, 6, 10), "y"), rng.uniform(0, 1, (4, 2, 6, 10)).astype(np.float32)


def _inputs(change):
    """Return a fault that changes a node's inputs."""
    return lambda original, call, *inputs, **attributes: original(call, *change(*inputs), **attributes)


def _attributes(**change):
    """Return a fault that changes a node's attributes, those that it has."""
    return lambda original, call, *inputs, **attributes: original(
        call, *inputs, **{name: change[name](value) if name in change else value for name, value in attributes.items()}
    )


def _permuted_flatten(original, call, x, **attributes):
    return original(call, call.add(Transpose((1, 2, 0)), x), **attributes)  # channels last, as Keras flattens


FAULTS = {
    "swapped kernel axes": ("Conv", _inputs(lambda x, w, *b: (x, np.swapaxes(w, 2, 3), *b))),
    "swapped kernel axes, transposed": ("ConvTranspose", _inputs(lambda x, w, b: (x, np.swapaxes(w, 2, 3), b))),
    "flipped kernel": ("Conv", _inputs(lambda x, w, *b: (x, w[:, :, ::-1, ::-1], *b))),
    "flipped kernel, transposed": ("ConvTranspose", _inputs(lambda x, w, b: (x, w[:, :, ::-1, ::-1], b))),
    "permuted flatten": ("Flatten", _permuted_flatten),
    "dropped bias of a convolution": ("Conv", _inputs(lambda x, w, *b: (x, w))),
    "dropped bias of a transposed convolution": ("ConvTranspose", _inputs(lambda x, w, b: (x, w))),
    "dropped bias of a dense layer": ("Gemm", _inputs(lambda x, w, b: (x, w))),
    "pads before and behind swapped": ("Conv", _attributes(pads=lambda pads: np.roll(pads, 2))),
    "padding not counted": ("AveragePool", _attributes(count_include_pad=lambda counted: 0)),
    "mean of another channel": (
        "BatchNormalization",
        _inputs(lambda x, scale, b, mean, var: (x, scale, b, np.roll(mean, 1), var)),
    ),
    "variance of another channel": (
        "BatchNormalization",
        _inputs(lambda x, scale, b, mean, var: (x, scale, b, mean, np.roll(var, 1))),
    ),
    "variance left out": (
        "BatchNormalization",
        _inputs(lambda x, scale, b, mean, var: (x, scale, b, mean, np.ones_like(var))),
    ),
    "mean left out": (
        "BatchNormalization",
        _inputs(lambda x, scale, b, mean, var: (x, scale, b, np.zeros_like(mean), var)),
    ),
    "slopes of another channel": ("PRelu", _inputs(lambda x, slope: (x, slope[::-1]))),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_noticed(fault, monkeypatch):
    op_type, faulty = FAULTS[fault]
    proto, x = _model()
    assert error(snnrepro.load(proto), x, proto) < 1e-5
    # functools keeps the signature: the reader takes the operator's attributes from it.
    original = HANDLERS[op_type]
    monkeypatch.setitem(HANDLERS, op_type, functools.wraps(original)(functools.partial(faulty, original)))
    assert error(snnrepro.load(proto), x, proto) > 1e-2


def test_a_fault_that_changes_nothing_is_not_noticed(monkeypatch):
    proto, x = _model()
    for op_type in {op_type for op_type, _ in FAULTS.values()}:
        original = HANDLERS[op_type]
        harmless = functools.partial(_inputs(lambda *inputs: inputs), original)
        monkeypatch.setitem(HANDLERS, op_type, functools.wraps(original)(harmless))
    assert error(snnrepro.load(proto), x, proto) < 1e-5


def test_a_stale_statistic_in_the_model_itself_is_noticed():
    """A model file in which only one number of one mean differs is another model."""
    from onnx import numpy_helper

    proto, x = _model()
    network = snnrepro.load(proto)
    assert error(network, x, proto) < 1e-5
    (mean,) = (tensor for tensor in proto.graph.initializer if tensor.name == "first/mean")
    stale = numpy_helper.to_array(mean).copy()
    stale[1] += 0.5
    mean.CopyFrom(numpy_helper.from_array(stale, mean.name))
    assert error(network, x, proto) > 1e-3
