"""Images and labels that mean nothing are refused in one sentence that names the first, wherever they come in."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import snnrepro
from snnrepro.inputs import checked_images, checked_labels, checked_values
from tests.helpers.command_line import run_command
from tests.helpers.event_cases import small

pytestmark = pytest.mark.filterwarnings("ignore:the neurons are fitted on only 6")  # as many as there are to check


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
    message = re.escape(f"label {index} is {wrong}; the network has 5 classes, 0 to 4")
    with pytest.raises(snnrepro.DataError, match=message):
        checked_labels(labels, len(labels), 5)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=9))
def test_labels_are_the_same_in_every_form(labels):
    one_hot = np.eye(5)[labels]
    forms = [np.float32(labels), np.uint8(labels), np.array(labels)[:, None], one_hot, one_hot.astype(bool)]
    for form in forms:
        found = checked_labels(form, len(labels), 5)
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, labels)


def test_labels_of_every_place_are_named_by_their_place():
    labels = np.array([[[0, 1, 2], [2, 1, 0]]])
    np.testing.assert_array_equal(checked_labels(labels[..., None], 1, 3, (2, 3)), labels)
    np.testing.assert_array_equal(checked_labels(np.eye(3)[labels], 1, 3, (2, 3)), labels)
    with pytest.raises(snnrepro.DataError, match=re.escape("label (0, 0, 2) is 2; the network has 2 classes, 0 to 1")):
        checked_labels(labels, 1, 2, (2, 3))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], re.escape("labels must be whole numbers (3,), or one-hot (3, 3), got (2,)")),
        ([[0, 1], [1, 0], [0, 1]], re.escape("or one-hot (3, 3), got (3, 2)")),
        ([0.0, 0.5, 2.0], "label 1 is 0.5; the network has 3 classes, 0 to 2"),
        ([0.0, 1.0, np.nan], "label 2 is nan; the network has 3 classes"),
        (["0", "1", "2"], "labels must be numbers, got an array of <U1"),
        (3, re.escape("got ()")),
    ],
)
def test_what_are_no_labels_is_refused(labels, message):
    with pytest.raises(snnrepro.DataError, match=message):
        checked_labels(labels, 3, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.1, 0.2], re.escape("the network gives values (3, 1), and those given beside are (2,)")),
        ([0.1, 0.2, np.inf], re.escape("the value of image 2 at (0,) is inf, no finite number")),
        ([[0.1, 1], [0.2, 1], [0.3, 1]], re.escape("those given beside are (3, 2)")),
        (["a", "b", "c"], "values must be numbers"),
    ],
)
def test_what_are_no_values_is_refused(values, message):
    with pytest.raises(snnrepro.DataError, match=message):
        checked_values(values, 3, (1,))


def test_values_may_lack_axes_of_size_1():
    for form in ([1, 2, 3], [[1], [2], [3]], [[[1]], [[2]], [[3]]]):
        assert checked_values(form, 3, (1,)).tolist() == [[1], [2], [3]]


def test_a_run_on_the_command_line_prints_no_accuracy_that_means_nothing(tmp_path):
    spiking, x = small()
    spiking.save(tmp_path / "s.npz")
    labels = np.array([0, 1, 2, 0, 3, 1])  # from 0 to 2 are classes
    np.savez(tmp_path / "data.npz", x=x, y=labels)
    done = run_command("run", tmp_path / "s.npz", tmp_path / "data.npz")
    assert done.exit_code == 2
    assert done.stderr.strip().endswith("label 4 is 3; the network has 3 classes, 0 to 2")
    np.savez(tmp_path / "data.npz", x=x, y=labels % 3)
    assert "accuracy" in run_command("run", tmp_path / "s.npz", tmp_path / "data.npz").stdout
    x[3, 0, 0, 1] = np.nan
    np.savez(tmp_path / "data.npz", x=x)
    done = run_command("run", tmp_path / "s.npz", tmp_path / "data.npz")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "image 3 holds nan at (0, 0, 1)" in done.stderr
