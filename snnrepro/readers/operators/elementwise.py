"""Activations and element by element arithmetic."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Sequence

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.network.layers import Add, Affine, LeakyReLU, ReLU, Sigmoid, Softmax
from snnrepro.network.padding import broadcast
from snnrepro.readers.operators.registry import (
    Call,
    Variable,
    constant,
    handles,
    inner_axis,
    number,
    per_image,
    variable,
    weights,
)

PRODUCT = "a product of two values"


@handles("Relu", row_wise=True)
def _relu(call: Call, x: Any) -> Any:
    return call.add(ReLU(), variable(x))


@handles("Clip", row_wise=True, either=["min", "max"])
def _clip(call: Call, x: Any, min: Any = None, max: Any = None) -> Any:
    x = variable(x)
    low, high = (None if bound is None else number(bound, name) for name, bound in (("min", min), ("max", max)))
    largest = np.finfo(np.float32).max  # before opset 11 the defaults, spelt out by some exporters
    low = None if low is None or low <= -largest else low
    high = None if high is None or high >= largest else high
    if low is None and high is None:
        return x
    low = 0.0 if low is None and x.rectified else low
    if low != 0.0 or (high is not None and high <= 0.0):
        raise ModelError(f"only a clip from 0 upwards (ReLU-N) can be converted, got {low} to {high}")
    return call.add(ReLU(high), x)


@handles("Max", row_wise=True)
def _max(call: Call, *terms: Any) -> Any:
    x, low = _bounded(terms)
    if low != 0.0:
        raise ModelError(f"only the larger of a value and 0 (ReLU) can be converted, got {low}")
    return x if x.rectified else call.add(ReLU(x.bound), x)


@handles("Min", row_wise=True)
def _min(call: Call, *terms: Any) -> Any:
    x, high = _bounded(terms)
    if not high > 0.0:
        raise ModelError(f"only the smaller of a value and a number above 0 (ReLU-N) can be converted, got {high}")
    if x.rectified:
        return call.add(ReLU(high), x)
    if call.read_by == {"Max"}:
        return replace(x, bound=high)  # the Max, which is behind it, makes a ReLU-N of both
    raise ModelError(f"the smaller of a value and {high} is ReLU-N only behind a ReLU or before a Max with 0")


def _bounded(terms: Sequence[Any]) -> tuple[Variable, float]:
    """Return the one variable and the one number of a Min or Max."""
    variables = [term for term in terms if isinstance(term, Variable)]
    if len(variables) != 1 or len(terms) != 2:
        raise ModelError(f"one value and one constant number are needed, got {len(variables)} values of {len(terms)}")
    x, constant = variables[0], next(term for term in terms if not isinstance(term, Variable))
    values = per_image(weights(constant, "the bound"), x.rank, "the bound")
    if not values.size or np.any(values != values.flat[0]) or broadcast(x.shape, values.shape) != x.shape:
        raise ModelError(f"the bound must be one number for the value of shape {x.shape}, got a shape {values.shape}")
    return x, float(values.flat[0])


@handles("LeakyRelu", row_wise=True)
def _leaky_relu(call: Call, x: Any, *, alpha: float = 0.01) -> Any:
    return call.add(LeakyReLU(np.full((), alpha, np.float32)), variable(x))


@handles("PRelu", row_wise=True)
def _prelu(call: Call, x: Any, slope: Any) -> Any:
    x, slopes = variable(x), weights(slope, "the slope")
    if call.opset < 7 and slopes.ndim == 1:  # one slope per channel; from opset 7 on it is broadcast as everywhere
        slopes = slopes.reshape(-1, *[1] * (x.rank - 2))
    return call.add(LeakyReLU(per_image(slopes, x.rank, "the slope")), x)


@handles("Sigmoid", row_wise=True)
def _sigmoid(call: Call, x: Any) -> Any:
    return call.add(Sigmoid(), variable(x))


def _softmax_axes(call: Call, x: Variable, axis: Any) -> tuple[int, ...]:
    if call.opset >= 13:
        return (inner_axis(-1 if axis is None else axis, x.rank) + x.folded,)
    first = inner_axis(1 if axis is None else axis, x.rank) + x.folded  # before opset 13 all axes from this one are one
    return tuple(range(first, len(x.shape)))


@handles("Softmax", row_wise=True)
def _softmax(call: Call, x: Any, *, axis: Any = None) -> Any:
    x = variable(x)
    return call.add(Softmax(_softmax_axes(call, x, axis)), x)


@handles("LogSoftmax", row_wise=True)
def _log_softmax(call: Call, x: Any, *, axis: Any = None) -> Any:
    x = variable(x)
    return call.add(Softmax(_softmax_axes(call, x, axis), log=True), x)


def _affine(call: Call, x: Variable, scale: Any, offset: Any) -> Any:
    one, zero = np.ones((), np.float32), np.zeros((), np.float32)
    return call.add(
        Affine(
            one if scale is None else per_image(weights(scale, "the factor"), x.rank, "the factor"),
            zero if offset is None else per_image(weights(offset, "the constant"), x.rank, "the constant"),
        ),
        x,
    )


@handles("Add", row_wise=True)
def _add(call: Call, a: Any, b: Any) -> Any:
    if isinstance(a, Variable) and isinstance(b, Variable):
        return call.add(Add(), a, b)
    x, offset = (a, b) if isinstance(a, Variable) else (b, a)
    return _affine(call, variable(x), None, offset)


@handles("Sum")
def _sum(call: Call, *terms: Any) -> Any:
    variables = [term for term in terms if isinstance(term, Variable)]
    total = variables[0] if len(variables) == 1 else call.add(Add(), *variables)
    for term in terms:
        if not isinstance(term, Variable):
            total = _affine(call, total, None, term)
    return total


@handles("Sub", row_wise=True)
def _sub(call: Call, a: Any, b: Any) -> Any:
    minus_one = np.full((), -1, np.float32)
    if isinstance(a, Variable) and isinstance(b, Variable):
        return call.add(Add(), a, _affine(call, b, minus_one, None))
    if isinstance(a, Variable):
        return _affine(call, a, None, -weights(b, "the constant"))
    return _affine(call, variable(b), minus_one, a)


@handles("Neg", row_wise=True)
def _neg(call: Call, x: Any) -> Any:
    return _affine(call, variable(x), np.full((), -1, np.float32), None)


@handles("Mul", row_wise=True)
def _mul(call: Call, a: Any, b: Any) -> Any:
    if isinstance(a, Variable) and isinstance(b, Variable):
        raise ModelError(f"{PRODUCT} that are both computed at run time is not linear in spikes")
    x, factor = (a, b) if isinstance(a, Variable) else (b, a)
    return _affine(call, variable(x), factor, None)


@handles("Div", row_wise=True)
def _div(call: Call, a: Any, b: Any) -> Any:
    x, divisor = variable(a, "the dividend"), weights(b, "the divisor")
    if not np.all(divisor):
        raise ModelError("the divisor holds a 0")
    return _affine(call, x, np.float32(1) / divisor, None)


@handles("Identity", row_wise=True)
def _identity(call: Call, x: Any) -> Any:
    return x


@handles("Dropout", row_wise=True, either=["ratio"])
def _dropout(
    call: Call, x: Any, ratio: Any = None, training_mode: Any = None, *, seed: int = 0, is_test: int = 1
) -> Any:
    drops = ratio is None or number(ratio, "the ratio")  # left out, it is a half
    if drops and training_mode is not None and np.any(constant(training_mode, "training_mode")):
        raise ModelError("only inference can be converted, training_mode is true")
    if not call.only_first:
        raise ModelError("its mask cannot be used")
    return variable(x)


@handles("Cast", row_wise=True)
def _cast(call: Call, x: Any, *, to: int, saturate: int = 1, round_mode: str = "up") -> Any:
    float32 = 1  # onnx.TensorProto.FLOAT
    if to != float32:
        raise ModelError(f"a value computed at run time stays float32, it cannot become type {to}")
    return variable(x)
