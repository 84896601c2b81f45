"""NengoDL: the thesis's simulator, for inference at any number of time steps and for training on rates."""

from __future__ import annotations

import contextlib
import math
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence

import numpy as np

from snnrepro.arrays import pieces
from snnrepro.errors import ModelError, UnsupportedError
from snnrepro.frameworks.nengo_dl import import_nengo_dl
from snnrepro.frameworks.tensorflow import import_tensorflow, seed_everything
from snnrepro.inputs import checked_images
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Multiply
from snnrepro.simulators.nengo.network import NengoNetwork, build
from snnrepro.spiking.run import Progress, Run, checked_steps
from snnrepro.spiking.schedule import is_graded

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray, IntArray
    from snnrepro.spiking.network import SpikingNetwork

_NUMBERS = 2**25
"""Numbers that the images simulated together have, over all steps of what is fed and probed (128 MB)."""


def run(spiking: SpikingNetwork, x: FloatArray, steps: tuple[int, ...], progress: Progress) -> Run:
    """Simulate `x` in minibatches of bounded memory; parameters and result as `SpikingNetwork.run`.

    Raises
    ------
    DependencyError
        NengoDL or TensorFlow is missing.
    """
    import_nengo_dl()
    network = spiking.network
    fed = math.prod(network.input_shape) + math.prod(network.shapes[spiking.readout])
    per_image = steps[-1] * fed + 4 * sum(math.prod(shape) for shape in network.shapes.values())
    chunks = pieces(x, per_image, _NUMBERS, 500, even=True)
    size = len(chunks[0])
    nengo = build(spiking, counted=True)
    counted = [] if nengo.counters is None else nengo.counters.probes
    runs = []
    with open_simulator(nengo, spiking.dt, size, keep=[nengo.filtered_scores, *counted], merge=False) as simulator:
        for chunk in chunks:
            runs.append(nengo.result(steps, predict(simulator, nengo, chunk, size, steps[-1]).__getitem__))
            progress(len(chunk) / len(x))
    return Run.joined(runs)


class NengoDLSimulator:
    """A built simulation, to run as often as wanted; every image starts from the same initial state.

    Parameters
    ----------
    spiking : SpikingNetwork
        What to simulate.
    minibatch_size : int
        Images simulated together. The input is tiled over time, so memory grows with
        ``minibatch_size * n_steps * n_in``: 500 MNIST images at 60 steps are 94 MB.
    merge : bool
        Whether NengoDL merges operators, as it does by default; without it convolutional networks run several times as
        fast.

    Examples
    --------
    >>> with NengoDLSimulator(spiking) as simulator:           # doctest: +SKIP
    ...     scores = simulator.run(x, n_steps=60)
    """

    def __init__(self, spiking: SpikingNetwork, minibatch_size: int = 500, merge: bool = True) -> None:
        import_nengo_dl()
        self.spiking = spiking.simulated
        self.minibatch_size = minibatch_size
        self.nengo = build(self.spiking)
        self._stack = contextlib.ExitStack()
        self._simulator = self._stack.enter_context(
            open_simulator(self.nengo, spiking.dt, minibatch_size, keep=[self.nengo.filtered_scores], merge=merge)
        )

    def __enter__(self) -> NengoDLSimulator:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def run(
        self, x: AnyArray, n_steps: int, keep_steps: Sequence[int] | None = None, progress: Progress | None = None
    ) -> FloatArray:
        """Present every image for `n_steps` time steps and return what is read out through the readout synapse.

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
            float32, ``(n_images, len(keep_steps), *readout_shape)``; without a readout synapse the value of that step
            alone. What stands behind the readout is not computed.

        Raises
        ------
        DataError
            `x` has another shape, or a step lies outside 1 to `n_steps`.
        """
        x = checked_images(x, self.spiking.network.input_shape)
        steps = [n_steps] if keep_steps is None else [int(step) for step in keep_steps]
        checked_steps(n_steps, steps)
        shape = self.spiking.network.shapes[self.spiking.readout]
        kept = np.zeros((len(x), len(steps), math.prod(shape)), np.float32)
        for start in range(0, len(x), self.minibatch_size):
            chunk = x[start : start + self.minibatch_size]
            data = predict(self._simulator, self.nengo, chunk, self.minibatch_size, n_steps)
            kept[start : start + len(chunk)] = data[self.nengo.filtered_scores][:, [step - 1 for step in steps]]
            if progress is not None:
                progress(len(chunk) / len(x))
        return kept.reshape(len(x), len(steps), *shape)

    def weights(self) -> list[FloatArray]:
        """Return the weights and biases as NengoDL holds them, in the order and axes of `snnrepro.network.layers`.

        Those of Dense, Conv and ConvTranspose layers, as far as `NengoNetwork.weights` has them: w1, b1, w2, b2, ...
        """
        layers: list[Any] = list(self.nengo.layers(_held(self._simulator)).values())
        return [array for layer in layers for array in (layer.weights, layer.bias)]


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained: table 4-3 of the thesis.

    Attributes
    ----------
    learning_rate : float
        Adam's.
    batch_size : int
        Images per step.
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
    merge: bool = True,
) -> SpikingNetwork:
    """Train a spiking network in NengoDL, on the neurons' rates at one time step, from the weights it has.

    Weights and biases of the layers that `NengoNetwork.weights` names are trained, and with them, as in NengoDL's own
    examples, the constant inputs of the neurons.

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
    merge : bool
        As of `NengoDLSimulator`.

    Returns
    -------
    SpikingNetwork
        The same network with the trained weights and biases.

    Raises
    ------
    UnsupportedError
        The network has quotients, normalisations or algebraic functions; all of them are named.
    """
    _check_trainable(spiking)
    tf = import_tensorflow()
    import_nengo_dl()
    seed_everything(tf, seed)
    nengo = build(spiking)
    whole = len(x) // settings.batch_size * settings.batch_size
    with open_simulator(
        nengo, spiking.dt, settings.batch_size, keep=[nengo.scores], seed=seed, merge=merge
    ) as simulator:
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
        trained = nengo.layers(_held(simulator))
        biases = {name: simulator.data[ensemble].bias for name, ensemble in nengo.ensembles.items()}
    populations = {
        name: replace(population, bias=np.reshape(biases[name], spiking.network.shapes[name]))
        for name, population in spiking.populations.items()
    }
    network = spiking.network
    nodes = tuple(Node(node.name, node.inputs, trained.get(node.name, node.layer)) for node in network.nodes)
    after = Network(network.input_name, network.input_shape, nodes, {"trained_by": "nengo-dl"})
    return replace(spiking, network=after, populations=populations)


