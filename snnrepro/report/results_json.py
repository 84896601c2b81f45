"""``results.json``: every figure with its conditions, for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnrepro.files import written_whole

if TYPE_CHECKING:
    from snnrepro.thesis.reproduce import Results

VERSION = 1


def as_dict(results: Results) -> dict[str, Any]:
    """Return the results as plain dictionaries, lists, strings and numbers."""
    document = asdict(results)
    return {"format": "snnrepro-results", "version": VERSION, "passed": results.passed, **document}


def write(results: Results, path: Path) -> None:
    """Write ``results.json``; one that is there already is kept beside it under the time it was written."""
    text = json.dumps(as_dict(results), indent=2) + "\n"
    with written_whole(path) as file:
        file.write(text.encode())
        if path.exists():
            stamp = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
            path.replace(path.with_name(f"{path.stem}-{stamp}{path.suffix}"))
