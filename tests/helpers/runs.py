"""Runs in parts, compared bit for bit."""

from __future__ import annotations

import numpy as np

from snnrepro.spiking import run
from tests.helpers.event_cases import small


def sent_by_threes(monkeypatch):
    """Return a network with weights of every size, and fifty images, three of which are sent together."""
    spiking, _ = small()
    x = np.random.RandomState(1).rand(50, *spiking.network.input_shape).astype(np.float32)
    monkeypatch.setattr(run, "SENT_NUMBERS", 3 * x[0].size)
    return spiking, x


def differing(wanted, got):
    """Return the names of what two runs do not have in common, of everything that a run has."""
    assert (wanted.steps, wanted.n_neurons, wanted.task) == (got.steps, got.n_neurons, got.task)
    names = ("scores_by_step", "synaptic_operations", "macs", "steps_used", "predictions_by_step")
    pairs = {name: (getattr(wanted, name), getattr(got, name)) for name in names}
    pairs.update(
        {f"spikes of {name}": (wanted.spike_counts[name], got.spike_counts[name]) for name in wanted.n_neurons}
    )
    return [
        name
        for name, (one, other) in pairs.items()
        if one.dtype != other.dtype or one.shape != other.shape or not np.array_equal(one, other)
    ]
