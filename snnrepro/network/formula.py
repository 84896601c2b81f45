"""Functions of one number, as text: ``x * sigmoid(x)``. They are data, and so evaluated here and never by Python."""

from __future__ import annotations

import ast
import operator
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Callable, Mapping

import numpy as np

from snnrepro.errors import ModelError

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray

GUARD = 1e-6
"""The largest number that is a guard against a division by 0, where a formula takes the larger of it and another.

Where it takes the smaller of two, the guard is one over that, or larger.
"""

LONGEST = 1000
"""Characters of a formula; those of networks have some dozens."""


def _erf(x: Any) -> Any:
    from scipy.special import erf  # loaded by the few networks that have one

    return erf(x)


def sigmoid(x: Any) -> Any:
    """Return ``1 / (1 + exp(-x))``."""
    power = np.exp(-np.abs(x))  # never overflows
    return np.where(x < 0, power, np.float32(1)) / (1 + power)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "above": lambda a, b: np.greater(a, b).astype(np.float32),
    "abs": np.abs,
    "atan": np.arctan,
    "choose": lambda which, a, b: np.where(np.equal(which, 0), b, a),
    "cos": np.cos,
    "erf": _erf,
    "exp": np.exp,
    "log": np.log,
    "max": np.maximum,
    "min": np.minimum,
    "power": np.power,
    "sigmoid": sigmoid,
    "sign": np.sign,
    "sin": np.sin,
    "softplus": lambda x: np.logaddexp(x, np.float32(0)),
    "sqrt": np.sqrt,
    "tanh": np.tanh,
}
"""What a formula may call; ``above(a, b)`` is 1 where a > b, else 0; ``choose(which, a, b)`` is b where which is 0."""

_BENDS = ("abs", "max", "min")
_LARGEST = float(np.finfo(np.float32).max)
_ARGUMENTS = {"above": 2, "choose": 3, "max": 2, "min": 2, "power": 2}
"""How many arguments a function has, where it is not one."""
_OPERATORS: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def parsed(formula: str) -> ast.expr:
    """Return a formula's syntax tree, or refuse it.

    Raises
    ------
    ModelError
        It is no sum, product or quotient of ``x``, numbers and `FUNCTIONS`, or longer than `LONGEST`.

    Examples
    --------
    >>> from snnrepro.network.formula import parsed
    >>> parsed("x.real")
    Traceback (most recent call last):
    ...
    snnrepro.errors.ModelError: the formula 'x.real' holds Attribute; accepted are x, numbers, + - * /, ...
    """
    if not isinstance(formula, str) or len(formula) > LONGEST:
        raise ModelError(f"a formula is a text of at most {LONGEST} characters")
    return _parsed(formula)


@lru_cache(maxsize=256)
def _parsed(formula: str) -> ast.expr:
    try:
        tree = ast.parse(formula, mode="eval").body
        _check(tree, formula)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ModelError(f"the formula {formula[:80]!r} cannot be read") from error
    return tree


def evaluate(formula: str, x: FloatArray) -> FloatArray:
    """Return the function's values, float32 of the shape of `x`; what is not defined there is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from snnrepro.network.formula import evaluate
    >>> evaluate("x * min(max(x + 3, 0), 6) / 6", np.array([-4, 0, 1, 5], np.float32)).round(2)
    array([-0.  ,  0.  ,  0.67,  5.  ], dtype=float32)
    """
    with np.errstate(all="ignore"):
        return np.asarray(_value(parsed(formula), x), np.float32)


def of(outer: str, *inner: str) -> str:
    """Return a formula with others put into it: for ``{}`` in turn, or, of a formula in ``x``, for every ``x``.

    Examples
    --------
    >>> from snnrepro.network.formula import of
    >>> of("{} * {}", "x", "sigmoid(2.0 * x)")
    'x * sigmoid(2.0 * x)'
    >>> of("tanh(x) / x", "x + 1.0")
    'tanh(x + 1.0) / (x + 1.0)'
    """
    if "{}" not in outer:
        parts = re.split(r"\bx\b", outer)
        outer, inner = "{}".join(parts), inner * (len(parts) - 1)
    result, *pieces = outer.split("{}")
    for formula, piece in zip(inner, pieces):
        alone = re.search(r"[(,] ?$", result) and re.match(r"[),]", piece)  # an argument
        result += (formula if alone or re.fullmatch(r"\w+(\.\w+)?|\w+\([^()]*\)", formula) else f"({formula})") + piece
    return result


