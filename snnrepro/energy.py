"""What a run would cost on a chip, and an equally good quantised network beside it: a model, with its constants cited.

Arithmetic and memory at 45 nm and 0.9 V are those of M. Horowitz, "Computing's energy problem (and what we can do about
it)", ISSCC 2014, fig. 1.1.9. That a spiking network of T steps is to be held against a quantised one of
ceil(log2(T + 1)) bits, which tells as many values apart, on like hardware and with memory traffic counted, is from Yan,
Bai, Tang and Wong, arXiv 2409.08290 (v4, 2026), whose own model has the spiking network win at T = 5 below 5.7 % of the
neurons firing in a step. With k neurons for each activation k T stands for T. No chip was measured.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.errors import DataError
from snnrepro.network.layers import ReLU
from snnrepro.spiking.images import looked_at
from snnrepro.spiking.synops import fan_outs, shares

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray
    from snnrepro.spiking.network import SpikingNetwork
    from snnrepro.spiking.run import Run

FLOAT_ADD, FLOAT_MULTIPLY = 0.9, 3.7
"""pJ, 32 bits."""
ADD, MULTIPLY_8 = 0.1, 0.2
"""pJ: an integer addition of 32 bits, a multiplication of 8 bits by 8. One of 8 bits by b is taken for b / 8 of it."""
BIT = 20.0 / 64
"""pJ to read or write a bit of a memory of 32 kB: as many of them as are needed lie beside the neurons."""
WEIGHT_BITS, POTENTIAL_BITS = 8, 16
"""Of a weight, and of a membrane potential where it is kept between steps."""

_IMAGES = 200
"""Images on which the trained activations that are not 0 are counted."""


@dataclass(frozen=True)
class Energy:
    """What an image would cost, in pJ.

    Attributes
    ----------
    bits : int
        Of the quantised network's activations.
    operations, trained_operations : float
        Additions of float32 weights of the spiking network alone, and multiplications with additions of the trained
        one: what is usually quoted. It leaves out what both cost most by.
    arithmetic, memory : float
        Of the spiking network on a chip with 8-bit weights: additions; weights read for each spike, spikes written and
        read, membrane potentials read and written in every step.
    quantised_arithmetic, quantised_memory : float
        Of the quantised network on the same chip: it skips activations of 0, too.
    rate : float
        Spikes per neuron and step.
    winning_rate : float
        The rate below which the spiking network would win, all else equal; 0 or less where it cannot.
    """

    bits: int
    operations: float
    trained_operations: float
    arithmetic: float
    memory: float
    quantised_arithmetic: float
    quantised_memory: float
    rate: float
    winning_rate: float

    @property
    def spiking(self) -> float:
        """Arithmetic and memory of the spiking network."""
        return self.arithmetic + self.memory

    @property
    def quantised(self) -> float:
        """Arithmetic and memory of the quantised network."""
        return self.quantised_arithmetic + self.quantised_memory

    @property
    def verdict(self) -> str:
        """Which of them takes less, in a sentence."""
        ratio = self.spiking / self.quantised
        winner = "the spiking network" if ratio < 1 else f"the {self.bits}-bit quantised network"
        times = max(ratio, 1 / ratio)
        below = f"below {100 * self.winning_rate:.1f} %" if self.winning_rate > 0 else "at no rate"
        return (
            f"{winner} takes less, by a factor of {times:.2f}: {100 * self.rate:.1f} % of the neurons fire in a step, "
            f"and {below} the spiking network wins"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {**asdict(self), "spiking": self.spiking, "quantised": self.quantised, "verdict": self.verdict}


def energy(spiking: SpikingNetwork, run: Run, x: FloatArray) -> Energy:
    """Return what an image of a run would cost on a chip, and in an equally good quantised network.

    Parameters
    ----------
    spiking : SpikingNetwork
        What was run.
    run : Run
        Its run.
    x : numpy.ndarray
        The images, ``(n_images, *input_shape)``; of some of them the trained activations that are not 0 are counted.

    Raises
    ------
    DataError
        There are no images.

    Examples
    --------
    >>> import numpy as np, snnrepro as snn
    >>> from snnrepro.energy import energy
    >>> from snnrepro.network.graph import Network, Node
    >>> from snnrepro.network.layers import Dense, ReLU
    >>> rng = np.random.RandomState(0)
    >>> nodes = [Node("z", ("x",), Dense(rng.normal(size=(4, 30)), np.zeros(30))), Node("a", ("z",), ReLU())]
    >>> nodes.append(Node("y", ("a",), Dense(rng.normal(size=(30, 3)), np.zeros(3))))
    >>> net, x = snn.Network("x", (4,), tuple(nodes), {}), rng.normal(size=(200, 4))
    >>> spiking = snn.convert(net, calibration=x, n_steps=7)
    >>> energy(spiking, spiking.run(x), x).bits
    3
    """
    if not len(run.scores):
        raise DataError("energy is that of an image, and there is none")
    n_steps = run.mean_steps
    bits = math.ceil(math.log2(spiking.neurons_per_activation * run.n_steps + 1))
    counted = shares(spiking.schedule)
    synops, spikes = float(run.synaptic_operations.mean()), run.mean_spikes
    n_neurons = sum(run.n_neurons.values())
    image = float(run.macs.mean())
    nonzero, active = _of_trained(spiking, np.asarray(x[:: looked_at(len(x), _IMAGES).step], np.float32))
    address = math.ceil(math.log2(max(2, n_neurons)))

    read_image = image * (MULTIPLY_8 + ADD), image * 2 * WEIGHT_BITS * BIT  # 8-bit pixels and weights: the same in both
    every_step = n_neurons * n_steps
    arithmetic = synops * ADD + every_step * 2 * ADD + read_image[0]
    of_steps = every_step * 2 * POTENTIAL_BITS * BIT
    memory = synops * WEIGHT_BITS * BIT + spikes * 2 * address * BIT + of_steps + read_image[1]
    quantised_arithmetic = nonzero * (MULTIPLY_8 * bits / 8 + ADD) + read_image[0]
    quantised_memory = nonzero * WEIGHT_BITS * BIT + active * 2 * (bits + address) * BIT + read_image[1]
    fixed = every_step * 2 * ADD + of_steps + sum(read_image)
    per_spike = (arithmetic + memory - fixed) / spikes if spikes else math.inf
    winning = (quantised_arithmetic + quantised_memory - fixed) / per_spike / every_step if every_step else 0.0
    return Energy(
        bits,
        synops * FLOAT_ADD + image * (FLOAT_MULTIPLY + FLOAT_ADD),
        (counted.spiking + counted.image) * (FLOAT_MULTIPLY + FLOAT_ADD),
        arithmetic,
        memory,
        quantised_arithmetic,
        quantised_memory,
        spikes / every_step if every_step else 0.0,
        winning,
    )


def _of_trained(spiking: SpikingNetwork, x: FloatArray) -> tuple[float, float]:
    """Return how many weights the trained activations of an image that are not 0 meet, and how many these are."""
    fans, driven = fan_outs(spiking), spiking.schedule.driven
    met = active = 0.0
    for node, (name, value) in zip(spiking.network.nodes, spiking.network.activations(x)):
        is_there = value != 0
        if name in fans and name in driven:
            met += float((is_there.reshape(len(x), -1) @ fans[name].reshape(-1)).mean())
        if isinstance(node.layer, ReLU) and name in spiking.populations:
            active += float(is_there.reshape(len(x), -1).sum(axis=1).mean())
    return met, active
