"""Counting inside a Nengo network: the spikes of every population, and the synaptic operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from snnrepro.network.indexing import PADDING
from snnrepro.simulators.nengo.views import View
from snnrepro.spiking.synops import fan_outs

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, IntArray
    from snnrepro.spiking.network import SpikingNetwork

_LARGEST_SUM = 2**24
"""Whole numbers up to this are exact in float32; a longer sum is taken in parts."""


class Counters:
    """Probes that give whole numbers in each step, to be summed up.

    Parameters
    ----------
    spiking : SpikingNetwork
        What is counted in; its Nengo network must be open.
    values : mapping of str to View
        Where its values stand.
    ensembles : mapping of str to nengo.Ensemble
        The neurons by population.
    """

    def __init__(self, spiking: SpikingNetwork, values: Mapping[str, View], ensembles: Mapping[str, Any]) -> None:
        self._spiking = spiking
        self._nonzero: dict[Any, Any] = {}
        self.spikes = {name: self._spikes(name, neurons.neurons) for name, neurons in ensembles.items()}
        self.operations = {
            name: self._summed(self._nonzero_of(values[name].source), _at_source(values[name], fan_out))
            for name, fan_out in fan_outs(spiking).items()
        }

    @property
    def probes(self) -> list[Any]:
        """Every probe, each of them once."""
        return [*self.spikes.values(), *self.operations.values()]

    def _spikes(self, name: str, neurons: Any) -> Any:
        population = self._spiking.populations[name]
        most = population.neuron.max_spikes
        if most == 1:
            return self._summed(self._nonzero_of(neurons), np.ones(neurons.size_out, np.int64))
        amplitude = np.broadcast_to(population.amplitude, self._spiking.network.shapes[name]).reshape(-1)
        counter = _counter(neurons, rounded=True, scale=1 / amplitude.astype(np.float64))
        return self._summed(counter, np.ones(neurons.size_out, np.int64), most)

    def _nonzero_of(self, source: Any) -> Any:
        if source not in self._nonzero:
            self._nonzero[source] = _counter(source)
        return self._nonzero[source]

    @staticmethod
    def _summed(counter: Any, weights: IntArray, most: int = 1) -> Any:
        """Return a probe of the weighted sum over a counter's neurons, in parts that are exact."""
        import nengo

        parts = np.cumsum(weights * most) // (_LARGEST_SUM // 2)
        n_parts = int(parts[-1]) + 1
        node = nengo.Node(size_in=n_parts)
        indices = np.stack([parts, np.arange(len(weights))], axis=1)
        if n_parts == 1:
            transform: Any = weights[np.newaxis].astype(np.float64)
        else:
            transform = nengo.Sparse((n_parts, len(weights)), indices=indices, init=weights.astype(np.float64))
        nengo.Connection(counter, node, transform=transform, synapse=None)
        return nengo.Probe(node, synapse=None)


def _counter(source: Any, rounded: bool = False, scale: AnyArray | None = None) -> Any:
    import nengo

    from snnrepro.simulators.nengo.neurons import Counter, ensemble

    counter = ensemble(Counter(rounded), source.size_out).neurons
    scaled = {} if scale is None else {"transform": scale}
    nengo.Connection(source, counter, synapse=None, **scaled)
    return counter


def _at_source(view: View, fan_out: IntArray) -> IntArray:
    """Return the fan-outs of a value's numbers at their positions in the object that it is a view of."""
    weights = np.zeros(view.source.size_out, np.int64)
    kept = view.indices != PADDING
    np.add.at(weights, view.indices[kept], fan_out[kept])
    return weights
