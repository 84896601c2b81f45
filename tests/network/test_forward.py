"""`Network.forward` gives what onnxruntime gives, for every network the strategies draw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import snnrepro
from snnrepro.network.layers import Conv, ConvTranspose, Dense
from tests.helpers.comparison import error
from tests.helpers.strategies import as_onnx, dense_networks, image_networks, images_for


@given(st.data())
def test_forward_equals_onnxruntime(data):
    network = data.draw(dense_networks())
    x = data.draw(images_for(network))
    assume(np.ptp(network.forward(x)) > 0)  # a network whose rectifiers are all silent proves nothing
    assert error(network, x) < 1e-5


@settings(max_examples=150)
@given(st.data())
def test_forward_equals_onnxruntime_for_networks_over_images(data):
    proto = data.draw(image_networks())
    network = snnrepro.load(proto)
    x = data.draw(images_for(network))
    assume(np.ptp(network.forward(x)) > 0)
    assert error(network, x, proto) < 1e-5


def test_a_forgotten_bias_would_be_noticed(monkeypatch):
    rng = np.random.RandomState(0)
    from snnrepro.network.graph import Network, Node

    network = Network("input", (3,), (Node("y", ("input",), Dense(rng.rand(3, 4), rng.rand(4))),), {})
    x = rng.rand(5, 3).astype(np.float32)
    assert error(network, x) < 1e-5
    monkeypatch.setattr(Dense, "__call__", lambda layer, x: x @ layer.weights)
    assert error(network, x) > 1e-2


@given(st.data())
def test_the_order_of_the_batch_does_not_matter(data):
    network = data.draw(dense_networks())
    x = data.draw(images_for(network))
    order = data.draw(st.permutations(range(len(x))))
    np.testing.assert_allclose(network.forward(x[order]), network.forward(x)[order], rtol=1e-5, atol=1e-6)


@given(st.data())
def test_the_order_of_the_batch_does_not_matter_for_networks_over_images(data):
    network = snnrepro.load(data.draw(image_networks()))
    x = data.draw(images_for(network))
    scores = network.forward(x)
    assume(len(x) > 1 and np.ptp(scores, axis=0).max() > 0)  # else no order can be told from another
    order = data.draw(st.permutations(range(len(x))))
    np.testing.assert_allclose(network.forward(x[order]), scores[order], rtol=1e-5, atol=1e-5)


@st.composite
def _convolutions(draw):
    """Draw (weights, x, y, strides, dilations, pads, groups): whole numbers, so that float32 sums are exact."""
    n_axes, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    kernel, space, after = [], [], []
    strides, dilations, pads = [], [], []
    for _ in range(n_axes):
        kernel.append(draw(st.integers(1, 3)))
        strides.append(draw(st.integers(1, 3)))
        dilations.append(draw(st.integers(1, 2)))
        pads.append((draw(st.integers(0, 2)), draw(st.integers(0, 2))))
        reach = dilations[-1] * (kernel[-1] - 1) + 1
        space.append(draw(st.integers(max(1, reach - sum(pads[-1])), 6)))
        after.append((space[-1] + sum(pads[-1]) - reach) // strides[-1] + 1)
    n_in, n_out = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    rng = np.random.RandomState(draw(st.integers(0, 2**32 - 1)))
    weights, x, y = (
        rng.randint(-9, 10, shape).astype(np.float32)
        for shape in ((n_out, n_in // groups, *kernel), (2, n_in, *space), (2, n_out, *after))
    )
    return weights, x, y, tuple(strides), tuple(dilations), tuple(pads), groups


@given(_convolutions())
def test_the_transposed_convolution_is_the_adjoint_of_the_convolution(drawn):
    weights, x, y, strides, dilations, pads, groups = drawn
    conv = Conv(weights, np.zeros(len(weights)), strides, dilations, pads, groups)
    there = conv(x)
    assert there.shape == y.shape
    # What the last window does not reach of x gets no part of y: rows of zeros behind the transposed result.
    sizes = [
        (n - 1) * stride + dilation * (k - 1) + 1 - sum(pad)
        for n, stride, dilation, k, pad in zip(y.shape[2:], strides, dilations, weights.shape[2:], pads)
    ]
    crops = tuple((before, behind - (n - size)) for (before, behind), n, size in zip(pads, x.shape[2:], sizes))
    # ONNX's two layouts coincide: (out, in / groups, *kernel) read as (in, out / groups, *kernel) of the way back.
    back = ConvTranspose(weights, np.zeros(x.shape[1]), strides, dilations, crops, groups)(y)
    assert back.shape == x.shape
    product = np.sum(there * y, dtype=np.float64)
    assume(product != 0)
    assert product == np.sum(x * back, dtype=np.float64)


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
