"""A reproduction that was stopped goes on where it stopped, and measures nothing twice unless asked."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from snnrepro.datasets import Mnist
from snnrepro.errors import DataError
from snnrepro.thesis import cells, reproduce
from snnrepro.thesis.cells import Cell, Measured
from snnrepro.thesis.experiment import Experiment
from snnrepro.thesis.record import Record
from tests.helpers.tiny_profile import TINY


@pytest.fixture(scope="module")
def data():
    """Ten patterns in noise, 128 training and 20 test images."""
    rng = np.random.RandomState(0)
    labels = np.arange(148) % 10
    images = np.clip(rng.randint(0, 256, (10, 28, 28))[labels] + rng.normal(0, 20, (148, 28, 28)), 0, 255)
    images = images.astype(np.uint8)
    return Mnist(images[:128], labels[:128], images[128:], labels[128:], "drawn", "of-these-arrays", False)


@pytest.fixture
def tiny(monkeypatch):
    """The dense network and the autoencoder, in seconds."""
    pytest.importorskip("skimage", reason="scikit-image is not installed (extra: images)")
    monkeypatch.setattr(cells, "PROFILES", TINY)
    return ("dense", "autoencoder")


@pytest.fixture
def counted(monkeypatch):
    """Every cell that is measured, in order."""
    found, measure = [], Experiment.measure

    def counting(self, cell, progress=None):
        found.append(cell)
        return measure(self, cell, progress)

    monkeypatch.setattr(Experiment, "measure", counting)
    return found


class StoppedError(Exception):
    pass


def test_a_stopped_reproduction_goes_on_where_it_stopped(nengo_dl, data, tiny, counted, tmp_path):
    def stop(cell, fraction):
        if (cell.system, cell.quantity, cell.n_steps) == ("nengo-dl", "inference", 30):
            raise StoppedError

    with pytest.raises(StoppedError):
        reproduce.reproduce("quick", data, tmp_path, tiny, progress=stop)
    stopped = counted.copy()
    assert len(stopped) > 4, "it was stopped before there was anything to keep"
    del counted[:]
    results = reproduce.reproduce("quick", data, tmp_path, tiny)
    plan = [one.cell for one in results.measured]
    assert [*stopped[:-1], *counted] == plan  # the one it was stopped in is measured once more
    del counted[:]
    again = reproduce.reproduce("quick", data, tmp_path, tiny)
    assert counted == []
    assert again.measured == results.measured
    with np.load(tmp_path / "samples.npz") as samples:
        assert samples["dense.balanced.raster.relu1"].max() == 1
        assert samples["autoencoder.images.balanced"].shape == (8, 28, 28)
    asked = reproduce.reproduce("quick", data, tmp_path, ("autoencoder",), again=True)
    assert counted == [one.cell for one in asked.measured]


def test_the_same_seed_answers_the_same_after_a_restart(nengo_dl, data, tiny, tmp_path):
    """Keras's network is trained once; another process finds its weights, and what is converted from them."""
    workload = cells.PROFILES["quick"]["dense"]
    first = Experiment("dense", workload, data, tmp_path)
    wanted = first.answers(0)
    second = Experiment("dense", workload, data, tmp_path)
    np.testing.assert_array_equal(second.answers(0), wanted)
    cell = Cell("dense", "converted", "inference", 0, 4, "balanced")
    x = second.test_images(20)
    np.testing.assert_array_equal(first.spiking(cell).run(x).scores, second.spiking(cell).run(x).scores)
    trained = first.networks.spiking(0)
    found = Experiment("dense", workload, data, tmp_path).networks.spiking(0)
    np.testing.assert_array_equal(trained.run(x, 5).scores, found.run(x, 5).scores)


MEASURED = Measured(
    Cell("cnn", "nengo-dl", "inference", 1, 60), 2.5, 7, 7, {1: 9.8, 60: 96.5}, conditions={"data": "a"}
)


def test_what_is_kept_is_found_as_it_was(tmp_path):
    record = Record(tmp_path)
    assert record.find(MEASURED.cell, MEASURED.conditions) is None
    record.keep(MEASURED)
    assert record.find(MEASURED.cell, MEASURED.conditions) == MEASURED
    assert Record(tmp_path, again=True).find(MEASURED.cell, MEASURED.conditions) is None


def test_other_conditions_are_another_measurement_and_lose_none(tmp_path):
    record = Record(tmp_path)
    record.keep(MEASURED)
    assert record.find(MEASURED.cell, {"data": "b"}) is None
    assert record.find(replace(MEASURED.cell, seed=0), MEASURED.conditions) is None
    record.keep(replace(MEASURED, seconds=9.0, conditions={"data": "b"}))
    assert record.find(MEASURED.cell, MEASURED.conditions) == MEASURED
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("content", ["", "[]", '{"cell": {}}', "null"])
def test_a_damaged_cell_is_named(content, tmp_path):
    record = Record(tmp_path)
    record.keep(MEASURED)
    (path,) = tmp_path.iterdir()
    path.write_text(content)
    with pytest.raises(DataError, match=path.name):
        record.find(MEASURED.cell, MEASURED.conditions)


def test_results_read_again_are_the_results(nengo_dl, data, tiny, tmp_path):
    from snnrepro.thesis import results as results_json

    results = reproduce.reproduce("quick", data, tmp_path, ("autoencoder",))
    results_json.write(results, tmp_path / "results.json")
    found = results_json.read(tmp_path)
    assert json.dumps(results_json.as_dict(found)) == json.dumps(results_json.as_dict(results))
    assert found.measured[1].ssim["original~keras"] != 0
