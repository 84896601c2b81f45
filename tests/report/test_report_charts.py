"""The charts' points are those of the results: pooled over seeds, with Wilson's interval, and no cell counted twice."""

from __future__ import annotations

import builtins
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from snnrepro.errors import DataError, DependencyError
from snnrepro.report.figure import draw
from snnrepro.report.report import read_samples, write_report
from snnrepro.report.sample_plots import by_population
from snnrepro.report.series import System, accuracy_series, printed_series, seconds_series
from snnrepro.thesis import results as results_json
from tests.helpers import report_document

KERAS, NENGO_DL = System("keras"), System("nengo-dl")
BALANCED = System("converted", "balanced")


@pytest.fixture
def results():
    return report_document.document()


def wilson(right, n):
    """Wilson's interval by its formula, at 95 %."""
    z = 1.959963984540054
    p = right / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return [100 * (middle + sign * half) / (1 + z * z / n) for sign in (-1, 1)]


def test_an_interval_is_wilsons_over_all_images_of_all_seeds(results):
    point = accuracy_series(results, "dense")[KERAS][0]
    right = round(sum(results.comparisons[0].values) * 100)
    assert point.n_answers == 50_000
    assert point.percent == pytest.approx(right / 500)
    assert [point.low, point.high] == pytest.approx(wilson(right, 50_000))
    assert [point.low, point.high] != pytest.approx(wilson(right / 5, 10_000)), "one seed's interval is another"


def test_a_seed_whose_training_was_judged_too_counts_once(results):
    before = accuracy_series(results, "dense")[NENGO_DL]
    judged = [
        replace(one, accuracy={one.cell.n_steps: before[0].percent})
        if (one.cell.system, one.cell.quantity) == ("nengo-dl", "training")
        else one
        for one in results.measured
    ]
    after = accuracy_series(replace(results, measured=tuple(judged)), "dense")[NENGO_DL]
    assert [point.n_answers for point in after] == [50_000] * 5


def test_each_synapse_of_the_thesis_recipe_is_a_curve_of_its_own(results):
    series = accuracy_series(results, "dense")
    with_synapse, without = (series[System("converted", "thesis", synapse)][-1] for synapse in (0.001, None))
    assert with_synapse.percent - without.percent > 10
    assert len(series) == 6


def test_seconds_are_medians_over_seeds_and_the_printed_ones_are_the_thesiss(results):
    series = seconds_series(results, "dense")
    line = next(line for line in results.comparisons if line.printed.quantity == "inference" and line.printed.n_steps)
    assert series[NENGO_DL][0] == (1, pytest.approx(line.measured, abs=0.01))
    assert dict(series[BALANCED])[15] == pytest.approx(0.028)
    printed = report_document.PRINTED["dense", "inference"]
    assert printed_series(results, "dense", "inference", "keras") == [(0, printed[0])]
    assert [value for _, value in printed_series(results, "dense", "inference", "nengo-dl")] == list(printed[1:])


def test_samples_are_found_by_model_recipe_and_population(results):
    samples = report_document.samples()
    found = by_population(samples, "dense", "raster")
    assert list(found) == ["model/dense/Relu", "model/dense_1/Relu", "model/dense_2/Relu"]
    assert list(found["model/dense/Relu"]) == ["thesis", "balanced"]
    assert by_population(samples, "cnn", "raster") == {}
    assert by_population({"dense.balanced.rate.a.b": np.zeros(2)}, "dense", "rate").keys() == {"a.b"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "other"}, "no snnrepro-results"),
        ({"version": 1}, "version 1"),
        ({"lines": None}, "lacks lines"),
    ],
)
def test_results_that_cannot_be_read_are_refused_in_one_line(results, change, said, tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({**results_json.as_dict(results), **change}))
    with pytest.raises(DataError, match=said):
        write_report(tmp_path)


def test_missing_and_damaged_files_are_refused_in_one_line(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        results_json.read(tmp_path / "results.json")
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        results_json.read(tmp_path / "results.json")
    (tmp_path / "samples.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match="cannot be read"):
        read_samples(tmp_path / "samples.npz")
    assert read_samples(tmp_path / "none.npz") == {}


def test_samples_are_read_back_as_they_were(tmp_path):
    kept = report_document.samples()
    np.savez(str(tmp_path / "samples.npz"), **kept)
    read = read_samples(tmp_path / "samples.npz")
    assert list(read) == list(kept)
    assert all(np.array_equal(read[name], kept[name]) for name in kept)


@pytest.mark.parametrize(("package", "command"), [("matplotlib", "matplotlib>=3.3"), ("jinja2", "jinja2>=3.0")])
def test_a_missing_package_is_named_with_its_command(package, command, results, tmp_path, monkeypatch):
    if package == "jinja2":
        pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: report)")
        results = replace(results, measured=(), comparisons=(), converted=())
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == package:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DependencyError, match=f'pip install "{command}"'):
        report_document.write(tmp_path, results, {})
    if package == "matplotlib":
        with pytest.raises(DependencyError):
            draw("accuracy", "dense", 1.0, lambda figure: None, "", "")
