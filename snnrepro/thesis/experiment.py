"""The thesis's experiment on one model: Keras, an ONNX file, the graph walk, an npz archive, a spiking network."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable, Sequence

import numpy as np

from snnrepro.datasets import pixels
from snnrepro.errors import DataError
from snnrepro.files import written_whole
from snnrepro.frameworks.tensorflow import gpu_names, import_tensorflow, seed_everything
from snnrepro.metrics import accuracy, ssim
from snnrepro.readers.keras import to_onnx
from snnrepro.readers.load import load
from snnrepro.simulators.nengo.dl import NengoDLSimulator, TrainingSettings, epoch_callback, train
from snnrepro.spiking.archive import load_spiking
from snnrepro.spiking.convert import MOST_IMAGES, convert
from snnrepro.spiking.recipes import RECIPES
from snnrepro.spiking.synops import macs
from snnrepro.thesis import models
from snnrepro.thesis.cells import Cell, Measured, Workload
from snnrepro.thesis.record import conditions, digest, training_conditions
from snnrepro.thesis.tables import model_settings, settings
from snnrepro.thesis.timing import spread_of, timed_in_turn

if TYPE_CHECKING:
    from pathlib import Path

    from snnrepro.arrays import AnyArray, FloatArray, IntArray
    from snnrepro.datasets import Mnist
    from snnrepro.network.graph import Network
    from snnrepro.spiking.network import SpikingNetwork
    from snnrepro.spiking.run import Progress

_REPEATED, _ENOUGH_SECONDS = 3, 10.0
"""How often the event simulator's run is timed, if that is not long already; the median counts."""

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
    data : Mnist
        Images and labels.
    folder : Path
        Where trained networks are kept: Keras's weights, ONNX files and archives.
    strides : sequence of int, optional
        Of the CNN's convolutions, if not those of ``tables.toml``.
    again : bool
        Whether networks that the folder holds already are made anew.

    Raises
    ------
    DataError
        There are too few training images for one minibatch.
    """

    def __init__(
        self,
        model: str,
        workload: Workload,
        data: Mnist,
        folder: Path,
        strides: Sequence[int] | None = None,
        again: bool = False,
    ) -> None:
        self.model, self.workload, self.data, self.folder = model, workload, data, folder
        self.sizes = model_settings(model)
        if strides is not None:
            self.sizes["strides"] = list(strides)
        self.training = TrainingSettings(settings()["learning_rate"], settings()["batch_size"], workload.epochs)
        if len(data.x_train) < self.training.batch_size:
            raise DataError(f"at least {self.training.batch_size} training images are needed, got {len(data.x_train)}")
        self._digest = digest(training_conditions(workload, data, self.sizes))
        self._keras: dict[int, Any] = {}
        self._answers: dict[int, FloatArray] = {}
        self._trained: dict[int, SpikingNetwork] = {}
        self._again = again
        self._made: set[Path] = set()

    def conditions(self, cell: Cell) -> dict[str, Any]:
        """Return what a cell's figures depend on beside the cell."""
        return conditions(cell, self.workload, self.data, self.sizes)

    def measure(self, cell: Cell, progress: Progress | None = None) -> Measured:
        """Measure one cell; what it needs and is not there yet is trained first, outside the measured time."""
        if cell.system == "keras":
            measured = self._train_keras(cell, progress) if cell.quantity == "training" else self._infer_keras(cell)
        elif cell.quantity == "training":
            measured = self._train_nengo_dl(cell, progress)
        elif cell.quantity == "pace":
            measured = self._pace(cell, progress)
        elif cell.system == "nengo-dl":
            measured = self._simulate(cell, self.trained(cell.seed), progress)
        elif cell.recipe == "thesis" and self.model != "autoencoder":
            measured = self._simulate(cell, self.spiking(cell), progress)
        else:
            measured = self._infer_event(cell, progress)
        return replace(measured, conditions=self.conditions(cell))

    def keras(self, seed: int) -> Any:
        """Return the trained Keras model of a seed."""
        if seed not in self._keras:
            path = self._path(seed, "keras", "weights.npz")
            if self._is_there(path):
                model = self._untrained(seed)
                with np.load(path) as arrays:  # never pickled: NumPy refuses objects of itself
                    model.set_weights([arrays[str(index)] for index in range(len(arrays.files))])
                self._keras[seed] = model
            else:
                self._train_keras(Cell(self.model, "keras", "training", seed), None)
        return self._keras[seed]

    def trained(self, seed: int) -> SpikingNetwork:
        """Return the network trained in NengoDL of a seed."""
        if seed not in self._trained:
            path = self._path(seed, "nengo-dl", "npz")
            if self._is_there(path):
                self._trained[seed] = load_spiking(path)
            else:
                self._train_nengo_dl(Cell(self.model, "nengo-dl", "training", seed), None)
        return self._trained[seed]

    def converted(self, seed: int) -> Network:
        """Return Keras's network as an ONNX file, the graph walk and an npz archive hand it on."""
        archive = self._path(seed, "keras", "npz")
        if not self._is_there(archive):
            onnx_file = self._path(seed, "keras", "onnx")
            with written_whole(onnx_file) as file:
                file.write(to_onnx(self.keras(seed)).SerializeToString())
            load(onnx_file).save(archive)
            self._made.add(archive)
        return load(archive)

    def spiking(self, cell: Cell) -> SpikingNetwork:
        """Return the converted network of a cell."""
        network, recipe = self.converted(cell.seed), RECIPES[cell.recipe]
        if cell.recipe == "thesis":
            if self.model == "autoencoder":  # an image is read from the mean: a filtered one would be dim at 45 steps
                recipe = replace(recipe, readout_synapse=None)
            return convert(network, replace(recipe, synapse=cell.synapse), n_steps=cell.n_steps, seed=cell.seed)
        path = self._path(cell.seed, f"{cell.recipe}-n{cell.n_steps}", "npz")
        if not self._is_there(path):
            convert(network, recipe, self.calibration(), cell.n_steps).save(path)
            self._made.add(path)
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
        """Return the first test images."""
        return pixels(self.data.x_test[:n_images])

    def _path(self, seed: int, system: str, ending: str) -> Path:
        return self.folder / f"{self.model}-seed{seed}-{system}-{self._digest}.{ending}"

    def _is_there(self, path: Path) -> bool:
        return path.exists() and (not self._again or path in self._made)

    def _untrained(self, seed: int) -> Any:
        return models.keras_model(self.model, seed, self.sizes.get("strides"))

    def _train_keras(self, cell: Cell, progress: Progress | None) -> Measured:
        tf = import_tensorflow()
        model = self._untrained(cell.seed)
        images = self.model == "autoencoder"
        loss = "mse" if images else "sparse_categorical_crossentropy"
        model.compile(tf.keras.optimizers.Adam(self.training.learning_rate), loss)
        x = pixels(self.data.x_train[: self.workload.n_train])
        seed_everything(tf, cell.seed)
        took = _started()
        model.fit(
            x,
            x if images else self.data.y_train[: len(x)],
            batch_size=self.training.batch_size,
            epochs=self.training.epochs,
            verbose=0,
            callbacks=[epoch_callback(tf, self.training.epochs, progress)],
        )
        seconds, cpu_seconds = took()
        self._keras[cell.seed] = model
        path = self._path(cell.seed, "keras", "weights.npz")
        with written_whole(path) as file:
            np.savez(file, **{str(index): array for index, array in enumerate(model.get_weights())})
        self._made.add(path)
        return Measured(cell, seconds, cpu_seconds=cpu_seconds)

    def _infer_keras(self, cell: Cell) -> Measured:
        model = self.keras(cell.seed)
        x = self.test_images(self.workload.n_test)
        model.predict(x[: self.training.batch_size], verbose=0)  # builds the graph, once in a process
        start = time.perf_counter()
        scores = model.predict(x, batch_size=self.training.batch_size, verbose=0)
        seconds = (time.perf_counter() - start) * _N_INFERENCE / len(x)
        self._answers[cell.seed] = scores
        measured = Measured(cell, seconds, len(x), len(x), macs=float(macs(self.converted(cell.seed))))
        if self.model == "autoencoder":
            return replace(measured, ssim={"original~keras": float(ssim(x, scores).mean())})
        return replace(measured, accuracy={0: percent_right(scores, self.data.y_test[: len(x)])})

    def _train_nengo_dl(self, cell: Cell, progress: Progress | None) -> Measured:
        spiking = convert(load(self._untrained(cell.seed)), "thesis", seed=cell.seed)
        x = pixels(self.data.x_train[: self.workload.n_train])
        took = _started()
        trained = train(
            spiking, x, self.data.y_train[: len(x)], self.training, cell.seed, progress, self.workload.nengo_dl.merge
        )
        seconds, cpu_seconds = took()
        path = self._path(cell.seed, "nengo-dl", "npz")
        trained.save(path)
        self._made.add(path)
        self._trained[cell.seed] = trained
        return Measured(cell, seconds, cpu_seconds=cpu_seconds)

    def _simulate(self, cell: Cell, spiking: SpikingNetwork, progress: Progress | None) -> Measured:
        """Simulate in NengoDL: the longest presentation gives the answers at every n_steps, the others their time."""
        every_n = settings()["n_steps"]
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
        labels = self.data.y_test[: len(x)]
        right = {n: percent_right(scores[:, k], labels) for k, n in enumerate(every_n)}
        if cell.system == "converted":  # what Keras answers to the same images, for the loss
            right[0] = percent_right(self.answers(cell.seed)[: len(x)], labels)
        return Measured(cell, seconds, len(x), len(x), right)

    def _infer_event(self, cell: Cell, progress: Progress | None) -> Measured:
        """Time the event simulator on a converted network, and count its answers, spikes and operations."""
        spiking = self.spiking(cell)
        x = self.test_images(self.workload.n_test)
        spiking.run(x[:100])  # compiles, or reads what was compiled
        seconds: list[float] = []
        while len(seconds) < _REPEATED and sum(seconds) < _ENOUGH_SECONDS:
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
            spikes_per_image=sum(float(counts.mean()) for counts in run.spike_counts.values()),
            synaptic_operations=float(run.synaptic_operations.mean()),
        )
        answers = self.answers(cell.seed)
        if self.model == "autoencoder":
            images = run.scores.reshape(x.shape)
            pairs = {"original~keras": (x, answers), "original~snn": (x, images), "keras~snn": (answers, images)}
            return replace(measured, ssim={name: float(ssim(*pair).mean()) for name, pair in pairs.items()})
        labels = self.data.y_test[: len(x)]
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

        with NengoDLSimulator(self.trained(cell.seed), size, self.workload.nengo_dl.merge) as simulator:
            times = timed_in_turn(lambda n_steps: simulator.run(x, n_steps), every_n, n_rounds, clock, round_done)
        pace = {n_steps: min(repeats) for n_steps, repeats in times.items()}
        return Measured(cell, pace[max(every_n)], n_timed=size, pace=pace, spread=spread_of(times))


def _started() -> Callable[[], tuple[float, float | None]]:
    """Start two clocks; what is returned gives the seconds since then, and the CPU seconds where there is no GPU."""
    start, cpu_start = time.perf_counter(), time.process_time()

    def took() -> tuple[float, float | None]:
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        return seconds, None if gpu_names() else cpu_seconds  # the process's CPU time leaves out a GPU's

    return took


def percent_right(scores: AnyArray, labels: IntArray) -> float:
    """Return the share of images whose largest score is their label, in %; equal scores answer the lowest class."""
    return accuracy(scores.argmax(axis=1), labels).percent
