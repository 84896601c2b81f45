"""A running Dask cluster as an executor of ``concurrent.futures``."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any, Iterator
from urllib.parse import urlsplit

from snnrepro.errors import DependencyError, SnnReproError, one_line

if TYPE_CHECKING:
    from concurrent.futures import Executor

INSTALL = 'pip install "dask[distributed]"'
_TIMEOUT = 10  # seconds without an answer before there is none


@contextlib.contextmanager
def cluster(address: str) -> Iterator[Executor]:
    """Connect to the scheduler at `address`; yield what hands tasks to its workers.

    Dask gives the tasks of a worker that dies to another one.

    Parameters
    ----------
    address : str
        Such as ``tcp://host:8786``.

    Raises
    ------
    DependencyError
        Dask is not installed.
    SnnReproError
        No scheduler answers there within seconds, or it has no workers.

    Examples
    --------
    >>> with cluster("tcp://host:8786") as executor:       # doctest: +SKIP
    ...     run = spiking.run(images, executor=executor)
    """
    try:
        import dask
        from distributed import Client
    except ImportError as error:
        raise DependencyError(f"dask and distributed are not installed; run: {INSTALL}") from error
    _require_an_answer(address)
    # A network of some megabytes is sent with each task on purpose, and a task waits for its own result alone.
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 GiB"}):
        client = _connected(Client, address)
        try:
            yield client.get_executor()
        finally:
            with contextlib.suppress(Exception):  # a scheduler that is gone; what it did is known
                client.close()


def _connected(client_class: Any, address: str) -> Any:
    """Return a client whose cluster has a worker."""
    try:
        client = client_class(address, timeout=_TIMEOUT, set_as_default=False)
    except Exception as error:  # whatever a server of another kind makes Dask raise
        raise SnnReproError(f"{address}: what answers there is no scheduler of Dask ({one_line(error)})") from error
    try:
        client.wait_for_workers(1, timeout=_TIMEOUT)
    except Exception as error:
        client.close()
        raise SnnReproError(f"{address}: the scheduler has no workers; run: dask worker {address}") from error
    return client


def _require_an_answer(address: str) -> None:
    """Find out in seconds that nothing answers; Dask's own client takes longer to give up, and is noisy about it."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or port is None:
        raise SnnReproError(f"scheduler {address!r}: an address such as tcp://host:8786 is needed")
    try:
        socket.create_connection((host, port), _TIMEOUT).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise SnnReproError(f"{address}: no scheduler answers ({reason}); start one with: dask scheduler") from error
