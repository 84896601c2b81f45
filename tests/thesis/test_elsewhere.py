"""A reproduction whose cells are measured by an executor's workers gives the figures of one that is measured here."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, replace

import numpy as np
import pytest

from snnrepro.datasets import load_mnist
from snnrepro.errors import SnnReproError
from snnrepro.thesis import cells, elsewhere, reproduce
from snnrepro.thesis.cells import Cell, Measured
from snnrepro.thesis.elsewhere import trains_for
from tests.helpers.dask_cluster import cluster_of
from tests.helpers.tiny_profile import TINY

OTHER_ORDER = 1e-5
"""Keras sums in another order on another number of threads: float32 of some layers, over numbers of about 1."""

TIMES = ("seconds", "cpu_seconds", "spread", "pace", "inference")


@pytest.fixture
def drawn(tmp_path):
    """The path of ten patterns in noise, 128 training and 20 test images."""
    rng = np.random.RandomState(0)
    labels = np.arange(148) % 10
    images = np.clip(rng.randint(0, 256, (10, 28, 28))[labels] + rng.normal(0, 20, (148, 28, 28)), 0, 255)
    images = images.astype(np.uint8)
    parts = {"x_train": images[:128], "y_train": labels[:128], "x_test": images[128:], "y_test": labels[128:]}
    np.savez(tmp_path / "drawn.npz", **parts)
    return tmp_path / "drawn.npz"


@pytest.fixture
def tiny(monkeypatch):
    """The dense network and the autoencoder, in seconds."""
    pytest.importorskip("skimage", reason="scikit-image is not installed (extra: images)")
    monkeypatch.setattr(cells, "PROFILES", TINY)
    return ("dense", "autoencoder")


def _twice_the_same():
    """Return the systems that, trained twice with one seed, give the same network on this stack.

    With TensorFlow 2.4 NengoDL gives one of two, on one machine in one process (measured; 2.6 and later: the same).
    """
    import tensorflow as tf

    old = tuple(int(part) for part in tf.__version__.split(".")[:2]) < (2, 6)
    return {"keras", "converted"} if old else {"keras", "converted", "nengo-dl"}


def _figures(results):
    measured = [one for one in results.measured if one.cell.system in _twice_the_same()]
    return [{name: value for name, value in asdict(one).items() if name not in TIMES} for one in measured]


class StoppedError(Exception):
    pass


def _goes_the_same_way(executor, drawn, tiny, tmp_path):
    """Compare with a reproduction here; stop one in the middle, and go on."""
    data = load_mnist(drawn)
    here = reproduce.reproduce("quick", data, tmp_path / "here", tiny)
    there, finished = tmp_path / "there", []

    def stop(cell, fraction):
        finished.append(cell)
        if len(finished) == 4:
            raise StoppedError

    with pytest.raises(StoppedError):
        reproduce.reproduce("quick", data, there, tiny, progress=stop, executor=executor, source=str(drawn))
    kept = {path: path.stat().st_mtime_ns for path in (there / "cells").iterdir()}
    assert len(kept) == 4
    assert {cell.quantity for cell in finished} >= {"training"}
    results = reproduce.reproduce("quick", data, there, tiny, executor=executor, source=str(drawn))
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # nothing was measured twice
    for got, wanted in zip(_figures(results), _figures(here)):
        assert got.pop("ssim") == pytest.approx(wanted.pop("ssim"), abs=OTHER_ORDER)  # 1 is the same image
        assert got == wanted
    assert {p.name for p in (there / "models").iterdir()} == {p.name for p in (tmp_path / "here" / "models").iterdir()}
    with np.load(there / "samples.npz") as got, np.load(tmp_path / "here" / "samples.npz") as wanted:
        assert got.files == wanted.files
        for name in wanted.files:
            np.testing.assert_allclose(got[name], wanted[name], rtol=OTHER_ORDER, atol=OTHER_ORDER)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="Dask is not installed")
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets of Dask that the other side has closed
def test_a_cluster_measures_what_this_process_measures(nengo_dl, drawn, tiny, tmp_path):
    from snnrepro.frameworks.dask import cluster

    with cluster_of(tmp_path, 2) as started, cluster(started.address) as executor:
        _goes_the_same_way(executor, drawn, tiny, tmp_path)


@pytest.mark.slow
def test_processes_measure_what_this_process_measures(nengo_dl, drawn, tiny, tmp_path):
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        _goes_the_same_way(executor, drawn, tiny, tmp_path)


KERAS, NENGO_DL = Cell("dense", "keras", "training", 0), Cell("dense", "nengo-dl", "training", 0, 15)


@pytest.mark.parametrize(
    ("cell", "training"),
    [
        (Cell("dense", "keras", "inference", 0), KERAS),
        (Cell("dense", "converted", "inference", 0, 4, "balanced"), KERAS),
        (Cell("dense", "nengo-dl", "inference", 0, 60), NENGO_DL),
        (Cell("dense", "nengo-dl", "pace", 0, 60), NENGO_DL),
        (KERAS, None),
        (NENGO_DL, None),
    ],
)
def test_a_cell_waits_for_the_training_of_its_own_network_alone(cell, training):
    quick, reference = cells.PROFILES["quick"]["dense"], cells.PROFILES["reference"]["dense"]
    others = [KERAS, NENGO_DL, replace(KERAS, seed=1), replace(NENGO_DL, model="cnn"), cell]
    assert [other for other in others if trains_for(other, cell, quick)] == ([training] if training else [])
    assert not any(trains_for(other, cell, reference) for other in others)


class Recorded:
    """An executor that measures nothing and answers when it is told, and keeps what was sent."""

    def __init__(self):
        self.sent = []

    def submit(self, function, place, *arguments):
        future = Future()
        if function is elsewhere._about:
            found = tuple(cells.cells(place.model, place.workload))
            future.set_result(elsewhere.About({}, found, tuple({"cell": cell.name} for cell in found), {}))
        elif function is elsewhere._measure:
            cell, files = arguments
            made = {f"{cell.model}-seed{cell.seed}-{cell.system}-x.npz": b"w"} if cell.quantity == "training" else {}
            self.sent.append((cell, sorted(files)))
            future.set_result((Measured(cell, 1.0, conditions={"cell": cell.name}), made))
        else:
            future.set_result(({}, {}))
        return future


@pytest.mark.parametrize("again", [False, True])
def test_what_is_trained_goes_to_the_cells_that_need_it(tiny, tmp_path, again):
    from snnrepro.thesis.record import Record

    recorded = Recorded()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "dense-seed0-keras-old.npz").write_bytes(b"old")
    workers = elsewhere.Elsewhere(recorded, tmp_path / "models", Record(tmp_path / "cells", again))
    place = elsewhere.Place("dense", TINY["quick"]["dense"], None, "", None, "run")
    about = workers.about(place)
    found = workers.measure({"dense": (place, about)}, lambda cell, fraction: None)
    assert set(found) == set(about.cells)
    old = [] if again else ["dense-seed0-keras-old.npz"]
    for cell, files in recorded.sent:
        if cell.quantity != "training":
            assert f"dense-seed0-{'nengo-dl' if cell.system == 'nengo-dl' else 'keras'}-x.npz" in files
            assert files[: len(old)] == old
        assert again is not ("dense-seed0-keras-old.npz" in files)
    n_cells = len(recorded.sent)
    workers.measure({"dense": (place, about)}, lambda cell, fraction: None)
    assert len(recorded.sent) == (2 * n_cells if again else n_cells)


def test_other_data_on_a_worker_are_refused(drawn, monkeypatch):
    place = elsewhere.Place("dense", TINY["quick"]["dense"], str(drawn), "another", None, "run")
    with pytest.raises(SnnReproError, match=r"a worker's file drawn\.npz is not the data that are asked for"):
        elsewhere._experiment(place)


def test_the_environment_in_the_results_is_that_of_a_worker(tiny, drawn, tmp_path, monkeypatch):
    from snnrepro.thesis import samples

    monkeypatch.setattr(samples, "write", lambda *_: None)
    kept = {}
    monkeypatch.setattr(reproduce, "collect", lambda *arguments: kept.update(found=arguments))
    reproduce.reproduce("quick", load_mnist(drawn), tmp_path, ("dense",), executor=Recorded())
    assert kept["found"][3] == {}
    assert json.dumps([asdict(one) for one in kept["found"][4]])
