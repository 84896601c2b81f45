"""SpikingJelly's and sinabs's conversions of the same trained networks: accuracy, seconds and memory beside ours.

``tox -e peers`` installs them with PyTorch for CPUs, and runs this. The networks are trained here, in PyTorch, and
their weights written as a `Network` by hand. Both peers convert as measured best for them: SpikingJelly with the 99.9th
percentile of each channel and half a threshold to begin with, sinabs as it comes (several spikes a step). The
convolutional networks run on few images, whose number is printed, and the time is scaled to 10,000.
"""

from __future__ import annotations

import contextlib
import copy
import sys
import time
import warnings
from dataclasses import dataclass

import numpy as np
import pytest

import snnrepro
from benchmarks.contest import Contestant, contest, ratio
from benchmarks.memory import in_a_process
from snnrepro.datasets import pixels
from snnrepro.environment import environment
from snnrepro.metrics import accuracy
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Conv, Dense, ReLU, Reshape

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what they warn of when they are imported is theirs
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: tox -e peers")
    ann2snn = pytest.importorskip(
        "spikingjelly.activation_based.ann2snn", reason="SpikingJelly is not installed: tox -e peers"
    )
    sinabs_torch = pytest.importorskip("sinabs.from_torch", reason="sinabs is not installed: tox -e peers")

N_IMAGES = 10_000
TARGET = 20
"""SpikingJelly's time over ours, on an idle machine."""


@dataclass(frozen=True)
class Case:
    """A network, its steps, the test images, the peers' batch (their fastest of those tried), the least asserted."""

    model: str
    n_steps: int
    n_images: int
    batch: int
    rounds: int
    least: float


CASES = (
    Case("dense", 15, N_IMAGES, 1000, 3, 3),
    Case("dense", 60, N_IMAGES, 1000, 2, 3),
    Case("cnn", 15, 200, 50, 2, 3),
    Case("cnn", 60, 100, 50, 1, 3),
)
TRAINING = {"dense": (60_000, 3), "cnn": (20_000, 1)}
"""Images and epochs."""


def channels_first(x):
    return np.ascontiguousarray(pixels(x).reshape(-1, 1, 28, 28), dtype=np.float32)


