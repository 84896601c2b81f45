"""The thesis's table on a terminal, measured beside printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from snnrepro.thesis import tables

if TYPE_CHECKING:
    from snnrepro.thesis.reproduce import Line, Results, TrendLine

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
    data, machine = results.data, results.environment
    n_seeds = len(results.seeds)
    console.print(f"[bold]Table 3-1, {results.model} network[/bold]: thesis and measured, profile {results.profile}")
    console.print(f"data: {data['source']}, {data['n_train']:,} train / {data['n_test']:,} test")
    console.print(f"machine: {machine['cpu']}, {machine['cpu_cores']} cores, GPUs: {machine['gpus'] or 'none'}")
    summary = "; accuracies are means, seconds medians over them, with their range" if n_seeds > 1 else ""
    console.print(f"seeds: {n_seeds}{summary}; n is n_steps, diff. is measured minus thesis")
    for quantity in _QUANTITIES:
        console.print(_figures(results, quantity))
    console.print(_trends(results))
    console.print(_converted(results))
    for reason in sorted({verdict.why for verdict in results.verdicts if verdict.outcome == tables.NOT_JUDGED}):
        console.print(f"[dim]not judged: {reason}[/dim]")
    outcomes = [verdict.outcome for verdict in results.verdicts]
    failed, passed = outcomes.count(tables.FAIL), outcomes.count(tables.PASS)
    colour = "red" if failed else "green"
    counts = f"{passed} passed, {failed} failed, {outcomes.count(tables.NOT_JUDGED)} not judged"
    console.print(f"[bold {colour}]{counts}[/bold {colour}]")


def _figures(results: Results, quantity: str) -> Table:
    table = Table(title=_QUANTITIES[quantity], title_justify="left")
    table.add_column("system", no_wrap=True)
    # Short headings: the tables fit a terminal of 80 columns.
    table.add_column("n", justify="right", no_wrap=True)
    for heading in ("thesis", "measured", "range", "diff."):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for line in results.lines:
        if line.row.quantity == quantity:
            row = line.row
            table.add_row(
                _system(row.system), str(row.n_steps or "–"), f"{row.value:.2f}", *_measured(line), _verdict(line)
            )
    return table


def _verdict(line: Line | TrendLine) -> str:
    outcome, why = line.verdict.outcome, line.verdict.why
    text = outcome if outcome == tables.NOT_JUDGED else f"{outcome} ({why.split(' %')[0].split(' points')[0]})"
    return f"[{_STYLES[outcome]}]{text}[/{_STYLES[outcome]}]"


def _measured(line: Line) -> list[str]:
    if line.measured is None:
        return ["–", "", ""]
    spread = f"{min(line.values):.2f}–{max(line.values):.2f}" if len(line.values) > 1 else ""
    return [f"{line.measured:.2f}", spread, f"{line.measured - line.row.value:+.2f}"]


def _system(system: str) -> str:
    return {"keras": "Keras", "nengo-dl": "NengoDL", "converted": "converted"}[system]


def _trends(results: Results) -> Table:
    table = Table(title="on any machine", title_justify="left")
    table.add_column("what must hold")
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for line in results.trends:
        statistic = "–" if line.statistic is None else f"{line.statistic:.3f}"
        table.add_row(f"{line.trend.name} ({line.trend.statistic.replace('_', ' ')})", statistic, _verdict(line))
    return table


def _converted(results: Results) -> Table:
    table = Table(title="converted without retraining, accuracy, %", title_justify="left")
    table.add_column("neurons", no_wrap=True)
    every_n = list(results.converted[0].accuracy) if results.converted else []
    for n_steps in every_n:
        table.add_column(f"n={n_steps}", justify="right", no_wrap=True)
    table.add_column("loss to Keras", justify="right")
    for converted in results.converted:
        synapse = "no synapse" if converted.synapse is None else f"{converted.synapse * 1000:g} ms synapse"
        values = [f"{converted.accuracy[n_steps]:.2f}" for n_steps in every_n]
        table.add_row(f"LIF, {synapse}", *values, f"{converted.loss:.2f}")
    return table
