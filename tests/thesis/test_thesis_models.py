"""The thesis's networks have the layers that the thesis prints."""

from __future__ import annotations

import pytest

from snnrepro.readers.load import load
from snnrepro.spiking.synops import macs
from snnrepro.thesis import models

# Shapes by hand: a valid convolution of 3 x 3 gives (size - 3) // stride + 1, "same" padding halves and doubles.
SHAPES = {
    ("dense", None): [(32,), (64,), (128,)],
    ("cnn", None): [(32, 26, 26), (64, 12, 12), (128, 5, 5)],
    ("cnn", (1, 1, 2)): [(32, 26, 26), (64, 24, 24), (128, 11, 11)],
    ("autoencoder", None): [(64, 14, 14), (32, 7, 7), (32, 14, 14), (64, 28, 28)],
}
MACS = {
    ("dense", None): 784 * 32 + 32 * 64 + 64 * 128 + 128 * 10,
    ("cnn", None): 26**2 * 32 * 9 + 12**2 * 64 * 9 * 32 + 5**2 * 128 * 9 * 64 + 128 * 25 * 10,
    ("cnn", (1, 1, 2)): 26**2 * 32 * 9 + 24**2 * 64 * 9 * 32 + 11**2 * 128 * 9 * 64 + 128 * 121 * 10,
    ("autoencoder", None): 9 * (14**2 * 64 + 7**2 * 32 * 64 + 7**2 * 32 * 32 + 14**2 * 32 * 64 + 28**2 * 64),
}


@pytest.mark.parametrize("named", SHAPES, ids=str)
def test_every_rectifier_has_its_printed_size(tf, named):
    network = load(models.keras_model(named[0], 0, named[1]))
    rectifiers = [node for node in network.nodes if type(node.layer).__name__ == "ReLU"]
    assert [tuple(network.shapes[node.name]) for node in rectifiers] == SHAPES[named]
    assert macs(network) == MACS[named]


def test_another_seed_has_other_weights_and_the_same_one_the_same(tf):
    first, again, other = (models.keras_model("cnn", seed).get_weights() for seed in (0, 0, 1))
    assert all((a == b).all() for a, b in zip(first, again))
    assert not (first[0] == other[0]).all()
