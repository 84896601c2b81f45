"""The errors of the package: each one a clear line for the user, never a traceback on the command line."""

from __future__ import annotations

from typing import Any, Sequence


class SnnReproError(Exception):
    """Something the user gave cannot be used; the message says what, where, and what to do."""


class ModelError(SnnReproError):
    """A trained network cannot be read or converted."""


class UnsupportedError(ModelError):
    """A readable network has nodes that cannot be converted.

    Attributes
    ----------
    problems : tuple of str
        One per node: operator, name and reason.
    hint : str
        What would help, or nothing.
    """

    def __init__(self, problems: Sequence[str], hint: str = "") -> None:
        self.problems, self.hint = tuple(problems), hint
        super().__init__("these nodes cannot be converted:\n  " + "\n  ".join(self.problems) + (hint and f"\n{hint}"))

    def __reduce__(self) -> tuple[type[UnsupportedError], tuple[Any, ...]]:
        return type(self), (self.problems, self.hint)  # or a worker's would be made of its message


class ArchiveError(ModelError):
    """An npz archive is damaged, foreign, or written by a newer version."""


class DataError(SnnReproError):
    """A data set is missing, truncated, or of the wrong shape, type or range."""


class DataWarning(UserWarning):
    """What the data at hand cannot show, or why figures of them may not be what they seem."""


class DependencyError(SnnReproError):
    """An optional package is missing or too old; the message names the command that fixes it."""


def one_line(error: BaseException) -> str:
    """Return an error's type and first words; what a hostile file puts into it cannot flood the terminal."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
