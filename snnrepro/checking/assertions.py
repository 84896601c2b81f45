"""What a test can assert of a network, a conversion or a run; a failure says where, what, and what to try."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Sequence

import numpy as np

from snnrepro.errors import DataError, ModelError
from snnrepro.network import archive
from snnrepro.network.graph import Network
from snnrepro.readers.load import load
from snnrepro.spiking.archive import FORMAT as SPIKING
from snnrepro.spiking.archive import load_spiking
from snnrepro.spiking.budget import is_within, warn_if_unresolved
from snnrepro.spiking.evaluate import evaluate
from snnrepro.spiking.images import looked_at
from snnrepro.spiking.network import SpikingNetwork
from snnrepro.spiking.neurons import CONSTANTS
from snnrepro.verification import MAX_COST, SPIKES, verify

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.spiking.evaluate import Evaluation
    from snnrepro.spiking.run import Run
    from snnrepro.verification import Comparison, Verification

_EXPLAINED_ON = 100
"""Images on which a failure looks for the layer that costs most."""


def assert_loss_within(
    spiking: SpikingNetwork, x: Any, labels: Any, points: float, run: Run | None = None
) -> Evaluation:
    """Assert that a spiking network loses at most so many points to the trained one on the same images.

    Parameters
    ----------
    spiking : SpikingNetwork
        What `snnrepro.convert` made.
    x : array_like
        Images, ``(n_images, *input_shape)``: others than those it was calibrated on.
    labels : array_like or None
        As its task takes them; without them the trained network's answers stand for them.
    points : float
        The budget, in points of the task's figure of merit. A net loss of two images is within every budget but zero,
        as for `snnrepro.convert`.
    run : Run, optional
        Its run on `x`, if there is one.

    Returns
    -------
    Evaluation
        The accuracies and the loss, with their intervals.

    Raises
    ------
    AssertionError
        It loses more: with the interval, the layer that costs most, and what to try.
    DataError
        `points` is below 0, or the labels do not fit.

    Warns
    -----
    DataWarning
        So few images cannot tell a loss of `points` from none.

    Examples
    --------
    >>> import numpy as np, snnrepro as snn
    >>> from snnrepro.network.graph import Network, Node
    >>> from snnrepro.network.layers import Dense, ReLU
    >>> hidden = Node("hidden", ("x",), Dense(np.array([[1.0, -1.0]]), np.zeros(2)))
    >>> net = Network("x", (1,), (hidden, Node("relu", ("hidden",), ReLU())), {})
    >>> images = np.random.RandomState(0).uniform(-1, 1, (600, 1))
    >>> spiking = snn.convert(net, "balanced", images[:300], 15)
    >>> print(snn.assert_loss_within(spiking, images[300:], None, points=5.0).loss.n_images)
    300
    """
    __tracebackhide__ = True
    if not points >= 0:
        raise DataError(f"the budget must be a number of points of at least 0, got {points!r}")
    run = spiking.run(x) if run is None else run
    evaluation = evaluate(spiking, run, x, labels)
    assert_judged_within(spiking, x, evaluation, points, run.n_steps)
    return evaluation


def assert_judged_within(spiking: SpikingNetwork, x: Any, evaluation: Evaluation, points: float, n_steps: int) -> None:
    """Assert the same of what was evaluated before, at so many steps."""
    __tracebackhide__ = True
    if evaluation.loss is None:
        raise DataError("there are no images to judge")
    if not is_within(evaluation.loss, points):
        raise AssertionError(_too_much_lost(spiking, x, evaluation, points, n_steps))
    warn_if_unresolved(evaluation.loss, points, stacklevel=4)


def assert_same_spikes(first: Run, second: Run, rounding: float = 0.0) -> None:
    """Assert that two runs on the same images fired the same spikes and counted the same operations.

    Parameters
    ----------
    first, second : Run
        Of two simulators, versions or machines.
    rounding : float
        Share of a population's spikes that may differ: sums of float32 weights in another order round otherwise, and
        carry a potential across its threshold now and then.

    Raises
    ------
    AssertionError
        The first population that differs, the image, and both counts.
    ModelError
        They are not runs of one network on equally many images.
    """
    __tracebackhide__ = True
    if (first.n_neurons, first.n_steps, len(first.scores)) != (second.n_neurons, second.n_steps, len(second.scores)):
        raise ModelError(
            "two runs of one network, of equally many images and steps, can have the same spikes; got "
            + " and ".join(
                f"{len(run.n_neurons)} populations, {len(run.scores)} images, {run.n_steps} steps"
                for run in (first, second)
            )
        )
    counted = {
        **{
            f"population {name!r} fires": (first.spike_counts[name], second.spike_counts[name])
            for name in first.n_neurons
        },
        "its synaptic operations are": (first.synaptic_operations, second.synaptic_operations),
    }
    for what, (one, other) in counted.items():
        apart = np.abs(one - other)
        allowed = rounding * max(int(one.sum()), int(other.sum()))
        if apart.sum() > allowed:
            image = int(apart.argmax())
            raise AssertionError(
                f"the runs are not the same: on image {image} {what} {one[image]:,} in the first and {other[image]:,} "
                f"in the second; over all {len(one):,} images {int(apart.sum()):,} of {int(one.sum()):,} differ, on "
                f"{np.count_nonzero(apart):,} of them (allowed: {allowed:,.1f}).\n"
                "To try: compare the layers with snnrepro verify; the same versions of NumPy and onnxruntime; "
                "rounding=1e-3, if only a few differ."
            )


def assert_weights_identical(first: Any, second: Any) -> None:
    """Assert that two networks have the same layers, and every number in them the same bits.

    Parameters
    ----------
    first, second : Network, SpikingNetwork, str or Path
        Networks, or archives of either kind. Of spiking networks the neurons' constants are compared too.

    Raises
    ------
    AssertionError
        The first layer that differs, the place in its array, and both numbers.
    ModelError
        One of them cannot be read.
    """
    __tracebackhide__ = True
    one, other = map(_read, (first, second))
    if type(one) is not type(other):
        raise AssertionError(f"one is a {type(one).__name__}, the other a {type(other).__name__}")
    networks = [side.network if isinstance(side, SpikingNetwork) else side for side in (one, other)]
    named = [[(node.name, node.inputs, type(node.layer).__name__) for node in network.nodes] for network in networks]
    for ours, theirs in zip(*named):
        if ours != theirs:
            raise AssertionError(
                f"the layers are not the same: {_layer(*ours)} on one side, {_layer(*theirs)} on the other"
            )
    if len(named[0]) != len(named[1]):
        raise AssertionError(f"one network has {len(named[0])} layers, the other {len(named[1])}")
    for (where, before), (_, after) in zip(_numbers(one), _numbers(other)):
        problem = _difference(before, after)
        if problem:
            raise AssertionError(f"{where}: {problem}")


def assert_verified(verification: Verification, hops: Sequence[str] | None = None) -> None:
    """Assert that every layer agrees at every hop.

    Parameters
    ----------
    verification : Verification
        What `snnrepro.verify` gave.
    hops : sequence of str, optional
        Only these hops; all of them if left out.

    Raises
    ------
    AssertionError
        The first layer of the first hop that differs, with its figures, and how many others do.
    """
    __tracebackhide__ = True
    compared = [one for one in verification.comparisons if hops is None or one.hop in hops]
    wrong = [one for one in compared if not one.agrees]
    if wrong:
        others = f"; {len(wrong) - 1} of the {len(compared) - 1} other comparisons differ too" if len(wrong) > 1 else ""
        raise AssertionError(f"{_told(wrong[0])}{others}.\nTo try: {_cure(wrong[0])}")


def _told(one: Comparison) -> str:
    """Return what is wrong with a layer at a hop."""
    where = f"layer {one.layer!r} differs at the hop {one.hop!r}"
    if one.cost is None:
        return f"{where}: by {one.max_error:.3g}, {one.relative_error:.2g} of its largest number"
    return f"{where}: it correlates with r = {one.pearson:.3f}, and costs {one.cost:.2f} points (most: {MAX_COST:g})"


def _cure(one: Comparison) -> str:
    if one.cost is None:
        return (
            "snnrepro verify MODEL DATA shows every layer; if only onnxruntime differs, another version of it; "
            "otherwise this is a fault of snnrepro: please report it with the model."
        )
    return _CURES


_CURES = (
    "more steps, several neurons for each activation, the recipe 'tuned', more or likelier calibration images, or "
    "max_loss, which finds the fewest steps."
)


def _too_much_lost(spiking: SpikingNetwork, x: Any, evaluation: Evaluation, points: float, n_steps: int) -> str:
    """Return what is lost, where most of it, and what to try."""
    recipe = spiking.provenance.get("recipe", "of its own")
    kind = f"of {evaluation.task.figure}" if evaluation.spiking else "of its answers"
    lines = [f"it loses {evaluation.loss}; the budget is {points:g} points {kind} (recipe {recipe}, {n_steps} steps)"]
    if evaluation.spiking is not None:
        lines.append(f"trained network: {evaluation.trained}; spiking: {evaluation.spiking}")
    few = np.asarray(x[:: looked_at(len(x), _EXPLAINED_ON).step])
    costs = [
        (one.cost or 0.0, one.layer)
        for one in verify(spiking.trained, spiking, few).comparisons
        if one.hop.endswith(SPIKES)
    ]
    rises = [(cost - before, layer) for (cost, layer), (before, _) in zip(costs, [(0.0, ""), *costs])]
    if rises:
        rise, layer = max(rises)
        lines.append(f"the layer that adds most: {layer!r}, {rise:.1f} points of the answers to {len(few)} images")
    return "\n".join([*lines, f"To try: {_CURES}"])


def _read(given: Any) -> Network | SpikingNetwork:
    if isinstance(given, (Network, SpikingNetwork)):
        return given
    if isinstance(given, (str, Path)):
        return load_spiking(given) if archive.kind_of(given) == SPIKING else load(given)
    raise ModelError(f"a network, a spiking network or a path is needed, got {type(given).__name__}")


def _numbers(side: Network | SpikingNetwork) -> Iterator[tuple[str, Any]]:
    """Yield every field of every layer, and every constant of every population, with where it stands."""
    network = side.network if isinstance(side, SpikingNetwork) else side
    for node in network.nodes:
        for field, value in vars(node.layer).items():
            yield f"layer {node.name!r} ({type(node.layer).__name__}), {field}", value
    if isinstance(side, SpikingNetwork):
        for name in sorted(side.populations):
            population = side.populations[name]
            yield f"population {name!r}, neuron", population.neuron
            for constant in CONSTANTS:
                yield f"population {name!r}, {constant}", getattr(population, constant)
        yield "correction of the readout", side.correction


def _difference(before: Any, after: Any) -> str:
    """Return how a field differs, or nothing."""
    if not isinstance(before, np.ndarray) or not isinstance(after, np.ndarray):
        same = type(before) is type(after) and before == after
        return "" if same else f"{before!r} on one side, {after!r} on the other"
    if before.shape != after.shape or before.dtype != after.dtype:
        return f"{before.dtype} {before.shape} on one side, {after.dtype} {after.shape} on the other"
    apart = np.flatnonzero(_bits(before) != _bits(after))
    if not len(apart):
        return ""
    place = [int(index) for index in np.unravel_index(apart[0], before.shape)]
    return (
        f"at {place} it is {before.flat[apart[0]]} on one side and {after.flat[apart[0]]} on the other; {len(apart):,} "
        f"of {before.size:,} numbers differ, and none may by a bit"
    )


def _bits(array: AnyArray) -> AnyArray:
    return np.ascontiguousarray(array).reshape(-1).view(f"u{array.dtype.itemsize}")


def _layer(name: str, inputs: tuple[str, ...], kind: str) -> str:
    return f"{name!r} ({kind} of {', '.join(map(repr, inputs))})"
