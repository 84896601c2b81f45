"""A trained network becomes a spiking one by a recipe; its weights stay as they are."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.arrays import frozen
from snnrepro.errors import DataError, ModelError
from snnrepro.inputs import checked_images
from snnrepro.network.graph import Network
from snnrepro.network.layers import OnnxPart, ReLU
from snnrepro.network.task import task_of
from snnrepro.readers.load import load
from snnrepro.spiking.budget import cheapest
from snnrepro.spiking.checks import is_count, is_number
from snnrepro.spiking.ensembles import with_ensembles
from snnrepro.spiking.fitting import Fitting
from snnrepro.spiking.fixed_point import FLOAT, WEIGHTS, require_fixed_point
from snnrepro.spiking.functions import fits, summary
from snnrepro.spiking.images import warn_of_poor_calibration
from snnrepro.spiking.network import DEFAULT_N_STEPS, SpikingNetwork
from snnrepro.spiking.neurons import LIF, Population, growth_of
from snnrepro.spiking.prepare import prepare
from snnrepro.spiking.recipes import Recipe, recipe_named
from snnrepro.spiking.run import within
from snnrepro.spiking.schedule import curved_inside
from snnrepro.spiking.shelf import Shelf
from snnrepro.spiking.synops import shares
from snnrepro.user_images import gathered

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.network.task import Task
    from snnrepro.spiking.piecewise import Fit
    from snnrepro.spiking.run import Progress
    from snnrepro.spiking.schedule import Schedule

MOST_IMAGES = 1000
"""Calibration images that neurons are fitted on; what is given beyond judges `max_loss` only."""

_ROOM = 2**26
"""Bytes of activations and spikes that are kept in memory, and not in a temporary file (64 MB)."""
_SHARES = {"": 0.6, "near": 0.2, "rough": 0.06}
"""Of the progress that is left, for each number of steps that is tried, or guessed at."""
_OF_FUNCTIONS = 0.1
"""Of the progress, for fitting functions, where there are any."""


def convert(
    network: Any,
    recipe: str | Recipe = "balanced",
    calibration: Any = None,
    n_steps: int | None = None,
    max_loss: float | None = None,
    seed: int = 0,
    task: str | None = None,
    progress: Progress | None = None,
    most_as_is: float = 0.5,
    weights: str = FLOAT,
    neurons_per_activation: int = 1,
) -> SpikingNetwork:
    """Turn a trained network into a spiking one, without retraining.

    Parameters
    ----------
    network : Network, or what `snnrepro.load` reads
        The trained network: what `load` gives, or a path or a model in memory.
    recipe : str or Recipe
        "balanced" (good accuracy at `n_steps` in seconds), "tuned" (better for deep networks, in minutes), "rate",
        "tuned-rate", "balanced-lif", "thesis", a recipe that an installed package brings, or one of one's own.
    calibration : array_like, (array_like, array_like) or iterable, optional
        Images as the network was trained on, ``(n_images, *input_shape)``, unlabelled, or with their labels (or the
        values wanted), or what gives batches of them (see `snnrepro.user_images.gathered`); neurons are fitted on the
        first 1,000. Every recipe but "thesis" needs them.
    n_steps : int, optional
        How many time steps the network will run; 15 if neither this nor `max_loss` is given.
    max_loss : float, optional
        Find the smallest number of steps that loses at most this on all calibration images, as far as they can tell
        (see `snnrepro.spiking.budget.cheapest`): in points of the task's figure of merit (of accuracy, of R² in %),
        and without labels in % of what is not the trained network's answer.
    seed : int
        Of the initial membrane potentials, where the recipe draws them ("thesis").
    task : str, optional
        What the scores mean: "classes", "binary", "multilabel", "values" or "map". If left out, the output and the
        labels say so: see `snnrepro.network.task.task_of`.
    progress : callable, optional
        Called with the fraction of the work done since the last call.
    most_as_is : float
        The largest share of the multiply-adds, from 0 to 1, that may lie in parts of the model that are no spiking
        network but stay as they are (see `snnrepro.network.layers.OnnxPart`).
    weights : str
        "float32", as trained, or "int16" or "int8": rounded, so that every sum is exact and all simulators give the
        same spikes. Neurons are fitted to the rounded weights.
    neurons_per_activation : int
        How many neurons stand for each activation: their mean takes more values than the spikes of one, so that fewer
        steps do (two at 4 steps lose less than one at 8), for as many times the neurons and spikes.

    Returns
    -------
    SpikingNetwork
        `SpikingNetwork.n_steps` and `SpikingNetwork.provenance` say what was chosen.

    Raises
    ------
    UnsupportedError
        A nonlinearity stands where a spiking network cannot have it; all such nodes are named.
    ModelError
        Nothing in the network would spike, or more of it than `most_as_is` would stay as it is; the recipe or the task
        is unknown, or no number of steps tried keeps the loss under `max_loss`.
    DataError
        Calibration images are missing, or of the wrong shape; labels name no class, or the trained network itself does
        not answer them better than chance.

    Warns
    -----
    DataWarning
        The images are a handful, all the same or of few of the classes, or too few to tell whether the loss is within
        `max_loss`.

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
    network = network if isinstance(network, Network) else load(network)
    chosen = recipe if isinstance(recipe, Recipe) else recipe_named(recipe)
    if max_loss is not None and not is_number(max_loss, at_least=0):
        raise ModelError(f"max_loss must be a number of points from 0 on, got {max_loss!r}")
    if max_loss is not None and n_steps is not None:
        raise ModelError("give n_steps or max_loss, not both: max_loss finds n_steps")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ModelError(f"seed must be a whole number from 0 to 2**32 - 1, got {seed!r}")
    schedule = prepare(network)
    if chosen.passes:
        from snnrepro.spiking.tune import require_differentiable

        require_differentiable(schedule)
    if weights not in WEIGHTS:
        raise ModelError(f"weights must be one of {', '.join(WEIGHTS)}, got {weights!r}")
    if not is_count(neurons_per_activation):
        raise ModelError(f"neurons_per_activation must be at least 1, a whole number, got {neurons_per_activation!r}")
    if not any(isinstance(node.layer, ReLU) for node in schedule.nodes):
        raise ModelError(
            "the network has no ReLU, LeakyReLU or ReLU6 before its output: nothing in it would spike; train it with "
            "one of them between its layers"
        )
    if not is_number(most_as_is, at_least=0, at_most=1):
        raise ModelError(f"most_as_is must be a share from 0 to 1, got {most_as_is!r}")
    counted = shares(schedule)
    if counted.as_is > most_as_is * counted.total:
        raise ModelError(
            f"{100 * counted.as_is / counted.total:.1f} % of the multiply-adds lie in parts that stay as they are "
            f"({_parts(schedule)}), at most {100 * most_as_is:g} % may: hardly anything would spike; allow it with "
            "--most-as-is 1, in Python most_as_is=1"
        )
    images = given = None
    if calibration is not None:
        images, given = gathered(calibration, network.input_shape, MOST_IMAGES if max_loss is None else None)
    meaning = task_of(network, task, given)
    x, labels = _calibration(network, chosen, images, given, meaning)
    done = progress or (lambda _: None)
    if weights != FLOAT:  # fitting functions may take minutes
        require_fixed_point(network, schedule, chosen)
    fitted = _functions(network, x, within(done, _OF_FUNCTIONS))
    if fitted:
        schedule, done = prepare(network, fitted), within(done, 1 - _OF_FUNCTIONS)
    is_fitted = _is_fitted(chosen)
    own = None if meaning.name == task_of(network).name else meaning.name  # what the output says is not written down
    if x is None and max_loss is not None:
        raise DataError("max_loss needs calibration images")
    if x is not None and is_fitted:
        warn_of_poor_calibration(x[:MOST_IMAGES], lambda some: meaning.answers(network.forward(some)), meaning)
    with Shelf(_ROOM) as shelf:
        is_classes = meaning.name == "classes"
        size = neurons_per_activation
        fitting = (
            None if x is None or not is_fitted else Fitting(schedule, x[:MOST_IMAGES], shelf, is_classes, weights, size)
        )
        made = partial(_convert, schedule, fitted, chosen, fitting, size)
        if x is None or max_loss is None:
            n_steps = DEFAULT_N_STEPS if n_steps is None else n_steps
            return made(n_steps, seed, own, done)
        left = 1.0

        def made_for(n_steps: int, guess: str = "") -> SpikingNetwork:
            nonlocal left
            share = left * _SHARES[guess]  # how many there will be is not known
            left -= share
            return made(n_steps, seed, own, within(done, share), guess)

        near = partial(made_for, guess="near") if len(chosen.outweigh) > 1 else made_for
        guesses = (partial(made_for, guess="rough"), near) if is_fitted else None
        found = cheapest(meaning, meaning.answers(network.forward(x)), x, labels, max_loss, made_for, guesses)
        done(left)
        return found


