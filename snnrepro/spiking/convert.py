"""A trained network becomes a spiking one by a recipe; its weights stay as they are."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.arrays import frozen
from snnrepro.errors import DataError, ModelError
from snnrepro.inputs import checked_images, checked_labels
from snnrepro.network.layers import ReLU
from snnrepro.spiking.calibrate import Calibrated, calibrate
from snnrepro.spiking.checks import is_count
from snnrepro.spiking.network import DEFAULT_N_STEPS, SpikingNetwork
from snnrepro.spiking.neurons import IF, LIF, Population
from snnrepro.spiking.prepare import prepare
from snnrepro.spiking.recipes import RECIPES, Recipe

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray, IntArray
    from snnrepro.network.graph import Network
    from snnrepro.spiking.schedule import Schedule

MOST_IMAGES = 1000
"""Calibration images that neurons are fitted on; what is given beyond judges `max_loss` only."""

STEPS_TRIED = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 128)
"""The numbers of steps among which `max_loss` finds the smallest."""

_LARGEST_GROWTH = 1.25
"""Beyond, an early error of a spike cannot be made up for any more (held-out training images, T = 4)."""


def convert(
    network: Network,
    recipe: str | Recipe = "balanced",
    calibration: Any = None,
    n_steps: int | None = None,
    max_loss: float | None = None,
    seed: int = 0,
) -> SpikingNetwork:
    """Turn a trained network into a spiking one, without retraining.

    Parameters
    ----------
    network : Network
        What `snnrepro.load` gives.
    recipe : str or Recipe
        "balanced" (the best accuracy at `n_steps`), "rate", "balanced-lif", "thesis", or a recipe of one's own.
    calibration : array_like or (array_like, array_like), optional
        Images as the network was trained on, ``(n_images, *input_shape)``, unlabelled, or with their labels
        ``(n_images,)``; neurons are fitted on the first 1,000. Every recipe but "thesis" needs them.
    n_steps : int, optional
        How many time steps the network will run; 15 if neither this nor `max_loss` is given.
    max_loss : float, optional
        Find the smallest number of steps that loses at most this, in points of accuracy on all calibration images;
        without labels, the share of images in % whose answer is not the trained network's.
    seed : int
        Of the initial membrane potentials, where the recipe draws them ("thesis").

    Returns
    -------
    SpikingNetwork
        `SpikingNetwork.n_steps` and `SpikingNetwork.provenance` say what was chosen.

    Raises
    ------
    UnsupportedError
        A nonlinearity stands where a spiking network cannot have it; all such nodes are named.
    ModelError
        The recipe is unknown, or no number of steps tried keeps the loss under `max_loss`.
    DataError
        Calibration images are missing, or of the wrong shape.

    Examples
    --------
    >>> import numpy as np
    >>> from snnrepro.network.graph import Network, Node
    >>> from snnrepro.network.layers import Dense, ReLU
    >>> hidden = Node("hidden", ("x",), Dense(np.array([[1.0, -1.0]]), np.zeros(2)))
    >>> network = Network("x", (1,), (hidden, Node("relu", ("hidden",), ReLU())), {})
    >>> spiking = convert(network, calibration=np.linspace(-1, 1, 100)[:, None], n_steps=8)
    >>> print(spiking.run([[0.5]]).scores[0, 0].round(1))
    0.5
    """
    chosen = _recipe(recipe)
    schedule = prepare(network)
    x, labels = _calibration(network, chosen, calibration)
    if max_loss is None:
        return _convert(schedule, chosen, x, DEFAULT_N_STEPS if n_steps is None else n_steps, seed)
    if n_steps is not None:
        raise ModelError("give n_steps or max_loss, not both: max_loss finds n_steps")
    if x is None:
        raise DataError("max_loss needs calibration images")
    return _cheapest(network, schedule, chosen, x, labels, max_loss, seed)


def _recipe(recipe: str | Recipe) -> Recipe:
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        raise ModelError(f"recipe {recipe!r} is none of {', '.join(RECIPES)}")
    return RECIPES[recipe]


def _calibration(network: Network, recipe: Recipe, given: Any) -> tuple[FloatArray | None, IntArray | None]:
    if given is None:
        if isinstance(recipe.neuron, LIF):
            return None, None
        raise DataError(
            f"the recipe {recipe.name!r} needs calibration images: a few hundred images (n_images, "
            f"{', '.join(map(str, network.input_shape))}) like those it was trained on"
        )
    images, labels = given if isinstance(given, tuple) else (given, None)
    x = checked_images(images, network.input_shape)
    if not len(x):
        raise DataError(f"a few hundred calibration images are needed, got {x.shape}")
    return x, None if labels is None else checked_labels(labels, len(x), math.prod(network.output_shape))


def _convert(schedule: Schedule, recipe: Recipe, x: FloatArray | None, n_steps: int, seed: int) -> SpikingNetwork:
    """Return the spiking network for one number of steps; `x` are the calibration images a fitted recipe needs."""
    if not is_count(n_steps):
        raise ModelError(f"n_steps must be at least 1, a whole number, got {n_steps!r}")
    provenance: dict[str, Any] = {"recipe": recipe.name, "n_steps": n_steps}
    correction = None
    if isinstance(recipe.neuron, LIF):
        populations = _as_in_nengo(schedule, recipe.neuron, recipe.dt, seed)
        provenance["seed"] = seed
    else:
        assert x is not None  # `_calibration` has seen to it
        fitted = _fitted(schedule, recipe, recipe.neuron, x[:MOST_IMAGES], n_steps)
        populations = fitted.populations
        correction = fitted.correction if recipe.corrects_readout else None
        growth = max((population.neuron.growth for population in populations.values()), default=1.0)
        provenance.update(calibration_images=fitted.n_images, growth=growth)
    return SpikingNetwork(
        schedule.network,
        schedule.readout,
        populations,
        recipe.synapse,
        recipe.readout_synapse,
        recipe.dt,
        n_steps,
        correction,
        provenance,
    )


def _as_in_nengo(schedule: Schedule, neuron: LIF, dt: float, seed: int) -> dict[str, Population]:
    """Return populations of Nengo's LIF: nothing is calibrated, the initial potentials are drawn."""
    rng = np.random.RandomState(seed)
    one = np.ones((), np.float32)
    return {
        node.name: Population(
            neuron,
            threshold=one,
            amplitude=one * (neuron.amplitude / dt),
            initial_potential=frozen(rng.uniform(*neuron.initial_voltage, schedule.network.shapes[node.name])),
            bias=one * neuron.bias,
        )
        for node in schedule.nodes
        if isinstance(node.layer, ReLU)
    }


