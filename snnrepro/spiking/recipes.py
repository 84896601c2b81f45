"""Recipes: how rectifiers become neurons, as data; ours, and those of other packages."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, Callable, Mapping

from snnrepro.errors import ModelError, one_line
from snnrepro.spiking.checks import is_number, is_time_or_none, require
from snnrepro.spiking.neurons import IF, LIF, Neuron, Population

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray
    from snnrepro.spiking.schedule import Schedule

ENTRY_POINTS = "snnrepro.recipes"
"""The group in which another package names its recipes: the name of each, and the `Recipe` that it stands for."""


@dataclass(frozen=True)
class Recipe:
    """How rectifiers become neurons; all of it data.

    Attributes
    ----------
    name : str
        For reports.
    neuron : IF or LIF
        The model of every neuron. Of `LIF` nothing is fitted: it has its own gain and bias.
    threshold : str
        "fitted": amplitude, initial potential, threshold and reset of each channel are those that meet the trained
        activations best in `n_steps` steps. "max", "percentile": the amplitude is the largest activation, or its
        percentile; the threshold and what is subtracted are the same.
    percentile : float
        For "percentile", in %.
    per_channel : bool
        Whether every channel has constants of its own, or the whole layer the same.
    initial_potential : float
        For "max" and "percentile", relative to the threshold.
    outweigh : tuple of float
        By how much the first step may outweigh the last, ``growth ** n_steps``: of several, the one with the smallest
        error at the readout is taken. (1,) is a rate code.
    passes : int
        How many times the calibration images pass, after the layers were fitted in turn, while all constants move
        together against the error of the readout (see `snnrepro.spiking.tune`); for `IF` without a leak.
    fit : callable or None
        What fits the neurons instead: given the network's `Schedule`, the calibration images ``(n_images,
        *input_shape)`` and the number of steps, it returns a `Population` for each rectifier, by its name. Then
        `neuron`, `threshold`, `percentile`, `per_channel`, `initial_potential` and `outweigh` say nothing.
    corrects_readout : bool
        Whether the mean error of the readout on the calibration images is added to it.
    synapse : float or None
        Time constant of the lowpass filter on every spike train, s.
    readout_synapse : float or None
        Time constant of the lowpass filter whose last value is the readout, s; None for the mean over the steps.
    dt : float
        Length of a time step, s.

    Raises
    ------
    ModelError
        A field has a value that it cannot have.
    """

    name: str
    neuron: Neuron = field(default_factory=IF)
    threshold: str = "fitted"
    percentile: float = 99.9
    per_channel: bool = True
    initial_potential: float = 0.5
    outweigh: tuple[float, ...] = (1.0,)
    passes: int = 0
    fit: Callable[[Schedule, FloatArray, int], Mapping[str, Population]] | None = None
    corrects_readout: bool = True
    synapse: float | None = None
    readout_synapse: float | None = None
    dt: float = 0.001

    def __post_init__(self) -> None:
        neuron = self.neuron
        require(
            self,
            {
                "neuron must be an IF or LIF": isinstance(neuron, (IF, LIF)),
                "threshold must be 'fitted', 'max' or 'percentile'": self.threshold in ("fitted", "max", "percentile"),
                "neuron: only neurons with reset by subtraction, one spike per step and no growth of their own are "
                "fitted; use threshold='percentile'": not isinstance(neuron, IF)
                or self.threshold != "fitted"
                or neuron == IF(tau=neuron.tau),
                "percentile in (0, 100] is needed": is_number(self.percentile, above=0, at_most=100),
                "per_channel must be True or False": type(self.per_channel) is bool,
                "initial_potential must be a finite number": is_number(self.initial_potential),
                "outweigh must be numbers of at least 1": isinstance(self.outweigh, (tuple, list))
                and len(self.outweigh) > 0
                and all(is_number(ratio, at_least=1) for ratio in self.outweigh),
                "passes must be a whole number, 0 for LIF, a leak or an own fit": type(self.passes) is int
                and (self.passes == 0 or (self.passes > 0 and neuron == IF() and self.fit is None)),
                "fit must be callable or None": self.fit is None or callable(self.fit),
                "corrects_readout must be True or False": type(self.corrects_readout) is bool,
                "synapse must be above 0 s or None": is_time_or_none(self.synapse),
                "readout_synapse must be above 0 s or None": is_time_or_none(self.readout_synapse),
                "dt above 0 s is needed": is_number(self.dt, above=0),
            },
        )


PASSES = 20
"""Of the calibration images, for the recipes that are tuned."""

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("thesis", LIF(), readout_synapse=0.1),
        Recipe("balanced", outweigh=(1.0, 2.0, 4.5)),
        Recipe("balanced-lif", IF(tau=0.02)),
        Recipe("rate"),
        Recipe("tuned", outweigh=(1.0, 2.0, 4.5), passes=PASSES),
        Recipe("tuned-rate", passes=PASSES),
    )
}
"""The recipes by name.

thesis: Nengo's LIF as in the thesis's settings; loses about ten points. balanced: the best accuracy at the given number
of steps; early spikes may weigh more than late ones. rate: the same where every spike counts the same. balanced-lif:
the same as rate with truly leaky neurons (20 ms), whose leak is compensated. tuned, tuned-rate: balanced and rate, then
all constants tuned together for the readout: for deep networks at few steps, in some minutes.
"""


def recipe_names() -> tuple[str, ...]:
    """Return the names of all recipes: ours, and those that installed packages bring."""
    return (*RECIPES, *_from_outside())


def recipe_named(name: Any) -> Recipe:
    """Return a recipe by its name.

    Raises
    ------
    ModelError
        There is none of that name, or what a package brings under it is no recipe, or cannot be loaded.
    """
    if isinstance(name, str) and name in RECIPES:
        return RECIPES[name]
    if not isinstance(name, str) or name not in _from_outside():
        raise ModelError(f"recipe {name!r} is none of {', '.join(recipe_names())}")
    entry = _from_outside()[name]
    where = f"recipe {name!r} of the entry point {entry.value!r} ({ENTRY_POINTS})"
    try:
        recipe = entry.load()
    except Exception as error:  # the code of others
        raise ModelError(f"{where} cannot be loaded: {one_line(error)}") from error
    if not isinstance(recipe, Recipe):
        raise ModelError(f"{where} must be a snnrepro.Recipe, got {type(recipe).__name__}")
    return recipe


@lru_cache(maxsize=None)
def _from_outside() -> dict[str, Any]:
    """Return the entry points of other packages' recipes; none takes the place of ours."""
    found: Any = metadata.entry_points()
    group = found.select(group=ENTRY_POINTS) if hasattr(found, "select") else found.get(ENTRY_POINTS, ())
    return {entry.name: entry for entry in group if entry.name not in RECIPES}
