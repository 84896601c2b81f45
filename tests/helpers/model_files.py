"""A model that anyone might have, in files: a small trained classifier, and images that it answers mostly right."""

from __future__ import annotations

import numpy as np
import onnx

from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Dense, ReLU
from tests.helpers.strategies import as_onnx

N_STEPS = 20


def network(seed=0, scale=1.0):
    """Return a network of two hidden layers; `scale` is that of its first weights."""
    rng = np.random.RandomState(seed)

    def dense(n_in, n_out, scale=1.0):
        return Dense((scale * rng.normal(size=(n_in, n_out)) / np.sqrt(n_in)).astype(np.float32), 0.1 * rng.rand(n_out))

    nodes = [
        Node("first", ("x",), dense(6, 14, scale)),
        Node("a", ("first",), ReLU()),
        Node("second", ("a",), dense(14, 11)),
        Node("b", ("second",), ReLU()),
        Node("y", ("b",), dense(11, 3)),
    ]
    return Network("x", (6,), tuple(nodes), {})


def images(trained, n_images=300, seed=1):
    """Return images, and labels of which the network answers nine of ten."""
    rng = np.random.RandomState(seed)
    x = rng.normal(size=(n_images, 6)).astype(np.float32)
    labels = trained.forward(x).argmax(axis=1)
    return x, np.where(rng.rand(n_images) < 0.1, (labels + 1) % 3, labels)


def write(folder, name="small.onnx", seed=0):
    """Write a model and `data.npz` beside it; return both paths."""
    trained = network(seed)
    onnx.save(as_onnx(trained), str(folder / name))
    x, y = images(trained)
    np.savez(folder / "data.npz", x=x, y=y)
    return folder / name, folder / "data.npz"
