"""Folding a scale and an offset into a neighbour keeps the function exactly, and is left where it would not.

The numbers are small whole ones, so that every sum is exact in float32 and equality is meant literally.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import snnrepro
from snnrepro.network.fold import fold_affines
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Add, Affine, Conv, ConvTranspose, Dense, ReLU
from tests.strategies import model_proto


def _whole(rng, *shape):
    """Return whole numbers from -4 to 4 without 0."""
    return rng.choice([-4.0, -3.0, -2.0, -1.0, 1.0, 2.0, 3.0, 4.0], shape)


def _chain(input_shape, *chain):
    """Return the unfolded network of one layer behind the other."""
    names = ["x", *(f"n{index}" for index in range(len(chain)))]
    nodes = tuple(Node(name, (before,), layer) for name, before, layer in zip(names[1:], names, chain))
    return Network("x", input_shape, nodes, {})


def _folded(network):
    nodes = fold_affines(network.nodes, dict(network.shapes))
    return Network(network.input_name, network.input_shape, tuple(nodes), {})


def _assert_same_function(network, folded, rng):
    x = _whole(rng, 3, *network.input_shape)
    scores = network.forward(x)
    assume(np.ptp(scores) > 0)
    assert folded.output_shape == network.output_shape
    assert folded.nodes[-1].name == network.nodes[-1].name
    np.testing.assert_array_equal(folded.forward(x), scores)


@st.composite
def _linears(draw, kinds=(Dense, Conv, ConvTranspose), padded=True):
    """Draw (input shape, linear layer, a RandomState) with two output channels a group or more."""
    rng = np.random.RandomState(draw(st.integers(0, 2**32 - 1)))
    kind, groups = draw(st.sampled_from(kinds)), draw(st.integers(1, 3))
    n_in, n_out = draw(st.integers(1, 3)), draw(st.integers(2, 3))  # a group
    has_bias = draw(st.booleans())
    if kind is Dense:
        space = tuple(draw(st.lists(st.integers(1, 4), max_size=2)))
        return (*space, n_in), Dense(_whole(rng, n_in, n_out), _whole(rng, n_out) * has_bias), rng
    space = tuple(draw(st.lists(st.integers(3, 5), min_size=1, max_size=2)))
    n_axes = len(space)
    kernel = draw(st.lists(st.integers(1, 2), min_size=n_axes, max_size=n_axes))
    strides = tuple(draw(st.lists(st.integers(1, 2), min_size=n_axes, max_size=n_axes)))
    pads = tuple((draw(st.integers(0, 1)), draw(st.integers(0, 1))) if padded else (0, 0) for _ in space)
    shape = (groups * n_out, n_in) if kind is Conv else (groups * n_in, n_out)
    bias = _whole(rng, groups * n_out) * has_bias
    layer = kind(_whole(rng, *shape, *kernel), bias, strides, (1,) * n_axes, pads, groups)
    return (groups * n_in, *space), layer, rng


def _per_channel(draw, linear, shape, rng):
    """Return the scale and the offset of an Affine on a value of `shape`, each one number or one a channel."""
    channels = (shape[-1],) if isinstance(linear, Dense) else (shape[0], *[1] * (len(shape) - 1))
    return Affine(*(_whole(rng, *draw(st.sampled_from([(), (1,), channels, channels]))) for _ in range(2)))


@given(st.data())
def test_an_affine_behind_a_linear_layer_goes_into_it(data):
    input_shape, linear, rng = data.draw(_linears())
    shape = _chain(input_shape, linear).output_shape
    network = _chain(input_shape, linear, _per_channel(data.draw, linear, shape, rng))
    folded = _folded(network)
    assert [type(node.layer) for node in folded.nodes] == [type(linear)]
    _assert_same_function(network, folded, rng)


@given(st.data())
def test_an_affine_before_a_linear_layer_goes_into_it(data):
    input_shape, linear, rng = data.draw(_linears(kinds=(Dense, Conv), padded=False))
    network = _chain(input_shape, _per_channel(data.draw, linear, input_shape, rng), linear)
    folded = _folded(network)
    assert [type(node.layer) for node in folded.nodes] == [type(linear)]
    _assert_same_function(network, folded, rng)


@given(st.data())
def test_affines_on_both_sides_keep_the_function_whatever_is_folded(data):
    input_shape, linear, rng = data.draw(_linears())
    shape = _chain(input_shape, linear).output_shape
    before = [_per_channel(data.draw, linear, input_shape, rng) for _ in range(data.draw(st.integers(1, 2)))]
    behind = [_per_channel(data.draw, linear, shape, rng) for _ in range(data.draw(st.integers(1, 2)))]
    network = _chain(input_shape, *before, linear, *behind)
    folded = _folded(network)
    assert len(folded.nodes) < len(network.nodes)
    _assert_same_function(network, folded, rng)


@given(st.data())
def test_an_offset_before_a_padded_convolution_is_not_folded(data):
    input_shape, conv, rng = data.draw(_linears(kinds=(Conv,)))
    assume(np.any(conv.pads))
    network = _chain(input_shape, Affine(np.float32(2), _whole(rng, 1)), conv)
    folded = _folded(network)
    assert [type(node.layer) for node in folded.nodes] == [Affine, Conv]
    _assert_same_function(network, folded, rng)


@given(st.data())
def test_a_scale_before_a_padded_convolution_is_folded(data):
    input_shape, conv, rng = data.draw(_linears(kinds=(Conv,)))
    assume(np.any(conv.pads))
    network = _chain(input_shape, Affine(_whole(rng, input_shape[0], *[1] * (len(input_shape) - 1)), [0.0]), conv)
    folded = _folded(network)
    assert [type(node.layer) for node in folded.nodes] == [Conv]
    _assert_same_function(network, folded, rng)


@given(st.data())
def test_a_constant_that_differs_within_a_channel_is_not_folded_into_a_convolution(data):
    input_shape, conv, rng = data.draw(_linears(kinds=(Conv, ConvTranspose), padded=False))
    shape = _chain(input_shape, conv).output_shape
    offset = _whole(rng, *shape)
    assume(any(np.ptp(channel) > 0 for channel in offset))
    network = _chain(input_shape, conv, Affine([1.0], offset))
    folded = _folded(network)
    assert len(folded.nodes) == 2
    _assert_same_function(network, folded, rng)


@given(_linears())
def test_a_value_that_is_read_twice_is_not_folded(drawn):
    input_shape, linear, rng = drawn
    first = Node("first", ("x",), linear)
    scaled = Node("scaled", ("first",), Affine(_whole(rng, 1), _whole(rng, 1)))
    rectified = Node("rectified", ("first",), ReLU())
    network = Network("x", input_shape, (first, scaled, rectified, Node("y", ("scaled", "rectified"), Add())), {})
    folded = _folded(network)
    assert [node.name for node in folded.nodes] == ["first", "scaled", "rectified", "y"]
    _assert_same_function(network, folded, rng)


@given(st.data())
def test_a_scale_of_one_leaves_every_bit_of_the_weights(data):
    input_shape, linear, rng = data.draw(_linears())
    weights = (linear.weights * rng.uniform(0.1, 1, linear.weights.shape)).astype(np.float32)
    values = {**vars(linear), "weights": weights, "bias": np.zeros(len(linear.bias))}
    linear = type(linear)(**values)
    shape = _chain(input_shape, linear).output_shape
    channels = (shape[-1],) if isinstance(linear, Dense) else (shape[0], *[1] * (len(shape) - 1))
    offset = rng.normal(0, 1, channels).astype(np.float32)
    (node,) = _folded(_chain(input_shape, linear, Affine(np.ones(channels), offset))).nodes
    assert weights.any()
    assert node.layer.weights.tobytes() == weights.tobytes()
    assert node.layer.bias.tobytes() == offset.tobytes()


def test_the_order_of_scale_and_offset_matters():
    """Affine of Affine is (x * 2 + 3) * 5 + 7, not the other way round."""
    network = _chain((1,), Affine([2.0], [3.0]), Affine([5.0], [7.0]))
    (node,) = _folded(network).nodes
    assert (node.layer.scale.tolist(), node.layer.offset.tolist()) == ([10.0], [22.0])


BROADENING = {
    "convolution": ((1, 4, 5), "Conv", (3, 1, 1), (2, 3, 2, 2)),
    "dense": ((4, 1), "MatMul", (3,), (3, 2)),
}


@pytest.mark.parametrize("op_type", ["Add", "Mul"])
@pytest.mark.parametrize("case", BROADENING)
def test_a_constant_that_makes_several_channels_of_one_is_not_folded_into_the_layer_behind(case, op_type):
    from onnx import helper, numpy_helper

    input_shape, linear, constant_shape, weights_shape = BROADENING[case]
    rng = np.random.RandomState(0)
    constant, weights = (_whole(rng, *shape).astype(np.float32) for shape in (constant_shape, weights_shape))
    nodes = [helper.make_node(op_type, ["input", "c"], ["wide"]), helper.make_node(linear, ["wide", "w"], ["y"])]
    tensors = [numpy_helper.from_array(constant, "c"), numpy_helper.from_array(weights, "w")]
    x = _whole(rng, 3, *input_shape).astype(np.float32)
    wide = x + constant if op_type == "Add" else x * constant
    if linear == "MatMul":
        expected = wide @ weights
    else:
        parts = [
            wide[:, :, i : i + 3, j : j + 4, None] * weights[:, :, i, j].T[:, None, None] for i, j in np.ndindex(2, 2)
        ]
        expected = np.moveaxis(sum(parts).sum(axis=1), -1, 1)
    assert np.ptp(expected) > 0
    np.testing.assert_array_equal(
        snnrepro.load(model_proto(nodes, tensors, "input", input_shape, "y")).forward(x), expected
    )
