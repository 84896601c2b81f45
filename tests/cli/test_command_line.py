"""The command line: what it prints, writes and refuses."""

from __future__ import annotations

import contextlib
import json
import re
from importlib import import_module

import numpy as np
import pytest
from rich.console import Console

from snnrepro.thesis import cells
from tests.helpers.command_line import run_command
from tests.helpers.tiny_profile import TINY


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Ten patterns that a network learns in seconds, 300 training and 50 test images."""
    rng = np.random.RandomState(0)
    patterns = rng.randint(0, 256, (10, 28, 28))
    labels = np.arange(350) % 10
    images = np.clip(patterns[labels] + rng.normal(0, 20, (350, 28, 28)), 0, 255).astype(np.uint8)
    path = tmp_path_factory.mktemp("data") / "mnist.npz"
    np.savez(path, x_train=images[:300], y_train=labels[:300], x_test=images[300:], y_test=labels[300:])
    return path


@pytest.fixture(scope="module")
def reproduced(nengo_dl, digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cells, "PROFILES", TINY)
        patched.setattr(import_module("snnrepro.cli.reproduce"), "cells_progress", _noting)
        return run_command("reproduce", "dense", "--train", "--data", digits, "-o", folder), folder


TOLD: dict = {}
"""What the progress of the reproduction was told of each cell."""


@contextlib.contextmanager
def _noting(workloads):
    TOLD.update({cell: [] for model, workload in workloads.items() for cell in cells.cells(model, workload)})
    yield lambda cell, fraction: TOLD[cell].append(fraction)


def test_reproduce_prints_the_table_with_measured_beside_printed(reproduced):
    done, folder = reproduced
    # On fifty images only the times are judged, and times are not a test's to assert.
    passed = json.loads((folder / "results.json").read_text())["passed"]
    assert done.exit_code == (0 if passed else 1), done.output
    for text in ("97.02", "81.14", "93.61", "11.35", "not judged", "50 test", "failed", "synapse"):
        assert text in done.output


def test_of_every_cell_that_is_reproduced_progress_is_told_the_whole(reproduced):
    assert len(TOLD) > 5
    assert {cell: sum(told) for cell, told in TOLD.items()} == {cell: pytest.approx(1) for cell in TOLD}


def test_reproduce_writes_results_with_every_condition(reproduced, digits):
    import hashlib

    _, folder = reproduced
    results = json.loads((folder / "results.json").read_text())
    assert results["format"] == "snnrepro-results"
    assert results["data"] == {
        "source": "file mnist.npz",
        "sha256": hashlib.sha256(digits.read_bytes()).hexdigest(),
        "is_full_mnist": False,
        "n_train": 300,
        "n_test": 50,
    }
    assert results["environment"]["libraries"]["nengo-dl"]
    assert results["environment"]["cpu_cores"] >= 1
    assert results["environment"]["gpus"] is not None
    assert results["settings"]["epochs"] == 10
    assert results["models"]["dense"]["seeds"] == [0]
    assert results["models"]["dense"]["n_train"] == 300
    by_n = {
        line["row"]["n_steps"]: line["measured"] for line in results["lines"] if line["row"]["quantity"] == "accuracy"
    }
    assert by_n[1] == 10.0, "at n_steps 1 the answer is class 0, which 5 of the 50 images are"
    assert by_n[0] > 90
    assert by_n[60] > by_n[1]
    kept = [path for path in (folder / "models").glob("dense-seed0-keras-*") if path.stat().st_size > 100_000]
    assert sorted(path.suffix for path in kept) == [".npz", ".onnx"]


def test_a_check_of_the_folder_judges_it_again_and_measures_nothing(reproduced):
    done, folder = reproduced
    before = sorted((path, path.stat().st_mtime) for path in folder.rglob("*"))
    checked = run_command("reproduce", "--check", folder)
    assert checked.exit_code == done.exit_code
    assert checked.stdout.strip().endswith(done.stdout.strip().splitlines()[-1])
    assert sorted((path, path.stat().st_mtime) for path in folder.rglob("*")) == before


def test_a_check_believes_the_cells_and_not_the_verdicts(reproduced, tmp_path):
    _, folder = reproduced
    document = json.loads((folder / "results.json").read_text())
    document["data"].update(is_full_mnist=True, n_train=300)
    for one in document["measured"]:
        if one["cell"]["system"] == "nengo-dl" and "1" in one["accuracy"]:
            one["accuracy"]["1"], one["n_images"] = 9.81, 10_000
    document["passed"] = True
    (tmp_path / "results.json").write_text(json.dumps(document))
    done = run_command("reproduce", "--check", tmp_path)
    assert done.exit_code == 1
    failed = "failed: Dense network, accuracy, NengoDL, n=1: thesis 9.80 %, measured 9.81 %"
    assert failed in " ".join(done.stdout.split())


def test_the_verdict_comes_first_and_what_is_not_judged_is_one_line(root):
    done = run_command("reproduce", "--check", root / "benchmarks" / "reference")
    lines = done.stdout.splitlines()
    assert lines[1] == lines[-1] == "29 passed, 0 failed, 27 not judged"
    told = [line for line in lines if line.startswith("not judged: ")]
    assert len(told) == 1
    assert sum(map(int, re.findall(r"\((\d+)\)", told[0]))) == 27


def test_results_compared_with_themselves_agree(reproduced):
    _, folder = reproduced
    done = run_command("compare", folder, folder / "results.json", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["agrees"], found["conditions"]) == (True, {})
    assert {one["kind"] for one in found["differences"]} == {"accuracy", "seconds"}
    assert all(one["first"] == one["second"] for one in found["differences"])
    assert "0 differ" in run_command("compare", folder, folder).stdout


def test_a_comparison_names_what_differs_beyond_chance_and_exits_1(reproduced, tmp_path):
    _, folder = reproduced
    document = json.loads((folder / "results.json").read_text())
    document["environment"]["cpu"] = "another one"
    for one in document["measured"]:
        if one["cell"]["system"] == "keras" and one["accuracy"]:
            one["accuracy"]["0"] = 40.0
    (tmp_path / "results.json").write_text(json.dumps(document))
    done = run_command("compare", folder, tmp_path, "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert list(found["conditions"]) == ["cpu"]
    differing = [one for one in found["differences"] if one["agrees"] is False]
    assert [(one["kind"], one["second"]) for one in differing] == [("accuracy", 40.0)]
    assert differing[0]["cell"].startswith("dense: keras inference")
    text = run_command("compare", folder, tmp_path).stdout
    assert "another one" in text
    assert "1 differ" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("{", "not JSON"),
        ("{}", "not the results"),
        ('{"format": "snnrepro-results"}', "version"),
    ],
)
def test_results_that_cannot_be_read_are_one_line_and_exit_2(content, message, tmp_path):
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    for arguments in (["reproduce", "--check", tmp_path], ["compare", tmp_path, tmp_path], ["report", tmp_path]):
        done = run_command(*arguments)
        assert done.exit_code == 2, arguments
        assert len(done.stderr.splitlines()) == 1
    assert message in run_command("compare", tmp_path, tmp_path).stderr


def test_earlier_results_are_kept(tmp_path):
    from snnrepro.thesis import results as results_json

    path = tmp_path / "results.json"
    path.write_text('"the first"')

    class _Results:
        passed = True

    original = results_json.as_dict
    results_json.as_dict = lambda results: {"second": True}
    try:
        results_json.write(_Results(), path)
    finally:
        results_json.as_dict = original
    assert json.loads(path.read_text()) == {"second": True}
    assert {file.read_text() for file in tmp_path.glob("results-*.json")} == {'"the first"'}


REFUSED = {
    "missing file": (lambda folder: folder / "nowhere.npz", "no such file"),
    "truncated file": (lambda folder: _file(folder, b"PK\x03\x04 cut"), "not a readable npz"),
    "empty folder": (lambda folder: folder, "train-images-idx3-ubyte"),
    "wrong labels": (lambda folder: _npz(folder, labels=11), "must lie from 0 to 9"),
    "wrong shape": (lambda folder: _npz(folder, size=27), "(n_images, 28, 28)"),
    "too few images": (lambda folder: _npz(folder), "at least 128 training images"),
}


def _file(folder, content):
    path = folder / "mnist.npz"
    path.write_bytes(content)
    return path


def _npz(folder, labels=3, size=28):
    path = folder / "mnist.npz"
    x, y = np.zeros((20, size, size), np.uint8), np.full(20, labels)
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    return path


@pytest.mark.parametrize("fault", REFUSED)
def test_bad_input_is_one_line_exit_2_and_nothing_written(fault, tmp_path, request):
    if fault == "too few images":
        request.getfixturevalue("nengo_dl")
    given, message = REFUSED[fault]
    (tmp_path / "in").mkdir()
    done = run_command("reproduce", "dense", "--data", given(tmp_path / "in"), "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert message in done.stderr
    assert len([line for line in done.stderr.splitlines() if not line.startswith("data:")]) == 1
    assert done.stdout == ""
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_folder_that_cannot_be_written_is_said_before_the_work(digits, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = run_command("reproduce", "dense", "--data", digits, "-o", tmp_path / "file" / "out")
    assert done.exit_code == 2
    assert "nothing can be written there" in done.stderr


def test_progress_is_shown_on_a_terminal_and_not_in_a_pipe(monkeypatch):
    import functools
    import io

    printing = import_module("snnrepro.cli.print")
    workloads = cells.workloads("quick", ["dense"])
    for is_terminal in (True, False):
        output = io.StringIO()
        monkeypatch.setattr(printing, "Console", functools.partial(Console, file=output, force_terminal=is_terminal))
        with printing.cells_progress(workloads) as advance:
            assert (advance is not None) == is_terminal
            for cell in cells.cells("dense", workloads["dense"]) if is_terminal else ():
                advance(cell, 0.5)
                advance(cell, 0.5)
        assert ("dense: converted by thesis" in output.getvalue()) == is_terminal


@pytest.mark.parametrize("arguments", [["reproduce", "vgg"], ["reproduce", "dense", "--profile", "slow"], ["nothing"]])
def test_an_unknown_word_is_exit_2(arguments):
    done = run_command(*arguments)
    assert done.exit_code == 2
    assert "Traceback" not in done.output


@pytest.fixture
def model(root):
    return root / "tests" / "data" / "models" / "mlp-torchscript.onnx"


@pytest.fixture
def images(root, tmp_path):
    x = np.load(root / "tests" / "data" / "models" / "mlp.npz")["x"]
    np.savez(tmp_path / "images.npz", x=x)
    return tmp_path / "images.npz"


def test_inspect_shows_every_layer_with_its_parameters(model):
    import snnrepro

    network = snnrepro.load(model)
    done = run_command("inspect", model, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [layer["name"] for layer in found["layers"]] == [node.name for node in network.nodes]
    dense = [node.layer for node in network.nodes if type(node.layer).__name__ == "Dense"]
    assert found["parameters"] == sum(layer.weights.size + layer.bias.size for layer in dense) > 0
    assert "every node can be converted" in run_command("inspect", model).stdout


def test_inspect_names_every_node_in_the_way_and_exits_1(tmp_path):
    import onnx
    from onnx import helper, numpy_helper

    from tests.helpers.strategies import model_proto

    nodes = [
        helper.make_node("Round", ["input"], ["a"], name="first"),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"], name="fine"),
        helper.make_node("Round", ["c"], ["d"], name="second"),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("MatMul", ["e", "w"], ["y"]),
    ]
    weights = [numpy_helper.from_array(np.eye(3, dtype=np.float32), "w")]
    onnx.save(model_proto(nodes, weights, "input", (3,), "y"), str(tmp_path / "round.onnx"))
    done = run_command("inspect", tmp_path / "round.onnx")
    assert done.exit_code == 1
    assert "Round 'first'" in done.stdout
    assert "Round 'second'" in done.stdout
    assert "'fine'" not in done.stdout
    found = json.loads(run_command("inspect", tmp_path / "round.onnx", "--json").stdout)
    assert (found["convertible"], len(found["problems"])) == (False, 2)


def test_verify_compares_every_layer(model, images):
    done = run_command("verify", model, images, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["passed"] is True
    assert {one["hop"] for one in found["comparisons"]} == {"onnxruntime = forward", "forward = npz round trip"}
    assert "comparisons agree" in run_command("verify", model, images).stdout


def test_verify_names_the_first_layer_that_differs_and_exits_1(model, images, monkeypatch):
    from snnrepro.network.layers import Dense

    original = Dense.__call__
    monkeypatch.setattr(Dense, "__call__", lambda layer, x: original(layer, x) + np.float32(0.5))
    done = run_command("verify", model, images)
    assert done.exit_code == 1
    assert "the first difference: " in done.stdout


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_a_model_that_cannot_be_read_is_one_line_and_exit_2(command, images, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    for path in (tmp_path / "broken.onnx", tmp_path / "nowhere.onnx"):
        done = run_command(command, path, *([images] if command == "verify" else []))
        assert (done.exit_code, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [({"z": np.ones((2, 3))}, "it holds z, and none of x, y,"), ({"x": np.ones(3)}, r"\(n_images, ...\)")],
)
def test_data_without_images_are_refused(model, tmp_path, content, message):
    np.savez(tmp_path / "data.npz", **content)
    done = run_command("verify", model, tmp_path / "data.npz")
    assert done.exit_code == 2
    assert re.search(message, done.stderr)


def test_doctor_says_that_nengo_dl_works(nengo_dl):
    done = run_command("doctor")
    assert done.exit_code == 0
    assert "NengoDL works" in done.output
    found = json.loads(run_command("doctor", "--json").stdout)
    assert found["nengo_dl_works"] is True
    assert found["libraries"]["nengo"]


def test_doctor_says_what_is_missing(monkeypatch):
    from snnrepro.errors import DependencyError
    from snnrepro.frameworks import nengo_dl as loader

    def missing():
        raise DependencyError("nengo_dl is not installed; run: pip install nengo-dl")

    monkeypatch.setattr(loader, "import_nengo_dl", missing)
    done = run_command("doctor")
    assert done.exit_code == 1
    assert "NengoDL cannot be used: nengo_dl is not installed; run: pip install nengo-dl" in done.output


@pytest.mark.parametrize("command", ["reproduce", "inspect", "verify", "doctor"])
def test_help_has_an_example(command):
    done = run_command(command, "--help")
    assert done.exit_code == 0
    assert f"Example: snnrepro {command}" in done.output
