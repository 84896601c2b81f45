"""What rounding weights costs: fixed point against float32 weights, on the thesis's networks and all test images.

The networks are those that were kept when the thesis's tables were reproduced, of three seeds; neurons are fitted on
1,000 training images. What is compared are the answers of two spiking networks that differ in their weights alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import snnrepro
from snnrepro.datasets import pixels
from snnrepro.environment import environment

KEPT = Path(snnrepro.__file__).parent / "data" / "networks"
SEEDS = (0, 1, 2)
STEPS = (4, 8, 15, 60)
# Points lost against float32 weights, mean over seeds, at most; below LEAST it is another network.
BOUNDS = {("dense", "int16"): 0.02, ("dense", "int8"): 0.1, ("cnn", "int16"): 0.02, ("cnn", "int8"): 0.05}
LEAST = -0.1


@pytest.fixture(scope="module")
def calibration(data):
    """1,000 training images, without their labels."""
    chosen = np.random.RandomState(0).permutation(len(data.x_train))[:1000]
    return pixels(data.x_train[chosen])


@pytest.fixture(scope="module")
def answers(data, calibration):
    """Return a function that gives the answers of a spiking network to all test images; float32 ones are kept."""
    x, kept = pixels(data.x_test), {}

    def given(kind, seed, n_steps, weights):
        key = kind, seed, n_steps
        if weights != "float32" or key not in kept:
            network = snnrepro.load(KEPT / f"{kind}-seed{seed}-keras.npz")
            spiking = snnrepro.convert(network, calibration=calibration, n_steps=n_steps, weights=weights)
            found = spiking.run(x).predictions
            if weights != "float32":
                return found
            kept[key] = found
        return kept[key]

    return given


@pytest.mark.parametrize("n_steps", STEPS)
@pytest.mark.parametrize(("kind", "weights"), BOUNDS)
def test_rounded_weights_lose_at_most(benchmark, data, answers, kind, weights, n_steps):
    y, lost, squares, differ = data.y_test, [], 0.0, []
    exact = [answers(kind, seed, n_steps, "float32") for seed in SEEDS]
    rounded = benchmark.pedantic(lambda: [answers(kind, seed, n_steps, weights) for seed in SEEDS], rounds=1)
    for before, after in zip(exact, rounded):
        right = (before == y).astype(int) - (after == y)
        lost.append(100 * right.mean())
        squares += np.sum(right != 0)
        differ.append(100 * np.mean(before != after))
    error = 100 * float(np.sqrt(squares)) / len(y) / len(SEEDS)
    benchmark.extra_info.update(
        environment=environment(),
        data=data.describe(),
        n_images=len(y),
        points_lost=[round(float(one), 3) for one in lost],
        answers_that_differ=[round(float(one), 3) for one in differ],
        standard_error=error,
    )
    mean = float(np.mean(lost))
    each = ", ".join(f"{one:.2f}" for one in lost)
    print(f"\n{kind} {weights} T={n_steps}: {each}, mean {mean:.3f} +- {error:.3f}, {np.mean(differ):.2f} % differ")
    if not data.is_full:
        pytest.skip("the bounds hold for the full MNIST only")
    assert LEAST - 2 * error <= mean <= BOUNDS[kind, weights] + 2 * error
