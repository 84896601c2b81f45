"""Small spiking networks on which the event simulator is exact, and ways to cut its work."""

from __future__ import annotations

import contextlib

import numba
import numpy as np

from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Conv, Dense, ReLU, Reshape
from snnrepro.simulators.event import run as event
from snnrepro.simulators.event.batch import Batch
from snnrepro.simulators.event.plan import make_plan
from snnrepro.simulators.event.readout import readout_weights
from snnrepro.spiking.network import SpikingNetwork
from snnrepro.spiking.neurons import IF, Population
from snnrepro.spiking.prepare import prepare


def trains(spiking, x, n_steps):
    """Return the event simulator's spikes in every step, in the layers' shapes."""
    block = Batch(spiking, make_plan(spiking), readout_weights(spiking, (n_steps,)), x)
    block.result()
    return {name: block.numbers(name) for name in spiking.populations}


def small(seed=1):
    """Return a spiking network with two convolutions, and images."""
    rng = np.random.RandomState(seed)
    nodes = [
        Node("first", ("x",), dyadic_conv(rng, 4, 1, 3)),
        Node("a", ("first",), ReLU()),
        Node("second", ("a",), dyadic_conv(rng, 5, 4, 3)),
        Node("b", ("second",), ReLU()),
        Node("flat", ("b",), Reshape((5 * 3 * 4,))),
        Node("y", ("flat",), Dense(dyadic(rng, 60, 3), np.zeros(3))),
    ]
    return with_neurons(Network("x", (1, 7, 8), tuple(nodes), {})), rng.randint(0, 4, (6, 1, 7, 8)).astype(
        np.float32
    ) / 4


def with_neurons(network):
    """Return a network's spiking network, with dyadic constants, one per channel."""
    prepared = prepare(network)
    rng = np.random.RandomState(0)
    populations = {}
    for node in prepared.network.nodes:
        if isinstance(node.layer, ReLU):
            shape = prepared.network.shapes[node.name]
            amplitude = rng.choice([0.5, 1.0, 2.0], (shape[0], *[1] * (len(shape) - 1)))
            populations[node.name] = Population(IF(), amplitude, amplitude, amplitude / 2, 0 * amplitude)
    return SpikingNetwork(prepared.network, prepared.readout, populations)


def dyadic(rng, *shape):
    """Return weights from -0.5 to 0.75 in quarters."""
    return rng.randint(-2, 4, shape).astype(np.float32) / 4


def dyadic_conv(rng, n_out, n_in, kernel):
    """Return a convolution without pads."""
    return Conv(dyadic(rng, n_out, n_in, kernel, kernel), dyadic(rng, n_out), *windows(2, 0))


@contextlib.contextmanager
def limits(size):
    """Batches of so many images at most."""
    before = event._LARGEST_BATCH
    event._LARGEST_BATCH = size
    try:
        yield
    finally:
        event._LARGEST_BATCH = before


def windows(n_axes, pad):
    """Return strides, dilations and pads."""
    return (1,) * n_axes, (1,) * n_axes, ((pad, pad),) * n_axes


@contextlib.contextmanager
def threads(number):
    """At most so many threads."""
    before = numba.get_num_threads()
    numba.set_num_threads(min(number, numba.config.NUMBA_NUM_THREADS))
    try:
        yield
    finally:
        numba.set_num_threads(before)
