"""What was measured is kept cell by cell: a run that was stopped goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Mapping

from snnrepro.environment import environment
from snnrepro.errors import DataError
from snnrepro.files import sha256_of, written_whole
from snnrepro.frameworks.tensorflow import gpu_names
from snnrepro.thesis.cells import Cell, Measured
from snnrepro.thesis.networks import RECORD

if TYPE_CHECKING:
    from pathlib import Path

    from snnrepro.datasets import Dataset
    from snnrepro.thesis.cells import Workload

_OF_ALL = ("snnrepro", "numpy", "tensorflow", "tf-keras", "nengo", "nengo-dl")
"""Libraries whose other version makes a figure another one."""


def training_conditions(workload: Workload, data: Dataset, sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a training depends on beside its seed: data, how much of it, layer sizes, libraries, machine."""
    here = environment()
    of_reference: dict[str, Any] = {}
    if workload.reference:
        of_reference = {
            "networks": sha256_of(RECORD),
            "n_lif": workload.n_lif,
            "n_filtered": workload.n_filtered,
        }
    return {
        **of_reference,
        "data": data.sha256,
        "n_train": min(workload.n_train, len(data.x_train)),
        "epochs": workload.epochs,
        "sizes": dict(sizes),
        "merge": workload.nengo_dl.merge,
        "libraries": {name: here["libraries"][name] for name in _OF_ALL},
        "machine": f"{here['cpu']}, {here['cpu_cores']} cores",
        "gpus": gpu_names(),
    }


def conditions(cell: Cell, workload: Workload, data: Dataset, sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a cell's figures depend on beside the cell itself."""
    of_training = training_conditions(workload, data, sizes)
    if cell.quantity == "training":
        return of_training
    return {**of_training, "n_test": min(workload.n_test, len(data.y_test)), **asdict(workload.nengo_dl)}


def digest(conditions: Mapping[str, Any]) -> str:
    """Return eight hexadecimal digits that stand for `conditions` in file names."""
    return hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()[:8]


class Record:
    """The cells that were measured, one file each in a folder.

    Parameters
    ----------
    folder : Path
        Made when the first cell is kept. A cell measured under other conditions has another file: neither is lost.
    again : bool
        Whether cells that are there already are measured again.
    """

    def __init__(self, folder: Path, again: bool = False) -> None:
        self.folder = folder
        self.again = again

    def find(self, cell: Cell, conditions: Mapping[str, Any]) -> Measured | None:
        """Return what was measured for a cell under these conditions, or None.

        Raises
        ------
        DataError
            The cell's file is damaged.
        """
        path = self._path(cell, conditions)
        if self.again or not path.exists():
            return None
        try:
            measured = Measured.of(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: not a cell that snnrepro wrote; remove it to measure it again") from error
        return measured if (measured.cell, measured.conditions) == (cell, conditions) else None

    def keep(self, measured: Measured) -> None:
        """Write a cell, whole or not at all."""
        with written_whole(self._path(measured.cell, measured.conditions)) as file:
            file.write(json.dumps(asdict(measured), indent=1).encode() + b"\n")

    def _path(self, cell: Cell, conditions: Mapping[str, Any]) -> Path:
        return self.folder / f"{cell.name}-{digest(conditions)}.json"
