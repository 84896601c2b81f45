"""Loading a ResNet50-size ONNX file: seconds, and the additional peak memory as a multiple of the file's size.

And of Keras's applications in memory the peak beyond the model, as a multiple of its weights.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.memory import in_a_process

SECONDS = 3.0
RATIO = 3.0
MEASURE = """
import json, sys, time
import onnx, snnrepro, snnrepro.readers.onnx
from benchmarks.memory import peak_beyond
before = peak_beyond(0)  # not ru_maxrss, which begins at the peak of the process that started this one
start = time.perf_counter()
network = snnrepro.load(sys.argv[1])
seconds = time.perf_counter() - start
peak = peak_beyond(before)
print(json.dumps({"seconds": seconds, "peak": peak, "nodes": len(network.nodes)}))
"""


@pytest.fixture(scope="module")
def resnet50(tmp_path_factory):
    """The onnx package's ResNet50 with random initializers in place of its ConstantOfShape nodes."""
    import onnx
    from onnx import numpy_helper

    source = Path(onnx.__file__).parent / "backend/test/data/light/light_resnet50.onnx"
    if not source.is_file():
        pytest.skip("the installed onnx has no light_resnet50.onnx")
    model = onnx.load(str(source))
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    rng = np.random.RandomState(0)
    kept = []
    for node in model.graph.node:
        if node.op_type == "ConstantOfShape":
            values = rng.uniform(0, 1, [int(size) for size in shapes[node.input[0]]]).astype(np.float32)
            model.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        else:
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    path = tmp_path_factory.mktemp("loading") / "resnet50.onnx"
    onnx.save(model, str(path))
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_resnet50_loads_in_time_and_memory(benchmark, resnet50):
    """Measure in a process of its own, whose peak is that of the loading alone."""
    size = resnet50.stat().st_size
    assert size > 90e6  # or nothing of the size of a ResNet50 is loaded
    found = []

    benchmark.pedantic(lambda: found.append(in_a_process(MEASURE, resnet50)), rounds=3)
    ratio = max(one["peak"] for one in found) / size
    benchmark.extra_info.update(bytes=size, seconds=[one["seconds"] for one in found], memory_ratio=ratio)
    print(f"\nloading {size / 1e6:.0f} MB: {[round(one['seconds'], 2) for one in found]} s, {ratio:.2f}x its size")
    assert all(one["nodes"] > 100 for one in found)
    assert max(one["seconds"] for one in found) < SECONDS
    assert 1 < ratio < RATIO  # the weights alone are once the size: less would mean that nothing was measured


KERAS = """
import json, sys
from snnrepro.frameworks.quiet import quiet_stderr
from snnrepro.frameworks.tensorflow import import_tensorflow
tf = import_tensorflow()
import onnxruntime, tf2onnx, snnrepro
from benchmarks.memory import new_peak, peak_beyond
with quiet_stderr():
    model = getattr(tf.keras.applications, sys.argv[1])(weights=None)
before = new_peak()
network = snnrepro.load(model)
peak = peak_beyond(before)
print(json.dumps({"peak": peak, "bytes": 4 * model.count_params(), "nodes": len(network.nodes)}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize("name", ["VGG16", "ResNet50", "InceptionV3"])
def test_a_keras_model_loads_in_three_times_its_weights(benchmark, tf, name):
    """They were 17, 63 and 81 times: tf2onnx copies every constant that it is given for each of its passes."""
    found = []

    benchmark.pedantic(lambda: found.append(in_a_process(KERAS, name)), rounds=1)
    ratio = found[0]["peak"] / found[0]["bytes"]
    benchmark.extra_info.update(found=found[0], memory_ratio=ratio)
    print(f"\nloading {name}, {found[0]['bytes'] / 1e6:.0f} MB of weights: {ratio:.2f}x these")
    assert found[0]["nodes"] > 30
    assert 1 < ratio < RATIO
