"""Float evaluation of a trained network, layer by layer: the answer that the spiking network has to keep."""

from __future__ import annotations

from collections import deque
from functools import singledispatch
from typing import TYPE_CHECKING, Any, Iterator

import numpy as np

from snnrepro.errors import DataError
from snnrepro.network.layers import Bias, Dense, ReLU, Reshape, Softmax

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray
    from snnrepro.network.graph import Network


def evaluate(network: Network, x: Any) -> FloatArray:
    """Return the network's scores for `x`, float32, ``(n_images, *output_shape)``."""
    return deque(activations(network, x), maxlen=1)[0][1]


def activations(network: Network, x: Any) -> Iterator[tuple[str, FloatArray]]:
    """Yield ``(name, value)`` of every node in order; values are float32, ``(n_images, *shape)``.

    Parameters
    ----------
    network : Network
        The trained network.
    x : array_like
        ``(n_images, *input_shape)``.

    Raises
    ------
    DataError
        `x` has another shape.
    """
    x = np.asarray(x, dtype=np.float32)
    if x.shape[1:] != tuple(network.input_shape):
        raise DataError(
            f"the network's input is (n_images, {', '.join(map(str, network.input_shape))}), got {tuple(x.shape)}"
        )
    values: dict[str, FloatArray] = {network.input_name: x}
    last_use = {name: index for index, node in enumerate(network.nodes) for name in node.inputs}
    for index, node in enumerate(network.nodes):
        value = compute(node.layer, *(values[name] for name in node.inputs))
        for name in node.inputs:
            if last_use[name] == index:  # free what nothing later reads
                values.pop(name, None)
        values[node.name] = value
        yield node.name, value


@singledispatch
def compute(layer: Any, x: FloatArray) -> FloatArray:
    """Return what one layer gives for `x`, ``(n_images, ...)``, float32."""
    raise NotImplementedError(f"forward: no evaluation for {type(layer).__name__}")


@compute.register(Dense)
def _(layer: Dense, x: FloatArray) -> FloatArray:
    return x @ layer.weights + layer.bias


@compute.register(Bias)
def _(layer: Bias, x: FloatArray) -> FloatArray:
    return x + layer.values


@compute.register(ReLU)
def _(layer: ReLU, x: FloatArray) -> FloatArray:
    return np.maximum(x, np.float32(0))


@compute.register(Reshape)
def _(layer: Reshape, x: FloatArray) -> FloatArray:
    return x.reshape((len(x), *layer.shape))


@compute.register(Softmax)
def _(layer: Softmax, x: FloatArray) -> FloatArray:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    scores: FloatArray = powers / powers.sum(axis=-1, keepdims=True)
    return scores
