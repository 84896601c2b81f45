"""The spiking network as pure data: what every simulator reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from snnrepro.spiking.neurons import LIF

if TYPE_CHECKING:
    from snnrepro.network.graph import Network


@dataclass(frozen=True, eq=False)
class SpikingNetwork:
    """A trained network whose rectifiers are spiking neurons; its weights are untouched.

    Attributes
    ----------
    network : Network
        The trained network; each ReLU becomes a layer of neurons, a softmax at the output is left out (it does not
        change the answer).
    neuron : LIF
        The neuron model of every layer.
    synapse : float or None
        Time constant of the lowpass filter between layers of neurons, s; None for none.
    readout_synapse : float
        Time constant of the lowpass filter on the output, s. The first step of a filtered output is 0.
    dt : float
        Length of a time step, s.
    """

    network: Network
    neuron: LIF = field(default_factory=LIF)
    synapse: float | None = None
    readout_synapse: float = 0.1
    dt: float = 0.001
