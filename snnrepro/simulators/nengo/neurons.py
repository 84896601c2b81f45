"""Neuron types that Nengo does not have: signed integrate-and-fire, running functions, counters.

Imported only where a Nengo network is built. NengoDL's versions of them stand in `dl_neurons`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import nengo
import numpy as np
from nengo.params import BoolParam, EnumParam, IntParam, NdarrayParam, NumberParam, Parameter, StringParam

from snnrepro.arrays import nearest_multiple
from snnrepro.spiking.step import of_sums

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.network.layers import Layer

OUTSIDE = -1e30
"""Constant input of a maximum's neuron that stands for padding: it never wins."""


class _NoRates(nengo.neurons.NeuronType):  # type: ignore[misc]  # Nengo has no type hints
    """Neurons whose gain and bias are given; Nengo asks for their rates all the same, only to store them."""

    def max_rates_intercepts(self, gain: AnyArray, bias: AnyArray) -> tuple[None, None]:
        """Return nothing."""
        return None, None


class SignedIF(_NoRates):
    """The neurons of a population of `snnrepro.spiking.neurons.IF`; the input is ``z`` and the bias, the output A s.

    Parameters
    ----------
    label : str
        The population's name: neurons of two populations are never merged into one call.
    threshold, amplitudes, subtracted, initial_potential : numpy.ndarray
        One per neuron.
    retention : float
        Factor of the membrane potential per step.
    reset : str
        "subtract" or "zero".
    max_spikes : int
        Most spikes in a step.
    unit : numpy.ndarray or None
        What the membrane potential is rounded to a multiple of after it grew or leaked; one per neuron.
    """

    state = {"potential": nengo.dists.Choice([0.0])}  # noqa: RUF012  # as Nengo declares it
    spiking = True
    negative = False

    label = StringParam("label")
    threshold = NdarrayParam("threshold", shape=("*",))
    amplitudes = NdarrayParam("amplitudes", shape=("*",))
    subtracted = NdarrayParam("subtracted", shape=("*",))
    retention = NumberParam("retention", low=0)
    reset = EnumParam("reset", values=("subtract", "zero"))
    max_spikes = IntParam("max_spikes", low=1)
    unit = NdarrayParam("unit", shape=("*",), optional=True)

    def __init__(
        self,
        label: str = "",
        threshold: AnyArray | None = None,
        amplitudes: AnyArray | None = None,
        subtracted: AnyArray | None = None,
        initial_potential: AnyArray | None = None,
        retention: float = 1.0,
        reset: str = "subtract",
        max_spikes: int = 1,
        unit: AnyArray | None = None,
    ) -> None:
        super().__init__({} if initial_potential is None else {"potential": initial_potential})
        self.label = label
        one = np.ones(1)
        self.threshold = one if threshold is None else threshold
        self.amplitudes = one if amplitudes is None else amplitudes
        self.subtracted = self.amplitudes if subtracted is None else subtracted
        self.retention, self.reset, self.max_spikes, self.unit = retention, reset, max_spikes, unit

    def step(self, dt: float, J: AnyArray, output: AnyArray, potential: AnyArray) -> None:  # noqa: N803
        """Advance by one time step."""
        if self.unit is None:
            potential *= self.retention
        elif self.retention != 1:  # in float32, as every simulator does it: before rounding, the last bit matters
            grown = potential.astype(np.float32) * np.float32(self.retention)
            potential[...] = nearest_multiple(grown, self.unit)
        potential += J
        if self.max_spikes == 1:
            spikes = (potential >= self.threshold).astype(potential.dtype)
        else:
            above = np.floor((potential - self.threshold) / self.subtracted) + 1
            spikes = np.clip(above, 0, self.max_spikes)
        output[...] = spikes * self.amplitudes
        if self.reset == "subtract":
            potential -= spikes * self.subtracted
        else:
            potential[spikes > 0] = 0


