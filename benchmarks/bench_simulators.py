"""All simulators beside the trained network in Keras and onnxruntime: seconds for 10,000 images, warm, in turn.

``pytest benchmarks/bench_simulators.py`` takes a quarter of an hour; ``--profile thesis`` runs the CNN's 60 steps on
all images. The slow simulators run on few images, whose number is printed, and their time is scaled to 10,000. What is
asserted are ratios of the same rounds, with room for a busy machine; the targets of an idle one stand beside them.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np
import pytest

import snnrepro
from benchmarks.contest import Contestant, contest, ratio
from benchmarks.networks import BATCH, trained
from snnrepro.datasets import pixels
from snnrepro.environment import environment
from snnrepro.readers.keras import to_onnx
from snnrepro.thesis import tables

N_IMAGES = 10_000


@dataclass(frozen=True)
class Bound:
    """A ratio's target on an idle machine, and what is asserted."""

    target: float
    asserted: float


@dataclass(frozen=True)
class Case:
    """A network, its steps, the images and rounds of the event simulator, and of the others the images."""

    model: str
    n_steps: int
    n_images: int
    rounds: int
    plain: int
    nengo: int
    nengo_dl: int
    keras: Bound | None = None
    nengo_dl_over_event: Bound | None = None  # as it comes: with its operators merged
    not_merged_over_event: Bound | None = None
    thesis: Bound | None = None
    recipe: str = "balanced"

    @property
    def name(self):
        return f"{self.model}-{self.n_steps}" + ("" if self.recipe == "balanced" else f"-{self.recipe}")


CASES = (
    Case("dense", 15, N_IMAGES, 9, 2000, 4, 1000, keras=Bound(0.2, 0.4)),
    Case("dense", 60, N_IMAGES, 5, 500, 2, 500, None, Bound(150, 40), Bound(60, 15)),
    Case("cnn", 4, N_IMAGES, 3, 60, 0, 32, keras=Bound(0.6, 2.0)),
    Case("cnn", 8, N_IMAGES, 3, 40, 0, 32, keras=Bound(1.0, 3.2)),
    Case("cnn", 15, 2500, 2, 20, 1, 32, None, Bound(150, 40), Bound(30, 5)),
    Case("cnn", 60, 1000, 1, 4, 0, 0, thesis=Bound(0.3, 2.0)),
    # LIF neurons without a synapse.
    Case("dense", 60, N_IMAGES, 3, 200, 0, 500, None, Bound(100, 20), Bound(20, 4), recipe="thesis"),
    Case("cnn", 15, 1000, 2, 20, 0, 32, None, Bound(100, 20), Bound(20, 2), recipe="thesis"),
)
SLOW_ROUNDS = 2


def onnx_session(model):
    """Return a Keras model in onnxruntime."""
    ort = pytest.importorskip("onnxruntime")
    return ort.InferenceSession(to_onnx(model).SerializeToString(), providers=["CPUExecutionProvider"])


FIXED_POINT_OVER_FLOAT = Bound(0.6, 2.2)
"""Seconds of the event simulator with int8 weights over those with float32 weights; small networks round for longer."""