def untrained(model):
    """Return one of the thesis's networks in PyTorch, without its softmax."""
    nn = torch.nn
    torch.manual_seed(0)
    if model == "dense":
        units = (784, 32, 64, 128)
        hidden = [layer for n, m in zip(units, units[1:]) for layer in (nn.Linear(n, m), nn.ReLU())]
        return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(128, 10))
    sizes = ((1, 32, 1), (32, 64, 1), (64, 128, 2))
    hidden = [layer for n, m, stride in sizes for layer in (nn.Conv2d(n, m, 3, stride), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Flatten(), nn.Linear(128 * 11 * 11, 10))


def trained(model, data):
    n_images, epochs = TRAINING[model]
    network = untrained(model)
    x, y = torch.from_numpy(channels_first(data.x_train[:n_images])), torch.from_numpy(data.y_train[:n_images]).long()
    optimizer, loss = torch.optim.Adam(network.parameters()), torch.nn.CrossEntropyLoss()
    with threads_of_torch(1 if model == "dense" else torch.get_num_threads()):  # small layers are no work for two
        for _ in range(epochs):
            for chosen in torch.randperm(n_images).split(128):
                optimizer.zero_grad()
                loss(network(x[chosen]), y[chosen]).backward()
                optimizer.step()
    return network.eval()


def network_of(sequential):
    """Return a trained sequence of layers as snnrepro has it."""
    shape, nodes, before = (1, 28, 28), [], "x"
    for number, layer in enumerate(sequential):
        if isinstance(layer, torch.nn.Flatten):
            ours = Reshape((int(np.prod(Network("x", shape, tuple(nodes), {}).shapes[before] if nodes else shape)),))
        elif isinstance(layer, torch.nn.ReLU):
            ours = ReLU()
        else:
            weights, bias = (part.detach().numpy() for part in (layer.weight, layer.bias))
            if isinstance(layer, torch.nn.Linear):
                ours = Dense(weights.T.copy(), bias)
            else:
                ours = Conv(weights, bias, layer.stride, layer.dilation, ((0, 0), (0, 0)))
        nodes.append(Node(f"{type(layer).__name__.lower()}/{number}", (before,), ours))
        before = nodes[-1].name
    return Network("x", shape, tuple(nodes), {})


def spikingjelly_of(network, calibration):
    recipe = ann2snn.RateCodingRecipe(
        torch.from_numpy(calibration).split(100), mode="99.9%", channel_wise=True, half_threshold=True
    )
    return ann2snn.Converter(recipe).convert(network).eval()


def answers_of_spikingjelly(snn, x, n_steps, batch):
    from spikingjelly.activation_based import functional

    answers = []
    with torch.inference_mode():
        for part in torch.from_numpy(x).split(batch):
            functional.reset_net(snn)
            answers.append(sum(snn(part) for _ in range(n_steps)).argmax(dim=1))
    return torch.cat(answers).numpy()


def answers_of_sinabs(network, x, n_steps, batch):
    snn = sinabs_torch.from_model(network, num_timesteps=n_steps, batch_size=None).spiking_model.eval()
    answers = []
    with torch.inference_mode():
        for part in torch.from_numpy(x).split(batch):
            for layer in snn.modules():
                if hasattr(layer, "reset_states"):
                    layer.reset_states()
            out = snn(part.repeat_interleave(n_steps, dim=0))
            answers.append(out.reshape(len(part), n_steps, -1).sum(dim=1).argmax(dim=1))
    return torch.cat(answers).numpy()


@contextlib.contextmanager
def threads_of_torch(number):
    """So many threads in PyTorch's operators."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def faster_threads(run):
    """Return with how many threads a call takes less time: one, or as many as PyTorch takes of itself."""
    seconds = {}
    for number in (1, torch.get_num_threads()):
        with threads_of_torch(number):
            run()
            start = time.perf_counter()
            run()
            seconds[number] = time.perf_counter() - start
    return min(seconds, key=seconds.get)


@pytest.fixture(scope="module")
def both(data):
    """Return a function that trains a network once: in PyTorch, and as snnrepro has it."""
    known = {}

    def found(model):
        if model not in known:
            network = trained(model, data)
            known[model] = network, network_of(network)
        return known[model]

    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.model}-{case.n_steps}")
def test_peers_on_the_same_trained_network(benchmark, data, both, case):
    network, ours = both(case.model)
    x, y = channels_first(data.x_test[: case.n_images]), data.y_test[: case.n_images]
    calibration = channels_first(data.x_train[:1000])
    with torch.inference_mode():
        scores = network(torch.from_numpy(x[:100])).numpy()
    np.testing.assert_allclose(ours.forward(x[:100]), scores, rtol=1e-4, atol=1e-4)
    spiking = snnrepro.convert(ours, "balanced", calibration, case.n_steps)
    converted = spikingjelly_of(network, calibration)
    answers, seconds = {}, {}

    peers = {
        "spikingjelly": lambda images: answers_of_spikingjelly(converted, images, case.n_steps, case.batch),
        # All steps of a batch lie in memory at once.
        "sinabs": lambda images: answers_of_sinabs(
            network, images, case.n_steps, max(1, case.batch * 15 // case.n_steps)
        ),
    }
    threads = {name: faster_threads(lambda peer=peer: peer(x[: case.batch])) for name, peer in peers.items()}

    def run_peer(name):
        with threads_of_torch(threads[name]):
            answers[name] = peers[name](x)

    entered = {
        "event": Contestant(lambda: answers.update(event=spiking.run(x).predictions), len(x), case.rounds),
        **{name: Contestant(lambda name=name: run_peer(name), len(x), case.rounds) for name in peers},
    }
    benchmark.pedantic(lambda: seconds.update(contest(entered, N_IMAGES)), rounds=1)
    right = {name: accuracy(found, y).percent for name, found in answers.items()}
    trained_right = accuracy(ours.forward(x).argmax(axis=1), y).percent
    ratios = {name: ratio(seconds[name], seconds["event"]) for name in ("spikingjelly", "sinabs")}
    benchmark.extra_info.update(
        environment=environment(),
        n_images=len(x),
        seconds_for_10_000={name: float(np.median(times)) for name, times in seconds.items()},
        accuracy={"trained": trained_right, **right},
        ratios=ratios,
        target=TARGET,
        threads=threads,
    )
    print(f"\n{case.model}, {case.n_steps} steps, {len(x)} images, trained network {trained_right:.2f} %:")
    for name, times in seconds.items():
        over = f", {ratios[name]:.1f} x event, {threads[name]} threads" if name in ratios else ""
        print(f"  {name:14}{right[name]:7.2f} %{np.median(times):10.3f} s for {N_IMAGES}{over}")
    print(f"  (target {TARGET} x event for SpikingJelly, asserted {case.least})")
    assert right["event"] > trained_right - 1.0
    assert min(right.values()) > 80  # or a peer is used in a wrong way
    assert ratios["spikingjelly"] >= case.least


MOST_SECONDS = {4: 2, 8: 2, 15: 2, 60: 4}
"""CPU seconds of our conversion over SpikingJelly's, at most, by steps; its own does not depend on them."""
MOST_MEMORY = 400e6
MEASURE = """
import json, sys, time, warnings
import numpy as np
warnings.simplefilter("ignore")
from benchmarks import bench_peers
from benchmarks.memory import new_peak, peak_beyond
convert, x = bench_peers.conversion(*sys.argv[1:4]), np.load(sys.argv[4])
convert(x[:8])  # what is loaded late, and compiled, is there
before = new_peak()
start = time.process_time()
convert(x)
seconds = time.process_time() - start
print(json.dumps({"seconds": seconds, "peak": peak_beyond(before)}))
"""


def conversion(peer, folder, n_steps):
    """Return what converts the CNN of a folder on images."""
    if peer == "ours":
        network = snnrepro.load(f"{folder}/network.npz")
        return lambda x: snnrepro.convert(network, "balanced", x, int(n_steps))
    network = untrained("cnn")
    network.load_state_dict(torch.load(f"{folder}/network.pt"))
    return lambda x: spikingjelly_of(copy.deepcopy(network).eval(), x)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_to_convert_takes_little_more_than_spikingjelly_and_less_memory_than_promised(benchmark, data, both, tmp_path):
    """The thesis's CNN on 1,000 images; medians of CPU seconds of rounds in turn, each in a process of its own."""
    network, ours = both("cnn")
    torch.save(network.state_dict(), str(tmp_path / "network.pt"))
    ours.save(tmp_path / "network.npz")
    np.save(str(tmp_path / "x.npy"), channels_first(data.x_train[:1000]))
    contestants = {0: "spikingjelly", **dict.fromkeys(MOST_SECONDS, "ours")}
    rounds = {n_steps: [] for n_steps in contestants}

    def measure():
        for n_steps, peer in [*contestants.items()] * 3:
            arguments = [peer, str(tmp_path), str(n_steps), str(tmp_path / "x.npy")]
            rounds[n_steps].append(in_a_process(MEASURE, *arguments))

    benchmark.pedantic(measure, rounds=1)
    found = {
        n_steps: {"seconds": float(np.median([one["seconds"] for one in of])), "peak": max(one["peak"] for one in of)}
        for n_steps, of in rounds.items()
    }
    theirs = found.pop(0)
    ratios = {n_steps: one["seconds"] / theirs["seconds"] for n_steps, one in found.items()}
    benchmark.extra_info.update(environment=environment(), spikingjelly=theirs, ours=found, ratios=ratios)
    print(f"\nconvert, CNN, 1,000 images: SpikingJelly {theirs['seconds']:.1f} CPU s, {theirs['peak'] / 1e6:.0f} MB")
    for n_steps, one in found.items():
        taken = f"{one['seconds']:.1f} CPU s, {one['peak'] / 1e6:.0f} MB"
        print(f"  ours, {n_steps} steps: {taken}, {ratios[n_steps]:.2f} times the seconds")
    assert all(ratios[n_steps] <= most for n_steps, most in MOST_SECONDS.items())
    assert max(one["peak"] for one in found.values()) < MOST_MEMORY
    assert theirs["seconds"] > 0.5  # or nothing was converted
