"""What does not spike is refused or counted, never passed off as a spiking network."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import snnrepro
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Affine, Conv, Dense, ReLU, Reshape, Sigmoid, Softmax
from snnrepro.spiking.prepare import prepare
from snnrepro.spiking.synops import shares
from tests.helpers.command_line import run_command


def _mlp(*activations, widths=(5, 4, 3, 2)):
    """Return dense layers with these activations between them."""
    rng = np.random.RandomState(0)
    nodes, name = [], "x"
    for index, (n_in, n_out) in enumerate(zip(widths, widths[1:])):
        nodes.append(Node(f"dense{index}", (name,), Dense(rng.normal(size=(n_in, n_out)), np.zeros(n_out))))
        name = f"dense{index}"
        if index < len(activations) and activations[index] is not None:
            name = f"{type(activations[index]).__name__.lower()}{index}"
            nodes.append(Node(name, (f"dense{index}",), activations[index]))
    return Network("x", widths[:1], tuple(nodes), {})


X = np.random.RandomState(1).rand(40, 5).astype(np.float32)


@pytest.mark.parametrize(
    ("activations", "named", "behind"),
    [
        ((Softmax((0,)), Softmax((0,)), Softmax((0,))), ["softmax0", "softmax1"], "Dense 'dense1'"),
        ((ReLU(), Softmax((0,)), None), ["softmax1"], "Dense 'dense2'"),
        ((Softmax((0,)), ReLU(), None), ["softmax0"], "Dense 'dense1'"),
        ((Softmax((0,)), Sigmoid(), None), ["softmax0"], "Dense 'dense1'"),
    ],
)
def test_a_hidden_softmax_is_refused_by_its_name(activations, named, behind):
    """It "converted" once: no neurons, no spikes, 88.6 %."""
    with pytest.raises(snnrepro.UnsupportedError, match=f"{behind} stands behind it") as refusal:
        snnrepro.convert(_mlp(*activations), calibration=X)
    assert [problem.split("'")[1] for problem in refusal.value.problems] == named
    assert all("train with ReLU" in problem for problem in refusal.value.problems)


@pytest.mark.parametrize("last", [None, Sigmoid(), Softmax((0,))])
def test_a_network_without_a_rectifier_is_refused(last):
    with pytest.raises(
        snnrepro.ModelError, match="no ReLU, LeakyReLU or ReLU6 before its output: nothing in it would spike"
    ):
        snnrepro.convert(_mlp(None, None, last), calibration=X)


@pytest.mark.parametrize("layer", [Affine(np.full(2, 3.0), np.ones(2)), Reshape((2, 1))])
def test_what_only_scales_or_moves_the_scores_may_stand_behind_a_sigmoid(layer):
    network = _mlp(ReLU(), ReLU(), Sigmoid())
    behind = Network("x", (5,), (*network.nodes, Node("behind", ("sigmoid2",), layer)), {})
    assert snnrepro.convert(behind, calibration=X, n_steps=4).run(X).spike_counts["relu0"].sum() > 0


@given(st.lists(st.integers(1, 6), min_size=4, max_size=6), st.integers(1, 3))
def test_the_shares_count_every_weight_once(widths, first):
    """Layers before the first rectifier read the image, all others spikes."""
    activations = [None] * (first - 1) + [ReLU()] + [ReLU()] * (len(widths) - 2 - first)
    found = shares(prepare(_mlp(*activations, widths=tuple(widths))))
    products = [n_in * n_out for n_in, n_out in zip(widths, widths[1:])]
    first = min(first, len(products))
    assert (found.image, found.spiking) == (sum(products[:first]), sum(products[first:]))


def test_the_weights_of_a_convolution_count_at_every_place():
    conv = Conv(np.ones((3, 2, 2, 2)), np.zeros(3), (1, 1), (1, 1), ((0, 0), (0, 0)))
    nodes = [Node("conv", ("x",), conv), Node("relu", ("conv",), ReLU()), Node("flat", ("relu",), Reshape((36,)))]
    nodes.append(Node("dense", ("flat",), Dense(np.ones((36, 7)), np.zeros(7))))
    found = shares(prepare(Network("x", (2, 4, 5), tuple(nodes), {})))
    assert (found.image, found.spiking) == (3 * 2 * 4 * 12, 36 * 7)
    assert "540 multiply-adds per image: 46.7 % in layers that read spikes, 53.3 % in layers" in str(found)


def test_every_command_says_which_share_spikes(tmp_path):
    network = _mlp(ReLU(), ReLU(), Softmax((0,)))
    network.save(tmp_path / "net.npz")
    np.savez(tmp_path / "data.npz", x=X)
    expected = {"spiking": 12 + 6, "image": 20, "as_is": 0}
    said = "38 multiply-adds per image: 47.4 % in layers that read spikes"
    spiking, data = tmp_path / "s.npz", tmp_path / "data.npz"
    for arguments in (
        ["inspect", tmp_path / "net.npz"],
        ["convert", tmp_path / "net.npz", "-o", spiking, "--calibration", data],
        ["run", spiking, data],
    ):
        assert said in run_command(*arguments).stdout
        assert json.loads(run_command(*arguments, "--json").stdout)["multiply_adds"] == expected
