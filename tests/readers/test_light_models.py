"""The whole networks inside the onnx package (every weight the same constant) load and give their stored outputs.

Their stored outputs hardly vary, so some are compared with onnxruntime once more, with random weights.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import snnrepro
from snnrepro.network.layers import Softmax

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

pytestmark = pytest.mark.skipif(
    not (FOLDER / "light_resnet50.onnx").is_file(), reason=f"onnx {onnx.__version__} has no light models"
)


_PLAIN = ("densenet121", "inception_v2", "resnet50", "shufflenet", "squeezenet", "vgg19")


def _path(name):
    return FOLDER / f"light_{name}.onnx"


def _image(shape):
    """Return the image that onnx's own runner makes: rising from 0 to 1."""
    n = int(np.prod(shape))
    return (np.arange(n).reshape(1, *shape) / n).astype(np.float32)


def _relative(got, expected):
    assert got.shape == expected.shape
    return float(np.abs(got - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("name", [*_PLAIN, "bvlc_alexnet", "inception_v1", "zfnet512"])  # the last with LRN
def test_a_whole_network_gives_its_stored_output(name):
    network = snnrepro.load(_path(name))
    tensor = onnx.TensorProto()
    tensor.ParseFromString((FOLDER / f"light_{name}_output_0.pb").read_bytes())
    stored = onnx.numpy_helper.to_array(tensor)
    values = dict(network.activations(_image(network.input_shape)))
    last = network.nodes[-1]
    if not isinstance(last.layer, Softmax):
        assert _relative(values[last.name], stored) <= 1e-5
        return
    # Scores of up to 1e31, all the same: a softmax of them would be one of how they were rounded.
    scores, expected = values[last.inputs[0]], np.log(stored)
    assert scores.shape == expected.shape
    deviation = np.abs((scores - scores.max()) - (expected - expected.max())).max()
    assert deviation <= 1e-5 * np.abs(scores).max()


def _with_random_weights(name, seed):
    """Return the model up to its softmax with random weights, as large as keeps the values' size over the layers."""
    model = onnx.load(str(_path(name)))
    random = np.random.RandomState(seed)
    shapes = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    readers = {value: (node.op_type, place) for node in model.graph.node for place, value in enumerate(node.input)}
    nodes = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape":
            nodes.append(node)
            continue
        shape = [int(size) for size in shapes[node.input[0]]]
        reader, place = readers[node.output[0]]
        values = random.randn(*shape)
        if len(shape) > 1:  # a kernel or matrix: (out, in, ...)
            values *= np.sqrt(2 / np.prod(shape[1:]))
        elif reader == "BatchNormalization" and place in (1, 4):  # factor, variance
            values = 1 + np.abs(0.05 * values)
        else:
            values *= 0.05
        model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), node.output[0]))
    assert nodes[-1].op_type == "Softmax"  # it would hide all scores but the largest
    model.graph.output[0].name = nodes[-1].input[0]
    del model.graph.node[:]
    model.graph.node.extend(nodes[:-1])
    free = [value for value in model.graph.input if value.name not in shapes]
    del model.graph.input[:]
    model.graph.input.extend(free)
    model.ir_version = 7  # from 4 on an initializer need not be an input too
    return model


def _onnxruntime(model, image):
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    free = {value.name for value in session.get_inputs()}
    assert len(free) == 1
    return session.run(None, {free.pop(): image})[0]


@pytest.mark.parametrize("name", ["resnet50", "shufflenet", "squeezenet"])
def test_a_whole_network_with_random_weights_gives_the_numbers_of_onnxruntime(name):
    model = _with_random_weights(name, seed=0)
    network = snnrepro.load(model)
    image = np.random.RandomState(1).rand(1, *network.input_shape).astype(np.float32)
    got, expected = network.forward(image), _onnxruntime(model, image)
    assert np.abs(expected).max() < 1e6
    assert expected.std() > 0.1 * np.abs(expected).max()  # the scores vary: every weight matters to them
    assert _relative(got, expected) <= 1e-5