def _parts(schedule: Schedule) -> str:
    operators = [node.layer.operators for node in schedule.network.nodes if isinstance(node.layer, OnnxPart)]
    return ", ".join(dict.fromkeys(operator for of_one in operators for operator in of_one))


def _is_fitted(recipe: Recipe) -> bool:
    """Whether its neurons are fitted to calibration images."""
    return recipe.fit is not None or not isinstance(recipe.neuron, LIF)


def _calibration(
    network: Network, recipe: Recipe, images: Any, labels: Any, task: Task
) -> tuple[FloatArray | None, AnyArray | None]:
    if images is None:
        if not _is_fitted(recipe):
            return None, None
        raise DataError(f"the recipe {recipe.name!r} needs calibration images: {_a_few_hundred(network)}")
    x = checked_images(images, network.input_shape)
    if not len(x):
        raise DataError(f"a few hundred calibration images are needed, got {x.shape}")
    return x, None if labels is None else task.labels(labels, len(x))


def _functions(network: Network, x: FloatArray | None, progress: Progress) -> dict[str, Fit]:
    if x is not None:
        return fits(network, x, progress)
    curved = curved_inside(network)
    if curved:
        raise DataError(f"{curved[0].name!r}: functions are fitted on calibration images: {_a_few_hundred(network)}")
    return {}


