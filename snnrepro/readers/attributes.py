"""The attributes of a node, as the operator's specification says they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto

from snnrepro.errors import ModelError

if TYPE_CHECKING:
    from snnrepro.readers.onnx_file import Tensors

UNSUPPORTED = "this operator is not supported"


def attributes_of(proto: onnx.NodeProto, opset: int, tensors: Tensors) -> dict[str, Any]:
    """Return a node's attributes by name; their types must be those of the operator's specification."""
    if not proto.attribute:
        return {}
    try:
        newest = min(opset, onnx.defs.onnx_opset_version())
        specified = onnx.defs.get_schema(proto.op_type, newest, "").attributes
    except Exception:  # newer than the installed onnx, of which some have no name for this; what is known is accepted
        specified = {}
    attributes: dict[str, Any] = {}
    for attribute in proto.attribute:
        name, kind = attribute.name, AttributeProto.AttributeType.Name(attribute.type)
        if name in attributes:
            raise ModelError(f"its attribute {name!r} is assigned twice")
        if attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
            raise ModelError(f"{UNSUPPORTED} (its attribute {name!r} is a graph of its own)")
        accepted = specified[name].type.name if name in specified else kind
        if kind != accepted or attribute.ref_attr_name:
            given = f"a reference to {attribute.ref_attr_name!r}" if attribute.ref_attr_name else kind
            raise ModelError(f"its attribute {name!r} is {given}, the operator's specification says {accepted}")
        attributes[name] = _attribute(attribute, tensors)
    return attributes


def _attribute(attribute: onnx.AttributeProto, tensors: Tensors) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, TensorProto):
        return tensors.read(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if attribute.type == attribute.FLOATS:
        return np.asarray(value, np.float32)
    return np.asarray(value) if attribute.type == attribute.INTS else value
