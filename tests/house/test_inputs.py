"""Images and labels that mean nothing are refused in one sentence that names the first, wherever they come in."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import snnrepro
from snnrepro.inputs import checked_images, checked_labels
from tests.helpers.command_line import run_command
from tests.helpers.event_cases import small


def _calls():
    """Return every public call that takes images, by name."""
    spiking, x = small()
    network = spiking.network
    return x, {
        "forward": network.forward,
        "run": spiking.run,
        "run, plain": lambda images: spiking.run(images, 2, "plain"),
        "run, early exit": lambda images: spiking.run(images, 2, early_exit=1.0),
        "convert": lambda images: snnrepro.convert(network, "balanced", images, 2),
        "convert, labelled": lambda images: snnrepro.convert(network, "balanced", (images, np.zeros(6, int)), 2),
        "verify": lambda images: snnrepro.verify(network, spiking, images),
    }


CALLS = list(_calls()[1])


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e300])
def test_the_first_number_that_is_not_finite_is_named(call, number):
    x, calls = _calls()
    calls[call](x)  # without it nothing is refused
    bad = x.astype(np.float64)
    bad[2, 0, 3, 1], bad[5, 0, 0, 0] = number, np.nan
    held = "nan" if np.isnan(number) else "-inf" if number < 0 else "inf"
    with pytest.raises(snnrepro.DataError, match=rf"^image 2 holds {held} at \(0, 3, 1\); "):
        calls[call](bad)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (lambda x: x[:, :, :-1], r"the network's input is \(n_images, 1, 7, 8\), got \(6, 1, 6, 8\)"),
        (lambda x: x[0, 0], r"the network's input is \(n_images, 1, 7, 8\), got \(7, 8\)"),
        (lambda x: 0.5, r"the network's input is \(n_images, 1, 7, 8\), got \(\)"),
        (lambda x: x.astype(str), r"images must be numbers \(n_images, 1, 7, 8\), got ndarray: TypeError"),
        (lambda x: x.astype(object), "images must be numbers"),
        (lambda x: x.astype(complex), "images must be numbers"),
        (lambda x: None, "images must be numbers|needs calibration images|needs? .* images"),
        (lambda x: [[1.0], [2.0, 3.0]], "images must be numbers"),
    ],
    ids=["too small", "one image", "a number", "words", "objects", "complex", "nothing", "ragged"],
)
def test_what_are_no_images_is_said_in_one_line(call, images, message):
    x, calls = _calls()
    with pytest.raises(snnrepro.DataError, match=message) as refusal:
        calls[call](images(x))
    assert "\n" not in str(refusal.value)


@given(st.data())
def test_every_finite_number_is_accepted_as_it_is(data):
    numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
    x = np.array(data.draw(st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=5)), np.float32)
    np.testing.assert_array_equal(checked_images(x, (3,)), x)
    where = data.draw(st.integers(0, len(x) - 1)), data.draw(st.integers(0, 2))
    x[where] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    with pytest.raises(snnrepro.DataError, match=rf"^image {where[0]} holds .* at \({where[1]},\)"):
        checked_images(x, (3,))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=9), st.data())
def test_the_first_label_that_is_no_class_is_named(labels, data):
    np.testing.assert_array_equal(checked_labels(labels, len(labels), 5), labels)
    index, wrong = data.draw(st.integers(0, len(labels) - 1)), data.draw(st.sampled_from([-1, 5, 2**40]))
    labels = [*labels[:index], wrong, *labels[index + 1 :]]
    message = re.escape(f"label {index} is {wrong}; the network has 5 scores, so its classes are 0 to 4")
    with pytest.raises(snnrepro.DataError, match=message):
        checked_labels(labels, len(labels), 5)


@pytest.mark.parametrize("labels", [[0, 1], [0.0, 1.0, 2.0], [[0], [1], [2]], ["0", "1", "2"], 3])
def test_what_are_no_labels_is_refused(labels):
    with pytest.raises(snnrepro.DataError, match="3 labels are needed, whole numbers"):
        checked_labels(labels, 3, 3)


def test_one_score_is_no_class():
    with pytest.raises(snnrepro.DataError, match="one score for an image, which is no class"):
        checked_labels([0, 1, 1], 3, 1)


def test_a_run_on_the_command_line_prints_no_accuracy_that_means_nothing(tmp_path):
    spiking, x = small()
    spiking.save(tmp_path / "s.npz")
    labels = np.array([0, 1, 2, 0, 3, 1])  # from 0 to 2 are classes
    np.savez(tmp_path / "data.npz", x=x, y=labels)
    done = run_command("run", tmp_path / "s.npz", tmp_path / "data.npz")
    assert done.exit_code == 2
    assert done.stderr.strip().endswith("label 4 is 3; the network has 3 scores, so its classes are 0 to 2")
    np.savez(tmp_path / "data.npz", x=x, y=labels % 3)
    assert "accuracy" in run_command("run", tmp_path / "s.npz", tmp_path / "data.npz").stdout
    x[3, 0, 0, 1] = np.nan
    np.savez(tmp_path / "data.npz", x=x)
    done = run_command("run", tmp_path / "s.npz", tmp_path / "data.npz")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "image 3 holds nan at (0, 0, 1)" in done.stderr
