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
from snnrepro.frameworks.tensorflow import keras_classes
from snnrepro.inputs import checked_images
from snnrepro.network.graph import Network, last_reads
from snnrepro.network.layers import ReLU, Sigmoid
from snnrepro.network.task import task_of
from snnrepro.readers.choices import choices
from snnrepro.readers.load import load
from snnrepro.readers.runtime import has_runtime, keras_output, values_of
from snnrepro.simulators.plain import mean_outputs
from snnrepro.spiking.images import warn_of_unlike
from snnrepro.spiking.network import SpikingNetwork, scores_of
from snnrepro.spiking.run import within
from snnrepro.user_images import gathered

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.readers.choices import Choices
    from snnrepro.spiking.run import Progress

TOLERANCE = 1e-5
"""Largest error relative to the layer's largest number: float32 sums in another order (measured: up to 2e-6)."""


CORRELATION = 0.93
"""Smallest Pearson r of a layer's fits, rates or spikes with its activations, relative to the smallest r of the layers
before it: at few steps errors grow from layer to layer, and a fault is where they jump. Measured, `balanced`: on a
ResNet-20 of CIFAR-10 r falls from 0.99 to 0.86 at 8 steps over 19 layers, at none below 0.957 of what it was before;
amplitudes that are wrong by a factor of 0.4 or 1.6 in one of its layers make that 0.81."""

_NUMBERS = 2**25
"""Numbers that the values of the images compared together have, on all sides (128 MB)."""
_LINE = 2**20
"""Numbers of a layer that are compared together in float64."""
KERAS, RUNTIME, ARCHIVE = "Keras = onnxruntime", "onnxruntime = forward", "forward = npz round trip"
CONVERTED, FITS, RATES, SPIKES = "forward = converted", "forward ~ fit", "rates", "spikes"
"""The hops; those of rates and spikes begin with what they are compared with."""

MAX_COST = 10.0
"""Points of the answers that a layer may cost at the output, beyond one standard error. Chosen between what whole
conversions cost: `balanced` on a ResNet-20 of CIFAR-10 at 8 steps 7, on the thesis's networks at 4 steps about 1; the
thesis's recipe at 15 steps loses 26.13 (dense) and 16.90 (CNN) points of accuracy in the reference result."""


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
        Whether the relative error is within the tolerance (for the npz round trip: whether it is 0; for fits and
        spikes: whether the correlation is high enough and the cost low enough; for rates the same, or their spikes
        agree: neurons that were fitted for few steps are not fitted for endlessly many).
    cost : float or None
        Of fits, rates and spikes, in points: which share of the answers is not the trained network's any more, where
        what the layer gives stands in the place of the trained activations and all behind is as trained (of rates and
        spikes: as fitted, where functions are). It holds the errors of the layers before; the layer where it rises is
        the one that causes it.
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
    With a spiking network also: the model against the trained network that was converted (every layer that both have;
    another model is noticed), that one against the fits in place of its curved functions (what the fits cost, for every
    function and the scores), this against the neurons' rate curves in place of the rectifiers (what thresholds cost, at
    endlessly many steps), and against the simulated spikes (what both cost at these steps), for every population and
    the scores.

    Parameters
    ----------
    model : str, Path, onnx.ModelProto, tf.keras.Model or Network
        What `snnrepro.load` reads, or a network that was read.
    spiking : SpikingNetwork or None
        What `snnrepro.convert` made of it; None to compare the trained network only.
    x : numpy.ndarray
        Images, ``(n_images, *input_shape)``.
    tolerance : float
        Largest error relative to the layer's largest number, up to the network that was converted.
    correlation : float
        Smallest Pearson r of a layer's fits, rates or spikes, which are never the same numbers, with its activations,
        relative to the smallest r of the layers before it.
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
    compared = _Compared(x, network, spiking)
    hops: list[Callable[[Progress], None]] = [compared.add_archive]
    if has_runtime(model):
        hops.insert(0, lambda progress: compared.add_runtime(model, chosen, progress))
    if spiking is not None:
        hops.append(compared.add_spiking)
    for hop in hops:  # one after the other: each holds the weights once more
        hop(within(progress or (lambda _: None), 1 / len(hops)))
    return Verification(tuple(compared.comparisons(tolerance, correlation, max_cost)))


