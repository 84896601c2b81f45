"""The operator set of an ONNX model, and the types of its numbers, as it declares them before anything is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterator, Mapping

import numpy as np
from onnx import TensorProto

from snnrepro.errors import ModelError
from snnrepro.readers.onnx_file import PLAIN
from snnrepro.readers.signature import free_inputs

if TYPE_CHECKING:
    import onnx

    from snnrepro.arrays import AnyArray

_OF_SHAPES = frozenset((TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL))
"""Types of sizes, axes and conditions, which are no weights."""


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operator set that a model is written in."""
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    if not 1 <= opset <= 1000:
        raise ModelError(f"ONNX has no operator set {opset}")
    return int(opset)


def numbers_of(model: onnx.ModelProto, beside: Mapping[str, AnyArray] | None = None) -> dict[str, str]:
    """Return operator set, types of the inputs and types of the weights, as `Network.sources` keeps them.

    `beside` are weights that the model does not hold.

    Examples
    --------
    >>> from onnx import helper
    >>> x = helper.make_tensor_value_info("x", TensorProto.FLOAT16, [1])
    >>> graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [])
    >>> numbers_of(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)]))
    {'opset': '12', 'input_type': 'float16', 'weight_type': ''}
    """
    inputs = {value.type.tensor_type.elem_type for value in free_inputs(model.graph)}
    weights = {tensor.data_type for tensor in _tensors(model.graph)} - _OF_SHAPES
    found = _names(weights) | {array.dtype.name for array in (beside or {}).values()}
    return {
        "opset": str(opset_of(model)),
        "input_type": ", ".join(sorted(_names(inputs))),
        "weight_type": ", ".join(sorted(found)),
    }


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t


def _names(kinds: set[int]) -> set[str]:
    """Return NumPy's names of ONNX's types."""
    return {np.dtype(PLAIN[kind]).name for kind in kinds if kind in PLAIN}
