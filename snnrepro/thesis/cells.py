"""What is measured: a profile is a list of cells, each trains or evaluates one network once.

The thesis trained a network in NengoDL for each n_steps. Training itself runs at one time step, so those five are five
seeds of one training: here the k-th seed's training is timed in the k-th column, and every seed is evaluated at every
n_steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Mapping, Sequence

from snnrepro.errors import DataError
from snnrepro.thesis.tables import figures, settings

MODELS = ("dense", "cnn", "autoencoder")


JUDGED_SYNAPSE = 0.001
"""Of the network converted by the recipe "thesis", s: the one setting that comes near the abstract's "about 10 %"
(fitted, not known)."""


TIMED_IMAGES, TIMED_EPOCHS = 12_800, 3
"""On which a training is timed where the networks are the reference ones."""


@dataclass(frozen=True)
class Simulated:
    """How much of one model is simulated in NengoDL; nothing by default.

    Attributes
    ----------
    n_simulated : int
        Test images.
    n_timed : int
        Test images on which inference below the longest presentation is timed.
    minibatch : int
        Images simulated together; the thesis does not name its own.
    pace_rounds : int
        Rounds of the interleaved timing of one minibatch at every n_steps.
    merge : bool
        Whether NengoDL merges operators, which it does by default: in convolutional networks that costs several times
        the time, and it changes no number.
    """

    n_simulated: int = 0
    n_timed: int = 0
    minibatch: int = 0
    pace_rounds: int = 0
    merge: bool = False


@dataclass(frozen=True)
class Workload:
    """How much of one model is measured.

    Attributes
    ----------
    n_steps : tuple of int
        At which the fitted recipes convert Keras's network; each is fitted for its own.
    seeds : tuple of int
        One Keras and one NengoDL training each.
    epochs : int
        Passes over the training images.
    n_train, n_test : int
        Training images; test images that Keras and the event simulator answer. All there are, if fewer.
    recipes : tuple of str
        The fitted recipes.
    other_synapses : tuple of float or None
        Of the network converted by the recipe "thesis", s, beside the one that is judged.
    nengo_dl : Simulated
        How much is simulated in NengoDL.
    reference : bool
        Whether the networks are the reference ones: their trainings are those of `epochs` and `n_train`, and here only
        the time of a shorter one is measured. LIF neurons are then simulated by the event simulator, and NengoDL
        answers some images to compare.
    n_lif : int
        Test images that it answers with LIF neurons, and by every recipe but "balanced".
    n_filtered : int
        The same where a synapse filters the spikes, so that a neuron has an output in every step.
    """

    n_steps: tuple[int, ...]
    seeds: tuple[int, ...] = (0,)
    epochs: int = 10
    n_train: int = 60_000
    n_test: int = 10_000
    recipes: tuple[str, ...] = ("balanced", "balanced-lif")
    other_synapses: tuple[float | None, ...] = ()
    nengo_dl: Simulated = Simulated()
    reference: bool = False
    n_lif: int = 10_000
    n_filtered: int = 10_000


_N_STEPS = (4, 8, 15, 30, 45, 60)
_ALL_RECIPES = ("balanced", "balanced-lif", "rate")

PROFILES: Mapping[str, Mapping[str, Workload]] = {
    "reference": {
        "dense": Workload(
            n_steps=(4, 15, 60),
            seeds=(0, 1, 2, 3, 4),
            recipes=_ALL_RECIPES,
            nengo_dl=Simulated(400, minibatch=200, pace_rounds=7, merge=True),
            reference=True,
        ),
        "cnn": Workload(
            n_steps=(4, 15),
            seeds=(0, 1, 2, 3, 4),
            recipes=_ALL_RECIPES,
            nengo_dl=Simulated(100, minibatch=20, pace_rounds=5),
            reference=True,
            n_lif=2_000,
            n_filtered=500,
        ),
        "autoencoder": Workload(n_steps=(45,), n_test=200, recipes=("balanced",), reference=True),
    },
    "quick": {
        "dense": Workload(_N_STEPS, nengo_dl=Simulated(10_000, 2_000, minibatch=200, pace_rounds=9, merge=True)),
        "cnn": Workload(
            n_steps=(4, 15),
            epochs=1,
            n_train=12_800,
            n_test=2_000,
            recipes=("balanced",),
            nengo_dl=Simulated(500, 100, minibatch=20, pace_rounds=5),
        ),
        "autoencoder": Workload(n_steps=(45,), epochs=1, n_train=12_800, n_test=200, recipes=("balanced",)),
    },
    "thesis": {
        "dense": Workload(
            _N_STEPS,
            seeds=(0, 1, 2, 3, 4),
            other_synapses=(None,),
            nengo_dl=Simulated(10_000, 10_000, minibatch=200, pace_rounds=9, merge=True),
        ),
        "cnn": Workload(_N_STEPS, nengo_dl=Simulated(10_000, 500, minibatch=50, pace_rounds=5)),
        "autoencoder": Workload(n_steps=(45,), n_test=200),
    },
}
"""reference: the networks inside the package, on all test images, in minutes. quick: one network of each kind trained
anew, those with convolutions on fewer images. thesis: everything trained anew and in full."""


@dataclass(frozen=True)
class Cell:
    """One measurement.

    Attributes
    ----------
    model : str
        "dense", "cnn" or "autoencoder".
    system : str
        "keras", "nengo-dl" (trained there) or "converted" (Keras's weights, no retraining).
    quantity : str
        "training", "inference", "pace" (one minibatch timed at every n_steps in turn), "accuracy" (the event
        simulator's answers with LIF neurons) or "agreement" (of NengoDL's answers with those).
    seed : int
        Of the training.
    n_steps : int
        Time steps; 0 for Keras.
    recipe : str
        Of the conversion; empty for the other systems.
    synapse : float or None
        Of the recipe "thesis", s.
    """

    model: str
    system: str
    quantity: str
    seed: int
    n_steps: int = 0
    recipe: str = ""
    synapse: float | None = None

    @property
    def is_of_nengo_dl(self) -> bool:
        """Whether NengoDL computes, where the networks are the reference ones."""
        return self.system == "nengo-dl" and self.quantity != "accuracy"

    def describe(self) -> str:
        """Return the cell in words, for a progress bar."""
        how = f" by {self.recipe}" if self.recipe else ""
        filtered = f", synapse {self.synapse * 1000:g} ms" if self.synapse else ""
        steps = f", n_steps {self.n_steps}" if self.quantity in ("inference", "accuracy") and self.n_steps else ""
        return f"{self.model}: {self.system}{how} {self.quantity}{steps}{filtered}, seed {self.seed}"

    @property
    def name(self) -> str:
        """The cell as a file name without its ending."""
        parts = [self.model, self.system, self.recipe, self.quantity, f"n{self.n_steps}"]
        synapse = "" if self.synapse is None else f"synapse{self.synapse * 1000:g}ms"
        return "-".join(part for part in [*parts, synapse, f"seed{self.seed}"] if part)


@dataclass(frozen=True)
class Measured:
    """What a cell gave.

    Attributes
    ----------
    cell : Cell
        What was measured.
    seconds : float
        Of a training; of an inference those of 10,000 images, scaled where fewer were timed.
    n_images : int
        Images whose answers were judged.
    n_timed : int
        Images that were timed.
    accuracy : dict of int to float
        In %, by n_steps; 0 for Keras.
    pace : dict of int to float
        Seconds of a minibatch, by n_steps: CPU time, where there is no GPU.
    inference : dict of int to float
        Of a pace of the reference networks: seconds of 10,000 images by n_steps, by the clock on the wall.
    agreement : float or None
        Share of the images, at the n_steps where it is smallest, to which two simulators give the same answer.
    ssim : dict of str to float
        Mean structural similarity of the autoencoder's images: "original~keras", "original~snn", "keras~snn".
    spikes_per_image, synaptic_operations : float or None
        Mean over the images, of the event simulator.
    macs : float or None
        Multiply-accumulate operations of the trained network per image.
    cpu_seconds : float or None
        Of a training where there is no GPU: CPU time of the process, which other processes hardly change.
    spread : float or None
        Of a pace, and of the event simulator's inference: how far repeats lie apart, see
        `snnrepro.thesis.timing.spread_of`.
    conditions : dict
        What the figures depend on beside the cell: see `snnrepro.thesis.record`.
    """

    cell: Cell
    seconds: float
    n_images: int = 0
    n_timed: int = 0
    accuracy: dict[int, float] = field(default_factory=dict)
    pace: dict[int, float] = field(default_factory=dict)
    inference: dict[int, float] = field(default_factory=dict)
    ssim: dict[str, float] = field(default_factory=dict)
    agreement: float | None = None
    spikes_per_image: float | None = None
    synaptic_operations: float | None = None
    macs: float | None = None
    cpu_seconds: float | None = None
    spread: float | None = None
    conditions: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(document: Mapping[str, Any]) -> Measured:
        """Return what a cell's file holds; JSON's keys are strings, those of the steps become numbers again.

        Raises
        ------
        KeyError, TypeError, ValueError
            The document is of another form.
        """
        by_steps = {
            key: {int(n): float(value) for n, value in document.get(key, {}).items()}
            for key in ("accuracy", "pace", "inference")
        }
        return Measured(**{**document, **by_steps, "cell": Cell(**document["cell"])})


def workloads(profile: str, models: Sequence[str] = MODELS, n_seeds: int | None = None) -> dict[str, Workload]:
    """Return what a profile measures of the given models, with another number of seeds if one is given.

    Raises
    ------
    DataError
        There are not as many reference networks.
    """
    own = {model: PROFILES[profile][model] for model in MODELS if model in models}
    if n_seeds is None:
        return own
    of_reference = [len(workload.seeds) for workload in own.values() if workload.reference]
    if of_reference and n_seeds > max(of_reference):
        raise DataError(f"there are {max(of_reference)} reference networks, not {n_seeds}; train others with --train")
    return {
        model: replace(workload, seeds=workload.seeds[:n_seeds] if workload.reference else tuple(range(n_seeds)))
        for model, workload in own.items()
    }


def cells(model: str, workload: Workload) -> list[Cell]:
    """Return the cells of a model in the order in which they can be measured."""
    return _of_reference(model, workload) if workload.reference else _of_trainings(model, workload)


def _of_trainings(model: str, workload: Workload) -> list[Cell]:
    every_n, simulated = settings()["n_steps"], _is_simulated(workload)
    plan: list[Cell] = []
    for seed in workload.seeds:
        plan += [Cell(model, "keras", "training", seed), Cell(model, "keras", "inference", seed)]
        plan += _fitted(model, workload, seed)
        if simulated:
            column = every_n[workload.seeds.index(seed) % len(every_n)]
            plan.append(Cell(model, "nengo-dl", "training", seed, column))
            plan += [Cell(model, "nengo-dl", "inference", seed, n) for n in every_n]
            if seed == workload.seeds[0]:
                plan.append(Cell(model, "nengo-dl", "pace", seed, _longest(workload)))
        for synapse in (JUDGED_SYNAPSE, *workload.other_synapses):
            plan.append(Cell(model, "converted", "inference", seed, _longest(workload), "thesis", synapse))
    return plan


def _of_reference(model: str, workload: Workload) -> list[Cell]:
    """Return every network's accuracy; what else there is, of the first seed alone."""
    seeds, longest = workload.seeds, _longest(workload)
    first = seeds[0]
    plan = [Cell(model, "keras", "inference", seed) for seed in seeds]
    plan += _fitted(model, workload, first)
    if not _is_simulated(workload):
        return [*plan, Cell(model, "converted", "inference", first, longest, "thesis", JUDGED_SYNAPSE)]
    plan += [Cell(model, "nengo-dl", "accuracy", seed, longest) for seed in seeds]
    is_judged = any(figure.quantity == "accuracy_loss" for figure in figures(model))
    for seed in seeds if is_judged else seeds[:1]:
        plan.append(Cell(model, "converted", "accuracy", seed, longest, "thesis", JUDGED_SYNAPSE))
    plan += [Cell(model, "nengo-dl", quantity, first, longest) for quantity in ("agreement", "pace")]
    if model == "dense":
        plan.append(Cell(model, "keras", "training", first))
        plan.append(Cell(model, "nengo-dl", "training", first, settings()["n_steps"][0]))
    return plan


def _fitted(model: str, workload: Workload, seed: int) -> list[Cell]:
    return [
        Cell(model, "converted", "inference", seed, n, recipe) for recipe in workload.recipes for n in workload.n_steps
    ]


def _is_simulated(workload: Workload) -> bool:
    return workload.nengo_dl.n_simulated > 0


def _longest(workload: Workload) -> int:
    return int(max(settings()["n_steps"]) if _is_simulated(workload) else settings()["n_steps_of_images"])


def images_of(cell: Cell, workload: Workload) -> int:
    """Return how many test images a cell of the event simulator answers."""
    if cell.synapse is not None:
        return min(workload.n_test, workload.n_lif, workload.n_filtered)
    if cell.quantity == "accuracy" or cell.recipe not in ("", "balanced"):
        return min(workload.n_test, workload.n_lif)
    return workload.n_test


def relative_cost(cell: Cell, workload: Workload) -> float:
    """Return about how much work a cell is, in images times steps of the dense network: for progress bars only."""
    if cell.quantity == "training":
        images = TIMED_IMAGES * TIMED_EPOCHS if workload.reference else workload.n_train * workload.epochs
    else:
        images = images_of(cell, workload) * cell.n_steps
    return float(max(images, workload.n_test)) * (1 if cell.model == "dense" else 20)
