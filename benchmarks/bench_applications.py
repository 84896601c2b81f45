"""Keras's applications end to end: load, convert, run; the answers are Keras's, and the load takes little memory.

Weights are random, with the batch normalisations' statistics of the images; each network is a process of its own.
``-s`` prints a line of the table in docs/convert.md for each.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from snnrepro.environment import environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")

SIZES = {
    "VGG16": 32,
    "ResNet50": 64,
    "ResNet50V2": 64,
    "DenseNet121": 64,
    "InceptionV3": 96,
    "InceptionResNetV2": 96,
    "Xception": 96,
    "NASNetMobile": 64,
    "MobileNet": 64,
    "MobileNetV2": 64,
    "MobileNetV3Small": 64,
    "MobileNetV3Large": 64,
    "EfficientNetB0": 64,
}
"""Rows and columns of an image: small ones, as a conversion of 224 x 224 takes the more time, not the more code."""
N_IMAGES, N_STEPS = 16, 8
MOST_ERROR = 1e-4
"""Of the scores, relative to the largest; float32 sums in another order."""

MEASURE = """
import json, re, sys, time, warnings
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
def kilobytes(field):
    return int(re.search(field + r":\\s+([0-9]+) kB", open("/proc/self/status").read()).group(1))
seconds = {}
def timed(what, function, *arguments, **options):
    start = time.process_time()
    result = function(*arguments, **options)
    seconds[what] = time.process_time() - start
    return result
with quiet_stderr():
    raw = {"include_preprocessing": False} if name.startswith("MobileNetV3") else {}
    model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=10, **raw)
    x = np.random.RandomState(0).rand(n_images, size, size, 3).astype(np.float32)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(x, training=True)  # leaves the statistics of these images
    wanted = model.predict(x, verbose=0)
before = kilobytes("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # the peak begins again at what there is now
network = timed("load", snnrepro.load, model)
load = kilobytes("VmHWM") - before
answers = network.forward(x)
spiking = timed("convert", snnrepro.convert, network, calibration=x, n_steps=n_steps)
run = timed("run", spiking.run, x)
print(json.dumps({
    "parameters": model.count_params(),
    "multiply_adds": macs(network),
    "neurons": sum(spiking.n_neurons.values()),
    "functions": len(spiking.functions),
    "seconds": seconds,
    "load_bytes": 1024 * load,
    "peak_bytes": 1024 * kilobytes("VmHWM"),
    "error": float(np.abs(answers - wanted).max() / np.abs(wanted).max()),
    "spread": float(np.ptp(wanted, axis=0).max() / np.abs(wanted).max()),
    "pearson": float(np.corrcoef(np.log(run.scores.ravel() + 1e-9), np.log(wanted.ravel() + 1e-9))[0, 1]),
    "spikes": int(sum(counts.sum() for counts in run.spike_counts.values())),
}))
"""


@pytest.mark.parametrize("name", SIZES)
def test_an_application_of_keras_is_read_converted_and_run(benchmark, name):
    pytest.importorskip("keras.applications", reason="Keras 3 is not installed")
    found = {}

    def measure():
        arguments = map(str, (name, SIZES[name], N_IMAGES, N_STEPS))
        done = subprocess.run([sys.executable, "-c", MEASURE, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        found.update(json.loads(done.stdout.splitlines()[-1]))

    benchmark.pedantic(measure, rounds=1)
    benchmark.extra_info.update(environment=environment(), size=SIZES[name], found=found)
    seconds = " | ".join(f"{found['seconds'][what]:.1f}" for what in ("load", "convert", "run"))
    print(
        f"\n| {name} | {SIZES[name]} | {found['parameters'] / 1e6:.1f} M | {found['multiply_adds'] / 1e6:,.0f} M | "
        f"{found['neurons']:,} | {found['functions']} | {seconds} | {found['peak_bytes'] / 1e6:,.0f} | "
        f"{found['error']:.1e} |"
    )
    assert found["spread"] > 100 * MOST_ERROR, "every image has the same answer"
    assert found["error"] <= MOST_ERROR
    assert found["spikes"] > 0
