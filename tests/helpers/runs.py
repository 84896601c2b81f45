"""Runs compared bit for bit."""

from __future__ import annotations

import numpy as np


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
