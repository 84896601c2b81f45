"""Matrix products and convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.arrays import frozen
from snnrepro.errors import ModelError
from snnrepro.network.layers import Add, Affine, Conv, ConvTranspose, Dense, Pads, Reshape
from snnrepro.network.padding import Shape, same_pads, spatial_pads
from snnrepro.readers.operators.registry import Call, Variable, handles, integers, variable, weights

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray


@handles("MatMul", row_wise=True)
def _matmul(call: Call, a: Any, b: Any) -> Any:
    x, matrix = variable(a, "the left factor"), weights(b, "the right factor")
    if matrix.ndim == 1:  # a vector: the last axis goes
        column = call.add(Dense(matrix[:, None], np.zeros(1, np.float32)), x)
        return call.add(Reshape(x.shape[:-1]), column)
    if matrix.ndim != 2:
        raise ModelError(f"the right factor must have one or two axes, got {matrix.shape}")
    return call.add(Dense(matrix, np.zeros(matrix.shape[1], np.float32)), x)


@handles("Gemm", row_wise=True)
def _gemm(
    call: Call,
    a: Any,
    b: Any,
    c: Any = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    broadcast: int = 1,
    transA: int = 0,
    transB: int = 0,
) -> Any:
    x, matrix = variable(a, "A"), weights(b, "B")
    if transA:
        raise ModelError("transA=1 would put the batch axis last")
    matrix = matrix.T if transB else matrix
    matrix = matrix if alpha == 1.0 else np.float32(alpha) * matrix
    bias = np.zeros(matrix.shape[1], np.float32)
    if isinstance(c, Variable):
        if c.shape not in ((1,), bias.shape):
            raise ModelError(f"C of shape {c.shape} does not fit a result of shape {bias.shape}")
        scaled = c if beta == 1.0 else call.add(Affine(np.full((), beta, np.float32), np.zeros((), np.float32)), c)
        return call.add(Add(), call.add(Dense(matrix, bias), x), scaled)
    if c is not None:
        offset = weights(c, "C")
        if offset.ndim > 1 and offset.shape[0] != 1:
            raise ModelError(f"C of shape {offset.shape} is not the same for every image")
        offset = offset[0] if offset.ndim > 1 else offset
        bias = np.broadcast_to(offset if beta == 1.0 else np.float32(beta) * offset, bias.shape)
    return call.add(Dense(matrix, bias), x)


@handles("Conv")
def _conv(
    call: Call,
    x: Any,
    w: Any,
    b: Any = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Any = None,
    group: int = 1,
    kernel_shape: Any = None,
    pads: Any = None,
    strides: Any = None,
) -> Any:
    x, kernel = variable(x), weights(w, "the kernel")
    space, strides, dilations = _kernel_geometry(x, kernel.shape, kernel_shape, strides, dilations, group)
    bias = _bias(b, kernel.shape[0])
    padding = resolve_pads(auto_pad, pads, x.shape[1:], space, strides, dilations)
    return call.add(Conv(kernel, bias, strides, dilations, padding, group), x)


@handles("ConvTranspose")
def _conv_transpose(
    call: Call,
    x: Any,
    w: Any,
    b: Any = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Any = None,
    group: int = 1,
    kernel_shape: Any = None,
    output_padding: Any = None,
    output_shape: Any = None,
    pads: Any = None,
    strides: Any = None,
) -> Any:
    x, kernel = variable(x), weights(w, "the kernel")
    space, strides, dilations = _kernel_geometry(x, kernel.shape, kernel_shape, strides, dilations, group)
    n = len(space)
    bias = _bias(b, kernel.shape[1] * group)
    extra = per_axis(output_padding, n, 0)
    full = [
        (size - 1) * stride + dilation * (k - 1) + 1
        for size, stride, dilation, k in zip(x.shape[1:], strides, dilations, space)
    ]
    if output_shape is None and auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        output_shape = [size * stride for size, stride in zip(x.shape[1:], strides)]
    if output_shape is not None:
        sizes = integers(output_shape, "output_shape")[-n:]
        # ONNX: total = full + output_padding - size; the odd row goes first unless auto_pad is SAME_UPPER.
        totals = [whole + more - size for whole, more, size in zip(full, extra, sizes)]
        halves = [(total // 2, total - total // 2) for total in totals]
        crops = halves if auto_pad == "SAME_UPPER" else [(after, before) for before, after in halves]
    elif auto_pad in ("NOTSET", "VALID"):
        crops = list(spatial_pads(None if auto_pad == "VALID" else pads, n))
    else:
        raise ModelError(f"auto_pad {auto_pad!r} is none of NOTSET, VALID, SAME_UPPER, SAME_LOWER")
    crops = [(before, after - more) for (before, after), more in zip(crops, extra)]
    return call.add(ConvTranspose(kernel, bias, strides, dilations, tuple(crops), group), x)


@handles("BatchNormalization")
def _batch_normalization(
    call: Call,
    x: Any,
    scale: Any,
    b: Any,
    mean: Any,
    var: Any,
    *,
    epsilon: float = 1e-5,
    is_test: int = 1,
    momentum: float = 0.9,
    spatial: int = 1,
    training_mode: int = 0,
) -> Any:
    x = variable(x)
    if training_mode or not is_test or not spatial or not call.only_first:
        raise ModelError("only inference with one mean and variance per channel can be converted")
    names = ("scale", "B", "mean", "var")
    factors, offsets, means, variances = (
        weights(value, name).astype(np.float64) for name, value in zip(names, (scale, b, mean, var))
    )
    if not factors.shape == offsets.shape == means.shape == variances.shape == x.shape[:1]:
        raise ModelError(f"scale, B, mean and var must have the shape {x.shape[:1]}, the channels of {x.shape}")
    slopes = factors / np.sqrt(variances + epsilon)
    shape = (-1, *[1] * (len(x.shape) - 1))
    return call.add(Affine(frozen(slopes.reshape(shape)), frozen((offsets - means * slopes).reshape(shape))), x)


def per_axis(values: Any, n_axes: int, default: int = 1) -> Shape:
    """Return an attribute with one number per spatial axis, or the default for all."""
    numbers = tuple(integers(values, "an attribute")) if values is not None else (default,) * n_axes
    if len(numbers) != n_axes or any(number < default for number in numbers):
        raise ModelError(f"{n_axes} numbers of at least {default} are needed, got {list(numbers)}")
    return numbers


def resolve_pads(auto_pad: str, pads: Any, space: Shape, kernel: Shape, strides: Shape, dilations: Shape) -> Pads:
    """Return ONNX's pads or auto_pad as pairs, one per spatial axis."""
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        return same_pads(space, kernel, strides, dilations, upper=auto_pad == "SAME_UPPER")
    if auto_pad not in ("NOTSET", "VALID"):
        raise ModelError(f"auto_pad {auto_pad!r} is none of NOTSET, VALID, SAME_UPPER, SAME_LOWER")
    pairs = spatial_pads(None if auto_pad == "VALID" else pads, len(kernel))
    if any(pad < 0 for pair in pairs for pad in pair):
        raise ModelError(f"pads below 0 cannot be converted: {pairs}")
    return pairs


def _kernel_geometry(
    x: Variable, shape: Shape, declared: Any, strides: Any, dilations: Any, group: int
) -> tuple[Shape, Shape, Shape]:
    """Return the spatial sizes, strides and dilations of a kernel, or refuse what does not fit it."""
    space = shape[2:]
    if len(shape) != x.rank or x.rank < 3:
        raise ModelError(f"a kernel of {x.rank} axes is needed for a value of {x.rank} axes (at least 3), got {shape}")
    if declared is not None and tuple(integers(declared, "kernel_shape")) != space:
        raise ModelError(f"kernel_shape {list(declared)} does not fit the kernel {shape}")
    if not 1 <= group <= shape[0] or shape[0] % group:
        raise ModelError(f"group must divide the {shape[0]} of the kernel {shape}, got {group}")
    return space, per_axis(strides, len(space)), per_axis(dilations, len(space))


def _bias(given: Any, n_out: int) -> AnyArray:
    """Return one bias for each of the `n_out` channels that a convolution gives, zeros where there is none."""
    bias = np.zeros(n_out, np.float32) if given is None else weights(given, "the bias")
    if bias.shape != (n_out,):
        raise ModelError(f"the bias must have the shape {(n_out,)}, one number per channel, got {bias.shape}")
    return bias
