"""Every hop of a conversion compared, layer by layer; the first layer that differs is named."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping

import numpy as np

from snnrepro.arrays import pieces
from snnrepro.errors import DataError, ModelError
from snnrepro.frameworks.onnxruntime import session
from snnrepro.frameworks.tensorflow import keras_classes
from snnrepro.inputs import checked_images
from snnrepro.network.graph import Network
from snnrepro.network.layers import ReLU
from snnrepro.network.task import task_of
from snnrepro.readers.choices import Choices, choices
from snnrepro.readers.load import load
from snnrepro.simulators.plain import mean_outputs
from snnrepro.spiking.images import warn_of_unlike
from snnrepro.spiking.network import SpikingNetwork, scores_of
from snnrepro.spiking.run import within
from snnrepro.user_images import gathered

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.spiking.run import Progress

TOLERANCE = 1e-5
"""Largest error relative to the layer's largest number: float32 sums in another order (measured: up to 2e-6)."""


CORRELATION = 0.9
"""Smallest Pearson r of a layer's rates with its activations, and of its spikes with its rates. A layer that kept its
meaning has more than 0.95 even at 4 steps (measured on the thesis's networks); one with a wrong threshold or lost
inhibition has less."""

_NUMBERS = 2**25
"""Numbers that the values of the images compared together have, on all sides (128 MB)."""
_LINE = 2**20
"""Numbers of a layer that are compared together in float64."""
_RATES, _SPIKES = "forward ~ rates", "rates ~ spikes"

MAX_COST = 5.0
"""Points of the answers that a layer may cost at the output, beyond one standard error. Chosen between what whole
conversions lose in accuracy in the reference result: the recipe balanced at 4 steps 1.00 (dense) and 0.14 (CNN) points,
the thesis's at 15 steps 26.13 and 16.90."""


@dataclass(frozen=True)
class Comparison:
    """One layer before and after one hop.

    Attributes
    ----------
    hop : str
        The two sides, e.g. "onnxruntime = forward".
    layer : str
        The name of the value compared.
    max_error : float
        Largest absolute difference.
    relative_error : float
        The same relative to the largest number of the first side.
    pearson : float
        Correlation of the two; 1 where both are the same constant, nan where only one is constant.
    agrees : bool
        Whether the relative error is within the tolerance (for the npz round trip: whether it is 0; for rates and
        spikes: whether the correlation is high enough and the cost low enough).
    cost : float or None
        Of rates and spikes, in points: which share of the answers is not the trained network's any more, where what the
        layer gives stands in the place of the trained activations and all behind is as trained. It holds the errors of
        the layers before; the layer where it rises is the one that causes it.
    """

    hop: str
    layer: str
    max_error: float
    relative_error: float
    pearson: float
    agrees: bool
    cost: float | None = None


@dataclass(frozen=True)
class Verification:
    """All comparisons, in the order of the hops and, within one, of the layers."""

    comparisons: tuple[Comparison, ...]

    @property
    def passed(self) -> bool:
        """Whether every layer agrees at every hop."""
        return self.first_difference is None

    @property
    def first_difference(self) -> Comparison | None:
        """The first layer of the first hop that differs, or None."""
        return next((one for one in self.comparisons if not one.agrees), None)


