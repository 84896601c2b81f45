"""What checks measured of models, as a file that later checks are compared with."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import shutil
import subprocess
import zlib
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from snnrepro.environment import environment
from snnrepro.errors import DataError, one_line
from snnrepro.files import written_whole
from snnrepro.network.task import TASKS, Task

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.checking.subject import Subject

FORMAT = "snnrepro-check-results"
VERSION = 1


@dataclass(frozen=True, eq=False)
class Result:
    """What was measured of one model.

    Attributes
    ----------
    figures : mapping of str to Any
        Numbers and words by name: recipe, n_steps, n_images, trained, spiking (%), loss (points), spikes and operations
        per image, seconds.
    task : Task or None
        What its answers mean; None where they were not judged.
    images : str
        SHA-256 of the images and labels that it was judged on.
    counts : numpy.ndarray or None
        Of each image what the figure of merit is computed from, float64, ``(n_images, k)``: see `Task.counts`.
    """

    figures: Mapping[str, Any]
    task: Task | None = None
    images: str = ""
    counts: AnyArray | None = None


@dataclass(frozen=True, eq=False)
class Results:
    """What was measured of several models in one session, and with what.

    Attributes
    ----------
    models : mapping of str to Result
        By the models' names.
    made : mapping of str to Any
        Date, commit, and what `snnrepro.environment.environment` says.
    """

    models: Mapping[str, Result]
    made: Mapping[str, Any] = field(default_factory=dict)


def result_of(subject: Subject) -> Result:
    """Return what was measured of a model so far."""
    evaluation = subject.judged
    if evaluation is None:
        return Result(dict(subject.figures))
    digest = hashlib.sha256()
    for array in subject.images[1]:
        digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    return Result(dict(subject.figures), evaluation.task, digest.hexdigest(), evaluation.counts)


def as_plain(result: Result) -> dict[str, Any]:
    """Return a result as words, numbers and lists: what JSON holds, and what workers send."""
    task = None if result.task is None else {**asdict(result.task), "shape": list(result.task.shape)}
    return {
        "figures": dict(result.figures),
        "task": task,
        "images": result.images,
        "counts": None if result.counts is None else _encoded(result.counts),
    }


def from_plain(plain: Mapping[str, Any]) -> Result:
    """Return the result that `as_plain` made plain."""
    task = plain["task"]
    if task is not None and task["name"] not in TASKS:
        raise ValueError(f"task {task['name']!r}")
    return Result(
        dict(plain["figures"]),
        None if task is None else Task(**{**task, "shape": tuple(task["shape"])}),
        str(plain["images"]),
        None if plain["counts"] is None else _decoded(plain["counts"]),
    )


def write(results: Results, path: Path) -> None:
    """Write results to a JSON file.

    Raises
    ------
    DataError
        It cannot be written.
    """
    models = {name: as_plain(result) for name, result in sorted(results.models.items())}
    content = {"format": FORMAT, "version": VERSION, "made": dict(results.made), "models": models}
    try:
        with written_whole(path) as file:
            file.write((json.dumps(content, indent=1) + "\n").encode())
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({one_line(error)})") from error


def is_one(path: Path) -> bool:
    """Return whether a file says that it is one of these."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def read(path: Path) -> Results:
    """Read results that `write` wrote.

    Raises
    ------
    DataError
        The file is missing, damaged, something else, or of a newer version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: no results of checks ({one_line(error)})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"{path}: no results of checks; pytest --snn-save writes them")
    if content.get("version") != VERSION:
        raise DataError(f"{path}: of version {content.get('version')!r}, this snnrepro reads {VERSION}")
    try:
        models = {str(name): from_plain(plain) for name, plain in content["models"].items()}
        return Results(models, dict(content["made"]))
    except (KeyError, TypeError, ValueError, AttributeError, zlib.error, binascii.Error) as error:
        raise DataError(f"{path}: the results are damaged ({one_line(error)})") from error


def made_here(folder: Path) -> dict[str, Any]:
    """Return when and with what something is measured now, in a folder's checkout."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": _commit(folder),
        **environment(),
    }


def _commit(folder: Path) -> str | None:
    """Return the commit of a checkout; what a CI says stands above what git says."""
    git = shutil.which("git")
    if os.environ.get("GITHUB_SHA") or git is None:
        return os.environ.get("GITHUB_SHA")
    found = subprocess.run(  # the command is fixed, and found on the path
        [git, "rev-parse", "HEAD"], cwd=str(folder), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
    )
    return found.stdout.decode().strip() or None


def _encoded(array: AnyArray) -> dict[str, Any]:
    packed = zlib.compress(np.ascontiguousarray(array.T, "<f8").tobytes(), 9)  # a column holds like numbers
    return {"shape": list(array.shape), "zlib": base64.b64encode(packed).decode()}


_MOST_NUMBERS = 2**27
"""Numbers that an array of a results file may have (1 GB): a small file must not fill the memory."""


def _decoded(entry: Mapping[str, Any]) -> AnyArray:
    rows, columns = (int(size) for size in entry["shape"])
    if not 0 <= rows * columns <= _MOST_NUMBERS or rows < 0:
        raise ValueError(f"shape {[rows, columns]}")
    unpacked = zlib.decompressobj().decompress(base64.b64decode(entry["zlib"]), 8 * rows * columns + 1)
    if len(unpacked) != 8 * rows * columns:
        raise ValueError(f"{len(unpacked)} bytes for the shape {[rows, columns]}")
    return np.frombuffer(unpacked, "<f8").reshape(columns, rows).T.astype(np.float64)
