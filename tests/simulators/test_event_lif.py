"""LIF neurons in the event simulator: as the plain simulator's, whose equation is held to Nengo's own elsewhere."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Dense, ReLU
from snnrepro.simulators.event import builder
from snnrepro.simulators.plain import spike_trains
from snnrepro.spiking.network import SpikingNetwork
from snnrepro.spiking.neurons import LIF, Population
from tests.helpers.event_cases import trains
from tests.helpers.spiking_strategies import drawn_cases

N_STEPS = 60
MOVED = 2e-3
"""Exponential and logarithm are another library's: a spike may move by a step where they are rounded otherwise."""


@settings(suppress_health_check=list(HealthCheck), max_examples=60)
@given(drawn_cases(blocks=["conv", "residual", "average", "conv_transpose"], max_blocks=2), st.integers(0, 2**16))
def test_lif_neurons_fire_as_in_the_plain_simulator(case, seed):
    rng, one = np.random.RandomState(seed), np.ones((), np.float32)
    shapes = case.spiking.network.shapes
    populations = {
        name: Population(LIF(), one, 10 * one, rng.uniform(0, 1, shapes[name]), one * LIF().bias)
        for name in case.spiking.populations
    }
    spiking = dataclasses.replace(case.spiking, populations=populations, readout_synapse=0.1)
    plain, run = (spiking.run(case.x, 40, simulator) for simulator in ("plain", "event"))
    assume(sum(int(counts.sum()) for counts in plain.spike_counts.values()) > 20)
    first = next(iter(populations))
    np.testing.assert_array_equal(run.spike_counts[first], plain.spike_counts[first])
    for name, counts in plain.spike_counts.items():  # a spike may move by a step where a sum is rounded otherwise
        assert np.abs(run.spike_counts[name] - counts).max() <= max(2, 0.01 * counts.max()), name


@settings(suppress_health_check=list(HealthCheck), max_examples=40)
@given(
    st.integers(0, 2**16),
    st.floats(0.002, 0.05),
    st.sampled_from([0.0, 0.0004, 0.001, 0.0017, 0.005]),
    st.sampled_from([0.0, -0.5]),
)
def test_neurons_with_any_constants_fire_in_the_steps_of_the_plain_simulator(seed, tau_rc, tau_ref, min_voltage):
    spiking, x = network(seed, LIF(tau_rc=tau_rc, tau_ref=tau_ref, min_voltage=min_voltage, max_rate=60.0))
    plain, found = spike_trains(spiking, x, N_STEPS), trains(spiking, x, N_STEPS)
    for name, train in plain.items():
        assert np.count_nonzero(train) > 50, name
        assert np.mean(found[name] != train) <= MOVED, name


@pytest.mark.parametrize("constant", ["gain", "dt", "tau_rc", "tau_ref"])
def test_a_wrong_constant_is_seen(constant, monkeypatch):
    right = builder.pack_population

    def wrong(*arguments):
        neurons = right(*arguments)
        changed = {constant: getattr(neurons.constants, constant) * np.float32(1.1)}
        return dataclasses.replace(neurons, constants=neurons.constants._replace(**changed))

    monkeypatch.setattr(builder, "pack_population", wrong)
    spiking, x = network(0, LIF(max_rate=60.0))
    plain, found = spike_trains(spiking, x, N_STEPS), trains(spiking, x, N_STEPS)
    assert max(np.mean(found[name] != train) for name, train in plain.items()) > MOVED


def network(seed, neuron):
    """Return two layers of neurons, and images."""
    rng, one = np.random.RandomState(seed), np.ones((), np.float32)
    nodes = [
        Node("a", ("x",), ReLU()),
        Node("z", ("a",), Dense(rng.normal(0, 1, (19, 37)).astype(np.float32), np.zeros(37, np.float32))),
        Node("b", ("z",), ReLU()),
        Node("y", ("b",), Dense(rng.normal(0, 1, (37, 3)).astype(np.float32), np.zeros(3, np.float32))),
    ]
    layers = Network("x", (19,), tuple(nodes), {})
    populations = {
        name: Population(neuron, one, 8 * one, rng.uniform(0, 1, layers.shapes[name]), one * neuron.bias)
        for name in "ab"
    }
    return SpikingNetwork(layers, "y", populations), rng.normal(0, 3, (5, 19)).astype(np.float32)
