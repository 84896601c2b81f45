"""A table as data: what the terminal, the page and the Markdown file all show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Mapping, Sequence, Union

from snnrepro.report.names import NOTHING, SIGNS


@dataclass(frozen=True)
class Judged:
    """A verdict in a table: the word, the bound it was held against, and the letter of the note that says why."""

    outcome: str
    bound: str = ""
    note: str = ""

    @property
    def sign(self) -> str:
        """The verdict as one character."""
        return SIGNS[self.outcome]


Entry = Union[str, Judged]


@dataclass(frozen=True)
class Column:
    """A heading, and whether the numbers below it are aligned to the right."""

    heading: str
    is_number: bool = True


def text(heading: str = "") -> Column:
    """Return a column of words."""
    return Column(heading, is_number=False)


RANGE = Column("range over seeds")
"""Left out of a table that has none: a single seed has no range."""


@dataclass(frozen=True)
class Group:
    """Rows under one heading; the heading may be empty."""

    heading: str
    rows: tuple[tuple[Entry, ...], ...]


@dataclass(frozen=True)
class Table:
    """A table with its title and the notes below it.

    Attributes
    ----------
    title : str
        Above the table.
    columns : tuple of Column
        The first column names the row.
    groups : tuple of Group
        The rows, one entry per column.
    notes : tuple of (str, str)
        Letter and sentence, below the table.
    """

    title: str
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    notes: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for group in self.groups:
            for row in group.rows:
                if len(row) != len(self.columns):
                    raise ValueError(f"{self.title}: {len(row)} cells under {len(self.columns)} columns")


def table(
    title: str, columns: tuple[Column, ...], groups: Mapping[str, Iterable[Sequence[Entry]]], notes: Notes | None = None
) -> Table:
    """Return a table of rows by the heading of their group; the column `RANGE` only if it holds anything."""
    rows = {heading: [tuple(row) for row in group] for heading, group in groups.items()}
    if RANGE in columns:
        i = columns.index(RANGE)
        if all(row[i] == NOTHING for group in rows.values() for row in group):
            columns = columns[:i] + columns[i + 1 :]
            rows = {heading: [row[:i] + row[i + 1 :] for row in group] for heading, group in rows.items()}
    filled = tuple(Group(heading, tuple(group)) for heading, group in rows.items())
    return Table(title, columns, filled, () if notes is None else notes.all())


class Notes:
    """Sentences below a table; the same sentence keeps the same letter."""

    def __init__(self) -> None:
        self._letters: dict[str, str] = {}

    def letter(self, sentence: str) -> str:
        """Return the letter of a sentence, a new one if it was not said before."""
        if sentence not in self._letters:
            number = sum(map(bool, self._letters.values()))
            self._letters[sentence] = chr(ord("a") + number % 26) * (1 + number // 26)
        return self._letters[sentence]

    def add(self, sentence: str) -> None:
        """Say a sentence that belongs to the whole table: it has no letter."""
        self._letters[sentence] = ""

    def all(self) -> tuple[tuple[str, str], ...]:
        """Return letters and sentences in the order in which they were said first."""
        return tuple((letter, sentence) for sentence, letter in self._letters.items())
