"""Neuron models: their constants, equations and rates."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class LIF:
    r"""Leaky integrate-and-fire neuron, as Nengo's.

    The membrane potential :math:`v` (threshold 1, reset to 0) follows

    .. math:: \tau_{rc} \dot v = J - v, \qquad J = gain \cdot u + bias

    for an input current :math:`u`, is held at 0 for :math:`\tau_{ref}` after a spike, and never falls below
    `min_voltage`. A spike is an output of ``amplitude / dt`` for one step.

    Attributes
    ----------
    tau_rc : float
        Membrane time constant, s.
    tau_ref : float
        Refractory period, s.
    amplitude : float
        Area of a spike: the output at a rate of r Hz averages ``amplitude * r``.
    min_voltage : float
        Lowest membrane potential.
    max_rate : float
        Firing rate at ``u = 1``, Hz; sets the gain.
    intercept : float
        The ``u`` from which the neuron fires; with `max_rate` it sets gain and bias.
    initial_voltage : tuple of float
        The membrane potential starts uniformly distributed between these two.

    Notes
    -----
    The defaults are those of NengoDL's MNIST example
    (https://www.nengo.ai/nengo-dl/examples/spiking-mnist.html), which reproduce the thesis's figures.
    """

    tau_rc: float = 0.02
    tau_ref: float = 0.002
    amplitude: float = 0.01
    min_voltage: float = 0.0
    max_rate: float = 100.0
    intercept: float = 0.0
    initial_voltage: tuple[float, float] = (0.0, 1.0)

    @property
    def gain(self) -> float:
        """Current per input, from `max_rate` at ``u = 1`` and silence below `intercept`.

        Solves ``max_rate = 1 / (tau_ref - tau_rc log(1 - 1 / J))`` for ``J = gain + bias`` together with
        ``gain * intercept + bias = 1``.
        """
        current = 1.0 / -math.expm1((self.tau_ref - 1.0 / self.max_rate) / self.tau_rc)
        return (current - 1.0) / (1.0 - self.intercept)

    @property
    def bias(self) -> float:
        """Constant current; 1, the threshold, where `intercept` is 0."""
        return 1.0 - self.gain * self.intercept
