"""Profiles measured cell by cell."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

from snnrepro.environment import environment
from snnrepro.frameworks.nengo_dl import missing_packages
from snnrepro.thesis import networks, samples
from snnrepro.thesis.cells import MODELS, Cell, Measured, Workload, cells, workloads
from snnrepro.thesis.experiment import Experiment
from snnrepro.thesis.record import Record
from snnrepro.thesis.results import Results, collect

if TYPE_CHECKING:
    from pathlib import Path

    from snnrepro.arrays import AnyArray
    from snnrepro.datasets import Mnist

CellProgress = Callable[[Cell, float], None]
"""Called with a cell and the fraction of it that was done since the last call."""


def reproduce(
    profile: str,
    data: Mnist,
    folder: Path,
    models: Sequence[str] = MODELS,
    n_seeds: int | None = None,
    strides: Sequence[int] | None = None,
    again: bool = False,
    progress: CellProgress | None = None,
) -> Results:
    """Measure the thesis's tables; what `folder` holds already of the same profile, data and machine is not repeated.

    Parameters
    ----------
    profile : str
        "reference" (the networks inside the package, minutes), "quick" (trained anew, less of everything) or "thesis"
        (everything in full).
    data : Mnist
        Images and labels.
    folder : Path
        Where trained networks (``models``), measured cells (``cells``) and ``samples.npz`` are kept.
    models : sequence of str
        Of "dense", "cnn" and "autoencoder".
    n_seeds : int, optional
        Instead of the profile's; five are the thesis's one training for each n_steps.
    strides : sequence of int, optional
        Of the CNN, instead of 1, 2, 2.
    again : bool
        Whether what is there already is measured again.
    progress : callable, optional
        Called as the cells advance.

    Returns
    -------
    Results
        Printed and measured figures with their verdicts.
    """
    started = _now()
    record = Record(folder / "cells", again)
    measured: list[Measured] = []
    described: dict[str, dict[str, Any]] = {}
    pictures: dict[str, AnyArray] = {}
    for model, workload in workloads(profile, models, n_seeds).items():
        experiment = Experiment(model, workload, data, folder / "models", strides if model == "cnn" else None, again)
        described[model] = describe(workload, experiment.sizes, data)
        for cell in cells(model, workload):
            if workload.reference and cell.is_of_nengo_dl and missing_packages():
                continue
            kept = record.find(cell, experiment.conditions(cell))
            if kept is None:
                kept = experiment.measure(cell, None if progress is None else _advance(progress, cell))
                record.keep(kept)
            elif progress is not None:
                progress(cell, 1.0)
            measured.append(kept)
        pictures.update(samples.take(experiment))
    samples.write(pictures, folder / "samples.npz")
    origin = {
        "source": data.source,
        "sha256": data.sha256,
        "is_full_mnist": data.is_full,
        "n_train": len(data.x_train),
        "n_test": len(data.y_test),
    }
    return collect(profile, described, origin, environment(), measured, started, _now())


def describe(workload: Workload, sizes: Mapping[str, Any], data: Mnist) -> dict[str, Any]:
    """Return a model's layer sizes and how much of it is measured, as ``results.json`` has it."""
    nengo_dl = workload.nengo_dl
    counts = ("n_lif", "n_filtered") if workload.reference else ()
    return {
        "networks": networks.origin() if workload.reference else "trained in this run",
        "sizes": dict(sizes),
        "seeds": list(workload.seeds),
        "epochs": workload.epochs,
        "n_train": min(workload.n_train, len(data.x_train)),
        "n_test": min(workload.n_test, len(data.y_test)),
        "n_simulated": min(nengo_dl.n_simulated, len(data.y_test)),
        "n_timed": min(nengo_dl.n_timed, len(data.y_test)),
        "minibatch": nengo_dl.minibatch,
        "merge": nengo_dl.merge,
        **{name: min(getattr(workload, name), len(data.y_test)) for name in counts},
    }


def _advance(progress: CellProgress, cell: Cell) -> Callable[[float], None]:
    return lambda fraction: progress(cell, fraction)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
