"""What a figure was measured with: interpreter, libraries, machine."""

from __future__ import annotations

import os
import platform
import sys
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = (
    "snnrepro",
    "numpy",
    "scipy",
    "numba",
    "onnx",
    "onnxruntime",
    "tensorflow",
    "tf-keras",
    "keras",
    "tf2onnx",
    "nengo",
    "nengo-dl",
    "protobuf",
)


def environment() -> dict[str, Any]:
    """Return interpreter, operating system, processor, GPUs and library versions (None where not installed).

    Returns
    -------
    dict
        Only strings, numbers, lists and None: it goes into ``results.json`` as it is.
    """
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": _cpu_name(),
        "cpu_cores": _cores(),
        "gpus": _gpus(),
        "libraries": {name: library_version(name) for name in LIBRARIES},
    }


@lru_cache(maxsize=None)  # a distribution's files are read for it, and every measured cell asks
def library_version(name: str) -> str | None:
    """Return the installed version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cores() -> int:
    """Return the cores this process may use, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpus() -> Any:
    if "tensorflow" not in sys.modules:  # nothing was measured with it; do not load it just to ask
        return []
    from snnrepro.frameworks.tensorflow import gpu_names

    return gpu_names()
