"""Arguments and options that several commands share, once; names and defaults come from where they are defined."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, ContextManager

import click

from snnrepro.frameworks.dask import cluster
from snnrepro.network.task import TASKS
from snnrepro.spiking.fixed_point import FLOAT, WEIGHTS
from snnrepro.spiking.recipes import recipe_names
from snnrepro.spiking.run import SIMULATORS
from snnrepro.thesis.cells import MODELS, PROFILES

if TYPE_CHECKING:
    from concurrent.futures import Executor

PATH = click.Path(path_type=Path)
STEPS = click.IntRange(1)
RECIPE = click.Choice(recipe_names())
SIMULATOR = click.Choice(list(SIMULATORS))
MODEL = click.Choice(MODELS)
PROFILE = click.Choice(list(PROFILES))

MODEL_IS = "MODEL: an .onnx file, a .keras or .h5 file or SavedModel folder of Keras, or an .npz archive of snnrepro."
IMAGES_ARE = (
    "Images: an .npz file with x or x_test, images or arr_0 (labels: y or y_test, labels or arr_1), an .npy file, or a "
    "folder with a folder of image files for each class."
)

model = click.argument("model", type=PATH)
data = click.argument("data", type=PATH)
task = click.option(
    "--task", type=click.Choice(TASKS), help="What the scores mean.  [default: what the output and the labels say]"
)
NOT_SAID: dict[str, Any] = {"weights": FLOAT, "neurons_per_activation": 1}
"""How networks are made where nothing else is said."""
_made = (
    click.option(
        "--weights",
        type=click.Choice(WEIGHTS),
        default=NOT_SAID["weights"],
        show_default=True,
        help="Rounded, all sums are exact: every simulator gives the same spikes.",
    ),
    click.option(
        "--neurons-per-activation",
        type=click.IntRange(1),
        default=NOT_SAID["neurons_per_activation"],
        show_default=True,
        help="Neurons whose mean stands for an activation: more of them need fewer steps.",
    ),
)
scheduler = click.option(
    "--scheduler", metavar="tcp://HOST:PORT", help="Have the workers of a running Dask cluster do the work."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def made(command: Callable[..., None]) -> Callable[..., None]:
    """Add what says how a network is made besides its recipe, which `command` takes as `made`, arguments of convert."""

    @functools.wraps(command)
    def with_made(**options: Any) -> None:
        command(made={name: options.pop(name) for name in NOT_SAID}, **options)

    for option in reversed(_made):
        with_made = option(with_made)
    return with_made


def executor_of(scheduler: str | None) -> ContextManager[Executor | None]:
    """Return what opens the cluster of `--scheduler`; without the option there is no executor."""
    return contextlib.nullcontext() if scheduler is None else cluster(scheduler)
