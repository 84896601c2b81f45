"""Where the event simulator's compiled code is kept, and what it is given."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

from snnrepro.simulators.event import gather, gather_numbers, gather_windows, kernels, segments
from snnrepro.simulators.event import run as event
from tests.helpers.event_cases import small

SCRIPT = """
import logging, sys
logging.basicConfig(format="%(levelname)s %(name)s %(message)s")
import numpy as np
from tests.helpers.event_cases import small
spiking, x = small()
print(int(spiking.run(x, 5, "event").synaptic_operations.sum()))
"""


def test_it_works_and_says_so_once_where_no_cache_directory_can_be_written(tmp_path, root):
    for folder in ("snnrepro", "tests"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "models"))
    (tmp_path / "snnrepro/simulators/event/__pycache__").write_text(
        "a file: no directory can be made here, even by root"
    )
    spiking, x = small()
    expected = int(spiking.run(x, 5, "plain").synaptic_operations.sum())
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("NUMBA_", "XDG_"))}
    environment.update(HOME=os.devnull, PYTHONPATH=str(tmp_path), PYTHONDONTWRITEBYTECODE="1")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == expected
    told = [line for line in done.stderr.splitlines() if "compiles it anew" in line]
    assert len(told) == 1, done.stderr
    assert told[0].startswith("WARNING snnrepro.compiling")


def test_compiled_code_is_kept_for_the_next_process():
    spiking, x = small()
    spiking.run(x, 2, "event")
    kept = list((Path(event.__file__).parent / "__pycache__").glob("gather.gather_spikes-*.nbc"))
    if "NUMBA_CACHE_DIR" not in os.environ and os.access(Path(event.__file__).parent, os.W_OK):
        assert kept


LOOPS = (kernels, gather, gather_numbers, gather_windows)


def test_no_compiled_loop_takes_a_tuple():
    # Numba 0.55 and 0.56 confuse long tuples of unlike arrays: 40 bytes of such a type's fingerprint are junk.
    tuples = {name for module in (*LOOPS, segments) for name in vars(module) if _is_named_tuple(module, name)}
    assert {"IFConstants", "Firing", "Segments"} <= tuples
    loops = [
        value
        for module in LOOPS
        for value in vars(module).values()
        if getattr(value, "targetoptions", {}).get("nogil") and value.py_func.__module__ == module.__name__
    ]
    named = {loop.py_func.__name__ for loop in loops}
    assert {"fire", "fire_lif", "gather_spikes", "gather_numbers", "gather_windows"} <= named
    for loop in loops:
        for parameter in inspect.signature(loop.py_func).parameters.values():
            assert "uple" not in parameter.annotation
            assert parameter.annotation not in tuples


def _is_named_tuple(module, name):
    value = getattr(module, name)
    return isinstance(value, type) and issubclass(value, tuple)
