"""A folder of results as a report: a page, a Markdown file, and the charts on their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnrepro.errors import DataError, one_line
from snnrepro.files import opened_npz, read_array, written_whole
from snnrepro.report.html import write_html
from snnrepro.report.markdown import PLOTS, write_markdown
from snnrepro.report.plots import plots as all_plots
from snnrepro.report.results_json import FORMAT, VERSION

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray

_NEEDED = {
    "profile": str,
    "started": str,
    "settings": dict,
    "models": dict,
    "data": dict,
    "environment": dict,
    "measured": list,
    "lines": list,
    "trends": list,
    "converted": list,
}


def write_report(folder: str | Path) -> list[Path]:
    """Write ``report.html``, ``report.md`` and ``plots/`` beside ``results.json`` (and ``samples.npz``).

    Parameters
    ----------
    folder : str or Path
        Of the results.

    Returns
    -------
    list of Path
        Every file written, the page first. The same results give the same bytes.

    Raises
    ------
    DataError
        There are no results, or none that this version can read.
    DependencyError
        matplotlib or Jinja2 is missing.
    """
    folder = Path(folder)
    document = read_results(folder / "results.json")
    samples = read_samples(folder / "samples.npz")
    plots = all_plots(document, samples)
    page, text = folder / "report.html", folder / "report.md"
    write_html(document, samples, page, plots)
    write_markdown(document, text, plots)
    written = [page, text]
    for plot in plots:
        for ending, content in (("svg", plot.svg_file.encode()), ("png", plot.png)):
            path = folder / PLOTS / f"{plot.name}.{ending}"
            with written_whole(path) as file:
                file.write(content)
            written.append(path)
    return written


def read_results(path: Path) -> dict[str, Any]:
    """Return the parsed ``results.json``.

    Raises
    ------
    DataError
        It is missing, not JSON, of another format or version, or lacks a part.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; `snnrepro reproduce -o {path.parent}` writes it") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {one_line(error)}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DataError(f"{path} is no snnrepro-results file")
    if document.get("version") != VERSION:
        raise DataError(f"{path} has version {document.get('version')!r}, this snnrepro reads version {VERSION}")
    wrong = [name for name, kind in _NEEDED.items() if not isinstance(document.get(name), kind)]
    if wrong:
        raise DataError(f"{path} lacks {', '.join(wrong)}")
    return document


def read_samples(path: Path) -> dict[str, AnyArray]:
    """Return the arrays of ``samples.npz``, none if there is no such file.

    Raises
    ------
    DataError
        The file is damaged.
    """
    if not path.exists():
        return {}
    with opened_npz(path) as archive:
        names = [name[: -len(".npy")] for name in archive.namelist() if name.endswith(".npy")]
        return {name: read_array(archive, name) for name in names}
