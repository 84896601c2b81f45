"""A trained network becomes a spiking one by a recipe; its weights stay as they are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.arrays import frozen
from snnrepro.errors import DataError, ModelError
from snnrepro.network.layers import ReLU
from snnrepro.spiking.calibrate import Calibrated, calibrate
from snnrepro.spiking.checks import is_count, is_number, require
from snnrepro.spiking.neurons import IF, LIF, Neuron, Population
from snnrepro.spiking.prepare import Prepared, prepare
from snnrepro.spiking.spiking_network import SpikingNetwork

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray, IntArray
    from snnrepro.network.graph import Network

MOST_IMAGES = 1000
"""Calibration images that neurons are fitted on; what is given beyond judges `max_loss` only."""

STEPS_TRIED = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 128)
"""The numbers of steps among which `max_loss` finds the smallest."""


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
    corrects_readout: bool = True
    synapse: float | None = None
    readout_synapse: float | None = None
    dt: float = 0.001

    def __post_init__(self) -> None:
        neuron, synapses = self.neuron, (self.synapse, self.readout_synapse)
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
                "corrects_readout must be True or False": type(self.corrects_readout) is bool,
                "synapse must be above 0 s or None": synapses[0] is None or is_number(synapses[0], above=0),
                "readout_synapse must be above 0 s or None": synapses[1] is None or is_number(synapses[1], above=0),
                "dt above 0 s is needed": is_number(self.dt, above=0),
            },
        )


_LARGEST_GROWTH = 1.25
"""Beyond, an early error of a spike cannot be made up for any more (held-out training images, T = 4)."""

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("thesis", LIF(), readout_synapse=0.1),
        Recipe("balanced", outweigh=(1.0, 2.0, 4.5)),
        Recipe("balanced-lif", IF(tau=0.02)),
        Recipe("rate"),
    )
}
"""The recipes by name.

thesis: Nengo's LIF as in the thesis's settings; loses about ten points. balanced: the best accuracy at the given number
of steps; early spikes may weigh more than late ones. rate: the same where every spike counts the same. balanced-lif:
the same as rate with truly leaky neurons (20 ms), whose leak is compensated.
"""


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
    prepared = prepare(network)
    x, labels = _calibration(network, chosen, calibration)
    if max_loss is None:
        return _convert(prepared, chosen, x, 15 if n_steps is None else n_steps, seed)
    if n_steps is not None:
        raise ModelError("give n_steps or max_loss, not both: max_loss finds n_steps")
    if x is None:
        raise DataError("max_loss needs calibration images")
    return _cheapest(network, prepared, chosen, x, labels, max_loss, seed)


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
            f"the recipe {recipe.name!r} needs calibration images: some hundred images (n_images, "
            f"{', '.join(map(str, network.input_shape))}) as the network was trained on"
        )
    images, labels = given if isinstance(given, tuple) else (given, None)
    x = np.asarray(images, np.float32)
    if x.shape[1:] != tuple(network.input_shape) or not len(x):
        raise DataError(
            f"calibration images must be (n_images, {', '.join(map(str, network.input_shape))}), got {x.shape}"
        )
    if labels is not None and np.shape(labels) != (len(x),):
        raise DataError(f"{len(x)} labels are needed for the calibration images, got {np.shape(labels)}")
    if not np.isfinite(x).all():
        raise DataError("the calibration images hold NaN or infinite numbers")
    return x, None if labels is None else np.asarray(labels, np.int64)


def _convert(prepared: Prepared, recipe: Recipe, x: FloatArray | None, n_steps: int, seed: int) -> SpikingNetwork:
    if not is_count(n_steps):
        raise ModelError(f"n_steps must be at least 1, a whole number, got {n_steps!r}")
    provenance: dict[str, Any] = {"recipe": recipe.name, "n_steps": n_steps}
    correction = None
    if isinstance(recipe.neuron, LIF):
        populations = _as_in_nengo(prepared, recipe.neuron, recipe.dt, seed)
        provenance["seed"] = seed
    else:
        assert x is not None  # `_calibration` has seen to it
        fitted = _fitted(prepared, recipe, recipe.neuron, x[:MOST_IMAGES], n_steps)
        populations = fitted.populations
        correction = fitted.correction if recipe.corrects_readout else None
        growths = {population.neuron.growth for population in populations.values()}  # type: ignore[union-attr]
        provenance.update(calibration_images=fitted.n_images, growth=max(growths, default=1.0))
    return SpikingNetwork(
        prepared.network,
        prepared.readout,
        populations,
        recipe.synapse,
        recipe.readout_synapse,
        recipe.dt,
        n_steps,
        correction,
        provenance,
    )


def _as_in_nengo(prepared: Prepared, neuron: LIF, dt: float, seed: int) -> dict[str, Population]:
    """Return populations of Nengo's LIF: nothing is calibrated, the initial potentials are drawn."""
    rng = np.random.RandomState(seed)
    one = np.ones((), np.float32)
    return {
        node.name: Population(
            neuron,
            threshold=one,
            amplitude=one * (neuron.amplitude / dt),
            initial_potential=frozen(rng.uniform(*neuron.initial_voltage, prepared.network.shapes[node.name])),
            bias=one * neuron.bias,
        )
        for node in prepared.network.nodes
        if isinstance(node.layer, ReLU)
    }


def _fitted(prepared: Prepared, recipe: Recipe, neuron: IF, x: FloatArray, n_steps: int) -> Calibrated:
    """Return the calibration with the smallest error at the readout, of one for each growth that may be tried."""
    growths = sorted({min(_LARGEST_GROWTH, ratio ** (1 / n_steps)) for ratio in recipe.outweigh})
    if recipe.threshold != "fitted":
        growths = [neuron.growth]
    found = []
    for growth in growths:
        grown = replace(neuron, growth=growth)
        found.append(calibrate(prepared, grown, recipe.dt, x, n_steps, _fit_of(recipe, grown)))
    return min(found, key=lambda calibrated: calibrated.error)


def _fit_of(recipe: Recipe, neuron: IF) -> Any:
    """Return what chooses the constants of a layer's channels: ``(5, n_channels)``, as `fit_channels`."""
    from snnrepro.spiking.fit import Grid, fit_channels, leak_compensation

    retention = neuron.retention(recipe.dt)

    def by_rule(inputs: FloatArray, targets: FloatArray, weights: AnyArray) -> FloatArray:
        percentile = 100.0 if recipe.threshold == "max" else recipe.percentile
        amplitude = np.maximum(np.percentile(targets, percentile, axis=1), 1e-6 + 1e-3 * targets.max())
        potential = recipe.initial_potential * amplitude
        return np.stack([amplitude, potential, amplitude, amplitude, leak_compensation(retention) * amplitude])

    def fit(inputs: FloatArray, targets: FloatArray, weights: AnyArray) -> FloatArray:
        channels = len(targets)
        if not recipe.per_channel:  # one channel with the samples of all
            inputs = np.ascontiguousarray(inputs.transpose(1, 0, 2).reshape(1, inputs.shape[1], -1))
            targets = targets.reshape(1, -1)
        if recipe.threshold == "fitted":
            found = fit_channels(inputs, targets, retention, weights, Grid())
        else:
            found = by_rule(inputs, targets, weights)
        return np.broadcast_to(found.astype(np.float32), (5, channels))

    return fit


def _cheapest(
    network: Network,
    prepared: Prepared,
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
            spiking = _convert(prepared, recipe, x, n_steps, seed)
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
