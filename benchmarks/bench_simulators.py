"""The event simulator's time for 10,000 images, beside the trained network's in Keras and onnxruntime.

``pytest benchmarks/bench_simulators.py`` takes minutes; ``--profile thesis`` adds the CNN's 60 steps.
Each round times every contestant in turn, so that other work on the machine meets all of them alike; what is asserted
is the median of the rounds' ratios.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pytest

import snnrepro
from snnrepro.datasets import load_mnist, pixels
from snnrepro.environment import environment
from snnrepro.readers.keras import to_onnx
from snnrepro.thesis.models import keras_cnn, keras_dense

BATCH = 128
N_IMAGES = 10_000
MODELS = {"dense": (keras_dense, 60_000), "cnn": (keras_cnn, 20_000)}
"""How each network is built, and on how many images it is trained, once."""


@dataclass(frozen=True)
class Case:
    """A network, its steps, how often it is measured, and the largest time as a multiple of Keras's."""

    model: str
    n_steps: int
    rounds: int
    largest: float
    profile: str = "quick"


# Measured on two shared cores of a Zen 4: 0.17, 0.43, 0.8, 1.3 to 2.1, 10; what is asserted leaves room.
CASES = (
    Case("dense", 15, 15, 0.4),
    Case("dense", 60, 9, 1.0),
    Case("cnn", 4, 3, 2.0),
    Case("cnn", 8, 3, 3.2),
    Case("cnn", 60, 1, 20.0, "thesis"),
)


@pytest.fixture(scope="module")
def data(request):
    return load_mnist(request.config.getoption("--data"))


@pytest.fixture(scope="module")
def trained(tf, data):
    """Return a function that trains a network once: its Keras model, and as `snnrepro.load` reads it."""
    known = {}

    def train(name):
        if name not in known:
            build, n_images = MODELS[name]
            model = build(0)
            model.compile("adam", "sparse_categorical_crossentropy")
            model.fit(pixels(data.x_train[:n_images]), data.y_train[:n_images], batch_size=BATCH, epochs=2, verbose=0)
            known[name] = model, snnrepro.load(model)
        return known[name]

    return train


def onnx_session(model):
    """Return a Keras model in onnxruntime."""
    ort = pytest.importorskip("onnxruntime")
    return ort.InferenceSession(to_onnx(model).SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.model}-{case.n_steps}")
def test_event_simulator_against_the_trained_network(benchmark, request, data, trained, case):
    if case.profile == "thesis" and request.config.getoption("--profile") != "thesis":
        pytest.skip("only in the profile thesis")
    model, network = trained(case.model)
    x = np.resize(pixels(data.x_test), (N_IMAGES, 28, 28, 1))
    spiking = snnrepro.convert(network, "balanced", pixels(data.x_train[:300]), case.n_steps)
    session = onnx_session(model)
    image = session.get_inputs()[0].name
    contestants = {
        "keras": lambda: model.predict(x, BATCH, verbose=0),
        "onnxruntime": lambda: [session.run(None, {image: x[i : i + BATCH]}) for i in range(0, N_IMAGES, BATCH)],
    }
    for contestant in contestants.values():
        contestant()
    spiking.run(x[:100])  # compiles, or reads what was compiled
    seconds = {name: [] for name in contestants}
    runs = []

    def others():
        for name, contestant in contestants.items():
            start = time.perf_counter()
            contestant()
            seconds[name].append(time.perf_counter() - start)

    benchmark.pedantic(lambda: runs.append(spiking.run(x)), setup=others, rounds=case.rounds)
    event = np.array(benchmark.stats.stats.data)
    operations = float(runs[0].synaptic_operations.sum())
    ratios = {name: float(np.median(event / np.array(times))) for name, times in seconds.items()}
    rate = operations / float(np.median(event)) / 1e9
    benchmark.extra_info.update(
        environment=environment(),
        ratios=ratios,
        seconds={name: float(np.median(times)) for name, times in seconds.items()},
        synaptic_operations=operations,
        giga_operations_per_second=rate,
    )
    print(
        f"\n{case.model}, {case.n_steps} steps, {N_IMAGES} images: {np.median(event):.3f} s, "
        + ", ".join(f"{ratio:.2f} x {name}" for name, ratio in ratios.items())
        + f", {rate:.1f} G synaptic operations a second"
    )
    assert runs[0].sparsity > 0.5  # or the work is not what was meant to be measured
    assert ratios["keras"] <= case.largest
