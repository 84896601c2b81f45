"""The strategies draw what the property tests rely on."""

from __future__ import annotations

import contextlib

import numpy as np
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

import snnrepro
from snnrepro.network.layers import Dense, ReLU
from tests.helpers.strategies import dense_networks, image_networks, images_for


def _dense(network):
    return [node.layer for node in network.nodes if isinstance(node.layer, Dense)]


@given(st.data())
def test_a_drawn_image_fits_the_drawn_network(data):
    network = data.draw(dense_networks())
    x = data.draw(images_for(network))
    assert x.shape[1:] == network.input_shape
    assert network.forward(x).shape == (len(x), *network.output_shape)


@given(dense_networks())
def test_no_drawn_matrix_equals_its_transpose(network):
    for layer in _dense(network):
        assert layer.weights.shape[0] != layer.weights.shape[1] or not np.array_equal(layer.weights, layer.weights.T)


def test_the_networks_are_varied():
    """Each of these must be drawn within the usual number of tries, or `find` raises."""
    many = settings(max_examples=500, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    find(dense_networks(), lambda net: any(isinstance(node.layer, ReLU) for node in net.nodes), settings=many)
    find(dense_networks(), lambda net: any(not layer.bias.any() for layer in _dense(net)), settings=many)
    find(dense_networks(), lambda net: any(layer.bias.any() for layer in _dense(net)), settings=many)
    find(dense_networks(), lambda net: len(set(net.input_shape)) == 3, settings=many)
    find(dense_networks(), lambda net: any(np.ptp(layer.weights.shape) == 0 for layer in _dense(net)), settings=many)
    find(dense_networks(), lambda net: any(np.ptp(layer.weights.shape) > 0 for layer in _dense(net)), settings=many)


@given(st.data())
def test_a_drawn_image_network_is_valid_onnx_and_its_images_fit(data):
    import onnx

    proto = data.draw(image_networks())
    onnx.checker.check_model(proto, full_check=True)
    network = snnrepro.load(proto)
    x = data.draw(images_for(network))
    assert x.ndim in (3, 4)
    declared = [dim.dim_value for dim in proto.graph.output[0].type.tensor_type.shape.dim]
    assert network.forward(x).shape == (len(x), *network.output_shape) == (len(x), *declared[1:])


def _features(proto):
    """Yield what is drawn in a model: its operators, their attributes, what is shared."""
    from onnx import helper, numpy_helper

    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    reads = [name for node in proto.graph.node for name in node.input]
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    yield f"{len(dims) - 2} spatial axes"
    if len({dim.dim_value for dim in dims[2:]}) == 2:
        yield "not square"
    if any(reads.count(name) > 1 for name in tensors):
        yield "shared tensor"
    if any(reads.count(name) > 1 for name in reads if name not in tensors):
        yield "branches"
    for before, node in zip([None, *proto.graph.node], proto.graph.node):
        op_type = node.op_type
        yield op_type
        if before is not None and {op_type, before.op_type} & {"BatchNormalization"}:
            yield f"{before.op_type}, {op_type}"
        for attribute in node.attribute:
            value = helper.get_attribute_value(attribute)
            if isinstance(value, list):
                half = len(value) // 2
                if max(value) > (attribute.name in ("strides", "dilations")):
                    yield f"{op_type} {attribute.name}"
                if attribute.name == "pads" and value[:half] != value[half:]:
                    yield f"{op_type} uneven pads"
            elif attribute.name == "auto_pad":
                yield f"{op_type} {value.decode()}"
            elif value not in (0, 1) or attribute.name in ("transB", "ceil_mode", "count_include_pad"):
                yield f"{op_type} {attribute.name}" + " 0" * (value == 0)
        if op_type in ("Conv", "Gemm") and len(node.input) == 3 and not tensors[node.input[2]].any():
            yield f"{op_type} zero bias"
        groups = [attribute.i for attribute in node.attribute if attribute.name == "group"]
        if op_type == "Conv" and groups and groups[0] > 1 and tensors[node.input[1]].shape[1] == 1:
            yield "depthwise"


FEATURES = """1 spatial axes|2 spatial axes|not square|shared tensor|branches|depthwise
Conv group|Conv strides|Conv dilations|Conv uneven pads|Conv SAME_UPPER|Conv SAME_LOWER|Conv VALID|Conv zero bias
ConvTranspose group|ConvTranspose strides|ConvTranspose dilations|ConvTranspose uneven pads|ConvTranspose output_padding
Conv, BatchNormalization|BatchNormalization, Conv|Relu, BatchNormalization|Gemm, BatchNormalization
ConvTranspose, BatchNormalization|Relu|LeakyRelu|PRelu|Clip|Sigmoid|Softmax|LogSoftmax|GlobalAveragePool|Flatten|Reshape
AveragePool uneven pads|AveragePool ceil_mode|AveragePool count_include_pad|AveragePool count_include_pad 0
MaxPool uneven pads|MaxPool ceil_mode|MaxPool dilations|Add|Sub|Mul|Div|Sum|Concat|Transpose
InstanceNormalization|LRN|ReduceL2
Gemm transB|Gemm alpha|Gemm beta|Gemm zero bias"""


def test_the_image_networks_are_varied():
    wanted, seen = set(FEATURES.replace("\n", "|").split("|")), set()

    def is_all_seen(proto):
        seen.update(_features(proto))
        return wanted <= seen

    many = settings(max_examples=2000, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    with contextlib.suppress(NoSuchExample):
        find(image_networks(), is_all_seen, settings=settings(many, phases=[Phase.generate]))
    assert wanted - seen == set()
