"""The commands that reproduce the thesis, compare reproductions and write their report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from snnrepro.cli import options
from snnrepro.cli.print import cells_progress, console, print_json, progress_bar
from snnrepro.datasets import load_mnist, source_of
from snnrepro.errors import DependencyError, SnnReproError
from snnrepro.files import written_whole
from snnrepro.frameworks.nengo_dl import INSTALL, missing_packages
from snnrepro.thesis.cells import MODELS, workloads

if TYPE_CHECKING:
    from snnrepro.thesis.results import Results


@click.command()
@click.argument("models", nargs=-1, type=options.MODEL)
@click.option("--profile", type=options.PROFILE, default="reference", show_default=True, help="How much to measure.")
@click.option("--train", is_flag=True, help="Train every network anew: --profile quick, where no other is named.")
@click.option("--data", type=options.PATH, help="An mnist.npz, a folder of IDX files, or keras: its cache or download.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("snnrepro-results"),
    show_default=True,
    help="Folder for the results, the report and the trained networks.",
)
@click.option("--seeds", type=options.STEPS, help="Trainings per model; the thesis has 5, one for each n_steps.")
@click.option(
    "--strides", type=click.Choice(["1,2,2", "1,1,2"]), default="1,2,2", show_default=True, help="Strides of the CNN."
)
@click.option("--again", is_flag=True, help="Measure again what the folder already holds.")
@options.scheduler
@click.option("--check", type=options.PATH, help="Judge the results of this folder; measure nothing.")
@options.as_json
def reproduce(
    models: tuple[str, ...],
    profile: str,
    train: bool,
    data: Path | None,
    output: Path,
    seeds: int | None,
    strides: str,
    again: bool,
    scheduler: str | None,
    check: Path | None,
    as_json: bool,
) -> None:
    """Measure the thesis's tables and print them beside the printed figures; all of them, or those of MODELS.

    reference: the trained networks inside snnrepro, on all test images, about 5 minutes on 2 cores. quick: one network
    of each kind trained anew, convolutional ones on fewer images, about 7 minutes. thesis: everything trained anew and
    in full, about 3 hours. A run that was stopped goes on where it stopped when it is started again.
    Exit status 1 if a judged figure is outside its tolerance.

    Example: snnrepro reproduce dense --train
    """
    from snnrepro.thesis import results as results_json

    if check is not None:
        _show(results_json.read(check), as_json)
        return
    from snnrepro.thesis import reproduce as thesis

    if train and profile == "reference":
        profile = "quick"
    mnist, wanted = load_mnist(data), models or MODELS
    to_do = workloads(profile, wanted, seeds)
    _require_writable(output)
    click.echo(f"data: {mnist.describe()}", err=True)
    if profile == "reference" and scheduler is None and missing_packages():
        click.echo(f"NengoDL is not installed, and what needs it is not measured; run: {INSTALL}", err=True)
    with options.executor_of(scheduler) as executor, cells_progress(to_do) as progress:
        results = thesis.reproduce(
            profile,
            mnist,
            output,
            wanted,
            seeds,
            [int(stride) for stride in strides.split(",")],
            again,
            progress,
            executor,
            source_of(data),
        )
    path = output / "results.json"
    results_json.write(results, path)
    written = [path, *_reported(output)]
    click.echo(f"written: {', '.join(map(str, written))}", err=as_json)
    _show(results, as_json)


@click.command()
@click.argument("results", type=options.PATH, nargs=-1, required=True)
@click.option("-o", "--output", type=options.PATH, help="Draw the figures over the results: an .svg or .png file.")
@options.as_json
def compare(results: tuple[Path, ...], output: Path | None, as_json: bool) -> None:
    """Put RESULTS beside each other, figure by figure, and what differs in their conditions.

    RESULTS: files or folders of `snnrepro reproduce`, or files of `pytest --snn-save`. Of two, what changed; exit
    status 1 if an accuracy differs by more than chance (of reproductions: 95 % intervals that do not overlap; of
    checks: the interval of the change, image by image, is without 0). Of more, every figure over them, by date.

    Example: snnrepro compare mine/results.json theirs/results.json
    """
    from snnrepro.report import comparison, figure, history

    if len(results) < 2:
        raise SnnReproError(f"two results or more can be compared, got {len(results)}")
    if output is not None:
        figure.require_chart(output)
    found = comparison.read_all(results)
    milestones = history.in_order([history.milestone(path.name, one) for path, one in zip(results, found)])
    agrees = True
    if len(found) == 2:
        both = comparison.side_by_side(*found)
        agrees = both.agrees
        if as_json:
            print_json(both.as_dict())
        else:
            both.show(console())
    elif as_json:
        print_json(history.as_dict(milestones))
    else:
        history.print_history(milestones, console())
    if output is not None:
        figure.write(history.plot(milestones), output)
        click.echo(f"written: {output}", err=as_json)
    if not agrees:
        sys.exit(1)


@click.command()
@click.argument("folder", type=options.PATH)
def report(folder: Path) -> None:
    """Write report.html, report.md and the plots of the results in FOLDER once more.

    Example: snnrepro report snnrepro-results
    """
    for path in _drawn(folder):
        click.echo(f"written: {path}")


def _show(results: Results, as_json: bool) -> None:
    from snnrepro.report import terminal
    from snnrepro.thesis import results as results_json

    if as_json:
        print_json(results_json.as_dict(results))
    else:
        terminal.print_results(results, console())
    if not results.passed:
        sys.exit(1)


def _reported(folder: Path) -> list[Path]:
    """Return the report's files; without matplotlib there are none, and a line says why."""
    try:
        return _drawn(folder)
    except DependencyError as error:
        click.echo(f"no report: {error}", err=True)
        return []


def _drawn(folder: Path) -> list[Path]:
    from snnrepro.report.report import write_report

    with progress_bar("drawing") as advance:
        return write_report(folder, advance or (lambda _: None))[:2]


def _require_writable(folder: Path) -> None:
    """Find out before minutes of work, not after, that nothing can be written there."""
    probe = folder / ".snnrepro-probe"
    try:
        with written_whole(probe):
            pass
        probe.unlink()
    except OSError as error:
        raise SnnReproError(
            f"{folder}: nothing can be written there ({error.strerror}); choose a folder with -o"
        ) from error


COMMANDS = (reproduce, compare, report)
