"""A snapshot keeps every spike of a few images, and notices when one of them is another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import snnrepro as snn
from snnrepro.errors import ArchiveError, DataError
from snnrepro.simulators.plain import spike_trains
from tests.helpers import model_files
from tests.helpers.event_cases import small


@pytest.fixture(scope="module")
def case():
    spiking, x = small()
    return replace(spiking, n_steps=7), x[:3]


def test_it_has_every_spike_of_every_neuron(case):
    spiking, x = case
    snapshot, trains = snn.SpikeSnapshot.take(spiking, x), spike_trains(spiking, x, 7)
    assert snapshot.n_steps == 7
    assert sum(train.sum() for train in snapshot.spikes.values()) > 50
    for name, train in trains.items():
        assert snapshot.spikes[name].shape == (3, 7, spiking.n_neurons[name])
        np.testing.assert_array_equal(snapshot.spikes[name], train.reshape(3, 7, -1) != 0)


def test_what_fires_the_same_is_equal_through_a_file_too(case, tmp_path):
    spiking, x = case
    snapshot = snn.SpikeSnapshot.take(spiking, x)
    snapshot.save(tmp_path / "spikes.npz")
    again = snn.SpikeSnapshot.load(tmp_path / "spikes.npz")
    assert snapshot == again
    assert spiking == again
    assert again == spiking
    assert spiking.run(x, simulator="event") == again
    assert snapshot != "anything else"
    assert (tmp_path / "spikes.npz").stat().st_size < 20_000


def test_one_spike_more_is_noticed_and_named(case):
    spiking, x = case
    snapshot = snn.SpikeSnapshot.take(spiking, x)
    train = snapshot.spikes["b"].copy()
    image, step, neuron = 2, 4, 11
    train[image, step, neuron] ^= True
    planted = snn.SpikeSnapshot(x, {**snapshot.spikes, "b": train})
    assert snapshot != planted
    assert spiking != planted
    assert spiking.run(x) != planted
    assert planted.difference(spiking).startswith("on image 2 neuron 11 of population 'b' ")
    assert "in step 5 in the snapshot and not so here; 1 spikes differ" in planted.difference(spiking)
    assert planted.difference(spiking.run(x)).startswith("on image 2 population 'b' fires ")


def test_spikes_that_only_change_places_are_noticed(case):
    spiking, x = case
    snapshot = snn.SpikeSnapshot.take(spiking, x)
    moved = snn.SpikeSnapshot(x, {**snapshot.spikes, "a": snapshot.spikes["a"][:, ::-1]})
    assert (moved.spikes["a"].sum(axis=1) == snapshot.spikes["a"].sum(axis=1)).all()
    assert spiking != moved
    assert snapshot != moved


def test_other_images_steps_and_networks_are_not_equal(case):
    spiking, x = case
    snapshot = snn.SpikeSnapshot.take(spiking, x)
    assert snapshot != snn.SpikeSnapshot.take(spiking, x[::-1])
    assert snapshot != snn.SpikeSnapshot.take(spiking, x, 6)
    assert spiking.run(x, 6) != snapshot
    assert spiking.run(x[:2]) != snapshot
    trained = model_files.network()
    assert snn.convert(trained, calibration=model_files.images(trained)[0], n_steps=7) != snapshot
    with pytest.raises(DataError, match="at least one image"):
        snn.SpikeSnapshot.take(spiking, x[:0])


def test_a_damaged_file_is_refused(case, tmp_path):
    spiking, x = case
    snn.SpikeSnapshot.take(spiking, x).save(tmp_path / "spikes.npz")
    spiking.save(tmp_path / "network.npz")
    whole = (tmp_path / "spikes.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    for name in ("none.npz", "cut.npz", "network.npz"):
        with pytest.raises(ArchiveError, match=name):
            snn.SpikeSnapshot.load(tmp_path / name)


def test_a_failing_assertion_names_the_spike(run, pytester, case):
    spiking, x = case
    spiking.save(pytester.path / "spiking.npz")
    snn.SpikeSnapshot.take(spiking, 0.5 * x).save(pytester.path / "spikes.npz")
    snapshot = snn.SpikeSnapshot.load(pytester.path / "spikes.npz")
    snn.SpikeSnapshot(x, snapshot.spikes).save(pytester.path / "spikes.npz")
    pytester.makepyfile(
        """
        import snnrepro as snn
        def test_own():
            assert snn.load_spiking("spiking.npz") == snn.SpikeSnapshot.load("spikes.npz")
        """
    )
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert SpikingNetwork == SpikeSnapshot", "*on image * neuron * in step *"])
