"""The thesis's figures are data, and a verdict on a measured one is two-sided and never silent."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnrepro.datasets import Mnist
from snnrepro.thesis import tables
from snnrepro.thesis.protocol import PROFILES, Measured, accuracy, cells
from snnrepro.thesis.reproduce import collect

# Retyped from the thesis's table of results for the dense network: Keras, then n_steps 1, 15, 30, 45, 60.
PRINTED = {
    "accuracy": [97.02, 9.80, 81.14, 91.74, 92.49, 93.61],
    "training": [9.89, 29.34, 30.72, 30.83, 30.75, 29.37],
    "inference": [0.50, 0.87, 3.28, 5.98, 8.21, 11.35],
}
N_STEPS = [0, 1, 15, 30, 45, 60]


@pytest.mark.parametrize("quantity", PRINTED)
def test_the_table_is_the_printed_one(quantity):
    rows = [row for row in tables.rows("dense") if row.quantity == quantity]
    assert [(row.n_steps, row.value) for row in rows] == list(zip(N_STEPS, PRINTED[quantity]))
    assert [row.system for row in rows] == ["keras"] + ["nengo-dl"] * 5


def test_every_tolerance_and_trend_has_its_reason():
    for row in (*tables.rows("dense"), *tables.trends("dense")):
        assert len(row.reason) > 20
    tolerances = {
        (row.system, row.n_steps): row.tolerance for row in tables.rows("dense") if row.quantity == "accuracy"
    }
    assert tolerances == {
        ("keras", 0): 1,
        ("nengo-dl", 1): 0,
        ("nengo-dl", 15): 6,
        ("nengo-dl", 30): 3,
        ("nengo-dl", 45): 3,
        ("nengo-dl", 60): 3,
    }


ACCURACY = next(row for row in tables.rows("dense") if (row.quantity, row.n_steps) == ("accuracy", 15))


@given(st.floats(0, 100))
def test_a_verdict_is_two_sided(measured):
    inside = abs(measured - ACCURACY.value) <= ACCURACY.tolerance
    assert tables.judge(ACCURACY, measured, True).outcome == ("pass" if inside else "fail")


def test_both_sides_of_a_tolerance_fail():
    for beyond in (ACCURACY.value - 6.01, ACCURACY.value + 6.01):
        assert tables.judge(ACCURACY, beyond, True).outcome == "fail"
    for within in (ACCURACY.value - 6, ACCURACY.value + 6):
        assert tables.judge(ACCURACY, within, True).outcome == "pass"


def test_what_cannot_be_judged_says_why():
    seconds = next(row for row in tables.rows("dense") if row.quantity == "training")
    for verdict in (
        tables.judge(ACCURACY, None, True),
        tables.judge(ACCURACY, ACCURACY.value, False),
        tables.judge(seconds, seconds.value, True),
    ):
        assert verdict.outcome == "not judged"
        assert len(verdict.why) > 20


LINEAR, CONSTANT = tables.trends("dense")


@given(st.floats(0.02, 100), st.floats(0, 100))
def test_a_straight_rising_line_is_linear_growth(slope, offset):
    assert tables.judge_trend(LINEAR, [(n, offset + slope * n) for n in N_STEPS[1:]])[1].outcome == "pass"


@pytest.mark.parametrize(
    "shape", [lambda n: n**3, lambda n: 60.0 - n, lambda n: 1.0 + n % 2, lambda n: 5.0 * (n > 20)], ids=str
)
def test_what_is_no_linear_growth_fails(shape):
    assert tables.judge_trend(LINEAR, [(n, float(shape(n))) for n in N_STEPS[1:]])[1].outcome == "fail"


@given(st.floats(1, 100), st.lists(st.floats(-0.24, 0.24), min_size=2, max_size=2))
def test_times_within_a_quarter_of_their_median_are_constant(seconds, noise):
    series = list(zip((1, 15, 30), [seconds, *(seconds * (1 + share) for share in noise)]))
    statistic, verdict = tables.judge_trend(CONSTANT, series)
    times = np.array([time for _, time in series])
    assert statistic == pytest.approx(np.abs(times / np.median(times) - 1).max())
    assert verdict.outcome == ("pass" if statistic <= 0.25 else "fail")


def test_one_slow_training_fails():
    assert tables.judge_trend(CONSTANT, [(1, 10.0), (15, 10.0), (30, 12.6)])[1].outcome == "fail"


def test_times_too_short_make_no_trend():
    statistic, verdict = tables.judge_trend(LINEAR, [(n, 0.001 * n**3 / 60**2) for n in N_STEPS[1:]])
    assert statistic is None
    assert verdict.outcome == "not judged"


def test_two_values_make_no_trend():
    statistic, verdict = tables.judge_trend(LINEAR, [(1, 1.0), (60, 60.0)])
    assert statistic is None
    assert verdict.outcome == "not judged"


def _data(is_full):
    images, labels = np.zeros((10, 28, 28), np.uint8), np.arange(10)
    return Mnist(images, labels, images, labels, "drawn", "0", is_full)


def _as_printed(profile):
    """Return cells that measured exactly what the thesis printed."""
    of = {key: dict(zip(N_STEPS, values)) for key, values in PRINTED.items()}
    measured = []
    for cell in cells(PROFILES[profile]):
        if cell.system == "converted":
            measured.append(Measured(cell, 1.0, dict.fromkeys(N_STEPS[1:], of["accuracy"][0] - 10)))
        elif cell.quantity == "pace":
            measured.append(Measured(cell, 1.0, pace={n: of["inference"][n] for n in N_STEPS[1:]}))
        else:
            found = {cell.n_steps: of["accuracy"][cell.n_steps]} if cell.quantity == "inference" else {}
            measured.append(Measured(cell, of[cell.quantity][cell.n_steps], found))
    return tuple(measured)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_thesiss_own_figures_pass(profile):
    results = collect("dense", profile, _data(True), _as_printed(profile), "now")
    assert results.passed
    outcomes = [verdict.outcome for verdict in results.verdicts]
    assert outcomes.count("pass") >= 8
    assert {line.measured for line in results.lines if line.row.quantity == "accuracy"} == set(PRINTED["accuracy"])


@pytest.mark.parametrize("n_steps", N_STEPS)
@pytest.mark.parametrize("shift", [-6.5, 6.5])
def test_an_accuracy_that_is_off_fails_the_table(n_steps, shift):
    wrong = tuple(
        dataclasses.replace(one, accuracy={n_steps: one.accuracy[n_steps] + shift})
        if n_steps in one.accuracy and one.cell.system != "converted"
        else one
        for one in _as_printed("thesis")
    )
    results = collect("dense", "thesis", _data(True), wrong, "now")
    failing = {(line.row.quantity, line.row.n_steps) for line in results.lines if line.verdict.outcome == tables.FAIL}
    assert ("accuracy", n_steps) in failing
    assert not results.passed
    assert collect("dense", "thesis", _data(False), wrong, "now").passed, "judged on what is not the full MNIST"


def test_every_training_column_is_a_training_of_its_own():
    trainings = [cell for cell in cells(PROFILES["thesis"]) if (cell.system, cell.quantity) == ("nengo-dl", "training")]
    assert sorted(cell.n_steps for cell in trainings) == [1, 15, 30, 45, 60]
    assert len({cell.seed for cell in trainings}) == 5


def test_equal_scores_answer_class_0():
    labels = np.array([0, 0, 3, 7])
    assert accuracy(np.zeros((4, 10), np.float32), labels) == 50.0
