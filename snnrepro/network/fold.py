"""Linear layers folded into the one before them, where that is exact."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from snnrepro.network.graph import Node
from snnrepro.network.layers import Bias, Dense


def fold_biases(nodes: Sequence[Node]) -> list[Node]:
    """Put every Bias whose Dense feeds nothing else into that Dense; ``0 + bias`` keeps every bit of it.

    Parameters
    ----------
    nodes : sequence of Node
        In topological order; the last one is the output.

    Returns
    -------
    list of Node
        The same network; the folded node has the Bias's name.
    """
    readers = {node.name: [reader for reader in nodes if node.name in reader.inputs] for node in nodes}
    folded: list[Node] = []
    for node in nodes:
        before = folded[-1] if folded else None
        if (
            isinstance(node.layer, Bias)
            and before is not None
            and node.inputs == (before.name,)
            and len(readers.get(before.name, ())) == 1
            and isinstance(before.layer, Dense)
            and not np.any(before.layer.bias)
        ):
            folded[-1] = Node(node.name, before.inputs, Dense(before.layer.weights, node.layer.values))
        else:
            folded.append(node)
    return folded
