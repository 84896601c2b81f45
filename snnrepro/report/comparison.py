"""Two reproductions side by side."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Iterator

from rich.table import Table

from snnrepro.metrics import interval

if TYPE_CHECKING:
    from rich.console import Console

    from snnrepro.thesis.cells import Cell, Measured
    from snnrepro.thesis.results import Results

_KINDS = {"accuracy": ("accuracy, %", 2), "ssim": ("ssim", 4), "seconds": ("seconds", 2)}
_WORDS = {True: "[green]agrees[/green]", False: "[bold red]differs[/bold red]", None: ""}


@dataclass(frozen=True)
class Difference:
    """A figure that both reproductions have.

    Attributes
    ----------
    cell : str
        What was measured, in words.
    kind : str
        "accuracy" in %, "ssim" or "seconds".
    first, second : float
        The figures.
    agrees : bool or None
        Whether accuracies' 95 % intervals overlap, and images' likeness differs by at most 0.01; None for seconds,
        which depend on the machine.
    """

    cell: str
    kind: str
    first: float
    second: float
    agrees: bool | None


def differences(first: Results, second: Results) -> list[Difference]:
    """Return every figure that both have, cell by cell (one seed at a time)."""
    others = {one.cell: one for one in second.measured}
    pairs = [(one, others[one.cell]) for one in first.measured if one.cell in others]
    return [difference for pair in pairs for difference in _of_cell(*pair)]


def _of_cell(first: Measured, second: Measured) -> Iterator[Difference]:
    repeated = {0} if first.cell.system == "converted" else set()  # Keras's answers, which have a cell of their own
    for n_steps in sorted(set(first.accuracy) & set(second.accuracy) - repeated):
        a, b = first.accuracy[n_steps], second.accuracy[n_steps]
        (low_a, high_a), (low_b, high_b) = interval(a, first.n_images), interval(b, second.n_images)
        yield Difference(_words(first.cell, n_steps), "accuracy", a, b, low_a <= high_b and low_b <= high_a)
    for pair in sorted(set(first.ssim) & set(second.ssim)):
        a, b = first.ssim[pair], second.ssim[pair]
        yield Difference(f"{first.cell.describe()}, {pair}", "ssim", a, b, abs(a - b) <= 0.01)
    yield Difference(first.cell.describe(), "seconds", first.seconds, second.seconds, None)


def _words(cell: Cell, n_steps: int) -> str:
    return f"{cell.describe()}, at {n_steps}" if n_steps != cell.n_steps else cell.describe()


def as_dict(first: Results, second: Results) -> dict[str, Any]:
    """Return what `print_comparison` prints."""
    compared = differences(first, second)
    return {
        "agrees": all(one.agrees is not False for one in compared),
        "conditions": _conditions(first, second),
        "differences": [asdict(one) for one in compared],
    }


def print_comparison(first: Results, second: Results, console: Console) -> None:
    """Print what was measured under other conditions, then every common figure beside its other."""
    for name, (a, b) in _conditions(first, second).items():
        console.print(f"{name}: {a} | {b}", markup=False)
    every = differences(first, second)
    for kind, (title, digits) in _KINDS.items():
        table = Table(title=title, title_justify="left")
        table.add_column("cell")
        for heading in ("first", "second", "difference"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        for one in (one for one in every if one.kind == kind):
            numbers = (f"{one.first:.{digits}f}", f"{one.second:.{digits}f}", f"{one.second - one.first:+.{digits}f}")
            table.add_row(one.cell, *numbers, _WORDS[one.agrees])
        if table.row_count:
            console.print(table)
    differing = sum(one.agrees is False for one in every)
    compared = sum(one.agrees is not None for one in every)
    only = len({one.cell for one in first.measured} ^ {one.cell for one in second.measured})
    console.print(f"{compared} figures compared, {differing} differ; {only} cells are in only one of the two")


def _conditions(first: Results, second: Results) -> dict[str, tuple[Any, Any]]:
    """Return what is not the same in both: data, machine, libraries, how much was measured."""
    pairs: dict[str, tuple[Any, Any]] = {
        "profile": (first.profile, second.profile),
        "data": (first.data["sha256"][:12], second.data["sha256"][:12]),
    }
    for name in ("python", "cpu", "cpu_cores", "gpus"):
        pairs[name] = (first.environment[name], second.environment[name])
    libraries = first.environment["libraries"], second.environment["libraries"]
    for name in sorted(set(libraries[0]) | set(libraries[1])):
        pairs[name] = (libraries[0].get(name), libraries[1].get(name))
    for model in sorted(set(first.models) & set(second.models)):
        for name, value in first.models[model].items():
            pairs[f"{model} {name}"] = (value, second.models[model].get(name))
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
