"""What a conversion takes: memory, which must not grow with the steps, the images or the size of a layer, and CPU time.

Each conversion is a process of its own, with all it loads and compiles; the peak is beyond weights and images.
"""

from __future__ import annotations

import sys
import time
import warnings

import numpy as np
import pytest

from benchmarks.contest import slope
from benchmarks.memory import in_a_process
from snnrepro.datasets import pixels
from snnrepro.environment import environment
from snnrepro.errors import DataWarning
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Add, Conv, Dense, MaxPool, Reduce, ReLU, Reshape
from snnrepro.readers.load import load
from snnrepro.spiking.convert import convert
from snnrepro.thesis.networks import REFERENCE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")

MOST = 400e6
MEASURE = """
import json, sys, time, warnings
import numpy as np, snnrepro
warnings.simplefilter("ignore")
from benchmarks.memory import new_peak, peak_beyond
network, n_images = snnrepro.load(sys.argv[1]), int(sys.argv[2])
rng = np.random.RandomState(0)
x = rng.rand(n_images, *network.input_shape).astype(np.float32)
before = new_peak()
start = time.process_time()
options = {"max_loss": float(sys.argv[4])} if sys.argv[4] != "-" else {"n_steps": int(sys.argv[3])}
spiking = snnrepro.convert(network, sys.argv[5], x, **options)
seconds = time.process_time() - start
print(json.dumps({"peak": peak_beyond(before), "seconds": seconds, "n_steps": spiking.n_steps}))
"""


