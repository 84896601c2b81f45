"""The reference networks are those of a full training, and a reproduction of them trains nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from snnrepro.cli import main
from snnrepro.datasets import pixels
from snnrepro.errors import DataError
from snnrepro.files import sha256_of
from snnrepro.readers.load import load
from snnrepro.report.conditions import what_was_run
from snnrepro.thesis import cells, experiment, networks, reproduce
from snnrepro.thesis.cells import MODELS, PROFILES, Cell, Measured
from snnrepro.thesis.experiment import Experiment
from snnrepro.thesis.models import keras_model, set_weights
from snnrepro.thesis.tables import figures, model_settings, settings

RECORD = json.loads(networks.RECORD.read_text(encoding="utf-8"))
TRAININGS = [Measured.of(entry) for entry in RECORD["trainings"]]
REFERENCE = PROFILES["reference"]


def test_there_is_a_network_for_every_seed_of_the_profile():
    wanted = set()
    for model, workload in REFERENCE.items():
        systems = ("keras", "nengo-dl") if workload.nengo_dl.n_simulated else ("keras",)
        wanted |= {(model, seed, system) for seed in workload.seeds for system in systems}
    assert wanted == {(one.cell.model, one.cell.seed, one.cell.system) for one in TRAININGS}
    names = {networks.name_of(*of) for of in wanted}
    assert names == set(RECORD["sha256"]) == {path.name for path in networks.REFERENCE.glob("*.npz")}


@pytest.mark.parametrize("training", TRAININGS, ids=lambda one: one.cell.name)
def test_each_was_trained_in_full_on_mnist(training, data):
    of, cell = training.conditions, training.cell
    assert of["data"] == data.sha256
    assert (of["n_train"], of["epochs"], of["gpus"]) == (60_000, settings()["epochs"], [])
    assert of["sizes"] == model_settings(cell.model)
    assert training.seconds > 1
    assert of["libraries"]["tensorflow"]
    name = networks.name_of(cell.model, cell.seed, cell.system)
    assert sha256_of(networks.REFERENCE / name) == RECORD["sha256"][name]


def test_the_header_says_when_and_where_they_were_trained():
    assert networks.origin().startswith(f"the reference ones inside snnrepro, trained {RECORD['trained']} on ")


@pytest.mark.parametrize(("system", "row"), [("keras", 0), ("nengo-dl", 60)])
@pytest.mark.parametrize("model", ["dense", "cnn"])
def test_their_answers_are_as_good_as_the_thesis_says(model, system, row, data):
    """Within twenty points of the printed row on 200 images: none was mixed up with another or left untrained."""
    x, labels = pixels(data.x_test[:200]), data.y_test[:200]
    (printed,) = [one for one in figures(model) if (one.quantity, one.system, one.n_steps) == ("accuracy", system, row)]
    answers = set()
    for seed in REFERENCE[model].seeds:
        path = networks.REFERENCE / networks.name_of(model, seed, system)
        if system == "keras":
            predictions = load(path).forward(x).argmax(axis=1)
        else:
            predictions = networks.load_spiking(path).run(x, row).predictions
        assert abs(100 * (predictions == labels).mean() - printed.value) < 20  # one of the ten CNNs is 14 below
        answers.add(predictions.tobytes())
    assert len(answers) == len(REFERENCE[model].seeds), "two seeds are the same network"


@pytest.mark.parametrize("model", MODELS)
def test_keras_answers_as_the_network_whose_weights_it_was_given(tf, model):
    other = keras_model(model, seed=1)
    network = load(keras_model(model, seed=0))
    x = np.random.RandomState(0).rand(3, 28, 28, 1).astype(np.float32)
    assert not np.allclose(other.predict(x, verbose=0), network.forward(x), atol=1e-3)
    np.testing.assert_allclose(set_weights(other, network).predict(x, verbose=0), network.forward(x), atol=1e-5)


def test_a_network_that_is_not_the_recorded_one_is_refused(tmp_path, monkeypatch):
    for name in [*RECORD["sha256"], networks.RECORD.name]:
        shutil.copy(networks.REFERENCE / name, tmp_path)
    shutil.copy(tmp_path / "dense-seed1-keras.npz", tmp_path / "dense-seed0-keras.npz")
    monkeypatch.setattr(networks, "REFERENCE", tmp_path)
    networks.origin.cache_clear()
    with pytest.raises(DataError, match=r"dense-seed0-keras\.npz: not the network that trainings\.json names"):
        networks.origin()


@pytest.fixture
def small(monkeypatch):
    """The reference profile with two seeds and few images."""
    simulated = replace(REFERENCE["dense"].nengo_dl, n_simulated=20, minibatch=10, pace_rounds=2, merge=False)
    dense = replace(REFERENCE["dense"], n_steps=(4,), seeds=(0, 1), n_test=100, n_lif=50, nengo_dl=simulated)
    profile = {"dense": dense, "autoencoder": replace(REFERENCE["autoencoder"], n_test=10, n_steps=(4,))}
    monkeypatch.setattr(cells, "PROFILES", {"reference": profile})
    monkeypatch.setattr("snnrepro.thesis.experiment.MOST_IMAGES", 200)
    monkeypatch.setattr("snnrepro.thesis.experiment.TIMED_IMAGES", 256)
    monkeypatch.setattr("snnrepro.thesis.experiment.TIMED_EPOCHS", 2)
    return profile


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def folder(models, tmp_path):
    """A new folder for results, but for the networks: what one test has fitted is found by the next."""
    (tmp_path / "models").symlink_to(models)
    return tmp_path


def test_a_reproduction_of_the_reference_judges_every_accuracy_and_keeps_no_training(nengo_dl, small, folder, data):
    pytest.importorskip("skimage", reason="scikit-image is not installed (extra: images)")
    results = reproduce.reproduce("reference", data, folder, tuple(small))
    of_accuracy = [one.verdict for one in results.comparisons if one.printed.unit in ("%", "points")]
    assert len(of_accuracy) == 7
    assert all(verdict.outcome == "pass" for verdict in of_accuracy), of_accuracy
    trends = {one.trend.quantity: one for one in results.trends if one.trend.model == "dense"}
    assert trends["agreement"].statistic == 1.0
    assert trends["training_ratio"].statistic > 0
    kept = {path.name.rpartition("-")[0] for path in (folder / "models").iterdir()}
    assert kept >= {f"{model}-seed0-{recipe}-n4" for model, load in small.items() for recipe in load.recipes}
    assert not [name for name in kept if name.endswith(("-keras", "-nengo-dl"))], "a training was kept"
    assert "Trained networks: the reference ones inside snnrepro, trained" in what_was_run(results)
    seconds = {one.printed.n_steps: one.measured for one in results.comparisons if one.printed.quantity == "inference"}
    assert all(value is not None and value > 0 for value in seconds.values()), "timed by the pace"


def test_without_nengo_dl_what_needs_it_is_left_out(tf, small, folder, data, monkeypatch):
    monkeypatch.setattr(experiment, "missing_packages", lambda: ["nengo_dl"])
    results = reproduce.reproduce("reference", data, folder, ("dense",))
    measured = {(one.cell.system, one.cell.quantity) for one in results.measured}
    assert ("nengo-dl", "accuracy") in measured
    assert not measured & {("nengo-dl", quantity) for quantity in ("pace", "agreement", "training")}
    of_accuracy = [one.verdict.outcome for one in results.comparisons if one.printed.unit in ("%", "points")]
    assert of_accuracy == ["pass"] * 7


def test_more_reference_networks_than_there_are_and_other_strides_are_refused(tf, tmp_path, data):
    assert {model: load.seeds for model, load in cells.workloads("reference", n_seeds=2).items()} == {
        "dense": (0, 1),
        "cnn": (0, 1),
        "autoencoder": (0,),
    }
    with pytest.raises(DataError, match="there are 5 reference networks, not 6; train others with --train"):
        cells.workloads("reference", n_seeds=6)
    with pytest.raises(DataError, match=r"strides \[1, 2, 2\]; train others with --train"):
        Experiment("cnn", REFERENCE["cnn"], data, tmp_path, strides=[1, 1, 2])


@pytest.mark.parametrize(
    ("arguments", "profile"),
    [
        ([], "reference"),
        (["--train"], "quick"),
        (["--train", "--profile", "thesis"], "thesis"),
        (["--profile", "thesis"], "thesis"),
    ],
)
def test_the_command_evaluates_the_reference_networks_unless_told_to_train(arguments, profile, tmp_path, monkeypatch):
    asked = []

    def stop(name, *rest):
        asked.append(name)
        raise DataError("stopped")

    monkeypatch.setattr(reproduce, "reproduce", stop)
    with pytest.raises(SystemExit):
        main(["reproduce", *arguments, "-o", str(tmp_path)])
    assert asked == [profile]


def test_a_training_that_is_only_timed_is_scaled_to_the_whole(tf, data):
    workload = replace(REFERENCE["dense"], epochs=1000)
    experiment = Experiment("dense", workload, data, None)
    short = Experiment("dense", replace(workload, epochs=10), data, None)
    cell = Cell("dense", "keras", "training", 0)
    ratio = experiment.measure(cell).seconds / short.measure(cell).seconds
    assert 20 < ratio < 500, "100 times the epochs"
