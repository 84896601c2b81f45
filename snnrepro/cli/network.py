"""The commands for one network: inspect, convert, run, verify; and doctor."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict
from pathlib import Path

import click

import snnrepro as snn
from snnrepro.cli import options
from snnrepro.cli.print import (
    layers_as_dict,
    print_json,
    print_layers,
    print_run,
    print_verification,
    progress_bar,
    run_as_dict,
    save_run,
)
from snnrepro.datasets import read_data
from snnrepro.environment import environment
from snnrepro.frameworks import nengo_dl
from snnrepro.inputs import checked_labels
from snnrepro.spiking.network import DEFAULT_N_STEPS
from snnrepro.spiking.prepare import prepare


@click.command()
@options.model
@options.as_json
def inspect(model: Path, as_json: bool) -> None:
    """Show the layers, shapes and parameters of MODEL (.onnx or .npz), or every node that cannot be converted.

    Exit status 1 if any node cannot be converted.

    Example: snnrepro inspect model.onnx
    """
    try:
        network = snn.load(model)
        prepare(network)
    except snn.UnsupportedError as error:
        if as_json:
            print_json({"convertible": False, "problems": error.problems})
        else:
            click.echo(error)
        sys.exit(1)
    if as_json:
        print_json({"convertible": True, **layers_as_dict(network)})
    else:
        print_layers(network)


@click.command()
@options.model
@click.option("-o", "--output", type=options.PATH, required=True, help="The npz file to write the spiking network to.")
@click.option("--calibration", type=options.PATH, help="An npz file with images `x` (and labels `y`).")
@click.option("--recipe", type=options.RECIPE, default="balanced", show_default=True, help="How neurons are made.")
@click.option("--n-steps", type=options.STEPS, help=f"Time steps it is made for.  [default: {DEFAULT_N_STEPS}]")
@click.option("--max-loss", type=click.FloatRange(0), help="Find the fewest steps that lose at most so many points.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the initial potentials (recipe thesis).")
@options.as_json
def convert(
    model: Path,
    output: Path,
    calibration: Path | None,
    recipe: str,
    n_steps: int | None,
    max_loss: float | None,
    seed: int,
    as_json: bool,
) -> None:
    """Turn MODEL (.onnx or .npz) into a spiking network, without retraining.

    Example: snnrepro convert model.onnx -o spiking.npz --calibration train.npz --n-steps 8
    """
    if n_steps is not None and max_loss is not None:
        raise snn.SnnReproError("give --n-steps or --max-loss, not both: --max-loss finds the number of steps")
    x, y = (None, None) if calibration is None else read_data(calibration)
    spiking = snn.convert(snn.load(model), recipe, x if y is None else (x, y), n_steps, max_loss, seed)
    spiking.save(output)
    if as_json:
        print_json({"output": str(output), **spiking.provenance})
    else:
        for name, value in spiking.provenance.items():
            click.echo(f"{name.replace('_', ' ')}: {f'{value:.4g}' if isinstance(value, float) else value}")
        click.echo(f"written: {output}")


def _early_exit(_: click.Context, __: click.Parameter, value: str | None) -> str | float | None:
    """Return "certain" or the margin."""
    if value in (None, "certain"):
        return value
    try:
        return float(value or "")
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither 'certain' nor a number") from None


@click.command()
@click.argument("spiking", type=options.PATH)
@options.data
@click.option("--n-steps", type=options.STEPS, help="Time steps to run.  [default: those it was made for]")
@click.option("--simulator", type=options.SIMULATOR, default="event", show_default=True, help="What simulates it.")
@click.option(
    "--early-exit",
    metavar="certain|MARGIN",
    callback=_early_exit,
    help="Stop an image once its answer can no longer change, or once its best logit leads by MARGIN.",
)
@click.option("-o", "--output", type=options.PATH, help="An npz file to write scores, predictions and counts to.")
@options.as_json
def run(
    spiking: Path,
    data: Path,
    n_steps: int | None,
    simulator: str,
    early_exit: str | float | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Run SPIKING (.npz, from `snnrepro convert`) on the images `x` of DATA (.npz); with labels `y`, give the accuracy.

    Example: snnrepro run spiking.npz test.npz
    """
    network, (x, y) = snn.load_spiking(spiking), read_data(data)
    if y is not None:
        y = checked_labels(y, len(x), math.prod(network.network.output_shape))
    with progress_bar("simulating") as advance:
        result = network.run(x, n_steps, simulator, progress=advance, early_exit=early_exit)
    if output is not None:
        save_run(result, output)
    if as_json:
        print_json(run_as_dict(result, y))
    else:
        print_run(result, y)
        if output is not None:
            click.echo(f"written: {output}")


@click.command()
@options.model
@options.data
@click.option("--recipe", type=options.RECIPE, help="Compare the spiking network of this recipe too.")
@click.option(
    "--n-steps", type=options.STEPS, default=DEFAULT_N_STEPS, show_default=True, help="Time steps, with --recipe."
)
@click.option("--images", type=click.IntRange(1), default=100, show_default=True, help="How many images to compare.")
@options.as_json
def verify(model: Path, data: Path, recipe: str | None, n_steps: int, images: int, as_json: bool) -> None:
    """Compare MODEL with what is made of it, hop by hop and layer by layer, on the images `x` of DATA (.npz).

    With --recipe the first 1,000 images calibrate the neurons, and two hops are added: what the neurons' rate curves
    cost, and what too few steps cost. Exit status 1 if a layer differs; the first one is named.

    Example: snnrepro verify model.onnx data.npz --recipe balanced
    """
    x, _ = read_data(data)
    spiking = None if recipe is None else snn.convert(snn.load(model), recipe, x, n_steps)
    verification = snn.verify(model, spiking, x[:images])
    if as_json:
        print_json({"passed": verification.passed, "comparisons": list(map(asdict, verification.comparisons))})
    else:
        print_verification(verification)
    if not verification.passed:
        sys.exit(1)


@click.command()
@options.as_json
def doctor(as_json: bool) -> None:
    """Say what is installed, whether NengoDL can be used, and what to do where it cannot.

    Example: snnrepro doctor
    """
    problem = None
    try:
        nengo_dl.import_nengo_dl()
    except snn.SnnReproError as error:
        problem = str(error)
    machine = environment()
    if as_json:
        print_json({**machine, "nengo_dl_works": problem is None, "problem": problem})
    else:
        gpus = machine["gpus"] or "none"
        click.echo(f"Python {machine['python']}, {machine['cpu']}, {machine['cpu_cores']} cores, GPUs: {gpus}")
        for name, version in machine["libraries"].items():
            click.echo(f"  {name:12} {version or 'not installed'}")
        click.echo("NengoDL works" if problem is None else f"NengoDL cannot be used: {problem}")
    if problem is not None:
        sys.exit(1)


COMMANDS = (inspect, convert, run, verify, doctor)
