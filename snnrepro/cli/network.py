"""The commands for one network: inspect, convert, run, verify; and doctor."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import snnrepro as snn
from snnrepro.cli import options
from snnrepro.cli.choices import choosing
from snnrepro.cli.print import (
    console,
    print_energy,
    print_evaluation,
    print_json,
    print_provenance,
    print_run,
    print_verification,
    progress_bar,
    run_as_dict,
)
from snnrepro.cli.print_layers import layers_as_dict, print_layers
from snnrepro.energy import energy as energy_of
from snnrepro.environment import environment
from snnrepro.frameworks import nengo_dl
from snnrepro.inputs import checked_images
from snnrepro.network import archive
from snnrepro.network.task import task_of
from snnrepro.spiking.archive import FORMAT as SPIKING
from snnrepro.spiking.convert import MOST_IMAGES
from snnrepro.spiking.evaluate import evaluate
from snnrepro.spiking.functions import fits
from snnrepro.spiking.network import DEFAULT_N_STEPS
from snnrepro.spiking.prepare import prepare
from snnrepro.spiking.recipes import recipe_named
from snnrepro.spiking.run import Run
from snnrepro.spiking.run_file import write_run
from snnrepro.spiking.synops import counted, graded, shares
from snnrepro.study.study import front_of, picked
from snnrepro.user_images import read_images

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.spiking.evaluate import Evaluation
    from snnrepro.spiking.schedule import Schedule


@click.command(epilog=options.MODEL_IS)
@options.model
@choosing
@click.option("--calibration", type=options.PATH, help="Images like those it was trained on: functions are fitted.")
@options.as_json
def inspect(model: Path, chosen: dict[str, Any], calibration: Path | None, as_json: bool) -> None:
    """Show the layers of MODEL and when each is computed, or every node that cannot be converted.

    Of each layer: kernel, stride and groups, output shape, parameters, multiply-adds for an image, neurons, and of a
    function the rectifiers that are fitted to it, with their error (with --calibration, or of an archive of snnrepro
    convert, which keeps them). Exit status 1 if any node cannot be converted.

    Example: snnrepro inspect model.onnx
    """
    try:
        spiking = _spiking(model, chosen)
        network = snn.load(model, **chosen) if spiking is None else spiking.trained
        fitted = None if spiking is None else spiking.functions
        schedule = prepare(network)
        if calibration is not None:
            fitted = fits(network, checked_images(read_images(calibration, "train")[0], network.input_shape))
    except snn.UnsupportedError as error:
        if as_json:
            print_json({"convertible": False, "problems": error.problems})
        else:
            click.echo(error)
        sys.exit(1)
    size = 1 if spiking is None else spiking.neurons_per_activation
    simulated = {} if spiking is None else {"weights": spiking.weights, "neurons_per_activation": size}
    if as_json:
        print_json({"convertible": True, **layers_as_dict(network, fitted, size), **_counted(schedule), **simulated})
        return
    print_layers(network, fitted, size)
    _print_counted(schedule)
    if size > 1:
        click.echo(f"{size} neurons for each activation")
    if spiking is not None and spiking.fixed is not None:
        click.echo(f"simulated with {spiking.weights} weights, exact for at least {spiking.fixed.most_steps} steps")


def _spiking(model: Path, chosen: dict[str, Any]) -> snn.SpikingNetwork | None:
    """Return a spiking network whose archive is given as a model, or None."""
    is_spiking = model.suffix == ".npz" and archive.kind_of(model) == SPIKING and not any(chosen.values())
    return snn.load_spiking(model) if is_spiking else None


@click.command(epilog=f"{options.MODEL_IS} {options.IMAGES_ARE}")
@options.model
@choosing
@click.option("-o", "--output", type=options.PATH, required=True, help="The npz file to write the spiking network to.")
@click.option("--calibration", type=options.PATH, help="Images like those it was trained on (and labels).")
@click.option("--recipe", type=options.RECIPE, default="balanced", show_default=True, help="How neurons are made.")
@click.option("--n-steps", type=options.STEPS, help=f"Time steps it is made for.  [default: {DEFAULT_N_STEPS}]")
@click.option("--max-loss", type=click.FloatRange(0), help="Find the fewest steps that lose at most so many points.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the initial potentials (recipe thesis).")
@click.option("--from-study", "storage", metavar="STORAGE", help="Convert as a study of snnrepro tune found best.")
@click.option("--study", help="With --from-study: the study's name.  [default: the name of MODEL]")
@click.option("--trial", type=int, help="With --from-study: this trial.  [default: the cheapest within --max-loss]")
@click.option(
    "--most-as-is",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Largest share of the multiply-adds in parts that stay as they are, not spiking.",
)
@options.made
@options.task
@options.as_json
def convert(
    model: Path,
    chosen: dict[str, Any],
    output: Path,
    calibration: Path | None,
    recipe: str,
    n_steps: int | None,
    max_loss: float | None,
    seed: int,
    storage: str | None,
    study: str | None,
    trial: int | None,
    most_as_is: float,
    made: dict[str, Any],
    task: str | None,
    as_json: bool,
) -> None:
    """Turn MODEL into a spiking network, without retraining.

    What it loses is measured on the first calibration images, those that the neurons are fitted on.

    Example: snnrepro convert model.onnx -o spiking.npz --calibration train.npz --n-steps 8
    """
    if n_steps is not None and max_loss is not None:
        raise snn.SnnReproError("give --n-steps or --max-loss, not both: --max-loss finds the number of steps")
    if storage is None and (study is not None or trial is not None):
        raise snn.SnnReproError("--study and --trial choose of a database: add --from-study STORAGE")
    network, how = snn.load(model, **chosen), recipe_named(recipe)
    if storage is not None:
        if n_steps is not None:
            raise snn.SnnReproError("give --from-study or --n-steps, not both: the study's trial has a number of steps")
        found = picked(front_of(storage, study or model.name, network), trial, max_loss)
        how, n_steps, max_loss = found.choice.recipe, found.choice.n_steps, None
        click.echo(f"trial {found.trial}: {n_steps} steps, {found.choice}", err=as_json)
    x, y = (None, None) if calibration is None else read_images(calibration, "train")
    with progress_bar("converting") as advance:
        spiking = snn.convert(
            network,
            how,
            x if y is None else (x, y),
            n_steps,
            max_loss,
            seed,
            task,
            progress=advance,
            most_as_is=most_as_is,
            **made,
        )
    spiking.save(output)
    evaluation = None if x is None else _on_calibration(spiking, x, y)
    if as_json:
        judged = {} if evaluation is None else {"calibration": evaluation.as_dict()}
        print_json({"output": str(output), **spiking.provenance, **_counted(spiking.schedule), **judged})
    else:
        _print_counted(spiking.schedule)
        print_provenance(spiking.provenance)
        if evaluation is not None:
            print_evaluation(evaluation)
        click.echo(f"written: {output}")


def _counted(schedule: Schedule) -> dict[str, Any]:
    return {"multiply_adds": asdict(shares(schedule)), "graded": asdict(graded(schedule))}


def _print_counted(schedule: Schedule) -> None:
    for line in counted(schedule):
        click.echo(str(line))


def _on_calibration(spiking: snn.SpikingNetwork, x: AnyArray, y: AnyArray | None) -> Evaluation:
    few = x[:MOST_IMAGES]
    with progress_bar("simulating") as advance:
        run = spiking.run(few, progress=advance)
    with progress_bar("judging") as advance:
        return evaluate(spiking, run, few, None if y is None else y[:MOST_IMAGES], progress=advance)


def _early_exit(_: click.Context, __: click.Parameter, value: str | None) -> str | float | None:
    """Return "certain" or the margin."""
    if value in (None, "certain"):
        return value
    try:
        return float(value or "")
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither 'certain' nor a number") from None


@click.command(epilog=options.IMAGES_ARE)
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
@click.option(
    "--trained/--no-trained", default=True, show_default=True, help="Put the trained network's answers beside."
)
@click.option("--energy", "with_energy", is_flag=True, help="Say what an image would cost on a chip, and who wins.")
@options.scheduler
@options.task
@options.as_json
def run(
    spiking: Path,
    data: Path,
    n_steps: int | None,
    simulator: str,
    early_exit: str | float | None,
    output: Path | None,
    trained: bool,
    with_energy: bool,
    scheduler: str | None,
    task: str | None,
    as_json: bool,
) -> None:
    """Run SPIKING (.npz, from `snnrepro convert`) on the images of DATA; with labels, judge its answers.

    Example: snnrepro run spiking.npz test.npz
    """
    network, (x, y) = snn.load_spiking(spiking), read_images(data)
    if task is not None:
        network = replace(network, task=task)
    if y is not None:
        task_of(network.network, network.task, y).labels(y, len(x))  # refused before minutes of work, not after
    with options.executor_of(scheduler) as executor, progress_bar("simulating") as advance:
        runs = network.run_parts(x, n_steps, simulator, progress=advance, early_exit=early_exit, executor=executor)
        result = Run.joined(list(runs)) if output is None else write_run(runs, output)
    with progress_bar("judging") as advance:
        evaluation = evaluate(network, result, x, y, trained, advance)
    energy = energy_of(network, result, x) if with_energy else None
    if as_json:
        described = {} if energy is None else {"energy": energy.as_dict()}
        print_json({**run_as_dict(result), **_counted(network.schedule), **evaluation.as_dict(), **described})
    else:
        print_run(result)
        _print_counted(network.schedule)
        print_evaluation(evaluation)
        if energy is not None:
            print_energy(energy)
        if output is not None:
            click.echo(f"written: {output}")


@click.command(epilog=f"{options.MODEL_IS} {options.IMAGES_ARE}")
@options.model
@options.data
@choosing
@click.option("--recipe", type=options.RECIPE, help="Compare the spiking network of this recipe too.")
@click.option(
    "--n-steps", type=options.STEPS, default=DEFAULT_N_STEPS, show_default=True, help="Time steps, with --recipe."
)
@options.made
@click.option("--images", type=click.IntRange(1), default=100, show_default=True, help="How many images to compare.")
@click.option(
    "--explain", is_flag=True, help="Say where the accuracy goes: by layer and cause, and what would cure it."
)
@click.option("-o", "--output", type=options.PATH, help="With --explain: an .html file to write that to, with charts.")
@options.as_json
def verify(
    model: Path,
    data: Path,
    chosen: dict[str, Any],
    recipe: str | None,
    n_steps: int,
    made: dict[str, Any],
    images: int,
    explain: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Compare MODEL with what is made of it, hop by hop and layer by layer, on the images of DATA.

    With --recipe the first 1,000 images calibrate the neurons, and two hops are added: what the neurons' rate curves
    cost, and what too few steps cost. Exit status 1 if a layer differs; the first one is named.

    With --explain the hops are left out. MODEL may be an archive of snnrepro convert; otherwise it is converted by
    --recipe (balanced). The last images of DATA are explained, and the first 1,000 others calibrate.

    Example: snnrepro verify model.onnx data.npz --recipe balanced
    """
    x, y = read_images(data)
    if explain:
        if made != options.NOT_SAID:
            raise snn.SnnReproError(
                "--explain tells what neurons lose apart, one for each activation and with float32 weights: leave out "
                "--weights and --neurons-per-activation"
            )
        _explain(model, chosen, x, y, recipe, n_steps, images, output, as_json)
        return
    if output is not None:
        raise snn.SnnReproError("-o writes what --explain says; add --explain")
    if made != options.NOT_SAID and recipe is None:
        raise snn.SnnReproError("--weights and --neurons-per-activation are those of a conversion: add --recipe")
    spiking = None
    if recipe is not None:
        with progress_bar("converting") as advance:
            spiking = snn.convert(snn.load(model, **chosen), recipe, x, n_steps, progress=advance, **made)
    with progress_bar("comparing") as advance:
        verification = snn.verify(model, spiking, x[:images], progress=advance, **chosen)
    if as_json:
        print_json({"passed": verification.passed, "comparisons": list(map(asdict, verification.comparisons))})
    else:
        print_verification(verification)
    if not verification.passed:
        sys.exit(1)


