"""Neuron models: their equations, rate curves and inverses; populations of them as pure data."""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Mapping, NamedTuple, Union

import numpy as np

from snnrepro.arrays import frozen
from snnrepro.errors import ModelError
from snnrepro.spiking.checks import is_count, is_number, is_time_or_none, require

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray


@dataclass(frozen=True)
class IF:
    r"""Integrate-and-fire neuron with a signed membrane, leaky or not, one step at a time.

    With the input :math:`z_t` of a step, the membrane potential :math:`v` and the firing threshold :math:`\vartheta`,

    .. math:: v \leftarrow \gamma v + z_t + b, \qquad s_t = [v \ge \vartheta], \qquad v \leftarrow v - R s_t

    (reset by subtraction) or :math:`v \leftarrow 0` where it fires (reset to zero). The output of a step is
    :math:`A s_t`, with the amplitude :math:`A` of a spike; :math:`R = A` unless the recipe fits it. All are in the
    units of the trained network's activations; potentials may go below zero, or inhibition that comes early would be
    forgotten.

    Attributes
    ----------
    tau : float or None
        Membrane time constant, s: :math:`\gamma = growth \cdot e^{-dt / \tau}`; None for no leak.
    growth : float
        Factor per step by which the membrane grows. Above 1 an early spike weighs more than a late one: those at step t
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
    >>> IF().rate(0.25, subtracted=1.0, dt=0.001)          # Hz: a spike every four steps of 1 ms
    array(250.)
    >>> IF().current(250.0, subtracted=1.0, dt=0.001)
    array(0.25)
    """

    tau: float | None = None
    growth: float = 1.0
    reset: str = "subtract"
    max_spikes: int = 1

    def __post_init__(self) -> None:
        few = self.max_spikes == 1 or self.reset != "zero"
        require(
            self,
            {
                "tau must be above 0 s or None": is_time_or_none(self.tau),
                "growth must lie from 1 to 2": is_number(self.growth, at_least=1, at_most=2),
                "reset must be 'subtract' or 'zero'": self.reset in ("subtract", "zero"),
                "max_spikes must be at least 1, and 1 with reset to zero": is_count(self.max_spikes) and few,
            },
        )

    def retention(self, dt: float) -> float:
        """Return the factor by which the membrane potential is multiplied in a step of `dt` s."""
        return self.growth * self._leak(dt)

    def _leak(self, dt: float) -> float:
        return 1.0 if self.tau is None else math.exp(-dt / self.tau)

    def rate(self, current: Any, subtracted: Any, dt: float, threshold: Any = None) -> AnyArray:
        r"""Return the firing rate, Hz, for a constant input of every step.

        Without a leak it is :math:`I / (R\, dt)`. With one, the membrane approaches
        :math:`v_\infty = I / (1 - \gamma)` and takes
        :math:`\log\frac{v_\infty - \vartheta}{v_\infty - v_{reset}} / \log\gamma` steps from its reset to the
        threshold; a reset to zero waits for the end of a step. Never more than ``max_spikes / dt``. With a growing
        membrane it is the rate that the weighted spikes stand for.

        Parameters
        ----------
        current : array_like
            Input of every step, the bias included.
        subtracted : array_like
            What a spike takes from the membrane potential.
        dt : float
            Length of a step, s.
        threshold : array_like, optional
            `subtracted` if left out.
        """
        current, subtracted = np.asarray(current, np.float64), np.asarray(subtracted, np.float64)
        threshold = subtracted if threshold is None else np.asarray(threshold, np.float64)
        start = threshold - subtracted if self.reset == "subtract" else 0.0 * threshold
        leak = self._leak(dt)
        with np.errstate(divide="ignore", invalid="ignore"):
            if leak == 1.0:
                steps = (threshold - start) / current
                fires = current > 0
            else:
                limit = current / (1.0 - leak)
                steps = np.log((limit - threshold) / (limit - start)) / math.log(leak)
                fires = limit > threshold
            if self.reset == "zero":
                steps = np.ceil(steps - 1e-9)
            rate = 1.0 / (np.maximum(steps, 1.0 / self.max_spikes) * dt)
        return np.asarray(np.where(fires, rate, 0.0))

    def current(self, rate: Any, subtracted: Any, dt: float) -> AnyArray:
        """Return the constant input that fires at `rate` Hz, the inverse of `rate` with the threshold at `subtracted`.

        Raises
        ------
        ModelError
            A rate is not above 0 and at most ``max_spikes / dt``.
        """
        rate, subtracted = np.asarray(rate, np.float64), np.asarray(subtracted, np.float64)
        if not (np.all(rate > 0) and np.all(rate <= self.max_spikes / dt)):
            raise ModelError(f"IF: rates lie above 0 and up to {self.max_spikes / dt:g} Hz, got {rate}")
        steps, leak = 1.0 / (rate * dt), self._leak(dt)
        return np.asarray(subtracted / steps if leak == 1.0 else subtracted * (1.0 - leak) / (1.0 - leak**steps))


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

    Raises
    ------
    ModelError
        A constant is not in its range.

    Notes
    -----
    The defaults are those of NengoDL's MNIST example
    (https://www.nengo.ai/nengo-dl/examples/spiking-mnist.html), which reproduce the thesis's figures.

    Examples
    --------
    >>> print(LIF().rate(LIF().gain * 1.0 + LIF().bias).round(6))
    100.0
    """

    tau_rc: float = 0.02
    tau_ref: float = 0.002
    amplitude: float = 0.01
    min_voltage: float = 0.0
    max_rate: float = 100.0
    intercept: float = 0.0
    initial_voltage: tuple[float, float] = (0.0, 1.0)
    growth: ClassVar[float] = 1.0
    max_spikes: ClassVar[int] = 1

    def __post_init__(self) -> None:
        require(
            self,
            {
                "tau_rc must be above 0 s": is_number(self.tau_rc, above=0),
                "tau_ref must be at least 0 s": is_number(self.tau_ref, at_least=0),
                "amplitude must be above 0": is_number(self.amplitude, above=0),
                "min_voltage must be at most 0, the reset": is_number(self.min_voltage, at_most=0),
                "max_rate must be above 0 Hz and under 1 / tau_ref": is_number(self.max_rate, above=0)
                and is_number(self.tau_ref)
                and self.max_rate * self.tau_ref < 1,
                "intercept must be under 1, where the rate is max_rate": is_number(self.intercept, below=1),
                "initial_voltage must be two numbers": isinstance(self.initial_voltage, (tuple, list))
                and len(self.initial_voltage) == 2
                and all(map(is_number, self.initial_voltage)),
            },
        )
        object.__setattr__(self, "initial_voltage", tuple(self.initial_voltage))

    @property
    def gain(self) -> float:
        """Current per input, from `max_rate` at ``z = 1`` and silence below `intercept`.

        Solves ``max_rate = 1 / (tau_ref - tau_rc log(1 - 1 / J))`` for ``J = gain + bias`` together with
        ``gain * intercept + bias = 1``.
        """
        return float(self.current(self.max_rate) - 1.0) / (1.0 - self.intercept)

    @property
    def bias(self) -> float:
        """Constant current; 1, the threshold, where `intercept` is 0."""
        return 1.0 - self.gain * self.intercept

    def rate(self, current: Any) -> AnyArray:
        r"""Return the firing rate, Hz, for a constant current: :math:`1 / (\tau_{ref} - \tau_{rc} \log(1 - 1 / J))`.

        It is 0 up to J = 1 (Eliasmith & Anderson, Neural Engineering, 2003).
        """
        current = np.asarray(current, np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = 1.0 / (self.tau_ref - self.tau_rc * np.log1p(-1.0 / current))
        return np.asarray(np.where(current > 1.0, rate, 0.0))

    def current(self, rate: Any) -> AnyArray:
        """Return the constant current J that fires at `rate` Hz: the inverse of `rate`.

        Raises
        ------
        ModelError
            A rate is not above 0 and under ``1 / tau_ref``.
        """
        rate = np.asarray(rate, np.float64)
        if not (np.all(rate > 0) and np.all(rate * self.tau_ref < 1)):
            raise ModelError(f"LIF: rates lie above 0 and under 1 / tau_ref = {1 / self.tau_ref:g} Hz, got {rate}")
        return np.asarray(-1.0 / np.expm1((self.tau_ref - 1.0 / rate) / self.tau_rc))


Neuron = Union[IF, LIF]


CONSTANTS = ("threshold", "amplitude", "initial_potential", "bias", "subtracted")
"""The arrays of a population; broadcast against the layer's shape."""
_ABOVE_0 = ("threshold", "amplitude", "subtracted", "unit")


@dataclass(frozen=True, eq=False)
class Population:
    """The neurons that stand for one rectifier.

    Attributes
    ----------
    neuron : IF or LIF
        The model of all of them.
    threshold : numpy.ndarray
        Firing threshold, float32, broadcast against the layer's shape without the batch: one per channel where it is
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
    unit : numpy.ndarray or None
        Powers of two, as `threshold`: after it grew or leaked, the membrane potential of an `IF` is rounded to the
        nearest multiple of it (of two as near, the even one), as in fixed point. None for no rounding.

    Raises
    ------
    ModelError
        A constant is no array of finite numbers, or not above 0 where it is a threshold, an amplitude or subtracted.
    """

    neuron: Neuron
    threshold: FloatArray
    amplitude: FloatArray
    initial_potential: FloatArray
    bias: FloatArray
    subtracted: FloatArray = None  # type: ignore[assignment]  # set below
    unit: FloatArray | None = None

    def __post_init__(self) -> None:
        if self.subtracted is None:
            object.__setattr__(self, "subtracted", self.amplitude)
        for name in CONSTANTS if self.unit is None else (*CONSTANTS, "unit"):
            object.__setattr__(self, name, _constants(name, getattr(self, name)))

    def mean_output(self, z: Any, dt: float) -> FloatArray:
        """Return the output that the neurons average in endless time for a constant input `z`, of its shape.

        Amplitude times rate; where they fire less than they can it is the rectified input, and it is capped at their
        highest rate.
        """
        neuron = self.neuron
        if isinstance(neuron, LIF):
            rate = neuron.rate(np.float64(neuron.gain) * z + self.bias)
        else:
            # What makes up for the leak is there to hold the membrane half way to the threshold, not to be fired out.
            rate = neuron.rate(z + self.bias, self.subtracted, dt, self.threshold)
        return np.asarray(self.amplitude * dt * rate, np.float32)


class ChannelConstants(NamedTuple):
    """The constants of each channel's neurons, each ``(n_channels,)``, as those of `Population`."""

    amplitude: AnyArray
    threshold: AnyArray
    subtracted: AnyArray
    initial_potential: AnyArray
    bias: AnyArray

    @classmethod
    def of(cls, population: Population) -> ChannelConstants:
        """Return the constants of a population that has one per channel."""
        shape = population.amplitude.shape
        return cls(*(np.broadcast_to(getattr(population, name), shape).reshape(-1) for name in cls._fields))

    def population(self, neuron: Neuron, shape: tuple[int, ...]) -> Population:
        """Return the population that has them, ``(n_channels, 1, ...)``."""
        return Population(neuron, **{name: values.reshape(shape) for name, values in self._asdict().items()})


def _constants(name: str, values: Any) -> FloatArray:
    """Return a population's constants as a read-only array, or refuse them."""
    array = np.asarray(values)
    if array.dtype.kind in "iuf":
        with np.errstate(over="ignore"):
            constants = frozen(array)
        if np.isfinite(constants).all() and (name not in _ABOVE_0 or (constants > 0).all()):
            return constants
    accepted = "finite numbers above 0" if name in _ABOVE_0 else "finite numbers"
    raise ModelError(f"Population: {name} must be {accepted}, got {reprlib.repr(array.tolist())}")


def growth_of(populations: Mapping[str, Population]) -> float:
    """Return by how much a spike of one step outweighs one of the next, in all of these populations; 1 without any."""
    return max((population.neuron.growth for population in populations.values()), default=1.0)