def contestants(case, model, spiking, rounded, x, stack, runs):
    """Return everything that gives the answers, by name."""
    from snnrepro.simulators.nengo.dl import NengoDLSimulator

    session = onnx_session(model)
    image = session.get_inputs()[0].name
    found = {
        "event": Contestant(lambda: runs.append(spiking.run(x[: case.n_images])), case.n_images, case.rounds),
        "keras": Contestant(lambda: model.predict(x, BATCH, verbose=0), N_IMAGES, case.rounds),
        "onnxruntime": Contestant(
            lambda: [session.run(None, {image: x[i : i + BATCH]}) for i in range(0, N_IMAGES, BATCH)],
            N_IMAGES,
            case.rounds,
        ),
        "plain": Contestant(lambda: spiking.run(x[: case.plain], simulator="plain"), case.plain, SLOW_ROUNDS),
    }
    for merge in (True, False) if case.nengo_dl else ():  # 60 steps of the CNN take 10 GB
        size = min(case.nengo_dl, 500)
        simulator = stack.enter_context(NengoDLSimulator(spiking, size, merge=merge))
        found[f"nengo-dl{'' if merge else ', not merged'}"] = Contestant(
            lambda simulator=simulator: simulator.run(x[: case.nengo_dl], case.n_steps), case.nengo_dl, SLOW_ROUNDS
        )
    if rounded is not None:
        found["event, int8"] = Contestant(lambda: rounded.run(x[: case.n_images]), case.n_images, case.rounds)
    if case.nengo:
        found["nengo"] = Contestant(lambda: spiking.run(x[: case.nengo], simulator="nengo"), case.nengo, 1)
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_simulators_side_by_side(benchmark, request, nengo_dl, data, case):
    if request.config.getoption("--profile") == "thesis" and case.thesis is not None:
        case = Case(**{**case.__dict__, "n_images": N_IMAGES})
    model, network = trained(case.model, data)
    x = np.resize(pixels(data.x_test), (N_IMAGES, 28, 28, 1))
    spiking = snnrepro.convert(network, case.recipe, pixels(data.x_train[:300]), case.n_steps)
    rounded = None
    if case.recipe != "thesis":  # its neurons have no fixed point
        rounded = snnrepro.convert(network, case.recipe, pixels(data.x_train[:300]), case.n_steps, weights="int8")
    runs, seconds = [], {}
    with contextlib.ExitStack() as stack:
        entered = contestants(case, model, spiking, rounded, x, stack, runs)
        benchmark.pedantic(lambda: seconds.update(contest(entered, N_IMAGES)), rounds=1)
    event = seconds["event"]
    printed = {
        row.n_steps: row.value
        for row in tables.figures(case.model)
        if (row.system, row.quantity) == ("nengo-dl", "inference")
    }
    found = {"event / keras": (ratio(event, seconds["keras"]), case.keras)}
    for name, bound in (
        ("nengo-dl", case.nengo_dl_over_event),
        ("nengo-dl, not merged", case.not_merged_over_event),
    ):
        if name in seconds:
            found[f"{name} / event"] = (ratio(seconds[name], event), bound)
    if rounded is not None:
        found["event, int8 / event"] = (ratio(seconds["event, int8"], event), FIXED_POINT_OVER_FLOAT)
        found["event, int8 / keras"] = (ratio(seconds["event, int8"], seconds["keras"]), None)
    found["event / onnxruntime"] = (ratio(event, seconds["onnxruntime"]), None)
    if case.n_steps in printed and case.recipe == "balanced":
        found["event / the thesis's"] = (float(np.median(event)) / printed[case.n_steps], case.thesis)
    operations = float(runs[-1].synaptic_operations.mean()) * N_IMAGES
    benchmark.extra_info.update(
        environment=environment(),
        seconds_for_10_000={name: float(np.median(times)) for name, times in seconds.items()},
        images={name: one.n_images for name, one in entered.items()},
        ratios={name: value for name, (value, _) in found.items()},
        targets={name: bound.target for name, (_, bound) in found.items() if bound is not None},
        synaptic_operations=operations,
        giga_operations_per_second=operations / float(np.median(event)) / 1e9,
    )
    print(f"\n{case.model}, {case.n_steps} steps, {case.recipe}, seconds for {N_IMAGES} images (medians; of so many):")
    for name, times in seconds.items():
        print(f"  {name:24}{np.median(times):12.3f}  ({entered[name].n_images}, {len(times)} rounds)")
    for name, (value, bound) in found.items():
        wanted = "" if bound is None else f"  (target {bound.target}, asserted {bound.asserted})"
        print(f"  {name:40}{value:10.2f}{wanted}")
    assert runs[0].sparsity > 0.5  # or the work is not what was meant to be measured
    for name, (value, bound) in found.items():
        if bound is not None:
            more = name.startswith("nengo-dl")
            assert (value >= bound.asserted) if more else (value <= bound.asserted), f"{name}: {value:.2f}"
