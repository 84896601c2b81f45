"""What is known of each layer before it spikes: its window, products and neurons, and when it is computed."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from snnrepro.network.layers import Function, OnnxPart, ReLU
from snnrepro.spiking.prepare import prepare
from snnrepro.spiking.schedule import curved_inside
from snnrepro.spiking.synops import macs_of

if TYPE_CHECKING:
    from snnrepro.network.graph import Network, Node
    from snnrepro.spiking.piecewise import Fit
    from snnrepro.spiking.schedule import Schedule

ROLES = {
    "image": "computed once, from the image",
    "steps": "in every step, from spikes",
    "readout": "once, from the readout",
}
"""When a layer is computed."""


@dataclass(frozen=True)
class LayerFacts:
    """One layer of a trained network as a spiking network will have it.

    Attributes
    ----------
    name, layer : str
        Its name and kind.
    inputs : tuple of str
        What it reads.
    shape : tuple of int
        Of its output, without the batch axis.
    parameters : int
        Numbers in its arrays.
    kernel, strides : tuple of int or None
        One number per spatial axis; None for a layer without windows.
    groups : int or None
        Of channels, convolved separately; None for what is no convolution.
    multiply_adds : int
        For an image: every weight, once for each position where it is applied.
    neurons : int or None
        Of an activation, 0 for other layers; None for a function that is not fitted yet.
    rectifiers : int or None
        How many a function becomes; None for what is no function inside the network, or is not fitted yet.
    error_percent : float or None
        Root mean square error of that fit, of the standard deviation of the function's values, in %.
    formula : str or None
        Of a function.
    operators : tuple of str or None
        Of a part of the model that stays as it is, each type once.
    role : str
        When it is computed: a key of `ROLES`.
    """

    name: str
    layer: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    parameters: int
    kernel: tuple[int, ...] | None
    strides: tuple[int, ...] | None
    groups: int | None
    multiply_adds: int
    neurons: int | None
    rectifiers: int | None
    error_percent: float | None
    formula: str | None
    operators: tuple[str, ...] | None
    role: str


def layer_facts(
    network: Network, fitted: Mapping[str, Fit] | None = None, neurons_per_activation: int = 1
) -> list[LayerFacts]:
    """Return the facts of every layer, in order.

    Parameters
    ----------
    network : Network
        As trained.
    fitted : mapping of str to Fit, optional
        What `snnrepro.spiking.functions.fits` gave for calibration images; without them functions are not fitted.
    neurons_per_activation : int
        How many neurons stand for each activation.

    Raises
    ------
    UnsupportedError
        As `snnrepro.spiking.prepare.prepare`.

    Examples
    --------
    >>> import numpy as np
    >>> from snnrepro.network.graph import Network, Node
    >>> from snnrepro.network.layers import Dense, ReLU
    >>> hidden = Node("hidden", ("x",), Dense(np.ones((3, 2)), np.zeros(2)))
    >>> facts = layer_facts(Network("x", (3,), (hidden, Node("relu", ("hidden",), ReLU())), {}))
    >>> [(one.multiply_adds, one.neurons, one.role) for one in facts]
    [(6, 0, 'image'), (0, 2, 'steps')]
    """
    schedule = prepare(network, fitted or None)
    neurons, roles = _neurons(network, schedule), _roles(network, schedule)
    inside = {node.name for node in curved_inside(network)}
    facts = []
    for node in network.nodes:
        layer: Any = node.layer
        fit = (fitted or {}).get(node.name)
        weights, groups = getattr(layer, "weights", None), getattr(layer, "groups", None)
        facts.append(
            LayerFacts(
                name=node.name,
                layer=type(layer).__name__,
                inputs=node.inputs,
                shape=network.shapes[node.name],
                parameters=_parameters(node),
                kernel=getattr(layer, "kernel", None) if groups is None or weights is None else weights.shape[2:],
                strides=getattr(layer, "strides", None),
                groups=groups,
                multiply_adds=macs_of(node, network),
                neurons=None if node.name in inside and fit is None else neurons_per_activation * neurons[node.name],
                rectifiers=None if fit is None else len(fit.knots),
                error_percent=None if fit is None else 100 * fit.error,
                formula=layer.formula if isinstance(layer, Function) else None,
                operators=tuple(dict.fromkeys(layer.operators)) if isinstance(layer, OnnxPart) else None,
                role=roles[node.name],
            )
        )
    return facts


def _neurons(network: Network, schedule: Schedule) -> Counter[str]:
    """Return how many neurons each layer becomes: those of the rectifiers that `prepare` has written for it."""
    names = {node.name for node in network.nodes}
    found: Counter[str] = Counter()
    for node in schedule.nodes:
        if isinstance(node.layer, ReLU):
            owner = node.name if node.name in names else node.name.rpartition("/")[0]
            found[owner] += math.prod(schedule.network.shapes[node.name])
    return found


def _roles(network: Network, schedule: Schedule) -> dict[str, str]:
    """Return when each layer is computed; a maximum that `prepare` has put behind a rectifier has lost its name there.

    What it gives there is the maximum of spikes.
    """
    tail = set() if schedule.tail is None else {node.name for node in schedule.tail.nodes}
    once = {node.name for node in schedule.nodes} - schedule.driven
    return {
        node.name: "readout" if node.name in tail else "image" if node.name in once else "steps"
        for node in network.nodes
    }


def _parameters(node: Node) -> int:
    if isinstance(node.layer, OnnxPart):
        return node.layer.parameters
    values = (getattr(node.layer, field.name) for field in fields(node.layer))
    return sum(value.size for value in values if isinstance(value, np.ndarray))
