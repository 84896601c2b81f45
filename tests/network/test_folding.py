"""Folding a scale and an offset into a neighbour keeps the function exactly, and is left where it would not.

The numbers are small whole ones, so that every sum is exact in float32 and equality is meant literally.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import snnrepro
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Add, Affine, Conv, ConvTranspose, Dense, LeakyReLU, ReLU, Transpose
from snnrepro.network.rewrite import fold_affines, fuse_activations, fuse_transposed_affines
from tests.helpers.strategies import model_proto


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


def _sum_of_relus(negated=-1.0, shift=0.0, factor=-0.25, offset=0.0, bounds=(None, None), first="x", widened=False):
    """Return relu(x) + factor * relu(-x), with one thing changed, on a value of shape (2, 3)."""
    scale = np.full((4, 1, 1), factor) if widened else np.asarray(factor)
    nodes = (
        Node("one", ("x",), Affine([1.0], [1, 2, 3])),
        Node("upper", (first,), ReLU(bounds[0])),
        Node("negated", ("x",), Affine([negated], [shift])),
        Node("lower", ("negated",), ReLU(bounds[1])),
        Node("scaled", ("lower",), Affine(scale, [offset])),
        Node("y", ("upper", "scaled"), Add()),
    )
    return Network("x", (1, 2, 3), nodes[first == "x" :], {})


def _fused(network):
    nodes = fuse_activations(network.nodes, dict(network.shapes))
    return Network(network.input_name, network.input_shape, tuple(nodes), {})


@pytest.mark.parametrize("slope", [0.25, -0.5, 2.0, [1.0, -2.0, 0.25], [[[3.0], [4.0]]]])
@pytest.mark.parametrize("order", [1, -1])
def test_a_relu_and_a_multiple_of_the_relu_of_the_negative_are_one_leaky_relu(slope, order):
    *nodes, total = _sum_of_relus(factor=-np.float32(slope)).nodes
    network = Network("x", (1, 2, 3), (*nodes, Node("y", total.inputs[::order], Add())), {})
    (node,) = _fused(network).nodes
    assert (node.name, node.inputs, type(node.layer)) == ("y", ("x",), LeakyReLU)
    np.testing.assert_array_equal(node.layer.slope, np.float32(slope))
    _assert_same_function(network, _fused(network), np.random.RandomState(0))


ALMOST = {
    "another factor than -1": {"negated": -2.0},
    "an offset before the ReLU": {"shift": 1.0},
    "an offset behind it": {"offset": 1.0},
    "a bound above": {"bounds": (1.0, None)},
    "a bound below": {"bounds": (None, 1.0)},
    "another value": {"first": "one"},
    "a constant that widens": {"widened": True},
}


@pytest.mark.parametrize("what", ALMOST)
def test_a_sum_that_is_almost_a_leaky_relu_is_left_as_it_is(what):
    network = _sum_of_relus(**ALMOST[what])
    fused = _fused(network)
    assert [node.name for node in fused.nodes] == [node.name for node in network.nodes]
    _assert_same_function(network, fused, np.random.RandomState(0))


@pytest.mark.parametrize("part", ["upper", "negated", "lower", "scaled"])
def test_a_part_that_is_read_elsewhere_keeps_the_sum_as_it_is(part):
    network = _sum_of_relus()
    nodes = (*network.nodes, Node("z", ("y", part), Add()))
    network = Network("x", (1, 2, 3), nodes, {})
    assert _fused(network).nodes == network.nodes


@given(st.data())
def test_an_affine_between_two_transpositions_that_cancel_is_one_affine(data):
    rng = np.random.RandomState(data.draw(st.integers(0, 2**32 - 1)))
    shape = data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    axes = data.draw(st.permutations(range(len(shape))))
    inner = [shape[axis] for axis in axes]
    constants = []
    for _ in range(2):
        kept = data.draw(st.lists(st.booleans(), min_size=len(inner), max_size=len(inner)))
        whole = _whole(rng, *(size if keep else 1 for size, keep in zip(inner, kept)))
        constants.append(whole.reshape(whole.shape[next((i for i, keep in enumerate(kept) if keep), len(kept)) :]))
    back = tuple(int(axis) for axis in np.argsort(axes))
    network = _chain(tuple(shape), Transpose(tuple(axes)), Affine(*constants), Transpose(back))
    nodes = fuse_transposed_affines(network.nodes, dict(network.shapes))
    assert [type(node.layer) for node in nodes] == [Affine]
    _assert_same_function(network, Network("x", tuple(shape), tuple(nodes), {}), rng)


def test_transpositions_that_do_not_cancel_and_constants_that_widen_are_left_as_they_are():
    turn = Transpose((1, 2, 0))
    for layers in ((turn, Affine([2.0], [1.0]), turn), (turn, Affine(np.ones((3, 1, 1)), [1.0]), Transpose((2, 0, 1)))):
        network = _chain((1, 1, 2), *layers) if layers[2] is not turn else _chain((2, 3, 4), *layers)
        nodes = fuse_transposed_affines(network.nodes, dict(network.shapes))
        assert tuple(nodes) == network.nodes


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
