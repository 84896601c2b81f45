"""Tables 3-1 and 3-2: the cells of ``snnrepro reproduce`` as benchmarks, with asserted figures.

``pytest benchmarks/ --benchmark-json=out.json`` measures the networks inside the package, ``--profile quick`` and
``--profile thesis`` train theirs.
The time of a benchmark is that of the whole cell; the seconds comparable with the thesis's are in ``extra_info``.
"""

from __future__ import annotations

from dataclasses import asdict

import pytest

from snnrepro.environment import environment
from snnrepro.thesis import judge, tables
from snnrepro.thesis.cells import MODELS, PROFILES, cells
from snnrepro.thesis.experiment import Experiment
from snnrepro.thesis.reproduce import describe
from snnrepro.thesis.results import collect


@pytest.fixture(scope="module")
def experiment(data, profile, nengo_dl, tmp_path_factory):
    """Return a function that gives each model's experiment, the same one every time."""
    folder, known = tmp_path_factory.mktemp("thesis"), {}

    def of(model):
        if model not in known:
            known[model] = Experiment(model, PROFILES[profile][model], data, folder)
        return known[model]

    return of


@pytest.fixture(scope="module")
def measured():
    """Every cell measured so far, in the order of the tests below."""
    return []


def kind(cell):
    """Return what a cell is, whatever its seed and the number of seeds."""
    n_steps = 0 if cell.quantity == "training" else cell.n_steps
    return cell.model, cell.system, cell.quantity, n_steps, cell.recipe, cell.synapse


def pytest_generate_tests(metafunc):
    """Make one test of every kind of cell that the profile has."""
    if "wanted" in metafunc.fixturenames:
        plan = PROFILES[metafunc.config.getoption("--profile")]
        kinds = dict.fromkeys(kind(cell) for model in MODELS for cell in cells(model, plan[model]))
        metafunc.parametrize("wanted", kinds, ids=lambda one: "-".join(str(part) for part in one if part))


def test_cell(benchmark, experiment, profile, data, measured, wanted):
    """Measure one kind of cell, once a seed."""
    model = wanted[0]
    todo = [cell for cell in cells(model, PROFILES[profile][model]) if kind(cell) == wanted]
    seeds = iter(todo)
    found = []

    def next_seed():
        return (next(seeds),), {}

    def measure(cell):
        found.append(experiment(model).measure(cell))

    benchmark.pedantic(measure, setup=next_seed, rounds=len(todo))
    measured.extend(found)
    benchmark.extra_info.update(
        environment=environment(),
        data=data.describe(),
        sha256=data.sha256,
        measured=[asdict(one) for one in found],
    )
    assert all(one.seconds > 0 for one in found)


@pytest.fixture(scope="module")
def results(measured, data, profile, experiment):
    """The tables of what the tests above measured."""
    assert measured, "no cell was measured; run the whole file"
    models = list(dict.fromkeys(one.cell.model for one in measured))
    described = {model: describe(PROFILES[profile][model], experiment(model).sizes, data) for model in models}
    origin = {"is_full_mnist": data.is_full, "n_train": len(data.x_train), "n_test": len(data.y_test)}
    return collect(profile, described, origin, environment(), measured, "", "")


def _judged(verdict, found):
    if verdict.outcome == judge.NOT_JUDGED:
        pytest.skip(verdict.why)
    assert verdict.outcome == judge.PASS, f"{found}; needed: {verdict.why}"


@pytest.mark.parametrize(
    "row",
    [row for model in MODELS for row in tables.figures(model)],
    ids=lambda row: f"{row.model}-{row.quantity}-{row.system}-{row.n_steps}",
)
def test_figure(results, row):
    """Compare one printed figure; one that cannot be judged here is skipped with its reason."""
    line = next((line for line in results.comparisons if line.printed == row), None)
    if line is None:
        pytest.skip(f"{row.model} was not measured in this run")
    _judged(line.verdict, f"{line.measured}, printed {row.value}")


@pytest.mark.parametrize(
    "trend",
    [trend for model in MODELS for trend in tables.trends(model)],
    ids=lambda trend: f"{trend.model}: {trend.name}",
)
def test_trend(results, trend):
    """Check what must hold on any machine."""
    line = next((line for line in results.trends if line.trend == trend), None)
    if line is None:
        pytest.skip(f"{trend.model} was not measured in this run")
    _judged(line.verdict, line.statistic)
