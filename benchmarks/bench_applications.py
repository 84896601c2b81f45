"""Keras's applications end to end: load, convert, run; the answers are Keras's, and the load takes little memory.

Weights are random, with the batch normalisations' statistics of the images, and without these of He's variance; each
network is a process of its own. They end in their logits: softmax makes any two answers alike, or an error in a large
one larger.
``-s`` prints a line of the table in docs/convert.md for each.
"""

from __future__ import annotations

import importlib.util
import sys

import pytest

from benchmarks.memory import in_a_process
from snnrepro.environment import environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")

SIZES = {
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "MobileNetV3Large": 32,
    "EfficientNetB0": 32,
    "VGG16": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "DenseNet121": 32,
    "NASNetMobile": 32,
    "Xception": 71,
    "InceptionV3": 75,
    "InceptionResNetV2": 75,
}
"""Rows and columns of an image: as few as each takes; 224 would take fifty times as long and show no other layer."""
N_IMAGES, N_STEPS = 16, 8
MOST_ERROR, OF_NUDGE = 1e-4, 3
"""Of the logits, relative to the largest: float32 sums in another order; or so many times what Keras's own differ by
where each number of the images is the next one to it. Random networks without skips make that 2e-4 (InceptionV3)."""

MEASURE = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np, onnxruntime, snnrepro
from snnrepro.frameworks.quiet import quiet_stderr
from snnrepro.frameworks.tensorflow import import_tensorflow
from snnrepro.spiking.synops import macs
import_tensorflow(keras_2=False)
with quiet_stderr():
    import keras, tf2onnx
name, size, n_images, n_steps = sys.argv[1], *map(int, sys.argv[2:])
keras.utils.set_random_seed(0)
from benchmarks.memory import new_peak, peak_beyond
seconds = {}
def timed(what, function, *arguments, **options):
    start = time.process_time()
    result = function(*arguments, **options)
    seconds[what] = time.process_time() - start
    return result
with quiet_stderr():
    raw = {"include_preprocessing": False} if name.startswith("MobileNetV3") else {}
    model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=10,
                                              classifier_activation=None, **raw)
    x = np.random.RandomState(0).rand(n_images, size, size, 3).astype(np.float32)
    normalised = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in normalised:
        layer.momentum = 0.0
    for weight in [] if normalised else model.weights:
        weight.assign(2**0.5 * weight)  # Glorot's variance becomes He's
    model(x, training=True)  # leaves the statistics of these images
    wanted = model.predict(x, verbose=0)
    beside = np.where(np.random.RandomState(1).rand(*x.shape) < 0.5, np.float32(-1), np.float32(2))
    nudged = model.predict(np.nextafter(x, beside), verbose=0)
def error(answers):
    return float(np.abs(answers - wanted).max() / np.abs(wanted).max())
before = new_peak()
network = timed("load", snnrepro.load, model)
load = peak_beyond(before)
answers = network.forward(x)
spiking = timed("convert", snnrepro.convert, network, calibration=x, n_steps=n_steps)
run = timed("run", spiking.run, x)
print(json.dumps({
    "parameters": model.count_params(),
    "multiply_adds": macs(network),
    "neurons": sum(spiking.n_neurons.values()),
    "functions": len(spiking.functions),
    "seconds": seconds,
    "load_bytes": load,
    "peak_bytes": peak_beyond(0),
    "error": error(answers),
    "nudged": error(nudged),
    "spread": float(np.ptp(wanted, axis=0).max() / np.abs(wanted).max()),
    "pearson": float(np.corrcoef((run.scores - wanted.mean(0)).ravel(), (wanted - wanted.mean(0)).ravel())[0, 1]),
    "spikes": int(sum(counts.sum() for counts in run.spike_counts.values())),
}))
"""


@pytest.mark.parametrize("name", SIZES)
def test_an_application_of_keras_is_read_converted_and_run(benchmark, name):
    if importlib.util.find_spec("keras") is None or importlib.util.find_spec("tf2onnx") is None:
        pytest.skip("Keras or tf2onnx is not installed")
    found = {}

    def measure():
        found.update(in_a_process(MEASURE, name, SIZES[name], N_IMAGES, N_STEPS))

    benchmark.pedantic(measure, rounds=1)
    benchmark.extra_info.update(environment=environment(), size=SIZES[name], found=found)
    seconds = " | ".join(f"{found['seconds'][what]:.1f}" for what in ("load", "convert", "run"))
    print(
        f"\n| {name} | {SIZES[name]} | {found['parameters'] / 1e6:.1f} M | {found['multiply_adds'] / 1e6:,.0f} M | "
        f"{found['neurons']:,} | {found['functions']} | {seconds} | {found['peak_bytes'] / 1e6:,.0f} | "
        f"{found['error']:.1e} |"
    )
    assert found["spread"] > 100 * MOST_ERROR, "every image has the same answer"
    assert found["nudged"] < 1e-3, "Keras's own answers mean nothing"
    assert found["error"] <= max(MOST_ERROR, OF_NUDGE * found["nudged"])
    assert found["spikes"] > 0