def is_algebraic(formula: str, bends: bool = False) -> bool:
    """Whether a formula holds sums, products, quotients, square roots and powers with constant exponents alone.

    A `GUARD` may be among them, and with `bends` whatever rectifiers give.

    Examples
    --------
    >>> from snnrepro.network.formula import is_algebraic
    >>> is_algebraic("power(x + 0.001, -0.5) * x"), is_algebraic("x / (1.0 + abs(x))")
    (True, False)
    """
    calls = [part for part in ast.walk(parsed(formula)) if isinstance(part, ast.Call)]
    return all(_is_root(call) or (bends and getattr(call.func, "id", None) in _BENDS) for call in calls)


def _is_root(call: ast.Call) -> bool:
    """Whether it is a square root, or a power whose exponent does not depend on x."""
    name = getattr(call.func, "id", None)
    names = {getattr(part, "id", None) for argument in call.args[1:] for part in ast.walk(argument)}
    return name == "sqrt" or (name == "power" and "x" not in names) or _is_guard(name, call.args[-1])


def _is_guard(name: str | None, bound: ast.expr) -> bool:
    value = bound.value if isinstance(bound, ast.Constant) else None
    if not isinstance(value, float):
        return False
    return (name == "max" and 0 < value <= GUARD) or (name == "min" and value >= 1 / GUARD)


def is_never_negative(formula: str) -> bool:
    """Whether a formula is a square or a square root: for certain nowhere below 0, where it is defined.

    Examples
    --------
    >>> from snnrepro.network.formula import is_never_negative
    >>> is_never_negative("(x + 1.0) * (x + 1.0)"), is_never_negative("power(x, 2.0)"), is_never_negative("x * x * x")
    (True, True, False)
    """
    tree = parsed(formula)
    if isinstance(tree, ast.BinOp):
        return isinstance(tree.op, ast.Mult) and ast.dump(tree.left) == ast.dump(tree.right)
    name, arguments = (getattr(tree.func, "id", None), tree.args) if isinstance(tree, ast.Call) else (None, [])
    return name == "sqrt" or (name == "power" and getattr(arguments[1], "value", None) == 2)


def number(value: float) -> str:
    """Return a number as a formula holds it: one that float32 holds, to the bit."""
    return repr(float(np.float32(value)))


def _check(tree: ast.AST, formula: str) -> None:
    problem = ""
    if isinstance(tree, ast.BinOp):
        problem = "" if type(tree.op) in _OPERATORS else type(tree.op).__name__
        children = [tree.left, tree.right]
    elif isinstance(tree, ast.UnaryOp):
        problem = "" if isinstance(tree.op, ast.USub) else type(tree.op).__name__
        children = [tree.operand]
    elif isinstance(tree, ast.Call):
        name, children = getattr(tree.func, "id", None), tree.args
        if name not in FUNCTIONS or tree.keywords or len(children) != _ARGUMENTS.get(str(name), 1):
            problem = f"the call {name!r} of {len(children)}"
    elif isinstance(tree, ast.Constant):
        children = []
        value: Any = tree.value
        problem = "" if type(value) in (int, float) and abs(value) < _LARGEST else repr(value)
    else:
        children = []
        problem = "" if isinstance(tree, ast.Name) and tree.id == "x" else getattr(tree, "id", type(tree).__name__)
    if problem:
        raise ModelError(
            f"the formula {formula[:80]!r} holds {problem}; accepted are x, numbers, + - * /, "
            f"and {', '.join(FUNCTIONS)}"
        )
    for child in children:
        _check(child, formula)


def _value(tree: ast.expr, x: Any) -> Any:
    if isinstance(tree, ast.BinOp):
        return _OPERATORS[type(tree.op)](_value(tree.left, x), _value(tree.right, x))
    if isinstance(tree, ast.UnaryOp):
        return -_value(tree.operand, x)
    if isinstance(tree, ast.Call):
        assert isinstance(tree.func, ast.Name)  # `_check` has seen to it
        return FUNCTIONS[tree.func.id](*(_value(argument, x) for argument in tree.args))
    return np.float32(str(tree.value)) if isinstance(tree, ast.Constant) else x
