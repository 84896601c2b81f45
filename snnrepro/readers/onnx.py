"""An ONNX model read by walking its graph: weights are found by following the nodes, never by name or order."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Union

import numpy as np
import onnx
from onnx import numpy_helper

from snnrepro.errors import ModelError
from snnrepro.files import sha256_of
from snnrepro.network.fold import fold_affines
from snnrepro.network.geometry import LARGEST
from snnrepro.network.graph import Network, Node
from snnrepro.readers.constants import evaluate_constant
from snnrepro.readers.operators import HANDLERS, Call, Variable

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray

    Value = Union[AnyArray, Variable]

FREE_BATCH = 1_000_003
"""Stands for a free batch axis in shape arithmetic: a prime that no model has as a size."""

_UNSUPPORTED = "this operator is not supported"


def read_onnx(model: str | Path | onnx.ModelProto) -> Network:
    """Read an ONNX model.

    Parameters
    ----------
    model : str, Path or onnx.ModelProto
        A file, or the model itself.

    Returns
    -------
    Network
        The same graph; weights are bit for bit those of the model where nothing was folded into them.

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
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    values: dict[str, Value] = {"": None}  # type: ignore[dict-item]  # an input that is left out
    values.update((tensor.name, _tensor(tensor)) for tensor in graph.initializer)
    source, batch = _only_input(graph, values)
    values[source.name] = source
    nodes: list[Node] = []
    problems: list[str] = []
    used = {name for proto in graph.node for name in proto.input} | {value.name for value in graph.output}
    for index, proto in enumerate(graph.node):
        if any(name not in values for name in proto.input):
            missing = [name for name in proto.input if name not in values and not _computed(name, graph, index)]
            if missing:
                problems.append(f"{_place(proto, index)}: it reads {missing}, which nothing before it gives")
            continue  # or it reads a node that is in the list of problems already
        try:
            nodes += _read_node(proto, values, used, opset, batch)
        except ModelError as error:
            problems.append(f"{_place(proto, index)}: {error}")
    if problems:
        listed = (
            f"\nsupported are {', '.join(sorted(HANDLERS))}" if any(_UNSUPPORTED in one for one in problems) else ""
        )
        raise ModelError("these nodes cannot be converted:\n  " + "\n  ".join(problems) + listed)
    return _network(source, graph, values, nodes, sources)


def _network(
    source: Variable, graph: onnx.GraphProto, values: Mapping[str, Value], nodes: list[Node], sources: dict[str, str]
) -> Network:
    names = [value.name for value in graph.output]
    output = values.get(names[0]) if len(names) == 1 else None
    if not isinstance(output, Variable) or output is source:
        raise ModelError(f"one output, computed from the input, is needed; the model's outputs are {names}")
    needed = {output.name}
    kept: list[Node] = []
    for node in reversed(nodes):  # what does not lead to the output is left out
        if node.name in needed:
            needed.update(node.inputs)
            kept.append(node)
    shapes = dict(Network(source.name, source.shape, tuple(kept[::-1]), {}).shapes)
    return Network(source.name, source.shape, tuple(fold_affines(kept[::-1], shapes)), sources)


def _place(proto: onnx.NodeProto, index: int) -> str:
    return f"{proto.op_type} {proto.name or f'#{index}'!r}"


def _computed(name: str, graph: onnx.GraphProto, index: int) -> bool:
    return any(name in node.output for node in graph.node[:index])


def _parse(path: Path, sources: dict[str, str]) -> onnx.ModelProto:
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    try:
        model = onnx.load(str(path), load_external_data=False)
        sources["sha256"] = sha256_of(path)
    except Exception as error:  # protobuf's DecodeError has moved between its versions
        raise ModelError(f"{path}: not a readable ONNX model ({' '.join(str(error).split())})") from error
    if not model.graph.node:
        raise ModelError(f"{path}: not an ONNX model, or one without nodes")
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _load_external(tensor, path)
    return model


