"""What would win back what a conversion loses: more steps or neurons, other recipes and thresholds, one by one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Sequence

from snnrepro.errors import SnnReproError
from snnrepro.spiking.budget import STEPS_TRIED
from snnrepro.spiking.convert import convert
from snnrepro.spiking.recipes import RECIPES

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.metrics import Loss
    from snnrepro.network.task import Task
    from snnrepro.spiking.network import SpikingNetwork
    from snnrepro.spiking.run import Progress

_RECIPES = ("balanced", "rate")
"""Recipes that are tried in the place of others: those that take seconds."""
_SCALES = (0.4, 0.6, 0.8, 1.25, 1.6, 2.5)
"""Factors of the thresholds of the layer that costs most."""


@dataclass(frozen=True)
class Cure:
    """Something that was tried.

    Attributes
    ----------
    what : str
        In words.
    loss : Loss
        What the conversion then loses to the trained network, on the images of the autopsy.
    n_steps : int
        Its time steps.
    operations, spikes : float
        Synaptic operations and spikes per image.
    """

    what: str
    loss: Loss
    n_steps: int
    operations: float
    spikes: float


def cheapest(cures: Sequence[Cure], total: Loss) -> Cure | None:
    """Return the cure with the fewest operations of those that win back half of a loss at least, or None."""
    enough = [cure for cure in cures if cure.loss.points <= total.points / 2] if total.points > 0 else []
    return min(enough, key=lambda cure: cure.operations, default=None)


def tried(
    spiking: SpikingNetwork,
    x: FloatArray,
    labels: AnyArray | None,
    trained: AnyArray,
    task: Task,
    calibration: Any,
    worst: str | None,
    progress: Progress,
) -> tuple[Cure, ...]:
    """Return what more steps or neurons, other recipes, and other thresholds of the costliest layer would give.

    Parameters
    ----------
    spiking : SpikingNetwork
        The conversion.
    x, labels : numpy.ndarray, numpy.ndarray or None
        Images that cures are judged on.
    trained : numpy.ndarray
        The trained network's answers to them.
    task : Task
        What answers mean.
    calibration : array_like
        Images that neurons are fitted on.
    worst : str or None
        The population whose thresholds are changed.
    progress : callable
        Called with the fraction of the work done since the last call.
    """
    recipe, n_steps = str(spiking.provenance.get("recipe", "")), spiking.n_steps
    made: dict[str, Callable[[], SpikingNetwork]] = {}

    converted = partial(convert, spiking.trained, calibration=calibration, task=spiking.task, most_as_is=1.0)

    if recipe in RECIPES:
        more = [steps for steps in STEPS_TRIED if n_steps < steps <= 4 * n_steps]
        for steps in dict.fromkeys([*more[:2], *more[-1:]]):
            made[f"{steps} steps"] = partial(converted, recipe, n_steps=steps)
        made["2 neurons for each activation"] = partial(converted, recipe, n_steps=n_steps, neurons_per_activation=2)
    for name in _RECIPES:
        if name != recipe:
            made[f"recipe {name}"] = partial(converted, name, n_steps=n_steps)
    for scale in _SCALES if worst is not None else ():
        made[f"thresholds of {worst!r} x {scale:g}"] = partial(_rescaled, spiking, str(worst), scale)
    cures = []
    for what, make in made.items():
        try:
            cure = make()
            run = cure.run(x)
        except SnnReproError:  # what a recipe cannot convert is no cure
            continue
        finally:
            progress(1 / len(made))
        loss = task.loss(trained, task.answers(run.scores), labels)
        cures.append(Cure(what, loss, cure.n_steps, float(run.synaptic_operations.mean()), run.mean_spikes))
    return tuple(cures)


def _rescaled(spiking: SpikingNetwork, name: str, scale: float) -> SpikingNetwork:
    """Return a spiking network in which a population's thresholds, and what goes with them, are scaled."""
    population = spiking.populations[name]
    scaled = ("threshold", "amplitude", "subtracted", "initial_potential")
    changed = replace(population, **{constant: scale * getattr(population, constant) for constant in scaled})
    return replace(spiking, populations={**spiking.populations, name: changed})
