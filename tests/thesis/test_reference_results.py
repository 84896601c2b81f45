"""The reference result in the repository is whole, passes today's tables, and is what the documentation quotes."""

from __future__ import annotations

import json
import re

import pytest

from snnrepro.thesis import judge
from snnrepro.thesis import results as results_json
from snnrepro.thesis.cells import MODELS, PROFILES, cells

FULL_MNIST = "06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64"


@pytest.fixture(scope="module")
def folder(root):
    return root / "benchmarks" / "reference"


@pytest.fixture(scope="module")
def results(folder):
    return results_json.read(folder)


def test_the_reference_was_measured_in_full_on_the_full_mnist(results):
    assert results.profile == "thesis"
    assert (results.data["sha256"], results.data["is_full_mnist"]) == (FULL_MNIST, True)
    for model in MODELS:
        expected = cells(model, PROFILES["thesis"][model])
        assert [one.cell for one in results.measured if one.cell.model == model] == expected
    assert results.environment["libraries"]["nengo-dl"]
    assert results.environment["cpu"]


def test_no_judged_figure_of_the_reference_fails(results, folder):
    assert results.passed
    outcomes = [verdict.outcome for verdict in results.verdicts]
    assert outcomes.count(judge.PASS) >= 18
    stored = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert [one["verdict"]["outcome"] for one in stored["lines"] + stored["trends"]] == outcomes


def _row(page, model, heading):
    """Return the numbers of a row of a page's table of a model."""
    section = page[page.index(f"| {model} |") :]
    row = next(line for line in section.splitlines() if line.startswith(f"| {heading} |"))
    return [text.strip() for text in row.split("|")[2:-1]]


@pytest.mark.parametrize("model", ["dense", "cnn"])
@pytest.mark.parametrize(
    ("quantity", "thesis", "measured"),
    [
        ("accuracy", "accuracy %, thesis", "accuracy %, measured"),
        ("training", "training s, thesis", "training s, measured"),
        ("inference", "inference s, thesis", "inference s, measured"),
    ],
)
def test_the_documentation_quotes_the_reference(root, results, model, quantity, thesis, measured):
    page = (root / "docs" / "reproduce.md").read_text(encoding="utf-8")
    lines = [line for line in results.comparisons if (line.printed.model, line.printed.quantity) == (model, quantity)]
    assert len(lines) == 6
    assert _row(page, model, thesis) == [f"{line.printed.value:.2f}" for line in lines]
    found = ["–" if line.measured is None else f"{line.measured:.2f}" for line in lines]
    assert _row(page, model, measured) == found


@pytest.mark.parametrize(
    ("file", "heading", "n_rows"),
    [("docs/reproduce.md", "points lost to Keras", 7), ("README.md", "points of accuracy lost to Keras", 4)],
)
def test_the_conversions_quoted_are_the_references(root, results, file, heading, n_rows):
    page = (root / file).read_text(encoding="utf-8")
    table = page[page.index(f"| {heading} |") :].partition("\n\n")[0].splitlines()[2:]
    expected = {}
    for one in results.converted:
        synapse = "no synapse" if one.recipe == "thesis" and one.synapse is None else ""
        synapse = f"{one.synapse * 1000:g} ms synapse" if one.synapse else synapse
        name = f"{one.model}, `{one.recipe}`" + (f", {synapse}" if synapse else "")
        expected[name] = [f"{one.loss[n]:.2f}" if n in one.loss else "" for n in (4, 8, 15, 30, 45, 60)]
    quoted = {line.split("|")[1].strip(): [text.strip() for text in line.split("|")[2:-1]] for line in table}
    assert len(quoted) == n_rows
    assert quoted == {name: expected[name] for name in quoted}


def test_the_reference_names_no_path_of_a_machine(folder):
    for name in ("results.json", "report.html", "report.md"):
        assert not re.search(
            r"(/(home/|root|work/|Users/|opt/|tmp/)|[A-Z]:\\)", (folder / name).read_text(encoding="utf-8")
        )
