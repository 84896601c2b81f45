"""Two results side by side: of reproductions, or of checks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, Sequence, Union

from rich.table import Table

from snnrepro.checking import results as check_results
from snnrepro.checking.changes import changes
from snnrepro.checking.summary import changes_as_text
from snnrepro.errors import DataError
from snnrepro.metrics import interval
from snnrepro.thesis import results as results_json

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from snnrepro.checking.changes import Change

    Either = Union[check_results.Results, results_json.Results]
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


@dataclass(frozen=True)
class Compared:
    """Two results of one kind.

    Attributes
    ----------
    agrees : bool
        Whether no accuracy differs by more than chance.
    show : callable
        Prints them, to a console.
    as_dict : callable
        Gives what is printed.
    """

    agrees: bool
    show: Callable[[Console], None]
    as_dict: Callable[[], dict[str, Any]]


_MIXED = "results of a reproduction and of checks have nothing in common"


def read_all(paths: Sequence[Path]) -> list[Either]:
    """Return the results in files, or in folders of reproductions; all are of one kind.

    Raises
    ------
    DataError
        One cannot be read, or some are of a reproduction and others of checks.
    """
    found: list[Either] = [
        check_results.read(path) if check_results.is_one(path) else results_json.read(path) for path in paths
    ]
    if len(set(map(type, found))) > 1:
        raise DataError(_MIXED)
    return found


def side_by_side(first: Either, second: Either) -> Compared:
    """Return two results side by side.

    Raises
    ------
    DataError
        One is of a reproduction and the other of checks, or they are of checks of other models.
    """
    if isinstance(first, check_results.Results) and isinstance(second, check_results.Results):
        changed = changes(first, second)
        conditions = unlike(_flat(first.made), _flat(second.made))

        def show(console: Console) -> None:
            for name, (a, b) in conditions.items():
                console.print(f"{name}: {a} | {b}", markup=False)
            console.print(changes_as_text(changed, console.width), markup=False)

        return Compared(
            not any(one.interval is not None and not one.interval[0] <= 0 <= one.interval[1] for one in changed),
            show,
            lambda: {"conditions": conditions, "differences": [_change(one) for one in changed]},
        )
    if isinstance(first, check_results.Results) or isinstance(second, check_results.Results):
        raise DataError(_MIXED)
    found = as_dict(first, second)
    return Compared(found["agrees"], lambda console: print_comparison(first, second, console), lambda: found)


def _change(one: Change) -> dict[str, Any]:
    return {"model": one.model, "figure": one.figure, "first": one.before, "second": one.now, "interval": one.interval}


def unlike(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return both sides of what is not the same in both, None for what one has not, by name."""
    pairs = {name: (first.get(name), second.get(name)) for name in sorted({*first, *second})}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _flat(made: Mapping[str, Any]) -> dict[str, Any]:
    """Return what results were made with, the libraries' versions beside the rest."""
    return {**{name: value for name, value in made.items() if name != "libraries"}, **made.get("libraries", {})}


def differences(first: Results, second: Results) -> list[Difference]:
    """Return every figure that both have, cell by cell (one seed at a time)."""
    others = {one.cell: one for one in second.measured}
    pairs = [(one, others[one.cell]) for one in first.measured if one.cell in others]
    return [difference for pair in pairs for difference in _of_cell(*pair)]


def _of_cell(first: Measured, second: Measured) -> Iterator[Difference]:
    for n_steps in sorted(set(own_accuracies(first)) & set(second.accuracy)):
        a, b = first.accuracy[n_steps], second.accuracy[n_steps]
        (low_a, high_a), (low_b, high_b) = interval(a, first.n_images), interval(b, second.n_images)
        yield Difference(words(first.cell, n_steps), "accuracy", a, b, low_a <= high_b and low_b <= high_a)
    for pair in sorted(set(first.ssim) & set(second.ssim)):
        a, b = first.ssim[pair], second.ssim[pair]
        yield Difference(f"{first.cell.describe()}, {pair}", "ssim", a, b, abs(a - b) <= 0.01)
    yield Difference(first.cell.describe(), "seconds", first.seconds, second.seconds, None)


def own_accuracies(measured: Measured) -> dict[int, float]:
    """Return a cell's accuracies by step, without those of Keras, which have a cell of their own."""
    repeated = {0} if measured.cell.system == "converted" else set()
    return {n_steps: value for n_steps, value in measured.accuracy.items() if n_steps not in repeated}


def words(cell: Cell, n_steps: int) -> str:
    """Return what an accuracy of a cell is of."""
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
