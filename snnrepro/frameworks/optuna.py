"""Optuna, imported late: it searches, and keeps studies in a database."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator

from snnrepro.errors import DependencyError, SnnReproError, one_line

INSTALL = 'pip install "optuna>=3.0"'


def import_optuna() -> Any:
    """Return Optuna, which from now on says warnings alone.

    Raises
    ------
    DependencyError
        It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise DependencyError(f"Optuna is not installed; run: {INSTALL}") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


@contextlib.contextmanager
def opened(url: str) -> Iterator[Any]:
    """Open the database of studies at a URL of SQLAlchemy, such as ``sqlite:///tune.db``, and close it in the end.

    Raises
    ------
    SnnReproError
        It is no such URL, its driver is not installed, or nothing answers there.
    """
    optuna = import_optuna()
    try:
        storage = optuna.storages.RDBStorage(url)
    except ImportError as error:
        raise DependencyError(f"{_shown(url)}: the database's driver is not installed ({one_line(error)})") from error
    except Exception as error:  # whatever SQLAlchemy and the drivers raise
        raise SnnReproError(f"{_shown(url)}: no database of studies can be opened there ({one_line(error)})") from None
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _shown(url: str) -> str:
    """Return a URL without its password."""
    head, at, tail = url.rpartition("@")
    return f"{head.rpartition(':')[0]}:***@{tail}" if at and head.count(":") > 1 else url
