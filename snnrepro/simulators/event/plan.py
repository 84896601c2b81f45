"""All the work on a spiking network, chosen once for every run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Mapping

from snnrepro.simulators.event.builder import Builder, inputs_of, readout_nodes
from snnrepro.simulators.event.stages import Fire, Stage
from snnrepro.simulators.event.synops import Synops, is_uniform
from snnrepro.simulators.event.values import EventForm, Input

if TYPE_CHECKING:
    from snnrepro.arrays import IntArray
    from snnrepro.simulators.event.readout import Readout
    from snnrepro.spiking.network import SpikingNetwork

_SHARE_OF_SPIKES = 0.2
"""Memory of a neuron's step, in numbers: its bit, and an event where it fires."""


@dataclass(frozen=True, eq=False)
class Plan:
    """The work on a spiking network.

    Attributes
    ----------
    stages : mapping of str to Stage
        How every value that is needed is computed, in order.
    static : frozenset of str
        The values that depend on the image alone.
    kept_static : frozenset of str
        Those of them that are read in every step.
    readout : Readout
        What is computed once for each kept step.
    synops : mapping of str to Synops
        How many weights the numbers of a value meet, for each that linear layers read.
    n_numbers, n_numbers_per_step : int
        How many numbers an image has once, and how many more in each step, roughly.
    """

    stages: Mapping[str, Stage]
    static: frozenset[str]
    kept_static: frozenset[str]
    readout: Readout
    synops: Mapping[str, Synops]
    n_numbers: int
    n_numbers_per_step: int


def make_plan(spiking: SpikingNetwork) -> Plan:
    """Choose how to compute every value of `spiking`."""
    network, schedule = spiking.network, spiking.schedule
    builder = Builder(schedule, spiking.populations, spiking.dt, spiking.synapse)
    fans, driven = builder.fan_outs(spiking), schedule.driven
    inputs = inputs_of(schedule.readout, readout_nodes(schedule))
    stages = builder.stages({*inputs, *spiking.populations, *fans})
    static = frozenset({network.input_name, *(node.name for node in schedule.nodes)} - driven)
    read = {source.name for name, stage in stages.items() if name in driven for source in stage.inputs}
    share = {name: _SHARE_OF_SPIKES if _gives_spikes(stage) else 1.0 for name, stage in stages.items()}
    numbers = {name: share[name] * math.prod(network.shapes[name]) for name in stages}
    return Plan(
        stages=stages,
        static=static,
        kept_static=static & (inputs | read),
        readout=builder.readout(),
        synops={name: Synops(fan_out, _counted(name, fan_out, stages)) for name, fan_out in fans.items()},
        n_numbers=round(sum(numbers[name] for name in stages if name in static)),
        n_numbers_per_step=math.ceil(sum(numbers[name] for name in stages if name in driven)),
    )


def _gives_spikes(stage: Stage | None) -> bool:
    return isinstance(stage, Fire)


def _counted(name: str, fan_out: IntArray, stages: Mapping[str, Stage]) -> Input:
    """Return the form in which a value's operations are counted: events only where a stage reads them anyway."""
    if _gives_spikes(stages.get(name)):
        return Input(name, "spikes")
    read = [source for stage in stages.values() for source in stage.inputs if source.name == name]
    events = [source for source in read if isinstance(source.form, EventForm) and is_uniform(fan_out)]
    return events[0] if events else Input(name, "numbers")
