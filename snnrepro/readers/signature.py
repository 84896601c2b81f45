"""What an ONNX graph takes and what it gives: one input, one output, or what to choose."""

from __future__ import annotations

import math
import reprlib
import shlex
from typing import TYPE_CHECKING, Container

from onnx import TensorProto

from snnrepro.errors import ModelError
from snnrepro.network.padding import LARGEST
from snnrepro.readers.choices import listed, written
from snnrepro.readers.constants import FREE_BATCH
from snnrepro.readers.onnx_file import PLAIN
from snnrepro.readers.operators import Variable
from snnrepro.readers.walk import dependent

if TYPE_CHECKING:
    import onnx

_NUMBERS = frozenset(PLAIN) - {TensorProto.FLOAT, TensorProto.BOOL}
_MOVING = frozenset(("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"))
"""Operators that give the numbers that they read, of whatever type."""


def only_input(graph: onnx.GraphProto, initializers: Container[str]) -> tuple[Variable, int, str]:
    """Return the graph's one input that is no constant, the size of its batch axis, and why no layer can read it.

    Nothing, if one can. Other numbers than float32 (those of words, say) can be read by what is left as it is alone.
    """
    inputs = [value for value in graph.input if value.name not in initializers]
    if len(inputs) != 1 or not inputs[0].name:
        names = [value.name for value in inputs]
        inner = [name for name in names if "/" in name]
        lost = f"; {_LOST.format(names=reprlib.repr(inner))}" if inner and len(inner) < len(names) else ""
        several = f"; {_SET}" if len(inputs) > 1 else ""
        shown = ", ".join(map(described, inputs[:8])) + (", ..." if len(inputs) > 8 else "")
        raise ModelError(f"one input is needed, the model has {len(inputs)}{shown and ': ' + shown}{lost}{several}")
    where, tensor, unreadable = f"input {listed([inputs[0].name])}", inputs[0].type.tensor_type, ""
    if tensor.elem_type != TensorProto.FLOAT and not (
        tensor.elem_type in _NUMBERS and _becomes_float32(graph, inputs[0].name)
    ):
        unreadable = (
            f"{where}: float32 is needed, got type {type_name(tensor.elem_type)} (float16, float64 and whole numbers "
            "are accepted where nothing but a Cast to float32 reads them, or before the first neurons)"
        )
        if tensor.elem_type not in _NUMBERS:
            raise ModelError(unreadable)
    dims = tensor.shape.dim
    free = [axis for axis, dim in enumerate(dims) if axis and dim.dim_value <= 0]
    if not dims or free:
        sizes = [str(dim.dim_value) if dim.dim_value > 0 else "SIZE" for dim in dims][1:] or ["SIZE", "..."]
        name = inputs[0].name if inputs[0].name.isprintable() and len(inputs[0].name) <= 80 else "NAME"
        raise ModelError(
            f"{where}: every axis but the first (the batch) needs a fixed size; "
            f"not fixed: axes {reprlib.repr(free) if free else 'all'}; say the sizes: --shape "
            f"{shlex.quote(name)}={','.join(['-1', *sizes])}, in Python shapes={{{name!r}: "
            f"({', '.join(['-1', *sizes])})}}"
        )
    shape = tuple(int(dim.dim_value) for dim in dims[1:])
    if len(shape) > 16 or math.prod(shape) > LARGEST:
        raise ModelError(
            f"{where}: {reprlib.repr(shape)} has more than {LARGEST} numbers for one image, or more than 16 axes"
        )
    batch = int(dims[0].dim_value) if dims[0].dim_value > 0 else FREE_BATCH
    return Variable(inputs[0].name, shape), batch, unreadable


_LOST = (
    "{names} look like constants whose values Keras left out of the file when it wrote it (an adapted Normalization's, "
    "say): load the Keras model itself"
)
_SET = (
    "set all but the image to constants: --set NAME=VALUE, in Python constants={NAME: VALUE}, or choose an output that "
    "needs only one of them: --output-name NAME, outputs=NAME"
)


def require_outputs(graph: onnx.GraphProto, source: str, several: bool) -> None:
    """Refuse a graph that has no output, or several that nobody has chosen, and tell those that depend on its input."""
    if len(graph.output) != 1 and not (several and graph.output):
        names = [value.name for value in graph.output]
        raise ModelError(
            f"one output, computed from the input, is needed; the model's outputs are {reprlib.repr(names)}; choose "
            f"one that depends on the input ({listed(dependent(graph, source))}): --output-name NAME, in Python "
            "outputs=NAME; or several, side by side"
        )


def free_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that are no constants."""
    constants = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in constants]


def declared(value: onnx.ValueInfoProto) -> tuple[int | None, ...] | None:
    """Return the declared sizes of a value's axes, None for one that is free; None if nothing is declared."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(int(dim.dim_value) if dim.dim_value > 0 else None for dim in tensor.shape.dim)


def described(value: onnx.ValueInfoProto) -> str:
    """Return an input's name, type and shape for a message."""
    sizes = declared(value)
    shape = "of any shape" if sizes is None else written(sizes[:16])
    return f"{listed([value.name])} ({type_name(value.type.tensor_type.elem_type)} {shape})"


def type_name(kind: int) -> str:
    """Return ONNX's name of a type of numbers."""
    names: dict[int, str] = {number: name for name, number in TensorProto.DataType.items()}
    return names.get(kind, str(kind))


def _becomes_float32(graph: onnx.GraphProto, source: str) -> bool:
    """Whether all that reads a value, or what only moves its numbers, is a Cast to float32 (or asks for its shape)."""
    names = {source}
    for node in graph.node:
        if names.isdisjoint(node.input):
            continue
        to = [attribute.i for attribute in node.attribute if attribute.name == "to"]
        if node.op_type in _MOVING and names.isdisjoint(node.input[1:]):
            names.update(node.output)
        elif node.op_type != "Shape" and not (node.op_type == "Cast" and to == [TensorProto.FLOAT]):
            return False
    return names.isdisjoint(value.name for value in graph.output)
