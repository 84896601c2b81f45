"""Activations and element by element arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.network import formula
from snnrepro.network.layers import Add, Affine, Divide, LeakyReLU, Multiply, ReLU, Sigmoid, Softmax
from snnrepro.readers.operators.registry import (
    Call,
    Variable,
    constant,
    function,
    function_of_root,
    handles,
    inner_axis,
    number,
    per_image,
    variable,
    weights,
)

PRODUCT = "a product of two values"
_MINUS_ONE = np.full((), -1, np.float32)


@handles("Relu", row_wise=True)
def _relu(call: Call, x: Any) -> Any:
    return call.add(ReLU(), variable(x))


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


def affine(call: Call, x: Variable, scale: Any, offset: Any) -> Variable:
    """Return ``scale * x + offset``; None for a factor of 1 and an offset of 0."""
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
    return affine(call, variable(x), None, offset)


@handles("Sum")
def _sum(call: Call, *terms: Any) -> Any:
    variables = [term for term in terms if isinstance(term, Variable)]
    total = variables[0] if len(variables) == 1 else call.add(Add(), *variables)
    for term in terms:
        if not isinstance(term, Variable):
            total = affine(call, total, None, term)
    return total


@handles("Sub", row_wise=True)
def difference(call: Call, a: Any, b: Any) -> Any:
    """Return ``a - b``, one of which may be a constant."""
    if isinstance(a, Variable) and isinstance(b, Variable):
        return call.add(Add(), a, negative(call, b))
    if isinstance(a, Variable):
        return affine(call, a, None, -weights(b, "the constant"))
    return affine(call, variable(b), _MINUS_ONE, a)


@handles("Neg", row_wise=True)
def negative(call: Call, x: Any) -> Any:
    """Return ``-x``."""
    return affine(call, variable(x), _MINUS_ONE, None)


@handles("Mul", row_wise=True)
def _mul(call: Call, a: Any, b: Any) -> Any:
    if isinstance(a, Variable) and isinstance(b, Variable):
        return together(call, "{} * {}", a, b) or product(call, a, b)
    x, factor = (a, b) if isinstance(a, Variable) else (b, a)
    return affine(call, variable(x), factor, None)


@handles("Div", row_wise=True)
def _div(call: Call, a: Any, b: Any) -> Any:
    if isinstance(a, Variable) and isinstance(b, Variable):
        return together(call, "{} / {}", a, b) or _of_two(call, Divide(), "a quotient of two values", a, b)
    if isinstance(b, Variable):
        dividend = weights(a, "the dividend")
        if dividend.size == 1:
            return function(call, f"{formula.number(number(a, 'the dividend'))} / x", b)
        return affine(call, function(call, "1.0 / x", b), dividend, None)
    x, divisor = variable(a, "the dividend"), weights(b, "the divisor")
    if not np.all(divisor):
        raise ModelError("the divisor holds a 0")
    return affine(call, x, np.float32(1) / divisor, None)


def product(call: Call, a: Variable, b: Variable) -> Variable:
    """Return the product of two values that are computed at run time: a value and its gate."""
    return _of_two(call, Multiply(), PRODUCT, a, b)


def _of_two(call: Call, layer: Multiply | Divide, what: str, a: Variable, b: Variable) -> Variable:
    if a.rank != b.rank or a.folded != b.folded or a.bound is not None or b.bound is not None:
        raise ModelError(
            f"{what} of {a.shape} and {b.shape} that are both computed at run time; as many axes are needed"
        )
    return call.add(layer, a, b)


def together(call: Call, outer: str, *terms: Any) -> Variable | None:
    """Return a function of values that are computed from one, number by number, and of constants of one number.

    None if they are not.
    """
    variables = [term for term in terms if isinstance(term, Variable)]
    alike = len({(value.shape, value.folded) for value in variables}) == 1
    if not alike or any(value.bound is not None for value in variables):
        return None
    if any(not isinstance(term, Variable) and np.size(term) != 1 for term in terms):
        return None
    x, is_one = variables[0], len({value.name for value in variables}) == 1
    if not is_one and any((value.root or value) != (x.root or x) for value in variables):
        return None
    texts = [
        formula.number(number(term, "a constant"))
        if not isinstance(term, Variable)
        else "x"
        if is_one
        else term.formula
        for term in terms
    ]
    composed = formula.of(outer, *texts)
    if is_one:
        return function(call, composed, x)
    if len(composed) > formula.LONGEST:
        raise ModelError(f"as a function of {(x.root or x).name!r} it has more than {formula.LONGEST} characters")
    return function_of_root(call, composed, x)


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


_COMPARED = {
    "Greater": ("above({}, {})", False),
    "GreaterOrEqual": ("1.0 - above({}, {})", True),
    "Less": ("above({}, {})", True),
    "LessOrEqual": ("1.0 - above({}, {})", False),
}
"""The comparisons as formulas, and whether of the two in the other order."""


def _compare(call: Call, a: Any, b: Any) -> Any:
    outer, swapped = _COMPARED[call.op_type]
    return _of_one("a comparison", together(call, outer, *((b, a) if swapped else (a, b))))


for _op_type in _COMPARED:
    handles(_op_type, row_wise=True)(_compare)


@handles("Not", row_wise=True)
def _not(call: Call, x: Any) -> Any:
    return function(call, "1.0 - x", variable(x))


@handles("Where")
def _where(call: Call, condition: Any, a: Any, b: Any) -> Any:
    if isinstance(condition, Variable):
        return _of_one("a choice", together(call, "choose({}, {}, {})", condition, a, b))
    chosen = constant(condition, "the condition")
    terms: list[Any] = []
    for value, kept in ((a, chosen), (b, ~chosen.astype(bool))):
        if isinstance(value, Variable):
            terms.append(affine(call, value, kept.astype(np.float32), None))
        else:
            terms.append(np.where(kept, weights(value, "what is chosen"), np.float32(0)))
    return _sum(call, *terms)


def _of_one(what: str, found: Variable | None) -> Variable:
    if found is None:
        raise ModelError(f"{what} is read where all values in it are computed from one, number by number")
    return found


@handles("CastLike", row_wise=True)
def _cast_like(call: Call, x: Any, like: Any, *, saturate: int = 1, round_mode: str = "up") -> Any:
    if not isinstance(like, Variable) and constant(like, "the value whose type is taken").dtype != np.float32:
        raise ModelError(f"a value computed at run time stays float32, it cannot become {like.dtype}")
    return x if isinstance(x, Variable) else constant(x, "its input").astype(np.float32)
