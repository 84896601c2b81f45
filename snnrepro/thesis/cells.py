"""What is measured: a profile is a list of cells, each trains or evaluates one network once.

The thesis trained a network in NengoDL for each n_steps. Training itself runs at one time step, so those five are five
seeds of one training: here the k-th seed's training is timed in the k-th column, and every seed is evaluated at every
n_steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Mapping, Sequence

from snnrepro.thesis.tables import settings

MODELS = ("dense", "cnn", "autoencoder")


JUDGED_SYNAPSE = 0.001
"""Of the network converted by the recipe "thesis", s: the one setting that comes near the abstract's "about 10 %"
(fitted, not known)."""


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
    """

    n_steps: tuple[int, ...]
    seeds: tuple[int, ...] = (0,)
    epochs: int = 10
    n_train: int = 60_000
    n_test: int = 10_000
    recipes: tuple[str, ...] = ("balanced", "balanced-lif")
    other_synapses: tuple[float | None, ...] = ()
    nengo_dl: Simulated = Simulated()


_N_STEPS = (4, 8, 15, 30, 45, 60)

PROFILES: Mapping[str, Mapping[str, Workload]] = {
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
"""quick: every table in minutes, on fewer images where there is a convolution. thesis: everything in full."""


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
        "training", "inference" or "pace" (one minibatch timed at every n_steps in turn).
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

    def describe(self) -> str:
        """Return the cell in words, for a progress bar."""
        how = f" by {self.recipe}" if self.recipe else ""
        filtered = f", synapse {self.synapse * 1000:g} ms" if self.synapse else ""
        steps = f", n_steps {self.n_steps}" if self.quantity == "inference" and self.n_steps else ""
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
    ssim : dict of str to float
        Mean structural similarity of the autoencoder's images: "original~keras", "original~snn", "keras~snn".
    spikes_per_image, synaptic_operations : float or None
        Mean over the images, of the event simulator.
    macs : float or None
        Multiply-accumulate operations of the trained network per image.
    cpu_seconds : float or None
        Of a training where there is no GPU: CPU time of the process, which other processes hardly change.
    spread : float or None
        Of a pace: how far its repeats lie apart, see `snnrepro.thesis.timing.spread_of`.
    conditions : dict
        What the figures depend on beside the cell: see `snnrepro.thesis.record`.
    """

    cell: Cell
    seconds: float
    n_images: int = 0
    n_timed: int = 0
    accuracy: dict[int, float] = field(default_factory=dict)
    pace: dict[int, float] = field(default_factory=dict)
    ssim: dict[str, float] = field(default_factory=dict)
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
        by_steps = {key: {int(n): float(value) for n, value in document[key].items()} for key in ("accuracy", "pace")}
        return Measured(**{**document, **by_steps, "cell": Cell(**document["cell"])})


def workloads(profile: str, models: Sequence[str] = MODELS, n_seeds: int | None = None) -> dict[str, Workload]:
    """Return what a profile measures of the given models, with another number of seeds if one is given."""
    own = {model: PROFILES[profile][model] for model in MODELS if model in models}
    if n_seeds is None:
        return own
    return {model: replace(workload, seeds=tuple(range(n_seeds))) for model, workload in own.items()}


def cells(model: str, workload: Workload) -> list[Cell]:
    """Return the cells of a model in the order in which they can be measured."""
    every_n = settings()["n_steps"]
    simulated = workload.nengo_dl.n_simulated > 0
    longest = max(every_n) if simulated else settings()["n_steps_of_images"]
    plan: list[Cell] = []
    for seed in workload.seeds:
        plan += [Cell(model, "keras", "training", seed), Cell(model, "keras", "inference", seed)]
        for recipe in workload.recipes:
            plan += [Cell(model, "converted", "inference", seed, n, recipe) for n in workload.n_steps]
        if simulated:
            column = every_n[workload.seeds.index(seed) % len(every_n)]
            plan.append(Cell(model, "nengo-dl", "training", seed, column))
            plan += [Cell(model, "nengo-dl", "inference", seed, n) for n in every_n]
            if seed == workload.seeds[0]:
                plan.append(Cell(model, "nengo-dl", "pace", seed, longest))
        for synapse in (JUDGED_SYNAPSE, *workload.other_synapses):
            plan.append(Cell(model, "converted", "inference", seed, longest, "thesis", synapse))
    return plan


def relative_cost(cell: Cell, workload: Workload) -> float:
    """Return about how much work a cell is, in images times steps of the dense network: for progress bars only."""
    images = workload.n_train * workload.epochs if cell.quantity == "training" else workload.n_test * cell.n_steps
    return float(max(images, workload.n_test)) * (1 if cell.model == "dense" else 20)
