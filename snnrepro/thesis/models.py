"""The thesis's networks in Keras (table 3-1), and as spiking networks with fresh weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from snnrepro.arrays import frozen
from snnrepro.frameworks.tensorflow import import_tensorflow, seed_everything
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Dense, ReLU, Reshape
from snnrepro.thesis.tables import model_settings

INPUT_SHAPE = (28, 28, 1)


def keras_dense(seed: int) -> Any:
    """Return the dense network of table 3-1 in Keras, untrained: Dense 32, 64, 128 with ReLU, Dense 10 with softmax."""
    tf = import_tensorflow()
    seed_everything(tf, seed)
    units = model_settings("dense")["dense_units"]
    layers = tf.keras.layers
    x = image = tf.keras.Input(INPUT_SHAPE, name="image")
    x = layers.Flatten()(x)
    for n_out in units[:-1]:
        x = layers.Dense(n_out, activation="relu")(x)
    return tf.keras.Model(image, layers.Dense(units[-1], activation="softmax")(x))


def untrained_dense(seed: int) -> Network:
    """Return the same network with the initial weights that Keras would draw: Glorot uniform, biases 0.

    The distribution is that of Glorot & Bengio (2010), uniform within ``sqrt(6 / (n_in + n_out))``.
    """
    rng = np.random.RandomState(seed)
    sizes = [int(np.prod(INPUT_SHAPE)), *model_settings("dense")["dense_units"]]
    nodes: list[Node] = [Node("flatten", ("image",), Reshape((sizes[0],)))]
    for index, (n_in, n_out) in enumerate(zip(sizes, sizes[1:]), start=1):
        limit = np.sqrt(6 / (n_in + n_out))
        weights = rng.uniform(-limit, limit, (n_in, n_out))
        nodes.append(Node(f"dense_{index}", (nodes[-1].name,), Dense(frozen(weights), frozen(np.zeros(n_out)))))
        if index < len(sizes) - 1:
            nodes.append(Node(f"relu_{index}", (nodes[-1].name,), ReLU()))
    return Network("image", INPUT_SHAPE, tuple(nodes), {"initial": f"Glorot uniform, seed {seed}"})
