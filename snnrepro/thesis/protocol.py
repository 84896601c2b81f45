"""The thesis's protocol as cells: each trains or evaluates one network once; commands and benchmarks call the same.

The thesis trained a network in NengoDL for each n_steps. Training itself runs at one time step, so those five are five
seeds of one training: here the k-th seed's training is timed in the k-th column, and every seed is evaluated at every
n_steps.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.datasets import pixels
from snnrepro.errors import DataError
from snnrepro.frameworks.tensorflow import import_tensorflow, seed_everything
from snnrepro.network.graph import Network
from snnrepro.readers.keras import to_onnx
from snnrepro.readers.load import load
from snnrepro.simulators.nengo_dl import NengoDLSimulator, TrainingSettings, epoch_callback, train
from snnrepro.spiking.convert import convert
from snnrepro.thesis import models
from snnrepro.thesis.tables import settings

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray, IntArray
    from snnrepro.datasets import Mnist
    from snnrepro.spiking.run import Progress
    from snnrepro.spiking.spiking_network import SpikingNetwork

MINIBATCH_SIZE = 200
"""Test images simulated together, as in NengoDL's MNIST example; the thesis does not name its own."""

PACE_ROUNDS = 9
"""How often the pace is measured at every n_steps."""


@dataclass(frozen=True)
class Profile:
    """How much is measured.

    Attributes
    ----------
    name : str
        "quick" or "thesis".
    seeds : tuple of int
        One Keras and one NengoDL training each.
    synapses : tuple of float or None
        Of the converted network, s. The first is the one judged: 1 ms is the one setting that comes near the abstract's
        "about 10 %" (fitted, not known).
    """

    name: str
    seeds: tuple[int, ...]
    synapses: tuple[float | None, ...]


PROFILES = {
    "quick": Profile("quick", (0,), (0.001,)),
    "thesis": Profile("thesis", (0, 1, 2, 3, 4), (0.001, None)),
}


@dataclass(frozen=True)
class Cell:
    """One measurement: which system, what is done with it, from which seed, at which n_steps (0 for Keras)."""

    system: str
    quantity: str
    seed: int
    n_steps: int = 0
    synapse: float | None = None

    def describe(self) -> str:
        """Return the cell in words, for a progress bar."""
        steps = f", n_steps {self.n_steps}" if self.quantity == "inference" and self.n_steps else ""
        return f"{self.system} {self.quantity}{steps}, seed {self.seed}"


@dataclass(frozen=True)
class Measured:
    """What a cell gave: seconds, and by n_steps (0 for Keras) the accuracy in % or, of a pace cell, the seconds."""

    cell: Cell
    seconds: float
    accuracy: dict[int, float] = field(default_factory=dict)
    pace: dict[int, float] = field(default_factory=dict)


def cells(profile: Profile) -> list[Cell]:
    """Return the cells of a profile in the order in which they can be measured."""
    every_n = settings()["n_steps"]
    plan: list[Cell] = []
    for seed in profile.seeds:
        plan += [Cell("keras", "training", seed), Cell("keras", "inference", seed)]
        plan.append(Cell("nengo-dl", "training", seed, every_n[profile.seeds.index(seed) % len(every_n)]))
        plan += [Cell("nengo-dl", "inference", seed, n_steps) for n_steps in every_n]
        if seed == profile.seeds[0]:
            plan.append(Cell("nengo-dl", "pace", seed, max(every_n)))
        plan += [Cell("converted", "inference", seed, max(every_n), synapse) for synapse in profile.synapses]
    return plan


def relative_cost(cell: Cell) -> float:
    """Return about how long a cell takes, in units of one simulated step of 10,000 images: for progress bars only."""
    if cell.system == "keras":
        return 25.0 if cell.quantity == "training" else 0.5
    return {"training": 120.0, "pace": 35.0}.get(cell.quantity, float(cell.n_steps))


