"""Piecewise linear functions, written exactly as rectifiers between linear maps."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.network.formula import GUARD
from snnrepro.network.formula import number as text
from snnrepro.network.layers import Add, ReLU
from snnrepro.network.padding import broadcast
from snnrepro.readers.operators.elementwise import affine, difference, negative
from snnrepro.readers.operators.registry import Call, Variable, function, handles, number, per_image, variable, weights

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray


_FAR = 100.0
"""Bounds beyond it are hardly ever reached, and what exceeds them is taken off. As distances from such a bound values
would lose digits, and neurons would have to fire as much as the bound."""


@handles("Clip", row_wise=True, either=["min", "max"])
def _clip(call: Call, x: Any, min: Any = None, max: Any = None) -> Any:
    x = variable(x)
    low, high = (None if bound is None else number(bound, name) for name, bound in (("min", min), ("max", max)))
    largest = np.finfo(np.float32).max  # before opset 11 the defaults, spelt out by some exporters
    low = None if low is None or low <= -largest else low
    high = None if high is None or high >= largest else high
    if x.rectified and (low is None or low <= 0.0):
        low = 0.0 if high is not None and high > 0.0 else None
    if low is not None and high is not None and not low < high:
        raise ModelError(f"a clip from {low} to {high} leaves one number only")
    if low is None:
        return x if high is None else _smaller(call, x, np.full((), high, np.float32))
    return _from(call, x, np.full((), low, np.float32), None if high is None else high - low)


def _from(call: Call, x: Variable, low: AnyArray, reach: float | None = None) -> Variable:
    """Return ``low + min(max(x - low, 0), reach)``, where it is a guard against a division by 0 as one function."""
    if x.rectified and reach is None and low.size == 1 and 0 < low.item() <= GUARD:
        return function(call, f"max(x, {text(low.item())})", x)
    if not np.any(low):
        return x if x.rectified and reach is None else call.add(ReLU(reach), x)
    if np.abs(low).max() > _FAR:
        raised = call.add(Add(), x, call.add(ReLU(), difference(call, low, x)))
        return raised if reach is None else _smaller(call, raised, low + np.float32(reach))
    above = call.add(ReLU(reach), difference(call, x, low))
    return affine(call, above, None, low)


def _smaller(call: Call, x: Variable, high: AnyArray) -> Any:
    """Return ``high - max(high - x, 0)``, where that is a guard as one function: the differences lose all digits."""
    if high.size == 1 and high.item() >= 1 / GUARD:
        return function(call, f"min(x, {text(high.item())})", x)
    if np.abs(high).max() > _FAR:
        return difference(call, x, call.add(ReLU(), difference(call, x, high)))
    return difference(call, high, call.add(ReLU(), difference(call, high, x)))


@handles("Max", row_wise=True)
def _max(call: Call, *terms: Any) -> Any:
    def larger(a: Variable, b: Variable) -> Variable:
        return call.add(Add(), a, call.add(ReLU(), difference(call, b, a)))

    x, low = reduce(larger, _variables(terms)), _bound(terms, np.maximum)
    if low is None:
        return x
    if x.bound is None:
        return _from(call, x, low)
    if low.size > 1 or not low < x.bound:
        raise ModelError(f"the larger of {low.tolist()} and what is {x.bound} at most is no clip")
    return _from(call, replace(x, bound=None), low, float(x.bound - low))


@handles("Min", row_wise=True)
def _min(call: Call, *terms: Any) -> Any:
    def smaller(a: Variable, b: Variable) -> Any:
        return difference(call, a, call.add(ReLU(), difference(call, a, b)))

    x, high = reduce(smaller, _variables(terms)), _bound(terms, np.minimum)
    if high is None:
        return x
    if x.rectified and not np.all(high > 0):
        raise ModelError(f"the smaller of what is 0 at least and {high.tolist()} leaves one number only")
    if high.size == 1 and x.rectified:
        return call.add(ReLU(float(high)), x)
    if high.size == 1 and call.read_by == {"Max"} and x.bound is None and len(terms) == 2:
        return replace(x, bound=float(high))  # the Max, which is behind it, makes a clip of both
    return _smaller(call, x, high)


def _variables(terms: Sequence[Any]) -> list[Variable]:
    """Return the terms that are computed at run time, which must have one shape."""
    variables = [term for term in terms if isinstance(term, Variable)]
    if len(variables) > 1 and any(term.shape != variables[0].shape or term.bound is not None for term in variables):
        raise ModelError(f"values of one shape are needed, got {', '.join(str(term.shape) for term in variables)}")
    return variables


def _bound(terms: Sequence[Any], pick: Any) -> AnyArray | None:
    """Return the largest or smallest of the constant terms, without the batch axis; None where there is none."""
    x = next(term for term in terms if isinstance(term, Variable))
    constants = [term for term in terms if not isinstance(term, Variable)]
    if not constants:
        return None
    values: AnyArray = reduce(pick, [per_image(weights(one, "a bound"), x.rank, "a bound") for one in constants])
    if not values.size or broadcast(x.shape, values.shape) != x.shape:
        raise ModelError(f"a bound of shape {values.shape} is not one for the value of shape {x.shape}")
    return values.reshape(-1)[0] if np.all(values == values.reshape(-1)[0]) else values


@handles("HardSigmoid", row_wise=True)
def _hard_sigmoid(call: Call, x: Any, *, alpha: float = 0.2, beta: float = 0.5) -> Any:
    return call.add(ReLU(1.0), affine(call, variable(x), np.float32(alpha), np.float32(beta)))


@handles("Abs", row_wise=True)
def _abs(call: Call, x: Any) -> Any:
    x = variable(x)
    return call.add(Add(), call.add(ReLU(), x), call.add(ReLU(), negative(call, x)))
