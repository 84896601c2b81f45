"""Counting inside a Nengo network: the spikes of every population, and the synaptic operations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

import numpy as np

from snnrepro.simulators.nengo.views import PADDING, View
from snnrepro.simulators.plain import Readout, fan_outs
from snnrepro.spiking.neurons import IF
from snnrepro.spiking.run import Run
from snnrepro.spiking.spiking_network import scores_of

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray, IntArray
    from snnrepro.simulators.nengo.network import NengoNetwork
    from snnrepro.spiking.spiking_network import SpikingNetwork

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
        neuron = population.neuron
        most = neuron.max_spikes if isinstance(neuron, IF) else 1
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
    """Return the fan-outs of a value's numbers at their places in the object that it is a view of."""
    weights = np.zeros(view.source.size_out, np.int64)
    kept = view.indices != PADDING
    np.add.at(weights, view.indices[kept], fan_out[kept])
    return weights


def run_of(
    spiking: SpikingNetwork, nengo: NengoNetwork, steps: tuple[int, ...], data: Callable[[Any], AnyArray]
) -> Run:
    """Return what a simulation gave.

    Parameters
    ----------
    spiking : SpikingNetwork
        What was simulated.
    nengo : NengoNetwork
        As it was written, with counters.
    steps : tuple of int
        The steps to keep.
    data : callable
        Gives the values of a probe, ``(n_images, n_steps, size)``.
    """
    counters = nengo.counters
    if counters is None:
        raise ValueError("the Nengo network was built without counters")
    counts = {name: data(probe) for name, probe in counters.spikes.items()}
    met = {name: np.rint(data(probe)).astype(np.int64).sum(axis=-1) for name, probe in counters.operations.items()}
    kept = [scores_of(spiking, readout) for readout in _readouts(spiking, nengo, steps, data)]
    none = np.zeros(len(kept[0]), np.int64)
    return Run(
        steps=steps,
        scores_by_step=np.stack(kept, axis=1),
        spike_counts={name: np.rint(count).astype(np.int64).sum(axis=(1, 2)) for name, count in counts.items()},
        n_neurons={name: math.prod(spiking.network.shapes[name]) for name in spiking.populations},
        synaptic_operations=sum((n.sum(axis=1) for name, n in met.items() if name in nengo.moving), none),
        # What the image alone decides is met in every step, and computed once.
        macs=sum((n[:, 0] for name, n in met.items() if name not in nengo.moving), none),
    )


def joined(runs: Sequence[Run]) -> Run:
    """Return the runs of several chunks of images as one."""
    first = runs[0]
    return Run(
        steps=first.steps,
        scores_by_step=np.concatenate([run.scores_by_step for run in runs]),
        spike_counts={name: np.concatenate([run.spike_counts[name] for run in runs]) for name in first.spike_counts},
        n_neurons=first.n_neurons,
        synaptic_operations=np.concatenate([run.synaptic_operations for run in runs]),
        macs=np.concatenate([run.macs for run in runs]),
    )


def run_of_none(spiking: SpikingNetwork, steps: tuple[int, ...]) -> Run:
    """Return the run of no images at all."""
    network, none = spiking.network, np.zeros(0, np.int64)
    return Run(
        steps=steps,
        scores_by_step=np.zeros((0, len(steps), *network.output_shape), np.float32),
        spike_counts=dict.fromkeys(spiking.populations, none),
        n_neurons={name: math.prod(network.shapes[name]) for name in spiking.populations},
        synaptic_operations=none,
        macs=none,
    )


def _readouts(
    spiking: SpikingNetwork, nengo: NengoNetwork, steps: tuple[int, ...], data: Callable[[Any], AnyArray]
) -> list[FloatArray]:
    """Return what is read out after each kept step, ``(n_images, *shape)``."""
    shape = spiking.network.shapes[spiking.readout]
    if spiking.readout_synapse is not None:
        filtered = data(nengo.filtered_scores).astype(np.float32)
        return [filtered[:, step - 1].reshape(-1, *shape) for step in steps]
    values = data(nengo.scores).astype(np.float32)
    readout, kept = Readout(spiking), []
    for step in range(1, steps[-1] + 1):
        readout.add(values[:, step - 1].reshape(-1, *shape))
        if step in steps:
            kept.append(readout.value)
    return kept
