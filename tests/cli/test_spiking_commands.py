"""The commands convert, run and verify with spikes: from a model file to an accuracy, and what they refuse."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest

import snnrepro
from snnrepro.cli import main
from snnrepro.metrics import accuracy
from tests.helpers.command_line import run_command


@pytest.fixture(scope="module")
def model(root):
    return root / "tests" / "data" / "models" / "cnn-torchscript.onnx"


@pytest.fixture(scope="module")
def data(root, model, tmp_path_factory):
    """Images with the labels that the model gives them, but every fourth."""
    network = snnrepro.load(model)
    x = np.random.RandomState(0).rand(40, *network.input_shape).astype(np.float32)
    y = network.forward(x).reshape(40, -1).argmax(axis=1)
    y[::4] += 1
    folder = tmp_path_factory.mktemp("data")
    np.savez(folder / "data.npz", x=x, y=y)
    np.savez(folder / "unlabelled.npz", x=x)
    return folder / "data.npz"


@pytest.fixture(scope="module")
def spiking(model, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("spiking") / "spiking.npz"
    done = run_command("convert", model, "-o", path, "--calibration", data, "--n-steps", "32")
    assert done.exit_code == 0, done.output
    return path


def test_convert_says_what_it_chose_and_writes_what_can_be_run(model, data, tmp_path):
    done = run_command("convert", model, "-o", tmp_path / "s.npz", "--calibration", data, "--n-steps", "7", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["recipe"], said["n_steps"], said["calibration_images"]) == ("balanced", 7, 40)
    network = snnrepro.load_spiking(tmp_path / "s.npz")
    assert network.n_steps == 7
    x = np.load(data)["x"]
    converted = snnrepro.convert(snnrepro.load(model), "balanced", x, 7)
    np.testing.assert_array_equal(network.run(x).scores, converted.run(x).scores)


def test_convert_finds_the_steps_for_a_loss(model, data, tmp_path):
    unlabelled = data.with_name("unlabelled.npz")
    done = run_command("convert", model, "-o", tmp_path / "s.npz", "--calibration", unlabelled, "--max-loss", "10")
    assert done.exit_code == 0, done.output
    assert "max loss: 10" in done.stdout
    assert "points of answers that differ: " in done.stdout


def test_run_gives_the_accuracy_with_its_interval(spiking, data):
    done = run_command("run", spiking, data, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    run = snnrepro.load_spiking(spiking).run(np.load(data)["x"])
    right = int(np.sum(run.predictions == np.load(data)["y"]))
    assert found["accuracy"]["percent"] == pytest.approx(100 * right / 40)
    assert found["accuracy"]["low"] < found["accuracy"]["percent"] < found["accuracy"]["high"]
    assert (found["n_images"], found["n_steps"]) == (40, 32)
    assert found["synaptic_operations_per_image"] == pytest.approx(run.synaptic_operations.mean())
    text = run_command("run", spiking, data).stdout
    assert "40 images, 32 steps, sparsity" in text
    assert "95 % interval" in text


def test_run_without_labels_gives_no_accuracy(spiking, data):
    done = run_command("run", spiking, data.with_name("unlabelled.npz"), "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["accuracy"] is None


def test_run_writes_scores_and_counts(spiking, data, tmp_path):
    done = run_command("run", spiking, data, "-o", tmp_path / "run.npz", "--n-steps", "9", "--simulator", "plain")
    assert done.exit_code == 0, done.output
    run = snnrepro.load_spiking(spiking).run(np.load(data)["x"], 9, "plain")
    with np.load(tmp_path / "run.npz") as written:
        np.testing.assert_array_equal(written["scores"], run.scores)
        np.testing.assert_array_equal(written["predictions"], run.predictions)
        counts = [written[name] for name in written.files if name.startswith("spike_counts")]
    assert len(counts) == len(run.spike_counts)
    assert sum(int(values.sum()) for values in counts) == sum(int(v.sum()) for v in run.spike_counts.values()) > 0


def test_verify_with_a_recipe_adds_the_hops_to_rates_and_spikes(model, data):
    done = run_command("verify", model, data, "--recipe", "balanced", "--n-steps", "32", "--json")
    assert done.exit_code == 0, done.output
    hops = [one["hop"] for one in json.loads(done.stdout)["comparisons"]]
    assert hops.count("forward ~ rates") == hops.count("forward ~ spikes") > 1


def test_verify_names_the_population_whose_spikes_mean_something_else(model, data):
    """The thesis's neurons at few steps: their spikes do not follow their rates."""
    done = run_command("verify", model, data, "--recipe", "thesis", "--n-steps", "4", "--images", "20")
    assert done.exit_code == 1
    assert "the first difference: " in done.stdout


