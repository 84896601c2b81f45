"""What the report calls models, systems, recipes, quantities and outcomes, and how it writes numbers."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Sequence

from snnrepro.thesis.judge import FAIL, NOT_JUDGED, PASS

if TYPE_CHECKING:
    from snnrepro.thesis.tables import PrintedFigure

MODELS = {"dense": "Dense network", "cnn": "CNN", "autoencoder": "Autoencoder"}
SYSTEMS = {"keras": "Keras", "nengo-dl": "NengoDL"}
QUANTITIES = {
    "accuracy": "accuracy",
    "training": "training time",
    "inference": "inference time",
    "accuracy_loss": "accuracy lost by conversion",
}
STATISTICS = {
    "r_squared": "R² of a straight line",
    "spread": "largest distance from the median, over the median",
    "ratio": "ratio",
    "median": "median over seeds",
}
OUTCOMES = {PASS: "passed", FAIL: "failed", NOT_JUDGED: "not judged"}
"""What is said of figures that have it; the outcome itself is said of one figure."""
SIGNS = {PASS: "✓", FAIL: "✗", NOT_JUDGED: "–"}
"""A verdict is always a word; its sign is for the eye that runs down a column."""
NOTHING = "–"


def model_name(model: str) -> str:
    """Return what a model is called at the head of a section."""
    return MODELS.get(model, model)


def system_name(system: str, recipe: str = "", synapse: float | None = None) -> str:
    """Return what a system is called: how it was trained, or by which recipe it was converted."""
    if recipe:
        return f"{system}, {recipe_name(recipe, synapse)}"
    return SYSTEMS.get(system, system)


def recipe_name(recipe: str, synapse: float | None) -> str:
    """Return what a recipe is called; the thesis's has a synapse or none."""
    if recipe != "thesis":
        return recipe
    return "thesis, " + ("no synapse" if synapse is None else f"{synapse * 1000:g} ms synapse")


def figure_name(printed: PrintedFigure) -> str:
    """Return the name of one printed figure inside its table."""
    return at(system_name(printed.system), printed.n_steps)


def at(name: str, n_steps: int) -> str:
    """Return a name with the time steps of a presentation, if there are any."""
    return f"{name}, n={n_steps}" if n_steps else name


def decimal(value: float | None, digits: int = 2) -> str:
    """Return a number with a true minus sign; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{value:,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def count(value: float | None) -> str:
    """Return a whole number with its thousands set apart."""
    return decimal(value, 0)


def seconds(value: float | None) -> str:
    """Return seconds with the thesis's two digits after the point, three where two would say nothing."""
    return decimal(value, 3 if value is not None and 0 < value < 0.1 else 2)


def quantity(value: float | None, unit: str) -> str:
    """Return a value as tables show it; the unit stands in the heading."""
    return seconds(value) if unit == "s" else decimal(value)


def span(values: Sequence[float], unit: str = "%") -> str:
    """Return lowest and highest of several values; a dash for one or none."""
    if len(values) < 2:
        return NOTHING
    return f"{quantity(min(values), unit)}–{quantity(max(values), unit)}"


def moment(text: Any) -> str:
    """Return an ISO time to the minute, in UTC; any other value as text, unchanged."""
    try:
        when = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return str(text)
    if when.tzinfo is None:
        return str(text)
    return f"{when.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
