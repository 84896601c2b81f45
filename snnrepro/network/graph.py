"""A trained network as a small typed graph: nodes in topological order, each assigned once."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence

import numpy as np

from snnrepro.arrays import pieces
from snnrepro.errors import ModelError
from snnrepro.inputs import checked_images

if TYPE_CHECKING:
    from pathlib import Path

    from snnrepro.arrays import FloatArray
    from snnrepro.network.layers import Layer


_NUMBERS = 2**24
"""Numbers that the values of the images evaluated together have, as many of them as are needed at once (64 MB)."""


@dataclass(frozen=True, eq=False)
class Node:
    """One layer in its place.

    Attributes
    ----------
    name : str
        Its own name and that of its output; unique in the network.
    inputs : tuple of str
        The names of the nodes (or of the network's input) it reads.
    layer : Layer
        What it computes.
    """

    name: str
    inputs: tuple[str, ...]
    layer: Layer


@dataclass(frozen=True, eq=False)
class Network:
    """A trained feed-forward network.

    Attributes
    ----------
    input_name : str
        The name of the input.
    input_shape : tuple of int
        Its shape without the batch axis, in the model's own layout.
    nodes : tuple of Node
        In topological order; the last one is the output.
    sources : mapping of str to str
        Where the network comes from, e.g. ``{"file": "dense.onnx", "sha256": "..."}``.

    Raises
    ------
    ModelError
        A name is used twice, a node reads what is not there, or a shape does not fit.
    """

    input_name: str
    input_shape: tuple[int, ...]
    nodes: tuple[Node, ...]
    sources: Mapping[str, str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_shapes", self._infer_shapes())

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every value by name, without the batch axis."""
        shapes: Mapping[str, tuple[int, ...]] = self._shapes  # type: ignore[attr-defined]
        return shapes

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of the output, without the batch axis."""
        return self.shapes[self.nodes[-1].name]

    def forward(self, x: Any) -> FloatArray:
        """Evaluate the network as trained, in float32.

        Parameters
        ----------
        x : array_like
            ``(n_images, *input_shape)``.

        Returns
        -------
        numpy.ndarray
            Scores, float32, ``(n_images, *output_shape)``.

        Raises
        ------
        DataError
            `x` has another shape.

        Examples
        --------
        >>> import numpy as np
        >>> from snnrepro.network.layers import Dense
        >>> net = Network("x", (2,), (Node("y", ("x",), Dense(np.ones((2, 1)), np.zeros(1))),), {})
        >>> net.forward([[1.0, 2.0]])
        array([[3.]], dtype=float32)
        """
        images = checked_images(x, self.input_shape)
        parts = pieces(images, self.most_numbers(), _NUMBERS, len(images))
        scores = [deque(self._activations(part), maxlen=1)[0][1] for part in parts]
        return scores[0] if len(scores) == 1 else np.concatenate(scores)

    def activations(self, x: Any) -> Iterator[tuple[str, FloatArray]]:
        """Return ``(name, value)`` of every node in order, as trained; float32, ``(n_images, *shape)``.

        Arguments and errors as `forward`.
        """
        return self._activations(checked_images(x, self.input_shape))

    def _activations(self, images: FloatArray) -> Iterator[tuple[str, FloatArray]]:
        values: dict[str, FloatArray] = {self.input_name: images}
        for node, done in zip(self.nodes, last_reads(self.nodes)):
            value = node.layer(*(values[name] for name in node.inputs))
            for name in done:  # free what nothing later reads
                values.pop(name)
            values[node.name] = value
            yield node.name, value

    def most_numbers(self) -> int:
        """Return how many numbers of an image the values needed at once have, at most, while the network is evaluated.

        A node's value and what it reads are among them, twice: layers make copies.
        """
        sizes = {name: math.prod(shape) for name, shape in self.shapes.items()}
        held = largest = sizes[self.input_name]
        for node, done in zip(self.nodes, last_reads(self.nodes)):
            held += sizes[node.name]
            largest = max(largest, held + max(sizes[name] for name in (node.name, *node.inputs)))
            held -= sum(sizes[name] for name in done)
        return largest

    def save(self, path: str | Path) -> None:
        """Write the network to a versioned npz archive (no pickle); see `snnrepro.network.archive`."""
        from snnrepro.network.archive import save  # which builds networks, and so stands above this module

        save(self, path)

    def _infer_shapes(self) -> Mapping[str, tuple[int, ...]]:
        if not self.nodes:
            raise ModelError("Network: it has no nodes")
        shapes = {self.input_name: tuple(int(size) for size in self.input_shape)}
        for node in self.nodes:
            if node.name in shapes:
                raise ModelError(f"Network: the name {node.name!r} is assigned twice")
            missing = [name for name in node.inputs if name not in shapes]
            if missing:
                raise ModelError(f"Network: node {node.name!r} reads {missing}, which no node before it gives")
            shapes[node.name] = node.layer.output_shape(*(shapes[name] for name in node.inputs), name=node.name)
        return shapes


def last_reads(nodes: Sequence[Node]) -> list[list[str]]:
    """Return for each node the values that it is the last to read."""
    last = {name: index for index, node in enumerate(nodes) for name in node.inputs}
    return [[name for name in dict.fromkeys(node.inputs) if last[name] == i] for i, node in enumerate(nodes)]
