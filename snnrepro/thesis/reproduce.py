"""Profiles measured cell by cell."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

from snnrepro.environment import environment
from snnrepro.thesis import networks, samples
from snnrepro.thesis.cells import MODELS, Cell, Measured, Workload, workloads
from snnrepro.thesis.elsewhere import Elsewhere, Place
from snnrepro.thesis.experiment import Experiment, measurable
from snnrepro.thesis.record import Record
from snnrepro.thesis.results import Results, collect

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path

    from snnrepro.arrays import AnyArray
    from snnrepro.datasets import Dataset

CellProgress = Callable[[Cell, float], None]
"""Called with a cell and the fraction of it that was done since the last call."""


def reproduce(
    profile: str,
    data: Dataset,
    folder: Path,
    models: Sequence[str] = MODELS,
    n_seeds: int | None = None,
    strides: Sequence[int] | None = None,
    again: bool = False,
    progress: CellProgress | None = None,
    executor: Executor | None = None,
    source: str | None = None,
) -> Results:
    """Measure the thesis's tables; what `folder` holds already of the same profile, data and machine is not repeated.

    Parameters
    ----------
    profile : str
        "reference" (the networks inside the package, minutes), "quick" (trained anew, less of everything) or "thesis"
        (everything in full).
    data : Dataset
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
    executor : concurrent.futures.Executor, optional
        Whose workers measure the cells, one at a time each; by default they are measured here, one after the other.
    source : str, optional
        Where workers load `data` from, as `load_mnist` takes it.

    Returns
    -------
    Results
        Printed and measured figures with their verdicts.
    """
    started = _now()
    record = Record(folder / "cells", again)
    loads = workloads(profile, models, n_seeds)
    done = progress or (lambda cell, fraction: None)
    of_cnn = None if strides is None else tuple(strides)
    if executor is None:
        found = _here(loads, data, folder / "models", record, of_cnn, done)
    else:
        workers = Elsewhere(executor, folder / "models", record)
        found = _elsewhere(workers, loads, data, source, of_cnn, done)
    samples.write(found.pictures, folder / "samples.npz")
    origin = {
        "source": data.source,
        "sha256": data.sha256,
        "is_full_mnist": data.is_full,
        "n_train": len(data.x_train),
        "n_test": len(data.y_test),
    }
    described = {model: describe(load, found.sizes[model], data) for model, load in loads.items()}
    return collect(profile, described, origin, found.environment, found.measured, started, _now())


@dataclass(frozen=True)
class _Found:
    """What was measured, and where."""

    sizes: Mapping[str, Mapping[str, Any]]
    measured: list[Measured]
    pictures: dict[str, AnyArray]
    environment: dict[str, Any]


def _here(
    loads: Mapping[str, Workload],
    data: Dataset,
    folder: Path,
    record: Record,
    strides: tuple[int, ...] | None,
    progress: CellProgress,
) -> _Found:
    measured: list[Measured] = []
    sizes: dict[str, Mapping[str, Any]] = {}
    pictures: dict[str, AnyArray] = {}
    for model, workload in loads.items():
        experiment = Experiment(model, workload, data, folder, strides if model == "cnn" else None, record.again)
        sizes[model] = experiment.sizes
        for cell in measurable(model, workload):
            kept = record.find(cell, experiment.conditions(cell))
            if kept is None:
                kept = experiment.measure(cell, _advance(progress, cell))
                record.keep(kept)
            else:
                progress(cell, 1.0)
            measured.append(kept)
        pictures.update(samples.take(experiment))
    return _Found(sizes, measured, pictures, environment())


def _elsewhere(
    workers: Elsewhere,
    loads: Mapping[str, Workload],
    data: Dataset,
    source: str | None,
    strides: tuple[int, ...] | None,
    progress: CellProgress,
) -> _Found:
    run = uuid.uuid4().hex
    places = {
        model: Place(model, workload, source, data.sha256, strides if model == "cnn" else None, run)
        for model, workload in loads.items()
    }
    known = {model: (place, workers.about(place)) for model, place in places.items()}
    measured = workers.measure(known, progress)
    in_order = [measured[cell] for _, about in known.values() for cell in about.cells]
    sizes = {model: about.sizes for model, (_, about) in known.items()}
    where = next(iter(known.values()))[1].environment
    return _Found(sizes, in_order, workers.samples(places.values()), dict(where))


def describe(workload: Workload, sizes: Mapping[str, Any], data: Dataset) -> dict[str, Any]:
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
