"""What was measured of every model that was checked, and what changed, as tables."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from snnrepro.checking.changes import decimals

if TYPE_CHECKING:
    from snnrepro.checking.changes import Change

Figures = Mapping[str, Any]

_COLUMNS = {
    "steps": (("n_steps",), "{:d}"),
    "images": (("n_images",), "{:,d}"),
    "trained": (("trained",), "{:.2f}"),
    "spiking": (("spiking",), "{:.2f}"),
    "lost": (("loss",), "{:.2f}"),
    "95 %": (("loss_low", "loss_high"), "{:.2f} to {:.2f}"),
    "spikes": (("spikes",), "{:,.0f}"),
    "synops": (("operations",), "{:,.0f}"),
    "s": (("seconds",), "{:.2f}"),
}


def figure_cells(models: Mapping[str, Figures]) -> list[list[str]]:
    """Return the figures of models, a heading and a row for each; a cell is empty where nothing was measured."""
    rows = [["model", *_COLUMNS]]
    for name, figures in models.items():
        cells = (
            how.format(*(figures[key] for key in keys)) if all(key in figures for key in keys) else ""
            for keys, how in _COLUMNS.values()
        )
        rows.append([name, *cells])
    return rows


def change_cells(changed: Sequence[Change]) -> list[list[str]]:
    """Return what changed, a heading and a row for each figure."""
    rows = [["model", "figure", "reference", "now", "change", "95 %", "limit", ""]]
    for one in changed:
        digits = decimals(one.figure)
        sides = ["" if side is None else f"{side:,.{digits}f}" for side in (one.before, one.now)]
        apart = "" if one.change != one.change else f"{one.change:+,.{digits}f}"
        interval = "" if one.interval is None else "{:.2f} to {:.2f}".format(*one.interval)
        verdict = "" if one.limit is None else ("TOO MUCH" if one.is_too_much else "ok")
        limit = "" if one.limit is None else str(one.limit).partition(":")[2]
        rows.append([one.model, one.figure, *sides, apart, interval, limit, verdict])
    return rows


def as_text(models: Mapping[str, Figures], width: int) -> str:
    """Return the table of the figures for a terminal of so many characters, and what they are."""
    figures = ", ".join(sorted({one["figure"] for one in models.values() if "figure" in one}))
    what = f"trained, spiking: {figures or 'not judged'}, %; spikes, synaptic operations: per image"
    return f"{_drawn(figure_cells(models), 1, width)}{what}"


def changes_as_text(changed: Sequence[Change], width: int) -> str:
    """Return the table of what changed."""
    return _drawn(change_cells(changed), 2, width).rstrip("\n")


def _drawn(rows: Sequence[Sequence[str]], left: int, width: int) -> str:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for column, heading in enumerate(rows[0]):
        if column < left:
            table.add_column(heading, overflow="fold")
        else:
            table.add_column(heading, justify="right", no_wrap=True)
    for row in rows[1:]:
        table.add_row(*row)
    text = io.StringIO()
    Console(file=text, width=width, markup=False, highlight=False).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"
