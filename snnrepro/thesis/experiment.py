"""The thesis's experiment on one model: Keras, an ONNX file, the graph walk, an npz archive, a spiking network."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from snnrepro.datasets import pixels
from snnrepro.errors import DataError
from snnrepro.frameworks.nengo_dl import missing_packages
from snnrepro.frameworks.tensorflow import gpu_names
from snnrepro.metrics import accuracy, ssim
from snnrepro.simulators.nengo.dl import NengoDLSimulator
from snnrepro.spiking.archive import load_spiking
from snnrepro.spiking.convert import MOST_IMAGES, convert
from snnrepro.spiking.recipes import RECIPES
from snnrepro.spiking.synops import macs
from snnrepro.thesis.cells import TIMED_EPOCHS, TIMED_IMAGES, Cell, Measured, Workload, cells, images_of
from snnrepro.thesis.networks import Networks, ReferenceNetworks
from snnrepro.thesis.record import conditions, digest, training_conditions
from snnrepro.thesis.tables import model_settings, settings
from snnrepro.thesis.timing import spread_of, timed_in_turn
from snnrepro.thesis.training import Training

if TYPE_CHECKING:
    from pathlib import Path

    from snnrepro.arrays import AnyArray, FloatArray, IntArray
    from snnrepro.datasets import Dataset
    from snnrepro.spiking.network import SpikingNetwork
    from snnrepro.spiking.run import Progress
    from snnrepro.thesis.training import Took

_REPEATED, _ENOUGH_SECONDS = 3, 10.0
"""How often the event simulator's run is timed, twice if that is long already; the median counts."""

_N_INFERENCE = 10_000
"""Images whose inference the thesis timed."""


