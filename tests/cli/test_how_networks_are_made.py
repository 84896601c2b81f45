"""`--weights` and `--neurons-per-activation` of `convert` and `verify`: they reach the conversion, and are shown."""

from __future__ import annotations

import json

import numpy as np
import pytest

import snnrepro
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Conv, Dense, ReLU, Reshape
from tests.helpers.command_line import run_command

RNG = np.random.RandomState(2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small network, and images for it."""
    nodes = (
        Node("conv", ("image",), Conv(RNG.normal(0, 0.4, (5, 2, 3, 3)), np.zeros(5), (1, 1), (1, 1), ((1, 1), (1, 1)))),
        Node("relu", ("conv",), ReLU()),
        Node("flat", ("relu",), Reshape((5 * 6 * 4,))),
        Node("scores", ("flat",), Dense(RNG.normal(0, 0.2, (5 * 6 * 4, 3)), np.zeros(3))),
    )
    made = tmp_path_factory.mktemp("made")
    network = Network("image", (2, 6, 4), nodes, {})
    network.save(made / "model.npz")
    x = RNG.uniform(0, 1, (300, 2, 6, 4)).astype(np.float32)
    np.savez(made / "data.npz", x=x, y=network.forward(x).argmax(axis=1))
    return made


def _convert(folder, *options):
    output = folder / "spiking.npz"
    done = run_command(
        "convert", folder / "model.npz", "-o", output, "--calibration", folder / "data.npz", "--n-steps", 4, *options
    )
    assert done.exit_code == 0, done.output
    return snnrepro.load_spiking(output), done.stdout


@pytest.mark.parametrize(
    ("options", "weights", "size"),
    [
        ((), "float32", 1),
        (("--weights", "int8"), "int8", 1),
        (("--neurons-per-activation", 2), "float32", 2),
        (("--neurons-per-activation", 3, "--weights", "int16"), "int16", 3),
    ],
)
def test_convert_makes_what_the_options_say_and_inspect_shows_it(folder, options, weights, size):
    spiking, said = _convert(folder, *options)
    assert (spiking.weights, spiking.neurons_per_activation) == (weights, size)
    assert ("neurons per activation" in said) == (size > 1)
    found = json.loads(run_command("inspect", folder / "spiking.npz", "--json").stdout)
    assert (found["weights"], found["neurons_per_activation"], found["neurons"]) == (weights, size, size * 5 * 6 * 4)
    shown = run_command("inspect", folder / "spiking.npz").stdout
    assert (f"{size} neurons for each activation" in shown) == (size > 1)
    assert (f"simulated with {weights} weights" in shown) == (weights != "float32")
    run = json.loads(run_command("run", folder / "spiking.npz", folder / "data.npz", "--json").stdout)
    assert run["n_neurons"] == {"relu": size * 5 * 6 * 4}


def test_verify_compares_what_the_options_make(folder):
    model, data = folder / "model.npz", folder / "data.npz"
    options = ("--recipe", "rate", "--n-steps", 8, "--neurons-per-activation", 2, "--weights", "int16")
    done = run_command("verify", model, data, *options, "--json")
    assert done.exit_code == 0, done.output
    spikes = [one for one in json.loads(done.stdout)["comparisons"] if one["hop"] == "forward ~ spikes"]
    alone = json.loads(run_command("verify", model, data, "--recipe", "rate", "--n-steps", 8, "--json").stdout)
    one = [one for one in alone["comparisons"] if one["hop"] == "forward ~ spikes"]
    assert [each["layer"] for each in spikes] == [each["layer"] for each in one] == ["relu", "scores"]
    assert spikes[0]["max_error"] < one[0]["max_error"]


@pytest.mark.parametrize("options", [("--weights", "int8"), ("--neurons-per-activation", 2)])
def test_what_makes_no_conversion_is_refused_in_words(folder, options):
    model, data = folder / "model.npz", folder / "data.npz"
    for more, word in (((), "add --recipe"), (("--explain",), "leave out --weights and --neurons-per-activation")):
        done = run_command("verify", model, data, *more, *options)
        assert done.exit_code != 0
        assert word in " ".join((done.output + done.stderr).split())


@pytest.mark.parametrize("size", [0, "half"])
def test_a_number_of_neurons_that_is_none_is_refused_by_the_command(folder, size):
    done = run_command("convert", folder / "model.npz", "-o", folder / "none.npz", "--neurons-per-activation", size)
    assert done.exit_code == 2
    assert "--neurons-per-activation" in done.output + done.stderr
    assert not (folder / "none.npz").exists()
