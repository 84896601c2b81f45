"""What a reproduction gave, judged; written to ``results.json`` and read again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Mapping, Sequence

from snnrepro.errors import DataError, one_line
from snnrepro.files import written_whole
from snnrepro.thesis import tables
from snnrepro.thesis.cells import Measured
from snnrepro.thesis.comparisons import (
    Comparison,
    Converted,
    TrendComparison,
    compared,
    compared_trends,
    conversions,
)
from snnrepro.thesis.judge import FAIL, Grounds, Verdict

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
    comparisons, trends, converted : tuple
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
    comparisons: tuple[Comparison, ...]
    trends: tuple[TrendComparison, ...]
    converted: tuple[Converted, ...]

    @property
    def passed(self) -> bool:
        """Whether no judged figure failed."""
        return all(verdict.outcome != FAIL for verdict in self.verdicts)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Every verdict, on figures and trends."""
        return (*(one.verdict for one in self.comparisons), *(one.verdict for one in self.trends))


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
    comparisons: list[Comparison] = []
    trends: list[TrendComparison] = []
    converted: list[Converted] = []
    for model, described in models.items():
        own = [one for one in measured if one.cell.model == model]
        own_converted = conversions(model, own)
        comparisons += compared(model, own, _grounds(described, data, machine))
        trends += compared_trends(model, own, own_converted)
        converted += own_converted
    return Results(
        profile=profile,
        started=started,
        finished=finished,
        settings={**tables.settings(), "protocol": PROTOCOL},
        models=models,
        data=data,
        environment=machine,
        measured=tuple(measured),
        comparisons=tuple(comparisons),
        trends=tuple(trends),
        converted=tuple(converted),
    )


def _grounds(described: Mapping[str, Any], data: Mapping[str, Any], machine: Mapping[str, Any]) -> Grounds:
    in_full = described["n_train"] == data["n_train"] and described["epochs"] == tables.settings()["epochs"]
    return Grounds(bool(data["is_full_mnist"]), in_full, 0, bool(machine["gpus"]))


def as_dict(results: Results) -> dict[str, Any]:
    """Return the results as plain dictionaries, lists, strings and numbers."""
    document = asdict(results)
    # The file keeps the names of version 2.
    lines = [{"row": one.pop("printed"), **one} for one in document.pop("comparisons")]
    return {"format": FORMAT, "version": VERSION, "passed": results.passed, **document, "lines": lines}


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
