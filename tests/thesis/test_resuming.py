"""A reproduction that was stopped goes on where it stopped, and measures nothing twice unless asked."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from snnrepro.datasets import Dataset
from snnrepro.errors import DataError
from snnrepro.thesis import cells, reproduce
from snnrepro.thesis import results as results_json
from snnrepro.thesis.cells import Cell, Measured
from snnrepro.thesis.experiment import Experiment
from snnrepro.thesis.record import Record
from snnrepro.thesis.results import Results
from tests.helpers.tiny_profile import TINY


@pytest.fixture(scope="module")
def data():
    """Ten patterns in noise, 128 training and 20 test images."""
    rng = np.random.RandomState(0)
    labels = np.arange(148) % 10
    images = np.clip(rng.randint(0, 256, (10, 28, 28))[labels] + rng.normal(0, 20, (148, 28, 28)), 0, 255)
    images = images.astype(np.uint8)
    return Dataset(images[:128], labels[:128], images[128:], labels[128:], "drawn", "of-these-arrays", False)


@dataclass(frozen=True)
class Reproduced:
    """What a reproduction gave, and which cells it measured for that, in order."""

    results: Results
    measured: tuple[Cell, ...]


@dataclass(frozen=True)
class Runs:
    """Reproductions of the dense network and the autoencoder, in seconds, one after the other in one folder."""

    folder: Path
    dense: Experiment
    stopped: tuple[Cell, ...]
    finished: Reproduced
    again: Reproduced
    samples: dict[str, np.ndarray]
    asked: Reproduced


class StoppedError(Exception):
    pass


@pytest.fixture(scope="module")
def runs(nengo_dl, data, tmp_path_factory):
    """One that is stopped, the same gone on with, the same again, and the autoencoder's asked for anew."""
    pytest.importorskip("skimage", reason="scikit-image is not installed (extra: images)")
    folder, models = tmp_path_factory.mktemp("reproduced"), ("dense", "autoencoder")
    experiments, counted, measure = [], [], Experiment.measure

    def counting(self, cell, progress=None):
        experiments.append(self)
        counted.append(cell)
        return measure(self, cell, progress)

    def stop(cell, fraction):
        if (cell.system, cell.quantity, cell.n_steps) == ("nengo-dl", "inference", 30):
            raise StoppedError

    def reproduced(models, again=False):
        del counted[:]
        return Reproduced(reproduce.reproduce("quick", data, folder, models, again=again), tuple(counted))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cells, "PROFILES", TINY)
        patched.setattr(Experiment, "measure", counting)
        with pytest.raises(StoppedError):
            reproduce.reproduce("quick", data, folder, models, progress=stop)
        stopped = tuple(counted)
        finished, again = reproduced(models), reproduced(models)
        with np.load(folder / "samples.npz") as samples:
            kept = dict(samples)
        asked = reproduced(("autoencoder",), again=True)
    return Runs(folder, experiments[0], stopped, finished, again, kept, asked)


def test_a_stopped_reproduction_goes_on_where_it_stopped(runs):
    assert len(runs.stopped) > 4, "it was stopped before there was anything to keep"
    plan = [one.cell for one in runs.finished.results.measured]
    assert [*runs.stopped[:-1], *runs.finished.measured] == plan  # the one it was stopped in is measured once more
    assert runs.again.measured == ()
    assert runs.again.results.measured == runs.finished.results.measured
    assert runs.samples["dense.balanced.raster.relu1"].max() == 1
    assert runs.samples["autoencoder.images.balanced"].shape == (8, 28, 28)
    assert list(runs.asked.measured) == [one.cell for one in runs.asked.results.measured]


def test_the_same_seed_answers_the_same_after_a_restart(runs, data):
    """Keras's network is trained once; another process finds its weights, and what is converted from them."""
    workload, folder = TINY["quick"]["dense"], runs.folder / "models"
    first = runs.dense  # it has trained the networks
    wanted = first.answers(0)
    second = Experiment("dense", workload, data, folder)
    np.testing.assert_array_equal(second.answers(0), wanted)
    cell = Cell("dense", "converted", "inference", 0, 4, "balanced")
    x = second.test_images(20)
    np.testing.assert_array_equal(first.spiking(cell).run(x).scores, second.spiking(cell).run(x).scores)
    trained = first.networks.spiking(0)
    found = Experiment("dense", workload, data, folder).networks.spiking(0)
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


def test_results_read_again_are_the_results(runs, tmp_path):
    results = runs.asked.results
    results_json.write(results, tmp_path / "results.json")
    found = results_json.read(tmp_path)
    assert json.dumps(results_json.as_dict(found)) == json.dumps(results_json.as_dict(results))
    assert found.measured[1].ssim["original~keras"] != 0