class _Compared:
    """The sides of the hops, compared over the images so far."""

    def __init__(self, x: FloatArray, network: Network, spiking: SpikingNetwork | None) -> None:
        self._x, self._network, self._spiking = x, network, spiking
        self._tallies: dict[tuple[str, str], _Tally] = {}
        self._answers: dict[tuple[str, str], list[AnyArray]] = {}
        self._wanted: list[AnyArray] = []

    def add_runtime(self, model: Any, chosen: Choices, progress: Progress) -> None:
        """Compare what the model's own runtime gives with the network's values."""
        network = self._network
        keras = model if keras_classes(model) and not chosen.outputs else None
        with tempfile.TemporaryDirectory() as folder:
            values = values_of(model, chosen, network, Path(folder))
            for part in self._parts(_numbers(network) + network.most_numbers()):
                theirs = values(part)
                if keras is not None:
                    output = network.nodes[-1].name
                    self._compare(KERAS, output, keras_output(keras, part, chosen.constants), theirs[output])
                for node, (name, value) in zip(network.nodes, network.activations(part)):
                    if name in theirs:
                        # onnxruntime's own sigmoid is off by as much near 0 as near 1.
                        scale = 1.0 if isinstance(node.layer, Sigmoid) else 0.0
                        self._compare(RUNTIME, name, theirs.pop(name), value, scale)
                progress(len(part) / len(self._x))
            del values  # and with it the session, which maps the weights

    def add_archive(self, progress: Progress) -> None:
        """Compare the network's values before and after it is written and read."""
        with tempfile.TemporaryDirectory() as folder:
            self._network.save(Path(folder) / "network.npz")
            again = load(Path(folder) / "network.npz")
        for part in self._parts(2 * self._network.most_numbers()):
            for (name, before), (_, after) in zip(self._network.activations(part), again.activations(part)):
                self._compare(ARCHIVE, name, before, after)
            progress(len(part) / len(self._x))

    def add_spiking(self, progress: Progress) -> None:
        """Compare the network with the one that was converted, and that with its fits, its rates and its spikes."""
        assert self._spiking is not None
        spiking, trained = self._spiking, self._spiking.trained
        sides = sum(map(_numbers, (trained, spiking.network) if spiking.functions else (trained,)))
        neurons = sum(spiking.n_neurons.values())
        for part in self._parts(sides + 4 * neurons + trained.most_numbers()):
            self._add_spiking(spiking, trained, part, within(progress, len(part) / len(self._x)))

    def _add_spiking(self, spiking: SpikingNetwork, trained: Network, x: FloatArray, progress: Progress) -> None:
        task = task_of(spiking.network, spiking.task)
        spikes = mean_outputs(spiking, x)
        names, fitted = list(spikes), list(dict.fromkeys([*spiking.functions, trained.nodes[-1].name]))
        share = 1 / (2 + 2 * len(names) + (1 + len(fitted) if spiking.functions else 0))
        progress(share)
        values = _values(trained, x)
        self._wanted.append(task.answers(values[trained.nodes[-1].name]))
        same = {**{name: name for name in values}, self._network.nodes[-1].name: trained.nodes[-1].name}
        for name, value in self._network.activations(x):
            if name in same:
                self._compare(CONVERTED, name, value, values[same[name]])
        progress(share)

        def add(hop: str, network: Network, name: str, before: FloatArray, after: FloatArray) -> None:
            self._compare(hop, name, before, after)
            self._answers.setdefault((hop, name), []).append(task.answers(_scores_with(network, values, name, after)))
            progress(share)

        if spiking.functions:
            with_fits = _values(spiking.network, x)
            for name in fitted:
                add(FITS, trained, name, values[name], with_fits[name])
            values = with_fits
            progress(share)
        rates = rate_values(spiking, x)
        side = "fit" if spiking.functions else "forward"
        for name in names:
            add(f"{side} ~ {RATES}", spiking.network, name, values[name], rates[name])
        for name in names:
            add(f"{side} ~ {SPIKES}", spiking.network, name, values[name], spikes[name])

    def _parts(self, numbers: int) -> list[FloatArray]:
        """Return the images in parts, of which an image takes so many numbers."""
        return pieces(self._x, numbers, _NUMBERS, len(self._x), even=True)

    def _compare(self, hop: str, layer: str, first: FloatArray, second: FloatArray, scale: float = 0.0) -> None:
        self._tallies.setdefault((hop, layer), _Tally(scale)).add(hop, layer, first, second)

    def comparisons(self, tolerance: float, correlation: float, max_cost: float) -> Iterator[Comparison]:
        """Return all comparisons, by hop and layer; parameters as of `verify`."""
        hops = dict.fromkeys(hop for hop, _ in self._tallies)
        found = {
            key: tally.comparison(*key, 0.0 if key[0] == ARCHIVE or key in self._answers else tolerance)
            for key, tally in sorted(self._tallies.items(), key=lambda item: list(hops).index(item[0][0]))
        }
        lowest = dict.fromkeys(hops, 1.0)
        for key in self._answers:
            found[key] = self._judged(found[key], correlation * lowest[key[0]], max_cost)
            lowest[key[0]] = min(lowest[key[0]], found[key].pearson)
        for hop, layer in self._answers:
            with_spikes = found.get((hop.replace(RATES, SPIKES), layer))
            if with_spikes is not None and with_spikes.agrees:
                found[hop, layer] = replace(found[hop, layer], agrees=True)
        return iter(found.values())

    def _judged(self, compared: Comparison, correlation: float, max_cost: float) -> Comparison:
        """Return a comparison of what neurons or fits give, with its cost, by which it is judged."""
        assert self._spiking is not None
        answers = np.concatenate(self._answers[compared.hop, compared.layer])
        loss = task_of(self._spiking.network, self._spiking.task).loss(np.concatenate(self._wanted), answers)
        cheap = loss.points - loss.standard_error <= max_cost
        agrees = compared.max_error == 0.0 or (compared.pearson >= correlation and cheap)
        return replace(compared, agrees=agrees, cost=loss.points)


