"""A spiking network in endless time: the neurons' rate curves in place of the rectifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnrepro.network.layers import ReLU
from snnrepro.spiking.prepare import Prepared, tail_nodes
from snnrepro.spiking.spiking_network import SpikingNetwork, scores_of

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray


def rate_values(spiking: SpikingNetwork, x: FloatArray) -> dict[str, FloatArray]:
    """Return the mean output of every value before the readout, and the scores, ``(n_images, *shape)`` by name.

    Parameters
    ----------
    spiking : SpikingNetwork
        The network.
    x : numpy.ndarray
        float32, ``(n_images, *input_shape)``.
    """
    network = spiking.network
    behind = {node.name for node in tail_nodes(Prepared(network, spiking.readout))}
    values: dict[str, FloatArray] = {network.input_name: x}
    for node in network.nodes:
        if node.name in behind:
            continue
        if isinstance(node.layer, ReLU):
            values[node.name] = spiking.populations[node.name].mean_output(values[node.inputs[0]], spiking.dt)
        else:
            values[node.name] = node.layer(*(values[name] for name in node.inputs))
    return {**values, network.nodes[-1].name: scores_of(spiking, values[spiking.readout])}
