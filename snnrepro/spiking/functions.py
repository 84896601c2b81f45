"""Curved functions inside a network: each becomes a sum of rectifiers, fitted to it on calibration images."""

from __future__ import annotations

import itertools
import warnings
from typing import TYPE_CHECKING, Mapping

import numpy as np

from snnrepro.arrays import pieces
from snnrepro.errors import DataError, DataWarning
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Add, Affine, Function, ReLU
from snnrepro.spiking.images import looked_at
from snnrepro.spiking.piecewise import BOUND, MOST_TERMS, Fit, fit
from snnrepro.spiking.schedule import curved_inside, graded_inside

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.spiking.run import Progress

_IMAGES = 200
"""Calibration images whose values functions are fitted on."""
_SAMPLES = 100
"""Values of each of them, for each function."""
_NUMBERS = 2**24
"""Numbers that are computed together (64 MB)."""

UNKNOWN = Fit("x", 0.0, 1.0, (0.0,), (1.0,), (1.0,), 0.0, -1.0, 1.0, 0.0)
"""What stands for a fit where there are no images yet."""


def fits(network: Network, images: FloatArray, progress: Progress = lambda _: None) -> dict[str, Fit]:
    """Return for every function that neurons or weights stand behind what it is fitted by, by the node's name.

    Parameters
    ----------
    network : Network
        As trained.
    images : numpy.ndarray
        float32, ``(n_images, *input_shape)``: the functions are fitted on what they read of these.
    progress : callable
        Called with the fraction of the work done since the last call, where there is a function.

    Raises
    ------
    DataError
        A function, or a quotient, is not defined for what it reads.

    Warns
    -----
    DataWarning
        A function is further from its fit than `snnrepro.spiking.piecewise.BOUND`.
    """
    curved, graded = curved_inside(network), {node.name: node for node in graded_inside(network)}
    if not curved and not graded:
        return {}
    x = images[:: looked_at(len(images), _IMAGES).step]
    data: dict[str, list[AnyArray]] = {node.inputs[0]: [] for node in curved}
    for part in pieces(x, network.most_numbers(), _NUMBERS, len(x)):
        for name, values in itertools.chain([(network.input_name, part)], network.activations(part)):
            if name in graded:
                _check_finite(graded[name], values)
            if name in data:
                flat = values.reshape(-1)
                step = max(1, len(flat) // (len(part) * _SAMPLES) - 1 | 1)  # odd, so that it meets every channel
                data[name] += [flat[::step], np.array([flat.min(), flat.max()])]
        progress(0.5 * len(part) / len(x))
    found = {}
    for node in curved:
        try:
            found[node.name] = fit(_formula(node), np.concatenate(data[node.inputs[0]]))
        except DataError as error:
            raise DataError(f"{type(node.layer).__name__} {node.name!r}: {error}") from error
        progress(0.5 / len(curved))
    poor = {name: one.error for name, one in found.items() if one.error > BOUND}
    if poor:
        worst = max(poor, key=lambda name: poor[name])
        warnings.warn(
            f"of {len(found)} functions {len(poor)} are not fitted within {100 * BOUND:g} % by {MOST_TERMS} rectifiers "
            f"each; the worst is {worst!r}, {100 * poor[worst]:.1f} %",
            DataWarning,
            stacklevel=3,
        )
    return found


def summary(fitted: Mapping[str, Fit]) -> dict[str, int | float]:
    """Return how many functions are fitted, by how many rectifiers each at most, and the largest error, in %."""
    return {
        "number": len(fitted),
        "most_rectifiers": max(len(one.knots) for one in fitted.values()),
        "largest_error": round(100 * max(one.error for one in fitted.values()), 3),
    }


def with_rectifiers(network: Network, fitted: Mapping[str, Fit]) -> Network:
    """Return the network with the terms of its fit in the place of every function that has one."""
    nodes: list[Node] = []
    for node in network.nodes:
        nodes += _terms(node, fitted[node.name]) if node.name in fitted else [node]
    return Network(network.input_name, network.input_shape, tuple(nodes), network.sources)


def with_functions(network: Network, fitted: Mapping[str, Fit]) -> Network:
    """Return a network that `with_rectifiers` gave, with the functions in their place again."""
    read = {node.name: node.inputs for node in network.nodes}
    terms = {term for name, one in fitted.items() for term in names_of_terms(name, one)}
    nodes = [node for node in network.nodes if node.name not in terms]
    for place, node in enumerate(nodes):
        if node.name in fitted:
            nodes[place] = Node(node.name, read[_line(node.name)], Function(fitted[node.name].formula))
    return Network(network.input_name, network.input_shape, tuple(nodes), network.sources)


def _check_finite(node: Node, values: FloatArray) -> None:
    """Refuse a function of means that calibration images show to have none."""
    wrong = np.count_nonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    if wrong:
        what = f"{node.layer.formula}" if isinstance(node.layer, Function) else "what it gives"
        raise DataError(
            f"{type(node.layer).__name__} {node.name!r}: {what} is no finite number for {wrong} of {len(values)} "
            f"calibration images: it divides by 0, or takes the root of less; train it with an epsilon there"
        )


def _formula(node: Node) -> str:
    return node.layer.formula if isinstance(node.layer, Function) else "sigmoid(x)"


def _line(name: str) -> str:
    return f"{name}/line"


def names_of_terms(name: str, fitted: Fit) -> list[str]:
    """Return the names of the nodes whose sum is the function."""
    terms = [f"{name}/{k}{part}" for k in range(len(fitted.knots)) for part in ("/shifted", "", "/scaled")]
    return [_line(name), *terms]


def _terms(node: Node, fitted: Fit) -> list[Node]:
    nodes = [Node(_line(node.name), node.inputs, _affine(fitted.slope, fitted.offset))]
    for k, (knot, sign, factor) in enumerate(zip(fitted.knots, fitted.signs, fitted.factors)):
        name = f"{node.name}/{k}"
        nodes += [
            Node(f"{name}/shifted", node.inputs, _affine(sign, -sign * knot)),
            Node(name, (f"{name}/shifted",), ReLU()),
            Node(f"{name}/scaled", (name,), _affine(factor, 0.0)),
        ]
    read = (_line(node.name), *(f"{node.name}/{k}/scaled" for k in range(len(fitted.knots))))
    return [*nodes, Node(node.name, read, Add())]


def _affine(scale: float, offset: float) -> Affine:
    return Affine(np.full((), scale, np.float32), np.full((), offset, np.float32))
