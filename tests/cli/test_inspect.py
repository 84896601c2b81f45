"""`snnrepro inspect`: what it says of each layer, held to closed formulas and to a conversion."""

from __future__ import annotations

import io
import json
from importlib import import_module

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console

import snnrepro
from snnrepro.network.graph import Network
from tests.helpers.command_line import run_command

X = np.random.RandomState(0).rand(60, 3, 17, 13).astype(np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Windows of every sort, a maximum before a rectifier, a leaky one, a function inside, a softmax."""
    rng = np.random.RandomState(1)
    shapes = {"first": (8, 3, 3, 2), "depthwise": (8, 1, 3, 3), "up": (8, 2, 2, 2), "dense": (4, 5)}
    weights = {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["conv"], strides=[2, 1]),
        helper.make_node("MaxPool", ["conv"], ["pool"], kernel_shape=[2, 3], strides=[2, 2]),
        helper.make_node("Relu", ["pool"], ["relu"]),
        helper.make_node("Conv", ["relu", "depthwise"], ["by_channel"], group=8, pads=[1, 1, 1, 1]),
        helper.make_node("LeakyRelu", ["by_channel"], ["leaky"]),
        helper.make_node("Add", ["leaky", "relu"], ["sum"]),
        helper.make_node("ConvTranspose", ["sum", "up"], ["raised"], group=2, strides=[2, 2]),
        helper.make_node("Tanh", ["raised"], ["tanh"]),
        helper.make_node("GlobalAveragePool", ["tanh"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "dense"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", *X.shape[1:]])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)
    tensors = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    made = helper.make_model(
        helper.make_graph(nodes, "g", [image], [scores], tensors), opset_imports=[helper.make_opsetid("", 12)]
    )
    made.ir_version = 7
    folder = tmp_path_factory.mktemp("inspect")
    onnx.save(made, str(folder / "model.onnx"))
    np.savez(folder / "data.npz", x=X)
    return folder / "model.onnx"


def _inspected(*arguments):
    done = run_command("inspect", *arguments, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    return {layer["name"]: layer for layer in found["layers"]}, found


@pytest.fixture(scope="module")
def layers(path):
    return _inspected(path)[0]


def test_every_layer_has_the_same_fields_typed(layers):
    kinds = {
        "name": str,
        "layer": str,
        "inputs": list,
        "shape": list,
        "parameters": int,
        "kernel": (list, type(None)),
        "strides": (list, type(None)),
        "groups": (int, type(None)),
        "multiply_adds": int,
        "neurons": (int, type(None)),
        "rectifiers": (int, type(None)),
        "error_percent": (float, type(None)),
        "formula": (str, type(None)),
        "operators": (list, type(None)),
        "role": str,
    }
    assert len(layers) > 8
    for layer in layers.values():
        assert layer.keys() == kinds.keys()
        assert all(isinstance(layer[name], kind) for name, kind in kinds.items()), layer


def test_kernels_strides_and_groups_are_the_models(layers):
    def window(name):
        return [layers[name][field] for field in ("kernel", "strides", "groups")]

    assert window("conv") == [[3, 2], [2, 1], 1]
    assert window("pool") == [[2, 3], [2, 2], None]
    assert window("by_channel") == [[3, 3], [1, 1], 8]
    assert window("raised") == [[2, 2], [2, 2], 2]
    assert window("logits") == [None, None, None]


def test_multiply_adds_are_those_of_the_closed_formulas(layers):
    """Outputs times what each is a sum of; a transposed convolution, inputs times what each is added to."""
    counted = {name: layer["multiply_adds"] for name, layer in layers.items() if layer["multiply_adds"]}
    assert counted == {
        "conv": (8 * 8 * 12) * (3 * 3 * 2),
        "by_channel": (8 * 4 * 5) * (1 * 3 * 3),
        "raised": (8 * 4 * 5) * (2 * 2 * 2),
        "logits": 4 * 5,
    }


def test_every_layer_says_when_it_is_computed(layers):
    roles = {role: [name for name, layer in layers.items() if layer["role"] == role] for role in ("image", "readout")}
    assert roles == {"image": ["conv"], "readout": ["scores"]}
    assert {layers[name]["role"] for name in ("pool", "relu", "tanh", "logits")} == {"steps"}


def test_neurons_are_those_of_the_conversion(path):
    """A rectifier behind a maximum has a neuron for every number before it, a leaky one two."""
    layers, found = _inspected(path, "--calibration", path.with_name("data.npz"))
    spiking = snnrepro.convert(path, calibration=X, n_steps=3)
    assert layers["relu"]["neurons"] == 8 * 8 * 12
    assert layers["leaky"]["neurons"] == 2 * 8 * 4 * 5
    assert layers["tanh"]["neurons"] == layers["tanh"]["rectifiers"] * 4 * 8 * 10
    assert found["neurons"] == sum(spiking.n_neurons.values()) == sum(layer["neurons"] for layer in layers.values())


def test_functions_are_counted_once_images_are_given(path, layers):
    assert (layers["tanh"]["neurons"], layers["tanh"]["rectifiers"]) == (None, None)
    fitted = _inspected(path, "--calibration", path.with_name("data.npz"))[0]["tanh"]
    fit = snnrepro.convert(path, calibration=X, n_steps=3).functions["tanh"]
    assert fitted["rectifiers"] == len(fit.knots) > 2
    assert fitted["error_percent"] == pytest.approx(100 * fit.error)
    text = run_command("inspect", path).stdout
    assert "with --calibration they are counted" in text
    assert "neurons not known before functions are fitted" in text


def test_an_archive_of_a_conversion_knows_its_functions(path, tmp_path):
    snnrepro.convert(path, calibration=X, n_steps=3).save(tmp_path / "spiking.npz")
    kept, found = _inspected(tmp_path / "spiking.npz")
    fitted, _ = _inspected(path, "--calibration", path.with_name("data.npz"))
    assert kept["tanh"] == fitted["tanh"]
    assert found["model"]["opset"] == 12


def test_an_archive_that_is_none_is_refused_as_before(tmp_path):
    (tmp_path / "no.npz").write_bytes(b"PK")
    done = run_command("inspect", tmp_path / "no.npz")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "not a readable npz archive" in done.stderr


@pytest.mark.parametrize(("kind", "name"), [("FLOAT", "float32"), ("FLOAT16", "float16")])
def test_the_header_names_operator_set_and_types(kind, name, tmp_path):
    number = getattr(TensorProto, kind)
    weights = numpy_helper.from_array(np.arange(6).reshape(2, 3).astype(name), "w")
    x, y = (helper.make_tensor_value_info(one, number, [1, size]) for one, size in (("x", 2), ("y", 3)))
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    made = helper.make_model(helper.make_graph(nodes, "g", [x], [y], [weights]))
    made.opset_import[0].version, made.ir_version = 11, 6
    onnx.save(made, str(tmp_path / "m.onnx"))
    found = _inspected(tmp_path / "m.onnx")[1]["model"]
    assert found == {"opset": 11, "input_type": name, "weight_type": name}
    said = f"ONNX operator set 11, input {name}, {name} weights"
    assert said in run_command("inspect", tmp_path / "m.onnx").stdout
    snnrepro.load(tmp_path / "m.onnx").save(tmp_path / "m.npz")
    assert said in run_command("inspect", tmp_path / "m.npz").stdout


def test_an_archive_of_before_is_read_and_says_that_it_does_not_know(path, tmp_path):
    network = snnrepro.load(path)
    Network(network.input_name, network.input_shape, network.nodes, {"file": "old.onnx"}).save(tmp_path / "old.npz")
    _, found = _inspected(tmp_path / "old.npz")
    assert found["model"] == {"opset": None, "input_type": None, "weight_type": None}
    assert "written before it kept" in run_command("inspect", tmp_path / "old.npz").stdout


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal_and_leaves_no_fact_out(width, path, monkeypatch):
    print_layers = import_module("snnrepro.cli.print_layers")
    screen = io.StringIO()
    monkeypatch.setattr(print_layers, "console", lambda: Console(file=screen, width=width, highlight=False))
    print_layers.print_layers(snnrepro.load(path), None)
    text = screen.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    words = " ".join(text.replace("│", " ").split())
    for fact in ("Conv 3×2, stride 2×1", "Conv 3×3, 8 groups", "fitted", "readout", "reads leaky, relu"):
        assert fact in words
    assert ("13.8k" if width == 80 else "13,824") in words  # 8 * 8 * 12 * 18
