"""One good layer of every class, on a value of shape (4, 4, 4), and what each of its fields must not be."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from snnrepro.network.layers import (
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Divide,
    Function,
    LeakyReLU,
    MaxPool,
    Multiply,
    Normalize,
    OnnxPart,
    Pad,
    Reduce,
    ReLU,
    Reshape,
    Round,
    Select,
    Sigmoid,
    Softmax,
    Transpose,
    Weighing,
)


def running_sum(shape=(4, 4, 4)):
    """Return a part of an ONNX model that no layer computes: a sum along the first axis, serialised."""
    axis = numpy_helper.from_array(np.array(1, np.int64), "axis")
    given, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, *shape)) for name in "xy")
    graph = helper.make_graph([helper.make_node("CumSum", ["x", "axis"], ["y"])], "part", [given], [made], [axis])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)])
    model.ir_version = 7
    return np.frombuffer(model.SerializeToString(), np.uint8)


NO_PADS = ((0, 0), (0, 0))
_ONES = (1, 1)
_LAYERS = [
    Dense(np.ones((4, 3)), np.zeros(3)),
    Conv(np.ones((6, 2, 3, 3)), np.zeros(6), _ONES, _ONES, NO_PADS, 2),
    ConvTranspose(np.ones((4, 3, 3, 3)), np.zeros(6), _ONES, _ONES, NO_PADS, 2),
    Affine(2.0, np.ones(4)),
    Round(0.25, 1.0),
    ReLU(6.0),
    LeakyReLU(0.1),
    Sigmoid(),
    Function("x * sigmoid(x)"),
    Softmax((0,)),
    Weighing((0,), log=True),
    AveragePool((2, 2), _ONES, _ONES, ((1, 1), (0, 0)), ((1, 0), (0, 0))),
    MaxPool((2, 2), _ONES, _ONES, NO_PADS),
    Reduce("mean", (1, 2)),
    Add(),
    Multiply(),
    Divide(),
    Normalize((0, 2), 0.25),
    Concat(0),
    Reshape((16, 4)),
    Transpose((1, 2, 0)),
    Pad(((0, 0), *NO_PADS), 1.0),
    Select((None, (0, 0, 3), None)),
    OnnxPart(running_sum(), ((4, 4, 4),), (4, 4, 4), 5),
]
GOOD = {type(layer): layer for layer in _LAYERS}
READS = {Multiply: 2, Divide: 2}
"""How many values a layer reads, where it is not 1."""

_TEXT = ["text", b"bytes", {}, object()]
_NUMBERS = [*_TEXT, [], np.nan, [1.0, np.inf], [[1.0], [1.0, 2.0]], np.zeros((0, 3)), None, 1j, "3", [None], 1e39]
_WHOLE = [*_TEXT, None, 1.0, np.float32(1), np.nan, "1", True, 2**40, -(2**40), (1,)]
_SIZES = [*_TEXT, None, 1, np.ones(2), (1, 0), (-1, 1), (1.0, 1), (1, None), (True, 1), "11", (1, 2**40)]
_PER_AXIS = [*_SIZES, (), (1,), (1, 1, 1)]
_PAIRS = [*_TEXT, None, 1, ((0, 0), (0,)), ((0, 0), 0), ((0, 0), (0, 1.0)), ((0, 0), "00"), ((0, 0), (0, None))]
_PAIRS += [((0, 0), (0, True)), ((0, 0), (0, 2**40)), ((0, 0), (0, -(2**40))), (0, 0)]
_PADS = [*_PAIRS, (), ((0, 0),), ((0, 0), (0, 0), (0, 0))]
_POOL_PADS = [*_PADS, ((0, 0), (0, -1)), ((-1, 0), (0, 0))]
_ORDER = [*_TEXT, None, 0, (-1,), (0, 0), (0, 1, 0), (0.0,), ("0",), (True,), (2**40,), (None,)]
_AXES = [*_ORDER, ()]
_CONVOLUTION = {
    "bias": [*_NUMBERS, 0.0, np.zeros(5), np.zeros(7), np.zeros(1), np.zeros((6, 1))],
    "strides": _PER_AXIS,
    "dilations": _PER_AXIS,
    "pads": _PADS,
    "groups": [*_WHOLE, 0, -1, 5],
}
_SOFTMAX = {"axes": _AXES, "log": [*_TEXT, None, 0, 1, "True", (True,)]}
_POOL = {"kernel": [*_SIZES, ()], "strides": _PER_AXIS, "dilations": _PER_AXIS, "pads": _POOL_PADS}

BAD = {
    OnnxPart: {
        "model": [*_NUMBERS, b"bytes", 1.0, np.zeros(3), np.zeros((2, 2), np.uint8), np.zeros(0, np.uint8)],
        "reads": [*_TEXT, None, 1, (), (1,), ((1, 0),), ((1, 1.0),), (None,), "11", ((1, 2**40),)],
        "shape": [*_TEXT, None, 1, np.ones(2), (1, 0), (-1, 1), (1.0, 1), "11", (1, 2**40)],
        "multiply_adds": [*_WHOLE, -1],
    },
    Dense: {
        "weights": [*_NUMBERS, 1.0, np.ones(4), np.ones((4, 3, 1))],
        "bias": [*_NUMBERS, 0.0, np.zeros(2), np.zeros(4), np.zeros(1), np.zeros((1, 3))],
    },
    Conv: {"weights": [*_NUMBERS, 1.0, np.ones((6, 2))], **_CONVOLUTION},
    ConvTranspose: {"weights": [*_NUMBERS, 1.0, np.ones((4, 3))], **_CONVOLUTION},
    Affine: {"scale": _NUMBERS, "offset": _NUMBERS},
    Round: {
        "unit": [*_NUMBERS, 0.0, -1.0, [1.0, 0.0]],
        "most": [*_TEXT, None, np.nan, np.inf, 0, -1.0, 1e39, True, "1", (1.0,)],
    },
    ReLU: {"maximum": [*_TEXT, np.nan, np.inf, -np.inf, 0, 0.0, -0.0, -6.0, 1e39, 1e-60, True, "6", (6,), np.ones(1)]},
    LeakyReLU: {"slope": _NUMBERS},
    Sigmoid: {},
    Function: {"formula": [*_TEXT, None, "", "1.0", "y", "x.real", "x +", "open(x)", "x" * 1001]},
    Softmax: _SOFTMAX,
    Weighing: _SOFTMAX,
    AveragePool: {**_POOL, "counted": [*_POOL_PADS, ((2, 0), (0, 0)), ((0, 0), (0, 1))]},
    MaxPool: _POOL,
    Reduce: {"kind": [*_TEXT, "median", "sum", "Mean", "", None, 0, ("mean",)], "axes": _AXES},
    Add: {},
    Multiply: {},
    Divide: {},
    Normalize: {
        "axes": _AXES,
        "epsilon": [*_TEXT, None, np.nan, np.inf, -np.inf, -1e-9, 1e39, True, "1", (1.0,)],
        "centred": [*_TEXT, None, 0, 1, "True", (True,)],
        "order": [*_WHOLE, 0, -1, 3],
    },
    Concat: {"axis": [*_WHOLE, -1]},
    Reshape: {"shape": [*_TEXT, None, 64, (0, 4), (-1, 4), (16.0, 4), ("16", 4), (True, 64), (2**40,), (None,)]},
    Transpose: {"axes": [*_ORDER, (1, 2), (1, 2, 3), (0, 2), (0, 1, 1)]},
    Pad: {"pads": _PAIRS, "value": [*_TEXT, None, np.nan, np.inf, -np.inf, 1e39, True, "1", (1.0,)]},
    Select: {"indices": [*_TEXT, None, 0, (0,), ("0",), *(((one,),) for one in (-1, 0.0, "0", True, 2**40, None))]},
}

# Fields each of which is good, but not with the others: the field that is named is that which the others rule out.
CONTRADICTIONS = [
    (Dense, {"weights": np.ones((4, 4))}, "bias"),
    (Conv, {"weights": np.ones((5, 2, 3, 3))}, "groups"),
    (Conv, {"weights": np.ones((6, 2, 3))}, "strides"),
    (Conv, {"weights": np.ones((8, 2, 3, 3))}, "bias"),
    (ConvTranspose, {"weights": np.ones((5, 3, 3, 3))}, "groups"),
    (ConvTranspose, {"weights": np.ones((4, 2, 3, 3))}, "bias"),
    (ConvTranspose, {"groups": 4}, "bias"),
    (MaxPool, {"kernel": (2,)}, "strides"),
    (AveragePool, {"pads": NO_PADS}, "counted"),
]