class Experiment:
    """Measures the cells of one model; what it trains is kept in a folder, where a later experiment finds it.

    Parameters
    ----------
    model : str
        "dense", "cnn" or "autoencoder".
    workload : Workload
        How much is measured.
    data : Dataset
        Images and labels.
    folder : Path
        Where networks are kept: ONNX files and archives.
    strides : sequence of int, optional
        Of the CNN's convolutions, if not those of ``tables.toml``.
    again : bool
        Whether networks that the folder holds already are made anew.

    Raises
    ------
    DataError
        There are too few training images for one minibatch, or no reference networks with these strides.
    """

    def __init__(
        self,
        model: str,
        workload: Workload,
        data: Dataset,
        folder: Path,
        strides: Sequence[int] | None = None,
        again: bool = False,
    ) -> None:
        self.model, self.workload, self.data = model, workload, data
        self.sizes = model_settings(model)
        if strides is not None:
            if workload.reference and list(strides) != self.sizes["strides"]:
                raise DataError(f"the reference CNNs have strides {self.sizes['strides']}; train others with --train")
            self.sizes["strides"] = list(strides)
        extent = (TIMED_IMAGES, TIMED_EPOCHS) if workload.reference else (workload.n_train, workload.epochs)
        self._training = Training(model, self.sizes, data, *extent, workload.nengo_dl.merge)
        of_training = digest(training_conditions(workload, data, self.sizes))
        kind = ReferenceNetworks if workload.reference else Networks
        self.networks = kind(self._training, folder, of_training, again)
        self._answers: dict[int, FloatArray] = {}

    def conditions(self, cell: Cell) -> dict[str, Any]:
        """Return what a cell's figures depend on beside the cell."""
        return conditions(cell, self.workload, self.data, self.sizes)

    def measure(self, cell: Cell, progress: Progress | None = None) -> Measured:
        """Measure one cell; what it needs and is not there yet is trained first, outside the measured time."""
        if cell.quantity == "training":
            took = self._train(cell, progress)
            measured = Measured(cell, took.seconds, cpu_seconds=took.cpu_seconds)
        elif cell.system == "keras":
            measured = self._infer_keras(cell, progress)
        elif cell.quantity == "pace":
            measured = self._pace(cell, progress)
        elif cell.quantity == "accuracy":
            measured = self._answer(cell, progress)
        elif cell.quantity == "agreement":
            measured = self._agree(cell, progress)
        elif cell.system == "nengo-dl" or (cell.recipe == "thesis" and self.model != "autoencoder"):
            measured = self._simulate(cell, progress)
        else:
            measured = self._infer_event(cell, progress)
        return replace(measured, conditions=self.conditions(cell))

    def spiking(self, cell: Cell) -> SpikingNetwork:
        """Return the spiking network of a cell: trained in NengoDL, or converted by its recipe."""
        if cell.system == "nengo-dl":
            return self.networks.spiking(cell.seed)
        network, recipe = self.networks.network(cell.seed), RECIPES[cell.recipe]
        if cell.recipe == "thesis":
            if self.model == "autoencoder":  # an image is read from the mean: a filtered one would be dim at 45 steps
                recipe = replace(recipe, readout_synapse=None)
            return convert(network, replace(recipe, synapse=cell.synapse), n_steps=cell.n_steps, seed=cell.seed)
        path = self.networks.path(cell.seed, f"{cell.recipe}-n{cell.n_steps}", "npz")
        if not self.networks.is_there(path):
            convert(network, recipe, self.calibration(), cell.n_steps).save(path)
            self.networks.made(path)
        return load_spiking(path)

    def calibration(self) -> FloatArray:
        """Return the calibration images, the same for every cell."""
        return pixels(self.data.x_train[np.random.RandomState(0).permutation(len(self.data.x_train))[:MOST_IMAGES]])

    def answers(self, seed: int) -> FloatArray:
        """Return Keras's scores of the test images that the profile has."""
        if seed not in self._answers:
            self._infer_keras(Cell(self.model, "keras", "inference", seed))
        return self._answers[seed]

    def test_images(self, n_images: int) -> FloatArray:
        """Return test images spread evenly: MNIST's first ones are harder than its last."""
        return pixels(self._spread(self.data.x_test, n_images))

    def _spread(self, of_all: AnyArray, n_images: int) -> AnyArray:
        """Return what belongs to `n_images` of the profile's test images, spread evenly over all of MNIST's."""
        n_test = max(self.workload.n_test, n_images)
        return _evenly(_evenly(of_all, n_test), n_images)

    def _train(self, cell: Cell, progress: Progress | None) -> Took:
        if not self.workload.reference:
            return self.networks.train(cell.system, cell.seed, progress)
        return self._training.timed(cell.system, cell.seed, self.workload.n_train * self.workload.epochs, progress)

    def _infer_keras(self, cell: Cell, progress: Progress | None = None) -> Measured:
        model = self.networks.keras(cell.seed)
        x = self.test_images(self.workload.n_test)
        model.predict(x[: settings()["batch_size"]], verbose=0)  # builds the graph, once in a process
        start = time.perf_counter()
        scores = model.predict(x, batch_size=settings()["batch_size"], verbose=0)
        seconds = (time.perf_counter() - start) * _N_INFERENCE / len(x)
        self._answers[cell.seed] = scores
        if progress is not None:
            progress(1.0)
        measured = Measured(cell, seconds, len(x), len(x), macs=float(macs(self.networks.network(cell.seed))))
        if self.model == "autoencoder":
            return replace(measured, ssim={"original~keras": float(ssim(x, scores).mean())})
        return replace(measured, accuracy={0: percent_right(scores, self._spread(self.data.y_test, len(x)))})

    def _simulate(self, cell: Cell, progress: Progress | None) -> Measured:
        """Simulate in NengoDL: the longest presentation gives the answers at every n_steps, the others their time."""
        spiking, every_n = self.spiking(cell), settings()["n_steps"]
        judged = cell.n_steps == max(every_n)
        x = self.test_images(self.workload.nengo_dl.n_simulated if judged else self.workload.nengo_dl.n_timed)
        size = min(self.workload.nengo_dl.minibatch, len(x))
        ends: list[float] = []

        def chunk_done(fraction: float) -> None:
            ends.append(time.perf_counter())
            if progress is not None:
                progress(fraction)

        with NengoDLSimulator(spiking, size, self.workload.nengo_dl.merge) as simulator:
            simulator.run(x[:1], cell.n_steps)  # traces the graph, once a simulator
            start = time.perf_counter()
            scores = simulator.run(x, cell.n_steps, every_n if judged else None, chunk_done)
        # The median minibatch times their number: a pause of the machine in one of them does not count.
        seconds = float(np.median(np.diff([start, *ends]))) * _N_INFERENCE / size
        if not judged:
            return Measured(cell, seconds, n_timed=len(x))
        return Measured(cell, seconds, len(x), len(x), self._right(cell, scores.argmax(axis=-1)))

    def _answer(self, cell: Cell, progress: Progress | None) -> Measured:
        """Simulate LIF neurons on events: their spikes are NengoDL's (see `_agree`), in a fraction of the time."""
        x = self.test_images(images_of(cell, self.workload))
        start = time.perf_counter()
        run = self.spiking(cell).run(x, cell.n_steps, keep_steps=settings()["n_steps"], progress=progress)
        seconds = (time.perf_counter() - start) * _N_INFERENCE / len(x)
        return Measured(cell, seconds, len(x), len(x), self._right(cell, run.predictions_by_step))

    def _agree(self, cell: Cell, progress: Progress | None) -> Measured:
        """Simulate some images in NengoDL and on events, and count equal answers."""
        spiking, every_n = self.spiking(cell), settings()["n_steps"]
        x = self.test_images(self.workload.nengo_dl.n_simulated)
        start = time.perf_counter()
        size = min(self.workload.nengo_dl.minibatch, len(x))
        with NengoDLSimulator(spiking, size, self.workload.nengo_dl.merge) as simulator:
            theirs = simulator.run(x, cell.n_steps, every_n, progress).argmax(axis=-1)
        ours = spiking.run(x, cell.n_steps, keep_steps=every_n).predictions_by_step
        shares = (theirs == ours).mean(axis=0)
        return Measured(cell, time.perf_counter() - start, len(x), agreement=float(shares.min()))

    def _right(self, cell: Cell, predictions: IntArray) -> dict[int, float]:
        """Return the share of right answers by n_steps, in %; of a converted network, Keras's to the same images."""
        labels = self._spread(self.data.y_test, len(predictions))
        right = {n: accuracy(predictions[:, k], labels).percent for k, n in enumerate(settings()["n_steps"])}
        if cell.system == "converted":
            right[0] = percent_right(_evenly(self.answers(cell.seed), len(predictions)), labels)
        return right

    def _infer_event(self, cell: Cell, progress: Progress | None) -> Measured:
        """Time the event simulator on a converted network, and count its answers, spikes and operations."""
        spiking = self.spiking(cell)
        x = self.test_images(images_of(cell, self.workload))
        spiking.run(x[:100])  # compiles, or reads what was compiled
        seconds: list[float] = []
        while len(seconds) < 2 or (len(seconds) < _REPEATED and sum(seconds) < _ENOUGH_SECONDS):
            start = time.perf_counter()
            run = spiking.run(x)
            seconds.append(time.perf_counter() - start)
        if progress is not None:
            progress(1.0)
        measured = Measured(
            cell,
            float(np.median(seconds)) * _N_INFERENCE / len(x),
            len(x),
            len(x),
            spikes_per_image=run.mean_spikes,
            synaptic_operations=float(run.synaptic_operations.mean()),
            spread=spread_of({cell.n_steps: seconds}),
        )
        answers = _evenly(self.answers(cell.seed), len(x))
        if self.model == "autoencoder":
            images = run.scores.reshape(x.shape)
            pairs = {"original~keras": (x, answers), "original~snn": (x, images), "keras~snn": (answers, images)}
            return replace(measured, ssim={name: float(ssim(*pair).mean()) for name, pair in pairs.items()})
        labels = self._spread(self.data.y_test, len(x))
        right = {cell.n_steps: percent_right(run.scores, labels), 0: percent_right(answers, labels)}
        return replace(measured, accuracy=right)

    def _pace(self, cell: Cell, progress: Progress | None) -> Measured:
        """Time one minibatch at every n_steps in turn, and take the fastest round of each."""
        every_n = settings()["n_steps"]
        n_rounds, size = self.workload.nengo_dl.pace_rounds, self.workload.nengo_dl.minibatch
        x = pixels(np.resize(self.data.x_test, (size, 28, 28)))
        clock = time.perf_counter if gpu_names() else time.process_time  # the process's CPU time leaves out a GPU's

        def round_done() -> None:
            if progress is not None:
                progress(1 / (n_rounds + 1))

        walls: dict[int, list[float]] = {}

        def simulate(n_steps: int) -> None:
            start = time.perf_counter()
            simulator.run(x, n_steps)
            walls.setdefault(n_steps, []).append(time.perf_counter() - start)

        with NengoDLSimulator(self.spiking(cell), size, self.workload.nengo_dl.merge) as simulator:
            times = timed_in_turn(simulate, every_n, n_rounds, clock, round_done)
        pace = {n_steps: min(repeats) for n_steps, repeats in times.items()}
        inference = {n_steps: min(repeats) * _N_INFERENCE / size for n_steps, repeats in walls.items()}
        return Measured(
            cell,
            pace[max(every_n)],
            n_timed=size,
            pace=pace,
            spread=spread_of(times),
            inference=inference if self.workload.reference else {},  # others time whole runs
        )


def _evenly(values: AnyArray, n: int) -> AnyArray:
    """Return `n` of the values, or all if there are fewer, at equal distances, the first one among them."""
    return values[:: max(1, len(values) // max(1, n))][:n]


def measurable(model: str, workload: Workload) -> list[Cell]:
    """Return the cells of a model that can be measured with the packages that this process has."""
    without_nengo_dl = workload.reference and bool(missing_packages())
    return [cell for cell in cells(model, workload) if not (without_nengo_dl and cell.is_of_nengo_dl)]


def percent_right(scores: AnyArray, labels: IntArray) -> float:
    """Return the share of images whose largest score is their label, in %; equal scores answer the lowest class."""
    return accuracy(scores.argmax(axis=1), labels).percent
