"""What a reproduction gave: measured cells beside the printed figures, judged; written to ``results.json`` and read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from statistics import mean, median
from typing import Any, Mapping, Sequence

from snnrepro.errors import DataError, one_line
from snnrepro.files import written_whole
from snnrepro.thesis import tables
from snnrepro.thesis.cells import Measured
from snnrepro.thesis.tables import Grounds, Row, Trend, Verdict

FORMAT, VERSION = "snnrepro-results", 2

_PARTS: Mapping[str, type] = {
    **dict.fromkeys(("profile", "started", "finished"), str),
    **dict.fromkeys(("settings", "models", "data", "environment"), dict),
    **dict.fromkeys(("measured", "lines", "trends", "converted"), list),
}

PROTOCOL = {
    "neuron": "nengo.LIF(tau_rc=0.02, tau_ref=0.002, amplitude=0.01), max_rates 100 Hz, intercepts 0",
    "initial_voltage": "uniform in [0, 1], drawn from the seed",
    "training": "NengoDL on the neurons' rates at one time step, SparseCategoricalCrossentropy(from_logits=True)",
    "readout": "output probe with synapse 0.1 s, last step, argmax; images: the mean over the steps",
    "dt_s": 0.001,
}
"""What the thesis leaves unsaid and its figures identify: the setting of NengoDL's MNIST example."""


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
    n_images : int
        Test images behind each value; 0 for seconds.
    verdict : Verdict
        Whether they agree.
    """

    row: Row
    measured: float | None
    values: tuple[float, ...]
    n_images: int
    verdict: Verdict


@dataclass(frozen=True)
class TrendLine:
    """What must hold on any machine, with the statistic measured (None if too little was)."""

    trend: Trend
    statistic: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Converted:
    """What a conversion without retraining gave, over the seeds.

    Attributes
    ----------
    model, recipe : str
        Of which network, by which recipe.
    synapse : float or None
        Of the recipe "thesis", s.
    n_images : int
        Test images.
    accuracy, loss : dict of int to float
        By n_steps, the mean in %, and the mean of what Keras answers better on the same images, in points.
    range : dict of int to (float, float)
        The lowest and the highest accuracy.
    seconds : dict of int to float
        Median seconds of 10,000 images.
    """

    model: str
    recipe: str
    synapse: float | None
    n_images: int
    accuracy: Mapping[int, float]
    loss: Mapping[int, float]
    range: Mapping[int, tuple[float, float]]
    seconds: Mapping[int, float]


@dataclass(frozen=True)
class Results:
    """Everything a reproduction gave, and under what conditions.

    Attributes
    ----------
    profile : str
        "quick" or "thesis".
    started, finished : str
        ISO 8601, UTC.
    settings, models, data, environment : mapping
        The thesis's settings and what it leaves unsaid; of each model its sizes and how much was measured; the data
        set; the machine and its libraries.
    measured : tuple of Measured
        Every cell.
    lines, trends, converted : tuple
        The cells beside the printed figures, what must hold on any machine, and the conversions.
    """

    profile: str
    started: str
    finished: str
    settings: Mapping[str, Any]
    models: Mapping[str, Mapping[str, Any]]
    data: Mapping[str, Any]
    environment: Mapping[str, Any]
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


def collect(
    profile: str,
    models: Mapping[str, Mapping[str, Any]],
    data: Mapping[str, Any],
    machine: Mapping[str, Any],
    measured: Sequence[Measured],
    started: str,
    finished: str,
) -> Results:
    """Put measured cells beside the printed figures and judge them; the arguments are those of `Results`."""
    lines: list[Line] = []
    trends: list[TrendLine] = []
    converted: list[Converted] = []
    for model, described in models.items():
        own = [one for one in measured if one.cell.model == model]
        converted += _converted(model, own)
        own_lines = [_line(row, own, _grounds(described, data, machine)) for row in tables.rows(model)]
        lines += own_lines
        for trend in tables.trends(model):
            trends.append(TrendLine(trend, *tables.judge_trend(trend, _series(trend, own, own_lines, converted))))
    return Results(
        profile=profile,
        started=started,
        finished=finished,
        settings={**tables.settings(), "protocol": PROTOCOL},
        models=models,
        data=data,
        environment=machine,
        measured=tuple(measured),
        lines=tuple(lines),
        trends=tuple(trends),
        converted=tuple(converted),
    )


def _grounds(described: Mapping[str, Any], data: Mapping[str, Any], machine: Mapping[str, Any]) -> Grounds:
    in_full = described["n_train"] == data["n_train"] and described["epochs"] == tables.settings()["epochs"]
    return Grounds(bool(data["is_full_mnist"]), in_full, 0, bool(machine["gpus"]))


def _line(row: Row, measured: Sequence[Measured], grounds: Grounds) -> Line:
    sources = [one for one in measured if _gives(one, row)]
    values = tuple(_value(one, row) for one in sources)
    figure = None if not values else (median(values) if row.unit == "s" else mean(values))
    n_images = 0 if row.unit == "s" else min((one.n_images for one in sources), default=0)
    return Line(row, figure, values, n_images, tables.judge(row, figure, replace(grounds, n_images=n_images)))


def _gives(one: Measured, row: Row) -> bool:
    """Return whether a cell holds the figure of a row."""
    cell = one.cell
    if cell.system != row.system:
        return False
    if row.quantity == "accuracy_loss":
        return cell.recipe == "thesis" and cell.synapse == JUDGED_SYNAPSE and row.n_steps in one.accuracy
    if row.quantity == "accuracy":
        return row.n_steps in one.accuracy
    return (cell.quantity, cell.n_steps) == (row.quantity, row.n_steps)


JUDGED_SYNAPSE = 0.001
"""Of the converted network, s: the one setting that comes near the abstract's "about 10 %" (fitted, not known)."""


