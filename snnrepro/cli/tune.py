"""The command that searches: tune."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import snnrepro as snn
from snnrepro.cli import options
from snnrepro.cli.choices import choosing
from snnrepro.cli.print import FOLDED, NUMBER, console, print_json, progress_bar, table_of
from snnrepro.report import figure
from snnrepro.report.front import front_plot
from snnrepro.spiking.convert import MOST_IMAGES
from snnrepro.study.study import STORAGE, search
from snnrepro.user_images import apart, read_images

if TYPE_CHECKING:
    from typing import Sequence

    from snnrepro.study.study import Point

_MOST_JUDGED = 2000


@click.command(epilog=f"{options.MODEL_IS} {options.IMAGES_ARE}")
@options.model
@options.data
@choosing
@click.option("--trials", type=click.IntRange(1), default=40, show_default=True, help="Conversions the study has then.")
@click.option("--max-steps", type=click.IntRange(2), default=32, show_default=True, help="Most time steps tried.")
@click.option("--storage", default=STORAGE, show_default=True, help="Any database of Optuna's; machines may share it.")
@click.option("--study", help="The study's name in it.  [default: the name of MODEL]")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the search.")
@click.option("-o", "--output", type=options.PATH, help="Draw the front: an .svg or .png file.")
@options.task
@options.as_json
def tune(
    model: Path,
    data: Path,
    chosen: dict[str, Any],
    trials: int,
    max_steps: int,
    storage: str,
    study: str | None,
    seed: int,
    output: Path | None,
    task: str | None,
    as_json: bool,
) -> None:
    """Search steps, code, thresholds, leak and synapse for the front of accuracy, latency and operations.

    Of DATA (no test images: they would choose) up to 1,000 fit the neurons and others judge. A study that was stopped
    goes on when the command is given again. `snnrepro convert --from-study` makes the conversion of a trial.

    Example: snnrepro tune model.onnx train.npz --trials 60
    """
    if output is not None:
        figure.require_chart(output)
    network = snn.load(model, **chosen)
    images = apart(*read_images(data, "train"), MOST_IMAGES, _MOST_JUDGED)
    name = study or model.name
    with progress_bar("searching") as advance:
        front = search(network, images, trials, storage, name, max_steps, task, seed, advance)
    if as_json:
        print_json({"storage": storage, "study": name, "front": [point.as_dict() for point in front]})
    else:
        _print(front, len(images.judged))
        click.echo(
            f"study {name!r} in {storage}; convert one: snnrepro convert {model} -o OUT.npz --calibration {data} ",
            nl=False,
        )
        click.echo(f"--from-study {storage} --study {name} --trial N")
    if output is not None:
        figure.write(front_plot(front, name), output)
        click.echo(f"written: {output}", err=as_json)


def _print(front: Sequence[Point], n_judged: int) -> None:
    """Print the front, the fewest steps first."""
    columns = dict.fromkeys(("trial", "steps", "lost", "95 %", "operations", "spikes"), NUMBER)
    table = table_of({**columns, "conversion": FOLDED})
    for point in front:
        table.add_row(
            str(point.trial),
            str(point.choice.n_steps),
            f"{point.loss:.2f}",
            f"{point.low:.2f} to {point.high:.2f}",
            f"{point.operations:,.0f}",
            f"{point.spikes:,.0f}",
            str(point.choice),
        )
    console().print(table)
    console().print(f"lost: points to the trained network on {n_judged:,} images that fitted nothing")


COMMANDS = (tune,)