def _load_external(tensor: onnx.TensorProto, path: Path) -> None:
    """Read a tensor's data from the file beside the model that it names; nothing outside the model's folder is read."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    folder = path.parent.resolve()
    where = f"{path}: initializer {tensor.name!r}"
    try:
        file = (folder / entries["location"]).resolve()
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", -1))
    except (KeyError, ValueError) as error:
        raise ModelError(f"{where}: its external data has no readable location, offset or length") from error
    if folder not in file.parents:
        raise ModelError(f"{where}: its data lie in {entries['location']!r}, outside the model's folder")
    if not file.is_file():
        raise ModelError(f"{where}: its data file {entries['location']!r} is missing")
    size = file.stat().st_size
    length = size - offset if length < 0 else length
    if offset < 0 or offset + length > size:
        raise ModelError(f"{where}: bytes {offset} to {offset + length} of {entries['location']!r}, which has {size}")
    with file.open("rb") as data:
        data.seek(offset)
        tensor.raw_data = data.read(length)
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def _tensor(tensor: onnx.TensorProto) -> AnyArray:
    try:
        n_numbers = math.prod(tensor.dims)
        if any(size < 0 for size in tensor.dims) or n_numbers > LARGEST:
            raise ModelError(f"initializer {tensor.name!r}: the declared shape {list(tensor.dims)} is too large")
        array: AnyArray = numpy_helper.to_array(tensor)
    except ModelError:
        raise
    except Exception as error:  # each onnx version raises its own kind for data that do not fit the shape
        raise ModelError(f"initializer {tensor.name!r}: its data do not fit its shape and type ({error})") from error
    return array


def _only_input(graph: onnx.GraphProto, values: Mapping[str, Value]) -> tuple[Variable, int]:
    inputs = [value for value in graph.input if value.name not in values]
    if len(inputs) != 1:
        raise ModelError(f"one input is needed, the model has {len(inputs)}: {[value.name for value in inputs]}")
    where, tensor = f"input {inputs[0].name!r}", inputs[0].type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        raise ModelError(f"{where}: float32 is needed, got type {tensor.elem_type}")
    dims = tensor.shape.dim
    free = [axis for axis, dim in enumerate(dims) if axis and dim.dim_value <= 0]
    if not dims or free:
        raise ModelError(
            f"{where}: every axis but the first (the batch) needs a fixed size; free are the axes {free or 'all'}"
        )
    shape = tuple(int(dim.dim_value) for dim in dims[1:])
    if math.prod(shape) > LARGEST:
        raise ModelError(f"{where}: {shape} has more than {LARGEST} numbers for one image")
    return Variable(inputs[0].name, shape), int(dims[0].dim_value) if dims[0].dim_value > 0 else FREE_BATCH


def _read_node(proto: onnx.NodeProto, values: dict[str, Value], used: set[str], opset: int, batch: int) -> list[Node]:
    inputs = [values[name] for name in proto.input]
    if proto.op_type == "Constant" or (inputs and not any(isinstance(value, Variable) for value in inputs)):
        constants = [value for value in inputs if not isinstance(value, Variable)]
        values.update(evaluate_constant(proto, constants, opset))
        return []
    handler = HANDLERS.get(proto.op_type) if proto.domain in ("", "ai.onnx") else None
    if handler is None:
        raise ModelError(_UNSUPPORTED)
    attributes = {attribute.name: _attribute(attribute) for attribute in proto.attribute}
    _check_signature(handler, len(inputs), attributes)
    outputs = [name for name in proto.output if name]
    call = Call(outputs[0], opset, batch, len(outputs), only_first=not used.intersection(outputs[1:]))
    result = handler(call, *inputs, **attributes)
    renamed: dict[str, str] = {}
    for name, value in zip(outputs, result if isinstance(result, list) else [result]):
        if isinstance(value, Variable) and any(node.name == value.name for node in call.nodes):
            renamed[value.name] = name
            value = Variable(name, value.shape)
        values[name] = value
    return [
        Node(renamed.get(node.name, node.name), tuple(renamed.get(name, name) for name in node.inputs), node.layer)
        for node in call.nodes
    ]


def _check_signature(handler: Any, n_inputs: int, attributes: Mapping[str, Any]) -> None:
    parameters = inspect.signature(handler).parameters.values()
    keywords = {parameter.name: parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    unknown = sorted(set(attributes) - set(keywords))
    missing = sorted(name for name, one in keywords.items() if one.default is one.empty and name not in attributes)
    if unknown or missing:
        raise ModelError(f"attributes not supported: {unknown}, missing: {missing}")
    positional = [parameter for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    least = sum(parameter.default is parameter.empty for parameter in positional) - 1
    many = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    if n_inputs < least or (n_inputs > len(positional) - 1 and not many):
        raise ModelError(f"it has {n_inputs} inputs, from {least} to {len(positional) - 1} are known")


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return _tensor(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return np.asarray(value) if attribute.type in (attribute.FLOATS, attribute.INTS) else value