def test_inspect_refuses_a_softmax_before_neurons(tmp_path):
    import onnx
    from onnx import helper

    from tests.helpers.strategies import model_proto

    nodes = [
        helper.make_node("Softmax", ["input"], ["a"], name="early"),
        helper.make_node("Relu", ["a"], ["y"], name="late"),
    ]
    onnx.save(model_proto(nodes, [], "input", (3,), "y"), str(tmp_path / "early.onnx"))
    done = run_command("inspect", tmp_path / "early.onnx")
    assert done.exit_code == 1
    assert "Softmax" in done.stdout
    assert "stands behind it" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["convert", "MODEL", "-o", "s.npz"], "needs calibration images"),
        (["convert", "MODEL", "-o", "s.npz", "--calibration", "nowhere.npz"], "no such file"),
        (["convert", "MODEL", "-o", "s.npz", "--n-steps", "3", "--max-loss", "1"], "not both"),
        (["run", "MODEL", "DATA"], "not a readable npz archive"),
        (["run", "DATA", "DATA"], "this is not an archive that snnrepro wrote"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(model, data, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = run_command(*({"MODEL": model, "DATA": data}.get(word, word) for word in arguments))
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "s.npz").exists()


def test_labels_that_do_not_fit_are_refused(spiking, data, tmp_path):
    np.savez(tmp_path / "wrong.npz", x=np.load(data)["x"], y=np.zeros(3, int))
    done = run_command("run", spiking, tmp_path / "wrong.npz")
    assert done.exit_code == 2
    assert "it has 40 images and 3 labels" in done.stderr


def test_run_can_stop_images_early_and_says_after_how_many_steps(spiking, data):
    whole = json.loads(run_command("run", spiking, data, "--json").stdout)
    assert whole["mean_steps"] == whole["n_steps"] == 32
    certain = json.loads(run_command("run", spiking, data, "--early-exit", "certain", "--json").stdout)
    assert certain["accuracy"] == whole["accuracy"]
    done = run_command("run", spiking, data, "--early-exit", "1e-3", "--json")
    assert done.exit_code == 0, done.output
    assert 1 <= json.loads(done.stdout)["mean_steps"] < 32
    assert "32 steps at most, " in run_command("run", spiking, data, "--early-exit", "1e-3").stdout
    refused = run_command("run", spiking, data, "--early-exit", "soon")
    assert refused.exit_code == 2
    assert "neither 'certain' nor a number" in refused.stderr


@pytest.mark.parametrize(
    ("command", "function", "names"),
    [
        ("convert", snnrepro.convert, ["recipe", "seed"]),
        ("run", snnrepro.SpikingNetwork.run, ["simulator"]),
    ],
)
def test_the_defaults_are_those_of_python(command, function, names):
    options = {option.name: option.default for option in main.commands[command].params}
    defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
    assert {name: options[name] for name in names} == {name: defaults[name] for name in names}


@pytest.mark.parametrize("command", ["convert", "run", "verify"])
def test_help_has_an_example(command):
    done = run_command(command, "--help")
    assert done.exit_code == 0
    assert f"Example: snnrepro {command}" in done.output


def test_the_interval_is_wilsons():
    """The oracle: the closed formula of Wilson (1927)."""
    found = accuracy(np.array([1] * 93 + [0] * 7), np.ones(100, int))
    z, n, p = 1.959963984540054, 100, 0.93
    centre, half = (
        (p + z * z / (2 * n)) / (1 + z * z / n),
        z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n),
    )
    assert (found.percent, found.n_images) == (93.0, 100)
    assert (found.low, found.high) == pytest.approx((100 * (centre - half), 100 * (centre + half)))
    with pytest.raises(snnrepro.DataError, match="equally many"):
        accuracy(np.zeros(2), np.zeros(3))


def test_structural_similarity_is_1_for_equal_images_and_that_of_the_formula():
    """The oracle: the formula on images of one window, 7 x 7, with unbiased variances."""
    pytest.importorskip("skimage", reason="scikit-image is not installed (extra: images)")
    from snnrepro.metrics import ssim

    rng = np.random.RandomState(0)
    a, b = rng.rand(3, 7, 7), rng.rand(3, 7, 7)
    expected = []
    for one, other in zip(a, b):
        covariance = np.cov(one.ravel(), other.ravel())
        luminance = (2 * one.mean() * other.mean() + 1e-4) / (one.mean() ** 2 + other.mean() ** 2 + 1e-4)
        structure = (2 * covariance[0, 1] + 9e-4) / (covariance[0, 0] + covariance[1, 1] + 9e-4)
        expected.append(luminance * structure)
    np.testing.assert_allclose(ssim(a, b), expected, rtol=1e-6)
    assert np.abs(expected).max() < 0.5
    np.testing.assert_allclose(ssim(a[..., np.newaxis], a[..., np.newaxis]), 1.0)
    with pytest.raises(snnrepro.DataError, match="equal shape"):
        ssim(a, b[:2])
