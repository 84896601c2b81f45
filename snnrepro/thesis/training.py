"""The thesis's trainings of one model: in Keras, and in NengoDL on the neurons' rates."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Mapping

from snnrepro.datasets import pixels
from snnrepro.errors import DataError
from snnrepro.frameworks.tensorflow import gpu_names, import_tensorflow, seed_everything
from snnrepro.readers.load import load
from snnrepro.simulators.nengo.dl import TrainingSettings, epoch_callback, train
from snnrepro.spiking.convert import convert
from snnrepro.thesis import models
from snnrepro.thesis.tables import settings

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray
    from snnrepro.datasets import Dataset
    from snnrepro.spiking.network import SpikingNetwork
    from snnrepro.spiking.run import Progress


@dataclass(frozen=True)
class Took:
    """How long a training took.

    Attributes
    ----------
    seconds : float
        By the clock on the wall.
    cpu_seconds : float or None
        CPU time of the process; None where there is a GPU, whose work it leaves out.
    """

    seconds: float
    cpu_seconds: float | None


class Training:
    """Trains one model on the first images of a data set.

    Parameters
    ----------
    model : str
        "dense", "cnn" or "autoencoder".
    sizes : mapping
        Of its layers, as in ``tables.toml``.
    data : Dataset
        Images and labels.
    n_train, epochs : int
        Training images and passes over them.
    merge : bool
        Whether NengoDL merges operators.

    Raises
    ------
    DataError
        There are too few training images for one minibatch.
    """

    def __init__(
        self, model: str, sizes: Mapping[str, Any], data: Dataset, n_train: int, epochs: int, merge: bool
    ) -> None:
        self.model, self.sizes, self.data, self.merge = model, sizes, data, merge
        self.n_train = min(n_train, len(data.x_train))
        self.settings = TrainingSettings(settings()["learning_rate"], settings()["batch_size"], epochs)
        if self.n_train < self.settings.batch_size:
            needed = self.settings.batch_size
            raise DataError(f"at least {needed} training images are needed, got {self.n_train}")

    def untrained(self, seed: int) -> Any:
        """Return the Keras model with the initial weights of a seed."""
        return models.keras_model(self.model, seed, self.sizes.get("strides"))

    def in_keras(self, seed: int, progress: Progress | None = None) -> tuple[Any, Took]:
        """Return the Keras model of a seed, trained, and how long that took; `progress` is called after each epoch."""
        tf = import_tensorflow()
        model = self.untrained(seed)
        images = self.model == "autoencoder"
        loss = "mse" if images else "sparse_categorical_crossentropy"
        model.compile(tf.keras.optimizers.Adam(self.settings.learning_rate), loss)
        x = self._images()
        seed_everything(tf, seed)
        took = stopwatch()
        model.fit(
            x,
            x if images else self.data.y_train[: len(x)],
            batch_size=self.settings.batch_size,
            epochs=self.settings.epochs,
            verbose=0,
            callbacks=[epoch_callback(tf, self.settings.epochs, progress)],
        )
        return model, took()

    def in_nengo_dl(self, seed: int, progress: Progress | None = None) -> tuple[SpikingNetwork, Took]:
        """Return the spiking network of a seed, trained in NengoDL, and how long that took."""
        spiking = convert(load(self.untrained(seed)), "thesis", seed=seed)
        x = self._images()
        took = stopwatch()
        trained = train(spiking, x, self.data.y_train[: len(x)], self.settings, seed, progress, self.merge)
        return trained, took()

    def timed(self, system: str, seed: int, n_images: int, progress: Progress | None = None) -> Took:
        """Return how long `n_images` in all epochs would take in "keras" or "nengo-dl".

        By the epochs after the first, which traces graphs; what is trained is dropped.
        """
        took, ends = stopwatch(), []

        def epoch_done(fraction: float) -> None:
            ends.append(took())
            if progress is not None:
                progress(fraction)

        (self.in_keras if system == "keras" else self.in_nengo_dl)(seed, epoch_done)
        first, last = ends[0], ends[-1]
        times = n_images / (self.n_train * (len(ends) - 1))
        cpu = None if last.cpu_seconds is None else (last.cpu_seconds - (first.cpu_seconds or 0.0)) * times
        return Took((last.seconds - first.seconds) * times, cpu)

    def _images(self) -> FloatArray:
        return pixels(self.data.x_train[: self.n_train])


def stopwatch() -> Callable[[], Took]:
    """Start two clocks; what is returned gives the time since then."""
    start, cpu_start = time.perf_counter(), time.process_time()
    has_gpu = bool(gpu_names())

    def took() -> Took:
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        return Took(seconds, None if has_gpu else cpu_seconds)

    return took