def _check_trainable(spiking: SpikingNetwork) -> None:
    """Refuse rounded weights, and what `dl_neurons` computes with NumPy: nothing would be trained in front of it."""
    if spiking.fixed is not None:
        raise ModelError(f"{spiking.weights} weights are not trained: train the network before it is converted")
    nodes = [node for node in spiking.schedule.nodes if is_graded(node) and not isinstance(node.layer, Multiply)]
    if nodes:
        raise UnsupportedError(
            [
                f"{type(node.layer).__name__} {node.name!r}: NengoDL runs it, and cannot train through it; train the "
                f"network before it is converted"
                for node in nodes
            ]
        )


def epoch_callback(tf: Any, epochs: int, progress: Progress | None) -> Any:
    """Return a Keras callback that reports each epoch to `progress`."""

    def report(epoch: int, logs: object) -> None:
        if progress is not None:
            progress(1 / epochs)

    return tf.keras.callbacks.LambdaCallback(on_epoch_end=report)


def _held(simulator: Any) -> Callable[[Any], AnyArray]:
    """Return what gives the weights of a connection as NengoDL holds them."""
    return lambda connection: np.asarray(simulator.data[connection].weights)


def predict(simulator: Any, nengo: NengoNetwork, chunk: FloatArray, size: int, n_steps: int) -> dict[Any, AnyArray]:
    """Return the values of every probe, ``(len(chunk), n_steps, size of the probe)``."""
    images = np.zeros((size, nengo.input.size_out), np.float32)  # a smaller chunk is filled up with blank images
    images[: len(chunk)] = chunk.reshape(len(chunk), -1)
    with _expected_warnings():
        output = simulator.predict_on_batch({nengo.input: np.repeat(images[:, np.newaxis], n_steps, axis=1)})
    return {probe: np.asarray(values)[: len(chunk)] for probe, values in output.items()}


@contextlib.contextmanager
def open_simulator(
    nengo: NengoNetwork, dt: float, minibatch_size: int, keep: list[Any], seed: int = 0, merge: bool = True
) -> Iterator[Any]:
    """Yield a NengoDL simulator of `nengo` with only the probes `keep`: an unread probe costs time and memory.

    NengoDL merges operators of one kind, and keeps what a merged one writes in one array. That helps where layers are
    small; in a convolutional network most of the time then goes into copying parts of that array: `merge` false.
    """
    nengo_dl = import_nengo_dl()
    from nengo_dl.graph_optimizer import noop_planner, tree_planner

    from snnrepro.simulators.nengo.dl_neurons import register

    register()
    with nengo.network:
        # Every image starts from the initial state; in training the rates are those of the LIF curve, unsmoothed.
        nengo_dl.configure_settings(stateful=False, lif_smoothing=None, trainable=None)
        nengo_dl.configure_settings(planner=tree_planner if merge else noop_planner)
    _fix_all_but_weights(nengo)
    nengo.network.probes[:] = keep
    with _expected_warnings():
        simulator = nengo_dl.Simulator(
            nengo.network, dt=dt, minibatch_size=minibatch_size, seed=seed, progress_bar=False
        )
    try:
        with simulator:
            yield simulator
    finally:
        import_tensorflow().keras.backend.clear_session()


def _fix_all_but_weights(nengo: NengoNetwork) -> None:
    """Keep training from changing what is not read back."""
    network, populations = nengo.network, set(nengo.ensembles.values())
    read = {*nengo.weights.values(), *nengo.biases.values()}
    for fixed in {*network.connections, *network.ensembles} - read - populations:
        network.config[fixed].trainable = False


@contextlib.contextmanager
def _expected_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # Said once by `snnrepro doctor`; every table names the device it was measured on.
        warnings.filterwarnings("ignore", message="No GPU support detected")
        # One step through a filtered probe is 0 for every class: the thesis's column n_steps = 1.
        warnings.filterwarnings("ignore", message="Running for one timestep, but the network contains synaptic filters")
        # NengoDL turns channels first to channels last itself, and back.
        warnings.filterwarnings("ignore", message="TensorFlow does not support convolution with channels_last=False")
        # From inside TensorFlow and Keras, on newer NumPy and Python than they were written for.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield
