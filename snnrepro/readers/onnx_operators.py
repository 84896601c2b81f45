"""The ONNX operators that can be read: a registry keyed by operator type.

A handler's keyword parameters *are* the operator's attributes with the specification's defaults
(https://onnx.ai/onnx/operators/); an attribute it does not name is refused. It gets the node's inputs in order, each an
array (a constant) or a `Variable` (computed at run time), and returns a constant, a variable, or a layer with the one
variable that the layer reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Tuple, Union

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.network.layers import Bias, Dense, ReLU, Reshape, Softmax

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.network.layers import Layer


@dataclass(frozen=True)
class Variable:
    """A value computed at run time: its name, and its shape without the batch axis."""

    name: str
    shape: tuple[int, ...]


Result = Union["AnyArray", Variable, Tuple["Layer", Variable]]
Handler = Callable[..., Result]

HANDLERS: dict[str, Handler] = {}


def handles(op_type: str) -> Callable[[Handler], Handler]:
    """Register a handler for an operator type; a second one for the same type is an error."""

    def register(handler: Handler) -> Handler:
        if op_type in HANDLERS:
            raise ValueError(f"ONNX operator {op_type}: a handler is registered already")
        HANDLERS[op_type] = handler
        return handler

    return register


@handles("Identity")
def _identity(x: Any) -> Result:
    result: Result = x
    return result


@handles("Constant")
def _constant(*, value: Any) -> Result:
    return np.asarray(value)


@handles("MatMul")
def _matmul(a: Any, b: Any) -> Result:
    if not isinstance(a, Variable) or isinstance(b, Variable) or b.ndim != 2:
        raise ModelError("only a variable times a constant matrix can be converted")
    return Dense(b, np.zeros(b.shape[1], np.float32)), a


@handles("Gemm")
def _gemm(
    a: Any, b: Any, c: Any = None, *, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0
) -> Result:
    if not isinstance(a, Variable) or isinstance(b, Variable) or isinstance(c, Variable) or transA:
        raise ModelError("only a variable times a constant matrix, the variable not transposed, can be converted")
    weights = b.T if transB else b
    if alpha != 1.0:
        weights = np.float32(alpha) * weights
    bias = np.zeros(weights.shape[1], np.float32) if c is None else np.broadcast_to(c, (1, weights.shape[1]))[0]
    if beta != 1.0:
        bias = np.float32(beta) * bias
    return Dense(weights, bias), a


@handles("Add")
def _add(a: Any, b: Any) -> Result:
    x, constant = (a, b) if isinstance(a, Variable) else (b, a)
    if not isinstance(x, Variable) or isinstance(constant, Variable):
        raise ModelError("only the addition of a constant bias can be converted")
    n = x.shape[-1]
    if constant.size not in (1, n) or (constant.ndim and constant.shape[-1] not in (1, n)):
        raise ModelError(f"only a bias over the last axis ({n}) can be converted, got shape {constant.shape}")
    return Bias(np.broadcast_to(constant.reshape(-1), (n,))), x


@handles("Relu")
def _relu(x: Any) -> Result:
    return ReLU(), x


@handles("Softmax")
def _softmax(x: Any, *, axis: int = -1) -> Result:
    if axis not in (-1, len(x.shape)):
        raise ModelError(f"only the last axis can be converted, got axis={axis} of {len(x.shape) + 1}")
    return Softmax(), x


@handles("Flatten")
def _flatten(x: Any, *, axis: int = 1) -> Result:
    if axis != 1:
        raise ModelError(f"only axis=1 keeps the batch, got axis={axis}")
    return Reshape((int(np.prod(x.shape)),)), x


@handles("Reshape")
def _reshape(x: Any, shape: Any, *, allowzero: int = 0) -> Result:
    if not isinstance(x, Variable) or isinstance(shape, Variable):
        raise ModelError("only a variable with a constant shape can be converted")
    sizes = [int(size) for size in shape]
    n = int(np.prod(x.shape))
    # The batch axis is free: [-1, ...] with the rest explicit, or [0, ...]/[1, ...] with at most one -1 behind it.
    rest = sizes[1:]
    if sizes[0] == -1 and -1 not in rest and int(np.prod(rest)) == n:
        return Reshape(tuple(rest)), x
    if sizes[0] == 0 and rest.count(-1) <= 1:
        known = int(np.prod([size for size in rest if size != -1]))
        rest = [n // known if size == -1 else size for size in rest]
        if int(np.prod(rest)) == n:
            return Reshape(tuple(rest)), x
    raise ModelError(f"the batch axis must stay first: shape {sizes} for an input of (batch, {x.shape})")
