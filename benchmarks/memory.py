"""Peak memory, measured in processes of their own: what a script takes beyond what was there when it began."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path


def in_a_process(script: str, *arguments: object) -> dict:
    """Run a script in a new process, and return what its last line says, as JSON."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    folder = Path(__file__).parent.parent  # where scripts find this module
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=str(folder))
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def new_peak() -> int:
    """Let the peak of this process begin again at what it holds now, and return that, in bytes (Linux)."""
    before = _held("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    return before


def peak_beyond(before: int) -> int:
    """Return how far the peak of this process lies beyond `before`, in bytes."""
    return _held("VmHWM") - before


def _held(field: str) -> int:
    found = re.search(field + r":\s+([0-9]+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(found.group(1))
