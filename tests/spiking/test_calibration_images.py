"""What calibration images are like is kept, and images unlike them bring a warning, not a wrong accuracy in silence."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import snnrepro
from snnrepro.errors import DataWarning
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Conv, Dense, ReLU, Reshape
from snnrepro.spiking.images import described, warn_of_unlike
from tests.helpers.command_line import run_command


def _network(channels_first=True, n_out=4):
    """Return a small CNN on 3 x 6 x 5 images, or 6 x 5 x 3."""
    rng = np.random.RandomState(0)
    shape = (3, 6, 5) if channels_first else (6, 5, 3)
    nodes = [
        Node("shaped", ("x",), Reshape((3, 6, 5))),
        Node(
            "conv", ("shaped",), Conv(rng.normal(size=(4, 3, 3, 3)), rng.normal(size=4), (1, 1), (1, 1), ((0, 0),) * 2)
        ),
        Node("relu", ("conv",), ReLU()),
        Node("flat", ("relu",), Reshape((48,))),
        Node("dense", ("flat",), Dense(rng.normal(size=(48, n_out)), np.zeros(n_out))),
    ]
    return Network("x", shape, tuple(nodes), {})


RNG = np.random.RandomState(5)
IMAGES = RNG.rand(100, 3, 6, 5).astype(np.float32) * np.array([1, 0.5, 0.25])[None, :, None, None].astype(np.float32)


def _spiking():
    return snnrepro.convert(_network(), calibration=IMAGES, n_steps=4)


@given(st.sampled_from([(3, 6, 5), (6, 5, 3), (1, 7, 7), (7,), (5, 6, 7)]), st.integers(0, 1000))
def test_range_mean_and_spread_are_those_of_each_channel(shape, seed):
    x = np.random.RandomState(seed).normal(2, 3, (9, *shape)).astype(np.float32)
    axis = {(3, 6, 5): 1, (6, 5, 3): 3, (1, 7, 7): 1}.get(shape)
    channels = [x] if axis is None else [np.take(x, one, axis) for one in range(x.shape[axis])]
    found = described(x)
    assert (found["low"], found["high"]) == (float(x.min()), float(x.max()))
    assert found["mean"] == pytest.approx([float(np.mean(one.astype(np.float64))) for one in channels], abs=1e-5)
    assert found["std"] == pytest.approx([float(np.std(one.astype(np.float64))) for one in channels], abs=1e-5)


def test_the_archive_keeps_what_the_images_were_like(tmp_path):
    spiking = _spiking()
    spiking.save(tmp_path / "s.npz")
    kept = snnrepro.load_spiking(tmp_path / "s.npz").provenance["images"]
    assert kept == spiking.provenance["images"] == described(IMAGES)
    assert len(kept["mean"]) == 3


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (lambda x: 255 * x, "leave the range"),
        (lambda x: x / 255, "hardly fill the range"),
        (lambda x: 0.6 + 0.4 * x, "are not centred in the range"),
        (lambda x: x - 2, "leave the range"),
    ],
    ids=["bytes", "a 255th", "aside", "below"],
)
@pytest.mark.parametrize("simulator", ["event", "plain"])
def test_images_on_another_scale_bring_a_warning(other, what, simulator):
    """Fitted on [0, 1] and run on bytes: 54.7 % instead of 89.4, and not a word."""
    with pytest.warns(DataWarning, match=rf"{what} .*fitted on, .* to .*: are both scaled alike\?") as seen:
        _spiking().run(other(IMAGES), simulator=simulator)
    assert len(seen) == 1


@given(st.integers(1, 60), st.integers(0, 1000), st.floats(0.7, 1.2))
def test_images_like_them_bring_none(n_images, seed, brighter):
    fitted_on = described(IMAGES)
    few = brighter * IMAGES[np.random.RandomState(seed).permutation(100)[:n_images]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_unlike(few, fitted_on)
        warn_of_unlike(few[:0], fitted_on)
        warn_of_unlike(255 * few, None)


def test_a_network_fitted_on_nothing_warns_of_nothing():
    spiking = snnrepro.convert(_network(), "thesis", n_steps=4)
    assert "images" not in spiking.provenance
    spiking.run(255 * IMAGES)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES[:1], "fitted on only 1 calibration images; a few hundred"),
        (IMAGES[:19], "fitted on only 19 calibration images"),
        (np.repeat(IMAGES[:1], 50, axis=0), "all 50 calibration images are the same"),
        (np.zeros((50, 3, 6, 5)), "all 50 calibration images are the same"),
    ],
    ids=["one", "a handful", "the same", "blank"],
)
def test_images_that_say_little_bring_a_warning(images, message):
    with pytest.warns(DataWarning, match=message):
        snnrepro.convert(_network(), calibration=images, n_steps=4)


def _sorted_by_answer(network, n_classes):
    x = np.random.RandomState(0).normal(size=(2000, 3, 6, 5)).astype(np.float32)
    answers = network.forward(x).argmax(axis=1)
    assert len(set(answers)) == n_classes, "a network that answers one class only would prove nothing"
    return x[np.argsort(answers, kind="stable")], x


def test_images_sorted_by_class_bring_a_warning_and_mixed_ones_none():
    network = _network(n_out=5)
    ordered, mixed = _sorted_by_answer(network, 5)
    said = r"the 100 calibration images that are looked at are of \d of the network's 5 classes: .*shuffle them"
    with pytest.warns(DataWarning, match=said):
        snnrepro.convert(network, calibration=ordered[:200], n_steps=4)
    few_wrong = np.concatenate([ordered[:197], ordered[[600, 1200, 1999]]])  # what a network takes for other classes
    assert len(set(network.forward(few_wrong).argmax(axis=1))) > 2
    with pytest.warns(DataWarning, match=said):
        snnrepro.convert(network, calibration=few_wrong, n_steps=4)
    snnrepro.convert(network, calibration=mixed[:200], n_steps=4)


def test_the_command_line_says_it_in_one_line(tmp_path):
    _network().save(tmp_path / "net.npz")
    np.savez(tmp_path / "fit.npz", x=IMAGES)
    np.savez(tmp_path / "bytes.npz", x=255 * IMAGES)
    done = run_command("convert", tmp_path / "net.npz", "-o", tmp_path / "s.npz", "--calibration", tmp_path / "fit.npz")
    assert "images: low " in done.stdout
    assert "warning" not in done.stderr
    done = run_command("run", tmp_path / "s.npz", tmp_path / "bytes.npz")
    assert done.exit_code == 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert "are both scaled alike?" in line
