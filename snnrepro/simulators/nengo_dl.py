"""NengoDL: the thesis's simulator, here for inference at any number of time steps and for training on rates."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence

import numpy as np

from snnrepro.errors import DataError
from snnrepro.frameworks.nengo_dl import import_nengo_dl
from snnrepro.frameworks.tensorflow import import_tensorflow, seed_everything
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Dense
from snnrepro.simulators.nengo_network import NengoNetwork, build

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray, IntArray
    from snnrepro.spiking.spiking_network import SpikingNetwork

Progress = Callable[[float], None]
"""Called with the fraction of the work that was done since the last call."""


class NengoDLSimulator:
    """A built simulation, to run as often as wanted; every image starts from the same initial state.

    Parameters
    ----------
    spiking : SpikingNetwork
        What to simulate.
    seed : int
        Of the initial membrane potentials.
    minibatch_size : int
        Images simulated together. The input is tiled over time, so memory grows with
        ``minibatch_size * n_steps * n_in``: 500 MNIST images at 60 steps are 94 MB.

    Examples
    --------
    >>> with NengoDLSimulator(spiking, seed=0) as simulator:           # doctest: +SKIP
    ...     scores = simulator.run(x, n_steps=60)
    """

    def __init__(self, spiking: SpikingNetwork, seed: int, minibatch_size: int = 500) -> None:
        self.spiking = spiking
        self.minibatch_size = minibatch_size
        self.nengo = build(spiking, seed)
        self._stack = contextlib.ExitStack()
        self._simulator = self._stack.enter_context(
            _simulator(self.nengo, spiking.dt, minibatch_size, seed, keep=self.nengo.filtered_scores)
        )

    def __enter__(self) -> NengoDLSimulator:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def run(
        self, x: AnyArray, n_steps: int, keep_steps: Sequence[int] | None = None, progress: Progress | None = None
    ) -> FloatArray:
        """Present every image for `n_steps` time steps and return the filtered output.

        Parameters
        ----------
        x : numpy.ndarray
            ``(n_images, *input_shape)``; any number of images, none is dropped.
        n_steps : int
            Time steps of `SpikingNetwork.dt` seconds.
        keep_steps : sequence of int, optional
            The steps (counted from 1) whose output is returned; the last one if left out. The output at step t does
            not depend on what comes after, so one run gives the answer for every smaller n_steps too.
        progress : callable, optional
            Called after each chunk.

        Returns
        -------
        numpy.ndarray
            float32, ``(n_images, len(keep_steps), n_out)``.

        Raises
        ------
        DataError
            `x` has another shape, or a step lies outside 1 to `n_steps`.
        """
        shape = tuple(self.spiking.network.input_shape)
        if x.shape[1:] != shape:
            raise DataError(f"the network's input is (n_images, {', '.join(map(str, shape))}), got {x.shape}")
        steps = [n_steps] if keep_steps is None else [int(step) for step in keep_steps]
        if n_steps < 1 or any(not 1 <= step <= n_steps for step in steps):
            raise DataError(f"steps to keep lie from 1 to n_steps={n_steps}, got {steps}")
        n_images, size = len(x), self.minibatch_size
        kept = np.zeros((n_images, len(steps), int(np.prod(self.spiking.network.output_shape))), np.float32)
        for start in range(0, n_images, size):
            images = np.zeros((size, int(np.prod(shape))), np.float32)  # the last chunk is filled up with blank images
            chunk = np.asarray(x[start : start + size], np.float32).reshape(-1, images.shape[1])
            images[: len(chunk)] = chunk
            with _expected_warnings():
                output = self._simulator.predict_on_batch(
                    {self.nengo.input: np.repeat(images[:, None, :], n_steps, axis=1)}
                )[self.nengo.filtered_scores]
            kept[start : start + len(chunk)] = np.asarray(output)[: len(chunk), [step - 1 for step in steps]]
            if progress is not None:
                progress(len(chunk) / n_images)
        return kept

    def weights(self) -> list[FloatArray]:
        """Return the weights and biases as NengoDL holds them, in Keras's order and axes: w1, b1, w2, b2 and so on."""
        layers = _read_back(self._simulator, self.nengo).values()
        return [array for layer in layers for array in (layer.weights, layer.bias)]


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained: table 4-3 of the thesis.

    Attributes
    ----------
    learning_rate : float
        Adam's.
    batch_size : int
        Images a step.
    epochs : int
        Passes over the training images.
    """

    learning_rate: float = 0.001
    batch_size: int = 128
    epochs: int = 10


def train(
    spiking: SpikingNetwork,
    x: AnyArray,
    y: IntArray,
    settings: TrainingSettings,
    seed: int,
    progress: Progress | None = None,
) -> SpikingNetwork:
    """Train a spiking network in NengoDL, on the neurons' rates at one time step, from the weights it has.

    Parameters
    ----------
    spiking : SpikingNetwork
        Its weights are the initial ones.
    x : numpy.ndarray
        ``(n_images, *input_shape)``.
    y : numpy.ndarray
        Labels, ``(n_images,)``.
    settings : TrainingSettings
        Optimizer settings. NengoDL leaves out the last images of an epoch that do not fill a minibatch.
    seed : int
        Of the order of the images.
    progress : callable, optional
        Called after each epoch.

    Returns
    -------
    SpikingNetwork
        The same network with the trained weights.
    """
    tf = import_tensorflow()
    seed_everything(tf, seed)
    nengo = build(spiking, seed)
    whole = len(x) // settings.batch_size * settings.batch_size
    with _simulator(nengo, spiking.dt, settings.batch_size, seed, keep=nengo.scores) as simulator:
        simulator.compile(
            optimizer=tf.keras.optimizers.Adam(settings.learning_rate),
            loss={nengo.scores: tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
        )
        with _expected_warnings():
            simulator.fit(
                {nengo.input: np.asarray(x[:whole], np.float32).reshape(whole, 1, -1)},
                {nengo.scores: np.asarray(y[:whole]).reshape(whole, 1, 1)},
                epochs=settings.epochs,
                verbose=0,
                callbacks=[epoch_callback(tf, settings.epochs, progress)],
            )
        trained = _read_back(simulator, nengo)
    network = spiking.network
    nodes = tuple(Node(node.name, node.inputs, trained.get(node.name, node.layer)) for node in network.nodes)
    return replace(spiking, network=Network(network.input_name, network.input_shape, nodes, {"trained_by": "nengo-dl"}))


def epoch_callback(tf: Any, epochs: int, progress: Progress | None) -> Any:
    """Return a Keras callback that reports each epoch to `progress`."""

    def report(epoch: int, logs: object) -> None:
        if progress is not None:
            progress(1 / epochs)

    return tf.keras.callbacks.LambdaCallback(on_epoch_end=report)


def _read_back(simulator: Any, nengo: NengoNetwork) -> dict[str, Dense]:
    """Return the Dense layers as NengoDL holds them, in Keras's axes."""
    return {
        name: Dense(
            np.asarray(simulator.data[connection].weights).T,
            np.asarray(simulator.data[nengo.biases[name]].weights)[:, 0],
        )
        for name, connection in nengo.weights.items()
    }