def _fitted(schedule: Schedule, recipe: Recipe, neuron: IF, x: FloatArray, n_steps: int) -> Calibrated:
    """Return the calibration with the smallest error at the readout, of one for each growth that may be tried."""
    growths = {min(_LARGEST_GROWTH, ratio ** (1 / n_steps)) for ratio in recipe.outweigh}
    if recipe.threshold != "fitted":
        growths = {neuron.growth}
    tried = [calibrate(schedule, recipe, replace(neuron, growth=growth), x, n_steps) for growth in sorted(growths)]
    return min(tried, key=lambda calibrated: calibrated.error)


def _cheapest(
    network: Network,
    schedule: Schedule,
    recipe: Recipe,
    x: FloatArray,
    labels: IntArray | None,
    max_loss: float,
    seed: int,
) -> SpikingNetwork:
    """Return the network with the fewest steps whose loss on `x` is at most `max_loss` points, by bisection."""
    answers = network.forward(x).reshape(len(x), -1).argmax(axis=1)
    reached = 100.0 * np.mean(answers == labels) if labels is not None else 100.0
    expected = answers if labels is None else labels
    tried: dict[int, tuple[float, SpikingNetwork]] = {}

    def loss(n_steps: int) -> float:
        if n_steps not in tried:
            spiking = _convert(schedule, recipe, x, n_steps, seed)
            lost = float(reached - 100.0 * np.mean(spiking.run(x).predictions == expected))
            tried[n_steps] = lost, spiking
        return tried[n_steps][0]

    low, high = 0, len(STEPS_TRIED) - 1
    while low < high:
        middle = (low + high) // 2
        if loss(STEPS_TRIED[middle]) <= max_loss:
            high = middle
        else:
            low = middle + 1
    if loss(STEPS_TRIED[low]) > max_loss:
        raise ModelError(
            f"no number of steps up to {STEPS_TRIED[-1]} keeps the loss within {max_loss:g} points on the "
            f"{len(x)} calibration images; the least was {min(lost for lost, _ in tried.values()):.2f}"
        )
    lost, spiking = tried[STEPS_TRIED[low]]
    kind = "of accuracy" if labels is not None else "of answers that differ"
    return replace(spiking, provenance={**spiking.provenance, "max_loss": max_loss, f"points {kind}": round(lost, 3)})
