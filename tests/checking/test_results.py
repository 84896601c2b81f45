"""Figures of a model are kept, compared with earlier ones image by image, and written for machines and pages."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from snnrepro.checking import changes, exports
from snnrepro.checking.results import Result, Results, read, write
from snnrepro.errors import DataError
from snnrepro.metrics import lost_and_won
from snnrepro.network.task import Task
from tests.helpers import check_results
from tests.helpers.check_results import CLASSES, RIGHT
from tests.helpers.inner_pytest import BUDGET, CHECKS, MODEL


def _change(now, figure, limit=None, before=None):
    limits = [] if limit is None else [changes.limit(limit)]
    found = changes.changes(before or check_results.results(), now, limits)
    return next(one for one in found if one.figure == figure)


def test_results_survive_a_file(tmp_path):
    write(replace(check_results.results(), made={"date": "2026-11-27", "commit": "abc"}), tmp_path / "ref.json")
    again = read(tmp_path / "ref.json")
    before, after = check_results.results().models["net"], again.models["net"]
    assert (after.figures, after.task, after.images) == (before.figures, CLASSES, "same")
    assert after.counts.tobytes() == before.counts.tobytes()
    assert again.made["commit"] == "abc"


def test_a_map_of_many_numbers_survives_too(tmp_path):
    counts = np.random.RandomState(0).rand(5, 6)
    given = Results({"map": Result({}, Task("map", (4, 5, 3), axis=2), "", counts), "none": Result({"n_steps": 3})})
    write(given, tmp_path / "ref.json")
    again = read(tmp_path / "ref.json").models
    assert again["map"].task == given.models["map"].task
    assert again["map"].counts.tobytes() == counts.tobytes()
    assert again["none"].counts is None


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "[]",
        "{}",
        '{"format": "snnrepro-check-results", "version": 9}',
        '{"format": "snnrepro-check-results", "version": 1, "made": {}, "models": {"a": {}}}',
        '{"format": "snnrepro-check-results", "version": 1, "made": {}, "models": {"a": {"figures": {}, "task": null, '
        '"images": "", "counts": {"shape": [1000000000, 1000000000], "zlib": ""}}}}',
        '{"format": "snnrepro-check-results", "version": 1, "made": {}, "models": {"a": {"figures": {}, "task": null, '
        '"images": "", "counts": {"shape": [2, 2], "zlib": "eJw="}}}}',
    ],
)
def test_a_file_that_is_none_is_refused_with_its_name(tmp_path, broken):
    (tmp_path / "ref.json").write_text(broken)
    with pytest.raises(DataError, match=r"ref\.json: (no results|the results|of version)"):
        read(tmp_path / "ref.json")
    with pytest.raises(DataError, match=r"none\.json: no results"):
        read(tmp_path / "none.json")


def test_accuracies_on_the_same_images_are_compared_image_by_image():
    worse = RIGHT.copy()
    worse[1:9] = False
    change = _change(check_results.results(worse), "accuracy")
    assert change.change == pytest.approx(-4.0)
    oracle = lost_and_won(RIGHT, worse)
    assert change.interval == (-oracle.high, -oracle.low)
    shuffled = _change(check_results.results(np.roll(RIGHT, 1)), "accuracy")
    assert shuffled.change == 0.0
    assert shuffled.interval[1] > 3.0, "as many answers are right, but others: the interval is wide"
    assert _change(check_results.results(worse, images="others"), "accuracy").interval is None


@pytest.mark.parametrize(
    ("figures", "limit", "too_much"),
    [
        ({"operations": 1050.0}, "operations:5%", False),
        ({"operations": 1050.1}, "operations:5%", True),
        ({"operations": 900.0}, "operations:0%", False),
        ({"spikes": 51.0}, "spikes:1", False),
        ({"spikes": 51.1}, "spikes:1", True),
        ({"n_steps": 9}, "n_steps:0", True),
        ({"seconds": 2.1}, "seconds:100%", True),
        ({"seconds": None}, "seconds:100%", True),  # what was not measured has not been kept
    ],
)
def test_a_figure_may_get_worse_by_its_limit_and_no_more(figures, limit, too_much):
    now = check_results.results(**figures)
    assert _change(now, limit.partition(":")[0], limit).is_too_much is too_much


@pytest.mark.parametrize(("wrong", "limit", "too_much"), [(1, 0.5, False), (2, 0.5, True), (-3, 0.0, False)])
def test_accuracy_may_get_worse_by_its_limit_in_points(wrong, limit, too_much):
    now = RIGHT.copy()
    if wrong > 0:
        now[np.flatnonzero(RIGHT)[:wrong]] = False
    else:
        now[np.flatnonzero(~RIGHT)[:-wrong]] = True
    assert _change(check_results.results(now), "accuracy", f"accuracy:{limit}").is_too_much is too_much


@pytest.mark.parametrize("text", ["accuracy", "accuracy:", "accuracy:much", "joy:1", "spikes:-1", "spikes:nan", ":1"])
def test_a_limit_that_says_nothing_is_refused(text):
    with pytest.raises(DataError, match=r"accuracy:0\.2 .*figures are accuracy, loss"):
        changes.limit(text)


def test_a_reference_without_the_model_is_refused():
    other = Results({"other": Result({})})
    with pytest.raises(DataError, match="measured now net, in the reference other"):
        changes.changes(other, check_results.results())


def test_markdown_csv_and_dashboards_have_the_figures(tmp_path):
    results = Results(
        {"a|b": check_results.results().models["net"]}, {"commit": "abc", "libraries": {"numpy": "2.0", "nengo": None}}
    )
    changed = changes.changes(results, Results({"a|b": check_results.results(operations=2000.0).models["net"]}))
    for name in ("summary.md", "table.csv", "board.json"):
        exports.write(tmp_path / name, results, changed)
    markdown = (tmp_path / "summary.md").read_text().splitlines()
    assert markdown[0] == "### Spiking networks"
    row = next(line for line in markdown if line.startswith("| a\\|b | 8 |"))
    assert "| 90.00 |" in row
    assert row.count("|") == 1 + markdown[2].count("|")
    assert any("| operations | 1,000 | 2,000 | +1,000 |" in line for line in markdown)
    (table,) = csv.DictReader((tmp_path / "table.csv").read_text().splitlines())
    assert (table["model"], float(table["spiking"]), table["commit"], table["numpy version"]) == (
        "a|b",
        90,
        "abc",
        "2.0",
    )
    board = {one["name"]: (one["unit"], one["value"]) for one in json.loads((tmp_path / "board.json").read_text())}
    assert board["a|b: 100 - accuracy"] == ("%", 10.0)
    assert board["a|b: synaptic operations"] == ("per image", 1000.0)
    assert board["a|b: time steps"] == ("steps", 8)
    with pytest.raises(DataError, match=r"must end in one of \.md, \.csv, \.json"):
        exports.write(tmp_path / "table.xlsx", results)


def test_githubs_job_summary_is_added_to(tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step_summary_1"))
    (tmp_path / "step_summary_1").write_text("before\n")
    exports.write(tmp_path / "step_summary_1", check_results.results())
    assert (tmp_path / "step_summary_1").read_text().startswith("before\n### Spiking networks\n\n| model |")


def test_a_session_saves_and_the_next_one_compares(run, pytester):
    run(*MODEL, *BUDGET, "--snn-save", "ref.json").assert_outcomes(passed=CHECKS)
    limits = ("--snn-compare", "ref.json", "--snn-fail", "accuracy:0", "--snn-fail", "operations:0%")
    same = run(*MODEL, *BUDGET, *limits)
    assert same.ret == 0
    same.stdout.fnmatch_lines(["small.onnx accuracy *+0.00*ok", "small.onnx operations *+0 *ok"])
    more = run(*MODEL, *BUDGET, *limits, "--snn-n-steps", "60", "--snn-save", "ref.json", "--snn-export", "sum.md")
    assert more.ret == 1, "more steps take more operations"
    more.stdout.fnmatch_lines(
        [
            "small.onnx operations *TOO MUCH",
            "worse than it may be: small.onnx operations:0%",
            "written: *sum.md",
            "not written: *ref.json*",
        ]
    )
    more.assert_outcomes(passed=CHECKS)
    assert "TOO MUCH" in (pytester.path / "sum.md").read_text()
    assert run(*MODEL, *BUDGET, *limits).ret == 0, "the reference is as it was"


def test_what_was_not_measured_fails_its_limit(run):
    run(*MODEL, *BUDGET, "--snn-save", "ref.json")
    result = run(*MODEL, *BUDGET, "--snn-compare", "ref.json", "--snn-fail", "accuracy:1", "-k", "archives")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["nothing was measured"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--snn-fail", "accuracy:1"), "*--snn-fail needs earlier results*"),
        (("--snn-compare", "none.json"), "*none.json: no results*"),
        (("--snn-export", "table.xlsx"), "*must end in one of*"),
    ],
)
def test_what_cannot_be_compared_or_written_is_refused_before_any_work(run, options, told):
    result = run(*MODEL, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([told])


@pytest.mark.slow
def test_workers_save_what_one_process_saves(run, pytester):
    pytest.importorskip("xdist")
    run(*MODEL, *BUDGET, "--snn-save", "one.json", how="subprocess")
    run(*MODEL, *BUDGET, "--snn-save", "two.json", "-n", "2", how="subprocess")
    one, two = (json.loads((pytester.path / name).read_text())["models"] for name in ("one.json", "two.json"))
    for models in (one, two):
        assert models["small.onnx"]["figures"].pop("seconds") > 0
    assert one == two