def _value(one: Measured, row: Row) -> float:
    if row.unit == "s":
        return one.seconds
    return one.accuracy[row.n_steps] if row.quantity == "accuracy" else one.accuracy[0] - one.accuracy[row.n_steps]


def _series(
    trend: Trend, measured: Sequence[Measured], lines: Sequence[Line], converted: Sequence[Converted]
) -> list[tuple[int, float]]:
    """Return what a trend is judged on: ``(n_steps, value)``."""
    if trend.quantity == "pace":
        return [pair for one in measured for pair in one.pace.items()]
    if trend.quantity == "training":
        return [
            (line.row.n_steps, line.measured)
            for line in lines
            if line.row.quantity == "training" and line.row.n_steps and line.measured is not None
        ]
    if trend.quantity == "balanced_ssim":
        return [(one.cell.n_steps, one.ssim["keras~snn"]) for one in measured if one.cell.recipe == "balanced"]
    balanced = [one for one in converted if (one.model, one.recipe) == (trend.model, "balanced")]
    if trend.quantity == "balanced_loss":
        return [(n, loss) for one in balanced for n, loss in one.loss.items() if n >= _ENOUGH_STEPS]
    if trend.quantity == "of_thesis_seconds":
        printed = {
            line.row.n_steps: line.row.value
            for line in lines
            if (line.row.quantity, line.row.system) == ("inference", "nengo-dl")
        }
        return [(n, seconds / printed[n]) for one in balanced for n, seconds in one.seconds.items() if n in printed]
    raise ValueError(f"tables.toml: unknown quantity {trend.quantity!r} of a trend")


_ENOUGH_STEPS = 15
"""The smallest n_steps, beside 1, of the thesis."""


def _converted(model: str, measured: Sequence[Measured]) -> list[Converted]:
    kinds = dict.fromkeys((one.cell.recipe, one.cell.synapse) for one in measured if one.cell.system == "converted")
    found = []
    for recipe, synapse in kinds:
        own = [one for one in measured if (one.cell.recipe, one.cell.synapse) == (recipe, synapse) and one.accuracy]
        if not own:
            continue
        by_n = sorted({n for one in own for n in one.accuracy if n})
        accuracies = {n: [one.accuracy[n] for one in own if n in one.accuracy] for n in by_n}
        losses = {n: [one.accuracy[0] - one.accuracy[n] for one in own if n in one.accuracy] for n in by_n}
        seconds = {n: [one.seconds for one in own if one.cell.n_steps == n] for n in by_n}
        found.append(
            Converted(
                model=model,
                recipe=recipe,
                synapse=synapse,
                n_images=min(one.n_images for one in own),
                accuracy={n: mean(values) for n, values in accuracies.items()},
                loss={n: mean(values) for n, values in losses.items()},
                range={n: (min(values), max(values)) for n, values in accuracies.items()},
                seconds={n: median(values) for n, values in seconds.items() if values},
            )
        )
    return found


def as_dict(results: Results) -> dict[str, Any]:
    """Return the results as plain dictionaries, lists, strings and numbers."""
    document = asdict(results)
    return {"format": FORMAT, "version": VERSION, "passed": results.passed, **document}


def write(results: Results, path: Path) -> None:
    """Write ``results.json``; one that is there already is kept beside it under the time it was written."""
    text = json.dumps(as_dict(results), indent=2) + "\n"
    with written_whole(path) as file:
        file.write(text.encode())
        if path.exists():
            stamp = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
            path.replace(path.with_name(f"{path.stem}-{stamp}{path.suffix}"))


def read(path: Path) -> Results:
    """Return the results of a file or folder, judged by today's tables: what it says of itself is not believed.

    Parameters
    ----------
    path : Path
        A ``results.json``, or the folder that holds one.

    Raises
    ------
    DataError
        It is missing, not JSON, of another format or version, or lacks a part.
    """
    file = path / "results.json" if path.is_dir() else path
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        reason = f"{file} does not exist or cannot be read ({error.strerror})"
        raise DataError(f"{reason}; give a results.json, or the folder that `snnrepro reproduce -o` wrote") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read: not JSON ({one_line(error)})") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DataError(f"{file} is no {FORMAT} file: not the results of snnrepro reproduce")
    if document.get("version") != VERSION:
        raise DataError(f"{file} has version {document.get('version')!r}, this snnrepro reads version {VERSION}")
    missing = [name for name, kind in _PARTS.items() if not isinstance(document.get(name), kind)]
    if missing:
        raise DataError(f"{file} lacks {', '.join(missing)}")
    try:
        return collect(
            document["profile"],
            document["models"],
            document["data"],
            document["environment"],
            [Measured.of(cell) for cell in document["measured"]],
            document["started"],
            document["finished"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{file}: damaged, {type(error).__name__}: {error}") from error
