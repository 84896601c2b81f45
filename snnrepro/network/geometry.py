"""The only shape arithmetic: what shape a layer gives for the shapes it reads (batch axis left out)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Sequence, Tuple

from snnrepro.errors import ModelError
from snnrepro.network.layers import Bias, Dense, Reshape

if TYPE_CHECKING:
    from snnrepro.network.layers import Layer

Shape = Tuple[int, ...]


def output_shape(name: str, layer: Layer, inputs: Sequence[Shape]) -> Shape:
    """Return the output shape of `layer` for the given input shapes.

    Parameters
    ----------
    name : str
        The node's name, for the message.
    layer : Layer
        What the node computes.
    inputs : sequence of tuple of int
        The shapes it reads, without the batch axis.

    Returns
    -------
    tuple of int
        Without the batch axis.

    Raises
    ------
    ModelError
        The layer cannot take these shapes.
    """
    kind = type(layer).__name__
    if len(inputs) != 1:
        raise ModelError(f"{kind} {name!r}: one input is needed, got {len(inputs)}")
    shape = inputs[0]
    if isinstance(layer, Dense):
        n_in, n_out = layer.weights.shape
        if not shape or shape[-1] != n_in:
            raise ModelError(f"Dense {name!r}: the last axis must be {n_in} (weights {n_in}x{n_out}), got {shape}")
        return (*shape[:-1], n_out)
    if isinstance(layer, Bias) and (not shape or shape[-1] != len(layer.values)):
        raise ModelError(f"Bias {name!r}: the last axis must be {len(layer.values)}, got {shape}")
    if isinstance(layer, Reshape):
        if math.prod(layer.shape) != math.prod(shape):
            raise ModelError(f"Reshape {name!r}: {shape} cannot become {layer.shape}; the sizes differ")
        return layer.shape
    return shape
