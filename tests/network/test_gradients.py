"""The gradient of every layer is that of small differences, whatever its geometry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnrepro.network import gradients as gradients_module
from snnrepro.network.gradients import DIFFERENTIATED, gradients
from snnrepro.network.layers import (
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Divide,
    MaxPool,
    Multiply,
    Pad,
    Reduce,
    Reshape,
    Select,
    Transpose,
)

RNG = np.random.RandomState(7)
STEP = 2.0**-8
"""Of the differences: a power of two, so that what is linear is off by rounding alone."""


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


CASES = {
    "dense": (Dense(normal(5, 3), normal(3)), [(5,)]),
    "dense over several axes": (Dense(normal(4, 3), normal(3)), [(2, 5, 4)]),
    "conv": (Conv(normal(3, 2, 2, 3), normal(3), (1, 1), (1, 1), ((0, 1), (2, 0))), [(2, 5, 4)]),
    "conv that leaves rows out": (Conv(normal(3, 2, 2, 2), normal(3), (3, 2), (1, 2), ((0, 0), (1, 0))), [(2, 7, 6)]),
    "conv of groups": (Conv(normal(4, 1, 3, 2), normal(4), (2, 1), (1, 1), ((1, 1), (0, 0)), 2), [(2, 6, 5)]),
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
    "multiply": (Multiply(), [(3, 4, 2), (3, 1, 1)]),
    "divide": (Divide(), [(3, 4), (3, 4)]),
    "concat": (Concat(1), [(2, 3, 4), (2, 1, 4), (2, 2, 4)]),
    "reshape": (Reshape((4, 6)), [(2, 3, 4)]),
    "transpose": (Transpose((2, 0, 1)), [(2, 3, 4)]),
    "pad": (Pad(((0, 1), (-1, 0), (2, -1)), 0.5), [(2, 3, 4)]),
    "select": (Select((None, (2, 0, 0), (1, 3))), [(2, 3, 4)]),
    "mean": (Reduce("mean", (1, 2)), [(2, 3, 4)]),
    "maximum": (Reduce("max", (0, 2)), [(2, 3, 4)]),
    "mean of windows": (AveragePool((2, 3), (2, 1), (1, 1), ((1, 0), (1, 1)), ((0, 0), (1, 0))), [(2, 5, 4)]),
    "maximum of windows": (MaxPool((3, 2), (2, 2), (1, 2), ((1, 0), (0, 1))), [(2, 6, 5)]),
    "maximum of windows that overlap": (MaxPool((3, 3), (1, 2), (1, 1), ((1, 1), (1, 1))), [(2, 5, 6)]),
}


def values(shapes, rng, n_images=3):
    """Numbers at least a quarter apart and from 0, so that no small difference changes which one is the largest."""
    drawn = []
    for shape in shapes:
        size = n_images * int(np.prod(shape))
        drawn.append(((rng.permutation(size) - size // 2 + 0.5) / 2).astype(np.float32).reshape(n_images, *shape))
    return tuple(drawn)


def assert_of_small_differences(layer, inputs, rng):
    """Compare with the slope along drawn directions, in float64."""
    given_ = rng.standard_normal(layer(*inputs).shape).astype(np.float32)
    found = gradients(layer, inputs, given_)
    assert [part.shape for part in found] == [one.shape for one in inputs]
    assert all(part.dtype == np.float32 for part in found)
    for index, part in enumerate(found):
        direction = rng.choice([-1.0, 1.0], inputs[index].shape).astype(np.float32)
        ends = []
        for sign in (-1, 1):
            moved = [*inputs]
            moved[index] = inputs[index] + np.float32(sign * STEP) * direction
            ends.append(layer(*moved).astype(np.float64))
        slope = np.sum(given_ * (ends[1] - ends[0])) / (2 * STEP)
        scale = np.sum(np.abs(given_ * (ends[1] - ends[0]))) / (2 * STEP)
        assert np.sum(part.astype(np.float64) * direction) == pytest.approx(slope, abs=2e-3 * scale + 1e-5)


@pytest.mark.parametrize("case", CASES)
def test_a_layers_gradient_is_that_of_small_differences(case):
    layer, shapes = CASES[case]
    rng = np.random.RandomState(0)
    for _ in range(3):
        inputs = values(shapes, rng)
        assert np.ptp(layer(*inputs)) > 0, "a constant has no gradient to compare"
        assert_of_small_differences(layer, inputs, rng)


def test_every_layer_that_has_a_gradient_is_among_the_cases():
    assert {type(layer) for layer, _ in CASES.values()} == set(DIFFERENTIATED)


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
def test_a_convolutions_gradient_is_its_adjoint_whatever_its_geometry(drawn, seed):
    layer, shape = drawn
    rng = np.random.RandomState(seed)
    x = rng.standard_normal((2, *shape)).astype(np.float32)
    linear = layer(x).astype(np.float64) - layer(np.zeros_like(x))
    assert linear.size > 0
    g = rng.standard_normal(linear.shape).astype(np.float32)
    (found,) = gradients(layer, (x,), g)
    assert found.shape == x.shape
    scale = np.abs(linear).sum()
    assert np.sum(found.astype(np.float64) * x) == pytest.approx(np.sum(g * linear), abs=1e-5 * scale + 1e-6)


@pytest.mark.parametrize("name", ["conv that leaves rows out", "select", "maximum of windows", "divide"])
def test_a_gradient_that_is_off_somewhere_is_found(monkeypatch, name):
    layer, shapes = CASES[name]
    right = gradients_module.gradients

    def planted(*arguments):
        first, *rest = right(*arguments)
        return (np.roll(first, 1, axis=-1), *rest)

    monkeypatch.setitem(globals(), "gradients", planted)
    rng = np.random.RandomState(0)
    inputs = values(shapes, rng)
    with pytest.raises(AssertionError):
        assert_of_small_differences(layer, inputs, rng)


def test_of_equal_numbers_the_first_is_the_maximum_and_takes_all():
    x = np.ones((1, 1, 2, 2), np.float32)
    layer = MaxPool((2, 2), (1, 1), (1, 1), ((0, 0), (0, 0)))
    (found,) = gradients(layer, (x,), np.full((1, 1, 1, 1), 3, np.float32))
    np.testing.assert_array_equal(found.reshape(-1), [3, 0, 0, 0])
