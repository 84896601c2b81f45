"""A terminal to print tables on, and progress bars that are silent in a pipe."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Callable, Iterator, Mapping

from rich.console import Console

if TYPE_CHECKING:
    from snnrepro.thesis.cells import Cell, Workload


def console() -> Console:
    """Return a console as wide as the terminal; a pipe has no width, the tables are kept whole in it."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(width=120, highlight=False)


@contextlib.contextmanager
def progress_bar(what: str) -> Iterator[Callable[[float], None] | None]:
    """Show a bar with the time left on a terminal, nothing in a pipe; advanced by fractions of the work."""
    shown = Console(stderr=True)
    if not shown.is_terminal:
        yield None
        return
    from rich.progress import Progress

    with Progress(console=shown, transient=True) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda fraction: bar.advance(task, fraction)


@contextlib.contextmanager
def cells_progress(workloads: Mapping[str, Workload]) -> Iterator[Callable[[Cell, float], None] | None]:
    """Show the cell that is measured and the time left for all of them on a terminal, nothing in a pipe."""
    shown = Console(stderr=True)
    if not shown.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from snnrepro.thesis.cells import cells, relative_cost

    total = sum(relative_cost(cell, load) for model, load in workloads.items() for cell in cells(model, load))
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=shown, transient=True) as bar:
        task = bar.add_task("starting", total=total)

        def advance(cell: Cell, fraction: float) -> None:
            bar.update(task, advance=relative_cost(cell, workloads[cell.model]) * fraction, description=cell.describe())

        yield advance
