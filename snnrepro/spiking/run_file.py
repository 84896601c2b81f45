"""Runs written to an npz file part by part: no more than the part at hand is in memory."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Iterable, Iterator

import numpy as np

from snnrepro.errors import SnnReproError
from snnrepro.files import written_whole

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.spiking.run import Run


def write_run(runs: Iterable[Run], path: str | Path) -> Run:
    """Write the runs of parts to an npz file as they come, and return them as one whose arrays are mapped from disk.

    The file is there when all of it is written, or not at all; until then it grows beside its place, in files without
    a name.

    Parameters
    ----------
    runs : iterable of Run
        At least one, as `SpikingNetwork.run_parts` gives them.
    path : str or Path
        The npz file. It holds ``scores`` and ``predictions`` after the last step, ``steps``, ``steps_used``,
        ``synaptic_operations``, ``macs``, and ``spike_counts/NAME`` for each population.

    Returns
    -------
    Run
        With the scores after the last step only.

    Raises
    ------
    SnnReproError
        It cannot be written; said before the first part is run, where that can be known.
    """
    path = Path(path)
    if path.is_dir():
        raise SnnReproError(f"{path} is a folder; name the npz file to write")
    with contextlib.ExitStack() as opened:
        with _in_one_sentence(path):
            file = opened.enter_context(written_whole(path))
        columns: dict[str, _Column] = {}
        for run in runs:
            with _in_one_sentence(path):
                for name, values in _of_each_image(run).items():
                    if name not in columns:
                        beside = opened.enter_context(tempfile.TemporaryFile(dir=str(path.parent)))
                        columns[name] = _Column(beside, values.dtype, values.shape[1:])
                    columns[name].add(values)
        with _in_one_sentence(path):
            with zipfile.ZipFile(file, "w") as archive:
                for name, column in columns.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        column.copy_to(member)
                with archive.open("steps.npy", "w") as member:
                    np.lib.format.write_array(member, np.array(run.steps), allow_pickle=False)
            return _mapped(run, columns)


class _Column:
    """An array that grows along its first axis, in an open file."""

    def __init__(self, file: IO[bytes], dtype: Any, shape: tuple[int, ...]) -> None:
        self._file, self._dtype, self._shape, self._length = file, dtype, shape, 0

    def add(self, values: AnyArray) -> None:
        self._file.write(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
        self._length += len(values)

    def copy_to(self, member: IO[bytes]) -> None:
        """Write the whole array as numpy writes it."""
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._length, *self._shape),
        }
        np.lib.format.write_array_header_1_0(member, header)
        self._file.seek(0)
        shutil.copyfileobj(self._file, member, 2**20)

    def mapped(self) -> AnyArray:
        """Return the whole array, mapped."""
        shape = (self._length, *self._shape)
        self._file.flush()
        if 0 in shape:  # nothing can be mapped
            return np.empty(shape, self._dtype)
        array: AnyArray = np.memmap(self._file, self._dtype, "r", shape=shape)
        return array


def _of_each_image(run: Run) -> dict[str, AnyArray]:
    """Return what the file holds for each image, by name."""
    return {
        "scores": run.scores,
        "predictions": run.predictions,
        "steps_used": run.steps_used,
        "synaptic_operations": run.synaptic_operations,
        "macs": run.macs,
        **{_of_population(name): counts for name, counts in run.spike_counts.items()},
    }


def _of_population(name: str) -> str:
    return f"spike_counts/{name.replace('/', '_')}"


def _mapped(run: Run, columns: dict[str, _Column]) -> Run:
    """Return the whole run of which `run` is a part."""
    whole = {name: column.mapped() for name, column in columns.items()}
    return replace(
        run,
        steps=(run.n_steps,),
        scores_by_step=whole["scores"][:, np.newaxis],
        spike_counts={name: whole[_of_population(name)] for name in run.spike_counts},
        synaptic_operations=whole["synaptic_operations"],
        macs=whole["macs"],
        stopped_after=None if run.stopped_after is None else whole["steps_used"],
    )


@contextlib.contextmanager
def _in_one_sentence(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SnnReproError(f"{path} cannot be written ({error.strerror or error})") from error
