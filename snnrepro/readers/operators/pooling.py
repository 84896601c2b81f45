"""Pooling and means over space."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.network.layers import AveragePool, MaxPool, Pads, Reduce, Reshape
from snnrepro.network.padding import Shape, window
from snnrepro.readers.operators.elementwise import affine
from snnrepro.readers.operators.linear import per_axis, resolve_pads
from snnrepro.readers.operators.registry import Call, Variable, handles, inner_axis, integers, variable


def _reaching(space: Shape, kernel: Shape, strides: Shape, dilations: Shape, pads: Pads) -> Pads:
    """Return pads with as many rows behind as ONNX's ceil_mode needs for its last window."""
    reached = []
    for size, k, stride, dilation, pad in zip(space, kernel, strides, dilations, pads):
        count = window(size, k, stride, dilation, pad, ceil=True)
        reached.append((pad[0], max(0, (count - 1) * stride + dilation * (k - 1) + 1 - size - pad[0])))
    return tuple(reached)


def _geometry(
    x: Variable, kernel_shape: Any, strides: Any, dilations: Any, auto_pad: str, pads: Any, ceil_mode: int
) -> tuple[Shape, Shape, Shape, Pads, Pads]:
    """Return kernel, strides, dilations, the declared pads, and the pads that give ONNX's number of windows."""
    if x.rank < 3:
        raise ModelError(f"a value with spatial axes is needed, got {x.shape}")
    kernel = per_axis(kernel_shape, x.rank - 2)
    steps, spread = per_axis(strides, len(kernel)), per_axis(dilations, len(kernel))
    declared = resolve_pads(auto_pad, pads, x.shape[1:], kernel, steps, spread)
    actual = _reaching(x.shape[1:], kernel, steps, spread, declared) if ceil_mode else declared
    return kernel, steps, spread, declared, actual


@handles("AveragePool")
def _average_pool(
    call: Call,
    x: Any,
    *,
    kernel_shape: Any,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Any = None,
    pads: Any = None,
    strides: Any = None,
) -> Any:
    x = variable(x)
    kernel, steps, spread, declared, actual = _geometry(x, kernel_shape, strides, dilations, auto_pad, pads, ceil_mode)
    counted = tuple(
        (before, min(after, reached)) if count_include_pad else (0, 0)
        for (before, after), (_, reached) in zip(declared, actual)
    )
    return call.add(AveragePool(kernel, steps, spread, actual, counted), x)


@handles("MaxPool")
def _max_pool(
    call: Call,
    x: Any,
    *,
    kernel_shape: Any,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Any = None,
    pads: Any = None,
    storage_order: int = 0,
    strides: Any = None,
) -> Any:
    x = variable(x)
    if not call.only_first:
        raise ModelError("its indices cannot be used")
    kernel, steps, spread, _, actual = _geometry(x, kernel_shape, strides, dilations, auto_pad, pads, ceil_mode)
    return call.add(MaxPool(kernel, steps, spread, actual), x)


@handles("GlobalAveragePool")
def _global_average_pool(call: Call, x: Any) -> Any:
    return _over_space(call, variable(x), "mean")


@handles("GlobalMaxPool")
def _global_max_pool(call: Call, x: Any) -> Any:
    return _over_space(call, variable(x), "max")


def _over_space(call: Call, x: Variable, kind: str) -> Variable:
    if x.rank < 3:
        raise ModelError(f"a value with spatial axes is needed, got {x.shape}")
    return call.add(Reduce(kind, tuple(range(1, len(x.shape)))), x)


@handles("ReduceMean", either=["axes"])
def _reduce_mean(call: Call, x: Any, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Any:
    return _reduce(call, variable(x), "mean", axes, keepdims, noop_with_empty_axes)


@handles("ReduceSum", either=["axes"])
def reduce_sum(call: Call, x: Any, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Any:
    """Return the sum over some axes."""
    x = variable(x)
    mean = _reduce(call, x, "mean", axes, keepdims, noop_with_empty_axes)
    return affine(call, mean, np.float32(math.prod(x.shape) / math.prod(mean.shape)), None)


@handles("ReduceMax", either=["axes"])
def _reduce_max(call: Call, x: Any, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Any:
    return _reduce(call, variable(x), "max", axes, keepdims, noop_with_empty_axes)


def _reduce(call: Call, x: Variable, kind: str, axes: Any, keepdims: int, noop_with_empty_axes: int) -> Any:
    if axes is None or len(integers(axes, "axes")) == 0:
        if noop_with_empty_axes:
            return x
        raise ModelError("without axes the result would run over the batch too")
    over = tuple(sorted({inner_axis(axis, x.rank) for axis in integers(axes, "axes")}))
    reduced = call.add(Reduce(kind, over), x)
    if keepdims:
        return reduced
    return call.add(Reshape(tuple(size for axis, size in enumerate(x.shape) if axis not in over)), reduced)
