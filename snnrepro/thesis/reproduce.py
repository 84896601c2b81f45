"""A profile measured cell by cell, and its figures put beside the printed ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from statistics import mean, median
from typing import TYPE_CHECKING, Callable, Mapping

from snnrepro.environment import environment
from snnrepro.thesis import tables
from snnrepro.thesis.protocol import PROFILES, Cell, DenseRoad, Measured, cells
from snnrepro.thesis.tables import Row, Trend, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from snnrepro.datasets import Mnist

CellProgress = Callable[[Cell, float], None]
"""Called with a cell and the fraction of it that was done since the last call."""


@dataclass(frozen=True)
class Line:
    """One printed figure with what was measured.

    Attributes
    ----------
    row : Row
        As printed.
    measured : float or None
        Mean over seeds of an accuracy, median over seeds of seconds; None if it was not measured.
    values : tuple of float
        One a seed.
    verdict : Verdict
        Whether they agree.
    """

    row: Row
    measured: float | None
    values: tuple[float, ...]
    verdict: Verdict


@dataclass(frozen=True)
class TrendLine:
    """What must hold on any machine, with the statistic measured (None if too little was)."""

    trend: Trend
    statistic: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Converted:
    """Accuracy in % of the converted network by n_steps, mean over seeds, for one synapse (s, or None)."""

    synapse: float | None
    accuracy: Mapping[int, float]
    loss: float


@dataclass(frozen=True)
class Results:
    """Everything a reproduction gave, and under what conditions."""

    model: str
    profile: str
    seeds: tuple[int, ...]
    started: str
    settings: Mapping[str, object]
    data: Mapping[str, object]
    environment: Mapping[str, object]
    measured: tuple[Measured, ...]
    lines: tuple[Line, ...]
    trends: tuple[TrendLine, ...]
    converted: tuple[Converted, ...]

    @property
    def passed(self) -> bool:
        """Whether no judged figure failed."""
        return all(verdict.outcome != tables.FAIL for verdict in self.verdicts)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Every verdict, on figures and trends."""
        return (*(line.verdict for line in self.lines), *(line.verdict for line in self.trends))


def reproduce_dense(
    profile: str, data: Mnist, folder: Path | None = None, progress: CellProgress | None = None
) -> Results:
    """Measure the dense table of the thesis.

    Parameters
    ----------
    profile : str
        "quick" (one seed, minutes) or "thesis" (five seeds).
    data : Mnist
        Images and labels.
    folder : Path, optional
        Where the ONNX files and archives are kept; a temporary folder if left out.
    progress : callable, optional
        Called as the cells advance.

    Returns
    -------
    Results
        Printed and measured figures with their verdicts.
    """
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    road = DenseRoad(data, folder)
    measured: list[Measured] = []
    for cell in cells(PROFILES[profile]):
        advance = None if progress is None else _advance(progress, cell)
        measured.append(road.measure(cell, advance))
    return collect("dense", profile, data, tuple(measured), started)


def collect(model: str, profile: str, data: Mnist, measured: tuple[Measured, ...], started: str) -> Results:
    """Put measured cells beside the printed figures; the arguments are those of `Results`."""
    lines = []
    for row in tables.rows(model):
        values = values_of(row, measured)
        figure = None if not values else (median(values) if row.unit == "s" else mean(values))
        lines.append(Line(row, figure, values, tables.judge(row, figure, data.is_full)))
    trend_lines = []
    for trend in tables.trends(model):
        series = _series(trend, lines, measured)
        trend_lines.append(TrendLine(trend, *tables.judge_trend(trend, series)))
    return Results(
        model=model,
        profile=profile,
        seeds=PROFILES[profile].seeds,
        started=started,
        settings={**tables.settings(), **tables.model_settings(model), "protocol": PROTOCOL},
        data={
            "source": data.source,
            "sha256": data.sha256,
            "is_full_mnist": data.is_full,
            "n_train": len(data.x_train),
            "n_test": len(data.y_test),
        },
        environment=environment(),
        measured=measured,
        lines=tuple(lines),
        trends=tuple(trend_lines),
        converted=_converted(measured, PROFILES[profile].synapses),
    )


PROTOCOL = {
    "neuron": "nengo.LIF(tau_rc=0.02, tau_ref=0.002, amplitude=0.01), max_rates 100 Hz, intercepts 0",
    "initial_voltage": "uniform in [0, 1], drawn from the seed",
    "training": "NengoDL on the neurons' rates at one time step, SparseCategoricalCrossentropy(from_logits=True)",
    "readout": "output probe with synapse 0.1 s, last step, argmax",
    "dt_s": 0.001,
}
"""What the thesis leaves unsaid and its figures identify: the setting of NengoDL's MNIST example."""


def _series(trend: Trend, lines: list[Line], measured: tuple[Measured, ...]) -> list[tuple[int, float]]:
    """Return what a trend is judged on: ``(n_steps, seconds)``."""
    if trend.quantity == "pace":
        return [pair for one in measured for pair in one.pace.items()]
    return [
        (line.row.n_steps, line.measured)
        for line in lines
        if line.row.quantity == trend.quantity and line.row.n_steps and line.measured is not None
    ]


def values_of(row: Row, measured: tuple[Measured, ...]) -> tuple[float, ...]:
    """Return what was measured for a printed figure, one value a seed, in the row's unit."""
    if row.quantity == "accuracy_loss":
        return _losses(measured, _judged_synapse(measured), row.n_steps)
    if row.quantity == "accuracy":
        return tuple(
            result.accuracy[row.n_steps]
            for result in measured
            if result.cell.system == row.system and row.n_steps in result.accuracy
        )
    return tuple(
        result.seconds
        for result in measured
        if (result.cell.system, result.cell.quantity, result.cell.n_steps) == (row.system, row.quantity, row.n_steps)
    )


def _judged_synapse(measured: tuple[Measured, ...]) -> float | None:
    return next((result.cell.synapse for result in measured if result.cell.system == "converted"), None)


def _losses(measured: tuple[Measured, ...], synapse: float | None, n_steps: int) -> tuple[float, ...]:
    keras: dict[int, float] = {
        result.cell.seed: result.accuracy[0] for result in measured if result.cell.system == "keras" and result.accuracy
    }
    return tuple(
        keras[result.cell.seed] - result.accuracy[n_steps]
        for result in measured
        if result.cell.system == "converted" and result.cell.synapse == synapse and result.cell.seed in keras
    )


def _converted(measured: tuple[Measured, ...], synapses: tuple[float | None, ...]) -> tuple[Converted, ...]:
    summaries = []
    for synapse in synapses:
        runs = [
            result.accuracy
            for result in measured
            if result.cell.system == "converted" and result.cell.synapse == synapse
        ]
        if runs:
            by_n = {n_steps: mean(run[n_steps] for run in runs) for n_steps in runs[0]}
            losses = _losses(measured, synapse, max(by_n))
            summaries.append(Converted(synapse, by_n, mean(losses) if losses else float("nan")))
    return tuple(summaries)


def _advance(progress: CellProgress, cell: Cell) -> Callable[[float], None]:
    return lambda fraction: progress(cell, fraction)