class DenseRoad:
    """The way of the dense model from Keras to NengoDL; keeps what it trained, so that cells follow each other.

    Parameters
    ----------
    data : Mnist
        Images and labels.
    folder : Path, optional
        Where the ONNX files and the archives are kept; a temporary folder if left out.
    """

    def __init__(self, data: Mnist, folder: Path | None = None) -> None:
        self.data = data
        self.training = TrainingSettings(**{key: settings()[key] for key in ("learning_rate", "batch_size", "epochs")})
        if len(data.x_train) < self.training.batch_size:
            raise DataError(f"at least {self.training.batch_size} training images are needed, got {len(data.x_train)}")
        self._temporary = tempfile.TemporaryDirectory() if folder is None else None
        self.folder = Path(self._temporary.name) if self._temporary is not None else Path(str(folder))
        self._keras: dict[int, Any] = {}
        self._converted: dict[int, Network] = {}
        self._trained: dict[int, SpikingNetwork] = {}

    def measure(self, cell: Cell, progress: Progress | None = None) -> Measured:
        """Measure one cell; what it needs and is not there yet is trained first, outside the measured time."""
        if cell.system == "keras":
            return self._train_keras(cell, progress) if cell.quantity == "training" else self._infer_keras(cell)
        if cell.quantity == "training":
            return self._train_nengo_dl(cell, progress)
        if cell.quantity == "pace":
            return self._pace(cell, progress)
        if cell.system == "nengo-dl":
            return self._simulate(cell, self.trained(cell.seed), [cell.n_steps], progress)
        spiking = replace(convert(self.converted(cell.seed), "thesis", seed=cell.seed), synapse=cell.synapse)
        return self._simulate(cell, spiking, settings()["n_steps"], progress)

    def keras(self, seed: int) -> Any:
        """Return the trained Keras model of a seed."""
        if seed not in self._keras:
            self._train_keras(Cell("keras", "training", seed), None)
        return self._keras[seed]

    def trained(self, seed: int) -> SpikingNetwork:
        """Return the network trained in NengoDL of a seed."""
        if seed not in self._trained:
            self._train_nengo_dl(Cell("nengo-dl", "training", seed), None)
        return self._trained[seed]

    def converted(self, seed: int) -> Network:
        """Return Keras's network after the road: Keras, an ONNX file, the graph walk, an npz archive."""
        if seed not in self._converted:
            import onnx

            self.folder.mkdir(parents=True, exist_ok=True)
            onnx_file = self.folder / f"dense-{seed}.onnx"
            onnx.save(to_onnx(self.keras(seed)), str(onnx_file))
            archive = self.folder / f"dense-{seed}.npz"
            load(onnx_file).save(archive)
            self._converted[seed] = load(archive)
        return self._converted[seed]

    def _train_keras(self, cell: Cell, progress: Progress | None) -> Measured:
        tf = import_tensorflow()
        model = models.keras_dense(cell.seed)
        model.compile(tf.keras.optimizers.Adam(self.training.learning_rate), "sparse_categorical_crossentropy")
        x = pixels(self.data.x_train)
        seed_everything(tf, cell.seed)
        start = time.perf_counter()
        model.fit(
            x,
            self.data.y_train,
            batch_size=self.training.batch_size,
            epochs=self.training.epochs,
            verbose=0,
            callbacks=[epoch_callback(tf, self.training.epochs, progress)],
        )
        seconds = time.perf_counter() - start
        self._keras[cell.seed] = model
        return Measured(cell, seconds)

    def _infer_keras(self, cell: Cell) -> Measured:
        model = self.keras(cell.seed)
        x = pixels(self.data.x_test)
        model.predict(x[:1], verbose=0)  # builds the graph, once in a process
        start = time.perf_counter()
        scores = model.predict(x, batch_size=self.training.batch_size, verbose=0)
        seconds = time.perf_counter() - start
        return Measured(cell, seconds, {0: accuracy(scores, self.data.y_test)})

    def _train_nengo_dl(self, cell: Cell, progress: Progress | None) -> Measured:
        spiking = convert(models.untrained_dense(cell.seed), "thesis", seed=cell.seed)
        x = pixels(self.data.x_train)
        start = time.perf_counter()
        self._trained[cell.seed] = train(spiking, x, self.data.y_train, self.training, cell.seed, progress)
        return Measured(cell, time.perf_counter() - start)

    def _simulate(
        self, cell: Cell, spiking: SpikingNetwork, keep_steps: list[int], progress: Progress | None
    ) -> Measured:
        x = pixels(self.data.x_test)
        ends: list[float] = []

        def chunk_done(fraction: float) -> None:
            ends.append(time.perf_counter())
            if progress is not None:
                progress(fraction)

        with NengoDLSimulator(spiking, min(MINIBATCH_SIZE, len(x))) as simulator:
            simulator.run(x[:1], cell.n_steps)  # traces the graph, once a simulator
            start = time.perf_counter()
            scores = simulator.run(x, cell.n_steps, keep_steps, chunk_done)
        # The median chunk times their number: a pause of the machine in one of them does not count.
        seconds = len(ends) * float(np.median(np.diff([start, *ends])))
        return Measured(cell, seconds, {n: accuracy(scores[:, k], self.data.y_test) for k, n in enumerate(keep_steps)})

    def _pace(self, cell: Cell, progress: Progress | None) -> Measured:
        """Time one minibatch at every n_steps in turn, and take the fastest round of each.

        Interleaved and the fastest, because other work on the machine can only add time, and not the same to each.
        """
        every_n = settings()["n_steps"]
        x = pixels(np.resize(self.data.x_test, (MINIBATCH_SIZE, 28, 28)))
        with NengoDLSimulator(self.trained(cell.seed), MINIBATCH_SIZE) as simulator:
            rounds: dict[int, list[float]] = {n_steps: [] for n_steps in every_n}
            for round_ in range(-1, PACE_ROUNDS):  # round -1 traces the graphs
                for n_steps in every_n:
                    start = time.perf_counter()
                    simulator.run(x, n_steps)
                    if round_ >= 0:
                        rounds[n_steps].append(time.perf_counter() - start)
                if progress is not None:
                    progress(1 / (PACE_ROUNDS + 1))
        pace = {n_steps: min(times) for n_steps, times in rounds.items()}
        return Measured(cell, pace[max(every_n)], pace=pace)


def accuracy(scores: FloatArray, labels: IntArray) -> float:
    """Return the share of images whose largest score is their label, in %; equal scores answer the lowest class."""
    return 100.0 * int(np.count_nonzero(scores.argmax(axis=1) == labels)) / len(labels)
