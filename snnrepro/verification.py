"""Every hop of a conversion compared, layer by layer; the first layer that differs is named."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.frameworks.onnxruntime import session
from snnrepro.frameworks.tensorflow import keras_classes
from snnrepro.inputs import checked_images
from snnrepro.network.graph import Network
from snnrepro.network.layers import ReLU
from snnrepro.readers.load import load
from snnrepro.simulators.plain import mean_outputs
from snnrepro.spiking.network import SpikingNetwork, scores_of

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray

TOLERANCE = 1e-5
"""Largest error relative to the layer's largest number: float32 sums in another order (measured: up to 2e-6)."""


CORRELATION = 0.9
"""Smallest Pearson r of a layer's rates with its activations, and of its spikes with its rates. A layer that kept its
meaning has more than 0.95 even at 4 steps (measured on the thesis's networks); one with a wrong threshold or lost
inhibition has less."""


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
        spikes: whether the correlation is high enough).
    """

    hop: str
    layer: str
    max_error: float
    relative_error: float
    pearson: float
    agrees: bool


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
    network = model if isinstance(model, Network) else load(model)
    x = checked_images(x, network.input_shape)
    ours = dict(network.activations(x))
    comparisons: list[Comparison] = []
    proto = _onnx_of(model)
    if proto is not None:
        theirs = _onnxruntime(proto, x, list(ours))
        if keras_classes(model):
            output = network.nodes[-1].name
            keras = np.asarray(model(x, training=False))
            comparisons.append(compare("Keras = onnxruntime", output, keras, theirs[output], tolerance))
        comparisons += [compare("onnxruntime = forward", name, theirs[name], ours[name], tolerance) for name in theirs]
    comparisons += _round_trip(network, ours, x)
    if spiking is not None:
        comparisons += _spiking_hops(spiking, x, correlation)
    return Verification(tuple(comparisons))


def _spiking_hops(spiking: SpikingNetwork, x: FloatArray, correlation: float) -> Iterator[Comparison]:
    trained = dict(spiking.network.activations(x))
    rates, spikes = rate_values(spiking, x), mean_outputs(spiking, x)
    for hop, before, after in (("forward ~ rates", trained, rates), ("rates ~ spikes", rates, spikes)):
        for name in spikes:
            compared = compare(hop, name, before[name], after[name], 0.0)
            yield replace(compared, agrees=compared.max_error == 0.0 or compared.pearson >= correlation)


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
    if first.shape != second.shape:
        raise ModelError(
            f"{hop}: layer {layer!r} has the shape {first.shape} on one side and {second.shape} on the other"
        )
    a, b = np.asarray(first, np.float64).ravel(), np.asarray(second, np.float64).ravel()
    largest, error = float(np.abs(a).max(initial=0.0)), float(np.abs(a - b).max(initial=0.0))
    relative = error / largest if largest else (0.0 if error == 0.0 else float("inf"))
    return Comparison(hop, layer, error, relative, _pearson(a, b), relative <= tolerance)


def _pearson(first: AnyArray, second: AnyArray) -> float:
    a, b = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    if scale == 0.0:
        return 1.0 if np.array_equal(first, second) else float("nan")
    return float((a @ b) / scale)


def _onnx_of(model: Any) -> Any:
    import onnx

    if isinstance(model, onnx.ModelProto):
        return model
    if isinstance(model, (str, Path)) and Path(model).suffix == ".onnx":
        return onnx.load(str(model))
    if keras_classes(model):
        from snnrepro.readers.keras import to_onnx

        return to_onnx(model)
    return None


def _onnxruntime(proto: Any, x: FloatArray, names: list[str]) -> dict[str, FloatArray]:
    """Return the values of the named layers that the ONNX model has too, computed by onnxruntime."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    outputs = {value.name for value in copy.graph.output}
    computed = {name for node in copy.graph.node for name in node.output}
    compared = [name for name in names if name in computed]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in compared if name not in outputs)
    constants = {tensor.name for tensor in copy.graph.initializer}
    source = next(value.name for value in copy.graph.input if value.name not in constants)
    return dict(zip(compared, session(copy, as_written=True).run(compared, {source: x})))


def _round_trip(network: Network, before: dict[str, FloatArray], x: FloatArray) -> Iterator[Comparison]:
    with tempfile.TemporaryDirectory() as folder:
        network.save(Path(folder) / "network.npz")
        again = load(Path(folder) / "network.npz")
    for name, after in again.activations(x):
        yield compare("forward = npz round trip", name, before[name], after, 0.0)
