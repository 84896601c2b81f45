"""Functions of one number that are curved: in the spiking network, sums of rectifiers fitted to them."""

from __future__ import annotations

from typing import Any

from snnrepro.errors import ModelError
from snnrepro.network.formula import number as text
from snnrepro.readers.operators.registry import Call, constant, function, handles, variable

_OF_X = {
    "Atan": "atan(x)",
    "Cos": "cos(x)",
    "Erf": "erf(x)",
    "Erfc": "1.0 - erf(x)",  # TensorFlow's, which tf2onnx leaves as it is: Keras 3 writes GELU by it
    "Exp": "exp(x)",
    "Expm1": "exp(x) - 1.0",  # TensorFlow's, too
    "HardSwish": "x * min(max(x / 6.0 + 0.5, 0.0), 1.0)",
    "Log": "log(x)",
    "Mish": "x * tanh(softplus(x))",
    "Reciprocal": "1.0 / x",
    "Sign": "sign(x)",
    "Sin": "sin(x)",
    "Softplus": "softplus(x)",
    "Softsign": "x / (1.0 + abs(x))",
    "Sqrt": "sqrt(x)",
    "Tanh": "tanh(x)",
}


def _of_x(call: Call, x: Any) -> Any:
    return function(call, _OF_X[call.op_type], variable(x))


for _op_type in _OF_X:
    handles(_op_type, row_wise=True)(_of_x)


@handles("Elu", row_wise=True)
def _elu(call: Call, x: Any, *, alpha: float = 1.0) -> Any:
    return function(call, _exponential(alpha, 1.0, 1.0), variable(x))


@handles("Celu", row_wise=True)
def _celu(call: Call, x: Any, *, alpha: float = 1.0) -> Any:
    return function(call, _exponential(alpha, 1.0, alpha), variable(x))


@handles("Selu", row_wise=True)
def _selu(call: Call, x: Any, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232) -> Any:
    return function(call, _exponential(alpha * gamma, gamma, 1.0), variable(x))


def _exponential(alpha: float, gamma: float, width: float) -> str:
    """Return ``gamma * x`` above 0 and ``alpha * (exp(x / width) - 1)`` below."""
    return f"{text(gamma)} * max(x, 0.0) + {text(alpha)} * (exp(min(x, 0.0) / {text(width)}) - 1.0)"


@handles("Gelu", row_wise=True)
def _gelu(call: Call, x: Any, *, approximate: str = "none") -> Any:
    if approximate == "tanh":
        cubic = "x + 0.044715 * x * x * x"
        return function(call, f"0.5 * x * (1.0 + tanh(0.7978845608028654 * ({cubic})))", variable(x))
    if approximate != "none":
        raise ModelError(f"approximate {approximate!r} is none of 'none', 'tanh'")
    return function(call, "0.5 * x * (1.0 + erf(x / 1.4142135623730951))", variable(x))


@handles("Swish", row_wise=True)
def _swish(call: Call, x: Any, *, alpha: float = 1.0) -> Any:
    return function(call, f"x * sigmoid({text(alpha)} * x)", variable(x))


@handles("Pow", row_wise=True)
def _pow(call: Call, x: Any, exponent: Any) -> Any:
    x, exponents = variable(x, "the base"), constant(exponent, "the exponent")
    if exponents.size != 1:
        raise ModelError(f"the exponent must be one number, it is an array of {exponents.shape}")
    power = float(exponents.reshape(()))
    return x if power == 1 else function(call, f"power(x, {text(power)})", x)
