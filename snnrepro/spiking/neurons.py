"""Neuron models: their equations, rate curves and inverses; populations of them as pure data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

from snnrepro.errors import ModelError
from snnrepro.network.layers import ArrayFields

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray


@dataclass(frozen=True)
class IF:
    r"""Integrate-and-fire neuron with a signed membrane, leaky or not, one step at a time.

    With the input :math:`z_t` of a step, the membrane potential :math:`v` and the firing threshold :math:`\vartheta`,

    .. math:: v \leftarrow \gamma v + z_t + b, \qquad s_t = [v \ge \vartheta], \qquad v \leftarrow v - R s_t

    (reset by subtraction) or :math:`v \leftarrow 0` where it fires (reset to zero). The output of a step is
    :math:`A s_t`, with the amplitude :math:`A` of a spike; :math:`R = A` unless the recipe fits it. All are in the units
    of the trained network's activations; potentials may go below zero, or inhibition that comes early would be
    forgotten.

    Attributes
    ----------
    tau : float or None
        Membrane time constant, s: :math:`\gamma = growth \cdot e^{-dt / \tau}`; None for no leak.
    growth : float
        Factor a step by which the membrane grows. Above 1 an early spike weighs more than a late one: those at step t
        count ``growth ** -t``, and n steps tell up to 2^n values apart instead of n + 1.
    reset : str
        "subtract" or "zero".
    max_spikes : int
        Most spikes a neuron may emit in one step; 1 unless stated, and each is counted.

    Raises
    ------
    ModelError
        A constant is not in its range.

    Notes
    -----
    Reset by subtraction: Rueckauer et al., Front. Neurosci. 11:682 (2017). Weighted spikes: Kim et al., Neurocomputing
    311 (2018). Without a leak, with a constant input, :math:`b = 0` and :math:`\vartheta = R`, the spikes after n steps
    are :math:`\lfloor (n z + v_0) / R \rfloor`, from 0 to n.

    Examples
    --------
    >>> IF().rate(0.25, amplitude=1.0, dt=0.001)          # Hz: a spike every four steps of 1 ms
    250.0
    >>> IF().current(250.0, amplitude=1.0, dt=0.001)
    0.25
    """

    tau: float | None = None
    growth: float = 1.0
    reset: str = "subtract"
    max_spikes: int = 1

    def __post_init__(self) -> None:
        if self.tau is not None and not self.tau > 0:
            raise ModelError(f"IF: tau must be above 0 s or None, got {self.tau}")
        if not 1.0 <= self.growth <= 2.0:
            raise ModelError(f"IF: growth must lie from 1 to 2, got {self.growth}")
        if self.reset not in ("subtract", "zero"):
            raise ModelError(f"IF: reset must be 'subtract' or 'zero', got {self.reset!r}")
        if self.max_spikes < 1 or (self.max_spikes > 1 and self.reset == "zero"):
            raise ModelError(f"IF: max_spikes must be at least 1, and 1 with reset to zero, got {self.max_spikes}")

    def retention(self, dt: float) -> float:
        """Return the factor by which the membrane potential is multiplied in a step of `dt` s."""
        return self.growth * (1.0 if self.tau is None else math.exp(-dt / self.tau))

    def rate(self, current: float, amplitude: float, dt: float) -> float:
        """Return the firing rate, Hz, for a constant input a step, with the threshold at the amplitude.

        Without a leak it is ``current / (amplitude dt)`` up to ``max_spikes / dt``. With one, the membrane follows
        ``v_t = v_inf (1 - retention ** t)`` with ``v_inf = current / (1 - retention)`` and, reset to zero, fires when
        it reaches the amplitude, after a whole number of steps; with reset by subtraction what lies above the
        threshold is kept, and the rate returned is the mean, ``1 / t`` at the real-valued crossing (Rueckauer 2017).
        """
        top = self.max_spikes / dt
        if current <= 0:
            return 0.0
        retention = self.retention(dt)
        if retention >= 1.0:
            steps = amplitude / current
        elif current <= amplitude * (1.0 - retention):
            return 0.0
        else:
            steps = math.log1p(-amplitude * (1.0 - retention) / current) / math.log(retention)
        if self.reset == "zero":
            steps = math.ceil(steps - 1e-9)
        return min(1.0 / (steps * dt), top)

    def current(self, rate: float, amplitude: float, dt: float) -> float:
        """Return the constant input a step that fires at `rate` Hz: the inverse of `rate` (reset by subtraction)."""
        if not 0 < rate <= self.max_spikes / dt:
            raise ModelError(f"IF: rates lie above 0 and up to {self.max_spikes / dt} Hz, got {rate}")
        retention = self.retention(dt)
        steps = 1.0 / (rate * dt)
        if retention >= 1.0:
            return amplitude / steps
        return amplitude * (1.0 - retention) / (1.0 - retention**steps)


@dataclass(frozen=True)
class LIF:
    r"""Leaky integrate-and-fire neuron, as Nengo's.

    The membrane potential :math:`v` (threshold 1, reset to 0) follows

    .. math:: \tau_{rc} \dot v = J - v, \qquad J = gain \cdot z + bias

    for an input :math:`z`, is held at 0 for :math:`\tau_{ref}` after a spike, and never falls below `min_voltage`.
    Within a step the equation is solved exactly, and a spike's time within it is kept: the refractory period ends
    :math:`\tau_{ref}` after the crossing, not after the step. A spike is an output of ``amplitude / dt`` for one step.

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
        Firing rate at ``z = 1``, Hz; sets the gain.
    intercept : float
        The ``z`` from which the neuron fires; with `max_rate` it sets gain and bias.
    initial_voltage : tuple of float
        The membrane potential starts uniformly distributed between these two.

    Notes
    -----
    The defaults are those of NengoDL's MNIST example
    (https://www.nengo.ai/nengo-dl/examples/spiking-mnist.html), which reproduce the thesis's figures.

    Examples
    --------
    >>> round(LIF().rate(LIF().gain * 1.0 + LIF().bias), 6)
    100.0
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
        """Current per input, from `max_rate` at ``z = 1`` and silence below `intercept`.

        Solves ``max_rate = 1 / (tau_ref - tau_rc log(1 - 1 / J))`` for ``J = gain + bias`` together with
        ``gain * intercept + bias = 1``.
        """
        return (self.current(self.max_rate) - 1.0) / (1.0 - self.intercept)

    @property
    def bias(self) -> float:
        """Constant current; 1, the threshold, where `intercept` is 0."""
        return 1.0 - self.gain * self.intercept

    def rate(self, current: float) -> float:
        """Return the firing rate, Hz, for a constant current J: ``1 / (tau_ref - tau_rc log(1 - 1 / J))`` above 1."""
        if current <= 1.0:
            return 0.0
        return 1.0 / (self.tau_ref - self.tau_rc * math.log1p(-1.0 / current))

    def current(self, rate: float) -> float:
        """Return the constant current J that fires at `rate` Hz: the inverse of `rate`."""
        if not 0 < rate * self.tau_ref < 1:
            raise ModelError(f"LIF: rates lie above 0 and under 1 / tau_ref = {1 / self.tau_ref:g} Hz, got {rate}")
        return 1.0 / -math.expm1((self.tau_ref - 1.0 / rate) / self.tau_rc)


Neuron = Union[IF, LIF]


@dataclass(frozen=True, eq=False)
class Population(ArrayFields):
    """The neurons that stand for one rectifier.

    Attributes
    ----------
    neuron : IF or LIF
        The model of all of them.
    threshold : numpy.ndarray
        Firing threshold, float32, broadcast against the layer's shape without the batch: one a channel where it is
        ``(channels, 1, 1)``. In the units of the activations (IF); 1 (LIF).
    amplitude : numpy.ndarray
        Output of a spike in its step, in the units of the activations, as `threshold`.
    initial_potential : numpy.ndarray
        Membrane potential before the first step, as `threshold`.
    bias : numpy.ndarray
        Constant input of every step (LIF: current J), as `threshold`.
    subtracted : numpy.ndarray
        What a spike takes from the membrane potential of an `IF` that is reset by subtraction, as `threshold`; the
        amplitude if left out.
    """

    neuron: Neuron
    threshold: FloatArray
    amplitude: FloatArray
    initial_potential: FloatArray
    bias: FloatArray
    subtracted: FloatArray = None  # type: ignore[assignment]  # set below

    def __post_init__(self) -> None:
        if self.subtracted is None:
            object.__setattr__(self, "subtracted", self.amplitude)
        super().__post_init__()
