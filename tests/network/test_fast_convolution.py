"""Calibration's convolutions through onnxruntime are those of the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnrepro.network import convolve as module
from snnrepro.network.convolve import convolve
from snnrepro.network.layers import Conv, ConvTranspose, ReLU


@st.composite
def convolutions(draw):
    """A convolution or its transpose over one or two axes, asymmetric in everything, and images for it."""
    rng = np.random.RandomState(draw(st.integers(0, 2**31 - 1)))
    axes = draw(st.integers(1, 2))
    groups = draw(st.integers(1, 2))
    n_in, n_out = 2 * groups, 3 * groups
    kernel = [draw(st.integers(1, 3)) for _ in range(axes)]
    strides = tuple(draw(st.integers(1, 3)) for _ in range(axes))
    dilations = tuple(draw(st.integers(1, 2)) for _ in range(axes))
    pads = tuple((draw(st.integers(0, 1)), draw(st.integers(0, 1))) for _ in range(axes))
    transposed = draw(st.booleans())
    shape = (n_in, n_out // groups, *kernel) if transposed else (n_out, n_in // groups, *kernel)
    weights, bias = rng.normal(size=shape).astype(np.float32), rng.normal(size=n_out).astype(np.float32)
    kind = ConvTranspose if transposed else Conv
    layer = kind(weights, bias, strides, dilations, pads, groups)
    sizes = [draw(st.integers(6, 9)) for _ in range(axes)]
    return layer, rng.normal(size=(draw(st.integers(1, 3)), n_in, *sizes)).astype(np.float32)


@given(convolutions())
def test_a_fast_convolution_is_the_defined_one(drawn):
    layer, x = drawn
    wanted = layer(x)
    assert np.abs(wanted).max() > 0.1  # or nothing is compared
    found = convolve(layer, x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_swapped_pads_would_be_found(monkeypatch):
    weights, bias = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3), np.zeros(1, np.float32)
    layer = Conv(weights, bias, (1, 1), (1, 1), ((0, 1), (1, 0)))
    swapped = Conv(weights, bias, (1, 1), (1, 1), ((1, 0), (0, 1)))
    x = np.random.RandomState(0).normal(size=(2, 1, 5, 4)).astype(np.float32)
    np.testing.assert_allclose(convolve(layer, x), layer(x), rtol=1e-4, atol=1e-4)
    real = module._session
    monkeypatch.setattr(module, "_session", lambda given: real(swapped))
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(convolve(layer, x), layer(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pads", [((-1, 0), (0, 0)), ((0, 0), (0, -2))], ids=str)
def test_negative_pads_and_other_layers_go_the_plain_way(pads):
    rng = np.random.RandomState(1)
    layer = Conv(rng.normal(size=(2, 3, 2, 2)), rng.normal(size=2), (1, 2), (1, 1), pads)
    x = rng.normal(size=(2, 3, 6, 7)).astype(np.float32)
    np.testing.assert_array_equal(convolve(layer, x), layer(x))
    np.testing.assert_array_equal(convolve(ReLU(), x), np.maximum(x, 0))
