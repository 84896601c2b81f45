"""Which nodes of an ONNX graph a value needs, and which values depend on another."""

from __future__ import annotations

from typing import Container, Sequence

import onnx
from onnx import AttributeProto

INITIALIZERS_APART = 4
"""The IR version from which on an initializer need not be an input too."""


def has_graph(proto: onnx.NodeProto) -> bool:
    """Whether a node computes by a graph of its own (Loop, If, Scan), which may read what its inputs do not name."""
    return any(attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for attribute in proto.attribute)


def reads(node: onnx.NodeProto) -> set[str]:
    """Return the names of all values that a node may read, in the graphs of its own (If, Loop) too."""
    names = set(node.input)
    waiting = [node]
    while waiting:
        for attribute in waiting.pop().attribute:
            for graph in (attribute.g, *attribute.graphs):
                names.update(value.name for value in graph.output)
                names.update(name for inner in graph.node for name in inner.input)
                waiting += graph.node
    return names


def needed(
    graph: onnx.GraphProto, outputs: Sequence[str], given: Container[str] = ()
) -> tuple[list[onnx.NodeProto], set[str]]:
    """Return the nodes that values are computed by, in their order, and the names of all values that they read.

    What computes the values that are `given` is not looked at.
    """
    giving: dict[str, list[int]] = {}
    for index, node in enumerate(graph.node):
        for name in node.output:
            giving.setdefault(name, []).append(index)
    names, waiting = set(outputs), list(outputs)
    kept: set[int] = set()
    while waiting:
        for index in giving.get(waiting.pop(), ()):
            if index not in kept:
                kept.add(index)
                new = reads(graph.node[index]) - names - {""}
                names |= new
                waiting += (name for name in new if name not in given)
    return [graph.node[index] for index in sorted(kept)], names


def without_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model of the same operator sets and functions, and no graph yet."""
    empty = onnx.ModelProto(ir_version=max(model.ir_version, INITIALIZERS_APART))
    empty.opset_import.extend(model.opset_import)
    if getattr(model, "functions", ()):  # since onnx 1.10
        empty.functions.extend(model.functions)
    return empty


def dependent(graph: onnx.GraphProto, source: str) -> list[str]:
    """Return the graph's outputs that depend on a value, in their order."""
    names = {source}
    for node in graph.node:
        if not names.isdisjoint(reads(node)):
            names.update(filter(None, node.output))
    return [value.name for value in graph.output if value.name in names]
