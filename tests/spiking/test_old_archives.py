"""Archives that an earlier version wrote are read, answer as they did then, and are written again as they were.

The files were written by commit e515b1a: a network with every layer there was, and a small convolutional one as each
recipe converted it; ``given.npz`` holds inputs, scores and numbers of spikes (those of `plain`).
"""

from __future__ import annotations

import numpy as np
import pytest

import snnrepro
from snnrepro.network import layers

RECIPES = ("balanced", "rate", "balanced-lif", "thesis")


@pytest.fixture(scope="module")
def folder(root):
    return root / "tests" / "data" / "e515b1a"


@pytest.fixture(scope="module")
def given(folder):
    with np.load(folder / "given.npz") as arrays:
        return dict(arrays)


def contents(path):
    """Return type, shape and bytes of every array; NumPy's versions pad the arrays' headers differently."""
    with np.load(path) as arrays:
        found = {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}
    assert len(found) > 2
    return found


def test_a_network_with_every_layer_answers_as_it_did(folder, given, tmp_path):
    network = snnrepro.load(folder / "network.npz")
    names = {type(node.layer).__name__ for node in network.nodes}
    assert len(names) == 17
    assert all(hasattr(layers, name) for name in names)
    assert np.ptp(given["network.scores"], axis=0).max() > 0.01
    np.testing.assert_allclose(network.forward(given["network.x"]), given["network.scores"], rtol=0, atol=1e-6)
    network.save(tmp_path / "again.npz")
    assert contents(tmp_path / "again.npz") == contents(folder / "network.npz")


@pytest.mark.parametrize("simulator", ["plain", "event"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_spiking_network_fires_as_it_did(folder, given, recipe, simulator, tmp_path):
    path = folder / f"spiking-{recipe}.npz"
    spiking = snnrepro.load_spiking(path)
    run = spiking.run(given["spiking.x"], simulator=simulator)
    spikes = np.stack([run.spike_counts[name].reshape(len(run.scores), -1).sum(axis=1) for name in ("relu1", "relu2")])
    assert spikes.min() > 0
    np.testing.assert_array_equal(spikes, given[f"spiking-{recipe}.spikes"])
    np.testing.assert_allclose(run.scores, given[f"spiking-{recipe}.scores"], rtol=0, atol=1e-5)
    spiking.save(tmp_path / "again.npz")
    assert contents(tmp_path / "again.npz") == contents(path)
