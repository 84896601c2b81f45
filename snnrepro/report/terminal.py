"""The thesis's tables on a terminal, measured beside printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from snnrepro.report.wording import recipe_name, system_name
from snnrepro.thesis import tables

if TYPE_CHECKING:
    from rich.console import Console

    from snnrepro.thesis.reproduce import Converted, Line, Results, TrendLine

STYLES = {tables.PASS: "green", tables.FAIL: "bold red", tables.NOT_JUDGED: "dim"}
_TITLES = {"dense": "Table 3-1, dense network", "cnn": "Table 3-1, CNN", "autoencoder": "Table 3-2, autoencoder"}
_QUANTITIES = {
    "accuracy": "accuracy, %",
    "training": "training, s",
    "inference": "inference of 10,000 images, s",
    "accuracy_loss": "conversion loss by the thesis's recipe, 1 ms synapse, points",
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
    console.print(f"[bold]Thesis and measured[/bold], profile {results.profile}")
    console.print(f"data: {data['source']}, {data['n_train']:,} train / {data['n_test']:,} test")
    console.print(f"machine: {machine['cpu']}, {machine['cpu_cores']} cores, GPUs: {machine['gpus'] or 'none'}")
    console.print("n is n_steps, diff. is measured minus thesis; over seeds accuracies are means, seconds medians")
    for model, described in results.models.items():
        _print_model(results, model, described, console)
    console.print(_trends(results))
    for reason in sorted({verdict.why for verdict in results.verdicts if verdict.outcome == tables.NOT_JUDGED}):
        console.print(f"[dim]not judged: {reason}[/dim]")
    print_verdict(results, console)


def print_verdict(results: Results, console: Console) -> None:
    """Print each figure that failed, and how many passed."""
    for line in results.lines:
        if line.verdict.outcome == tables.FAIL and line.measured is not None:
            row = line.row
            what = f"{row.model} {system_name(row.system)} {row.quantity}" + (
                f" n={row.n_steps}" if row.n_steps else ""
            )
            thesis = f"thesis {row.value:g} {line.verdict.why}"
            console.print(f"[bold red]failed: {what}: {line.measured:.2f} {row.unit}, {thesis}[/bold red]")
    for trend in results.trends:
        if trend.verdict.outcome == tables.FAIL:
            found = f"{trend.trend.model}: {trend.trend.name}: {trend.statistic:.3f}, {trend.verdict.why}"
            console.print(f"[bold red]failed: {found}[/bold red]")
    outcomes = [verdict.outcome for verdict in results.verdicts]
    failed, passed = outcomes.count(tables.FAIL), outcomes.count(tables.PASS)
    colour = "red" if failed else "green"
    counts = f"{passed} passed, {failed} failed, {outcomes.count(tables.NOT_JUDGED)} not judged"
    console.print(f"[bold {colour}]{counts}[/bold {colour}]")


def _print_model(results: Results, model: str, described: object, console: Console) -> None:
    assert isinstance(described, dict)
    seeds = len(described["seeds"])
    trained = f"{described['n_train']:,} images, {described['epochs']} epoch{'s' * (described['epochs'] > 1)}"
    tested = f"{described['n_test']:,} images"
    if described["n_simulated"]:
        tested += f", in NengoDL {described['n_simulated']:,} (timed below n=60: {described['n_timed']:,})"
    strides = f", strides {', '.join(map(str, described['sizes']['strides']))}" if model == "cnn" else ""
    console.print(f"\n[bold]{_TITLES[model]}[/bold]{strides}; {seeds} seed{'s' * (seeds > 1)}")
    console.print(f"trained on {trained}; tested on {tested}")
    for quantity in _QUANTITIES:
        lines = [line for line in results.lines if (line.row.model, line.row.quantity) == (model, quantity)]
        if lines:
            console.print(_figures(quantity, lines))
    converted = [one for one in results.converted if one.model == model]
    if converted:
        console.print(_converted(converted))
    if model == "autoencoder":
        console.print(_images(results))


def _figures(quantity: str, lines: list[Line]) -> Table:
    table = Table(title=_QUANTITIES[quantity], title_justify="left")
    table.add_column("system", no_wrap=True)
    # Short headings: the tables fit a terminal of 80 columns.
    table.add_column("n", justify="right", no_wrap=True)
    for heading in ("thesis", "measured", "range", "diff."):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for line in lines:
        row = line.row
        table.add_row(
            system_name(row.system), str(row.n_steps or "–"), f"{row.value:.2f}", *_measured(line), _verdict(line)
        )
    return table


def _verdict(line: Line | TrendLine) -> str:
    outcome, why = line.verdict.outcome, line.verdict.why
    text = outcome if outcome == tables.NOT_JUDGED else f"{outcome} ({why.split(' %')[0].split(' points')[0]})"
    return f"[{STYLES[outcome]}]{text}[/{STYLES[outcome]}]"


def _measured(line: Line) -> list[str]:
    if line.measured is None:
        return ["–", "", ""]
    spread = f"{min(line.values):.2f}–{max(line.values):.2f}" if len(line.values) > 1 else ""
    return [f"{line.measured:.2f}", spread, f"{line.measured - line.row.value:+.2f}"]


def _trends(results: Results) -> Table:
    table = Table(title="what must hold on any machine", title_justify="left")
    table.add_column("model", no_wrap=True)
    table.add_column("what")
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for line in results.trends:
        statistic = "–" if line.statistic is None else f"{line.statistic:.3f}"
        name = f"{line.trend.name} ({line.trend.statistic.replace('_', ' ')})"
        table.add_row(line.trend.model, name, statistic, _verdict(line))
    return table


def _converted(converted: list[Converted]) -> Table:
    table = Table(title="converted without retraining: accuracy, % (points lost to Keras)", title_justify="left")
    table.add_column("n", justify="right", no_wrap=True)
    for one in converted:
        table.add_column(recipe_name(one.recipe, one.synapse), justify="right")
    for n_steps in sorted({n_steps for one in converted for n_steps in one.accuracy}):
        found = [
            f"{one.accuracy[n_steps]:.2f} ({one.loss[n_steps]:.2f})" if n_steps in one.accuracy else ""
            for one in converted
        ]
        table.add_row(str(n_steps), *found)
    return table


def _images(results: Results) -> Table:
    table = Table(title="reconstructions: mean SSIM", title_justify="left")
    table.add_column("system", no_wrap=True)
    for heading in ("n", "original, Keras", "original, spikes", "Keras, spikes"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in results.measured:
        if one.ssim and one.cell.system == "converted":
            pairs = (f"{one.ssim[name]:.4f}" for name in ("original~keras", "original~snn", "keras~snn"))
            table.add_row(recipe_name(one.cell.recipe, one.cell.synapse), str(one.cell.n_steps), *pairs)
    return table
