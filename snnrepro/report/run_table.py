"""A run of a spiking network on a terminal, as a dictionary, and as an npz file."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from snnrepro.files import written_whole
from snnrepro.metrics import accuracy

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from snnrepro.arrays import IntArray
    from snnrepro.spiking.run import Run


def as_dict(run: Run, labels: IntArray | None) -> dict[str, Any]:
    """Return what `print_run` prints as plain numbers; the accuracy is None without labels."""
    n_images = len(run.predictions)
    return {
        "n_images": n_images,
        "n_steps": run.n_steps,
        "mean_steps": run.mean_steps,
        "accuracy": None if labels is None else asdict(accuracy(run.predictions, labels)),
        "spikes_per_image": {name: float(counts.mean()) for name, counts in run.spike_counts.items()},
        "n_neurons": dict(run.n_neurons),
        "sparsity": run.sparsity,
        "synaptic_operations_per_image": float(run.synaptic_operations.mean()),
        "macs_per_image": float(run.macs.mean()),
    }


def print_run(run: Run, labels: IntArray | None, console: Console) -> None:
    """Print accuracy, spikes by population, and synaptic operations."""
    table = Table()
    table.add_column("neurons", overflow="fold")
    for heading in ("number", "spikes an image", "spikes a neuron and step"):
        table.add_column(heading, justify="right")
    for name, counts in run.spike_counts.items():
        mean = float(counts.mean())
        share = mean / (run.n_neurons[name] * run.mean_steps)
        table.add_row(escape(name), f"{run.n_neurons[name]:,}", f"{mean:,.1f}", f"{share:.3f}")
    console.print(table)
    steps = f"{run.n_steps} steps" + ("" if run.stopped_after is None else f" at most, {run.mean_steps:.2f} on average")
    console.print(f"{len(run.predictions):,} images, {steps}, sparsity {run.sparsity:.3f}")
    console.print(
        f"{run.synaptic_operations.mean():,.0f} synaptic operations an image, and {run.macs.mean():,.0f} "
        "multiplications once, for the layers that read the image"
    )
    if labels is not None:
        console.print(f"[bold]accuracy {accuracy(run.predictions, labels)}[/bold], with its 95 % interval")


def save(run: Run, path: Path) -> None:
    """Write scores, predictions, spike counts and operations to an npz file."""
    counts = {f"spike_counts/{name.replace('/', '_')}": values for name, values in run.spike_counts.items()}
    with written_whole(path) as file:
        np.savez(
            file,
            scores=run.scores,
            predictions=run.predictions,
            steps=np.array(run.steps),
            steps_used=run.steps_used,
            synaptic_operations=run.synaptic_operations,
            macs=run.macs,
            **counts,  # type: ignore[arg-type]  # savez's own keyword allow_pickle is no array's name
        )
