"""The adjoint of every linear layer is that of the inner product, whatever its geometry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnrepro.network.adjoint import LINEAR, adjoint, back_to_largest, is_linear
from snnrepro.network.layers import (
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    MaxPool,
    Multiply,
    Pad,
    Reduce,
    ReLU,
    Reshape,
    Select,
    Transpose,
)

RNG = np.random.RandomState(7)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


CASES = {
    "dense": (Dense(normal(5, 3), normal(3)), [(5,)]),
    "dense over several axes": (Dense(normal(4, 3), normal(3)), [(2, 5, 4)]),
    "conv": (Conv(normal(3, 2, 2, 3), normal(3), (1, 1), (1, 1), ((0, 1), (2, 0))), [(2, 5, 4)]),
    "conv that leaves rows out": (Conv(normal(3, 2, 2, 2), normal(3), (3, 2), (1, 2), ((0, 0), (1, 0))), [(2, 7, 6)]),
    "conv of groups": (Conv(normal(4, 1, 3, 2), normal(4), (2, 1), (1, 1), ((1, 1), (0, 0)), 2), [(2, 6, 5)]),
    "conv of groups without strides": (
        Conv(normal(4, 3, 3, 2), normal(4), (1, 1), (2, 1), ((4, 1), (0, 1)), 2),
        [(6, 6, 5)],
    ),
    "conv with pads wider than its kernel": (
        Conv(normal(3, 2, 2, 2), normal(3), (1, 1), (1, 1), ((2, 0), (0, 3))),
        [(2, 4, 5)],
    ),
    "conv that crops": (Conv(normal(2, 2, 2, 2), normal(2), (1, 1), (1, 1), ((-1, 0), (0, -2))), [(2, 5, 6)]),
    "conv along one axis": (Conv(normal(3, 2, 3), normal(3), (2,), (1,), ((1, 0),)), [(2, 8)]),
    "transposed conv": (ConvTranspose(normal(3, 2, 2, 3), normal(2), (2, 1), (1, 2), ((1, 0), (0, 1))), [(3, 4, 3)]),
    "transposed conv of groups": (
        ConvTranspose(normal(4, 1, 2, 2), normal(2), (1, 3), (1, 1), ((0, 0), (0, 0)), 2),
        [(4, 3, 2)],
    ),
    "affine": (Affine(normal(3, 1, 1), normal(3, 1, 1)), [(3, 2, 4)]),
    "affine of one number": (Affine(normal(), normal()), [(3, 2)]),
    "add": (Add(), [(3, 2, 4), (3, 2, 4)]),
    "add that repeats": (Add(), [(3, 1, 4), (3, 2, 1), (1, 1, 4)]),
    "concat": (Concat(1), [(2, 3, 4), (2, 1, 4), (2, 2, 4)]),
    "reshape": (Reshape((4, 6)), [(2, 3, 4)]),
    "transpose": (Transpose((2, 0, 1)), [(2, 3, 4)]),
    "pad": (Pad(((0, 1), (-1, 0), (2, -1)), 0.5), [(2, 3, 4)]),
    "select": (Select((None, (2, 0, 0), (1, 3))), [(2, 3, 4)]),
    "mean": (Reduce("mean", (1, 2)), [(2, 3, 4)]),
    "mean of windows": (AveragePool((2, 3), (2, 1), (1, 1), ((1, 0), (1, 1)), ((0, 0), (1, 0))), [(2, 5, 4)]),
}


def assert_adjoint(layer, shapes, rng):
    """Compare inner products: of what comes out, and of what goes back in, float64."""
    x = [rng.standard_normal((3, *shape)).astype(np.float32) for shape in shapes]
    linear = layer(*x).astype(np.float64) - layer(*map(np.zeros_like, x))
    assert np.ptp(linear) > 0, "what gives nothing takes nothing"
    given_ = rng.standard_normal(linear.shape).astype(np.float32)
    found = adjoint(layer, tuple(shapes), given_)
    assert [part.shape for part in found] == [one.shape for one in x]
    assert all(part.dtype == np.float32 for part in found)
    back = sum(np.sum(part.astype(np.float64) * one) for part, one in zip(found, x))
    assert back == pytest.approx(np.sum(given_ * linear), abs=1e-5 * np.abs(linear).sum() + 1e-6)


@pytest.mark.parametrize("case", CASES)
def test_the_inner_product_is_the_same_on_both_sides_of_a_layer(case):
    layer, shapes = CASES[case]
    assert is_linear(layer)
    rng = np.random.RandomState(0)
    for _ in range(3):
        assert_adjoint(layer, shapes, rng)


def test_every_linear_layer_is_among_the_cases():
    assert {type(layer) for layer, _ in CASES.values()} == {*LINEAR, Reduce}


@pytest.mark.parametrize("layer", [Reduce("max", (0,)), ReLU(), MaxPool((2,), (1,), (1,), ((0, 0),)), Multiply()])
def test_what_is_not_linear_has_no_adjoint(layer):
    assert not is_linear(layer)


@st.composite
def convolutions(draw):
    """A convolution or its transpose of any geometry, and the shape of what it reads."""
    groups = draw(st.integers(1, 2))
    per_group, out = draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    kernel, strides, dilations, pads, space = [], [], [], [], []
    for _ in range(2):
        k, stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
        reach = dilation * (k - 1) + 1
        kernel.append(k)
        strides.append(stride)
        dilations.append(dilation)
        pads.append((draw(st.integers(0, reach - 1)), draw(st.integers(0, reach - 1))))
        space.append(draw(st.integers(reach, reach + 5)))
    rng = np.random.RandomState(draw(st.integers(0, 99)))
    geometry = tuple(strides), tuple(dilations), tuple(pads), groups
    weights = rng.standard_normal((out, per_group, *kernel)).astype(np.float32)
    if draw(st.booleans()):
        return Conv(weights, np.ones(out, np.float32), *geometry), (per_group * groups, *space)
    return ConvTranspose(weights, np.ones(per_group * groups, np.float32), *geometry), (out, *space)


@given(convolutions(), st.integers(0, 99))
def test_a_convolution_has_its_adjoint_whatever_its_geometry(drawn, seed):
    layer, shape = drawn
    assert_adjoint(layer, [shape], np.random.RandomState(seed))


@pytest.mark.parametrize("name", ["conv that leaves rows out", "select", "mean of windows", "affine"])
def test_an_adjoint_that_is_off_somewhere_is_found(monkeypatch, name):
    right = adjoint

    def planted(*arguments):
        first, *rest = right(*arguments)
        return (np.roll(first, 1, axis=-1), *rest)

    monkeypatch.setitem(globals(), "adjoint", planted)
    layer, shapes = CASES[name]
    with pytest.raises(AssertionError):
        assert_adjoint(layer, shapes, np.random.RandomState(0))


MAXIMA = {
    "of windows": (MaxPool((2, 3), (2, 1), (1, 2), ((1, 0), (0, 1))), (3, 6, 8)),
    "of windows side by side": (MaxPool((2, 2), (2, 2), (1, 1), ((0, 0), (0, 0))), (2, 4, 7)),
    "of windows along one axis": (MaxPool((3,), (1,), (1,), ((2, 1),)), (2, 5)),
    "of whole axes": (Reduce("max", (1, 2)), (3, 4, 5)),
    "of one axis": (Reduce("max", (0,)), (3, 4)),
}


@pytest.mark.parametrize("case", MAXIMA)
def test_a_maximum_moves_with_what_is_largest_alone(case):
    """Differences of the layer itself, float32: values are apart by far more than the step."""
    layer, shape = MAXIMA[case]
    rng = np.random.RandomState(1)
    n = int(np.prod(shape))
    x = np.stack([rng.permutation(n).reshape(shape) for _ in range(2)]).astype(np.float32)
    given_ = rng.standard_normal(layer(x).shape).astype(np.float32)
    found, wanted = back_to_largest(layer, x, given_), np.empty(x.shape)
    for place in np.ndindex(*x.shape):
        moved = x.copy()
        moved[place] += 0.25
        wanted[place] = np.sum((layer(moved) - layer(x)).astype(np.float64) * given_) / 0.25
    assert 0 < np.count_nonzero(wanted) < wanted.size
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", MAXIMA)
def test_what_is_equally_large_shares_what_a_maximum_has(case):
    layer, shape = MAXIMA[case]
    x = np.ones((2, *shape), np.float32)
    given_ = normal(*layer(x).shape)
    found = back_to_largest(layer, x, given_)
    assert found.sum(dtype=np.float64) == pytest.approx(given_.sum(dtype=np.float64), rel=1e-4, abs=1e-4)
    assert np.count_nonzero(found) > 0.8 * found.size, "all but a column that no window meets"
