"""``results.json``: every figure with its conditions, for programs; read again, its verdicts are given anew."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

from snnrepro.errors import DataError
from snnrepro.files import written_whole
from snnrepro.thesis.cells import Measured
from snnrepro.thesis.reproduce import collect

if TYPE_CHECKING:
    from snnrepro.thesis.reproduce import Results

FORMAT, VERSION = "snnrepro-results", 2


def as_dict(results: Results) -> dict[str, Any]:
    """Return the results as plain dictionaries, lists, strings and numbers."""
    document = asdict(results)
    return {"format": FORMAT, "version": VERSION, "passed": results.passed, **document}


def write(results: Results, path: Path) -> None:
    """Write ``results.json``; one that is there already is kept beside it under the time it was written."""
    text = json.dumps(as_dict(results), indent=2) + "\n"
    with written_whole(path) as file:
        file.write(text.encode())
        if path.exists():
            stamp = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
            path.replace(path.with_name(f"{path.stem}-{stamp}{path.suffix}"))


def read(path: Path) -> Results:
    """Return the results of a file or folder, judged by today's tables: what it says of itself is not believed.

    Parameters
    ----------
    path : Path
        A ``results.json``, or the folder that holds one.

    Raises
    ------
    DataError
        There is none, or it is not one that this version reads.
    """
    file = path / "results.json" if path.is_dir() else path
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}; give a results.json or the folder of a reproduction") from error
    except ValueError as error:
        raise DataError(f"{file}: not JSON ({error})") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DataError(f"{file}: not the results of snnrepro reproduce")
    if document.get("version") != VERSION:
        raise DataError(f"{file}: results of version {document.get('version')!r}, this snnrepro reads {VERSION}")
    try:
        return _rebuilt(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{file}: damaged, {type(error).__name__}: {error}") from error


def _rebuilt(document: Mapping[str, Any]) -> Results:
    return collect(
        document["profile"],
        document["models"],
        document["data"],
        document["environment"],
        [Measured.of(one) for one in document["measured"]],
        document["started"],
        document["finished"],
    )