def verify(
    model: Any,
    spiking: SpikingNetwork | None,
    x: AnyArray,
    tolerance: float = TOLERANCE,
    correlation: float = CORRELATION,
    max_cost: float = MAX_COST,
    shapes: Any = None,
    outputs: Any = None,
    constants: Any = None,
    progress: Progress | None = None,
) -> Verification:
    """Compare a model with what was made of it, hop by hop and layer by layer.

    The hops: Keras against onnxruntime (the output; for a Keras model), onnxruntime against our own evaluation (every
    layer; for an ONNX or Keras model), our evaluation before and after an npz round trip (every layer, bit for bit).
    With a spiking network also: our evaluation against the neurons' rate curves in place of the rectifiers (what
    thresholds cost, at endlessly many steps), and the rate curves against the simulated spikes (what too few steps
    cost), for every population and the scores.

    Parameters
    ----------
    model : str, Path, onnx.ModelProto, tf.keras.Model or Network
        What `snnrepro.load` reads, or a network that was read.
    spiking : SpikingNetwork or None
        What `snnrepro.convert` made of it; None to compare the trained network only.
    x : numpy.ndarray
        Images, ``(n_images, *input_shape)``.
    tolerance : float
        Largest error relative to the layer's largest number, up to the npz archive.
    correlation : float
        Smallest Pearson r of a layer from there on: rates and spikes are never the same numbers.
    max_cost : float
        Largest cost of a layer at the output, in points of the answers, beyond one standard error.
    shapes, outputs, constants
        What is chosen of the model, as of `snnrepro.load`.
    progress : callable, optional
        Called with the fraction of the work done since the last call.

    Returns
    -------
    Verification
        Every comparison; `Verification.first_difference` names the first layer that differs.

    Raises
    ------
    ModelError, DataError
        The model cannot be read, or `x` does not fit it.

    Examples
    --------
    >>> import numpy as np
    >>> from snnrepro.network.graph import Network, Node
    >>> from snnrepro.network.layers import Dense
    >>> net = Network("x", (2,), (Node("y", ("x",), Dense(np.ones((2, 1)), np.zeros(1))),), {})
    >>> verify(net, None, np.ones((3, 2))).passed
    True
    """
    chosen = choices(shapes, outputs, constants)
    if isinstance(model, Network):
        chosen.refused_for("a network that was read")
    network = model if isinstance(model, Network) else load(model, shapes, outputs, constants)
    x = checked_images(gathered(x, network.input_shape)[0], network.input_shape)
    if not len(x):
        raise DataError(f"at least one image is needed, got {x.shape}")
    if not isinstance(spiking, (SpikingNetwork, type(None))):
        raise ModelError(f"a spiking network or None is needed, got {type(spiking).__name__}")
    if spiking is not None:
        warn_of_unlike(x, spiking.provenance.get("images"))
    compared = _Compared(model, network, spiking, chosen)
    for part in pieces(x, compared.numbers, _NUMBERS, len(x), even=True):
        compared.add(part, within(progress or (lambda _: None), len(part) / len(x)))
    return Verification(tuple(compared.comparisons(tolerance, correlation, max_cost)))


class _Compared:
    """The sides of all hops, compared over the images so far."""

    def __init__(self, model: Any, network: Network, spiking: SpikingNetwork | None, chosen: Choices) -> None:
        self._network, self._spiking = network, spiking
        self._keras = model if keras_classes(model) and chosen.output is None else None
        self._constants = chosen.constants
        proto = _onnx_of(model, chosen)
        self._onnxruntime = None if proto is None else _onnxruntime(proto, network)
        with tempfile.TemporaryDirectory() as folder:
            network.save(Path(folder) / "network.npz")
            self._again = load(Path(folder) / "network.npz")
        self._tallies: dict[tuple[str, str], _Tally] = {}
        self._answers: dict[tuple[str, str], list[AnyArray]] = {}
        self._wanted: list[AnyArray] = []

    @property
    def numbers(self) -> int:
        """How many numbers an image takes: its values on two sides or, of a spiking network, on three."""
        sides = [network for network in (self._network, self._spiking and self._spiking.network) if network]
        return max(len(sides) + 1, 2) * max(sum(map(math.prod, one.shapes.values())) for one in sides)

    def add(self, x: FloatArray, progress: Progress) -> None:
        """Compare all sides on some images."""
        network = self._network
        share = 1 / (1 + (self._onnxruntime is not None) + (self._spiking is not None))
        if self._onnxruntime is not None:
            theirs = self._onnxruntime(x)
            if self._keras is not None:
                output = network.nodes[-1].name
                self._compare("Keras = onnxruntime", output, _keras(self._keras, x, self._constants), theirs[output])
            ours = {name: value for name, value in network.activations(x) if name in theirs}
            for name, value in theirs.items():
                self._compare("onnxruntime = forward", name, value, ours[name])
            del ours, theirs
            progress(share)
        for (name, before), (_, after) in zip(network.activations(x), self._again.activations(x)):
            self._compare("forward = npz round trip", name, before, after)
        progress(share)
        if self._spiking is not None:
            self._add_spiking(self._spiking, x, within(progress, share))

    def _add_spiking(self, spiking: SpikingNetwork, x: FloatArray, progress: Progress) -> None:
        network, task = spiking.network, task_of(spiking.network, spiking.task)
        trained = {network.input_name: x, **dict(network.activations(x))}
        self._wanted.append(task.answers(trained[network.nodes[-1].name]))
        rates, spikes = rate_values(spiking, x), mean_outputs(spiking, x)
        share = 1 / (2 * len(spikes) + 1)  # of each layer at each hop; the simulation counts as one
        progress(share)
        for hop, before, after in ((_RATES, trained, rates), (_SPIKES, rates, spikes)):
            for name in spikes:
                self._compare(hop, name, before[name], after[name])
                scores = _scores_with(network, trained, name, after[name])
                self._answers.setdefault((hop, name), []).append(task.answers(scores))
                progress(share)

    def _compare(self, hop: str, layer: str, first: FloatArray, second: FloatArray) -> None:
        self._tallies.setdefault((hop, layer), _Tally()).add(hop, layer, first, second)

    def comparisons(self, tolerance: float, correlation: float, max_cost: float) -> Iterator[Comparison]:
        """Return all comparisons, by hop and layer; parameters as of `verify`."""
        hops = dict.fromkeys(hop for hop, _ in self._tallies)
        for hop, layer in sorted(self._tallies, key=lambda key: list(hops).index(key[0])):
            tally, answers = self._tallies[hop, layer], self._answers.get((hop, layer))
            if answers is None or self._spiking is None:
                yield tally.comparison(hop, layer, 0.0 if hop == "forward = npz round trip" else tolerance)
                continue
            task = task_of(self._spiking.network, self._spiking.task)
            loss = task.loss(np.concatenate(self._wanted), np.concatenate(answers))
            compared = tally.comparison(hop, layer, 0.0)
            cheap = loss.points - loss.standard_error <= max_cost
            agrees = compared.max_error == 0.0 or (compared.pearson >= correlation and cheap)
            yield replace(compared, agrees=agrees, cost=loss.points)


