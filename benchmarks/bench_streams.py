"""What a million images take in memory, and what another process brings: images mapped from a file, results joined.

The peak is that of a process of its own, pages of the file included; the slope is what each image more takes of it.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

import snnrepro
from benchmarks.memory import in_a_process
from snnrepro.datasets import pixels
from snnrepro.environment import environment
from snnrepro.thesis.networks import REFERENCE

SIZES = (50_000, 150_000)
"""Scaled from a million: above a few parts, the peak is a straight line in the number of images."""
MILLION = 1_000_000
MEASURE = """
import json, sys
import numpy as np, snnrepro
from benchmarks.memory import new_peak, peak_beyond
spiking, x = snnrepro.load_spiking(sys.argv[1]), np.load(sys.argv[2], mmap_mode="r")[: int(sys.argv[3])]
spiking.run(x[:8])
before = new_peak()
run = spiking.run(x)
outputs = [run.scores_by_step, run.synaptic_operations, run.macs, *run.spike_counts.values()]
print(json.dumps({"peak": peak_beyond(before), "outputs": sum(one.nbytes for one in outputs)}))
"""
MEASURE_COMMAND = """
import json, sys
import snnrepro
from snnrepro.cli import main
from benchmarks.memory import new_peak, peak_beyond
spiking, few, many, output = sys.argv[1:]
main(["run", spiking, few, "-o", output], standalone_mode=False)
before = new_peak()
main(["run", spiking, many, "-o", output], standalone_mode=False)
print(json.dumps({"peak": peak_beyond(before)}))
"""


@pytest.fixture(scope="module")
def spiking(data):
    """The dense reference network, converted at 4 steps."""
    network = snnrepro.load(REFERENCE / "dense-seed0-keras.npz")
    return snnrepro.convert(network, "rate", pixels(data.x_train[:300]), 4)


def _write_images(path, data, n_images):
    """Write the test images, again and again."""
    one = pixels(data.x_test)
    mapped = np.lib.format.open_memmap(path, "w+", np.float32, (n_images, *one.shape[1:]))
    for start in range(0, n_images, len(one)):
        mapped[start : start + len(one)] = one[: n_images - start]


def _for_each_image(benchmark, found, results):
    """Return how many bytes each image more takes, how many its `results` are, and the peak of a million; keep them."""
    few, many = (found[size] for size in SIZES)
    slope, own = ((many[what] - few[what]) / (SIZES[1] - SIZES[0]) for what in ("peak", results))
    expected = many["peak"] + slope * (MILLION - SIZES[1])
    benchmark.extra_info.update(environment=environment(), found=found, bytes_an_image=slope, **{results: own})
    listed = ", ".join(f"{size:,} images: {one['peak'] / 1e6:.0f} MB" for size, one in found.items())
    print(f"\n{listed}; each one more {slope:.0f} B ({results} {own:.0f} B); a million: {expected / 1e6:.0f} MB")
    return slope, own, expected


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_each_image_more_takes_no_more_than_its_results(benchmark, spiking, data, tmp_path):
    spiking.save(tmp_path / "spiking.npz")
    _write_images(tmp_path / "x.npy", data, max(SIZES))
    found = {}

    def measured():
        for size in SIZES:
            arguments = [str(tmp_path / "spiking.npz"), str(tmp_path / "x.npy"), str(size)]
            found[size] = in_a_process(MEASURE, *arguments)

    benchmark.pedantic(measured, rounds=1)
    slope, outputs, _ = _for_each_image(benchmark, found, "outputs")
    # While results are joined they are there twice; an image is 3,136 bytes.
    assert slope < 2.5 * outputs
    assert found[SIZES[1]]["peak"] < 400e6


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_results_that_are_written_are_not_held(benchmark, spiking, data, tmp_path):
    """`snnrepro run -o`, with the trained network's answers beside: those are held, and of the results no more."""
    spiking.save(tmp_path / "spiking.npz")
    for size in (8, *SIZES):
        _write_images(tmp_path / f"{size}.npy", data, size)
    found = {}

    def measured():
        for size in SIZES:
            arguments = [str(tmp_path / name) for name in ("spiking.npz", "8.npy", f"{size}.npy", "run.npz")]
            peak = in_a_process(MEASURE_COMMAND, *arguments)
            found[size] = {**peak, "written": (tmp_path / "run.npz").stat().st_size}

    benchmark.pedantic(measured, rounds=1)
    slope, written, expected = _for_each_image(benchmark, found, "written")
    assert slope < written
    assert expected < 250e6


def test_two_processes_of_one_core_beside_one(benchmark, data, monkeypatch):
    """Measure what is gained; the bound is on what is lost, as other work may hold the second core."""
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    network = snnrepro.load(REFERENCE / "dense-seed0-keras.npz")
    spiking = snnrepro.convert(network, "thesis", n_steps=60)
    x = np.concatenate([pixels(data.x_test)] * 2)
    seconds = {1: [], 2: []}

    def measured():
        with ProcessPoolExecutor(1, get_context("spawn")) as one, ProcessPoolExecutor(2, get_context("spawn")) as two:
            executors = {1: one, 2: two}
            for executor in executors.values():
                spiking.run(x, executor=executor)  # starts the processes
            for _ in range(3):
                for number, executor in executors.items():
                    start = time.perf_counter()
                    spiking.run(x, executor=executor)
                    seconds[number].append(time.perf_counter() - start)

    benchmark.pedantic(measured, rounds=1)
    medians = {number: float(np.median(times)) for number, times in seconds.items()}
    benchmark.extra_info.update(environment=environment(), seconds=seconds)
    print(f"\n{len(x):,} images, dense, 60 steps, LIF: one process {medians[1]:.2f} s, two {medians[2]:.2f} s")
    assert medians[2] < 1.5 * medians[1]
