"""How the report writes numbers, and how it calls models, systems and recipes."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Any, Mapping, Sequence

MODELS = {"dense": "Dense network", "cnn": "CNN", "autoencoder": "Autoencoder"}
QUANTITIES = {
    "accuracy": "accuracy",
    "training": "training time",
    "inference": "inference time",
    "accuracy_loss": "accuracy lost by conversion",
    "pace": "pace",
}
NOTHING = "–"
RANGE = "range over seeds"


def model_name(model: str) -> str:
    """Return what a model is called at the head of a section."""
    return MODELS.get(model, model)


def models_of(document: Mapping[str, Any]) -> list[str]:
    """Return the models of a document, in the thesis's order, then any others."""
    named = {line["row"]["model"] for line in document["lines"]} | {
        one["cell"]["model"] for one in document["measured"]
    }
    named |= set(document["models"])
    return [*(model for model in MODELS if model in named), *sorted(named - set(MODELS))]


def system_name(system: str, recipe: str = "", synapse: float | None = None) -> str:
    """Return what a system is called: how it was trained, or by which recipe it was converted."""
    if system != "converted":
        return {"keras": "Keras", "nengo-dl": "NengoDL"}.get(system, system)
    if not recipe:
        return "converted"
    return f"converted, {recipe_name(recipe, synapse)}"


def recipe_name(recipe: str, synapse: float | None) -> str:
    """Return what a recipe is called; the thesis's has a synapse or none."""
    if recipe != "thesis":
        return recipe
    return "thesis, " + ("no synapse" if synapse is None else f"{synapse * 1000:g} ms synapse")


def figure_name(row: Mapping[str, Any]) -> str:
    """Return the name of one printed figure inside its table."""
    name = system_name(row["system"], row.get("recipe") or "", row.get("synapse"))
    return f"{name}, n={row['n_steps']}" if row["n_steps"] else name


def decimal(value: float | None, digits: int = 2) -> str:
    """Return a number with a true minus sign; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{value:,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


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


def count(value: float | None) -> str:
    """Return a whole number with its thousands set apart."""
    return decimal(value, 0)


def plural(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
