"""Nodes whose inputs are all constants, computed once by onnxruntime: shape arithmetic, scaled weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from snnrepro.errors import ModelError
from snnrepro.network.geometry import LARGEST

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray


def evaluate_constant(proto: onnx.NodeProto, inputs: Sequence[AnyArray], opset: int) -> dict[str, AnyArray]:
    """Return the outputs of a node by name, its inputs being constants.

    Parameters
    ----------
    proto : onnx.NodeProto
        The node.
    inputs : sequence of numpy.ndarray
        Its inputs in order; None for one that is left out.
    opset : int
        The model's operator set.

    Raises
    ------
    ModelError
        onnxruntime cannot compute it, or its declared result is too large.
    """
    if proto.op_type == "Constant":
        return {proto.output[0]: _constant(proto)}
    if proto.op_type in ("ConstantOfShape", "Expand", "Tile"):
        _check_size(proto.op_type, inputs)
    if proto.op_type == "ConstantOfShape":  # by far the most frequent, and trivial: no session for it
        return {proto.output[0]: _constant_of_shape(proto, inputs[0])}
    import onnxruntime

    present = [(name, array) for name, array in zip(proto.input, inputs) if name]
    graph = helper.make_graph(
        [proto],
        "constant",
        [],
        [onnx.ValueInfoProto(name=name) for name in proto.output if name],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in dict(present).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = min(model.ir_version, 7)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        results = session.run(None, {})
    except Exception as error:  # onnxruntime's exceptions share no public base class
        raise ModelError(f"its constant value cannot be computed ({' '.join(str(error).split())[:200]})") from error
    return dict(zip((name for name in proto.output if name), results))


def _constant(proto: onnx.NodeProto) -> AnyArray:
    for attribute in proto.attribute:
        value = helper.get_attribute_value(attribute)
        if attribute.name == "value":
            array: AnyArray = numpy_helper.to_array(value)
            return array
        if attribute.name in ("value_float", "value_floats"):
            return np.array(value, np.float32)
        if attribute.name in ("value_int", "value_ints"):
            return np.array(value, np.int64)
    raise ModelError("it has no value that can be read")


def _constant_of_shape(proto: onnx.NodeProto, shape: AnyArray) -> AnyArray:
    fill = np.zeros(1, np.float32)
    for attribute in proto.attribute:
        if attribute.name == "value":
            fill = numpy_helper.to_array(helper.get_attribute_value(attribute)).reshape(-1)
    return np.full([int(size) for size in shape.reshape(-1)], fill[0], fill.dtype)


def _check_size(op_type: str, inputs: Sequence[AnyArray]) -> None:
    """Refuse a result that is declared too large, before anything is allocated."""
    declared = [abs(int(size)) for size in np.asarray(inputs[-1]).reshape(-1)]
    size = math.prod(declared) * (1 if op_type == "ConstantOfShape" else max(1, np.asarray(inputs[0]).size))
    if size > LARGEST:
        raise ModelError(f"its declared result {declared} has more than {LARGEST} numbers")
