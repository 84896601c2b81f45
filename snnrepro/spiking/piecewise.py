"""A function of one number as a sum of rectifiers, ``c + s x + sum of a_k relu(x - b_k)``, fitted to data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Sequence

import numpy as np

from snnrepro.errors import DataError, ModelError
from snnrepro.network.formula import evaluate, parsed
from snnrepro.spiking.checks import is_number

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray

BOUND = 0.01
"""Root mean square error that a fit may have, of the standard deviation of the function's values on the data."""
MOST_TERMS = 12
"""Terms beyond which a fit is taken as it is, and its error is told."""

_GRID = 1025
"""Points between the data's ends at which a function's curvature is looked at."""
_EVERYWHERE = 0.1
"""Share of the knots that go where the function is curved, however few of the data are there."""


@dataclass(frozen=True)
class Fit:
    """A piecewise linear function: ``y = offset + slope * x + sum(factors * max(signs * (x - knots), 0))``.

    Attributes
    ----------
    formula : str
        What it is fitted to, as `snnrepro.network.formula` has it.
    offset, slope : float
        The line through the middle of the data.
    knots, signs, factors : tuple of float
        Of each term: where it begins, whether above (1) or below (-1), and its slope.
    error : float
        Root mean square error on the data, of the standard deviation of the function's values there.
    low, high : float
        The smallest and the largest number of the data.
    largest : float
        The largest error between them.
    """

    formula: str
    offset: float
    slope: float
    knots: tuple[float, ...]
    signs: tuple[float, ...]
    factors: tuple[float, ...]
    error: float
    low: float
    high: float
    largest: float

    def __post_init__(self) -> None:
        parsed(self.formula)
        terms = (self.knots, self.signs, self.factors)
        numbers = [self.offset, self.slope, self.error, self.low, self.high, self.largest, *sum(terms, ())]
        if len(set(map(len, terms))) > 1 or not all(is_number(value) for value in numbers):
            raise ModelError("a fit needs finite numbers, and as many knots as signs and factors")

    def __call__(self, x: AnyArray) -> AnyArray:
        """Return its values."""
        terms = [a * np.maximum(s * (x - b), 0) for a, s, b in zip(self.factors, self.signs, self.knots)]
        return np.asarray(self.offset + self.slope * x + sum(terms))


def fit(formula: str, data: AnyArray, bound: float = BOUND) -> Fit:
    """Return the function with as few terms as keep the error within a bound.

    The knots lie where the function is curved and the data are: by the density that a piecewise linear function of
    many pieces has its knots in when its mean square error is smallest, (f''^2 times the density of the data)^(1/5)
    (C. de Boor, A Practical Guide to Splines, chapter XII). The line is the piece in the middle of the data, so that
    nothing spikes there.

    Parameters
    ----------
    formula : str
        As `snnrepro.network.formula` has it.
    data : numpy.ndarray
        Numbers that it is applied to.
    bound : float
        See `BOUND`.

    Raises
    ------
    DataError
        The function is not defined for some of the data.

    Examples
    --------
    >>> import numpy as np
    >>> from snnrepro.spiking.piecewise import fit
    >>> fitted = fit("max(x, 0.0)", np.linspace(-1, 1, 99))
    >>> len(fitted.knots), round(float(fitted(0.5)), 2)
    (1, 0.5)
    """
    x = np.sort(np.asarray(data, np.float64).reshape(-1))
    y = _values(formula, x)
    grid = np.linspace(x[0], x[-1], _GRID)
    spread = float(y.std())
    if not spread:  # a constant, on these data
        return Fit(formula, float(y[0]), 0.0, (), (), (), 0.0, float(x[0]), float(x[-1]), 0.0)
    exact = _values(formula, grid)
    best = None
    for n_terms in range(MOST_TERMS + 1):
        knots = _knots(grid, exact, x, n_terms)
        offset, slope, signs, factors = _least_squares(x, y, knots)
        found = Fit(formula, offset, slope, tuple(knots), signs, factors, 0.0, float(x[0]), float(x[-1]), 0.0)
        error = float(np.sqrt(np.mean((found(x) - y) ** 2))) / spread
        if best is None or error < best.error:
            best = replace(found, error=error, largest=float(np.abs(found(grid) - exact).max()))
        if best.error <= bound:
            break
    assert best is not None
    return best


def _values(formula: str, x: AnyArray) -> AnyArray:
    y = np.asarray(evaluate(formula, np.asarray(x, np.float32)), np.float64)
    if not np.isfinite(y).all():
        where = x[np.argmin(np.isfinite(y))]
        raise DataError(
            f"{formula} is no finite number at {where:.6g}, which lies among the calibration images' values"
        )
    return y


def _knots(grid: AnyArray, exact: AnyArray, x: AnyArray, n_terms: int) -> list[float]:
    """Return where the terms begin: at equal shares of the knots' density."""
    curvature = np.abs(np.diff(exact, 2))
    density = np.histogram(x, bins=np.concatenate([[-np.inf], (grid[1:-2] + grid[2:-1]) / 2, [np.inf]]))[0] / len(x)
    density = np.convolve(density, np.ones(9) / 9, "same") + 1e-12
    wanted = (curvature**2 * density) ** 0.2
    everywhere = np.sqrt(curvature)
    if not everywhere.sum():
        return []
    wanted = (1 - _EVERYWHERE) * wanted / wanted.sum() + _EVERYWHERE * everywhere / everywhere.sum()
    shares = (np.arange(n_terms) + 0.5) / max(n_terms, 1)
    return list(dict.fromkeys(float(grid[1:-1][index]) for index in np.searchsorted(np.cumsum(wanted), shares)))


def _least_squares(
    x: AnyArray, y: AnyArray, knots: Sequence[float]
) -> tuple[float, float, tuple[float, ...], tuple[float, ...]]:
    """Return offset and slope of the line, and of every knot the sign and the factor."""
    signs = tuple(1.0 if knot >= np.median(x) else -1.0 for knot in knots)
    columns = [np.ones_like(x), x, *(np.maximum(sign * (x - knot), 0) for sign, knot in zip(signs, knots))]
    sizes = np.array([max(float(np.abs(column).max()), 1e-30) for column in columns])
    solved = np.linalg.lstsq(np.stack(columns, 1) / sizes, y, rcond=1e-7)[0] / sizes
    return float(solved[0]), float(solved[1]), signs, tuple(float(factor) for factor in solved[2:])