class Maximum(_NoRates):
    """The largest of several inputs' sums so far, as what it gains in each step, so that its sum is that maximum.

    The neurons are the candidates, ``(n_candidates, n_maxima)`` in C order; the outputs are the first `n_maxima` ones.

    Parameters
    ----------
    label : str
        The node's name.
    n_maxima : int
        How many maxima are taken.
    growth : float
        Factor of the sums per step; 0 where each step stands for itself, as for what the image alone decides.
    """

    state = {"total": nengo.dists.Choice([0.0]), "largest": nengo.dists.Choice([0.0])}  # noqa: RUF012
    spiking = True
    negative = True

    label = StringParam("label")
    n_maxima = IntParam("n_maxima", low=1)
    growth = NumberParam("growth", low=0)

    def __init__(self, label: str = "", n_maxima: int = 1, growth: float = 1.0) -> None:
        super().__init__()
        self.label, self.n_maxima, self.growth = label, n_maxima, growth

    def step(self, dt: float, J: AnyArray, output: AnyArray, total: AnyArray, largest: AnyArray) -> None:  # noqa: N803
        """Advance by one time step."""
        n = self.n_maxima
        total *= self.growth
        total += J
        now = total.reshape(-1, n).max(axis=0)
        output[:n] = now - self.growth * largest[:n]
        output[n:] = 0
        largest[:n] = now


class Running(_NoRates):
    """A function of the inputs' means so far, as what it gains in each step, so that its mean is that function's value.

    The neurons are the numbers of the first input, of the second and so on; the outputs are the first ones.

    Parameters
    ----------
    label : str
        The node's name.
    layer : Layer
        The function: see `snnrepro.spiking.step.of_sums`.
    shapes : tuple of (tuple of int)
        Of what it reads.
    growth : float
        Factor of the sums per step; 0 where each step stands for itself, as for what the image alone decides.
    """

    state = {  # noqa: RUF012
        "total": nengo.dists.Choice([0.0]),
        "value": nengo.dists.Choice([0.0]),
        "weight": nengo.dists.Choice([0.0]),
    }
    spiking = True
    negative = True

    label = StringParam("label")
    layer = Parameter("layer")
    shapes = Parameter("shapes")
    growth = NumberParam("growth", low=0)

    def __init__(
        self,
        label: str = "",
        layer: Layer | None = None,
        shapes: tuple[tuple[int, ...], ...] = (),
        growth: float = 1.0,
    ) -> None:
        super().__init__()
        self.label, self.layer, self.shapes, self.growth = label, layer, shapes, growth

    @property
    def n_outputs(self) -> int:
        """How many values it gives."""
        return math.prod(self.layer.output_shape(*self.shapes))

    def places(self) -> list[tuple[int, int, tuple[int, ...]]]:
        """Return of each input where its neurons begin and end, and its shape."""
        ends = np.cumsum([0, *map(math.prod, self.shapes)]).tolist()
        return list(zip(ends, ends[1:], self.shapes))

    def values_of(self, total: AnyArray, weight: AnyArray) -> AnyArray:
        """Return the function's values, ``(n_images, n_outputs)``, for the sums and the sum of the steps' weights."""
        weight = weight[:, 0].reshape((-1, *[1] * len(self.shapes[0])))
        sums = [total[:, begin:end].reshape(-1, *shape) for begin, end, shape in self.places()]
        return of_sums(self.layer, weight, *sums).reshape(len(total), -1)

    def step(
        self,
        dt: float,
        J: AnyArray,  # noqa: N803
        output: AnyArray,
        total: AnyArray,
        value: AnyArray,
        weight: AnyArray,
    ) -> None:
        """Advance by one time step."""
        weight *= self.growth
        weight += 1
        total *= self.growth
        total += J
        now = self.values_of(total[np.newaxis], weight[np.newaxis])[0]
        n = len(now)
        output[:n] = now - self.growth * value[:n]
        output[n:] = 0
        value[:n] = now


class Counter(_NoRates):
    """1 where the input is not 0; or, `rounded`, the whole number next to it."""

    spiking = False
    negative = True
    rounded = BoolParam("rounded")

    def __init__(self, rounded: bool = False) -> None:
        super().__init__()
        self.rounded = rounded

    def step(self, dt: float, J: AnyArray, output: AnyArray) -> None:  # noqa: N803
        """Count."""
        output[...] = np.rint(J) if self.rounded else J != 0


def ensemble(neuron_type: Any, n: int, gain: float = 1.0, bias: AnyArray | float = 0.0, label: str = "") -> Any:
    """Return a Nengo ensemble of which only the neurons are used; what arrives there is multiplied by `gain`."""
    return nengo.Ensemble(
        n,
        1,
        neuron_type=neuron_type,
        gain=nengo.dists.Choice([gain]),
        bias=np.array(np.broadcast_to(bias, (n,)), np.float64),
        encoders=np.ones((n, 1)),
        eval_points=np.zeros((1, 1)),
        label=label,
    )