def _scores_with(network: Network, trained: dict[str, FloatArray], name: str, value: FloatArray) -> FloatArray:
    """Return the scores of the trained network in which one value is replaced."""
    values, changed = {**trained, name: value}, {name}
    for node in network.nodes:
        if not changed.isdisjoint(node.inputs):
            values[node.name] = node.layer(*(values[source] for source in node.inputs))
            changed.add(node.name)
    return values[network.nodes[-1].name]


def rate_values(spiking: SpikingNetwork, x: FloatArray) -> dict[str, FloatArray]:
    """Return every value before the readout, and the scores, in endless time: neurons give their mean output.

    ``(n_images, *shape)`` by name.
    """
    network = spiking.network
    values: dict[str, FloatArray] = {network.input_name: x}
    for node in spiking.schedule.nodes:
        read = [values[name] for name in node.inputs]
        if isinstance(node.layer, ReLU):
            values[node.name] = spiking.populations[node.name].mean_output(read[0], spiking.dt)
        else:
            values[node.name] = node.layer(*read)
    return {**values, network.nodes[-1].name: scores_of(spiking, values[spiking.readout])}


def compare(hop: str, layer: str, first: FloatArray, second: FloatArray, tolerance: float) -> Comparison:
    """Return how far `second` is from `first`; the other arguments are those of `Comparison`.

    Raises
    ------
    ModelError
        They have different shapes.
    """
    tally = _Tally()
    tally.add(hop, layer, first, second)
    return tally.comparison(hop, layer, tolerance)


class _Tally:
    """How far two sides are from each other, over the images so far: the moments of both about their means.

    Those of several parts are added as Chan, Golub & LeVeque do (The American Statistician 37:242, 1983).
    """

    def __init__(self) -> None:
        self._n, self._largest, self._error = 0, 0.0, 0.0
        self._means = np.zeros(2)
        self._moments = np.zeros((2, 2))

    def add(self, hop: str, layer: str, first: FloatArray, second: FloatArray) -> None:
        """Take the values of some images, of both sides."""
        if first.shape != second.shape:
            raise ModelError(
                f"{hop}: layer {layer!r} has the shape {first.shape} on one side and {second.shape} on the other"
            )
        for a, b in zip(pieces(first.reshape(-1), 1, _LINE, _LINE), pieces(second.reshape(-1), 1, _LINE, _LINE)):
            sides = np.stack([a, b]).astype(np.float64)
            if not sides.size:
                continue
            self._largest = max(self._largest, float(np.abs(sides[0]).max()))
            self._error = max(self._error, float(np.abs(sides[0] - sides[1]).max()))
            means = sides.mean(axis=1)
            sides -= means[:, np.newaxis]
            apart, total = means - self._means, self._n + sides.shape[1]
            self._moments += sides @ sides.T + np.outer(apart, apart) * (self._n * sides.shape[1] / total)
            self._means += apart * (sides.shape[1] / total)
            self._n = total

    def comparison(self, hop: str, layer: str, tolerance: float) -> Comparison:
        """Return the comparison."""
        largest, error = self._largest, self._error
        relative = error / largest if largest else (0.0 if error == 0.0 else float("inf"))
        return Comparison(hop, layer, error, relative, self._pearson, relative <= tolerance)

    @property
    def _pearson(self) -> float:
        scale = float(np.sqrt(self._moments[0, 0] * self._moments[1, 1]))
        if scale == 0.0:
            return 1.0 if self._error == 0.0 else float("nan")
        return float(self._moments[0, 1] / scale)


