"""What the property tests draw: networks and images that are neither square nor symmetric nor trivial."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Affine, Dense, ReLU, Reshape, Softmax

AWKWARD = ["model/dense/MatMul:0", "x:0", "a b", "ünï", "StatefulPartitionedCall/sequential/dense_1/BiasAdd:0"]


def names(index):
    """Return a node name such as exporters write: with slashes, colons, spaces and letters beyond ASCII."""
    return f"{AWKWARD[index % len(AWKWARD)]}.{index}"


@st.composite
def dense_networks(draw, max_layers=4, max_units=9):
    """Draw a chain Reshape, Dense, ReLU, ..., Dense with or without Softmax; some biases are all zero.

    Two neighbouring layers are often equally wide, so that a transposed matrix fits and must be noticed by its numbers.
    """
    input_shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    n_layers = draw(st.integers(1, max_layers))
    widths = draw(st.lists(st.integers(2, max_units), min_size=n_layers, max_size=n_layers))
    if draw(st.booleans()):
        widths = [widths[0]] * n_layers
    rng = np.random.RandomState(draw(st.integers(0, 2**32 - 1)))
    nodes = [Node(names(0), ("input",), Reshape((int(np.prod(input_shape)),)))]
    for index, n_out in enumerate(widths):
        n_in = nodes[-1].layer.shape[0] if index == 0 else widths[index - 1]
        bias = np.zeros(n_out) if draw(st.booleans()) else rng.uniform(-1, 1, n_out)
        dense = Dense(rng.normal(0, 1 / np.sqrt(n_in), (n_in, n_out)), bias)
        nodes.append(Node(names(len(nodes)), (nodes[-1].name,), dense))
        if index < n_layers - 1:
            nodes.append(Node(names(len(nodes)), (nodes[-1].name,), ReLU()))
    if draw(st.booleans()):
        nodes.append(Node(names(len(nodes)), (nodes[-1].name,), Softmax((0,))))
    return Network("input", input_shape, tuple(nodes), {"file": "drawn", "seed": "1"})


@st.composite
def images_for(draw, network, max_images=7):
    """Draw a batch of images for a network, values in [0, 1]."""
    n_images = draw(st.integers(1, max_images))
    rng = np.random.RandomState(draw(st.integers(0, 2**32 - 1)))
    return rng.uniform(0, 1, (n_images, *network.input_shape)).astype(np.float32)


def as_onnx(network):
    """Write a drawn network as ONNX with the helper functions of the onnx package: an exporter not our own."""
    from onnx import helper, numpy_helper

    nodes, tensors = [], []

    def constant(name, values):
        tensors.append(numpy_helper.from_array(np.array(values), name))
        return name

    for index, node in enumerate(network.nodes):
        layer, x = node.layer, node.inputs[0]
        if isinstance(layer, Reshape):
            shape = constant(f"shape{index}", np.array([-1, *layer.shape], np.int64))
            nodes.append(helper.make_node("Reshape", [x, shape], [node.name]))
        elif isinstance(layer, Dense):
            weights = constant(f"w/{index}:0", layer.weights)
            nodes.append(helper.make_node("MatMul", [x, weights], [f"product{index}"]))
            bias = constant(f"b/{index}:0", layer.bias)
            nodes.append(helper.make_node("Add", [f"product{index}", bias], [node.name]))
        elif isinstance(layer, Affine):
            product = constant(f"scale/{index}:0", layer.scale)
            nodes.append(helper.make_node("Mul", [x, product], [f"scaled{index}"]))
            nodes.append(
                helper.make_node("Add", [f"scaled{index}", constant(f"b/{index}:0", layer.offset)], [node.name])
            )
        else:
            nodes.append(helper.make_node("Relu" if isinstance(layer, ReLU) else "Softmax", [x], [node.name]))
    return model_proto(nodes, tensors, network.input_name, network.input_shape, network.nodes[-1].name)


def model_proto(nodes, tensors, input_name, input_shape, output_name):
    """Return a ModelProto at the operator set and IR version that every stack of the matrix reads."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        nodes,
        "drawn",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, ["batch", *input_shape])],
        [helper.make_tensor_value_info(output_name, TensorProto.FLOAT, None)],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)])
    model.ir_version = 7
    return model
