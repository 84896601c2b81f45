"""What a run would cost on a chip follows from its counts and the cited constants, and it is said who wins."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import snnrepro as snn
from snnrepro.energy import energy
from snnrepro.errors import DataError
from tests.helpers import model_files
from tests.helpers.command_line import run_command

TRAINED = model_files.network()
X, _ = model_files.images(TRAINED, 400)


def _case(n_steps):
    spiking = snn.convert(TRAINED, "rate", X[:200], n_steps)
    return spiking, spiking.run(X[200:])


def _with_spikes(run, factor):
    """Return a run with so many times the spikes, and the operations that go with them."""
    counts = {name: factor * one.astype(np.float64) for name, one in run.spike_counts.items()}
    return replace(run, spike_counts=counts, synaptic_operations=factor * run.synaptic_operations.astype(np.float64))


@pytest.mark.parametrize("n_steps", [1, 5, 7, 8])
def test_it_is_the_sum_of_the_counts_times_the_constants(n_steps):
    """By hand, in Horowitz's pJ: 64 bits of a memory of 32 kB take 20."""
    spiking, run = _case(n_steps)
    found = energy(spiking, run, X[200:])
    assert found.bits == {1: 1, 5: 3, 7: 3, 8: 4}[n_steps]
    synops, image, bit = run.synaptic_operations.mean(), 6 * 14, 20 / 64
    spikes = sum(counts.mean() for counts in run.spike_counts.values())
    assert spikes > 1
    of_image = image * (0.2 + 0.1), image * 16 * bit
    assert found.operations == pytest.approx(0.9 * synops + 4.6 * image)
    assert found.trained_operations == pytest.approx(4.6 * (6 * 14 + 14 * 11 + 11 * 3))
    assert found.arithmetic == pytest.approx(0.1 * synops + 25 * n_steps * 0.2 + of_image[0])
    assert found.memory == pytest.approx(
        8 * synops * bit + spikes * 2 * 5 * bit + 25 * n_steps * 32 * bit + of_image[1]
    )
    values = dict(TRAINED.activations(X[200:]))
    a, b = (np.count_nonzero(values[name], axis=1).mean() for name in ("a", "b"))
    met = 11 * a + 3 * b
    assert found.quantised_arithmetic == pytest.approx(met * (0.2 * found.bits / 8 + 0.1) + of_image[0])
    assert found.quantised_memory == pytest.approx(met * 8 * bit + (a + b) * 2 * (found.bits + 5) * bit + of_image[1])
    assert found.rate == pytest.approx(spikes / (25 * n_steps))


def test_several_neurons_for_each_activation_are_held_against_as_many_more_values():
    """Two neurons at 4 steps tell up to 9 values apart, and fire in every step of twice as many neurons."""
    spiking = snn.convert(TRAINED, "rate", X[:200], 4, neurons_per_activation=2)
    run = spiking.run(X[200:])
    found = energy(spiking, run, X[200:])
    assert found.bits == 4
    assert found.rate == pytest.approx(run.mean_spikes / (2 * 25 * 4))
    one = energy(*_case(4), X[200:])
    assert one.bits == 3
    assert found.trained_operations == one.trained_operations


def test_at_the_winning_rate_both_cost_the_same():
    spiking, run = _case(1)
    before = energy(spiking, run, X[200:])
    if before.winning_rate <= 0:
        pytest.fail("at one step there must be such a rate")
    even = energy(spiking, _with_spikes(run, before.winning_rate / before.rate), X[200:])
    assert even.spiking == pytest.approx(even.quantised)
    assert even.winning_rate == pytest.approx(before.winning_rate)


@pytest.mark.parametrize(("factor", "winner"), [(0.5, "the spiking network"), (2.0, "the 1-bit quantised network")])
def test_it_says_who_wins(factor, winner):
    spiking, run = _case(1)
    before = energy(spiking, run, X[200:])
    found = energy(spiking, _with_spikes(run, factor * before.winning_rate / before.rate), X[200:])
    assert found.verdict.startswith(f"{winner} takes less, by a factor of 1.")
    assert (found.spiking < found.quantised) is (factor < 1)


def test_more_steps_cost_more_and_can_not_win():
    costs = [energy(*_case(n_steps), X[200:]) for n_steps in (4, 16, 64)]
    assert costs[0].spiking < costs[1].spiking < costs[2].spiking
    assert costs[2].verdict.endswith("at no rate the spiking network wins")


def test_no_image_has_no_energy():
    spiking, _ = _case(2)
    with pytest.raises(DataError, match="that of an image"):
        energy(spiking, spiking.run(X[:0]), X[:0])


def test_the_command_prints_it(tmp_path):
    _, data = model_files.write(tmp_path)
    _case(4)[0].save(tmp_path / "spiking.npz")
    text = run_command("run", tmp_path / "spiking.npz", data, "--energy").stdout
    assert "operations only, float32" in text
    assert "takes less, by a factor of" in " ".join(text.split())
    found = json.loads(run_command("run", tmp_path / "spiking.npz", data, "--energy", "--json").stdout)["energy"]
    assert found["spiking"] == pytest.approx(found["arithmetic"] + found["memory"])
    assert "energy" not in json.loads(run_command("run", tmp_path / "spiking.npz", data, "--json").stdout)
