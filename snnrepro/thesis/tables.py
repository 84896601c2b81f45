"""The thesis's figures and settings, read from ``tables.toml``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class PrintedFigure:
    """One printed figure.

    Attributes
    ----------
    model, system, quantity : str
        Which network, trained how, and what was measured.
    n_steps : int
        Time steps; 0 for Keras.
    value : float
        As printed.
    unit : str
        "%", "s" or "points".
    reason : str
        Why the tolerance is what it is.
    measured_on : str
        The thesis's hardware or data.
    judged_on : str
        "training" (the full MNIST and the thesis's epochs), "test images" (MNIST's own test images) or "GPU".
    tolerance : float, optional
        Two-sided, in the same unit.
    factors : tuple of float, optional
        Instead of a tolerance: the smallest and the largest multiple of the value.
    """

    model: str
    system: str
    quantity: str
    n_steps: int
    value: float
    unit: str
    reason: str
    measured_on: str
    judged_on: str
    tolerance: float | None = None
    factors: tuple[float, float] | None = None


@dataclass(frozen=True)
class Trend:
    """What must hold on any machine, however fast.

    Attributes
    ----------
    model, name, quantity : str
        Of which network, in words, and of which measured quantity.
    statistic : str
        "r_squared" of a straight line in n_steps, "spread" (largest distance from the median, over the median),
        "ratio" of the values at two n_steps, "median", "largest" or "smallest".
    reason : str
        Why it must hold.
    needed_seconds : float
        The longest measured time must be at least this, or the trend is not judged.
    needed_values : int
        The same for the number of values.
    max_spread : float, optional
        If repeats of the same measurement lie further apart, the trend is not judged: the machine was busy.
    minimum, maximum : float, optional
        Bounds of the statistic.
    ratio : tuple of int
        The two n_steps of a "ratio".
    printed : float, optional
        The statistic of the thesis's own figures; the bounds are multiples of it.
    """

    model: str
    name: str
    quantity: str
    statistic: str
    reason: str
    needed_seconds: float = 0.0
    needed_values: int = 1
    max_spread: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    ratio: tuple[int, ...] = ()
    printed: float | None = None


@lru_cache(maxsize=None)
def _document() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("tables.toml").read_text(encoding="utf-8"))


def settings() -> dict[str, Any]:
    """Return the thesis's settings (optimizer, batch size, epochs, n_steps, hardware, libraries)."""
    return dict(_document()["settings"])


def model_settings(model: str) -> dict[str, Any]:
    """Return the layer sizes of one of the thesis's models."""
    return dict(_document()["models"][model])


def figures(model: str) -> tuple[PrintedFigure, ...]:
    """Return every printed figure of a model, in the thesis's order."""
    return tuple(
        _figure(table, entry) for table in _document()["tables"] if table["model"] == model for entry in table["rows"]
    )


def _figure(table: dict[str, Any], entry: dict[str, Any]) -> PrintedFigure:
    fields = {name: value for name, value in {**table, **entry}.items() if name != "rows"}
    fields["reason"] = _document()["reasons"][fields["reason"]]
    if "factors" in fields:
        fields["factors"] = tuple(fields["factors"])
    return PrintedFigure(**fields)


def trends(model: str) -> tuple[Trend, ...]:
    """Return what must hold of a model on any machine."""
    return tuple(_trend(model, entry) for entry in _document()["trends"] if model in entry["models"])


def _trend(model: str, entry: dict[str, Any]) -> Trend:
    fields = {name: value for name, value in entry.items() if name not in ("models", "factors")}
    if "factors" in entry:
        fields["ratio"] = tuple(entry.get("ratio", ()))
        fields["printed"] = printed = _printed_ratio(model, entry["quantity"], fields["ratio"])
        fields["minimum"], fields["maximum"] = (factor * printed for factor in entry["factors"])
    return Trend(model, **fields)


def _printed_ratio(model: str, quantity: str, n_steps: tuple[int, ...]) -> float:
    """Return what the thesis's own seconds give: of inference at two n_steps, or of training in both systems."""
    of = {(one.quantity, one.system, one.n_steps): one.value for one in figures(model)}
    if quantity == "training_ratio":
        return of["training", "nengo-dl", 1] / of["training", "keras", 0]
    over, under = (of["inference", "nengo-dl", n] for n in n_steps)
    return over / under
