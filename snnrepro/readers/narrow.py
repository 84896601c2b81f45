"""An ONNX model changed to what is chosen of it, before anything is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Mapping, Sequence

import numpy as np
from onnx import ValueInfoProto, numpy_helper

from snnrepro.errors import ModelError
from snnrepro.readers.choices import filled, listed, near, sized
from snnrepro.readers.onnx_file import PLAIN
from snnrepro.readers.signature import declared, described, free_inputs, type_name
from snnrepro.readers.walk import INITIALIZERS_APART, dependent, needed

if TYPE_CHECKING:
    import onnx

    from snnrepro.arrays import AnyArray
    from snnrepro.readers.choices import Choices


def narrow(model: onnx.ModelProto, choices: Choices) -> None:
    """Change a model in place: inputs become constants, only what the output needs stays, free axes get their sizes.

    Parameters
    ----------
    model : onnx.ModelProto
        The model.
    choices : Choices
        What is chosen of it; names that it does not have are refused.
    """
    if choices.constants:
        _set(model, choices.constants)
    if choices.outputs:
        _cut(model.graph, choices.outputs)
    for name, sizes in choices.shapes.items():
        _give_size(model.graph, name, sizes)


def _set(model: onnx.ModelProto, constants: Mapping[str, AnyArray]) -> None:
    graph = model.graph
    inputs = {value.name: value for value in graph.input}
    for name, value in constants.items():
        if name not in inputs:
            raise ModelError(f"no input {name!r} can be set to a constant; {near(name, inputs)}")
        kind = inputs[name].type.tensor_type.elem_type
        if kind not in PLAIN:
            raise ModelError(f"input {name!r} of type {type_name(kind)} cannot be set to a constant of numbers")
        dtype = np.dtype(PLAIN[kind]).newbyteorder("=")
        array = filled(name, value, dtype, declared(inputs[name]))
        others = [tensor for tensor in graph.initializer if tensor.name != name]
        if len(others) < len(graph.initializer):  # a default that could be overridden, and is
            del graph.initializer[:]
            graph.initializer.extend(others)
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
    left = [value for value in graph.input if value.name not in constants]
    del graph.input[:]
    graph.input.extend(left)
    model.ir_version = max(model.ir_version, INITIALIZERS_APART)


def _cut(graph: onnx.GraphProto, outputs: Sequence[str]) -> None:
    """Leave only what some outputs need; they may be any values of the graph."""
    declared_outputs = {value.name: value for value in graph.output}
    known = {name for node in graph.node for name in node.output} | {value.name for value in graph.input}
    sources = free_inputs(graph)
    for output in outputs:
        if output not in declared_outputs and output not in known - {""}:
            raise ModelError(
                f"the model has no value {output!r}; {near(output, known)}; its outputs: {listed(declared_outputs)}"
            )
        if needed(graph, [output])[1].isdisjoint(value.name for value in sources):
            found = dict.fromkeys(name for source in sources for name in dependent(graph, source.name))
            raise ModelError(f"output {output!r} depends on no input; those that do: {listed(found)}")
    nodes, names = needed(graph, outputs)
    inputs = [value for value in graph.input if value.name in names]
    tensors = [tensor for tensor in graph.initializer if tensor.name in names]
    for field, kept in (
        (graph.node, nodes),
        (graph.output, [declared_outputs.get(output, ValueInfoProto(name=output)) for output in outputs]),
        (graph.input, inputs),
        (graph.initializer, tensors),
    ):
        del field[:]
        field.extend(kept)


def _give_size(graph: onnx.GraphProto, name: str, sizes: tuple[int, ...]) -> None:
    """Give the axes of an input their sizes; an empty name means the only one."""
    inputs = free_inputs(graph)
    if not name and len(inputs) != 1:
        raise ModelError(
            f"a shape without a name is for a model with one input, this one has {len(inputs)}: "
            f"{', '.join(map(described, inputs[:8]))}; name it: --shape NAME=..., in Python shapes={{NAME: ...}}"
        )
    found = [value for value in inputs if value.name == name or not name]
    if not found:
        raise ModelError(f"no input {name!r} needs a shape; {near(name, (value.name for value in inputs))}")
    whole = sized(found[0].name, declared(found[0]), sizes)
    tensor = found[0].type.tensor_type
    if not tensor.HasField("shape"):
        for _ in whole:
            tensor.shape.dim.add()
    for axis, size in zip(tensor.shape.dim, whole):
        if size is not None:
            axis.dim_value = size
