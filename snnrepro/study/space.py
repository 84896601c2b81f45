"""What a search chooses: steps, code, thresholds, leak and synapse, and the recipe that they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

from snnrepro.errors import DataError
from snnrepro.spiking.neurons import IF
from snnrepro.spiking.recipes import Recipe

VERSION = 1
"""Of the space: a study of another one is not gone on with."""

CODES = {"rate": (1.0,), "weighted": (1.0, 2.0, 4.5)}
"""By how much the first step may outweigh the last, as in the recipes rate and balanced."""
THRESHOLDS = ("fitted", "percentile")
LEAKS = (None, 0.1, 0.05, 0.02)
"""Membrane time constants, s."""
SYNAPSES = (None, 0.001, 0.002, 0.005)
"""Time constants of the lowpass filter on spikes, s."""
PERCENTILES = (98.0, 100.0)
STARTS = (0.0, 1.0)
"""Initial potentials, relative to the threshold."""

FIRST: tuple[Mapping[str, Any], ...] = (
    {"n_steps": 4, "code": "weighted", "threshold": "fitted", "leak_ms": 0, "synapse_ms": 0},
    {"n_steps": 8, "code": "rate", "threshold": "fitted", "leak_ms": 0, "synapse_ms": 0},
    {"n_steps": 15, "code": "weighted", "threshold": "fitted", "leak_ms": 0, "synapse_ms": 0},
)
"""What is tried first: our own recipes."""


@dataclass(frozen=True)
class Choice:
    """What one trial converts by.

    Attributes
    ----------
    recipe : Recipe
        How rectifiers become neurons.
    n_steps : int
        Time steps.
    """

    recipe: Recipe
    n_steps: int

    def __str__(self) -> str:
        recipe = self.recipe
        weighted = "weighted spikes" if len(recipe.outweigh) > 1 else "rate"
        fitted = (
            "fitted thresholds"
            if recipe.threshold == "fitted"
            else f"{recipe.percentile:.2f} % thresholds, start {recipe.initial_potential:.2f}"
        )
        leak = getattr(recipe.neuron, "tau", None)
        leaky = "" if leak is None else f", leak {1000 * leak:g} ms"
        filtered = "" if recipe.synapse is None else f", synapse {1000 * recipe.synapse:g} ms"
        return f"{weighted}, {fitted}{leaky}{filtered}"


def suggested(trial: Any, max_steps: int) -> Choice:
    """Return what a trial of Optuna suggests.

    Parameters
    ----------
    trial : optuna.Trial
        What is asked.
    max_steps : int
        Most time steps.
    """
    trial.suggest_int("n_steps", 2, max_steps, log=True)
    code = trial.suggest_categorical("code", list(CODES))
    if trial.suggest_categorical("threshold", list(THRESHOLDS)) == "percentile":
        trial.suggest_float("percentile", *PERCENTILES)
        trial.suggest_float("start", *STARTS)
    if code == "rate":  # what early spikes weigh more is a membrane that grows; one that leaks as well does neither
        trial.suggest_categorical("leak_ms", _in_ms(LEAKS))
    trial.suggest_categorical("synapse_ms", _in_ms(SYNAPSES))
    return choice(trial.params)


def choice(params: Mapping[str, Any]) -> Choice:
    """Return the choice for a trial's parameters.

    Raises
    ------
    DataError
        They are not those of this space.
    """
    try:
        leak, synapse = float(params.get("leak_ms", 0)) / 1000, float(params["synapse_ms"]) / 1000
        recipe = Recipe(
            "tuned by a study",
            IF(tau=leak or None),
            threshold=params["threshold"],
            percentile=float(params.get("percentile", 99.9)),
            initial_potential=float(params.get("start", 0.5)),
            outweigh=CODES[params["code"]],
            synapse=synapse or None,
        )
        return Choice(recipe, int(params["n_steps"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"these are no parameters of a study of snnrepro: {dict(params)!r}") from error


def _in_ms(times: tuple[float | None, ...]) -> list[float]:
    """Return times in ms, 0 for none: databases keep numbers."""
    return [0.0 if time is None else 1000 * time for time in times]
