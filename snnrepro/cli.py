"""The command ``snnrepro``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from snnrepro import __version__, cli_reproduce
from snnrepro.errors import SnnReproError
from snnrepro.report.console import console, progress_bar


class _Commands(click.Group):
    """Turns the package's own errors into one line on stderr and exit status 2."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            result: object = super().invoke(ctx)
        except SnnReproError as error:
            click.echo(f"snnrepro: {error}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo("snnrepro: interrupted; nothing was written", err=True)
            sys.exit(130)
        return result


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="snnrepro")
def main() -> None:
    """Trained networks as spiking networks without retraining, and what that costs."""


for _command in (cli_reproduce.reproduce, cli_reproduce.compare, cli_reproduce.report):
    main.add_command(_command)


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(model: Path, as_json: bool) -> None:
    """Show the layers, shapes and parameters of MODEL (.onnx or .npz), or every node that cannot be converted.

    Exit status 1 if any node cannot be converted.

    Example: snnrepro inspect model.onnx
    """
    from snnrepro.errors import UnsupportedError
    from snnrepro.readers.load import load
    from snnrepro.report import network_table
    from snnrepro.spiking.prepare import prepare

    try:
        network = load(model)
        prepare(network)
    except UnsupportedError as error:
        if as_json:
            click.echo(json.dumps({"convertible": False, "problems": error.problems}, indent=2))
        else:
            click.echo(error)
        sys.exit(1)
    if as_json:
        click.echo(json.dumps({"convertible": True, **network_table.layers_as_dict(network)}, indent=2))
    else:
        network_table.print_layers(network, console())


_RECIPES = ("balanced", "rate", "balanced-lif", "thesis")
_recipe = click.option("--recipe", type=click.Choice(_RECIPES), default="balanced", show_default=True)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The spiking network, an npz file."
)
@click.option("--calibration", type=click.Path(path_type=Path), help="Images `x` (and labels `y`) in an npz file.")
@_recipe
@click.option("--n-steps", type=click.IntRange(1), help="Time steps that it will run.  [default: 15]")
@click.option("--max-loss", type=click.FloatRange(0), help="Find the fewest steps that lose at most these points.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the initial potentials (recipe thesis).")
@_json
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
    from snnrepro.datasets import read_data
    from snnrepro.readers.load import load
    from snnrepro.spiking.convert import convert as convert_network

    if n_steps is not None and max_loss is not None:
        raise SnnReproError("give --n-steps or --max-loss, not both: --max-loss finds the number of steps")
    images = None if calibration is None else read_data(calibration)
    given = None if images is None else images[0] if images[1] is None else images
    spiking = convert_network(load(model), recipe, given, n_steps, max_loss, seed)
    spiking.save(output)
    if as_json:
        click.echo(json.dumps({"output": str(output), **spiking.provenance}, indent=2))
    else:
        for name, value in spiking.provenance.items():
            click.echo(
                f"{name.replace('_', ' ')}: {value:.4g}"
                if isinstance(value, float)
                else f"{name.replace('_', ' ')}: {value}"
            )
        click.echo(f"written: {output}")


def _early_exit(_: click.Context, __: click.Parameter, value: str | None) -> str | float | None:
    """Return "certain" or the margin."""
    if value in (None, "certain"):
        return value
    try:
        return float(value or "")
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither 'certain' nor a number") from None


@main.command("run")
@click.argument("spiking", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--n-steps", type=click.IntRange(1), help="Time steps.  [default: those it was converted for]")
@click.option(
    "--simulator", type=click.Choice(["event", "plain", "nengo", "nengo-dl"]), default="event", show_default=True
)
@click.option(
    "--early-exit",
    metavar="certain|MARGIN",
    callback=_early_exit,
    help="Stop an image when its answer cannot change any more, or when its best logit leads by MARGIN.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Scores, predictions and counts, an npz file.")
@_json
def run_network(
    spiking: Path,
    data: Path,
    n_steps: int | None,
    simulator: str,
    early_exit: str | float | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Run SPIKING (.npz, of `snnrepro convert`) on the images `x` of DATA (.npz); accuracy where it has labels `y`.

    Example: snnrepro run spiking.npz test.npz
    """
    from snnrepro.datasets import read_data
    from snnrepro.report import run_table
    from snnrepro.spiking.archive import load_spiking

    network, (x, y) = load_spiking(spiking), read_data(data)
    with progress_bar("simulating") as advance:
        found = network.run(x, n_steps, simulator, progress=advance, early_exit=early_exit)
    if output is not None:
        run_table.save(found, output)
    if as_json:
        click.echo(json.dumps(run_table.as_dict(found, y), indent=2))
    else:
        run_table.print_run(found, y, console())
        if output is not None:
            click.echo(f"written: {output}")


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--recipe", type=click.Choice(_RECIPES), help="Compare the spiking network of this recipe too.")
@click.option("--n-steps", type=click.IntRange(1), default=15, show_default=True, help="Time steps, with --recipe.")
@click.option("--images", type=click.IntRange(1), default=100, show_default=True, help="How many images are compared.")
@_json
def verify(model: Path, data: Path, recipe: str | None, n_steps: int, images: int, as_json: bool) -> None:
    """Compare MODEL with what is made of it, hop by hop and layer by layer, on the images `x` of DATA (.npz).

    With --recipe the first 1,000 images calibrate the neurons, and two hops are added: what the neurons' rate curves
    cost, and what too few steps cost. Exit status 1 if a layer differs; the first one is named.

    Example: snnrepro verify model.onnx data.npz --recipe balanced
    """
    from dataclasses import asdict

    from snnrepro.datasets import read_data
    from snnrepro.readers.load import load
    from snnrepro.report import network_table
    from snnrepro.spiking.convert import convert as convert_network
    from snnrepro.verification import verify as compare_hops

    x, _ = read_data(data)
    spiking = None if recipe is None else convert_network(load(model), recipe, x, n_steps)
    found = compare_hops(model, spiking, x[:images])
    if as_json:
        click.echo(json.dumps({"passed": found.passed, "comparisons": [asdict(one) for one in found.comparisons]}))
    else:
        network_table.print_verification(found, console())
    if not found.passed:
        sys.exit(1)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Say what is installed, whether NengoDL can be used, and what to do where it cannot.

    Example: snnrepro doctor
    """
    from snnrepro.environment import environment
    from snnrepro.frameworks.nengo_dl import import_nengo_dl

    problem = None
    try:
        import_nengo_dl()
    except SnnReproError as error:
        problem = str(error)
    found = {**environment(), "nengo_dl_works": problem is None, "problem": problem}
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo(
            f"Python {found['python']}, {found['cpu']}, {found['cpu_cores']} cores, GPUs: {found['gpus'] or 'none'}"
        )
        for name, version in found["libraries"].items():
            click.echo(f"  {name:12} {version or 'not installed'}")
        click.echo("NengoDL works" if problem is None else f"NengoDL cannot be used: {problem}")
    if problem is not None:
        sys.exit(1)
