"""`Network.forward` gives what onnxruntime gives, for every network the strategies draw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import snnrepro
from snnrepro.network import forward
from snnrepro.network.layers import Dense
from tests.strategies import as_onnx, dense_networks, images_for


def _onnxruntime(proto, x):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": x})[0]


def _error(network, x):
    """Return the largest difference to onnxruntime, relative to the largest score."""
    expected = _onnxruntime(as_onnx(network), x)
    got = network.forward(x)
    assert got.dtype == np.float32
    assert got.shape == expected.shape
    return np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-3)


@given(st.data())
def test_forward_equals_onnxruntime(data):
    network = data.draw(dense_networks())
    x = data.draw(images_for(network))
    assume(np.ptp(network.forward(x)) > 0)  # a network whose rectifiers are all silent proves nothing
    assert _error(network, x) < 1e-5


def test_a_forgotten_bias_would_be_noticed(monkeypatch):
    rng = np.random.RandomState(0)
    from snnrepro.network.graph import Network, Node

    network = Network("input", (3,), (Node("y", ("input",), Dense(rng.rand(3, 4), rng.rand(4))),), {})
    x = rng.rand(5, 3).astype(np.float32)
    assert _error(network, x) < 1e-5
    monkeypatch.setattr(forward, "compute", lambda layer, x: x @ layer.weights)
    assert _error(network, x) > 1e-2


@given(st.data())
def test_the_order_of_the_batch_does_not_matter(data):
    network = data.draw(dense_networks())
    x = data.draw(images_for(network))
    order = data.draw(st.permutations(range(len(x))))
    np.testing.assert_allclose(network.forward(x[order]), network.forward(x)[order], rtol=1e-5, atol=1e-6)


@given(st.data())
def test_reading_the_exported_model_gives_the_same_weights_and_shapes(data):
    network = data.draw(dense_networks())
    read = snnrepro.load(as_onnx(network))
    assert read.shapes[read.nodes[-1].name] == network.output_shape
    wanted = [node.layer for node in network.nodes if isinstance(node.layer, Dense)]
    got = [node.layer for node in read.nodes if isinstance(node.layer, Dense)]
    assert len(wanted) == len(got) > 0
    for one, other in zip(wanted, got):
        assert one.weights.tobytes() == other.weights.tobytes()
        assert one.bias.tobytes() == other.bias.tobytes()


def test_images_of_another_shape_are_refused():
    from snnrepro.network.graph import Network, Node

    network = Network("input", (2, 3), (Node("y", ("input",), Dense(np.ones((3, 4)), np.zeros(4))),), {})
    with pytest.raises(snnrepro.DataError, match=r"\(n_images, 2, 3\), got \(5, 3, 2\)"):
        network.forward(np.zeros((5, 3, 2)))
