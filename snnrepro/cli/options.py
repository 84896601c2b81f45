"""Arguments and options that several commands share, once; names and defaults come from where they are defined."""

from __future__ import annotations

from pathlib import Path

import click

from snnrepro.network.task import TASKS
from snnrepro.spiking.recipes import RECIPES
from snnrepro.spiking.run import SIMULATORS
from snnrepro.thesis.cells import MODELS, PROFILES

PATH = click.Path(path_type=Path)
STEPS = click.IntRange(1)
RECIPE = click.Choice(list(RECIPES))
SIMULATOR = click.Choice(list(SIMULATORS))
MODEL = click.Choice(MODELS)
PROFILE = click.Choice(list(PROFILES))

model = click.argument("model", type=PATH)
data = click.argument("data", type=PATH)
task = click.option(
    "--task", type=click.Choice(TASKS), help="What the scores mean.  [default: what the output and the labels say]"
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
