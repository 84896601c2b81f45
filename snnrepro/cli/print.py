"""What the commands print: JSON, progress bars, and tables of a network, of a verification and of a run."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from snnrepro.thesis.cells import cells, relative_cost

if TYPE_CHECKING:
    from snnrepro.energy import Energy
    from snnrepro.spiking.evaluate import Evaluation
    from snnrepro.spiking.run import Run
    from snnrepro.thesis.cells import Cell, Workload
    from snnrepro.verification import Verification


def print_json(content: Mapping[str, Any]) -> None:
    """Print JSON."""
    click.echo(json.dumps(content, indent=2))


def console() -> Console:
    """Return a console as wide as the terminal; a pipe has no width, the tables are kept whole in it."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(width=120, highlight=False)


@contextlib.contextmanager
def progress_bar(what: str, total: float = 1.0) -> Iterator[Callable[..., None] | None]:
    """Show a bar with percentage and time left on a terminal, nothing in a pipe; advanced by parts of `total`."""
    terminal = Console(stderr=True)
    if not terminal.is_terminal:
        yield None
        return
    words, percent = TextColumn("{task.description}"), TextColumn("{task.percentage:>3.0f} %")
    columns = words, BarColumn(), percent, TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn()
    with Progress(*columns, console=terminal, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda part, **options: bar.update(task, advance=part, **options)


@contextlib.contextmanager
def cells_progress(workloads: Mapping[str, Workload]) -> Iterator[Callable[[Cell, float], None] | None]:
    """Show the cell that is measured and the time left for all of them on a terminal, nothing in a pipe."""
    costs = {cell: relative_cost(cell, load) for model, load in workloads.items() for cell in cells(model, load)}
    with progress_bar("starting", sum(costs.values())) as advance:
        yield advance and (lambda cell, fraction: advance(costs[cell] * fraction, description=cell.describe()))


def print_provenance(provenance: Mapping[str, Any]) -> None:
    """Print how a spiking network was made, one line for each fact."""

    def told(value: Any) -> str:
        if isinstance(value, Mapping):
            return ", ".join(f"{name} {told(part)}" for name, part in value.items())
        if isinstance(value, list):
            return " ".join(map(told, value))
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    for name, value in provenance.items():
        click.echo(f"{name.replace('_', ' ')}: {told(value)}")


def print_verification(verification: Verification) -> None:
    """Print one row per comparison, and the first layer that differs."""
    columns = dict.fromkeys(("hop", "layer"), FOLDED)
    columns.update(dict.fromkeys(("max error", "relative", "Pearson r", "costs, points"), NUMBER))
    table = table_of({**columns, "": WHOLE})
    for comparison in verification.comparisons:
        verdict = "[green]agrees[/green]" if comparison.agrees else "[bold red]differs[/bold red]"
        numbers = f"{comparison.max_error:.2g}", f"{comparison.relative_error:.2g}", f"{comparison.pearson:.6f}"
        cost = "" if comparison.cost is None else f"{comparison.cost:.2f}"
        table.add_row(comparison.hop, escape(comparison.layer), *numbers, cost, verdict)
    console().print(table)
    first = verification.first_difference
    if first is None:
        console().print(f"[bold green]all {len(verification.comparisons)} comparisons agree[/bold green]")
    else:
        console().print(f"[bold red]the first difference: {escape(first.layer)} ({first.hop})[/bold red]")


def run_as_dict(run: Run) -> dict[str, Any]:
    """Return what `print_run` prints as plain numbers."""
    return {
        "n_images": len(run.scores),
        "n_steps": run.n_steps,
        "mean_steps": run.mean_steps,
        "spikes_per_image": {name: float(counts.mean()) for name, counts in run.spike_counts.items()},
        "n_neurons": dict(run.n_neurons),
        "sparsity": run.sparsity,
        "synaptic_operations_per_image": float(run.synaptic_operations.mean()),
        "macs_per_image": float(run.macs.mean()),
    }


def print_run(run: Run) -> None:
    """Print spikes by population, and synaptic operations."""
    described = run_as_dict(run)
    table = table_of(
        {"neurons": FOLDED, "number": NUMBER, "spikes per image": NUMBER, "spikes per neuron and step": NUMBER}
    )
    for name, spikes in described["spikes_per_image"].items():
        share = spikes / (run.n_neurons[name] * run.mean_steps)
        table.add_row(escape(name), f"{run.n_neurons[name]:,}", f"{spikes:,.1f}", f"{share:.3f}")
    console().print(table)
    steps = f"{run.n_steps} steps" + ("" if run.stopped_after is None else f" at most, {run.mean_steps:.2f} on average")
    console().print(f"{described['n_images']:,} images, {steps}, sparsity {run.sparsity:.3f}")
    console().print(
        f"{described['synaptic_operations_per_image']:,.0f} synaptic operations per image, and "
        f"{described['macs_per_image']:,.0f} multiplications, done once, in the layers that read the image"
    )


def print_evaluation(evaluation: Evaluation) -> None:
    """Print how good the answers are, and the trained network's, and what conversion lost."""
    if evaluation.spiking is not None:
        console().print(f"[bold]{evaluation.spiking}[/bold], with its 95 % interval; task {evaluation.task.name}")
    if evaluation.trained is not None:
        console().print(f"trained network: {evaluation.trained}")
    if evaluation.loss is not None:
        what = "lost by conversion" if evaluation.trained else "not the trained network's answer"
        console().print(f"{what}: {evaluation.loss}")


def print_energy(energy: Energy) -> None:
    """Print what an image would cost: what is usually quoted, with memory, and an equally good quantised network."""
    columns = {"nJ per image": FOLDED, "spiking": NUMBER, "beside it": NUMBER, "": FOLDED}
    table = table_of(columns)

    def row(what: str, spiking: float, other: float, which: str) -> None:
        table.add_row(what, f"{spiking / 1000:,.1f}", f"{other / 1000:,.1f}", which)

    row("operations only, float32", energy.operations, energy.trained_operations, "the trained network")
    quantised = f"quantised to {energy.bits} bits"
    row("arithmetic, 8-bit weights", energy.arithmetic, energy.quantised_arithmetic, quantised)
    row("memory traffic", energy.memory, energy.quantised_memory, quantised)
    row("both", energy.spiking, energy.quantised, quantised)
    console().print(table)
    console().print(f"a model, 45 nm (Horowitz, ISSCC 2014; bits: arXiv 2409.08290): {energy.verdict}", markup=False)


WHOLE: dict[str, Any] = {"no_wrap": True}
FOLDED: dict[str, Any] = {"overflow": "fold"}
NUMBER: dict[str, Any] = {"no_wrap": True, "justify": "right"}


def table_of(columns: Mapping[str, Mapping[str, Any]], **options: Any) -> Table:
    """Return an empty table with these headings and styles, and options of rich's."""
    table = Table(**options)
    for heading, style in columns.items():
        table.add_column(heading, **style)
    return table
