"""Table 3-1, dense network: the cells of ``snnrepro reproduce dense`` as benchmarks, with asserted figures.

``pytest benchmarks/ --benchmark-json=out.json`` measures the quick profile (one seed), ``--profile thesis`` five seeds.
The time of a benchmark is that of the whole cell; the seconds comparable with the thesis's are in ``extra_info``.
"""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from snnrepro.datasets import load_mnist
from snnrepro.environment import environment
from snnrepro.thesis import tables
from snnrepro.thesis.protocol import PROFILES, DenseRoad, cells
from snnrepro.thesis.reproduce import collect


@pytest.fixture(scope="module")
def profile(request):
    return PROFILES[request.config.getoption("--profile")]


@pytest.fixture(scope="module")
def data(request):
    return load_mnist(request.config.getoption("--data"))


@pytest.fixture(scope="module")
def road(data, nengo_dl, tmp_path_factory):
    return DenseRoad(data, tmp_path_factory.mktemp("dense"))


@pytest.fixture(scope="module")
def measured():
    """Every cell measured so far, in the order of the tests below."""
    return []


KINDS = list(dict.fromkeys((c.system, c.quantity, c.n_steps, c.synapse) for c in cells(PROFILES["thesis"])))


@pytest.mark.parametrize(("system", "quantity", "n_steps", "synapse"), KINDS)
def test_cell(benchmark, road, profile, data, measured, system, quantity, n_steps, synapse):
    """Measure one kind of cell, once a seed."""
    wanted = (system, quantity, n_steps, synapse)
    todo = [c for c in cells(profile) if (c.system, c.quantity, c.n_steps, c.synapse) == wanted]
    if not todo:
        pytest.skip(f"not in the profile {profile.name}")
    seeds = iter(todo)
    found = []

    def next_seed():
        return (next(seeds),), {}

    def measure(cell):
        found.append(road.measure(cell))

    benchmark.pedantic(measure, setup=next_seed, rounds=len(todo))
    measured.extend(found)
    benchmark.extra_info.update(
        environment=environment(),
        data=data.describe(),
        sha256=data.sha256,
        seeds=[one.cell.seed for one in found],
        seconds=[one.seconds for one in found],
        accuracy=[one.accuracy for one in found],
        pace=[one.pace for one in found],
    )
    assert all(one.seconds > 0 for one in found)


@pytest.fixture(scope="module")
def results(measured, data, profile):
    """The table of what the tests above measured."""
    assert measured, "no cell was measured; run the whole file"
    return collect("dense", profile.name, data, tuple(measured), datetime.now(timezone.utc).isoformat())


def _name(row):
    return f"{row.quantity}-{row.system}-{row.n_steps}"


@pytest.mark.parametrize("row", tables.rows("dense"), ids=_name)
def test_figure(results, row):
    """Compare one printed figure; one that cannot be judged here is skipped with its reason."""
    line = next(line for line in results.lines if line.row == row)
    if line.verdict.outcome == tables.NOT_JUDGED:
        pytest.skip(line.verdict.why)
    assert line.verdict.outcome == tables.PASS, f"{line.measured:.2f}, printed {row.value} {line.verdict.why}"


@pytest.mark.parametrize("trend", tables.trends("dense"), ids=lambda trend: trend.name)
def test_trend(results, trend):
    """Check what must hold on any machine."""
    line = next(line for line in results.trends if line.trend == trend)
    if line.verdict.outcome == tables.NOT_JUDGED:
        pytest.skip(line.verdict.why)
    assert line.verdict.outcome == tables.PASS, f"{line.statistic:.3f}, needed {line.verdict.why}"
