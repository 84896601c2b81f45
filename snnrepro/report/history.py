"""Every figure over any number of results, by the date of each: which commit or version moved it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from rich.table import Table

from snnrepro.checking import results as check_results
from snnrepro.checking.changes import FIGURES, decimals
from snnrepro.errors import DataError
from snnrepro.report.comparison import own_accuracies, unlike, words
from snnrepro.report.figure import INK, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

    from snnrepro.report.comparison import Either
    from snnrepro.report.figure import Plot

_PANEL = 1.5  # inches of the axes of one kind of figure
_ENTRY = 0.17  # of an entry of its legend
_NAMES = 0.4  # of the results' names under the last axes
_COLOURS = ("#1a7fc0", "#d55e00", "#009270", "#b0609b", "#8f7a00", INK)
_MOST_LINES = 6
"""Lines of one chart that can be told apart; of more, those that moved most are drawn."""


@dataclass(frozen=True)
class Milestone:
    """The figures of one file.

    Attributes
    ----------
    name : str
        Of the file.
    date, commit : str
        When and of what it was made; "" where it does not say.
    versions : mapping of str to Any
        Interpreter, processor and libraries.
    figures : mapping of (str, str) to float
        By kind ("accuracy", "loss", ...) and what was measured.
    """

    name: str
    date: str
    commit: str
    versions: Mapping[str, Any]
    figures: Mapping[tuple[str, str], float]

    @property
    def label(self) -> str:
        """What it is called in a chart: its commit, or its name."""
        return self.commit[:7] or self.name


def milestone(name: str, results: Either) -> Milestone:
    """Return the figures of results of either kind, read from a file of this name."""
    if isinstance(results, check_results.Results):
        figures = {
            (figure, model): float(result.figures[key])
            for model, result in results.models.items()
            for figure, (key, _) in FIGURES.items()
            if result.figures.get(key) is not None
        }
        made = results.made
        return Milestone(name, str(made.get("date", "")), str(made.get("commit") or ""), _versions(made), figures)
    measured = {
        ("accuracy", words(one.cell, n_steps)): value
        for one in results.measured
        for n_steps, value in own_accuracies(one).items()
    }
    seconds = {("seconds", one.cell.describe()): one.seconds for one in results.measured}
    return Milestone(name, results.finished, "", _versions(results.environment), {**measured, **seconds})


def _versions(made: Mapping[str, Any]) -> dict[str, Any]:
    return {"python": made.get("python"), "cpu": made.get("cpu"), **made.get("libraries", {})}


def in_order(milestones: Sequence[Milestone]) -> list[Milestone]:
    """Return them by date."""
    return sorted(milestones, key=lambda one: one.date)


def as_dict(milestones: Sequence[Milestone]) -> dict[str, Any]:
    """Return what `print_history` prints."""
    return {
        "results": [
            {"name": one.name, "date": one.date, "commit": one.commit, "versions": dict(one.versions)}
            for one in milestones
        ],
        "figures": [
            {"kind": kind, "of": what, "values": [one.figures.get((kind, what)) for one in milestones]}
            for kind, what in _keys(milestones)
        ],
    }


def print_history(milestones: Sequence[Milestone], console: Console) -> None:
    """Print which results there are and what changed between them, then every figure over them."""
    for number, one in enumerate(milestones, 1):
        before = milestones[number - 2].versions if number > 1 else None
        changed = "" if before is None else _changed(before, one.versions)
        console.print(f"{number}: {one.name}, {one.date[:19]} {one.commit[:12]}{changed}", markup=False)
    table = Table()
    table.add_column("figure", overflow="fold")
    for number in range(1, len(milestones) + 1):
        table.add_column(str(number), justify="right", no_wrap=True)
    table.add_column("change", justify="right", no_wrap=True)
    for kind, what in _keys(milestones):
        values = [one.figures.get((kind, what)) for one in milestones]
        digits = decimals(kind)
        cells = ["" if value is None else f"{value:,.{digits}f}" for value in values]
        known = [value for value in values if value is not None]
        table.add_row(f"{what}: {kind}", *cells, f"{known[-1] - known[0]:+,.{digits}f}" if len(known) > 1 else "")
    console.print(table)


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    moved = [f"{name} {old} -> {new}" for name, (old, new) in unlike(before, after).items()]
    return f"; {', '.join(moved)}" if moved else ""


def _keys(milestones: Sequence[Milestone]) -> list[tuple[str, str]]:
    """Return every figure that two of them have at least, by kind."""
    keys = list(dict.fromkeys(key for one in milestones for key in one.figures))
    kinds = list(dict.fromkeys(kind for kind, _ in keys))
    common = [key for key in keys if sum(key in one.figures for one in milestones) > 1]
    return sorted(common, key=lambda key: (kinds.index(key[0]), keys.index(key)))


def plot(milestones: Sequence[Milestone]) -> Plot:
    """Return a chart of every kind of figure over the results.

    Raises
    ------
    DataError
        They have no figure in common.
    DependencyError
        matplotlib is missing.
    """
    by_kind: dict[str, list[str]] = {}
    for kind, what in _keys(milestones):
        by_kind.setdefault(kind, []).append(what)
    if not by_kind:
        raise DataError("these results have no figure in common: there is nothing to draw")

    def paint(figure: Figure) -> None:
        panels = figure.subplots(len(by_kind), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (kind, whats) in zip(panels, by_kind.items()):
            axes.set_title(f"{_TITLES[kind]}: {whats[0]}" if len(whats) == 1 else _TITLES[kind])
            for what, colour in zip(_moved_most(milestones, kind, whats), _COLOURS):
                points = [(x, one.figures.get((kind, what))) for x, one in enumerate(milestones)]
                known = [(x, y) for x, y in points if y is not None]
                axes.plot([x for x, _ in known], [y for _, y in known], "o-", color=colour, label=what)
            if len(whats) > 1:
                below = -0.05 if axes is not panels[-1] else -0.05 - _NAMES / _PANEL
                axes.legend(loc="upper left", bbox_to_anchor=(0, below), borderaxespad=0, fontsize=7)
            axes.margins(y=0.25)
        panels[-1].set_xticks(range(len(milestones)))
        panels[-1].set_xticklabels([one.label for one in milestones], rotation=30, ha="right")
        figure.tight_layout()

    names = ", ".join(one.label for one in milestones)
    alt = f"{', '.join(by_kind)} of {len(milestones)} results: {names}."
    entries = max(min(_MOST_LINES, len(whats)) for whats in by_kind.values())
    height = 0.8 + _NAMES + (_PANEL + (_ENTRY * entries if entries > 1 else 0)) * len(by_kind)
    return draw("history", "results", height, paint, alt, "Figures over results, by their dates.")


_TITLES = {
    "accuracy": "accuracy, %",
    "loss": "lost by conversion, points",
    "n_steps": "time steps",
    "spikes": "spikes per image",
    "operations": "synaptic operations per image",
    "seconds": "seconds",
}


def _moved_most(milestones: Sequence[Milestone], kind: str, whats: Sequence[str]) -> list[str]:
    """Return the figures of a kind that are drawn, in their order."""

    def moved(what: str) -> float:
        values = [one.figures[kind, what] for one in milestones if (kind, what) in one.figures]
        return max(values) - min(values)

    most = sorted(whats, key=moved, reverse=True)[:_MOST_LINES]
    return [what for what in whats if what in most]
