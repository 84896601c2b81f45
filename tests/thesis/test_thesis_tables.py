"""The thesis's figures are data, and a verdict on a measured one is two-sided and never silent."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnrepro.thesis import judge, tables
from snnrepro.thesis.cells import MODELS, PROFILES, Measured, cells
from snnrepro.thesis.experiment import percent_right
from snnrepro.thesis.judge import Grounds
from snnrepro.thesis.results import collect

# Retyped from the thesis's tables of results: Keras, then n_steps 1, 15, 30, 45, 60.
PRINTED = {
    ("dense", "accuracy"): [97.02, 9.80, 81.14, 91.74, 92.49, 93.61],
    ("dense", "training"): [9.89, 29.34, 30.72, 30.83, 30.75, 29.37],
    ("dense", "inference"): [0.50, 0.87, 3.28, 5.98, 8.21, 11.35],
    ("cnn", "accuracy"): [98.65, 9.80, 92.03, 96.50, 95.52, 96.29],
    ("cnn", "training"): [38.68, 108.63, 108.04, 113.76, 113.62, 125.60],
    ("cnn", "inference"): [3.10, 3.39, 20.26, 37.91, 56.01, 73.83],
}
N_STEPS = [0, 1, 15, 30, 45, 60]


@pytest.mark.parametrize(("model", "quantity"), PRINTED)
def test_the_tables_are_the_printed_ones(model, quantity):
    rows = [row for row in tables.figures(model) if row.quantity == quantity]
    assert [(row.n_steps, row.value) for row in rows] == list(zip(N_STEPS, PRINTED[model, quantity]))
    assert [row.system for row in rows] == ["keras"] + ["nengo-dl"] * 5


def test_there_is_no_row_that_was_not_printed():
    rows = [row for model in MODELS for row in tables.figures(model) if (model, row.quantity) not in PRINTED]
    assert [(row.model, row.quantity, row.value) for row in rows] == [("dense", "accuracy_loss", 10.0)]


def test_every_figure_has_one_tolerance_and_its_reason():
    for row in (row for model in MODELS for row in tables.figures(model)):
        assert len(row.reason) > 20
        assert (row.tolerance is None) != (row.factors is None)
        if row.factors is not None:
            assert 0 < row.factors[0] < 1 < row.factors[1]
        if row.n_steps == 1 and row.quantity == "accuracy":
            assert row.tolerance == 0
    for trend in (trend for model in MODELS for trend in tables.trends(model)):
        assert len(trend.reason) > 20
        if trend.printed is None:
            assert (trend.minimum is None) != (trend.maximum is None)
        else:
            assert 0 < trend.minimum < trend.printed < trend.maximum


ACCURACY = next(row for row in tables.figures("dense") if (row.quantity, row.n_steps) == ("accuracy", 15))
SECONDS = next(row for row in tables.figures("cnn") if (row.quantity, row.n_steps) == ("inference", 60))
FULL = Grounds()


@given(st.floats(0, 100))
def test_a_verdict_is_two_sided(measured):
    inside = abs(measured - ACCURACY.value) <= ACCURACY.tolerance
    assert judge.judge(ACCURACY, measured, FULL).outcome == ("pass" if inside else "fail")


def test_both_sides_of_a_tolerance_fail():
    for beyond in (ACCURACY.value - 6.01, ACCURACY.value + 6.01):
        assert judge.judge(ACCURACY, beyond, FULL).outcome == "fail"
    for within in (ACCURACY.value - 6, ACCURACY.value + 6):
        assert judge.judge(ACCURACY, within, FULL).outcome == "pass"


@given(st.floats(0.01, 300))
def test_seconds_are_judged_on_both_sides_where_there_is_a_gpu(measured):
    verdict = judge.judge(SECONDS, measured, Grounds(gpu=True))
    assert verdict.outcome == ("pass" if 0.02 * 73.83 <= measured <= 1.5 * 73.83 else "fail")
    assert judge.judge(SECONDS, measured, FULL).outcome == "not judged"


def test_what_cannot_be_judged_says_why():
    for verdict in (
        judge.judge(ACCURACY, None, FULL),
        judge.judge(ACCURACY, ACCURACY.value, Grounds(full_data=False)),
        judge.judge(ACCURACY, ACCURACY.value, Grounds(trained_in_full=False)),
        judge.judge(SECONDS, SECONDS.value, FULL),
    ):
        assert verdict.outcome == "not judged"
        assert len(verdict.why) > 20


@pytest.mark.parametrize("n_images", [100, 500, 2_000])
def test_fewer_test_images_widen_a_tolerance_by_the_binomial_error(n_images):
    error = judge.binomial_error(ACCURACY, n_images)
    # Drawn without replacement from 10,000 answers of which 81.14 % are right: how often the mean lies within.
    rng = np.random.RandomState(0)
    answers = np.arange(10_000) < 8114
    shares = np.array([100 * answers[rng.permutation(10_000)[:n_images]].mean() for _ in range(2_000)])
    assert np.mean(np.abs(shares - 81.14) <= error) == pytest.approx(0.95, abs=0.02)
    assert judge.binomial_error(ACCURACY, 10_000) == 0
    beyond = ACCURACY.value - ACCURACY.tolerance - 0.99 * error
    assert judge.judge(ACCURACY, beyond, Grounds(n_images=n_images)).outcome == "pass"
    assert judge.judge(ACCURACY, beyond - 0.02 * error, Grounds(n_images=n_images)).outcome == "fail"


def test_the_first_step_is_judged_however_little_was_trained():
    row = next(row for row in tables.figures("cnn") if (row.quantity, row.n_steps) == ("accuracy", 1))
    untrained = Grounds(trained_in_full=False)
    assert judge.judge(row, 9.80, untrained).outcome == "pass"
    assert judge.judge(row, 9.81, untrained).outcome == "fail"  # the last partial minibatch dropped


BY_STATISTIC = {(trend.quantity, trend.statistic): trend for trend in tables.trends("dense")}
LINEAR, CONSTANT = BY_STATISTIC["pace", "r_squared"], BY_STATISTIC["training", "spread"]
FASTER, LOSS = BY_STATISTIC["of_thesis_seconds", "largest"], BY_STATISTIC["balanced_loss", "largest"]
RATIOS = [trend for model in ("dense", "cnn") for trend in tables.trends(model) if trend.printed is not None]


@given(st.floats(0.02, 100), st.floats(0, 100))
def test_a_straight_rising_line_is_linear_growth(slope, offset):
    assert judge.judge_trend(LINEAR, [(n, offset + slope * n) for n in N_STEPS[1:]])[1].outcome == "pass"


@pytest.mark.parametrize(
    "shape",
    [lambda n: n**3, lambda n: 60.0 - n, lambda n: 1.0 + n % 2, lambda n: 5.0 * (n > 20)],
    ids=["cubic", "falling", "up and down", "a jump"],
)
def test_what_is_no_linear_growth_fails(shape):
    assert judge.judge_trend(LINEAR, [(n, float(shape(n))) for n in N_STEPS[1:]])[1].outcome == "fail"


@given(st.floats(1, 100), st.lists(st.floats(-0.24, 0.24), min_size=2, max_size=2))
def test_times_within_a_quarter_of_their_median_are_constant(seconds, noise):
    series = list(zip((1, 15, 30), [seconds, *(seconds * (1 + share) for share in noise)]))
    statistic, verdict = judge.judge_trend(CONSTANT, series)
    times = np.array([time for _, time in series])
    assert statistic == pytest.approx(np.abs(times / np.median(times) - 1).max())
    assert verdict.outcome == ("pass" if statistic <= 0.25 else "fail")


def test_one_slow_training_fails():
    assert judge.judge_trend(CONSTANT, [(1, 10.0), (15, 10.0), (30, 12.6)])[1].outcome == "fail"


def test_times_too_short_make_no_trend():
    statistic, verdict = judge.judge_trend(LINEAR, [(n, 0.001 * n**3 / 60**2) for n in N_STEPS[1:]])
    assert statistic is None
    assert verdict.outcome == "not judged"


def test_two_values_make_no_trend():
    statistic, verdict = judge.judge_trend(LINEAR, [(1, 1.0), (60, 60.0)])
    assert statistic is None
    assert verdict.outcome == "not judged"


def test_the_largest_and_the_smallest_value_decide():
    series = [(15, 0.2), (60, 0.7)]
    assert judge.judge_trend(FASTER, series) == (0.7, judge.Verdict("pass", "at most 1"))
    assert judge.judge_trend(FASTER, [*series, (30, 1.01)])[1].outcome == "fail"
    (likeness,) = tables.trends("autoencoder")
    assert judge.judge_trend(likeness, [(45, 0.999), (45, 0.995)])[0] == 0.995
    assert judge.judge_trend(likeness, [(45, 0.999), (45, 0.9)])[1].outcome == "fail"
    assert judge.judge_trend(likeness, [])[1].outcome == "not judged"


def test_the_ratios_are_those_of_the_printed_seconds():
    expected = []
    for model in ("dense", "cnn"):
        inference, training = PRINTED[model, "inference"], PRINTED[model, "training"]
        expected += [inference[N_STEPS.index(n)] / inference[N_STEPS.index(15)] for n in (30, 45, 60)]
        expected.append(training[N_STEPS.index(1)] / training[0])
    assert [trend.printed for trend in RATIOS] == pytest.approx(expected)


@pytest.mark.parametrize("trend", RATIOS, ids=lambda trend: f"{trend.model} {trend.name}")
@given(factor=st.floats(0.2, 5))
def test_a_ratio_is_judged_on_both_sides(trend, factor):
    measured = factor * trend.printed
    series = [(1, 0.1), (15, 1.0), (60, measured), (trend.ratio[0], measured)] if trend.ratio else [(1, measured)]
    statistic, verdict = judge.judge_trend(trend, list(dict(series).items()))
    assert statistic == pytest.approx(measured)
    assert verdict.outcome == ("pass" if trend.minimum <= statistic <= trend.maximum else "fail")
    assert f"thesis {trend.printed:.2f}" in verdict.why


@pytest.mark.parametrize("quantity", ["pace", "training"])
def test_where_repeats_lie_apart_nothing_passes_and_nothing_fails(quantity):
    trends = [trend for trend in tables.trends("cnn") if trend.quantity == quantity]
    assert trends
    for trend in trends:
        for series in ([(n, 1.0 + n) for n in N_STEPS[1:]], [(n, 1.0 + (n % 7) ** 2) for n in N_STEPS[1:]]):
            statistic, verdict = judge.judge_trend(trend, series, spread=0.4)
            assert verdict.outcome == "not judged"
            assert verdict.why.startswith("this machine was busy (spread 40%, at most")
            assert statistic is not None
        assert judge.judge_trend(trend, series, spread=trend.max_spread)[1].outcome != "not judged"


def test_a_short_time_is_short_on_any_machine_and_a_long_one_is_not_judged_on_a_busy_one():
    assert judge.judge_trend(FASTER, [(15, 0.9)], spread=0.4)[1].outcome == "pass"
    assert judge.judge_trend(FASTER, [(15, 1.1)], spread=0.4)[1].why.startswith("this machine was busy (spread 40%")
    assert judge.judge_trend(FASTER, [(15, 1.1)], spread=0.0)[1].outcome == "fail"
    slow = [
        dataclasses.replace(one, seconds=80.0, spread=0.4) if one.cell.recipe == "balanced" else one
        for one in _as_printed("thesis", "cnn")
    ]
    trends = {line.trend.name: line.verdict for line in _collected("cnn", slow).trends}
    assert trends[FASTER.name].outcome == "not judged"
    assert _collected("cnn", slow).passed


def test_a_training_that_had_to_wait_is_seen():
    trained = [one for one in _as_printed("thesis", "cnn") if one.cell.quantity == "training"]
    quiet = [dataclasses.replace(one, cpu_seconds=2 * one.seconds) for one in trained]
    slow = [
        dataclasses.replace(one, seconds=1.5 * one.seconds) if one.cell.system == "nengo-dl" else one for one in quiet
    ]
    trends = {line.trend.name: line.verdict for line in _collected("dense", _dense(quiet)).trends}
    assert trends[CONSTANT.name].outcome == "pass"
    mixed = [*_dense(quiet)[:-1], _dense(slow)[-1]]
    trends = {line.trend.name: line.verdict for line in _collected("dense", mixed).trends}
    assert trends[CONSTANT.name].outcome == "not judged"
    assert "spread 50%" in trends[CONSTANT.name].why


def _dense(trained):
    """Return the trainings as those of a dense network, one per column."""
    (of_keras,) = [one for one in trained if one.cell.system == "keras"]
    (of_nengo_dl,) = [one for one in trained if one.cell.system == "nengo-dl"]
    seeds = [dataclasses.replace(of_nengo_dl.cell, model="dense", seed=k, n_steps=n) for k, n in enumerate(N_STEPS[1:])]
    keras = dataclasses.replace(of_keras, cell=dataclasses.replace(of_keras.cell, model="dense"))
    return [keras, *(dataclasses.replace(of_nengo_dl, cell=cell) for cell in seeds)]


MACHINE = {"gpus": []}


def _described(profile, model):
    workload = PROFILES[profile][model]
    return {"n_train": workload.n_train, "epochs": workload.epochs}


def _data(is_full):
    return {"is_full_mnist": is_full, "n_train": 60_000, "n_test": 10_000}


def _of(model, cell):
    """Return what the thesis printed for a cell."""
    of = {quantity: dict(zip(N_STEPS, values)) for (name, quantity), values in PRINTED.items() if name == model}
    if cell.recipe == "thesis":
        return Measured(cell, 1.0, 10_000, accuracy={0: of["accuracy"][0], 60: of["accuracy"][0] - 10})
    if cell.system == "converted":
        return Measured(cell, 0.5, 10_000, accuracy={0: of["accuracy"][0], cell.n_steps: of["accuracy"][0] - 0.1})
    if cell.quantity == "pace":
        return Measured(cell, 1.0, pace={n: of["inference"][n] for n in N_STEPS[1:]})
    if cell.quantity == "agreement":
        return Measured(cell, 1.0, 100, agreement=1.0)
    if cell.system == "keras" and cell.quantity == "inference":
        return Measured(cell, of["inference"][0], 10_000, accuracy={0: of["accuracy"][0]})
    judged = {n: of["accuracy"][n] for n in N_STEPS[1:]} if cell.quantity != "training" and cell.n_steps == 60 else {}
    seconds = of["inference" if cell.quantity == "accuracy" else cell.quantity][cell.n_steps]
    return Measured(cell, seconds, 10_000, accuracy=judged)


def _as_printed(profile, model):
    """Return cells that measured exactly what the thesis printed."""
    return [_of(model, cell) for cell in cells(model, PROFILES[profile][model])]


def _collected(model, measured, is_full=True, profile="thesis"):
    return collect(profile, {model: _described(profile, model)}, _data(is_full), MACHINE, measured, "", "")


@pytest.mark.parametrize("profile", ["reference", "thesis"])
@pytest.mark.parametrize("model", ["dense", "cnn"])
def test_the_thesiss_own_figures_pass(model, profile):
    results = _collected(model, _as_printed(profile, model), profile=profile)
    assert results.passed
    outcomes = [verdict.outcome for verdict in results.verdicts]
    assert outcomes.count("pass") >= 9
    found = {line.measured for line in results.comparisons if line.printed.quantity == "accuracy"}
    assert found == set(PRINTED[model, "accuracy"])
    of_accuracy = [line.verdict for line in results.comparisons if line.printed.unit in ("%", "points")]
    assert {verdict.outcome for verdict in of_accuracy} == {"pass"}, "every row of accuracies is judged"


@pytest.mark.parametrize(("agreement", "outcome"), [(1.0, "pass"), (0.99, "pass"), (0.98, "fail")])
def test_a_simulator_that_answers_otherwise_than_nengo_dl_fails(agreement, outcome):
    measured = [
        dataclasses.replace(one, agreement=agreement) if one.agreement is not None else one
        for one in _as_printed("reference", "cnn")
    ]
    results = _collected("cnn", measured, profile="reference")
    (line,) = [line for line in results.trends if line.trend.quantity == "agreement"]
    assert line.verdict.outcome == outcome
    assert results.passed == (outcome == "pass")


@pytest.mark.parametrize("model", ["dense", "cnn"])
@pytest.mark.parametrize("n_steps", N_STEPS)
@pytest.mark.parametrize("shift", [-6.5, 6.5])
def test_an_accuracy_that_is_off_fails_the_table(model, n_steps, shift):
    wrong = [
        dataclasses.replace(one, accuracy={**one.accuracy, n_steps: one.accuracy[n_steps] + shift})
        if n_steps in one.accuracy and one.cell.system != "converted"
        else one
        for one in _as_printed("thesis", model)
    ]
    results = _collected(model, wrong)
    failed = [line.printed for line in results.comparisons if line.verdict.outcome == judge.FAIL]
    failing = {(printed.quantity, printed.n_steps) for printed in failed}
    assert failing == {("accuracy", n_steps)}
    assert not results.passed
    assert _collected(model, wrong, is_full=False).passed, "judged on what is not the full MNIST"


def test_a_slow_event_simulator_and_a_lossy_conversion_fail():
    slow = [
        dataclasses.replace(one, seconds=80.0) if one.cell.recipe == "balanced" else one
        for one in _as_printed("thesis", "cnn")
    ]
    lossy = [
        dataclasses.replace(one, accuracy={**one.accuracy, 0: one.accuracy[0] + 0.6})
        if one.cell.recipe == "balanced"
        else one
        for one in _as_printed("thesis", "cnn")
    ]
    for wrong, name in ((slow, FASTER.name), (lossy, LOSS.name)):
        failing = [line.trend.name for line in _collected("cnn", wrong).trends if line.verdict.outcome == judge.FAIL]
        assert failing == [name]


def test_the_loss_of_a_conversion_is_against_keras_on_the_same_images():
    results = _collected("dense", _as_printed("thesis", "dense"))
    balanced = next(one for one in results.converted if one.recipe == "balanced")
    assert balanced.loss[15] == pytest.approx(0.1)
    assert balanced.n_images == 10_000
    (loss,) = [line for line in results.comparisons if line.printed.quantity == "accuracy_loss"]
    assert loss.values == pytest.approx([10.0] * 5)


def test_every_training_column_is_a_training_of_its_own():
    plan = cells("dense", PROFILES["thesis"]["dense"])
    trainings = [cell for cell in plan if (cell.system, cell.quantity) == ("nengo-dl", "training")]
    assert sorted(cell.n_steps for cell in trainings) == [1, 15, 30, 45, 60]
    assert len({cell.seed for cell in trainings}) == 5


@pytest.mark.parametrize("profile", PROFILES)
def test_a_cell_is_planned_once_and_has_its_own_file(profile):
    plan = [cell for model in MODELS for cell in cells(model, PROFILES[profile][model])]
    assert len(set(plan)) == len(plan) == len({cell.name for cell in plan})


def test_equal_scores_answer_class_0():
    labels = np.array([0, 0, 3, 7])
    assert percent_right(np.zeros((4, 10), np.float32), labels) == 50.0
