"""The spiking network as pure data: what every simulator reads."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence

import numpy as np

from snnrepro.arrays import frozen
from snnrepro.errors import ModelError
from snnrepro.network.layers import ReLU
from snnrepro.network.task import task_of
from snnrepro.spiking.checks import is_count, is_number, is_time_or_none, require
from snnrepro.spiking.ensembles import mean_of_each, with_ensembles
from snnrepro.spiking.fixed_point import FLOAT
from snnrepro.spiking.functions import names_of_terms, with_functions
from snnrepro.spiking.neurons import CONSTANTS, growth_of
from snnrepro.spiking.rounding import in_fixed_point
from snnrepro.spiking.schedule import Schedule, schedule_of

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.network.graph import Network
    from snnrepro.spiking.fixed_point import FixedPoint
    from snnrepro.spiking.neurons import Population
    from snnrepro.spiking.piecewise import Fit
    from snnrepro.spiking.run import Progress, Run

DEFAULT_N_STEPS = 15
"""Time steps of a network for which no other number is asked for."""


@dataclass(frozen=True, eq=False)
class SpikingNetwork:
    """A trained network whose rectifiers are spiking neurons; its weights are untouched.

    In a time step every node gives the value it gives in the trained network for what it reads in that step, but a
    rectifier gives the spikes of its population, and a maximum what its running maximum has gained. The image is a
    constant input of every step. Without a synapse a spike reaches every later layer in the step in which it is fired.

    Attributes
    ----------
    network : Network
        The trained network as `prepare` writes it.
    readout : str
        The value whose mean over the steps gives the scores; what stands behind it is computed once, from the mean.
    populations : mapping of str to Population
        The neurons of each ReLU node before the readout, by its name: of its shape, but where there are several for
        each activation, as many times as many channels, those of an activation in turn.
    synapse : float or None
        Time constant of the lowpass filter on every spike train, s; None for none.
    readout_synapse : float or None
        Time constant of the lowpass filter whose last value is the readout, s (the first step of a filtered output is
        0); None for the mean over the steps, step t weighing ``growth ** -t``.
    dt : float
        Length of a time step, s.
    n_steps : int
        How many steps it is made for, and runs where no other number is asked for.
    correction : numpy.ndarray or None
        Constant that is added to the readout, of its shape.
    provenance : mapping of str to str, float or mapping
        How it was made: recipe, calibration images and what they are like, what was chosen.
    task : str or None
        What the scores mean, of `snnrepro.network.task.TASKS`; None if its output says so.
    functions : mapping of str to Fit
        What the functions of one number that neurons or weights stand behind are fitted by, by the node's name.
    fixed : FixedPoint or None
        How weights are rounded where `simulated` is in fixed point; None where they are float32, as trained.
    neurons_per_activation : int
        How many neurons stand for each number that a rectifier gives; it is their mean.
    schedule : Schedule
        When each value is computed; follows from `network`.

    Raises
    ------
    ModelError
        A rectifier has no neurons, or the populations count their spikes by different weights.
    """

    network: Network
    readout: str
    populations: Mapping[str, Population]
    synapse: float | None = None
    readout_synapse: float | None = None
    dt: float = 0.001
    n_steps: int = DEFAULT_N_STEPS
    correction: FloatArray | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    task: str | None = None
    functions: Mapping[str, Fit] = field(default_factory=dict)
    fixed: FixedPoint | None = None
    neurons_per_activation: int = 1
    schedule: Schedule = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedule", schedule_of(self.network))
        if self.correction is not None:
            object.__setattr__(self, "correction", frozen(self.correction))
        require(
            self,
            {
                "dt: times must be above 0 s": is_number(self.dt, above=0),
                "synapse: times must be above 0 s or None": is_time_or_none(self.synapse),
                "readout_synapse: times must be above 0 s or None": is_time_or_none(self.readout_synapse),
                "n_steps must be a whole number of at least 1": is_count(self.n_steps),
                "neurons_per_activation must be a whole number of at least 1": is_count(self.neurons_per_activation),
            },
        )
        task_of(self.network, self.task)
        problem = _problem(self)
        if problem:
            raise ModelError(f"SpikingNetwork: {problem}")

    @property
    def growth(self) -> float:
        """By how much a spike of one step outweighs one of the next; 1 in a rate code."""
        return growth_of(self.populations)

    @property
    def tail(self) -> Network | None:
        """What is computed once, from the readout: a softmax, a sigmoid; None where nothing stands behind it."""
        return self.schedule.tail

    @property
    def trained(self) -> Network:
        """The trained network: `network`, with every function in the place of the rectifiers that are fitted to it."""
        return with_functions(self.network, self.functions) if self.functions else self.network

    @cached_property
    def simulated(self) -> SpikingNetwork:
        """What simulators run: itself, or with a rectifier for each neuron, and in fixed point with rounded weights.

        In fixed point its spikes are 1.
        """
        if self.fixed is None and self.neurons_per_activation == 1:
            return self
        schedule, populations = with_ensembles(self.schedule, self.neurons_per_activation), self.populations
        if self.fixed is not None:
            network, populations = in_fixed_point(schedule, populations, self.fixed, self.dt)
            schedule = schedule_of(network)
        return replace(
            self,
            network=schedule.network,
            readout=schedule.readout,
            populations=populations,
            functions={},
            fixed=None,
            neurons_per_activation=1,
        )

    def in_trained_units(self, values: Mapping[str, AnyArray]) -> dict[str, FloatArray]:
        """Return what `simulated` gives, by name, in the units of the trained network: spikes times their amplitude.

        Its output goes by the name of the trained network's.
        """
        named = {self.simulated.network.nodes[-1].name: self.network.nodes[-1].name}
        populations = {} if self.fixed is None else self.populations
        scales = {name: population.amplitude for name, population in populations.items() if name not in named}
        return {named.get(name, name): value * scales.get(name, np.float32(1)) for name, value in values.items()}

    def of_activations(self, means: Mapping[str, AnyArray]) -> dict[str, FloatArray]:
        """Return means over the steps that `simulated` gives, by name, for every activation, in the trained units."""
        size, output = self.neurons_per_activation, self.network.nodes[-1].name
        return {
            name: mean_of_each(mean, size) if name in self.populations and size > 1 and name != output else mean
            for name, mean in self.in_trained_units(means).items()
        }

    @property
    def weights(self) -> str:
        """What weights are in a simulation: "float32", as trained, or rounded to "int16" or "int8"."""
        return FLOAT if self.fixed is None else self.fixed.weights

    @property
    def n_neurons(self) -> dict[str, int]:
        """How many neurons each population has."""
        return {name: math.prod(shape) for name, shape in _shapes_of_neurons(self).items()}

    def run(
        self,
        x: Any,
        n_steps: int | None = None,
        simulator: str = "event",
        keep_steps: Sequence[int] | None = None,
        progress: Progress | None = None,
        early_exit: Any = None,
        executor: Executor | None = None,
    ) -> Run:
        """Present every image for `n_steps` time steps.

        Parameters
        ----------
        x : array_like or iterable
            ``(n_images, *input_shape)``, in the model's own layout; any number of images, none is dropped. What is
            large is read and run part by part: a mapped file (``numpy.load(path, mmap_mode="r")``), an HDF5 data set;
            or what gives images or batches one after the other (a generator, a ``tf.data.Dataset``, a PyTorch
            DataLoader), with or without labels, and ends at some time.
        n_steps : int, optional
            Time steps of `dt` s; `SpikingNetwork.n_steps` if left out.
        simulator : str
            "event", "plain", "nengo" or "nengo-dl".
        keep_steps : sequence of int, optional
            The steps (counted from 1) whose scores are kept, ascending; the last one if left out. The scores at step t
            do not depend on what comes after, so one run gives the answer for every smaller number of steps too.
        progress : callable, optional
            Called with the fraction of the work done since the last call.
        early_exit : "certain" or float, optional
            When an image stops before the last step (event simulator): as soon as its answer cannot change any more,
            whatever spikes the steps that remain bring; or as soon as its best score leads the second by this margin,
            in units of the readout, i.e. of the trained network's logits (the mean over the steps so far, before a
            softmax). It is tried after every other step, and from the eighth on after every quarter more. All that
            `Run` has of an image is then what a run of its ``Run.steps_used`` steps gives.
        executor : concurrent.futures.Executor, optional
            Whose workers simulate: processes, loky, ``mpi4py.futures``, Dask's ``Client.get_executor()``. About a
            million numbers of images are sent together, each time with the network. The results are the same.

        Returns
        -------
        Run
            Scores, predictions, spikes and synaptic operations.

        Raises
        ------
        DataError
            `x` has another shape, or a step lies outside 1 to `n_steps`.
        ModelError
            The simulator is unknown or cannot run a layer, or does not permit an early exit: it needs a score for
            each class, no synapses and no `keep_steps`.
        DependencyError
            The simulator's packages are missing.
        SnnReproError
            The executor's workers failed.

        Warns
        -----
        DataWarning
            `x` leaves or hardly fills the range of the images that the neurons were fitted on; of what gives images
            one after the other, the first part says so.

        Examples
        --------
        >>> from concurrent.futures import ProcessPoolExecutor
        >>> with ProcessPoolExecutor(2) as executor:           # doctest: +SKIP
        ...     run = spiking.run(np.load("images.npy", mmap_mode="r"), executor=executor)
        """
        from snnrepro.spiking.run import Run, simulate

        n_steps = self.n_steps if n_steps is None else n_steps  # not by `run_parts`: warnings name the line that calls
        return Run.joined(list(simulate(self, x, n_steps, simulator, keep_steps, progress, early_exit, executor)))

    def run_parts(
        self,
        x: Any,
        n_steps: int | None = None,
        simulator: str = "event",
        keep_steps: Sequence[int] | None = None,
        progress: Progress | None = None,
        early_exit: Any = None,
        executor: Executor | None = None,
    ) -> Iterator[Run]:
        """Return the runs of parts of the images, one after the other, that `run` returns as one.

        A part is read and run when it is asked for, and nothing of it is kept: so the results, too, may be more than
        memory holds. `snnrepro.spiking.run_file.write_run` writes them to a file.

        Parameters, errors and warnings are those of `run`.

        Examples
        --------
        >>> for part in spiking.run_parts(np.load("images.npy", mmap_mode="r")):  # doctest: +SKIP
        ...     print(part.predictions)
        """
        from snnrepro.spiking.run import simulate

        n_steps = self.n_steps if n_steps is None else n_steps
        return simulate(self, x, n_steps, simulator, keep_steps, progress, early_exit, executor)

    def save(self, path: Any) -> None:
        """Write the spiking network to a versioned npz archive (no pickle); see `snnrepro.spiking.archive`."""
        from snnrepro.spiking.archive import save

        save(self, path)


def _problem(spiking: SpikingNetwork) -> str:
    """Return what does not fit together, or nothing."""
    network = spiking.network
    rectifiers = {node.name for node in network.nodes if isinstance(node.layer, ReLU)}
    missing, unknown = sorted(rectifiers - set(spiking.populations)), sorted(set(spiking.populations) - rectifiers)
    if missing or unknown:
        return f"rectifiers without neurons: {missing}; neurons without a rectifier: {unknown}"
    names = {node.name for node in network.nodes}
    for name, fitted in spiking.functions.items():
        if not names.issuperset([name, *names_of_terms(name, fitted)]):
            return f"the function {name!r} has not the nodes that it is fitted by"
    readout = spiking.schedule.readout
    if spiking.readout != readout:
        return f"the readout must be {readout!r}, got {spiking.readout!r}"
    shapes = _shapes_of_neurons(spiking)
    for name, population in spiking.populations.items():
        shape = shapes[name]
        for constant in CONSTANTS:
            own = getattr(population, constant).shape
            if not _broadcasts(own, shape):
                return f"population {name!r}: {constant} {own} does not fit a layer of {shape}"
    if len({population.neuron.growth for population in spiking.populations.values()}) > 1:
        return "all populations need the same growth"
    correction, shape = spiking.correction, tuple(network.shapes[readout])
    if correction is not None and not (_broadcasts(correction.shape, shape) and np.isfinite(correction).all()):
        return f"correction must be finite numbers that fit the readout's {shape}, got {correction.shape}"
    return ""


def _shapes_of_neurons(spiking: SpikingNetwork) -> dict[str, tuple[int, ...]]:
    """Return the shape of every population, without the images."""
    shapes = {name: spiking.network.shapes[name] for name in spiking.populations}
    return {name: (spiking.neurons_per_activation * shape[0], *shape[1:]) for name, shape in shapes.items()}


def _broadcasts(own: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether an array can stand for one of `shape`, each of its axes of size 1 or whole."""
    return len(own) <= len(shape) and all(size in (1, full) for size, full in zip(own[::-1], shape[::-1]))


def scores_of(spiking: SpikingNetwork, readout: AnyArray) -> FloatArray:
    """Return the scores for what was read out, ``(n_images, *shape)``: the correction added, the tail computed."""
    corrected = readout if spiking.correction is None else readout + spiking.correction
    return corrected if spiking.tail is None else spiking.tail.forward(corrected)
