"""Values that are the outputs of one population in another order: what reads them can read its spikes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from snnrepro.network.layers import Pad, Reshape, Select, Transpose

if TYPE_CHECKING:
    from snnrepro.arrays import IntArray
    from snnrepro.network.graph import Node


def view(name: str, nodes: Mapping[str, Node], populations: Any, shapes: Any) -> tuple[str, IntArray] | None:
    """Return the population that a value shows, and which of its neurons each number is the output of.

    Returns
    -------
    tuple of str and numpy.ndarray, or None
        The population's name; int64 of the value's shape, neurons counted in the order of their layer's shape, -1 for
        a number that is always 0. None where the value is anything else.
    """
    if name in populations:
        return name, np.arange(math.prod(shapes[name])).reshape(shapes[name])
    node = nodes.get(name)
    if node is None or not (
        isinstance(node.layer, (Reshape, Transpose, Select)) or (isinstance(node.layer, Pad) and node.layer.value == 0)
    ):
        return None
    seen = view(node.inputs[0], nodes, populations, shapes)
    if seen is None:
        return None
    # Counted from 1, so that what a pad adds counts as no neuron.
    layer: Any = node.layer
    return seen[0], layer((seen[1] + 1)[np.newaxis].astype(np.float64))[0].astype(np.int64) - 1
