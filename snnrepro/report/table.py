"""A table as data: what the page and the Markdown file both show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Mapping, Sequence, Union

SIGNS = {"pass": "✓", "fail": "✗", "not judged": "–"}
"""A verdict is always a word; its sign is for the eye that runs down a column."""


@dataclass(frozen=True)
class Judged:
    """A verdict in a table: the word, the bound it was held against, and the letter of the note that says why."""

    outcome: str
    bound: str = ""
    note: str = ""

    @property
    def sign(self) -> str:
        """The verdict as one character."""
        return SIGNS.get(self.outcome, "?")


Cell = Union[str, Judged]


@dataclass(frozen=True)
class Column:
    """A heading, and whether the numbers below it are aligned to the right."""

    heading: str
    is_number: bool = True


@dataclass(frozen=True)
class Group:
    """Rows under one heading; the heading may be empty."""

    heading: str
    rows: tuple[tuple[Cell, ...], ...]


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
        The rows, one cell a column.
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
    title: str,
    headings: Sequence[str],
    groups: Mapping[str, Iterable[Sequence[Cell]]],
    notes: Notes | None = None,
) -> Table:
    """Return a table whose headings that end in ``|`` are those of text, all others of numbers."""
    columns = tuple(Column(heading.rstrip("|"), not heading.endswith("|")) for heading in headings)
    filled = tuple(Group(heading, tuple(tuple(row) for row in rows)) for heading, rows in groups.items())
    return Table(title, columns, filled, () if notes is None else notes.all())


def without_empty(given: Table, heading: str) -> Table:
    """Return a table without the column of that heading if it holds nothing but dashes: one seed has no range."""
    index = [column.heading for column in given.columns].index(heading)
    if any(row[index] != "–" for group in given.groups for row in group.rows):
        return given
    columns = given.columns[:index] + given.columns[index + 1 :]
    groups = tuple(
        Group(group.heading, tuple(row[:index] + row[index + 1 :] for row in group.rows)) for group in given.groups
    )
    return Table(given.title, columns, groups, given.notes)


class Notes:
    """Sentences below a table; the same sentence keeps the same letter."""

    def __init__(self) -> None:
        self._letters: dict[str, str] = {}

    def letter(self, sentence: str) -> str:
        """Return the letter of a sentence, a new one if it was not said before; none for an empty sentence."""
        if not sentence:
            return ""
        if sentence not in self._letters:
            number = sum(map(bool, self._letters.values()))
            self._letters[sentence] = chr(ord("a") + number % 26) * (1 + number // 26)
        return self._letters[sentence]

    def add(self, sentence: str) -> None:
        """Say a sentence that belongs to the whole table: it has no letter."""
        if sentence:
            self._letters[sentence] = ""

    def all(self) -> tuple[tuple[str, str], ...]:
        """Return letters and sentences in the order in which they were said first."""
        return tuple((letter, sentence) for sentence, letter in self._letters.items())
