"""Values divided by their own size at run time: normalisations, norms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.network.formula import number as text
from snnrepro.network.layers import AveragePool, Normalize, Reshape
from snnrepro.readers.operators.elementwise import affine, product
from snnrepro.readers.operators.pooling import reduce_sum
from snnrepro.readers.operators.registry import (
    Call,
    Variable,
    function,
    handles,
    inner_axis,
    integers,
    variable,
    weights,
)


@handles("LayerNormalization", row_wise=True)
def _layer_normalization(
    call: Call,
    x: Any,
    scale: Any,
    offset: Any = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Any:
    if not call.only_first:
        raise ModelError("its mean and its inverse deviation cannot be used")
    x = variable(x)
    return affine(call, call.add(Normalize(_from(axis, x), epsilon), x), scale, offset)


@handles("RMSNormalization", row_wise=True)
def _root_mean_square(
    call: Call, x: Any, scale: Any, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Any:
    x = variable(x)
    return affine(call, call.add(Normalize(_from(axis, x), epsilon, centred=False), x), scale, None)


def _from(axis: int, x: Variable) -> tuple[int, ...]:
    """Return all axes from one on."""
    return tuple(range(inner_axis(axis, x.rank) + x.folded, len(x.shape)))


@handles("InstanceNormalization")
def _instance_normalization(call: Call, x: Any, scale: Any, offset: Any, *, epsilon: float = 1e-5) -> Any:
    x = variable(x)
    if x.rank < 3:
        raise ModelError(f"a value with spatial axes is needed, got {x.shape}")
    normalized = call.add(Normalize(tuple(range(1, len(x.shape))), epsilon), x)
    return affine(call, normalized, *(_by_channel(one, x.shape[0], x) for one in (scale, offset)))


@handles("GroupNormalization")
def _group_normalization(
    call: Call, x: Any, scale: Any, offset: Any, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> Any:
    x = variable(x)
    channels = x.shape[0] if x.shape else 0
    if num_groups < 1 or channels < 1 or channels % num_groups:
        raise ModelError(f"{num_groups} groups of the channels of {x.shape}; a number that divides them is needed")
    grouped = call.add(Reshape((num_groups, math.prod(x.shape) // num_groups)), x)
    normalized = call.add(Reshape(x.shape), call.add(Normalize((1,), epsilon), grouped))
    each = num_groups if call.opset < 21 else channels  # how many factors there are
    return affine(call, normalized, *(_by_channel(one, each, x) for one in (scale, offset)))


def _by_channel(values: Any, n: int, x: Variable) -> Any:
    """Return `n` constants, each for as many channels of `x`."""
    array = weights(values, "the factor or constant")
    if array.shape != (n,):
        raise ModelError(f"the factors and constants must be {n} numbers each, they are an array of {array.shape}")
    return np.repeat(array, x.shape[0] // n).reshape(-1, *[1] * (len(x.shape) - 1))


@handles("MeanVarianceNormalization")
def _mean_variance(call: Call, x: Any, *, axes: Any = (0, 2, 3)) -> Any:
    x = variable(x)
    over = tuple(sorted({inner_axis(axis, x.rank) for axis in integers(np.asarray(axes), "axes")}))
    return call.add(Normalize(over, 1e-18), x)  # ONNX adds 1e-9 to the deviation


@handles("LpNormalization", row_wise=True)
def _lp_normalization(call: Call, x: Any, *, axis: int = -1, p: int = 2) -> Any:
    x = variable(x)
    if p not in (1, 2):
        raise ModelError(f"p is {p}; 1 and 2 are accepted")
    over = inner_axis(axis, x.rank) + x.folded
    mean = call.add(Normalize((over,), 0.0, centred=False, order=p), x)
    return affine(call, mean, np.float32(x.shape[over] ** (-1 / p)), None)


@handles("LRN")
def _local_response(
    call: Call, x: Any, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Any:
    x = variable(x)
    if x.rank < 2 or size < 1:
        raise ModelError(f"a window of {size} channels of {x.shape}; a value with channels and 1 or more are needed")
    before = (size - 1) // 2
    pads = ((before, size - 1 - before), (0, 0))
    rows = call.add(Reshape((1, x.shape[0], math.prod(x.shape[1:]))), function(call, "x * x", x))
    mean = call.add(AveragePool((size, 1), (1, 1), (1, 1), pads, pads), rows)
    factor = f"power({text(bias)} + {text(alpha)} * x, {text(-beta)})"
    return product(call, x, function(call, factor, call.add(Reshape(x.shape), mean)))


@handles("ReduceL2", either=["axes"])
def _reduce_l2(call: Call, x: Any, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Any:
    total = _sum_of_squares(call, x, axes, keepdims=keepdims, noop_with_empty_axes=noop_with_empty_axes)
    return function(call, "sqrt(x)", total)


@handles("ReduceSumSquare", either=["axes"])
def _sum_of_squares(call: Call, x: Any, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Any:
    if noop_with_empty_axes and (axes is None or not integers(axes, "axes")):
        raise ModelError("without axes there is nothing to sum over, and operator sets differ in what it gives")
    squares = function(call, "x * x", variable(x))
    return reduce_sum(call, squares, axes, keepdims=keepdims)
