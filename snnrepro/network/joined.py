"""Several values side by side as one, each flattened: several outputs, or several values that are read out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Mapping

from snnrepro.network.graph import Node
from snnrepro.network.layers import Concat, Reshape

if TYPE_CHECKING:
    from snnrepro.network.graph import Network
    from snnrepro.network.padding import Shape


def joined(values: Mapping[str, Shape], names: Mapping[str, str] | None = None) -> list[Node]:
    """Return the nodes that put values side by side, the last of them giving them all.

    Parameters
    ----------
    values : mapping of str to tuple of int
        Their shapes, without the batch axis, in order, by what they are called.
    names : mapping of str to str, optional
        The nodes that give those which have another name.
    """
    nodes = [
        Node(_flat(called), ((names or {}).get(called, called),), Reshape((math.prod(shape),)))
        for called, shape in values.items()
    ]
    return [*nodes, Node(_name(values), tuple(node.name for node in nodes), Concat(0))]


def outputs_of(network: Network) -> list[str]:
    """Return what the values are called that an output holds side by side; none where it is one value."""
    last = network.nodes[-1]
    called = [name[: -len(_flat(""))] for name in last.inputs]
    is_joined = isinstance(last.layer, Concat) and last.name == _name(called) and len(called) > 1
    return called if is_joined and last.inputs == tuple(map(_flat, called)) else []


def _name(called: Mapping[str, Shape] | list[str]) -> str:
    return " + ".join(called)


def _flat(called: str) -> str:
    return f"{called}/flat"
