"""Models that compute in float16, read as the same in float32: every number is kept, what is rounded between is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Mapping

import numpy as np
from onnx import TensorProto, numpy_helper

from snnrepro.readers.signature import free_inputs

if TYPE_CHECKING:
    import onnx

    from snnrepro.arrays import AnyArray

_FLOAT16 = TensorProto.FLOAT16


def computes_float16(graph: onnx.GraphProto, beside: Mapping[str, AnyArray] | None = None) -> bool:
    """Whether a graph reads float16 weights, and its input is float16 or something is cast to it.

    Without weights it is no network of float16 but rounds on purpose. `beside` are weights that it does not hold.
    """
    is_float16 = bool(_casts(graph)) or any(
        value.type.tensor_type.elem_type == _FLOAT16 for value in free_inputs(graph)
    )
    weights = {tensor.name for tensor in graph.initializer if tensor.data_type == _FLOAT16}
    weights.update(name for name, array in (beside or {}).items() if array.dtype == np.float16)
    return is_float16 and (
        any(not weights.isdisjoint(node.input) for node in graph.node)
        or any(tensor.data_type == _FLOAT16 for tensor in _tensors(graph))
    )


def as_float32(graph: onnx.GraphProto, weights: bool) -> None:
    """Change a graph in place so that it computes in float32 what it computes in float16.

    Parameters
    ----------
    graph : onnx.GraphProto
        The graph.
    weights : bool
        Whether its initializers too; their data must lie in the model.
    """
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == _FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for cast in _casts(graph):
        cast.i = TensorProto.FLOAT
    for tensor in (*_tensors(graph), *(graph.initializer if weights else ())):
        if tensor.data_type == _FLOAT16:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    del graph.value_info[:]  # it declares types, and nothing needs it


def _casts(graph: onnx.GraphProto) -> list[onnx.AttributeProto]:
    """Return the attributes of nodes that say that a value becomes float16."""
    return [
        attribute
        for node in graph.node
        if node.op_type == "Cast"
        for attribute in node.attribute
        if attribute.name == "to" and attribute.i == _FLOAT16
    ]


def _tensors(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    """Return the constants in nodes."""
    return [attribute.t for node in graph.node for attribute in node.attribute if attribute.HasField("t")]