def _onnx_of(model: Any, chosen: Choices) -> Any:
    """Return a model as ONNX, what is chosen of it, in float32; None of what is none."""
    import onnx
    from onnx.external_data_helper import load_external_data_for_model

    from snnrepro.readers.float16 import as_float32, computes_float16
    from snnrepro.readers.narrow import narrow

    folder = None
    if isinstance(model, onnx.ModelProto):
        proto = onnx.ModelProto()
        proto.CopyFrom(model)
    elif isinstance(model, (str, Path)) and Path(model).suffix == ".onnx":
        proto, folder = onnx.load(str(model), load_external_data=False), Path(model).resolve().parent
    elif keras_classes(model):
        from snnrepro.readers.keras import to_onnx

        proto = to_onnx(model)
    else:
        return None
    narrow(proto, chosen)
    if folder is not None:
        load_external_data_for_model(proto, str(folder))
    if computes_float16(proto.graph):
        as_float32(proto.graph, weights=True)
    return proto


def _keras(model: Any, x: FloatArray, constants: Mapping[str, AnyArray]) -> FloatArray:
    """Return a Keras model's output; one of several by name is taken out."""
    from snnrepro.readers.keras import answers

    fixed = model.inputs[0].shape[0]

    def call(batch: FloatArray) -> dict[str, FloatArray]:
        output = answers(model, batch, constants)
        while isinstance(output, (dict, list, tuple)) and len(output) == 1:
            output = next(iter(output.values() if isinstance(output, dict) else output))
        return {"": np.asarray(output)}

    return _in_pieces(call, x, fixed)[""]


def _onnxruntime(proto: Any, network: Network) -> Callable[[FloatArray], dict[str, FloatArray]]:
    """Return what computes the values of the network's layers that the ONNX model has too, by onnxruntime.

    The model gets these values as outputs.
    """
    import onnx

    graph = proto.graph
    outputs = {value.name for value in graph.output}
    computed = {name for node in graph.node for name in node.output}
    compared = [node.name for node in network.nodes if node.name in computed]
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in compared if name not in outputs)
    opened = session(proto, as_written=True)
    constants = {tensor.name for tensor in graph.initializer}
    source = next(value for value in opened.get_inputs() if value.name not in constants)

    def call(batch: FloatArray) -> dict[str, FloatArray]:
        values = zip(compared, opened.run(compared, {source.name: _as_read(batch, source.type)}))
        return {name: np.reshape(value, (len(batch), *network.shapes[name])) for name, value in values}

    return lambda x: _in_pieces(call, x, source.shape[0] if source.shape else None)


def _as_read(x: FloatArray, kind: str) -> AnyArray:
    """Return images in the type that the model reads, as onnxruntime calls it; it must hold them exactly."""
    name = kind[len("tensor(") : -1]
    dtype = np.dtype({"float": "float32", "double": "float64"}.get(name, name))
    with np.errstate(all="ignore"):
        images: AnyArray = x.astype(dtype)
    if not np.array_equal(images, x):
        raise DataError(f"the model reads {dtype.name}, which does not hold every number of the images")
    return images


def _in_pieces(call: Callable[[FloatArray], dict[str, FloatArray]], x: FloatArray, fixed: Any) -> dict[str, FloatArray]:
    """Return what `call` gives for images; a model of a fixed batch size gets so many at a time, the last filled up."""
    if not isinstance(fixed, int) or fixed < 1 or fixed == len(x):
        return call(x)
    parts = []
    for part in pieces(x, 1, len(x), fixed):
        filled = np.concatenate([part, np.repeat(part[-1:], fixed - len(part), axis=0)])
        parts.append({name: value[: len(part)] for name, value in call(filled).items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
