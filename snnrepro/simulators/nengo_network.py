"""A spiking network written with Nengo's own objects; NengoDL and Nengo core both run it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.network.layers import Dense, ReLU, Reshape, Softmax
from snnrepro.spiking.spiking_network import SpikingNetwork


@dataclass(frozen=True, eq=False)
class NengoNetwork:
    """The Nengo network and the handles needed to run it and to read its weights back.

    Attributes
    ----------
    network : nengo.Network
        Everything below stands in it.
    input : nengo.Node
        ``(n_in,)``, the image flattened in C order.
    scores, filtered_scores : nengo.Probe
        The output as it is, and through the readout synapse; ``(n_out,)``.
    weights : dict of str to nengo.Connection
        The weight connection of each Dense node by name; Nengo's axis order is (out, in).
    biases : dict of str to nengo.Connection
        The bias connection of each Dense node, ``(n_out, 1)``.
    """

    network: Any
    input: Any
    scores: Any
    filtered_scores: Any
    weights: dict[str, Any]
    biases: dict[str, Any]


def build(spiking: SpikingNetwork, seed: int) -> NengoNetwork:
    """Write `spiking` with Nengo's objects.

    Parameters
    ----------
    spiking : SpikingNetwork
        A chain of Dense, ReLU and Reshape, with or without a Softmax at the end.
    seed : int
        Of the initial membrane potentials.

    Returns
    -------
    NengoNetwork
        Weights and biases as they are in `spiking`, bit for bit.

    Raises
    ------
    ModelError
        The network has a layer that this simulator cannot run; all such are named.
    """
    import nengo

    _check(spiking)
    neuron = spiking.neuron
    model = nengo.LIF(
        tau_rc=neuron.tau_rc,
        tau_ref=neuron.tau_ref,
        min_voltage=neuron.min_voltage,
        amplitude=neuron.amplitude,
        initial_state={"voltage": nengo.dists.Uniform(*neuron.initial_voltage)},
    )
    weights: dict[str, Any] = {}
    biases: dict[str, Any] = {}
    with nengo.Network(seed=seed) as network:
        source = nengo.Node(np.zeros(int(np.prod(spiking.network.input_shape))))
        one = nengo.Node([1.0])
        before, spikes = source, False
        for node, layer in _linear_layers(spiking):
            n_out = layer.weights.shape[1]
            if _feeds_neurons(spiking, node):
                # Nengo multiplies what arrives at `neurons` by the gain and adds the ensemble's bias.
                ensemble = nengo.Ensemble(
                    n_out,
                    1,
                    neuron_type=model,
                    gain=nengo.dists.Choice([neuron.gain]),
                    bias=nengo.dists.Choice([neuron.bias]),
                )
                after = ensemble.neurons
            else:
                after = nengo.Node(size_in=n_out)
            weights[node] = nengo.Connection(
                before, after, transform=layer.weights.T, synapse=spiking.synapse if spikes else None
            )
            biases[node] = nengo.Connection(one, after, transform=layer.bias[:, None], synapse=None)
            before, spikes = after, _feeds_neurons(spiking, node)
        scores = nengo.Probe(before, synapse=None)
        filtered = nengo.Probe(before, synapse=spiking.readout_synapse)
    return NengoNetwork(network, source, scores, filtered, weights, biases)


def _linear_layers(spiking: SpikingNetwork) -> tuple[tuple[str, Dense], ...]:
    return tuple((node.name, node.layer) for node in spiking.network.nodes if isinstance(node.layer, Dense))


def _feeds_neurons(spiking: SpikingNetwork, name: str) -> bool:
    return any(name in node.inputs and isinstance(node.layer, ReLU) for node in spiking.network.nodes)


def _check(spiking: SpikingNetwork) -> None:
    nodes = spiking.network.nodes
    previous = spiking.network.input_name
    kinds = [type(node.layer) for node in nodes]
    problems = []
    for index, node in enumerate(nodes):
        kind = kinds[index]
        before = kinds[index - 1] if index else None
        if kind not in (Dense, ReLU, Reshape, Softmax):
            problems.append(f"{kind.__name__} {node.name!r}: only Dense, ReLU, Reshape and Softmax can be run")
        elif node.inputs != (previous,):
            problems.append(f"{kind.__name__} {node.name!r}: only a chain of layers can be run, it reads {node.inputs}")
        elif kind is Softmax and index != len(nodes) - 1:
            problems.append(f"Softmax {node.name!r}: only at the output")
        elif kind is ReLU and before is not Dense:
            problems.append(f"ReLU {node.name!r}: only right behind a Dense layer")
        elif kind is Dense and before is Dense:
            problems.append(f"Dense {node.name!r}: a ReLU is needed between it and the Dense layer before")
        previous = node.name
    if problems:
        raise ModelError("the Nengo simulators cannot run these nodes:\n  " + "\n  ".join(problems))
