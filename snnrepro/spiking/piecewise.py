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
    spread = float(y.std())
    low, high = float(x[0]), float(x[-1])
    if not spread:  # a constant, on these data
        return Fit(formula, float(y[0]), 0.0, (), (), (), 0.0, low, high, 0.0)
    grid = np.linspace(low, high, _GRID)
    exact = _values(formula, grid)
    shares = np.histogram(x, bins=[-np.inf, *(grid[1:] + grid[:-1]) / 2, np.inf])[0] / len(x)
    best = None
    for n_terms in range(MOST_TERMS + 1):
        knots = _moved(grid, exact, shares, _knots(grid, exact, shares, n_terms))
        signs = tuple(1.0 if knot >= np.median(x) else -1.0 for knot in knots)
        offset, slope, *factors = _least_squares(x, y, np.ones_like(x), knots, signs)
        found = Fit(formula, offset, slope, tuple(knots), signs, tuple(factors), 0.0, low, high, 0.0)
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


def _knots(grid: AnyArray, exact: AnyArray, shares: AnyArray, n_terms: int) -> list[float]:
    """Return where the terms begin, about: at equal shares of the knots' density."""
    curvature = np.abs(np.diff(exact, 2))
    if not curvature.any():
        return []
    density = np.convolve(shares, np.ones(9) / 9, "same")[1:-1] + 1e-12
    wanted, everywhere = (curvature**2 * density) ** 0.2, np.sqrt(curvature)
    wanted = (1 - _EVERYWHERE) * wanted / wanted.sum() + _EVERYWHERE * everywhere / everywhere.sum()
    places = np.searchsorted(np.cumsum(wanted), (np.arange(n_terms) + 0.5) / max(n_terms, 1))
    return list(dict.fromkeys(grid[1:-1][places].tolist()))


def _moved(grid: AnyArray, exact: AnyArray, shares: AnyArray, knots: Sequence[float]) -> list[float]:
    """Return the knots moved to where the error on the data is smallest."""
    from scipy.optimize import least_squares  # loaded by the few networks that have a function

    if not knots:
        return []
    there = shares > 0
    x, y, weights = grid[there], exact[there], np.sqrt(shares[there])

    def errors(places: AnyArray) -> AnyArray:
        solved = _least_squares(x, y, weights, places, [1.0] * len(places))
        return np.asarray((_columns(x, places, [1.0] * len(places)) @ solved - y) * weights)

    return sorted(set(least_squares(errors, knots, bounds=(grid[0], grid[-1]), max_nfev=20).x.tolist()))


def _least_squares(
    x: AnyArray, y: AnyArray, weights: AnyArray, knots: Sequence[float] | AnyArray, signs: Sequence[float]
) -> list[float]:
    """Return offset and slope of the line, and the factor of every knot."""
    columns = _columns(x, knots, signs) * weights[:, np.newaxis]
    sizes = np.abs(columns).max(axis=0) + 1e-30  # one is 0 where a knot lies at the end
    solved: list[float] = (np.linalg.lstsq(columns / sizes, y * weights, rcond=1e-7)[0] / sizes).tolist()
    return solved


def _columns(x: AnyArray, knots: Sequence[float] | AnyArray, signs: Sequence[float]) -> AnyArray:
    terms = (np.maximum(sign * (x - knot), 0) for sign, knot in zip(signs, knots))
    return np.stack([np.ones_like(x), x, *terms], axis=1)
