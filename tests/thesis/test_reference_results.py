"""The reference result in the repository is whole, passes today's tables, and is what the README quotes."""

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


def _row(readme, model, heading):
    """Return the numbers of a row of the README's table of a model."""
    section = readme[readme.index(f"| {model} |") :]
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
def test_the_readme_quotes_the_reference(root, results, model, quantity, thesis, measured):
    readme = (root / "README.md").read_text(encoding="utf-8")
    lines = [line for line in results.comparisons if (line.printed.model, line.printed.quantity) == (model, quantity)]
    assert len(lines) == 6
    assert _row(readme, model, thesis) == [f"{line.printed.value:.2f}" for line in lines]
    found = ["–" if line.measured is None else f"{line.measured:.2f}" for line in lines]
    assert _row(readme, model, measured) == found


def test_the_readmes_conversions_are_the_references(root, results):
    readme = (root / "README.md").read_text(encoding="utf-8")
    table = readme[readme.index("| points lost to Keras |") :]
    for one in results.converted:
        synapse = "no synapse" if one.recipe == "thesis" and one.synapse is None else ""
        synapse = f"{one.synapse * 1000:g} ms synapse" if one.synapse else synapse
        name = f"{one.model}, `{one.recipe}`" + (f", {synapse}" if synapse else "")
        row = next(line for line in table.splitlines() if line.startswith(f"| {name} |"))
        quoted = [text.strip() for text in row.split("|")[2:-1]]
        expected = [f"{one.loss[n]:.2f}" if n in one.loss else "" for n in (4, 8, 15, 30, 45, 60)]
        assert quoted == expected, name


def test_the_reference_names_no_path_of_a_machine(folder):
    for name in ("results.json", "report.html", "report.md"):
        assert not re.search(
            r"(/(home/|root|work/|Users/|opt/|tmp/)|[A-Z]:\\)", (folder / name).read_text(encoding="utf-8")
        )
