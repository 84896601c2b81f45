"""Results of checks for machines and pages: Markdown, CSV, and the JSON that benchmark dashboards read."""

from __future__ import annotations

import csv
import io
import json
import os
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

from snnrepro.checking.changes import FIGURES
from snnrepro.checking.summary import change_cells, figure_cells
from snnrepro.errors import DataError, one_line
from snnrepro.files import written_whole

if TYPE_CHECKING:
    from pathlib import Path

    from snnrepro.checking.changes import Change
    from snnrepro.checking.results import Results


def write(path: Path, results: Results, changed: Sequence[Change] = ()) -> None:
    """Write results in the form that the file's name asks for: .md, .csv or .json.

    Parameters
    ----------
    path : Path
        ``.md``: a job summary, with the changes; the file that ``GITHUB_STEP_SUMMARY`` names is one, and added to.
        ``.csv``: a row for each model. ``.json``: a list of ``{"name", "unit", "value"}``, all of which are better if
        they are smaller, as github-action-benchmark's ``customSmallerIsBetter`` reads them.
    results : Results
        What was measured.
    changed : sequence of Change
        Beside earlier results, if there are any.

    Raises
    ------
    DataError
        The name ends otherwise, or the file cannot be written.
    """
    require_known(path)
    content = _FORMS[_form(path)](results, changed).encode()
    before = path.read_bytes() if _is_step_summary(path) and path.exists() else b""
    try:
        with written_whole(path) as file:
            file.write(before + content)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({one_line(error)})") from error


def require_known(path: Path) -> None:
    """Refuse a file whose name asks for no form that there is."""
    if _form(path) not in _FORMS:
        raise DataError(f"{path}: its name must end in one of {', '.join(_FORMS)}")


def _form(path: Path) -> str:
    return ".md" if _is_step_summary(path) else path.suffix


def _is_step_summary(path: Path) -> bool:
    """Whether it is the file in which GitHub's CI collects what it shows of a step."""
    return str(path) == os.environ.get("GITHUB_STEP_SUMMARY")


def _markdown(results: Results, changed: Sequence[Change]) -> str:
    figures = {name: result.figures for name, result in results.models.items()}
    parts = ["### Spiking networks", _table(figure_cells(figures), right=1)]
    if changed:
        parts += ["Beside the reference:", _table(change_cells(changed), right=2)]
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[Sequence[str]], right: int) -> str:
    """Return a Markdown table; all but the first `right` columns are numbers."""
    rule = ["---" if column < right else "---:" for column in range(len(rows[0]))]
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in [escaped[0], rule, *escaped[1:]])


def _csv(results: Results, _: Sequence[Change]) -> str:
    keys = list(dict.fromkeys(key for result in results.models.values() for key in result.figures))
    made = {key: results.made.get(key) for key in ("date", "commit", "python", "cpu")}
    made.update({f"{name} version": version for name, version in results.made.get("libraries", {}).items() if version})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["model", *keys, *made])
    for name, result in results.models.items():
        writer.writerow([name, *(result.figures.get(key, "") for key in keys), *made.values()])
    return text.getvalue()


_UNITS: Mapping[str, tuple[str, str]] = {
    "loss": ("loss", "points"),
    "n_steps": ("time steps", "steps"),
    "spikes": ("spikes", "per image"),
    "operations": ("synaptic operations", "per image"),
    "seconds": ("simulation", "s"),
}


def _dashboard(results: Results, _: Sequence[Change]) -> str:
    entries: list[dict[str, Any]] = []
    for name, result in results.models.items():
        if "spiking" in result.figures:
            wrong = round(100.0 - result.figures["spiking"], 6)
            entries.append({"name": f"{name}: 100 - {result.figures['figure']}", "unit": "%", "value": wrong})
        for figure, (words, unit) in _UNITS.items():
            value = result.figures.get(FIGURES[figure][0])
            if value is not None:
                entries.append({"name": f"{name}: {words}", "unit": unit, "value": value})
    return json.dumps(entries, indent=1) + "\n"


_FORMS: Mapping[str, Callable[[Results, Sequence[Change]], str]] = {
    ".md": _markdown,
    ".csv": _csv,
    ".json": _dashboard,
}
