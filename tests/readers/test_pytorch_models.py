"""Models that PyTorch exported, by its older route (TorchScript) and by its present one (dynamo), answer as in PyTorch.

``tests/helpers/make_models.py`` made them; PyTorch itself is not needed here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import snnrepro

FOLDER = Path(__file__).parent.parent / "data" / "models"
MODELS = ("mlp", "cnn", "residual", "decoder", "shuffle")
ROUTES = ("torchscript", "dynamo")

TOLERANCE = 1e-5
"""Relative to the largest number of the answer: float32 sums in another order."""

ONNXRUNTIME_FOR = {12: (1, 3), 20: (1, 18)}
"""The first onnxruntime that runs a file of an operator set (for 20: with IR version 10, which PyTorch writes)."""


def relative_error(answers, wanted):
    """Return the largest difference relative to the largest number; answers must vary from image to image."""
    assert answers.shape == wanted.shape
    largest = np.abs(wanted).max()
    assert np.ptp(wanted, axis=0).max() > 1e-2 * largest, "every image has the same answer"
    return np.abs(answers - wanted).max() / largest


def test_every_model_is_here_by_both_routes():
    found = {path.stem for path in FOLDER.glob("*.onnx")}
    assert found == {f"{name}-{route}" for name in MODELS for route in ROUTES}
    assert {path.stem for path in FOLDER.glob("*.npz")} == set(MODELS)


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_no_model_names_a_file_of_the_machine_that_made_it(path):
    content = path.read_bytes()
    assert len(content) < 50_000
    assert b".py" not in content
    assert b"site-packages" not in content


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_answers_as_in_pytorch(name, route):
    with np.load(FOLDER / f"{name}.npz") as stored:
        x, wanted = stored["x"], stored["y"]
    network = snnrepro.load(FOLDER / f"{name}-{route}.onnx")
    assert network.input_shape == x.shape[1:]
    assert relative_error(network.forward(x), wanted) <= TOLERANCE


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", MODELS)
def test_another_number_of_images_answers_as_in_onnxruntime(name, route):
    import onnx
    import onnxruntime

    path = FOLDER / f"{name}-{route}.onnx"
    opset = onnx.load(str(path)).opset_import[0].version
    if tuple(int(part) for part in onnxruntime.__version__.split(".")[:2]) < ONNXRUNTIME_FOR[opset]:
        needed = ".".join(map(str, ONNXRUNTIME_FOR[opset]))
        pytest.skip(f"operator set {opset} needs onnxruntime {needed}, installed is {onnxruntime.__version__}")
    network = snnrepro.load(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    n_images = 3
    x = np.random.RandomState(0).uniform(-1, 1, (n_images, *network.input_shape)).astype(np.float32)
    wanted = session.run(None, {session.get_inputs()[0].name: x})[0]
    assert relative_error(network.forward(x), wanted) <= TOLERANCE
