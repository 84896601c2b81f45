"""How kernels are compiled: without the interpreter's lock, and kept on disk where that is possible."""

from __future__ import annotations

import logging
from typing import Any, Callable

from numba import njit

_LOG = logging.getLogger(__name__)
_told: list[str] = []


def kernel(function: Callable[..., Any], parallel: bool = False) -> Any:
    """Compile `function` when it is first called; a later process finds it in Numba's cache.

    Parameters
    ----------
    function : callable
        What Numba can compile.
    parallel : bool
        Whether its ``prange`` loops run on all cores.

    Notes
    -----
    Where no cache directory can be written (a read-only home), it is compiled in every process, and one line of the
    log says so.
    """
    # Not "python": errors are checked for before a kernel is called.
    options = {"nogil": True, "parallel": parallel, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError as error:  # what Numba raises where it finds no place for its cache
        if not _told:
            _told.append(str(error))
            _LOG.warning("compiled code cannot be kept, so every process compiles it anew: %s", error)
        return njit(**options)(function)
