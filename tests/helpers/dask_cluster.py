"""A scheduler of Dask and its workers, in processes of their own, as the command line starts them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
_SECONDS = 60  # on a machine with other work


class Cluster:
    """Started in a folder; `stop` ends it."""

    def __init__(self, folder):
        self._folder, self._file = Path(folder), Path(folder) / "scheduler.json"
        self._processes = []
        self._start("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        give_up = time.monotonic() + _SECONDS
        while not self._file.exists() or not self._file.read_text():
            assert time.monotonic() < give_up, "the scheduler did not start"
            time.sleep(0.05)
        self.address = json.loads(self._file.read_text())["address"]

    def add_worker(self):
        """Return the process of one more worker, with one thread."""
        # Without a nanny, which would start another one for each that dies.
        return self._start("dask_worker", "--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")

    def stop(self):
        for process in self._processes[::-1]:
            process.kill()
            process.wait()

    def _start(self, command, *options):
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{command}", "--scheduler-file", str(self._file), *options],
            cwd=str(self._folder),
            env={**os.environ, "PYTHONPATH": path, "NUMBA_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._processes.append(process)
        return process


@contextlib.contextmanager
def cluster_of(folder, n_workers):
    """Start a cluster; its workers may come later."""
    cluster = Cluster(folder)
    try:
        for _ in range(n_workers):
            cluster.add_worker()
        yield cluster
    finally:
        cluster.stop()
