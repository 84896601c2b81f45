"""What of a model may stay as it is: what cannot be read before the first neurons, or behind the last ones.

Such a part is computed by onnxruntime, once for an image: see `snnrepro.network.layers.OnnxPart`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Collection, Iterable, Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from snnrepro.errors import ModelError, one_line
from snnrepro.frameworks.onnxruntime import session
from snnrepro.network.layers import OnnxPart
from snnrepro.readers.operators import Variable
from snnrepro.readers.signature import declared
from snnrepro.readers.stand_ins import CAN_INFER
from snnrepro.readers.walk import has_graph, reads

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.network.padding import Shape

_WEIGHTED = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))
_ACTIVATIONS = frozenset(
    ("Celu", "Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Relu", "Selu", "Sigmoid")
) | frozenset(("Softplus", "Softsign", "Swish", "Tanh", "ThresholdedRelu"))
_RECURRENT = frozenset(("GRU", "LSTM", "RNN"))
_NONE, _WEIGHTS, _NEURONS = range(3)
"""What stands before a value: neither, weights, or neurons, i.e. an activation behind weights."""


Computed = Callable[["onnx.NodeProto", "Sequence[AnyArray | None]"], "Mapping[str, AnyArray]"]


@dataclass(frozen=True)
class Left:
    """The nodes that are not read, by their places in the graph.

    Attributes
    ----------
    head : frozenset of int
        Those that depend on no neuron.
    tail : frozenset of int
        Those that no neuron depends on, and all that depends on them.
    """

    head: frozenset[int] = frozenset()
    tail: frozenset[int] = frozenset()


def left(graph: onnx.GraphProto, unread: Collection[int], is_constant: Callable[[str], bool]) -> Left | None:
    """Return how the nodes that cannot be read are left as they are, or None where one stands between neurons.

    Parameters
    ----------
    graph : onnx.GraphProto
        The graph.
    unread : collection of int
        The places of the nodes that cannot be read.
    is_constant : callable
        Whether the value of a name is a constant.
    """
    ahead: dict[str, int] = {}  # of values that depend on no node of the tail: what stands before them
    behind: dict[str, int] = {}  # of those that do: what stands between
    head, tail = set(), set()
    for place, node in enumerate(graph.node):
        names = reads(node)
        after = [behind[name] for name in names if name in behind]
        before = max((ahead.get(name, _NONE) for name in names), default=_NONE)
        if place in unread and (not any(node.output) or (all(map(is_constant, node.input)) and not after)):
            return None  # nothing, or a constant that layers need
        if after or (place in unread and before == _NEURONS):
            state = max(after, default=_WEIGHTS)
            if state == _NEURONS and node.op_type in _WEIGHTED:
                return None
            tail.add(place)
            behind.update(dict.fromkeys(filter(None, node.output), _NEURONS if node.op_type in _ACTIVATIONS else state))
            continue
        if place in unread:
            head.add(place)
        elif node.op_type in _WEIGHTED:
            before = max(before, _WEIGHTS)
        elif node.op_type in _ACTIVATIONS and before == _WEIGHTS:
            before = _NEURONS
        ahead.update(dict.fromkeys(node.output, before))
    return Left(frozenset(head), frozenset(tail))


def part(
    model: onnx.ModelProto,
    output: str,
    given: Mapping[str, Variable],
    constants: Mapping[str, AnyArray],
    computed: Computed,
    any_type: bool = True,
) -> tuple[OnnxPart, list[str]]:
    """Return the part of a model that computes one value, and what it reads, by name.

    Parameters
    ----------
    model : onnx.ModelProto
        The model.
    output : str
        The value.
    given : mapping of str to Variable
        What is computed outside of the part.
    constants : mapping of str to numpy.ndarray
        The model's initializers.
    computed : callable
        Gives the outputs of a node by name for its inputs, if they are all constants.
    any_type : bool
        Whether the value may be of another type than float32.

    Raises
    ------
    ModelError
        The shape of the value is not known before it is computed, or has no batch axis in front, or it is no float32.
    """
    nodes, read, held = _needed(model.graph, output, given, constants)
    nodes, held = _folded(nodes, held, computed)
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    inputs = [
        helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), (1, *given[name].shape))
        for name in read
    ]
    graph = helper.make_graph(
        nodes,
        "part",
        inputs,
        [onnx.ValueInfoProto(name=output)],
        [numpy_helper.from_array(np.array(array, order="C"), name) for name, array in held.items()],
    )
    small = onnx.ModelProto(ir_version=model.ir_version)
    small.opset_import.extend(model.opset_import)
    if getattr(model, "functions", ()):
        small.functions.extend(model.functions)
    small.graph.CopyFrom(graph)
    shapes = _shapes(small)
    found = shapes.get(output) or _declared_shape(model.graph, output)
    if found is None or found[:1] != (1,):
        where = "is not known before it is computed" if found is None else f"{found} has no batch axis in front"
        raise ModelError(f"it cannot be left to onnxruntime either: the shape of {output!r} {where}")
    kind = _kind(small, output) or TensorProto.FLOAT
    if not any_type and kind != TensorProto.FLOAT:
        raise ModelError(f"it cannot be left to onnxruntime either: {output!r} is not float32")
    small.graph.output[0].CopyFrom(helper.make_tensor_value_info(output, kind, found))
    _check(small, held)
    whole = small.SerializeToString(deterministic=True)
    of_read = tuple(given[name].shape for name in read)
    return OnnxPart(np.frombuffer(whole, np.uint8), of_read, found[1:], _multiply_adds(small.graph, shapes)), read


def _needed(
    graph: onnx.GraphProto, output: str, given: Mapping[str, Variable], constants: Mapping[str, AnyArray]
) -> tuple[list[onnx.NodeProto], list[str], dict[str, AnyArray]]:
    """Return the nodes that compute a value, what they read of what is given, and of the constants."""
    giving = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    kept: dict[int, onnx.NodeProto] = {}
    used: set[str] = set()
    held: dict[str, AnyArray] = {}
    waiting = [output]
    while waiting:
        name = waiting.pop()
        if name in given and name != output:
            used.add(name)
        elif name in constants:
            held[name] = constants[name]
        elif giving.get(name, -1) not in kept and name in giving:
            node = graph.node[giving[name]]
            source = given.get(node.input[0]) if node.op_type == "Shape" and node.input else None
            if source is not None and not source.folded:  # only the shape is needed
                held[name] = _shape_of(node, source)
                continue
            kept[giving[name]] = node
            waiting += reads(node) - {""}
    return [kept[place] for place in sorted(kept)], [name for name in given if name in used], held


def _folded(
    nodes: Sequence[onnx.NodeProto], held: dict[str, AnyArray], computed: Computed
) -> tuple[list[onnx.NodeProto], dict[str, AnyArray]]:
    """Return the nodes that are not computed from constants alone, which inference would not see through, and those."""
    left_over = []
    for node in nodes:
        try:
            if not all(name in held or not name for name in node.input) or has_graph(node):
                raise ModelError("it is computed for each image")
            held.update(computed(node, [held[name] if name else None for name in node.input]))
        except ModelError:
            left_over.append(node)
    used = {name for node in left_over for name in reads(node)}
    return left_over, {name: array for name, array in held.items() if name in used}


def _check(model: onnx.ModelProto, held: Mapping[str, AnyArray]) -> None:
    """Refuse a part that onnxruntime does not compute, or only to NaN; nothing is computed here."""
    strange = [name for name, array in held.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]
    if strange:
        raise ModelError(f"it cannot be left to onnxruntime either: {strange[0]!r} holds NaN or infinite numbers")
    try:
        session(model, as_written=True, n_threads=1)
    except Exception as error:  # onnxruntime's exceptions share no public base class
        raise ModelError(f"it cannot be left to onnxruntime either ({one_line(error)})") from error


def _shape_of(node: onnx.NodeProto, source: Variable) -> AnyArray:
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    shape = np.array((1, *source.shape), np.int64)
    return shape[attributes.get("start", 0) : attributes.get("end")]


def _shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """Return the shapes, with the batch axis, that ONNX's inference finds; the values' types are kept in the model."""
    if not CAN_INFER:
        raise ModelError("it cannot be left to onnxruntime either: that takes onnx 1.17 or newer")
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # it raises what it likes on what it does not know
        raise ModelError(f"it cannot be left to onnxruntime either ({one_line(error)})") from error
    graph = inferred.graph
    model.graph.CopyFrom(graph)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        sizes = [dim.dim_value for dim in tensor.shape.dim]
        if tensor.HasField("shape") and all(size > 0 for size in sizes):
            shapes[value.name] = tuple(map(int, sizes))
    return shapes


def _declared_shape(graph: onnx.GraphProto, name: str) -> Shape | None:
    """Return what the model itself says of a value, where inference knows nothing (behind a Loop, say)."""
    for value in (*graph.output, *graph.value_info):
        sizes = declared(value) if value.name == name else None
        if sizes and None not in sizes[1:] and sizes[0] in (None, 1):
            return (1, *(size for size in sizes[1:] if size))
    return None


def _kind(model: onnx.ModelProto, name: str) -> int:
    values: Iterable[onnx.ValueInfoProto] = (*model.graph.value_info, *model.graph.output)
    return next((int(value.type.tensor_type.elem_type) for value in values if value.name == name), TensorProto.FLOAT)


def _multiply_adds(graph: onnx.GraphProto, shapes: Mapping[str, Shape]) -> int:
    """Return the multiply-accumulate operations of one image, of nodes whose shapes are known."""
    total = 0
    for node in graph.node:
        sizes: Sequence[Shape] = [shapes.get(name, ()) for name in (*node.input, *node.output[:1])]
        if node.op_type in _WEIGHTED and len(sizes) > 2:
            source, weights, target = sizes[0], sizes[1], sizes[-1]
            if node.op_type == "Conv":
                total += math.prod(target) * math.prod(weights[1:])
            elif node.op_type == "ConvTranspose":
                total += math.prod(source) * math.prod(weights[1:])
            else:
                total += math.prod(target) * (source[-1] if source else 0)
        elif node.op_type in _RECURRENT and len(sizes) > 3 and sizes[0]:
            total += sizes[0][0] * (math.prod(sizes[1]) + math.prod(sizes[2]))
    return total
