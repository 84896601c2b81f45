"""A spiking network in fixed point: weights are whole numbers times a power of two, and every sum of them is exact.

A float32 number holds every whole number up to 2**24. Where no sum of a layer and no membrane potential can leave that
range, whatever spikes come, the order of additions makes no difference, and every simulator gives the same spikes. So
what a spike stands for, its amplitude, goes into the weights that it meets (a spike itself is 1); these are rounded to
the nearest multiple of a power of two, one for each output channel, which is chosen so that the largest weight fits its
bits and the sums of the rows stay in range.

What such a network gives is in the units of the trained network, but for spikes and what only moves them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Mapping

import numpy as np

from snnrepro.errors import ModelError, UnsupportedError
from snnrepro.network.channels import LINEAR
from snnrepro.network.indexing import moves_entries
from snnrepro.network.layers import Add, Affine, AveragePool, Concat, MaxPool, Reduce, ReLU
from snnrepro.spiking.checks import is_count, is_number, require
from snnrepro.spiking.neurons import IF
from snnrepro.spiking.schedule import curved_inside

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray, IntArray
    from snnrepro.network.graph import Network
    from snnrepro.spiking.recipes import Recipe
    from snnrepro.spiking.schedule import Schedule

FLOAT = "float32"
LARGEST = {"int8": 127, "int16": 32767}
"""The largest whole number that a weight may be, by what weights are called."""
WEIGHTS = (FLOAT, *LARGEST)
"""What weights may be."""
_IMAGE = 2.0**8
"""The image is rounded to this part of its range, the next power of two."""


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """How the weights of a network are rounded; with the amplitudes of its neurons, all of the network follows.

    Attributes
    ----------
    weights : str
        "int8" or "int16".
    unit, most : float
        The image is rounded to multiples of the one, and clipped at the other.
    exponents : mapping of str to numpy.ndarray
        By node: its weights are whole numbers times ``2.0 ** -exponent``, one exponent for each output channel.
    most_steps : int
        For so many steps it is certain that no sum leaves the whole numbers that float32 holds.

    Raises
    ------
    ModelError
        An attribute is not in its range.
    """

    weights: str
    unit: float
    most: float
    exponents: Mapping[str, IntArray]
    most_steps: int

    def __post_init__(self) -> None:
        require(
            self,
            {
                f"weights must be one of {', '.join(LARGEST)}": self.weights in LARGEST,
                "unit and most must be above 0": is_number(self.unit, above=0) and is_number(self.most, above=0),
                "most_steps must be a whole number of at least 1": is_count(self.most_steps),
            },
        )


def require_fixed_point(network: Network, schedule: Schedule, recipe: Recipe) -> None:
    """Refuse what cannot be exact in a trained network, or in when its values are computed.

    Raises
    ------
    UnsupportedError
        Something else than linear layers, maxima and rectifiers is computed before the readout; all such nodes are
        named. Functions are among them: what they are fitted by adds up several layers of weights without neurons
        between, whose bits float32 does not hold.
    ModelError
        The recipe's neurons are Nengo's LIF, or there is a synapse.
    """
    if not isinstance(recipe.neuron, IF) or recipe.synapse is not None or recipe.readout_synapse is not None:
        raise ModelError(
            f"the recipe {recipe.name!r} has Nengo's LIF neurons or a synapse, which no fixed point holds: take "
            "'balanced', 'rate' or another with IF neurons, or weights='float32'"
        )
    problems = [
        f"{type(node.layer).__name__} {node.name!r}: what is no linear layer, maximum or rectifier has no fixed point"
        for node in (*curved_inside(network), *schedule.nodes)
        if not (
            isinstance(node.layer, (*LINEAR, Add, Affine, AveragePool, Concat, MaxPool, Reduce, ReLU))
            or moves_entries(node.layer)
        )
    ]
    if problems:
        raise UnsupportedError(problems)


def image_range(x: FloatArray) -> tuple[float, float]:
    """Return to multiples of what, and up to which size, images like these are rounded."""
    most = float(np.abs(x).max()) or 1.0
    unit = 2.0 ** math.ceil(math.log2(most)) / _IMAGE
    return unit, math.ceil(most / unit) * unit
