"""An ONNX file of a ResNet-50's size, 224 x 224, with random weights: what inspect, load, forward and verify take.

Each is a process of its own; seconds are CPU seconds, imports included, and peaks are beyond weights and images.
"""

from __future__ import annotations

import resource
import subprocess
import sys

import numpy as np
import onnx
import pytest

from benchmarks.bench_conversion import MOST, resnet_50
from benchmarks.memory import in_a_process
from benchmarks.networks import as_onnx
from snnrepro.environment import environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")

SECONDS = 2.0
OF_WEIGHTS = 2.05
"""Times the weights that reading a file may take: the file's bytes and the weights; small arrays are 2 %."""
START = """
import contextlib, json, os, sys, warnings
import numpy as np, onnxruntime, snnrepro
from snnrepro import verification
from snnrepro.cli import main
warnings.simplefilter("ignore")
from benchmarks.memory import new_peak, peak_beyond
def weights(network):
    return sum(one.nbytes for node in network.nodes for one in vars(node.layer).values() if isinstance(one, np.ndarray))
path, small, images, converted = sys.argv[1:5]
n_images = int(sys.argv[5])
snnrepro.verify(small, None, np.zeros((1, 2), np.float32))  # what is loaded late is there
network, x, spiking, found = None, np.load(images)[:n_images], None, None
"""
MEASURED = {
    "load": ("", "network = snnrepro.load(path)"),
    "forward": ("network = snnrepro.load(path)", "found = network.forward(x).shape"),
    "verify": ("", "found = snnrepro.verify(path, None, x).passed"),
    "verify, a network": ("network = snnrepro.load(path)", "found = snnrepro.verify(network, None, x).passed"),
    "verify, spiking": (
        "spiking = snnrepro.load_spiking(converted)",
        "found = len(snnrepro.verify(path, spiking, x).comparisons)",
    ),
    "verify, the command": (
        "",
        """
with contextlib.redirect_stdout(open(os.devnull, "w")):
    try:
        main(["verify", path, images, "--images", str(n_images)], standalone_mode=False)
    except SystemExit as ended:
        found = ended.code""",
    ),
}
"""What is done before, and what is measured."""
END = """
print(json.dumps({"peak": peak_beyond(before), "found": found}))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write the model, a small one, images and a converted network; return their paths and the weights' bytes."""
    from snnrepro.network.graph import Network, Node
    from snnrepro.network.layers import Dense
    from snnrepro.spiking.convert import convert

    folder, network = tmp_path_factory.mktemp("large"), resnet_50()
    onnx.save(as_onnx(network), str(folder / "large.onnx"))
    small = Network("x", (2,), (Node("y", ("x",), Dense(np.ones((2, 2)), np.zeros(2))),), {})
    onnx.save(as_onnx(small), str(folder / "small.onnx"))
    x = np.random.RandomState(0).rand(32, *network.input_shape).astype(np.float32)
    np.save(str(folder / "x.npy"), x)
    convert(network, "thesis", n_steps=2).save(folder / "spiking.npz")
    arrays = [one for node in network.nodes for one in vars(node.layer).values() if isinstance(one, np.ndarray)]
    paths = [str(folder / name) for name in ("large.onnx", "small.onnx", "x.npy", "spiking.npz")]
    return paths, sum(one.nbytes for one in arrays)


def measured(kind, paths, n_images):
    """Return the peak of one of `MEASURED` in a process of its own, and what it found."""
    before, what = MEASURED[kind]
    script = "\n".join([START, before, "before = new_peak()", what, END])
    return in_a_process(script, *paths, n_images)


def test_inspect_takes_at_most_two_seconds(benchmark, files):
    paths, _ = files
    seconds, printed = [], []

    def inspect():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "snnrepro", "inspect", paths[0]]
        printed.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    benchmark.pedantic(inspect, rounds=3)
    benchmark.extra_info.update(environment=environment(), cpu_seconds=seconds)
    print(f"\ninspect: {[round(one, 2) for one in seconds]} CPU s")
    assert "25,5" in printed[0]  # million parameters
    assert min(seconds) < SECONDS


def test_reading_takes_at_most_twice_the_weights(benchmark, files):
    paths, weights = files
    found = []
    benchmark.pedantic(lambda: found.append(measured("load", paths, 0)["peak"] / weights), rounds=1)
    benchmark.extra_info.update(environment=environment(), times_the_weights=found[0])
    print(f"\nload, weights of {weights / 1e6:.0f} MB: {found[0]:.2f} times as much")
    assert 1 < found[0] < OF_WEIGHTS  # once is what it returns


@pytest.mark.parametrize(
    ("kind", "sizes", "copies"),
    [
        ("forward", (2, 8, 32), 0),
        ("verify", (1, 4), 1),
        ("verify, a network", (1, 4), 0),
        ("verify, the command", (2,), 1),
        ("verify, spiking", (1,), 1),
    ],
)
def test_memory_beyond_weights_and_images_is_bounded(benchmark, files, kind, sizes, copies):
    """What `verify` reads of a path are weights, too: `copies` says how many times."""
    paths, weights = files
    found = {}
    benchmark.pedantic(lambda: found.update({n: measured(kind, paths, n) for n in sizes}), rounds=1)
    beyond = {n: one["peak"] - copies * weights for n, one in found.items()}
    benchmark.extra_info.update(environment=environment(), found=found, beyond=beyond)
    print(f"\n{kind}: " + ", ".join(f"{n} images: {peak / 1e6:.0f} MB" for n, peak in beyond.items()))
    assert all(one["found"] for one in found.values()) or kind == "verify, the command"
    assert max(beyond.values()) < MOST
    assert min(one["peak"] for one in found.values()) > 10e6  # or nothing was measured
