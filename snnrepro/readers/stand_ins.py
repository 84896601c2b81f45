"""What stands in for values that cannot be computed, so that the nodes behind them are checked as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from snnrepro.readers.operators import Variable

if TYPE_CHECKING:
    from snnrepro.network.padding import Shape

CAN_INFER = tuple(map(int, onnx.__version__.split(".")[:2])) >= (1, 17)
"""Older versions' inference ends the process on some graphs (onnx 1.7: a segmentation fault): nothing stands in."""

_FEW = 64
"""Numbers of a constant that may be a shape, and is shown to the inference with its values."""


def inferred(model: onnx.ModelProto, values: Mapping[str, object], source: Variable, batch: int) -> dict[str, Shape]:
    """Return the shapes, without the batch, that ONNX's own inference finds of values computed for each image.

    Parameters
    ----------
    model : onnx.ModelProto
        Its nodes are read, no weights.
    values : mapping
        The constants by name, among others.
    source : Variable
        The input.
    batch : int
        The size of its batch axis, or what stands for it.
    """
    if not CAN_INFER:
        return {}
    inputs = [helper.make_tensor_value_info(source.name, TensorProto.FLOAT, (batch, *source.shape))]
    held = []
    for name, value in values.items():
        if not isinstance(value, np.ndarray):
            continue
        if value.size <= _FEW and value.dtype.kind == "i":
            held.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        elif value.dtype == np.float32:
            inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape))
    given = {name for node in model.graph.node for name in node.output}
    light = onnx.ModelProto(ir_version=max(model.ir_version, 4))
    light.opset_import.extend(model.opset_import)
    light.graph.name = "light"
    light.graph.node.extend(model.graph.node)
    light.graph.output.extend(onnx.ValueInfoProto(name=value.name) for value in model.graph.output)
    light.graph.input.extend(value for value in inputs if value.name not in given)
    light.graph.initializer.extend(tensor for tensor in held if tensor.name not in given)
    try:
        found = onnx.shape_inference.infer_shapes(light, data_prop=True).graph  # through shape arithmetic, too
    except Exception:  # it raises what it likes on what it does not know; then nothing stands in
        return {}
    shapes = {}
    for value in (*found.value_info, *found.output):
        tensor = value.type.tensor_type
        dims = list(tensor.shape.dim)
        if (
            dims
            and dims[0].dim_value == batch
            and tensor.elem_type == TensorProto.FLOAT
            and all(dim.dim_value > 0 for dim in dims[1:])
        ):
            shapes[value.name] = tuple(int(dim.dim_value) for dim in dims[1:])
    return shapes
