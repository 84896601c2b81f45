"""What stands in for values that cannot be computed, so that the nodes behind them are checked as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from snnrepro.readers.operators import Variable
from snnrepro.readers.walk import without_graph

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.network.padding import Shape

CAN_INFER = tuple(map(int, onnx.__version__.split(".")[:2])) >= (1, 17)
"""Older versions' inference ends the process on some graphs (onnx 1.7: a segmentation fault): nothing stands in."""

_FEW = 64
"""Numbers of a constant that may be a shape, and is shown to the inference with its values."""
_LONGEST = 2**21
"""Numbers of a list that the inference may take for a shape: where a Gather reads one, it writes all of them down."""


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
    constants = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    given = helper.make_tensor_value_info(source.name, TensorProto.FLOAT, (batch, *source.shape))
    found = infer(model, model.graph.node, given, constants)
    return {
        name: shape[1:]
        for name, (kind, shape) in found.items()
        if shape and shape[0] == batch and kind == TensorProto.FLOAT
    }


def infer(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    source: onnx.ValueInfoProto,
    constants: Mapping[str, AnyArray],
) -> dict[str, tuple[int, Shape | None]]:
    """Return the type and the whole shape, None where it is not known, that ONNX's own inference finds of values.

    Parameters
    ----------
    model : onnx.ModelProto
        Its outputs are named and its operator sets.
    nodes : sequence of onnx.NodeProto
        Those that are looked at.
    source : onnx.ValueInfoProto
        The input, of known shape.
    constants : mapping of str to numpy.ndarray
        No weights are looked at, only small whole numbers, which may be shapes.
    """
    inputs, held = [source], []
    for name, value in constants.items():
        if value.size <= _FEW and value.dtype.kind == "i":
            held.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        elif value.dtype == np.float32:
            inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape))
    given = {name for node in nodes for name in node.output}
    light = without_graph(model)
    light.graph.name = "light"
    light.graph.node.extend(nodes)
    light.graph.output.extend(onnx.ValueInfoProto(name=value.name) for value in model.graph.output)
    light.graph.input.extend(value for value in inputs if value.name not in given)
    light.graph.initializer.extend(tensor for tensor in held if tensor.name not in given)
    try:
        graph = onnx.shape_inference.infer_shapes(light).graph
        if all(_length(value) <= _LONGEST for value in graph.value_info):
            graph = onnx.shape_inference.infer_shapes(light, data_prop=True).graph  # through shape arithmetic, too
    except Exception:  # it raises what it likes on what it does not know; then nothing is known
        return {}
    found: dict[str, tuple[int, Shape | None]] = {}
    for value in (*graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        sizes = tuple(int(dim.dim_value) for dim in tensor.shape.dim)
        known = tensor.HasField("shape") and all(size > 0 for size in sizes)
        found[value.name] = int(tensor.elem_type), sizes if known else None
    return found


def _length(value: onnx.ValueInfoProto) -> int:
    """Return how many numbers a value has that has one axis; 0 for others."""
    sizes = value.type.tensor_type.shape.dim
    return int(sizes[0].dim_value) if len(sizes) == 1 else 0
