"""The networks that several benchmarks measure: trained once a session, for a short time; and any as an ONNX model."""

from __future__ import annotations

import numpy as np

from snnrepro import load
from snnrepro.datasets import pixels
from snnrepro.network.layers import Add, Conv, Dense, MaxPool, Reduce, ReLU, Reshape

BATCH = 128
IMAGES = {"dense": 60_000, "cnn": 20_000}
"""On how many images each network is trained, twice over."""
_known = {}


def trained(name, data):
    """Return a network of the thesis as its Keras model and as `snnrepro.load` reads it."""
    from snnrepro.thesis import models

    if name not in _known:
        # The CNN with the strides 1, 1, 2, the other reading of the thesis's print: four times the work of 1, 2, 2.
        model = models.keras_dense(0) if name == "dense" else models.keras_cnn(0, (1, 1, 2))
        model.compile("adam", "sparse_categorical_crossentropy")
        x, y = data.x_train[: IMAGES[name]], data.y_train[: IMAGES[name]]
        model.fit(pixels(x), y, batch_size=BATCH, epochs=2, verbose=0)
        _known[name] = model, load(model)
    return _known[name]


def as_onnx(network):
    """Return a network of convolutions, dense layers, maxima and means as an exporter writes it."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, tensors = [], []

    def constant(name, values):
        tensors.append(numpy_helper.from_array(values, name))
        return name

    def windows(layer):
        return {"strides": layer.strides, "pads": [pads[end] for end in (0, 1) for pads in layer.pads]}

    for node in network.nodes:
        layer, inputs, name, kind, options = node.layer, list(node.inputs), node.name, type(node.layer).__name__, {}
        if isinstance(layer, (Conv, Dense)):
            inputs += [constant(f"{name}.weight", layer.weights), constant(f"{name}.bias", layer.bias)]
            kind, options = ("Conv", windows(layer)) if isinstance(layer, Conv) else ("Gemm", {})
        elif isinstance(layer, MaxPool):
            options = {"kernel_shape": layer.kernel, **windows(layer)}
        elif isinstance(layer, Reduce):
            kind, options = "ReduceMean", {"axes": [axis + 1 for axis in layer.axes], "keepdims": 1}
        elif isinstance(layer, Reshape):
            inputs.append(constant(f"{name}.shape", np.array([0, *layer.shape], np.int64)))
        elif isinstance(layer, ReLU):
            kind = "Relu"
        else:
            assert isinstance(layer, Add), kind
        nodes.append(helper.make_node(kind, inputs, [name], name, **options))
    source, output = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
        for name, shape in ((network.input_name, network.input_shape), (nodes[-1].name, network.output_shape))
    )
    graph = helper.make_graph(nodes, "network", [source], [output], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)])
    model.ir_version = 7
    return model
