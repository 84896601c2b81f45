"""Cells as tasks for an executor's workers: what is trained comes back, and goes to the cells that need it."""

from __future__ import annotations

import tempfile
import threading
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterable, Iterator, Mapping

from snnrepro.datasets import load_mnist
from snnrepro.environment import environment
from snnrepro.errors import DataError
from snnrepro.executors import MOST_TASKS, result
from snnrepro.files import written_whole
from snnrepro.thesis import samples
from snnrepro.thesis.cells import Cell, Measured, Workload
from snnrepro.thesis.experiment import Experiment, measurable

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from snnrepro.arrays import AnyArray
    from snnrepro.thesis.record import Record

Files = Mapping[str, bytes]
"""Trained and converted networks, by the names of their files."""

_one_at_a_time = threading.Lock()
"""Two cells in one process would take each other's time."""


@dataclass(frozen=True)
class Place:
    """What a worker needs to know of a model to measure its cells.

    Attributes
    ----------
    model : str
        "dense", "cnn" or "autoencoder".
    workload : Workload
        How much is measured.
    source : str or None
        Where every worker loads the data from, as `load_mnist` takes it.
    sha256 : str
        What these data must be.
    strides : tuple of int or None
        Of the CNN's convolutions.
    run : str
        The reproduction they belong to: networks that a worker has of an earlier one are not taken.
    """

    model: str
    workload: Workload
    source: str | None
    sha256: str
    strides: tuple[int, ...] | None
    run: str


@dataclass(frozen=True)
class About:
    """What a worker says of a place; others are taken to be like it.

    Attributes
    ----------
    sizes : dict
        Of the model's layers.
    cells : tuple of Cell
        What can be measured there.
    conditions : tuple of dict
        Of each cell: what its figures depend on.
    environment : dict
        See `snnrepro.environment.environment`.
    """

    sizes: Mapping[str, Any]
    cells: tuple[Cell, ...]
    conditions: tuple[Mapping[str, Any], ...]
    environment: Mapping[str, Any]


class Elsewhere:
    """Has an executor's workers measure cells; what comes back is kept here.

    Parameters
    ----------
    executor : concurrent.futures.Executor
        Whose workers have this snnrepro, with its extra ``nengo``.
    folder : Path
        Where networks are kept.
    record : Record
        Where measured cells are kept, and found.
    """

    def __init__(self, executor: Executor, folder: Path, record: Record) -> None:
        self._executor, self._folder, self._record = executor, folder, record
        self._made: set[str] = set()

    def about(self, place: Place) -> About:
        """Ask a worker."""
        return result(self._executor.submit(_about, place))  # type: ignore[no-any-return]

    def measure(
        self, places: Mapping[str, tuple[Place, About]], progress: Callable[[Cell, float], None]
    ) -> dict[Cell, Measured]:
        """Return every cell, measured now or before; each is kept as it arrives.

        A cell that needs a network which another one trains is sent after it.
        """
        measured: dict[Cell, Measured] = {}
        for _, about in places.values():
            for cell, conditions in zip(about.cells, about.conditions):
                kept = self._record.find(cell, conditions)
                if kept is not None:
                    measured[cell] = kept
                    progress(cell, 1.0)
        left = [cell for _, about in places.values() for cell in about.cells if cell not in measured]

        def sent(cell: Cell) -> Future[Any]:
            place = places[cell.model][0]
            return self._executor.submit(_measure, place, cell, self._files(cell.model, cell.seed))

        def has_to_wait(cell: Cell, unfinished: Iterable[Cell]) -> bool:
            return any(trains_for(other, cell, places[cell.model][0].workload) for other in unfinished)

        for one, made in _as_they_come(left, sent, has_to_wait):
            self._keep(made)
            self._record.keep(one)
            measured[one.cell] = one
            progress(one.cell, 1.0)
        return measured

    def samples(self, places: Iterable[Place]) -> dict[str, AnyArray]:
        """Return the pictures' arrays, of the networks that were measured."""
        pictures: dict[str, AnyArray] = {}
        sent = [self._executor.submit(_take, one, self._files(one.model, one.workload.seeds[0])) for one in places]
        for future in sent:
            arrays, made = result(future)
            pictures.update(arrays)
            self._keep(made)
        return pictures

    def _files(self, model: str, seed: int) -> Files:
        """Return the networks of a seed that are here; those made in this run, if all is to be measured again."""
        paths = sorted(self._folder.glob(f"{model}-seed{seed}-*"))
        return {path.name: path.read_bytes() for path in paths if not self._record.again or path.name in self._made}

    def _keep(self, made: Files) -> None:
        for name, content in made.items():
            with written_whole(self._folder / Path(name).name) as file:
                file.write(content)
            self._made.add(name)


def trains_for(other: Cell, cell: Cell, workload: Workload) -> bool:
    """Whether `other` trains the network that `cell` is measured on; the reference networks are there."""
    if workload.reference or cell.quantity == "training" or other.quantity != "training":
        return False
    system = "nengo-dl" if cell.system == "nengo-dl" else "keras"
    return (other.model, other.system, other.seed) == (cell.model, system, cell.seed)


def _as_they_come(
    left: list[Cell], sent: Callable[[Cell], Future[Any]], has_to_wait: Callable[[Cell, Iterable[Cell]], bool]
) -> Iterator[Any]:
    """Send cells as soon as they need not wait for those that are not finished, and yield results as they arrive."""
    futures: dict[Future[Any], Cell] = {}
    try:
        while left or futures:
            unfinished = [*left, *futures.values()]
            ready = [cell for cell in left if not has_to_wait(cell, unfinished)][: MOST_TASKS - len(futures)]
            futures.update({sent(cell): cell for cell in ready})
            left = [cell for cell in left if cell not in ready]
            for future in wait(futures, return_when=FIRST_COMPLETED).done:
                del futures[future]
                yield result(future)
    finally:
        for future in futures:
            future.cancel()


@lru_cache(maxsize=3)
def _experiment(place: Place) -> tuple[Experiment, Path, Any]:
    """Return what measures the cells of a place in this process, and where its networks are."""
    data = load_mnist(place.source)
    if data.sha256 != place.sha256:
        raise DataError(f"a worker's {data.source} is not the data that are asked for; name them with --data")
    folder = tempfile.TemporaryDirectory(prefix="snnrepro-")
    path = Path(folder.name)
    return Experiment(place.model, place.workload, data, path, place.strides), path, folder


def _about(place: Place) -> About:
    experiment, found = _experiment(place)[0], tuple(measurable(place.model, place.workload))
    return About(experiment.sizes, found, tuple(map(experiment.conditions, found)), environment())


def _measure(place: Place, cell: Cell, files: Files) -> tuple[Measured, Files]:
    return _with(place, files, lambda experiment: experiment.measure(cell))


def _take(place: Place, files: Files) -> tuple[dict[str, AnyArray], Files]:
    return _with(place, files, samples.take)


def _with(place: Place, files: Files, work: Callable[[Experiment], Any]) -> tuple[Any, Files]:
    """Return what `work` gives where these networks are, and the networks that it made."""
    with _one_at_a_time:
        experiment, folder, _ = _experiment(place)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        done = work(experiment)
        return done, {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in files}