@contextlib.contextmanager
def _simulator(nengo: NengoNetwork, dt: float, minibatch_size: int, seed: int, keep: Any) -> Iterator[Any]:
    """Yield a NengoDL simulator of `nengo` with only the probe `keep`: an unread probe costs time and memory."""
    nengo_dl = import_nengo_dl()
    with nengo.network:
        # Every image starts from the initial state; in training the rates are those of the LIF curve, unsmoothed.
        nengo_dl.configure_settings(stateful=False, lif_smoothing=None)
    nengo.network.probes[:] = [keep]
    with _expected_warnings():
        simulator = nengo_dl.Simulator(
            nengo.network, dt=dt, minibatch_size=minibatch_size, seed=seed, progress_bar=False
        )
    try:
        with simulator:
            yield simulator
    finally:
        import_tensorflow().keras.backend.clear_session()


@contextlib.contextmanager
def _expected_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # Said once by `snnrepro doctor`; every table names the device it was measured on.
        warnings.filterwarnings("ignore", message="No GPU support detected")
        # One step through a filtered probe is 0 for every class: the thesis's column n_steps = 1.
        warnings.filterwarnings("ignore", message="Running for one timestep, but the network contains synaptic filters")
        # From inside TensorFlow and Keras, on newer NumPy and Python than they were written for.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield
