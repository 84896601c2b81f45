"""Moved to `snnrepro.spiking.run`; this name goes when nothing imports it any more."""

from snnrepro.spiking.run import *  # noqa: F403
from snnrepro.spiking.run import Progress, Run, checked_images, checked_steps, simulate, step_weights  # noqa: F401