def _numbers(network: Network) -> int:
    """Return how many numbers all values of an image have."""
    return sum(map(math.prod, network.shapes.values()))


def _values(network: Network, x: FloatArray) -> dict[str, FloatArray]:
    """Return every value of a network by its name, the input among them."""
    return {network.input_name: x, **dict(network.activations(x))}


def _scores_with(network: Network, values: Mapping[str, FloatArray], name: str, value: FloatArray) -> FloatArray:
    """Return the scores of a network in which one of its values is replaced."""
    changed = {name: value}
    for node, done in zip(network.nodes, last_reads(network.nodes)):
        if not changed.keys().isdisjoint(node.inputs):
            changed[node.name] = node.layer(*(changed.get(source, values[source]) for source in node.inputs))
        for source in done:
            changed.pop(source, None)
    output = network.nodes[-1].name
    return changed.get(output, values[output])


def rate_values(spiking: SpikingNetwork, x: FloatArray) -> dict[str, FloatArray]:
    """Return what every population gives, and the scores, in endless time: neurons give their mean output.

    ``(n_images, *shape)`` by name.
    """
    if spiking.simulated is not spiking:
        return spiking.of_activations(rate_values(spiking.simulated, x))
    network, nodes = spiking.network, spiking.schedule.nodes
    values: dict[str, FloatArray] = {network.input_name: x}
    kept: dict[str, FloatArray] = {}
    for node, done in zip(nodes, last_reads(nodes)):
        read = [values[name] for name in node.inputs]
        if isinstance(node.layer, ReLU):
            kept[node.name] = value = spiking.populations[node.name].mean_output(read[0], spiking.dt)
        else:
            value = node.layer(*read)
        values[node.name] = value
        for name in done:  # free what nothing later reads
            if name != spiking.readout:
                del values[name]
    return {**kept, network.nodes[-1].name: scores_of(spiking, values[spiking.readout])}


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
    An error is relative to the largest number of the first side, or to `scale` if that is larger.
    """

    def __init__(self, scale: float = 0.0) -> None:
        self._n, self._largest, self._error = 0, scale, 0.0
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
