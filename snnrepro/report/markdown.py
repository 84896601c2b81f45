"""``report.md``: the same tables as the page, the charts as links."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from snnrepro.files import written_whole
from snnrepro.report.sections import sections, what_was_run
from snnrepro.report.table import Judged
from snnrepro.report.verdict import overall

if TYPE_CHECKING:
    from snnrepro.report.figure import Plot
    from snnrepro.report.table import Cell, Table

PLOTS = "plots"
"""The folder of the charts, beside the report."""


def write_markdown(document: Mapping[str, Any], path: Path, plots: Sequence[Plot]) -> None:
    """Write the report as Markdown; the charts are links to ``plots/*.svg``.

    Parameters
    ----------
    document : dict
        ``results.json``, version 2.
    path : Path
        The file to write.
    plots : sequence of Plot
        The charts.
    """
    with written_whole(path) as file:
        file.write(_text(document, plots).encode())


def _text(document: Mapping[str, Any], plots: Sequence[Plot]) -> str:
    verdict = overall(document)
    counts = ", ".join(f"{verdict.counts[name]} {word}" for name, word in _COUNTED.items())
    blocks = [
        "# The thesis reproduced: trained networks as spiking networks",
        _plain(what_was_run(document)),
        f"**{verdict.outcome}**: {counts}. {verdict.meaning}",
    ]
    if verdict.failures:
        blocks.append("\n".join(f"- **fail** {_plain(failure)}" for failure in verdict.failures))
    if verdict.losses:
        blocks.append("\n".join(f"- {_plain(loss)}" for loss in verdict.losses))
    for section in sections(document, plots):
        blocks.append(f"## {section.title}")
        if section.lead and section.has_content:
            blocks.append(section.lead)
        if section.id == "images" and section.has_content:
            blocks.append("`SSIM(a, b) = (2 μa μb + C1) (2 σab + C2) / ((μa² + μb² + C1) (σa² + σb² + C2))`")
        for plot in section.plots:
            blocks += [f"![{_plain(plot.alt)}]({PLOTS}/{plot.name}.svg)", _plain(plot.caption)]
        for one in section.tables:
            blocks += _table(one)
        blocks += map(_plain, section.missing)
    return "\n\n".join(blocks) + "\n"


_COUNTED = {"pass": "passed", "fail": "failed", "not judged": "not judged"}


def _table(one: Table) -> list[str]:
    headings = [_plain(column.heading) for column in one.columns]
    rules = ["--:" if column.is_number else ":--" for column in one.columns]
    lines = [_row(headings), _row(rules)]
    for group in one.groups:
        if group.heading:
            lines.append(_row([f"**{_plain(group.heading)}**", *[""] * (len(one.columns) - 1)]))
        lines += [_row([_cell(cell) for cell in row]) for row in group.rows]
    blocks = [f"**{_plain(one.title)}**", "\n".join(lines)]
    if one.notes:
        blocks.append(
            "\n".join(
                f"- {letter}: {_plain(sentence)}" if letter else f"- {_plain(sentence)}"
                for letter, sentence in one.notes
            )
        )
    return blocks


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(cell: Cell) -> str:
    if not isinstance(cell, Judged):
        return _plain(cell)
    parts = [f"{cell.sign} {cell.outcome}", _plain(cell.bound), f"({cell.note})" if cell.note else ""]
    return " ".join(filter(None, parts))


def _plain(text: str) -> str:
    """Return text in which nothing is taken for Markdown or HTML, in one line."""
    text = " ".join(text.split())
    for sign in "\\`*_|[]<":
        text = text.replace(sign, f"\\{sign}")
    return text
