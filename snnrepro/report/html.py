"""``report.html``: one file that needs no other, for a phone, a desk and paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from snnrepro.errors import DependencyError
from snnrepro.files import written_whole
from snnrepro.report.plots import plots as all_plots
from snnrepro.report.sections import sections, what_was_run
from snnrepro.report.table import SIGNS
from snnrepro.report.verdict import overall

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.report.figure import Plot


def write_html(
    document: Mapping[str, Any], samples: Mapping[str, AnyArray], path: Path, plots: Sequence[Plot] | None = None
) -> None:
    """Write the page of a reproduction.

    Parameters
    ----------
    document : dict
        ``results.json``, version 2.
    samples : dict of numpy.ndarray
        ``samples.npz``; may be empty.
    path : Path
        The file to write.
    plots : sequence of Plot, optional
        The charts, if they are drawn already.

    Raises
    ------
    DependencyError
        matplotlib or Jinja2 is missing.
    """
    page = _page(document, all_plots(document, samples) if plots is None else plots)
    with written_whole(path) as file:
        file.write(page.encode())


def _page(document: Mapping[str, Any], plots: Sequence[Plot]) -> str:
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise DependencyError('Jinja2 is not installed; run: pip install "jinja2>=3.0"') from error
    folder = Path(__file__).parent
    # Names and sources come from files that others write: everything but our own SVG and CSS is escaped.
    loader = FileSystemLoader(str(folder), encoding="utf-8")
    template = Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("page.html.jinja")
    verdict = overall(document)
    return template.render(
        css=(folder / "page.css").read_text(encoding="utf-8"),
        overall=verdict,
        sign=SIGNS[verdict.outcome],
        what=what_was_run(document),
        sections=sections(document, plots),
    )
