"""What is checked of every model; collected by the plugin, and an example of what its fixtures are for."""

from __future__ import annotations

import functools
import importlib.util
from typing import TYPE_CHECKING, Any, Callable, Mapping

import numpy as np
import pytest

from snnrepro import DependencyError, SnnReproError, load, load_spiking
from snnrepro.checking.assertions import (
    assert_judged_within,
    assert_same_spikes,
    assert_verified,
    assert_weights_identical,
)
from snnrepro.frameworks.nengo_dl import import_nengo_dl
from snnrepro.spiking.prepare import prepare
from snnrepro.verification import CONVERTED, FITS, KERAS, RATES, RUNTIME, SPIKES

if TYPE_CHECKING:
    from pathlib import Path

    from snnrepro.checking.subject import Subject
    from snnrepro.network.graph import Network
    from snnrepro.spiking.evaluate import Evaluation
    from snnrepro.spiking.network import SpikingNetwork
    from snnrepro.spiking.run import Run
    from snnrepro.verification import Verification

SIMULATED = 5
"""Images on which simulators are compared: Nengo takes seconds for each."""

ROUNDING = 1e-3
"""Share of the spikes that may differ between simulators, which add float32 weights in another order: measured on
a drawn network, one spike in 3 of 3,120 scores; a wrong step is off by a spike a neuron."""


def _recorded(subject: Subject, request: pytest.FixtureRequest, figures: Mapping[str, Any]) -> None:
    """Keep figures of a model for the summary and its files, and among the properties that JUnit has of a test.

    Not by `record_property`, which warns wherever a JUnit file is written.
    """
    subject.figures.update(figures)
    properties = {"model": subject.settings.name, **figures}
    request.node.user_properties.extend((f"snn_{name}", value) for name, value in properties.items())


def _in_one_message(check: Callable[..., None]) -> Callable[..., None]:
    """Let a check fail by what it has to say, without the lines of code that said it."""

    @functools.wraps(check)
    def told(*given: Any, **named: Any) -> None:
        try:
            check(*given, **named)
        except (AssertionError, SnnReproError) as error:
            raise pytest.fail.Exception(str(error), pytrace=False) from None

    return told


@_in_one_message
def test_every_layer_can_be_converted(snn_network: Network) -> None:
    """Every operator of the model is read, and none stands where it cannot be spiking."""
    assert prepare(snn_network).nodes, "the model has no layer"


@_in_one_message
def test_the_network_computes_what_its_own_runtime_does(snn_verification: Verification) -> None:
    """Every layer gives what onnxruntime gives, and the output what Keras gives."""
    hops = {one.hop for one in snn_verification.comparisons} & {KERAS, RUNTIME}
    if not hops:
        pytest.skip("an archive of snnrepro: no other runtime reads it")
    assert_verified(snn_verification, sorted(hops))


@_in_one_message
def test_weights_are_bit_identical_through_the_archives(
    snn_subject: Subject, snn_spiking: SpikingNetwork, tmp_path: Path
) -> None:
    """Both networks are the same, to the bit, after they were written and read."""
    snn_subject.network.save(tmp_path / "network.npz")
    assert_weights_identical(snn_subject.network, load(tmp_path / "network.npz"))
    snn_spiking.save(tmp_path / "spiking.npz")
    assert_weights_identical(snn_spiking, load_spiking(tmp_path / "spiking.npz"))


@pytest.mark.parametrize("simulator", ["plain", "nengo", "nengo-dl"])
@_in_one_message
def test_simulators_agree_spike_for_spike(snn_subject: Subject, snn_spiking: SpikingNetwork, simulator: str) -> None:
    """Every simulator that is installed fires the spikes that the event simulator fires."""
    if simulator == "nengo" and importlib.util.find_spec("nengo") is None:
        pytest.skip("Nengo is not installed (extra: nengo)")
    if simulator == "nengo-dl":
        _needs_nengo_dl()
    few = snn_subject.few(SIMULATED)
    assert_same_spikes(snn_spiking.run(few), snn_spiking.run(few, simulator=simulator), ROUNDING)


def _needs_nengo_dl() -> None:
    try:
        import_nengo_dl()
    except DependencyError as error:
        pytest.skip(f"NengoDL cannot be used: {error}")


@_in_one_message
def test_no_layer_costs_more_than_it_may(snn_verification: Verification) -> None:
    """What was converted is this model, and fits and spikes of every layer stand for its activations."""
    hops = {one.hop for one in snn_verification.comparisons}
    assert_verified(
        snn_verification, [hop for hop in hops if hop in (CONVERTED, FITS) or hop.endswith((RATES, SPIKES))]
    )


@_in_one_message
def test_the_loss_is_within_the_budget(
    snn_subject: Subject, snn_run: Run, snn_evaluation: Evaluation, request: pytest.FixtureRequest
) -> None:
    """The spiking network loses no more than the budget to the trained one, on images it was not calibrated on."""
    loss, settings = snn_evaluation.loss, snn_subject.settings
    merits = {"trained": snn_evaluation.trained, "spiking": snn_evaluation.spiking}
    recorded = {
        "recipe": str(settings.recipe),
        "n_steps": snn_run.n_steps,
        "n_images": len(snn_run.scores),
        "figure": snn_evaluation.task.figure,
        **{name: merit.percent for name, merit in merits.items() if merit is not None},
        **({} if loss is None else {"loss": loss.points, "loss_low": loss.low, "loss_high": loss.high}),
        "budget": settings.budget,
        "seconds": round(snn_subject.seconds, 3),
    }
    _recorded(snn_subject, request, recorded)
    assert_judged_within(snn_subject.spiking, snn_subject.images[1].x, snn_evaluation, settings.budget, snn_run.n_steps)


@_in_one_message
def test_every_layer_spikes_and_what_that_takes_is_counted(
    snn_subject: Subject, snn_run: Run, request: pytest.FixtureRequest
) -> None:
    """No population is silent where the trained layer is not, and none fires more often than it can."""
    operations = float(snn_run.synaptic_operations.mean())
    counted = {"spikes": snn_run.mean_spikes, "operations": operations, "sparsity": snn_run.sparsity}
    _recorded(snn_subject, request, counted)
    trained = dict(snn_subject.spiking.network.activations(snn_subject.few(SIMULATED)))
    silent = [name for name, counts in snn_run.spike_counts.items() if not counts.any() and np.any(trained[name] > 0)]
    assert not silent, (
        f"no neuron of {', '.join(map(repr, silent))} fires on {len(snn_run.scores):,} images, though the trained "
        f"activations reach {max(float(trained[name].max()) for name in silent):.3g}: its thresholds are too high for "
        f"{snn_run.n_steps} steps.\nTo try: more steps, or more and likelier calibration images."
    )
    for name, counts in snn_run.spike_counts.items():
        most = snn_run.n_neurons[name] * snn_run.steps_used
        assert np.all(counts <= most), f"population {name!r} fires more than one spike a neuron and step"
