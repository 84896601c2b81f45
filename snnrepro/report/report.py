"""A folder of results as a report: a page, a Markdown file, and the charts on their own."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Mapping, Sequence

from snnrepro.files import opened_npz, read_array, written_whole
from snnrepro.report.conditions import what_was_run
from snnrepro.report.curves import accuracy_plot, time_plot
from snnrepro.report.names import OUTCOMES, SIGNS
from snnrepro.report.sample_plots import SAMPLE_PLOTS
from snnrepro.report.sections import sections
from snnrepro.report.templates import rendered
from snnrepro.report.verdict import overall
from snnrepro.thesis.results import read

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.report.figure import Plot
    from snnrepro.thesis.results import Results


def write_report(folder: str | Path, progress: Callable[[float], None] = lambda _: None) -> list[Path]:
    """Write ``report.html``, ``report.md`` and ``plots/`` beside ``results.json`` (and ``samples.npz``).

    Parameters
    ----------
    folder : str or Path
        Of the results; they are judged anew.
    progress : callable
        Called with the fraction of the work done since the last call.

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
    return write_pages(read(folder / "results.json"), read_samples(folder / "samples.npz"), folder, progress)


def write_pages(
    results: Results,
    samples: Mapping[str, AnyArray],
    folder: Path,
    progress: Callable[[float], None] = lambda _: None,
) -> list[Path]:
    """Write the report of results and kept samples into a folder; see `write_report`."""
    wanted = [partial(make, results, model) for make in (accuracy_plot, time_plot) for model in results.models]
    wanted += [partial(make, samples, model) for make in SAMPLE_PLOTS for model in results.models]
    plots = []
    for make in wanted:
        plot = make()
        plots += [] if plot is None else [plot]
        progress(1 / (len(wanted) + 1))
    files = {f"report.{ending}": page.encode() for ending, page in _rendered(results, plots).items()}
    for plot in plots:
        files[f"plots/{plot.name}.svg"] = plot.svg_file.encode()
        files[f"plots/{plot.name}.png"] = plot.png
    for name, content in files.items():
        with written_whole(folder / name) as file:
            file.write(content)
    progress(1 / (len(wanted) + 1))
    return [folder / name for name in files]


def _rendered(results: Results, plots: Sequence[Plot]) -> dict[str, str]:
    """Return the page and the Markdown file by their ending."""
    content = {
        "overall": overall(results),
        "outcomes": OUTCOMES,
        "signs": SIGNS,
        "what": what_was_run(results),
        "sections": sections(results, plots),
    }
    return {ending: rendered(f"page.{ending}.jinja", content, markdown=_markdown) for ending in ("html", "md")}


def _markdown(text: str) -> str:
    """Return text in which nothing is taken for Markdown or HTML, in one line."""
    text = " ".join(text.split())
    for sign in "\\`*_|[]<":
        text = text.replace(sign, f"\\{sign}")
    return text


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
