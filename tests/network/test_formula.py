"""A formula gives the numbers of its function, and holds nothing that could be run."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from snnrepro.errors import ModelError
from snnrepro.network import formula

X = np.linspace(-4, 5, 37).astype(np.float32)
KNOWN = {
    "x * sigmoid(x)": X * special.expit(X),
    "0.5 * x * (1.0 + erf(x / 1.4142135))": X * special.ndtr(X),
    "softplus(-x)": np.log1p(np.exp(-X)),
    "max(x, 0.0) + 0.25 * min(x, 0.0)": np.where(X > 0, X, X / 4),
    "power(abs(x), 1.5) / (2.0 + cos(x))": np.abs(X) ** 1.5 / (2 + np.cos(X)),
    "-x - 3": -X - 3,
}
HOSTILE = [
    "__import__('os').system('true')",
    "x.real",
    "x[0]",
    "y",
    "tanh",
    "tanh(x, x)",
    "max(x)",
    "tanh(x=x)",
    "x ** 9",
    "x if x else 0",
    "[x]",
    "lambda: x",
    "x == 1",
    "1e40 * x",
    "'x'",
    "True * x",
    "x; x",
    "",
    "x +",
    "(" * 400 + "x" + ")" * 400,
    "-" * 999 + "x",
    "x" * 2000,
]


@pytest.mark.parametrize("text", KNOWN)
def test_its_values_are_those_of_the_function(text):
    values = formula.evaluate(text, X)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, KNOWN[text], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_formula_is_refused(text):
    if text == "-" * 999 + "x":  # deep, and still a formula: it is evaluated or refused, nothing else
        with contextlib.suppress(ModelError):
            assert formula.evaluate(text, X)[0] == 4
        return
    with pytest.raises(ModelError):
        formula.parsed(text)


PARTS = ["x", "2.5 * x + 1.0", "tanh(x)", "max(x, 0.5)", "x * x", "-x"]


@given(st.sampled_from(["x * sigmoid(x)", "tanh(x) / (x + 9.0)", "exp(-x)", "max(x, 1.0) - x"]), st.sampled_from(PARTS))
def test_a_formula_put_into_another_is_the_function_of_the_function(outer, inner):
    x = np.linspace(-2, 2, 9).astype(np.float32)
    composed = formula.evaluate(formula.of(outer, inner), x)
    np.testing.assert_allclose(composed, formula.evaluate(outer, formula.evaluate(inner, x)), rtol=1e-5, atol=1e-6)


@given(
    st.sampled_from(["{} * {}", "{} / {}", "{} + {}", "max({}, 0.0) - {}"]),
    st.sampled_from(PARTS),
    st.sampled_from(PARTS),
)
def test_two_formulas_are_put_into_one_in_their_order(outer, first, second):
    x = np.linspace(0.25, 2, 8).astype(np.float32)
    a, b = formula.evaluate(first, x), formula.evaluate(second, x)
    wanted = {"{} * {}": a * b, "{} / {}": a / b, "{} + {}": a + b}.get(outer, np.maximum(a, 0) - b)
    np.testing.assert_allclose(formula.evaluate(formula.of(outer, first, second), x), wanted, rtol=1e-5, atol=1e-6)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_number_is_kept_to_the_bit(value):
    kept = np.float32(eval(formula.number(value)))  # Python's own reading of a literal
    assert kept.tobytes() == np.float32(value).tobytes()