def _a_few_hundred(network: Network) -> str:
    return f"a few hundred images (n_images, {', '.join(map(str, network.input_shape))}) like those it was trained on"


def _convert(
    schedule: Schedule,
    fitted: dict[str, Fit],
    recipe: Recipe,
    fitting: Fitting | None,
    neurons_per_activation: int,
    n_steps: int,
    seed: int,
    task: str | None,
    progress: Progress,
    guess: str = "",
) -> SpikingNetwork:
    """Return the spiking network for one number of steps; a fitted recipe needs `fitting`."""
    if not is_count(n_steps):
        raise ModelError(f"n_steps must be at least 1, a whole number, got {n_steps!r}")
    provenance: dict[str, Any] = {"recipe": recipe.name, "n_steps": n_steps}
    if neurons_per_activation > 1:
        provenance["neurons_per_activation"] = neurons_per_activation
    if fitted:
        provenance["functions"] = summary(fitted)
    correction = fixed = None
    if not _is_fitted(recipe):
        assert isinstance(recipe.neuron, LIF)
        ensembles = with_ensembles(schedule, neurons_per_activation)
        populations = _as_in_nengo(ensembles, recipe.neuron, recipe.dt, seed)
        provenance["seed"] = seed
        progress(1.0)
    else:
        assert fitting is not None  # `_calibration` has seen to it
        calibrated = fitting.fitted(recipe, n_steps, progress, guess)
        populations = calibrated.populations
        if not np.isfinite(calibrated.error):
            raise ModelError(
                f"at {n_steps} steps the scores on the calibration images are not finite numbers: values that are "
                "multiplied or divided at run time (gates, normalisations) leave the range of float32; more steps, or "
                "more calibration images, keep them nearer to the trained ones"
            )
        correction = calibrated.correction if recipe.corrects_readout else None
        fixed = calibrated.fixed
        if fixed is not None:
            provenance.update(weights=fixed.weights, exact_for_steps=fixed.most_steps)
        growth = growth_of(populations)
        provenance.update(calibration_images=calibrated.n_images, growth=growth, images=fitting.images)
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
        task,
        fitted,
        fixed,
        neurons_per_activation,
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