class Drawn:
    """A network with random weights that grows at its end; He's initialisation keeps about half of it active."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape, self.value, self.nodes, self._rng = shape, "x", [], np.random.RandomState(0)

    def add(self, layer, *inputs):
        """Append a layer that reads the last value, or others."""
        name = f"{type(layer).__name__.lower()} {len(self.nodes)}"
        self.nodes.append(Node(name, inputs or (self.value,), layer))
        self.value = name
        return name

    def conv(self, n_in, n_out, size=3, stride=1, source=None, rectified=True):
        """Append a convolution that keeps the image's size, or divides it by the stride."""
        weights = self._rng.normal(size=(n_out, n_in, size, size)) * np.sqrt(2 / (n_in * size * size))
        pads = ((size // 2, size // 2),) * 2
        name = self.add(Conv(weights, np.zeros(n_out), (stride,) * 2, (1, 1), pads), *([source] if source else []))
        return self.add(ReLU()) if rectified else name

    def dense(self, n_in, n_out):
        """Append a dense layer."""
        self.add(Dense(self._rng.normal(size=(n_in, n_out)) * np.sqrt(2 / n_in), np.zeros(n_out)))

    def bottlenecks(self, n_in, width, stride, n, kinds):
        """Append `n` residual blocks, with convolutions of the sizes `kinds`; the last widens, if there are three."""
        n_out = width * (4 if len(kinds) == 3 else 1)
        for block in range(n):
            before, stride = self.value, stride if block == 0 else 1
            channels = n_in if block == 0 else n_out
            for place, size in enumerate(kinds):
                last = place == len(kinds) - 1
                by = stride if place == len(kinds) - 2 else 1
                self.conv(channels, n_out if last else width, size, by, rectified=not last)
                channels = width
            main = self.value
            if block == 0 and (stride > 1 or n_in != n_out):
                before = self.conv(n_in, n_out, 1, stride, source=before, rectified=False)
            self.add(Add(), main, before)
            self.add(ReLU())

    def network(self):
        """Return it."""
        return Network("x", self.shape, tuple(self.nodes), {})


def cnn(strides=(1, 1, 2)):
    drawn = Drawn((1, 28, 28))
    for n_in, n_out, stride in zip((1, 32, 64), (32, 64, 128), strides):
        drawn.conv(n_in, n_out, 3, stride)
    drawn.add(Reshape((128 * 14 * 14,)))
    drawn.dense(128 * 14 * 14, 10)
    return drawn.network()


def resnet_20():
    drawn = Drawn((3, 32, 32))
    drawn.conv(3, 16)
    for n_in, width, stride in ((16, 16, 1), (16, 32, 2), (32, 64, 2)):
        drawn.bottlenecks(n_in, width, stride, 3, (3, 3))
    drawn.add(Reduce("mean", (1, 2)))
    drawn.add(Reshape((64,)))
    drawn.dense(64, 10)
    return drawn.network()


def vgg_16():
    drawn, n_in = Drawn((3, 32, 32)), 3
    for n_out, n in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(n):
            drawn.conv(n_in, n_out)
            n_in = n_out
        drawn.add(MaxPool((2, 2), (2, 2), (1, 1), ((0, 0), (0, 0))))
    drawn.add(Reshape((512,)))
    drawn.dense(512, 10)
    return drawn.network()


def resnet_50():
    drawn = Drawn((3, 224, 224))
    drawn.conv(3, 64, 7, 2)
    drawn.add(MaxPool((3, 3), (2, 2), (1, 1), ((1, 1), (1, 1))))
    n_in = 64
    for width, stride, n in ((64, 1, 3), (128, 2, 4), (256, 2, 6), (512, 2, 3)):
        drawn.bottlenecks(n_in, width, stride, n, (1, 3, 1))
        n_in = 4 * width
    drawn.add(Reduce("mean", (1, 2)))
    drawn.add(Reshape((2048,)))
    drawn.dense(2048, 1000)
    return drawn.network()


CASES = {
    "cnn": (cnn, 1000, (4, 16, 60, 128)),
    "resnet_20": (resnet_20, 300, (4, 16, 60, 128)),
    "vgg_16": (vgg_16, 50, (4, 16, 60, 128)),
    "resnet_50": (resnet_50, 4, (4, 16, 60, 128)),
}


def measured(path, n_images, n_steps, max_loss="-", recipe="rate"):
    """Return what a conversion in a process of its own takes."""
    arguments = map(str, (path, n_images, n_steps, max_loss, recipe))
    return in_a_process(MEASURE, *arguments)


def check_memory(benchmark, path, title, cases):
    """Measure conversions, of which `cases` has the arguments by what grows, and hold their memory to its bound."""
    found = {}

    def measure():
        for size, arguments in cases.items():
            found[size] = measured(path, *arguments)

    benchmark.pedantic(measure, rounds=1)
    peaks = {size: one["peak"] for size, one in found.items()}
    fitted = slope(list(peaks), list(peaks.values()))
    benchmark.extra_info.update(environment=environment(), found=found, slope=fitted)
    listed = ", ".join(f"{n}: {one['peak'] / 1e6:.0f} MB, {one['seconds']:.1f} CPU s" for n, one in found.items())
    print(f"\n{title}, {listed}; slope of memory {fitted:.2f}")
    assert max(peaks.values()) < MOST
    assert fitted < 0.25  # with little to do the blocks are not filled yet; in proportion it would be 1


@pytest.mark.parametrize("case", CASES)
def test_memory_is_bounded_and_does_not_grow_with_the_steps(benchmark, tmp_path, case):
    make, n_images, steps = CASES[case]
    make().save(tmp_path / "network.npz")
    cases = {n_steps: (n_images, n_steps) for n_steps in steps}
    check_memory(benchmark, tmp_path / "network.npz", f"{case}, {n_images} images, by steps", cases)


def test_memory_does_not_grow_with_the_images(benchmark, tmp_path):
    cnn((1, 2, 1)).save(tmp_path / "network.npz")
    cases = {n_images: (n_images, 1) for n_images in (30, 100, 300, 1000)}
    check_memory(benchmark, tmp_path / "network.npz", "by images", cases)


@pytest.mark.parametrize("kind", ["dense", "cnn"])
@pytest.mark.parametrize("max_loss", [0.2, 0.5, 1.0])
def test_to_find_the_steps_takes_at_most_three_conversions(benchmark, data, kind, max_loss):
    """Of the same network at the steps that were found; CPU time, in turn, after one round that does not count."""
    network = load(REFERENCE / f"{kind}-seed0-keras.npz")
    given = pixels(data.x_train[:1000]), data.y_train[:1000]
    seconds: dict[str, list[float]] = {"found": [], "given": []}

    def timed(name, **options):
        start = time.process_time()
        spiking = convert(network, "balanced", given, **options)
        seconds[name].append(time.process_time() - start)
        return spiking.n_steps

    def measure():
        for _ in range(4):
            timed("given", n_steps=timed("found", max_loss=max_loss))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        benchmark.pedantic(measure, rounds=1)
        n_steps = convert(network, "balanced", given, max_loss=max_loss).n_steps
    medians = {name: float(np.median(times[1:])) for name, times in seconds.items()}
    ratio = medians["found"] / medians["given"]
    benchmark.extra_info.update(environment=environment(), seconds=seconds, n_steps=n_steps, ratio=ratio)
    print(
        f"\n{kind}, at most {max_loss} points lost, {n_steps} steps found in {medians['found']:.2f} CPU s, given "
        f"{medians['given']:.2f}: {ratio:.2f} conversions"
    )
    assert ratio < 3
