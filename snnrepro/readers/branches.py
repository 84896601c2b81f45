"""The branch of an If whose condition is a constant, put in the place of the If."""

from __future__ import annotations

from typing import Iterator, Mapping

import onnx
from onnx import helper

from snnrepro.readers.walk import without_graph


def with_branches(model: onnx.ModelProto, chosen: Mapping[int, onnx.GraphProto]) -> onnx.ModelProto:
    """Return a model, without its initializers, in which graphs stand in the place of nodes.

    Parameters
    ----------
    model : onnx.ModelProto
        The model.
    chosen : mapping of int to onnx.GraphProto
        By the place of an If, the branch that is computed; its values get the name of the If in front of theirs.
    """
    result = without_graph(model)
    result.graph.name = model.graph.name
    for field in ("input", "output", "value_info"):
        getattr(result.graph, field).extend(getattr(model.graph, field))
    for place, node in enumerate(model.graph.node):
        result.graph.node.extend([node] if place not in chosen else _inlined(node, chosen[place], place))
    return result


def _inlined(node: onnx.NodeProto, branch: onnx.GraphProto, place: int) -> Iterator[onnx.NodeProto]:
    own = [tensor.name for tensor in branch.initializer]
    own += [name for inner in branch.node for name in inner.output if name]
    renamed = {name: f"{node.name or f'#{place}'}/{name}" for name in own}
    for tensor in branch.initializer:
        yield helper.make_node("Constant", [], [renamed[tensor.name]], value=tensor)
    for inner in branch.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(inner)
        _rename(copy, renamed)
        yield copy
    for given, wanted in zip(branch.output, node.output):
        if wanted:
            yield helper.make_node("Identity", [renamed.get(given.name, given.name)], [wanted])


def _rename(node: onnx.NodeProto, renamed: Mapping[str, str]) -> None:
    """Rename values that a node reads and gives, and those that the graphs in it read of outside."""
    for names in (node.input, node.output):
        names[:] = [renamed.get(name, name) for name in names]
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            hidden = {name for inner in graph.node for name in inner.output}
            hidden.update(value.name for value in (*graph.input, *graph.initializer))
            outside = {name: new for name, new in renamed.items() if name not in hidden}
            for inner in graph.node:
                _rename(inner, outside)
            for value in graph.output:
                value.name = outside.get(value.name, value.name)
