"""Results of any number are put beside each other by their dates, figure by figure, and drawn."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from snnrepro.checking.results import write
from snnrepro.errors import DataError
from snnrepro.report import comparison, history
from tests.helpers import check_results
from tests.helpers.check_results import RIGHT
from tests.helpers.command_line import run_command


@pytest.fixture
def files(tmp_path):
    """Return three results of checks; the names are not in the order of the dates."""
    worse = RIGHT.copy()
    worse[1:19] = False
    given = {
        "b.json": ("2026-01-01", "aaa", "1.0", check_results.results()),
        "c.json": ("2026-02-01", "bbb", "1.0", check_results.results(operations=900.0)),
        "a.json": ("2026-03-01", "ccc", "2.0", check_results.results(worse)),
    }
    for name, (date, commit, numpy, results) in given.items():
        made = {"date": date, "commit": commit, "python": "3.11", "libraries": {"numpy": numpy}}
        write(replace(results, made=made), tmp_path / name)
    return [tmp_path / name for name in sorted(given)]


def test_every_figure_stands_over_the_results_by_date(files):
    done = run_command("compare", *files)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(",")[0] for line in lines[:3]] == ["1: b.json", "2: c.json", "3: a.json"]
    assert lines[2].endswith("ccc; numpy 1.0 -> 2.0")
    row = next(line for line in lines if "net: operations" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")[1:]] == ["1,000", "900", "1,000", "+0"]


def test_json_has_the_same(files):
    found = json.loads(run_command("compare", *files, "--json").stdout)
    assert [one["commit"] for one in found["results"]] == ["aaa", "bbb", "ccc"]
    figures = {one["kind"]: one["values"] for one in found["figures"]}
    assert figures["operations"] == [1000.0, 900.0, 1000.0]
    assert figures["accuracy"][0] == figures["accuracy"][1] > figures["accuracy"][2]


def test_two_results_of_checks_are_compared_image_by_image(files):
    worse, first, second = files
    done = run_command("compare", first, second)
    assert done.exit_code == 0
    assert "-100" in next(line for line in done.stdout.splitlines() if " operations " in line)
    done = run_command("compare", first, worse, "--json")
    assert done.exit_code == 1, "the accuracy differs by more than chance"
    found = json.loads(done.stdout)
    low, high = next(one["interval"] for one in found["differences"] if one["figure"] == "accuracy")
    assert low < high < 0
    assert found["conditions"]["numpy"] == ["1.0", "2.0"]


@pytest.mark.parametrize("name", ["history.svg", "history.png"])
def test_the_chart_is_written(files, tmp_path, name):
    done = run_command("compare", *files, "-o", tmp_path / name)
    assert done.exit_code == 0, done.stderr
    drawn = (tmp_path / name).read_bytes()
    assert drawn[:4] == b"\x89PNG" if name.endswith("png") else b"</svg>" in drawn


def test_a_chart_has_a_panel_for_each_kind_and_the_lines_that_moved_most(files):
    found = zip(files, comparison.read_all(files))
    milestones = history.in_order([history.milestone(path.name, results) for path, results in found])
    many = [
        replace(one, figures={("seconds", f"net {k}"): float(k * place) for k in range(9)})
        for place, one in enumerate(milestones)
    ]
    svg = history.plot(many).svg
    assert "seconds" in svg
    assert all((f">net {k}<" in svg) is (k > 2) for k in range(9))
    apart = [replace(one, figures={("seconds", str(place)): 1.0}) for place, one in enumerate(milestones)]
    with pytest.raises(DataError, match="no figure in common"):
        history.plot(apart)
    assert np.isclose(many[2].figures["seconds", "net 4"], 8.0)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["one"], "two results or more can be compared, got 1"),
        (["one", "one", "-o", "chart.pdf"], "must end in .svg or .png"),
        (["one", "none"], "no"),
    ],
)
def test_what_cannot_be_compared_is_refused(files, tmp_path, arguments, told):
    names = {"one": files[0], "none": tmp_path / "none.json"}
    done = run_command("compare", *(names.get(argument, argument) for argument in arguments))
    assert done.exit_code == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
