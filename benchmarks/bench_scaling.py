"""How the event simulator's time grows, what it does a second beside the machine's limit, and what memory it takes.

Times are medians of rounds in which every size has its turn, and but for cores those of all cores together: other
work on the machine changes them little. Slopes are those of the logarithms (1: in proportion).
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace

import numba
import numpy as np
import pytest

import snnrepro
from benchmarks.contest import Contestant, contest, slope
from benchmarks.machine import RowAdder
from benchmarks.memory import in_a_process
from benchmarks.networks import trained
from snnrepro.datasets import pixels
from snnrepro.environment import environment
from snnrepro.thesis import tables

IMAGES = {"dense": 10_000, "cnn": 300}
ROUNDS = {"dense": 7, "cnn": 3}
STEPS = {"dense": (4, 8, 15, 30, 60), "cnn": (4, 8, 15, 30, 60)}
MEMORY = 300e6
MEASURE = """
import json, sys
import numpy as np, snnrepro
from benchmarks.memory import new_peak, peak_beyond
spiking = snnrepro.load_spiking(sys.argv[1])
x = np.resize(np.load(sys.argv[2]), (int(sys.argv[3]), 28, 28, 1)).astype(np.float32)
spiking.run(x[:8], int(sys.argv[4]))
before = new_peak()
run = spiking.run(x, int(sys.argv[4]))
outputs = [run.scores, run.synaptic_operations, run.macs, *run.spike_counts.values()]
peak = peak_beyond(before)
sizes = {"peak": peak, "outputs": sum(one.nbytes for one in outputs)}
print(json.dumps({"operations": int(run.synaptic_operations.sum()), **sizes}))
"""


@pytest.fixture(scope="module")
def images(data):
    return pixels(data.x_test)


@pytest.fixture(scope="module")
def converted(tf, data):
    """Return a function that gives a network of the thesis with spikes that all count the same."""
    return lambda model: snnrepro.convert(trained(model, data)[1], "rate", pixels(data.x_train[:300]), 15)


def measure(benchmark, runs, rounds):
    """Return the median seconds of each of several functions, by name: on the clock, and of all cores together."""
    seconds, of_cores = {}, {name: [] for name in runs}

    def timed(name, run):
        start = time.process_time()
        run()
        of_cores[name].append(time.process_time() - start)

    contestants = {
        name: Contestant(lambda name=name, run=run: timed(name, run), 1, rounds) for name, run in runs.items()
    }
    benchmark.pedantic(lambda: seconds.update(contest(contestants, 1)), rounds=1)
    return (
        {name: float(np.median(times)) for name, times in seconds.items()},
        {name: float(np.median(times[1:])) for name, times in of_cores.items()},  # the first call is not timed
    )


def report(benchmark, what, seconds, fitted, **others):
    """Say and keep what was measured."""
    benchmark.extra_info.update(environment=environment(), seconds=seconds, slope=fitted, **others)
    listed = ", ".join(f"{size:g}: {took:.4f} s" for size, took in seconds.items())
    print(f"\n{what}: {listed}; slope {fitted:.2f}")


@pytest.mark.parametrize("model", ["dense", "cnn"])
def test_time_grows_in_proportion_to_the_steps_or_less(benchmark, request, converted, images, model):
    spiking, x = converted(model), images[: IMAGES[model]]
    runs = {n_steps: lambda n_steps=n_steps: spiking.run(x, n_steps) for n_steps in STEPS[model]}
    seconds, of_cores = measure(benchmark, runs, ROUNDS[model])
    fitted = slope(list(of_cores), list(of_cores.values()))
    report(benchmark, f"{model}, {len(x)} images, by steps", of_cores, fitted, on_the_clock=seconds)
    if request.config.getoption("--plots"):
        draw(request.config.getoption("--plots"), model, {t: s * 10_000 / len(x) for t, s in seconds.items()})
    assert 0.3 < fitted < 1.15


@pytest.mark.parametrize(
    ("model", "sizes"), [("dense", (1250, 2500, 5000, 10_000, 20_000)), ("cnn", (75, 150, 300, 600))]
)
def test_time_grows_in_proportion_to_the_images(benchmark, converted, images, model, sizes):
    spiking, x = converted(model), np.resize(images, (max(sizes), 28, 28, 1))
    runs = {size: lambda size=size: spiking.run(x[:size], 15 if model == "dense" else 4) for size in sizes}
    seconds, of_cores = measure(benchmark, runs, ROUNDS[model])
    fitted = slope(list(of_cores), list(of_cores.values()))
    report(benchmark, f"{model}, by images", of_cores, fitted, on_the_clock=seconds)
    assert 0.6 < fitted < 1.25


@pytest.mark.parametrize("model", ["dense", "cnn"])
def test_time_grows_with_the_activity_less_than_in_proportion(benchmark, converted, images, model):
    """Measure the same network with spikes that stand for more: fewer of them are fired."""
    spiking, x = converted(model), images[: IMAGES[model]]

    def with_spikes_of(factor):
        populations = {
            name: replace(
                one,
                **{
                    field: getattr(one, field) * np.float32(factor)
                    for field in ("threshold", "amplitude", "subtracted")
                },
            )
            for name, one in spiking.populations.items()
        }
        return replace(spiking, populations=populations)

    found = [with_spikes_of(factor) for factor in (0.5, 1, 2, 4)]
    operations = {one: float(one.run(x, 15).synaptic_operations.mean()) for one in found}
    runs = {round(operations[one]): lambda one=one: one.run(x, 15) for one in found}
    seconds, of_cores = measure(benchmark, runs, ROUNDS[model])
    fitted = slope(list(of_cores), list(of_cores.values()))
    what = f"{model}, {len(x)} images, 15 steps, by synaptic operations per image"
    report(benchmark, what, of_cores, fitted, on_the_clock=seconds)
    assert max(seconds) > 2 * min(seconds)  # or it is not the activity that varies
    assert fitted < 1.15


@pytest.mark.parametrize("model", ["dense", "cnn"])
def test_more_cores_take_less_time(benchmark, converted, images, model):
    spiking, x = converted(model), images[: IMAGES[model]]
    most = min(numba.config.NUMBA_NUM_THREADS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    if most < 2:
        pytest.skip("one core")

    def on(n_threads):
        numba.set_num_threads(n_threads)
        try:
            spiking.run(x, 15)
        finally:
            numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)

    numbers = [2**power for power in range(most.bit_length())]
    seconds, _ = measure(benchmark, {number: lambda number=number: on(number) for number in numbers}, ROUNDS[model])
    fitted = slope(list(seconds), list(seconds.values()))
    report(benchmark, f"{model}, {len(x)} images, 15 steps, by cores", seconds, fitted)
    assert fitted < 0.2  # -1 where the cores are idle; other work may hold them


@pytest.mark.parametrize(("model", "least"), [("dense", 0.04), ("cnn", 0.15)])
def test_synaptic_operations_a_second_beside_the_machines_limit(benchmark, converted, images, model, least):
    """Measure beside threads that only add rows of weights from the cache, one for each spike.

    The simulator fires neurons too, but adds one row for up to four spikes of a neuron: it may be above the limit.
    """
    spiking, x = converted(model), images[: IMAGES[model]]
    adder = RowAdder(numba.get_num_threads())
    np.testing.assert_allclose(adder.run(), adder.expected(), rtol=0.02)
    operations = float(spiking.run(x, 15).synaptic_operations.sum())
    _, of_cores = measure(benchmark, {"simulator": lambda: spiking.run(x, 15), "limit": adder.run}, ROUNDS[model])
    seconds = {name: one / adder.n_threads for name, one in of_cores.items()}  # as if all cores were theirs
    rate, limit = operations / seconds["simulator"] / 1e9, adder.operations / seconds["limit"] / 1e9
    benchmark.extra_info.update(
        environment=environment(), giga_operations_per_second=rate, limit=limit, fraction=rate / limit
    )
    print(f"\n{model}: {rate:.1f} G synaptic operations a second, the machine {limit:.1f} G: {rate / limit:.2f} of it")
    assert least < rate / limit < 4.0


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize(("model", "n_steps", "sizes"), [("dense", 60, (1000, 100_000)), ("cnn", 4, (1000, 20_000))])
def test_memory_does_not_grow_with_the_batch(benchmark, tmp_path, converted, images, model, n_steps, sizes):
    """Measure what a run takes beside weights, images and results, in a process of its own."""
    converted(model).save(tmp_path / "spiking.npz")
    np.save(tmp_path / "x.npy", images[:1000])
    found = {}

    def measured():
        for size in sizes:
            arguments = [tmp_path / "spiking.npz", tmp_path / "x.npy", size, n_steps]
            found[size] = in_a_process(MEASURE, *arguments)

    benchmark.pedantic(measured, rounds=1)
    beyond = {size: one["peak"] - one["outputs"] for size, one in found.items()}
    benchmark.extra_info.update(environment=environment(), bytes_beyond_weights_and_outputs=beyond)
    listed = ", ".join(f"{size} images: {number / 1e6:.0f} MB" for size, number in beyond.items())
    print(f"\n{model}, {n_steps} steps, memory beyond weights, images and results: {listed}")
    assert all(one["operations"] > 0 for one in found.values())
    assert max(beyond.values()) < MEMORY


def draw(folder, model, seconds):
    """Draw the time for 10,000 images against the steps, with the thesis's, as SVG and PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    printed = {
        row.n_steps: row.value
        for row in tables.figures(model)
        if (row.system, row.quantity) == ("nengo-dl", "inference")
    }
    figure = Figure(figsize=(4.3, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(list(printed), list(printed.values()), "o--", color="#777777", label="thesis: NengoDL, RTX 3060")
    axes.plot(list(seconds), list(seconds.values()), "s-", color="#0b6e8f", label="event, this machine's CPU")
    axes.set_yscale("log")
    axes.set_xlabel("time steps")
    axes.set_ylabel("seconds for 10,000 images")
    axes.set_title(model)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    os.makedirs(folder, exist_ok=True)
    for kind in ("svg", "png"):
        path = os.path.join(folder, f"time-{model}.{kind}")
        figure.savefig(path, dpi=200, metadata={"Date": None} if kind == "svg" else None)
