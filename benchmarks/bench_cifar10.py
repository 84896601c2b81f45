"""What conversion costs where it is hard: deep networks of CIFAR-10 at few steps, all test images, by recipe.

A ResNet-20 and a VGG of nine layers are kept in ``benchmarks/reference/networks`` (`benchmarks.train_cifar10` made
them); the images are not, and ``--cifar10 PATH`` says where they are (see `benchmarks.cifar10.read`). Neurons are
fitted on 1,000 unlabelled training images. Settings were chosen on 1,000 other ones, which no network has seen.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import snnrepro
from benchmarks.cifar10 import for_conversion
from snnrepro.environment import environment
from snnrepro.spiking.evaluate import evaluate

NETWORKS = Path(__file__).parent / "reference" / "networks"
# Largest loss in points on all test images, by network, recipe, neurons for each activation, and steps.
BOUNDS = {
    ("resnet20", "balanced", 1): {4: 12.9, 8: 4.4, 16: 1.5, 32: 0.6},
    ("resnet20", "rate", 1): {4: 12.9, 8: 4.4, 16: 1.5, 32: 0.6},
    ("resnet20", "tuned", 1): {4: 7.5, 8: 2.5, 16: 0.6},
    ("resnet20", "rate", 2): {4: 3.5, 8: 1.0, 16: 0.3, 32: 0.3},
    ("vgg9", "balanced", 1): {4: 1.5, 8: 0.5, 16: 0.1},
}
TRAINED = {"resnet20": 87.44, "vgg9": 88.45}
"""Test images that the trained network answers right, in %."""
TARGETS = {"resnet20": {4: 4.0, 8: 1.5, 16: 0.3, 32: 0.1}, "vgg9": {4: 1.5, 8: 0.5, 16: 0.1}}
"""Set for the best recipe; where a bound is larger, it is what was reached."""
LEAST = -0.3
"""A network that answers this many points better than the one it came from answers something else."""


@pytest.fixture(scope="module")
def cifar10(request):
    """Calibration images, test images and their labels, and what to call the data."""
    path = request.config.getoption("--cifar10")
    if path is None:
        pytest.skip("CIFAR-10 is not here: give --cifar10 PATH")
    return for_conversion(path)


@pytest.mark.parametrize(
    ("network", "recipe", "size", "n_steps"), [(*of, n_steps) for of, bounds in BOUNDS.items() for n_steps in bounds]
)
def test_conversion_at_few_steps_loses_at_most(benchmark, cifar10, network, recipe, size, n_steps):
    trained = snnrepro.load(NETWORKS / f"{network}.npz")
    calibration, x, y, called = cifar10
    made = []
    benchmark.pedantic(
        lambda: made.append(
            snnrepro.convert(trained, recipe, calibration, n_steps, most_as_is=0, neurons_per_activation=size)
        ),
        rounds=1,
    )
    run = made[0].run(x)
    found = evaluate(made[0], run, x, y)
    lost, error = found.loss.points, found.loss.standard_error
    target = TARGETS[network][n_steps]
    spikes = run.mean_spikes
    benchmark.extra_info.update(
        environment=environment(),
        data=called,
        n_images=len(y),
        **found.as_dict(),
        spikes_an_image=spikes,
        synaptic_operations_an_image=float(run.synaptic_operations.mean()),
        target=target,
        provenance=dict(made[0].provenance),
    )
    print(
        f"\n{network} {recipe} x {size} neurons T={n_steps}: {lost:.2f} points lost (target {target}), "
        f"{spikes:,.0f} spikes an image, {benchmark.stats.stats.min:.0f} s to convert"
    )
    assert found.trained.percent == pytest.approx(TRAINED[network], abs=0.05), "not the images it was judged on"
    bound = BOUNDS[network, recipe, size][n_steps]
    assert LEAST - 2 * error <= lost <= bound + 2 * error
