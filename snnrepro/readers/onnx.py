"""An ONNX model read by walking its graph: weights are found by following the nodes, never by name or order."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Union

import onnx
from onnx import numpy_helper

from snnrepro.errors import ModelError
from snnrepro.files import sha256_of
from snnrepro.network.fold import fold_biases
from snnrepro.network.geometry import output_shape
from snnrepro.network.graph import Network, Node
from snnrepro.readers.onnx_operators import HANDLERS, Variable

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray

Value = Union["AnyArray", Variable]


def read_onnx(model: str | Path | onnx.ModelProto) -> Network:
    """Read an ONNX model.

    Parameters
    ----------
    model : str, Path or onnx.ModelProto
        A file, or the model itself.

    Returns
    -------
    Network
        The same graph, its weights bit for bit those of the initializers.

    Raises
    ------
    ModelError
        The file is missing or no ONNX model, or nodes cannot be converted: all of them are named, each with its reason.
    """
    sources: dict[str, str] = {}
    if not isinstance(model, onnx.ModelProto):
        sources = {"file": Path(model).name}
        model = _parse(Path(model), sources)
    graph = model.graph
    values: dict[str, Value] = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    source = _only_input(graph, values)
    values[source.name] = source
    nodes: list[Node] = []
    problems: list[str] = []
    for index, proto in enumerate(graph.node):
        if any(name and name not in values for name in proto.input):
            continue  # it reads a node that is in the list of problems already
        try:
            _read_node(proto, values, nodes)
        except ModelError as error:
            problems.append(f"{proto.op_type} {proto.name or f'#{index}'!r}: {error}")
    if problems:
        raise ModelError("these nodes cannot be converted:\n  " + "\n  ".join(problems))
    output = values.get(graph.output[0].name) if len(graph.output) == 1 else None
    if not nodes or not isinstance(output, Variable) or output.name != nodes[-1].name:
        outputs = [value.name for value in graph.output]
        raise ModelError(f"one output, computed by the last node, is needed; the model's outputs are {outputs}")
    return Network(source.name, source.shape, tuple(fold_biases(nodes)), sources)


def _parse(path: Path, sources: dict[str, str]) -> onnx.ModelProto:
    try:
        model = onnx.load(str(path))
        sources["sha256"] = sha256_of(path)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file") from error
    except Exception as error:  # protobuf's DecodeError has moved between its versions
        raise ModelError(f"{path}: not a readable ONNX model ({error})") from error
    if not model.graph.node:
        raise ModelError(f"{path}: not an ONNX model, or one without nodes")
    return model


def _only_input(graph: onnx.GraphProto, values: Mapping[str, Value]) -> Variable:
    inputs = [value for value in graph.input if value.name not in values]
    if len(inputs) != 1:
        raise ModelError(f"one input is needed, the model has {len(inputs)}: {[value.name for value in inputs]}")
    dims = inputs[0].type.tensor_type.shape.dim
    free = [axis for axis, dim in enumerate(dims) if axis and dim.dim_value <= 0]
    if not dims or free:
        raise ModelError(
            f"input {inputs[0].name!r}: every axis but the first (the batch) needs a fixed size; "
            f"free are the axes {free or 'all'}"
        )
    return Variable(inputs[0].name, tuple(int(dim.dim_value) for dim in dims[1:]))


def _read_node(proto: onnx.NodeProto, values: dict[str, Value], nodes: list[Node]) -> None:
    handler = HANDLERS.get(proto.op_type) if proto.domain in ("", "ai.onnx") else None
    if handler is None:
        raise ModelError(f"this operator is not supported; supported are {', '.join(sorted(HANDLERS))}")
    attributes = {attribute.name: _attribute(attribute) for attribute in proto.attribute}
    known = {
        parameter.name
        for parameter in inspect.signature(handler).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    if not set(attributes) <= known:
        raise ModelError(f"the attributes {sorted(set(attributes) - known)} are not supported")
    result = handler(*(values[name] for name in proto.input if name), **attributes)
    name = proto.output[0]
    if isinstance(result, tuple):
        layer, x = result
        if not isinstance(x, Variable):
            raise ModelError("it has only constant inputs, and constants are not computed here")
        nodes.append(Node(name, (x.name,), layer))
        result = Variable(name, output_shape(name, layer, [x.shape]))
    values[name] = result


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return value
