"""The options --shape, --output-name and --set of the commands that read a model."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import snnrepro
from tests.helpers.command_line import run_command

X = np.random.RandomState(0).rand(40, 2, 5, 8).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A file of a model with free axes, two inputs and two outputs, one of which cannot be read."""
    rng = np.random.RandomState(1)
    weights = {"w": rng.normal(0, 1, (3, 2, 3, 2)), "v": rng.normal(0, 1, (3, 4))}
    nodes = [
        helper.make_node("Mul", ["image", "scale"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "w"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "v"], ["logits"]),
        helper.make_node("Hardmax", ["flat"], ["odd"]),
    ]
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 2, "height", "width"]),
        helper.make_tensor_value_info("scale", TensorProto.FLOAT, [2, 1, 1]),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("logits", "odd")]
    tensors = [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()]
    made = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, tensors), opset_imports=[helper.make_opsetid("", 12)]
    )
    made.ir_version = 7
    folder = tmp_path_factory.mktemp("model")
    onnx.save(made, str(folder / "model.onnx"))
    np.savez(folder / "data.npz", x=X)
    np.save(folder / "scale.npy", np.array([0.5, 3]).reshape(2, 1, 1))
    return folder / "model.onnx"


@pytest.fixture
def chosen(model, monkeypatch):
    """The options, and the network that they choose."""
    monkeypatch.chdir(model.parent)
    constants = {"scale": np.array([0.5, 3]).reshape(2, 1, 1)}
    network = snnrepro.load(model, shapes=(-1, 2, 5, 8), outputs="logits", constants=constants)
    return ["--output-name", "logits", "--set", "scale=scale.npy", "--shape", "-1,2,5,8"], network


def test_inspect_shows_what_is_chosen(model, chosen):
    options, network = chosen
    done = run_command("inspect", model, *options, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["input"] == {"name": "image", "shape": [2, 5, 8]}
    assert [layer["name"] for layer in found["layers"]] == [node.name for node in network.nodes]


def test_convert_converts_what_is_chosen(model, chosen, tmp_path):
    options, network = chosen
    done = run_command("convert", model, "-o", tmp_path / "s.npz", "--calibration", "data.npz", *options)
    assert done.exit_code == 0, done.output
    spiking = snnrepro.load_spiking(tmp_path / "s.npz")
    np.testing.assert_array_equal(spiking.network.forward(X), network.forward(X))


def test_verify_compares_what_is_chosen(model, chosen):
    options, network = chosen
    done = run_command("verify", model, "data.npz", *options, "--json")
    assert done.exit_code == 0, done.output
    compared = [one["layer"] for one in json.loads(done.stdout)["comparisons"] if one["hop"].startswith("onnxruntime")]
    assert compared[-1] == network.nodes[-1].name == "logits"


@pytest.mark.parametrize("shape", ["image=?,2,5,8", "?, 2, 5, 8", "-1,-1,5,8", "image=4,2,5,8"])
def test_a_shape_is_written_in_several_ways(model, chosen, shape):
    options, _ = chosen
    done = run_command("inspect", model, *options[:4], "--shape", shape, "--json")
    assert json.loads(done.stdout)["input"]["shape"] == [2, 5, 8]


def test_numbers_are_set_one_for_all_or_each(model, chosen):
    options, _ = chosen
    done = run_command("inspect", model, "--set", "scale=2", *options[:2], *options[4:])
    assert done.exit_code == 0, done.output
    refused = run_command("inspect", model, "--set", "scale=2,3,4", *options[:2], *options[4:])
    assert "the constant 'scale' has the shape (3,), the model declares (2, 1, 1)" in refused.stderr


SHAPE, SET = ["--shape", "-1,2,5,8"], ["--set", "scale=2"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "one input is needed, the model has 2: 'image' (FLOAT (?, 2, ?, ?)), 'scale' (FLOAT (2, 1, 1)); set"),
        (
            SET,
            "every axis but the first (the batch) needs a fixed size; not fixed: axes [2, 3]; say the",
        ),
        ([*SET, *SHAPE], "choose one that depends on the input ('logits', 'odd'): --output-name NAME"),
        ([*SET, *SHAPE, "--output-name", "logit"], "the model has no value 'logit'; near: 'logits'"),
        ([*SET, "--shape", "1,2,5,x"], "--shape 1,2,5,x: sizes with commas are needed, as --shape 1,3,64,64"),
        ([*SET, "--shape", "1,0,5,8"], "a shape is one whole number from 1 on for each axis"),
        ([*SET, *SHAPE, *SHAPE], "--shape: the input without a name is given twice"),
        (["--set", "scale"], "--set scale: a name and a value are needed, as --set NAME=1"),
        (["--set", "scale=a"], "--set scale=a: a number, numbers with commas or an .npy file is needed"),
        (["--set", "scale=no.npy"], "no.npy: not an .npy file that can be read (FileNotFoundError"),
        ([*SET, *SET], "--set: input 'scale' is given twice"),
    ],
)
def test_what_cannot_be_chosen_is_one_line_and_exit_2(model, chosen, options, message):
    for command in (["inspect", model], ["verify", model, "data.npz"]):
        done = run_command(*command, *options)
        assert (done.exit_code, done.stdout) == (2, "")
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("snnrepro: ")