def _explain(
    model: Path,
    chosen: dict[str, Any],
    x: AnyArray,
    y: AnyArray | None,
    recipe: str | None,
    n_steps: int,
    images: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Explain a conversion on the last images; the first ones calibrate."""
    from snnrepro.report import autopsy as report

    if output is not None and output.suffix != ".html":
        raise snn.SnnReproError(f"{output}: its name must end in .html")
    if len(x) < 2:
        raise snn.DataError("one image cannot both calibrate and be explained: more of them are needed")
    first = max(len(x) - images, (len(x) + 1) // 2)
    calibration, few = x[: min(first, MOST_IMAGES)], x[first:]
    if model.suffix == ".npz" and archive.kind_of(model) == SPIKING:
        if recipe is not None or any(chosen.values()):
            raise snn.SnnReproError(f"{model} is converted already: leave out --recipe and what is chosen of a model")
        spiking = snn.load_spiking(model)
    else:
        with progress_bar("converting") as advance:
            network = snn.load(model, **chosen)
            spiking = snn.convert(network, recipe or "balanced", calibration, n_steps, progress=advance)
    with progress_bar("explaining") as advance:
        found = snn.explain(spiking, few, None if y is None else y[first:], calibration, advance)
    if as_json:
        print_json(found.as_dict())
    else:
        report.print_autopsy(found, console())
    if output is not None:
        report.write_page(found, output, f"Where the accuracy of {model.name} goes")
        click.echo(f"written: {output}", err=as_json)


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
