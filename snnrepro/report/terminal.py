"""The thesis's table on a terminal, measured beside printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from snnrepro.thesis import tables

if TYPE_CHECKING:
    from snnrepro.thesis.reproduce import Line, Results

_STYLES = {tables.PASS: "green", tables.FAIL: "bold red", tables.NOT_JUDGED: "dim"}
_QUANTITIES = {
    "accuracy": "accuracy, %",
    "training": "training, s",
    "inference": "inference, s",
    "accuracy_loss": "conversion loss, points",
}


def print_results(results: Results, console: Console) -> None:
    """Print the tables, the trends and the conditions of a reproduction.

    Parameters
    ----------
    results : Results
        What to print.
    console : rich.console.Console
        Where to.
    """
    console.print(f"[bold]Table 3-1, {results.model} network[/bold], profile {results.profile}")
    console.print(f"data: {results.data['source']}, {results.data['n_train']} train / {results.data['n_test']} test")
    console.print(_figures(results))
    console.print(_trends(results))
    console.print(_converted(results))
    reasons = sorted({line.verdict.why for line in results.lines if line.verdict.outcome == tables.NOT_JUDGED})
    for reason in reasons:
        console.print(f"[dim]not judged: {reason}[/dim]")
    outcomes = [verdict.outcome for verdict in results.verdicts]
    failed, passed = outcomes.count(tables.FAIL), outcomes.count(tables.PASS)
    colour = "red" if failed else "green"
    console.print(f"[bold {colour}]{passed} passed, {failed} failed[/bold {colour}]")


def _figures(results: Results) -> Table:
    table = Table()
    for heading in ("quantity", "system", "n_steps"):
        table.add_column(heading, no_wrap=True)
    for heading in ("thesis", "measured", "range", "difference", "tolerance"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    shown: list[str] = []
    for line in results.lines:
        row = line.row
        if row.quantity not in shown:
            if shown:
                table.add_section() if hasattr(table, "add_section") else table.add_row()
            shown.append(row.quantity)
            quantity = _QUANTITIES[row.quantity]
        else:
            quantity = ""
        tolerance = "" if row.tolerance is None else f"±{row.tolerance:g}"
        style = _STYLES[line.verdict.outcome]
        table.add_row(
            quantity,
            _system(row.system),
            str(row.n_steps or "–"),
            f"{row.value:.2f}",
            *_measured(line),
            tolerance,
            f"[{style}]{line.verdict.outcome}[/{style}]",
        )
    return table


def _measured(line: Line) -> list[str]:
    if line.measured is None:
        return ["–", "", ""]
    spread = f"{min(line.values):.2f}–{max(line.values):.2f}" if len(line.values) > 1 else ""
    return [f"{line.measured:.2f}", spread, f"{line.measured - line.row.value:+.2f}"]


def _system(system: str) -> str:
    return {"keras": "Keras", "nengo-dl": "NengoDL, trained", "converted": "NengoDL, converted"}[system]


def _trends(results: Results) -> Table:
    table = Table()
    table.add_column("on any machine")
    for heading in ("measured", "needed"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for line in results.trends:
        style = _STYLES[line.verdict.outcome]
        statistic = "–" if line.statistic is None else f"{line.statistic:.3f}"
        name = f"{line.trend.name} ({line.trend.statistic.replace('_', ' ')})"
        table.add_row(name, statistic, line.verdict.why, f"[{style}]{line.verdict.outcome}[/{style}]")
    return table


def _converted(results: Results) -> Table:
    table = Table()
    table.add_column("converted without retraining, accuracy %")
    every_n = list(results.converted[0].accuracy) if results.converted else []
    for n_steps in every_n:
        table.add_column(f"n={n_steps}", justify="right", no_wrap=True)
    table.add_column("loss against Keras", justify="right")
    for converted in results.converted:
        synapse = "no synapse" if converted.synapse is None else f"synapse {converted.synapse * 1000:g} ms"
        values = [f"{converted.accuracy[n_steps]:.2f}" for n_steps in every_n]
        table.add_row(f"LIF, {synapse}", *values, f"{converted.loss:.2f}")
    return table
