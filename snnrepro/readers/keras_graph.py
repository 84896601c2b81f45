"""A Keras model's graph without its kernels, which stand beside it: tf2onnx copies what it is given dozens of times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Mapping

from snnrepro.readers.onnx_file import PLAIN
from snnrepro.readers.walk import reads

if TYPE_CHECKING:
    import onnx

    from snnrepro.arrays import AnyArray


@dataclass(frozen=True)
class LightGraph:
    """A frozen graph whose kernels are inputs.

    Attributes
    ----------
    definition : tensorflow.GraphDef
        The graph; what has fewer than two axes is a constant in it.
    kernels : dict of str to tf.Variable
        The weights that are inputs, by their tensors' names.
    """

    definition: Any
    kernels: dict[str, Any]


def light_graph(concrete: Any) -> LightGraph | None:
    """Return the graph of a traced model without its kernels, None where it reads a weight otherwise than as a whole.

    Parameters
    ----------
    concrete : tf.types.experimental.ConcreteFunction
        The model, traced.
    """
    from tensorflow import TensorShape, make_tensor_proto

    definition = concrete.graph.as_graph_def(add_shapes=True)
    if _calls(definition):
        return None
    nodes = {node.name: node for node in definition.node}
    held = {inner.op.name: outer for outer, inner in concrete.graph.captures if outer.dtype.name == "resource"}
    variables = {id(variable.handle): variable for variable in concrete.graph.variables}
    kernels = {}
    readers: dict[str, list[Any]] = {name: [] for name in held}
    for node in definition.node:
        for source in node.input:
            name = source.lstrip("^").split(":")[0]
            if name in held:
                readers[name].append(node)
    for name, handle in held.items():
        variable = variables.get(id(handle))
        if variable is None or any(reader.op != "ReadVariableOp" for reader in readers[name]):
            return None
        kind, node = variable.dtype.as_datatype_enum, nodes[name]
        _become(node, "Placeholder" if len(variable.shape) > 1 else "Const", dtype=kind)
        if node.op == "Placeholder":
            kernels[f"{name}:0"] = variable
            node.attr["shape"].shape.CopyFrom(TensorShape(variable.shape).as_proto())
        else:
            node.attr["value"].tensor.CopyFrom(make_tensor_proto(variable.numpy()))
        for reader in readers[name]:
            _become(reader, "Identity", T=kind)
    return LightGraph(definition, kernels)


def _calls(definition: Any) -> bool:
    """Whether a graph calls functions or loops, which would read weights inside."""
    functions = {function.signature.name for function in definition.library.function}
    return any(
        node.op in functions or any(one.HasField("func") or one.list.func for one in node.attr.values())
        for node in definition.node
    )


def _become(node: Any, op: str, **kinds: int) -> None:
    """Change a node's operator; what it reads stays, of its attributes only the types that are named."""
    node.op = op
    node.attr.clear()
    for name, kind in kinds.items():
        node.attr[name].type = kind


def folded(proto: onnx.ModelProto, arrays: dict[str, AnyArray]) -> dict[str, AnyArray]:
    """Move what only reorders or rounds a kernel from the graph into it, and return the kernels that are still read.

    Parameters
    ----------
    proto : onnx.ModelProto
        The model; nodes are taken out of it. Inputs of the names of `arrays` are none any more.
    arrays : dict of str to numpy.ndarray
        What stands beside it; it is emptied.
    """
    graph = proto.graph
    inputs = [value for value in graph.input if value.name not in arrays]
    outputs = {value.name for value in graph.output}
    shapes = {tensor.name: tensor for tensor in graph.initializer}
    known, nodes = dict(arrays), []
    arrays.clear()
    for node in graph.node:
        if node.input and node.input[0] in known and outputs.isdisjoint(node.output):
            moved = _moved(node, known[node.input[0]], shapes)
            if moved is not None:
                known[node.output[0]] = moved
                continue
        nodes.append(node)
    needed = outputs.union(*(reads(node) for node in nodes))
    for field, kept in ((graph.node, nodes), (graph.input, inputs)):
        del field[:]
        field.extend(kept)
    return {name: array for name, array in known.items() if name in needed}


def _moved(node: onnx.NodeProto, given: AnyArray, shapes: Mapping[str, onnx.TensorProto]) -> AnyArray | None:
    """Return what a node makes of a kernel that only reorders or rounds its numbers; None of another node."""
    from onnx import numpy_helper

    attributes = {one.name: one for one in node.attribute}
    if node.op_type == "Identity":
        return given
    if node.op_type == "Transpose" and "perm" in attributes:
        return given.transpose(list(attributes["perm"].ints))
    if node.op_type == "Cast" and attributes["to"].i in PLAIN:  # of mixed precision
        return given.astype(PLAIN[attributes["to"].i])
    if node.op_type == "Reshape" and node.input[1] in shapes:
        sizes = [int(size) for size in numpy_helper.to_array(shapes[node.input[1]])]
        return given.reshape(sizes) if 0 not in sizes else None  # 0 means the size that is there
    return None
