"""The errors of the package: each one a clear line for the user, never a traceback on the command line."""

from __future__ import annotations


class SnnReproError(Exception):
    """Something the user gave cannot be used; the message says what, where, and what to do."""


class ModelError(SnnReproError):
    """A trained network cannot be read or converted."""


class ArchiveError(ModelError):
    """An npz archive is damaged, foreign, or written by a newer version."""


class DataError(SnnReproError):
    """A data set is missing, truncated, or of the wrong shape, type or range."""


class DependencyError(SnnReproError):
    """An optional package is missing or too old; the message names the command that mends it."""
